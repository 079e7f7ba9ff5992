//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): who a proxy says that the
//! client is, before the connection's first byte of its own.
//!
//! Owns what such a header may be. Does not know whether one is due, nor whether whoever sends it is
//! to be believed. Invariant: each beginning of a good header is [`Parsed::Partial`], and what is
//! refused stays so whatever follows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{PROXY_BYTES_MAX, PROXY_LINE_BYTES_MAX};

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2: the signature, version and command, family, length.
const HEADER_BYTES: usize = 16;
/// Version 2: the addresses and ports of two ends in IPv4.
const V4_BYTES: usize = 12;
/// The same in IPv6.
const V6_BYTES: usize = 36;
/// The same of Unix sockets.
const UNIX_BYTES: usize = 216;

/// What the input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing wrong so far; call again with more bytes behind the same ones.
    Partial,
    /// A whole header.
    Complete {
        /// Bytes of the input that it took; the connection's own begin there.
        len: usize,
        /// The client; `None` if the proxy speaks for itself (LOCAL: a health check) or has no such
        /// address (UNKNOWN, a Unix socket): then it is the proxy.
        client: Option<IpAddr>,
    },
}

/// Why something is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotProxy {
    /// It begins like neither version.
    Absent,
    /// It begins like one and goes on wrong.
    Malformed,
    /// It is longer than [`PROXY_BYTES_MAX`], or a line longer than [`PROXY_LINE_BYTES_MAX`].
    TooLong,
}

/// Parses the header that `input` begins with.
///
/// The caller keeps the bytes while this says [`Parsed::Partial`]; they are fewer than
/// [`PROXY_BYTES_MAX`]. Wrong bytes are refused as soon as they come, a wrong address or port once
/// it is complete.
pub fn parse(input: &[u8]) -> Result<Parsed, NotProxy> {
    match input.first() {
        None => Ok(Parsed::Partial),
        Some(b'P') => parse_line(input),
        Some(b'\r') => parse_binary(input),
        Some(_) => Err(NotProxy::Absent),
    }
}

/// Whether `input` begins with `expected`; `None` if it is too short to tell and right so far.
fn begins_with(input: &[u8], expected: &[u8]) -> Option<bool> {
    let len = input.len().min(expected.len());
    let equal = input.get(..len) == expected.get(..len);
    if equal && len < expected.len() { None } else { Some(equal) }
}

// -- Version 1: a line ---------------------------------------------------------------

/// What a line says of the two ends.
#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
    Unknown,
}

impl Family {
    const ALL: [Family; 3] = [Family::V4, Family::V6, Family::Unknown];

    fn name(self) -> &'static [u8] {
        match self {
            Family::V4 => b"TCP4",
            Family::V6 => b"TCP6",
            Family::Unknown => b"UNKNOWN",
        }
    }

    fn parse(self, text: &str) -> Option<IpAddr> {
        match self {
            Family::V4 => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            Family::V6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            Family::Unknown => None,
        }
    }

    /// Whether a byte may stand in one of its addresses.
    fn admits(self, byte: u8) -> bool {
        match self {
            Family::V4 => byte.is_ascii_digit() || byte == b'.',
            Family::V6 => byte.is_ascii_hexdigit() || byte == b'.' || byte == b':',
            Family::Unknown => true,
        }
    }
}

/// How a line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Not yet; a CR at the end of the input may become one.
    Missing,
    Whole,
    Wrong(NotProxy),
}

fn parse_line(input: &[u8]) -> Result<Parsed, NotProxy> {
    match begins_with(input, WORD) {
        None => return Ok(Parsed::Partial),
        Some(false) => return Err(NotProxy::Absent),
        Some(true) => {}
    }
    let (line, ending) = first_line(input);
    let rest = line.get(WORD.len()..).unwrap_or_default();
    // First what came first.
    let ends = parse_ends(rest, ending == Ending::Whole)?;
    match (ending, ends) {
        (Ending::Whole, Some(client)) => Ok(Parsed::Complete { len: line.len() + 2, client }),
        (Ending::Whole, None) => Err(NotProxy::Malformed),
        (Ending::Missing, _) => Ok(Parsed::Partial),
        (Ending::Wrong(reason), _) => Err(reason),
    }
}

