//! The table of settings, and what one row knows: what it allows, where it is kept,
//! and what it is called in each of the three places. Texts are read in `value`.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use log::LevelFilter;

use super::Config;
use super::network::Network;
use super::value::{address, edits, is_cluster_name, number, origin, shown, size, size_text};
use crate::ids::NodeId;
use crate::limits;
use crate::limits::{
    CLUSTER_NAME_BYTES_MAX, CONFIG_COUNT_MAX, CONFIG_SIZE_BYTES_MAX, DRAIN_S_MAX, NODE_ID_BYTES_MAX,
};

/// One setting.
pub struct Row {
    /// Its name as a flag (after `--`) and in the file: kebab-case.
    pub name: &'static str,
    /// Its default as text, the way a flag takes it; empty is none.
    pub default: &'static str,
    /// One line for a person.
    pub help: &'static str,
    field: Field,
}

/// What a setting is, what it allows, and where in [`Config`] it lives.
enum Field {
    Seconds(RangeInclusive<u64>, fn(&mut Config) -> &mut u64),
    Count(RangeInclusive<usize>, fn(&mut Config) -> &mut usize),
    Bytes(RangeInclusive<usize>, fn(&mut Config) -> &mut usize),
    /// A number from 1, or `auto`, which is kept as 0.
    Shards(fn(&mut Config) -> &mut usize),
    Switch(fn(&mut Config) -> &mut bool),
    Level(fn(&mut Config) -> &mut LevelFilter),
    Name(fn(&mut Config) -> &mut String),
    Node(fn(&mut Config) -> &mut Option<NodeId>),
    Path(fn(&mut Config) -> &mut Option<PathBuf>),
    Address(fn(&mut Config) -> &mut Option<String>),
    Addresses(fn(&mut Config) -> &mut Vec<String>),
    /// Addresses that may be none.
    Peers(fn(&mut Config) -> &mut Vec<String>),
    Networks(fn(&mut Config) -> &mut Vec<Network>),
    Origins(fn(&mut Config) -> &mut Vec<String>),
}

