//! Where a poll begins and where it ends: cursors, time ranges, limits, gaps.

use super::*;
use crate::cluster::Setup;
use crate::cursor::{Cursor, VersionVector};
use crate::limits::JOIN_MS;
use crate::planted::Planted;

/// A cursor of this cluster, or of another.
fn cursor(cluster: &str, entries: &[(Origin, u64)]) -> String {
    let mut seen = VersionVector::default();
    entries.iter().for_each(|(origin, seq)| seen.set(*origin, *seq));
    Cursor { tag: ClusterTag::of(cluster), seen }.to_text()
}

pub fn own_cursor(seq: u64) -> String {
    cursor(&Config::default().cluster_name, &[(ORIGIN, seq)])
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

/// In a cluster that is just coming together a cursor may name nodes that this one has yet to meet.
#[test]
fn a_cursor_of_unknown_nodes_is_reset_only_after_all_could_be_met() {
    let mut world = World::new();
    let setup = Setup {
        node: "here".parse().unwrap(),
        origin: ORIGIN,
        address: "127.0.0.1:9".parse().unwrap(),
        peers: Vec::new(),
        cluster_name: Config::default().cluster_name,
        key: Vec::new(),
        seed: 1,
        log_bytes_max: 1_000,
        planted: Planted::default(),
    };
    world.shard.join_cluster(setup, world.now);
    world.publish("news", "one");
    let poll = format!("/sub/news?after={}", cursor(&Config::default().cluster_name, &[(Origin(99), 1)]));
    let refused = world.get(&poll);
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")));
    world.advance(JOIN_MS + 100);
    let answer = world.get(&poll).answer();
    assert_eq!((answer.reset, answer.texts()), (true, vec!["one"]));
}

#[test]
fn a_gap_behind_the_end_time_is_told_once_and_then_waited_out() {
    let mut world = World::new();
    world.publish("a", "first");
    let cursor = world.get("/sub/a").answer().cursor;
    let until = world.now.wall.0;
    world.advance(10);
    assert_eq!(world.publisher("POST /pub/a?ttl=100", "long").status, 201);
    assert_eq!(world.publisher("POST /pub/a?ttl=1", "short").status, 201);
    world.advance(3_000);
    let mut after = cursor;
    let waits = (0..3).any(|_| {
        let who = world.connect(Door::Public);
        world.send(who, request(&format!("GET /sub/a?after={after}&until={until}&timeout=5"), "", ""));
        let waits = world.is_held(who);
        if !waits {
            after = world.take_answer(who).cursor;
        }
        waits
    });
    assert!(waits, "the same gap must not be told again and again");
    world.finish();
}
