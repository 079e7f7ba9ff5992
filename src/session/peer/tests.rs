mod arbitrary;
mod garbage;
mod pieces;

use proptest::prelude::*;

use super::*;
use crate::ids::Origin;
use crate::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};
use crate::wire::frame::{ACK_WANTED, decode};

fn entry(deed: Deed) -> Entry {
    Entry { id: MessageId { origin: Origin(0xab), seq: 12 }, time: Timestamp(1_795_361_093_123), deed }
}

fn published(body: Body) -> Published {
    Published {
        channels: SmallVec::from_iter([("news".parse().unwrap(), 1)]),
        media_type: "text/plain".into(),
        body,
        ttl_ms: 300_000,
        idempotency_key: None,
    }
}

/// The frame that `write` appends to what is there already: kind, flags, meta and body.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> (Kind, u8, String, Vec<u8>) {
    let mut out = b"before".to_vec();
    write(&mut out);
    let (frame, len) = decode(&out[6..], FRAME_BYTES_MAX).unwrap().expect("a whole frame");
    assert_eq!(len, out.len() - 6, "one frame");
    (frame.kind, frame.flags, String::from_utf8(frame.meta.to_vec()).unwrap(), frame.body.to_vec())
}

fn parse(meta: &str, body: &[u8]) -> Result<Entry, NotUnderstood> {
    parse_entry(&Frame { kind: Kind::ENTRY, flags: 0, meta: meta.as_bytes(), body })
}

/// Both ways of reading must agree, and the fast one must be taken or not, as is said.
#[track_caller]
fn check(entry: &Entry, meta: &str, fast: bool) {
    let (kind, flags, written_meta, body) = written(|out| write_entry(entry, ACK_WANTED, out));
    assert_eq!((kind, flags, &*written_meta), (Kind::ENTRY, ACK_WANTED, meta));
    assert_eq!(parse(meta, &body).as_ref(), Ok(entry));
    assert_eq!(scan::publication(meta.as_bytes()).is_some(), fast);
    assert_eq!(parse(&meta.replace(",\"", ", \"").replace(", \"seq", ",\"seq"), &body).as_ref(), Ok(entry));
}

const ID: &str = r#"{"origin":"00000000000000ab","seq":12,"time":1795361093123"#;

