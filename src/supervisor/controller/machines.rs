//! Agents on other machines: their links, what they are told and what they tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Controller, Instance};
use crate::limits::{AGENTS_MAX, BACKEND_SILENT_MS, LINK_ENDING_MS, ORDERS_BYTES_MAX};
use crate::supervisor::Wanted;
use crate::supervisor::plan::Kind as GroupKind;
use crate::time::Now;
use crate::wire::frame::handshake::{Purpose, Role};
use crate::wire::frame::link::{Came, Link};
use crate::wire::frame::order::{Start, Status, parse_status, write_end};
use crate::wire::frame::{Frame, Kind, encode};

/// A machine with an agent.
#[derive(Default)]
pub(super) struct Agent {
    /// Its link, while there is one.
    pub link: Option<usize>,
    /// Where it was last seen.
    pub address: Option<SocketAddr>,
    /// What it said last.
    pub components: BTreeMap<String, Status>,
    /// What it was told over this link, once it has said what it has.
    told: Option<BTreeMap<String, (Start, Wanted)>>,
}

/// A link to whoever has connected.
pub(super) struct AgentLink {
    pub link: Link,
    from: SocketAddr,
    /// Which agent it is, once that is proved.
    agent: Option<String>,
}

impl Controller {
    /// Somebody connected; `None` if too many have.
    pub(super) fn accept_agent(&mut self, from: SocketAddr, now: Now) -> Option<usize> {
        if self.links.len() >= 2 * AGENTS_MAX {
            // Whoever holds a place without a word must not keep those out who belong here.
            let oldest = self.links.iter().find(|(_, link)| link.agent.is_none()).map(|(id, _)| *id)?;
            self.close(oldest);
        }
        let link = self.identity.link(Purpose::Orders, Role::Acceptor, &mut self.random, now.tick);
        self.next_link += 1;
        self.links.insert(self.next_link, AgentLink { link, from, agent: None });
        Some(self.next_link)
    }

    /// Bytes of a link. Whatever they are, they cost this link at most.
    pub(super) fn handle_agent_input(&mut self, id: usize, input: &[u8], now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let bytes = link.link.begin_input(input, now.tick);
        let mut used = 0;
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            match link.link.next(bytes.get(used..).unwrap_or_default()) {
                Ok(None) => break,
                Ok(Some((came, len))) => {
                    used += len;
                    let done = match came {
                        Some(Came::Frame(frame)) => self.handle_frame(id, &frame, now),
                        Some(Came::Up(node)) => self.greet(id, node.as_str()),
                        None => Ok(()),
                    };
                    if let Err(why) = done {
                        self.end(id, &why, now);
                    }
                }
                Err(why) => {
                    self.end(id, &why, now);
                    break;
                }
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.link.keep(bytes, used);
        }
    }

