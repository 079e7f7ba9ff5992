//! What a cluster of many nodes costs: bytes on links and in datagrams, idle and under load.

pub fn figure(_nodes: usize) -> bool {
    true
}
