//! The command line: arguments in, a [`Command`] out.
//!
//! Pure: it opens no file and reads no environment but what it is asked to. Secrets
//! have no flag here, for everyone on the machine can read an argument; they come
//! from files.

mod cluster;
mod help;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use crate::client::{ctl, http::Server, publish, subscribe};
use crate::config;
use crate::error::StartError;
use crate::ids::ChannelName;
use crate::limits::{
    CHANNELS_PER_REQUEST_MAX, CONTENT_TYPE_BYTES_MAX, CURSOR_TEXT_BYTES_MAX, HANDLER_MEMORY_MB_MAX,
    HANDLER_MEMORY_MB_MIN, IDEMPOTENCY_KEY_BYTES_MAX, MAP_BATCH_LINES_MAX, POLL_TIMEOUT_S_MAX, TTL_S_MAX,
    USECASE_RETRIES_MAX, WORKER_SLOTS_MAX,
};
use crate::node::{map, supervisor, worker};

/// Where `pushup sub` polls if nothing is said.
const SERVER: &str = "http://127.0.0.1:8080";
/// Where `pushup pub` publishes if nothing is said.
const PUBLISH_SERVER: &str = "http://127.0.0.1:8081";
/// How many lines `pushup map` puts into a sub-task.
const MAP_LINES: u64 = 1_000;
/// How long `pushup sub` asks to be held, in seconds.
const TIMEOUT_S: u64 = 50;

/// Settings as flags gave them, for [`config::Config::load`].
pub type Flags = Vec<(String, String)>;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the server.
    Serve(Flags),
    /// Load everything the server would, and tell whether it is good.
    Check(Flags),
    /// Run a back-end.
    Work(worker::Options),
    /// Handle the lines of a file.
    Map(map::Options),
    /// Run a controller.
    Supervise(supervisor::Options),
    /// Run a controller's agent.
    Agent(supervisor::AgentOptions),
    /// Tell a controller something.
    Control(ctl::Options),
    /// Publish.
    Publish(publish::Options),
    /// Subscribe.
    Subscribe(subscribe::Options),
    /// Print this text, which was asked for.
    Print(String),
}

/// An environment: a variable's value by its name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the arguments after the program's name. Every error is [`StartError::Usage`].
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    env: Environment<'_>,
) -> Result<Command, StartError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let first = arguments.first().and_then(|first| first.to_str());
    let rest = |from: usize| Parser::from_args(arguments.iter().skip(from).cloned());
    match first {
        Some("serve") => serve(rest(1), help::serve),
        Some("worker") => work(rest(1)),
        Some("map") => map_lines(rest(1)),
        Some("supervise") => cluster::supervise(rest(1)),
        Some("agent") => cluster::agent(rest(1)),
        Some("ctl") => cluster::ctl(rest(1), env),
        Some("pub") => publish(rest(1), env),
        Some("sub") => subscribe(rest(1), env),
        Some(name) if !name.starts_with('-') => Err(unknown_command(name)),
        _ => serve(rest(0), help::program),
    }
}

/// The line for stderr: what is wrong, and for a wrong command line where help is.
pub fn error_line(error: &StartError) -> String {
    match error {
        StartError::Usage(_) => format!("pushup: {error} (try 'pushup --help')"),
        _ => format!("pushup: {error}"),
    }
}

fn unknown_command(name: &str) -> StartError {
    let near = ["serve", "pub", "sub", "worker", "map", "supervise", "ctl", "agent"]
        .into_iter()
        .find(|known| config::edits(name, known) <= 1 || known.starts_with(name));
    let name = name.escape_debug();
    usage(match near {
        Some(near) => format!("unknown command \"{name}\", did you mean \"{near}\"?"),
        None => format!("unknown command \"{name}\""),
    })
}

fn serve(mut args: Parser, help_text: fn() -> String) -> Result<Command, StartError> {
    let (mut flags, mut command) = (Flags::new(), Command::Serve as fn(Flags) -> Command);
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help_text())),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Print(help::version())),
            Arg::Short('c') | Arg::Long(config::FILE_FLAG) => {
                flags.push((config::FILE_FLAG.into(), text(&mut args)?));
            }
            Arg::Long("check-config") => command = Command::Check,
            Arg::Long(name) => {
                let row = config::row(name).ok_or_else(|| config::unknown_flag(name))?;
                flags.push((row.name.into(), setting(row, &mut args)?));
            }
            other => return Err(unexpected(other)),
        }
    }
    Ok(command(flags))
}

/// The text after a setting's flag; a switch needs none.
fn setting(row: &config::Row, args: &mut Parser) -> Result<String, StartError> {
    match row.is_switch() {
        false => text(args),
        true => args.optional_value().map_or(Ok("true".into()), utf8),
    }
}

