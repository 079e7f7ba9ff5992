//! Many messages in one request, and the results that go back.

use serde_json::Value;

use super::*;
use crate::ids::{MessageId, Origin};
use crate::time::Timestamp;

type Items = Vec<Result<Publication, Refused>>;

fn batch(body: impl AsRef<[u8]>) -> Result<(BatchForm, Items), Refused> {
    with_head("", "", |head| parse_batch(head, body.as_ref()))
}

/// The one item of an NDJSON body, which must be the same in an array.
#[track_caller]
fn item(text: &str) -> Result<Publication, Refused> {
    let (form, mut lines) = batch(text).unwrap();
    assert_eq!((form, lines.len()), (BatchForm::Lines, 1), "{text}");
    if serde_json::from_str::<Value>(text).is_ok() {
        let (form, array) = batch(format!("[{text}]")).unwrap();
        assert_eq!((form, &array), (BatchForm::Array, &lines), "{text}");
    }
    lines.remove(0)
}

#[track_caller]
fn check(text: &str, media_type: &str, form: Form, body: &[u8]) {
    let got = item(text).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
    assert_eq!((&*got.media_type, got.body.form(), got.body.as_bytes()), (media_type, form, body), "{text}");
}

#[test]
fn data_is_a_string_as_text_and_else_json() {
    check(r#"{"channel":"a","data":"x"}"#, "text/plain", Form::Text, b"x");
    check(r#"{"channel":"a","data":"\u00e9\n\u0000"}"#, "text/plain", Form::Text, "é\n\0".as_bytes());
    check(r#"{"channel":"a","data":""}"#, "text/plain", Form::Text, b"");
    check(r#"{"channel":"a","data":{"b": 1}}"#, "application/json", Form::Json, br#"{"b": 1}"#);
    check(r#"{"channel":"a","data":null}"#, "application/json", Form::Json, b"null");
    check(
        r#"{"channel":"a","data":123456789012345678901234567890}"#,
        "application/json",
        Form::Json,
        b"123456789012345678901234567890",
    );
}

#[test]
fn a_type_says_what_data_is() {
    check(r#"{"channel":"a","type":"text/html","data":"<b>"}"#, "text/html", Form::Text, b"<b>");
    check(
        r#"{"channel":"a","type":"application/json","data":"x"}"#,
        "application/json",
        Form::Json,
        b"\"x\"",
    );
    check(r#"{"channel":"a","type":"a/b+json","data":[1]}"#, "a/b+json", Form::Json, b"[1]");
    check(r#"{"channel":"a","type":"image/png","data":"x"}"#, "image/png", Form::Binary, b"x");
    assert_eq!(reason(item(r#"{"channel":"a","type":"text/plain","data":5}"#)), Refusal::JsonShape);
    assert_eq!(reason(item(r#"{"channel":"a","type":"plain","data":"x"}"#)), Refusal::TypeInvalid);
    assert_eq!(reason(item(r#"{"channel":"a","type":"a/\u0000","data":"x"}"#)), Refusal::TypeInvalid);
    assert_eq!(reason(item(r#"{"channel":"a","type":5,"data":"x"}"#)), Refusal::JsonShape);
}

#[test]
fn base64_is_anything() {
    check(
        r#"{"channel":"a","encoding":"base64","data":"/wA="}"#,
        "application/octet-stream",
        Form::Binary,
        b"\xff\0",
    );
    check(
        r#"{"channel":"a","encoding":"base64","type":"text/plain","data":"aGk="}"#,
        "text/plain",
        Form::Text,
        b"hi",
    );
    check(
        r#"{"channel":"a","encoding":"base64","type":"application/json","data":"MQ=="}"#,
        "application/json",
        Form::Json,
        b"1",
    );
    for (bad, why) in [
        (r#"{"channel":"a","encoding":"base64","data":"/wA"}"#, Refusal::JsonShape),
        (r#"{"channel":"a","encoding":"base64","data":"a b="}"#, Refusal::JsonShape),
        (r#"{"channel":"a","encoding":"base64","data":5}"#, Refusal::JsonShape),
        (r#"{"channel":"a","encoding":"hex","data":"00"}"#, Refusal::JsonShape),
        (
            r#"{"channel":"a","encoding":"base64","type":"application/json","data":"/w=="}"#,
            Refusal::JsonInvalid,
        ),
    ] {
        assert_eq!(reason(item(bad)), why, "{bad}");
    }
}

#[test]
fn channels_come_as_one_or_as_a_list() {
    let names = |text: &str| {
        let item = item(text).unwrap();
        item.channels.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(r#"{"channel":"c++","data":1}"#), ["c++"]);
    assert_eq!(names(r#"{"channels":["b","a","b"],"data":1}"#), ["b", "a"]);
    assert_eq!(names(r#"{"channel":"\u0061","data":1}"#), ["a"]);
    let many = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("\"{n}\"")).collect();
        format!("{{\"channels\":[{}],\"data\":1}}", list.join(","))
    };
    assert_eq!(names(&many(CHANNELS_PER_REQUEST_MAX)).len(), CHANNELS_PER_REQUEST_MAX);
    assert_eq!(reason(item(&many(CHANNELS_PER_REQUEST_MAX + 1))), Refusal::ChannelsTooMany);
    for (bad, why) in [
        (r#"{"data":1}"#, Refusal::JsonShape),
        (r#"{"channel":"a","channels":["b"],"data":1}"#, Refusal::JsonShape),
        (r#"{"channels":[],"data":1}"#, Refusal::ChannelInvalid),
        (r#"{"channels":"a","data":1}"#, Refusal::JsonShape),
        (r#"{"channels":[1],"data":1}"#, Refusal::JsonShape),
        (r#"{"channel":"a,b","data":1}"#, Refusal::ChannelInvalid),
        (r#"{"channel":"a%62","data":1}"#, Refusal::ChannelInvalid),
        (r#"{"channel":null,"data":1}"#, Refusal::JsonShape),
    ] {
        assert_eq!(reason(item(bad)), why, "{bad}");
    }
}

#[test]
fn ttl_and_key_are_as_in_the_fields() {
    let one = item(r#"{"channel":"a","data":1,"ttl":30,"key":"k\u0031"}"#).unwrap();
    assert_eq!((one.ttl_ms, one.idempotency_key.as_deref()), (Some(30_000), Some("k1")));
    for (bad, why) in [
        (r#"{"channel":"a","data":1,"ttl":0}"#, Refusal::TtlInvalid),
        (r#"{"channel":"a","data":1,"ttl":31622401}"#, Refusal::TtlInvalid),
        (r#"{"channel":"a","data":1,"ttl":"5"}"#, Refusal::JsonShape),
        (r#"{"channel":"a","data":1,"ttl":1.5}"#, Refusal::JsonShape),
        (r#"{"channel":"a","data":1,"ttl":1e2}"#, Refusal::JsonShape),
        (r#"{"channel":"a","data":1,"ttl":null}"#, Refusal::JsonShape),
        (r#"{"channel":"a","data":1,"key":""}"#, Refusal::KeyInvalid),
        (r#"{"channel":"a","data":1,"key":"\u00e9"}"#, Refusal::KeyInvalid),
        (r#"{"channel":"a","data":1,"key":7}"#, Refusal::JsonShape),
    ] {
        assert_eq!(reason(item(bad)), why, "{bad}");
    }
}

#[test]
fn what_is_not_documented_is_refused_by_name() {
    for bad in [r#"{"channel":"a"}"#, "5", "\"a\"", "null", r#"{"channel":"a","data":1,"Data":2}"#] {
        assert_eq!(reason(item(bad)), Refusal::JsonShape, "{bad}");
    }
    let refused = item("{\"channel\":\"a\",\"data\":1,\"e\\u0000\\n\\\"\":2}").unwrap_err();
    assert_eq!(refused.reason, Refusal::JsonShape);
    assert!(!refused.detail().contains(['\n', '\0']), "{}", refused.detail());
}

#[test]
fn a_wrong_line_does_not_spoil_the_others() {
    let body = b"{\"channel\":\"a\",\"data\":1}\r\n\n \t\n{\n\xff\n{\"channel\":\"a\",\"data\":2}";
    let (form, items) = batch(body).unwrap();
    assert_eq!(form, BatchForm::Lines);
    let got: Vec<_> =
        items.iter().map(|item| item.as_ref().map_err(|refused| refused.reason).is_ok()).collect();
    assert_eq!(got, [true, false, false, true]);
}

#[test]
fn a_batch_may_be_empty() {
    assert_eq!(batch(""), Ok((BatchForm::Lines, vec![])));
    assert_eq!(batch("\r\n\n"), Ok((BatchForm::Lines, vec![])));
    assert_eq!(batch(" []"), Ok((BatchForm::Array, vec![])));
}

#[test]
fn an_array_is_valid_as_a_whole_or_refused() {
    for bad in ["[", "[1,]", "[1] x", "[\"\u{0}\"]"] {
        assert_eq!(reason(batch(bad)), Refusal::JsonInvalid, "{bad}");
    }
    assert_eq!(reason(batch(b"[\"\xff\"]")), Refusal::JsonInvalid);
    assert_eq!(reason(batch("[1]\n[2]")), Refusal::JsonInvalid);
}

#[test]
fn items_nest_at_most_32_deep() {
    let line = |depth: usize| format!("{{\"channel\":\"a\",\"data\":{}}}", nested(depth));
    assert!(item(&line(31)).is_ok());
    assert_eq!(reason(batch(line(32)).unwrap().1.remove(0)), Refusal::JsonInvalid);
    assert_eq!(reason(batch(format!("[{}]", line(32)))), Refusal::JsonInvalid);
}

#[test]
fn a_batch_has_at_most_ten_thousand_items() {
    let line = "{\"channel\":\"a\",\"data\":1}";
    let lines = |count: usize| vec![line; count].join("\n");
    let array = |count: usize| format!("[{}]", vec![line; count].join(","));
    for body in [lines(BATCH_PUBLICATIONS_MAX), array(BATCH_PUBLICATIONS_MAX)] {
        assert_eq!(batch(body).unwrap().1.len(), BATCH_PUBLICATIONS_MAX);
    }
    for body in [lines(BATCH_PUBLICATIONS_MAX + 1), array(BATCH_PUBLICATIONS_MAX + 1)] {
        assert_eq!(reason(batch(body)), Refusal::BatchTooLarge);
    }
}

#[test]
fn a_coded_batch_is_refused() {
    let coded = with_head("", "Content-Encoding: gzip\r\n", |head| parse_batch(head, b"[]"));
    assert_eq!(reason(coded), Refusal::CodingUnsupported);
}

// -- Results ---------------------------------------------------------------------------

fn receipt(seq: u64, duplicate: bool) -> Receipt {
    let id = MessageId { origin: Origin(0xab), seq };
    Receipt { id, time: Timestamp(17), subscribers: 3, duplicate }
}

#[test]
fn a_receipt_is_this_text() {
    for (duplicate, expected) in [
        (false, r#"{"id":"00000000000000ab-5","time":17,"subscribers":3}"#),
        (true, r#"{"id":"00000000000000ab-5","time":17,"subscribers":3,"duplicate":true}"#),
    ] {
        let mut out = Vec::new();
        write_receipt(&receipt(5, duplicate), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn results_come_in_the_form_of_the_request() {
    let results = [
        Ok(receipt(1, false)),
        Err(Refused::because(Refusal::JsonShape, "No \"x\".")),
        Ok(receipt(2, false)),
    ];
    let text = |form, results: &[_]| {
        let mut out = Vec::new();
        write_results(form, results, &mut out);
        String::from_utf8(out).unwrap()
    };
    let lines = text(BatchForm::Lines, &results);
    let parsed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((parsed.len(), lines.ends_with('\n')), (3, true));
    assert_eq!(parsed[0]["id"], "00000000000000ab-1");
    assert_eq!(
        (&parsed[1]["error"]["status"], &parsed[1]["error"]["detail"]),
        (&400.into(), &"No \"x\".".into())
    );
    let array: Vec<Value> = serde_json::from_str(&text(BatchForm::Array, &results)).unwrap();
    assert_eq!(array, parsed);
    assert_eq!((&*text(BatchForm::Lines, &[]), &*text(BatchForm::Array, &[])), ("", "[]\n"));
}
