//! One connection, one thread: requests are read, blocked on and answered one after the other.
//!
//! It knows what HTTP it needs and no more; a request that it does not understand ends the connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Server;
use super::date::{http_date, now_ms};
use super::history::News;

/// The longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The longest publication, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// What is read at once, in bytes.
const READ_BYTES: usize = 4 << 10;
/// Fields that a request may have.
const FIELDS_MAX: usize = 64;
/// How long a poll is held that names no time-out, in seconds: the paper's choice.
const TIMEOUT_S: u64 = 50;
/// How long a poll may ask to be held, in seconds.
const TIMEOUT_S_MAX: u64 = 120;

/// What a connection is told for which there is no thread.
pub const FULL: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";

/// Whether the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Continue,
    Close,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    target: String,
    body: Vec<u8>,
    then: Then,
}

/// Answers a connection's requests until it ends.
pub fn hold(server: &Server, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::with_capacity(READ_BYTES);
    while let Ok(Some(request)) = next(&mut stream, &mut read) {
        let answer = answer(server, &request);
        if stream.write_all(answer.as_bytes()).is_err() || request.then == Then::Close {
            return;
        }
    }
}

/// The next request, blocking; none at the end of the input.
fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((request, used)) = parse(read)? {
            read.drain(..used);
            return Ok(Some(request));
        }
        let had = read.len();
        read.resize(had + READ_BYTES, 0);
        let count = stream.read(&mut read[had..])?;
        read.truncate(had + count);
        if count == 0 {
            return Ok(None);
        }
    }
}

/// The request at the beginning of `bytes` and its length; none if it is not whole yet.
fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let head = match parsed.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial if bytes.len() > HEAD_BYTES_MAX => {
            return Err(io::Error::other("the head is too long"));
        }
        httparse::Status::Partial => return Ok(None),
    };
    let field = |name: &str| {
        let found = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let length: usize =
        field("content-length").map_or(Ok(0), str::parse).map_err(|_| io::Error::other("a length"))?;
    if length > BODY_BYTES_MAX {
        return Err(io::Error::other("the body is too long"));
    }
    let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
    let close = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        body: body.to_vec(),
        then: if close { Then::Close } else { Then::Continue },
    };
    Ok(Some((request, head + length)))
}

/// The whole answer; a poll blocks here.
fn answer(server: &Server, request: &Request) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let (status, body) =
        match (request.method.as_str(), path.strip_prefix("/sub/"), path.strip_prefix("/pub/")) {
            ("GET", Some(name), _) if is_name(name) => poll(server, name, query),
            ("POST", _, Some(name)) if is_name(name) => publish(server, name, &request.body),
            _ => ("404 Not Found", "{}".to_owned()),
        };
    let close = if request.then == Then::Close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nDate: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{close}\r\n{body}",
        http_date(now_ms() / 1_000),
        body.len()
    )
}

fn poll(server: &Server, name: &str, query: &str) -> (&'static str, String) {
    let parameter = |wanted: &str| {
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted))
            .map(|(_, v)| v)
    };
    // What is no cursor of ours is the beginning: everything that is cached.
    let after = parameter("after").and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    let timeout_s = parameter("timeout").and_then(|text| text.parse().ok()).unwrap_or(TIMEOUT_S);
    let Some(channel) = server.channel(name) else { return too_many() };
    let News { last, messages } = channel.read(after, Duration::from_secs(timeout_s.min(TIMEOUT_S_MAX)));
    ("200 OK", format!("{{\"cursor\":\"{last:016x}\",\"messages\":[{}]}}\n", messages.join(",")))
}

fn publish(server: &Server, name: &str, body: &[u8]) -> (&'static str, String) {
    let Some(channel) = server.channel(name) else { return too_many() };
    let time_ms = now_ms();
    let published = channel.publish(server.life, time_ms, &String::from_utf8_lossy(body));
    let id = format!("{:016x}-{}", server.life, published.number);
    ("201 Created", format!("{{\"id\":\"{id}\",\"time\":{time_ms},\"subscribers\":{}}}\n", published.woken))
}

fn too_many() -> (&'static str, String) {
    ("503 Service Unavailable", "{}".to_owned())
}

/// Names as PushUp has them: none needs escaping in JSON.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:~@+-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_whole_or_not_yet() {
        let text = b"POST /pub/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nhiGET";
        for cut in 0..text.len() - 3 {
            assert_eq!(parse(&text[..cut]).expect("well-formed"), None, "cut at {cut}");
        }
        let (request, used) = parse(text).expect("well-formed").expect("whole");
        assert_eq!(used, text.len() - 3);
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/pub/a"));
        assert_eq!((request.body.as_slice(), request.then), (&b"hi"[..], Then::Close));
    }

    #[test]
    fn what_is_no_request_ends_the_connection() {
        for text in ["\0\0\0\0", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        let long = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert!(parse(long.as_bytes()).is_err());
        assert!(parse(format!("GET /{}", "x".repeat(HEAD_BYTES_MAX)).as_bytes()).is_err());
    }

    #[test]
    fn names() {
        for (name, good) in
            [("news", true), ("a.b:c~d@e+f-9_", true), ("", false), ("a/b", false), ("a\"", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(!is_name(&"x".repeat(129)));
    }
}
