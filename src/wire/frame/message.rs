//! What nodes tell each other beside entries and snapshots: the metas of the small frames.
//!
//! Each is read strictly, but members that are not known are skipped. Only a DIGEST has a body:
//! its vector, which may be longer than a meta.

use std::net::SocketAddr;

use super::meta::{Members, NotUnderstood, Scan, parse_vector, push_text, push_vector, scan_id};
use super::{Frame, Kind, encode, open};
use crate::cursor::VersionVector;
use crate::ids::{MessageId, NodeId, Origin};
use crate::limits::{BYE_REASON_BYTES_MAX, CLUSTER_NAME_BYTES_MAX, FEATURE_BYTES_MAX, FEATURES_MAX};
use crate::wire::http::response::push_decimal;

/// The version of what links speak. A change that an older node would misunderstand takes the
/// next number.
pub const VERSION: u32 = 1;

// -- HELLO and PROOF -----------------------------------------------------------------

/// Who a node is.
///
/// `{"version":1,"cluster":"…","node":"…","origin":"…","address":"…","nonce":"…","features":[]}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which [`VERSION`] it speaks.
    pub version: u32,
    /// Its cluster's name.
    pub cluster: String,
    /// Its name, the same after a restart.
    pub node: NodeId,
    /// Its incarnation.
    pub origin: Origin,
    /// Where others reach it.
    pub address: SocketAddr,
    /// Random, fresh for each link: no proof can be used twice.
    pub nonce: [u8; 16],
    /// What it can do beside that version; at most [`FEATURES_MAX`].
    pub features: Vec<String>,
}

impl Hello {
    /// The version alone, which says whether the rest can be understood.
    pub fn parse_version(meta: &[u8]) -> Result<u32, NotUnderstood> {
        let version = Members::parse(meta)?.number("version")?;
        u32::try_from(version).map_err(|_| NotUnderstood("version"))
    }

    /// Reads the meta of a HELLO.
    pub fn parse(meta: &[u8]) -> Result<Hello, NotUnderstood> {
        let members = Members::parse(meta)?;
        let cluster = members.text("cluster")?;
        if cluster.len() > CLUSTER_NAME_BYTES_MAX {
            return Err(NotUnderstood("cluster"));
        }
        Ok(Hello {
            version: Hello::parse_version(meta)?,
            cluster,
            node: members.text("node")?.parse().map_err(|_| NotUnderstood("node"))?,
            origin: members.origin("origin")?,
            address: members.text("address")?.parse().map_err(|_| NotUnderstood("address"))?,
            nonce: parse_hex(&members.text("nonce")?).ok_or(NotUnderstood("nonce"))?,
            features: parse_features(&members)?,
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        encode(Kind::HELLO, 0, &self.meta(), &[], out);
    }

    /// The frame's meta, which proofs cover.
    pub fn meta(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.push_meta(&mut out);
        out
    }

    fn push_meta(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"version\":");
        push_decimal(out, self.version);
        out.extend_from_slice(b",\"cluster\":");
        push_text(&self.cluster, out);
        out.extend_from_slice(b",\"node\":");
        push_text(self.node.as_str(), out);
        out.extend_from_slice(b",\"origin\":\"");
        out.extend_from_slice(&self.origin.digits());
        out.extend_from_slice(b"\",\"address\":");
        push_text(&self.address.to_string(), out);
        out.extend_from_slice(b",\"nonce\":\"");
        push_hex(&self.nonce, out);
        out.extend_from_slice(b"\",\"features\":[");
        for (at, feature) in self.features.iter().enumerate() {
            out.extend_from_slice(if at > 0 { b"," } else { b"" });
            push_text(feature, out);
        }
        out.extend_from_slice(b"]}");
    }
}

fn parse_features(members: &Members) -> Result<Vec<String>, NotUnderstood> {
    let features = members.texts("features")?;
    let fit = features.len() <= FEATURES_MAX && features.iter().all(|name| name.len() <= FEATURE_BYTES_MAX);
    if fit { Ok(features) } else { Err(NotUnderstood("features")) }
}

/// That a node holds the cluster's key: `{"mac":"…"}`, 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// HMAC-SHA256 (RFC 2104); `handshake` says of what.
    pub mac: [u8; 32],
}

impl Proof {
    /// Reads the meta of a PROOF.
    pub fn parse(meta: &[u8]) -> Result<Proof, NotUnderstood> {
        let mac = parse_hex(&Members::parse(meta)?.text("mac")?).ok_or(NotUnderstood("mac"))?;
        Ok(Proof { mac })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let frame = open(Kind::PROOF, 0, out);
        out.extend_from_slice(b"{\"mac\":\"");
        push_hex(&self.mac, out);
        out.extend_from_slice(b"\"}");
        frame.close(&[], out);
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |nibble: u8| HEX_DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// Just `N` bytes, in lower case.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let value = |digit: u8| HEX_DIGITS.iter().position(|other| *other == digit);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (value(*high)? << 4 | value(*low)?) as u8;
    }
    Some(bytes)
}

// -- How far one is --------------------------------------------------------------------

