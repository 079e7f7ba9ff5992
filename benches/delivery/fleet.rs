//! The client: all polls and their publisher on one edge-triggered epoll loop in one thread.
//!
//! A poll is re-sent as soon as its answer is read. Latency counts from the moment a
//! publication was planned for, whether or not the client was ready to send it then.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::check::Judge;
use crate::child::Server;
use crate::http::{self, PollRequest, Splitter};
use crate::publisher::Publisher;
use crate::shape::{Shape, Spread, Template};
use crate::sys::{self, Epoll, Event, NO_EVENT, READABLE};

/// Polls come from this many addresses, 127.0.0.1 and up; see [`sys::connect_from`].
const SOURCES: usize = 8;
/// Connections that may wait to be accepted; the servers' backlog is 4096.
const CONNECTING_MAX: usize = 512;
/// Publications in flight when every poll has a channel of its own.
const IN_FLIGHT_MAX: u64 = 256;
/// A round that takes longer has lost messages.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// How long to look for answers that should not come.
const STRAY: Duration = Duration::from_millis(50);
const EVENTS: usize = 1_024;
const PUBLISHER: u64 = u64::MAX;

struct Poll {
    stream: TcpStream,
    /// The round whose message comes next.
    next: u32,
    /// The beginning of an answer that is not complete; nearly always empty.
    partial: Vec<u8>,
}

/// Held polls and the connection that publishes to them.
pub struct Fleet {
    epoll: Epoll,
    events: Vec<Event>,
    polls: Vec<Poll>,
    spread: Spread,
    first_channel: usize,
    publisher: Publisher,
    judge: Judge,
    splitter: Splitter,
    request: PollRequest,
    buffer: Vec<u8>,
    /// Messages that arrived, of all polls.
    delivered: u64,
    /// When each round was to be published.
    planned: Vec<Instant>,
    /// For each round, microseconds from that moment to each poll's answer.
    pub latencies_us: Vec<Vec<u32>>,
    /// The last answer to the poll in the middle.
    sample: Vec<u8>,
    poll_bytes: usize,
}

impl Fleet {
    /// Connects all polls and sends the first request on each, at the server's pace.
    pub fn connect(server: &Server, shape: Shape) -> Fallible<Fleet> {
        let epoll = Epoll::new()?;
        let mut fleet = Fleet {
            publisher: Publisher::connect(server.publish, &epoll, PUBLISHER)?,
            epoll,
            events: vec![NO_EVENT; EVENTS],
            polls: Vec::with_capacity(shape.polls),
            spread: shape.spread,
            first_channel: shape.first_channel,
            judge: Judge::new(shape.expected, shape.strict),
            splitter: Splitter::default(),
            request: PollRequest::new(shape.browser),
            buffer: vec![0; 64 * 1024],
            delivered: 0,
            planned: Vec::new(),
            latencies_us: Vec::new(),
            sample: Vec::new(),
            poll_bytes: 0,
        };
        for index in 0..shape.polls {
            fleet.open(index, server.subscribe)?;
            if fleet.polls.len().is_multiple_of(CONNECTING_MAX) {
                server.until_asleep()?;
            }
        }
        server.settle()?;
        Ok(fleet)
    }

    fn open(&mut self, index: usize, to: SocketAddrV4) -> Fallible<()> {
        let source = Ipv4Addr::new(127, 0, 0, 1 + (index % SOURCES) as u8);
        let stream = sys::connect_from(source, to)?;
        stream.set_nodelay(true)?;
        sys::reset_on_close(&stream)?;
        self.epoll.add(&stream, READABLE, index as u64)?;
        // Over loopback the handshake is complete when connect() returns, so this is taken.
        let channel = self.channel_of(index);
        send(&stream, self.request.build(channel, b""))?;
        self.polls.push(Poll { stream, next: 0, partial: Vec::new() });
        Ok(())
    }

    fn channel_of(&self, poll: usize) -> usize {
        match self.spread {
            Spread::OneChannel => self.first_channel,
            Spread::ChannelEach => self.first_channel + poll,
        }
    }

