//! `pushup map`: the lines of a file, handled by as many processes as there are processors, at a person's terminal.
//! A front-end and a back-end in one process, without a socket between them.

mod lines;
mod progress;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde_json::json;

use self::lines::Batches;
use self::progress::Progress;
use super::worker::processors;
use super::{random, run_error};
use crate::error::StartError;
use crate::ids::{ConnId, LinkId, Origin};
use crate::limits::{
    HANDLER_MEMORY_MB, MAP_MS_MAX, MAP_PIECES_MAX, USECASE_PARALLEL_MAX, USECASE_PROCESSES_MAX,
};
use crate::reactor::Verdict;
use crate::reactor::worker::{Programs, Worker};
use crate::scatter::Identity;
use crate::scatter::backend::{Backend, Setup as BackendSetup};
use crate::scatter::frontend::{Frontend, JobId, Pulled, Setup as FrontendSetup};
use crate::scatter::params::check_name;
use crate::scatter::scheduler::Policy;
use crate::time::{Clock, Now};

/// What `pushup map` was told.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The program, as it would be called in a shell without a search path.
    pub program: PathBuf,
    /// The file whose lines are handled.
    pub file: PathBuf,
    /// Lines of a sub-task, at most.
    pub batch: u64,
    /// Sub-tasks at once; 0 is as many as there are processors.
    pub slots: u32,
    /// Results come as they are ready, and not in the order of the lines.
    pub unordered: bool,
    /// How often a sub-task is tried again.
    pub retries: u8,
    /// No progress is shown.
    pub quiet: bool,
}

/// The name of the only use case.
const NAME: &str = "map";

/// Handles a file's lines; results go to standard output.
pub fn run(options: &Options) -> Result<(), StartError> {
    let of_file = |why: String| StartError::Run(format!("{}: {why}", options.file.display()));
    let (directory, program) = find(&options.program)?;
    let (batches, reading) =
        lines::read(&options.file, options.batch).map_err(|error| of_file(error.to_string()))?;
    let clock = Clock::start();
    let (frontend, backend) = ends(options, &program, clock.now()).map_err(StartError::Run)?;
    let programs = Programs { directory, ..Programs::default() };
    let mut worker = Worker::alone(backend, clock, programs).map_err(run_error)?;
    let (poke, poked) = UnixStream::pair().map_err(run_error)?;
    worker.watch_orders(poked).map_err(run_error)?;
    let (printer, pieces) = print_pieces(poke).map_err(run_error)?;
    let progress = Progress::new(options.quiet, reading.clone(), clock.now());
    let mut engine =
        Engine { frontend, link: None, batches: Some(batches), job: None, pieces, unsent: None, progress };
    let mut end = Ok(());
    let looped = worker.run(|backend, now| match engine.turn(backend, now) {
        None => Verdict::GoOn,
        Some(result) => {
            end = result;
            Verdict::Stop
        }
    });
    engine.progress.finish();
    drop(engine);
    let printed = printer.join().unwrap_or_else(|_| Err(io::Error::other("the printer failed")));
    looped.map_err(run_error)?;
    if let Some(why) = reading.error() {
        return Err(of_file(why));
    }
    match printed {
        // That nobody reads on is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(StartError::Run(format!("cannot write output: {error}"))),
        Ok(()) => end.map_err(StartError::Run),
    }
}

/// A front-end with one use case, and a back-end for it.
fn ends(options: &Options, program: &str, now: Now) -> Result<(Frontend, Backend), String> {
    let slots = if options.slots > 0 { options.slots } else { processors() };
    let slots = slots.min(USECASE_PROCESSES_MAX as u32);
    // They speak to nobody else: there is nothing to prove.
    let identity = |name: &str| {
        let node = name.parse().map_err(|_| format!("{name:?} is no name"))?;
        let (cluster_name, key) = (NAME.to_owned(), Arc::from([]));
        Ok::<_, String>(Identity { node, origin: Origin(random()), cluster_name, key })
    };
    let setup = FrontendSetup { identity: identity("front-end")?, policy: Policy::default(), seed: random() };
    let mut frontend = Frontend::new(setup, now);
    let parallel = (slots as usize * 2).min(USECASE_PARALLEL_MAX);
    let merge = if options.unordered { "unordered" } else { "ordered" };
    let definition = json!({
        "name": NAME, "url": "/map",
        "run": {"mode": "iterative", "parallel": parallel, "merge": merge, "retries": options.retries},
        "handler": {"program": program, "processes": slots},
    });
    frontend.load(&definition, now).map_err(|failure| failure.reason)?;
    let setup = BackendSetup {
        identity: identity("back-end")?,
        join: vec![([127, 0, 0, 1], 0).into()],
        slots,
        programs: vec![program.to_owned()],
        handler_memory_mb: HANDLER_MEMORY_MB,
        seed: random(),
    };
    Ok((frontend, Backend::new(setup, now)))
}

