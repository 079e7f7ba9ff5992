//! Identities. Each is a type of its own, so that none can be taken for another.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::limits::{CHANNEL_NAME_BYTES_MAX, NODE_ID_BYTES_MAX};

/// A connection's place in its shard's slab, and which owner of that place.
///
/// The generation makes a stale event or timer harmless: it can never touch the
/// slot's next owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// The slot's index in the slab.
    pub index: u32,
    /// Rises each time the slot is given to a new connection.
    pub generation: u32,
}

impl ConnId {
    /// Both halves in one word, the form in which the kernel carries it for us.
    pub fn to_token(self) -> usize {
        ((self.generation as usize) << 32) | self.index as usize
    }

    /// The inverse of [`ConnId::to_token`].
    pub fn from_token(token: usize) -> ConnId {
        ConnId { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// One incarnation of a node as a source of log entries: fresh and random at each
/// boot, so that a sequence number is never reused for another message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub u64);

impl Origin {
    /// Its text: sixteen hexadecimal digits, in lower case.
    pub fn digits(self) -> [u8; 16] {
        hexadecimal(self.0)
    }

    /// The inverse of [`Origin::digits`]; `None` for any other text.
    pub fn from_digits(text: &[u8]) -> Option<Origin> {
        let digits: &[u8; 16] = text.try_into().ok()?;
        let number = digits.iter().try_fold(0_u64, |number, digit| {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            Some(number << 4 | u64::from(value))
        })?;
        Some(Origin(number))
    }
}

/// Sixteen digits, eight at a time: each half's nibbles are spread over the bytes of one
/// word, where those above nine are told by the carry of an addition of six.
fn hexadecimal(number: u64) -> [u8; 16] {
    let eight = |half: u64| {
        let pairs = (half | half << 16) & 0x0000_ffff_0000_ffff;
        let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
        let nibbles = (bytes | bytes << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
        nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)
    };
    let digits = u128::from(eight(number >> 32)) << 64 | u128::from(eight(number & 0xffff_ffff));
    digits.to_be_bytes()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node's name, the same after a restart: 1 to 64 bytes of `[A-Za-z0-9_.:~@+-]` or brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(SmolStr);

impl NodeId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANodeId;

impl FromStr for NodeId {
    type Err = NotANodeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Brackets, since a node that is given no name takes its address, perhaps an IPv6 one.
        let is_fit = |byte| is_name_byte(byte) || matches!(byte, b'[' | b']');
        let fits = !text.is_empty() && text.len() <= NODE_ID_BYTES_MAX && text.bytes().all(is_fit);
        if fits { Ok(NodeId(SmolStr::new(text))) } else { Err(NotANodeId) }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message's identity: the `seq`-th entry of its origin's log. Written `origin-seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Where the message was published.
    pub origin: Origin,
    /// Its number there, from 1.
    pub seq: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.origin, self.seq)
    }
}

/// A channel's name: 1 to 128 bytes of `[A-Za-z0-9_.:~@+-]`.
///
/// Up to 23 bytes stand in place, longer names are shared by their clones: finding a
/// channel by its name touches no other memory in the usual case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(SmolStr);

impl ChannelName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is a channel name.
    pub fn is_valid(text: &str) -> bool {
        !text.is_empty() && text.len() <= CHANNEL_NAME_BYTES_MAX && text.bytes().all(is_name_byte)
    }
}

/// Whether a byte may stand in a channel name.
pub fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

static NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let other = matches!(byte as u8, b'_' | b'.' | b':' | b'~' | b'@' | b'+' | b'-');
        bytes[byte] = (byte as u8).is_ascii_alphanumeric() || other;
        byte += 1;
    }
    bytes
};

/// The text is not a channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAChannelName;

impl FromStr for ChannelName {
    type Err = NotAChannelName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if ChannelName::is_valid(text) { Ok(ChannelName(SmolStr::new(text))) } else { Err(NotAChannelName) }
    }
}

impl std::borrow::Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A link to another process, by its place and which owner of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// The place.
    pub index: u32,
    /// Rises each time the place is given to a new link.
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_carries_index_and_generation() {
        for id in [
            ConnId { index: 0, generation: 0 },
            ConnId { index: 7, generation: u32::MAX },
            ConnId { index: u32::MAX - 8, generation: 1 },
        ] {
            assert_eq!(ConnId::from_token(id.to_token()), id);
        }
    }

    #[test]
    fn channel_names() {
        for good in ["a", "c++", "author:John", "1", "A-z_0.9~@+-", &"x".repeat(128)] {
            assert!(good.parse::<ChannelName>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a,b", "a/b", "é", "a b", "a%20b", "a\0", &"x".repeat(129)] {
            assert!(bad.parse::<ChannelName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_message_id_reads_origin_dash_seq() {
        let id = MessageId { origin: Origin(0xab), seq: 12 };
        assert_eq!(id.to_string(), "00000000000000ab-12");
    }

    #[test]
    fn an_origin_has_one_text() {
        for bad in ["", "0", "00000000000000AB", "0x000000000000ab", "00000000000000ab0", "0000000 000000ab"]
        {
            assert_eq!(Origin::from_digits(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        /// Beside the fast code, the standard library's.
        #[test]
        fn an_origin_s_digits_are_what_the_standard_library_writes(number: u64) {
            let origin = Origin(number);
            prop_assert_eq!(origin.digits().to_vec(), format!("{number:016x}").into_bytes());
            prop_assert_eq!(Origin::from_digits(&origin.digits()), Some(origin));
        }
    }
}
