//! Publishing: numbers a message and puts it into its channels (paper §3.3, batch
//! publication).

use std::sync::Arc;

use smallvec::SmallVec;

use super::eviction::Cached;
use super::{Bounds, ChannelIx, Lookup, MessageQueue, Receipt};
use crate::channel::entry::{Deed, Published};
use crate::channel::idempotency::First;
use crate::channel::message::{Message, Publication};
use crate::channel::subscription::Subscriber;
use crate::error::{Refusal, Refused};
use crate::ids::{ChannelName, MessageId};
use crate::time::{Now, Tick, Timestamp};

impl MessageQueue {
    /// Publishes one message to all its channels (paper §3.3, batch publication), or to
    /// none of them.
    pub fn publish(&mut self, publication: Publication, now: Now) -> Result<Receipt, Refused> {
        if let Some(first) = self.published_before(&publication, now.tick) {
            return Ok(Receipt { id: first.id, time: first.time, subscribers: 0, duplicate: true });
        }
        let places = self.places(&publication.channels, now.tick)?;
        let (id, time) = self.number(now.wall);
        let ttl_ms = publication.ttl_ms.unwrap_or(self.bounds.message_ttl_ms);
        if self.log.is_some() {
            let published = self.published(&publication, &places, ttl_ms);
            self.record(id, time, || Deed::Publish(published));
        }
        let message = Arc::new(Message {
            id,
            time,
            expires: now.tick.plus_ms(ttl_ms),
            channels: publication.channels,
            media_type: publication.media_type,
            body: publication.body,
        });
        let subscribers = self.count_subscribers(&places);
        for ix in places {
            self.put(ix, message.clone(), now.tick);
        }
        self.shed_cache_behind(self.bounds.cache_bytes_max, id);
        if let Some(key) = publication.idempotency_key {
            self.idempotency.remember(key, First { id, time }, now.tick);
        }
        Ok(Receipt { id, time, subscribers, duplicate: false })
    }

    pub(super) fn published_before(&mut self, publication: &Publication, now: Tick) -> Option<First> {
        let key = publication.idempotency_key.as_deref()?;
        self.idempotency.first(key, now)
    }

    /// Opens all channels of a publication, after making sure that all can be.
    pub(super) fn places(
        &mut self,
        names: &[ChannelName],
        now: Tick,
    ) -> Result<SmallVec<[ChannelIx; 1]>, Refused> {
        if let [name] = names {
            return Ok(SmallVec::from([self.open(name, now)?]));
        }
        names.iter().try_for_each(|name| self.may_use(name))?;
        let fresh = |name: &&ChannelName| self.find(name.as_str()) == Lookup::Unknown;
        let added = names.iter().filter(fresh).count();
        if self.channels.len() + added > self.bounds.channels_max {
            return Err(Refusal::ChannelsExhausted.into());
        }
        names.iter().map(|name| self.open(name, now)).collect()
    }

    /// The message as the log has it.
    fn published(&self, publication: &Publication, places: &[ChannelIx], ttl_ms: u64) -> Published {
        let lives = places.iter().filter_map(|ix| self.channels.get(ix.0 as usize));
        let lives = lives.map(|channel| (channel.name.clone(), channel.life));
        Published {
            channels: lives.collect(),
            media_type: publication.media_type.clone(),
            body: publication.body.clone(),
            ttl_ms,
            idempotency_key: publication.idempotency_key.clone(),
        }
    }

    /// The next entry of this node's log. Its time never goes back, whatever the clock does.
    pub(super) fn number(&mut self, wall: Timestamp) -> (MessageId, Timestamp) {
        self.last_time = self.last_time.max(wall);
        let seq = self.head.seq(self.origin) + 1;
        self.head.set(self.origin, seq);
        (MessageId { origin: self.origin, seq }, self.last_time)
    }

    /// How many held polls wait on some of these channels, each counted once.
    pub(super) fn count_subscribers(&self, places: &[ChannelIx]) -> usize {
        let of = |ix: &ChannelIx| self.channels[ix.0 as usize].subscribers.as_slice();
        if let [one] = places {
            return of(one).len();
        }
        let mut all: Vec<Subscriber> = places.iter().flat_map(of).copied().collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// Adds a message to one of its channels.
    pub(super) fn put(&mut self, ix: ChannelIx, message: Arc<Message>, now: Tick) {
        let Bounds { channel_messages_max, channel_bytes_max, .. } = self.bounds;
        let channel = &mut self.channels[ix.0 as usize];
        channel.touch(message.time, now);
        if !channel.stirred && !channel.subscribers.is_empty() {
            channel.stirred = true;
            self.stirred.push(ix);
        }
        let generation = channel.generation;
        self.eviction_order.push(Cached { id: message.id, channel: ix, generation });
        let history = channel.history_mut();
        let (count, bytes) = (history.count(), history.bytes());
        let is_dead = |origin| self.head.seq(origin) == 0;
        let forgets = !self.retirement.is_empty() && history.drop_strands(is_dead);
        history.append(message);
        history.expire(now, drop);
        history.trim(channel_messages_max, channel_bytes_max, drop);
        let after = (history.count(), history.bytes());
        // Which matters if one of them comes back.
        channel.after_forgetting |= forgets;
        self.account((count, bytes), after);
        self.schedule(ix, now);
        self.tidy_eviction_order();
    }

    pub(super) fn account(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.cached_messages = self.cached_messages + after.0 - before.0;
        self.cached_bytes = self.cached_bytes + after.1 - before.1;
    }
}
