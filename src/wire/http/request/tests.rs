//! Every vector is fed whole, at each of its prefixes, and with more bytes behind it;
//! the fast way is held against the line-by-line one, its oracle.

mod arbitrary;
mod bounds;

use super::*;
use crate::error::Refusal::*;

/// What may stand behind a request: none of it may change the verdict.
const FOLLOWERS: [&[u8]; 7] = [
    b"x",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0\xff",
    b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n",
    b"Content-Length: 5\r\n\r\n",
];

/// The rule that makes any split give the result of the whole, at the given prefixes.
fn check_prefixes(input: &[u8], ends: impl Iterator<Item = usize>) {
    let whole = parse(input);
    let mut refused = false;
    for end in ends {
        let prefix = &input[..end];
        if parse(prefix) != Ok(Parsed::Partial) && end < REQUEST_LINE_BYTES_MAX {
            let held = (0..end).rev().find(|&end| parse(&prefix[..end]) == Ok(Parsed::Partial));
            assert!(held.is_some_and(|held| may_conclude(prefix, end - held)));
        }
        match parse(prefix) {
            Ok(Parsed::Partial) => {
                assert!(!refused, "forgets a refusal: {}", prefix.escape_ascii());
                if let Ok(Parsed::Complete { len, .. }) = whole {
                    assert!(end < len, "late: {}", prefix.escape_ascii());
                }
            }
            verdict => {
                assert_eq!(verdict, whole, "{}", prefix.escape_ascii());
                refused |= verdict.is_err();
            }
        }
    }
}

/// The fast way takes exactly the heads that are whole and good, and reads them alike.
fn check_against_oracle(input: &[u8]) {
    match lines::parse(input) {
        Ok(complete @ Parsed::Complete { .. }) => {
            assert_eq!(parse_whole(input), Some(complete), "{}", input.escape_ascii());
        }
        _ => assert_eq!(parse_whole(input), None, "{}", input.escape_ascii()),
    }
}

fn check_invariants(input: &[u8]) {
    check_against_oracle(input);
    check_prefixes(input, 0..=input.len());
    let verdict = parse(input);
    if verdict != Ok(Parsed::Partial) {
        for follower in FOLLOWERS {
            let longer = [input, follower].concat();
            assert_eq!(parse(&longer), verdict, "{}", longer.escape_ascii());
            check_against_oracle(&longer);
        }
    }
}

/// The head that all of `input` is.
#[track_caller]
fn head(input: &[u8]) -> RequestHead<'_> {
    check_invariants(input);
    match parse(input) {
        Ok(Parsed::Complete { head, len }) if len == input.len() => head,
        other => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

/// That `input` is refused, and not before the last line that is given.
#[track_caller]
fn refused(input: impl AsRef<[u8]>, refusal: Refusal) {
    let input = input.as_ref();
    check_invariants(input);
    assert_eq!(parse(input), Err(refusal), "{}", input.escape_ascii());
    let before = &input[..input.len() - 1];
    assert_eq!(parse(before), Ok(Parsed::Partial), "{}", before.escape_ascii());
}

/// A request line and fields; the last field given is the one at fault.
#[track_caller]
fn refused_field(field: impl AsRef<[u8]>, refusal: Refusal) {
    for before in ["GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.1\r\nHost: h\r\nX: y\r\n"] {
        refused([before.as_bytes(), field.as_ref(), b"\r\n"].concat(), refusal);
    }
}

/// Fields of an otherwise good HTTP/1.1 request.
#[track_caller]
fn with_fields<T>(fields: &str, look: impl FnOnce(RequestHead<'_>) -> T) -> T {
    look(head(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes()))
}

// -- Good heads ------------------------------------------------------------------

#[test]
fn a_plain_request() {
    let head = head(b"GET /v1/poll?after=x&timeout=30 HTTP/1.1\r\nHost: push.example:8080\r\n\r\n");
    assert_eq!((head.method, head.version), (Method::Get, Version::Http11));
    assert_eq!((head.path, head.query), ("/v1/poll", Some("after=x&timeout=30")));
    assert_eq!((head.keep_alive, head.framing), (true, Framing::None));
    assert!(!head.expect_continue);
    assert_eq!((head.origin, head.accept, head.authorization), (None, None, None));
}

#[test]
fn every_method_by_its_name() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let input = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(head(input.as_bytes()).method.as_str(), method);
    }
}

