//! What a poll gets: one JSON object, the same shape whether there is something or not.
//!
//! `{"cursor":"…","messages":[…]}`, and where they apply `"gap":true`, `"reset":true`,
//! `"closed":["…"]`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::channel::history::{Carried, Reading};
use crate::channel::message::{Body, Message};
use crate::cursor::{ClusterTag, Cursor, VersionVector};
use crate::ids::MessageId;
use crate::wire::http::response::push_decimal;

/// What an answer says beside its messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notices<'a> {
    /// Some messages are gone.
    pub gap: bool,
    /// The cursor was another cluster's or another life's.
    pub reset: bool,
    /// These channels were closed.
    pub closed: &'a [&'a str],
}

/// Writes an answer. `names` are the subscription's channels in the order in which they
/// were read: bit `i` of a message's carriers is `names[i]`.
pub fn write(tag: ClusterTag, reading: &Reading, names: &[&str], notices: Notices, out: &mut Vec<u8>) {
    write_opening(tag, &reading.examined, out);
    for (at, carried) in reading.messages.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_message(carried, names, out);
    }
    out.push(b']');
    if notices.gap {
        out.extend_from_slice(b",\"gap\":true");
    }
    if notices.reset {
        out.extend_from_slice(b",\"reset\":true");
    }
    if !notices.closed.is_empty() {
        out.extend_from_slice(b",\"closed\":");
        write_names(notices.closed.iter().copied(), out);
    }
    // The line end is for people at terminals; to JSON it is white space.
    out.extend_from_slice(b"}\n");
}

fn write_opening(tag: ClusterTag, examined: &VersionVector, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"cursor\":\"");
    Cursor::write(tag, examined, out);
    out.extend_from_slice(b"\",\"messages\":[");
}

fn write_message(carried: &Carried, names: &[&str], out: &mut Vec<u8>) {
    let message = &*carried.message;
    let carriers =
        names.iter().enumerate().filter(|(at, _)| carried.carriers >> at & 1 == 1).map(|(_, name)| *name);
    out.extend_from_slice(b"{\"id\":\"");
    write_id(message.id, out);
    out.extend_from_slice(b"\",\"time\":");
    push_decimal(out, message.time.0);
    out.extend_from_slice(b",\"channels\":");
    write_names(carriers, out);
    out.extend_from_slice(b",\"type\":");
    write_string(&message.media_type, out);
    write_data(message, out);
    out.push(b'}');
}

fn write_data(message: &Message, out: &mut Vec<u8>) {
    match &message.body {
        Body::Json(text) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(text.as_bytes());
        }
        Body::Plain(text) => {
            out.extend_from_slice(b",\"data\":\"");
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Body::Text(text) => {
            out.extend_from_slice(b",\"data\":");
            write_string(text, out);
        }
        Body::Binary(bytes) => {
            out.extend_from_slice(b",\"encoding\":\"base64\",\"data\":\"");
            write_base64(bytes, out);
            out.push(b'"');
        }
    }
}

/// A message's id: sixteen hexadecimal digits, a dash, a number.
pub fn write_id(id: MessageId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.origin.digits());
    out.push(b'-');
    push_decimal(out, id.seq);
}

/// Channel names need no escaping: the set of their bytes has none that JSON minds.
fn write_names<'a>(names: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, name) in names.enumerate() {
        out.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_base64(body: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + body.len().div_ceil(3) * 4, 0);
    let written = out.get_mut(start..).and_then(|room| STANDARD.encode_slice(body, room).ok());
    out.truncate(start + written.unwrap_or(0));
}

#[cfg(test)]
mod tests;