#[test]
fn a_publication_is_written_as_documented() {
    let plain = published(Body::text("hello".into()));
    let meta = |rest: &str| format!("{ID},{rest}}}");
    check(
        &entry(Deed::Publish(plain.clone())),
        &meta(r#""channels":["news"],"type":"text/plain","ttl":300000"#),
        true,
    );
    let key = Published { idempotency_key: Some("k 1".into()), ..plain.clone() };
    check(
        &entry(Deed::Publish(key)),
        &meta(r#""channels":["news"],"type":"text/plain","ttl":300000,"key":"k 1""#),
        true,
    );
    let channels = [("a", 1), ("b", 7)].map(|(name, generation)| (name.parse().unwrap(), generation));
    let many = Published { channels: SmallVec::from_iter(channels), ..plain.clone() };
    check(
        &entry(Deed::Publish(many)),
        &meta(r#""channels":["a","b"],"type":"text/plain","ttl":300000,"generations":[1,7]"#),
        true,
    );
    let quoted = Published { media_type: "text/html; charset=\"utf-8\"".into(), ..plain };
    check(
        &entry(Deed::Publish(quoted)),
        &meta(r#""channels":["news"],"type":"text/html; charset=\"utf-8\"","ttl":300000"#),
        false,
    );
}

#[test]
fn the_form_is_written_where_the_type_does_not_tell() {
    for (media_type, body, form) in [
        ("text/plain", Body::text("\"".into()), ""),
        ("text/plain", Body::Binary([0xff].into()), r#","form":"binary""#),
        ("text/plain; charset=latin1", Body::Binary([0xff].into()), ""),
        ("application/json", Body::Json("{}".into()), ""),
        ("a/b+json", Body::Json("{}".into()), ""),
        ("image/png", Body::Binary([1].into()), ""),
        ("image/png", Body::text("png".into()), r#","form":"text""#),
        ("image/png", Body::Json("1".into()), r#","form":"json""#),
    ] {
        let published = Published { media_type: media_type.into(), ..published(body) };
        let meta = format!(r#"{ID},"channels":["news"],"type":"{media_type}","ttl":300000{form}}}"#);
        check(&entry(Deed::Publish(published)), &meta, true);
    }
}

#[test]
fn other_deeds_are_written_as_documented() {
    let name: ChannelName = "news".parse().unwrap();
    let (generation, ttl_ms, touched) = (2, 60_000, Timestamp(5));
    for (deed, rest) in [
        (
            Deed::Create { name: name.clone(), generation, ttl_ms },
            r#""do":"create","channel":"news","generation":2,"ttl":60000"#,
        ),
        (
            Deed::Renew { name: name.clone(), generation, ttl_ms },
            r#""do":"renew","channel":"news","generation":2,"ttl":60000"#,
        ),
        (Deed::Close { name: name.clone(), generation }, r#""do":"close","channel":"news","generation":2"#),
        (
            Deed::Expire { name, generation, touched },
            r#""do":"expire","channel":"news","generation":2,"touched":5"#,
        ),
        (Deed::Mark, r#""do":"mark""#),
    ] {
        check(&entry(deed), &format!("{ID},{rest}}}"), false);
    }
}

#[test]
fn what_no_publisher_could_have_published_is_refused() {
    let good = format!(
        r#"{ID},"channels":["news"],"type":"text/plain","ttl":1,"generations":[1],"form":"text","key":"k"}}"#
    );
    assert!(parse(&good, b"x").is_ok());
    let many = |count: usize| (0..count).map(|at| format!("\"c{at}\"")).collect::<Vec<_>>().join(",");
    for (from, to, part) in [
        ("\"seq\":12", "\"seq\":0", "seq"),
        ("\"time\":1795361093123", "\"time\":-1", "time"),
        ("\"time\":1795361093123", "\"time\":1e3", "time"),
        ("\"time\"", "\"tim\"", "time"),
        ("[\"news\"]", "[]", "channels"),
        ("[\"news\"]", "\"news\"", "channels"),
        ("[\"news\"]", "[\"\"]", "channels"),
        ("[\"news\"]", "[\"a/b\"]", "channels"),
        ("[\"news\"]", "[\"\\\"\"]", "channels"),
        ("[\"news\"]", "[\"a\",\"a\"]", "channels"),
        ("\"news\"", &many(65), "channels"),
        ("\"news\"", &many(2), "generations"),
        ("text/plain", "text", "type"),
        ("text/plain", "text/\\nplain", "type"),
        ("text/plain", &format!("text/{}", "x".repeat(124)), "type"),
        ("\"ttl\":1", "\"ttl\":31622400001", "ttl"),
        ("\"ttl\":1,", "", "ttl"),
        ("[1]", "[0]", "generations"),
        ("[1]", "[4294967296]", "generations"),
        ("[1]", "[1,1]", "generations"),
        ("[1]", "[]", "generations"),
        ("\"form\":\"text\"", "\"form\":\"html\"", "form"),
        ("\"form\":\"text\"", "\"form\":\"json\"", "body"),
        ("\"key\":\"k\"", "\"key\":\"\"", "key"),
        ("\"key\":\"k\"", "\"key\":\"\\u00e9\"", "key"),
        ("\"key\":\"k\"", "\"key\":7", "key"),
        ("\"key\":\"k\"", "\"do\":\"publish\"", "channel"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert_eq!(parse(&bad, b"x"), Err(NotUnderstood(part)), "{to}");
        assert_eq!(scan::publication(bad.as_bytes()).is_some(), part == "body", "{to}");
    }
}

#[test]
fn what_no_publisher_could_have_done_is_refused() {
    let good = format!(r#"{ID},"do":"expire","channel":"news","generation":2,"touched":5}}"#);
    assert!(parse(&good, b"").is_ok());
    for (from, to, part) in [
        ("expire", "explode", "do"),
        ("expire", "marks", "do"),
        ("\"expire\"", "[\"mark\"]", "do"),
        ("\"expire\"", "null", "do"),
        ("expire", "create", "ttl"),
        ("expire", "renew", "ttl"),
        ("touched", "touch", "touched"),
        ("\"news\"", "\"a,b\"", "channel"),
        ("\"generation\":2", "\"generation\":0", "generation"),
        ("\"generation\":2", "\"generation\":\"2\"", "generation"),
        ("00ab", "00aB", "seq"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert_eq!(parse(&bad, b""), Err(NotUnderstood(part)), "{to}");
    }
}

#[test]
fn of_a_life_before_the_first_nothing_is_closed() {
    let close = |generation: u64| {
        parse(&format!(r#"{ID},"do":"close","channel":"news","generation":{generation}}}"#), b"")
    };
    assert!(close(1).is_ok());
    assert_eq!(close(0), Err(NotUnderstood("generation")));
}

#[test]
fn a_body_must_be_what_it_is_called() {
    let meta = |media_type: &str, form: &str| {
        format!(r#"{ID},"channels":["a"],"type":"{media_type}","ttl":1{form}}}"#)
    };
    let deep = "[".repeat(33) + &"]".repeat(33);
    for bad in [&b""[..], b"{", b"1 2", b"\"\xff\"", b"\"\\ud800\"", b"\"a\"}],", deep.as_bytes()] {
        assert_eq!(parse(&meta("application/json", ""), bad), Err(NotUnderstood("body")));
        assert_eq!(parse(&meta("image/png", ",\"form\":\"json\""), bad), Err(NotUnderstood("body")));
        assert!(parse(&meta("image/png", ""), bad).is_ok());
    }
    assert_eq!(parse(&meta("text/plain", ""), b"\xff"), Err(NotUnderstood("body")));
    // Plain text is told from what must be escaped here, whatever the peer thinks.
    for (text, plain) in [("a", true), ("a\"", false), ("a\n", false)] {
        let Deed::Publish(published) = parse(&meta("text/plain", ""), text.as_bytes()).unwrap().deed else {
            panic!("a publication");
        };
        assert_eq!(matches!(published.body, Body::Plain(_)), plain);
    }
}

#[test]
fn of_an_id_that_comes_twice_the_first_counts_for_all() {
    let meta = format!(r#"{ID},"channels":["a"],"type":"text/plain","ttl":1,"seq":99}}"#);
    assert_eq!(parse(&meta, b"").map(|entry| entry.id.seq), Ok(12));
}

#[test]
fn the_largest_entry_fits_in_a_frame() {
    let name = |at: usize| format!("{at:0>128}").parse().unwrap();
    let largest = Published {
        channels: (0..CHANNELS_PER_REQUEST_MAX).map(|at| (name(at), u32::MAX)).collect(),
        media_type: format!("a/{}", "\"".repeat(126)).into(),
        body: Body::Binary(vec![0; BODY_BYTES_MAX].into()),
        ttl_ms: TTL_MS_MAX,
        idempotency_key: Some("\\".repeat(128).into()),
    };
    let largest = Entry {
        id: MessageId { origin: Origin(u64::MAX), seq: crate::limits::SEQ_MAX },
        time: Timestamp::MAX,
        deed: Deed::Publish(largest),
    };
    let (_, _, meta, body) = written(|out| write_entry(&largest, 0, out));
    assert!(parse(&meta, &body) == Ok(largest));
}

proptest! {
    #[test]
    fn any_entry_reads_back_and_a_publication_in_the_fast_way(entry in arbitrary::entry(), flags: u8) {
        let (kind, written_flags, meta, body) = written(|out| write_entry(&entry, flags, out));
        prop_assert_eq!((kind, written_flags), (Kind::ENTRY, flags));
        let frame = Frame { kind, flags, meta: meta.as_bytes(), body: &body };
        prop_assert_eq!(entry_id(&frame), Ok(entry.id));
        prop_assert_eq!(parse_entry(&frame), Ok(entry.clone()));
        let fast = matches!(entry.deed, Deed::Publish(_)) && !meta.contains('\\');
        prop_assert_eq!(scan::publication(meta.as_bytes()).is_some(), fast);
    }

    /// The general way is the oracle of the fast one.
    #[test]
    fn what_the_fast_way_reads_the_general_way_reads_alike(
        entry in arbitrary::entry(), at: prop::sample::Index, to in "[\\x00-\\x7f]{0,2}", cut in 0_usize..3,
    ) {
        let (_, _, mut meta, _) = written(|out| write_entry(&entry, 0, out));
        let start = at.index(meta.len());
        meta.replace_range(start..meta.len().min(start + cut), &to);
        arbitrary::check_against_oracle(meta.as_bytes());
    }
}
