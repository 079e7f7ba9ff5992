//! The handshake of a link: both sides say who they are and prove that they hold the cluster's key.
//!
//! ```text
//!  new ──▶ AwaitingHello ──HELLO: HELLO and PROOF are sent──▶ AwaitingProof ──PROOF──▶ Over: established
//!               └──────────────────── anything else, or wrong ──────┴────────────────▶ Over: refused
//! ```
//!
//! A proof is HMAC-SHA256 (RFC 2104) with the cluster's key over `pushup link 1` between nodes, `pushup work 1`
//! between a front-end and a back-end, `pushup order 1`
//! between a controller and an agent, one byte for the sender's role (0 dialled, 1 accepted), the meta of the sender's HELLO and the meta of the
//! receiver's. Both nonces and both names are in it, so that a proof is good for one link, one
//! direction and one pair of nodes only.
//!
//! What this does not give: secrecy, and safety from somebody who sits between two nodes and
//! changes what they say after they have proven themselves. That is the network's or a tunnel's.
//! Pure: nonces are handed in, time-outs are the caller's.

use std::fmt;
use std::sync::Arc;

use hmac_sha256::HMAC;

use super::message::{Hello, Proof, VERSION};
use super::meta::NotUnderstood;
use super::{Frame, Kind};
use crate::limits::HANDSHAKE_BYTES_MAX;

/// What a link is for. A proof for one is none for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Two nodes that look like one.
    Peers,
    /// A front-end and a back-end.
    Work,
    /// A controller and an agent.
    Orders,
}

/// Which end of a link a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that connected.
    Dialer,
    /// The one that was connected to.
    Acceptor,
}

impl Role {
    fn byte(self) -> u8 {
        match self {
            Role::Dialer => 0,
            Role::Acceptor => 1,
        }
    }

    fn other(self) -> Role {
        match self {
            Role::Dialer => Role::Acceptor,
            Role::Acceptor => Role::Dialer,
        }
    }
}

/// The handshake of one link, of which one side is this node.
pub struct Handshake {
    purpose: Purpose,
    role: Role,
    own: Hello,
    own_meta: Vec<u8>,
    key: Arc<[u8]>,
    state: State,
}

enum State {
    /// The peer's HELLO is next.
    AwaitingHello,
    /// The peer's PROOF is next; its HELLO as it was read and as it came.
    AwaitingProof { theirs: Hello, meta: Vec<u8> },
    /// Established or refused; no frame is for the handshake any more.
    Over,
}

/// How far a handshake has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to come from the peer.
    Going,
    /// The peer belongs to the cluster; this is who it is.
    Established(Hello),
}

/// Why a link is refused. It cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// Another frame than the one whose turn it is.
    Unexpected,
    /// The frame is not what its kind says.
    NotUnderstood(NotUnderstood),
    /// The peer speaks another version.
    Version {
        /// Which.
        theirs: u32,
    },
    /// The peer belongs to another cluster, of this name.
    ForeignCluster(String),
    /// The peer is this very node.
    Ourselves,
    /// The peer does not hold the cluster's key.
    BadProof,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Unexpected => f.write_str("it sent another frame than a handshake has"),
            HandshakeError::NotUnderstood(part) => write!(f, "its handshake is not understood: {part}"),
            HandshakeError::Version { theirs } => {
                write!(f, "it speaks version {theirs}, this node version {VERSION}")
            }
            // The peer's text: its length is bounded by `Hello`, and it may hold anything.
            HandshakeError::ForeignCluster(name) => write!(f, "it belongs to the cluster {name:?}"),
            HandshakeError::Ourselves => f.write_str("it is this node itself"),
            HandshakeError::BadProof => f.write_str("it does not hold the cluster's key"),
        }
    }
}

impl From<NotUnderstood> for HandshakeError {
    fn from(part: NotUnderstood) -> HandshakeError {
        HandshakeError::NotUnderstood(part)
    }
}

impl Handshake {
    /// Begins a handshake: appends this node's HELLO, whose nonce must be fresh, to `out`.
    pub fn new(purpose: Purpose, role: Role, own: Hello, key: Arc<[u8]>, out: &mut Vec<u8>) -> Handshake {
        let start = out.len();
        own.write(out);
        debug_assert!(out.len() - start <= HANDSHAKE_BYTES_MAX, "any peer takes it");
        let own_meta = own.meta();
        Handshake { purpose, role, own, own_meta, key, state: State::AwaitingHello }
    }

    /// Takes the peer's next frame; what is to be sent is appended to `out`.
    pub fn handle(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<Progress, HandshakeError> {
        match (std::mem::replace(&mut self.state, State::Over), frame.kind) {
            (State::AwaitingHello, Kind::HELLO) => {
                let theirs = self.check_hello(frame.meta)?;
                let mac = self.proof_of(self.role, &self.own_meta, frame.meta).finalize();
                Proof { mac }.write(out);
                self.state = State::AwaitingProof { theirs, meta: frame.meta.to_vec() };
                Ok(Progress::Going)
            }
            (State::AwaitingProof { theirs, meta }, Kind::PROOF) => {
                let expected = self.proof_of(self.role.other(), &meta, &self.own_meta);
                // Compared in constant time.
                if !expected.finalize_verify(&Proof::parse(frame.meta)?.mac) {
                    return Err(HandshakeError::BadProof);
                }
                // Not before it is proven: whoever sends our HELLO back could have us never call again
                // where another node is reached.
                let is_own = theirs.node == self.own.node && theirs.origin == self.own.origin;
                if is_own { Err(HandshakeError::Ourselves) } else { Ok(Progress::Established(theirs)) }
            }
            _ => Err(HandshakeError::Unexpected),
        }
    }

    fn check_hello(&self, meta: &[u8]) -> Result<Hello, HandshakeError> {
        // First, since of another version the rest may be anything.
        let theirs = Hello::parse_version(meta)?;
        if theirs != self.own.version {
            return Err(HandshakeError::Version { theirs });
        }
        let hello = Hello::parse(meta)?;
        if hello.cluster != self.own.cluster {
            return Err(HandshakeError::ForeignCluster(hello.cluster));
        }
        Ok(hello)
    }

    fn proof_of(&self, sender: Role, sender_meta: &[u8], receiver_meta: &[u8]) -> HMAC {
        let mut mac = HMAC::new(&self.key);
        mac.update(match self.purpose {
            Purpose::Peers => &b"pushup link 1"[..],
            Purpose::Work => b"pushup work 1",
            Purpose::Orders => b"pushup order 1",
        });
        mac.update([sender.byte()]);
        mac.update(sender_meta);
        mac.update(receiver_meta);
        mac
    }
}

/// Shows no key.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::AwaitingHello => "AwaitingHello",
            State::AwaitingProof { .. } => "AwaitingProof",
            State::Over => "Over",
        };
        f.debug_struct("Handshake").field("role", &self.role).field("state", &state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
