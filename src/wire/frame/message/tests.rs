use proptest::prelude::*;

use super::*;
use crate::limits::{HANDSHAKE_BYTES_MAX, SEQ_MAX};
use crate::wire::frame::decode;

fn hello() -> Hello {
    Hello {
        version: 1,
        cluster: "pushup".into(),
        node: "a:1".parse().unwrap(),
        origin: Origin(0xab),
        address: "10.0.0.1:7000".parse().unwrap(),
        nonce: *b"0123456789abcdef",
        features: vec![],
    }
}

/// The frame that `write` appends to what is there already, as kind, meta and body.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> (Kind, String, String) {
    let mut out = b"before".to_vec();
    write(&mut out);
    let (frame, len) = decode(&out[6..], usize::MAX).unwrap().expect("a whole frame");
    assert_eq!(len, out.len() - 6, "one frame");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (frame.kind, text(frame.meta), text(frame.body))
}

fn parse_digest(meta: &str, body: &str) -> Result<Digest, NotUnderstood> {
    Digest::parse(&Frame { kind: Kind::DIGEST, flags: 0, meta: meta.as_bytes(), body: body.as_bytes() })
}

#[test]
fn every_frame_is_written_as_documented() {
    let (kind, meta, _) = written(|out| hello().write(out));
    assert_eq!(kind, Kind::HELLO);
    assert_eq!(
        meta,
        r#"{"version":1,"cluster":"pushup","node":"a:1","origin":"00000000000000ab","address":"10.0.0.1:7000","nonce":"30313233343536373839616263646566","features":[]}"#
    );
    assert_eq!(Hello::parse(meta.as_bytes()), Ok(hello()));

    let (kind, meta, _) = written(|out| Proof { mac: [0xa0; 32] }.write(out));
    assert_eq!((kind, meta), (Kind::PROOF, format!(r#"{{"mac":"{}"}}"#, "a0".repeat(32))));

    let pull = Pull { origin: Origin(0xab), from: 3, to: 9 };
    let expected = r#"{"origin":"00000000000000ab","from":3,"to":9}"#;
    assert_eq!(written(|out| pull.write(out)), (Kind::PULL, expected.into(), String::new()));

    let truncated = Truncated { origin: Origin(0xab), first: 3 };
    let expected = r#"{"origin":"00000000000000ab","first":3}"#;
    assert_eq!(written(|out| truncated.write(out)), (Kind::TRUNCATED, expected.into(), String::new()));

    let mut have = VersionVector::default();
    have.set(Origin(0xab), 12);
    for (full, ready) in [(false, false), (false, true), (true, false), (true, true)] {
        let digest = Digest { have: have.clone(), full, ready };
        let expected = format!(r#"{{"full":{full},"ready":{ready}}}"#);
        let body = r#"{"00000000000000ab":12}"#;
        assert_eq!(written(|out| digest.write(out)), (Kind::DIGEST, expected.clone(), body.into()));
        assert_eq!(parse_digest(&expected, body), Ok(digest));
    }

    let bye = Bye { reason: "it \"drains\"".into() };
    let expected = r#"{"reason":"it \"drains\""}"#;
    assert_eq!(written(|out| bye.write(out)), (Kind::BYE, expected.into(), String::new()));
    assert_eq!(written(write_snapshot_request), (Kind::SNAPSHOT, "{}".into(), String::new()));
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let (_, meta, _) = written(|out| hello().write(out));
    let more = meta.replacen('{', r#"{ "tls" : {"a":[1,"}"]}, "#, 1);
    assert_eq!(Hello::parse(more.as_bytes()), Ok(hello()));
    let pull = br#"{"to":9, "why":null, "from":3, "origin":"00000000000000ab"}"#;
    assert_eq!(Pull::parse(pull), Ok(Pull { origin: Origin(0xab), from: 3, to: 9 }));
}

#[test]
fn a_hello_with_anything_wrong_or_missing_is_refused() {
    let (_, meta, _) = written(|out| hello().write(out));
    let check = |from: &str, to: &str, part: &'static str| {
        let changed = meta.replacen(from, to, 1);
        assert_ne!(changed, meta, "{from}");
        assert_eq!(Hello::parse(changed.as_bytes()), Err(NotUnderstood(part)), "{to}");
    };
    for part in ["version", "cluster", "node", "origin", "address", "nonce", "features"] {
        check(&format!("\"{part}\""), "\"x\"", part);
    }
    check("1,", "-1,", "version");
    check("1,", "4294967296,", "version");
    check("\"pushup\"", "7", "cluster");
    check("pushup", &"x".repeat(65), "cluster");
    check("a:1", "", "node");
    check("a:1", "a b", "node");
    check("00ab", "00aB", "origin");
    check("10.0.0.1:7000", "example.com:7000", "address");
    check("10.0.0.1:7000", "10.0.0.1", "address");
    check("3031", "30", "nonce");
    check("3031", "30\u{e9}", "nonce");
    check("[]", "[1]", "features");
    check("[]", &format!("[\"{}\"]", "x".repeat(33)), "features");
    check("[]", &format!("[{}\"\"]", "\"\",".repeat(16)), "features");
    for garbage in ["", "{", "[]", "null", "7", "{}x", "\"\\ud800\""] {
        assert_eq!(Hello::parse(garbage.as_bytes()), Err(NotUnderstood("meta")), "{garbage}");
    }
}

#[test]
fn the_longest_hello_fits_in_what_is_read_of_a_stranger() {
    let control = |len: usize| "\u{1}".repeat(len);
    let longest = Hello {
        version: u32::MAX,
        cluster: control(CLUSTER_NAME_BYTES_MAX),
        node: "x".repeat(64).parse().unwrap(),
        address: "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535".parse().unwrap(),
        features: vec![control(FEATURE_BYTES_MAX); FEATURES_MAX],
        ..hello()
    };
    let mut out = Vec::new();
    longest.write(&mut out);
    let (frame, _) = decode(&out, HANDSHAKE_BYTES_MAX).unwrap().expect("a whole frame");
    assert_eq!(Hello::parse(frame.meta), Ok(longest));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let pull = |from: &str, to: &str| {
        Pull::parse(format!(r#"{{"origin":"00000000000000ab","from":{from},"to":{to}}}"#).as_bytes())
    };
    assert_eq!(pull("3", "3").map(|pull| pull.from), Ok(3));
    assert_eq!(pull("0", "3"), Err(NotUnderstood("from")));
    assert_eq!(pull("4", "3"), Err(NotUnderstood("to")));
    assert_eq!(pull("1", "9007199254740992"), Err(NotUnderstood("to")));
    assert_eq!(pull("\"1\"", "2"), Err(NotUnderstood("from")));
    let truncated = br#"{"origin":"00000000000000ab","first":0}"#;
    assert_eq!(Truncated::parse(truncated), Err(NotUnderstood("first")));
    assert_eq!(parse_digest("{}", r#"{"00000000000000ab":0}"#), Err(NotUnderstood("have")));
    assert_eq!(parse_digest(r#"{"full":1}"#, "{}"), Err(NotUnderstood("full")));
    assert_eq!(Proof::parse(br#"{"mac":"a0"}"#), Err(NotUnderstood("mac")));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    for reason in ["x".repeat(300), "\u{e9}".repeat(300), "\u{1f600}x".repeat(90)] {
        let meta = serde_json::json!({ "reason": reason }).to_string();
        let read = Bye::parse(meta.as_bytes()).unwrap();
        assert!((BYE_REASON_BYTES_MAX - 3..=BYE_REASON_BYTES_MAX).contains(&read.reason.len()));
        assert!(reason.starts_with(&read.reason));
        let (_, meta, _) = written(|out| Bye { reason }.write(out));
        assert_eq!(Bye::parse(meta.as_bytes()), Ok(read));
    }
}

#[test]
fn an_entry_begins_with_its_id() {
    let id = |meta: &str| entry_id(&Frame { kind: Kind::ENTRY, flags: 0, meta: meta.as_bytes(), body: b"" });
    let good = MessageId { origin: Origin(0xab), seq: 12 };
    assert_eq!(id(r#"{"origin":"00000000000000ab","seq":12}"#), Ok(good));
    assert_eq!(id(r#"{"origin":"00000000000000ab","seq":12,"any"#), Ok(good));
    for bad in [
        "",
        "{}",
        r#"{"origin":"00000000000000ab","seq":12"#,
        r#"{"origin":"00000000000000ab","seq":0,"#,
        r#"{"origin":"00000000000000ab","seq":012,"#,
        r#"{"origin":"00000000000000ab","seq":1.5,"#,
        r#"{"origin":"00000000000000ab","seq":9007199254740992,"#,
        r#"{"origin":"00000000000000ab", "seq":12,"#,
        r#"{"seq":12,"origin":"00000000000000ab"}"#,
        r#"{"origin":"00000000000000AB","seq":12,"#,
    ] {
        assert_eq!(id(bad), Err(NotUnderstood("seq")), "{bad}");
    }
}

proptest! {
    #[test]
    fn hellos_read_back(
        version: u32, cluster in ".{0,16}", node in "[a-zA-Z0-9.:@~+-]{1,64}", origin: u64,
        address: std::net::SocketAddr, nonce: [u8; 16], features in prop::collection::vec(".{0,8}", 0..16),
    ) {
        // Flow information is no part of an address's text.
        let address = std::net::SocketAddr::new(address.ip(), address.port());
        let node = node.parse().unwrap();
        let hello = Hello { version, cluster, node, origin: Origin(origin), address, nonce, features };
        let (_, meta, _) = written(|out| hello.write(out));
        prop_assert_eq!(Hello::parse_version(meta.as_bytes()), Ok(version));
        prop_assert_eq!(Hello::parse(meta.as_bytes()), Ok(hello));
    }

    #[test]
    fn the_others_read_back(
        origin: u64, seqs in (1..=SEQ_MAX, 1..=SEQ_MAX), mac: [u8; 32], reason in ".{0,60}",
        have in prop::collection::btree_map(any::<u64>(), 1..=SEQ_MAX, 0..20), full: bool, ready: bool,
    ) {
        let origin = Origin(origin);
        let pull = Pull { origin, from: seqs.0.min(seqs.1), to: seqs.0.max(seqs.1) };
        prop_assert_eq!(Pull::parse(written(|out| pull.write(out)).1.as_bytes()), Ok(pull));
        let truncated = Truncated { origin, first: seqs.0 };
        prop_assert_eq!(Truncated::parse(written(|out| truncated.write(out)).1.as_bytes()), Ok(truncated));
        let proof = Proof { mac };
        prop_assert_eq!(Proof::parse(written(|out| proof.write(out)).1.as_bytes()), Ok(proof));
        let bye = Bye { reason };
        prop_assert_eq!(Bye::parse(written(|out| bye.write(out)).1.as_bytes()), Ok(bye));
        let mut vector = VersionVector::default();
        have.into_iter().for_each(|(origin, seq)| vector.set(Origin(origin), seq));
        let digest = Digest { have: vector, full, ready };
        let (_, meta, body) = written(|out| digest.write(out));
        prop_assert_eq!(parse_digest(&meta, &body), Ok(digest));
    }
}
