//! Operations in any order, beside a model that remembers everything: what was published
//! where, and which names are open.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Op {
    Create {
        at: usize,
        ttl_ms: u64,
    },
    Renew {
        at: usize,
        ttl_ms: Option<u64>,
    },
    Close(usize),
    Publish {
        channels: u8,
        ttl_ms: u64,
        len: usize,
        key: Option<u8>,
    },
    Advance(u64),
    ClockBack(u64),
    Shed(usize),
    /// A poll comes and goes.
    Touch(usize),
}

#[derive(Debug)]
struct Sent {
    seq: u64,
    channels: u8,
    expires: Tick,
}

/// What should be known of an open channel that was created.
#[derive(Debug)]
struct Created {
    ttl_ms: u64,
    expires: Tick,
}

struct Game {
    queue: MessageQueue,
    now: Now,
    sent: Vec<Sent>,
    entries: u64,
    last_time: Timestamp,
    created: BTreeMap<usize, Created>,
    /// Names that answer 410, and until when.
    closed: BTreeMap<usize, Tick>,
    keys: BTreeMap<u8, (u64, Tick)>,
}

impl Game {
    fn new() -> Game {
        let queue = queue_with(|bounds| {
            bounds.channel_ttl_ms = 20_000;
            bounds.channel_messages_max = 5;
            bounds.channel_bytes_max = 3_000;
            bounds.cache_bytes_max = 6_000;
        });
        Game {
            queue,
            now: START,
            sent: Vec::new(),
            entries: 0,
            last_time: Timestamp(0),
            created: BTreeMap::new(),
            closed: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Create { at, ttl_ms } => {
                let fresh = !matches!(self.queue.find(NAMES[at]), Lookup::Open(_));
                let (info, told) = self.queue.create(Some(name(NAMES[at])), Some(ttl_ms), self.now).unwrap();
                assert_eq!((told, info.created), (fresh, true));
                self.closed.remove(&at);
                self.created.insert(at, Created { ttl_ms, expires: self.now.tick.plus_ms(ttl_ms) });
            }
            Op::Renew { at, ttl_ms } => {
                let open = matches!(self.queue.find(NAMES[at]), Lookup::Open(_));
                assert_eq!(self.queue.renew(NAMES[at], ttl_ms, self.now).is_ok(), open);
                if let Some(created) = self.created.get_mut(&at) {
                    created.ttl_ms = ttl_ms.unwrap_or(created.ttl_ms);
                    created.expires = self.now.tick.plus_ms(created.ttl_ms);
                }
            }
            Op::Close(at) => {
                let open = matches!(self.queue.find(NAMES[at]), Lookup::Open(_));
                assert_eq!(self.queue.close(NAMES[at], self.now).is_ok(), open);
                if open {
                    self.entries += 1;
                    self.created.remove(&at);
                    self.closed.insert(at, self.now.tick.plus_ms(TOMBSTONE_MS));
                    assert_eq!(self.queue.take_closed().len(), 1);
                }
            }
            Op::Publish { channels, ttl_ms, len, key } => self.publish(channels, ttl_ms, len, key),
            Op::Advance(ms) => {
                self.now = self.now.plus_ms(ms);
                self.expire();
            }
            Op::ClockBack(ms) => self.now.wall = Timestamp(self.now.wall.0.saturating_sub(ms)),
            Op::Shed(bytes_max) => {
                self.queue.shed_cache(bytes_max);
                assert!(self.queue.cached_bytes() <= bytes_max);
            }
            Op::Touch(at) => {
                if let Ok(ix) = self.queue.open(&name(NAMES[at]), self.now.tick) {
                    let position = self.queue.join(ix, Subscriber(0));
                    assert_eq!(self.queue.leave(ix, position), None);
                }
            }
        }
        self.check();
    }

    fn expire(&mut self) {
        expire(&mut self.queue, self.now);
        let over: Vec<usize> = self
            .created
            .iter()
            .filter(|(_, made)| made.expires <= self.now.tick)
            .map(|(at, _)| *at)
            .collect();
        for at in &over {
            self.created.remove(at);
            self.closed.insert(*at, self.now.tick.plus_ms(TOMBSTONE_MS));
        }
        self.closed.retain(|_, until| *until > self.now.tick);
        assert_eq!(self.queue.take_closed().len(), over.len());
    }

