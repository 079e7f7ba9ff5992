//! A frame's meta, a JSON object: read by [`Members`], and by [`Scan`] where it is just what this
//! program writes.
//!
//! Members that are not known are skipped, so that a later version can add some. Of a member that
//! comes twice the last one counts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use crate::cursor::VersionVector;
use crate::ids::{ChannelName, MessageId, Origin};
use crate::limits::{DIGEST_BYTES_MAX, DIGEST_ORIGINS_MAX, SEQ_MAX};
use crate::wire::http::response::push_decimal;

/// A part of a frame that is missing or not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnderstood(pub &'static str);

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is missing or not what it should be", self.0)
    }
}

// -- Any object --------------------------------------------------------------------

/// The members of an object.
#[derive(Debug)]
pub struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads an object, and of its members only where they end.
    pub fn parse(text: &'a [u8]) -> Result<Members<'a>, NotUnderstood> {
        serde_json::from_slice(text).map(Members).map_err(|_| NotUnderstood("meta"))
    }

    /// Whether there is a member of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member's JSON.
    pub fn raw(&self, name: &'static str) -> Result<&'a str, NotUnderstood> {
        self.0.get(name).map(|value| value.get()).ok_or(NotUnderstood(name))
    }

    /// A string.
    pub fn text(&self, name: &'static str) -> Result<String, NotUnderstood> {
        serde_json::from_str(self.raw(name)?).map_err(|_| NotUnderstood(name))
    }

    /// A list of strings.
    pub fn texts(&self, name: &'static str) -> Result<Vec<String>, NotUnderstood> {
        serde_json::from_str(self.raw(name)?).map_err(|_| NotUnderstood(name))
    }

    /// A whole number.
    pub fn number(&self, name: &'static str) -> Result<u64, NotUnderstood> {
        serde_json::from_str(self.raw(name)?).map_err(|_| NotUnderstood(name))
    }

    /// `true` or `false`; not there is `false`.
    pub fn flag(&self, name: &'static str) -> Result<bool, NotUnderstood> {
        match self.0.get(name).map(|value| value.get()) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(NotUnderstood(name)),
        }
    }

    /// An origin.
    pub fn origin(&self, name: &'static str) -> Result<Origin, NotUnderstood> {
        Origin::from_digits(self.text(name)?.as_bytes()).ok_or(NotUnderstood(name))
    }

    /// The number of an entry.
    pub fn seq(&self, name: &'static str) -> Result<u64, NotUnderstood> {
        let seq = self.number(name)?;
        if is_seq(seq) { Ok(seq) } else { Err(NotUnderstood(name)) }
    }

    /// A channel's name.
    pub fn channel(&self, name: &'static str) -> Result<ChannelName, NotUnderstood> {
        self.text(name)?.parse().map_err(|_| NotUnderstood(name))
    }

    /// A vector, as [`push_vector`] writes it.
    pub fn vector(&self, name: &'static str) -> Result<VersionVector, NotUnderstood> {
        parse_vector(self.raw(name)?.as_bytes()).ok_or(NotUnderstood(name))
    }
}

/// Whether a number can be an entry's.
pub fn is_seq(seq: u64) -> bool {
    (1..=SEQ_MAX).contains(&seq)
}

/// The vector in a body or a member; `None` if it is none or has too many origins.
pub fn parse_vector(text: &[u8]) -> Option<VersionVector> {
    // Before anything is built of it.
    if text.len() > DIGEST_BYTES_MAX {
        return None;
    }
    let members = Members::parse(text).ok()?.0;
    if members.len() > DIGEST_ORIGINS_MAX {
        return None;
    }
    let mut vector = VersionVector::default();
    for (origin, seq) in members {
        let origin = Origin::from_digits(origin.as_bytes())?;
        let seq = serde_json::from_str(seq.get()).ok()?;
        is_seq(seq).then(|| vector.set(origin, seq))?;
    }
    Some(vector)
}

// -- What this program writes --------------------------------------------------------

/// Reads on in a text as this program writes it: without white space, the members in one order,
/// strings without escapes. Every step is `None` for anything else, which is not an error yet:
/// [`Members`] reads what others write.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// Reads from the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Scan<'a> {
        Scan { rest: text }
    }

    /// Just these bytes.
    pub fn literal(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(bytes)?;
        Some(())
    }

    /// A whole number as JSON has it (RFC 8259 §6): no zeros before it.
    pub fn number(&mut self) -> Option<u64> {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(len)?;
        let canonical = len > 0 && (len == 1 || digits.first() != Some(&b'0'));
        let number = digits
            .iter()
            .filter(|_| canonical)
            .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
        self.rest = rest;
        canonical.then_some(number)
    }

    /// An origin, without its quotes.
    pub fn origin(&mut self) -> Option<Origin> {
        let (digits, rest) = self.rest.split_first_chunk::<16>()?;
        self.rest = rest;
        Origin::from_digits(digits)
    }

    /// What stands up to the next quote, which is taken too: printable ASCII without escapes.
    pub fn text(&mut self) -> Option<&'a str> {
        let len = self.rest.iter().position(|byte| !is_plain(*byte))?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    /// Whether all was read.
    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Whether a byte stands in a JSON string as it is, and is printable ASCII.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// The first two members of an entry's meta, which stand there just as [`push_id`] writes them.
pub fn scan_id(scan: &mut Scan) -> Option<MessageId> {
    scan.literal(b"{\"origin\":\"")?;
    let origin = scan.origin()?;
    scan.literal(b"\",\"seq\":")?;
    let seq = scan.number()?;
    is_seq(seq).then_some(MessageId { origin, seq })
}

/// Appends the beginning of an entry's meta: `{"origin":"…","seq":…`.
pub fn push_id(id: MessageId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"origin\":\"");
    out.extend_from_slice(&id.origin.digits());
    out.extend_from_slice(b"\",\"seq\":");
    push_decimal(out, id.seq);
}

/// Appends a string with its quotes.
pub fn push_text(text: &str, out: &mut Vec<u8>) {
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing a string into memory cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Appends a vector, `{"00000000000000ab":12,…}`: its first [`DIGEST_ORIGINS_MAX`] origins.
pub fn push_vector(vector: &VersionVector, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (origin, seq)) in vector.iter().take(DIGEST_ORIGINS_MAX).enumerate() {
        out.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
        out.extend_from_slice(&origin.digits());
        out.extend_from_slice(b"\":");
        push_decimal(out, seq);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
