//! Publications by the batch: NDJSON whose messages carry markers.
//!
//! What it refuses to know: connections and clocks. Invariant: entry number `i` of a run is message
//! `i / channels` of channel `i % channels`, so that what is to be on a channel follows from their number.

use crate::dialect::ChannelNames;
use crate::marker::{Marker, RunId};

/// What `POST /pub` takes line by line.
const NDJSON: &str = "application/x-ndjson";

/// The entries of one run, in order.
pub struct Batches {
    run: RunId,
    names: ChannelNames,
    channels: u32,
    body_bytes: usize,
    next: u64,
    name: Vec<u8>,
    lines: Vec<u8>,
}

impl Batches {
    /// Messages of so many bytes, round and round so many channels.
    pub fn new(channels: u32, body_bytes: usize) -> Batches {
        let run = RunId::fresh();
        let (name, lines) = (Vec::new(), Vec::new());
        Batches { run, names: ChannelNames::new(run), channels, body_bytes, next: 0, name, lines }
    }

    /// The run's name, which is in every marker.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// How many channels there are.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// A channel's name.
    pub fn channel_name(&self, channel: u32) -> String {
        let mut name = Vec::new();
        self.names.write(channel, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }

    /// Entries so far.
    pub fn published(&self) -> u64 {
        self.next
    }

    /// Writes the request of the next `count` entries over `out`; they are marked with the time `sent_ns`.
    pub fn write(&mut self, count: u64, sent_ns: u64, host: &str, out: &mut Vec<u8>) {
        self.lines.clear();
        for entry in self.next..self.next + count {
            let (sequence, channel) = place(entry, self.channels);
            self.names.write(channel, &mut self.name);
            self.lines.extend_from_slice(b"{\"channel\":\"");
            self.lines.extend_from_slice(&self.name);
            self.lines.extend_from_slice(b"\",\"data\":\"");
            let marker = Marker { channel, sequence, planned_ns: sent_ns };
            marker.write_body(self.run, self.body_bytes, &mut self.lines);
            self.lines.extend_from_slice(b"\"}\n");
        }
        self.next += count;
        out.clear();
        let length = self.lines.len();
        let head = format!(
            "POST /pub HTTP/1.1\r\nHost: {host}\r\nContent-Type: {NDJSON}\r\nContent-Length: {length}\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&self.lines);
    }
}

fn place(entry: u64, channels: u32) -> (u32, u32) {
    let channels = u64::from(channels.max(1));
    ((entry / channels) as u32, (entry % channels) as u32)
}

/// How many of the first `published` entries are on that channel.
pub fn published_on(channel: u32, channels: u32, published: u64) -> u32 {
    let (whole, rest) = place(published, channels);
    whole + u32::from(channel < rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::MarkerFinder;

    #[test]
    fn entries_go_round_the_channels() {
        let mut batches = Batches::new(3, 60);
        let finder = MarkerFinder::new(batches.run());
        let mut seen = Vec::new();
        let mut request = Vec::new();
        for count in [2, 5] {
            batches.write(count, 9, "here", &mut request);
            let text = String::from_utf8(request.clone()).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            assert_eq!(body.lines().count() as u64, count);
            for line in body.lines() {
                let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                let (marker, _) = finder.first(line.as_bytes()).expect("a marker");
                assert_eq!(value["channel"], batches.channel_name(marker.channel));
                assert_eq!(value["data"].as_str().map(str::len), Some(60));
                seen.push((marker.channel, marker.sequence));
            }
        }
        assert_eq!(seen, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]);
        for channel in 0..3 {
            let on = seen.iter().filter(|(of, _)| *of == channel).count();
            assert_eq!(published_on(channel, 3, batches.published()) as usize, on);
        }
    }
}
