//! The publishers' door.

use serde_json::{Value, json};

use crate::node::{Launch, Node};

#[test]
fn a_body_comes_out_as_what_it_is() {
    let node = Node::start(&[]);
    let mut publisher = node.publisher();
    for (fields, body, expected_type, expected_data) in [
        ("", &b"plain"[..], "text/plain", json!("plain")),
        ("Content-Type: application/json\r\n", b" {\"a\": [1]}", "application/json", json!({"a": [1]})),
        ("Content-Type: text/html\r\n", "<b>ü</b>".as_bytes(), "text/html", json!("<b>ü</b>")),
        ("", b"\xff\x00", "application/octet-stream", json!("/wA=")),
    ] {
        let answer = publisher.post_with("/pub/kinds", fields, body);
        assert_eq!(answer.status, 201, "{answer:?}");
        let messages = node.read("kinds")["messages"].clone();
        let last = messages.as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["type"], &last["data"]), (&json!(expected_type), &expected_data));
        assert_eq!(last["encoding"] == "base64", expected_type.ends_with("stream"));
    }
}

#[test]
fn what_a_form_would_send_is_a_message_too() {
    let node = Node::start(&[]);
    let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = node.publisher().post_with("/pub/news", fields, b"hello, world");
    assert_eq!(answer.status, 201);
    assert_eq!(node.read("news")["messages"][0]["data"], "hello, world");
}

#[test]
fn a_batch_has_a_result_for_each() {
    let node = Node::start(&[]);
    let mut poll = node.hold("/sub/a");
    let lines = "{\"channel\":\"a\",\"data\":\"one\"}\n{\"channel\":\"not valid\",\"data\":1}\n\
                 {\"channels\":[\"a\",\"b\"],\"data\":{\"two\":2}}\n";
    let answer =
        node.publisher().post_with("/pub", "Content-Type: application/x-ndjson\r\n", lines.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let results: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 3);
    assert!(results[0]["id"].is_string() && results[2]["id"].is_string(), "{results:?}");
    assert_eq!(results[1]["error"]["status"], 400, "{results:?}");
    // A poll that waits gets all that the batch has for it, in one answer.
    assert_eq!(poll.read().data(), [json!("one"), json!({"two": 2})]);
}

#[test]
fn a_key_makes_a_repeated_publication_harmless() {
    let node = Node::start(&[]);
    let mut publisher = node.publisher();
    let key = "Idempotency-Key: once\r\n";
    let first = publisher.post_with("/pub/a", key, b"x").json();
    let second = publisher.post_with("/pub/a", key, b"x").json();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(node.read("a")["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn a_large_body_waits_for_leave_and_a_too_large_one_is_not_read() {
    let node = Node::start(&["--body-bytes-max", "64k"]);
    let mut publisher = node.publisher();
    let head = |len: usize| {
        format!("POST /pub/a HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n")
    };
    publisher.send(head(64 * 1024));
    publisher.read_continue();
    publisher.send(vec![b'x'; 64 * 1024]);
    assert_eq!(publisher.read().status, 201);
    publisher.send(head(64 * 1024 + 1));
    let refused = publisher.read();
    assert_eq!(refused.status, 413);
    assert!(refused.closes());
    publisher.read_end();
}

#[test]
fn a_body_that_comes_later_is_waited_for_whatever_follows() {
    let node = Node::start(&[]);
    for (version, fields, body, is_closed) in [
        ("1.1", "Connection: close\r\nContent-Length: 5\r\n", "hello", true),
        ("1.1", "Connection: close\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", true),
        ("1.0", "Content-Length: 5\r\n", "hello", true),
        ("1.1", "Content-Length: 5\r\n", "hello", false),
        ("1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
    ] {
        let mut publisher = node.publisher();
        publisher.send(format!("POST /pub/a HTTP/{version}\r\nHost: t\r\n{fields}\r\n"));
        // By the time that another is answered, the head alone has been read.
        node.figure("requests_total");
        publisher.send(body);
        let answer = publisher.read();
        assert_eq!((answer.status, answer.closes()), (201, is_closed), "{version} {fields}");
        if is_closed {
            publisher.read_end();
        } else {
            assert_eq!(publisher.get("/livez").status, 200);
        }
    }
    assert_eq!(node.read("a")["messages"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let node = Node::start(&["--body-bytes-max", "1k"]);
    let mut publisher = node.publisher();
    publisher.send(format!("POST /pub/a HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", 200_000));
    publisher.send(vec![b'x'; 200_000]);
    assert_eq!(publisher.read().status, 413);
    publisher.read_end();
}

#[test]
fn each_door_has_its_own() {
    let node = Node::start(&[]);
    for target in ["/pub/a", "/pub", "/channels", "/stats", "/metrics"] {
        assert_eq!(node.subscriber().get(target).status, 404, "{target}");
    }
    assert_eq!(node.publisher().get("/sub/a?timeout=0").status, 404);
    let wrong = node.subscriber().post("/sub/a", b"");
    assert_eq!((wrong.status, wrong.field("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(wrong.field("Content-Type"), Some("application/problem+json"));
    assert_eq!(wrong.json()["status"], 405);
    for target in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(node.subscriber().get(target).status, 200, "{target}");
        assert_eq!(node.publisher().get(target).status, 200, "{target}");
    }
}

#[test]
fn a_token_keeps_strangers_from_publishing() {
    let dir = crate::temp::TempDir::new();
    let token = dir.write("token", "s3cret\n");
    let node = Launch::new(&["--publish-token-file", &token]).start();
    let mut publisher = node.publisher();
    let refused = publisher.post("/pub/a", b"x");
    assert_eq!(refused.status, 401);
    assert!(refused.field("WWW-Authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(publisher.post_with("/pub/a", "Authorization: Bearer wrong\r\n", b"x").status, 401);
    assert_eq!(publisher.post_with("/pub/a", "Authorization: Bearer s3cret\r\n", b"x").status, 201);
    assert_eq!(publisher.get("/healthz").status, 200);
}
