//! The end of a node, in good order.

use super::harness::{Who, World, request};
use super::*;

const DRAIN_MS: u64 = 10_000;

fn begin(world: &mut World) {
    world.shard.begin_drain(DRAIN_MS, world.now);
    world.tick();
}

fn held(world: &World, polls: &[Who]) -> usize {
    polls.iter().filter(|who| world.is_held(**who)).count()
}

#[test]
fn the_load_balancer_is_told() {
    let mut world = World::new();
    begin(&mut world);
    for door in [Door::Public, Door::Publisher] {
        for (path, status) in [("/healthz", 404), ("/readyz", 503), ("/livez", 200)] {
            let response = world.request(door, &format!("GET {path}"), "", "");
            assert_eq!(response.status, status, "{path}");
            assert!(response.closes(), "{path}");
        }
    }
    world.finish();
}

#[test]
fn held_polls_are_released_spread_over_the_window() {
    let mut world = World::new();
    let polls: Vec<_> = (0..400)
        .map(|n| match n % 4 {
            0 => world.poll("a,b?timeout=120"),
            n => world.poll(&format!("c{n}?timeout={}", 60 + n)),
        })
        .collect();
    begin(&mut world);
    assert_eq!(held(&world, &polls), 400, "none at once");
    let mut before = 400;
    for second in 1..=8 {
        world.advance(1_000);
        let left = held(&world, &polls);
        assert!((45..=55).contains(&(before - left)), "{} in second {second}", before - left);
        before = left;
    }
    assert_eq!(before, 0, "all before the end");
    for who in polls {
        let response = world.take(who);
        assert!(response.closes() && world.is_over(who));
        assert!(response.answer().messages.is_empty());
    }
    world.finish();
}

#[test]
fn requests_that_still_come_are_served_and_closed() {
    let mut world = World::new();
    let waits = world.poll("a");
    begin(&mut world);
    assert_eq!(world.publish("a", "to the last"), 1);
    let response = world.take(waits);
    assert!(response.closes() && world.is_over(waits));
    assert_eq!(response.answer().texts(), ["to the last"]);
    let response = world.get("/sub/a");
    assert!(response.closes());
    assert_eq!(response.answer().texts(), ["to the last"]);
    world.finish();
}

#[test]
fn a_poll_that_comes_late_is_not_held_for_long() {
    let mut world = World::new();
    begin(&mut world);
    let early = world.poll("a?timeout=120");
    world.advance(DRAIN_MS / 5 * 4);
    assert!(world.take_answer(early).messages.is_empty());
    let late = world.poll("a");
    let response = world.take(late);
    assert!(response.closes() && response.answer().messages.is_empty(), "answered at once");
    world.finish();
}

#[test]
fn it_is_over_when_the_last_has_left() {
    let mut world = World::new();
    let who = world.poll("a?timeout=120");
    assert!(!world.shard.is_draining() && !world.shard.is_drained(world.now));
    begin(&mut world);
    assert!(world.shard.is_draining() && !world.shard.is_drained(world.now));
    world.advance(100);
    assert_eq!(world.take(who).status, 200);
    assert!(!world.shard.is_drained(world.now), "the last answer may still be on its way");
    world.end(who);
    assert!(world.shard.is_drained(world.now));
    world.finish();
}

#[test]
fn it_is_over_when_the_time_is() {
    let mut world = World::new();
    let who = world.connect(Door::Publisher);
    world.set_window(who, 0);
    world.send(who, request("GET /stats", "", ""));
    begin(&mut world);
    world.advance(DRAIN_MS - 1);
    assert!(!world.shard.is_drained(world.now));
    world.advance(1);
    assert!(world.shard.is_drained(world.now));
    world.finish();
}

#[test]
fn a_drain_of_no_time_releases_everybody_at_once() {
    let mut world = World::new();
    let polls = [world.poll("a"), world.poll("a,b")];
    world.shard.begin_drain(0, world.now);
    world.tick();
    for who in polls {
        assert!(world.take_answer(who).messages.is_empty());
    }
    assert!(world.shard.is_drained(world.now));
    world.finish();
}

#[test]
fn idle_connections_are_let_go() {
    let mut world = World::new();
    let idle = world.connect(Door::Public);
    world.send(idle, request("GET /livez", "", ""));
    world.take(idle);
    begin(&mut world);
    world.advance(DRAIN_MS - 1);
    assert!(world.is_closed(idle) && world.received(idle).is_empty());
    assert!(world.shard.is_drained(world.now), "nobody is left to wait for");
    world.finish();
}

#[test]
fn a_poll_that_was_released_but_not_taken_does_not_stop_the_others() {
    let mut world = World::new();
    let polls: Vec<_> = (0..10).map(|_| world.poll("a?timeout=120")).collect();
    polls[..5].iter().for_each(|who| world.set_window(*who, 0));
    begin(&mut world);
    world.advance(DRAIN_MS / 5 * 4);
    assert_eq!(held(&world, &polls), 0);
    for who in &polls[5..] {
        assert!(world.take_answer(*who).messages.is_empty());
    }
    world.finish();
}

#[test]
fn who_has_only_just_come_may_still_ask() {
    let mut world = World::new();
    let keeper = world.connect(Door::Publisher);
    world.send(keeper, "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx");
    begin(&mut world);
    world.advance(DRAIN_MS / 10 * 9);
    let who = world.connect(Door::Public);
    world.advance(500);
    assert!(!world.is_closed(who));
    world.send(who, request("GET /livez", "", ""));
    assert_eq!(world.take(who).status, 200);
    world.finish();
}
