//! Request lines and fields.

use super::*;
use crate::limits::{HEADER_BYTES_MAX, HEADER_FIELDS_MAX, REQUEST_LINE_BYTES_MAX};

#[test]
fn good_requests_are_answered_and_the_connection_goes_on() {
    public(GOOD, 200, Then::KeepAlive);
    for host in ["h", "push.example:8080", "127.0.0.1", "[::1]:80", "h:"] {
        public(get(&format!("Host: {host}\r\n")), 200, Then::KeepAlive);
    }
    public("GET /livez HTTP/1.1\r\nhOST:h\t\r\nX:\u{e9}\r\n\r\n", 200, Then::KeepAlive);
    public("GET /livez?x=%zz&&= HTTP/1.1\r\nHost: h\r\n\r\n", 200, Then::KeepAlive);
}

#[test]
fn a_host_must_be_there_once_and_be_one() {
    for fields in [
        "",
        "Host: h\r\nHost: h\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: [::1\r\n",
        "Host: h:x\r\n",
        "Host: h:65536\r\n",
        "Host:\r\n",
        "Host: a,b?\r\n",
    ] {
        public(get(fields), 400, Then::Close);
    }
}

#[test]
fn lines_end_in_cr_lf() {
    for vector in [
        "GET /livez HTTP/1.1\nHost: h\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\r\n\n",
        "GET /livez HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        "GET /livez HTTP/1.1\r\r\nHost: h\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\r\r\n\r\n",
        "GET /livez\rHTTP/1.1\r\nHost: h\r\n\r\n",
        "\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        public(vector, 400, Then::Close);
    }
}

#[test]
fn white_space_stands_where_it_may_and_nowhere_else() {
    for vector in [
        "GET /livez HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost\t: h\r\n\r\n",
        " GET /livez HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /livez HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n",
        "GET  /livez HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /livez  HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /livez HTTP/1.1 \r\nHost: h\r\n\r\n",
        "GET\t/livez HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /li vez HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        public(vector, 400, Then::Close);
    }
}

#[test]
fn control_characters_and_bad_names_are_refused() {
    for field in
        ["X: a\0b", "X: a\x01", "X: \x7f", "X: a\x0bb", "X(y): z", ": x", "X\0: y", "X: y\r\nno colon"]
    {
        public(get(&format!("Host: h\r\n{field}\r\n")), 400, Then::Close);
    }
}

