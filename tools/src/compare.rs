//! `pushup-load compare`: PushUp, a bare loop that moves the same bytes, and nginx with nchan,
//! one after the other in one run, and what each needs in one table.
//!
//! | module | what |
//! |---|---|
//! | `options` | the command line |
//! | `figures` | what is measured, and what it is to reach |
//! | `trials`, `flood` | one run of one contestant |
//! | `template` | the server's real bytes, for the bare loop |
//! | `results` | all values, the table, JSON |
//!
//! What it owns: who takes part and in which order. What it refuses to know: connections.
//! Invariant: contestants take turns, and each turn begins with another one, so that a drift
//! of the machine's speed favours nobody.

pub mod figures;
mod flood;
pub mod options;
pub mod results;
mod template;
mod trials;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dialect::Dialect;
use crate::machine::{self, Machine};
use crate::servers::nchan::{HOW_TO_GET, Nchan};
use crate::servers::pushup::{self, PushUp};
use crate::servers::{Server, Stage};
use crate::{Fallible, sys};
use figures::{Figure, Part};
use options::{Asked, Plan};
use results::{Column, Kind, Results};
use template::{Reach, Template};
use trials::{Run, Spread, Values};

/// Descriptors that polls may not take: listeners, publishers, files.
const DESCRIPTORS_SPARE: usize = 200;

