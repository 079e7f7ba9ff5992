//! Measured processes: starting them on free loopback ports, waiting for them, reading what
//! they use, ending them.
//!
//! What it refuses to know: what the servers speak, and who loads them.
//! Invariant: no child outlives its [`Server`], nor this process if it is killed.

pub mod bare;
pub mod conversation;
pub mod nchan;
pub mod pushup;
pub mod threads;

use std::cell::Cell;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{self, Cpu, Memory};
use crate::sys::{self, Orphaned};
use crate::{Fallible, machine};

/// Where the measured process runs when processes are kept apart.
pub const SERVER_CPU: usize = 0;
/// Where the client runs when processes are kept apart.
pub const CLIENT_CPU: usize = 1;
/// A server that is not ready or not quiet after so long never will be.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a server that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// Who runs on which processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Wherever the kernel puts them.
    Anywhere,
    /// The server on [`SERVER_CPU`], the client on [`CLIENT_CPU`].
    Apart,
}

impl Placement {
    /// Apart if there are exactly two processors: with more, the kernel has room to choose.
    pub fn fitting() -> Placement {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        if cpus == 2 { Placement::Apart } else { Placement::Anywhere }
    }

    /// Puts the calling thread where the client belongs.
    pub fn place_client(self) -> Fallible<()> {
        match self {
            Placement::Anywhere => Ok(()),
            Placement::Apart => Ok(sys::pin(CLIENT_CPU)?),
        }
    }

    fn server_cpu(self) -> Option<usize> {
        (self == Placement::Apart).then_some(SERVER_CPU)
    }

    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Placement::Anywhere => "not pinned",
            Placement::Apart => "server on cpu 0, client on cpu 1",
        }
    }
}

/// Where servers are started: a temporary directory for their files, removed at the end, and a
/// processor. Start servers from a thread that lives as long as they do.
pub struct Stage {
    directory: PathBuf,
    placement: Placement,
    started: Cell<u32>,
}

impl Stage {
    /// Makes the directory.
    pub fn new(placement: Placement) -> Fallible<Stage> {
        static STAGES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = STAGES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("pushup-stage-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        Ok(Stage { directory, placement, started: Cell::new(0) })
    }

    /// A new directory for the files of one server.
    pub fn room(&self, name: &str) -> Fallible<PathBuf> {
        let number = self.started.replace(self.started.get() + 1);
        let room = self.directory.join(format!("{number}-{name}"));
        fs::create_dir(&room)?;
        Ok(room)
    }

    /// Starts a process whose output goes into files of its room.
    pub fn spawn(&self, mut command: Command, room: &Path, orphaned: Orphaned) -> Fallible<Server> {
        let errors = room.join("stderr");
        command.stdin(Stdio::null()).stdout(File::create(room.join("stdout"))?);
        command.stderr(File::create(&errors)?);
        sys::prepare_child(&mut command, self.placement.server_cpu(), orphaned);
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let pid = child.id();
        Ok(Server {
            pid,
            child,
            orphaned,
            errors,
            subscribe: nowhere,
            publish: nowhere,
            cluster: None,
            workers: None,
        })
    }

    /// Starts a process that writes a ready-file such as the server's, and waits for it:
    /// `{"listen":["host:port"],"publish_listen":["host:port"],"cluster_listen":["host:port"],"worker_listen":["host:port"]}`,
    /// the latter three if there are.
    pub fn spawn_ready(&self, command: Command, room: &Path, ready: &Path) -> Fallible<Server> {
        let mut server = self.spawn(command, room, Orphaned::Kill)?;
        server.wait("get ready", |server| server.read_ready_file(ready))?;
        Ok(server)
    }

    /// The same for a process that takes its children along when it is asked to end.
    pub fn spawn_ready_parent(&self, command: Command, room: &Path, ready: &Path) -> Fallible<Server> {
        let mut server = self.spawn(command, room, Orphaned::Terminate)?;
        server.wait("get ready", |server| server.read_ready_file(ready))?;
        Ok(server)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running server; dropping it ends it and its children.
pub struct Server {
    child: Child,
    orphaned: Orphaned,
    errors: PathBuf,
    /// The process that is measured: the child itself, or the one among its children that works.
    pub pid: u32,
    /// Where polls go.
    pub subscribe: SocketAddr,
    /// Where publications go.
    pub publish: SocketAddr,
    /// Where other nodes reach it, if it belongs to a cluster.
    pub cluster: Option<SocketAddr>,
    /// Where back-ends reach it, if it takes any.
    pub workers: Option<SocketAddr>,
}

impl Server {
    /// CPU time used so far; exact if the server is settled.
    pub fn cpu(&self) -> Fallible<Cpu> {
        process::cpu(self.pid)
    }

    /// User-space memory now.
    pub fn memory(&self) -> Fallible<Memory> {
        process::memory(self.pid)
    }

    /// Waits until the server has nothing to do at this moment.
    pub fn until_asleep(&mut self) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        while !process::is_asleep(self.pid)? {
            if Instant::now() > deadline {
                return Err(self.never("come to rest", None));
            }
            sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Waits until the server has done all it was asked for: it sleeps and its CPU time
    /// stands still. All polls are held then, as a poll that is read is held at once.
    pub fn settle(&mut self) -> Fallible<()> {
        if process::settle(self.pid, PATIENCE)? { Ok(()) } else { Err(self.never("come to rest", None)) }
    }

    /// Waits until `done` says so; an error if the process ends before, or never does it.
    pub fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Server) -> Fallible<bool>) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self)? {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(self.never(what, ended));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The process that was started, which need not be the one that is measured.
    pub fn root_pid(&self) -> u32 {
        self.child.id()
    }

    fn never(&self, what: &str, ended: Option<ExitStatus>) -> Box<dyn std::error::Error + Send + Sync> {
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        let how = match ended {
            Some(status) => format!("it ended with {status}"),
            None => format!("waited {} s, load average {}", PATIENCE.as_secs(), machine::load()),
        };
        format!("the server did not {what}: {how} {}", said.trim()).into()
    }

    fn read_ready_file(&mut self, file: &Path) -> Fallible<bool> {
        let Ok(text) = fs::read(file) else { return Ok(false) };
        let ready: Value = serde_json::from_slice(&text)?;
        self.subscribe = address(&ready, "listen")?;
        // A server with one listener says so by naming just that.
        self.publish = if ready["publish_listen"].is_null() {
            self.subscribe
        } else {
            address(&ready, "publish_listen")?
        };
        self.cluster = address(&ready, "cluster_listen").ok();
        self.workers = address(&ready, "worker_listen").ok();
        Ok(true)
    }

    /// Gives a process that has children the time to take them along.
    fn terminate(&mut self) {
        let _ = sys::terminate(self.child.id());
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.orphaned == Orphaned::Terminate {
            self.terminate();
        }
        let hung = matches!(self.child.try_wait(), Ok(None));
        let _ = self.child.kill();
        let _ = self.child.wait();
        // First the master, so that it starts no other worker, then the worker that it left behind.
        if hung && self.pid != self.child.id() {
            let _ = sys::kill(self.pid);
        }
    }
}

fn address(ready: &Value, key: &str) -> Fallible<SocketAddr> {
    let text = ready[key][0].as_str().ok_or_else(|| format!("the ready-file has no {key}"))?;
    Ok(text.parse()?)
}
