//! Which experiments, of which size, how often, and how long they will take.
//!
//! It refuses to measure. Invariant: what is compared stands in turn in the same run: one contender after the
//! other, then all again, beginning with another one.

use std::fmt::Write;

use super::systems::{Kind, Language};
use super::trials::Ask;
use crate::paper::plan::duration;
use crate::series::whole;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Experiment {
    /// Response time by documents: Fig. 4 and 5, and memory.
    Sizes,
    /// The month without compression.
    Plain,
    /// Several requests at once: Fig. 6 and 7, Tables I and II.
    Stress,
    /// The month without quotas, on the processors that there are.
    Unlimited,
}

impl Experiment {
    /// All, in the order in which they are run.
    pub const ALL: [Experiment; 4] =
        [Experiment::Sizes, Experiment::Plain, Experiment::Stress, Experiment::Unlimited];

    /// How the command line calls it.
    pub fn word(self) -> &'static str {
        match self {
            Experiment::Sizes => "sizes",
            Experiment::Plain => "plain",
            Experiment::Stress => "stress",
            Experiment::Unlimited => "unlimited",
        }
    }

    /// Who takes part.
    pub fn kinds(self) -> Vec<Kind> {
        let pushup = Kind::pushup;
        let [script, rust] = Language::ALL;
        let two = |language: Language| Kind::PushUp { language, fronts: 2, backs: 8 };
        match self {
            Experiment::Sizes | Experiment::Plain => vec![
                Kind::Cluster(5),
                Kind::Threads(4),
                pushup(script, 4),
                pushup(rust, 4),
                pushup(script, 8),
                pushup(rust, 8),
            ],
            Experiment::Stress => vec![
                Kind::Cluster(5),
                pushup(script, 4),
                pushup(script, 8),
                two(script),
                pushup(rust, 4),
                pushup(rust, 8),
                two(rust),
            ],
            Experiment::Unlimited => vec![
                Kind::Cluster(5),
                Kind::Threads(2),
                pushup(script, 1),
                pushup(script, 2),
                pushup(rust, 1),
                pushup(rust, 2),
            ],
        }
    }
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is looked at.
    pub experiments: Vec<Experiment>,
    /// Requests of different sizes, ascending.
    pub sizes: Vec<Ask>,
    /// The most frequent request: a month.
    pub month: Ask,
    /// Requests at once, ascending.
    pub at_once: Vec<u32>,
    /// What everybody is asked before anything is measured: enough to be compiled and compared.
    pub warm: Ask,
    /// How often requests of different sizes are run.
    pub repeats: u32,
    /// How often everything else is run.
    pub other_repeats: u32,
    /// Percent of a processor for each process.
    pub percent: f64,
    /// Whether quotas are wanted.
    pub quotas: bool,
}

/// A step of an experiment: all its contenders are asked this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Which time, from 0.
    pub repeat: u32,
    /// What is asked.
    pub ask: Ask,
    /// How often at once.
    pub at_once: u32,
}

/// Processor time for a document, in microseconds, as it was seen: only estimates are made from it.
fn cost_us(kind: Kind) -> f64 {
    match kind {
        Kind::Cluster(_) => 80.0,
        Kind::Threads(_) => 110.0,
        Kind::PushUp { language: Language::JavaScript, .. } => 85.0,
        Kind::PushUp { language: Language::Rust, .. } => 40.0,
    }
}

/// How many work at one request, and how many processes there are to work.
fn workers(kind: Kind) -> (f64, f64) {
    match kind {
        Kind::Cluster(instances) => (1.0, f64::from(instances)),
        // Its main thread has a share too.
        Kind::Threads(threads) => (f64::from(threads + 1), f64::from(threads + 1)),
        Kind::PushUp { backs, .. } => (f64::from(backs), f64::from(backs)),
    }
}

/// Seconds until an experiment's systems run and are warm.
const START_S: f64 = 8.0;
/// Seconds around each trial: processes come to rest, answers are compared.
const AROUND_S: f64 = 0.6;

impl Plan {
    /// The default: all figures of the paper.
    pub fn whole() -> Plan {
        Plan {
            experiments: Experiment::ALL.to_vec(),
            sizes: vec![Ask { limit: 1_000, ..Ask::days(1) }, Ask::days(5), Ask::days(31), Ask::days(152)],
            month: Ask::days(31),
            at_once: vec![1, 2, 3, 5],
            warm: Ask { limit: 400, ..Ask::days(16) },
            repeats: 3,
            other_repeats: 2,
            percent: 20.0,
            quotas: true,
        }
    }

    /// A minute: that everything works, and no figures.
    pub fn quick() -> Plan {
        Plan {
            sizes: vec![Ask { limit: 500, ..Ask::days(1) }, Ask { limit: 300, ..Ask::days(9) }],
            month: Ask { limit: 100, ..Ask::days(9) },
            at_once: vec![1, 3],
            warm: Ask { limit: 20, ..Ask::days(9) },
            repeats: 1,
            other_repeats: 1,
            ..Plan::whole()
        }
    }

