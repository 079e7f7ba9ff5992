//! The part of the report on §4.2: Tables 1 and 2, Figures 7 and 8.

use super::html::{Cell, Table, escape, head, paragraph, quote, wide};
use super::plot::{Line, Plot, Scale, Stroke};
use super::{Setting, figure, heading, look};
use crate::Fallible;
use crate::paper::numbers;
use crate::paper::plan::{scale_words, shortened_wait_ms};
use crate::paper::results::{PollingRun, Results};
use crate::paper::{Exhibit, Method, published};
use crate::series::{Number, Series, whole};

/// A figure of the paper's tables.
type Published = fn(Method, usize, u32) -> Option<f64>;
/// A figure of a run: what it is called, where it comes from, how it is written.
type Figure<'a> = (&'a str, fn(&PollingRun) -> f64, Number);

/// Everything of §4.2 that was wanted.
pub fn sections(setting: &Setting, results: &Results) -> Fallible<String> {
    let wanted = |exhibit| setting.plan.exhibits.contains(&exhibit);
    if !setting.plan.exhibits.iter().any(|exhibit| exhibit.is_polling()) {
        return Ok(String::new());
    }
    let mut out = String::from("<h2>Push model against poll model (§4.2)</h2>\n");
    out += &trouble(results);
    if wanted(Exhibit::Table1) {
        out += &traffic_tables(setting, results);
    }
    if wanted(Exhibit::Figure7) {
        out += &traffic_figure(results)?;
    }
    if wanted(Exhibit::Table2) {
        out += &trip_tables(results);
    }
    if wanted(Exhibit::Figure8) {
        out += &trip_figure(results)?;
    }
    Ok(out)
}

/// Runs that failed, each with its reason.
fn trouble(results: &Results) -> String {
    let told = results.polling_trouble();
    if told.is_empty() {
        return String::new();
    }
    let items: String = told.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    format!("<div class=callout>Runs that failed:<ul>{items}</ul></div>\n")
}

fn traffic_tables(setting: &Setting, results: &Results) -> String {
    let mut out = heading(Exhibit::Table1, "network traffic over one publish interval");
    out += &quote(published::ON_TABLE_1);
    out += &paragraph(
        "KB (1,000 bytes) that all clients together sent and received from one message to the next. \
         Columns are the publish interval in seconds of the paper. “here” counts HTTP bytes, requests and \
         answers; the paper does not say what it counts, but its 127 bytes for each poll are about a bare \
         request, so compare the shape, not the size.",
    );
    out += &paragraph(&format!(
        "A run lasts {} publish interval(s), with a message in the middle of each; what was sent before, \
         while clients came, is not counted.",
        setting.plan.publications
    ));
    let caption = "Network traffic, KB of HTTP: the paper's numbers and ours";
    out += &compare(
        results,
        caption,
        published::traffic_kb,
        numbers::paper_kilobytes,
        |run| run.payload_bytes,
        numbers::kilobytes,
    );
    out += &paragraph(
        "What the loopback interface carried for the same polls, which includes the heads of TCP and IP, \
         empty acknowledgements, and for client pulling the opening and closing of a connection for each \
         poll:",
    );
    out += &ours(
        results,
        "Network traffic on the interface, KB",
        &[("KB", |run| run.loopback_bytes, numbers::kilobytes)],
    );
    out += &ours(
        results,
        "Network traffic on the interface, packets",
        &[("packets", |run| run.loopback_packets, whole)],
    );
    out
}

fn trip_tables(results: &Results) -> String {
    let mut out = heading(Exhibit::Table2, "mean publish trip time");
    out += &quote(published::ON_TABLE_2);
    out += &paragraph(
        "From the moment for which a publication was planned to its reception by a client, the mean over \
         all clients and messages. A client that pulls learns of a message at its next poll: on average \
         half a polling interval later.",
    );
    let caption = "Mean publish trip time, seconds: the paper's numbers and ours as measured";
    out +=
        &compare(results, caption, published::trip_s, numbers::tenths, |run| run.trip_ms, numbers::seconds);
    out += &pace(results);
    out += &ours(
        results,
        "Mean publish trip time, milliseconds, and what 99 % of receptions did not exceed",
        &[("mean", |run| run.trip_ms, numbers::three), ("99 %", |run| run.trip_p99_ms, numbers::three)],
    );
    out += &ours(
        results,
        "Received messages, percent",
        &[("received", |run| run.received_percent, numbers::percent)],
    );
    out
}

/// What client pulling's times would be at the paper's pace.
fn pace(results: &Results) -> String {
    let mut told = Vec::new();
    for clients in results.clients() {
        let Some(scale) = results.scale(clients).filter(|scale| *scale < 1.0) else { continue };
        let all: Vec<f64> = results
            .intervals_s()
            .into_iter()
            .flat_map(|interval_s| {
                results.polling(Method::ClientPulling, clients, interval_s, |run| run.trip_ms).0
            })
            .collect();
        if all.is_empty() {
            continue;
        }
        let slowed_s = (Series(all).median() + shortened_wait_ms(scale)) / 1e3;
        told.push(format!("{} clients {slowed_s:.2} s", whole(clients as f64)));
    }
    if told.is_empty() {
        return String::new();
    }
    paragraph(&format!(
        "Time was shortened, and with it the polling interval that makes up client pulling's trip time. With \
         the half interval that is missing, client pulling's median at the paper's pace would be: {}. The \
         times of long polling do not depend on the pace.",
        told.join(", ")
    ))
}

