//! A controller and its agents on virtual machines: their processes, files and links fail at any moment, from one seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::agent::{self, Agent};
use super::controller::{self, Controller};
use super::keeper::Deed;
use super::memory::Memory;
use super::plan::Plan;
use super::{Component, Life, Supervise};
use crate::ids::Origin;
use crate::limits::COMPONENT_STOP_MS;
use crate::random::Random;
use crate::time::{Now, Tick, Timestamp};
use crate::wire::frame::link::Identity;

const STEP_MS: u64 = 20;
const FILE: &str = r#"
[agents]
listen = "127.0.0.1:8090"
[[front_end]]
name = "front"
count = 2
settings = { listen = "127.0.0.1:8080", publish-listen = "127.0.0.1:8081", worker-listen = "127.0.0.1:8084" }
[[back_end]]
name = "work"
count = 3
programs = "programs"
[[back_end]]
name = "far"
count = 2
machine = "b"
join = ["10.0.0.1:8084"]
"#;

struct Process {
    machine: usize,
    name: String,
    component: Component,
    life: Life,
    /// It ends then.
    ends: Option<Tick>,
}

struct Machine {
    side: Box<dyn Supervise>,
    /// Its file, as text.
    disk: String,
}

struct World {
    now: Now,
    random: Random,
    plan: Plan,
    /// The first has the controller.
    machines: Vec<Machine>,
    processes: Vec<Process>,
    next_pid: u32,
    /// The numbers of the link at both ends: the controller's, the agent's.
    link: Option<(usize, usize)>,
    /// Of a thousand starts so many fail.
    failing: u64,
    /// The machine dies when it has started the next one, before or after it has written it down.
    dies: Option<(usize, bool)>,
}

fn identity(name: &str) -> Identity {
    let node = name.parse().unwrap();
    Identity {
        node,
        origin: Origin(name.len() as u64),
        cluster_name: "pushup".into(),
        key: b"key"[..].into(),
    }
}

impl World {
    fn new(seed: u64) -> World {
        let plan = Plan::parse(FILE, Path::new("/etc/cluster.toml")).unwrap();
        let mut world = World {
            now: Now { wall: Timestamp(1_000_000), tick: Tick(0) },
            random: Random::new(seed),
            plan,
            machines: Vec::new(),
            processes: Vec::new(),
            next_pid: 0,
            link: None,
            failing: 0,
            dies: None,
        };
        for at in 0..2 {
            let side = world.begin(at, Memory::default());
            world.machines.push(Machine { side, disk: Memory::default().to_json().to_string() });
        }
        world
    }

    fn begin(&mut self, at: usize, memory: Memory) -> Box<dyn Supervise> {
        let seed = self.random.next_u64();
        if at == 0 {
            let (plan, tokens) = (self.plan.clone(), BTreeMap::new());
            let setup = controller::Setup { plan, tokens, identity: identity("controller"), seed };
            return Box::new(Controller::new(setup, memory, self.now));
        }
        let setup = agent::Setup {
            identity: identity("b"),
            join: SocketAddr::from(([127, 0, 0, 1], 8090)),
            programs: "/programs".into(),
            key_file: None,
            seed,
        };
        Box::new(Agent::new(setup, memory, self.now))
    }

    fn chance(&mut self, of_thousand: u64) -> bool {
        self.random.next_u64() % 1000 < of_thousand
    }

    /// It is killed, and comes back: with what it has written down, and what still runs of that.
    fn restart(&mut self, at: usize) {
        self.break_link();
        let json: Json = serde_json::from_str(&self.machines[at].disk).unwrap();
        let mut memory = Memory::parse(&json).expect("it is what was written");
        memory.processes.retain(|one| self.processes.iter().any(|process| process.life == one.life));
        self.machines[at].side = self.begin(at, memory);
    }

    fn save(&mut self, at: usize) {
        self.machines[at].disk = self.machines[at].side.memory().to_json().to_string();
    }

