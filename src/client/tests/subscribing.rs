//! `pushup sub`.

use super::super::subscribe::{Form, Options, run};
use super::*;

const EMPTY: &str = r#"{"cursor":"c0","messages":[]}"#;

fn options(server: Server, channels: &[&str]) -> Options {
    Options {
        server,
        channels: channels.iter().map(|name| name.to_string()).collect(),
        after: Some("x y".into()),
        since_ms: None,
        timeout_s: 50,
        form: Form::Data,
        token_file: None,
        count: None,
        quiet: false,
    }
}

fn message(data: &str) -> String {
    format!(
        r#"{{"id":"a-1","time":1,"channels":["a"],"type":"text/plain","data":{}}}"#,
        serde_json::Value::from(data)
    )
}

fn messages(cursor: &str, list: &[&str]) -> Step {
    let list: Vec<String> = list.iter().map(|data| message(data)).collect();
    ok(&format!(r#"{{"cursor":"{cursor}","messages":[{}]}}"#, list.join(",")))
}

fn closed(channels: &str) -> Step {
    ok(&format!(r#"{{"cursor":"c9","messages":[],"closed":{channels}}}"#))
}

/// Runs a client against a script; gives also what the server saw.
fn played(steps: Vec<Step>, change: impl FnOnce(&mut Options), channels: &[&str]) -> (Outcome, Vec<Seen>) {
    let script = server(steps);
    let mut options = options(script.server.clone(), channels);
    change(&mut options);
    let outcome = with_terminal(|terminal| run(&options, terminal));
    (outcome, script.seen())
}

#[test]
fn messages_are_printed_and_the_cursor_is_followed() {
    let steps =
        vec![messages("c+1", &["one", "two \"2\"\u{e9}"]), messages("c2", &["three"]), closed(r#"["a"]"#)];
    let (outcome, seen) = played(steps, |_| {}, &["a"]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.out, "one\ntwo \"2\"\u{e9}\nthree\n");
    assert_eq!(outcome.notices, "pushup: channel \"a\" was closed\n");
    assert_eq!(seen[0].line, "GET /sub/a?timeout=50&after=x%20y HTTP/1.1");
    assert_eq!(seen[1].line, "GET /sub/a?timeout=50&after=c%2B1 HTTP/1.1");
    assert_eq!(seen[2].line, "GET /sub/a?timeout=50&after=c2 HTTP/1.1");
    assert!(seen.iter().all(|request| request.connection == 1));
    assert!(seen[0].field("Host").starts_with("127.0.0.1:"));
    assert!(outcome.pauses_ms.is_empty());
}

#[test]
fn now_is_first_asked_for_without_waiting() {
    let steps = vec![ok(EMPTY), closed(r#"["a"]"#)];
    let (outcome, seen) = played(steps, |options| options.after = Some("now".into()), &["a"]);
    assert_eq!(seen[0].line, "GET /sub/a?timeout=0&after=now HTTP/1.1");
    assert_eq!(seen[1].line, "GET /sub/a?timeout=50&after=c0 HTTP/1.1");
    assert!(outcome.pauses_ms.is_empty());
}

#[test]
fn since_stays_and_without_a_cursor_it_starts_alone() {
    let steps = vec![ok(EMPTY), closed(r#"["a"]"#)];
    let change = |options: &mut Options| {
        options.after = None;
        options.since_ms = Some(7);
    };
    let (outcome, seen) = played(steps, change, &["a"]);
    assert_eq!(seen[0].line, "GET /sub/a?timeout=50&since=7 HTTP/1.1");
    assert_eq!(seen[1].line, "GET /sub/a?timeout=50&after=c0&since=7 HTTP/1.1");
    assert_eq!(outcome.pauses_ms, [100], "an empty answer that did not wait");
}

#[test]
fn every_kind_of_data_is_one_line() {
    let body = r#"{"cursor":"c","messages":[
        {"channels":["a"],"type":"application/json; charset=utf-8","data":{ "b" : [1, 2.50e400],
            "a": "x \" y" }},
        {"channels":["a","b"],"type":"application/x+json","data":"text"},
        {"channels":["b"],"type":"image/png","encoding":"base64","data":"AAEC"},
        {"channels":["b"],"type":"text/html","data":"<p>"}]}"#;
    let (outcome, _) = played(vec![ok(body), closed(r#"["b","a"]"#)], |_| {}, &["a", "b"]);
    let expect = [r#"[a] {"b":[1,2.50e400],"a":"x \" y"}"#, r#"[a,b] "text""#, "[b] AAEC", "[b] <p>\n"];
    assert_eq!(outcome.out, expect.join("\n"));
    let json = |options: &mut Options| options.form = Form::Json;
    let (outcome, _) = played(vec![ok(body), closed(r#"["a"]"#)], json, &["a"]);
    let last = r#"{"channels":["b"],"type":"text/html","data":"<p>"}"#;
    assert_eq!(outcome.out.lines().count(), 4);
    assert_eq!(outcome.out.lines().last(), Some(last));
}

#[test]
fn count_ends_it() {
    let steps = vec![messages("c1", &["1", "2"]), messages("c2", &["3", "4"])];
    let (outcome, seen) = played(steps, |options| options.count = Some(3), &["a"]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.out, "1\n2\n3\n");
    assert!(seen[0].line.ends_with("&limit=3 HTTP/1.1"));
    assert!(seen[1].line.ends_with("&limit=1 HTTP/1.1"));
}

#[test]
fn losses_are_told() {
    let body = r#"{"cursor":"c","messages":[],"gap":true,"reset":true}"#;
    let (outcome, _) = played(vec![ok(body), closed(r#"["a"]"#)], |_| {}, &["a"]);
    assert!(outcome.notices.contains("some messages expired before they could be read\n"));
    assert!(outcome.notices.contains("the cursor is not known there"));
    let (outcome, _) = played(vec![ok(body), closed(r#"["a"]"#)], |o| o.quiet = true, &["a"]);
    assert_eq!(outcome.notices, "");
}

#[test]
fn closed_channels_are_left_out_and_the_last_one_ends_it() {
    let steps = vec![closed(r#"["a","c"]"#), closed(r#"["b"]"#)];
    let (outcome, seen) = played(steps, |_| {}, &["a", "b", "c"]);
    assert!(outcome.result.is_ok());
    assert!(seen[0].line.starts_with("GET /sub/a,b,c?"));
    assert!(seen[1].line.starts_with("GET /sub/b?"));
}

#[test]
fn gone_ends_it_for_one_channel() {
    let gone = r#"{"title":"Gone","detail":"The channel \"a\" was closed."}"#;
    let (outcome, _) = played(vec![Step::Answer(answer(410, gone))], |_| {}, &["a"]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.notices, "pushup: The channel \"a\" was closed. (HTTP 410)\n");
}

#[test]
fn gone_for_one_of_several_leaves_the_others() {
    let gone = || Step::Answer(answer(410, "{}"));
    let steps = vec![gone(), ok(EMPTY), gone(), messages("c1", &["1"]), closed(r#"["a"]"#)];
    let (outcome, seen) = played(steps, |_| {}, &["a", "b"]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.out, "[a] 1\n");
    assert_eq!(seen[1].line, "GET /sub/a?timeout=0&after=now HTTP/1.1");
    assert_eq!(seen[2].line, "GET /sub/b?timeout=0&after=now HTTP/1.1");
    assert_eq!(seen[3].line, "GET /sub/a?timeout=50&after=x%20y HTTP/1.1");
}

#[test]
fn a_lost_connection_is_made_again_with_the_same_cursor() {
    let steps = vec![
        messages("c1", &["1"]),
        Step::Close,
        Step::Close,
        Step::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into()),
        messages("c2", &["2"]),
        closed(r#"["a"]"#),
    ];
    let (outcome, seen) = played(steps, |_| {}, &["a"]);
    assert_eq!(outcome.out, "1\n2\n");
    assert_eq!(outcome.pauses_ms, [100, 200, 400]);
    assert!(seen[1..5].iter().all(|request| request.line.contains("after=c1 ")));
    let notices: Vec<&str> = outcome.notices.lines().collect();
    assert!(notices[0].starts_with("pushup: connection lost: "), "{notices:?}");
    assert!(notices[0].ends_with("; reconnecting"));
    assert_eq!(notices[1], "pushup: connection regained");
    assert_eq!(notices.len(), 3);
}

#[test]
fn a_close_that_was_announced_is_no_loss() {
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 29\r\n\r\n";
    let steps = vec![Step::AnswerAndClose(format!("{last}{EMPTY}")), closed(r#"["a"]"#)];
    let (outcome, seen) = played(steps, |_| {}, &["a"]);
    assert_eq!((seen[0].connection, seen[1].connection), (1, 2));
    assert_eq!(outcome.notices.lines().count(), 1);
}

#[test]
fn a_busy_server_is_given_its_time() {
    let busy = "HTTP/1.1 503 X\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    let steps = vec![
        Step::Answer(busy.into()),
        Step::Answer(answer(429, "")),
        Step::Answer(answer(408, "")),
        closed(r#"["a"]"#),
    ];
    let (outcome, _) = played(steps, |_| {}, &["a"]);
    assert_eq!(outcome.pauses_ms, [2000, 200, 400]);
    assert!(outcome.notices.starts_with("pushup: HTTP 503 Service Unavailable; trying again\n"));
}

#[test]
fn a_refusal_ends_it_with_its_detail() {
    let detail = "{\"detail\":\"A valid bearer token\\n\\u001b is needed.\"}";
    let (outcome, _) = played(vec![Step::Answer(answer(401, detail))], |_| {}, &["a"]);
    assert_eq!(outcome.error(), "A valid bearer token   is needed. (HTTP 401)");
    assert_eq!(outcome.result.unwrap_err().exit_code(), 1);
}

#[test]
fn another_kind_of_server_is_told_apart() {
    for body in
        ["<html>", "[]", "{}", r#"{"cursor":"c"}"#, r#"{"messages":[]}"#, r#"{"cursor":"c","messages":[1]}"#]
    {
        let (outcome, _) = played(vec![ok(body)], |_| {}, &["a"]);
        assert!(outcome.error().ends_with("not one that PushUp gives"), "{body}");
    }
}

#[test]
fn interim_answers_and_bodies_to_the_end_are_read() {
    let body = r#"{"cursor":"c","messages":[]}"#;
    let steps = vec![
        Step::AnswerAndClose(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{body}")),
        closed(r#"["a"]"#),
    ];
    let (outcome, seen) = played(steps, |_| {}, &["a"]);
    assert!(outcome.result.is_ok());
    assert_eq!(seen[1].connection, 2);
}

#[test]
fn a_token_is_shown() {
    let path = file("sub-token", "secret\n");
    let with_token = |options: &mut Options| options.token_file = Some(path.clone());
    let (_, seen) = played(vec![closed(r#"["a"]"#)], with_token, &["a"]);
    std::fs::remove_file(path).unwrap();
    assert_eq!(seen[0].field("Authorization"), "Bearer secret");
}

#[test]
fn an_absent_server_is_told_once_and_tried_again() {
    let (server, socket) = nobody();
    let (socket, script) = (RefCell::new(Some(socket)), RefCell::new(None));
    let tries = std::cell::Cell::new(0);
    let mut notices = Vec::new();
    let result = run(
        &options(server.clone(), &["a"]),
        &mut Terminal {
            out: &mut Vec::new(),
            notices: &mut notices,
            pause: &|_| {
                tries.set(tries.get() + 1);
                if tries.get() == 3 {
                    let socket = socket.take().unwrap();
                    socket.listen(8).unwrap();
                    script.replace(Some(Script::start(socket.into(), vec![closed(r#"["a"]"#)])));
                }
            },
        },
    );
    assert!(result.is_ok());
    assert_eq!(script.take().unwrap().seen().len(), 1);
    let expect = format!(
        "pushup: cannot reach {server}: connection refused; is `pushup serve` running?; trying again\n\
         pushup: connection regained\npushup: channel \"a\" was closed\n"
    );
    assert_eq!(String::from_utf8(notices).unwrap(), expect);
}

/// A pipe whose reader is gone, or a disk that is full.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_reader_that_left_ends_it_quietly_and_a_full_disk_does_not() {
    for (kind, good) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let script = server(vec![messages("c", &["1"])]);
        let result = run(
            &options(script.server.clone(), &["a"]),
            &mut Terminal { out: &mut Broken(kind), notices: &mut Broken(kind), pause: &|_| {} },
        );
        assert_eq!(result.is_ok(), good);
        assert_eq!(script.seen().len(), 1);
    }
}
