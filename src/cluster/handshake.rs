//! The handshake of a link: both sides say who they are and prove that they hold the cluster's key.
