//! Processes from outside: what they print, use and answer to.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

use crate::{PATIENCE, wait_for, wait_within};

/// The program under test, with nothing of this process's environment but what programs
/// need to be found: a stray variable would be a setting.
pub fn pushup() -> Command {
    bare_command(env!("CARGO_BIN_EXE_pushup"))
}

/// A command with a clean environment.
pub fn bare_command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    // The last so that the whole suite can be run against nodes of several shards.
    for name in ["PATH", "HOME", "TMPDIR", "PUSHUP_SHARDS"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A child whose output is collected while it runs; dropping it kills it.
pub struct Running {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub fn spawn(command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {:?}: {error}", command.get_program()));
        let (stdout, first) = collect(child.stdout.take().unwrap());
        let (stderr, second) = collect(child.stderr.take().unwrap());
        Running { child, stdout, stderr, readers: vec![first, second] }
    }

    /// One whose output goes where the command says.
    pub fn spawn_plain(command: &mut Command) -> Running {
        let child =
            command.spawn().unwrap_or_else(|error| panic!("cannot run {:?}: {error}", command.get_program()));
        Running { child, stdout: Arc::default(), stderr: Arc::default(), readers: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it has complained about so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The child's input, if the command piped it.
    pub fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("the input is a pipe")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end, and for all of its output.
    pub fn end_within(&mut self, patience: Duration) -> Output {
        let child = &mut self.child;
        let status = wait_within(patience, "a process to end", || child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Output { status, stdout: self.stdout().into_bytes(), stderr: self.stderr().into_bytes() }
    }

    /// Waits until what it printed satisfies `check`.
    pub fn wait_stdout(&self, what: &str, check: impl Fn(&str) -> bool) -> String {
        wait_for(what, || Some(self.stdout()).filter(|text| check(text)))
    }

    /// Waits until its complaints contain `text`.
    pub fn wait_stderr(&self, text: &str) {
        wait_for(&format!("{text:?} on stderr"), || self.stderr().contains(text).then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    Running::spawn(command).end_within(PATIENCE)
}

/// Reads a pipe to its end, in a thread, so that no child blocks on a full one.
fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = text.clone();
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..len]));
        }
    });
    (text, reader)
}

/// CPU time of a process so far, in the kernel's ticks of a hundredth of a second.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let (user, system): (u64, u64) = (fields[11].parse().unwrap(), fields[12].parse().unwrap());
    user + system
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Leaves a running process not one descriptor: the limit becomes the lowest number that is
/// free, for it is the number that counts.
pub fn exhaust_descriptors(pid: u32) {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<u64> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap().parse().unwrap()).collect();
    let lowest_free = (0..).find(|number| !open.contains(number)).unwrap();
    let limit = Rlimit { current: Some(lowest_free), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(pid as i32), Resource::Nofile, limit).unwrap();
}

/// Lets this process open as many descriptors as it may; returns how many that is.
pub fn raise_own_descriptors() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.unwrap_or(u64::MAX)
}
