//! A node's part as a front-end of back-ends: where they call, and the use cases that the operator has written down.

use std::path::Path;
use std::sync::Arc;

use ::log::{error, info, warn};

use super::{Sharing, bind, random, run_error};
use crate::client::read_file;
use crate::config::Config;
use crate::error::StartError;
use crate::ids::Origin;
use crate::reactor::Reactor;
use crate::scatter::Identity;
use crate::scatter::frontend::Setup;
use crate::scatter::scheduler::Policy;
use crate::scatter::usecase::json_of_toml;
use crate::shard::Shard;
use crate::time::{Clock, Now};

/// Makes the node a front-end, if it is to be one; tells where back-ends reach it.
pub fn begin(
    reactor: &mut Reactor,
    config: &Config,
    key: &[u8],
    origin: Origin,
    clock: Clock,
) -> Result<Option<std::net::SocketAddr>, StartError> {
    let Some(address) = &config.worker_listen else { return Ok(None) };
    let listener = bind("worker-listen", std::slice::from_ref(address), Sharing::Alone)?
        .pop()
        .ok_or_else(|| StartError::Bind(format!("cannot listen on {address} (--worker-listen)")))?;
    let bound = listener.local_addr().map_err(run_error)?;
    if key.is_empty() && !bound.ip().to_canonical().is_loopback() {
        return Err(StartError::Config(format!(
            "back-ends that come from beyond this machine ({bound}) need --cluster-key-file"
        )));
    }
    let unfit =
        |_| StartError::Config(format!("the address {bound} cannot serve as a name: give a --node-id"));
    let node = match &config.node_id {
        Some(node) => node.clone(),
        None => bound.to_string().parse().map_err(unfit)?,
    };
    let setup = Setup {
        identity: Identity { node, origin, cluster_name: config.cluster_name.clone(), key: Arc::from(key) },
        policy: Policy::parse(&config.scheduler).unwrap_or_default(),
        seed: random(),
    };
    reactor.shard_mut().become_frontend(setup, clock.now());
    reactor.add_backends(listener).map_err(run_error)?;
    if let Some(directory) = &config.usecases {
        load(reactor.shard_mut(), directory, clock.now())?;
    }
    info!("listening for back-ends on {bound}");
    Ok(Some(bound))
}

/// Takes every definition of a directory; one that is wrong keeps the node from starting.
fn load(shard: &mut Shard, directory: &Path, now: Now) -> Result<(), StartError> {
    let wrong = |path: &Path, why: &str| StartError::Config(format!("{}: {why}", path.display()));
    let entries = std::fs::read_dir(directory).map_err(|why| wrong(directory, &why.to_string()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "toml"));
    paths.sort();
    if paths.is_empty() {
        warn!("{}: there is no use case in it (*.json, *.toml)", directory.display());
    }
    for path in paths {
        let text = read_file(&path).map_err(|why| wrong(&path, &why.to_string()))?;
        let json = match path.extension().is_some_and(|extension| extension == "toml") {
            true => json_of_toml(&text).map_err(|why| wrong(&path, &why))?,
            false => serde_json::from_str(&text).map_err(|why| wrong(&path, &why.to_string()))?,
        };
        shard.load_usecase(&json, now).map_err(|why| wrong(&path, &why))?;
        info!("use case {} loaded", path.display());
    }
    Ok(())
}

/// Says what a reload does not do.
pub fn warn_of_reload(config: &Config, running: &Config) {
    if config.worker_listen != running.worker_listen || config.usecases != running.usecases {
        error!("the settings for back-ends have changed: that needs a restart");
    }
}
