//! Several channels in one poll, several polls on one channel, channels that close.

use serde_json::json;

use super::harness::{START, World};
use crate::limits::{CHANNELS_PER_REQUEST_MAX, TOMBSTONE_MS};

#[test]
fn a_batch_poll_reads_its_channels_as_one() {
    let mut world = World::new();
    for (channels, text) in [("a", "1"), ("c", "2"), ("b,a", "3"), ("x", "4"), ("b,x,c,a", "5")] {
        world.publish(channels, text);
        world.advance(1);
    }
    let answer = world.get("/sub/a,b,c").answer();
    assert_eq!(answer.texts(), ["1", "2", "3", "5"]);
    let channels: Vec<_> = answer.messages.iter().map(|message| message["channels"].clone()).collect();
    assert_eq!(channels, [json!(["a"]), json!(["c"]), json!(["a", "b"]), json!(["a", "b", "c"])]);
    let times: Vec<_> = answer.messages.iter().map(|message| message["time"].as_u64().unwrap()).collect();
    assert_eq!(times, [0, 1, 2, 4].map(|ms| START.wall.0 + ms));
    world.finish();
}

#[test]
fn a_channel_named_twice_counts_once() {
    let mut world = World::new();
    let who = world.poll("a,a,b,a");
    assert_eq!(world.publish("a,a,b", "once"), 1);
    let answer = world.take_answer(who);
    assert_eq!(answer.messages.len(), 1);
    assert_eq!(answer.messages[0]["channels"], json!(["a", "b"]));
    world.finish();
}

#[test]
fn any_of_its_channels_wakes_a_batch_poll_once() {
    let mut world = World::new();
    for (channels, woken) in [("a", 1), ("b", 1), ("a,b", 1), ("b,c,a", 1), ("c", 0)] {
        let who = world.poll("a,b?after=now");
        assert_eq!(world.publish(channels, "x"), woken, "{channels}");
        assert_eq!(world.take_all(who).len() as u64, woken, "{channels}");
        world.end(who);
    }
    assert_eq!(world.shard.counters.deliveries, 4);
    world.finish();
}

#[test]
fn plain_and_batch_polls_on_the_same_channels_are_all_woken() {
    let mut world = World::new();
    let targets = ["a", "b", "a,b", "b,a", "a,c", "a?limit=5", "b", "c"];
    let polls = targets.map(|target| world.poll(target));
    assert_eq!(world.publish("a,b", "x"), 7);
    for (who, target) in polls.into_iter().zip(targets) {
        if target == "c" {
            world.check_held(who);
            continue;
        }
        let answer = world.take_answer(who);
        let names = target.split('?').next().unwrap();
        let expected: Vec<_> = names.split(',').filter(|name| *name != "c").collect();
        assert_eq!(answer.messages[0]["channels"], json!(expected), "{target}");
    }
    assert!(world.shard.wides.is_empty());
    world.finish();
}

#[test]
fn a_batch_poll_leaves_all_its_channels_when_one_wakes_it() {
    let mut world = World::new();
    // Each leaves from the middle of another's list.
    let polls = ["a,b,c", "c,b", "b", "a,c", "c,a,b"].map(|target| world.poll(target));
    assert_eq!(world.publish("a", "first"), 3);
    assert_eq!(world.publish("b", "second"), 2);
    assert_eq!(world.publish("c", "third"), 0);
    for (who, texts) in polls.into_iter().zip([["first"], ["second"], ["second"], ["first"], ["first"]]) {
        assert_eq!(world.take_answer(who).texts(), texts);
    }
    world.finish();
}

#[test]
fn a_batch_poll_that_times_out_resumes_without_loss() {
    let mut world = World::new();
    world.publish("c", "noise");
    let who = world.poll("a,b?timeout=5");
    world.advance(5_000);
    let answer = world.take_answer(who);
    assert!(answer.messages.is_empty());
    world.publish("b", "later");
    let next = world.get(&format!("/sub/a,b?after={}", answer.cursor)).answer();
    assert_eq!(next.texts(), ["later"]);
    world.finish();
}

#[test]
fn a_publication_of_many_is_delivered_together() {
    let mut world = World::new();
    let (plain, batch) = (world.poll("a"), world.poll("a,b"));
    let lines = ["a", "b", "a"].map(|name| format!("{{\"channel\":\"{name}\",\"data\":\"{name}\"}}\n"));
    assert_eq!(world.publisher("POST /pub", lines.concat()).status, 200);
    assert_eq!(world.take_answer(plain).texts(), ["a", "a"]);
    assert_eq!(world.take_answer(batch).texts(), ["a", "b", "a"]);
    world.finish();
}

#[test]
fn sixty_four_channels_in_one_poll_each_carry_their_mark() {
    let mut world = World::new();
    let names: Vec<String> = (0..CHANNELS_PER_REQUEST_MAX).map(|n| format!("c{n}")).collect();
    let who = world.poll(&names.join(","));
    assert_eq!(world.publish(&names.join(","), "all"), 1);
    assert_eq!(world.take_answer(who).messages[0]["channels"], json!(names));
    world.publish("c63", "last");
    let answer = world.get(&format!("/sub/{}", names.join(","))).answer();
    assert_eq!(answer.messages[1]["channels"], json!(["c63"]));
    world.finish();
}

