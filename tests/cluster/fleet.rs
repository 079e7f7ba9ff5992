//! The nodes of one cluster, each at its own addresses, to which it comes back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::ask::{Reply, ask, get};
use crate::node::fixed_addresses;
use crate::process::{Running, bare_command};
use crate::relay::Relay;
use crate::temp::TempDir;
use crate::{PATIENCE, wait_for, wait_within};

/// What one request for a figure may take.
const QUICK: Duration = Duration::from_secs(3);
/// Lines of each node's log that are shown when a test fails.
const LOG_LINES: usize = 40;

/// Where a node lives.
#[derive(Clone, Debug)]
pub struct Place {
    pub public: SocketAddr,
    pub publisher: SocketAddr,
    pub cluster: SocketAddr,
    /// Where the others are told that it is.
    pub advertised: SocketAddr,
    /// The command that goes before the program's name.
    pub prefix: Vec<String>,
    /// Of so many others it is told, the first ones.
    pub peers_max: usize,
}

impl Place {
    /// On loopback, at ports that are not given to anybody else.
    pub fn choose() -> Place {
        let ((public, publisher), (cluster, _)) = (fixed_addresses(), fixed_addresses());
        Place { public, publisher, cluster, advertised: cluster, prefix: Vec::new(), peers_max: usize::MAX }
    }
}

/// The nodes of a cluster, called n1, n2, …; dropping it kills them.
pub struct Fleet {
    pub places: Vec<Place>,
    nodes: Vec<Mutex<Option<Running>>>,
    flags: Vec<String>,
    /// What nodes that are gone have said.
    said: Mutex<String>,
    relay: Option<Arc<Relay>>,
    dir: TempDir,
}

impl Fleet {
    /// So many nodes on loopback, all ready.
    pub fn start(count: usize) -> Fleet {
        Fleet::start_at((0..count).map(|_| Place::choose()).collect(), &[])
    }

    /// Nodes that reach each other by way of a relay only.
    pub fn start_relayed(count: usize) -> (Fleet, Arc<Relay>) {
        let mut places: Vec<Place> = (0..count).map(|_| Place::choose()).collect();
        let targets: Vec<SocketAddr> = places.iter().map(|place| place.cluster).collect();
        let relay = Relay::start(&targets);
        for (place, address) in places.iter_mut().zip(relay.addresses()) {
            place.advertised = *address;
        }
        let mut fleet = Fleet::at(places, &[]);
        fleet.relay = Some(relay.clone());
        fleet.launch_all();
        (fleet, relay)
    }

    /// Nodes at these places, with more flags; all ready.
    pub fn start_at(places: Vec<Place>, flags: &[&str]) -> Fleet {
        let fleet = Fleet::at(places, flags);
        fleet.launch_all();
        fleet
    }

    /// Nodes that are still to be launched.
    pub fn at(places: Vec<Place>, flags: &[&str]) -> Fleet {
        Fleet {
            nodes: places.iter().map(|_| Mutex::new(None)).collect(),
            places,
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
            said: Mutex::default(),
            relay: None,
            dir: TempDir::new(),
        }
    }

    fn launch_all(&self) {
        self.all().for_each(|node| self.launch(node));
        self.all().for_each(|node| self.wait_ready(node));
        self.wait_linked();
    }