fn work(mut args: Parser) -> Result<Command, StartError> {
    let (mut programs, mut options) = (None, worker::Options::default());
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::WORKER.into())),
            Arg::Long("join") => options.join.push(text(&mut args)?),
            Arg::Long("programs") => programs = Some(path(&mut args)?),
            Arg::Long("slots") => options.slots = number(&mut args, "slots", 1, WORKER_SLOTS_MAX)? as u32,
            Arg::Long("handler-memory") => {
                let (min, max) = (HANDLER_MEMORY_MB_MIN, HANDLER_MEMORY_MB_MAX);
                options.handler_memory_mb = number(&mut args, "handler-memory", min, max)?;
            }
            Arg::Long("name") => options.name = Some(text(&mut args)?),
            Arg::Long("cluster-name") => options.cluster_name = text(&mut args)?,
            Arg::Long("cluster-key-file") => options.key_file = Some(path(&mut args)?),
            other => return Err(unexpected(other)),
        }
    }
    options.programs = programs.ok_or_else(|| usage("--programs DIR is missing: what may be run".into()))?;
    if options.join.is_empty() {
        return Err(usage("--join HOST:PORT is missing: a node's --worker-listen".into()));
    }
    Ok(Command::Work(options))
}

fn map_lines(mut args: Parser) -> Result<Command, StartError> {
    let (mut program, mut file) = (None, None);
    let mut options = map::Options {
        program: PathBuf::new(),
        file: PathBuf::new(),
        batch: MAP_LINES,
        slots: 0,
        unordered: false,
        retries: 2,
        quiet: false,
    };
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::MAP.into())),
            Arg::Long("program") => program = Some(path(&mut args)?),
            Arg::Long("split") => match text(&mut args)?.as_str() {
                "lines" => {}
                _ => return Err(usage("--split must be \"lines\"".into())),
            },
            Arg::Long("batch") => options.batch = number(&mut args, "batch", 1, MAP_BATCH_LINES_MAX)?,
            Arg::Long("slots") => options.slots = number(&mut args, "slots", 1, WORKER_SLOTS_MAX)? as u32,
            Arg::Long("retries") => {
                options.retries = number(&mut args, "retries", 0, u64::from(USECASE_RETRIES_MAX))? as u8;
            }
            Arg::Long("unordered") => options.unordered = true,
            Arg::Short('q') | Arg::Long("quiet") => options.quiet = true,
            Arg::Value(value) if file.is_none() => file = Some(PathBuf::from(value)),
            other => return Err(unexpected(other)),
        }
    }
    options.program =
        program.ok_or_else(|| usage("--program FILE is missing: what handles the lines".into()))?;
    options.file = file.ok_or_else(|| usage("the FILE is missing".into()))?;
    Ok(Command::Map(options))
}

fn subscribe(mut args: Parser, env: Environment<'_>) -> Result<Command, StartError> {
    let mut server = env("PUSHUP_SERVER").unwrap_or_else(|| SERVER.into());
    let mut options = subscribe::Options {
        server: server_of(SERVER)?,
        channels: Vec::new(),
        after: None,
        since_ms: None,
        timeout_s: TIMEOUT_S,
        form: subscribe::Form::Data,
        token_file: None,
        count: None,
        quiet: false,
    };
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::SUB.into())),
            Arg::Long("server") => server = text(&mut args)?,
            Arg::Long("after") => options.after = Some(cursor(text(&mut args)?)?),
            Arg::Long("since") => options.since_ms = Some(number(&mut args, "since", 0, u64::MAX)?),
            Arg::Long("timeout") => {
                options.timeout_s = number(&mut args, "timeout", 1, POLL_TIMEOUT_S_MAX)?;
            }
            Arg::Long("json") => options.form = subscribe::Form::Json,
            Arg::Long("token-file") => options.token_file = Some(path(&mut args)?),
            Arg::Long("count") => options.count = Some(number(&mut args, "count", 1, u64::MAX)?),
            Arg::Short('q') | Arg::Long("quiet") => options.quiet = true,
            Arg::Value(value) => options.channels.extend(channels(utf8(value)?)?),
            other => return Err(unexpected(other)),
        }
    }
    if options.after.is_none() && options.since_ms.is_none() {
        options.after = Some("now".into());
    }
    options.server = server_of(&server)?;
    options.channels = distinct(options.channels)?;
    Ok(Command::Subscribe(options))
}

