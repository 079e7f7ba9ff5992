//! The evaluation from its beginning to its end: what is needed, every experiment, the report.
//!
//! It refuses to know how an experiment is done. Invariant: once experiments have begun, a report is
//! written, whatever fails and whenever it is interrupted.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::bar::Bar;
use super::laboratory::{Laboratory, RECEIVED_WITHIN};
use super::loopback::{self, Interface};
use super::options::Options;
use super::plan::{Job, duration};
use super::report::{self, Ending, Setting};
use super::results::{Done, Results};
use super::subjects::Subjects;
use super::verdicts::{Standing, Verdict};
use super::{crowds, nodes, polling};
use crate::machine::{self, Machine};
use crate::servers::threads::date::{http_date, now_ms};
use crate::servers::{Placement, pushup, threads};
use crate::{Fallible, sys};

/// Runs everything that was asked for; returns how it ended.
pub fn evaluate(options: Options, args: &[OsString]) -> Fallible<Ending> {
    let server = find_server(options.server.as_deref())?;
    let interface = loopback::enter(options.loopback, args);
    fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    // Before this process is kept to one processor: it is the whole machine that is told of.
    let machine = Machine::look();
    let placement = Placement::fitting();
    placement.place_client()?;
    let laboratory = Laboratory {
        subjects: Subjects::new(server, placement, options.thread_stack_bytes)?,
        plan: options.plan,
        stop: on_signals()?,
        descriptors: sys::raise_descriptor_limit()?,
        haproxy: nodes::find(),
    };
    let before = Opening {
        machine,
        began: http_date(now_ms() / 1_000),
        begun: Instant::now(),
        remarks: remarks(&laboratory, interface, placement),
    };
    eprint!("{}", laboratory.plan.summary());
    let results = experiments(&laboratory);
    let setting = before.setting(&laboratory, args);
    let path = report::write(&options.out, &setting, &results)?;
    print_summary(&report::judge(&setting, &results), &path, setting.took_s);
    Ok(setting.ending)
}

/// The server to be measured: the one that was named, or the one beside this program.
pub(crate) fn find_server(named: Option<&Path>) -> Fallible<PathBuf> {
    match named {
        None => pushup::find(),
        Some(path) if path.is_file() => Ok(fs::canonicalize(path)?),
        Some(path) => Err(format!("there is no program at {}", path.display()).into()),
    }
}

/// The wish to stop, set by the first signal; the second ends this process at once, and with it its children.
pub(crate) fn on_signals() -> Fallible<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Runs every experiment that there is time for.
fn experiments(laboratory: &Laboratory) -> Results {
    let jobs = laboratory.plan.jobs();
    let mut bar = Bar::new(jobs.len(), laboratory.plan.total_s());
    let mut results = Results::default();
    for job in jobs {
        bar.next(&job.words(), laboratory.plan.estimate_s(&job));
        let trouble = experiment(laboratory, job, &mut results);
        if laboratory.is_stopped() {
            bar.say("stopping: the report of what was measured is written");
            break;
        }
        if let Some(trouble) = trouble {
            bar.say(&format!("  {}: {trouble}", job.words()));
        }
    }
    bar.finish();
    results
}

/// Runs one experiment and keeps what came of it, unless it was cut short; returns what went wrong.
fn experiment(laboratory: &Laboratory, job: Job, results: &mut Results) -> Option<String> {
    match job {
        Job::Polling(job) => {
            let outcome = polling::run(laboratory, &job).map_err(|error| error.to_string());
            let trouble = outcome.as_ref().err().cloned();
            if !laboratory.is_stopped() {
                results.polling.push(Done { job, outcome });
            }
            trouble
        }
        Job::Crowd(job) => {
            let outcome = crowds::run(laboratory, &job).map_err(|error| error.to_string());
            let trouble = match &outcome {
                Ok(run) => Some(run.trouble.clone()).filter(|trouble| !trouble.is_empty()),
                Err(reason) => Some(reason.clone()),
            };
            if !laboratory.is_stopped() {
                results.crowds.push(Done { job, outcome });
            }
            trouble
        }
    }
}

/// What was known before the first experiment.
struct Opening {
    machine: Machine,
    began: String,
    begun: Instant,
    remarks: Vec<String>,
}

impl Opening {
    fn setting(self, laboratory: &Laboratory, args: &[OsString]) -> Setting {
        Setting {
            plan: laboratory.plan.clone(),
            command: command_line("pushup-paper", args),
            versions: versions(laboratory),
            machine: self.machine,
            load_after: machine::load(),
            began: self.began,
            took_s: self.begun.elapsed().as_secs_f64(),
            ending: if laboratory.is_stopped() { Ending::Interrupted } else { Ending::Complete },
            remarks: self.remarks,
            received_within_s: RECEIVED_WITHIN.as_secs_f64(),
        }
    }
}

