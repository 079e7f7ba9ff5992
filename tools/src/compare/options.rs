//! The command line of `pushup-load compare`, and the plan that it makes.
//!
//! What it refuses to know: how anything is measured. Invariant: a plan that is given out can
//! be carried out on this machine, as far as can be known beforehand.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, ValueExt};

use super::figures::Part;
use crate::servers::Placement;
use crate::servers::pushup::PushUp;

/// Channels have six digits in their names; and a process has few more descriptors than this.
const POLLS_MAX: usize = 900_000;
const ROUNDS_MAX: u32 = 10_000;
const REPEATS_MAX: usize = 1_000;
/// Servers that are compared at most; a table has only so much room.
const SERVERS_MAX: usize = 4;

pub(super) const HELP: &str = "\
Usage: pushup-load compare [OPTIONS]

Starts PushUp, a bare epoll loop that moves the same bytes, and nginx with nchan
one after the other, again and again, and prints what each needs as a table in
Markdown. About ten minutes; tools/install-peers gets nginx with nchan.

  --server-path [LABEL=]PATH  a PushUp binary (default: the one that was built
                      last); may be repeated, to compare versions
  --server-arg ARG    one more argument for all of them; may be repeated
  --without NAME      leave out nchan or bare; may be repeated
  --only FIGURE       only this one; may be repeated: delivery, delivery-each,
                      broadcast, publish, accept, memory, memory-each, idle
  --polls N           held polls (16000)
  --rounds K          publications to each of them in one run (10)
  --repeats K         runs of each server for each figure (5)
  --body BYTES        size of a delivered message (64); broadcasts have 1 KB
  --smoke             200 polls, 2 rounds, 1 repeat: does everything, says nothing
  --pin, --no-pin     server on processor 0, client on 1 (the default on two)
  --json FILE         write everything there as well
  --help              this text

Ends with status 0 if every poll got every message exactly once, whether or not
targets are met; 1 if not; 2 if the command line is wrong; 130 at Ctrl-C, after
printing what was measured until then.
";

/// What is compared and how much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Held polls.
    pub polls: usize,
    /// Publications to each poll in one run, after a first one that is not measured.
    pub rounds: u32,
    /// Runs of each server for each figure.
    pub repeats: usize,
    /// Bytes of a delivered message.
    pub body_bytes: usize,
    /// Bytes of a message that is broadcast.
    pub broadcast_bytes: usize,
    /// Publications without subscribers in one run…
    pub publications_max: u64,
    /// …or for this long, whichever ends first.
    pub publish_time_max: Duration,
    /// What is measured.
    pub parts: Vec<Part>,
    /// The versions of PushUp; if empty, the one that was built last.
    pub servers: Vec<PushUp>,
    /// Further arguments for all of them.
    pub server_args: Vec<OsString>,
    /// Whether the bare loop takes part.
    pub bare: bool,
    /// Whether nchan takes part if it is there.
    pub nchan: bool,
    /// Who runs where.
    pub placement: Placement,
    /// Whether one run is thrown away first, for the machine to warm up.
    pub warm_up: bool,
    /// Where the figures go besides the terminal.
    pub json: Option<PathBuf>,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To compare.
    Compare(Box<Plan>),
    /// An explanation.
    Help,
}

impl Plan {
    pub(super) fn full() -> Plan {
        Plan {
            polls: 16_000,
            rounds: 10,
            repeats: 5,
            body_bytes: 64,
            broadcast_bytes: 1_024,
            publications_max: 400_000,
            publish_time_max: Duration::from_secs(3),
            parts: Part::ALL.to_vec(),
            servers: Vec::new(),
            server_args: Vec::new(),
            bare: true,
            nchan: true,
            placement: Placement::fitting(),
            warm_up: true,
            json: None,
        }
    }

    fn smoke() -> Plan {
        Plan {
            polls: 200,
            rounds: 2,
            repeats: 1,
            publications_max: 10_000,
            publish_time_max: Duration::from_millis(300),
            warm_up: false,
            ..Plan::full()
        }
    }

    /// Whether this is to be measured.
    pub fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// One line that says what was asked for.
    pub fn line(&self) -> String {
        format!(
            "{} polls, {} rounds a run, {} runs each, messages of {} bytes, {}",
            self.polls,
            self.rounds,
            self.repeats,
            self.body_bytes,
            self.placement.words()
        )
    }
}

/// Reads the command line behind the word `compare`. Errors are for a person, one line.
pub fn parse(mut args: lexopt::Parser) -> Result<Asked, lexopt::Error> {
    // What `--smoke` says stands where no other option says something else.
    let mut given = Vec::new();
    let mut plan = Plan::full();
    while let Some(arg) = args.next()? {
        match arg {
            Long("smoke") => plan = Plan::smoke(),
            Long("help") | Short('h') => return Ok(Asked::Help),
            Long(name) => {
                let name = name.to_owned();
                given.push(setting(&name, &mut args)?);
            }
            other => return Err(other.unexpected()),
        }
    }
    let mut only = Vec::new();
    for setting in given {
        apply(setting, &mut plan, &mut only);
    }
    if !only.is_empty() {
        plan.parts = Part::ALL.into_iter().filter(|part| only.contains(part)).collect();
    }
    check(plan).map(|plan| Asked::Compare(Box::new(plan))).map_err(lexopt::Error::from)
}

enum Setting {
    Polls(usize),
    Rounds(u32),
    Repeats(usize),
    Body(usize),
    Only(Part),
    Server(PushUp),
    ServerArg(OsString),
    Without(Peer),
    Place(Placement),
    Json(PathBuf),
}

#[derive(Clone, Copy)]
enum Peer {
    Bare,
    Nchan,
}

