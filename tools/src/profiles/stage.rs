//! What the profiles have in common: an engine, its server, the way from the first connection
//! to the verdict, and what both sides spend between two moments.
//!
//! What it refuses to know: which profile runs. Invariant: every engine that is used ends in
//! [`Stage::conclude`], so that nothing it noticed is left out of the verdict.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::options::Plan;
use super::report::{Ending, Report};
use super::subject::{Rest, Subject};
use crate::engine::{Engine, Habit, Options, Poller, Reading, Rounds, Tally};
use crate::machine::Machine;
use crate::marker::RunId;
use crate::process::{self, Cpu};
use crate::progress::Progress;
use crate::{Fallible, series};

/// All pollers must be connected after so long, and for each this much more.
const CONNECT_MAX: Duration = Duration::from_secs(30);
const CONNECT_MAX_EACH: Duration = Duration::from_millis(2);
/// A server of which every connection fails for so long is not there.
const NOBODY_THERE: Duration = Duration::from_secs(2);
/// Publications are planned so far ahead.
const AHEAD: Duration = Duration::from_millis(500);
/// Publications that may be planned or waiting; a server that falls behind further is given no more.
const UNPUBLISHED_MAX: u64 = 1_000_000;
/// How long is waited at least before more is planned.
const TICK: Duration = Duration::from_millis(5);
/// A server that was quiet comes to no harm if nobody reads for so long at the beginning.
const LEAD: Duration = Duration::from_millis(10);

/// How both sides and the count stood at a moment.
pub(super) struct Mark {
    at: Instant,
    server: Option<Cpu>,
    own: Cpu,
    deliveries: u64,
    published: u64,
}

/// What was spent and done since a [`Mark`].
pub(super) struct Spent {
    /// By the clock.
    pub seconds: f64,
    /// The server's CPU time, if its process is known.
    pub server_us: Option<f64>,
    /// The generator's.
    pub own_us: f64,
    /// Messages that arrived.
    pub deliveries: f64,
    /// Messages that were published.
    pub published: f64,
}

/// Which channels publications go to, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLoop {
    /// How many channels, from the first.
    pub channels: u32,
    /// From one publication to the next; they go to the channels in turn.
    pub every: Duration,
}

/// A run.
pub(super) struct Stage<'a> {
    /// What it is told.
    pub plan: &'a Plan,
    /// The server.
    pub subject: Subject,
    /// The client.
    pub engine: Engine,
    /// What comes of it.
    pub report: Report,
    /// The live line.
    pub progress: Progress,
    stop: Arc<AtomicBool>,
    next_channel: u32,
}

