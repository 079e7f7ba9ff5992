//! Back-ends that die, handlers that misbehave, clients that leave.

use super::*;
use crate::limits::HANDLER_SETTLE_MS;

fn status(world: &World, client: usize) -> u16 {
    match &world.clients[client].result {
        Some(Err(failure)) => failure.status,
        Some(Ok(())) => 200,
        None => 0,
    }
}

/// A back-end dies at any moment: the response is the same, byte by byte.
#[test]
fn a_lost_back_end_changes_nothing() {
    let (mut cases, mut retried) = (0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed, 3, numbers);
        world.put(json!({"parallel": 4}), 40);
        let client = world.start(0, 400, seed % 2 == 0).unwrap();
        let moment = world.chance(10);
        for _ in 0..moment {
            world.step();
            world.take(client, 1);
        }
        let victim = 1 + world.chance(3) as u32;
        world.kill(victim);
        world.finish();
        let body = &world.clients[client].body;
        let body = if seed % 2 == 0 { unzipped(body) } else { body.clone() };
        assert_eq!(world.clients[client].result, Some(Ok(())), "seed {seed}");
        assert!(body == expected(0, 400), "seed {seed}");
        cases += 1;
        retried += u32::from(world.front.retries > 0);
        world.check_rest();
    }
    assert!(retried > cases / 3, "only {retried} of {cases} were hit in the middle");
}

#[test]
fn handlers_that_crash_now_and_then_change_nothing() {
    let mut retried = 0;
    for seed in 0..60 {
        let mut world = World::new(seed, 3, numbers);
        world.put(json!({"parallel": 4, "retries": 10}), 40);
        world.crashes = 15;
        let client = world.start(0, 400, false).unwrap();
        world.finish();
        retried += world.front.retries;
        assert_eq!(world.clients[client].result, Some(Ok(())), "seed {seed}");
        assert!(world.clients[client].body == expected(0, 400), "seed {seed}");
        world.crashes = 0;
        world.check_rest();
    }
    assert!(retried > 60, "{retried}");
}

/// Something else each time.
fn moody(run: &Json, random: &mut Random) -> Vec<u8> {
    let mut out: Vec<u8> =
        (0..200).flat_map(|_| format!("{}{}\n", random.next_u64(), "y".repeat(2_000)).into_bytes()).collect();
    out.extend(end(run, 200));
    out
}

#[test]
fn a_replay_that_differs_breaks_the_response_off() {
    let mut broken = 0;
    for seed in 0..30 {
        let mut world = World::new(seed, 2, moody);
        world.put(json!({}), 1);
        let client = world.start(0, 2, false).unwrap();
        world.run_until("some of it", |world| {
            world.take(client, 1);
            !world.clients[client].body.is_empty()
        });
        world.kill(1);
        world.finish();
        if let Some(Err(failure)) = &world.clients[client].result {
            assert_eq!(failure.status, 502);
            assert!(failure.reason.contains("gave something else"), "{failure:?}");
            broken += 1;
        }
        world.check_rest();
    }
    assert!(broken > 5, "{broken}");
}

fn crashing(_: &Json, _: &mut Random) -> Vec<u8> {
    Vec::new()
}

/// Whoever ends two back-ends gets no third.
#[test]
fn a_poisonous_sub_task_is_given_up() {
    let mut world = World::new(1, 4, crashing);
    world.put(json!({"retries": 10}), 10);
    let client = world.start(0, 10, false).unwrap();
    for lost in 1..=2 {
        let runs = |world: &World| {
            world.hosts.iter().find(|(_, host)| host.backend.runs() > 0).map(|(number, _)| *number)
        };
        world.run_until("it to be run", |world| runs(world).is_some());
        let number = runs(&world).unwrap();
        world.kill(number);
        world.take(client, 1);
        assert_eq!(world.clients[client].result.is_some(), lost == 2);
    }
    assert_eq!(status(&world, client), 502);
    world.check_rest();
}

#[test]
fn a_handler_that_says_nothing_is_tried_elsewhere_and_then_given_up() {
    let mut world = World::new(2, 2, crashing);
    world.put(json!({"retries": 1, "deadline_s": 3600}), 10);
    let client = world.start(0, 10, false).unwrap();
    world.finish();
    assert_eq!(status(&world, client), 502);
    assert_eq!(world.front.retries, 2);
    world.check_rest();
}

