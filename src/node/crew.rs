//! The threads of the shards that follow the first.
//!
//! Each takes a table of descriptors of its own before it opens anything, so that the limit of open
//! files holds for each of them. What was open before is in all tables: that must be what all need
//! (wakers, the signals' pipe) and never a listener, which would live on in the others' tables.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Builder};

use ::log::{error, warn};

use super::run_error;
use crate::config::Config;
use crate::error::StartError;
use crate::limits::SHARDS_MAX;
use crate::reactor::listen::listen_among;
use crate::reactor::{Reactor, Verdict};
use crate::session::route::Door;

/// How many shards are meant; 0 stands for one for each core.
pub fn shard_count(config: &Config) -> usize {
    match config.shards {
        0 => thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
        count => count,
    }
}

/// Where a shard listens.
pub type Addresses = Vec<(SocketAddr, Door)>;

/// What a thread was told and tells.
struct Hand {
    addresses: Sender<Addresses>,
    /// Whether it has a table of its own, and then whether it listens.
    word: Receiver<io::Result<()>>,
}

/// All threads but the first.
pub struct Crew {
    hands: Vec<Hand>,
}

impl Crew {
    /// Starts a thread for each loop, which waits for [`Crew::listen`].
    pub fn start(reactors: Vec<Reactor>) -> Result<Crew, StartError> {
        let mut hands = Vec::new();
        for (at, reactor) in reactors.into_iter().enumerate() {
            let (addresses, told) = channel();
            let (tell, word) = channel();
            let thread = Builder::new().name(format!("shard-{}", at + 1));
            thread.spawn(move || work(reactor, &told, &tell)).map_err(run_error)?;
            hands.push(Hand { addresses, word });
        }
        for hand in &hands {
            if let Err(error) = hand.heard() {
                warn!("a shard shares the limit of open files with others: {error}");
            }
        }
        Ok(Crew { hands })
    }

    /// Has all of them listen at these addresses, too.
    pub fn listen(&self, addresses: &Addresses) -> Result<(), StartError> {
        for hand in &self.hands {
            // A thread that is gone does not answer either.
            let _ = hand.addresses.send(addresses.clone());
        }
        let heard = |hand: &Hand| hand.heard();
        self.hands
            .iter()
            .try_for_each(heard)
            .map_err(|error| StartError::Bind(format!("a shard cannot listen: {error}")))
    }
}

impl Hand {
    fn heard(&self) -> io::Result<()> {
        self.word.recv().unwrap_or_else(|_| Err(io::Error::other("its thread is gone")))
    }
}

fn work(mut reactor: Reactor, told: &Receiver<Addresses>, tell: &Sender<io::Result<()>>) {
    let _ = tell.send(unshare_descriptors());
    // The node may end before it has begun.
    let Ok(addresses) = told.recv() else { return };
    let listens = addresses.into_iter().try_for_each(|(address, door)| {
        listen_among(address).and_then(|socket| reactor.add_listener(socket, door))
    });
    let may_run = listens.is_ok();
    let _ = tell.send(listens);
    if !may_run {
        return;
    }
    let end = reactor
        .run(|shard, now| if shard.is_drained(now) { Verdict::Stop } else { Verdict::GoOn })
        .and_then(|()| reactor.finish())
        .and_then(|()| reactor.sign_off());
    if let Err(error) = end {
        // A node must not go on with one shard missing.
        error!("a shard has failed: {error}");
        std::process::exit(1);
    }
}

/// Gives the calling thread a table of descriptors of its own, a copy of the one that it shared.
#[allow(unsafe_code)]
fn unshare_descriptors() -> io::Result<()> {
    const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
    // No descriptor has so high a number: nothing is closed.
    let none = libc::c_uint::MAX;
    // SAFETY: the call takes three numbers and touches no memory of ours; descriptors stay valid, for the
    // new table is a copy.
    let result = unsafe { libc::syscall(libc::SYS_close_range, none, none, CLOSE_RANGE_UNSHARE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
