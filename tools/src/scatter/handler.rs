//! The handler in Rust: a sub-task is a line of JSON on standard input, its records go to descriptor 3.
//!
//! It refuses to know who started it. Invariant: a sub-task ends with `end` or `error`, and records are
//! whole lines.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clouds::Finder;
use super::fetch::Fetcher;
use crate::Fallible;

/// Bytes of records that are written together.
const ENOUGH: usize = 32 * 1024;

/// The data side takes no longer than this for one sub-task.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Serves sub-tasks until standard input ends.
pub fn serve(source: SocketAddr) -> Fallible<()> {
    let (sender, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str::<Value>(&line) else { continue };
            if sender.send(order).is_err() {
                break;
            }
        }
    });
    // The pipe once more, under a descriptor of our own.
    let records = File::options().write(true).open("/proc/self/fd/3")?;
    let mut handler =
        Handler { source, orders, next: VecDeque::new(), records, finder: Finder::default(), asking: None };
    while let Some(run) = handler.take() {
        handler.serve(&run)?;
    }
    Ok(())
}

struct Handler {
    source: SocketAddr,
    orders: Receiver<Value>,
    /// Sub-tasks that came during another.
    next: VecDeque<Value>,
    records: File,
    finder: Finder,
    /// The connection to the data side, if the last request left it in order.
    asking: Option<Fetcher>,
}

impl Handler {
    /// Waits for the next sub-task; none if there will be no more.
    fn take(&mut self) -> Option<Value> {
        loop {
            if let Some(run) = self.next.pop_front() {
                return Some(run);
            }
            let mut order = self.orders.recv().ok()?;
            match order["run"].take() {
                Value::Null => {} // A cancel of what is over already.
                run => return Some(run),
            }
        }
    }

    fn serve(&mut self, run: &Value) -> Fallible<()> {
        let id = &run["id"];
        let control = match self.records(run) {
            Ok(count) => json!({ "end": { "id": id, "records": count } }),
            Err(error) => {
                self.asking = None;
                json!({ "error": { "id": id, "message": error.to_string() } })
            }
        };
        self.records.write_all(format!("\x1e{control}\n").as_bytes())?;
        Ok(())
    }

    /// Sends the records of a sub-task; how many.
    fn records(&mut self, run: &Value) -> Fallible<u64> {
        let params = &run["params"];
        let text = |name: &str| params[name].as_str().ok_or_else(|| format!("{name} is missing"));
        let number = |name: &str| params[name].as_i64().ok_or_else(|| format!("{name} is missing"));
        let (channel, threshold) = (usize::try_from(number("channel")?)?, number("threshold")?);
        let mut target = String::new();
        write!(target, "/documents?from={}&to={}&limit={}", text("from")?, text("to")?, number("limit")?)?;
        let deadline = Instant::now() + PATIENCE;
        let mut asking = match self.asking.take() {
            Some(asking) => asking,
            None => Fetcher::connect(self.source, deadline, None)?,
        };
        asking.set_deadline(deadline);
        let head = asking.ask("GET", &target, "", b"")?;
        if head.status != 200 {
            return Err(format!("the data side says {}", head.status).into());
        }
        let (mut input, mut out, mut count) = (Vec::new(), String::new(), 0);
        while asking.next(&mut input)? {
            let mut begin = 0;
            while let Some(length) = memchr::memchr(b'\n', &input[begin..]) {
                self.finder.record(&input[begin..begin + length], channel, threshold, &mut out)?;
                begin += length + 1;
                count += 1;
            }
            input.drain(..begin);
            // Each write wakes the back-end: some records at a time.
            if out.len() >= ENOUGH {
                self.records.write_all(out.as_bytes())?;
                out.clear();
            }
            self.check_cancelled(&run["id"])?;
        }
        if !input.is_empty() {
            return Err("the data side broke off".into());
        }
        self.records.write_all(out.as_bytes())?;
        self.asking = Some(asking);
        Ok(count)
    }

    fn check_cancelled(&mut self, id: &Value) -> Fallible<()> {
        while let Ok(mut order) = self.orders.try_recv() {
            if order["cancel"]["id"] == *id {
                return Err("cancelled".into());
            }
            if !order["run"].is_null() {
                self.next.push_back(order["run"].take());
            }
        }
        Ok(())
    }
}
