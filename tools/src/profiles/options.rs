//! What a run is told: the plan, and how the command line becomes one.
//!
//! What it refuses to know: what the settings are called (`settings`). Invariant: a plan that
//! was parsed is within all bounds, and drives nothing but loopback unless told so explicitly.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;

use super::many;
use super::many::fit::{Division, TABLE_MAX};
use super::settings;
use crate::dialect::Dialect;
use crate::marker::MARKER_BYTES_MAX;
use crate::progress::Voice;
use crate::servers::Placement;
use crate::{Fallible, sys};

/// Descriptors that pollers may not take: publishers, files, the event loop.
const DESCRIPTORS_SPARE: usize = 100;

/// Channels that many polls are spread over at the end, if not said.
const MANY_CHANNELS: u32 = 1_000;
/// Many polls are watched so long without messages: each times out once.
const MANY_DURATION: Duration = Duration::from_secs(50);
/// A message to many must have arrived after so long, and for each this much more.
const MANY_DRAIN: Duration = Duration::from_secs(30);
const MANY_DRAIN_EACH: Duration = Duration::from_micros(90);

/// Messages that may be planned in a second.
const MESSAGES_PER_S_MAX: f64 = 1_000_000.0;

/// A way of loading a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Idle polls: what each costs in memory.
    Hold,
    /// One message to all, again and again, whatever the server does.
    Broadcast,
    /// Each poll on a channel of its own, as fast as it goes.
    Cycle,
    /// Clients that come, poll and leave.
    Churn,
    /// Publications to nobody.
    Publish,
    /// All clients lose their connections at once.
    Storm,
    /// A long time, for memory that grows.
    Soak,
    /// Some read slowly or not at all.
    Slow,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 8] = [
        Profile::Hold,
        Profile::Broadcast,
        Profile::Cycle,
        Profile::Churn,
        Profile::Publish,
        Profile::Storm,
        Profile::Soak,
        Profile::Slow,
    ];

    /// Its name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Profile::Hold => "hold",
            Profile::Broadcast => "broadcast",
            Profile::Cycle => "cycle",
            Profile::Churn => "churn",
            Profile::Publish => "publish",
            Profile::Storm => "storm",
            Profile::Soak => "soak",
            Profile::Slow => "slow",
        }
    }

    /// The profile of that name.
    pub fn from_word(word: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.word() == word)
    }

    /// What it does, for a list.
    pub fn summary(self) -> &'static str {
        match self {
            Profile::Hold => "idle polls: memory of each, user space and kernel; how fast they connect",
            Profile::Broadcast => {
                "one message to all at fixed times: latency to the first, p50, p99, p99.9, last"
            }
            Profile::Cycle => "each poll on a channel of its own: answers and re-polls a second, CPU of each",
            Profile::Churn => "clients that connect, poll and leave at a rate, while others are served",
            Profile::Publish => "publications to nobody: how many a second, and their latency",
            Profile::Storm => "all connections lost at once: until all are served again, with nothing lost",
            Profile::Soak => "a long time with messages: memory over time, and its slope",
            Profile::Slow => "some read slowly or not at all: whether the others are delayed",
        }
    }
}

