//! A message: what a publisher published, once, whatever the number of its channels.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::ids::{ChannelName, MessageId};
use crate::time::{Tick, Timestamp};

/// The channels of one message, each once; nearly always one.
pub type ChannelNames = SmallVec<[ChannelName; 1]>;

/// How a message's body is shown inside a JSON answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The body is one JSON value and is embedded as it is.
    Json,
    /// The body is UTF-8 text and becomes a JSON string.
    Text,
    /// Anything else, in base64 with `"encoding":"base64"`.
    Binary,
}

/// What a publisher hands in: a message before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The channels, each once; at least one.
    pub channels: ChannelNames,
    /// The media type as the publisher gave it.
    pub media_type: Cow<'static, str>,
    /// How the body is shown; it was checked to be that.
    pub form: Form,
    /// The body.
    pub body: Box<[u8]>,
    /// How long it is cached, in milliseconds; `None` for the node's default.
    pub ttl_ms: Option<u64>,
    /// What makes a second sending of it recognisable.
    pub idempotency_key: Option<Box<str>>,
}

impl Publication {
    /// What it will cost to cache, in bytes: once for each of its channels.
    pub fn bytes(&self) -> usize {
        (OVERHEAD_BYTES + self.body.len() + self.media_type.len()) * self.channels.len()
    }
}

/// A published message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Where and as which entry it was published.
    pub id: MessageId,
    /// When; rises with `id.seq` within an origin.
    pub time: Timestamp,
    /// When this node forgets it.
    pub expires: Tick,
    /// The channels that it was published to.
    pub channels: ChannelNames,
    /// The media type as the publisher gave it.
    pub media_type: Cow<'static, str>,
    /// How the body is shown.
    pub form: Form,
    /// The body.
    pub body: Box<[u8]>,
}

/// What a cached message costs beside its body: the struct, reference counts, its
/// places in a strand and in the order of eviction, and the allocator's share.
const OVERHEAD_BYTES: usize = size_of::<Message>() + 112;

impl Message {
    /// What its body takes inside an answer, in bytes: an upper bound.
    pub fn embedded_bytes(&self) -> usize {
        let len = self.body.len();
        match self.form {
            Form::Json => len,
            Form::Binary => len.div_ceil(3) * 4 + 2,
            Form::Text => {
                let escaped = |byte: &&u8| **byte < b' ' || **byte == b'"' || **byte == b'\\';
                len + 5 * self.body.iter().filter(escaped).count() + 2
            }
        }
    }

    /// What it costs to cache, in bytes.
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.body.len() + self.media_type.len()
    }
}
