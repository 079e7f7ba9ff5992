//! Use cases end to end: a node, back-ends and handlers as processes, and other people's clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::node::{Launch, Node};
use crate::process::{Running, bare_command, pushup};
use crate::temp::TempDir;
use crate::wait_for;

mod attacks;
mod clients;
mod deploys;
mod handlers;
mod kills;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/examples")
}

/// A node that takes back-ends, of one shard.
fn front_end() -> Node {
    Launch::new(&["--worker-listen", "127.0.0.1:0", "--shards", "1"]).start()
}

fn back_end(node: &Node, programs: &Path, slots: usize) -> Running {
    back_end_with(node, programs, slots, &[])
}

/// A back-end that is on its way.
fn spawn_back_end(node: &Node, programs: &Path, slots: usize, flags: &[&str]) -> Running {
    let mut command = pushup();
    command.arg("worker").arg("--join").arg(node.worker.expect("it takes back-ends").to_string());
    command.arg("--programs").arg(programs).args(["--slots", &slots.to_string()]).args(flags);
    Running::spawn(&mut command)
}

fn back_end_with(node: &Node, programs: &Path, slots: usize, flags: &[&str]) -> Running {
    let before = back_ends(node);
    let running = spawn_back_end(node, programs, slots, flags);
    wait_for("the back-end to join", || (back_ends(node) > before).then_some(()));
    running
}

fn view(node: &Node) -> Value {
    node.publisher().get("/usecases").json()
}

fn back_ends(node: &Node) -> usize {
    view(node)["backends"].as_array().unwrap().len()
}

fn put(node: &Node, json: &Value) -> (u16, Value) {
    let name = json["name"].as_str().unwrap();
    let answer = node.publisher().put(&format!("/usecases/{name}"), json.to_string().as_bytes());
    (answer.status, answer.json())
}

