//! The result of a run: figures with their units, the verdict, as text and as JSON.
//!
//! What it refuses to know: how figures came about. Invariant: a run that was interrupted says
//! so, and one that broke a promise or failed too often never ends with status 0.

use std::process::ExitCode;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::options::Plan;
use crate::engine::{Tally, Troubles};
use crate::machine::Machine;
use crate::series;

/// Percentiles that a program is told.
const PERCENTILES: [f64; 9] = [25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0];

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// For a program; the unit is its last word.
    pub key: String,
    /// For a person.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// For a person; empty for a count.
    pub unit: &'static str,
}

impl Figure {
    fn shown(&self) -> String {
        match self.unit {
            "" | "B" => series::whole(self.value),
            _ if self.value.abs() >= 1_000.0 => series::whole(self.value),
            _ => series::decimals(self.value),
        }
    }
}

/// Whether every promise was kept.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Messages that somebody did not get.
    pub lost: u64,
    /// Messages that somebody got again.
    pub duplicated: u64,
    /// Messages that came behind a later one.
    pub out_of_order: u64,
    /// What went wrong otherwise.
    pub troubles: Vec<(String, u64)>,
    /// What the first of that was.
    pub first_trouble: Option<String>,
    /// Errors that are tolerated.
    pub errors_max: u64,
}

impl Verdict {
    /// Adds what one engine has counted.
    pub fn add(&mut self, tally: &Tally) {
        self.lost += tally.lost;
        self.duplicated += tally.duplicated;
        self.out_of_order += tally.out_of_order;
        self.add_troubles(&tally.troubles);
    }

