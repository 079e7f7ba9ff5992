//! What is obviously right: plain lists, gathered and sorted.

use super::*;
use crate::channel::message::Body;

pub fn message(id: MessageId, time: u64, expires: Tick, len: usize) -> Arc<Message> {
    Arc::new(Message {
        id,
        time: Timestamp(time),
        expires,
        channels: Default::default(),
        media_type: "text/plain".into(),
        body: Body::text("x".repeat(len).into()),
    })
}

/// One channel's history, and beside it what that should hold and what it has dropped.
#[derive(Default)]
pub struct Room {
    pub history: History,
    held: Vec<Arc<Message>>,
    dropped: Vec<MessageId>,
}

impl Room {
    pub fn append(&mut self, message: Arc<Message>) {
        self.history.append(message.clone());
        self.held.push(message);
    }

    pub fn expire(&mut self, now: Tick) {
        let mut got = Vec::new();
        self.history.expire(now, |message| got.push(message.id));
        let (gone, held) = self.held.drain(..).partition(|message| message.expires <= now);
        self.held = held;
        self.forget(gone, got);
    }

    pub fn trim(&mut self, count_max: usize, bytes_max: usize) {
        let mut got = Vec::new();
        self.history.trim(count_max, bytes_max, |message| got.push(message.id));
        let mut gone = Vec::new();
        while self.held.len() > 1 && (self.held.len() > count_max || self.bytes() > bytes_max) {
            gone.extend(self.take_oldest());
        }
        self.forget(gone, got);
    }

    pub fn drop_oldest(&mut self) {
        let got = self.history.drop_oldest().map(|message| message.id);
        let gone = self.take_oldest();
        self.forget(gone.into_iter().collect(), got.into_iter().collect());
    }

    /// Drops an origin's oldest, after trying its newest in vain.
    pub fn drop_front(&mut self, origin: Origin) {
        let of_origin: Vec<_> =
            self.held.iter().filter(|message| message.id.origin == origin).cloned().collect();
        let (Some(first), Some(last)) = (of_origin.first(), of_origin.last()) else {
            assert_eq!(self.history.drop_if_front(MessageId { origin, seq: 1 }), None);
            return;
        };
        if first.id != last.id {
            assert_eq!(self.history.drop_if_front(last.id), None);
        }
        let got = self.history.drop_if_front(first.id).map(|message| message.id);
        self.held.retain(|message| message.id != first.id);
        self.forget(vec![first.clone()], got.into_iter().collect());
    }

    /// All that was ever here.
    pub fn ever(&self) -> Vec<MessageId> {
        self.held.iter().map(|message| message.id).chain(self.dropped.iter().copied()).collect()
    }

    /// That the history holds what it should, and says so.
    pub fn check(&self) {
        let sorted = |mut ids: Vec<MessageId>| {
            ids.sort();
            ids
        };
        let ids = |messages: &[Arc<Message>]| messages.iter().map(|message| message.id).collect::<Vec<_>>();
        let held: Vec<_> = self.history.iter().cloned().collect();
        assert_eq!(sorted(ids(&held)), sorted(ids(&self.held)));
        assert_eq!((self.history.count(), self.history.bytes()), (self.held.len(), self.bytes()));
        let next = self.held.iter().map(|message| message.expires).min();
        let told = self.history.next_expiry();
        assert_eq!(told.is_some(), next.is_some());
        assert!(told <= next, "something expires before its time is told");
        assert!(self.held.iter().all(|message| self.history.holds(message.id)));
        assert!(!self.dropped.iter().any(|id| self.history.holds(*id)));
        for (origin, upto) in self.history.evicted(false) {
            assert_eq!(upto, newest(&self.dropped, origin));
        }
        for (origin, upto) in self.history.evicted(true) {
            assert_eq!(upto, newest(&self.ever(), origin));
        }
    }

    fn bytes(&self) -> usize {
        self.held.iter().map(|message| message.bytes()).sum()
    }

    fn take_oldest(&mut self) -> Option<Arc<Message>> {
        let oldest = self.held.iter().min_by_key(|message| (message.time, message.id))?.clone();
        self.held.retain(|message| message.id != oldest.id);
        Some(oldest)
    }

    fn forget(&mut self, gone: Vec<Arc<Message>>, mut got: Vec<MessageId>) {
        let mut gone: Vec<_> = gone.iter().map(|message| message.id).collect();
        gone.sort();
        got.sort();
        assert_eq!(got, gone);
        self.dropped.extend(gone);
    }
}

fn newest(ids: &[MessageId], origin: Origin) -> u64 {
    ids.iter().filter(|id| id.origin == origin).map(|id| id.seq).max().unwrap_or(0)
}

/// What a reading should give.
pub struct Expected {
    pub messages: Vec<(MessageId, u64)>,
    pub examined: VersionVector,
}

/// Everything that is held, wanted and not yet examined, sorted; then what fits of it.
pub fn read(rooms: &[Option<&Room>], wanted: &Wanted, head: &VersionVector, now: Tick) -> Expected {
    let mut all: Vec<_> = unexamined(rooms, wanted.after)
        .filter(|message| message.expires > now && message.time >= wanted.since)
        .collect();
    all.sort_by_key(|message| (message.time, message.id));
    all.dedup_by_key(|message| message.id);
    let mut examined = head.clone();
    wanted
        .after
        .into_iter()
        .flat_map(VersionVector::iter)
        .for_each(|(origin, seq)| examined.raise(origin, seq));
    let (mut messages, mut bytes_left, mut full) = (Vec::new(), wanted.bytes_max, false);
    for message in all {
        let too_late = message.time > wanted.until;
        let no_room = messages.len() >= wanted.messages_max
            || !messages.is_empty() && message.body.embedded_bytes() > bytes_left;
        full |= !too_late && no_room;
        if too_late || full {
            // From here on nothing of that origin was examined.
            let upto = examined.seq(message.id.origin).min(message.id.seq - 1);
            examined.set(message.id.origin, upto);
            continue;
        }
        bytes_left = bytes_left.saturating_sub(message.body.embedded_bytes());
        messages.push((message.id, carriers(rooms, message.id)));
    }
    Expected { messages, examined }
}

fn unexamined<'a>(
    rooms: &'a [Option<&'a Room>],
    after: Option<&'a VersionVector>,
) -> impl Iterator<Item = &'a Arc<Message>> {
    let held = rooms.iter().flatten().flat_map(|room| &room.held);
    held.filter(move |message| after.is_none_or(|after| !after.covers(message.id)))
}

fn carriers(rooms: &[Option<&Room>], id: MessageId) -> u64 {
    let carries = |room: &Room| room.held.iter().any(|message| message.id == id);
    let marks = rooms.iter().enumerate().filter(|(_, room)| room.is_some_and(carries));
    marks.map(|(at, _)| 1 << at).sum()
}

/// Whether a gap must be told, and whether it may: what was dropped counts always; what has
/// expired and is not dropped yet counts once the reader is past it.
pub fn gap(rooms: &[Option<&Room>], wanted: &Wanted, examined: &VersionVector, now: Tick) -> (bool, bool) {
    let Some(after) = wanted.after else { return (false, false) };
    let dropped = rooms.iter().flatten().flat_map(|room| &room.dropped).any(|id| !after.covers(*id));
    let expired = || {
        let held = unexamined(rooms, wanted.after);
        held.filter(|message| message.expires <= now && message.time >= wanted.since)
    };
    let passed = expired().any(|message| examined.covers(message.id) && message.time <= wanted.until);
    (dropped || passed, dropped || expired().next().is_some())
}
