//! Too many, too much: what is shed, in which order, and who is told.

use super::harness::{Who, World, request};
use super::response::{Body, Response};
use super::*;
use crate::limits::RETRY_AFTER_S;
use crate::shard::output::full_house;

/// Fills what the memory cap leaves with connections that have asked once.
fn fill_with_idle(world: &mut World) -> Vec<Who> {
    let mut idle = Vec::new();
    while world.shard.memory_bytes() + size_of::<Connection>() + 8 <= world.shard.settings.memory_bytes_max {
        let who = world.connect(Door::Public);
        world.send(who, request("GET /livez", "", ""));
        idle.push(who);
    }
    idle
}

#[track_caller]
fn check_503(response: &Response) {
    assert_eq!((response.status, response.field("retry-after")), (503, Some(&*RETRY_AFTER_S.to_string())));
    response.check_problem();
}

#[test]
fn only_so_many_connections_are_taken_in() {
    let mut world = World::with(|settings| settings.connections_max = 3);
    let first = world.connect(Door::Public);
    world.connect(Door::Publisher);
    let held = world.poll("a");
    assert_eq!(world.try_connect(Door::Public), None);
    assert_eq!(world.shard.counters.connections_refused, 1);
    world.check_held(held);
    world.end(first);
    assert!(world.try_connect(Door::Public).is_some());
    world.finish();
}

#[test]
fn who_cannot_be_let_in_is_told_when_to_come_back() {
    let world = World::new();
    let answer = full_house(world.now);
    let (response, len) = Response::parse(&answer, Body::Present).unwrap();
    assert_eq!(len, answer.len());
    check_503(&response);
    assert!(response.closes());
    assert_eq!(response.field("date").unwrap().as_bytes(), http_date(world.now.wall));
    world.finish();
}

#[test]
fn the_longest_idle_go_first_and_who_waits_never_goes() {
    let mut world = World::new();
    let held = world.poll("a");
    let (first, second) = (world.connect(Door::Public), world.connect(Door::Public));
    for who in [second, first] {
        world.send(who, request("GET /livez", "", ""));
        world.take(who);
        world.advance(10);
    }
    assert_eq!(world.shard.evict_idle(1), 1);
    world.tick();
    assert!(world.is_closed(second) && !world.is_closed(first));
    assert_eq!(world.shard.evict_idle(10), 1);
    world.tick();
    assert!(world.is_closed(first));
    world.check_held(held);
    assert_eq!(world.shard.counters.connections_evicted, 2);
    world.finish();
}

// -- Memory ------------------------------------------------------------------------------

#[test]
fn over_the_cap_the_oldest_messages_go_first() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 100_000);
    let idle = world.connect(Door::Public);
    world.send(idle, request("GET /livez", "", ""));
    let first = world.get("/sub/a?timeout=0").answer().cursor;
    for n in 0..1_000 {
        world.publish("a", &format!("{n:0width$}", width = 500 + n * 37 % 900));
        assert!(world.shard.memory_bytes() <= 100_000);
    }
    let answer = world.get(&format!("/sub/a?after={first}")).answer();
    assert!(answer.gap && answer.messages.len() > 50);
    assert!(answer.texts().last().unwrap().ends_with("999"));
    assert!(!world.is_over(idle), "nobody was let go");
    world.finish();
}

#[test]
fn a_new_connection_has_room_as_long_as_messages_can_go() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 100_000);
    for n in 0..150 {
        world.publish("a", &format!("{n:01000}"));
    }
    let room = 100_000 - world.shard.memory_bytes();
    let count = room / size_of::<Connection>() + 100;
    for n in 0..count {
        assert!(world.try_connect(Door::Public).is_some(), "{n} of {count}");
    }
    assert!(world.shard.memory_bytes() <= 100_000);
    world.finish();
}

#[test]
fn a_poll_has_room_as_long_as_messages_can_go() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    for n in 0..100 {
        world.publish("a", &format!("{n:01000}"));
    }
    let cap = world.shard.memory_bytes() + 10;
    world.shard.settings.share_bytes_max = cap;
    world.poll_again(who, "a,b?after=now");
    world.check_held(who);
    assert!(world.shard.queue.cached_messages() < 100);
    world.finish();
}

#[test]
fn then_idle_connections_go_but_never_the_one_that_asks() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 100_000);
    // The publisher has been idle for longest.
    let publisher = world.connect(Door::Publisher);
    world.send(publisher, request("GET /livez", "", ""));
    world.take(publisher);
    world.advance(10);
    let idle = fill_with_idle(&mut world);
    assert!(idle.len() > 1_000);
    world.send(publisher, request("POST /pub/a", "", "x".repeat(500)));
    assert_eq!(world.take(publisher).status, 201);
    assert!(world.is_closed(idle[0]), "the longest idle are gone");
    assert!(!world.is_closed(*idle.last().unwrap()));
    assert!(world.shard.memory_bytes() <= 100_000);
    world.finish();
}

