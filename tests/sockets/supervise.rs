//! A controller as a process: what it starts, finds again and is told, and its agent.
//!
//! Components outlive their controller, so that each test ends them itself: by their descriptions in the controller's
//! own memory, and whatever names the test's directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::http::Client;
use crate::node::free_ports;
use crate::process::{Running, bare_command, pushup, run};
use crate::scatter::primes;
use crate::temp::TempDir;
use crate::wait_for;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/examples")
}

/// A cluster in a directory of its own; dropping it ends every process that was started in it.
struct Cluster {
    dir: TempDir,
    /// The public address, and the first of the publishers'.
    public: u16,
    publisher: u16,
    controller: Option<Running>,
}

impl Cluster {
    /// Of a file in which `@public`, `@publisher`, `@worker`, `@agents`, `@examples` and `@dir` are filled in.
    fn write(file: &str) -> Cluster {
        let dir = TempDir::new();
        let ports = free_ports(4);
        let (public, publisher) = (ports, ports + 1);
        let mut cluster = Cluster { dir, public, publisher, controller: None };
        cluster.rewrite(file);
        cluster
    }

    fn rewrite(&mut self, file: &str) {
        let text = file
            .replace("@publisher", &format!("127.0.0.1:{}", self.publisher))
            .replace("@public", &format!("127.0.0.1:{}", self.public))
            .replace("@worker", &format!("127.0.0.1:{}", self.publisher + 10))
            .replace("@agents", &self.agents())
            .replace("@examples", examples().to_str().unwrap())
            .replace("@dir", self.dir.path().to_str().unwrap());
        self.dir.write("cluster.toml", &text);
    }

    fn agents(&self) -> String {
        format!("127.0.0.1:{}", self.publisher + 20)
    }

