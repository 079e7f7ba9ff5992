//! A round of a node's life without sockets, in its three parts: a publication comes in, its
//! answers go out, the clients ask again. To one channel with 0, 1, 100 and 16,000 held
//! polls, and to 16,000 channels with a poll each. All figures are for a whole round; the
//! rate is polls a second. The yardstick of the shared answer is one made for each by itself.

use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, measurement::WallTime};

use crate::house::{House, Spread};

/// The part of a round that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The publications come in: all who wait are given their answer.
    Publish,
    /// The answers go out.
    Deliver,
    /// The clients ask again, and are held.
    Poll,
}

/// Times this part.
pub fn measure(criterion: &mut Criterion) {
    check();
    let mut group = criterion.benchmark_group("fan-out");
    for (spread, name, counts) in [
        (Spread::Together, "on one channel", &[0, 1, 100, 16_000][..]),
        (Spread::Limited, "on one channel, each read by itself", &[100]),
        (Spread::Apart, "on a channel each", &[16_000]),
    ] {
        for count in counts {
            let mut house = House::new(*count, spread);
            // As many rounds as a channel holds messages, so that each finds it alike.
            for _ in 0..11 {
                round(&mut house, Part::Publish, *count);
            }
            measure_rounds(&mut group, &mut house, *count, &format!("{count} {name}"));
        }
    }
    group.finish();
}

fn measure_rounds(group: &mut BenchmarkGroup<WallTime>, house: &mut House, count: usize, name: &str) {
    group.throughput(Throughput::Elements(count.max(1) as u64));
    if count > 1_000 {
        group.sample_size(20).sampling_mode(SamplingMode::Flat);
    } else {
        group.sample_size(100).sampling_mode(SamplingMode::Auto);
    }
    for (part, what) in [(Part::Publish, "publish"), (Part::Deliver, "deliver"), (Part::Poll, "poll again")] {
        if count == 0 && part != Part::Publish {
            continue;
        }
        group.bench_function(BenchmarkId::new(what, name), |bencher| {
            bencher.iter_custom(|iters| (0..iters).map(|_| round(house, part, count)).sum())
        });
    }
}

/// One round; how long that part of it takes.
fn round(house: &mut House, part: Part, count: usize) -> Duration {
    let (mut spent, mut answered) = ([Duration::ZERO; 2], 0);
    for row in 0..house.rows() {
        let started = Instant::now();
        house.publish(row);
        let published = Instant::now();
        answered += house.deliver();
        spent[0] += published - started;
        spent[1] += published.elapsed();
    }
    assert_eq!(answered, count, "every poll is answered once");
    house.pass_time();
    let started = Instant::now();
    house.poll();
    match part {
        Part::Publish => spent[0],
        Part::Deliver => spent[1],
        Part::Poll => started.elapsed(),
    }
}

/// That the answer that many share is the one that each would have been given by itself, and
/// that whoever comes later with the same cursor is told.
fn check() {
    let told = |spread| {
        let mut house = House::new(100, spread);
        round(&mut house, Part::Publish, 100);
        let target = house.target().to_owned();
        house.publish(0);
        let mut answers = house.deliver_in_full();
        answers.push(house.ask_at_once(&target).into());
        answers
    };
    let (shared, single) = (told(Spread::Together), told(Spread::Limited));
    assert_eq!(shared.len(), 101);
    assert!(shared.iter().all(|answer| *answer == shared[0]), "all are told the same");
    assert_eq!(shared[0], single[0]);
    assert!(single.iter().all(|answer| *answer == single[0]), "and so are these");
}
