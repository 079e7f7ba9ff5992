//! What a seed stands for: how many of whom, and what goes wrong when.

use pushup::config::Config;
use pushup::planted::Planted;
use pushup::shard::Settings;

use crate::agenda::Ms;
use crate::host::Recipe;
use crate::net::Machine;
use crate::random::Random;

/// Channels that live as long as the simulation: what was said of messages is judged there.
const STEADY_MAX: u64 = 4;
/// Channels that are created, renewed, closed, created again, and expire.
const MORTAL: usize = 3;

/// The letters of a shard are held up for so long at most, in milliseconds.
const STALL_MS_MAX: Ms = 4_000;

/// How long each node has when all are restarted one after the other, in milliseconds.
const ROLL_MS: Ms = 5_000;

/// A subscriber.
#[derive(Clone, Debug)]
pub struct ReaderPlan {
    /// Its channels, by number; see [`Plan::name`].
    pub channels: Vec<usize>,
    /// It takes another node for every poll.
    pub roaming: bool,
    pub limit: Option<u64>,
    /// It begins at the present and not with everything that is cached.
    pub from_now: bool,
    /// So many bytes a node may send it before it must wait.
    pub room: usize,
    pub timeout_s: u64,
    pub begins: Ms,
}

/// A publisher.
#[derive(Clone, Debug)]
pub struct PublisherPlan {
    pub publications: u64,
    pub begins: Ms,
    /// How long it rests between two, at most, in milliseconds.
    pub rest_ms_max: Ms,
    /// Every so many bodies in a hundred are large.
    pub large_percent: u64,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Those on one side do not hear those on the other, nor perhaps the other way round.
    Partition { side: Vec<bool>, one_way: bool },
    /// A link is cut in the middle of whatever is under way.
    CutLink,
    /// A client's connection is cut.
    CutClient,
    /// A node is gone with all that it knew; it comes back or stays away.
    Crash { node: usize, machine: Machine, back: bool },
    /// The same, but not before it has acknowledged something.
    Betray { node: usize, machine: Machine, back: bool },
    /// A node stands still, and then sees that time has passed.
    Pause { node: usize },
    /// Two thousand bytes a second from one node to another.
    Slow { from: usize, to: usize },
    /// A wall clock is set.
    Step { node: usize, ms: i64 },
    /// Datagrams are lost or come twice.
    Datagrams { loss_percent: u64, twice_percent: u64 },
    /// Delays differ much.
    Jitter { ms: Ms },
    /// A node's cluster listener refuses.
    Refuse { node: usize },
    /// No letter to or from one shard of a node is taken, if it has several.
    Stall { node: usize, shard: usize },
}

impl Trouble {
    /// Its name in the totals.
    pub fn name(&self) -> &'static str {
        match self {
            Trouble::Partition { one_way: false, .. } => "partitions",
            Trouble::Partition { one_way: true, .. } => "one-way partitions",
            Trouble::CutLink => "links cut",
            Trouble::CutClient => "clients cut",
            Trouble::Crash { machine: Machine::Dark, .. } => "power failures",
            Trouble::Crash { .. } => "crashes",
            Trouble::Betray { .. } => "crashes right after a receipt",
            Trouble::Pause { .. } => "pauses",
            Trouble::Slow { .. } => "slow peers",
            Trouble::Step { .. } => "clock steps",
            Trouble::Datagrams { .. } => "lossy datagrams",
            Trouble::Jitter { .. } => "jitter",
            Trouble::Refuse { .. } => "refusals",
            Trouble::Stall { .. } => "stalled shards",
        }
    }
}

/// Something goes wrong for a while.
#[derive(Clone, Debug)]
pub struct Fault {
    pub at: Ms,
    pub until: Ms,
    pub trouble: Trouble,
}

/// What all nodes are made as, whatever the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Make {
    /// The bug that they have.
    pub planted: Planted,
    /// How many shards each has; the seed says if nobody else does.
    pub shards: Option<usize>,
}

