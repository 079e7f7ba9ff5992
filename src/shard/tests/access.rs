//! Who may: tokens at both doors, and browsers' origins.

use super::harness::{START, World, request};
use super::*;
use crate::session::access::Token;
use crate::wire::jwt;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const ORIGIN: &str = "Origin: https://a.example\r\n";

fn key() -> jwt::Key {
    jwt::Key::new(KEY).unwrap()
}

fn guarded() -> World {
    let keys =
        Keys { publish_tokens: Token::new(" s3cret\n").into_iter().collect(), subscribe_keys: vec![key()] };
    World::keyed(keys, |_| {})
}

fn bearer(claims: &str) -> String {
    format!("Authorization: Bearer {}\r\n", jwt::sign(claims, &key()))
}

// -- Tokens ----------------------------------------------------------------------------

#[test]
fn the_publisher_s_door_asks_for_its_token() {
    let mut world = guarded();
    for line in [
        "POST /pub/a",
        "POST /pub",
        "POST /channels",
        "GET /channels",
        "GET /stats",
        "GET /metrics",
        "DELETE /channels/a",
        "GET /channels/a",
        "POST /channels/a/renew",
    ] {
        for fields in
            ["", "Authorization: Bearer wrong\r\n", "Authorization: s3cret\r\n", "Authorization: Bearer\r\n"]
        {
            let response = world.request(Door::Publisher, line, fields, "");
            assert_eq!(response.status, 401, "{line} {fields}");
            response.check_problem();
            assert!(response.field("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    assert_eq!(world.shard.queue.channel_count(), 0);
    for fields in ["Authorization: Bearer s3cret\r\n", "Authorization: bearer  s3cret\r\n"] {
        assert_eq!(world.request(Door::Publisher, "POST /pub/a", fields, "x").status, 201, "{fields}");
    }
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(world.publisher(&format!("GET {path}"), "").status, 200, "{path} needs no token");
    }
    world.finish();
}

#[test]
fn a_body_without_the_token_is_not_read() {
    let mut world = guarded();
    let who = world.connect(Door::Publisher);
    world.send(
        who,
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
    );
    let response = world.take(who);
    assert!(response.status == 401 && response.closes() && world.is_over(who));
    world.finish();
}

#[test]
fn a_subscriber_s_token_says_which_channels() {
    let mut world = guarded();
    let good = bearer("{\"sub\":[\"news\",\"user.7.*\"]}");
    for (target, fields, status) in [
        ("/sub/news?timeout=0", &*good, 200),
        ("/sub/user.7.a,news?timeout=0", &*good, 200),
        ("/sub/user.8.a?timeout=0", &*good, 403),
        ("/sub/news,other?timeout=0", &*good, 403),
        ("/sub/news?timeout=0", "", 401),
        ("/sub/news?timeout=0", "Authorization: Bearer s3cret\r\n", 401),
        ("/sub/news?timeout=0", "Authorization: Basic abc\r\n", 401),
        ("/sub/news?timeout=0", &*bearer("{\"sub\":\"news\",\"exp\":1}"), 401),
        ("/sub/news?timeout=0", &*bearer("{\"sub\":[]}"), 401),
        ("/sub/anything?timeout=0", &*bearer("{\"sub\":\"*\"}"), 200),
    ] {
        let response = world.request(Door::Public, &format!("GET {target}"), fields, "");
        assert_eq!(response.status, status, "{target} {fields}");
        assert_eq!(response.field("www-authenticate").is_some(), status == 401);
        if status >= 400 {
            response.check_problem();
        }
    }
    assert_eq!(world.shard.queue.channel_count(), 0);
    assert_eq!(world.get("/healthz").status, 200);
    world.finish();
}

#[test]
fn a_subscriber_s_token_may_stand_in_the_query() {
    let mut world = guarded();
    let soon = START.wall.seconds() + 60;
    let token = jwt::sign(&format!("{{\"sub\":\"news\",\"exp\":{soon}}}"), &key());
    let target = format!("/sub/news?timeout=0&token={token}");
    assert_eq!(world.get(&target).status, 200);
    world.advance(60_000 + 30_000);
    assert_eq!(world.get(&target).status, 401, "expired, with the leeway");
    world.finish();
}

#[test]
fn new_keys_bind_from_the_next_request_on() {
    let mut world = World::new();
    assert_eq!(world.publisher("POST /pub/a", "x").status, 201);
    let keys =
        Keys { publish_tokens: Token::new("s3cret").into_iter().collect(), subscribe_keys: vec![key()] };
    let who = world.poll("a?after=now");
    world.shard.reconfigure(harness::settings(), Arc::new(keys));
    assert_eq!(world.publisher("POST /pub/a", "x").status, 401);
    assert_eq!(world.get("/sub/a").status, 401);
    world.check_held(who);
    world.finish();
}

// -- Origins ---------------------------------------------------------------------------

#[test]
fn an_allowed_origin_may_read_and_another_may_not() {
    let mut world = World::with(|settings| {
        settings.cors_origins = vec!["https://a.example".into(), "https://b.example".into()];
    });
    for (fields, expected) in [
        (ORIGIN, Some("https://a.example")),
        ("Origin: https://b.example\r\n", Some("https://b.example")),
        ("Origin: https://c.example\r\n", None),
        ("Origin: https://a.example.evil\r\n", None),
        ("Origin: http://a.example\r\n", None),
        ("Origin: null\r\n", None),
        ("", None),
    ] {
        for target in ["/sub/a?timeout=0", "/sub/a%00"] {
            let response = world.request(Door::Public, &format!("GET {target}"), fields, "");
            assert_eq!(response.field("access-control-allow-origin"), expected, "{fields}");
            if expected.is_some() {
                assert_eq!(response.field("vary"), Some("Origin"), "{fields}");
            }
        }
    }
    world.finish();
}

#[test]
fn a_star_allows_everybody_without_varying() {
    let mut world = World::with(|settings| settings.cors_origins = vec!["*".into()]);
    let response = world.request(Door::Public, "GET /sub/a?timeout=0", "Origin: https://any.example\r\n", "");
    assert_eq!(response.field("access-control-allow-origin"), Some("*"));
    assert_eq!(response.field("vary"), None);
    world.finish();
}

#[test]
fn without_origins_nothing_is_said_of_them() {
    let mut world = World::new();
    let response = world.request(Door::Public, "GET /sub/a?timeout=0", ORIGIN, "");
    assert_eq!((response.field("access-control-allow-origin"), response.field("vary")), (None, None));
    world.finish();
}

#[test]
fn an_origin_is_forgotten_with_its_request() {
    let mut world = World::with(|settings| settings.cors_origins = vec!["https://a.example".into()]);
    let who = world.connect(Door::Public);
    for (fields, allowed) in [(ORIGIN, true), ("", false), (ORIGIN, true)] {
        world.send(who, request("GET /sub/a?timeout=0", fields, ""));
        assert_eq!(world.take(who).field("access-control-allow-origin").is_some(), allowed);
    }
    world.finish();
}

#[test]
fn a_preflight_is_answered_for_an_allowed_origin() {
    let mut world = World::with(|settings| settings.cors_origins = vec!["https://a.example".into()]);
    let asks = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: prefer\r\n";
    let response = world.request(Door::Public, "OPTIONS /sub/a", &format!("{ORIGIN}{asks}"), "");
    assert_eq!(response.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-headers", "Authorization, Prefer"),
        ("access-control-max-age", "7200"),
        ("vary", "Origin"),
    ] {
        assert_eq!(response.field(name), Some(value));
    }
    let foreign = format!("Origin: https://c.example\r\n{asks}");
    let refused = world.request(Door::Public, "OPTIONS /sub/a", &foreign, "");
    assert_eq!((refused.status, refused.field("access-control-allow-methods")), (204, None));
    assert_eq!(refused.field("access-control-allow-origin"), None);
    world.finish();
}

#[test]
fn a_preflight_needs_no_token() {
    let keys = Keys { publish_tokens: Vec::new(), subscribe_keys: vec![key()] };
    let mut world = World::keyed(keys, |settings| settings.cors_origins = vec!["*".into()]);
    let asks = format!("{ORIGIN}Access-Control-Request-Method: GET\r\n");
    let response = world.request(Door::Public, "OPTIONS /sub/a", &asks, "");
    assert_eq!((response.status, response.field("access-control-allow-methods")), (204, Some("GET")));
    world.finish();
}

#[test]
fn options_tells_what_is_allowed() {
    let mut world = World::new();
    for (door, target, allow) in [
        (Door::Public, "/sub/a", "GET, HEAD, OPTIONS"),
        (Door::Publisher, "/pub/a", "POST, OPTIONS"),
        (Door::Publisher, "/channels", "GET, HEAD, POST, OPTIONS"),
        (Door::Publisher, "/channels/a", "GET, HEAD, DELETE, OPTIONS"),
    ] {
        let response = world.request(door, &format!("OPTIONS {target}"), "", "");
        assert_eq!((response.status, response.field("allow")), (204, Some(allow)), "{target}");
        let wrong = world.request(door, &format!("PATCH {target}"), "", "");
        assert_eq!((wrong.status, wrong.field("allow")), (405, Some(allow)), "{target}");
        wrong.check_problem();
    }
    assert_eq!(world.request(Door::Public, "OPTIONS *", "", "").status, 204);
    assert_eq!(world.request(Door::Public, "OPTIONS /nothing", "", "").status, 404);
    world.finish();
}
