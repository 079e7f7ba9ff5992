//! `pushup ctl`: a command for a controller, and what became of it.
//!
//! It asks, and then looks until what it asked for is so: the controller itself never makes anybody wait.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Terminal, one_line};
use crate::error::StartError;
use crate::limits::{CLIENT_CONNECT_MS_MAX, CONTROL_BYTES_MAX, CTL_WAIT_S, SUPERVISOR_STEP_MS};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// What runs.
    Status,
    /// That a group or a component run.
    Start(String),
    /// That it not run.
    Stop(String),
    /// The same, once it has done what is under way.
    Drain(String),
    /// How many a group has.
    Scale(String, u64),
    /// How front-ends choose back-ends.
    Scheduler(String),
}

/// What `pushup ctl` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The controller's socket.
    pub control: PathBuf,
    /// It prints JSON.
    pub json: bool,
    /// It does not look whether what it asked for is so.
    pub no_wait: bool,
    /// The command.
    pub order: Order,
}

/// A connection to a controller.
struct Control(BufReader<UnixStream>);

impl Control {
    fn connect(options: &Options) -> Result<Control, StartError> {
        let path = options.control.display();
        let cannot = |why: std::io::Error| {
            let why = StartError::Run(format!("cannot reach {path}: {why}; is `pushup supervise` running?"));
            Err(why)
        };
        let patience = Some(Duration::from_millis(CLIENT_CONNECT_MS_MAX));
        let stream = UnixStream::connect(&options.control).and_then(|stream| {
            stream.set_read_timeout(patience)?;
            stream.set_write_timeout(patience)?;
            Ok(stream)
        });
        stream.map_or_else(cannot, |stream| Ok(Control(BufReader::new(stream))))
    }

    fn ask(&mut self, command: &Json) -> Result<Json, StartError> {
        let failed = |why: String| StartError::Run(format!("no answer from the controller: {why}"));
        let sent = self.0.get_mut().write_all(format!("{command}\n").as_bytes());
        sent.map_err(|why| failed(why.to_string()))?;
        let mut line = String::new();
        let read = (&mut self.0).take(CONTROL_BYTES_MAX as u64).read_line(&mut line);
        read.map_err(|why| failed(why.to_string()))?;
        let answer: Json = serde_json::from_str(&line).map_err(|_| failed("it is cut off".to_owned()))?;
        match answer.get("error").and_then(Json::as_str) {
            Some(why) => Err(StartError::Run(one_line(why))),
            None => Ok(answer),
        }
    }
}

/// Gives the command, waits until it has been done, prints what then is. An error if that is not what was asked for.
pub fn run(options: &Options, terminal: &mut Terminal<'_>) -> Result<(), StartError> {
    let mut control = Control::connect(options)?;
    let command = match &options.order {
        Order::Status => json!({"command": "status"}),
        Order::Start(name) => json!({"command": "start", "name": name}),
        Order::Stop(name) => json!({"command": "stop", "name": name}),
        Order::Drain(name) => json!({"command": "drain", "name": name}),
        Order::Scale(name, count) => json!({"command": "scale", "name": name, "count": count}),
        Order::Scheduler(policy) => json!({"command": "scheduler", "policy": policy}),
    };
    let answer = control.ask(&command)?;
    if options.order == Order::Status {
        print(&answer, options, terminal)?;
        return judge(&answer, |one| !is_right(one));
    }
    let names: Vec<&str> =
        answer["names"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    if options.no_wait {
        return Ok(());
    }
    let is_meant = |one: &Json| one["name"].as_str().is_some_and(|name| names.contains(&name));
    let mut steps = CTL_WAIT_S * 1000 / SUPERVISOR_STEP_MS;
    let status = loop {
        let status = control.ask(&json!({"command": "status"}))?;
        let is_open = |one: &&Json| is_meant(one) && !is_done(one, &options.order);
        let is_hopeless = |one: &Json| one["state"] == "failing";
        let is_over = components(&status).filter(is_open).all(is_hopeless);
        if steps == 0 || is_over {
            break status;
        }
        steps -= 1;
        (terminal.pause)(Duration::from_millis(SUPERVISOR_STEP_MS));
    };
    print(&status, options, terminal)?;
    judge(&status, |one| is_meant(one) && !is_done(one, &options.order))
}

fn components(status: &Json) -> impl Iterator<Item = &Json> {
    status["components"].as_array().into_iter().flatten()
}

/// Whether a component does what it is to do.
fn is_right(one: &Json) -> bool {
    match one["wanted"].as_str() {
        Some("up") => one["state"] == "running",
        Some("gone") => false,
        _ => one["state"] == one["wanted"],
    }
}

fn is_done(one: &Json, order: &Order) -> bool {
    match order {
        Order::Scheduler(policy) => one["scheduler"] == **policy || one["wanted"] != "up",
        // What has just been started may be about to fail.
        _ => is_right(one) && (one["wanted"] != "up" || one["up_s"].as_u64() > Some(0)),
    }
}

/// An error that names those that are wrong.
fn judge(status: &Json, is_wrong: impl Fn(&Json) -> bool) -> Result<(), StartError> {
    let wrong = components(status).filter(|one| is_wrong(one));
    let names: Vec<String> = wrong.filter_map(|one| one["name"].as_str().map(one_line)).collect();
    match names.len() {
        0 => Ok(()),
        1 => Err(StartError::Run(format!("{} is not as it should be", names.concat()))),
        _ => Err(StartError::Run(format!("these are not as they should be: {}", names.join(", ")))),
    }
}

fn print(status: &Json, options: &Options, terminal: &mut Terminal<'_>) -> Result<(), StartError> {
    let text = if options.json { format!("{status}\n") } else { table(status) };
    match terminal.out.write_all(text.as_bytes()).and_then(|()| terminal.out.flush()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(StartError::Run(format!("cannot write output: {why}")))
        }
        _ => Ok(()),
    }
}

