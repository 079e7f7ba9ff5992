//! What the small parts cost, one by one: `cargo bench --bench micro`; `-- timers` behind it
//! measures that part alone, `-- --test` only runs each once.
//!
//! What it owns: the order of the parts. Beside each stands a yardstick: the library that
//! does the heart of it, or the code that anyone would write. Invariant: where two things
//! are timed that should give the same, they are held against each other on the bench's own
//! input before the clock starts. `cycle` has the whole path, `pushup-load compare` the kernel's share.

#[path = "micro/answers.rs"]
mod answers;
#[path = "micro/cursors.rs"]
mod cursors;
#[path = "micro/fan_out.rs"]
mod fan_out;
#[path = "micro/histories.rs"]
mod histories;
#[path = "micro/house.rs"]
mod house;
#[path = "micro/requests.rs"]
mod requests;
#[path = "micro/samples.rs"]
mod samples;
#[path = "micro/timers.rs"]
mod timers;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    requests::measure(&mut criterion);
    cursors::measure(&mut criterion);
    histories::measure(&mut criterion);
    timers::measure(&mut criterion);
    answers::measure(&mut criterion);
    fan_out::measure(&mut criterion);
    criterion.final_summary();
}
