//! A long time with messages: whether the server's memory grows, and whether anything is lost.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stage::{OpenLoop, Stage};
use crate::Fallible;
use crate::process::Memory;

/// Looks at the memory that are kept; of a longer run, every second one is dropped again and again.
const SAMPLES_MAX: usize = 10_000;

/// A slope over less says little.
const LONG: Duration = Duration::from_secs(600);

/// Looks at the memory, by the time since the beginning.
#[derive(Default)]
struct Samples(Vec<(f64, Memory)>);

impl Samples {
    fn push(&mut self, at_s: f64, memory: Memory) {
        self.0.push((at_s, memory));
        if self.0.len() > SAMPLES_MAX {
            let mut odd = false;
            self.0.retain(|_| {
                odd = !odd;
                odd
            });
        }
    }

    /// Bytes an hour over the later half; the earlier one is for warming up.
    fn slope(&self, of: fn(&Memory) -> u64) -> f64 {
        let later: Vec<_> =
            self.0[self.0.len() / 2..].iter().map(|(at_s, memory)| (*at_s, of(memory) as f64)).collect();
        slope(&later) * 3_600.0
    }
}

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    let plan = stage.plan;
    stage.connect(plan.connections)?;
    let mark = stage.mark();
    let begin = Instant::now();
    let end = begin + plan.duration;
    let open_loop = OpenLoop { channels: plan.channels, every: plan.interval / plan.channels };
    let mut samples = Samples::default();
    let mut next = begin;
    while next < end && !stage.engine.is_stopped() {
        if let Some(memory) = stage.subject.memory() {
            samples.push(begin.elapsed().as_secs_f64(), memory);
        }
        let until = (next + plan.sample).min(end);
        publish_slice(stage, begin, next, until, open_loop)?;
        next = until;
    }
    stage.conclude()?;
    let spent = stage.since(&mark);
    tell(stage, &samples, spent.seconds);
    if plan.duration < LONG {
        stage.remark("a slope over a few minutes says little: run it for hours".to_owned());
    }
    stage.add_cpu(&spent, spent.deliveries, "delivery and re-poll");
    Ok(())
}

/// Publishes what falls into a slice of the whole time, on the one beat that began with it.
fn publish_slice(
    stage: &mut Stage<'_>,
    begin: Instant,
    from: Instant,
    until: Instant,
    open_loop: OpenLoop,
) -> Fallible<()> {
    let (gone_ns, every_ns) = (from.saturating_duration_since(begin).as_nanos(), open_loop.every.as_nanos());
    let beats_ns = gone_ns.div_ceil(every_ns.max(1)) * every_ns;
    let first = begin + Duration::from_nanos(u64::try_from(beats_ns).unwrap_or(u64::MAX));
    stage.publish_until("soaking", first, until, open_loop)
}

fn tell(stage: &mut Stage<'_>, samples: &Samples, seconds: f64) {
    let (tally, report) = (stage.engine.tally(), &mut stage.report);
    report.add("seconds", "time", seconds, "s");
    report.add("published", "messages published", tally.published as f64, "");
    report.add("deliveries", "deliveries", tally.deliveries as f64, "");
    report.add("time_outs", "polls that timed out and were sent again", tally.empty_answers as f64, "");
    report.add_latencies("delivery", "publish to answer", &tally.latency, &[50.0, 99.0, 100.0]);
    if let (Some((_, first)), Some((_, last))) = (samples.0.first(), samples.0.last()) {
        report.add("rss_first_bytes", "server memory at the beginning, RSS", first.rss as f64, "B");
        report.add("rss_last_bytes", "server memory at the end, RSS", last.rss as f64, "B");
        let slope = samples.slope(|memory| memory.rss);
        report.add("rss_slope_bytes_per_h", "slope of RSS over the later half, an hour", slope, "B");
        let slope = samples.slope(|memory| memory.private_dirty);
        report.add(
            "dirty_slope_bytes_per_h",
            "slope of Private_Dirty over the later half, an hour",
            slope,
            "B",
        );
        let list = samples
            .0
            .iter()
            .map(|(at_s, memory)| json!([at_s, memory.rss, memory.pss, memory.private_dirty]));
        let list: Vec<_> = list.collect();
        report.distributions.push(("memory_s_rss_pss_dirty".to_owned(), json!(list)));
    }
}

/// The slope of the straight line that fits best (least squares).
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let line: Vec<_> = (0..100).map(|x| (f64::from(x), 3.0 * f64::from(x) + 7.0)).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        let noisy: Vec<_> =
            line.iter().enumerate().map(|(i, (x, y))| (*x, y + f64::from(i as u32 % 2))).collect();
        assert!((slope(&noisy) - 3.0).abs() < 0.01);
        assert!(slope(&[(1.0, 1.0)]).is_nan() && slope(&[]).is_nan());
    }

    #[test]
    fn only_the_later_half_counts_and_samples_are_bounded() {
        let memory = |rss| Memory { rss, ..Memory::default() };
        let mut samples = Samples::default();
        for second in 0..100u64 {
            // It grows fast at first, then by ten bytes a second.
            samples
                .push(second as f64, memory(if second < 50 { second * 1_000 } else { 50_000 + second * 10 }));
        }
        assert!((samples.slope(|memory| memory.rss) - 36_000.0).abs() < 1.0);
        for second in 0..3 * SAMPLES_MAX {
            samples.push(second as f64, memory(0));
            assert!(samples.0.len() <= SAMPLES_MAX);
        }
    }
}
