//! Asking a server one thing after the other and waiting for each answer.
//!
//! What it refuses to know: what is asked. Invariant: nothing waits without end, and an answer that is
//! given out is whole.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Fallible;
use crate::answers::{Split, Splitter};

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that are read at once.
const INPUT_BYTES: usize = 64 * 1_024;

/// A connection that is used again and again.
pub struct Conversation {
    stream: TcpStream,
    splitter: Splitter,
    host: String,
    /// What has come and was not yet taken.
    input: Vec<u8>,
    /// How much of `input` was taken.
    taken: usize,
    buffer: Vec<u8>,
}

impl Conversation {
    /// Connects.
    pub fn with(to: SocketAddr) -> Fallible<Conversation> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Conversation {
            stream,
            splitter: Splitter::new(&[]),
            host: to.to_string(),
            input: Vec::new(),
            taken: 0,
            buffer: vec![0; INPUT_BYTES],
        })
    }

    /// What stands in the Host field.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same connection, for somebody who sends while another receives.
    pub fn sender(&self) -> Fallible<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Asks for a page; its status and body.
    pub fn get(&mut self, target: &str) -> Fallible<(u16, Vec<u8>)> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes())?;
        self.receive(|status, body| (status, body.to_vec()))
    }

    /// Asks for a page that must be there and be JSON.
    pub fn json(&mut self, target: &str) -> Fallible<Value> {
        match self.get(target)? {
            (200, body) => Ok(serde_json::from_slice(&body)?),
            (status, _) => Err(format!("{target} of {} was answered {status}", self.host).into()),
        }
    }

    /// Asks for a page that must be there, and takes a number from it.
    pub fn number(&mut self, target: &str, name: &str) -> Fallible<u64> {
        let page = self.json(target)?;
        page[name].as_u64().ok_or_else(|| format!("{target} of {} has no {name}", self.host).into())
    }

    /// Waits for the next answer.
    pub fn receive<T>(&mut self, take: impl FnOnce(u16, &[u8]) -> T) -> Fallible<T> {
        let mut need = 1;
        loop {
            let rest = &self.input[self.taken..];
            if rest.len() >= need {
                match self.splitter.first(rest).map_err(|why| why.to_string())? {
                    Split::Whole(answer) => {
                        self.taken += answer.whole_bytes;
                        return Ok(take(answer.status, answer.body));
                    }
                    Split::Incomplete { need: more } => need = more,
                }
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Fallible<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err("the server closed a connection instead of answering".into()),
            Ok(received) => {
                self.input.extend_from_slice(&self.buffer[..received]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("no answer from {}: {error}", self.host).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A server that sends these bytes to its first caller, a few at a time.
    fn server(bytes: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let _ = stream.read(&mut [0; 1_024]);
            bytes.as_bytes().chunks(7).for_each(|piece| stream.write_all(piece).expect("it reads"));
        });
        address
    }

    #[test]
    fn answers_come_one_by_one_however_they_are_cut() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":4}HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
        let mut asking = Conversation::with(server(ok)).expect("it listens");
        assert_eq!(asking.number("/stats", "a").expect("an answer"), 4);
        assert_eq!(asking.receive(|status, body| (status, body.len())).expect("another"), (404, 0));
        let error = asking.receive(|status, _| status).expect_err("no more");
        assert!(error.to_string().contains("closed"), "{error}");
    }
}
