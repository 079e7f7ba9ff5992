//! The server as a process, and real clients on real sockets.
//!
//! What can be proven without a socket is proven beside the code; here stands what only the
//! whole program shows: processes, signals, descriptors, memory, other people's clients.
//! Every node listens on ports of its own choosing on loopback and dies with its test;
//! every wait has a deadline.

mod http;
mod node;
mod process;
mod temp;

mod channels;
mod cli;
mod clients;
mod cluster;
mod config;
mod crowd;
mod exhaustion;
mod memory;
mod polling;
mod proxies;
mod publishing;
mod signals;

use std::time::{Duration, Instant};

/// A wait that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `look` sees something; `what` says what for.
fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// [`wait_for`] with a patience of its own.
fn wait_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
