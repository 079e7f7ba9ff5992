//! `pushup sub`: prints the messages of channels as they come, for ever.
//!
//! ```text
//!            answered                 failed, or 5xx
//!   New ────────────────► Up ◄────────────────────────► Down
//!    └──────────────────────── failed ────────────────────▲
//! ```
//! A change of state is told once, whatever the number of tries. Invariant: the cursor
//! only moves when the messages before it are printed, so an interruption neither
//! loses nor repeats any.

use std::path::PathBuf;
use std::time::Duration;

use super::answer::{Poll, problem};
use super::http::{Answer, Connection, Failure, Request, Server, encode};
use super::{Backoff, End, Terminal, authorization, is_temporary, output_failed};
use crate::error::StartError;
use crate::limits::{ANSWER_MESSAGES_MAX, CLIENT_ANSWER_GRACE_S, RECONNECT_MS_MIN};

/// An empty answer that comes sooner than this, in milliseconds, did not wait at all.
const EARLY_MS: u64 = 1_000;
/// The cursor that starts at the present.
const NOW: &str = "now";

/// What to subscribe to, and how to print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The public listener.
    pub server: Server,
    /// The channels' names, valid and at least one.
    pub channels: Vec<String>,
    /// A cursor, or `now`; none is from the beginning.
    pub after: Option<String>,
    /// The start of the time range, in Unix milliseconds.
    pub since_ms: Option<u64>,
    /// How long each poll asks to be held, in seconds; at least 1.
    pub timeout_s: u64,
    /// How a message is printed.
    pub form: Form,
    /// The file with the token to show.
    pub token_file: Option<PathBuf>,
    /// Ends after so many messages.
    pub count: Option<u64>,
    /// Whether notices are kept back.
    pub quiet: bool,
}

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its data alone, after its channels if several are read.
    Data,
    /// The whole message as a line of JSON.
    Json,
}

/// What the person has been told about the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Nothing yet. Next: `Up`, `Down`.
    New,
    /// Polls are answered. Next: `Down`.
    Up,
    /// Polls fail. Next: `Up`.
    Down,
}

/// Polls and prints until all channels are closed, enough messages came, the reader
/// of the output is gone, or the server refuses for good.
pub fn run(options: &Options, terminal: &mut Terminal<'_>) -> Result<(), StartError> {
    let mut subscriber = Subscriber::new(options, terminal)?;
    loop {
        if let Err(end) = subscriber.poll() {
            return end.into_result();
        }
    }
}

struct Subscriber<'a, 't> {
    options: &'a Options,
    terminal: &'a mut Terminal<'t>,
    connection: Connection,
    authorization: Option<String>,
    channels: Vec<String>,
    cursor: Option<String>,
    printed: u64,
    link: Link,
    backoff: Backoff,
}

impl<'a, 't> Subscriber<'a, 't> {
    fn new(options: &'a Options, terminal: &'a mut Terminal<'t>) -> Result<Self, StartError> {
        Ok(Subscriber {
            options,
            terminal,
            connection: Connection::new(options.server.clone()),
            authorization: authorization(options.token_file.as_deref())?,
            channels: options.channels.clone(),
            cursor: options.after.clone(),
            printed: 0,
            link: Link::New,
            backoff: Backoff::new(),
        })
    }

    /// One request, and what follows from its answer.
    fn poll(&mut self) -> Result<(), End> {
        let started = self.connection.tick();
        let timeout_s = self.timeout_s();
        let answer = match self.request(&self.target(timeout_s), timeout_s) {
            Ok(answer) => answer,
            Err(failure) => {
                self.failed(&failure);
                return Ok(());
            }
        };
        match answer.status {
            200 => {
                let elapsed_ms = self.connection.tick().since_ms(started);
                self.answered(&answer, elapsed_ms)
            }
            410 if self.channels.len() > 1 => self.find_closed(&answer),
            410 => {
                self.notice(&problem(&answer));
                Err(End::Done)
            }
            status if is_temporary(status) => {
                let text = format!("{}; trying again", problem(&answer));
                self.down(&text, answer.retry_after_s);
                Ok(())
            }
            _ => Err(End::Failed(StartError::Run(problem(&answer)))),
        }
    }

    fn request(&mut self, target: &str, timeout_s: u64) -> Result<Answer, Failure> {
        let authorization = self.authorization.as_deref();
        let fields: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        self.connection.request(&Request {
            method: "GET",
            target,
            fields: &fields,
            body: b"",
            answer_s_max: timeout_s + CLIENT_ANSWER_GRACE_S,
        })
    }

