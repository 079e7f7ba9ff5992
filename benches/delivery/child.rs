//! The measured processes: starting them, finding their ports, waiting for them, ending them.
//!
//! Invariant: no child outlives its [`Server`], nor this process if it is killed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Fallible;
use crate::bare::Fanout;
use crate::options::Plan;
use crate::process::{self, Cpu};
use crate::shape::Template;
use crate::sys;

/// A server that is not ready or not quiet after so long never will be.
const PATIENCE: Duration = Duration::from_secs(20);
/// Two looks at the CPU time lie this far apart; more than one of the kernel's clock ticks.
const SETTLE: Duration = Duration::from_millis(8);
/// CPU time that a quiet server may use between two looks, for its timers.
const SETTLED_NS: u64 = 50_000;

/// Which process is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server.
    PushUp,
    /// Its yardstick.
    Bare,
}

/// Where servers are started: a directory of its own for their files, and how they are run.
pub struct Stage {
    directory: PathBuf,
    server: PathBuf,
    server_args: Vec<OsString>,
    cpu: Option<usize>,
}

impl Stage {
    /// Makes the directory.
    pub fn new(plan: &Plan) -> Fallible<Stage> {
        let directory = std::env::temp_dir().join(format!("pushup-bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Stage {
            directory,
            server: plan.server.clone(),
            server_args: plan.server_args.clone(),
            cpu: plan.pin.then_some(sys::SERVER_CPU),
        })
    }

    /// The server's binary.
    pub fn binary(&self) -> &Path {
        &self.server
    }

    /// Starts the server on free ports and waits until it is ready.
    pub fn pushup(&self) -> Fallible<Server> {
        let ready = self.ready_file();
        let mut command = Command::new(&self.server);
        command.args(["serve", "--listen", "127.0.0.1:0", "--publish-listen", "127.0.0.1:0"]);
        command.arg("--ready-file").arg(&ready).args(&self.server_args);
        self.start(command, &ready)
    }

    /// Starts the bare loop with the server's bytes and waits until it is ready.
    pub fn bare(&self, fanout: Fanout, template: &Template) -> Fallible<Server> {
        let (answer, created) = (self.directory.join("answer"), self.directory.join("created"));
        fs::write(&answer, &template.answer)?;
        fs::write(&created, &template.created)?;
        let ready = self.ready_file();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--bare").arg(fanout.word()).arg(template.publication_bytes.to_string());
        command.args([answer.as_os_str(), created.as_os_str(), ready.as_os_str()]);
        self.start(command, &ready)
    }

    fn ready_file(&self) -> PathBuf {
        let path = self.directory.join("ready");
        let _ = fs::remove_file(&path);
        path
    }

    fn start(&self, mut command: Command, ready: &Path) -> Fallible<Server> {
        let errors = self.directory.join("stderr");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        sys::prepare_child(&mut command, self.cpu);
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let nowhere = SocketAddrV4::new([127, 0, 0, 1].into(), 0);
        let mut server = Server { pid: child.id(), child, errors, subscribe: nowhere, publish: nowhere };
        server.wait_ready(ready)?;
        Ok(server)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running child; dropping it kills it.
pub struct Server {
    child: Child,
    /// Its process id.
    pub pid: u32,
    errors: PathBuf,
    /// Where polls go.
    pub subscribe: SocketAddrV4,
    /// Where publications go.
    pub publish: SocketAddrV4,
}

impl Server {
    fn wait_ready(&mut self, file: &Path) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(ready) =
                fs::read(file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
            {
                self.subscribe = address(&ready, "listen")?;
                self.publish = address(&ready, "publish_listen")?;
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&self.errors).unwrap_or_default();
                return Err(format!("the server did not get ready ({ended:?}): {said}").into());
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// CPU time used so far; exact if the server is settled.
    pub fn cpu(&self) -> Fallible<Cpu> {
        process::cpu(self.pid)
    }

    /// Waits until the server has nothing to do at this moment.
    pub fn until_asleep(&self) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        while !process::is_asleep(self.pid)? {
            if Instant::now() > deadline {
                return Err("the server does not come to rest".into());
            }
            sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Waits until the server has done all it was asked for: it sleeps and its CPU time
    /// stands still. All polls are held then, as a poll that is read is held at once.
    pub fn settle(&self) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.cpu()?;
        loop {
            sleep(SETTLE);
            let now = self.cpu()?;
            if now.since(before).ran_ns < SETTLED_NS && process::is_asleep(self.pid)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("the server does not come to rest".into());
            }
            before = now;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(ready: &Value, key: &str) -> Fallible<SocketAddrV4> {
    let text = ready[key][0].as_str().ok_or_else(|| format!("the ready-file has no {key}"))?;
    Ok(text.parse()?)
}

/// Whether a program needs no loader; read from its ELF program headers (64 bits, little-endian).
pub fn is_static(program: &Path) -> Fallible<bool> {
    const PT_INTERP: u32 = 3;
    let elf = fs::read(program)?;
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?) as usize);
    let headers = || {
        let first = u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?) as usize;
        let (size, count) = (u16_at(54)?, u16_at(56)?);
        Some((0..count).map(move |index| first + index * size))
    };
    let kind = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    let mut headers = headers().ok_or("not an ELF program")?;
    Ok(!headers.any(|at| kind(at) == Some(PT_INTERP)))
}
