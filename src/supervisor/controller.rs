//! The controller: groups and their instances, the administrator's commands, and how front-ends choose back-ends.
//!
//! What is to be is computed anew from the plan and the administrator's word whenever one of them changes, and handed to
//! this machine's keeper and to the agents: nothing is remembered about how it came to be so.

mod commands;
mod machines;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use self::machines::{Agent, AgentLink};
use super::keeper::{Keeper, Kept, State};
use super::memory::Memory;
use super::plan::{Group, Kind, Plan};
use super::{Call, Component, Role, Supervise, Wanted};
use crate::limits::{
    AGENT_STATUS_MS, CALL_AGAIN_MS, COMPONENT_STOP_MS, SUPERVISOR_IDLE_MS, SUPERVISOR_STEP_MS,
};
use crate::random::Random;
use crate::time::{Now, Tick};
use crate::wire::frame::link::Identity;

/// What a controller begins with.
pub struct Setup {
    /// What is to run.
    pub plan: Plan,
    /// What front-ends' publishers show, by their groups.
    pub tokens: BTreeMap<String, String>,
    /// Who it is to agents.
    pub identity: Identity,
    /// For jitter and nonces.
    pub seed: u64,
}

/// How far a controller that was told to stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    /// It was not.
    No,
    /// Front-ends let go whom they have.
    FrontEnds,
    /// There is none left: back-ends have nothing to do. Other machines are waited for until then.
    BackEnds(Tick),
    /// Everything was killed.
    AtOnce,
}

/// How a front-end's process chooses back-ends, as far as is known.
struct Told {
    pid: u32,
    policy: Option<String>,
    /// It is being told.
    is_called: bool,
    /// Not before this.
    next: Tick,
}

/// A controller.
pub struct Controller {
    plan: Plan,
    tokens: BTreeMap<String, String>,
    identity: Identity,
    random: Random,
    keeper: Keeper,
    counts: BTreeMap<String, usize>,
    downs: BTreeMap<String, Wanted>,
    scheduler: Option<String>,
    told: BTreeMap<String, Told>,
    stopping: Stopping,
    agents: BTreeMap<String, Agent>,
    links: BTreeMap<usize, AgentLink>,
    next_link: usize,
    closed: VecDeque<usize>,
    next_ping: Tick,
}

/// One component to be.
struct Instance<'a> {
    name: String,
    number: usize,
    group: &'a Group,
}

impl Controller {
    /// One whose plan is to be, and which is to go on where `memory` ends. The processes in it are those that still run.
    pub fn new(setup: Setup, memory: Memory, now: Now) -> Controller {
        let Setup { plan, tokens, identity, seed } = setup;
        let mut random = Random::new(seed);
        let mut controller = Controller {
            plan,
            tokens,
            identity,
            keeper: Keeper::new(random.next_u64()),
            random,
            counts: BTreeMap::new(),
            downs: memory.downs,
            scheduler: memory.scheduler,
            told: BTreeMap::new(),
            stopping: Stopping::No,
            agents: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            closed: VecDeque::new(),
            next_ping: now.tick,
        };
        // A file that has changed meanwhile may have no room for what was wanted then.
        if controller.plan.check(&memory.counts).is_ok() {
            controller.counts = memory.counts;
        }
        for one in memory.processes {
            controller.keeper.adopt(&one.name, one.component, one.life, now.tick);
        }
        controller.settle(now);
        controller
    }

