//! What was published on each channel, and what became of it.
//!
//! What it refuses to know: connections. Invariant: sequence numbers of a channel are given
//! out in the order in which its messages go to the server.

use std::collections::BTreeSet;
use std::time::Instant;

/// Publications of one engine that are followed one by one; of more, only the sums are known.
pub const ROUNDS_MAX: usize = 1_000_000;

/// What became of one publication.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// When it was planned.
    pub planned: Instant,
    /// Pollers that it reached, each counted once.
    pub receipts: u32,
    /// Microseconds from the planned time to the first of them.
    pub first_us: u32,
    /// Microseconds to the last of them.
    pub last_us: u32,
}

impl Round {
    fn note(&mut self, us: u64) {
        let us = u32::try_from(us).unwrap_or(u32::MAX);
        self.first_us = if self.receipts == 0 { us } else { self.first_us.min(us) };
        self.last_us = self.last_us.max(us);
        self.receipts += 1;
    }
}

/// One channel of a run.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// Messages that got a number.
    pub published: u32,
    /// Pollers that must get every message.
    pub audience: u32,
    /// Numbers of publications that failed; nearly always none.
    pub void: BTreeSet<u32>,
    /// The publications, from the first on.
    pub rounds: Vec<Round>,
}

impl Channel {
    /// Notes a receipt in the publication's round, if rounds are kept.
    pub fn note(&mut self, sequence: u32, us: u64) {
        if let Some(round) = self.rounds.get_mut(sequence as usize) {
            round.note(us);
        }
    }

    pub fn is_void(&self, sequence: u32) -> bool {
        !self.void.is_empty() && self.void.contains(&sequence)
    }
}

/// The channels of a run, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Channels {
    all: Vec<Channel>,
    rounds: usize,
}

impl Channels {
    /// The channel of that number, made if it is new. Numbers are expected to be dense.
    pub fn entry(&mut self, channel: u32) -> &mut Channel {
        let index = channel as usize;
        if index >= self.all.len() {
            self.all.resize_with(index + 1, Channel::default);
        }
        &mut self.all[index]
    }

    pub fn get(&self, channel: u32) -> Option<&Channel> {
        self.all.get(channel as usize)
    }

    pub fn get_mut(&mut self, channel: u32) -> Option<&mut Channel> {
        self.all.get_mut(channel as usize)
    }

    /// Begins to follow the publication that just got its number.
    pub fn begin_round(&mut self, channel: u32, planned: Instant) {
        if self.rounds < ROUNDS_MAX {
            self.rounds += 1;
            self.entry(channel).rounds.push(Round { planned, receipts: 0, first_us: 0, last_us: 0 });
        }
    }
}
