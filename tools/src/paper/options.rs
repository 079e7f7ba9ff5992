//! The command line of `pushup-paper`.
//!
//! It refuses to start anything. Invariant: what cannot be run is refused here, with one line that says why.

use std::path::PathBuf;

use lexopt::prelude::*;

use super::plan::{Connections, Plan, Row, row_scale};
use super::{Exhibit, published};

/// What a person is told who asks for help.
pub const USAGE: &str = "\
Usage: pushup-paper [OPTION]...
Runs the evaluation of the paper (section 4) on this machine and writes a report.

  --out DIR              directory of report.html and the CSV files [./paper-report]
  --server-path FILE     the pushup to measure [the one beside this program]
  --quick                a coarse look within two minutes
  --full                 the paper's own times: about 50 minutes for each repeat
  --only LIST            of table1,table2,fig7,…,fig13 [all]
  --repeats K            how often everything is run; medians and ranges are shown [3]
  --plan                 print what would be run and how long it takes, and stop

  --time-scale S         seconds here for a second of the paper, as 0.1 or 1/10 [1/10]
  --pulls-per-second N   more polls a second than this are avoided by a slower scale [5000]
  --clients LIST         clients of tables 1 and 2 [10,100,1000]
  --intervals LIST       publish intervals of tables 1 and 2 in seconds [10,20,30,40,50]
  --publications N       publish intervals that each run of tables 1 and 2 lasts [1]
  --keep-alive           client pulling keeps its connections instead of making new ones
  --connections LIST     connections of figures 9 to 13 [500,1000,2000,4000,8000,16000]
  --broadcasts N         messages to all connections in figures 10 to 13 [5]
  --nodes LIST           numbers of nodes of figures 12 and 13 [1,2,4]
  --message-bytes N      length of a published message [64]
  --thread-stack BYTES   stack of a thread of the thread-per-poll server [the system's default]
  --shared-loopback      use the machine's loopback interface even if we could have one of our own
";

/// The longest message that may be asked for, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The shortest message: room for its marker.
const MESSAGE_BYTES_MIN: usize = 64;
/// What lists may hold at most.
const LIST_MAX: usize = 16;
/// The most clients and connections that may be asked for.
const CONNECTIONS_MAX: usize = 1_000_000;
/// The most nodes that may be asked for.
const NODES_MAX: usize = 16;
/// The largest counts of repeats and publications.
const TIMES_MAX: usize = 1_000;

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
    /// Be the thread-per-poll server: how a measured child is started.
    ThreadPerPoll(crate::servers::threads::Options),
}

/// Whose loopback interface carries the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// One of our own if the system allows it: nobody else's packets are counted.
    OwnIfPossible,
    /// The machine's.
    Shared,
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
    /// Address space of a thread's stack in the thread-per-poll server, in bytes; none: the system's default.
    pub thread_stack_bytes: Option<usize>,
    /// Whose loopback interface is used.
    pub loopback: Loopback,
}

/// How much is run if nothing more is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Default,
    Quick,
    Full,
    /// For tests: as little as shows that everything works.
    Smoke,
}

/// What was said on the command line, before defaults.
#[derive(Default)]
struct Said {
    out: Option<PathBuf>,
    server: Option<PathBuf>,
    only: Option<Vec<Exhibit>>,
    repeats: Option<usize>,
    time_scale: Option<f64>,
    pulls_per_s: Option<f64>,
    clients: Option<Vec<usize>>,
    intervals_s: Option<Vec<usize>>,
    publications: Option<usize>,
    connections: Option<Vec<usize>>,
    broadcasts: Option<usize>,
    nodes: Option<Vec<usize>>,
    message_bytes: Option<usize>,
    thread_stack_bytes: Option<usize>,
}

/// Reads the arguments; an error is a line for a person.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(args);
    read(&mut parser).map_err(|error| error.to_string())
}