fn setting(name: &str, args: &mut lexopt::Parser) -> Result<Setting, lexopt::Error> {
    Ok(match name {
        "polls" => Setting::Polls(args.value()?.parse()?),
        "rounds" => Setting::Rounds(args.value()?.parse()?),
        "repeats" | "repeat" => Setting::Repeats(args.value()?.parse()?),
        "body" => Setting::Body(args.value()?.parse()?),
        "only" => Setting::Only(args.value()?.parse_with(Part::from_word)?),
        "server-path" => Setting::Server(args.value()?.parse_with(PushUp::parse)?),
        "server-arg" => Setting::ServerArg(args.value()?),
        "without" => Setting::Without(args.value()?.parse_with(peer)?),
        "pin" => Setting::Place(Placement::Apart),
        "no-pin" => Setting::Place(Placement::Anywhere),
        "json" => Setting::Json(args.value()?.into()),
        _ => return Err(Long(name).unexpected()),
    })
}

fn peer(word: &str) -> Result<Peer, &'static str> {
    match word {
        "bare" => Ok(Peer::Bare),
        "nchan" => Ok(Peer::Nchan),
        _ => Err("neither nchan nor bare"),
    }
}

fn apply(setting: Setting, plan: &mut Plan, only: &mut Vec<Part>) {
    match setting {
        Setting::Polls(polls) => plan.polls = polls,
        Setting::Rounds(rounds) => plan.rounds = rounds,
        Setting::Repeats(repeats) => plan.repeats = repeats,
        Setting::Body(bytes) => plan.body_bytes = bytes,
        Setting::Only(part) => only.push(part),
        Setting::Server(server) => plan.servers.push(server),
        Setting::ServerArg(arg) => plan.server_args.push(arg),
        Setting::Without(Peer::Bare) => plan.bare = false,
        Setting::Without(Peer::Nchan) => plan.nchan = false,
        Setting::Place(placement) => plan.placement = placement,
        Setting::Json(path) => plan.json = Some(path),
    }
}

fn check(plan: Plan) -> Result<Plan, String> {
    let least = crate::marker::MARKER_BYTES_MAX;
    let in_range = |name: &str, value: usize, range: std::ops::RangeInclusive<usize>| {
        let (least, most) = (*range.start(), *range.end());
        let fits = range.contains(&value);
        if fits { Ok(()) } else { Err(format!("--{name} is {least} to {most}, not {value}")) }
    };
    in_range("polls", plan.polls, 1..=POLLS_MAX)?;
    in_range("rounds", plan.rounds as usize, 1..=ROUNDS_MAX as usize)?;
    in_range("repeats", plan.repeats, 1..=REPEATS_MAX)?;
    // The bare loop's answers are ready-made, so every message must have the same length.
    in_range("body", plan.body_bytes, least..=32_768)?;
    in_range("server-path (how many)", plan.servers.len(), 0..=SERVERS_MAX)?;
    let labels: Vec<&str> = plan.servers.iter().map(|server| server.label.as_str()).collect();
    for (index, label) in labels.iter().enumerate() {
        if labels[..index].contains(label) || ["bare loop", "nchan"].contains(label) {
            return Err(format!("two servers are called {label:?}: use --server-path LABEL=PATH"));
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Result<Asked, String> {
        let args = lexopt::Parser::from_args(words.split_whitespace());
        parse(args).map_err(|error| error.to_string())
    }

    fn plan(words: &str) -> Plan {
        match asked(words) {
            Ok(Asked::Compare(plan)) => *plan,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn everything_is_measured_unless_told_otherwise() {
        let full = plan("");
        assert_eq!((full.polls, full.rounds, full.repeats), (16_000, 10, 5));
        assert!(full.bare && full.nchan && full.warm_up && Part::ALL.iter().all(|&part| full.wants(part)));
        let some = plan("--only publish --only delivery --without nchan --repeats 2 --json out.json");
        assert_eq!(some.parts, [Part::DeliveryOne, Part::Publish]);
        assert!(some.bare && !some.nchan && some.repeats == 2 && some.json == Some("out.json".into()));
    }

    #[test]
    fn smoke_gives_way_to_what_is_said_besides() {
        for words in ["--smoke --polls 300", "--polls 300 --smoke"] {
            let plan = plan(words);
            assert_eq!((plan.polls, plan.rounds, plan.repeats), (300, 2, 1), "{words}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        for (words, told) in [
            ("--nonsense", "--nonsense"),
            ("word", "word"),
            ("--polls", "--polls"),
            ("--polls 0", "1 to"),
            ("--polls many", "many"),
            ("--repeats 0", "1 to"),
            ("--rounds 0", "1 to"),
            ("--body 10", "53 to"),
            ("--only latency", "delivery-each"),
            ("--without haproxy", "neither"),
            ("--server-path /nowhere/pushup", "/nowhere/pushup"),
        ] {
            let error = asked(words).expect_err(words);
            assert!(error.contains(told) && !error.contains('\n'), "{words}: {error}");
        }
        let own = std::env::current_exe().unwrap();
        let twice = format!("--server-path {0} --server-path {0}", own.display());
        assert!(asked(&twice).unwrap_err().contains("LABEL=PATH"));
        let labelled = twice.replacen("path ", "path old=", 1);
        assert_eq!(
            plan(&labelled).servers.iter().map(|server| &*server.label).collect::<Vec<_>>(),
            ["old", "PushUp"]
        );
    }

    #[test]
    fn help_is_given() {
        assert!(matches!(asked("--help"), Ok(Asked::Help)));
        for part in Part::ALL {
            assert!(HELP.contains(part.word()));
        }
    }
}
