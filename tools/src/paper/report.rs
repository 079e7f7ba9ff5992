//! The report: a page for people, CSV files for programs.
//!
//! It refuses to measure and to judge. Invariant: the page stands by itself, and each of its numbers is in
//! one of the CSV files too.

mod crowds;
mod csv;
pub mod html;
pub mod plot;
mod polling;
mod setting;

use std::fs;
use std::path::{Path, PathBuf};

use plotters::style::RGBColor;

use super::plan::Plan;
use super::results::Results;
use super::verdicts::{self, Evidence, Standing, Verdict};
use super::{Exhibit, Method};
use crate::Fallible;
use crate::machine::Machine;
use html::{escape, paragraph};
use plot::{Look, Mark, Plot, Stroke};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was run.
    Complete,
    /// It was stopped; what had been measured is shown.
    Interrupted,
}

/// Under which circumstances the results came about.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What was run.
    pub plan: Plan,
    /// The exact command.
    pub command: String,
    /// Programs and their versions.
    pub versions: Vec<(String, String)>,
    /// The machine when it began.
    pub machine: Machine,
    /// Load averages when it ended.
    pub load_after: String,
    /// When it began.
    pub began: String,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// How it ended.
    pub ending: Ending,
    /// Sentences on what was counted where, and on what this machine does not allow.
    pub remarks: Vec<String>,
    /// A message that takes longer counts as lost, in seconds.
    pub received_within_s: f64,
}

/// Writes the report into a directory, which is made; returns the page's path.
pub fn write(directory: &Path, setting: &Setting, results: &Results) -> Fallible<PathBuf> {
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let verdicts = judge(setting, results);
    for (name, text) in csv::files(results, &verdicts) {
        fs::write(directory.join(name), text)?;
    }
    let path = directory.join("report.html");
    fs::write(&path, page(setting, results, &verdicts)?)?;
    Ok(path)
}

/// The verdicts on the claims about what was wanted.
pub fn judge(setting: &Setting, results: &Results) -> Vec<Verdict> {
    let Machine { memory_bytes, cpus, .. } = setting.machine;
    let mut verdicts = verdicts::judge(&Evidence { results, memory_bytes, cpus });
    verdicts.retain(|verdict| verdict.exhibits.iter().any(|exhibit| setting.plan.exhibits.contains(exhibit)));
    verdicts
}

fn page(setting: &Setting, results: &Results, verdicts: &[Verdict]) -> Fallible<String> {
    let mut body = setting::heading(setting);
    body += &verdict_section(setting, verdicts);
    body += &setting::how_to_read(setting, results);
    body += &polling::sections(setting, results)?;
    body += &crowds::sections(setting, results)?;
    body += &setting::circumstances(setting, results);
    Ok(html::page("PushUp against its paper", &body))
}

fn verdict_section(setting: &Setting, verdicts: &[Verdict]) -> String {
    let mut out = String::from("<h2>In short</h2>\n");
    let count = |standing| verdicts::count(verdicts, standing);
    out += &paragraph(&format!(
        "Of {} claims of the paper, {} are held here, {} are not, and {} cannot be shown. Each verdict is \
         computed from the numbers below.",
        verdicts.len(),
        count(Standing::Held),
        count(Standing::NotHeld),
        count(Standing::CannotBeShown)
    ));
    out += "<div class=scroll><table class=verdicts>\n<thead><tr><th>Where</th><th>The paper \
            says</th><th>Here</th><th>Why</th></tr></thead>\n<tbody>\n";
    for verdict in verdicts {
        out += &verdict_row(setting, verdict);
    }
    out + "</tbody></table></div>\n"
}

fn verdict_row(setting: &Setting, verdict: &Verdict) -> String {
    let class = match verdict.standing {
        Standing::Held => "held",
        Standing::NotHeld => "nothere",
        Standing::CannotBeShown => "unknown",
    };
    let places: Vec<String> = verdict.exhibits.iter().map(|exhibit| place(setting, *exhibit)).collect();
    format!(
        "<tr><td>{}</td><td>{}</td><td class=\"standing {class}\">{}</td><td>{}</td></tr>\n",
        places.join("<br>"),
        escape(verdict.claim),
        verdict.standing.words(),
        html::unbroken(&escape(&verdict.why))
    )
}

/// The name of an exhibit, and a way to it if it is on the page.
fn place(setting: &Setting, exhibit: Exhibit) -> String {
    let (word, title) = (exhibit.word(), exhibit.title());
    if setting.plan.exhibits.contains(&exhibit) { format!("<a href=\"#{word}\">{title}</a>") } else { title }
}

impl Exhibit {
    /// `Table 1`, `Figure 12`.
    pub fn title(self) -> String {
        let word = self.word();
        match word.strip_prefix("table") {
            Some(number) => format!("Table {number}"),
            None => format!("Figure {}", word.trim_start_matches("fig")),
        }
    }
}

/// A heading that can be pointed at.
fn heading(exhibit: Exhibit, words: &str) -> String {
    format!("<h3 id={}>{}: {}</h3>\n", exhibit.word(), exhibit.title(), escape(words))
}

/// How a method's lines look in all figures.
fn look(method: Method, stroke: Stroke) -> Look {
    match method {
        Method::ClientPulling => Look { colour: RGBColor(201, 84, 20), mark: Mark::Triangle, stroke },
        Method::ThreadPerPoll => Look { colour: RGBColor(58, 120, 220), mark: Mark::Ring, stroke },
        Method::EventDriven => Look { colour: RGBColor(18, 150, 95), mark: Mark::Disc, stroke },
    }
}

/// A figure with a line above it, or a sentence that nothing was measured.
fn figure(above: &str, plot: &Plot) -> Fallible<String> {
    let inner = plot.html()?.unwrap_or_else(|| "<p class=note>Nothing was measured.</p>".to_owned());
    Ok(format!("<figure><b>{}</b>{inner}</figure>\n", escape(above)))
}

/// What takes the place of a figure of which the paper's text gives no numbers.
fn words_instead(above: &str, sentences: &[&str]) -> String {
    let told: String =
        sentences.iter().map(|sentence| format!("<blockquote>“{}”</blockquote>", escape(sentence))).collect();
    format!(
        "<figure><b>{}</b>{told}<figcaption>The text of the paper gives no numbers for this figure, so \
         none are drawn.</figcaption></figure>\n",
        escape(above)
    )
}

#[cfg(test)]
mod tests;
