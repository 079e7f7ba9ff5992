//! The hub: says what it did, executes what followers hand it, and waits for all of them where a
//! publisher or an operator does.

use std::collections::{HashMap, VecDeque};
use std::mem::take;
use std::sync::Arc;

use super::{
    Ask, Change, Command, Enlistment, Errand, Orders, Outcome, Progress, Report, Standing, Team, Told,
};
use crate::channel::entry::{Deed, Entry};
use crate::channel::queue::{ChannelInfo, Receipt};
use crate::error::{Refusal, Refused};
#[cfg(test)]
use crate::ids::Origin;
use crate::ids::{ChannelName, ConnId};
use crate::limits::TEAM_BYTES_MAX;
use crate::metrics::{Counters, Gauges};
use crate::session::access::Keys;
use crate::session::publisher::BatchForm;
use crate::session::route::{Door, Route};
use crate::shard::connection::{Connection, Marks, State};
use crate::shard::{Settings, Shard};
use crate::time::Now;
use crate::wire::http::request::{self, Parsed};

/// What a publisher is told once all shards have delivered.
#[derive(Debug)]
pub(in crate::shard) enum Publishing {
    One(Receipt),
    Many(BatchForm, Vec<Result<Receipt, Refused>>),
    /// A channel was created or renewed: the status, and what it is now.
    Channel(u16, ChannelInfo),
    /// A channel was closed.
    Closed,
}

impl Publishing {
    fn receipts(&mut self) -> impl Iterator<Item = &mut Receipt> {
        let (one, many) = match self {
            Publishing::One(receipt) => (Some(receipt), None),
            Publishing::Many(_, results) => (None, Some(results)),
            Publishing::Channel(..) | Publishing::Closed => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten().flatten())
    }
}

/// A publisher that waits for all shards.
#[derive(Debug)]
struct Pending {
    publisher: ConnId,
    publishing: Publishing,
    /// How many other nodes must have it besides.
    holders: usize,
    /// The group that it is in.
    group: u64,
}

impl Pending {
    fn bytes(&self) -> usize {
        let results = match &self.publishing {
            Publishing::Many(_, results) => results.len(),
            Publishing::One(_) | Publishing::Channel(..) | Publishing::Closed => 0,
        };
        size_of::<Pending>() + results * size_of::<Result<Receipt, Refused>>()
    }
}

/// How figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Form {
    Prometheus,
    Json,
}

/// What was asked of all shards, and what they have told so far.
#[derive(Debug)]
pub(in crate::shard) enum Question {
    Figures(Form, Box<(Counters, Gauges)>),
    Channel(ChannelName, Option<ChannelInfo>),
    Channels(Vec<ChannelInfo>, Option<usize>),
    /// Whether anybody waits on a channel that is to be changed, and is not known to the hub.
    Change(ChannelName, ChannelChange, bool),
}

/// What a publisher wants of a channel that is there.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) enum ChannelChange {
    Close,
    /// Perhaps with another time to live, in milliseconds.
    Renew(Option<u64>),
}

/// Someone who waits for the answers of all shards.
#[derive(Debug)]
struct Asking {
    asker: ConnId,
    question: Question,
    number: u64,
}

impl Asking {
    fn bytes(&self) -> usize {
        let channels = match &self.question {
            Question::Channels(infos, _) => infos.len(),
            Question::Figures(..) | Question::Channel(..) | Question::Change(..) => 1,
        };
        size_of::<Asking>() + channels * size_of::<(ChannelInfo, ChannelName)>()
    }
}

/// A follower, as the hub knows it.
#[derive(Debug, Default)]
struct Member {
    orders: Box<Orders>,
    /// The last group that it has delivered.
    delivered: u64,
    /// The last question that it has answered.
    told: u64,
    /// It has ended: nobody waits for it, and it takes no letters.
    over: bool,
}

/// The hub's side.
#[derive(Debug)]
pub(in crate::shard) struct Hub {
    /// By number, from 1.
    members: Vec<Member>,
    progress: Arc<Progress>,
    standing: Standing,
    /// What has been done and not delivered yet.
    group: Vec<Change>,
    /// The number of the last group.
    last_group: u64,
    /// The sizes of groups that not all have delivered, in bytes.
    sizes: VecDeque<usize>,
    bytes: usize,
    /// Publishers who wait, in the order of their groups.
    pending: VecDeque<Pending>,
    /// Those who asked, in the order of their questions.
    asking: VecDeque<Asking>,
    /// What both take, in bytes.
    waiting_bytes: usize,
    last_ask: u64,
    /// Whose errand a slot executes.
    errands: HashMap<u32, (usize, ConnId)>,
}

impl Hub {
    pub(super) fn follower_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn has_orders(&self, to: usize) -> bool {
        to.checked_sub(1).and_then(|at| self.members.get(at)).is_some_and(|member| !member.orders.is_empty())
    }

