//! The deterministic simulator: several whole nodes and their clients on a virtual network and
//! clock, all from one seed.
//!
//! A seed says how many nodes, subscribers and publishers there are and what goes wrong when:
//! partitions, crashes, pauses, slow peers, lost datagrams, clocks that jump. Real HTTP bytes,
//! link bytes and datagrams go between whole shards. After a while everything heals, and then all
//! must agree and every promise must have been kept; `ledger` and `judge` are what was promised.
//!
//! Without arguments: a thousand seeds, that a seed replays exactly, and that every bug of
//! `pushup::planted` is found. `tools/sim` runs it by hand:
//!
//! ```text
//! tools/sim --seeds 10000 --from 1 --jobs 2
//! tools/sim --seed 17 --trace
//! tools/sim --seeds 1000 --shards 4
//! tools/sim --nodes 64
//! ```

mod agenda;
mod crowd;
mod host;
mod http;
mod judge;
mod keeper;
mod ledger;
mod net;
mod plan;
mod planted;
mod publisher;
mod random;
mod reader;
mod runner;
mod scene;
mod trace;
mod world;

use std::process::ExitCode;

use lexopt::prelude::*;
use pushup::planted::Planted;

use crate::plan::Make;

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 1_000;
/// The variable that names one seed to be replayed.
const SEED_VARIABLE: &str = "PUSHUP_SEED";

/// What is to be done.
#[derive(Debug, Default)]
struct Options {
    seeds: Option<u64>,
    from: u64,
    jobs: usize,
    seed: Option<u64>,
    trace: bool,
    bug: Option<String>,
    nodes: Option<usize>,
    /// Shards of every node; without it the seed says.
    shards: Option<usize>,
    /// A test harness's filters: stages whose names have none of them are left out.
    filters: Vec<String>,
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options { from: 1, jobs: 2, ..Options::default() };
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        options.seed = Some(seed.parse().map_err(|_| format!("{SEED_VARIABLE} must be a number"))?);
    }
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => options.seeds = Some(parser.value()?.parse()?),
            Long("from") => options.from = parser.value()?.parse()?,
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("seed") => options.seed = Some(parser.value()?.parse()?),
            Long("trace") => options.trace = true,
            Long("bug") => options.bug = Some(parser.value()?.string()?),
            Long("shards") => options.shards = Some(parser.value()?.parse()?),
            Long("nodes") => options.nodes = Some(parser.value()?.parse()?),
            // What cargo hands to every test.
            Long("nocapture" | "quiet" | "include-ignored") | Short('q') => {}
            Value(filter) => options.filters.push(filter.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("sim: {error}");
            return ExitCode::from(2);
        }
    };
    runner::quiet_panics();
    if run(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options) -> bool {
    let planted = match options.bug.as_deref().map(planted::named) {
        None => Planted::default(),
        Some(Some(bug)) => Planted::with(bug),
        Some(None) => {
            eprintln!("sim: there is no such bug; there are {:?}", pushup::planted::Bug::ALL);
            return false;
        }
    };
    let make = Make { planted, shards: options.shards };
    if let Some(nodes) = options.nodes {
        return crowd::figure(nodes, make);
    }
    if let Some(seed) = options.seed {
        return runner::one(seed, make, options.trace);
    }
    if let Some(seeds) = options.seeds {
        return runner::many(options.from, seeds, options.jobs, make);
    }
    let stage = |name: &str| {
        options.filters.is_empty() || options.filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    (!stage("replay") || runner::replays(options.from, make))
        && (!stage("seeds") || runner::many(options.from, SEEDS, options.jobs, make))
        && (!stage("planted") || planted::all_are_found(options.jobs, options.shards))
}