/// What a reader should keep in mind, as this machine has it.
fn remarks(laboratory: &Laboratory, interface: Interface, placement: Placement) -> Vec<String> {
    let subjects = &laboratory.subjects;
    let stack = subjects.thread_stack_bytes.unwrap_or_else(threads::default_stack_bytes);
    let counted = match interface {
        Interface::Own => {
            "Bytes and packets on the interface are those of a loopback interface of our own (a network \
             namespace): nobody else's are among them."
        }
        Interface::Shared => {
            "Bytes and packets on the interface are those of the machine's loopback interface: what \
             others sent at the same time is among them."
        }
    };
    let mut all = vec![
        counted.to_owned(),
        "No network lies between clients and servers, all are on this machine: no packet is lost, and \
         delay is that of the processors. The paper measured in a cluster."
            .to_owned(),
        format!(
            "Processors: {}. The server of threads may use no more of them than PushUp, and a load \
             balancer shares them with its nodes.",
            placement.words()
        ),
        "What the publisher sends and receives is in no traffic. Clients end connections by a reset, so \
         that no port is left waiting; an orderly end would be a packet or two more for each poll of \
         client pulling."
            .to_owned(),
        format!(
            "The server of threads reserves a stack of {} KiB for each of them and may have {} threads \
             here, because of {}. It answers with heads and bodies of the same length as PushUp's. A \
             message wakes all threads of its channel at once, and each sends its own answer.",
            stack / 1_024,
            subjects.threads.most,
            subjects.threads.because
        ),
        format!(
            "A process may open {} descriptors here, which limits the connections of one server and of \
             the client.",
            laboratory.descriptors
        ),
        "The kernel's memory is counted for the whole machine, before and while polls are held; what \
         others did in between is in it."
            .to_owned(),
    ];
    if laboratory.haproxy.is_none() {
        all.push(format!("{}: Figures 12 and 13 are of clients at the nodes themselves.", nodes::HOW_TO_GET));
    }
    all
}

fn versions(laboratory: &Laboratory) -> Vec<(String, String)> {
    let pushup = &laboratory.subjects.pushup.binary;
    let size = fs::metadata(pushup).map_or(0, |metadata| metadata.len());
    let told = format!("{}, {} bytes, {}", first_line(pushup, "--version"), size, pushup.display());
    let mut all =
        vec![("PushUp".to_owned(), told), ("pushup-paper".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    all.extend(laboratory.haproxy.as_ref().map(|haproxy| ("HAProxy".to_owned(), first_line(haproxy, "-v"))));
    all
}

/// The first line that a program says to a question about its version.
pub(crate) fn first_line(program: &Path, question: &str) -> String {
    let output = Command::new(program).arg(question).stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("unknown version").to_owned()
}

/// The command as it can be typed again.
pub(crate) fn command_line(program: &str, args: &[OsString]) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./,=:+@%".contains(character);
    let quote = |arg: &OsString| {
        let text = arg.to_string_lossy();
        if !text.is_empty() && text.chars().all(plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    std::iter::once(program.to_owned()).chain(args.iter().map(quote)).collect::<Vec<_>>().join(" ")
}

/// The verdicts and where the report is, on stdout.
fn print_summary(verdicts: &[Verdict], path: &Path, took_s: f64) {
    for Verdict { exhibits, claim, standing, why } in verdicts {
        let mark = match standing {
            Standing::Held => '+',
            Standing::NotHeld => '-',
            Standing::CannotBeShown => '?',
        };
        let places: Vec<String> = exhibits.iter().map(|exhibit| exhibit.title()).collect();
        println!("{mark} {} ({}): {}\n    {why}", claim, places.join(", "), standing.words());
    }
    println!("{} after {}", path.display(), duration(took_s));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_again() {
        for (args, line) in [
            (vec![], "pushup-paper"),
            (vec!["--out", "a b", "--only", "fig9,table1"], "pushup-paper --out 'a b' --only fig9,table1"),
            (vec!["it's", ""], "pushup-paper 'it'\\''s' ''"),
        ] {
            let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
            assert_eq!(command_line("pushup-paper", &args), line);
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_said_to_be_so() {
        let told = find_server(Some(Path::new("/nowhere/pushup"))).expect_err("it is not there");
        assert_eq!(told.to_string(), "there is no program at /nowhere/pushup");
        assert_eq!(first_line(Path::new("/nowhere/pushup"), "--version"), "unknown version");
    }
}