#[test]
fn every_field_that_is_kept_trimmed_and_first() {
    let input = b"OPTIONS * HTTP/1.1\r\nhOST:h\r\nOrigin:https://a.example\r\norigin: second\r\n\
        PREFER: \t wait=5 \t\r\nAuthorization: Bearer a b\r\nContent-Type: text/plain;charset=utf-8\r\n\
        Content-Encoding: gzip\r\nIdempotency-Key: k\xe9\r\nTTL: 60\r\nack: one\r\nAck: two\r\n\
        Accept:\r\nAccept: */*\r\nAccess-Control-Request-Method: POST\r\nX-Other: 1\r\n\r\n";
    let head = head(input);
    assert_eq!((head.path, head.query), ("*", None));
    assert_eq!(head.origin, Some(&b"https://a.example"[..]));
    assert_eq!(head.prefer, Some(&b"wait=5"[..]));
    assert_eq!(head.authorization, Some(&b"Bearer a b"[..]));
    assert_eq!(head.content_type, Some(&b"text/plain;charset=utf-8"[..]));
    assert_eq!(head.content_encoding, Some(&b"gzip"[..]));
    assert_eq!(head.idempotency_key, Some(&b"k\xe9"[..]));
    assert_eq!((head.ttl, head.ack), (Some(&b"60"[..]), Some(&b"one"[..])));
    assert_eq!(head.accept, Some(&b""[..]));
    assert_eq!(head.preflight_method, Some(&b"POST"[..]));
}

#[test]
fn names_of_a_known_length_are_not_taken_for_the_known_name() {
    let fields = "Tt1: 1\r\nAcc: 1\r\nXxcept: 1\r\nConnectiom: close\r\nContent-Typo: 1\r\n\
        Authorizatiom: 1\r\nContent-Lengtt: x\r\nIdempotency-Kez: 1\r\nContent-Encodinh: 1\r\n\
        Transfer-Encodinh: x\r\nAccess-Control-Request-Nethod: 1\r\n";
    let told = |head: RequestHead| format!("{:?}", RequestHead { raw: &[], ..head });
    assert_eq!(with_fields(fields, told), with_fields("", told));
}

#[test]
fn targets_that_are_taken() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/?", "/", Some("")),
        ("/a?b?c=d", "/a", Some("b?c=d")),
        ("//h/a", "//h/a", None),
        ("/%zz%00", "/%zz%00", None),
        ("/a:b@c|d\"[]{}^`\\<>", "/a:b@c|d\"[]{}^`\\<>", None),
        ("/http://x", "/http://x", None),
        ("http://h", "/", None),
        ("http://h/", "/", None),
        ("HTTPS://h.example:443/a?b", "/a", Some("b")),
        ("http://h?b/c", "/", Some("b/c")),
        ("http://[::1]:80/a", "/a", None),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = head(input.as_bytes());
        assert_eq!((head.path, head.query), (path, query), "{target}");
    }
}

#[test]
fn empty_lines_before_the_request_line_are_ignored() {
    for lines in 0..=LEADING_EMPTY_LINES_MAX {
        let input = "\r\n".repeat(lines) + "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(head(input.as_bytes()).path, "/a");
    }
    refused("\r\n".repeat(LEADING_EMPTY_LINES_MAX + 1), Malformed);
    refused("\n", BareLineEnd);
    refused("\r\n\n", BareLineEnd);
    refused("\r\r\n", BareLineEnd);
}

