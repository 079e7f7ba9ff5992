use super::*;
use crate::answers::{Split, Splitter};

/// Gives an answer to a poller of that dialect, and returns the poll that follows.
fn poll_after(dialect: &Dialect, captures: &mut Captures, answer: &str) -> String {
    let mut splitter = Splitter::new(dialect.fields());
    let Ok(Split::Whole(answer)) = splitter.first(answer.as_bytes()) else { panic!("{answer}") };
    dialect.note(&answer, captures);
    poll(dialect, captures)
}

fn poll(dialect: &Dialect, captures: &Captures) -> String {
    let mut out = Vec::new();
    dialect.poll(&Filling { host: "h:1", channel: b"c", captures, body: b"" }, &mut out);
    String::from_utf8(out).unwrap()
}

fn publication(dialect: &Dialect, body: &str) -> String {
    let mut out = Vec::new();
    let captures = &Captures::default();
    dialect.publication(&Filling { host: "h:1", channel: b"c", captures, body: body.as_bytes() }, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn pushup_takes_its_cursor_along() {
    let (dialect, mut captures) = (Dialect::pushup(), Captures::default());
    assert_eq!(poll(&dialect, &captures), "GET /sub/c HTTP/1.1\r\nHost: h:1\r\n\r\n");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{\"cursor\":\"AVeN\",\"messages\":[]}";
    let next = "GET /sub/c?after=AVeN HTTP/1.1\r\nHost: h:1\r\n\r\n";
    assert_eq!(poll_after(&dialect, &mut captures, answer), next);
    let error = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(poll_after(&dialect, &mut captures, error), next, "what was known stays");
    assert_eq!(
        publication(&dialect, "hello"),
        "POST /pub/c HTTP/1.1\r\nHost: h:1\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    );
    assert_eq!(dialect.verdict(200), Verdict::Answered);
    assert_eq!(dialect.verdict(304), Verdict::Refused);
}

#[test]
fn a_puller_never_waits() {
    let (dialect, mut captures) = (Dialect::pushup_pull(), Captures::default());
    assert_eq!(poll(&dialect, &captures), "GET /sub/c?timeout=0 HTTP/1.1\r\nHost: h:1\r\n\r\n");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"cursor\":\"A\"}";
    let next = poll_after(&dialect, &mut captures, answer);
    assert_eq!(next, "GET /sub/c?timeout=0&after=A HTTP/1.1\r\nHost: h:1\r\n\r\n");
}

#[test]
fn nchan_takes_time_and_tag_along() {
    let (dialect, mut captures) = (Dialect::nchan(), Captures::default());
    let answer = "HTTP/1.1 200 OK\r\nLast-Modified: Sun, 22 Nov 2026 20:11:19 GMT\r\nEtag: 3\r\n\
                  Content-Length: 1\r\n\r\nx";
    let next = "GET /sub/c HTTP/1.1\r\nHost: h:1\r\nIf-Modified-Since: Sun, 22 Nov 2026 20:11:19 GMT\r\n\
                If-None-Match: 3\r\n\r\n";
    assert_eq!(poll_after(&dialect, &mut captures, answer), next);
    assert_eq!(poll_after(&dialect, &mut captures, "HTTP/1.1 304 Not Modified\r\n\r\n"), next);
    assert_eq!((dialect.verdict(304), dialect.verdict(408)), (Verdict::Empty, Verdict::Empty));
}

#[test]
fn the_example_in_the_help_works() {
    let example = FILE_HELP.split("Example:\n").nth(1).unwrap();
    let text: String =
        example.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let dialect = Dialect::parse("example", &text).unwrap();
    assert!(publication(&dialect, "@1:2:").ends_with("Content-Length: 16\r\n\r\n{\"text\":\"@1:2:\"}"));
    assert_eq!(dialect.verdict(408), Verdict::Empty);
    assert_eq!(dialect.name(), "example");
}

#[test]
fn what_an_answer_says_stays_in_its_place() {
    let text = "[first poll]\nGET /a HTTP/1.1\n\n[next poll]\nGET /a?c={json:c}&e={header:e} HTTP/1.1\n\
                X: {json:c}\n\n[publish]\nGET /p?b={body} HTTP/1.1\n";
    let dialect = Dialect::parse("t", text).unwrap();
    let mut captures = Captures::default();
    let answer = "HTTP/1.1 200 OK\r\nE: 1\r\nContent-Length: 12\r\n\r\n{\"c\":\"a b&\"}";
    let next = "GET /a?c=a%20b%26&e=1 HTTP/1.1\r\nX: a b&\r\n\r\n";
    assert_eq!(poll_after(&dialect, &mut captures, answer), next);
    let evil = "HTTP/1.1 200 OK\r\nE: 2\r\nContent-Length: 18\r\n\r\n{\"c\":\"x\\r\\nY: evil\"}";
    assert_eq!(poll_after(&dialect, &mut captures, evil), next, "line ends are not taken");
    assert_eq!(publication(&dialect, "@a:1"), "GET /p?b=%40a%3A1 HTTP/1.1\r\n\r\n");
}

#[test]
fn bad_files_are_refused_with_a_reason() {
    let good = "[first poll]\nGET / HTTP/1.1\n\n[next poll]\nGET / HTTP/1.1\n\n[publish]\nPOST / HTTP/1.1\n\n{body}\n";
    assert!(Dialect::parse("t", good).is_ok());
    for (text, reason) in [
        ("hello", "before the first section"),
        ("[first poll]\nGET / HTTP/1.1\n", "[next poll] is missing"),
        (&good.replace("GET / HTTP/1.1\n\n[next", "GET /{json:c} HTTP/1.1\n\n[next"), "knows no answer"),
        (&good.replace("POST / ", "POST /{header:etag} "), "knows no answer"),
        (&good.replace("{body}", "{boddy}"), "{boddy} is none of"),
        (&good.replace("{body}", "body"), "[publish] has no {body}"),
        (&good.replace("POST / ", "POST /{length} "), "{length} belongs"),
        (&good.replace("POST / HTTP/1.1", "POST /"), "not a request line"),
        (&good.replace("[publish]", "[publishes]"), "[publish] is missing"),
        (&format!("{good}[empty]\nstatus 99\n"), "no status"),
        (&format!("{good}[empty]\n304\n"), "is no \"status"),
        (&format!("{good}[emptied]\n304\n"), "is none of [first poll]"),
        (&format!("{good}{good}"), "is there twice"),
        (&" ".repeat(70_000), "longer than"),
    ] {
        let error = Dialect::parse("t", text).unwrap_err();
        assert!(error.contains(reason), "{error:?} does not say {reason:?}");
    }
    assert!(Dialect::named("/nowhere/at/all").unwrap_err().to_string().contains("built in: pushup"));
}

#[test]
fn channels_have_names_of_one_length() {
    let (names, mut out) = (ChannelNames::new(RunId::new(0xab)), Vec::new());
    for (channel, wanted) in
        [(0, "load-000000ab-000000"), (17, "load-000000ab-000017"), (1_234_567, "load-000000ab-1234567")]
    {
        names.write(channel, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}
