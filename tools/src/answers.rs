//! Splitting a stream of bytes into HTTP answers (RFC 9112): by Content-Length, chunked,
//! without a body, or up to the end of the connection.
//!
//! What it refuses to know: sockets, and what answers mean. The generator shares the machine
//! with what it measures, so a head that was just seen is recognised by comparing bytes and
//! not parsed again, and nothing is copied but chunked bodies, into a buffer that is kept.
//!
//! Invariant: the same bytes give the same answers however they are cut into pieces.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

/// Bytes of the largest head that is taken.
pub const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of the largest answer that is taken, whole.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Header fields of an answer.
const FIELDS_MAX: usize = 96;
/// Bytes of a line that announces a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 4_096;

/// Why bytes are no answer that this client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not the head of an HTTP/1 answer.
    Head,
    /// The head is longer than [`HEAD_BYTES_MAX`].
    HeadTooLong,
    /// Its length is no number, or there are two.
    Length,
    /// The announcement of a chunk, or what follows it.
    Chunk,
    /// The answer is longer than [`ANSWER_BYTES_MAX`].
    TooLong,
    /// The connection ended in the middle.
    Truncated,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Malformed::Head => "not the head of an HTTP/1 answer",
            Malformed::HeadTooLong => "an answer's head is too long",
            Malformed::Length => "an answer's length is unusable",
            Malformed::Chunk => "an answer's chunks are malformed",
            Malformed::TooLong => "an answer is too long",
            Malformed::Truncated => "an answer ended in its middle",
        })
    }
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It takes the next request.
    Stays,
    /// The server closes it.
    Closes,
}

/// One whole answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The body, without its chunks' frames.
    pub body: &'a [u8],
    /// How many bytes it had on the wire, with its head and any interim answers before it.
    pub whole_bytes: usize,
    /// What becomes of the connection.
    pub afterwards: Afterwards,
    /// From the status line to the empty line.
    pub head: &'a [u8],
    fields: &'a [Option<Range<usize>>],
}

impl<'a> Answer<'a> {
    /// The value of the wanted field of that index, if the answer has it.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        self.fields.get(index)?.clone().and_then(|place| self.head.get(place))
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub enum Split<'a> {
    /// A whole answer.
    Whole(Answer<'a>),
    /// Too little. Looking again is of no use before there are `need` bytes.
    Incomplete {
        /// Bytes from the beginning of the answer.
        need: usize,
    },
}

/// How a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Nothing,
    Length(usize),
    Chunked,
    UntilClose,
}

/// The head that was parsed last.
#[derive(Debug)]
struct Known {
    bytes: Vec<u8>,
    status: u16,
    framing: Framing,
    afterwards: Afterwards,
    /// Where the wanted fields' values stand in it.
    fields: Vec<Option<Range<usize>>>,
}

/// Splits streams of answers; one serves any number of connections.
#[derive(Debug)]
pub struct Splitter {
    wanted: Vec<String>,
    known: Known,
    /// The body of the last chunked answer.
    unchunked: Vec<u8>,
}

impl Default for Splitter {
    /// One that notes no fields.
    fn default() -> Splitter {
        Splitter::new(&[])
    }
}

impl Splitter {
    /// A splitter that notes the values of the `wanted` header fields.
    pub fn new(wanted: &[String]) -> Splitter {
        let known = Known {
            bytes: Vec::new(),
            status: 0,
            framing: Framing::Nothing,
            afterwards: Afterwards::Stays,
            fields: Vec::new(),
        };
        Splitter { wanted: wanted.to_vec(), known, unchunked: Vec::new() }
    }

