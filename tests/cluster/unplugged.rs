//! Machines that lose their network, with the kernel's own: each node in a network namespace, whose link is
//! set down and up. No packet comes through, nobody is told, and no connection is refused.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::fleet::{Fleet, Place};
use crate::process::{bare_command, run};
use crate::temp::TempDir;
use crate::traffic::{Load, nothing_is_lost_while};

const NODES: u8 = 3;
/// Longer than a silent link is kept (5 s).
const UNPLUGGED: Duration = Duration::from_secs(7);

/// A bridge, and a namespace for each node; dropping it removes them.
struct Network {
    /// What its devices and namespaces begin with.
    name: String,
    /// The second and third byte of its addresses.
    net: [u8; 2],
}

fn ip(words: &str) -> Command {
    let mut command = bare_command("ip");
    command.args(words.split(' '));
    command
}

impl Network {
    /// None where this machine does not allow it.
    fn make() -> Option<Network> {
        let pid = std::process::id();
        let net = [100 + (pid >> 8) as u8 % 100, pid as u8];
        let network = Network { name: format!("pu{:x}", pid & 0xff_ffff), net };
        let Network { name, .. } = &network;
        let mut steps = vec![
            format!("link add {name}b type bridge"),
            format!("addr add {}/24 dev {name}b", network.address(100)),
            format!("link set {name}b up"),
        ];
        for node in 0..NODES {
            steps.extend([
                format!("netns add {name}n{node}"),
                format!("link add {name}v{node} type veth peer name {name}e{node}"),
                format!("link set {name}e{node} netns {name}n{node}"),
                format!("link set {name}v{node} master {name}b up"),
                format!("-n {name}n{node} addr add {}/24 dev {name}e{node}", network.address(node)),
                format!("-n {name}n{node} link set {name}e{node} up"),
                format!("-n {name}n{node} link set lo up"),
            ]);
        }
        // `ip` need not even be there.
        let works = |words: &String| ip(words).output().is_ok_and(|output| output.status.success());
        match steps.iter().find(|words| !works(words)) {
            None => Some(network),
            Some(step) => {
                let required = std::env::var_os("REQUIRE_NETNS").is_some();
                assert!(!required, "this machine does not allow: ip {step}");
                // Not by eprintln, which only shows when a test fails.
                let note = format!("note: a test is passed over: this machine does not allow: ip {step}\n");
                let _ = std::io::stderr().write_all(note.as_bytes());
                None
            }
        }
    }

    fn address(&self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, self.net[0], self.net[1], host + 1))
    }

    fn places(&self) -> Vec<Place> {
        let place = |node: u8| {
            let at = |port| SocketAddr::new(self.address(node), port);
            let prefix = ["ip", "netns", "exec", &format!("{}n{node}", self.name)].map(String::from).to_vec();
            Place {
                advertised: at(7946),
                cluster: at(7946),
                public: at(8080),
                publisher: at(8081),
                prefix,
                ..Place::choose()
            }
        };
        (0..NODES).map(place).collect()
    }

    fn plug(&self, node: u8, state: &str) {
        let output = run(&mut ip(&format!("link set {}v{node} {state}", self.name)));
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made is not there to be removed.
        for node in 0..NODES {
            let _ = ip(&format!("link del {}v{node}", self.name)).output();
            let _ = ip(&format!("netns del {}n{node}", self.name)).output();
        }
        let _ = ip(&format!("link del {}b", self.name)).output();
    }
}

#[test]
fn nothing_is_lost_while_a_machine_is_unplugged() {
    let Some(network) = Network::make() else { return };
    let dir = TempDir::new();
    let key = dir.write("key", "a secret of the cluster's");
    let fleet = Fleet::start_at(network.places(), &["--cluster-key-file", &key]);
    nothing_is_lost_while(&fleet, Load::default(), |_| {
        network.plug(1, "down");
        std::thread::sleep(UNPLUGGED);
        network.plug(1, "up");
    });
}
