//! How many polls are divided: over load workers and server shards, and whether the machine has room.
//!
//! What it refuses to know: sockets and threads. Invariant: a run that was let begin needs no more open
//! files than the system has left, no more descriptors than a table has, and no more memory than is free.

use std::fs;
use std::net::Ipv4Addr;
use std::ops::Range;

use crate::{machine, series, sys};

/// Descriptors of one table that are made use of, even where a table may have more: a run is divided the
/// same way everywhere.
pub const TABLE_MAX: usize = 20_000;
/// Descriptors of a table that are not for connections.
const TABLE_SPARE: usize = 300;
/// Connections of a shard beyond its share that there is room for, in percent: the kernel divides callers
/// by a hash of their addresses.
const HEADROOM_PERCENT: usize = 15;
/// Shards that a server may have.
const SHARDS_MAX: usize = 256;
/// Load workers that there may be.
const WORKERS_MAX: usize = 256;
/// Addresses that the connections of one worker come from. Above about 14,000 connections from one address
/// the search for a free port is slow.
const SOURCES_EACH: usize = 2;

/// Kernel memory of a connection whose both ends are on this machine, in bytes.
const KERNEL_BYTES: u64 = 8_100;
/// What the server and the generator take for it.
const USER_BYTES: u64 = 600;
/// What the kernel takes at least for data that waits at one end.
const BUFFER_BYTES: u64 = 4_096;
/// Memory that is to stay free.
const MEMORY_SPARE: u64 = 256 << 20;
/// Open files that are to stay free.
const FILES_SPARE: u64 = 5_000;

/// Into how many parts a run is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Threads of the generator that have connections.
    pub workers: usize,
    /// Shards of the server that is started.
    pub shards: usize,
}

impl Division {
    /// The fewest parts that so many connections fit into, or what was asked for (0: nothing was).
    pub fn of(connections: usize, table: usize, workers: usize, shards: usize) -> Result<Division, String> {
        let table = table.min(TABLE_MAX);
        let room = table.saturating_sub(TABLE_SPARE);
        if room == 0 {
            return Err(format!("a thread may have {table} descriptors, too few for anything (ulimit -n)"));
        }
        let workers = parts("worker", connections.div_ceil(room), workers, WORKERS_MAX)?;
        let crowded = connections * (100 + HEADROOM_PERCENT) / 100;
        let shards = parts("shard", crowded.div_ceil(room), shards, SHARDS_MAX)?;
        Ok(Division { workers, shards })
    }

    /// Which of so many polls a worker has.
    pub fn share(&self, connections: usize, worker: usize) -> Range<usize> {
        let at = |worker: usize| connections * worker / self.workers.max(1);
        at(worker)..at(worker + 1)
    }
}

fn parts(name: &str, needed: usize, asked: usize, most: usize) -> Result<usize, String> {
    let count = if asked == 0 { needed } else { asked };
    if count < needed {
        return Err(format!("{count} {name}s are too few: {needed} are needed, for their descriptors"));
    }
    if count > most {
        return Err(format!("{count} {name}s are needed, {most} there may be: raise ulimit -n"));
    }
    Ok(count)
}

/// The loopback address that a worker's poll of that number comes from.
pub fn source(worker: usize, poll: usize) -> Ipv4Addr {
    let number = worker * SOURCES_EACH + poll % SOURCES_EACH;
    Ipv4Addr::new(127, 0, (number / 250) as u8, 1 + (number % 250) as u8)
}

/// Who holds the other end of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A server on this machine.
    Both,
    /// A server elsewhere.
    Ours,
}

/// What a run takes of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Open files of the whole system.
    pub files: u64,
    /// Bytes of memory, the kernel's among them.
    pub memory: u64,
}

/// What the machine has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Files that may yet be opened; none if unknown.
    pub files: Option<u64>,
    /// Bytes of memory that are free or can be made so.
    pub memory: Option<u64>,
    /// Bytes that TCP may take for data that waits.
    pub tcp_buffers: Option<u64>,
}

