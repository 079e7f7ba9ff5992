//! Each poll on a channel of its own, as fast as it goes: publication, answer, next poll.

use std::time::Instant;

use super::stage::Stage;
use crate::Fallible;
use crate::engine::Supply;

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    stage.connect(stage.plan.connections)?;
    // A first message to each, so that every poll that is measured has a cursor.
    stage.engine.supply(Some(supply(stage, stage.plan.connections as u64)));
    let end = Instant::now() + stage.plan.drain;
    let polls = stage.plan.connections as u64;
    stage.until("warming up", end, |tally| tally.deliveries >= polls)?;
    stage.settle();

    stage.engine.begin_measuring();
    let mark = stage.mark();
    stage.engine.supply(Some(supply(stage, u64::MAX)));
    stage.until("cycling", Instant::now() + stage.plan.duration, |_| false)?;
    let by_clock = stage.since(&mark);
    stage.conclude()?;
    let spent = stage.since(&mark);

    let (tally, report) = (stage.engine.tally(), &mut stage.report);
    report.add("cycles", "cycles", spent.deliveries, "");
    report.add("cycles_per_s", "cycles a second", by_clock.deliveries / by_clock.seconds, "/s");
    report.add_latencies("delivery", "publish to answer", &tally.latency, &[50.0, 99.0, 99.9]);
    stage.add_cpu(&spent, spent.deliveries, "cycle");
    Ok(())
}

fn supply(stage: &Stage<'_>, publications: u64) -> Supply {
    Supply {
        channels: 0..stage.plan.channels,
        publications,
        outstanding_max: stage.plan.in_flight,
        body_bytes: stage.plan.body_bytes,
    }
}
