//! The request line (RFC 9112 §3): method, target, version. Judges one whole line.

use super::{Method, Version};
use crate::error::Refusal;
use crate::wire::http::syntax;

/// A request line that is taken.
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) version: Version,
    /// The path, see [`RequestHead::path`](super::RequestHead::path).
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// The host and port of an absolute-form target; they override the Host field.
    pub(super) authority: Option<&'a str>,
}

impl<'a> RequestLine<'a> {
    /// Parses a line without its line end. The version is judged before the method,
    /// so that the preface of HTTP/2 is answered as what it is.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        if !syntax::is_token(method) || target.is_empty() {
            return Err(Refusal::Malformed);
        }
        let version = parse_version(version)?;
        let method = Method::from_token(method).ok_or(Refusal::MethodUnknown)?;
        let target = str::from_utf8(target).map_err(|_| Refusal::TargetInvalid)?;
        RequestLine::new(method, target, version)
    }

    /// Takes the target apart, in the three forms that are meant for a server which
    /// is no proxy (RFC 9112 §3.2).
    pub(super) fn new(method: Method, target: &'a str, version: Version) -> Result<Self, Refusal> {
        if !is_target_text(target.as_bytes()) {
            return Err(Refusal::TargetInvalid);
        }
        let (authority, local) = match target.as_bytes().first() {
            Some(b'/') => (None, target),
            Some(b'*') if target == "*" && method == Method::Options => (None, target),
            _ => split_absolute(target).ok_or(Refusal::TargetInvalid)?,
        };
        let (path, query) = match local.bytes().position(|byte| byte == b'?') {
            Some(at) => {
                let (path, query) = local.split_at(at);
                (path, query.get(1..))
            }
            None => (local, None),
        };
        Ok(RequestLine { method, version, path: if path.is_empty() { "/" } else { path }, query, authority })
    }
}

/// Visible ASCII without `#`: a fragment is never sent (RFC 9110 §7.1). Folds
/// instead of stopping early, which lets the compiler look at sixteen bytes at a time.
fn is_target_text(target: &[u8]) -> bool {
    let bad =
        target.iter().fold(0, |bad, &byte| bad | u8::from(!byte.is_ascii_graphic()) | u8::from(byte == b'#'));
    bad == 0
}

/// An absolute-form target (RFC 9112 §3.2.2) as authority and the rest, which may be empty.
fn split_absolute(target: &str) -> Option<(Option<&str>, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || !is_host(authority.as_bytes()) {
        return None;
    }
    Some((Some(authority), local))
}

/// `HTTP/1.1` or `HTTP/1.0`; another version is refused as such if it is well-formed.
fn parse_version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::VersionUnsupported),
        _ => Err(Refusal::Malformed),
    }
}

/// Whether `text` is a host with an optional port (RFC 9110 §7.2, RFC 3986 §3.2.2),
/// without user information. An empty host is one, as in the RFC.
pub(super) fn is_host(text: &[u8]) -> bool {
    match text {
        [b'[', rest @ ..] => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => {
                let (literal, after) = rest.split_at(end);
                is_ip_literal(literal) && is_port(after.get(1..).unwrap_or_default())
            }
            None => false,
        },
        _ => {
            let plain = text.iter().position(|&byte| !NAME_BYTES[usize::from(byte)]);
            match text.split_at(plain.unwrap_or(text.len())) {
                (_, []) => true,
                (name, port @ [b':', ..]) => is_port(port) && !name.is_empty(),
                (_, rest) => is_encoded_host(text.len() - rest.len(), text),
            }
        }
    }
}

/// A host with percent-encodings, the first of them perhaps at `from`; rare, so it may be slow.
fn is_encoded_host(from: usize, text: &[u8]) -> bool {
    let (name, port) = text.split_at(text.iter().position(|&byte| byte == b':').unwrap_or(text.len()));
    name.get(from..).is_some_and(is_encoded_name) && is_port(port)
}

/// Nothing, or a colon and a port number; the number may be missing (RFC 3986 §3.2.3).
fn is_port(text: &[u8]) -> bool {
    match text {
        [] | [b':'] => true,
        [b':', digits @ ..] => syntax::decimal(digits).is_some_and(|port| port <= 65_535),
        _ => false,
    }
}

/// What stands between brackets: an IPv6 address, checked by its characters only,
/// since nothing here connects to it.
fn is_ip_literal(text: &[u8]) -> bool {
    text.contains(&b':') && text.iter().all(|&byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')
}

/// The rest of a reg-name (RFC 3986 §3.2.2) from its first percent-encoding on.
fn is_encoded_name(mut text: &[u8]) -> bool {
    loop {
        text = match text {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if NAME_BYTES[usize::from(*byte)] => rest,
            _ => return false,
        }
    }
}

/// Which bytes may stand in a reg-name as they are: unreserved and sub-delims.
static NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let other = matches!(byte as u8, b'!' | b'$' | b'&'..=b'.' | b';' | b'=' | b'_' | b'~');
        bytes[byte] = (byte as u8).is_ascii_alphanumeric() || other;
        byte += 1;
    }
    bytes
};
