//! `pushup pub`: publishes one message, or each line of stdin.
//!
//! Invariant: a publication is tried again only under the Idempotency-Key of its first
//! try, so that a connection that broke after the server took it makes no second one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use super::answer::{problem, publication_id};
use super::http::{Answer, Connection, Failure, Request, Server};
use super::{Backoff, End, Terminal, authorization, is_temporary, output_failed};
use crate::error::StartError;
use crate::limits::{BODY_BYTES_MAX, CLIENT_ANSWER_S_MAX, CLIENT_TRIES_MAX};

/// What to publish, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The publisher's listener.
    pub server: Server,
    /// The channels' names, valid and at least one; the message is one for all of them.
    pub channels: Vec<String>,
    /// The message; none is each line of the input.
    pub message: Option<Vec<u8>>,
    /// Its media type, known to hold no line end.
    pub media_type: String,
    /// How long it is kept, in seconds.
    pub ttl_s: Option<u64>,
    /// The Idempotency-Key of a single message; none makes a random one.
    pub key: Option<String>,
    /// The file with the token to show.
    pub token_file: Option<PathBuf>,
}

/// Publishes, and prints the id of each publication on a line. The first one that
/// the server refuses, or that it never answers, ends it.
pub fn run(
    options: &Options,
    input: &mut dyn BufRead,
    terminal: &mut Terminal<'_>,
) -> Result<(), StartError> {
    let mut publisher = Publisher::new(options, terminal)?;
    let result = match &options.message {
        Some(message) => publisher.publish(message, &publisher.key(0)),
        None => publisher.publish_lines(input),
    };
    result.or_else(End::into_result)
}

struct Publisher<'a, 't> {
    options: &'a Options,
    terminal: &'a mut Terminal<'t>,
    connection: Connection,
    authorization: Option<String>,
    target: String,
    random: RandomState,
}

impl<'a, 't> Publisher<'a, 't> {
    fn new(options: &'a Options, terminal: &'a mut Terminal<'t>) -> Result<Self, StartError> {
        let mut target = format!("/pub/{}", options.channels.join(","));
        if let Some(ttl_s) = options.ttl_s {
            target += &format!("?ttl={ttl_s}");
        }
        Ok(Publisher {
            options,
            terminal,
            connection: Connection::new(options.server.clone()),
            authorization: authorization(options.token_file.as_deref())?,
            target,
            random: RandomState::new(),
        })
    }

    /// The `index`-th publication's key: 128 random bits, for RandomState is seeded
    /// by the system.
    fn key(&self, index: u64) -> String {
        let half = |part: u8| self.random.hash_one((part, index));
        match &self.options.key {
            Some(key) => key.clone(),
            None => format!("{:016x}{:016x}", half(0), half(1)),
        }
    }

    fn publish_lines(&mut self, input: &mut dyn BufRead) -> Result<(), End> {
        for index in 0.. {
            let number = index + 1;
            let line = read_line(input).map_err(|error| {
                let text = format!("cannot read line {number} of the input: {error}");
                End::Failed(StartError::Run(text))
            })?;
            let Some(line) = line else {
                break;
            };
            self.publish(&line, &self.key(index)).map_err(|end| at_line(number, end))?;
        }
        Ok(())
    }

    /// Sends one message until it is answered for good, and prints its id.
    fn publish(&mut self, message: &[u8], key: &str) -> Result<(), End> {
        let mut backoff = Backoff::new();
        for attempt in 1.. {
            let (trouble, retry_after_s) = match self.request(message, key) {
                Ok(answer) if answer.status / 100 == 2 => return self.published(&answer),
                Ok(answer) if !is_temporary(answer.status) => {
                    return Err(End::Failed(StartError::Run(problem(&answer))));
                }
                Ok(answer) => (problem(&answer), answer.retry_after_s),
                Err(failure) => (self.options.server.cannot_reach(&failure), None),
            };
            if attempt == CLIENT_TRIES_MAX {
                let text = format!("{trouble} (tried {CLIENT_TRIES_MAX} times)");
                return Err(End::Failed(StartError::Run(text)));
            }
            (self.terminal.pause)(backoff.next(retry_after_s));
        }
        Ok(())
    }

    fn request(&mut self, body: &[u8], key: &str) -> Result<Answer, Failure> {
        let mut fields = vec![("Content-Type", self.options.media_type.as_str()), ("Idempotency-Key", key)];
        if let Some(value) = &self.authorization {
            fields.push(("Authorization", value));
        }
        self.connection.request(&Request {
            method: "POST",
            target: &self.target,
            fields: &fields,
            body,
            answer_s_max: CLIENT_ANSWER_S_MAX,
        })
    }

    fn published(&mut self, answer: &Answer) -> Result<(), End> {
        let Some(id) = publication_id(&answer.body) else {
            let text = format!("{}: {}", self.options.server, Failure::NotHttp);
            return Err(End::Failed(StartError::Run(text)));
        };
        writeln!(self.terminal.out, "{id}").and_then(|()| self.terminal.out.flush()).map_err(output_failed)
    }
}

/// The next line without its end, at most as long as any body; none at the end.
fn read_line(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(BODY_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    match line.last() {
        None => return Ok(None),
        Some(b'\n') => drop(line.pop()),
        Some(_) => {}
    }
    if line.len() > BODY_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {BODY_BYTES_MAX} bytes")));
    }
    Ok(Some(line))
}

fn at_line(number: u64, end: End) -> End {
    match end {
        End::Failed(StartError::Run(text)) => End::Failed(StartError::Run(format!("line {number}: {text}"))),
        other => other,
    }
}