    fn instances(&self) -> Vec<Instance<'_>> {
        let of = |group| {
            (1..=self.plan.count(group, &self.counts)).map(move |number: usize| Instance {
                name: format!("{}.{number}", group.name),
                number,
                group,
            })
        };
        self.plan.groups.iter().flat_map(of).collect()
    }

    fn wanted(&self, name: &str, role: Role) -> Wanted {
        match (self.stopping, role) {
            (Stopping::BackEnds(_) | Stopping::AtOnce, _) => Wanted::Stopped,
            (Stopping::FrontEnds, Role::FrontEnd) => Wanted::Drained,
            _ => self.downs.get(name).copied().unwrap_or(Wanted::Up),
        }
    }

    fn component(&self, one: &Instance) -> Option<Component> {
        match &one.group.kind {
            Kind::FrontEnd(front) => {
                Some(self.plan.front_end(one.group, front, one.number, self.scheduler.as_deref()))
            }
            Kind::BackEnd(back) if back.machine.is_none() => {
                let join = self.plan.join(back, &self.counts).ok()?;
                Some(self.plan.back_end(one.group, back, one.number, &join))
            }
            Kind::BackEnd(_) => None,
        }
    }

    /// Has all machines do what is to be.
    fn settle(&mut self, now: Now) {
        let here = self.instances().into_iter().filter(|one| !self.runs_elsewhere(&one.name, None));
        let here: BTreeMap<String, (Component, Wanted)> = here
            .filter_map(|one| {
                let wanted = self.wanted(&one.name, one.group.role());
                let component = self.component(&one)?;
                Some((one.name, (component, wanted)))
            })
            .collect();
        let gone: Vec<String> = self.keeper.all().map(|(name, _)| name.to_owned()).collect();
        for name in gone.iter().filter(|name| !here.contains_key(*name)) {
            self.keeper.remove(name, now.tick);
        }
        for (name, (component, wanted)) in here {
            self.keeper.put(&name, component, wanted, now.tick);
        }
        self.order_all();
    }

    fn advance_stop(&mut self, now: Now) {
        if self.stopping == Stopping::FrontEnds && self.keeper.is_idle(Role::FrontEnd) {
            self.stopping = Stopping::BackEnds(now.tick.plus_ms(2 * COMPONENT_STOP_MS));
            self.settle(now);
        }
    }

    // -- How back-ends are chosen ---------------------------------------------------------

    /// A front-end's process and what is known of it; one that was not started in this life may have been told anything.
    fn update_told(&mut self) {
        let front_ends = self.keeper.all().filter(|(_, kept)| kept.component.scheduler.is_some());
        let running: BTreeMap<&str, (u32, &Kept)> = front_ends
            .filter_map(|(name, kept)| match kept.state {
                State::Running(life) => Some((name, (life.pid, kept))),
                _ => None,
            })
            .collect();
        self.told.retain(|name, told| running.get(name.as_str()).is_some_and(|(pid, _)| *pid == told.pid));
        for (name, (pid, kept)) in running {
            if !self.told.contains_key(name) {
                let policy = kept.is_own.then(|| kept.started().scheduler.clone()).flatten();
                let told = Told { pid, policy, is_called: false, next: Tick(0) };
                self.told.insert(name.to_owned(), told);
            }
        }
    }

    fn call(&self, name: &str) -> Option<Call> {
        let one = self.instances().into_iter().find(|one| one.name == name)?;
        let Kind::FrontEnd(front) = &one.group.kind else { return None };
        let address = self.plan.publisher(front, one.number)?;
        let policy = self.keeper.get(name)?.component.scheduler.clone()?;
        let body = serde_json::json!({"scheduler": policy}).to_string();
        let token = self.tokens.get(&one.group.name);
        let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "PUT /scheduler HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Some(Call { name: name.to_owned(), address, policy: Some(policy), request: request.into_bytes() })
    }
}

impl Supervise for Controller {
    fn keeper(&mut self) -> &mut Keeper {
        &mut self.keeper
    }

    fn memory(&self) -> Memory {
        let memory = Memory::of(&self.keeper);
        if self.stopping != Stopping::No {
            return memory;
        }
        let (counts, downs) = (self.counts.clone(), self.downs.clone());
        Memory { counts, downs, scheduler: self.scheduler.clone(), ..memory }
    }

    fn handle_time(&mut self, now: Now) {
        self.keeper.handle_time(now.tick);
        self.advance_stop(now);
        self.judge_links(now);
        if now.tick >= self.next_ping {
            self.next_ping = now.tick.plus_ms(AGENT_STATUS_MS);
            self.ping_all();
        }
    }

    fn handle_change(&mut self, now: Now) {
        self.advance_stop(now);
        if self.plan.groups.iter().any(|group| group.machine().is_some()) {
            // What has ended here may be waited for elsewhere.
            self.settle(now);
        }
    }

