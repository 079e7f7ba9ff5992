use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;

/// No answer takes longer than this.
const DEADLINE: Duration = Duration::from_secs(10);

struct Client(TcpStream);

impl Client {
    fn new(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        Client(stream)
    }

    fn send(&mut self, method: &str, target: &str, body: &str) {
        let length = body.len();
        let text = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.write_all(text.as_bytes()).expect("sent");
    }

    /// The next answer: its status and its body.
    fn answer(&mut self) -> (u16, Value) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let length = head.split("Content-Length: ").nth(1).expect("a length").lines().next().expect("a line");
        let mut body = vec![0; length.parse().expect("a number")];
        self.0.read_exact(&mut body).expect("a body");
        (head[9..12].parse().expect("a status"), serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn is_answered(&self) -> bool {
        self.0.set_nonblocking(true).expect("it is open");
        let answered = self.0.peek(&mut [0]).is_ok();
        self.0.set_nonblocking(false).expect("it is open");
        answered
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, Value) {
        self.send(method, target, body);
        self.answer()
    }
}

fn data(answer: &Value) -> Vec<&str> {
    answer["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| m["data"].as_str().expect("text"))
        .collect()
}

#[test]
fn a_poll_is_held_until_there_is_news_and_comes_back_with_its_cursor() {
    let server = start(16);
    let (mut reader, mut writer) = (Client::new(server), Client::new(server));
    reader.send("GET", "/sub/news?timeout=9", "");
    // The publisher is told how many waited: publish until the poll is there, or has been answered because it came
    // behind a message.
    let begun = Instant::now();
    let mut sent = Vec::new();
    loop {
        sent.push(format!("message \"{}\"", sent.len()));
        let (status, created) = writer.ask("POST", "/pub/news", sent.last().expect("just pushed"));
        assert_eq!(status, 201);
        if created["subscribers"] == 1 || reader.is_answered() || begun.elapsed() > DEADLINE {
            break;
        }
        thread::yield_now();
    }
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < sent.len() {
        let (status, answer) = reader.answer();
        assert_eq!(status, 200);
        seen.extend(data(&answer).into_iter().map(str::to_owned));
        let cursor = answer["cursor"].as_str().expect("a cursor").to_owned();
        assert_eq!(cursor.len(), 16);
        reader.send("GET", &format!("/sub/news?after={cursor}&timeout=0"), "");
    }
    assert_eq!(seen, sent);
}

#[test]
fn timeout_0_is_answered_at_once_and_other_things_not_at_all() {
    let mut client = Client::new(start(16));
    let (status, answer) = client.ask("GET", "/sub/quiet?timeout=0", "");
    assert_eq!((status, data(&answer).len()), (200, 0));
    for (method, target) in [("GET", "/"), ("GET", "/sub/a/b"), ("DELETE", "/sub/a"), ("GET", "/pub/a")] {
        assert_eq!(client.ask(method, target, "").0, 404, "{method} {target}");
    }
    // One request after the other on a connection; the last is answered as asked and closed.
    client.0.write_all(b"GET /sub/a?timeout=0 HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(client.answer().0, 200);
    assert_eq!(client.0.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn beyond_its_threads_it_says_so() {
    let server = start(1);
    let mut first = Client::new(server);
    assert_eq!(first.ask("GET", "/sub/a?timeout=0", "").0, 200);
    let mut second = Client::new(server);
    assert_eq!(second.answer().0, 503);
    drop(first);
    // The thread that is free again serves.
    let begun = Instant::now();
    loop {
        let mut third = Client::new(server);
        third.send("GET", "/sub/a?timeout=0", "");
        if third.answer().0 == 200 {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "the thread is not given back");
    }
}

#[test]
fn the_oldest_messages_give_way() {
    let channel = Channel::new("a");
    for number in 1..=1_500 {
        assert_eq!(channel.publish(7, 0, "x").number, number);
    }
    for (after, expected) in [(0, 1_000), (500, 1_000), (501, 999), (1_499, 1), (1_500, 0), (9_999, 0)] {
        let news = channel.read(after, Duration::ZERO);
        assert_eq!((news.last, news.messages.len()), (1_500, expected), "after {after}");
    }
}

#[test]
fn the_systems_stack() {
    for (limits, expected) in [
        (
            "Limit Soft Hard Units\nMax stack size            8388608              unlimited            bytes\n",
            Some(8 << 20),
        ),
        ("Max stack size            unlimited            unlimited            bytes\n", None),
        ("", None),
    ] {
        assert_eq!(soft_stack_limit(limits), expected);
    }
    assert!(default_stack_bytes() >= 64 << 10);
}
