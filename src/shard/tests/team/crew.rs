//! Several shards, and who carries their letters: at once, or when a test says so.

use std::collections::{BTreeMap, BTreeSet};

use super::super::harness::{ORIGIN, START, Who, World, request, settings};
use super::super::response::{Answer, Response};
use super::*;
use crate::shard::team::Mail;

/// A client, and at which shard it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub usize, pub Who);

/// The shards of a node; the first is the hub.
pub struct Crew {
    pub worlds: Vec<World>,
    /// Letters that are not taken yet, by sender and receiver: one each, as in a mailbox.
    letters: BTreeMap<(usize, usize), Mail>,
    /// Shards that take no letters.
    pub stuck: BTreeSet<usize>,
}

impl Crew {
    pub fn new(shards: usize) -> Crew {
        Crew::with(shards, |_| {})
    }

    /// With settings that differ from the defaults.
    pub fn with(shards: usize, change: impl FnOnce(&mut Settings)) -> Crew {
        Crew::keyed(shards, Keys::default(), change)
    }

    /// With secrets too.
    pub fn keyed(shards: usize, keys: Keys, change: impl FnOnce(&mut Settings)) -> Crew {
        let (mut settings, keys) = (settings(), Arc::new(keys));
        change(&mut settings);
        let settings = settings.for_one_of(shards);
        let mut hub = Shard::new(settings.clone(), keys.clone(), ORIGIN, 7, START);
        let enlistment = hub.lead(shards - 1, true);
        let mut worlds = vec![World::around(hub)];
        for number in 1..shards {
            let own = Origin(number as u64);
            let follower = Shard::follow(settings.clone(), keys.clone(), enlistment.clone(), own, START);
            worlds.push(World::around(follower));
        }
        Crew { worlds, letters: BTreeMap::new(), stuck: BTreeSet::new() }
    }

    // -- Letters -----------------------------------------------------------------------

    /// Each shard puts down what it has to say, where its last letter was taken.
    pub fn post(&mut self) {
        for from in 0..self.worlds.len() {
            let receivers: Vec<usize> = self.worlds[from].shard.mail_for().collect();
            for to in receivers {
                let letter = || self.worlds[from].shard.write_mail(to);
                self.letters.entry((from, to)).or_insert_with(letter);
            }
        }
    }

    /// Letters that could be taken, by sender and receiver.
    pub fn letters(&self) -> Vec<(usize, usize)> {
        self.letters.keys().filter(|(_, to)| !self.stuck.contains(to)).copied().collect()
    }

    /// One letter is taken.
    #[track_caller]
    pub fn carry(&mut self, from: usize, to: usize) {
        let mail = self.letters.remove(&(from, to)).expect("there is a letter");
        let world = &mut self.worlds[to];
        world.shard.handle_mail(from, mail, world.now);
        world.tick();
        self.post();
    }

    /// Letters are taken until nobody has anything to say to who takes any.
    pub fn settle(&mut self) {
        self.settle_by(|letters| letters[0]);
    }

    /// The same in the order that `choose` gives.
    pub fn settle_by(&mut self, mut choose: impl FnMut(&[(usize, usize)]) -> (usize, usize)) {
        self.post();
        for turns in 0.. {
            assert!(turns < 100_000, "the shards do not come to rest");
            let letters = self.letters();
            if letters.is_empty() {
                return;
            }
            let (from, to) = choose(&letters);
            self.carry(from, to);
        }
    }

    // -- Time --------------------------------------------------------------------------

    pub fn now(&self) -> Now {
        self.worlds[0].now
    }

    fn tick_at(&mut self, now: Now) {
        for world in &mut self.worlds {
            world.now = now;
            world.tick();
        }
    }

