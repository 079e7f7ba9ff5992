//! What the bodies of answers say: a poll's messages, a publication's id, a problem's
//! detail. JSON is kept as the server wrote it, so that no number loses a digit.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::http::Answer;
use super::one_line;
use crate::error::reason_phrase;

/// An object whose members are not looked into yet.
type Members = HashMap<String, Box<RawValue>>;

/// A poll's answer.
#[derive(Debug, Default)]
pub(super) struct Poll {
    /// Where to go on.
    pub cursor: String,
    /// The messages, by time.
    pub messages: Vec<Message>,
    /// Messages before these have expired unread.
    pub gap: bool,
    /// The cursor was not this cluster's; reading started anew.
    pub reset: bool,
    /// Channels that were closed.
    pub closed: Vec<String>,
}

/// A message: its own JSON, and its members.
#[derive(Debug)]
pub(super) struct Message {
    raw: Box<RawValue>,
    members: Members,
}

impl Poll {
    /// Reads a body; `None` if it is not a poll's answer.
    pub fn parse(body: &[u8]) -> Option<Poll> {
        let members: Members = serde_json::from_slice(body).ok()?;
        let raw: Vec<Box<RawValue>> = serde_json::from_str(members.get("messages")?.get()).ok()?;
        let messages: Option<Vec<Message>> = raw.into_iter().map(Message::parse).collect();
        Some(Poll {
            cursor: string(&members, "cursor")?,
            messages: messages?,
            gap: is_true(&members, "gap"),
            reset: is_true(&members, "reset"),
            closed: strings(&members, "closed"),
        })
    }
}

impl Message {
    fn parse(raw: Box<RawValue>) -> Option<Message> {
        let members: Members = serde_json::from_str(raw.get()).ok()?;
        members.contains_key("data").then_some(Message { raw, members })
    }

    /// The whole message as one line of JSON.
    pub fn to_json_line(&self) -> String {
        compact(self.raw.get())
    }

    /// The data alone: text as it is, JSON on one line, anything else as base64.
    pub fn data(&self) -> String {
        let raw = self.members.get("data").map_or("null", |data| data.get());
        let is_json = string(&self.members, "type").is_some_and(|kind| is_json_type(&kind));
        match serde_json::from_str::<String>(raw) {
            Ok(text) if !is_json || self.members.contains_key("encoding") => text,
            _ => compact(raw),
        }
    }

    /// The channels of the subscription that carried it.
    pub fn channels(&self) -> Vec<String> {
        strings(&self.members, "channels")
    }
}

/// A publication's id.
pub(super) fn publication_id(body: &[u8]) -> Option<String> {
    let members: Members = serde_json::from_slice(body).ok()?;
    string(&members, "id").map(|id| one_line(&id))
}

/// What went wrong, in the words of the server's problem+json (RFC 9457) if it sent one.
pub(super) fn problem(answer: &Answer) -> String {
    let members: Members = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = string(&members, "detail").or_else(|| string(&members, "title"));
    let status = answer.status;
    match detail {
        Some(detail) => format!("{} (HTTP {status})", one_line(&detail)),
        None => format!("HTTP {status} {}", reason_phrase(status)),
    }
}

/// Whether a media type is JSON's, whatever its parameters.
fn is_json_type(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn string(members: &Members, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

fn strings(members: &Members, name: &str) -> Vec<String> {
    members.get(name).and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
}

fn is_true(members: &Members, name: &str) -> bool {
    members.get(name).is_some_and(|value| value.get() == "true")
}

/// Valid JSON without the space between its tokens, so that it is one line.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        } else {
            in_string = c == '"';
        }
        text.push(c);
    }
    text
}