    fn greet(&mut self, id: usize, name: &str) -> Result<(), String> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if !self.agents.contains_key(name) && self.agents.len() >= AGENTS_MAX {
            return Err("there are too many agents".to_owned());
        }
        link.agent = Some(name.to_owned());
        let agent = self.agents.entry(name.to_owned()).or_default();
        log::info!("agent {name} has come from {}", link.from);
        agent.address = Some(link.from);
        agent.told = None;
        // Of two links the newer is the one that works.
        if let Some(old) = agent.link.replace(id) {
            self.close(old);
        }
        Ok(())
    }

    fn handle_frame(&mut self, id: usize, frame: &Frame, now: Now) -> Result<(), String> {
        match frame.kind {
            Kind::STATUS => {
                let all = parse_status(frame.body).map_err(|why| why.to_string())?;
                let agent = self.links.get(&id).and_then(|link| link.agent.as_ref());
                let Some(agent) = agent.and_then(|name| self.agents.get_mut(name)) else { return Ok(()) };
                let all = all.into_iter().map(|status| (status.name.clone(), status)).collect();
                if agent.components != all || agent.told.is_none() {
                    agent.components = all;
                    agent.told.get_or_insert_default();
                    self.settle(now);
                }
            }
            Kind::BYE => self.close(id),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, id: usize, why: &str, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        log::warn!("link to agent {} ends: {why}", link.from);
        link.link.end(why, now.tick.plus_ms(LINK_ENDING_MS));
        self.forget_link(id);
    }

    fn close(&mut self, id: usize) {
        self.drop_link(id);
        self.closed.push_back(id);
    }

    /// The agent of a link has no link any more; what it does is what it did last.
    fn forget_link(&mut self, id: usize) {
        for (name, agent) in &mut self.agents {
            if agent.link == Some(id) {
                log::warn!("agent {name} is lost; what it runs goes on");
                (agent.link, agent.told) = (None, None);
            }
        }
    }

    pub(super) fn drop_link(&mut self, id: usize) {
        if self.links.remove(&id).is_some() {
            self.forget_link(id);
        }
    }

    pub(super) fn sent(&mut self, id: usize, len: usize) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.link.handle_sent(len);
        if link.link.is_ending() && link.link.output().is_empty() {
            self.close(id);
        }
    }

    pub(super) fn judge_links(&mut self, now: Now) {
        let is_late = |link: &Link| match link.peer() {
            Some(_) => now.tick.since_ms(link.heard) >= BACKEND_SILENT_MS,
            None => now.tick >= link.until,
        };
        let is_late = |link: &Link| is_late(link) || link.output().len() > ORDERS_BYTES_MAX;
        let late = self.links.iter().filter(|(_, link)| is_late(&link.link)).map(|(id, _)| *id);
        late.collect::<Vec<_>>().into_iter().for_each(|id| self.close(id));
    }

    pub(super) fn ping_all(&mut self) {
        for link in self.links.values_mut().filter(|link| link.link.peer().is_some()) {
            encode(Kind::PING, 0, b"{}", &[], &mut link.link.out);
        }
    }

    // -- Orders ---------------------------------------------------------------------------

    /// Whether a component still runs on another machine than this; `None` is the controller's own.
    pub(super) fn runs_elsewhere(&self, name: &str, machine: Option<&str>) -> bool {
        let runs = |agent: &super::Agent| agent.components.get(name).is_some_and(|status| status.pid > 0);
        let mut others = self.agents.iter().filter(|(other, _)| Some(other.as_str()) != machine);
        let runs_here = || self.keeper.get(name).is_some_and(|kept| kept.state.life().is_some());
        others.any(|(_, agent)| agent.link.is_some() && runs(agent)) || machine.is_some() && runs_here()
    }

    /// Whether no agent that can be asked has a process left.
    pub(super) fn agents_are_idle(&self) -> bool {
        let linked = self.agents.values().filter(|agent| agent.link.is_some());
        linked.flat_map(|agent| agent.components.values()).all(|status| status.pid == 0)
    }

    fn orders(&self, machine: &str) -> BTreeMap<String, (Start, Wanted)> {
        let order = |one: Instance| {
            let GroupKind::BackEnd(back) = &one.group.kind else { return None };
            let is_there = back.machine.as_deref() == Some(machine);
            let is_free = is_there && !self.runs_elsewhere(&one.name, Some(machine));
            let join = self.plan.join(back, &self.counts).ok().filter(|_| is_free)?;
            let wanted = self.wanted(&one.name, one.group.role());
            Some((one.name.clone(), (self.plan.order(one.group, back, one.number, &join), wanted)))
        };
        self.instances().into_iter().filter_map(order).collect()
    }

    /// Tells all agents what they do not know.
    pub(super) fn order_all(&mut self) {
        for machine in self.agents.keys().cloned().collect::<Vec<_>>() {
            let orders = self.orders(&machine);
            let Some(agent) = self.agents.get_mut(&machine) else { continue };
            let link = agent.link.and_then(|id| self.links.get_mut(&id));
            let (Some(link), Some(told)) = (link, &mut agent.told) else { continue };
            let out = &mut link.link.out;
            for (name, order) in orders.iter().filter(|(name, order)| told.get(*name) != Some(order)) {
                match order.1 {
                    Wanted::Up => order.0.write(out),
                    Wanted::Stopped => write_end(Kind::STOP, name, false, out),
                    Wanted::Drained => write_end(Kind::DRAIN, name, false, out),
                }
            }
            let known = agent.components.keys().filter(|name| !told.contains_key(*name)).chain(told.keys());
            for name in known.filter(|name| !orders.contains_key(*name)) {
                write_end(Kind::STOP, name, true, out);
            }
            *told = orders;
        }
    }

    /// Tells an agent once more that a component is to run: at once, if it waits.
    pub(super) fn order_again(&mut self, name: &str) {
        for agent in self.agents.values_mut() {
            let link = agent.link.and_then(|id| self.links.get_mut(&id));
            let order = agent.told.as_ref().and_then(|told| told.get(name));
            if let (Some((start, Wanted::Up)), Some(link)) = (order, link) {
                start.write(&mut link.link.out);
            }
        }
    }
}
