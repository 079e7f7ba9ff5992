//! The part of the report on §4.3 and §4.4: Figures 9 to 13.

use plotters::style::RGBColor;

use super::html::{Cell, Table, escape, head, paragraph};
use super::plot::{Line, Look, Mark, Plot, Scale, Stroke};
use super::{Setting, figure, heading, look, words_instead};
use crate::Fallible;
use crate::paper::numbers;
use crate::paper::plan::{CrowdJob, Front};
use crate::paper::results::{CrowdMemory, CrowdRun, Results};
use crate::paper::{Exhibit, Method, published};
use crate::series::{Number, Series, whole};

/// What is shown of a run.
type Figure<'a> = (&'a str, &'a dyn Fn(&CrowdRun) -> Option<f64>, Number);

/// Everything of §4.3 and §4.4 that was wanted.
pub fn sections(setting: &Setting, results: &Results) -> Fallible<String> {
    let wanted = |exhibit| setting.plan.exhibits.contains(&exhibit);
    let mut out = String::new();
    if setting.plan.exhibits.iter().any(|exhibit| exhibit.is_crowd()) {
        out += "<h2>Events against threads (§4.3)</h2>\n";
        out += &introduction(setting);
        if wanted(Exhibit::Figure9) {
            out += &memory(setting, results)?;
        }
        if wanted(Exhibit::Figure10) {
            out += &trips(results)?;
        }
        if wanted(Exhibit::Figure11) {
            out += &received(setting, results)?;
        }
        out += &trouble(results, &Method::LONG, Front::Direct);
    }
    if setting.plan.exhibits.iter().any(|exhibit| exhibit.is_nodes()) {
        out += &nodes(setting, results)?;
    }
    Ok(out)
}

fn introduction(setting: &Setting) -> String {
    let gap = |connections: Option<&usize>| {
        connections.map_or(0.0, |connections| setting.plan.broadcast_gap(*connections).as_secs_f64())
    };
    paragraph(&format!(
        "All connections hold a poll on one channel. When all are held, memory is read; then {} messages \
         are published, {:.1} to {:.1} s apart, each of which goes to every connection.",
        setting.plan.broadcasts,
        gap(setting.plan.crowds.first()),
        gap(setting.plan.crowds.last())
    ))
}

fn direct(method: Method, connections: usize) -> CrowdJob {
    CrowdJob { method, connections, front: Front::Direct }
}

/// A part of the memory of a run that has one.
fn part(part: impl Fn(&CrowdMemory) -> f64) -> impl Fn(&CrowdRun) -> Option<f64> {
    move |run| run.memory.as_ref().map(&part)
}

/// All that a server costs, in percent of the machine's memory.
fn share(setting: &Setting) -> impl Fn(&CrowdMemory) -> f64 + Copy {
    let all = setting.machine.memory_bytes as f64;
    move |memory| 100.0 * (memory.pss + memory.kernel) / all
}

fn memory(setting: &Setting, results: &Results) -> Fallible<String> {
    let plot = memory_plot(setting, results);
    let here = figure(&format!("Here, of {} MB", whole(setting.machine.memory_bytes as f64 / 1e6)), &plot)?;
    let mut out = heading(Exhibit::Figure9, "server memory usage");
    out += &format!(
        "<div class=figures>\n{}{here}</div>\n",
        words_instead("The paper", &[published::ON_FIGURE_9])
    );
    out += &paragraph(
        "Own memory is what is resident in the server's process (Pss); private is the part that is shared \
         with nobody. Kernel is what the kernel's slab, thread stacks, page tables and socket buffers \
         grew by: it includes the clients' ends of the connections, which are on this machine too, about \
         half of what a connection costs. Address space is what the process has reserved, most of it for \
         stacks; only what is touched becomes memory.",
    );
    Ok(out + &memory_table(setting, results))
}

fn memory_plot(setting: &Setting, results: &Results) -> Plot {
    let all = setting.machine.memory_bytes as f64;
    let whole = |method: Method| {
        by_connections(results, &format!("{method}, with the kernel's part"), method, part(share(setting)))
    };
    let mut lines: Vec<Line> = Method::LONG.map(whole).into();
    let space = part(move |memory| 100.0 * memory.address_space / all);
    let own = part(move |memory| 100.0 * memory.pss / all);
    let space = by_connections(results, "MLP, address space", Method::ThreadPerPoll, space);
    let own = by_connections(results, "ELP, own memory alone", Method::EventDriven, own);
    lines.push(Line { look: look(Method::ThreadPerPoll, Stroke::Dashed), ..space });
    lines.push(Line { look: look(Method::EventDriven, Stroke::Dashed), ..own });
    Plot {
        title: "Server memory by connections".to_owned(),
        y_name: "percent of the machine's memory (log scale)".to_owned(),
        y_scale: Scale::Log,
        y_span: Some((0.1, 100.0)),
        ..axes(results, lines)
    }
}

