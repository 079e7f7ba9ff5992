//! A HAProxy of the test's own.

use std::io::{Read, Write, stderr};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::http::Client;
use crate::node::Node;
use crate::process::{Running, bare_command};
use crate::temp::TempDir;
use crate::{PATIENCE, wait_for};

/// The backend's name in the files, and in the statistics.
const BACKEND: &str = "pushup";
/// Where a server's state stands in a line of the statistics.
const STATUS_COLUMN: usize = 17;

/// One of the files in `tools/haproxy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Tcp,
    Http,
}

impl Mode {
    pub fn file(self) -> PathBuf {
        let name = match self {
            Mode::Tcp => "tcp.cfg",
            Mode::Http => "http.cfg",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/haproxy").join(name)
    }
}

/// Where HAProxy is: what `tools/install-peers` made, else the system's own.
pub fn find_haproxy() -> Option<PathBuf> {
    let told = std::env::var_os("PEERS_DIRECTORY").map(PathBuf::from);
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let peers = told.into_iter().chain([project]).map(|peers| peers.join("bin/haproxy"));
    let system = PathBuf::from("/usr/sbin/haproxy");
    if let Some(found) = peers.chain([system]).find(|path| path.is_file()) {
        return Some(found);
    }
    let required = ["CI", "REQUIRE_CLIENTS"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!required, "HAProxy is not here (tools/install-peers gets it)");
    // Not by eprintln, which only shows when a test fails.
    let _ = writeln!(stderr(), "note: HAProxy is not here; its test is passed over");
    None
}

/// A running HAProxy; dropping it kills it.
pub struct Balancer {
    pub address: SocketAddr,
    running: Running,
    stats: PathBuf,
    _dir: TempDir,
}

impl Balancer {
    /// Before these nodes, which it calls n1, n2, …, and before a web server; none where there is no HAProxy.
    pub fn start(mode: Mode, nodes: &[SocketAddr], web: Option<SocketAddr>) -> Option<Balancer> {
        let haproxy = find_haproxy()?;
        let dir = TempDir::new();
        let stats = dir.file("stats");
        // Handed down as its input, so that no port has to be free a second time.
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut command = bare_command(haproxy.to_str().unwrap());
        command.arg("-db").arg("-f").arg(mode.file()).stdin(Stdio::from(OwnedFd::from(listener)));
        command.env("LISTEN", "fd@0").env("STATS", format!("unix@{}", stats.display()));
        for (index, node) in nodes.iter().enumerate() {
            command.env(format!("NODE{}", index + 1), node.to_string());
        }
        if let Some(web) = web {
            command.env("WEB", web.to_string());
        }
        let mut running = Running::spawn(&mut command);
        wait_for("HAProxy's statistics", || {
            let ended = running.has_ended();
            assert!(ended.is_none(), "HAProxy ended, {ended:?}: {}", running.stderr());
            UnixStream::connect(&stats).ok()
        });
        Some(Balancer { address, running, stats, _dir: dir })
    }

    /// Before nodes that are running.
    pub fn before(mode: Mode, nodes: &[Node]) -> Option<Balancer> {
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.public).collect();
        Balancer::start(mode, &addresses, None)
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Polls, each on a connection of its own, once the nodes hold all of them.
    pub fn hold(&self, target: &str, count: usize, nodes: &[Node]) -> Vec<Client> {
        let before = held(nodes);
        let polls = (0..count).map(|_| {
            let mut client = self.client();
            client.send_get(target);
            client
        });
        let polls: Vec<Client> = polls.collect();
        wait_held(nodes, before + count as u64);
        polls
    }

    /// What it thinks of a server: `UP`, `DOWN`, `NOLB` (in good order towards its end), or on the way.
    pub fn status(&self, server: &str) -> String {
        let mut stream = UnixStream::connect(&self.stats).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let prefix = format!("{BACKEND},{server},");
        let line = text.lines().find(|line| line.starts_with(&prefix));
        let line = line.unwrap_or_else(|| panic!("no {server} in {text}"));
        line.split(',').nth(STATUS_COLUMN).unwrap().to_string()
    }

    pub fn wait_status(&self, server: &str, wanted: &str) {
        wait_for(&format!("{server} to be {wanted}"), || (self.status(server) == wanted).then_some(()));
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("HAProxy said:\n{}{}", self.running.stdout(), self.running.stderr());
        }
    }
}

/// How many polls the nodes hold together.
pub fn held(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.figure("held_polls")).sum()
}

pub fn wait_held(nodes: &[Node], wanted: u64) {
    wait_for(&format!("{wanted} held polls"), || (held(nodes) == wanted).then_some(()));
}
