//! A [`Shard`] full of held polls, driven as the reactor drives it but for the sockets: what
//! is to be sent is looked at and counted as sent.

use std::hint::black_box;
use std::sync::Arc;

use pushup::config::Config;
use pushup::ids::ConnId;
use pushup::session::access::Keys;
use pushup::session::route::Door;
use pushup::shard::{Settings, Shard};
use pushup::time::{Now, Tick, Timestamp};

use crate::samples::{CHAT_LINE, ORIGIN};

/// How the polls are spread over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All wait on one, for whatever comes: one answer is shared by all.
    Together,
    /// All wait on one, each with a limit: read and written for each by itself.
    Limited,
    /// Each waits on a channel of its own.
    Apart,
}

/// Publications that a publisher sends in a row; they come to hand in one read.
const IN_A_ROW: usize = 128;

/// The node, its clients and its publisher.
pub struct House {
    shard: Shard,
    now: Now,
    publisher: ConnId,
    polls: Vec<ConnId>,
    spread: Spread,
    /// What each channel's publisher sends next, several requests in one piece.
    publications: Vec<Vec<u8>>,
    /// What each client asks next; shared by those that ask the same.
    requests: Vec<Vec<u8>>,
}

impl House {
    /// So many polls, held.
    pub fn new(count: usize, spread: Spread) -> House {
        let now = Now { wall: Timestamp(1_795_361_093_123), tick: Tick(0) };
        // Rounds are a second apart, so that a channel holds ten messages.
        let config = Config { message_ttl_s: 10, ..Config::default() };
        let settings = Settings::new(&config, usize::MAX);
        let mut shard = Shard::new(settings, Arc::new(Keys::default()), ORIGIN, 1, now);
        let publisher = shard.open(Door::Publisher, now).expect("there is room");
        let polls = (0..count).map(|_| shard.open(Door::Public, now).expect("there is room")).collect();
        let channels = if spread == Spread::Apart { count } else { 1 };
        let publications: Vec<Vec<u8>> = (0..channels).map(publication).collect();
        let publications = publications.chunks(IN_A_ROW).map(|row| row.concat()).collect();
        let mut house = House { shard, now, publisher, polls, spread, publications, requests: Vec::new() };
        house.ask_after("now");
        house.poll();
        house
    }

    /// Makes the requests of the next polls.
    fn ask_after(&mut self, cursor: &str) {
        let channels = if self.spread == Spread::Apart { self.polls.len() } else { 1 };
        let limit = if self.spread == Spread::Limited { "&limit=1000" } else { "" };
        self.requests = (0..channels).map(|channel| poll(channel, cursor, limit)).collect();
    }

    /// All clients ask again; all are held.
    pub fn poll(&mut self) {
        let House { shard, now, polls, requests, .. } = self;
        for (number, id) in polls.iter().enumerate() {
            let request = requests.get(number).unwrap_or(&requests[0]);
            assert!(shard.wants_input(*id));
            shard.handle_input(*id, request, *now);
            assert!(shard.is_waiting(*id), "there is nothing for it yet");
        }
    }

    /// How many rows of publications a round has.
    pub fn rows(&self) -> usize {
        self.publications.len()
    }

    /// A row of publications comes in, and what its publisher is told goes out.
    pub fn publish(&mut self, row: usize) {
        self.shard.handle_input(self.publisher, &self.publications[row], self.now);
        send(&mut self.shard, self.publisher, self.now, |told| assert!(told.starts_with(b"HTTP/1.1 201 ")));
    }

    /// Sends to all that have something; tells how many those were.
    pub fn deliver(&mut self) -> usize {
        let mut answered = 0;
        while let Some(id) = self.shard.poll_listed(self.now) {
            send(&mut self.shard, id, self.now, |answer| {
                black_box(answer);
            });
            answered += 1;
        }
        answered
    }

    /// The same, with each answer in the order in which they are sent.
    pub fn deliver_in_full(&mut self) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        while let Some(id) = self.shard.poll_listed(self.now) {
            send(&mut self.shard, id, self.now, |answer| answers.push(answer.to_vec()));
        }
        answers
    }

    /// A second later. All clients have been told of all that was published.
    pub fn pass_time(&mut self) {
        let cursor = self.cursor();
        self.ask_after(&cursor);
        self.now = self.now.plus_ms(1_000);
        while self.shard.next_deadline().is_some_and(|next| next <= self.now.tick) {
            self.shard.handle_time(self.now);
        }
    }

    /// The present, as the node tells it to whoever does not wait.
    fn cursor(&mut self) -> String {
        let answer = self.ask_at_once("/sub/c0?after=now&timeout=0");
        let from = answer.find("\"cursor\":\"").expect("an answer has a cursor") + 10;
        answer[from..].split('"').next().expect("a cursor ends").to_owned()
    }

    /// What a passer-by is told, without waiting.
    pub fn ask_at_once(&mut self, target: &str) -> String {
        let id = self.shard.open(Door::Public, self.now).expect("there is room");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:8080\r\n\r\n");
        self.shard.handle_input(id, request.as_bytes(), self.now);
        let mut text = Vec::new();
        send(&mut self.shard, id, self.now, |answer| text.extend_from_slice(answer));
        self.shard.handle_gone(id);
        while self.shard.poll_freed().is_some() {}
        String::from_utf8(text).expect("an answer is text")
    }

    /// What the first client asks next.
    pub fn target(&self) -> &str {
        let request = str::from_utf8(&self.requests[0]).expect("a request is text");
        request.split(' ').nth(1).expect("it has a target")
    }
}

/// What a connection has, piece by piece; all of it counts as sent.
fn send(shard: &mut Shard, id: ConnId, now: Now, mut look: impl FnMut(&[u8])) {
    loop {
        let [first, second] = shard.output(id, now);
        let len = first.len() + second.len();
        if len == 0 {
            break;
        }
        [first, second].into_iter().filter(|piece| !piece.is_empty()).for_each(&mut look);
        shard.handle_all_sent(id, len);
    }
    black_box(shard.handle_flushed(id, now));
}

fn poll(channel: usize, cursor: &str, limit: &str) -> Vec<u8> {
    format!("GET /sub/c{channel}?after={cursor}{limit} HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\n\r\n").into()
}

fn publication(channel: usize) -> Vec<u8> {
    let len = CHAT_LINE.len();
    format!(
        "POST /pub/c{channel} HTTP/1.1\r\nHost: localhost:8081\r\nContent-Type: text/plain\r\n\
         Content-Length: {len}\r\n\r\n{CHAT_LINE}"
    )
    .into()
}
