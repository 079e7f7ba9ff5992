//! The front-end's sockets: a listener for back-ends, and their links.
//!
//! As the rest of the reactor it knows readiness and bytes, and nothing of what they mean.

use std::io::{self, ErrorKind};

use mio::Interest;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};

use super::socket::{Input, Output, Socket};
use super::{Reactor, is_exhausted, own_token};
use crate::ids::LinkId;
use crate::limits::{
    ACCEPT_PAUSE_MS, BACKENDS_MAX, LINK_ACCEPTS_PER_TICK, LINK_WRITES_PER_TICK, READS_PER_TICK,
};

/// From here on the reactor's own tokens are back-ends, by their places; below stand listeners.
pub(super) const BACKEND_BASE: u32 = 1 << 20;
/// The token of the listener for back-ends.
const BACKEND_LISTENER: u32 = super::links::LINK_BASE - 1;

const _: () = assert!(BACKENDS_MAX < (BACKEND_LISTENER - BACKEND_BASE) as usize);

/// The sockets of a node that has back-ends.
pub(super) struct Backends {
    listener: TcpListener,
    has_callers: bool,
    sockets: Vec<Option<BackendSocket>>,
}

struct BackendSocket {
    socket: Socket,
    generation: u32,
    /// The shard may have output for it.
    is_listed: bool,
}

impl Backends {
    fn get(&mut self, index: u32) -> Option<(LinkId, &mut BackendSocket)> {
        let socket = self.sockets.get_mut(index as usize)?.as_mut()?;
        Some((LinkId { index, generation: socket.generation }, socket))
    }

    /// Whether there is something to do, though the kernel will not tell it again.
    pub(super) fn has_work(&self) -> bool {
        let unfinished =
            |one: &BackendSocket| one.socket.is_unread() || one.socket.takes_more() && one.is_listed;
        self.sockets.iter().flatten().any(unfinished)
    }

    /// Whether someone waits to be accepted.
    pub(super) fn has_callers(&self) -> bool {
        self.has_callers
    }
}

impl Reactor {
    /// Accepts back-ends.
    pub fn add_backends(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        let mut listener = TcpListener::from_std(listener);
        self.poll.registry().register(&mut listener, own_token(BACKEND_LISTENER), Interest::READABLE)?;
        self.backends = Some(Backends { listener, has_callers: false, sockets: Vec::new() });
        Ok(())
    }

    /// Remembers what a back-end's socket is ready for; `number` is its token's.
    pub(super) fn handle_backend_event(&mut self, number: u32, event: &Event) {
        let Some(backends) = &mut self.backends else { return };
        if number == BACKEND_LISTENER {
            backends.has_callers = true;
        } else if let Some((_, one)) = backends.get(number - BACKEND_BASE) {
            one.socket.handle_event(event);
        }
    }

    fn backend_places(&self) -> u32 {
        self.backends.as_ref().map_or(0, |backends| backends.sockets.len() as u32)
    }

    /// Reads what back-ends have sent, a bounded part of it. The scratch buffer must be free.
    pub(super) fn read_backends(&mut self) {
        for index in 0..self.backend_places() {
            self.read_backend(index);
        }
    }

    fn read_backend(&mut self, index: u32) {
        for _ in 0..READS_PER_TICK {
            let Some((id, one)) = self.backends.as_mut().and_then(|backends| backends.get(index)) else {
                return;
            };
            match one.socket.receive(&mut self.scratch) {
                Input::Bytes(input) => self.shard.handle_backend_input(id, input, self.now),
                Input::Nothing => return,
                Input::Gone => return self.drop_backend(id),
            }
        }
    }

    /// The connection broke or ended.
    fn drop_backend(&mut self, id: LinkId) {
        if self.remove_backend(id) {
            self.shard.handle_backend_down(id, self.now);
        }
    }

    fn remove_backend(&mut self, id: LinkId) -> bool {
        let places = self.backends.as_mut().map(|backends| &mut backends.sockets);
        let place = places.and_then(|sockets| sockets.get_mut(id.index as usize));
        place.and_then(|place| place.take_if(|socket| socket.generation == id.generation)).is_some()
    }

    /// Sends what the shard has for back-ends, and closes links that are over.
    pub(super) fn write_backends(&mut self) {
        let Some(backends) = &mut self.backends else { return };
        while let Some(id) = self.shard.poll_backend_listed() {
            if let Some((_, one)) = backends.get(id.index) {
                one.is_listed = true;
            }
        }
        for index in 0..self.backend_places() {
            self.write_backend(index);
        }
        while let Some(id) = self.shard.poll_backend_closed() {
            self.remove_backend(id);
        }
    }

    fn write_backend(&mut self, index: u32) {
        for _ in 0..LINK_WRITES_PER_TICK {
            let Some((id, one)) = self.backends.as_mut().and_then(|backends| backends.get(index)) else {
                return;
            };
            if !(one.is_listed && one.socket.takes_more()) {
                return;
            }
            let output = self.shard.backend_output(id);
            if output.is_empty() {
                one.is_listed = false;
                return;
            }
            match one.socket.send(output) {
                Output::Sent(len) => self.shard.handle_backend_sent(id, len, self.now),
                Output::Full => return,
                Output::Gone => return self.drop_backend(id),
            }
        }
    }

    pub(super) fn accept_backends(&mut self) {
        for _ in 0..LINK_ACCEPTS_PER_TICK {
            let Some(backends) = &mut self.backends else { return };
            if !backends.has_callers {
                return;
            }
            match backends.listener.accept() {
                Ok((stream, from)) => {
                    // One that cannot be taken comes back by itself.
                    if let Err(error) = self.admit_backend(stream, from) {
                        log::debug!("back-end {from} is not taken: {error}");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => backends.has_callers = false,
                Err(error) if is_exhausted(&error) => {
                    self.warn_exhausted(&error);
                    self.accept_pause = self.now.tick.plus_ms(ACCEPT_PAUSE_MS);
                    return;
                }
                // The caller left before we came, or some such: on to the next.
                Err(_) => {}
            }
        }
    }

    fn admit_backend(&mut self, stream: TcpStream, from: std::net::SocketAddr) -> io::Result<()> {
        let Some(id) = self.shard.open_backend(from, self.now) else { return Ok(()) };
        let token = own_token(BACKEND_BASE + id.index);
        let socket = Socket::accepted(stream, self.poll.registry(), token)
            .inspect_err(|_| self.shard.handle_backend_down(id, self.now))?;
        let Some(backends) = &mut self.backends else { return Ok(()) };
        let index = id.index as usize;
        if backends.sockets.len() <= index {
            backends.sockets.resize_with(index + 1, || None);
        }
        if let Some(place) = backends.sockets.get_mut(index) {
            *place = Some(BackendSocket { socket, generation: id.generation, is_listed: true });
        }
        Ok(())
    }
}
