//! What is counted, and how it is shown: Prometheus text and JSON from one table.
//!
//! A shard counts in plain integers of its own; they are merged when somebody asks.
//! Channel names are never labels: their number has no bound.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $help:literal,)*) => {
        /// What one shard has counted since its start. Each only rises.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Adds another shard's counts.
            pub fn add(&mut self, other: &Counters) { $(self.$name += other.$name;)* }

            /// Name, value and help of each, for a scrape.
            fn rows(&self) -> impl Iterator<Item = Row> {
                [$(Row { name: concat!(stringify!($name), "_total"), kind: "counter", help: $help, value: self.$name },)*]
                    .into_iter()
            }
        }
    };
}

counters! {
    /// Accepted connections.
    connections_accepted "Connections accepted.",
    /// Connections refused with 503 because descriptors, slots or memory were exhausted.
    connections_refused "Connections refused for want of descriptors, slots or memory.",
    /// Idle connections closed to make room.
    connections_evicted "Idle connections closed to make room.",
    /// Connections closed because the peer was too slow to send or to read.
    connections_too_slow "Connections closed because the peer sent or read too slowly.",
    /// Requests of any kind.
    requests "Requests of any kind.",
    /// Requests answered with a status of 400 or above.
    requests_refused "Requests answered with a status of 400 or above.",
    /// Polls refused because their client had as many as it may.
    requests_limited "Polls refused with 429 because their client had as many as it may.",
    /// Connections closed at the proxies' listener.
    proxies_refused "Connections to the proxies' listener closed: not of a trusted network, or without a PROXY header.",
    /// Polls that were let in.
    polls "Polls received.",
    /// Polls answered at once from the cache.
    polls_immediate "Polls answered at once.",
    /// Polls that ended without a message.
    polls_timed_out "Held polls answered without a message because their time was over.",
    /// Clients that left while their poll was held.
    polls_abandoned "Held polls whose client left.",
    /// Held polls answered with news.
    deliveries "Held polls answered with news.",
    /// Publications that got a number.
    publications "Messages published.",
    /// Publications that were recognised by their Idempotency-Key.
    publications_repeated "Publications recognised by their Idempotency-Key.",
    /// Answers that told of a gap.
    gaps "Answers that told of messages no longer cached.",
    /// Entries of other nodes that were dropped: their channel was closed, or there was no room.
    entries_dropped "Entries of other nodes dropped: channel closed, or no room.",
    /// Bytes read from sockets.
    received_bytes "Bytes received.",
    /// Bytes written to sockets.
    sent_bytes "Bytes sent.",
}

/// What is so at the moment of asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Open connections.
    pub connections: u64,
    /// Held polls.
    pub held_polls: u64,
    /// Open channels.
    pub channels: u64,
    /// Cached messages, each once per channel.
    pub cached_messages: u64,
    /// Bytes of cached messages.
    pub cached_bytes: u64,
    /// Memory in use as far as it is counted, in bytes.
    pub memory_bytes: u64,
    /// Highest entry of this node's log.
    pub log_entries: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
}

impl Gauges {
    /// Adds what is so at another shard; what the whole node has once, the first shard tells.
    pub fn add(&mut self, other: &Gauges) {
        self.connections += other.connections;
        self.held_polls += other.held_polls;
        self.memory_bytes += other.memory_bytes;
    }
}

struct Row {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: u64,
}

impl Gauges {
    fn rows(&self) -> impl Iterator<Item = Row> {
        let gauge = |name, help, value| Row { name, kind: "gauge", help, value };
        [
            gauge("connections", "Open connections.", self.connections),
            gauge("held_polls", "Held polls.", self.held_polls),
            gauge("channels", "Open channels.", self.channels),
            gauge("cached_messages", "Cached messages, each once per channel.", self.cached_messages),
            gauge("cached_bytes", "Bytes of cached messages.", self.cached_bytes),
            gauge("memory_bytes", "Memory in use as far as it is counted.", self.memory_bytes),
            gauge("log_entries", "Highest entry of this node's log.", self.log_entries),
            gauge("uptime_seconds", "Seconds since the start.", self.uptime_seconds),
        ]
        .into_iter()
    }
}

/// The Prometheus text format, version 0.0.4.
pub fn prometheus(counters: &Counters, gauges: &Gauges) -> String {
    let mut text = String::new();
    for Row { name, kind, help, value } in gauges.rows().chain(counters.rows()) {
        text += &format!("# HELP pushup_{name} {help}\n# TYPE pushup_{name} {kind}\npushup_{name} {value}\n");
    }
    text
}

/// One JSON object with a member for each figure, named as in Prometheus without the prefix.
pub fn json(version: &str, origin: &str, counters: &Counters, gauges: &Gauges) -> String {
    let mut text = format!("{{\"version\":\"{version}\",\"origin\":\"{origin}\"");
    for Row { name, value, .. } in gauges.rows().chain(counters.rows()) {
        text += &format!(",\"{name}\":{value}");
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_show_the_same_figures() {
        let counters = Counters { polls: 7, ..Counters::default() };
        let gauges = Gauges { held_polls: 3, ..Gauges::default() };
        let text = prometheus(&counters, &gauges);
        assert!(text.contains("# TYPE pushup_polls_total counter\npushup_polls_total 7\n"));
        assert!(text.contains("# TYPE pushup_held_polls gauge\npushup_held_polls 3\n"));
        let json: serde_json::Value = serde_json::from_str(&json("1", "ab", &counters, &gauges)).unwrap();
        assert_eq!((&json["polls_total"], &json["held_polls"]), (&7.into(), &3.into()));
    }

    #[test]
    fn merging_adds() {
        let mut one = Counters { polls: 7, ..Counters::default() };
        one.add(&Counters { polls: 1, gaps: 2, ..Counters::default() });
        assert_eq!((one.polls, one.gaps), (8, 2));
    }
}
