//! Components' processes: this program with other arguments, each known by a descriptor (pidfd_open(2)).
//!
//! Unlike a back-end's handlers they outlive whoever started them. A signal goes to a descriptor, never to a number, which
//! may be another's by then.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, ChildStdin, Command, Stdio};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{CHILD, token};
use crate::config::START_VARIABLE;
use crate::supervisor::Life;

/// What components are started from.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Where its relative paths begin.
    pub directory: PathBuf,
}

struct Child {
    name: String,
    descriptor: OwnedFd,
    /// None for one that an earlier life has started.
    own: Option<process::Child>,
    /// What it waits for.
    go: Option<ChildStdin>,
}

/// All processes, by numbers that are never given twice.
#[derive(Default)]
pub struct Children {
    all: BTreeMap<usize, Child>,
    last: usize,
}

impl Children {
    /// Finds a process again; tells whether it still runs.
    pub fn adopt(&mut self, name: &str, life: Life) -> bool {
        let Some(descriptor) = find(life) else { return false };
        self.last += 1;
        self.all.insert(self.last, Child { name: name.to_owned(), descriptor, own: None, go: None });
        true
    }

    /// Has all ends told.
    pub(super) fn watch(&self, registry: &Registry) -> io::Result<()> {
        self.all.iter().try_for_each(|(id, child)| watch(registry, *id, &child.descriptor))
    }

    /// Starts a component, which waits before it does anything.
    pub(super) fn start(
        &mut self,
        name: &str,
        arguments: &[String],
        program: &Program,
        registry: &Registry,
        since_ms: u64,
    ) -> io::Result<Life> {
        let mut command = Command::new(&program.path);
        command
            .args(arguments)
            .current_dir(&program.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Where the controller's own words go: a pipe of ours would break with us.
            .stderr(Stdio::inherit())
            .process_group(0);
        for (variable, _) in std::env::vars_os() {
            let is_setting = variable.as_encoded_bytes().starts_with(b"PUSHUP_");
            if is_setting || variable == "NOTIFY_SOCKET" {
                command.env_remove(variable);
            }
        }
        let mut child = command.env(START_VARIABLE, "1").spawn()?;
        let pid = child.id();
        let go = child.stdin.take();
        let id = self.last + 1;
        let known = open(pid).and_then(|descriptor| {
            watch(registry, id, &descriptor)?;
            let start = start_of(pid).ok_or(io::Error::other("/proc does not tell when it was started"))?;
            Ok((descriptor, Life { pid, start, since_ms }))
        });
        match known {
            Ok((descriptor, life)) => {
                self.last = id;
                self.all.insert(id, Child { name: name.to_owned(), descriptor, own: Some(child), go });
                Ok(life)
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut Child> {
        self.all.values_mut().rfind(|child| child.name == name)
    }

    /// A component that was started begins.
    pub(super) fn let_go(&mut self, name: &str) {
        if let Some(mut go) = self.find(name).and_then(|child| child.go.take()) {
            // Whoever has ended meanwhile is noticed.
            let _ = go.write_all(b"\n");
        }
    }

    pub(super) fn terminate(&mut self, name: &str) {
        self.signal(name, Signal::TERM);
    }

    pub(super) fn kill(&mut self, name: &str) {
        self.signal(name, Signal::KILL);
    }

    fn signal(&mut self, name: &str, signal: Signal) {
        if let Some(child) = self.find(name) {
            // One that has ended is noticed.
            let _ = pidfd_send_signal(&child.descriptor, signal);
        }
    }

    /// A process has ended: which component's, and how.
    pub(super) fn end(&mut self, id: usize) -> Option<(String, String)> {
        let child = self.all.get_mut(&id)?;
        let how = match &mut child.own {
            Some(own) => match own.try_wait() {
                Ok(None) => return None,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            },
            None => "how is not known: it was started before this controller".to_owned(),
        };
        self.all.remove(&id).map(|child| (child.name, how))
    }
}

/// Told once more when it is looked at too late: a process that has ended stays ended.
fn watch(registry: &Registry, id: usize, descriptor: &OwnedFd) -> io::Result<()> {
    registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token(id, CHILD), Interest::READABLE)
}

fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The process of that life, if it still runs. It is opened first: a number that was opened and after that still
/// belonged to the life that was meant did so when it was opened.
fn find(life: Life) -> Option<OwnedFd> {
    let descriptor = open(life.pid).ok()?;
    (start_of(life.pid)? == life.start).then_some(descriptor)
}

/// When a process was started, in the kernel's clock ticks (proc_pid_stat(5), field 22); none for one that has ended,
/// though nobody has taken note.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, but no later field has a bracket.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// Which start of the machine this is.
pub fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_life_and_not_by_its_number() {
        let pid = process::id();
        let start = start_of(pid).expect("this process has begun");
        assert!(find(Life { pid, start, since_ms: 0 }).is_some());
        assert!(find(Life { pid, start: start + 1, since_ms: 0 }).is_none());
        assert!(find(Life { pid: 0, start, since_ms: 0 }).is_none());
        assert_eq!(boot().len(), 36);
    }

    #[test]
    fn one_that_has_ended_is_none_even_before_anybody_has_waited_for_it() {
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        let (pid, descriptor) = (child.id(), open(child.id()).unwrap());
        let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(1));
        watch(poll.registry(), 7, &descriptor).unwrap();
        poll.poll(&mut events, Some(std::time::Duration::from_secs(20))).unwrap();
        assert_eq!(events.iter().next().map(|event| event.token()), Some(token(7, CHILD)));
        assert_eq!(start_of(pid), None);
        child.wait().unwrap();
    }
}