    /// What the loop does.
    fn work(&mut self, at: usize) {
        loop {
            while let Some(deed) = self.machines[at].side.keeper().poll_deed() {
                self.act(at, deed);
            }
            if !self.machines[at].side.keeper().take_change() {
                break;
            }
            self.machines[at].side.handle_change(self.now);
            self.save(at);
        }
        while let Some(call) = self.machines[at].side.poll_call(self.now.tick) {
            self.machines[at].side.handle_answer(&call, Ok(200), self.now.tick);
        }
    }

    fn act(&mut self, at: usize, deed: Deed) {
        let tick = self.now.tick;
        match deed {
            Deed::Start(name, component) => {
                assert!(self.process(&name).is_none(), "{name} is started twice");
                if self.chance(self.failing) {
                    return self.machines[at].side.keeper().handle_end(&name, "no memory", tick);
                }
                self.next_pid += 1;
                let life = Life { pid: self.next_pid, start: tick.0, since_ms: self.now.wall.0 };
                match self.dies.take_if(|(machine, _)| *machine == at) {
                    // A process that was not let go ends by itself.
                    Some((_, false)) => self.restart(at),
                    Some((_, true)) => {
                        self.machines[at].side.keeper().handle_start(&name, life, tick);
                        self.save(at);
                        self.restart(at);
                    }
                    None => {
                        self.machines[at].side.keeper().handle_start(&name, life, tick);
                        self.save(at);
                        let ends = self.chance(self.failing).then(|| tick.plus_ms(STEP_MS));
                        self.processes.push(Process { machine: at, name, component, life, ends });
                    }
                }
            }
            Deed::Terminate(name) => {
                let takes = self.random.next_u64() % (2 * COMPONENT_STOP_MS);
                let process = self.processes.iter_mut().find(|one| one.name == name && one.machine == at);
                process.expect("it runs").ends = Some(tick.plus_ms(takes));
            }
            Deed::Kill(name) => {
                let process = self.processes.iter_mut().find(|one| one.name == name && one.machine == at);
                process.expect("it runs").ends = Some(tick);
            }
        }
    }

    fn process(&self, name: &str) -> Option<&Process> {
        self.processes.iter().find(|process| process.name == name)
    }

    fn end_processes(&mut self) {
        let now = self.now.tick;
        let is_over = |process: &Process| process.ends.is_some_and(|ends| now >= ends);
        while let Some(at) = self.processes.iter().position(is_over) {
            let Process { machine, name, .. } = self.processes.swap_remove(at);
            self.machines[machine].side.keeper().handle_end(&name, "it ended", now);
        }
    }

    fn break_link(&mut self) {
        if let Some((controller, agent)) = self.link.take() {
            self.machines[0].side.handle_down(controller, self.now);
            self.machines[1].side.handle_down(agent, self.now);
        }
    }

    fn carry(&mut self) {
        if let Some((agent, address)) = self.machines[1].side.poll_dial(self.now) {
            self.break_link();
            let controller = self.machines[0].side.accept(address, self.now).expect("there is room");
            self.machines[1].side.handle_up(agent, self.now);
            self.link = Some((controller, agent));
        }
        for _ in 0..4 {
            let Some((controller, agent)) = self.link else { return };
            for (from, id, to, other) in [(0, controller, 1, agent), (1, agent, 0, controller)] {
                let bytes = self.machines[from].side.output(id).to_vec();
                self.machines[from].side.handle_sent(id, bytes.len(), self.now);
                if !bytes.is_empty() {
                    self.machines[to].side.handle_input(other, &bytes, self.now);
                }
            }
        }
        for at in 0..2 {
            while let Some(id) = self.machines[at].side.poll_closed() {
                if self.link.is_some_and(|link| [link.0, link.1][at] == id) {
                    self.break_link();
                }
            }
        }
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(STEP_MS);
        self.end_processes();
        for at in 0..2 {
            self.machines[at].side.handle_time(self.now);
            self.work(at);
        }
        self.carry();
        for at in 0..2 {
            self.work(at);
        }
    }

    fn command(&mut self, command: &Json) -> Json {
        let answer = self.machines[0].side.handle_command(command.to_string().as_bytes(), self.now);
        serde_json::from_slice(&answer).unwrap()
    }

