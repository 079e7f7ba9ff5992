//! The chunked transfer coding (RFC 9112 §7.1): chunks to the bytes that they carry.
//!
//! A decoder of its own, because leniency here is how requests are smuggled: two
//! readers of one stream that disagree about a chunk's end disagree about where the
//! next request begins. Knows nothing of what the body means. Invariant: the result
//! doesn't depend on how the input is split.

use crate::error::Refusal;
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILER_BYTES_MAX};
use crate::wire::http::syntax;

/// Decodes one chunked body, in as many pieces as it comes.
///
/// ```text
/// Size ──▶ Blank ──▶ Extension ──▶ SizeLf ─▶ Data ─▶ DataCr ─▶ DataLf ─▶ Size
///   └────────┴───────────┴──CR──────▲  └─ size 0 ─▶ LineStart ◀──LF── TrailerLf
///                                                     │   └─▶ Trailer ──CR──▲
///                                                     └─CR─▶ EndLf ─▶ Done
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChunkDecoder {
    state: State,
    /// The bytes of all chunks whose size was read.
    body_bytes: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

/// Whether the body is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkProgress {
    /// All input was used; the body goes on.
    NeedMore,
    /// The body and its trailers are over; what follows is the next request.
    Done,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A digit of the size; after the first also what may follow the size.
    Size { size: u64, digits: usize },
    /// White space after the size, which only an extension may follow.
    Blank { size: u64 },
    /// An extension, which is skipped.
    Extension { size: u64 },
    /// The LF that ends the size's line.
    SizeLf { size: u64 },
    /// So many bytes of the body.
    Data { left: u64 },
    /// The CR behind a chunk's data.
    DataCr,
    /// The LF behind a chunk's data; then the next size.
    DataLf,
    /// A trailer, or the CR of the empty line that ends the body.
    LineStart,
    /// The rest of a trailer, which is dropped.
    Trailer,
    /// The LF behind a trailer.
    TrailerLf,
    /// The last LF.
    EndLf,
    /// Nothing: the body is over.
    Done,
}

const SIZE: State = State::Size { size: 0, digits: 0 };

impl Default for ChunkDecoder {
    fn default() -> Self {
        ChunkDecoder::new()
    }
}

impl ChunkDecoder {
    /// A decoder at the beginning of a body.
    pub fn new() -> Self {
        ChunkDecoder { state: SIZE, body_bytes: 0, extension_bytes: 0, trailer_bytes: 0 }
    }

    /// Appends what the next bytes carry to `out`; returns how many bytes were used.
    ///
    /// That is all of `input` on [`ChunkProgress::NeedMore`]; [`ChunkProgress::Done`]
    /// stops behind the empty line that ends the trailers. Trailers are dropped. A
    /// body of more than `body_bytes_max` bytes is refused as soon as a chunk's size
    /// says so; memory is taken only for bytes that have come. After a refusal the
    /// decoder and what it appended are worthless.
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        body_bytes_max: usize,
    ) -> Result<(usize, ChunkProgress), Refusal> {
        let mut rest = input;
        while self.state != State::Done {
            if let State::Data { left } = self.state {
                let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let (data, after) = rest.split_at(here);
                out.extend_from_slice(data);
                rest = after;
                self.state = after_data(left - here as u64);
            }
            let Some((&byte, after)) = rest.split_first() else {
                return Ok((input.len(), ChunkProgress::NeedMore));
            };
            self.state = self.step(byte, body_bytes_max)?;
            rest = after;
        }
        Ok((input.len() - rest.len(), ChunkProgress::Done))
    }

    /// The state after one byte that isn't data.
    fn step(&mut self, byte: u8, body_bytes_max: usize) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size { size, digits }, _) => self.step_size(size, digits, byte),
            (State::Blank { size } | State::Extension { size }, _) => self.step_extension(size, byte),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::LineStart),
            (State::SizeLf { size }, b'\n') => self.begin_data(size, body_bytes_max),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(SIZE),
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::LineStart | State::Trailer, _) => self.step_trailer(byte),
            (State::TrailerLf, b'\n') => Ok(State::LineStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(Refusal::ChunkInvalid),
        }
    }

    /// Hexadecimal digits, and nothing that a lenient reader may take for one: no
    /// `0x`, no sign, no `_`, not so many that they overflow.
    fn step_size(&mut self, size: u64, digits: usize, byte: u8) -> Result<State, Refusal> {
        if let Some(digit) = (byte as char).to_digit(16) {
            if digits == CHUNK_SIZE_DIGITS_MAX {
                return Err(Refusal::ChunkInvalid);
            }
            let size = (size << 4) | u64::from(digit);
            return Ok(State::Size { size, digits: digits + 1 });
        }
        match byte {
            b'\r' if digits > 0 => Ok(State::SizeLf { size }),
            b' ' | b'\t' | b';' if digits > 0 => {
                self.state = State::Blank { size };
                self.step_extension(size, byte)
            }
            _ => Err(Refusal::ChunkInvalid),
        }
    }

    /// What stands between a size and its CR; bounded over the whole body, so that a
    /// body can't be all extensions.
    fn step_extension(&mut self, size: u64, byte: u8) -> Result<State, Refusal> {
        let in_extension = self.state == State::Extension { size };
        if byte == b'\r' && in_extension {
            return Ok(State::SizeLf { size });
        }
        self.extension_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
            return Err(Refusal::ChunkInvalid);
        }
        match byte {
            b';' => Ok(State::Extension { size }),
            b' ' | b'\t' if !in_extension => Ok(State::Blank { size }),
            _ if in_extension && syntax::is_value_byte(byte) => Ok(State::Extension { size }),
            _ => Err(Refusal::ChunkInvalid),
        }
    }

    fn begin_data(&mut self, size: u64, body_bytes_max: usize) -> Result<State, Refusal> {
        self.body_bytes = self.body_bytes.saturating_add(size);
        if self.body_bytes > body_bytes_max as u64 {
            return Err(Refusal::BodyTooLarge);
        }
        Ok(State::Data { left: size })
    }

    /// A trailer's byte. Its name isn't looked at, because no trailer is ever used;
    /// one that begins with a blank or a colon would be a fold or have no name.
    fn step_trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        let begins = self.state == State::LineStart;
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(Refusal::HeadersTooLarge);
        }
        match byte {
            b'\r' => Ok(State::TrailerLf),
            b' ' | b'\t' | b':' if begins => Err(Refusal::ChunkInvalid),
            _ if syntax::is_value_byte(byte) => Ok(State::Trailer),
            _ => Err(Refusal::ChunkInvalid),
        }
    }
}

fn after_data(left: u64) -> State {
    match left {
        0 => State::DataCr,
        left => State::Data { left },
    }
}

#[cfg(test)]
mod tests;
