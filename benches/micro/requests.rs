//! A request's head: bytes to meaning, whole and not yet whole; and what a poll or a
//! publication makes of it. The floor is `httparse` alone, which checks less.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use pushup::session::publisher::parse_publication;
use pushup::session::route::{Door, Route};
use pushup::session::subscriber::{Poll, Timeouts};
use pushup::wire::http::request::{self, Parsed, RequestHead, Version};

use crate::samples::CHAT_LINE;

/// What curl sends to poll.
const CURL: &str = "GET /sub/news?after=now HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.14.1\r\n\
    Accept: */*\r\n\r\n";
/// What a browser sends to poll from a page.
const BROWSER: &str = "GET /sub/news?after=AVeN_u2-796tyv6HrUs HTTP/1.1\r\nHost: push.example.org\r\n\
    Connection: keep-alive\r\nsec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
    sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://www.example.org\r\nSec-Fetch-Site: same-site\r\n\
    Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://www.example.org/\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: seen=1; session=q3Jx0aVZ7mKc2RfWn8UdLs5TyHb1Po4GeXiA6v\r\n\r\n";
/// What a web server sends to publish, without the body.
const PUBLISH: &str = "POST /pub/news HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\
    Content-Type: text/plain\r\nContent-Length: 64\r\n\r\n";

/// Times this part.
pub fn measure(criterion: &mut Criterion) {
    assert_eq!(BROWSER.len(), 645);
    measure_heads(criterion);
    measure_meaning(criterion);
}

fn measure_heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("requests/head");
    for (name, text) in [("curl", CURL), ("browser", BROWSER), ("publish", PUBLISH)] {
        check(text);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("pushup", name), |bencher| {
            bencher.iter(|| request::parse(black_box(text.as_bytes())).is_ok())
        });
        group.bench_function(BenchmarkId::new("httparse", name), |bencher| {
            bencher.iter(|| is_whole(black_box(text.as_bytes())))
        });
    }
    let cut = &BROWSER[..BROWSER.len() - 2];
    assert_eq!(request::parse(cut.as_bytes()), Ok(Parsed::Partial));
    assert!(!is_whole(cut.as_bytes()));
    group.bench_function(BenchmarkId::new("pushup", "browser, not yet whole"), |bencher| {
        bencher.iter(|| request::parse(black_box(cut.as_bytes())).is_ok())
    });
    group.bench_function(BenchmarkId::new("httparse", "browser, not yet whole"), |bencher| {
        bencher.iter(|| is_whole(black_box(cut.as_bytes())))
    });
    group.finish();
}

/// The floor: what `httparse` says.
fn is_whole(text: &[u8]) -> bool {
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; 100];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(text, &mut slots);
    black_box(&request);
    parsed.is_ok_and(|status| status.is_complete())
}

fn measure_meaning(criterion: &mut Criterion) {
    let timeouts = Timeouts { default_s: 50, max_s: 120 };
    let mut group = criterion.benchmark_group("requests/meaning");
    for (name, text) in [("poll by curl", CURL), ("poll by a browser", BROWSER)] {
        let head = head(text);
        assert!(poll(&head, timeouts));
        group.bench_function(BenchmarkId::new("pushup", name), |bencher| {
            bencher.iter(|| poll(black_box(&head), timeouts))
        });
    }
    let head = head(PUBLISH);
    assert!(publication(&head));
    group.bench_function(BenchmarkId::new("pushup", "publication"), |bencher| {
        bencher.iter(|| publication(black_box(&head)))
    });
    group.finish();
}

fn poll(head: &RequestHead, timeouts: Timeouts) -> bool {
    let Some(Route::Subscribe(channels)) = Route::find(Door::Public, head.path) else { return false };
    black_box(Poll::parse(channels, head, timeouts)).is_ok()
}

fn publication(head: &RequestHead) -> bool {
    let Some(Route::Publish(channels)) = Route::find(Door::Publisher, head.path) else { return false };
    black_box(parse_publication(channels, head, CHAT_LINE.as_bytes())).is_ok()
}

// -- The same, plainly ---------------------------------------------------------------

fn head(text: &str) -> RequestHead<'_> {
    match request::parse(text.as_bytes()) {
        Ok(Parsed::Complete { head, len }) if len == text.len() => head,
        other => panic!("{text}: {other:?}"),
    }
}

/// That a head says what its text says, read by splitting it.
fn check(text: &str) {
    let head = head(text);
    let mut lines = text.trim_end().split("\r\n");
    let line: Vec<&str> = lines.next().expect("there is a first line").split(' ').collect();
    let target = head.query.map_or(head.path.to_owned(), |query| format!("{}?{query}", head.path));
    assert_eq!(line, [head.method.as_str(), &target, "HTTP/1.1"]);
    assert_eq!((head.version, head.keep_alive), (Version::Http11, true));
    let fields: HashMap<String, &[u8]> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_bytes()))
        .collect();
    for (name, value) in [
        ("accept", head.accept),
        ("authorization", head.authorization),
        ("content-encoding", head.content_encoding),
        ("content-type", head.content_type),
        ("origin", head.origin),
        ("prefer", head.prefer),
    ] {
        assert_eq!(value, fields.get(name).copied(), "{name}");
    }
    let length = format!("{:?}", head.framing);
    let told = fields.get("content-length").map(|value| String::from_utf8_lossy(value));
    assert_eq!(length, told.map_or("None".into(), |told| format!("Length({told})")));
}
