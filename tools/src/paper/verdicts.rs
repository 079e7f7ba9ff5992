//! Each claim of the paper against what was measured here.
//!
//! It refuses to know what ought to come out: a verdict and its sentence are computed from the results, and
//! what was not measured is said to be so. Invariant: every claim has exactly one verdict.

mod crowds;
mod polling;

use super::Exhibit;
use super::results::Results;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The measured numbers show it.
    Held,
    /// The measured numbers show something else.
    NotHeld,
    /// What was measured says nothing about it.
    CannotBeShown,
}

impl Standing {
    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Standing::Held => "held",
            Standing::NotHeld => "not held here",
            Standing::CannotBeShown => "cannot be shown here",
        }
    }
}

/// A claim, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Where the paper shows it.
    pub exhibits: &'static [Exhibit],
    /// What the paper says, in short.
    pub claim: &'static str,
    /// What became of it.
    pub standing: Standing,
    /// Why: a sentence with the numbers.
    pub why: String,
}

/// What a judge comes to; none if nothing was measured that it could look at.
type Finding = Option<(Standing, String)>;

/// One claim and how it is judged.
struct Claim {
    exhibits: &'static [Exhibit],
    says: &'static str,
    judge: fn(&Evidence) -> Finding,
}

/// What a judge looks at.
pub struct Evidence<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// The machine's memory, in bytes.
    pub memory_bytes: u64,
    /// The machine's processors.
    pub cpus: usize,
}

impl Evidence<'_> {
    /// Whether any of Tables 1 and 2 ran faster than the paper.
    fn is_shortened(&self) -> bool {
        self.results.polling.iter().any(|done| done.job.row.scale < 1.0)
    }
}

const CLAIMS: [Claim; 12] = [
    Claim {
        exhibits: &[Exhibit::Table1, Exhibit::Figure7],
        says: "With long polling the network traffic stays the same however long the publish interval is.",
        judge: polling::long_polls_are_constant,
    },
    Claim {
        exhibits: &[Exhibit::Table1, Exhibit::Figure7],
        says: "With client pulling the network traffic grows (almost) linearly with the publish interval.",
        judge: polling::pulling_grows_linearly,
    },
    Claim {
        exhibits: &[Exhibit::Table1, Exhibit::Figure7],
        says: "Long polling significantly reduces the network traffic.",
        judge: polling::long_polls_need_less,
    },
    Claim {
        exhibits: &[Exhibit::Table2, Exhibit::Figure8],
        says: "Long polling yields a smaller mean publish trip time than client pulling.",
        judge: polling::long_polls_are_sooner,
    },
    Claim {
        exhibits: &[Exhibit::Table2, Exhibit::Figure8],
        says: "The mean publish trip time of client pulling increases much faster with the publish interval.",
        judge: polling::pulling_slows_down,
    },
    Claim {
        exhibits: &[Exhibit::Table1, Exhibit::Table2],
        says: "Threads and events are alike in traffic and trip time while there are few connections.",
        judge: polling::threads_and_events_are_alike,
    },
    Claim {
        exhibits: &[Exhibit::Figure9],
        says: "The memory of a thread for each poll soars and reaches 100 % at 8,000 connections.",
        judge: crowds::threads_fill_the_memory,
    },
    Claim {
        exhibits: &[Exhibit::Figure9],
        says: "The event-driven server shows an excellent memory usage.",
        judge: crowds::events_need_little_memory,
    },
    Claim {
        exhibits: &[Exhibit::Figure10],
        says: "Events significantly excel threads in mean publish trip time at many connections.",
        judge: crowds::events_are_sooner,
    },
    Claim {
        exhibits: &[Exhibit::Figure11],
        says: "Events significantly excel threads in received messages at many connections.",
        judge: crowds::events_lose_less,
    },
    Claim {
        exhibits: &[Exhibit::Figure12],
        says: "Two nodes halve the mean publish trip time of one, four that of two.",
        judge: crowds::nodes_halve_the_time,
    },
    Claim {
        exhibits: &[Exhibit::Figure12, Exhibit::Figure13],
        says: "Load balancing and the propagation of updates among nodes cost very little.",
        judge: crowds::several_nodes_cost_little,
    },
];

/// The verdict on every claim, in the paper's order.
pub fn judge(evidence: &Evidence) -> Vec<Verdict> {
    let verdict = |claim: &Claim| {
        let nothing = || {
            (
                Standing::CannotBeShown,
                "Nothing was measured for it: this part was not run, or its runs failed.".to_owned(),
            )
        };
        let (standing, why) = (claim.judge)(evidence).unwrap_or_else(nothing);
        Verdict { exhibits: claim.exhibits, claim: claim.says, standing, why }
    };
    CLAIMS.iter().map(verdict).collect()
}

/// How many claims have this standing.
pub fn count(verdicts: &[Verdict], standing: Standing) -> usize {
    verdicts.iter().filter(|verdict| verdict.standing == standing).count()
}

/// Held if the numbers show it.
fn held_if(shown: bool) -> Standing {
    if shown { Standing::Held } else { Standing::NotHeld }
}

/// A ratio as a person says it: `×5.0`, `×430`.
fn times(ratio: f64) -> String {
    if ratio >= 99.5 { format!("×{}", crate::series::whole(ratio)) } else { format!("×{ratio:.1}") }
}

/// The smallest and the largest, if there is any.
fn extremes(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |so_far, value| match so_far {
        None => Some((value, value)),
        Some((least, most)) => Some((f64::min(least, value), f64::max(most, value))),
    })
}

#[cfg(test)]
mod tests;
