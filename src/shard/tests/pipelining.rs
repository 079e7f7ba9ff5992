//! Many requests on one connection: in order, with bounded memory, whatever stands in
//! the way.

use super::harness::{World, request};
use super::*;
use crate::limits::{OUTPUT_BYTES_MAX, SCRATCH_BYTES};

#[test]
fn keep_alive_serves_one_request_after_another() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    for _ in 0..100 {
        world.send(who, request("GET /livez", "", ""));
        assert_eq!(world.take(who).text(), "alive\n");
    }
    assert_eq!(world.shard.sides.len(), 0);
    world.finish();
}

#[test]
fn answers_come_in_the_order_of_their_requests_with_polls_among_them() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    let targets = ["/livez", "/sub/a", "/nothing", "/sub/b?after=now", "/sub/a,b?timeout=0", "/healthz"];
    world.send(who, targets.map(|target| request(&format!("GET {target}"), "", "")).concat());
    assert_eq!(world.take(who).text(), "alive\n");
    assert!(world.is_held(who));
    world.publish("b", "not yet");
    assert_eq!(world.received(who), b"", "the poll on a stands before");
    world.publish("a", "first");
    let responses = world.take_all(who);
    assert_eq!(responses.len(), 2);
    assert_eq!(responses[0].answer().texts(), ["first"]);
    assert_eq!(responses[1].status, 404);
    world.publish("b", "second");
    let responses = world.take_all(who);
    assert_eq!(responses.len(), 3);
    assert_eq!(responses[0].answer().texts(), ["second"]);
    assert_eq!(responses[1].answer().texts(), ["not yet", "first", "second"]);
    assert_eq!(responses[2].text(), "healthy\n");
    world.finish();
}

#[test]
fn a_thousand_requests_with_polls_among_them_are_answered_in_order() {
    for scratch in [SCRATCH_BYTES, 1_000, 61] {
        let mut world = World::new();
        world.scratch = scratch;
        let who = world.connect(Door::Public);
        let mut sent = Vec::new();
        for n in 0..1_000 {
            let target = match n % 10 {
                3 => format!("/sub/wait?after=now&n={n}"),
                n if n % 2 == 0 => "/livez".into(),
                _ => format!("/sub/c{n}%00"),
            };
            sent.extend(request(&format!("GET {target}"), "", ""));
        }
        let total = sent.len();
        world.send(who, sent);
        let mut statuses = Vec::new();
        let mut memory = 0;
        for round in 0..100 {
            statuses.extend(world.take_all(who).iter().map(|response| response.status));
            assert!(world.is_held(who), "{round}");
            memory = memory.max(world.shard.memory_bytes());
            assert_eq!(world.publish("wait", "on"), 1);
        }
        statuses.extend(world.take_all(who).iter().map(|response| response.status));
        let expected: Vec<u16> =
            (0..1_000).map(|n| if n % 10 != 3 && n % 2 == 1 { 400 } else { 200 }).collect();
        assert_eq!(statuses, expected);
        assert!(memory < 3 * scratch + 100_000, "{total} bytes were sent, {memory} held");
        assert_eq!(world.shard.sides.len(), 0, "nothing is left over");
        world.finish();
    }
}

#[test]
fn reading_stops_while_a_poll_is_held() {
    let mut world = World::new();
    let who = world.poll("a");
    for _ in 0..1_000 {
        world.send(who, request("GET /livez", "", ""));
    }
    assert_eq!(world.unread(who), 1_000 * request("GET /livez", "", "").len());
    assert_eq!(world.shard.sides.len(), 0);
    world.publish("a", "x");
    assert_eq!(world.take_all(who).len(), 1_001);
    assert_eq!(world.unread(who), 0);
    world.finish();
}

#[test]
fn who_asks_without_reading_is_not_answered_without_bound() {
    let mut world = World::new();
    world.publish("a", &"x".repeat(100_000));
    let base = world.shard.memory_bytes();
    let who = world.connect(Door::Public);
    world.set_window(who, 0);
    for _ in 0..100 {
        world.send(who, request("GET /sub/a", "", "").repeat(20));
    }
    let held = world.shard.memory_bytes() - base;
    assert!(held < 2 * OUTPUT_BYTES_MAX + 2 * SCRATCH_BYTES, "{held}");
    assert!(world.unread(who) > 0);
    world.set_window(who, usize::MAX);
    assert_eq!(world.take_all(who).len(), 2_000);
    world.finish();
}

#[test]
fn answers_that_go_out_byte_by_byte_are_whole() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.set_window(who, 0);
    let targets = ["/livez", "/sub/a", "/nothing", "/sub/a,b", "/sub/a?timeout=1", "/readyz"];
    world.send(who, targets.map(|target| request(&format!("GET {target}"), "", "")).concat());
    world.publish("a", &"y".repeat(5_000));
    let mut received = 0;
    loop {
        world.set_window(who, 1);
        assert!(world.received(who).len() <= received + 1, "more than the socket takes");
        if world.received(who).len() == received {
            break;
        }
        received += 1;
    }
    let statuses: Vec<_> = world.take_all(who).iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 200, 404, 200, 200, 200]);
    world.finish();
}

#[test]
fn requests_before_the_end_of_input_are_answered() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.set_window(who, 0);
    world.send(who, request("GET /livez", "", "").repeat(3));
    world.end(who);
    assert!(!world.is_closed(who));
    world.set_window(who, usize::MAX);
    assert_eq!(world.take_all(who).len(), 3);
    assert!(world.is_closed(who));
    world.finish();
}

#[test]
fn a_request_cut_short_by_the_end_of_input_is_dropped() {
    for part in [
        "",
        "G",
        "GET /livez HTTP/1.1\r\nHost: h\r\n",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx",
    ] {
        let mut world = World::new();
        let who = world.connect(Door::Publisher);
        world.send(who, part);
        world.end(who);
        assert!(world.is_closed(who), "{part}");
        assert_eq!(world.received(who), b"");
        world.finish();
    }
}

#[test]
fn a_stale_id_touches_nobody_else() {
    let mut world = World::new();
    let old = world.poll("a");
    let stale = world.id(old);
    world.end(old);
    let new = world.poll("a");
    let id = world.id(new);
    assert_eq!((id.index, id.generation == stale.generation), (stale.index, false), "the slot is used again");
    let now = world.now;
    let shard = &mut world.shard;
    assert!(!shard.wants_input(stale) && !shard.is_waiting(stale) && !shard.is_unread(stale));
    shard.handle_input(stale, b"GET / HTTP/1.1\r\n\r\n", now);
    assert_eq!(shard.output(stale, now), [b"", b""]);
    shard.handle_sent(stale, 3);
    shard.handle_all_sent(stale, 3);
    shard.handle_blocked(stale, now);
    shard.handle_writable(stale);
    shard.handle_more_to_read(stale);
    assert_eq!(shard.handle_flushed(stale, now), Flushed::Close);
    shard.handle_end_of_input(stale);
    shard.handle_gone(stale);
    world.tick();
    world.check_held(new);
    assert_eq!(world.publish("a", "x"), 1);
    assert_eq!(world.take_answer(new).texts(), ["x"]);
    world.finish();
}