fn memory_table(setting: &Setting, results: &Results) -> String {
    let each = |run: &CrowdRun| {
        let memory = run.memory.as_ref().filter(|_| run.held > 0)?;
        Some((memory.pss + memory.kernel) / run.held as f64)
    };
    let figures: [Figure; 7] = [
        ("own MB", &part(|memory| memory.pss), numbers::megabytes),
        ("private MB", &part(|memory| memory.private), numbers::megabytes),
        ("kernel MB", &part(|memory| memory.kernel), numbers::megabytes),
        ("% of memory", &part(share(setting)), numbers::three),
        ("KB each", &each, numbers::kilobytes),
        ("address space GB", &part(|memory| memory.address_space), numbers::gigabytes),
        ("threads", &part(|memory| memory.threads), whole),
    ];
    tables(results, "Server memory; “each” is own and kernel divided by the held polls", &figures)
}

fn trips(results: &Results) -> Fallible<String> {
    let mut out = heading(Exhibit::Figure10, "mean publish trip time");
    let lines = Method::LONG.map(|method| by_connections(results, method.word(), method, |run| run.trip_ms));
    let plot = Plot {
        title: "Mean publish trip time by connections".to_owned(),
        y_name: "mean publish trip time (ms, log scale)".to_owned(),
        y_scale: Scale::Log,
        y_span: None,
        ..axes(results, lines.into())
    };
    let here = figure("Here", &plot)?;
    out += &format!(
        "<div class=figures>\n{}{here}</div>\n",
        words_instead("The paper", &[published::ON_FIGURES_10_11])
    );
    let (mean, p99, most) =
        (|run: &CrowdRun| run.trip_ms, |run: &CrowdRun| run.trip_p99_ms, |run: &CrowdRun| run.trip_max_ms);
    let figures: [Figure; 3] =
        [("mean", &mean, numbers::three), ("99 %", &p99, numbers::three), ("longest", &most, numbers::three)];
    out += &tables(results, "Publish trip time, ms: mean, what 99 % did not exceed, longest", &figures);
    Ok(out)
}

fn received(setting: &Setting, results: &Results) -> Fallible<String> {
    let mut out = heading(Exhibit::Figure11, "received message percentage");
    let lines =
        Method::LONG.map(|method| by_connections(results, method.word(), method, |run| run.received_percent));
    let here =
        figure("Here", &received_plot("Received messages by connections", axes(results, lines.into())))?;
    out += &format!(
        "<div class=figures>\n{}{here}</div>\n",
        words_instead("The paper", &[published::ON_FIGURES_10_11])
    );
    out += &paragraph(&format!(
        "Of all messages to all wanted connections, the share that arrived within {:.0} s of the moment \
         for which it was planned. A connection that the server did not take counts as one that received \
         nothing; “late or lost” are all messages that are missing from the whole, “twice” those that \
         came again.",
        setting.received_within_s
    ));
    out += &tables(results, "Received messages", &received_figures());
    Ok(out)
}

/// All that is told of received messages.
fn received_figures() -> [Figure<'static>; 6] {
    [
        ("held", &|run| Some(run.held as f64), whole),
        ("seconds until held", &|run| Some(run.connect_s), numbers::three),
        ("received %", &|run| run.received_percent, numbers::percent),
        ("late or lost", &|run| Some(run.lost as f64), whole),
        ("twice", &|run| Some(run.duplicated as f64), whole),
        ("errors", &|run| Some(run.errors as f64), whole),
    ]
}

fn received_plot(title: &str, plot: Plot) -> Plot {
    Plot {
        title: title.to_owned(),
        y_name: "received messages (%)".to_owned(),
        y_scale: Scale::Linear,
        y_span: Some((0.0, 100.0)),
        ..plot
    }
}

