//! §4.3 and §4.4: many connections that hold a poll on one channel, and a few messages to all of them.
//!
//! It refuses to compare. Invariant: what a server cannot do is a result and not a failure: a crowd that is
//! not whole is measured as far as it came, and one that fills the memory is let go.

use std::time::{Duration, Instant};

use super::laboratory::{CHANNEL, Laboratory, Question, RECEIVED_WITHIN, publish_to_nobody, words};
use super::memory::{self, Kernel};
use super::plan::{CrowdJob, Front};
use super::results::CrowdRun;
use super::{limits, nodes, published};
use crate::Fallible;
use crate::engine::{Engine, Habit, Poller, Reading, Tally};
use crate::servers::Server;

/// Descriptors that the client needs besides those of its connections.
const DESCRIPTORS_SPARE: usize = 100;
/// A crowd that has not grown for so long has come as far as it will.
const STANDSTILL: Duration = Duration::from_secs(5);
/// A crowd may take so long at most.
const GATHERING_MAX: Duration = Duration::from_secs(120);
/// Memory is looked at so often.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// After the last poll is sent, the server has so long to hold it.
const SETTLE: Duration = Duration::from_millis(300);

/// What clients are connected to.
struct Facade {
    /// The servers; the first one is published to and its memory is read.
    servers: Vec<Server>,
    /// The load balancers before them, if any.
    balancers: Vec<Server>,
    /// What is not as it should be, for a person.
    trouble: String,
}

/// Whether a crowd may go on.
struct Watch {
    next: Instant,
    grown: Instant,
    held: u64,
    full: bool,
}

impl Watch {
    fn new() -> Watch {
        let now = Instant::now();
        Watch { next: now, grown: now, held: 0, full: false }
    }

    /// Whether all that will come have come: all that are wanted, or no more.
    fn is_over(&mut self, tally: &Tally, wanted: u64) -> bool {
        let now = Instant::now();
        if tally.held > self.held {
            (self.held, self.grown) = (tally.held, now);
        }
        tally.held >= wanted || now - self.grown > STANDSTILL || self.is_full(now)
    }

    fn is_full(&mut self, now: Instant) -> bool {
        if now >= self.next {
            self.next = now + WATCH_EVERY;
            self.full |= limits::memory_is_full();
        }
        self.full
    }
}

/// Runs one point of Figures 9 to 13.
pub fn run(laboratory: &Laboratory, job: &CrowdJob) -> Fallible<CrowdRun> {
    let needed = job.connections + DESCRIPTORS_SPARE;
    if needed > laboratory.descriptors {
        let limit = laboratory.descriptors;
        return Err(format!("{needed} descriptors are needed and {limit} allowed (ulimit -n)").into());
    }
    let mut facade = facade(laboratory, job)?;
    let question = Question::LongPoll { timeout_s: published::LONG_POLL_S as u64 };
    let mut engine = laboratory.engine(question, &facade.servers[0])?;
    publish_to_nobody(&mut engine, laboratory.plan.message_bytes)?;
    let before = Kernel::look();
    let mut watch = Watch::new();
    let mut run = gather(&mut engine, &facade, job, &mut watch)?;
    run.memory = memory::crowd(facade.servers[0].pid, before).ok();
    run.trouble = facade.trouble.clone();
    if watch.full {
        add(&mut run.trouble, "stopped because the memory was full");
        return Ok(run);
    }
    broadcast(&mut engine, laboratory, job, &mut watch)?;
    judge(&mut run, &engine, laboratory, job);
    if watch.full {
        add(&mut run.trouble, "stopped because the memory was full");
    }
    if facade.servers.iter_mut().any(|server| server.cpu().is_err()) {
        add(&mut run.trouble, "the server ended");
    }
    Ok(run)
}

fn facade(laboratory: &Laboratory, job: &CrowdJob) -> Fallible<Facade> {
    let servers = match job.front {
        Front::Direct => vec![laboratory.subjects.start(job.method)?],
        Front::Nodes(nodes) => laboratory.subjects.start_nodes(nodes)?,
    };
    let mut facade = Facade { servers, balancers: Vec::new(), trouble: String::new() };
    if job.front != Front::Direct {
        balance(laboratory, job, &mut facade)?;
    }
    Ok(facade)
}

