//! A node: its listeners, its shard's loop, its signals, its beginning and its end.
//! Wiring and nothing else.

mod cluster;
mod crew;
mod frontend;
pub mod log;
pub mod map;
mod notify;
mod secrets;
mod signals;
pub mod supervisor;
pub mod worker;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use ::log::{error, info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::crew::{Addresses, Crew};
use self::signals::{Signal, Signals};
use crate::cluster::Setup;
use crate::config::Config;
use crate::error::StartError;
use crate::ids::Origin;
use crate::limits::DESCRIPTORS_RESERVED;
use crate::reactor::listen::{listen, listen_among};
use crate::reactor::post::Post;
use crate::reactor::{Reactor, Verdict};
use crate::resolve::resolve;
use crate::session::route::Door;
use crate::shard::{Settings, Shard};
use crate::time::{Clock, Now};

/// Whether a node could start with this configuration, short of binding its addresses.
pub fn check(config: &Config) -> Result<(), StartError> {
    secrets::load(config)?;
    cluster::plan(config).map(drop)
}

/// Runs a node until it is told to stop. `reload` reads the configuration again.
pub fn serve(config: Config, reload: impl Fn() -> Result<Config, StartError>) -> Result<(), StartError> {
    let keys = Arc::new(secrets::load(&config)?);
    let cluster_key = secrets::load_cluster_key(&config)?;
    let plan = cluster::plan(&config)?;
    let shards = crew::shard_count(&config);
    let limits = Limits { descriptors: raise_descriptor_limit(), shards };
    let signals = Signals::install().map_err(run_error)?;
    let clock = Clock::start();
    let origin = Origin(random());
    let mut shard = Shard::new(limits.settings(&config), keys.clone(), origin, random(), clock.now());
    let enlistment = (shards > 1).then(|| shard.lead(shards - 1, plan.is_none()));
    let mut reactors = vec![Reactor::new(shard, clock).map_err(run_error)?];
    for _ in 1..shards {
        let Some(enlistment) = enlistment.clone() else { break };
        let own = Origin(random());
        let follower = Shard::follow(limits.settings(&config), keys.clone(), enlistment, own, clock.now());
        reactors.push(Reactor::new(follower, clock).map_err(run_error)?);
    }
    if shards > 1 {
        Post::between(&mut reactors).map_err(run_error)?;
    }
    let followers = reactors.split_off(1);
    let Some(mut reactor) = reactors.pop() else { return Ok(()) };
    let crew = Crew::start(followers)?;

    let own = Sharing::among(shards);
    let public = if config.share_port { Sharing::Processes } else { own };
    let bound = Bound {
        public: open(&mut reactor, Door::Public, "listen", &config.listen, public)?,
        publisher: open(&mut reactor, Door::Publisher, "publish-listen", &config.publish_listen, own)?,
        proxied: open(&mut reactor, Door::Proxied, "proxy-listen", &config.proxy_listen, public)?,
        cluster: plan.map(|plan| join(&mut reactor, plan, origin, clock)).transpose()?,
        worker: frontend::begin(&mut reactor, &config, &cluster_key, origin, clock)?,
    };
    crew.listen(&bound.doors())?;
    reactor.watch_orders(signals.stream().map_err(run_error)?).map_err(run_error)?;
    announce(&config, &bound)?;

    let ready_file = config.ready_file.clone();
    let mut governor = Governor {
        drain_ms: config.drain_s * 1000,
        limits,
        signals,
        reload,
        running: config,
        cluster_key,
        at_once: false,
    };
    reactor.run(|shard, now| governor.govern(shard, now)).map_err(run_error)?;
    if !governor.at_once {
        reactor.finish().map_err(run_error)?;
        reactor.flush_links().map_err(run_error)?;
    }
    if let Some(path) = &ready_file {
        // It says that this process serves, which is no longer so.
        let _ = std::fs::remove_file(path);
    }
    info!("stopped");
    Ok(())
}

/// Turns signals into what the shard should do.
struct Governor<R> {
    drain_ms: u64,
    limits: Limits,
    signals: Signals,
    reload: R,
    /// What the node was started with.
    running: Config,
    cluster_key: Vec<u8>,
    /// It was told a second time.
    at_once: bool,
}

impl<R: Fn() -> Result<Config, StartError>> Governor<R> {
    fn govern(&mut self, shard: &mut Shard, now: Now) -> Verdict {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::Reload => self.reload(shard),
                Signal::Stop if shard.is_draining() => {
                    info!("told to stop a second time: stopping at once");
                    self.at_once = true;
                    return Verdict::Stop;
                }
                Signal::Stop => {
                    let (open, seconds) = (shard.connection_count(), self.drain_ms / 1000);
                    info!("stopping: {open} connections are let go within {seconds} s");
                    notify::stopping();
                    shard.begin_drain(self.drain_ms, now);
                }
            }
        }
        if shard.is_drained(now) { Verdict::Stop } else { Verdict::GoOn }
    }

    /// Limits, keys and the log level anew; a bad file keeps the old ones. The cluster stays.
    fn reload(&mut self, shard: &mut Shard) {
        let loaded = (self.reload)().and_then(|mut config| {
            let differs = config.keep_cluster(&self.running);
            let differs = differs || secrets::load_cluster_key(&config)? != self.cluster_key;
            Ok((Arc::new(secrets::load(&config)?), config, differs))
        });
        match loaded {
            Ok((keys, config, differs)) => {
                log::set_level(config.log_level);
                frontend::warn_of_reload(&config, &self.running);
                self.drain_ms = config.drain_s * 1000;
                shard.reconfigure(self.limits.settings(&config), keys);
                info!("configuration reloaded");
                if differs {
                    warn!("the cluster's settings or its key have changed: that needs a restart");
                }
            }
            Err(reason) => error!("configuration not reloaded: {reason}"),
        }
    }
}

