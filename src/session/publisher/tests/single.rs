//! One message by its fields, and what is said of channels.

use super::*;

fn publication(segment: &str, query: &str, fields: &str, body: &[u8]) -> Result<Publication, Refused> {
    with_head(query, fields, |head| parse_publication(segment, head, body))
}

#[track_caller]
fn check_type_of(given: &str, body: &[u8], expected: Result<Form, Refusal>) {
    let result = publication("a", "", &format!("Content-Type: {given}\r\n"), body);
    let form = result.as_ref().map(|publication| publication.body.form()).map_err(|refused| refused.reason);
    assert_eq!(form, expected, "{given}: {}", body.escape_ascii());
    if let Ok(publication) = result {
        assert_eq!(publication.media_type, given, "as the publisher gave it");
        assert_eq!(publication.body.as_bytes(), body);
    }
}

#[test]
fn a_body_without_a_type_is_text_or_bytes() {
    for (body, media_type, form) in [
        (&b"plain"[..], "text/plain", Form::Text),
        (b"", "text/plain", Form::Text),
        (b"{\"a\":1}", "text/plain", Form::Text),
        ("é\0".as_bytes(), "text/plain", Form::Text),
        (b"\xff", "application/octet-stream", Form::Binary),
    ] {
        let publication = publication("a", "", "", body).unwrap();
        assert_eq!((&*publication.media_type, publication.body.form()), (media_type, form));
        assert_eq!((publication.ttl_ms, publication.idempotency_key), (None, None));
    }
}

#[test]
fn json_types_are_checked_to_be_json() {
    for media_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/ld+json",
        "a/b+JSON;x",
    ] {
        for good in ["null", "0", "\"x\"", " {\"a\" : [ ] } \n", "1e400", "\"\\u0000\""] {
            check_type_of(media_type, good.as_bytes(), Ok(Form::Json));
        }
        for bad in [
            &b""[..],
            b" ",
            b"{",
            b"nul",
            b"01",
            b"'x'",
            b"{a:1}",
            b"1 2",
            b"[1,]",
            b"\"\n\"",
            b"\"\xff\"",
            b"\xef\xbb\xbf1",
            b"NaN",
        ] {
            check_type_of(media_type, bad, Err(Refusal::JsonInvalid));
        }
    }
    check_type_of("application/jsonx", b"{", Ok(Form::Binary));
}

#[test]
fn json_nests_at_most_32_deep() {
    check_type_of("application/json", nested(32).as_bytes(), Ok(Form::Json));
    check_type_of("application/json", nested(33).as_bytes(), Err(Refusal::JsonInvalid));
    let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
    check_type_of("application/json", objects(32).as_bytes(), Ok(Form::Json));
    check_type_of("application/json", objects(33).as_bytes(), Err(Refusal::JsonInvalid));
    let in_string = format!("\"{}\\\"{}\"", "[".repeat(99), "{".repeat(99));
    check_type_of("application/json", in_string.as_bytes(), Ok(Form::Json));
    let wide = format!("[{}[]]", "[],".repeat(1_000));
    check_type_of("application/json", wide.as_bytes(), Ok(Form::Json));
    check_type_of("application/json", "[".repeat(1_000_000).as_bytes(), Err(Refusal::JsonInvalid));
}

#[test]
fn text_types_are_text_if_they_are_utf_8() {
    for media_type in [
        "text/plain",
        "TEXT/html",
        "text/plain; charset=utf-8",
        "text/plain;charset=\"UTF-8\"",
        "text/plain; Charset=us-ascii; format=flowed",
        "application/x-www-form-urlencoded",
        "application/xml",
        "image/svg+xml",
        "application/javascript",
    ] {
        check_type_of(media_type, "é".as_bytes(), Ok(Form::Text));
        check_type_of(media_type, b"\xe9", Ok(Form::Binary));
    }
    for media_type in [
        "text/plain; charset=latin1",
        "text/plain; x=y; charset=\"utf-16\"",
        "image/png",
        "application/octet-stream",
    ] {
        check_type_of(media_type, b"abc", Ok(Form::Binary));
    }
}

#[test]
fn a_type_is_short_printable_and_has_a_slash() {
    let longest = format!("a/{}", "b".repeat(CONTENT_TYPE_BYTES_MAX - 2));
    check_type_of(&longest, b"", Ok(Form::Binary));
    for bad in ["", "plain", "text/\u{e9}", "text/\tplain", &format!("{longest}b")] {
        check_type_of(bad, b"", Err(Refusal::TypeInvalid));
    }
}

#[test]
fn a_content_coding_is_refused() {
    for coding in ["gzip", "br", "identity, gzip", "x"] {
        let fields = format!("Content-Encoding: {coding}\r\n");
        assert_eq!(reason(publication("a", "", &fields, b"x")), Refusal::CodingUnsupported, "{coding}");
    }
    for coding in ["", "identity", "Identity"] {
        assert!(publication("a", "", &format!("Content-Encoding: {coding}\r\n"), b"x").is_ok(), "{coding}");
    }
}

#[test]
fn channels_are_each_named_once() {
    for (segment, expected) in [("a", vec!["a"]), ("b,a,b", vec!["b", "a"]), ("c%2B%2B,c++", vec!["c++"])] {
        let publication = publication(segment, "", "", b"x").unwrap();
        assert_eq!(publication.channels.iter().map(ChannelName::as_str).collect::<Vec<_>>(), expected);
    }
    for bad in ["", ",", "a,", "a b", "%00", "%", "%2525"] {
        assert_eq!(reason(publication(bad, "", "", b"x")), Refusal::ChannelInvalid, "{bad}");
    }
    let many = vec!["a"; CHANNELS_PER_REQUEST_MAX + 1].join(",");
    assert_eq!(reason(publication(&many, "", "", b"x")), Refusal::ChannelsTooMany);
}

