//! Tokens of the RFC, good ones, and all the ways in which one can be forged.

use super::*;
use TokenError::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const NOW_S: u64 = 1_700_000_000;

fn key() -> Key {
    Key::new(b"0123456789abcdef0123456789abcdef").unwrap()
}

fn check(claims: &str) -> Result<Grant, TokenError> {
    verify(sign(claims, &key()).as_bytes(), &key(), NOW)
}

/// A token with any header, signed with the right key.
fn with_header(header: &str) -> Result<Grant, TokenError> {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(r#"{"sub":"*"}"#));
    let signature = URL_SAFE_NO_PAD.encode(HMAC::mac(&signed, &key().0));
    verify(format!("{signed}.{signature}").as_bytes(), &key(), NOW)
}

#[test]
fn the_example_of_rfc_7515() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = Key::new(&URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
    let token = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let before = Timestamp(1_300_819_379_000);
    assert_eq!(verify(token, &key, before), Err(NoChannels));
    assert_eq!(verify(token, &key, NOW), Err(Expired));
    assert_eq!(verify(token, &self::key(), before), Err(Signature));
}

#[test]
fn what_a_grant_allows() {
    for (sub, yes, no) in [
        (r#""news""#, &["news"][..], &["new", "news2", "news.a", "NEWS", "", "*"][..]),
        (r#""news.*""#, &["news.", "news.a", "news.a.b"], &["news", "newsa", "New.a", ""]),
        (r#"["a","b*"]"#, &["a", "b", "bc"], &["ab", "c", ""]),
        (r#""*""#, &["a", "news.sport"], &[]),
        (r#"["*","a"]"#, &["a", "b"], &[]),
        (r#""a~_.:@+-9""#, &["a~_.:@+-9"], &["a"]),
    ] {
        let grant = check(&format!(r#"{{"sub":{sub}}}"#)).unwrap();
        for channel in yes {
            assert!(grant.allows(channel), "{sub} {channel}");
        }
        for channel in no {
            assert!(!grant.allows(channel), "{sub} {channel}");
        }
    }
}

#[test]
fn channels_that_are_none() {
    assert_eq!(check("{}"), Err(NoChannels));
    assert_eq!(check(r#"{"sub":[]}"#), Err(NoChannels));
    assert_eq!(check(r#"{"Sub":"a"}"#), Err(NoChannels));
    for sub in [
        "null",
        "1",
        "true",
        "{}",
        "\"\"",
        "[\"\"]",
        "[1]",
        "[null]",
        "[[\"a\"]]",
        "[\"a\",1]",
        "\"a b\"",
        "\"a,b\"",
        "\"**\"",
        "\"*a\"",
        "\"a*b\"",
        "\"a.**\"",
        "\"a/b\"",
        "\"\\u0000\"",
        "\"\u{e9}\"",
        "\"\u{e9}*\"",
    ] {
        assert_eq!(check(&format!(r#"{{"sub":{sub}}}"#)), Err(Malformed), "{sub}");
    }
    let long = "a".repeat(129);
    assert_eq!(check(&format!(r#"{{"sub":"{long}"}}"#)), Err(Malformed));
}

#[test]
fn patterns_and_tokens_are_bounded() {
    let some = vec!["\"ab\""; TOKEN_PATTERNS_MAX].join(",");
    assert!(check(&format!(r#"{{"sub":[{some}]}}"#)).is_ok());
    assert_eq!(check(&format!(r#"{{"sub":[{some},"c"]}}"#)), Err(Malformed));
    let token = sign(r#"{"sub":"*"}"#, &key());
    let long = format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX + 1 - token.len()));
    assert_eq!(verify(long.as_bytes(), &key(), NOW), Err(Malformed));
    let padding = "x".repeat(2_900);
    assert!(check(&format!(r#"{{"sub":"*","x":"{padding}"}}"#)).is_ok());
}

#[test]
fn when_a_token_is_good() {
    let leeway = TOKEN_LEEWAY_S;
    for (claim, expect) in [
        (format!(r#""exp":{}"#, NOW_S + 1), None),
        (format!(r#""exp":{}"#, NOW_S - leeway + 1), None),
        (format!(r#""exp":{}"#, NOW_S - leeway), Some(Expired)),
        (format!(r#""exp":{}.5"#, NOW_S - leeway), None),
        (r#""exp":0"#.to_owned(), Some(Expired)),
        (r#""exp":-0.0"#.to_owned(), Some(Expired)),
        (r#""exp":1e300"#.to_owned(), None),
        (r#""exp":18446744073709551615"#.to_owned(), None),
        (format!(r#""nbf":{NOW_S}"#), None),
        (format!(r#""nbf":{}"#, NOW_S + leeway), None),
        (format!(r#""nbf":{}"#, NOW_S + leeway + 1), Some(NotYet)),
        (format!(r#""nbf":{}.25"#, NOW_S + leeway), Some(NotYet)),
        (r#""nbf":1e300"#.to_owned(), Some(NotYet)),
        (r#""nbf":0,"exp":1"#.to_owned(), Some(Expired)),
        (format!(r#""iat":{},"iss":"x","aud":[1]"#, NOW_S + 999), None),
    ] {
        let verdict = check(&format!(r#"{{"sub":"a",{claim}}}"#));
        assert_eq!(verdict.err(), expect, "{claim}");
    }
}

#[test]
fn times_that_are_none() {
    for name in ["exp", "nbf"] {
        for value in ["-1", "-0.5", "null", "\"1900000000\"", "true", "[]", "{}", "1e999", "NaN", "+1", "01"]
        {
            let claims = format!(r#"{{"sub":"a","{name}":{value}}}"#);
            assert_eq!(check(&claims), Err(Malformed), "{claims}");
        }
    }
}

#[test]
fn only_hs256_whatever_the_header_says() {
    for header in [
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"JWT","alg":"HS256","kid":"1","jwk":{"alg":"none","crit":1}}"#,
        r#"{"alg":"HS256","x":"\"alg\":{[:"}"#,
    ] {
        assert!(with_header(header).is_ok(), "{header}");
    }
    for header in [
        "{}",
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"Alg":"HS256"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{"HS256":1}}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
    ] {
        assert_eq!(with_header(header), Err(Algorithm), "{header}");
    }
    for header in [
        "",
        " ",
        "null",
        "[]",
        "\"HS256\"",
        "HS256",
        "{",
        r#"{"alg":"HS256"}}"#,
        r#"{"alg":"HS256"} x"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"\u0061lg":"none","alg":"HS256"}"#,
        r#"{"a":{"b":1},"a":{"c":2},"alg":"HS256"}"#,
        r#"{"alg":"HS256",}"#,
        r#"{"x":"\"","x":"\\","alg":"HS256"}"#,
    ] {
        assert_eq!(with_header(header), Err(Malformed), "{header}");
    }
}

#[test]
fn duplicate_claims_are_refused() {
    for claims in [
        r#"{"sub":"a","sub":"*"}"#,
        r#"{"sub":"a","exp":1,"exp":9999999999}"#,
        r#"{"sub":"a","su\u0062":"*"}"#,
        r#"[{"sub":"a"}]"#,
        r#""sub""#,
        "",
        "not json",
        "{\"sub\":\"a\u{1}\"}",
    ] {
        assert_eq!(check(claims), Err(Malformed), "{claims}");
    }
    assert!(check(r#"{"sub":"a","x":{"sub":"b"},"y":[{"sub":"c"}],"z":":{\"sub\":\\"}"#).is_ok());
}

#[test]
fn json_that_nests_too_deep_is_refused() {
    let deep = format!(r#"{{"sub":"a","x":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    assert_eq!(check(&deep), Err(Malformed));
}

#[test]
fn claims_are_not_read_before_the_signature_holds() {
    let other = Key::new(&[7; 32]).unwrap();
    for claims in [r#"{"sub":"a","exp":1}"#, r#"{"sub":1}"#, "not json", ""] {
        let token = sign(claims, &other);
        assert_eq!(verify(token.as_bytes(), &key(), NOW), Err(Signature), "{claims}");
    }
}

#[test]
fn forms_that_are_no_token() {
    let token = sign(r#"{"sub":"*"}"#, &key());
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{claims}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}..{claims}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}!"),
        format!("Bearer {token}"),
        token.replace('.', ","),
    ] {
        assert_eq!(verify(bad.as_bytes(), &key(), NOW), Err(Malformed), "{bad:?}");
    }
    assert_eq!(verify(b"\xff.\xfe.\xfd", &key(), NOW), Err(Malformed));
    for short in ["", "AA", &signature[..signature.len() - 3]] {
        let bad = format!("{header}.{claims}.{short}");
        assert_eq!(verify(bad.as_bytes(), &key(), NOW), Err(Signature), "{bad}");
    }
}

#[test]
fn no_other_last_character_is_taken() {
    let token = sign(r#"{"sub":"*"}"#, &key()).into_bytes();
    let (last, before) = token.split_last().unwrap();
    for byte in (0..=u8::MAX).filter(|byte| byte != last) {
        let forged = [before, &[byte]].concat();
        assert!(verify(&forged, &key(), NOW).is_err(), "{byte}");
    }
}

#[test]
fn keys_are_long_and_never_printed() {
    assert!(Key::new(&[b'k'; 31]).is_err());
    assert!(Key::new(b"").is_err());
    let key = Key::new(&[b'k'; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "Key(..)");
    assert!(Key::new(&[b'k'; 200]).is_ok());
}

#[test]
fn equality_of_secrets() {
    for (a, b, expect) in [
        (&b""[..], &b""[..], true),
        (b"a", b"a", true),
        (b"a", b"b", false),
        (b"a", b"", false),
        (b"", b"a", false),
        (b"ab", b"a", false),
        (b"a", b"ab", false),
        (b"abc", b"abd", false),
        (b"bbc", b"abc", false),
        (b"\x01\x02", b"\x02\x01", false),
    ] {
        assert_eq!(constant_time_eq(a, b), expect, "{a:?} {b:?}");
    }
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(at in any::<usize>(), byte in any::<u8>()) {
        let mut token = sign(r#"{"sub":["a","b.*"],"exp":1900000000}"#, &key()).into_bytes();
        prop_assert!(verify(&token, &key(), NOW).is_ok());
        let at = at % token.len();
        prop_assume!(token[at] != byte);
        token[at] = byte;
        prop_assert!(verify(&token, &key(), NOW).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(token in "[A-Za-z0-9_.\\-]{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(verify(token.as_bytes(), &key(), NOW).is_err());
        prop_assert!(verify(&bytes, &key(), NOW).is_err());
        let _ = with_header(&String::from_utf8_lossy(&bytes));
        let _ = check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn equality_is_equality(a in prop::collection::vec(0..3u8, 0..6), b in prop::collection::vec(0..3u8, 0..6)) {
        prop_assert_eq!(constant_time_eq(&a, &b), a == b);
    }

    #[test]
    fn members_are_counted(names in prop::collection::btree_set("\\PC{0,6}", 0..6), value in "\\PC{0,12}") {
        let value = serde_json::json!({"x": [value.clone(), {"y": value}], "z": 1});
        let object: Map<String, Value> = names.into_iter().map(|name| (name, value.clone())).collect();
        let compact = serde_json::to_vec(&object).unwrap();
        let pretty = serde_json::to_vec_pretty(&object).unwrap();
        prop_assert_eq!(count_members(&compact), object.len());
        prop_assert_eq!(count_members(&pretty), object.len());
    }
}
