//! Figures as a table for a README and as JSON for a program.

use std::fs;

use serde_json::{Value, json};

use crate::Fallible;
use crate::machine::{self, Machine};
use crate::options::Plan;

/// Values of one figure from several runs.
#[derive(Clone, Debug, Default)]
pub struct Series(pub Vec<f64>);

impl Series {
    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        sorted.get(low).zip(sorted.get(high)).map_or(f64::NAN, |(low, high)| (low + high) / 2.0)
    }

    /// This series by the other, run by run.
    pub fn over(&self, other: &Series) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect())
    }

    /// The median, and the extremes if there are several values.
    pub fn show(&self, number: Number) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self.0.len() {
            0 => String::new(),
            1 => number(self.median()),
            _ => format!("{} ({}–{})", number(self.median()), number(least), number(most)),
        }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "values": self.0 })
    }
}

/// How a value is written.
pub type Number = fn(f64) -> String;

/// Two decimals.
pub fn decimals(value: f64) -> String {
    format!("{value:.2}")
}

/// No decimals, thousands apart.
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What a figure is to reach.
#[derive(Clone, Copy)]
pub enum Target {
    /// Nothing was promised.
    None,
    /// The server's own value is at most this.
    AtMost(f64),
    /// The server's own value is at least this.
    AtLeast(f64),
    /// The ratio to the bare loop is at most this.
    RatioAtMost(f64),
}

/// One line of the report.
pub struct Figure {
    /// What was measured, with its unit.
    pub name: String,
    /// The server's values.
    pub pushup: Series,
    /// The bare loop's values from the same pairs of runs; empty if it has none.
    pub bare: Series,
    /// What is to be reached.
    pub target: Target,
    /// How a value is written.
    pub number: Number,
}

impl Figure {
    fn ratio(&self) -> Series {
        self.pushup.over(&self.bare)
    }

    fn target(&self) -> String {
        match self.target {
            Target::None => String::new(),
            Target::AtMost(most) => format!("≤ {}", (self.number)(most)),
            Target::AtLeast(least) => format!("≥ {}", (self.number)(least)),
            Target::RatioAtMost(most) => format!("≤ {most}×"),
        }
    }

    fn met(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::AtMost(most) => Some(self.pushup.median() <= most),
            Target::AtLeast(least) => Some(self.pushup.median() >= least),
            Target::RatioAtMost(most) => Some(self.ratio().median() <= most),
        }
    }

    fn cells(&self) -> [String; 6] {
        let met = self.met().map_or("", |met| if met { "yes" } else { "no" });
        [
            self.name.clone(),
            self.pushup.show(self.number),
            self.bare.show(self.number),
            self.ratio().show(decimals),
            self.target(),
            met.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let bare = (!self.bare.0.is_empty()).then(|| self.bare.json());
        let ratio = bare.as_ref().map(|_| self.ratio().json());
        json!({
            "figure": self.name, "pushup": self.pushup.json(), "bare": bare, "ratio": ratio,
            "target": self.target(), "met": self.met(),
        })
    }
}

/// All figures of one go, and remarks that explain them.
#[derive(Default)]
pub struct Report {
    figures: Vec<Figure>,
    remarks: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a sentence below the table.
    pub fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Prints the table, and writes the JSON if it is wanted.
    pub fn finish(&self, plan: &Plan, machine: &Machine) -> Fallible<()> {
        let head = ["figure", "PushUp", "bare loop", "ratio", "target", "met"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.figures.iter().map(Figure::cells)).collect();
        println!("\n{}", table(&rows));
        for remark in &self.remarks {
            println!("{remark}");
        }
        let load = machine::load();
        println!("Load average {} at the start, {load} at the end.", machine.load);
        match &plan.json {
            Some(path) => Ok(fs::write(path, format!("{:#}\n", self.json(plan, machine, &load)))?),
            None => Ok(()),
        }
    }

    fn json(&self, plan: &Plan, machine: &Machine, load: &str) -> Value {
        json!({
            "machine": {
                "cpus": machine.cpus, "model": machine.model, "kernel": machine.kernel,
                "load_start": machine.load, "load_end": load,
            },
            "plan": {
                "polls": plan.polls, "rounds": plan.rounds, "pairs": plan.repeats,
                "browser": plan.browser, "pinned": plan.pin,
            },
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
            "remarks": self.remarks,
        })
    }
}

/// A table in Markdown whose columns are aligned as plain text too.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        out.push_str(&line(row, &widths, ' '));
        if index == 0 {
            out.push_str(&line(&[const { String::new() }; 6], &widths, '-'));
        }
    }
    out
}

fn line(cells: &[String; 6], widths: &[usize; 6], fill: char) -> String {
    let mut out = String::from("|");
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let space = fill.to_string().repeat(width - cell.chars().count());
        // Names to the left, numbers to the right.
        let cell = if column == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") };
        let (left, right) = if fill == '-' { ('-', if column == 0 { '-' } else { ':' }) } else { (' ', ' ') };
        out.push_str(&format!("{left}{cell}{right}|"));
    }
    out + "\n"
}
