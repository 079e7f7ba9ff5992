//! All connections are lost at once and come back at once, while messages are published.
//!
//! Invariant: what is published while nobody is connected must reach everybody all the same.

use std::time::{Duration, Instant};

use super::stage::{OpenLoop, Stage};
use crate::Fallible;
use crate::series::Series;

/// All must be back after so long, and for each this much more.
const BACK_MAX: Duration = Duration::from_secs(30);
const BACK_MAX_EACH: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Storms {
    polled_s: Series,
    served_s: Series,
}

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    let plan = stage.plan;
    stage.connect(plan.connections)?;
    stage.engine.begin_measuring();
    let mark = stage.mark();
    let calm = plan.duration / (plan.storms + 1);
    let mut storms = Storms::default();
    for _ in 0..plan.storms {
        publish_for(stage, calm)?;
        if stage.engine.is_stopped() {
            break;
        }
        storm(stage, &mut storms)?;
    }
    publish_for(stage, calm)?;
    stage.conclude()?;
    let spent = stage.since(&mark);

    let tally = stage.engine.tally();
    let (published, deliveries, reconnects) = (tally.published, tally.deliveries, tally.reconnects);
    let latency = tally.connect_latency.clone();
    let report = &mut stage.report;
    report.add("reconnects", "connections that came back", reconnects as f64, "");
    let each = plan.connections as f64;
    report.add("polled_s", "until all had polled again, median of the storms", storms.polled_s.median(), "s");
    report.add("polled_max_s", "until all had polled again, slowest", storms.polled_s.range().1, "s");
    let rate = each / storms.polled_s.median();
    report.add("reconnects_per_s", "connections a second meanwhile", rate, "/s");
    report.add(
        "served_s",
        "until all had what they missed, median of the storms",
        storms.served_s.median(),
        "s",
    );
    report.add("served_max_s", "until all had what they missed, slowest", storms.served_s.range().1, "s");
    report.add_latencies("connect", "connecting", &latency, &[50.0, 99.0, 100.0]);
    report.add("published", "messages published", published as f64, "");
    report.add("deliveries", "deliveries", deliveries as f64, "");
    stage.add_cpu(&spent, spent.deliveries.max(1.0), "delivery, reconnections included");
    Ok(())
}

fn open_loop(stage: &Stage<'_>) -> OpenLoop {
    OpenLoop { channels: stage.plan.channels, every: stage.plan.interval / stage.plan.channels }
}

fn publish_for(stage: &mut Stage<'_>, time: Duration) -> Fallible<()> {
    let begin = Instant::now();
    let open_loop = open_loop(stage);
    stage.publish_until("calm", begin, begin + time, open_loop)
}

/// Drops all, and waits until every poll is there again and has what was published meanwhile.
fn storm(stage: &mut Stage<'_>, storms: &mut Storms) -> Fallible<()> {
    let polls = stage.plan.connections as u64;
    let begun = Instant::now();
    stage.engine.drop_all(begun);
    // On every channel there is something that everybody has missed.
    stage.publish_to_all();
    let end = begun + BACK_MAX + BACK_MAX_EACH * polls as u32;
    let connects = stage.engine.tally().connects;
    let mut polled = None;
    stage.until("storm", end, |tally| {
        if polled.is_none() && tally.connects >= connects + polls {
            polled = Some(begun.elapsed());
        }
        polled.is_some() && tally.is_complete() && tally.held >= polls
    })?;
    let tally = stage.engine.tally();
    let over = polled.is_some() && tally.is_complete() && tally.held >= polls;
    if over {
        storms.served_s.0.push(begun.elapsed().as_secs_f64());
    } else if !stage.engine.is_stopped() {
        let (held, outstanding) = (tally.held, tally.outstanding());
        stage.remark(format!("a storm was not over in time: {held} held, {outstanding} messages to come"));
    }
    storms.polled_s.0.extend(polled.map(|time| time.as_secs_f64()));
    Ok(())
}
