//! The command line, and what it makes of a run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt};

use crate::Fallible;
use crate::bare::{Fanout, Job};

/// Descriptors that polls may not take: listeners, publishers, /proc files.
pub const DESCRIPTORS_SPARE: usize = 200;
/// Channel names have five digits, so that every request has the same length.
const POLLS_MAX: usize = 90_000;

pub const HELP: &str = "\
Usage: cargo bench --bench delivery -- [OPTIONS]

  --polls N        held polls (16000)
  --rounds K       publications to all of them in one run (10)
  --repeat R       pairs of runs, the server and the bare loop (5)
  --only PART      delivery, latency, publish, memory or idle; may be repeated
  --smoke, --quick 200 polls, 2 rounds, 1 pair, every answer parsed in full
  --browser        polls carry the header fields of a browser (about 600 bytes)
  --pin, --no-pin  server on processor 0, client on 1 (the default on two processors)
  --server PATH    another server binary
  --server-arg ARG one more argument for it; may be repeated
  --json FILE      write all figures there as well
";

/// What this process is to be.
pub enum Command {
    /// The bench itself.
    Measure(Plan),
    /// Its yardstick, started by the bench.
    Bare(Job),
    /// An explanation.
    Help,
}

/// A group of measurements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Delivery,
    Latency,
    Publish,
    Memory,
    Idle,
}

/// What is measured and how much of it.
pub struct Plan {
    /// Held polls.
    pub polls: usize,
    /// Publications to each poll in one run, after a first one that is not measured.
    pub rounds: u32,
    /// Pairs of runs.
    pub repeats: usize,
    /// Publications without subscribers in one run…
    pub publications_max: u64,
    /// …or for this long, whichever ends first.
    pub publish_time_max: Duration,
    /// Only these parts; all if empty.
    only: Vec<Part>,
    /// Whether every answer is parsed as JSON in full; else a sample is.
    pub strict: bool,
    /// Whether polls look like a browser's.
    pub browser: bool,
    /// Whether server and client each keep to a processor.
    pub pin: bool,
    /// The server's binary.
    pub server: PathBuf,
    /// Further arguments for it.
    pub server_args: Vec<OsString>,
    /// Where the figures go besides the terminal.
    pub json: Option<PathBuf>,
}

impl Plan {
    fn full() -> Plan {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Plan {
            polls: 16_000,
            rounds: 10,
            repeats: 5,
            publications_max: 1_000_000,
            publish_time_max: Duration::from_secs(5),
            only: Vec::new(),
            strict: false,
            browser: false,
            pin: cpus == 2,
            server: env!("CARGO_BIN_EXE_pushup").into(),
            server_args: Vec::new(),
            json: None,
        }
    }

    /// Small enough for the test-suite, and strict.
    fn make_smoke(&mut self) {
        self.polls = 200;
        self.rounds = 2;
        self.repeats = 1;
        self.publications_max = 20_000;
        self.strict = true;
    }

    /// Whether this part is to be measured.
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// One line that says what was asked for.
    pub fn line(&self) -> String {
        format!(
            "{} polls, rounds per run: {}, pairs of runs: {}, {} requests, {}",
            self.polls,
            self.rounds,
            self.repeats,
            if self.browser { "a browser's" } else { "small" },
            if self.pin { "server on cpu 0 and client on cpu 1" } else { "not pinned" },
        )
    }
}

/// Reads the command line.
///
/// `cargo bench` passes `--bench`; without it (`cargo test --benches`) the run is a smoke run.
pub fn parse() -> Fallible<Command> {
    let mut args = lexopt::Parser::from_env();
    let mut plan = Plan::full();
    if !std::env::args().any(|arg| arg == "--bench") {
        plan.make_smoke();
    }
    while let Some(arg) = args.next()? {
        match arg {
            Long("bare") => return Ok(Command::Bare(parse_bare(args)?)),
            Long("bench") => {}
            Long("smoke" | "quick") => plan.make_smoke(),
            Long("polls") => plan.polls = args.value()?.parse()?,
            Long("rounds") => plan.rounds = args.value()?.parse()?,
            Long("repeat") => plan.repeats = args.value()?.parse()?,
            Long("only") => plan.only.push(args.value()?.parse_with(part)?),
            Long("browser") => plan.browser = true,
            Long("pin") => plan.pin = true,
            Long("no-pin") => plan.pin = false,
            Long("server") => plan.server = args.value()?.into(),
            Long("server-arg") => plan.server_args.push(args.value()?),
            Long("json") => plan.json = Some(args.value()?.into()),
            Long("help") | Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    bounded(plan).map(Command::Measure)
}

fn bounded(plan: Plan) -> Fallible<Plan> {
    if plan.polls == 0 || plan.polls > POLLS_MAX || plan.rounds == 0 || plan.repeats == 0 {
        return Err(format!("--polls is 1 to {POLLS_MAX}; --rounds and --repeat are at least 1").into());
    }
    Ok(plan)
}

fn part(name: &str) -> Result<Part, &'static str> {
    Ok(match name {
        "delivery" => Part::Delivery,
        "latency" => Part::Latency,
        "publish" => Part::Publish,
        "memory" => Part::Memory,
        "idle" => Part::Idle,
        _ => return Err("no such part; see --help"),
    })
}

/// The bench's own words to its yardstick: five positional values.
fn parse_bare(mut args: lexopt::Parser) -> Fallible<Job> {
    let fanout = args.value()?.parse_with(Fanout::from_word)?;
    let publication_bytes = args.value()?.parse()?;
    let mut path = || args.value().map(PathBuf::from);
    Ok(Job { fanout, publication_bytes, answer: path()?, created: path()?, ready_file: path()? })
}
