//! What is written, to the byte, and that our own parser reads it back.

use super::*;
use proptest::prelude::*;

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

const HEAD: Head<'static> = Head {
    status: 200,
    content_type: None,
    content_length: None,
    date: DATE,
    connection: Connection::KeepAlive,
    cors: None,
    extra: &[],
};

fn written(head: &Head<'_>) -> String {
    let mut out = Vec::new();
    head.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_answer_with_everything() {
    let head = Head {
        status: 201,
        content_type: Some("application/json"),
        content_length: Some(1_234_567),
        connection: Connection::Close,
        cors: Some(Cors { allow_origin: Some("https://a.example") }),
        extra: &[("Preference-Applied", "wait=5"), ("Retry-After", "2")],
        ..HEAD
    };
    let expect = "HTTP/1.1 201 Created\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Content-Type: application/json\r\nContent-Length: 1234567\r\nCache-Control: no-store\r\n\
        X-Content-Type-Options: nosniff\r\nAccess-Control-Allow-Origin: https://a.example\r\n\
        Vary: Origin\r\nPreference-Applied: wait=5\r\nRetry-After: 2\r\nConnection: close\r\n\r\n";
    assert_eq!(written(&head), expect);
}

#[test]
fn an_answer_with_nothing_has_no_length() {
    let expect = "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n";
    assert_eq!(written(&Head { status: 204, ..HEAD }), expect);
}

#[test]
fn one_connection_field_or_none() {
    for (connection, field) in [
        (Connection::KeepAlive, ""),
        (Connection::KeepAliveHttp10, "Connection: keep-alive\r\n"),
        (Connection::Close, "Connection: close\r\n"),
    ] {
        let text = written(&Head { connection, ..HEAD });
        assert!(text.ends_with(&format!("nosniff\r\n{field}\r\n")), "{text}");
    }
}

#[test]
fn any_origin_does_not_vary() {
    let cors = Some(Cors { allow_origin: Some("*") });
    let text = written(&Head { cors, ..HEAD });
    assert!(text.contains("\r\nAccess-Control-Allow-Origin: *\r\n"));
    assert!(!text.contains("Vary"));
}

#[test]
fn nothing_is_overwritten() {
    let mut out = b"before".to_vec();
    HEAD.write(&mut out);
    assert!(out.starts_with(b"beforeHTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_value_that_would_split_the_answer_is_left_out() {
    for bad in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0", "\x7f", "\x1b[31m"] {
        let extra = [("X-Bad", bad), ("X-Good", "tab\there \u{e9}")];
        let cors = Some(Cors { allow_origin: Some(bad) });
        let text = written(&Head { extra: &extra, cors, ..HEAD });
        assert!(!text.contains("X-Bad") && !text.contains("Allow-Origin"), "{text}");
        assert!(text.contains("\r\nX-Good: tab\there \u{e9}\r\n"), "{text}");
    }
}

#[test]
fn numbers_in_decimal() {
    for number in [0, 1, 9, 10, 99, 100, 1_000, 65_535, 4_294_967_296, usize::MAX] {
        let mut out = Vec::new();
        push_decimal(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
    }
}

fn problem(refusal: Refusal, specific: Option<&str>) -> serde_json::Value {
    let mut out = Vec::new();
    write_problem_body(refusal, specific, &mut out);
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn every_refusal_is_a_problem() {
    for &refusal in Refusal::ALL {
        let problem = problem(refusal, None);
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], refusal.status());
        assert_eq!(problem["title"], refusal.title());
        assert_eq!(problem["detail"], refusal.detail());
        assert_eq!(problem.as_object().map(serde_json::Map::len), Some(4));
    }
}

#[test]
fn a_problem_to_the_byte() {
    let mut out = Vec::new();
    write_problem_body(Refusal::NotFound, Some("\"a\\b\"\n\u{e9}\0"), &mut out);
    let expect = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"\"a\\b\"\né\u0000"}"#;
    assert_eq!(str::from_utf8(&out), Ok(expect));
}

// -- Reading -----------------------------------------------------------------------

/// Whole, at each prefix and with bytes behind; the response with its end at the end.
#[track_caller]
fn parsed(input: &str) -> ResponseHead {
    let input = input.as_bytes();
    for end in 0..input.len() {
        assert_eq!(parse_response(&input[..end]), Ok(None), "{end}");
    }
    let head = parse_response(input).unwrap().expect("whole");
    assert_eq!(head.len, input.len());
    let longer = [input, b"\n\0HTTP/1.1 body"].concat();
    assert_eq!(parse_response(&longer), Ok(Some(head)));
    head
}

#[test]
fn responses_that_are_taken() {
    let plain = parsed("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!((plain.status, plain.keep_alive), (200, true));
    assert_eq!((plain.content_length, plain.chunked, plain.retry_after_s), (None, false, None));
    assert_eq!(parsed("HTTP/1.1 204\r\n\r\n").status, 204);
    assert_eq!(parsed(str::from_utf8(CONTINUE).unwrap()).status, 100);
    let busy = parsed("HTTP/1.1 503 x\r\nretry-after: 2\r\ncontent-length: 7\r\nConnection: close\r\n\r\n");
    assert_eq!((busy.content_length, busy.retry_after_s, busy.keep_alive), (Some(7), Some(2), false));
    let dated = parsed("HTTP/1.1 503 x\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    assert_eq!(dated.retry_after_s, None);
    assert!(parsed("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").chunked);
    assert!(!parsed("HTTP/1.0 200 OK\r\n\r\n").keep_alive);
    assert!(parsed("HTTP/1.0 200 OK\r\nConnection: x, keep-alive\r\n\r\n").keep_alive);
    assert!(!parsed("HTTP/1.1 200 OK\r\nConnection: close, keep-alive\r\n\r\n").keep_alive);
}

#[test]
fn responses_that_are_refused() {
    for fields in [
        "Content-Length: x\r\n",
        "Content-Length: +1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "X: y\n",
        "X : y\r\n",
        " X: y\r\n",
        "X: y\r\n z\r\n",
        "X: \0\r\n",
        "no colon\r\n",
    ] {
        let input = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(parse_response(input.as_bytes()), Err(Malformed), "{fields}");
    }
    for input in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 200 OK\r\n\n",
        "HTTP/1.1 200 O\0\r\n\r\n",
    ] {
        assert_eq!(parse_response(input.as_bytes()), Err(Malformed), "{input}");
    }
    let endless = "HTTP/1.1 200 ".to_owned() + &"x".repeat(crate::limits::HEAD_BYTES_MAX);
    assert_eq!(parse_response(endless.as_bytes()), Err(Malformed));
    let many = "HTTP/1.1 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(101) + "\r\n";
    assert_eq!(parse_response(many.as_bytes()), Err(Malformed));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        status in prop::sample::select(vec![200u16, 201, 400, 404, 503]),
        length in prop::option::of(any::<usize>()),
        close in any::<bool>(),
        value in "[ -~]{0,20}",
    ) {
        let head = Head {
            status,
            content_length: length,
            connection: if close { Connection::Close } else { Connection::KeepAlive },
            extra: &[("X-Value", &value)],
            ..HEAD
        };
        let text = written(&head);
        let read = parse_response(text.as_bytes()).unwrap().expect("whole");
        prop_assert_eq!((read.status, read.len, read.keep_alive), (status, text.len(), !close));
        prop_assert_eq!(read.content_length, length.map(|length| length as u64));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        good in "(HTTP/1.[01] [0-9]{3}( [a-z]*)?\r?\n([a-zA-Z-]*: ?[a-z0-9,]*\r?\n){0,3})?",
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = parse_response(&[good.as_bytes(), &bytes].concat());
    }
}
