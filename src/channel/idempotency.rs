//! Recognises a publication that is sent again: for five minutes, an Idempotency-Key
//! stands for the id that its first sending got.

use std::collections::{HashMap, VecDeque};

use crate::ids::MessageId;
use crate::limits::{IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_MS};
use crate::time::{Tick, Timestamp};

/// What the first sending got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// The message's id.
    pub id: MessageId,
    /// The message's time.
    pub time: Timestamp,
}

/// The keys of the last five minutes, at most [`IDEMPOTENCY_KEYS_MAX`].
#[derive(Debug, Default)]
pub struct Idempotency {
    firsts: HashMap<Box<str>, (Tick, First)>,
    /// The keys by age, with the moment of their end.
    order: VecDeque<(Tick, Box<str>)>,
    /// How many there were before the oldest.
    gone: u64,
    bytes: usize,
}

impl Idempotency {
    /// What the first sending with this key got, if it was within five minutes.
    pub fn first(&mut self, key: &str, now: Tick) -> Option<First> {
        self.forget_old(now);
        self.firsts.get(key).filter(|(until, _)| *until > now).map(|(_, first)| *first)
    }

    /// Remembers a key's first sending.
    pub fn remember(&mut self, key: Box<str>, first: First, now: Tick) {
        self.remember_until(key, first, now.plus_ms(IDEMPOTENCY_MS));
    }

    /// The same, for a key of another node's, of whose time some is over.
    pub fn remember_until(&mut self, key: Box<str>, first: First, until: Tick) {
        if self.order.len() >= IDEMPOTENCY_KEYS_MAX {
            self.forget_oldest();
        }
        self.bytes += cost(&key);
        self.order.push_back((until, key.clone()));
        self.firsts.insert(key, (until, first));
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what is over five minutes old.
    pub fn forget_old(&mut self, now: Tick) {
        while self.order.front().is_some_and(|oldest| oldest.0 <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((until, key)) = self.order.pop_front() {
            self.bytes -= cost(&key);
            self.gone += 1;
            // It may have been remembered again since.
            if self.firsts.get(&key).is_some_and(|(end, _)| *end == until) {
                self.firsts.remove(&key);
            }
        }
    }

    /// The number of the next key from `from` on that is remembered, its end, itself, and what its first
    /// sending got. Numbers rise with age.
    pub fn next(&self, from: u64) -> Option<(u64, Tick, &str, First)> {
        let start = usize::try_from(from.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        let mut rest = (self.gone.max(from)..).zip(self.order.iter().skip(start));
        rest.find_map(|(number, (until, key))| {
            let (_, first) = self.firsts.get(key).filter(|(end, _)| end == until)?;
            Some((number, *until, &**key, *first))
        })
    }
}

/// Twice the text, and the places in map and order.
fn cost(key: &str) -> usize {
    2 * key.len() + 128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Origin;

    fn first(seq: u64) -> First {
        First { id: MessageId { origin: Origin(1), seq }, time: Timestamp(seq) }
    }

    #[test]
    fn a_key_is_remembered_for_five_minutes() {
        let mut keys = Idempotency::default();
        keys.remember("a".into(), first(1), Tick(1000));
        assert_eq!(keys.first("a", Tick(1000 + IDEMPOTENCY_MS - 1)), Some(first(1)));
        assert_eq!(keys.first("b", Tick(1000)), None);
        assert_eq!(keys.first("a", Tick(1000 + IDEMPOTENCY_MS)), None);
        assert_eq!(keys.bytes(), 0);
    }

    #[test]
    fn the_oldest_key_gives_way() {
        let mut keys = Idempotency::default();
        for seq in 0..=IDEMPOTENCY_KEYS_MAX as u64 {
            keys.remember(seq.to_string().into(), first(seq), Tick(0));
        }
        assert_eq!(keys.first("0", Tick(0)), None);
        assert_eq!(keys.first("1", Tick(0)), Some(first(1)));
        assert_eq!(keys.firsts.len(), IDEMPOTENCY_KEYS_MAX);
    }
}
