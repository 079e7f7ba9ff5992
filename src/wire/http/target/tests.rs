//! Decoding exactly once, and queries in pieces.

use super::*;
use proptest::prelude::*;

#[test]
fn what_is_decoded() {
    for (raw, text) in [
        ("", ""),
        ("news.sport", "news.sport"),
        ("c++", "c++"),
        ("c%2B%2b", "c++"),
        ("%41%62", "Ab"),
        ("%2541", "%41"),
        ("%252541", "%2541"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%2F", "/"),
        ("%c3%A9", "\u{e9}"),
        ("%F0%9F%98%80", "\u{1f600}"),
        ("%F4%8F%BF%BF", "\u{10ffff}"),
        ("a%25", "a%"),
    ] {
        assert_eq!(decode_once(raw).as_deref(), Ok(text), "{raw}");
        assert_eq!(decode_query_value(raw).as_deref(), Ok(text), "{raw}");
    }
}

#[test]
fn what_is_refused() {
    for raw in [
        "%",
        "%4",
        "a%",
        "a%4",
        "%%41",
        "%zz",
        "%4g",
        "%g4",
        "% 1",
        "%+1",
        "%-1",
        "%0x41",
        "%u0041",
        "%\u{e9}",
        "%4\u{e9}",
        "%00",
        "a%00b",
        "\0",
        "%0a",
        "%0D%0A",
        "%09",
        "%1f",
        "%7F",
        "\n",
        "\x7f",
        "%c2%80",
        "%c0%80",
        "%c0%af",
        "%e0%80%af",
        "%f0%80%80%af",
        "%c1%81",
        "%ff",
        "%fe",
        "%80",
        "%c3",
        "%c3%28",
        "%e2%82",
        "%ed%a0%80",
        "%f4%90%80%80",
        "%f8%88%80%80%80",
    ] {
        assert_eq!(decode_once(raw), Err(BadEncoding), "{raw:?}");
        assert_eq!(decode_query_value(raw), Err(BadEncoding), "{raw:?}");
    }
}

#[test]
fn nothing_is_copied_without_need() {
    assert!(matches!(decode_once("plain+text"), Ok(Cow::Borrowed("plain+text"))));
    assert!(matches!(decode_once("a%2b"), Ok(Cow::Owned(_))));
}

#[test]
fn queries_in_pieces() {
    for (query, expect) in [
        (None, &[][..]),
        (Some(""), &[]),
        (Some("a=1"), &[("a", "1")]),
        (Some("a=1&b=2&a=3"), &[("a", "1"), ("b", "2"), ("a", "3")]),
        (Some("a"), &[("a", "")]),
        (Some("a="), &[("a", "")]),
        (Some("=a"), &[("", "a")]),
        (Some("="), &[("", "")]),
        (Some("&&a=1&&&b&"), &[("a", "1"), ("b", "")]),
        (Some("a=b=c&d==e"), &[("a", "b=c"), ("d", "=e")]),
        (Some("a;b=1?c"), &[("a;b", "1?c")]),
        (Some("%61=%26"), &[("%61", "%26")]),
    ] {
        let pairs: Vec<_> = Query::new(query).collect();
        assert_eq!(pairs, expect, "{query:?}");
    }
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded_and_only_once(text in "\\PC{0,20}") {
        prop_assume!(!text.chars().any(char::is_control));
        let once = encode(&text);
        let twice = encode(&once);
        prop_assert_eq!(decode_once(&once), Ok(Cow::Borrowed(text.as_str())));
        prop_assert_eq!(decode_once(&twice), Ok(Cow::Borrowed(once.as_str())));
    }

    #[test]
    fn no_text_panics_and_none_hides_control_characters(raw in "(%[0-9a-fA-F]{2}|%|\\PC|[\\x00-\\x7f]){0,20}") {
        if let Ok(text) = decode_once(&raw) {
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert!(text.len() <= raw.len());
        }
        let pieces: usize = Query::new(Some(&raw)).map(|(name, value)| name.len() + value.len()).sum();
        prop_assert!(pieces <= raw.len());
    }
}