    /// Days that documents are needed of.
    pub fn days(&self) -> u32 {
        self.sizes.iter().chain([&self.month, &self.warm]).map(|ask| ask.days).max().unwrap_or(1)
    }

    /// The steps of an experiment.
    pub fn steps(&self, experiment: Experiment) -> Vec<Step> {
        let once = |asks: &[Ask]| asks.iter().map(|ask| (*ask, 1)).collect::<Vec<_>>();
        let (repeats, asked) = match experiment {
            Experiment::Sizes => (self.repeats, once(&self.sizes)),
            Experiment::Plain => (self.other_repeats, once(&[Ask { gzip: false, ..self.month }])),
            Experiment::Stress => {
                (self.other_repeats, self.at_once.iter().map(|count| (self.month, *count)).collect())
            }
            Experiment::Unlimited => (self.other_repeats, once(&[self.month])),
        };
        let all = |repeat| {
            let mut steps: Vec<Step> =
                asked.iter().map(|&(ask, at_once)| Step { repeat, ask, at_once }).collect();
            // There and back again: neither the small nor the large ones always find the processes fresh.
            if repeat % 2 == 1 {
                steps.reverse();
            }
            steps
        };
        (0..repeats).flat_map(all).collect()
    }

    /// Who is asked in a step of an experiment, in turn.
    pub fn order(&self, experiment: Experiment, step: Step) -> Vec<Kind> {
        let mut kinds = experiment.kinds();
        let by = step.repeat as usize % kinds.len();
        kinds.rotate_left(by);
        kinds
    }

    /// How long one trial will take, in seconds.
    pub fn trial_s(&self, experiment: Experiment, kind: Kind, step: Step) -> f64 {
        let (at_one, at_all) = workers(kind);
        let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        let share = if self.has_quotas(experiment) { self.percent / 100.0 } else { 1.0 };
        let rounds = (f64::from(step.at_once) / (at_all / at_one)).ceil();
        let speed = (at_one * share).min(cpus);
        step.ask.documents() as f64 * cost_us(kind) / 1e6 * rounds / speed + AROUND_S
    }

    /// Whether processes have quotas in an experiment.
    pub fn has_quotas(&self, experiment: Experiment) -> bool {
        self.quotas && experiment != Experiment::Unlimited
    }

    /// How long an experiment will take, in seconds.
    pub fn experiment_s(&self, experiment: Experiment) -> f64 {
        let trials = self.steps(experiment).into_iter().map(|step| -> f64 {
            experiment.kinds().into_iter().map(|kind| self.trial_s(experiment, kind, step)).sum()
        });
        START_S + trials.sum::<f64>()
    }

    /// Trials in all.
    pub fn trials(&self) -> usize {
        self.experiments
            .iter()
            .map(|experiment| experiment.kinds().len() * self.steps(*experiment).len())
            .sum()
    }

    /// How long everything will take, in seconds.
    pub fn total_s(&self) -> f64 {
        // Documents are written at some 60,000 a second.
        let documents = Ask::days(self.days()).documents() as f64 / 6e4;
        documents + self.experiments.iter().map(|experiment| self.experiment_s(*experiment)).sum::<f64>()
    }

    /// What a person is told before anything is run.
    pub fn summary(&self) -> String {
        let mut out = format!("{} trials, about {}:\n", self.trials(), duration(self.total_s()));
        for experiment in &self.experiments {
            let asked: Vec<String> = match experiment {
                Experiment::Sizes => self.sizes.iter().map(|ask| whole(ask.documents() as f64)).collect(),
                Experiment::Stress => self.at_once.iter().map(|count| format!("{count} at once")).collect(),
                _ => vec![whole(self.month.documents() as f64)],
            };
            let repeats = self.steps(*experiment).len() / asked.len().max(1);
            let _ = writeln!(
                out,
                "  {:<9} {} systems × {repeats}: {}; about {}",
                experiment.word(),
                experiment.kinds().len(),
                asked.join(", "),
                duration(self.experiment_s(*experiment))
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_papers_and_takes_no_longer_than_it_may() {
        let plan = Plan::whole();
        assert_eq!(plan.sizes.first().map(Ask::documents), Some(1_000));
        assert!(plan.sizes.last().is_some_and(|ask| (290_000..310_000).contains(&ask.documents())));
        assert_eq!(plan.month.documents(), 61_008);
        assert!(plan.total_s() <= 32.0 * 60.0, "{}", plan.summary());
        assert!(Plan::quick().total_s() <= 75.0, "{}", Plan::quick().summary());
        assert!(plan.summary().contains("1,000, 9,840, 61,008"), "{}", plan.summary());
    }

    #[test]
    fn everybody_takes_a_turn_at_the_beginning() {
        let plan = Plan::whole();
        let steps = plan.steps(Experiment::Sizes);
        assert_eq!(steps.len(), 12);
        let firsts: Vec<Kind> =
            steps.iter().step_by(4).map(|step| plan.order(Experiment::Sizes, *step)[0]).collect();
        assert_eq!(firsts, Experiment::Sizes.kinds()[..3]);
    }
}
