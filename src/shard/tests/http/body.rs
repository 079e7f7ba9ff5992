//! Where a body ends, and what is in it.

use super::*;
use crate::limits::CHUNK_EXTENSION_BYTES_MAX;

/// A publication with these fields and these bytes behind them.
fn post(fields: &str, body: &str) -> String {
    format!("POST /pub/a HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[test]
fn bodies_of_both_kinds_are_taken() {
    publisher(post("Content-Length: 5\r\n", "hello"), 201, Then::KeepAlive);
    publisher(post("Content-Length: 0\r\n", ""), 201, Then::KeepAlive);
    publisher(post("", ""), 201, Then::KeepAlive);
    publisher(post("Content-Length: 00005\r\n", "hello"), 201, Then::KeepAlive);
    publisher(chunked("5\r\nhello\r\n0\r\n\r\n"), 201, Then::KeepAlive);
    publisher(chunked("1\r\nh\r\n004;x=\"y\"\r\nello\r\n0\r\nX: y\r\n\r\n"), 201, Then::KeepAlive);
    publisher(post("transfer-encoding: CHUNKED\r\n", "0\r\n\r\n"), 201, Then::KeepAlive);
}

#[test]
fn bodies_are_taken_on_connections_that_end_with_them_too() {
    publisher(post("Connection: close\r\nContent-Length: 5\r\n", "hello"), 201, Then::Close);
    publisher(
        post("Connection: close\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        201,
        Then::Close,
    );
    publisher("POST /pub/a HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", 201, Then::Close);
    let lives = "POST /pub/a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
    publisher(lives, 201, Then::KeepAlive);
}

#[test]
fn a_length_is_one_plain_number() {
    for length in
        ["", "+3", "-3", "0x3", "3, 3", "3 3", "3,", "18446744073709551616", "3.0", "\u{b3}", "three"]
    {
        publisher(post(&format!("Content-Length: {length}\r\n"), "abc"), 400, Then::Close);
    }
    publisher(post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400, Then::Close);
    publisher(post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"), 400, Then::Close);
}

#[test]
fn a_body_over_the_cap_is_413_and_not_read() {
    publisher(post("Content-Length: 65537\r\n", "abc"), 413, Then::Close);
    publisher(post("Content-Length: 18446744073709551615\r\n", "abc"), 413, Then::Close);
    publisher(chunked("10001\r\nabc"), 413, Then::Close);
    publisher(chunked("FFFFFFFFFFFFFFFF\r\nabc"), 413, Then::Close);
}

#[test]
fn an_encoding_is_chunked_and_nothing_else() {
    for (fields, status) in [
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: chunked, gzip\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding: chunked;x=y\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
    ] {
        publisher(post(fields, "0\r\n\r\n"), status, Then::Close);
    }
    publisher("POST /pub/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Then::Close);
}

#[test]
fn a_chunk_s_size_is_plain_hexadecimal() {
    for body in [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "1_0\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "g\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\0\r\nabc\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "3\r\r\nabc\r\n0\r\n\r\n",
    ] {
        publisher(chunked(body), 400, Then::Close);
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |len: usize| chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(len - 1)));
    publisher(extension(CHUNK_EXTENSION_BYTES_MAX), 201, Then::KeepAlive);
    publisher(extension(CHUNK_EXTENSION_BYTES_MAX + 1), 400, Then::Close);
    publisher(chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(20_000))), 431, Then::Close);
}

#[test]
fn trailers_are_dropped_and_never_merged() {
    let trailers = "Host: evil\r\nHost: evil\r\nContent-Length: 70\r\nTransfer-Encoding: gzip\r\nConnection: close\r\nAck: one\r\n";
    publisher(chunked(&format!("2\r\nok\r\n0\r\n{trailers}\r\n")), 201, Then::KeepAlive);
}

#[test]
fn a_body_that_is_not_wanted_is_never_taken_for_a_request() {
    let smuggled = String::from_utf8(GOOD.to_vec()).unwrap();
    let fields = format!("Content-Length: {}\r\n", smuggled.len());
    let with_body = |line: &str| format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n{smuggled}");
    publisher(with_body("POST /nothing"), 404, Then::Either);
    publisher(with_body("PUT /pub/a"), 405, Then::Either);
    publisher(with_body("POST /pub/a%00"), 400, Then::KeepAlive);
    publisher(with_body("GET /stats"), 400, Then::Close);
    publisher(with_body("DELETE /channels/a"), 400, Then::Close);
    public(with_body("GET /sub/a"), 400, Then::Close);
    public(with_body("POST /sub/a"), 405, Then::Either);
    let size = format!("{:x}", smuggled.len());
    let in_chunks = format!("Transfer-Encoding: chunked\r\n\r\n{size}\r\n{smuggled}\r\n0\r\n\r\n");
    publisher(format!("POST /nothing HTTP/1.1\r\nHost: h\r\n{in_chunks}"), 404, Then::Either);
    public(format!("GET /sub/a HTTP/1.1\r\nHost: h\r\n{in_chunks}"), 400, Then::Close);
}

#[test]
fn a_coded_body_is_415() {
    publisher(post("Content-Encoding: gzip\r\nContent-Length: 3\r\n", "abc"), 415, Then::KeepAlive);
    publisher(post("Content-Encoding: identity\r\nContent-Length: 3\r\n", "abc"), 201, Then::KeepAlive);
    publisher(
        "POST /pub HTTP/1.1\r\nHost: h\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n[]",
        415,
        Then::KeepAlive,
    );
}

#[test]
fn json_is_checked() {
    let json = |body: &str| {
        post(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()), body)
    };
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    publisher(json(&nested(32)), 201, Then::KeepAlive);
    publisher(json(&nested(33)), 400, Then::KeepAlive);
    publisher(json("{\"a\":}"), 400, Then::KeepAlive);
    publisher(json(""), 400, Then::KeepAlive);
    let mut bad = json("\"__\"").into_bytes();
    bad.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = 0xff);
    publisher(bad, 400, Then::KeepAlive);
}
