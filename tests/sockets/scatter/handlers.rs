//! Handlers that leak, hang, print without end, write garbage, end at once or leave children behind: each costs its own
//! request and nobody else's.

use serde_json::json;

use super::*;
use crate::process::resident_kib;

/// What each of these handlers does with a sub-task `how`; a good one writes ten records.
const BAD: &str = r#"
import signal
def good(run):
    for n in range(10):
        records.write(json.dumps({"n": n}) + "\n")
    records.write("\x1e" + json.dumps({"end": {"id": run["id"], "records": 10}}) + "\n")
    records.flush()

started = os.path.join(os.path.dirname(sys.argv[0]), "started-%d" % os.getpid())
open(started, "w").close()
kept = []
for line in sys.stdin:
    run = json.loads(line).get("run")
    if run is None:
        continue
    how = run["params"]["how"]
    if how == "good":
        good(run)
    elif how == "leak":
        while True:
            kept.append(b"x" * (4 << 20))
            time.sleep(0.02)
    elif how == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    elif how == "talk":
        for n in range(30000):
            print("a word that nobody wants, said for the", n, "th time")
            print("the same as a complaint", n, file=sys.stderr)
        sys.stdout.flush()
        good(run)
    elif how == "binary":
        os.write(3, os.urandom(1 << 20).replace(b"\n", b"x"))
        time.sleep(600)
    elif how == "half":
        os.write(3, b"\x1e{\"end\":\n")
        time.sleep(600)
    elif how == "unknown":
        os.write(3, b"\x1e{\"reboot\":{}}\n")
        time.sleep(600)
    elif how == "nul":
        os.write(3, b"\x1e\0\0\0\n")
        time.sleep(600)
    elif how == "exit":
        sys.exit(3)
    elif how == "child":
        told, tell = os.pipe()
        if os.fork() == 0:
            # Not of its group, and with its descriptor 3.
            os.setsid()
            open(os.path.join(os.path.dirname(sys.argv[0]), "child-%d" % os.getpid()), "w").close()
            os.write(tell, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(told, 1)
        os._exit(4)
"#;

fn marks(dir: &TempDir, prefix: &str) -> Vec<u32> {
    let names =
        std::fs::read_dir(dir.path()).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect()
}

/// A node and a back-end of 4 slots with the bad program, which is tried twice.
fn bad(run: Value, flags: &[&str]) -> (Node, TempDir, Running) {
    let (node, dir) = (front_end(), TempDir::new());
    program(&dir, "bad", BAD);
    let worker = back_end_with(&node, dir.path(), 4, flags);
    let mut case = json!({
        "name": "bad", "url": "/bad", "params": {"how": {"type": "text"}}, "run": {"retries": 1},
        "handler": {"program": "bad"},
    });
    for (name, value) in run.as_object().unwrap() {
        case["run"][name] = value.clone();
    }
    assert_eq!(put(&node, &case).0, 201);
    (node, dir, worker)
}

fn ten() -> Vec<u8> {
    (0..10).flat_map(|n| format!("{{\"n\": {n}}}\n").into_bytes()).collect()
}

fn assert_good(node: &Node) {
    let answer = node.subscriber().get("/bad?how=good");
    assert!(answer.status == 200 && answer.body == ten(), "{answer:?}");
}

#[test]
fn one_that_leaks_is_ended_and_the_others_go_on() {
    let (node, dir, worker) = bad(json!({}), &["--handler-memory", "64"]);
    let answer = std::thread::scope(|scope| {
        let leaking = scope.spawn(|| node.subscriber().get("/bad?how=leak"));
        while !leaking.is_finished() {
            assert_good(&node);
        }
        leaking.join().unwrap()
    });
    assert_eq!(answer.status, 502, "{answer:?}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail, "Sub-task 0 failed 2 times: it used more than 64 MB of memory");
    worker.wait_stderr("a handler is ended: it used more than 64 MB of memory");
    assert_good(&node);
    let alive = || marks(&dir, "started-").into_iter().filter(|pid| is_alive(*pid)).count();
    wait_for("its end", || (alive() <= 1).then_some(()));
}

/// What hangs before the thirty seconds that it may say nothing is ended with its request, though it does not listen.
#[test]
fn one_that_hangs_is_ended_with_its_request() {
    let (node, dir, _worker) = bad(json!({"deadline_s": 1, "retries": 0}), &[]);
    let answer = node.subscriber().get("/bad?how=hang");
    assert_eq!(answer.status, 504, "{answer:?}");
    let alive = || marks(&dir, "started-").into_iter().filter(|pid| is_alive(*pid)).count();
    wait_for("its end", || (alive() == 0).then_some(()));
}

#[test]
fn one_that_talks_without_end_is_cut_short_in_the_log() {
    let (node, _dir, worker) = bad(json!({}), &[]);
    let begun = std::time::Instant::now();
    let answer = node.subscriber().get("/bad?how=talk");
    assert!(answer.status == 200 && answer.body == ten(), "{answer:?}");
    let said = |text: &str| {
        text.lines().filter(|line| line.contains("a word that") || line.contains("the same as")).count()
    };
    let left_out = |text: &str| -> usize {
        let number =
            |line: &str| line.split_once(" lines are left out")?.0.rsplit(' ').next()?.parse::<usize>().ok();
        text.lines().filter_map(number).sum()
    };
    let stderr = wait_for("all to be counted", || {
        Some(worker.stderr()).filter(|text| said(text) + left_out(text) == 60_000)
    });
    let seconds = begun.elapsed().as_secs() as usize + 2;
    assert!(said(&stderr) <= 50 * seconds, "{} lines in {seconds} s", said(&stderr));
}

#[test]
fn garbage_is_a_failed_attempt() {
    let (node, dir, worker) = bad(json!({}), &[]);
    for (how, why) in [
        ("binary", "a record is too long"),
        ("half", "a control line is not understood"),
        ("unknown", "a control line is not understood"),
        ("nul", "a control line is not understood"),
    ] {
        let answer = node.subscriber().get(&format!("/bad?how={how}"));
        assert_eq!(answer.status, 502, "{answer:?}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(detail, format!("Sub-task 0 failed 2 times: {why}"), "{how}");
        assert_good(&node);
    }
    let alive = || marks(&dir, "started-").into_iter().filter(|pid| is_alive(*pid)).count();
    wait_for("their end", || (alive() <= 1).then_some(()));
    assert!(resident_kib(worker.pid()) < 64 * 1024);
}

/// Nobody starts a handler that ends at once again and again: one is started for an attempt, and none without.
#[test]
fn one_that_ends_at_once_is_not_started_without_an_attempt() {
    let (node, dir, mut worker) = bad(json!({}), &[]);
    for _ in 0..5 {
        let answer = node.subscriber().get("/bad?how=exit");
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("exit status: 3"), "{answer:?}");
    }
    assert_good(&node);
    worker.signal(rustix::process::Signal::TERM);
    worker.end_within(crate::PATIENCE);
    // The one that is kept, ten attempts, and the good one's.
    let started = marks(&dir, "started-").len();
    assert!((10..=12).contains(&started), "{started}");
}

/// A handler has ended when its process has, though a child of its holds the pipe for records.
#[test]
fn a_child_that_is_left_behind_delays_nothing() {
    let (node, dir, _worker) = bad(json!({}), &[]);
    let answer = node.subscriber().get("/bad?how=child");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.json()["detail"].as_str().unwrap().contains("exit status: 4"), "{answer:?}");
    assert_good(&node);
    let children = marks(&dir, "child-");
    assert_eq!(children.len(), 2);
    for child in children {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(child as i32).unwrap(),
            rustix::process::Signal::KILL,
        );
    }
}