fn publish(mut args: Parser, env: Environment<'_>) -> Result<Command, StartError> {
    let mut server = env("PUSHUP_PUBLISH_SERVER").unwrap_or_else(|| PUBLISH_SERVER.into());
    let mut media_type = None;
    let mut options = publish::Options {
        server: server_of(PUBLISH_SERVER)?,
        channels: Vec::new(),
        message: None,
        media_type: String::new(),
        ttl_s: None,
        key: None,
        token_file: None,
    };
    while let Some(arg) = args.next().map_err(lexopt_usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Print(help::PUB.into())),
            Arg::Long("server") => server = text(&mut args)?,
            Arg::Long("type") => once(&mut media_type, kind(text(&mut args)?)?)?,
            Arg::Long("json") => once(&mut media_type, "application/json".into())?,
            Arg::Long("ttl") => options.ttl_s = Some(number(&mut args, "ttl", 1, TTL_S_MAX)?),
            Arg::Long("key") => options.key = Some(key(text(&mut args)?)?),
            Arg::Long("token-file") => options.token_file = Some(path(&mut args)?),
            Arg::Value(value) if options.channels.is_empty() => {
                options.channels = channels(utf8(value)?)?;
            }
            Arg::Value(value) if options.message.is_none() => {
                options.message = Some(value.into_encoded_bytes());
            }
            Arg::Value(_) => {
                return Err(usage("one MESSAGE only; put it in quotes if it has spaces".into()));
            }
            other => return Err(unexpected(other)),
        }
    }
    if options.message.is_none() && options.key.is_some() {
        let why = "--key needs a MESSAGE: one key for all lines would publish only the first";
        return Err(usage(why.into()));
    }
    options.server = server_of(&server)?;
    options.channels = distinct(options.channels)?;
    options.media_type = media_type.unwrap_or_else(|| "text/plain".into());
    Ok(Command::Publish(options))
}

fn usage(text: String) -> StartError {
    StartError::Usage(text)
}

fn lexopt_usage(error: lexopt::Error) -> StartError {
    usage(error.to_string())
}

fn unexpected(arg: Arg<'_>) -> StartError {
    match arg {
        Arg::Value(value) => {
            usage(format!("unexpected argument \"{}\"", value.to_string_lossy().escape_debug()))
        }
        Arg::Long(name) => usage(format!("unknown flag \"--{}\"", name.escape_debug())),
        Arg::Short(letter) => usage(format!("unknown flag \"-{}\"", letter.escape_debug())),
    }
}

fn utf8(value: OsString) -> Result<String, StartError> {
    value
        .into_string()
        .map_err(|value| usage(format!("\"{}\" is not UTF-8", value.to_string_lossy().escape_debug())))
}

fn text(args: &mut Parser) -> Result<String, StartError> {
    utf8(args.value().map_err(lexopt_usage)?)
}

fn path(args: &mut Parser) -> Result<PathBuf, StartError> {
    args.value().map(PathBuf::from).map_err(lexopt_usage)
}

fn number(args: &mut Parser, name: &str, min: u64, max: u64) -> Result<u64, StartError> {
    let text = text(args)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|n| digits && (min..=max).contains(n));
    number.ok_or_else(|| {
        let range = match max {
            u64::MAX => format!("of at least {min}"),
            _ => format!("from {min} to {max}"),
        };
        let text = text.escape_debug();
        usage(format!("--{name} must be a whole number {range}, not \"{text}\""))
    })
}

fn server_of(text: &str) -> Result<Server, StartError> {
    text.parse().map_err(|why| {
        let text = text.escape_debug();
        usage(format!("the server's address \"{text}\" is wrong: {why}"))
    })
}

/// The names in one argument, which may hold several, separated by commas.
fn channels(text: String) -> Result<Vec<String>, StartError> {
    text.split(',')
        .map(|name| match ChannelName::is_valid(name) {
            true => Ok(name.to_string()),
            false => Err(usage(format!(
                "\"{}\" is not a channel: a name is 1 to 128 of A-Z a-z 0-9 _ . : ~ @ + -",
                name.escape_debug()
            ))),
        })
        .collect()
}

/// At least one name and not too many, each once.
fn distinct(mut names: Vec<String>) -> Result<Vec<String>, StartError> {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    match names.len() {
        0 => Err(usage("the CHANNEL is missing".into())),
        1..=CHANNELS_PER_REQUEST_MAX => Ok(names),
        _ => Err(usage(format!("at most {CHANNELS_PER_REQUEST_MAX} channels"))),
    }
}

fn cursor(text: String) -> Result<String, StartError> {
    match text.len() {
        1..=CURSOR_TEXT_BYTES_MAX => Ok(text),
        _ => Err(usage("--after must be \"now\" or a cursor".into())),
    }
}

fn kind(text: String) -> Result<String, StartError> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match text.contains('/') && printable && text.len() <= CONTENT_TYPE_BYTES_MAX {
        true => Ok(text),
        false => Err(usage("--type must be a media type like text/html".into())),
    }
}

fn key(text: String) -> Result<String, StartError> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    match printable && (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) {
        true => Ok(text),
        false => Err(usage(format!(
            "--key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable characters without spaces"
        ))),
    }
}

fn once(slot: &mut Option<String>, value: String) -> Result<(), StartError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(usage("--type and --json say the same thing; give one, once".into())),
    }
}

#[cfg(test)]
mod tests;
