//! The server that is driven: one of our own that ends with us, or one that runs already.
//!
//! What it refuses to know: how it is loaded. Invariant: what cannot be read of it (it has no
//! known process) is missing, never zero.

use std::net::SocketAddr;
use std::time::Duration;

use super::options::{OwnServer, Plan};
use crate::Fallible;
use crate::process::{self, Cpu, Memory};
use crate::servers::nchan::{HOW_TO_GET, Nchan};
use crate::servers::pushup::{self, PushUp};
use crate::servers::{Server, Stage};

/// A server that is not quiet after so long is measured as it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whether a server has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It sleeps, and all that it was asked for is done.
    Quiet,
    /// It is still busy after [`PATIENCE`].
    Busy,
    /// Its process has ended.
    Gone,
    /// Nobody knows its process.
    Unknown,
}

/// The server that is driven.
pub(super) struct Subject {
    /// Where polls go, in turn.
    pub subscribe: Vec<SocketAddr>,
    /// Where publications go.
    pub publish: Vec<SocketAddr>,
    /// What is driven, for a person.
    pub name: String,
    pid: Option<u32>,
    /// A server of our own, and after it the directory of its files.
    _own: Option<(Server, Stage)>,
}

impl Subject {
    /// Starts the plan's server, or finds the one that runs.
    pub fn start(plan: &Plan) -> Fallible<Subject> {
        if plan.targets.is_empty() { Subject::start_own(plan) } else { Subject::running(plan) }
    }

    fn start_own(plan: &Plan) -> Fallible<Subject> {
        let stage = Stage::new(plan.placement)?;
        let (server, name) = match &plan.own {
            OwnServer::PushUp(path) => {
                let binary = path.clone().map_or_else(pushup::find, Ok)?;
                let name = format!("PushUp ({})", binary.display());
                let mut args = plan.server_args.clone();
                if let Some(division) = plan.division.filter(|division| division.shards > 1) {
                    args.extend(["--shards".into(), division.shards.to_string().into()]);
                }
                let server = PushUp { args, ..PushUp::new(binary) };
                (server.start(&stage)?, name)
            }
            OwnServer::Nchan => {
                let nchan = Nchan::find().ok_or(HOW_TO_GET)?;
                (nchan.start(&stage)?, "nginx with nchan, one worker".to_owned())
            }
        };
        Ok(Subject {
            subscribe: vec![server.subscribe],
            publish: vec![server.publish],
            name,
            pid: Some(server.pid),
            _own: Some((server, stage)),
        })
    }

    fn running(plan: &Plan) -> Fallible<Subject> {
        if let Some(pid) = plan.pid {
            process::cpu(pid).map_err(|error| format!("process {pid}: {error}"))?;
        }
        let publish = if plan.publish_targets.is_empty() { &plan.targets } else { &plan.publish_targets };
        let names: Vec<_> = plan.targets.iter().map(SocketAddr::to_string).collect();
        Ok(Subject {
            subscribe: plan.targets.clone(),
            publish: publish.clone(),
            name: names.join(", "),
            pid: plan.pid,
            _own: None,
        })
    }

    /// CPU time so far; exact if the server is at rest.
    pub fn cpu(&self) -> Option<Cpu> {
        process::cpu(self.pid?).ok()
    }

    /// User-space memory now.
    pub fn memory(&self) -> Option<Memory> {
        process::memory(self.pid?).ok()
    }

    /// Waits until the server has done all that it was asked for.
    pub fn settle(&self) -> Rest {
        self.settle_within(PATIENCE)
    }

    /// Waits until the server has done all that it was asked for, at most so long.
    pub fn settle_within(&self, patience: Duration) -> Rest {
        let Some(pid) = self.pid else { return Rest::Unknown };
        match process::settle(pid, patience) {
            Ok(true) => Rest::Quiet,
            Ok(false) => Rest::Busy,
            Err(_) => Rest::Gone,
        }
    }
}