/// Puts load balancers before the servers, or says that there are none.
fn balance(laboratory: &Laboratory, job: &CrowdJob, facade: &mut Facade) -> Fallible<()> {
    let Some(haproxy) = &laboratory.haproxy else {
        facade.trouble = format!("{}: clients were connected to the nodes themselves", nodes::HOW_TO_GET);
        return Ok(());
    };
    let to: Vec<_> = facade.servers.iter().map(|server| server.subscribe).collect();
    let count = nodes::balancers(job.connections, laboratory.descriptors);
    let each = job.connections.div_ceil(count);
    for number in 0..count {
        facade.balancers.push(nodes::start(&laboratory.subjects.stage, haproxy, number, &to, each)?);
    }
    Ok(())
}

/// Lets the crowd come.
fn gather(engine: &mut Engine, facade: &Facade, job: &CrowdJob, watch: &mut Watch) -> Fallible<CrowdRun> {
    let fronts = if facade.balancers.is_empty() { &facade.servers } else { &facade.balancers };
    let start = Instant::now();
    for number in 0..job.connections {
        engine.add(Poller {
            to: fronts[number % fronts.len()].subscribe,
            from: None,
            channel: CHANNEL,
            start,
            reading: Reading::Promptly,
            habit: Habit::LongPoll,
        })?;
    }
    let wanted = job.connections as u64;
    engine.run(start + GATHERING_MAX, |tally| watch.is_over(tally, wanted))?;
    let connect_s = if watch.held >= wanted { start.elapsed() } else { watch.grown - start }.as_secs_f64();
    if !watch.full {
        engine.run(Instant::now() + SETTLE, |_| false)?;
    }
    Ok(CrowdRun { held: engine.tally().held, connect_s, ..CrowdRun::default() })
}

/// Publishes to all and waits until everything has arrived, or cannot any more in time.
fn broadcast(
    engine: &mut Engine,
    laboratory: &Laboratory,
    job: &CrowdJob,
    watch: &mut Watch,
) -> Fallible<()> {
    let plan = &laboratory.plan;
    let gap = plan.broadcast_gap(job.connections);
    engine.begin_measuring();
    let first = Instant::now() + gap / 2;
    let mut last = first;
    for number in 0..plan.broadcasts {
        last = first + gap.mul_f64(number as f64);
        engine.publish(last, CHANNEL, plan.message_bytes);
    }
    engine.run(last + RECEIVED_WITHIN, |tally| tally.is_complete() || watch.is_full(Instant::now()))
}

fn judge(run: &mut CrowdRun, engine: &Engine, laboratory: &Laboratory, job: &CrowdJob) {
    let tally = engine.tally();
    let wanted = (job.connections * laboratory.plan.broadcasts) as u64;
    let received = tally.latency.count_between(0, RECEIVED_WITHIN.as_micros() as u64);
    if received > 0 {
        run.trip_ms = Some(tally.latency.mean() / 1e3);
        run.trip_p99_ms = Some(tally.latency.value_at_quantile(0.99) as f64 / 1e3);
        run.trip_max_ms = Some(tally.latency.max() as f64 / 1e3);
    }
    run.received_percent = Some(100.0 * received as f64 / wanted as f64);
    run.lost = wanted.saturating_sub(received);
    run.duplicated = tally.duplicated;
    run.errors = tally.troubles.total();
    if run.held < job.connections as u64 {
        add(&mut run.trouble, &format!("only {} of {} polls were held", run.held, job.connections));
    }
    add(&mut run.trouble, &words(&tally.troubles));
}

/// One more thing that went wrong.
fn add(trouble: &mut String, more: &str) {
    if !trouble.is_empty() && !more.is_empty() {
        trouble.push_str("; ");
    }
    trouble.push_str(more);
}
