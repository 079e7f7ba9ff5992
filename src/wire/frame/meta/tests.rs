use proptest::prelude::*;

use super::*;

fn vector(entries: &[(u64, u64)]) -> VersionVector {
    let mut vector = VersionVector::default();
    entries.iter().for_each(|(origin, seq)| vector.set(Origin(*origin), *seq));
    vector
}

fn vector_text(vector: &VersionVector) -> String {
    let mut out = Vec::new();
    push_vector(vector, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_vector_is_written_as_documented() {
    assert_eq!(vector_text(&vector(&[])), "{}");
    let two = vector(&[(0xab, 12), (u64::MAX, SEQ_MAX)]);
    assert_eq!(vector_text(&two), r#"{"00000000000000ab":12,"ffffffffffffffff":9007199254740991}"#);
}

#[test]
fn what_is_no_vector_is_refused() {
    for bad in [
        "",
        "[]",
        "null",
        "{",
        r#"{"ab":1}"#,
        r#"{"00000000000000AB":1}"#,
        r#"{"00000000000000ab":0}"#,
        r#"{"00000000000000ab":-1}"#,
        r#"{"00000000000000ab":1.0}"#,
        r#"{"00000000000000ab":"1"}"#,
        r#"{"00000000000000ab":9007199254740992}"#,
        r#"{"00000000000000ab":1} x"#,
    ] {
        assert_eq!(parse_vector(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn a_vector_s_origins_are_bounded() {
    let many: Vec<(u64, u64)> = (1..=DIGEST_ORIGINS_MAX as u64).map(|origin| (origin, SEQ_MAX)).collect();
    let text = vector_text(&vector(&many));
    assert!(text.len() <= DIGEST_BYTES_MAX / 2);
    assert_eq!(parse_vector(text.as_bytes()), Some(vector(&many)));
    let one_more = text.replace('}', r#","00000000ffffffff":1}"#);
    assert_eq!(parse_vector(one_more.as_bytes()), None);
    let too_long = format!("{}{{}}", " ".repeat(DIGEST_BYTES_MAX));
    assert_eq!(parse_vector(too_long.as_bytes()), None);
}

#[test]
fn a_number_is_scanned_as_json_has_it() {
    let number = |text: &str| {
        let mut scan = Scan::new(text.as_bytes());
        scan.number().filter(|_| scan.is_over())
    };
    assert_eq!(number("0"), Some(0));
    assert_eq!(number("18446744073709551615"), Some(u64::MAX));
    for bad in
        ["", "00", "01", "18446744073709551616", "99999999999999999999999", "+1", "-1", "1.0", "1e3", " 1"]
    {
        assert_eq!(number(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn vectors_read_back(entries in prop::collection::btree_map(any::<u64>(), 1..=SEQ_MAX, 0..40)) {
        let entries: Vec<_> = entries.into_iter().collect();
        let vector = vector(&entries);
        prop_assert_eq!(parse_vector(vector_text(&vector).as_bytes()), Some(vector));
    }

    /// Beside the fast code, serde_json.
    #[test]
    fn a_text_is_written_and_scanned_as_json(text in ".*|[ -~]{0,20}") {
        let mut out = Vec::new();
        push_text(&text, &mut out);
        prop_assert_eq!(&out, &serde_json::to_vec(&text).unwrap());
        let mut scan = Scan::new(out.get(1..).unwrap());
        let plain = text.bytes().all(is_plain);
        prop_assert_eq!(scan.text(), plain.then_some(&*text));
        prop_assert_eq!(scan.is_over() , plain);
    }

    #[test]
    fn any_number_scans_as_json_does(text in "[0-9]{1,22}|[0-9eE.+-]{0,5}") {
        let mut scan = Scan::new(text.as_bytes());
        let scanned = scan.number().filter(|_| scan.is_over());
        prop_assert_eq!(scanned, serde_json::from_str(&text).ok());
    }
}