fn nodes(setting: &Setting, results: &Results) -> Fallible<String> {
    let wanted = |exhibit| setting.plan.exhibits.contains(&exhibit);
    let mut out = String::from("<h2>Several nodes behind a load balancer (§4.4)</h2>\n");
    let line = |nodes: usize, figure: fn(&CrowdRun) -> Option<f64>| {
        let job =
            |connections| CrowdJob { method: Method::EventDriven, connections, front: Front::Nodes(nodes) };
        let words = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
        Line {
            name: words,
            look: node_look(nodes),
            points: points(results, Front::Nodes(nodes), job, figure),
        }
    };
    let lines = |figure| results.nodes().into_iter().map(|nodes| line(nodes, figure)).collect::<Vec<_>>();
    if wanted(Exhibit::Figure12) {
        out += &heading(Exhibit::Figure12, "mean publish trip time by nodes");
        let plot = Plot {
            title: "Mean publish trip time by connections and nodes".to_owned(),
            y_name: "mean publish trip time (ms, log scale)".to_owned(),
            y_scale: Scale::Log,
            ..axes(results, lines(|run| run.trip_ms))
        };
        let theirs = words_instead("The paper", &[published::ON_FIGURE_12, published::ON_FIGURES_12_13]);
        out += &format!("<div class=figures>\n{theirs}{}</div>\n", figure("Here", &plot)?);
    }
    if wanted(Exhibit::Figure13) {
        out += &heading(Exhibit::Figure13, "received message percentage by nodes");
        let plot = received_plot(
            "Received messages by connections and nodes",
            axes(results, lines(|run| run.received_percent)),
        );
        let theirs = words_instead("The paper", &[published::ON_FIGURES_12_13]);
        out += &format!("<div class=figures>\n{theirs}{}</div>\n", figure("Here", &plot)?);
    }
    let mean: Figure = ("mean ms", &|run| run.trip_ms, numbers::three);
    let p99: Figure = ("99 % ms", &|run| run.trip_p99_ms, numbers::three);
    let figures: Vec<Figure> = [mean, p99].into_iter().chain(received_figures()).collect();
    for count in results.nodes() {
        let caption = format!("{count} node(s) behind the load balancer");
        out += &table(results, &caption, &[(Method::EventDriven, Front::Nodes(count))], &figures);
        out += &trouble(results, &[Method::EventDriven], Front::Nodes(count));
    }
    Ok(out)
}

fn node_look(nodes: usize) -> Look {
    let looks = [
        (RGBColor(18, 150, 95), Mark::Disc),
        (RGBColor(58, 120, 220), Mark::Ring),
        (RGBColor(201, 84, 20), Mark::Triangle),
        (RGBColor(160, 80, 190), Mark::Cross),
    ];
    let (colour, mark) = looks[(nodes.max(1) - 1) % looks.len()];
    Look { colour, mark, stroke: Stroke::Solid }
}

fn by_connections(
    results: &Results,
    name: &str,
    method: Method,
    figure: impl Fn(&CrowdRun) -> Option<f64>,
) -> Line {
    let job = |connections| direct(method, connections);
    Line {
        name: name.to_owned(),
        look: look(method, Stroke::Solid),
        points: points(results, Front::Direct, job, figure),
    }
}

/// The medians of a figure by connections.
fn points(
    results: &Results,
    front: Front,
    job: impl Fn(usize) -> CrowdJob,
    figure: impl Fn(&CrowdRun) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let sizes = results.connections(|other| other == front);
    let point = |connections: usize| (connections as f64, results.crowd(job(connections), &figure).median());
    sizes.into_iter().map(point).collect()
}

/// The horizontal axis that all these figures have.
fn axes(results: &Results, lines: Vec<Line>) -> Plot {
    Plot {
        title: String::new(),
        x_name: "connections (log scale)".to_owned(),
        x_ticks: results.connections(|_| true).into_iter().map(|size| size as f64).collect(),
        x_scale: Scale::Log,
        y_name: String::new(),
        y_scale: Scale::Log,
        y_span: None,
        lines,
    }
}

/// The same figures of threads and of events, one below the other.
fn tables(results: &Results, caption: &str, figures: &[Figure]) -> String {
    table(results, caption, &Method::LONG.map(|method| (method, Front::Direct)), figures)
}

/// A block of rows for each of `whose`, a row for each number of connections.
fn table(results: &Results, caption: &str, whose: &[(Method, Front)], figures: &[Figure]) -> String {
    let heads = std::iter::once(head("connections")).chain(figures.iter().map(|(name, _, _)| head(name)));
    let mut rows = Vec::new();
    for (method, front) in whose {
        if whose.len() > 1 {
            rows.push((method.word().to_owned(), Vec::new()));
        }
        for connections in results.connections(|other| other == *front) {
            let job = CrowdJob { method: *method, connections, front: *front };
            let cell =
                |(_, figure, number): &Figure| Cell::series(&finite(results.crowd(job, figure)), *number);
            rows.push((whole(connections as f64), figures.iter().map(cell).collect()));
        }
    }
    Table { caption: caption.to_owned(), heads: vec![heads.collect()], rows }.html()
}

fn finite(series: Series) -> Series {
    Series(series.0.into_iter().filter(|value| value.is_finite()).collect())
}

/// What failed, size by size.
fn trouble(results: &Results, methods: &[Method], front: Front) -> String {
    let mut items = String::new();
    for connections in results.connections(|other| other == front) {
        for method in methods {
            for reason in results.crowd_trouble(CrowdJob { method: *method, connections, front }) {
                items += &format!(
                    "<li>{method}, {} connections: {}</li>",
                    whole(connections as f64),
                    escape(&reason)
                );
            }
        }
    }
    if items.is_empty() {
        items
    } else {
        format!("<div class=callout>What went wrong:<ul>{items}</ul></div>\n")
    }
}