fn read(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut said = Said::default();
    let (mut extent, mut pulling) = (Extent::Default, Connections::Fresh);
    let (mut loopback, mut plan_only) = (Loopback::OwnIfPossible, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            Long("quick") => extent = Extent::Quick,
            Long("full") => extent = Extent::Full,
            Long("smoke") => extent = Extent::Smoke,
            Long("plan") => plan_only = true,
            Long("keep-alive") => pulling = Connections::Kept,
            Long("shared-loopback") => loopback = Loopback::Shared,
            Value(word) if word == "thread-per-poll" => return thread_per_poll(parser),
            Long(name) => {
                let name = name.to_owned();
                said.take(&name, parser)?;
            }
            other => return Err(other.unexpected()),
        }
    }
    let plan = said.plan(extent, pulling)?;
    if plan_only {
        return Ok(Command::ShowPlan(Box::new(plan)));
    }
    Ok(Command::Evaluate(Box::new(Options {
        plan,
        out: said.out.unwrap_or_else(|| PathBuf::from("paper-report")),
        server: said.server,
        thread_stack_bytes: said.thread_stack_bytes,
        loopback,
    })))
}

/// `thread-per-poll READY-FILE THREADS-MAX STACK-BYTES`, the last 0 for the default.
fn thread_per_poll(parser: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    let ready_file = parser.value()?.into();
    let threads_max = parser.value()?.parse()?;
    let stack_bytes = Some(parser.value()?.parse()?).filter(|bytes| *bytes > 0);
    Ok(Command::ThreadPerPoll(crate::servers::threads::Options { ready_file, threads_max, stack_bytes }))
}

impl Said {
    /// One option that has a value.
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        match name {
            "out" => self.out = Some(parser.value()?.into()),
            "server-path" => self.server = Some(parser.value()?.into()),
            "only" => self.only = Some(parser.value()?.parse_with(exhibits)?),
            "repeats" => self.repeats = Some(times(parser)?),
            "publications" => self.publications = Some(times(parser)?),
            "broadcasts" => self.broadcasts = Some(times(parser)?),
            "time-scale" => self.time_scale = Some(parser.value()?.parse_with(scale)?),
            "pulls-per-second" => self.pulls_per_s = Some(parser.value()?.parse_with(rate)?),
            "clients" => {
                self.clients = Some(parser.value()?.parse_with(|text| counts(text, CONNECTIONS_MAX))?)
            }
            "connections" => {
                self.connections = Some(parser.value()?.parse_with(|text| counts(text, CONNECTIONS_MAX))?)
            }
            "intervals" => self.intervals_s = Some(parser.value()?.parse_with(|text| counts(text, 3_600))?),
            "nodes" => self.nodes = Some(parser.value()?.parse_with(|text| counts(text, NODES_MAX))?),
            "message-bytes" => {
                self.message_bytes = Some(within(parser, MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX)?)
            }
            "thread-stack" => self.thread_stack_bytes = Some(within(parser, 16 << 10, 1 << 30)?),
            other => return Err(format!("there is no option --{other}; --help lists them all").into()),
        }
        Ok(())
    }

    fn plan(&self, extent: Extent, pulling: Connections) -> Result<Plan, lexopt::Error> {
        let base = Base::of(extent);
        let wanted = self.time_scale.unwrap_or(base.scale);
        let pulls_per_s = self.pulls_per_s.unwrap_or(base.pulls_per_s);
        let clients = self.clients.clone().unwrap_or_else(|| base.clients.to_vec());
        let scaled = |clients| Row { clients, scale: row_scale(clients, wanted, pulls_per_s) };
        let intervals: Option<Vec<u32>> = self
            .intervals_s
            .as_ref()
            .map(|list| list.iter().map(|s| u32::try_from(*s).unwrap_or(u32::MAX)).collect());
        Ok(Plan {
            exhibits: self.only.clone().unwrap_or_else(|| Exhibit::ALL.to_vec()),
            rows: clients.into_iter().map(scaled).collect(),
            intervals_s: intervals.unwrap_or_else(|| base.intervals_s.to_vec()),
            publications: self.publications.unwrap_or(base.publications),
            pulling,
            crowds: self.connections.clone().unwrap_or_else(|| base.connections.to_vec()),
            broadcasts: self.broadcasts.unwrap_or(base.broadcasts),
            crowd_scale: wanted,
            nodes: self.nodes.clone().unwrap_or_else(|| base.nodes.to_vec()),
            repeats: self.repeats.unwrap_or(base.repeats),
            message_bytes: self.message_bytes.unwrap_or(MESSAGE_BYTES_MIN),
        })
    }
}

