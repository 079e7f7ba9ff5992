//! What threads leave each other: one letter at a time from each sender, and no wake-up lost.
//!
//! A receiver has one mailbox with a place for each sender. A letter stays in its place until the
//! receiver takes it; until then the sender goes on writing the next one, and is nudged once the
//! place is free. So a mailbox holds at most one letter of each sender, nobody ever waits for
//! another, and two full mailboxes cannot lock each other up.
//!
//! All that is shared stands under one lock: a letter put in between a receiver's last look and its
//! sleep cannot be missed, because [`Mailbox::park`] looks again under it. To wake somebody is a
//! system call; whoever is told to do so by [`Wake::Needed`] does it after the lock is released, and
//! nobody is told while the receiver is up. `tests/mailbox` tries every interleaving.

use std::sync::PoisonError;

use crate::sync::{Mutex, MutexGuard};

/// Whether the receiver sleeps and has to be woken by whoever is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// It sleeps.
    Needed,
    /// It is up and will look before it sleeps.
    Needless,
}

/// A receiver's mailbox.
#[derive(Debug)]
pub struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    /// By sender.
    places: Vec<Place<T>>,
    /// There is something to look at: a letter, or a place of this receiver's own letters is free.
    news: bool,
    asleep: bool,
}

#[derive(Debug)]
struct Place<T> {
    letter: Option<T>,
    /// Its sender has another and is to be nudged.
    wanted: bool,
}

/// What a receiver found.
#[derive(Debug)]
pub struct Taken<T> {
    /// The letters, each with its sender.
    pub letters: Vec<(usize, T)>,
    /// Senders who have another letter: each is to be nudged, in its own mailbox.
    pub wanted: Vec<usize>,
}

impl<T> Mailbox<T> {
    /// An empty mailbox with places for so many senders.
    pub fn new(senders: usize) -> Mailbox<T> {
        let place = || Place { letter: None, wanted: false };
        let places = std::iter::repeat_with(place).take(senders).collect();
        Mailbox { inner: Mutex::new(Inner { places, news: false, asleep: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Whoever panicked under it ended the process.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the letter in that `write` makes, unless the last one is not taken yet; then the
    /// sender is nudged when it is.
    pub fn put(&self, from: usize, write: impl FnOnce() -> T) -> Wake {
        let mut inner = self.lock();
        let Some(place) = inner.places.get_mut(from) else { return Wake::Needless };
        if place.letter.is_some() {
            place.wanted = true;
            return Wake::Needless;
        }
        place.letter = Some(write());
        inner.alert()
    }

    /// Tells the receiver that a place for a letter of its own is free.
    pub fn nudge(&self) -> Wake {
        self.lock().alert()
    }

    /// Takes all letters.
    pub fn take(&self) -> Taken<T> {
        let mut taken = Taken { letters: Vec::new(), wanted: Vec::new() };
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.news) {
            return taken;
        }
        for (from, place) in inner.places.iter_mut().enumerate() {
            taken.letters.extend(place.letter.take().map(|letter| (from, letter)));
            if std::mem::take(&mut place.wanted) {
                taken.wanted.push(from);
            }
        }
        taken
    }

    /// The receiver is about to sleep; tells whether it may. If so, it is woken from now on.
    pub fn park(&self) -> bool {
        let mut inner = self.lock();
        inner.asleep = !inner.news;
        inner.asleep
    }

    /// The receiver is up, for whatever reason.
    pub fn rise(&self) {
        self.lock().asleep = false;
    }
}

impl<T> Inner<T> {
    fn alert(&mut self) -> Wake {
        self.news = true;
        if std::mem::take(&mut self.asleep) { Wake::Needed } else { Wake::Needless }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model;

    #[test]
    fn a_letter_comes_once_and_wakes_who_sleeps_once() {
        model(|| {
            let mailbox = Mailbox::new(2);
            assert!(mailbox.park());
            assert_eq!(mailbox.put(0, || "a"), Wake::Needed);
            assert_eq!(mailbox.put(1, || "b"), Wake::Needless, "it was woken already");
            assert!(!mailbox.park(), "there are letters");
            assert_eq!(mailbox.take().letters, [(0, "a"), (1, "b")]);
            assert!(mailbox.take().letters.is_empty());
            assert!(mailbox.park());
            mailbox.rise();
            assert_eq!(mailbox.put(0, || "c"), Wake::Needless);
        });
    }

    #[test]
    fn a_full_place_keeps_its_letter_and_its_sender_is_nudged() {
        model(|| {
            let mailbox = Mailbox::new(2);
            assert_eq!(mailbox.put(1, || "a"), Wake::Needless);
            assert_eq!(mailbox.put(1, || unreachable!("it is full")), Wake::Needless);
            let taken = mailbox.take();
            assert_eq!((taken.letters, taken.wanted), (vec![(1, "a")], vec![1]));
            assert_eq!(mailbox.put(1, || "b"), Wake::Needless);
            assert!(mailbox.take().wanted.is_empty());
        });
    }

    #[test]
    fn a_nudge_keeps_its_receiver_up_though_there_is_no_letter() {
        model(|| {
            let mailbox = Mailbox::<()>::new(1);
            assert_eq!(mailbox.nudge(), Wake::Needless);
            assert!(!mailbox.park());
            assert!(mailbox.take().letters.is_empty());
            assert!(mailbox.park());
            assert_eq!(mailbox.nudge(), Wake::Needed);
        });
    }

    #[test]
    fn a_sender_without_a_place_is_not_heard() {
        model(|| assert_eq!(Mailbox::new(1).put(1, || ()), Wake::Needless));
    }
}
