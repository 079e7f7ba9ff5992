//! `pushup pub`.

use super::super::publish::{Options, run};
use super::*;

fn options(server: Server) -> Options {
    Options {
        server,
        channels: vec!["a".into(), "c++".into()],
        message: Some(b"hello".to_vec()),
        media_type: "text/plain".into(),
        ttl_s: None,
        key: None,
        token_file: None,
    }
}

fn created(id: &str) -> Step {
    Step::Answer(answer(201, &format!(r#"{{"id":"{id}","time":1,"subscribers":0}}"#)))
}

fn played(steps: Vec<Step>, change: impl FnOnce(&mut Options), input: &str) -> (Outcome, Vec<Seen>) {
    let script = server(steps);
    let mut options = options(script.server.clone());
    change(&mut options);
    let outcome = with_terminal(|terminal| run(&options, &mut input.as_bytes(), terminal));
    (outcome, script.seen())
}

#[test]
fn one_message() {
    let change = |options: &mut Options| {
        options.ttl_s = Some(60);
        options.key = Some("k-1".into());
        options.media_type = "application/json".into();
    };
    let (outcome, seen) = played(vec![created("a-1")], change, "not read");
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.out, "a-1\n");
    assert_eq!(seen[0].line, "POST /pub/a,c++?ttl=60 HTTP/1.1");
    assert_eq!(seen[0].field("Idempotency-Key"), "k-1");
    assert_eq!(seen[0].field("Content-Type"), "application/json");
    assert_eq!(seen[0].field("Authorization"), "");
    assert_eq!(seen[0].body, "hello");
}

#[test]
fn each_line_is_a_message_on_one_connection() {
    let steps = vec![created("1"), created("2"), created("3")];
    let (outcome, seen) = played(steps, |o| o.message = None, "one\n\nthr\u{e9}\u{e9}");
    assert_eq!(outcome.out, "1\n2\n3\n");
    let bodies: Vec<&str> = seen.iter().map(|request| request.body.as_str()).collect();
    assert_eq!(bodies, ["one", "", "thr\u{e9}\u{e9}"]);
    assert!(seen.iter().all(|request| request.connection == 1));
    let keys: std::collections::HashSet<_> =
        seen.iter().map(|request| request.field("Idempotency-Key")).collect();
    assert_eq!(keys.len(), 3, "each line has a key of its own");
    assert!(keys.iter().all(|key| key.len() == 32));
}

#[test]
fn no_input_is_no_message() {
    let outcome = with_terminal(|terminal| {
        let mut options = options(nobody().0);
        options.message = None;
        run(&options, &mut &b""[..], terminal)
    });
    assert!(outcome.result.is_ok());
}

#[test]
fn it_is_tried_again_under_the_same_key() {
    let busy = "HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let steps = vec![Step::Close, Step::Answer(busy.into()), created("a-1")];
    let (outcome, seen) = played(steps, |_| {}, "");
    assert_eq!(outcome.out, "a-1\n");
    assert_eq!(outcome.pauses_ms, [100, 1000]);
    let key = seen[0].field("Idempotency-Key");
    assert!(seen.iter().all(|request| request.field("Idempotency-Key") == key));
    assert_eq!(outcome.notices, "");
}

#[test]
fn it_gives_up_in_the_end() {
    let steps = (0..5).map(|_| Step::Close).collect();
    let (outcome, seen) = played(steps, |_| {}, "");
    assert_eq!(seen.len(), 5);
    assert_eq!(outcome.pauses_ms, [100, 200, 400, 800]);
    assert!(outcome.error().starts_with("no answer from http://127.0.0.1:"), "{}", outcome.error());
    let (server, _socket) = nobody();
    let outcome = with_terminal(|terminal| run(&options(server.clone()), &mut &b""[..], terminal));
    assert_eq!(
        outcome.error(),
        format!("cannot reach {server}: connection refused; is `pushup serve` running? (tried 5 times)")
    );
}

#[test]
fn a_refusal_names_the_line_and_stops() {
    let refusal = Step::Answer(answer(413, r#"{"detail":"Too large."}"#));
    let steps = vec![created("1"), refusal];
    let (outcome, seen) = played(steps, |o| o.message = None, "a\nb\nc\n");
    assert_eq!(outcome.error(), "line 2: Too large. (HTTP 413)");
    assert_eq!((outcome.out.as_str(), seen.len()), ("1\n", 2));
}

#[test]
fn another_kind_of_server_is_told_apart() {
    for bytes in [answer(200, "<html>"), answer(201, "{}"), answer(302, "")] {
        let (outcome, seen) = played(vec![Step::Answer(bytes)], |_| {}, "");
        assert!(outcome.result.is_err());
        assert_eq!(seen.len(), 1);
    }
}

#[test]
fn a_refusal_that_comes_before_the_body_was_read_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let refusal = answer(413, r#"{"detail":"Too large."}"#);
        stream.write_all(refusal.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        io::copy(&mut stream, &mut io::sink()).unwrap();
    });
    let mut options = options(address.parse().unwrap());
    options.message = Some(vec![b'x'; 8 << 20]);
    let outcome = with_terminal(|terminal| run(&options, &mut &b""[..], terminal));
    assert_eq!(outcome.error(), "Too large. (HTTP 413)");
    thread.join().unwrap();
}
