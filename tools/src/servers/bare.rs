//! The yardstick: an epoll loop that moves the same bytes as the server and understands none.
//!
//! It accepts, receives into one buffer, counts publications by their length, and for each
//! sends a ready-made answer into which the message was copied: to all polls, to one, or to
//! none. No parsing, no timers, no state per connection but its descriptor. What it costs is
//! what the kernel costs, so that the ratio to it is the price of everything else.
//!
//! Invariant: one recv for each request that arrives, one send for each answer, and the
//! number of bytes of both is the server's.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Server, Stage};
use crate::Fallible;
use crate::sys::{self, BOTH, Epoll, NO_EVENT, READABLE};

/// As large as the server's own buffer, so that both receive as much at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// As many events at once as the server takes.
const EVENTS_PER_TICK: usize = 1_024;
/// Answers to publications that one send can carry.
const CREATED_PER_SEND: usize = 256;
/// Digits of a channel's number in requests.
const CHANNEL_DIGITS: usize = 6;
/// The most channels that these digits can name.
const CHANNELS_MAX: usize = 1_000_000;

const POLL_LISTENER: u64 = u64::MAX;
const PUBLISH_LISTENER: u64 = u64::MAX - 1;
const PUBLISHER: u64 = 1 << 32;

/// Whom a publication reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// Every poll: they share a channel.
    All,
    /// The one poll on the channel whose number stands, in six digits, at the given places.
    One {
        /// Where in a poll's request.
        poll_at: usize,
        /// Where in a publication's request.
        publication_at: usize,
    },
    /// None.
    Nobody,
}

/// What the bare loop is told: the server's bytes and what to do with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Whom a publication reaches.
    pub fanout: Fanout,
    /// The length of every publication's request, in bytes.
    pub publication_bytes: usize,
    /// The length of the message, which is the end of that request.
    pub message_bytes: usize,
    /// The answer that polls get, as the server sent it.
    pub answer: Vec<u8>,
    /// Where in that answer the message stands.
    pub message_at: usize,
    /// The answer that publications get, as the server sent it.
    pub created: Vec<u8>,
}

impl Job {
    /// Starts the loop in a process of its own, which is this program with the word `bare`.
    pub fn start(&self, stage: &Stage) -> Fallible<Server> {
        self.start_as(&std::env::current_exe()?, stage)
    }

    /// Starts the loop with a program that has the subcommand `bare`.
    pub fn start_as(&self, program: &Path, stage: &Stage) -> Fallible<Server> {
        let room = stage.room("bare")?;
        let (job, ready) = (room.join("job"), room.join("ready"));
        fs::write(&job, self.json(&ready).to_string())?;
        let mut command = Command::new(program);
        command.arg("bare").arg(&job);
        stage.spawn_ready(command, &room, &ready)
    }

    fn json(&self, ready: &Path) -> Value {
        let places = match self.fanout {
            Fanout::All => json!("all"),
            Fanout::One { poll_at, publication_at } => json!([poll_at, publication_at]),
            Fanout::Nobody => json!("nobody"),
        };
        json!({
            "fanout": places, "publication_bytes": self.publication_bytes,
            "message_bytes": self.message_bytes, "message_at": self.message_at,
            "answer": self.answer, "created": self.created, "ready": ready,
        })
    }

    fn parse(text: &str) -> Option<(Job, PathBuf)> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let bytes = |key: &str| -> Option<Vec<u8>> {
            value[key].as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
        };
        let fanout = match value["fanout"].as_str() {
            Some("all") => Fanout::All,
            Some("nobody") => Fanout::Nobody,
            _ => Fanout::One {
                poll_at: number(&value["fanout"][0])?,
                publication_at: number(&value["fanout"][1])?,
            },
        };
        let job = Job {
            fanout,
            publication_bytes: number(&value["publication_bytes"])?,
            message_bytes: number(&value["message_bytes"])?,
            answer: bytes("answer")?,
            message_at: number(&value["message_at"])?,
            created: bytes("created")?,
        };
        job.fits().then_some((job, value["ready"].as_str()?.into()))
    }

    /// Whether all places lie where they can.
    fn fits(&self) -> bool {
        let sizes = !self.created.is_empty() && (1..BUFFER_BYTES).contains(&self.publication_bytes);
        let answered = self.fanout == Fanout::Nobody
            || self.message_bytes <= self.publication_bytes
                && self.message_at.saturating_add(self.message_bytes) <= self.answer.len();
        let addressed = match self.fanout {
            Fanout::One { publication_at, .. } => publication_at + CHANNEL_DIGITS <= self.publication_bytes,
            _ => true,
        };
        sizes && answered && addressed
    }
}

