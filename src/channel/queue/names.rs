//! Finds channels by their names.
//!
//! Holds places only, four bytes a channel; the names themselves stand in the channels, which
//! whoever looks one up is about to touch anyway. The hash is the standard library's, keyed:
//! names are chosen by clients.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use slab::Slab;

use super::ChannelIx;
use crate::channel::channel::Channel;

/// The places of open channels, by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    places: HashTable<ChannelIx>,
    hasher: RandomState,
}

impl Names {
    /// The channel of that name.
    pub(super) fn find(&self, name: &str, channels: &Slab<Channel>) -> Option<ChannelIx> {
        let is_it = |ix: &ChannelIx| name_of(channels, *ix) == name;
        self.places.find(self.hasher.hash_one(name), is_it).copied()
    }

    /// Adds a channel that stands in `channels` already and whose name is not here yet.
    pub(super) fn insert(&mut self, ix: ChannelIx, channels: &Slab<Channel>) {
        let hash = |ix: &ChannelIx| self.hasher.hash_one(name_of(channels, *ix));
        self.places.insert_unique(hash(&ix), ix, hash);
    }

    /// Takes the channel at `ix` out, of that name.
    pub(super) fn remove(&mut self, name: &str, ix: ChannelIx) {
        if let Ok(entry) = self.places.find_entry(self.hasher.hash_one(name), |other| *other == ix) {
            entry.remove();
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

fn name_of(channels: &Slab<Channel>, ix: ChannelIx) -> &str {
    channels.get(ix.0 as usize).map_or("", |channel| channel.name.as_str())
}
