//! A channel's cached messages, and the threads that wait for the next one.
//!
//! It knows no sockets. Invariant: messages are numbered from 1 without gaps; a reader that comes back with the
//! number it was given sees every later message that is still cached exactly once.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Messages kept in a channel; the oldest give way.
const MESSAGES_MAX: usize = 1_000;

/// One channel.
pub struct Channel {
    name: String,
    history: Mutex<History>,
    news: Condvar,
}

#[derive(Default)]
struct History {
    /// Each message as it stands in an answer.
    messages: VecDeque<Arc<str>>,
    /// The number of the last message; 0 if there was none.
    last: u64,
    waiting: usize,
}

/// What a poll is answered with.
pub struct News {
    /// Where the reader stands after it.
    pub last: u64,
    /// The messages as they stand in an answer.
    pub messages: Vec<Arc<str>>,
}

/// A publication that was taken.
pub struct Published {
    /// The message's number in its channel.
    pub number: u64,
    /// Threads that were waiting for it.
    pub woken: usize,
}

impl Channel {
    /// A channel without messages.
    pub fn new(name: &str) -> Channel {
        Channel { name: name.to_owned(), history: Mutex::default(), news: Condvar::new() }
    }

    /// Appends a message and wakes all that wait.
    pub fn publish(&self, life: u64, time_ms: u64, data: &str) -> Published {
        let mut history = self.lock();
        history.last += 1;
        let number = history.last;
        let text = format!(
            r#"{{"id":"{life:016x}-{number}","time":{time_ms},"channels":["{}"],"type":"text/plain","data":{}}}"#,
            self.name,
            Value::from(data)
        );
        history.messages.push_back(text.into());
        if history.messages.len() > MESSAGES_MAX {
            history.messages.pop_front();
        }
        let woken = history.waiting;
        drop(history);
        self.news.notify_all();
        Published { number, woken }
    }

    /// What came after message `after`; waits for it for at most `patience`.
    pub fn read(&self, after: u64, patience: Duration) -> News {
        let deadline = Instant::now() + patience;
        let mut history = self.lock();
        while history.last <= after {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            history.waiting += 1;
            history = self.news.wait_timeout(history, left).unwrap_or_else(PoisonError::into_inner).0;
            history.waiting -= 1;
        }
        let first = history.last - history.messages.len() as u64;
        let seen = after.saturating_sub(first) as usize;
        News { last: history.last, messages: history.messages.iter().skip(seen).cloned().collect() }
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
