//! Links to front-ends: called until they answer, and again when they are lost.

use std::net::SocketAddr;

use super::Backend;
use crate::limits::{BACKEND_SILENT_MS, DIAL_MS_MAX, DIAL_MS_MIN, LINK_DIAL_MS, LINK_ENDING_MS};
use crate::time::{Now, Tick};
use crate::wire::frame::handshake::{Purpose, Role};
use crate::wire::frame::link::{Came, Link};
use crate::wire::frame::message::Bye;
use crate::wire::frame::task::{Edition, Prepare, Run as RunMeta, parse_of_run};
use crate::wire::frame::{Frame, Kind};

/// A front-end that is to be reached.
#[derive(Debug)]
pub(super) struct Front {
    address: SocketAddr,
    pub link: Option<Link>,
    /// The connection is being made.
    dialing: Option<Tick>,
    next_dial: Tick,
    failures: u32,
    /// How often it was told that this back-end drains, and has not said that it knows.
    pub asked: u32,
}

impl Front {
    pub fn new(address: SocketAddr, now: Tick) -> Front {
        Front { address, link: None, dialing: None, next_dial: now, failures: 0, asked: 0 }
    }

    /// Whether nothing of it is on its way here, and nothing on its way to it.
    pub fn is_drained(&self) -> bool {
        let is_up = self.link.as_ref().is_some_and(|link| link.peer().is_some());
        self.asked == 0 || !is_up
    }

    /// When something of it is due.
    pub fn deadline(&self) -> Tick {
        match (&self.link, self.dialing) {
            (Some(link), _) if link.peer().is_some() => link.heard.plus_ms(BACKEND_SILENT_MS),
            (Some(link), _) => link.until,
            (None, Some(until)) => until,
            (None, None) => self.next_dial,
        }
    }
}

impl Backend {
    /// The next front-end to connect to; its fate is told by [`Backend::handle_up`] or [`Backend::handle_down`].
    pub fn poll_dial(&mut self, now: Now) -> Option<(usize, SocketAddr)> {
        let is_due =
            |front: &Front| front.link.is_none() && front.dialing.is_none() && now.tick >= front.next_dial;
        let at = self.fronts.iter().position(is_due)?;
        let front = self.fronts.get_mut(at)?;
        front.dialing = Some(now.tick.plus_ms(LINK_DIAL_MS));
        Some((at, front.address))
    }

    /// The connection stands.
    pub fn handle_up(&mut self, at: usize, now: Now) {
        let link = self.setup.identity.link(Purpose::Work, Role::Dialer, &mut self.random, now.tick);
        let Some(front) = self.fronts.get_mut(at) else { return };
        front.dialing = None;
        front.asked = 0;
        front.link = Some(link);
    }

    /// The connection failed or ended.
    pub fn handle_down(&mut self, at: usize, now: Now) {
        let jitter = self.random.next_u64();
        let Some(front) = self.fronts.get_mut(at) else { return };
        if front.link.take().is_some_and(|link| link.peer().is_some()) {
            ::log::warn!("front-end {} is lost", front.address);
            front.failures = 0;
        }
        front.dialing = None;
        let wait = (DIAL_MS_MIN << front.failures.min(10)).min(DIAL_MS_MAX);
        front.failures = front.failures.saturating_add(1);
        front.next_dial = now.tick.plus_ms(wait / 2 + jitter % (wait / 2 + 1));
        self.cancel_runs_of(at, now);
    }

    /// Bytes of a front-end.
    pub fn handle_input(&mut self, at: usize, input: &[u8], now: Now) {
        let Some(link) = self.fronts.get_mut(at).and_then(|front| front.link.as_mut()) else { return };
        let bytes = link.begin_input(input, now.tick);
        let mut used = 0;
        loop {
            let Some(link) = self.fronts.get_mut(at).and_then(|front| front.link.as_mut()) else { return };
            match link.next(bytes.get(used..).unwrap_or_default()) {
                Ok(None) => break,
                Ok(Some((came, len))) => {
                    used += len;
                    match came {
                        Some(Came::Frame(frame)) => self.handle_frame(at, &frame, now),
                        Some(Came::Up(node)) => self.handle_front(at, &node),
                        None => {}
                    }
                }
                Err(why) => {
                    self.end(at, &why, now);
                    break;
                }
            }
        }
        if let Some(link) = self.fronts.get_mut(at).and_then(|front| front.link.as_mut()) {
            link.keep(bytes, used);
        }
    }

