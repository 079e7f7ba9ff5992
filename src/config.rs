//! The configuration: what an operator may change.
//!
//! [`TABLE`] has one row per setting; flags, `PUSHUP_*` variables, the file, the
//! help and the README's table all come from it, so none can drift from another.
//! Precedence: flag, variable, file, default. Loading is pure: the environment and
//! the file come in as arguments, which is what lets SIGHUP and the tests do it
//! again. Invariant: a [`Config`] that [`Config::load`] returns is in range and
//! consistent in itself; nobody checks it a second time.

mod file;
pub mod network;
mod table;
mod value;

use std::io;
use std::path::{Path, PathBuf};

use log::LevelFilter;

use crate::error::StartError;
use crate::ids::NodeId;
use network::Network;
pub use table::{Row, TABLE, help_table, markdown_table, nearest, row};
pub use value::edits;

/// Where the file's name stands in the environment; `--config` goes before it.
pub const FILE_VARIABLE: &str = "PUSHUP_CONFIG";
/// Set for a component that is to wait on its standard input until its controller has written down
/// that it started it.
pub const START_VARIABLE: &str = "PUSHUP_START";
/// The flag that names the file.
pub const FILE_FLAG: &str = "config";

/// Variables with our prefix that are not settings of the server: the file's name, the seed of
/// tests, and those that the controller and the terminal's clients use.
const OTHER_VARIABLES: [&str; 6] = [
    FILE_VARIABLE,
    START_VARIABLE,
    "PUSHUP_CONTROL",
    "PUSHUP_SEED",
    "PUSHUP_SERVER",
    "PUSHUP_PUBLISH_SERVER",
];

/// All settings of a node. See [`TABLE`] for names, ranges and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Addresses of the public listener, `host:port`; at least one. Port 0 lets the system choose.
    pub listen: Vec<String>,
    /// Addresses of the publisher's listener, `host:port`; at least one. Keep them private.
    pub publish_listen: Vec<String>,
    /// Addresses of public listeners where every connection must begin with a PROXY header,
    /// `host:port`; may be none.
    pub proxy_listen: Vec<String>,
    /// Whether other processes may listen at the same public addresses (SO_REUSEPORT).
    pub share_port: bool,
    /// Whose word about the client is taken, be it a PROXY header or `X-Forwarded-For`.
    pub trusted_proxies: Vec<Network>,
    /// A file that is written once all listeners are bound, with their addresses.
    pub ready_file: Option<PathBuf>,
    /// What is logged: this level and the graver ones.
    pub log_level: LevelFilter,
    /// How long a poll is held that names no time-out, in seconds.
    pub poll_timeout_s: u64,
    /// The longest time-out that a poll may ask for, in seconds; longer ones are cut to it.
    pub poll_timeout_s_max: u64,
    /// How long a message is kept whose publisher names no time to live, in seconds.
    pub message_ttl_s: u64,
    /// How long a channel lives without a publication or a renewal, in seconds.
    pub channel_ttl_s: u64,
    /// Messages kept per channel; the oldest give way.
    pub channel_messages_max: usize,
    /// Bytes of messages kept per channel; the oldest give way.
    pub channel_bytes_max: usize,
    /// Bytes of messages kept by the whole node; the oldest give way.
    pub cache_bytes_max: usize,
    /// Channels that may exist at once; beyond it a new one is refused.
    pub channels_max: usize,
    /// Bytes of cache, buffers and connections together; beyond it the node sheds.
    pub memory_bytes_max: usize,
    /// The largest body that is taken, in bytes; beyond it 413.
    pub body_bytes_max: usize,
    /// Connections that may be open at once; 0 is what the descriptor limit allows.
    pub connections_max: usize,
    /// Polls that one client may have held or being answered at once; 0 is any number.
    pub polls_per_client_max: usize,
    /// Shards: threads of which each has its own loop and connections; 0 is one for each core.
    pub shards: usize,
    /// Whether a channel must be created before it is used.
    pub existing_only: bool,
    /// Origins that browsers may poll from (CORS): `*` alone, or `scheme://host[:port]`, in lower case.
    pub cors_origins: Vec<String>,
    /// A file with the tokens that publishers must show; none lets everyone publish.
    pub publish_token_file: Option<PathBuf>,
    /// A file with the keys that subscribers' tokens are signed with; none lets everyone subscribe.
    pub subscribe_key_file: Option<PathBuf>,
    /// How long a stopping node lets its polls end by themselves, in seconds.
    pub drain_s: u64,
    /// The cluster's name; cursors of another cluster are told apart by it.
    pub cluster_name: String,
    /// Where other nodes reach this one, `host:port`, both TCP and UDP; none for a node by itself.
    pub cluster_listen: Option<String>,
    /// The address that other nodes are told; none is the one that is bound.
    pub cluster_advertise: Option<String>,
    /// Nodes to begin with, `host:port`; the others are learnt from them.
    pub peers: Vec<String>,
    /// Where back-ends connect.
    pub worker_listen: Option<String>,
    /// Use cases to begin with.
    pub usecases: Option<PathBuf>,
    /// How back-ends are chosen.
    pub scheduler: String,
    /// A file with the secret that all nodes of the cluster share.
    pub cluster_key_file: Option<PathBuf>,
    /// This node's name, the same after a restart; none is the advertised address.
    pub node_id: Option<NodeId>,
}

