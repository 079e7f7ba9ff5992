//! The front-end (Node Scala §III-A): takes requests, hands their sub-tasks to back-ends, and gives each client the
//! merged stream. It runs nothing itself.
//!
//! What it owns: use cases, links to back-ends, requests under way. What it refuses to know: HTTP and sockets.
//! Invariant: a back-end may send so much of a sub-task's results as its client has taken, and one window more; a
//! front-end therefore holds at most `parallel` windows for a request.

mod assigning;
mod cases;
mod linking;
mod results;

use std::collections::{BTreeMap, HashMap, VecDeque};

use slab::Slab;

use self::cases::{Case, Preparing};
pub use self::cases::{Outcome, Stored};
use super::job::{Chunk, Job, Path, Source};
pub use super::job::{Failure, Given};
use super::scheduler::{Policy, Scheduler};
use crate::ids::{ConnId, LinkId};
use crate::limits::{JOBS_MAX, SCATTER_STEP_MS};
use crate::random::Random;
use crate::time::{Now, Tick};
use crate::wire::frame::Kind;
use crate::wire::frame::link::{Identity, Link};
use crate::wire::frame::task::{Register, write_of_run};
use crate::wire::gzip::Member;

/// Who a front-end is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name, its cluster's, and what proves that a back-end belongs to it.
    pub identity: Identity,
    /// How back-ends are chosen.
    pub policy: Policy,
    /// Random, fresh at each boot.
    pub seed: u64,
}

/// A back-end, from its first byte to its end.
#[derive(Debug)]
struct Backend {
    generation: u32,
    address: std::net::SocketAddr,
    link: Link,
    /// What it said it is; `None` before that.
    register: Option<Register>,
    /// Attempts that it has.
    runs: HashMap<u32, Running>,
    next_run: u32,
    listed: bool,
}

/// An attempt at a back-end.
#[derive(Debug)]
struct Running {
    job: JobId,
    path: Path,
    /// Bytes that it may still send.
    credit: i64,
    /// Bytes that its client has taken and for which it was given no credit yet.
    owed: usize,
    /// When something last came of it, or it was last given credit.
    heard: Tick,
}

/// A request, by its place and which owner of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId {
    index: u32,
    generation: u32,
}

impl JobId {
    /// As two numbers, for a slot that has room for no more.
    pub fn parts(self) -> (u32, u32) {
        (self.index, self.generation)
    }

    /// The same, back.
    pub fn of_parts(index: u32, generation: u32) -> JobId {
        JobId { index, generation }
    }
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    owner: ConnId,
    job: Job,
    /// The compressed response, if it is one.
    member: Option<Member>,
    /// What is being written to the client: its length, and whose it is.
    writing: Option<(usize, Path)>,
    /// Something was given out.
    has_begun: bool,
    /// Its owner was told that there is something.
    is_woken: bool,
}

/// What a client is to be sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Nothing yet.
    Nothing,
    /// This, and there is more to come.
    Piece(Vec<u8>),
    /// This, and then the end.
    Last(Vec<u8>),
    /// It failed.
    Failed(Failure),
}

/// A node's front-end.
#[derive(Debug)]
pub struct Frontend {
    setup: Setup,
    cases: BTreeMap<String, Case>,
    /// Definitions that back-ends make themselves ready for, by name.
    preparing: BTreeMap<String, Preparing>,
    outcomes: VecDeque<Outcome>,
    versions: u64,
    backends: Slab<Backend>,
    jobs: Slab<Entry>,
    generation: u32,
    scheduler: Scheduler,
    random: Random,
    /// Whose turn it is to hand out.
    turn: usize,
    listed: VecDeque<LinkId>,
    closed: Vec<LinkId>,
    woken: VecDeque<ConnId>,
    next_ping: Tick,
    next_step: Tick,
    /// Attempts that were lost or failed, since the start.
    pub retries: u64,
}

impl Frontend {
    /// A front-end without use cases and back-ends.
    pub fn new(setup: Setup, now: Now) -> Frontend {
        Frontend {
            scheduler: Scheduler::new(setup.policy, setup.seed),
            random: Random::new(setup.seed ^ 1),
            setup,
            cases: BTreeMap::new(),
            preparing: BTreeMap::new(),
            outcomes: VecDeque::new(),
            versions: 0,
            backends: Slab::new(),
            jobs: Slab::new(),
            generation: 0,
            turn: 0,
            listed: VecDeque::new(),
            closed: Vec::new(),
            woken: VecDeque::new(),
            next_ping: now.tick,
            next_step: now.tick,
            retries: 0,
        }
    }

    // -- Requests -----------------------------------------------------------------------

