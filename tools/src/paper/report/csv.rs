//! The results as CSV (RFC 4180): summaries by table and figure, and every single run.
//!
//! Invariant: every file has a head, every row as many fields as it, and numbers are written without
//! thousands separators; a figure that no run has is an empty field.

use crate::paper::plan::{CrowdJob, Front};
use crate::paper::results::{CrowdRun, Done, PollingRun, Results};
use crate::paper::verdicts::Verdict;
use crate::paper::{Method, published};
use crate::series::Series;

/// Field by field, quoted where it must be.
fn line(fields: impl IntoIterator<Item = String>) -> String {
    let quoted = |field: String| {
        if field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    fields.into_iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

fn head(text: &str) -> String {
    text.to_owned() + "\n"
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { String::new() }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, number)
}

/// Median, least and most.
fn summary(series: &Series) -> [String; 3] {
    let (least, most) = series.range();
    [number(series.median()), number(least), number(most)]
}

/// All files: name and content.
pub fn files(results: &Results, verdicts: &[Verdict]) -> Vec<(&'static str, String)> {
    vec![
        ("table1.csv", table1(results)),
        ("table2.csv", table2(results)),
        ("figures9-11.csv", crowds(results, |front| front == Front::Direct)),
        ("figures12-13.csv", crowds(results, |front| front != Front::Direct)),
        ("runs-polling.csv", polling_runs(results)),
        ("runs-connections.csv", crowd_runs(results)),
        ("verdicts.csv", judged(verdicts)),
    ]
}

fn table1(results: &Results) -> String {
    let mut out = head(
        "method,clients,interval_s,time_scale,paper_kb,payload_kb,payload_kb_least,payload_kb_most,loopback_kb,\
         loopback_kb_least,loopback_kb_most,loopback_packets,loopback_packets_least,\
         loopback_packets_most,answers",
    );
    for (method, clients, interval_s) in cells(results) {
        let of = |figure: fn(&PollingRun) -> f64| results.polling(method, clients, interval_s, figure);
        let fields = [
            summary(&of(|run| run.payload_bytes / 1e3)),
            summary(&of(|run| run.loopback_bytes / 1e3)),
            summary(&of(|run| run.loopback_packets)),
        ];
        let begin =
            cell(results, method, clients, interval_s, published::traffic_kb(method, clients, interval_s));
        let answers = number(of(|run| run.answers).median());
        out += &line(begin.into_iter().chain(fields.into_iter().flatten()).chain([answers]));
    }
    out
}

fn table2(results: &Results) -> String {
    let mut out = head(
        "method,clients,interval_s,time_scale,paper_s,trip_ms,trip_ms_least,trip_ms_most,trip_p99_ms,\
         trip_p99_ms_least,trip_p99_ms_most,received_percent,received_percent_least,received_percent_most",
    );
    for (method, clients, interval_s) in cells(results) {
        let of = |figure: fn(&PollingRun) -> f64| results.polling(method, clients, interval_s, figure);
        let fields = [
            summary(&of(|run| run.trip_ms)),
            summary(&of(|run| run.trip_p99_ms)),
            summary(&of(|run| run.received_percent)),
        ];
        let begin =
            cell(results, method, clients, interval_s, published::trip_s(method, clients, interval_s));
        out += &line(begin.into_iter().chain(fields.into_iter().flatten()));
    }
    out
}

fn cells(results: &Results) -> Vec<(Method, usize, u32)> {
    let mut all = Vec::new();
    for clients in results.clients() {
        for method in Method::ALL {
            all.extend(results.intervals_s().into_iter().map(|interval_s| (method, clients, interval_s)));
        }
    }
    all
}

fn cell(
    results: &Results,
    method: Method,
    clients: usize,
    interval_s: u32,
    paper: Option<f64>,
) -> [String; 5] {
    let scale = optional(results.scale(clients));
    [method.to_string(), clients.to_string(), interval_s.to_string(), scale, optional(paper)]
}

/// A column and where its values come from.
type Column = (&'static str, fn(&CrowdRun) -> Option<f64>);

/// The figures of a crowd that are summed up, by their column.
const CROWD: [Column; 11] = [
    ("held", |run| Some(run.held as f64)),
    ("connect_s", |run| Some(run.connect_s)),
    ("pss_bytes", |run| Some(run.memory?.pss)),
    ("private_bytes", |run| Some(run.memory?.private)),
    ("kernel_bytes", |run| Some(run.memory?.kernel)),
    ("address_space_bytes", |run| Some(run.memory?.address_space)),
    ("threads", |run| Some(run.memory?.threads)),
    ("trip_ms", |run| run.trip_ms),
    ("trip_p99_ms", |run| run.trip_p99_ms),
    ("trip_max_ms", |run| run.trip_max_ms),
    ("received_percent", |run| run.received_percent),
];

fn crowds(results: &Results, fronts: fn(Front) -> bool) -> String {
    let columns = CROWD.map(|(name, _)| format!("{name},{name}_least,{name}_most"));
    let mut out = head(&format!("method,connections,nodes,{},trouble", columns.join(",")));
    for job in crowd_jobs(results).into_iter().filter(|job| fronts(job.front)) {
        let fields = CROWD.iter().flat_map(|(_, figure)| summary(&results.crowd(job, figure)));
        let trouble = results.crowd_trouble(job).join("; ");
        out += &line(crowd(&job).into_iter().chain(fields).chain([trouble]));
    }
    out
}

/// Every crowd once, in the order of its first run.
fn crowd_jobs(results: &Results) -> Vec<CrowdJob> {
    let mut all: Vec<CrowdJob> = Vec::new();
    for done in &results.crowds {
        if !all.contains(&done.job) {
            all.push(done.job);
        }
    }
    all
}

/// Method, connections, nodes behind a load balancer: 0 if there is none.
fn crowd(job: &CrowdJob) -> [String; 3] {
    let nodes = match job.front {
        Front::Direct => 0,
        Front::Nodes(nodes) => nodes,
    };
    [job.method.to_string(), job.connections.to_string(), nodes.to_string()]
}

fn polling_runs(results: &Results) -> String {
    let mut out = head(
        "method,clients,interval_s,time_scale,payload_bytes,loopback_bytes,loopback_packets,answers,\
         trip_ms,trip_p99_ms,received_percent,lost,duplicated,errors,failure",
    );
    for Done { job, outcome } in &results.polling {
        let begin = [
            job.method.to_string(),
            job.row.clients.to_string(),
            job.interval_s.to_string(),
            number(job.row.scale),
        ];
        let fields = match outcome {
            Ok(run) => [
                run.payload_bytes,
                run.loopback_bytes,
                run.loopback_packets,
                run.answers,
                run.trip_ms,
                run.trip_p99_ms,
                run.received_percent,
                run.lost as f64,
                run.duplicated as f64,
                run.errors as f64,
            ]
            .map(number),
            Err(_) => Default::default(),
        };
        let failure = outcome.as_ref().err().cloned().unwrap_or_default();
        out += &line(begin.into_iter().chain(fields).chain([failure]));
    }
    out
}

fn crowd_runs(results: &Results) -> String {
    let columns = CROWD.map(|(name, _)| name).join(",");
    let mut out = head(&format!("method,connections,nodes,{columns},lost,duplicated,errors,trouble"));
    for Done { job, outcome } in &results.crowds {
        let run = outcome.as_ref().ok();
        let fields = CROWD.iter().map(|(_, figure)| optional(run.and_then(figure)));
        let counts = [run.map(|run| run.lost), run.map(|run| run.duplicated), run.map(|run| run.errors)];
        let counts = counts.map(|count| count.map_or_else(String::new, |count| count.to_string()));
        let trouble = match outcome {
            Ok(run) => run.trouble.clone(),
            Err(reason) => reason.clone(),
        };
        out += &line(crowd(job).into_iter().chain(fields).chain(counts).chain([trouble]));
    }
    out
}

fn judged(verdicts: &[Verdict]) -> String {
    let mut out = head("where,claim,here,why");
    for verdict in verdicts {
        let places: Vec<String> = verdict.exhibits.iter().map(|exhibit| exhibit.title()).collect();
        let fields = [verdict.claim, verdict.standing.words(), &verdict.why].map(str::to_owned);
        out += &line(std::iter::once(places.join("; ")).chain(fields));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::results::made_up::{World, results};

    /// Fields of a line, as a reader of RFC 4180 sees them.
    fn fields(line: &str) -> usize {
        let mut inside = false;
        1 + line
            .chars()
            .filter(|character| {
                inside ^= *character == '"';
                *character == ',' && !inside
            })
            .count()
    }

    #[test]
    fn every_row_has_as_many_fields_as_its_head() {
        let results = results(World::OfThePaper);
        for (name, text) in files(&results, &[]) {
            let wanted = fields(text.lines().next().expect("a head"));
            assert!(name == "verdicts.csv" || text.lines().count() > 10, "{name}");
            for line in text.lines() {
                assert_eq!(fields(line), wanted, "{name}: {line}");
            }
        }
    }

    #[test]
    fn the_papers_numbers_and_ours_stand_beside_each_other() {
        let text = table1(&results(World::OfThePaper));
        let row =
            "CP,1000,50,0.1,10743.5,10743.5,10743.5,10743.5,21487,21487,21487,400000,400000,400000,50000\n";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn quotes() {
        let fields = ["a", "b,c", "d\"e", ""].map(str::to_owned);
        assert_eq!(line(fields), "a,\"b,c\",\"d\"\"e\",\n");
        assert_eq!((number(f64::NAN), optional(None)), (String::new(), String::new()));
    }
}
