//! Back-ends, front-ends and handlers that mean harm: what they say costs them their link or their process, and
//! nobody else anything.

use super::*;
use crate::limits::{BACKEND_OUTPUT_BYTES_MAX, TASK_FRAME_BYTES_MAX};
use crate::wire::frame::task::{Data, Edition, Register, Run, write_of_run};
use crate::wire::frame::{Kind, encode};

fn silent(_: &Json, _: &mut Random) -> Vec<u8> {
    Vec::new()
}

/// A front-end, one back-end and a request of one sub-task that is at work; its number is 1.
fn at_work(seed: u64, gzip: bool, program: Program) -> (World, usize) {
    let mut world = World::new(seed, 1, program);
    world.put(json!({"deadline_s": 3600, "retries": 10}), 1_000);
    let client = world.start(0, 1_000, gzip).unwrap();
    world.run_until("it to be run", |world| world.hosts[&1].backend.runs() == 1);
    (world, client)
}

impl World {
    /// The back-end says this, between its own frames.
    fn say(&mut self, frame: &[u8]) {
        let Some(host) = self.hosts.get_mut(&1) else { return };
        let Some(link) = host.link else { return };
        let rest: Vec<u8> = host.to_front.drain(..).collect();
        self.front.handle_input(link, &rest, self.now);
        self.front.handle_input(link, frame, self.now);
    }

    /// The front-end says this, between its own frames.
    fn tell(&mut self, frame: &[u8]) {
        let Some(host) = self.hosts.get_mut(&1) else { return };
        let rest: Vec<u8> = host.to_back.drain(..).collect();
        host.backend.handle_input(0, &rest, self.now);
        host.backend.handle_input(0, frame, self.now);
        host.act(self.program, &mut self.random);
    }

    fn has_backend(&self) -> bool {
        self.front.view()["backends"] != json!([])
    }
}

fn data(records: u64, plain_len: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Data { run: 1, records, plain_len, crc32: crc32fast::hash(body) }.write(body, &mut out);
    out
}

/// Empty ones would cost no credit, and so have no end; of others the count is part of what a replay leaves out.
#[test]
fn chunks_that_cannot_be_end_the_link() {
    for gzip in [false, true] {
        let sync: &[u8] = if gzip { b"\0\0\0\xff\xff" } else { b"abc\nd" };
        for (records, len, body) in [
            (1, 0, &b""[..]),
            (0, 0, b""),
            (0, 5, sync),
            (6, 5, sync),
            (u64::MAX, 5, sync),
            (1, u32::MAX, sync),
            (1, 5, b"short"),
            (1, 4, b"abc\n"),
        ] {
            // These two are wrong only if they are to be compressed.
            if !gzip && (body == b"short" || len == 4) {
                continue;
            }
            let (mut world, client) = at_work(1, gzip, silent);
            world.say(&data(records, len, body));
            assert!(!world.has_backend(), "{gzip}: {records} records, {len} bytes, {body:?}");
            assert!(matches!(world.front.pull(world.clients[client].job, world.now), Pulled::Nothing));
        }
    }
}

/// A chunk for each byte: they are put together, and the client is given a few pieces.
#[test]
fn crumbs_are_put_together() {
    let (mut world, client) = at_work(1, false, silent);
    for _ in 0..200_000 {
        world.say(&data(1, 1, b"\n"));
    }
    assert!(world.has_backend());
    world.take(client, 1);
    let mut pieces = 1;
    while world.clients[client].body.len() < 200_000 {
        world.take(client, 1);
        pieces += 1;
        assert!(pieces < 10, "{} bytes in {pieces} pieces", world.clients[client].body.len());
    }
    for seed in 0..2 {
        let (mut world, client) = at_work(seed, true, silent);
        (0..100).for_each(|_| world.say(&data(1, 5, b"\0\0\0\xff\xff")));
        world.take(client, 1);
        assert!(world.clients[client].body.len() >= 500);
    }
}

