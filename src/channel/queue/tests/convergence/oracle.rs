//! What a name must stand for, from the set of all entries: no order in it.

use super::super::*;
use crate::channel::entry::{Deed, Generation};

/// What a name stands for at a node that knows all entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Unknown,
    Open { life: Generation, birth: Birth, touched: Timestamp },
    Closed { life: Generation, closed: Timestamp, expired: Option<Timestamp> },
}

/// What one entry says of a name.
struct Word {
    id: MessageId,
    time: Timestamp,
    life: Generation,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Message,
    Created(u64),
    Renewed(u64),
    Closed,
    Expired(Timestamp),
}

fn words(name: &str, entries: &[&Entry]) -> Vec<Word> {
    let word = |entry: &&Entry| {
        let (named, life, what) = match &entry.deed {
            Deed::Publish(published) => {
                let (named, life) = published.channels.iter().find(|named| named.0.as_str() == name)?;
                (named, life, What::Message)
            }
            Deed::Create { name, generation, ttl_ms } => (name, generation, What::Created(*ttl_ms)),
            Deed::Renew { name, generation, ttl_ms } => (name, generation, What::Renewed(*ttl_ms)),
            Deed::Close { name, generation } => (name, generation, What::Closed),
            Deed::Expire { name, generation, touched } => (name, generation, What::Expired(*touched)),
            Deed::Mark => return None,
        };
        (named.as_str() == name).then_some(Word { id: entry.id, time: entry.time, life: *life, what })
    };
    entries.iter().filter_map(word).collect()
}

/// What follows from all that was said of the last life.
fn state(last: &[&Word]) -> State {
    let Some(life) = last.first().map(|word| word.life) else { return State::Unknown };
    let is_touch = |word: &&&Word| !matches!(word.what, What::Closed | What::Expired(_));
    let touched = last.iter().filter(is_touch).map(|word| word.time).max().unwrap_or_default();
    let closed = last.iter().filter(|word| word.what == What::Closed).map(|word| word.time).max();
    if let Some(closed) = closed {
        return State::Closed { life, closed, expired: None };
    }
    let expiries = last.iter().filter_map(|word| match word.what {
        What::Expired(known) => Some((known, word.time)),
        _ => None,
    });
    match expiries.max() {
        Some((known, closed)) if known >= touched => State::Closed { life, closed, expired: Some(known) },
        _ => {
            let created = last.iter().any(|word| matches!(word.what, What::Created(_)));
            State::Open { life, birth: if created { Birth::Created } else { Birth::FirstUse }, touched }
        }
    }
}

/// What a name does stand for.
pub fn found(queue: &MessageQueue, name: &str) -> State {
    match queue.find(name) {
        Lookup::Open(ix) => {
            let channel = &queue.channels[ix.0 as usize];
            let (life, birth, touched) = (channel.life, channel.birth, channel.touched);
            // One that was only waited on is nobody else's business.
            if touched == Timestamp(0) { State::Unknown } else { State::Open { life, birth, touched } }
        }
        Lookup::Closed => {
            let stone = queue.tombstones.find(name).unwrap();
            State::Closed { life: stone.life, closed: stone.closed, expired: stone.expired }
        }
        Lookup::Unknown => State::Unknown,
    }
}

/// That a name stands for what it must, and that what is missing there is told.
pub fn check(queue: &MessageQueue, name: &str, entries: &[&Entry], exact: bool) {
    let all = words(name, entries);
    let life = all.iter().map(|word| word.life).max().unwrap_or(0);
    let last: Vec<&Word> = all.iter().filter(|word| word.life == life).collect();
    let wanted = state(&last);
    assert_eq!(found(queue, name), wanted, "{name} at {}", queue.origin);
    if let (State::Open { .. }, Lookup::Open(ix)) = (wanted, queue.find(name)) {
        check_messages(queue, ix, &last, exact);
    }
}

/// The messages that a name's open channel had, wherever they are held; none if it is not open.
pub fn messages(queue: &MessageQueue, name: &str, entries: &[&Entry]) -> Vec<MessageId> {
    let State::Open { life, .. } = found(queue, name) else { return Vec::new() };
    let all = words(name, entries);
    all.iter().filter(|word| word.life == life && word.what == What::Message).map(|word| word.id).collect()
}

fn check_messages(queue: &MessageQueue, ix: ChannelIx, last: &[&Word], exact: bool) {
    let channel = &queue.channels[ix.0 as usize];
    let mut held: Vec<_> =
        channel.history().into_iter().flat_map(History::iter).map(|message| message.id).collect();
    let mut all: Vec<_> = last.iter().filter(|word| word.what == What::Message).map(|word| word.id).collect();
    held.sort();
    all.sort();
    assert!(held.iter().all(|id| all.contains(id)), "{held:?} of {all:?}");
    // Of a dead origin a cursor tells by its age what it has missed, which is the readers' business.
    for id in all.iter().filter(|id| !held.contains(id) && queue.head().seq(id.origin) > 0) {
        let mut after = queue.head().clone();
        after.set(id.origin, id.seq - 1);
        assert!(has_gap(queue, ix, &after), "{id} is lost in silence at {}", queue.origin);
    }
    if !exact || last.iter().any(|word| matches!(word.what, What::Expired(_))) {
        // It was revived at some nodes, whose messages went when they took it for expired.
        return;
    }
    assert_eq!(held, all);
    let said = last.iter().filter_map(|word| match word.what {
        What::Created(ttl_ms) | What::Renewed(ttl_ms) => Some((word.time, ttl_ms)),
        _ => None,
    });
    if let Some(said) = said.max() {
        assert_eq!((channel.ttl_set(), channel.ttl_ms), said);
    }
}

pub fn has_gap(queue: &MessageQueue, ix: ChannelIx, after: &VersionVector) -> bool {
    let wanted = Wanted {
        after: Some(after),
        since: Timestamp(0),
        until: Timestamp::MAX,
        messages_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    queue.read(&[Some(ix)], &wanted, START.tick).gap
}
