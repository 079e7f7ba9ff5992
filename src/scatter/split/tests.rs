use super::*;
use crate::scatter::params::parse_all;
use proptest::prelude::*;
use serde_json::json;

fn definitions() -> Vec<Param> {
    parse_all(Some(&json!({
        "begin": {"type": "date"}, "end": {"type": "date"},
        "from": {"type": "int"}, "to": {"type": "int"},
        "words": {"type": "text"},
    })))
    .unwrap()
}

fn tasks(split: Json, query: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let params = definitions();
    let split = Split::parse(Some(&split), &params)?;
    let tasks = split.tasks(Params::read(&params, query.iter().copied())?)?;
    let of = tasks.of();
    let list: Vec<String> = tasks.map(|params| Json::Object(params.to_json()).to_string()).collect();
    assert_eq!(list.len() as u64, of);
    Ok(list)
}

#[test]
fn requests_are_divided() {
    let days = json!({"kind": "range", "over": ["begin", "end"], "unit": "day"});
    let two_days = json!({"kind": "range", "over": ["begin", "end"], "unit": 2});
    let numbers = json!({"kind": "range", "over": ["from", "to"], "unit": 1000});
    let costly = json!({"kind": "range", "over": ["from", "to"], "unit": 10, "cost": 3, "min_cost": 61});
    for (split, query, expected) in [
        (json!({"kind": "none"}), &[("words", "a")][..], &[r#"{"words":"a"}"#][..]),
        (json!({"kind": "handler"}), &[("words", "a")], &[r#"{"words":"a"}"#]),
        (json!({"kind": "count", "count": 2}), &[], &[r#"{"task":0}"#, r#"{"task":1}"#]),
        (
            json!({"kind": "list", "over": "words"}),
            &[("words", "a,,b")],
            &[r#"{"words":"a"}"#, r#"{"words":""}"#, r#"{"words":"b"}"#],
        ),
        (
            days,
            &[("begin", "2004-02-28"), ("end", "2004-03-01")],
            &[
                r#"{"begin":"2004-02-28","end":"2004-02-28"}"#,
                r#"{"begin":"2004-02-29","end":"2004-02-29"}"#,
                r#"{"begin":"2004-03-01","end":"2004-03-01"}"#,
            ],
        ),
        (
            two_days,
            &[("begin", "2004-02-28"), ("end", "2004-03-01")],
            &[r#"{"begin":"2004-02-28","end":"2004-02-29"}"#, r#"{"begin":"2004-03-01","end":"2004-03-01"}"#],
        ),
        (
            numbers.clone(),
            &[("from", "500"), ("to", "2000")],
            &[r#"{"from":500,"to":1500}"#, r#"{"from":1500,"to":2000}"#],
        ),
        (numbers, &[("from", "5"), ("to", "5")], &[]),
        // Twenty times three is not worth it, twenty-one is.
        (costly.clone(), &[("from", "0"), ("to", "20")], &[r#"{"from":0,"to":20}"#]),
        (
            costly,
            &[("from", "0"), ("to", "21")],
            &[r#"{"from":0,"to":10}"#, r#"{"from":10,"to":20}"#, r#"{"from":20,"to":21}"#],
        ),
    ] {
        assert_eq!(
            tasks(split.clone(), query).as_deref(),
            Ok(&*expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()),
            "{split}"
        );
    }
}

#[test]
fn what_cannot_be_divided_is_told_why() {
    let numbers = json!({"kind": "range", "over": ["from", "to"], "unit": 1});
    for (split, query, why) in [
        (numbers.clone(), &[("from", "2"), ("to", "1")][..], "\"from\" must not be after \"to\""),
        (numbers.clone(), &[("from", "2")], "\"from\" and \"to\" are both needed"),
        (
            numbers.clone(),
            &[("from", "0"), ("to", "1000001")],
            "this would be 1000001 sub-tasks, more than 1000000",
        ),
        (
            numbers,
            &[("from", "-9223372036854775808"), ("to", "9223372036854775807")],
            "\"from\" and \"to\" are too far apart",
        ),
        (
            json!({"kind": "range", "over": ["from"]}),
            &[],
            "\"over\" in \"split\" must name two parameters, from and to",
        ),
        (
            json!({"kind": "range", "over": ["from", "end"]}),
            &[],
            "\"over\" in \"split\" must name two dates or two integers",
        ),
        (
            json!({"kind": "range", "over": ["from", "to"]}),
            &[],
            "\"unit\" in \"split\" must be \"day\", or a number of days or integers",
        ),
        (
            json!({"kind": "range", "over": ["from", "to"], "unit": "day"}),
            &[],
            "\"unit\" in \"split\" must be \"day\", or a number of days or integers",
        ),
        (
            json!({"kind": "list", "over": "from"}),
            &[],
            "\"over\" in \"split\" must name a parameter of type text",
        ),
        (json!({"kind": "count"}), &[], "\"count\" in \"split\" must be a number from 1 to 1000000"),
        (json!({"kind": "none", "over": "x"}), &[], "\"over\" is not known in \"split\" of kind \"none\""),
        (
            json!({"kind": "some"}),
            &[],
            "\"kind\" in \"split\" must be one of \"none\", \"range\", \"list\", \"count\", \"handler\"",
        ),
    ] {
        assert_eq!(tasks(split, query).as_ref().map_err(String::as_str), Err(why));
    }
}

proptest! {
    /// Nothing is left out, nothing is done twice.
    #[test]
    fn a_range_is_covered_once(from in -1000..1000_i64, len in 0..1000_i64, unit in 1..50_i64) {
        let split = json!({"kind": "range", "over": ["from", "to"], "unit": unit});
        let query = [("from", &*from.to_string()), ("to", &*(from + len).to_string())].map(|(name, text)| (name, text.to_owned()));
        let pairs: Vec<(&str, &str)> = query.iter().map(|(name, text)| (*name, &**text)).collect();
        let mut next = from;
        for text in tasks(split, &pairs).unwrap() {
            let task: Json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(task["from"].as_i64(), Some(next));
            next = task["to"].as_i64().unwrap();
        }
        prop_assert_eq!(next, from + len);
    }
}