/// The line without its end, as far as there may be one.
fn first_line(input: &[u8]) -> (&[u8], Ending) {
    let bounded = input.get(..PROXY_LINE_BYTES_MAX).unwrap_or(input);
    let end = bounded.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let (line, rest) = bounded.split_at(end.unwrap_or(bounded.len()));
    let ending = match rest {
        [b'\r', b'\n', ..] => Ending::Whole,
        [] | [b'\r'] if bounded.len() < PROXY_LINE_BYTES_MAX => Ending::Missing,
        [] | [b'\r'] => Ending::Wrong(NotProxy::TooLong),
        _ => Ending::Wrong(NotProxy::Malformed),
    };
    (line, ending)
}

/// What stands after `PROXY `: family, two addresses, two ports. `None` if there is not all of it.
fn parse_ends(rest: &[u8], whole: bool) -> Result<Option<Option<IpAddr>>, NotProxy> {
    let mut fields = rest.split(|&byte| byte == b' ');
    let name = fields.next().unwrap_or_default();
    let ended = whole || name.len() < rest.len();
    let is_named = |family: &&Family| name == family.name();
    let Some(family) = Family::ALL.iter().find(is_named).filter(|_| ended) else {
        let may_become = !ended && Family::ALL.iter().any(|family| family.name().starts_with(name));
        return if may_become { Ok(None) } else { Err(NotProxy::Malformed) };
    };
    if matches!(family, Family::Unknown) {
        // Whatever stands there is to be ignored.
        return Ok(Some(None));
    }
    let mut client = None;
    for at in 0..4 {
        let Some(field) = fields.next() else { return Ok(None) };
        let is_last = fields.clone().next().is_none();
        // The last field of an incomplete line may yet grow.
        let address = parse_end(*family, at, field, whole || !is_last)?;
        client = client.or(address);
    }
    if fields.next().is_some() { Err(NotProxy::Malformed) } else { Ok(Some(client)) }
}

/// One of the four: an address, or `None` for a port.
fn parse_end(family: Family, at: usize, field: &[u8], complete: bool) -> Result<Option<IpAddr>, NotProxy> {
    let is_address = at < 2;
    let admits = |byte: &u8| if is_address { family.admits(*byte) } else { byte.is_ascii_digit() };
    if !field.iter().all(admits) {
        return Err(NotProxy::Malformed);
    }
    if !complete {
        return Ok(None);
    }
    let text = std::str::from_utf8(field).map_err(|_| NotProxy::Malformed)?;
    if is_address {
        return family.parse(text).map(Some).ok_or(NotProxy::Malformed);
    }
    let is_plain = text == "0" || !text.starts_with('0');
    match text.parse::<u16>() {
        Ok(_) if is_plain => Ok(None),
        _ => Err(NotProxy::Malformed),
    }
}

// -- Version 2: binary ---------------------------------------------------------------

fn parse_binary(input: &[u8]) -> Result<Parsed, NotProxy> {
    match begins_with(input, SIGNATURE) {
        None => return Ok(Parsed::Partial),
        Some(false) => return Err(NotProxy::Absent),
        Some(true) => {}
    }
    let mut rest = input.iter().skip(SIGNATURE.len()).copied();
    let Some(command) = rest.next() else { return Ok(Parsed::Partial) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NotProxy::Malformed),
    };
    let Some(family) = rest.next() else { return Ok(Parsed::Partial) };
    // Of what a proxy says of itself nothing but the length matters.
    let least = if is_local { 0 } else { least_len(family).ok_or(NotProxy::Malformed)? };
    let (Some(high), Some(low)) = (rest.next(), rest.next()) else { return Ok(Parsed::Partial) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len < least {
        return Err(NotProxy::Malformed);
    }
    if len > PROXY_BYTES_MAX - HEADER_BYTES {
        return Err(NotProxy::TooLong);
    }
    let len = HEADER_BYTES + len;
    // Behind the addresses stand extensions (TLVs), none of which matters here.
    let Some(block) = input.get(HEADER_BYTES..len) else { return Ok(Parsed::Partial) };
    let client = if is_local { None } else { source(family, block) };
    Ok(Parsed::Complete { len, client })
}

/// How long the addresses of a family and transport are at least, in bytes; `None` for those that
/// the protocol does not have.
fn least_len(family: u8) -> Option<usize> {
    match (family >> 4, family & 0xf) {
        (_, 3..) => None,
        (0, _) => Some(0),
        (1, _) => Some(V4_BYTES),
        (2, _) => Some(V6_BYTES),
        (3, _) => Some(UNIX_BYTES),
        _ => None,
    }
}

/// The source's address, of TCP over IPv4 or IPv6.
fn source(family: u8, block: &[u8]) -> Option<IpAddr> {
    match family {
        0x11 => block.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        0x21 => block.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
