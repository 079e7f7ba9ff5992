use super::*;
use serde_json::json;

fn whole() -> Json {
    json!({
        "name": "clouds", "url": "/v1/clouds", "type": "application/json",
        "params": {"from": {"type": "int"}, "to": {"type": "int"}},
        "split": {"kind": "range", "over": ["from", "to"], "unit": 10},
        "run": {"mode": "concurrent", "parallel": 3, "merge": "unordered", "deadline_s": 9, "retries": 0, "jobs_max": 2},
        "handler": {"program": "clouds.py", "processes": 4},
    })
}

#[test]
fn a_definition_is_read_whole() {
    let case = UseCase::parse(&whole()).unwrap();
    assert_eq!((&*case.name, &*case.url, &*case.media_type), ("clouds", "/v1/clouds", "application/json"));
    assert_eq!((case.mode, case.parallel, case.merge), (Mode::Concurrent, 3, Merge::Unordered));
    assert_eq!((case.deadline_s, case.retries, case.jobs_max), (9, 0, 2));
    assert_eq!((&*case.program, case.processes), ("clouds.py", 4));
    assert_eq!(case.source, whole());
    let least = json!({"name": "a", "url": "/a", "handler": {"program": "p"}});
    let case = UseCase::parse(&least).unwrap();
    assert_eq!((case.mode, case.parallel, case.merge), (Mode::Iterative, 8, Merge::Ordered));
    assert_eq!((&*case.media_type, case.split), ("application/x-ndjson", Split::None));
}

#[test]
fn a_wrong_definition_is_told_why() {
    for (pointer, value, why) in [
        ("/name", json!("../x"), "\"../x\" is no name: letters, digits, '_', '-' and '.', at most 64"),
        ("/name", json!(".x"), "\".x\" is no name: letters, digits, '_', '-' and '.', at most 64"),
        ("/name", json!(1), "\"name\" must be text"),
        (
            "/url",
            json!("v1"),
            "\"url\" must be a path of letters, digits, '-', '_', '.', '~' and '/', at most 256 bytes",
        ),
        ("/url", json!("/sub/x"), "\"url\" \"/sub/x\" is the node's own"),
        ("/url", json!("/healthz"), "\"url\" \"/healthz\" is the node's own"),
        ("/type", json!("a\r\nb"), "\"type\" must be a media type"),
        ("/run/mode", json!("serial"), "\"mode\" in \"run\" must be one of \"concurrent\", \"iterative\""),
        ("/run/merge", json!("sorted"), "\"merge\" in \"run\" must be one of \"ordered\", \"unordered\""),
        ("/run/parallel", json!(0), "\"parallel\" in \"run\" must be a number from 1 to 256"),
        ("/run/deadline_s", json!(3601), "\"deadline_s\" in \"run\" must be a number from 1 to 3600"),
        ("/run/retries", json!(-1), "\"retries\" in \"run\" must be a number from 0 to 10"),
        (
            "/handler/program",
            json!("/bin/sh"),
            "\"/bin/sh\" is no name: letters, digits, '_', '-' and '.', at most 64",
        ),
        ("/handler/processes", json!(65), "\"processes\" in \"handler\" must be a number from 1 to 64"),
        ("/handler", json!({}), "\"program\" in \"handler\" is missing"),
        ("/run", json!([]), "\"run\" must be an object"),
        ("/run", json!({"prallel": 1}), "\"prallel\" is not known in \"run\""),
        (
            "/split",
            json!({"kind": "x"}),
            "\"kind\" in \"split\" must be one of \"none\", \"range\", \"list\", \"count\", \"handler\"",
        ),
    ] {
        let mut json = whole();
        *json.pointer_mut(pointer).unwrap() = value;
        assert_eq!(UseCase::parse(&json).map(drop), Err(why.to_owned()), "{pointer}");
    }
    let mut more = whole();
    more["nme"] = json!(1);
    assert_eq!(UseCase::parse(&more).map(drop), Err("\"nme\" is not known".to_owned()));
    assert_eq!(UseCase::parse(&json!([])).map(drop), Err("a use case is an object".to_owned()));
}

#[test]
fn a_definition_may_be_toml() {
    let toml = r#"
        name = "clouds"
        url = "/v1/clouds"
        [params]
        from = { type = "date", default = 2003-07-01 }
        to = { type = "date", required = true }
        [split]
        kind = "range"
        over = ["from", "to"]
        unit = "day"
        [handler]
        program = "clouds"
    "#;
    let json = json!({
        "name": "clouds", "url": "/v1/clouds",
        "params": {"from": {"type": "date", "default": "2003-07-01"}, "to": {"type": "date", "required": true}},
        "split": {"kind": "range", "over": ["from", "to"], "unit": "day"},
        "handler": {"program": "clouds"},
    });
    assert_eq!(json_of_toml(toml), Ok(json.clone()));
    assert!(UseCase::parse(&json).is_ok());
    let why = json_of_toml("name = \"a\"\nurl = \n").unwrap_err();
    assert!(why.starts_with("line 2: "), "{why}");
}
