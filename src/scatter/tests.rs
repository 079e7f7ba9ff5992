//! A front-end, back-ends and their handlers, all in one thread and from one seed: links that carry a few bytes at a
//! time, handlers that write in dribs, clients that read when they like, and back-ends that die.

mod faults;
mod hostile;
mod merging;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Identity;
use super::backend::{Action, Backend, HandlerId, Setup as BackendSetup};
use super::frontend::{Failure, Frontend, JobId, Pulled, Setup, Stored};
use super::scheduler::Policy;
use crate::ids::{ConnId, LinkId, Origin};
use crate::limits::{CHUNK_BYTES_MAX, WINDOW_BYTES};
use crate::random::Random;
use crate::time::{Now, Tick, Timestamp};

const KEY: &[u8] = b"a key of sixteen";

/// What a handler is to write, and how far it has come.
#[derive(Debug, Default)]
struct Process {
    output: VecDeque<u8>,
    paused: bool,
    closes: bool,
    terminated: bool,
    /// It writes no more, and does not end either.
    hangs: bool,
}

/// A back-end's process with its handlers; dead, it is forgotten.
struct Host {
    backend: Backend,
    link: Option<LinkId>,
    to_front: VecDeque<u8>,
    to_back: VecDeque<u8>,
    processes: BTreeMap<HandlerId, Process>,
}

/// What handlers do with a sub-task: what they write.
type Program = fn(&Json, &mut Random) -> Vec<u8>;

struct World {
    front: Frontend,
    hosts: BTreeMap<u32, Host>,
    born: u32,
    now: Now,
    random: Random,
    program: Program,
    /// Of a hundred steps of a handler so many end it.
    crashes: u64,
    clients: Vec<Client>,
    most_bytes: usize,
}

#[derive(Debug)]
struct Client {
    job: JobId,
    body: Vec<u8>,
    result: Option<Result<(), Failure>>,
}

/// Records of a range of integers: `{"n":7,…}`, some of them long.
fn numbers(run: &Json, _: &mut Random) -> Vec<u8> {
    let number = |name: &str| run["params"][name].as_i64().unwrap();
    let mut out = Vec::new();
    let mut count = 0;
    for n in number("from")..number("to") {
        out.extend(record(n));
        count += 1;
    }
    out.extend(end(run, count));
    out
}

fn record(n: i64) -> Vec<u8> {
    let len = if n % 50 == 7 { 9_000 } else { n as usize * 31 % 97 };
    format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(len)).into_bytes()
}

fn end(run: &Json, count: u64) -> Vec<u8> {
    control(&json!({"end": {"id": run["id"], "records": count}}))
}

fn control(json: &Json) -> Vec<u8> {
    format!("\x1e{json}\n").into_bytes()
}

/// What a client should be sent for `from..to`.
fn expected(from: i64, to: i64) -> Vec<u8> {
    (from..to).flat_map(record).collect()
}

fn identity(name: &str, origin: u64, key: &[u8]) -> Identity {
    let node = name.parse().unwrap();
    Identity { node, origin: Origin(origin), cluster_name: "c".into(), key: Arc::from(key) }
}

fn definition(run: Json, unit: i64) -> Json {
    json!({
        "name": "numbers", "url": "/numbers",
        "params": {"from": {"type": "int"}, "to": {"type": "int"}},
        "split": {"kind": "range", "over": ["from", "to"], "unit": unit},
        "run": run,
        "handler": {"program": "numbers", "processes": 2},
    })
}

impl World {
    fn new(seed: u64, backends: usize, program: Program) -> World {
        let now = Now { tick: Tick(1_000), wall: Timestamp(1_700_000_000_000) };
        let setup =
            Setup { identity: identity("front", 1, KEY), policy: Policy::ALL[seed as usize % 3].1, seed };
        let mut world = World {
            front: Frontend::new(setup, now),
            hosts: BTreeMap::new(),
            born: 0,
            now,
            random: Random::new(seed),
            program,
            crashes: 0,
            clients: Vec::new(),
            most_bytes: 0,
        };
        (0..backends).for_each(|_| world.add_backend(2));
        world.run_until("the back-ends to register", |world| {
            world.front.view()["backends"].as_array().unwrap().len() == backends
        });
        world
    }

