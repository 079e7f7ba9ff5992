use super::*;

/// Divides a range into halves, and sums what is left.
struct Halves;

impl UseCase for Halves {
    fn spec(&self) -> Json {
        json!({"name": "halves", "url": "/halves", "split": {"kind": "handler"},
               "handler": {"program": "halves"}})
    }

    fn split(&self, params: &Params) -> Result<Vec<Params>, Failure> {
        let end = params.get("to").and_then(Json::as_i64).ok_or(Failure::Request("no \"to\"".into()))?;
        let part = |from: i64, to: i64| json!({"from": from, "to": to}).as_object().unwrap().clone();
        Ok(if end < 10 { Vec::new() } else { vec![part(0, end / 2), part(end / 2, end)] })
    }

    fn handle(&self, task: &Task, records: &mut Records) -> Result<(), Failure> {
        let from = task.int("from").unwrap_or(0);
        if from == 13 {
            return Err(Failure::Task("unlucky".into()));
        }
        (from..task.int("to")?).try_for_each(|number| Ok(records.write(&json!({"n": number}))?))
    }

    fn next(&self, task: &Task) -> Vec<Params> {
        let more = task.params.get("more").and_then(Json::as_object).cloned();
        more.into_iter().collect()
    }
}

fn line(number: u64, params: Json) -> String {
    let run = json!({"id": format!("7-{number}"), "usecase": "halves", "task": number, "of": 3, "attempt": 1,
                     "params": params, "deadline_ms": 1000});
    json!({"run": run}).to_string() + "\n"
}

fn served(input: &str) -> String {
    let mut out = Vec::new();
    serve(&Halves, input.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_use_case_is_divided_handled_and_goes_on() {
    for (number, params, expected) in [
        (
            0,
            json!({"to": 20}),
            "\x1e{\"spawn\":{\"tasks\":[{\"from\":0,\"to\":10},{\"from\":10,\"to\":20}]}}\n\
             \x1e{\"end\":{\"id\":\"7-0\",\"records\":0}}\n",
        ),
        (0, json!({"to": 2}), "{\"n\":0}\n{\"n\":1}\n\x1e{\"end\":{\"id\":\"7-0\",\"records\":2}}\n"),
        (
            1,
            json!({"from": 4, "to": 5, "more": {"from": 9}}),
            "{\"n\":4}\n\x1e{\"spawn\":{\"tasks\":[{\"from\":9}]}}\n\x1e{\"end\":{\"id\":\"7-1\",\"records\":1}}\n",
        ),
        (2, json!({"from": 13}), "\x1e{\"error\":{\"id\":\"7-2\",\"message\":\"unlucky\"}}\n"),
        (0, json!({}), "\x1e{\"error\":{\"id\":\"7-0\",\"message\":\"no \\\"to\\\"\",\"request\":true}}\n"),
    ] {
        let told = served(&line(number, params.clone()));
        assert_eq!(told, format!("\x1e{{\"ready\":{{}}}}\n{expected}"), "{params}");
    }
}

#[test]
fn what_is_cancelled_is_passed_over_and_nonsense_ends_it() {
    let cancel = "{\"cancel\":{\"id\":\"7-1\"}}\n";
    assert_eq!(served(cancel), "\x1e{\"ready\":{}}\n");
    for nonsense in ["nonsense\n", "{\"run\":{\"id\":1}}\n"] {
        assert!(serve(&Halves, nonsense.as_bytes(), &mut Vec::new()).is_err(), "{nonsense}");
    }
}

#[test]
fn a_record_is_a_line() {
    let mut out = Vec::new();
    let mut records = Records::new(&mut out);
    for bad in [&b"a\nb"[..], b"\x1e{}", &vec![b'x'; RECORD_BYTES_MAX]] {
        assert!(records.write_line(bad).is_err());
    }
    records.write_line(b"").unwrap();
    records.write_line(b"fine").unwrap();
    assert_eq!(records.count, 2);
    drop(records);
    assert_eq!(out, b"\nfine\n");
}

#[test]
fn many_sub_tasks_are_asked_for_in_lines_that_are_not_too_long() {
    let task = json!({"text": "x".repeat(1_000)}).as_object().unwrap().clone();
    let mut out = Vec::new();
    let mut records = Records::new(&mut out);
    spawn(vec![task; 1_000], &mut records).unwrap();
    drop(records);
    let text = String::from_utf8(out).unwrap();
    let mut tasks = 0;
    for line in text.lines() {
        assert!(line.len() <= SPAWN_BYTES_MAX);
        let json: Json = serde_json::from_str(&line[1..]).unwrap();
        tasks += json["spawn"]["tasks"].as_array().unwrap().len();
    }
    assert!(tasks == 1_000 && text.lines().count() > 3);
}
