//! Publishers and subscribers that go on whatever happens, and what must be so in the end.
//!
//! A publisher asks for a quorum and repeats at another node, with the same key, what was not
//! acknowledged. A subscriber takes another node for each poll. Then: every message that was acknowledged
//! is with every subscriber, no id twice, what one node said in its order, and nobody was told of a gap or
//! a reset. A publication that had to be repeated may have been published at two nodes that could not
//! know of each other; only of these may a subscriber see two.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ask::{Connection, ask, get, publication};
use crate::fleet::Fleet;
use crate::random::Random;
use crate::{PATIENCE, wait_within};

/// What subscribers poll.
const CHANNELS: &str = "a,b";
/// Where messages go, in turn.
const TARGETS: [&str; 3] = ["a", "b", "a,b"];
/// How long a poll is held, in seconds; and how long a subscriber waits for it.
const POLL_S: u64 = 1;
const POLL_PATIENCE: Duration = Duration::from_millis(2_500);
/// How long a publisher waits for its receipt.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(3);
/// After something failed.
const REST: Duration = Duration::from_millis(20);
/// A node that failed a publisher is passed over for so long, as a balancer would do it.
const WARY: Duration = Duration::from_millis(1_500);
/// Nothing takes longer, however often it is repeated.
const TRIES: Duration = Duration::from_secs(45);

/// How much goes on.
#[derive(Clone, Copy)]
pub struct Load {
    pub subscribers: usize,
    pub publishers: usize,
    /// Between two publications of a publisher.
    pub pause: Duration,
}

impl Default for Load {
    fn default() -> Load {
        Load { subscribers: 6, publishers: 3, pause: Duration::from_millis(8) }
    }
}

/// What was published: the text, and what is known of it.
#[derive(Default)]
struct Published {
    /// Acknowledged, with one try.
    at_once: BTreeSet<String>,
    /// Acknowledged after a try of which nothing is known.
    repeated: BTreeSet<String>,
}

/// What happened.
#[derive(Debug)]
#[allow(dead_code, reason = "all of it is printed")]
pub struct Tally {
    pub acknowledged: usize,
    /// Those of which a try came to nobody knows what.
    pub repeated: usize,
    /// Polls that came to nothing, because their node died or stood still.
    pub failed_polls: u64,
    pub polls: u64,
    /// What subscribers saw twice, of what was repeated.
    pub twice: usize,
}

struct Scene<'a> {
    fleet: &'a Fleet,
    /// Publishers are to stop.
    enough: AtomicBool,
    /// What subscribers must have before they stop; none yet.
    goal: Mutex<Option<BTreeSet<String>>>,
    polls: AtomicU64,
    failed_polls: AtomicU64,
    published: AtomicU64,
}

/// Lets `faults` happen while messages are published and read; judges all of it. What `faults` is given
/// waits until so many more are acknowledged.
pub fn nothing_is_lost_while(fleet: &Fleet, load: Load, faults: impl FnOnce(&dyn Fn(u64))) -> Tally {
    let scene = Scene {
        fleet,
        enough: AtomicBool::new(false),
        goal: Mutex::new(None),
        polls: AtomicU64::new(0),
        failed_polls: AtomicU64::new(0),
        published: AtomicU64::new(0),
    };
    let start = fleet.ask_public(0, &format!("/sub/{CHANNELS}?after=now&timeout=0")).unwrap().body;
    let start = start["cursor"].as_str().unwrap();
    let (published, readings) = std::thread::scope(|scope| {
        // However this ends, those who wait for the end see it.
        let _end = End(&scene);
        let subscribers: Vec<_> =
            (0..load.subscribers).map(|_| scope.spawn(|| subscribe(&scene, start))).collect();
        let scene = &scene;
        let publishers: Vec<_> = (0..load.publishers)
            .map(|number| scope.spawn(move || publish(scene, number, load.pause)))
            .collect();
        let go_on = |count: u64| {
            let wanted = scene.published.load(Ordering::Relaxed) + count;
            let enough = || (scene.published.load(Ordering::Relaxed) >= wanted).then_some(());
            wait_within(TRIES, "the traffic to go on", enough);
        };
        go_on(50);
        faults(&go_on);
        // All is well again, and goes on.
        go_on(50);
        scene.enough.store(true, Ordering::Relaxed);
        let mut published = Published::default();
        for publisher in publishers {
            let mut one = publisher.join().unwrap();
            published.at_once.append(&mut one.at_once);
            published.repeated.append(&mut one.repeated);
        }
        *scene.goal.lock().unwrap() = Some(&published.at_once | &published.repeated);
        let readings: Vec<Reading> =
            subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).collect();
        (published, readings)
    });
    let twice = readings.iter().map(|reading| reading.judge(&published)).max().unwrap_or(0);
    all_agree(fleet, &published);
    let tally = Tally {
        acknowledged: published.at_once.len() + published.repeated.len(),
        repeated: published.repeated.len(),
        failed_polls: scene.failed_polls.load(Ordering::Relaxed),
        polls: scene.polls.load(Ordering::Relaxed),
        twice,
    };
    println!("{tally:?}");
    tally
}

