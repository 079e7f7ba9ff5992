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
    /// An entry that came early is counted as applied and dropped.
    EarlyDropped,
    /// What was missed while a link was down is not pulled.
    NoPullAfterCut,
    /// An acknowledgement is counted for whoever is asked about and not for who gave it.
    AckOfAnyNode,
    /// An entry is acknowledged before it is applied, and also if it never is.
    AckBeforeApply,
    /// An answer that was cut by `limit` has a cursor that covers everything.
    CursorTakesHead,
    /// A snapshot's head is the one of the moment when it ended.
    SnapshotHeadAtEnd,
    /// A snapshot does not say how far its channels were dropped.
    SnapshotForgetsEvicted,
    /// A message of several channels is installed anew for each of them.
    SnapshotRepeats,
    /// A node that restarts numbers as it did before.
    OriginReused,
    /// Idempotency-Keys stay on the node that was given them.
    KeyNotReplicated,
    /// A close ends whatever life of the name it meets.
    CloseAnyGeneration,
    /// A channel that was renewed meanwhile expires all the same.
    ExpireUnconditional,
    /// A pull is answered from one entry too late.
    PullOffByOne,
    /// After a reconnect a node's own entries are pushed from one entry too late.
    ResumeTooFar,
    /// A node says that it is ready before it has caught up.
    ReadyTooEarly,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 17] = [
        Bug::ApplyOutOfOrder,
        Bug::DigestAhead,
        Bug::EarlyDropped,
        Bug::NoPullAfterCut,
        Bug::AckOfAnyNode,
        Bug::AckBeforeApply,
        Bug::CursorTakesHead,
        Bug::SnapshotHeadAtEnd,
        Bug::SnapshotForgetsEvicted,
        Bug::SnapshotRepeats,
        Bug::OriginReused,
        Bug::KeyNotReplicated,
        Bug::CloseAnyGeneration,
        Bug::ExpireUnconditional,
        Bug::PullOffByOne,
        Bug::ResumeTooFar,
        Bug::ReadyTooEarly,
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
        self.bug == Some(bug)
    }
}
