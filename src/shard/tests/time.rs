//! Peers that are slow, or silent, or do not read: each is put up with for so long.

use super::harness::{Who, World, request};
use super::*;
use crate::limits::{HEAD_MS_MAX, IDLE_MS_MAX, LINGER_BYTES_MAX, LINGER_MS, PROGRESS_MS};

/// An answer too large for any socket here, which nobody takes.
fn blocked(world: &mut World, fields: &str) -> Who {
    world.publish("large", &"x".repeat(100_000));
    let who = world.connect(Door::Public);
    world.set_window(who, 1_000);
    world.send(who, request("GET /sub/large", fields, ""));
    who
}

#[track_caller]
fn check_408(world: &mut World, who: Who) {
    let response = world.take(who);
    assert_eq!(response.status, 408);
    response.check_problem();
    assert!(response.closes() && world.is_over(who));
    assert_eq!(world.shard.counters.connections_too_slow, 1);
}

// -- Heads -----------------------------------------------------------------------------

#[test]
fn a_head_that_drips_is_cut_after_ten_seconds_in_total() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    let head = request("GET /livez", "", "");
    for byte in &head[..10] {
        world.send(who, [*byte]);
        world.advance(999);
        assert_eq!(world.received(who), b"");
        world.advance(1);
    }
    check_408(&mut world, who);
    world.finish();
}

#[test]
fn empty_lines_do_not_buy_time() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    for _ in 0..5 {
        world.send(who, "\r\n");
        world.advance(2_000);
    }
    check_408(&mut world, who);
    world.finish();
}

#[test]
fn a_head_that_is_complete_in_time_is_answered() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    for _ in 0..3 {
        let head = request("GET /livez", "", "");
        let (first, second) = head.split_at(20);
        world.send(who, first);
        world.advance(HEAD_MS_MAX - 1);
        world.send(who, second);
        assert_eq!(world.take(who).status, 200, "each request has its own ten seconds");
        world.advance(HEAD_MS_MAX);
    }
    world.finish();
}

#[test]
fn a_head_behind_another_request_is_timed_too() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.send(who, [&request("GET /livez", "", "")[..], b"GET /li"].concat());
    assert_eq!(world.take(who).status, 200);
    world.advance(HEAD_MS_MAX);
    check_408(&mut world, who);
    world.finish();
}

#[test]
fn a_408_has_a_body_whatever_the_request_before_it_was() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.send(who, request("HEAD /livez", "", ""));
    world.take_head(who);
    world.send(who, "GET /");
    world.advance(HEAD_MS_MAX);
    check_408(&mut world, who);
    world.finish();
}

#[test]
fn who_never_asks_is_closed_without_an_answer() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.advance(IDLE_MS_MAX);
    assert!(world.is_closed(who) && world.received(who).is_empty());
    world.finish();
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    for _ in 0..3 {
        world.advance(IDLE_MS_MAX - 1);
        world.send(who, request("GET /livez", "", ""));
        assert_eq!(world.take(who).status, 200, "each request begins it anew");
    }
    world.advance(IDLE_MS_MAX - 1);
    assert!(!world.is_closed(who));
    world.advance(1);
    assert!(world.is_closed(who) && world.received(who).is_empty());
    world.finish();
}

#[test]
fn after_a_poll_and_after_a_body_in_pieces_a_connection_is_idle() {
    let mut world = World::new();
    let poll = world.poll("a?timeout=1");
    world.advance(1_000);
    world.take(poll);
    let post = world.connect(Door::Publisher);
    for piece in
        ["POST /pub/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", "x\r\n0\r\n", "\r\n"]
    {
        world.send(post, piece);
    }
    assert_eq!(world.take(post).status, 201);
    assert_eq!(world.shard.sides.len(), 0);
    world.advance(IDLE_MS_MAX - 1);
    for who in [poll, post] {
        assert!(!world.is_over(who));
        assert_eq!(world.received(who), b"");
    }
    world.advance(1);
    assert!(world.is_closed(poll) && world.is_closed(post));
    world.finish();
}

