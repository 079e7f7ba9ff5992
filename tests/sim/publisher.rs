//! A publisher: one message or a batch at a time, with or without a key, and what it was promised.

use crate::agenda::Ms;
use crate::http::{Caller, Outcome, Response, request};
use crate::ledger::{Level, parse_id};
use crate::net::{Purpose, Signal, WireId};
use crate::plan::PublisherPlan;
use crate::scene::{Scene, Timer};

/// How long an answer may take, in milliseconds.
const PATIENCE_MS: Ms = 8_000;
/// How often a publication with a key is sent at most.
const TRIES_MAX: u32 = 6;

/// What is being sent.
#[derive(Debug)]
struct Job {
    /// The publications, by their number in the ledger.
    all: Vec<usize>,
    batch: bool,
    level: Level,
    keyed: bool,
    bodies: Vec<String>,
    tries: u32,
    /// It is sent once more although it was acknowledged.
    again: bool,
}

#[derive(Debug)]
pub struct Publisher {
    name: String,
    plan: PublisherPlan,
    left: u64,
    node: usize,
    caller: Caller,
    timer: Timer,
    job: Option<Job>,
}

impl Publisher {
    pub fn new(actor: usize, number: usize, plan: PublisherPlan, scene: &mut Scene) -> Publisher {
        let mut timer = Timer { actor, serial: 0 };
        scene.set_timer(&mut timer, plan.begins);
        Publisher {
            name: format!("publisher-{number}"),
            left: plan.publications,
            plan,
            node: 0,
            caller: Caller::new(actor, 1 << 16),
            timer,
            job: None,
        }
    }

    /// Whether it has published all that it wanted to.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.job.is_none()
    }

    pub fn handle_timer(&mut self, serial: u64, scene: &mut Scene) {
        if serial != self.timer.serial {
            return;
        }
        if self.caller.busy {
            if let Some(outcome) = self.caller.handle_deadline(&mut scene.net) {
                self.conclude(outcome, scene);
            }
        } else if self.job.is_some() {
            self.send(scene);
        } else if self.left > 0 {
            self.begin(scene);
            self.send(scene);
        }
    }

    pub fn handle_signal(&mut self, wire: WireId, signal: Signal, scene: &mut Scene) {
        if let Some(outcome) = self.caller.handle_signal(wire, signal, &mut scene.net) {
            self.conclude(outcome, scene);
        }
    }

    fn begin(&mut self, scene: &mut Scene) {
        let batch = scene.random.percent(15);
        let count = if batch { scene.random.between(2, 5).min(self.left) } else { 1 };
        let keyed = scene.random.percent(50);
        let level = scene.random.pick(&[Level::Local, Level::One, Level::Quorum, Level::Quorum]);
        let mut job =
            Job { all: Vec::new(), batch, level, keyed, bodies: Vec::new(), tries: 0, again: false };
        for _ in 0..count {
            let steady = scene.plan.steady;
            let channels = scene.random.mostly_small(1, steady as u64) as usize;
            let channels = scene.random.choose(channels, steady);
            let now = scene.now();
            let at = scene.ledger.begin(channels, keyed, now);
            let large = scene.random.percent(self.plan.large_percent);
            let padding = if large { scene.random.between(1_000, 30_000) as usize } else { 0 };
            job.bodies.push(format!("t{at}:{}", "x".repeat(padding)));
            job.all.push(at);
        }
        self.left -= count;
        self.node = scene.some_node();
        scene.totals.add("publications", count);
        self.job = Some(job);
    }

    fn send(&mut self, scene: &mut Scene) {
        let Some(job) = &mut self.job else { return };
        job.tries += 1;
        let (line, fields, body) = if job.batch { batch(job, scene) } else { single(job, scene) };
        let (node, tries, length) = (self.node, job.tries, body.len());
        scene.note(&self.name, || {
            let shown = String::from_utf8_lossy(&body[..length.min(120)]).replace('\n', " ");
            format!("-> node-{node} {line} (sending {tries}) {} {shown}", fields.trim_end())
        });
        self.caller.call(
            node,
            Purpose::Publisher,
            request(&line, &fields, &body),
            PATIENCE_MS,
            &mut scene.net,
        );
        scene.set_timer(&mut self.timer, PATIENCE_MS);
    }

    fn conclude(&mut self, outcome: Outcome, scene: &mut Scene) {
        let Some(mut job) = self.job.take() else { return };
        let node = self.node;
        let acknowledged = match outcome {
            Outcome::Failed(failed) => {
                scene.note(&self.name, || format!("<- node-{node} {failed:?}"));
                false
            }
            Outcome::Answered(response) => {
                scene.note(&self.name, || format!("<- node-{node} {} {}", response.status, response.text()));
                let verdict = take(&job, &response, scene);
                scene.judge(&self.name, verdict).unwrap_or(false)
            }
        };
        if acknowledged {
            scene.receipts.push(node);
        }
        self.node = scene.another_node(node);
        let again = acknowledged && job.keyed && !job.again && scene.random.percent(30);
        job.again |= again;
        if again || !acknowledged && job.keyed && job.tries < TRIES_MAX {
            self.job = Some(job);
            let rest = scene.random.between(1, 300);
            return scene.set_timer(&mut self.timer, rest);
        }
        if !acknowledged {
            scene.totals.add("unacknowledged", job.all.len() as u64);
        }
        let rest = scene.random.between(1, self.plan.rest_ms_max.max(1));
        scene.set_timer(&mut self.timer, rest);
    }
}

