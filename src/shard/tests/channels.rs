//! Channels created, renewed, closed, listed and described.

use serde_json::{Value, json};

use super::harness::{START, World};
use super::*;

#[test]
fn a_channel_without_a_name_gets_a_unique_integer() {
    let mut world = World::new();
    let mut names = Vec::new();
    for _ in 0..50 {
        let response = world.publisher("POST /channels", "");
        assert_eq!(response.status, 201);
        let name = response.json()["channel"].as_str().unwrap().to_owned();
        assert_eq!(response.field("location"), Some(&*format!("/channels/{name}")));
        let number: u64 = name.parse().unwrap();
        assert!(number > 0 && number < 1 << 53 && name == number.to_string());
        assert!(!names.contains(&name));
        names.push(name);
    }
    let who = world.poll(&names[7]);
    assert_eq!(world.publish(&names[7], "x"), 1);
    assert_eq!(world.take_answer(who).texts(), ["x"]);
    world.finish();
}

#[test]
fn creating_tells_when_the_channel_expires() {
    let mut world = World::new();
    let default_ms = Config::default().channel_ttl_s * 1_000;
    for (line, body, name, ttl_ms) in [
        ("POST /channels", json!({"name": "a"}), "a", default_ms),
        ("POST /channels", json!({"name": "b", "ttl": 60}), "b", 60_000),
        ("POST /channels?ttl=70", json!({"name": "c"}), "c", 70_000),
    ] {
        let response = world.publisher(line, body.to_string());
        assert_eq!(response.status, 201);
        assert_eq!(response.json(), json!({"channel": name, "expires": START.wall.0 + ttl_ms}));
    }
    let again = world.publisher("POST /channels", "{\"name\":\"a\",\"ttl\":5}");
    assert_eq!((again.status, again.json()["expires"].clone()), (200, json!(START.wall.0 + 5_000)));
    world.finish();
}

#[test]
fn renewing_moves_the_expiry() {
    let mut world = World::new();
    world.publisher("POST /channels?ttl=60", "{\"name\":\"a\"}");
    world.advance(59_000);
    let renewed = world.publisher("POST /channels/a/renew", "");
    assert_eq!(renewed.status, 200);
    assert_eq!(renewed.json(), json!({"channel": "a", "expires": START.wall.0 + 119_000}));
    world.advance(59_999);
    assert_eq!(world.publisher("GET /channels/a", "").status, 200);
    let renewed = world.publisher("POST /channels/a/renew", "{\"ttl\":1}");
    assert_eq!(renewed.json()["expires"], world.now.wall.0 + 1_000);
    world.advance(999);
    assert_eq!(world.publisher("GET /channels/a", "").status, 200);
    world.advance(1);
    assert_eq!(world.publisher("GET /channels/a", "").status, 410);
    assert_eq!(world.publisher("POST /channels/a/renew", "").status, 410);
    assert_eq!(world.publisher("POST /channels/b/renew", "").status, 404);
    world.finish();
}

#[test]
fn a_publication_postpones_the_expiry() {
    let mut world = World::new();
    world.publisher("POST /channels?ttl=10", "{\"name\":\"a\"}");
    world.advance(9_000);
    world.publish("a", "x");
    world.advance(9_999);
    assert_eq!(world.publisher("GET /channels/a", "").status, 200);
    world.advance(1);
    assert_eq!(world.publisher("GET /channels/a", "").status, 410);
    world.finish();
}

#[test]
fn a_channel_is_described() {
    let mut world = World::new();
    world.publish("a", "hello");
    let polls = [world.poll("a?after=now"), world.poll("a,b?after=now")];
    let info = world.publisher("GET /channels/a", "").json();
    assert_eq!(
        (&info["channel"], &info["subscribers"], &info["messages"]),
        (&json!("a"), &json!(2), &json!(1))
    );
    assert_eq!(info["created"], false);
    let bytes = info["bytes"].as_u64().unwrap() as usize;
    assert_eq!(bytes, world.shard.queue.cached_bytes());
    assert!(bytes > 5);
    let expires = info["expires"].as_u64().unwrap();
    assert_eq!(expires, START.wall.0 + Config::default().channel_ttl_s * 1_000);
    polls.iter().for_each(|who| world.end(*who));
    assert_eq!(world.publisher("GET /channels/a", "").json()["subscribers"], 0);
    world.publisher("POST /channels", "{\"name\":\"a\"}");
    assert_eq!(world.publisher("GET /channels/a", "").json()["created"], true);
    assert_eq!(world.publisher("GET /channels/x", "").status, 404);
    world.finish();
}

