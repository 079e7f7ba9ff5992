//! The event loop (paper §3.1): the only place that makes socket calls.
//!
//! It knows readiness and bytes, and nothing of what they mean: whatever happens is handed
//! to the [`Shard`], and whatever the shard has to send is sent. One tick: wait; read what is
//! ready, polls by the handful; let time pass; write; close what is over; accept. Links to other
//! nodes are read before time passes and written to before clients are.
//!
//! Every socket is registered once, edge-triggered, for reading; for writing only while it
//! is blocked. What a tick leaves unfinished stands on our own lists, not the kernel's.

mod accepting;
mod backends;
mod handing;
mod links;
pub mod listen;
pub mod post;
mod socket;
pub mod supervisor;
pub mod worker;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use self::accepting::{Listener, is_exhausted, reserve};
use self::backends::{BACKEND_BASE, Backends};
use self::handing::GUESTS;
use self::links::{LINK_BASE, Links};
use self::post::Desk;
use crate::ids::ConnId;
use crate::limits::{
    DRAIN_LAST_MS, EVENTS_PER_TICK, GATHERED_BYTES, GATHERED_MAX, LISTED_ENOUGH, READS_PER_TICK,
    SCRATCH_BYTES, WRITES_PER_TICK,
};
use crate::shard::{Flushed, Parting, Shard};
use crate::time::{Clock, Now, Tick};

/// The generation that no connection has: it marks the reactor's own tokens.
const OWN: u32 = u32::MAX;
/// The token of the stream that says that there are orders.
const ORDERS: u32 = u32::MAX;
/// The token of the call that says that there is mail.
const MAIL: u32 = u32::MAX - 3;

/// A connection's socket, and which owner of the slot it belongs to.
struct Socket {
    stream: TcpStream,
    generation: u32,
}

/// What was read of a connection.
struct Gathered {
    id: ConnId,
    len: usize,
}

/// Whether a read should go on until the socket says that it has no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// A short read means that there is no more; the next edge will tell.
    Short,
    /// The end of the input, or a forgotten edge, may stand behind.
    Empty,
}

/// The event loop of one shard.
pub struct Reactor {
    poll: Poll,
    shard: Shard,
    clock: Clock,
    now: Now,
    listeners: Vec<Listener>,
    sockets: Vec<Option<Socket>>,
    scratch: Box<[u8]>,
    /// Input that stands in the scratch buffer, each in its part, and is not handed over yet.
    gathered: Vec<Gathered>,
    /// Given up for a moment when descriptors are exhausted, so that a caller can be told.
    reserve: Option<File>,
    /// No accepting before this moment.
    accept_pause: Tick,
    /// How many connections there were when this shard had no room for more and said so to the others.
    full_at: Option<usize>,
    /// Others may have handed on callers.
    has_guests: bool,
    orders: Option<UnixStream>,
    /// None for a node by itself.
    links: Option<Links>,
    /// None for a node without back-ends.
    backends: Option<Backends>,
    /// None for a node of one shard.
    desk: Option<Desk>,
    /// When it was last logged that descriptors are exhausted.
    warned: Option<Tick>,
}

/// What the shard's owner wants of the loop after a tick.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another tick.
    GoOn,
    /// Return from [`Reactor::run`].
    Stop,
}

impl Reactor {
    /// A loop around a shard; `clock` is the one whose time the shard was made with.
    pub fn new(shard: Shard, clock: Clock) -> io::Result<Reactor> {
        Ok(Reactor {
            poll: Poll::new()?,
            shard,
            clock,
            now: clock.now(),
            listeners: Vec::new(),
            sockets: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            gathered: Vec::with_capacity(GATHERED_MAX),
            reserve: reserve(),
            accept_pause: Tick(0),
            full_at: None,
            has_guests: false,
            orders: None,
            links: None,
            backends: None,
            desk: None,
            warned: None,
        })
    }

    /// Wakes the loop when `stream` can be read: orders have come.
    pub fn watch_orders(&mut self, stream: std::os::unix::net::UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        self.poll.registry().register(&mut stream, own_token(ORDERS), Interest::READABLE)?;
        self.orders = Some(stream);
        Ok(())
    }

