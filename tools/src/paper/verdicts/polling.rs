//! The claims of §4.2: push against poll.
//!
//! Medians over the repeats are compared, cell by cell of Tables 1 and 2.

use super::{Evidence, Finding, extremes, held_if, times};
use crate::paper::plan::shortened_wait_ms;
use crate::paper::results::PollingRun;
use crate::paper::{Method, published};
use crate::series::whole;

/// Traffic that differs by less than this between intervals is the same: the paper's own varies by 1.04.
const SAME: f64 = 1.25;
/// What is between these shares of exactly linear growth is "(almost) linear"; the paper's own is up to 1.57.
const LINEAR: (f64, f64) = (0.75, 1.6);
/// Less than one half is a significant reduction.
const SIGNIFICANT: f64 = 2.0;
/// Trip times that differ by less are alike, in milliseconds: the last digit that the paper prints.
const ALIKE_MS: f64 = 100.0;
/// Growth of the trip time from the shortest interval to the longest that counts as an increase.
const INCREASE: f64 = 1.5;

/// One cell of which all runs are summed up by their median.
struct Cell {
    clients: usize,
    interval_s: u32,
    value: f64,
}

fn payload(run: &PollingRun) -> f64 {
    run.payload_bytes
}

fn trip(run: &PollingRun) -> f64 {
    run.trip_ms
}

/// All cells of a method that were measured.
fn cells(evidence: &Evidence, method: Method, figure: fn(&PollingRun) -> f64) -> Vec<Cell> {
    let results = evidence.results;
    let mut all = Vec::new();
    for clients in results.clients() {
        for interval_s in results.intervals_s() {
            let series = results.polling(method, clients, interval_s, figure);
            if !series.is_empty() {
                all.push(Cell { clients, interval_s, value: series.median() });
            }
        }
    }
    all
}

/// The cells of two methods that both were measured, divided.
fn ratios(evidence: &Evidence, over: Method, under: Method, figure: fn(&PollingRun) -> f64) -> Vec<Cell> {
    let below = cells(evidence, under, figure);
    let divide = |cell: Cell| {
        let other = same(&below, &cell)?;
        Some(Cell { value: cell.value / other.value, ..cell })
    };
    cells(evidence, over, figure).into_iter().filter_map(divide).collect()
}

/// From the shortest interval to the longest: how often longer it is, and how often larger the figure.
fn growth(
    evidence: &Evidence,
    method: Method,
    clients: usize,
    figure: fn(&PollingRun) -> f64,
) -> Option<(f64, f64)> {
    let row: Vec<Cell> =
        cells(evidence, method, figure).into_iter().filter(|cell| cell.clients == clients).collect();
    let (first, last) = (row.first()?, row.last()?);
    let longer = f64::from(last.interval_s) / f64::from(first.interval_s);
    (longer > 1.0).then_some((longer, last.value / first.value))
}

pub fn long_polls_are_constant(evidence: &Evidence) -> Finding {
    let mut changes = Vec::new();
    for method in Method::LONG {
        for clients in evidence.results.clients() {
            let row = cells(evidence, method, payload).into_iter().filter(|cell| cell.clients == clients);
            let values: Vec<f64> = row.map(|cell| cell.value).collect();
            if let Some((least, most)) = extremes(values.iter().copied()).filter(|_| values.len() > 1) {
                changes.push((most / least, method, clients));
            }
        }
    }
    let (change, method, clients) = changes.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let why = format!(
        "Between the least and the most of all publish intervals lies at most a factor of {change:.2} \
         ({method}, {} clients); up to {SAME} counts as the same.",
        whole(clients as f64)
    );
    Some((held_if(change <= SAME), why))
}

pub fn pulling_grows_linearly(evidence: &Evidence) -> Finding {
    let method = Method::ClientPulling;
    let grown: Vec<(usize, f64, f64)> = evidence
        .results
        .clients()
        .into_iter()
        .filter_map(|clients| growth(evidence, method, clients, payload).map(|(l, g)| (clients, l, g)))
        .collect();
    let longer = grown.first()?.1;
    let linear = |growth: f64, longer: f64| (LINEAR.0..=LINEAR.1).contains(&(growth / longer));
    let told: Vec<String> = grown
        .iter()
        .map(|(clients, _, growth)| format!("{} at {} clients", times(*growth), whole(*clients as f64)))
        .collect();
    let why = format!(
        "From the shortest publish interval to the longest ({}) the traffic grows {}; linear would be {}.{}",
        times(longer),
        told.join(", "),
        times(longer),
        shortfall(evidence)
    );
    Some((held_if(grown.iter().all(|(_, longer, growth)| linear(*growth, *longer))), why))
}

/// A sentence on polls that clients had no time for; empty if they kept their pace.
fn shortfall(evidence: &Evidence) -> String {
    let planned = |cell: &Cell| {
        let per_client = f64::from(cell.interval_s) / published::POLLING_INTERVAL_S;
        cell.value / (per_client * cell.clients as f64)
    };
    let answers = cells(evidence, Method::ClientPulling, |run| run.answers);
    match extremes(answers.iter().map(planned)) {
        Some((least, _)) if least < 0.9 => {
            format!(
                " Clients could not keep their pace everywhere: at worst {:.0} % of their polls were \
                 answered.",
                100.0 * least
            )
        }
        _ => String::new(),
    }
}

