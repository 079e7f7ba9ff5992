//! Whatever happens, in any order: every client that comes back with its cursor gets every
//! message of its channels once, in order, and nothing is left behind.

use proptest::prelude::*;

use super::harness::{Who, World, request};
use super::response::{Body, Response};
use super::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const CLIENTS: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    /// One message to some channels.
    Publish(u8),
    /// Several messages at once, each to some channels.
    PublishMany(Vec<u8>),
    /// A client asks, if it is not waiting for an answer, with this time-out; its request
    /// comes in two pieces.
    Poll(usize, u64, usize),
    /// A client's socket takes so many bytes more.
    Window(usize, usize),
    /// A client's connection breaks.
    Reset(usize),
    /// A client ends its input.
    End(usize),
    /// Milliseconds pass.
    Advance(u64),
    /// A message to a channel that is nobody's.
    Noise,
}

/// One client: its channels, and what it has got.
#[derive(Debug)]
struct Reader {
    channels: u8,
    limit: Option<usize>,
    connection: Option<Who>,
    waiting: bool,
    cursor: Option<String>,
    got: Vec<usize>,
}

struct Game {
    world: World,
    readers: Vec<Reader>,
    /// The channels of each message.
    published: Vec<u8>,
}

fn names(channels: u8) -> String {
    let chosen: Vec<_> =
        NAMES.iter().enumerate().filter(|(at, _)| channels >> at & 1 == 1).map(|(_, name)| *name).collect();
    chosen.join(",")
}

