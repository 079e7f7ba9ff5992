//! The reactor's place, without sockets: [`World`] owns a shard, a clock that moves when
//! told to, and clients whose sockets are two buffers.
//!
//! It calls the shard as `reactor` does and in that order, edge-triggered: an event comes
//! once, and what is left unread is asked for by the shard's own list.

use super::response::{Answer, Body, Response};
use super::*;
use crate::limits::READS_PER_TICK;

/// One client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who(pub usize);

#[derive(Debug)]
struct Client {
    id: ConnId,
    /// Sent by the client, not yet read by the shard.
    inbound: Vec<u8>,
    /// The client will send nothing more.
    ended: bool,
    /// Taken by the client's side and not yet looked at by the test.
    received: Vec<u8>,
    /// So many bytes the socket takes before it blocks.
    window: usize,
    /// The reactor asked to be told when the socket takes more.
    armed: bool,
    /// The socket was registered anew, so that what it has is told again.
    pending: bool,
    /// The shard shut its side.
    shut: bool,
    /// The socket is closed.
    closed: bool,
    /// How it was.
    parting: Option<Parting>,
}

/// A shard and all who talk to it.
pub struct World {
    pub shard: Shard,
    pub now: Now,
    clients: Vec<Client>,
    /// So many bytes one read gives at most.
    pub scratch: usize,
}

/// Whether a read goes on until nothing is left, as in the reactor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Short,
    Empty,
}

/// A Monday afternoon.
pub const START: Now = Now { wall: Timestamp(1_795_361_093_123), tick: Tick(5_000) };
pub const ORIGIN: Origin = Origin(0xa1b2_c3d4_e5f6_0718);

