//! What actors see and change: the network, the ledger, the totals, the trace. They know no node's
//! insides.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::agenda::{Event, Ms};
use crate::ledger::Ledger;
use crate::net::{Machine, Net};
use crate::plan::Plan;
use crate::random::Random;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub counts: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub fn add(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    pub fn merge(&mut self, other: &Totals) {
        for (name, count) in &other.counts {
            self.add(name, *count);
        }
    }

    pub fn of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// Everything but the nodes and the actors themselves.
#[derive(Debug)]
pub struct Scene {
    pub plan: Plan,
    pub net: Net,
    pub random: Random,
    pub ledger: Ledger,
    pub totals: Totals,
    /// Nodes that have just acknowledged something.
    pub receipts: Vec<usize>,
    /// What an oracle found, the first thing.
    pub failure: Option<String>,
}

impl Scene {
    pub fn now(&self) -> Ms {
        self.net.now()
    }

    /// A line of the trace; it is made only if somebody reads it.
    pub fn note<T: Display>(&mut self, who: &str, what: impl FnOnce() -> T) {
        self.net.note(who, what);
    }

    /// Holds an oracle's verdict against the run.
    pub fn judge<T>(&mut self, who: &str, verdict: Result<T, String>) -> Option<T> {
        match verdict {
            Ok(value) => Some(value),
            Err(message) => {
                self.note(who, || format!("FAILED {message}"));
                self.failure.get_or_insert_with(|| format!("{who}: {message}"));
                None
            }
        }
    }

    /// A node that a client would take: one that answers, but now and then any.
    pub fn some_node(&mut self) -> usize {
        let up = |machine: &Machine| matches!(machine, Machine::Up { .. });
        let all: Vec<usize> = (0..self.plan.nodes).filter(|node| up(&self.net.machines[*node])).collect();
        if self.random.percent(3) { self.random.index(self.plan.nodes) } else { self.random.pick(&all) }
    }

    /// The same, but another one.
    pub fn another_node(&mut self, node: usize) -> usize {
        (0..4).map(|_| self.some_node()).find(|other| *other != node).unwrap_or(node)
    }

    /// Sets an actor's timer in place of the one of before.
    pub fn set_timer(&mut self, timer: &mut Timer, after_ms: Ms) {
        timer.serial += 1;
        self.net.agenda.after(after_ms, Event::Timer { actor: timer.actor, serial: timer.serial });
    }
}

/// An actor's timer.
#[derive(Debug)]
pub struct Timer {
    pub actor: usize,
    pub serial: u64,
}