    fn publish(&mut self, channels: u8, ttl_ms: u64, len: usize, key: Option<u8>) {
        let at = || (0..NAMES.len()).filter(|at| channels >> at & 1 == 1);
        let names: Vec<_> = at().map(|at| NAMES[at]).collect();
        let publication = Publication {
            ttl_ms: Some(ttl_ms),
            idempotency_key: key.map(|key| key.to_string().into()),
            ..publication(&names.join(","), len)
        };
        self.keys.retain(|_, (_, until)| *until > self.now.tick);
        let repeated = key.and_then(|key| self.keys.get(&key)).map(|first| first.0);
        let refused = at().any(|at| self.closed.contains_key(&at));
        let (count, head) = (self.queue.channel_count(), self.queue.head().clone());
        let receipt = match (self.queue.publish(publication, self.now), repeated) {
            (receipt, Some(seq)) => {
                let receipt = receipt.unwrap();
                assert_eq!((receipt.id.seq, receipt.duplicate), (seq, true));
                return;
            }
            (Err(refusal), None) => {
                assert!(refused && refusal.reason == Refusal::ChannelClosed);
                assert_eq!((self.queue.channel_count(), self.queue.head()), (count, &head));
                return;
            }
            (Ok(receipt), None) => receipt,
        };
        assert!(!refused && !receipt.duplicate);
        self.entries += 1;
        assert_eq!((receipt.id.origin, receipt.id.seq), (ORIGIN, self.entries));
        assert!(receipt.time >= self.last_time && receipt.time >= self.now.wall);
        self.last_time = receipt.time;
        self.sent.push(Sent { seq: self.entries, channels, expires: self.now.tick.plus_ms(ttl_ms) });
        if let Some(key) = key {
            self.keys.insert(key, (self.entries, self.now.tick.plus_ms(IDEMPOTENCY_MS)));
        }
        for (_, made) in self.created.iter_mut().filter(|(at, _)| channels >> **at & 1 == 1) {
            made.expires = self.now.tick.plus_ms(made.ttl_ms);
        }
    }

    fn check(&self) {
        check_counts(&self.queue);
        assert_eq!(self.queue.head().seq(ORIGIN), self.entries);
        assert!(self.queue.cached_bytes() <= 6_000);
        for (at, text) in NAMES.iter().enumerate() {
            let found = self.queue.find(text);
            assert_eq!(found == Lookup::Closed, self.closed.contains_key(&at), "{text}");
            if let Lookup::Open(ix) = found {
                let info = self.queue.info(ix, self.now).unwrap();
                assert_eq!(info.created, self.created.contains_key(&at), "{text}");
                assert!(info.messages <= 5 && info.bytes <= 3_000);
            } else {
                assert!(!self.created.contains_key(&at), "{text}");
            }
            if found != Lookup::Closed {
                (0..=self.entries).rev().take(12).for_each(|seq| self.check_reading(at, seq));
            }
        }
    }

    /// Whoever has examined the log up to `seq` gets what was published since and lives, or
    /// is told that something is missing.
    fn check_reading(&self, at: usize, seq: u64) {
        let (got, gap) = read(&self.queue, NAMES[at], Some(seq), self.now);
        let since = |sent: &&Sent| sent.seq > seq && sent.channels >> at & 1 == 1;
        let all: Vec<u64> = self.sent.iter().filter(since).map(|sent| sent.seq).collect();
        let lives = |sent: &&Sent| since(sent) && sent.expires > self.now.tick;
        let living: Vec<u64> = self.sent.iter().filter(lives).map(|sent| sent.seq).collect();
        assert!(got.is_sorted() && got.iter().all(|number| living.contains(number)), "{got:?} of {living:?}");
        if !gap {
            assert_eq!(got, all, "something is missing after {seq}, and nobody says so");
        }
        if got == all && self.sent.iter().all(|sent| sent.seq <= seq || self.is_cached(sent)) {
            assert!(!gap, "nothing is missing after {seq}");
        }
    }

    /// Whether a message is still in all its channels.
    fn is_cached(&self, sent: &Sent) -> bool {
        let id = MessageId { origin: ORIGIN, seq: sent.seq };
        let in_channel = |at: usize| match self.queue.find(NAMES[at]) {
            Lookup::Open(ix) => {
                let channel = &self.queue.channels[ix.0 as usize];
                channel.history().is_some_and(|history| history.holds(id)) && sent.expires > self.now.tick
            }
            Lookup::Closed | Lookup::Unknown => false,
        };
        (0..NAMES.len()).filter(|at| sent.channels >> at & 1 == 1).all(in_channel)
    }
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..NAMES.len();
    let ttl = prop_oneof![500..20_000_u64, Just(600_000)];
    let key = proptest::option::weighted(0.2, 0..3_u8);
    let time = prop_oneof![4 => 0..3_000_u64, 2 => 3_000..30_000_u64, 1 => Just(TOMBSTONE_MS)];
    prop_oneof![
        2 => (at.clone(), ttl.clone()).prop_map(|(at, ttl_ms)| Op::Create { at, ttl_ms }),
        1 => (at.clone(), proptest::option::of(ttl.clone())).prop_map(|(at, ttl_ms)| Op::Renew { at, ttl_ms }),
        1 => at.clone().prop_map(Op::Close),
        10 => (1_u8..1 << NAMES.len(), ttl, 0..800_usize, key)
            .prop_map(|(channels, ttl_ms, len, key)| Op::Publish { channels, ttl_ms, len, key }),
        4 => time.prop_map(Op::Advance),
        1 => (0..10_000_u64).prop_map(Op::ClockBack),
        1 => (0..6_000_usize).prop_map(Op::Shed),
        1 => at.prop_map(Op::Touch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_in_silence_and_all_counts_are_right(ops in proptest::collection::vec(op(), 1..60)) {
        let mut game = Game::new();
        ops.into_iter().for_each(|op| game.play(op));
    }
}
