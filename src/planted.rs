//! Bugs that are planted on purpose, so that the simulator can prove that it would see them.
//!
//! Each is one wrong branch in the code where such a bug would be made. Without the feature
//! `planted-bugs` a [`Planted`] is nothing, [`Planted::is`] is the constant `false`, and the
//! branches are gone from the program.

/// A mistake that somebody might make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An entry is applied although it is not the next of its origin.
    ApplyOutOfOrder,
    /// The digest says that an entry is here before it is applied.
    DigestAhead,
    /// An entry that came early is dropped when its turn comes.
    EarlyDropped,
    /// After a reconnect a node's own entries are pushed from one entry too late. Not a bug by itself,
    /// as the missing one is pulled: without it hardly an entry ever comes early, and so it comes with
    /// the three before.
    ResumeTooFar,
    /// What was missed is not pulled from others.
    NoPull,
    /// A pull is answered from one entry too late.
    PullOffByOne,
    /// A node that has fallen behind the logs asks for no snapshot.
    NoSnapshotWhenTruncated,
    /// An acknowledgement is counted for every node and not for those who gave it.
    AckOfAnyNode,
    /// An entry counts as acknowledged once it is sent.
    AckAtSending,
    /// An answer that was cut by `limit` has a cursor that covers everything.
    CursorTakesHead,
    /// A snapshot's head covers more than the snapshot holds.
    SnapshotHeadTooHigh,
    /// A snapshot does not say how far its channels were dropped.
    SnapshotForgetsEvicted,
    /// A snapshot's messages are installed although they are there.
    SnapshotRepeats,
    /// A snapshot does not bring the Idempotency-Keys.
    SnapshotWithoutKeys,
    /// Whoever waits is not told of what a snapshot only tells of.
    SnapshotStirsNobody,
    /// A node that restarts numbers as it did before.
    OriginReused,
    /// Idempotency-Keys stay on the node that was given them.
    KeyNotReplicated,
    /// Of two messages with one key each node keeps the one that came first.
    RepetitionDropped,
    /// A close ends whatever life of the name it meets.
    CloseAnyGeneration,
    /// A channel that was renewed meanwhile expires all the same.
    ExpireUnconditional,
    /// A node says that it is ready before it has caught up.
    ReadyTooEarly,
    /// A cursor of which nothing is known yet is taken for one of a former life.
    ResetInDoubt,
}

impl Bug {
    /// All that must be found.
    pub const ALL: [Bug; 21] = [
        Bug::ApplyOutOfOrder,
        Bug::DigestAhead,
        Bug::EarlyDropped,
        Bug::NoPull,
        Bug::PullOffByOne,
        Bug::NoSnapshotWhenTruncated,
        Bug::AckOfAnyNode,
        Bug::AckAtSending,
        Bug::CursorTakesHead,
        Bug::SnapshotHeadTooHigh,
        Bug::SnapshotForgetsEvicted,
        Bug::SnapshotRepeats,
        Bug::SnapshotWithoutKeys,
        Bug::SnapshotStirsNobody,
        Bug::OriginReused,
        Bug::KeyNotReplicated,
        Bug::RepetitionDropped,
        Bug::CloseAnyGeneration,
        Bug::ExpireUnconditional,
        Bug::ReadyTooEarly,
        Bug::ResetInDoubt,
    ];
}

/// Which bug a node has, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

#[cfg(not(feature = "planted-bugs"))]
impl Planted {
    /// Whether the node has that bug: never.
    #[inline(always)]
    pub const fn is(self, _bug: Bug) -> bool {
        false
    }
}

#[cfg(feature = "planted-bugs")]
impl Planted {
    /// A node with that bug.
    pub const fn with(bug: Bug) -> Planted {
        Planted { bug: Some(bug) }
    }

    /// Whether the node has that bug.
    pub fn is(self, bug: Bug) -> bool {
        let needs_early =
            matches!(self.bug, Some(Bug::ApplyOutOfOrder | Bug::DigestAhead | Bug::EarlyDropped));
        self.bug == Some(bug) || bug == Bug::ResumeTooFar && needs_early
    }
}
