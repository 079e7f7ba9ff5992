//! Polls: answered at once, or held until there is something to say.
//!
//! A *plain* poll waits on one channel, without conditions; whatever is published there is
//! its answer, the same bytes for all who wait. A *wide* poll waits on several channels, or
//! with a time range or a limit, and is read for by itself.

use smallvec::SmallVec;

use super::Shard;
use super::connection::{Marks, State};
use super::output::{JSON, Reply};
use super::timers::Class;
use crate::channel::history::{Reading, Wanted};
use crate::channel::queue::{ChannelIx, Closed, Lookup};
use crate::channel::subscription::Subscriber;
use crate::cursor::VersionVector;
use crate::error::{Refusal, Refused};
use crate::ids::ChannelName;
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_MESSAGES_MAX};
use crate::session::answer::{self, Notices};
use crate::session::subscriber::{After, Poll, with_jitter};
use crate::time::{Now, Timestamp};
use crate::wire::http::request::{Method, RequestHead};

/// A held poll that needs more than a slot.
#[derive(Debug)]
pub(super) struct WidePoll {
    /// Its channels, in the order it named them.
    places: Vec<Place>,
    /// What it has examined.
    after: VersionVector,
    since: Timestamp,
    until: Timestamp,
    limit: usize,
    /// What it takes, in bytes.
    bytes: usize,
}

/// One channel of a wide poll.
#[derive(Clone, Debug)]
struct Place {
    name: ChannelName,
    ix: ChannelIx,
    /// Its position among the channel's subscribers; `None` while it was taken out.
    position: Option<u32>,
}

/// A channel that a poll names, and what that name stands for now.
struct Target<'a> {
    name: &'a str,
    lookup: Lookup,
}

type Targets<'a> = SmallVec<[Target<'a>; 1]>;

impl Target<'_> {
    fn place(&self) -> Option<ChannelIx> {
        match self.lookup {
            Lookup::Open(ix) => Some(ix),
            Lookup::Closed | Lookup::Unknown => None,
        }
    }
}

/// What a poll's cursor comes to.
struct Start {
    after: Option<VersionVector>,
    reset: bool,
}

// -- A poll arrives ----------------------------------------------------------------

impl Shard {
    /// Answers a poll from the cache, or holds it.
    pub(super) fn execute_poll(
        &mut self,
        index: u32,
        segment: &str,
        head: &RequestHead,
        now: Now,
    ) -> Result<(), Refused> {
        self.counters.polls += 1;
        self.charge_poll(index)?;
        let grant = self.keys.admit_subscriber(head, now.wall)?;
        let poll = Poll::parse(segment, head, self.settings.timeouts)?;
        if let Some(grant) = grant {
            let denied = poll.names().find(|name| !grant.allows(name));
            denied.map_or(Ok(()), |name| {
                Err(Refused::because(Refusal::Forbidden, format!("The token does not allow \"{name}\".")))
            })?;
        }
        if poll.prefer_applied {
            self.slot_mut(index).marks.set(Marks::PREFER);
        }
        let targets = self.find_targets(index, &poll);
        let names: SmallVec<[&str; 1]> = targets.iter().map(|target| target.name).collect();
        let closed = self.check_targets(&targets)?;
        let start = self.start_of(&poll.after)?;
        let reading = self.read_for(&targets, &start, &poll, now);
        let notices = Notices { gap: reading.gap, reset: start.reset, closed: &closed };
        let news = is_news(&reading, start.after.as_ref()) || start.reset || !closed.is_empty();
        if news || poll.timeout_s == 0 || head.method == Method::Head || self.holds_no_more(now) {
            let bytes: usize =
                reading.messages.iter().map(|carried| carried.message.body.embedded_bytes()).sum();
            self.make_room(bytes)?;
            self.answer_now(index, &reading, &names, notices, now);
            Ok(())
        } else {
            self.hold(index, &poll, &targets, reading, now)
        }
    }

