//! The claims of §4.3 and §4.4: events against threads, and several nodes.
//!
//! Medians over the repeats are compared, size by size of Figures 9 to 13.

use super::{Evidence, Finding, Standing, extremes, held_if, times};
use crate::paper::plan::{CrowdJob, Front};
use crate::paper::results::{CrowdMemory, CrowdRun};
use crate::paper::{Method, numbers, published};
use crate::series::{bytes, whole};

/// From this share of the memory on it is full.
const FULL: f64 = 0.95;
/// Memory below this share of the machine's is no burden.
const LITTLE: f64 = 0.10;
/// So many times longer is significant; less may be this machine's noise.
const SIGNIFICANT: f64 = 1.2;
/// Received messages, in percentage points, that make a difference.
const POINTS: f64 = 0.1;
/// Ratios between these are "approximately one half".
const HALF: (f64, f64) = (0.4, 0.65);

fn direct(method: Method, connections: usize) -> CrowdJob {
    CrowdJob { method, connections, front: Front::Direct }
}

fn sizes(evidence: &Evidence) -> Vec<usize> {
    evidence.results.connections(|front| front == Front::Direct)
}

/// The median of a figure; none if no run has it.
fn median(evidence: &Evidence, job: CrowdJob, figure: impl Fn(&CrowdRun) -> Option<f64>) -> Option<f64> {
    let series = evidence.results.crowd(job, figure);
    (!series.is_empty()).then(|| series.median())
}

fn memory(evidence: &Evidence, job: CrowdJob, part: fn(&CrowdMemory) -> f64) -> Option<f64> {
    median(evidence, job, |run| run.memory.as_ref().map(part))
}

/// All that a server costs: its own pages and what the kernel keeps for it.
fn used(memory: &CrowdMemory) -> f64 {
    memory.pss + memory.kernel
}

pub fn threads_fill_the_memory(evidence: &Evidence) -> Finding {
    let sizes = sizes(evidence);
    let most = *sizes.last()?;
    let asked = published::MEMORY_FULL_CONNECTIONS;
    let connections = sizes.iter().copied().find(|size| *size >= asked).unwrap_or(most);
    let job = direct(Method::ThreadPerPoll, connections);
    let Some(taken) = memory(evidence, job, used) else {
        let trouble = evidence.results.crowd_trouble(job).join("; ");
        return Some((
            Standing::CannotBeShown,
            format!("At {} connections: {trouble}.", whole(connections as f64)),
        ));
    };
    let share = taken / evidence.memory_bytes as f64;
    let why = threads_sentence(evidence, job, share)?;
    let standing = if share >= FULL {
        Standing::Held
    } else if connections < asked {
        Standing::CannotBeShown
    } else {
        Standing::NotHeld
    };
    Some((standing, why))
}

fn threads_sentence(evidence: &Evidence, job: CrowdJob, share: f64) -> Option<String> {
    let part = |part: fn(&CrowdMemory) -> f64| memory(evidence, job, part);
    let (own, kernel, space) = (part(|m| m.pss)?, part(|m| m.kernel)?, part(|m| m.address_space)?);
    let all = evidence.memory_bytes as f64;
    let held = median(evidence, job, |run| Some(run.held as f64))?;
    let held = if held < job.connections as f64 {
        format!(", of which {} were held,", whole(held))
    } else {
        String::new()
    };
    Some(format!(
        "At {} connections{held} the threads use {} of their own and {} in the kernel, {} % of this \
         machine's {} (it would be {} % of the paper's 8 GB). Their stacks reserve {} of address space, \
         {} % of the memory; the paper does not say which of the two it plots, and what is reserved is \
         not used.",
        whole(job.connections as f64),
        bytes(own),
        bytes(kernel),
        percent(100.0 * share),
        bytes(all),
        percent(100.0 * (own + kernel) / published::MEMORY_BYTES as f64),
        bytes(space),
        percent(100.0 * space / all)
    ))
}