#[test]
fn a_batch_poll_hears_of_no_gap_on_account_of_channels_that_are_not_its_own() {
    let mut world = World::with(|settings| settings.bounds.channel_ttl_ms = 1_000);
    // A channel is forgotten, so that those born since are suspected.
    world.publisher("POST /pub/gone?ttl=1", "x");
    world.advance(10_000);
    assert_eq!(world.shard.queue.channel_count(), 0);
    let who = world.poll("a,b?timeout=50&after=now");
    world.publisher("POST /pub/noise?ttl=1", "y");
    world.advance(10_000);
    world.check_held(who);
    world.publish("a", "hello");
    let answer = world.take_answer(who);
    assert_eq!((answer.gap, answer.texts()), (false, vec!["hello"]));
    world.finish();
}

// -- Channels that close -------------------------------------------------------------

#[test]
fn a_closed_channel_answers_who_waits_and_is_gone_for_who_comes() {
    let mut world = World::new();
    let polls = ["a", "a", "a,b", "a?limit=1"].map(|target| world.poll(target));
    let other = world.poll("b");
    assert_eq!(world.publisher("DELETE /channels/a", "").status, 204);
    for who in polls {
        let answer = world.take_answer(who);
        assert_eq!(answer.closed, ["a"]);
        assert!(answer.messages.is_empty() && !answer.gap);
    }
    world.check_held(other);
    let gone = world.get("/sub/a");
    assert_eq!(gone.status, 410);
    gone.check_problem();
    assert_eq!(world.publisher("POST /pub/a", "x").status, 410);
    assert_eq!(world.publisher("POST /pub/b,a", "x").status, 410);
    world.check_held(other);
    world.advance(TOMBSTONE_MS);
    assert_eq!(world.get("/sub/a?timeout=0").status, 200, "a name is not lost for ever");
    world.finish();
}

#[test]
fn a_batch_poll_with_closed_channels_is_told_which() {
    let mut world = World::new();
    world.publish("b", "kept");
    for name in ["a", "c"] {
        world.publish(name, "lost");
        assert_eq!(world.publisher(&format!("DELETE /channels/{name}"), "").status, 204);
    }
    let answer = world.get("/sub/a,b,c").answer();
    assert_eq!((answer.closed.as_slice(), answer.texts()), (&["a".into(), "c".into()][..], vec!["kept"]));
    let again = world.get(&format!("/sub/a,b?after={}", answer.cursor)).answer();
    assert_eq!((again.closed.as_slice(), again.messages.len()), (&["a".into()][..], 0), "told at once");
    assert_eq!(world.get("/sub/c,a").status, 410, "all of them are closed");
    world.finish();
}

#[test]
fn channels_that_expire_in_the_same_moment_answer_a_batch_poll_once() {
    let mut world = World::new();
    for name in ["a", "b"] {
        let made = world.publisher("POST /channels?ttl=60", format!("{{\"name\":\"{name}\"}}"));
        assert_eq!(made.status, 201);
    }
    let (both, one, with_third) =
        (world.poll("a,b?timeout=100"), world.poll("b?timeout=100"), world.poll("b,c,a?timeout=100"));
    world.advance(60_000);
    assert_eq!(world.take_answer(both).closed, ["a", "b"]);
    assert_eq!(world.take_answer(one).closed, ["b"]);
    assert_eq!(world.take_answer(with_third).closed, ["b", "a"]);
    assert_eq!(world.shard.held, 0);
    world.finish();
}

#[test]
fn a_created_channel_closes_by_itself_and_one_of_first_use_is_forgotten() {
    let mut world = World::with(|settings| settings.bounds.channel_ttl_ms = 60_000);
    world.publisher("POST /channels", "{\"name\":\"made\"}");
    world.publisher("POST /pub/used?ttl=1", "x");
    let who = world.poll("made?timeout=110");
    let stays = world.poll("waited?timeout=110");
    world.advance(70_000);
    assert_eq!(world.take_answer(who).closed, ["made"]);
    world.check_held(stays);
    assert_eq!(world.get("/sub/made").status, 410);
    assert_eq!(world.get("/sub/used?timeout=0").status, 200);
    assert_eq!(world.shard.queue.channel_count(), 1, "only the one that is waited on");
    world.finish();
}

#[test]
fn a_batch_poll_for_which_channels_are_short_leaves_none_behind() {
    let mut world = World::with(|settings| settings.bounds.channels_max = 2);
    let refused = world.get("/sub/a,b,c");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")));
    assert_eq!(world.shard.queue.channel_count(), 0);
    let (first, second) = (world.poll("a"), world.poll("b"));
    world.check_held(first);
    world.check_held(second);
    assert_eq!(world.get("/sub/c").status, 503);
    assert_eq!(world.get("/sub/c?timeout=0").status, 200, "who does not wait needs no channel");
    world.finish();
}
