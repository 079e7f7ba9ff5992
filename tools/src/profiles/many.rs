//! More idle polls than one thread may have descriptors: several load workers, a server of several shards.
//!
//! | module | what |
//! |---|---|
//! | `fit` | into how many parts a run is divided, and whether the machine has room for it |
//! | `worker` | a thread that polls, with descriptors of its own |
//! | `told` | the figures of the run, and its table |
//!
//! All workers' engines and the one that publishes share a run. What it refuses to know: sockets. Invariant:
//! each part is waited for in bounded time, and a message to all is followed by another one only if
//! everybody has got the first: what is lost is not made up for.

pub mod fit;
mod told;
mod worker;

use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::options::{OwnServer, Plan};
use super::stage::Stage;
use crate::engine::{Onward, Tally};
use crate::machine::{self, KernelMemory};
use crate::process::Memory;
use crate::progress::Counts;
use crate::servers::conversation::Conversation;
use crate::{Fallible, series};
use fit::{Division, Ends, Needs, Room};
use told::{Broadcast, Held, Idle, Told};
use worker::{Command, Job, Standing, Worker};

/// All polls must be held after so long, and for each this much more.
const CONNECT_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX_EACH: Duration = Duration::from_micros(200);
/// A server of which every connection fails for so long is not there.
const NOBODY_THERE: Duration = Duration::from_secs(2);
/// The server has taken all connections so long after they were made.
const ACCEPT_MAX: Duration = Duration::from_secs(60);
/// Workers begin at the same moment, so long after they were told.
const LEAD: Duration = Duration::from_millis(50);
/// A server whose polls time out never comes to rest; it gets so long for the rest of its work.
const REST_MAX: Duration = Duration::from_secs(2);
/// The server is asked again after so long.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// After all have a message, one that somebody gets again is waited for so long.
const AGAIN: Duration = Duration::from_millis(300);
/// The kernel's buffers are looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where all polls begin.
const ALL: u32 = 0;

/// What an estimate of the time goes by, on a machine of two cores: polls that connect, and messages that
/// arrive, in a second.
const CONNECTS_PER_S: f64 = 15_000.0;
const DELIVERIES_PER_S: f64 = 25_000.0;

/// A run.
struct Many<'s, 'p> {
    stage: &'s mut Stage<'p>,
    workers: Vec<Worker>,
    polls: u64,
    /// How many messages had arrived when that was last told.
    deliveries: u64,
    /// How many had come again.
    duplicated: u64,
    /// The most that were ever found lost.
    lost: u64,
}

/// What memory looked like.
#[derive(Clone, Copy)]
struct Look {
    user: Option<Memory>,
    kernel: KernelMemory,
    unused: Option<u64>,
}

/// Refuses what this machine has no room for.
pub(super) fn check_room(plan: &Plan) -> Result<(), String> {
    let room = Room::look();
    needs(plan, &room).check(&room)
}

fn needs(plan: &Plan, room: &Room) -> Needs {
    let is_ours = plan.targets.iter().all(|to| to.ip().is_loopback());
    Needs::of(plan.connections, if is_ours { Ends::Both } else { Ends::Ours }, room)
}

pub(super) fn run(stage: &mut Stage<'_>, division: Division) -> Fallible<()> {
    stage.progress.say(&estimate(stage.plan, division));
    let mut told = Told::new(stage, division);
    let dropped = machine::dropped_packets();
    stage.settle();
    let before = Look::now(stage);
    let mut many = Many::start(stage, division)?;
    told.held = Some(many.connect(before)?);
    let all_is_well = many.measure(&mut told)?;
    if all_is_well {
        told.held_again = Look::now(many.stage).user.zip(before.user);
    }
    many.conclude()?;
    remark_dropped(stage, machine::dropped_packets().saturating_sub(dropped));
    told.into_report(&mut stage.report);
    Ok(())
}

/// What a machine that talks to itself drops is not told to the sender: connections may be taken for dead.
fn remark_dropped(stage: &mut Stage<'_>, dropped: u64) {
    if dropped > 0 {
        stage.remark(format!(
            "the kernel dropped {} packets on their way from this machine to itself: more came at once than \
             net.core.netdev_max_backlog",
            series::whole(dropped as f64)
        ));
    }
}

impl<'s, 'p> Many<'s, 'p> {
    /// Starts the workers, which do nothing yet.
    fn start(stage: &'s mut Stage<'p>, division: Division) -> Fallible<Many<'s, 'p>> {
        let plan = stage.plan;
        let mut workers = Vec::with_capacity(division.workers);
        for worker in 0..division.workers {
            let mut options = stage.engine.companion();
            options.seed = options.seed.wrapping_add(1 + worker as u64);
            workers.push(Worker::start(Job {
                worker,
                polls: division.share(plan.connections, worker),
                targets: stage.subject.subscribe.clone(),
                channel: ALL,
                dialect: plan.dialect(),
                options,
                connect_rate: plan.connect_rate / division.workers as f64,
            })?);
        }
        for worker in &workers {
            worker.answer()?;
        }
        let polls = plan.connections as u64;
        Ok(Many { stage, workers, polls, deliveries: 0, duplicated: 0, lost: 0 })
    }