fn percent(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { whole(value) }
}

pub fn events_need_little_memory(evidence: &Evidence) -> Finding {
    let sizes = sizes(evidence);
    let events = |size| memory(evidence, direct(Method::EventDriven, size), used);
    let threads = |size| memory(evidence, direct(Method::ThreadPerPoll, size), used);
    let most = sizes.iter().copied().rfind(|size| events(*size).is_some())?;
    let share = events(most)? / evidence.memory_bytes as f64;
    let own = memory(evidence, direct(Method::EventDriven, most), |memory| memory.pss)?;
    let less = sizes.iter().filter_map(|size| Some(threads(*size)? / events(*size)?));
    let less = extremes(less);
    let versus = less.map_or("threads could not be measured".to_owned(), |(least, most)| {
        format!("threads use {} to {} as much, kernel included", times(least), times(most))
    });
    let why = format!(
        "At {} connections PushUp uses {} of its own, {} % of the memory together with the kernel's \
         sockets; {versus}.",
        whole(most as f64),
        bytes(own),
        percent(100.0 * share)
    );
    Some((held_if(share <= LITTLE && less.is_none_or(|(least, _)| least > 1.0)), why))
}

pub fn events_are_sooner(evidence: &Evidence) -> Finding {
    let trip = |method, size| median(evidence, direct(method, size), |run| run.trip_ms);
    let both = |size| Some((trip(Method::ThreadPerPoll, size)?, trip(Method::EventDriven, size)?));
    let ratios: Vec<(usize, f64)> = sizes(evidence)
        .into_iter()
        .filter_map(|size| both(size).map(|(threads, events)| (size, threads / events)))
        .collect();
    let (_, at_the_most) = *ratios.last()?;
    let told: Vec<String> =
        ratios.iter().map(|(size, ratio)| format!("{} at {}", times(*ratio), whole(*size as f64))).collect();
    let why = format!(
        "The mean trip time of threads is, by connections, {} that of PushUp; {} or more at the most \
         connections would be significant.{}",
        told.join(", "),
        times(SIGNIFICANT),
        left_out(evidence, ratios.len())
    );
    Some((held_if(at_the_most >= SIGNIFICANT), why))
}

/// What was not measured with both methods decides nothing, and is said.
fn left_out(evidence: &Evidence, compared: usize) -> String {
    match sizes(evidence).len().saturating_sub(compared) {
        0 => String::new(),
        1 => " One size was not measured with both and is not judged.".to_owned(),
        more => format!(" {more} sizes were not measured with both and are not judged."),
    }
}

pub fn events_lose_less(evidence: &Evidence) -> Finding {
    let received = |method, size| median(evidence, direct(method, size), |run| run.received_percent);
    let pairs: Vec<(usize, f64, f64)> = sizes(evidence)
        .into_iter()
        .filter_map(|size| {
            Some((size, received(Method::EventDriven, size)?, received(Method::ThreadPerPoll, size)?))
        })
        .collect();
    let (least_events, _) = extremes(pairs.iter().map(|(_, events, _)| *events))?;
    let (size, events, threads) = *pairs.iter().max_by(|a, b| (a.1 - a.2).total_cmp(&(b.1 - b.2)))?;
    let never_less = pairs.iter().all(|(_, events, threads)| events + POINTS >= *threads);
    let differs = events - threads > POINTS;
    let why = if differs {
        format!(
            "PushUp's clients received at least {} %; the largest difference is at {} connections, {} % \
             against {} % with threads.",
            numbers::percent(least_events),
            whole(size as f64),
            numbers::percent(events),
            numbers::percent(threads)
        )
    } else {
        let (least, _) = extremes(pairs.iter().map(|(_, _, threads)| *threads))?;
        format!(
            "Both received practically everything at every size: PushUp at least {} %, threads at least \
             {} %. TCP loses nothing, and this machine was not driven beyond what it can hold.",
            numbers::percent(least_events),
            numbers::percent(least)
        )
    };
    Some((held_if(differs && never_less), why))
}