impl Game {
    fn new(subscriptions: Vec<(u8, Option<usize>)>) -> Game {
        let reader = |(channels, limit)| Reader {
            channels,
            limit,
            connection: None,
            waiting: false,
            cursor: None,
            got: Vec::new(),
        };
        let readers = subscriptions.into_iter().map(reader).collect();
        // Never reached, but polls are counted.
        let world = World::with(|settings| settings.polls_per_client_max = CLIENTS + 1);
        Game { world, readers, published: Vec::new() }
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Publish(channels) => self.publish(channels),
            Op::PublishMany(items) => self.publish_many(&items),
            Op::Poll(at, timeout_s, split) => self.poll(at, timeout_s, split),
            Op::Window(at, bytes) => self.with_connection(at, |world, who| world.set_window(who, bytes)),
            Op::Reset(at) => self.with_connection(at, World::reset),
            Op::End(at) => self.with_connection(at, World::end),
            Op::Advance(ms) => self.world.advance(ms),
            Op::Noise => {
                self.world.publish("noise", "x");
            }
        }
        (0..self.readers.len()).for_each(|at| self.look(at));
        let held = self.readers.iter().filter_map(|reader| reader.connection);
        let held = held.filter(|who| self.world.is_held(*who)).count();
        assert_eq!(self.world.shard.held, held);
        let unanswered = self.readers.iter().filter(|reader| reader.waiting).count();
        let counted = self.world.shard.clients.as_ref().map_or(0, Clients::check);
        assert!((held..=unanswered.max(held)).contains(&counted), "{held} {counted} {unanswered}");
    }

    fn with_connection(&mut self, at: usize, act: impl FnOnce(&mut World, Who)) {
        if let Some(who) = self.readers[at].connection {
            act(&mut self.world, who);
        }
    }

    fn waiting_on(&self, channels: u8) -> u64 {
        let waits = |reader: &&Reader| {
            reader.channels & channels != 0 && reader.connection.is_some_and(|who| self.world.is_held(who))
        };
        self.readers.iter().filter(waits).count() as u64
    }

    fn publish(&mut self, channels: u8) {
        let expected = self.waiting_on(channels);
        let text = self.published.len().to_string();
        self.published.push(channels);
        assert_eq!(self.world.publish(&names(channels), &text), expected, "held polls that it woke");
        assert_eq!(self.waiting_on(channels), 0);
    }

    fn publish_many(&mut self, items: &[u8]) {
        let mut body = String::new();
        for channels in items {
            let list = names(*channels).replace(',', "\",\"");
            body += &format!("{{\"channels\":[\"{list}\"],\"data\":\"{}\"}}\n", self.published.len());
            self.published.push(*channels);
        }
        assert_eq!(self.world.publisher("POST /pub", body).status, 200);
    }

    fn poll(&mut self, at: usize, timeout_s: u64, split: usize) {
        let reader = &mut self.readers[at];
        if reader.waiting {
            return;
        }
        let after = reader.cursor.as_ref().map_or(String::new(), |cursor| format!("&after={cursor}"));
        let limit = reader.limit.map_or(String::new(), |limit| format!("&limit={limit}"));
        let target = format!("GET /sub/{}?timeout={timeout_s}{after}{limit}", names(reader.channels));
        let bytes = request(&target, "", "");
        let who = *reader
            .connection
            .get_or_insert_with(|| self.world.connect_from(Door::Public, ["192.0.2.1", "192.0.2.2"][at % 2]));
        reader.waiting = true;
        let (first, second) = bytes.split_at(split.min(bytes.len()));
        self.world.send(who, first);
        self.world.send(who, second);
    }

    /// What a client has got since last time.
    fn look(&mut self, at: usize) {
        let Some(who) = self.readers[at].connection else { return };
        if let Some((response, len)) = Response::parse(self.world.received(who), Body::Present) {
            assert!(self.readers[at].waiting, "an answer that was not asked for");
            assert_eq!(len, self.world.received(who).len(), "two answers to one poll");
            self.world.take_all(who);
            let answer = response.answer();
            assert!(!answer.gap && !answer.reset && answer.closed.is_empty());
            let reader = &mut self.readers[at];
            reader.waiting = false;
            reader.cursor = Some(answer.cursor.clone());
            assert!(answer.messages.len() <= reader.limit.unwrap_or(usize::MAX));
            reader.got.extend(answer.texts().iter().map(|text| text.parse::<usize>().unwrap()));
            self.check(at);
        }
        if self.world.is_over(who) {
            // What was on its way is lost; the cursor is not.
            let reader = &mut self.readers[at];
            (reader.connection, reader.waiting) = (None, false);
        }
    }

    /// What a client has got is what it should have, up to some point.
    fn check(&self, at: usize) {
        let reader = &self.readers[at];
        let due = self.expected(reader.channels);
        assert_eq!(reader.got, due[..reader.got.len().min(due.len())], "reader {at}");
    }

    fn expected(&self, channels: u8) -> Vec<usize> {
        let numbered = self.published.iter().enumerate();
        numbered.filter(|(_, to)| **to & channels != 0).map(|(number, _)| number).collect()
    }

    fn finish(mut self) {
        for at in 0..self.readers.len() {
            self.with_connection(at, |world, who| world.set_window(who, usize::MAX));
            self.world.advance(20);
            self.look(at);
            self.with_connection(at, World::reset);
            self.look(at);
            for turns in 0.. {
                assert!(turns < 1_000);
                let before = self.readers[at].got.len();
                self.poll(at, 0, usize::MAX);
                self.look(at);
                if self.readers[at].got.len() == before {
                    break;
                }
            }
            assert_eq!(self.readers[at].got, self.expected(self.readers[at].channels), "reader {at}");
        }
        self.world.finish();
    }
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..CLIENTS;
    let channels = 1_u8..1 << NAMES.len();
    let window = prop_oneof![Just(0), 1..50_usize, 200..2_000_usize, Just(usize::MAX)];
    prop_oneof![
        4 => channels.clone().prop_map(Op::Publish),
        1 => proptest::collection::vec(channels, 1..6).prop_map(Op::PublishMany),
        8 => (who.clone(), 0..6_u64, 0..200_usize).prop_map(|(at, timeout_s, split)| Op::Poll(at, timeout_s, split)),
        3 => (who.clone(), window).prop_map(|(at, bytes)| Op::Window(at, bytes)),
        1 => who.clone().prop_map(Op::Reset),
        1 => who.prop_map(Op::End),
        3 => (0..4_000_u64).prop_map(Op::Advance),
        1 => Just(Op::Noise),
    ]
}

fn subscription() -> impl Strategy<Value = (u8, Option<usize>)> {
    let channels = prop_oneof![2 => (0..NAMES.len()).prop_map(|at| 1 << at), 3 => 1_u8..1 << NAMES.len()];
    (channels, proptest::option::weighted(0.3, 1..4_usize))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nobody_loses_or_repeats_a_message_and_nothing_is_left_behind(
        subscriptions in proptest::collection::vec(subscription(), CLIENTS),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let mut game = Game::new(subscriptions);
        ops.into_iter().for_each(|op| game.play(op));
        game.finish();
    }
}
