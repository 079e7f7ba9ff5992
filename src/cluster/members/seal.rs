//! The seal on a datagram: who does not hold the cluster's key, or belongs to another cluster, is
//! not even listened to.
//!
//! `"PG" | version 1 | tag, 16 bytes | payload`. The tag is the beginning of HMAC-SHA256 with the
//! cluster's key over the cluster's name, a zero byte, the three bytes before the tag and the payload
//! (RFC 2104; truncated as in its §5). A datagram that is sent a second time by someone else does no
//! harm: it says what was said already, and the protocol keeps the latest.

use hmac_sha256::HMAC;

use crate::limits::DATAGRAM_BYTES_MAX;

/// "PG" for push gossip, and the version of the format.
const PREFIX: [u8; 3] = *b"PG\x01";
const TAG_BYTES: usize = 16;
/// What the seal takes of a datagram, in bytes.
const SEAL_BYTES: usize = PREFIX.len() + TAG_BYTES;

/// The payload of a datagram, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - SEAL_BYTES;

/// Seals and opens the datagrams of one cluster.
#[derive(Clone)]
pub(super) struct Seal {
    /// The tag's beginnings, which are the same for all datagrams.
    begun: HMAC,
}

impl Seal {
    pub fn new(cluster_name: &str, key: &[u8]) -> Seal {
        let mut begun = HMAC::new(key);
        begun.update(cluster_name);
        begun.update([0]);
        begun.update(PREFIX);
        Seal { begun }
    }

    /// The datagram that carries `payload`.
    pub fn close(&self, payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(SEAL_BYTES + payload.len());
        datagram.extend_from_slice(&PREFIX);
        datagram.extend_from_slice(&self.tag(payload));
        datagram.extend_from_slice(payload);
        datagram
    }

    /// The payload of a datagram of this cluster.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return None;
        }
        let sealed = datagram.strip_prefix(&PREFIX)?;
        let (tag, payload) = sealed.split_first_chunk::<TAG_BYTES>()?;
        is_same(tag, &self.tag(payload)).then_some(payload)
    }

    fn tag(&self, payload: &[u8]) -> [u8; TAG_BYTES] {
        let mut mac = self.begun.clone();
        mac.update(payload);
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(mac.finalize()).for_each(|(to, from)| *to = from);
        tag
    }
}

/// Takes the same time wherever the two differ.
fn is_same(one: &[u8; TAG_BYTES], other: &[u8; TAG_BYTES]) -> bool {
    one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_again() {
        let seal = Seal::new("c", b"key");
        for payload in [&b""[..], b"x", &[7; PAYLOAD_BYTES_MAX]] {
            assert_eq!(seal.open(&seal.close(payload)), Some(payload));
        }
    }

    /// Any other implementation can be held against this.
    #[test]
    fn the_tag_is_hmac_over_name_zero_prefix_and_payload() {
        let datagram = Seal::new("c", b"key").close(b"hi");
        let whole = HMAC::mac(b"c\0PG\x01hi", b"key");
        assert_eq!(datagram, [b"PG\x01", &whole[..16], b"hi"].concat());
    }

    #[test]
    fn nothing_else_opens() {
        let seal = Seal::new("c", b"key");
        let datagram = seal.close(b"payload");
        for len in 0..datagram.len() {
            assert_eq!(seal.open(&datagram[..len]), None, "cut to {len} bytes");
        }
        for bit in 0..datagram.len() * 8 {
            let mut bent = datagram.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.open(&bent), None, "bit {bit} flipped");
        }
        assert_eq!(seal.open(&[datagram.clone(), vec![0]].concat()), None);
        assert_eq!(Seal::new("c", b"other").open(&datagram), None);
        assert_eq!(Seal::new("d", b"key").open(&datagram), None);
        assert_eq!(seal.open(&seal.close(&[7; PAYLOAD_BYTES_MAX + 1])), None, "too long");
    }
}
