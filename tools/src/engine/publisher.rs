//! The connections that publish: pipelined, in order, each answer to its own request.
//!
//! What it refuses to know: pollers. Invariant: a publication is sent once, or again only if the
//! server said that it did not take it (it announced the end of the connection in an earlier
//! answer, RFC 9112 §9.6); otherwise one without an answer is void: nobody must get it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Token};

use super::dial::{self, Buffer};
use super::{Engine, PUBLISHERS, Rounds, Slot, Tally, Trouble};
use crate::answers::{Afterwards, Split, Splitter};
use crate::dialect::{Captures, Dialect, Filling};
use crate::marker::Marker;

/// Bytes that are read at once.
const INPUT_BYTES: usize = 16 * 1_024;
/// Connections are begun again after so long at first, and then twice as long each time…
const RETRY_MIN: Duration = Duration::from_millis(10);
/// …up to this.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What the answers on a connection say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// It takes more.
    Open,
    /// The server announced its end: what has no answer was not taken.
    Announced,
    /// Nothing is known of what has no answer.
    Broken,
}

/// A publication that has its number.
#[derive(Clone, Copy, Debug)]
struct Publication {
    planned: Instant,
    channel: u32,
    sequence: u32,
    body_bytes: u32,
}

/// One connection.
pub(super) struct Publisher {
    to: SocketAddr,
    host: String,
    stream: Option<TcpStream>,
    is_established: bool,
    splitter: Splitter,
    /// Not sent yet.
    queue: VecDeque<Publication>,
    /// Sent, not answered.
    in_flight: VecDeque<Publication>,
    out: Vec<u8>,
    /// How much of `out` the socket has taken.
    out_sent: usize,
    input: Vec<u8>,
    /// Looking at `input` is of no use before it has so many bytes.
    need: usize,
    failures: u32,
    not_before: Option<Instant>,
}

impl Publisher {
    pub fn new(to: SocketAddr, host: String) -> Publisher {
        Publisher {
            to,
            host,
            stream: None,
            is_established: false,
            splitter: Splitter::new(&[]),
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            out: Vec::new(),
            out_sent: 0,
            input: Vec::new(),
            need: 0,
            failures: 0,
            not_before: None,
        }
    }

