//! Whether each poll gets each message once: the judge of every answer.
//!
//! Invariant: a poll expects the rounds in order, so one counter per poll is all the state.

use serde_json::Value;

use crate::http::{self, Answer, BODY_BYTES};

/// Unless every answer is, one in so many polls is parsed as JSON in full.
const SAMPLED_POLLS: usize = 256;

/// What answers are to contain.
pub enum Expected {
    /// The server: the message of the poll's next round and its channel.
    Rounds,
    /// The bare loop: always the one message in its ready-made answer.
    Always([u8; BODY_BYTES]),
}

/// What was wrong, counted.
#[derive(Default)]
pub struct Tally {
    lost: u64,
    duplicated: u64,
    malformed: u64,
    first: Option<String>,
}

impl Tally {
    /// An error that sums up what was wrong, if anything was.
    pub fn verdict(&self) -> Result<(), String> {
        match &self.first {
            None => Ok(()),
            Some(first) => Err(format!(
                "{} messages lost, {} duplicated, {} answers malformed; the first: {first}",
                self.lost, self.duplicated, self.malformed
            )),
        }
    }

    /// Records an answer that is not what it should be.
    pub fn malformed(&mut self, what: impl FnOnce() -> String) {
        self.malformed += 1;
        self.first.get_or_insert_with(what);
    }

    /// Records messages that did not come.
    pub fn lost(&mut self, messages: u64, what: impl FnOnce() -> String) {
        self.lost += messages;
        self.first.get_or_insert_with(what);
    }

    fn duplicated(&mut self, what: impl FnOnce() -> String) {
        self.duplicated += 1;
        self.first.get_or_insert_with(what);
    }
}

/// Judges answers.
pub struct Judge {
    expected: Expected,
    /// Whether every answer is parsed in full.
    strict: bool,
    /// What was wrong so far.
    pub tally: Tally,
}

impl Judge {
    /// A judge with a clean slate.
    pub fn new(expected: Expected, strict: bool) -> Judge {
        Judge { expected, strict, tally: Tally::default() }
    }

    /// Whether the answers come from a server that knows what it sends.
    pub fn knows_rounds(&self) -> bool {
        matches!(self.expected, Expected::Rounds)
    }

    /// Takes one answer to a poll whose next round is `next`; gives the number of the
    /// round after its messages, and the cursor.
    pub fn answer<'a>(
        &mut self,
        poll: usize,
        channel: usize,
        next: u32,
        answer: Answer<'a>,
    ) -> (u32, &'a [u8]) {
        let Some((cursor, _)) = http::member(answer.body, "\"cursor\":\"").filter(|_| answer.status == 200)
        else {
            self.tally.malformed(|| format!("poll {poll}: {}", answer.whole.escape_ascii()));
            return (next, b"");
        };
        if self.strict || poll.is_multiple_of(SAMPLED_POLLS) {
            self.whole_shape(channel, answer.body);
        }
        (self.messages(poll, channel, next, answer.body), cursor)
    }

    fn messages(&mut self, poll: usize, channel: usize, mut next: u32, body: &[u8]) -> u32 {
        let (before, mut rest) = (next, body);
        while let Some((data, after)) = http::member(rest, "\"data\":\"") {
            next = self.message(poll, channel, next, data);
            rest = after;
        }
        if rest.len() == body.len() {
            self.tally.malformed(|| {
                format!("poll {poll}, round {before}: an answer without messages: {}", body.escape_ascii())
            });
        }
        next
    }

    fn message(&mut self, poll: usize, channel: usize, next: u32, data: &[u8]) -> u32 {
        let wanted = match &self.expected {
            Expected::Rounds => &http::message(next, channel),
            Expected::Always(message) => message,
        };
        if data == wanted {
            return next + 1;
        }
        let Some(round) = http::round_of(data).filter(|&round| data == http::message(round, channel)) else {
            self.tally.malformed(|| {
                format!("poll {poll}, round {next}: {:?} came", data.escape_ascii().to_string())
            });
            return next;
        };
        if round < next {
            self.tally.duplicated(|| format!("poll {poll}: round {round} came again"));
            return next;
        }
        self.tally
            .lost(u64::from(round - next), || format!("poll {poll}: round {round} came instead of {next}"));
        round + 1
    }

    /// Everything that the documented shape says, not only what the client lives on.
    fn whole_shape(&mut self, channel: usize, body: &[u8]) {
        if self.knows_rounds() && !documented(body, &http::channel(channel)).unwrap_or(false) {
            self.tally.malformed(|| format!("not the documented shape: {}", body.escape_ascii()));
        }
    }
}

/// Whether a body is as the API documents it, with nothing said to be missing.
fn documented(body: &[u8], channel: &str) -> Option<bool> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let whole = ["gap", "reset", "closed"].iter().all(|said| json.get(said).is_none());
    json.get("cursor")?.as_str()?;
    let messages = json.get("messages")?.as_array()?;
    let each = messages.iter().all(|message| shaped(message, channel).unwrap_or(false));
    Some(whole && each)
}

fn shaped(message: &Value, channel: &str) -> Option<bool> {
    message.get("id")?.as_str()?;
    message.get("time")?.as_u64()?;
    let channels = message.get("channels")?.as_array()?;
    let named = channels.len() == 1 && channels[0] == channel;
    Some(named && message.get("type")?.as_str()?.starts_with("text/plain"))
}