    fn add_backend(&mut self, slots: u32) {
        self.born += 1;
        let setup = BackendSetup {
            identity: identity(&format!("back-{}", self.born), u64::from(self.born), KEY),
            join: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
            slots,
            programs: vec!["numbers".into(), "stillborn".into()],
            handler_memory_mb: 100,
            seed: self.random.next_u64(),
        };
        let host = Host {
            backend: Backend::new(setup, self.now),
            link: None,
            to_front: VecDeque::new(),
            to_back: VecDeque::new(),
            processes: BTreeMap::new(),
        };
        self.hosts.insert(self.born, host);
    }

    fn put(&mut self, run: Json, unit: i64) {
        self.put_json(&definition(run, unit)).unwrap();
    }

    /// Puts a definition, and waits until it is in its place or refused.
    fn put_json(&mut self, json: &Json) -> Result<Stored, Failure> {
        self.front.put(json, ConnId { index: 9_999, generation: 1 }, self.now)?;
        let mut outcome = None;
        self.run_until("back-ends to be ready", |world| {
            outcome = world.front.poll_outcome();
            outcome.is_some()
        });
        outcome.expect("it has come").result
    }

    fn start(&mut self, from: i64, to: i64, gzip: bool) -> Result<usize, Failure> {
        let owner = ConnId { index: self.clients.len() as u32, generation: 1 };
        let (from, to) = (from.to_string(), to.to_string());
        let query = [("from", from.as_str()), ("to", to.as_str())];
        let job = self.front.start("/numbers", query.into_iter(), gzip, owner, self.now)?;
        self.clients.push(Client { job, body: Vec::new(), result: None });
        Ok(self.clients.len() - 1)
    }

    /// The client takes what there is, up to so many pieces.
    fn take(&mut self, client: usize, pieces: usize) {
        for _ in 0..pieces {
            let Client { job, result: None, .. } = &self.clients[client] else { return };
            let pulled = self.front.pull(*job, self.now);
            let client = &mut self.clients[client];
            match pulled {
                Pulled::Nothing => return,
                Pulled::Piece(piece) => client.body.extend(piece),
                Pulled::Last(piece) => {
                    client.body.extend(piece);
                    client.result = Some(Ok(()));
                }
                Pulled::Failed(failure) => client.result = Some(Err(failure)),
            }
        }
    }

    fn chance(&mut self, of: u64) -> u64 {
        self.random.next_u64() % of
    }

    /// Everything moves on a little.
    fn step(&mut self) {
        self.now = self.now.plus_ms(1 + self.random.next_u64() % 10);
        let numbers: Vec<u32> = self.hosts.keys().copied().collect();
        for number in numbers {
            self.step_host(number);
        }
        self.front.handle_time(self.now);
        while let Some(id) = self.front.poll_listed() {
            let bytes = self.front.output(id).to_vec();
            self.front.handle_sent(id, bytes.len(), self.now);
            if let Some(host) = self.hosts.values_mut().find(|host| host.link == Some(id)) {
                host.to_back.extend(bytes);
            }
        }
        while let Some(id) = self.front.poll_closed() {
            for host in self.hosts.values_mut().filter(|host| host.link == Some(id)) {
                host.link = None;
                host.backend.handle_down(0, self.now);
            }
        }
        while self.front.poll_woken().is_some() {}
        self.most_bytes = self.most_bytes.max(self.front.bytes());
    }

