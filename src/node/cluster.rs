//! What the configuration says about the cluster becomes addresses, a key and open sockets.
//!
//! Knows nothing of what nodes tell each other. Invariant: a node that others can reach from
//! another machine, or that reaches them there, has a key.

use std::net::{IpAddr, SocketAddr};

use super::secrets;
use crate::cluster::{Setup, log_bytes_max};
use crate::config::Config;
use crate::error::StartError;
use crate::ids::{NodeId, Origin};
use crate::planted::Planted;
use crate::reactor::listen::{ClusterSockets, listen_cluster};
use crate::resolve::resolve;

/// A node's part in a cluster, before anything is bound.
#[derive(Debug)]
pub struct Plan {
    /// What `--cluster-listen` stands for; the first that works is taken.
    listen: Vec<SocketAddr>,
    advertise: Option<SocketAddr>,
    peers: Vec<SocketAddr>,
    key: Vec<u8>,
    node: Option<NodeId>,
    name: String,
    log_bytes_max: usize,
}

/// Looks names up and reads the key; `None` for a node by itself.
pub fn plan(config: &Config) -> Result<Option<Plan>, StartError> {
    let Some(listen) = &config.cluster_listen else { return Ok(None) };
    let listen = look_up("cluster-listen", listen)?;
    let advertise = advertised(config, &listen)?;
    // Sockets of one family do not reach the other, so of a name with both only one half counts.
    let is_ipv6 = advertise.or(listen.first().copied()).is_some_and(|address| address.is_ipv6());
    let mut peers = Vec::new();
    for text in &config.peers {
        for address in peer_addresses(text, is_ipv6)? {
            if !peers.contains(&address) {
                peers.push(address);
            }
        }
    }
    let key = secrets::load_cluster_key(config)?;
    if key.is_empty()
        && let Some(address) = first_exposed(listen.iter().chain(&advertise).chain(&peers))
    {
        return Err(wrong(format!(
            "a cluster that is reached beyond this machine ({address}) needs --cluster-key-file"
        )));
    }
    Ok(Some(Plan {
        listen,
        advertise,
        peers,
        key,
        node: config.node_id.clone(),
        name: config.cluster_name.clone(),
        log_bytes_max: log_bytes_max(config.memory_bytes_max),
    }))
}

/// The address that other nodes are told, where it is given; it must be if the one that is
/// listened on says nothing.
fn advertised(config: &Config, listen: &[SocketAddr]) -> Result<Option<SocketAddr>, StartError> {
    let Some(text) = &config.cluster_advertise else {
        return match listen.iter().find(|address| is_wildcard(address)) {
            Some(address) => Err(wrong(format!(
                "--cluster-listen {address} stands for every address of this machine: \
                 say with --cluster-advertise which one other nodes reach it at"
            ))),
            None => Ok(None),
        };
    };
    let found = look_up("cluster-advertise", text)?;
    if found.iter().any(is_wildcard) {
        return Err(wrong(format!(
            "--cluster-advertise {text} is not an address that other nodes can reach"
        )));
    }
    let same = |address: &&SocketAddr| listen.iter().any(|other| other.is_ipv4() == address.is_ipv4());
    Ok(found.iter().find(same).or(found.first()).copied())
}

/// All that a peer's name stands for: it may be the name of several nodes.
fn peer_addresses(text: &str, is_ipv6: bool) -> Result<Vec<SocketAddr>, StartError> {
    let mut found = look_up("peer", text)?;
    if found.iter().any(is_wildcard) {
        return Err(wrong(format!("--peer {text} is not an address of another node")));
    }
    found.retain(|address| address.is_ipv6() == is_ipv6);
    match found.is_empty() {
        true => {
            let family = if is_ipv6 { "IPv6" } else { "IPv4" };
            Err(wrong(format!("--peer {text} has no {family} address, as this node has")))
        }
        false => Ok(found),
    }
}

fn look_up(flag: &str, text: &str) -> Result<Vec<SocketAddr>, StartError> {
    resolve(text).map_err(|error| wrong(format!("--{flag} {text}: {error}")))
}

/// The first address that is not this machine's alone.
fn first_exposed<'a>(mut addresses: impl Iterator<Item = &'a SocketAddr>) -> Option<&'a SocketAddr> {
    addresses.find(|address| !address.ip().to_canonical().is_loopback())
}

fn is_wildcard(address: &SocketAddr) -> bool {
    let ip: IpAddr = address.ip().to_canonical();
    ip.is_unspecified()
}

fn wrong(text: String) -> StartError {
    StartError::Config(text)
}

impl Plan {
    /// Binds the sockets. Several addresses are one name's: the first that works.
    pub fn bind(&self) -> Result<ClusterSockets, StartError> {
        let mut last = None;
        let try_one = |address: &SocketAddr| {
            listen_cluster(*address).map_err(|error| last = Some((*address, error))).ok()
        };
        let bound = self.listen.iter().find_map(try_one);
        bound.ok_or_else(|| match last {
            Some((address, error)) => {
                StartError::Bind(format!("cannot listen on {address} (--cluster-listen): {error}"))
            }
            None => StartError::Bind("--cluster-listen has no address".into()),
        })
    }