/// What bounds each shard's settings.
struct Limits {
    /// Connections that the limit of open files leaves room for.
    descriptors: usize,
    shards: usize,
}

impl Limits {
    fn settings(&self, config: &Config) -> Settings {
        let mut settings = Settings::new(config, self.descriptors).for_one_of(self.shards);
        if config.connections_max > 0 {
            let share = config.connections_max.div_ceil(self.shards);
            settings.connections_max = settings.connections_max.min(share);
        }
        settings
    }
}

/// Binds every address of a list and has the loop listen there; tells what was bound.
fn open(
    reactor: &mut Reactor,
    door: Door,
    flag: &str,
    addresses: &[String],
    sharing: Sharing,
) -> Result<Vec<SocketAddr>, StartError> {
    let mut bound = Vec::new();
    for socket in bind(flag, addresses, sharing)? {
        bound.push(socket.local_addr().map_err(run_error)?);
        reactor.add_listener(socket, door).map_err(run_error)?;
    }
    Ok(bound)
}

/// Who else listens at an address.
#[derive(Clone, Copy)]
enum Sharing {
    /// Nobody.
    Alone,
    /// This node's other shards, later.
    Shards,
    /// Other processes too, which may be there already.
    Processes,
}

impl Sharing {
    fn among(shards: usize) -> Sharing {
        if shards == 1 { Sharing::Alone } else { Sharing::Shards }
    }
}

/// Binds an address, alone or as the first of several.
fn bind_first(address: SocketAddr, sharing: Sharing) -> std::io::Result<TcpListener> {
    let alone = match sharing {
        Sharing::Processes => return listen_among(address),
        Sharing::Alone => return listen(address),
        Sharing::Shards => listen(address)?,
    };
    // Nobody else has it, which a listener that shares its address would not have noticed.
    let address = alone.local_addr()?;
    drop(alone);
    listen_among(address)
}

/// Binds every address of a list.
fn bind(flag: &str, addresses: &[String], sharing: Sharing) -> Result<Vec<TcpListener>, StartError> {
    let cannot =
        |address: &str, error| StartError::Bind(format!("cannot listen on {address} (--{flag}): {error}"));
    let mut bound = Vec::new();
    for address in addresses {
        let resolved = resolve(address).map_err(|error| cannot(address, error))?;
        // One listener a name: where it stands for several addresses, the first that works.
        let mut last = None;
        let socket = resolved
            .into_iter()
            .map(|address| bind_first(address, sharing))
            .find_map(|result| result.map_err(|error| last = Some(error)).ok());
        let nothing = || std::io::Error::other("the name has no address");
        bound.push(socket.ok_or_else(|| cannot(address, last.unwrap_or_else(nothing)))?);
    }
    Ok(bound)
}

