//! A tiny long-poll server that does one thing wrong, to see whether that is noticed.
//!
//! It speaks PushUp's dialect, with a thread for each connection; a cursor is the number of the
//! next message. Invariant: but for its fault it delivers everything exactly once and in order.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The message of each channel that is mistreated if nothing else is said.
const VICTIM: usize = 3;
/// A held poll is answered with nothing after so long.
const HOLD: Duration = Duration::from_millis(300);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A message is passed over.
    Lose,
    /// A message is delivered twice.
    Duplicate,
    /// A message comes behind its successor.
    Reorder,
    /// A message is delivered to the wrong channel as well.
    Misdeliver,
    /// Every connection is closed after an answer, unannounced.
    Close,
    /// Every connection is closed after an answer, announced.
    CloseAnnounced,
    /// Answers are chunked and come a few bytes at a time.
    Dribble,
    /// Every publication after the victim is refused.
    Refuse,
    /// Answers are not HTTP.
    Babble,
}

#[derive(Default)]
struct Channels {
    messages: Mutex<HashMap<String, Vec<String>>>,
    changed: Condvar,
    stopped: AtomicBool,
    /// The message of each channel that is mistreated.
    victim: usize,
    /// Whether a message was mistreated: one is enough.
    is_done: AtomicBool,
    polls: AtomicUsize,
}

/// The server; it ends when it is dropped.
pub struct Server {
    /// Where it listens, for polls and publications.
    pub address: SocketAddr,
    channels: Arc<Channels>,
}

impl Server {
    /// Starts one on a free port.
    pub fn start(fault: Fault) -> Server {
        Server::start_with(fault, VICTIM)
    }

    /// Starts one that mistreats the message of that number.
    pub fn start_with(fault: Fault, victim: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let channels = Arc::new(Channels { victim, ..Channels::default() });
        let shared = Arc::clone(&channels);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, Ok(stream)) = (Arc::clone(&shared), stream) else { continue };
                thread::spawn(move || serve(stream, &shared, fault));
            }
        });
        Server { address, channels }
    }

    /// Waits until so many polls have come; whether they have.
    pub fn wait_for_polls(&self, polls: usize, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        while self.channels.polls.load(Ordering::Relaxed) < polls && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.channels.polls.load(Ordering::Relaxed) >= polls
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.channels.stopped.store(true, Ordering::Relaxed);
        self.channels.changed.notify_all();
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, channels: &Channels, fault: Fault) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut input = BufReader::new(stream.try_clone().ok()?);
    let mut output = stream;
    while !channels.stopped.load(Ordering::Relaxed) {
        let (target, body) = request(&mut input)?;
        if let Some(channel) = target.strip_prefix("/pub/") {
            let answer = publish(channels, channel, body, fault);
            output.write_all(answer.as_bytes()).ok()?;
            continue;
        }
        let (channel, cursor) =
            target.strip_prefix("/sub/")?.split_once("?after=").unwrap_or((&target[5..], "0"));
        channels.polls.fetch_add(1, Ordering::Relaxed);
        let json = poll(channels, channel, cursor.parse().ok()?, fault)?;
        answer(&mut output, &json, fault)?;
    }
    None
}

fn request(input: &mut impl BufRead) -> Option<(String, String)> {
    let (mut line, mut length) = (String::new(), 0);
    input.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    loop {
        let mut field = String::new();
        input.read_line(&mut field).ok().filter(|bytes| *bytes > 0)?;
        match field.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some((target, String::from_utf8(body).ok()?))
}

fn publish(channels: &Channels, channel: &str, body: String, fault: Fault) -> String {
    let mut messages = channels.messages.lock().expect("no panic");
    let queue = messages.entry(channel.to_owned()).or_default();
    if fault == Fault::Refuse && queue.len() > channels.victim {
        return "HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n".to_owned();
    }
    queue.push(body);
    channels.changed.notify_all();
    "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}".to_owned()
}

/// Waits for messages from `cursor` on; the answer's JSON.
fn poll(channels: &Channels, channel: &str, cursor: usize, fault: Fault) -> Option<String> {
    // A message is swapped with its successor only if both are there.
    let victim_at = channels.victim;
    let wanted = if fault == Fault::Reorder && cursor == victim_at { 2 } else { 1 };
    let messages = channels.messages.lock().expect("no panic");
    let waits = |messages: &mut HashMap<String, Vec<String>>| {
        messages.get(channel).map_or(0, Vec::len) < cursor + wanted
            && !channels.stopped.load(Ordering::Relaxed)
    };
    let (messages, _) = channels.changed.wait_timeout_while(messages, HOLD, waits).expect("no panic");
    let queue = messages.get(channel).map_or(&[][..], Vec::as_slice);
    let mut given = queue.get(cursor..).unwrap_or_default().to_vec();
    let mut next = cursor + given.len();
    if (cursor..next).contains(&victim_at) && !channels.is_done.load(Ordering::Relaxed) {
        let victim = victim_at - cursor;
        // Of the same run: what another run published is nobody's concern.
        let is_of_run = |other: &&String| other.split(':').next() == queue[victim_at].split(':').next();
        let other = messages.values().flatten().filter(is_of_run).find(|other| !queue.contains(other));
        let mut done = true;
        match (fault, other) {
            (Fault::Lose, _) => drop(given.remove(victim)),
            (Fault::Duplicate, _) => {
                given.truncate(victim + 1);
                next = victim_at;
            }
            (Fault::Reorder, _) if given.len() > victim + 1 => given.swap(victim, victim + 1),
            (Fault::Reorder, _) => {
                // Its successor is not there yet.
                given.truncate(victim);
                next = victim_at;
                done = false;
            }
            (Fault::Misdeliver, Some(other)) => given.push(other.clone()),
            _ => done = false,
        }
        channels.is_done.store(done, Ordering::Relaxed);
    }
    let given: Vec<_> = given.iter().map(|data| format!("{{\"data\":\"{data}\"}}")).collect();
    Some(format!("{{\"cursor\":\"{next}\",\"messages\":[{}]}}", given.join(",")))
}

fn answer(output: &mut TcpStream, json: &str, fault: Fault) -> Option<()> {
    let length = json.len();
    match fault {
        Fault::Babble => output.write_all(b"what?\r\n\r\n").ok()?,
        Fault::Dribble => {
            let text = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{json}\r\n0\r\n\r\n"
            );
            for piece in text.as_bytes().chunks(7) {
                output.write_all(piece).ok()?;
                thread::yield_now();
            }
        }
        Fault::CloseAnnounced => {
            let text =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{json}");
            output.write_all(text.as_bytes()).ok()?;
            return None;
        }
        _ => {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{json}");
            output.write_all(text.as_bytes()).ok()?;
        }
    }
    (fault != Fault::Close).then_some(())
}
