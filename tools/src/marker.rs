//! What a published body looks like, so that it is known again wherever it arrives.
//!
//! What it refuses to know: answers and their formats. Invariant: a body is plain ASCII that
//! no JSON or URL encoder changes, and begins with its marker:
//!
//! ```text
//! @5f3c09aa:17:4:1002003000:..........
//!  run      |  | |          padding
//!     channel  | planned, ns after the run's epoch
//!       sequence on the channel
//! ```

use std::fmt;

use memchr::memmem::Finder;

/// The longest marker: eight digits of run, ten of channel and of sequence, twenty of time,
/// and their separators. A body that is to have an exact size has at least so many bytes.
pub const MARKER_BYTES_MAX: usize = 53;
/// What a body is filled up with.
const PADDING: u8 = b'.';

/// Which run a message belongs to: what another run published is nobody's concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(u32);

impl RunId {
    /// The run of this number.
    pub fn new(number: u32) -> RunId {
        RunId(number)
    }

    /// One that hardly any other run has: of the process, the time and a counter.
    pub fn fresh() -> RunId {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = time.map_or(0, |time| time.as_nanos() as u64);
        let count = u64::from(COUNT.fetch_add(1, Ordering::Relaxed));
        let mut seed = crate::random::Random::new(nanos ^ u64::from(std::process::id()) << 40 ^ count << 20);
        RunId(seed.next() as u32)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The channel's number.
    pub channel: u32,
    /// How many messages were published on the channel before it.
    pub sequence: u32,
    /// When it was planned to be published: nanoseconds after the run's epoch.
    pub planned_ns: u64,
}

impl Marker {
    /// Appends a body: the marker and so much padding that it has `body_bytes`, or more if
    /// the marker alone is longer.
    pub fn write_body(&self, run: RunId, body_bytes: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        out.push(b'@');
        for shift in (0..8).rev() {
            out.push(b"0123456789abcdef"[(run.0 >> (4 * shift)) as usize & 15]);
        }
        out.push(b':');
        for number in [u64::from(self.channel), u64::from(self.sequence), self.planned_ns] {
            push_decimal(number, out);
            out.push(b':');
        }
        out.resize(out.len().max(begin + body_bytes), PADDING);
    }
}

/// Finds the markers of one run.
pub struct MarkerFinder {
    start: Finder<'static>,
}

impl MarkerFinder {
    /// A finder for that run.
    pub fn new(run: RunId) -> MarkerFinder {
        MarkerFinder { start: Finder::new(format!("@{run}:").as_bytes()).into_owned() }
    }

    /// The first marker in `bytes`, and what follows it.
    pub fn first<'a>(&self, mut bytes: &'a [u8]) -> Option<(Marker, &'a [u8])> {
        loop {
            let after = &bytes[self.start.find(bytes)? + self.start.needle().len()..];
            if let Some(found) = parse(after) {
                return Some(found);
            }
            bytes = after;
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Marker, &[u8])> {
    let (channel, rest) = decimal(bytes)?;
    let (sequence, rest) = decimal(rest)?;
    let (planned_ns, rest) = decimal(rest)?;
    let marker =
        Marker { channel: channel.try_into().ok()?, sequence: sequence.try_into().ok()?, planned_ns };
    Some((marker, rest))
}

/// A number, and what follows the colon behind it.
fn decimal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (at, &byte) in bytes.iter().enumerate().take(21) {
        match byte {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b':' if at > 0 => return Some((number, &bytes[at + 1..])),
            _ => return None,
        }
    }
    None
}

/// Appends a number in decimal digits.
pub(crate) fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(marker: Marker, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        marker.write_body(RunId::new(0x5f3c_09aa), bytes, &mut out);
        out
    }

    #[test]
    fn a_body_begins_with_its_marker_and_has_its_size() {
        let marker = Marker { channel: 17, sequence: 4, planned_ns: 1_002 };
        assert_eq!(body(marker, 24), b"@5f3c09aa:17:4:1002:....");
        assert_eq!(body(marker, 0), b"@5f3c09aa:17:4:1002:");
        let largest = Marker { channel: u32::MAX, sequence: u32::MAX, planned_ns: u64::MAX };
        assert_eq!(body(largest, 0).len(), MARKER_BYTES_MAX);
    }

    #[test]
    fn markers_are_found_wherever_they_stand() {
        let finder = MarkerFinder::new(RunId::new(0x5f3c_09aa));
        let first = Marker { channel: 0, sequence: 0, planned_ns: 0 };
        let second = Marker { channel: u32::MAX, sequence: 7, planned_ns: u64::MAX };
        let mut text = b"{\"messages\":[{\"data\":\"@5f3c09aa:x @5f3c09aa:1:2 @00000000:1:2:3:".to_vec();
        text.extend(body(first, 64));
        text.extend(b"\"},{\"data\":\"");
        text.extend(body(second, 0));
        let (found, rest) = finder.first(&text).unwrap();
        assert_eq!(found, first);
        let (found, rest) = finder.first(rest).unwrap();
        assert_eq!((found, rest), (second, &b""[..]));
    }

    #[test]
    fn what_is_no_marker_is_none() {
        let finder = MarkerFinder::new(RunId::new(1));
        for text in [
            "",
            "@00000001",
            "@00000001:",
            "@00000001:1:2:",
            "@00000001:1:2:3",
            "@00000001::2:3:",
            "@00000001:1:-2:3:",
            "@00000001:4294967296:2:3:",
            "@00000001:1:2:99999999999999999999:",
            "@00000002:1:2:3:",
        ] {
            assert!(finder.first(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn runs_differ() {
        assert_ne!(RunId::fresh(), RunId::fresh());
    }
}