    /// The shard, before it runs.
    pub fn shard_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }

    /// Runs until `govern`, called once a tick with the shard, says so.
    pub fn run(&mut self, mut govern: impl FnMut(&mut Shard, Now) -> Verdict) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TICK);
        loop {
            self.tick(&mut events)?;
            if govern(&mut self.shard, self.now) == Verdict::Stop {
                return Ok(());
            }
        }
    }

    fn tick(&mut self, events: &mut Events) -> io::Result<()> {
        // What the last tick's requests and orders have left for other nodes.
        self.write_links();
        self.write_backends();
        self.send_mail();
        self.wait(events)?;
        self.now = self.clock.now();
        for event in &*events {
            self.handle_event(event);
        }
        self.hand_over();
        self.read_links();
        self.read_backends();
        self.take_mail();
        self.shard.handle_time(self.now);
        self.write_links();
        self.serve_listed();
        self.close_freed();
        if self.has_guests {
            self.take_guests();
        }
        self.accept();
        self.accept_backends();
        Ok(())
    }

    /// The end of a drain: takes in whoever still waits to be accepted, closes the
    /// listeners, and serves for a last moment those who have asked already.
    pub fn finish(&mut self) -> io::Result<()> {
        self.close_listeners();
        let until = self.clock.now().tick.plus_ms(DRAIN_LAST_MS);
        self.run(|shard, now| {
            let over = shard.connection_count() == 0 || now.tick >= until;
            if over { Verdict::Stop } else { Verdict::GoOn }
        })
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let mut patience = self.patience();
        let parks = patience != Some(Duration::ZERO);
        if parks && self.desk.as_ref().is_some_and(|desk| !desk.park()) {
            patience = Some(Duration::ZERO);
        }
        let result = self.poll.poll(events, patience);
        if parks {
            self.desk.iter().for_each(Desk::rise);
        }
        match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// The end of a shard that follows another: tells it, once all sockets are closed.
    pub fn sign_off(&mut self) -> io::Result<()> {
        self.shard.say_over();
        self.run(|shard, _| if shard.mail_for().next().is_none() { Verdict::Stop } else { Verdict::GoOn })
    }

    /// How long there is nothing to do, if nothing happens.
    fn patience(&self) -> Option<Duration> {
        let paused = self.accept_pause > self.now.tick;
        let links = self.links.as_ref();
        let waiting = self.listeners.iter().any(|listener| listener.ready)
            || links.is_some_and(Links::has_callers)
            || self.backends.as_ref().is_some_and(Backends::has_callers);
        let unfinished = self.shard.listed_count() > 0
            || links.is_some_and(|links| links.has_work(self.shard.wants_links()))
            || self.backends.as_ref().is_some_and(Backends::has_work);
        if unfinished || self.has_guests || waiting && !paused {
            return Some(Duration::ZERO);
        }
        let resume = (waiting && paused).then_some(self.accept_pause);
        let next = self.shard.next_deadline().into_iter().chain(resume).min()?;
        Some(Duration::from_millis(next.since_ms(self.clock.now().tick)))
    }

    fn handle_event(&mut self, event: &Event) {
        let id = ConnId::from_token(event.token().0);
        if id.generation != OWN {
            self.handle_connection(id, event);
        } else if id.index == ORDERS {
            self.clear_orders();
        } else if id.index == MAIL {
            // It is taken in every tick.
        } else if id.index == GUESTS {
            self.has_guests = true;
        } else if id.index >= LINK_BASE {
            self.handle_link_event(id.index, event);
        } else if id.index >= BACKEND_BASE {
            self.handle_backend_event(id.index, event);
        } else if let Some(listener) = self.listeners.get_mut(id.index as usize) {
            listener.ready = true;
        }
    }

    fn clear_orders(&mut self) {
        let Some(orders) = &mut self.orders else { return };
        while matches!(orders.read(&mut [0; 64]), Ok(1..)) {}
    }

    fn handle_connection(&mut self, id: ConnId, event: &Event) {
        let broken = event.is_error() || event.is_read_closed() && event.is_write_closed();
        if broken {
            return self.shard.handle_gone(id);
        }
        if event.is_writable() {
            self.shard.handle_writable(id);
            self.flush(id);
            if !self.shard.is_blocked(id) {
                self.register_again(id, Interest::READABLE);
            }
        }
        if event.is_read_closed() && self.shard.is_waiting(id) {
            self.shard.handle_end_of_input(id);
        } else if event.is_read_closed() {
            self.read(id, Until::Empty);
            if self.shard.is_waiting(id) {
                // What was read became a held poll, whose end the kernel will not tell again.
                self.shard.handle_end_of_input(id);
            }
        } else if event.is_readable() && self.shard.expects_poll(id) {
            self.gather(id);
        } else if event.is_readable() {
            self.read(id, Until::Short);
        }
    }
}

// -- Reading and writing -----------------------------------------------------------

