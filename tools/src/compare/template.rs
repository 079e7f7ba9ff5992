//! The server's real bytes, for the bare loop to repeat: one conversation, written down.
//!
//! What it refuses to know: what an answer means, but for the message in it.
//! Invariant: requests are those that the load generator sends, down to their length.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;

use crate::Fallible;
use crate::answers::{Split, Splitter};
use crate::dialect::{Captures, ChannelNames, Dialect, Filling};
use crate::marker::{Marker, RunId};
use crate::servers::Server;
use crate::servers::bare::{Fanout, Job};

/// Digits of a channel's number, the end of its name.
const CHANNEL_DIGITS: usize = 6;
/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom the bare loop's publications reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All polls.
    All,
    /// The one on the channel.
    One,
    /// Nobody.
    Nobody,
}

/// One conversation with a server.
#[derive(Clone, Debug)]
pub struct Template {
    /// The job with the server's bytes; who is reached is still open.
    job: Job,
    poll_at: usize,
    publication_at: usize,
}

impl Template {
    /// Polls a channel of the server and publishes to it a message of that size.
    pub fn probe(server: &Server, dialect: &Dialect, body_bytes: usize) -> Fallible<Template> {
        let run = RunId::fresh();
        let (mut channel, mut body) = (Vec::new(), Vec::new());
        ChannelNames::new(run).write(0, &mut channel);
        Marker { channel: 0, sequence: 0, planned_ns: 0 }.write_body(run, body_bytes, &mut body);
        let request = |to: SocketAddr, poll: bool| {
            let mut out = Vec::new();
            let captures = Captures::default();
            let host = to.to_string();
            let filling = Filling { host: &host, channel: &channel, captures: &captures, body: &body };
            if poll {
                dialect.poll(&filling, &mut out)
            } else {
                dialect.publication(&filling, &mut out)
            }
            out
        };
        let poll = request(server.subscribe, true);
        let publication = request(server.publish, false);
        let mut waiting = connect(server.subscribe)?;
        waiting.write_all(&poll)?;
        let mut publisher = connect(server.publish)?;
        publisher.write_all(&publication)?;
        let created = answer(&mut publisher)?;
        let answer = answer(&mut waiting)?;
        let message_at =
            memmem::find(&answer, &body).ok_or("an answer does not hold its message as it is")?;
        let place = |request: &[u8]| {
            let at = memmem::find(request, &channel).ok_or("a request does not name its channel");
            at.map(|at| at + channel.len() - CHANNEL_DIGITS)
        };
        Ok(Template {
            poll_at: place(&poll)?,
            publication_at: place(&publication)?,
            job: Job {
                fanout: Fanout::Nobody,
                publication_bytes: publication.len(),
                message_bytes: body.len(),
                answer,
                message_at,
                created,
            },
        })
    }

    /// What the bare loop is to do.
    pub fn job(&self, reach: Reach) -> Job {
        let fanout = match reach {
            Reach::All => Fanout::All,
            Reach::One => Fanout::One { poll_at: self.poll_at, publication_at: self.publication_at },
            Reach::Nobody => Fanout::Nobody,
        };
        Job { fanout, ..self.job.clone() }
    }
}

fn connect(to: SocketAddr) -> Fallible<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One whole answer, whatever it says, as long as it is no refusal.
fn answer(stream: &mut TcpStream) -> Fallible<Vec<u8>> {
    let mut splitter = Splitter::new(&[]);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed a connection instead of answering".into()),
            received => bytes.extend_from_slice(&buffer[..received]),
        }
        if let Split::Whole(answer) = splitter.first(&bytes).map_err(|why| why.to_string())? {
            if !(200..300).contains(&answer.status) {
                return Err(format!("the server answered {}", answer.head.escape_ascii()).into());
            }
            return Ok(bytes);
        }
    }
}
