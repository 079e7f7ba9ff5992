//! A handler's process and its pipes: lines to standard input, records from descriptor 3, and what it writes to
//! standard output and error becomes log lines.
//! Or a thread of this process, with pipes of the same kind.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::unix::pipe::{self, Receiver, Sender};
use mio::{Interest, Registry, Token};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};

/// Tokens of a handler: its pipes, and its end.
pub(super) const TOKENS: usize = 5;
/// Which is which, by the last digits of a token.
const RECORDS: usize = 0;
const INPUT: usize = 1;
const LOG_OUT: usize = 2;
const LOG_ERR: usize = 3;
const EXIT: usize = 4;
/// The descriptor that a handler writes its records to.
const RECORDS_FD: i32 = 3;

#[derive(Default)]
struct Log {
    pipe: Option<Receiver>,
    is_readable: bool,
    line: Vec<u8>,
}

/// Starts a handler in a thread of this process: sub-tasks come at the one file, records go to the other.
pub type StartThread = Box<dyn Fn(File, File) -> io::Result<()>>;

/// What runs a handler.
enum Body {
    /// A process; the descriptor, which becomes readable when it ends, is only kept.
    Child(Child, #[expect(dead_code)] OwnedFd),
    /// A thread. It cannot be ended, only left alone: its pipes tell it that nobody listens.
    Thread,
}

/// A handler's process.
pub(super) struct Process {
    name: String,
    body: Body,
    records: Receiver,
    is_readable: bool,
    is_paused: bool,
    input: Option<Sender>,
    /// Lines that the process has not taken.
    unwritten: VecDeque<u8>,
    closes: bool,
    /// It was waited for: its number may be another's.
    is_reaped: bool,
    /// It has ended, though others may still have its pipes.
    has_exited: bool,
    /// It has closed its records.
    is_closed: bool,
    /// How often it was looked at since then.
    looks: u32,
    logs: [Log; 2],
    /// Lines that may still be logged before the next look.
    lines: u32,
    /// Lines that were left out since the last.
    left_out: u64,
}

impl Process {
    /// Starts a program: with an empty environment but PATH, in a process group of its own, and ended by the kernel
    /// should this process end without a word.
    pub fn start(path: &Path, name: &str, registry: &Registry, first_token: usize) -> io::Result<Process> {
        let (theirs, records) = pipe::new()?;
        // A handler that is not read is to wait, and not to be told that it would have to.
        theirs.set_nonblocking(false)?;
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        hand_over(&mut command, theirs.as_raw_fd());
        let mut child = command.spawn()?;
        drop(theirs);
        let missing = || io::Error::other("a pipe is missing");
        let input = sender(child.stdin.take().ok_or_else(missing)?)?;
        let mut out = receiver(child.stdout.take().ok_or_else(missing)?)?;
        let mut err = receiver(child.stderr.take().ok_or_else(missing)?)?;
        registry.register(&mut out, Token(first_token + LOG_OUT), Interest::READABLE)?;
        registry.register(&mut err, Token(first_token + LOG_ERR), Interest::READABLE)?;
        let pid = Pid::from_child(&child);
        let exit = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            // Without a descriptor for its end there is nobody to wait for it later.
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        registry.register(&mut SourceFd(&exit.as_raw_fd()), Token(first_token + EXIT), Interest::READABLE)?;
        records.set_nonblocking(true)?;
        let body = Body::Child(child, exit);
        let mut process = Process::new(name, body, records, input, registry, first_token)?;
        process.logs = [out, err].map(|pipe| Log { pipe: Some(pipe), ..Log::default() });
        Ok(process)
    }

