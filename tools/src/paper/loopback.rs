//! The interface that carries the traffic: its counters, and one of our own where the system allows it.
//!
//! It refuses to know what is sent. Invariant: the whole evaluation runs with one interface, chosen before
//! anything is started.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::options::Loopback;
use crate::Fallible;

/// Set for the program that runs again with an interface of its own. The server minds variables that
/// begin with its name, so this one does not.
const VARIABLE: &str = "PAPER_LOOPBACK";
/// Brings the interface up, then becomes the program.
const SCRIPT: &str = "ip link set lo up && exec \"$@\"";
/// Ways of getting a network of one's own: as root, and as anybody else.
const WAYS: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];

/// Whose traffic the counters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Ours alone.
    Own,
    /// Everybody's on this machine.
    Shared,
}

/// What the interface has carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes, with the heads of TCP and IP.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// Looks which interface there is, and if it should and can be one of our own, runs this program again with
/// it: then this function does not return.
pub fn enter(wanted: Loopback, args: &[OsString]) -> Interface {
    if std::env::var_os(VARIABLE).is_some() {
        return Interface::Own;
    }
    if wanted == Loopback::Shared {
        return Interface::Shared;
    }
    let Some(way) = WAYS.into_iter().find(|way| is_possible(way)) else { return Interface::Shared };
    let Ok(program) = std::env::current_exe() else { return Interface::Shared };
    let mut command = Command::new("unshare");
    command.args(way).args(["--", "sh", "-c", SCRIPT, "sh"]).arg(program).args(args);
    // It returns only if it fails, and then we go on as we are.
    let _failure = command.env(VARIABLE, "own").exec();
    Interface::Shared
}

fn is_possible(way: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    command.args(way).args(["--", "sh", "-c", SCRIPT, "sh", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The counters now.
pub fn carried() -> Fallible<Carried> {
    let text = fs::read_to_string("/proc/self/net/dev")?;
    Ok(parse(&text).ok_or("there is no loopback interface")?)
}

/// The received bytes and packets of `lo`: what it sends, it receives.
fn parse(text: &str) -> Option<Carried> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    let mut numbers = line.split_whitespace().map(str::parse);
    Some(Carried { bytes: numbers.next()?.ok()?, packets: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let text = "Inter-|   Receive\n face |bytes    packets errs\n  eth0: 1 2 0\n    lo: 1234      56  \
                    0    0\n";
        assert_eq!(parse(text), Some(Carried { bytes: 1_234, packets: 56 }));
        assert_eq!(parse("eth0: 1 2\n"), None);
        assert_eq!(parse("lo: x 2\n"), None);
        assert!(carried().is_ok());
    }

    #[test]
    fn shared_is_shared() {
        if std::env::var_os(VARIABLE).is_none() {
            assert_eq!(enter(Loopback::Shared, &[]), Interface::Shared);
        }
    }
}
