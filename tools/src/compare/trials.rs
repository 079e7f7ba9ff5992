//! One run of one contestant: its server is started, loaded, and read.
//!
//! What it refuses to know: who else takes part. Invariant: a run gives figures only if every
//! poll got every message exactly once and nothing else went wrong.
//!
//! A *round* is a publication to every poll: it is over when all are answered and held again,
//! and CPU time is read when the server has settled, so that the generator's speed decides
//! how long a round takes and not what the server does in it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::figures::{Figure, Part};
use super::flood::{Amount, Flood};
use super::options::Plan;
use crate::Fallible;
use crate::dialect::Dialect;
use crate::engine::{Engine, Habit, Options, Poller, Reading, Tally};
use crate::process::Memory;
use crate::series::Series;
use crate::servers::Server;

/// Publications without an answer when every poll has a channel of its own.
const WINDOW: usize = 256;
/// From one broadcast to the next, for each poll: longer than the slowest contestant needs.
const BROADCAST_PER_POLL: Duration = Duration::from_micros(60);
/// …and besides, so that a machine that is busy for a moment makes none of them late.
const BROADCAST_REST: Duration = Duration::from_millis(500);
/// Connections that are begun before the server is given the time to take them: what waits
/// then fits into every contestant's backlog.
const BATCH: usize = 2_048;
/// A round that takes longer has lost messages.
const ROUND_MAX: Duration = Duration::from_secs(20);
/// How long to look for answers that should not come.
const STRAY: Duration = Duration::from_millis(50);
const MEGABYTE: f64 = 1_000_000.0;

/// How polls are spread over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All on one channel: a publication reaches them all.
    OneChannel,
    /// Each on its own: a publication reaches one.
    ChannelEach,
}

impl Spread {
    fn channel(self, poll: usize) -> u32 {
        match self {
            Spread::OneChannel => 0,
            Spread::ChannelEach => poll as u32,
        }
    }

    fn channels(self, polls: usize) -> u32 {
        match self {
            Spread::OneChannel => 1,
            Spread::ChannelEach => polls as u32,
        }
    }
}

/// What a run gives.
pub type Values = Vec<(Figure, f64)>;

/// What every run of a comparison has in common.
pub struct Run<'a> {
    /// What is compared.
    pub plan: &'a Plan,
    /// How this contestant is spoken to.
    pub dialect: Dialect,
    /// Set when somebody wants to stop.
    pub stop: Arc<AtomicBool>,
}

