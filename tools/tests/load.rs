//! `pushup-load` as its users run it: every profile at smoke size against the real server, faults
//! of a server that must be noticed, bad usage, and Ctrl-C.

#[allow(dead_code)] // Other tests need the rest.
mod faulty;
mod server;

use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use faulty::{Fault, Server};
use serde_json::Value;
use server::pushup;

/// A run that takes longer is hanging.
const DEADLINE: Duration = Duration::from_secs(30);

fn start(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pushup-load"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pushup-load starts")
}

/// Waits for a run; one that hangs is ended and fails the test. What it prints fits into a pipe.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child");
            panic!("hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("output")
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = finish(start(args));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// A run against the real server, and what it writes for programs.
fn measured(profile: &str, args: &[&str]) -> (String, Value) {
    let json = std::env::temp_dir().join(format!("pushup-load-{}-{profile}.json", std::process::id()));
    let path = json.to_str().expect("a path");
    let common = [profile, "--quiet", "--server-path", pushup().to_str().expect("a path"), "--json", path];
    let (status, text) = run(&[&common[..], args].concat());
    assert_eq!(status, Some(0), "{profile} {args:?}: {text}");
    assert!(text.contains("clean: 0 lost, 0 duplicated, 0 out of order, 0 errors"), "{text}");
    let written = std::fs::read(&json).expect("the JSON file");
    std::fs::remove_file(&json).expect("the JSON file");
    (text, serde_json::from_slice(&written).expect("JSON"))
}

fn figure(json: &Value, key: &str) -> f64 {
    json["figures"][key].as_f64().unwrap_or_else(|| panic!("no {key} in {json:#}"))
}

#[test]
fn hold_tells_memory_and_proves_that_polls_are_held() {
    let args = ["--connections", "200", "--channels", "5", "--duration", "0.2"];
    let (text, json) = measured("hold", &args);
    assert_eq!(figure(&json, "proved"), 200.0);
    assert!(figure(&json, "held_pss_bytes") < 20_000.0, "{text}");
    assert!(
        figure(&json, "kernel_slab_bytes").abs() < 1e6 && figure(&json, "accepts_per_s") > 100.0,
        "{text}"
    );
    assert!(text.contains("user memory per poll, Pss") && text.contains(" B\n"), "{text}");
}

#[test]
fn hold_divides_polls_over_workers_and_shards() {
    let args = ["--connections", "2000", "--workers", "2", "--shards", "2"];
    let more = ["--channels", "10", "--duration", "0.2"];
    let (text, json) = measured("hold", &[&args[..], &more].concat());
    for message in ["all", "onward", "each"] {
        assert_eq!(figure(&json, &format!("{message}_deliveries")), 2_000.0, "{text}");
        assert_eq!(figure(&json, &format!("{message}_lost")), 0.0, "{text}");
        assert_eq!(figure(&json, &format!("{message}_duplicated")), 0.0, "{text}");
        assert!(figure(&json, &format!("{message}_p50_ms")) > 0.0, "{text}");
    }
    assert_eq!(figure(&json, "held_by_server"), 2_000.0, "{text}");
    assert_eq!((&json["plan"]["workers"], &json["plan"]["shards"]), (&2.into(), &2.into()), "{text}");
    assert!(text.contains("| polls held at once, a connection each"), "{text}");
    assert!(figure(&json, "held_pss_bytes") < 20_000.0 && figure(&json, "connects_per_s") > 100.0, "{text}");
}

#[test]
fn what_a_worker_misses_ends_with_status_1() {
    // This server's cursor is the number of one channel's messages: who goes on to another channel with it
    // misses the first message there.
    for (fault, channels, told) in [
        (Fault::None, "1", "clean: 0 lost, 0 duplicated"),
        (Fault::Lose, "1", "NOT CLEAN: 1 lost, 0 duplicated"),
        (Fault::Duplicate, "2", "NOT CLEAN: 4 lost, 1 duplicated"),
    ] {
        let server = Server::start_with(fault, 0);
        let address = server.address.to_string();
        let args =
            ["hold", "--target", &address, "--connections", "4", "--workers", "2", "--channels", channels];
        let time = ["--duration", "0.1", "--drain", "1", "--quiet"];
        let (status, text) = run(&[&args[..], &time].concat());
        assert_eq!(status, Some(i32::from(fault != Fault::None)), "{fault:?}: {text}");
        assert!(text.contains(told), "{fault:?}: {text}");
        assert!(text.contains("got it / did not / got it again"), "{text}");
    }
}

#[test]
fn broadcast_tells_latencies() {
    let args = ["--connections", "100", "--channels", "2", "--duration", "0.5", "--interval", "50ms"];
    let (text, json) = measured("broadcast", &args);
    assert_eq!((figure(&json, "published"), figure(&json, "deliveries")), (20.0, 1_000.0));
    // Medians of messages and percentiles of answers have no order between them. A histogram rounds to three digits.
    let answers = ["delivery_p50_ms", "delivery_p99_ms", "delivery_p99_9_ms", "last_max_ms"];
    for order in [&answers[..], &["first_ms", "last_ms", "last_max_ms"]] {
        let values: Vec<f64> = order.iter().map(|key| figure(&json, key)).collect();
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1] * 1.01), "{values:?}: {text}");
    }
    assert_eq!(json["distributions"]["delivery_us"]["count"], 1_000);
    assert_eq!((&json["profile"], &json["interrupted"]), (&"broadcast".into(), &false.into()));
}

