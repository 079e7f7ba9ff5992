//! Letters between a node's shards, as the program's mailboxes carry them: of each sender one letter
//! at a time is under way to a receiver, and what it has to say meanwhile gathers until that is taken.

use pushup::shard::team::Mail;

use super::{HUB, Host};
use crate::agenda::{Event, Ms};
use crate::net::Net;

/// A letter is under way for so long at most, in milliseconds.
const USUAL_MS_MAX: Ms = 3;
/// …but every so many in a hundred…
const LATE_PERCENT: u64 = 3;
/// …for so long.
const LATE_MS_MAX: Ms = 50;

/// A letter that is not taken yet.
#[derive(Debug)]
struct Letter {
    serial: u64,
    from: usize,
    to: usize,
    mail: Mail,
    /// Its time has come, and the receiver did not look.
    waits: bool,
}

/// All letters of a node.
#[derive(Debug, Default)]
pub(super) struct Post {
    letters: Vec<Letter>,
    /// Shards whose letters are not carried, once for each reason.
    stalled: Vec<usize>,
}

impl Post {
    fn is_under_way(&self, from: usize, to: usize) -> bool {
        self.letters.iter().any(|letter| (letter.from, letter.to) == (from, to))
    }

    fn is_stalled(&self, letter: &Letter) -> bool {
        self.stalled.contains(&letter.from) || self.stalled.contains(&letter.to)
    }
}

impl Host {
    /// Sends what its shards have to say to each other, as far as the last of it was taken.
    pub(super) fn send_mail(&mut self, net: &mut Net) {
        for from in 0..self.shards.len() {
            let receivers: Vec<usize> = self.shard(from).mail_for().collect();
            for to in receivers.into_iter().filter(|to| *to < self.shards.len()).collect::<Vec<_>>() {
                if self.post.is_under_way(from, to) {
                    continue;
                }
                let mail = self.shard(from).write_mail(to);
                let most = if self.random.percent(LATE_PERCENT) { LATE_MS_MAX } else { USUAL_MS_MAX };
                let delay = self.random.below(most + 1);
                self.letters += 1;
                let serial = self.letters;
                self.post.letters.push(Letter { serial, from, to, mail, waits: false });
                net.agenda.after(delay, Event::Letter { node: self.index, serial });
            }
        }
    }

    /// A letter's time has come; void if it was lost with the node, or handed over early.
    pub fn handle_letter(&mut self, serial: u64, net: &mut Net) {
        let Some(at) = self.post.letters.iter().position(|letter| letter.serial == serial) else { return };
        let stays = self.paused || self.post.is_stalled(&self.post.letters[at]);
        if stays {
            self.post.letters[at].waits = true;
        } else {
            self.take_letter(at, net);
        }
    }

    fn take_letter(&mut self, at: usize, net: &Net) {
        let Letter { from, to, mail, .. } = self.post.letters.remove(at);
        let now = self.now(net);
        self.shard(to).handle_mail(from, mail, now);
        self.dirty = true;
    }

    /// Takes what came while nobody looked.
    pub(super) fn take_what_waited(&mut self, net: &Net) {
        loop {
            let post = &self.post;
            let is_due = |letter: &Letter| letter.waits && !post.is_stalled(letter);
            let Some(at) = post.letters.iter().position(is_due) else { return };
            self.take_letter(at, net);
        }
    }

    /// From now on no letter to or from one of its shards is taken; tells whether it has such a shard.
    pub fn stall(&mut self, shard: usize) -> bool {
        let stalls = self.shards.len() > 1;
        if stalls {
            self.post.stalled.push(shard % self.shards.len());
        }
        stalls
    }

    /// Letters are taken again.
    pub fn go_on(&mut self, shard: usize, net: &Net) {
        // After a crash there is nothing to take back.
        let count = self.shards.len().max(1);
        if let Some(at) = self.post.stalled.iter().position(|stalled| *stalled == shard % count) {
            self.post.stalled.remove(at);
        }
        if !self.paused {
            self.take_what_waited(net);
        }
    }

    /// Carries all letters at once until nobody has anything to say, for an oracle that waits for it.
    pub(super) fn carry_all(&mut self, net: &Net) {
        for turns in 0.. {
            assert!(turns < super::TURNS_MAX, "the shards do not come to rest");
            while !self.post.letters.is_empty() {
                self.take_letter(0, net);
            }
            for from in 0..self.shards.len() {
                let receivers: Vec<usize> = self.shard(from).mail_for().collect();
                for to in receivers {
                    let mail = self.shard(from).write_mail(to);
                    self.letters += 1;
                    let serial = self.letters;
                    self.post.letters.push(Letter { serial, from, to, mail, waits: false });
                }
            }
            if self.post.letters.is_empty() {
                return;
            }
        }
    }

    /// A shard, for whoever reads what happened.
    pub fn label(&self, shard: usize) -> String {
        match shard {
            HUB => format!("node-{}", self.index),
            other => format!("node-{}/{other}", self.index),
        }
    }
}
