//! The yardstick: an epoll loop that moves the same bytes as the server and understands none.
//!
//! It accepts, receives into one buffer, counts publications by their length, and for each
//! sends ready-made answers: to all polls, to the next one, or to none. No parsing, no timers,
//! no state per connection but its descriptor. What it costs is what the kernel costs.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use crate::Fallible;
use crate::sys::{BOTH, Epoll, NO_EVENT, READABLE};

/// As large as the server's own buffer, so that both receive as much at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// As many events at once as the server takes.
const EVENTS_PER_TICK: usize = 1_024;
/// 201s that one send can carry.
const CREATED_PER_SEND: usize = 256;

const POLL_LISTENER: u64 = u64::MAX;
const PUBLISH_LISTENER: u64 = u64::MAX - 1;
const PUBLISHER: u64 = 1 << 32;

/// Whom a publication reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// Every poll: they share a channel.
    All,
    /// One poll, each in turn: they have a channel each, published to in order.
    Next,
    /// None.
    Nobody,
}

impl Fanout {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Fanout::All => "all",
            Fanout::Next => "next",
            Fanout::Nobody => "nobody",
        }
    }

    /// The inverse of [`Fanout::word`].
    pub fn from_word(word: &str) -> Result<Fanout, &'static str> {
        [Fanout::All, Fanout::Next, Fanout::Nobody]
            .into_iter()
            .find(|fanout| fanout.word() == word)
            .ok_or("not a fan-out")
    }
}

/// What the bench tells the bare loop on its command line.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whom a publication reaches.
    pub fanout: Fanout,
    /// The length of every publication's request, in bytes.
    pub publication_bytes: usize,
    /// A file with the answer that polls get, as the server sent it.
    pub answer: PathBuf,
    /// A file with the answer that publications get, as the server sent it.
    pub created: PathBuf,
    /// Where to say which ports are listened on, in the server's own format.
    pub ready_file: PathBuf,
}

/// Serves until killed.
pub fn serve(job: &Job) -> Fallible<()> {
    crate::sys::raise_descriptor_limit()?;
    let mut bare = Bare::listen(job)?;
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
    polls: Vec<TcpStream>,
    publishers: Vec<Publisher>,
    /// The poll that the next publication reaches.
    next: usize,
    fanout: Fanout,
    publication_bytes: usize,
    answer: Vec<u8>,
    /// The 201, many times over.
    created: Vec<u8>,
    created_bytes: usize,
    buffer: Vec<u8>,
}

struct Publisher {
    stream: TcpStream,
    /// Bytes of a publication that is not complete.
    partial_bytes: usize,
    /// Bytes of 201s that the socket did not take yet.
    owed_bytes: usize,
    /// How far into a 201 the last send ended.
    phase_bytes: usize,
}

impl Bare {
    fn listen(job: &Job) -> Fallible<Bare> {
        let (polls_in, publishers_in) = (listener()?, listener()?);
        let epoll = Epoll::new()?;
        epoll.add(&polls_in, READABLE, POLL_LISTENER)?;
        epoll.add(&publishers_in, READABLE, PUBLISH_LISTENER)?;
        let created = fs::read(&job.created)?;
        announce(job, &polls_in, &publishers_in)?;
        Ok(Bare {
            epoll,
            polls_in,
            publishers_in,
            polls: Vec::new(),
            publishers: Vec::new(),
            next: 0,
            fanout: job.fanout,
            publication_bytes: job.publication_bytes,
            answer: fs::read(&job.answer)?,
            created_bytes: created.len(),
            created: created.repeat(CREATED_PER_SEND),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    fn accept_polls(&mut self) -> io::Result<()> {
        while let Some(stream) = accept(&self.polls_in)? {
            self.epoll.add(&stream, READABLE, self.polls.len() as u64)?;
            self.polls.push(stream);
        }
        Ok(())
    }

    fn accept_publishers(&mut self) -> io::Result<()> {
        while let Some(stream) = accept(&self.publishers_in)? {
            self.epoll.add(&stream, BOTH, PUBLISHER | self.publishers.len() as u64)?;
            self.publishers.push(Publisher { stream, partial_bytes: 0, owed_bytes: 0, phase_bytes: 0 });
        }
        Ok(())
    }

    /// A re-poll arrived: it is received, and held by doing nothing.
    fn poll_ready(&mut self, index: usize) -> io::Result<()> {
        receive(&self.polls[index], &mut self.buffer).map(drop)
    }

    fn publisher_ready(&mut self, index: usize) -> io::Result<()> {
        loop {
            let received = receive(&self.publishers[index].stream, &mut self.buffer)?;
            let arrived = self.publishers[index].partial_bytes + received;
            self.publishers[index].partial_bytes = arrived % self.publication_bytes;
            let publications = arrived / self.publication_bytes;
            for _ in 0..publications {
                self.deliver()?;
            }
            self.publishers[index].owed_bytes += publications * self.created_bytes;
            self.publishers[index].flush(&self.created, self.created_bytes)?;
            if received < BUFFER_BYTES {
                return Ok(());
            }
        }
    }

    fn deliver(&mut self) -> io::Result<()> {
        match self.fanout {
            Fanout::All => self.polls.iter().try_for_each(|poll| send(poll, &self.answer)),
            Fanout::Next => {
                let poll = &self.polls[self.next % self.polls.len()];
                self.next += 1;
                send(poll, &self.answer)
            }
            Fanout::Nobody => Ok(()),
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

fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    // The standard library's backlog is small; listening again only changes it.
    crate::sys::set_backlog(&listener)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// One recv. A closed or reset connection reads as nothing: the client is leaving.
fn receive(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => Ok(0),
        other => other,
    }
}

/// One send. An answer is far smaller than a socket's buffer, so it is taken whole.
fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let sent = stream.write(bytes)?;
    if sent < bytes.len() { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
}

/// Writes the ready-file whole before it gets its name, as the server does.
fn announce(job: &Job, polls: &TcpListener, publishers: &TcpListener) -> Fallible<()> {
    let text = serde_json::json!({
        "pid": std::process::id(),
        "listen": [polls.local_addr()?.to_string()],
        "publish_listen": [publishers.local_addr()?.to_string()],
    });
    let draft = job.ready_file.with_extension("draft");
    fs::write(&draft, text.to_string())?;
    Ok(fs::rename(draft, &job.ready_file)?)
}
