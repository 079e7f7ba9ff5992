//! `pushup pub` and `pushup sub`, end to end.

use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::PATIENCE;
use crate::node::{Launch, Node, fixed_addresses};
use crate::process::{Running, pushup, run};

fn sub(node: &Node, arguments: &[&str]) -> Command {
    let mut command = pushup();
    command.args(["sub", "--server", &node.public.to_string()]).args(arguments);
    command
}

fn publish(node: &Node, arguments: &[&str]) -> Command {
    let mut command = pushup();
    command.args(["pub", "--server", &format!("http://{}", node.publisher)]).args(arguments);
    command
}

/// Starts a subscriber and waits until its poll is held.
fn listen(node: &Node, arguments: &[&str]) -> Running {
    let held = node.figure("held_polls");
    let running = Running::spawn(&mut sub(node, arguments));
    node.wait_figure("held_polls", held + 1);
    running
}

#[test]
fn what_one_terminal_publishes_another_prints() {
    let node = Node::start(&[]);
    let mut listener = listen(&node, &["--count", "3", "news"]);
    let first = run(&mut publish(&node, &["news", "hello, world"]));
    assert!(first.status.success(), "{first:?}");
    assert_eq!(String::from_utf8_lossy(&first.stdout).lines().count(), 1, "{first:?}");
    let mut lines = Running::spawn(publish(&node, &["news"]).stdin(Stdio::piped()));
    lines.stdin().write_all(b"second\nthird\n").unwrap();
    let ids = lines.end_within(PATIENCE);
    assert!(ids.status.success(), "{ids:?}");
    assert_eq!(String::from_utf8_lossy(&ids.stdout).lines().count(), 2, "{ids:?}");
    let heard = listener.end_within(PATIENCE);
    assert!(heard.status.success(), "{heard:?}");
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "hello, world\nsecond\nthird\n");
    assert_eq!(String::from_utf8_lossy(&heard.stderr), "");
}

#[test]
fn json_shows_messages_whole() {
    let node = Node::start(&[]);
    let mut listener = listen(&node, &["--count", "1", "--json", "a", "b"]);
    assert!(run(&mut publish(&node, &["--json", "b", r#"{"n": 1}"#])).status.success());
    let heard = listener.end_within(PATIENCE);
    let message: Value = serde_json::from_slice(&heard.stdout).unwrap();
    assert_eq!((&message["data"]["n"], &message["channels"][0]), (&1.into(), &"b".into()));
    assert_eq!(heard.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn a_subscriber_outlives_a_node_that_was_killed() {
    let (public, publisher) = fixed_addresses();
    let first = Launch::default().at(public, publisher).start();
    let mut listener = listen(&first, &["--count", "3", "news"]);
    first.publish("news", "before");
    listener.wait_stdout("the first message", |text| text == "before\n");
    first.running.signal(Signal::KILL);
    listener.wait_stderr("connection lost");
    drop(first);
    let second = Launch::default().at(public, publisher).start();
    listener.wait_stderr("reading starts anew");
    second.publish("news", "after");
    second.publish("news", "the end");
    let heard = listener.end_within(PATIENCE);
    assert!(heard.status.success(), "{heard:?}");
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "before\nafter\nthe end\n");
    let notices = String::from_utf8_lossy(&heard.stderr).into_owned();
    assert!(notices.contains("connection regained"), "{notices}");
    assert_eq!(notices.lines().count(), 3, "each notice is told once: {notices}");
}

#[test]
fn a_subscriber_follows_a_node_that_drains() {
    let (public, publisher) = fixed_addresses();
    let first = Launch::new(&["--drain-time", "1"]).at(public, publisher).start();
    let mut listener = listen(&first, &["--count", "1", "--quiet", "news"]);
    assert!(first.stop().status.success());
    let second = Launch::default().at(public, publisher).start();
    second.wait_figure("held_polls", 1);
    second.publish("news", "here again");
    let heard = listener.end_within(PATIENCE);
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "here again\n");
    assert_eq!(String::from_utf8_lossy(&heard.stderr), "");
}

#[test]
fn a_closed_channel_ends_its_subscriber() {
    let node = Node::start(&[]);
    let mut listener = listen(&node, &["room"]);
    assert_eq!(node.publisher().delete("/channels/room").status, 204);
    let heard = listener.end_within(PATIENCE);
    assert!(heard.status.success(), "{heard:?}");
    assert!(String::from_utf8_lossy(&heard.stderr).contains("\"room\" was closed"), "{heard:?}");
}

#[test]
fn a_subscriber_whose_reader_has_enough_ends_quietly() {
    let node = Node::start(&[]);
    for number in 0..50 {
        node.publish("news", &format!("message {number}"));
    }
    let since = "exec \"$0\" sub --server \"$1\" --since 0 news | head -n 1";
    let mut shell = crate::process::bare_command("sh");
    shell.args(["-c", since, env!("CARGO_BIN_EXE_pushup"), &node.public.to_string()]);
    let mut running = Running::spawn(&mut shell);
    running.wait_stdout("the first message", |text| text == "message 0\n");
    // The next message finds nobody reading; that is the end, without a word.
    node.wait_figure("held_polls", 1);
    node.publish("news", "one more");
    let ended = running.end_within(PATIENCE);
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn a_refusal_is_one_line_and_an_exit_code() {
    let dir = crate::temp::TempDir::new();
    let node = Launch::new(&["--publish-token-file", &dir.write("token", "s3cret")]).start();
    let refused = run(&mut publish(&node, &["news", "x"]));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let line = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(line.lines().count() == 1 && line.contains("401"), "{line}");
    let token = dir.write("mine", "s3cret\n");
    assert!(run(&mut publish(&node, &["--token-file", &token, "news", "x"])).status.success());
}

#[test]
fn nobody_there_is_told_as_such() {
    let (nowhere, _) = fixed_addresses();
    let ended = run(pushup().args(["pub", "--server", &nowhere.to_string(), "news", "x"]));
    assert_eq!(ended.status.code(), Some(1));
    let line = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(line.contains("is `pushup serve` running?"), "{line}");
}
