//! Asking for a page over HTTP and taking it as it comes.
//!
//! It refuses to know what is in it. Invariant: a body that was broken off is an error, never an end, and
//! nothing waits past its deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Fallible;

/// Bytes that are read at once.
const INPUT_BYTES: usize = 64 * 1_024;
/// How often somebody who waits looks whether he is to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Fields of a head at most.
const FIELDS_MAX: usize = 64;
/// Bytes of a head, or of a chunk's first line, at most.
const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// How the rest of a body is marked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks, the next of which begins with a line.
    NextChunk,
    /// So many bytes of a chunk, then its line end.
    InChunk(u64),
    /// It has ended.
    Over,
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Whether the body is compressed.
    pub gzip: bool,
}

/// Who asks: one connection, used again and again.
pub struct Fetcher {
    stream: TcpStream,
    host: String,
    deadline: Instant,
    stop: Option<Arc<AtomicBool>>,
    input: Vec<u8>,
    taken: usize,
    framing: Framing,
}

impl Fetcher {
    /// Connects; all that is asked ends by the deadline, or when somebody wants to stop.
    pub fn connect(to: SocketAddr, deadline: Instant, stop: Option<Arc<AtomicBool>>) -> Fallible<Fetcher> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(20))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        let (host, input) = (to.to_string(), Vec::with_capacity(2 * INPUT_BYTES));
        Ok(Fetcher { stream, host, deadline, stop, input, taken: 0, framing: Framing::Over })
    }

    /// Moves the deadline.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Sends a request, `fields` being further lines of its head, and waits for the answer's head.
    pub fn ask(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Fallible<Head> {
        if self.framing != Framing::Over {
            return Err("the answer before was not taken".into());
        }
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}{length}\r\n", self.host);
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        loop {
            if let Some((length, head, framing)) = parse(&self.input[self.taken..])? {
                self.taken += length;
                self.framing = framing;
                return Ok(head);
            }
            self.fill()?;
        }
    }

    /// Waits for the next bytes of the body and appends them; `false` once it is over.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Fallible<bool> {
        loop {
            let rest = &self.input[self.taken..];
            match self.framing {
                Framing::Over | Framing::Length(0) => {
                    self.framing = Framing::Over;
                    return Ok(false);
                }
                Framing::NextChunk => match chunk_line(rest)? {
                    Some((line, 0)) if rest[line..].starts_with(b"\r\n") => {
                        self.taken += line + 2;
                        self.framing = Framing::Over;
                        continue;
                    }
                    Some((line, length @ 1..)) => {
                        self.taken += line;
                        self.framing = Framing::InChunk(length);
                        continue;
                    }
                    _ => {}
                },
                Framing::InChunk(0) if rest.len() >= 2 => {
                    self.taken += 2;
                    self.framing = Framing::NextChunk;
                    continue;
                }
                Framing::InChunk(0) => {}
                Framing::Length(left) | Framing::InChunk(left) if !rest.is_empty() => {
                    let piece = &rest[..left.min(rest.len() as u64) as usize];
                    out.extend_from_slice(piece);
                    self.taken += piece.len();
                    let left = left - piece.len() as u64;
                    self.framing = match self.framing {
                        Framing::Length(_) => Framing::Length(left),
                        _ => Framing::InChunk(left),
                    };
                    return Ok(true);
                }
                Framing::Length(_) | Framing::InChunk(_) => {}
            }
            self.fill()?;
        }
    }

    /// The rest of the body.
    pub fn whole(&mut self) -> Fallible<Vec<u8>> {
        let mut out = Vec::new();
        while self.next(&mut out)? {}
        Ok(out)
    }

    fn fill(&mut self) -> Fallible<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        let had = self.input.len();
        self.input.resize(had + INPUT_BYTES, 0);
        let outcome = self.receive(had);
        self.input.truncate(had + outcome.as_ref().copied().unwrap_or(0));
        outcome.map(drop)
    }

    fn receive(&mut self, at: usize) -> Fallible<usize> {
        loop {
            match self.stream.read(&mut self.input[at..]) {
                Ok(0) => return Err(format!("{} broke its answer off", self.host).into()),
                Ok(received) => return Ok(received),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                        return Err("stopped".into());
                    }
                    if Instant::now() > self.deadline {
                        return Err(format!("{} took too long", self.host).into());
                    }
                }
                Err(error) => return Err(format!("no answer from {}: {error}", self.host).into()),
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Fallible<Option<(usize, Head, Framing)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(bytes)? else {
        return if bytes.len() > HEAD_BYTES_MAX { Err("a head without end".into()) } else { Ok(None) };
    };
    let field = |name: &str| {
        let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let framing = match (field("transfer-encoding"), field("content-length")) {
        (Some("chunked"), _) => Framing::NextChunk,
        (None, Some(length)) => Framing::Length(length.parse()?),
        _ if response.code == Some(204) => Framing::Over,
        _ => return Err("an answer without a length".into()),
    };
    let head = Head { status: response.code.unwrap_or(0), gzip: field("content-encoding") == Some("gzip") };
    Ok(Some((length, head, framing)))
}

/// The length of a chunk's first line and of its data; none if it is not whole.
fn chunk_line(bytes: &[u8]) -> Fallible<Option<(usize, u64)>> {
    match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete((line, length))) => Ok(Some((line, length))),
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => Ok(None),
        _ => Err("a chunk that is none".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A server that sends these bytes to its first caller, a few at a time.
    fn fetcher(bytes: &'static [u8]) -> Fetcher {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let _ = stream.read(&mut [0; 1_024]);
            for piece in bytes.chunks(3) {
                let _ = stream.write_all(piece);
            }
        });
        Fetcher::connect(address, Instant::now() + Duration::from_secs(20), None).expect("it listens")
    }

    #[test]
    fn bodies_come_whole_however_they_are_cut() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n\
            5\r\nhello\r\nb; x=y\r\n, there you\r\n0\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno";
        let mut asking = fetcher(chunked);
        assert_eq!(asking.ask("GET", "/", "", b"").expect("a head"), Head { status: 200, gzip: true });
        assert!(asking.ask("GET", "/", "", b"").is_err(), "the body was not taken");
        assert_eq!(asking.whole().expect("a body"), b"hello, there you");
        assert_eq!(asking.ask("GET", "/", "", b"").expect("a head"), Head { status: 404, gzip: false });
        assert_eq!(asking.whole().expect("a body"), b"no");
    }

    #[test]
    fn what_is_broken_off_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let mut asking = fetcher(bytes);
            assert_eq!(asking.ask("GET", "/", "", b"").expect("a head").status, 200);
            assert!(asking.whole().is_err());
        }
        assert!(fetcher(b"HTTP/1.1 200").ask("GET", "/", "", b"").is_err());
        assert!(fetcher(b"HTTP/1.1 200 OK\r\n\r\nx").ask("GET", "/", "", b"").is_err());
    }
}
