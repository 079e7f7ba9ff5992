//! Pieces of snapshots.

use proptest::prelude::*;

use super::*;
use crate::channel::channel::Birth;
use crate::channel::snapshot::{ChannelPiece, Piece, StrandPiece, TombstonePiece};
use crate::cursor::VersionVector;
use crate::limits::{DIGEST_BYTES_MAX, DIGEST_ORIGINS_MAX, SEQ_MAX};

fn parse(meta: &str, body: &[u8]) -> Result<Piece, NotUnderstood> {
    parse_piece(&Frame { kind: Kind::PIECE, flags: 0, meta: meta.as_bytes(), body })
}

#[track_caller]
fn check(piece: &Piece, meta: &str, body: &str) {
    let (kind, flags, written_meta, written_body) = written(|out| write_piece(piece, out));
    assert_eq!((kind, flags, &*written_meta, &*written_body), (Kind::PIECE, 0, meta, body.as_bytes()));
    assert_eq!(parse(meta, body.as_bytes()).as_ref(), Ok(piece));
}

fn channel(strands: Vec<StrandPiece>) -> ChannelPiece {
    ChannelPiece {
        name: "news".parse().unwrap(),
        generation: 2,
        birth: Birth::Created,
        ttl_ms: 60_000,
        ttl_set: Timestamp(6),
        left_ms: 5,
        touched: Timestamp(7),
        after_forgetting: true,
        strands,
    }
}

fn tombstone(touched: Option<Timestamp>) -> TombstonePiece {
    TombstonePiece {
        name: "news".parse().unwrap(),
        generation: 2,
        closed: Timestamp(7),
        touched,
        held: vec![(Origin(0xab), 12), (Origin(1), 0)],
    }
}

#[test]
fn every_piece_is_written_as_documented() {
    let mut head = VersionVector::default();
    head.set(Origin(0xab), 12);
    let [forgotten, retired, retirement] = [(); 3].map(|()| VersionVector::default());
    let begin = Piece::Begin { head, forgotten, retired, retirement };
    check(
        &begin,
        r#"{"piece":"begin"}"#,
        r#"{"head":{"00000000000000ab":12},"forgotten":{},"retired":{},"retirement":{}}"#,
    );

    let strands = vec![
        StrandPiece { origin: Origin(0xab), newest: 12, evicted_upto: 3 },
        StrandPiece { origin: Origin(1), newest: 1, evicted_upto: 0 },
    ];
    let meta = r#"{"piece":"channel","name":"news","generation":2,"created":true,"ttl":60000,"ttl_set":6,"left":5,"touched":7"#;
    let body = r#"[["00000000000000ab",12,3],["0000000000000001",1,0]]"#;
    let with_strands = channel(strands);
    check(&Piece::Channel(with_strands.clone()), &format!("{meta},\"after_forgetting\":true}}"), body);
    let used =
        ChannelPiece { birth: Birth::FirstUse, after_forgetting: false, strands: vec![], ..with_strands };
    check(&Piece::Channel(used), &format!("{}}}", meta.replace("true", "false")), "[]");

    let message = entry(Deed::Publish(published(Body::text("hello".into()))));
    let meta = format!(r#"{ID},"channels":["news"],"type":"text/plain","ttl":300000}}"#);
    check(&Piece::Message(message), &meta, "hello");

    let meta = r#"{"piece":"tombstone","name":"news","generation":2,"closed":7}"#;
    let held = r#"[["00000000000000ab",12],["0000000000000001",0]]"#;
    check(&Piece::Tombstone(tombstone(None)), meta, held);
    let meta = r#"{"piece":"tombstone","name":"news","generation":2,"closed":7,"touched":5}"#;
    check(&Piece::Tombstone(tombstone(Some(Timestamp(5)))), meta, held);

    let id = MessageId { origin: Origin(0xab), seq: 12 };
    let key = Piece::Key { key: "a\"b".into(), id, time: Timestamp(7), left_ms: 300_000 };
    let meta = r#"{"piece":"key","key":"a\"b","origin":"00000000000000ab","seq":12,"time":7,"left":300000}"#;
    check(&key, meta, "");
    check(&Piece::End, r#"{"piece":"end"}"#, "");
}

#[test]
fn what_is_no_piece_is_refused() {
    let begin = |body: &str| parse(r#"{"piece":"begin"}"#, body.as_bytes());
    assert_eq!(begin(r#"{"head":{},"forgotten":{}}"#), Err(NotUnderstood("retired")));
    assert_eq!(begin(r#"{"head":{"ab":1},"forgotten":{},"retired":{}}"#), Err(NotUnderstood("head")));
    assert_eq!(begin(&" ".repeat(5 * DIGEST_BYTES_MAX + 1)), Err(NotUnderstood("body")));

    let tombstone = |rest: &str, body: &str| {
        parse(&format!(r#"{{"piece":"tombstone","name":"a","generation":1{rest}}}"#), body.as_bytes())
    };
    assert!(tombstone(r#","closed":1"#, "[]").is_ok());
    assert_eq!(tombstone("", "[]"), Err(NotUnderstood("closed")));
    assert_eq!(tombstone(r#","closed":1,"touched":null"#, "[]"), Err(NotUnderstood("touched")));
    for bad in ["", "{}", "[1]", r#"[["ab",1]]"#, r#"[["00000000000000ab"]]"#, r#"[["00000000000000ab",-1]]"#]
    {
        assert_eq!(tombstone(r#","closed":1"#, bad), Err(NotUnderstood("body")), "{bad}");
    }

    for (meta, part) in [
        ("{}", "piece"),
        ("", "meta"),
        (r#"{"piece":"other"}"#, "piece"),
        (r#"{"piece":"channel","name":"a b"}"#, "name"),
        (r#"{"piece":"key","key":"k","origin":"00000000000000ab","seq":1,"time":1,"left":300001}"#, "left"),
        (r#"{"piece":"key","key":"k","origin":"00000000000000ab","seq":0,"time":1,"left":1}"#, "seq"),
        (r#"{"origin":"00000000000000ab","seq":1,"time":1,"do":"close","channel":"a","generation":1}"#, "do"),
    ] {
        assert_eq!(parse(meta, b"[]"), Err(NotUnderstood(part)), "{meta}");
    }
}

#[test]
fn a_channel_s_strands_are_bounded() {
    let strand = |at: usize| StrandPiece {
        origin: Origin(u64::MAX - at as u64),
        newest: SEQ_MAX,
        evicted_upto: SEQ_MAX,
    };
    let piece = Piece::Channel(channel((0..=DIGEST_ORIGINS_MAX).map(strand).collect()));
    let (_, _, meta, body) = written(|out| write_piece(&piece, out));
    let Ok(Piece::Channel(read)) = parse(&meta, &body) else { panic!("a channel") };
    assert_eq!(read.strands, (0..DIGEST_ORIGINS_MAX).map(strand).collect::<Vec<_>>());
    let one_more = String::from_utf8(body).unwrap().replacen('[', "[[\"0000000000000000\",1,1],", 1);
    assert_eq!(parse(&meta, one_more.as_bytes()), Err(NotUnderstood("body")));
    let too_long = format!("{}[]", " ".repeat(DIGEST_BYTES_MAX));
    assert_eq!(parse(&meta, too_long.as_bytes()), Err(NotUnderstood("body")));
}

proptest! {
    #[test]
    fn any_piece_reads_back(piece in arbitrary::piece()) {
        let (_, _, meta, body) = written(|out| write_piece(&piece, out));
        prop_assert_eq!(parse(&meta, &body), Ok(piece));
    }
}
