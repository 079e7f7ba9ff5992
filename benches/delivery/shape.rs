//! What a measurement is given: how many polls on which channels, and the server's real bytes.

use crate::Fallible;
use crate::bare::Fanout;
use crate::check::Expected;
use crate::http;
use crate::options::Plan;

/// How polls are spread over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All on one channel: a publication reaches them all.
    OneChannel,
    /// Each on its own: a publication reaches one.
    ChannelEach,
}

impl Spread {
    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Spread::OneChannel => "one channel",
            Spread::ChannelEach => "a channel each",
        }
    }

    /// How the bare loop imitates it.
    pub fn fanout(self) -> Fanout {
        match self {
            Spread::OneChannel => Fanout::All,
            Spread::ChannelEach => Fanout::Next,
        }
    }
}

/// Real bytes of the server, to hand to the bare loop.
#[derive(Clone)]
pub struct Template {
    /// An answer to a poll, whole.
    pub answer: Vec<u8>,
    /// An answer to a publication, whole.
    pub created: Vec<u8>,
    /// The length of a publication's request.
    pub publication_bytes: usize,
    /// The length of a re-poll's request.
    pub poll_bytes: usize,
}

impl Template {
    /// The message in the answer: what the bare loop's polls get every time.
    pub fn message(&self) -> Fallible<Expected> {
        let (message, _) = http::member(&self.answer, "\"data\":\"").ok_or("an answer without data")?;
        Ok(Expected::Always(message.try_into()?))
    }
}

/// What a fleet is to be.
pub struct Shape {
    /// How many polls.
    pub polls: usize,
    /// On one channel or each on its own.
    pub spread: Spread,
    /// The number of the first channel.
    pub first_channel: usize,
    /// What answers are to contain.
    pub expected: Expected,
    /// Whether every answer is parsed in full.
    pub strict: bool,
    /// Whether polls look like a browser's.
    pub browser: bool,
}

impl Shape {
    /// The plan's polls, all of them judged as the server's.
    pub fn of(plan: &Plan, spread: Spread) -> Shape {
        Shape {
            polls: plan.polls,
            spread,
            first_channel: 0,
            expected: Expected::Rounds,
            strict: plan.strict,
            browser: plan.browser,
        }
    }
}
