//! A load worker: a thread with descriptors of its own and an engine that polls, told what to do by letters.
//!
//! What it refuses to know: the other workers, and who publishes. Invariant: it answers every command once,
//! and what stops it is its last answer; it ends when nobody commands it any more.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::fit::source;
use crate::dialect::Dialect;
use crate::engine::{Engine, Habit, Onward, Options, Poller, Reading, Tally};
use crate::{Fallible, sys};

/// A worker that does not answer for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// The loop is entered anew so often; commands are looked for at every turn of it.
const LEG: Duration = Duration::from_secs(3_600);

/// What a worker is made with.
pub(super) struct Job {
    /// Its number.
    pub worker: usize,
    /// Its polls, by their numbers among all.
    pub polls: Range<usize>,
    /// Where they go, in turn.
    pub targets: Vec<SocketAddr>,
    /// The channel that all of them begin with.
    pub channel: u32,
    /// How the server is spoken to.
    pub dialect: Dialect,
    /// How its engine works.
    pub options: Options,
    /// Polls a second that it may connect; as many as possible if 0.
    pub connect_rate: f64,
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Connect from that moment on.
    Connect(Instant),
    /// A message will be published on each of these channels, and is measured.
    Expect(Range<u32>),
    /// After the next message, poll on one of these channels; the place is the worker's own.
    LeadOn(Onward),
    /// Tell what was counted, with what is lost by now.
    Tell,
}

/// How a worker stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// Connections.
    pub connected: u64,
    /// Polls without an answer.
    pub held: u64,
    /// Messages that arrived.
    pub deliveries: u64,
    /// Deliveries that are still to come.
    pub outstanding: u64,
    /// Polls that timed out.
    pub empty_answers: u64,
    /// Connections that were ever established.
    pub connects: u64,
    /// Messages that came again or late, and errors.
    pub problems: u64,
    /// When all its polls were held for the first time.
    pub full_at: Option<Instant>,
    /// It has ended.
    pub is_over: bool,
}

impl Standing {
    fn take(&mut self, tally: &Tally, polls: u64) {
        let full_at = self.full_at.or_else(|| (tally.held >= polls).then(Instant::now));
        *self = Standing {
            connected: tally.connected,
            held: tally.held,
            deliveries: tally.deliveries,
            outstanding: tally.outstanding(),
            empty_answers: tally.empty_answers,
            connects: tally.connects,
            problems: tally.duplicated + tally.out_of_order + tally.troubles.total(),
            full_at,
            is_over: self.is_over,
        };
    }

    /// Adds another worker's; all are full when the last one is.
    pub fn add(&mut self, other: &Standing) {
        self.connected += other.connected;
        self.held += other.held;
        self.deliveries += other.deliveries;
        self.outstanding += other.outstanding;
        self.empty_answers += other.empty_answers;
        self.connects += other.connects;
        self.problems += other.problems;
        self.full_at = self.full_at.zip(other.full_at).map(|(one, two)| one.max(two));
        self.is_over |= other.is_over;
    }

    /// That of several workers.
    pub fn sum(all: impl Iterator<Item = Standing>) -> Standing {
        let sum = all.reduce(|mut sum, next| {
            sum.add(&next);
            sum
        });
        sum.unwrap_or_default()
    }
}

type Answer = Fallible<Option<Box<Tally>>>;

/// A worker, for its commander. Dropping it lets its connections go; see [`Worker::end`].
pub(super) struct Worker {
    commands: Sender<Command>,
    answers: Receiver<Answer>,
    standing: Arc<Mutex<Standing>>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts one; its first answer is that it is ready to connect.
    pub fn start(job: Job) -> Fallible<Worker> {
        let (commands, told) = channel();
        let (tell, answers) = channel();
        let standing = Arc::default();
        let desk = Desk { told, tell, standing: Arc::clone(&standing) };
        let thread = Builder::new().name(format!("load-{}", job.worker));
        let thread = thread.spawn(move || desk.work(&job))?;
        Ok(Worker { commands, answers, standing, thread })
    }

    /// Tells it to do something; its answer is to be waited for.
    pub fn command(&self, command: Command) {
        // One that has ended has said why.
        let _ = self.commands.send(command);
    }