    /// What a poll's names stand for now. A client that comes back for more is found at
    /// the channel that it was at before, without a look-up.
    fn find_targets<'a>(&self, index: u32, poll: &'a Poll) -> Targets<'a> {
        let before = ChannelIx(self.slot(index).waits_on);
        if !poll.has_many_channels() {
            let name = &*poll.channels;
            return Targets::from([Target { name, lookup: self.queue.find_at(before, name) }]);
        }
        poll.names().map(|name| Target { name, lookup: self.queue.find(name) }).collect()
    }

    /// Which of the channels were closed; all of them is an error, and so is one that
    /// had to be created.
    fn check_targets<'a>(&self, targets: &[Target<'a>]) -> Result<Vec<&'a str>, Refused> {
        let mut closed = Vec::new();
        for Target { name, lookup } in targets {
            match lookup {
                Lookup::Open(_) => {}
                Lookup::Closed => closed.push(*name),
                Lookup::Unknown if self.settings.bounds.existing_only => {
                    let what = format!("The channel \"{name}\" does not exist.");
                    return Err(Refused::because(Refusal::ChannelUnknown, what));
                }
                Lookup::Unknown => {}
            }
        }
        if closed.len() == targets.len() {
            return Err(Refusal::ChannelClosed.into());
        }
        Ok(closed)
    }

    /// From where a poll is to be served.
    fn start_of(&self, after: &After) -> Result<Start, Refused> {
        let cursor = match after {
            After::Beginning => return Ok(Start { after: None, reset: false }),
            After::Present => {
                return Ok(Start { after: Some(self.queue.head().clone()), reset: false });
            }
            After::Cursor(cursor) => cursor,
        };
        let own = self.origin();
        // What another node gave out a moment ago may not have come here yet.
        let is_known = |origin| origin == own || self.queue.known(origin) > 0 || self.expects(origin);
        let lost = !cursor.seen.is_empty() && !cursor.seen.iter().any(|(origin, _)| is_known(origin));
        let forged = cursor.seen.seq(own) > self.numbered();
        if cursor.tag != self.settings.tag || forged || lost && self.is_settled() {
            Ok(Start { after: None, reset: true })
        } else if lost {
            let what = "This node has not heard yet of the nodes that the cursor names.";
            Err(Refused::because(Refusal::Overloaded, what))
        } else {
            Ok(Start { after: Some(cursor.seen.clone()), reset: false })
        }
    }

    fn read_for(&self, targets: &[Target], start: &Start, poll: &Poll, now: Now) -> Reading {
        let wanted = Wanted {
            after: start.after.as_ref(),
            since: poll.since,
            until: poll.until,
            messages_max: poll.limit.unwrap_or(ANSWER_MESSAGES_MAX),
            bytes_max: ANSWER_BYTES_MAX,
        };
        let places: SmallVec<[_; 1]> = targets.iter().map(Target::place).collect();
        self.queue.read(&places, &wanted, now.tick)
    }

    fn answer_now(&mut self, index: u32, reading: &Reading, names: &[&str], notices: Notices, now: Now) {
        self.counters.polls_immediate += 1;
        self.counters.gaps += u64::from(notices.gap);
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        answer::write(self.settings.tag, reading, names, notices, &mut body);
        let applied: &[_] = &[("Preference-Applied", "wait")];
        let extra = if self.slot(index).marks.has(Marks::PREFER) { applied } else { &[] };
        self.reply(index, Reply { status: 200, content_type: Some(JSON), body: &body, extra }, now);
        body.shrink_to(ANSWER_BYTES_MAX / 4);
        self.body = body;
    }

    fn hold(
        &mut self,
        index: u32,
        poll: &Poll,
        targets: &[Target],
        reading: Reading,
        now: Now,
    ) -> Result<(), Refused> {
        self.make_room(size_of::<WidePoll>())?;
        // A cursor ahead of this node, or one that a time range holds back, must be kept:
        // all that a plain poll's slot says is that it has examined everything here.
        let plain = poll.is_plain() && reading.examined == *self.queue.head();
        if plain {
            self.hold_plain(index, targets, now)?;
        } else {
            self.hold_wide(index, poll, targets, reading, now)?;
        }
        self.held += 1;
        let seconds = with_jitter(poll.timeout_s, index);
        let class = Class::Poll(u16::try_from(seconds).unwrap_or(u16::MAX));
        self.timers.set(&mut self.connections, index, class, now.tick);
        Ok(())
    }

    fn hold_plain(&mut self, index: u32, targets: &[Target], now: Now) -> Result<(), Refused> {
        let ix = match targets {
            [Target { lookup: Lookup::Open(ix), .. }] => *ix,
            other => {
                let name = other.first().map_or("", |target| target.name);
                self.queue.open(&parse_name(name)?, now.tick)?
            }
        };
        let position = self.queue.join(ix, Subscriber(index));
        let slot = self.slot_mut(index);
        slot.state = State::Held;
        slot.waits_on = ix.0;
        slot.position = position;
        Ok(())
    }

    fn hold_wide(
        &mut self,
        index: u32,
        poll: &Poll,
        targets: &[Target],
        reading: Reading,
        now: Now,
    ) -> Result<(), Refused> {
        let mut places = Vec::with_capacity(targets.len());
        for target in targets {
            let name = parse_name(target.name)?;
            match self.queue.open(&name, now.tick) {
                Ok(ix) => places.push(Place { name, ix, position: None }),
                Err(refused) => {
                    places.iter().for_each(|place| self.queue.forget_trace(place.ix));
                    return Err(refused);
                }
            }
        }
        for place in &mut places {
            place.position = Some(self.queue.join(place.ix, Subscriber(index)));
        }
        let wide = WidePoll {
            places,
            after: reading.examined,
            since: poll.since,
            until: poll.until,
            limit: poll.limit.unwrap_or(ANSWER_MESSAGES_MAX),
            bytes: size_of::<WidePoll>()
                + targets.iter().map(|target| size_of::<Place>() + 8 + target.name.len()).sum::<usize>(),
        };
        self.wide_bytes += wide.bytes;
        let slot = &mut self.connections[index as usize];
        slot.state = State::HeldWide;
        slot.waits_on = self.wides.insert(wide) as u32;
        Ok(())
    }
}