    fn something_happens(&mut self) {
        match self.random.next_u64() % 12 {
            0 => self.restart(0),
            1 => self.restart(1),
            2 => self.break_link(),
            3 => {
                self.dies =
                    Some(((self.random.next_u64() % 2) as usize, self.random.next_u64().is_multiple_of(2)))
            }
            4 => {
                let count = self.random.next_u64() % 5;
                let name = ["front", "work", "far"][(self.random.next_u64() % 3) as usize];
                // What cannot be is refused: back-ends without a front-end, or too many on neighbouring ports.
                self.command(&json!({"command": "scale", "name": name, "count": count}));
            }
            5 => {
                let policy = ["p2c", "round_robin"][(self.random.next_u64() % 2) as usize];
                assert_eq!(self.command(&json!({"command": "scheduler", "policy": policy}))["ok"], true);
            }
            6 => {
                let (plan, now) = (self.plan.clone(), self.now);
                self.machines[0].side.reload(plan, BTreeMap::new(), now);
            }
            7 | 8 if !self.processes.is_empty() => {
                let at = (self.random.next_u64() % self.processes.len() as u64) as usize;
                self.processes[at].ends = Some(self.now.tick);
            }
            _ => {
                let verb = ["start", "stop", "drain"][(self.random.next_u64() % 3) as usize];
                let names = ["front", "front.2", "work.1", "work", "far.2", "far", "front.1"];
                let name = names[(self.random.next_u64() % 7) as usize];
                self.command(&json!({"command": verb, "name": name}));
            }
        }
    }

    /// What is wrong, of all that runs and is to run.
    fn fault(&mut self) -> Option<String> {
        let status = self.command(&json!({"command": "status"}));
        let components = status["components"].as_array().unwrap().clone();
        for one in &components {
            let name = one["name"].as_str().unwrap();
            let process = self.process(name);
            let is_right = match one["wanted"].as_str().unwrap() {
                "up" => process.is_some_and(|process| {
                    process.ends.is_none() && one["state"] == "running" && one["pid"] == process.life.pid
                }),
                wanted => process.is_none() && one["state"] == wanted,
            };
            let is_there = process.is_none_or(|process| (process.machine == 1) == name.starts_with("far"));
            if !is_right || !is_there {
                return Some(one.to_string());
            }
        }
        let is_known = |process: &&Process| components.iter().any(|one| one["name"] == *process.name);
        self.processes.iter().find(|process| !is_known(process)).map(|process| process.name.clone())
    }

    /// All is as it should be after a while in which nothing happens.
    fn settle(&mut self) {
        self.failing = 0;
        self.dies = None;
        for _ in 0..120_000 / STEP_MS {
            self.step();
        }
        assert_eq!(self.fault(), None);
    }
}

/// Whatever fails whenever: never two processes of one component (the virtual machine looks at each start), and in the
/// end what file and commands say.
#[test]
fn all_comes_to_what_is_wanted_and_nothing_ever_runs_twice() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        for _ in 0..3 {
            world.failing = world.random.next_u64() % 600;
            for _ in 0..60 {
                for _ in 0..world.random.next_u64() % 100 {
                    world.step();
                }
                world.something_happens();
            }
            world.settle();
        }
    }
}

#[test]
fn what_the_file_says_is_started_and_stopped_in_order() {
    let mut world = World::new(7);
    world.settle();
    assert_eq!(world.processes.len(), 7);
    let far = world.process("far.2").unwrap();
    let join =
        ["worker", "--name=far.2", "--programs=/programs", "--cluster-name=pushup", "--join=10.0.0.1:8084"];
    assert_eq!((far.machine, far.component.arguments.as_slice()), (1, &join.map(String::from)[..]));
    world.machines[0].side.stop(world.now);
    let is_front = |process: &Process| process.name.starts_with("front");
    while world.processes.iter().any(is_front) {
        assert!(
            world.processes.iter().filter(|process| !is_front(process)).all(|process| process.ends.is_none())
        );
        let now = world.now.tick;
        assert!(!world.machines[0].side.is_over(now));
        world.step();
    }
    for _ in 0..2 * COMPONENT_STOP_MS / STEP_MS {
        world.step();
    }
    assert_eq!(world.processes.len(), 0);
    let now = world.now.tick;
    assert!(world.machines[0].side.is_over(now));
}

