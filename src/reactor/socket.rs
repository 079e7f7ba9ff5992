//! A link's connection, whatever it is a link of: what it is ready for, one read or one write at a time.
//!
//! Invariant: an edge that the kernel has told is remembered until the socket says that it has no more, or takes no more.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::listen::watch_peer;

/// A connection that stands or is being made.
pub(super) struct Socket {
    pub stream: TcpStream,
    /// The connection stands; until then it is being made.
    is_up: bool,
    /// There may be input.
    is_readable: bool,
    /// It was not refused to take more.
    is_writable: bool,
}

/// What an event has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing but what it is ready for.
    None,
    /// The connection stands now.
    Up,
    /// It cannot be made.
    Gone,
}

/// What a read gave.
pub(super) enum Input<'a> {
    /// This.
    Bytes(&'a [u8]),
    /// Nothing for now.
    Nothing,
    /// The connection broke or ended.
    Gone,
}

/// What a write did.
pub(super) enum Output {
    /// So many bytes went.
    Sent(usize),
    /// It takes no more for now.
    Full,
    /// The connection broke.
    Gone,
}

impl Socket {
    /// Begins a connection; an event tells its fate.
    pub fn dial(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Socket> {
        let stream = TcpStream::connect(address)?;
        Socket::new(stream, registry, token, false)
    }

    /// Takes a connection that was accepted.
    pub fn accepted(stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Socket> {
        Socket::new(stream, registry, token, true)
    }

    fn new(mut stream: TcpStream, registry: &Registry, token: Token, is_up: bool) -> io::Result<Socket> {
        watch_peer(&SockRef::from(&stream))?;
        // Links are few: they are registered once for both.
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Socket { stream, is_up, is_readable: is_up, is_writable: is_up })
    }

    /// Remembers what it is ready for.
    pub fn handle_event(&mut self, event: &Event) -> Change {
        // An error and an end are found by reading.
        self.is_readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.is_writable |= event.is_writable();
        if self.is_up {
            return Change::None;
        }
        match (self.stream.take_error(), self.stream.peer_addr()) {
            (Ok(None), Ok(peer)) if self.stream.local_addr().is_ok_and(|own| own == peer) => {
                // Without a listener at the other end, a port of this machine may have been connected with itself.
                // Nothing of that must stay behind: somebody may be about to listen there.
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                Change::Gone
            }
            (Ok(None), Ok(_)) => {
                self.is_up = true;
                Change::Up
            }
            (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => Change::None,
            _ => Change::Gone,
        }
    }

    /// Whether the connection stands.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether there may be something to read, though the kernel will not tell it again.
    pub fn is_unread(&self) -> bool {
        self.is_up && self.is_readable
    }

    /// Whether it may take something.
    pub fn takes_more(&self) -> bool {
        self.is_up && self.is_writable
    }

    /// Reads once.
    pub fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> Input<'a> {
        while self.is_unread() {
            match self.stream.read(buffer) {
                Ok(0) => return Input::Gone,
                Ok(len) => return Input::Bytes(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Input::Gone,
            }
        }
        Input::Nothing
    }

    /// Writes once.
    pub fn send(&mut self, output: &[u8]) -> Output {
        while self.takes_more() {
            match self.stream.write(output) {
                Ok(len) => return Output::Sent(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Output::Gone,
            }
        }
        Output::Full
    }
}
