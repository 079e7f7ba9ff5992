//! One keep-alive connection that publishes, with as many requests in flight as it is told.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use crate::Fallible;
use crate::http::Splitter;
use crate::sys::{self, BOTH, Epoll, find};

const BUFFER_BYTES: usize = 64 * 1024;

/// A publisher's connection; register it once, then flush and receive on every event.
pub struct Publisher {
    stream: TcpStream,
    out: Vec<u8>,
    /// How much of `out` the socket has taken.
    out_sent: usize,
    input: Vec<u8>,
    /// How much of `input` is filled.
    input_end: usize,
    splitter: Splitter,
    /// Publications without an answer yet.
    pub in_flight: u64,
    /// Publications with an answer.
    pub answered: u64,
    /// The sum of `subscribers` in all answers.
    pub woken: u64,
    /// The last answer, whole.
    pub last: Vec<u8>,
}

impl Publisher {
    /// Connects, and registers with `epoll` under `token`.
    pub fn connect(to: SocketAddrV4, epoll: &Epoll, token: u64) -> io::Result<Publisher> {
        let stream = sys::connect_from(Ipv4Addr::LOCALHOST, to)?;
        stream.set_nodelay(true)?;
        sys::reset_on_close(&stream)?;
        epoll.add(&stream, BOTH, token)?;
        Ok(Publisher {
            stream,
            out: Vec::new(),
            out_sent: 0,
            input: vec![0; BUFFER_BYTES],
            input_end: 0,
            splitter: Splitter::default(),
            in_flight: 0,
            answered: 0,
            woken: 0,
            last: Vec::new(),
        })
    }

    /// Adds bytes that are `publications` requests; [`Publisher::flush`] sends them.
    pub fn queue(&mut self, requests: &[u8], publications: u64) {
        self.out.extend_from_slice(requests);
        self.in_flight += publications;
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.out_sent < self.out.len() {
            match (&self.stream).write(&self.out[self.out_sent..]) {
                Ok(sent) => self.out_sent += sent,
                Err(error) if not_yet(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out_sent = 0;
        Ok(())
    }

    /// Receives answers until there are no more.
    pub fn receive(&mut self) -> Fallible<()> {
        loop {
            let room = self.input.len() - self.input_end;
            let received = match (&self.stream).read(&mut self.input[self.input_end..]) {
                Ok(0) => return Err("the server closed a publisher's connection".into()),
                Ok(received) => received,
                Err(error) if not_yet(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.input_end += received;
            self.take_answers()?;
            if received < room {
                return Ok(());
            }
        }
    }

    fn take_answers(&mut self) -> Fallible<()> {
        let mut at = 0;
        while let Some(answer) = self.splitter.first(&self.input[at..self.input_end])? {
            if answer.status != 201 {
                return Err(format!("a publication was answered: {}", answer.whole.escape_ascii()).into());
            }
            self.answered += 1;
            self.in_flight = self.in_flight.checked_sub(1).ok_or("an answer to no publication")?;
            self.woken += subscribers(answer.body).ok_or("a 201 without \"subscribers\"")?;
            at += answer.whole.len();
            self.last.clear();
            self.last.extend_from_slice(answer.whole);
        }
        self.input.copy_within(at..self.input_end, 0);
        self.input_end -= at;
        Ok(())
    }
}

/// A socket that is still connecting says so in its own way.
fn not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

fn subscribers(body: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"subscribers\":";
    let digits = body[find(body, KEY)? + KEY.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
