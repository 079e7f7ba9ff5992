//! `pushup-load PROFILE`: one way of loading a long-poll server each, and what is measured by it.
//!
//! | module | what |
//! |---|---|
//! | `options` `settings` | the command line, and every option in one table |
//! | `subject` | the server that is driven: one of our own, or a running one |
//! | `stage` | what profiles have in common: connecting, publishing in open loop, draining |
//! | `report` | figures for a person and for a program, and the verdict |
//! | `many` | `hold` with more polls than one thread may have descriptors |
//! | `hold` `broadcast` `cycle` `churn` `publish` `storm` `soak` `slow` | the profiles |
//!
//! What it refuses to know: sockets. Invariant: whatever a profile measures, it ends with a
//! drain and an audit, and its exit status says whether every message arrived exactly once.

mod broadcast;
mod churn;
mod cycle;
mod hold;
mod many;
pub mod options;
mod publish;
pub mod report;
mod settings;
mod slow;
mod soak;
mod stage;
mod storm;
mod subject;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::Fallible;
use crate::machine::Machine;
pub use options::Profile;
use options::{Asked, Plan};
use report::Report;
use stage::Stage;
use subject::Subject;

/// Carries out what the command line behind a profile's name says; gives the exit status:
/// 0 clean, 1 something was lost, duplicated or out of order, or failed, 2 bad usage, 130 interrupted.
pub fn run(profile: Profile, args: lexopt::Parser) -> ExitCode {
    let plan = match options::parse(profile, args).and_then(|asked| asked.fitting_descriptors()) {
        Ok(Asked::Run(plan)) => *plan,
        Ok(Asked::Help) => {
            say(&settings::help(profile));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pushup-load {}: {error}", profile.word());
            return ExitCode::from(2);
        }
    };
    match measure(&plan) {
        Ok(report) => report.status(),
        Err(error) => {
            eprintln!("pushup-load {}: {error}", profile.word());
            ExitCode::FAILURE
        }
    }
}

fn measure(plan: &Plan) -> Fallible<Report> {
    let stop = obey_signals()?;
    let machine = Machine::look();
    let subject = Subject::start(plan)?;
    plan.placement.place_client()?;
    let mut stage = Stage::new(plan, machine, subject, stop)?;
    match plan.profile {
        Profile::Hold => match plan.division {
            Some(division) => many::run(&mut stage, division)?,
            None => hold::run(&mut stage)?,
        },
        Profile::Broadcast => broadcast::run(&mut stage)?,
        Profile::Cycle => cycle::run(&mut stage)?,
        Profile::Churn => churn::run(&mut stage)?,
        Profile::Publish => publish::run(&mut stage)?,
        Profile::Storm => storm::run(&mut stage)?,
        Profile::Soak => soak::run(&mut stage)?,
        Profile::Slow => slow::run(&mut stage)?,
    }
    let report = stage.finish();
    say(&report.show());
    if let Some(path) = &plan.json {
        let text = serde_json::to_string_pretty(&report.json(plan))? + "\n";
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

/// Prints; a reader that has gone, as `head` does, is no failure of the run.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The flag that Ctrl-C sets; a second one ends the process at once.
fn obey_signals() -> Fallible<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
