//! The terminal's client: `pushup sub` and `pushup pub`, and `pushup ctl` for a controller's administrator.
//!
//! Blocking sockets and one thread, because a person or a script waits for it. It
//! speaks the same public API as everyone else and shares nothing with the server
//! but the grammar of an answer. Invariants: every wait has an end, every retry a
//! pause, and a publication is only ever repeated under the same Idempotency-Key.

mod answer;
pub mod ctl;
pub mod http;
pub mod publish;
pub mod subscribe;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::StartError;
use crate::limits::{
    CLIENT_RETRY_AFTER_S_MAX, FILE_BYTES_MAX, RECONNECT_MS_MAX, RECONNECT_MS_MIN, TOKEN_BYTES_MAX,
};

/// What a client has of its terminal. The tests give it buffers and a pause that
/// does not wait.
pub struct Terminal<'a> {
    /// Where messages and ids go: stdout.
    pub out: &'a mut dyn Write,
    /// Where notices for a person go: stderr.
    pub notices: &'a mut dyn Write,
    /// Waits that long.
    pub pause: &'a dyn Fn(Duration),
}

impl Terminal<'_> {
    /// One line for a person; if nobody can see it, nothing is lost.
    fn notice(&mut self, text: &str) {
        let _ = writeln!(self.notices, "pushup: {}", one_line(text));
    }
}

/// Why a client ends before it is done with its loop.
enum End {
    /// All is done, or nobody reads our output any more.
    Done,
    /// It cannot go on.
    Failed(StartError),
}

impl End {
    /// The result that the caller of `run` sees.
    fn into_result(self) -> Result<(), StartError> {
        match self {
            End::Done => Ok(()),
            End::Failed(error) => Err(error),
        }
    }
}

/// Output has failed: a closed pipe is how `head` says that it has enough.
fn output_failed(error: io::Error) -> End {
    match error.kind() {
        io::ErrorKind::BrokenPipe => End::Done,
        _ => End::Failed(StartError::Run(format!("cannot write output: {error}"))),
    }
}

/// Growing pauses between tries: each is twice the one before, within bounds.
#[derive(Debug)]
struct Backoff {
    next_ms: u64,
}

impl Backoff {
    fn new() -> Backoff {
        Backoff { next_ms: RECONNECT_MS_MIN }
    }

    /// The pause to make now, no shorter than the server asked for.
    fn next(&mut self, retry_after_s: Option<u64>) -> Duration {
        let own = Duration::from_millis(self.next_ms);
        self.next_ms = (self.next_ms * 2).min(RECONNECT_MS_MAX);
        let asked = retry_after_s.unwrap_or(0).min(CLIENT_RETRY_AFTER_S_MAX);
        own.max(Duration::from_secs(asked))
    }
}

/// Whether another try may succeed: too slow, too much, or the server's own trouble,
/// but not what it never does (501, 505).
fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504 | 506..=599)
}

/// Reads a small text file: a configuration or a token. Too large is an error, so
/// that a wrong path cannot fill the memory.
pub fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let size = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if size as u64 > FILE_BYTES_MAX {
        let limit = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
    }
    Ok(text)
}

/// The Authorization field for the token in a file, if there is one.
fn authorization(token_file: Option<&Path>) -> Result<Option<String>, StartError> {
    let Some(path) = token_file else {
        return Ok(None);
    };
    let shown = path.display();
    let text =
        read_file(path).map_err(|error| StartError::Config(format!("cannot read \"{shown}\": {error}")))?;
    let token = text.trim();
    let good =
        (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        Ok(Some(format!("Bearer {token}")))
    } else {
        Err(StartError::Config(format!(
            "\"{shown}\" must hold one token of at most {TOKEN_BYTES_MAX} printable characters"
        )))
    }
}

/// A peer's text as it may reach a terminal: no control characters.
fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests;