struct End<'a, 'b>(&'a Scene<'b>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        self.0.enough.store(true, Ordering::Relaxed);
        let mut goal = self.0.goal.lock().unwrap_or_else(|error| error.into_inner());
        goal.get_or_insert_default();
    }
}

// -- Publishers ----------------------------------------------------------------------

fn publish(scene: &Scene, publisher: usize, pause: Duration) -> Published {
    let (mut random, mut published) = (Random::new(), Published::default());
    let nodes = scene.fleet.places.len();
    let mut wary = vec![Instant::now(); nodes];
    for number in 0.. {
        if scene.enough.load(Ordering::Relaxed) {
            break;
        }
        let token = format!("p{publisher}-{number}");
        let request = publication(&format!("/pub/{}?ack=quorum", TARGETS[number % 3]), &token, &token);
        let deadline = Instant::now() + TRIES;
        let mut in_doubt = false;
        loop {
            let fine: Vec<usize> = (0..nodes).filter(|node| wary[*node] <= Instant::now()).collect();
            let node = if fine.is_empty() { random.below(nodes) } else { fine[random.below(fine.len())] };
            match try_to_publish(scene, node, &request) {
                Tried::Acknowledged => break,
                Tried::Refused => {}
                Tried::InDoubt => in_doubt = true,
            }
            wary[node] = Instant::now() + WARY;
            assert!(Instant::now() < deadline, "{token} is not acknowledged in {TRIES:?}");
            std::thread::sleep(REST);
        }
        let kind = if in_doubt { &mut published.repeated } else { &mut published.at_once };
        kind.insert(token);
        scene.published.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(pause);
    }
    published
}

enum Tried {
    Acknowledged,
    /// Nothing was published.
    Refused,
    /// Perhaps it was.
    InDoubt,
}

fn try_to_publish(scene: &Scene, node: usize, request: &str) -> Tried {
    let address = scene.fleet.places[node].publisher;
    let Ok(mut connection) = Connection::open(address, RECEIPT_PATIENCE) else { return Tried::Refused };
    let Ok(reply) = connection.ask(request, RECEIPT_PATIENCE) else { return Tried::InDoubt };
    match reply.status {
        201 => Tried::Acknowledged,
        503 if reply.body.to_string().contains("Nothing was published") => Tried::Refused,
        503 if reply.body.to_string().contains("Published, but") => Tried::InDoubt,
        // It ends, or is full.
        503 => Tried::Refused,
        _ => panic!("n{}: {reply:?}", node + 1),
    }
}

// -- Subscribers ---------------------------------------------------------------------

/// What one subscriber was given.
#[derive(Default)]
struct Reading {
    /// How often each text.
    tokens: HashMap<String, usize>,
    /// How far each origin came.
    heads: HashMap<String, u64>,
    /// The first thing that was wrong.
    fault: Option<String>,
    /// What it had to wait for.
    missing: Option<String>,
}

