//! One round: replication delay, the most that links carry, a new node that catches up.
//!
//! What it refuses to know: how figures are shown. Invariant: a trial ends only when every node has every
//! entry, and fails if one does not come to that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::batches::Batches;
use super::figures::{Figure, Place, Point, Results};
use super::followers::{Course, Followed, follow};
use super::options::Plan;
use super::publisher;
use crate::engine::{Latencies, latencies};
use crate::process::Cpu;
use crate::servers::conversation::Conversation;
use crate::servers::pushup::{PushUp, until_ready};
use crate::servers::{Server, Stage};
use crate::{Fallible, process};

/// Channels that are followed, at each of two nodes.
const FOLLOWED: u32 = 8;
/// The fewest channels that entries are spread over.
const CHANNELS_MIN: u64 = 64;
/// Messages on a channel at most: half of what the server keeps.
const CHANNEL_MESSAGES: u64 = 500;
/// Bytes of messages on a channel at most: half of what the server keeps.
const CHANNEL_BYTES: u64 = 2_000_000;
/// Room in the servers beside the messages of a trial.
const ROOM_BYTES: u64 = 1 << 30;
/// What an entry may cost beside its message, in bytes.
const OVERHEAD_BYTES: u64 = 512;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// From publishing at one node to reading at another.
    Delay,
    /// Entries in a second.
    Most,
    /// A new node gets everything.
    CatchUp,
}

impl Trial {
    /// All, in order.
    pub const ALL: [Trial; 3] = [Trial::Delay, Trial::Most, Trial::CatchUp];

    /// How the command line calls it.
    pub fn word(self) -> &'static str {
        match self {
            Trial::Delay => "delay",
            Trial::Most => "most",
            Trial::CatchUp => "catch-up",
        }
    }

    /// The trial of that name.
    pub fn from_word(word: &str) -> Result<Trial, String> {
        let known = Trial::ALL.into_iter().find(|trial| trial.word() == word);
        known.ok_or_else(|| format!("{word:?} is none of delay, most, catch-up"))
    }
}

/// All that a round needs.
pub struct Trials<'a> {
    /// What is measured.
    pub plan: &'a Plan,
    /// The server.
    pub pushup: PushUp,
    /// Where nodes are started.
    pub stage: Stage,
}