#[test]
fn what_takes_too_long_is_ended() {
    let mut world = World::new(2, 2, crashing);
    world.put(json!({"deadline_s": 3}), 10);
    let client = world.start(0, 10, false).unwrap();
    world.finish();
    assert_eq!(status(&world, client), 504);
    world.check_rest();
}

fn garbage(run: &Json, random: &mut Random) -> Vec<u8> {
    match random.next_u64() % 6 {
        0 => b"\x1enonsense\n".to_vec(),
        1 => control(&json!({"end": {"id": "another"}})),
        2 => control(&json!({"end": {"id": run["id"], "records": 3}})),
        3 => control(&json!({"spawn": {"tasks": [1, 2]}})),
        4 => vec![b'z'; 2_000_000],
        _ => [end(run, 0), b"more\n".to_vec()].concat(),
    }
}

#[test]
fn garbage_is_a_failed_attempt() {
    for seed in 0..40 {
        let mut world = World::new(seed, 2, garbage);
        world.put(json!({"retries": 2}), 10);
        let client = world.start(0, 30, false).unwrap();
        world.finish();
        // What comes after the end of one may be found when it is over.
        assert!([200, 502].contains(&status(&world, client)), "seed {seed}");
        assert!(world.front.bytes() < 3_000_000);
        world.check_rest();
    }
}

fn refusing(_: &Json, _: &mut Random) -> Vec<u8> {
    control(&json!({"error": {"message": "there is no such month", "request": true}}))
}

#[test]
fn a_handler_may_say_that_the_request_is_wrong() {
    let mut world = World::new(2, 1, refusing);
    world.put(json!({}), 10);
    let client = world.start(0, 10, false).unwrap();
    world.finish();
    let Some(Err(failure)) = &world.clients[client].result else { panic!("it is refused") };
    assert_eq!((failure.status, &*failure.reason), (400, "there is no such month"));
    world.check_rest();
}

#[test]
fn without_back_ends_a_request_is_told_so() {
    let mut world = World::new(2, 1, numbers);
    world.put(json!({}), 10);
    let client = world.start(0, 1_000, false).unwrap();
    world.kill(1);
    world.finish();
    assert_eq!(status(&world, client), 503);
    assert_eq!(world.start(0, 10, false).unwrap_err().status, 503);
    // A back-end that comes is taken at once.
    world.add_backend(1);
    world.run_until("it to register", |world| world.front.view()["backends"].as_array().unwrap().len() == 1);
    let again = world.start(0, 100, false).unwrap();
    world.finish();
    assert!(world.clients[again].body == expected(0, 100));
}

#[test]
fn so_many_requests_at_once_and_one_more_is_told_to_come_again() {
    let mut world = World::new(2, 1, numbers);
    world.put(json!({"jobs_max": 2}), 10);
    world.start(0, 100, false).unwrap();
    world.start(0, 100, false).unwrap();
    assert_eq!(world.start(0, 100, false).unwrap_err().status, 503);
    world.finish();
    world.start(0, 100, false).unwrap();
    world.finish();
    world.check_rest();
}

#[test]
fn an_unknown_program_is_refused_when_the_use_case_is_put() {
    let mut world = World::new(2, 1, numbers);
    let mut json = definition(json!({}), 10);
    json["handler"]["program"] = json!("sh");
    let refused = world.put_json(&json).unwrap_err();
    assert_eq!(
        (refused.status, &*refused.reason),
        (400, "No back-end has a program \"sh\"; there are: numbers, stillborn.")
    );
    world.kill(1);
    assert_eq!(world.put_json(&json).unwrap_err().status, 503);
}

/// A version that cannot be run does not take the place of one that can.
#[test]
fn what_cannot_be_prepared_changes_nothing() {
    let mut world = World::new(4, 2, numbers);
    world.put(json!({}), 10);
    let mut json = definition(json!({}), 20);
    json["handler"]["program"] = json!("stillborn");
    let refused = world.put_json(&json).unwrap_err();
    assert_eq!(refused.status, 502);
    assert!(refused.reason.contains("its program ended at once: exit status: 1"), "{refused:?}");
    assert_eq!(world.front.get("numbers").map(|(_, version)| version), Some(1));
    let client = world.start(0, 100, false).unwrap();
    world.finish();
    assert!(world.clients[client].body == expected(0, 100));
    world.check_rest();
}