    /// Lets time pass, deadline by deadline; letters are taken at once.
    pub fn advance(&mut self, ms: u64) {
        let target = self.now().plus_ms(ms);
        for turns in 0.. {
            assert!(turns < 100_000, "time does not pass");
            self.settle();
            let now = self.now();
            match self.worlds.iter().filter_map(|world| world.shard.next_deadline()).min() {
                Some(next) if next <= target.tick => self.tick_at(now.plus_ms(next.since_ms(now.tick))),
                _ => break,
            }
        }
        self.tick_at(target);
        self.settle();
    }

    // -- Clients -----------------------------------------------------------------------

    pub fn connect(&mut self, shard: usize, door: Door) -> At {
        At(shard, self.worlds[shard].connect(door))
    }

    /// A client sends bytes; letters are taken at once.
    pub fn send(&mut self, at: At, bytes: impl AsRef<[u8]>) {
        self.worlds[at.0].send(at.1, bytes);
        self.settle();
    }

    /// What a client has got, as it came.
    pub fn take_bytes(&mut self, at: At) -> Vec<u8> {
        self.worlds[at.0].take_bytes(at.1)
    }

    #[track_caller]
    pub fn take(&mut self, at: At) -> Response {
        self.worlds[at.0].take(at.1)
    }

    #[track_caller]
    pub fn take_answer(&mut self, at: At) -> Answer {
        self.worlds[at.0].take_answer(at.1)
    }

    #[track_caller]
    pub fn check_held(&self, at: At) {
        self.worlds[at.0].check_held(at.1);
    }

    pub fn is_over(&self, at: At) -> bool {
        self.worlds[at.0].is_over(at.1)
    }

    /// What comes of some bytes on a connection of their own, and whether it is over then.
    pub fn raw(&mut self, shard: usize, door: Door, bytes: &[u8]) -> (Vec<u8>, bool) {
        let at = self.connect(shard, door);
        self.send(at, bytes);
        let came = (self.take_bytes(at), self.is_over(at));
        self.worlds[shard].end(at.1);
        came
    }

    /// One request on a connection of its own, which ends afterwards.
    #[track_caller]
    pub fn request(&mut self, shard: usize, door: Door, line: &str, body: impl AsRef<[u8]>) -> Response {
        let at = self.connect(shard, door);
        self.send(at, request(line, "", body));
        let response = self.take(at);
        self.worlds[shard].end(at.1);
        response
    }

    #[track_caller]
    pub fn get(&mut self, shard: usize, target: &str) -> Response {
        self.request(shard, Door::Public, &format!("GET {target}"), "")
    }

    #[track_caller]
    pub fn publisher(&mut self, shard: usize, line: &str, body: impl AsRef<[u8]>) -> Response {
        self.request(shard, Door::Publisher, line, body)
    }

    /// A poll on a connection of its own, which stays.
    pub fn poll(&mut self, shard: usize, target: &str) -> At {
        let at = At(shard, self.worlds[shard].poll(target));
        self.settle();
        at
    }

    /// Publishes a text; tells how many polls the server says it woke.
    #[track_caller]
    pub fn publish(&mut self, shard: usize, channels: &str, text: &str) -> u64 {
        let at = self.start_publishing(shard, channels, text);
        self.settle();
        let response = self.take(at);
        assert_eq!(response.status, 201, "{response:?}");
        self.worlds[shard].end(at.1);
        response.json()["subscribers"].as_u64().unwrap()
    }

    /// The same without waiting for the answer, and without a letter being taken.
    pub fn start_publishing(&mut self, shard: usize, channels: &str, text: &str) -> At {
        let at = self.connect(shard, Door::Publisher);
        let fields = "Content-Type: text/plain\r\n";
        self.worlds[shard].send(at.1, request(&format!("POST /pub/{channels}"), fields, text));
        self.post();
        at
    }

    /// Everybody leaves; then nothing may be left behind.
    #[track_caller]
    pub fn finish(mut self) {
        self.stuck.clear();
        self.settle();
        for world in &mut self.worlds {
            world.clear();
        }
        self.settle();
        for world in self.worlds {
            let team = world.shard.team.as_ref().expect("one of several");
            assert!(team.is_at_rest(), "{team:?}");
            world.finish();
        }
    }
}