/// How far the sender has come: meta `{"full":true,"ready":true}`, body
/// `{"00000000000000ab":12,…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// For each origin, up to which entry the sender has its log without a gap; at most
    /// [`DIGEST_ORIGINS_MAX`](crate::limits::DIGEST_ORIGINS_MAX) origins.
    pub have: VersionVector,
    /// It has nothing of origins that are not named; else only what changed is named.
    pub full: bool,
    /// It has caught up and can be asked for a snapshot.
    pub ready: bool,
}

impl Digest {
    /// Reads a DIGEST.
    pub fn parse(frame: &Frame) -> Result<Digest, NotUnderstood> {
        let members = Members::parse(frame.meta)?;
        Ok(Digest {
            have: parse_vector(frame.body).ok_or(NotUnderstood("have"))?,
            full: members.flag("full")?,
            ready: members.flag("ready")?,
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(40 * self.have.len() + 2);
        push_vector(&self.have, &mut body);
        let meta: &[u8] = match (self.full, self.ready) {
            (false, false) => b"{\"full\":false,\"ready\":false}",
            (false, true) => b"{\"full\":false,\"ready\":true}",
            (true, false) => b"{\"full\":true,\"ready\":false}",
            (true, true) => b"{\"full\":true,\"ready\":true}",
        };
        encode(Kind::DIGEST, 0, meta, &body, out);
    }
}

/// Asks for entries of a log: `{"origin":"…","from":3,"to":9}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Whose log.
    pub origin: Origin,
    /// The first entry that is wanted.
    pub from: u64,
    /// The last one; not before `from`.
    pub to: u64,
}

impl Pull {
    /// Reads the meta of a PULL.
    pub fn parse(meta: &[u8]) -> Result<Pull, NotUnderstood> {
        let members = Members::parse(meta)?;
        let (from, to) = (members.seq("from")?, members.seq("to")?);
        if to < from {
            return Err(NotUnderstood("to"));
        }
        Ok(Pull { origin: members.origin("origin")?, from, to })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let frame = open(Kind::PULL, 0, out);
        out.extend_from_slice(b"{\"origin\":\"");
        out.extend_from_slice(&self.origin.digits());
        out.extend_from_slice(b"\",\"from\":");
        push_decimal(out, self.from);
        out.extend_from_slice(b",\"to\":");
        push_decimal(out, self.to);
        out.push(b'}');
        frame.close(&[], out);
    }
}

/// The sender's copy of a log no longer holds what stands before `first`:
/// `{"origin":"…","first":3}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Whose log.
    pub origin: Origin,
    /// The first entry that it holds.
    pub first: u64,
}

impl Truncated {
    /// Reads the meta of a TRUNCATED.
    pub fn parse(meta: &[u8]) -> Result<Truncated, NotUnderstood> {
        let members = Members::parse(meta)?;
        Ok(Truncated { origin: members.origin("origin")?, first: members.seq("first")? })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let frame = open(Kind::TRUNCATED, 0, out);
        out.extend_from_slice(b"{\"origin\":\"");
        out.extend_from_slice(&self.origin.digits());
        out.extend_from_slice(b"\",\"first\":");
        push_decimal(out, self.first);
        out.push(b'}');
        frame.close(&[], out);
    }
}

/// Asks for a snapshot; it says nothing more.
pub fn write_snapshot_request(out: &mut Vec<u8>) {
    encode(Kind::SNAPSHOT, 0, b"{}", &[], out);
}

/// The link ends in good order: `{"reason":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why, for the log: the peer's words, at most [`BYE_REASON_BYTES_MAX`] bytes, to be escaped.
    pub reason: String,
}

impl Bye {
    /// Reads the meta of a BYE. A reason that is too long is cut.
    pub fn parse(meta: &[u8]) -> Result<Bye, NotUnderstood> {
        let mut reason = Members::parse(meta)?.text("reason")?;
        reason.truncate(cut(&reason, BYE_REASON_BYTES_MAX).len());
        Ok(Bye { reason })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let frame = open(Kind::BYE, 0, out);
        out.extend_from_slice(b"{\"reason\":");
        push_text(cut(&self.reason, BYE_REASON_BYTES_MAX), out);
        out.push(b'}');
        frame.close(&[], out);
    }
}

/// The longest beginning of `text` of at most `bytes_max` bytes, in whole characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    (0..=bytes_max).rev().find_map(|end| text.get(..end)).filter(|_| text.len() > bytes_max).unwrap_or(text)
}

// -- Entries ---------------------------------------------------------------------------

/// Which entry an ENTRY carries: the first two members of its meta, which always stand there
/// as `{"origin":"00000000000000ab","seq":12`, without white space.
pub fn entry_id(frame: &Frame) -> Result<MessageId, NotUnderstood> {
    let mut scan = Scan::new(frame.meta);
    let id = scan_id(&mut scan).ok_or(NotUnderstood("seq"))?;
    let ends = scan.literal(b",").or_else(|| scan.literal(b"}"));
    ends.map(|()| id).ok_or(NotUnderstood("seq"))
}

#[cfg(test)]
mod tests;
