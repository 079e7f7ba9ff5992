//! How long and how many: at each bound and one beyond it.

use super::*;

/// The prefix rule where the input is too long to look at each prefix.
#[track_caller]
fn check_long(input: &[u8], expect: Result<(), Refusal>) {
    let len = input.len();
    let near_the_end = len.saturating_sub(20)..=len;
    check_prefixes(input, (0..len).step_by(61).chain(near_the_end));
    check_against_oracle(input);
    let verdict = parse(input).map(|parsed| assert_ne!(parsed, Parsed::Partial));
    assert_eq!(verdict, expect);
}

#[test]
fn the_request_line_is_bounded() {
    for empty_lines in [0, 3] {
        let before = "\r\n".repeat(empty_lines);
        let path = "p".repeat(REQUEST_LINE_BYTES_MAX - "GET / HTTP/1.1".len());
        let exact = format!("{before}GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n");
        check_long(exact.as_bytes(), Ok(()));
        let over = format!("{before}GET /{path}p HTTP/1.1\r\nHost: h\r\n\r\n");
        check_long(over.as_bytes(), Err(TargetTooLong));
        let endless = "x".repeat(REQUEST_LINE_BYTES_MAX + 2);
        let endless = format!("{before}{endless}");
        check_long(endless.as_bytes(), Err(TargetTooLong));
        assert_eq!(parse(&endless.as_bytes()[..endless.len() - 1]), Ok(Parsed::Partial));
    }
}

#[test]
fn the_fields_are_bounded_in_bytes() {
    let line = "GET / HTTP/1.1\r\n";
    let host = "Host: h\r\n";
    let value = "v".repeat(HEADER_BYTES_MAX - host.len() - "X:\r\n".len());
    check_long(format!("{line}{host}X:{value}\r\n\r\n").as_bytes(), Ok(()));
    for over in ["v\r\n\r\n", "vv", "\r\n\r\r", "\r\nY", "\r\n\n", "vv\r\n\r\n"] {
        let input = format!("{line}{host}X:{value}{over}");
        check_long(input.as_bytes(), Err(HeadersTooLarge));
    }
    let small = "X: 0123456789\r\n".repeat(98);
    let rest = "v".repeat(HEADER_BYTES_MAX - small.len() - host.len() - "X:\r\n".len());
    check_long(format!("{line}{host}{small}X:{rest}\r\n\r\n").as_bytes(), Ok(()));
    check_long(format!("{line}{host}{small}X:{rest}v\r\n\r\n").as_bytes(), Err(HeadersTooLarge));
}

#[test]
fn the_fields_are_bounded_in_number() {
    let full = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "a:\r\n".repeat(HEADER_FIELDS_MAX - 1));
    check_long(format!("{full}\r\n").as_bytes(), Ok(()));
    check_long(format!("{full}b:\r\n\r\n").as_bytes(), Err(HeadersTooLarge));
    check_long(format!("{full}\n").as_bytes(), Err(BareLineEnd));
    assert_eq!(parse(format!("{full}b:").as_bytes()), Ok(Parsed::Partial));
}

#[test]
fn the_largest_head_that_is_taken_fits_its_bound() {
    let path = "p".repeat(REQUEST_LINE_BYTES_MAX - "GET / HTTP/1.1".len());
    let value = "v".repeat(HEADER_BYTES_MAX - "Host: h\r\nX:\r\n".len());
    let input = "\r\n".repeat(LEADING_EMPTY_LINES_MAX)
        + &format!("GET /{path} HTTP/1.1\r\nHost: h\r\nX:{value}\r\n\r\n");
    check_long(input.as_bytes(), Ok(()));
    assert!(input.len() <= crate::limits::HEAD_BYTES_MAX);
}

#[test]
fn pipelined_requests_are_taken_one_by_one() {
    let request = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    let input = request.repeat(1_000);
    let mut rest = &input[..];
    while let Ok(Parsed::Complete { len, .. }) = parse(rest) {
        assert_eq!(len, request.len());
        rest = &rest[len..];
    }
    assert_eq!((rest, parse(rest)), (&b""[..], Ok(Parsed::Partial)));
}

#[test]
fn an_input_as_long_as_the_largest_head_is_never_partial() {
    let head = "\r\n".repeat(LEADING_EMPTY_LINES_MAX) + "GET / HTTP/1.1\r\nHost: h\r\nX:";
    for begin in ["", "\r", "\r\n\r\n", "GET / HTTP/1.1\r\n", &head] {
        let input = begin.to_owned() + &"x".repeat(HEAD_BYTES_MAX - begin.len());
        assert!(parse(input.as_bytes()).is_err(), "{begin}");
        assert!(may_conclude(input.as_bytes(), 1));
        assert!(!may_conclude(&input.as_bytes()[1..], 1));
    }
    assert!(!may_conclude(b"", 0));
    assert!(!may_conclude(b"GET / HTTP/1.1\r\nHo", 2));
    assert!(may_conclude(b"GET / HTTP/1.1\r\nHo", 3));
    assert!(may_conclude(b"\n", 9));
}