impl Default for Config {
    /// Every row's default. A unit test proves that each of them is accepted.
    fn default() -> Config {
        let mut config = Config::blank();
        for row in TABLE {
            row.set(&mut config, &row.default_values()).expect("the table's own defaults are in range");
        }
        config
    }
}

/// How back-ends can be chosen: the policies of `scatter::scheduler`.
pub const SCHEDULERS: [&str; 3] = ["p2c", "least_loaded", "round_robin"];

impl Config {
    /// Merges flags, environment and file over the defaults and checks the whole.
    ///
    /// `flags` are names without dashes, in the order given, repeated for a list; the
    /// name `config` stands for the file. In the environment an empty value counts as
    /// absent, and a list is separated by commas. `read_file` is called at most once.
    ///
    /// A wrong flag is [`StartError::Usage`]; everything else is [`StartError::Config`].
    pub fn load(
        flags: Vec<(String, String)>,
        env: impl Iterator<Item = (String, String)>,
        read_file: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Config, StartError> {
        let env = our_variables(env)?;
        let mut config = Config::default();
        if let Some(path) = file_path(&flags, &env) {
            apply_file(&mut config, &path, read_file)?;
        }
        apply_variables(&mut config, &env)?;
        apply_flags(&mut config, &flags)?;
        config.check().map_err(StartError::Config)?;
        Ok(config)
    }

    /// What no single row can tell: how the settings stand to each other.
    fn check(&self) -> Result<(), String> {
        if self.poll_timeout_s > self.poll_timeout_s_max {
            return Err(format!(
                "\"poll-timeout\" ({}) must not be more than \"poll-timeout-max\" ({})",
                self.poll_timeout_s, self.poll_timeout_s_max
            ));
        }
        if self.cache_bytes_max > self.memory_bytes_max {
            return Err(format!(
                "\"cache-bytes-max\" ({}) must not be more than \"memory-bytes-max\" ({}), which includes it",
                value::size_text(self.cache_bytes_max),
                value::size_text(self.memory_bytes_max)
            ));
        }
        if self.shards != 1 && self.cache_bytes_max > self.memory_bytes_max / 2 {
            return Err(format!(
                "with several \"shards\", which divide the rest, \"cache-bytes-max\" ({}) must not be more than \
                 half of \"memory-bytes-max\" ({})",
                value::size_text(self.cache_bytes_max),
                value::size_text(self.memory_bytes_max)
            ));
        }
        if self.cors_origins.len() > 1 && self.cors_origins.iter().any(|origin| origin == "*") {
            return Err("\"cors-origin\" is either \"*\" alone or a list of origins".into());
        }
        self.check_cluster()?;
        self.check_scatter()?;
        self.check_addresses()
    }

    /// Back-ends belong to a node of one shard.
    fn check_scatter(&self) -> Result<(), String> {
        if !SCHEDULERS.contains(&self.scheduler.as_str()) {
            let names = SCHEDULERS.join(", ");
            return Err(format!("\"scheduler\" {:?} is not one of {names}", self.scheduler));
        }
        match (&self.worker_listen, &self.usecases) {
            (None, Some(_)) => Err("\"usecases\" needs \"worker-listen\", where back-ends connect".into()),
            (Some(_), _) if self.shards != 1 => Err("\"worker-listen\" needs \"shards\" to be 1".into()),
            _ => Ok(()),
        }
    }

    /// What only a cluster needs is a mistake where there is none.
    fn check_cluster(&self) -> Result<(), String> {
        let needing = [
            ("cluster-advertise", self.cluster_advertise.is_some()),
            ("peer", !self.peers.is_empty()),
            ("cluster-key-file", self.cluster_key_file.is_some() && self.worker_listen.is_none()),
            ("node-id", self.node_id.is_some() && self.worker_listen.is_none()),
        ];
        if let Some((name, _)) = needing.iter().find(|(_, given)| *given && self.cluster_listen.is_none()) {
            return Err(format!("\"{name}\" is for a cluster and needs \"cluster-listen\""));
        }
        let advertised = self.cluster_advertise.iter().map(|address| ("cluster-advertise", address));
        let mut told = advertised.chain(self.peers.iter().map(|address| ("peer", address)));
        match told.find(|(_, address)| value::is_any_port(address)) {
            Some((name, address)) => {
                Err(format!("\"{name}\" needs a port that others know, not \"{address}\""))
            }
            None => Ok(()),
        }
    }

    /// Takes over the cluster's settings of the configuration that a node runs with, since none
    /// of them can change before a restart; tells whether they differed.
    pub fn keep_cluster(&mut self, running: &Config) -> bool {
        let kept = Config {
            cluster_name: running.cluster_name.clone(),
            cluster_listen: running.cluster_listen.clone(),
            cluster_advertise: running.cluster_advertise.clone(),
            peers: running.peers.clone(),
            cluster_key_file: running.cluster_key_file.clone(),
            node_id: running.node_id.clone(),
            ..self.clone()
        };
        let differed = *self != kept;
        *self = kept;
        differed
    }

    /// An address that stands twice would only fail later, as a puzzling "in use".
    fn check_addresses(&self) -> Result<(), String> {
        let public = self.listen.iter().chain(&self.proxy_listen);
        let all = public.chain(&self.publish_listen).chain(&self.cluster_listen).chain(&self.worker_listen);
        let all: Vec<&String> = all.collect();
        for (index, address) in all.iter().enumerate() {
            if !value::is_any_port(address) && all[..index].contains(address) {
                return Err(format!(
                    "\"{address}\" stands twice in \"listen\", \"publish-listen\", \"proxy-listen\" \
                     and \"cluster-listen\""
                ));
            }
        }
        Ok(())
    }

    /// Nothing set: what the defaults are written into.
    fn blank() -> Config {
        Config {
            listen: Vec::new(),
            publish_listen: Vec::new(),
            proxy_listen: Vec::new(),
            share_port: false,
            trusted_proxies: Vec::new(),
            ready_file: None,
            log_level: LevelFilter::Off,
            poll_timeout_s: 0,
            poll_timeout_s_max: 0,
            message_ttl_s: 0,
            channel_ttl_s: 0,
            channel_messages_max: 0,
            channel_bytes_max: 0,
            cache_bytes_max: 0,
            channels_max: 0,
            memory_bytes_max: 0,
            body_bytes_max: 0,
            connections_max: 0,
            polls_per_client_max: 0,
            shards: 1,
            existing_only: false,
            cors_origins: Vec::new(),
            publish_token_file: None,
            subscribe_key_file: None,
            drain_s: 0,
            cluster_name: String::new(),
            cluster_listen: None,
            cluster_advertise: None,
            peers: Vec::new(),
            worker_listen: None,
            usecases: None,
            scheduler: String::new(),
            cluster_key_file: None,
            node_id: None,
        }
    }
}

/// The variables with our prefix and a value. One that no row knows is an error: a
/// misspelt setting that is silently ignored is found out in production.
fn our_variables(env: impl Iterator<Item = (String, String)>) -> Result<Vec<(String, String)>, StartError> {
    let mut ours: Vec<_> =
        env.filter(|(name, value)| name.starts_with("PUSHUP_") && !value.is_empty()).collect();
    ours.sort();
    for (name, _) in &ours {
        if OTHER_VARIABLES.contains(&name.as_str()) || row_of_variable(name).is_some() {
            continue;
        }
        let key = name["PUSHUP_".len()..].to_ascii_lowercase().replace('_', "-");
        let hint = match nearest(&key) {
            Some(near) => format!(", did you mean {}?", near.variable()),
            None => String::new(),
        };
        return Err(StartError::Config(format!("{name} is not a variable of PushUp{hint}")));
    }
    Ok(ours)
}

fn row_of_variable(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.variable() == name)
}