/// Four handlers that write as fast as they can, for a client that reads a little now and then.
fn flooded(reads: impl Fn(&mut TcpStream, &Node, &Running)) {
    let (node, dir) = (front_end(), TempDir::new());
    program(&dir, "flood", FLOOD);
    let worker = back_end(&node, dir.path(), 4);
    let case = json!({
        "name": "flood", "url": "/flood", "params": {"task": {"type": "int"}},
        "split": {"kind": "count", "count": 4}, "run": {"parallel": 4, "deadline_s": 600},
        "handler": {"program": "flood"},
    });
    assert_eq!(put(&node, &case).0, 201);
    let mut client = crate::http::Client::connect_narrow(node.public);
    client.send("GET /flood HTTP/1.0\r\n\r\n");
    reads(&mut client.stream, &node, &worker);
    drop(client);
    wait_for("its end", || (view(&node)["requests"] == 0).then_some(()));
}

#[test]
fn a_flood_for_a_slow_reader_costs_the_back_end_little_too() {
    flooded(|stream, node, worker| {
        let mut some = vec![0; 64 * 1024];
        let mut total = 0;
        while total < 20_000_000 {
            total += stream.read(&mut some).unwrap();
            if total % 11 == 0 {
                let (front, back) = (node.figure("memory_bytes"), resident_kib(worker.pid()));
                assert!(front < 8_000_000 && back < 64 * 1024, "{front} bytes, {back} KiB");
            }
        }
    });
}