#[test]
fn other_versions_are_refused() {
    public("GET /livez\r\n\r\n", 400, Then::Close);
    public("GET /livez HTTP/1.10\r\nHost: h\r\n\r\n", 400, Then::Close);
    public("GET /livez http/1.1\r\nHost: h\r\n\r\n", 400, Then::Close);
    public("GET /livez HTTP/11\r\nHost: h\r\n\r\n", 400, Then::Close);
    public("GET /livez HTTP/9.9\r\nHost: h\r\n\r\n", 505, Then::Close);
    public("GET /livez HTTP/2.0\r\nHost: h\r\n\r\n", 505, Then::Close);
    public("GET /livez HTTP/0.9\r\nHost: h\r\n\r\n", 505, Then::Close);
    public("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Then::Close);
    public(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\n", 400, Then::Close);
}

#[test]
fn targets_in_other_forms_are_refused() {
    for target in [
        "/caf\u{e9}",
        "*",
        "h:80",
        "/a#b",
        "/a\\\u{7f}",
        "livez",
        "http://",
        "http:///livez",
        "ftp://h/livez",
        "",
    ] {
        public(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"), 400, Then::Close);
    }
    public("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 501, Then::Close);
}

#[test]
fn an_absolute_target_brings_its_own_host() {
    public("GET http://h/livez HTTP/1.1\r\nHost: other\r\n\r\n", 200, Then::KeepAlive);
    public("GET HTTP://h:80/livez?x HTTP/1.1\r\nHost:\r\n\r\n", 200, Then::KeepAlive);
    public("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", 404, Then::KeepAlive);
    public("GET http://a@h/livez HTTP/1.1\r\nHost: h\r\n\r\n", 400, Then::Close);
    public("GET http://h/livez HTTP/1.1\r\n\r\n", 400, Then::Close);
}

#[test]
fn a_channel_name_is_decoded_once_and_checked() {
    for name in ["%00", "%0a", "%C0%AF", "%c3%a9", "%", "%2", "%zz", "%252b", "a%20b", "a%2Fb"] {
        public(format!("GET /sub/{name} HTTP/1.1\r\nHost: h\r\n\r\n"), 400, Then::KeepAlive);
    }
}

#[test]
fn a_long_request_line_is_414() {
    let target = |len: usize| "x".repeat(len - "GET / HTTP/1.1".len());
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", target(len));
    public(line(REQUEST_LINE_BYTES_MAX), 404, Then::KeepAlive);
    public(line(REQUEST_LINE_BYTES_MAX + 1), 414, Then::Close);
    public("G".repeat(3 * REQUEST_LINE_BYTES_MAX + 200), 414, Then::Close);
}

#[test]
fn many_or_long_fields_are_431() {
    let fields = |count: usize| "X: y\r\n".repeat(count);
    public(get(&format!("Host: h\r\n{}", fields(HEADER_FIELDS_MAX - 1))), 200, Then::KeepAlive);
    public(get(&format!("Host: h\r\n{}", fields(HEADER_FIELDS_MAX))), 431, Then::Close);
    let long =
        |len: usize| get(&format!("Host: h\r\nX: {}\r\n", "y".repeat(len - "Host: h\r\nX: \r\n".len())));
    public(long(HEADER_BYTES_MAX), 200, Then::KeepAlive);
    public(long(HEADER_BYTES_MAX + 1), 431, Then::Close);
}

#[test]
fn methods_are_unknown_or_not_allowed() {
    for method in ["get", "BREW", "GETT", "PROPFIND"] {
        public(format!("{method} /livez HTTP/1.1\r\nHost: h\r\n\r\n"), 501, Then::Close);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        public(format!("{method} /livez HTTP/1.1\r\nHost: h\r\n\r\n"), 405, Then::KeepAlive);
    }
    public("G(T /livez HTTP/1.1\r\nHost: h\r\n\r\n", 400, Then::Close);
}

#[test]
fn a_few_empty_lines_before_a_request_are_ignored() {
    public([b"\r\n\r\n", GOOD].concat(), 200, Then::KeepAlive);
    public([&b"\r\n".repeat(8)[..], GOOD].concat(), 200, Then::KeepAlive);
    public([&b"\r\n".repeat(9)[..], GOOD].concat(), 400, Then::Close);
}

#[test]
fn http_1_0_closes_unless_it_asks_otherwise() {
    public("GET /livez HTTP/1.0\r\n\r\n", 200, Then::Close);
    public("GET /livez HTTP/1.0\r\nHost: h\r\nConnection: close\r\n\r\n", 200, Then::Close);
    public("GET /livez HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, Then::KeepAlive);
    let mut world = World::new();
    let who = world.connect(Door::Public);
    world.send(who, "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(world.take(who).field("connection"), Some("keep-alive"), "it has to be told");
    world.send(who, "GET /sub/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    world.publish("a", "x");
    assert_eq!(world.take(who).field("connection"), Some("keep-alive"));
    world.send(who, GOOD);
    assert_eq!(world.take(who).field("connection"), None, "HTTP/1.1 need not be");
    world.finish();
}

#[test]
fn what_follows_connection_close_is_ignored() {
    public("GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200, Then::Close);
    public("GET /livez HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Close\r\n\r\n", 200, Then::Close);
    public("GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404, Then::Close);
    let mut world = World::new();
    let who = world.connect(Door::Public);
    let poll = request("GET /sub/a", "Connection: close\r\n", "");
    world.send(who, [&poll, GOOD].concat());
    world.publish("a", "x");
    let response = world.take(who);
    assert!(response.closes() && world.is_over(who) && !world.is_closed(who));
    world.send(who, GOOD);
    assert_eq!(world.received(who), b"");
    world.end(who);
    assert!(world.is_closed(who));
    world.finish();
}

#[test]
fn a_head_or_a_204_has_no_body() {
    let mut world = World::new();
    for target in ["/livez", "/nothing", "/sub/a%00", "/sub/a"] {
        let who = world.connect(Door::Public);
        world.send(who, request(&format!("HEAD {target}"), "", ""));
        let head = world.take_head(who);
        let whole = world.get(&format!("{target}?timeout=0"));
        assert_eq!(
            (head.status, head.field("content-length")),
            (whole.status, whole.field("content-length"))
        );
    }
    let empty = world.request(Door::Public, "OPTIONS /livez", "", "");
    assert_eq!((empty.status, empty.body.len()), (204, 0));
    world.finish();
}
