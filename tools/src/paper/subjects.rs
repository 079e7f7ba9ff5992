//! What is measured: starting the server of each method, alike.
//!
//! It refuses to know what is asked of them. Invariant: every server is a process of its own on free
//! ports and ends when it is dropped.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Method;
use super::limits::Threads;
use crate::Fallible;
use crate::servers::pushup::PushUp;
use crate::servers::{Placement, Server, Stage};

/// How much sooner than others the kernel ends a process when memory is gone: a thread-per-poll server should
/// be the first, of 1,000 at most.
const OOM_SCORE: &str = "900";

/// All that can be started.
pub struct Subjects {
    /// Where processes are started.
    pub stage: Stage,
    /// The event-driven server.
    pub pushup: PushUp,
    /// How many threads the thread-per-poll server may have.
    pub threads: Threads,
    /// Address space of a thread's stack, in bytes; none: the system's default.
    pub thread_stack_bytes: Option<usize>,
}

impl Subjects {
    /// Prepares a place for them.
    pub fn new(
        pushup: PathBuf,
        placement: Placement,
        thread_stack_bytes: Option<usize>,
    ) -> Fallible<Subjects> {
        Ok(Subjects {
            stage: Stage::new(placement)?,
            pushup: PushUp::new(pushup),
            threads: Threads::look(),
            thread_stack_bytes,
        })
    }

    /// Starts the server of a method and waits until it is ready. Client pulling asks an ordinary
    /// web server, which is the one with a thread for each connection.
    pub fn start(&self, method: Method) -> Fallible<Server> {
        match method {
            Method::ClientPulling | Method::ThreadPerPoll => self.thread_per_poll(),
            Method::EventDriven => self.pushup.start(&self.stage),
        }
    }

    /// Starts so many event-driven servers that look like one; one is a server by itself.
    pub fn start_nodes(&self, count: usize) -> Fallible<Vec<Server>> {
        match count {
            0 | 1 => Ok(vec![self.start(Method::EventDriven)?]),
            more => self.pushup.start_cluster(&self.stage, more),
        }
    }

    fn thread_per_poll(&self) -> Fallible<Server> {
        let room = self.stage.room("threads")?;
        let ready = room.join("ready");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("thread-per-poll").arg(&ready).arg(self.threads.most.to_string());
        command.arg(self.thread_stack_bytes.unwrap_or(0).to_string());
        let server = self.stage.spawn_ready(command, &room, &ready)?;
        // Where it is not allowed, the kernel chooses as it always does.
        let _ = fs::write(format!("/proc/{}/oom_score_adj", server.pid), OOM_SCORE);
        Ok(server)
    }
}
