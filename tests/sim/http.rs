//! HTTP as a client of the simulation speaks it, over a virtual wire.

use pushup::wire::http::response::parse_response;
use serde_json::Value;

use crate::agenda::Ms;
use crate::net::{Holder, Net, Purpose, Signal, WireId};

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    keep_alive: bool,
}

impl Response {
    /// The first response of these bytes and its length, once it is whole.
    pub fn parse(bytes: &[u8]) -> Option<(Response, usize)> {
        let head = parse_response(bytes).expect("a response that can be read")?;
        let body_len = match head.status {
            204 => 0,
            _ => head.content_length.expect("a length") as usize,
        };
        let body = bytes.get(head.len..head.len + body_len)?.to_vec();
        Some((Response { status: head.status, body, keep_alive: head.keep_alive }, head.len + body_len))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.body.escape_ascii()))
    }

    /// The body as text, for a person.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_string()
    }
}

/// A request.
pub fn request(line: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = match body.len() {
        0 => String::new(),
        len => format!("Content-Length: {len}\r\n"),
    };
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: sim\r\n{fields}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Answered(Response),
    /// Nobody knows what became of it, unless it never left.
    Failed(Failed),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No connection came to be: nothing was sent.
    Refused,
    /// The connection ended first.
    Broken,
    /// It took too long.
    TimedOut,
}

/// One request at a time, on a connection that is used again while it lives.
#[derive(Debug)]
pub struct Caller {
    actor: usize,
    room: usize,
    wire: Option<WireId>,
    node: usize,
    purpose: Purpose,
    stands: bool,
    request: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    pub busy: bool,
    /// When the answer must be there.
    pub deadline: Ms,
}

impl Caller {
    /// `room` bytes are taken from a node before it must wait.
    pub fn new(actor: usize, room: usize) -> Caller {
        Caller {
            actor,
            room,
            wire: None,
            node: usize::MAX,
            purpose: Purpose::Public,
            stands: false,
            request: Vec::new(),
            sent: 0,
            received: Vec::new(),
            busy: false,
            deadline: 0,
        }
    }

    /// Sends a request to a node, which must be answered within so many milliseconds.
    pub fn call(&mut self, node: usize, purpose: Purpose, request: Vec<u8>, patience_ms: Ms, net: &mut Net) {
        assert!(!self.busy, "one request at a time");
        if (self.node, self.purpose) != (node, purpose) {
            self.hang_up(net);
        }
        (self.request, self.sent, self.busy) = (request, 0, true);
        self.deadline = net.now() + patience_ms;
        (self.node, self.purpose) = (node, purpose);
        match self.wire.filter(|wire| net.is_held(*wire, 0)) {
            Some(_) => self.write(net),
            None => {
                self.received.clear();
                self.stands = false;
                self.wire = Some(net.connect(Holder::Actor(self.actor), node, purpose, self.room));
            }
        }
    }

    /// Closes the connection, if there is one.
    pub fn hang_up(&mut self, net: &mut Net) {
        if let Some(wire) = self.wire.take() {
            net.close(wire, 0);
        }
    }

    /// Something happened to a connection, perhaps to one of before.
    pub fn handle_signal(&mut self, wire: WireId, signal: Signal, net: &mut Net) -> Option<Outcome> {
        if self.wire != Some(wire) {
            return None;
        }
        match signal {
            Signal::Called => None,
            Signal::Connected => {
                self.stands = true;
                self.write(net);
                None
            }
            Signal::Writable => {
                self.write(net);
                None
            }
            Signal::Readable => self.read(wire, net),
            Signal::Refused => self.fail(Failed::Refused, net),
            Signal::Reset => self.fail(Failed::Broken, net),
            Signal::Ended => {
                let outcome = self.read(wire, net);
                if outcome.is_some() {
                    self.hang_up(net);
                    return outcome;
                }
                self.fail(Failed::Broken, net)
            }
        }
    }

    /// The time for an answer is over.
    pub fn handle_deadline(&mut self, net: &mut Net) -> Option<Outcome> {
        if self.busy && net.now() >= self.deadline { self.fail(Failed::TimedOut, net) } else { None }
    }

    /// Ends a request without an answer, and its connection.
    fn fail(&mut self, failed: Failed, net: &mut Net) -> Option<Outcome> {
        self.hang_up(net);
        self.received.clear();
        std::mem::take(&mut self.busy).then_some(Outcome::Failed(failed))
    }

    fn write(&mut self, net: &mut Net) {
        let Some(wire) = self.wire.filter(|_| self.stands && self.busy) else { return };
        let rest = &self.request[self.sent..];
        let len = rest.len().min(net.room(wire, 0));
        if len > 0 {
            net.send(wire, 0, &rest[..len]);
            self.sent += len;
        }
        if self.sent < self.request.len() {
            net.wait_for_room(wire, 0);
        }
    }

    fn read(&mut self, wire: WireId, net: &mut Net) -> Option<Outcome> {
        let arrived = net.read(wire, 0, usize::MAX);
        self.received.extend(arrived);
        let (response, len) = Response::parse(&self.received)?;
        assert!(self.busy, "an answer that nobody asked for: {}", self.received.escape_ascii());
        assert_eq!(len, self.received.len(), "more than an answer: {}", self.received.escape_ascii());
        self.received.clear();
        self.busy = false;
        if !response.keep_alive {
            self.hang_up(net);
        }
        Some(Outcome::Answered(response))
    }
}
