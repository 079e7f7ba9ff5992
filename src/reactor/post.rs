//! Letters between the loops of a node's shards: the shard's words, a mailbox for each loop, and the
//! wake-up call of a loop that sleeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mio::Waker;
use smallvec::SmallVec;

use super::handing::Entrance;
use super::{MAIL, Reactor, own_token};
use crate::mailbox::{Mailbox, Wake};
use crate::shard::team::Mail;

/// The mailboxes of all loops, by the number of their shard. Made before any of them runs: a waker
/// must be known to every thread before each has descriptors of its own.
pub struct Post {
    desks: Vec<(Mailbox<Mail>, Waker)>,
    /// The ways by which callers are handed to each, and whether it has said that it has no room.
    entrances: Vec<(Entrance, AtomicBool)>,
    /// Whose turn it is to be handed a caller.
    turn: AtomicUsize,
}

impl Post {
    /// Mailboxes for these loops; the first is the hub's.
    pub fn between(reactors: &mut [Reactor]) -> io::Result<()> {
        let count = reactors.len();
        let waker = |reactor: &Reactor| Waker::new(reactor.poll.registry(), own_token(MAIL));
        let desks: io::Result<Vec<_>> =
            reactors.iter().map(|reactor| Ok((Mailbox::new(count), waker(reactor)?))).collect();
        let entrances: io::Result<Vec<_>> =
            reactors.iter().map(|reactor| Ok((Entrance::of(reactor)?, AtomicBool::new(false)))).collect();
        let post = Arc::new(Post { desks: desks?, entrances: entrances?, turn: AtomicUsize::new(0) });
        for (me, reactor) in reactors.iter_mut().enumerate() {
            reactor.desk = Some(Desk { post: post.clone(), me });
        }
        Ok(())
    }

    fn wake(&self, whom: usize, wake: Wake) {
        if wake == Wake::Needed
            && let Some((_, waker)) = self.desks.get(whom)
        {
            // It fails only if the eventfd's counter is full, and then it has been rung.
            let _ = waker.wake();
        }
    }
}

/// A loop's place at the post.
pub(super) struct Desk {
    post: Arc<Post>,
    me: usize,
}

impl Desk {
    fn mailbox(&self) -> Option<&Mailbox<Mail>> {
        self.post.desks.get(self.me).map(|desk| &desk.0)
    }

    /// Whether the loop may sleep; if so, it is woken when a letter comes.
    pub(super) fn park(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::park)
    }

    /// The loop has no room for callers, or has some again.
    pub(super) fn say_full(&self, full: bool) {
        if let Some((_, flag)) = self.post.entrances.get(self.me) {
            flag.store(full, Ordering::Relaxed);
        }
    }

    /// The ways to the others that have not said that they are full, another one first each time.
    pub(super) fn others_with_room(&self) -> impl Iterator<Item = &Entrance> {
        let (count, first) = (self.post.entrances.len(), self.post.turn.fetch_add(1, Ordering::Relaxed));
        let others = (0..count).map(move |at| (first.wrapping_add(at)) % count).filter(|at| *at != self.me);
        let entrances = others.filter_map(|at| self.post.entrances.get(at));
        entrances.filter(|(_, full)| !full.load(Ordering::Relaxed)).map(|(entrance, _)| entrance)
    }

    /// The way by which this loop is handed callers.
    pub(super) fn entrance(&self) -> Option<&Entrance> {
        self.post.entrances.get(self.me).map(|(entrance, _)| entrance)
    }

    /// The loop is up.
    pub(super) fn rise(&self) {
        self.mailbox().into_iter().for_each(Mailbox::rise);
    }
}

impl Reactor {
    /// Hands over what the shard has to say to others, as far as they have taken the last of it.
    pub(super) fn send_mail(&mut self) {
        let Some(Desk { post, me }) = &self.desk else { return };
        let receivers: SmallVec<[usize; 8]> = self.shard.mail_for().collect();
        for to in receivers {
            let Some((mailbox, _)) = post.desks.get(to) else { continue };
            let wake = mailbox.put(*me, || self.shard.write_mail(to));
            post.wake(to, wake);
        }
    }

    /// Hands the shard what others have said.
    pub(super) fn take_mail(&mut self) {
        let Some(desk) = &self.desk else { return };
        let Some(taken) = desk.mailbox().map(Mailbox::take) else { return };
        for other in taken.wanted {
            if let Some((mailbox, _)) = desk.post.desks.get(other) {
                desk.post.wake(other, mailbox.nudge());
            }
        }
        for (from, mail) in taken.letters {
            self.shard.handle_mail(from, mail, self.now);
        }
    }
}