/// Which server is started if none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnServer {
    /// PushUp: the program of that path, or the one that was built last.
    PushUp(Option<PathBuf>),
    /// nginx with nchan.
    Nchan,
}

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The way of loading.
    pub profile: Profile,
    /// Pollers.
    pub connections: usize,
    /// Channels that they are spread over.
    pub channels: u32,
    /// How long is measured.
    pub duration: Duration,
    /// Events in a second: visits or publications; as many as possible if 0.
    pub rate: f64,
    /// From one message to the next on each channel.
    pub interval: Duration,
    /// Bytes of a message.
    pub body_bytes: usize,
    /// How long a visitor stays.
    pub stay: Duration,
    /// How often all connections are lost.
    pub storms: u32,
    /// From one look at the memory to the next.
    pub sample: Duration,
    /// The part of the pollers that does not read promptly.
    pub slow_share: f64,
    /// Bytes that half of them read in a second; the other half reads nothing.
    pub slow_rate: u32,
    /// Messages that may be under way at once.
    pub in_flight: u64,
    /// Connections that publish.
    pub publishers: usize,
    /// Publications in flight on each of them.
    pub pipeline: usize,
    /// Connections that may be under way.
    pub connecting: usize,
    /// Connections in a second; as many as possible if 0.
    pub connect_rate: f64,
    /// Threads that hold polls, each with descriptors of its own; as many as needed if 0.
    pub workers: usize,
    /// Shards of the server that is started; as many as needed if 0.
    pub shards: usize,
    /// How many polls are divided; none if one thread holds them.
    pub division: Option<Division>,
    /// How long may be waited for what is still to come.
    pub drain: Duration,
    /// Errors that are tolerated.
    pub errors_max: u64,
    /// Of what is random.
    pub seed: u64,
    /// The server that is started if there is no target.
    pub own: OwnServer,
    /// Further arguments for it.
    pub server_args: Vec<OsString>,
    /// Servers that run already: where polls go…
    pub targets: Vec<SocketAddr>,
    /// …and where publications go; the targets themselves if empty.
    pub publish_targets: Vec<SocketAddr>,
    /// What stands in the Host field, if a target was named by name.
    pub host: Option<String>,
    /// The process of a server that runs already.
    pub pid: Option<u32>,
    /// How the server is spoken to; by the server if not said.
    pub dialect: Option<Dialect>,
    /// Whether a target may be another machine.
    pub reach: Reach,
    /// Who runs on which processor, if it was said.
    pub pin: Option<Placement>,
    /// Who runs on which processor.
    pub placement: Placement,
    /// Where the figures go besides the terminal.
    pub json: Option<PathBuf>,
    /// Whether progress is shown.
    pub voice: Voice,
    /// The options that were given: what was not has its default.
    pub said: Vec<&'static str>,
}

/// How far away a target may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// Any machine: its owner agrees, I hope.
    Remote,
}

impl Plan {
    /// The defaults of a profile.
    pub fn of(profile: Profile) -> Plan {
        let plan = Plan {
            profile,
            connections: 1_000,
            channels: 1,
            duration: Duration::from_secs(10),
            rate: 0.0,
            interval: Duration::from_secs(1),
            body_bytes: 64,
            stay: Duration::from_millis(100),
            storms: 3,
            sample: Duration::from_secs(1),
            slow_share: 0.1,
            slow_rate: 20_000,
            in_flight: 256,
            publishers: 1,
            pipeline: 64,
            connecting: 512,
            connect_rate: 0.0,
            workers: 0,
            shards: 0,
            division: None,
            drain: Duration::from_secs(15),
            errors_max: 0,
            seed: 1,
            own: OwnServer::PushUp(None),
            server_args: Vec::new(),
            targets: Vec::new(),
            publish_targets: Vec::new(),
            host: None,
            pid: None,
            dialect: None,
            reach: Reach::Loopback,
            pin: None,
            placement: Placement::Anywhere,
            json: None,
            voice: Voice::Shown,
            said: Vec::new(),
        };
        match profile {
            Profile::Hold | Profile::Broadcast | Profile::Cycle => plan,
            Profile::Churn => Plan { connections: 100, rate: 200.0, ..plan },
            Profile::Publish => Plan { connections: 0, channels: 64, publishers: 4, ..plan },
            Profile::Storm => Plan { channels: 10, interval: Duration::from_millis(100), ..plan },
            Profile::Soak => Plan { channels: 10, duration: Duration::from_secs(60), ..plan },
            // Messages that no kernel buffer swallows, and time for a server to lose patience.
            Profile::Slow => {
                Plan { connections: 500, body_bytes: 256 * 1_024, duration: Duration::from_secs(40), ..plan }
            }
        }
    }

    /// How the server is spoken to.
    pub fn dialect(&self) -> Dialect {
        match (&self.dialect, &self.own) {
            (Some(dialect), _) => dialect.clone(),
            (None, OwnServer::Nchan) => Dialect::nchan(),
            (None, OwnServer::PushUp(_)) => Dialect::pushup(),
        }
    }

    /// Connections at once, with those that come and go.
    fn connections_at_once(&self) -> usize {
        let visitors = if self.profile == Profile::Churn { self.visitors() } else { 0 };
        self.connections + self.publishers + visitors
    }

    /// Clients that take turns in visiting, so that each has left before it comes again.
    pub fn visitors(&self) -> usize {
        (self.rate * self.stay.as_secs_f64() * 1.5).ceil() as usize + 1
    }

    fn has_said(&self, name: &str) -> bool {
        self.said.contains(&name)
    }

    /// Whether one thread is too few, or several were asked for.
    fn is_divided(&self, needed: usize, limit: usize) -> bool {
        needed > limit.min(TABLE_MAX) || self.workers > 1 || self.shards > 1
    }

