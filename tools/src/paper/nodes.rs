//! HAProxy before nodes: TCP, round robin, as in the paper (§4.4).
//!
//! It refuses to know what passes. Invariant: a balancer has no more connections than its descriptors
//! allow; for more there are several balancers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Fallible;
use crate::servers::nchan::peer_directories;
use crate::servers::{Server, Stage};
use crate::sys::{self, Orphaned};

/// What to tell a person who does not have it.
pub const HOW_TO_GET: &str = "HAProxy is not here (tools/install-peers gets it, without root)";
/// A free port may be taken by somebody before HAProxy takes it.
const TRIES: usize = 5;
/// Descriptors that a balancer needs for itself.
const SPARE: usize = 200;
/// Descriptors of a connection through a balancer: one at each end.
const EACH: usize = 2;
/// Balancers' connections to the nodes come from this address and the following ones, so that each
/// pair of addresses has all ports to itself.
const SOURCE: [u8; 4] = [127, 0, 0, 20];

/// Where HAProxy is: what `tools/install-peers` made, else the system's own.
pub fn find() -> Option<PathBuf> {
    let unpacked = peer_directories().into_iter().map(|peers| peers.join("bin/haproxy"));
    unpacked.chain([PathBuf::from("/usr/sbin/haproxy")]).find(|path| path.is_file())
}

/// How many balancers so many connections need.
pub fn balancers(connections: usize, descriptors: usize) -> usize {
    connections.div_ceil((descriptors.saturating_sub(SPARE) / EACH).max(1)).max(1)
}

/// Starts a balancer before these nodes; `number` tells balancers apart.
pub fn start(
    stage: &Stage,
    haproxy: &Path,
    number: usize,
    nodes: &[SocketAddr],
    connections: usize,
) -> Fallible<Server> {
    let mut last = None;
    for _ in 0..TRIES {
        match start_once(stage, haproxy, number, nodes, connections) {
            Err(error) => last = Some(error),
            Ok(server) => return Ok(server),
        }
    }
    Err(last.unwrap_or_else(|| "HAProxy found no free port".into()))
}

fn start_once(
    stage: &Stage,
    haproxy: &Path,
    number: usize,
    nodes: &[SocketAddr],
    connections: usize,
) -> Fallible<Server> {
    let room = stage.room("haproxy")?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, sys::free_port()?));
    let file = room.join("haproxy.cfg");
    fs::write(&file, configuration(listen, number, nodes, connections))?;
    let mut command = Command::new(haproxy);
    // In the foreground: one process, which is the one that we end.
    command.arg("-db").arg("-f").arg(&file);
    let mut server = stage.spawn(command, &room, Orphaned::Kill)?;
    server.subscribe = listen;
    server.wait("get ready", |server| {
        Ok(TcpStream::connect_timeout(&server.subscribe, Duration::from_millis(200)).is_ok())
    })?;
    Ok(server)
}

fn configuration(listen: SocketAddr, number: usize, nodes: &[SocketAddr], connections: usize) -> String {
    let [a, b, c, d] = SOURCE;
    let source = Ipv4Addr::new(a, b, c, d + (number % 100) as u8);
    let mut out = format!(
        "global\n    maxconn {}\n    nbthread 1\n\
         defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 10m\n    timeout server 10m\n\
         frontend clients\n    bind {listen} backlog 4096\n    default_backend nodes\n\
         backend nodes\n    balance roundrobin\n    source {source}\n",
        connections + SPARE / 4
    );
    for (index, node) in nodes.iter().enumerate() {
        out += &format!("    server n{} {node}\n", index + 1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_need_more_balancers() {
        for (connections, descriptors, expected) in
            [(1, 20_000, 1), (9_900, 20_000, 1), (9_901, 20_000, 2), (16_000, 20_000, 2), (5, 100, 5)]
        {
            assert_eq!(balancers(connections, descriptors), expected, "{connections} {descriptors}");
        }
    }

    #[test]
    fn the_configuration_names_every_node() {
        let nodes = ["127.0.0.1:8080", "127.0.0.1:8081"].map(|node| node.parse().expect("an address"));
        let text = configuration("127.0.0.1:90".parse().expect("an address"), 1, &nodes, 950);
        for line in [
            "maxconn 1000",
            "bind 127.0.0.1:90 ",
            "source 127.0.0.21",
            "balance roundrobin",
            "mode tcp",
            "server n2 127.0.0.1:8081",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