/// Binds the sockets for other nodes, tells who this one is, and makes it one of them.
fn join(
    reactor: &mut Reactor,
    plan: cluster::Plan,
    origin: Origin,
    clock: Clock,
) -> Result<SocketAddr, StartError> {
    let sockets = plan.bind()?;
    let bound = sockets.address().map_err(run_error)?;
    let setup = plan.setup(bound, origin, random())?;
    let Setup { node, cluster_name, address, peers, .. } = &setup;
    let keyed = if setup.key.is_empty() { "without a key" } else { "with a key" };
    info!(
        "node {node} of cluster {cluster_name}, {keyed}, reached at {address}; peers to begin with: {}",
        peers.len()
    );
    reactor.shard_mut().join_cluster(setup, clock.now());
    reactor.add_cluster(sockets).map_err(run_error)?;
    Ok(bound)
}

/// The addresses that a node is reached at.
struct Bound {
    public: Vec<SocketAddr>,
    publisher: Vec<SocketAddr>,
    /// By proxies that send PROXY headers.
    proxied: Vec<SocketAddr>,
    /// None for a node by itself.
    cluster: Option<SocketAddr>,
    /// By back-ends; none for a node without.
    worker: Option<SocketAddr>,
}

impl Bound {
    /// What all shards listen at.
    fn doors(&self) -> Addresses {
        let of = |addresses: &[SocketAddr], door: Door| {
            addresses.iter().map(|address| (*address, door)).collect::<Vec<_>>()
        };
        [
            of(&self.public, Door::Public),
            of(&self.publisher, Door::Publisher),
            of(&self.proxied, Door::Proxied),
        ]
        .concat()
    }
}

/// Tells everybody who asked that the node serves, and where.
fn announce(config: &Config, bound: &Bound) -> Result<(), StartError> {
    let Bound { public, publisher, proxied, .. } = bound;
    info!("listening for subscribers on {}, for publishers on {}", list(public), list(publisher));
    if !proxied.is_empty() {
        info!("listening for proxies that send PROXY headers on {}", list(proxied));
    }
    let exposed = publisher.iter().find(|address| !address.ip().is_loopback());
    if let (Some(address), None) = (exposed, &config.publish_token_file) {
        warn!("anyone who reaches {address} may publish: no --publish-token-file is given");
    }
    if let Some(path) = &config.ready_file {
        write_ready_file(path, bound)
            .map_err(|error| StartError::Run(format!("cannot write {}: {error}", path.display())))?;
    }
    notify::ready();
    let open = config.publish_token_file.is_none() && config.subscribe_key_file.is_none();
    if let ([public, ..], [publisher, ..]) = (public.as_slice(), publisher.as_slice())
        && open
    {
        print_first_steps(local(*public), local(*publisher));
    }
    Ok(())
}

/// What a newcomer can paste into other terminals.
fn print_first_steps(public: SocketAddr, publisher: SocketAddr) {
    // Nobody may be reading; that is no reason to stop.
    let _ = writeln!(
        std::io::stdout(),
        "PushUp is running. In another terminal, wait for a message:\n\n  \
         curl http://{public}/sub/news\n\n\
         and in a third, publish one, and see what the node counts:\n\n  \
         curl -d 'hello, world' http://{publisher}/pub/news\n  \
         curl http://{publisher}/stats\n"
    );
}

/// An address that a client on this machine can use.
fn local(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
        address.set_ip(loopback.parse().unwrap_or(address.ip()));
    }
    address
}

/// Written aside and renamed, so that whoever waits for it never reads half of it.
fn write_ready_file(path: &Path, bound: &Bound) -> std::io::Result<()> {
    // An address has nothing that JSON would escape.
    let quoted = |addresses: &[SocketAddr]| {
        addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(",")
    };
    let content = format!(
        "{{\"pid\":{},\"listen\":[{}],\"publish_listen\":[{}],\"proxy_listen\":[{}],\"cluster_listen\":[{}],\"worker_listen\":[{}]}}",
        std::process::id(),
        quoted(&bound.public),
        quoted(&bound.publisher),
        quoted(&bound.proxied),
        quoted(bound.cluster.as_slice()),
        quoted(bound.worker.as_slice())
    );
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    std::fs::write(&aside, format!("{content}\n"))?;
    std::fs::rename(&aside, path)
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Raises the soft limit of descriptors to the hard one; tells how many connections that
/// leaves room for.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        warn!("the limit of open files could not be raised");
    }
    match getrlimit(Resource::Nofile).current {
        None => usize::MAX,
        Some(files) => {
            usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_RESERVED).max(1)
        }
    }
}

/// 64 random bits from the operating system, by way of the standard library's hasher.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

fn run_error(error: std::io::Error) -> StartError {
    StartError::Run(error.to_string())
}