    fn flush(&mut self, tally: &mut Tally) -> std::io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.out_sent < self.out.len() {
            match stream.write(&self.out[self.out_sent..]) {
                Ok(sent) => {
                    self.out_sent += sent;
                    tally.bytes_out += sent as u64;
                }
                Err(error) if not_yet(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out_sent = 0;
        Ok(())
    }

    /// Reads what there is; `Ok(false)` at the end of the connection.
    fn fill_input(&mut self, tally: &mut Tally) -> std::io::Result<bool> {
        let Some(stream) = &mut self.stream else { return Ok(true) };
        loop {
            let begin = self.input.len();
            self.input.resize(begin + INPUT_BYTES, 0);
            let read = stream.read(&mut self.input[begin..]);
            self.input.truncate(begin + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(false),
                Ok(received) => tally.bytes_in += received as u64,
                Err(error) if not_yet(&error) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.input.len() > crate::answers::ANSWER_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }
}

/// A socket that is still connecting says so in its own way.
pub(super) fn not_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

impl Engine {
    /// Gives a publication its number and its connection.
    pub(super) fn hand_out(&mut self, planned: Instant, channel: u32, body_bytes: u32) {
        if self.publishers.is_empty() {
            self.tally.publish_failed += 1;
            self.tally.troubles.note(Trouble::PublishUnanswered, || "nowhere to publish to".to_owned());
            return;
        }
        let entry = self.channels.entry(channel);
        let sequence = entry.published;
        entry.published += 1;
        self.tally.expected += u64::from(entry.audience);
        self.tally.overdue += 1;
        if self.options.rounds == Rounds::Kept {
            self.channels.begin_round(channel, planned);
        }
        let publisher = channel as usize % self.publishers.len();
        self.publishers[publisher].queue.push_back(Publication { planned, channel, sequence, body_bytes });
    }

    /// Sends what the publishers' windows and sockets take.
    pub(super) fn serve_publishers(&mut self) {
        for index in 0..self.publishers.len() {
            self.pump(index);
        }
    }

    fn pump(&mut self, index: usize) {
        let publisher = &self.publishers[index];
        if publisher.queue.is_empty() || !(publisher.is_established || self.is_connected(index)) {
            return;
        }
        while self.publishers[index].in_flight.len() < self.options.publish_window.max(1) {
            let Some(publication) = self.publishers[index].queue.pop_front() else { break };
            self.write_out(index, publication);
        }
        if let Err(error) = self.publishers[index].flush(&mut self.tally) {
            self.publisher_ended(index, Outlook::Broken, Some(error));
        }
    }

    /// Whether there is a connection that takes requests; begins one if there is none.
    fn is_connected(&mut self, index: usize) -> bool {
        if self.publishers[index].stream.is_none() {
            self.begin(index);
        }
        let publisher = &mut self.publishers[index];
        publisher.is_established = publisher.stream.as_ref().is_some_and(|stream| stream.peer_addr().is_ok());
        publisher.is_established
    }

    fn write_out(&mut self, index: usize, publication: Publication) {
        let Publication { planned, channel, sequence, body_bytes } = publication;
        let planned_ns = planned.saturating_duration_since(self.options.epoch).as_nanos() as u64;
        self.request.clear();
        let marker = Marker { channel, sequence, planned_ns };
        marker.write_body(self.options.run, body_bytes as usize, &mut self.request);
        self.names.write(channel, &mut self.channel_name);
        let publisher = &mut self.publishers[index];
        publication_bytes(
            &self.dialect,
            &publisher.host,
            &self.channel_name,
            &self.request,
            &mut publisher.out,
        );
        publisher.in_flight.push_back(publication);
        self.tally.overdue -= 1;
        self.tally.in_flight += 1;
        self.tally.published += 1;
    }

    /// Begins a connection, unless the last attempt failed just now.
    fn begin(&mut self, index: usize) {
        let publisher = &mut self.publishers[index];
        if publisher.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let dialled = dial::dial(publisher.to, None, Buffer::Usual).and_then(|mut stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(PUBLISHERS + index), both)?;
            Ok(stream)
        });
        match dialled {
            Ok(stream) => publisher.stream = Some(stream),
            Err(error) => self.publisher_failed(index, &error),
        }
    }

    pub(super) fn publisher_ready(&mut self, index: usize, event: &Event) {
        if !(event.is_readable() || event.is_read_closed() || event.is_error()) {
            return self.pump(index);
        }
        let open = self.publishers[index].fill_input(&mut self.tally);
        match (open, self.publish_answers(index)) {
            (Ok(true), Outlook::Open) => self.pump(index),
            (Ok(false), Outlook::Open) => self.publisher_ended(index, Outlook::Broken, None),
            (Ok(_), outlook) => self.publisher_ended(index, outlook, None),
            (Err(_), Outlook::Announced) => self.publisher_ended(index, Outlook::Announced, None),
            (Err(error), _) => self.publisher_ended(index, Outlook::Broken, Some(error)),
        }
    }

    /// Takes the answers that are whole.
    fn publish_answers(&mut self, index: usize) -> Outlook {
        let now = Instant::now();
        let input = std::mem::take(&mut self.publishers[index].input);
        let mut taken = 0;
        let outlook = loop {
            let rest = &input[taken..];
            let publisher = &mut self.publishers[index];
            if rest.is_empty() || rest.len() < publisher.need {
                break Outlook::Open;
            }
            let (status, bytes, afterwards) = match publisher.splitter.first(rest) {
                Ok(Split::Whole(answer)) => (answer.status, answer.whole_bytes, answer.afterwards),
                Ok(Split::Incomplete { need }) => {
                    publisher.need = need;
                    break Outlook::Open;
                }
                Err(why) => {
                    self.tally.malformed(why, rest);
                    break Outlook::Broken;
                }
            };
            publisher.need = 0;
            taken += bytes;
            if !self.publish_answer(index, status, &rest[..bytes], now) {
                break Outlook::Broken;
            }
            if afterwards == Afterwards::Closes {
                break Outlook::Announced;
            }
        };
        self.publishers[index].input = input;
        self.publishers[index].input.drain(..taken);
        outlook
    }

    /// Takes one answer; whether somebody asked for it.
    fn publish_answer(&mut self, index: usize, status: u16, whole: &[u8], now: Instant) -> bool {
        let publisher = &mut self.publishers[index];
        let Some(publication) = publisher.in_flight.pop_front() else {
            self.tally.troubles.note(Trouble::Unasked, || format!("a publisher got a {status}"));
            return false;
        };
        publisher.failures = 0;
        self.tally.in_flight -= 1;
        if (200..300).contains(&status) {
            let us = now.saturating_duration_since(publication.planned).as_micros() as u64;
            self.tally.publish_latency.saturating_record(us);
            self.tally.publish_answers += 1;
        } else {
            self.tally.troubles.note(Trouble::PublishStatus(status), || whole.escape_ascii().to_string());
            self.void(publication);
        }
        true
    }

    /// The connection is over: what has no answer is sent again if the server announced that,
    /// and void otherwise.
    fn publisher_ended(&mut self, index: usize, outlook: Outlook, error: Option<std::io::Error>) {
        let publisher = &mut self.publishers[index];
        publisher.stream = None;
        publisher.is_established = false;
        publisher.out.clear();
        publisher.out_sent = 0;
        publisher.input.clear();
        publisher.need = 0;
        let unanswered = std::mem::take(&mut publisher.in_flight);
        self.tally.in_flight -= unanswered.len() as u64;
        if outlook == Outlook::Announced {
            self.tally.overdue += unanswered.len() as u64;
            self.tally.published -= unanswered.len() as u64;
            unanswered.into_iter().rev().for_each(|publication| publisher.queue.push_front(publication));
            return;
        }
        for publication in unanswered {
            let why = || error.as_ref().map_or("the server closed it".to_owned(), |error| error.to_string());
            self.tally.troubles.note(Trouble::PublishUnanswered, why);
            self.void(publication);
        }
        match error {
            Some(error) => self.publisher_failed(index, &error),
            None => self.publisher_waits(index),
        }
    }

    fn publisher_failed(&mut self, index: usize, error: &std::io::Error) {
        let to = self.publishers[index].to;
        self.tally.troubles.note(Trouble::Connect, || format!("publisher to {to}: {error}"));
        self.publisher_waits(index);
    }

    fn publisher_waits(&mut self, index: usize) {
        let publisher = &mut self.publishers[index];
        let wait = (RETRY_MIN * 2u32.saturating_pow(publisher.failures.min(10))).min(RETRY_MAX);
        publisher.failures = publisher.failures.saturating_add(1);
        publisher.not_before = Some(Instant::now() + wait);
    }

    /// Takes a publication back: those who have not got it need not get it.
    fn void(&mut self, publication: Publication) {
        self.tally.publish_failed += 1;
        let channel = self.channels.entry(publication.channel);
        channel.void.insert(publication.sequence);
        if channel.audience == 0 {
            return;
        }
        let waits = |slot: &&Slot| {
            slot.channel == publication.channel
                && self.manners[usize::from(slot.manner)].is_audited()
                && !slot.ledger.has(publication.sequence)
        };
        self.tally.expected -= self.slots.iter().filter(waits).count() as u64;
    }
}

fn publication_bytes(dialect: &Dialect, host: &str, channel: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let captures = &Captures::default();
    dialect.publication(&Filling { host, channel, captures, body }, out);
}
