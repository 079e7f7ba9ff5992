//! Letters between the loops of a node's shards: the shard's words, a mailbox for each loop, and the
//! wake-up call of a loop that sleeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mio::Waker;
use smallvec::SmallVec;

use super::{MAIL, Reactor, own_token};
use crate::mailbox::{Mailbox, Wake};
use crate::shard::team::Mail;

/// The mailboxes of all loops, by the number of their shard. Made before any of them runs: a waker
/// must be known to every thread before each has descriptors of its own.
pub struct Post {
    desks: Vec<(Mailbox<Mail>, Waker)>,
    /// How many loops take in who calls; never 0.
    listening: AtomicUsize,
}

impl Post {
    /// Mailboxes for these loops; the first is the hub's.
    pub fn between(reactors: &mut [Reactor]) -> io::Result<()> {
        let count = reactors.len();
        let waker = |reactor: &Reactor| Waker::new(reactor.poll.registry(), own_token(MAIL));
        let desks: io::Result<Vec<_>> =
            reactors.iter().map(|reactor| Ok((Mailbox::new(count), waker(reactor)?))).collect();
        let post = Arc::new(Post { desks: desks?, listening: AtomicUsize::new(count) });
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

    /// The loop would leave callers to others; tells whether there are any.
    pub(super) fn leave_callers(&self) -> bool {
        let one_less = |count: usize| (count > 1).then(|| count - 1);
        self.post.listening.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }

    /// The loop takes in callers again.
    pub(super) fn take_callers(&self) {
        self.post.listening.fetch_add(1, Ordering::SeqCst);
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
