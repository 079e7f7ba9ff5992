//! What one poller keeps of its last answer: a few short values, in place if they fit.
//!
//! Invariant: noting values as long as the last ones allocates nothing.

use std::borrow::Cow;

use memchr::memmem::Finder;

/// Bytes that stand in place: a cursor, or a date and a tag, with a length before each.
const INLINE_BYTES: usize = 46;

/// The values of the last answer that had them all.
#[derive(Clone, Debug, Default)]
pub struct Captures(Kept);

#[derive(Clone, Debug, Default)]
enum Kept {
    #[default]
    Nothing,
    Inline {
        used: u8,
        bytes: [u8; INLINE_BYTES],
    },
    Heap(Vec<u8>),
}

impl Captures {
    /// Whether an answer was noted.
    pub fn is_noted(&self) -> bool {
        !matches!(self.0, Kept::Nothing)
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values().count()
    }

    /// Forgets everything: the next poll is a first one.
    pub fn forget(&mut self) {
        self.0 = Kept::Nothing;
    }

    /// The value of that index; empty if there is none.
    pub fn value(&self, index: usize) -> &[u8] {
        self.values().nth(index).unwrap_or_default()
    }

    /// Replaces all values.
    pub fn note(&mut self, values: &[&[u8]]) {
        let bytes_needed: usize = values.iter().map(|value| value.len() + 2).sum();
        if bytes_needed <= INLINE_BYTES {
            let mut bytes = [0; INLINE_BYTES];
            let mut used = 0;
            for value in values {
                bytes[used..used + 2].copy_from_slice(&length(value));
                bytes[used + 2..used + 2 + value.len()].copy_from_slice(value);
                used += 2 + value.len();
            }
            self.0 = Kept::Inline { used: used as u8, bytes };
            return;
        }
        let mut heap = match std::mem::take(&mut self.0) {
            Kept::Heap(heap) => heap,
            _ => Vec::new(),
        };
        heap.clear();
        for value in values {
            heap.extend_from_slice(&length(value));
            heap.extend_from_slice(value);
        }
        self.0 = Kept::Heap(heap);
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = match &self.0 {
            Kept::Nothing => &[],
            Kept::Inline { used, bytes } => &bytes[..usize::from(*used)],
            Kept::Heap(heap) => heap,
        };
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (value, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = after;
            Some(value)
        })
    }
}

/// Values are at most [`super::CAPTURE_BYTES_MAX`] long.
fn length(value: &[u8]) -> [u8; 2] {
    (value.len() as u16).to_le_bytes()
}

/// The value of a JSON member, the first of that quoted name wherever it stands. Within a
/// JSON string a quote is escaped, so a name is not mistaken for one in a message.
pub(super) fn member<'a>(json: &'a [u8], name: &Finder<'_>) -> Option<Cow<'a, [u8]>> {
    let mut rest = json;
    loop {
        let after = &rest[name.find(rest)? + name.needle().len()..];
        // A string of that text in another place is followed by no colon.
        if let Some(value) = after.trim_ascii_start().strip_prefix(b":") {
            return scalar(value.trim_ascii_start());
        }
        rest = after;
    }
}

fn scalar(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(text) = value.strip_prefix(b"\"") else {
        let end =
            value.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())?;
        let plain = !matches!(value.first(), Some(b'{' | b'['));
        return plain.then_some(Cow::Borrowed(&value[..end]));
    };
    let end = memchr::memchr2(b'"', b'\\', text)?;
    if text[end] == b'"' {
        return Some(Cow::Borrowed(&text[..end]));
    }
    let mut parser = serde_json::Deserializer::from_slice(value).into_iter::<String>();
    parser.next()?.ok().map(|unescaped| Cow::Owned(unescaped.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_place_or_on_the_heap() {
        let mut captures = Captures::default();
        assert!(!captures.is_noted());
        let long = [b'x'; 300];
        for values in
            [&[&b"AVeNDuu82F674UMB"[..]][..], &[b"", b"b"], &[&long, b"", b"z"], &[b"short again"], &[]]
        {
            captures.note(values);
            assert!(captures.is_noted() && captures.count() == values.len());
            for (index, value) in values.iter().enumerate() {
                assert_eq!(captures.value(index), *value);
            }
            assert_eq!(captures.value(values.len()), b"");
        }
        captures.forget();
        assert!(!captures.is_noted());
        assert!(size_of::<Captures>() <= 48);
    }

    #[test]
    fn members_are_found() {
        let finder = Finder::new(b"\"cursor\"");
        for (json, value) in [
            (r#"{"cursor":"AVeN","messages":[]}"#, Some("AVeN")),
            (r#"{"a":["cursor"], "cursor" : 17 }"#, Some("17")),
            (r#"{"data":"\"cursor\":\"no\"","cursor":"yes"}"#, Some("yes")),
            (r#"{"cursor":"a\"b\u002fc"}"#, Some("a\"b/c")),
            (r#"{"cursor":-1}"#, Some("-1")),
            (r#"{"cursor":""}"#, Some("")),
            (r#"{"cursor":["a"]}"#, None),
            (r#"{"cursor":"AVe"#, None),
            (r#"{"cursor":"#, None),
            (r#"{"cursor"#, None),
            ("", None),
        ] {
            let found = member(json.as_bytes(), &finder);
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{json}");
        }
    }
}