type Written = (String, String, Vec<u8>);

fn single(job: &Job, scene: &Scene) -> Written {
    let publication = &scene.ledger.publications[job.all[0]];
    let names: Vec<String> = publication.channels.iter().map(|channel| scene.plan.name(*channel)).collect();
    let key = if job.keyed { format!("Idempotency-Key: {}\r\n", publication.token) } else { String::new() };
    let line = format!("POST /pub/{}?ack={}", names.join(","), job.level.name());
    (line, format!("Content-Type: text/plain\r\n{key}"), job.bodies[0].clone().into_bytes())
}

fn batch(job: &Job, scene: &Scene) -> Written {
    let mut body = String::new();
    for (at, data) in job.all.iter().zip(&job.bodies) {
        let publication = &scene.ledger.publications[*at];
        let names: Vec<String> =
            publication.channels.iter().map(|channel| format!("\"{}\"", scene.plan.name(*channel))).collect();
        let key = if job.keyed { format!(",\"key\":\"{}\"", publication.token) } else { String::new() };
        body += &format!("{{\"channels\":[{}],\"data\":\"{data}\"{key}}}\n", names.join(","));
    }
    (format!("POST /pub?ack={}", job.level.name()), String::new(), body.into_bytes())
}

/// Whether all was acknowledged.
fn take(job: &Job, response: &Response, scene: &mut Scene) -> Result<bool, String> {
    let text = response.text();
    let receipts: Vec<&str> = match response.status {
        201 => vec![&text],
        200 if job.batch => text.lines().collect(),
        503 | 504 | 408 => return Ok(false),
        other => return Err(format!("status {other} to a publication")),
    };
    if receipts.len() != job.all.len() {
        return Err(format!("malformed: {} receipts for {} messages", receipts.len(), job.all.len()));
    }
    let (mut acknowledged, now) = (true, scene.now());
    for (at, receipt) in job.all.iter().zip(receipts) {
        let receipt: serde_json::Value =
            serde_json::from_str(receipt).map_err(|error| format!("malformed: {error} in {receipt}"))?;
        match receipt["id"].as_str().and_then(parse_id) {
            Some(id) => {
                if scene.ledger.acknowledge(*at, id, job.level, now)? {
                    scene.totals.add("second ids", 1);
                }
                scene.totals.add(job.level.name(), 1);
            }
            None => acknowledged = false,
        }
    }
    Ok(acknowledged)
}
