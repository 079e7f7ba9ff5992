//! The header fields (RFC 9110 §5, RFC 9112 §6): one at a time into a head.
//!
//! A field is refused as soon as it is seen; only what needs all fields, a missing
//! Host and a length beside an encoding, waits for [`Fields::finish`].

use super::line::{RequestLine, is_host};
use super::{Framing, RequestHead, Version};
use crate::error::Refusal;
use crate::wire::http::syntax;

/// A head that fills up field by field.
pub(super) struct Fields<'a> {
    head: RequestHead<'a>,
    authority: Option<&'a str>,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    encoding: Encoding,
    persistence: Persistence,
}

/// What Transfer-Encoding has said so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    None,
    /// Nothing may come after it.
    Chunked,
}

/// What Connection has said so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Persistence {
    /// The version decides.
    Unsaid,
    KeepAlive,
    /// Final: `close` wins, wherever it stands (RFC 9112 §9.3).
    Close,
}

impl<'a> Fields<'a> {
    /// The head that a request line begins.
    pub(super) fn new(line: RequestLine<'a>) -> Self {
        Fields {
            head: RequestHead {
                raw: &[],
                method: line.method,
                version: line.version,
                path: line.path,
                query: line.query,
                keep_alive: false,
                framing: Framing::None,
                expect_continue: false,
                origin: None,
                prefer: None,
                authorization: None,
                content_type: None,
                content_encoding: None,
                idempotency_key: None,
                ttl: None,
                ack: None,
                accept_encoding: None,
                accept: None,
                preflight_method: None,
            },
            authority: line.authority,
            host: None,
            length: None,
            encoding: Encoding::None,
            persistence: Persistence::Unsaid,
        }
    }

    /// Takes one field. `name` is a token, `value` is trimmed. The name's length tells
    /// nearly all names apart, so that at most four comparisons are made.
    pub(super) fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        let head = &mut self.head;
        let is = |known: &[u8]| is_name(name, known);
        match name.len() {
            3 if is(b"ttl") => keep_first(&mut head.ttl, value),
            3 if is(b"ack") => keep_first(&mut head.ack, value),
            4 if is(b"host") => return self.take_host(value),
            6 if is(b"accept") => keep_first(&mut head.accept, value),
            6 if is(b"origin") => keep_first(&mut head.origin, value),
            6 if is(b"prefer") => keep_first(&mut head.prefer, value),
            6 if is(b"expect") => return self.take_expect(value),
            10 if is(b"connection") => self.take_connection(value),
            12 if is(b"content-type") => keep_first(&mut head.content_type, value),
            13 if is(b"authorization") => keep_first(&mut head.authorization, value),
            14 if is(b"content-length") => return self.take_length(value),
            15 if is(b"accept-encoding") => keep_first(&mut head.accept_encoding, value),
            15 if is(b"idempotency-key") => keep_first(&mut head.idempotency_key, value),
            16 if is(b"content-encoding") => keep_first(&mut head.content_encoding, value),
            17 if is(b"transfer-encoding") => return self.take_encoding(value),
            29 if is(b"access-control-request-method") => {
                keep_first(&mut head.preflight_method, value);
            }
            _ => {}
        }
        Ok(())
    }

    /// The whole head, once its last line has come.
    pub(super) fn finish(mut self) -> Result<RequestHead<'a>, Refusal> {
        self.head.framing = match (self.length, self.encoding) {
            (Some(_), Encoding::Chunked) => return Err(Refusal::LengthAndEncoding),
            (Some(length), Encoding::None) => Framing::Length(length),
            (None, Encoding::Chunked) => Framing::Chunked,
            (None, Encoding::None) => Framing::None,
        };
        if self.host.is_none() && self.head.version == Version::Http11 {
            return Err(Refusal::HostMissing);
        }
        self.head.keep_alive = match self.persistence {
            Persistence::Unsaid => self.head.version == Version::Http11,
            Persistence::KeepAlive => true,
            Persistence::Close => false,
        };
        Ok(self.head)
    }

    /// Host (RFC 9112 §3.2): once and well-formed. It may be empty where it doesn't
    /// matter: in HTTP/1.0, and beside a target that brings its own.
    fn take_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        let may_be_empty = self.authority.is_some() || self.head.version == Version::Http10;
        if self.host.is_some() || !is_host(value) || (value.is_empty() && !may_be_empty) {
            return Err(Refusal::HostInvalid);
        }
        self.host = Some(value);
        Ok(())
    }

    /// Expect (RFC 9110 §10.1.1), which HTTP/1.0 doesn't have.
    fn take_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.head.version == Version::Http10 {
            return Ok(());
        }
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::ExpectationUnknown);
        }
        self.head.expect_continue = true;
        Ok(())
    }

    /// Connection (RFC 9110 §7.6.1); options other than these two mean nothing here.
    fn take_connection(&mut self, value: &[u8]) {
        for option in syntax::elements(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.persistence = Persistence::Close;
            } else if option.eq_ignore_ascii_case(b"keep-alive") && self.persistence == Persistence::Unsaid {
                self.persistence = Persistence::KeepAlive;
            }
        }
    }

    /// Content-Length (RFC 9112 §6.2): one plain number, once. Even a second, equal
    /// one is refused, since who combined them may have seen another message.
    fn take_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::LengthInvalid);
        }
        self.length = Some(syntax::decimal(value).ok_or(Refusal::LengthInvalid)?);
        Ok(())
    }

    /// Transfer-Encoding (RFC 9112 §6.1): all fields together say `chunked`, once.
    fn take_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for coding in syntax::elements(value) {
            if self.head.version == Version::Http10 || self.encoding == Encoding::Chunked {
                return Err(Refusal::EncodingInvalid);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.encoding = Encoding::Chunked;
            } else if syntax::is_token(coding) {
                return Err(Refusal::EncodingUnknown);
            } else {
                return Err(Refusal::EncodingInvalid);
            }
        }
        Ok(())
    }
}

/// Whether a name of the same length is `known`, which is written in lower case. Both are
/// tokens: setting the bit in which cases differ makes no two other bytes of theirs equal.
fn is_name(name: &[u8], known: &[u8]) -> bool {
    name.iter().zip(known).fold(0, |differ, (byte, known)| differ | ((byte | 0x20) ^ known)) == 0
}

fn keep_first<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8]) {
    slot.get_or_insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the fast comparison the standard library's, for every token byte at every place.
    #[test]
    fn names_are_compared_as_the_standard_library_does() {
        for known in [&b"host"[..], b"ttl", b"content-type", b"access-control-request-method"] {
            for at in 0..known.len() {
                for byte in (0..=255).filter(|byte| syntax::is_token_byte(*byte)) {
                    let mut name = known.to_ascii_uppercase();
                    name[at] = byte;
                    assert_eq!(
                        is_name(&name, known),
                        name.eq_ignore_ascii_case(known),
                        "{}",
                        name.escape_ascii()
                    );
                }
            }
        }
    }
}
