//! A client that puts up with everything: whoever is asked may die meanwhile.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// The connection is of no use any more.
    pub closes: bool,
}

/// A connection to a node.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr, patience: Duration) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Connection { stream, input: Vec::new() })
    }

    /// One request, one answer, within `patience`.
    pub fn ask(&mut self, request: &str, patience: Duration) -> Result<Reply> {
        let deadline = Instant::now() + patience;
        self.stream.write_all(request.as_bytes())?;
        let head_end = loop {
            if let Some(at) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.read_more(deadline)?;
        };
        let head = String::from_utf8_lossy(&self.input[..head_end]).to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let len = field("content-length: ").and_then(|len| len.parse().ok()).unwrap_or(0);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::other(head.clone()))?;
        let closes = field("connection: close").is_some();
        self.input.drain(..head_end + 4);
        while self.input.len() < len {
            self.read_more(deadline)?;
        }
        let body: Vec<u8> = self.input.drain(..len).collect();
        let text = || Value::from(String::from_utf8_lossy(&body));
        Ok(Reply { status, body: serde_json::from_slice(&body).unwrap_or_else(|_| text()), closes })
    }

    fn read_more(&mut self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => {
                self.input.extend_from_slice(&chunk[..len]);
                Ok(())
            }
        }
    }
}

/// One request on a connection of its own.
pub fn ask(address: SocketAddr, request: &str, patience: Duration) -> Result<Reply> {
    Connection::open(address, patience)?.ask(request, patience)
}

/// A GET.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// A publication that may be repeated with the same key.
pub fn publication(target: &str, key: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nIdempotency-Key: {key}\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}
