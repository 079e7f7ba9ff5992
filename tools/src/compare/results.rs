//! What was measured: a series for each figure and contestant, the table of it, and its JSON.
//!
//! What it refuses to know: how it was measured. Invariant: the n-th values of all
//! contestants come from the same turn of the rotation, so that ratios compare neighbours in time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::figures::{Figure, Target};
use super::options::Plan;
use crate::machine::{self, Machine};
use crate::series::{Number, Series, decimals, table};

/// What a contestant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A version of the server.
    PushUp,
    /// The yardstick.
    Bare,
    /// The peer.
    Nchan,
}

/// A column of the table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its head.
    pub label: String,
    /// What it is.
    pub kind: Kind,
}

/// All values of a comparison.
pub struct Results {
    columns: Vec<Column>,
    polls: usize,
    values: BTreeMap<(Figure, usize), Series>,
}

impl Results {
    /// Of these contestants, nothing yet.
    pub fn new(columns: Vec<Column>, polls: usize) -> Results {
        Results { columns, polls, values: BTreeMap::new() }
    }

    /// Adds one run's value of the contestant with that index.
    pub fn add(&mut self, contestant: usize, figure: Figure, value: f64) {
        self.values.entry((figure, contestant)).or_default().0.push(value);
    }

    /// Whether there is anything to be shown.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn series(&self, figure: Figure, contestant: usize) -> Series {
        self.values.get(&(figure, contestant)).cloned().unwrap_or_default()
    }

    fn of_kind(&self, kind: Kind) -> Vec<usize> {
        (0..self.columns.len()).filter(|&index| self.columns[index].kind == kind).collect()
    }

    /// Who is divided by whom: everybody by the bare loop, PushUp by nchan, later versions by the first.
    fn ratios(&self) -> Vec<(usize, usize)> {
        let [pushups, bare, nchan] = [Kind::PushUp, Kind::Bare, Kind::Nchan].map(|kind| self.of_kind(kind));
        let mut ratios = Vec::new();
        for &bare in &bare {
            ratios.extend(pushups.iter().chain(&nchan).map(|&other| (other, bare)));
        }
        for &nchan in &nchan {
            ratios.extend(pushups.iter().map(|&pushup| (pushup, nchan)));
        }
        ratios.extend(pushups.iter().skip(1).map(|&later| (later, pushups[0])));
        ratios
    }

    fn ratio(&self, figure: Figure, (this, other): (usize, usize)) -> Series {
        self.series(figure, this).over(&self.series(figure, other))
    }

    /// Whether a version of PushUp meets the figure's target.
    fn is_met(&self, figure: Figure, pushup: usize) -> Option<bool> {
        let times_bare = self
            .of_kind(Kind::Bare)
            .first()
            .map_or(f64::NAN, |&bare| self.ratio(figure, (pushup, bare)).median());
        figure.target().is_met(self.series(figure, pushup).median(), times_bare)
    }

    /// The table in Markdown, and what is remarkable below it.
    pub fn show(&self) -> String {
        let measured = Figure::ROWS.into_iter().filter(|figure| self.is_measured(*figure));
        let rows: Vec<Vec<String>> =
            std::iter::once(self.head()).chain(measured.map(|figure| self.row(figure))).collect();
        let mut out = table(&rows);
        let told = [Figure::WaitedOne, Figure::WaitedEach, Figure::BytesIn, Figure::BytesOut];
        for figure in told.into_iter().filter(|figure| self.is_measured(*figure)) {
            out.push_str(&format!("\n{}", self.sentence(figure)));
        }
        out
    }

    fn is_measured(&self, figure: Figure) -> bool {
        (0..self.columns.len()).any(|index| self.values.contains_key(&(figure, index)))
    }

    fn head(&self) -> Vec<String> {
        let labels = self.columns.iter().map(|column| column.label.clone());
        let ratios = self.ratios().into_iter().map(|ratio| self.ratio_name(ratio));
        let rest = ["target", "met"].map(str::to_owned);
        std::iter::once("figure".to_owned()).chain(labels).chain(ratios).chain(rest).collect()
    }

    fn ratio_name(&self, (this, other): (usize, usize)) -> String {
        let short = |index: usize| match self.columns[index].kind {
            Kind::Bare => "bare",
            _ => &self.columns[index].label,
        };
        format!("{}/{}", short(this), short(other))
    }

    fn row(&self, figure: Figure) -> Vec<String> {
        let number = figure.number();
        let values = (0..self.columns.len()).map(|index| self.series(figure, index).show(number));
        let ratios = self.ratios().into_iter().map(|ratio| self.ratio(figure, ratio).show(decimals));
        let mut row = vec![figure.name(self.polls)];
        row.extend(values.chain(ratios));
        row.push(figure.target().show(number));
        row.push(self.met(figure));
        row
    }

    /// Yes or no; for several versions with their names.
    fn met(&self, figure: Figure) -> String {
        let versions = self.of_kind(Kind::PushUp);
        let met = versions.iter().filter_map(|&index| Some((index, self.is_met(figure, index)?)));
        let word = |met: bool| if met { "yes" } else { "no" };
        let words = met.map(|(index, met)| match versions.len() {
            1 => word(met).to_owned(),
            _ => format!("{} {}", self.columns[index].label, word(met)),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn sentence(&self, figure: Figure) -> String {
        let number: Number = figure.number();
        let each = (0..self.columns.len()).filter(|&index| !self.series(figure, index).is_empty());
        let each = each.map(|index| {
            format!("{} {}", self.columns[index].label, self.series(figure, index).show(number))
        });
        let mut name = figure.name(self.polls);
        name[..1].make_ascii_uppercase();
        format!("{name}: {}.", each.collect::<Vec<_>>().join(", "))
    }

    /// Everything for a program.
    pub fn json(&self, plan: &Plan, machine: &Machine) -> Value {
        let mut figures: Vec<Figure> = self.values.keys().map(|(figure, _)| *figure).collect();
        figures.dedup();
        json!({
            "machine": machine.json(),
            "load_at_the_end": machine::load(),
            "plan": {
                "polls": plan.polls, "rounds": plan.rounds, "repeats": plan.repeats,
                "body_bytes": plan.body_bytes, "broadcast_bytes": plan.broadcast_bytes,
                "placement": plan.placement.words(),
            },
            "figures": figures.into_iter().map(|figure| self.figure_json(figure)).collect::<Vec<_>>(),
        })
    }

    fn figure_json(&self, figure: Figure) -> Value {
        let mut values = Map::new();
        let mut met = Map::new();
        for (index, column) in self.columns.iter().enumerate() {
            if let Some(series) = self.values.get(&(figure, index)) {
                values.insert(column.label.clone(), series.json());
            }
            if let Some(is_met) = self.is_met(figure, index).filter(|_| column.kind == Kind::PushUp) {
                met.insert(column.label.clone(), is_met.into());
            }
        }
        let ratios = self.ratios().into_iter().map(|ratio| (ratio, self.ratio(figure, ratio)));
        let ratios: Map<String, Value> = ratios
            .filter(|(_, series)| !series.is_empty())
            .map(|(ratio, series)| (self.ratio_name(ratio), series.json()))
            .collect();
        let target = match figure.target() {
            Target::None => Value::Null,
            target => target.show(figure.number()).into(),
        };
        json!({
            "id": format!("{figure:?}"), "figure": figure.name(self.polls),
            "values": values, "ratios": ratios, "target": target, "met": met,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(columns: &[(&str, Kind)]) -> Results {
        let columns = columns.iter().map(|(label, kind)| Column { label: (*label).to_owned(), kind: *kind });
        Results::new(columns.collect(), 16_000)
    }

    #[test]
    fn a_table_has_medians_ranges_ratios_and_verdicts() {
        let mut results =
            results(&[("PushUp", Kind::PushUp), ("bare loop", Kind::Bare), ("nchan", Kind::Nchan)]);
        for (turn, values) in [[11.0, 10.0, 20.0], [12.0, 10.0, 30.0], [13.0, 10.0, 25.0]].iter().enumerate()
        {
            for (contestant, value) in values.iter().enumerate() {
                results.add(contestant, Figure::DeliveryOne, *value);
                results.add(contestant, Figure::WaitedOne, turn as f64);
            }
        }
        results.add(0, Figure::HeldOne, 68.0);
        let shown = results.show();
        let lines: Vec<&str> = shown.lines().collect();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            cells(lines[0])[1..],
            [
                "figure",
                "PushUp",
                "bare loop",
                "nchan",
                "PushUp/bare",
                "nchan/bare",
                "PushUp/nchan",
                "target",
                "met",
                ""
            ]
        );
        assert_eq!(
            cells(lines[2])[2..],
            [
                "12.00 (11.00–13.00)",
                "10.00 (10.00–10.00)",
                "25.00 (20.00–30.00)",
                "1.20 (1.10–1.30)",
                "2.50 (2.00–3.00)",
                "0.52 (0.40–0.55)",
                "≤ 1.15× bare",
                "no",
                ""
            ]
        );
        assert_eq!(cells(lines[3])[2..], ["68", "", "", "", "", "", "≤ 100", "yes", ""]);
        assert!(
            shown.ends_with(
                "Waited for its processor, polls on one channel, % of its CPU time: \
             PushUp 1.00 (0.00–2.00), bare loop 1.00 (0.00–2.00), nchan 1.00 (0.00–2.00)."
            ),
            "{shown}"
        );
    }

    #[test]
    fn versions_are_compared_with_the_first() {
        let mut results = results(&[("old", Kind::PushUp), ("new", Kind::PushUp), ("bare loop", Kind::Bare)]);
        for (contestant, value) in [1.3, 1.1, 1.0].into_iter().enumerate() {
            results.add(contestant, Figure::DeliveryOne, value);
        }
        let shown = results.show();
        assert!(shown.contains("old/bare | new/bare | new/old"), "{shown}");
        assert!(shown.contains("old no, new yes"), "{shown}");
        let json = results.figure_json(Figure::DeliveryOne);
        assert_eq!(json["met"], serde_json::json!({ "old": false, "new": true }));
        assert_eq!(json["ratios"]["new/old"]["values"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn without_the_yardstick_nothing_is_said_of_ratios() {
        let mut results = results(&[("PushUp", Kind::PushUp)]);
        results.add(0, Figure::DeliveryOne, 9.0);
        assert_eq!(results.met(Figure::DeliveryOne), "");
    }
}
