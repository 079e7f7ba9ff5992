//! Links to back-ends, from their first byte to their end.

use std::net::SocketAddr;

use super::{Backend, Frontend};
use crate::ids::LinkId;
use crate::limits::{
    BACKEND_OUTPUT_BYTES_MAX, BACKEND_PING_MS, BACKEND_SILENT_MS, BACKENDS_MAX, LINK_ENDING_MS,
    LINKS_UNPROVEN_MAX, SCATTER_STEP_MS,
};
use crate::time::{Now, Tick};
use crate::wire::frame::handshake::{Purpose, Role};
use crate::wire::frame::link::Came;
use crate::wire::frame::task::{Prepared, Register};
use crate::wire::frame::{Frame, Kind, encode};

impl Frontend {
    /// A back-end connected; `None` if too many are.
    pub fn accept(&mut self, from: SocketAddr, now: Now) -> Option<LinkId> {
        let strangers = self.backends.iter().filter(|(_, backend)| backend.link.peer().is_none());
        let oldest = strangers.clone().min_by_key(|(_, backend)| (backend.link.until, backend.generation));
        if strangers.count() >= LINKS_UNPROVEN_MAX || self.backends.len() >= BACKENDS_MAX {
            // Whoever holds a place without a word must not keep those out who belong here.
            let Some((index, backend)) = oldest else {
                ::log::warn!("back-end {from} is refused: there are too many links");
                return None;
            };
            let oldest = LinkId { index: index as u32, generation: backend.generation };
            self.close(oldest, now);
        }
        self.generation = self.generation.wrapping_add(1);
        let link = self.setup.identity.link(Purpose::Work, Role::Acceptor, &mut self.random, now.tick);
        let index = self.backends.insert(Backend {
            generation: self.generation,
            address: from,
            link,
            register: None,
            runs: std::collections::HashMap::new(),
            next_run: 0,
            listed: false,
        });
        let id = LinkId { index: index as u32, generation: self.generation };
        self.list(id);
        Some(id)
    }

    pub(super) fn backend(&mut self, id: LinkId) -> Option<&mut Backend> {
        self.backends.get_mut(id.index as usize).filter(|backend| backend.generation == id.generation)
    }