pub fn long_polls_need_less(evidence: &Evidence) -> Finding {
    let ratios = ratios(evidence, Method::ClientPulling, Method::EventDriven, payload);
    let (least, most) = extremes(ratios.iter().map(|cell| cell.value))?;
    let papers = |cell: &Cell| {
        let of = |method| published::traffic_kb(method, cell.clients, cell.interval_s);
        Some(of(Method::ClientPulling)? / of(Method::EventDriven)?)
    };
    let paper = extremes(ratios.iter().filter_map(papers));
    let paper = paper.map_or(String::new(), |(l, m)| format!(" (in the paper {} to {})", times(l), times(m)));
    let why = format!(
        "Client pulling causes {} to {} the traffic of PushUp{paper}, depending on the publish interval.",
        times(least),
        times(most)
    );
    Some((held_if(least >= SIGNIFICANT), why))
}

pub fn long_polls_are_sooner(evidence: &Evidence) -> Finding {
    let pulled = cells(evidence, Method::ClientPulling, trip);
    let at_pace: Vec<Cell> = pulled.iter().map(|cell| at_papers_pace(evidence, cell)).collect();
    let range = |cells: &[Cell]| {
        let (least, most) = extremes(cells.iter().map(|cell| cell.value))?;
        Some(format!("{}–{} ms", millis(least), millis(most)))
    };
    let slower = |method| {
        let long = cells(evidence, method, trip);
        let slower = long.iter().filter(|cell| same(&at_pace, cell).is_some_and(|p| cell.value >= p.value));
        (slower.count(), long.len())
    };
    let (events, threads) = (slower(Method::EventDriven), slower(Method::ThreadPerPoll));
    let why = format!(
        "Mean trip times over all cells: client pulling {}{}, threads {}, PushUp {}. PushUp is slower than \
         client pulling in {} of {} cells, threads are in {} of {}.",
        range(&pulled)?,
        if evidence.is_shortened() {
            format!(
                " ({} with the half polling interval that was shortened, which is what is compared)",
                range(&at_pace)?
            )
        } else {
            String::new()
        },
        range(&cells(evidence, Method::ThreadPerPoll, trip))?,
        range(&cells(evidence, Method::EventDriven, trip))?,
        events.0,
        events.1,
        threads.0,
        threads.1
    );
    Some((held_if(events.0 + threads.0 == 0), why))
}

/// A trip time of client pulling with the waiting that the shortened polling interval took away.
fn at_papers_pace(evidence: &Evidence, cell: &Cell) -> Cell {
    let scale = evidence.results.scale(cell.clients).unwrap_or(1.0);
    Cell { value: cell.value + shortened_wait_ms(scale), ..*cell }
}

/// The other method's cell of the same clients and interval.
fn same<'a>(cells: &'a [Cell], cell: &Cell) -> Option<&'a Cell> {
    cells.iter().find(|other| (other.clients, other.interval_s) == (cell.clients, cell.interval_s))
}

pub fn pulling_slows_down(evidence: &Evidence) -> Finding {
    let clients = *evidence.results.clients().last()?;
    let (_, pulling) = growth(evidence, Method::ClientPulling, clients, trip)?;
    let (_, events) = growth(evidence, Method::EventDriven, clients, trip)?;
    let scale = evidence.results.scale(clients)?;
    let polling_ms = 1_000.0 * published::POLLING_INTERVAL_S * scale;
    let means =
        cells(evidence, Method::ClientPulling, trip).into_iter().filter(|cell| cell.clients == clients);
    let (least, most) = extremes(means.map(|cell| cell.value / polling_ms))?;
    let why = format!(
        "At {} clients, from the shortest publish interval to the longest, client pulling's trip time \
         changes {} and PushUp's {}. Client pulling's is {least:.2} to {most:.2} polling intervals: {}.",
        whole(clients as f64),
        times(pulling),
        times(events),
        overload(most)
    );
    Some((held_if(pulling >= INCREASE && pulling > 1.2 * events), why))
}

/// What a mean trip time in polling intervals says about the server.
fn overload(intervals: f64) -> &'static str {
    match intervals {
        least if least <= 0.65 => {
            "about one half is what chance makes of it while nothing is overloaded, whatever the publish \
             interval"
        }
        some if some <= 1.0 => {
            "more than one half, as what the server and the machine take counts against so short an interval"
        }
        _ => "more than a whole one, so polls queued up",
    }
}

pub fn threads_and_events_are_alike(evidence: &Evidence) -> Finding {
    let traffic = ratios(evidence, Method::ThreadPerPoll, Method::EventDriven, payload);
    let traffic = extremes(traffic.iter().map(|cell| f64::max(cell.value, 1.0 / cell.value)))?.1;
    let events = cells(evidence, Method::EventDriven, trip);
    let apart = |cell: &Cell| {
        let other = same(&events, cell)?;
        Some((cell.value - other.value).abs())
    };
    let apart_ms = extremes(cells(evidence, Method::ThreadPerPoll, trip).iter().filter_map(apart))?.1;
    let why = format!(
        "Up to {} clients, traffic differs by at most a factor of {traffic:.2} and the mean trip time by \
         at most {} ms; the paper prints tenths of a second.",
        whole(*evidence.results.clients().last()? as f64),
        millis(apart_ms)
    );
    Some((held_if(traffic <= SAME && apart_ms <= ALIKE_MS), why))
}

/// Milliseconds with as many decimals as say something.
fn millis(value: f64) -> String {
    match value {
        value if value >= 100.0 => whole(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
