//! Peers that do not belong: refused with a reason, at no cost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pushup::ids::Origin;
use pushup::wire::frame::message::{Hello, Proof, VERSION};
use pushup::wire::frame::{Kind, encode};

use crate::node::Node;
use crate::process::resident_kib;
use crate::temp::TempDir;
use crate::{PATIENCE, wait_within};

/// By then it is refused, or a handshake that never ends is over.
const SOON: Duration = Duration::from_millis(2_500);
/// What strangers may cost, in KiB.
const GROWTH_KIB_MAX: u64 = 4 * 1024;

fn start(flags: &[&str]) -> Node {
    Node::start(&[&["--cluster-listen", "127.0.0.1:0"], flags].concat())
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.cluster.unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn hello(version: u32, cluster: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Hello {
        version,
        cluster: cluster.into(),
        node: "stranger".parse().unwrap(),
        origin: Origin(7),
        address: "127.0.0.1:9".parse().unwrap(),
        nonce: [3; 16],
        features: Vec::new(),
    }
    .write(&mut out);
    out
}

/// It is refused for this reason and cut, soon; and it is told why.
fn assert_refused(bytes: &[u8], reason: &str) {
    let dir = TempDir::new();
    let key = dir.write("key", "a secret of the cluster's");
    let node = start(&["--cluster-key-file", &key]);
    let mut stranger = connect(&node);
    let began = Instant::now();
    // It may be cut before it has said everything.
    let _ = stranger.write_all(bytes);
    let text = format!("is refused: {reason}");
    wait_within(SOON, &text, || node.running.stderr().contains(&text).then_some(()));
    let mut told = Vec::new();
    let _ = stranger.read_to_end(&mut told);
    assert!(began.elapsed() < SOON + Duration::from_secs(1), "it is not cut");
    assert_eq!(node.figure("publications_total"), 0);
    let cluster = node.get_admin("/cluster").json();
    assert_eq!(cluster["members"].as_array().unwrap().len(), 0, "{cluster}");
}

#[test]
fn a_peer_of_another_cluster_is_refused() {
    // With quotes in the text, which the log escapes.
    assert_refused(&hello(VERSION, "another"), r#"it belongs to the cluster \"another\""#);
}

#[test]
fn a_peer_of_another_version_is_refused() {
    for version in [0, VERSION + 1] {
        assert_refused(
            &hello(version, "pushup"),
            &format!("it speaks version {version}, this node version 1"),
        );
    }
}

#[test]
fn a_peer_without_the_key_is_refused() {
    let mut bytes = hello(VERSION, "pushup");
    Proof { mac: [9; 32] }.write(&mut bytes);
    assert_refused(&bytes, "it does not hold the cluster's key");
}

#[test]
fn a_peer_that_skips_the_handshake_is_refused() {
    let mut bytes = Vec::new();
    encode(Kind::ENTRY, 0, b"{}", b"text", &mut bytes);
    assert_refused(&bytes, "it sent another frame than a handshake has");
    let mut bytes = hello(VERSION, "pushup");
    encode(Kind::SNAPSHOT, 0, b"", b"", &mut bytes);
    assert_refused(&bytes, "it sent another frame than a handshake has");
}

#[test]
fn garbage_is_refused() {
    assert_refused(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", "a frame is too long");
    assert_refused(&[0; 64], "a frame is too short for its parts");
    let mut changed = hello(VERSION, "pushup");
    *changed.last_mut().unwrap() ^= 1;
    assert_refused(&changed, "a frame's checksum is wrong");
}

#[test]
fn a_peer_that_says_nothing_is_refused() {
    assert_refused(b"", "the handshake took too long");
    assert_refused(&hello(VERSION, "pushup")[..20], "the handshake took too long");
}

#[test]
fn strangers_cost_no_memory_however_many_and_however_long() {
    let node = start(&[]);
    let flood = || {
        let strangers: Vec<TcpStream> = (0..60).map(|_| connect(&node)).collect();
        for (number, mut stranger) in strangers.iter().enumerate() {
            let bytes = match number % 3 {
                0 => hello(VERSION, "another"),
                1 => 3_000u32.to_be_bytes().into_iter().chain([0; 2_000]).collect(),
                _ => vec![0x00; 1 << 20],
            };
            let _ = stranger.set_write_timeout(Some(Duration::from_millis(100)));
            let _ = stranger.write_all(&bytes);
        }
        strangers
    };
    // The first find buffers that are not there yet.
    drop(flood());
    node.wait_figure("publications_total", 0);
    let before = resident_kib(node.pid());
    for _ in 0..20 {
        drop(flood());
    }
    let growth = resident_kib(node.pid()).saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
    node.publish("a", "still there");
}

#[test]
fn nodes_with_different_keys_never_link_and_say_why() {
    let dir = TempDir::new();
    let (one, two) =
        (dir.write("one", "the first of two secrets"), dir.write("two", "the second of two secrets"));
    let first = start(&["--cluster-key-file", &one, "--node-id", "first"]);
    let address: SocketAddr = first.cluster.unwrap();
    let second = start(&["--cluster-key-file", &two, "--node-id", "second", "--peer", &address.to_string()]);
    for node in [&first, &second] {
        let reason = "is refused: it does not hold the cluster's key";
        wait_within(SOON, reason, || node.running.stderr().contains(reason).then_some(()));
    }
    for node in [&first, &second] {
        let cluster = node.get_admin("/cluster").json();
        assert_eq!(cluster["members"].as_array().unwrap().len(), 0, "{cluster}");
        assert!(!node.running.stderr().contains("stands"), "{}", node.running.stderr());
    }
    // Who was told of others and reaches none does not serve.
    first.publish("a", "not for the other");
    assert_eq!(first.subscriber().get("/readyz").status, 200);
    assert_eq!(second.subscriber().get("/readyz").status, 503);
    assert_eq!(second.subscriber().get("/sub/a?timeout=0").status, 503);
}
