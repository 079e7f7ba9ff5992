//! Polls that follow some of the channels and tell when each message came.
//!
//! What it refuses to know: who publishes. Invariant: every message of a followed channel is received
//! exactly once and in order, or an error says which was not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::batches::{Batches, published_on};
use crate::Fallible;
use crate::engine::{Latencies, latencies};
use crate::ledger::{Ledger, Receipt};
use crate::marker::{MarkerFinder, RunId};
use crate::servers::conversation::Conversation;

/// How long a poll is held at most, in seconds: as often a follower looks whether all is said.
const POLL_S: u64 = 1;
/// What has not come so long after the last publication is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// While the publisher is at work nobody knows how many entries there will be.
const UNKNOWN: u64 = u64::MAX;

/// What followers of one run have in common.
pub struct Course {
    run: RunId,
    channels: u32,
    epoch: Instant,
    /// Messages that were sent before do not count.
    from: Duration,
    /// Entries that were published, once all are.
    published: AtomicU64,
}

impl Course {
    /// A run whose messages count their time from `epoch`; what is sent in the first `warm_up` is
    /// received but not measured.
    pub fn new(batches: &Batches, epoch: Instant, warm_up: Duration) -> Course {
        let (run, channels) = (batches.run(), batches.channels());
        let from = epoch.elapsed() + warm_up;
        Course { run, channels, epoch, from, published: AtomicU64::new(UNKNOWN) }
    }

    /// Says that nothing more comes.
    pub fn finish(&self, published: u64) {
        self.published.store(published, Ordering::Release);
    }
}

/// What one follower has seen.
pub struct Followed {
    /// From sending to receipt, in microseconds.
    pub delays: Latencies,
    /// Messages, those that were not measured among them.
    pub received: u64,
}

/// Follows a channel from its first message to its last.
pub fn follow(course: &Course, to: SocketAddr, channel: u32, name: &str) -> Fallible<Followed> {
    let mut polling = Conversation::with(to)?;
    let mut follower = Follower {
        course,
        channel,
        finder: MarkerFinder::new(course.run),
        ledger: Ledger::default(),
        followed: Followed { delays: latencies(), received: 0 },
    };
    let mut after = String::new();
    let mut deadline = None;
    loop {
        let published = course.published.load(Ordering::Acquire);
        if published != UNKNOWN {
            let missing = follower.ledger.missing(published_on(channel, course.channels, published));
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            match missing {
                0 => return Ok(follower.followed),
                _ if Instant::now() < deadline => {}
                more => return Err(format!("{more} messages of {name} did not come to {to}").into()),
            }
        }
        let (status, body) = polling.get(&format!("/sub/{name}?timeout={POLL_S}{after}"))?;
        if status != 200 {
            return Err(format!("a poll on {name} was answered {status}").into());
        }
        follower.take(&body, Instant::now())?;
        let cursor = cursor(&body).ok_or("an answer without a cursor")?;
        after = format!("&after={cursor}");
    }
}

struct Follower<'a> {
    course: &'a Course,
    channel: u32,
    finder: MarkerFinder,
    ledger: Ledger,
    followed: Followed,
}

impl Follower<'_> {
    fn take(&mut self, mut body: &[u8], now: Instant) -> Fallible<()> {
        if memmem::find(body, b"\"gap\":true").is_some() {
            return Err("an answer told of a gap".into());
        }
        while let Some((marker, rest)) = self.finder.first(body) {
            body = rest;
            if marker.channel != self.channel || self.ledger.receive(marker.sequence) != Receipt::InOrder {
                return Err(
                    format!("a message came again, late, or where it does not belong: {marker:?}").into()
                );
            }
            self.followed.received += 1;
            let sent = Duration::from_nanos(marker.planned_ns);
            if sent >= self.course.from {
                let delay = now.saturating_duration_since(self.course.epoch + sent);
                self.followed.delays.saturating_record(delay.as_micros() as u64);
            }
        }
        Ok(())
    }
}

fn cursor(body: &[u8]) -> Option<&str> {
    let name = b"\"cursor\":\"";
    let rest = body.get(memmem::find(body, name)? + name.len()..)?;
    std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Marker;

    #[test]
    fn cursors_are_found() {
        assert_eq!(cursor(b"{\"cursor\":\"ARI0\",\"messages\":[]}"), Some("ARI0"));
        assert_eq!(cursor(b"{\"cursor\":\"ARI0"), None);
    }

    #[test]
    fn a_message_that_comes_again_or_elsewhere_is_an_error() {
        let batches = Batches::new(4, 60);
        let course = Course::new(&batches, Instant::now(), Duration::ZERO);
        let mut follower = Follower {
            course: &course,
            channel: 2,
            finder: MarkerFinder::new(batches.run()),
            ledger: Ledger::default(),
            followed: Followed { delays: latencies(), received: 0 },
        };
        let mut take = |channel, sequence| {
            let mut body = Vec::new();
            let planned_ns = course.from.as_nanos() as u64;
            Marker { channel, sequence, planned_ns }.write_body(batches.run(), 60, &mut body);
            follower.take(&body, course.epoch + course.from + Duration::from_millis(3)).is_ok()
        };
        assert!(take(2, 0) && take(2, 1));
        assert!(!take(2, 1) && !take(3, 0));
        assert_eq!(follower.followed.received, 2);
        // To three digits.
        assert!((2_990..3_010).contains(&follower.followed.delays.max()));
        assert!(follower.take(b"{\"gap\":true}", Instant::now()).is_err());
    }
}
