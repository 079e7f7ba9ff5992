//! Orders of an operator concern all shards; the hub waits for those that follow it.

use super::super::harness::request;
use super::crew::{At, Crew};
use super::*;
use crate::limits::DRAIN_LAST_MS;

const DRAIN_MS: u64 = 10_000;

fn begin(crew: &mut Crew) {
    let world = &mut crew.worlds[0];
    world.shard.begin_drain(DRAIN_MS, world.now);
    world.tick();
    crew.settle();
}

/// What a follower's thread does in the end.
fn end(crew: &mut Crew, shard: usize) {
    let world = &mut crew.worlds[shard];
    assert!(world.shard.is_drained(world.now));
    world.shard.say_over();
    crew.settle();
    crew.stuck.insert(shard);
}

#[test]
fn all_shards_let_go_together_and_the_hub_waits_for_them() {
    let mut crew = Crew::new(3);
    let polls: Vec<At> = (0..30).map(|n| crew.poll(n % 3, "a?timeout=120")).collect();
    begin(&mut crew);
    for shard in 0..3 {
        let response = crew.get(shard, "/healthz");
        assert!(response.status == 404 && response.closes());
    }
    assert_eq!(crew.publish(1, "a,b", "to the last"), 30);
    for poll in polls {
        let response = crew.take(poll);
        assert!(response.closes() && response.answer().texts() == ["to the last"]);
        crew.worlds[poll.0].end(poll.1);
    }
    let response = crew.publisher(2, "POST /pub/a", "x");
    assert!(response.closes(), "an errand's answer is the last, too");
    crew.advance(100);
    assert!(!crew.worlds[0].shard.is_drained(crew.now()), "the others have sockets");
    for shard in [2, 1] {
        assert!(!crew.worlds[0].shard.is_drained(crew.now()));
        end(&mut crew, shard);
    }
    assert!(crew.worlds[0].shard.is_drained(crew.now()));
    crew.finish();
}

#[test]
fn a_follower_that_says_nothing_is_not_waited_for_for_ever() {
    let mut crew = Crew::new(2);
    crew.stuck.insert(1);
    begin(&mut crew);
    crew.advance(DRAIN_MS);
    assert!(!crew.worlds[0].shard.is_drained(crew.now()));
    crew.advance(2 * DRAIN_LAST_MS);
    assert!(crew.worlds[0].shard.is_drained(crew.now()));
    crew.finish();
}

/// While the hub's clients are still there, nobody waits for a shard that has ended.
#[test]
fn who_has_ended_is_waited_for_by_nobody() {
    let mut crew = Crew::new(3);
    let keeper = crew.connect(0, Door::Publisher);
    crew.worlds[0].send(keeper.1, "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx");
    begin(&mut crew);
    // It is asked, and delivers nothing more before it ends.
    crew.stuck.insert(2);
    let waiting = [crew.start_publishing(0, "a", "x"), crew.start_publishing(1, "a", "y")];
    let asking = crew.connect(0, Door::Publisher);
    crew.send(asking, request("GET /stats", "", ""));
    crew.settle();
    waiting.iter().for_each(|at| assert!(crew.take_bytes(*at).is_empty()));
    crew.worlds[2].shard.say_over();
    crew.settle();
    for at in waiting {
        assert_eq!(crew.take(at).status, 201);
    }
    assert_eq!(crew.take(asking).status, 200);
    for at in waiting {
        crew.worlds[at.0].end(at.1);
    }
    assert_eq!(crew.publish(1, "a", "z"), 0);
    assert_eq!(crew.publisher(0, "GET /channels/a", "").json()["messages"], 3);
    end(&mut crew, 1);
    assert_eq!(crew.publish(0, "a", "z"), 0);
    assert_eq!(crew.publisher(0, "GET /stats", "").status, 200);
    crew.finish();
}

#[test]
fn new_settings_are_every_shards() {
    let mut crew = Crew::new(3);
    let mut settings = super::super::harness::settings();
    settings.body_bytes_max = 10;
    settings.bounds.existing_only = true;
    let keys = Arc::new(Keys::default());
    crew.worlds[0].shard.reconfigure(settings, keys);
    crew.settle();
    for shard in 0..3 {
        assert_eq!(crew.publisher(shard, "POST /pub/a", "12345678901").status, 413);
        assert_eq!(crew.publisher(shard, "POST /pub/a", "x").status, 404);
        assert_eq!(crew.get(shard, "/sub/a").status, 404);
    }
    crew.finish();
}

#[test]
fn a_clients_polls_are_counted_at_all_shards_together() {
    let mut crew = Crew::with(3, |settings| settings.polls_per_client_max = 2);
    let from = |crew: &mut Crew, shard: usize, client: &str| {
        let who = crew.worlds[shard].connect_from(Door::Public, client);
        crew.worlds[shard].poll_again(who, "a?timeout=5");
        At(shard, who)
    };
    let polls: Vec<At> = (0..2).map(|shard| from(&mut crew, shard, "192.0.2.1")).collect();
    for shard in 0..3 {
        let refused = from(&mut crew, shard, "192.0.2.1");
        assert_eq!(crew.take(refused).status, 429);
    }
    let other = from(&mut crew, 2, "192.0.2.2");
    crew.check_held(other);
    crew.worlds[polls[0].0].reset(polls[0].1);
    let next = from(&mut crew, 2, "192.0.2.1");
    crew.check_held(next);
    crew.advance(6_000);
    assert_eq!(crew.take(next).status, 200);
    assert_eq!(crew.take(polls[1]).status, 200);
    let again: Vec<At> = (1..3).map(|shard| from(&mut crew, shard, "192.0.2.1")).collect();
    again.iter().for_each(|at| crew.check_held(*at));
    crew.finish();
}

#[test]
fn a_limit_that_comes_and_goes_at_all_shards() {
    let mut crew = Crew::new(2);
    let change = |crew: &mut Crew, most| {
        let mut settings = super::super::harness::settings();
        settings.polls_per_client_max = most;
        crew.worlds[0].shard.reconfigure(settings, Arc::new(Keys::default()));
        crew.settle();
    };
    let from = |crew: &mut Crew, shard: usize| {
        let who = crew.worlds[shard].connect_from(Door::Public, "192.0.2.1");
        crew.worlds[shard].poll_again(who, "a?timeout=5");
        At(shard, who)
    };
    from(&mut crew, 0);
    for _ in 0..3 {
        change(&mut crew, 1);
        let held = from(&mut crew, 0);
        let refused = from(&mut crew, 1);
        crew.check_held(held);
        assert_eq!(crew.take(refused).status, 429);
        change(&mut crew, 0);
        let more = from(&mut crew, 1);
        crew.check_held(more);
    }
    crew.finish();
}
