//! Whatever is asked of whichever shard, and however long letters are under way.

use proptest::prelude::*;

use super::super::harness::{Who, World, request};
use super::super::response::{Body, Response};
use super::crew::{At, Crew};
use super::*;
use crate::random::Random;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn names(channels: u8) -> String {
    let chosen: Vec<_> =
        NAMES.iter().enumerate().filter(|(at, _)| channels >> at & 1 == 1).map(|(_, name)| *name).collect();
    chosen.join(",")
}

// -- One at a time -----------------------------------------------------------------------

/// What a client does next, who waits for its answer, whatever the shard.
#[derive(Clone, Debug)]
enum Step {
    Publish(u8, Option<u8>),
    PublishMany(Vec<u8>),
    Create(u8, u64),
    Renew(u8, u64),
    Close(u8),
    Info(u8),
    /// With the cursor of the last answer to a poll on these channels.
    Poll(u8, u64),
    Leave(usize),
    /// Seconds pass.
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let channels = 1_u8..1 << NAMES.len();
    let channel = 0..NAMES.len() as u8;
    prop_oneof![
        5 => (channels.clone(), proptest::option::weighted(0.3, 0..4_u8)).prop_map(|(to, key)| Step::Publish(to, key)),
        1 => proptest::collection::vec(channels.clone(), 1..5).prop_map(Step::PublishMany),
        2 => (channel.clone(), 1..20_u64).prop_map(|(name, ttl)| Step::Create(name, ttl)),
        1 => (channel.clone(), 1..20_u64).prop_map(|(name, ttl)| Step::Renew(name, ttl)),
        1 => channel.clone().prop_map(Step::Close),
        2 => channel.prop_map(Step::Info),
        6 => (channels, 0..9_u64).prop_map(|(channels, timeout_s)| Step::Poll(channels, timeout_s)),
        1 => (0..8_usize).prop_map(Step::Leave),
        2 => (0..5_u64).prop_map(Step::Advance),
    ]
}

/// The same client at a node of one shard and at a node of several.
struct Twin {
    who: Who,
    at: At,
    is_over: bool,
    /// Its channels while it waits for an answer to a poll.
    polls: Option<u8>,
    /// It creates a channel, which to the hub is new if only polls at followers wait there.
    creates: bool,
}

struct Both {
    one: World,
    crew: Crew,
    chance: Random,
    twins: Vec<Twin>,
    cursors: [Option<String>; 1 << NAMES.len()],
    count: usize,
}

impl Both {
    fn new(shards: usize, seed: u64) -> Both {
        let mut one = World::new();
        one.shard.queue.set_replicated(true);
        let chance = Random::new(seed);
        let cursors = Default::default();
        Both { one, crew: Crew::new(shards), chance, twins: Vec::new(), cursors, count: 0 }
    }

    fn settle(&mut self) {
        let chance = &mut self.chance;
        self.crew.settle_by(|letters| letters[(chance.next_u64() % letters.len() as u64) as usize]);
    }

    fn ask(&mut self, door: Door, bytes: &[u8], polls: Option<u8>) {
        let shard = (self.chance.next_u64() % self.crew.worlds.len() as u64) as usize;
        let (who, at) = (self.one.connect(door), self.crew.connect(shard, door));
        self.one.send(who, bytes);
        self.crew.worlds[at.0].send(at.1, bytes);
        let creates = bytes.starts_with(b"POST /channels ");
        self.twins.push(Twin { who, at, is_over: false, polls, creates });
    }

    fn publisher(&mut self, line: &str, fields: &str, body: &str) {
        self.ask(Door::Publisher, &request(line, fields, body), None);
    }