    /// Publishes a round, and returns when every poll has its answer and is sent again.
    pub fn round(&mut self, round: u32) -> Fallible<()> {
        self.plan(Instant::now());
        let woken = self.publisher.woken;
        let channels = match self.spread {
            Spread::OneChannel => 1,
            Spread::ChannelEach => self.polls.len(),
        };
        let mut published = 0;
        let deadline = Instant::now() + ROUND_MAX;
        while published < channels || !self.is_complete(round) {
            if published < channels && self.publisher.in_flight <= IN_FLIGHT_MAX / 2 {
                published += self.publish(round, published..channels)?;
            }
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(self.incomplete(round));
            }
        }
        self.judge.tally.verdict()?;
        self.check_woken(self.publisher.woken - woken)
    }

    /// Publishes `rounds` rounds on one channel at fixed times, whatever the server does.
    pub fn open_loop(&mut self, first: u32, rounds: u32, interval: Duration) -> Fallible<()> {
        let start = Instant::now() + Duration::from_millis(10);
        for count in 0..rounds {
            let at = start + interval * count;
            while let Some(early) = at.checked_duration_since(Instant::now()).filter(|early| !early.is_zero())
            {
                self.turn(early)?;
            }
            self.plan(at);
            self.publish(first + count, 0..1)?;
        }
        let last = first + rounds - 1;
        let deadline = Instant::now() + ROUND_MAX;
        while !self.is_complete(last) {
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline {
                return Err(self.incomplete(last));
            }
        }
        Ok(self.judge.tally.verdict()?)
    }

    /// Looks for answers that nobody waits for, then for anything that was wrong.
    pub fn finish(&mut self) -> Fallible<()> {
        let (delivered, end) = (self.delivered, Instant::now() + STRAY);
        while Instant::now() < end {
            self.turn(Duration::from_millis(10))?;
        }
        self.judge.tally.verdict()?;
        match self.delivered - delivered {
            0 => Ok(()),
            stray => Err(format!("{stray} messages came twice").into()),
        }
    }

    /// What the bare loop needs to know of this fleet's server.
    pub fn template(&self) -> Template {
        Template {
            answer: self.sample.clone(),
            created: self.publisher.last.clone(),
            publication_bytes: http::publication(0, &http::message(0, 0)).len(),
            poll_bytes: self.poll_bytes,
        }
    }

    fn plan(&mut self, at: Instant) {
        self.planned.push(at);
        self.latencies_us.push(Vec::with_capacity(self.polls.len()));
    }

    fn publish(&mut self, round: u32, channels: std::ops::Range<usize>) -> Fallible<usize> {
        let count = channels.len().min((IN_FLIGHT_MAX - self.publisher.in_flight) as usize);
        for channel in channels.take(count) {
            let channel = self.first_channel + channel;
            let request = http::publication(channel, &http::message(round, channel));
            self.publisher.queue(&request, 1);
        }
        self.publisher.flush()?;
        Ok(count)
    }

    fn is_complete(&self, round: u32) -> bool {
        self.publisher.in_flight == 0 && self.delivered >= self.polls.len() as u64 * u64::from(round + 1)
    }

    fn incomplete(&mut self, round: u32) -> Box<dyn std::error::Error> {
        let wanted = self.polls.len() as u64 * u64::from(round + 1);
        let missing = wanted.saturating_sub(self.delivered);
        let unanswered = self.publisher.in_flight;
        self.judge
            .tally
            .lost(missing, || format!("round {round} is not complete after {} s", ROUND_MAX.as_secs()));
        let verdict = self.judge.tally.verdict().err().unwrap_or_default();
        format!("{verdict}; {unanswered} publications without an answer").into()
    }

    /// The server counts whom it woke; every poll was held, so it must be all of them.
    fn check_woken(&self, woken: u64) -> Fallible<()> {
        let polls = self.polls.len() as u64;
        if woken != polls && self.judge.knows_rounds() {
            return Err(format!("publications say that they woke {woken} polls, not {polls}").into());
        }
        Ok(())
    }

    /// Waits for events, at most so long, and handles them.
    fn turn(&mut self, at_most: Duration) -> Fallible<()> {
        let count = self.epoll.wait(&mut self.events, at_most.as_millis() as i32)?;
        for at in 0..count {
            match self.events[at].u64 {
                PUBLISHER => {
                    self.publisher.flush()?;
                    self.publisher.receive()?;
                }
                token => self.poll_ready(token as usize)?,
            }
        }
        Ok(())
    }

    fn poll_ready(&mut self, index: usize) -> Fallible<()> {
        let received = match (&self.polls[index].stream).read(&mut self.buffer) {
            Ok(0) => return Err(format!("the server closed poll {index}").into()),
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("poll {index}: {error}").into()),
        };
        if self.polls[index].partial.is_empty() {
            // The usual case: the answer is whole, and is judged where it was received.
            let buffer = std::mem::take(&mut self.buffer);
            let rest = self.answers(index, &buffer[..received]);
            self.buffer = buffer;
            self.polls[index].partial = rest?;
        } else {
            let mut bytes = std::mem::take(&mut self.polls[index].partial);
            bytes.extend_from_slice(&self.buffer[..received]);
            self.polls[index].partial = self.answers(index, &bytes)?;
        }
        Ok(())
    }

    /// Judges the whole answers in `bytes`, re-polls after each, and returns what is left.
    fn answers(&mut self, index: usize, bytes: &[u8]) -> Fallible<Vec<u8>> {
        let (now, channel) = (Instant::now(), self.channel_of(index));
        let mut rest = bytes;
        while let Some(answer) = self.splitter.first(rest)? {
            let before = self.polls[index].next;
            let (next, cursor) = self.judge.answer(index, channel, before, answer);
            let request = self.request.build(channel, cursor);
            self.poll_bytes = request.len();
            send(&self.polls[index].stream, request)?;
            self.delivered += u64::from(next - before);
            self.polls[index].next = next;
            self.note_latency(before..next, now);
            if index == self.polls.len() / 2 {
                self.sample.clear();
                self.sample.extend_from_slice(answer.whole);
            }
            rest = &rest[answer.whole.len()..];
        }
        Ok(rest.to_vec())
    }

    fn note_latency(&mut self, rounds: std::ops::Range<u32>, now: Instant) {
        for round in rounds {
            if let Some(planned) = self.planned.get(round as usize) {
                let us = now.saturating_duration_since(*planned).as_micros();
                self.latencies_us[round as usize].push(us as u32);
            }
        }
    }
}

/// A request is far smaller than a socket's buffer, so it is taken whole.
fn send(mut stream: &TcpStream, request: &[u8]) -> Fallible<()> {
    let sent = stream.write(request)?;
    if sent < request.len() { Err("a poll's request was not taken whole".into()) } else { Ok(()) }
}