// -- Bodies ----------------------------------------------------------------------------

/// Sends a body of 30,000 bytes, so many a second, until it is done or cut.
fn send_body(world: &mut World, chunked: bool, bytes_per_s: usize) -> Who {
    let who = world.connect(Door::Publisher);
    let (framing, body) = match chunked {
        false => ("Content-Length: 30000", "x".repeat(30_000)),
        true => ("Transfer-Encoding: chunked", format!("7530\r\n{}\r\n0\r\n\r\n", "x".repeat(30_000))),
    };
    world.send(who, format!("POST /pub/a HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"));
    for piece in body.as_bytes().chunks(bytes_per_s) {
        world.advance(1_000);
        if world.is_over(who) {
            break;
        }
        world.send(who, piece);
    }
    who
}

#[test]
fn a_body_above_500_bytes_a_second_is_taken_however_long_it_lasts() {
    for chunked in [false, true] {
        let mut world = World::new();
        let who = send_body(&mut world, chunked, 600);
        assert_eq!(world.take(who).status, 201);
        assert_eq!(world.get("/sub/a").answer().texts()[0].len(), 30_000);
        world.finish();
    }
}

#[test]
fn a_body_below_500_bytes_a_second_is_408() {
    for chunked in [false, true] {
        let mut world = World::new();
        let started = world.now.tick;
        let who = send_body(&mut world, chunked, 400);
        assert_eq!(world.now.tick.since_ms(started), PROGRESS_MS);
        check_408(&mut world, who);
        assert_eq!(world.shard.queue.cached_messages(), 0);
        world.finish();
    }
}

#[test]
fn a_body_that_stops_is_408() {
    let mut world = World::new();
    let who = world.connect(Door::Publisher);
    world.send(who, "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n");
    world.send(who, "x".repeat(29_999));
    world.advance(PROGRESS_MS);
    assert_eq!(world.received(who), b"", "it came fast at first");
    world.advance(PROGRESS_MS);
    check_408(&mut world, who);
    world.finish();
}

// -- Readers ---------------------------------------------------------------------------

#[test]
fn a_reader_that_does_not_read_is_cut_after_ten_seconds() {
    for fields in ["", "Connection: close\r\n"] {
        let mut world = World::new();
        let who = blocked(&mut world, fields);
        world.advance(PROGRESS_MS - 1);
        assert!(!world.is_closed(who));
        world.advance(1);
        assert_eq!(world.parting(who), Some(Parting::Reset), "the kernel forgets what it holds for it");
        assert_eq!(world.shard.counters.connections_too_slow, 1);
        world.finish();
    }
}

#[test]
fn a_reader_that_takes_a_byte_now_and_then_is_cut_too() {
    let mut world = World::new();
    let who = blocked(&mut world, "");
    for _ in 0..10 {
        world.advance(3_000);
        world.set_window(who, 1);
    }
    assert!(world.is_closed(who), "thirty seconds, ten bytes");
    world.finish();
}

#[test]
fn a_slow_reader_is_served_to_the_end() {
    let mut world = World::new();
    let who = blocked(&mut world, "");
    for _ in 0..200 {
        world.advance(1_000);
        world.set_window(who, 600);
    }
    assert!(!world.is_over(who));
    assert_eq!(world.take_answer(who).texts()[0].len(), 100_000);
    world.finish();
}

#[test]
fn a_held_poll_whose_reader_does_not_take_its_answer_is_cut() {
    for target in ["a?after=now", "a,b?after=now"] {
        let mut world = World::new();
        let who = world.poll(target);
        world.set_window(who, 5);
        world.advance(20_000);
        world.publish("a", "x");
        world.advance(PROGRESS_MS - 1);
        assert!(!world.is_closed(who));
        world.advance(40_001);
        assert!(world.is_closed(who), "{target}");
        assert!(world.shard.answers.is_empty() || world.shard.idle_answer.is_some());
        world.finish();
    }
}

