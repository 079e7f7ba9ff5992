//! What `--help` and `--version` print. The settings come from their table.

use crate::config;

/// For `-V`.
pub(super) fn version() -> String {
    format!("pushup {}\n", env!("CARGO_PKG_VERSION"))
}

/// For `pushup --help`.
pub(super) fn program() -> String {
    format!("{HELP}\nSettings, with their defaults:\n{}", config::help_table())
}

/// For `pushup serve --help`.
pub(super) fn serve() -> String {
    format!("{SERVE_HELP}\nSettings, with their defaults:\n{}", config::help_table())
}

const HELP: &str = "\
PushUp holds requests open until there is something to say.

usage: pushup [serve] [-c FILE] [SETTINGS]   run the server
       pushup pub CHANNEL[,CHANNEL...] [MESSAGE]
       pushup sub CHANNEL...
       pushup worker --join HOST:PORT --programs DIR
       pushup map --program PROGRAM FILE
       pushup supervise cluster.toml         keep front-ends and back-ends running
       pushup ctl COMMAND                    tell a controller something
       pushup agent --join HOST:PORT --name NAME --programs DIR
       pushup pub|sub|serve|worker|map|supervise|ctl|agent --help

  -c, --config FILE   settings as `name = value`; also PUSHUP_CONFIG
  --check-config      say whether the configuration is good, and exit
  -h, --help          this text
  -V, --version       the version

Exit codes: 0 fine, 1 failed, 2 wrong usage, 69 cannot bind, 78 bad configuration.
";

const SERVE_HELP: &str = "\
usage: pushup [serve] [-c FILE] [SETTINGS]

Runs the server. A setting is a flag, a variable (--poll-timeout is
PUSHUP_POLL_TIMEOUT) or a line of the file; the flag wins, then the variable.
SIGTERM drains and stops, a second one stops at once; SIGHUP reads file and keys again.

  -c, --config FILE   settings as `name = value`; also PUSHUP_CONFIG
  --check-config      say whether the configuration is good, and exit
";

/// For `pushup map --help`.
pub(super) const MAP: &str = "\
usage: pushup map --program PROGRAM [OPTIONS] FILE

Handles the lines of a file with several processes of a program; what they write to descriptor 3
goes to standard output, in the order of the lines. A sub-task's parameters are
{\"first\": N, \"lines\": [...]}; the rest of what a program reads and writes is in the README.

  --program PROGRAM   the file of the program
  --split lines       how FILE is divided
  --batch N           lines of a sub-task, at most (1000; 64 KiB)
  --slots N           processes at once (as many as there are processors)
  --unordered         as results are ready
  --retries N         how often a sub-task is tried again (2)
  -q, --quiet         no progress on the terminal
";

/// For `pushup worker --help`.
pub(super) const WORKER: &str = "\
usage: pushup worker --join HOST:PORT --programs DIR [OPTIONS]

Runs sub-tasks of a node's use cases, with the programs of a directory and no others.
SIGTERM ends it when what is under way is done, a second one at once.

  --join HOST:PORT    a node's --worker-listen; repeatable
  --programs DIR      where the programs stand that may be run, by their file names
  --slots N           sub-tasks at once; as many as there are processors
  --handler-memory MB a handler that uses more is ended (1024)
  --name NAME         what nodes call it; worker-PID
  --cluster-name NAME as the nodes have it (pushup)
  --cluster-key-file FILE
                      the secret that the nodes have; needed off loopback
";

/// For `pushup sub --help`.
pub(super) const SUB: &str = "\
usage: pushup sub [OPTIONS] CHANNEL...

Prints each message of the channels on a line as it comes, and reconnects for ever.
Ends when all channels are closed.

  --server URL        the public listener (http://127.0.0.1:8080, or PUSHUP_SERVER)
  --after CURSOR|now  go on after a cursor; the default is now, unless --since is given
  --since MS          only messages from this time on, in Unix milliseconds
  --timeout SECONDS   how long one poll is held (50)
  --count N           end after N messages
  --json              print each message whole, as a line of JSON
  --token-file FILE   a file with the token to show
  -q, --quiet         no notices on stderr
";

/// For `pushup pub --help`.
pub(super) const PUB: &str = "\
usage: pushup pub [OPTIONS] CHANNEL[,CHANNEL...] [MESSAGE]

Publishes the message, one for all the channels, or each line of stdin if there is no
MESSAGE, and prints the id of each. A message that starts with a dash goes after --.

  --server URL        the publishers' listener (http://127.0.0.1:8081, or
                      PUSHUP_PUBLISH_SERVER)
  --type TYPE         the message's media type (text/plain)
  --json              the same as --type application/json
  --ttl SECONDS       how long it is kept
  --key KEY           the Idempotency-Key; the default is a random one
  --token-file FILE   a file with the token to show
";

/// For `pushup supervise --help`.
pub(super) const SUPERVISE: &str = "\
usage: pushup supervise [OPTIONS] FILE

Keeps the front-ends and back-ends of FILE (cluster.toml) running: starts them, starts again what ends, and takes
commands from `pushup ctl`. If it is killed they go on, and the next one finds them again.
SIGTERM ends everything in order: front-ends let go whom they have, then back-ends; a second one at once.
SIGHUP reads FILE again and does what is different; commands that were given before are forgotten.

  --leave-running     SIGTERM ends the controller only
  --check-config      say whether FILE is good, and exit

What FILE says, with the defaults in brackets; paths begin at its directory:
  control       the Unix socket for commands (control.sock)
  state         directory of what is remembered (the socket's)
  cluster_name, key_file   the same for all; a key is needed off loopback
  [[front_end]] name, count (1), settings = { any of `pushup serve`, like listen = \"0.0.0.0:8080\" }
                the instances share `listen`; publish-listen, worker-listen and cluster-listen
                are the second's with a port one higher, and so on
  [[back_end]]  name, count (1), programs, slots (as many as processors), join (all front-ends),
                machine (the name of an agent; programs are that one's)
  [agents]      listen: where agents of other machines connect
";

/// For `pushup ctl --help`.
pub(super) const CTL: &str = "\
usage: pushup ctl [OPTIONS] COMMAND

  status              what runs; 0 if all is as it should be
  start NAME          let it run, at once if it waits after a failure
  stop NAME           end it now
  drain NAME          let it finish what is under way, and end
  scale NAME COUNT    so many of a group
  scheduler POLICY    how front-ends choose back-ends: p2c, least_loaded or round_robin

NAME is a group's, or an instance's like work.2. What is ordered holds until the controller reads its file again.
Waits up to 60 s until it is so.

  --control PATH      the controller's socket (control.sock, or PUSHUP_CONTROL)
  --json              print JSON
  --no-wait           do not look whether it is so
";

/// For `pushup agent --help`.
pub(super) const AGENT: &str = "\
usage: pushup agent --join HOST:PORT --name NAME --programs DIR [OPTIONS]

Runs back-ends on this machine for a controller on another. It starts nothing but this program's worker, with the
programs of DIR. While the controller is away, all goes on. SIGTERM ends everything in order, a second one at once.

  --join HOST:PORT    the controller's [agents] listen
  --name NAME         what the controller's file calls this machine
  --programs DIR      where the programs stand that may be run, by their file names
  --cluster-name NAME as the controller has it (pushup)
  --cluster-key-file FILE
                      the secret that all have; needed off loopback
  --state DIR         where it remembers what it started (.)
  --leave-running     SIGTERM ends the agent only
";