#[test]
fn cycle_counts_cycles_and_their_cost() {
    let (text, json) = measured("cycle", &["--connections", "50", "--duration", "0.5", "--in-flight", "16"]);
    assert!(figure(&json, "cycles") >= 50.0 && figure(&json, "server_cpu_us") > 0.0, "{text}");
    assert!(text.contains("50 polls on 50 channels"), "{text}");
}

#[test]
fn churn_comes_and_goes_while_others_are_served() {
    let args =
        ["--connections", "20", "--rate", "100", "--stay", "20ms", "--duration", "0.6", "--interval", "0.1"];
    let (text, json) = measured("churn", &args);
    assert!((5.0..=100.0).contains(&figure(&json, "visits")), "{text}");
    assert!(figure(&json, "delivery_p50_ms") > 0.0, "{text}");
}

#[test]
fn publish_goes_as_fast_as_it_can_or_at_a_rate() {
    let (text, json) = measured("publish", &["--duration", "0.4", "--channels", "8"]);
    assert!(figure(&json, "publications_per_s") > 1_000.0, "{text}");
    let (text, json) = measured("publish", &["--duration", "0.5", "--rate", "400"]);
    assert_eq!(figure(&json, "published"), 200.0, "{text}");
    assert!(figure(&json, "publish_p50_ms") < 1_000.0, "{text}");
}

#[test]
fn storm_loses_nothing() {
    let args = ["--connections", "100", "--storms", "2", "--duration", "0.6", "--interval", "20ms"];
    let (text, json) = measured("storm", &args);
    assert_eq!(figure(&json, "reconnects"), 200.0, "{text}");
    assert_eq!(figure(&json, "deliveries"), figure(&json, "published") * 10.0, "{text}");
    assert!(figure(&json, "served_s") >= figure(&json, "polled_s"), "{text}");
}

#[test]
fn soak_tells_a_slope() {
    let args = ["--connections", "50", "--duration", "1", "--sample", "0.1", "--interval", "0.1"];
    let (text, json) = measured("soak", &args);
    assert!(figure(&json, "rss_slope_bytes_per_h").is_finite(), "{text}");
    assert!(json["distributions"]["memory_s_rss_pss_dirty"].as_array().unwrap().len() >= 5, "{text}");
    assert_eq!(figure(&json, "published"), 100.0, "{text}");
}

#[test]
fn slow_readers_are_put_beside_prompt_ones() {
    let args = ["--connections", "40", "--slow-share", "0.25", "--duration", "0.8", "--interval", "50ms"];
    let (text, json) = measured("slow", &args);
    assert_eq!((figure(&json, "prompt"), figure(&json, "slow")), (30.0, 10.0), "{text}");
    assert!(figure(&json, "with_p50_ms") > 0.0 && figure(&json, "ratio_p50") > 0.0, "{text}");
}

