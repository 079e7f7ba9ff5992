//! The report: a page for people, a file of JSON for programs.
//!
//! It refuses to measure and to judge. Invariant: the page stands by itself, and each of its numbers comes from
//! the trials that are in the file.

mod figures;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::plan::{Experiment, Plan};
use super::results::{Done, Results};
use super::verdicts::Verdict;
use crate::Fallible;
use crate::machine::Machine;
use crate::paper::plan::duration;
use crate::paper::report::Ending;
use crate::paper::report::html::{self, escape, paragraph};
use crate::paper::verdicts::Standing;

/// Under which circumstances the results came about.
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
    /// How quotas were enforced, or why there were none.
    pub quotas: Result<String, String>,
}

/// Writes the report into a directory, which is there; returns the page's path.
pub fn write(
    directory: &Path,
    setting: &Setting,
    results: &Results,
    verdicts: &[Verdict],
) -> Fallible<PathBuf> {
    let json = json!({
        "setting": setting_json(setting),
        "complete": setting.ending == Ending::Complete && results.trouble.is_none(),
        "trouble": results.trouble,
        "verdicts": verdicts.iter().map(verdict_json).collect::<Vec<_>>(),
        "trials": results.done.iter().map(Done::json).collect::<Vec<_>>(),
    });
    fs::write(directory.join("results.json"), serde_json::to_vec_pretty(&json)?)?;
    let path = directory.join("report.html");
    fs::write(&path, page(setting, results, verdicts)?)?;
    Ok(path)
}

fn setting_json(setting: &Setting) -> Value {
    let versions: serde_json::Map<String, Value> =
        setting.versions.iter().map(|(name, version)| (name.clone(), version.as_str().into())).collect();
    json!({
        "command": setting.command, "began": setting.began, "took_s": setting.took_s,
        "machine": setting.machine.json(),
        "load_after": setting.load_after, "versions": versions,
        "quota_percent": setting.quotas.as_ref().ok().map(|_| setting.plan.percent),
        "quotas": setting.quotas.as_ref().map_or_else(|reason| format!("none: {reason}"), Clone::clone),
    })
}

fn verdict_json(verdict: &Verdict) -> Value {
    let held = match verdict.standing {
        Standing::Held => Value::Bool(true),
        Standing::NotHeld => Value::Bool(false),
        Standing::CannotBeShown => Value::Null,
    };
    json!({ "place": verdict.place, "claim": verdict.claim, "held": held, "why": verdict.why })
}

fn page(setting: &Setting, results: &Results, verdicts: &[Verdict]) -> Fallible<String> {
    let mut body = heading(setting, results);
    body += &verdict_section(verdicts);
    body += &how_to_read(setting);
    for experiment in &setting.plan.experiments {
        body += &match experiment {
            Experiment::Sizes => {
                figures::sizes(setting, results)?
                    + &tables::sizes(setting, results)
                    + &tables::memory(setting, results)
            }
            Experiment::Plain => tables::plain(setting, results),
            Experiment::Stress => figures::stress(setting, results)? + &tables::stress(setting, results),
            Experiment::Unlimited => tables::unlimited(setting, results),
        };
    }
    body += &circumstances(setting);
    Ok(html::page("PushUp against Node Scala's paper", &body))
}

fn heading(setting: &Setting, results: &Results) -> String {
    let mut out = format!(
        "<h1>PushUp against its second paper</h1>\n<p class=sub>The evaluation (§VI) of “A \
         horizontally-scalable multiprocessing platform based on Node.js” (Maatouki et al., Node Scala), run \
         again on {}, in {}.</p>\n",
        escape(&setting.began),
        duration(setting.took_s)
    );
    if setting.ending == Ending::Interrupted {
        out += "<div class=callout><b>This run was interrupted.</b> What had been measured by then is \
                shown; the rest is missing.</div>\n";
    }
    if let Some(trouble) = &results.trouble {
        out += &format!(
            "<div class=callout><b>This run failed:</b> {}. What had been measured by then is \
             shown.</div>\n",
            escape(trouble)
        );
    }
    if let Err(reason) = &setting.quotas {
        out += &format!(
            "<div class=callout><b>No quotas:</b> {}. All processes shared the {} processors, so that more \
             back-ends than these mean nothing; targets are not judged.</div>\n",
            escape(reason),
            setting.machine.cpus
        );
    }
    out
}

