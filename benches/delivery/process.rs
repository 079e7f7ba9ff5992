//! What the kernel says about another process: its CPU time, memory and sleep.

use std::fs;
use std::io;
use std::path::Path;

use crate::Fallible;
use crate::sys;

/// User-space memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident pages, those shared with other processes in part.
    pub pss: u64,
    /// Resident pages that it has written to and nobody shares.
    pub private_dirty: u64,
    /// Resident pages.
    pub rss: u64,
}

/// The process's memory now.
pub fn memory(pid: u32) -> Fallible<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| format!("smaps_rollup has no {name}"))
    };
    Ok(Memory { pss: field("Pss")?, private_dirty: field("Private_Dirty")?, rss: field("Rss")? })
}

/// CPU time of all of a process's threads, in nanoseconds; exact while it sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// How long it ran.
    pub ran_ns: u64,
    /// How long it could have run but the processor had other work.
    pub waited_ns: u64,
}

impl Cpu {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu { ran_ns: self.ran_ns - earlier.ran_ns, waited_ns: self.waited_ns - earlier.waited_ns }
    }
}

/// The scheduler's own count of CPU time, or where the kernel has none, that of clock ticks.
pub fn cpu(pid: u32) -> Fallible<Cpu> {
    let mut total = Cpu::default();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        match fs::read_to_string(task.join("schedstat")) {
            Ok(text) => {
                total.ran_ns += field(&text, 0).ok_or("schedstat is not numbers")?;
                total.waited_ns += field(&text, 1).ok_or("schedstat is not numbers")?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => total.ran_ns += ran_ns_by_ticks(&task)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(total)
}

fn ran_ns_by_ticks(task: &Path) -> Fallible<u64> {
    let stat = after_name(task)?;
    // Fields 14 and 15 of stat(5), user and system time; the text begins with field 3.
    let ticks = field(&stat, 11).zip(field(&stat, 12)).map(|(user, system)| user + system);
    Ok(ticks.ok_or("stat is not numbers")? * 1_000_000_000 / sys::ticks_per_second())
}

/// Whether all the process's threads wait for something; an error if it has ended.
pub fn is_asleep(pid: u32) -> Fallible<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match after_name(&task?.path())?.chars().next() {
            Some('S' | 'I') => {}
            Some('Z' | 'X') | None => return Err("the server ended".into()),
            Some(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// stat(5) from its third field on; the second, the name, may contain anything.
fn after_name(task: &Path) -> Fallible<String> {
    let stat = fs::read_to_string(task.join("stat"))?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("stat without a name")?;
    Ok(rest.to_owned())
}

fn field(text: &str, index: usize) -> Option<u64> {
    text.split_whitespace().nth(index)?.parse().ok()
}
