//! What a component goes through, by the clock.

use super::*;

fn component(arguments: &str) -> Component {
    let arguments = vec![arguments.to_owned()];
    Component { group: "work".into(), role: Role::BackEnd, arguments, scheduler: None, drain_ms: 30_000 }
}

fn life(pid: u32) -> Life {
    Life { pid, start: u64::from(pid), since_ms: 0 }
}

fn deeds(keeper: &mut Keeper) -> Vec<String> {
    let shown = |deed| match deed {
        Deed::Start(name, component) => format!("start {name} {}", component.arguments.concat()),
        Deed::Terminate(name) => format!("terminate {name}"),
        Deed::Kill(name) => format!("kill {name}"),
    };
    std::iter::from_fn(|| keeper.poll_deed()).map(shown).collect()
}

/// One that has ended is started after 100 ms × 2ⁿ, less up to a half; never later than after 30 s.
#[test]
fn failures_are_answered_ever_more_slowly_until_one_has_run_a_minute() {
    for seed in 0..20 {
        let mut keeper = Keeper::new(seed);
        let mut now = Tick(1_000);
        keeper.put("w", component("a"), Wanted::Up, now);
        assert_eq!(deeds(&mut keeper), ["start w a"]);
        for failures in 1..=15_u32 {
            keeper.handle_start("w", life(failures), now);
            now = now.plus_ms(10);
            keeper.handle_end("w", "exit status: 1", now);
            assert_eq!(keeper.get("w").unwrap().is_failing(), failures >= COMPONENT_FAILURES_MAX);
            let due = keeper.next_deadline(now).unwrap();
            let whole = (100 << (failures - 1).min(20)).min(30_000);
            assert!((whole / 2..=whole).contains(&due.since_ms(now)), "{failures}: {due:?} at {now:?}");
            keeper.handle_time(Tick(due.0 - 1));
            assert_eq!(deeds(&mut keeper), [""; 0]);
            keeper.handle_time(due);
            assert_eq!(deeds(&mut keeper), ["start w a"]);
            now = due;
        }
        keeper.handle_start("w", life(99), now);
        now = now.plus_ms(COMPONENT_SETTLED_MS);
        keeper.handle_end("w", "signal: 9", now);
        let kept = keeper.get("w").unwrap();
        assert_eq!((kept.failures, kept.restarts), (1, 16));
        assert!(keeper.next_deadline(now).unwrap().since_ms(now) <= 100);
    }
}

#[test]
fn one_that_is_started_by_hand_does_not_wait() {
    let mut keeper = Keeper::new(1);
    keeper.put("w", component("a"), Wanted::Up, Tick(0));
    for _ in 0..9 {
        deeds(&mut keeper);
        keeper.handle_end("w", "it cannot be started", Tick(0));
        keeper.hurry("w", Tick(0));
    }
    assert_eq!(deeds(&mut keeper), ["start w a"]);
    assert_eq!(keeper.get("w").unwrap().failures, 0);
}

#[test]
fn what_does_not_end_is_killed_in_its_time() {
    for (wanted, patience) in
        [(Wanted::Stopped, COMPONENT_STOP_MS), (Wanted::Drained, 30_000 + COMPONENT_STOP_MS)]
    {
        let mut keeper = Keeper::new(1);
        keeper.put("w", component("a"), Wanted::Up, Tick(0));
        deeds(&mut keeper);
        keeper.handle_start("w", life(1), Tick(0));
        keeper.put("w", component("a"), wanted, Tick(0));
        assert_eq!(deeds(&mut keeper), ["terminate w"]);
        assert_eq!(keeper.next_deadline(Tick(0)), Some(Tick(patience)));
        keeper.handle_time(Tick(patience - 1));
        assert_eq!(deeds(&mut keeper), [""; 0]);
        keeper.handle_time(Tick(patience));
        assert_eq!(deeds(&mut keeper), ["kill w"]);
        keeper.handle_time(Tick(2 * patience));
        assert_eq!(deeds(&mut keeper), [""; 0], "once is enough");
        keeper.handle_end("w", "signal: 9", Tick(2 * patience));
        assert_eq!(keeper.get("w").unwrap().state, State::Down);
        assert_eq!(keeper.next_deadline(Tick(0)), None);
    }
}

#[test]
fn a_drain_that_becomes_a_stop_is_not_waited_for() {
    let mut keeper = Keeper::new(1);
    keeper.adopt("w", component("a"), life(1), Tick(0));
    keeper.put("w", component("a"), Wanted::Drained, Tick(0));
    keeper.put("w", component("a"), Wanted::Stopped, Tick(1_000));
    assert_eq!(keeper.next_deadline(Tick(0)), Some(Tick(1_000 + COMPONENT_STOP_MS)));
    // And what is wanted again while it ends comes back when it has ended.
    keeper.put("w", component("b"), Wanted::Up, Tick(2_000));
    assert_eq!(deeds(&mut keeper), ["terminate w"]);
    keeper.handle_end("w", "exit status: 0", Tick(3_000));
    assert_eq!(deeds(&mut keeper), ["start w b"]);
    assert_eq!(keeper.get("w").unwrap().restarts, 0, "it did not end by itself");
}

#[test]
fn one_that_is_removed_is_forgotten_when_it_has_ended() {
    let mut keeper = Keeper::new(1);
    keeper.adopt("w", component("a"), life(1), Tick(0));
    keeper.remove("w", Tick(0));
    assert_eq!(deeds(&mut keeper), ["terminate w"]);
    assert!(!keeper.is_idle(Role::BackEnd));
    keeper.handle_end("w", "exit status: 0", Tick(0));
    assert!(keeper.get("w").is_none() && keeper.is_idle(Role::BackEnd));
    assert!(keeper.take_change() && !keeper.take_change());
}
