//! Channels begin, go on and end for all shards at once.

use super::crew::Crew;
use super::*;

#[test]
fn who_is_told_that_a_channel_is_there_finds_it_everywhere() {
    for shard in 0..3 {
        let mut crew = Crew::with(3, |settings| settings.bounds.existing_only = true);
        for at in 0..3 {
            assert_eq!(crew.get(at, "/sub/a?timeout=0").status, 404);
        }
        crew.stuck.insert(2);
        let at = crew.connect(shard.min(1), Door::Publisher);
        crew.send(at, super::super::harness::request("POST /channels", "", "{\"name\":\"a\"}"));
        assert!(crew.take_bytes(at).is_empty(), "a shard does not know it");
        crew.stuck.clear();
        crew.settle();
        assert_eq!(crew.take(at).status, 201);
        for at in 0..3 {
            assert_eq!(crew.get(at, "/sub/a?timeout=0").status, 200);
        }
        crew.finish();
    }
}

#[test]
fn a_close_reaches_all_who_wait_before_its_publisher_is_told() {
    for shard in 0..3 {
        let mut crew = Crew::new(3);
        crew.publish(0, "a", "x");
        let cursor = crew.get(0, "/sub/a?timeout=0").answer().cursor;
        let polls: Vec<_> = (0..3).map(|at| crew.poll(at, &format!("a?after={cursor}"))).collect();
        let wide: Vec<_> = (0..3).map(|at| crew.poll(at, "a,b?after=now")).collect();
        assert_eq!(crew.publisher(shard, "DELETE /channels/a", "").status, 204);
        for poll in polls.into_iter().chain(wide) {
            assert_eq!(crew.take_answer(poll).closed, ["a"]);
        }
        for at in 0..3 {
            assert_eq!(crew.get(at, "/sub/a").status, 410);
            assert_eq!(crew.publisher(at, "POST /pub/a", "x").status, 410);
        }
        assert_eq!(crew.publisher(shard, "POST /channels", "{\"name\":\"a\"}").status, 201);
        for at in 0..3 {
            assert_eq!(crew.get(at, "/sub/a?timeout=0").answer().texts(), [""; 0]);
        }
        crew.finish();
    }
}

/// A channel may be there because somebody waits on it, at a follower and nowhere else.
#[test]
fn a_channel_that_only_a_followers_poll_has_made() {
    for (line, status) in
        [("DELETE /channels/a", 204), ("POST /channels/a/renew", 200), ("GET /channels/a", 200)]
    {
        for shard in 0..3 {
            let mut crew = Crew::new(3);
            let poll = crew.poll(1, "a");
            assert_eq!(crew.publisher(shard, line, "").status, status, "{line} {shard}");
            if status == 204 {
                assert_eq!(crew.take_answer(poll).closed, ["a"]);
                assert_eq!(crew.get(2, "/sub/a").status, 410);
            } else {
                crew.check_held(poll);
            }
            crew.finish();
        }
    }
}

#[test]
fn what_is_told_of_a_channel_counts_all_who_wait() {
    let mut crew = Crew::new(3);
    crew.publish(1, "a", "x");
    for at in [0, 1, 1, 2, 2, 2] {
        crew.poll(at, "a?after=now");
    }
    for at in 0..3 {
        let info = crew.publisher(at, "GET /channels/a", "").json();
        assert_eq!((&info["subscribers"], &info["messages"]), (&6.into(), &1.into()), "{info}");
        let list = crew.publisher(at, "GET /channels", "").json();
        assert_eq!(list["channels"][0]["subscribers"], 6, "{list}");
        assert_eq!(list["channels"].as_array().unwrap().len(), 1);
    }
    crew.finish();
}

/// A created channel that nobody used is closed once, by the hub, and for all.
#[test]
fn the_hub_closes_what_has_expired() {
    for late in [false, true] {
        let mut crew = Crew::new(3);
        assert_eq!(crew.publisher(1, "POST /channels", "{\"name\":\"a\",\"ttl\":5}").status, 201);
        let polls: Vec<_> = (0..3).map(|at| crew.poll(at, "a?timeout=60")).collect();
        if late {
            // The hub hears nothing of the followers for a while, nor they of it.
            crew.stuck.extend([0, 1, 2]);
        }
        crew.advance(4_900);
        polls.iter().for_each(|poll| crew.check_held(*poll));
        crew.advance(3_000);
        if late {
            polls[1..].iter().for_each(|poll| crew.check_held(*poll));
            crew.stuck.clear();
            crew.advance(1);
        }
        for poll in polls {
            assert_eq!(crew.take_answer(poll).closed, ["a"]);
        }
        let entries = crew.publisher(2, "GET /stats", "").json()["log_entries"].clone();
        assert_eq!(entries, 2, "created, and closed once");
        for at in 0..3 {
            assert_eq!(crew.get(at, "/sub/a").status, 410);
        }
        crew.finish();
    }
}

#[test]
fn a_renewal_counts_at_every_shard() {
    let mut crew = Crew::new(3);
    assert_eq!(crew.publisher(1, "POST /channels", "{\"name\":\"a\",\"ttl\":5}").status, 201);
    let polls: Vec<_> = (0..3).map(|at| crew.poll(at, "a?timeout=60")).collect();
    for n in 0..5 {
        crew.advance(3_000);
        assert_eq!(crew.publisher(n % 3, "POST /channels/a/renew", "").status, 200);
    }
    polls.iter().for_each(|poll| crew.check_held(*poll));
    crew.advance(6_000);
    for poll in polls {
        assert_eq!(crew.take_answer(poll).closed, ["a"]);
    }
    crew.finish();
}
