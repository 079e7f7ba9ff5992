//! A node of a cluster from outside: how it is told, and what strangers can do to it.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::node::{Launch, Node, run_pushup};
use crate::process::{cpu_ticks, exhaust_descriptors};
use crate::temp::TempDir;
use crate::{PATIENCE, wait_for};

const KEY: &str = "sixteen bytes or more";

/// A node of a cluster on loopback.
fn start(flags: &[&str]) -> Node {
    Node::start(&[&["--cluster-listen", "127.0.0.1:0"], flags].concat())
}

fn address(node: &Node) -> SocketAddr {
    node.cluster.expect("the ready file names the cluster's address")
}

/// It serves as if nothing had happened.
fn assert_serves(node: &Node) {
    assert_eq!(node.subscriber().get("/livez").status, 200);
    node.publish("a", "still there");
    assert!(node.running.stderr().lines().all(|line| !line.contains("panic")), "{}", node.running.stderr());
}

/// Reads to the end, which must come.
fn assert_cut(mut stranger: &TcpStream) {
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reads = std::iter::repeat_with(|| stranger.read(&mut [0; 4096]));
    let goes_on = |error: &Error| error.kind() == ErrorKind::Interrupted;
    let end = reads.find(|read| !matches!(read, Ok(1..)) && !read.as_ref().is_err_and(goes_on)).unwrap();
    assert!(!end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it was not cut");
}

/// Hundredths of a second of CPU time that a node takes in a second.
fn ticks_in_a_second(node: &Node) -> u64 {
    let before = cpu_ticks(node.pid());
    let began = Instant::now();
    wait_for("a second to pass", || (began.elapsed() > Duration::from_secs(1)).then_some(()));
    cpu_ticks(node.pid()) - before
}

#[test]
fn without_a_key_it_does_not_start_beyond_loopback() {
    for flags in [
        &["--cluster-listen", "0.0.0.0:0", "--cluster-advertise", "127.0.0.1:9"][..],
        &["--cluster-listen", "127.0.0.1:0", "--peer", "192.0.2.1:7946"],
    ] {
        for rest in [&["--check-config"][..], &["--listen", "127.0.0.1:0", "--publish-listen", "127.0.0.1:0"]]
        {
            let output = run_pushup(&[flags, rest].concat());
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0), "{stderr}");
            assert!(stderr.contains("needs --cluster-key-file"), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn a_cluster_that_cannot_be_is_78_and_says_why() {
    let dir = TempDir::new();
    let short = dir.write("short", "  fifteen bytes..\n");
    let key = dir.write("key", KEY);
    for (flags, part) in [
        (&["--cluster-listen", "127.0.0.1:0", "--cluster-key-file", &short][..], "at least 16 bytes"),
        (&["--cluster-listen", "127.0.0.1:0", "--cluster-key-file", "/nowhere"], "/nowhere"),
        (&["--cluster-listen", "127.0.0.1:0", "--peer", "no.such.invalid:1"], "no.such.invalid:1"),
        (&["--cluster-listen", "0.0.0.0:7946", "--cluster-key-file", &key], "--cluster-advertise"),
        (&["--peer", "127.0.0.1:1"], "\"peer\" is for a cluster"),
    ] {
        let output = run_pushup(&[&["--check-config"], flags].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{flags:?}: {stderr}");
        assert!(stderr.contains(part), "{flags:?}: {stderr}");
    }
    let fine = [
        "--cluster-listen",
        "0.0.0.0:7946",
        "--cluster-advertise",
        "127.0.0.1:9",
        "--cluster-key-file",
        &key,
    ];
    assert!(run_pushup(&[&["--check-config"], &fine[..]].concat()).status.success());
}

#[test]
fn a_port_that_is_taken_for_either_is_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    for address in [taken.local_addr().unwrap(), datagrams.local_addr().unwrap()] {
        let text = address.to_string();
        let rest = ["--listen", "127.0.0.1:0", "--publish-listen", "127.0.0.1:0"];
        let output = run_pushup(&[&["--cluster-listen", &text], &rest[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{stderr}");
        assert!(stderr.contains(&text) && stderr.contains("--cluster-listen"), "{stderr}");
    }
}

#[test]
fn it_says_who_it_is_and_where() {
    let dir = TempDir::new();
    let key = dir.write("key", KEY);
    let node = start(&["--cluster-key-file", &key, "--node-id", "left", "--peer", "127.0.0.1:9"]);
    let line = format!(
        "node left of cluster pushup, with a key, reached at {}; peers to begin with: 1",
        address(&node)
    );
    node.running.wait_stderr(&line);
    assert!(UdpSocket::bind(address(&node)).is_err(), "datagrams are taken at the same port");
    assert!(!node.running.stderr().contains(KEY));
    assert_eq!(Node::start(&[]).cluster, None);
}

#[test]
fn a_stranger_who_connects_does_no_harm() {
    let node = start(&[]);
    let garbage: Vec<u8> = (0..200_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
    let strangers: Vec<TcpStream> = (0..50)
        .map(|number| {
            let mut stranger = TcpStream::connect(address(&node)).unwrap();
            stranger.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            // It may be cut at any point, which is as it should be.
            let _ = match number % 4 {
                0 => Ok(()),
                1 => stranger.write_all(&garbage),
                2 => stranger.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"),
                _ => stranger.write_all(&[0xff; 4]),
            };
            stranger
        })
        .collect();
    assert_serves(&node);
    // Whoever sent what is not a frame is cut.
    assert_cut(&strangers[1]);
    drop(strangers);
    assert_serves(&node);
}

#[test]
fn a_datagram_from_a_stranger_does_no_harm() {
    let node = start(&[]);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for len in [0, 1, 4, 100, 1_400, 1_500, 1_501, 9_000, 60_000].into_iter().cycle().take(900) {
        let bytes: Vec<u8> = (0..len).map(|n| (n * 31) as u8).collect();
        stranger.send_to(&bytes, address(&node)).unwrap();
    }
    drop(stranger);
    assert_serves(&node);
}

#[test]
fn with_peers_that_are_not_there_it_waits_and_rests() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let node = start(&["--peer", &gone, "--peer", "127.0.0.1:1"]);
    // Alive, but not one that a proxy should send anybody to.
    assert_eq!(node.subscriber().get("/livez").status, 200);
    assert_eq!(node.subscriber().get("/healthz").status, 503);
    let refused = node.subscriber().get("/sub/a");
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("2")));
    let used = ticks_in_a_second(&node);
    assert!(used < 20, "{used} hundredths of a second of CPU time in one");
    let began = Instant::now();
    assert_eq!(node.stop().status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[test]
fn without_descriptors_other_nodes_wait_and_the_cpu_rests() {
    let node = start(&["--shards", "1"]);
    let held = node.hold("/sub/a?after=now");
    wait_for("the asking connections to go", || (node.figure("connections") == 2).then_some(()));
    exhaust_descriptors(node.pid());
    let mut stranger = TcpStream::connect(address(&node)).unwrap();
    stranger.write_all(&[0xff; 4096]).unwrap();
    let used = ticks_in_a_second(&node);
    assert!(used < 20, "{used} hundredths of a second of CPU time in one");
    // Once there is room, it is the stranger's, who is heard and cut.
    drop(held);
    assert_cut(&stranger);
}

#[test]
fn a_reload_leaves_the_cluster_as_it_is_and_says_so() {
    let dir = TempDir::new();
    let key = dir.write("key", KEY);
    let content =
        |name: &str| format!("node-id = \"{name}\"\nlog-level = \"info\"\ncluster-key-file = \"{key}\"\n");
    let file = dir.write("c.toml", &content("left"));
    let node = Launch::new(&["--cluster-listen", "127.0.0.1:0", "-c", &file]).start();
    let reloads = |node: &Node| node.running.stderr().matches("configuration reloaded").count();
    let warnings = |node: &Node| node.running.stderr().matches("needs a restart").count();
    let reload = |expect: usize| {
        let before = reloads(&node);
        node.running.signal(Signal::HUP);
        wait_for("the reload", || (reloads(&node) > before).then_some(()));
        wait_for("a warning or none", || (warnings(&node) == expect).then_some(()));
    };
    reload(0);
    dir.write("c.toml", &content("right"));
    reload(1);
    dir.write("c.toml", &content("left"));
    dir.write("key", "another secret that is long enough");
    reload(2);
    assert_serves(&node);
}