#[test]
fn a_ttl_is_from_a_second_to_a_year() {
    for (text, expected) in [
        ("1", Some(1_000)),
        ("31622400", Some(31_622_400_000)),
        ("0060", Some(60_000)),
        ("0", None),
        ("31622401", None),
        ("-1", None),
        ("1.5", None),
        ("1h", None),
        ("", None),
        ("18446744073709551617", None),
    ] {
        for (query, fields) in
            [(format!("ttl={text}"), String::new()), (String::new(), format!("TTL: {text}\r\n"))]
        {
            let result = publication("a", &query, &fields, b"x").map(|publication| publication.ttl_ms);
            match expected {
                Some(ttl_ms) => assert_eq!(result, Ok(Some(ttl_ms)), "{text}"),
                None => assert_eq!(reason(result), Refusal::TtlInvalid, "{text}"),
            }
        }
    }
    assert_eq!(publication("a", "ttl=2", "TTL: 9\r\n", b"").unwrap().ttl_ms, Some(2_000));
}

#[test]
fn a_key_is_short_and_printable() {
    let longest = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX);
    for good in ["a", "\"quoted\"", "a b", "~!", &longest] {
        let fields = format!("Idempotency-Key: {good}\r\n");
        assert_eq!(publication("a", "", &fields, b"").unwrap().idempotency_key.as_deref(), Some(good));
    }
    for bad in ["", "\u{e9}", "a\tb", &format!("{longest}k")] {
        let fields = format!("Idempotency-Key: {bad}\r\n");
        assert_eq!(reason(publication("a", "", &fields, b"")), Refusal::KeyInvalid, "{bad}");
    }
}

#[test]
fn an_acknowledgement_has_three_levels() {
    for (query, fields, expected) in [
        ("", "", Ok(Acknowledge::Local)),
        ("ack=local", "", Ok(Acknowledge::Local)),
        ("ack=one", "", Ok(Acknowledge::One)),
        ("ack=quorum", "", Ok(Acknowledge::Quorum)),
        ("", "Ack: quorum\r\n", Ok(Acknowledge::Quorum)),
        ("ack=local", "Ack: quorum\r\n", Ok(Acknowledge::Local)),
        ("ack=", "", Err(Refusal::AckInvalid)),
        ("ack=Quorum", "", Err(Refusal::AckInvalid)),
        ("", "Ack: all\r\n", Err(Refusal::AckInvalid)),
    ] {
        let got = with_head(query, fields, parse_acknowledge).map_err(|refused| refused.reason);
        assert_eq!(got, expected, "{query} {fields}");
    }
}

#[test]
fn a_channel_request_is_empty_or_an_object() {
    let request = |query: &str, body: &str| {
        let result = with_head(query, "", |head| parse_channel_request(head, body.as_bytes()));
        result.map_err(|refused| refused.reason)
    };
    let expect = |name: Option<&str>, ttl_ms| {
        Ok(ChannelRequest { name: name.map(|name| name.parse().unwrap()), ttl_ms })
    };
    assert_eq!(request("", ""), expect(None, None));
    assert_eq!(request("", " \r\n"), expect(None, None));
    assert_eq!(request("", "{}"), expect(None, None));
    assert_eq!(request("ttl=5", ""), expect(None, Some(5_000)));
    assert_eq!(request("", "{\"name\":\"c++\",\"ttl\":7}"), expect(Some("c++"), Some(7_000)));
    assert_eq!(request("ttl=5", "{\"ttl\":7}"), expect(None, Some(7_000)));
    assert_eq!(request("", "{\"n\\u0061me\":\"\\u0061\"}"), expect(Some("a"), None));
    for (body, reason) in [
        ("{\"name\":\"a b\"}", Refusal::ChannelInvalid),
        ("{\"name\":\"\"}", Refusal::ChannelInvalid),
        ("{\"name\":5}", Refusal::JsonShape),
        ("{\"name\":null}", Refusal::JsonShape),
        ("{\"ttl\":\"5\"}", Refusal::JsonShape),
        ("{\"ttl\":5.0}", Refusal::JsonShape),
        ("{\"ttl\":-5}", Refusal::JsonShape),
        ("{\"ttl\":0}", Refusal::TtlInvalid),
        ("{\"x\":1}", Refusal::JsonShape),
        ("[]", Refusal::JsonShape),
        ("\"a\"", Refusal::JsonShape),
        ("{", Refusal::JsonInvalid),
        ("name=a", Refusal::JsonInvalid),
    ] {
        assert_eq!(request("", body), Err(reason), "{body}");
    }
    assert_eq!(request("ttl=x", ""), Err(Refusal::TtlInvalid));
    let coded = with_head("", "Content-Encoding: gzip\r\n", |head| parse_channel_request(head, b"{}"));
    assert_eq!(reason(coded), Refusal::CodingUnsupported);
}

#[test]
fn half_of_a_surrogate_pair_is_refused() {
    for (json, good) in [
        (r#""\ud83d\ude00 \u00e9""#, true),
        (r#""\\ud800""#, true),
        (r#""\ud800""#, false),
        (r#""\ud800\u0041""#, false),
        (r#""\udc00""#, false),
        (r#"{"\uDFFF":1}"#, false),
        (r#""\\\ud800""#, false),
    ] {
        assert_eq!(check_json(json.as_bytes()).is_ok(), good, "{json}");
    }
}
