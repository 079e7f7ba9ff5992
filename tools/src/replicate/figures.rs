//! What is measured: a series for each figure, the table of them, and their JSON.
//!
//! What it refuses to know: how anything is measured. Invariant: the n-th values of all figures come from the
//! same round.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::options::Plan;
use crate::machine::{self, Machine};
use crate::series::{Number, Series, bytes, decimals, table, whole};

/// Where a message was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At the node that it was published at.
    Same,
    /// At another one.
    Other,
}

/// What is told of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// What half of it does not exceed.
    P50,
    /// What 99 % of it do not exceed.
    P99,
    /// The largest.
    Max,
}

impl Point {
    /// All.
    pub const ALL: [Point; 3] = [Point::P50, Point::P99, Point::Max];

    fn word(self) -> &'static str {
        match self {
            Point::P50 => "p50",
            Point::P99 => "p99",
            Point::Max => "longest",
        }
    }
}

/// One row of the table. Rates are in entries a second; the order is the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Milliseconds from sending a message to its receipt.
    Delay(u64, Place, Point),
    /// Milliseconds that 99 % of batches were sent late by, at most.
    Late(u64),
    /// Entries that were published, and reached every node.
    Entries(u64),
    /// Of them, messages that followers at another node received.
    Received(u64),
    /// Entries a second from the first sent to the last applied at every node.
    Most,
    /// Microseconds of processor time for an entry at a node without a cluster.
    CpuAlone,
    /// …at the node that it is published at.
    CpuFirst,
    /// …at each other node.
    CpuOther,
    /// Bytes of an entry on a link.
    LinkBytes,
    /// Bytes of an entry's message.
    BodyBytes,
    /// Bytes of messages that a new node got.
    CaughtBytes,
    /// Seconds from its start until it is ready.
    CatchUp,
    /// Megabytes of messages a second.
    CatchUpRate,
    /// Most resident memory of a node before it gives anything, in bytes.
    PeakBefore,
    /// Most resident memory of the node that gave, in bytes.
    PeakGiver,
    /// Most resident memory of the new node, in bytes.
    PeakTaker,
    /// Characters of a cursor of so many origins.
    Cursor(usize),
}

impl Figure {
    fn name(self) -> String {
        let rate = |rate: u64| format!("{} entries/s", whole(rate as f64));
        match self {
            Figure::Delay(at, Place::Same, point) => {
                format!("delay at the same node, {}, {}, ms", rate(at), point.word())
            }
            Figure::Delay(at, Place::Other, point) => {
                format!("delay at another node, {}, {}, ms", rate(at), point.word())
            }
            Figure::Late(at) => format!("batches sent late, {}, p99, ms", rate(at)),
            Figure::Entries(at) => format!("published, on every node, {}", rate(at)),
            Figure::Received(at) => format!("of them followed at another node, {}", rate(at)),
            Figure::Most => "most entries/s, published and on every node".to_owned(),
            Figure::CpuAlone => "CPU per entry, node without a cluster, µs".to_owned(),
            Figure::CpuFirst => "CPU per entry, node published at, µs".to_owned(),
            Figure::CpuOther => "CPU per entry, each other node, µs".to_owned(),
            Figure::LinkBytes => "bytes per entry on a link".to_owned(),
            Figure::BodyBytes => "of them the message".to_owned(),
            Figure::CaughtBytes => "messages that a new node gets".to_owned(),
            Figure::CatchUp => "from its start until it is ready, s".to_owned(),
            Figure::CatchUpRate => "catching up, MB/s".to_owned(),
            Figure::PeakBefore => "most RSS of the node that gives, before".to_owned(),
            Figure::PeakGiver => "most RSS of the node that gives".to_owned(),
            Figure::PeakTaker => "most RSS of the new node".to_owned(),
            Figure::Cursor(1) => "cursor of 1 origin, characters".to_owned(),
            Figure::Cursor(origins) => format!("cursor of {origins} origins, characters"),
        }
    }

    fn number(self) -> Number {
        match self {
            Figure::Delay(..) | Figure::Late(_) | Figure::CatchUp => decimals,
            Figure::CpuAlone | Figure::CpuFirst | Figure::CpuOther => decimals,
            Figure::CaughtBytes | Figure::PeakBefore | Figure::PeakGiver | Figure::PeakTaker => bytes,
            _ => whole,
        }
    }
}

/// All values so far.
#[derive(Debug, Default)]
pub struct Results(BTreeMap<Figure, Series>);

impl Results {
    /// Adds one round's value.
    pub fn add(&mut self, figure: Figure, value: f64) {
        self.0.entry(figure).or_default().0.push(value);
    }

    /// The table in Markdown: medians, and the range over the rounds.
    pub fn show(&self, plan: &Plan) -> String {
        let head = [format!("{} nodes", plan.nodes), format!("median of {} (range)", plan.rounds)];
        let row = |(figure, series): (&Figure, &Series)| vec![figure.name(), series.show(figure.number())];
        let rows: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(self.0.iter().map(row)).collect();
        table(&rows)
    }

    /// Everything for a program.
    pub fn json(&self, plan: &Plan, machine: &Machine) -> Value {
        let figures: Vec<Value> = self.0.iter().map(figure_json).collect();
        json!({
            "machine": machine.json(),
            "load_at_the_end": machine::load(),
            "plan": {
                "nodes": plan.nodes, "rounds": plan.rounds, "rates": plan.rates,
                "seconds": plan.time.as_secs_f64(), "entries": plan.entries, "body_bytes": plan.body_bytes,
                "fill_bytes": plan.fill_bytes, "fill_body_bytes": plan.fill_body_bytes,
            },
            "figures": figures,
        })
    }
}

fn figure_json((figure, series): (&Figure, &Series)) -> Value {
    json!({ "id": format!("{figure:?}"), "figure": figure.name(), "values": series.json() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::options::{Asked, parse};

    #[test]
    fn a_table_has_medians_and_ranges() {
        let Ok(Asked::Replicate(plan)) = parse(lexopt::Parser::from_args(["--quick"])) else { panic!() };
        let mut results = Results::default();
        for (delay, rate) in [(0.2, 1e6), (0.1, 2e6), (0.4, 3e6)] {
            results.add(Figure::Most, rate);
            results.add(Figure::Delay(50_000, Place::Other, Point::P99), delay);
        }
        results.add(Figure::Cursor(4), 63.0);
        let shown = results.show(&plan);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("| delay at another node, 50,000 entries/s, p99, ms"), "{shown}");
        assert!(lines[2].ends_with(" 0.20 (0.10–0.40) |"), "{shown}");
        assert!(lines[3].ends_with("2,000,000 (1,000,000–3,000,000) |"), "{shown}");
    }
}
