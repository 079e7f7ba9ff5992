//! Callers that are handed from one shard to another, because the first has no room.
//!
//! Shards have descriptors of their own, so a socket goes as a message (SCM_RIGHTS, unix(7)) with a byte that
//! says through which door it came. Every shard has a socket for such messages, made before descriptors are
//! divided; it knows of the others only whether they have said that they are full.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::AsFd;

use mio::Interest;
use mio::net::{TcpStream, UnixDatagram};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::{Reactor, own_token};
use crate::limits::{ACCEPTS_PER_TICK, ROOM_AGAIN_PART};
use crate::session::route::Door;

/// The token of the socket that others hand callers to.
pub(super) const GUESTS: u32 = u32::MAX - 4;

/// The doors, by the byte that stands for them.
const DOORS: [Door; 3] = [Door::Public, Door::Proxied, Door::Publisher];

/// Both ends of the way to a shard.
pub(super) struct Entrance {
    /// Where others hand callers in.
    outside: UnixDatagram,
    /// Where the shard takes them.
    inside: UnixDatagram,
}

impl Entrance {
    /// The way to this loop, which is woken when someone comes.
    pub fn of(reactor: &Reactor) -> io::Result<Entrance> {
        let (outside, mut inside) = UnixDatagram::pair()?;
        reactor.poll.registry().register(&mut inside, own_token(GUESTS), Interest::READABLE)?;
        Ok(Entrance { outside, inside })
    }

    fn put(&self, stream: &TcpStream, door: Door) -> io::Result<()> {
        let byte = [DOORS.iter().position(|other| *other == door).unwrap_or_default() as u8];
        let sockets = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(&self.outside, &[IoSlice::new(&byte)], &mut rights, SendFlags::DONTWAIT)?;
        Ok(())
    }

    fn take(&self) -> Option<(TcpStream, Door)> {
        let (mut byte, mut space) = ([0], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.inside, &mut [IoSliceMut::new(&mut byte)], &mut rights, flags).ok()?;
        let door = DOORS.get(usize::from(byte[0])).copied()?;
        let sockets = rights.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        let socket = sockets.flatten().next()?;
        Some((TcpStream::from_std(StdTcpStream::from(socket)), door))
    }
}

impl Reactor {
    /// Has another shard take a caller for whom there is no room here; gives back one that nobody takes.
    pub(super) fn hand_on(&mut self, stream: TcpStream, door: Door) -> Option<TcpStream> {
        let Some(desk) = &self.desk else { return Some(stream) };
        if self.full_at.is_none() {
            self.full_at = Some(self.shard.connection_count());
            desk.say_full(true);
            log::info!("a shard is full: others take who comes");
        }
        let takes = |entrance: &Entrance| entrance.put(&stream, door).is_ok();
        if desk.others_with_room().any(takes) { None } else { Some(stream) }
    }

    /// Whether a caller can be handed on.
    pub(super) fn others_have_room(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.others_with_room().next().is_some())
    }

    /// Tells the others when a part of the connections has gone that there is room again.
    pub(super) fn tell_room(&mut self) {
        let Some(full_at) = self.full_at else { return };
        if self.shard.connection_count() <= full_at - full_at.div_ceil(ROOM_AGAIN_PART) {
            self.full_at = None;
            self.desk.iter().for_each(|desk| desk.say_full(false));
        }
    }

    /// Takes in callers whom others had no room for.
    pub(super) fn take_guests(&mut self) {
        for _ in 0..ACCEPTS_PER_TICK {
            let Some((stream, door)) = self.desk.as_ref().and_then(|desk| desk.entrance()?.take()) else {
                self.has_guests = false;
                return;
            };
            let Ok(peer) = stream.peer_addr() else { continue };
            if let Some(stream) = self.take_in(stream, door, peer.ip()) {
                // The one who handed it on has no room, and others may be as full.
                if self.full_at.is_none() {
                    self.full_at = Some(self.shard.connection_count());
                    self.desk.iter().for_each(|desk| desk.say_full(true));
                }
                self.send_away(stream);
            }
        }
    }
}
