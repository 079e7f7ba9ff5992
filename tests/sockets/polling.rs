//! One poll at a time, in all the ways in which it can go.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::node::Node;
use crate::wait_for;

#[test]
fn a_held_poll_is_answered_by_a_publication() {
    let node = Node::start(&[]);
    let mut poll = node.hold("/sub/news");
    let receipt = node.publish("news", "hello");
    assert_eq!(receipt["subscribers"], 1);
    let answer = poll.read();
    assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("application/json")));
    let message = &answer.json()["messages"][0];
    assert_eq!(message["id"], receipt["id"]);
    assert_eq!(message["time"], receipt["time"]);
    assert_eq!(message["channels"], json!(["news"]));
    assert_eq!((&message["type"], &message["data"]), (&json!("text/plain"), &json!("hello")));
    assert!(!answer.closes());
    poll.assert_quiet();
    assert_eq!(node.figure("held_polls"), 0);
}

#[test]
fn what_is_cached_is_answered_at_once_and_a_cursor_goes_on_after_it() {
    let node = Node::start(&[]);
    for text in ["one", "two"] {
        node.publish("news", text);
    }
    let mut client = node.subscriber();
    let first = client.get("/sub/news");
    assert_eq!(first.data(), ["one", "two"]);
    // The same connection polls again from where it was, and is held.
    client.send_get(&format!("/sub/news?after={}", first.cursor()));
    node.wait_figure("held_polls", 1);
    node.publish("news", "three");
    let second = client.read();
    assert_eq!(second.data(), ["three"]);
    let nothing = client.get(&format!("/sub/news?timeout=0&after={}", second.cursor()));
    assert_eq!(nothing.json()["messages"], json!([]));
}

#[test]
fn a_poll_that_ends_without_news_is_an_ordinary_answer() {
    let node = Node::start(&[]);
    let began = Instant::now();
    let mut client = node.subscriber();
    let answer = client.get("/sub/quiet?timeout=1");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(990) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!((answer.status, &answer.json()["messages"]), (200, &json!([])));
    assert!(!answer.closes());
    // Its cursor misses nothing that comes between two polls.
    node.publish("quiet", "between");
    let next = client.get(&format!("/sub/quiet?after={}", answer.cursor()));
    assert_eq!(next.data(), ["between"]);
}

#[test]
fn a_preferred_wait_is_honoured_and_told() {
    let node = Node::start(&[]);
    let answer = node.subscriber().get_with("/sub/quiet", "Prefer: wait=0\r\n");
    assert_eq!(answer.field("Preference-Applied"), Some("wait"));
    let began = Instant::now();
    let capped = Node::start(&["--poll-timeout", "1", "--poll-timeout-max", "1"]);
    assert_eq!(capped.subscriber().get("/sub/quiet?timeout=600").status, 200);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::start(&[]);
    node.publish("news", "old");
    let mut client = node.subscriber();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    // The second is held; the third must wait for it although it could be answered.
    client.send([get("/sub/news"), get("/sub/held"), get("/livez"), get("/nowhere")].concat());
    assert_eq!(client.read().data(), ["old"]);
    node.wait_figure("held_polls", 1);
    client.assert_quiet();
    node.publish("held", "new");
    assert_eq!(client.read().data(), ["new"]);
    assert_eq!(client.read().text(), "alive\n");
    assert_eq!(client.read().status, 404);
    client.assert_quiet();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let node = Node::start(&[]);
    let mut client = node.subscriber();
    for byte in b"GET /sub/a?timeout=0 HTTP/1.1\r\nHost: test\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.read().status, 200);
    let mut publisher = node.publisher();
    for byte in b"POST /pub/a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
    {
        publisher.send([*byte]);
    }
    assert_eq!(publisher.read().status, 201);
    assert_eq!(client.get("/sub/a").data(), ["abcdefg"]);
}

#[test]
fn http_1_0_is_closed_unless_it_asks_otherwise() {
    let node = Node::start(&[]);
    node.publish("news", "hello");
    let mut client = node.subscriber();
    client.send("GET /sub/news HTTP/1.0\r\n\r\n");
    let answer = client.read();
    assert_eq!(answer.data(), ["hello"]);
    assert!(answer.closes());
    client.read_end();
    let mut client = node.subscriber();
    client.send("GET /sub/news HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.read().field("Connection"), Some("keep-alive"));
    client.send("GET /sub/held HTTP/1.0\r\n\r\n");
    node.wait_figure("held_polls", 1);
    node.publish("held", "news");
    assert_eq!(client.read().data(), ["news"]);
    client.read_end();
}

#[test]
fn a_close_that_is_asked_for_is_made() {
    let node = Node::start(&[]);
    let mut client = node.subscriber();
    let answer = client.get_with("/livez", "Connection: close\r\n");
    assert!(answer.closes());
    client.read_end();
}

#[test]
fn head_is_get_without_its_body() {
    let node = Node::start(&[]);
    node.publish("news", "hello");
    let mut client = node.subscriber();
    client.send("HEAD /sub/news HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.read_head();
    let whole = client.get("/sub/news");
    assert_eq!(head.field("Content-Length"), Some(whole.body.len().to_string().as_str()));
}

#[test]
fn a_client_that_leaves_is_held_no_longer() {
    let node = Node::start(&[]);
    let (left, half, reset) = (node.hold("/sub/a"), node.hold("/sub/a,b"), node.hold("/sub/b"));
    drop(left);
    node.wait_figure("held_polls", 2);
    // A proxy whose client left says so in this way.
    let mut half = half;
    half.half_close();
    node.wait_figure("held_polls", 1);
    half.read_end();
    let socket = socket2::SockRef::from(&reset.stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    node.wait_figure("held_polls", 0);
    assert_eq!(node.figure("polls_abandoned_total"), 3);
    assert_eq!(node.publish("a,b", "nobody")["subscribers"], 0);
    wait_for("the connections to go", || (node.figure("connections") == 1).then_some(()));
}

#[test]
fn several_channels_make_one_poll_and_a_message_comes_once() {
    let node = Node::start(&[]);
    let mut poll = node.hold("/sub/a,b,c");
    node.publish("b,c,d", "both");
    let answer = poll.read();
    assert_eq!(answer.data(), ["both"]);
    assert_eq!(answer.json()["messages"][0]["channels"], json!(["b", "c"]));
    poll.send_get(&format!("/sub/a,b,c?after={}&limit=1", answer.cursor()));
    node.wait_figure("held_polls", 1);
    node.publish("a", "alone");
    assert_eq!(poll.read().data(), ["alone"]);
}

#[test]
fn a_held_poll_costs_the_kernel_no_timer() {
    let node = Node::start(&[]);
    let poll = node.hold("/sub/a");
    let ours = poll.stream.local_addr().unwrap().port();
    let theirs = node.public.port();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().find(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        fields[1].ends_with(&format!(":{theirs:04X}")) && fields[2].ends_with(&format!(":{ours:04X}"))
    });
    // "02:" would be TCP's keep-alive: polls that began together would be probed together, and many lost.
    let timer = row.expect("the node's side of the connection").split_whitespace().nth(5).unwrap();
    assert!(timer.starts_with("00:"), "{timer}");
}
