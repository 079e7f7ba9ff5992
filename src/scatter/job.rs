//! One request: its sub-tasks, and the merge of their streams (the paper's commander, §IV–V).
//!
//! ```text
//!            handed out                 END                 its last chunk is taken
//!   Waiting ───────────▶ Running ────────────────▶ Ended ───────────────▶ (forgotten)
//!      ▲                    │ failed, or its back-end is lost
//!      └────────────────────┘
//! ```
//!
//! Knows no back-end and no frame, only numbers of them. Invariant: of each sub-task every record is taken once, in
//! its order, whichever attempt it came from; ordered, one sub-task's records come before those of the next, and those
//! of what it spawned between the two.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crc32fast::Hasher;
use serde_json::{Map, Value as Json};

use super::split::Tasks;
use super::usecase::{Merge, Mode, UseCase};
use crate::limits::{CHUNK_BYTES, LOST_MAX, SPAWNED_BYTES_MAX, SPAWNED_MAX, USECASE_PARALLEL_MAX};
use crate::time::Tick;
use crate::wire::frame::task::{Delivered, Fault};

/// A sub-task's place in the order of results: its number, and below it the number of what it spawned.
pub(super) type Path = Vec<u32>;

/// An attempt, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub backend: u32,
    pub run: u32,
}

/// Whole records on their way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub bytes: Vec<u8>,
    pub plain_len: u32,
    pub crc32: u32,
    /// The attempt that it came from.
    pub from: Attempt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running(Attempt),
    Ended,
}

#[derive(Debug)]
struct Task {
    number: u64,
    params: Map<String, Json>,
    state: State,
    /// Attempts that failed.
    failed: u8,
    /// Back-ends that were lost while they ran it.
    lost: u8,
    /// Where the last attempt was: another one is better.
    avoid: Option<u32>,
    /// What all attempts together have delivered.
    delivered: Delivered,
    chunks: VecDeque<Chunk>,
}

/// Why a request fails: a status, if none was sent yet, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 400, 502, 503 or 504.
    pub status: u16,
    /// What happened.
    pub reason: String,
}

impl Failure {
    pub(super) fn new(status: u16, reason: impl Into<String>) -> Failure {
        Failure { status, reason: reason.into() }
    }
}

/// A sub-task that is to be handed out.
pub(super) struct Errand {
    pub path: Path,
    /// The results wait for it: it may use the place that is kept.
    pub is_head: bool,
    pub avoid: Option<u32>,
}

/// What a back-end is told of a sub-task.
pub(super) struct Order {
    pub number: u64,
    pub attempt: u32,
    pub params: Map<String, Json>,
    pub skip: Delivered,
    /// Bytes of earlier attempts that wait for the client.
    pub waiting: usize,
}

/// Where a request's sub-tasks come from.
pub(super) enum Source {
    /// Its parameters are divided.
    Split(Tasks),
    /// They are handed in, one by one; `None` when there are no more.
    Given(Option<Given>),
}

/// Sub-tasks that are handed in.
pub type Given = Box<dyn Iterator<Item = Map<String, Json>> + Send>;

impl Source {
    fn of(&self) -> u64 {
        match self {
            Source::Split(tasks) => tasks.of(),
            Source::Given(_) => 0,
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Source::Split(tasks) => tasks.is_over(),
            Source::Given(given) => given.is_none(),
        }
    }

    fn next(&mut self) -> Option<Map<String, Json>> {
        match self {
            Source::Split(tasks) => tasks.next().map(|params| params.to_json()),
            Source::Given(given) => {
                let next = given.as_mut()?.next();
                *given = given.take().filter(|_| next.is_some());
                next
            }
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_over() { "Source(over)" } else { "Source" })
    }
}

