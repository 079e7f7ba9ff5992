//! The contenders: who answers the request, of which processes, each with its quota.
//!
//! It refuses to know what is asked. Invariant: dropping a system ends its processes first, then its quotas.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::data;
use super::documents::SEED;
use super::fetch::Fetcher;
use super::quota::{Group, Quotas};
use crate::servers::pushup::PushUp;
use crate::servers::{Placement, Server, Stage};
use crate::sys::Orphaned;
use crate::{Fallible, process};

/// What the Node programs consist of.
const SCRIPTS: [(&str, &str); 5] = [
    ("clouds.js", include_str!("node/clouds.js")),
    ("handler.js", include_str!("node/handler.js")),
    ("serving.js", include_str!("node/serving.js")),
    ("cluster.js", include_str!("node/cluster.js")),
    ("threads.js", include_str!("node/threads.js")),
];
/// Back-ends that have not come after so long never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the documents can be had.
pub const URL: &str = "/v1/clouds";

/// What a handler is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// The same code as the Node servers run.
    JavaScript,
    /// The same algorithm.
    Rust,
}

impl Language {
    /// Both.
    pub const ALL: [Language; 2] = [Language::JavaScript, Language::Rust];

    /// Its name.
    pub fn words(self) -> &'static str {
        match self {
            Language::JavaScript => "JavaScript",
            Language::Rust => "Rust",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Language::JavaScript => "clouds-js",
            Language::Rust => "clouds-rust",
        }
    }
}

/// A way to answer the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Node's cluster, of so many instances.
    Cluster(u32),
    /// A Node server with so many worker_threads.
    Threads(u32),
    /// PushUp, with handlers in a language.
    PushUp {
        /// Of the handlers.
        language: Language,
        /// Front-ends.
        fronts: u32,
        /// Back-ends.
        backs: u32,
    },
}

impl Kind {
    /// PushUp with one front-end.
    pub fn pushup(language: Language, backs: u32) -> Kind {
        Kind::PushUp { language, fronts: 1, backs }
    }

    /// For programs.
    pub fn word(self) -> String {
        match self {
            Kind::Cluster(instances) => format!("cluster-{instances}"),
            Kind::Threads(threads) => format!("threads-{threads}"),
            Kind::PushUp { language, fronts, backs } => format!("{}-{fronts}+{backs}", language.program()),
        }
    }

    /// For people.
    pub fn words(self) -> String {
        match self {
            Kind::Cluster(instances) => format!("Node cluster, {instances} instances"),
            Kind::Threads(threads) => format!("Node, {threads} worker_threads"),
            Kind::PushUp { language, fronts, backs } => {
                let s = if backs == 1 { "" } else { "s" };
                format!("PushUp, {fronts} + {backs} back-end{s}, {}", language.words())
            }
        }
    }
}

/// What a process is in its system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A front-end of PushUp.
    Front,
    /// A back-end of PushUp, with its handlers.
    Back,
    /// An instance of Node that does the work.
    Instance,
    /// The one that hands connections to the instances.
    Primary,
}

/// Processes that are counted together.
pub struct Part {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its process.
    pub pid: u32,
    /// Whether what it has started belongs to it.
    with_children: bool,
    /// Its quota.
    pub group: Option<Group>,
}

impl Part {
    /// All its processes, its own first.
    pub fn pids(&self) -> Vec<u32> {
        let mut all = vec![self.pid];
        if self.with_children {
            all.extend(process::children(self.pid).unwrap_or_default());
        }
        all
    }
}

/// A contender that runs.
pub struct System {
    /// What it is.
    pub kind: Kind,
    /// Where requests go, in turn.
    pub addresses: Vec<SocketAddr>,
    // Processes end before their groups are removed.
    servers: Vec<Server>,
    /// What it consists of.
    pub parts: Vec<Part>,
}
/// What each process may use.
#[derive(Clone, Copy)]
pub struct Share<'a> {
    /// Where groups are made; none: no quotas.
    pub quotas: Option<&'a Quotas>,
    /// Percent of a processor for each process.
    pub percent: f64,
}