/// While back-ends make themselves ready the path leads to the version before, and nobody else may put another.
#[test]
fn a_version_takes_its_place_when_back_ends_are_ready() {
    let mut world = World::new(4, 2, numbers);
    world.put(json!({}), 10);
    let owner = ConnId { index: 7, generation: 1 };
    let begun = world.now.tick;
    world.front.put(&definition(json!({}), 20), owner, world.now).unwrap();
    let again = world.front.put(&definition(json!({}), 30), owner, world.now).unwrap_err();
    assert_eq!(again.status, 409);
    let mut other = definition(json!({}), 10);
    other["name"] = json!("others");
    assert_eq!(world.front.put(&other, owner, world.now).unwrap_err().status, 409, "its path is taken");
    let version = |world: &World| world.front.get("numbers").map(|(_, version)| version);
    assert_eq!(version(&world), Some(1));
    world.run_until("one to be lost", |world| world.now.tick.since_ms(begun) > 20);
    world.kill(1);
    assert_eq!(version(&world), Some(1), "the other's handlers were not ready yet");
    world.run_until("the new version", |world| version(world) == Some(2));
    let stored = Stored { name: "numbers".into(), version: 2, is_new: false };
    assert_eq!(world.front.poll_outcome().map(|outcome| outcome.result), Some(Ok(stored)));
    assert!(world.now.tick.since_ms(begun) >= HANDLER_SETTLE_MS);
    // Nobody is left who could: nothing changes.
    world.front.put(&definition(json!({}), 30), owner, world.now).unwrap();
    world.kill(2);
    let outcome = world.front.poll_outcome().expect("it is told at once");
    assert_eq!(outcome.result.unwrap_err().status, 504);
    assert_eq!(version(&world), Some(2));
}

/// Replaced while requests are under way: each is answered by the version that it began with.
#[test]
fn a_use_case_is_replaced_without_a_pause() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2, numbers);
        for version in 0..6 {
            world.put(json!({"parallel": 2}), 10 + version);
            world.start(0, 100 + version, false).unwrap();
            (0..world.chance(5)).for_each(|_| world.step());
        }
        world.finish();
        for (at, client) in world.clients.iter().enumerate() {
            assert!(
                client.result == Some(Ok(())) && client.body == expected(0, 100 + at as i64),
                "seed {seed}"
            );
        }
        world.check_rest();
        assert!(world.front.remove("numbers") && !world.front.remove("numbers"));
        assert_eq!(world.start(0, 1, false).unwrap_err().status, 404);
        world.run_until("all handlers to end", |world| {
            world.hosts.values().all(|host| host.processes.is_empty())
        });
    }
}

#[test]
fn a_stranger_without_the_key_is_refused() {
    let mut world = World::new(2, 1, numbers);
    world.kill(1);
    let stranger = BackendSetup {
        identity: identity("stranger", 9, b"some other secret"),
        join: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
        slots: 1,
        programs: vec!["numbers".into()],
        handler_memory_mb: 100,
        seed: 1,
    };
    world.add_backend(1);
    world.hosts.get_mut(&2).unwrap().backend = Backend::new(stranger, world.now);
    (0..500).for_each(|_| world.step());
    assert_eq!(world.front.view()["backends"], json!([]));
}

/// Any frame of any kind, with members that mean something, in either direction: it costs a link at most.
#[test]
fn frames_that_make_no_sense_do_no_harm() {
    for seed in 0..60 {
        let mut world = World::new(seed, 2, numbers);
        world.put(json!({"parallel": 4, "retries": 10}), 20);
        let client = world.start(0, 200, seed % 2 == 0).unwrap();
        for _ in 0..40 {
            world.step();
            let frame = nonsense(&mut world.random);
            let number = *world.hosts.keys().next().unwrap();
            let host = world.hosts.get_mut(&number).unwrap();
            if let Some(link) = host.link {
                // The first byte of a frame must not fall into the middle of another.
                let rest: Vec<u8> = host.to_front.drain(..).collect();
                world.front.handle_input(link, &rest, world.now);
                world.front.handle_input(link, &frame, world.now);
                let rest: Vec<u8> = host.to_back.drain(..).collect();
                host.backend.handle_input(0, &rest, world.now);
                host.backend.handle_input(0, &frame, world.now);
            }
            world.take(client, 1);
        }
        world.finish();
        assert!(world.front.bytes() < 4_000_000);
    }
}

