//! The version vector: what a client, a node or a snapshot has examined.
//!
//! A [`VersionVector`] says, for each origin, up to which entry of that origin's log
//! everything has been looked at. A [`Cursor`] is a vector with the tag of the cluster
//! that gave it out; its text is what a client carries from poll to poll. Unlike the
//! paper's time cursor (§3.2), it cannot skip a message that was stamped earlier
//! and arrived later.
//!
//! Text: base64url without padding of `version u8 | tag u16 | (origin u64 | seq LEB128)*`,
//! big-endian, origins ascending. One origin takes at most 24 characters up to seq 2^49.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;

use crate::ids::{MessageId, Origin};
use crate::limits::{CURSOR_ORIGINS_MAX, CURSOR_TEXT_BYTES_MAX};

/// The layout of a cursor's bytes. A change of layout takes the next number.
const VERSION: u8 = 1;

/// For each origin, the highest entry up to which all entries were examined.
///
/// Nearly every vector has one origin; that one needs no heap, so that the reading and
/// writing of a poll's cursor allocates nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VersionVector {
    /// The lowest origin; seq 0 when nothing was examined of any.
    first: Entry,
    /// The other origins, ascending; none is 0.
    rest: Vec<Entry>,
}

type Entry = (Origin, u64);

impl Clone for VersionVector {
    fn clone(&self) -> VersionVector {
        VersionVector { first: self.first, rest: self.rest.clone() }
    }

    /// Keeps its allocation, where a derived one would make another: at each delivery and each DIGEST a
    /// vector is set to what was applied.
    fn clone_from(&mut self, other: &VersionVector) {
        self.first = other.first;
        self.rest.clone_from(&other.rest);
    }
}

impl VersionVector {
    /// The highest entry examined of `origin`, 0 if none.
    pub fn seq(&self, origin: Origin) -> u64 {
        if self.first.0 == origin {
            return self.first.1;
        }
        self.find(origin).ok().and_then(|at| self.rest.get(at)).map_or(0, |entry| entry.1)
    }

    fn find(&self, origin: Origin) -> Result<usize, usize> {
        self.rest.binary_search_by_key(&origin, |entry| entry.0)
    }

    /// Whether the message was examined.
    pub fn covers(&self, id: MessageId) -> bool {
        id.seq <= self.seq(id.origin)
    }

    /// Sets what was examined of `origin`; 0 removes it.
    pub fn set(&mut self, origin: Origin, seq: u64) {
        if seq == 0 {
            return self.remove(origin);
        }
        if self.first.1 == 0 || self.first.0 == origin {
            self.first = (origin, seq);
        } else if origin < self.first.0 {
            let second = std::mem::replace(&mut self.first, (origin, seq));
            self.rest.insert(0, second);
        } else {
            match self.find(origin) {
                Ok(at) => self.rest.get_mut(at).into_iter().for_each(|entry| entry.1 = seq),
                Err(at) => self.rest.insert(at, (origin, seq)),
            }
        }
    }

    fn remove(&mut self, origin: Origin) {
        if self.first.0 != origin {
            if let Ok(at) = self.find(origin) {
                self.rest.remove(at);
            }
        } else if self.rest.is_empty() {
            self.first = Entry::default();
        } else {
            self.first = self.rest.remove(0);
        }
    }

    /// Raises what was examined of `origin` to at least `seq`.
    pub fn raise(&mut self, origin: Origin, seq: u64) {
        if seq > self.seq(origin) {
            self.set(origin, seq);
        }
    }

    /// The entries, ascending by origin.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        let first = (self.first.1 > 0).then_some(self.first);
        first.into_iter().chain(self.rest.iter().copied())
    }

    /// How many origins it has.
    pub fn len(&self) -> usize {
        usize::from(self.first.1 > 0) + self.rest.len()
    }

    /// Whether nothing was examined of any origin.
    pub fn is_empty(&self) -> bool {
        self.first.1 == 0
    }
}

/// What tells one cluster's cursors from another's: a hash of the cluster's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterTag(pub u16);

impl ClusterTag {
    /// The tag of the cluster of that name (FNV-1a, folded to 16 bits).
    pub fn of(cluster_name: &str) -> ClusterTag {
        let hash = cluster_name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        ClusterTag((hash >> 16) as u16 ^ hash as u16)
    }
}

/// A vector as a client carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Which cluster gave it out.
    pub tag: ClusterTag,
    /// What its bearer has examined.
    pub seen: VersionVector,
}

/// The text is not a cursor that this program could have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACursor;

impl Cursor {
    /// Reads a cursor's text. Anything but the canonical form is refused.
    pub fn parse(text: &str) -> Result<Cursor, NotACursor> {
        if text.len() > CURSOR_TEXT_BYTES_MAX {
            return Err(NotACursor);
        }
        // The usual cursor fits in the smaller buffer, which is cheaper to clear.
        let (mut small, mut large);
        let bytes: &mut [u8] = if text.len() <= 32 {
            small = [0; 32];
            &mut small
        } else {
            large = [0; CURSOR_TEXT_BYTES_MAX];
            &mut large
        };
        let len = URL_SAFE_NO_PAD.decode_slice(text, bytes).map_err(|_| NotACursor)?;
        let [VERSION, t0, t1, entries @ ..] = bytes.get(..len).ok_or(NotACursor)? else {
            return Err(NotACursor);
        };
        Ok(Cursor { tag: ClusterTag(u16::from_be_bytes([*t0, *t1])), seen: parse_entries(entries)? })
    }

