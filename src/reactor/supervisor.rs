//! The loop of a controller or an agent: processes, the control socket, links between the two, calls to front-ends.
//!
//! It knows readiness, bytes and processes, and nothing of what they mean: that is `supervisor`. Without threads; that a
//! process has ended is told by its descriptor (pidfd), be it a child or one of an earlier life.

mod calls;
pub mod children;
mod control;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use self::calls::Calls;
use self::children::{Children, Program};
use self::control::Control;
use super::Verdict;
use super::socket::{Change, Input, Output, Socket};
use crate::limits::{
    ACCEPT_PAUSE_MS, EVENTS_PER_TICK, LINK_ACCEPTS_PER_TICK, READS_PER_TICK, SCRATCH_BYTES,
    SUPERVISOR_STEP_MS,
};
use crate::supervisor::Supervise;
use crate::supervisor::keeper::Deed;
use crate::supervisor::memory::Memory;
use crate::time::{Clock, Now, Tick};

/// The token of the orders' stream.
const ORDERS: Token = Token(usize::MAX - 1);
/// The token of the control socket.
const CONTROL: Token = Token(usize::MAX - 2);
/// The token of the listener for agents.
const AGENTS: Token = Token(usize::MAX - 3);

/// What the other tokens are: the last two bits. The rest is a number that is never given twice.
const CHILD: usize = 0;
const LINK: usize = 1;
const CALLER: usize = 2;
const CALL: usize = 3;

fn token(number: usize, kind: usize) -> Token {
    Token(number << 2 | kind)
}

/// What a loop needs of the rest of the machine.
pub struct Surroundings {
    /// What components are started from.
    pub program: Program,
    /// Writes down what the next life has to know.
    pub save: Box<dyn FnMut(Memory) -> io::Result<()>>,
    /// Where a name leads to.
    pub resolve: fn(&str) -> io::Result<Vec<SocketAddr>>,
}

/// A controller's or an agent's loop.
pub struct Supervisor {
    poll: Poll,
    side: Box<dyn Supervise>,
    clock: Clock,
    now: Now,
    children: Children,
    surroundings: Surroundings,
    is_saved: bool,
    control: Option<Control>,
    agents: Option<TcpListener>,
    /// Agents may wait to be accepted.
    has_callers: bool,
    accept_pause: Tick,
    links: BTreeMap<usize, Socket>,
    calls: Calls,
    orders: Option<UnixStream>,
    scratch: Box<[u8]>,
}

impl Supervisor {
    /// A loop around a controller or an agent that was made with `clock`'s time; the children are those it knows of.
    pub fn new(
        side: Box<dyn Supervise>,
        clock: Clock,
        children: Children,
        surroundings: Surroundings,
    ) -> io::Result<Supervisor> {
        let poll = Poll::new()?;
        children.watch(poll.registry())?;
        Ok(Supervisor {
            poll,
            side,
            clock,
            now: clock.now(),
            children,
            surroundings,
            is_saved: false,
            control: None,
            agents: None,
            has_callers: false,
            accept_pause: Tick(0),
            links: BTreeMap::new(),
            calls: Calls::default(),
            orders: None,
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
        })
    }

    /// Wakes the loop when `stream` can be read: orders have come.
    pub fn watch_orders(&mut self, stream: std::os::unix::net::UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        self.poll.registry().register(&mut stream, ORDERS, Interest::READABLE)?;
        self.orders = Some(stream);
        Ok(())
    }

    /// Takes commands at a Unix socket.
    pub fn add_control(&mut self, path: &std::path::Path) -> io::Result<()> {
        self.control = Some(Control::bind(path, self.poll.registry(), CONTROL)?);
        Ok(())
    }

    /// Accepts agents.
    pub fn add_agents(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        let mut listener = TcpListener::from_std(listener);
        self.poll.registry().register(&mut listener, AGENTS, Interest::READABLE)?;
        self.agents = Some(listener);
        Ok(())
    }

