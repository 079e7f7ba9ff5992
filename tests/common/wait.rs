//! Waiting with an end.

use std::time::{Duration, Instant};

/// A wait that takes longer than this has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `look` sees something; `what` says what for.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// [`wait_for`] with a patience of its own.
pub fn wait_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
