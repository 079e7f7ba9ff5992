//! The live line on stderr: what a run is doing at this moment.
//!
//! What it refuses to know: what the run is for. Invariant: it writes to stderr only, a few
//! times a second to a terminal, a plain line every few seconds to anything else.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::Tally;

/// A terminal's line is drawn so often.
const LIVE_EVERY: Duration = Duration::from_millis(200);
/// Lines in a log come so often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Whether there is anything to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Progress is shown.
    Shown,
    /// Nothing is said on the way.
    Quiet,
}

/// What the line shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections that are established.
    pub connected: u64,
    /// Polls that are not answered.
    pub held: u64,
    /// Messages that arrived.
    pub deliveries: u64,
    /// Messages that were published.
    pub published: u64,
    /// What is not as it should be.
    pub problems: u64,
}

impl From<&Tally> for Counts {
    fn from(tally: &Tally) -> Counts {
        Counts {
            connected: tally.connected,
            held: tally.held,
            deliveries: tally.deliveries,
            published: tally.published,
            problems: tally.duplicated + tally.out_of_order + tally.troubles.total(),
        }
    }
}

/// The line.
pub struct Progress {
    bar: Option<ProgressBar>,
    every: Option<Duration>,
    begun: Instant,
    next: Instant,
    phase: String,
    last: (Instant, u64),
}

impl Progress {
    /// A line that shows nothing yet.
    pub fn new(voice: Voice) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let now = Instant::now();
        let (bar, every) = match voice {
            Voice::Quiet => (None, None),
            Voice::Shown if terminal => (Some(bar()), Some(LIVE_EVERY)),
            Voice::Shown => (None, Some(PLAIN_EVERY)),
        };
        let next = now + every.unwrap_or_default();
        Progress { bar, every, begun: now, next, phase: String::new(), last: (now, 0) }
    }

    /// Says what is being done from now on.
    pub fn phase(&mut self, phase: &str) {
        phase.clone_into(&mut self.phase);
        // A terminal shows it at once.
        if self.bar.is_some() {
            self.next = Instant::now();
        }
    }

    /// Shows how things stand, if it is time; cheap otherwise.
    pub fn show(&mut self, counts: impl Into<Counts>) {
        let Some(every) = self.every else { return };
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let counts = counts.into();
        let line = self.line(counts, now);
        self.next = now + every;
        self.last = (now, counts.deliveries);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None => eprintln!("{line}"),
        }
    }

    /// Says something once, beside the line.
    pub fn say(&self, text: &str) {
        match (&self.bar, self.every) {
            (Some(bar), _) => bar.println(text),
            (None, Some(_)) => eprintln!("{text}"),
            (None, None) => {}
        }
    }

    /// Takes the line away: what follows is the result.
    pub fn finish(&mut self) {
        self.every = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn line(&self, counts: Counts, now: Instant) -> String {
        let (then, before) = self.last;
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        let rate = counts.deliveries.saturating_sub(before) as f64 / seconds;
        let problems = match counts.problems {
            0 => String::new(),
            problems => format!(", {problems} problems"),
        };
        format!(
            "{:5.1} s {}: {} connected, {} held, {rate:.0} deliveries/s, {} published{problems}",
            now.saturating_duration_since(self.begun).as_secs_f64(),
            self.phase,
            counts.connected,
            counts.held,
            counts.published,
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(style);
    bar
}
