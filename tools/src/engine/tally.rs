//! What a run has counted so far.
//!
//! What it refuses to know: who counts. Invariant: numbers only grow, but those that say how
//! things stand at this moment (`connected`, `held`, `in_flight`, …).

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;

use crate::answers::Malformed;

/// Longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies in microseconds, three digits exact.
pub type Latencies = Histogram<u64>;

/// A histogram for latencies, empty.
pub fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constant and valid")
}

/// What went wrong once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A connection was refused or could not be begun.
    Connect,
    /// A connection was not established in time.
    ConnectTimeout,
    /// A connection was reset, or failed in another way.
    Reset,
    /// What came was no answer.
    Malformed,
    /// An answer came that nobody had asked for.
    Unasked,
    /// A message arrived where it does not belong: of another channel, or never published.
    Stray,
    /// A poll was answered with this status.
    PollStatus(u16),
    /// A publication was answered with this status.
    PublishStatus(u16),
    /// A publisher's connection ended before this answer: the message may or may not be published.
    PublishUnanswered,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Connect => out.write_str("connections refused"),
            Trouble::ConnectTimeout => out.write_str("connections not established in time"),
            Trouble::Reset => out.write_str("connections reset"),
            Trouble::Malformed => out.write_str("malformed answers"),
            Trouble::Unasked => out.write_str("answers that nobody asked for"),
            Trouble::Stray => out.write_str("messages that do not belong to the channel"),
            Trouble::PollStatus(status) => write!(out, "polls answered {status}"),
            Trouble::PublishStatus(status) => write!(out, "publications answered {status}"),
            Trouble::PublishUnanswered => out.write_str("publications without an answer"),
        }
    }
}

/// Everything that went wrong, by kind.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    counts: BTreeMap<Trouble, u64>,
    first: Option<String>,
}

impl Troubles {
    /// Counts one; `what` is kept if it is the first of all.
    pub fn note(&mut self, trouble: Trouble, what: impl FnOnce() -> String) {
        *self.counts.entry(trouble).or_default() += 1;
        self.first.get_or_insert_with(|| format!("{trouble}: {}", what()));
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many there were of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (Trouble, u64)> {
        self.counts.iter().map(|(trouble, count)| (*trouble, *count))
    }

    /// What the first one was.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Adds what went wrong elsewhere.
    fn merge(&mut self, other: &Troubles) {
        for (trouble, count) in other.counts() {
            *self.counts.entry(trouble).or_default() += count;
        }
        self.first = self.first.take().or_else(|| other.first.clone());
    }
}

/// What a run has counted so far.
#[derive(Clone)]
pub struct Tally {
    /// Pollers' connections that are established now.
    pub connected: u64,
    /// Polls that were sent and are not answered now.
    pub held: u64,
    /// Pollers' connections that were established, in all.
    pub connects: u64,
    /// Of them, those that took the place of an earlier one, for whatever reason.
    pub reconnects: u64,
    /// Connections that the server closed in good order.
    pub closed_by_server: u64,
    /// Connections of pollers that do not read promptly, which the server cut.
    pub cut_by_server: u64,
    /// Polls that were sent.
    pub polls: u64,
    /// Answers to polls, of any kind.
    pub answers: u64,
    /// Of them, time-outs.
    pub empty_answers: u64,
    /// Visits that were completed ([`super::Habit::Visit`]).
    pub visits: u64,
    /// Visits that began late because the one before was not over.
    pub visits_late: u64,
    /// Messages that reached a poller for the first time.
    pub deliveries: u64,
    /// Messages that reached a poller again.
    pub duplicated: u64,
    /// Messages that came behind a later one of their channel.
    pub out_of_order: u64,
    /// Messages that did not reach a poller, by the last [`super::Engine::audit`].
    pub lost: u64,
    /// Deliveries that must happen for what was published, to pollers that are audited.
    pub expected: u64,
    /// Of them, those that did.
    pub received: u64,
    /// Publications that were sent.
    pub published: u64,
    /// Publications that were answered well.
    pub publish_answers: u64,
    /// Publications that failed, or of which it is not known: nobody must get them.
    pub publish_failed: u64,
    /// Publications that are sent and not answered now.
    pub in_flight: u64,
    /// Publications whose time has come but that wait to be sent.
    pub overdue: u64,
    /// Publications whose time has not come.
    pub planned: u64,
    /// Bytes that pollers and publishers received, of HTTP.
    pub bytes_in: u64,
    /// Bytes that they sent.
    pub bytes_out: u64,
    /// From a message's planned time to its first receipt by each audited poller.
    pub latency: Latencies,
    /// From a publication's planned time to its answer.
    pub publish_latency: Latencies,
    /// From the beginning of a connection to its establishment.
    pub connect_latency: Latencies,
    /// What went wrong.
    pub troubles: Troubles,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Tally {
        Tally {
            connected: 0,
            held: 0,
            connects: 0,
            reconnects: 0,
            closed_by_server: 0,
            cut_by_server: 0,
            polls: 0,
            answers: 0,
            empty_answers: 0,
            visits: 0,
            visits_late: 0,
            deliveries: 0,
            duplicated: 0,
            out_of_order: 0,
            lost: 0,
            expected: 0,
            received: 0,
            published: 0,
            publish_answers: 0,
            publish_failed: 0,
            in_flight: 0,
            overdue: 0,
            planned: 0,
            bytes_in: 0,
            bytes_out: 0,
            latency: latencies(),
            publish_latency: latencies(),
            connect_latency: latencies(),
            troubles: Troubles::default(),
        }
    }

