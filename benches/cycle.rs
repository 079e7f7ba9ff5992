//! The price of one delivery and its re-poll in user space alone: a [`Shard`] driven
//! without sockets. `cargo bench --bench cycle`; `--smoke` runs it once, small; `--only=one`
//! and `--only=each` run one of the two, `--polls=N` and `--rounds=N` say how much.
//!
//! Beside `pushup-load compare`, which has the kernel's share too, this one shows what a change to
//! the code does, and gives callgrind something that ends by itself.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use pushup::config::Config;
use pushup::ids::{ConnId, Origin};
use pushup::session::access::Keys;
use pushup::session::route::Door;
use pushup::shard::{Settings, Shard};
use pushup::time::{Clock, Now};

struct Bench {
    shard: Shard,
    now: Now,
    publisher: ConnId,
    polls: Vec<Poll>,
}

struct Poll {
    id: ConnId,
    channel: String,
    request: Vec<u8>,
}

impl Bench {
    /// `count` polls held, on so many channels.
    fn new(count: usize, channels: usize) -> Bench {
        let now = Clock::start().now();
        let settings = Settings::new(&Config::default(), usize::MAX);
        let mut shard =
            Shard::new(settings, Arc::new(Keys::default()), Origin(0xfeed_beef_dead_cafe), 1, now);
        let publisher = shard.open(Door::Publisher, now).expect("there is room");
        let polls = (0..count).map(|number| {
            let channel = format!("c{}", number % channels);
            let request = poll_request(&channel, "now");
            Poll { id: shard.open(Door::Public, now).expect("there is room"), channel, request }
        });
        let polls = polls.collect();
        let mut bench = Bench { shard, now, publisher, polls };
        (0..count).for_each(|number| bench.poll(number));
        bench
    }

    /// Sends the next poll of a client.
    fn poll(&mut self, number: usize) {
        let Poll { id, request, .. } = &self.polls[number];
        assert!(self.shard.wants_input(*id));
        self.shard.handle_input(*id, request, self.now);
        assert!(self.shard.is_waiting(*id), "there is nothing for it yet");
    }

    fn publish(&mut self, channel: usize) {
        let body = "sixty-four bytes of a message, which is what a chat line is like";
        let request = format!(
            "POST /pub/c{channel} HTTP/1.1\r\nHost: localhost:8081\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.shard.handle_input(self.publisher, request.as_bytes(), self.now);
        assert!(self.send(self.publisher).starts_with(b"HTTP/1.1 201 "));
    }

    /// Sends all that a connection has; gives the last of it.
    fn send(&mut self, id: ConnId) -> Vec<u8> {
        let mut sent = Vec::new();
        loop {
            let [first, second] = self.shard.output(id, self.now);
            if first.is_empty() && second.is_empty() {
                break;
            }
            sent.clear();
            sent.extend_from_slice(first);
            sent.extend_from_slice(second);
            self.shard.handle_all_sent(id, sent.len());
        }
        black_box(self.shard.handle_flushed(id, self.now));
        sent
    }

    /// A message to every poll, and every poll again; tells how many there were.
    fn round(&mut self, channels: usize) -> usize {
        self.now = self.now.plus_ms(20);
        let mut answered = 0;
        for channel in 0..channels {
            self.publish(channel);
            while let Some(id) = self.shard.poll_listed(self.now) {
                let answer = self.send(id);
                // Connections were opened in the order of their clients, behind the publisher.
                let number = id.index as usize - 1;
                let channel = std::mem::take(&mut self.polls[number].channel);
                let cursor = cursor_of(&answer);
                self.polls[number].request = poll_request(&channel, cursor);
                self.polls[number].channel = channel;
                answered += 1;
            }
        }
        (0..self.polls.len()).for_each(|number| self.poll(number));
        answered
    }
}

fn poll_request(channel: &str, after: &str) -> Vec<u8> {
    format!("GET /sub/{channel}?after={after} HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\n\r\n")
        .into()
}

fn cursor_of(answer: &[u8]) -> &str {
    let text = std::str::from_utf8(answer).expect("an answer is text");
    let from = text.find("\"cursor\":\"").expect("an answer has a cursor") + 10;
    let rest = &text[from..];
    &rest[..rest.find('"').expect("a cursor ends")]
}

fn measure(name: &str, polls: usize, channels: usize, rounds: usize) {
    let mut bench = Bench::new(polls, channels);
    bench.round(channels);
    let mut figures: Vec<f64> = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        assert_eq!(bench.round(channels), polls, "every poll is answered once");
        figures.push(started.elapsed().as_nanos() as f64 / polls as f64);
    }
    figures.sort_by(f64::total_cmp);
    let (min, median, max) = (figures[0], figures[rounds / 2], figures[rounds - 1]);
    println!(
        "{name}: {median:.0} ns per delivery + re-poll ({min:.0}–{max:.0}), the client's share included"
    );
}

/// The value of `--name=value` on the command line.
fn option(name: &str) -> Option<String> {
    std::env::args().find_map(|argument| Some(argument.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let number = |name, usual| option(name).map_or(usual, |text| text.parse().expect("a number"));
    let polls = number("--polls", if smoke { 100 } else { 16_000 });
    let rounds = number("--rounds", if smoke { 2 } else { 15 });
    let only = option("--only");
    for (name, word, channels) in [("one channel", "one", 1), ("a channel each", "each", polls)] {
        if only.as_deref().is_none_or(|only| only == word) {
            measure(name, polls, channels, rounds);
        }
    }
}