/// The paper's numbers beside ours: a block of rows for each number of clients.
fn compare(
    results: &Results,
    caption: &str,
    paper: Published,
    paper_number: Number,
    figure: fn(&PollingRun) -> f64,
    number: Number,
) -> String {
    let intervals = results.intervals_s();
    let mut top = vec![head("")];
    let mut below = vec![head("")];
    for interval_s in &intervals {
        top.push(wide(&format!("{interval_s} s"), 2));
        below.extend([head("paper"), head("here")]);
    }
    let cells = |method, clients| {
        let pair = |interval_s: &u32| {
            let here = results.polling(method, clients, *interval_s, figure);
            [Cell::paper(paper(method, clients, *interval_s), paper_number), Cell::series(&here, number)]
        };
        intervals.iter().flat_map(pair).collect()
    };
    table(results, caption, vec![top, below], cells)
}

/// Figures of ours alone, side by side in each interval.
fn ours(results: &Results, caption: &str, figures: &[Figure]) -> String {
    let intervals = results.intervals_s();
    let mut top = vec![head("")];
    let mut below = vec![head("")];
    for interval_s in &intervals {
        top.push(wide(&format!("{interval_s} s"), figures.len()));
        below.extend(figures.iter().map(|(name, _, _)| head(name)));
    }
    let heads = if figures.len() > 1 { vec![top, below] } else { vec![top] };
    let cells = |method, clients| {
        let group = |interval_s: &u32| {
            let of = |(_, figure, number): &Figure| {
                Cell::series(&results.polling(method, clients, *interval_s, figure), *number)
            };
            figures.iter().map(of).collect::<Vec<_>>()
        };
        intervals.iter().flat_map(group).collect()
    };
    table(results, caption, heads, cells)
}

fn table(
    results: &Results,
    caption: &str,
    heads: Vec<Vec<super::html::Head>>,
    cells: impl Fn(Method, usize) -> Vec<Cell>,
) -> String {
    let mut rows = Vec::new();
    for clients in results.clients() {
        let pace = results.scale(clients).map_or(String::new(), |scale| format!(" ({})", scale_words(scale)));
        rows.push((format!("{} clients{pace}", whole(clients as f64)), Vec::new()));
        rows.extend(Method::ALL.map(|method| (method.word().to_owned(), cells(method, clients))));
    }
    Table { caption: caption.to_owned(), heads, rows }.html()
}

fn traffic_figure(results: &Results) -> Fallible<String> {
    let mut out = heading(Exhibit::Figure7, "network traffic of pull and push models");
    let pair = Pair {
        title: "Network traffic",
        y_name: "network traffic (KB, log scale)",
        published: published::traffic_kb,
        measured: |run| run.payload_bytes / 1e3,
    };
    out += &pair.html(results)?;
    Ok(out)
}

fn trip_figure(results: &Results) -> Fallible<String> {
    let mut out = heading(Exhibit::Figure8, "mean publish trip time of pull and push models");
    let pair = Pair {
        title: "Mean publish trip time",
        y_name: "mean publish trip time (s, log scale)",
        published: published::trip_s,
        measured: |run| run.trip_ms / 1e3,
    };
    out += &pair.html(results)?;
    Ok(out)
}

/// The paper's figure, drawn from its table, beside ours with the same axes.
struct Pair {
    title: &'static str,
    y_name: &'static str,
    published: Published,
    measured: fn(&PollingRun) -> f64,
}

impl Pair {
    fn html(&self, results: &Results) -> Fallible<String> {
        let Some(clients) = results.clients().last().copied() else {
            return Ok("<p class=note>Nothing was measured.</p>\n".to_owned());
        };
        let theirs = published::CLIENTS.iter().copied().max().unwrap_or(clients);
        let paper = self.lines(&published::INTERVALS_S, |method, interval_s| {
            (self.published)(method, theirs, interval_s)
        });
        let here = self.lines(&results.intervals_s(), |method, interval_s| {
            let series = results.polling(method, clients, interval_s, self.measured);
            (!series.is_empty()).then(|| series.median())
        });
        let all =
            paper.iter().chain(&here).flat_map(|line| &line.points).map(|(_, y)| *y).filter(|y| *y > 0.0);
        let span = all.fold(None, |span: Option<(f64, f64)>, y| {
            Some(span.map_or((y, y), |(low, high)| (low.min(y), high.max(y))))
        });
        let above = |whose: &str, clients: usize| format!("{whose}, {} clients", whole(clients as f64));
        Ok(format!(
            "<div class=figures>\n{}{}</div>\n",
            figure(&above("The paper", theirs), &self.plot(paper, span))?,
            figure(&above("Here", clients), &self.plot(here, span))?
        ))
    }

    fn lines(&self, intervals_s: &[u32], value: impl Fn(Method, u32) -> Option<f64>) -> Vec<Line> {
        let line = |method: Method| Line {
            name: method.word().to_owned(),
            look: look(method, Stroke::Solid),
            points: intervals_s.iter().filter_map(|s| Some((f64::from(*s), value(method, *s)?))).collect(),
        };
        Method::ALL.map(line).into()
    }

    fn plot(&self, lines: Vec<Line>, y_span: Option<(f64, f64)>) -> Plot {
        Plot {
            title: self.title.to_owned(),
            x_name: "publish interval (s of the paper)".to_owned(),
            x_ticks: published::INTERVALS_S.map(f64::from).into(),
            x_scale: Scale::Linear,
            y_name: self.y_name.to_owned(),
            y_scale: Scale::Log,
            y_span,
            lines,
        }
    }
}
