//! The program: arguments, environment and files go in, an exit code comes out.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use pushup::client::{self, Terminal, ctl, publish, subscribe};
use pushup::command::{self, Command, Flags};
use pushup::config::{Config, START_VARIABLE};
use pushup::error::StartError;
use pushup::node;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr must not turn an exit code into a panic.
            let _ = writeln!(io::stderr(), "{}", command::error_line(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), StartError> {
    let command = command::parse(std::env::args_os().skip(1), &variable)?;
    if variable(START_VARIABLE).is_some() && matches!(command, Command::Serve(_) | Command::Work(_)) {
        node::supervisor::wait_to_begin()?;
    }
    match command {
        Command::Serve(flags) => serve(flags),
        Command::Check(flags) => check(&flags),
        Command::Work(options) => {
            start_log();
            node::worker::run(options, Vec::new())
        }
        Command::Map(options) => {
            node::log::start(log::LevelFilter::Warn, false);
            node::map::run(&options)
        }
        Command::Supervise(options) => {
            start_log();
            node::supervisor::supervise(&options)?;
            if options.check { print("cluster file ok\n") } else { Ok(()) }
        }
        Command::Agent(options) => {
            start_log();
            node::supervisor::run_agent(options)
        }
        Command::Control(options) => with_terminal(|terminal| ctl::run(&options, terminal)),
        Command::Publish(options) => {
            with_terminal(|terminal| publish::run(&options, &mut io::stdin().lock(), terminal))
        }
        Command::Subscribe(options) => with_terminal(|terminal| subscribe::run(&options, terminal)),
        Command::Print(text) => print(&text),
    }
}

fn start_log() {
    let journal = node::log::is_journal(variable("JOURNAL_STREAM").as_deref());
    node::log::start(log::LevelFilter::Info, journal);
}

fn serve(flags: Flags) -> Result<(), StartError> {
    let config = load(&flags)?;
    let journal = node::log::is_journal(variable("JOURNAL_STREAM").as_deref());
    node::log::start(config.log_level, journal);
    node::serve(config, || load(&flags))
}

fn check(flags: &Flags) -> Result<(), StartError> {
    node::check(&load(flags)?)?;
    print("configuration ok\n")
}

/// The configuration as the flags, the environment and the file have it now.
fn load(flags: &Flags) -> Result<Config, StartError> {
    let read_file = |path: &Path| client::read_file(path);
    Config::load(flags.clone(), variables(), &read_file)
}

/// All variables. One that is not UTF-8 is shown as if it were, and so refused where
/// it is one of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn with_terminal(client: impl FnOnce(&mut Terminal<'_>) -> Result<(), StartError>) -> Result<(), StartError> {
    client(&mut Terminal {
        out: &mut io::BufWriter::new(io::stdout().lock()),
        notices: &mut io::stderr(),
        pause: &std::thread::sleep,
    })
}

/// Prints to stdout; that nobody reads on is no error.
fn print(text: &str) -> Result<(), StartError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(StartError::Run(format!("cannot write output: {error}")))
        }
        _ => Ok(()),
    }
}