/// All settings, in the order in which a person reads about them.
pub static TABLE: &[Row] = &[
    Row {
        name: "listen",
        default: "0.0.0.0:8080",
        help: "public address, host:port; repeatable",
        field: Field::Addresses(|c| &mut c.listen),
    },
    Row {
        name: "publish-listen",
        default: "127.0.0.1:8081",
        help: "publishers' address, host:port; repeatable; keep it private",
        field: Field::Addresses(|c| &mut c.publish_listen),
    },
    Row {
        name: "proxy-listen",
        default: "",
        help: "public address for proxies that send PROXY headers; repeatable",
        field: Field::Peers(|c| &mut c.proxy_listen),
    },
    Row {
        name: "share-port",
        default: "false",
        help: "share public addresses with other processes of this user",
        field: Field::Switch(|c| &mut c.share_port),
    },
    Row {
        name: "trusted-proxy",
        default: "127.0.0.0/8,::1/128",
        help: "network whose proxies are believed; repeatable",
        field: Field::Networks(|c| &mut c.trusted_proxies),
    },
    Row {
        name: "ready-file",
        default: "",
        help: "file to write the bound addresses to, once ready",
        field: Field::Path(|c| &mut c.ready_file),
    },
    Row {
        name: "log-level",
        default: "info",
        help: "off, error, warn, info, debug or trace",
        field: Field::Level(|c| &mut c.log_level),
    },
    Row {
        name: "poll-timeout",
        default: "50",
        help: "seconds that a poll is held if it names no time-out",
        field: Field::Seconds(0..=limits::POLL_TIMEOUT_S_MAX, |c| &mut c.poll_timeout_s),
    },
    Row {
        name: "poll-timeout-max",
        default: "120",
        help: "seconds that a poll may ask to be held at most",
        field: Field::Seconds(1..=limits::POLL_TIMEOUT_S_MAX, |c| &mut c.poll_timeout_s_max),
    },
    Row {
        name: "message-ttl",
        default: "300",
        help: "seconds that a message is kept if it names no time to live",
        field: Field::Seconds(1..=limits::TTL_S_MAX, |c| &mut c.message_ttl_s),
    },
    Row {
        name: "channel-ttl",
        default: "3600",
        help: "seconds that a channel lives without a publication or a renewal",
        field: Field::Seconds(1..=limits::TTL_S_MAX, |c| &mut c.channel_ttl_s),
    },
    Row {
        name: "channel-messages-max",
        default: "1000",
        help: "messages kept per channel; the oldest give way",
        field: Field::Count(1..=1_000_000, |c| &mut c.channel_messages_max),
    },
    Row {
        name: "channel-bytes-max",
        default: "4M",
        help: "bytes of messages kept per channel; the oldest give way",
        field: Field::Bytes(1..=CONFIG_SIZE_BYTES_MAX, |c| &mut c.channel_bytes_max),
    },
    Row {
        name: "cache-bytes-max",
        default: "256M",
        help: "bytes of messages kept in all channels; the oldest give way",
        field: Field::Bytes(1..=CONFIG_SIZE_BYTES_MAX, |c| &mut c.cache_bytes_max),
    },
    Row {
        name: "channels-max",
        default: "1000000",
        help: "channels that may exist at once",
        field: Field::Count(1..=CONFIG_COUNT_MAX, |c| &mut c.channels_max),
    },
    Row {
        name: "memory-bytes-max",
        default: "1G",
        help: "bytes of cache, buffers and connections, beyond which the node sheds",
        field: Field::Bytes(1..=CONFIG_SIZE_BYTES_MAX, |c| &mut c.memory_bytes_max),
    },
    Row {
        name: "body-bytes-max",
        default: "1M",
        help: "bytes of the largest request body",
        field: Field::Bytes(1..=limits::BODY_BYTES_MAX, |c| &mut c.body_bytes_max),
    },
    Row {
        name: "connections-max",
        default: "0",
        help: "connections open at once; 0 is what the descriptor limit allows",
        field: Field::Count(0..=CONFIG_COUNT_MAX, |c| &mut c.connections_max),
    },
    Row {
        name: "shards",
        default: "1",
        help: "threads that share the connections; auto is one for each core",
        field: Field::Shards(|c| &mut c.shards),
    },
    Row {
        name: "polls-per-client-max",
        default: "0",
        help: "polls of one address (IPv6: /64) at once, else 429; 0 is no limit",
        field: Field::Count(0..=CONFIG_COUNT_MAX, |c| &mut c.polls_per_client_max),
    },
    Row {
        name: "existing-only",
        default: "false",
        help: "refuse channels that were not created before use",
        field: Field::Switch(|c| &mut c.existing_only),
    },
    Row {
        name: "cors-origin",
        default: "",
        help: "origin that browsers may poll from, or *; repeatable",
        field: Field::Origins(|c| &mut c.cors_origins),
    },
    Row {
        name: "publish-token-file",
        default: "",
        help: "file of the tokens that publishers must show",
        field: Field::Path(|c| &mut c.publish_token_file),
    },
    Row {
        name: "subscribe-key-file",
        default: "",
        help: "file of the keys that subscribers' tokens are signed with",
        field: Field::Path(|c| &mut c.subscribe_key_file),
    },
    Row {
        name: "drain-time",
        default: "10",
        help: "seconds that a stopping node lets its polls end by themselves",
        field: Field::Seconds(0..=DRAIN_S_MAX, |c| &mut c.drain_s),
    },
    Row {
        name: "cluster-name",
        default: "pushup",
        help: "the cluster's name; cursors of another cluster are told apart by it",
        field: Field::Name(|c| &mut c.cluster_name),
    },
    Row {
        name: "cluster-listen",
        default: "",
        help: "address for other nodes, host:port, TCP and UDP; none is no cluster",
        field: Field::Address(|c| &mut c.cluster_listen),
    },
    Row {
        name: "cluster-advertise",
        default: "",
        help: "address that other nodes are told, if not the one listened on",
        field: Field::Address(|c| &mut c.cluster_advertise),
    },
    Row {
        name: "peer",
        default: "",
        help: "another node, host:port, to learn the rest from; repeatable",
        field: Field::Peers(|c| &mut c.peers),
    },
    Row {
        name: "cluster-key-file",
        default: "",
        help: "file of the secret that all nodes share; needed off loopback",
        field: Field::Path(|c| &mut c.cluster_key_file),
    },
    Row {
        name: "worker-listen",
        default: "",
        help: "address for back-ends, host:port; none is no scatter",
        field: Field::Address(|c| &mut c.worker_listen),
    },
    Row {
        name: "usecases",
        default: "",
        help: "directory of use cases, a JSON or TOML file each, to begin with",
        field: Field::Path(|c| &mut c.usecases),
    },
    Row {
        name: "scheduler",
        default: "p2c",
        help: "how back-ends are chosen: p2c, least_loaded or round_robin",
        field: Field::Name(|c| &mut c.scheduler),
    },
    Row {
        name: "node-id",
        default: "",
        help: "this node's name, the same after a restart; its address if none",
        field: Field::Node(|c| &mut c.node_id),
    },
];