/// All that a seed stands for.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: usize,
    pub recipes: Vec<Recipe>,
    pub wall_off_ms: Vec<i64>,
    pub delay_ms_max: Ms,
    /// When all that is wrong ends.
    pub heal_ms: Ms,
    pub steady: usize,
    pub mortal: usize,
    pub readers: Vec<ReaderPlan>,
    pub publishers: Vec<PublisherPlan>,
    /// How many look after the mortal channels.
    pub keepers: usize,
    pub faults: Vec<Fault>,
    /// Caches are so small, or times to live so short, that messages are dropped.
    pub tight: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64, make: Make) -> Plan {
        let mut random = Random::new(seed);
        // What concerns shards has a source of its own: all else is the same with any number of them.
        let mut of_shards = Random::new(seed.wrapping_mul(37).wrapping_add(11));
        let nodes = random.between(3, 8) as usize;
        let steady = random.between(1, STEADY_MAX) as usize;
        let tight = random.percent(25);
        let rolling = random.percent(10);
        let heal_ms = if rolling { nodes as Ms * ROLL_MS } else { random.mostly_small(3_000, 15_000) };
        let settings = settings(tight, &mut random);
        let key = if random.percent(50) { b"the cluster's key, 32 bytes long".to_vec() } else { Vec::new() };
        // Half of all logs are so short that who was away for a moment needs a snapshot.
        let log_bytes_max = if random.percent(50) { random.between(500, 8_000) } else { 1 << 24 } as usize;
        let recipe = |peers| Recipe {
            shards: 1,
            log_bytes_max,
            settings: settings.clone(),
            cluster_name: "pushup".into(),
            key: key.clone(),
            peers,
            planted: make.planted,
        };
        let mut recipes: Vec<Recipe> =
            (0..nodes).map(|node| recipe(peers(node, nodes, &mut random))).collect();
        for recipe in &mut recipes {
            recipe.shards = make.shards.unwrap_or_else(|| of_shards.pick(&[1, 1, 2, 4]));
        }
        let skew = *[0, 50, 5_000].get(random.index(3)).unwrap_or(&0);
        let wall_off_ms = (0..nodes).map(|_| random.between(0, 2 * skew) as i64 - skew as i64).collect();
        let readers = random.between(5, 12);
        let publishers = random.between(1, 3);
        let mut plan = Plan {
            seed,
            nodes,
            recipes,
            wall_off_ms,
            delay_ms_max: random.mostly_small(2, 40),
            heal_ms,
            steady,
            mortal: MORTAL,
            readers: (0..readers).map(|_| reader(steady, heal_ms, &mut random)).collect(),
            publishers: (0..publishers).map(|_| publisher(heal_ms, &mut random)).collect(),
            keepers: random.below(3) as usize,
            faults: if rolling { roll(nodes, &mut random) } else { faults(nodes, heal_ms, &mut random) },
            tight,
        };
        plan.faults.extend(stalls(nodes, heal_ms, &mut of_shards));
        plan.faults.sort_by_key(|fault| fault.at);
        plan
    }

    /// Many nodes and nothing that goes wrong; one publisher begins after `begins`.
    pub fn calm(nodes: usize, publications: u64, begins: Ms, make: Make) -> Plan {
        let mut random = Random::new(nodes as u64);
        let mut plan = Plan::of(1, make);
        let recipe = Recipe { shards: make.shards.unwrap_or(1), ..plan.recipes[0].clone() };
        let with_peers = |peers| Recipe { peers, ..recipe.clone() };
        // As an operator would: a few are named everywhere, the rest is learnt.
        let named = |node| (0..3).filter(|peer| *peer != node).collect();
        plan.recipes = (0..nodes).map(|node| with_peers(named(node))).collect();
        plan.wall_off_ms = (0..nodes).map(|_| random.below(20) as i64).collect();
        (plan.nodes, plan.delay_ms_max, plan.heal_ms) = (nodes, 2, Ms::MAX);
        (plan.readers, plan.faults, plan.keepers, plan.tight) = (Vec::new(), Vec::new(), 0, false);
        plan.publishers = vec![PublisherPlan { publications, begins, rest_ms_max: 20, large_percent: 0 }];
        plan
    }

    /// A channel's name, by its number: the steady ones first.
    pub fn name(&self, channel: usize) -> String {
        match channel.checked_sub(self.steady) {
            None => format!("steady-{channel}"),
            Some(mortal) => format!("mortal-{mortal}"),
        }
    }

    pub fn channels(&self) -> usize {
        self.steady + self.mortal
    }

    /// Whether a subscriber may be told of a gap: when messages are dropped, and when channels are
    /// forgotten, for then a node is in doubt about those that it does not know.
    pub fn may_have_gaps(&self) -> bool {
        self.tight || self.keepers > 0
    }

    /// Whether nodes' clocks differ by more than what hardly matters.
    pub fn clocks_differ(&self) -> bool {
        let set = |fault: &Fault| matches!(fault.trouble, Trouble::Step { .. });
        self.wall_off_ms.iter().any(|off| off.abs() > 50) || self.faults.iter().any(set)
    }

    pub fn is_mortal(&self, channel: usize) -> bool {
        channel >= self.steady
    }
}

fn settings(tight: bool, random: &mut Random) -> Settings {
    let mut config = Config::default();
    if tight {
        config.channel_messages_max = random.between(3, 20) as usize;
        config.message_ttl_s = random.pick(&[2, 5, 300]);
    }
    Settings::new(&config, 10_000)
}

/// More than half of the others, so that a node that restarts finds one that lives.
fn peers(node: usize, nodes: usize, random: &mut Random) -> Vec<usize> {
    let others: Vec<usize> = (0..nodes).filter(|other| *other != node).collect();
    let count = random.between(nodes as u64 / 2, others.len() as u64) as usize;
    random.choose(count, others.len()).into_iter().map(|at| others[at]).collect()
}