    /// Waits for the next answer.
    pub fn answer(&self) -> Answer {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err("a load worker does not answer".into()),
            Err(RecvTimeoutError::Disconnected) => Err("a load worker has ended".into()),
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it close its connections; the thread is to be waited for.
    pub fn end(self) -> JoinHandle<()> {
        self.thread
    }
}

/// A worker's own side.
struct Desk {
    told: Receiver<Command>,
    tell: Sender<Answer>,
    standing: Arc<Mutex<Standing>>,
}

impl Desk {
    fn work(self, job: &Job) {
        if let Err(error) = self.try_work(job) {
            // Nobody listens any more if it is the commander who ended.
            let _ = self.tell.send(Err(format!("load worker {}: {error}", job.worker).into()));
        }
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
    }

    fn try_work(&self, job: &Job) -> Fallible<()> {
        sys::own_descriptors().map_err(|error| format!("no descriptor table of its own: {error}"))?;
        let mut engine = Engine::new(job.dialect.clone(), job.options.clone())?;
        self.answer(None);
        while let Some(command) = self.run(&mut engine, job.polls.len() as u64)? {
            let told = carry_out(command, job, &mut engine)?;
            // Who has the answer finds the worker as it stands since.
            self.stand(engine.tally(), job.polls.len() as u64);
            self.answer(told);
        }
        Ok(())
    }

    fn answer(&self, tally: Option<Box<Tally>>) {
        let _ = self.tell.send(Ok(tally));
    }

    fn stand(&self, tally: &Tally, polls: u64) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).take(tally, polls);
    }

    /// Polls until there is a command; none if there will not be any.
    fn run(&self, engine: &mut Engine, polls: u64) -> Fallible<Option<Command>> {
        let mut heard = Err(TryRecvError::Empty);
        while let Err(TryRecvError::Empty) = heard {
            if engine.is_stopped() {
                return Ok(self.told.recv().ok());
            }
            engine.run(Instant::now() + LEG, |tally| {
                self.stand(tally, polls);
                heard = self.told.try_recv();
                !matches!(heard, Err(TryRecvError::Empty))
            })?;
        }
        Ok(heard.ok())
    }
}

fn carry_out(command: Command, job: &Job, engine: &mut Engine) -> Fallible<Option<Box<Tally>>> {
    match command {
        Command::Connect(start) => connect(job, engine, start).map(|()| None),
        Command::Expect(channels) => {
            engine.begin_measuring();
            channels.for_each(|channel| engine.expect(channel));
            Ok(None)
        }
        Command::LeadOn(onward) => {
            engine.lead_on(Onward { place: job.polls.start, ..onward });
            Ok(None)
        }
        Command::Tell => {
            // What is under way when somebody wants to stop is not lost.
            if !engine.is_stopped() {
                engine.audit();
            }
            Ok(Some(Box::new(engine.tally().clone())))
        }
    }
}

fn connect(job: &Job, engine: &mut Engine, start: Instant) -> Fallible<()> {
    for (at, number) in job.polls.clone().enumerate() {
        let to = job.targets[number % job.targets.len()];
        let late = if job.connect_rate > 0.0 { at as f64 / job.connect_rate } else { 0.0 };
        engine.add(Poller {
            to,
            from: to.ip().is_loopback().then(|| IpAddr::V4(source(job.worker, at))).filter(|_| to.is_ipv4()),
            channel: job.channel,
            start: start + Duration::from_secs_f64(late),
            reading: Reading::Promptly,
            habit: Habit::LongPoll,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standings_add_up() {
        let now = Instant::now();
        let later = now + Duration::from_secs(3);
        let one =
            Standing { held: 3, outstanding: 1, problems: 2, full_at: Some(later), ..Standing::default() };
        let two = Standing { held: 4, full_at: Some(now), is_over: true, ..Standing::default() };
        let sum = Standing::sum([one, two, one].into_iter());
        assert_eq!((sum.held, sum.outstanding, sum.problems, sum.is_over), (10, 2, 4, true));
        assert_eq!(sum.full_at, Some(later));
        assert_eq!(Standing::sum([one, Standing::default()].into_iter()).full_at, None);
        assert_eq!(Standing::sum([].into_iter()).held, 0);
    }
}