/// The row of that name.
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// The row whose name is at most two edits away, for "did you mean".
pub fn nearest(name: &str) -> Option<&'static Row> {
    TABLE
        .iter()
        .map(|row| (edits(name, row.name), row))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, row)| row)
}

impl Row {
    /// Its name in the environment: `poll-timeout` is `PUSHUP_POLL_TIMEOUT`.
    pub fn variable(&self) -> String {
        let upper = self.name.to_ascii_uppercase().replace('-', "_");
        format!("PUSHUP_{upper}")
    }

    /// Whether its flag stands alone, or takes `=true` or `=false`.
    pub fn is_switch(&self) -> bool {
        matches!(self.field, Field::Switch(_))
    }

    /// Whether it takes several values.
    pub fn is_list(&self) -> bool {
        matches!(self.field, Field::Addresses(_) | Field::Peers(_) | Field::Networks(_) | Field::Origins(_))
    }

    /// The values in one piece of text: a list is separated by commas.
    pub(super) fn split(&self, text: &str) -> Vec<String> {
        if !self.is_list() {
            return vec![text.to_string()];
        }
        text.split(',').map(|part| part.trim().into()).collect()
    }

    pub(super) fn default_values(&self) -> Vec<String> {
        if self.default.is_empty() {
            return Vec::new();
        }
        self.split(self.default)
    }

    /// Writes `values` into the configuration; the error reads on from the name:
    /// `must be …, not "…"`. No value at all is for a list that may be empty, and for
    /// the defaults.
    pub(super) fn set(&self, config: &mut Config, values: &[String]) -> Result<(), String> {
        if self.is_list() {
            return self.set_list(config, values);
        }
        match values {
            [] => Ok(()),
            [text] => self
                .set_one(config, text)
                .ok_or_else(|| format!("must be {}, not \"{}\"", self.allowed(), shown(text))),
            _ => Err("is given more than once".into()),
        }
    }

    fn set_one(&self, config: &mut Config, text: &str) -> Option<()> {
        match &self.field {
            Field::Seconds(range, of) => {
                *of(config) = number(text).filter(|s| range.contains(s))?;
            }
            Field::Count(range, of) => *of(config) = in_range(number(text)?, range)?,
            Field::Bytes(range, of) => *of(config) = in_range(size(text)?, range)?,
            Field::Shards(of) if text == "auto" => *of(config) = 0,
            Field::Shards(of) => *of(config) = in_range(number(text)?, &(1..=limits::SHARDS_MAX))?,
            Field::Switch(of) => *of(config) = text.parse().ok()?,
            Field::Level(of) => *of(config) = text.parse().ok()?,
            Field::Name(of) => *of(config) = is_cluster_name(text).then(|| text.into())?,
            Field::Node(of) => *of(config) = Some(text.parse().ok()?),
            Field::Path(of) => *of(config) = Some((!text.is_empty()).then(|| text.into())?),
            Field::Address(of) => *of(config) = Some(address(text)?),
            Field::Addresses(_) | Field::Peers(_) | Field::Networks(_) | Field::Origins(_) => return None,
        }
        Some(())
    }

