//! Who waits on a channel.

/// A waiting poll, by a number that the caller chose: its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(pub u32);

/// The polls that wait on one channel, in no order.
///
/// Dense, so that a fan-out walks memory in a line. Each subscriber knows its own
/// *position*; removing one moves the last into its place, and the caller is told,
/// so that joining and leaving are O(1). None and one need no heap.
#[derive(Debug, Default)]
pub enum Subscribers {
    /// Nobody waits.
    #[default]
    None,
    /// One poll waits; next: none or many.
    One(Subscriber),
    /// More than one has waited since the channel was last empty.
    Many(Box<Vec<Subscriber>>),
}

impl Subscribers {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// All that wait.
    pub fn as_slice(&self) -> &[Subscriber] {
        match self {
            Subscribers::None => &[],
            Subscribers::One(one) => std::slice::from_ref(one),
            Subscribers::Many(many) => many,
        }
    }

    /// Adds a subscriber and tells its position.
    pub fn join(&mut self, subscriber: Subscriber) -> u32 {
        match self {
            Subscribers::None => {
                *self = Subscribers::One(subscriber);
                0
            }
            Subscribers::One(first) => {
                *self = Subscribers::Many(Box::new(vec![*first, subscriber]));
                1
            }
            Subscribers::Many(many) => {
                many.push(subscriber);
                (many.len() - 1) as u32
            }
        }
    }

    /// Removes the subscriber at `position`; tells who has that position now, if anyone.
    ///
    /// # Panics
    /// If nobody is there: a position is only kept while it is held.
    pub fn leave(&mut self, position: u32) -> Option<Subscriber> {
        match self {
            Subscribers::Many(many) => {
                many.swap_remove(position as usize);
                let moved = many.get(position as usize).copied();
                if many.is_empty() {
                    *self = Subscribers::None;
                }
                moved
            }
            Subscribers::One(_) if position == 0 => {
                *self = Subscribers::None;
                None
            }
            _ => unreachable!("nobody at position {position}"),
        }
    }

    /// Removes all.
    pub fn take(&mut self) -> Subscribers {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_idle_channel_pays_two_words() {
        assert_eq!(size_of::<Subscribers>(), 16);
    }

    proptest! {
        /// Beside the fast code, the obvious one: a set of who waits.
        #[test]
        fn join_and_leave_agree_with_a_set(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..200)) {
            let mut subscribers = Subscribers::default();
            let mut position_of = std::collections::BTreeMap::new();
            for (number, (join, pick)) in steps.into_iter().enumerate() {
                if join || position_of.is_empty() {
                    let subscriber = Subscriber(number as u32);
                    position_of.insert(subscriber, subscribers.join(subscriber));
                } else {
                    let at = pick as usize % position_of.len();
                    let (subscriber, position) = position_of.iter().nth(at).map(|(s, p)| (*s, *p)).unwrap();
                    position_of.remove(&subscriber);
                    if let Some(moved) = subscribers.leave(position) {
                        position_of.insert(moved, position);
                    }
                }
                let mut listed = subscribers.as_slice().to_vec();
                for (subscriber, position) in &position_of {
                    prop_assert_eq!(listed[*position as usize], *subscriber);
                }
                listed.sort();
                prop_assert_eq!(listed, position_of.keys().copied().collect::<Vec<_>>());
            }
        }
    }
}