/// The mean trip times of `more` nodes over those of `fewer`, size by size of what both were measured with.
fn trips_by_nodes(evidence: &Evidence, fewer: Front, more: Front) -> Vec<f64> {
    let trip = |front, connections| {
        let job = CrowdJob { method: Method::EventDriven, connections, front };
        median(evidence, job, |run| run.trip_ms)
    };
    let sizes = evidence.results.connections(|front| front == more);
    let ratio = |size| Some(trip(more, size)? / trip(fewer, size)?);
    sizes.into_iter().filter_map(ratio).collect()
}

/// What the paper's nodes did not have to do.
fn shared(evidence: &Evidence) -> String {
    format!(
        "All nodes, the load balancer and the clients share this machine's {} processors, so that a further \
         node brings no further power; the paper's nodes had a machine each.",
        evidence.cpus
    )
}

pub fn nodes_halve_the_time(evidence: &Evidence) -> Finding {
    let nodes = evidence.results.nodes();
    if nodes.is_empty() {
        return None;
    }
    let doubled: Vec<(usize, usize)> =
        nodes.iter().map(|count| (*count, 2 * count)).filter(|(_, twice)| nodes.contains(twice)).collect();
    if doubled.is_empty() {
        let why = "No number of nodes was measured together with twice as many.";
        return Some((Standing::CannotBeShown, why.to_owned()));
    }
    let (mut ratios, mut told) = (Vec::new(), Vec::new());
    for (one, two) in doubled {
        let these = trips_by_nodes(evidence, Front::Nodes(one), Front::Nodes(two));
        if let Some((least, most)) = extremes(these.iter().copied()) {
            told.push(format!("with {two} instead of {one} {least:.2} to {most:.2}"));
        }
        ratios.extend(these);
    }
    extremes(ratios.iter().copied())?;
    let held = ratios.iter().all(|ratio| (HALF.0..=HALF.1).contains(ratio));
    let mut why = format!("The mean trip time is, of what it was, {}.", told.join(", "));
    if !held {
        why = format!("{why} {}", shared(evidence));
    }
    Some((held_if(held), why))
}

pub fn several_nodes_cost_little(evidence: &Evidence) -> Finding {
    let several: Vec<usize> = evidence.results.nodes().into_iter().filter(|count| *count > 1).collect();
    if several.is_empty() {
        let only_one = "No more than one node was measured.".to_owned();
        return evidence.results.nodes().first().map(|_| (Standing::CannotBeShown, only_one));
    }
    let fronts = || several.iter().map(|count| Front::Nodes(*count));
    let received = |front: Front| {
        let percent = move |connections| {
            let job = CrowdJob { method: Method::EventDriven, connections, front };
            median(evidence, job, |run| run.received_percent)
        };
        evidence.results.connections(|other| other == front).into_iter().filter_map(percent)
    };
    let (least, _) = extremes(fronts().flat_map(received))?;
    let more = extremes(fronts().flat_map(|more| trips_by_nodes(evidence, Front::Nodes(1), more)));
    let balanced = extremes(trips_by_nodes(evidence, Front::Direct, Front::Nodes(1)));
    let range = |(least, most): (f64, f64)| format!("×{least:.2} to ×{most:.2}");
    let mut why = format!("Clients of several nodes received at least {} %.", numbers::percent(least));
    if let Some(balanced) = balanced {
        why += &format!(" The load balancer before one node makes the mean trip time {}.", range(balanced));
    }
    let Some(more) = more else { return Some((Standing::CannotBeShown, why)) };
    why += &format!(
        " Several nodes instead of that one make it {}; more than {} would be significant.",
        range(more),
        times(SIGNIFICANT)
    );
    let held = least + POINTS >= 100.0 && more.1 <= SIGNIFICANT;
    if !held {
        why = format!("{why} {}", shared(evidence));
    }
    Some((held_if(held), why))
}
