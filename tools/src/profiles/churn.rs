//! Clients that connect, poll and leave at a rate, while others stay and are served.
//!
//! Invariant: visitors poll channels on which nothing is published, so that whatever happens to
//! those who stay is the visitors' doing.

use std::time::{Duration, Instant};

use super::stage::{OpenLoop, Stage};
use crate::Fallible;
use crate::engine::Habit;

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    let plan = stage.plan;
    stage.connect(plan.connections)?;
    let user = stage.subject.memory();
    stage.engine.begin_measuring();
    let before = stage.engine.tally().connects;
    let mark = stage.mark();

    let begin = Instant::now() + Duration::from_millis(10);
    invite(stage, begin)?;
    let every = plan.interval / plan.channels;
    let open_loop = OpenLoop { channels: plan.channels, every };
    stage.publish_until("churning", begin, begin + plan.duration, open_loop)?;
    let spent = stage.since(&mark);
    let tally = stage.engine.tally();
    let (visits, connects, late) = (tally.visits, tally.connects - before, tally.visits_late);
    let latency = tally.connect_latency.clone();
    stage.conclude()?;

    let report = &mut stage.report;
    report.add("visits", "visits", visits as f64, "");
    report.add("visits_per_s", "visits a second", visits as f64 / spent.seconds, "/s");
    report.add("connects_per_s", "connections a second", connects as f64 / spent.seconds, "/s");
    report.add("visits_late", "visits that began late", late as f64, "");
    report.add_latencies("connect", "connecting", &latency, &[50.0, 99.0]);
    let delivery = stage.engine.tally().latency.clone();
    report.add_latencies("delivery", "publish to answer of those who stay", &delivery, &[50.0, 99.0]);
    stage.add_cpu(&spent, connects as f64, "visit");
    if let (Some(before), Some(now)) = (user, stage.subject.memory()) {
        let grown = now.private_dirty as f64 - before.private_dirty as f64;
        stage.report.add("grown_bytes", "memory that the server has grown by, Private_Dirty", grown, "B");
    }
    Ok(())
}

/// Adds the visitors, evenly in time.
fn invite(stage: &mut Stage<'_>, begin: Instant) -> Fallible<()> {
    let plan = stage.plan;
    if plan.rate <= 0.0 {
        return Err("--rate 0: nobody comes".into());
    }
    let visitors = plan.visitors();
    let every = Duration::from_secs_f64(visitors as f64 / plan.rate);
    for number in 0..visitors {
        let start = begin + Duration::from_secs_f64(number as f64 / plan.rate);
        let mut visitor = stage.poller(number, start);
        visitor.channel += plan.channels;
        visitor.habit = Habit::Visit { every, stay: plan.stay };
        stage.engine.add(visitor)?;
    }
    Ok(())
}