    /// Who this node is once `bound` is known; `seed` is random, fresh at each boot.
    pub fn setup(self, bound: SocketAddr, origin: Origin, seed: u64) -> Result<Setup, StartError> {
        let address = self.advertise.unwrap_or(bound);
        let unfit = |_| wrong(format!("the address {address} cannot serve as a name: give a --node-id"));
        let node = match self.node {
            Some(node) => node,
            None => address.to_string().parse().map_err(unfit)?,
        };
        let mut peers = self.peers;
        peers.retain(|peer| *peer != address && *peer != bound);
        Ok(Setup {
            node,
            origin,
            address,
            peers,
            cluster_name: self.name,
            key: self.key,
            seed,
            log_bytes_max: self.log_bytes_max,
            planted: Planted::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(listen: &str, advertise: &str, peers: &[&str]) -> Config {
        Config {
            cluster_listen: Some(listen.into()),
            cluster_advertise: Some(advertise.to_string()).filter(|text| !text.is_empty()),
            peers: peers.iter().map(|peer| peer.to_string()).collect(),
            ..Config::default()
        }
    }

    fn fault(config: &Config) -> String {
        let error = plan(config).unwrap_err();
        assert_eq!(error.exit_code(), 78);
        error.to_string()
    }

    fn setup(config: &Config, bound: &str) -> Setup {
        plan(config).unwrap().unwrap().setup(bound.parse().unwrap(), Origin(1), 2).unwrap()
    }

    #[test]
    fn a_node_by_itself_plans_nothing() {
        assert!(plan(&Config::default()).unwrap().is_none());
    }

    #[test]
    fn beyond_loopback_a_key_is_needed() {
        for (listen, advertise, peers, part) in [
            ("192.0.2.1:1", "", &[][..], "(192.0.2.1:1) needs --cluster-key-file"),
            ("0.0.0.0:1", "127.0.0.1:1", &[], "(0.0.0.0:1) needs"),
            ("[::]:1", "[::1]:1", &[], "([::]:1) needs"),
            ("127.0.0.1:1", "192.0.2.1:1", &[], "(192.0.2.1:1) needs"),
            ("127.0.0.1:1", "", &["127.0.0.2:1", "192.0.2.1:1"], "(192.0.2.1:1) needs"),
        ] {
            let fault = fault(&with(listen, advertise, peers));
            assert!(fault.contains(part), "{fault}");
        }
        let fine = with("127.0.0.1:0", "localhost:5", &["localhost:1", "127.3.2.1:1"]);
        assert!(plan(&fine).unwrap().is_some());
    }

    #[test]
    fn an_address_that_leads_nowhere_is_named() {
        for (listen, advertise, peers, part) in [
            ("0.0.0.0:1", "", &[][..], "--cluster-listen 0.0.0.0:1 stands for every address"),
            ("[::]:1", "", &[], "--cluster-listen [::]:1 stands for every address"),
            ("127.0.0.1:1", "0.0.0.0:2", &[], "--cluster-advertise 0.0.0.0:2 is not an address"),
            ("127.0.0.1:1", "", &["0.0.0.0:2"], "--peer 0.0.0.0:2 is not an address"),
            ("127.0.0.1:1", "", &["[::1]:2"], "--peer [::1]:2 has no IPv4 address"),
            ("127.0.0.1:1", "", &["no.such.invalid:2"], "--peer no.such.invalid:2: "),
        ] {
            let fault = fault(&with(listen, advertise, peers));
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn a_node_is_called_by_its_address_unless_it_has_a_name() {
        let mut config = with("127.0.0.1:0", "", &[]);
        let found = setup(&config, "127.0.0.1:77");
        assert_eq!((found.node.as_str(), found.address), ("127.0.0.1:77", "127.0.0.1:77".parse().unwrap()));
        assert_eq!(found.cluster_name, "pushup");
        config.node_id = Some("left".parse().unwrap());
        assert_eq!(setup(&config, "127.0.0.1:77").node.as_str(), "left");
        let config = with("[::1]:0", "", &[]);
        assert_eq!(setup(&config, "[::1]:77").node.as_str(), "[::1]:77");
    }

    #[test]
    fn peers_are_each_node_once_and_never_ourselves() {
        let peers = ["127.0.0.1:5", "localhost:6", "127.0.0.1:6", "127.0.0.2:5", "127.0.0.1:77"];
        let found = setup(&with("127.0.0.1:0", "127.0.0.2:5", &peers), "127.0.0.1:77");
        let expect = ["127.0.0.1:5", "127.0.0.1:6"].map(|peer| peer.parse().unwrap());
        assert_eq!(found.peers, expect);
    }
}
