//! What the kernel says about a process: its CPU time, its memory, and whether it sleeps.
//!
//! What it refuses to know: whose process it is. Invariant: it only reads from /proc; a
//! process that has ended is an error, never a zero.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Fallible, sys};

/// User-space memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?)
}

fn parse_memory(rollup: &str) -> Fallible<Memory> {
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.map(|kib| kib * 1_024).ok_or_else(|| format!("smaps_rollup has no {name}"))
    };
    Ok(Memory { pss: field("Pss")?, private_dirty: field("Private_Dirty")?, rss: field("Rss")? })
}

/// Resident pages of a process now, in bytes; cheaper than [`memory`].
pub fn resident(pid: u32) -> Fallible<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    Ok(field(&statm, 1).ok_or("statm is not numbers")? * sys::page_bytes())
}

/// The most resident pages that a process ever had, in bytes.
pub fn peak_rss(pid: u32) -> Fallible<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    let kib: u64 = peak.ok_or("the process's status has no VmHWM")?.parse()?;
    Ok(kib * 1_024)
}

/// CPU time of all of a process's threads, in nanoseconds; exact while it sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// How long it ran.
    pub ran_ns: u64,
    /// How long it could have run but the processor had other work.
    pub waited_ns: u64,
}

impl Cpu {
    /// What was used since `earlier`; nothing for a thread that has ended in between.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            ran_ns: self.ran_ns.saturating_sub(earlier.ran_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }

    /// How long it waited for a processor, in percent of the time that it ran.
    pub fn waited_percent(self) -> f64 {
        if self.ran_ns == 0 { 0.0 } else { 100.0 * self.waited_ns as f64 / self.ran_ns as f64 }
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

/// A thread that ended while we looked counts as nothing.
fn ran_ns_by_ticks(task: &Path) -> Fallible<u64> {
    let Some(stat) = after_name(task)? else { return Ok(0) };
    // Fields 14 and 15 of stat(5), user and system time; the text begins with field 3.
    let ticks = field(&stat, 11).zip(field(&stat, 12)).map(|(user, system)| user + system);
    Ok(ticks.ok_or("stat is not numbers")? * 1_000_000_000 / sys::ticks_per_second())
}

/// Whether all the process's threads wait for something; an error if it has ended.
pub fn is_asleep(pid: u32) -> Fallible<bool> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match after_name(&task?.path())?.and_then(|stat| stat.chars().next()) {
            Some('S' | 'I') | None => {}
            Some('Z' | 'X') => return Err("the process ended".into()),
            Some(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Two looks at the CPU time lie this far apart; more than one of the kernel's clock ticks.
const SETTLE: Duration = Duration::from_millis(8);
/// CPU time that a quiet process may use between two looks, for its timers.
const SETTLED_NS: u64 = 50_000;

/// Waits until a process has done all it was asked for: it sleeps and its CPU time stands
/// still. Tells whether it came to that within `patience`.
pub fn settle(pid: u32, patience: Duration) -> Fallible<bool> {
    let deadline = Instant::now() + patience;
    let mut before = cpu(pid)?;
    while Instant::now() < deadline {
        sleep(SETTLE);
        let now = cpu(pid)?;
        if now.since(before).ran_ns < SETTLED_NS && is_asleep(pid)? {
            return Ok(true);
        }
        before = now;
    }
    Ok(false)
}

/// How many threads it has.
pub fn threads(pid: u32) -> Fallible<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// The processes that it started and that still are.
pub fn children(pid: u32) -> Fallible<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(found)
}

/// What it says that it is: its arguments, or what it has written over them.
pub fn title(pid: u32) -> Fallible<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline"))?;
    Ok(String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned())
}

/// stat(5) from its third field on; the second, the name, may contain anything.
fn after_name(task: &Path) -> Fallible<Option<String>> {
    match fs::read_to_string(task.join("stat")) {
        Ok(stat) => {
            let (_, rest) = stat.rsplit_once(") ").ok_or("stat without a name")?;
            Ok(Some(rest.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A thread that ends between open and read.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn field(text: &str, index: usize) -> Option<u64> {
    text.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let rollup = "5581-7ffe ---p 0 00:00 0 [rollup]\nRss: 1500 kB\nPss: 800 kB\nPss_Dirty: 3 kB\n\
                      Private_Dirty:  132 kB\n";
        let wanted = Memory { pss: 800 << 10, private_dirty: 132 << 10, rss: 1_500 << 10 };
        assert_eq!(parse_memory(rollup).unwrap(), wanted);
        assert!(parse_memory("Rss: 1 kB\n").is_err());
    }

    #[test]
    fn this_process_runs_and_uses_something() {
        let own = std::process::id();
        let before = cpu(own).unwrap();
        let spin = (0..3_000_000u64).fold(0u64, |sum, number| std::hint::black_box(sum ^ number));
        std::hint::black_box(spin);
        // Never less than nothing; the scheduler may not have counted the last tick yet.
        assert!(cpu(own).unwrap().ran_ns >= before.ran_ns);
        assert!(memory(own).unwrap().rss > 100_000 && resident(own).unwrap() > 100_000);
        assert!(threads(own).unwrap() >= 1 && !title(own).unwrap().is_empty());
    }

    #[test]
    fn a_process_that_is_not_is_an_error() {
        assert!(memory(u32::MAX).is_err() && cpu(u32::MAX).is_err() && is_asleep(u32::MAX).is_err());
    }

    #[test]
    fn time_never_runs_backwards() {
        let (early, late) = (Cpu { ran_ns: 9, waited_ns: 1 }, Cpu { ran_ns: 5, waited_ns: 3 });
        assert_eq!(late.since(early), Cpu { ran_ns: 0, waited_ns: 2 });
        assert_eq!(Cpu { ran_ns: 200, waited_ns: 50 }.waited_percent(), 25.0);
    }
}
