//! A shard that takes no letters makes the others refuse; nothing grows without bound meanwhile.

use super::super::harness::request;
use super::crew::{At, Crew};
use super::*;
use crate::limits::TEAM_BYTES_MAX;

const BODY: usize = 1 << 20;

/// Publishes until it is refused; tells how often it was not.
fn fill(crew: &mut Crew, shard: usize) -> usize {
    for n in 0..10_000 {
        let at = crew.connect(shard, Door::Publisher);
        crew.send(at, request(&format!("POST /pub/c{}", n % 10), "", vec![b'x'; BODY]));
        let bytes = crew.take_bytes(at);
        if !bytes.is_empty() {
            assert!(bytes.starts_with(b"HTTP/1.1 503 "), "{}", bytes.escape_ascii());
            return n;
        }
        // Whoever has waited in vain goes.
        crew.worlds[shard].reset(at.1);
        assert!(crew.worlds[0].shard.team.as_ref().unwrap().bytes() <= TEAM_BYTES_MAX + 2 * BODY);
    }
    panic!("it is never refused");
}

#[test]
fn a_follower_that_takes_no_letters_makes_the_hub_refuse() {
    for shard in [0, 1] {
        let mut crew = Crew::new(3);
        crew.stuck.insert(2);
        let count = fill(&mut crew, shard);
        assert!((8..=17).contains(&count), "{count}");
        for line in [
            "POST /pub",
            "POST /channels",
            "POST /channels/c0/renew",
            "DELETE /channels/c0",
            "GET /stats",
            "GET /channels",
            "GET /channels/c0",
        ] {
            let response = crew.publisher(shard, line, "");
            assert_eq!((response.status, response.field("retry-after").is_some()), (503, true), "{line}");
        }
        assert_eq!(crew.get(shard, "/livez").status, 200);
        assert_eq!(crew.get(shard, "/sub/c0?timeout=0").status, 200);
        crew.stuck.clear();
        crew.settle();
        assert_eq!(crew.publish(shard, "a", "x"), 0);
        crew.finish();
    }
}

/// Small ones count too, whoever has waited in vain and left.
#[test]
fn whatever_waits_is_counted() {
    for (line, fields) in [
        ("POST /pub/a", ""),
        ("POST /pub/a", "Idempotency-Key: k\r\n"),
        ("POST /pub", ""),
        ("GET /stats", ""),
        ("GET /channels", ""),
        ("GET /channels/a", ""),
        ("POST /channels", ""),
        ("POST /channels/a/renew", ""),
    ] {
        for shard in [0, 1] {
            let mut crew = Crew::new(3);
            crew.publish(0, "a", "x");
            crew.stuck.insert(2);
            let key = request("POST /pub/a", "Idempotency-Key: k\r\n", "");
            let first = crew.connect(0, Door::Publisher);
            crew.send(first, &key);
            let before = crew.worlds[0].shard.team.as_ref().unwrap().bytes();
            for _ in 0..200 {
                let at = crew.connect(shard, Door::Publisher);
                let body = if line.starts_with("POST") { "{}" } else { "" };
                crew.send(at, request(line, fields, body));
                assert!(crew.take_bytes(at).is_empty(), "{line} waits");
                crew.worlds[shard].reset(at.1);
            }
            let after = crew.worlds[0].shard.team.as_ref().unwrap().bytes();
            assert!(after >= before + 200 * 64, "{line}: {after}");
            crew.finish();
        }
    }
}

/// A hub that takes no letters: a follower refuses what it cannot hand over.
#[test]
fn errands_are_bounded_while_the_hub_takes_none() {
    let mut crew = Crew::new(2);
    crew.stuck.insert(0);
    let count = fill(&mut crew, 1);
    assert!((8..=34).contains(&count), "{count}");
    assert!(crew.worlds[1].shard.team.as_ref().unwrap().bytes() <= TEAM_BYTES_MAX + 2 * BODY);
    let poll = crew.poll(1, "c0");
    crew.check_held(poll);
    crew.stuck.clear();
    crew.settle();
    assert!(!crew.take_bytes(poll).is_empty());
    crew.finish();
}

/// What peers say is not refused: the loop is told not to read them.
#[test]
fn links_are_not_to_be_read_while_a_follower_is_far_behind() {
    let mut crew = Crew::new(2);
    crew.stuck.insert(1);
    assert!(crew.worlds[0].shard.wants_links());
    fill(&mut crew, 0);
    assert!(!crew.worlds[0].shard.wants_links());
    crew.stuck.clear();
    crew.settle();
    assert!(crew.worlds[0].shard.wants_links());
    crew.finish();
}

/// What the hub publishes is held by every shard, and the cache's bound is each one's.
#[test]
fn every_shard_keeps_within_its_memory() {
    let mut crew = Crew::with(3, |settings| {
        settings.bounds.cache_bytes_max = 2 * BODY;
        settings.memory_bytes_max = 8 * BODY;
    });
    let polls: Vec<At> = (0..3).map(|shard| crew.poll(shard, "a")).collect();
    for n in 0..20 {
        assert_eq!(crew.publisher(n % 3, &format!("POST /pub/c{}", n % 4), vec![b'x'; BODY / 2]).status, 201);
        for world in &crew.worlds {
            assert!(world.shard.memory_bytes() <= (2 + 2 + 1) * BODY, "{}", world.shard.memory_bytes());
        }
    }
    polls.iter().for_each(|at| crew.check_held(*at));
    crew.finish();
}

/// Each shard has an equal part of what the cache leaves, however full that is.
#[test]
fn messages_and_all_else_do_not_take_each_other_s_memory() {
    let mut crew = Crew::with(2, |settings| {
        settings.bounds.cache_bytes_max = 100_000;
        settings.memory_bytes_max = 400_000;
    });
    let share = (400_000 - 100_000 - 400_000 / 8) / 2;
    for n in 0..20 {
        for world in &crew.worlds {
            let used = world.shard.memory_bytes() - world.shard.queue.cached_bytes();
            assert!(world.shard.has_room(share - used) && !world.shard.has_room(share - used + 1));
        }
        assert_eq!(crew.publisher(n % 2, "POST /pub/a", vec![b'x'; 10_000]).status, 201);
    }
    assert!(crew.worlds[1].shard.queue.cached_bytes() > 80_000);
    crew.finish();
}