#[test]
fn whether_the_connection_lives_on() {
    for (version, fields, expect) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: keep-alive, Upgrade,  \t Close\r\n", false),
        ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("1.1", "Connection: keep-alive\r\nconnection: close\r\n", false),
        ("1.1", "Connection: closed, xclose, \"close\"\r\n", true),
        ("1.1", "Connection:\r\nConnection: ,,\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: x,keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Connection: close, keep-alive\r\n", false),
        ("1.0", "Keep-Alive: timeout=5\r\n", false),
    ] {
        let input = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        assert_eq!(head(input.as_bytes()).keep_alive, expect, "{input}");
    }
}

#[test]
fn http_1_0_needs_no_host_and_has_no_expectations() {
    let input = b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nExpect: x\r\nContent-Length: 3\r\n\r\n";
    let head = head(input);
    assert_eq!((head.version, head.expect_continue), (Version::Http10, false));
    assert_eq!(head.framing, Framing::Length(3));
}

// -- Host --------------------------------------------------------------------------

#[test]
fn hosts_that_are_taken() {
    for host in [
        "h",
        "h:80",
        "h:",
        "h:65535",
        "a.b-c.example",
        "a_b",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "[2001:db8::192.0.2.1]:",
        "a%2db",
        "!$&'()*+;=~",
        " \tpadded\t ",
    ] {
        head(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
    head(b"GET / HTTP/1.0\r\nHost:\r\n\r\n");
    head(b"GET http://h/ HTTP/1.1\r\nHost:\r\n\r\n");
    head(b"GET http://h/ HTTP/1.1\r\nHost: another\r\n\r\n");
}

#[test]
fn host_missing_duplicate_or_invalid() {
    refused("GET / HTTP/1.1\r\n\r\n", HostMissing);
    refused("GET / HTTP/1.1\r\nX: Host: h\r\nHosts: h\r\n\r\n", HostMissing);
    refused("GET http://h/ HTTP/1.1\r\n\r\n", HostMissing);
    refused("OPTIONS * HTTP/1.1\r\n\r\n", HostMissing);
    for version in ["1.1", "1.0"] {
        for fields in ["Host: h\r\nHost: h", "Host: a\r\nhost: b", "Host: a\r\nX: y\r\nHOST:"] {
            refused(format!("GET / HTTP/{version}\r\n{fields}\r\n"), HostInvalid);
        }
        for host in [
            "a b",
            "a/b",
            "u@h",
            "a?b",
            "a#b",
            "h:80:80",
            "h:x",
            "h:+80",
            "h:65536",
            ":80",
            ":",
            "h:99999999999999999999",
            "[::1",
            "::1",
            "[]",
            "[1]",
            "[::1]x",
            "[::1]:x",
            "[::g]",
            "[::1]]",
            "a]",
            "a%2",
            "a%zz",
            "a\\b",
            "a\"b",
            "<h>",
            "http://h",
            "h\u{e9}",
            "a\tb",
        ] {
            refused(format!("GET / HTTP/{version}\r\nHost: {host}\r\n"), HostInvalid);
        }
    }
    refused("GET / HTTP/1.1\r\nHost:\r\n", HostInvalid);
    refused("GET / HTTP/1.1\r\nHost: \t \r\n", HostInvalid);
    refused("OPTIONS * HTTP/1.1\r\nHost:\r\n", HostInvalid);
}

// -- Lines ---------------------------------------------------------------------------

#[test]
fn bare_line_ends() {
    refused("GET / HTTP/1.1\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\r\n", BareLineEnd);
    refused("GET / HTTP/1.1\rHost: h\r\n", BareLineEnd);
    refused("GET /\rHTTP/1.1\r\n", BareLineEnd);
    refused("\rGET / HTTP/1.1\r\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\r\r\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\r\n\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\r\nX: a\rTransfer-Encoding: chunked\r\n", BareLineEnd);
    refused("GET / HTTP/1.1\r\nHost: h\r\n\rX: a\r\n", BareLineEnd);
}

#[test]
fn white_space_where_none_belongs() {
    refused(" GET / HTTP/1.1\r\n", Malformed);
    refused("\tGET / HTTP/1.1\r\n", Malformed);
    refused(" \r\n", Malformed);
    refused("GET  / HTTP/1.1\r\n", Malformed);
    refused("GET /  HTTP/1.1\r\n", Malformed);
    refused("GET / HTTP/1.1 \r\n", Malformed);
    refused("GET\t/\tHTTP/1.1\r\n", Malformed);
    refused("GET / a HTTP/1.1\r\n", Malformed);
    refused("GET / HTTP/1.1\r\n Host: h\r\n", Malformed);
    refused_field("Y : z", Malformed);
    refused_field("Y\t: z", Malformed);
    refused_field("Content-Length : 5", Malformed);
    refused_field(" folded", Malformed);
    refused_field("\tfolded: yes", Malformed);
    refused_field(" ", Malformed);
}

#[test]
fn field_names_and_values() {
    for name in ["", "a b", "a(b)", "a\u{e9}", "a\0", "a\x7f", "\"a\"", "a/b", "a@b", "[a]", "{a}"] {
        refused_field(format!("{name}: z"), Malformed);
    }
    refused_field("no colon", Malformed);
    refused_field("nocolon", Malformed);
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        refused_field([b"X: a", &[byte][..], b"b"].concat(), Malformed);
        refused_field([b"X:", &[byte][..]].concat(), Malformed);
        refused_field([b"Host: h", &[byte][..]].concat(), Malformed);
    }
    with_fields("a!#$%&'*+-.^_`|~9: \t\r\nX: a\tb: \u{e9}~\r\nY::\r\n", |_| ());
}

#[test]
fn versions() {
    for version in ["HTTP/2.0", "HTTP/9.9", "HTTP/1.2", "HTTP/1.9", "HTTP/0.9", "HTTP/3.0"] {
        refused(format!("GET / {version}\r\n"), VersionUnsupported);
    }
    refused("PRI * HTTP/2.0\r\n", VersionUnsupported);
    for version in [
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/2",
        "http/1.1",
        "Http/1.1",
        "HTTP/1,1",
        "HTTP/-1.1",
        "HTTPS/1.1",
        "HTTP 1.1",
        "1.1",
        "HTTP/1.1x",
        "HTTP/1.a",
        "HTTP/+1.1",
    ] {
        refused(format!("GET / {version}\r\n"), Malformed);
    }
    refused("GET /\r\n", Malformed);
    refused("GET\r\n", Malformed);
    refused("GET / \r\n", Malformed);
    refused("\x16\x03\x01\x02\0\x01\n", BareLineEnd);
}

#[test]
fn methods_that_are_none() {
    for method in ["get", "Get", "CONNECT", "BREW", "PROPFIND", "GETS", "X-Y!", "PRI"] {
        refused(format!("{method} / HTTP/1.1\r\n"), MethodUnknown);
    }
    refused("CONNECT h:443 HTTP/1.1\r\n", MethodUnknown);
    for method in ["G\u{e9}T", "GE(T", "\"GET\"", "G\0T", "GET:"] {
        refused(format!("{method} / HTTP/1.1\r\n"), Malformed);
    }
}

#[test]
fn targets_that_are_refused() {
    for target in [
        "/caf\u{e9}",
        "/a#b",
        "#",
        "/#",
        "*",
        "*/",
        "h",
        "h:80",
        "h/a",
        "a:b",
        "?a",
        "http:/h",
        "http://",
        "http:///a",
        "http://?a",
        "http://u@h/",
        "http://h:x/",
        "http://:80/",
        "http://h#a",
        "ftp://h/",
        "file:///etc",
        "://h/",
        "http://[::1/",
        "/a\x01b",
        "/a\tb",
        "/\0",
        "/\x7f",
        "..",
        "http://h\\a",
    ] {
        refused(format!("GET {target} HTTP/1.1\r\n"), TargetInvalid);
    }
    refused("OPTIONS ** HTTP/1.1\r\n", TargetInvalid);
    refused("OPTIONS *?a HTTP/1.1\r\n", TargetInvalid);
    refused(b"GET /\xff HTTP/1.1\r\n", TargetInvalid);
    refused(b"GET /\xc0\xaf HTTP/1.1\r\n", TargetInvalid);
}

// -- Framing and expectations ----------------------------------------------------------

#[test]
fn framings_that_are_taken() {
    for (fields, expect) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:42\r\n", Framing::Length(42)),
        ("Content-Length: \t 007 \r\n", Framing::Length(7)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("TRANSFER-ENCODING:\tChUnKeD \r\n", Framing::Chunked),
    ] {
        assert_eq!(with_fields(fields, |head| head.framing), expect, "{fields}");
    }
}

#[test]
fn content_lengths_that_are_refused() {
    for length in [
        "",
        "+3",
        "-1",
        "0x3",
        "3,3",
        "3, 3",
        "3 3",
        "3;",
        "3.0",
        "a",
        "1e3",
        "1_000",
        "\u{663}",
        "\"3\"",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        refused_field(format!("Content-Length: {length}"), LengthInvalid);
    }
    for (first, second) in [("3", "3"), ("3", "4"), ("0", "0"), ("3", "")] {
        let fields = format!("Content-Length: {first}\r\nContent-length: {second}");
        refused_field(fields, LengthInvalid);
    }
}

#[test]
fn encodings_that_are_refused() {
    for (encoding, refusal) in [
        ("gzip", EncodingUnknown),
        ("identity", EncodingUnknown),
        ("xchunked", EncodingUnknown),
        ("chunkedx", EncodingUnknown),
        ("gzip, chunked", EncodingUnknown),
        ("", EncodingInvalid),
        (",chunked", EncodingInvalid),
        ("chunked,", EncodingInvalid),
        ("chunked, chunked", EncodingInvalid),
        ("chunked, gzip", EncodingInvalid),
        ("chunked, identity", EncodingInvalid),
        ("chunked;q=1", EncodingInvalid),
        ("\"chunked\"", EncodingInvalid),
        ("chun ked", EncodingInvalid),
        ("chunked\u{e9}", EncodingInvalid),
        ("chunked\r\nTransfer-Encoding: chunked", EncodingInvalid),
        ("chunked\r\nTransfer-Encoding: gzip", EncodingInvalid),
        ("chunked\r\nTransfer-Encoding:", EncodingInvalid),
    ] {
        refused_field(format!("Transfer-Encoding: {encoding}"), refusal);
    }
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", EncodingInvalid);
}

#[test]
fn a_length_beside_an_encoding() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 0",
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
        refused(input, LengthAndEncoding);
    }
}

