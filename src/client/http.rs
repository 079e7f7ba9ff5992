//! One keep-alive connection to a server: a request goes out, a whole answer comes in.
//!
//! It knows HTTP framing and deadlines, but no channels. Invariant: after any failure
//! the connection is dropped, so that a late answer can never be taken for the next
//! request's.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{CLIENT_ANSWER_BYTES_MAX, CLIENT_CONNECT_MS_MAX, CLIENT_WRITE_MS_MAX, HEAD_BYTES_MAX};
use crate::resolve::resolve;
use crate::time::{Clock, Tick};
use crate::wire::http::response::{ResponseHead, parse_response};

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Where a server is: `http://host[:port][/prefix]` or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    authority: String,
    prefix: String,
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Server, &'static str> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err("TLS is not spoken here; put a proxy in between"),
            Some(_) => return Err("only http:// is known"),
            None => text,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host_end = authority.rfind(']').map_or(0, |at| at + 1);
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || !plain(rest) || authority.contains('@') || rest.contains(['?', '#']) {
            return Err("it must be http://host[:port] or host:port");
        }
        let path = path.trim_end_matches('/');
        Ok(Server {
            authority: match authority[host_end..].contains(':') {
                true => authority.to_string(),
                false => format!("{authority}:80"),
            },
            prefix: if path.is_empty() { String::new() } else { format!("/{path}") },
        })
    }
}

impl Server {
    /// The sentence for a person who sees no answer from this server.
    pub fn cannot_reach(&self, failure: &Failure) -> String {
        match failure {
            Failure::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                format!("cannot reach {self}: {failure}; is `pushup serve` running?")
            }
            Failure::Unreachable(_) => format!("cannot reach {self}: {failure}"),
            Failure::Lost(_) => format!("no answer from {self}: {failure}"),
            Failure::NotHttp => format!("{self}: {failure}"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

/// What to ask.
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path and query, from the first slash, already encoded.
    pub target: &'a str,
    /// More fields, already known to hold no line ends.
    pub fields: &'a [(&'static str, &'a str)],
    /// The body; a POST always says how long it is.
    pub body: &'a [u8],
    /// The whole answer must be here after this long, in seconds.
    pub answer_s_max: u64,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
    /// Seconds that the server asks us to wait.
    pub retry_after_s: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection: the server has not seen the request.
    Unreachable(io::Error),
    /// The connection broke or fell silent: the server may have seen the request.
    Lost(io::Error),
    /// What came back is not an HTTP answer that we understand.
    NotHttp,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(error) | Failure::Lost(error) => f.write_str(&reason(error)),
            Failure::NotHttp => f.write_str("the answer is not one that PushUp gives"),
        }
    }
}

/// The usual reasons in plain words, without the system's error number.
fn reason(error: &io::Error) -> String {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe | TimedOut | HostUnreachable
        | NetworkUnreachable => error.kind().to_string(),
        UnexpectedEof => "closed by the server".into(),
        _ => error.to_string(),
    }
}

/// A connection that is made when it is needed, and kept.
pub struct Connection {
    server: Server,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    clock: Clock,
}

impl Connection {
    /// Not connected yet.
    pub fn new(server: Server) -> Connection {
        Connection { server, stream: None, input: Vec::new(), clock: Clock::start() }
    }

    /// Where it goes to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The time by the connection's own clock.
    pub fn tick(&self) -> Tick {
        self.clock.now().tick
    }

    /// Sends one request and waits for its answer, connecting first if need be.
    pub fn request(&mut self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().map_err(Failure::Unreachable)?,
        };
        let deadline = self.tick().plus_ms(request.answer_s_max * 1000);
        // A server that refuses a body answers before it has read all of it and closes:
        // the answer may be there although sending failed.
        let sent = stream.write_all(&self.bytes(request));
        let (head, body) = self.read_answer(&mut stream, deadline).map_err(|failure| {
            sent.as_ref().map_or_else(|error| Failure::Lost(error.kind().into()), |()| failure)
        })?;
        if head.keep_alive && sent.is_ok() && self.input.is_empty() {
            self.stream = Some(stream);
        }
        Ok(Answer { status: head.status, body, retry_after_s: head.retry_after_s })
    }

    fn connect(&mut self) -> io::Result<TcpStream> {
        self.input.clear();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in resolve(&self.server.authority)? {
            match TcpStream::connect_timeout(&address, Duration::from_millis(CLIENT_CONNECT_MS_MAX)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(Duration::from_millis(CLIENT_WRITE_MS_MAX)))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The request as it goes out, in one piece.
    fn bytes(&self, request: &Request<'_>) -> Vec<u8> {
        let (method, Server { authority, prefix }) = (request.method, &self.server);
        let target = request.target;
        let mut text = format!("{method} {prefix}{target} HTTP/1.1\r\nHost: {authority}\r\n");
        for (name, value) in request.fields {
            text += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            text += &format!("Content-Length: {}\r\n", request.body.len());
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(request.body);
        bytes
    }

    fn read_answer(
        &mut self,
        stream: &mut TcpStream,
        deadline: Tick,
    ) -> Result<(ResponseHead, Vec<u8>), Failure> {
        let mut head = self.read_head(stream, deadline)?;
        let length = match head.content_length {
            _ if matches!(head.status, 204 | 304) => 0,
            _ if head.chunked => return Err(Failure::NotHttp),
            Some(length) => usize::try_from(length).map_err(|_| Failure::NotHttp)?,
            None => {
                head.keep_alive = false;
                self.read_to_end(stream, deadline)?
            }
        };
        if length > CLIENT_ANSWER_BYTES_MAX {
            return Err(Failure::NotHttp);
        }
        while self.input.len() < length {
            self.read_more(stream, deadline)?;
        }
        let rest = self.input.split_off(length);
        Ok((head, std::mem::replace(&mut self.input, rest)))
    }

    /// Takes the head off the input; interim answers (1xx) before it are skipped.
    fn read_head(&mut self, stream: &mut TcpStream, deadline: Tick) -> Result<ResponseHead, Failure> {
        loop {
            match parse_response(&self.input).map_err(|_| Failure::NotHttp)? {
                Some(head) => {
                    self.input.drain(..head.len);
                    if head.status >= 200 {
                        return Ok(head);
                    }
                }
                None if self.input.len() > HEAD_BYTES_MAX => return Err(Failure::NotHttp),
                None => self.read_more(stream, deadline)?,
            }
        }
    }

    /// Reads a body that only the connection's end delimits; returns its length.
    fn read_to_end(&mut self, stream: &mut TcpStream, deadline: Tick) -> Result<usize, Failure> {
        loop {
            match self.read_more(stream, deadline) {
                Ok(()) if self.input.len() > CLIENT_ANSWER_BYTES_MAX => {
                    return Err(Failure::NotHttp);
                }
                Ok(()) => {}
                Err(Failure::Lost(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(self.input.len());
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn read_more(&mut self, stream: &mut TcpStream, deadline: Tick) -> Result<(), Failure> {
        let mut chunk = [0; READ_BYTES];
        let left_ms = deadline.since_ms(self.tick());
        let read = match left_ms {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => stream
                .set_read_timeout(Some(Duration::from_millis(left_ms)))
                .and_then(|()| stream.read(&mut chunk)),
        };
        match read {
            Ok(0) => Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.input.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(Failure::Lost(io::ErrorKind::TimedOut.into()))
            }
            Err(error) => Err(Failure::Lost(error)),
        }
    }
}

/// Percent-encodes a query parameter's value (RFC 3986 §2.3).
pub fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}
