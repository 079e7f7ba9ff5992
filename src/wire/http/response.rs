//! A response's head (RFC 9112 §4): written by the server, parsed by the terminal's
//! client and the load tools. Knows no routes and no sockets.
//!
//! Invariant: nothing that is written here can end a field early. A value with a
//! control character is left out rather than let it split the response.

mod parse;

use crate::error::{Refusal, reason_phrase};
use crate::wire::http::syntax;

pub use parse::{Malformed, ResponseHead, parse_response};

/// The interim answer that lets a client send its body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The media type of a refusal's body (RFC 9457 §3).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What every answer says: it is for this request only, and is what it claims to be.
const ALWAYS: &[u8] = b"\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

/// What becomes of the connection (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// HTTP/1.1 keeps it unless told otherwise: no field.
    KeepAlive,
    /// HTTP/1.0 needs to be told.
    KeepAliveHttp10,
    /// Closed after this answer.
    Close,
}

/// What a browser needs so as to show a page the answer (WHATWG Fetch, CORS protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cors<'a> {
    /// The one origin that may read it, or `*`, or nobody who asks from a page. But for `*`
    /// the answer says that it varies by origin, so that no cache gives it to another.
    pub allow_origin: Option<&'a str>,
}

/// A response's head, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The status, of three digits.
    pub status: u16,
    /// Content-Type, for an answer with a body.
    pub content_type: Option<&'static str>,
    /// Content-Length in bytes; `None` for 204, which has no such field (RFC 9110 §8.6).
    pub content_length: Option<usize>,
    /// Date, as [`http_date`](super::date::http_date) gives it.
    pub date: &'a [u8; 29],
    /// What becomes of the connection.
    pub connection: Connection,
    /// For a request with an Origin that is allowed.
    pub cors: Option<Cors<'a>>,
    /// More fields, in this order: name and value.
    pub extra: &'a [(&'static str, &'a str)],
}

impl Head<'_> {
    /// Appends the head, its empty line included. Copies only: this stands on the path
    /// of every answer, where formatting would cost more than all the rest.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, self.status);
        out.push(b' ');
        out.extend_from_slice(reason_phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(self.date);
        if let Some(content_type) = self.content_type {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(content_type.as_bytes());
        }
        if let Some(length) = self.content_length {
            out.extend_from_slice(b"\r\nContent-Length: ");
            push_decimal(out, length);
        }
        out.extend_from_slice(ALWAYS);
        if let Some(cors) = self.cors {
            cors.write(out);
        }
        for (name, value) in self.extra {
            push_field(out, name, value);
        }
        out.extend_from_slice(self.connection.field());
        out.extend_from_slice(b"\r\n");
    }
}

impl Connection {
    fn field(self) -> &'static [u8] {
        match self {
            Connection::KeepAlive => b"",
            Connection::KeepAliveHttp10 => b"Connection: keep-alive\r\n",
            Connection::Close => b"Connection: close\r\n",
        }
    }
}

impl Cors<'_> {
    fn write(self, out: &mut Vec<u8>) {
        if let Some(origin) = self.allow_origin {
            push_field(out, "Access-Control-Allow-Origin", origin);
        }
        if self.allow_origin != Some("*") {
            out.extend_from_slice(b"Vary: Origin\r\n");
        }
    }
}

/// Appends the body of a refusal (RFC 9457): `type`, `title`, `status` and `detail`,
/// where `specific` says more about this occurrence than the refusal's own sentence.
pub fn write_problem_body(refusal: Refusal, specific: Option<&str>, out: &mut Vec<u8>) {
    let detail = specific.unwrap_or(refusal.detail());
    out.extend_from_slice(br#"{"type":"about:blank","title":""#);
    out.extend_from_slice(refusal.title().as_bytes());
    out.extend_from_slice(br#"","status":"#);
    push_decimal(out, refusal.status());
    out.extend_from_slice(br#","detail":"#);
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, detail);
    out.push(b'}');
}

/// Appends a number in decimal.
pub fn push_decimal(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    if !value.bytes().all(syntax::is_value_byte) {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
