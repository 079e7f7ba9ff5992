//! How many threads this machine allows, and by which of its limits; when memory is nearly gone.
//!
//! It refuses to change a limit. Invariant: what cannot be read is no limit.

use std::fs;

/// Threads that are left to everybody else.
const SPARE: u64 = 1_000;
/// Mappings of memory that a thread needs: its stack and the guard before it.
const MAPPINGS_EACH: u64 = 2;
/// Less than this share of the memory left is too little to go on.
const MEMORY_LEFT_MIN: f64 = 0.04;

/// The most threads a server may have, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// At most so many.
    pub most: usize,
    /// The limit that says so.
    pub because: &'static str,
}

/// What the kernel says about threads.
#[derive(Clone, Debug, Default)]
struct Said {
    threads_max: Option<u64>,
    pid_max: Option<u64>,
    map_count: Option<u64>,
    user: Option<u64>,
    group: Option<u64>,
    /// Threads and processes that there are.
    present: u64,
}

impl Threads {
    /// What this machine allows now.
    pub fn look() -> Threads {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Threads::of(&Said {
            threads_max: number("/proc/sys/kernel/threads-max"),
            pid_max: number("/proc/sys/kernel/pid_max"),
            map_count: number("/proc/sys/vm/max_map_count"),
            user: user_limit(&limits),
            group: fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_limit(&text)),
            present: present(&load).unwrap_or(0),
        })
    }

    fn of(said: &Said) -> Threads {
        let shared = |limit: Option<u64>| limit.map(|limit| limit.saturating_sub(said.present + SPARE));
        let all = [
            (shared(said.threads_max), "kernel.threads-max"),
            (shared(said.pid_max), "kernel.pid_max"),
            (said.map_count.map(|count| count.saturating_sub(SPARE) / MAPPINGS_EACH), "vm.max_map_count"),
            (shared(said.user), "the limit of processes (ulimit -u)"),
            (shared(said.group), "pids.max of the control group"),
        ];
        let known = all.into_iter().filter_map(|(limit, name)| Some((limit?, name)));
        let (most, because) = known.min().unwrap_or((u64::from(u16::MAX), "no limit that is known"));
        Threads { most: usize::try_from(most).unwrap_or(usize::MAX), because }
    }
}

/// The soft limit in the text of /proc/self/limits; none if unlimited.
fn user_limit(limits: &str) -> Option<u64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max processes"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// All threads, behind the slash of /proc/loadavg's fourth field.
fn present(load: &str) -> Option<u64> {
    load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// The least limit of the control groups that we are in.
fn group_limit(own: &str) -> Option<u64> {
    group_paths(own).iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok()).min()
}

/// Where the limits of our control groups and of those above them would stand.
fn group_paths(own: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            "pids" => "/sys/fs/cgroup/pids",
            _ => continue,
        };
        let mut group = group.trim_end_matches('/');
        loop {
            paths.push(format!("{root}{group}/pids.max"));
            match group.rsplit_once('/') {
                Some((above, _)) => group = above,
                None => break,
            }
        }
    }
    paths
}

/// Whether so little memory is left that a run must end for the machine's sake.
pub fn memory_is_full() -> bool {
    memory_left(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
        .is_some_and(|left| left < MEMORY_LEFT_MIN)
}

/// The share of the memory that is available.
fn memory_left(meminfo: &str) -> Option<f64> {
    let value = |name: &str| -> Option<f64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(value("MemAvailable:")? / value("MemTotal:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts() {
        let said = Said {
            threads_max: Some(192_731),
            pid_max: Some(32_768),
            map_count: Some(65_530),
            user: Some(96_365),
            group: None,
            present: 500,
        };
        assert_eq!(Threads::of(&said), Threads { most: 31_268, because: "kernel.pid_max" });
        let maps = Said { pid_max: Some(4_000_000), ..said.clone() };
        assert_eq!(Threads::of(&maps), Threads { most: 32_265, because: "vm.max_map_count" });
        let group = Said { group: Some(1_200), ..said };
        assert_eq!(Threads::of(&group).most, 0);
        assert_eq!(Threads::of(&Said::default()).most, 65_535);
        assert!(Threads::look().most > 0);
    }

    #[test]
    fn the_kernels_texts() {
        let limits = "Max processes             96365                96365                processes\n";
        assert_eq!(user_limit(limits), Some(96_365));
        assert_eq!(user_limit("Max processes unlimited unlimited processes"), None);
        assert_eq!(present("0.66 1.09 1.21 2/345 9999\n"), Some(345));
        let own = "9:name=systemd:/\n8:pids:/a/b\n4:memory:/x\n0::/c\n";
        let paths = [
            "/sys/fs/cgroup/pids/a/b/pids.max",
            "/sys/fs/cgroup/pids/a/pids.max",
            "/sys/fs/cgroup/pids/pids.max",
            "/sys/fs/cgroup/c/pids.max",
            "/sys/fs/cgroup/pids.max",
        ];
        assert_eq!(group_paths(own), paths);
        assert_eq!(memory_left("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 30 kB\n"), Some(0.03));
        assert_eq!(memory_left(""), None);
        assert!(!memory_is_full());
    }
}
