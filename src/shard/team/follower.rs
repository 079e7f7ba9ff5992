//! A follower: does what the hub did, and hands it what concerns the node as a whole.

use std::sync::Arc;

use super::{
    Ask, Change, Command, Enlistment, Errand, Orders, Outcome, Progress, Report, Standing, Team, Told,
};
use crate::channel::queue::{Applied, Fates, Lookup};
use crate::error::{Refusal, Refused};
use crate::ids::{ChannelName, Origin};
use crate::limits::{EXPIRY_PATIENCE_MS, TEAM_BYTES_MAX};
use crate::session::access::Keys;
use crate::shard::connection::{Marks, State};
use crate::shard::{Settings, Shard};
use crate::time::Now;
use crate::wire::http::request::RequestHead;

/// A follower's side.
#[derive(Debug)]
pub(in crate::shard) struct Follower {
    origin: Origin,
    progress: Arc<Progress>,
    standing: Standing,
    /// How far it has been told of [`Progress::news`].
    news: u64,
    report: Box<Report>,
    /// What the errands in it take, in bytes.
    bytes: usize,
}

impl Follower {
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The last number of the node's log, which may not have come here yet.
    pub fn numbered(&self) -> u64 {
        self.progress.numbered()
    }

    pub fn is_ready(&self) -> bool {
        self.standing.ready
    }

    /// Not while the hub knows of origins of which this shard has not been told.
    pub fn is_settled(&self) -> bool {
        self.standing.settled && self.news == self.progress.news()
    }

    pub fn expects(&self, origin: Origin) -> bool {
        self.standing.live.contains(&origin)
    }

    pub(super) fn has_report(&self) -> bool {
        self.report.is_due
    }

    pub(super) fn write_report(&mut self) -> Box<Report> {
        let fresh = Report { last_group: self.report.last_group, ..Report::default() };
        self.bytes = 0;
        std::mem::replace(&mut self.report, Box::new(fresh))
    }

    /// What its letter takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Shard {
    /// A shard that follows a hub. `own` is an origin that nothing is ever numbered with.
    pub fn follow(
        settings: Settings,
        keys: Arc<Keys>,
        enlistment: Enlistment,
        own: Origin,
        now: Now,
    ) -> Shard {
        let Enlistment { origin, progress, polls, standing } = enlistment;
        let mut shard = Shard::new(settings, keys, own, 0, now);
        shard.queue.set_replicated(true);
        shard.share_polls(polls);
        let follower = Follower { origin, progress, standing, news: 0, report: Box::default(), bytes: 0 };
        shard.team = Some(Team::Follower(Box::new(follower)));
        shard
    }

    pub(super) fn handle_orders(&mut self, orders: Orders, now: Now) {
        for command in orders.commands {
            match command {
                Command::Drain(ms) => self.begin_drain(ms, now),
                Command::Reconfigure(settings, keys) => self.reconfigure(*settings, keys),
            }
        }
        if let (Some(standing), Some(follower)) = (orders.standing, self.follower()) {
            follower.standing = standing;
        }
        for group in &orders.groups {
            self.do_as_the_hub(group, now);
        }
        let told: Vec<_> =
            orders.asks.into_iter().map(|(number, ask)| (number, self.tell(ask, now))).collect();
        if let Some(follower) = self.follower() {
            follower.report.is_due |= !orders.groups.is_empty() || !told.is_empty();
            follower.report.last_group = orders.last_group;
            follower.news = orders.news;
            follower.report.told.extend(told);
        }
        for outcome in orders.outcomes {
            self.answer_errand(outcome, now);
        }
    }

    /// Does what the hub did and delivered at once.
    fn do_as_the_hub(&mut self, group: &[Change], now: Now) {
        let Some(origin) = self.follower().map(|follower| follower.origin) else { return };
        let before = self.counters.deliveries;
        let mut woken = Vec::new();
        for change in group {
            match change {
                Change::Apply(entry) => {
                    let id = entry.id;
                    let applied = self.queue.apply(entry.clone(), now);
                    if let Applied::Message(Fates { subscribers: subscribers @ 1.., .. }) = applied
                        && id.origin == origin
                    {
                        woken.push((id.seq, subscribers));
                    }
                }
                Change::PassOver(id) => self.queue.pass_over(*id),
                Change::Install(staged) => {
                    self.deliver(now);
                    self.queue.install(staged, now);
                    self.deliver(now);
                }
                Change::Retire(retired) => self.queue.retire_again(retired),
            }
        }
        self.deliver(now);
        if let ([Change::Apply(_)], [(_, only)]) = (group, woken.as_mut_slice()) {
            // Not all who wait there are woken: some wait for another time.
            *only = (self.counters.deliveries - before) as usize;
        }
        if let Some(follower) = self.follower() {
            follower.report.woken.append(&mut woken);
        }
        self.relieve(0);
    }

    fn tell(&self, ask: Ask, now: Now) -> Told {
        match ask {
            Ask::Figures => {
                let mut gauges = self.gauges(now);
                // Messages are shared with the hub, which counts them.
                gauges.memory_bytes = gauges.memory_bytes.saturating_sub(gauges.cached_bytes);
                Told::Figures(Box::new((self.counters.clone(), gauges)))
            }
            Ask::Channels(names) => {
                let info = |name: &ChannelName| match self.queue.find(name.as_str()) {
                    Lookup::Open(ix) => self.queue.info(ix, now),
                    Lookup::Closed | Lookup::Unknown => None,
                };
                Told::Channels(names.iter().map(info).collect())
            }
        }
    }

    /// Hands a request to the hub; the connection waits for its outcome. Refuses it if the hub has not
    /// even taken what it was handed before, whose clients may be gone.
    pub(in crate::shard) fn send_errand(
        &mut self,
        index: u32,
        head: &RequestHead,
        body: &[u8],
    ) -> Result<(), Refused> {
        let conn = self.id(index);
        let bytes = size_of::<Errand>() + head.raw.len() + body.len();
        if let Some(follower) = self.follower() {
            if follower.bytes > 0 && follower.bytes + bytes > TEAM_BYTES_MAX {
                return Err(Refusal::Overloaded.into());
            }
            follower.bytes += bytes;
        }
        let request = [head.raw, body].concat().into_boxed_slice();
        let errand = Errand { conn, request, head_len: head.raw.len() };
        self.slot_mut(index).state = State::Acking;
        if let Some(follower) = self.follower() {
            follower.report.errands.push(errand);
            follower.report.is_due = true;
        }
        Ok(())
    }

    fn answer_errand(&mut self, outcome: Outcome, now: Now) {
        let Outcome { conn, response, closes } = outcome;
        let waits = |index: &u32| self.slot(*index).state == State::Acking;
        // Whoever asked may be gone.
        let Some(index) = self.find(conn).filter(waits) else { return };
        self.begin_output(index);
        self.out.extend_from_slice(&response);
        if closes {
            self.slot_mut(index).marks.set(Marks::CLOSE);
        }
        self.end_waiting(index, now);
    }

    /// Created channels whose time is over: the hub closes them.
    pub(in crate::shard) fn leave_expiry_to_the_hub(&mut self, now: Now) {
        for overdue in self.queue.take_overdue() {
            self.queue.postpone_expiry(overdue.name.as_str(), EXPIRY_PATIENCE_MS, now);
        }
    }

    /// The follower's sockets are closed: the hub need not wait for it.
    pub fn say_over(&mut self) {
        if let Some(follower) = self.follower() {
            follower.report.over = true;
            follower.report.is_due = true;
        }
    }
}
