//! A cursor that one shard gave out is good at every other, however far that is behind.

use super::super::harness::ORIGIN;
use super::crew::Crew;
use super::*;
use crate::channel::entry::{Deed, Entry, Published};
use crate::channel::message::Body;
use crate::cursor::Cursor;
use crate::ids::MessageId;

/// Another node's message comes to the hub.
fn learn(crew: &mut Crew, origin: Origin, seq: u64, text: &str) {
    let world = &mut crew.worlds[0];
    let published = Published {
        channels: [("a".parse().unwrap(), 1)].into_iter().collect(),
        media_type: "text/plain".into(),
        body: Body::text(text.into()),
        ttl_ms: 60_000,
        idempotency_key: None,
    };
    let entry = Entry { id: MessageId { origin, seq }, time: world.now.wall, deed: Deed::Publish(published) };
    let hub = world.shard.hub().expect("the hub");
    hub.note_entry(&entry);
    world.shard.queue.apply(entry, world.now);
    world.shard.deliver(world.now);
    crew.post();
}

#[test]
fn a_cursor_of_the_hub_is_good_at_a_follower_that_lags_behind() {
    for target in ["a", "a,b", "a?limit=2"] {
        let mut crew = Crew::new(3);
        crew.publish(1, "a", "0");
        crew.stuck.insert(2);
        for n in 1..4 {
            crew.start_publishing(0, "a", &n.to_string());
        }
        let glue = if target.contains('?') { '&' } else { '?' };
        let first = crew.get(0, &format!("/sub/{target}{glue}timeout=0")).answer();
        let expected: Vec<String> = (0..first.texts().len()).map(|n| n.to_string()).collect();
        assert_eq!(first.texts(), expected);
        let poll = crew.poll(2, &format!("{target}{glue}after={}", first.cursor));
        crew.check_held(poll);
        crew.start_publishing(0, "a", "4");
        crew.stuck.clear();
        crew.settle();
        let mut got = expected;
        let mut answer = crew.take_answer(poll);
        loop {
            assert!(!answer.reset && !answer.gap);
            got.extend(answer.texts().iter().map(|text| text.to_string()));
            if answer.messages.is_empty() {
                break;
            }
            answer = crew.get(1, &format!("/sub/{target}{glue}timeout=0&after={}", answer.cursor)).answer();
        }
        assert_eq!(got, ["0", "1", "2", "3", "4"], "{target}");
        crew.finish();
    }
}

#[test]
fn the_present_of_a_shard_is_not_ahead_of_what_its_publisher_was_told() {
    let mut crew = Crew::new(2);
    crew.publish(0, "a", "before");
    let poll = crew.poll(1, "a?after=now");
    crew.publish(0, "a", "after");
    assert_eq!(crew.take_answer(poll).texts(), ["after"]);
    crew.finish();
}

#[test]
fn what_nobody_can_have_given_out_is_reset_everywhere() {
    let mut crew = Crew::new(3);
    crew.publish(0, "a", "x");
    let tag = crew.worlds[0].shard.settings.tag;
    let one = |origin, seq| {
        let mut seen = VersionVector::default();
        seen.set(origin, seq);
        seen
    };
    for cursor in [
        Cursor { tag, seen: one(ORIGIN, 2) },
        Cursor { tag, seen: one(Origin(77), 1) },
        // What a shard that follows is called is nothing that anybody numbers with.
        Cursor { tag, seen: one(Origin(1), 1) },
        Cursor { tag: ClusterTag(tag.0 ^ 1), seen: one(ORIGIN, 1) },
    ] {
        for shard in 0..3 {
            let answer = crew.get(shard, &format!("/sub/a?after={}", cursor.to_text())).answer();
            assert!(answer.reset, "{cursor:?} at {shard}");
            assert_eq!(answer.texts(), ["x"]);
        }
    }
    // A lagging shard knows how far the numbers have come.
    crew.stuck.insert(2);
    crew.start_publishing(0, "a", "y");
    for (seq, reset) in [(2, false), (3, true)] {
        let cursor = Cursor { tag, seen: one(ORIGIN, seq) };
        let poll = crew.poll(2, &format!("a?after={}", cursor.to_text()));
        if reset {
            assert!(crew.take_answer(poll).reset);
        } else {
            crew.check_held(poll);
        }
    }
    crew.finish();
}

/// A node that nobody here had heard of: the hub has its first message, a follower not yet.
#[test]
fn a_cursor_that_names_an_origin_which_a_follower_has_not_heard_of_is_not_reset() {
    let mut crew = Crew::new(2);
    crew.stuck.insert(1);
    learn(&mut crew, Origin(99), 1, "from afar");
    let answer = crew.get(0, "/sub/a?timeout=0").answer();
    assert_eq!(answer.texts(), ["from afar"]);
    let again = format!("/sub/a?timeout=0&after={}", answer.cursor);
    assert_eq!(crew.get(1, &again).status, 503, "in doubt it is not reset");
    crew.stuck.clear();
    crew.settle();
    let answer = crew.get(1, &again).answer();
    assert!(!answer.reset && answer.messages.is_empty());
    // What comes of an origin that is known puts nothing in doubt.
    crew.stuck.insert(1);
    learn(&mut crew, Origin(99), 2, "more");
    let mut seen = VersionVector::default();
    seen.set(Origin(5), 1);
    let foreign = Cursor { tag: crew.worlds[0].shard.settings.tag, seen };
    assert!(crew.get(1, &format!("/sub/a?after={}", foreign.to_text())).answer().reset);
    crew.finish();
}

/// The same when the cluster's members have changed, which polls are judged by.
#[test]
fn a_follower_that_has_not_been_told_of_the_members_resets_nobody() {
    let mut crew = Crew::new(2);
    crew.publish(0, "a", "x");
    let mut seen = VersionVector::default();
    seen.set(Origin(5), 1);
    let unknown = Cursor { tag: crew.worlds[0].shard.settings.tag, seen };
    let again = format!("/sub/a?timeout=0&after={}", unknown.to_text());
    assert!(crew.get(1, &again).answer().reset);
    crew.stuck.insert(1);
    crew.worlds[0].shard.hub().expect("the hub").pretend_members(vec![Origin(5)]);
    assert_eq!(crew.get(1, &again).status, 503);
    crew.stuck.clear();
    crew.settle();
    assert_eq!(crew.get(1, &again).status, 200);
    crew.finish();
}
