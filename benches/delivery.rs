//! The server against a bare epoll loop, in one go: `cargo bench --bench delivery`.
//!
//! What it owns: the order of the measurements. Each one starts a server as a child
//! process, drives it over loopback from this process, and reads the child's CPU time
//! and memory from /proc. The yardstick is this same program started again as `--bare`:
//! a loop that receives and sends the same bytes and understands none of them, so that
//! the ratio of the two is the price of everything the server does besides system calls.
//!
//! Invariant: a figure is printed only if every poll got every message exactly once;
//! a lost, doubled or malformed answer ends the program with status 1.

#[path = "delivery/bare.rs"]
mod bare;
#[path = "delivery/check.rs"]
mod check;
#[path = "delivery/child.rs"]
mod child;
#[path = "delivery/fleet.rs"]
mod fleet;
#[path = "delivery/flood.rs"]
mod flood;
#[path = "delivery/footprint.rs"]
mod footprint;
#[path = "delivery/http.rs"]
mod http;
#[path = "delivery/machine.rs"]
mod machine;
#[path = "delivery/options.rs"]
mod options;
#[path = "delivery/process.rs"]
mod process;
#[path = "delivery/publisher.rs"]
mod publisher;
#[path = "delivery/report.rs"]
mod report;
#[path = "delivery/scenarios.rs"]
mod scenarios;
#[path = "delivery/shape.rs"]
mod shape;
#[path = "delivery/sys.rs"]
mod sys;

use std::error::Error;
use std::process::ExitCode;

use child::Stage;
use machine::Machine;
use options::{Command, Part, Plan};
use report::Report;
use shape::Spread;

/// What can fail here fails with a line for a person; nothing is handled by kind.
type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let ended = match options::parse() {
        Ok(Command::Bare(job)) => bare::serve(&job),
        Ok(Command::Measure(plan)) => measure(plan),
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Err(error) => {
            eprintln!("delivery: {error}");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("delivery: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(mut plan: Plan) -> Fallible<()> {
    fit_descriptors(&mut plan)?;
    let machine = Machine::look();
    if plan.pin {
        sys::pin(sys::CLIENT_CPU)?;
    }
    println!("{}", machine.line());
    println!("{}", plan.line());

    let stage = Stage::new(&plan)?;
    let mut report = Report::default();
    if plan.wants(Part::Delivery) {
        scenarios::delivery(&stage, &plan, Spread::OneChannel, &mut report)?;
        scenarios::delivery(&stage, &plan, Spread::ChannelEach, &mut report)?;
    }
    if plan.wants(Part::Latency) {
        scenarios::latency(&stage, &plan, &mut report)?;
    }
    if plan.wants(Part::Publish) {
        flood::publish(&stage, &plan, &mut report)?;
    }
    if plan.wants(Part::Memory) {
        footprint::memory(&stage, &plan, Spread::OneChannel, &mut report)?;
        footprint::memory(&stage, &plan, Spread::ChannelEach, &mut report)?;
    }
    if plan.wants(Part::Idle) {
        footprint::idle(&stage, &mut report)?;
    }
    report.finish(&plan, &machine)
}

/// Reduces the number of polls to what this process's descriptors allow, and says so.
fn fit_descriptors(plan: &mut Plan) -> Fallible<()> {
    let most = sys::raise_descriptor_limit()?;
    let polls_max = most.saturating_sub(options::DESCRIPTORS_SPARE).max(1);
    if plan.polls > polls_max {
        println!("note: {most} descriptors per process, so {polls_max} polls instead of {}", plan.polls);
        plan.polls = polls_max;
    }
    Ok(())
}