fn file_path(flags: &[(String, String)], env: &[(String, String)]) -> Option<PathBuf> {
    let flag = flags.iter().rfind(|(name, _)| name == FILE_FLAG);
    let variable = || env.iter().find(|(name, _)| name == FILE_VARIABLE);
    flag.or_else(variable).map(|(_, path)| PathBuf::from(path))
}

fn apply_file(
    config: &mut Config,
    path: &Path,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<(), StartError> {
    let shown = path.display();
    let text =
        read_file(path).map_err(|error| StartError::Config(format!("cannot read \"{shown}\": {error}")))?;
    file::apply(config, &text)
        .map_err(|fault| StartError::Config(format!("{shown}:{}: {}", fault.line, fault.text)))
}

fn apply_variables(config: &mut Config, env: &[(String, String)]) -> Result<(), StartError> {
    for (name, value) in env {
        let Some(row) = row_of_variable(name) else {
            continue;
        };
        row.set(config, &row.split(value)).map_err(|fault| StartError::Config(format!("{name} {fault}")))?;
    }
    Ok(())
}

fn apply_flags(config: &mut Config, flags: &[(String, String)]) -> Result<(), StartError> {
    for (index, (name, _)) in flags.iter().enumerate() {
        if name == FILE_FLAG || flags[..index].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        let row = row(name).ok_or_else(|| unknown_flag(name))?;
        let values: Vec<String> =
            flags.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect();
        row.set(config, &values).map_err(|fault| StartError::Usage(format!("--{name} {fault}")))?;
    }
    Ok(())
}

/// The error for a flag that no row has, with the nearest name.
pub fn unknown_flag(name: &str) -> StartError {
    let hint = match nearest(name) {
        Some(near) => format!(", did you mean \"--{}\"?", near.name),
        None => String::new(),
    };
    StartError::Usage(format!("unknown flag \"--{name}\"{hint}"))
}

#[cfg(test)]
mod tests;