    /// The nodes by their numbers, whether they live or not.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.places.len()
    }

    /// Those that live.
    pub fn live(&self) -> Vec<usize> {
        self.all().filter(|node| self.node(*node).is_some()).collect()
    }

    fn node(&self, node: usize) -> MutexGuard<'_, Option<Running>> {
        self.nodes[node].lock().unwrap()
    }

    /// Starts a node; it listens when this returns, but need not have caught up.
    pub fn launch(&self, node: usize) {
        let place = &self.places[node];
        let ready = self.dir.file(&format!("ready-{node}"));
        let _ = std::fs::remove_file(&ready);
        let program = env!("CARGO_BIN_EXE_pushup").to_string();
        let mut words = [&place.prefix[..], &[program]].concat().into_iter();
        let mut command = bare_command(&words.next().unwrap());
        command.args(words);
        command.args(["serve", "--listen", &place.public.to_string()]);
        command.args(["--publish-listen", &place.publisher.to_string()]);
        command.args(["--cluster-listen", &place.cluster.to_string()]);
        command.args(["--cluster-advertise", &place.advertised.to_string()]);
        command.args(["--node-id", &format!("n{}", node + 1), "--drain-time", "1"]);
        command.args(["--channel-messages-max", "100000", "--ready-file"]).arg(&ready).args(&self.flags);
        for other in self.all().filter(|other| *other != node).take(place.peers_max) {
            command.args(["--peer", &self.places[other].advertised.to_string()]);
        }
        let mut running = Running::spawn(&mut command);
        wait_for("the ready file", || {
            let ended = running.has_ended();
            assert!(ended.is_none(), "n{} ended, {ended:?}: {}", node + 1, running.stderr());
            serde_json::from_slice::<Value>(&std::fs::read(&ready).ok()?).ok()
        });
        *self.node(node) = Some(running);
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        self.node(node).as_ref().expect("it lives").signal(signal);
    }

    /// Ends a node as a power failure would, as far as one machine can.
    pub fn kill(&self, node: usize) {
        self.signal(node, Signal::KILL);
        self.bury(node);
    }

    /// Ends a node in good order.
    pub fn stop(&self, node: usize) {
        self.signal(node, Signal::TERM);
        self.bury(node);
    }

    fn bury(&self, node: usize) {
        // Out of its place first: whoever asks meanwhile is not to wait.
        let mut running = self.node(node).take().expect("it lives");
        running.end_within(PATIENCE);
        let text = format!("n{}, which is gone:\n{}", node + 1, tail(&running.stderr()));
        self.said.lock().unwrap().push_str(&text);
        assert!(!running.stderr().contains("panicked"), "{text}");
    }

    /// What a node that lives has said.
    pub fn stderr(&self, node: usize) -> String {
        self.node(node).as_ref().expect("it lives").stderr()
    }

    /// Asks a node at its public address.
    pub fn ask_public(&self, node: usize, target: &str) -> std::io::Result<Reply> {
        ask(self.places[node].public, &get(target), QUICK)
    }

    /// Asks a node at its publishers' address.
    pub fn ask_publisher(&self, node: usize, target: &str) -> std::io::Result<Reply> {
        ask(self.places[node].publisher, &get(target), QUICK)
    }

    pub fn is_ready(&self, node: usize) -> bool {
        self.ask_public(node, "/readyz").is_ok_and(|reply| reply.status == 200)
    }

    pub fn wait_ready(&self, node: usize) {
        wait_for(&format!("n{} to be ready", node + 1), || self.is_ready(node).then_some(()));
    }

    /// Waits until every live node is linked to every other, and none lacks anything.
    pub fn wait_linked(&self) {
        let live = self.live();
        for node in &live {
            let mut last = Value::Null;
            let whole = || {
                last = self.ask_publisher(*node, "/cluster").ok()?.body;
                let members = last["members"].as_array()?;
                let is_even = |member: &&Value| {
                    let even = member["lacks"] == 0 && member["ahead"] == 0;
                    member["linked"] == true && member["ready"] == true && even
                };
                (members.iter().filter(is_even).count() == live.len() - 1).then_some(())
            };
            wait_within(PATIENCE, &format!("n{} to be level with all", node + 1), whole);
        }
    }

    /// All that a node has in these channels, as pairs of id and data.
    pub fn contents(&self, node: usize, channels: &str) -> Vec<(String, String)> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let body = self.ask_public(node, &format!("/sub/{channels}?timeout=0{after}")).unwrap().body;
            let messages = body["messages"].as_array().unwrap_or_else(|| panic!("{body}"));
            if messages.is_empty() {
                return all;
            }
            let text = |value: &Value| value.as_str().unwrap().to_string();
            all.extend(messages.iter().map(|message| (text(&message["id"]), text(&message["data"]))));
            after = format!("&after={}", text(&body["cursor"]));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.end();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.said.lock().unwrap_or_else(|error| error.into_inner()));
            for (node, running) in self.nodes.iter().enumerate() {
                if let Ok(Some(running)) = running.lock().as_deref() {
                    eprintln!("n{}:\n{}", node + 1, tail(&running.stderr()));
                }
            }
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| format!("  {line}\n")).collect()
}