    fn step_host(&mut self, number: u32) {
        let (amount, crash) = (self.chance(40_000) as usize + 1, self.crashes);
        let Some(host) = self.hosts.get_mut(&number) else { return };
        if host.backend.poll_dial(self.now).is_some() {
            let from = SocketAddr::from(([127, 0, 0, 1], number as u16));
            host.link = self.front.accept(from, self.now);
            host.backend.handle_up(0, self.now);
        }
        let Some(link) = host.link else { return };
        host.backend.handle_time(self.now);
        let input: Vec<u8> = host.to_back.drain(..amount.min(host.to_back.len())).collect();
        host.backend.handle_input(0, &input, self.now);
        host.act(self.program, &mut self.random);
        for id in host.processes.keys().copied().collect::<Vec<_>>() {
            let Some(process) = host.processes.get_mut(&id) else { continue };
            if process.paused || process.hangs && !process.terminated {
                continue;
            }
            let len = (self.random.next_u64() % 20_000) as usize;
            let some: Vec<u8> = process.output.drain(..len.min(process.output.len())).collect();
            let dies = self.random.next_u64() % 100 < crash && !process.output.is_empty();
            let over = process.closes && process.output.is_empty() || process.terminated || dies;
            host.backend.handle_records(id, &some, self.now);
            if over {
                host.processes.remove(&id);
                host.backend.handle_exit(id, "exit status: 1");
            }
            host.act(self.program, &mut self.random);
        }
        let output = host.backend.output(0).to_vec();
        host.backend.handle_sent(0, output.len(), self.now);
        host.to_front.extend(output);
        let input: Vec<u8> = host.to_front.drain(..amount.min(host.to_front.len())).collect();
        self.front.handle_input(link, &input, self.now);
    }

    /// The back-end's process is gone, at once and without a word.
    fn kill(&mut self, number: u32) {
        let Some(host) = self.hosts.remove(&number) else { return };
        if let Some(link) = host.link {
            self.front.handle_down(link, self.now);
        }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut World) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("waited in vain for {what}: {}", self.front.view());
    }

    /// Runs until all clients have an end; they read when they like.
    fn finish(&mut self) {
        self.run_until("all answers", |world| {
            for client in 0..world.clients.len() {
                let pieces = world.chance(4) as usize;
                world.take(client, pieces);
            }
            world.clients.iter().all(|client| client.result.is_some())
        });
    }

    /// Nothing is left of any request, here or there.
    fn check_rest(&mut self) {
        assert_eq!(self.front.jobs(), 0);
        self.run_until("the back-ends to rest", |world| {
            world.hosts.values().all(|host| host.backend.runs() == 0 && host.to_back.is_empty())
        });
        self.run_until("handlers beyond those that are kept to end", |world| {
            world.hosts.values().all(|host| host.processes.len() <= 3)
        });
    }
}

impl Host {
    fn act(&mut self, program: Program, random: &mut Random) {
        while let Some(action) = self.backend.poll_action() {
            match action {
                Action::Start(id, name) => {
                    let terminated = name == "stillborn";
                    self.processes.insert(id, Process { terminated, ..Process::default() });
                }
                Action::Write(id, line) => {
                    let json: Json = serde_json::from_slice(&line).expect("a line of JSON");
                    let Some(process) = self.processes.get_mut(&id) else { continue };
                    if json.get("run").is_some() {
                        assert!(process.output.is_empty(), "one sub-task at a time");
                        process.output.extend(program(&json["run"], random));
                        process.hangs = json["run"]["params"]["hangs"] == true;
                    }
                }
                Action::Pause(id) => self.with(id, |process| process.paused = true),
                Action::Resume(id) => self.with(id, |process| process.paused = false),
                Action::Close(id) => self.with(id, |process| process.closes = true),
                Action::Terminate(id) | Action::Kill(id) => {
                    self.with(id, |process| process.terminated = true)
                }
            }
        }
    }

    fn with(&mut self, id: HandlerId, deed: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(&id) {
            deed(process);
        }
    }
}

/// What a member holds, by somebody else's code.
fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    std::io::Read::read_to_end(&mut decoder, &mut plain).expect("a good member");
    assert!(decoder.into_inner().is_empty(), "something follows");
    plain
}

/// The most that a front-end may hold for a request of so many sub-tasks at once.
fn held_max(parallel: usize) -> usize {
    (parallel + 1) * (WINDOW_BYTES + CHUNK_BYTES_MAX)
}
