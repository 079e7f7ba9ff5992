//! Runs seeds, many at a time, and tells what came of it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::plan::Make;
use crate::scene::Totals;
use crate::world::{self, Report};

/// Lines of the trace that are shown with a failure.
const TAIL_LINES: usize = 60;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics inside of a run are its verdict and need no words of their own.
pub fn quiet_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            usual(info);
        } else if let Some(place) = info.location() {
            PLACE.set(format!("{}:{}", place.file(), place.line()));
        }
    }));
}

thread_local! {
    static PLACE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Runs a seed; a panic is a failure like others.
pub fn run(seed: u64, make: Make, trace: bool) -> Report {
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| world::run(seed, make, trace)));
    QUIET.set(false);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        let failure = Some(format!("panic: {text} at {}", PLACE.take()));
        Report { failure, totals: Totals::default(), hash: 0, lines: Vec::new() }
    })
}

/// One seed, with all that happened if asked for, else with its end if it failed.
pub fn one(seed: u64, make: Make, trace: bool) -> bool {
    let report = run(seed, make, true);
    let shown = if trace { report.lines.len() } else { TAIL_LINES };
    if trace || report.failure.is_some() {
        for line in &report.lines[report.lines.len().saturating_sub(shown)..] {
            println!("{line}");
        }
    }
    match &report.failure {
        None => println!("sim: seed {seed} is well (trace {:016x})", report.hash),
        Some(failure) => println!("sim: seed {seed} FAILED\n  {failure}"),
    }
    report.failure.is_none()
}

/// Many seeds, on some threads; stops at the first that fails.
pub fn many(from: u64, seeds: u64, jobs: usize, make: Make) -> bool {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let totals = Mutex::new(Totals::default());
    let failures: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let report = run(seed, make, false);
                    totals.lock().expect("no thread panics").merge(&report.totals);
                    totals.lock().expect("no thread panics").add("seeds", 1);
                    if let Some(failure) = report.failure {
                        stop.store(true, Ordering::Relaxed);
                        failures.lock().expect("no thread panics").push((seed, failure));
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().expect("no thread panics");
    show(&totals, begun.elapsed().as_secs_f64());
    let failures = failures.into_inner().expect("no thread panics");
    let Some((seed, failure)) = failures.into_iter().min() else {
        println!("sim: 0 lost, 0 duplicated, 0 skipped, 0 out of order, 0 phantoms; all nodes agreed");
        return true;
    };
    println!("sim: seed {seed} FAILED\n  {failure}");
    one(seed, make, false);
    let shards = make.shards.map_or(String::new(), |shards| format!(" --shards {shards}"));
    println!("sim: again with everything: tools/sim --seed {seed}{shards} --trace");
    false
}

fn show(totals: &Totals, seconds: f64) {
    let seeds = totals.of("seeds");
    println!(
        "sim: {seeds} seeds in {seconds:.1} s, {:.1} a second; {:.0} s of virtual time, {} events",
        seeds as f64 / seconds,
        totals.of("virtual ms") as f64 / 1000.0,
        totals.of("events")
    );
    println!(
        "sim: {} publications ({} unacknowledged; receipts: {} local, {} one, {} quorum; {} second ids), {} polls, {} deliveries, {} gaps",
        totals.of("publications"),
        totals.of("unacknowledged"),
        totals.of("local"),
        totals.of("one"),
        totals.of("quorum"),
        totals.of("second ids"),
        totals.of("polls"),
        totals.of("deliveries"),
        totals.of("gaps")
    );
    const OTHER: [&str; 13] = [
        "second ids",
        "seeds",
        "virtual ms",
        "events",
        "publications",
        "unacknowledged",
        "local",
        "one",
        "quorum",
        "polls",
        "deliveries",
        "gaps",
        "ms to agree",
    ];
    let faults: Vec<String> = totals
        .counts
        .iter()
        .filter(|(name, _)| !OTHER.contains(name))
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    println!("sim: {}", faults.join(", "));
    println!("sim: all agreed {:.2} s after the end of the faults, on average", {
        totals.of("ms to agree") as f64 / 1000.0 / seeds.max(1) as f64
    });
}

/// That a seed gives the same run, whether or not somebody reads the trace.
pub fn replays(from: u64, make: Make) -> bool {
    const SAMPLE: u64 = 20;
    let differs = |seed: &u64| {
        let one = run(*seed, make, false);
        let two = run(*seed, make, true);
        (one.hash, one.failure) != (two.hash, two.failure)
    };
    match (from..from + SAMPLE).find(differs) {
        None => {
            println!("sim: {SAMPLE} seeds replay exactly");
            true
        }
        Some(seed) => {
            println!("sim: FAILED: seed {seed} does not replay");
            false
        }
    }
}
