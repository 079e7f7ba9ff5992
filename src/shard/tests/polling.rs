//! One channel, one poll after another: answered at once, held, woken, timed out.

use serde_json::json;

use super::harness::{ORIGIN, START, World, request};
use super::*;
use crate::cursor::{Cursor, VersionVector};

/// A cursor of this cluster, or of another.
fn cursor(cluster: &str, entries: &[(Origin, u64)]) -> String {
    let mut seen = VersionVector::default();
    entries.iter().for_each(|(origin, seq)| seen.set(*origin, *seq));
    Cursor { tag: ClusterTag::of(cluster), seen }.to_text()
}

fn own_cursor(seq: u64) -> String {
    cursor(&Config::default().cluster_name, &[(ORIGIN, seq)])
}

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
fn a_cursor_resumes_exactly() {
    let mut world = World::new();
    let who = world.poll("news?timeout=0");
    let mut after = world.take_answer(who).cursor;
    for round in 0..20 {
        let texts: Vec<String> = (0..round % 4).map(|n| format!("{round}.{n}")).collect();
        texts.iter().for_each(|text| {
            world.publish("news", text);
            world.publish("noise", text);
        });
        world.poll_again(who, &format!("news?timeout=0&after={after}"));
        let answer = world.take_answer(who);
        assert_eq!(answer.texts(), texts);
        assert!(!answer.gap && !answer.reset);
        after = answer.cursor;
    }
    world.finish();
}

#[test]
fn nothing_is_lost_between_two_polls() {
    let mut world = World::new();
    let who = world.poll("news");
    world.publish("news", "one");
    let after = world.take_answer(who).cursor;
    world.publish("news", "between");
    world.poll_again(who, &format!("news?after={after}"));
    assert_eq!(world.take_answer(who).texts(), ["between"]);
    world.finish();
}

#[test]
fn after_now_starts_at_the_present() {
    let mut world = World::new();
    world.publish("news", "old");
    let who = world.poll("news?after=now");
    world.check_held(who);
    world.publish("news", "new");
    assert_eq!(world.take_answer(who).texts(), ["new"]);
    world.finish();
}

#[test]
fn since_and_until_are_inclusive() {
    let mut world = World::new();
    for text in ["a", "b", "c", "d"] {
        world.publish("news", text);
        world.advance(10);
    }
    let at = |n: u64| START.wall.0 + 10 * n;
    for (query, texts) in [
        (format!("since={}", at(1)), vec!["b", "c", "d"]),
        (format!("since={}", at(1) + 1), vec!["c", "d"]),
        (format!("until={}", at(2)), vec!["a", "b", "c"]),
        (format!("until={}", at(2) - 1), vec!["a", "b"]),
        (format!("since={}&until={}", at(1), at(2)), vec!["b", "c"]),
        (format!("since={}&timeout=0", at(4)), vec![]),
        (format!("since={}&until={}&timeout=0", at(2), at(1)), vec![]),
        ("since=0&until=18446744073709551615".into(), vec!["a", "b", "c", "d"]),
    ] {
        assert_eq!(world.get(&format!("/sub/news?{query}")).answer().texts(), texts, "{query}");
    }
    world.finish();
}

#[test]
fn what_until_leaves_out_is_not_covered_by_the_cursor() {
    let mut world = World::new();
    world.publish("news", "early");
    world.advance(10);
    world.publish("news", "late");
    let answer = world.get(&format!("/sub/news?until={}", START.wall.0)).answer();
    assert_eq!(answer.texts(), ["early"]);
    assert_eq!(world.get(&format!("/sub/news?after={}", answer.cursor)).answer().texts(), ["late"]);
    world.finish();
}

#[test]
fn a_held_poll_is_woken_only_by_what_lies_in_its_time_range() {
    let mut world = World::new();
    let from = START.wall.0 + 1_000;
    let future = world.poll(&format!("news?since={from}"));
    let past = world.poll(&format!("news?until={}&timeout=30", START.wall.0 - 1));
    assert_eq!(world.publish("news", "too early, too late"), 0, "it wakes nobody");
    world.check_held(future);
    world.check_held(past);
    world.advance(1_000);
    assert_eq!(world.publish("news", "in time"), 1);
    assert_eq!(world.take_answer(future).texts(), ["in time"]);
    world.check_held(past);
    world.advance(30_000);
    let answer = world.take_answer(past);
    assert!(answer.messages.is_empty());
    let rest = world.get(&format!("/sub/news?after={}", answer.cursor)).answer();
    assert_eq!(rest.texts(), ["too early, too late", "in time"], "what it left out is not lost");
    world.finish();
}