fn example(name: &str) -> Value {
    let path = examples().join("usecases").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What curl gets, and whether it was content.
fn curl(node: &Node, target: &str, flags: &[&str]) -> (bool, Vec<u8>) {
    let mut command = bare_command("curl");
    command.args(["-s", "--max-time", "120"]).args(flags).arg(format!("http://{}{target}", node.public));
    let output = command.output().expect("there is curl");
    (output.status.success(), output.stdout)
}

/// What the example's use case answers.
pub fn primes(to: u32) -> Vec<u8> {
    let is_prime = |number: &u32| {
        (2..)
            .take_while(|divisor| divisor * divisor <= *number)
            .all(|divisor| !number.is_multiple_of(divisor))
    };
    (2..to).filter(is_prime).flat_map(|prime| format!("{{\"prime\": {prime}}}\n").into_bytes()).collect()
}

/// A program for one test, in Python.
fn program(dir: &TempDir, name: &str, code: &str) {
    let begin = "#!/usr/bin/env python3\nimport json, os, sys, time\nrecords = os.fdopen(3, \"w\")";
    script(dir, name, &format!("{begin}\n{code}"));
}

/// A program for one test, in any language.
fn script(dir: &TempDir, name: &str, code: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.file(name);
    std::fs::write(&path, code).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether a process is there, and no zombie.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_use_case_is_put_called_and_removed() {
    let node = front_end();
    let case = example("primes.json");
    let (status, refused) = put(&node, &case);
    assert_eq!(status, 503, "without back-ends nobody knows the program: {refused}");
    let _worker = back_end(&node, &examples().join("programs"), 2);
    assert_eq!(put(&node, &case).0, 201);
    let mut client = node.subscriber();
    let answer = client.get("/v1/primes?to=50000");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/x-ndjson")));
    assert!(answer.body == primes(50_000));
    // The connection goes on.
    assert!(client.get("/v1/primes?from=3&to=4").body == b"{\"prime\": 3}\n");
    let wrong = client.get("/v1/primes?to=x");
    assert_eq!((wrong.status, &wrong.json()["detail"]), (400, &json!("\"to\" must be an integer")));
    assert_eq!(client.get("/v1/primes").status, 400);
    assert_eq!(client.get("/v1/other").status, 404);
    // Replaced while it is called.
    let mut changed = case.clone();
    changed["split"]["unit"] = json!(1_000);
    assert_eq!(put(&node, &changed), (200, json!({"name": "primes", "version": 2})));
    assert!(client.get("/v1/primes?to=50000").body == primes(50_000));
    changed["handler"]["program"] = json!("sh");
    let (status, refused) = put(&node, &changed);
    assert_eq!(
        (status, &refused["detail"]),
        (400, &json!("No back-end has a program \"sh\"; there are: primes.py, squeeze.py, words.js."))
    );
    let shown = node.publisher().get("/usecases/primes").json();
    assert_eq!((&shown["version"], &shown["usecase"]["split"]["unit"]), (&json!(2), &json!(1_000)));
    assert_eq!(node.publisher().delete("/usecases/primes").status, 204);
    assert_eq!(client.get("/v1/primes?to=5").status, 404);
}

#[test]
fn other_people_s_clients_read_what_is_stitched() {
    let node = front_end();
    let _workers: Vec<Running> = (0..2).map(|_| back_end(&node, &examples().join("programs"), 2)).collect();
    assert_eq!(put(&node, &example("primes.json")).0, 201);
    let expected = primes(300_000);
    let target = "/v1/primes?to=300000";
    assert!(curl(&node, target, &["--compressed"]) == (true, expected.clone()), "curl");
    assert!(curl(&node, target, &["--http1.0"]) == (true, expected.clone()), "curl, HTTP/1.0");
    let (_, packed) = curl(&node, target, &["-H", "Accept-Encoding: gzip"]);
    assert!(packed.len() < expected.len() / 3, "{} of {} bytes", packed.len(), expected.len());
    let through = |program: &str, args: &[&str]| {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let (mut input, bytes) = (child.stdin.take().unwrap(), packed.clone());
        let writing = std::thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        assert!(output.status.success(), "{program}");
        output.stdout
    };
    through("gzip", &["-t"]);
    assert!(through("gzip", &["-dc"]) == expected, "gzip");
    assert!(
        through(
            "python3",
            &["-c", "import gzip,sys;sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))"]
        ) == expected,
        "Python"
    );
    let node_code = "process.stdout.write(require('zlib').gunzipSync(require('fs').readFileSync(0)))";
    assert!(through("node", &["-e", node_code]) == expected, "Node");
}

#[test]
fn a_handler_in_another_language() {
    let usecases = examples().join("usecases");
    let flags = ["--worker-listen", "127.0.0.1:0", "--shards", "1", "--usecases", usecases.to_str().unwrap()];
    let node = Launch::new(&flags).start();
    let names: Vec<Value> =
        view(&node)["usecases"].as_array().unwrap().iter().map(|case| case["name"].clone()).collect();
    assert_eq!(names, ["primes", "words"], "from JSON and from TOML");
    let _worker = back_end(&node, &examples().join("programs"), 2);
    let answer = node.subscriber().get("/v1/words?text=To+be+or+not+to+be,that+is+the+question");
    let expected = "{\"word\":\"be\",\"count\":2}\n{\"word\":\"not\",\"count\":1}\n{\"word\":\"or\",\"count\":1}\n\
                    {\"word\":\"to\",\"count\":2}\n{\"word\":\"is\",\"count\":1}\n{\"word\":\"question\",\"count\":1}\n\
                    {\"word\":\"that\",\"count\":1}\n{\"word\":\"the\",\"count\":1}\n";
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
}

/// A use case of the library's trait, in threads of a back-end and as a program.
#[test]
fn a_use_case_in_rust() {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(Path::parent).unwrap().join("examples/sieve");
    assert!(built.exists(), "please `cargo build --example sieve`");
    let spec = bare_command(built.to_str().unwrap()).arg("--spec").output().unwrap().stdout;
    let node = front_end();
    let address = node.worker.unwrap().to_string();
    let mut in_threads = Running::spawn(bare_command(built.to_str().unwrap()).args(["--join", &address]));
    wait_for("the back-end to join", || (back_ends(&node) == 1).then_some(()));
    assert_eq!(node.publisher().put("/usecases/sieve", &spec).status, 201);
    let expected = String::from_utf8(primes(100_000)).unwrap().replace(' ', "").into_bytes();
    let target = "/v1/sieve?from=0&to=100000";
    let (ok, body) = curl(&node, target, &["--compressed"]);
    assert!(ok && body == expected);
    // Whoever leaves stops the threads; the next request finds others.
    drop(
        TcpStream::connect(node.public)
            .unwrap()
            .write_all(b"GET /v1/sieve?from=0&to=100000000 HTTP/1.1\r\nHost: a\r\n\r\n"),
    );
    wait_for("nothing to be under way", || (view(&node)["requests"] == 0).then_some(()));
    assert!(curl(&node, target, &[]).1 == expected);
    assert_eq!(node.subscriber().get("/v1/sieve?from=0").status, 400);
    in_threads.signal(Signal::TERM);
    assert_eq!(in_threads.end_within(Duration::from_secs(20)).status.code(), Some(0));

    let dir = TempDir::new();
    std::fs::copy(&built, dir.path().join("sieve")).unwrap();
    let _as_program = back_end(&node, dir.path(), 2);
    assert!(curl(&node, target, &["--compressed"]).1 == expected);
}

#[test]
fn a_back_end_that_is_killed_changes_nothing_and_leaves_nobody_behind() {
    let node = front_end();
    let _steady = back_end(&node, &examples().join("programs"), 1);
    assert_eq!(put(&node, &example("primes.json")).0, 201);
    let expected = primes(250_000);
    for round in 0..4 {
        let mut victim = back_end(&node, &examples().join("programs"), 2);
        let address = node.public;
        let flags: &[&str] = if round % 2 == 0 { &["--compressed"] } else { &[] };
        let retries = view(&node)["retries"].as_u64().unwrap();
        let got = std::thread::scope(|scope| {
            let reading = scope.spawn(|| curl(&node, "/v1/primes?to=250000", flags));
            wait_for("it to be at work", || {
                let view = view(&node);
                let busy =
                    view["backends"].as_array().unwrap().iter().filter(|one| one["running"] != 0).count();
                (busy == 2).then_some(())
            });
            victim.signal(rustix::process::Signal::KILL);
            wait_for("its end", || victim.has_ended());
            reading.join().unwrap()
        });
        assert!(got == (true, expected.clone()), "round {round}, {address}");
        assert!(view(&node)["retries"].as_u64().unwrap() > retries, "it had something to do");
    }
}

const SLEEPY: &str = r#"
for line in sys.stdin:
    run = json.loads(line).get("run")
    if run is None:
        continue
    open(run["params"]["mark"] + str(os.getpid()), "w").close()
    records.write("first\n")
    records.flush()
    time.sleep(60)
"#;

/// Handlers of a request whose client is gone are ended, whether it has read what came or not.
#[test]
fn when_the_client_leaves_its_handlers_stop() {
    handlers_stop(20);
    handlers_stop(1_000);
}

fn handlers_stop(read: usize) {
    let (node, dir) = (front_end(), TempDir::new());
    program(&dir, "sleepy", SLEEPY);
    let _worker = back_end(&node, dir.path(), 3);
    let marks = TempDir::new();
    let case = json!({
        "name": "sleepy", "url": "/sleepy", "params": {"mark": {"type": "text"}},
        "split": {"kind": "count", "count": 3}, "run": {"mode": "concurrent"}, "handler": {"program": "sleepy"},
    });
    let mut case = case;
    // Each sub-task learns its number, which has to be a parameter.
    case["params"]["task"] = json!({"type": "int"});
    assert_eq!(put(&node, &case).0, 201);
    let mut stream = TcpStream::connect(node.public).unwrap();
    let mark = marks.file("pid-");
    write!(stream, "GET /sleepy?mark={} HTTP/1.1\r\nHost: t\r\n\r\n", mark.display()).unwrap();
    let pids = || -> Vec<u32> {
        let names = std::fs::read_dir(marks.path())
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.strip_prefix("pid-")?.parse().ok()).collect()
    };
    wait_for("three handlers", || (pids().len() == 3).then_some(()));
    let mut first = vec![0; read];
    let mut len = 0;
    while len < read && !first[..len].ends_with(b"first\n\r\n") {
        len += stream.read(&mut first[len..]).unwrap();
    }
    assert!(first.starts_with(b"HTTP/1.1 200"));
    drop(stream);
    wait_for("their end", || (!pids().iter().any(|pid| is_alive(*pid))).then_some(()));
    wait_for("rest", || (view(&node)["requests"] == 0).then_some(()));
}

const FLOOD: &str = r#"
for line in sys.stdin:
    run = json.loads(line).get("run")
    if run is None:
        continue
    for n in range(100000):
        records.write("x" * 999 + "\n")
    records.write("\x1e" + json.dumps({"end": {"id": run["id"], "records": 100000}}) + "\n")
    records.flush()
"#;

/// 400 MB for a client that reads nothing for a while: the node keeps a few windows of it.
#[test]
fn a_client_that_does_not_read_costs_little() {
    let (node, dir) = (front_end(), TempDir::new());
    program(&dir, "flood", FLOOD);
    let _worker = back_end(&node, dir.path(), 4);
    let case = json!({
        "name": "flood", "url": "/flood", "params": {"task": {"type": "int"}},
        "split": {"kind": "count", "count": 4}, "run": {"parallel": 4}, "handler": {"program": "flood"},
    });
    assert_eq!(put(&node, &case).0, 201);
    let mut stream = TcpStream::connect(node.public).unwrap();
    stream.write_all(b"GET /flood HTTP/1.0\r\n\r\n").unwrap();
    let mut start = [0; 1_000];
    stream.read_exact(&mut start).unwrap();
    let (mut last, mut same) = (0, 0);
    wait_for("it to stand still", || {
        let bytes = node.figure("memory_bytes");
        same = if bytes == last { same + 1 } else { 0 };
        last = bytes;
        (same >= 40 && bytes > 500_000).then_some(())
    });
    assert!(last < 8_000_000, "{last} bytes");
    // It reads on, and everything comes.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let body = [&start[..], &rest].concat();
    let begin = body.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(body.len() - begin, 400_000_000);
}

const FAILING: &str = r#"
for line in sys.stdin:
    run = json.loads(line).get("run")
    if run is None:
        continue
    print("this is no record")
    if run["params"]["late"]:
        for n in range(20000):
            records.write("x" * 99 + "\n")
        records.flush()
    sys.exit(3)
"#;

/// Before the first byte a clean status; after it never a clean end.
#[test]
fn failure_is_visible() {
    let (node, dir) = (front_end(), TempDir::new());
    program(&dir, "failing", FAILING);
    let _worker = back_end(&node, dir.path(), 2);
    let case = json!({
        "name": "failing", "url": "/failing", "params": {"late": {"type": "bool", "default": false}},
        "run": {"retries": 1}, "handler": {"program": "failing"},
    });
    assert_eq!(put(&node, &case).0, 201);
    let early = node.subscriber().get("/failing");
    assert_eq!(early.status, 502, "{early:?}");
    assert!(early.json()["detail"].as_str().unwrap().contains("failed 2 times"), "{early:?}");
    for flags in [&[][..], &["--compressed"], &["--http1.0"]] {
        let (well, body) = curl(&node, "/failing?late=1", flags);
        assert!(!well && !body.is_empty(), "{flags:?}: {} bytes", body.len());
    }
}

#[test]
fn a_wrong_command_line_is_told_so() {
    let run = |args: &[&str]| {
        let output = pushup().args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let dir = TempDir::new();
    let empty = dir.path().to_str().unwrap();
    for (args, code, told) in [
        (&["worker"][..], 2, "--programs DIR is missing"),
        (&["worker", "--programs", "."], 2, "--join HOST:PORT is missing"),
        (&["worker", "--join", "127.0.0.1:1", "--programs", empty], 78, "there is no program in it"),
        (&["worker", "--join", "127.0.0.1:1", "--programs", "/nowhere"], 78, "No such file"),
        (&["worker", "--join", "nonsense", "--programs", empty], 78, "--join nonsense"),
        (&["serve", "--usecases", empty], 78, "\"usecases\" needs \"worker-listen\""),
        (&["serve", "--worker-listen", "127.0.0.1:0", "--shards", "2"], 78, "needs \"shards\" to be 1"),
        (&["serve", "--worker-listen", "127.0.0.1:0", "--scheduler", "best"], 78, "is not one of p2c"),
        (
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--publish-listen",
                "127.0.0.1:0",
                "--worker-listen",
                "0.0.0.0:0",
                "--shards",
                "1",
            ],
            78,
            "need --cluster-key-file",
        ),
    ] {
        let (status, stderr) = run(args);
        assert_eq!(status, Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
}