    /// The first answer in `bytes`, all that came on a connection and was not yet taken.
    pub fn first<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Split<'a>, Malformed> {
        let Some(begin) = self.find_head(bytes)? else {
            return Ok(Split::Incomplete { need: bytes.len() + 1 });
        };
        let after = begin + self.known.bytes.len();
        match self.known.framing {
            Framing::Nothing => Ok(Split::Whole(self.answer(bytes, begin, after..after, after))),
            Framing::Length(length) => match after + length {
                end if end <= bytes.len() => Ok(Split::Whole(self.answer(bytes, begin, after..end, end))),
                need => Ok(Split::Incomplete { need }),
            },
            Framing::Chunked => self.chunked(bytes, begin, after),
            Framing::UntilClose if bytes.len() > ANSWER_BYTES_MAX => Err(Malformed::TooLong),
            Framing::UntilClose => Ok(Split::Incomplete { need: bytes.len() + 1 }),
        }
    }

    /// The answer that the end of its connection has completed; `bytes` is not empty.
    pub fn at_close<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Answer<'a>, Malformed> {
        let begin = self.find_head(bytes)?.ok_or(Malformed::Truncated)?;
        if self.known.framing != Framing::UntilClose {
            return Err(Malformed::Truncated);
        }
        let after = begin + self.known.bytes.len();
        Ok(self.answer(bytes, begin, after..bytes.len(), bytes.len()))
    }

    /// Where the final answer's head begins, which is then the known one.
    fn find_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut begin = 0;
        loop {
            let rest = &bytes[begin..];
            if self.known.bytes.is_empty() || !rest.starts_with(&self.known.bytes) {
                let window = &rest[..rest.len().min(HEAD_BYTES_MAX)];
                match memmem::find(window, b"\r\n\r\n") {
                    Some(end) => self.learn(&rest[..end + 4])?,
                    None if window.len() == HEAD_BYTES_MAX => return Err(Malformed::HeadTooLong),
                    None if !could_begin_answer(rest) => return Err(Malformed::Head),
                    None => return Ok(None),
                }
            }
            if self.known.status >= 200 {
                return Ok(Some(begin));
            }
            begin += self.known.bytes.len();
            if begin > HEAD_BYTES_MAX {
                return Err(Malformed::HeadTooLong);
            }
        }
    }

    fn learn(&mut self, head: &[u8]) -> Result<(), Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
            return Err(Malformed::Head);
        }
        let known = &mut self.known;
        known.status = parsed.code.ok_or(Malformed::Head)?;
        // Switching protocols is not for us, and what follows it is no answer.
        if known.status < 100 || known.status == 101 {
            return Err(Malformed::Head);
        }
        known.framing = framing(known.status, parsed.headers)?;
        known.afterwards = afterwards(parsed.version, parsed.headers, known.framing);
        known.fields.clear();
        known.fields.extend(self.wanted.iter().map(|name| place(head, parsed.headers, name)));
        known.bytes.clear();
        known.bytes.extend_from_slice(head);
        Ok(())
    }

    fn chunked<'a>(
        &'a mut self,
        bytes: &'a [u8],
        begin: usize,
        after: usize,
    ) -> Result<Split<'a>, Malformed> {
        self.unchunked.clear();
        match unchunk(&bytes[after..], &mut self.unchunked)? {
            Chunks::Whole { bytes: taken } => {
                let end = after + taken;
                let mut answer = self.answer(bytes, begin, end..end, end);
                answer.body = &self.unchunked;
                Ok(Split::Whole(answer))
            }
            Chunks::Incomplete { need } => Ok(Split::Incomplete { need: after + need }),
        }
    }

    fn answer<'a>(
        &'a self,
        bytes: &'a [u8],
        begin: usize,
        body: Range<usize>,
        whole_bytes: usize,
    ) -> Answer<'a> {
        Answer {
            status: self.known.status,
            body: &bytes[body],
            whole_bytes,
            afterwards: self.known.afterwards,
            head: &bytes[begin..begin + self.known.bytes.len()],
            fields: &self.known.fields,
        }
    }
}

/// Whether bytes without an empty line may yet become an answer: nothing else is waited for.
fn could_begin_answer(bytes: &[u8]) -> bool {
    let known = &bytes[..bytes.len().min(7)];
    b"HTTP/1.".starts_with(known)
}