impl Chunk {
    /// Appends the one behind it, if both came of one attempt and are not large together: crumbs would cost more
    /// memory than they have bytes.
    fn append(&mut self, next: Chunk) -> Result<(), Chunk> {
        if self.from != next.from || self.bytes.len() + next.bytes.len() > CHUNK_BYTES {
            return Err(next);
        }
        let mut whole = Hasher::new_with_initial_len(self.crc32, u64::from(self.plain_len));
        whole.combine(&Hasher::new_with_initial_len(next.crc32, u64::from(next.plain_len)));
        self.crc32 = whole.finalize();
        self.plain_len = self.plain_len.saturating_add(next.plain_len);
        self.bytes.extend_from_slice(&next.bytes);
        Ok(())
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Job {
    pub case: Arc<UseCase>,
    pub version: u64,
    pub gzip: bool,
    pub deadline: Tick,
    pub failure: Option<Failure>,
    /// Since when nobody has been there who could run what waits.
    pub starved: Option<Tick>,
    source: Source,
    of: u64,
    numbers: u64,
    spawned: usize,
    spawned_bytes: usize,
    tasks: BTreeMap<Path, Task>,
    /// Tasks that were handed out and are not forgotten.
    open: usize,
    /// Unordered: whose chunks are next.
    ready: VecDeque<Path>,
    /// Bytes of chunks.
    bytes: usize,
}

impl Job {
    pub fn new(case: Arc<UseCase>, version: u64, source: Source, gzip: bool, deadline: Tick) -> Job {
        let of = source.of();
        Job {
            case,
            version,
            gzip,
            deadline,
            failure: None,
            starved: None,
            source,
            of,
            numbers: 0,
            spawned: 0,
            spawned_bytes: 0,
            tasks: BTreeMap::new(),
            open: 0,
            ready: VecDeque::new(),
            bytes: 0,
        }
    }

    /// How many sub-tasks there are, as far as that is known.
    pub fn of(&self) -> u64 {
        (self.of + self.spawned as u64).max(self.numbers)
    }

    /// Where a sub-task is at work.
    pub fn attempt(&self, path: &Path) -> Option<Attempt> {
        match self.tasks.get(path)?.state {
            State::Running(attempt) => Some(attempt),
            State::Waiting | State::Ended => None,
        }
    }

    /// Sub-tasks that were handed out and of which something is left.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Bytes that wait for the client.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that came of a sub-task.
    pub fn records(&self, path: &Path) -> u64 {
        self.tasks.get(path).map_or(0, |task| task.delivered.records)
    }

    /// Where it is at work.
    pub fn attempts(&self) -> impl Iterator<Item = Attempt> {
        self.tasks.values().filter_map(|task| match task.state {
            State::Running(attempt) => Some(attempt),
            State::Waiting | State::Ended => None,
        })
    }

    // -- Handing out --------------------------------------------------------------------

    fn open_max(&self) -> usize {
        match self.case.mode {
            Mode::Concurrent => USECASE_PARALLEL_MAX,
            Mode::Iterative => self.case.parallel,
        }
    }

    fn head(&self) -> Option<&Path> {
        let ordered = self.case.merge == Merge::Ordered;
        self.tasks.keys().next().filter(|_| ordered)
    }

    /// The sub-task that is to be handed out next, if one may be.
    pub fn next_errand(&mut self) -> Option<Errand> {
        if self.failure.is_some() {
            return None;
        }
        let has_room = self.open < self.open_max();
        let waiting = self.tasks.iter().find(|(_, task)| task.state == State::Waiting);
        let found = match waiting {
            Some((path, task)) => {
                let is_head = self.head() == Some(path);
                // One that was open already has its place still; and the head must be able to go on, or all wait.
                let has_place = has_room || is_head || task.failed > 0 || task.lost > 0;
                return has_place.then(|| Errand { path: path.clone(), is_head, avoid: task.avoid });
            }
            None if has_room => self.source.next()?,
            None => return None,
        };
        let path = vec![self.numbers as u32];
        self.add(path.clone(), found);
        Some(Errand { is_head: self.head() == Some(&path), path, avoid: None })
    }

    fn add(&mut self, path: Path, params: Map<String, Json>) {
        let task = Task {
            number: self.numbers,
            params,
            state: State::Waiting,
            failed: 0,
            lost: 0,
            avoid: None,
            delivered: Delivered::default(),
            chunks: VecDeque::new(),
        };
        self.numbers += 1;
        self.tasks.insert(path, task);
    }

    /// The sub-task is given to a back-end.
    pub fn hand_out(&mut self, path: &Path, attempt: Attempt) -> Option<Order> {
        let task = self.tasks.get_mut(path)?;
        if task.failed == 0 && task.lost == 0 {
            self.open += 1;
        }
        task.state = State::Running(attempt);
        Some(Order {
            number: task.number,
            attempt: u32::from(task.failed) + u32::from(task.lost) + 1,
            params: task.params.clone(),
            skip: task.delivered,
            waiting: task.chunks.iter().map(|chunk| chunk.bytes.len()).sum(),
        })
    }

    fn running(&mut self, path: &Path, attempt: Attempt) -> Option<&mut Task> {
        self.tasks.get_mut(path).filter(|task| task.state == State::Running(attempt))
    }

    // -- What comes back ----------------------------------------------------------------

    /// Records of an attempt.
    pub fn take_data(&mut self, path: &Path, records: u64, chunk: Chunk) {
        let (from, len) = (chunk.from, chunk.bytes.len());
        let Some(task) = self.running(path, from) else { return };
        task.delivered.records = task.delivered.records.saturating_add(records);
        task.delivered.bytes += u64::from(chunk.plain_len);
        let mut whole = Hasher::new_with_initial_len(task.delivered.crc32, task.delivered.bytes);
        whole.combine(&Hasher::new_with_initial_len(chunk.crc32, u64::from(chunk.plain_len)));
        task.delivered.crc32 = whole.finalize();
        let appended = match task.chunks.back_mut() {
            Some(last) => last.append(chunk),
            None => Err(chunk),
        };
        let is_new = appended.is_err();
        task.chunks.extend(appended.err());
        self.bytes += len;
        if is_new && self.case.merge == Merge::Unordered {
            self.ready.push_back(path.clone());
        }
    }

    /// An attempt asks for more sub-tasks, which are so many bytes of parameters.
    pub fn take_spawned(&mut self, path: &Path, attempt: Attempt, tasks: Vec<Json>, bytes: usize) {
        let Some(task) = self.running(path, attempt) else { return };
        let first = task.delivered.spawned;
        task.delivered.spawned += tasks.len() as u32;
        self.spawned += tasks.len();
        self.spawned_bytes += bytes;
        if self.spawned > SPAWNED_MAX || self.spawned_bytes > SPAWNED_BYTES_MAX {
            self.fail(Failure::new(
                502,
                format!("{} sub-tasks were spawned, which is too much.", self.spawned),
            ));
            return;
        }
        for (at, params) in tasks.into_iter().enumerate() {
            let Json::Object(params) = params else { continue };
            let mut below = path.clone();
            below.push(first + at as u32);
            self.add(below, params);
        }
    }

    /// An attempt is done.
    pub fn take_end(&mut self, path: &Path, attempt: Attempt) {
        if let Some(task) = self.running(path, attempt) {
            task.state = State::Ended;
        }
        self.forget(path);
    }

    /// An attempt failed.
    pub fn take_failure(&mut self, path: &Path, attempt: Attempt, fault: Fault, reason: &str) {
        let retries = self.case.retries;
        let Some(task) = self.running(path, attempt) else { return };
        task.state = State::Waiting;
        task.avoid = Some(attempt.backend);
        task.failed = task.failed.saturating_add(1);
        let (number, failed) = (task.number, task.failed);
        match fault {
            Fault::Request => self.fail(Failure::new(400, reason)),
            Fault::Differs => {
                self.fail(Failure::new(
                    502,
                    format!("Sub-task {number} gave something else when it was run again."),
                ));
            }
            Fault::Handler | Fault::Busy if failed > retries => {
                self.fail(Failure::new(502, format!("Sub-task {number} failed {failed} times: {reason}")));
            }
            Fault::Handler | Fault::Busy => {}
        }
    }

    /// The back-end that ran an attempt is gone.
    pub fn take_loss(&mut self, path: &Path, attempt: Attempt) {
        let Some(task) = self.running(path, attempt) else { return };
        task.state = State::Waiting;
        task.avoid = Some(attempt.backend);
        task.lost += 1;
        let (number, lost) = (task.number, task.lost);
        if lost >= LOST_MAX {
            self.fail(Failure::new(502, format!("Sub-task {number} was lost with {lost} back-ends.")));
        }
    }

    /// The request fails; the first reason counts.
    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    // -- The merge ----------------------------------------------------------------------

    /// The next piece of the response, if it is there, and whose it is.
    pub fn take_chunk(&mut self) -> Option<(Path, Chunk)> {
        let path = match self.case.merge {
            Merge::Ordered => self.tasks.keys().next()?.clone(),
            Merge::Unordered => self.ready.pop_front()?,
        };
        let chunk = self.tasks.get_mut(&path)?.chunks.pop_front()?;
        self.bytes -= chunk.bytes.len();
        self.forget(&path);
        Some((path, chunk))
    }

    /// Forgets a sub-task of which nothing is left; ordered, all at the head that are so.
    fn forget(&mut self, path: &Path) {
        let is_over = |task: &Task| task.state == State::Ended && task.chunks.is_empty();
        match self.case.merge {
            Merge::Unordered => {
                if self.tasks.get(path).is_some_and(is_over) {
                    self.tasks.remove(path);
                    self.open -= 1;
                }
            }
            Merge::Ordered => {
                while self.tasks.first_key_value().is_some_and(|(_, task)| is_over(task)) {
                    self.tasks.pop_first();
                    self.open -= 1;
                }
            }
        }
    }

    /// Whether all was taken.
    pub fn is_done(&self) -> bool {
        self.tasks.is_empty() && self.source.is_over()
    }
}