impl Trials<'_> {
    /// One round of everything.
    pub fn run(&self, results: &mut Results) -> Fallible<()> {
        for trial in &self.plan.trials {
            let done = match trial {
                Trial::Delay => self.plan.rates.iter().try_for_each(|rate| self.delay(*rate, results)),
                Trial::Most => self.most(results),
                Trial::CatchUp => self.catch_up(results),
            };
            done.map_err(|error| format!("{}: {error}", trial.word()))?;
        }
        Ok(())
    }

    // -- Delay ---------------------------------------------------------------------

    fn delay(&self, rate: u64, results: &mut Results) -> Fallible<()> {
        let time = self.plan.warm_up + self.plan.time;
        let entries = rate * time.as_millis() as u64 / 1_000 + rate;
        let body_bytes = self.plan.body_bytes;
        let mut nodes = self.roomy(entries, body_bytes).start_cluster(&self.stage, self.plan.nodes)?;
        let mut batches = Batches::new(channels(entries, body_bytes), body_bytes);
        let epoch = Instant::now();
        let course = Course::new(&batches, epoch, self.plan.warm_up);
        let places = [&nodes[0], &nodes[self.plan.nodes - 1]].map(|node| node.subscribe);
        let to = nodes[0].publish;
        let (late, followed) = follow_all(&course, places, &batches.followed(), || {
            let late = publisher::at_rate(to, &mut batches, rate, time, epoch);
            (late, batches.published())
        })?;
        until_all_have(&mut nodes, batches.published())?;
        for (place, followed) in [Place::Same, Place::Other].into_iter().zip(&followed) {
            for point in Point::ALL {
                results.add(Figure::Delay(rate, place, point), milliseconds(&followed.delays, point));
            }
        }
        results.add(Figure::Late(rate), milliseconds(&late, Point::P99));
        results.add(Figure::Entries(rate), batches.published() as f64);
        results.add(Figure::Received(rate), followed[1].received as f64);
        Ok(())
    }

    // -- The most --------------------------------------------------------------------

    fn most(&self, results: &mut Results) -> Fallible<()> {
        let (entries, body_bytes) = (self.plan.entries, self.plan.body_bytes);
        let pushup = self.roomy(entries, body_bytes);
        let mut alone = [pushup.start(&self.stage)?];
        let cost = self.flood(&mut alone)?;
        results.add(Figure::CpuAlone, microseconds(cost.cpu[0], entries));
        drop(alone);
        let mut nodes = pushup.start_cluster(&self.stage, self.plan.nodes)?;
        let sent_before = sent_bytes(&nodes[0])?;
        let cost = self.flood(&mut nodes)?;
        let sent = sent_bytes(&nodes[0])?.saturating_sub(sent_before);
        results.add(Figure::Most, entries as f64 / cost.took.as_secs_f64());
        let others = (nodes.len() - 1) as u64;
        let ran_ns = cost.cpu[1..].iter().map(|cpu| cpu.ran_ns).sum();
        results.add(Figure::CpuFirst, microseconds(cost.cpu[0], entries));
        results.add(Figure::CpuOther, microseconds(Cpu { ran_ns, waited_ns: 0 }, entries * others));
        results.add(Figure::LinkBytes, sent as f64 / (entries * others) as f64);
        results.add(Figure::BodyBytes, body_bytes as f64);
        Ok(())
    }

    /// Publishes at the first node until all have everything.
    fn flood(&self, nodes: &mut [Server]) -> Fallible<Cost> {
        let (entries, body_bytes) = (self.plan.entries, self.plan.body_bytes);
        let mut batches = Batches::new(channels(entries, body_bytes), body_bytes);
        let before = settled(nodes)?;
        let begin = Instant::now();
        publisher::flood(nodes[0].publish, &mut batches, entries, body_bytes)?;
        until_all_have(nodes, entries)?;
        let took = begin.elapsed();
        let after = settled(nodes)?;
        let cpu = after.into_iter().zip(before).map(|(after, before)| after.since(before)).collect();
        Ok(Cost { took, cpu })
    }

    // -- Catching up -------------------------------------------------------------------

    fn catch_up(&self, results: &mut Results) -> Fallible<()> {
        let body_bytes = self.plan.fill_body_bytes;
        let entries = self.plan.fill_bytes.div_ceil(body_bytes as u64);
        let pushup = self.roomy(entries, body_bytes);
        let mut nodes = pushup.start_cluster(&self.stage, self.plan.nodes - 1)?;
        let mut batches = Batches::new(channels(entries, body_bytes), body_bytes);
        publisher::flood(nodes[0].publish, &mut batches, entries, body_bytes)?;
        until_all_have(&mut nodes, entries)?;
        settled(&mut nodes)?;
        let peak = |nodes: &[Server]| -> Fallible<u64> {
            let peaks: Vec<u64> =
                nodes.iter().map(|node| process::peak_rss(node.pid)).collect::<Fallible<_>>()?;
            Ok(peaks.into_iter().max().unwrap_or(0))
        };
        results.add(Figure::PeakBefore, peak(&nodes)? as f64);
        let begin = Instant::now();
        let mut new = pushup.start_node(&self.stage, &nodes)?;
        until_ready(&mut new)?;
        let took = begin.elapsed();
        // Nothing was published meanwhile, so that whoever is ready has all.
        let has = cached_messages(&mut Conversation::with(new.publish)?)?;
        if has != entries {
            return Err(format!("a node is ready with {has} of {entries} messages").into());
        }
        let caught = (entries * body_bytes as u64) as f64;
        results.add(Figure::CaughtBytes, caught);
        results.add(Figure::CatchUp, took.as_secs_f64());
        results.add(Figure::CatchUpRate, caught / 1e6 / took.as_secs_f64());
        results.add(Figure::PeakGiver, peak(&nodes)? as f64);
        results.add(Figure::PeakTaker, process::peak_rss(new.pid)? as f64);
        Ok(())
    }

    /// A server that keeps so many messages, whatever the default is.
    fn roomy(&self, entries: u64, body_bytes: usize) -> PushUp {
        let cache = entries * (body_bytes as u64 + OVERHEAD_BYTES) + ROOM_BYTES;
        let mut pushup = self.pushup.clone();
        for (flag, bytes) in [("--cache-bytes-max", cache), ("--memory-bytes-max", 2 * cache)] {
            // What a person says goes before.
            if !pushup.args.iter().any(|arg| arg.to_string_lossy().starts_with(flag)) {
                pushup.args.extend([flag.into(), bytes.to_string().into()]);
            }
        }
        pushup
    }
}

/// What a flood took.
struct Cost {
    took: Duration,
    /// Of each node.
    cpu: Vec<Cpu>,
}

