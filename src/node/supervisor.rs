//! A controller's and an agent's processes: their file, their memory, their signals. Wiring and nothing else.

mod store;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::log::{error, info, warn};

use self::store::Store;
use super::secrets::load_key;
use super::signals::{Signal, Signals};
use super::{notify, random, run_error};
use crate::client::read_file;
use crate::error::StartError;
use crate::ids::Origin;
use crate::reactor::Verdict;
use crate::reactor::listen::listen;
use crate::reactor::supervisor::children::{Children, Program};
use crate::reactor::supervisor::{Supervisor, Surroundings};
use crate::resolve::resolve;
use crate::supervisor::agent::{self, Agent};
use crate::supervisor::controller::{self, Controller};
use crate::supervisor::memory::Memory;
use crate::supervisor::plan::{Kind, Plan};
use crate::supervisor::{Supervise, Wanted};
use crate::time::{Clock, Now};
use crate::wire::frame::link::Identity;

/// What `pushup supervise` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `cluster.toml`.
    pub file: PathBuf,
    /// When it is told to stop, its components go on.
    pub leave_running: bool,
    /// It only says whether the file is good.
    pub check: bool,
}

/// What `pushup agent` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOptions {
    /// The controller's `[agents] listen`, host:port.
    pub join: String,
    /// What the file calls this machine.
    pub name: String,
    /// Where the programs stand that may be run.
    pub programs: PathBuf,
    /// The cluster's name.
    pub cluster_name: String,
    /// A file with the secret that it shares with the controller and with front-ends.
    pub key_file: Option<PathBuf>,
    /// Where it remembers what it started.
    pub state: PathBuf,
    /// When it is told to stop, its components go on.
    pub leave_running: bool,
}

/// A component waits for its controller to have written down that there is one.
pub fn wait_to_begin() -> Result<(), StartError> {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(()),
        _ => Err(StartError::Run("the controller has gone before it let this process begin".to_owned())),
    }
}

/// A plan, and what front-ends' publishers show.
type Loaded = (Plan, BTreeMap<String, String>);

fn load(file: &Path) -> Result<Loaded, StartError> {
    let wrong = |path: &Path, why: &str| StartError::Config(format!("{}: {why}", path.display()));
    let file = std::path::absolute(file).map_err(|why| wrong(file, &why.to_string()))?;
    let text = read_file(&file).map_err(|why| wrong(&file, &why.to_string()))?;
    let plan = Plan::parse(&text, &file).map_err(StartError::Config)?;
    load_key(plan.key_file.as_deref())?;
    let mut tokens = BTreeMap::new();
    for group in &plan.groups {
        let Kind::FrontEnd(front) = &group.kind else { continue };
        let Some(path) = &front.token_file else { continue };
        let path = directory(&file).join(path);
        let text = read_file(&path).map_err(|why| wrong(&path, &why.to_string()))?;
        let token = text.lines().map(str::trim).find(|line| !line.is_empty());
        let token = token.ok_or_else(|| wrong(&path, "there is no token in it"))?;
        tokens.insert(group.name.clone(), token.to_owned());
    }
    Ok((plan, tokens))
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("/"))
}

/// Runs a controller until it is told to stop.
pub fn supervise(options: &Options) -> Result<(), StartError> {
    let (plan, tokens) = load(&options.file)?;
    if options.check {
        return Ok(());
    }
    let signals = Signals::install().map_err(run_error)?;
    let (store, memory) = Store::open(&plan.state, "supervise")?;
    let (children, memory) = find_again(memory);
    let key = Arc::from(load_key(plan.key_file.as_deref())?);
    let node = "controller".parse().map_err(|_| StartError::Run("it has no name".to_owned()))?;
    let identity = Identity { node, origin: Origin(random()), cluster_name: plan.cluster_name.clone(), key };
    let listener = plan.agents_listen.as_deref().map(|address| bind(address, &identity)).transpose()?;
    let clock = Clock::start();
    let file = std::path::absolute(&options.file).map_err(run_error)?;
    let setup = controller::Setup { plan: plan.clone(), tokens, identity, seed: random() };
    let side = Controller::new(setup, memory, clock.now());
    let mut supervisor = begin(Box::new(side), clock, children, &store, directory(&file))?;
    supervisor
        .add_control(&plan.control)
        .map_err(|why| StartError::Bind(format!("cannot listen on {}: {why}", plan.control.display())))?;
    if let Some(listener) = listener {
        supervisor.add_agents(listener).map_err(run_error)?;
    }
    info!("controller of {}, commands at {}", file.display(), plan.control.display());
    let reload = |side: &mut dyn Supervise, now: Now| match load(&file) {
        Ok((new, tokens)) => {
            let places = |plan: &Plan| (plan.control.clone(), plan.state.clone(), plan.agents_listen.clone());
            let secret = |plan: &Plan| (plan.cluster_name.clone(), plan.key_file.clone());
            if (places(&new), secret(&new)) != (places(&plan), secret(&plan)) {
                warn!("\"control\", \"state\", [agents], name or key have changed: restart the controller");
            }
            info!("{} is read again", file.display());
            side.reload(new, tokens, now);
        }
        Err(why) => error!("not read again: {why}"),
    };
    govern(supervisor, signals, &store, options.leave_running, reload)
}

