//! The mailboxes of threads in every interleaving: no wake-up is lost, nobody waits for ever, no
//! letter is lost, doubled or overtaken.
//!
//! The server's own source is compiled here with another lock, which is loom's: it tries all orders
//! in which threads can take it, and fails where all of them sleep.

/// In the place of the server's `sync`.
mod sync {
    pub use loom::model;
    pub use loom::sync::{Mutex, MutexGuard};
}

#[path = "../src/mailbox.rs"]
#[allow(dead_code)]
mod mailbox;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use mailbox::{Mailbox, Wake};

/// What an eventfd in an epoll is: rung, it ends one sleep, now or later.
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn new() -> Bell {
        Bell { rung: Mutex::new(false), changed: Condvar::new() }
    }

    fn ring(&self, wake: Wake) {
        if wake == Wake::Needed {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// Threads that write to each other.
struct Team {
    boxes: Vec<Mailbox<Vec<u32>>>,
    bells: Vec<Bell>,
}

impl Team {
    fn new(count: usize) -> Arc<Team> {
        Arc::new(Team {
            boxes: (0..count).map(|_| Mailbox::new(count)).collect(),
            bells: (0..count).map(|_| Bell::new()).collect(),
        })
    }

    /// A thread's loop, tick by tick: it takes what there is, says one thing more to each of `to`,
    /// and sleeps if nothing is left, until it has said `say` things and heard `hear`.
    fn run(&self, me: usize, to: &[usize], say: u32, hear: usize) {
        let mut drafts: Vec<(usize, Vec<u32>)> = to.iter().map(|other| (*other, Vec::new())).collect();
        let (mut said, mut heard) = (0, Vec::new());
        loop {
            let taken = self.boxes[me].take();
            for other in taken.wanted {
                self.bells[other].ring(self.boxes[other].nudge());
            }
            heard.extend(taken.letters.into_iter().flat_map(|(from, letter)| {
                assert!(!letter.is_empty());
                letter.into_iter().map(move |word| (from, word))
            }));
            if said < say {
                drafts.iter_mut().for_each(|(_, draft)| draft.push(said));
                said += 1;
            }
            for (other, draft) in drafts.iter_mut().filter(|(_, draft)| !draft.is_empty()) {
                let wake = self.boxes[*other].put(me, || std::mem::take(draft));
                self.bells[*other].ring(wake);
            }
            let is_told = drafts.iter().all(|(_, draft)| draft.is_empty());
            if said == say && is_told && heard.len() == hear {
                break;
            }
            if said == say && self.boxes[me].park() {
                self.bells[me].sleep();
            }
            self.boxes[me].rise();
        }
        for other in 0..self.boxes.len() {
            let words: Vec<u32> = heard.iter().filter(|word| word.0 == other).map(|word| word.1).collect();
            assert!(words.iter().copied().eq(0..words.len() as u32), "{words:?}");
        }
    }
}

fn bounded() -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    // More than this many forced switches find nothing that fewer do not (Musuvathi, Qadeer 2007),
    // and take hours.
    builder.preemption_bound = Some(3);
    builder
}

#[test]
fn two_senders_and_one_who_sleeps_in_between() {
    bounded().check(|| {
        let team = Team::new(3);
        let senders = [1, 2].map(|me| {
            let team = team.clone();
            thread::spawn(move || team.run(me, &[0], 1, 0))
        });
        team.run(0, &[], 0, 2);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// Each says more than a place holds while the other does the same: both places are full at once.
#[test]
fn two_who_write_to_each_other_at_once() {
    bounded().check(|| {
        let team = Team::new(2);
        let other = {
            let team = team.clone();
            thread::spawn(move || team.run(1, &[0], 2, 2))
        };
        team.run(0, &[1], 2, 2);
        other.join().unwrap();
    });
}

/// A letter that is put in between the last look and the sleep ends it.
#[test]
fn what_comes_between_looking_and_sleeping_is_not_missed() {
    loom::model(|| {
        let team = Team::new(2);
        let sender = {
            let team = team.clone();
            thread::spawn(move || team.run(1, &[0], 1, 0))
        };
        team.run(0, &[], 0, 1);
        sender.join().unwrap();
    });
}