#[test]
fn a_poll_behind_an_answer_that_is_not_taken_ends_and_is_cut() {
    let mut world = World::new();
    let who = blocked(&mut world, "");
    let behind = request("GET /sub/other?timeout=3", "", "");
    world.send(who, [&request("GET /sub/large", "", "")[..], &behind].concat());
    world.advance(60_000);
    assert!(world.is_closed(who));
    world.finish();
}

// -- Lingering -------------------------------------------------------------------------

/// A connection whose last answer is sent, and that is not closed by its peer.
fn lingering(world: &mut World) -> Who {
    let who = world.connect(Door::Public);
    world.send(who, "nonsense\r\n\r\n");
    assert_eq!(world.take(who).status, 400);
    assert!(world.is_over(who) && !world.is_closed(who));
    who
}

#[test]
fn lingering_ends_with_the_peer_s_input() {
    let mut world = World::new();
    let who = lingering(&mut world);
    world.send(who, "more nonsense");
    world.end(who);
    assert!(world.is_closed(who));
    world.finish();
}

#[test]
fn lingering_ends_after_two_seconds() {
    let mut world = World::new();
    let who = lingering(&mut world);
    world.advance(LINGER_MS / 2);
    world.send(who, "x");
    world.advance(LINGER_MS / 2 - 1);
    assert!(!world.is_closed(who));
    world.advance(1);
    assert!(world.is_closed(who) && world.received(who).is_empty());
    world.finish();
}

#[test]
fn lingering_reads_only_so_much() {
    let mut world = World::new();
    // Where a poll stood in its channel must not count.
    let polls = [0, 1, 2].map(|_| {
        let who = world.connect(Door::Public);
        world.send(who, request("GET /sub/a", "Connection: close\r\n", ""));
        who
    });
    world.publish("a", "x");
    for who in [lingering(&mut world), polls[0], polls[2]] {
        for _ in 0..4 {
            world.send(who, vec![b'x'; LINGER_BYTES_MAX / 4]);
        }
        assert!(!world.is_closed(who));
        assert_eq!(world.shard.sides.len(), 0, "nothing is kept");
        world.send(who, "x");
        assert!(world.is_closed(who));
    }
    world.finish();
}

// -- Clocks ----------------------------------------------------------------------------

#[test]
fn a_step_of_the_wall_clock_ends_no_poll_and_turns_no_time_back() {
    let mut world = World::new();
    let who = world.poll("a?timeout=10");
    world.publish("b", "before");
    world.now.wall = Timestamp(1_000);
    world.tick();
    world.publish("b", "after");
    world.check_held(who);
    world.now.wall = Timestamp(u64::MAX / 2);
    world.tick();
    world.check_held(who);
    world.advance(10_000);
    assert!(world.take_answer(who).messages.is_empty());
    let answer = world.get("/sub/b").answer();
    assert_eq!(answer.texts(), ["before", "after"]);
    assert!(answer.messages[0]["time"].as_u64() <= answer.messages[1]["time"].as_u64());
    world.finish();
}

#[test]
fn nothing_is_due_when_nothing_is_there() {
    let mut world = World::new();
    assert_eq!(world.shard.next_deadline(), None);
    let who = world.poll("a?timeout=10");
    assert_eq!(world.shard.next_deadline(), Some(world.now.tick.plus_ms(10_000)));
    world.end(who);
    world.advance(Config::default().channel_ttl_s * 1_000);
    assert_eq!(world.shard.next_deadline(), None);
    world.finish();
}

#[test]
fn each_pipelined_poll_has_its_own_time() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.send(who, request("GET /sub/a?timeout=4", "", "").repeat(2));
    world.advance(4_000);
    assert!(world.take_answer(who).messages.is_empty());
    world.advance(3_999);
    world.check_held(who);
    world.advance(1);
    assert!(world.take_answer(who).messages.is_empty());
    world.finish();
}
