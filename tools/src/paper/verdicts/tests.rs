use super::*;
use crate::paper::plan::Front;
use crate::paper::results::made_up::{World, results};

const GIB: u64 = 1 << 30;

fn standings(results: &Results, memory_bytes: u64) -> Vec<Standing> {
    judge(&Evidence { results, memory_bytes, cpus: 2 }).iter().map(|verdict| verdict.standing).collect()
}

#[test]
fn the_papers_own_numbers_hold_its_claims() {
    use Standing::*;
    let paper = results(World::OfThePaper);
    // Its own trip times of threads and events differ by up to 1.1 s at 1,000 clients.
    let expected = [Held, Held, Held, Held, Held, NotHeld, Held, Held, Held, Held, Held, Held];
    let verdicts = judge(&Evidence { results: &paper, memory_bytes: 8 * GIB, cpus: 2 });
    for (verdict, expected) in verdicts.iter().zip(expected) {
        assert_eq!(verdict.standing, expected, "{verdict:#?}");
    }
}

#[test]
fn where_nothing_is_overloaded_some_do_not_hold() {
    use Standing::*;
    let calm = results(World::WithoutOverload);
    let expected = [Held, Held, Held, Held, NotHeld, Held, NotHeld, Held, NotHeld, NotHeld, NotHeld, NotHeld];
    let verdicts = judge(&Evidence { results: &calm, memory_bytes: 24 * GIB, cpus: 2 });
    for (verdict, expected) in verdicts.iter().zip(expected) {
        assert_eq!(verdict.standing, expected, "{verdict:#?}");
    }
    assert!(verdicts[4].why.contains("0.50 to 0.50 polling intervals"), "{}", verdicts[4].why);
    assert!(verdicts[6].why.contains("8,000 connections"), "{}", verdicts[6].why);
    assert_eq!(count(&verdicts, Held), 6);
}

#[test]
fn nodes_on_one_machine_bring_no_further_power() {
    let calm = results(World::WithoutOverload);
    let verdicts = judge(&Evidence { results: &calm, memory_bytes: 24 * GIB, cpus: 2 });
    let [halved, cheap] = [10, 11].map(|index| &verdicts[index].why);
    assert!(
        halved.contains("with 2 instead of 1 1.30 to 1.30, with 4 instead of 2 1.23 to 1.23"),
        "{halved}"
    );
    assert!(halved.contains("this machine's 2 processors"), "{halved}");
    assert!(cheap.contains("at least 100 %") && cheap.contains("×1.30 to ×1.60"), "{cheap}");
    let mut one = results(World::OfThePaper);
    one.crowds.retain(|done| matches!(done.job.front, Front::Direct | Front::Nodes(1)));
    assert_eq!(standings(&one, GIB)[10..], [Standing::CannotBeShown; 2]);
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
fn a_size_that_was_not_measured_with_both_decides_nothing() {
    let whole = results(World::OfThePaper);
    let mut some = results(World::OfThePaper);
    let fails = |least: usize, some: &mut crate::paper::results::Results| {
        for done in &mut some.crowds {
            let threads = done.job.method == crate::paper::Method::ThreadPerPoll;
            if threads && done.job.front == Front::Direct && done.job.connections >= least {
                done.outcome = Err("no more threads".to_owned());
            }
        }
    };
    fails(16_000, &mut some);
    let verdicts = judge(&Evidence { results: &some, memory_bytes: 24 * GIB, cpus: 2 });
    assert!(verdicts[8].why.contains("One size was not measured"), "{}", verdicts[8].why);
    assert!(!verdicts[8].why.contains("16,000"), "{}", verdicts[8].why);
    fails(0, &mut some);
    let standings_now = standings(&some, 24 * GIB);
    assert_eq!(standings_now[8..10], [Standing::CannotBeShown; 2]);
    assert_ne!(standings(&whole, 24 * GIB)[8], Standing::CannotBeShown);
}

#[test]
fn words() {
    for (ratio, text) in [(1.0, "×1.0"), (53.97, "×54.0"), (1_234.0, "×1,234")] {
        assert_eq!(times(ratio), text);
    }
    assert_eq!(extremes([2.0, f64::NAN, 1.0]), Some((1.0, 2.0)));
    assert_eq!(extremes([]), None);
}
