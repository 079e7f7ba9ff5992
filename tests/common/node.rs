//! A node in a process of its own.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::http::{Answer, Client};
use crate::process::{Running, bare_command, pushup, run};
use crate::temp::TempDir;
use crate::wait_for;

/// How a node is to be started.
#[derive(Default)]
pub struct Launch {
    flags: Vec<String>,
    env: Vec<(String, String)>,
    files_max: Option<u32>,
    addresses: Option<[String; 2]>,
}

impl Launch {
    pub fn new(flags: &[&str]) -> Launch {
        let flags = flags.iter().map(|flag| flag.to_string()).collect();
        Launch { flags, ..Launch::default() }
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With so many descriptors at most.
    pub fn files_max(mut self, files: u32) -> Launch {
        self.files_max = Some(files);
        self
    }

    /// On these addresses, not on those the system chooses.
    pub fn at(mut self, public: SocketAddr, publisher: SocketAddr) -> Launch {
        self.addresses = Some([public.to_string(), publisher.to_string()]);
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Node {
        let dir = TempDir::new();
        let ready = dir.file("ready");
        let mut command = match self.files_max {
            None => pushup(),
            Some(files) => {
                let mut shell = bare_command("sh");
                shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
                shell.arg(env!("CARGO_BIN_EXE_pushup"));
                shell
            }
        };
        let [public, publisher] = self.addresses.unwrap_or(["127.0.0.1:0".into(), "127.0.0.1:0".into()]);
        command.args(["serve", "--listen", &public, "--publish-listen", &publisher, "--ready-file"]);
        command.arg(&ready).args(&self.flags).envs(self.env);
        let mut running = Running::spawn(&mut command);
        let addresses = wait_for("the ready file", || {
            let ended = running.has_ended();
            assert!(ended.is_none(), "the node ended, {ended:?}: {}", running.stderr());
            serde_json::from_slice::<Value>(&std::fs::read(&ready).ok()?).ok()
        });
        let address = |name: &str| addresses[name][0].as_str().unwrap().parse().unwrap();
        assert_eq!(addresses["pid"], running.pid());
        let optional = |name: &str| addresses[name][0].as_str().map(|text| text.parse().unwrap());
        let (cluster, proxied) = (optional("cluster_listen"), optional("proxy_listen"));
        let worker = optional("worker_listen");
        Node {
            public: address("listen"),
            publisher: address("publish_listen"),
            proxied,
            cluster,
            worker,
            running,
            dir,
        }
    }
}

/// A running node; dropping it kills it.
pub struct Node {
    pub public: SocketAddr,
    pub publisher: SocketAddr,
    /// Where proxies that send PROXY headers reach it, if they may.
    pub proxied: Option<SocketAddr>,
    /// Where other nodes reach it, if it belongs to a cluster.
    pub cluster: Option<SocketAddr>,
    /// Where back-ends reach it, if it takes any.
    pub worker: Option<SocketAddr>,
    pub running: Running,
    pub dir: TempDir,
}

impl Node {
    pub fn start(flags: &[&str]) -> Node {
        Launch::new(flags).start()
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// A new connection to the public listener.
    pub fn subscriber(&self) -> Client {
        Client::connect(self.public)
    }

    /// A new connection to the publishers' listener.
    pub fn publisher(&self) -> Client {
        Client::connect(self.publisher)
    }

    /// Publishes a text on a new connection; returns the receipt.
    pub fn publish(&self, channels: &str, text: &str) -> Value {
        let answer = self.publisher().post(&format!("/pub/{channels}"), text.as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// Everything that a channel still has, on a new connection.
    pub fn read(&self, channels: &str) -> Value {
        self.subscriber().get(&format!("/sub/{channels}?timeout=0")).json()
    }

    pub fn get_admin(&self, target: &str) -> Answer {
        self.publisher().get(target)
    }

    /// One of the node's figures.
    pub fn figure(&self, name: &str) -> u64 {
        let stats = self.get_admin("/stats").json();
        stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }

    /// Waits until one of the node's figures is `wanted`.
    pub fn wait_figure(&self, name: &str, wanted: u64) {
        let mut asker = self.publisher();
        wait_for(&format!("{name} to be {wanted}"), || {
            (asker.get("/stats").json()[name] == wanted).then_some(())
        });
    }

    /// Sends a poll and waits until it is held.
    pub fn hold(&self, target: &str) -> Client {
        let before = self.figure("held_polls");
        let mut client = self.subscriber();
        client.send_get(target);
        self.wait_figure("held_polls", before + 1);
        client
    }

    /// Tells it to stop, waits until it has, and returns what it said.
    pub fn stop(mut self) -> Output {
        self.running.signal(Signal::TERM);
        self.running.end_within(Duration::from_secs(30))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the node said:\n{}", self.running.stderr());
        }
    }
}

/// Two addresses where nobody listens, for a node that is to come back to the same ones.
/// Not of the range from which the system takes ports for connections, which would sooner
/// or later include one of these; and no two tests are given the same.
pub fn fixed_addresses() -> (SocketAddr, SocketAddr) {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let first = 20_000 + (std::process::id() % 1_000 * 10 + call) % 1_200 * 10;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = (first as u16..first as u16 + 10).filter(free);
    let mut next = || SocketAddr::from(([127, 0, 0, 1], ports.next().expect("a free port")));
    (next(), next())
}

/// The first of so many ports in a row where nobody listens, nor ten and twenty above each, for processes that are told
/// their ports in a file. They are bound and let go; no two callers of this process are given the same.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let call = NEXT.fetch_add(1, Ordering::Relaxed);
        // Below those that fixed addresses are taken from, and below those of the system's connections.
        let first = 10_000 + (std::process::id() * 7 + call) % 300 * 32;
        let first = first as u16;
        let wanted = (0..count).flat_map(|at| [first + at, first + at + 10, first + at + 20]);
        let bound: Result<Vec<_>, _> =
            wanted.map(|port| std::net::TcpListener::bind(("127.0.0.1", port))).collect();
        if bound.is_ok() {
            return first;
        }
    }
}

/// The program run to its end with these arguments.
pub fn run_pushup(arguments: &[&str]) -> Output {
    run(pushup().args(arguments))
}
