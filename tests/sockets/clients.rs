//! Other people's clients: what stands in `tests/clients`, each against a node of its own.
//!
//! A client that is not installed is passed over with a line that says so, but not where
//! `CI` or `REQUIRE_CLIENTS` is set: there it fails.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::node::Node;
use crate::process::{Running, bare_command};
use crate::temp::TempDir;

/// A client that takes longer than this has failed.
const CLIENT_PATIENCE: Duration = Duration::from_secs(90);

/// Whether one of these programs can be run; which.
pub fn find_program(names: &[&'static str]) -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if let Some(found) = names.iter().find(is_there) {
        return Some(found);
    }
    let required = ["CI", "REQUIRE_CLIENTS"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!required, "{} is not installed", names[0]);
    // Not by eprintln, which only shows when a test fails.
    let _ = writeln!(std::io::stderr(), "note: {} is not installed; its test is passed over", names[0]);
    None
}

/// A file of `tests/clients`.
pub fn client_file(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub fn expect_success(mut running: Running) {
    let output = running.end_within(CLIENT_PATIENCE);
    let (stdout, stderr) = (running.stdout(), running.stderr());
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.ends_with("ok\n"), "it did not come to its end:\n{stdout}\n{stderr}");
}

/// Runs a client with the node's two addresses as its arguments.
fn run_client(program: &'static str, script: &str) {
    let Some(program) = find_program(&[program]) else { return };
    let node = Node::start(&[]);
    let mut command: Command = bare_command(program);
    command.arg(client_file(script));
    command.args([format!("http://{}", node.public), format!("http://{}", node.publisher)]);
    expect_success(Running::spawn(&mut command));
}

#[test]
fn python() {
    run_client("python3", "http_client.py");
}

#[test]
fn curl() {
    if find_program(&["curl"]).is_some() {
        run_client("bash", "curl.sh");
    }
}

#[test]
fn node_fetch() {
    run_client("node", "node_fetch.mjs");
}

#[test]
fn browser() {
    let Some(chromium) = find_program(&["chromium", "chromium-browser", "google-chrome"]) else { return };
    let Some(python) = find_program(&["python3"]) else { return };
    let dir = TempDir::new();
    let key = dir.write("key", "a key of at least thirty-two bytes");
    let mut command = bare_command(python);
    command.arg(client_file("browser.py")).args([chromium, &key]).arg(dir.path()).stdin(Stdio::piped());
    // It serves the page first and says where, so that the node can be told whom to allow.
    let mut running = Running::spawn(&mut command);
    let origin = running.wait_stdout("the page's origin", |text| text.ends_with('\n'));
    let node = Node::start(&["--cors-origin", origin.trim(), "--subscribe-key-file", &key]);
    let mut stdin = running.stdin();
    writeln!(stdin, "http://{} http://{}", node.public, node.publisher).unwrap();
    drop(stdin);
    expect_success(running);
}
