//! One message to all at fixed times, whatever the server does: how late it arrives.

use std::time::{Duration, Instant};

use super::stage::{OpenLoop, Stage};
use crate::Fallible;
use crate::engine::Round;
use crate::series::Series;

/// The first publication comes so long after everything is at rest.
const LEAD: Duration = Duration::from_millis(20);

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    stage.connect(stage.plan.connections)?;
    let mark = stage.mark();
    let begin = Instant::now() + LEAD;
    let channels = stage.plan.channels;
    let every = stage.plan.interval / channels;
    let end = begin + stage.plan.duration;
    stage.publish_until("broadcasting", begin, end, OpenLoop { channels, every })?;
    stage.conclude()?;
    let spent = stage.since(&mark);

    let (tally, report) = (stage.engine.tally(), &mut stage.report);
    report.add("published", "messages published", tally.published as f64, "");
    report.add("deliveries", "deliveries", tally.deliveries as f64, "");
    report.add("deliveries_per_s", "deliveries a second", spent.deliveries / spent.seconds, "/s");
    let mut rounds: Vec<Round> =
        (0..channels).flat_map(|channel| stage.engine.rounds(channel).to_vec()).collect();
    // What nobody received has no latency; the loss is told at the end.
    rounds.retain(|round| round.receipts > 0);
    let ms = |of: fn(&Round) -> u32| Series(rounds.iter().map(|round| f64::from(of(round)) / 1e3).collect());
    let (first, last) = (ms(|round| round.first_us), ms(|round| round.last_us));
    report.add("first_ms", "publish to the first answer, median of the messages", first.median(), "ms");
    report.add_latencies("delivery", "publish to answer", &tally.latency, &[50.0, 99.0, 99.9]);
    report.add("last_ms", "publish to the last answer, median of the messages", last.median(), "ms");
    report.add("last_max_ms", "publish to the last answer, slowest message", last.range().1, "ms");
    report.add_latencies("publish", "publish to its own answer", &tally.publish_latency, &[50.0]);
    stage.add_cpu(&spent, spent.deliveries, "delivery and re-poll");
    Ok(())
}
