//! The administrator's commands, a line of JSON each: `{"command":"scale","name":"work","count":6}`.

use serde_json::{Value as Json, json};

use super::{Controller, Stopping};
use crate::config::{SCHEDULERS, edits};
use crate::limits::COMPONENTS_MAX;
use crate::supervisor::{Wanted, status};
use crate::time::Now;
use crate::wire::frame::order::Status;

/// A component as it is told: the machine's name, and whether that is reached.
type Shown = (Status, Option<(String, bool)>);

impl Controller {
    /// Does what the line says; the error is for a person.
    pub(super) fn command(&mut self, line: &[u8], now: Now) -> Result<Json, String> {
        let json: Json = serde_json::from_slice(line).map_err(|_| "the command is not JSON".to_owned())?;
        let text = |name: &str| json.get(name).and_then(Json::as_str).ok_or(format!("\"{name}\" is missing"));
        let command = text("command")?;
        if command != "status" && self.stopping != Stopping::No {
            return Err("the controller is stopping".to_owned());
        }
        match command {
            "status" => Ok(self.status(now)),
            "start" => self.set(text("name")?, Wanted::Up, now),
            "stop" => self.set(text("name")?, Wanted::Stopped, now),
            "drain" => self.set(text("name")?, Wanted::Drained, now),
            "scale" => {
                let count = json.get("count").and_then(Json::as_u64).ok_or("\"count\" is missing")?;
                self.scale(text("name")?, count, now)
            }
            "scheduler" => self.choose(text("policy")?, now),
            _ => Err(format!("there is no command {command:?}")),
        }
    }

    /// The instances that a name stands for.
    fn named(&self, name: &str) -> Result<Vec<String>, String> {
        let all = self.instances();
        let named = all.iter().filter(|one| one.name == name || one.group.name == name);
        let named: Vec<String> = named.map(|one| one.name.clone()).collect();
        if !named.is_empty() || self.is_group(name) {
            return Ok(named);
        }
        let groups: Vec<&str> = self.plan.groups.iter().map(|group| group.name.as_str()).collect();
        let known = groups.iter().copied().chain(all.iter().map(|one| one.name.as_str()));
        let near = known.map(|known| (edits(name, known), known)).min().filter(|(edits, _)| *edits <= 2);
        Err(match near {
            Some((_, near)) => format!("there is no {name:?}, did you mean {near:?}?"),
            None => format!("there is no {name:?}; there are: {}", groups.join(", ")),
        })
    }

    fn is_group(&self, name: &str) -> bool {
        self.plan.groups.iter().any(|group| group.name == name)
    }

    fn set(&mut self, name: &str, wanted: Wanted, now: Now) -> Result<Json, String> {
        let names = self.named(name)?;
        log::info!("told that {name} is to be {}", wanted.name());
        for name in &names {
            match wanted {
                Wanted::Up => drop(self.downs.remove(name)),
                _ => drop(self.downs.insert(name.clone(), wanted)),
            }
        }
        self.settle(now);
        if wanted == Wanted::Up {
            for name in &names {
                self.keeper.hurry(name, now.tick);
                self.order_again(name);
            }
        }
        self.keeper.note_change();
        Ok(json!({"names": names}))
    }

    fn scale(&mut self, name: &str, count: u64, now: Now) -> Result<Json, String> {
        let before = self.named(name)?;
        if !self.is_group(name) {
            return Err(format!("{name:?} is one of a group: scale the group"));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > COMPONENTS_MAX {
            return Err(format!("{count} are too many: at most {COMPONENTS_MAX}"));
        }
        let mut counts = self.counts.clone();
        counts.insert(name.to_owned(), count);
        self.plan.check(&counts)?;
        log::info!("told that there are to be {count} of {name}");
        self.counts = counts;
        let names = self.named(name)?;
        // Whoever comes back later is not the one that was stopped.
        self.downs.retain(|down, _| !before.contains(down) || names.contains(down));
        self.settle(now);
        self.keeper.note_change();
        Ok(json!({"names": if names.len() > before.len() { names } else { before }}))
    }

    fn choose(&mut self, policy: &str, now: Now) -> Result<Json, String> {
        if !SCHEDULERS.contains(&policy) {
            return Err(format!("{policy:?} is no scheduler; there are: {}", SCHEDULERS.join(", ")));
        }
        log::info!("told that back-ends are to be chosen by {policy}");
        self.scheduler = Some(policy.to_owned());
        self.settle(now);
        self.keeper.note_change();
        let choosing = self.keeper.all().filter(|(_, kept)| kept.component.scheduler.is_some());
        let names: Vec<&str> = choosing.map(|(name, _)| name).collect();
        Ok(json!({"names": names}))
    }

    fn status(&mut self, now: Now) -> Json {
        self.update_told();
        let components: Vec<Json> = self.shown().iter().map(|shown| self.shown_json(shown, now)).collect();
        let agents = self.agents.iter().map(|(name, agent)| {
            json!({"name": name, "address": agent.address.map(|address| address.to_string()),
                   "connected": agent.link.is_some()})
        });
        let agents: Vec<Json> = agents.collect();
        json!({"components": components, "agents": agents, "stopping": self.stopping != Stopping::No})
    }

    /// Everything that runs or is to run.
    fn shown(&self) -> Vec<Shown> {
        let here = self.keeper.all().map(|(name, kept)| (status(name, kept), None));
        let there = self.agents.iter().flat_map(|(machine, agent)| {
            let at = (machine.clone(), agent.link.is_some());
            agent.components.values().map(move |status| (status.clone(), Some(at.clone())))
        });
        let mut shown: Vec<Shown> = here.chain(there).collect();
        for one in self.instances() {
            // No agent has said anything of it yet.
            if !shown.iter().any(|(status, _)| status.name == one.name) {
                let is_linked = |name| self.agents.get(name).is_some_and(|agent| agent.link.is_some());
                let at = one.group.machine().map(|name| (name.to_owned(), is_linked(name)));
                let state = match self.wanted(&one.name, one.group.role()) {
                    Wanted::Up => "waiting",
                    Wanted::Stopped => "stopped",
                    Wanted::Drained => "drained",
                };
                let (name, group, state) = (one.name, one.group.name.clone(), state.to_owned());
                shown.push((Status { name, group, state, ..Status::default() }, at));
            }
        }
        shown
    }

    fn shown_json(&self, (status, machine): &Shown, now: Now) -> Json {
        let one = self.instances().into_iter().find(|one| one.name == status.name);
        let kind = one.as_ref().map(|one| one.group.role());
        let kind = kind.or(self.keeper.get(&status.name).map(|kept| kept.component.role));
        let wanted = one.as_ref().map(|one| self.wanted(&one.name, one.group.role()).name());
        let is_reached = machine.as_ref().is_none_or(|(_, is_linked)| *is_linked);
        json!({
            "name": status.name,
            "group": status.group,
            // What another machine has and nobody wants can be nothing else.
            "kind": kind.unwrap_or(crate::supervisor::Role::BackEnd).name(),
            "machine": machine.as_ref().map(|(name, _)| name),
            "state": if is_reached { status.state.as_str() } else { "unreachable" },
            "wanted": wanted.unwrap_or("gone"),
            "pid": (status.pid > 0).then_some(status.pid),
            "up_s": (status.since_ms > 0).then(|| now.wall.0.saturating_sub(status.since_ms) / 1000),
            "restarts": status.restarts,
            "last_end": (!status.last_end.is_empty()).then_some(&status.last_end),
            "scheduler": self.told.get(&status.name).and_then(|told| told.policy.as_deref()),
        })
    }
}
