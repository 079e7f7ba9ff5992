//! The TCP framing layer between nodes.
