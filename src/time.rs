//! Time as the program knows it: what the clock says, read in one place.
//!
//! This is the only module that reads the operating system's clocks. Everything
//! else is given a [`Now`], which is what makes a test or a simulation exact.
//! Invariant: within one tick of the reactor every module sees the same `Now`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in wall-clock time: Unix milliseconds, as in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The end of time; the paper's default end of a time range (§3.2).
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// This moment `ms` milliseconds later, never past the end of time.
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Whole seconds since the Unix epoch, as JWT and HTTP dates want them.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// A point in monotonic time: milliseconds since the process started.
///
/// Time-outs are measured in ticks, so that a step of the wall clock neither
/// ends a held poll nor keeps it for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// This moment `ms` milliseconds later.
    pub fn plus_ms(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, 0 if it is not earlier.
    pub fn since_ms(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read once per tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time: what messages are stamped with.
    pub wall: Timestamp,
    /// Monotonic time: what time-outs are measured with.
    pub tick: Tick,
}

impl Now {
    /// Both clocks `ms` milliseconds later; for virtual time.
    pub fn plus_ms(self, ms: u64) -> Now {
        Now { wall: self.wall.plus_ms(ms), tick: self.tick.plus_ms(ms) }
    }
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose ticks start at 0 now.
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        Now { wall: Timestamp(unix_ms()), tick: Tick(millis(self.started.elapsed())) }
    }
}

/// Unix milliseconds; 0 for a clock set before 1970.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
