//! `pushup-load`: loads a long-poll server in one of several ways and judges what it does.
//!
//! What it owns: the first word of the command line. The rest is its profile's.

use std::process::ExitCode;

use lexopt::Arg;
use pushup_tools::profiles::{self, Profile};
use pushup_tools::{compare, replicate, servers};

fn main() -> ExitCode {
    let mut args = lexopt::Parser::from_env();
    let word = match args.next() {
        Ok(Some(Arg::Value(word))) => word.to_string_lossy().into_owned(),
        Ok(Some(Arg::Long("help") | Arg::Short('h'))) => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Ok(Some(Arg::Long("version") | Arg::Short('V'))) => {
            println!("pushup-load {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(None) => return usage("what is to be done? (a profile, compare or replicate)"),
        Ok(Some(other)) => return usage(&other.unexpected().to_string()),
        Err(error) => return usage(&error.to_string()),
    };
    match (word.as_str(), Profile::from_word(&word)) {
        (_, Some(profile)) => profiles::run(profile, args),
        ("compare", _) => compare::run(args),
        ("replicate", _) => replicate::run(args),
        ("bare", _) => bare(args),
        ("help", _) => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        _ => usage(&format!("there is no profile {word:?}")),
    }
}

/// The yardstick of `compare`, which starts this program again as it.
fn bare(mut args: lexopt::Parser) -> ExitCode {
    let served = args.value().map_err(Into::into).and_then(|job| servers::bare::serve(job.as_ref()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pushup-load bare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(error: &str) -> ExitCode {
    eprintln!("pushup-load: {error}\nTry pushup-load --help");
    ExitCode::from(2)
}

fn help() -> String {
    let mut text = "\
Usage: pushup-load PROFILE [OPTIONS]
       pushup-load compare [OPTIONS]
       pushup-load replicate [OPTIONS]

Loads a long-poll server and judges what it does: every message must reach every poller of its
channel exactly once. Without --target a PushUp is started for the run, on loopback.

"
    .to_owned();
    for profile in Profile::ALL {
        text += &format!("  {:<10} {}\n", profile.word(), profile.summary());
    }
    text += "  compare    PushUp, a bare loop that moves the same bytes, and nchan, in one table\n";
    text += "  replicate  several nodes of PushUp that look like one, and what that takes\n\n";
    text + "pushup-load PROFILE --help tells the options of a profile.\n"
}
