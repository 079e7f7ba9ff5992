//! A head judged line by line (RFC 9112 §2.2): the rules in their plain form.
//!
//! Decides for every head that the fast way doesn't take. Bytes after the last LF
//! only count against the bounds; that, and judging in order, makes the verdict the
//! same however the input was split.

use super::fields::Fields;
use super::line::RequestLine;
use super::{HEADER_BYTES_MAX, HEADER_FIELDS_MAX, LEADING_EMPTY_LINES_MAX, Parsed};
use super::{REQUEST_LINE_BYTES_MAX, Refusal, syntax};

/// As [`parse`](super::parse), which see.
pub(super) fn parse(input: &[u8]) -> Result<Parsed<'_>, Refusal> {
    let mut lines = Lines::new(input);
    let Some(line) = lines.request_line()? else {
        return Ok(Parsed::Partial);
    };
    let mut fields = Fields::new(RequestLine::parse(line)?);
    while let Some(line) = lines.field_line()? {
        if line.is_empty() {
            let (head, len) = (fields.finish()?, lines.used);
            return Ok(Parsed::Complete { head, len });
        }
        let (name, value) = split_field(line)?;
        fields.take(name, value)?;
    }
    Ok(Parsed::Partial)
}

/// A field line as name and trimmed value (RFC 9112 §5). White space before the name
/// or the colon makes the name no token, and so do a fold and a missing colon.
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = line.iter().position(|&byte| byte == b':');
    let (name, rest) = line.split_at(colon.ok_or(Refusal::Malformed)?);
    let value = syntax::trim(rest.get(1..).unwrap_or_default());
    let well_formed = syntax::is_token(name) && value.iter().all(|&byte| syntax::is_value_byte(byte));
    well_formed.then_some((name, value)).ok_or(Refusal::Malformed)
}

/// The whole lines of the input, and what they have used up.
struct Lines<'a> {
    input: &'a [u8],
    used: usize,
    fields: usize,
    field_bytes: usize,
}

impl<'a> Lines<'a> {
    fn new(input: &'a [u8]) -> Self {
        Lines { input, used: 0, fields: 0, field_bytes: 0 }
    }

    /// The first line that isn't empty; `None` if it isn't there yet.
    fn request_line(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        for _ in 0..=LEADING_EMPTY_LINES_MAX {
            match self.next_line(REQUEST_LINE_BYTES_MAX + 2, Refusal::TargetTooLong)? {
                Some([]) => {}
                line => return Ok(line),
            }
        }
        Err(Refusal::Malformed)
    }

    /// The next field's line, or the empty one that ends the head and counts as none.
    /// A lone CR may yet become that one.
    fn field_line(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        match self.rest() {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => return self.next_line(2, Refusal::HeadersTooLarge),
            _ => {}
        }
        let before = self.used;
        let bytes_max = HEADER_BYTES_MAX - self.field_bytes;
        let line = self.next_line(bytes_max, Refusal::HeadersTooLarge)?;
        self.field_bytes += self.used - before;
        self.fields += usize::from(line.is_some());
        if self.fields > HEADER_FIELDS_MAX {
            return Err(Refusal::HeadersTooLarge);
        }
        Ok(line)
    }

    /// The next line without its end; `None` if its LF isn't there yet, `too_long` if
    /// that LF isn't among the next `bytes_max` bytes.
    fn next_line(&mut self, bytes_max: usize, too_long: Refusal) -> Result<Option<&'a [u8]>, Refusal> {
        let rest = self.rest();
        let Some(end) = rest.iter().take(bytes_max).position(|&byte| byte == b'\n') else {
            return if rest.len() < bytes_max { Ok(None) } else { Err(too_long) };
        };
        self.used += end + 1;
        match rest.get(..end) {
            Some([line @ .., b'\r']) if !line.contains(&b'\r') => Ok(Some(line)),
            _ => Err(Refusal::BareLineEnd),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.used..).unwrap_or_default()
    }
}
