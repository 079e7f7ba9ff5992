//! Signals become a byte in a pipe that the loop watches, and a count of what was asked.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, register};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals of this process.
pub struct Signals {
    stops: Arc<AtomicUsize>,
    reloads: Arc<AtomicUsize>,
    wake: UnixStream,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    pub fn install() -> io::Result<Signals> {
        let (wake, woken) = UnixStream::pair()?;
        let signals = Signals { stops: Arc::default(), reloads: Arc::default(), wake };
        for (signal, count) in
            [(SIGTERM, &signals.stops), (SIGINT, &signals.stops), (SIGHUP, &signals.reloads)]
        {
            count_signal(signal, count.clone())?;
            // In this order: who is woken finds the count raised.
            pipe::register(signal, woken.try_clone()?)?;
        }
        Ok(signals)
    }

    /// What becomes readable when a signal has come.
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.wake.try_clone()
    }

    /// The next signal that has not been taken.
    pub fn take(&mut self) -> Option<Signal> {
        if take_one(&self.reloads) {
            Some(Signal::Reload)
        } else {
            take_one(&self.stops).then_some(Signal::Stop)
        }
    }
}

#[allow(unsafe_code)]
fn count_signal(signal: i32, count: Arc<AtomicUsize>) -> io::Result<()> {
    let raise = move || {
        count.fetch_add(1, Ordering::SeqCst);
    };
    // SAFETY: an atomic addition is all that happens in the handler, and that is allowed there.
    unsafe { register(signal, raise) }.map(drop)
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| waiting.checked_sub(1)).is_ok()
}
