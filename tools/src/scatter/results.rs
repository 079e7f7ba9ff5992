//! What was measured, and how it is found again.
//!
//! It refuses to judge. Invariant: a series holds the values of the repeats in their order, so that two series
//! of the same step can be divided run by run.

use serde_json::{Value, json};

use super::plan::Experiment;
use super::systems::{Kind, Role};
use super::trials::{Ask, Trial, Use};
use crate::series::Series;

/// One trial, and under what it was run.
#[derive(Clone, Debug)]
pub struct Done {
    /// What it belongs to.
    pub experiment: Experiment,
    /// Which time, from 0.
    pub repeat: u32,
    /// Who was asked.
    pub kind: Kind,
    /// What.
    pub ask: Ask,
    /// How often at once.
    pub at_once: u32,
    /// What came of it.
    pub trial: Trial,
}

/// All trials.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// In the order in which they were run.
    pub done: Vec<Done>,
    /// What ended the run before its end, if anything went wrong.
    pub trouble: Option<String>,
}

impl Results {
    /// The trials of one step of one contender.
    pub fn of(
        &self,
        experiment: Experiment,
        kind: Kind,
        ask: Ask,
        at_once: u32,
    ) -> impl Iterator<Item = &Done> {
        self.done.iter().filter(move |done| {
            (done.experiment, done.kind, done.ask, done.at_once) == (experiment, kind, ask, at_once)
        })
    }

    /// A figure of the same.
    pub fn series(
        &self,
        experiment: Experiment,
        kind: Kind,
        ask: Ask,
        at_once: u32,
        figure: impl Fn(&Trial) -> f64,
    ) -> Series {
        Series(self.of(experiment, kind, ask, at_once).map(|done| figure(&done.trial)).collect())
    }
}

/// The front-ends' share of all processor time, in percent.
pub fn front_percent(trial: &Trial) -> f64 {
    100.0 * trial.cpu_s(Role::Front) / trial.whole_cpu_s()
}

/// Memory of the part with this role that had most, in megabytes.
pub fn megabytes(role: Role) -> impl Fn(&Trial) -> f64 {
    move |trial| trial.rss_bytes(role).map_or(f64::NAN, |bytes| bytes as f64 / 1e6)
}

/// Processor time for a document, in microseconds.
pub fn cost_us(done: &Done) -> f64 {
    done.trial.whole_cpu_s() * 1e6 / (done.ask.documents() * u64::from(done.at_once)) as f64
}

impl Done {
    /// For a program.
    pub fn json(&self) -> Value {
        let part = |part: &Use| {
            json!({
                "name": part.name, "cpu_s": part.cpu_s, "handlers_cpu_s": part.handlers_cpu_s, "rss_bytes": part.rss_bytes,
                "held_up_s": part.held_up_s,
            })
        };
        let trial = &self.trial;
        json!({
            "experiment": self.experiment.word(), "repeat": self.repeat, "system": self.kind.word(),
            "documents": self.ask.documents(), "days": self.ask.days, "gzip": self.ask.gzip,
            "at_once": self.at_once, "response_s": trial.response_s, "slowest_s": trial.slowest_s,
            "first_byte_s": trial.first_byte_s, "wall_s": trial.wall_s, "body_bytes": trial.body_bytes,
            "plain_bytes": trial.plain_bytes, "data_cpu_s": trial.data_cpu_s,
            "parts": trial.parts.iter().map(part).collect::<Vec<_>>(),
        })
    }
}
