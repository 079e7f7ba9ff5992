//! The logs: of every origin the latest entries, as the frames in which they travel.
//!
//! Whoever lacks an entry can have it from any node that still holds it, so that an origin may
//! die in the middle of its fan-out. The bytes of all logs together are bounded: the oldest
//! entries go first, and whoever still needs those takes a snapshot instead.
//!
//! Invariant: an origin's log is contiguous and ends with the entry that was applied last.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::{MessageId, Origin};
use crate::limits::LOG_FRAME_OVERHEAD_BYTES;
use crate::sorted::SortedMap;

/// One origin's latest entries.
#[derive(Debug)]
struct Log {
    /// The number of the first frame.
    first: u64,
    frames: VecDeque<Arc<[u8]>>,
}

/// All origins' latest entries.
#[derive(Debug, Default)]
pub struct Logs {
    logs: SortedMap<Origin, Log>,
    /// Which origin each entry was of, the oldest first.
    order: VecDeque<Origin>,
    bytes: usize,
}

impl Logs {
    /// Adds an origin's next entry and drops the oldest ones beyond `bytes_max`. An entry that does
    /// not continue its log begins it anew: what lies between is in no log.
    pub fn append(&mut self, id: MessageId, frame: Arc<[u8]>, bytes_max: usize) {
        let fresh = || Log { first: id.seq, frames: VecDeque::new() };
        let log = self.logs.get_or_insert_with(id.origin, fresh);
        if log.first + log.frames.len() as u64 != id.seq {
            self.clear(id.origin, id.seq);
        }
        self.bytes += cost(&frame);
        self.order.push_back(id.origin);
        if let Some(log) = self.logs.get_mut(&id.origin) {
            log.frames.push_back(frame);
        }
        while self.bytes > bytes_max && self.order.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Empties an origin's log, to go on with `first`.
    fn clear(&mut self, origin: Origin, first: u64) {
        let Some(log) = self.logs.get_mut(&origin) else { return };
        self.bytes -= log.frames.drain(..).map(|frame| cost(&frame)).sum::<usize>();
        log.first = first;
        self.order.retain(|other| *other != origin);
    }

    fn drop_oldest(&mut self) {
        let Some(origin) = self.order.pop_front() else { return };
        if let Some(log) = self.logs.get_mut(&origin)
            && let Some(frame) = log.frames.pop_front()
        {
            log.first += 1;
            self.bytes -= cost(&frame);
        }
    }

    /// An entry's frame, if it is still there.
    pub fn frame(&self, id: MessageId) -> Option<&Arc<[u8]>> {
        let log = self.logs.get(&id.origin)?;
        let at = id.seq.checked_sub(log.first)?;
        log.frames.get(usize::try_from(at).ok()?)
    }

    /// The first entry of an origin that can be had, if anything of it can.
    pub fn first(&self, origin: Origin) -> Option<u64> {
        self.logs.get(&origin).filter(|log| !log.frames.is_empty()).map(|log| log.first)
    }

    /// Forgets the origins that are not to be kept.
    pub fn keep(&mut self, keeps: impl Fn(Origin) -> bool) {
        let gone: Vec<Origin> =
            self.logs.iter().map(|(origin, _)| *origin).filter(|origin| !keeps(*origin)).collect();
        if gone.is_empty() {
            return;
        }
        // However many they are, the order is gone through once.
        self.order.retain(|origin| keeps(*origin));
        for log in gone.iter().filter_map(|origin| self.logs.remove(origin)) {
            self.bytes -= log.frames.iter().map(cost).sum::<usize>();
        }
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

/// What a frame costs: itself, its counts, its places in log and order.
fn cost(frame: &Arc<[u8]>) -> usize {
    frame.len() + LOG_FRAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(origin: u64, seq: u64) -> MessageId {
        MessageId { origin: Origin(origin), seq }
    }

    fn frame(text: &str) -> Arc<[u8]> {
        Arc::from(text.as_bytes())
    }

    #[test]
    fn entries_are_found_until_they_are_too_old() {
        let mut logs = Logs::default();
        let each = LOG_FRAME_OVERHEAD_BYTES + 3;
        for seq in 1..=10 {
            logs.append(id(1, seq), frame("own"), 6 * each);
            logs.append(id(2, seq + 100), frame("two"), 6 * each);
        }
        assert_eq!((logs.first(Origin(1)), logs.first(Origin(2))), (Some(8), Some(108)));
        assert_eq!((logs.len(), logs.bytes()), (6, 6 * each));
        assert!(logs.frame(id(1, 7)).is_none());
        assert_eq!(logs.frame(id(1, 8)).map(|frame| &frame[..]), Some(&b"own"[..]));
        assert_eq!(logs.frame(id(2, 110)).map(|frame| &frame[..]), Some(&b"two"[..]));
        assert!(logs.frame(id(2, 111)).is_none() && logs.frame(id(3, 1)).is_none());
    }

    #[test]
    fn a_hole_begins_the_log_anew() {
        let mut logs = Logs::default();
        logs.append(id(1, 1), frame("a"), 1_000_000);
        logs.append(id(2, 1), frame("b"), 1_000_000);
        logs.append(id(1, 9), frame("c"), 1_000_000);
        assert_eq!((logs.first(Origin(1)), logs.len()), (Some(9), 2));
        assert!(logs.frame(id(1, 1)).is_none());
        assert!(logs.frame(id(1, 9)).is_some());
    }

    #[test]
    fn an_entry_larger_than_the_bound_still_stands_alone() {
        let mut logs = Logs::default();
        logs.append(id(1, 1), frame("abc"), 1);
        logs.append(id(1, 2), frame("abcdef"), 1);
        assert_eq!((logs.first(Origin(1)), logs.len()), (Some(2), 1));
    }

    #[test]
    fn what_is_not_kept_goes_with_its_bytes() {
        let mut logs = Logs::default();
        logs.append(id(1, 1), frame("a"), 1_000_000);
        logs.append(id(2, 1), frame("b"), 1_000_000);
        logs.keep(|origin| origin == Origin(2));
        assert_eq!((logs.first(Origin(1)), logs.first(Origin(2))), (None, Some(1)));
        assert_eq!((logs.len(), logs.bytes()), (1, LOG_FRAME_OVERHEAD_BYTES + 1));
    }
}
