//! What figures were measured on, and what else the machine was doing.
//!
//! What it refuses to know: the processes that are measured. Invariant: it only reads, and
//! what cannot be read is said to be unknown instead of failing a run.

use std::fs;

use serde_json::{Value, json};

use crate::sys;

/// The machine, and its load when it was looked at.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Processors that this process may use.
    pub cpus: usize,
    /// The processors' model.
    pub model: String,
    /// The kernel's release.
    pub kernel: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Load averages of 1, 5 and 15 minutes.
    pub load: String,
}

impl Machine {
    /// Looks at the machine now.
    pub fn look() -> Machine {
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            model: model(&read("/proc/cpuinfo")).unwrap_or("unknown processors").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: 1_024 * keyed(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0),
            load: load(),
        }
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let gib = self.memory_bytes as f64 / f64::from(1 << 30);
        format!(
            "{} × {}, {gib:.0} GiB, Linux {}, load average {}",
            self.cpus, self.model, self.kernel, self.load
        )
    }

    /// For a program.
    pub fn json(&self) -> Value {
        json!({
            "cpus": self.cpus, "model": self.model, "kernel": self.kernel,
            "memory_bytes": self.memory_bytes, "load": self.load,
        })
    }
}

/// Load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Memory that is free or can be made so, in bytes, if the kernel says.
pub fn available_bytes() -> Option<u64> {
    keyed(&read("/proc/meminfo"), "MemAvailable:").map(|kib| 1_024 * kib)
}

/// Memory that nobody uses but to keep files in it, in bytes, if the kernel says.
pub fn unused_bytes() -> Option<u64> {
    let meminfo = read("/proc/meminfo");
    let kib: Option<u64> = ["MemFree:", "Buffers:", "Cached:"].iter().map(|key| keyed(&meminfo, key)).sum();
    Some(1_024 * kib?)
}

/// Packets that the kernel has dropped because too many waited to be received
/// (net.core.netdev_max_backlog), those from this machine to itself among them.
pub fn dropped_packets() -> u64 {
    dropped(&read("/proc/net/softnet_stat"))
}

/// The second column of each processor's line, in hexadecimal digits.
fn dropped(softnet: &str) -> u64 {
    let second = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    softnet.lines().filter_map(second).sum()
}

/// Buffers with data of all TCP sockets, in bytes.
pub fn tcp_buffer_bytes() -> u64 {
    tcp(&read("/proc/net/sockstat"), "mem") * sys::page_bytes()
}

/// Memory that the kernel uses for everybody, in bytes: two looks tell what connections cost in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelMemory {
    /// Objects of all kinds: sockets, files, inodes.
    pub slab: u64,
    /// Buffers with data of TCP sockets.
    pub tcp_buffers: u64,
    /// TCP sockets that are in use.
    pub tcp_sockets: u64,
}

impl KernelMemory {
    /// Looks now.
    pub fn look() -> KernelMemory {
        KernelMemory::parse(&read("/proc/meminfo"), &read("/proc/net/sockstat"))
    }

    fn parse(meminfo: &str, sockstat: &str) -> KernelMemory {
        KernelMemory {
            slab: 1_024 * keyed(meminfo, "Slab:").unwrap_or(0),
            tcp_buffers: sys::page_bytes() * tcp(sockstat, "mem"),
            tcp_sockets: tcp(sockstat, "inuse"),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn model(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(": ").map(|(_, model)| model)
}

/// The number on the line that begins with `key`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// A number about TCP: `TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1`.
fn tcp(sockstat: &str, key: &str) -> u64 {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP: ")).unwrap_or("");
    after(line, key).unwrap_or(0)
}

/// The number behind the word `key`.
fn after(line: &str, key: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == key)?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let meminfo = "MemTotal:       24689764 kB\nSlab:             100 kB\n";
        let sockstat = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 3\nUDP: inuse 1 mem 9\n";
        let memory = KernelMemory::parse(meminfo, sockstat);
        let wanted = KernelMemory { slab: 102_400, tcp_buffers: 3 * sys::page_bytes(), tcp_sockets: 5 };
        assert_eq!(memory, wanted);
        assert_eq!(KernelMemory::parse("", ""), KernelMemory::default());
        assert_eq!(dropped("0ec77ffc 0005bf0a 00000591\n1956514a 00000001 000007e0\n\n"), 0x5_bf0b);
        assert_eq!(model("a: b\nmodel name\t: Some CPU @ 2 GHz\n"), Some("Some CPU @ 2 GHz"));
    }

    #[test]
    fn this_machine_is_something() {
        let machine = Machine::look();
        assert!(machine.cpus > 0 && machine.memory_bytes > 0, "{machine:?}");
        assert_eq!(machine.load.split(' ').count(), 3);
    }
}
