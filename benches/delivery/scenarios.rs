//! Pairs of runs, the server and the bare loop, and what they measure with held polls.
//!
//! The order within a pair alternates, so that a drift of the machine's speed
//! favours neither side.

use std::time::Duration;

use crate::Fallible;
use crate::bare::Fanout;
use crate::check::Expected;
use crate::child::{Server, Side, Stage};
use crate::fleet::Fleet;
use crate::options::Plan;
use crate::report::{Figure, Number, Report, Series, Target, decimals, whole};
use crate::shape::{Shape, Spread, Template};

/// What one run gives: a value for each of the measurement's figures, and real bytes.
pub type Run = (Vec<f64>, Template);

/// Each figure's values on both sides, one per run.
pub struct Pairs {
    pushup: Vec<Series>,
    bare: Vec<Series>,
    /// The server's bytes, as the bare loop got them.
    template: Template,
}

impl Pairs {
    /// The measurement's `index`-th figure.
    pub fn figure(&self, index: usize, name: String, target: Target, number: Number) -> Figure {
        Figure { name, pushup: self.pushup[index].clone(), bare: self.bare[index].clone(), target, number }
    }
}

/// Runs both sides in turn; each run gives the same number of figures. The server's first
/// run is thrown away: it warms the machine and yields the bytes for the bare loop.
pub fn pairs(
    plan: &Plan,
    what: &str,
    mut run: impl FnMut(Side, Option<&Template>) -> Fallible<Run>,
) -> Fallible<Pairs> {
    let (values, template) = run(Side::PushUp, None)?;
    let nothing = vec![Series::default(); values.len()];
    let mut pairs = Pairs { pushup: nothing.clone(), bare: nothing, template };
    for repeat in 0..plan.repeats {
        let order = if repeat % 2 == 0 { [Side::Bare, Side::PushUp] } else { [Side::PushUp, Side::Bare] };
        for side in order {
            let (values, _) = run(side, Some(&pairs.template))?;
            let shown = values.iter().map(|&value| decimals(value)).collect::<Vec<_>>();
            eprintln!("{what}, pair {} of {}, {side:?}: {}", repeat + 1, plan.repeats, shown.join(" "));
            let all = match side {
                Side::PushUp => &mut pairs.pushup,
                Side::Bare => &mut pairs.bare,
            };
            all.iter_mut().zip(values).for_each(|(series, value)| series.0.push(value));
        }
    }
    Ok(pairs)
}

/// Starts one side; the bare loop needs the server's bytes.
pub fn start(stage: &Stage, side: Side, fanout: Fanout, template: Option<&Template>) -> Fallible<Server> {
    match (side, template) {
        (Side::Bare, Some(template)) => stage.bare(fanout, template),
        (Side::Bare, None) => Err("the bare loop needs the server's bytes first".into()),
        (Side::PushUp, _) => stage.pushup(),
    }
}

fn fleet(
    plan: &Plan,
    server: &Server,
    side: Side,
    spread: Spread,
    template: Option<&Template>,
) -> Fallible<Fleet> {
    let shape = Shape::of(plan, spread);
    let expected = match (side, template) {
        (Side::Bare, Some(template)) => template.message()?,
        _ => Expected::Rounds,
    };
    Fleet::connect(server, Shape { expected, ..shape })
}

/// Server CPU time per answer to a held poll and the poll that follows it.
pub fn delivery(stage: &Stage, plan: &Plan, spread: Spread, report: &mut Report) -> Fallible<()> {
    let pairs = pairs(plan, spread.words(), |side, template| {
        let server = start(stage, side, spread.fanout(), template)?;
        let mut fleet = fleet(plan, &server, side, spread, template)?;
        // The first round is not measured: from it the polls have cursors.
        fleet.round(0)?;
        server.settle()?;
        let before = server.cpu()?;
        for round in 1..=plan.rounds {
            fleet.round(round)?;
            server.settle()?;
        }
        let cpu = server.cpu()?.since(before);
        fleet.finish()?;
        let deliveries = plan.polls as f64 * f64::from(plan.rounds);
        let us = cpu.ran_ns as f64 / 1000.0 / deliveries;
        let waited_percent = 100.0 * cpu.waited_ns as f64 / cpu.ran_ns as f64;
        Ok((vec![us, waited_percent], fleet.template()))
    })?;
    let polls = whole(plan.polls as f64);
    let name = format!("server CPU per delivery + re-poll, {polls} polls on {}, µs", spread.words());
    report.add(pairs.figure(0, name, Target::RatioAtMost(1.3), decimals));
    report.remark(format!(
        "Other load, polls on {}: the server waited for its processor {} % of the time that it ran, the bare loop {} %.",
        spread.words(),
        pairs.pushup[1].show(decimals),
        pairs.bare[1].show(decimals),
    ));
    let Template { answer, created, publication_bytes, poll_bytes } = &pairs.template;
    report.remark(format!(
        "Bytes on {}: answer {}, re-poll {poll_bytes}, publication {publication_bytes}, its answer {}.",
        spread.words(),
        answer.len(),
        created.len()
    ));
    Ok(())
}

/// Time from the planned moment of a publication to each poll's answer, in an open loop.
pub fn latency(stage: &Stage, plan: &Plan, report: &mut Report) -> Fallible<()> {
    let spread = Spread::OneChannel;
    let interval = Duration::from_millis(50) + Duration::from_micros(30) * plan.polls as u32;
    let pairs = pairs(plan, "latency", |side, template| {
        let server = start(stage, side, spread.fanout(), template)?;
        let mut fleet = fleet(plan, &server, side, spread, template)?;
        fleet.round(0)?;
        server.settle()?;
        fleet.open_loop(1, plan.rounds, interval)?;
        fleet.finish()?;
        Ok((quantiles_ms(&mut fleet.latencies_us[1..]), fleet.template()))
    })?;
    for (index, quantile) in ["first", "p50", "p99", "last"].iter().enumerate() {
        let name = format!("publish to {quantile} of {} answers, ms", whole(plan.polls as f64));
        report.add(pairs.figure(index, name, Target::None, decimals));
    }
    report.remark(format!("Latency: a publication every {} ms by the clock.", interval.as_millis()));
    Ok(())
}

/// First, median, 99th percentile and last of each round; of each the median over the rounds.
fn quantiles_ms(rounds: &mut [Vec<u32>]) -> Vec<f64> {
    let at = |round: &Vec<u32>, per_cent: usize| {
        let index = (round.len() * per_cent / 100).min(round.len().saturating_sub(1));
        round.get(index).map_or(f64::NAN, |&us| f64::from(us) / 1000.0)
    };
    rounds.iter_mut().for_each(|round| round.sort_unstable());
    let quantile = |per_cent| Series(rounds.iter().map(|round| at(round, per_cent)).collect()).median();
    [0, 50, 99, 100].map(quantile).to_vec()
}
