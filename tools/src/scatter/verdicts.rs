//! The paper's claims, and ours, against what was measured.
//!
//! It refuses to measure. Invariant: what was not measured under quotas is not judged.

use super::plan::{Experiment, Plan};
use super::results::{Results, front_percent, megabytes};
use super::systems::{Kind, Language, Role};
use super::trials::Trial;
use crate::paper::verdicts::Standing;
use crate::series::Series;

/// Response time of 4 back-ends in percent of the cluster's: the paper's abstract speaks of a gain of 74 %.
const RESPONSE_PERCENT_MAX: f64 = 26.0;
/// The other reading: its text says that the response time is 74 % of the cluster's.
const RESPONSE_PERCENT_OTHER: f64 = 74.0;
/// The front-end's share of all processor time, in percent (Table II).
const FRONT_PERCENT_MAX: f64 = 0.9;
/// Growth of memory that still counts as constant, in percent.
const GROWTH_PERCENT_MAX: f64 = 10.0;
/// Speed of 8 back-ends by that of 4 (§VI-G).
const SPEED_UP_MIN: f64 = 1.58;

/// A claim and what became of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Where the paper says it.
    pub place: &'static str,
    /// What is claimed.
    pub claim: String,
    /// Whether it holds here.
    pub standing: Standing,
    /// The numbers.
    pub why: String,
}

/// All verdicts, each for handlers in both languages.
pub fn judge(plan: &Plan, with_quotas: bool, results: &Results) -> Vec<Verdict> {
    let mut all = Vec::new();
    for language in Language::ALL {
        let claims = [response, front, memory, speed_up].map(|claim| claim(plan, language, results));
        all.extend(claims.into_iter().map(|(place, claim, judged)| {
            let (standing, why) = match judged {
                None => (Standing::CannotBeShown, "Nothing was measured for it.".to_owned()),
                Some((_, why)) if !with_quotas => {
                    (Standing::CannotBeShown, format!("Not judged, since there were no quotas. {why}"))
                }
                Some((true, why)) => (Standing::Held, why),
                Some((false, why)) => (Standing::NotHeld, why),
            };
            Verdict { place, claim: format!("{claim} ({})", language.words()), standing, why }
        }));
    }
    all
}

type Claim = (&'static str, String, Option<(bool, String)>);

/// The median and the range of a series, with one decimal.
fn shown(series: &Series) -> String {
    series.show(|value| format!("{value:.1}"))
}

fn response(plan: &Plan, language: Language, results: &Results) -> Claim {
    let claim = format!(
        "At most documents, 4 back-ends need at most {RESPONSE_PERCENT_MAX:.0} % of the time that a cluster \
         of 5 instances needs"
    );
    let judged = plan.sizes.last().and_then(|ask| {
        let of = |kind| results.series(Experiment::Sizes, kind, *ask, 1, |trial: &Trial| trial.response_s);
        let ratio = of(Kind::pushup(language, 4)).over(&of(Kind::Cluster(5)));
        let percent = Series(ratio.0.iter().map(|ratio| 100.0 * ratio).collect());
        if percent.is_empty() {
            return None;
        }
        let median = percent.median();
        let other = if median <= RESPONSE_PERCENT_OTHER { "holds" } else { "does not hold" };
        let why = format!(
            "{} % at {} documents, a gain of {:.1} %. The paper's abstract says a gain of up to 74 %, its \
             text a response time of 74 %; read in that way the claim {other}.",
            shown(&percent),
            crate::series::whole(ask.documents() as f64),
            100.0 - median
        );
        Some((median <= RESPONSE_PERCENT_MAX, why))
    });
    ("Fig. 4", claim, judged)
}

fn front(plan: &Plan, language: Language, results: &Results) -> Claim {
    let claim =
        format!("The front-end takes at most {FRONT_PERCENT_MAX} % of the whole work's processor time");
    let kind = Kind::pushup(language, 4);
    let most = plan.at_once.last().copied().unwrap_or(1);
    let stress = results.series(Experiment::Stress, kind, plan.month, most, front_percent);
    let largest =
        plan.sizes.last().map(|ask| results.series(Experiment::Sizes, kind, *ask, 1, front_percent));
    let series: Vec<(Series, String)> = [
        (Some(stress), format!("with {most} requests at once")),
        (largest, "with one request of most documents".to_owned()),
    ]
    .into_iter()
    .filter_map(|(series, words)| Some((series.filter(|series| !series.is_empty())?, words)))
    .collect();
    let judged = (!series.is_empty()).then(|| {
        let held = series.iter().all(|(series, _)| series.median() <= FRONT_PERCENT_MAX);
        let show = |(series, words): &(Series, String)| {
            format!("{} % {words}", series.show(|value| format!("{value:.2}")))
        };
        (held, series.iter().map(show).collect::<Vec<_>>().join(", ") + ", compressed.")
    });
    ("Table II", claim, judged)
}

fn memory(plan: &Plan, language: Language, results: &Results) -> Claim {
    let claim = format!(
        "Memory is constant from the fewest to the most documents: no part grows by more than \
         {GROWTH_PERCENT_MAX:.0} %"
    );
    let judged = plan.sizes.first().zip(plan.sizes.last()).and_then(|(least, most)| {
        let (mut words, mut held) = (Vec::new(), true);
        for (role, name) in [(Role::Front, "front-end"), (Role::Back, "back-end with its handler")] {
            let of = |ask| {
                let kind = Kind::pushup(language, 4);
                results.series(Experiment::Sizes, kind, ask, 1, megabytes(role))
            };
            let (few, many) = (of(*least), of(*most));
            if few.is_empty() || many.is_empty() {
                return None;
            }
            let growth = 100.0 * (many.median() / few.median() - 1.0);
            held &= growth <= GROWTH_PERCENT_MAX;
            words.push(format!("{name} {} MB, then {} MB ({growth:+.1} %)", shown(&few), shown(&many)));
        }
        Some((held, words.join("; ") + "."))
    });
    ("§VI-H", claim, judged)
}

fn speed_up(plan: &Plan, language: Language, results: &Results) -> Claim {
    let claim = format!("8 back-ends have at least {SPEED_UP_MIN} times the speed of 4, for a month");
    let (experiment, at_once) = if plan.sizes.contains(&plan.month) {
        (Experiment::Sizes, 1)
    } else {
        (Experiment::Stress, plan.at_once.first().copied().unwrap_or(1))
    };
    let of = |backs| {
        let kind = Kind::pushup(language, backs);
        results.series(experiment, kind, plan.month, at_once, |trial| trial.response_s)
    };
    let ratio = of(4).over(&of(8));
    let judged = (!ratio.is_empty()).then(|| {
        let why = format!(
            "{} times at {} documents.",
            ratio.show(crate::series::decimals),
            crate::series::whole(plan.month.documents() as f64)
        );
        (ratio.median() >= SPEED_UP_MIN, why)
    });
    ("Fig. 5, 6", claim, judged)
}
