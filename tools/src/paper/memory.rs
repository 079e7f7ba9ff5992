//! What holding a crowd costs: the server's own memory, and what the kernel's grew by.
//!
//! It refuses to know whose connections they are. The kernel's part is the whole machine's: what others do
//! at the same time is in it.

use std::fs;

use super::results::CrowdMemory;
use crate::machine::KernelMemory;
use crate::{Fallible, process};

/// Parts of the kernel's memory that grow with sockets and with threads, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Sockets, files and other objects, and data in buffers of TCP.
    objects: u64,
    /// Stacks of threads in the kernel.
    stacks: u64,
    /// Tables of pages, of which every stack needs its own.
    tables: u64,
}

impl Kernel {
    /// Looks now.
    pub fn look() -> Kernel {
        let memory = KernelMemory::look();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Kernel {
            objects: memory.slab + memory.tcp_buffers,
            stacks: keyed(&meminfo, "KernelStack:"),
            tables: keyed(&meminfo, "PageTables:"),
        }
    }

    fn total(self) -> u64 {
        self.objects + self.stacks + self.tables
    }
}

/// What a process uses now, and how much more than `before` the kernel does.
pub fn crowd(pid: u32, before: Kernel) -> Fallible<CrowdMemory> {
    let memory = process::memory(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(CrowdMemory {
        pss: memory.pss as f64,
        private: memory.private_dirty as f64,
        address_space: keyed(&status, "VmSize:") as f64,
        kernel: Kernel::look().total().saturating_sub(before.total()) as f64,
        threads: process::threads(pid)? as f64,
    })
}

/// The bytes on the line of that name, which says kilobytes; nothing if there is none.
fn keyed(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let memory = crowd(std::process::id(), Kernel::default()).expect("this process is");
        assert!(memory.pss > 100_000.0 && memory.address_space > memory.pss, "{memory:?}");
        assert!(memory.kernel > 100_000.0 && memory.threads >= 1.0, "{memory:?}");
        assert!(crowd(u32::MAX, Kernel::default()).is_err());
        assert_eq!(keyed("VmPeak: 9 kB\nVmSize:\t  12 kB\n", "VmSize:"), 12_288);
        assert_eq!(keyed("", "VmSize:"), 0);
    }
}
