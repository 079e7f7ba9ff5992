//! That the simulator sees: every planted bug is found.

use std::sync::atomic::{AtomicUsize, Ordering};

use pushup::planted::{Bug, Planted};

use crate::plan::Make;
use crate::runner;

/// Each bug must be found within so many seeds.
const SEEDS_MAX: u64 = 200;

/// The bug of that name.
pub fn named(name: &str) -> Option<Bug> {
    Bug::ALL.into_iter().find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name))
}

/// Looks for every bug, some at a time; tells after how many seeds each was found.
pub fn all_are_found(jobs: usize, shards: Option<usize>) -> bool {
    let next = AtomicUsize::new(0);
    let missed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    missed.fetch_add(usize::from(!is_found(*bug, shards)), Ordering::Relaxed);
                }
            });
        }
    });
    missed.into_inner() == 0
}

fn is_found(bug: Bug, shards: Option<usize>) -> bool {
    let make = Make { planted: Planted::with(bug), shards };
    let found = (1..=SEEDS_MAX).find_map(|seed| {
        let failure = runner::run(seed, make, false).failure?;
        Some((seed, failure))
    });
    match &found {
        Some((seed, failure)) => println!("sim: {bug:?} is found after {seed} seeds: {failure}"),
        None => println!("sim: FAILED: {bug:?} is not found within {SEEDS_MAX} seeds"),
    }
    found.is_some()
}
