//! PushUp itself as a measured process: where its binary is, and how it is started.
//!
//! What it refuses to know: how it is loaded. Invariant: it listens on loopback ports that
//! the kernel chose, so that any number of them run side by side.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::conversation::Conversation;
use super::{Server, Stage};
use crate::Fallible;

/// A PushUp that can be started.
#[derive(Clone, Debug)]
pub struct PushUp {
    /// What it is called in tables.
    pub label: String,
    /// Its program.
    pub binary: PathBuf,
    /// Arguments besides those for its listeners and its ready-file.
    pub args: Vec<OsString>,
}

impl PushUp {
    /// One under its own name, without further arguments.
    pub fn new(binary: PathBuf) -> PushUp {
        PushUp { label: "PushUp".to_owned(), binary, args: Vec::new() }
    }

    /// `PATH`, or `LABEL=PATH` so that several can be told apart.
    pub fn parse(text: &str) -> Result<PushUp, String> {
        let labelled = text.split_once('=').filter(|(label, _)| !label.contains('/'));
        let (label, path) = labelled.unwrap_or(("PushUp", text));
        if label.is_empty() || path.is_empty() {
            return Err(format!("{text:?} is neither PATH nor LABEL=PATH"));
        }
        let binary = PathBuf::from(path);
        if !binary.is_file() {
            return Err(format!("there is no program at {path}"));
        }
        Ok(PushUp { label: label.to_owned(), binary, args: Vec::new() })
    }

    /// Starts it on free ports and waits until it is ready.
    pub fn start(&self, stage: &Stage) -> Fallible<Server> {
        self.start_with(stage, &[])
    }

    /// Starts the next node of a cluster, which learns of the others from `nodes`; it may have to catch
    /// up with them still ([`until_ready`]).
    pub fn start_node(&self, stage: &Stage, nodes: &[Server]) -> Fallible<Server> {
        let mut args = vec!["--cluster-listen".to_owned(), "127.0.0.1:0".to_owned()];
        args.extend(["--node-id".to_owned(), format!("n{}", nodes.len() + 1)]);
        for node in nodes {
            let address = node.cluster.ok_or("a node does not say where others reach it")?;
            args.extend(["--peer".to_owned(), address.to_string()]);
        }
        self.start_with(stage, &args)
    }

    /// Starts a cluster of so many nodes and waits until all are ready and linked with each other.
    pub fn start_cluster(&self, stage: &Stage, count: usize) -> Fallible<Vec<Server>> {
        let mut nodes = Vec::with_capacity(count);
        for _ in 0..count {
            let node = self.start_node(stage, &nodes)?;
            nodes.push(node);
        }
        for node in &mut nodes {
            until_ready(node)?;
            until_linked(node, count - 1)?;
        }
        Ok(nodes)
    }

    fn start_with(&self, stage: &Stage, more: &[String]) -> Fallible<Server> {
        let room = stage.room("pushup")?;
        let ready = room.join("ready");
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--publish-listen", "127.0.0.1:0"]);
        command.arg("--ready-file").arg(&ready).args(more).args(&self.args);
        stage.spawn_ready(command, &room, &ready)
    }
}

/// Waits until a node has caught up with its cluster: `/readyz` is 200.
pub fn until_ready(node: &mut Server) -> Fallible<()> {
    let mut asking = Conversation::with(node.publish)?;
    node.wait("catch up", |_| Ok(asking.get("/readyz")?.0 == 200))
}

/// Waits until a node has links to so many others, and they lack nothing of what it has.
pub fn until_linked(node: &mut Server, others: usize) -> Fallible<()> {
    let mut asking = Conversation::with(node.publish)?;
    node.wait("find the other nodes", |_| {
        let cluster = asking.json("/cluster")?;
        let good =
            |member: &&Value| member["linked"] == true && member["ready"] == true && member["lacks"] == 0;
        Ok(cluster["members"].as_array().is_some_and(|all| all.iter().filter(good).count() >= others))
    })
}

/// The server's binary that was built last among those that stand where cargo puts them:
/// beside this program, or as `tools/build-static` makes it.
pub fn find() -> Fallible<PathBuf> {
    let own = std::env::current_exe()?;
    let places = candidates(&own);
    let newest =
        places.iter().filter_map(|path| Some((fs::metadata(path).ok()?.modified().ok()?, path))).max();
    let (_, path) = newest.ok_or(
        "there is no pushup to be found: build it with tools/build-static, or name it with --server-path",
    )?;
    Ok(path.clone())
}

fn candidates(own: &Path) -> Vec<PathBuf> {
    let profile = own.parent().unwrap_or(Path::new("."));
    // Tests run from a directory below.
    let profile = if profile.ends_with("deps") { profile.parent().unwrap_or(profile) } else { profile };
    let target = profile.parent().unwrap_or(profile);
    let fixed = ["x86_64-unknown-linux-gnu/release/pushup", "release/pushup"];
    let fixed = fixed.map(|path| target.join(path));
    let mut places = vec![profile.join("pushup")];
    places.extend(fixed);
    places.dedup();
    places
}

/// Whether a program needs no loader; read from its ELF program headers (64 bits, little-endian).
pub fn is_static(program: &Path) -> Fallible<bool> {
    const PT_INTERP: u32 = 3;
    let elf = fs::read(program)?;
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?) as usize);
    let headers = || {
        let first = u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?) as usize;
        let (size, count) = (u16_at(54)?, u16_at(56)?);
        Some((0..count).map(move |index| first.saturating_add(index * size)))
    };
    let kind = |at: usize| Some(u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let mut headers = headers().filter(|_| elf.starts_with(b"\x7fELF")).ok_or("not an ELF program")?;
    Ok(!headers.any(|at| kind(at) == Some(PT_INTERP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_path_or_label() {
        let own = std::env::current_exe().unwrap();
        let own = own.to_str().unwrap();
        assert_eq!(PushUp::parse(own).unwrap().label, "PushUp");
        assert_eq!(PushUp::parse(&format!("new={own}")).unwrap().label, "new");
        for wrong in ["", "=", "new=", "/nowhere/at/all", "new=/nowhere"] {
            assert!(PushUp::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn binaries_are_looked_for_beside_us() {
        let beside = PathBuf::from("/t/debug/pushup");
        assert_eq!(candidates(Path::new("/t/debug/pushup-load"))[0], beside);
        let places = candidates(Path::new("/t/debug/deps/pushup_tools-1"));
        assert_eq!(places[0], beside);
        assert!(places.contains(&PathBuf::from("/t/x86_64-unknown-linux-gnu/release/pushup")));
    }

    #[test]
    fn tests_need_a_loader() {
        assert!(!is_static(&std::env::current_exe().unwrap()).unwrap());
        assert!(is_static(Path::new("/proc/self/status")).is_err());
    }
}