    /// Connects all polls and waits until they are held.
    fn connect(&mut self, before: Look) -> Fallible<Held> {
        let (plan, polls) = (self.stage.plan, self.polls);
        let mark = self.stage.mark();
        let start = Instant::now() + LEAD;
        self.command(|_| Command::Connect(start))?;
        let slow = if plan.connect_rate > 0.0 { polls as f64 / plan.connect_rate } else { 0.0 };
        let patience = CONNECT_MAX + CONNECT_MAX_EACH * polls as u32 + Duration::from_secs_f64(slow);
        let sum = self.until("connecting", start + patience, |sum, _| {
            let nobody_there = sum.connects == 0 && sum.problems > 0;
            sum.full_at.is_some() || (nobody_there && start.elapsed() > NOBODY_THERE)
        })?;
        if sum.full_at.is_none() && !self.stage.engine.is_stopped() {
            let tally = self.tell()?;
            let first = tally.troubles.first().unwrap_or("no error was seen");
            let took = start.elapsed();
            return Err(
                format!("only {} of {polls} polls are held after {took:.1?}; {first}", sum.held).into()
            );
        }
        let by_server = self.until_taken();
        let accepted = start.elapsed();
        self.rest();
        let spent = self.stage.since(&mark);
        Ok(Held {
            connected: sum.full_at.map_or(accepted, |at| at.saturating_duration_since(start)),
            accepted,
            by_server,
            server_us: spent.server_us,
            before,
            after: Look::now(self.stage),
        })
    }

    /// Waits until the server of our own counts as many held polls as there are, and tells how many it counts.
    /// Some are always under way once polls time out, so all connections will do after a while.
    fn until_taken(&mut self) -> Option<u64> {
        let begun = Instant::now();
        let mut asking = self.own_server()?;
        loop {
            let (held, connections) = ask(&mut asking)?;
            let waited = begun.elapsed();
            let will_do = connections >= self.polls && waited > REST_MAX;
            if held >= self.polls || will_do || waited > ACCEPT_MAX || self.stage.engine.is_stopped() {
                return Some(held);
            }
            sleep(ASK_EVERY);
        }
    }

    /// Somebody who asks the server of our own.
    fn own_server(&self) -> Option<Conversation> {
        let plan = self.stage.plan;
        let is_own = plan.targets.is_empty() && matches!(plan.own, OwnServer::PushUp(_));
        let publish = self.stage.subject.publish.first().filter(|_| is_own)?;
        Conversation::with(*publish).ok()
    }

