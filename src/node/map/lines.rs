//! A file's lines as parameters of sub-tasks.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value as Json};

use crate::limits::{MAP_BATCH_BYTES, RECORD_BYTES_MAX};

/// How far a file has been read, seen from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    shared: Arc<Shared>,
    /// The file's size, in bytes; 0 if it has none.
    pub size: u64,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Reading {
    /// Bytes of it that were handed out.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Why it could not be read on.
    pub fn error(&self) -> Option<String> {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Batches of lines: `{"first": 1, "lines": ["…", …]}`, the first line of the file being 1.
pub(super) struct Batches<R = BufReader<File>> {
    input: R,
    lines_max: u64,
    number: u64,
    /// A line that was too much for the batch before.
    left: Option<String>,
    shared: Arc<Shared>,
}

/// Opens a file.
pub(super) fn read(path: &Path, lines_max: u64) -> io::Result<(Batches, Reading)> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let shared = Arc::new(Shared::default());
    let input = BufReader::with_capacity(MAP_BATCH_BYTES, file);
    let batches = Batches { input, lines_max, number: 1, left: None, shared: Arc::clone(&shared) };
    Ok((batches, Reading { shared, size: meta.len() }))
}

impl<R: BufRead> Batches<R> {
    /// The next line without its end.
    fn line(&mut self) -> Result<Option<String>, String> {
        let number = self.number;
        let mut bytes = Vec::new();
        // Beyond the longest line one byte is read, and no more.
        let mut limited = io::Read::take(&mut self.input, RECORD_BYTES_MAX as u64 + 1);
        let len = limited.read_until(b'\n', &mut bytes).map_err(|error| error.to_string())?;
        if len == 0 {
            return Ok(None);
        }
        if len > RECORD_BYTES_MAX {
            return Err(format!("line {number} is longer than {RECORD_BYTES_MAX} bytes"));
        }
        self.shared.bytes.fetch_add(len as u64, Ordering::Relaxed);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        self.number += 1;
        String::from_utf8(bytes).map(Some).map_err(|_| format!("line {number} is not UTF-8"))
    }

    fn batch(&mut self) -> Result<Option<Map<String, Json>>, String> {
        let first = self.number - u64::from(self.left.is_some());
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let next = match self.left.take() {
                Some(line) => Some(line),
                None => self.line()?,
            };
            let Some(line) = next else { break };
            if !lines.is_empty() && bytes + line.len() > MAP_BATCH_BYTES {
                self.left = Some(line);
                break;
            }
            bytes += line.len() + 1;
            lines.push(Json::String(line));
            if lines.len() as u64 >= self.lines_max {
                break;
            }
        }
        let batch = [("first".to_owned(), Json::from(first)), ("lines".to_owned(), Json::Array(lines))];
        Ok(Some(batch.into_iter().collect())
            .filter(|batch: &Map<_, _>| batch["lines"] != Json::Array(Vec::new())))
    }
}

impl<R: BufRead> Iterator for Batches<R> {
    type Item = Map<String, Json>;

    fn next(&mut self) -> Option<Map<String, Json>> {
        match self.batch() {
            Ok(batch) => batch,
            Err(why) => {
                *self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn batches(input: &[u8], lines_max: u64) -> (Vec<Json>, Option<String>) {
        let shared = Arc::new(Shared::default());
        let reading = Reading { shared: Arc::clone(&shared), size: 0 };
        let batches = Batches { input, lines_max, number: 1, left: None, shared };
        let all = batches.map(Json::Object).collect();
        (all, reading.error())
    }

    #[test]
    fn lines_come_in_batches() {
        for (input, lines_max, expected) in [
            (&b""[..], 2, vec![]),
            (
                b"a\nb\nc\n",
                2,
                vec![json!({"first": 1, "lines": ["a", "b"]}), json!({"first": 3, "lines": ["c"]})],
            ),
            (b"a\n\nc", 9, vec![json!({"first": 1, "lines": ["a", "", "c"]})]),
            (b"a\r\nb", 1, vec![json!({"first": 1, "lines": ["a\r"]}), json!({"first": 2, "lines": ["b"]})]),
        ] {
            assert_eq!(batches(input, lines_max), (expected, None));
        }
    }

    #[test]
    fn a_batch_is_not_too_large() {
        let line = "x".repeat(MAP_BATCH_BYTES / 3);
        let (all, error) = batches([&*line; 7].join("\n").as_bytes(), 100);
        let of = |batch: &Json| (batch["first"].as_u64().unwrap(), batch["lines"].as_array().unwrap().len());
        assert_eq!(all.iter().map(of).collect::<Vec<_>>(), [(1, 2), (3, 2), (5, 2), (7, 1)]);
        assert_eq!(error, None);
    }

    #[test]
    fn a_line_that_cannot_be_handed_out_is_told() {
        let (all, error) = batches(b"a\nb\xff\nc", 1);
        assert_eq!((all.len(), error.as_deref()), (1, Some("line 2 is not UTF-8")));
        let (all, error) = batches(&vec![b'x'; RECORD_BYTES_MAX + 1], 1);
        assert_eq!((all.len(), error.as_deref()), (0, Some("line 1 is longer than 524288 bytes")));
    }
}
