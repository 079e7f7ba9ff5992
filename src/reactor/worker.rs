//! The loop of a back-end: links to front-ends, and the pipes of handlers.
//!
//! It knows readiness, bytes and processes, and nothing of what they mean: that is `scatter::backend`.

mod process;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Event;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

pub use self::process::StartThread;
use self::process::{Process, TOKENS};
use super::Verdict;
use super::socket::{Change, Input, Output, Socket};
use crate::limits::{EVENTS_PER_TICK, HANDLER_LOOK_MS, READS_PER_TICK, SCATTER_STEP_MS, SCRATCH_BYTES};
use crate::scatter::backend::{Action, Backend, HandlerId};
use crate::time::{Clock, Now, Tick};

/// The token of the orders' stream.
const ORDERS: Token = Token(usize::MAX - 1);
/// Tokens from here on are front-ends; below are pipes.
const FRONTS: usize = 1 << 40;

/// What may be run, by name.
#[derive(Default)]
pub struct Programs {
    /// Where programs stand.
    pub directory: PathBuf,
    /// Those that are part of this one.
    pub threads: BTreeMap<String, StartThread>,
}

/// A back-end's loop.
pub struct Worker {
    poll: Poll,
    backend: Backend,
    clock: Clock,
    now: Now,
    programs: Programs,
    fronts: BTreeMap<usize, Socket>,
    processes: BTreeMap<HandlerId, Process>,
    /// Which handler's pipes a token's number stands for.
    places: BTreeMap<u32, HandlerId>,
    scratch: Box<[u8]>,
    orders: Option<UnixStream>,
    /// Its front-end is in this process: nobody is called, and `govern` carries frames.
    is_alone: bool,
    /// When handlers are looked at again.
    next_look: Tick,
}

impl Worker {
    /// A loop around a back-end; `clock` is the one whose time it was made with.
    pub fn new(backend: Backend, clock: Clock, programs: Programs) -> io::Result<Worker> {
        Ok(Worker {
            poll: Poll::new()?,
            backend,
            clock,
            now: clock.now(),
            programs,
            fronts: BTreeMap::new(),
            processes: BTreeMap::new(),
            places: BTreeMap::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            orders: None,
            is_alone: false,
            next_look: clock.now().tick,
        })
    }

    /// The same for one whose front-end is in this process, and which `govern` carries frames to and from.
    pub fn alone(backend: Backend, clock: Clock, programs: Programs) -> io::Result<Worker> {
        Ok(Worker { is_alone: true, ..Worker::new(backend, clock, programs)? })
    }

    /// Wakes the loop when `stream` can be read: orders have come.
    pub fn watch_orders(&mut self, stream: std::os::unix::net::UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        self.poll.registry().register(&mut stream, ORDERS, Interest::READABLE)?;
        self.orders = Some(stream);
        Ok(())
    }

