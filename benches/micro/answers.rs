//! An answer's text: its JSON and its head. The yardstick is what `serde_json` and `write!`
//! make of it in the plain way, byte for byte the same.

use std::borrow::Cow;
use std::hint::black_box;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{BenchmarkId, Criterion, Throughput};
use pushup::channel::history::{Carried, Reading};
use pushup::channel::message::{Body, Message};
use pushup::cursor::{ClusterTag, Cursor, VersionVector};
use pushup::session::answer::{self, Notices};
use pushup::wire::http::date::http_date;
use pushup::wire::http::response::{Connection, Head};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::samples::{CHANNEL, ORIGIN, Sample, message};

/// Times this part.
pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answers");
    for (name, count, sample) in [
        ("1 message", 1, Sample::Chat),
        ("10 messages", 10, Sample::Chat),
        ("256 bytes of text", 1, Sample::Text),
        ("256 bytes of text with escapes", 1, Sample::Escapes),
        ("256 bytes of JSON", 1, Sample::Json),
        ("256 bytes in base64", 1, Sample::Binary),
    ] {
        let reading = reading(count, sample);
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        write(&reading, &mut ours);
        write_plainly(&reading, &mut plain);
        assert_eq!(String::from_utf8(ours.clone()), String::from_utf8(plain.clone()));
        group.throughput(Throughput::Bytes(ours.len() as u64));
        group.bench_function(BenchmarkId::new("pushup", name), |bencher| {
            bencher.iter(|| write(black_box(&reading), &mut ours))
        });
        group.bench_function(BenchmarkId::new("serde_json", name), |bencher| {
            bencher.iter(|| write_plainly(black_box(&reading), &mut plain))
        });
    }
    group.finish();
    measure_heads(criterion);
}

fn tag() -> ClusterTag {
    ClusterTag::of("pushup")
}

fn reading(count: u64, sample: Sample) -> Reading {
    let carried = |number| Carried { message: message(1_234_567 + number, sample), carriers: 1 };
    let mut examined = VersionVector::default();
    examined.set(ORIGIN, 1_234_567 + count);
    Reading { messages: (0..count).map(carried).collect(), examined, gap: false }
}

fn write(reading: &Reading, out: &mut Vec<u8>) -> usize {
    out.clear();
    answer::write(tag(), reading, &[CHANNEL], Notices::default(), out);
    out.len()
}

// -- The same, plainly ---------------------------------------------------------------

#[derive(Serialize)]
struct PlainAnswer<'a> {
    cursor: String,
    messages: Vec<PlainMessage<'a>>,
}

#[derive(Serialize)]
struct PlainMessage<'a> {
    id: String,
    time: u64,
    channels: [&'a str; 1],
    #[serde(rename = "type")]
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'a str>,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

fn write_plainly(reading: &Reading, out: &mut Vec<u8>) -> usize {
    out.clear();
    let cursor = Cursor { tag: tag(), seen: reading.examined.clone() };
    let messages = reading.messages.iter().map(|carried| plain_message(&carried.message)).collect();
    let answer = PlainAnswer { cursor: cursor.to_text(), messages };
    serde_json::to_writer(&mut *out, &answer).expect("it is written to memory");
    out.push(b'\n');
    out.len()
}

fn plain_message(message: &Message) -> PlainMessage<'_> {
    let (encoding, data) = match &message.body {
        // The library checks it once more, as it must of what it is given as text.
        Body::Json(text) => (None, Data::Json(serde_json::from_str(text).expect("it is JSON"))),
        Body::Plain(text) | Body::Text(text) => (None, Data::Text(Cow::Borrowed(text))),
        Body::Binary(bytes) => (Some("base64"), Data::Text(STANDARD.encode(bytes).into())),
    };
    PlainMessage {
        id: message.id.to_string(),
        time: message.time.0,
        channels: [CHANNEL],
        media_type: &message.media_type,
        encoding,
        data,
    }
}

// -- Heads ---------------------------------------------------------------------------

fn measure_heads(criterion: &mut Criterion) {
    let date = http_date(message(1, Sample::Chat).time);
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    write_head(&date, 312, &mut ours);
    write_head_plainly(&date, 312, &mut plain);
    assert_eq!(String::from_utf8(ours.clone()), String::from_utf8(plain.clone()));
    let mut group = criterion.benchmark_group("answers/head");
    group.bench_function("pushup", |bencher| {
        bencher.iter(|| write_head(black_box(&date), black_box(312), &mut ours))
    });
    group.bench_function("write!", |bencher| {
        bencher.iter(|| write_head_plainly(black_box(&date), black_box(312), &mut plain))
    });
    group.finish();
}

fn write_head(date: &[u8; 29], content_length: usize, out: &mut Vec<u8>) -> usize {
    out.clear();
    let head = Head {
        status: 200,
        content_type: Some("application/json"),
        content_length: Some(content_length),
        date,
        connection: Connection::KeepAlive,
        cors: None,
        extra: &[],
    };
    head.write(out);
    out.len()
}

fn write_head_plainly(date: &[u8; 29], content_length: usize, out: &mut Vec<u8>) -> usize {
    out.clear();
    let date = str::from_utf8(date).expect("a date is text");
    write!(
        out,
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {content_length}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    .expect("it is written to memory");
    out.len()
}