    /// Begins a request at a path; what its owner is to be told of is in [`Frontend::poll_woken`].
    pub fn start<'a>(
        &mut self,
        path: &str,
        query: impl Iterator<Item = (&'a str, &'a str)>,
        gzip: bool,
        owner: ConnId,
        now: Now,
    ) -> Result<JobId, Failure> {
        let Some(found) = self.cases.values().find(|case| case.case.url == path) else {
            return Err(Failure::new(404, "There is nothing at this path."));
        };
        let found = found.clone();
        let tasks = found.case.tasks(query).map_err(|why| Failure::new(400, why))?;
        let deadline = now.tick.plus_ms(found.case.deadline_s * 1000);
        self.begin(found, Source::Split(tasks), gzip, deadline, owner, now)
    }

    /// Begins a request whose sub-tasks are handed in, of a use case that is loaded, with another deadline.
    pub fn start_given(
        &mut self,
        name: &str,
        tasks: Given,
        deadline: Tick,
        owner: ConnId,
        now: Now,
    ) -> Result<JobId, Failure> {
        let Some(found) = self.cases.get(name).cloned() else {
            return Err(Failure::new(404, "There is no such use case."));
        };
        self.begin(found, Source::Given(Some(tasks)), false, deadline, owner, now)
    }

    fn begin(
        &mut self,
        Case { case, version }: Case,
        source: Source,
        gzip: bool,
        deadline: Tick,
        owner: ConnId,
        now: Now,
    ) -> Result<JobId, Failure> {
        let of_this = self.jobs.iter().filter(|(_, entry)| entry.job.case.name == case.name).count();
        if of_this >= case.jobs_max || self.jobs.len() >= JOBS_MAX {
            return Err(Failure::new(503, "Too many such requests are being answered."));
        }
        if !self.registers().any(|register| register.programs.contains(&case.program)) {
            return Err(Failure::new(503, "No back-end is there to do this."));
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.jobs.insert(Entry {
            generation,
            owner,
            job: Job::new(case, version, source, gzip, deadline),
            member: gzip.then(Member::default),
            writing: None,
            has_begun: false,
            is_woken: false,
        });
        self.next_step = self.next_step.min(now.tick.plus_ms(SCATTER_STEP_MS));
        self.assign(now);
        let id = JobId { index: index as u32, generation };
        self.wake_if_over(id);
        Ok(id)
    }

    fn entry(&mut self, id: JobId) -> Option<&mut Entry> {
        self.jobs.get_mut(id.index as usize).filter(|entry| entry.generation == id.generation)
    }

    /// While nothing of the response was given out: its media type, and whether it is compressed.
    pub fn beginning(&self, id: JobId) -> Option<(String, bool)> {
        let entry = self.jobs.get(id.index as usize).filter(|entry| entry.generation == id.generation)?;
        (!entry.has_begun).then(|| (entry.job.case.media_type.clone(), entry.job.gzip))
    }

    /// What the client is to be sent next; what it was given before was written. After the end, or a failure, the
    /// request is forgotten.
    pub fn pull(&mut self, id: JobId, now: Now) -> Pulled {
        let Some(entry) = self.entry(id) else { return Pulled::Nothing };
        entry.is_woken = false;
        if let Some((len, path)) = entry.writing.take()
            && let Some(attempt) = entry.job.attempt(&path)
        {
            self.give_credit(attempt, len, now);
        }
        let Some(entry) = self.entry(id) else { return Pulled::Nothing };
        if let Some(failure) = entry.job.failure.clone() {
            self.forget(id);
            self.assign(now);
            return Pulled::Failed(failure);
        }
        let open = entry.job.open();
        if let Some((path, Chunk { bytes, plain_len, crc32, .. })) = entry.job.take_chunk() {
            entry.writing = Some((bytes.len(), path));
            entry.has_begun = true;
            let piece = match &mut entry.member {
                Some(member) => member.add(bytes, plain_len, crc32),
                None => bytes,
            };
            // A place for another sub-task is free when nothing is left of one.
            if entry.job.open() < open {
                self.assign(now);
            }
            return Pulled::Piece(piece);
        }
        if !entry.job.is_done() {
            return Pulled::Nothing;
        }
        let last = entry.member.take().map_or_else(Vec::new, Member::finish);
        self.forget(id);
        self.assign(now);
        Pulled::Last(last)
    }

    /// Nobody wants the request's results any more.
    pub fn cancel(&mut self, id: JobId) {
        if self.entry(id).is_some() {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: JobId) {
        let entry = self.jobs.remove(id.index as usize);
        for attempt in entry.job.attempts() {
            if let Some(backend) = self.backends.get_mut(attempt.backend as usize)
                && backend.runs.remove(&attempt.run).is_some()
            {
                write_of_run(Kind::CANCEL, attempt.run, 0, &mut backend.link.out);
                let link = LinkId { index: attempt.backend, generation: backend.generation };
                self.list(link);
            }
        }
        self.drop_edition_if_unused(&entry.job.case.name, entry.job.version);
    }

    /// The next connection whose request has something for it.
    pub fn poll_woken(&mut self) -> Option<ConnId> {
        self.woken.pop_front()
    }

    fn wake(&mut self, id: JobId) {
        let Some(entry) = self.entry(id) else { return };
        if !entry.is_woken {
            entry.is_woken = true;
            let owner = entry.owner;
            self.woken.push_back(owner);
        }
    }

    fn wake_if_over(&mut self, id: JobId) {
        let is_over = |entry: &mut Entry| entry.job.failure.is_some() || entry.job.is_done();
        if self.entry(id).is_some_and(is_over) {
            self.wake(id);
        }
    }

    /// Requests under way.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        let jobs = self.jobs.iter().map(|(_, entry)| size_of::<Entry>() + entry.job.bytes());
        let links = self.backends.iter().map(|(_, backend)| size_of::<Backend>() + backend.link.bytes());
        jobs.sum::<usize>() + links.sum::<usize>()
    }
}