    fn play(&mut self, step: Step) {
        self.count += 1;
        let text = self.count.to_string();
        match step {
            Step::Publish(to, key) => {
                let key = key.map_or(String::new(), |key| format!("Idempotency-Key: k{key}\r\n"));
                self.publisher(&format!("POST /pub/{}", names(to)), &key, &text);
            }
            Step::PublishMany(all) => {
                let list = |to: &u8| names(*to).replace(',', "\",\"");
                let item = |to: &u8| format!("{{\"channels\":[\"{}\"],\"data\":{text}}}\n", list(to));
                self.publisher("POST /pub", "", &all.iter().map(item).collect::<String>());
            }
            Step::Create(name, ttl) => {
                let body = format!("{{\"name\":\"{}\",\"ttl\":{ttl}}}", NAMES[usize::from(name)]);
                self.publisher("POST /channels", "", &body);
            }
            Step::Renew(name, ttl) => {
                let line = format!("POST /channels/{}/renew", NAMES[usize::from(name)]);
                self.publisher(&line, "", &format!("{{\"ttl\":{ttl}}}"));
            }
            Step::Close(name) => {
                self.publisher(&format!("DELETE /channels/{}", NAMES[usize::from(name)]), "", "");
            }
            Step::Info(name) => {
                self.publisher(&format!("GET /channels/{}", NAMES[usize::from(name)]), "", "");
            }
            Step::Poll(channels, timeout_s) => {
                let after = self.cursors[usize::from(channels)].as_ref();
                let after = after.map_or(String::new(), |cursor| format!("&after={cursor}"));
                let line = format!("GET /sub/{}?timeout={timeout_s}{after}", names(channels));
                self.ask(Door::Public, &request(&line, "", ""), Some(channels));
            }
            Step::Leave(at) => {
                if let Some(twin) = self.twins.get_mut(at).filter(|twin| !twin.is_over) {
                    self.one.reset(twin.who);
                    self.crew.worlds[twin.at.0].reset(twin.at.1);
                    twin.is_over = true;
                }
            }
            Step::Advance(seconds) => {
                self.one.advance(seconds * 1_000);
                self.crew.advance(seconds * 1_000);
            }
        }
        self.settle();
        // Each step has a millisecond of the second for itself: what ends at the same moment, a poll's
        // time and a channel's, may come in any order.
        self.one.advance(1);
        self.crew.advance(1);
        self.compare();
    }

    /// What all clients have got since the last time is the same.
    fn compare(&mut self) {
        for twin in &mut self.twins {
            let expected = self.one.take_bytes(twin.who);
            let came = self.crew.take_bytes(twin.at);
            let (came, expected) = (without_expiry(&came), without_expiry(&expected));
            if twin.creates {
                let body = |text: &str| text.split_once("\\r\\n\\r\\n").map(|(_, body)| body.to_string());
                assert_eq!(body(&came), body(&expected), "{:?}", twin.at);
                continue;
            }
            if says_gap(&came) && !says_gap(&expected) {
                // A channel that only polls have made is known to their shards alone. To another it may have
                // been there and be forgotten: it says rather once too often that something is missing.
                if expected.is_empty() {
                    self.one.reset(twin.who);
                    twin.is_over = true;
                } else {
                    assert_eq!(without_gap(&came), without_gap(&expected), "{:?}", twin.at);
                }
            } else {
                assert_eq!(came, expected, "{:?}", twin.at);
            }
            if let Some(channels) = twin.polls.take_if(|_| !expected.is_empty())
                && let Some(start) = expected.find("cursor\\\":\\\"")
            {
                let cursor = &expected[start + 11..];
                let end = cursor.find('\\').expect("an end");
                self.cursors[usize::from(channels)] = Some(cursor[..end].to_string());
            }
        }
    }

    fn finish(self) {
        self.one.finish();
        self.crew.finish();
    }
}

fn says_gap(text: &str) -> bool {
    text.contains("\\\"gap\\\":true")
}

/// An answer's body as it would be without a gap.
fn without_gap(text: &str) -> Option<String> {
    let (_, body) = text.split_once("\\r\\n\\r\\n")?;
    Some(body.replace(",\\\"gap\\\":true", ""))
}

/// A response without the time at which a channel that only polls have made would be forgotten: each
/// shard has its own.
fn without_expiry(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.split_once("expires\\\":") {
        Some((head, rest)) if rest.contains("created\\\":false") => {
            head.to_string() + rest.trim_start_matches(|next: char| next.is_ascii_digit())
        }
        _ => text,
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(150))]

    /// Byte for byte but for more gaps, for clients who wait for each other.
    #[test]
    fn several_shards_answer_as_one_does(
        shards in 2..5_usize,
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut both = Both::new(shards, seed);
        steps.into_iter().for_each(|step| both.play(step));
        both.finish();
    }
}

// -- All at once -------------------------------------------------------------------------

/// What happens next, whoever waits for whatever.
#[derive(Clone, Debug)]
enum Op {
    Publish(usize, u8),
    /// A reader asks at this shard, if it is not waiting for an answer.
    Poll(usize, usize, u64),
    Reset(usize),
    /// One letter is taken.
    Carry(usize),
    /// A shard takes no more letters, or takes them again.
    Stick(usize),
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let shard = 0..4_usize;
    prop_oneof![
        4 => (shard.clone(), 1_u8..1 << NAMES.len()).prop_map(|(shard, to)| Op::Publish(shard, to)),
        6 => (0..READERS, shard.clone(), 0..6_u64).prop_map(|(at, shard, timeout_s)| Op::Poll(at, shard, timeout_s)),
        1 => (0..READERS).prop_map(Op::Reset),
        12 => (0..16_usize).prop_map(Op::Carry),
        1 => shard.prop_map(Op::Stick),
        1 => (0..3_000_u64).prop_map(Op::Advance),
    ]
}

