//! The evaluation from its beginning to its end: the data side, every experiment, the report.
//!
//! It refuses to know what an experiment shows. Invariant: once experiments have begun, a report is written of
//! what was measured, also if it is interrupted; processes and quotas are gone when it returns.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::options::Options;
use super::plan::{Experiment, Plan, Step};
use super::quota::Quotas;
use super::report::{self, Setting};
use super::results::{Done, Results};
use super::systems::{Kind, Share, Stand, System};
use super::trials::{self, Ask, Expected};
use super::verdicts::{self, Verdict};
use crate::machine::{self, Machine};
use crate::paper::bar::Bar;
use crate::paper::evaluation::{command_line, find_server, first_line, on_signals};
use crate::paper::plan::duration;
use crate::paper::report::Ending;
use crate::paper::verdicts::Standing;
use crate::servers::threads::date::{http_date, now_ms};
use crate::{Fallible, sys};

/// Runs everything that was asked for; returns how it ended.
pub fn evaluate(options: Options, args: &[OsString]) -> Fallible<Ending> {
    let server = find_server(options.server.as_deref())?;
    let node = find_node(&options.node)?;
    fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    let (stop, machine) = (on_signals()?, Machine::look());
    let (began, begun) = (http_date(now_ms() / 1_000), Instant::now());
    sys::raise_descriptor_limit()?;
    let quotas = if options.plan.quotas { Quotas::new() } else { Err("they are not wanted".to_owned()) };
    if let Err(reason) = &quotas {
        eprintln!("no quotas: {reason}. Targets are not judged.");
    }
    let plan = Plan { quotas: quotas.is_ok(), ..options.plan };
    eprint!("{}", plan.summary());
    let quota_words = quotas.as_ref().map(Quotas::words).map_err(Clone::clone);
    let versions = versions(&server, &node);
    let stand = Stand::new(server, node, plan.days())?;
    let mut run = Run {
        bar: Bar::new(plan.trials(), plan.total_s()),
        plan,
        stand,
        quotas: quotas.ok(),
        stop,
        expected: Expected::default(),
        results: Results::default(),
    };
    let outcome = run.experiments();
    let is_stopped = run.is_stopped();
    let Run { bar, plan, mut results, .. } = run;
    bar.finish();
    // Whoever wants to stop has stopped what was under way: that is no trouble.
    let outcome = outcome.or_else(|error| if is_stopped { Ok(()) } else { Err(error) });
    results.trouble = outcome.as_ref().err().map(ToString::to_string);
    let setting = Setting {
        plan,
        command: command_line("pushup-scatter-paper", args),
        versions,
        machine,
        load_after: machine::load(),
        began,
        took_s: begun.elapsed().as_secs_f64(),
        ending: if is_stopped { Ending::Interrupted } else { Ending::Complete },
        quotas: quota_words,
    };
    let verdicts = verdicts::judge(&setting.plan, setting.quotas.is_ok(), &results);
    let path = report::write(&options.out, &setting, &results, &verdicts)?;
    print_summary(&verdicts, &path, setting.took_s);
    outcome.map(|()| setting.ending)
}

/// Node's program, found as a shell would.
fn find_node(named: &Path) -> Fallible<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = vec![named.to_path_buf()];
    if named.components().count() == 1 {
        places = std::env::split_paths(&path).map(|directory| directory.join(named)).collect();
    }
    let found = places.into_iter().find(|place| place.is_file());
    Ok(fs::canonicalize(found.ok_or_else(|| format!("there is no {}: see --node", named.display()))?)?)
}

fn versions(server: &Path, node: &Path) -> Vec<(String, String)> {
    vec![
        ("PushUp".to_owned(), format!("{}, {}", first_line(server, "--version"), server.display())),
        ("pushup-scatter-paper".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("Node".to_owned(), first_line(node, "--version")),
        ("SQLite".to_owned(), rusqlite::version().to_owned()),
    ]
}

/// What a run has with it. Processes end before the groups that they are in are removed.
struct Run {
    plan: Plan,
    stand: Stand,
    quotas: Option<Quotas>,
    stop: Arc<AtomicBool>,
    expected: Expected,
    results: Results,
    bar: Bar,
}

impl Run {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Every experiment. Answers that differ end the run.
    fn experiments(&mut self) -> Fallible<()> {
        for experiment in self.plan.experiments.clone() {
            self.bar.say(&format!("{}: its systems are started and asked once", experiment.word()));
            let mut systems = Vec::new();
            for kind in experiment.kinds() {
                let system = self.start(experiment, kind)?;
                self.warm(&system)?;
                systems.push(system);
            }
            for step in self.plan.steps(experiment) {
                for kind in self.plan.order(experiment, step) {
                    let system = systems.iter().find(|system| system.kind == kind);
                    self.trial(experiment, system.ok_or("a system is missing")?, step)?;
                }
            }
        }
        Ok(())
    }

    fn start(&self, experiment: Experiment, kind: Kind) -> Fallible<System> {
        if self.is_stopped() {
            return Err("stopped".into());
        }
        let quotas = self.quotas.as_ref().filter(|_| self.plan.has_quotas(experiment));
        let share = quotas.map_or(Share::NONE, |_| Share { quotas, percent: self.plan.percent });
        self.stand.start(kind, share).map_err(|error| format!("{}: {error}", kind.words()).into())
    }

    /// Lets every process run the program a while, and compares what comes of it, compressed and not.
    fn warm(&mut self, system: &System) -> Fallible<()> {
        let at_once = match system.kind {
            // One request each.
            Kind::Cluster(instances) => instances,
            Kind::Threads(_) => 1,
            Kind::PushUp { fronts, .. } => fronts,
        };
        for gzip in [true, false] {
            let (ask, data) = (Ask { gzip, ..self.plan.warm }, self.stand.data_pid());
            trials::run(system, data, ask, at_once, &mut self.expected, &self.stop)
                .map_err(|error| format!("{}: {error}", system.kind.words()))?;
        }
        Ok(())
    }

    fn trial(&mut self, experiment: Experiment, system: &System, step: Step) -> Fallible<()> {
        let Step { repeat, ask, at_once } = step;
        let kind = system.kind;
        let times = if at_once > 1 { format!("{at_once} × ") } else { String::new() };
        let words = format!("{}: {}, {times}{} documents", experiment.word(), kind.words(), ask.documents());
        self.bar.next(&words, self.plan.trial_s(experiment, kind, step));
        let data = self.stand.data_pid();
        let trial = trials::run(system, data, ask, at_once, &mut self.expected, &self.stop)
            .map_err(|error| format!("{}: {error}", kind.words()))?;
        self.results.done.push(Done { experiment, repeat, kind, ask, at_once, trial });
        Ok(())
    }
}

/// The verdicts and where the report is, on stdout.
fn print_summary(verdicts: &[Verdict], path: &Path, took_s: f64) {
    for Verdict { place, claim, standing, why } in verdicts {
        let mark = match standing {
            Standing::Held => '+',
            Standing::NotHeld => '-',
            Standing::CannotBeShown => '?',
        };
        println!("{mark} {claim} ({place}): {}\n    {why}", standing.words());
    }
    println!("{} after {}", path.display(), duration(took_s));
}
