//! Engines that share a run: one publishes, the others poll, each in a thread of its own.
//!
//! What it refuses to know: threads. Invariant: a poller that goes on to another channel leaves nothing
//! uncounted behind: what it had not got on the old one by then is lost.

use super::{Engine, Options};
use crate::ledger::Ledger;

/// Which channels pollers go on to from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onward {
    /// The first of the new channels. Pollers of lower channels go on.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// The engine's first poller stands at this place among all engines' pollers; they take the channels in
    /// turn.
    pub place: usize,
}

impl Onward {
    fn channel_of(&self, poller: u32) -> u32 {
        let place = self.place + poller as usize;
        self.first + (place % self.count.max(1) as usize) as u32
    }
}

impl Engine {
    /// How another engine of the same run works that publishes nothing by itself.
    pub fn companion(&self) -> Options {
        Options { publish_to: Vec::new(), ..self.options.clone() }
    }

    /// Another engine of the run publishes the next message of this channel. Call it before that is sent:
    /// a message that nobody expects is a stray.
    pub fn expect(&mut self, channel: u32) {
        let entry = self.channels.entry(channel);
        entry.published += 1;
        self.tally.expected += u64::from(entry.audience);
    }

    /// From now on pollers leave the old channels: the next message that one gets there is its last, and
    /// its next poll is on a new channel. Nothing may have been published on the new ones, and one message
    /// at a time on the old.
    pub fn lead_on(&mut self, onward: Onward) {
        self.onward = Some(onward);
    }

    /// A poller got a message: its next poll may be on another channel.
    pub(super) fn go_onward(&mut self, poller: u32) {
        let Some(onward) = self.onward else { return };
        let slot = &self.slots[poller as usize];
        let old = slot.channel;
        if old >= onward.first {
            return;
        }
        let is_audited = self.manners[usize::from(slot.manner)].is_audited();
        let new = onward.channel_of(poller);
        if is_audited {
            self.lost_behind += self.lacks(slot);
            let left = self.channels.entry(old);
            left.audience = left.audience.saturating_sub(1);
            self.channels.entry(new).audience += 1;
        }
        let slot = &mut self.slots[poller as usize];
        slot.channel = new;
        slot.ledger = Ledger::default();
    }
}
