//! `pushup-load replicate`: several nodes of PushUp that look like one, and what that takes.
//!
//! | module | what |
//! |---|---|
//! | `options` | the command line |
//! | `figures` | all that is measured, the table, JSON |
//! | `batches` | NDJSON publications with markers in them |
//! | `publisher` | the connection that publishes them, at a rate or as fast as they are taken |
//! | `followers` | polls that follow some of the channels |
//! | `trials` | replication delay, the most that a link carries, catching up |
//!
//! What it owns: which trials there are and in which order. What it refuses to know: the server's code.
//! Invariant: a figure counts only if every entry that was published reached every node.

mod batches;
pub mod figures;
mod followers;
pub mod options;
mod publisher;
mod trials;

use std::process::ExitCode;

use crate::Fallible;
use crate::machine::{self, Machine};
use crate::servers::pushup::{self, PushUp};
use crate::servers::{Placement, Stage};
use figures::{Figure, Results};
use options::{Asked, Plan};
use trials::Trials;

/// Numbers of origins whose cursors are measured.
const CURSOR_ORIGINS: [usize; 3] = [1, 4, 64];
/// The highest entry that these cursors have seen of each.
const CURSOR_ENTRY: u64 = 1_000_000;

/// Carries out what the command line behind the word `replicate` says; gives the exit status.
pub fn run(args: lexopt::Parser) -> ExitCode {
    let plan = match options::parse(args) {
        Ok(Asked::Replicate(plan)) => *plan,
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pushup-load replicate: {error}");
            return ExitCode::from(2);
        }
    };
    match replicate(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pushup-load replicate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn replicate(plan: &Plan) -> Fallible<()> {
    let machine = Machine::look();
    let mut pushup = match &plan.server {
        Some(server) => server.clone(),
        None => PushUp::new(pushup::find()?),
    };
    pushup.args.extend(plan.server_args.iter().cloned());
    println!("{}\n{}\n{}", machine.line(), pushup.binary.display(), plan.line());
    // Where nodes and clients run is the kernel's choice: there are more of them than processors.
    let trials = Trials { plan, pushup, stage: Stage::new(Placement::Anywhere)? };
    let mut results = Results::default();
    let measured = (0..plan.rounds).try_for_each(|round| {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        trials.run(&mut results)
    });
    for origins in CURSOR_ORIGINS {
        results.add(Figure::Cursor(origins), cursor_characters(origins, CURSOR_ENTRY) as f64);
    }
    println!("\n{}", results.show(plan));
    println!("Load average {} at the start, {} at the end.", machine.load, machine::load());
    if let Some(path) = &plan.json {
        std::fs::write(path, format!("{:#}\n", results.json(plan, &machine)))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    measured
}

/// Characters of a cursor that has seen so much of each of so many origins: base64url of one byte of
/// version, two of the cluster's tag, and for each origin eight and a number with seven bits a byte.
pub fn cursor_characters(origins: usize, entry: u64) -> usize {
    let number_bytes = (64 - entry.leading_zeros() as usize).div_ceil(7).max(1);
    let bytes = 3 + origins * (8 + number_bytes);
    (4 * bytes).div_ceil(3)
}
