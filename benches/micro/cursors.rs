//! A cursor's text, to and fro. The yardstick is the plain code, each step a `Vec` of its own.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BenchmarkId, Criterion};
use pushup::cursor::{ClusterTag, Cursor, VersionVector};
use pushup::ids::Origin;

use crate::samples::ORIGIN;

/// Times this part.
pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cursors");
    for (name, origins) in [("one origin", 1), ("three origins", 3)] {
        let cursor = cursor(origins);
        let text = cursor.to_text();
        assert_eq!(text, plain_text(&cursor));
        assert_eq!(Cursor::parse(&text), Ok(cursor.clone()));
        assert_eq!(plain_cursor(&text), cursor);
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new("write/pushup", name), |bencher| {
            bencher.iter(|| {
                out.clear();
                Cursor::write(cursor.tag, black_box(&cursor.seen), &mut out);
                black_box(out.len())
            })
        });
        group.bench_function(BenchmarkId::new("write/plain", name), |bencher| {
            bencher.iter(|| plain_text(black_box(&cursor)))
        });
        group.bench_function(BenchmarkId::new("parse/pushup", name), |bencher| {
            bencher.iter(|| Cursor::parse(black_box(&text)))
        });
        group.bench_function(BenchmarkId::new("parse/plain", name), |bencher| {
            bencher.iter(|| plain_cursor(black_box(&text)))
        });
    }
    group.finish();
}

/// A cursor far along in so many logs.
fn cursor(origins: u64) -> Cursor {
    let mut seen = VersionVector::default();
    (0..origins).for_each(|number| seen.set(Origin(ORIGIN.0 + number), 1_234_567 + number));
    Cursor { tag: ClusterTag::of("pushup"), seen }
}

fn plain_text(cursor: &Cursor) -> String {
    let mut bytes = vec![1];
    bytes.extend(cursor.tag.0.to_be_bytes());
    for (origin, seq) in cursor.seen.iter() {
        bytes.extend(origin.0.to_be_bytes());
        let len = (64 - seq.leading_zeros()).div_ceil(7) as usize;
        bytes.extend((0..len).map(|at| (seq >> (7 * at)) as u8 & 0x7f | if at + 1 < len { 0x80 } else { 0 }));
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

fn plain_cursor(text: &str) -> Cursor {
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("it is base64");
    let tag = ClusterTag(u16::from_be_bytes([bytes[1], bytes[2]]));
    let (mut seen, mut rest) = (VersionVector::default(), &bytes[3..]);
    while let Some((origin, after)) = rest.split_first_chunk::<8>() {
        let len = 1 + after.iter().take_while(|byte| **byte & 0x80 != 0).count();
        let seq = after[..len].iter().rev().fold(0, |seq, byte| seq << 7 | u64::from(byte & 0x7f));
        seen.set(Origin(u64::from_be_bytes(*origin)), seq);
        rest = &after[len..];
    }
    Cursor { tag, seen }
}