/// Carries out what the command line behind the word `compare` says; gives the exit status.
pub fn run(args: lexopt::Parser) -> ExitCode {
    let plan = match options::parse(args) {
        Ok(Asked::Compare(plan)) => *plan,
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pushup-load compare: {error}");
            return ExitCode::from(2);
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    match compare(plan, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if stop.load(Ordering::Relaxed) => {
            eprintln!("pushup-load compare: interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("pushup-load compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(mut plan: Plan, stop: &Arc<AtomicBool>) -> Fallible<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(stop))?;
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    fit_descriptors(&mut plan)?;
    let machine = Machine::look();
    println!("{}\n{}", machine.line(), plan.line());
    let mut contest = Contest::new(&plan, stop)?;
    plan.placement.place_client()?;
    let measured = contest.measure();
    contest.print(&machine);
    if let Some(path) = &plan.json {
        std::fs::write(path, format!("{:#}\n", contest.results.json(&plan, &machine)))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    measured
}

/// Reduces the number of polls to what this process's descriptors allow, and says so.
fn fit_descriptors(plan: &mut Plan) -> Fallible<()> {
    let most = sys::raise_descriptor_limit()?;
    let polls_max = most.saturating_sub(DESCRIPTORS_SPARE).max(1);
    if plan.polls > polls_max {
        println!("{most} descriptors per process, so {polls_max} polls instead of {}", plan.polls);
        plan.polls = polls_max;
    }
    Ok(())
}

/// Who takes part.
enum Contestant {
    PushUp(PushUp),
    Bare,
    Nchan(Nchan),
}

impl Contestant {
    fn column(&self) -> Column {
        let (label, kind) = match self {
            Contestant::PushUp(pushup) => (pushup.label.clone(), Kind::PushUp),
            Contestant::Bare => ("bare loop".to_owned(), Kind::Bare),
            Contestant::Nchan(_) => ("nchan".to_owned(), Kind::Nchan),
        };
        Column { label, kind }
    }

    /// The bare loop is spoken to as the server whose bytes it sends.
    fn dialect(&self) -> Dialect {
        match self {
            Contestant::Nchan(_) => Dialect::nchan(),
            _ => Dialect::pushup(),
        }
    }
}

/// A comparison under way.
struct Contest<'a> {
    plan: &'a Plan,
    stop: Arc<AtomicBool>,
    stage: Stage,
    contestants: Vec<Contestant>,
    /// The first PushUp's bytes, by the length of the message.
    templates: BTreeMap<usize, Template>,
    results: Results,
}

/// What is run in turns; each gives several figures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    Held(Spread),
    Broadcast,
    Publish,
    Idle,
}

impl Trial {
    const ALL: [Trial; 5] = [
        Trial::Held(Spread::OneChannel),
        Trial::Held(Spread::ChannelEach),
        Trial::Broadcast,
        Trial::Publish,
        Trial::Idle,
    ];

    /// The parts that need it.
    fn parts(self) -> &'static [Part] {
        match self {
            Trial::Held(Spread::OneChannel) => &[Part::DeliveryOne, Part::Accept, Part::MemoryOne],
            Trial::Held(Spread::ChannelEach) => &[Part::DeliveryEach, Part::MemoryEach],
            Trial::Broadcast => &[Part::Broadcast],
            Trial::Publish => &[Part::Publish],
            Trial::Idle => &[Part::Idle],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Trial::Held(Spread::OneChannel) => "polls on one channel",
            Trial::Held(Spread::ChannelEach) => "polls on a channel each",
            Trial::Broadcast => "broadcast",
            Trial::Publish => "publish",
            Trial::Idle => "idle",
        }
    }

    /// Whom the bare loop's publications reach, and how long messages are.
    fn bare(self, plan: &Plan) -> (Reach, usize) {
        match self {
            Trial::Held(Spread::OneChannel) => (Reach::All, plan.body_bytes),
            Trial::Held(Spread::ChannelEach) => (Reach::One, plan.body_bytes),
            Trial::Broadcast => (Reach::All, plan.broadcast_bytes),
            Trial::Publish | Trial::Idle => (Reach::Nobody, plan.body_bytes),
        }
    }
}

impl<'a> Contest<'a> {
    fn new(plan: &'a Plan, stop: &Arc<AtomicBool>) -> Fallible<Contest<'a>> {
        let mut servers = plan.servers.clone();
        if servers.is_empty() {
            servers.push(PushUp::new(pushup::find()?));
        }
        for server in &mut servers {
            server.args.extend(plan.server_args.iter().cloned());
            println!("{}: {}", server.label, describe(&server.binary)?);
        }
        let mut contestants: Vec<Contestant> = servers.into_iter().map(Contestant::PushUp).collect();
        if plan.bare {
            contestants.push(Contestant::Bare);
        }
        match Nchan::find().filter(|_| plan.nchan) {
            Some(nchan) => contestants.push(Contestant::Nchan(nchan)),
            None if plan.nchan => println!("{HOW_TO_GET}"),
            None => {}
        }
        let columns = contestants.iter().map(Contestant::column).collect();
        Ok(Contest {
            plan,
            stop: Arc::clone(stop),
            stage: Stage::new(plan.placement)?,
            contestants,
            templates: BTreeMap::new(),
            results: Results::new(columns, plan.polls),
        })
    }

    fn measure(&mut self) -> Fallible<()> {
        let trials: Vec<Trial> = Trial::ALL
            .into_iter()
            .filter(|trial| trial.parts().iter().any(|&part| self.plan.wants(part)))
            .collect();
        if self.plan.warm_up {
            // A machine that has not held so many connections yet must make room for them first.
            self.attempt(trials[0], 0)?;
        }
        for trial in trials {
            for turn in 0..self.plan.repeats {
                for place in 0..self.contestants.len() {
                    let contestant = (turn + place) % self.contestants.len();
                    if self.takes_part(trial, contestant) {
                        self.take_turn(trial, turn, contestant)?;
                    }
                }
            }
        }
        if self.plan.wants(Part::Idle) {
            self.programs()?;
        }
        Ok(())
    }

    fn take_turn(&mut self, trial: Trial, turn: usize, contestant: usize) -> Fallible<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        let values = self.attempt(trial, contestant)?;
        let label = self.contestants[contestant].column().label;
        let mut said = format!("{}, turn {} of {}, {label}:", trial.words(), turn + 1, self.plan.repeats);
        for (figure, value) in values {
            if self.is_wanted(figure, contestant) {
                said.push_str(&format!(" {figure:?} {}", figure.number()(value)));
                self.results.add(contestant, figure, value);
            }
        }
        eprintln!("{said}");
        Ok(())
    }

    /// Whether a contestant's trial gives anything that was asked for.
    fn takes_part(&self, trial: Trial, contestant: usize) -> bool {
        trial.parts().iter().any(|&part| self.plan.wants(part) && self.shows(part, contestant))
    }

    /// The bare loop keeps nothing but descriptors, so that its memory says nothing.
    fn shows(&self, part: Part, contestant: usize) -> bool {
        let of_memory = matches!(part, Part::MemoryOne | Part::MemoryEach | Part::Idle);
        !(of_memory && matches!(self.contestants[contestant], Contestant::Bare))
    }

    /// Whether a figure that a trial gave was asked for.
    fn is_wanted(&self, figure: Figure, contestant: usize) -> bool {
        figure.part().is_none_or(|part| self.plan.wants(part) && self.shows(part, contestant))
    }

    /// Starts a contestant and carries out a trial with it.
    fn attempt(&mut self, trial: Trial, contestant: usize) -> Fallible<Values> {
        let label = self.contestants[contestant].column().label;
        let outcome = self.start(trial, contestant).and_then(|server| {
            let dialect = self.contestants[contestant].dialect();
            let run = Run { plan: self.plan, dialect, stop: Arc::clone(&self.stop) };
            match trial {
                Trial::Held(spread) => run.held(server, spread),
                Trial::Broadcast => run.broadcast(server),
                Trial::Publish => run.publish(server),
                Trial::Idle => run.idle(server),
            }
        });
        outcome.map_err(|error| format!("{label}, {}: {error}", trial.words()).into())
    }

    fn start(&mut self, trial: Trial, contestant: usize) -> Fallible<Server> {
        let (reach, body_bytes) = trial.bare(self.plan);
        match &self.contestants[contestant] {
            Contestant::PushUp(pushup) => pushup.start(&self.stage),
            Contestant::Nchan(nchan) => nchan.start(&self.stage),
            Contestant::Bare => self.template(body_bytes)?.job(reach).start(&self.stage),
        }
    }

    /// The first PushUp's bytes around a message of that length.
    fn template(&mut self, body_bytes: usize) -> Fallible<&Template> {
        if !self.templates.contains_key(&body_bytes) {
            let pushup = self.contestants.iter().find_map(|contestant| match contestant {
                Contestant::PushUp(pushup) => Some(pushup),
                _ => None,
            });
            let server = pushup
                .ok_or("the bare loop repeats a PushUp's bytes, and there is none")?
                .start(&self.stage)?;
            let template = Template::probe(&server, &Dialect::pushup(), body_bytes)?;
            self.templates.insert(body_bytes, template);
        }
        Ok(&self.templates[&body_bytes])
    }

    /// How large the programs are.
    fn programs(&mut self) -> Fallible<()> {
        for index in 0..self.contestants.len() {
            let files = match &self.contestants[index] {
                Contestant::PushUp(pushup) => vec![pushup.binary.clone()],
                Contestant::Nchan(nchan) => nchan.files()?,
                Contestant::Bare => continue,
            };
            let mut bytes = 0;
            for file in files {
                bytes += std::fs::metadata(file)?.len();
            }
            self.results.add(index, Figure::Binary, bytes as f64 / 1e6);
        }
        Ok(())
    }

    fn print(&self, machine: &Machine) {
        if !self.results.is_empty() {
            println!("\n{}", self.results.show());
        }
        println!("Load average {} at the start, {} at the end.", machine.load, machine::load());
    }
}

/// A program's path, size, and whether it needs a loader.
fn describe(binary: &Path) -> Fallible<String> {
    let bytes = std::fs::metadata(binary).map_err(|error| format!("{}: {error}", binary.display()))?.len();
    let linked = match pushup::is_static(binary) {
        Ok(true) => "static",
        Ok(false) => "needs a loader",
        // A script that starts it is as good, as long as it becomes it.
        Err(_) => "no ELF program",
    };
    Ok(format!("{}, {bytes} bytes, {linked}", binary.display()))
}
