//! The connection that publishes batches: at a rate, or as fast as they are taken.
//!
//! What it refuses to know: who reads them. Invariant: whatever it returns without an error, every entry was
//! taken by the server.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::batches::Batches;
use crate::Fallible;
use crate::engine::{Latencies, latencies};
use crate::servers::conversation::Conversation;

/// A batch at a rate is sent so often, or less often if there were less than one entry in it.
const TICK: Duration = Duration::from_millis(1);
/// Batches without an answer, at a rate: enough that the rate is kept through any pause of the server's.
const WINDOW_AT_RATE: usize = 10_000;
/// Batches without an answer, as fast as they are taken: the server always finds another one.
const WINDOW: usize = 8;
/// Bytes of a batch that is sent as fast as it is taken, about.
const BATCH_BYTES: usize = 100_000;

/// Publishes `rate` entries a second for so long, each marked with the time at which it was sent, counted
/// from `epoch`. Returns by how many microseconds batches were late.
pub fn at_rate(
    to: SocketAddr,
    batches: &mut Batches,
    rate: u64,
    time: Duration,
    epoch: Instant,
) -> Fallible<Latencies> {
    let mut late = latencies();
    let between = TICK.max(Duration::from_secs_f64(1.0 / rate as f64));
    publish(to, WINDOW_AT_RATE, |line| {
        let begin = Instant::now();
        let (mut planned, end) = (begin, begin + time);
        while planned < end {
            std::thread::sleep(planned.saturating_duration_since(Instant::now()));
            late.saturating_record(planned.elapsed().as_micros() as u64);
            planned += between;
            let due = ((planned - begin).as_secs_f64() * rate as f64).round() as u64;
            let count = due.saturating_sub(batches.published());
            line.send(batches, count, epoch.elapsed().as_nanos() as u64)?;
        }
        Ok(())
    })?;
    Ok(late)
}

/// Publishes so many entries as fast as they are taken.
pub fn flood(to: SocketAddr, batches: &mut Batches, entries: u64, body_bytes: usize) -> Fallible<()> {
    let each = (BATCH_BYTES / body_bytes).max(1) as u64;
    publish(to, WINDOW, |line| {
        let mut left = entries;
        while left > 0 {
            line.send(batches, each.min(left), 0)?;
            left -= each.min(left);
        }
        Ok(())
    })
}

/// One end of the connection: what is sent, and how many answers are awaited.
struct Line {
    stream: TcpStream,
    host: String,
    awaited: SyncSender<u64>,
    request: Vec<u8>,
}

impl Line {
    /// Sends a batch; waits if too many have no answer.
    fn send(&mut self, batches: &mut Batches, count: u64, sent_ns: u64) -> Fallible<()> {
        batches.write(count, sent_ns, &self.host, &mut self.request);
        self.awaited.send(count).map_err(|_| "an answer was none")?;
        Ok(self.stream.write_all(&self.request)?)
    }
}

/// Sends in this thread and takes the answers in another.
fn publish(to: SocketAddr, window: usize, send_all: impl FnOnce(&mut Line) -> Fallible<()>) -> Fallible<()> {
    let conversation = Conversation::with(to)?;
    let (awaited, await_these) = sync_channel(window);
    let (stream, host) = (conversation.sender()?, conversation.host().to_owned());
    let mut line = Line { stream, host, awaited, request: Vec::new() };
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || take_answers(conversation, &await_these));
        let sent = send_all(&mut line);
        drop(line);
        // What the answers say is wrong is the cause of what went wrong with sending.
        answers.join().map_err(|_| "the thread that takes answers ended")??;
        sent
    })
}

fn take_answers(mut conversation: Conversation, awaited: &Receiver<u64>) -> Fallible<()> {
    for count in awaited {
        conversation.receive(|status, body| check(status, body, count))??;
    }
    Ok(())
}

/// A batch was taken if each of its lines was.
fn check(status: u16, body: &[u8], count: u64) -> Fallible<()> {
    let taken = memchr::memchr_iter(b'\n', body).count() as u64;
    if status == 200 && taken == count && memmem::find(body, b"\"error\":").is_none() {
        return Ok(());
    }
    let shown = body[..body.len().min(300)].escape_ascii();
    Err(format!("a batch of {count} was answered {status} with {taken} lines: {shown}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_whole_or_not() {
        for (status, body, good) in [
            (200, "{\"id\":\"a-1\"}\n{\"id\":\"a-2\"}\n", true),
            (200, "{\"id\":\"a-1\"}\n", false),
            (200, "{\"id\":\"a-1\"}\n{\"error\":{}}\n", false),
            (503, "{\"id\":\"a-1\"}\n{\"id\":\"a-2\"}\n", false),
        ] {
            assert_eq!(check(status, body.as_bytes(), 2).is_ok(), good, "{status} {body}");
        }
    }
}
