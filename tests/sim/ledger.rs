//! What was published and what was delivered, as the clients saw it. Each delivery is judged at
//! once: a duplicate, a skip, a wrong order or a phantom is found where it happens.

use std::collections::{BTreeMap, BTreeSet};

use pushup::cursor::{Cursor, VersionVector};
use pushup::ids::{MessageId, Origin};
use serde_json::Value;

use crate::agenda::Ms;
use crate::plan::Plan;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Local,
    One,
    Quorum,
}

impl Level {
    pub fn name(self) -> &'static str {
        ["local", "one", "quorum"][self as usize]
    }
}

/// One publication, whatever number of times it was sent.
#[derive(Debug)]
pub struct Publication {
    /// What its body begins with; no other's does.
    pub token: String,
    pub channels: Vec<usize>,
    /// When it was first sent.
    pub begun: Ms,
    /// It has a key: its token.
    pub keyed: bool,
    /// All ids under which it was acknowledged or seen.
    pub ids: BTreeSet<MessageId>,
    /// Acknowledgements: of which id, how much it promised, and when it came.
    pub acks: Vec<(MessageId, Level, Ms)>,
}

/// What a subscriber has been told.
#[derive(Debug, Default)]
pub struct Reader {
    pub channels: Vec<usize>,
    pub from_now: bool,
    /// When its first answer came.
    pub since: Option<Ms>,
    /// Its cursor as the nodes wrote it, and what that says.
    pub cursor: Option<String>,
    pub seen: VersionVector,
    /// What its cursor covered when it was last told of a gap.
    pub excused: VersionVector,
    pub received: BTreeMap<MessageId, Ms>,
    highest: BTreeMap<Origin, u64>,
}

impl Reader {
    pub fn new(channels: Vec<usize>, from_now: bool) -> Reader {
        Reader { channels, from_now, ..Reader::default() }
    }
}

/// What was done to a mortal channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Created or renewed for longer than any run takes.
    Prolong,
    /// Created or renewed for some seconds.
    Shorten,
    Close,
    Publish,
}

/// A keeper's deed, and what it was told.
#[derive(Debug)]
pub struct Deed {
    pub channel: usize,
    pub doing: Doing,
    pub node: usize,
    pub begun: Ms,
    /// When it was answered, and the status; `None` if nobody knows.
    pub answer: Option<(Ms, u16)>,
}

/// Everything that clients know.
#[derive(Debug, Default)]
pub struct Ledger {
    pub publications: Vec<Publication>,
    pub readers: Vec<Reader>,
    pub by_id: BTreeMap<MessageId, usize>,
    pub deeds: Vec<Deed>,
    /// Origins whose node crashed.
    pub crashed: BTreeSet<Origin>,
    /// Those nodes.
    pub fallen: BTreeSet<usize>,
    by_token: BTreeMap<String, usize>,
}

/// An id's text.
pub fn parse_id(text: &str) -> Option<MessageId> {
    let (origin, seq) = text.split_once('-')?;
    Some(MessageId { origin: Origin(u64::from_str_radix(origin, 16).ok()?), seq: seq.parse().ok()? })
}

/// The token at the beginning of a body.
pub fn token_of(data: &Value) -> Option<&str> {
    data.as_str()?.split(':').next()
}

// -- Publishing ------------------------------------------------------------------

impl Ledger {
    /// A publication is about to be sent for the first time.
    pub fn begin(&mut self, channels: Vec<usize>, keyed: bool, now: Ms) -> usize {
        let at = self.publications.len();
        let token = format!("t{at}");
        self.by_token.insert(token.clone(), at);
        self.publications.push(Publication {
            token,
            channels,
            begun: now,
            keyed,
            ids: BTreeSet::new(),
            acks: Vec::new(),
        });
        at
    }

    /// A node said that a publication has an id; tells whether it is another than before. That may
    /// be if it was sent again, with its key, to a node that had not heard of it yet.
    pub fn acknowledge(&mut self, at: usize, id: MessageId, level: Level, now: Ms) -> Result<bool, String> {
        self.bind(at, id)?;
        self.publications[at].acks.push((id, level, now));
        Ok(self.publications[at].ids.len() > 1)
    }

    /// An id stands for one publication and no other.
    fn bind(&mut self, at: usize, id: MessageId) -> Result<(), String> {
        let before = *self.by_id.entry(id).or_insert(at);
        if before != at {
            let (one, other) = (&self.publications[before].token, &self.publications[at].token);
            return Err(format!("phantom: {id} is {one} and {other}"));
        }
        self.publications[at].ids.insert(id);
        Ok(())
    }
}

// -- Delivering ------------------------------------------------------------------

/// An answer to a poll, as far as it is judged.
struct Answer {
    cursor: String,
    seen: VersionVector,
    gap: bool,
    messages: Vec<(MessageId, u64, Value)>,
}

fn parse_answer(answer: &Value) -> Result<Answer, String> {
    let malformed = || format!("malformed: {answer}");
    let cursor = answer["cursor"].as_str().ok_or_else(malformed)?.to_string();
    let seen = Cursor::parse(&cursor).map_err(|_| malformed())?.seen;
    if answer["reset"] == Value::Bool(true) {
        return Err("reset: a subscriber was told to begin anew although its cluster lives".into());
    }
    let mut messages = Vec::new();
    for message in answer["messages"].as_array().ok_or_else(malformed)? {
        let id = message["id"].as_str().and_then(parse_id).ok_or_else(malformed)?;
        let time = message["time"].as_u64().ok_or_else(malformed)?;
        messages.push((id, time, message.clone()));
    }
    Ok(Answer { cursor, seen, gap: answer["gap"] == Value::Bool(true), messages })
}