/// The second word is the last.
#[test]
fn told_twice_to_stop_it_kills() {
    let mut world = World::new(8);
    world.settle();
    world.machines[0].side.stop(world.now);
    world.machines[0].side.stop(world.now);
    world.step();
    world.step();
    assert!(world.processes.iter().all(|process| process.machine == 1));
    let now = world.now.tick;
    assert!(world.machines[0].side.is_over(now));
}

/// A command holds in the controller's next life, and no longer than until the file is read again.
#[test]
fn what_was_ordered_outlives_the_controller_but_not_the_file() {
    let mut world = World::new(9);
    world.settle();
    let lives = |world: &World, name: &str| world.process(name).map(|process| process.life);
    let front = lives(&world, "front.1");
    for command in [
        json!({"command": "scale", "name": "work", "count": 1}),
        json!({"command": "stop", "name": "far.1"}),
        json!({"command": "scheduler", "policy": "round_robin"}),
    ] {
        assert_eq!(world.command(&command)["ok"], true);
    }
    world.settle();
    world.restart(0);
    world.settle();
    assert_eq!((lives(&world, "work.2"), lives(&world, "far.1")), (None, None));
    assert_eq!(lives(&world, "front.1"), front, "how it chooses is told, and it goes on");
    let status = world.command(&json!({"command": "status"}));
    assert_eq!(status["components"][1]["scheduler"], "round_robin", "{status}");
    let (plan, now) = (world.plan.clone(), world.now);
    world.machines[0].side.reload(plan, BTreeMap::new(), now);
    world.settle();
    assert_eq!(world.processes.len(), 7);
    assert_eq!(lives(&world, "front.1"), front);
}

/// Components whose arguments change are replaced one after the other.
#[test]
fn what_changes_in_the_file_is_replaced_one_by_one() {
    let mut world = World::new(10);
    world.settle();
    let lives: Vec<Life> = world.processes.iter().map(|process| process.life).collect();
    let text = FILE.replace("programs = \"programs\"", "programs = \"others\"");
    let plan = Plan::parse(&text, Path::new("/etc/cluster.toml")).unwrap();
    world.machines[0].side.reload(plan, BTreeMap::new(), world.now);
    for _ in 0..60_000 / STEP_MS {
        world.step();
        let steady = world.processes.iter().filter(|one| one.name.starts_with("work") && one.ends.is_none());
        assert!(steady.count() >= 2);
    }
    let kept = world.processes.iter().filter(|process| lives.contains(&process.life));
    assert_eq!(kept.count(), 4, "front-ends and the other machine's");
    assert_eq!(world.fault(), None);
}

#[test]
fn commands_that_cannot_be_done() {
    let mut world = World::new(11);
    world.settle();
    for (command, told) in [
        (json!({"command": "start", "name": "wrk"}), "there is no \"wrk\", did you mean \"work\"?"),
        (
            json!({"command": "stop", "name": "nothing"}),
            "there is no \"nothing\"; there are: front, work, far",
        ),
        (json!({"command": "drain"}), "\"name\" is missing"),
        (
            json!({"command": "scale", "name": "work.1", "count": 2}),
            "\"work.1\" is one of a group: scale the group",
        ),
        (json!({"command": "scale", "name": "work", "count": 1000}), "1000 are too many: at most 256"),
        (
            json!({"command": "scale", "name": "front", "count": 4}),
            "front_end \"front\": front.4 would listen on 127.0.0.1:8084, as front.1 does",
        ),
        (json!({"command": "scheduler", "policy": "best"}), "\"best\" is no scheduler"),
        (json!({"command": "dance"}), "there is no command \"dance\""),
        (json!(3), "\"command\" is missing"),
    ] {
        let answer = world.command(&command);
        let why = answer["error"].as_str().unwrap();
        assert!(answer["ok"] == false && why.starts_with(told), "{command}: {answer}");
    }
    let answer = world.machines[0].side.handle_command(b"nonsense", world.now);
    assert!(answer.starts_with(b"{\"error\":\"the command is not JSON\""));
    assert_eq!(world.fault(), None);
}
