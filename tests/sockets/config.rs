//! How a node is told what to do, and how it says that it cannot.

use std::net::TcpListener;

use crate::node::{Launch, Node, run_pushup};
use crate::process::{pushup, run};
use crate::temp::TempDir;

/// Runs the program with these arguments; its exit code, and all that it printed.
fn outcome(arguments: &[&str]) -> (i32, String, String) {
    let output = run_pushup(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_command_line_is_2_and_says_what_is_meant() {
    for (arguments, part) in [
        (&["--lisen", "127.0.0.1:0"][..], "did you mean \"--listen\"?"),
        (&["serve", "--poll-timeout", "soon"], "--poll-timeout must be a whole number"),
        (&["serv"], "did you mean \"serve\"?"),
        (&["sub"], "CHANNEL is missing"),
        (&["sub", "a b"], "is not a channel"),
        (&["pub", "a", "x", "y"], "one MESSAGE only"),
        (&["-x"], "unknown flag"),
        (&["sub", "--server", "https://example.org", "a"], "TLS is not spoken here"),
    ] {
        let (code, stdout, stderr) = outcome(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(part) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_bad_configuration_is_78_and_names_its_place() {
    let dir = TempDir::new();
    let file = |content: &str| dir.write("pushup.toml", content);
    let path = file("poll-timeout = 5\npol-timeout-max = 9\n");
    let (code, _, stderr) = outcome(&["-c", &path]);
    assert!(code == 78 && stderr.contains("pushup.toml:2:"), "{code} {stderr}");
    let (code, _, stderr) = outcome(&["-c", "/nowhere/at/all", "--check-config"]);
    assert!(code == 78 && stderr.contains("cannot read"), "{code} {stderr}");
    let path = file("cache-bytes-max = \"2G\"\n");
    let (code, _, stderr) = outcome(&["-c", &path, "--check-config"]);
    assert!(code == 78 && stderr.contains("memory-bytes-max"), "{code} {stderr}");
    let wrong = run(pushup().arg("--check-config").env("PUSHUP_POLL_TIMOUT", "5"));
    let stderr = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(78));
    assert!(stderr.contains("did you mean PUSHUP_POLL_TIMEOUT?"), "{stderr}");
}

#[test]
fn a_bad_secret_is_78_before_anything_is_bound() {
    let dir = TempDir::new();
    let (empty, short) = (dir.write("empty", " \n"), dir.write("short", "too short"));
    for (flag, path) in [
        ("--publish-token-file", empty.as_str()),
        ("--subscribe-key-file", &short),
        ("--publish-token-file", "/nowhere/at/all"),
    ] {
        for check in [&["--check-config"][..], &["--listen", "127.0.0.1:0"]] {
            let (code, stdout, stderr) = outcome(&[&[flag, path], check].concat());
            assert!(code == 78 && stdout.is_empty(), "{flag} {path}: {code} {stdout}");
            assert!(stderr.contains(path) && stderr.lines().count() == 1, "{stderr}");
        }
    }
}

#[test]
fn an_address_that_is_taken_is_69() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [
        ["--listen", &address, "--publish-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--publish-listen", &address],
    ] {
        let (code, stdout, stderr) = outcome(&arguments);
        assert_eq!((code, stdout.as_str()), (69, ""), "{stderr}");
        assert!(stderr.contains(&address) && stderr.contains("cannot listen"), "{stderr}");
    }
}

#[test]
fn a_ready_file_that_cannot_be_written_is_1() {
    let (code, _, stderr) = outcome(&[
        "--listen",
        "127.0.0.1:0",
        "--publish-listen",
        "127.0.0.1:0",
        "--ready-file",
        "/nowhere/at/all",
    ]);
    assert!(code == 1 && stderr.contains("/nowhere/at/all"), "{code} {stderr}");
}

#[test]
fn help_and_version_are_0_and_go_to_stdout() {
    for (arguments, part) in [
        (&["-V"][..], concat!("pushup ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["--version"], concat!("pushup ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["-h"], "Exit codes:"),
        (&["serve", "--help"], "--poll-timeout"),
        (&["pub", "-h"], "usage: pushup pub"),
        (&["sub", "--help"], "usage: pushup sub"),
    ] {
        let (code, stdout, stderr) = outcome(arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.contains(part), "{arguments:?}: {stdout}");
    }
}

#[test]
fn checking_binds_nothing_and_says_that_all_is_well() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stdout, stderr) = outcome(&["--check-config", "--listen", &address]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "configuration ok\n", ""));
}

#[test]
fn the_flag_wins_over_the_variable_and_that_over_the_file() {
    let dir = TempDir::new();
    let file = dir.write("c.toml", "body-bytes-max = 10\npoll-timeout = 0 # at once\nexisting-only = true\n");
    let launch = Launch::new(&["-c", &file, "--existing-only=false"]);
    let node = launch.env("PUSHUP_BODY_BYTES_MAX", "20").start();
    let mut publisher = node.publisher();
    assert_eq!(publisher.post("/pub/a", &[b'x'; 20]).status, 201);
    assert_eq!(node.subscriber().get("/sub/b").status, 200);
    assert_eq!(publisher.post("/pub/a", &[b'x'; 21]).status, 413);
}

#[test]
fn a_newcomer_is_told_what_to_paste() {
    let node = Node::start(&[]);
    let text = node.running.wait_stdout("the first steps", |text| text.contains("/stats"));
    for part in
        [format!("curl http://{}/sub/news", node.public), format!("http://{}/pub/news", node.publisher)]
    {
        assert!(text.contains(&part), "{text}");
    }
    let stderr = node.running.stderr();
    assert!(stderr.lines().all(|line| line.starts_with("time=") && line.contains(" level=")), "{stderr}");
}

#[test]
fn a_publishers_door_that_is_open_to_all_is_warned_of() {
    let mut command = pushup();
    command.args(["--listen", "127.0.0.1:0", "--publish-listen", "0.0.0.0:0"]);
    let running = crate::process::Running::spawn(&mut command);
    running.wait_stderr("anyone who reaches");
}
