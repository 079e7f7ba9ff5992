//! Idle polls: what each costs in memory, and how fast they connect.
//!
//! Invariant: that all polls are held is not believed but proved, by a message to each at the end.

use std::time::Instant;

use super::stage::Stage;
use crate::Fallible;
use crate::machine::KernelMemory;
use crate::process::Memory;

pub(super) fn run(stage: &mut Stage<'_>) -> Fallible<()> {
    stage.settle();
    let (user, kernel) = (stage.subject.memory(), KernelMemory::look());
    let mark = stage.mark();
    let polls = stage.plan.connections as f64;
    let sent = stage.connect(stage.plan.connections)?;
    let spent = stage.since(&mark);
    let report = &mut stage.report;
    report.add("connect_s", "until all polls were sent", sent.as_secs_f64(), "s");
    if spent.server_us.is_some() {
        report.add("accept_s", "until the server had taken them and was at rest", spent.seconds, "s");
        report.add("accepts_per_s", "connections taken", polls / spent.seconds, "/s");
    }
    let connects = stage.engine.tally().connect_latency.clone();
    stage.report.add_latencies("connect", "connecting", &connects, &[50.0, 99.0]);
    stage.add_cpu(&spent, polls, "connection and poll");
    add_memory(stage, user, "held");
    add_kernel(stage, kernel);

    stage.until("holding", Instant::now() + stage.plan.duration, |_| false)?;
    let empty = stage.engine.tally().empty_answers;
    stage.report.add("time_outs", "polls that timed out meanwhile and were sent again", empty as f64, "");

    stage.publish_to_all();
    stage.conclude()?;
    let tally = stage.engine.tally();
    stage.report.add("proved", "polls that were held: a last message reached", tally.deliveries as f64, "");
    let latency = tally.latency.clone();
    stage.report.add_latencies("delivery", "publish to answer of that message", &latency, &[50.0, 100.0]);
    add_memory(stage, user, "held_again");
    Ok(())
}

fn add_memory(stage: &mut Stage<'_>, before: Option<Memory>, when: &str) {
    let (Some(before), Some(now)) = (before, stage.subject.memory()) else { return };
    let polls = stage.plan.connections as f64;
    let each = |now: u64, before: u64| (now as f64 - before as f64) / polls;
    let words = if when == "held" { "user memory per poll" } else { "…and held again after that message" };
    let (pss, dirty) = (each(now.pss, before.pss), each(now.private_dirty, before.private_dirty));
    stage.report.add(&format!("{when}_pss_bytes"), &format!("{words}, Pss"), pss, "B");
    stage.report.add(&format!("{when}_private_dirty_bytes"), &format!("{words}, Private_Dirty"), dirty, "B");
    if when == "held" {
        stage.report.add("idle_rss_bytes", "the server before, RSS", before.rss as f64, "B");
    }
}

fn add_kernel(stage: &mut Stage<'_>, before: KernelMemory) {
    let now = KernelMemory::look();
    let polls = stage.plan.connections as f64;
    let slab = (now.slab as f64 - before.slab as f64) / polls;
    let buffers = (now.tcp_buffers as f64 - before.tcp_buffers as f64) / polls;
    let ends =
        if stage.subject.subscribe.iter().all(|to| to.ip().is_loopback()) { "both ends" } else { "our end" };
    stage.report.add("kernel_slab_bytes", &format!("kernel objects per connection, {ends}"), slab, "B");
    stage.report.add("kernel_buffer_bytes", &format!("kernel buffers per connection, {ends}"), buffers, "B");
    let text = "kernel memory is the whole machine's, and Pss depends on who else runs the same program: \
                on a busy machine trust Private_Dirty";
    stage.remark(text.to_owned());
}