/// Whether a reader learns something. A gap by itself counts only once: a poll whose end
/// time holds its cursor back would be told of the same one again and again.
fn is_news(reading: &Reading, after: Option<&VersionVector>) -> bool {
    !reading.messages.is_empty() || reading.gap && after != Some(&reading.examined)
}

fn parse_name(name: &str) -> Result<ChannelName, Refused> {
    name.parse().map_err(|_| Refusal::ChannelInvalid.into())
}

// -- There is something to say -------------------------------------------------------

impl Shard {
    /// Delivers what a command has changed, and begins the next.
    pub(super) fn deliver(&mut self, now: Now) {
        while self.queue.has_news() {
            let closed = self.queue.take_closed();
            self.deliver_closed(&closed, now);
            for ix in self.queue.take_stirred() {
                self.deliver_to(ix, now);
            }
        }
        self.base.clone_from(self.queue.head());
        self.log_out();
    }

    /// Answers all who wait on a channel that was published to.
    fn deliver_to(&mut self, ix: ChannelIx, now: Now) {
        let subscribers = self.queue.take_subscribers(ix);
        let mut shared = None;
        for subscriber in subscribers.as_slice() {
            let index = subscriber.0;
            if self.slot(index).state == State::HeldWide {
                self.deliver_wide(index, ix, now);
                continue;
            }
            let answer = match shared {
                Some(answer) => answer,
                None => *shared.insert(self.make_shared(ix, now)),
            };
            self.answers.share(answer);
            self.counters.deliveries += 1;
            self.wake(index, answer);
        }
        if let Some(answer) = shared {
            self.answers.release(answer);
        }
    }