impl Room {
    /// Looks at the machine, and at the control group that this process is in.
    pub fn look() -> Room {
        let numbers = |path: &str| -> Vec<u64> {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let files = match numbers("/proc/sys/fs/file-nr")[..] {
            [open, _, most] => Some(most.saturating_sub(open)),
            _ => None,
        };
        let group = |name: &str| numbers(&format!("/sys/fs/cgroup/memory.{name}")).first().copied();
        // Without a limit there is the word "max".
        let in_group = group("max").zip(group("current")).map(|(most, used)| most.saturating_sub(used));
        let tcp =
            numbers("/proc/sys/net/ipv4/tcp_mem").get(2).map(|pages| pages.saturating_mul(sys::page_bytes()));
        Room {
            files,
            memory: [machine::available_bytes(), in_group].into_iter().flatten().min(),
            tcp_buffers: tcp,
        }
    }
}

impl Needs {
    /// What so many connections take while a message goes to all of them.
    pub fn of(connections: usize, ends: Ends, room: &Room) -> Needs {
        let (connections, ends) = (connections as u64, if ends == Ends::Both { 2 } else { 1 });
        let buffers = connections * ends * BUFFER_BYTES;
        Needs {
            files: connections * ends + FILES_SPARE,
            memory: connections * (KERNEL_BYTES * ends / 2 + USER_BYTES)
                + buffers.min(room.tcp_buffers.unwrap_or(buffers))
                + MEMORY_SPARE,
        }
    }

    /// Refuses what the machine has no room for.
    pub fn check(&self, room: &Room) -> Result<(), String> {
        let number = |count: u64| series::whole(count as f64);
        let size = |bytes: u64| series::bytes(bytes as f64);
        match (room.files, room.memory) {
            (Some(files), _) if files < self.files => Err(format!(
                "{} open files are needed and the system has {} left (/proc/sys/fs/file-max)",
                number(self.files),
                number(files)
            )),
            (_, Some(memory)) if memory < self.memory => Err(format!(
                "{} of memory are needed, most of it the kernel's, and {} are free",
                size(self.memory),
                size(memory)
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_parts_as_the_descriptors_allow() {
        let divided = |connections, table, workers, shards| Division::of(connections, table, workers, shards);
        assert_eq!(divided(2_000, 20_000, 0, 0), Ok(Division { workers: 1, shards: 1 }));
        assert_eq!(divided(2_000, 20_000, 2, 3), Ok(Division { workers: 2, shards: 3 }));
        assert_eq!(divided(100_000, 20_000, 0, 0), Ok(Division { workers: 6, shards: 6 }));
        assert_eq!(divided(1_000_000, 20_000, 0, 0), Ok(Division { workers: 51, shards: 59 }));
        // A larger table changes nothing.
        assert_eq!(divided(1_000_000, 1 << 20, 0, 0), divided(1_000_000, 20_000, 0, 0));
        for (table, workers, shards, reason) in [
            (20_000, 50, 0, "50 workers are too few: 51 are needed"),
            (20_000, 0, 58, "58 shards are too few: 59 are needed"),
            (1_024, 0, 0, "raise ulimit -n"),
            (100, 0, 0, "too few for anything"),
        ] {
            let error = divided(1_000_000, table, workers, shards).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn every_poll_has_one_worker() {
        let division = Division { workers: 7, shards: 1 };
        let shares: Vec<_> = (0..7).map(|worker| division.share(100_000, worker)).collect();
        assert!(shares.iter().all(|share| (14_285..=14_286).contains(&share.len())), "{shares:?}");
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start), "{shares:?}");
        assert_eq!((shares[0].start, shares[6].end), (0, 100_000));
    }

    #[test]
    fn no_two_workers_come_from_the_same_address() {
        let mut all: Vec<_> =
            (0..WORKERS_MAX).flat_map(|worker| [source(worker, 0), source(worker, 1)]).collect();
        assert!(all.iter().all(|address| address.is_loopback()));
        assert_eq!((all[0], source(0, 2)), (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), SOURCES_EACH * WORKERS_MAX);
    }

    #[test]
    fn a_machine_that_is_too_small_is_told_so() {
        let large = Room { files: Some(2_400_000), memory: Some(24 << 30), tcp_buffers: Some(2_300 << 20) };
        let needs = Needs::of(1_000_000, Ends::Both, &large);
        assert!((2_000_000..2_100_000).contains(&needs.files), "{needs:?}");
        assert!((10 << 30..13 << 30).contains(&needs.memory), "{needs:?}");
        assert!(Needs::of(1_000_000, Ends::Ours, &large).memory < needs.memory);
        for (room, reason) in [
            (large, None),
            (Room::default(), None),
            (Room { files: Some(1_000_000), ..large }, Some("and the system has 1,000,000 left")),
            (Room { memory: Some(8 << 30), ..large }, Some("and 8,590 MB are free")),
        ] {
            let answer = needs.check(&room);
            assert_eq!(answer.is_err(), reason.is_some(), "{answer:?}");
            assert!(answer.err().unwrap_or_default().contains(reason.unwrap_or_default()));
        }
    }

    #[test]
    fn this_machine_has_some_room() {
        let room = Room::look();
        assert!(
            room.files.is_some_and(|files| files > 0) && room.memory.is_some_and(|bytes| bytes > 0),
            "{room:?}"
        );
    }
}