/// The defaults of an extent.
struct Base {
    scale: f64,
    pulls_per_s: f64,
    clients: &'static [usize],
    intervals_s: &'static [u32],
    publications: usize,
    connections: &'static [usize],
    broadcasts: usize,
    nodes: &'static [usize],
    repeats: usize,
}

impl Base {
    fn of(extent: Extent) -> Base {
        let usual = Base {
            scale: 0.1,
            pulls_per_s: 5_000.0,
            clients: &published::CLIENTS,
            intervals_s: &published::INTERVALS_S,
            publications: 1,
            connections: &published::CONNECTIONS,
            broadcasts: 5,
            nodes: &published::NODES,
            repeats: 3,
        };
        match extent {
            Extent::Default => usual,
            Extent::Full => Base { scale: 1.0, repeats: 1, ..usual },
            Extent::Quick => Base {
                scale: 0.02,
                intervals_s: &[10, 50],
                connections: &[500, 2_000, 8_000],
                broadcasts: 3,
                nodes: &[1, 2],
                repeats: 1,
                ..usual
            },
            Extent::Smoke => Base {
                scale: 0.02,
                clients: &[5, 20],
                intervals_s: &[10, 50],
                connections: &[50, 200],
                broadcasts: 2,
                nodes: &[1, 2],
                repeats: 1,
                ..usual
            },
        }
    }
}

fn exhibits(text: &str) -> Result<Vec<Exhibit>, String> {
    let one = |word: &str| {
        let known = Exhibit::ALL.iter().find(|exhibit| exhibit.word() == word);
        known.copied().ok_or_else(|| {
            let all: Vec<&str> = Exhibit::ALL.iter().map(|exhibit| exhibit.word()).collect();
            format!("there is no {word:?}: --only takes {}", all.join(", "))
        })
    };
    text.split(',').map(one).collect()
}

fn counts(text: &str, most: usize) -> Result<Vec<usize>, String> {
    let one = |word: &str| match word.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("{word:?} is not a number from 1 to {most}")),
    };
    let mut list: Vec<usize> = text.split(',').map(one).collect::<Result<_, _>>()?;
    list.sort_unstable();
    list.dedup();
    if list.len() > LIST_MAX {
        return Err(format!("a list has at most {LIST_MAX} numbers"));
    }
    Ok(list)
}

/// `0.1` or `1/10`.
fn scale(text: &str) -> Result<f64, String> {
    let parsed = match text.split_once('/') {
        Some((over, under)) => over.parse::<f64>().ok().zip(under.parse::<f64>().ok()).map(|(a, b)| a / b),
        None => text.parse().ok(),
    };
    let good = parsed.filter(|scale| (0.005..=1.0).contains(scale));
    good.ok_or_else(|| format!("{text:?} is not a scale from 1/200 to 1"))
}

fn rate(text: &str) -> Result<f64, String> {
    let good = text.parse().ok().filter(|rate| (1.0..=1e6).contains(rate));
    good.ok_or_else(|| format!("{text:?} is not a number from 1 to 1000000"))
}

fn times(parser: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    within(parser, 1, TIMES_MAX)
}

fn within(parser: &mut lexopt::Parser, least: usize, most: usize) -> Result<usize, lexopt::Error> {
    let number = |text: &str| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("it is not a number from {least} to {most}")),
    };
    parser.value()?.parse_with(number)
}

#[cfg(test)]
mod tests;