/// Serves the job that a file holds, until killed.
pub fn serve(job_file: &Path) -> Fallible<()> {
    let (job, ready) = Job::parse(&fs::read_to_string(job_file)?).ok_or("not a job for the bare loop")?;
    sys::raise_descriptor_limit()?;
    let mut bare = Bare::listen(job, &ready)?;
    let mut events = vec![NO_EVENT; EVENTS_PER_TICK];
    loop {
        let count = bare.epoll.wait(&mut events, -1)?;
        for event in &events[..count] {
            // Copied out of the kernel's packed struct, which lends no references.
            let token = event.u64;
            match token {
                POLL_LISTENER => bare.accept_polls()?,
                PUBLISH_LISTENER => bare.accept_publishers()?,
                token if token & PUBLISHER != 0 => bare.publisher_ready((token & !PUBLISHER) as usize)?,
                token => bare.poll_ready(token as usize)?,
            }
        }
    }
}

struct Bare {
    epoll: Epoll,
    polls_in: TcpListener,
    publishers_in: TcpListener,
    polls: Vec<Poll>,
    publishers: Vec<Publisher>,
    /// The poll on each channel, as it said in its first request.
    poll_on: Vec<usize>,
    job: Job,
    /// The answer to a publication, many times over.
    created: Vec<u8>,
    buffer: Vec<u8>,
}

struct Poll {
    /// None once the client has left.
    stream: Option<TcpStream>,
    /// Whether it stands in `poll_on`.
    placed: bool,
}

struct Publisher {
    stream: TcpStream,
    /// The beginning of a publication that is not complete.
    partial: Vec<u8>,
    /// Bytes of answers that the socket did not take yet.
    owed_bytes: usize,
    /// How far into an answer the last send ended.
    phase_bytes: usize,
}

impl Bare {
    fn listen(job: Job, ready: &Path) -> Fallible<Bare> {
        let (polls_in, publishers_in) = (listener()?, listener()?);
        let epoll = Epoll::new()?;
        epoll.add(&polls_in, READABLE, POLL_LISTENER)?;
        epoll.add(&publishers_in, READABLE, PUBLISH_LISTENER)?;
        announce(ready, &polls_in, &publishers_in)?;
        Ok(Bare {
            epoll,
            polls_in,
            publishers_in,
            polls: Vec::new(),
            publishers: Vec::new(),
            poll_on: Vec::new(),
            created: job.created.repeat(CREATED_PER_SEND),
            job,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    fn accept_polls(&mut self) -> io::Result<()> {
        while let Some(stream) = sys::accept(&self.polls_in)? {
            self.epoll.add(&stream, READABLE, self.polls.len() as u64)?;
            self.polls.push(Poll { stream: Some(stream), placed: false });
        }
        Ok(())
    }

    fn accept_publishers(&mut self) -> io::Result<()> {
        while let Some(stream) = sys::accept(&self.publishers_in)? {
            self.epoll.add(&stream, BOTH, PUBLISHER | self.publishers.len() as u64)?;
            self.publishers.push(Publisher { stream, partial: Vec::new(), owed_bytes: 0, phase_bytes: 0 });
        }
        Ok(())
    }

    /// A poll arrived: it is received, and held by doing nothing.
    fn poll_ready(&mut self, index: usize) -> io::Result<()> {
        let poll = &mut self.polls[index];
        let Some(stream) = &poll.stream else { return Ok(()) };
        match receive(stream, &mut self.buffer)? {
            None => poll.stream = None,
            Some(received) if !poll.placed => self.place(index, received),
            Some(_) => {}
        }
        Ok(())
    }

    /// Notes which channel a new poll is on.
    fn place(&mut self, index: usize, received: usize) {
        let Fanout::One { poll_at, .. } = self.job.fanout else { return };
        let Some(channel) = channel_at(&self.buffer[..received], poll_at) else { return };
        if self.poll_on.len() <= channel {
            self.poll_on.resize(channel + 1, usize::MAX);
        }
        self.poll_on[channel] = index;
        self.polls[index].placed = true;
    }

    fn publisher_ready(&mut self, index: usize) -> io::Result<()> {
        // Taken out for as long as publications in it are delivered.
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.publications(index, &mut buffer);
        self.buffer = buffer;
        result
    }

    fn publications(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let publisher = &mut self.publishers[index];
            let begun = publisher.partial.len();
            buffer[..begun].copy_from_slice(&publisher.partial);
            let received = receive(&publisher.stream, &mut buffer[begun..])?.unwrap_or(0);
            let arrived = &buffer[..begun + received];
            let publications = arrived.chunks_exact(self.job.publication_bytes);
            publisher.partial.clear();
            publisher.partial.extend_from_slice(publications.remainder());
            publisher.owed_bytes += publications.len() * self.job.created.len();
            self.deliver(publications)?;
            self.publishers[index].flush(&self.created, self.job.created.len())?;
            if received < BUFFER_BYTES - begun {
                return Ok(());
            }
        }
    }

    fn deliver<'a>(&mut self, publications: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        if self.job.fanout == Fanout::Nobody {
            return Ok(());
        }
        for publication in publications {
            let message = &publication[publication.len() - self.job.message_bytes..];
            let at = self.job.message_at;
            self.job.answer[at..at + message.len()].copy_from_slice(message);
            self.send_answer(publication)?;
        }
        Ok(())
    }