    /// Runs until `govern`, called once a tick, says so; then ends all handlers.
    pub fn run(&mut self, mut govern: impl FnMut(&mut Backend, Now) -> Verdict) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TICK);
        loop {
            self.work();
            let wait = self.patience();
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
                other => other?,
            }
            self.now = self.clock.now();
            for event in &events {
                self.handle_event(event);
            }
            self.read();
            self.backend.handle_time(self.now);
            self.look();
            if govern(&mut self.backend, self.now) == Verdict::Stop {
                break;
            }
        }
        self.processes.values_mut().for_each(Process::kill);
        Ok(())
    }

    fn patience(&self) -> Duration {
        let unread =
            self.fronts.values().any(Socket::is_unread) || self.processes.values().any(Process::is_unread);
        if unread {
            return Duration::ZERO;
        }
        let look = if self.processes.is_empty() { Tick(u64::MAX) } else { self.next_look };
        let wait = self.backend.next_deadline().min(look).since_ms(self.clock.now().tick);
        Duration::from_millis(if self.is_alone { wait.min(SCATTER_STEP_MS) } else { wait })
    }

    /// Does what the back-end wants done.
    fn work(&mut self) {
        loop {
            while let Some(action) = self.backend.poll_action() {
                self.act(action);
            }
            if !self.is_alone {
                self.dial();
            }
            for at in self.fronts.keys().copied().collect::<Vec<_>>() {
                self.write_front(at);
            }
            while let Some(at) = self.backend.poll_closed() {
                self.fronts.remove(&at);
            }
            let Some(action) = self.backend.poll_action() else { return };
            self.act(action);
        }
    }

    fn handle_event(&mut self, event: &Event) {
        let token = event.token();
        if token == ORDERS {
            if let Some(orders) = &mut self.orders {
                while matches!(orders.read(&mut [0; 64]), Ok(1..)) {}
            }
        } else if token.0 >= FRONTS {
            let at = token.0 - FRONTS;
            match self.fronts.get_mut(&at).map(|front| front.handle_event(event)) {
                Some(Change::Up) => self.backend.handle_up(at, self.now),
                Some(Change::Gone) => self.drop_front(at),
                Some(Change::None) | None => {}
            }
        } else {
            let Some(id) = self.places.get(&((token.0 / TOKENS) as u32)) else { return };
            if let Some(process) = self.processes.get_mut(id) {
                process.handle_event(token.0 % TOKENS, event);
            }
        }
    }

    // -- Front-ends ---------------------------------------------------------------------

    fn dial(&mut self) {
        while let Some((at, address)) = self.backend.poll_dial(self.now) {
            match Socket::dial(address, self.poll.registry(), Token(FRONTS + at)) {
                Ok(socket) => drop(self.fronts.insert(at, socket)),
                Err(error) => {
                    log::debug!("cannot connect to {address}: {error}");
                    self.backend.handle_down(at, self.now);
                }
            }
        }
    }

    fn drop_front(&mut self, at: usize) {
        if self.fronts.remove(&at).is_some() {
            self.backend.handle_down(at, self.now);
        }
    }

    fn write_front(&mut self, at: usize) {
        while let Some(front) = self.fronts.get_mut(&at).filter(|front| front.takes_more()) {
            let output = self.backend.output(at);
            if output.is_empty() {
                return;
            }
            match front.send(output) {
                Output::Sent(len) => self.backend.handle_sent(at, len, self.now),
                Output::Full => return,
                Output::Gone => return self.drop_front(at),
            }
        }
    }

    // -- Reading ------------------------------------------------------------------------

    fn read(&mut self) {
        for at in self.fronts.keys().copied().collect::<Vec<_>>() {
            self.read_front(at);
        }
        for id in self.processes.keys().copied().collect::<Vec<_>>() {
            self.read_process(id);
        }
    }

    fn read_front(&mut self, at: usize) {
        for _ in 0..READS_PER_TICK {
            let Some(front) = self.fronts.get_mut(&at) else { return };
            match front.receive(&mut self.scratch) {
                Input::Bytes(input) => self.backend.handle_input(at, input, self.now),
                Input::Nothing => return,
                Input::Gone => return self.drop_front(at),
            }
        }
    }

    fn read_process(&mut self, id: HandlerId) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.read_logs(&mut self.scratch);
        for _ in 0..READS_PER_TICK {
            let Some(process) = self.processes.get_mut(&id) else { return };
            match process.read_records(&mut self.scratch) {
                None => break,
                Some(Ok(0)) | Some(Err(_)) => process.close_records(),
                Some(Ok(len)) => {
                    let input = self.scratch.get(..len).unwrap_or_default();
                    self.backend.handle_records(id, input, self.now);
                }
            }
            while let Some(action) = self.backend.poll_action() {
                self.act(action);
            }
        }
        if self.processes.get(&id).is_some_and(Process::is_over) {
            self.end_process(id);
        }
    }

    // -- Handlers -----------------------------------------------------------------------

    /// Now and then: what does each process use, and what has it said in vain?
    fn look(&mut self) {
        if self.now.tick < self.next_look {
            return;
        }
        self.next_look = self.now.tick.plus_ms(HANDLER_LOOK_MS);
        for (id, process) in &mut self.processes {
            process.look();
            if let Some(bytes) = process.memory() {
                self.backend.handle_memory(*id, bytes);
            }
        }
    }

    fn end_process(&mut self, id: HandlerId) {
        let Some(mut process) = self.processes.remove(&id) else { return };
        self.places.remove(&id.index);
        process.read_logs(&mut self.scratch);
        let why = process.end();
        self.backend.handle_exit(id, &why);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(id, program) => self.start(id, &program),
            Action::Write(id, line) => self.with(id, |process| process.write(&line)),
            Action::Pause(id) => self.with(id, Process::pause),
            Action::Resume(id) => self.with(id, Process::resume),
            Action::Close(id) => self.with(id, Process::close_input),
            Action::Terminate(id) => self.with(id, Process::terminate),
            Action::Kill(id) => self.with(id, Process::kill),
        }
    }

    fn with(&mut self, id: HandlerId, deed: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(&id) {
            deed(process);
        }
    }

    fn start(&mut self, id: HandlerId, program: &str) {
        let (registry, first_token) = (self.poll.registry(), id.index as usize * TOKENS);
        let started = match self.programs.threads.get(program) {
            Some(start) => Process::start_thread(start, program, registry, first_token),
            None => Process::start(&self.programs.directory.join(program), program, registry, first_token),
        };
        match started {
            Ok(process) => {
                // The place's last owner has ended, or the back-end would not have given it away.
                self.places.insert(id.index, id);
                self.processes.insert(id, process);
            }
            Err(error) => {
                log::warn!("{program} cannot be started: {error}");
                self.backend.handle_exit(id, &format!("it cannot be started: {error}"));
            }
        }
    }
}
