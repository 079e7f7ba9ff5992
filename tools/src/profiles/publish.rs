//! Publications to nobody: as many as go, or at a rate.

use std::time::{Duration, Instant};

use super::stage::{OpenLoop, Stage};
use crate::Fallible;
use crate::engine::Supply;

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    let plan = stage.plan;
    // One to each channel, so that connections and channels are there.
    stage.publish_to_all();
    stage.until("warming up", Instant::now() + plan.drain, |tally| tally.unpublished() == 0)?;
    stage.settle();
    stage.engine.begin_measuring();

    let mark = stage.mark();
    let begin = Instant::now();
    let end = begin + plan.duration;
    if plan.rate > 0.0 {
        let every = Duration::from_secs_f64(1.0 / plan.rate);
        stage.publish_until("publishing", begin, end, OpenLoop { channels: plan.channels, every })?;
    } else {
        stage.engine.supply(Some(Supply {
            channels: 0..plan.channels,
            publications: u64::MAX,
            outstanding_max: (plan.publishers * plan.pipeline) as u64,
            body_bytes: plan.body_bytes,
        }));
        stage.until("publishing", end, |_| false)?;
    }
    let by_clock = stage.since(&mark);
    stage.conclude()?;
    let spent = stage.since(&mark);

    let (tally, report) = (stage.engine.tally(), &mut stage.report);
    report.add("published", "publications", spent.published, "");
    report.add("publications_per_s", "publications a second", by_clock.published / by_clock.seconds, "/s");
    if let Some(us) = spent.server_us {
        let rate = spent.published / (us / 1e6);
        report.add("publications_per_cpu_s", "publications per second of server CPU", rate, "/s");
    }
    report.add_latencies(
        "publish",
        "publish to its answer",
        &tally.publish_latency,
        &[50.0, 99.0, 99.9, 100.0],
    );
    stage.add_cpu(&spent, spent.published, "publication");
    Ok(())
}