    fn handle_front(&mut self, at: usize, node: &crate::ids::NodeId) {
        let register = self.register();
        let Some(front) = self.fronts.get_mut(at) else { return };
        ::log::info!("joined front-end {node} ({})", front.address);
        front.failures = 0;
        if let Some(link) = &mut front.link {
            register.write(&mut link.out);
            front.asked += u32::from(register.draining);
        }
    }

    fn end(&mut self, at: usize, why: &str, now: Now) {
        let Some(front) = self.fronts.get_mut(at) else { return };
        ::log::warn!("link to front-end {} ends: {why}", front.address);
        if let Some(link) = &mut front.link {
            link.end(why, now.tick.plus_ms(LINK_ENDING_MS));
        }
        self.cancel_runs_of(at, now);
    }

    fn handle_frame(&mut self, at: usize, frame: &Frame, now: Now) {
        let done = match frame.kind {
            Kind::RUN => RunMeta::parse(frame.meta).and_then(|run| self.begin_run(at, run, frame.body, now)),
            Kind::CREDIT => {
                parse_of_run(frame.meta).map(|(run, bytes)| self.take_credit((at, run), bytes, now))
            }
            Kind::CANCEL => parse_of_run(frame.meta).map(|(run, _)| self.cancel((at, run), now)),
            Kind::PREPARE => Prepare::parse(frame.meta).map(|prepare| self.prepare(at, prepare, now)),
            Kind::DROP => Edition::parse(frame.meta).map(|edition| self.drop_edition(at, &edition, now)),
            Kind::DRAINED => {
                if let Some(front) = self.fronts.get_mut(at) {
                    front.asked = front.asked.saturating_sub(1);
                }
                Ok(())
            }
            Kind::BYE => {
                let reason = Bye::parse(frame.meta).map_or(String::new(), |bye| bye.reason);
                ::log::warn!("a front-end ends the link: {reason}");
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(why) = done {
            self.end(at, &why.to_string(), now);
        }
    }

    /// Where frames for a front-end are written.
    pub(super) fn out(&mut self, at: usize) -> Option<&mut Vec<u8>> {
        let link = self.fronts.get_mut(at)?.link.as_mut()?;
        link.peer().is_some().then_some(&mut link.out)
    }

    /// What a link has to send; empty for nothing.
    pub fn output(&self, at: usize) -> &[u8] {
        let link = self.fronts.get(at).and_then(|front| front.link.as_ref());
        link.map_or(&[], Link::output)
    }

    /// So much of it went by.
    pub fn handle_sent(&mut self, at: usize, len: usize, now: Now) {
        let Some(link) = self.fronts.get_mut(at).and_then(|front| front.link.as_mut()) else { return };
        link.handle_sent(len);
        if link.is_ending() && link.output().is_empty() {
            self.close(at, now);
        }
    }

    fn close(&mut self, at: usize, now: Now) {
        self.closed.push_back(at);
        self.handle_down(at, now);
    }

    /// The next link whose socket is to be closed.
    pub fn poll_closed(&mut self) -> Option<usize> {
        self.closed.pop_front()
    }

    pub(super) fn judge_fronts(&mut self, now: Now) {
        for at in 0..self.fronts.len() {
            let is_late = |front: &&Front| {
                (front.link.is_some() || front.dialing.is_some()) && now.tick >= front.deadline()
            };
            if self.fronts.get(at).as_ref().is_some_and(is_late) {
                self.close(at, now);
            }
        }
    }
}