    fn next_deadline(&self, now: Tick) -> Tick {
        let behind = self.told.iter().any(|(name, told)| self.is_behind(name, told));
        let step = match self.stopping {
            Stopping::No if !behind && self.links.is_empty() => SUPERVISOR_IDLE_MS,
            Stopping::No if !behind => AGENT_STATUS_MS,
            _ => SUPERVISOR_STEP_MS,
        };
        let due = self.keeper.next_deadline(now).unwrap_or(Tick(u64::MAX));
        due.min(now.plus_ms(step))
    }

    fn stop(&mut self, now: Now) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::FrontEnds;
            self.settle(now);
            self.advance_stop(now);
        } else {
            self.stopping = Stopping::AtOnce;
            self.settle(now);
            self.keeper.kill_all();
        }
    }

    fn is_over(&mut self, now: Tick) -> bool {
        let is_idle = self.keeper.is_idle(Role::FrontEnd) && self.keeper.is_idle(Role::BackEnd);
        match self.stopping {
            Stopping::No | Stopping::FrontEnds => false,
            Stopping::BackEnds(until) => is_idle && (now >= until || self.agents_are_idle()),
            Stopping::AtOnce => is_idle,
        }
    }

    fn reload(&mut self, plan: Plan, tokens: BTreeMap<String, String>, now: Now) {
        (self.plan, self.tokens) = (plan, tokens);
        if self.stopping == Stopping::No {
            self.counts.clear();
            self.downs.clear();
            self.scheduler = None;
            self.settle(now);
            let names: Vec<String> = self.instances().into_iter().map(|one| one.name).collect();
            names.iter().for_each(|name| self.keeper.hurry(name, now.tick));
        }
        self.keeper.note_change();
    }

    fn handle_command(&mut self, line: &[u8], now: Now) -> Vec<u8> {
        let mut answer = self.command(line, now).unwrap_or_else(|why| serde_json::json!({"error": why}));
        if let Some(members) = answer.as_object_mut() {
            members.entry("ok").or_insert(serde_json::json!(true));
        }
        if answer.get("error").is_some() {
            answer["ok"] = serde_json::json!(false);
        }
        (answer.to_string() + "\n").into_bytes()
    }

    fn poll_call(&mut self, now: Tick) -> Option<Call> {
        self.update_told();
        let due = |(name, told): &(&String, &Told)| {
            self.is_behind(name, told) && !told.is_called && now >= told.next
        };
        let name = self.told.iter().find(due)?.0.clone();
        let call = self.call(&name)?;
        self.told.get_mut(&name)?.is_called = true;
        Some(call)
    }

    fn handle_answer(&mut self, call: &Call, answer: Result<u16, String>, now: Tick) {
        let Some(told) = self.told.get_mut(&call.name) else { return };
        told.is_called = false;
        match answer {
            Ok(200) => told.policy = call.policy.clone(),
            other => {
                told.next = now.plus_ms(CALL_AGAIN_MS);
                let why = other.map_or_else(|why| why, |status| format!("it answered {status}"));
                log::warn!("{} cannot be told how to choose back-ends: {why}", call.name);
            }
        }
    }

    fn poll_dial(&mut self, _: Now) -> Option<(usize, SocketAddr)> {
        None
    }

    fn handle_up(&mut self, _: usize, _: Now) {}

    fn accept(&mut self, from: SocketAddr, now: Now) -> Option<usize> {
        self.accept_agent(from, now)
    }

    fn handle_input(&mut self, link: usize, input: &[u8], now: Now) {
        self.handle_agent_input(link, input, now);
    }

    fn handle_down(&mut self, link: usize, _: Now) {
        self.drop_link(link);
    }

    fn output(&self, link: usize) -> &[u8] {
        self.links.get(&link).map_or(&[], |link| link.link.output())
    }

    fn handle_sent(&mut self, link: usize, len: usize, _: Now) {
        self.sent(link, len);
    }

    fn poll_closed(&mut self) -> Option<usize> {
        self.closed.pop_front()
    }
}

impl Controller {
    fn is_behind(&self, name: &str, told: &Told) -> bool {
        let wanted = self.keeper.get(name).and_then(|kept| kept.component.scheduler.as_ref());
        wanted.is_some() && told.policy.as_ref() != wanted
    }
}