    fn set_list(&self, config: &mut Config, values: &[String]) -> Result<(), String> {
        match &self.field {
            Field::Addresses(_) if values.is_empty() => {
                return Err(format!("must be {}, not nothing", self.allowed()));
            }
            Field::Addresses(of) | Field::Peers(of) => *of(config) = self.read_list(values, address)?,
            Field::Networks(of) => *of(config) = self.read_list(values, |text| text.parse().ok())?,
            Field::Origins(of) => *of(config) = self.read_list(values, origin)?,
            _ => return Err("is not a list".into()),
        }
        Ok(())
    }

    fn read_list<T>(&self, values: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
        let wrong = |text: &String| format!("must be {}, not \"{}\"", self.allowed(), shown(text));
        values.iter().map(|text| read(text).ok_or_else(|| wrong(text))).collect()
    }

    /// What the setting allows, as it stands after "must be".
    fn allowed(&self) -> String {
        match &self.field {
            Field::Seconds(range, _) => {
                format!("a whole number of seconds from {} to {}", range.start(), range.end())
            }
            Field::Count(range, _) => {
                format!("a whole number from {} to {}", range.start(), range.end())
            }
            Field::Shards(_) => format!("a whole number from 1 to {} or auto", limits::SHARDS_MAX),
            Field::Bytes(range, _) => format!(
                "a size from {} to {} bytes (k, M and G are powers of 1024)",
                size_text(*range.start()),
                size_text(*range.end())
            ),
            Field::Switch(_) => "true or false".into(),
            Field::Level(_) => "one of off, error, warn, info, debug and trace".into(),
            Field::Name(_) => {
                format!("1 to {CLUSTER_NAME_BYTES_MAX} characters of A-Z a-z 0-9 _ . -")
            }
            Field::Node(_) => {
                format!("1 to {NODE_ID_BYTES_MAX} characters of A-Z a-z 0-9 _ . : ~ @ + - [ ]")
            }
            Field::Path(_) => "the path of a file".into(),
            Field::Address(_) | Field::Addresses(_) | Field::Peers(_) => {
                "host:port, like 127.0.0.1:8080 or [::1]:8080".into()
            }
            Field::Networks(_) => "a network like 10.0.0.0/8 or 2001:db8::/32, or an address".into(),
            Field::Origins(_) => "* or scheme://host[:port] with no path".into(),
        }
    }

    /// What stands after the flag in the help.
    fn placeholder(&self) -> &'static str {
        match self.field {
            Field::Seconds(..) => " SECONDS",
            Field::Count(..) | Field::Shards(_) => " N",
            Field::Bytes(..) => " SIZE",
            Field::Switch(_) => "",
            Field::Level(_) => " LEVEL",
            Field::Name(_) | Field::Node(_) => " NAME",
            Field::Path(_) => " FILE",
            Field::Address(_) | Field::Addresses(_) | Field::Peers(_) => " HOST:PORT",
            Field::Networks(_) => " NETWORK",
            Field::Origins(_) => " ORIGIN",
        }
    }
}

/// The table as `pushup serve --help` prints it: flag, default, help, aligned.
pub fn help_table() -> String {
    let mut text = String::new();
    for row in TABLE {
        let flag = format!("--{}{}", row.name, row.placeholder());
        let default = if row.default.is_empty() { "-" } else { row.default };
        let _ = writeln!(text, "  {flag:<29} {default:<15} {}", row.help);
    }
    text
}

/// The table as the README has it.
pub fn markdown_table() -> String {
    let mut text = String::from("| flag | variable | default | meaning |\n|---|---|---|---|\n");
    for row in TABLE {
        let default = match row.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let (flag, variable) = (row.name, row.variable());
        let _ = writeln!(text, "| `--{flag}` | `{variable}` | {default} | {} |", row.help);
    }
    text
}

fn in_range(value: u64, range: &RangeInclusive<usize>) -> Option<usize> {
    usize::try_from(value).ok().filter(|n| range.contains(n))
}
