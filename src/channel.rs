//! Channels and the message queue that owns them (paper §3.2 and §3.3).
//!
//! Pure: values and `now` in, values out; knows no bytes of any protocol and no
//! connection, only [`subscription::Subscriber`] handles that its caller chose.
//! In reading order: a [`message`] is published, a channel's [`history`] keeps it for a
//! while, a [`subscription`] says what a poll wants, a [`channel`] joins the two, the
//! [`queue`] owns the channels. [`idempotency`] recognises a publication that is sent again. What
//! one node did is an [`entry`] of its log, which others apply too; a [`snapshot`] is all that a
//! queue holds, for a node that comes too late for the log.

#[allow(clippy::module_inception)] // One channel among what all channels are made of.
pub mod channel;
pub mod entry;
pub mod history;
pub mod idempotency;
pub mod message;
pub mod queue;
pub mod snapshot;
pub mod subscription;