#[test]
fn the_list_comes_in_pages_that_miss_none_and_repeat_none() {
    let mut world = World::new();
    for n in 0..25 {
        world.publish(&format!("c{n}"), "x");
    }
    world.publisher("DELETE /channels/c7", "");
    let mut names = Vec::new();
    let mut line = "GET /channels?limit=4".to_owned();
    for pages in 0.. {
        assert!(pages < 20, "no end");
        let page = world.publisher(&line, "").json();
        let rows = page["channels"].as_array().unwrap().clone();
        assert!(rows.len() <= 4);
        names.extend(rows.iter().map(|row| row["channel"].as_str().unwrap().to_owned()));
        match page.get("next") {
            Some(next) => line = format!("GET /channels?limit=4&from={next}"),
            None => break,
        }
    }
    let mut expected: Vec<_> = (0..25).filter(|n| *n != 7).map(|n| format!("c{n}")).collect();
    expected.sort();
    names.sort();
    assert_eq!(names, expected);
    let all = world.publisher("GET /channels", "").json();
    assert_eq!((all["channels"].as_array().unwrap().len(), all.get("next")), (24, None));
    world.finish();
}

#[test]
fn bad_channel_requests_are_told_what_is_wrong() {
    let mut world = World::new();
    world.publisher("POST /channels", "{\"name\":\"a\"}");
    for (line, body, status) in [
        ("POST /channels", "{\"name\":\"a b\"}", 400),
        ("POST /channels", "{\"name\":1}", 400),
        ("POST /channels", "{\"nam\":\"a\"}", 400),
        ("POST /channels", "[]", 400),
        ("POST /channels", "{", 400),
        ("POST /channels", "{\"ttl\":0}", 400),
        ("POST /channels", "{\"ttl\":\"5\"}", 400),
        ("POST /channels?ttl=-5", "", 400),
        ("POST /channels/a/renew", "{\"name\":\"b\"}", 400),
        ("POST /channels/a%20b/renew", "", 400),
        ("GET /channels/a%00", "", 400),
        ("GET /channels?limit=0", "", 400),
        ("GET /channels?from=x", "", 400),
        ("DELETE /channels/b", "", 404),
        ("GET /channels/b", "", 404),
        ("GET /channels/a/b", "", 404),
        ("PUT /channels/a", "", 405),
        ("DELETE /channels", "", 405),
        ("GET /channels/a/renew", "", 405),
    ] {
        let response = world.publisher(line, body);
        assert_eq!(response.status, status, "{line} {body}");
        response.check_problem();
        assert_eq!(response.field("allow").is_some(), status == 405, "{line}");
    }
    assert_eq!(world.shard.queue.channel_count(), 1);
    world.finish();
}

#[test]
fn existing_only_refuses_what_was_not_created() {
    let mut world = World::with(|settings| settings.bounds.existing_only = true);
    assert_eq!(world.get("/sub/a").status, 404);
    assert_eq!(world.publisher("POST /pub/a", "x").status, 404);
    world.publisher("POST /channels", "{\"name\":\"a\"}");
    assert_eq!(world.get("/sub/a?timeout=0").status, 200);
    assert_eq!(world.get("/sub/a,b?timeout=0").status, 404);
    assert_eq!(world.publisher("POST /pub/a,b", "x").status, 404);
    assert_eq!(world.publisher("GET /channels/a", "").json()["messages"], 0, "all or nothing");
    assert_eq!(world.publisher("POST /pub/a", "x").status, 201);
    let results =
        world.publisher("POST /pub", "[{\"channel\":\"b\",\"data\":1},{\"channel\":\"a\",\"data\":1}]");
    assert_eq!(results.json()[0]["error"]["status"], 404);
    assert_eq!(results.json()[1]["error"], Value::Null);
    world.finish();
}

#[test]
fn a_deleted_channel_can_be_created_again_and_old_cursors_hear_of_the_gap() {
    let mut world = World::new();
    world.publish("a", "seen");
    let seen = world.get("/sub/a").answer().cursor;
    world.publish("a", "missed");
    let current = world.get("/sub/a").answer().cursor;
    assert_eq!(world.publisher("DELETE /channels/a", "").status, 204);
    assert_eq!(world.publisher("DELETE /channels/a", "").status, 410);
    assert_eq!(world.publisher("POST /channels", "{\"name\":\"a\"}").status, 201);
    assert!(world.get(&format!("/sub/a?after={seen}")).answer().gap);
    let up_to_date = world.get(&format!("/sub/a?timeout=0&after={current}")).answer();
    assert!(!up_to_date.gap && up_to_date.messages.is_empty());
    world.finish();
}
