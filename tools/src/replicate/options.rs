//! The command line of `pushup-load replicate`.
//!
//! What it refuses to know: how anything is measured. Invariant: a plan that is given out has sizes that
//! the server's bounds admit.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt};

use super::trials::Trial;
use crate::servers::pushup::PushUp;

pub(super) const HELP: &str = "\
Usage: pushup-load replicate [OPTIONS]

Starts a cluster of PushUp on loopback, publishes at one node and reads at
another, and prints a table in Markdown: replication delay, the most entries
that links carry, bytes for each, how fast a new node catches up, how long
cursors are. About five minutes.

  --nodes N           nodes (2)
  --rounds K          how often everything is run (5)
  --rates LIST        entries in a second for the delay (1000,50000)
  --seconds S         how long each of these is published (10)
  --entries N         entries that are published as fast as they are taken (500000)
  --body BYTES        size of a message (100)
  --fill-mb N         megabytes of messages that a new node must get (200)
  --fill-body BYTES   size of these messages (1000)
  --only TRIAL        only this one; may be repeated: delay, most, catch-up
  --server-path PATH  the PushUp (default: the one that was built last)
  --server-arg ARG    one more argument for all nodes; may be repeated
  --quick             small sizes, one round: does everything, says little
  --json FILE         writes everything there too
";

/// What was asked for.
#[derive(Debug)]
pub enum Asked {
    /// To measure.
    Replicate(Box<Plan>),
    /// The usage.
    Help,
}

/// What is going to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// How often everything is run.
    pub rounds: usize,
    /// Entries in a second, for the delay.
    pub rates: Vec<u64>,
    /// How long each rate is published.
    pub time: Duration,
    /// What is published before the delay counts.
    pub warm_up: Duration,
    /// Entries that are published as fast as they are taken.
    pub entries: u64,
    /// Bytes of a message.
    pub body_bytes: usize,
    /// Bytes of messages that a new node must get.
    pub fill_bytes: u64,
    /// Bytes of each of these.
    pub fill_body_bytes: usize,
    /// What is measured.
    pub trials: Vec<Trial>,
    /// The server; none: the one that was built last.
    pub server: Option<PushUp>,
    /// More arguments for it.
    pub server_args: Vec<OsString>,
    /// Where figures are written for a program.
    pub json: Option<PathBuf>,
}

impl Plan {
    fn full() -> Plan {
        Plan {
            nodes: 2,
            rounds: 5,
            rates: vec![1_000, 50_000],
            time: Duration::from_secs(10),
            warm_up: Duration::from_secs(1),
            entries: 500_000,
            body_bytes: 100,
            fill_bytes: 200_000_000,
            fill_body_bytes: 1_000,
            trials: Trial::ALL.to_vec(),
            server: None,
            server_args: Vec::new(),
            json: None,
        }
    }

    fn quick() -> Plan {
        Plan {
            rounds: 1,
            rates: vec![500, 2_000],
            time: Duration::from_secs(1),
            warm_up: Duration::from_millis(100),
            entries: 10_000,
            fill_bytes: 4_000_000,
            ..Plan::full()
        }
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        format!(
            "{} nodes, {} rounds; messages of {} bytes, {} MB of {} bytes for a new node",
            self.nodes,
            self.rounds,
            self.body_bytes,
            self.fill_bytes / 1_000_000,
            self.fill_body_bytes
        )
    }
}

/// Reads what stands behind the word `replicate`.
pub fn parse(mut args: lexopt::Parser) -> Result<Asked, lexopt::Error> {
    let (mut quick, mut settings) = (false, Vec::new());
    while let Some(argument) = args.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Asked::Help),
            Long("quick") => quick = true,
            Long(name) => {
                let name = name.to_owned();
                settings.push(setting(&name, &mut args)?);
            }
            other => return Err(other.unexpected()),
        }
    }
    let mut plan = if quick { Plan::quick() } else { Plan::full() };
    let mut only = Vec::new();
    settings.into_iter().for_each(|setting| apply(setting, &mut plan, &mut only));
    if !only.is_empty() {
        plan.trials.retain(|trial| only.contains(trial));
    }
    Ok(Asked::Replicate(Box::new(plan)))
}

