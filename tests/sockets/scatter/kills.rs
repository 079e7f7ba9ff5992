//! Back-ends that get SIGKILL in the middle of responses, at random points, by seed.
//!
//! `PUSHUP_KILLS=1000 cargo test --test sockets scatter::kills -- --nocapture` does a thousand; by default it is as many
//! as the gate has time for.

use std::fmt::Write as _;
use std::io::Read;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::*;

/// Kills without the variable.
const KILLS: usize = 150;
/// Nodes with back-ends of their own, side by side.
const LANES: usize = 3;
/// Back-ends of each.
const WORKERS: usize = 3;
/// Sub-tasks of a request, and records of each: more than a window, so that it waits for the client in the middle.
const TASKS: usize = 4;
const RECORDS: usize = 440;

/// Xorshift: the same from run to run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// A sub-task is a file, which is cheap and the same every time.
const FILES: &str = r#"#!/bin/sh
while read -r line; do
    case $line in *'"run"'*) ;; *) continue ;; esac
    id=${line#*'"id":"'}; id=${id%%'"'*}
    task=${line#*'"params":{"task":'}; task=${task%%[,\}]*}
    cat "${0%/*}/data-$task" >&3
    printf '\036{"end":{"id":"%s"}}\n' "$id" >&3
done
"#;

/// The programs, and what a client is to be sent.
fn files() -> (TempDir, Vec<u8>) {
    let dir = TempDir::new();
    script(&dir, "files", FILES);
    let (mut dice, mut all) = (Dice(77), String::new());
    for task in 0..TASKS {
        let mut text = String::new();
        for _ in 0..RECORDS {
            // Hardly to be compressed, so that windows fill up either way.
            (0..150).for_each(|_| write!(text, "{:06x}", dice.below(1 << 24)).unwrap());
            text.push('\n');
        }
        dir.write(&format!("data-{task}"), &text);
        all += &text;
    }
    (dir, all.into_bytes())
}

/// A node and its back-ends, by their names.
struct Lane {
    node: Node,
    workers: Vec<(String, Running)>,
    born: usize,
    dice: Dice,
}

impl Lane {
    fn start(seed: u64, programs: &TempDir) -> Lane {
        let node = front_end();
        let mut lane = Lane { node, workers: Vec::new(), born: 0, dice: Dice(seed) };
        (0..WORKERS).for_each(|_| lane.add(programs));
        lane.wait_for_all();
        let case = json!({
            "name": "files", "url": "/files", "params": {"task": {"type": "int"}},
            "split": {"kind": "count", "count": TASKS}, "run": {"parallel": TASKS},
            "handler": {"program": "files"},
        });
        assert_eq!(put(&lane.node, &case).0, 201);
        lane
    }

    fn add(&mut self, programs: &TempDir) {
        self.born += 1;
        let name = format!("w-{}", self.born);
        let running = spawn_back_end(&self.node, programs.path(), 2, &["--name", &name]);
        self.workers.push((name, running));
    }

    /// Those that are registered, and those of them that are at work.
    fn registered(&self) -> (Vec<String>, Vec<String>) {
        let view = view(&self.node);
        let all = view["backends"].as_array().unwrap();
        let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
        let busy = all.iter().filter(|one| one["running"] != 0).map(name).collect();
        (all.iter().map(name).collect(), busy)
    }

    fn wait_for_all(&self) {
        wait_for("the back-ends to register", || (self.registered().0.len() == WORKERS).then_some(()));
    }

    /// One of those at work is killed: it alone, it with its handlers, or only those.
    fn kill(&mut self, programs: &TempDir) {
        let (all, busy) = self.registered();
        let from = if busy.is_empty() { all } else { busy };
        let victim = &from[self.dice.below(from.len())];
        let at = self.workers.iter().position(|(name, _)| name == victim).unwrap();
        let pid = self.workers[at].1.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let mut victims: Vec<i32> = children.split_whitespace().map(|child| child.parse().unwrap()).collect();
        match self.dice.below(4) {
            0 => victims = vec![pid as i32],
            1 => victims.push(pid as i32),
            2 => victims.insert(0, pid as i32),
            _ => {}
        }
        for victim in &victims {
            // A handler may be gone already.
            let _ = kill_process(Pid::from_raw(*victim).unwrap(), Signal::KILL);
        }
        if victims.contains(&(pid as i32)) {
            let (_, mut worker) = self.workers.swap_remove(at);
            wait_for("its end", || worker.has_ended());
            self.add(programs);
        }
    }

    /// A request, with a kill when so many bytes of the answer have come. Returns what came.
    fn call(&mut self, gzip: bool, moment: usize, programs: &TempDir) -> Vec<u8> {
        let mut client = crate::http::Client::connect_narrow(self.node.public);
        let fields = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        client.send(format!("GET /files HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{fields}\r\n"));
        client.stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
        let (mut answer, mut some, mut waits) = (Vec::new(), [0; 4_096], true);
        loop {
            if waits && answer.len() >= moment {
                waits = false;
                self.kill(programs);
            }
            match client.stream.read(&mut some).unwrap() {
                0 => break,
                len => answer.extend_from_slice(&some[..len]),
            }
        }
        let begin = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(answer[..begin].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("chunked"), "{head}");
        assert_eq!(head.contains("Content-Encoding: gzip"), gzip, "{head}");
        dechunked(&answer[begin..])
    }
}

/// A chunked body that is whole.
fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk's length");
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + len]);
        rest = &rest[end + 2 + len + 2..];
        if len == 0 {
            assert!(rest.is_empty());
            return body;
        }
    }
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    decoder.read_to_end(&mut plain).expect("a good member");
    assert!(decoder.into_inner().is_empty(), "something follows");
    plain
}

#[test]
fn back_ends_killed_at_random_points_change_nothing() {
    let kills = std::env::var("PUSHUP_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let (programs, expected) = files();
    let digest = hmac_sha256::Hash::hash(&expected);
    let begun = std::time::Instant::now();
    let run = |lane: usize| {
        let mut world = Lane::start(1_000 + lane as u64, &programs);
        let (mut done, mut hit) = (0, 0);
        for round in (lane..kills).step_by(LANES) {
            let gzip = (round / LANES).is_multiple_of(2);
            // gzip leaves three quarters of it; and in the last third all is at the node, or on its way.
            let moment = world.dice.below(expected.len() * if gzip { 5 } else { 7 } / 10);
            world.wait_for_all();
            let before = view(&world.node)["retries"].as_u64().unwrap();
            let body = world.call(gzip, moment, &programs);
            let body = if gzip { unzipped(&body) } else { body };
            assert_eq!(
                hmac_sha256::Hash::hash(&body),
                digest,
                "round {round}, after {moment} bytes, {} of {} came",
                body.len(),
                expected.len()
            );
            done += 1;
            hit += usize::from(view(&world.node)["retries"].as_u64().unwrap() > before);
        }
        (done, hit)
    };
    let (done, hit) = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || run(lane))).collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap())
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    println!("{done} kills, {hit} of them while the back-end had a sub-task, in {:?}", begun.elapsed());
    assert_eq!(done, kills);
    assert!(hit * 3 > kills, "only {hit} of {kills} were hit in the middle");
}
