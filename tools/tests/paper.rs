//! The whole of `pushup-paper` at a small size: a real server, the report and its files, an interruption.

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pushup_tools::paper::Exhibit;
use pushup_tools::sys;
use server::pushup;

/// The whole smoke run takes no longer than this, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        Directory(std::env::temp_dir().join(format!("pushup-paper-{name}-{}", std::process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushup-paper"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> Output {
    let child = command(args).spawn().expect("it starts");
    finish(child)
}

/// Waits for the end; what does not end is killed and fails the test.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().expect("it is ours").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it is ours");
            panic!("it did not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("it is ours")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The rows of a CSV file without quoted fields, by the names of its columns.
fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a head").split(',').collect();
    let row = |line: &str| {
        let fields = line.split(',').map(str::to_owned);
        names.iter().map(|name| (*name).to_owned()).zip(fields).collect()
    };
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} is no number in {row:?}"))
}

#[test]
fn a_whole_evaluation_leaves_a_whole_report() {
    let server = pushup();
    let out = Directory::new("smoke");
    let path = out.0.to_str().expect("text");
    let output = run(&["--smoke", "--out", path, "--server-path", server.to_str().expect("text")]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("20 runs, about"), "{stderr}");
    assert!(stdout.contains("report.html") && stdout.contains("Table 1"), "{stdout}");

    let html = fs::read_to_string(out.0.join("report.html")).expect("a report");
    for exhibit in Exhibit::ALL {
        assert!(html.contains(&format!("<h3 id={}>", exhibit.word())), "{exhibit:?}");
    }
    assert!(!html.contains("Nothing was measured.") && !html.contains("NaN"), "a figure is empty");
    assert_eq!(html.matches("<svg role").count(), 9);
    check_tables(&out.0);
    check_crowds(&out.0);
}

fn check_tables(out: &Path) {
    let table = rows(&out.join("table1.csv"));
    assert_eq!(table.len(), 2 * 2 * 3);
    let kb = |method: &str, interval: &str, clients: &str| {
        let cell = |row: &&BTreeMap<String, String>| {
            row["method"] == method && row["interval_s"] == interval && row["clients"] == clients
        };
        number(table.iter().find(cell).expect("a cell"), "payload_kb")
    };
    for clients in ["5", "20"] {
        // One answer and one poll for each client, whatever the interval.
        let (short, long) = (kb("ELP", "10", clients), kb("ELP", "50", clients));
        assert!((long / short - 1.0).abs() < 0.1, "{short} {long}");
        assert!(kb("CP", "50", clients) > 2.0 * kb("CP", "10", clients));
        assert!(kb("CP", "50", clients) > 5.0 * long);
    }
    for row in rows(&out.join("table2.csv")) {
        assert!(number(&row, "trip_ms") > 0.0, "{row:?}");
        if row["method"] == "ELP" {
            assert_eq!(number(&row, "received_percent"), 100.0, "{row:?}");
        }
    }
    for row in rows(&out.join("runs-polling.csv")).iter().filter(|row| row["method"] == "ELP") {
        assert_eq!((number(row, "lost"), number(row, "duplicated")), (0.0, 0.0), "{row:?}");
    }
}

fn check_crowds(out: &Path) {
    let crowds = rows(&out.join("figures9-11.csv"));
    assert_eq!(crowds.len(), 2 * 2);
    let nodes = rows(&out.join("figures12-13.csv"));
    let counts: Vec<f64> = nodes.iter().map(|row| number(row, "nodes")).collect();
    assert_eq!(counts, [1.0, 1.0, 2.0, 2.0]);
    for row in crowds.iter().chain(&nodes) {
        assert_eq!(number(row, "held"), number(row, "connections"), "{row:?}");
        assert!(number(row, "pss_bytes") > 100_000.0 && number(row, "trip_ms") > 0.0, "{row:?}");
        if row["method"] == "ELP" {
            assert_eq!(number(row, "received_percent"), 100.0, "{row:?}");
        } else {
            assert!(number(row, "threads") >= number(row, "connections"), "{row:?}");
        }
    }
}

#[test]
fn an_interrupted_evaluation_leaves_a_report_too() {
    let server = pushup();
    let out = Directory::new("interrupted");
    let path = out.0.to_str().expect("text");
    let server = server.to_str().expect("text");
    let mut child = command(&["--smoke", "--repeats", "100", "--out", path, "--server-path", server])
        .spawn()
        .expect("it starts");
    // Two experiments are over when the third begins.
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let third = said.find(|line| line.as_ref().is_ok_and(|line| line.contains(" 3/")));
    assert!(third.is_some(), "it ended before its third experiment");
    sys::terminate(child.id()).expect("it is ours");
    // What it still says must not fill the pipe.
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    let output = finish(child);
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    let html = fs::read_to_string(out.0.join("report.html")).expect("a report");
    assert!(html.contains("This run was interrupted"));
    assert_eq!(rows(&out.0.join("runs-polling.csv")).len(), 2);
}

#[test]
fn what_cannot_be_run_is_one_line_and_status_2() {
    for (args, says) in [
        (&["--nodes", "1,17"][..], "from 1 to 16"),
        (&["--only", "fig99"], "fig99"),
        (&["--wrong"], "--wrong"),
    ] {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{args:?}: {stderr}");
    }
    let output = run(&["--server-path", "/nowhere/pushup"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("/nowhere/pushup"));
    let plan = run(&["--full", "--plan"]);
    assert!(plan.status.success() && text(&plan.stdout).contains("at the paper's own pace"));
}