    /// All that is measured once polls are held; whether everything arrived.
    fn measure(&mut self, told: &mut Told) -> Fallible<bool> {
        told.idle = Some(self.idle()?);
        let mut messages = vec![(ALL..ALL + 1, None)];
        let channels = self.stage.plan.channels;
        if channels > 1 {
            let first = ALL + 1;
            messages.push((ALL..ALL + 1, Some(Onward { first, count: channels, place: 0 })));
            messages.push((first..first + channels, None));
        }
        for (on, onward) in messages {
            if self.stage.engine.is_stopped() {
                return Ok(false);
            }
            if let Some(onward) = onward {
                self.command(|_| Command::LeadOn(onward))?;
            }
            let broadcast = self.broadcast(on)?;
            let is_complete = broadcast.is_complete;
            told.broadcasts.push(broadcast);
            if !is_complete {
                if !self.stage.engine.is_stopped() {
                    self.stage
                        .remark("nothing more was published: not everything arrived in time".to_owned());
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Polls time out and are sent again.
    fn idle(&mut self) -> Fallible<Idle> {
        let before = Standing::sum(self.workers.iter().map(Worker::standing));
        let mark = self.stage.mark();
        let after = self.until("holding", Instant::now() + self.stage.plan.duration, |_, _| false)?;
        let spent = self.stage.since(&mark);
        Ok(Idle {
            seconds: spent.seconds,
            time_outs: after.empty_answers.saturating_sub(before.empty_answers),
            server_us: spent.server_us,
            by_server: self.own_server().and_then(|mut asking| ask(&mut asking)).map(|(held, _)| held),
        })
    }

    /// One message on each of these channels, until everybody has it and polls again.
    fn broadcast(&mut self, channels: Range<u32>) -> Fallible<Broadcast> {
        self.command(|_| Command::Expect(channels.clone()))?;
        self.rest();
        let (mark, now, polls) = (self.stage.mark(), Instant::now(), self.polls);
        for channel in channels.clone() {
            self.stage.engine.publish(now, channel, self.stage.plan.body_bytes);
        }
        let (mut buffers, mut looked) = (0, now);
        let is_done =
            |sum: &Standing, tally: &Tally| tally.is_complete() && sum.outstanding == 0 && sum.held >= polls;
        let sum = self.until("broadcasting", now + self.stage.plan.drain, |sum, tally| {
            if looked.elapsed() >= LOOK_EVERY {
                (buffers, looked) = (machine::tcp_buffer_bytes().max(buffers), Instant::now());
            }
            is_done(sum, tally)
        })?;
        self.rest();
        let spent = self.stage.since(&mark);
        // What comes again comes with the next poll.
        self.until("waiting for what comes again", Instant::now() + AGAIN, |_, _| false)?;
        let tally = self.tell()?;
        let (deliveries, duplicated) =
            (tally.deliveries - self.deliveries, tally.duplicated - self.duplicated);
        (self.deliveries, self.duplicated) = (tally.deliveries, tally.duplicated);
        self.lost = self.lost.max(tally.lost);
        Ok(Broadcast {
            channels: channels.len() as u32,
            deliveries,
            lost: tally.lost,
            duplicated,
            is_complete: sum.outstanding == 0 && self.stage.engine.tally().is_complete(),
            latency: tally.latency,
            server_us: spent.server_us,
            buffers,
        })
    }

    /// Tells every worker to do something, and waits until all have.
    fn command(&mut self, command: impl Fn(usize) -> Command) -> Fallible<Vec<Option<Box<Tally>>>> {
        self.workers.iter().enumerate().for_each(|(number, worker)| worker.command(command(number)));
        self.workers.iter().map(Worker::answer).collect()
    }

    /// What all have counted.
    fn tell(&mut self) -> Fallible<Tally> {
        let mut sum = Tally::new();
        self.command(|_| Command::Tell)?.iter().flatten().for_each(|tally| sum.merge(tally));
        Ok(sum)
    }

    /// Lets the workers poll until `done` or until that moment, and shows it.
    fn until(
        &mut self,
        phase: &str,
        end: Instant,
        mut done: impl FnMut(&Standing, &Tally) -> bool,
    ) -> Fallible<Standing> {
        let Stage { engine, progress, .. } = &mut *self.stage;
        progress.phase(phase);
        let stand = || Standing::sum(self.workers.iter().map(Worker::standing));
        engine.run(end, |tally| {
            let sum = stand();
            progress.show(Counts {
                connected: sum.connected,
                held: sum.held,
                deliveries: sum.deliveries,
                published: tally.published,
                problems: sum.problems + tally.troubles.total(),
            });
            sum.is_over || done(&sum, tally)
        })?;
        let sum = stand();
        if sum.is_over {
            // Its last answer says why.
            self.command(|_| Command::Tell)?;
        }
        Ok(sum)
    }

    /// Gives the server time for what it still has to do.
    fn rest(&mut self) {
        if !self.stage.engine.is_stopped() {
            self.stage.subject.settle_within(REST_MAX);
        }
    }

    /// Adds what all have counted to the verdict, and lets the connections go.
    fn conclude(mut self) -> Fallible<()> {
        let mut tally = self.tell()?;
        // What came after it was given up was lost all the same.
        tally.lost = tally.lost.max(self.lost);
        self.stage.report.verdict.add(&tally);
        self.stage.remark_closed(&tally);
        self.stage.conclude()?;
        self.stage.progress.say("closing");
        let threads: Vec<_> = self.workers.into_iter().map(Worker::end).collect();
        for thread in threads {
            thread.join().map_err(|_| "a load worker failed")?;
        }
        Ok(())
    }
}

/// Held polls and connections, as the server counts them.
fn ask(asking: &mut Conversation) -> Option<(u64, u64)> {
    let stats = asking.json("/stats").ok()?;
    Some((stats["held_polls"].as_u64()?, stats["connections"].as_u64()?))
}

impl Look {
    fn now(stage: &Stage<'_>) -> Look {
        let (user, kernel) = (stage.subject.memory(), KernelMemory::look());
        Look { user, kernel, unused: machine::unused_bytes() }
    }
}

/// What is to come, in one line.
fn estimate(plan: &Plan, division: Division) -> String {
    let polls = plan.connections as f64;
    let broadcasts = if plan.channels > 1 { 3.0 } else { 1.0 };
    let seconds = polls / CONNECTS_PER_S
        + plan.duration.as_secs_f64()
        + broadcasts * (polls / DELIVERIES_PER_S + REST_MAX.as_secs_f64());
    let needs = needs(plan, &Room::look());
    format!(
        "{} polls: {} load workers, {}; up to {} of memory and {} open files; about {seconds:.0} s with two cores",
        series::whole(polls),
        division.workers,
        if plan.targets.is_empty() {
            format!("{} shards", division.shards)
        } else {
            "a running server".to_owned()
        },
        series::bytes(needs.memory as f64),
        series::whole(needs.files as f64),
    )
}