    pub(super) fn write_orders(&mut self, to: usize) -> Box<Orders> {
        let Some(member) = to.checked_sub(1).and_then(|at| self.members.get_mut(at)) else {
            return Box::default();
        };
        let fresh = Orders { last_group: member.orders.last_group, ..Orders::default() };
        let mut orders = std::mem::replace(&mut member.orders, Box::new(fresh));
        orders.news = self.progress.news();
        orders
    }

    /// The followers that have not ended.
    fn present(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().filter(|member| !member.over)
    }

    fn command(&mut self, command: &Command) {
        self.present().for_each(|member| member.orders.commands.push(command.clone()));
    }

    fn tell_standing(&mut self, standing: Standing) {
        self.progress.add_news();
        self.present().for_each(|member| member.orders.standing = Some(standing.clone()));
        self.standing = standing;
    }

    /// Notes something that the queue did.
    pub fn note(&mut self, change: Change) {
        self.group.push(change);
    }

    /// The same of an entry.
    pub fn note_entry(&mut self, entry: &Entry) {
        let mut entry = entry.clone();
        if let Deed::Publish(published) = &mut entry.deed {
            // Only the hub recognises repetitions.
            published.idempotency_key = None;
        }
        self.note(Change::Apply(entry));
    }

    /// What was noted was delivered here: so it is to be elsewhere.
    pub fn close_group(&mut self, numbered: u64) {
        if self.group.is_empty() {
            return;
        }
        let group: Arc<[Change]> = take(&mut self.group).into();
        self.progress.set_numbered(numbered);
        if group.iter().any(Change::brings_origin) {
            self.progress.add_news();
        }
        self.last_group += 1;
        let last_group = self.last_group;
        let bytes = group.iter().map(Change::bytes).sum();
        self.bytes += bytes;
        self.sizes.push_back(bytes);
        for member in self.present() {
            member.orders.groups.push(group.clone());
            member.orders.last_group = last_group;
        }
        self.settle_sizes();
    }

    /// The last group that all have delivered.
    fn delivered(&self) -> u64 {
        let present = self.members.iter().filter(|member| !member.over);
        present.map(|member| member.delivered).min().unwrap_or(self.last_group)
    }

    /// The last question that all have answered.
    fn told(&self) -> u64 {
        let present = self.members.iter().filter(|member| !member.over);
        present.map(|member| member.told).min().unwrap_or(self.last_ask)
    }

    /// Whether a follower is so far behind that it must not get more to do.
    pub fn is_congested(&self) -> bool {
        self.bytes() > TEAM_BYTES_MAX
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.waiting_bytes
    }

    /// Requests of followers that are being executed, each in a slot of its own.
    pub fn errand_count(&self) -> usize {
        self.errands.len()
    }

    /// Whether nobody waits for anything.
    #[cfg(test)]
    pub fn is_at_rest(&self) -> bool {
        let at_rest = self.pending.is_empty() && self.asking.is_empty() && self.errands.is_empty();
        at_rest && self.sizes.is_empty() && self.bytes() == 0
    }

    /// Tells of other members than there are.
    #[cfg(test)]
    pub fn pretend_members(&mut self, live: Vec<Origin>) {
        self.tell_standing(Standing { live, ..self.standing.clone() });
    }

    pub fn all_over(&self) -> bool {
        self.members.iter().all(|member| member.over)
    }

    /// Forgets the sizes of what all have delivered.
    fn settle_sizes(&mut self) {
        let behind = (self.last_group - self.delivered()) as usize;
        while self.sizes.len() > behind {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
    }
}

impl Change {
    /// Whether an origin becomes known by it, of which cursors may tell from now on.
    fn brings_origin(&self) -> bool {
        match self {
            Change::Apply(Entry { id, .. }) | Change::PassOver(id) => id.seq == 1,
            Change::Install(_) => true,
            Change::Retire(_) => false,
        }
    }

    fn bytes(&self) -> usize {
        let body = match self {
            Change::Apply(Entry { deed: Deed::Publish(published), .. }) => published.body.embedded_bytes(),
            Change::Install(staged) => staged.bytes(),
            Change::Apply(_) | Change::PassOver(_) | Change::Retire(_) => 0,
        };
        size_of::<Change>() + body
    }
}

// -- The team --------------------------------------------------------------------------

impl Shard {
    /// Becomes the hub of so many followers; tells what each is to be made with. To be called before
    /// there is any connection. They are `ready` at once if the node is to have no peers.
    pub fn lead(&mut self, followers: usize, ready: bool) -> Enlistment {
        self.queue.set_replicated(true);
        let progress = Arc::new(Progress::default());
        let standing = Standing { ready, settled: ready, live: Vec::new() };
        let members = std::iter::repeat_with(Member::default).take(followers).collect();
        let enlistment = Enlistment {
            origin: self.origin(),
            progress: progress.clone(),
            polls: self.polls.clone(),
            standing: standing.clone(),
        };
        self.team = Some(Team::Hub(Box::new(Hub {
            members,
            progress,
            standing,
            group: Vec::new(),
            last_group: 0,
            sizes: VecDeque::new(),
            bytes: 0,
            pending: VecDeque::new(),
            asking: VecDeque::new(),
            waiting_bytes: 0,
            last_ask: 0,
            errands: HashMap::new(),
        })));
        enlistment
    }