#[test]
fn a_limit_gives_a_prefix_and_its_cursor_covers_no_more() {
    let mut world = World::new();
    let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    texts.iter().for_each(|text| {
        world.publish("news", text);
    });
    let mut got = Vec::new();
    let mut query = String::from("limit=3");
    for page in [3, 3, 3, 1] {
        let answer = world.get(&format!("/sub/news?{query}")).answer();
        assert_eq!(answer.messages.len(), page);
        got.extend(answer.texts().into_iter().map(str::to_owned));
        query = format!("limit=3&after={}", answer.cursor);
    }
    assert_eq!(got, texts);
    let who = world.poll(&format!("news?{query}"));
    world.check_held(who);
    world.publish("news", "more");
    assert_eq!(world.take_answer(who).texts(), ["more"]);
    world.finish();
}

#[test]
fn an_answer_has_at_most_a_mebibyte_but_always_a_message() {
    let mut world = World::with(|settings| {
        settings.bounds.channel_bytes_max = usize::MAX;
        settings.body_bytes_max = 4_000_000;
    });
    let large = "x".repeat(700_000);
    world.publish("news", &large);
    world.publish("news", &large);
    world.publish("news", &"y".repeat(3_000_000));
    let mut after = String::new();
    for len in [700_000, 700_000, 3_000_000] {
        let answer = world.get(&format!("/sub/news?{after}")).answer();
        assert_eq!(answer.texts().iter().map(|text| text.len()).collect::<Vec<_>>(), [len]);
        after = format!("after={}", answer.cursor);
    }
    world.finish();
}

#[test]
fn a_gap_is_told_when_the_cursor_points_at_what_is_gone() {
    let mut world = World::with(|settings| settings.bounds.channel_messages_max = 2);
    for text in ["a", "b", "c", "d"] {
        world.publish("news", text);
    }
    for (seq, gap, texts) in [(1, true, vec!["c", "d"]), (2, false, vec!["c", "d"]), (3, false, vec!["d"])] {
        let answer = world.get(&format!("/sub/news?after={}", own_cursor(seq))).answer();
        assert_eq!((answer.gap, answer.texts()), (gap, texts), "{seq}");
    }
    assert!(!world.get("/sub/news").answer().gap, "who has no cursor has missed nothing");
    assert_eq!(world.shard.counters.gaps, 1);
    world.finish();
}

#[test]
fn an_expired_message_is_not_given_but_its_absence_is_told() {
    let mut world = World::new();
    let published = world.publisher("POST /pub/news?ttl=2", "short");
    assert_eq!(published.status, 201);
    world.publish("news", "long");
    world.advance(1_999);
    assert_eq!(world.get("/sub/news").answer().texts(), ["short", "long"]);
    world.advance(1);
    assert_eq!(world.get("/sub/news").answer().texts(), ["long"]);
    let before = cursor(&Config::default().cluster_name, &[]);
    let answer = world.get(&format!("/sub/news?after={before}")).answer();
    assert_eq!((answer.gap, answer.texts()), (true, vec!["long"]));
    assert!(!world.get(&format!("/sub/news?timeout=0&after={}", answer.cursor)).answer().gap);
    world.finish();
}

#[test]
fn a_gap_is_told_at_once_even_if_nothing_else_is_there() {
    let mut world = World::new();
    let first = world.get("/sub/news?timeout=0").answer().cursor;
    world.publisher("POST /pub/news?ttl=1", "short");
    world.advance(5_000);
    let answer = world.get(&format!("/sub/news?after={first}")).answer();
    assert!(answer.gap && answer.messages.is_empty());
    world.finish();
}

#[test]
fn a_cursor_of_another_cluster_or_life_is_reset_not_refused() {
    let mut world = World::new();
    world.publish("news", "one");
    let own = Config::default().cluster_name;
    for (why, text) in [
        ("another cluster", cursor("elsewhere", &[(ORIGIN, 1)])),
        ("another life", cursor(&own, &[(Origin(99), 1)])),
        ("forged", own_cursor(2)),
        ("forged far", own_cursor(u64::MAX)),
        ("another cluster, empty", cursor("elsewhere", &[])),
    ] {
        let answer = world.get(&format!("/sub/news?after={text}")).answer();
        assert_eq!((answer.reset, answer.texts()), (true, vec!["one"]), "{why}");
        assert_eq!(answer.cursor, own_cursor(1), "{why}: it goes on from here");
        let empty = world.get(&format!("/sub/nothing?after={text}")).answer();
        assert!(empty.reset && empty.messages.is_empty(), "{why}: told at once");
    }
    for good in [own_cursor(1), cursor(&own, &[])] {
        assert!(!world.get(&format!("/sub/news?timeout=0&after={good}")).answer().reset);
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
