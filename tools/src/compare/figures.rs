//! The figures that are compared: what each is called, how it is written, what it is to reach.
//!
//! What it refuses to know: how they are measured. Invariant: what a target is compared with
//! is PushUp's alone; the others have none.

use crate::series::{Number, decimals, whole};

/// What can be asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// CPU time per delivery and re-poll, all polls on one channel.
    DeliveryOne,
    /// The same, each poll on a channel of its own.
    DeliveryEach,
    /// Latency of a message to everybody.
    Broadcast,
    /// Publishing when nobody listens.
    Publish,
    /// Taking in connections and their first polls.
    Accept,
    /// Memory of held polls, all on one channel.
    MemoryOne,
    /// The same, each on a channel of its own.
    MemoryEach,
    /// What the server needs before anybody comes, and on disk.
    Idle,
}

impl Part {
    /// All, in the order of the table.
    pub const ALL: [Part; 8] = [
        Part::DeliveryOne,
        Part::DeliveryEach,
        Part::Broadcast,
        Part::Publish,
        Part::Accept,
        Part::MemoryOne,
        Part::MemoryEach,
        Part::Idle,
    ];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Part::DeliveryOne => "delivery",
            Part::DeliveryEach => "delivery-each",
            Part::Broadcast => "broadcast",
            Part::Publish => "publish",
            Part::Accept => "accept",
            Part::MemoryOne => "memory",
            Part::MemoryEach => "memory-each",
            Part::Idle => "idle",
        }
    }

    /// The inverse of [`Part::word`]; the error lists all words.
    pub fn from_word(word: &str) -> Result<Part, String> {
        let found = Part::ALL.into_iter().find(|part| part.word() == word);
        found.ok_or_else(|| format!("{word:?} is none of {}", Part::ALL.map(Part::word).join(", ")))
    }
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Nothing was promised.
    None,
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most so many times what the bare loop has.
    TimesBare(f64),
}

impl Target {
    /// For the table.
    pub fn show(self, number: Number) -> String {
        match self {
            Target::None => String::new(),
            Target::AtMost(most) => format!("≤ {}", number(most)),
            Target::AtLeast(least) => format!("≥ {}", number(least)),
            Target::TimesBare(most) => format!("≤ {most}× bare"),
        }
    }

    /// Whether it is met by this value and this ratio to the bare loop; none if that cannot be told.
    pub fn is_met(self, value: f64, times_bare: f64) -> Option<bool> {
        let (found, met) = match self {
            Target::None => return None,
            Target::AtMost(most) => (value, value <= most),
            Target::AtLeast(least) => (value, value >= least),
            Target::TimesBare(most) => (times_bare, times_bare <= most),
        };
        (!found.is_nan()).then_some(met)
    }
}

/// One row of the table, or something that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Server CPU per delivery and re-poll on one channel, µs.
    DeliveryOne,
    /// The same with a channel each, µs.
    DeliveryEach,
    /// From a publication's planned time to the first answer, ms.
    First,
    /// To half of the answers, ms.
    P50,
    /// To 99 % of them, ms.
    P99,
    /// To 99.9 % of them, ms.
    P999,
    /// To the last, ms.
    Last,
    /// Publications without subscribers per second of CPU time.
    PublishCpu,
    /// The same by the clock.
    PublishClock,
    /// Server CPU per accepted connection and its first poll, µs.
    AcceptCpu,
    /// Connections with a held poll per second by the clock.
    AcceptClock,
    /// Memory per held poll on one channel, bytes of Pss.
    HeldOne,
    /// The same, bytes of Private_Dirty.
    HeldOneDirty,
    /// Held again after a message to all, bytes of Pss.
    AgainOne,
    /// Memory per held poll with a channel each, bytes of Pss.
    HeldEach,
    /// The same, bytes of Private_Dirty.
    HeldEachDirty,
    /// Held again after a message to each, bytes of Pss.
    AgainEach,
    /// Resident memory before anybody came, MB.
    IdleRss,
    /// The program on disk, MB.
    Binary,
    /// How long the server waited for its processor while polls on one channel were answered, % of its CPU time.
    WaitedOne,
    /// The same with a channel each.
    WaitedEach,
    /// Bytes that a poller received per delivery, on one channel.
    BytesIn,
    /// Bytes that it sent.
    BytesOut,
}

impl Figure {
    /// The table's rows, in order; the others are told below it.
    pub const ROWS: [Figure; 19] = [
        Figure::DeliveryOne,
        Figure::DeliveryEach,
        Figure::First,
        Figure::P50,
        Figure::P99,
        Figure::P999,
        Figure::Last,
        Figure::PublishCpu,
        Figure::PublishClock,
        Figure::AcceptCpu,
        Figure::AcceptClock,
        Figure::HeldOne,
        Figure::HeldOneDirty,
        Figure::AgainOne,
        Figure::HeldEach,
        Figure::HeldEachDirty,
        Figure::AgainEach,
        Figure::IdleRss,
        Figure::Binary,
    ];