#[test]
fn who_sends_more_than_there_is_credit_for_is_cut_off() {
    let (mut world, _) = at_work(1, false, silent);
    let chunk = vec![b'\n'; 100_000];
    for _ in 0..20 {
        world.say(&data(1, 100_000, &chunk));
    }
    assert!(!world.has_backend());
    assert!(world.most_bytes < held_max(1));
}

/// An end that counts something else than what came is no end.
#[test]
fn an_end_must_have_all_records() {
    let (mut world, client) = at_work(1, false, silent);
    let mut end = Vec::new();
    write_of_run(Kind::END, 1, 3, &mut end);
    world.say(&end);
    assert!(!world.has_backend());
    world.take(client, 9);
    assert_eq!(world.clients[client].result, None, "it is tried again");
    let (mut world, client) = at_work(1, false, silent);
    end.clear();
    write_of_run(Kind::END, 1, 0, &mut end);
    world.say(&end);
    world.take(client, 9);
    assert_eq!(world.clients[client].result, Some(Ok(())), "nothing is a result, too");
}

/// Frames of runs that are another's or nobody's are passed over.
#[test]
fn frames_of_foreign_runs_are_passed_over() {
    let (mut world, client) = at_work(1, false, numbers);
    for kind in [Kind::DATA, Kind::END, Kind::PROGRESS, Kind::FAIL, Kind::SPAWN] {
        let mut frame = Vec::new();
        let meta = json!({"run": 77, "records": 1, "plain_len": 2, "crc32": 0, "bytes": 9,
                          "fault": "request", "reason": "because"});
        encode(kind, 0, meta.to_string().as_bytes(), b"[]", &mut frame);
        world.say(&frame);
    }
    assert!(world.has_backend());
    world.finish();
    assert!(world.clients[client].body == expected(0, 1_000));
}

/// A link's other side may not be made to hold a frame that no front-end and no back-end sends.
#[test]
fn a_frame_that_is_too_long_ends_the_link() {
    let (mut world, _) = at_work(1, false, silent);
    let frame = data(1, 60_000_000, &vec![b'\n'; 60_000_000]);
    for piece in frame[..TASK_FRAME_BYTES_MAX].chunks(26_000) {
        world.say(piece);
        assert!(world.front.bytes() < TASK_FRAME_BYTES_MAX * 2);
    }
    assert!(!world.has_backend());
}

/// A back-end that makes the front-end speak, and does not listen.
#[test]
fn who_does_not_listen_is_cut_off() {
    let (mut world, _) = at_work(1, false, silent);
    let mut frames = Vec::new();
    for programs in [&["numbers"][..], &["numbers", "more"]] {
        let programs = programs.iter().map(|name| (*name).to_owned()).collect();
        Register { slots: 2, programs, load: 0, draining: false }.write(&mut frames);
    }
    for _ in 0..100_000 {
        world.say(&frames);
        assert!(world.front.bytes() < 3 * BACKEND_OUTPUT_BYTES_MAX, "{} bytes", world.front.bytes());
    }
    assert!(!world.has_backend());
}

/// A handler that says again and again that it is at work.
#[test]
fn progress_is_told_now_and_then() {
    let (mut world, _) = at_work(1, false, silent);
    let host = world.hosts.get_mut(&1).unwrap();
    let busy: Vec<HandlerId> = host.processes.keys().copied().collect();
    let lines = "\x1e{\"progress\":{}}\n".repeat(1_000);
    for id in busy {
        for _ in 0..100 {
            host.backend.handle_records(id, lines.as_bytes(), world.now);
        }
    }
    assert!(host.backend.output(0).len() < 2_000, "{} bytes", host.backend.output(0).len());
}

