//! One channel, one poll after another: answered at once, held, woken, timed out.

mod cursors;

use serde_json::json;

use self::cursors::own_cursor;
use super::harness::{ORIGIN, START, World, request};
use super::*;

#[test]
fn what_is_cached_is_answered_at_once() {
    let mut world = World::new();
    assert_eq!(world.publish("news", "one"), 0);
    world.advance(5);
    world.publish("news", "two");
    let answer = world.get("/sub/news").answer();
    assert_eq!(
        answer.messages,
        [
            json!({"id": "a1b2c3d4e5f60718-1", "time": START.wall.0, "channels": ["news"],
                "type": "text/plain", "data": "one"}),
            json!({"id": "a1b2c3d4e5f60718-2", "time": START.wall.0 + 5, "channels": ["news"],
                "type": "text/plain", "data": "two"}),
        ]
    );
    assert!(!answer.gap && !answer.reset && answer.closed.is_empty());
    assert_eq!(answer.cursor, own_cursor(2));
    assert_eq!(world.shard.counters.polls_immediate, 1);
    world.finish();
}

#[test]
fn a_poll_is_held_until_something_is_published() {
    let mut world = World::new();
    let who = world.poll("news");
    world.check_held(who);
    world.publish("other", "not for it");
    world.check_held(who);
    assert_eq!(world.publish("news", "hello"), 1);
    assert_eq!(world.take_answer(who).texts(), ["hello"]);
    assert_eq!((world.shard.counters.polls, world.shard.counters.deliveries), (1, 1));
    assert_eq!(world.shard.counters.polls_immediate, 0);
    assert!(!world.is_over(who), "the connection lives on");
    world.finish();
}

#[test]
fn a_time_out_is_the_ordinary_answer_without_messages() {
    let mut world = World::new();
    let who = world.poll("news?timeout=5");
    world.advance(4_999);
    world.check_held(who);
    world.advance(1);
    let response = world.take(who);
    assert_eq!(response.status, 200);
    let answer = response.answer();
    assert!(answer.messages.is_empty() && !answer.gap && !answer.reset && answer.closed.is_empty());
    assert_eq!(world.shard.counters.polls_timed_out, 1);
    world.poll_again(who, &format!("news?after={}", answer.cursor));
    world.check_held(who);
    world.finish();
}

#[test]
fn the_default_time_out_is_50_seconds_less_at_most_a_tenth() {
    let mut world = World::new();
    let polls: Vec<_> = (0..40).map(|_| world.poll("news")).collect();
    world.advance(44_999);
    assert!(polls.iter().all(|who| world.is_held(*who)));
    world.advance(5_001);
    assert!(polls.iter().all(|who| world.take_answer(*who).messages.is_empty()));
    world.finish();
}

#[test]
fn a_long_time_out_is_capped() {
    let mut world = World::with(|settings| settings.timeouts.max_s = 15);
    let who = world.poll("news?timeout=100000");
    world.advance(14_999);
    world.check_held(who);
    world.advance(1);
    assert!(world.take_answer(who).messages.is_empty());
    world.finish();
}

#[test]
fn a_time_out_of_0_does_not_wait() {
    let mut world = World::new();
    assert!(world.get("/sub/news?timeout=0").answer().messages.is_empty());
    assert_eq!(world.shard.queue.channel_count(), 0, "nor does it make the channel");
    world.finish();
}

#[test]
fn the_empty_answer_has_the_date_of_its_own_time() {
    let mut world = World::new();
    for _ in 0..2 {
        let who = world.poll("news?timeout=7");
        world.advance(7_000);
        let date = world.take(who).field("date").unwrap().to_owned();
        assert_eq!(date.as_bytes(), http_date(world.now.wall));
        world.advance(60_000);
    }
    world.finish();
}

#[test]
fn all_who_wait_on_a_channel_share_one_answer() {
    let mut world = World::new();
    let polls: Vec<_> = (0..50).map(|_| world.poll("news")).collect();
    polls.iter().for_each(|who| world.set_window(*who, 0));
    assert_eq!(world.publish("news", "for all"), 50);
    assert_eq!(world.shard.answers.len(), 1, "serialised once");
    for (at, who) in polls.iter().enumerate() {
        assert_eq!(world.shard.answers.len(), 1, "{at}");
        world.set_window(*who, usize::MAX);
        assert_eq!(world.take_answer(*who).texts(), ["for all"]);
    }
    assert!(world.shard.answers.is_empty(), "freed with the last");
    assert_eq!(world.shard.counters.deliveries, 50);
    world.finish();
}

#[test]
fn the_variants_of_a_shared_answer_are_not_mixed_up() {
    let mut world = World::with(|settings| settings.cors_origins = vec!["https://a.example".into()]);
    let fields = [
        "",
        "Prefer: wait=40\r\n",
        "Connection: close\r\n",
        "Origin: https://a.example\r\n",
        "Origin: https://a.example\r\nPrefer: wait=40\r\nConnection: close\r\n",
    ];
    let polls = fields.map(|fields| {
        let who = world.connect(Door::Public);
        world.send(who, request("GET /sub/news", fields, ""));
        who
    });
    world.publish("news", "hello");
    for (who, fields) in polls.into_iter().zip(fields) {
        let response = world.take(who);
        assert_eq!(response.answer().texts(), ["hello"]);
        assert_eq!(response.field("preference-applied").is_some(), fields.contains("Prefer"), "{fields}");
        assert_eq!(response.closes(), fields.contains("close"), "{fields}");
        assert_eq!(world.is_over(who), fields.contains("close"), "{fields}");
        let origin = response.field("access-control-allow-origin");
        assert_eq!(origin.is_some(), fields.contains("Origin"), "{fields}");
    }
    world.finish();
}

