//! What every experiment needs: servers to start, clients to connect, and the wish to stop.
//!
//! It refuses to know the experiments. Invariant: nothing here waits without a deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Connections, Plan};
use super::subjects::Subjects;
use crate::Fallible;
use crate::dialect::Dialect;
use crate::engine::{Engine, Options, Troubles};
use crate::servers::Server;

/// A message that takes longer than this has not been received.
pub const RECEIVED_WITHIN: Duration = Duration::from_secs(10);
/// The channel that everybody is on.
pub const CHANNEL: u32 = 0;

/// A channel that nobody polls.
const EMPTY_CHANNEL: u32 = 1;
/// What has not happened after so long never will.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// All that experiments need.
pub struct Laboratory {
    /// What is measured.
    pub subjects: Subjects,
    /// What is run.
    pub plan: Plan,
    /// Set by somebody who wants to stop.
    pub stop: Arc<AtomicBool>,
    /// Descriptors that a process may have.
    pub descriptors: usize,
    /// The load balancer, if there is one.
    pub haproxy: Option<PathBuf>,
}

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// It waits for at most so many seconds.
    LongPoll {
        /// Whole seconds.
        timeout_s: u64,
    },
    /// It takes what there is.
    Pull(Connections),
}

impl Laboratory {
    /// Clients that ask in this way, publishing to that server.
    pub fn engine(&self, question: Question, publish_to: &Server) -> Fallible<Engine> {
        let mut options = Options::new(vec![publish_to.publish]);
        options.stop = Some(Arc::clone(&self.stop));
        Engine::new(dialect(question)?, options)
    }

    /// Whether somebody wants to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn dialect(question: Question) -> Fallible<Dialect> {
    let (timeout_s, close) = match question {
        Question::LongPoll { timeout_s } => (timeout_s, ""),
        Question::Pull(Connections::Kept) => (0, ""),
        Question::Pull(Connections::Fresh) => (0, "Connection: close\n"),
    };
    let text = format!(
        "[first poll]\nGET /sub/{{channel}}?timeout={timeout_s} HTTP/1.1\nHost: {{host}}\n{close}\n[next \
         poll]\nGET /sub/{{channel}}?timeout={timeout_s}&after={{json:cursor}} HTTP/1.1\nHost: \
         {{host}}\n{close}\n[publish]\nPOST /pub/{{channel}} HTTP/1.1\nHost: {{host}}\nContent-Type: \
         text/plain\nContent-Length: {{length}}\n\n{{body}}\n"
    );
    Ok(Dialect::parse("the paper's", &text)?)
}

/// Publishes a message that nobody waits for and has its answer. The first one makes the publisher's
/// connection, before a crowd could leave none for it.
pub fn publish_to_nobody(engine: &mut Engine, bytes: usize) -> Fallible<()> {
    let wanted = engine.tally().publish_answers + 1;
    let now = Instant::now();
    engine.publish(now, EMPTY_CHANNEL, bytes);
    engine.run(now + PATIENCE, |tally| tally.publish_answers >= wanted)?;
    if engine.tally().publish_answers >= wanted || engine.is_stopped() {
        return Ok(());
    }
    Err(format!("the server takes no publications: {}", words(&engine.tally().troubles)).into())
}

/// What went wrong, for a sentence; empty if nothing did.
pub fn words(troubles: &Troubles) -> String {
    troubles.counts().map(|(trouble, count)| format!("{count} {trouble}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_can_be_asked() {
        for question in [
            Question::LongPoll { timeout_s: 5 },
            Question::Pull(Connections::Kept),
            Question::Pull(Connections::Fresh),
        ] {
            assert!(dialect(question).is_ok(), "{question:?}");
        }
    }
}