#[test]
fn then_what_asks_for_more_is_refused_and_later_taken() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 100_000);
    // Whoever has begun to ask is not idle.
    let (publisher, subscriber) = (world.connect(Door::Publisher), world.connect(Door::Public));
    world.send(publisher, "POST /pub/c HTTP/1.1\r\nHost: h\r\n");
    world.send(subscriber, "GET /sub/d,e HTTP/1.1\r\nHost: h\r\n");
    let mut polls = Vec::new();
    while let Some(who) = world.try_connect(Door::Public) {
        world.poll_again(who, "a,b");
        polls.push(who);
    }
    assert!(polls.len() > 100);
    let (held, refused): (Vec<_>, Vec<_>) = polls.into_iter().partition(|who| world.is_held(*who));
    assert!(held.len() > refused.len());
    for who in refused {
        check_503(&world.take(who));
    }
    let body = "Content-Length: 5000\r\n\r\n".to_owned() + &"x".repeat(5_000);
    for (who, rest) in [(subscriber, "\r\n"), (publisher, &body)] {
        world.send(who, rest);
        let response = world.take(who);
        check_503(&response);
        assert!(response.closes());
    }
    let (leave, stay) = held.split_at(held.len() / 2);
    leave.iter().for_each(|who| world.reset(*who));
    assert_eq!(world.publish("c", &"x".repeat(5_000)), 0);
    assert_eq!(world.publish("a", "to all who stayed"), stay.len() as u64);
    world.finish();
}

#[test]
fn a_body_that_arrives_counts_and_is_refused_at_the_cap() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 200_000);
    let mut posts = Vec::new();
    for chunked in [false, true, false, true, false] {
        let who = world.connect(Door::Publisher);
        let (framing, begin) = match chunked {
            false => ("Content-Length: 60000", ""),
            true => ("Transfer-Encoding: chunked", "ea60\r\n"),
        };
        let head = format!("POST /pub/a HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{begin}");
        world.send(who, [head.as_bytes(), &[b'x'; 50_000]].concat());
        posts.push(who);
    }
    assert!(world.shard.memory_bytes() <= 200_000, "{}", world.shard.memory_bytes());
    let refused: Vec<_> = posts.iter().filter(|who| world.is_over(**who)).copied().collect();
    assert!(!refused.is_empty() && refused.len() < posts.len());
    for who in refused {
        check_503(&world.take(who));
    }
    world.finish();
}

#[test]
fn what_is_kept_for_later_is_bounded_by_the_cap() {
    let part = b"GET /sub/a HTTP/1.1\r\nHost: h\r\nX: ";
    let whole = request("GET /sub/a", "", "");
    for (before, filler) in [(&part[..], 15_000), (&whole[..], 60_000)] {
        let mut world = World::with(|settings| settings.memory_bytes_max = 300_000);
        for _ in 0..100 {
            let Some(who) = world.try_connect(Door::Public) else { break };
            world.send(who, [before, &vec![b'x'; filler][..]].concat());
            // A side is taken before it is counted, so the last one may stand over the cap.
            let bytes = world.shard.memory_bytes();
            assert!(bytes <= 300_000 + size_of::<connection::Side>(), "{bytes}");
        }
        world.finish();
    }
}

#[test]
fn a_smaller_cap_takes_effect_with_the_next_publication() {
    let mut world = World::new();
    for n in 0..100 {
        world.publish("a", &format!("{n:01000}"));
    }
    let mut settings = harness::settings();
    settings.memory_bytes_max = 50_000;
    world.shard.reconfigure(settings.for_one_of(1), Arc::new(Keys::default()));
    world.publish("a", "x");
    assert!(world.shard.memory_bytes() <= 50_000);
    world.finish();
}

#[test]
fn memory_is_what_it_was_when_all_have_left() {
    let mut world = World::new();
    let before = world.shard.memory_bytes();
    let mut everybody = Vec::new();
    for n in 0..100 {
        everybody.push(world.poll(&format!("a{n}")));
        everybody.push(world.poll(&format!("a{n},b")));
        let part = world.connect(Door::Publisher);
        world.send(part, "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nxxx");
        everybody.push(part);
    }
    assert!(world.shard.memory_bytes() > before + 10_000);
    everybody.into_iter().for_each(|who| world.reset(who));
    assert_eq!(world.shard.memory_bytes(), before);
    world.finish();
}

#[test]
fn answers_that_are_not_taken_stay_under_the_cap() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 1_000_000);
    // Each of these bytes takes six in an answer.
    world.publish("a", &"\u{1}".repeat(100_000));
    let crowd: Vec<_> = (0..40).map(|_| world.connect(Door::Public)).collect();
    for who in &crowd {
        world.set_window(*who, 100);
        world.send(*who, request("GET /sub/a", "", ""));
        assert!(world.shard.memory_bytes() <= 1_000_000, "{}", world.shard.memory_bytes());
    }
    world.finish();
}

#[test]
fn a_full_node_gives_the_answer_that_it_owes() {
    let mut world = World::with(|settings| settings.memory_bytes_max = 20_000);
    let who = world.connect(Door::Public);
    let pipelined = [request("GET /livez", "", ""), request("GET /sub/a", "", ""), vec![b'x'; 25_000]];
    world.send(who, pipelined.concat());
    let statuses: Vec<_> = world.take_all(who).iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 200], "what was asked, then the poll's empty answer");
    assert!(world.is_over(who));
    world.finish();
}

#[test]
fn who_waits_is_given_a_message_that_is_larger_than_the_cache() {
    let mut world = World::with(|settings| settings.bounds.cache_bytes_max = 1_000);
    let who = world.poll("a");
    world.publish("a", &"x".repeat(5_000));
    assert_eq!(world.take_answer(who).messages.len(), 1);
    world.publish("b", "y");
    assert_eq!(world.shard.queue.cached_messages(), 1, "then it goes");
    world.finish();
}