impl Ledger {
    /// A subscriber was answered; gives the number of messages.
    pub fn deliver(&mut self, reader: usize, answer: &Value, plan: &Plan, now: Ms) -> Result<usize, String> {
        let answer = parse_answer(answer)?;
        let mortal = self.readers[reader].channels.iter().any(|channel| plan.is_mortal(*channel));
        if answer.gap && !plan.may_have_gaps() && !mortal {
            return Err("gap: nothing was dropped, and yet a subscriber was told of a gap".into());
        }
        let times = answer.messages.iter().map(|message| message.1);
        if !times.is_sorted() {
            return Err("order: an answer is not sorted by time".into());
        }
        for (id, _, message) in &answer.messages {
            self.check_message(reader, *id, message, plan)?;
            self.check_order(reader, *id)?;
            self.readers[reader].received.insert(*id, now);
            if !answer.seen.covers(*id) {
                return Err(format!("cursor: {id} was delivered and the cursor does not cover it"));
            }
        }
        self.check_cursor(reader, &answer, plan)?;
        let begins = plan.tight && self.readers[reader].since.is_none();
        if !mortal && !answer.gap && !begins {
            self.check_skipped(reader, &answer.seen, now)?;
        }
        let record = &mut self.readers[reader];
        // Whoever begins with what is cached is not told of what is no longer.
        if answer.gap || plan.tight && record.since.is_none() {
            record.excused = answer.seen.clone();
        }
        (record.cursor, record.seen) = (Some(answer.cursor), answer.seen);
        record.since.get_or_insert(now);
        Ok(answer.messages.len())
    }

    /// Somebody published just this, and there.
    pub fn check_message(
        &mut self,
        reader: usize,
        id: MessageId,
        message: &Value,
        plan: &Plan,
    ) -> Result<(), String> {
        let found = token_of(&message["data"]).and_then(|token| self.by_token.get(token));
        let Some(at) = found.copied() else {
            return Err(format!("phantom: nobody published {message}"));
        };
        self.bind(at, id)?;
        let wanted = &self.readers[reader].channels;
        let mut carriers: Vec<String> = Vec::new();
        for channel in self.publications[at].channels.iter().filter(|channel| wanted.contains(channel)) {
            carriers.push(plan.name(*channel));
        }
        let mut named: Vec<&str> =
            message["channels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        carriers.sort();
        named.sort();
        // One channel may have been closed, or have dropped it earlier than another.
        let mortal = self.publications[at].channels.iter().any(|channel| plan.is_mortal(*channel));
        let fits = if mortal || plan.tight {
            !named.is_empty() && named.iter().all(|name| carriers.iter().any(|carrier| carrier == name))
        } else {
            carriers == named
        };
        if fits { Ok(()) } else { Err(format!("phantom: {id} was published to {carriers:?}, not {named:?}")) }
    }

    /// Each once, and of each origin in its order.
    fn check_order(&mut self, reader: usize, id: MessageId) -> Result<(), String> {
        let record = &mut self.readers[reader];
        if let Some(before) = record.received.get(&id) {
            return Err(format!("duplicate: {id} was delivered before, at {before} ms"));
        }
        let highest = record.highest.entry(id.origin).or_default();
        if id.seq < *highest {
            return Err(format!("order: {id} was delivered after {}-{highest}", id.origin));
        }
        *highest = id.seq;
        Ok(())
    }

    /// A cursor never goes back.
    fn check_cursor(&self, reader: usize, answer: &Answer, plan: &Plan) -> Result<(), String> {
        for (origin, seq) in self.readers[reader].seen.iter() {
            let now = answer.seen.seq(origin);
            if now < seq && !(now == 0 && plan.tight) {
                return Err(format!("cursor: went back from {origin}-{seq} to {now}"));
            }
        }
        Ok(())
    }

    /// Nothing that the cursor now covers was left out.
    fn check_skipped(&self, reader: usize, seen: &VersionVector, now: Ms) -> Result<(), String> {
        let record = &self.readers[reader];
        let missed = |(id, at): &(&MessageId, &usize)| {
            seen.covers(**id) && !record.seen.covers(**id) && self.is_due(reader, **id, **at, now)
        };
        match self.by_id.iter().find(missed) {
            None => Ok(()),
            Some((id, at)) => {
                let token = &self.publications[*at].token;
                Err(format!("skip: the cursor covers {id} ({token}), which was not delivered"))
            }
        }
    }

    /// Whether a subscriber should have got a message by now, if it was not lost.
    pub fn is_due(&self, reader: usize, id: MessageId, at: usize, now: Ms) -> bool {
        let (record, publication) = (&self.readers[reader], &self.publications[at]);
        let begins = if record.from_now { record.since.unwrap_or(now) } else { 0 };
        let wanted = publication.channels.iter().any(|channel| record.channels.contains(channel));
        let in_time = !record.from_now || publication.begun > begins;
        // Under whichever id, if a retry gave it two.
        let done = |id: &MessageId| record.received.contains_key(id) || record.excused.covers(*id);
        let received = done(&id) || publication.ids.iter().any(done);
        wanted && in_time && !received
    }
}
