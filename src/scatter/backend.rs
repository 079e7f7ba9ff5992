//! The back-end (Node Scala §III-B): runs sub-tasks in handlers, which are processes of any language, and returns their
//! records.
//!
//! What it owns: links to front-ends, attempts, handlers by number. What it refuses to know: processes and sockets;
//! what is to be done to them is told by [`Backend::poll_action`]. Invariant: of an attempt no more is sent than its
//! front-end has given credit for, and one chunk; a handler that writes more is not read, and so blocks.

mod fronts;
mod handlers;
mod runs;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use slab::Slab;

use self::fronts::Front;
use self::handlers::{Handler, Preparation};
use self::runs::Run;
use crate::limits::BACKEND_REGISTER_MS;
use crate::random::Random;
use crate::time::{Now, Tick};
use crate::wire::frame::link::Identity;
use crate::wire::frame::task::Register;

/// Who a back-end is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name, its cluster's, and what proves that it belongs there.
    pub identity: Identity,
    /// Front-ends.
    pub join: Vec<SocketAddr>,
    /// Sub-tasks at once.
    pub slots: u32,
    /// Programs that may be run, by name.
    pub programs: Vec<String>,
    /// The memory that a handler may use, in MB.
    pub handler_memory_mb: u64,
    /// Random, fresh at each boot.
    pub seed: u64,
}

/// A handler, by its place and which owner of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandlerId {
    /// The place.
    pub index: u32,
    /// Rises each time the place is given away.
    pub generation: u32,
}

/// What is to be done to a handler's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start one.
    Start(HandlerId, String),
    /// Write this to its standard input.
    Write(HandlerId, Vec<u8>),
    /// Do not read its records for now.
    Pause(HandlerId),
    /// Read them again.
    Resume(HandlerId),
    /// Close its standard input: it may end.
    Close(HandlerId),
    /// Ask its process group to end (SIGTERM).
    Terminate(HandlerId),
    /// End it (SIGKILL).
    Kill(HandlerId),
}

/// An attempt: of which front-end, and its number there.
type RunKey = (usize, u32);

/// A back-end.
#[derive(Debug)]
pub struct Backend {
    setup: Setup,
    fronts: Vec<Front>,
    handlers: Slab<Handler>,
    runs: BTreeMap<RunKey, Run>,
    preparations: Vec<Preparation>,
    actions: VecDeque<Action>,
    closed: VecDeque<usize>,
    generation: u32,
    random: Random,
    load: u32,
    draining: bool,
    /// All front-ends were told that nothing is under way any more.
    farewell: bool,
    next_register: Tick,
}

impl Backend {
    /// A back-end that has met nobody.
    pub fn new(setup: Setup, now: Now) -> Backend {
        Backend {
            fronts: setup.join.iter().map(|address| Front::new(*address, now.tick)).collect(),
            random: Random::new(setup.seed),
            setup,
            handlers: Slab::new(),
            runs: BTreeMap::new(),
            preparations: Vec::new(),
            actions: VecDeque::new(),
            closed: VecDeque::new(),
            generation: 0,
            load: 0,
            draining: false,
            farewell: false,
            next_register: now.tick,
        }
    }

    /// What its machine has to do, in thousandths; told with the next registration.
    pub fn set_load(&mut self, load: u32) {
        self.load = load;
    }

    /// Takes nothing new; what is under way goes on.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        self.register_everywhere(now);
    }

    /// Attempts under way.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Whether all that it had to do is done, and told, and nothing more is on its way to it.
    pub fn is_drained(&self) -> bool {
        self.farewell && self.runs.is_empty() && self.fronts.iter().all(Front::is_drained)
    }

    /// What is to be done to a handler next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The registration as it is now.
    fn register(&self) -> Register {
        Register {
            slots: self.setup.slots,
            programs: self.setup.programs.clone(),
            load: self.load,
            draining: self.draining,
        }
    }

    fn register_everywhere(&mut self, now: Now) {
        self.next_register = now.tick.plus_ms(BACKEND_REGISTER_MS);
        let register = self.register();
        for front in &mut self.fronts {
            if let Some(link) = &mut front.link
                && link.peer().is_some()
            {
                register.write(&mut link.out);
                front.asked += u32::from(register.draining);
            }
        }
    }

    /// Draining, with nothing under way: front-ends are told so once more, and their answer to that comes when they have
    /// read all results.
    fn take_leave(&mut self, now: Now) {
        if self.draining && self.runs.is_empty() && !self.farewell {
            self.farewell = true;
            self.register_everywhere(now);
        }
    }

    /// When [`Backend::handle_time`] is wanted.
    pub fn next_deadline(&self) -> Tick {
        let fronts = self.fronts.iter().map(Front::deadline);
        let runs = self.runs.values().map(Run::deadline);
        let handlers = self.handlers.iter().filter_map(|(_, handler)| handler.deadline());
        let preparations = self.preparations.iter().map(|one| one.until);
        fronts
            .chain(runs)
            .chain(handlers)
            .chain(preparations)
            .chain([self.next_register])
            .min()
            .unwrap_or(self.next_register)
    }

    /// Sees to what is due.
    pub fn handle_time(&mut self, now: Now) {
        if now.tick >= self.next_register {
            self.register_everywhere(now);
        }
        self.judge_fronts(now);
        self.judge_runs(now);
        self.judge_handlers(now);
        self.judge_preparations(now);
        self.take_leave(now);
    }
}
