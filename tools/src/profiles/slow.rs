//! Some pollers read slowly or not at all: whether those who read promptly are delayed.
//!
//! Invariant: both halves have the same prompt pollers and the same messages; the second half
//! has slow ones besides, on the same channels.

use std::time::{Duration, Instant};

use super::stage::{OpenLoop, Stage};
use crate::Fallible;
use crate::engine::{Latencies, Reading};
use crate::process::Memory;

/// The server's memory is looked at so often.
const SAMPLE: Duration = Duration::from_millis(250);

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    let slow = (stage.plan.connections as f64 * stage.plan.slow_share).round().max(1.0) as usize;
    let prompt = stage.plan.connections.saturating_sub(slow).max(1);
    stage.connect(prompt)?;
    let (without, _) = half(stage, "without slow readers")?;
    stage.renew()?;

    stage.connect(prompt)?;
    add_slow(stage, slow)?;
    let (with, most) = half(stage, "with slow readers")?;
    let before_drain = stage.engine.tally().clone();
    stage.conclude()?;

    let report = &mut stage.report;
    report.add("prompt", "pollers that read promptly", prompt as f64, "");
    report.add("slow", "pollers that do not", slow as f64, "");
    let percentiles = [50.0, 99.0, 100.0];
    report.add_latencies("without", "publish to answer without slow ones", &without, &percentiles);
    report.add_latencies("with", "publish to answer with them", &with, &percentiles);
    for percentile in [50.0, 99.0] {
        let us = |latencies: &Latencies| latencies.value_at_percentile(percentile) as f64;
        let name = format!("…of that without them, p{percentile}");
        report.add(&format!("ratio_p{percentile}"), &name, us(&with) / us(&without), "times");
    }
    let others = before_drain.deliveries - before_drain.received;
    report.add("slow_deliveries", "messages that slow ones got", others as f64, "");
    report.add("cut", "slow ones that the server cut", before_drain.cut_by_server as f64, "");
    if let Some(most) = most {
        report.add("memory_most_bytes", "server memory meanwhile at most, RSS", most.rss as f64, "B");
    }
    Ok(())
}

fn add_slow(stage: &mut Stage<'_>, slow: usize) -> Fallible<()> {
    let connected = stage.engine.tally().connected + slow as u64;
    for number in 0..slow {
        let mut poller = stage.poller(number, Instant::now());
        poller.reading = match number % 2 {
            0 => Reading::Never,
            _ => Reading::Slowly { bytes_per_s: stage.plan.slow_rate },
        };
        stage.engine.add(poller)?;
    }
    let end = Instant::now() + stage.plan.drain;
    stage.until("connecting slow readers", end, |tally| tally.connected >= connected)?;
    stage.settle();
    Ok(())
}

/// Publishes for half of the time; the prompt ones' latencies, and the server's memory at most.
fn half(stage: &mut Stage<'_>, phase: &str) -> Fallible<(Latencies, Option<Memory>)> {
    let plan = stage.plan;
    let open_loop = OpenLoop { channels: plan.channels, every: plan.interval / plan.channels };
    let mut begin = Instant::now() + Duration::from_millis(10);
    let end = begin + plan.duration / 2;
    let mut most = stage.subject.memory();
    while begin < end && !stage.engine.is_stopped() {
        // Whole intervals, so that the beat is kept.
        let beats = (SAMPLE.as_secs_f64() / open_loop.every.as_secs_f64()).ceil().max(1.0);
        let until = begin + open_loop.every.mul_f64(beats);
        stage.publish_until(phase, begin, until.min(end), open_loop)?;
        begin = until;
        most = most.max_by_rss(stage.subject.memory());
    }
    let complete = Instant::now() + plan.drain;
    stage.until(phase, complete, |tally| tally.is_complete())?;
    Ok((stage.engine.tally().latency.clone(), most))
}

trait MostMemory {
    fn max_by_rss(self, other: Self) -> Self;
}

impl MostMemory for Option<Memory> {
    fn max_by_rss(self, other: Self) -> Self {
        self.into_iter().chain(other).max_by_key(|memory| memory.rss)
    }
}
