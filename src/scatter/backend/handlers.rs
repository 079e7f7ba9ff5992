//! Handlers: persistent processes that are given one sub-task after another.
//!
//! ```text
//!   Idle ──run──▶ Busy ──end──▶ Idle …            cancelled:  Busy ──line──▶ Cancelled ──▶ Terminated ──▶ Killed
//!    └──── not needed any more: standard input is closed ────────────────▶ Closing ─────▶ Terminated ──▶ Killed
//! ```

use super::{Action, Backend, HandlerId, RunKey};
use crate::limits::{
    HANDLER_CANCEL_MS, HANDLER_CLOSE_MS, HANDLER_SETTLE_MS, HANDLER_TERM_MS, HANDLERS_MAX, USECASES_MAX,
};
use crate::time::{Now, Tick};
use crate::wire::frame::task::{Edition, Fault, Prepare, Prepared};

/// What a handler is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Busy(RunKey),
    /// It was told that nobody wants the results; it may still say that it has ended.
    Cancelled(Tick),
    /// It was told that there is nothing more to do.
    Closing(Tick),
    Terminated(Tick),
    Killed,
}

/// A process that runs sub-tasks, or is to.
#[derive(Debug)]
pub(super) struct Handler {
    generation: u32,
    /// Of whom: use case, version and the front-end whose they are.
    owner: (usize, Edition),
    pub state: State,
    /// A line of its that is not whole.
    pub partial: Vec<u8>,
    /// Its records are not read for now.
    pub paused: bool,
    /// How many of its kind are kept.
    keep: usize,
    /// Its version is called no more.
    dropped: bool,
    /// It has said that it is ready, or anything else.
    pub ready: bool,
}

/// A use case whose handlers are beginning.
#[derive(Debug)]
pub(super) struct Preparation {
    at: usize,
    edition: Edition,
    /// Those that have not said that they are ready.
    handlers: Vec<HandlerId>,
    /// When they are thought to be.
    pub until: Tick,
}

impl Handler {
    /// When something is to be done to it.
    pub fn deadline(&self) -> Option<Tick> {
        match self.state {
            State::Idle | State::Busy(_) | State::Killed => None,
            State::Cancelled(until) | State::Closing(until) | State::Terminated(until) => Some(until),
        }
    }
}

