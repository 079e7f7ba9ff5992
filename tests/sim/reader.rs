//! A subscriber: polls, carries its cursor, comes back.

use crate::agenda::Ms;
use crate::http::{Caller, Failed, Outcome, request};
use crate::net::{Purpose, Signal, WireId};
use crate::plan::ReaderPlan;
use crate::scene::{Scene, Timer};

/// How much longer than the poll itself its answer may take, in milliseconds.
const GRACE_MS: Ms = 6_000;

#[derive(Debug)]
pub struct Reader {
    name: String,
    number: usize,
    plan: ReaderPlan,
    path: String,
    node: usize,
    caller: Caller,
    timer: Timer,
}

impl Reader {
    pub fn new(actor: usize, number: usize, plan: ReaderPlan, scene: &mut Scene) -> Reader {
        let names: Vec<String> = plan.channels.iter().map(|channel| scene.plan.name(*channel)).collect();
        let mut timer = Timer { actor, serial: 0 };
        scene.set_timer(&mut timer, plan.begins);
        Reader {
            name: format!("reader-{number}"),
            number,
            path: names.join(","),
            node: scene.random.index(scene.plan.nodes),
            caller: Caller::new(actor, plan.room),
            plan,
            timer,
        }
    }

    pub fn handle_timer(&mut self, serial: u64, scene: &mut Scene) {
        if serial != self.timer.serial {
            return;
        }
        if self.caller.busy {
            if let Some(outcome) = self.caller.handle_deadline(&mut scene.net) {
                self.conclude(outcome, scene);
            }
        } else {
            self.poll(scene);
        }
    }

    pub fn handle_signal(&mut self, wire: WireId, signal: Signal, scene: &mut Scene) {
        if let Some(outcome) = self.caller.handle_signal(wire, signal, &mut scene.net) {
            self.conclude(outcome, scene);
        }
    }

    fn poll(&mut self, scene: &mut Scene) {
        let cursor = scene.ledger.readers[self.number].cursor.clone();
        let after = match cursor {
            Some(cursor) => format!("&after={cursor}"),
            None if self.plan.from_now => "&after=now".into(),
            None => String::new(),
        };
        let limit = self.plan.limit.map_or(String::new(), |limit| format!("&limit={limit}"));
        let line = format!("GET /sub/{}?timeout={}{limit}{after}", self.path, self.plan.timeout_s);
        let node = self.node;
        scene.note(&self.name, || format!("-> node-{node} {line}"));
        scene.totals.add("polls", 1);
        let patience = self.plan.timeout_s * 1000 + GRACE_MS;
        self.caller.call(node, Purpose::Public, request(&line, "", &[]), patience, &mut scene.net);
        scene.set_timer(&mut self.timer, patience);
    }

    fn conclude(&mut self, outcome: Outcome, scene: &mut Scene) {
        let node = self.node;
        let rest = match outcome {
            Outcome::Failed(failed) => {
                scene.note(&self.name, || format!("<- node-{node} {failed:?}"));
                self.node = scene.another_node(node);
                if failed == Failed::TimedOut { 0 } else { scene.random.between(5, 200) }
            }
            Outcome::Answered(response) => {
                scene.note(&self.name, || format!("<- node-{node} {} {}", response.status, response.text()));
                match response.status {
                    200 => self.take(&response.json(), scene),
                    410 => scene.random.between(200, 800),
                    503 => {
                        self.node = scene.another_node(node);
                        scene.random.between(20, 200)
                    }
                    other => {
                        scene.judge::<()>(&self.name, Err(format!("status {other} to a poll")));
                        1_000
                    }
                }
            }
        };
        if self.plan.roaming {
            self.node = scene.another_node(self.node);
        }
        scene.set_timer(&mut self.timer, rest);
    }

    /// An answer; gives how long to wait before the next poll, in milliseconds.
    fn take(&mut self, answer: &serde_json::Value, scene: &mut Scene) -> Ms {
        let now = scene.now();
        let verdict = scene.ledger.deliver(self.number, answer, &scene.plan, now);
        let count = scene.judge(&self.name, verdict).unwrap_or(0);
        scene.totals.add("deliveries", count as u64);
        if answer["gap"] == true {
            scene.totals.add("gaps", 1);
        }
        if !answer["closed"].is_null() {
            return scene.random.between(100, 1_000);
        }
        if scene.random.percent(20) { scene.random.mostly_small(1, 200) } else { 0 }
    }
}
