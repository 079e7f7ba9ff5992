//! A share of a processor for each process: control groups of the kernel, version 1 or 2.
//!
//! On few processors many back-ends only mean something if each has a quota of its own: then eight have twice
//! of what four have, as long as all quotas together are less than there is.
//!
//! It refuses to know whose processes they are. Invariant: all groups that were made are removed at the end, and
//! those of a run that was killed by the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Fallible, process};

/// Where the controller of processor time is, in version 1 and in version 2.
const ROOTS: [(&str, Version); 2] = [("/sys/fs/cgroup/cpu", Version::One), ("/sys/fs/cgroup", Version::Two)];
/// The beginning of our groups' names; this process's number follows.
const PREFIX: &str = "pushup-scatter-";
/// Over how long a quota is counted: short, so that who waits for somebody else's turn does not wait long.
const PERIOD_US: u64 = 20_000;
/// A group is empty this long after its processes were ended, at the latest.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where groups can be made.
#[derive(Debug)]
pub struct Quotas {
    version: Version,
    root: PathBuf,
    base: PathBuf,
    count: AtomicU32,
}

impl Quotas {
    /// Makes the group that ours stand in; else why that cannot be done.
    pub fn new() -> Result<Quotas, String> {
        let mut reasons = Vec::new();
        for (root, version) in ROOTS {
            match Quotas::at(Path::new(root), version) {
                Ok(quotas) => return Ok(quotas),
                Err(reason) => reasons.push(format!("{root}: {reason}")),
            }
        }
        Err(reasons.join("; "))
    }

    fn at(root: &Path, version: Version) -> Fallible<Quotas> {
        if version == Version::Two {
            let controllers = fs::read_to_string(root.join("cgroup.controllers"))?;
            if !controllers.split_whitespace().any(|name| name == "cpu") {
                return Err("it has no cpu controller".into());
            }
            fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
        } else if !root.join("cpu.cfs_quota_us").exists() && !root.join("cpu.shares").exists() {
            return Err("it is not there".into());
        }
        remove_left_behind(root);
        let base = root.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&base)?;
        let quotas = Quotas { version, root: root.to_path_buf(), base, count: AtomicU32::new(0) };
        if version == Version::Two {
            fs::write(quotas.base.join("cgroup.subtree_control"), "+cpu")?;
        }
        // That it works is only known once it was done.
        drop(quotas.group(50.0)?);
        Ok(quotas)
    }

    /// Makes a group that may use so many percent of a processor.
    pub fn group(&self, percent: f64) -> Fallible<Group> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let group = Group { directory: self.base.join(number.to_string()), root: self.root.clone() };
        fs::create_dir(&group.directory)?;
        let quota_us = (percent / 100.0 * PERIOD_US as f64).round() as u64;
        let write = |name: &str, text: String| fs::write(group.directory.join(name), text);
        match self.version {
            Version::One => {
                write("cpu.cfs_period_us", PERIOD_US.to_string())?;
                write("cpu.cfs_quota_us", quota_us.to_string())?;
            }
            Version::Two => write("cpu.max", format!("{quota_us} {PERIOD_US}"))?,
        }
        Ok(group)
    }

    /// For a sentence.
    pub fn words(&self) -> String {
        let version = if self.version == Version::One { 1 } else { 2 };
        format!("control groups of version {version}, counted over {} ms", PERIOD_US / 1_000)
    }
}

impl Drop for Quotas {
    fn drop(&mut self) {
        remove(&self.base, &self.root);
    }
}

/// A group of processes that share a quota; removed when it is dropped, after its processes.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    root: PathBuf,
}

impl Group {
    /// Puts a process into the group; what it starts from now on is in it too.
    pub fn adopt(&self, pid: u32) -> Fallible<()> {
        Ok(fs::write(self.directory.join("cgroup.procs"), pid.to_string())?)
    }

    /// How often, and for how many nanoseconds, it was held up.
    pub fn throttled(&self) -> (u64, u64) {
        let text = fs::read_to_string(self.directory.join("cpu.stat")).unwrap_or_default();
        let number = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let nanoseconds = number("throttled_time ").or_else(|| Some(number("throttled_usec ")? * 1_000));
        (number("nr_throttled ").unwrap_or(0), nanoseconds.unwrap_or(0))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.directory, &self.root);
    }
}

/// Removes a group and those in it; processes that are still there go back to the root.
fn remove(directory: &Path, root: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path(), root);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while fs::remove_dir(directory).is_err() && directory.exists() {
        if Instant::now() > deadline {
            for pid in fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines() {
                let _ = fs::write(root.join("cgroup.procs"), pid);
            }
            let _ = fs::remove_dir(directory);
            return;
        }
        sleep(Duration::from_millis(5));
    }
}

/// Removes the groups of runs that are no more.
fn remove_left_behind(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if owner.is_some_and(|pid| process::title(pid).is_err()) {
            remove(&entry.path(), root);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn groups_hold_processes_and_are_removed() {
        // Where none can be made there is nothing to be tested but that it says so.
        let quotas = match Quotas::new() {
            Ok(quotas) => quotas,
            Err(reason) => return assert!(!reason.is_empty()),
        };
        let group = quotas.group(20.0).expect("it could be made before");
        let mut child = Command::new("sleep").arg("100").spawn().expect("it starts");
        group.adopt(child.id()).expect("it lives");
        let held = fs::read_to_string(group.directory.join("cgroup.procs")).expect("it is there");
        assert_eq!(held.trim(), child.id().to_string());
        let _ = group.throttled();
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let directory = group.directory.clone();
        drop(group);
        assert!(!directory.exists());
        let base = quotas.base.clone();
        drop(quotas);
        assert!(!base.exists());
    }
}