fn framing(status: u16, headers: &[httparse::Header<'_>]) -> Result<Framing, Malformed> {
    if status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Nothing);
    }
    if let Some(coding) = value(headers, "transfer-encoding") {
        let last = coding.rsplit(|&byte| byte == b',').next().unwrap_or_default();
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return Ok(if chunked { Framing::Chunked } else { Framing::UntilClose });
    }
    let mut lengths = headers.iter().filter(|field| field.name.eq_ignore_ascii_case("content-length"));
    let Some(first) = lengths.next() else { return Ok(Framing::UntilClose) };
    if lengths.any(|other| other.value != first.value) || !first.value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Length);
    }
    let length = std::str::from_utf8(first.value).ok().and_then(|text| text.parse().ok());
    match length.ok_or(Malformed::Length)? {
        length if length <= ANSWER_BYTES_MAX => Ok(Framing::Length(length)),
        _ => Err(Malformed::TooLong),
    }
}

fn afterwards(version: Option<u8>, headers: &[httparse::Header<'_>], framing: Framing) -> Afterwards {
    let says = |word: &[u8]| {
        let is_word = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(word);
        value(headers, "connection").is_some_and(|options| options.split(|&byte| byte == b',').any(is_word))
    };
    let stays = if version == Some(0) { says(b"keep-alive") } else { !says(b"close") };
    if stays && framing != Framing::UntilClose { Afterwards::Stays } else { Afterwards::Closes }
}

fn value<'h>(headers: &[httparse::Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Where the value of a field stands in its head.
fn place(head: &[u8], headers: &[httparse::Header<'_>], name: &str) -> Option<Range<usize>> {
    let value = value(headers, name)?;
    let begin = value.as_ptr() as usize - head.as_ptr() as usize;
    Some(begin..begin + value.len())
}

enum Chunks {
    Whole { bytes: usize },
    Incomplete { need: usize },
}

/// Takes the chunks apart (RFC 9112 §7.1); extensions and trailers are passed over.
fn unchunk(bytes: &[u8], body: &mut Vec<u8>) -> Result<Chunks, Malformed> {
    let mut at = 0;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(Chunks::Incomplete { need: bytes.len() + 1 }) };
        let size = chunk_bytes(line)?;
        at += line.len() + 2;
        if size == 0 {
            return end_of_chunks(bytes, at);
        }
        let end = at + size;
        if body.len() + size > ANSWER_BYTES_MAX || end > ANSWER_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        if bytes.len() < end + 2 {
            return Ok(Chunks::Incomplete { need: end + 2 });
        }
        if &bytes[end..end + 2] != b"\r\n" {
            return Err(Malformed::Chunk);
        }
        body.extend_from_slice(&bytes[at..end]);
        at = end + 2;
    }
}

/// Passes over the trailer fields up to the empty line.
fn end_of_chunks(bytes: &[u8], mut at: usize) -> Result<Chunks, Malformed> {
    let begin = at;
    while let Some(line) = line(&bytes[at..])? {
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Chunks::Whole { bytes: at });
        }
        if at - begin > HEAD_BYTES_MAX {
            return Err(Malformed::Chunk);
        }
    }
    Ok(Chunks::Incomplete { need: bytes.len() + 1 })
}

/// The bytes before the first CRLF, if it is there.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let window = &bytes[..bytes.len().min(CHUNK_LINE_BYTES_MAX)];
    match memmem::find(window, b"\r\n") {
        Some(end) => Ok(Some(&window[..end])),
        None if window.len() == CHUNK_LINE_BYTES_MAX => Err(Malformed::Chunk),
        None => Ok(None),
    }
}

fn chunk_bytes(line: &[u8]) -> Result<usize, Malformed> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
    if text.is_empty() || text.len() > 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Malformed::Chunk);
    }
    usize::from_str_radix(text, 16).map_err(|_| Malformed::Chunk)
}

#[cfg(test)]
mod tests;
