use super::*;
use crate::paper::plan::Front;
use crate::paper::results::made_up::{World, results};

const GIB: u64 = 1 << 30;

fn standings(results: &Results, memory_bytes: u64) -> Vec<Standing> {
    judge(&Evidence { results, memory_bytes }).iter().map(|verdict| verdict.standing).collect()
}

#[test]
fn the_papers_own_numbers_hold_its_claims() {
    use Standing::*;
    let paper = results(World::OfThePaper);
    // Its own trip times of threads and events differ by up to 1.1 s at 1,000 clients.
    let expected = [Held, Held, Held, Held, Held, NotHeld, Held, Held, Held, Held, Held];
    let verdicts = judge(&Evidence { results: &paper, memory_bytes: 8 * GIB });
    for (verdict, expected) in verdicts.iter().zip(expected) {
        assert_eq!(verdict.standing, expected, "{verdict:#?}");
    }
}

#[test]
fn where_nothing_is_overloaded_some_do_not_hold() {
    use Standing::*;
    let calm = results(World::WithoutOverload);
    let expected = [Held, Held, Held, Held, NotHeld, Held, NotHeld, Held, NotHeld, NotHeld, CannotBeShown];
    let verdicts = judge(&Evidence { results: &calm, memory_bytes: 24 * GIB });
    for (verdict, expected) in verdicts.iter().zip(expected) {
        assert_eq!(verdict.standing, expected, "{verdict:#?}");
    }
    assert!(verdicts[4].why.contains("0.50 to 0.50 polling intervals"), "{}", verdicts[4].why);
    assert!(verdicts[6].why.contains("8,000 connections"), "{}", verdicts[6].why);
    assert_eq!(count(&verdicts, Held), 6);
}

#[test]
fn what_was_not_run_is_not_judged() {
    let nothing = standings(&Results::default(), GIB);
    assert!(nothing.iter().all(|standing| *standing == Standing::CannotBeShown));
    // One interval says nothing about growth.
    let mut one = results(World::OfThePaper);
    one.polling.retain(|done| done.job.interval_s == 10);
    one.crowds.retain(|done| done.job.connections <= 4_000);
    let standings = standings(&one, 24 * GIB);
    for index in [0, 1, 4, 6] {
        assert_eq!(standings[index], Standing::CannotBeShown, "{index}");
    }
}

#[test]
fn threads_that_fail_at_the_largest_size_lose_the_comparison() {
    let mut some = results(World::WithoutOverload);
    for done in &mut some.crowds {
        let threads = done.job.method == crate::paper::Method::ThreadPerPoll;
        if threads && done.job.front == Front::Direct && done.job.connections == 16_000 {
            done.outcome = Err("no more threads".to_owned());
        }
    }
    let verdicts = judge(&Evidence { results: &some, memory_bytes: 24 * GIB });
    assert_eq!(verdicts[8].standing, Standing::Held, "{}", verdicts[8].why);
    assert_eq!(verdicts[9].standing, Standing::Held, "{}", verdicts[9].why);
}

#[test]
fn words() {
    for (ratio, text) in [(1.0, "×1.0"), (53.97, "×54.0"), (1_234.0, "×1,234")] {
        assert_eq!(times(ratio), text);
    }
    assert_eq!(extremes([2.0, f64::NAN, 1.0]), Some((1.0, 2.0)));
    assert_eq!(extremes([]), None);
}
