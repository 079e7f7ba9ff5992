//! Behind proxies: PROXY headers, `X-Forwarded-For`, and how many polls a client may have.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http::{Answer, Client};
use crate::node::{Node, fixed_addresses};
use crate::process::{Running, bare_command};
use crate::temp::TempDir;
use crate::wait_for;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
/// The same in version 2, with an extension.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\x00\x01x";
/// A health check of the proxy's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const ONE_POLL: [&str; 2] = ["--polls-per-client-max", "1"];

fn proxied(flags: &[&str]) -> Node {
    Node::start(&[&["--proxy-listen", "127.0.0.1:0"], flags].concat())
}

/// A connection to the proxies' listener that begins with these bytes.
fn proxy(node: &Node, header: &[u8]) -> Client {
    let mut client = Client::connect(node.proxied.unwrap());
    client.send(header);
    client
}

#[track_caller]
fn check_limited(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.field("Retry-After"), Some("2"));
    assert_eq!(answer.json()["status"], 429);
}

#[test]
fn both_versions_of_the_proxy_protocol() {
    let node = proxied(&[]);
    for header in [LINE, BINARY, LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = proxy(&node, header);
        assert_eq!(client.get("/sub/news?timeout=0").status, 200);
        assert_eq!(client.get("/healthz").status, 200);
        assert_eq!(client.get("/pub/news").status, 404);
    }
    assert_eq!(node.figure("proxies_refused_total"), 0);
}

#[test]
fn a_header_in_segments() {
    let node = proxied(&[]);
    for header in [LINE, BINARY] {
        for cut in [1, 12, header.len() - 1] {
            let mut client = proxy(&node, &header[..cut]);
            // What was sent before this is asked has been read when it is answered.
            node.figure("connections");
            client.send(&header[cut..]);
            assert_eq!(client.get("/sub/news?timeout=0").status, 200);
        }
    }
}