/// A program's directory and its name there.
fn find(program: &Path) -> Result<(PathBuf, String), StartError> {
    let wrong = |why: String| StartError::Usage(format!("--program {}: {why}", program.display()));
    let whole = std::fs::canonicalize(program).map_err(|error| wrong(error.to_string()))?;
    let name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    check_name(&name).map_err(wrong)?;
    Ok((whole.parent().map_or_else(PathBuf::new, Path::to_path_buf), name))
}

type Printer = JoinHandle<io::Result<()>>;

/// Prints pieces in a thread of its own, so that a terminal that stands still stops nothing but the results; `poke`
/// wakes the loop when there is room for more.
fn print_pieces(mut poke: UnixStream) -> io::Result<(Printer, SyncSender<Vec<u8>>)> {
    let (pieces, taken): (_, Receiver<Vec<u8>>) = sync_channel(MAP_PIECES_MAX);
    poke.set_nonblocking(true)?;
    let print = move || {
        let mut out = io::stdout().lock();
        for piece in taken {
            out.write_all(&piece)?;
            // If nothing more fits in, the loop is about to wake anyway.
            drop(poke.write(&[0]));
        }
        out.flush()
    };
    let printer = std::thread::Builder::new().name("printer".to_owned()).spawn(print)?;
    Ok((printer, pieces))
}

/// What goes to and fro between the two ends.
struct Engine {
    frontend: Frontend,
    link: Option<LinkId>,
    batches: Option<Batches>,
    job: Option<JobId>,
    pieces: SyncSender<Vec<u8>>,
    unsent: Option<Vec<u8>>,
    progress: Progress,
}

const OWNER: ConnId = ConnId { index: 0, generation: 1 };

impl Engine {
    /// Moves everything on; tells the end.
    fn turn(&mut self, backend: &mut Backend, now: Now) -> Option<Result<(), String>> {
        if backend.poll_dial(now).is_some() {
            self.link = self.frontend.accept(([127, 0, 0, 1], 0).into(), now);
            backend.handle_up(0, now);
        }
        self.frontend.handle_time(now);
        self.carry(backend, now);
        if self.job.is_none()
            && let Some(batches) = self.batches.take_if(|_| self.frontend.has_backend())
        {
            let deadline = now.tick.plus_ms(MAP_MS_MAX);
            match self.frontend.start_given(NAME, Box::new(batches), deadline, OWNER, now) {
                Ok(job) => self.job = Some(job),
                Err(failure) => return Some(Err(failure.reason)),
            }
        }
        let end = self.pull(now);
        self.carry(backend, now);
        self.progress.show(now);
        end
    }

    /// Frames from each end to the other, until both are silent.
    fn carry(&mut self, backend: &mut Backend, now: Now) {
        let Some(link) = self.link else { return };
        while self.frontend.poll_listed().is_some() {}
        loop {
            let there = self.frontend.output(link).to_vec();
            self.frontend.handle_sent(link, there.len(), now);
            backend.handle_input(0, &there, now);
            let back = backend.output(0).to_vec();
            backend.handle_sent(0, back.len(), now);
            self.frontend.handle_input(link, &back, now);
            if there.is_empty() && back.is_empty() {
                break;
            }
        }
        while self.frontend.poll_woken().is_some() {}
    }

    /// Gives the printer what it has room for.
    fn pull(&mut self, now: Now) -> Option<Result<(), String>> {
        let job = self.job?;
        loop {
            let (piece, is_last) = match self.unsent.take() {
                Some(piece) => (piece, false),
                None => match self.frontend.pull(job, now) {
                    Pulled::Nothing => return None,
                    Pulled::Piece(piece) => (piece, false),
                    Pulled::Last(piece) => (piece, true),
                    Pulled::Failed(failure) => return Some(Err(failure.reason)),
                },
            };
            match self.pieces.try_send(piece) {
                Ok(()) if is_last => return Some(Ok(())),
                Ok(()) => {}
                // Nobody reads on; why, the printer knows.
                Err(TrySendError::Disconnected(_)) => return Some(Ok(())),
                // The last one is empty without compression.
                Err(TrySendError::Full(_)) if is_last => return Some(Ok(())),
                Err(TrySendError::Full(piece)) => {
                    self.unsent = Some(piece);
                    return None;
                }
            }
        }
    }
}
