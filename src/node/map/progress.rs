//! How far a file has come, on the terminal: one line, again and again.

use std::io::{self, IsTerminal, Write};

use super::lines::Reading;
use crate::limits::SCATTER_STEP_MS;
use crate::time::{Now, Tick};

/// The bar, in characters.
const WIDTH: usize = 30;

/// The line.
pub(super) struct Progress {
    reading: Reading,
    begun: Tick,
    next: Option<Tick>,
    is_shown: bool,
}

impl Progress {
    /// Shown only where somebody sees it.
    pub fn new(quiet: bool, reading: Reading, now: Now) -> Progress {
        let next = (!quiet && io::stderr().is_terminal()).then(|| now.tick.plus_ms(SCATTER_STEP_MS));
        Progress { reading, begun: now.tick, next, is_shown: false }
    }

    /// Shows it anew, if it is time.
    pub fn show(&mut self, now: Now) {
        if self.next.is_none_or(|next| now.tick < next) {
            return;
        }
        self.next = Some(now.tick.plus_ms(SCATTER_STEP_MS));
        self.is_shown = true;
        let text = line(self.reading.bytes(), self.reading.size, now.tick.since_ms(self.begun));
        // A terminal that is gone is no reason to stop.
        drop(write!(io::stderr(), "\r\x1b[K{text}"));
    }

    /// Takes it away.
    pub fn finish(&mut self) {
        if self.is_shown {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

/// `[=====>    ]  45 %  12.3 of 27.4 MB, 5.1 MB/s, 3 s left`
fn line(done: u64, size: u64, ms: u64) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let rate = megabytes(done) / (ms.max(1) as f64 / 1000.0);
    if size == 0 {
        return format!("{:.1} MB, {rate:.1} MB/s", megabytes(done));
    }
    let done = done.min(size);
    let filled = (WIDTH as u64 * done / size) as usize;
    let left = (ms * (size - done)).checked_div(done).unwrap_or(0) / 1000;
    format!(
        "[{}{}{}] {:3} %  {:.1} of {:.1} MB, {rate:.1} MB/s, {left} s left",
        "=".repeat(filled),
        if filled < WIDTH { ">" } else { "" },
        " ".repeat((WIDTH - filled).saturating_sub(1)),
        100 * done / size,
        megabytes(done),
        megabytes(size),
    )
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_line_says_how_far_it_has_come() {
        for (done, size, ms, expected) in [
            (0, 10_000_000, 0, "[>                             ]   0 %  0.0 of 10.0 MB, 0.0 MB/s, 0 s left"),
            (
                5_000_000,
                10_000_000,
                2_000,
                "[===============>              ]  50 %  5.0 of 10.0 MB, 2.5 MB/s, 2 s left",
            ),
            (
                10_000_000,
                10_000_000,
                4_000,
                "[==============================] 100 %  10.0 of 10.0 MB, 2.5 MB/s, 0 s left",
            ),
            (3_000_000, 0, 1_000, "3.0 MB, 3.0 MB/s"),
        ] {
            assert_eq!(line(done, size, ms), expected);
        }
    }
}
