//! nginx with the nchan module, the best known long-polling server that is not ours: where it
//! is, how it is configured, and which of its processes is measured.
//!
//! What it refuses to know: how it is loaded. Invariant: it is configured as its own users
//! would who want it fast, and never to our advantage; `configuration` says why for each line.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Server, Stage};
use crate::sys::{self, Orphaned};
use crate::{Fallible, process};

/// What to tell a person who does not have it.
pub const HOW_TO_GET: &str = "nginx with nchan is not here: tools/install-peers gets it, without root";
/// A free port may be taken by somebody before nginx takes it.
const TRIES: usize = 5;
/// How nginx calls the one process that serves.
const WORKER: &str = "nginx: worker process";

/// An nginx that has nchan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nchan {
    nginx: PathBuf,
    module: PathBuf,
}

impl Nchan {
    /// What `tools/install-peers` made, else the system's own; none if neither is there.
    pub fn find() -> Option<Nchan> {
        let unpacked = peer_directories().into_iter().map(|peers| Nchan {
            nginx: peers.join("bin/nginx"),
            module: peers.join("usr/lib/nginx/modules/ngx_nchan_module.so"),
        });
        let modules = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"];
        let installed = modules.iter().map(|directory| Nchan {
            nginx: "/usr/sbin/nginx".into(),
            module: Path::new(directory).join("ngx_nchan_module.so"),
        });
        unpacked.chain(installed).find(|found| found.nginx.is_file() && found.module.is_file())
    }

    /// The programs that it consists of.
    pub fn files(&self) -> Fallible<Vec<PathBuf>> {
        // Unpacked, there is a script before the program, and it says where.
        let unpacked = self.module.ancestors().nth(4).map(|usr| usr.join("sbin/nginx"));
        let program = unpacked.filter(|program| program.is_file()).unwrap_or(self.nginx.clone());
        Ok(vec![fs::canonicalize(program)?, fs::canonicalize(&self.module)?])
    }

    /// Starts it with one worker on free ports and waits until it is ready; the worker is
    /// what is measured.
    pub fn start(&self, stage: &Stage) -> Fallible<Server> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.start_once(stage) {
                Err(error) if error.to_string().contains("Address already in use") => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| "nginx found no free ports".into()))
    }

    fn start_once(&self, stage: &Stage) -> Fallible<Server> {
        let room = stage.room("nchan")?;
        let (subscribe, publish) = (sys::free_port()?, sys::free_port()?);
        let settings = Settings {
            module: &self.module,
            room: &room,
            subscribe,
            publish,
            descriptors: sys::raise_descriptor_limit()?,
            // Only root's worker would change to another user, whose files these are not.
            as_root: fs::metadata("/proc/self")?.uid() == 0,
        };
        let file = room.join("nginx.conf");
        fs::write(&file, configuration(&settings))?;
        let mut command = Command::new(&self.nginx);
        // Its prefix is where relative paths lead; its log goes where we read what it says.
        command.arg("-p").arg(&room).arg("-c").arg(&file).args(["-e", "stderr"]);
        let mut server = stage.spawn(command, &room, Orphaned::Terminate)?;
        server.subscribe = SocketAddr::from((Ipv4Addr::LOCALHOST, subscribe));
        server.publish = SocketAddr::from((Ipv4Addr::LOCALHOST, publish));
        server.wait("get ready", find_worker)?;
        server.settle()?;
        Ok(server)
    }
}

/// Where unpacked peers may be: where the variable says, or below the project.
pub fn peer_directories() -> Vec<PathBuf> {
    let told = std::env::var_os("PEERS_DIRECTORY").map(PathBuf::from);
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    told.into_iter().chain([project, "target/peers".into()]).collect()
}

/// Measures the worker from now on; whether there is one and it can be reached.
fn find_worker(server: &mut Server) -> Fallible<bool> {
    // If it has ended, the caller finds out, and reads why.
    let Ok(workers) = process::children(server.root_pid()) else { return Ok(false) };
    let worker = workers.into_iter().find(|&pid| process::title(pid).is_ok_and(|title| title == WORKER));
    let Some(worker) = worker else { return Ok(false) };
    server.pid = worker;
    let reached = |to: SocketAddr| TcpStream::connect_timeout(&to, Duration::from_millis(200)).is_ok();
    Ok(reached(server.subscribe) && reached(server.publish))
}

/// What the configuration is made for.
struct Settings<'a> {
    module: &'a Path,
    room: &'a Path,
    subscribe: u16,
    publish: u16,
    descriptors: usize,
    as_root: bool,
}

/// The configuration, each line with its reason.
fn configuration(settings: &Settings<'_>) -> String {
    let Settings { module, room, subscribe, publish, descriptors, as_root } = settings;
    let values = [
        ("@module@", module.display().to_string()),
        ("@room@", room.display().to_string()),
        ("@subscribe@", subscribe.to_string()),
        ("@publish@", publish.to_string()),
        ("@descriptors@", descriptors.to_string()),
        ("@user@", if *as_root { "user root;" } else { "" }.to_owned()),
    ];
    let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
    values.iter().fold(include_str!("nchan.conf").to_owned(), fill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_holds_what_it_is_made_for() {
        let settings = Settings {
            module: Path::new("m.so"),
            room: Path::new("room"),
            subscribe: 1_001,
            publish: 1_002,
            descriptors: 20_000,
            as_root: false,
        };
        let text = configuration(&settings);
        for wanted in [
            "load_module m.so;",
            "worker_connections 20000;",
            "listen 127.0.0.1:1001 ",
            "listen 127.0.0.1:1002 ",
            "pid room/pid;",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
        }
        assert!(!text.contains("user root"));
        assert!(configuration(&Settings { as_root: true, ..settings }).contains("user root;"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn it_starts_and_leaves_nobody_behind() {
        let Some(nchan) = Nchan::find() else { return };
        let stage = Stage::new(super::super::Placement::Anywhere).unwrap();
        let server = nchan.start(&stage).unwrap();
        let (master, worker) = (server.root_pid(), server.pid);
        assert_ne!(master, worker);
        assert!(server.memory().unwrap().rss > 100_000);
        drop(server);
        assert!(process::memory(master).is_err() && process::memory(worker).is_err());
    }
}
