//! Signals: the end in good order, the end at once, and a new configuration.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::http::Client;
use crate::node::{Launch, Node};
use crate::temp::TempDir;
use crate::wait_for;

/// Begins the end of a node and waits until it has begun.
fn begin_drain(node: &Node) {
    node.running.signal(Signal::TERM);
    node.running.wait_stderr("stopping");
}

#[test]
fn a_draining_node_lets_its_polls_go_in_good_order() {
    const POLLS: u64 = 30;
    let node = Node::start(&["--drain-time", "3"]);
    let mut polls: Vec<Client> = Vec::new();
    for number in 0..POLLS {
        let channels = if number % 3 == 0 { "a,b" } else { "a" };
        let mut poll = node.subscriber();
        poll.send_get(&format!("/sub/{channels}?after=now"));
        polls.push(poll);
    }
    node.wait_figure("held_polls", POLLS);
    let began = Instant::now();
    begin_drain(&node);
    // New connections are still taken, and told that there is no future here.
    let health = node.subscriber().get("/healthz");
    assert_eq!((health.status, health.closes()), (404, true));
    assert_eq!(node.subscriber().get("/readyz").status, 503);
    assert_eq!(node.subscriber().get("/livez").status, 200);
    for mut poll in polls {
        let answer = poll.read();
        assert_eq!((answer.status, &answer.json()["messages"]), (200, &json!([])));
        assert!(answer.closes());
        poll.read_end();
    }
    let mut node = node;
    let output = node.running.end_within(Duration::from_secs(10));
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(0));
    // Spread over the time that there is, and over as soon as the last has gone.
    assert!(took > Duration::from_millis(1_500) && took < Duration::from_secs(6), "{took:?}");
    assert!(!node.dir.file("ready").exists());
}

#[test]
fn a_publication_still_reaches_who_waits_on_a_draining_node() {
    let node = Node::start(&["--drain-time", "5"]);
    let mut polls: Vec<Client> = (0..20).map(|_| node.hold("/sub/news")).collect();
    begin_drain(&node);
    let receipt = node.publish("news", "last words");
    let mut told = 0;
    for poll in &mut polls {
        let answer = poll.read();
        assert!(answer.closes());
        told += answer.data().len() as u64;
    }
    assert_eq!(receipt["subscribers"], told);
    assert!(told > 0);
}

#[test]
fn an_idle_node_ends_at_once() {
    let node = Node::start(&["--drain-time", "60"]);
    let began = Instant::now();
    assert_eq!(node.stop().status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_interrupt_ends_like_a_termination() {
    let mut node = Node::start(&[]);
    node.running.signal(Signal::INT);
    assert_eq!(node.running.end_within(Duration::from_secs(10)).status.code(), Some(0));
}

#[test]
fn who_stays_is_cut_when_the_time_is_up() {
    let node = Node::start(&["--drain-time", "1"]);
    let mut stalled = node.publisher();
    stalled.send("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nxx");
    let began = Instant::now();
    assert_eq!(node.stop().status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    stalled.read_until_cut();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut node = Node::start(&["--drain-time", "600"]);
    let polls: Vec<Client> = (0..50).map(|_| node.hold("/sub/a")).collect();
    begin_drain(&node);
    let began = Instant::now();
    node.running.signal(Signal::TERM);
    let output = node.running.end_within(Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(output.status.code(), Some(0));
    drop(polls);
}

#[test]
fn a_reload_changes_limits_and_keys_and_keeps_what_is_held() {
    let dir = TempDir::new();
    let token = dir.write("token", "first");
    let content = |bytes: u32| format!("body-bytes-max = {bytes}\npublish-token-file = \"{token}\"\n");
    let file = dir.write("c.toml", &content(10));
    let node = Launch::new(&["-c", &file]).start();
    let mut poll = node.subscriber();
    poll.send_get("/sub/a");
    let post = |token: &str, len: usize| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        node.publisher().post_with("/pub/b", &fields, &vec![b'x'; len]).status
    };
    assert_eq!((post("first", 10), post("first", 11), post("second", 1)), (201, 413, 401));

    dir.write("c.toml", &content(20));
    dir.write("token", "second");
    node.running.signal(Signal::HUP);
    wait_for("the new limit", || (post("second", 20) == 201).then_some(()));
    assert_eq!((post("second", 21), post("first", 1)), (413, 401));

    // A bad file changes nothing and is told.
    dir.write("c.toml", "body-bytes-max = many\n");
    node.running.signal(Signal::HUP);
    node.running.wait_stderr("not reloaded");
    assert_eq!((post("second", 20), post("second", 21)), (201, 413));
    assert_eq!(node.publisher().post_with("/pub/a", "Authorization: Bearer second\r\n", b"x").status, 201);
    assert_eq!(poll.read().data(), ["x"]);
}

#[test]
fn a_reload_changes_what_is_logged() {
    let dir = TempDir::new();
    let file = dir.write("c.toml", "log-level = \"error\"\n");
    let node = Launch::new(&["-c", &file]).start();
    assert_eq!(node.running.stderr(), "");
    fs::write(dir.file("c.toml"), "log-level = \"info\"\n").unwrap();
    node.running.signal(Signal::HUP);
    node.running.wait_stderr("configuration reloaded");
}

#[test]
fn the_supervisor_is_told_of_readiness_and_of_the_end() {
    let dir = TempDir::new();
    let path = dir.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let mut heard = [0; 64];
    let mut hear = || {
        // A process that was stopped for a moment waits anew.
        let interrupted = |read: &std::io::Result<usize>| {
            read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted)
        };
        let len = std::iter::repeat_with(|| socket.recv(&mut heard)).find(|read| !interrupted(read));
        let len = len.unwrap().unwrap();
        String::from_utf8(heard[..len].to_vec()).unwrap()
    };
    let node = Launch::default().env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    assert_eq!(hear(), "READY=1");
    node.running.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
}