#[test]
fn faults_end_with_status_1() {
    for (fault, told) in [
        (Fault::Lose, "NOT CLEAN: 1 lost, 0 duplicated, 0 out of order, 0 errors"),
        (Fault::Duplicate, "NOT CLEAN: 0 lost, 1 duplicated, 0 out of order, 0 errors"),
        (Fault::Reorder, "NOT CLEAN: 0 lost, 0 duplicated, 1 out of order, 0 errors"),
        (Fault::Misdeliver, "1 messages that do not belong to the channel"),
        (Fault::Refuse, "publications answered 503"),
        (Fault::None, "\nclean: 0 lost"),
    ] {
        let server = Server::start(fault);
        let address = server.address.to_string();
        let own = std::process::id().to_string();
        let args =
            ["broadcast", "--target", &address, "--pid", &own, "--connections", "4", "--channels", "2"];
        let time = ["--duration", "0.3", "--interval", "30ms", "--drain", "0.5", "--quiet"];
        let (status, text) = run(&[&args[..], &time].concat());
        assert_eq!(status, Some(i32::from(fault != Fault::None)), "{fault:?}: {text}");
        assert!(text.contains(told), "{fault:?}: {text}");
        assert!(text.contains("server CPU per delivery"), "{text}");
    }
}

#[test]
fn errors_are_tolerated_up_to_a_number() {
    let server = Server::start(Fault::Refuse);
    let address = server.address.to_string();
    let args =
        ["broadcast", "--target", &address, "--connections", "2", "--duration", "0.3", "--interval", "30ms"];
    let (status, text) = run(&[&args[..], &["--quiet", "--errors-max", "1000"]].concat());
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("publications answered 503"), "{text}");
}

#[test]
fn a_dialect_may_come_from_a_file() {
    let server = Server::start(Fault::Dribble);
    let address = server.address.to_string();
    let file = std::env::temp_dir().join(format!("pushup-load-{}.dialect", std::process::id()));
    let poll = "GET /sub/{channel}?after={json:cursor} HTTP/1.1";
    let text = format!(
        "[first poll]\nGET /sub/{{channel}} HTTP/1.1\n\n[next poll]\n{poll}\n\n\
         [publish]\nPOST /pub/{{channel}} HTTP/1.1\nContent-Length: {{length}}\n\n{{body}}\n"
    );
    std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("a path");
    let args = ["broadcast", "--target", &address, "--dialect", path, "--connections", "4"];
    let (status, text) = run(&[&args[..], &["--duration", "0.2", "--interval", "50ms", "--quiet"]].concat());
    std::fs::remove_file(&file).expect("a file");
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn bad_usage_ends_with_status_2_and_one_line() {
    for args in [
        &[][..],
        &["hodl"],
        &["--frobnicate"],
        &["hold", "--connections", "0"],
        &["hold", "--rate", "1"],
        &["broadcast", "--connections", "900000"],
        &["hold", "--connections", "900000", "--workers", "2"],
        &["hold", "--target", "192.0.2.1:80"],
        &["hold", "--dialect", "/nowhere"],
    ] {
        let (status, text) = run(args);
        assert_eq!(status, Some(2), "{args:?}: {text}");
        assert!((1..=2).contains(&text.lines().count()), "{args:?}: {text}");
    }
    let (status, text) = run(&["--help"]);
    assert!(status == Some(0) && text.contains("storm") && text.contains("compare"), "{text}");
    let (status, text) = run(&["storm", "--help"]);
    assert!(status == Some(0) && text.contains("--storms") && text.contains("{json:NAME}"), "{text}");
}

#[test]
fn nobody_there_is_told_soon() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let begun = Instant::now();
    for workers in ["1", "2"] {
        let args = ["hold", "--target", &address, "--connections", "5", "--quiet", "--workers", workers];
        let (status, text) = run(&args);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("only 0 of 5 polls are held") && text.contains("refused"), "{text}");
    }
    assert!(begun.elapsed() < DEADLINE / 3, "{:?}", begun.elapsed());
}

#[test]
fn ctrl_c_prints_what_was_measured() {
    let server = Server::start(Fault::None);
    let address = server.address.to_string();
    let args =
        ["soak", "--target", &address, "--connections", "10", "--duration", "1h", "--interval", "10ms"];
    let child = start(&args);
    // It obeys signals before it connects anywhere.
    assert!(server.wait_for_polls(10, DEADLINE), "it does not poll");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let output = finish(child);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("interrupted") && text.contains("deliveries"), "{text}");
    assert!(text.contains("clean: 0 lost"), "{text}");
}
