//! What stands in a datagram, big-endian:
//!
//! ```text
//! header   kind u8 | incarnation u16 | from identity | to identity | fields of the kind
//! members  count u16, then each: identity | incarnation u16 | state u8
//! identity name length u8 | name | 4 or 6 | IP address | port u16 | origin u64 | life u64 | left u8
//! ```
//!
//! Of a recipient the name may be missing: then nothing follows it, and whoever gets the datagram is
//! meant. Invariant: what is read was written so, byte for byte.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};

use super::identity::Identity;
use crate::ids::{NodeId, Origin};
use crate::limits::NODE_ID_BYTES_MAX;

const PING: u8 = 1;
const ACK: u8 = 2;
const PING_REQ: u8 = 3;
const INDIRECT_PING: u8 = 4;
const INDIRECT_ACK: u8 = 5;
const FORWARDED_ACK: u8 = 6;
const ANNOUNCE: u8 = 7;
const FEED: u8 = 8;
const GOSSIP: u8 = 9;
const BROADCAST: u8 = 10;
const TURN_UNDEAD: u8 = 11;

/// The bytes cannot be understood, or do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed")
    }
}

impl std::error::Error for Malformed {}

/// Writes and reads headers and members.
#[derive(Debug, Default)]
pub(super) struct Codec {
    /// What is being written, until it is known whether it fits.
    scratch: Vec<u8>,
}