    fn add_troubles(&mut self, troubles: &Troubles) {
        for (trouble, count) in troubles.counts() {
            let name = trouble.to_string();
            match self.troubles.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += count,
                None => self.troubles.push((name, count)),
            }
        }
        self.first_trouble = self.first_trouble.take().or(troubles.first().map(str::to_owned));
    }

    fn errors(&self) -> u64 {
        self.troubles.iter().map(|(_, count)| count).sum()
    }

    /// Whether everything is well.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order == 0 && self.errors() <= self.errors_max
    }

    fn show(&self) -> String {
        let number = |count: u64| series::whole(count as f64);
        let mut text = format!(
            "{}: {} lost, {} duplicated, {} out of order, {} errors\n",
            if self.is_clean() { "clean" } else { "NOT CLEAN" },
            number(self.lost),
            number(self.duplicated),
            number(self.out_of_order),
            number(self.errors()),
        );
        for (name, count) in &self.troubles {
            text += &format!("  {} {name}\n", number(*count));
        }
        if let Some(first) = &self.first_trouble {
            text += &format!("  the first: {first}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let troubles: Map<_, _> =
            self.troubles.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        json!({
            "clean": self.is_clean(), "lost": self.lost, "duplicated": self.duplicated,
            "out_of_order": self.out_of_order, "errors": self.errors(), "errors_by_kind": troubles,
            "first_error": self.first_trouble,
        })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Complete,
    /// Because somebody wanted it.
    Interrupted,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done, in one line.
    pub title: String,
    /// The machine, and its load at the beginning.
    pub machine: Machine,
    /// The figures, in the order in which they are told.
    pub figures: Vec<Figure>,
    /// What a person is told instead of the figures.
    pub table: Option<String>,
    /// Whole distributions, for programs.
    pub distributions: Vec<(String, Value)>,
    /// What a reader should know besides.
    pub remarks: Vec<String>,
    /// Whether every promise was kept.
    pub verdict: Verdict,
    /// How it ended.
    pub ending: Ending,
}

impl Report {
    /// One without figures.
    pub fn new(title: String, machine: Machine, errors_max: u64) -> Report {
        Report {
            title,
            machine,
            figures: Vec::new(),
            table: None,
            distributions: Vec::new(),
            remarks: Vec::new(),
            verdict: Verdict { errors_max, ..Verdict::default() },
            ending: Ending::Complete,
        }
    }

    /// Adds a figure; NaN and infinity, which are no figures, are left out.
    pub fn add(&mut self, key: &str, name: &str, value: f64, unit: &'static str) {
        if value.is_finite() {
            self.figures.push(Figure { key: key.to_owned(), name: name.to_owned(), value, unit });
        }
    }

    /// Adds a distribution of latencies: percentiles for a person in milliseconds, all for a program.
    pub fn add_latencies(&mut self, key: &str, name: &str, latencies: &Histogram<u64>, percentiles: &[f64]) {
        if latencies.is_empty() {
            return;
        }
        for percentile in percentiles {
            let ms = latencies.value_at_percentile(*percentile) as f64 / 1e3;
            let (word, key_word) = match *percentile {
                100.0 => ("slowest".to_owned(), "max".to_owned()),
                other => (format!("p{other}"), format!("p{}", other.to_string().replace('.', "_"))),
            };
            self.add(&format!("{key}_{key_word}_ms"), &format!("{name}, {word}"), ms, "ms");
        }
        self.distributions.push((format!("{key}_us"), distribution(latencies)));
    }

    /// The exit status that says how it went.
    pub fn status(&self) -> ExitCode {
        match (self.ending, self.verdict.is_clean()) {
            (Ending::Interrupted, _) => ExitCode::from(130),
            (Ending::Complete, true) => ExitCode::SUCCESS,
            (Ending::Complete, false) => ExitCode::FAILURE,
        }
    }

    /// For a person.
    pub fn show(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.title, self.machine.line());
        let figures = self.table.clone().unwrap_or_else(|| self.show_figures());
        if !figures.is_empty() {
            text += &figures;
            text.push('\n');
        }
        for remark in &self.remarks {
            text += &format!("note: {remark}\n");
        }
        if self.ending == Ending::Interrupted {
            text += "interrupted: what was under way is not called lost\n";
        }
        text + &self.verdict.show()
    }

    fn show_figures(&self) -> String {
        let length = |text: &str| text.chars().count();
        let names = self.figures.iter().map(|figure| length(&figure.name)).max().unwrap_or(0);
        let values = self.figures.iter().map(|figure| length(&figure.shown())).max().unwrap_or(0);
        let mut text = String::new();
        for figure in &self.figures {
            let (name, shown) = (&figure.name, figure.shown());
            let space = " ".repeat(names - length(name));
            text += format!("  {name}{space}  {shown:>values$} {}", figure.unit).trim_end();
            text.push('\n');
        }
        text
    }

    /// For a program.
    pub fn json(&self, plan: &Plan) -> Value {
        let figures: Map<_, _> =
            self.figures.iter().map(|figure| (figure.key.clone(), json!(figure.value))).collect();
        let distributions: Map<_, _> = self.distributions.iter().cloned().collect();
        json!({
            "profile": plan.profile.word(),
            "title": self.title,
            "plan": {
                "connections": plan.connections, "channels": plan.channels,
                "duration_s": plan.duration.as_secs_f64(), "interval_s": plan.interval.as_secs_f64(),
                "rate": plan.rate, "body_bytes": plan.body_bytes, "seed": plan.seed,
                "dialect": plan.dialect().name(),
                "workers": plan.division.map_or(1, |division| division.workers),
                "shards": plan.division.map_or(1, |division| division.shards),
            },
            "machine": self.machine.json(),
            "figures": figures,
            "distributions": distributions,
            "remarks": self.remarks,
            "interrupted": self.ending == Ending::Interrupted,
            "verdict": self.verdict.json(),
        })
    }
}

fn distribution(latencies: &Histogram<u64>) -> Value {
    let percentiles: Map<_, _> = PERCENTILES
        .iter()
        .map(|percentile| (percentile.to_string(), json!(latencies.value_at_percentile(*percentile))))
        .collect();
    json!({
        "count": latencies.len(), "min": latencies.min(), "max": latencies.max(),
        "mean": latencies.mean(), "stdev": latencies.stdev(), "percentiles": percentiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::latencies;
    use crate::profiles::Profile;

    fn report() -> Report {
        let mut report = Report::new("a title".to_owned(), Machine::look(), 1);
        report.add("polls", "polls held", 16_000.0, "");
        report.add("cpu_us", "server CPU of each", 12.345, "µs");
        report.add("none", "not known", f64::NAN, "s");
        let mut latency = latencies();
        (1..=1_000).for_each(|us| latency.record(us).unwrap());
        report.add_latencies("delivery", "delivery", &latency, &[50.0, 99.9, 100.0]);
        report
    }

    #[test]
    fn figures_are_aligned() {
        let text = report().show();
        let wanted = "\
  polls held          16,000
  server CPU of each   12.35 µs
  delivery, p50         0.50 ms
  delivery, p99.9       1.00 ms
  delivery, slowest     1.00 ms

clean: 0 lost, 0 duplicated, 0 out of order, 0 errors
";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn a_program_gets_the_same() {
        let json = report().json(&Plan::of(Profile::Hold));
        assert_eq!(json["figures"]["polls"], 16_000.0);
        assert_eq!(json["figures"]["none"], Value::Null);
        assert!(json["figures"]["delivery_p99_9_ms"].as_f64().unwrap() > 0.99);
        assert_eq!(json["distributions"]["delivery_us"]["count"], 1_000);
        assert_eq!(json["verdict"]["clean"], true);
    }

    #[test]
    fn broken_promises_and_errors_are_told() {
        let shown = |report: &Report| format!("{:?}", report.status());
        let mut report = report();
        assert_eq!(shown(&report), format!("{:?}", ExitCode::SUCCESS));
        report.verdict.troubles.push(("connections reset".to_owned(), 1));
        assert!(report.verdict.is_clean(), "one is tolerated");
        report.verdict.lost = 1;
        assert_eq!(shown(&report), format!("{:?}", ExitCode::FAILURE));
        assert!(report.show().contains("NOT CLEAN: 1 lost"), "{}", report.show());
        report.ending = Ending::Interrupted;
        assert_eq!(shown(&report), format!("{:?}", ExitCode::from(130)));
    }
}
