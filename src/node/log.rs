//! The logger: one line per record on stderr, as logfmt.
//!
//! Under journald a line carries its priority and leaves the time to the journal.
//! Logging never fails and never panics: a closed stderr loses lines, not the
//! server. Invariant: whatever a message holds, it stays one line, so that a peer
//! can never forge a record.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::time::{Clock, Timestamp};
use crate::wire::http::date::civil_from_days;

/// The one logger of the process; its level is `log`'s own global.
struct Stderr {
    journal: AtomicBool,
}

static STDERR: Stderr = Stderr { journal: AtomicBool::new(false) };

/// Starts logging to stderr, in journald's form if `journal`. Later calls only
/// change level and form.
pub fn start(level: LevelFilter, journal: bool) {
    STDERR.journal.store(journal, Ordering::Relaxed);
    // The only error is that a logger is set already, as in a second call or a test.
    let _ = log::set_logger(&STDERR);
    set_level(level);
}

/// Changes what is logged: this level and the graver ones. Takes effect at once.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Whether stderr is the journal itself: `stream` is `$JOURNAL_STREAM`, which names
/// the device and inode that stderr must have (systemd.exec(5)). A child whose stderr
/// was redirected inherits the variable too, and must not write priorities.
pub fn is_journal(stream: Option<&str>) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Some(stream) = stream else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let time = match self.journal.load(Ordering::Relaxed) {
            true => None,
            false => Some(Clock::start().now().wall),
        };
        let text = line(time, record.level(), &record.args().to_string());
        // One write per line, so that threads' lines do not mix; there is nobody to
        // tell that stderr is gone.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn flush(&self) {}
}

/// A record as it is written; without a time it is journald's.
fn line(time: Option<Timestamp>, level: Level, message: &str) -> String {
    let (priority, name) = match level {
        Level::Error => (3, "error"),
        Level::Warn => (4, "warn"),
        Level::Info => (6, "info"),
        Level::Debug => (7, "debug"),
        Level::Trace => (7, "trace"),
    };
    let mut text = match time {
        Some(time) => format!("time={} ", rfc3339(time)),
        None => format!("<{priority}>"),
    };
    let _ = write!(text, "level={name} msg=\"");
    escape_into(&mut text, message);
    text.push_str("\"\n");
    text
}

/// Escapes what would end the quotes, the line, or play with a terminal.
fn escape_into(text: &mut String, message: &str) {
    for c in message.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
}

/// UTC with milliseconds, as RFC 3339 has it.
fn rfc3339(time: Timestamp) -> String {
    let (second_of_day, ms) = (time.seconds() % 86_400, time.0 % 1000);
    let (year, month, day) = civil_from_days(time.seconds() / 86_400);
    let (hour, minute) = (second_of_day / 3600, second_of_day / 60 % 60);
    let second = second_of_day % 60;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests;