    /// What must be asked for to get it; none for what explains others.
    pub fn part(self) -> Option<Part> {
        Some(match self {
            Figure::DeliveryOne => Part::DeliveryOne,
            Figure::DeliveryEach => Part::DeliveryEach,
            Figure::First | Figure::P50 | Figure::P99 | Figure::P999 | Figure::Last => Part::Broadcast,
            Figure::PublishCpu | Figure::PublishClock => Part::Publish,
            Figure::AcceptCpu | Figure::AcceptClock => Part::Accept,
            Figure::HeldOne | Figure::HeldOneDirty | Figure::AgainOne => Part::MemoryOne,
            Figure::HeldEach | Figure::HeldEachDirty | Figure::AgainEach => Part::MemoryEach,
            Figure::IdleRss | Figure::Binary => Part::Idle,
            Figure::WaitedOne | Figure::WaitedEach | Figure::BytesIn | Figure::BytesOut => return None,
        })
    }

    /// What it is called, with its unit, for so many polls.
    pub fn name(self, polls: usize) -> String {
        let polls = whole(polls as f64);
        match self {
            Figure::DeliveryOne => {
                format!("server CPU per delivery + re-poll, {polls} polls on one channel, µs")
            }
            Figure::DeliveryEach => {
                format!("server CPU per delivery + re-poll, {polls} polls on a channel each, µs")
            }
            Figure::First => format!("1 KB to {polls} polls: first answer after, ms"),
            Figure::P50 => "… p50, ms".to_owned(),
            Figure::P99 => "… p99, ms".to_owned(),
            Figure::P999 => "… p99.9, ms".to_owned(),
            Figure::Last => "… last, ms".to_owned(),
            Figure::PublishCpu => "publications without subscribers per second of server CPU".to_owned(),
            Figure::PublishClock => "… per second by the clock".to_owned(),
            Figure::AcceptCpu => "server CPU per accepted connection + first poll held, µs".to_owned(),
            Figure::AcceptClock => "connections with a held poll per second by the clock".to_owned(),
            Figure::HeldOne => format!("memory per held poll, {polls} on one channel, bytes of Pss"),
            Figure::HeldEach => format!("memory per held poll, {polls} on a channel each, bytes of Pss"),
            Figure::HeldOneDirty | Figure::HeldEachDirty => "… bytes of Private_Dirty".to_owned(),
            Figure::AgainOne => "… held again after a message to all, bytes of Pss".to_owned(),
            Figure::AgainEach => "… held again after a message to each, bytes of Pss".to_owned(),
            Figure::IdleRss => "idle RSS, MB".to_owned(),
            Figure::Binary => "program, MB".to_owned(),
            Figure::WaitedOne => {
                "waited for its processor, polls on one channel, % of its CPU time".to_owned()
            }
            Figure::WaitedEach => {
                "waited for its processor, polls on a channel each, % of its CPU time".to_owned()
            }
            Figure::BytesIn => "bytes received by a poll's client per delivery".to_owned(),
            Figure::BytesOut => "bytes sent by it".to_owned(),
        }
    }

    /// How its values are written.
    pub fn number(self) -> Number {
        match self {
            Figure::PublishCpu
            | Figure::PublishClock
            | Figure::AcceptClock
            | Figure::HeldOne
            | Figure::HeldOneDirty
            | Figure::AgainOne
            | Figure::HeldEach
            | Figure::HeldEachDirty
            | Figure::AgainEach
            | Figure::BytesIn
            | Figure::BytesOut => whole,
            _ => decimals,
        }
    }

    /// What PushUp is to reach.
    pub fn target(self) -> Target {
        match self {
            Figure::DeliveryOne => Target::TimesBare(1.15),
            Figure::DeliveryEach => Target::TimesBare(1.25),
            Figure::P99 | Figure::AcceptCpu => Target::TimesBare(1.2),
            Figure::PublishCpu => Target::AtLeast(150_000.0),
            Figure::HeldOne => Target::AtMost(100.0),
            Figure::IdleRss => Target::AtMost(1.5),
            Figure::Binary => Target::AtMost(1.6),
            _ => Target::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_parts() {
        for part in Part::ALL {
            assert_eq!(Part::from_word(part.word()), Ok(part));
        }
        assert!(Part::from_word("latency").unwrap_err().contains("delivery-each"));
    }

    #[test]
    fn targets_are_met_or_not_or_cannot_be_told() {
        for (target, value, times_bare, met) in [
            (Target::None, 1.0, 1.0, None),
            (Target::AtMost(100.0), 100.0, f64::NAN, Some(true)),
            (Target::AtMost(100.0), 100.5, f64::NAN, Some(false)),
            (Target::AtMost(100.0), f64::NAN, 1.0, None),
            (Target::AtLeast(5.0), 4.0, 1.0, Some(false)),
            (Target::TimesBare(1.2), 9.0, 1.2, Some(true)),
            (Target::TimesBare(1.2), 0.1, 1.3, Some(false)),
            (Target::TimesBare(1.2), 0.1, f64::NAN, None),
        ] {
            assert_eq!(target.is_met(value, times_bare), met, "{target:?} {value} {times_bare}");
        }
        assert_eq!(Target::TimesBare(1.15).show(decimals), "≤ 1.15× bare");
        assert_eq!(Target::AtLeast(150_000.0).show(whole), "≥ 150,000");
    }
}
