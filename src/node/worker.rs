//! A back-end's process: its programs, its front-ends, its signals. Wiring and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::log::{info, warn};

use super::secrets::load_key;
use super::signals::{Signal, Signals};
use super::{random, run_error};
use crate::error::StartError;
use crate::handler::{self, UseCase};
use crate::ids::{NodeId, Origin};
use crate::limits::{BACKEND_REGISTER_MS, HANDLER_MEMORY_MB, PROGRAMS_MAX, WORKER_DRAIN_MS};
use crate::reactor::Verdict;
use crate::reactor::worker::{Programs, StartThread, Worker};
use crate::resolve::resolve;
use crate::scatter::Identity;
use crate::scatter::backend::{Backend, Setup};
use crate::scatter::params::check_name;
use crate::time::{Clock, Tick};

/// What `pushup worker` was told.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Front-ends, host:port.
    pub join: Vec<String>,
    /// Where the programs stand that may be run; empty for none but this one's own use cases.
    pub programs: PathBuf,
    /// Sub-tasks at once; 0 is as many as there are processors.
    pub slots: u32,
    /// The memory that a handler may use, in MB.
    pub handler_memory_mb: u64,
    /// Its name; the machine's and the process's number if none.
    pub name: Option<String>,
    /// The cluster's name.
    pub cluster_name: String,
    /// A file with the secret that it shares with the front-ends.
    pub key_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            join: Vec::new(),
            programs: PathBuf::new(),
            slots: 0,
            handler_memory_mb: HANDLER_MEMORY_MB,
            name: None,
            cluster_name: "pushup".to_owned(),
            key_file: None,
        }
    }
}

/// Runs a back-end until it is told to stop. Use cases of its own are run in threads, by the name of the program in
/// their definitions.
pub fn run(options: Options, own: Vec<Arc<dyn UseCase>>) -> Result<(), StartError> {
    let wrong = |text: String| StartError::Config(text);
    let mut join = Vec::new();
    for text in &options.join {
        let found = resolve(text).map_err(|error| wrong(format!("--join {text}: {error}")))?;
        join.extend(found.first());
    }
    let threads = own.into_iter().map(start_thread).collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut programs: Vec<String> = threads.keys().cloned().collect();
    if programs.is_empty() || !options.programs.as_os_str().is_empty() {
        programs.extend(find_programs(&options.programs)?);
    }
    let slots = if options.slots > 0 { options.slots } else { processors() };
    let name = options.name.unwrap_or_else(|| format!("worker-{}", std::process::id()));
    let node: NodeId = name.parse().map_err(|_| wrong(format!("--name {name:?} cannot serve as a name")))?;
    let signals = Signals::install().map_err(run_error)?;
    let clock = Clock::start();
    info!("back-end {node}: {slots} slots, programs: {}", programs.join(", "));
    let key = Arc::from(load_key(options.key_file.as_deref())?);
    let setup = Setup {
        identity: Identity { node, origin: Origin(random()), cluster_name: options.cluster_name, key },
        join,
        slots,
        programs,
        handler_memory_mb: options.handler_memory_mb,
        seed: random(),
    };
    let backend = Backend::new(setup, clock.now());
    let found = Programs { directory: options.programs, threads };
    let mut worker = Worker::new(backend, clock, found).map_err(run_error)?;
    worker.watch_orders(signals.stream().map_err(run_error)?).map_err(run_error)?;
    govern(&mut worker, signals).map_err(run_error)?;
    info!("stopped");
    Ok(())
}

/// What starts a use case of this program, by its program's name.
fn start_thread(case: Arc<dyn UseCase>) -> Result<(String, StartThread), StartError> {
    let spec = case.spec();
    let name = spec.pointer("/handler/program").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
    check_name(&name).map_err(|why| StartError::Config(format!("\"program\" of a use case: {why}")))?;
    let start = move |input: fs::File, mut records: fs::File| {
        let case = case.clone();
        let run = move || match handler::serve(&*case, BufReader::new(input), &mut records) {
            // Nobody takes its records any more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => warn!("a handler ends: {error}"),
            Ok(()) => {}
        };
        std::thread::Builder::new().name("handler".to_owned()).spawn(run).map(drop)
    };
    Ok((name, Box::new(start)))
}

fn govern(worker: &mut Worker, mut signals: Signals) -> std::io::Result<()> {
    let (mut until, mut next_load): (Option<Tick>, _) = (None, Tick(0));
    worker.run(|backend, now| {
        if now.tick >= next_load {
            next_load = now.tick.plus_ms(BACKEND_REGISTER_MS);
            backend.set_load(load());
        }
        while let Some(signal) = signals.take() {
            match (signal, until) {
                (Signal::Stop, None) => {
                    info!("stopping: {} sub-tasks are under way", backend.runs());
                    until = Some(now.tick.plus_ms(WORKER_DRAIN_MS));
                    backend.drain(now);
                }
                (Signal::Stop, Some(_)) => return Verdict::Stop,
                (Signal::Reload, _) => {}
            }
        }
        let over = until.is_some_and(|until| backend.is_drained() || now.tick >= until);
        if over { Verdict::Stop } else { Verdict::GoOn }
    })
}

/// What the machine has to do for each of its processors, in thousandths: the average of the last minute.
fn load() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average: f64 = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    (average * 1000.0) as u32 / processors()
}

pub(super) fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

/// The names of what can be executed in a directory. A symbolic link counts as what it points to, wherever that is:
/// whoever may write in this directory may run anything.
pub(super) fn find_programs(directory: &Path) -> Result<Vec<String>, StartError> {
    let wrong = |why: String| StartError::Config(format!("--programs {}: {why}", directory.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| wrong(error.to_string()))? {
        let path = entry.map_err(|error| wrong(error.to_string()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let executable = |meta: fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
        if fs::metadata(&path).is_ok_and(executable) && check_name(name).is_ok() {
            names.push(name.to_owned());
        }
    }
    names.sort();
    match names.len() {
        0 => Err(wrong("there is no program in it that can be executed".to_owned())),
        1..=PROGRAMS_MAX => Ok(names),
        _ => Err(wrong(format!("there are more than {PROGRAMS_MAX} programs in it"))),
    }
}
