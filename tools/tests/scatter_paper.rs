//! The whole of `pushup-scatter-paper` at a small size: all contenders, the report, an interruption.

mod server;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pushup_tools::sys;
use serde_json::Value;
use server::pushup;

/// The whole quick run takes no longer than this, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);

/// One evaluation at a time: each has more processes than there are processors.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    // A test that failed with it has left nothing half done.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("pushup-scatter-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("it can be made");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs with a temporary directory of its own, so that what is left there can be seen.
fn command(args: &[&str], temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushup-scatter-paper"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("TMPDIR", temporary);
    command
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

/// Processes that have the directory in their command line.
fn processes(of: &Path) -> Vec<String> {
    let of = of.to_str().expect("text");
    let all = fs::read_dir("/proc").expect("it is there").flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| text(&line).replace('\0', " ")).filter(|line| line.contains(of)).collect()
}

/// Control groups of a process's, whether or not they can be made here.
fn groups(pid: u32) -> Vec<PathBuf> {
    let roots = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];
    let places = roots.map(|root| Path::new(root).join(format!("pushup-scatter-{pid}")));
    places.into_iter().filter(|place| place.exists()).collect()
}

/// Nothing is left of a run: a process that was just killed may take a moment to go.
fn check_gone(pid: u32, temporary: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (left, groups) = (processes(temporary), groups(pid));
        if left.is_empty() && groups.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?} {groups:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let files: Vec<_> = fs::read_dir(temporary).expect("it is ours").flatten().collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn a_quick_evaluation_leaves_a_whole_report_and_nothing_else() {
    let _alone = alone();
    let (out, temporary) = (Directory::new("report"), Directory::new("files"));
    let (path, server) = (out.0.to_str().expect("text"), pushup().to_str().expect("text"));
    let child = command(&["--quick", "--out", path, "--server-path", server], &temporary.0).spawn();
    let child = child.expect("it starts");
    let pid = child.id();
    let output = finish(child);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("38 trials, about"), "{stderr}");
    assert_eq!(stdout.lines().filter(|line| !line.starts_with(' ')).count(), 8 + 1, "{stdout}");
    check_gone(pid, &temporary.0);

    let html = fs::read_to_string(out.0.join("report.html")).expect("a report");
    for figure in ["fig4", "fig5", "fig6", "fig7"] {
        assert!(html.contains(&format!("<figure id={figure}>")), "{figure}");
    }
    assert_eq!(html.matches("<svg role").count(), 4);
    assert!(!html.contains("Nothing was measured.</p>") && !html.contains("NaN"), "a figure is empty");
    let results = fs::read(out.0.join("results.json")).expect("the numbers");
    check_results(&serde_json::from_slice(&results).expect("it is JSON"));
}

fn check_results(results: &Value) {
    assert_eq!(results["complete"], true);
    assert_eq!(results["verdicts"].as_array().map(Vec::len), Some(8));
    let trials = results["trials"].as_array().expect("trials");
    assert_eq!(trials.len(), 38);
    let systems: BTreeSet<&str> = trials.iter().filter_map(|trial| trial["system"].as_str()).collect();
    assert_eq!(systems.len(), 13, "{systems:?}");
    for trial in trials {
        let number = |name: &str| trial[name].as_f64().unwrap_or_else(|| panic!("{name}: {trial}"));
        assert!(number("first_byte_s") > 0.0 && number("first_byte_s") <= number("response_s"), "{trial}");
        assert!(number("response_s") <= number("slowest_s") && number("slowest_s") <= number("wall_s"));
        // Everybody's records of the same documents have the same length, compressed or not.
        let same = trials.iter().filter(|other| other["documents"] == trial["documents"]);
        assert!(same.into_iter().all(|other| other["plain_bytes"] == trial["plain_bytes"]), "{trial}");
        assert_eq!(trial["gzip"] == false, trial["body_bytes"] == trial["plain_bytes"], "{trial}");
        for part in trial["parts"].as_array().expect("parts") {
            assert!(part["rss_bytes"].as_f64().is_some_and(|bytes| bytes > 100_000.0), "{part}");
        }
        assert!(
            trial["parts"].as_array().expect("parts").iter().any(|part| part["cpu_s"].as_f64() > Some(0.0))
        );
    }
}

#[test]
fn an_interrupted_evaluation_leaves_a_report_and_nothing_else() {
    let _alone = alone();
    let (out, temporary) = (Directory::new("interrupted"), Directory::new("interrupted-files"));
    let (path, server) = (out.0.to_str().expect("text"), pushup().to_str().expect("text"));
    let args = ["--quick", "--only", "sizes", "--repeats", "100", "--out", path, "--server-path", server];
    let mut child = command(&args, &temporary.0).spawn().expect("it starts");
    let pid = child.id();
    // Three trials are over when the fourth begins.
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let fourth = said.find(|line| line.as_ref().is_ok_and(|line| line.contains(" 4/")));
    assert!(fourth.is_some(), "it ended before its fourth trial");
    sys::terminate(pid).expect("it is ours");
    // What it still says must not fill the pipe.
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    let output = finish(child);
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    check_gone(pid, &temporary.0);
    let html = fs::read_to_string(out.0.join("report.html")).expect("a report");
    assert!(html.contains("This run was interrupted"));
}

#[test]
fn what_cannot_be_run_is_one_line_and_status_2() {
    let temporary = Directory::new("usage");
    let run = |args: &[&str]| finish(command(args, &temporary.0).spawn().expect("it starts"));
    for (args, says) in
        [(&["--only", "fig4"][..], "fig4"), (&["--quota", "101"], "from 5 to 100"), (&["--wrong"], "--wrong")]
    {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{args:?}: {stderr}");
    }
    for args in [["--server-path", "/nowhere/pushup"], ["--node", "/nowhere/node"]] {
        let output = run(&[&args[..], &["--out", temporary.0.to_str().expect("text")]].concat());
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{args:?}");
        assert!(text(&output.stderr).contains("/nowhere/"), "{}", text(&output.stderr));
    }
    let plan = run(&["--plan"]);
    assert!(plan.status.success() && text(&plan.stdout).contains("sizes"));
}
