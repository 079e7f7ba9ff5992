//! A request with places to be filled: `{host}`, `{channel}`, `{json:…}`, `{header:…}`, `{body}`, `{length}`.
//!
//! Invariant: in the request line values are percent-encoded, so that they stay one word;
//! `{length}` is exactly the length of what follows the empty line.

use super::Captures;
use crate::marker::push_decimal;

/// What is put into the places of a request.
pub struct Filling<'a> {
    /// The server's name and port, for the Host field.
    pub host: &'a str,
    /// The channel's name.
    pub channel: &'a [u8],
    /// What the last answer left.
    pub captures: &'a Captures,
    /// The message, in a publication.
    pub body: &'a [u8],
}

/// What a template wants to be taken from answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    Json(String),
    Header(String),
}

/// The names in the order of their indices.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub names: Vec<Name>,
}

impl Wanted {
    fn index(&mut self, name: Name) -> usize {
        match self.names.iter().position(|known| *known == name) {
            Some(index) => index,
            None => {
                self.names.push(name);
                self.names.len() - 1
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Host,
    Channel,
    Capture(usize),
    Body,
    Length,
}

/// A request taken apart at its places.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// Up to the first line's end.
    line: Vec<Part>,
    /// From there to the empty line, with it.
    head: Vec<Part>,
    /// What follows.
    body: Vec<Part>,
}

impl Template {
    /// Reads a whole request with CRLF line ends in its head.
    pub fn parse(text: &str, wanted: &mut Wanted) -> Result<Template, String> {
        let (head, body) = text.split_once("\r\n\r\n").ok_or("a request ends with an empty line")?;
        let line_end = head.find("\r\n").unwrap_or(head.len());
        check_line(&head[..line_end])?;
        let template = Template {
            line: parts(&head[..line_end], wanted)?,
            head: parts(&format!("{}\r\n\r\n", &head[line_end..]), wanted)?,
            body: parts(body, wanted)?,
        };
        match template.line.contains(&Part::Length) || template.body.contains(&Part::Length) {
            true => Err("{length} belongs into a header field".to_owned()),
            false => Ok(template),
        }
    }

    pub fn has_body(&self) -> bool {
        self.line.contains(&Part::Body) || self.body.contains(&Part::Body)
    }

    pub fn uses_captures(&self) -> bool {
        let mut parts = self.line.iter().chain(&self.head).chain(&self.body);
        parts.any(|part| matches!(part, Part::Capture(_)))
    }

    /// Appends the request.
    pub fn fill(&self, filling: &Filling<'_>, out: &mut Vec<u8>) {
        for part in &self.line {
            match part {
                Part::Capture(_) | Part::Body => percent_encode(value(part, filling), out),
                _ => out.extend_from_slice(value(part, filling)),
            }
        }
        for part in &self.head {
            match part {
                Part::Length => {
                    let length: usize = self.body.iter().map(|part| value(part, filling).len()).sum();
                    push_decimal(length as u64, out);
                }
                _ => out.extend_from_slice(value(part, filling)),
            }
        }
        for part in &self.body {
            out.extend_from_slice(value(part, filling));
        }
    }
}

fn value<'v>(part: &'v Part, filling: &Filling<'v>) -> &'v [u8] {
    match part {
        Part::Literal(bytes) => bytes,
        Part::Host => filling.host.as_bytes(),
        Part::Channel => filling.channel,
        Part::Capture(index) => filling.captures.value(*index),
        Part::Body => filling.body,
        Part::Length => b"",
    }
}

fn check_line(line: &str) -> Result<(), String> {
    match line.split(' ').collect::<Vec<_>>()[..] {
        [_, _, "HTTP/1.1" | "HTTP/1.0"] => Ok(()),
        _ => Err(format!("not a request line: {line:?}")),
    }
}

/// Cuts a text at its places. A brace that does not begin a lower-case word is itself: JSON is no place.
fn parts(text: &str, wanted: &mut Wanted) -> Result<Vec<Part>, String> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some(at) = rest.find('{') {
        literal.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let end = rest.find(|letter: char| !is_word(letter)).unwrap_or(rest.len());
        if end == 0 || !rest[end..].starts_with('}') {
            literal.push(b'{');
            continue;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(place(&rest[..end], wanted)?);
        rest = &rest[end + 1..];
    }
    literal.extend_from_slice(rest.as_bytes());
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, ':' | '-' | '_' | '.')
}

fn place(word: &str, wanted: &mut Wanted) -> Result<Part, String> {
    match word.split_once(':') {
        Some(("json", name)) if !name.is_empty() => {
            Ok(Part::Capture(wanted.index(Name::Json(name.to_owned()))))
        }
        Some(("header", name)) if !name.is_empty() => {
            Ok(Part::Capture(wanted.index(Name::Header(name.to_ascii_lowercase()))))
        }
        None if word == "host" => Ok(Part::Host),
        None if word == "channel" => Ok(Part::Channel),
        None if word == "body" => Ok(Part::Body),
        None if word == "length" => Ok(Part::Length),
        _ => Err(format!(
            "{{{word}}} is none of {{host}}, {{channel}}, {{json:NAME}}, {{header:NAME}}, {{body}}, {{length}}"
        )),
    }
}

/// Appends a value as one component of an URL (RFC 3986 §2.3).
fn percent_encode(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]));
        }
    }
}
