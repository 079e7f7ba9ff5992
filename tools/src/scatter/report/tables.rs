//! The numbers behind the figures, and the paper's tables.
//!
//! It refuses to judge. Invariant: what was not measured is an empty cell.

use super::Setting;
use crate::paper::report::html::{Cell, Head, Table, head, paragraph, quote, wide};
use crate::scatter::plan::Experiment;
use crate::scatter::results::{Done, Results, cost_us, front_percent, megabytes};
use crate::scatter::systems::{Kind, Language, Role};
use crate::scatter::trials::{Ask, Trial};
use crate::series::{Number, Series, whole};

/// Three digits that say something.
fn seconds(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

fn one_decimal(value: f64) -> String {
    format!("{value:.1}")
}

fn two_decimals(value: f64) -> String {
    format!("{value:.2}")
}

/// A row for each contender, a column for each of what was asked.
fn by_system(
    caption: &str,
    heads: Vec<Head>,
    kinds: &[Kind],
    columns: impl Fn(Kind) -> Vec<(Series, Number)>,
) -> String {
    let row = |kind: &Kind| {
        let cells = columns(*kind).iter().map(|(series, number)| Cell::series(series, *number)).collect();
        (kind.words(), cells)
    };
    Table { caption: caption.to_owned(), heads: vec![heads], rows: kinds.iter().map(row).collect() }.html()
}

fn documents(asks: &[Ask]) -> Vec<Head> {
    let mut heads = vec![head("documents")];
    heads.extend(asks.iter().map(|ask| head(&whole(ask.documents() as f64))));
    heads
}

/// Response time, first byte and processor time by documents.
pub fn sizes(setting: &Setting, results: &Results) -> String {
    let asks = &setting.plan.sizes;
    let kinds = Experiment::Sizes.kinds();
    let of = |kind, ask, figure: fn(&Trial) -> f64| results.series(Experiment::Sizes, kind, ask, 1, figure);
    let table = |caption: &str, figure: fn(&Trial) -> f64| {
        by_system(caption, documents(asks), &kinds, |kind| {
            asks.iter().map(|ask| (of(kind, *ask, figure), seconds as Number)).collect()
        })
    };
    let mut out = table("Response time, s: from the request to the last byte", |trial| trial.response_s);
    let percent = |series: Series| Series(series.0.iter().map(|ratio| 100.0 * ratio).collect());
    out += &by_system("Response time in percent of Node cluster's", documents(asks), &kinds[1..], |kind| {
        let ratio = |ask| {
            let figure: fn(&Trial) -> f64 = |trial| trial.response_s;
            percent(of(kind, ask, figure).over(&of(Kind::Cluster(5), ask, figure)))
        };
        asks.iter().map(|ask| (ratio(*ask), one_decimal as Number)).collect()
    });
    let pair = |language: Language| {
        let ratio = |ask: &Ask| {
            let figure: fn(&Trial) -> f64 = |trial| trial.response_s;
            of(Kind::pushup(language, 4), *ask, figure).over(&of(Kind::pushup(language, 8), *ask, figure))
        };
        let cells = asks.iter().map(|ask| Cell::series(&ratio(ask), two_decimals)).collect();
        (format!("PushUp, {}", language.words()), cells)
    };
    out += &Table {
        caption: "Speed of eight back-ends by that of four".to_owned(),
        heads: vec![documents(asks)],
        rows: Language::ALL.into_iter().map(pair).collect(),
    }
    .html();
    out += &table("Time to the first byte of the body, s", |trial| trial.first_byte_s);
    out += &by_system(
        "Processor time of the whole system for a document, µs",
        documents(asks),
        &kinds,
        |kind| {
            let cost = |ask: &Ask| {
                Series(results.of(Experiment::Sizes, kind, *ask, 1).map(cost_us).collect::<Vec<f64>>())
            };
            asks.iter().map(|ask| (cost(ask), one_decimal as Number)).collect()
        },
    );
    let data = |done: &Done| done.trial.data_cpu_s / done.trial.whole_cpu_s() * 100.0;
    let all: Vec<f64> = results.done.iter().map(data).collect();
    if all.is_empty() {
        return out;
    }
    out + &paragraph(&format!(
        "Beside that the data side took {} % of it (median of all trials).",
        one_decimal(Series(all).median())
    ))
}

/// Memory of front-end and back-end by documents.
pub fn memory(setting: &Setting, results: &Results) -> String {
    let asks = &setting.plan.sizes;
    let mut rows = Vec::new();
    let mut row = |kind: Kind, role: Role, name: &str| {
        let memory = |ask: &Ask| results.series(Experiment::Sizes, kind, *ask, 1, megabytes(role));
        let cells = asks.iter().map(|ask| Cell::series(&memory(ask), one_decimal)).collect();
        rows.push((format!("{}: {name}", kind.words()), cells));
    };
    for language in Language::ALL {
        row(Kind::pushup(language, 4), Role::Front, "front-end");
        row(Kind::pushup(language, 4), Role::Back, "back-end with its handler");
    }
    row(Kind::Cluster(5), Role::Instance, "instance");
    row(Kind::Threads(4), Role::Instance, "the server");
    let table = Table {
        caption: "Most resident memory during a request, MB, of the part that had most".to_owned(),
        heads: vec![documents(asks)],
        rows,
    };
    "<h3>Memory</h3>\n".to_owned()
        + &quote(
            "In spite of increasing the number of concurrent requests or the cost of the tasks, the memory \
             usage remains almost constant.",
        )
        + &table.html()
}

/// The month with and without compression.
pub fn plain(setting: &Setting, results: &Results) -> String {
    let month = setting.plan.month;
    let columns = |kind| {
        let compressed =
            |figure: fn(&Trial) -> f64| results.series(Experiment::Sizes, kind, month, 1, figure);
        let open = |figure: fn(&Trial) -> f64| {
            results.series(Experiment::Plain, kind, Ask { gzip: false, ..month }, 1, figure)
        };
        let megabytes: fn(&Trial) -> f64 = |trial| trial.body_bytes as f64 / 1e6;
        vec![
            (compressed(|trial| trial.response_s), seconds as Number),
            (open(|trial| trial.response_s), seconds),
            (compressed(|trial| trial.first_byte_s), seconds),
            (open(|trial| trial.first_byte_s), seconds),
            (compressed(megabytes), two_decimals),
            (open(megabytes), two_decimals),
            (compressed(front_percent).positive(), two_decimals),
            (open(front_percent).positive(), two_decimals),
        ]
    };
    let heads = [
        "",
        "response, gzip, s",
        "plain, s",
        "first byte, gzip, s",
        "plain, s",
        "body, gzip, MB",
        "plain, MB",
        "front-end's CPU, gzip, %",
        "plain, %",
    ];
    let caption =
        format!("A month of {} documents with and without compression", whole(month.documents() as f64));
    "<h2>With and without compression</h2>\n".to_owned()
        + &by_system(&caption, heads.map(head).to_vec(), &Experiment::Plain.kinds(), columns)
}

/// Requests at once, and Tables I and II.
pub fn stress(setting: &Setting, results: &Results) -> String {
    let plan = &setting.plan;
    let mut heads = vec![head("requests at once")];
    heads.extend(plan.at_once.iter().map(|count| head(&count.to_string())));
    let table = |caption: &str, figure: fn(&Trial) -> f64| {
        by_system(caption, heads.clone(), &Experiment::Stress.kinds(), |kind| {
            let of = |count: &u32| results.series(Experiment::Stress, kind, plan.month, *count, figure);
            plan.at_once.iter().map(|count| (of(count), seconds as Number)).collect()
        })
    };
    let mut out = table("Mean response time, s", |trial| trial.response_s);
    out += &table("Time until the last of them was answered, s", |trial| trial.wall_s);
    out += "<h3 id=table1>Tables I and II: who used what in the stress test</h3>\n";
    out += &quote(
        "Front-end server 0.9, back-end servers 96.6, 99.6, 97.1, 96.0 (CPU%); Node Cluster's instances \
         17.9 to 99.1",
    );
    out += &paragraph(
        "In percent of a processor, and of the quota, which is what a processor is here; processes are held \
         up by their quotas, so that one that is busy all the time shows nearly 100 % of its quota. Memory is \
         resident pages; a back-end's includes its handler. PushUp's scheduler lives in the front-end.",
    );
    let most = plan.at_once.last().copied().unwrap_or(1);
    let systems = [Kind::Cluster(5), Kind::pushup(Language::JavaScript, 4), Kind::pushup(Language::Rust, 4)];
    for kind in systems {
        out += &usage(setting, results, kind, most);
    }
    out
}

/// What each part of a system used with so many requests at once.
fn usage(setting: &Setting, results: &Results, kind: Kind, at_once: u32) -> String {
    let plan = &setting.plan;
    let trials: Vec<&Trial> =
        results.of(Experiment::Stress, kind, plan.month, at_once).map(|done| &done.trial).collect();
    let names: Vec<&str> = trials
        .first()
        .map_or(Vec::new(), |trial| trial.parts.iter().map(|part| part.name.as_str()).collect());
    let row = |(index, name): (usize, &&str)| {
        let of = |figure: &dyn Fn(&Trial) -> f64| Series(trials.iter().map(|trial| figure(trial)).collect());
        let busy = of(&|trial| 100.0 * trial.parts[index].cpu_s / trial.wall_s);
        let quota = match setting.quotas {
            Ok(_) => Series(busy.0.iter().map(|busy| 100.0 * busy / plan.percent).collect()),
            Err(_) => Series::default(),
        };
        let share = of(&|trial| 100.0 * trial.parts[index].cpu_s / trial.whole_cpu_s());
        let memory = of(&|trial| trial.parts[index].rss_bytes as f64);
        let whole = setting.machine.memory_bytes as f64;
        let cells = vec![
            Cell::series(&busy, two_decimals),
            Cell::series(&quota, one_decimal),
            Cell::series(&share, two_decimals),
            Cell::series(&Series(memory.0.iter().map(|bytes| bytes / 1e6).collect()), one_decimal),
            Cell::series(&Series(memory.0.iter().map(|bytes| 100.0 * bytes / whole).collect()), two_decimals),
        ];
        ((*name).to_owned(), cells)
    };
    Table {
        caption: format!("{}, {at_once} requests at once", kind.words()),
        heads: vec![vec![
            head(""),
            wide("CPU, % of a processor", 1),
            head("% of its quota"),
            head("% of the whole work"),
            head("memory, MB"),
            head("memory, %"),
        ]],
        rows: names.iter().enumerate().map(row).collect(),
    }
    .html()
}

/// Without quotas, on the processors that there are.
pub fn unlimited(setting: &Setting, results: &Results) -> String {
    let month = setting.plan.month;
    let columns = |kind| {
        let of = |figure: fn(&Trial) -> f64| results.series(Experiment::Unlimited, kind, month, 1, figure);
        let response: fn(&Trial) -> f64 = |trial| trial.response_s;
        let cluster = results.series(Experiment::Unlimited, Kind::Cluster(5), month, 1, response);
        let percent = Series(of(response).over(&cluster).0.iter().map(|ratio| 100.0 * ratio).collect());
        vec![
            (of(response), seconds as Number),
            (percent, one_decimal),
            (of(|trial| trial.first_byte_s), seconds),
            (of(|trial| trial.whole_cpu_s()), seconds),
            (of(front_percent).positive(), two_decimals),
        ]
    };
    let heads = ["", "response, s", "% of the cluster's", "first byte, s", "CPU, s", "front-end's share, %"]
        .map(head);
    let text = format!(
        "One request for {} documents, no quotas, {} processors, which the client and the data side share: more \
         back-ends than these cannot be shown.",
        whole(month.documents() as f64),
        setting.machine.cpus
    );
    "<h2>Without quotas</h2>\n".to_owned()
        + &paragraph(&text)
        + &by_system("Without quotas", heads.to_vec(), &Experiment::Unlimited.kinds(), columns)
}
