//! `Expect: 100-continue`, and bodies behind answers that are not taken.

use super::*;

const HEAD: &str = "POST /pub/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n";

#[test]
fn the_body_is_asked_for_once() {
    for (fields, body) in [
        ("Content-Length: 5\r\n\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let mut world = World::new();
        let who = world.connect(Door::Publisher);
        world.send(who, HEAD);
        assert_eq!(world.received(who), b"");
        world.send(who, fields);
        assert_eq!(world.received(who), b"HTTP/1.1 100 Continue\r\n\r\n");
        body.bytes().for_each(|byte| world.send(who, [byte]));
        let statuses: Vec<_> = world.take_all(who).iter().map(|response| response.status).collect();
        assert_eq!(statuses, [100, 201]);
        assert_eq!(world.get("/sub/a").answer().texts(), ["hello"]);
        world.finish();
    }
}

#[test]
fn a_body_that_is_there_or_empty_is_not_asked_for() {
    for rest in ["Content-Length: 5\r\n\r\nh", "Content-Length: 0\r\n\r\n"] {
        let mut world = World::new();
        let who = world.connect(Door::Publisher);
        world.send(who, format!("{HEAD}{rest}"));
        assert!(!world.received(who).starts_with(b"HTTP/1.1 100"), "{rest}");
        world.finish();
    }
}

#[test]
fn a_body_that_will_not_be_read_is_not_asked_for() {
    for (line, fields, status) in [
        ("POST /pub/a", "Content-Length: 65537\r\n", 413),
        ("POST /nothing", "Content-Length: 5\r\n", 404),
        ("PUT /pub/a", "Content-Length: 5\r\n", 405),
        ("GET /stats", "Content-Length: 5\r\n", 400),
    ] {
        let mut world = World::with(|settings| settings.body_bytes_max = 65_536);
        let who = world.connect(Door::Publisher);
        world.send(who, format!("{line} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n{fields}\r\n"));
        let response = world.take(who);
        assert!(response.status == status && response.closes() && world.is_over(who), "{line}");
        world.finish();
    }
}

#[test]
fn another_expectation_is_417() {
    publisher(
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nExpect: gold\r\nContent-Length: 1\r\n\r\nx",
        417,
        Then::Close,
    );
    publisher("POST /pub/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue, gold\r\n\r\n", 417, Then::Close);
    let old = "POST /pub/a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    publisher(old, 201, Then::Close);
}

#[test]
fn with_an_expectation_any_split_gives_the_same() {
    publisher(format!("{HEAD}Content-Length: 5\r\n\r\nhello"), 201, Then::KeepAlive);
    publisher(format!("{HEAD}Connection: close\r\nContent-Length: 5\r\n\r\nhello"), 201, Then::Close);
    publisher(
        format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        201,
        Then::KeepAlive,
    );
}

#[test]
fn a_body_behind_an_answer_that_is_not_taken_is_kept_whole() {
    let length = "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let chunks =
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for post in [length, chunks] {
        let pipeline = [GOOD, post.as_bytes(), GOOD].concat();
        for at in GOOD.len() + 1..pipeline.len() {
            let mut world = World::new();
            let who = world.connect(Door::Publisher);
            world.set_window(who, 10);
            world.send(who, &pipeline[..at]);
            world.send(who, &pipeline[at..]);
            world.set_window(who, usize::MAX);
            let statuses: Vec<_> = world.take_all(who).iter().map(|response| response.status).collect();
            assert_eq!(statuses, [200, 201, 200], "split at {at}: {post:?}");
            assert_eq!(world.get("/sub/a").answer().texts(), ["hello"], "{at}");
            world.finish();
        }
    }
}

#[test]
fn a_100_that_is_not_taken_at_once_does_not_lose_the_body() {
    let mut world = World::new();
    let who = world.connect(Door::Publisher);
    world.set_window(who, 0);
    world.send(who, format!("{HEAD}Content-Length: 5\r\n\r\n"));
    world.send(who, "hel");
    world.set_window(who, 4);
    world.set_window(who, usize::MAX);
    world.send(who, "lo");
    let statuses: Vec<_> = world.take_all(who).iter().map(|response| response.status).collect();
    assert_eq!(statuses, [100, 201]);
    assert_eq!(world.get("/sub/a").answer().texts(), ["hello"]);
    world.finish();
}