impl<'a> Stage<'a> {
    /// An engine without pollers.
    pub fn new(
        plan: &'a Plan,
        machine: Machine,
        subject: Subject,
        stop: Arc<AtomicBool>,
    ) -> Fallible<Stage<'a>> {
        let mut progress = Progress::new(plan.voice);
        progress.phase("starting");
        Ok(Stage {
            engine: engine(plan, &subject, &stop)?,
            report: Report::new(title(plan, &subject), machine, plan.errors_max),
            plan,
            subject,
            progress,
            stop,
            next_channel: 0,
        })
    }

    /// Ends what is being done with one engine, counting it in, and begins with another one, on
    /// new channels and without connections.
    pub fn renew(&mut self) -> Fallible<()> {
        self.conclude()?;
        self.engine = engine(self.plan, &self.subject, &self.stop)?;
        self.next_channel = 0;
        Ok(())
    }

    /// The poller of that number among so many that are spread over the plan's channels.
    pub fn poller(&self, number: usize, start: Instant) -> Poller {
        Poller {
            to: self.subject.subscribe[number % self.subject.subscribe.len()],
            from: None,
            channel: (number % self.plan.channels.max(1) as usize) as u32,
            start,
            reading: Reading::Promptly,
            habit: Habit::LongPoll,
        }
    }

    /// Connects that many prompt pollers and waits until they are held; gives the time that it took.
    pub fn connect(&mut self, pollers: usize) -> Fallible<Duration> {
        let start = Instant::now() + LEAD;
        let rate = self.plan.connect_rate;
        for number in 0..pollers {
            let late =
                if rate > 0.0 { Duration::from_secs_f64(number as f64 / rate) } else { Duration::ZERO };
            let poller = self.poller(number, start + late);
            self.engine.add(poller)?;
        }
        let patience = CONNECT_MAX + CONNECT_MAX_EACH * pollers as u32;
        let slow = if rate > 0.0 { Duration::from_secs_f64(pollers as f64 / rate) } else { Duration::ZERO };
        self.until("connecting", start + patience + slow, |tally| {
            let nobody_there = tally.connects == 0 && tally.troubles.total() > 0;
            tally.held >= pollers as u64 || (nobody_there && start.elapsed() > NOBODY_THERE)
        })?;
        let took = start.elapsed();
        let tally = self.engine.tally();
        if tally.held < pollers as u64 && !self.engine.is_stopped() {
            let first = tally.troubles.first().unwrap_or("no error was seen");
            let text = format!("only {} of {pollers} polls are held after {took:.1?}; {first}", tally.held);
            return Err(text.into());
        }
        self.settle();
        Ok(took)
    }

    /// Runs until `done`, or until that moment, and shows it.
    pub fn until(&mut self, phase: &str, end: Instant, mut done: impl FnMut(&Tally) -> bool) -> Fallible<()> {
        let Stage { engine, progress, .. } = self;
        progress.phase(phase);
        engine.run(end, |tally| {
            progress.show(tally);
            done(tally)
        })
    }

    /// Publishes at fixed times, whatever the server does, until that moment.
    pub fn publish_until(
        &mut self,
        phase: &str,
        begin: Instant,
        end: Instant,
        plan: OpenLoop,
    ) -> Fallible<()> {
        let mut at = begin;
        while at < end && !self.engine.is_stopped() {
            let now = Instant::now();
            if now > end + self.plan.drain {
                self.remark("the server fell behind so far that publishing was given up".to_owned());
                break;
            }
            let horizon = (now + AHEAD).min(end);
            // What waits has its time already, and does not get another one by waiting longer.
            while at < horizon && self.engine.tally().unpublished() < UNPUBLISHED_MAX {
                self.engine.publish(at, self.next_channel, self.plan.body_bytes);
                self.next_channel = (self.next_channel + 1) % plan.channels.max(1);
                at += plan.every;
            }
            let pause = now + AHEAD / 2;
            self.until(phase, if pause < end { pause } else { end.max(now + TICK) }, |_| false)?;
        }
        self.until(phase, end, |_| false)
    }

    /// One publication to each of the plan's channels, now.
    pub fn publish_to_all(&mut self) {
        let now = Instant::now();
        for channel in 0..self.plan.channels {
            self.engine.publish(now, channel, self.plan.body_bytes);
        }
    }

    /// Lets everything arrive, and the server come to rest.
    pub fn drain(&mut self) -> Fallible<()> {
        let Stage { engine, progress, plan, .. } = self;
        progress.phase("draining");
        engine.drain(plan.drain, |tally| progress.show(tally))?;
        self.settle();
        Ok(())
    }

    /// Waits until the server has nothing to do, if its process is known.
    pub fn settle(&mut self) {
        if self.engine.is_stopped() {
            return;
        }
        match self.subject.settle() {
            Rest::Quiet | Rest::Unknown => {}
            Rest::Busy => self.remark(
                "the server did not come to rest: CPU times are as the kernel last counted them".to_owned(),
            ),
            Rest::Gone => self.remark("the server has ended".to_owned()),
        }
    }

    /// Says something once.
    pub fn remark(&mut self, text: String) {
        if !self.report.remarks.contains(&text) {
            self.report.remarks.push(text);
        }
    }

    /// How things stand now.
    pub fn mark(&self) -> Mark {
        let tally = self.engine.tally();
        Mark {
            at: Instant::now(),
            server: self.subject.cpu(),
            own: process::cpu(std::process::id()).unwrap_or_default(),
            deliveries: tally.deliveries,
            published: tally.published,
        }
    }

    /// What was spent since then.
    pub fn since(&self, mark: &Mark) -> Spent {
        let now = self.mark();
        let us = |now: Cpu, then: Cpu| now.since(then).ran_ns as f64 / 1e3;
        Spent {
            seconds: now.at.saturating_duration_since(mark.at).as_secs_f64(),
            server_us: now.server.zip(mark.server).map(|(now, then)| us(now, then)),
            own_us: us(now.own, mark.own),
            deliveries: (now.deliveries - mark.deliveries) as f64,
            published: (now.published - mark.published) as f64,
        }
    }

    /// Adds both sides' CPU time for each of so many events.
    pub fn add_cpu(&mut self, spent: &Spent, events: f64, each: &str) {
        if let Some(us) = spent.server_us {
            self.report.add("server_cpu_us", &format!("server CPU per {each}"), us / events, "µs");
        }
        self.report.add(
            "generator_cpu_us",
            &format!("generator CPU per {each}"),
            spent.own_us / events,
            "µs",
        );
    }

    /// Drains, audits, and adds what the engine noticed to the verdict.
    pub fn conclude(&mut self) -> Fallible<()> {
        self.drain()?;
        let tally = self.engine.tally().clone();
        self.report.verdict.add(&tally);
        self.remark_closed(&tally);
        Ok(())
    }

    /// Says so if the server closed connections.
    pub fn remark_closed(&mut self, tally: &Tally) {
        let (reconnects, closed) = (tally.reconnects, tally.closed_by_server);
        if closed > 0 {
            let text = format!("the server closed {} connections", series::whole(closed as f64));
            self.remark(format!("{text}; {} were opened again", series::whole(reconnects as f64)));
        }
    }

    /// The result.
    pub fn finish(mut self) -> Report {
        self.progress.finish();
        if self.engine.is_stopped() {
            self.report.ending = Ending::Interrupted;
        }
        self.report
    }
}

fn engine(plan: &Plan, subject: &Subject, stop: &Arc<AtomicBool>) -> Fallible<Engine> {
    let options = Options {
        run: RunId::fresh(),
        host: plan.host.clone(),
        publishers: plan.publishers,
        publish_window: plan.pipeline,
        connecting_max: plan.connecting,
        seed: plan.seed,
        stop: Some(Arc::clone(stop)),
        // One publication reaches many: they are worth being followed one by one.
        rounds: if plan.channels as usize * 10 <= plan.connections { Rounds::Kept } else { Rounds::Dropped },
        ..Options::new(subject.publish.clone())
    };
    Engine::new(plan.dialect(), options)
}

fn title(plan: &Plan, subject: &Subject) -> String {
    let number = |count: usize| series::whole(count as f64);
    let channels = match plan.channels {
        1 => "1 channel".to_owned(),
        more => format!("{} channels", number(more as usize)),
    };
    let polls = match plan.connections {
        0 => channels,
        connections => format!("{} polls on {channels}", number(connections)),
    };
    let pinned = plan.placement.words();
    format!("{}: {polls}, messages of {} B, {}; {pinned}", plan.profile.word(), plan.body_bytes, subject.name)
}
