//! How a long-poll server is spoken to: three request templates, and how its answers are read.
//!
//! What it refuses to know: connections. Invariant: a request is built by appending to one
//! buffer; what comes from an answer cannot break out of the place that it is put into.
//!
//! ```text
//! first poll ──▶ answer ──captures──▶ next poll ──▶ answer ──captures──▶ next poll ─▶ …
//! ```

mod captures;
mod file;
mod template;

use memchr::memmem::Finder;

use crate::Fallible;
use crate::answers::Answer;
use crate::marker::{RunId, push_decimal};
pub use captures::Captures;
use captures::member;
pub use template::Filling;
use template::Template;

/// Bytes of the longest value that is taken from an answer for the next poll.
pub const CAPTURE_BYTES_MAX: usize = 4_096;
/// What a custom dialect's file looks like, with an example that works with PushUp.
pub const FILE_HELP: &str = include_str!("dialect/help.txt");

const PUSHUP: &str = include_str!("dialect/pushup.txt");
const PUSHUP_PULL: &str = include_str!("dialect/pushup-pull.txt");
const NCHAN: &str = include_str!("dialect/nchan.txt");

/// What is taken from an answer for the next poll.
#[derive(Clone, Debug)]
enum Capture {
    /// A member of the body's JSON, wherever it stands: its quoted name.
    Json(Box<Finder<'static>>),
    /// A header field: its index among [`Dialect::fields`].
    Header(usize),
}

/// A server's way of long polling.
#[derive(Clone, Debug)]
pub struct Dialect {
    name: String,
    first: Template,
    next: Template,
    publish: Template,
    captures: Vec<Capture>,
    fields: Vec<String>,
    empty_statuses: Vec<u16>,
}

/// What an answer to a poll says besides its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may carry messages; without any it is a time-out.
    Answered,
    /// It is a time-out by its status.
    Empty,
    /// It is neither.
    Refused,
}

impl Dialect {
    /// PushUp's own: a cursor in the answer's JSON.
    pub fn pushup() -> Dialect {
        Dialect::built_in(PUSHUP, "pushup")
    }

    /// PushUp, asked for what is there and never waiting: a client that pulls.
    pub fn pushup_pull() -> Dialect {
        Dialect::built_in(PUSHUP_PULL, "pushup-pull")
    }

    /// nginx with nchan: Last-Modified and Etag.
    pub fn nchan() -> Dialect {
        Dialect::built_in(NCHAN, "nchan")
    }

    /// A built-in dialect by its name, or a custom one from the file of that path.
    pub fn named(name: &str) -> Fallible<Dialect> {
        match name {
            "pushup" => Ok(Dialect::pushup()),
            "pushup-pull" => Ok(Dialect::pushup_pull()),
            "nchan" => Ok(Dialect::nchan()),
            path => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    format!("dialect {path}: {error} (built in: pushup, pushup-pull, nchan)")
                })?;
                Ok(Dialect::parse(path, &text).map_err(|error| format!("dialect {path}: {error}"))?)
            }
        }
    }

    /// A custom dialect from the text of its file; see [`FILE_HELP`].
    pub fn parse(name: &str, text: &str) -> Result<Dialect, String> {
        let sections = file::sections(text)?;
        let mut wanted = template::Wanted::default();
        let first = Template::parse(&sections.first, &mut wanted)?;
        if !wanted.names.is_empty() {
            return Err("the first poll knows no answer to take anything from".to_owned());
        }
        let next = Template::parse(&sections.next, &mut wanted)?;
        let known = wanted.names.len();
        let publish = Template::parse(&sections.publish, &mut wanted)?;
        if wanted.names.len() > known || publish.uses_captures() {
            return Err("a publication knows no answer to take anything from".to_owned());
        }
        if !publish.has_body() {
            return Err("[publish] has no {body}".to_owned());
        }
        let (captures, fields) = captures(&wanted.names);
        let empty_statuses = sections.empty_statuses;
        Ok(Dialect { name: name.to_owned(), first, next, publish, captures, fields, empty_statuses })
    }

    fn built_in(text: &str, name: &str) -> Dialect {
        Dialect::parse(name, text).expect("the tests read every built-in dialect")
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The header fields whose values [`Dialect::note`] looks for in this order.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Appends the poll that follows an answer with these captures; without any, the first one.
    pub fn poll(&self, filling: &Filling<'_>, out: &mut Vec<u8>) {
        let complete = filling.captures.count() == self.captures.len() && filling.captures.is_noted();
        if complete { self.next.fill(filling, out) } else { self.first.fill(filling, out) }
    }

    /// Appends the publication of `filling.body`.
    pub fn publication(&self, filling: &Filling<'_>, out: &mut Vec<u8>) {
        self.publish.fill(filling, out);
    }

    /// How an answer to a poll is to be taken.
    pub fn verdict(&self, status: u16) -> Verdict {
        match status {
            status if self.empty_statuses.contains(&status) => Verdict::Empty,
            200..300 => Verdict::Answered,
            _ => Verdict::Refused,
        }
    }

    /// Takes from an answer what the next poll needs. If anything of it is missing or
    /// unusable, what was known before stays.
    pub fn note(&self, answer: &Answer<'_>, captures: &mut Captures) {
        // The usual cases: one value, or two, without an allocation.
        match &self.captures[..] {
            [] => captures.note(&[]),
            [one] => {
                if let Some(value) = find(one, answer) {
                    captures.note(&[&value]);
                }
            }
            all => {
                let values: Option<Vec<_>> = all.iter().map(|capture| find(capture, answer)).collect();
                if let Some(values) = values {
                    captures.note(&values.iter().map(|value| &**value).collect::<Vec<_>>());
                }
            }
        }
    }
}

fn captures(names: &[template::Name]) -> (Vec<Capture>, Vec<String>) {
    let mut fields = Vec::new();
    let capture = |name: &template::Name| match name {
        template::Name::Json(member) => {
            Capture::Json(Box::new(Finder::new(format!("\"{member}\"").as_bytes()).into_owned()))
        }
        template::Name::Header(field) => {
            fields.push(field.clone());
            Capture::Header(fields.len() - 1)
        }
    };
    let captures = names.iter().map(capture).collect();
    (captures, fields)
}

fn find<'a>(capture: &Capture, answer: &Answer<'a>) -> Option<std::borrow::Cow<'a, [u8]>> {
    let value = match capture {
        Capture::Json(name) => member(answer.body, name)?,
        Capture::Header(index) => answer.field(*index)?.into(),
    };
    let usable = value.len() <= CAPTURE_BYTES_MAX && !value.iter().any(u8::is_ascii_control);
    usable.then_some(value)
}

/// The names of a run's channels: `load-RUN-000017`.
#[derive(Clone, Debug)]
pub struct ChannelNames {
    prefix: Vec<u8>,
}

impl ChannelNames {
    /// The names of that run.
    pub fn new(run: RunId) -> ChannelNames {
        ChannelNames { prefix: format!("load-{run}-").into_bytes() }
    }

    /// Writes the name of a channel over `out`; at least six digits, so that names are of one length.
    pub fn write(&self, channel: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.prefix);
        for one_digit_more in [100_000, 10_000, 1_000, 100, 10] {
            if channel < one_digit_more {
                out.push(b'0');
            }
        }
        push_decimal(u64::from(channel), out);
    }
}

#[cfg(test)]
mod tests;