/// The components, aligned, for a person.
fn table(status: &Json) -> String {
    const HEAD: [&str; 6] = ["NAME", "STATE", "PID", "UP", "RESTARTS", "MACHINE"];
    let shown =
        |value: &Json| value.as_str().map_or_else(|| value.to_string(), one_line).replace("null", "-");
    let mut rows: Vec<(Vec<String>, String)> = vec![(HEAD.map(String::from).into(), "NOTE".into())];
    for one in components(status) {
        let mut state = shown(&one["state"]);
        if !is_right(one) && one["wanted"] == "gone" {
            state += " (gone)";
        }
        let up = one["up_s"].as_u64().map_or("-".to_owned(), duration);
        let row = vec![
            shown(&one["name"]),
            state,
            shown(&one["pid"]),
            up,
            shown(&one["restarts"]),
            shown(&one["machine"]),
        ];
        let note = [("scheduler", "chooses by"), ("last_end", "last ended with")]
            .map(|(member, what)| one[member].as_str().map(|text| format!("{what} {}", one_line(text))));
        rows.push((row, note.into_iter().flatten().collect::<Vec<_>>().join("; ")));
    }
    let width = |column: usize| rows.iter().filter_map(|(row, _)| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (row, note) in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", (line + note).trim_end());
    }
    for agent in status["agents"].as_array().into_iter().flatten() {
        let is_there = agent["connected"] == true;
        let at = if is_there { "connected from" } else { "lost; last seen at" };
        let _ = writeln!(text, "agent {}: {at} {}", shown(&agent["name"]), shown(&agent["address"]));
    }
    text
}

/// The two largest units of a time.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_a_table() {
        let status = json!({
            "components": [
                {"name": "front.1", "state": "running", "wanted": "up", "pid": 12, "up_s": 3_661, "restarts": 0,
                 "machine": null, "scheduler": "p2c", "last_end": null},
                {"name": "work.1", "state": "failing", "wanted": "up", "pid": null, "up_s": null, "restarts": 7,
                 "machine": "b", "scheduler": null, "last_end": "exit status: 1\n"},
            ],
            "agents": [{"name": "b", "address": "10.0.0.2:5", "connected": true}],
        });
        let expected = "\
NAME     STATE    PID  UP    RESTARTS  MACHINE  NOTE
front.1  running  12   1h1m  0         -        chooses by p2c
work.1   failing  -    -     7         b        last ended with exit status: 1 
agent b: connected from 10.0.0.2:5
";
        assert_eq!(table(&status), expected.replace("1 \n", "1\n"));
        assert!(
            matches!(judge(&status, |one| !is_right(one)), Err(StartError::Run(why)) if why.starts_with("work.1 is"))
        );
        assert_eq!([59, 60, 86_399, 90_000].map(duration), ["59s", "1m0s", "23h59m", "1d1h"]);
    }
}
