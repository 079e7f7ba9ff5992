//! What a strict server must do: every vector whole, split at every byte, and in a
//! pipeline with a good request before and one behind it.

mod body;
mod continuing;
mod head;

use super::harness::{World, request};
use super::*;

/// A request that is always good.
const GOOD: &[u8] = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";
/// Beyond this length a vector is not split at every byte but around every so many.
const SPLITS_MAX: usize = 700;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Close,
    KeepAlive,
    /// A body that is not wanted is skipped when it is there already, else the connection closes.
    Either,
}

/// How the bytes arrive.
#[derive(Clone, Copy, Debug)]
enum Feed {
    Whole,
    /// In two pieces.
    Split(usize),
    ByteByByte,
}

/// The statuses that some bytes are answered with, interim ones left out, and whether the
/// connection is over.
fn feed(door: Door, bytes: &[u8], how: Feed) -> (Vec<u16>, bool) {
    let mut world = World::with(|settings| settings.body_bytes_max = 64 * 1024);
    let who = world.connect(door);
    match how {
        Feed::Whole => world.send(who, bytes),
        Feed::Split(at) => {
            world.send(who, &bytes[..at]);
            world.send(who, &bytes[at..]);
        }
        Feed::ByteByByte => bytes.iter().for_each(|byte| world.send(who, [*byte])),
    }
    let responses = world.take_all(who);
    let over = world.is_over(who);
    for (at, response) in responses.iter().enumerate() {
        let last = at + 1 == responses.len();
        assert_eq!(response.closes(), last && over, "the last response and no other says close: {how:?}");
        if response.status >= 400 {
            response.check_problem();
        }
    }
    let statuses = responses.iter().map(|response| response.status).filter(|status| *status >= 200).collect();
    world.finish();
    (statuses, over)
}

/// Where a vector is split.
fn splits(len: usize) -> Vec<usize> {
    if len <= SPLITS_MAX {
        return (1..len).collect();
    }
    (1..40).chain((1..20).map(|part| part * len / 20)).chain(len - 40..len).collect()
}

#[track_caller]
fn check(door: Door, vector: &[u8], status: u16, then: Then) {
    let shown = &vector[..vector.len().min(200)].escape_ascii().to_string();
    let expect = |bytes: &[u8], before: &[u16], behind: bool, how: Feed| {
        let (statuses, over) = feed(door, bytes, how);
        let closes = match then {
            Then::Close => true,
            Then::KeepAlive => false,
            Then::Either => over,
        };
        assert_eq!(over, closes, "{shown} {how:?}");
        let mut expected = before.to_vec();
        expected.push(status);
        expected.extend((behind && !closes).then_some(200));
        assert_eq!(statuses, expected, "{shown} {how:?}");
    };
    expect(vector, &[], false, Feed::Whole);
    splits(vector.len()).into_iter().for_each(|at| expect(vector, &[], false, Feed::Split(at)));
    let pipeline = [GOOD, vector, GOOD].concat();
    expect(&pipeline, &[200], true, Feed::Whole);
    splits(pipeline.len()).into_iter().for_each(|at| expect(&pipeline, &[200], true, Feed::Split(at)));
    if pipeline.len() <= 4 * SPLITS_MAX {
        expect(&pipeline, &[200], true, Feed::ByteByByte);
    }
}

/// At the public door.
#[track_caller]
fn public(vector: impl AsRef<[u8]>, status: u16, then: Then) {
    check(Door::Public, vector.as_ref(), status, then);
}

/// At the publisher's door.
#[track_caller]
fn publisher(vector: impl AsRef<[u8]>, status: u16, then: Then) {
    check(Door::Publisher, vector.as_ref(), status, then);
}

/// A GET with these fields and no other.
fn get(fields: &str) -> String {
    format!("GET /livez HTTP/1.1\r\n{fields}\r\n")
}