    /// Starts a thread of this process.
    pub fn start_thread(
        start: &StartThread,
        name: &str,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<Process> {
        let (their_records, records) = pipe::new()?;
        let (input, their_input) = pipe::new()?;
        their_records.set_nonblocking(false)?;
        their_input.set_nonblocking(false)?;
        start(File::from(OwnedFd::from(their_input)), File::from(OwnedFd::from(their_records)))?;
        Process::new(name, Body::Thread, records, input, registry, first_token)
    }

    fn new(
        name: &str,
        body: Body,
        mut records: Receiver,
        mut input: Sender,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<Process> {
        registry.register(&mut records, Token(first_token + RECORDS), Interest::READABLE)?;
        registry.register(&mut input, Token(first_token + INPUT), Interest::WRITABLE)?;
        Ok(Process {
            name: name.to_owned(),
            body,
            records,
            is_readable: false,
            is_paused: false,
            input: Some(input),
            unwritten: VecDeque::new(),
            closes: false,
            is_reaped: false,
            has_exited: false,
            is_closed: false,
            looks: 0,
            logs: [Log::default(), Log::default()],
            lines: LOG_LINES_MAX,
            left_out: 0,
        })
    }

    /// Remembers what a pipe is ready for.
    pub fn handle_event(&mut self, pipe: usize, event: &Event) {
        match pipe {
            RECORDS => self.is_readable = !self.is_closed,
            INPUT if event.is_error() || event.is_write_closed() => self.input = None,
            INPUT => self.write_on(),
            EXIT => {
                self.has_exited = true;
                // What it has written is read; nobody writes more, but whoever has left its group.
                self.is_readable = !self.is_closed;
                self.kill();
            }
            _ => {
                if let Some(log) = self.logs.get_mut(pipe - LOG_OUT) {
                    log.is_readable = true;
                }
            }
        }
    }

    /// Whether there is something to read, though the kernel will not tell it again.
    pub fn is_unread(&self) -> bool {
        (self.is_readable || self.has_exited) && !self.is_paused
            || self.logs.iter().any(|log| log.is_readable)
    }

    /// Whether it has ended and all that it has written was read: a child of its may keep the pipe open for ever.
    pub fn is_over(&self) -> bool {
        self.has_exited && !self.is_readable && !self.is_paused
    }

    /// There are no more records: it is about to end, and will tell how.
    pub fn close_records(&mut self) {
        self.is_closed = true;
        self.is_readable = false;
        self.has_exited |= matches!(self.body, Body::Thread);
    }

    /// A while has passed. Whoever has closed its records and does not end is of no use.
    pub fn look(&mut self) {
        self.renew_lines();
        self.looks += u32::from(self.is_closed);
        if self.looks > 1 {
            self.kill();
        }
    }

    /// Reads records, if there are any; 0 is their end.
    pub fn read_records(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        if !self.is_readable || self.is_paused {
            return None;
        }
        match self.records.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            other => Some(other),
        }
    }

    /// Logs what the program has written elsewhere.
    pub fn read_logs(&mut self, buffer: &mut [u8]) {
        let (name, pid) = (&self.name, self.pid());
        for log in &mut self.logs {
            let Some(pipe) = log.pipe.as_mut().filter(|_| log.is_readable) else { continue };
            match pipe.read(buffer) {
                Ok(len @ 1..) => {
                    for byte in buffer.get(..len).unwrap_or_default() {
                        if *byte == b'\n' || log.line.len() >= LOG_LINE_BYTES_MAX {
                            match self.lines.checked_sub(1) {
                                Some(rest) => {
                                    self.lines = rest;
                                    ::log::info!("{name} ({pid}): {}", log.line.escape_ascii());
                                }
                                None => self.left_out += 1,
                            }
                            log.line.clear();
                        }
                        if *byte != b'\n' {
                            log.line.push(*byte);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => log.is_readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    log.pipe = None;
                    log.is_readable = false;
                }
            }
        }
    }

    /// A while has passed: so many lines may be logged again. Tells what was left out.
    fn renew_lines(&mut self) {
        if self.left_out > 0 {
            ::log::warn!("{} ({}): {} lines are left out", self.name, self.pid(), self.left_out);
        }
        (self.lines, self.left_out) = (LOG_LINES_MAX, 0);
    }

    /// The memory that it uses, in bytes: what of it is resident.
    pub fn memory(&self) -> Option<u64> {
        let Body::Child(child, _) = &self.body else { return None };
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Gives it a line.
    pub fn write(&mut self, line: &[u8]) {
        self.unwritten.extend(line);
        self.write_on();
    }

    fn write_on(&mut self) {
        while let Some(input) = &mut self.input {
            let (first, _) = self.unwritten.as_slices();
            if first.is_empty() {
                if self.closes {
                    self.input = None;
                }
                return;
            }
            match input.write(first) {
                Ok(len) => drop(self.unwritten.drain(..len)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.input = None,
            }
        }
    }

    /// Its records are not read for now.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// They are read again.
    pub fn resume(&mut self) {
        self.is_paused = false;
    }

    /// It is told that there is nothing more to do.
    pub fn close_input(&mut self) {
        self.closes = true;
        self.write_on();
    }

    /// Asks it, and all that it has started, to end.
    pub fn terminate(&mut self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends it, and all that it has started.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
    }

    #[allow(unsafe_code)]
    fn signal(&mut self, signal: i32) {
        if self.is_reaped {
            return;
        }
        match &self.body {
            // SAFETY: a system call without pointers. The child was not waited for, so that its number is still its own
            // and its group's.
            Body::Child(child, _) => drop(unsafe { libc::kill(-(child.id() as i32), signal) }),
            Body::Thread => {
                self.input = None;
                self.has_exited = true;
                self.is_readable = false;
            }
        }
    }

    /// A process's number; a thread has this one's.
    fn pid(&self) -> u32 {
        match &self.body {
            Body::Child(child, _) => child.id(),
            Body::Thread => std::process::id(),
        }
    }

    /// Whatever is left of it is ended. Tells how it ended.
    pub fn end(&mut self) -> String {
        // Its group may outlive it. One that is ending already keeps the status it ends with.
        self.kill();
        self.renew_lines();
        self.is_reaped = true;
        match &mut self.body {
            Body::Child(child, _) => {
                child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Body::Thread => "its thread has ended or was left alone".to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.end();
        }
    }
}

fn sender(pipe: impl Into<OwnedFd>) -> io::Result<Sender> {
    let pipe = Sender::from(pipe.into());
    pipe.set_nonblocking(true)?;
    Ok(pipe)
}

fn receiver(pipe: impl Into<OwnedFd>) -> io::Result<Receiver> {
    let pipe = Receiver::from(pipe.into());
    pipe.set_nonblocking(true)?;
    Ok(pipe)
}

/// The child has `theirs` as its descriptor 3, and dies with its parent.
#[allow(unsafe_code)]
fn hand_over(command: &mut Command, theirs: i32) {
    let prepare = move || {
        // SAFETY: between fork and exec only what is async-signal-safe is called, and no memory is touched.
        let done = unsafe {
            let copied = if theirs == RECORDS_FD {
                // A copy onto itself would leave it to be closed at exec.
                libc::fcntl(theirs, libc::F_SETFD, 0)
            } else {
                libc::dup2(theirs, RECORDS_FD)
            };
            copied != -1 && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != -1
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: see above.
    unsafe { command.pre_exec(prepare) };
}
