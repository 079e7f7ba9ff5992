//! `pushup-load compare` as its users see it: real servers, real sockets, exit statuses.

#[allow(dead_code)] // Other tests need its other faults.
mod faulty;
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use faulty::Fault;
use pushup_tools::servers::nchan::Nchan;
use server::pushup;

/// A comparison of the smallest size takes seconds; on a crowded machine some more.
const DEADLINE: Duration = Duration::from_secs(60);

fn compare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushup-load"));
    command.arg("compare").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command says and how it ends; it is killed if it does not end in time.
fn outcome(mut command: Command) -> Output {
    let mut child = command.spawn().expect("the program starts");
    // The kernel's buffers take what a small comparison says.
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
            panic!("no end after {DEADLINE:?}: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("it has ended")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_smoke_run_measures_everything_and_ends_well() {
    let server = pushup();
    let json = std::env::temp_dir().join(format!("pushup-compare-{}.json", std::process::id()));
    let mut command = compare();
    command.arg("--smoke").arg("--server-path").arg(server).arg("--json").arg(&json);
    let output = outcome(command);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{told}");
    for wanted in [
        "| figure",
        "PushUp/bare",
        "on a channel each",
        "p99.9",
        "bytes of Pss",
        "Load average",
        "program, MB",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is missing:\n{said}");
    }
    assert_eq!(said.contains("PushUp/nchan"), Nchan::find().is_some(), "{said}");
    assert_eq!(said.contains("install-peers"), Nchan::find().is_none(), "{said}");

    let written = fs::read(&json).expect("the figures are in the file");
    fs::remove_file(&json).expect("it is ours");
    let value: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    let figures = value["figures"].as_array().expect("a list");
    let names: Vec<_> = figures.iter().filter_map(|figure| figure["id"].as_str()).collect();
    for wanted in
        ["DeliveryOne", "DeliveryEach", "P99", "PublishCpu", "AcceptCpu", "AgainEach", "IdleRss", "Binary"]
    {
        assert!(names.contains(&wanted), "{wanted} is missing in {names:?}");
    }
    let delivery = figures.iter().find(|figure| figure["id"] == "DeliveryOne").expect("it is there");
    assert!(delivery["values"]["PushUp"]["median"].as_f64().is_some_and(|us| us > 0.5), "{delivery}");
    assert!(
        delivery["ratios"]["PushUp/bare"]["median"].as_f64().is_some_and(|ratio| ratio > 0.2),
        "{delivery}"
    );
}

#[test]
fn two_versions_are_compared_by_their_labels() {
    let server = pushup();
    let mut command = compare();
    command.args(["--smoke", "--only", "delivery", "--without", "nchan"]);
    for label in ["old", "new"] {
        command.arg("--server-path").arg(format!("{label}={}", server.display()));
    }
    let output = outcome(command);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(said.contains("old/bare | ") && said.contains("new/old | "), "{said}");
    assert!(!said.contains("idle RSS") && !said.contains("nchan"), "{said}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_one_line() {
    for words in [&["--nonsense"][..], &["--polls", "0"], &["--server-path", "/nowhere"]] {
        let mut command = compare();
        command.args(words);
        let output = outcome(command);
        let told = text(&output.stderr);
        assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{words:?}: {told}");
    }
}

#[test]
fn a_server_that_does_not_start_ends_with_1() {
    let mut command = compare();
    command.args(["--smoke", "--without", "nchan", "--server-path", "/bin/false"]);
    let output = outcome(command);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("PushUp, polls on one channel: the server did not get ready"), "{told}");
}

#[test]
fn an_interrupt_prints_what_was_measured() {
    let server = pushup();
    let mut command = compare();
    command.args(["--smoke", "--repeats", "1000", "--only", "idle", "--without", "nchan"]);
    let mut child = command.arg("--server-path").arg(server).spawn().expect("the program starts");
    let mut told = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut first = String::new();
    told.read_line(&mut first).expect("it says how it goes");
    assert!(first.contains("turn 1 of 1000"), "{first}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("there is kill").success());
    let mut rest = String::new();
    told.read_to_string(&mut rest).expect("it ends");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{rest}");
    assert!(text(&output.stdout).contains("idle RSS"), "{}", text(&output.stdout));
    assert!(rest.trim_end().ends_with("interrupted"), "{rest}");
}

/// A program that is started like PushUp and names the listener of somebody else.
fn stand_in(directory: &Path, server: &faulty::Server) -> PathBuf {
    let address = server.address;
    let script = format!(
        "#!/bin/sh\n\
         while [ $# -gt 0 ]; do [ \"$1\" = --ready-file ] && ready=$2; shift; done\n\
         echo '{{\"listen\":[\"{address}\"],\"publish_listen\":[\"{address}\"]}}' > \"$ready.draft\"\n\
         mv \"$ready.draft\" \"$ready\"\n\
         exec sleep 60\n"
    );
    let path = directory.join("stand-in");
    fs::write(&path, script).expect("a temporary directory takes files");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

#[test]
fn figures_count_only_if_every_message_came_once() {
    for (fault, status, wanted) in [
        (Fault::None, 0, ""),
        (Fault::Duplicate, 1, "duplicated"),
        (Fault::Misdeliver, 1, "do not belong"),
        (Fault::Babble, 1, "malformed"),
    ] {
        let directory =
            std::env::temp_dir().join(format!("pushup-stand-in-{}-{fault:?}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory can be made");
        let server = faulty::Server::start(fault);
        let mut command = compare();
        command.args(["--smoke", "--polls", "10", "--rounds", "4", "--only", "delivery-each"]);
        command.args(["--without", "nchan", "--without", "bare", "--server-path"]);
        let output = {
            command.arg(stand_in(&directory, &server));
            outcome(command)
        };
        fs::remove_dir_all(&directory).expect("it is ours");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{fault:?}: {told}");
        assert!(told.contains(wanted), "{fault:?}: {told}");
    }
}
