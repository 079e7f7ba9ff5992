//! A response's head from bytes (RFC 9112 §4), for whoever asks this server.

use std::mem::MaybeUninit;

use crate::limits::{HEAD_BYTES_MAX, HEADER_FIELDS_MAX};
use crate::wire::http::syntax;

/// What a client needs to know of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status. Interim ones (1xx) are given too; the next head follows them.
    pub status: u16,
    /// Content-Length in bytes.
    pub content_length: Option<u64>,
    /// Whether the body comes in chunks.
    pub chunked: bool,
    /// Whether the connection lives on; not so if only its end can end the body,
    /// which the caller knows from the three fields above and its request's method.
    pub keep_alive: bool,
    /// Retry-After, if it is a number of seconds (RFC 9110 §10.2.3).
    pub retry_after_s: Option<u64>,
    /// Bytes of the input that the head took, its empty line included.
    pub len: usize,
}

/// The peer's answer is no HTTP/1.x, or its body's end can't be known for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Parses the response head that `input` begins with; `None` if it isn't whole yet.
///
/// Refuses what would leave the body's end in doubt: bare LF, a length that isn't one
/// number, an encoding other than `chunked`, both at once, and heads beyond
/// [`HEAD_BYTES_MAX`].
pub fn parse_response(input: &[u8]) -> Result<Option<ResponseHead>, Malformed> {
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return Err(Malformed);
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEADER_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, input, &mut slots)
        .map_err(|_| Malformed)?;
    let httparse::Status::Complete(len) = parsed else {
        return if input.len() > HEAD_BYTES_MAX { Err(Malformed) } else { Ok(None) };
    };
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(Malformed);
    };
    if syntax::has_bare_lf(input.get(..len).unwrap_or_default(), response.headers) || status < 100 {
        return Err(Malformed);
    }
    let mut head = ResponseHead {
        status,
        content_length: None,
        chunked: false,
        keep_alive: version == 1,
        retry_after_s: None,
        len,
    };
    take_fields(&mut head, response.headers)?;
    Ok(Some(head))
}

fn take_fields(head: &mut ResponseHead, fields: &[httparse::Header<'_>]) -> Result<(), Malformed> {
    let mut closes = false;
    for field in fields {
        let is = |known: &str| field.name.eq_ignore_ascii_case(known);
        if is("content-length") {
            let length = syntax::decimal(field.value).ok_or(Malformed)?;
            if head.content_length.replace(length).is_some() {
                return Err(Malformed);
            }
        } else if is("transfer-encoding") {
            if head.chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed);
            }
            head.chunked = true;
        } else if is("connection") {
            for option in syntax::elements(field.value) {
                closes |= option.eq_ignore_ascii_case(b"close");
                head.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("retry-after") {
            head.retry_after_s = syntax::decimal(field.value);
        }
    }
    head.keep_alive &= !closes;
    if head.chunked && head.content_length.is_some() {
        return Err(Malformed);
    }
    Ok(())
}