    fn start(&mut self) -> &Running {
        let mut command = pushup();
        command.arg("supervise").arg(self.dir.file("cluster.toml"));
        // A pipe would only end with the last component.
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.file("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        self.controller.insert(Running::spawn_plain(&mut command))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.file("log")).unwrap_or_default()
    }

    fn ctl(&self, words: &[&str]) -> Output {
        run(pushup().arg("ctl").arg("--control").arg(self.dir.file("control.sock")).args(words))
    }

    /// A command that is done, and what then is.
    fn done(&self, words: &[&str]) -> Value {
        let output = self.ctl(&[&["--json"], words].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{words:?}: {said}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            self.log()
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the controller says of a component; null if there is none.
    fn one(&self, name: &str) -> Value {
        let output = self.ctl(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let components = status["components"].as_array().cloned().unwrap_or_default();
        components.into_iter().find(|one| one["name"] == name).unwrap_or_default()
    }

    /// Waits until all is as it should be.
    fn wait(&self) -> Value {
        wait_for("all components to run", || {
            let output = self.ctl(&["status", "--json"]);
            output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
        })
    }

    fn pids(&self) -> Vec<(String, u64)> {
        let status: Value = serde_json::from_slice(&self.ctl(&["status", "--json"]).stdout).unwrap();
        let pid = |one: &Value| Some((one["name"].as_str()?.to_owned(), one["pid"].as_u64()?));
        status["components"].as_array().unwrap().iter().filter_map(pid).collect()
    }

    fn kill_controller(&mut self) {
        let mut controller = self.controller.take().expect("it runs");
        controller.signal(Signal::KILL);
        wait_for("its end", || controller.has_ended());
    }

    fn get(&self, target: &str) -> (u16, Vec<u8>) {
        let answer = Client::connect(([127, 0, 0, 1], self.public).into()).get(target);
        (answer.status, answer.body)
    }

    /// Waits until a front-end has all its back-ends, so that a call finds them.
    fn wait_backends(&self, publisher: u16, count: usize) {
        wait_for("back-ends to join", || {
            let stream = std::net::TcpStream::connect(("127.0.0.1", publisher)).ok()?;
            drop(stream);
            let view = Client::connect(([127, 0, 0, 1], publisher).into()).get("/usecases").json();
            (view["backends"].as_array()?.len() == count).then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the controller and its components said:\n{}", self.log());
        }
        // The controllers first, or they would start again what is ended.
        drop(self.controller.take());
        let named = self.dir.path().to_str().unwrap().to_owned();
        for _ in 0..3 {
            for pid in processes_of(&named) {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
        }
    }
}

/// Processes of ours that name a directory on their command line or work in it.
fn processes_of(directory: &str) -> Vec<i32> {
    let own = std::process::id() as i32;
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_of = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let at = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let is_ours = words.starts_with(env!("CARGO_BIN_EXE_pushup").as_bytes());
        is_ours && (String::from_utf8_lossy(&words).contains(directory) || at.to_str() == Some(directory))
    };
    pids.filter(|pid| *pid != own).filter(is_of).collect()
}

fn is_alive(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

const TWO_AND_TWO: &str = r#"
[[front_end]]
name = "front"
count = 2
settings = { listen = "@public", publish-listen = "@publisher", worker-listen = "@worker", usecases = "@examples/usecases" }
[[back_end]]
name = "work"
count = 2
programs = "@examples/programs"
slots = 1
"#;

#[test]
fn a_file_is_started_watched_and_stopped() {
    let mut cluster = Cluster::write(TWO_AND_TWO);
    cluster.start();
    cluster.wait();
    let before = cluster.pids();
    assert_eq!(
        before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["front.1", "front.2", "work.1", "work.2"]
    );
    for front in 0..2 {
        cluster.wait_backends(cluster.publisher + front, 2);
    }
    // Whichever of the two takes it.
    for _ in 0..8 {
        assert!(cluster.get("/v1/primes?to=20000") == (200, primes(20_000)));
    }
    let victim = before[3].1;
    kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
    wait_for("another", || (cluster.one("work.2")["restarts"] == 1).then_some(()));
    let after = cluster.wait();
    assert_eq!(after["components"][3]["last_end"], "signal: 9 (SIGKILL)");
    assert!(cluster.pids()[..3] == before[..3] && cluster.pids()[3].1 != victim);
    cluster.wait_backends(cluster.publisher, 2);
    // A second controller of the same has nothing to say.
    let second = run(pushup().arg("supervise").arg(cluster.dir.file("cluster.toml")));
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("it runs already"), "{second:?}");
    let pids = cluster.pids();
    let mut controller = cluster.controller.take().unwrap();
    controller.signal(Signal::TERM);
    assert!(wait_for("its end", || controller.has_ended()).success());
    assert!(!pids.iter().any(|(_, pid)| is_alive(*pid)), "{}", cluster.log());
    let log = cluster.log();
    let end = |name: &str| log.rfind(&format!("{name} has ended")).expect(name);
    assert!(end("front.1").max(end("front.2")) < end("work.1").min(end("work.2")), "front-ends first: {log}");
    assert!(!cluster.dir.file("supervise.state").exists() && !cluster.dir.file("control.sock").exists());
}

#[test]
fn what_ends_at_once_is_reported_and_not_spun() {
    let file = format!("{TWO_AND_TWO}[[back_end]]\nname = \"bad\"\nprograms = \"nowhere\"\n");
    let mut cluster = Cluster::write(&file);
    cluster.start();
    let failing = wait_for("it to be given up on", || {
        Some(cluster.one("bad.1")).filter(|one| one["state"] == "failing")
    });
    assert_eq!(failing["last_end"], "exit status: 78");
    assert!(failing["restarts"].as_u64().is_some_and(|restarts| restarts >= 5), "{failing}");
    assert!(cluster.log().contains("bad.1 fails over and over (exit status: 78)"));
    let output = cluster.ctl(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pushup: bad.1 is not as it should be\n");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("bad.1    failing  -"), "{table}");
    // The others have nothing to do with it.
    assert_eq!(cluster.one("work.1")["state"], "running");
    let output = cluster.ctl(&["start", "bad"]);
    assert!(!output.status.success(), "{output:?}");
    let log = cluster.log();
    let starts = log.matches("bad.1 is started").count();
    assert!((6..30).contains(&starts), "{starts} starts");
}

#[test]
fn the_administrator_s_commands() {
    let mut cluster = Cluster::write(TWO_AND_TWO);
    cluster.start();
    cluster.wait();
    let state = |status: &Value, at: usize| status["components"][at]["state"].as_str().unwrap().to_owned();
    let status = cluster.done(&["stop", "work.1"]);
    assert_eq!((state(&status, 2), state(&status, 3)), ("stopped".into(), "running".into()));
    assert_eq!(state(&cluster.done(&["drain", "front.2"]), 1), "drained");
    assert_eq!(state(&cluster.done(&["start", "front"]), 1), "running");
    assert_eq!(state(&cluster.done(&["start", "work"]), 2), "running");
    let status = cluster.done(&["scale", "work", "4"]);
    assert_eq!(status["components"].as_array().unwrap().len(), 6);
    cluster.wait_backends(cluster.publisher, 4);
    assert_eq!(cluster.done(&["scale", "work", "1"])["components"].as_array().unwrap().len(), 3);
    let scheduler = |front: u16| {
        Client::connect(([127, 0, 0, 1], cluster.publisher + front).into()).get("/scheduler").json()["scheduler"].clone()
    };
    assert_eq!((scheduler(0), scheduler(1)), (json!("p2c"), json!("p2c")));
    let fronts = cluster.pids()[..2].to_vec();
    cluster.done(&["scheduler", "round_robin"]);
    assert_eq!((scheduler(0), scheduler(1)), (json!("round_robin"), json!("round_robin")));
    assert_eq!(cluster.pids()[..2], fronts, "they were told, and not started again");
    // Whoever puts it by hand is told what he may say.
    let mut publisher = Client::connect(([127, 0, 0, 1], cluster.publisher).into());
    let answer = publisher.put("/scheduler", b"{\"scheduler\":\"best\"}");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["detail"], "\"scheduler\" must be one of round_robin, least_loaded, p2c.");
    assert_eq!(publisher.put("/scheduler", b"nonsense").status, 400);
    // One that is started later knows it from the beginning.
    cluster.done(&["stop", "front.1"]);
    cluster.done(&["start", "front.1"]);
    wait_for("it to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", cluster.publisher)).ok().map(drop)
    });
    assert_eq!(scheduler(0), json!("round_robin"));
    for (words, code, told) in [
        (&["stop", "wrk"][..], 1, "there is no \"wrk\", did you mean \"work\"?"),
        (&["scale", "front", "20"], 1, "would listen on"),
        (&["scale", "work", "x"], 2, "COUNT must be a whole number"),
        (&["scheduler", "best"], 2, "scheduler needs one of p2c, least_loaded, round_robin"),
        (&["strat", "work"], 2, "unknown command \"strat\", did you mean \"start\"?"),
        (&["stop"], 2, "the NAME is missing"),
    ] {
        let output = cluster.ctl(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    }
    // The file counts again when it is read again.
    cluster.controller.as_ref().unwrap().signal(Signal::HUP);
    wait_for("two", || (cluster.one("work.2")["state"] == "running").then_some(()));
    wait_for("the file's scheduler", || (scheduler(0) == "p2c" && scheduler(1) == "p2c").then_some(()));
    cluster.rewrite("nonsense");
    cluster.controller.as_ref().unwrap().signal(Signal::HUP);
    wait_for("a word about it", || cluster.log().contains("not read again: ").then_some(()));
    cluster.wait();
}

/// The request goes on, and whoever comes after it knows everything.
#[test]
fn a_controller_that_is_killed_changes_nothing() {
    let mut cluster = Cluster::write(TWO_AND_TWO);
    cluster.start();
    cluster.wait();
    cluster.wait_backends(cluster.publisher, 2);
    cluster.wait_backends(cluster.publisher + 1, 2);
    let before = cluster.pids();
    let address = format!("http://127.0.0.1:{}/v1/primes?to=300000", cluster.public);
    let request = bare_command("curl")
        .args(["-s", "--limit-rate", "400k", "--max-time", "60", &address])
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is curl");
    let busy = |publisher: u16| {
        let view = Client::connect(([127, 0, 0, 1], publisher).into()).get("/usecases").json();
        view["requests"] == 1
    };
    wait_for("it to be at work", || (busy(cluster.publisher) || busy(cluster.publisher + 1)).then_some(()));
    cluster.kill_controller();
    let output = cluster.ctl(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is `pushup supervise` running?"), "{output:?}");
    assert!(before.iter().all(|(_, pid)| is_alive(*pid)));
    cluster.start();
    cluster.wait();
    let output = request.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == primes(300_000), "{} bytes", output.stdout.len());
    assert_eq!(cluster.pids(), before, "the same processes");
    // One that has ended meanwhile is started again, and one that was adopted is noticed to end.
    cluster.kill_controller();
    kill_process(Pid::from_raw(before[2].1 as i32).unwrap(), Signal::KILL).unwrap();
    wait_for("its end", || (!is_alive(before[2].1)).then_some(()));
    cluster.start();
    cluster.wait();
    assert_ne!(cluster.pids()[2], before[2]);
    kill_process(Pid::from_raw(before[3].1 as i32).unwrap(), Signal::KILL).unwrap();
    wait_for("another", || (cluster.one("work.2")["restarts"] == 1).then_some(()));
    cluster.wait();
    assert!(cluster.pids()[..2] == before[..2] && cluster.pids()[3] != before[3]);
}

#[test]
fn a_controller_can_end_without_its_components() {
    let mut cluster = Cluster::write(TWO_AND_TWO);
    let mut command = pushup();
    command.arg("supervise").arg("--leave-running").arg(cluster.dir.file("cluster.toml"));
    let mut controller = Running::spawn_plain(command.stdout(Stdio::null()).stderr(Stdio::null()));
    cluster.wait();
    let before = cluster.pids();
    controller.signal(Signal::TERM);
    assert!(wait_for("its end", || controller.has_ended()).success());
    assert!(before.iter().all(|(_, pid)| is_alive(*pid)));
    cluster.start();
    cluster.wait();
    assert_eq!(cluster.pids(), before);
}

const FAR: &str = r#"
key_file = "@dir/key"
[[front_end]]
name = "front"
settings = { listen = "@public", publish-listen = "@publisher", worker-listen = "@worker", usecases = "@examples/usecases" }
[[back_end]]
name = "far"
count = 2
machine = "b"
join = ["@worker"]
slots = 1
[agents]
listen = "@agents"
"#;

#[test]
fn an_agent_runs_back_ends_for_a_controller() {
    let mut cluster = Cluster::write(FAR);
    cluster.dir.write("key", "of sixteen bytes and more");
    cluster.start();
    wait_for("the controller", || cluster.dir.file("control.sock").exists().then_some(()));
    let agent = |cluster: &Cluster, key: &str| {
        let mut command: Command = pushup();
        command.args(["agent", "--name", "b", "--join", &cluster.agents(), "--programs"]);
        command.arg(examples().join("programs")).arg("--cluster-key-file").arg(cluster.dir.file(key));
        command.arg("--state").arg(cluster.dir.path());
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(cluster.dir.file("log")).unwrap();
        Running::spawn_plain(command.stdout(Stdio::null()).stderr(log))
    };
    assert_eq!(cluster.one("far.1")["state"], "unreachable");
    // Whoever does not hold the key is nobody.
    cluster.dir.write("other", "not the one that the others have");
    let stranger = agent(&cluster, "other");
    wait_for("him to be sent away", || {
        cluster.log().contains("does not hold the cluster's key").then_some(())
    });
    assert_eq!(cluster.one("far.1")["state"], "unreachable");
    drop(stranger);
    let mut running = agent(&cluster, "key");
    cluster.wait();
    assert_eq!(cluster.one("far.1")["machine"], "b");
    cluster.wait_backends(cluster.publisher, 2);
    assert!(cluster.get("/v1/primes?to=20000") == (200, primes(20_000)));
    let victim = cluster.one("far.1")["pid"].as_i64().unwrap() as i32;
    kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
    wait_for("another", || (cluster.one("far.1")["restarts"] == 1).then_some(()));
    cluster.wait();
    cluster.done(&["stop", "far.1"]);
    assert_eq!(cluster.done(&["start", "far.1"])["agents"][0]["connected"], true);
    let before = cluster.pids();
    // The agent dies, and then the controller: what runs goes on, and both find it again.
    running.signal(Signal::KILL);
    wait_for("its end", || running.has_ended());
    wait_for("it to be missed", || (cluster.one("far.1")["state"] == "unreachable").then_some(()));
    running = agent(&cluster, "key");
    cluster.wait();
    assert_eq!(cluster.pids(), before);
    cluster.kill_controller();
    cluster.start();
    wait_for("the agent to come back", || (cluster.one("far.2")["state"] == "running").then_some(()));
    cluster.wait();
    assert_eq!(cluster.pids(), before);
    // The controller ends everything, wherever it is; the agent waits for the next one.
    let mut controller = cluster.controller.take().unwrap();
    controller.signal(Signal::TERM);
    assert!(wait_for("its end", || controller.has_ended()).success());
    assert!(!before.iter().any(|(_, pid)| is_alive(*pid)), "{}", cluster.log());
    assert!(running.has_ended().is_none());
    running.signal(Signal::TERM);
    assert!(wait_for("its end", || running.has_ended()).success());
}

#[test]
fn wrong_files_and_command_lines_are_told() {
    let dir = TempDir::new();
    let file = dir.write("cluster.toml", "[[front_end]]\nname = \"f\"\nsettings = { lisen = \"a:1\" }\n");
    let open = dir.write("open.toml", &TWO_AND_TWO.replace('@', "x:1"));
    let agents =
        "[[back_end]]\nname = \"w\"\njoin = [\"a:1\"]\nmachine = \"b\"\n[agents]\nlisten = \"0.0.0.0:1\"\n";
    let keyless = dir.write("keyless.toml", agents);
    let short = dir.write("short.toml", &format!("key_file = \"short\"\n{agents}"));
    dir.write("short", "short");
    for (words, code, told) in [
        (&["supervise"][..], 2, "the FILE is missing"),
        (&["supervise", "a", "b"], 2, "unexpected argument \"b\""),
        (&["supervise", "/nowhere.toml"], 78, "/nowhere.toml: No such file"),
        (
            &["supervise", "--check-config", &file],
            78,
            "front_end \"f\": unknown setting \"lisen\", did you mean",
        ),
        (&["supervise", &file], 78, "cluster.toml: front_end \"f\""),
        (&["supervise", "--check-config", &open], 78, "open.toml: front_end \"front\": settings: "),
        (&["supervise", &keyless], 78, "need a \"key_file\""),
        (&["supervise", &short], 78, "a cluster's key has at least 16 bytes"),
        (&["agent", "--join", "a:1", "--name", "b"], 2, "--programs DIR, what may be run, is missing"),
        (&["agent", "--join", "nonsense", "--name", "b", "--programs", "."], 78, "--join nonsense"),
        (&["ctl", "--control", "/nowhere", "status"], 1, "cannot reach /nowhere: No such file"),
        (&["ctl"], 2, "the command is missing: status"),
    ] {
        let output = run(pushup().args(words));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    }
    let example = run(pushup().args(["supervise", "--check-config"]).arg(examples().join("cluster.toml")));
    assert_eq!(String::from_utf8_lossy(&example.stdout), "cluster file ok\n", "{example:?}");
}

/// `--share-port` by itself: two nodes at one address, and neither without it.
#[test]
fn several_nodes_share_a_public_address() {
    let port = free_ports(1);
    let public = format!("127.0.0.1:{port}");
    let first = crate::node::Launch::new(&["--share-port"])
        .at(public.parse().unwrap(), "127.0.0.1:0".parse().unwrap());
    let first = first.start();
    let second = crate::node::Launch::new(&["--share-port"])
        .at(public.parse().unwrap(), "127.0.0.1:0".parse().unwrap());
    let second = second.start();
    let third = run(pushup().args(["serve", "--listen", &public, "--publish-listen", "127.0.0.1:0"]));
    assert_eq!(third.status.code(), Some(69));
    wait_for("both to be called", || {
        Client::connect(first.public).get("/livez");
        let called = |node: &crate::node::Node| node.figure("requests_total") > 2;
        (called(&first) && called(&second)).then_some(())
    });
}
