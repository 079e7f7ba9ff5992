//! The paper's figures, with our numbers.
//!
//! It refuses to judge. Invariant: a point is the median of its trials.

use plotters::style::RGBColor;

use super::Setting;
use crate::Fallible;
use crate::paper::report::html::quote;
use crate::paper::report::plot::{Line, Look, Mark, Plot, Scale, Stroke};
use crate::scatter::plan::Experiment;
use crate::scatter::results::Results;
use crate::scatter::systems::{Kind, Language};

/// How a contender's line looks in all figures; more back-ends or front-ends have dashes.
fn look(kind: Kind, stroke: Stroke) -> Look {
    match kind {
        Kind::Cluster(_) => Look { colour: RGBColor(201, 84, 20), mark: Mark::Triangle, stroke },
        Kind::Threads(_) => Look { colour: RGBColor(58, 120, 220), mark: Mark::Ring, stroke },
        Kind::PushUp { language: Language::JavaScript, .. } => {
            Look { colour: RGBColor(18, 150, 95), mark: Mark::Disc, stroke }
        }
        Kind::PushUp { language: Language::Rust, .. } => {
            Look { colour: RGBColor(150, 80, 190), mark: Mark::Cross, stroke }
        }
    }
}

fn with(kinds: &[(Kind, Stroke)], points: impl Fn(Kind) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |(kind, stroke): &(Kind, Stroke)| Line {
        name: kind.words(),
        look: look(*kind, *stroke),
        points: points(*kind),
    };
    kinds.iter().map(line).collect()
}

fn figure(id: &str, above: &str, plot: &Plot) -> Fallible<String> {
    let inner = plot.html()?.unwrap_or_else(|| "<p class=note>Nothing was measured.</p>".to_owned());
    Ok(format!("<figure id={id}><b>{above}</b>{inner}</figure>\n"))
}

/// PushUp with 4 back-ends and with more, or 8 and with more front-ends, in both languages.
fn pairs(one: (u32, u32), other: (u32, u32)) -> Vec<(Kind, Stroke)> {
    let kind = |language, (fronts, backs)| Kind::PushUp { language, fronts, backs };
    let pair = |language| [(kind(language, one), Stroke::Solid), (kind(language, other), Stroke::Dashed)];
    Language::ALL.into_iter().flat_map(pair).collect()
}

/// Figures 4 and 5: response time by documents.
pub fn sizes(setting: &Setting, results: &Results) -> Fallible<String> {
    let asks = &setting.plan.sizes;
    let plot = |title: &str, kinds: &[(Kind, Stroke)]| Plot {
        title: title.to_owned(),
        x_name: "documents".to_owned(),
        x_ticks: asks.iter().map(|ask| ask.documents() as f64).collect(),
        x_scale: Scale::Log,
        y_name: "response time (s)".to_owned(),
        y_scale: Scale::Log,
        y_span: None,
        lines: with(kinds, |kind| {
            let median =
                |ask| results.series(Experiment::Sizes, kind, ask, 1, |trial| trial.response_s).median();
            asks.iter().map(|ask| (ask.documents() as f64, median(*ask))).collect()
        }),
    };
    let pushup = |language| (Kind::pushup(language, 4), Stroke::Solid);
    let [script, rust] = Language::ALL;
    let four =
        [(Kind::Cluster(5), Stroke::Solid), (Kind::Threads(4), Stroke::Solid), pushup(script), pushup(rust)];
    let mut out = String::from("<h2>One request, of more and more documents</h2>\n");
    out += &quote(
        "for the highest measured number the response time of Node Scala is 74 % of that of Node Cluster. In \
         other words, the more complicated the request the greater the benefit",
    );
    out += &quote("doubling the number of back-end servers can result in performance gain of up to 100 %");
    out += "<div class=figures>\n";
    out +=
        &figure("fig4", "Figure 4: one front-end and four back-ends against Node", &plot("Figure 4", &four))?;
    out += &figure("fig5", "Figure 5: four and eight back-ends", &plot("Figure 5", &pairs((1, 4), (1, 8))))?;
    Ok(out + "</div>\n")
}

/// Figures 6 and 7: response time by requests at once.
pub fn stress(setting: &Setting, results: &Results) -> Fallible<String> {
    let plan = &setting.plan;
    let plot = |title: &str, kinds: &[(Kind, Stroke)]| Plot {
        title: title.to_owned(),
        x_name: "requests at once".to_owned(),
        x_ticks: plan.at_once.iter().map(|count| f64::from(*count)).collect(),
        x_scale: Scale::Linear,
        y_name: "mean response time (s)".to_owned(),
        y_scale: Scale::Linear,
        y_span: None,
        lines: with(kinds, |kind| {
            let median = |count| {
                results.series(Experiment::Stress, kind, plan.month, count, |trial| trial.response_s).median()
            };
            plan.at_once.iter().map(|count| (f64::from(*count), median(*count))).collect()
        }),
    };
    let mut six = vec![(Kind::Cluster(5), Stroke::Solid)];
    six.extend(pairs((1, 4), (1, 8)));
    let mut out = String::from("<h2>Several requests at once, a month each</h2>\n");
    out += &quote("Node Scala with 8 back-end servers achieves up to 58 % performance gain compared to 4");
    out += &quote(
        "When the number of concurrent requests increases, front-end servers help to reduce the response \
         time a bit.",
    );
    out += "<div class=figures>\n";
    out += &figure("fig6", "Figure 6: four and eight back-ends", &plot("Figure 6", &six))?;
    out += &figure("fig7", "Figure 7: one and two front-ends", &plot("Figure 7", &pairs((1, 8), (2, 8))))?;
    Ok(out + "</div>\n")
}