impl foca::Codec<Identity> for Codec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), Malformed> {
        self.scratch.clear();
        put_header(&mut self.scratch, header);
        self.hand_over(buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, Malformed> {
        take_header(&mut buf)
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), Malformed> {
        self.scratch.clear();
        put_identity(&mut self.scratch, member.id());
        self.scratch.put_u16(member.incarnation());
        self.scratch.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        self.hand_over(buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, Malformed> {
        take_member(&mut buf)
    }
}

impl Codec {
    fn hand_over(&self, mut buf: impl BufMut) -> Result<(), Malformed> {
        if buf.remaining_mut() < self.scratch.len() {
            return Err(Malformed);
        }
        buf.put_slice(&self.scratch);
        Ok(())
    }
}

/// Writes a header; also for the same header with another recipient.
pub(super) fn put_header(out: &mut Vec<u8>, header: &Header<Identity>) {
    out.put_u8(kind_of(&header.message));
    out.put_u16(header.src_incarnation);
    put_identity(out, &header.src);
    put_identity(out, &header.dst);
    match &header.message {
        Message::Ping(number) | Message::Ack(number) => out.put_u8(*number),
        Message::PingReq { target: other, probe_number }
        | Message::IndirectPing { origin: other, probe_number }
        | Message::IndirectAck { target: other, probe_number }
        | Message::ForwardedAck { origin: other, probe_number } => {
            put_identity(out, other);
            out.put_u8(*probe_number);
        }
        Message::Announce | Message::Feed | Message::Gossip | Message::Broadcast | Message::TurnUndead => {}
    }
}

fn kind_of(message: &Message<Identity>) -> u8 {
    match message {
        Message::Ping(_) => PING,
        Message::Ack(_) => ACK,
        Message::PingReq { .. } => PING_REQ,
        Message::IndirectPing { .. } => INDIRECT_PING,
        Message::IndirectAck { .. } => INDIRECT_ACK,
        Message::ForwardedAck { .. } => FORWARDED_ACK,
        Message::Announce => ANNOUNCE,
        Message::Feed => FEED,
        Message::Gossip => GOSSIP,
        Message::Broadcast => BROADCAST,
        Message::TurnUndead => TURN_UNDEAD,
    }
}

fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    let name = identity.node.as_ref().map_or("", NodeId::as_str);
    // A name has at most 64 bytes.
    out.put_u8(name.len() as u8);
    if name.is_empty() {
        return;
    }
    out.put_slice(name.as_bytes());
    match identity.address.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16(identity.address.port());
    out.put_u64(identity.origin.0);
    out.put_u64(identity.life);
    out.put_u8(u8::from(identity.left));
}

/// Reads a header and leaves `buf` behind it. Only an announcement may go to anyone.
pub(super) fn take_header(buf: &mut impl Buf) -> Result<Header<Identity>, Malformed> {
    let kind = take_u8(buf)?;
    let src_incarnation = take_u16(buf)?;
    let src = take_known(buf)?;
    let dst = take_identity(buf)?;
    if dst.node.is_none() && kind != ANNOUNCE {
        return Err(Malformed);
    }
    let message = match kind {
        PING => Message::Ping(take_u8(buf)?),
        ACK => Message::Ack(take_u8(buf)?),
        PING_REQ => Message::PingReq { target: take_known(buf)?, probe_number: take_u8(buf)? },
        INDIRECT_PING => Message::IndirectPing { origin: take_known(buf)?, probe_number: take_u8(buf)? },
        INDIRECT_ACK => Message::IndirectAck { target: take_known(buf)?, probe_number: take_u8(buf)? },
        FORWARDED_ACK => Message::ForwardedAck { origin: take_known(buf)?, probe_number: take_u8(buf)? },
        ANNOUNCE => Message::Announce,
        FEED => Message::Feed,
        GOSSIP => Message::Gossip,
        BROADCAST => Message::Broadcast,
        TURN_UNDEAD => Message::TurnUndead,
        _ => return Err(Malformed),
    };
    Ok(Header { src, src_incarnation, dst, message })
}

/// Reads one member.
pub(super) fn take_member(buf: &mut impl Buf) -> Result<Member<Identity>, Malformed> {
    let identity = take_known(buf)?;
    let incarnation = take_u16(buf)?;
    let state = match take_u8(buf)? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(Malformed),
    };
    Ok(Member::new(identity, incarnation, state))
}

/// Reads the members that follow a header; `buf` is all that is left of the datagram.
pub(super) fn take_members(mut buf: &[u8]) -> Result<Vec<Member<Identity>>, Malformed> {
    if buf.is_empty() {
        return Ok(Vec::new());
    }
    let count = take_u16(&mut buf)?;
    let members = (0..count).map(|_| take_member(&mut buf)).collect::<Result<Vec<_>, _>>()?;
    if buf.is_empty() { Ok(members) } else { Err(Malformed) }
}

fn take_known(buf: &mut impl Buf) -> Result<Identity, Malformed> {
    let identity = take_identity(buf)?;
    if identity.node.is_some() { Ok(identity) } else { Err(Malformed) }
}

fn take_identity(buf: &mut impl Buf) -> Result<Identity, Malformed> {
    let len = usize::from(take_u8(buf)?);
    if len == 0 {
        return Ok(Identity::anyone_anywhere());
    }
    let mut name = [0; NODE_ID_BYTES_MAX];
    let name = name.get_mut(..len).ok_or(Malformed)?;
    buf.try_copy_to_slice(name).map_err(|_| Malformed)?;
    let name = str::from_utf8(name).map_err(|_| Malformed)?;
    let node: NodeId = name.parse().map_err(|_| Malformed)?;
    let ip = take_ip(buf)?;
    Ok(Identity {
        node: Some(node),
        address: SocketAddr::new(ip, take_u16(buf)?),
        origin: Origin(take_u64(buf)?),
        life: take_u64(buf)?,
        left: match take_u8(buf)? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        },
    })
}

fn take_ip(buf: &mut impl Buf) -> Result<IpAddr, Malformed> {
    match take_u8(buf)? {
        4 => Ok(IpAddr::V4(Ipv4Addr::from_bits(buf.try_get_u32().map_err(|_| Malformed)?))),
        6 => Ok(IpAddr::V6(Ipv6Addr::from_bits(buf.try_get_u128().map_err(|_| Malformed)?))),
        _ => Err(Malformed),
    }
}

fn take_u8(buf: &mut impl Buf) -> Result<u8, Malformed> {
    buf.try_get_u8().map_err(|_| Malformed)
}

fn take_u16(buf: &mut impl Buf) -> Result<u16, Malformed> {
    buf.try_get_u16().map_err(|_| Malformed)
}

fn take_u64(buf: &mut impl Buf) -> Result<u64, Malformed> {
    buf.try_get_u64().map_err(|_| Malformed)
}
