//! An agent: the controller's hand on another machine.
//!
//! It calls the controller, tells what runs, and does what it is told, with this program and the programs of its own
//! directory and nothing else. While the controller is away it goes on with its last word.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::keeper::Keeper;
use super::memory::Memory;
use super::plan::back_end;
use super::{Call, Component, Role, Supervise, Wanted, status};
use crate::limits::{
    AGENT_STATUS_MS, BACKEND_SILENT_MS, COMPONENTS_MAX, DIAL_MS_MAX, DIAL_MS_MIN, LINK_DIAL_MS,
    LINK_ENDING_MS, ORDERS_BYTES_MAX,
};
use crate::random::Random;
use crate::time::{Now, Tick};
use crate::wire::frame::handshake::{Purpose, Role as End};
use crate::wire::frame::link::{Came, Identity, Link};
use crate::wire::frame::order::{Start, parse_end, write_status};
use crate::wire::frame::{Frame, Kind};

/// What an agent is told by whoever starts it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name, its cluster's, and what proves that it belongs there.
    pub identity: Identity,
    /// The controller.
    pub join: SocketAddr,
    /// Where the programs stand that its back-ends may run.
    pub programs: PathBuf,
    /// The file of the secret, for its back-ends.
    pub key_file: Option<PathBuf>,
    /// For jitter and nonces.
    pub seed: u64,
}

/// What the link is doing.
enum Line {
    /// Nothing, until then.
    Resting(Tick),
    /// It is being made, at most until then.
    Dialling(usize, Tick),
    /// It stands.
    Standing(usize, Box<Link>),
}

/// An agent.
pub struct Agent {
    setup: Setup,
    random: Random,
    keeper: Keeper,
    line: Line,
    next_link: usize,
    failures: u32,
    closed: VecDeque<usize>,
    orders: BTreeMap<String, Component>,
    downs: BTreeMap<String, Wanted>,
    /// When it says again what runs.
    next_status: Tick,
    is_stopping: bool,
}

impl Agent {
    /// One that goes on where `memory` ends. The processes in it are those that still run.
    pub fn new(setup: Setup, memory: Memory, now: Now) -> Agent {
        let mut random = Random::new(setup.seed);
        let mut agent = Agent {
            keeper: Keeper::new(random.next_u64()),
            random,
            setup,
            line: Line::Resting(now.tick),
            next_link: 0,
            failures: 0,
            closed: VecDeque::new(),
            orders: memory.orders,
            downs: memory.downs,
            next_status: now.tick,
            is_stopping: false,
        };
        for one in memory.processes {
            agent.keeper.adopt(&one.name, one.component, one.life, now.tick);
        }
        agent.settle(now);
        agent
    }

    fn settle(&mut self, now: Now) {
        let kept: Vec<String> = self.keeper.all().map(|(name, _)| name.to_owned()).collect();
        for name in kept.iter().filter(|name| !self.orders.contains_key(*name)) {
            self.keeper.remove(name, now.tick);
        }
        for (name, component) in &self.orders {
            let told = self.downs.get(name).copied().unwrap_or(Wanted::Up);
            let wanted = if self.is_stopping { Wanted::Drained } else { told };
            self.keeper.put(name, component.clone(), wanted, now.tick);
        }
    }

    fn start(&mut self, order: &Start, now: Now) -> Result<(), String> {
        if !self.orders.contains_key(&order.name) && self.orders.len() >= COMPONENTS_MAX {
            return Err(format!("there are more than {COMPONENTS_MAX} components"));
        }
        let Setup { identity, programs, key_file, .. } = &self.setup;
        let component = back_end(order, programs, &identity.cluster_name, key_file.as_deref());
        self.orders.insert(order.name.clone(), component);
        self.downs.remove(&order.name);
        self.settle(now);
        self.keeper.hurry(&order.name, now.tick);
        Ok(())
    }

    fn end_component(&mut self, name: &str, wanted: Wanted, forget: bool, now: Now) {
        if forget {
            self.orders.remove(name);
            self.downs.remove(name);
        } else if self.orders.contains_key(name) {
            self.downs.insert(name.to_owned(), wanted);
        }
        self.settle(now);
        self.keeper.note_change();
    }

    fn handle_frame(&mut self, frame: &Frame, now: Now) -> Result<(), String> {
        let wrong = |why: crate::wire::frame::meta::NotUnderstood| why.to_string();
        match frame.kind {
            Kind::START => self.start(&Start::parse(frame.meta).map_err(wrong)?, now)?,
            Kind::STOP | Kind::DRAIN => {
                let wanted = if frame.kind == Kind::STOP { Wanted::Stopped } else { Wanted::Drained };
                let (name, forget) = parse_end(frame.meta).map_err(wrong)?;
                self.end_component(&name, wanted, forget, now);
            }
            Kind::BYE => {
                let bye = crate::wire::frame::message::Bye::parse(frame.meta);
                log::warn!("the controller ends the link: {}", bye.map_or(String::new(), |bye| bye.reason));
            }
            _ => {}
        }
        Ok(())
    }

    fn tell_status(&mut self, now: Now) {
        let Line::Standing(_, link) = &mut self.line else { return };
        if link.peer().is_some() {
            // What is only about to go may be left out.
            let all = self.keeper.all().map(|(name, kept)| status(name, kept)).take(COMPONENTS_MAX);
            let all: Vec<_> = all.collect();
            write_status(&all, &mut link.out);
            self.next_status = now.tick.plus_ms(AGENT_STATUS_MS);
        }
    }