impl Share<'_> {
    /// Nobody is held up.
    pub const NONE: Share<'static> = Share { quotas: None, percent: 0.0 };

    fn group(&self, processes: u32) -> Fallible<Option<Group>> {
        self.quotas.map(|quotas| quotas.group(self.percent * f64::from(processes))).transpose()
    }
}

/// Where systems are started: the data side, the programs, a directory that is removed at the end.
pub struct Stand {
    stage: Stage,
    pushup: PathBuf,
    node: PathBuf,
    scripts: PathBuf,
    programs: PathBuf,
    data: Server,
}

impl Stand {
    /// Makes the documents of so many days and starts the data side.
    pub fn new(pushup: PathBuf, node: PathBuf, days: u32) -> Fallible<Stand> {
        let stage = Stage::new(Placement::Anywhere)?;
        let room = stage.room("data")?;
        let (file, ready) = (room.join("documents"), room.join("ready"));
        data::make(&file, SEED, days)?;
        let own = std::env::current_exe()?;
        let mut command = Command::new(&own);
        command.arg("data").arg(&file).arg(&ready);
        let data = stage.spawn_ready(command, &room, &ready)?;
        let (scripts, programs) = (stage.room("node")?, stage.room("programs")?);
        for (name, text) in SCRIPTS {
            fs::write(scripts.join(name), text)?;
        }
        let source = data.subscribe;
        let handler = scripts.join("handler.js");
        let in_javascript = format!("{} {} http://{source}", quoted(&node)?, quoted(&handler)?);
        program(&programs, Language::JavaScript, &in_javascript)?;
        program(&programs, Language::Rust, &format!("{} handler {source}", quoted(&own)?))?;
        Ok(Stand { stage, pushup, node, scripts, programs, data })
    }

    /// The data side's process.
    pub fn data_pid(&self) -> u32 {
        self.data.pid
    }

    /// Starts a system and waits until it can be asked.
    pub fn start(&self, kind: Kind, share: Share) -> Fallible<System> {
        match kind {
            Kind::Cluster(instances) => self.start_cluster(kind, instances, share),
            Kind::Threads(threads) => {
                let server = self.start_node("threads.js", threads, Orphaned::Kill)?;
                // As one process, but with what as many processes would have.
                let part = Part {
                    name: format!("server with {threads} threads"),
                    role: Role::Instance,
                    pid: server.pid,
                    with_children: false,
                    group: share.group(threads + 1)?,
                };
                System { kind, addresses: vec![server.subscribe], servers: vec![server], parts: vec![part] }
                    .settled()
            }
            Kind::PushUp { language, fronts, backs } => {
                self.start_pushup(kind, language, fronts, backs, share)
            }
        }
    }

    fn start_node(&self, script: &str, count: u32, orphaned: Orphaned) -> Fallible<Server> {
        let room = self.stage.room("node-server")?;
        let ready = room.join("ready");
        let mut command = Command::new(&self.node);
        command.arg(self.scripts.join(script)).arg(format!("http://{}", self.data.subscribe));
        command.arg(&ready).arg(count.to_string());
        match orphaned {
            Orphaned::Kill => self.stage.spawn_ready(command, &room, &ready),
            Orphaned::Terminate => self.stage.spawn_ready_parent(command, &room, &ready),
        }
    }

    fn start_cluster(&self, kind: Kind, instances: u32, share: Share) -> Fallible<System> {
        let server = self.start_node("cluster.js", instances, Orphaned::Terminate)?;
        let part = |name: String, role: Role, pid: u32| -> Fallible<Part> {
            Ok(Part { name, role, pid, with_children: false, group: share.group(1)? })
        };
        let mut parts = vec![part("primary".to_owned(), Role::Primary, server.pid)?];
        for (index, pid) in process::children(server.pid)?.into_iter().enumerate() {
            parts.push(part(format!("instance {}", index + 1), Role::Instance, pid)?);
        }
        if parts.len() != instances as usize + 1 {
            return Err(format!("the cluster has {} processes", parts.len()).into());
        }
        System { kind, addresses: vec![server.subscribe], servers: vec![server], parts }.settled()
    }

