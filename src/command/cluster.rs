//! The command lines of the controller, its agents and its administrator.

use lexopt::{Arg, Parser};

use super::{Command, Environment, help, lexopt_usage, path, text, unexpected, usage, utf8};
use crate::client::ctl::{self, Order};
use crate::config::{SCHEDULERS, edits};
use crate::error::StartError;
use crate::limits::COMPONENTS_MAX;
use crate::node::supervisor::{AgentOptions, Options};

/// Where `pushup ctl` finds its controller if nothing is said.
const CONTROL: &str = "control.sock";

pub(super) fn supervise(mut args: Parser) -> Result<Command, StartError> {
    let (mut file, mut leave_running, mut check) = (None, false, false);
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::SUPERVISE.into())),
            Arg::Long("leave-running") => leave_running = true,
            Arg::Long("check-config") => check = true,
            Arg::Value(value) if file.is_none() => file = Some(value.into()),
            other => return Err(unexpected(other)),
        }
    }
    let file = file.ok_or_else(|| usage("the FILE is missing: what is to run, like cluster.toml".into()))?;
    Ok(Command::Supervise(Options { file, leave_running, check }))
}

pub(super) fn agent(mut args: Parser) -> Result<Command, StartError> {
    let (mut join, mut name, mut programs) = (None, None, None);
    let (mut key_file, mut cluster_name) = (None, "pushup".to_owned());
    let (mut state, mut leave_running) = (".".into(), false);
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::AGENT.into())),
            Arg::Long("join") => join = Some(text(&mut args)?),
            Arg::Long("name") => name = Some(text(&mut args)?),
            Arg::Long("programs") => programs = Some(path(&mut args)?),
            Arg::Long("cluster-name") => cluster_name = text(&mut args)?,
            Arg::Long("cluster-key-file") => key_file = Some(path(&mut args)?),
            Arg::Long("state") => state = path(&mut args)?,
            Arg::Long("leave-running") => leave_running = true,
            other => return Err(unexpected(other)),
        }
    }
    let missing = |what: &str| usage(format!("{what} is missing"));
    Ok(Command::Agent(AgentOptions {
        join: join.ok_or_else(|| missing("--join HOST:PORT, the controller's [agents] listen,"))?,
        name: name.ok_or_else(|| missing("--name NAME, what the cluster's file calls this machine,"))?,
        programs: programs.ok_or_else(|| missing("--programs DIR, what may be run,"))?,
        cluster_name,
        key_file,
        state,
        leave_running,
    }))
}

pub(super) fn ctl(mut args: Parser, env: Environment<'_>) -> Result<Command, StartError> {
    let mut control = env("PUSHUP_CONTROL").unwrap_or_else(|| CONTROL.into()).into();
    let (mut json, mut no_wait, mut words) = (false, false, Vec::new());
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::CTL.into())),
            Arg::Long("control") => control = path(&mut args)?,
            Arg::Long("json") => json = true,
            Arg::Long("no-wait") => no_wait = true,
            Arg::Value(value) => words.push(utf8(value)?),
            other => return Err(unexpected(other)),
        }
    }
    let order = order(&words)?;
    Ok(Command::Control(ctl::Options { control, json, no_wait, order }))
}

fn order(words: &[String]) -> Result<Order, StartError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["status"] => Ok(Order::Status),
        ["start", name] => Ok(Order::Start((*name).to_owned())),
        ["stop", name] => Ok(Order::Stop((*name).to_owned())),
        ["drain", name] => Ok(Order::Drain((*name).to_owned())),
        ["scale", name, count] => {
            let count = count.parse().ok().filter(|count| (0..=COMPONENTS_MAX as u64).contains(count));
            let why = || usage(format!("COUNT must be a whole number from 0 to {COMPONENTS_MAX}"));
            Ok(Order::Scale((*name).to_owned(), count.ok_or_else(why)?))
        }
        ["scheduler", policy] if SCHEDULERS.contains(policy) => Ok(Order::Scheduler((*policy).to_owned())),
        ["scheduler", ..] => Err(usage(format!("scheduler needs one of {}", SCHEDULERS.join(", ")))),
        [] => Err(usage("the command is missing: status, start, stop, drain, scale or scheduler".into())),
        ["status", word, ..] | ["start" | "stop" | "drain", _, word, ..] | ["scale", _, _, word, ..] => {
            Err(usage(format!("unexpected argument \"{}\"", word.escape_debug())))
        }
        ["start" | "stop" | "drain"] => Err(usage("the NAME is missing: of a group, or like work.2".into())),
        ["scale", ..] => Err(usage("scale needs the NAME of a group and a COUNT".into())),
        [other, ..] => {
            let known = ["status", "start", "stop", "drain", "scale", "scheduler"];
            let near = known.into_iter().find(|known| edits(other, known) <= 2);
            let near = near.map_or(String::new(), |near| format!(", did you mean \"{near}\"?"));
            Err(usage(format!("unknown command \"{}\"{near}", other.escape_debug())))
        }
    }
}
