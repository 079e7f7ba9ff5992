//! Taking in who calls: as many as there is room for, and a word to everybody else.
//!
//! The kernel divides callers evenly among shards, whether or not they have room: one that is full hands those who
//! come to it on to others (`handing`). Only when all are full is a caller told to come back.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};

use super::{Reactor, Socket, own_token};
use crate::limits::{ACCEPT_PAUSE_MS, ACCEPTS_PER_TICK, EVICTIONS_PER_TICK, LISTEN_BACKLOG, WARNING_MS};
use crate::session::route::Door;
use crate::shard::output::full_house;
use crate::time::{Now, Tick};

/// A listener, and the door that it is.
pub(super) struct Listener {
    socket: TcpListener,
    door: Door,
    /// Someone may be waiting to be accepted.
    pub ready: bool,
}

impl Reactor {
    /// Accepts connections from a bound listener.
    pub fn add_listener(&mut self, socket: std::net::TcpListener, door: Door) -> io::Result<()> {
        let mut socket = TcpListener::from_std(socket);
        let token = own_token(self.listeners.len() as u32);
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(Listener { socket, door, ready: false });
        Ok(())
    }

    /// Accepts from every listener until nobody waits, or so many came that something is wrong, and closes it.
    pub(super) fn close_listeners(&mut self) {
        self.accept_pause = Tick(0);
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
        self.tell_room();
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
            match listener.socket.accept() {
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

    /// Takes in a caller, or has another shard do it.
    fn admit(&mut self, stream: TcpStream, door: Door, peer: IpAddr) {
        if let Some(stream) = self.take_in(stream, door, peer)
            && let Some(stream) = self.hand_on(stream, door)
        {
            self.send_away(stream);
        }
    }

    /// No shard has room: idle connections make some for the next, this one is told to come back.
    pub(super) fn send_away(&mut self, stream: TcpStream) {
        self.shard.evict_idle(1);
        self.close_freed();
        tell_full(stream, self.now);
    }

    /// Takes in a caller; gives back one for whom there is no room.
    pub(super) fn take_in(&mut self, mut stream: TcpStream, door: Door, peer: IpAddr) -> Option<TcpStream> {
        if door == Door::Proxied && !self.shard.admits_proxy(peer, self.now) {
            return None;
        }
        let Some(id) = self.shard.open(door, self.now) else { return Some(stream) };
        self.shard.handle_peer(id, peer);
        let token = Token(id.to_token());
        if self.poll.registry().register(&mut stream, token, Interest::READABLE).is_err() {
            self.shard.handle_gone(id);
            return None;
        }
        let index = id.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sockets.get_mut(index) {
            *place = Some(Socket { stream, generation: id.generation });
        }
        None
    }

    /// Descriptors are exhausted: callers are taken by means of the reserve and handed on. If nobody takes them, room
    /// is made by closing idle connections; if there are none, one caller is told, and accepting pauses. Without the
    /// pause the loop would spin on a listener that stays ready.
    fn turn_away(&mut self, number: usize, error: &io::Error) {
        self.warn_exhausted(error);
        if !self.others_have_room() && self.shard.evict_idle(EVICTIONS_PER_TICK) > 0 {
            return self.close_freed();
        }
        for _ in 0..ACCEPTS_PER_TICK {
            self.reserve = None;
            let Some(Listener { socket, door, ready }) = self.listeners.get_mut(number) else { break };
            let door = *door;
            let Ok((stream, _)) = socket.accept() else {
                *ready = false;
                break;
            };
            let refused = self.hand_on(stream, door).map(|stream| tell_full(stream, self.now)).is_some();
            self.reserve = reserve();
            if refused {
                self.shard.count_refused();
                self.accept_pause = self.now.tick.plus_ms(ACCEPT_PAUSE_MS);
                return;
            }
        }
        self.reserve = reserve();
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