impl Backend {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.handlers.len() < HANDLERS_MAX
    }

    pub(super) fn handler(&mut self, id: HandlerId) -> Option<&mut Handler> {
        self.handlers.get_mut(id.index as usize).filter(|handler| handler.generation == id.generation)
    }

    fn handler_ids(&self, owner: &(usize, Edition)) -> Vec<HandlerId> {
        let of_it = |(_, handler): &(usize, &Handler)| handler.owner == *owner;
        let id = |(index, handler): (usize, &Handler)| HandlerId {
            index: index as u32,
            generation: handler.generation,
        };
        self.handlers.iter().filter(of_it).map(id).collect()
    }

    fn start_handler(&mut self, owner: (usize, Edition), program: &str, keep: usize) -> HandlerId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.handlers.insert(Handler {
            generation,
            owner,
            state: State::Idle,
            partial: Vec::new(),
            paused: false,
            keep,
            dropped: false,
            ready: false,
        }) as u32;
        let id = HandlerId { index, generation };
        self.actions.push_back(Action::Start(id, program.to_owned()));
        id
    }

    /// A handler that has nothing to do, or a new one.
    pub(super) fn free_handler(
        &mut self,
        at: usize,
        edition: &Edition,
        program: &str,
        keep: usize,
    ) -> HandlerId {
        let owner = (at, edition.clone());
        let mut ids = self.handler_ids(&owner).into_iter();
        let idle = ids.find(|id| self.handler(*id).is_some_and(|handler| handler.state == State::Idle));
        idle.unwrap_or_else(|| self.start_handler(owner, program, keep))
    }

    /// Starts a use case's handlers; its front-end is told when they are ready.
    pub(super) fn prepare(&mut self, at: usize, prepare: Prepare, now: Now) {
        let Prepare { edition, program, processes } = prepare;
        if !self.setup.programs.contains(&program) {
            return self.tell_prepared(at, edition, Some(format!("there is no program {program:?} here")));
        }
        let keep = processes as usize;
        let owner = (at, edition.clone());
        let there = self.handler_ids(&owner).len();
        for _ in there..keep.min(self.setup.slots as usize) {
            if self.has_room() {
                self.start_handler(owner.clone(), &program, keep);
            }
        }
        if self.preparations.len() >= USECASES_MAX {
            return self.tell_prepared(at, edition, None);
        }
        let handlers = self.handler_ids(&owner);
        let until = now.tick.plus_ms(HANDLER_SETTLE_MS);
        self.preparations.push(Preparation { at, edition, handlers, until });
        self.judge_preparations(now);
    }

    fn tell_prepared(&mut self, at: usize, edition: Edition, refused: Option<String>) {
        if let Some(out) = self.out(at) {
            Prepared { edition, refused }.write(out);
        }
    }

    /// Tells of use cases whose handlers have all said that they are ready, or have lived for a while.
    pub(super) fn judge_preparations(&mut self, now: Now) {
        let handlers = &self.handlers;
        let begins = |id: &HandlerId| handlers.get(id.index as usize).is_some_and(|handler| !handler.ready);
        let mut over = Vec::new();
        self.preparations.retain_mut(|one| {
            one.handlers.retain(begins);
            let is_over = one.handlers.is_empty() || now.tick >= one.until;
            if is_over {
                over.push((one.at, one.edition.clone()));
            }
            !is_over
        });
        over.into_iter().for_each(|(at, edition)| self.tell_prepared(at, edition, None));
    }

    /// A handler has ended before it was ready: its use case cannot be run here.
    fn fail_preparations(&mut self, id: HandlerId, why: &str) {
        let mut over = Vec::new();
        self.preparations.retain(|one| {
            let is_its = one.handlers.contains(&id);
            if is_its {
                over.push((one.at, one.edition.clone()));
            }
            !is_its
        });
        for (at, edition) in over {
            self.tell_prepared(at, edition, Some(format!("its program ended at once: {why}")));
        }
    }

    pub(super) fn drop_edition(&mut self, at: usize, edition: &Edition, now: Now) {
        for id in self.handler_ids(&(at, edition.clone())) {
            if let Some(handler) = self.handler(id) {
                handler.dropped = true;
            }
            self.retire(id, now);
        }
    }

    /// A handler has nothing to do: it stays if so many are kept, or one more.
    pub(super) fn retire(&mut self, id: HandlerId, now: Now) {
        let Some(handler) = self.handler(id) else { return };
        if handler.state != State::Idle {
            return;
        }
        let (owner, keep, dropped) = (handler.owner.clone(), handler.keep, handler.dropped);
        let alive = |handler: &Handler| matches!(handler.state, State::Idle | State::Busy(_));
        let of_it =
            self.handlers.iter().filter(|(_, handler)| handler.owner == owner && alive(handler)).count();
        // A request's head may take one place more than there are: where several requests are under way it does so all
        // the time, and a process for each of them would cost more than one that waits.
        if dropped || of_it > keep + 1 {
            self.close_handler(id, now);
        }
    }

    fn close_handler(&mut self, id: HandlerId, now: Now) {
        let Some(handler) = self.handler(id) else { return };
        handler.state = State::Closing(now.tick.plus_ms(HANDLER_CLOSE_MS));
        self.actions.push_back(Action::Close(id));
        self.read_on(id);
    }

    /// Asks it to stop what it is doing.
    pub(super) fn cancel_handler(&mut self, id: HandlerId, line: Vec<u8>, now: Now) {
        let going = |handler: &Handler| matches!(handler.state, State::Cancelled(_) | State::Terminated(_));
        let ending = self.handlers.iter().filter(|(_, handler)| going(handler)).count();
        // Time to end is for so many; who comes and leaves without a pause would fill the machine with others.
        if ending >= 2 * self.setup.slots as usize {
            return self.kill(id);
        }
        let Some(handler) = self.handler(id) else { return };
        handler.state = State::Cancelled(now.tick.plus_ms(HANDLER_CANCEL_MS));
        self.actions.push_back(Action::Write(id, line));
        self.read_on(id);
    }

    /// Ends it: what it does or says is of no use.
    pub(super) fn terminate(&mut self, id: HandlerId, now: Now) {
        let Some(handler) = self.handler(id) else { return };
        handler.state = State::Terminated(now.tick.plus_ms(HANDLER_TERM_MS));
        self.actions.push_back(Action::Terminate(id));
        self.read_on(id);
    }

    /// Ends it at once.
    fn kill(&mut self, id: HandlerId) {
        let Some(handler) = self.handler(id) else { return };
        handler.state = State::Killed;
        self.actions.push_back(Action::Kill(id));
        self.read_on(id);
    }

    /// Its process uses so much memory, in bytes. One that uses too much is ended, before the machine ends another.
    pub fn handle_memory(&mut self, id: HandlerId, bytes: u64) {
        let mb = self.setup.handler_memory_mb;
        let Some(handler) = self.handler(id) else { return };
        let state = handler.state;
        if bytes <= mb << 20 || state == State::Killed {
            return;
        }
        let why = format!("it used more than {mb} MB of memory");
        ::log::warn!("a handler is ended: {why}");
        if let State::Busy(key) = state {
            self.fail_run(key, Fault::Handler, &why);
        }
        self.kill(id);
    }

    /// What it writes is read again, if it was not.
    pub(super) fn read_on(&mut self, id: HandlerId) {
        if self.handler(id).is_some_and(|handler| std::mem::take(&mut handler.paused)) {
            self.actions.push_back(Action::Resume(id));
        }
    }

    /// Its process could not be started, or has ended.
    pub fn handle_exit(&mut self, id: HandlerId, why: &str) {
        let Some(handler) = self.handler(id) else { return };
        let state = handler.state;
        self.handlers.remove(id.index as usize);
        self.fail_preparations(id, why);
        if let State::Busy(key) = state {
            self.fail_run(key, Fault::Handler, &format!("the handler ended before its sub-task: {why}"));
        } else if state == State::Idle {
            ::log::warn!("a handler without anything to do ended: {why}");
        }
    }

    pub(super) fn judge_handlers(&mut self, now: Now) {
        let late: Vec<(HandlerId, State)> = self
            .handlers
            .iter()
            .filter(|(_, handler)| handler.deadline().is_some_and(|until| now.tick >= until))
            .map(|(index, handler)| {
                (HandlerId { index: index as u32, generation: handler.generation }, handler.state)
            })
            .collect();
        for (id, state) in late {
            match state {
                State::Cancelled(_) | State::Closing(_) => self.terminate(id, now),
                _ => self.kill(id),
            }
        }
    }
}