    /// Runs until `govern`, called once a tick, says so. Components go on.
    pub fn run(&mut self, mut govern: impl FnMut(&mut dyn Supervise, Now) -> Verdict) -> io::Result<()> {
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
            self.side.handle_time(self.now);
            if govern(&mut *self.side, self.now) == Verdict::Stop {
                return Ok(());
            }
        }
    }

    fn patience(&self) -> Duration {
        let unread = self.links.values().any(Socket::is_unread);
        let callers = self.has_callers && self.now.tick >= self.accept_pause;
        if unread || callers {
            return Duration::ZERO;
        }
        let now = self.clock.now().tick;
        let mut until = self.side.next_deadline(now);
        let control = self.control.as_ref().and_then(Control::next_deadline);
        let accept = self.has_callers.then_some(self.accept_pause);
        // What could not be written down is tried again.
        let save = (!self.is_saved).then(|| now.plus_ms(SUPERVISOR_STEP_MS));
        for due in [control, self.calls.next_deadline(), accept, save].into_iter().flatten() {
            until = until.min(due);
        }
        Duration::from_millis(until.since_ms(now))
    }

    /// Does what is to be done.
    fn work(&mut self) {
        loop {
            while let Some(deed) = self.side.keeper().poll_deed() {
                self.act(deed);
            }
            if !self.side.keeper().take_change() {
                break;
            }
            self.is_saved = false;
            self.side.handle_change(self.now);
        }
        if !self.is_saved {
            self.save();
        }
        while let Some(call) = self.side.poll_call(self.now.tick) {
            let until =
                self.calls.begin(call, self.surroundings.resolve, self.poll.registry(), self.now.tick);
            if let Err((call, error)) = until {
                self.side.handle_answer(&call, Err(error.to_string()), self.now.tick);
            }
        }
        self.dial();
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.write_link(id);
        }
        while let Some(id) = self.side.poll_closed() {
            self.links.remove(&id);
        }
        if let Some(control) = &mut self.control {
            control.end_idle(self.now.tick);
        }
    }

    fn handle_event(&mut self, event: &Event) {
        let Token(number) = event.token();
        match event.token() {
            ORDERS => {
                if let Some(orders) = &mut self.orders {
                    while matches!(orders.read(&mut [0; 64]), Ok(1..)) {}
                }
            }
            CONTROL => {
                if let Some(control) = &mut self.control {
                    control.accept(self.poll.registry(), |id| token(id, CALLER), self.now.tick);
                }
            }
            AGENTS => self.has_callers = true,
            _ if number & 3 == CHILD => self.end_child(number >> 2),
            _ if number & 3 == CALLER => self.command(number >> 2),
            _ if number & 3 == CALL => {
                if let Some((call, answer)) = self.calls.handle_event(number >> 2) {
                    self.side.handle_answer(&call, answer, self.now.tick);
                }
            }
            _ => self.handle_link(number >> 2, event),
        }
    }

    fn read(&mut self) {
        if self.now.tick >= self.accept_pause {
            self.accept_agents();
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.read_link(id);
        }
        while let Some((call, why)) = self.calls.end_late(self.now.tick) {
            self.side.handle_answer(&call, Err(why), self.now.tick);
        }
    }

    fn command(&mut self, id: usize) {
        let Some(control) = &mut self.control else { return };
        let (side, now) = (&mut self.side, self.now);
        control.handle_event(id, now.tick, |line| side.handle_command(line, now));
    }

    // -- Components -----------------------------------------------------------------------

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Terminate(name) => self.children.terminate(&name),
            Deed::Kill(name) => self.children.kill(&name),
            Deed::Start(name, component) => {
                let line = component.command_line();
                let wall = self.now.wall.0;
                let registry = self.poll.registry();
                match self.children.start(&name, &line, &self.surroundings.program, registry, wall) {
                    Ok(life) => {
                        log::info!("{name} is started, process {}", life.pid);
                        self.side.keeper().handle_start(&name, life, self.now.tick);
                        // It does nothing yet. One that nobody knew of would run beside its successor.
                        if self.save() {
                            self.children.let_go(&name);
                        } else {
                            self.children.kill(&name);
                        }
                    }
                    Err(error) => {
                        let how = format!("it cannot be started: {error}");
                        self.side.keeper().handle_end(&name, &how, self.now.tick);
                    }
                }
            }
        }
    }

    fn save(&mut self) -> bool {
        let saved = (self.surroundings.save)(self.side.memory());
        if let Err(error) = &saved {
            log::error!("what runs cannot be written down: {error}");
        }
        self.is_saved = saved.is_ok();
        self.is_saved
    }

    fn end_child(&mut self, id: usize) {
        if let Some((name, how)) = self.children.end(id) {
            self.side.keeper().handle_end(&name, &how, self.now.tick);
        }
    }

    // -- Links ------------------------------------------------------------------------------

    fn accept_agents(&mut self) {
        for _ in 0..LINK_ACCEPTS_PER_TICK {
            let Some(listener) = self.agents.as_ref().filter(|_| self.has_callers) else { return };
            match listener.accept() {
                Ok((stream, from)) => {
                    let Some(id) = self.side.accept(from, self.now) else { continue };
                    let socket = Socket::accepted(stream, self.poll.registry(), token(id, LINK));
                    self.add_link(id, from, socket);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.has_callers = false,
                Err(error) => {
                    log::debug!("an agent is not taken: {error}");
                    self.accept_pause = self.now.tick.plus_ms(ACCEPT_PAUSE_MS);
                    return;
                }
            }
        }
    }

    fn add_link(&mut self, id: usize, address: SocketAddr, socket: io::Result<Socket>) {
        match socket {
            Ok(socket) => drop(self.links.insert(id, socket)),
            Err(error) => {
                log::debug!("no link with {address}: {error}");
                self.side.handle_down(id, self.now);
            }
        }
    }

    fn dial(&mut self) {
        while let Some((id, address)) = self.side.poll_dial(self.now) {
            let socket = Socket::dial(address, self.poll.registry(), token(id, LINK));
            self.add_link(id, address, socket);
        }
    }

    fn handle_link(&mut self, id: usize, event: &Event) {
        match self.links.get_mut(&id).map(|link| link.handle_event(event)) {
            Some(Change::Up) => self.side.handle_up(id, self.now),
            Some(Change::Gone) => self.drop_link(id),
            Some(Change::None) | None => {}
        }
    }

    fn drop_link(&mut self, id: usize) {
        if self.links.remove(&id).is_some() {
            self.side.handle_down(id, self.now);
        }
    }

    fn read_link(&mut self, id: usize) {
        for _ in 0..READS_PER_TICK {
            let Some(link) = self.links.get_mut(&id) else { return };
            match link.receive(&mut self.scratch) {
                Input::Bytes(input) => self.side.handle_input(id, input, self.now),
                Input::Nothing => return,
                Input::Gone => return self.drop_link(id),
            }
        }
    }

    fn write_link(&mut self, id: usize) {
        while let Some(link) = self.links.get_mut(&id).filter(|link| link.takes_more()) {
            let output = self.side.output(id);
            if output.is_empty() {
                return;
            }
            match link.send(output) {
                Output::Sent(len) => self.side.handle_sent(id, len, self.now),
                Output::Full => return,
                Output::Gone => return self.drop_link(id),
            }
        }
    }
}