/// The figure: `cargo test --test sockets a_minute -- --ignored --nocapture`.
#[test]
#[ignore = "takes a minute"]
fn a_client_that_reads_nothing_for_a_minute() {
    flooded(|stream, node, worker| {
        let mut start = [0; 100];
        stream.read_exact(&mut start).unwrap();
        let begun = std::time::Instant::now();
        let (mut front, mut resident, mut back) = (0, 0, 0);
        while begun.elapsed() < Duration::from_secs(60) {
            front = front.max(node.figure("memory_bytes"));
            resident = resident.max(resident_kib(node.pid()));
            back = back.max(resident_kib(worker.pid()));
            std::thread::sleep(Duration::from_millis(200));
        }
        println!("at most {front} bytes counted, {resident} KiB resident; the back-end {back} KiB");
        assert!(front < 8_000_000, "{front} bytes");
        assert_eq!(view(node)["retries"], 0, "it is not thought to hang");
    });
}

/// What a file of `--programs` may be: also a link to one elsewhere, for the directory is the operator's.
#[test]
fn a_link_in_the_directory_of_programs_is_a_program() {
    let (node, elsewhere, dir) = (front_end(), TempDir::new(), TempDir::new());
    program(&elsewhere, "real", BAD);
    std::os::unix::fs::symlink(elsewhere.file("real"), dir.file("linked")).unwrap();
    std::os::unix::fs::symlink("/nowhere", dir.file("broken")).unwrap();
    std::os::unix::fs::symlink("/bin", dir.file("directory")).unwrap();
    std::fs::write(dir.file("data"), "no program").unwrap();
    std::fs::copy("/bin/true", dir.file(".hidden")).unwrap();
    let _worker = back_end(&node, dir.path(), 2);
    assert_eq!(view(&node)["backends"][0]["programs"], json!(["linked"]));
    let mut case = json!({"name": "bad", "url": "/bad", "params": {"how": {"type": "text"}},
                          "handler": {"program": "linked"}});
    assert_eq!(put(&node, &case).0, 201);
    assert_good(&node);
    for name in
        ["../real", "..", ".", "/bin/sh", "./linked", "linked/", "", ".hidden", "linked\u{0}", "linked -c"]
    {
        case["handler"]["program"] = json!(name);
        assert_eq!(put(&node, &case).0, 400, "{name:?}");
    }
    // What is put away after the start is told as such, and comes back with the file.
    case["handler"]["program"] = json!("linked");
    std::fs::remove_file(dir.file("linked")).unwrap();
    let _ = put(&node, &case);
    std::os::unix::fs::symlink(elsewhere.file("real"), dir.file("linked")).unwrap();
    assert_eq!(put(&node, &case).0, 200);
    assert_good(&node);
}

#[test]
fn the_memory_that_a_handler_may_use_is_a_number() {
    for text in ["0", "-1", "lots", "99999999"] {
        let output = pushup()
            .args(["worker", "--join", "127.0.0.1:1", "--programs", ".", "--handler-memory", text])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && stderr.contains("handler-memory"), "{text}: {stderr}");
    }
}