    pub(super) fn backend_ids(&self) -> impl Iterator<Item = LinkId> + use<'_> {
        let id = |(index, backend): (usize, &Backend)| LinkId {
            index: index as u32,
            generation: backend.generation,
        };
        self.backends.iter().filter(|(_, backend)| backend.register.is_some()).map(id)
    }

    /// Bytes of a back-end. Whatever they are, they cost this link at most.
    pub fn handle_input(&mut self, id: LinkId, input: &[u8], now: Now) {
        let Some(backend) = self.backend(id) else { return };
        let bytes = backend.link.begin_input(input, now.tick);
        let mut used = 0;
        loop {
            let Some(backend) = self.backend(id) else { return };
            match backend.link.next(bytes.get(used..).unwrap_or_default()) {
                Ok(None) => break,
                Ok(Some((came, len))) => {
                    used += len;
                    match came {
                        Some(Came::Frame(frame)) => self.handle_frame(id, &frame, now),
                        Some(Came::Up(node)) => {
                            ::log::info!("back-end {node} ({}) has come", backend.address)
                        }
                        None => {}
                    }
                }
                Err(why) => {
                    self.end(id, &why, now);
                    break;
                }
            }
        }
        if let Some(backend) = self.backend(id) {
            backend.link.keep(bytes, used);
        }
        self.cut_if_deaf(id, now);
        self.list(id);
    }

    /// Whoever makes the front-end speak and does not listen would fill its memory.
    fn cut_if_deaf(&mut self, id: LinkId, now: Now) {
        let Some(backend) = self.backend(id) else { return };
        if backend.link.output().len() > BACKEND_OUTPUT_BYTES_MAX {
            ::log::warn!("back-end {} does not read what it is told", backend.address);
            self.close(id, now);
        }
    }

    fn handle_frame(&mut self, id: LinkId, frame: &Frame, now: Now) {
        match frame.kind {
            Kind::REGISTER => match Register::parse(frame.meta) {
                Ok(register) => self.register(id, register, now),
                Err(why) => self.end(id, &why.to_string(), now),
            },
            Kind::PREPARED => match Prepared::parse(frame.meta) {
                Ok(prepared) => self.handle_prepared(id, prepared, now),
                Err(why) => self.end(id, &why.to_string(), now),
            },
            Kind::BYE => self.close(id, now),
            _ => {
                if let Err(why) = self.handle_result(id, frame, now) {
                    self.end(id, &why, now);
                }
            }
        }
    }

    fn register(&mut self, id: LinkId, register: Register, now: Now) {
        let Some(backend) = self.backend(id) else { return };
        let known = backend.register.replace(register.clone());
        if register.draining {
            encode(Kind::DRAINED, 0, b"{}", &[], &mut backend.link.out);
        }
        if known.is_none_or(|known| known.programs != register.programs) {
            self.prepare_all(id);
        }
        self.assign(now);
    }

    /// Ends a link with a reason that the back-end is told.
    pub(super) fn end(&mut self, id: LinkId, reason: &str, now: Now) {
        let Some(backend) = self.backend(id) else { return };
        ::log::warn!("link to back-end {} ends: {reason}", backend.address);
        backend.link.end(reason, now.tick.plus_ms(LINK_ENDING_MS));
        backend.register = None;
        self.lose_runs(id, now);
        self.list(id);
    }

    fn close(&mut self, id: LinkId, now: Now) {
        if self.backend(id).is_some() {
            self.handle_down(id, now);
            self.closed.push(id);
        }
    }

    /// A connection broke or ended.
    pub fn handle_down(&mut self, id: LinkId, now: Now) {
        let Some(backend) = self.backend(id) else { return };
        if let Some(node) = backend.link.peer() {
            ::log::warn!(
                "back-end {node} ({}) is gone with {} sub-tasks",
                backend.address,
                backend.runs.len()
            );
        }
        backend.register = None;
        self.lose_runs(id, now);
        self.backends.remove(id.index as usize);
    }

    fn lose_runs(&mut self, id: LinkId, now: Now) {
        self.forget_preparing(id, now);
        let Some(backend) = self.backend(id) else { return };
        let runs = std::mem::take(&mut backend.runs);
        for (run, running) in runs {
            self.take_loss(id, run, &running);
        }
        self.assign(now);
    }

    // -- Output -------------------------------------------------------------------------

    pub(super) fn list(&mut self, id: LinkId) {
        let Some(backend) = self.backend(id) else { return };
        if !backend.listed && !backend.link.output().is_empty() {
            backend.listed = true;
            self.listed.push_back(id);
        }
    }

    /// The next link that has something to send since it was last asked for.
    pub fn poll_listed(&mut self) -> Option<LinkId> {
        loop {
            let id = self.listed.pop_front()?;
            if let Some(backend) = self.backend(id) {
                backend.listed = false;
                return Some(id);
            }
        }
    }

    /// What a link has to send; empty for nothing.
    pub fn output(&mut self, id: LinkId) -> &[u8] {
        self.backend(id).map_or(&[], |backend| backend.link.output())
    }

    /// So much of it went by.
    pub fn handle_sent(&mut self, id: LinkId, len: usize, now: Now) {
        let Some(backend) = self.backend(id) else { return };
        backend.link.handle_sent(len);
        if backend.link.is_ending() && backend.link.output().is_empty() {
            self.close(id, now);
        }
    }

    /// The next link whose socket is to be closed.
    pub fn poll_closed(&mut self) -> Option<LinkId> {
        self.closed.pop()
    }

    // -- Time ---------------------------------------------------------------------------

    /// When [`Frontend::handle_time`] is wanted; never while there is nobody and nothing.
    pub fn next_deadline(&self) -> Option<Tick> {
        let rests = self.backends.is_empty() && self.jobs.is_empty() && self.preparing.is_empty();
        (!rests).then_some(self.next_step)
    }

    /// Sees to what is late.
    pub fn handle_time(&mut self, now: Now) {
        if now.tick < self.next_step {
            return;
        }
        self.next_step = now.tick.plus_ms(SCATTER_STEP_MS);
        let pings = now.tick >= self.next_ping;
        if pings {
            self.next_ping = now.tick.plus_ms(BACKEND_PING_MS);
        }
        let ids: Vec<LinkId> = self
            .backends
            .iter()
            .map(|(index, backend)| LinkId { index: index as u32, generation: backend.generation })
            .collect();
        for id in ids {
            let Some(backend) = self.backend(id) else { continue };
            let link = &mut backend.link;
            let up = link.peer().is_some();
            if !up && now.tick >= link.until || up && now.tick.since_ms(link.heard) >= BACKEND_SILENT_MS {
                self.close(id, now);
            } else if up && pings {
                encode(Kind::PING, 0, b"{}", &[], &mut link.out);
                self.list(id);
            }
        }
        self.judge_preparing(now);
        self.judge_jobs(now);
        self.assign(now);
    }
}