/// Runs an agent until it is told to stop.
pub fn run_agent(options: AgentOptions) -> Result<(), StartError> {
    let wrong = |text: String| StartError::Config(text);
    let found = resolve(&options.join).map_err(|why| wrong(format!("--join {}: {why}", options.join)))?;
    let join = *found.first().ok_or_else(|| wrong(format!("--join {} has no address", options.join)))?;
    let node = options.name.parse();
    let node = node.map_err(|_| wrong(format!("--name {:?} cannot serve as a name", options.name)))?;
    super::worker::find_programs(&options.programs)?;
    let key = Arc::from(load_key(options.key_file.as_deref())?);
    let absolute = |path: &Path| std::path::absolute(path).map_err(run_error);
    let (programs, state) = (absolute(&options.programs)?, absolute(&options.state)?);
    let key_file = options.key_file.as_deref().map(absolute).transpose()?;
    let signals = Signals::install().map_err(run_error)?;
    let (store, memory) = Store::open(&state, &format!("agent-{}", options.name))?;
    let (children, memory) = find_again(memory);
    let clock = Clock::start();
    let identity = Identity { node, origin: Origin(random()), cluster_name: options.cluster_name, key };
    let setup = agent::Setup { identity, join, programs, key_file, seed: random() };
    let side = Agent::new(setup, memory, clock.now());
    let supervisor = begin(Box::new(side), clock, children, &store, &state)?;
    info!("agent {} of the controller at {join}", options.name);
    govern(supervisor, signals, &store, options.leave_running, |_, _| {})
}

/// Of the processes of an earlier life those that still run.
fn find_again(mut memory: Memory) -> (Children, Memory) {
    let mut children = Children::default();
    memory.processes.retain(|one| {
        let runs = children.adopt(&one.name, one.life);
        info!(
            "{} (process {}) {}",
            one.name,
            one.life.pid,
            if runs { "goes on" } else { "has ended meanwhile" }
        );
        runs
    });
    (children, memory)
}

fn bind(address: &str, identity: &Identity) -> Result<std::net::TcpListener, StartError> {
    let cannot =
        |why: std::io::Error| StartError::Bind(format!("cannot listen on {address} ([agents]): {why}"));
    let found = resolve(address).map_err(cannot)?;
    let address = *found.first().ok_or_else(|| cannot(std::io::ErrorKind::NotFound.into()))?;
    if identity.key.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(StartError::Config(format!(
            "agents that come from beyond this machine ({address}) need a \"key_file\""
        )));
    }
    listen(address).map_err(cannot)
}

fn begin(
    side: Box<dyn Supervise>,
    clock: Clock,
    children: Children,
    store: &Store,
    directory: &Path,
) -> Result<Supervisor, StartError> {
    let path = std::env::current_exe().map_err(run_error)?;
    let program = Program { path, directory: directory.to_owned() };
    let surroundings = Surroundings { program, save: Box::new(store.writer()), resolve };
    Supervisor::new(side, clock, children, surroundings).map_err(run_error)
}

fn govern(
    mut supervisor: Supervisor,
    mut signals: Signals,
    store: &Store,
    leave_running: bool,
    reload: impl Fn(&mut dyn Supervise, Now),
) -> Result<(), StartError> {
    supervisor.watch_orders(signals.stream().map_err(run_error)?).map_err(run_error)?;
    notify::ready();
    let mut is_over = false;
    supervisor
        .run(|side, now| {
            while let Some(signal) = signals.take() {
                match signal {
                    Signal::Reload => reload(side, now),
                    Signal::Stop if leave_running => return Verdict::Stop,
                    Signal::Stop => {
                        let running =
                            side.keeper().all().filter(|(_, kept)| kept.wanted == Wanted::Up).count();
                        info!("stopping, with {running} components");
                        notify::stopping();
                        side.stop(now);
                    }
                }
            }
            is_over = side.is_over(now.tick);
            if is_over { Verdict::Stop } else { Verdict::GoOn }
        })
        .map_err(run_error)?;
    if is_over {
        store.forget();
    }
    info!("stopped{}", if is_over { "" } else { "; components go on" });
    Ok(())
}