    /// The link is over, or was never made.
    fn rest(&mut self, now: Now) {
        if matches!(&self.line, Line::Standing(_, link) if link.peer().is_some()) {
            log::warn!("the controller ({}) is lost; what runs goes on", self.setup.join);
            self.failures = 0;
        }
        let wait = (DIAL_MS_MIN << self.failures.min(10)).min(DIAL_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        let wait = wait / 2 + self.random.next_u64() % (wait / 2 + 1);
        self.line = Line::Resting(now.tick.plus_ms(wait));
    }

    fn close(&mut self, now: Now) {
        if let Line::Dialling(id, _) | Line::Standing(id, _) = self.line {
            self.closed.push_back(id);
            self.rest(now);
        }
    }

    fn end(&mut self, why: &str, now: Now) {
        log::warn!("link to the controller ({}) ends: {why}", self.setup.join);
        if let Line::Standing(_, link) = &mut self.line {
            link.end(why, now.tick.plus_ms(LINK_ENDING_MS));
        }
    }

    fn deadline(&self) -> Tick {
        match &self.line {
            Line::Resting(until) | Line::Dialling(_, until) => *until,
            Line::Standing(_, link) if link.peer().is_some() => {
                link.heard.plus_ms(BACKEND_SILENT_MS).min(self.next_status)
            }
            Line::Standing(_, link) => link.until,
        }
    }
}

impl Supervise for Agent {
    fn keeper(&mut self) -> &mut Keeper {
        &mut self.keeper
    }

    fn memory(&self) -> Memory {
        let (orders, downs) = (self.orders.clone(), self.downs.clone());
        Memory { orders, downs, ..Memory::of(&self.keeper) }
    }

    fn handle_time(&mut self, now: Now) {
        self.keeper.handle_time(now.tick);
        let is_late = match &self.line {
            Line::Resting(_) => false,
            Line::Dialling(_, until) => now.tick >= *until,
            Line::Standing(_, link) if link.peer().is_some() => {
                now.tick.since_ms(link.heard) >= BACKEND_SILENT_MS || link.output().len() > ORDERS_BYTES_MAX
            }
            Line::Standing(_, link) => now.tick >= link.until,
        };
        if is_late {
            self.close(now);
        }
        if now.tick >= self.next_status {
            self.tell_status(now);
        }
    }

    fn handle_change(&mut self, now: Now) {
        self.tell_status(now);
    }

    fn next_deadline(&self, now: Tick) -> Tick {
        self.keeper.next_deadline(now).unwrap_or(Tick(u64::MAX)).min(self.deadline())
    }

    fn stop(&mut self, now: Now) {
        if std::mem::replace(&mut self.is_stopping, true) {
            self.keeper.kill_all();
        }
        self.settle(now);
    }

    fn is_over(&mut self, _: Tick) -> bool {
        self.is_stopping && self.keeper.is_idle(Role::BackEnd)
    }

    fn handle_command(&mut self, _: &[u8], _: Now) -> Vec<u8> {
        Vec::new()
    }

    fn poll_call(&mut self, _: Tick) -> Option<Call> {
        None
    }

    fn handle_answer(&mut self, _: &Call, _: Result<u16, String>, _: Tick) {}

    fn poll_dial(&mut self, now: Now) -> Option<(usize, SocketAddr)> {
        let Line::Resting(until) = self.line else { return None };
        if now.tick < until || self.is_stopping {
            return None;
        }
        self.next_link += 1;
        self.line = Line::Dialling(self.next_link, now.tick.plus_ms(LINK_DIAL_MS));
        Some((self.next_link, self.setup.join))
    }

    fn handle_up(&mut self, id: usize, now: Now) {
        let link = self.setup.identity.link(Purpose::Orders, End::Dialer, &mut self.random, now.tick);
        self.line = Line::Standing(id, Box::new(link));
    }

    fn accept(&mut self, _: SocketAddr, _: Now) -> Option<usize> {
        None
    }

    fn handle_input(&mut self, _: usize, input: &[u8], now: Now) {
        let Line::Standing(_, link) = &mut self.line else { return };
        let bytes = link.begin_input(input, now.tick);
        let mut used = 0;
        loop {
            let Line::Standing(_, link) = &mut self.line else { return };
            match link.next(bytes.get(used..).unwrap_or_default()) {
                Ok(None) => break,
                Ok(Some((came, len))) => {
                    used += len;
                    match came {
                        Some(Came::Frame(frame)) => {
                            if let Err(why) = self.handle_frame(&frame, now) {
                                self.end(&why, now);
                            }
                        }
                        Some(Came::Up(_)) => {
                            log::info!("joined the controller at {}", self.setup.join);
                            self.failures = 0;
                            self.tell_status(now);
                        }
                        None => {}
                    }
                }
                Err(why) => {
                    self.end(&why, now);
                    break;
                }
            }
        }
        if let Line::Standing(_, link) = &mut self.line {
            link.keep(bytes, used);
        }
    }

    fn handle_down(&mut self, id: usize, now: Now) {
        if matches!(self.line, Line::Dialling(own, _) | Line::Standing(own, _) if own == id) {
            self.rest(now);
        }
    }

    fn output(&self, id: usize) -> &[u8] {
        match &self.line {
            Line::Standing(own, link) if *own == id => link.output(),
            _ => &[],
        }
    }

    fn handle_sent(&mut self, _: usize, len: usize, now: Now) {
        let Line::Standing(_, link) = &mut self.line else { return };
        link.handle_sent(len);
        if link.is_ending() && link.output().is_empty() {
            self.close(now);
        }
    }

    fn poll_closed(&mut self) -> Option<usize> {
        self.closed.pop_front()
    }
}