    fn standing(&self) -> Standing {
        let live = self.links.as_ref().map_or_else(Vec::new, |links| links.cluster.live_origins());
        Standing { ready: self.is_ready(), settled: self.is_settled(), live }
    }

    /// Tells the followers of the cluster what has changed.
    pub(in crate::shard) fn tell_standing(&mut self) {
        let standing = self.standing();
        if let Some(hub) = self.hub().filter(|hub| hub.standing != standing) {
            hub.tell_standing(standing);
        }
    }

    /// Has the followers begin the end too.
    pub(in crate::shard) fn drain_followers(&mut self, drain_ms: u64) {
        if let Some(hub) = self.hub() {
            hub.command(&Command::Drain(drain_ms));
        }
    }

    /// Has the followers take new settings too.
    pub(in crate::shard) fn reconfigure_followers(&mut self, settings: &Settings, keys: &Arc<Keys>) {
        if let Some(hub) = self.hub() {
            hub.command(&Command::Reconfigure(Box::new(settings.clone()), keys.clone()));
        }
    }

    /// Whether what other nodes say should be read now: not while a follower is so far behind that
    /// it would only gather. If not, it stays in the sockets, which is the back-pressure.
    pub fn wants_links(&self) -> bool {
        !matches!(&self.team, Some(Team::Hub(hub)) if hub.is_congested())
    }

    /// Whether all followers have ended.
    pub fn followers_over(&self) -> bool {
        match &self.team {
            Some(Team::Hub(hub)) => hub.all_over(),
            Some(Team::Follower(_)) | None => true,
        }
    }

    pub(super) fn handle_report(&mut self, from: usize, report: Report, now: Now) {
        let Some(hub) = self.hub() else { return };
        let Some(member) = from.checked_sub(1).and_then(|at| hub.members.get_mut(at)) else { return };
        member.delivered = report.last_group;
        member.told = report.told.last().map_or(member.told, |(number, _)| *number);
        if report.over {
            member.over = true;
            *member.orders = Orders::default();
        }
        hub.settle_sizes();
        for (seq, count) in report.woken {
            hub.count_woken(seq, count);
        }
        for (number, told) in report.told {
            hub.take_told(number, told);
        }
        let (done, answered) = hub.take_done();
        for Pending { publisher, publishing, holders, .. } in done {
            if let Some(index) = self.acking(publisher)
                && self.reply_published(index, &publishing, holders, now)
            {
                self.end_waiting(index, now);
            }
        }
        for Asking { asker, question, .. } in answered {
            if let Some(index) = self.acking(asker)
                && self.reply_asked(index, question, now)
            {
                self.end_waiting(index, now);
            }
        }
        for errand in report.errands {
            self.execute_errand(from, errand, now);
        }
    }

    /// The slot of whoever waits for a reply, if it still does.
    fn acking(&self, id: ConnId) -> Option<u32> {
        self.find(id).filter(|index| self.slot(*index).state == State::Acking)
    }
}

impl Hub {
    /// Held polls of a follower that an entry has woken.
    fn count_woken(&mut self, seq: u64, count: usize) {
        // Nearly always it is the first's.
        for pending in &mut self.pending {
            if let Some(receipt) =
                pending.publishing.receipts().find(|receipt| receipt.id.seq == seq && !receipt.duplicate)
            {
                receipt.subscribers += count;
                return;
            }
        }
    }

    /// Those who need not wait any more.
    fn take_done(&mut self) -> (Vec<Pending>, Vec<Asking>) {
        let (delivered, told) = (self.delivered(), self.told());
        let count = self.pending.partition_point(|pending| pending.group <= delivered);
        let done: Vec<Pending> = self.pending.drain(..count).collect();
        let count = self.asking.partition_point(|asking| asking.number <= told);
        let answered: Vec<Asking> = self.asking.drain(..count).collect();
        self.waiting_bytes -= done.iter().map(Pending::bytes).sum::<usize>();
        self.waiting_bytes -= answered.iter().map(Asking::bytes).sum::<usize>();
        (done, answered)
    }

