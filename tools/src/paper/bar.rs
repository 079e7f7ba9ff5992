//! How far the evaluation has come: a bar on a terminal, plain lines elsewhere, on stderr.
//!
//! It refuses to know what is run. Invariant: it advances by the time that experiments were estimated to
//! take, so that what is left is about what it says.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::duration;

/// The bar is drawn so often while an experiment runs.
const TICK: Duration = Duration::from_millis(250);

/// The progress of a number of experiments.
pub struct Bar {
    bar: Option<ProgressBar>,
    count: usize,
    number: usize,
    total_s: f64,
    done_s: f64,
    /// What the running experiment was estimated to take, in seconds.
    running_s: f64,
    begun: Instant,
}

impl Bar {
    /// A bar for so many experiments that take so long together.
    pub fn new(count: usize, total_s: f64) -> Bar {
        let bar = std::io::stderr().is_terminal().then(|| terminal(total_s));
        Bar { bar, count, number: 0, total_s, done_s: 0.0, running_s: 0.0, begun: Instant::now() }
    }

    /// The experiment before is over and another one begins.
    pub fn next(&mut self, words: &str, estimate_s: f64) {
        self.done_s += self.running_s;
        self.running_s = estimate_s;
        self.number += 1;
        let line = format!("{}/{} {words}", self.number, self.count);
        let left = duration(self.left_s());
        match &self.bar {
            Some(bar) => {
                bar.set_position((self.done_s * 1e3) as u64);
                bar.set_message(format!("{line}, {left} left"));
            }
            None => eprintln!("[{}] {line}, about {left} left", duration(self.begun.elapsed().as_secs_f64())),
        }
    }

    /// Seconds that are left, judged by how good estimates have been so far.
    fn left_s(&self) -> f64 {
        let pace = if self.done_s < 1.0 { 1.0 } else { self.begun.elapsed().as_secs_f64() / self.done_s };
        (self.total_s - self.done_s).max(0.0) * pace.clamp(0.2, 5.0)
    }

    /// A line that stays, above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Everything is over.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn terminal(total_s: f64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some((total_s * 1e3) as u64), ProgressDrawTarget::stderr());
    // What cannot be drawn in this way is drawn in the usual one.
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {percent:>3} % {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_shrinks() {
        let mut bar = Bar::new(3, 9.0);
        bar.next("first", 3.0);
        let before = bar.left_s();
        bar.next("second", 3.0);
        assert!(bar.left_s() < before, "{} {before}", bar.left_s());
        bar.say("a line");
        bar.finish();
    }
}
