//! A use case in Rust: the primes of a range. It is a program for a back-end's directory, or a back-end of its own.
//!
//!     cargo build --release --example sieve
//!     target/release/examples/sieve --join 127.0.0.1:8084
//!     target/release/examples/sieve --spec | curl -T - http://127.0.0.1:8081/usecases/sieve

use std::sync::Arc;

use pushup::handler::{self, Failure, Records, Task, UseCase};
use pushup::node::worker;
use serde_json::{Value as Json, json};

struct Sieve;

impl UseCase for Sieve {
    fn spec(&self) -> Json {
        let number = json!({"type": "int", "min": 0, "max": 100_000_000, "required": true});
        json!({
            "name": "sieve",
            "url": "/v1/sieve",
            "params": {"from": number, "to": number},
            "split": {"kind": "range", "over": ["from", "to"], "unit": 20_000},
            "handler": {"program": "sieve"},
        })
    }

    fn handle(&self, task: &Task, records: &mut Records) -> Result<(), Failure> {
        let (from, to) = (task.int("from")?, task.int("to")?);
        for number in from.max(2)..to {
            let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
            if divisors.all(|divisor| number % divisor != 0) {
                records.write(&json!({"prime": number}))?;
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => handler::run(&Sieve)?,
        ["--spec"] => println!("{}", Sieve.spec()),
        ["--join", front_end] => {
            let options = worker::Options { join: vec![front_end.to_owned()], ..Default::default() };
            worker::run(options, vec![Arc::new(Sieve)])?;
        }
        _ => return Err("usage: sieve [--spec | --join HOST:PORT]".into()),
    }
    Ok(())
}
