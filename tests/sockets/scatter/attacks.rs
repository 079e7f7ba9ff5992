//! What strangers may try: definitions that make no sense, queries without end, noise where back-ends are expected.

use std::io::Write;

use serde_json::json;

use super::*;

#[test]
fn absurd_definitions_are_refused_and_change_nothing() {
    let node = front_end();
    let _worker = back_end(&node, &examples().join("programs"), 2);
    let case = example("primes.json");
    assert_eq!(put(&node, &case).0, 201);
    let at = |path: &str, value: Value| {
        let mut changed = case.clone();
        *changed.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        changed
    };
    let added = |section: &str, name: &str, value: Value| {
        let mut changed = case.clone();
        changed[section][name] = value;
        changed
    };
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let many: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("p{n}"), json!({"type": "int"}))).collect();
    let absurd = [
        at("/url", json!("/")),
        at("/url", json!("/sub/x")),
        at("/url", json!("/livez")),
        at("/url", json!("http://elsewhere/")),
        at("/url", json!("/a b\r\nX: y")),
        at("/url", json!(format!("/{}", "x".repeat(10_000)))),
        at("/url", Value::Null),
        at("/params", json!(many)),
        at("/params", json!(7)),
        at("/params", deep.clone()),
        added("params", "../../etc", json!({"type": "int"})),
        added("params", "from", json!({"type": "int", "min": 9, "max": 3})),
        added("params", "from", json!({"type": "float"})),
        added("params", "from", json!({"type": "int", "default": "x"})),
        added("split", "unit", json!(0)),
        added("split", "unit", json!(-1)),
        added("split", "unit", json!(1e300)),
        added("split", "over", json!(["from", "from2"])),
        added("split", "kind", json!("shell")),
        added("run", "parallel", json!(0)),
        added("run", "parallel", json!(u64::MAX)),
        added("run", "parallel", json!(-1)),
        added("run", "deadline_s", json!(1e9)),
        added("run", "retries", json!(300)),
        added("run", "jobs_max", json!(1_000_000)),
        added("run", "mode", json!("both")),
        added("run", "surprise", json!(true)),
        added("handler", "processes", json!(1_000_000)),
        added("handler", "program", json!("../primes.py")),
        added("handler", "program", json!("/bin/sh")),
        added("handler", "program", json!(["sh", "-c", "true"])),
        added("handler", "args", json!(["-c"])),
        added("handler", "env", json!({"LD_PRELOAD": "x"})),
    ];
    let taken: Vec<String> = absurd
        .iter()
        .map(|json| (json, node.publisher().put("/usecases/primes", json.to_string().as_bytes()).status))
        .filter(|(_, status)| ![400, 413].contains(status))
        .map(|(json, status)| format!("{status}: {json:.300}"))
        .collect();
    assert!(taken.is_empty(), "{taken:#?}");
    let mut publisher = node.publisher();
    for body in [&b"[]"[..], b"7", b"", b"{", b"\xff\xfe", b"{\"name\":\"primes\",\"name\":\"primes\"}"] {
        let status = publisher.put("/usecases/primes", body).status;
        assert!((400..500).contains(&status), "{status}: {body:?}");
    }
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert!((400..500).contains(&node.publisher().put("/usecases/primes", &nested).status));
    assert_eq!(node.subscriber().get("/v1/primes?to=10").body, primes(10));
    assert_eq!(view(&node)["usecases"].as_array().unwrap().len(), 1);
}

#[test]
fn queries_without_end_are_refused() {
    let node = front_end();
    let _worker = back_end(&node, &examples().join("programs"), 2);
    assert_eq!(put(&node, &example("primes.json")).0, 201);
    let many = |count: usize| "&to=9".repeat(count);
    for (query, status) in [
        (format!("to=9{}", many(10_000)), 414),
        (format!("to=9{}", many(1_000)), 400),
        (format!("to=9{}", "&".repeat(4_000)), 200),
        (format!("to=9{}", "&a".repeat(3_000)), 400),
        ("to=99999999999999999999999999".to_owned(), 400),
        ("to=9223372036854775807&from=-9223372036854775808".to_owned(), 400),
        ("to=9&from=-9223372036854775808".to_owned(), 400),
        ("to=%00".to_owned(), 400),
        ("to=%ff%fe".to_owned(), 400),
        ("to=%zz".to_owned(), 400),
        ("to=1e3".to_owned(), 400),
        (format!("to={}", "9".repeat(5_000)), 400),
    ] {
        let answer = node.subscriber().get(&format!("/v1/primes?{query}"));
        assert_eq!(answer.status, status, "{}…: {answer:?}", &query[..query.len().min(60)]);
    }
    assert_eq!(node.subscriber().get("/v1/primes?to=10").body, primes(10));
}

/// Noise at the back-ends' listener: HTTP, zeros, half a frame, and nothing at all.
#[test]
fn noise_at_the_back_ends_listener_is_cut_off() {
    let node = front_end();
    let _worker = back_end(&node, &examples().join("programs"), 2);
    assert_eq!(put(&node, &example("primes.json")).0, 201);
    let address = node.worker.unwrap();
    let noise: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0; 5_000], &[0xff; 5_000], b"\0\0"];
    let mut held = Vec::new();
    for bytes in noise.iter().cycle().take(100) {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(bytes);
        held.push(stream);
    }
    assert_eq!(node.subscriber().get("/v1/primes?to=10").body, primes(10));
    let late = back_end(&node, &examples().join("programs"), 2);
    drop((held, late));
    assert_eq!(node.subscriber().get("/v1/primes?to=10").body, primes(10));
}
