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
    let (year, month, day) = civil(time.seconds() / 86_400);
    let (hour, minute) = (second_of_day / 3600, second_of_day / 60 % 60);
    let second = second_of_day % 60;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The Gregorian date of a day counted from 1970-01-01.
///
/// Years are taken to begin in March, so that the leap day is the last of its year,
/// and days to begin at 0000-03-01, where a cycle of 400 years (146,097 days) begins.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
