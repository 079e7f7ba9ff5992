//! How small the server is: user-space memory per held poll, idle, and on disk.

use crate::Fallible;
use crate::child::{Stage, is_static};
use crate::fleet::Fleet;
use crate::options::Plan;
use crate::process::{self, Memory};
use crate::report::{Figure, Number, Report, Series, Target, decimals, whole};
use crate::shape::{Shape, Spread};

/// A channel that no measured poll is on.
const WARM_CHANNEL: usize = 99_999;
const MEGABYTE: f64 = 1_000_000.0;

/// User-space memory that a held poll costs: when first held, and after an answer.
pub fn memory(stage: &Stage, plan: &Plan, spread: Spread, report: &mut Report) -> Fallible<()> {
    let server = stage.pushup()?;
    let mut fleet =
        Fleet::connect(&server, Shape { polls: 1, first_channel: WARM_CHANNEL, ..Shape::of(plan, spread) })?;
    // One poll and its answer touch the code and the buffers that all polls share.
    fleet.round(0)?;
    drop(fleet);
    server.settle()?;
    let before = process::memory(server.pid)?;
    let mut fleet = Fleet::connect(&server, Shape::of(plan, spread))?;
    let held = process::memory(server.pid)?;
    fleet.round(0)?;
    server.settle()?;
    let again = process::memory(server.pid)?;
    fleet.finish()?;

    let polls = plan.polls as f64;
    let each = |now: Memory| (now.pss as f64 - before.pss as f64) / polls;
    let target = if spread == Spread::OneChannel { Target::AtMost(128.0) } else { Target::None };
    let name = format!("memory per held poll, {} on {}, bytes of Pss", whole(polls), spread.words());
    report.add(single(name, each(held), target, whole));
    let name = match spread {
        Spread::OneChannel => "…and held again after one message to all".to_owned(),
        Spread::ChannelEach => "…and held again after a message to each, cached".to_owned(),
    };
    report.add(single(name, each(again), target, whole));
    report.remark(format!(
        "Memory, polls on {}: before, held and after a message Pss {}, private dirty {}, RSS {} kB.",
        spread.words(),
        three([before.pss, held.pss, again.pss]),
        three([before.private_dirty, held.private_dirty, again.private_dirty]),
        three([before.rss, held.rss, again.rss]),
    ));
    Ok(())
}

/// What the server needs before anybody comes.
pub fn idle(stage: &Stage, report: &mut Report) -> Fallible<()> {
    let server = stage.pushup()?;
    server.settle()?;
    let memory = process::memory(server.pid)?;
    let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
    report.add(single("idle RSS, MB".to_owned(), megabytes(memory.rss), Target::AtMost(1.5), decimals));
    report.add(single("idle Pss, MB".to_owned(), megabytes(memory.pss), Target::None, decimals));
    let binary = stage.binary();
    let bytes = std::fs::metadata(binary)?.len();
    let linked = if is_static(binary)? { "static" } else { "needs a loader" };
    report.add(single(format!("binary ({linked}), MB"), megabytes(bytes), Target::AtMost(1.6), decimals));
    report.remark(format!("Binary: {}, {bytes} bytes, {linked}.", binary.display()));
    Ok(())
}

fn single(name: String, value: f64, target: Target, number: Number) -> Figure {
    Figure { name, pushup: Series(vec![value]), bare: Series::default(), target, number }
}

fn three(bytes: [u64; 3]) -> String {
    bytes.map(|bytes| whole(bytes as f64 / 1024.0)).join(", ")
}
