use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::channel::message::Form;
use crate::ids::Origin;
use crate::time::{Tick, Timestamp};

const TAG: ClusterTag = ClusterTag(0x1234);

fn carried(form: Form, media_type: &str, body: &[u8], carriers: u64) -> Carried {
    let message = Message {
        id: MessageId { origin: Origin(0xab), seq: 12 },
        time: Timestamp(1_795_361_093_123),
        expires: Tick(0),
        channels: Default::default(),
        media_type: media_type.to_owned().into(),
        body: Body::of(form, body),
    };
    Carried { message: message.into(), carriers }
}

fn examined() -> VersionVector {
    let mut seen = VersionVector::default();
    seen.set(Origin(0xff), 150);
    seen
}

fn text_of(messages: Vec<Carried>, names: &[&str], notices: Notices) -> String {
    let reading = Reading { messages: messages.into(), examined: examined(), gap: false };
    let mut out = b"before ".to_vec();
    write(TAG, &reading, names, notices, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("before ").expect("appended").to_owned()
}

#[track_caller]
fn parsed(messages: Vec<Carried>, names: &[&str], notices: Notices) -> Value {
    let text = text_of(messages, names, notices);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The one message of an answer that has nothing else.
#[track_caller]
fn message(form: Form, media_type: &str, body: &[u8]) -> Value {
    let mut answer = parsed(vec![carried(form, media_type, body, 1)], &["a"], Notices::default());
    answer["messages"][0].take()
}

#[test]
fn an_answer_without_messages_is_this_text() {
    let text = text_of(vec![], &["a"], Notices::default());
    assert_eq!(text, "{\"cursor\":\"ARI0AAAAAAAAAP-WAQ\",\"messages\":[]}\n");
}

#[test]
fn an_answer_with_a_message_is_this_text() {
    let text =
        text_of(vec![carried(Form::Text, "text/plain", b"hi", 3)], &["c++", "java"], Notices::default());
    let expected = concat!(
        "{\"cursor\":\"ARI0AAAAAAAAAP-WAQ\",\"messages\":[{\"id\":\"00000000000000ab-12\",",
        "\"time\":1795361093123,\"channels\":[\"c++\",\"java\"],\"type\":\"text/plain\",\"data\":\"hi\"}]}\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn the_cursor_reads_back() {
    let answer = parsed(vec![], &[], Notices::default());
    let cursor = Cursor::parse(answer["cursor"].as_str().unwrap()).unwrap();
    assert_eq!((cursor.tag, cursor.seen), (TAG, examined()));
}

#[test]
fn notices_appear_only_where_they_apply() {
    for (gap, reset) in [(false, false), (true, false), (false, true), (true, true)] {
        for closed in [&[][..], &["a"], &["a", "b+~"]] {
            let answer = parsed(vec![], &["a"], Notices { gap, reset, closed });
            let flag = |is: bool| if is { json!(true) } else { Value::Null };
            assert_eq!((&answer["gap"], &answer["reset"]), (&flag(gap), &flag(reset)));
            let expected = if closed.is_empty() { Value::Null } else { json!(closed) };
            assert_eq!(answer["closed"], expected);
            let count = 2 + usize::from(gap) + usize::from(reset) + usize::from(!closed.is_empty());
            assert_eq!(answer.as_object().unwrap().len(), count);
        }
    }
}

#[test]
fn channels_are_those_that_carried_it() {
    let names: Vec<String> = (0..64).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (carriers, expected) in
        [(1, vec!["c0"]), (1 << 63, vec!["c63"]), (0b1010, vec!["c1", "c3"]), (u64::MAX, names.clone())]
    {
        let answer = parsed(vec![carried(Form::Text, "a/b", b"", carriers)], &names, Notices::default());
        assert_eq!(answer["messages"][0]["channels"], json!(expected));
    }
}

#[test]
fn text_is_a_string_whatever_it_contains() {
    for text in [
        "",
        "plain",
        "\"quoted\" \\ back",
        "\0\u{1}\u{1f}\u{7f}\n\r\t",
        "é 漢 😀",
        "\u{2028}\u{feff}",
        "</script>",
    ] {
        assert_eq!(message(Form::Text, "text/plain", text.as_bytes())["data"], text);
    }
}

#[test]
fn json_is_embedded_as_it_is() {
    for body in ["null", "true", "-0.0", "{\"a\":[1,{\"b\":null}]}", " [ 1 , 2 ]\r\n", "\"\\u00e9\"", "\"\""]
    {
        let message = message(Form::Json, "application/json", body.as_bytes());
        assert_eq!(message["data"], serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(message["encoding"], Value::Null);
    }
}

#[test]
fn numbers_lose_no_digit() {
    for number in
        ["123456789012345678901234567890", "0.1000000000000000055511151231257827", "1e999999", "-1E-9"]
    {
        let text = text_of(
            vec![carried(Form::Json, "application/json", number.as_bytes(), 1)],
            &["a"],
            Notices::default(),
        );
        assert!(text.contains(&format!("\"data\":{number}}}")), "{text}");
        serde_json::from_str::<&RawValue>(&text).unwrap();
    }
}

#[test]
fn anything_else_is_base64() {
    for (body, expected) in [
        (&b""[..], ""),
        (b"a", "YQ=="),
        (b"ab", "YWI="),
        (b"abc", "YWJj"),
        (b"\xff\xfe\xfd", "//79"),
        (b"\xfb\xef", "++8="),
    ] {
        let message = message(Form::Binary, "image/png", body);
        assert_eq!((&message["encoding"], &message["data"]), (&json!("base64"), &json!(expected)));
    }
}

#[test]
fn a_type_may_have_quotes() {
    let media_type = "text/plain; charset=\"utf-8\"; x=\"\\\"\"";
    assert_eq!(message(Form::Text, media_type, b"")["type"], media_type);
}

#[test]
fn ids_and_times_are_written_in_full() {
    let mut one = carried(Form::Text, "a/b", b"", 1);
    let message = Message {
        id: MessageId { origin: Origin(u64::MAX), seq: u64::MAX },
        time: Timestamp::MAX,
        expires: Tick(0),
        channels: Default::default(),
        media_type: "a/b".into(),
        body: Body::of(Form::Text, b""),
    };
    let id = message.id.to_string();
    one.message = message.into();
    let answer = parsed(vec![one], &["a"], Notices::default());
    assert_eq!(answer["messages"][0]["id"], id);
    assert_eq!(answer["messages"][0]["time"], u64::MAX);
}

proptest! {
    #[test]
    fn any_text_reads_back(text: String) {
        prop_assert_eq!(&message(Form::Text, "text/plain", text.as_bytes())["data"], &json!(text));
    }

    #[test]
    fn any_bytes_read_back(body: Vec<u8>) {
        let message = message(Form::Binary, "a/b", &body);
        let data = STANDARD.decode(message["data"].as_str().unwrap());
        prop_assert_eq!(data, Ok(body));
    }
}
