//! An entry of a node's log: one thing that it did, which every other node does too, in the
//! order of that log.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::message::Body;
use crate::ids::{ChannelName, MessageId};
use crate::time::Timestamp;

/// Which life of a channel's name: 1 the first that is remembered, and one more after each close.
pub type Generation = u32;

/// One thing that a node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose log, and which number there.
    pub id: MessageId,
    /// When, by a hybrid logical clock; rises (not strictly) with `id.seq` within an origin.
    pub time: Timestamp,
    /// What.
    pub deed: Deed,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A message was published.
    Publish(Published),
    /// A channel was created, or made a created one (paper §3.3).
    Create {
        /// Which channel.
        name: ChannelName,
        /// Which life of it.
        generation: Generation,
        /// How long it may be inactive, in milliseconds.
        ttl_ms: u64,
    },
    /// A channel's expiry was moved away (paper §3.3).
    Renew {
        /// Which channel.
        name: ChannelName,
        /// Which life of it.
        generation: Generation,
        /// How long it may be inactive, in milliseconds.
        ttl_ms: u64,
    },
    /// A publisher closed a channel (paper §3.3).
    Close {
        /// Which channel.
        name: ChannelName,
        /// Which life of it.
        generation: Generation,
    },
    /// A created channel was closed because it was inactive; void wherever something is known
    /// to have happened to it since.
    Expire {
        /// Which channel.
        name: ChannelName,
        /// Which life of it.
        generation: Generation,
        /// The time of the last entry that touched it, as far as the proposer knew.
        touched: Timestamp,
    },
    /// Nothing that concerns a channel: an entry that only marks a moment of the log, so that cursors from
    /// before can be told from later ones.
    Mark,
}

/// A published message, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its channels and the life of each that was meant; at least one.
    pub channels: SmallVec<[(ChannelName, Generation); 1]>,
    /// The media type as the publisher gave it.
    pub media_type: Cow<'static, str>,
    /// The body.
    pub body: Body,
    /// How long it is cached from now on, in milliseconds.
    pub ttl_ms: u64,
    /// What makes a second sending of it recognisable.
    pub idempotency_key: Option<Box<str>>,
}
