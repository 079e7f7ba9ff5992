//! That the simulator sees: every planted bug is found.

use pushup::planted::{Bug, Planted};

use crate::runner;

/// Each bug must be found within so many seeds.
const SEEDS_MAX: u64 = 200;

/// The bug of that name.
pub fn named(name: &str) -> Option<Bug> {
    Bug::ALL.into_iter().find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name))
}

/// Looks for every bug in turn; tells after how many seeds each was found.
pub fn all_are_found() -> bool {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = (1..=SEEDS_MAX).find_map(|seed| {
            let failure = runner::run(seed, Planted::with(bug), false).failure?;
            Some((seed, failure))
        });
        match found {
            Some((seed, failure)) => println!("sim: {bug:?} is found after {seed} seeds: {failure}"),
            None => {
                println!("sim: FAILED: {bug:?} is not found within {SEEDS_MAX} seeds");
                missed.push(bug);
            }
        }
    }
    missed.is_empty()
}
