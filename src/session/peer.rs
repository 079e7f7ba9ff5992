//! What a link carries of the domain: entries and pieces of snapshots, to frames and back.