    /// Writes the cursor's text.
    pub fn write(tag: ClusterTag, seen: &VersionVector, out: &mut Vec<u8>) {
        // One origin's cursor needs no heap.
        let mut bytes: SmallVec<[u8; 24]> = SmallVec::new();
        bytes.push(VERSION);
        bytes.extend_from_slice(&tag.0.to_be_bytes());
        for (origin, seq) in seen.iter() {
            bytes.extend_from_slice(&origin.0.to_be_bytes());
            write_varint(seq, &mut bytes);
        }
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let written = URL_SAFE_NO_PAD.encode_slice(&bytes, room).unwrap_or(0);
        out.truncate(start + written);
    }

    /// The cursor's text as a string of its own.
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        Cursor::write(self.tag, &self.seen, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

fn parse_entries(mut bytes: &[u8]) -> Result<VersionVector, NotACursor> {
    let mut seen = VersionVector::default();
    let mut last = None;
    while !bytes.is_empty() {
        let (origin, rest) = bytes.split_first_chunk::<8>().ok_or(NotACursor)?;
        let origin = Origin(u64::from_be_bytes(*origin));
        let (seq, rest) = parse_varint(rest).ok_or(NotACursor)?;
        let ascending = last.is_none_or(|last| last < origin);
        if seq == 0 || !ascending || seen.len() == CURSOR_ORIGINS_MAX {
            return Err(NotACursor);
        }
        seen.set(origin, seq);
        last = Some(origin);
        bytes = rest;
    }
    Ok(seen)
}

/// LEB128: seven bits a byte, the lowest first.
fn write_varint(mut value: u64, out: &mut SmallVec<[u8; 24]>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The inverse; `None` for an unfinished, overlong or overflowing number.
fn parse_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value: u64 = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            let canonical = at == 0 || *byte != 0;
            return canonical.then(|| (value, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(tag: u16, entries: &[(u64, u64)]) -> Cursor {
        let mut seen = VersionVector::default();
        for (origin, seq) in entries {
            seen.set(Origin(*origin), *seq);
        }
        Cursor { tag: ClusterTag(tag), seen }
    }

    #[test]
    fn one_origin_takes_at_most_24_characters() {
        assert_eq!(cursor(1, &[(u64::MAX, (1 << 49) - 1)]).to_text().len(), 24);
        assert!(cursor(1, &[(7, 1)]).to_text().len() < 20);
    }

    #[test]
    fn the_text_is_what_is_documented() {
        // 01 | 1234 | 00000000000000ff | 96 01 (150)
        assert_eq!(cursor(0x1234, &[(0xff, 150)]).to_text(), "ARI0AAAAAAAAAP-WAQ");
        assert_eq!(cursor(0x1234, &[]).to_text(), "ARI0");
    }

    #[test]
    fn set_raise_and_remove() {
        let mut seen = VersionVector::default();
        seen.raise(Origin(2), 5);
        seen.raise(Origin(1), 3);
        seen.raise(Origin(2), 4);
        assert_eq!(seen.iter().collect::<Vec<_>>(), [(Origin(1), 3), (Origin(2), 5)]);
        seen.set(Origin(1), 0);
        assert_eq!(seen.seq(Origin(1)), 0);
        assert!(seen.covers(MessageId { origin: Origin(2), seq: 5 }));
        assert!(!seen.covers(MessageId { origin: Origin(2), seq: 6 }));
    }

    #[test]
    fn a_vector_that_is_set_to_another_keeps_its_allocation() {
        let vector = |entries| cursor(0, entries).seen;
        let mut seen = vector(&[(1, 1), (2, 2), (3, 3)]);
        let place = seen.rest.as_ptr();
        for other in [vector(&[(4, 4), (5, 5), (6, 6)]), vector(&[(7, 7)]), vector(&[(8, 8), (9, 9)])] {
            seen.clone_from(&other);
            assert_eq!(seen, other);
            assert_eq!(seen.rest.as_ptr(), place);
        }
    }

    #[test]
    fn garbage_is_refused() {
        let raw = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let entry = |origin: u64, seq: &[u8]| [&origin.to_be_bytes()[..], seq].concat();
        let with = |tail: &[u8]| raw(&[&[1, 0, 0][..], tail].concat());
        for bad in [
            String::new(),
            "A".into(),
            "AR I0".into(),
            "ARI0=".into(),
            raw(&[2, 0, 0]),                                  // another version
            raw(&[1, 0]),                                     // no tag
            with(&entry(1, &[0])),                            // seq 0
            with(&entry(1, &[0x80, 0])),                      // overlong
            with(&entry(1, &[0xff; 10])),                     // overflow
            with(&entry(1, &[])),                             // cut
            with(&[entry(2, &[1]), entry(1, &[1])].concat()), // not ascending
            with(&[entry(1, &[1]), entry(1, &[1])].concat()), // twice
            with(&(0..65).flat_map(|o| entry(o, &[1])).collect::<Vec<_>>()),
            "A".repeat(CURSOR_TEXT_BYTES_MAX + 1),
        ] {
            assert_eq!(Cursor::parse(&bad), Err(NotACursor), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(tag: u16, entries in proptest::collection::btree_map(any::<u64>(), 1..=u64::MAX, 0..64)) {
            let entries: Vec<_> = entries.into_iter().collect();
            let cursor = cursor(tag, &entries);
            prop_assert_eq!(Cursor::parse(&cursor.to_text()), Ok(cursor));
        }

        #[test]
        fn any_text_is_refused_or_canonical(text in "[A-Za-z0-9_-]{0,60}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_text(), text);
            }
        }
    }
}
