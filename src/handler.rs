//! Handlers in Rust: a use case as a trait (Node Scala §IV), and the protocol of descriptor 3 around it.
//!
//! A program in a back-end's `--programs` directory calls [`run`]; a back-end that is itself such a program gives its
//! use cases to [`crate::node::worker::run`], which runs them in threads of its own, without processes.
//!
//! ```no_run
//! use pushup::handler::{Failure, Records, Task, UseCase};
//! use serde_json::{Value as Json, json};
//!
//! struct Squares;
//!
//! impl UseCase for Squares {
//!     fn spec(&self) -> Json {
//!         json!({"name": "squares", "url": "/v1/squares",
//!                "params": {"from": {"type": "int", "default": 0}, "to": {"type": "int", "required": true}},
//!                "split": {"kind": "range", "over": ["from", "to"], "unit": 1000},
//!                "handler": {"program": "squares"}})
//!     }
//!
//!     fn handle(&self, task: &Task, records: &mut Records) -> Result<(), Failure> {
//!         for number in task.int("from")?..task.int("to")? {
//!             records.write(&json!({"square": number * number}))?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! pushup::handler::run(&Squares).unwrap();
//! ```

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufWriter, Write};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use crate::limits::{CHUNK_MS, RECORD_BYTES_MAX, SPAWN_BYTES_MAX};

/// What sub-tasks are told, by the names in the definition's `params`.
pub type Params = Map<String, Json>;

/// A heavy request: what it is, how it is divided, and what is done for each part.
///
/// Everything but [`handle`](UseCase::handle) must depend on its arguments alone, and an ordered use case's records,
/// too: a sub-task that was lost with its back-end is run again, and what differs ends the request.
pub trait UseCase: Send + Sync {
    /// The definition, as it is put at a node; `handler.program` is the name that back-ends have it by.
    fn spec(&self) -> Json;

    /// The sub-tasks of a request, where the definition's `split` is `{"kind": "handler"}`; none for one that is not
    /// worth dividing, which is then handled whole.
    fn split(&self, _params: &Params) -> Result<Vec<Params>, Failure> {
        Ok(Vec::new())
    }

    /// Runs a sub-task.
    fn handle(&self, task: &Task, records: &mut Records) -> Result<(), Failure>;

    /// Sub-tasks that depend on this one, which is done; their results come behind its own.
    fn next(&self, _task: &Task) -> Vec<Params> {
        Vec::new()
    }
}

/// A sub-task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What it is called in the back-end's log.
    pub id: String,
    /// The use case's name.
    pub usecase: String,
    /// Its number in the request, from 0.
    pub number: u64,
    /// How many there are, as far as that is known.
    pub of: u64,
    /// 1, or more if it was tried before.
    pub attempt: u64,
    /// What the request says, narrowed to this part of it.
    pub params: Params,
    /// How long the request may still take.
    pub time_left: Duration,
}

impl Task {
    fn parse(json: &Json) -> Option<Task> {
        let number = |name: &str| json.get(name).and_then(Json::as_u64);
        let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(Task {
            id: text("id")?,
            usecase: text("usecase")?,
            number: number("task")?,
            of: number("of")?,
            attempt: number("attempt")?,
            params: json.get("params")?.as_object()?.clone(),
            time_left: Duration::from_millis(number("deadline_ms")?),
        })
    }

    /// A parameter of type `int`.
    pub fn int(&self, name: &str) -> Result<i64, Failure> {
        self.params.get(name).and_then(Json::as_i64).ok_or_else(|| missing(name, "a whole number"))
    }

    /// One of type `text` or `date`.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.params.get(name).and_then(Json::as_str).ok_or_else(|| missing(name, "a text"))
    }
}

fn missing(name: &str, what: &str) -> Failure {
    Failure::Task(format!("the parameter {name:?} is not {what}"))
}

/// Why a sub-task is not done.
#[derive(Debug)]
pub enum Failure {
    /// The request is wrong; its client is told this (400).
    Request(String),
    /// It may be tried again, elsewhere.
    Task(String),
    /// Nobody takes the records any more.
    Records(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Records(error)
    }
}

