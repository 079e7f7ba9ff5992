//! A message: what a publisher published, once, whatever the number of its channels.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ids::{ChannelName, MessageId};
use crate::time::{Tick, Timestamp};

/// The channels of one message, each once; nearly always one.
pub type ChannelNames = SmallVec<[ChannelName; 1]>;

/// A message's body, checked to be what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// One JSON value, embedded in an answer as it is.
    Json(Arc<str>),
    /// Text that a JSON string holds as it is, as most text does; see [`Body::text`].
    Plain(Arc<str>),
    /// Text of which something must be escaped.
    Text(Arc<str>),
    /// Anything else: in base64, with `"encoding":"base64"`.
    Binary(Arc<[u8]>),
}

impl Body {
    /// A text. Whether it needs escaping is found out here, once, and not for each answer.
    pub fn text(text: Arc<str>) -> Body {
        // Folds instead of stopping early: sixteen bytes are looked at together.
        let plain = text.bytes().fold(true, |plain, byte| plain & !is_escaped(byte));
        if plain { Body::Plain(text) } else { Body::Text(text) }
    }

    /// What was published.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Body::Json(text) | Body::Plain(text) | Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
        }
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes inside an answer, in bytes: an upper bound.
    pub fn embedded_bytes(&self) -> usize {
        let len = self.len();
        match self {
            Body::Json(_) => len,
            Body::Plain(_) => len + 2,
            Body::Text(text) => len + 5 * text.bytes().filter(|byte| is_escaped(*byte)).count() + 2,
            Body::Binary(_) => len.div_ceil(3) * 4 + 2,
        }
    }
}

/// Whether a JSON string must escape a byte (RFC 8259 §7).
fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// What a publisher hands in: a message before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The channels, each once; at least one.
    pub channels: ChannelNames,
    /// The media type as the publisher gave it.
    pub media_type: Cow<'static, str>,
    /// The body.
    pub body: Body,
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
    /// The body.
    pub body: Body,
}

/// What a cached message costs beside its body: the struct, reference counts, its
/// places in a strand and in the order of eviction, and the allocator's share.
const OVERHEAD_BYTES: usize = size_of::<Message>() + 112;

impl Message {
    /// What it costs to cache, in bytes.
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.body.len() + self.media_type.len()
    }
}

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

impl Body {
    /// How it is shown.
    pub fn form(&self) -> Form {
        match self {
            Body::Json(_) => Form::Json,
            Body::Plain(_) | Body::Text(_) => Form::Text,
            Body::Binary(_) => Form::Binary,
        }
    }
}

#[cfg(test)]
impl Body {
    /// The body of that form.
    pub fn of(form: Form, bytes: &[u8]) -> Body {
        let text = || Arc::from(std::str::from_utf8(bytes).expect("it is text"));
        match form {
            Form::Json => Body::Json(text()),
            Form::Text => Body::text(text()),
            Form::Binary => Body::Binary(bytes.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_escaped_is_found_wherever_it_stands() {
        for byte in 0..128_u8 {
            let escaped = serde_json::to_string(&char::from(byte)).unwrap().len() > 3;
            for at in [0, 15, 16, 17, 40] {
                let text = format!("{:at$}{}{:20}", "", char::from(byte), "");
                let body = Body::text(text.clone().into());
                let wanted = if escaped { Body::Text(text.into()) } else { Body::Plain(text.into()) };
                assert_eq!(body, wanted);
            }
        }
    }

    #[test]
    fn no_body_takes_more_than_is_reckoned() {
        for (form, body) in [
            (Form::Text, &b"plain"[..]),
            (Form::Text, b"\"\\\n\x01\x7f"),
            (Form::Text, "\u{e9}\u{1f600}".as_bytes()),
            (Form::Json, b"[1, 2]"),
            (Form::Binary, b"\xff\xfe\x00\x01"),
        ] {
            let body = Body::of(form, body);
            let shown = match &body {
                Body::Json(text) => text.len(),
                Body::Plain(text) | Body::Text(text) => serde_json::to_string(&**text).unwrap().len(),
                Body::Binary(bytes) => bytes.len().div_ceil(3) * 4 + 2,
            };
            assert!(shown <= body.embedded_bytes(), "{body:?}");
        }
    }
}