impl Run<'_> {
    /// Polls are taken in, held, answered and held again: CPU time and memory.
    pub fn held(&self, mut server: Server, spread: Spread) -> Fallible<Values> {
        let plan = self.plan;
        self.touch(&mut server)?;
        let (memory_before, cpu_before) = (server.memory()?, server.cpu()?);
        let mut fleet = Fleet::new(self, &server, spread)?;
        let begin = Instant::now();
        fleet.connect(&mut server)?;
        let seconds = begin.elapsed().as_secs_f64();
        server.settle()?;
        let taking_in = server.cpu()?.since(cpu_before);
        let held = server.memory()?;
        let polls = plan.polls as f64;
        let mut values = Values::new();
        if spread == Spread::OneChannel {
            values.push((Figure::AcceptCpu, taking_in.ran_ns as f64 / 1_000.0 / polls));
            values.push((Figure::AcceptClock, polls / seconds));
        }
        let [memory, dirty, again_memory] = memory_figures(spread);
        values.push((memory, each(memory_before.pss, held.pss, polls)));
        values.push((dirty, each(memory_before.private_dirty, held.private_dirty, polls)));
        let [delivery_part, memory_part] = held_parts(spread);
        if plan.wants(delivery_part) || plan.wants(memory_part) {
            let again = self.first_message(&mut server, &mut fleet)?;
            values.push((again_memory, each(memory_before.pss, again.pss, polls)));
        }
        if plan.wants(delivery_part) {
            values.extend(self.deliveries(&mut server, &mut fleet)?);
        }
        fleet.finish()?;
        Ok(values)
    }

    /// One poll and its answer touch the code and the buffers that all polls share.
    fn touch(&self, server: &mut Server) -> Fallible<()> {
        let mut fleet = Fleet::new(self, server, Spread::OneChannel)?;
        fleet.polls = 1;
        fleet.connect(server)?;
        fleet.round(self.plan.body_bytes)?;
        drop(fleet);
        server.settle()
    }

    /// The first message is not measured: from it the polls have cursors.
    fn first_message(&self, server: &mut Server, fleet: &mut Fleet) -> Fallible<Memory> {
        fleet.round(self.plan.body_bytes)?;
        server.settle()?;
        server.memory()
    }

    fn deliveries(&self, server: &mut Server, fleet: &mut Fleet) -> Fallible<Values> {
        let (cpu_before, bytes_before) = (server.cpu()?, fleet.bytes());
        for _ in 0..self.plan.rounds {
            fleet.round(self.plan.body_bytes)?;
            server.settle()?;
        }
        let cpu = server.cpu()?.since(cpu_before);
        let deliveries = self.plan.polls as f64 * f64::from(self.plan.rounds);
        let us = cpu.ran_ns as f64 / 1_000.0 / deliveries;
        let waited = cpu.waited_percent();
        if fleet.spread == Spread::ChannelEach {
            return Ok(vec![(Figure::DeliveryEach, us), (Figure::WaitedEach, waited)]);
        }
        let [bytes_in, bytes_out] =
            [0, 1].map(|way| (fleet.bytes()[way] - bytes_before[way]) as f64 / deliveries);
        Ok(vec![
            (Figure::DeliveryOne, us),
            (Figure::WaitedOne, waited),
            (Figure::BytesIn, bytes_in),
            (Figure::BytesOut, bytes_out),
        ])
    }

    /// A message to all, again and again at fixed times, whatever the server does.
    pub fn broadcast(&self, mut server: Server) -> Fallible<Values> {
        let plan = self.plan;
        let mut fleet = Fleet::new(self, &server, Spread::OneChannel)?;
        fleet.connect(&mut server)?;
        fleet.round(plan.broadcast_bytes)?;
        server.settle()?;
        let interval = BROADCAST_REST + BROADCAST_PER_POLL * plan.polls as u32;
        let start = Instant::now() + Duration::from_millis(20);
        let moment = |round: u32| start + interval * round;
        for round in 0..plan.rounds {
            fleet.engine.publish(moment(round), 0, plan.broadcast_bytes);
        }
        let mut quantiles: [Series; 5] = Default::default();
        for round in 0..plan.rounds {
            fleet.engine.begin_measuring();
            fleet.run_until(moment(round + 1) - Duration::from_millis(5))?;
            if fleet.engine.tally().outstanding() > 0 {
                return Err("a broadcast was not over when the next was due: fewer --polls would help".into());
            }
            let latencies = &fleet.engine.tally().latency;
            let at = [0.0, 0.5, 0.99, 0.999, 1.0].map(|share| latencies.value_at_quantile(share));
            quantiles.iter_mut().zip(at).for_each(|(series, us)| series.0.push(us as f64 / 1_000.0));
        }
        fleet.complete()?;
        fleet.finish()?;
        let figures = [Figure::First, Figure::P50, Figure::P99, Figure::P999, Figure::Last];
        Ok(figures.into_iter().zip(quantiles.map(|series| series.median())).collect())
    }

    /// Publications to which nobody listens, as fast as they are answered.
    pub fn publish(&self, mut server: Server) -> Fallible<Values> {
        let plan = self.plan;
        let mut flood = Flood::new(&server, &self.dialect, plan.body_bytes, &self.stop)?;
        // The first ones make the channels.
        flood.run(Amount::ONCE)?;
        server.settle()?;
        let (cpu_before, begin) = (server.cpu()?, Instant::now());
        let amount = Amount { publications_max: plan.publications_max, time_max: plan.publish_time_max };
        let published = flood.run(amount)? as f64;
        let seconds = begin.elapsed().as_secs_f64();
        server.settle()?;
        let cpu_seconds = server.cpu()?.since(cpu_before).ran_ns as f64 / 1e9;
        Ok(vec![(Figure::PublishCpu, published / cpu_seconds), (Figure::PublishClock, published / seconds)])
    }

    /// What the server needs before anybody comes.
    pub fn idle(&self, mut server: Server) -> Fallible<Values> {
        server.settle()?;
        Ok(vec![(Figure::IdleRss, server.memory()?.rss as f64 / MEGABYTE)])
    }
}

