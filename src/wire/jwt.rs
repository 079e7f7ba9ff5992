//! JSON Web Tokens (RFC 7519) signed with HS256: who may subscribe to what.
//!
//! Owns the check of a token and the patterns it grants. Takes HS256 and nothing
//! else, whatever a token's header asks for (RFC 8725 §3.1), and looks at no claim
//! before the signature holds. Reads no clock: the caller says what time it is.

use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac_sha256::HMAC;
use serde_json::{Map, Value};

use crate::ids::ChannelName;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_KEY_BYTES_MIN, TOKEN_LEEWAY_S, TOKEN_PATTERNS_MAX};
use crate::time::Timestamp;

/// The header of the tokens that [`sign`] makes.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A secret that signs and verifies. Never printed.
#[derive(Clone)]
pub struct Key(Box<[u8]>);

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// Fewer than 32 bytes, which could be guessed (RFC 7518 §3.2).
    pub fn new(bytes: &[u8]) -> Result<Key, &'static str> {
        if bytes.len() < TOKEN_KEY_BYTES_MIN {
            return Err("a token key has at least 32 bytes");
        }
        Ok(Key(bytes.into()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    patterns: Box<[Pattern]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// `*`: every channel.
    All,
    /// This channel.
    Exact(Box<str>),
    /// `news.*`: channels whose names begin so.
    Prefix(Box<str>),
}

impl Grant {
    /// Whether the token allows this channel.
    pub fn allows(&self, channel: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::All => true,
            Pattern::Exact(name) => **name == *channel,
            Pattern::Prefix(prefix) => channel.starts_with(&**prefix),
        })
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not three parts of base64url, not JSON objects, or a claim of the wrong type.
    Malformed,
    /// Signed with something else than HS256, or with extensions it calls critical.
    Algorithm,
    /// Signed with another key, or changed since.
    Signature,
    /// `exp` has passed.
    Expired,
    /// `nbf` is yet to come.
    NotYet,
    /// Good, but without channels.
    NoChannels,
}

/// Checks a token in compact form (RFC 7515 §7.1): algorithm, signature, time, and
/// then what it grants.
///
/// `exp` and `nbf` are optional and bind if they are there (RFC 7519 §4.1), with
/// [`TOKEN_LEEWAY_S`] for clocks that differ. `sub` lists the channels: one string or
/// an array of them, each a channel's name, a prefix and `*`, or `*` alone.
pub fn verify(token: &[u8], key: &Key, now: Timestamp) -> Result<Grant, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let token = str::from_utf8(token).map_err(|_| TokenError::Malformed)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    if claims.contains('.') {
        return Err(TokenError::Malformed);
    }
    check_header(&decode_object(header)?)?;
    let signature = decode(signature)?;
    if !constant_time_eq(&HMAC::mac(signed, &key.0), &signature) {
        return Err(TokenError::Signature);
    }
    let claims = decode_object(claims)?;
    check_time(&claims, now)?;
    grant(&claims)
}

/// A token with these claims, a JSON object, signed with `key`.
pub fn sign(claims_json: &str, key: &Key) -> String {
    let mut token = URL_SAFE_NO_PAD.encode(HEADER);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims_json, &mut token);
    let signature = HMAC::mac(&token, &key.0);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// Whether two secrets are equal, in a time that depends on their lengths only, so
/// that an answer's delay says nothing about where they differ.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |all, (x, y)| black_box(all | (x ^ y)));
    a.len() == b.len() && black_box(difference) == 0
}

/// Pinned to HS256. An extension that is called critical isn't understood (RFC 7515 §4.1.11).
fn check_header(header: &Map<String, Value>) -> Result<(), TokenError> {
    let pinned = header.get("alg").and_then(Value::as_str) == Some("HS256");
    if !pinned || header.contains_key("crit") {
        return Err(TokenError::Algorithm);
    }
    Ok(())
}

fn check_time(claims: &Map<String, Value>, now: Timestamp) -> Result<(), TokenError> {
    let now_s = now.seconds() as f64;
    let leeway_s = TOKEN_LEEWAY_S as f64;
    let (expires, begins) = (numeric_date(claims, "exp")?, numeric_date(claims, "nbf")?);
    if expires.is_some_and(|at| now_s >= at + leeway_s) {
        return Err(TokenError::Expired);
    }
    if begins.is_some_and(|at| now_s + leeway_s < at) {
        return Err(TokenError::NotYet);
    }
    Ok(())
}

/// A NumericDate (RFC 7519 §2): seconds, not necessarily whole, not before 1970.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if seconds >= 0.0 => Ok(Some(seconds)),
            _ => Err(TokenError::Malformed),
        },
    }
}

fn grant(claims: &Map<String, Value>) -> Result<Grant, TokenError> {
    let texts = match claims.get("sub") {
        None => return Err(TokenError::NoChannels),
        Some(Value::Array(texts)) => texts.as_slice(),
        Some(text) => std::slice::from_ref(text),
    };
    if texts.is_empty() {
        return Err(TokenError::NoChannels);
    }
    if texts.len() > TOKEN_PATTERNS_MAX {
        return Err(TokenError::Malformed);
    }
    let patterns: Option<_> = texts.iter().map(|text| pattern(text.as_str()?)).collect();
    patterns.map(|patterns| Grant { patterns }).ok_or(TokenError::Malformed)
}

fn pattern(text: &str) -> Option<Pattern> {
    match text.strip_suffix('*') {
        Some("") => Some(Pattern::All),
        Some(prefix) => ChannelName::is_valid(prefix).then(|| Pattern::Prefix(prefix.into())),
        None => ChannelName::is_valid(text).then(|| Pattern::Exact(text.into())),
    }
}

/// Strict base64url: no padding, no white space, no stray bits (RFC 7515 §2).
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// A part as a JSON object without duplicate members (RFC 7519 §4).
fn decode_object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let json = decode(part)?;
    let object: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    if count_members(&json) != object.len() {
        return Err(TokenError::Malformed);
    }
    Ok(object)
}

/// How many members an object has in its text. More than in its map means that some
/// came twice, of which the map keeps the last and another reader perhaps the first.
/// Counts colons, since between a valid object's own braces each belongs to a member.
fn count_members(json: &[u8]) -> usize {
    let (mut depth, mut members, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in json {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => members += 1,
            _ => {}
        }
    }
    members
}

#[cfg(test)]
mod tests;
