//! Publishing when nobody listens: pipelined, on a few connections that stay.
//!
//! Each connection sends the same window of requests again as soon as it has all answers to
//! the last one, ready-made, so that the generator costs little and the server always finds
//! another window waiting. What it refuses to know: which server it is.
//! Invariant: every publication that is counted was answered with success.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::answers::{Split, Splitter};
use crate::dialect::{Captures, ChannelNames, Dialect, Filling};
use crate::marker::{Marker, RunId};
use crate::servers::Server;
use crate::{Fallible, sys};

/// So many connections…
const PUBLISHERS: u32 = 4;
/// …each with so many requests in flight, each to a channel of its own.
const WINDOW: u32 = 64;
/// A server that says nothing for so long has lost publications.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 64 * 1024;

/// How much is published.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Publications…
    pub publications_max: u64,
    /// …or for this long, whichever ends first.
    pub time_max: Duration,
}

impl Amount {
    /// Enough to make every channel.
    pub const ONCE: Amount = Amount { publications_max: 0, time_max: Duration::ZERO };
}

/// Connections that publish.
pub struct Flood<'a> {
    poll: Poll,
    events: Events,
    publishers: Vec<Publisher>,
    splitter: Splitter,
    buffer: Vec<u8>,
    stop: &'a AtomicBool,
}

/// One connection, which sends the same window of requests again and again.
struct Publisher {
    stream: TcpStream,
    window: Vec<u8>,
    /// How much of the window the socket has taken; all of it while answers are awaited.
    sent: usize,
    in_flight: u64,
    /// The beginning of an answer that is not complete.
    partial: Vec<u8>,
}

impl<'a> Flood<'a> {
    /// Connects; messages have `body_bytes`. It ends early if `stop` is set.
    pub fn new(
        server: &Server,
        dialect: &Dialect,
        body_bytes: usize,
        stop: &'a AtomicBool,
    ) -> Fallible<Flood<'a>> {
        let poll = Poll::new()?;
        let run = RunId::fresh();
        let host = server.publish.to_string();
        let mut publishers = Vec::new();
        for number in 0..PUBLISHERS {
            let stream = sys::connect_from(Ipv4Addr::LOCALHOST.into(), server.publish)?;
            sys::reset_on_close(&stream)?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(number as usize);
            poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let window = window(number, run, &host, dialect, body_bytes);
            let sent = window.len();
            publishers.push(Publisher { stream, window, sent, in_flight: 0, partial: Vec::new() });
        }
        Ok(Flood {
            poll,
            events: Events::with_capacity(PUBLISHERS as usize),
            publishers,
            splitter: Splitter::new(&[]),
            buffer: vec![0; BUFFER_BYTES],
            stop,
        })
    }

    /// Keeps every connection's window full until there were enough, but sends each at least
    /// once; returns how many were answered.
    pub fn run(&mut self, amount: Amount) -> Fallible<u64> {
        let end = Instant::now() + amount.time_max;
        let mut published = 0;
        for number in 0..self.publishers.len() {
            published += self.publishers[number].begin()?;
        }
        while self.publishers.iter().any(|publisher| publisher.in_flight > 0) {
            self.wait()?;
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for number in ready {
                let publisher = &mut self.publishers[number];
                publisher.receive(&mut self.splitter, &mut self.buffer)?;
                publisher.flush()?;
                let more = published < amount.publications_max && Instant::now() < end;
                if publisher.in_flight == 0 && more {
                    published += publisher.begin()?;
                }
            }
        }
        Ok(published)
    }

    fn wait(&mut self) -> Fallible<()> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
                Ok(()) if self.events.is_empty() => {
                    let seconds = SILENCE_MAX.as_secs();
                    return Err(format!("publications without an answer for {seconds} s").into());
                }
                Ok(()) => return Ok(()),
            }
        }
    }
}

impl Publisher {
    /// Sends the window again; every answer to the last one has come.
    fn begin(&mut self) -> Fallible<u64> {
        self.sent = 0;
        self.in_flight = u64::from(WINDOW);
        self.flush()?;
        Ok(u64::from(WINDOW))
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.window.len() {
            match self.stream.write(&self.window[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if is_early(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives until there is no more; a read that leaves room has taken everything.
    fn receive(&mut self, splitter: &mut Splitter, buffer: &mut [u8]) -> Fallible<()> {
        loop {
            let begun = self.partial.len();
            buffer[..begun].copy_from_slice(&self.partial);
            let received = match self.stream.read(&mut buffer[begun..]) {
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(received) => received,
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let filled = begun + received;
            let taken = self.take(splitter, &buffer[..filled])?;
            if taken == 0 && filled == buffer.len() {
                return Err("an answer to a publication is too long".into());
            }
            self.partial.clear();
            self.partial.extend_from_slice(&buffer[taken..filled]);
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes the whole answers; tells how many bytes they had.
    fn take(&mut self, splitter: &mut Splitter, bytes: &[u8]) -> Fallible<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let split = splitter.first(&bytes[at..]).map_err(|why| why.to_string())?;
            let Split::Whole(answer) = split else { break };
            if !(200..300).contains(&answer.status) {
                return Err(format!("a publication was answered {}", answer.head.escape_ascii()).into());
            }
            at += answer.whole_bytes;
            self.in_flight = self.in_flight.checked_sub(1).ok_or("an answer to no publication")?;
        }
        Ok(at)
    }
}

/// A socket that is still connecting says so in its own way.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

/// The requests that one connection repeats, to channels that no other has.
fn window(number: u32, run: RunId, host: &str, dialect: &Dialect, body_bytes: usize) -> Vec<u8> {
    let names = ChannelNames::new(run);
    let captures = Captures::default();
    let (mut out, mut name, mut body) = (Vec::new(), Vec::new(), Vec::new());
    for channel in number * WINDOW..(number + 1) * WINDOW {
        names.write(channel, &mut name);
        body.clear();
        Marker { channel, sequence: 0, planned_ns: 0 }.write_body(run, body_bytes, &mut body);
        dialect.publication(&Filling { host, channel: &name, captures: &captures, body: &body }, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_many_requests_of_one_length_to_different_channels() {
        let dialect = Dialect::pushup();
        let run = RunId::new(1);
        let [first, second] = [0, 1].map(|number| window(number, run, "127.0.0.1:40000", &dialect, 64));
        assert_eq!(first.len(), second.len());
        assert_eq!(first.len() % WINDOW as usize, 0);
        let text = String::from_utf8(second).unwrap();
        assert_eq!(text.matches("POST /pub/load-00000001-").count(), WINDOW as usize);
        assert!(text.starts_with("POST /pub/load-00000001-000064 HTTP/1.1\r\n"));
    }
}
