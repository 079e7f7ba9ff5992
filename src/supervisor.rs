//! The controller (Node Scala §III): starts, stops, watches and restarts front-ends and back-ends, by a file and by the
//! administrator's commands, on one machine or several.
//!
//! Pure: what became of processes, commands, frames of agents and `now` in; deeds, answers and frames out. In reading
//! order: [`plan`] what `cluster.toml` says, [`keeper`] the components of one machine, [`memory`] what survives its
//! process, [`controller`] groups, commands and other machines, [`agent`] the other end on such a machine.
//!
//! Invariant: there are never two processes of one component, however often the controller dies; and whatever happened,
//! once nothing new happens all is as file and commands say.

pub mod agent;
pub mod controller;
pub mod keeper;
pub mod memory;
pub mod plan;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use self::keeper::{Keeper, Kept, State};
use self::memory::Memory;
use self::plan::Plan;
use crate::time::{Now, Tick};
use crate::wire::frame::order::Status;

/// What kind of process a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `pushup serve`.
    FrontEnd,
    /// `pushup worker`.
    BackEnd,
}

impl Role {
    /// Both, with their names.
    pub const ALL: [(&'static str, Role); 2] = [("front_end", Role::FrontEnd), ("back_end", Role::BackEnd)];

    /// Its name.
    pub fn name(self) -> &'static str {
        Role::ALL.iter().find(|(_, role)| *role == self).map_or("", |(name, _)| name)
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.iter().find(|(other, _)| *other == name).map(|(_, role)| *role)
    }
}

/// What a component is started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The group that it is an instance of.
    pub group: String,
    /// What kind of process it is.
    pub role: Role,
    /// This program's arguments.
    pub arguments: Vec<String>,
    /// One more, about what can be changed while it runs: how a front-end chooses back-ends.
    pub scheduler: Option<String>,
    /// How long it may take to end by itself, in milliseconds.
    pub drain_ms: u64,
}

impl Component {
    /// Whether a process that was started as this is as good as one of the other.
    pub fn is_like(&self, other: &Component) -> bool {
        let Component { group, role, arguments, scheduler: _, drain_ms } = self;
        (group, role, arguments, drain_ms) == (&other.group, &other.role, &other.arguments, &other.drain_ms)
    }

    /// All arguments.
    pub fn command_line(&self) -> Vec<String> {
        let scheduler = self.scheduler.as_ref().map(|policy| format!("--scheduler={policy}"));
        self.arguments.iter().cloned().chain(scheduler).collect()
    }
}

/// Whether a component is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Up,
    /// It is not.
    Stopped,
    /// It is not, but may finish what is under way.
    Drained,
}

impl Wanted {
    /// All, with their names.
    pub const ALL: [(&'static str, Wanted); 3] =
        [("up", Wanted::Up), ("stopped", Wanted::Stopped), ("drained", Wanted::Drained)];

    /// Its name.
    pub fn name(self) -> &'static str {
        Wanted::ALL.iter().find(|(_, wanted)| *wanted == self).map_or("", |(name, _)| name)
    }

    /// The wish of a name.
    pub fn parse(name: &str) -> Option<Wanted> {
        Wanted::ALL.iter().find(|(other, _)| *other == name).map(|(_, wanted)| *wanted)
    }
}

/// One process, for ever: its number alone may later be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The process's number.
    pub pid: u32,
    /// When it was started, in the kernel's clock ticks since the machine's start.
    pub start: u64,
    /// The same in Unix milliseconds, for people.
    pub since_ms: u64,
}

/// What others are told of a component.
fn status(name: &str, kept: &Kept) -> Status {
    let state = match (kept.state, kept.wanted) {
        (State::Down, Wanted::Stopped) => "stopped",
        (State::Down, Wanted::Drained) => "drained",
        (State::Waiting(_) | State::Starting, _) if kept.is_failing() => "failing",
        (State::Down | State::Waiting(_) | State::Starting, _) => "waiting",
        (State::Running(_), _) => "running",
        (State::Ending(..) | State::Killed(_), _) => "ending",
    };
    let life = kept.state.life();
    Status {
        name: name.to_owned(),
        group: kept.component.group.clone(),
        state: state.to_owned(),
        pid: life.map_or(0, |life| life.pid),
        since_ms: life.map_or(0, |life| life.since_ms),
        restarts: kept.restarts,
        last_end: kept.last_end.clone().unwrap_or_default(),
    }
}

/// A request to a front-end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which component.
    pub name: String,
    /// Its publisher's listener.
    pub address: String,
    /// What it is told.
    pub policy: Option<String>,
    /// The request, whole.
    pub request: Vec<u8>,
}

/// What a loop drives: a controller or an agent.
///
/// Links are named by numbers that are never given twice.
pub trait Supervise {
    /// The components of this machine.
    fn keeper(&mut self) -> &mut Keeper;

    /// What its next life has to know.
    fn memory(&self) -> Memory;

    /// Time has passed.
    fn handle_time(&mut self, now: Now);

    /// A component has changed.
    fn handle_change(&mut self, now: Now);

    /// When there is something to do next.
    fn next_deadline(&self, now: Tick) -> Tick;

    /// Ends all components, in their order; a second time at once.
    fn stop(&mut self, now: Now);

    /// Whether it was told to stop, and everything has.
    fn is_over(&mut self, now: Tick) -> bool;

    /// The file was read again: what it says counts, and no earlier command. An agent has none.
    fn reload(&mut self, _: Plan, _: BTreeMap<String, String>, _: Now) {}

    /// A line of the control socket; gives back the answer's.
    fn handle_command(&mut self, line: &[u8], now: Now) -> Vec<u8>;

    /// The next front-end to be called.
    fn poll_call(&mut self, now: Tick) -> Option<Call>;

    /// What it answered, or why it did not.
    fn handle_answer(&mut self, call: &Call, answer: Result<u16, String>, now: Tick);

    /// Where to connect to now.
    fn poll_dial(&mut self, now: Now) -> Option<(usize, SocketAddr)>;

    /// The connection stands.
    fn handle_up(&mut self, link: usize, now: Now);

    /// Somebody connected; `None` if there is no room.
    fn accept(&mut self, from: SocketAddr, now: Now) -> Option<usize>;

    /// Bytes of a link.
    fn handle_input(&mut self, link: usize, input: &[u8], now: Now);

    /// A link's connection failed or ended.
    fn handle_down(&mut self, link: usize, now: Now);

    /// What a link has to send; empty for nothing.
    fn output(&self, link: usize) -> &[u8];

    /// So much of it went.
    fn handle_sent(&mut self, link: usize, len: usize, now: Now);

    /// The next link whose socket is to be closed.
    fn poll_closed(&mut self) -> Option<usize>;
}

#[cfg(test)]
mod tests;
