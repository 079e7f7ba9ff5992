//! §4.2: a few clients that pull or long-poll, a message in the middle of each publish interval, and what
//! that costs on the wire.
//!
//! It refuses to compare. Invariant: what the publisher sends and receives is in no count, and the
//! polls by which clients arrive are not either.

use std::time::{Duration, Instant};

use super::Method;
use super::laboratory::{CHANNEL, Laboratory, PATIENCE, Question, RECEIVED_WITHIN, publish_to_nobody, words};
use super::loopback::{self, Carried};
use super::plan::{Connections, PollingJob};
use super::results::PollingRun;
use crate::Fallible;
use crate::engine::{Between, Engine, Habit, Poller, Reading};
use crate::servers::Server;

/// Acknowledgements come after so long at the latest.
const ACKNOWLEDGED: Duration = Duration::from_millis(60);
/// Clients do not come before this: they are all known by then.
const LEAD: Duration = Duration::from_millis(20);

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    http_bytes: u64,
    carried: Carried,
    answers: u64,
}

impl Count {
    fn take(engine: &Engine) -> Fallible<Count> {
        let tally = engine.tally();
        let http_bytes = tally.bytes_in + tally.bytes_out;
        Ok(Count { http_bytes, carried: loopback::carried()?, answers: tally.answers })
    }

    fn since(self, earlier: Count) -> Count {
        Count {
            http_bytes: self.http_bytes.saturating_sub(earlier.http_bytes),
            carried: Carried {
                bytes: self.carried.bytes.saturating_sub(earlier.carried.bytes),
                packets: self.carried.packets.saturating_sub(earlier.carried.packets),
            },
            answers: self.answers.saturating_sub(earlier.answers),
        }
    }
}

/// Runs one cell of Tables 1 and 2.
pub fn run(laboratory: &Laboratory, job: &PollingJob) -> Fallible<PollingRun> {
    let server = laboratory.subjects.start(job.method)?;
    let question = match job.method {
        Method::ClientPulling => Question::Pull(laboratory.plan.pulling),
        Method::ThreadPerPoll | Method::EventDriven => Question::LongPoll { timeout_s: job.long_poll_s() },
    };
    let mut engine = laboratory.engine(question, &server)?;
    let bytes = laboratory.plan.message_bytes;
    let publication = price(&mut engine, bytes)?;
    gather(&mut engine, laboratory.plan.pulling, job, &server)?;

    let (publications, interval) = (laboratory.plan.publications, job.interval());
    engine.begin_measuring();
    let before = Count::take(&engine)?;
    let begin = Instant::now();
    for number in 0..publications {
        engine.publish(begin + interval.mul_f64(number as f64 + 0.5), CHANNEL, bytes);
    }
    engine.run(begin + interval.mul_f64(publications as f64), |_| false)?;
    let spent = Count::take(&engine)?.since(before);
    engine.drain(RECEIVED_WITHIN, |_| ())?;
    Ok(sum_up(&engine, spent, publication, publications, job.row.clients))
}

/// What one publication costs that nobody waits for, on a connection that is already there.
fn price(engine: &mut Engine, bytes: usize) -> Fallible<Count> {
    publish_to_nobody(engine, bytes)?;
    let before = Count::take(engine)?;
    publish_to_nobody(engine, bytes)?;
    engine.run(Instant::now() + ACKNOWLEDGED, |_| false)?;
    Ok(Count::take(engine)?.since(before))
}

/// Lets all clients come: those that pull spread over the polling interval.
fn gather(engine: &mut Engine, pulling: Connections, job: &PollingJob, server: &Server) -> Fallible<()> {
    let clients = job.row.clients;
    let (habit, apart) = match job.method {
        Method::ClientPulling => {
            let between = match pulling {
                Connections::Fresh => Between::Reconnect,
                Connections::Kept => Between::KeepAlive,
            };
            (Habit::Pull { every: job.pull_every(), between }, job.pull_every())
        }
        Method::ThreadPerPoll | Method::EventDriven => (Habit::LongPoll, Duration::ZERO),
    };
    let first = Instant::now() + LEAD;
    for number in 0..clients {
        let start = first + apart.mul_f64(number as f64 / clients as f64);
        let poller = Poller {
            to: server.subscribe,
            from: None,
            channel: CHANNEL,
            start,
            reading: Reading::Promptly,
            habit,
        };
        engine.add(poller)?;
    }
    let wanted = clients as u64;
    let deadline = Instant::now() + PATIENCE;
    match job.method {
        Method::ClientPulling => {
            // Twice around, so that everybody was answered before anything is counted.
            engine.run(first + 2 * apart, |_| false)?;
            engine.run(deadline, |tally| tally.answers >= 2 * wanted)?;
        }
        Method::ThreadPerPoll | Method::EventDriven => engine.run(deadline, |tally| tally.held == wanted)?,
    }
    let tally = engine.tally();
    let come =
        if job.method == Method::ClientPulling { tally.answers >= wanted } else { tally.held == wanted };
    if come || engine.is_stopped() {
        return Ok(());
    }
    let troubles = words(&tally.troubles);
    Err(format!("after {} s {} of {clients} polls are held: {troubles}", PATIENCE.as_secs(), tally.held)
        .into())
}

fn sum_up(
    engine: &Engine,
    spent: Count,
    publication: Count,
    publications: usize,
    clients: usize,
) -> PollingRun {
    let tally = engine.tally();
    let each = |all: u64, published: u64| (all as f64 / publications as f64 - published as f64).max(0.0);
    let expected = (clients * publications) as u64;
    let received = tally.latency.count_between(0, RECEIVED_WITHIN.as_micros() as u64);
    PollingRun {
        payload_bytes: each(spent.http_bytes, publication.http_bytes),
        loopback_bytes: each(spent.carried.bytes, publication.carried.bytes),
        loopback_packets: each(spent.carried.packets, publication.carried.packets),
        answers: each(spent.answers, 0),
        trip_ms: if received > 0 { tally.latency.mean() / 1e3 } else { f64::NAN },
        trip_p99_ms: if received > 0 { tally.latency.value_at_quantile(0.99) as f64 / 1e3 } else { f64::NAN },
        received_percent: 100.0 * received as f64 / expected as f64,
        lost: expected.saturating_sub(received),
        duplicated: tally.duplicated,
        errors: tally.troubles.total(),
    }
}
