//! A client that is strict: an answer must be exactly what RFC 9112 and our own promises
//! say, or the test fails where it is read.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    /// What was read and belongs to the next answer.
    input: Vec<u8>,
    patience: Duration,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field that stands once; none if it does not stand there.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        let value = values.next().map(|field| field.1.as_str());
        assert!(values.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Where a poll goes on.
    pub fn cursor(&self) -> String {
        cursor_of(&self.json())
    }

    /// The data of a poll's messages.
    pub fn data(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        data_of(&self.json())
    }

    pub fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

pub fn cursor_of(poll: &Value) -> String {
    poll["cursor"].as_str().unwrap().to_string()
}

pub fn data_of(poll: &Value) -> Vec<Value> {
    poll["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    /// A client that takes in next to nothing unless it reads.
    pub fn connect_narrow(address: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Client::over(socket.into())
    }

    /// From an address of this machine's.
    pub fn connect_from(local: [u8; 4], address: SocketAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((local, 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Client::over(socket.into())
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { stream, input: Vec::new(), patience: PATIENCE }
    }

    /// Waits this long for answers.
    pub fn patient(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub fn send_get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    /// A GET with more fields, each with its line end.
    pub fn get_with(&mut self, target: &str, fields: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        self.read()
    }

    pub fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        self.post_with(target, "", body)
    }

    /// A POST with more fields, each with its line end.
    pub fn post_with(&mut self, target: &str, fields: &str, body: &[u8]) -> Answer {
        self.request("POST", target, fields, body)
    }

    pub fn put(&mut self, target: &str, body: &[u8]) -> Answer {
        self.request("PUT", target, "", body)
    }

    fn request(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
        let len = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n{fields}\r\n");
        self.send([head.as_bytes(), body].concat());
        self.read()
    }

    pub fn delete(&mut self, target: &str) -> Answer {
        self.send(format!("DELETE {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.read()
    }

    /// The next answer, to a request that was not HEAD.
    pub fn read(&mut self) -> Answer {
        let mut answer = self.read_head();
        if answer.field("Transfer-Encoding").is_some() {
            answer.body = self.read_chunks();
            return answer;
        }
        let len = answer.field("Content-Length").map(|len| len.parse::<usize>().unwrap());
        assert_eq!(len.is_none(), answer.status == 204, "{answer:?}");
        let len = len.unwrap_or(0);
        while self.input.len() < len {
            assert!(self.read_more() > 0, "the answer's body ends early: {answer:?}");
        }
        answer.body = self.input.drain(..len).collect();
        answer
    }

    /// A chunked body (RFC 9112 §7.1).
    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.input.windows(2).position(|two| two == b"\r\n") {
                    break at;
                }
                assert!(self.read_more() > 0, "the connection ends within a chunked body");
            };
            let len = usize::from_str_radix(std::str::from_utf8(&self.input[..end]).unwrap(), 16).unwrap();
            while self.input.len() < end + 2 + len + 2 {
                assert!(self.read_more() > 0, "the connection ends within a chunk");
            }
            body.extend_from_slice(&self.input[end + 2..end + 2 + len]);
            self.input.drain(..end + 2 + len + 2);
            if len == 0 {
                return body;
            }
        }
    }

    /// The next answer's head, for HEAD.
    pub fn read_head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            let so_far = String::from_utf8_lossy(&self.input).into_owned();
            assert!(self.read_more() > 0, "the connection ends within an answer's head: {so_far:?}");
        };
        let head = String::from_utf8(self.input[..end].to_vec()).unwrap();
        self.input.drain(..end + 4);
        check_head(&head)
    }

    /// `100 Continue`, and nothing else yet.
    pub fn read_continue(&mut self) {
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        while self.input.len() < expected.len() {
            assert!(self.read_more() > 0, "the connection ends where 100 should be");
        }
        assert_eq!(String::from_utf8_lossy(&self.input), String::from_utf8_lossy(expected));
        self.input.clear();
    }

    /// The connection ends here, in order, with nothing more.
    pub fn read_end(&mut self) {
        assert_eq!(self.read_more(), 0, "more came: {:?}", String::from_utf8_lossy(&self.input));
        assert!(self.input.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.input));
    }

    /// The connection ends here, whatever way; returns how many bytes came before that.
    pub fn read_until_cut(&mut self) -> usize {
        let (mut chunk, mut count) = (vec![0; 1 << 16], self.input.len());
        let deadline = Instant::now() + self.patience;
        self.stream.set_read_timeout(Some(self.patience)).unwrap();
        loop {
            assert!(Instant::now() < deadline, "the connection does not end");
            match self.stream.read(&mut chunk) {
                Ok(0) => return count,
                Ok(len) => count += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("after {count} bytes: {error}"),
            }
        }
    }

    /// Nothing has come that was not asked for, and the connection stands.
    pub fn assert_quiet(&mut self) {
        assert!(self.input.is_empty(), "unasked: {:?}", String::from_utf8_lossy(&self.input));
        assert!(self.is_quiet(), "unasked input, or the end");
    }

    /// Whether the connection stands, with nothing to read.
    pub fn is_quiet(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads what there is, at most until patience ends; 0 is the end.
    fn read_more(&mut self) -> usize {
        let mut chunk = [0; 16 * 1024];
        self.stream.set_read_timeout(Some(self.patience)).unwrap();
        match self.stream.read(&mut chunk) {
            Ok(len) => {
                self.input.extend_from_slice(&chunk[..len]);
                len
            }
            // A read with a time limit is not begun again by itself when the process was stopped for a moment.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read_more(),
            Err(error) => panic!("no answer within {:?}: {error}", self.patience),
        }
    }
}

/// Takes a head apart; what no answer of ours may have fails.
fn check_head(head: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap();
    let rest = status_line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status_line:?}"));
    let (status, reason) = rest.split_once(' ').unwrap();
    assert!(status.len() == 3 && !reason.is_empty(), "{status_line:?}");
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {head:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{line:?}");
        assert!(value == value.trim() && !value.contains(['\r', '\n']), "{line:?}");
        fields.push((name.to_string(), value.to_string()));
    }
    let answer = Answer { status: status.parse().unwrap(), fields, body: Vec::new() };
    let framed = answer.field("Transfer-Encoding").is_none() || answer.field("Content-Length").is_none();
    assert!(framed, "two framings: {head}");
    assert_eq!(answer.field("Cache-Control"), Some("no-store"), "{head}");
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"), "{head}");
    assert!(answer.field("Date").is_some_and(|date| date.len() == 29 && date.ends_with(" GMT")), "{head}");
    assert_eq!(answer.field("Content-Type").is_none(), answer.status == 204, "{head}");
    answer
}
