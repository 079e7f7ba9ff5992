//! Taking in who calls: as many as there is room for, and a word to everybody else.
//!
//! A shard that is full and is not alone closes its listeners until it has room again, so that the kernel
//! sends callers to the others; those who wait in its queue are told before.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};

use super::listen::listen_among;
use super::{Reactor, Socket, own_token};
use crate::limits::{
    ACCEPT_PAUSE_MS, ACCEPTS_PER_TICK, EVICTIONS_PER_TICK, LISTEN_BACKLOG, ROOM_AGAIN_PART, WARNING_MS,
};
use crate::session::route::Door;
use crate::shard::output::full_house;
use crate::time::{Now, Tick};

/// A listener, and the door that it is.
pub(super) struct Listener {
    /// None while this shard has no room and others have.
    socket: Option<TcpListener>,
    address: SocketAddr,
    door: Door,
    /// Someone may be waiting to be accepted.
    pub ready: bool,
}

impl Reactor {
    /// Accepts connections from a bound listener.
    pub fn add_listener(&mut self, socket: std::net::TcpListener, door: Door) -> io::Result<()> {
        let address = socket.local_addr()?;
        let socket = self.watch_listener(socket, self.listeners.len())?;
        self.listeners.push(Listener { socket: Some(socket), address, door, ready: false });
        Ok(())
    }

    fn watch_listener(&self, socket: std::net::TcpListener, number: usize) -> io::Result<TcpListener> {
        let mut socket = TcpListener::from_std(socket);
        self.poll.registry().register(&mut socket, own_token(number as u32), Interest::READABLE)?;
        Ok(socket)
    }

    /// Accepts from every listener until nobody waits, or so many came that something is wrong, and closes it.
    pub(super) fn close_listeners(&mut self) {
        self.accept_pause = Tick(0);
        self.full_at = None;
        for _ in 0..LISTEN_BACKLOG as usize / ACCEPTS_PER_TICK {
            self.listeners.iter_mut().for_each(|listener| listener.ready = true);
            self.accept();
            if self.listeners.iter().all(|listener| !listener.ready) {
                break;
            }
        }
        self.listeners.clear();
    }

    pub(super) fn accept(&mut self) {
        if self.accept_pause > self.now.tick {
            return;
        }
        self.come_back();
        for number in 0..self.listeners.len() {
            self.accept_from(number);
        }
        self.accept_links();
    }

    fn accept_from(&mut self, number: usize) {
        for _ in 0..ACCEPTS_PER_TICK {
            let Some(listener) = self.listeners.get_mut(number) else { return };
            if !listener.ready {
                return;
            }
            let Some(socket) = &listener.socket else {
                listener.ready = false;
                return;
            };
            match socket.accept() {
                Ok((stream, peer)) => {
                    let door = listener.door;
                    self.admit(stream, door, peer.ip());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(error) if is_exhausted(&error) => return self.turn_away(number, &error),
                // The caller left before we came, or some such: on to the next.
                Err(_) => {}
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream, door: Door, peer: IpAddr) {
        if door == Door::Proxied && !self.shard.admits_proxy(peer, self.now) {
            return;
        }
        let Some(id) = self.shard.open(door, self.now) else {
            // Full: idle connections make room for the next, this one is told to come back.
            let made_room = self.shard.evict_idle(1) > 0;
            self.close_freed();
            tell_full(stream, self.now);
            if !made_room {
                self.leave_callers_to_others();
            }
            return;
        };
        self.shard.handle_peer(id, peer);
        let token = Token(id.to_token());
        if self.poll.registry().register(&mut stream, token, Interest::READABLE).is_err() {
            return self.shard.handle_gone(id);
        }
        let index = id.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sockets.get_mut(index) {
            *place = Some(Socket { stream, generation: id.generation });
        }
    }

    /// Descriptors are exhausted: room is made by closing idle connections, and if there
    /// are none, one caller is told by means of the reserve and accepting pauses. Without
    /// the pause the loop would spin on a listener that stays ready.
    fn turn_away(&mut self, number: usize, error: &io::Error) {
        self.warn_exhausted(error);
        if self.shard.evict_idle(EVICTIONS_PER_TICK) > 0 {
            return self.close_freed();
        }
        if self.leave_callers_to_others() {
            return;
        }
        self.reserve = None;
        if let Some(socket) = self.listeners.get(number).and_then(|listener| listener.socket.as_ref())
            && let Ok((stream, _)) = socket.accept()
        {
            self.shard.count_refused();
            tell_full(stream, self.now);
        }
        self.reserve = reserve();
        self.accept_pause = self.now.tick.plus_ms(ACCEPT_PAUSE_MS);
    }

    /// No room: tells all who wait in this shard's queues, and leaves those who come to other shards, if
    /// there are any that have room. Tells whether it did.
    fn leave_callers_to_others(&mut self) -> bool {
        if self.full_at.is_some() || !self.desk.as_ref().is_some_and(|desk| desk.leave_callers()) {
            return false;
        }
        self.full_at = Some(self.shard.connection_count());
        log::info!("a shard is full: others take who comes");
        self.reserve = None;
        for listener in &mut self.listeners {
            let Some(socket) = listener.socket.take() else { continue };
            listener.ready = false;
            for _ in 0..LISTEN_BACKLOG {
                let Ok((stream, _)) = socket.accept() else { break };
                self.shard.count_refused();
                tell_full(stream, self.now);
            }
        }
        self.reserve = reserve();
        true
    }

    /// Listens again, once there is room.
    fn come_back(&mut self) {
        let Some(full_at) = self.full_at else { return };
        if self.shard.connection_count() > full_at - full_at.div_ceil(ROOM_AGAIN_PART) {
            return;
        }
        for number in 0..self.listeners.len() {
            let Some(Listener { socket: None, address, .. }) = self.listeners.get(number) else { continue };
            let again = listen_among(*address).and_then(|socket| self.watch_listener(socket, number));
            match again {
                Ok(socket) => {
                    if let Some(listener) = self.listeners.get_mut(number) {
                        listener.socket = Some(socket);
                        listener.ready = true;
                    }
                }
                // It is tried again when the next connection ends.
                Err(error) => return self.warn_exhausted(&error),
            }
        }
        self.full_at = None;
        self.desk.iter().for_each(|desk| desk.take_callers());
    }

    pub(super) fn warn_exhausted(&mut self, error: &io::Error) {
        if self.warned.is_none_or(|warned| self.now.tick.since_ms(warned) >= WARNING_MS) {
            self.warned = Some(self.now.tick);
            log::warn!("cannot accept: {error}; idle connections are closed, others told to come back");
        }
    }
}

/// A descriptor that is worth nothing but its place.
pub(super) fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM: the system's bounds, not the caller's fault.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

/// Answers 503 to a caller for whom there is no room, and hangs up.
fn tell_full(mut stream: TcpStream, now: Now) {
    // As far as it goes: there is no room to wait for a slow one.
    let _ = stream.write(&full_house(now));
    let _ = stream.shutdown(Shutdown::Write);
    // Unread input would turn the close into a reset and lose the answer.
    let _ = stream.read(&mut [0; 4096]);
}