const READERS: usize = 5;

struct Reader {
    channels: u8,
    at: Option<At>,
    cursor: Option<String>,
    got: Vec<(u64, usize)>,
}

struct Game {
    crew: Crew,
    readers: Vec<Reader>,
    /// Where publications were sent, and their channels.
    published: Vec<(At, u8)>,
}

impl Game {
    fn play(&mut self, op: Op) {
        let shards = self.crew.worlds.len();
        match op {
            Op::Publish(shard, to) => {
                let text = self.published.len().to_string();
                let at = self.crew.start_publishing(shard % shards, &names(to), &text);
                self.published.push((at, to));
            }
            Op::Poll(at, shard, timeout_s) => self.poll(at, shard % shards, timeout_s),
            Op::Reset(at) => {
                if let Some(At(shard, who)) = self.readers[at].at.take() {
                    self.crew.worlds[shard].reset(who);
                }
            }
            Op::Carry(which) => {
                self.crew.post();
                let letters = self.crew.letters();
                if let Some((from, to)) = letters.get(which % letters.len().max(1)) {
                    self.crew.carry(*from, *to);
                }
            }
            Op::Stick(shard) => {
                let shard = shard % shards;
                if !self.crew.stuck.remove(&shard) {
                    self.crew.stuck.insert(shard);
                }
            }
            Op::Advance(ms) => self.crew.advance(ms),
        }
        (0..READERS).for_each(|at| self.look(at));
    }

    fn poll(&mut self, at: usize, shard: usize, timeout_s: u64) {
        let reader = &mut self.readers[at];
        if reader.at.is_some() {
            return;
        }
        let after = reader.cursor.as_ref().map_or(String::new(), |cursor| format!("&after={cursor}"));
        let line = format!("{}?timeout={timeout_s}{after}", names(reader.channels));
        reader.at = Some(At(shard, self.crew.worlds[shard].poll(&line)));
    }

    fn look(&mut self, at: usize) {
        let reader = &mut self.readers[at];
        let Some(place) = reader.at else { return };
        let bytes = self.crew.take_bytes(place);
        let Some((response, _)) = Response::parse(&bytes, Body::Present) else { return };
        reader.at = None;
        let answer = response.answer();
        assert!(!answer.gap && !answer.reset && answer.closed.is_empty());
        for message in &answer.messages {
            let id = message["id"].as_str().and_then(|id| id.rsplit('-').next()).expect("an id");
            let text = message["data"].as_str().expect("text").parse().expect("a number");
            reader.got.push((id.parse().expect("a number"), text));
        }
        assert!(reader.got.is_sorted_by_key(|got| got.0), "{:?}", reader.got);
        reader.cursor = Some(answer.cursor);
    }

    fn finish(mut self) {
        self.crew.stuck.clear();
        self.crew.settle();
        let mut ids = Vec::new();
        for (at, to) in &self.published {
            let receipt = self.crew.take(*at).json();
            let id: u64 = receipt["id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
            ids.push((id, ids.len(), *to));
        }
        ids.sort_unstable();
        let numbers: Vec<u64> = ids.iter().map(|id| id.0).collect();
        assert_eq!(numbers, (1..=ids.len() as u64).collect::<Vec<_>>(), "each has a number of its own");
        for at in 0..READERS {
            self.look(at);
            if let Some(At(shard, who)) = self.readers[at].at.take() {
                self.crew.worlds[shard].reset(who);
            }
            let shard = at % self.crew.worlds.len();
            self.poll(at, shard, 0);
            self.look(at);
            let reader = &self.readers[at];
            let wanted = ids.iter().filter(|id| id.2 & reader.channels != 0);
            let expected: Vec<_> = wanted.map(|(id, text, _)| (*id, *text)).collect();
            assert_eq!(reader.got, expected, "reader {at}");
        }
        self.crew.finish();
    }
}

proptest! {
    #![proptest_config(config(200))]

    /// Readers go from shard to shard, which are all behind the hub by different lengths.
    #[test]
    fn nobody_who_roams_loses_or_repeats_a_message(
        shards in 2..5_usize,
        subscriptions in proptest::collection::vec(1_u8..1 << NAMES.len(), READERS),
        ops in proptest::collection::vec(op(), 1..150),
    ) {
        let reader = |channels| Reader { channels, at: None, cursor: None, got: Vec::new() };
        let readers = subscriptions.into_iter().map(reader).collect();
        let mut game = Game { crew: Crew::new(shards), readers, published: Vec::new() };
        ops.into_iter().for_each(|op| game.play(op));
        game.finish();
    }
}
