//! What clients are sent while nothing goes wrong.

use super::*;

#[test]
fn an_ordered_response_is_the_same_however_it_is_divided_and_by_however_many() {
    for seed in 0..30 {
        let backends = 1 + seed as usize % 4;
        let mut world = World::new(seed, backends, numbers);
        let mode = if seed % 2 == 0 { "iterative" } else { "concurrent" };
        world.put(json!({"mode": mode, "parallel": 1 + seed % 5}), 1 + seed as i64 * 13);
        let plain = world.start(0, 700, false).unwrap();
        let gzip = world.start(0, 700, true).unwrap();
        world.finish();
        assert_eq!(world.clients[plain].result, Some(Ok(())), "seed {seed}");
        assert!(world.clients[plain].body == expected(0, 700), "seed {seed}");
        assert!(unzipped(&world.clients[gzip].body) == expected(0, 700), "seed {seed}");
        world.check_rest();
    }
}

#[test]
fn an_unordered_response_has_every_record_once_and_whole() {
    for seed in 0..30 {
        let mut world = World::new(seed, 3, numbers);
        world.put(json!({"merge": "unordered", "parallel": 4}), 20);
        let client = world.start(0, 700, seed % 2 == 0).unwrap();
        world.finish();
        let body = &world.clients[client].body;
        let body = if seed % 2 == 0 { unzipped(body) } else { body.clone() };
        let sorted = |bytes: &[u8]| {
            let mut lines: Vec<Vec<u8>> =
                bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            lines.sort();
            lines
        };
        assert!(sorted(&body) == sorted(&expected(0, 700)), "seed {seed}");
        world.check_rest();
    }
}

#[test]
fn nothing_is_a_response_too() {
    for gzip in [false, true] {
        let mut world = World::new(1, 1, numbers);
        world.put(json!({}), 10);
        let client = world.start(5, 5, gzip).unwrap();
        world.finish();
        let body = &world.clients[client].body;
        assert_eq!(if gzip { unzipped(body) } else { body.clone() }, b"");
        assert_eq!(world.clients[client].result, Some(Ok(())));
        world.check_rest();
    }
}

/// `execute_concurrent`: ten on five are two each, wherever they are.
#[test]
fn concurrent_sub_tasks_are_spread_evenly() {
    for seed in 0..6 {
        let mut world = World::new(seed, 5, numbers);
        world.put(json!({"mode": "concurrent"}), 100);
        world.start(0, 1_000, false).unwrap();
        let running = |world: &World| -> Vec<u64> {
            let view = world.front.view();
            view["backends"].as_array().unwrap().iter().map(|one| one["running"].as_u64().unwrap()).collect()
        };
        assert_eq!(running(&world), [2; 5], "seed {seed}");
    }
}

/// `execute_iterative`: never more at once than it says.
#[test]
fn iterative_sub_tasks_are_so_many_at_once() {
    let mut world = World::new(3, 4, numbers);
    world.put(json!({"parallel": 3}), 10);
    let client = world.start(0, 500, false).unwrap();
    let mut most = 0;
    world.run_until("the answer", |world| {
        world.take(client, 2);
        let view = world.front.view();
        let running = view["backends"].as_array().unwrap().iter().map(|one| one["running"].as_u64().unwrap());
        most = most.max(running.sum::<u64>());
        world.clients[client].result.is_some()
    });
    assert_eq!(most, 3);
    assert!(world.clients[client].body == expected(0, 500));
}

/// A sub-task that spawns others: halves until they are small, in the order of a walk through the tree.
fn halving(run: &Json, _: &mut Random) -> Vec<u8> {
    let number = |name: &str| run["params"][name].as_i64().unwrap();
    let (from, to) = (number("from"), number("to"));
    if to - from <= 10 {
        let mut out: Vec<u8> = (from..to).flat_map(record).collect();
        out.extend(end(run, (to - from) as u64));
        return out;
    }
    let middle = (from + to) / 2;
    let mut out =
        control(&json!({"spawn": {"tasks": [{"from": from, "to": middle}, {"from": middle, "to": to}]}}));
    out.extend(end(run, 0));
    out
}

#[test]
fn what_is_spawned_comes_where_it_belongs() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, halving);
        let mut json = definition(json!({"parallel": 4}), 1);
        json["split"] = json!({"kind": "handler"});
        world.put_json(&json).unwrap();
        let client = world.start(0, 500, false).unwrap();
        world.finish();
        assert_eq!(world.clients[client].result, Some(Ok(())));
        assert!(world.clients[client].body == expected(0, 500), "seed {seed}");
        world.check_rest();
    }
}

/// A client that reads nothing stops the handlers, and costs so much and no more.
#[test]
fn a_client_that_does_not_read_holds_back_the_handlers() {
    let mut world = World::new(5, 2, numbers);
    world.put(json!({"parallel": 3, "deadline_s": 3600}), 30_000);
    let client = world.start(0, 200_000, false).unwrap();
    (0..3_000).for_each(|_| world.step());
    assert!(world.most_bytes <= held_max(3), "{} bytes", world.most_bytes);
    let before = world.front.bytes();
    (0..3_000).for_each(|_| world.step());
    assert_eq!(world.front.bytes(), before, "nothing more has come");
    assert_eq!(world.front.retries, 0, "who waits for the client is not thought to hang");
    // It is gone: all that was done for it stops.
    let job = world.clients[client].job;
    world.front.cancel(job);
    world.clients[client].result = Some(Ok(()));
    let left = world.now.tick;
    world.check_rest();
    assert!(world.now.tick.since_ms(left) < 1_000, "its handlers are ended within a second");
}
