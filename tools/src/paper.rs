//! `pushup-paper`: the evaluation of the paper (§4) run again, and what came of it as a report.
//!
//! | module | what |
//! |---|---|
//! | `published` | the paper's own numbers and statements |
//! | `options`, `plan` | the command line; which experiments, of which size, how long they take |
//! | `evaluation`, `bar` | from the beginning to the report; how far it has come |
//! | `polling`, `crowds` | the experiments: push against poll (§4.2); events against threads, nodes (§4.3, §4.4) |
//! | `laboratory`, `subjects`, `nodes` | clients; servers; HAProxy |
//! | `loopback`, `memory`, `limits` | packet counters; memory; what this machine allows |
//! | `results`, `verdicts` | what was measured; each claim of the paper against it |
//! | `report`, `numbers` | HTML, figures, CSV; how figures are written |
//!
//! What it refuses to know: how requests are sent and messages found (`engine`). Invariant: whatever fails or
//! is interrupted, the report of what was measured so far is written.

pub(crate) mod bar;
mod crowds;
pub(crate) mod evaluation;
mod laboratory;
mod limits;
mod loopback;
mod memory;
mod nodes;
mod numbers;
pub mod options;
pub mod plan;
mod polling;
pub mod published;
pub mod report;
pub mod results;
mod subjects;
pub mod verdicts;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use crate::servers::threads;
use options::{Command, USAGE};
use report::Ending;

/// The exit status of a run that was interrupted: that of a shell's Ctrl-C.
const INTERRUPTED: u8 = 130;
/// The exit status of a command line that cannot be understood.
const BAD_USAGE: u8 = 2;

/// The whole program.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let command = match options::parse(args.iter().cloned()) {
        Ok(command) => command,
        Err(reason) => {
            eprintln!("pushup-paper: {reason}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    let outcome = match command {
        Command::Help => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Command::Version => {
            println!("pushup-paper {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Command::ShowPlan(plan) => {
            print!("{}", plan.summary());
            return ExitCode::SUCCESS;
        }
        Command::ThreadPerPoll(options) => threads::serve(&options).map(|()| Ending::Complete),
        Command::Evaluate(options) => evaluation::evaluate(*options, &args),
    };
    match outcome {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("pushup-paper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How clients learn that there is something new (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// CP: every client asks once in every polling interval.
    ClientPulling,
    /// MLP: long polling, a thread of the server for each poll.
    ThreadPerPoll,
    /// ELP: long polling, one event loop: PushUp.
    EventDriven,
}

impl Method {
    /// All, in the order of the paper's tables.
    pub const ALL: [Method; 3] = [Method::ClientPulling, Method::ThreadPerPoll, Method::EventDriven];
    /// Those that hold polls.
    pub const LONG: [Method; 2] = [Method::ThreadPerPoll, Method::EventDriven];

    /// The paper's abbreviation.
    pub fn word(self) -> &'static str {
        match self {
            Method::ClientPulling => "CP",
            Method::ThreadPerPoll => "MLP",
            Method::EventDriven => "ELP",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// What of the paper is shown: its numbered tables and figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exhibit {
    /// Network traffic in numbers.
    Table1,
    /// Mean publish trip time in numbers.
    Table2,
    /// Network traffic at the largest number of clients.
    Figure7,
    /// Mean publish trip time at the largest number of clients.
    Figure8,
    /// Server memory by connections.
    Figure9,
    /// Mean publish trip time by connections.
    Figure10,
    /// Received messages by connections.
    Figure11,
    /// Mean publish trip time by connections and nodes.
    Figure12,
    /// Received messages by connections and nodes.
    Figure13,
}

impl Exhibit {
    /// All, in the paper's order of appearance.
    pub const ALL: [Exhibit; 9] = [
        Exhibit::Table1,
        Exhibit::Figure7,
        Exhibit::Table2,
        Exhibit::Figure8,
        Exhibit::Figure9,
        Exhibit::Figure10,
        Exhibit::Figure11,
        Exhibit::Figure12,
        Exhibit::Figure13,
    ];

    /// How the command line calls it.
    pub fn word(self) -> &'static str {
        match self {
            Exhibit::Table1 => "table1",
            Exhibit::Table2 => "table2",
            Exhibit::Figure7 => "fig7",
            Exhibit::Figure8 => "fig8",
            Exhibit::Figure9 => "fig9",
            Exhibit::Figure10 => "fig10",
            Exhibit::Figure11 => "fig11",
            Exhibit::Figure12 => "fig12",
            Exhibit::Figure13 => "fig13",
        }
    }

    /// Whether it comes from §4.2: push against poll.
    pub fn is_polling(self) -> bool {
        matches!(self, Exhibit::Table1 | Exhibit::Table2 | Exhibit::Figure7 | Exhibit::Figure8)
    }

    /// Whether it comes from §4.3: events against threads.
    pub fn is_crowd(self) -> bool {
        matches!(self, Exhibit::Figure9 | Exhibit::Figure10 | Exhibit::Figure11)
    }

    /// Whether it comes from §4.4: several nodes.
    pub fn is_nodes(self) -> bool {
        matches!(self, Exhibit::Figure12 | Exhibit::Figure13)
    }
}
