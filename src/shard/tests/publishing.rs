//! Publications: one, many, repeated, wrong; and what operators look at.

use serde_json::{Value, json};

use super::harness::{START, World, request};
use super::response::Response;
use super::*;
use crate::limits::{BATCH_PUBLICATIONS_MAX, IDEMPOTENCY_MS};

#[track_caller]
fn publish_with(world: &mut World, fields: &str, body: &[u8]) -> Response {
    world.request(Door::Publisher, "POST /pub/news", fields, body)
}

/// The results of a batch, a line each.
fn lines(response: &Response) -> Vec<Value> {
    response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_publication_gets_an_id_a_time_and_the_count_of_polls_it_woke() {
    let mut world = World::new();
    let polls = [world.poll("news"), world.poll("news,more")];
    let response = world.publisher("POST /pub/news,other", "hello");
    assert_eq!((response.status, response.field("content-type")), (201, Some("application/json")));
    let expected = json!({"id": "a1b2c3d4e5f60718-1", "time": START.wall.0, "subscribers": 2});
    assert_eq!(response.json(), expected);
    for who in polls {
        assert_eq!(world.take_answer(who).messages[0]["id"], expected["id"]);
    }
    assert_eq!(world.shard.counters.publications, 1);
    world.finish();
}

#[test]
fn a_poll_on_two_channels_of_a_publication_is_counted_once() {
    let mut world = World::new();
    world.poll("a,b");
    world.poll("b");
    assert_eq!(world.publish("a,b", "x"), 2);
    world.finish();
}

#[test]
fn a_body_is_shown_by_its_type() {
    let cases: &[(&str, &[u8], Value)] = &[
        ("", b"plain", json!({"type": "text/plain", "data": "plain"})),
        ("", b"\xff\x00", json!({"type": "application/octet-stream", "encoding": "base64", "data": "/wA="})),
        ("Content-Type: text/plain\r\n", b"", json!({"type": "text/plain", "data": ""})),
        (
            "Content-Type: application/json\r\n",
            b"{\"a\":[1]}",
            json!({"type": "application/json", "data": {"a": [1]}}),
        ),
        ("Content-Type: a/b+json\r\n", b"null", json!({"type": "a/b+json", "data": null})),
        (
            "Content-Type: image/png\r\n",
            b"abc",
            json!({"type": "image/png", "encoding": "base64", "data": "YWJj"}),
        ),
    ];
    for (fields, body, expected) in cases {
        let mut world = World::new();
        assert_eq!(publish_with(&mut world, fields, body).status, 201);
        let mut message = world.get("/sub/news").answer().messages.remove(0);
        let members = message.as_object_mut().unwrap();
        for common in ["id", "time", "channels"] {
            assert!(members.remove(common).is_some());
        }
        assert_eq!(&message, expected);
        world.finish();
    }
}

#[test]
fn bad_publications_are_told_what_is_wrong_and_change_nothing() {
    let mut world = World::new();
    let long = "k".repeat(129);
    let cases: &[(&str, String, &[u8], u16)] = &[
        ("/pub/news", "Content-Type: application/json\r\n".into(), b"{", 400),
        ("/pub/news", "Content-Type: application/json\r\n".into(), b"\"\xff\"", 400),
        ("/pub/news", "Content-Type: application/json\r\n".into(), &[b'['; 33], 400),
        ("/pub/news", "Content-Encoding: gzip\r\n".into(), b"x", 415),
        ("/pub/news", "Content-Type: none\r\n".into(), b"x", 400),
        ("/pub/news", format!("Content-Type: a/{long}\r\n"), b"x", 400),
        ("/pub/news", format!("Idempotency-Key: {long}\r\n"), b"x", 400),
        ("/pub/news", "Idempotency-Key:\r\n".into(), b"x", 400),
        ("/pub/news", "TTL: 0\r\n".into(), b"x", 400),
        ("/pub/news?ttl=x", String::new(), b"x", 400),
        ("/pub/news?ttl=31622401", String::new(), b"x", 400),
        ("/pub/news?ack=all", String::new(), b"x", 400),
        ("/pub/news", "Ack: two\r\n".into(), b"x", 400),
        ("/pub/news?ack=one", String::new(), b"x", 503),
        ("/pub/a%20b", String::new(), b"x", 400),
        ("/pub/a,%00", String::new(), b"x", 400),
        ("/pub/", String::new(), b"x", 404),
        ("/pub/a/b", String::new(), b"x", 404),
        ("/sub/a", String::new(), b"x", 404),
    ];
    for (target, fields, body, status) in cases {
        let response = world.request(Door::Publisher, &format!("POST {target}"), fields, body);
        assert_eq!(response.status, *status, "{target} {fields}");
        response.check_problem();
        assert_eq!(response.field("retry-after").is_some(), *status == 503);
    }
    assert_eq!(world.shard.queue.head(), &VersionVector::default());
    assert_eq!(world.shard.queue.channel_count(), 0);
    assert_eq!(world.shard.counters.requests_refused, cases.len() as u64);
    world.finish();
}

#[test]
fn ttl_comes_by_query_or_field_and_the_query_goes_before() {
    for (target, fields, ttl_s) in [
        ("POST /pub/news?ttl=20", "", 20),
        ("POST /pub/news", "TTL: 20\r\n", 20),
        ("POST /pub/news?ttl=20", "TTL: 1\r\n", 20),
        ("POST /pub/news", "", 300),
    ] {
        let mut world = World::new();
        world.request(Door::Publisher, target, fields, "x");
        world.advance(ttl_s * 1_000 - 1);
        assert_eq!(world.get("/sub/news").answer().messages.len(), 1, "{target} {fields}");
        world.advance(1);
        assert!(world.get("/sub/news?timeout=0").answer().messages.is_empty(), "{target} {fields}");
        world.finish();
    }
}

#[test]
fn a_node_by_itself_acknowledges_local_and_quorum() {
    let mut world = World::new();
    for target in ["?ack=local", "?ack=quorum", ""] {
        assert_eq!(world.publisher(&format!("POST /pub/news{target}"), "x").status, 201);
    }
    let response = world.request(Door::Publisher, "POST /pub/news", "Ack: quorum\r\n", "x");
    assert_eq!(response.status, 201);
    world.finish();
}

#[test]
fn a_publication_sent_again_is_recognised_by_its_key() {
    let mut world = World::new();
    let who = world.poll("news");
    let first = publish_with(&mut world, "Idempotency-Key: k1\r\n", b"once").json();
    assert_eq!(first["subscribers"], 1);
    let after = world.take_answer(who).cursor;
    world.poll_again(who, &format!("news?after={after}"));
    world.advance(1_000);
    let again = publish_with(&mut world, "Idempotency-Key: k1\r\n", b"once").json();
    let expected = json!({"id": first["id"], "time": first["time"], "subscribers": 0, "duplicate": true});
    assert_eq!(again, expected);
    world.check_held(who);
    assert_ne!(publish_with(&mut world, "Idempotency-Key: k2\r\n", b"other").json()["id"], first["id"]);
    world.advance(IDEMPOTENCY_MS);
    let late = publish_with(&mut world, "Idempotency-Key: k1\r\n", b"once").json();
    assert_eq!(late["duplicate"], Value::Null, "five minutes later it is another");
    assert_eq!(world.shard.counters.publications_repeated, 1);
    world.finish();
}

#[test]
fn a_publication_that_was_refused_does_not_use_up_its_key() {
    let mut world = World::with(|settings| settings.bounds.existing_only = true);
    assert_eq!(publish_with(&mut world, "Idempotency-Key: k\r\n", b"x").status, 404);
    world.publisher("POST /channels", "{\"name\":\"news\"}");
    let response = publish_with(&mut world, "Idempotency-Key: k\r\n", b"x");
    assert_eq!((response.status, response.json()["duplicate"].clone()), (201, Value::Null));
    world.finish();
}

// -- Many ------------------------------------------------------------------------------

#[test]
fn many_publications_get_a_result_each_in_order() {
    let mut world = World::new();
    let who = world.poll("a");
    let body = concat!(
        "{\"channel\":\"a\",\"data\":\"text\"}\n",
        "\r\n",
        "not json\n",
        "{\"channels\":[\"a\",\"b\"],\"data\":{\"x\":1},\"ttl\":5,\"key\":\"k\"}\r\n",
        "{\"channel\":\"a b\",\"data\":1}\n",
        "{\"channel\":\"b\",\"data\":\"again\",\"key\":\"k\"}",
    );
    let response = world.publisher("POST /pub", body);
    assert_eq!((response.status, response.field("content-type")), (200, Some("application/x-ndjson")));
    let results = lines(&response);
    assert_eq!(results.len(), 5);
    assert_eq!(results[0]["id"], "a1b2c3d4e5f60718-1");
    assert_eq!(results[1]["error"]["status"], 400);
    assert_eq!(results[2]["id"], "a1b2c3d4e5f60718-2");
    assert_eq!(results[3]["error"]["status"], 400);
    assert_eq!((&results[4]["id"], &results[4]["duplicate"]), (&results[2]["id"], &json!(true)));
    let answer = world.take_answer(who);
    assert_eq!(answer.messages.len(), 2, "delivered together");
    assert_eq!(answer.messages[1]["data"], json!({"x": 1}));
    world.finish();
}

#[test]
fn an_array_is_answered_by_an_array() {
    let mut world = World::new();
    let response = world.publisher("POST /pub", " [{\"channel\":\"a\",\"data\":1}, {\"channel\":\"a\"}]");
    assert_eq!((response.status, response.field("content-type")), (200, Some("application/json")));
    let results = response.json();
    assert_eq!(results.as_array().unwrap().len(), 2);
    assert_eq!(results[0]["subscribers"], 0);
    assert_eq!(results[1]["error"]["status"], 400);
    assert_eq!(world.publisher("POST /pub", "[]").json(), json!([]));
    assert_eq!(world.publisher("POST /pub", "[").status, 400);
    world.finish();
}

#[test]
fn a_batch_has_at_most_ten_thousand() {
    let mut world = World::new();
    let line = "{\"channel\":\"a\",\"data\":1}\n";
    let most = world.publisher("POST /pub", line.repeat(BATCH_PUBLICATIONS_MAX));
    assert_eq!(lines(&most).len(), BATCH_PUBLICATIONS_MAX);
    let more = world.publisher("POST /pub", line.repeat(BATCH_PUBLICATIONS_MAX + 1));
    assert_eq!(more.status, 413);
    more.check_problem();
    assert_eq!(world.shard.counters.publications, BATCH_PUBLICATIONS_MAX as u64, "all of it or nothing");
    world.finish();
}

#[test]
fn the_largest_body_is_taken_and_a_larger_one_is_not_read() {
    let mut world = World::with(|settings| settings.body_bytes_max = 1_000);
    assert_eq!(world.publisher("POST /pub/news", "x".repeat(1_000)).status, 201);
    let who = world.connect(Door::Publisher);
    world.send(who, "POST /pub/news HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n");
    let response = world.take(who);
    assert!(response.status == 413 && response.closes() && world.is_over(who));
    world.finish();
}

// -- Operating -------------------------------------------------------------------------

#[test]
fn metrics_and_stats_show_the_same_figures() {
    let mut world = World::new();
    world.poll("a");
    world.publish("b", "x");
    world.advance(12_345);
    let stats = world.publisher("GET /stats", "");
    let text = world.publisher("GET /metrics", "");
    assert_eq!(text.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let stats = stats.json();
    assert_eq!(stats["origin"], "a1b2c3d4e5f60718");
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    let expected = [
        ("held_polls", 1),
        ("channels", 2),
        ("publications_total", 1),
        ("uptime_seconds", 12),
        ("cached_messages", 1),
        ("log_entries", 1),
        ("polls_total", 1),
        ("connections", 2),
    ];
    for (name, value) in expected {
        assert_eq!(stats[name], value, "{name}");
        let line = format!("\npushup_{name} {value}\n");
        assert!(text.text().contains(&line), "{line}");
    }
    world.finish();
}

#[test]
fn health_is_told_at_both_doors_and_the_rest_at_the_publisher_s_alone() {
    let mut world = World::new();
    for door in [Door::Public, Door::Publisher] {
        for path in ["/livez", "/readyz", "/healthz"] {
            assert_eq!(world.request(door, &format!("GET {path}"), "", "").status, 200, "{path}");
        }
    }
    for path in ["/metrics", "/stats", "/channels", "/pub"] {
        assert_eq!(world.get(path).status, 404, "{path}");
    }
    world.finish();
}

#[test]
fn every_byte_received_and_sent_is_counted() {
    let mut world = World::new();
    let who = world.poll("news");
    world.publish("news", "x");
    let sent = world.received(who).len() as u64;
    let publisher = request("POST /pub/news", "Content-Type: text/plain\r\n", "x").len();
    let poll = request("GET /sub/news", "", "").len();
    assert_eq!(world.shard.counters.received_bytes, (publisher + poll) as u64);
    assert!(world.shard.counters.sent_bytes > sent);
    assert_eq!((world.shard.counters.requests, world.shard.counters.requests_refused), (2, 0));
    world.finish();
}
