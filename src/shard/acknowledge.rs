//! Publishers that wait until other nodes have what they published.
//!
//! A publication with `ack=one` or `ack=quorum` is delivered here at once; its receipt is held
//! back until that many other nodes say that they have the entry, or the time is over.

use std::collections::VecDeque;

use super::Shard;
use super::connection::State;
use super::output::Reply;
use super::timers::Class;
use crate::cursor::VersionVector;
use crate::error::{Refusal, Refused};
use crate::ids::{ConnId, MessageId};
use crate::session::publisher::Acknowledge;
use crate::time::Now;

/// A receipt that is held back.
#[derive(Debug)]
struct Receipt {
    publisher: ConnId,
    /// What must be had.
    entries: VersionVector,
    /// By how many other nodes.
    holders: usize,
    status: u16,
    media_type: &'static str,
    body: Vec<u8>,
}

/// All receipts that are held back.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Of this node's own entries, ascending: for one other node, and for a majority.
    own: [VecDeque<Receipt>; 2],
    /// Of entries that another node logged and that were sent here again.
    others: Vec<Receipt>,
    /// What all of them take, in bytes.
    bytes: usize,
}

impl Receipt {
    fn bytes(&self) -> usize {
        size_of::<Receipt>() + self.body.len()
    }
}

impl Waiting {
    /// Memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Shard {
    /// How many other nodes a level asks for; refuses what cannot be had now.
    pub(super) fn holders_for(&self, level: Acknowledge) -> Result<usize, Refused> {
        let Some(links) = &self.links else {
            // A node by itself is the most of itself, but has no other.
            return match level {
                Acknowledge::Local | Acknowledge::Quorum => Ok(0),
                Acknowledge::One => Err(Refusal::AckUnreachable.into()),
            };
        };
        let holders = match level {
            Acknowledge::Local => 0,
            Acknowledge::One => 1,
            Acknowledge::Quorum => links.cluster.majority(),
        };
        let linked = links.cluster.link_count();
        if linked < holders {
            let nodes = if holders == 1 { "node" } else { "nodes" };
            let are = if linked == 1 { "is" } else { "are" };
            let what = format!(
                "This takes {holders} other {nodes}, and {linked} {are} linked. Nothing was published."
            );
            return Err(Refused::because(Refusal::AckUnreachable, what));
        }
        Ok(holders)
    }

    /// What is logged next is to be acknowledged by the others at once.
    pub(super) fn want_acks(&mut self, holders: usize) {
        if let Some(links) = &mut self.links {
            links.ack_wanted = holders > 0;
        }
    }

    /// Replies to a publication now, or once `holders` other nodes have `ids`; tells whether now.
    pub(super) fn reply_when_held(
        &mut self,
        index: u32,
        ids: impl Iterator<Item = MessageId>,
        holders: usize,
        reply: (u16, &'static str, &[u8]),
        now: Now,
    ) -> bool {
        let (status, media_type, body) = reply;
        let mut entries = VersionVector::default();
        if holders > 0 {
            ids.for_each(|id| entries.raise(id.origin, id.seq));
        }
        let publisher = self.id(index);
        let own = self.origin();
        let Some(links) = self.links.as_mut().filter(|_| !entries.is_empty()) else {
            self.reply(index, Reply { status, content_type: Some(media_type), body, extra: &[] }, now);
            return true;
        };
        let receipt = Receipt { publisher, holders, status, media_type, body: body.to_vec(), entries };
        links.waiting.bytes += receipt.bytes();
        if receipt.entries.iter().any(|(origin, _)| origin != own) {
            links.waiting.others.push(receipt);
        } else {
            links.waiting.own[usize::from(holders > 1)].push_back(receipt);
        }
        self.slot_mut(index).state = State::Acking;
        self.timers.set(&mut self.connections, index, Class::Ack, now.tick);
        false
    }

    /// Gives their receipts to those whose entries are held by enough nodes.
    pub(super) fn answer_acknowledged(&mut self, now: Now) {
        let Some(links) = &mut self.links else { return };
        let mut done = Vec::new();
        let cluster = &links.cluster;
        let is_held = |receipt: &Receipt| cluster.holders(&receipt.entries) >= receipt.holders;
        for queue in &mut links.waiting.own {
            while queue.front().is_some_and(is_held) {
                done.extend(queue.pop_front());
            }
        }
        done.extend(links.waiting.others.extract_if(.., |receipt| is_held(receipt)));
        links.waiting.bytes -= done.iter().map(Receipt::bytes).sum::<usize>();
        for Receipt { publisher, status, media_type, body, .. } in done {
            let Some(index) = self.find(publisher).filter(|index| self.slot(*index).state == State::Acking)
            else {
                continue;
            };
            self.reply(index, Reply { status, content_type: Some(media_type), body: &body, extra: &[] }, now);
            self.end_waiting(index, now);
        }
    }

    /// The reply is made: it is sent, and then comes what waited behind it.
    pub(super) fn end_waiting(&mut self, index: u32, now: Now) {
        if self.finish_errand(index) {
            return;
        }
        self.slot_mut(index).state = State::Sending;
        self.timers.set(&mut self.connections, index, Class::Progress, now.tick);
        self.list(index);
    }

    /// The others did not say in time that they have it.
    pub(super) fn refuse_unacknowledged(&mut self, index: u32, now: Now) {
        let publisher = self.id(index);
        self.forget_receipt(publisher);
        self.refuse(index, &Refusal::AckTimeout.into(), now);
        self.end_waiting(index, now);
    }

    /// Nobody waits for this receipt any more.
    pub(super) fn forget_receipt(&mut self, publisher: ConnId) {
        let Some(links) = &mut self.links else { return };
        let Waiting { own, others, bytes } = &mut links.waiting;
        let mut stays = |receipt: &Receipt| {
            let stays = receipt.publisher != publisher;
            *bytes -= if stays { 0 } else { receipt.bytes() };
            stays
        };
        own.iter_mut().for_each(|queue| queue.retain(&mut stays));
        others.retain(&mut stays);
    }
}