fn subscribe(scene: &Scene, start: &str) -> Reading {
    let (mut random, mut reading, mut cursor) = (Random::new(), Reading::default(), start.to_string());
    let nodes = scene.fleet.places.len();
    let mut connections: Vec<Option<Connection>> = (0..nodes).map(|_| None).collect();
    let (mut node, mut deadline) = (random.below(nodes), None);
    loop {
        node = random.other_than(node, nodes);
        let request = get(&format!("/sub/{CHANNELS}?after={cursor}&timeout={POLL_S}"));
        scene.polls.fetch_add(1, Ordering::Relaxed);
        match poll(scene, node, &mut connections[node], &request) {
            Some(body) => {
                reading.take(&body, node);
                cursor = body["cursor"].as_str().unwrap_or_default().to_string();
            }
            None => {
                connections[node] = None;
                scene.failed_polls.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(REST);
            }
        }
        let goal = scene.goal.lock().unwrap();
        let Some(goal) = goal.as_ref() else { continue };
        reading.missing = goal.iter().find(|token| !reading.tokens.contains_key(*token)).cloned();
        let over = *deadline.get_or_insert(Instant::now() + PATIENCE) < Instant::now();
        if reading.missing.is_none() || reading.fault.is_some() || over {
            break;
        }
    }
    // Nothing comes again, at whatever node.
    for node in 0..nodes {
        let request = get(&format!("/sub/{CHANNELS}?after={cursor}&timeout=0"));
        if let Ok(reply) = ask(scene.fleet.places[node].public, &request, POLL_PATIENCE) {
            reading.take(&reply.body, node);
            cursor = reply.body["cursor"].as_str().unwrap_or_default().to_string();
        }
    }
    reading
}

/// A poll's answer; none if its node is not there, or died meanwhile.
fn poll(scene: &Scene, node: usize, kept: &mut Option<Connection>, request: &str) -> Option<Value> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(scene.fleet.places[node].public, POLL_PATIENCE).ok()?,
    };
    let reply = connection.ask(request, POLL_PATIENCE).ok()?;
    if !reply.closes {
        *kept = Some(connection);
    }
    match reply.status {
        200 => Some(reply.body),
        503 => None,
        _ => panic!("n{}: {reply:?} to {request}", node + 1),
    }
}

impl Reading {
    fn take(&mut self, body: &Value, node: usize) {
        if !body["gap"].is_null() || !body["reset"].is_null() {
            self.blame(format!("n{} tells of a gap or reset: {body}", node + 1));
        }
        for message in body["messages"].as_array().into_iter().flatten() {
            let (id, token) = (message["id"].as_str().unwrap(), message["data"].as_str().unwrap());
            let (origin, seq) = id.split_once('-').unwrap();
            let seq: u64 = seq.parse().unwrap();
            let head = self.heads.entry(origin.to_string()).or_default();
            let before = std::mem::replace(head, seq);
            if seq <= before {
                self.blame(format!("n{} gives {id} ({token}) after {before}", node + 1));
            }
            *self.tokens.entry(token.to_string()).or_default() += 1;
        }
    }

    fn blame(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    /// Returns how many of those that were repeated came twice.
    fn judge(&self, published: &Published) -> usize {
        assert_eq!(self.fault, None);
        assert_eq!(self.missing, None, "is lost");
        let count = |token: &String| self.tokens.get(token).copied().unwrap_or(0);
        for token in &published.at_once {
            assert_eq!(count(token), 1, "{token}");
        }
        published.repeated.iter().filter(|token| count(token) > 1).count()
    }
}

// -- In the end ----------------------------------------------------------------------

/// All nodes have the same messages, and none lacks anything.
fn all_agree(fleet: &Fleet, published: &Published) {
    fleet.wait_linked();
    for node in fleet.live() {
        assert!(!fleet.stderr(node).contains("panicked"), "n{}", node + 1);
    }
    let all: Vec<BTreeMap<String, String>> =
        fleet.live().iter().map(|node| fleet.contents(*node, CHANNELS).into_iter().collect()).collect();
    let tokens = |one: &BTreeMap<String, String>| -> BTreeSet<String> { one.values().cloned().collect() };
    for (node, one) in all.iter().enumerate() {
        let has = tokens(one);
        assert_eq!(
            published.at_once.iter().find(|token| !has.contains(*token)),
            None,
            "gone at n{}",
            node + 1
        );
        assert_eq!(*one, all[0], "n{}", node + 1);
    }
}