/// A front-end is believed much, but two attempts of one number are none.
#[test]
fn an_attempt_s_number_is_given_once() {
    let (mut world, _) = at_work(1, false, silent);
    world.tell(&run(1));
    let backend = &world.hosts[&1].backend;
    assert_eq!(backend.runs(), 0, "the link ends, and with it what it had");
    assert_eq!(world.hosts[&1].processes.len(), 2, "the two that are kept");
}

fn run(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let edition = Edition { usecase: "numbers".into(), version: 1 };
    let meta = Run { run: number, edition, program: "numbers".into(), deadline_ms: 1_000, ..Run::default() };
    let line = json!({"run": {"id": number.to_string(), "params": {"from": 0, "to": 1}}});
    meta.write(format!("{line}\n").as_bytes(), &mut out);
    out
}

/// Clients that come and leave, one after the other: those that are told to stop are so many, and no more.
#[test]
fn handlers_that_are_to_stop_are_so_many() {
    let (mut world, _) = at_work(1, false, silent);
    for number in 100..1_100 {
        world.tell(&run(number));
        let mut cancel = Vec::new();
        write_of_run(Kind::CANCEL, number, 0, &mut cancel);
        world.tell(&cancel);
        let alive = world.hosts[&1].processes.values().filter(|process| !process.terminated).count();
        assert!(alive <= 8, "{alive} handlers after {number}");
    }
}

/// Records so large that each chunk goes far beyond what there is credit for.
fn fat(run: &Json, _: &mut Random) -> Vec<u8> {
    let mut out: Vec<u8> = (0..60).flat_map(|_| format!("{}\n", "f".repeat(500_000)).into_bytes()).collect();
    out.extend(end(run, 60));
    out
}

/// What an attempt has sent beyond its credit is not given to the next one on top.
#[test]
fn attempts_that_end_early_do_not_make_the_window_wider() {
    let (mut world, client) = at_work(1, false, fat);
    for round in 0..8 {
        (0..600).for_each(|_| world.step());
        for process in world.hosts.get_mut(&1).unwrap().processes.values_mut() {
            process.terminated = true;
            process.paused = false;
        }
        (0..20).for_each(|_| world.step());
        assert!(world.most_bytes <= held_max(1), "{} bytes in round {round}", world.most_bytes);
        // All that waits is taken, in one go.
        world.take(client, 100);
    }
    assert!(world.front.retries >= 7, "{}", world.front.retries);
}

/// The figures of a front-end that is out of its mind.
#[test]
fn credit_without_measure_is_no_harm() {
    let (mut world, client) = at_work(1, false, numbers);
    for bytes in [u64::MAX, u64::MAX, 1 << 63, i64::MAX as u64] {
        let mut credit = Vec::new();
        write_of_run(Kind::CREDIT, 1, bytes, &mut credit);
        world.tell(&credit);
    }
    world.finish();
    assert_eq!(world.clients[client].result, Some(Ok(())));
}

/// A handler that uses more memory than it may is ended at once, whatever it is doing, and the client is told at last.
#[test]
fn a_handler_that_leaks_is_ended() {
    let (mut world, client) = at_work(3, false, silent);
    let mb = 1 << 20;
    for attempt in 1..=11 {
        world.run_until("the next attempt", |world| world.hosts[&1].backend.runs() == 1);
        let host = world.hosts.get_mut(&1).unwrap();
        let ids: Vec<HandlerId> = host.processes.keys().copied().collect();
        ids.iter().for_each(|id| host.backend.handle_memory(*id, 100 * mb));
        assert_eq!(host.backend.runs(), 1, "so much is allowed");
        ids.iter().for_each(|id| host.backend.handle_memory(*id, 100 * mb + 1));
        assert_eq!(host.backend.runs(), 0, "attempt {attempt}");
        let killed = std::iter::from_fn(|| host.backend.poll_action())
            .filter(|action| matches!(action, Action::Kill(_)))
            .count();
        assert_eq!(killed, ids.len(), "those without anything to do, too");
        host.processes.values_mut().for_each(|process| process.terminated = true);
        ids.iter().for_each(|id| host.backend.handle_memory(*id, 200 * mb));
        assert_eq!(host.backend.poll_action(), None, "once is enough");
        world.step();
    }
    world.finish();
    let Some(Err(failure)) = &world.clients[client].result else { panic!("it fails") };
    assert_eq!(failure.status, 502);
    assert!(failure.reason.ends_with("failed 11 times: it used more than 100 MB of memory"), "{failure:?}");
    world.check_rest();
}