#[test]
fn without_a_header_the_connection_is_closed() {
    let node = proxied(&[]);
    let mut client = proxy(&node, b"GET /sub/news?timeout=0 HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_until_cut(), 0);
    node.running.wait_stderr("it does not begin with a PROXY header");
    let mut client = proxy(&node, b"PROXY TCP4 192.0.2.7.1 ");
    assert_eq!(client.read_until_cut(), 0);
    assert_eq!(node.figure("proxies_refused_total"), 2);
}

#[test]
fn a_header_at_an_ordinary_listener_is_a_malformed_request() {
    let node = proxied(&[]);
    for header in [LINE, BINARY] {
        let mut client = node.subscriber();
        client.send(header);
        assert_eq!(client.read().status, 400);
    }
}

#[test]
fn proxies_of_other_networks_are_turned_away() {
    let node = proxied(&["--trusted-proxy", "10.0.0.0/8"]);
    let mut client = Client::connect(node.proxied.unwrap());
    // It may be closed already.
    let _ = client.stream.write(LINE);
    assert_eq!(client.read_until_cut(), 0);
    node.running.wait_stderr("127.0.0.1 is no trusted proxy");
    assert_eq!(node.figure("proxies_refused_total"), 1);
    assert_eq!(node.subscriber().get("/sub/news?timeout=0").status, 200);
}

#[test]
fn beyond_its_limit_a_client_is_told_to_come_later() {
    let node = proxied(&ONE_POLL);
    let held = node.hold("/sub/news?after=now");
    let mut second = node.subscriber();
    check_limited(&second.get("/sub/news?after=now"));
    // Another client, behind a proxy.
    let mut third = proxy(&node, LINE);
    third.send_get("/sub/news?after=now");
    node.wait_figure("held_polls", 2);
    check_limited(&proxy(&node, BINARY).get("/sub/news?after=now"));
    assert_eq!(node.figure("requests_limited_total"), 2);
    drop(held);
    node.wait_figure("held_polls", 1);
    second.send_get("/sub/news?after=now");
    node.wait_figure("held_polls", 2);
    node.publish("news", "hello");
    assert_eq!(second.read().data(), ["hello"]);
    assert_eq!(third.read().data(), ["hello"]);
    assert_eq!(node.subscriber().get("/sub/news").data(), ["hello"]);
}

#[test]
fn forwarded_clients_of_trusted_proxies_and_of_others() {
    for (network, believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let node = Node::start(&[&ONE_POLL[..], &["--trusted-proxy", network]].concat());
        let mut first = node.subscriber();
        first.send("GET /sub/news HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n\r\n");
        node.wait_figure("held_polls", 1);
        let ask = |client: &str| {
            let field = format!("X-Forwarded-For: {client}\r\n");
            node.subscriber().get_with("/sub/news?timeout=0", &field).status
        };
        assert_eq!(ask("192.0.2.7"), 429);
        assert_eq!(ask("1.1.1.1"), if believed { 200 } else { 429 });
    }
}

// -- Real HAProxy ------------------------------------------------------------------------

/// HAProxy before a node; what it says is in the test's output if that fails.
struct Haproxy {
    address: SocketAddr,
    _running: Running,
    _dir: TempDir,
}

impl Haproxy {
    /// None if it is not installed; `server` is what stands after the server's name.
    fn start(mode: &str, server: &str) -> Option<Haproxy> {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/haproxy");
        if !program.is_file() {
            let required = ["CI", "REQUIRE_CLIENTS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!required, "HAProxy is not installed: tools/install-peers");
            let _ = writeln!(std::io::stderr(), "note: HAProxy is not installed; its test is passed over");
            return None;
        }
        let (dir, (address, _)) = (TempDir::new(), fixed_addresses());
        let forward = if mode == "http" { "option forwardfor" } else { "" };
        let config = format!(
            "global\n maxconn 100\ndefaults\n mode {mode}\n {forward}\n timeout connect 5s\n timeout client 60s\n \
             timeout server 60s\nlisten push\n bind {address}\n server node {server}\n"
        );
        let file = dir.write("haproxy.cfg", &config);
        let mut running = Running::spawn(bare_command(program.to_str().unwrap()).args(["-db", "-f", &file]));
        wait_for("HAProxy to listen", || {
            let ended = running.has_ended();
            assert!(ended.is_none(), "HAProxy ended, {ended:?}: {}", running.stderr());
            std::net::TcpStream::connect(address).ok()
        });
        Some(Haproxy { address, _running: running, _dir: dir })
    }
}

/// Two clients from two addresses: each has its own poll and no more.
#[track_caller]
fn check_two_clients(node: &Node, address: SocketAddr, fields: &str) {
    let from = |local| Client::connect_from(local, address);
    let request = format!("GET /sub/news?after=now HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    let mut held = [from([127, 0, 0, 2]), from([127, 0, 0, 3])];
    for (at, client) in held.iter_mut().enumerate() {
        client.send(&request);
        node.wait_figure("held_polls", at as u64 + 1);
    }
    let mut again = from([127, 0, 0, 2]);
    again.send(&request);
    assert_eq!(again.read().status, 429);
    node.publish("news", "hello");
    held.iter_mut().for_each(|client| assert_eq!(client.read().data(), ["hello"]));
    again.send(&request);
    node.wait_figure("held_polls", 1);
    node.publish("news", "more");
    assert_eq!(again.read().data(), ["more"]);
    node.wait_figure("held_polls", 0);
}

#[test]
fn haproxy_with_send_proxy() {
    let node = proxied(&ONE_POLL);
    let server = format!("{} send-proxy check inter 100ms", node.proxied.unwrap());
    let Some(haproxy) = Haproxy::start("tcp", &server) else { return };
    check_two_clients(&node, haproxy.address, "");
    assert_eq!(node.figure("proxies_refused_total"), 0);
}

#[test]
fn haproxy_with_send_proxy_v2() {
    let node = proxied(&ONE_POLL);
    let server = format!(
        "{} send-proxy-v2 proxy-v2-options unique-id,crc32c check inter 100ms",
        node.proxied.unwrap()
    );
    let Some(haproxy) = Haproxy::start("tcp", &server) else { return };
    check_two_clients(&node, haproxy.address, "");
    assert_eq!(node.figure("proxies_refused_total"), 0);
}

/// It adds a field of its own behind the one that the client invented. The clients' own network
/// must not be trusted, only HAProxy's address.
#[test]
fn haproxy_with_forwardfor() {
    let node = Node::start(&[&ONE_POLL[..], &["--trusted-proxy", "127.0.0.1"]].concat());
    let Some(haproxy) = Haproxy::start("http", &node.public.to_string()) else { return };
    check_two_clients(&node, haproxy.address, "");
    check_two_clients(&node, haproxy.address, "X-Forwarded-For: 203.0.113.9\r\n");
}
