//! `pushup map`: the lines of a file, at a person's terminal.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::process::{pushup, run};
use crate::temp::TempDir;

/// A program that turns lines round, at a pace of its own; "fail" ends it, once for each file beside it.
const TURN: &str = r#"#!/usr/bin/env python3
import json, os, sys, random
with os.fdopen(3, "w") as records:
    for line in sys.stdin:
        run = json.loads(line)["run"]
        first = run["params"]["first"]
        for number, text in enumerate(run["params"]["lines"], first):
            if text == "fail" and run["attempt"] == 1:
                sys.exit("it fails once")
            if text == "never":
                sys.exit("it fails again and again")
            records.write(f"{number}:{text[::-1]}\n")
        records.write("\x1e" + json.dumps({"end": {"id": run["id"]}}) + "\n")
        records.flush()
"#;

fn program(dir: &TempDir) -> String {
    let path = dir.write("turn.py", TURN);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn map(args: &[&str]) -> Command {
    let mut command = pushup();
    command.arg("map").args(args);
    command
}

#[test]
fn lines_are_handled_in_their_order() {
    let dir = TempDir::new();
    let program = program(&dir);
    let lines: Vec<String> =
        (1..=5_000).map(|n| if n == 77 { "fail".into() } else { format!("line {n}") }).collect();
    let file = dir.write("lines", &(lines.join("\n") + "\n"));
    let turned =
        |(at, line): (usize, &String)| format!("{}:{}\n", at + 1, line.chars().rev().collect::<String>());
    let expected: Vec<String> = lines.iter().enumerate().map(turned).collect();
    for batch in ["1000", "7"] {
        let output = run(&mut map(&[
            "--program",
            &program,
            "--split",
            "lines",
            "--batch",
            batch,
            "--slots",
            "3",
            &file,
        ]));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.concat());
    }
    let output = run(&mut map(&["--program", &program, "--unordered", "--batch", "10", &file]));
    let mut sorted: Vec<String> =
        String::from_utf8(output.stdout).unwrap().split_inclusive('\n').map(str::to_owned).collect();
    sorted.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(sorted, expected);
    let empty = dir.write("empty", "");
    let output = run(&mut map(&["--program", &program, &empty]));
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn what_goes_wrong_is_told() {
    let dir = TempDir::new();
    let program = program(&dir);
    let never = dir.write("never", "a\nnever\n");
    let binary = dir.file("binary");
    std::fs::write(&binary, b"a\n\xff\n").unwrap();
    let binary = binary.to_str().unwrap();
    let lines = dir.write("lines", "a\n");
    for (args, code, told) in [
        (vec!["--program", &program, &never], 1, "failed 3 times"),
        (vec!["--program", &program, "--retries", "0", &never], 1, "failed 1 times"),
        (vec!["--program", &program, "--batch", "1", binary], 1, "line 2 is not UTF-8"),
        (vec!["--program", &program, "/nonexistent"], 1, "/nonexistent: No such file"),
        (vec!["--program", "/nonexistent", &lines], 2, "--program /nonexistent: No such file"),
        (vec!["--program", &program], 2, "the FILE is missing"),
        (vec![&lines], 2, "--program FILE is missing"),
        (vec!["--program", &program, "--split", "bytes", &lines], 2, "--split must be \"lines\""),
        (vec!["--program", &program, &lines, &lines], 2, "unexpected argument"),
        // Not a program at all.
        (vec!["--program", &lines, &lines], 1, "it cannot be started"),
    ] {
        let output = run(&mut map(&args));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.lines().last().unwrap_or_default().contains(told), "{args:?}: {stderr}");
    }
}
