//! Messages as publishers send them, one for each way in which an answer shows a body.

use std::sync::Arc;

use pushup::channel::message::{Body, Message, Publication};
use pushup::ids::{ChannelName, MessageId, Origin};
use pushup::time::{Tick, Timestamp};

/// The node whose messages these are.
pub const ORIGIN: Origin = Origin(0xfeed_beef_dead_cafe);
/// The channel that they are published to.
pub const CHANNEL: &str = "news";
/// Sixty-four bytes.
pub const CHAT_LINE: &str = "sixty-four bytes of a message, which is what a chat line is like";

/// Which body a message has.
#[derive(Clone, Copy, Debug)]
pub enum Sample {
    /// A chat line.
    Chat,
    /// 256 bytes of text that JSON takes as they are.
    Text,
    /// 256 bytes of text with a quote or a line end in every sixteen.
    Escapes,
    /// 256 bytes of JSON.
    Json,
    /// 256 bytes of anything.
    Binary,
}

impl Sample {
    /// The body, and its type.
    fn body(self) -> (Body, &'static str) {
        let repeated = |text: &str| Body::text(text.chars().cycle().take(256).collect::<String>().into());
        match self {
            Sample::Chat => (Body::text(CHAT_LINE.into()), "text/plain"),
            Sample::Text => (repeated("what anyone may say "), "text/plain"),
            Sample::Escapes => (repeated("he said \"yes\" so\nthen all was done"), "text/plain"),
            Sample::Json => (Body::Json(json_of_256_bytes().into()), "application/json"),
            Sample::Binary => (Body::Binary((0..=255).collect()), "application/octet-stream"),
        }
    }
}

fn json_of_256_bytes() -> String {
    let rows = r#"{"team":"home","score":[1,0],"minute":17},"#.repeat(5);
    let rest = 256 - rows.len() - r#"[""]"#.len();
    format!(r#"[{rows}"{}"]"#, "x".repeat(rest))
}

/// The `seq`-th message, a millisecond after the one before; it expires long after the bench.
pub fn message(seq: u64, sample: Sample) -> Arc<Message> {
    let (body, media_type) = sample.body();
    Arc::new(Message {
        id: MessageId { origin: ORIGIN, seq },
        time: Timestamp(1_795_361_093_123 + seq),
        expires: Tick(u64::MAX / 2),
        channels: [CHANNEL.parse().expect("it is a name")].into_iter().collect(),
        media_type: media_type.into(),
        body,
    })
}

/// A chat line that is published.
pub fn publication(name: &ChannelName) -> Publication {
    let (body, media_type) = Sample::Chat.body();
    Publication {
        channels: [name.clone()].into_iter().collect(),
        media_type: media_type.into(),
        body,
        ttl_ms: None,
        idempotency_key: None,
    }
}

/// What becomes of it.
pub fn published(publication: Publication, seq: u64) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId { origin: ORIGIN, seq },
        time: Timestamp(1_795_361_093_123 + seq),
        expires: Tick(u64::MAX / 2),
        channels: publication.channels,
        media_type: publication.media_type,
        body: publication.body,
    })
}
