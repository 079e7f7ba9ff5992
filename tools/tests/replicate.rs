//! `pushup-load replicate` as its users see it: a small cluster, the table, the figures for a program.

mod server;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pushup::cursor::{ClusterTag, Cursor, VersionVector};
use pushup::ids::Origin;
use pushup_tools::replicate::cursor_characters;
use server::pushup;

/// The smallest run takes a few seconds; on a crowded machine some more.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a command says and how it ends; it is killed if it does not end in time.
fn replicate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushup-load"));
    command.arg("replicate").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
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
fn a_quick_run_measures_everything_and_loses_nothing() {
    let server = pushup().to_str().expect("text");
    let json = std::env::temp_dir().join(format!("pushup-replicate-{}.json", std::process::id()));
    let path = json.to_str().expect("text");
    let output = replicate(&["--quick", "--nodes", "3", "--server-path", server, "--json", path]);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{told}");
    assert!(said.contains("| 3 nodes") && said.contains("Load average"), "{said}");

    let written = fs::read(&json).expect("the figures are in the file");
    fs::remove_file(&json).expect("it is ours");
    let value: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    let figures = value["figures"].as_array().expect("a list");
    let of = |id: &str| {
        let figure = figures.iter().find(|figure| figure["id"] == id);
        figure
            .and_then(|figure| figure["values"]["median"].as_f64())
            .unwrap_or_else(|| panic!("no {id}: {said}"))
    };
    for rate in [500, 2_000] {
        assert_eq!(of(&format!("Entries({rate})")), 1.1 * f64::from(rate));
        assert!(of(&format!("Received({rate})")) > 50.0, "{said}");
        assert!(of(&format!("Delay({rate}, Other, P50)")) > 0.0, "{said}");
    }
    assert!(of("Most") > 1_000.0 && of("CpuOther") > 0.0, "{said}");
    // The message, its channel's name and what the frame says of both.
    assert!((of("BodyBytes")..of("BodyBytes") + 300.0).contains(&of("LinkBytes")), "{said}");
    assert!(of("CatchUpRate") > 0.1 && of("PeakTaker") > 4e6, "{said}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_one_line() {
    for words in [&["--nonsense"][..], &["--nodes", "1"], &["--server-path", "/nowhere"]] {
        let output = replicate(words);
        let told = text(&output.stderr);
        assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{words:?}: {told}");
    }
}

#[test]
fn a_server_that_does_not_start_ends_with_1() {
    let output = replicate(&["--quick", "--server-path", "/bin/false"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("delay: the server did not get ready"), "{told}");
}

#[test]
fn cursors_are_as_long_as_the_server_writes_them() {
    for origins in [1, 2, 4, 64] {
        for entry in [1, 127, 128, 1_000_000, (1 << 49) - 1, u64::MAX] {
            let mut seen = VersionVector::default();
            for origin in 1..=origins as u64 {
                seen.set(Origin(u64::MAX - origin), entry);
            }
            let text = Cursor { tag: ClusterTag(7), seen }.to_text();
            assert_eq!(text.len(), cursor_characters(origins, entry), "{origins} {entry}");
        }
    }
}