fn nonsense(random: &mut Random) -> Vec<u8> {
    let mut number = |below: u64| random.next_u64() % below;
    let kind = crate::wire::frame::Kind(30 + number(16) as u8);
    let small = [0, 1, 2, 3, 70_000, u32::MAX as u64 + 1];
    let mut any = || small[number(6) as usize];
    let program = ["numbers", "sh"][(any() % 2) as usize];
    let fault = ["handler", "differs", "request", "busy", "x"][(any() % 5) as usize];
    let meta = json!({
        "run": any(), "bytes": any(), "records": any(), "plain_len": any(), "crc32": any(), "slots": any(),
        "load": any(), "version": any(), "processes": any(), "deadline_ms": any(), "credit": any(),
        "skip_records": any(), "skip_bytes": any(), "skip_crc32": any(), "skip_spawned": any(),
        "usecase": "numbers", "program": program, "programs": ["numbers"],
        "fault": fault, "reason": "why", "gzip": any() == 1,
    });
    let body: &[u8] = match any() {
        0 => b"",
        1 => b"[{\"from\":1,\"to\":2}]",
        2 => b"\0\0\xff\xff",
        _ => b"{\"run\":{\"id\":\"x\",\"params\":{\"from\":1,\"to\":2}}}\n",
    };
    let mut out = Vec::new();
    crate::wire::frame::encode(kind, 0, meta.to_string().as_bytes(), body, &mut out);
    out
}

/// However often a sub-task is tried again for a client that does not read, one window is kept of it.
#[test]
fn retries_do_not_fill_the_memory() {
    let mut world = World::new(4, 3, numbers);
    world.put(json!({"parallel": 2, "retries": 10, "deadline_s": 3600}), 30_000);
    world.start(0, 60_000, false).unwrap();
    for _ in 0..8 {
        (0..400).for_each(|_| world.step());
        // Every handler ends; what it has written is there.
        for host in world.hosts.values_mut() {
            host.processes.values_mut().for_each(|process| process.terminated = true);
            host.processes.values_mut().for_each(|process| process.paused = false);
        }
    }
    assert!(world.front.retries >= 8, "{}", world.front.retries);
    assert!(world.most_bytes <= held_max(2), "{} bytes", world.most_bytes);
}

/// Whoever connects and says nothing does not keep a back-end out.
#[test]
fn silent_strangers_make_way() {
    let mut world = World::new(4, 0, numbers);
    for number in 0..500 {
        assert!(world.front.accept(SocketAddr::from(([127, 0, 0, 1], number)), world.now).is_some());
    }
    world.add_backend(1);
    world.run_until("it to register", |world| world.front.view()["backends"] != json!([]));
}

/// A back-end that is told to stop does also what was on its way to it: nothing is lost, and nothing tried again.
#[test]
fn a_back_end_that_is_drained_loses_nothing() {
    for seed in 0..60 {
        let mut world = World::new(seed, 3, numbers);
        world.put(json!({"parallel": 4}), 20);
        for client in 0..4 {
            world.start(0, 300, client % 2 == 0).unwrap();
        }
        let moment = world.chance(12);
        for step in 0..400 {
            for client in 0..4 {
                world.take(client, 2);
            }
            world.step();
            if step == moment {
                let now = world.now;
                world.hosts.get_mut(&1).unwrap().backend.drain(now);
            }
            // Its process ends, and with it the link; what it has sent arrives.
            if step >= moment && world.hosts.get(&1).is_some_and(|host| host.backend.is_drained()) {
                let rest: Vec<u8> = world.hosts.get_mut(&1).unwrap().to_front.drain(..).collect();
                let link = world.hosts[&1].link.unwrap();
                world.front.handle_input(link, &rest, world.now);
                world.kill(1);
            }
        }
        assert!(!world.hosts.contains_key(&1), "seed {seed}: it does not end");
        world.finish();
        assert_eq!(world.front.retries, 0, "seed {seed}: something was lost");
        assert!(world.clients[1].body == expected(0, 300));
        world.check_rest();
    }
}