    fn start_pushup(
        &self,
        kind: Kind,
        language: Language,
        fronts: u32,
        backs: u32,
        share: Share,
    ) -> Fallible<System> {
        let mut system = System { kind, addresses: Vec::new(), servers: Vec::new(), parts: Vec::new() };
        let mut pushup = PushUp::new(self.pushup.clone());
        pushup.args = ["--worker-listen", "127.0.0.1:0", "--shards", "1"].map(Into::into).to_vec();
        let mut worker = vec!["worker".to_owned(), "--slots".to_owned(), "1".to_owned()];
        for number in 1..=fronts {
            let front = pushup.start(&self.stage)?;
            let joined = front.workers.ok_or("a front-end does not say where back-ends reach it")?;
            worker.extend(["--join".to_owned(), joined.to_string()]);
            system.addresses.push(front.subscribe);
            system.add(format!("front-end {number}"), Role::Front, front, share)?;
        }
        for number in 1..=backs {
            let room = self.stage.room("worker")?;
            let mut command = Command::new(&self.pushup);
            command.args(&worker).arg("--programs").arg(&self.programs);
            command.args(["--name", &format!("b{number}")]);
            let back = self.stage.spawn(command, &room, Orphaned::Kill)?;
            system.add(format!("back-end {number}"), Role::Back, back, share)?;
        }
        for front in &mut system.servers[..fronts as usize] {
            // A use case is refused while nobody could say whether he has its program.
            front.wait("be joined by its back-ends", |front| has_back_ends(front, backs))?;
            put_usecase(front, language, backs)?;
        }
        Ok(system)
    }
}

impl System {
    fn add(&mut self, name: String, role: Role, server: Server, share: Share) -> Fallible<()> {
        let group = share.group(1)?;
        let part = Part { name, role, pid: server.pid, with_children: role == Role::Back, group };
        self.servers.push(server);
        self.parts.push(part);
        self.adopt(self.parts.len() - 1)
    }

    fn adopt(&self, index: usize) -> Fallible<()> {
        let part = &self.parts[index];
        match &part.group {
            Some(group) => part.pids().into_iter().try_for_each(|pid| group.adopt(pid)),
            None => Ok(()),
        }
    }

    /// Every part in its group.
    fn settled(self) -> Fallible<System> {
        (0..self.parts.len()).try_for_each(|index| self.adopt(index))?;
        Ok(self)
    }
}

/// The use case, divided by days: as many at once as there are back-ends.
fn put_usecase(front: &Server, language: Language, backs: u32) -> Fallible<()> {
    let number = |max: u32, default: u32| json!({ "type": "int", "min": 0, "max": max, "default": default });
    let case = json!({
        "name": "clouds",
        "url": URL,
        "params": {
            "from": { "type": "date", "required": true },
            "to": { "type": "date", "required": true },
            "channel": number(2, 0),
            "threshold": number(100_000, 1_800),
            "limit": number(100_000, 1_968),
        },
        "split": { "kind": "range", "over": ["from", "to"], "unit": "day" },
        "run": { "mode": "iterative", "parallel": backs, "merge": "ordered", "deadline_s": 3_600 },
        "handler": { "program": language.program(), "processes": 1 },
    });
    let mut asking = Fetcher::connect(front.publish, Instant::now() + PATIENCE, None)?;
    let head = asking.ask(
        "PUT",
        "/usecases/clouds",
        "Content-Type: application/json\r\n",
        case.to_string().as_bytes(),
    )?;
    let said = asking.whole()?;
    match head.status {
        200 | 201 => Ok(()),
        status => {
            Err(format!("the use case is answered {status}: {}", String::from_utf8_lossy(&said)).into())
        }
    }
}

fn has_back_ends(front: &mut Server, wanted: u32) -> Fallible<bool> {
    let mut asking = Fetcher::connect(front.publish, Instant::now() + PATIENCE, None)?;
    asking.ask("GET", "/usecases", "", b"")?;
    let view: serde_json::Value = serde_json::from_slice(&asking.whole()?)?;
    Ok(view["backends"].as_array().is_some_and(|all| all.len() == wanted as usize))
}

/// A program that a back-end may run.
fn program(directory: &Path, language: Language, command: &str) -> Fallible<()> {
    let path = directory.join(language.program());
    fs::write(&path, format!("#!/bin/sh\nexec {command}\n"))?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> Fallible<String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not text", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}