    /// The answer for all plain polls of a channel: what was published there since they
    /// were held.
    fn make_shared(&mut self, ix: ChannelIx, now: Now) -> u32 {
        let wanted = Wanted {
            after: Some(&self.base),
            since: Timestamp(0),
            until: Timestamp::MAX,
            messages_max: ANSWER_MESSAGES_MAX,
            bytes_max: ANSWER_BYTES_MAX,
        };
        let reading = self.queue.read(&[Some(ix)], &wanted, now.tick);
        let name = self.queue.name(ix).cloned();
        let names = name.as_ref().map_or("", ChannelName::as_str);
        let notices = Notices { gap: reading.gap, ..Notices::default() };
        self.add_answer(&reading, &[names], notices)
    }

    fn add_answer(&mut self, reading: &Reading, names: &[&str], notices: Notices) -> u32 {
        self.counters.gaps += u64::from(notices.gap);
        let mut draft = self.answers.draft();
        answer::write(self.settings.tag, reading, names, notices, draft.body());
        self.answers.add(draft)
    }

    /// Ends the wait of a poll that is no longer among its channel's subscribers.
    fn wake(&mut self, index: u32, answer: u32) {
        self.held -= 1;
        self.send_shared(index, answer);
    }

    /// A wide poll was taken from one of its channels: answer it, or have it wait on.
    fn deliver_wide(&mut self, index: u32, ix: ChannelIx, now: Now) {
        let reading = self.read_wide(index, now);
        let wide = &mut self.wides[self.connections[index as usize].waits_on as usize];
        let place = wide.places.iter_mut().find(|place| place.ix == ix);
        if !is_news(&reading, Some(&wide.after)) {
            if let Some(place) = place {
                place.position = Some(self.queue.join(ix, Subscriber(index)));
            }
            wide.after = reading.examined;
            return;
        }
        if let Some(place) = place {
            place.position = None;
        }
        self.counters.deliveries += 1;
        self.finish_wide(index, &reading, &[]);
    }

    /// What there is for a wide poll that it has not examined.
    fn read_wide(&self, index: u32, now: Now) -> Reading {
        let wide = &self.wides[self.slot(index).waits_on as usize];
        let mut after = wide.after.clone();
        if wide.until == Timestamp::MAX {
            // While it waited nothing came for it: it has examined all that was here when
            // the command began, and hears of no gap on account of other channels.
            self.base.iter().for_each(|(origin, seq)| after.raise(origin, seq));
        }
        let wanted = Wanted {
            after: Some(&after),
            since: wide.since,
            until: wide.until,
            messages_max: wide.limit,
            bytes_max: ANSWER_BYTES_MAX,
        };
        // The place of a channel that was closed may be another's by now.
        let places: Vec<_> = wide.places.iter().map(|place| place.position.map(|_| place.ix)).collect();
        self.queue.read(&places, &wanted, now.tick)
    }

    /// Answers a wide poll and takes it out of its other channels.
    fn finish_wide(&mut self, index: u32, reading: &Reading, closed: &[Closed]) {
        let wide = self.leave_wide(index);
        let names: Vec<&str> = wide.places.iter().map(|place| place.name.as_str()).collect();
        let is_closed = |place: &&Place| closed.iter().any(|closed| closed.ix == place.ix);
        let closed: Vec<&str> =
            wide.places.iter().filter(is_closed).map(|place| place.name.as_str()).collect();
        let notices = Notices { gap: reading.gap, reset: false, closed: &closed };
        let answer = self.add_answer(reading, &names, notices);
        self.wake(index, answer);
    }

    /// Tells all who waited on some channels that they were closed.
    fn deliver_closed(&mut self, all: &[Closed], now: Now) {
        // A wide poll may have waited on several of them, whose places are no more: it
        // leaves them all before it is answered.
        for closed in all {
            self.forget_place(closed);
        }
        for closed in all {
            self.tell_closed(closed, all, now);
        }
    }

    /// Wide polls no longer have a position in a channel that was closed.
    fn forget_place(&mut self, closed: &Closed) {
        for subscriber in closed.subscribers.as_slice() {
            let slot = &self.connections[subscriber.0 as usize];
            if slot.state == State::HeldWide {
                let places = &mut self.wides[slot.waits_on as usize].places;
                let gone = places.iter_mut().filter(|place| place.ix == closed.ix);
                gone.for_each(|place| place.position = None);
            }
        }
    }

