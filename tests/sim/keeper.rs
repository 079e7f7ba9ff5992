//! Looks after the mortal channels: creates, renews and closes them, and publishes there.

use crate::agenda::Ms;
use crate::http::{Caller, Outcome, request};
use crate::ledger::{Deed, Doing, Level, parse_id};
use crate::net::{Purpose, Signal, WireId};
use crate::scene::{Scene, Timer};

/// How long an answer may take, in milliseconds.
const PATIENCE_MS: Ms = 4_000;
/// So long before the end of the faults nothing more is done but a last closing and creating of every
/// channel: whatever goes wrong then is not healed by what would come after it.
const FAREWELL_MS: Ms = 1_000;
/// The longest rest between two deeds, in milliseconds.
const REST_MS_MAX: Ms = 600;

/// A channel is saved at most so long before its time is over, in milliseconds.
const RESCUE_MS_MAX: Ms = 60;

#[derive(Debug)]
pub struct Keeper {
    name: String,
    caller: Caller,
    timer: Timer,
    /// The publication that is being sent.
    publishing: Option<usize>,
    /// Channels that are still to be closed and created for the last time.
    farewells: Vec<usize>,
    /// The channel that is being closed, and is perhaps created again at once.
    closing: Option<usize>,
    /// The channel that is renewed just when it is to expire, and when that is.
    rescuing: Option<(usize, Ms)>,
    node: usize,
    /// What it is doing, by its number in the ledger.
    deed: usize,
}

impl Keeper {
    pub fn new(actor: usize, number: usize, scene: &mut Scene) -> Keeper {
        let mut timer = Timer { actor, serial: 0 };
        let begins = scene.random.below(1_000);
        scene.set_timer(&mut timer, begins);
        let name = format!("keeper-{number}");
        let all = scene.plan.steady..scene.plan.channels();
        // Not always, for it would heal what went wrong before.
        let last = number == 0 && scene.random.percent(50);
        let farewells = if last { all.collect() } else { Vec::new() };
        Keeper {
            name,
            caller: Caller::new(actor, 1 << 16),
            timer,
            publishing: None,
            farewells,
            closing: None,
            rescuing: None,
            node: 0,
            deed: 0,
        }
    }

    /// Whether it is waiting for nothing.
    pub fn is_done(&self) -> bool {
        !self.caller.busy && self.farewells.is_empty() && self.closing.is_none()
    }

    pub fn handle_timer(&mut self, serial: u64, scene: &mut Scene) {
        if serial != self.timer.serial {
            return;
        }
        if self.caller.busy {
            if let Some(outcome) = self.caller.handle_deadline(&mut scene.net) {
                self.conclude(outcome, scene);
            }
        } else if scene.now() + FAREWELL_MS < scene.plan.heal_ms || self.closing.is_some() {
            self.act(scene);
        } else if scene.now() + FAREWELL_MS / 2 < scene.plan.heal_ms {
            // The last that others did is over by then.
            scene.set_timer(&mut self.timer, FAREWELL_MS / 2);
        } else if let Some(channel) = self.farewells.pop() {
            self.closing = Some(channel);
            let line = format!("DELETE /channels/{}", scene.plan.name(channel));
            self.send((channel, Doing::Close), &line, "", scene);
        }
    }

    pub fn handle_signal(&mut self, wire: WireId, signal: Signal, scene: &mut Scene) {
        if let Some(outcome) = self.caller.handle_signal(wire, signal, &mut scene.net) {
            self.conclude(outcome, scene);
        }
    }

    fn act(&mut self, scene: &mut Scene) {
        if let Some((channel, _)) = self.rescuing.take() {
            let line = format!("POST /channels/{}/renew", scene.plan.name(channel));
            return self.send((channel, Doing::Prolong), &line, "{\"ttl\":600}", scene);
        }
        let again = self.closing.take();
        let any = scene.plan.steady + scene.random.mostly_small(0, scene.plan.mortal as u64 - 1) as usize;
        let channel = again.unwrap_or(any);
        let name = scene.plan.name(channel);
        let ttl = if again.is_some() { 600 } else { scene.random.pick(&[1, 2, 3, 600]) };
        let now = scene.now();
        let deed = if again.is_some() { 0 } else { scene.random.below(10) };
        let lasting = if ttl > 3 { Doing::Prolong } else { Doing::Shorten };
        let (doing, line, body) = match deed {
            0..2 => (lasting, "POST /channels".into(), format!("{{\"name\":\"{name}\",\"ttl\":{ttl}}}")),
            2..5 => (lasting, format!("POST /channels/{name}/renew"), format!("{{\"ttl\":{ttl}}}")),
            5 => {
                self.closing = scene.random.percent(60).then_some(channel);
                (Doing::Close, format!("DELETE /channels/{name}"), String::new())
            }
            _ => {
                let at = scene.ledger.begin(vec![channel], false, now);
                self.publishing = Some(at);
                scene.totals.add("publications", 1);
                (Doing::Publish, format!("POST /pub/{name}"), format!("t{at}:"))
            }
        };
        if doing == Doing::Shorten && scene.random.percent(60) {
            let before = scene.random.mostly_small(0, RESCUE_MS_MAX);
            self.rescuing = Some((channel, scene.now() + ttl * 1_000 - before));
        }
        self.send((channel, doing), &line, &body, scene);
    }

    fn send(&mut self, (channel, doing): (usize, Doing), line: &str, body: &str, scene: &mut Scene) {
        self.node = scene.some_node();
        let (node, begun) = (self.node, scene.now());
        self.deed = scene.ledger.deeds.len();
        scene.ledger.deeds.push(Deed { channel, doing, node, begun, answer: None });
        scene.note(&self.name, || format!("-> node-{node} {line} {body}"));
        let fields = if self.publishing.is_some() { "Content-Type: text/plain\r\n" } else { "" };
        let bytes = request(line, fields, body.as_bytes());
        self.caller.call(node, Purpose::Publisher, bytes, PATIENCE_MS, &mut scene.net);
        scene.set_timer(&mut self.timer, PATIENCE_MS);
    }

    fn conclude(&mut self, outcome: Outcome, scene: &mut Scene) {
        let node = self.node;
        let publishing = self.publishing.take();
        match outcome {
            Outcome::Failed(failed) => scene.note(&self.name, || format!("<- node-{node} {failed:?}")),
            Outcome::Answered(response) => {
                scene.note(&self.name, || format!("<- node-{node} {} {}", response.status, response.text()));
                let now = scene.now();
                scene.ledger.deeds[self.deed].answer = Some((now, response.status));
                if !matches!(response.status, 200 | 201 | 204 | 404 | 410 | 503) {
                    let verdict = Err(format!("status {} to a keeper", response.status));
                    scene.judge::<()>(&self.name, verdict);
                }
                if let Some(at) = publishing.filter(|_| response.status == 201)
                    && let Some(id) = response.json()["id"].as_str().and_then(parse_id)
                {
                    let now = scene.now();
                    let verdict = scene.ledger.acknowledge(at, id, Level::Local, now);
                    scene.judge(&self.name, verdict);
                }
            }
        }
        let most = if self.closing.is_some() { 20 } else { REST_MS_MAX };
        let rest = match self.rescuing {
            Some((_, at)) => at.saturating_sub(scene.now()),
            None => scene.random.between(1, most),
        };
        scene.set_timer(&mut self.timer, rest);
    }
}