enum Setting {
    Nodes(usize),
    Rounds(usize),
    Rates(Vec<u64>),
    Time(Duration),
    Entries(u64),
    Body(usize),
    Fill(u64),
    FillBody(usize),
    Only(Trial),
    Server(PushUp),
    ServerArg(OsString),
    Json(PathBuf),
}

fn setting(name: &str, args: &mut lexopt::Parser) -> Result<Setting, lexopt::Error> {
    let bodies = crate::marker::MARKER_BYTES_MAX as u64..=100_000;
    Ok(match name {
        "nodes" => Setting::Nodes(within(args, 2..=16)? as usize),
        "rounds" => Setting::Rounds(within(args, 1..=1_000)? as usize),
        "rates" => Setting::Rates(args.value()?.parse_with(rates)?),
        "seconds" => Setting::Time(Duration::from_secs(within(args, 1..=60)?)),
        "entries" => Setting::Entries(within(args, 1_000..=10_000_000)?),
        "body" => Setting::Body(within(args, bodies)? as usize),
        "fill-mb" => Setting::Fill(1_000_000 * within(args, 1..=10_000)?),
        "fill-body" => Setting::FillBody(within(args, bodies)? as usize),
        "only" => Setting::Only(args.value()?.parse_with(Trial::from_word)?),
        "server-path" => Setting::Server(args.value()?.parse_with(PushUp::parse)?),
        "server-arg" => Setting::ServerArg(args.value()?),
        "json" => Setting::Json(args.value()?.into()),
        _ => return Err(Long(name).unexpected()),
    })
}

fn apply(setting: Setting, plan: &mut Plan, only: &mut Vec<Trial>) {
    match setting {
        Setting::Nodes(nodes) => plan.nodes = nodes,
        Setting::Rounds(rounds) => plan.rounds = rounds,
        Setting::Rates(rates) => plan.rates = rates,
        Setting::Time(time) => plan.time = time,
        Setting::Entries(entries) => plan.entries = entries,
        Setting::Body(bytes) => plan.body_bytes = bytes,
        Setting::Fill(bytes) => plan.fill_bytes = bytes,
        Setting::FillBody(bytes) => plan.fill_body_bytes = bytes,
        Setting::Only(trial) => only.push(trial),
        Setting::Server(server) => plan.server = Some(server),
        Setting::ServerArg(arg) => plan.server_args.push(arg),
        Setting::Json(path) => plan.json = Some(path),
    }
}

fn within(args: &mut lexopt::Parser, range: RangeInclusive<u64>) -> Result<u64, lexopt::Error> {
    args.value()?.parse_with(|text| number(text, &range))
}

fn number(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let (least, most) = (range.start(), range.end());
    let good = text.parse().ok().filter(|number| range.contains(number));
    good.ok_or_else(|| format!("{text:?} is not a number from {least} to {most}"))
}

fn rates(text: &str) -> Result<Vec<u64>, String> {
    text.split(',').map(|one| number(one, &(1..=1_000_000))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &str) -> Plan {
        match parse(lexopt::Parser::from_args(words.split_whitespace())) {
            Ok(Asked::Replicate(plan)) => *plan,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn everything_is_measured_unless_told_otherwise() {
        let full = plan("");
        assert_eq!((full.nodes, full.rounds, full.trials.len()), (2, 5, 3));
        assert_eq!(full.rates, [1_000, 50_000]);
        let some = plan("--only most --nodes 4 --rates 7,8 --quick --seconds 3 --fill-mb 9");
        assert_eq!((some.trials, some.nodes, some.rounds), (vec![Trial::Most], 4, 1));
        assert_eq!((some.rates, some.time.as_secs(), some.fill_bytes), (vec![7, 8], 3, 9_000_000));
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        for (words, told) in [
            ("--nodes 1", "2 to"),
            ("--rates 0", "1 to"),
            ("--rates 5,", "\"\""),
            ("--body 10", "53 to"),
            ("--only everything", "catch-up"),
            ("--nonsense", "--nonsense"),
            ("word", "word"),
        ] {
            let told_here = parse(lexopt::Parser::from_args(words.split_whitespace()))
                .map(|_| ())
                .expect_err(words)
                .to_string();
            assert!(told_here.contains(told) && !told_here.contains('\n'), "{words}: {told_here}");
        }
        assert!(matches!(parse(lexopt::Parser::from_args(["--help"])), Ok(Asked::Help)));
        assert!(Trial::ALL.iter().all(|trial| HELP.contains(trial.word())));
    }
}