    /// Tells all who waited on one of the channels that were closed together.
    fn tell_closed(&mut self, closed: &Closed, all: &[Closed], now: Now) {
        let mut shared = None;
        for subscriber in closed.subscribers.as_slice() {
            let index = subscriber.0;
            match self.slot(index).state {
                State::Held => {}
                State::HeldWide => {
                    let reading = self.read_wide(index, now);
                    self.counters.deliveries += 1;
                    self.finish_wide(index, &reading, all);
                    continue;
                }
                // It waited on several of them and has been told.
                _ => continue,
            }
            let answer = match shared {
                Some(answer) => answer,
                None => {
                    let name = closed.name.as_str();
                    // What the command brought besides may stand in a channel of the same name.
                    let reading = Reading { examined: self.base.clone(), ..Reading::default() };
                    let notices = Notices { closed: &[name], ..Notices::default() };
                    *shared.insert(self.add_answer(&reading, &[name], notices))
                }
            };
            self.answers.share(answer);
            self.counters.deliveries += 1;
            self.wake(index, answer);
        }
        if let Some(answer) = shared {
            self.answers.release(answer);
        }
    }
}

// -- There is nothing to say ---------------------------------------------------------

impl Shard {
    /// A held poll's time is over: the ordinary answer, with no messages.
    pub(super) fn end_poll(&mut self, index: u32, now: Now) {
        self.counters.polls_timed_out += 1;
        let slot = self.slot(index);
        if slot.state == State::HeldWide {
            let reading = self.read_wide(index, now);
            return self.finish_wide(index, &reading, &[]);
        }
        self.leave(ChannelIx(slot.waits_on), slot.position);
        let answer = self.idle_answer(now);
        self.answers.share(answer);
        self.wake(index, answer);
    }

    /// The answer without messages for plain polls; the same for a second, since its heads
    /// have a date, unless something is published.
    fn idle_answer(&mut self, now: Now) -> u32 {
        let second = now.wall.seconds();
        if let Some((made, head, answer)) = &self.idle_answer {
            if *made == second && head == self.queue.head() {
                return *answer;
            }
            self.answers.release(*answer);
        }
        let head = self.queue.head().clone();
        let reading = Reading { examined: head.clone(), ..Reading::default() };
        let answer = self.add_answer(&reading, &[], Notices::default());
        self.idle_answer = Some((second, head, answer));
        answer
    }

    /// Takes a poll out of its channels, without an answer; does nothing for others.
    pub(super) fn stop_waiting(&mut self, index: u32) {
        let slot = self.slot(index);
        match slot.state {
            State::Held => {
                let (ix, position) = (ChannelIx(slot.waits_on), slot.position);
                self.leave(ix, position);
            }
            State::HeldWide => {
                self.leave_wide(index);
            }
            _ => return,
        }
        self.held -= 1;
    }

    fn leave_wide(&mut self, index: u32) -> WidePoll {
        let number = self.slot(index).waits_on as usize;
        // One at a time: each leave may move this very poll's other positions.
        for at in 0..self.wides[number].places.len() {
            let place = &mut self.wides[number].places[at];
            if let (ix, Some(position)) = (place.ix, place.position.take()) {
                self.leave(ix, position);
            }
        }
        let wide = self.wides.remove(number);
        self.wide_bytes -= wide.bytes;
        wide
    }

    fn leave(&mut self, ix: ChannelIx, position: u32) {
        let Some(moved) = self.queue.leave(ix, position) else { return };
        let slot = &mut self.connections[moved.0 as usize];
        if slot.state == State::HeldWide {
            let places = &mut self.wides[slot.waits_on as usize].places;
            places
                .iter_mut()
                .filter(|place| place.ix == ix)
                .for_each(|place| place.position = Some(position));
        } else {
            slot.position = position;
        }
    }
}