#[test]
fn expectations() {
    for value in ["100-continue", "100-Continue", " 100-CONTINUE\t"] {
        let fields = format!("Expect: {value}\r\nContent-Length: 1\r\n");
        assert!(with_fields(&fields, |head| head.expect_continue));
    }
    for value in ["", "100", "200-ok", "100-continue, 100-continue", "100-continue;a"] {
        refused_field(format!("Expect: {value}"), ExpectationUnknown);
    }
}

#[test]
fn the_first_line_at_fault_decides() {
    refused("BREW * HTTP/2.0\r\n", VersionUnsupported);
    refused("GET / HTTP/1.1\r\nContent-Length: x\r\n", LengthInvalid);
    let two = "GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nX: \0\r\nHost: h\n\n";
    check_invariants(two.as_bytes());
    assert_eq!(parse(two.as_bytes()), Err(EncodingUnknown));
}

#[test]
fn the_tables_are_those_of_the_rfcs() {
    let sub_delims = b"!$&'()*+,;=";
    for byte in 0..=u8::MAX {
        let alphanumeric = byte.is_ascii_alphanumeric();
        let token = alphanumeric || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(syntax::is_token_byte(byte), token, "{byte}");
        let name = alphanumeric || b"-._~".contains(&byte) || sub_delims.contains(&byte);
        let colon = byte == b':';
        assert_eq!(line::is_host(&[b'h', byte]), name || colon, "{byte}");
    }
}