fn reader(steady: usize, heal_ms: Ms, random: &mut Random) -> ReaderPlan {
    let is_mortal = random.percent(15);
    let channels = if is_mortal {
        let count = random.between(1, MORTAL as u64) as usize;
        random.choose(count, MORTAL).into_iter().map(|mortal| steady + mortal).collect()
    } else {
        let count = random.between(1, steady as u64) as usize;
        random.choose(count, steady)
    };
    ReaderPlan {
        channels,
        roaming: random.percent(60),
        limit: random.percent(30).then(|| random.between(1, 5)),
        from_now: random.percent(20),
        room: if random.percent(20) { 600 } else { 1 << 16 },
        timeout_s: random.between(1, 5),
        begins: if random.percent(70) { random.below(500) } else { random.below(heal_ms) },
    }
}

fn publisher(heal_ms: Ms, random: &mut Random) -> PublisherPlan {
    let publications = random.between(5, 50);
    PublisherPlan {
        publications,
        begins: random.below(1_000),
        rest_ms_max: random.mostly_small(1, 2 * heal_ms / publications),
        large_percent: random.pick(&[0, 0, 10, 40]),
    }
}

// -- Faults ----------------------------------------------------------------------

fn faults(nodes: usize, heal_ms: Ms, random: &mut Random) -> Vec<Fault> {
    let minority = (nodes - 1) / 2;
    let mut faults = Vec::new();
    // Whoever crashes or stands still is one of these, so that most nodes always run.
    let count = if random.percent(20) { 0 } else { random.between(1, minority as u64) as usize };
    for node in random.choose(count, nodes) {
        for _ in 0..random.between(1, 2) {
            faults.push(downfall(node, heal_ms, random));
        }
    }
    for _ in 0..random.between(0, 6) {
        faults.push(nuisance(nodes, heal_ms, random));
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Every node is restarted, one after the other, as for an upgrade; each is back, and as a rule ready,
/// before the next one goes.
fn roll(nodes: usize, random: &mut Random) -> Vec<Fault> {
    let order = random.choose(nodes, nodes);
    let fault = |(turn, node): (usize, usize)| {
        let at = turn as Ms * ROLL_MS + random.between(500, 1_500);
        let until = at + random.mostly_small(50, 1_500);
        Fault { at, until, trouble: Trouble::Crash { node, machine: Machine::Vacant, back: true } }
    };
    order.into_iter().enumerate().map(fault).collect()
}

/// Now and then nobody carries a shard's letters for a while.
fn stalls(nodes: usize, heal_ms: Ms, random: &mut Random) -> Vec<Fault> {
    let count = if random.percent(50) { random.between(1, 3) } else { 0 };
    let stall = |_| {
        let (at, until) = span(heal_ms, STALL_MS_MAX, random);
        let trouble = Trouble::Stall { node: random.index(nodes), shard: random.index(4) };
        Fault { at, until, trouble }
    };
    (0..count).map(stall).collect()
}

fn span(heal_ms: Ms, longest: Ms, random: &mut Random) -> (Ms, Ms) {
    let at = random.between(300, heal_ms);
    (at, (at + random.mostly_small(20, longest)).min(heal_ms))
}

fn downfall(node: usize, heal_ms: Ms, random: &mut Random) -> Fault {
    if random.percent(30) {
        let at = random.between(300, heal_ms);
        let until = at + random.mostly_small(50, 30_000);
        return Fault { at, until, trouble: Trouble::Pause { node } };
    }
    let (at, until) = span(heal_ms, 10_000, random);
    let machine = if random.percent(30) { Machine::Dark } else { Machine::Vacant };
    let back = random.percent(75);
    if random.percent(65) {
        // Early, so that there is time for the receipt and for coming back.
        let at = random.between(300, heal_ms / 2);
        let until = at + random.mostly_small(20, 3_000);
        return Fault { at, until, trouble: Trouble::Betray { node, machine, back } };
    }
    Fault { at, until, trouble: Trouble::Crash { node, machine, back } }
}

fn nuisance(nodes: usize, heal_ms: Ms, random: &mut Random) -> Fault {
    let (at, until) = span(heal_ms, 10_000, random);
    let node = random.index(nodes);
    let trouble = match random.below(20) {
        0..6 => Trouble::Partition {
            side: (0..nodes).map(|_| random.percent(30)).collect(),
            one_way: random.percent(40),
        },
        6..9 => Trouble::CutLink,
        9..12 => Trouble::CutClient,
        12..14 => Trouble::Slow { from: node, to: random.index(nodes) },
        14..16 => {
            let most = random.pick(&[100, 3_000, 3_600_000]);
            Trouble::Step { node, ms: random.between(0, 2 * most) as i64 - most as i64 }
        }
        16..17 => {
            Trouble::Datagrams { loss_percent: random.between(5, 60), twice_percent: random.between(0, 30) }
        }
        17..19 => Trouble::Jitter { ms: random.between(5, 200) },
        _ => Trouble::Refuse { node },
    };
    Fault { at, until, trouble }
}
