use super::*;
use serde_json::json;

#[test]
fn days_are_those_of_the_calendar() {
    for (text, days) in [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("2000-02-29", 11_016),
        ("2003-07-14", 12_247),
        ("0000-01-01", -719_528),
        ("9999-12-31", 2_932_896),
    ] {
        assert_eq!(Day::parse(text), Some(Day(days)), "{text}");
        assert_eq!(Day(days).to_string(), text);
    }
    for wrong in [
        "2001-02-29",
        "1900-02-29",
        "2003-04-31",
        "2003-13-01",
        "2003-00-01",
        "2003-01-00",
        "2003-1-1",
        "",
        "20030714",
        "2003/07/14",
        "+003-07-14",
        "2003-07-1x",
    ] {
        assert_eq!(Day::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn each_day_has_a_name_of_its_own() {
    let mut last = String::new();
    for days in (-719_528..2_932_896).step_by(17) {
        let text = Day(days).to_string();
        assert_eq!(Day::parse(&text), Some(Day(days)));
        assert!(text > last, "{text} after {last}");
        last = text;
    }
}

fn definitions() -> Vec<Param> {
    parse_all(Some(&json!({
        "from": {"type": "date", "required": true},
        "channel": {"type": "int", "min": 0, "max": 2, "default": 0},
        "word": {"type": "text", "bytes_max": 4},
        "deep": {"type": "bool"},
    })))
    .unwrap()
}

fn read(query: &[(&str, &str)]) -> Result<String, String> {
    let params = Params::read(&definitions(), query.iter().copied())?;
    Ok(Json::Object(params.to_json()).to_string())
}

#[test]
fn a_query_is_read() {
    for (query, expected) in [
        (&[("from", "2003-07-01")][..], r#"{"channel":0,"from":"2003-07-01"}"#),
        (
            &[("deep", "1"), ("word", "x y"), ("channel", "2"), ("from", "2003-07-01")],
            r#"{"channel":2,"deep":true,"from":"2003-07-01","word":"x y"}"#,
        ),
        (
            &[("from", "2003-07-01"), ("deep", "false"), ("word", "")],
            r#"{"channel":0,"deep":false,"from":"2003-07-01","word":""}"#,
        ),
    ] {
        assert_eq!(read(query).as_deref(), Ok(expected));
    }
}

#[test]
fn a_wrong_query_is_told_why() {
    for (query, why) in [
        (&[][..], "\"from\" is missing"),
        (&[("from", "2003-02-30")], "\"from\" must be a day, like 2003-07-14"),
        (&[("from", "2003-02-01"), ("channel", "3")], "\"channel\" must be at most 2"),
        (&[("from", "2003-02-01"), ("channel", "-1")], "\"channel\" must be at least 0"),
        (&[("from", "2003-02-01"), ("channel", "1.5")], "\"channel\" must be an integer"),
        (&[("from", "2003-02-01"), ("channel", "99999999999999999999")], "\"channel\" must be an integer"),
        (&[("from", "2003-02-01"), ("word", "12345")], "\"word\" must not be longer than 4 bytes"),
        (&[("from", "2003-02-01"), ("deep", "maybe")], "\"deep\" must be true or false"),
        (&[("from", "2003-02-01"), ("from", "2003-02-01")], "\"from\" stands there twice"),
        (&[("form", "2003-02-01")], "there is no parameter \"form\""),
    ] {
        assert_eq!(read(query).as_ref().map_err(String::as_str), Err(why));
    }
}

#[test]
fn a_wrong_definition_is_told_why() {
    for (definition, why) in [
        (json!({"a": 1}), "param \"a\" must be an object"),
        (json!({"a": {}}), "param \"a\": \"type\" must be \"int\", \"date\", \"text\" or \"bool\""),
        (json!({"a": {"type": "int", "mim": 1}}), "param \"a\": \"mim\" is not known"),
        (json!({"a": {"type": "int", "min": "1"}}), "param \"a\": \"min\" must be an integer"),
        (json!({"a": {"type": "int", "max": 3, "default": 4}}), "\"a\" must be at most 3"),
        (json!({"a": {"type": "date", "required": 1}}), "param \"a\": \"required\" must be true or false"),
        (
            json!({"a": {"type": "int", "required": true, "default": 4}}),
            "param \"a\": what is required has no default",
        ),
        (
            json!({"a b": {"type": "int"}}),
            "\"a b\" is no name: letters, digits, '_', '-' and '.', at most 64",
        ),
        (json!([]), "\"params\" must be an object"),
    ] {
        assert_eq!(
            parse_all(Some(&definition)).map_err(|why| why.to_string()),
            Err(why.to_owned()),
            "{definition}"
        );
    }
    assert_eq!(parse_all(None), Ok(Vec::new()));
}
