//! A subscriber's request becomes a [`Poll`] (paper §3.2: channels, time-out, time range).

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::error::{Refusal, Refused};
use crate::ids::ChannelName;
use crate::limits::{ANSWER_MESSAGES_MAX, CHANNELS_PER_REQUEST_MAX, JITTER_DIVISOR, JITTER_FROM_S};
use crate::time::Timestamp;
use crate::wire::http::request::RequestHead;
use crate::wire::http::target::{self, Query};

/// Where a poll wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// With everything that is cached.
    Beginning,
    /// With what comes from now on: `after=now`.
    Present,
    /// With what its bearer has not examined.
    Cursor(Cursor),
}

/// What a poll asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll<'a> {
    /// The channels as text: valid names, comma separated.
    pub channels: Cow<'a, str>,
    /// Where to begin.
    pub after: After,
    /// Start time, inclusive.
    pub since: Timestamp,
    /// End time, inclusive.
    pub until: Timestamp,
    /// How long to hold, in seconds; the node may hold for less.
    pub timeout_s: u64,
    /// At most so many messages.
    pub limit: Option<usize>,
    /// The time-out came by `Prefer: wait` and was honoured (RFC 7240).
    pub prefer_applied: bool,
}

/// What the operator says of time-outs, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a poll that names none.
    pub default_s: u64,
    /// A poll that names a longer one is held for this.
    pub max_s: u64,
}

impl<'a> Poll<'a> {
    /// Reads the path segment, the query and the Prefer field of a poll.
    pub fn parse(segment: &'a str, head: &RequestHead<'a>, timeouts: Timeouts) -> Result<Poll<'a>, Refused> {
        let mut poll = Poll {
            channels: parse_channels(segment)?,
            after: After::Beginning,
            since: Timestamp(0),
            until: Timestamp::MAX,
            timeout_s: timeouts.default_s,
            limit: None,
            prefer_applied: false,
        };
        let mut asked = None;
        let mut seen = 0_u32;
        for (name, value) in Query::new(head.query) {
            let bit = match name {
                "after" => 1,
                "since" => 2,
                "until" => 4,
                "timeout" => 8,
                "limit" => 16,
                // What is not ours is ignored: cache busters, the token, a proxy's marks.
                _ => continue,
            };
            if seen & bit != 0 {
                return Err(Refused::because(Refusal::QueryInvalid, format!("\"{name}\" is given twice.")));
            }
            seen |= bit;
            match name {
                "after" => poll.after = parse_after(value)?,
                "since" => poll.since = Timestamp(parse_number(name, value)?),
                "until" => poll.until = Timestamp(parse_number(name, value)?),
                "timeout" => asked = Some(parse_number(name, value)?),
                _ => poll.limit = Some(parse_limit(value)?),
            }
        }
        if asked.is_none() {
            asked = head.prefer.and_then(parse_wait);
            poll.prefer_applied = asked.is_some();
        }
        poll.timeout_s = asked.unwrap_or(timeouts.default_s).min(timeouts.max_s);
        Ok(poll)
    }

    /// Whether one shared answer does for it: one channel, nothing left out.
    pub fn is_plain(&self) -> bool {
        self.limit.is_none()
            && self.since == Timestamp(0)
            && self.until == Timestamp::MAX
            && !self.has_many_channels()
    }

    /// Whether it names more than one channel.
    pub fn has_many_channels(&self) -> bool {
        self.channels.as_bytes().contains(&b',')
    }

    /// The channels' names, in the order given, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = &*self.channels;
        all.split(',').enumerate().filter_map(move |(at, name)| {
            let before = all.split(',').take(at).any(|earlier| earlier == name);
            (!before).then_some(name)
        })
    }
}

/// Decodes a list of channel names, once, and makes sure that each is one.
pub fn parse_channels(segment: &str) -> Result<Cow<'_, str>, Refused> {
    if ChannelName::is_valid(segment) {
        return Ok(segment.into());
    }
    let channels = target::decode_once(segment).map_err(|_| Refusal::ChannelInvalid)?;
    for (at, name) in channels.split(',').enumerate() {
        if at == CHANNELS_PER_REQUEST_MAX {
            return Err(Refusal::ChannelsTooMany.into());
        }
        if !ChannelName::is_valid(name) {
            return Err(Refusal::ChannelInvalid.into());
        }
    }
    Ok(channels)
}

fn parse_after(value: &str) -> Result<After, Refused> {
    if value == "now" {
        return Ok(After::Present);
    }
    // A cursor's alphabet needs no percent-encoding, but some clients encode all the same.
    let cursor = match Cursor::parse(value) {
        Err(_) if value.contains('%') => {
            let text = target::decode_query_value(value).map_err(|_| Refusal::CursorInvalid)?;
            Cursor::parse(&text)
        }
        other => other,
    };
    cursor.map(After::Cursor).map_err(|_| Refusal::CursorInvalid.into())
}

fn parse_number(name: &str, value: &str) -> Result<u64, Refused> {
    whole_number(value.as_bytes()).ok_or_else(|| {
        Refused::because(Refusal::NumberInvalid, format!("\"{name}\" must be a whole number."))
    })
}

fn parse_limit(value: &str) -> Result<usize, Refused> {
    match whole_number(value.as_bytes()) {
        Some(limit @ 1..) => Ok(usize::try_from(limit).unwrap_or(usize::MAX).min(ANSWER_MESSAGES_MAX)),
        _ => Err(Refused::because(Refusal::NumberInvalid, "\"limit\" must be a whole number from 1.")),
    }
}

/// One to 20 decimal digits that fit in 64 bits, and nothing else.
pub fn whole_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// The `wait` preference, in seconds (RFC 7240 §4.3). What is malformed is ignored, as
/// that RFC asks.
fn parse_wait(prefer: &[u8]) -> Option<u64> {
    prefer.split(|byte| *byte == b',').find_map(|preference| {
        let first = preference.split(|byte| *byte == b';').next()?;
        let (name, value) = first.split_at(first.iter().position(|byte| *byte == b'=')?);
        let value = value.get(1..)?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        name.trim_ascii().eq_ignore_ascii_case(b"wait").then(|| whole_number(value))?
    })
}

/// A time-out with up to a tenth taken off, so that polls that began together do not end
/// together. What a client asks for is an upper bound (RFC 7240 §4.3): never added to.
pub fn with_jitter(timeout_s: u64, salt: u32) -> u64 {
    if timeout_s < JITTER_FROM_S {
        return timeout_s;
    }
    let spread = timeout_s / JITTER_DIVISOR + 1;
    // Fibonacci hashing: neighbours land far apart.
    let mixed = u64::from(salt.wrapping_mul(0x9e37_79b9) >> 16);
    timeout_s - mixed % spread
}

#[cfg(test)]
mod tests;