    /// `now` is asked for without waiting, to be given a real cursor at once: with it,
    /// a connection lost in the first poll loses no message.
    fn timeout_s(&self) -> u64 {
        match self.cursor.as_deref() {
            Some(NOW) => 0,
            _ => self.options.timeout_s,
        }
    }

    fn target(&self, timeout_s: u64) -> String {
        let mut target = format!("/sub/{}?timeout={timeout_s}", self.channels.join(","));
        if let Some(cursor) = &self.cursor {
            target += &format!("&after={}", encode(cursor));
        }
        if let Some(since) = self.options.since_ms {
            target += &format!("&since={since}");
        }
        if let Some(count) = self.options.count {
            let left = (count - self.printed).min(ANSWER_MESSAGES_MAX as u64);
            target += &format!("&limit={left}");
        }
        target
    }

    fn answered(&mut self, answer: &Answer, elapsed_ms: u64) -> Result<(), End> {
        let Some(poll) = Poll::parse(&answer.body) else {
            let text = format!("{}: {}", self.options.server, Failure::NotHttp);
            return Err(End::Failed(StartError::Run(text)));
        };
        if self.link == Link::Down {
            self.notice("connection regained");
        }
        self.link = Link::Up;
        self.backoff = Backoff::new();
        let waited = self.timeout_s() == 0 || elapsed_ms >= EARLY_MS;
        if poll.messages.is_empty() && poll.closed.is_empty() && !waited {
            // A node that is going down answers its polls early; a broken proxy would
            // for ever.
            (self.terminal.pause)(Duration::from_millis(RECONNECT_MS_MIN));
        }
        self.print(&poll)?;
        self.cursor = Some(poll.cursor);
        self.close(&poll.closed)
    }

    fn print(&mut self, poll: &Poll) -> Result<(), End> {
        if poll.reset {
            self.notice("the cursor is not known there; reading starts anew");
        }
        if poll.gap {
            self.notice("some messages expired before they could be read");
        }
        let several = self.options.channels.len() > 1;
        for message in &poll.messages {
            let line = match self.options.form {
                Form::Json => message.to_json_line(),
                Form::Data if several => {
                    format!("[{}] {}", message.channels().join(","), message.data())
                }
                Form::Data => message.data(),
            };
            writeln!(self.terminal.out, "{line}").map_err(output_failed)?;
            self.printed += 1;
            if self.options.count == Some(self.printed) {
                break;
            }
        }
        self.terminal.out.flush().map_err(output_failed)?;
        match self.options.count == Some(self.printed) {
            true => Err(End::Done),
            false => Ok(()),
        }
    }

    /// Forgets closed channels; with the last one all is done.
    fn close(&mut self, closed: &[String]) -> Result<(), End> {
        for channel in closed {
            self.notice(&format!("channel \"{channel}\" was closed"));
            self.channels.retain(|other| other != channel);
        }
        match self.channels.is_empty() {
            true => Err(End::Done),
            false => Ok(()),
        }
    }

    /// Some of several channels are closed, and the status does not tell which: asks
    /// for each alone, so that the others are still read.
    fn find_closed(&mut self, answer: &Answer) -> Result<(), End> {
        let mut closed = Vec::new();
        for channel in self.channels.clone() {
            match self.request(&format!("/sub/{channel}?timeout=0&after={NOW}"), 0) {
                Ok(answer) if answer.status == 410 => closed.push(channel),
                Ok(_) => {}
                Err(failure) => {
                    self.failed(&failure);
                    return Ok(());
                }
            }
        }
        if closed.is_empty() {
            self.down(&format!("{}; trying again", problem(answer)), None);
        }
        self.close(&closed)
    }

    fn failed(&mut self, failure: &Failure) {
        let text = match (self.link, failure) {
            (Link::Up, _) => format!("connection lost: {failure}; reconnecting"),
            _ => format!("{}; trying again", self.options.server.cannot_reach(failure)),
        };
        self.down(&text, None);
    }

    fn down(&mut self, text: &str, retry_after_s: Option<u64>) {
        if self.link != Link::Down {
            self.notice(text);
        }
        self.link = Link::Down;
        (self.terminal.pause)(self.backoff.next(retry_after_s));
    }

    fn notice(&mut self, text: &str) {
        if !self.options.quiet {
            self.terminal.notice(text);
        }
    }
}