#[test]
fn prefer_wait_is_honoured_like_timeout_and_said_so() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.send(who, request("GET /sub/news", "Prefer: wait=3\r\n", ""));
    world.advance(2_999);
    world.check_held(who);
    world.advance(1);
    assert_eq!(world.take(who).field("preference-applied"), Some("wait"));
    world.publish("news", "now");
    let immediate = world.request(Door::Public, "GET /sub/news", "Prefer: wait=3\r\n", "");
    assert_eq!(immediate.field("preference-applied"), Some("wait"));
    let overridden = world.request(Door::Public, "GET /sub/news?timeout=1", "Prefer: wait=3\r\n", "");
    assert_eq!(overridden.field("preference-applied"), None, "the query came first");
    world.finish();
}

#[test]
fn a_client_that_leaves_while_held_leaves_nothing_behind() {
    for leave in [World::end as fn(&mut World, harness::Who), World::reset] {
        for target in ["news", "news,other", "news?limit=1"] {
            let mut world = World::new();
            let stays = world.poll("news");
            let leaver = world.poll(target);
            let last = world.poll("news");
            leave(&mut world, leaver);
            assert!(world.is_closed(leaver) && world.received(leaver).is_empty());
            assert_eq!((world.shard.held, world.shard.connection_count()), (2, 2));
            assert_eq!(world.shard.counters.polls_abandoned, 1);
            assert!(world.shard.wides.is_empty());
            assert_eq!(world.publish("news", "hello"), 2);
            for who in [stays, last] {
                assert_eq!(world.take_answer(who).texts(), ["hello"], "{target}");
            }
            world.finish();
        }
    }
}

#[test]
fn the_last_to_leave_an_unused_channel_takes_it_along() {
    let mut world = World::new();
    let polls = [world.poll("a"), world.poll("a"), world.poll("a,b")];
    assert_eq!(world.shard.queue.channel_count(), 2);
    polls.iter().for_each(|who| world.end(*who));
    assert_eq!(world.shard.queue.channel_count(), 0);
    world.finish();
}

#[test]
fn a_held_poll_on_one_channel_is_its_slot_and_nothing_else() {
    assert!(size_of::<Connection>() <= 52);
    let mut world = World::new();
    world.scratch = 7;
    let polls: Vec<_> = (0..10).map(|_| world.poll("news?timeout=20")).collect();
    let shard = &world.shard;
    assert_eq!((shard.held, shard.sides.len(), shard.wides.len(), shard.answers.len()), (10, 0, 0, 0));
    assert!(shard.out.is_empty());
    for who in polls {
        world.end(who);
    }
    world.finish();
}

#[test]
fn a_poll_that_times_out_needs_no_side_either() {
    let mut world = World::new();
    for _ in 0..10 {
        world.poll("news?timeout=1");
    }
    world.now = world.now.plus_ms(1_000);
    world.shard.handle_time(world.now);
    assert_eq!(world.shard.counters.polls_timed_out, 10);
    assert_eq!((world.shard.sides.len(), world.shard.answers.len()), (0, 1));
    world.tick();
    world.finish();
}

#[test]
fn a_poll_by_head_has_the_answer_s_head_and_never_waits() {
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.send(who, request("HEAD /sub/news", "", ""));
    let empty = world.take_head(who);
    assert_eq!(empty.status, 200);
    world.publish("news", "hello");
    world.send(who, request("HEAD /sub/news", "", ""));
    let head = world.take_head(who);
    let whole = world.get("/sub/news");
    assert_eq!(head.field("content-length"), whole.field("content-length"));
    assert_eq!(head.field("content-length"), Some(&*whole.body.len().to_string()));
    world.finish();
}

#[test]
fn bad_polls_are_told_what_is_wrong() {
    let mut world = World::new();
    for (target, status) in [
        ("/sub/a%20b", 400),
        ("/sub/a%00", 400),
        ("/sub/%C0%AF", 400),
        ("/sub/%2", 400),
        ("/sub/%zz", 400),
        ("/sub/a,,b", 400),
        ("/sub/a,", 400),
        ("/sub/,", 400),
        ("/sub/%252C", 400),
        ("/sub/news?after=nonsense", 400),
        ("/sub/news?after=", 400),
        ("/sub/news?timeout=-1", 400),
        ("/sub/news?timeout=1.5", 400),
        ("/sub/news?limit=0", 400),
        ("/sub/news?since=x", 400),
        ("/sub/news?timeout=1&timeout=1", 400),
        ("/sub/", 404),
        ("/sub", 404),
        ("/sub/a/b", 404),
        ("/", 404),
        ("/pub/news", 404),
        ("/metrics", 404),
    ] {
        let response = world.get(target);
        assert_eq!(response.status, status, "{target}");
        response.check_problem();
        assert!(!response.closes(), "{target}: the connection can be used again");
    }
    let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(world.get(&format!("/sub/{}?timeout=0", many(64))).status, 200);
    assert_eq!(world.get(&format!("/sub/{}?timeout=0", many(65))).status, 400);
    assert_eq!(world.shard.queue.channel_count(), 0);
    world.finish();
}

#[test]
fn names_are_decoded_once_and_a_plus_is_a_plus() {
    let mut world = World::new();
    world.publish("c++", "plus");
    world.publish("a:b@c~d_e.f-g", "all");
    for target in ["/sub/c++", "/sub/c%2B%2B", "/sub/%63++"] {
        assert_eq!(world.get(target).answer().texts(), ["plus"], "{target}");
    }
    assert_eq!(world.get("/sub/a:b@c~d_e.f-g").answer().texts(), ["all"]);
    assert_eq!(world.get("/sub/c++%2Ca:b@c~d_e.f-g").answer().messages.len(), 2, "a comma may be encoded");
    world.finish();
}
