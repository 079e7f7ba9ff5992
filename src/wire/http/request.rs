//! A request's head (RFC 9112 §2–§3): bytes to a [`RequestHead`] or a [`Refusal`].
//!
//! Owns which heads are taken. Knows neither routes nor what a field's value means
//! to them. Invariant: only whole lines are judged and the first line at fault
//! decides, so a head that arrives in pieces is judged as if it had come at once.
//!
//! A good head takes the fast way through `httparse`. That way can only say yes: what
//! it doesn't take, be it bad or not yet complete, is judged anew line by line, by
//! code whose rules are slow but plain.

mod fields;
mod line;
mod lines;

use std::mem::MaybeUninit;

use crate::error::Refusal;
use crate::limits::{
    HEAD_BYTES_MAX, HEADER_BYTES_MAX, HEADER_FIELDS_MAX, LEADING_EMPTY_LINES_MAX, REQUEST_LINE_BYTES_MAX,
};
use crate::wire::http::syntax;
use fields::Fields;
use line::RequestLine;

/// The methods that are told apart (RFC 9110 §9.3); CONNECT is for proxies and unknown here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the method of that name.
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Trace,
}

impl Method {
    /// The method as it stands in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Trace => "TRACE",
        }
    }

    /// The method of that name; methods are case-sensitive (RFC 9110 §9.1).
    fn from_token(token: &[u8]) -> Option<Method> {
        match token {
            b"GET" => Some(Method::Get),
            b"HEAD" => Some(Method::Head),
            b"POST" => Some(Method::Post),
            b"PUT" => Some(Method::Put),
            b"DELETE" => Some(Method::Delete),
            b"OPTIONS" => Some(Method::Options),
            b"PATCH" => Some(Method::Patch),
            b"TRACE" => Some(Method::Trace),
            _ => None,
        }
    }
}

/// The two versions that this server speaks (RFC 9112 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunks, no 100 Continue, closes unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the body's end is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    None,
    /// As many bytes as Content-Length says.
    Length(u64),
    /// Chunks, up to one of size 0 and the trailers.
    Chunked,
}

/// A request's head, all of it borrowed from the input.
///
/// Field values come without the white space around them; of a field that is given
/// more than once, the first value. They may hold any byte but control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// The head as it came, with what it ends with.
    pub raw: &'a [u8],
    /// The method.
    pub method: Method,
    /// The version, which an answer has to respect.
    pub version: Version,
    /// The target's path: raw, percent-encoded, without the query. Begins with `/`,
    /// or is `*` for OPTIONS. Visible ASCII without `#`.
    pub path: &'a str,
    /// The target's query: raw, what follows the first `?`.
    pub query: Option<&'a str>,
    /// Whether the client wants the connection to live on (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
    pub expect_continue: bool,
    /// Origin (RFC 6454 §7).
    pub origin: Option<&'a [u8]>,
    /// Prefer (RFC 7240 §2).
    pub prefer: Option<&'a [u8]>,
    /// Authorization (RFC 9110 §11.6.2).
    pub authorization: Option<&'a [u8]>,
    /// Content-Type (RFC 9110 §8.3).
    pub content_type: Option<&'a [u8]>,
    /// Content-Encoding (RFC 9110 §8.4).
    pub content_encoding: Option<&'a [u8]>,
    /// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).
    pub idempotency_key: Option<&'a [u8]>,
    /// TTL (RFC 8030 §5.2).
    pub ttl: Option<&'a [u8]>,
    /// Ack, this server's own: how safe a publication must be before the answer.
    pub ack: Option<&'a [u8]>,
    /// Accept-Encoding (RFC 9110 §12.5.3); of several fields the first.
    pub accept_encoding: Option<&'a [u8]>,
    /// Accept (RFC 9110 §12.5.1).
    pub accept: Option<&'a [u8]>,
    /// Access-Control-Request-Method (WHATWG Fetch): this OPTIONS is a preflight.
    pub preflight_method: Option<&'a [u8]>,
}

/// What the input holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // It is taken apart at once; a box would cost more.
pub enum Parsed<'a> {
    /// Nothing wrong so far; call again with more bytes behind the same ones.
    Partial,
    /// A whole head.
    Complete {
        /// The head.
        head: RequestHead<'a>,
        /// Bytes of the input it took, empty lines before and the empty line after
        /// it included. The body or the next request begins there.
        len: usize,
    },
}

/// Parses the head that `input` begins with.
///
/// The caller keeps the bytes while this says [`Parsed::Partial`]; they are fewer
/// than [`HEAD_BYTES_MAX`]. A refusal is final: more bytes don't change it, and it is
/// the same however the input was split.
pub fn parse(input: &[u8]) -> Result<Parsed<'_>, Refusal> {
    let mut parsed = match parse_whole(input) {
        Some(complete) => complete,
        None => lines::parse(input)?,
    };
    if let Parsed::Complete { head, len } = &mut parsed {
        head.raw = input.get(..*len).unwrap_or_default();
    }
    Ok(parsed)
}

/// Whether [`parse`] may say more than [`Parsed::Partial`], which it said before the
/// last `new` bytes of `input` came.
///
/// Only a line's end or a bound can change its mind, and a head has few lines. Asking
/// here first keeps a peer that sends byte by byte from having its head read again
/// for each of them. A line without an end is then refused at [`HEAD_BYTES_MAX`] rather
/// than at its own bound, with the same refusal.
pub fn may_conclude(input: &[u8], new: usize) -> bool {
    let before = input.len().saturating_sub(new);
    input.len() >= HEAD_BYTES_MAX || input.get(before..).is_some_and(|new| new.contains(&b'\n'))
}

/// The fast way: a whole, good head, or `None` for all else.
fn parse_whole(input: &[u8]) -> Option<Parsed<'_>> {
    let start = leading_empty_lines(input) * 2;
    let text = input.get(start..)?;
    if matches!(text.first(), Some(b'\r' | b'\n')) {
        return None; // One empty line too many, which httparse would skip.
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(text, &mut slots).ok()?;
    let httparse::Status::Complete(len) = parsed else {
        return None;
    };
    let (method, target) = (request.method?, request.path?);
    // httparse takes single blanks only, so the line's length follows from its parts.
    let line_len = method.len() + target.len() + " HTTP/1.1".len() + 1;
    let field_bytes = len.saturating_sub(line_len + 4);
    let text = text.get(..len)?;
    if line_len > REQUEST_LINE_BYTES_MAX
        || field_bytes > HEADER_BYTES_MAX
        || syntax::has_bare_lf(text, request.headers)
    {
        return None;
    }
    let version = match request.version? {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let line = RequestLine::new(Method::from_token(method.as_bytes())?, target, version).ok()?;
    let mut fields = Fields::new(line);
    for field in request.headers.iter() {
        fields.take(field.name.as_bytes(), field.value).ok()?;
    }
    let head = fields.finish().ok()?;
    Some(Parsed::Complete { head, len: start + len })
}

/// How many empty lines stand at the beginning, as far as they are put up with (RFC 9112 §2.2).
fn leading_empty_lines(input: &[u8]) -> usize {
    input.chunks_exact(2).take(LEADING_EMPTY_LINES_MAX).take_while(|line| line == b"\r\n").count()
}

#[cfg(test)]
mod tests;