/// A thousand back-ends are killed, one after the other, each in the middle of a response.
#[test]
fn a_thousand_kills_change_nothing() {
    let (mut world, mut hit) = (World::new(1_000, 3, numbers), 0);
    world.put(json!({"parallel": 4}), 30);
    for round in 0..1_000 {
        let (gzip, retries) = (round % 2 == 0, world.front.retries);
        let client = world.start(0, 400, gzip).unwrap();
        for _ in 0..world.chance(10) {
            world.step();
            world.take(client, 1);
        }
        // Those that are at work, for the most part.
        let busy: Vec<u32> = world
            .hosts
            .iter()
            .filter(|(_, host)| host.backend.runs() > 0)
            .map(|(number, _)| *number)
            .collect();
        let all: Vec<u32> = world.hosts.keys().copied().collect();
        let from = if busy.is_empty() { all } else { busy };
        let victim = from[world.chance(from.len() as u64) as usize];
        world.kill(victim);
        world.add_backend(2);
        world.finish();
        assert_eq!(world.clients[client].result, Some(Ok(())), "round {round}");
        let body = std::mem::take(&mut world.clients[client].body);
        let body = if gzip { unzipped(&body) } else { body };
        assert!(body == expected(0, 400), "round {round}");
        hit += u32::from(world.front.retries > retries);
        world.clients.clear();
    }
    assert!(hit > 400, "only {hit} were hit in the middle");
}

/// Whatever the client's pace, and whatever is lost meanwhile, so many windows wait and no more.
#[test]
fn what_waits_is_bounded_at_any_pace() {
    let mut full = 0;
    for seed in 0..24 {
        let parallel = 1 + seed as usize % 5;
        let mut world = World::new(seed, 1 + seed as usize % 3, numbers);
        let merge = ["ordered", "unordered"][seed as usize % 2];
        world.put(json!({"parallel": parallel, "merge": merge, "retries": 10, "deadline_s": 3600}), 6_000);
        let client = world.start(0, 30_000, seed % 3 == 0).unwrap();
        let pace = 1 + world.chance(60);
        for step in 0..1_500 {
            world.step();
            if world.chance(pace) == 0 {
                world.take(client, 2);
            }
            world.crashes = u64::from(step % 500 == 499) * 30;
            assert!(world.most_bytes <= held_max(parallel), "seed {seed}: {} bytes", world.most_bytes);
        }
        full += u32::from(world.most_bytes > parallel * WINDOW_BYTES);
    }
    assert!(full > 6, "only {full} clients were slow");
}

/// The back-end that is left runs again what it has failed at itself.
#[test]
fn one_back_end_that_is_left_does_it_all() {
    let mut retries = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, 2, numbers);
        world.put(json!({"parallel": 4, "retries": 10}), 40);
        let client = world.start(0, 400, seed % 2 == 0).unwrap();
        world.crashes = 20;
        (0..3).for_each(|_| world.step());
        world.kill(1);
        world.finish();
        let body = &world.clients[client].body;
        let body = if seed % 2 == 0 { unzipped(body) } else { body.clone() };
        assert_eq!(world.clients[client].result, Some(Ok(())), "seed {seed}");
        assert!(body == expected(0, 400), "seed {seed}");
        retries += world.front.retries;
        world.crashes = 0;
        world.check_rest();
    }
    assert!(retries > 20, "{retries}");
}
