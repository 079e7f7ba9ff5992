//! What a request target's parts mean (RFC 3986 §2.1, §3.4): percent-decoding, and
//! the query as names and values. Knows no routes.
//!
//! Invariant: decoded once, never twice, and what comes out has no control characters.

use std::borrow::Cow;

/// The text's percent-encoding is bad, or hides what isn't text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEncoding;

/// Decodes a path's segment, exactly once: `%2541` is `%41`. A `+` is a plus.
///
/// # Errors
/// A `%` without two hexadecimal digits, bytes that aren't UTF-8 (overlong forms
/// among them), and control characters, NUL above all, encoded or not.
pub fn decode_once(raw: &str) -> Result<Cow<'_, str>, BadEncoding> {
    let text = if raw.contains('%') {
        let bytes = decode_bytes(raw.as_bytes())?;
        Cow::Owned(String::from_utf8(bytes).map_err(|_| BadEncoding)?)
    } else {
        Cow::Borrowed(raw)
    };
    if text.chars().any(char::is_control) {
        return Err(BadEncoding);
    }
    Ok(text)
}

/// Decodes a query's value, exactly once. Here too a `+` is a plus and not the blank
/// of HTML forms, since nothing that is asked for has blanks, but channel names and
/// media types have pluses.
///
/// # Errors
/// As [`decode_once`].
pub fn decode_query_value(raw: &str) -> Result<Cow<'_, str>, BadEncoding> {
    decode_once(raw)
}

fn decode_bytes(mut raw: &[u8]) -> Result<Vec<u8>, BadEncoding> {
    let mut bytes = Vec::with_capacity(raw.len());
    loop {
        raw = match raw {
            [] => return Ok(bytes),
            [b'%', high, low, rest @ ..] => {
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest
            }
            [b'%', ..] => return Err(BadEncoding),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        }
    }
}

fn hex_digit(byte: u8) -> Result<u8, BadEncoding> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(BadEncoding),
    }
}

/// A query's names and values, in order and raw: see [`decode_query_value`].
///
/// Pieces are separated by `&`; empty ones are skipped, one without `=` has an empty
/// value. Names may come twice; whether that is allowed is for the caller to say.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    rest: &'a str,
}

impl<'a> Query<'a> {
    /// Over what follows the `?`; nothing for a target without one.
    pub fn new(query: Option<&'a str>) -> Self {
        Query { rest: query.unwrap_or_default() }
    }
}

impl<'a> Iterator for Query<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (piece, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if !piece.is_empty() {
                return Some(piece.split_once('=').unwrap_or((piece, "")));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
