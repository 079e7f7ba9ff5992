//! A client that reads all channels, now at this node, now at that.

use std::collections::BTreeSet;

use super::super::*;
use super::world::NAMES;

#[derive(Clone, Debug, Default)]
pub struct Reader {
    after: VersionVector,
    got: BTreeSet<MessageId>,
    told: bool,
    /// Channels of which it was told that they are closed.
    closed: BTreeSet<&'static str>,
}

impl Reader {
    /// Reads what it has not examined: nothing comes twice, and no cursor goes back.
    pub fn read(&mut self, queue: &MessageQueue, now: Tick) {
        let wanted = Wanted {
            after: Some(&self.after),
            since: Timestamp(0),
            until: Timestamp::MAX,
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let place = |name: &&str| match queue.find(name) {
            Lookup::Open(ix) => Some(ix),
            Lookup::Closed | Lookup::Unknown => None,
        };
        let places: Vec<_> = NAMES.iter().map(place).collect();
        self.closed.extend(NAMES.iter().filter(|name| queue.find(name) == Lookup::Closed));
        let reading = queue.read(&places, &wanted, now);
        for carried in &reading.messages {
            assert!(self.got.insert(carried.message.id), "{} came twice", carried.message.id);
        }
        for (origin, seq) in self.after.iter() {
            let stays = reading.examined.seq(origin) >= seq;
            let is_over = reading.examined.seq(origin) == 0 && queue.known(origin) >= seq;
            assert!(stays || is_over, "it goes back");
        }
        self.told |= reading.gap;
        self.after = reading.examined;
    }

    /// That it got all messages of an open channel, or was told that it did not.
    pub fn check(&self, name: &str, all: &[MessageId]) {
        let lost: Vec<_> = all.iter().filter(|id| !self.got.contains(id)).collect();
        assert!(
            self.told || self.closed.contains(name) || lost.is_empty(),
            "{name} lost {lost:?} in silence"
        );
    }
}