/// How many channels entries are spread over, so that the server keeps all of them.
fn channels(entries: u64, body_bytes: usize) -> u32 {
    let each = CHANNEL_MESSAGES.min(CHANNEL_BYTES / body_bytes as u64).max(1);
    u32::try_from(entries.div_ceil(each).max(CHANNELS_MIN)).unwrap_or(u32::MAX)
}

impl Batches {
    /// Some channels, their names with them, that lie far apart.
    fn followed(&self) -> Vec<(u32, String)> {
        let apart = self.channels() / FOLLOWED;
        (0..FOLLOWED)
            .map(|index| index * apart)
            .map(|channel| (channel, self.channel_name(channel)))
            .collect()
    }
}

/// Follows the channels at each place while `publish` publishes; it tells how many entries there are.
fn follow_all(
    course: &Course,
    places: [SocketAddr; 2],
    channels: &[(u32, String)],
    publish: impl FnOnce() -> (Fallible<Latencies>, u64),
) -> Fallible<(Latencies, [Followed; 2])> {
    std::thread::scope(|scope| {
        let spawn = |to: SocketAddr| {
            let one = |(channel, name): &'_ (u32, String)| {
                let (channel, name) = (*channel, name.clone());
                scope.spawn(move || follow(course, to, channel, &name))
            };
            channels.iter().map(one).collect::<Vec<_>>()
        };
        let places = places.map(spawn);
        let (late, published) = publish();
        course.finish(published);
        let late = late?;
        let [same, other] = places.map(|followers| -> Fallible<Followed> {
            let mut all = Followed { delays: latencies(), received: 0 };
            for follower in followers {
                let one = follower.join().map_err(|_| "a follower's thread ended")??;
                all.delays.add(&one.delays)?;
                all.received += one.received;
            }
            Ok(all)
        });
        Ok((late, [same?, other?]))
    })
}

/// Waits until every node has so many messages, which is all.
fn until_all_have(nodes: &mut [Server], entries: u64) -> Fallible<()> {
    for node in nodes {
        let mut asking = Conversation::with(node.publish)?;
        let mut has = 0;
        let waited = node.wait("get every entry", |_| {
            has = cached_messages(&mut asking)?;
            Ok(has >= entries)
        });
        waited.map_err(|error| format!("{has} of {entries} entries: {error}"))?;
        if has != entries {
            return Err(format!("a node has {has} messages of {entries}").into());
        }
    }
    Ok(())
}

fn cached_messages(asking: &mut Conversation) -> Fallible<u64> {
    asking.number("/stats", "cached_messages")
}

/// The processor time of all nodes when none has anything to do.
fn settled(nodes: &mut [Server]) -> Fallible<Vec<Cpu>> {
    nodes.iter_mut().try_for_each(Server::settle)?;
    nodes.iter().map(Server::cpu).collect()
}

/// Bytes that a node has sent to all others.
fn sent_bytes(node: &Server) -> Fallible<u64> {
    let cluster = Conversation::with(node.publish)?.json("/cluster")?;
    let members = cluster["members"].as_array().ok_or("/cluster has no members")?;
    Ok(members.iter().filter_map(|member| member["sent_bytes"].as_u64()).sum())
}

fn milliseconds(of: &Latencies, point: Point) -> f64 {
    let us = match point {
        Point::P50 => of.value_at_quantile(0.5),
        Point::P99 => of.value_at_quantile(0.99),
        Point::Max => of.max(),
    };
    us as f64 / 1e3
}

fn microseconds(cpu: Cpu, entries: u64) -> f64 {
    cpu.ran_ns as f64 / 1e3 / entries.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_keep_all_that_is_published() {
        for (entries, body_bytes) in [(1u64, 100), (550_000, 100), (200_000, 1_000), (2_000, 100_000)] {
            let each = entries.div_ceil(u64::from(channels(entries, body_bytes)));
            assert!(each <= 1_000 && each * body_bytes as u64 <= 4 << 20, "{entries} {body_bytes}");
        }
        let batches = Batches::new(channels(550_000, 100), 100);
        let followed = batches.followed();
        assert!(followed.windows(2).all(|two| two[0].0 < two[1].0) && followed[7].0 < batches.channels());
    }

    #[test]
    fn words() {
        assert!(Trial::ALL.iter().all(|trial| Trial::from_word(trial.word()) == Ok(*trial)));
        assert!(Trial::from_word("all").is_err());
    }
}