fn memory_figures(spread: Spread) -> [Figure; 3] {
    match spread {
        Spread::OneChannel => [Figure::HeldOne, Figure::HeldOneDirty, Figure::AgainOne],
        Spread::ChannelEach => [Figure::HeldEach, Figure::HeldEachDirty, Figure::AgainEach],
    }
}

fn held_parts(spread: Spread) -> [Part; 2] {
    match spread {
        Spread::OneChannel => [Part::DeliveryOne, Part::MemoryOne],
        Spread::ChannelEach => [Part::DeliveryEach, Part::MemoryEach],
    }
}

/// Bytes that each of so many polls added.
fn each(before: u64, after: u64, polls: f64) -> f64 {
    (after as f64 - before as f64) / polls
}

/// Held polls and their publisher.
struct Fleet {
    engine: Engine,
    polls: usize,
    spread: Spread,
    server: std::net::SocketAddr,
}

impl Fleet {
    fn new(run: &Run<'_>, server: &Server, spread: Spread) -> Fallible<Fleet> {
        let mut options = Options::new(vec![server.publish]);
        options.publish_window = WINDOW;
        options.stop = Some(Arc::clone(&run.stop));
        let engine = Engine::new(run.dialect.clone(), options)?;
        Ok(Fleet { engine, polls: run.plan.polls, spread, server: server.subscribe })
    }

    /// Connects all polls and lets the server hold them, at its pace.
    fn connect(&mut self, server: &mut Server) -> Fallible<()> {
        let mut begun = 0;
        while begun < self.polls {
            let batch = BATCH.min(self.polls - begun);
            for poll in begun..begun + batch {
                self.engine.add(Poller {
                    to: self.server,
                    from: None,
                    channel: self.spread.channel(poll),
                    start: Instant::now(),
                    reading: Reading::Promptly,
                    habit: Habit::LongPoll,
                })?;
            }
            begun += batch;
            self.run(&format!("hold {begun} polls"), |tally| tally.held == begun as u64)?;
            server.until_asleep()?;
        }
        Ok(())
    }

    /// Publishes to every poll, and returns when each has its answer and is sent again.
    fn round(&mut self, body_bytes: usize) -> Fallible<()> {
        let now = Instant::now();
        for channel in 0..self.spread.channels(self.polls) {
            self.engine.publish(now, channel, body_bytes);
        }
        self.complete()
    }

    /// Lets everything that was published arrive, and every poll be sent again.
    fn complete(&mut self) -> Fallible<()> {
        let polls = self.polls as u64;
        self.run("deliver a message to every poll", |tally| tally.is_complete() && tally.held == polls)
    }

    /// Runs until something is reached; not to reach it is an error that says what is wrong.
    fn run(&mut self, what: &str, reached: impl Fn(&Tally) -> bool) -> Fallible<()> {
        let deadline = Instant::now() + ROUND_MAX;
        self.engine.run(deadline, |tally| reached(tally) || tally.troubles.total() > 0)?;
        if self.engine.is_stopped() {
            return Err("interrupted".into());
        }
        self.verdict()?;
        if reached(self.engine.tally()) {
            return Ok(());
        }
        let missing = self.engine.tally().outstanding();
        let seconds = ROUND_MAX.as_secs();
        Err(format!("it did not {what} within {seconds} s: {missing} deliveries are missing").into())
    }

    /// Runs until a time, whatever happens.
    fn run_until(&mut self, until: Instant) -> Fallible<()> {
        self.engine.run(until, |tally| tally.troubles.total() > 0)?;
        if self.engine.is_stopped() { Err("interrupted".into()) } else { self.verdict() }
    }

    /// Looks for answers that nobody waits for, then for anything that was wrong.
    fn finish(&mut self) -> Fallible<()> {
        self.run_until(Instant::now() + STRAY)?;
        self.engine.audit();
        self.verdict()
    }

    /// An error that sums up what was wrong, if anything was.
    fn verdict(&self) -> Fallible<()> {
        let tally = self.engine.tally();
        if tally.broken_promises() > 0 {
            let Tally { lost, duplicated, out_of_order, .. } = tally;
            return Err(format!(
                "{lost} messages lost, {duplicated} duplicated, {out_of_order} out of order"
            )
            .into());
        }
        match tally.troubles.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} troubles, the first: {first}", tally.troubles.total()).into()),
        }
    }

    /// Bytes that came and went so far.
    fn bytes(&self) -> [u64; 2] {
        [self.engine.tally().bytes_in, self.engine.tally().bytes_out]
    }
}
