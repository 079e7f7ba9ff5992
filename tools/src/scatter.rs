//! `pushup-scatter-paper`: the evaluation of the second paper (Node Scala §VI) run again, and what came of it as a
//! report.
//!
//! | module | what |
//! |---|---|
//! | `documents`, `data` | MIPAS-like documents from a seed; SQLite behind HTTP, the data side of all contenders |
//! | `clouds`, `handler` | the algorithm; a handler of PushUp around it (`node/` has both in JavaScript) |
//! | `fetch` | HTTP as a client: pages as they come |
//! | `quota`, `systems` | a share of a processor for each process; the contenders |
//! | `trials` | requests at once to one system, and what it uses for them |
//! | `options`, `plan` | the command line; which experiments, how long they take |
//! | `evaluation` | from the beginning to the report |
//! | `results`, `verdicts`, `report` | what was measured; the claims against it; HTML, figures, JSON |
//!
//! What it refuses to know: what the server is made of. Invariant: nobody is faster by doing something else: all
//! answers to a request are the same bytes, or the run fails.

pub mod clouds;
pub mod data;
pub mod documents;
mod evaluation;
pub mod fetch;
pub mod handler;
pub mod options;
pub mod plan;
pub mod quota;
mod report;
pub mod results;
pub mod systems;
pub mod trials;
pub mod verdicts;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::paper::report::Ending;
use options::{Command, USAGE};

/// The exit status of a run that was interrupted: that of a shell's Ctrl-C.
const INTERRUPTED: u8 = 130;
/// The exit status of a command line that cannot be understood.
const BAD_USAGE: u8 = 2;

/// The whole program.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let command = match options::parse(args.iter().cloned()) {
        Ok(command) => command,
        Err(reason) => {
            eprintln!("pushup-scatter-paper: {reason}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    let outcome = match command {
        Command::Help => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Command::Version => {
            println!("pushup-scatter-paper {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Command::ShowPlan(plan) => {
            print!("{}", plan.summary());
            return ExitCode::SUCCESS;
        }
        Command::Data(file, ready) => data::serve(&file, &ready).map(|()| Ending::Complete),
        Command::Handler(source) => handler::serve(source).map(|()| Ending::Complete),
        Command::Evaluate(options) => evaluation::evaluate(*options, &args),
    };
    match outcome {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("pushup-scatter-paper: {error}");
            ExitCode::FAILURE
        }
    }
}