fn verdict_section(verdicts: &[Verdict]) -> String {
    let mut out = String::from(
        "<h2>In short</h2>\n<div class=scroll><table class=verdicts>\n<thead><tr><th>Where</th><th>What was \
         to be shown</th><th>Here</th><th>Why</th></tr></thead>\n<tbody>\n",
    );
    for verdict in verdicts {
        let class = match verdict.standing {
            Standing::Held => "held",
            Standing::NotHeld => "nothere",
            Standing::CannotBeShown => "unknown",
        };
        out += &format!(
            "<tr><td>{}</td><td>{}</td><td class=\"standing {class}\">{}</td><td>{}</td></tr>\n",
            verdict.place,
            escape(&verdict.claim),
            verdict.standing.words(),
            html::unbroken(&escape(&verdict.why))
        );
    }
    out + "</tbody></table></div>\n"
}

fn how_to_read(setting: &Setting) -> String {
    let plan = &setting.plan;
    let mut all = vec![
        "The use case is the paper's: documents as the satellite instrument MIPAS left them behind, \
         data[attribute][measurement][channel] with three channels, 1,968 a day; for each, the altitude of the \
         highest cloud is found by a threshold on the cloud index (spline to a grid of 100 m, deconvolution, \
         highest crossing). A month, 07/2003, has 61,008 documents and an answer of some 10 MB. The documents \
         are made up from a seed: those of the instrument are not ours to give."
            .to_owned(),
        "The paper's data are in MongoDB, on another machine. Here SQLite is the data side, in one process that \
         serves documents over HTTP to all contenders alike, without a quota; its processor time is in no \
         contender's figures."
            .to_owned(),
        "Contenders: Node's cluster, in which one instance serves a whole request; a Node server that gives the \
         days of a request to worker_threads; and PushUp, whose back-ends run the days in handlers in \
         JavaScript, the very code of the Node servers, or in Rust. “1 + 4” is one front-end and four \
         back-ends. Every answer of every trial was unpacked and compared: all are the same bytes."
            .to_owned(),
        "Answers are compressed on the fly (gzip) unless told otherwise: by zlib in Node, by the back-ends in \
         PushUp. Numbers are medians, the range of the repeats below them. Contenders took turns."
            .to_owned(),
    ];
    if setting.quotas.is_ok() {
        all.push(format!(
            "The machine has {} processors. So that four and eight back-ends mean something, every process \
             had a quota of {:.0} % of a processor of its own ({}): front-end, each back-end together with its \
             handler, each instance of the cluster. The server with threads is one process and had what its \
             threads and its main thread would have had. A “processor” in these figures is thus a slow one, \
             and nothing is said about more processors than there are.",
            setting.machine.cpus,
            plan.percent,
            setting.quotas.as_deref().unwrap_or_default()
        ));
    }
    all.push(
        "Clients, contenders and the data side share one machine; the paper had two, with 24 hardware threads \
         each."
            .to_owned(),
    );
    "<h2>How to read this</h2>\n".to_owned() + &all.iter().map(|text| paragraph(text)).collect::<String>()
}

fn circumstances(setting: &Setting) -> String {
    let mut out = String::from("<h2>Circumstances</h2>\n<dl>\n");
    let mut row = |name: &str, text: &str| {
        out += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(text));
    };
    row("command", &setting.command);
    row("machine", &setting.machine.line());
    row("load average afterwards", &setting.load_after);
    for (name, version) in &setting.versions {
        row(name, version);
    }
    out + "</dl>\n"
}