/// The defaults of a node that nothing was said to.
pub fn settings() -> Settings {
    Settings::new(&Config::default(), 10_000)
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    /// With settings that differ from the defaults.
    pub fn with(change: impl FnOnce(&mut Settings)) -> World {
        World::keyed(Keys::default(), change)
    }

    /// With secrets too.
    pub fn keyed(keys: Keys, change: impl FnOnce(&mut Settings)) -> World {
        let mut settings = settings();
        change(&mut settings);
        World::around(Shard::new(settings.for_one_of(1), Arc::new(keys), ORIGIN, 7, START))
    }

    /// With a shard that was made elsewhere.
    pub fn around(shard: Shard) -> World {
        World { shard, now: START, clients: Vec::new(), scratch: crate::limits::SCRATCH_BYTES }
    }

    // -- What clients do -----------------------------------------------------------

    /// A new connection, if there is room for one.
    pub fn try_connect(&mut self, door: Door) -> Option<Who> {
        let id = self.shard.open(door, self.now)?;
        self.clients.push(Client {
            id,
            inbound: Vec::new(),
            ended: false,
            received: Vec::new(),
            window: usize::MAX,
            armed: false,
            pending: false,
            shut: false,
            closed: false,
            parting: None,
        });
        self.close_freed();
        Some(Who(self.clients.len() - 1))
    }

    pub fn connect(&mut self, door: Door) -> Who {
        self.try_connect(door).expect("there is room")
    }

    /// A new connection from an address.
    pub fn connect_from(&mut self, door: Door, peer: &str) -> Who {
        let who = self.connect(door);
        self.shard.handle_peer(self.id(who), peer.parse().expect("an address"));
        who
    }

    /// The client sends bytes, which the shard reads as far as it wants to.
    pub fn send(&mut self, who: Who, bytes: impl AsRef<[u8]>) {
        self.clients[who.0].inbound.extend_from_slice(bytes.as_ref());
        self.handle_event(who);
        self.tick();
    }

    /// The client ends its input, as a shutdown or a close do.
    pub fn end(&mut self, who: Who) {
        self.clients[who.0].ended = true;
        self.handle_event(who);
        self.tick();
    }

    /// The connection breaks.
    pub fn reset(&mut self, who: Who) {
        self.shard.handle_gone(self.id(who));
        self.tick();
    }

    /// From now on the client's socket takes so many bytes more.
    pub fn set_window(&mut self, who: Who, bytes: usize) {
        self.clients[who.0].window = bytes;
        let id = self.id(who);
        if self.clients[who.0].armed && bytes > 0 {
            self.shard.handle_writable(id);
            self.flush(who);
            if !self.shard.is_blocked(id) {
                self.clients[who.0].armed = false;
                self.clients[who.0].pending = true;
            }
        }
        self.tick();
    }

    // -- What the reactor does -------------------------------------------------------

    /// Lets time pass, deadline by deadline.
    pub fn advance(&mut self, ms: u64) {
        let target = self.now.plus_ms(ms);
        for turns in 0.. {
            assert!(turns < 100_000, "time does not pass: {:?}", self.shard.next_deadline());
            match self.shard.next_deadline() {
                Some(next) if next <= target.tick => {
                    self.now = self.now.plus_ms(next.since_ms(self.now.tick));
                    self.tick();
                }
                _ => break,
            }
        }
        self.now = target;
        self.tick();
    }

    /// Ticks until nothing is left to do now.
    pub fn tick(&mut self) {
        for turns in 0.. {
            assert!(turns < 10_000, "the loop does not come to rest");
            self.shard.handle_time(self.now);
            self.serve_listed();
            self.close_freed();
            if self.shard.listed_count() == 0 && self.clients.iter().all(|client| !client.pending) {
                return;
            }
            // What was registered anew is told in the next turn.
            for who in 0..self.clients.len() {
                if std::mem::take(&mut self.clients[who].pending) {
                    self.handle_event(Who(who));
                }
            }
        }
    }

    fn handle_event(&mut self, who: Who) {
        let id = self.id(who);
        if self.clients[who.0].ended && self.shard.is_waiting(id) {
            self.shard.handle_end_of_input(id);
        } else if self.clients[who.0].ended {
            self.read(who, Until::Empty);
        } else {
            self.read(who, Until::Short);
        }
    }

    fn read(&mut self, who: Who, until: Until) {
        let id = self.id(who);
        for _ in 0..READS_PER_TICK {
            if !self.shard.wants_input(id) {
                return;
            }
            let client = &mut self.clients[who.0];
            if client.inbound.is_empty() {
                if client.ended {
                    self.shard.handle_end_of_input(id);
                    self.flush(who);
                }
                return;
            }
            let len = client.inbound.len().min(self.scratch);
            let input: Vec<u8> = client.inbound.drain(..len).collect();
            self.shard.handle_input(id, &input, self.now);
            self.flush(who);
            if len < self.scratch && until == Until::Short {
                return;
            }
        }
        self.shard.handle_more_to_read(id);
    }

    fn flush(&mut self, who: Who) {
        let id = self.id(who);
        let client = &mut self.clients[who.0];
        loop {
            let [first, second] = self.shard.output(id, self.now);
            let total = first.len() + second.len();
            if total == 0 {
                break;
            }
            assert!(!client.shut && !client.closed, "output after the end");
            let len = total.min(client.window);
            if len == 0 {
                self.shard.handle_blocked(id, self.now);
                client.armed = true;
                // To register anew asks anew what there is.
                client.pending = !client.inbound.is_empty() || client.ended;
                return;
            }
            client.window -= if client.window == usize::MAX { 0 } else { len };
            client.received.extend(first.iter().chain(second).take(len));
            if len == total {
                self.shard.handle_all_sent(id, len);
            } else {
                self.shard.handle_sent(id, len);
            }
        }
        if self.shard.handle_flushed(id, self.now) == Flushed::Shut {
            client.shut = true;
        }
    }

    fn serve_listed(&mut self) {
        for _ in 0..self.shard.listed_count() {
            let Some(id) = self.shard.poll_listed(self.now) else { return };
            let Some(who) = self.clients.iter().rposition(|client| client.id == id) else { continue };
            self.flush(Who(who));
            if self.shard.is_unread(id) {
                self.read(Who(who), Until::Empty);
            }
        }
    }

    fn close_freed(&mut self) {
        while let Some((id, parting)) = self.shard.poll_freed() {
            for client in self.clients.iter_mut().filter(|client| client.id == id) {
                assert!(!client.closed, "freed twice");
                client.closed = true;
                client.parting = Some(parting);
            }
        }
    }

    // -- What tests ask ----------------------------------------------------------------

    pub fn id(&self, who: Who) -> ConnId {
        self.clients[who.0].id
    }

    /// How the socket was closed, if it was.
    pub fn parting(&self, who: Who) -> Option<Parting> {
        self.clients[who.0].parting
    }

    /// Whether the socket is closed.
    pub fn is_closed(&self, who: Who) -> bool {
        self.clients[who.0].closed
    }

    /// Whether the shard will answer nothing more there.
    pub fn is_over(&self, who: Who) -> bool {
        self.clients[who.0].closed || self.clients[who.0].shut
    }

    pub fn is_held(&self, who: Who) -> bool {
        self.shard.is_waiting(self.id(who))
    }

    /// What the client received and the test has not yet looked at.
    pub fn received(&self, who: Who) -> &[u8] {
        &self.clients[who.0].received
    }

    /// What the client sent and the shard has not yet read.
    pub fn unread(&self, who: Who) -> usize {
        self.clients[who.0].inbound.len()
    }

    /// All responses that arrived; the last is whole.
    #[track_caller]
    pub fn take_all(&mut self, who: Who) -> Vec<Response> {
        let received = std::mem::take(&mut self.clients[who.0].received);
        let mut rest = &received[..];
        let mut responses = Vec::new();
        while !rest.is_empty() {
            let parsed = Response::parse(rest, Body::Present);
            let (response, len) = parsed.unwrap_or_else(|| panic!("cut: {}", rest.escape_ascii()));
            responses.push(response);
            rest = &rest[len..];
        }
        responses
    }

    /// The one response that arrived.
    #[track_caller]
    pub fn take(&mut self, who: Who) -> Response {
        let mut responses = self.take_all(who);
        assert_eq!(responses.len(), 1, "{responses:?}");
        responses.remove(0)
    }

    /// The one response to a HEAD that arrived.
    #[track_caller]
    pub fn take_head(&mut self, who: Who) -> Response {
        let received = std::mem::take(&mut self.clients[who.0].received);
        let (response, len) = Response::parse(&received, Body::Absent).expect("a head");
        assert_eq!(len, received.len(), "a body came: {}", received.escape_ascii());
        response
    }

    /// The one answer of a poll that arrived.
    #[track_caller]
    pub fn take_answer(&mut self, who: Who) -> Answer {
        self.take(who).answer()
    }

    /// That a poll is held and has got nothing.
    #[track_caller]
    pub fn check_held(&self, who: Who) {
        assert!(self.is_held(who) && self.received(who).is_empty(), "{}", self.received(who).escape_ascii());
    }

    // -- Whole requests ----------------------------------------------------------------

    /// One request on a connection of its own, which ends afterwards.
    #[track_caller]
    pub fn request(&mut self, door: Door, line: &str, fields: &str, body: impl AsRef<[u8]>) -> Response {
        let who = self.connect(door);
        self.send(who, request(line, fields, body));
        let response = self.take(who);
        self.end(who);
        assert!(self.is_closed(who));
        response
    }

    /// `GET` at the public door.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request(Door::Public, &format!("GET {target}"), "", "")
    }

    /// A request at the publisher's door.
    #[track_caller]
    pub fn publisher(&mut self, line: &str, body: impl AsRef<[u8]>) -> Response {
        self.request(Door::Publisher, line, "", body)
    }

    /// A poll on a connection of its own, which stays.
    pub fn poll(&mut self, target: &str) -> Who {
        let who = self.connect(Door::Public);
        self.poll_again(who, target);
        who
    }

    /// Another poll on a connection that has one behind it.
    pub fn poll_again(&mut self, who: Who, target: &str) {
        self.send(who, request(&format!("GET /sub/{target}"), "", ""));
    }

    /// Publishes a text; tells how many polls the server says it woke.
    #[track_caller]
    pub fn publish(&mut self, channels: &str, text: &str) -> u64 {
        let response = self.request(
            Door::Publisher,
            &format!("POST /pub/{channels}"),
            "Content-Type: text/plain\r\n",
            text,
        );
        assert_eq!(response.status, 201, "{response:?}");
        response.json()["subscribers"].as_u64().unwrap()
    }

    /// Everybody leaves.
    pub fn clear(&mut self) {
        for who in (0..self.clients.len()).map(Who) {
            self.clients[who.0].window = usize::MAX;
            if !self.is_closed(who) {
                self.reset(who);
            }
        }
    }

    /// What a client received, as it came.
    pub fn take_bytes(&mut self, who: Who) -> Vec<u8> {
        std::mem::take(&mut self.clients[who.0].received)
    }

    /// Everybody leaves; then nothing may be left behind.
    #[track_caller]
    pub fn finish(mut self) {
        self.clear();
        let shard = &self.shard;
        assert_eq!((shard.connections.len(), shard.sides.len(), shard.wides.len()), (0, 0, 0));
        assert_eq!((shard.held, shard.side_bytes, shard.listed.len()), (0, 0, 0));
        assert_eq!(shard.answers.len(), usize::from(shard.idle_answer.is_some()), "answers are left");
        assert_eq!(shard.timers.next(&shard.connections), None);
        assert_eq!(shard.memory_bytes(), shard.queue.bytes() + shard.answers.bytes());
        assert!(!shard.queue.has_news());
        let (channels, _) = shard.queue.list(0, usize::MAX, self.now);
        assert!(channels.iter().all(|channel| channel.subscribers == 0), "{channels:?}");
    }
}

/// A request with a Host, and with a Content-Length if it has a body.
pub fn request(line: &str, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = match body.len() {
        0 => String::new(),
        len => format!("Content-Length: {len}\r\n"),
    };
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: push.example\r\n{fields}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
