//! What the files promise, as far as it can be read from them.

use std::fs;
use std::time::Duration;

use pushup::config::{Config, FILE_VARIABLE, Row, TABLE};
use pushup::limits::IDLE_MS_MAX;

use crate::balancer::{Mode, find_haproxy};
use crate::process::{bare_command, run};
use crate::temp::TempDir;

/// What HAProxy needs beside the connections, measured: about 50.
const DESCRIPTORS_OWN: u64 = 100;
/// The descriptor limit that the files are made for.
const DESCRIPTORS: u64 = 20_000;
/// A connection that nobody uses is kept by HAProxy for up to two such rounds (pool-purge-delay).
const POOL_PURGE: Duration = Duration::from_secs(5);

/// The file's lines without comments, and in which section each stands.
fn lines(mode: Mode) -> Vec<(String, String)> {
    let text = fs::read_to_string(mode.file()).unwrap();
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')) {
        if line.starts_with(|first: char| first.is_ascii_lowercase()) {
            section = line.trim().to_string();
        }
        found.push((section.clone(), line.trim().to_string()));
    }
    found
}

/// What stands behind `name` in a section; none if it does not stand there.
fn value(mode: Mode, section: &str, name: &str) -> Option<String> {
    let prefix = format!("{name} ");
    let mut found = lines(mode).into_iter().filter(|line| line.0 == section);
    found.find_map(|line| line.1.strip_prefix(&prefix).map(str::to_string))
}

/// A number of seconds, like `75s`.
fn seconds(mode: Mode, section: &str, name: &str) -> u64 {
    let text = value(mode, section, name).unwrap_or_else(|| panic!("{mode:?} {section}: no {name}"));
    text.strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
fn haproxy_accepts_the_files_without_a_warning() {
    let Some(haproxy) = find_haproxy() else { return };
    let all = (1..=8).map(|number| (format!("NODE{number}"), format!("127.0.0.1:{}", 18_080 + number)));
    for (mode, env) in [Mode::Tcp, Mode::Http].into_iter().flat_map(|mode| {
        [(mode, Vec::new()), (mode, all.clone().collect()), (mode, all.clone().take(1).collect())]
    }) {
        let mut command = bare_command(haproxy.to_str().unwrap());
        let output = run(command.arg("-c").arg("-f").arg(mode.file()).envs(env.clone()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{mode:?} {env:?}: {said}");
    }
}

#[test]
fn no_time_out_is_shorter_than_the_longest_poll() {
    let longest_s = Config::default().poll_timeout_s_max;
    for (mode, section, name) in [
        (Mode::Tcp, "defaults", "timeout client"),
        (Mode::Tcp, "defaults", "timeout server"),
        (Mode::Tcp, "global", "hard-stop-after"),
        (Mode::Http, "backend pushup", "timeout server"),
        (Mode::Http, "global", "hard-stop-after"),
    ] {
        let s = seconds(mode, section, name);
        assert!(s >= longest_s + 10, "{mode:?} {section}: {name} is {s} s, a poll {longest_s} s");
    }
    // The old process of a reload still has the connections that its own time-outs allow.
    for (mode, section) in [(Mode::Tcp, "defaults"), (Mode::Http, "backend pushup")] {
        assert!(
            seconds(mode, "global", "hard-stop-after") > seconds(mode, section, "timeout server"),
            "{mode:?}"
        );
    }
}

#[test]
fn haproxy_gives_up_an_idle_connection_before_a_node_does() {
    assert!(Duration::from_millis(IDLE_MS_MAX) > 2 * POOL_PURGE);
}

#[test]
fn the_descriptors_are_enough() {
    for mode in [Mode::Tcp, Mode::Http] {
        let connections: u64 = value(mode, "global", "presetenv MAXCONN").unwrap().parse().unwrap();
        assert!(2 * connections + DESCRIPTORS_OWN <= DESCRIPTORS, "{mode:?}: {connections}");
    }
}

#[test]
fn the_statistics_are_not_shown_to_the_world() {
    for mode in [Mode::Tcp, Mode::Http] {
        assert!(value(mode, "global", "presetenv STATS").unwrap().starts_with("127.0.0.1:"), "{mode:?}");
    }
}

#[test]
fn the_option_that_works_only_in_the_defaults_stands_there() {
    assert!(lines(Mode::Http).contains(&("defaults".into(), "option abortonclose".into())));
}

/// The active lines of the unit file with this name, like `Environment`.
fn unit_lines(name: &str) -> Vec<String> {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/systemd/pushup.service");
    let text = fs::read_to_string(unit).unwrap();
    let prefix = format!("{name}=");
    text.lines().filter_map(|line| line.strip_prefix(&prefix).map(str::to_string)).collect()
}

#[test]
fn the_unit_file_names_settings_that_exist_and_gives_time_to_drain() {
    let known: Vec<String> = TABLE.iter().map(Row::variable).chain([FILE_VARIABLE.to_string()]).collect();
    let variables = unit_lines("Environment");
    assert!(!variables.is_empty());
    for variable in variables {
        let name = variable.split('=').next().unwrap();
        assert!(known.iter().any(|known| known == name), "{name}");
    }
    let stop_s: u64 = unit_lines("TimeoutStopSec")[0].parse().unwrap();
    assert!(stop_s >= Config::default().drain_s + 10);
}

#[test]
fn systemd_accepts_the_unit_file() {
    let Ok(exists) = std::process::Command::new("systemd-analyze").arg("--version").output() else { return };
    assert!(exists.status.success());
    let dir = TempDir::new();
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/systemd/pushup.service");
    // The program has to be there for it.
    let text =
        fs::read_to_string(unit).unwrap().replace("/usr/local/bin/pushup", env!("CARGO_BIN_EXE_pushup"));
    let unit = dir.write("pushup.service", &text);
    let output = run(bare_command("systemd-analyze").args(["verify", "--man=no", &unit]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("pushup.service"), "{said}");
}
