//! `tools/cluster`: one command for nodes, HAProxy, a web server and a page.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::balancer::find_haproxy;
use crate::http::Client;
use crate::process::{Running, bare_command, run};
use crate::temp::TempDir;
use crate::wait_for;

/// By then it ends by itself, whatever becomes of the test.
const SECONDS: &str = "60";
/// What separates the ports of the nodes' listeners from HAProxy's.
const PUBLISHERS_FROM: u16 = 20;
/// Ports that one of them takes, and a little.
const PORTS: u16 = 50;
const PORT_TRIES: u32 = 50;

/// The first of so many ports where nobody listens. Not of the range from which the system takes ports for
/// connections, nor of that of `fixed_addresses`; no two tests are given the same.
fn free_ports() -> SocketAddr {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..PORT_TRIES {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let first = 10_000 + (std::process::id() % 1_000 * 7 + call) as u16 % 200 * PORTS;
        if (first..first + PORTS).all(is_free) {
            return SocketAddr::from(([127, 0, 0, 1], first));
        }
    }
    panic!("{PORTS} free ports in a row were not found");
}

fn command() -> Command {
    bare_command(&format!("{}/tools/cluster", env!("CARGO_MANIFEST_DIR")))
}

/// A cluster of its own, with its processes' ids.
struct Cluster {
    running: Running,
    front: SocketAddr,
    pids: Vec<Pid>,
    _logs: TempDir,
}

fn start(nodes: usize) -> Option<Cluster> {
    find_haproxy()?;
    let logs = TempDir::new();
    let front = free_ports();
    let mut command = command();
    command.args([&nodes.to_string(), "--seconds", SECONDS, "--ports", &front.port().to_string()]);
    command.args(["--pushup", env!("CARGO_BIN_EXE_pushup")]).arg("--logs").arg(logs.path());
    if let Some(peers) = std::env::var_os("PEERS_DIRECTORY") {
        command.env("PEERS_DIRECTORY", peers);
    }
    let mut running = Running::spawn(&mut command);
    let text = wait_for("the first steps", || {
        let ended = running.has_ended();
        assert!(ended.is_none(), "{ended:?}: {}{}", running.stdout(), running.stderr());
        Some(running.stdout()).filter(|text| text.contains("Ctrl-C"))
    });
    let pids = text.lines().filter(|line| line.starts_with("  n") && line.contains("http"));
    let pids: Vec<Pid> = pids
        .map(|line| Pid::from_raw(line.split_whitespace().nth(1).unwrap().parse().unwrap()).unwrap())
        .collect();
    assert_eq!(pids.len(), nodes, "{text}");
    Some(Cluster { running, front, pids, _logs: logs })
}

impl Cluster {
    /// The publishers' listener of a node.
    fn publisher(&self, number: u16) -> Client {
        let mut address = self.front;
        address.set_port(self.front.port() + PUBLISHERS_FROM + number);
        Client::connect(address)
    }

    fn held(&self, number: u16) -> u64 {
        self.publisher(number).get("/stats").json()["held_polls"].as_u64().unwrap()
    }

    /// Ends it in good order; nothing of it is left.
    fn stop(mut self) {
        self.running.signal(Signal::TERM);
        let output = self.running.end_within(Duration::from_secs(20));
        assert!(output.status.success(), "{output:?}");
        assert!(self.running.stdout().ends_with("stopped\n"));
        assert!(!self.listens());
    }

    /// Whether anybody is left of it.
    fn listens(&self) -> bool {
        let ports = self.front.port()..self.front.port() + PORTS;
        ports.into_iter().any(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }
}

#[test]
fn a_node_of_the_demonstration_is_killed_and_no_poll_fails() {
    let Some(cluster) = start(3) else { return };
    let mut polls: Vec<Client> = (0..12).map(|_| Client::connect(cluster.front)).collect();
    polls.iter_mut().for_each(|poll| poll.send_get("/sub/demo?after=now"));
    wait_for("all to be held", || ((1..=3).map(|n| cluster.held(n)).sum::<u64>() == 12).then_some(()));
    kill_process(cluster.pids[0], Signal::KILL).unwrap();
    cluster.running.wait_stdout("the death", |text| text.contains("n1 ended by signal 9"));
    wait_for("all to be held again", || ((2..=3).map(|n| cluster.held(n)).sum::<u64>() == 12).then_some(()));
    // By way of the web server, as the page does it.
    let body = b"{\"node\":\"n2\",\"text\":\"hello\"}";
    let receipt = read_loosely(
        cluster.front,
        &format!(
            "POST /publish/n2 HTTP/1.1\r\nHost: t\r\n\
        Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            body.len(),
            String::from_utf8_lossy(body)
        ),
    );
    assert!(receipt.starts_with("HTTP/1.1 201 "), "{receipt}");
    for poll in &mut polls {
        let answer = poll.read();
        assert_eq!(answer.data()[0]["text"], "hello");
        assert!(answer.field("X-Node").is_some_and(|node| node == "n2" || node == "n3"));
    }
    let page = read_loosely(cluster.front, "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/haproxy/demo.html");
    assert!(page.ends_with(&fs::read_to_string(demo).unwrap()), "{page}");
    cluster.stop();
}

#[test]
fn nothing_outlives_the_demonstration() {
    let Some(mut cluster) = start(2) else { return };
    cluster.running.signal(Signal::KILL);
    cluster.running.end_within(Duration::from_secs(20));
    wait_for("all to end", || (!cluster.listens()).then_some(()));
}

#[test]
fn ports_that_are_taken_are_named() {
    if find_haproxy().is_none() {
        return;
    }
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(command().args(["1", "--ports", &port, "--pushup", env!("CARGO_BIN_EXE_pushup")]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&port) && !said.contains("Traceback"), "{said}");
}

/// What a server says to one request, headers and all, to the end of the connection.
fn read_loosely(address: SocketAddr, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