    /// Adds what another engine of the run has counted.
    pub fn merge(&mut self, other: &Tally) {
        // One that is forgotten here does not compile.
        let Tally {
            connected,
            held,
            connects,
            reconnects,
            closed_by_server,
            cut_by_server,
            polls,
            answers,
            empty_answers,
            visits,
            visits_late,
            deliveries,
            duplicated,
            out_of_order,
            lost,
            expected,
            received,
            published,
            publish_answers,
            publish_failed,
            in_flight,
            overdue,
            planned,
            bytes_in,
            bytes_out,
            latency,
            publish_latency,
            connect_latency,
            troubles,
        } = other;
        self.connected += connected;
        self.held += held;
        self.connects += connects;
        self.reconnects += reconnects;
        self.closed_by_server += closed_by_server;
        self.cut_by_server += cut_by_server;
        self.polls += polls;
        self.answers += answers;
        self.empty_answers += empty_answers;
        self.visits += visits;
        self.visits_late += visits_late;
        self.deliveries += deliveries;
        self.duplicated += duplicated;
        self.out_of_order += out_of_order;
        self.lost += lost;
        self.expected += expected;
        self.received += received;
        self.published += published;
        self.publish_answers += publish_answers;
        self.publish_failed += publish_failed;
        self.in_flight += in_flight;
        self.overdue += overdue;
        self.planned += planned;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        for (all, more) in [
            (&mut self.latency, latency),
            (&mut self.publish_latency, publish_latency),
            (&mut self.connect_latency, connect_latency),
        ] {
            all.add(more).expect("all have the same bounds");
        }
        self.troubles.merge(troubles);
    }

    /// Deliveries that are still to come for what was published.
    pub fn outstanding(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// Publications that have no answer yet, planned ones with them.
    pub fn unpublished(&self) -> u64 {
        self.in_flight + self.overdue + self.planned
    }

    /// Whether everything that was planned is published and has arrived.
    pub fn is_complete(&self) -> bool {
        self.outstanding() == 0 && self.unpublished() == 0
    }

    /// Messages that did not arrive exactly once and in order.
    pub fn broken_promises(&self) -> u64 {
        self.lost + self.duplicated + self.out_of_order
    }

    pub(super) fn malformed(&mut self, why: Malformed, bytes: &[u8]) {
        let shown = bytes[..bytes.len().min(200)].escape_ascii();
        self.troubles.note(Trouble::Malformed, || format!("{why}: {shown}"));
    }
}

/// On one line, and without the histograms' many thousand counts.
impl fmt::Debug for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} connected, {} held; {} connects ({} again, {} closed, {} cut); {} polls, {} answers ({} empty); \
             {} deliveries, {} lost, {} duplicated, {} out of order; {} of {} received; \
             {} published, {} answered, {} failed, {} in flight, {} overdue, {} planned; {:?}",
            self.connected,
            self.held,
            self.connects,
            self.reconnects,
            self.closed_by_server,
            self.cut_by_server,
            self.polls,
            self.answers,
            self.empty_answers,
            self.deliveries,
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.received,
            self.expected,
            self.published,
            self.publish_answers,
            self.publish_failed,
            self.in_flight,
            self.overdue,
            self.planned,
            self.troubles,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(number: u64, latencies_us: &[u64]) -> Tally {
        let mut tally = Tally::new();
        (tally.held, tally.deliveries, tally.lost, tally.expected) = (number, 2 * number, 1, 10 * number);
        latencies_us.iter().for_each(|us| tally.latency.record(*us).expect("within bounds"));
        tally
    }

    #[test]
    fn counts_and_latencies_of_several_engines_add_up() {
        let mut sum = Tally::new();
        for part in [tally(3, &[10, 20]), tally(4, &[]), tally(5, &[7, 900, 900])] {
            sum.merge(&part);
        }
        assert_eq!((sum.held, sum.deliveries, sum.lost, sum.expected), (12, 24, 3, 120));
        assert_eq!((sum.latency.len(), sum.latency.min(), sum.latency.max()), (5, 7, 900));
        assert_eq!(sum.latency.value_at_percentile(50.0), 20);
    }

    #[test]
    fn troubles_of_several_engines_add_up() {
        let (mut one, mut two) = (Tally::new(), Tally::new());
        two.troubles.note(Trouble::Reset, || "two".to_owned());
        two.troubles.note(Trouble::Stray, || "not the first".to_owned());
        one.merge(&two);
        one.merge(&two);
        assert_eq!(one.troubles.counts().collect::<Vec<_>>(), [(Trouble::Reset, 2), (Trouble::Stray, 2)]);
        assert_eq!(one.troubles.first(), Some("connections reset: two"));
    }
}
