//! A link between two processes of a cluster that are no peers, whichever end this is: bytes to frames, once both sides
//! have proved that they belong together and mean the same by it.
//!
//! A front-end and a back-end have one, and a controller and an agent.

use std::net::SocketAddr;
use std::sync::Arc;

use super::handshake::{Handshake, HandshakeError, Progress, Purpose, Role};
use super::message::{Bye, Hello, VERSION};
use super::{Frame, FrameError, decode};
use crate::ids::{NodeId, Origin};
use crate::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_MS, TASK_FRAME_BYTES_MAX};
use crate::random::Random;
use crate::time::Tick;

/// Who one end of a link is.
#[derive(Clone)]
pub struct Identity {
    /// Its name.
    pub node: NodeId,
    /// Its incarnation.
    pub origin: Origin,
    /// Its cluster's name.
    pub cluster_name: String,
    /// What proves that it belongs there; empty for none.
    pub key: Arc<[u8]>,
}

impl Identity {
    /// A link that begins; `random` is for a nonce.
    pub fn link(&self, purpose: Purpose, role: Role, random: &mut Random, now: Tick) -> Link {
        let mut nonce = [0; 16];
        let (first, second) = nonce.split_at_mut(8);
        first.copy_from_slice(&random.next_u64().to_be_bytes());
        second.copy_from_slice(&random.next_u64().to_be_bytes());
        let own = Hello {
            version: VERSION,
            cluster: self.cluster_name.clone(),
            node: self.node.clone(),
            origin: self.origin,
            // Nobody calls back.
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            nonce,
            features: Vec::new(),
        };
        let mut out = Vec::new();
        let handshake = Handshake::new(purpose, role, own, self.key.clone(), &mut out);
        let phase = Phase::Shaking(Box::new(handshake));
        Link { phase, until: now.plus_ms(HANDSHAKE_MS), heard: now, inbox: Vec::new(), out, sent: 0 }
    }
}

/// Shows no key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} of {})", self.node, self.cluster_name)
    }
}

/// What a link is doing.
#[derive(Debug)]
enum Phase {
    /// Both sides say who they are.
    Shaking(Box<Handshake>),
    /// Both sides proved to belong.
    Up(NodeId),
    /// What is left is sent, then the connection is closed.
    Ending,
}

/// One end of a link.
#[derive(Debug)]
pub struct Link {
    phase: Phase,
    /// When a phase that must not last is over.
    pub until: Tick,
    /// When something last came.
    pub heard: Tick,
    inbox: Vec<u8>,
    /// What is being sent.
    pub out: Vec<u8>,
    sent: usize,
}

/// What the next bytes are.
pub enum Came<'a> {
    /// A frame of the other side's.
    Frame(Frame<'a>),
    /// The other side is this one, and belongs here.
    Up(NodeId),
}

impl Link {
    /// Who is at the other end, once that is proved.
    pub fn peer(&self) -> Option<&NodeId> {
        match &self.phase {
            Phase::Up(node) => Some(node),
            Phase::Shaking(_) | Phase::Ending => None,
        }
    }

    /// Whether it only waits for its last bytes to go.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending)
    }

    /// Bytes that came, together with what was there of a frame. Give back what is not used by [`Link::keep`].
    pub fn begin_input(&mut self, input: &[u8], now: Tick) -> Vec<u8> {
        self.heard = now;
        let mut bytes = std::mem::take(&mut self.inbox);
        bytes.extend_from_slice(input);
        bytes
    }

    /// What is at the beginning of `bytes`, and how long it is; `None` while it is not whole.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Option<Came<'a>>, usize)>, String> {
        let bytes_max = match self.phase {
            Phase::Up(_) => TASK_FRAME_BYTES_MAX,
            Phase::Shaking(_) => HANDSHAKE_BYTES_MAX,
            Phase::Ending => {
                return Ok(Some((None, bytes.len()))).map(|all| all.filter(|_| !bytes.is_empty()));
            }
        };
        let Some((frame, len)) = decode(bytes, bytes_max).map_err(|error: FrameError| error.to_string())?
        else {
            return Ok(None);
        };
        let Phase::Shaking(handshake) = &mut self.phase else {
            return Ok(Some((Some(Came::Frame(frame)), len)));
        };
        match handshake.handle(&frame, &mut self.out).map_err(|error: HandshakeError| error.to_string())? {
            Progress::Going => Ok(Some((None, len))),
            Progress::Established(hello) => {
                self.phase = Phase::Up(hello.node.clone());
                Ok(Some((Some(Came::Up(hello.node)), len)))
            }
        }
    }

    /// Keeps the bytes of a frame that is not whole.
    pub fn keep(&mut self, mut bytes: Vec<u8>, used: usize) {
        if !self.is_ending() {
            bytes.drain(..used.min(bytes.len()));
            bytes.shrink_to(bytes.len().max(1024) * 2);
            self.inbox = bytes;
        }
    }

    /// Ends it with a reason that the other side is told.
    pub fn end(&mut self, reason: &str, until: Tick) {
        Bye { reason: reason.to_owned() }.write(&mut self.out);
        self.phase = Phase::Ending;
        self.until = until;
        self.inbox = Vec::new();
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// So much of it went.
    pub fn handle_sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent >= self.out.len() {
            self.out.clear();
            self.sent = 0;
            self.out.shrink_to(TASK_FRAME_BYTES_MAX);
        }
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.inbox.capacity() + self.out.capacity()
    }
}