impl Reactor {
    /// Reads what is probably a poll, to be handed over together with others.
    fn gather(&mut self, id: ConnId) {
        if !self.shard.wants_input(id) {
            return;
        }
        let part = part_of_scratch(self.gathered.len(), GATHERED_BYTES);
        let Some(socket) = stream(&mut self.sockets, id) else { return };
        let Some(part) = self.scratch.get_mut(part) else { return };
        match socket.read(part) {
            Ok(0) => {
                self.shard.handle_end_of_input(id);
                self.flush(id);
            }
            Ok(len) => {
                self.shard.handle_gathered(id);
                self.gathered.push(Gathered { id, len });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => self.shard.handle_more_to_read(id),
            Err(_) => self.shard.handle_gone(id),
        }
        if self.gathered.len() == GATHERED_MAX {
            self.hand_over();
        }
    }

    /// Hands over what was gathered.
    fn hand_over(&mut self) {
        for at in 0..self.gathered.len() {
            let Some(Gathered { id, len }) = self.gathered.get(at) else { return };
            let (id, len) = (*id, *len);
            let input = self.scratch.get(part_of_scratch(at, len)).unwrap_or_default();
            self.shard.handle_input(id, input, self.now);
            self.flush(id);
            if len == GATHERED_BYTES {
                self.shard.handle_more_to_read(id);
            }
        }
        self.gathered.clear();
    }

    fn read(&mut self, id: ConnId, until: Until) {
        self.hand_over();
        for _ in 0..READS_PER_TICK {
            if !self.shard.wants_input(id) {
                return;
            }
            let Some(socket) = stream(&mut self.sockets, id) else { return };
            match socket.read(&mut self.scratch) {
                Ok(0) => {
                    self.shard.handle_end_of_input(id);
                    return self.flush(id);
                }
                Ok(len) => {
                    let input = self.scratch.get(..len).unwrap_or_default();
                    self.shard.handle_input(id, input, self.now);
                    self.flush(id);
                    if len < SCRATCH_BYTES && until == Until::Short {
                        return;
                    }
                    if self.shard.listed_count() >= LISTED_ENOUGH {
                        // Deliver first, while what was just published is still at hand.
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.shard.handle_gone(id),
            }
        }
        self.shard.handle_more_to_read(id);
    }

    /// Sends what there is, as far as the socket takes it.
    fn flush(&mut self, id: ConnId) {
        loop {
            let Some(socket) = stream(&mut self.sockets, id) else { return };
            let [first, second] = self.shard.output(id, self.now);
            let total = first.len() + second.len();
            let result = match (first, second) {
                ([], []) => break,
                (one, []) | ([], one) => socket.write(one),
                (one, two) => socket.write_vectored(&[IoSlice::new(one), IoSlice::new(two)]),
            };
            match result {
                Ok(len) if len == total => self.shard.handle_all_sent(id, len),
                Ok(len) => self.shard.handle_sent(id, len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.shard.handle_blocked(id, self.now);
                    return self.register_again(id, Interest::READABLE | Interest::WRITABLE);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.shard.handle_gone(id),
            }
        }
        if self.shard.handle_flushed(id, self.now) == Flushed::Shut
            && let Some(socket) = stream(&mut self.sockets, id)
        {
            // A peer that is gone already cannot be shut; the lingering ends by itself.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    fn register_again(&mut self, id: ConnId, interest: Interest) {
        let Some(socket) = stream(&mut self.sockets, id) else { return };
        let token = Token(id.to_token());
        if self.poll.registry().reregister(socket, token, interest).is_err() {
            self.shard.handle_gone(id);
        }
    }

    /// Looks after the connections with work of their own.
    fn serve_listed(&mut self) {
        for _ in 0..self.shard.listed_count().min(WRITES_PER_TICK) {
            let Some(id) = self.shard.poll_listed(self.now) else { return };
            self.flush(id);
            if self.shard.is_unread(id) {
                self.read(id, Until::Empty);
            }
        }
    }

    /// Closes the sockets of connections that are no more.
    fn close_freed(&mut self) {
        while let Some((id, parting)) = self.shard.poll_freed() {
            if let Some(place) = self.sockets.get_mut(id.index as usize)
                && let Some(socket) = place.take_if(|socket| socket.generation == id.generation)
                && parting == Parting::Reset
            {
                // Should it fail, the close is an ordinary one.
                let _ = SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO));
            }
        }
    }
}

/// Where in the scratch buffer the `at`-th gathered input stands.
fn part_of_scratch(at: usize, len: usize) -> Range<usize> {
    let from = at * GATHERED_BYTES;
    from..from + len
}

/// The stream of a connection, if the slot is still that connection's.
fn stream(sockets: &mut [Option<Socket>], id: ConnId) -> Option<&mut TcpStream> {
    let socket = sockets.get_mut(id.index as usize)?.as_mut()?;
    (socket.generation == id.generation).then_some(&mut socket.stream)
}

fn own_token(number: u32) -> Token {
    Token(ConnId { index: number, generation: OWN }.to_token())
}
