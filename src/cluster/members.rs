//! Who belongs to the cluster (paper §7, gossip), by SWIM.