/// Where a sub-task's records go. Writing waits while the client does not take what was written.
pub struct Records<'a> {
    out: BufWriter<&'a mut dyn Write>,
    count: u64,
    /// When what is in the buffer was last sent.
    flushed: Instant,
}

impl<'a> Records<'a> {
    fn new(out: &'a mut dyn Write) -> Records<'a> {
        Records { out: BufWriter::with_capacity(64 * 1024, out), count: 0, flushed: Instant::now() }
    }

    /// Writes a record as JSON.
    pub fn write(&mut self, record: &Json) -> io::Result<()> {
        self.write_line(record.to_string().as_bytes())
    }

    /// Writes a record: one line, without its end. It may not begin with the byte 1E.
    pub fn write_line(&mut self, record: &[u8]) -> io::Result<()> {
        if record.len() >= RECORD_BYTES_MAX || record.first() == Some(&0x1e) || record.contains(&b'\n') {
            let why = format!(
                "a record is a line of less than {RECORD_BYTES_MAX} bytes that does not begin with 1E"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.out.write_all(record)?;
        self.out.write_all(b"\n")?;
        self.count += 1;
        if self.flushed.elapsed() >= Duration::from_millis(CHUNK_MS) {
            self.flush()?;
        }
        Ok(())
    }

    /// Says that the sub-task is still at work: one that says nothing for half a minute is thought to hang.
    pub fn progress(&mut self) -> io::Result<()> {
        self.control(&json!({"progress": {}}))?;
        self.flush()
    }

    fn control(&mut self, json: &Json) -> io::Result<()> {
        writeln!(self.out, "\x1e{json}")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        self.out.flush()
    }
}

/// Handles sub-tasks that come at standard input until it ends; records go to descriptor 3.
pub fn run(case: &dyn UseCase) -> io::Result<()> {
    let mut records = OpenOptions::new().write(true).open("/proc/self/fd/3")?;
    serve(case, io::stdin().lock(), &mut records)
}

/// Handles sub-tasks that come at `input`, a line each, until it ends.
pub fn serve(case: &dyn UseCase, input: impl BufRead, output: &mut dyn Write) -> io::Result<()> {
    let divides = case.spec().pointer("/split/kind").and_then(Json::as_str) == Some("handler");
    let mut records = Records::new(output);
    records.control(&json!({"ready": {}}))?;
    records.flush()?;
    for line in input.lines() {
        let json: Json = serde_json::from_str(&line?)?;
        // What is cancelled is over, or the next record finds nobody.
        let Some(run) = json.get("run") else { continue };
        let Some(task) = Task::parse(run) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a sub-task is not understood"));
        };
        records.count = 0;
        let end = match attempt(case, &task, divides && task.number == 0, &mut records) {
            Ok(()) => json!({"end": {"id": task.id, "records": records.count}}),
            Err(Failure::Records(error)) => return Err(error),
            Err(Failure::Request(why)) => json!({"error": {"id": task.id, "message": why, "request": true}}),
            Err(Failure::Task(why)) => json!({"error": {"id": task.id, "message": why}}),
        };
        records.control(&end)?;
        records.flush()?;
    }
    Ok(())
}

fn attempt(case: &dyn UseCase, task: &Task, divides: bool, records: &mut Records) -> Result<(), Failure> {
    let parts = if divides { case.split(&task.params)? } else { Vec::new() };
    if !parts.is_empty() {
        return spawn(parts, records);
    }
    case.handle(task, records)?;
    spawn(case.next(task), records)
}

/// Asks for more sub-tasks, some at a time: a line of them may be so long and no longer.
fn spawn(tasks: Vec<Params>, records: &mut Records) -> Result<(), Failure> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    for task in tasks {
        let task = Json::Object(task).to_string();
        bytes += task.len() + 1;
        if bytes > SPAWN_BYTES_MAX / 2 && !some.is_empty() {
            spawn_some(&mut some, records)?;
            bytes = task.len() + 1;
        }
        some.push(task);
    }
    spawn_some(&mut some, records)
}

fn spawn_some(some: &mut Vec<String>, records: &mut Records) -> Result<(), Failure> {
    if !some.is_empty() {
        writeln!(records.out, "\x1e{{\"spawn\":{{\"tasks\":[{}]}}}}", some.join(","))?;
        some.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