    /// Makes this a plan for several workers and shards, if the machine has room for it.
    fn divide(&mut self, limit: usize) -> Fallible<()> {
        if self.targets.is_empty() && self.own == OwnServer::Nchan {
            return Err("a server for so many polls is named with --target, or it is pushup".into());
        }
        self.division = Some(Division::of(self.connections, limit, self.workers, self.shards)?);
        many::check_room(self)?;
        if !self.has_said("channels") {
            self.channels = MANY_CHANNELS.min(u32::try_from(self.connections)?);
        }
        if !self.has_said("duration") {
            self.duration = MANY_DURATION;
        }
        if !self.has_said("drain") {
            self.drain = MANY_DRAIN + MANY_DRAIN_EACH * u32::try_from(self.connections)?;
        }
        // Shards are there to use several processors.
        self.placement = self.pin.unwrap_or(Placement::Anywhere);
        Ok(())
    }

    fn check(mut self) -> Fallible<Plan> {
        // Where a server runs that is not ours is not ours to say.
        let usual = if self.targets.is_empty() { Placement::fitting() } else { Placement::Anywhere };
        self.placement = self.pin.unwrap_or(usual);
        if self.profile == Profile::Cycle {
            self.channels = u32::try_from(self.connections)?;
        }
        if self.body_bytes < MARKER_BYTES_MAX {
            return Err(
                format!("--body-bytes is at least {MARKER_BYTES_MAX}: a message carries its marker").into()
            );
        }
        if self.connections > 0 && self.channels as usize > self.connections {
            return Err(format!("{} channels for {} connections", self.channels, self.connections).into());
        }
        if f64::from(self.channels) / self.interval.as_secs_f64() > MESSAGES_PER_S_MAX {
            return Err(format!("--interval: more than {MESSAGES_PER_S_MAX} messages a second").into());
        }
        if self.targets.is_empty() {
            let alone =
                [(self.pid.is_some(), "--pid"), (!self.publish_targets.is_empty(), "--publish-target")];
            if let Some((_, name)) = alone.iter().find(|(given, _)| *given) {
                return Err(format!("{name} needs --target").into());
            }
        }
        let all = self.targets.iter().chain(&self.publish_targets);
        match all.copied().find(|target| self.reach == Reach::Loopback && !target.ip().is_loopback()) {
            Some(target) => {
                Err(format!("{target} is not on this machine: if you may load it, say --remote").into())
            }
            None => Ok(self),
        }
    }
}

/// What the command line asks for.
pub enum Asked {
    /// A run.
    Run(Box<Plan>),
    /// An explanation.
    Help,
}

impl Asked {
    /// Raises the limit of descriptors, divides a plan that needs more if it can be, and refuses it otherwise.
    pub fn fitting_descriptors(self) -> Fallible<Asked> {
        let Asked::Run(mut plan) = self else { return Ok(self) };
        let limit = sys::raise_descriptor_limit()?;
        let needed = plan.connections_at_once() + DESCRIPTORS_SPARE;
        if plan.profile == Profile::Hold && plan.is_divided(needed, limit) {
            plan.divide(limit)?;
            return Ok(Asked::Run(plan));
        }
        if needed > limit {
            return Err(format!("{needed} descriptors are needed and a process may have {limit}").into());
        }
        Ok(Asked::Run(plan))
    }
}

/// Reads the command line behind the profile's name.
pub fn parse(profile: Profile, mut args: lexopt::Parser) -> Fallible<Asked> {
    let mut plan = Plan::of(profile);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help),
            Arg::Long(name) => {
                let name = name.to_owned();
                settings::apply(&mut plan, &name, &mut args)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Asked::Run(Box::new(plan.check()?)))
}

/// `HOST:PORT` or `http://HOST:PORT`, resolved; and what stands in the Host field.
pub fn target(text: &str) -> Result<(SocketAddr, String), String> {
    if text.starts_with("https:") {
        return Err(format!("{text}: TLS is not spoken here; load what stands behind it"));
    }
    let host = text.strip_prefix("http://").unwrap_or(text);
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.contains('/') {
        return Err(format!("{text}: a path belongs into the dialect"));
    }
    let port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let named = if port { host.to_owned() } else { format!("{host}:80") };
    let found = named.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?;
    // One that everybody has, if there is a choice.
    let found: Vec<_> = found.collect();
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.map(|address| (*address, host.to_owned())).ok_or_else(|| format!("{text} has no address"))
}

#[cfg(test)]
mod tests;