    fn send_answer(&self, publication: &[u8]) -> io::Result<()> {
        match self.job.fanout {
            Fanout::All => self.polls.iter().try_for_each(|poll| poll.send(&self.job.answer)),
            Fanout::One { publication_at, .. } => {
                let channel = channel_at(publication, publication_at);
                let poll = channel.and_then(|channel| self.polls.get(*self.poll_on.get(channel)?));
                poll.map_or(Ok(()), |poll| poll.send(&self.job.answer))
            }
            Fanout::Nobody => Ok(()),
        }
    }
}

impl Poll {
    /// One send. An answer is far smaller than a socket's buffer, so it is taken whole.
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut stream) = self.stream.as_ref() else { return Ok(()) };
        match stream.write(bytes) {
            Ok(sent) if sent < bytes.len() => Err(ErrorKind::WriteZero.into()),
            Ok(_) => Ok(()),
            // It is leaving, and its own event says so next.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl Publisher {
    fn flush(&mut self, created: &[u8], created_bytes: usize) -> io::Result<()> {
        while self.owed_bytes > 0 {
            let end = created.len().min(self.phase_bytes + self.owed_bytes);
            match (&self.stream).write(&created[self.phase_bytes..end]) {
                Ok(sent) => {
                    self.owed_bytes -= sent;
                    self.phase_bytes = (self.phase_bytes + sent) % created_bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The number that stands in six digits at a place.
fn channel_at(request: &[u8], at: usize) -> Option<usize> {
    let digits = request.get(at..)?.get(..CHANNEL_DIGITS)?;
    let number = digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| 10 * number + usize::from(digit - b'0')));
    number.filter(|number| *number < CHANNELS_MAX)
}

fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    // The standard library's backlog is small; listening again only changes it.
    sys::set_backlog(&listener)?;
    // Passed on to every connection, as the server's listener does.
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One recv: how much there was; none if the client has left.
fn receive(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => Ok(None),
        Ok(received) => Ok(Some(received)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the ready-file whole before it gets its name, as the server does.
fn announce(ready: &Path, polls: &TcpListener, publishers: &TcpListener) -> Fallible<()> {
    let text = json!({
        "pid": std::process::id(),
        "listen": [polls.local_addr()?.to_string()],
        "publish_listen": [publishers.local_addr()?.to_string()],
    });
    let draft = ready.with_extension("draft");
    fs::write(&draft, text.to_string())?;
    Ok(fs::rename(draft, ready)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(fanout: Fanout) -> Job {
        Job {
            fanout,
            publication_bytes: 20,
            message_bytes: 4,
            answer: b"ANSWER ....".to_vec(),
            message_at: 7,
            created: b"CREATED".to_vec(),
        }
    }

    #[test]
    fn a_job_survives_its_file() {
        let ready = Path::new("some/where");
        for fanout in [Fanout::All, Fanout::Nobody, Fanout::One { poll_at: 3, publication_at: 9 }] {
            let text = job(fanout).json(ready).to_string();
            assert_eq!(Job::parse(&text), Some((job(fanout), ready.to_owned())));
        }
    }

    #[test]
    fn a_job_that_cannot_be_done_is_refused() {
        let spoilt: [fn(&mut Job); 5] = [
            |job| job.publication_bytes = 0,
            |job| job.message_at = 8,
            |job| job.message_bytes = 21,
            |job| job.created.clear(),
            |job| job.fanout = Fanout::One { poll_at: 0, publication_at: 15 },
        ];
        for spoil in spoilt {
            let mut job = job(Fanout::All);
            spoil(&mut job);
            assert_eq!(Job::parse(&job.json(Path::new("r")).to_string()), None, "{job:?}");
        }
        assert_eq!(Job::parse("{}"), None);
    }

    #[test]
    fn a_channels_number_is_read_at_its_place() {
        for (request, at, number) in [
            ("GET /sub/load-x-000017?", 16, Some(17)),
            ("000000", 0, Some(0)),
            ("999999", 0, Some(999_999)),
            ("00001x", 0, None),
            ("12345", 0, None),
            ("123456", usize::MAX - 8, None),
        ] {
            assert_eq!(channel_at(request.as_bytes(), at), number, "{request}");
        }
    }
}