    fn take_told(&mut self, number: u64, told: Told) {
        let Some(asking) = self.asking.iter_mut().find(|asking| asking.number == number) else { return };
        match (&mut asking.question, told) {
            (Question::Figures(_, sum), Told::Figures(figures)) => {
                sum.0.add(&figures.0);
                sum.1.add(&figures.1);
            }
            (Question::Channel(_, known), Told::Channels(told)) => {
                for info in told.into_iter().flatten() {
                    match known {
                        Some(known) => known.subscribers += info.subscribers,
                        None => *known = Some(info),
                    }
                }
            }
            (Question::Channels(known, _), Told::Channels(told)) => {
                for (known, info) in known.iter_mut().zip(told) {
                    known.subscribers += info.map_or(0, |info| info.subscribers);
                }
            }
            (Question::Change(_, _, known), Told::Channels(told)) => {
                *known |= told.iter().any(Option::is_some);
            }
            (Question::Figures(..), Told::Channels(_))
            | (Question::Channel(..) | Question::Channels(..) | Question::Change(..), Told::Figures(_)) => {}
        }
    }
}

// -- Waiting for all -------------------------------------------------------------------

impl Shard {
    /// Replies to a publication once all shards have delivered it: at once if nothing was to be
    /// delivered, as for a repetition, or all is. Tells whether it did.
    pub(in crate::shard) fn reply_when_delivered(
        &mut self,
        index: u32,
        publishing: Publishing,
        holders: usize,
        now: Now,
    ) -> bool {
        let publisher = self.id(index);
        let Some(hub) = self.hub().filter(|hub| hub.delivered() < hub.last_group) else {
            return self.reply_published(index, &publishing, holders, now);
        };
        let pending = Pending { publisher, publishing, holders, group: hub.last_group };
        hub.waiting_bytes += pending.bytes();
        hub.pending.push_back(pending);
        self.wait_for_shards(index);
        false
    }

    /// Replies once all shards have answered.
    pub(in crate::shard) fn reply_when_told(&mut self, index: u32, question: Question, now: Now) {
        let asker = self.id(index);
        let ask = match &question {
            Question::Figures(..) => Ask::Figures,
            Question::Channel(name, _) | Question::Change(name, ..) => Ask::Channels([name.clone()].into()),
            Question::Channels(infos, _) => {
                Ask::Channels(infos.iter().map(|info| info.name.clone()).collect())
            }
        };
        let Some(hub) = self.hub().filter(|hub| !hub.all_over()) else {
            self.reply_asked(index, question, now);
            return;
        };
        hub.last_ask += 1;
        let number = hub.last_ask;
        hub.present().for_each(|member| member.orders.asks.push((number, ask.clone())));
        let asking = Asking { asker, question, number };
        hub.waiting_bytes += asking.bytes();
        hub.asking.push_back(asking);
        self.wait_for_shards(index);
    }

    /// It takes as long as the slowest shard's tick; nobody is judged for it.
    fn wait_for_shards(&mut self, index: u32) {
        self.slot_mut(index).state = State::Acking;
        self.timers.clear(&mut self.connections, index);
    }
}

// -- Errands ---------------------------------------------------------------------------

impl Shard {
    /// Executes a follower's request in a slot of its own, which lives until there is an answer.
    fn execute_errand(&mut self, from: usize, errand: Errand, now: Now) {
        let Errand { conn, request, head_len } = errand;
        let (head, body) = request.split_at(head_len.min(request.len()));
        let Ok(Parsed::Complete { head, .. }) = request::parse(head) else { return };
        self.generation = (self.generation + 1) % u32::MAX;
        let slot = Connection::new(self.generation, Door::Publisher);
        let index = self.connections.insert(slot) as u32;
        if let Some(hub) = self.hub() {
            hub.errands.insert(index, (from, conn));
        }
        self.begin_request(index, &head);
        let result = match Route::find(Door::Publisher, head.path) {
            Some(route) => self.execute_route(index, route, &head, body, now),
            None => Err(Refusal::NotFound.into()),
        };
        if let Err(refused) = result {
            self.refuse_route(index, &head, &refused, now);
        }
        if self.slot(index).state != State::Acking {
            self.finish_errand(index);
        }
    }

    /// Sends a follower what its errand came to, if that is what this slot is for.
    pub(in crate::shard) fn finish_errand(&mut self, index: u32) -> bool {
        let Some((to, conn)) = self.hub().and_then(|hub| hub.errands.remove(&index)) else { return false };
        self.stash_output();
        let closes = self.slot(index).marks.has(Marks::CLOSE);
        let response = take(&mut self.side_mut(index).outbox);
        self.recount_side(index);
        self.drop_side(index);
        self.timers.clear(&mut self.connections, index);
        self.connections.remove(index as usize);
        let outcome = Outcome { conn, response, closes };
        let member = self.hub().and_then(|hub| hub.members.get_mut(to - 1));
        if let Some(member) = member.filter(|member| !member.over) {
            member.orders.outcomes.push(outcome);
        }
        true
    }
}
