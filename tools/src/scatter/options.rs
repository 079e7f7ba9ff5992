//! The command line of `pushup-scatter-paper`.
//!
//! It refuses to start anything. Invariant: what cannot be run is refused here, with one line that says why.

use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::prelude::*;

use super::plan::{Experiment, Plan};

/// What a person is told who asks for help.
pub const USAGE: &str = "\
Usage: pushup-scatter-paper [OPTION]...
Runs the evaluation of the second paper (Node Scala, section VI) on this machine and writes a report.

  --out DIR           directory of report.html and results.json [./scatter-report]
  --server-path FILE  the pushup to measure [the one beside this program]
  --node FILE         the Node to measure [node]
  --quick             within a minute: that everything works, and no figures
  --only LIST         of sizes,plain,stress,unlimited [all]
  --repeats K         how often everything is run; medians and ranges are shown [sizes 3, others 2]
  --at-once LIST      requests at once in the stress test [1,2,3,5]
  --quota PERCENT     of a processor for each process, by control groups [20]
  --no-quotas         no quotas, even if control groups could be written
  --plan              print what would be run and how long it takes, and stop
";

/// The most repeats that may be asked for.
const REPEATS_MAX: u32 = 100;
/// The most requests at once.
const AT_ONCE_MAX: u32 = 64;

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Run the evaluation.
    Evaluate(Box<Options>),
    /// Print what would be run.
    ShowPlan(Box<Plan>),
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
    /// Be the data side: file, ready-file. How a measured child is started.
    Data(PathBuf, PathBuf),
    /// Be a handler, with its data side.
    Handler(SocketAddr),
}

/// An evaluation as it was asked for.
#[derive(Debug)]
pub struct Options {
    /// What is run.
    pub plan: Plan,
    /// Where the report goes.
    pub out: PathBuf,
    /// The server; none: the one beside this program.
    pub server: Option<PathBuf>,
    /// Node.
    pub node: PathBuf,
}

/// Reads the arguments; an error is a line for a person.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(args);
    read(&mut parser).map_err(|error| error.to_string())
}

fn read(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut out, mut node, mut server) = (PathBuf::from("scatter-report"), PathBuf::from("node"), None);
    let (mut plan_only, mut quick, mut quotas) = (false, false, true);
    let (mut only, mut repeats, mut at_once, mut percent) = (None, None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            Long("out") => out = parser.value()?.into(),
            Long("server-path") => server = Some(parser.value()?.into()),
            Long("node") => node = parser.value()?.into(),
            Long("quick") => quick = true,
            Long("plan") => plan_only = true,
            Long("no-quotas") => quotas = false,
            Long("only") => only = Some(parser.value()?.parse_with(experiments)?),
            Long("repeats") => repeats = Some(parser.value()?.parse_with(|text| count(text, REPEATS_MAX))?),
            Long("at-once") => at_once = Some(parser.value()?.parse_with(counts)?),
            Long("quota") => percent = Some(parser.value()?.parse_with(quota)?),
            Value(word) if word == "data" => {
                return Ok(Command::Data(parser.value()?.into(), parser.value()?.into()));
            }
            Value(word) if word == "handler" => return Ok(Command::Handler(parser.value()?.parse()?)),
            other => return Err(other.unexpected()),
        }
    }
    let mut plan = if quick { Plan::quick() } else { Plan::whole() };
    plan.quotas = quotas;
    plan.experiments = only.unwrap_or(plan.experiments);
    plan.at_once = at_once.unwrap_or(plan.at_once);
    plan.percent = percent.unwrap_or(plan.percent);
    if let Some(repeats) = repeats {
        (plan.repeats, plan.other_repeats) = (repeats, repeats);
    }
    if plan_only {
        return Ok(Command::ShowPlan(Box::new(plan)));
    }
    Ok(Command::Evaluate(Box::new(Options { plan, out, server, node })))
}

fn experiments(text: &str) -> Result<Vec<Experiment>, String> {
    let one = |word: &str| {
        let found = Experiment::ALL.into_iter().find(|experiment| experiment.word() == word);
        found.ok_or_else(|| format!("{word:?} is not one of sizes, plain, stress, unlimited"))
    };
    let mut all: Vec<Experiment> = text.split(',').map(one).collect::<Result<_, _>>()?;
    all.sort();
    all.dedup();
    Ok(all)
}

fn count(text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number from 1 to {most}"))
}

fn counts(text: &str) -> Result<Vec<u32>, String> {
    let mut all: Vec<u32> = text.split(',').map(|word| count(word, AT_ONCE_MAX)).collect::<Result<_, _>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn quota(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (5.0..=100.0).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number of percent from 5 to 100"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(Into::into))
    }

    #[test]
    fn what_is_said_is_planned() {
        let args =
            ["--quick", "--only", "stress,sizes", "--repeats", "2", "--at-once", "4,1", "--quota", "15"];
        let Ok(Command::Evaluate(options)) = read(&args) else { panic!("it can be run") };
        assert_eq!(options.plan.experiments, [Experiment::Sizes, Experiment::Stress]);
        assert_eq!((options.plan.repeats, options.plan.at_once.as_slice()), (2, &[1, 4][..]));
        assert!(options.plan.quotas && options.plan.percent == 15.0);
        assert!(matches!(read(&["--plan"]), Ok(Command::ShowPlan(_))));
        assert!(matches!(read(&["handler", "127.0.0.1:1"]), Ok(Command::Handler(_))));
        assert!(matches!(read(&["data", "a", "b"]), Ok(Command::Data(..))));
    }

    #[test]
    fn what_cannot_be_run_is_one_line() {
        for args in [
            &["--only", "fig4"][..],
            &["--repeats", "0"],
            &["--at-once", "1,,2"],
            &["--quota", "1"],
            &["handler", "nowhere"],
            &["data"],
            &["more"],
        ] {
            let told = read(args).expect_err("it cannot be run");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
}
