//! What is to run: `cluster.toml`, read and checked as a whole before anything is started.
//!
//! Every name that is not known is an error, with the nearest one that is. Settings of front-ends are those of
//! `pushup serve`, checked against the same table. Instances of a group are numbered from 1; what each front-end needs
//! for itself is its address in the file with a port so much higher.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Component, Role};
use crate::config::{self, Config};
use crate::limits::{COMPONENTS_MAX, JOIN_MAX, WORKER_DRAIN_MS, WORKER_SLOTS_MAX};
use crate::wire::frame::order::Start;

/// Names that may stand at the top.
const TOP: &[&str] = &["control", "state", "cluster_name", "key_file", "front_end", "back_end", "agents"];
/// …in a front-end's group.
const FRONT_END: &[&str] = &["name", "count", "settings"];
/// …in a back-end's.
const BACK_END: &[&str] = &["name", "count", "join", "programs", "slots", "machine"];
/// Settings whose port is the instance's own.
const OWN_PORT: &[&str] = &["publish-listen", "worker-listen", "cluster-listen", "cluster-advertise"];
/// Settings that the controller makes itself.
const MADE: &[(&str, &str)] = &[
    ("share-port", "the controller always sets it"),
    ("cluster-key-file", "it is \"key_file\" at the top of the file, for all"),
    ("cluster-name", "it is \"cluster_name\" at the top of the file, for all"),
];

/// All that a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The control socket.
    pub control: PathBuf,
    /// The directory of what is remembered.
    pub state: PathBuf,
    /// Where agents connect, if they may.
    pub agents_listen: Option<String>,
    /// The cluster's name, for all.
    pub cluster_name: String,
    /// The file of the secret that all share.
    pub key_file: Option<PathBuf>,
    /// Groups, in the file's order.
    pub groups: Vec<Group>,
}

/// Some components of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name; an instance is `name.1`.
    pub name: String,
    /// How many.
    pub count: usize,
    /// What they are.
    pub kind: Kind,
}

/// What the instances of a group are.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Front-ends.
    FrontEnd(FrontEnd),
    /// Back-ends.
    BackEnd(BackEnd),
}

/// A group of front-ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrontEnd {
    /// Settings and their values.
    settings: Vec<(String, Vec<String>)>,
    /// The file of the tokens that publishers show.
    pub token_file: Option<PathBuf>,
    drain_ms: u64,
    /// How it chooses back-ends to begin with, if it takes any.
    pub scheduler: Option<String>,
}

/// A group of back-ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackEnd {
    /// Front-ends; empty for all of the file.
    join: Vec<String>,
    programs: String,
    slots: u32,
    /// The agent's name; none is this machine.
    pub machine: Option<String>,
}

impl Group {
    /// What the group consists of.
    pub fn role(&self) -> Role {
        match self.kind {
            Kind::FrontEnd(_) => Role::FrontEnd,
            Kind::BackEnd(_) => Role::BackEnd,
        }
    }

    /// The machine that it is on, if that is another.
    pub fn machine(&self) -> Option<&str> {
        match &self.kind {
            Kind::FrontEnd(_) => None,
            Kind::BackEnd(back) => back.machine.as_deref(),
        }
    }
}

impl Plan {
    /// Reads a file's text. `path` is its name: relative paths in it begin at its directory. The error is a line.
    pub fn parse(text: &str, path: &Path) -> Result<Plan, String> {
        Plan::read(text, path.parent().unwrap_or(Path::new("")))
            .map_err(|why| format!("{}: {why}", path.display()))
    }

    fn read(text: &str, directory: &Path) -> Result<Plan, String> {
        let file: Table = text.parse().map_err(|error: toml::de::Error| {
            let line =
                error.span().map(|span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
            let line = line.map_or(String::new(), |line| format!("line {line}: "));
            format!("{line}{}", error.message().replace('\n', " "))
        })?;
        known(&file, TOP)?;
        let below = |text: String| directory.join(text);
        let control = below(text_of(&file, "control")?.unwrap_or("control.sock".into()));
        let beside = || control.parent().map_or(PathBuf::new(), Path::to_path_buf);
        let mut plan = Plan {
            state: text_of(&file, "state")?.map_or_else(beside, below),
            control,
            agents_listen: None,
            cluster_name: text_of(&file, "cluster_name")?.unwrap_or("pushup".into()),
            key_file: text_of(&file, "key_file")?.map(below),
            groups: Vec::new(),
        };
        if let Some(agents) = file.get("agents") {
            let table = agents.as_table().ok_or("\"agents\" must be a table: [agents]")?;
            known(table, &["listen"]).map_err(|why| format!("[agents]: {why}"))?;
            let listen = text_of(table, "listen").map_err(|why| format!("[agents]: {why}"))?;
            let listen = listen.ok_or("[agents]: \"listen\" is missing, where agents connect")?;
            plan.agents_listen = Some(address(&listen).map_err(|why| format!("[agents]: \"listen\" {why}"))?);
        }
        for (name, role) in Role::ALL {
            for table in tables_of(&file, name)? {
                let group = plan.read_group(table, role).map_err(|why| {
                    let of = table.get("name").and_then(Value::as_str).unwrap_or("without a name");
                    format!("{name} {of:?}: {why}")
                })?;
                plan.groups.push(group);
            }
        }
        if plan.groups.is_empty() {
            return Err("there is no [[front_end]] and no [[back_end]] in it".to_owned());
        }
        plan.check(&BTreeMap::new())?;
        Ok(plan)
    }

    fn read_group(&self, table: &Table, role: Role) -> Result<Group, String> {
        known(table, if role == Role::FrontEnd { FRONT_END } else { BACK_END })?;
        let name = text_of(table, "name")?.ok_or("\"name\" is missing")?;
        check_name("name", &name)?;
        if self.groups.iter().any(|group| group.name == name) {
            return Err("there are two groups of this name".to_owned());
        }
        let kind = match role {
            Role::FrontEnd => Kind::FrontEnd(self.read_front_end(table)?),
            Role::BackEnd => Kind::BackEnd(self.read_back_end(table)?),
        };
        Ok(Group {
            name,
            count: number_of(table, "count", COMPONENTS_MAX as u64)?.unwrap_or(1) as usize,
            kind,
        })
    }

    fn read_front_end(&self, table: &Table) -> Result<FrontEnd, String> {
        let none = Table::new();
        let settings = match table.get("settings") {
            None => &none,
            Some(value) => value.as_table().ok_or("\"settings\" must be a table: settings = { … }")?,
        };
        let mut front = FrontEnd::default();
        for (name, value) in settings {
            if let Some((_, why)) = MADE.iter().find(|(made, _)| made == name) {
                return Err(format!("\"{name}\" is no setting here: {why}"));
            }
            if config::row(name).is_none() {
                let near = config::nearest(name).map(|row| row.name);
                return Err(unknown("setting", name, near));
            }
            front.settings.push((name.clone(), values_of(value).map_err(|why| format!("\"{name}\" {why}"))?));
        }
        front.settings.sort();
        let config = self.config(&front, 1)?;
        for (name, addresses) in [("listen", &config.listen), ("publish-listen", &config.publish_listen)] {
            if let Some(any) = addresses.iter().find(|address| address.ends_with(":0")) {
                return Err(format!("\"{name}\" needs a port that others know, not {any:?}"));
            }
        }
        front.token_file = config.publish_token_file.clone();
        front.drain_ms = config.drain_s * 1000;
        front.scheduler = config.worker_listen.is_some().then_some(config.scheduler);
        Ok(front)
    }

    fn read_back_end(&self, table: &Table) -> Result<BackEnd, String> {
        let join = match table.get("join") {
            None => Vec::new(),
            Some(value) => values_of(value).map_err(|why| format!("\"join\" {why}"))?,
        };
        for text in &join {
            address(text).map_err(|why| format!("\"join\" {why}"))?;
        }
        if join.len() > JOIN_MAX {
            return Err(format!("\"join\" has more than {JOIN_MAX} addresses"));
        }
        let machine = text_of(table, "machine")?;
        let programs = text_of(table, "programs")?;
        match (&machine, &programs) {
            (None, None) => {
                return Err("\"programs\" is missing: the directory of what may be run".to_owned());
            }
            (Some(_), Some(_)) => {
                return Err("\"programs\" is for the agent to say, where there is a \"machine\"".to_owned());
            }
            _ => {}
        }
        if let Some(machine) = &machine {
            check_name("machine", machine)?;
            if self.agents_listen.is_none() {
                return Err(
                    "a \"machine\" needs [agents] with \"listen\", where its agent connects".to_owned()
                );
            }
        }
        let slots = number_of(table, "slots", WORKER_SLOTS_MAX)?.unwrap_or(0) as u32;
        Ok(BackEnd { join, programs: programs.unwrap_or_default(), slots, machine })
    }

    // -- Instances ----------------------------------------------------------------------

    /// How many instances a group has; `changed` is the administrator's word.
    pub fn count(&self, group: &Group, changed: &BTreeMap<String, usize>) -> usize {
        changed.get(&group.name).copied().unwrap_or(group.count)
    }

    /// Whether so many instances can be.
    pub fn check(&self, changed: &BTreeMap<String, usize>) -> Result<(), String> {
        let total: usize = self.groups.iter().map(|group| self.count(group, changed)).sum();
        if total > COMPONENTS_MAX {
            return Err(format!("{total} components are too many: at most {COMPONENTS_MAX}"));
        }
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for group in &self.groups {
            let count = self.count(group, changed);
            let place = |why: String| format!("{} {:?}: {why}", group.role().name(), group.name);
            match &group.kind {
                Kind::FrontEnd(front) => {
                    for number in 1..=count {
                        let config = self.config(front, number).map_err(place)?;
                        let shared =
                            if number == 1 { [config.listen, config.proxy_listen].concat() } else { vec![] };
                        let own = config.publish_listen.into_iter().chain(config.worker_listen);
                        for address in shared.into_iter().chain(own).chain(config.cluster_listen) {
                            let name = format!("{}.{number}", group.name);
                            if let Some(other) = taken.insert(address.clone(), name.clone()) {
                                return Err(place(format!(
                                    "{name} would listen on {address}, as {other} does"
                                )));
                            }
                        }
                    }
                    let alone =
                        front.settings.iter().find(|(name, _)| ["ready-file", "node-id"].contains(&&**name));
                    if let Some((name, _)) = alone.filter(|_| count > 1) {
                        return Err(place(format!("\"{name}\" is for one, and there are {count}")));
                    }
                }
                Kind::BackEnd(back) => drop(self.join(back, changed).map_err(place)?),
            }
        }
        Ok(())
    }

    /// A front-end's configuration as it will see it.
    fn config(&self, front: &FrontEnd, number: usize) -> Result<Config, String> {
        let flags = self.flags(front, number)?;
        let nothing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        Config::load(flags, std::iter::empty(), &nothing).map_err(|error| format!("settings: {error}"))
    }

    fn flags(&self, front: &FrontEnd, number: usize) -> Result<Vec<(String, String)>, String> {
        let mut flags = vec![("share-port".to_owned(), "true".to_owned())];
        let has = |name: &str| front.settings.iter().any(|(other, _)| other == name);
        let defaults = [("publish-listen", "127.0.0.1:8081", true), ("shards", "1", has("worker-listen"))];
        let defaults = defaults.into_iter().filter(|(name, _, needed)| *needed && !has(name));
        let defaults = defaults.map(|(name, value, _)| (name.to_owned(), vec![value.to_owned()]));
        for (name, values) in front.settings.iter().cloned().chain(defaults) {
            for value in values {
                let value = match OWN_PORT.contains(&&*name) {
                    true => raise(&value, number).map_err(|why| format!("\"{name}\" {why}"))?,
                    false => value,
                };
                flags.push((name.clone(), value));
            }
        }
        if has("worker-listen") || has("cluster-listen") {
            flags.push(("cluster-name".to_owned(), self.cluster_name.clone()));
            let key = self.key_file.as_ref().map(|path| path.display().to_string());
            flags.extend(key.map(|path| ("cluster-key-file".to_owned(), path)));
        }
        Ok(flags)
    }

    /// What a front-end is started as; `changed` is the administrator's word about its scheduler.
    pub fn front_end(
        &self,
        group: &Group,
        front: &FrontEnd,
        number: usize,
        changed: Option<&str>,
    ) -> Component {
        let flags = self.flags(front, number).unwrap_or_default();
        let flags = flags.iter().filter(|(name, _)| name != "scheduler");
        let flags = flags.map(|(name, value)| format!("--{name}={value}"));
        Component {
            group: group.name.clone(),
            role: Role::FrontEnd,
            arguments: std::iter::once("serve".to_owned()).chain(flags).collect(),
            scheduler: front.scheduler.as_deref().map(|own| changed.unwrap_or(own).to_owned()),
            drain_ms: front.drain_ms,
        }
    }

    /// Where a front-end is administered.
    pub fn publisher(&self, front: &FrontEnd, number: usize) -> Option<String> {
        self.config(front, number).ok()?.publish_listen.into_iter().next()
    }

    /// Front-ends that back-ends join.
    pub fn join(&self, back: &BackEnd, changed: &BTreeMap<String, usize>) -> Result<Vec<String>, String> {
        if !back.join.is_empty() {
            return Ok(back.join.clone());
        }
        let mut join = Vec::new();
        for group in &self.groups {
            let Kind::FrontEnd(front) = &group.kind else { continue };
            for number in 1..=self.count(group, changed) {
                join.extend(self.config(front, number)?.worker_listen);
            }
        }
        for address in &mut join {
            let host = address.rsplit_once(':').map_or("", |(host, _)| host);
            let is_any = matches!(host, "0.0.0.0" | "[::]");
            let is_here = is_any || host == "localhost" || host == "[::1]" || host.starts_with("127.");
            if back.machine.is_some() && is_here {
                return Err(format!("another machine cannot reach {address}: say where to \"join\""));
            }
            if is_any {
                *address = address.replacen(host, if host == "[::]" { "[::1]" } else { "127.0.0.1" }, 1);
            }
        }
        match join.len() {
            0 => Err("no front-end has a \"worker-listen\": say where to \"join\"".to_owned()),
            1..=JOIN_MAX => Ok(join),
            _ => Err(format!("it would join more than {JOIN_MAX} front-ends")),
        }
    }

    /// What a back-end of this machine is started as.
    pub fn back_end(&self, group: &Group, back: &BackEnd, number: usize, join: &[String]) -> Component {
        let order = self.order(group, back, number, join);
        back_end(&order, Path::new(&back.programs), &self.cluster_name, self.key_file.as_deref())
    }

    /// What the agent of another machine is told.
    pub fn order(&self, group: &Group, back: &BackEnd, number: usize, join: &[String]) -> Start {
        let name = format!("{}.{number}", group.name);
        Start { name, group: group.name.clone(), join: join.to_vec(), slots: back.slots }
    }
}

/// What a back-end is started as.
pub fn back_end(order: &Start, programs: &Path, cluster_name: &str, key_file: Option<&Path>) -> Component {
    let mut arguments = vec!["worker".to_owned()];
    arguments.push(format!("--name={}", order.name));
    arguments.push(format!("--programs={}", programs.display()));
    arguments.push(format!("--cluster-name={cluster_name}"));
    arguments.extend(key_file.map(|path| format!("--cluster-key-file={}", path.display())));
    if order.slots > 0 {
        arguments.push(format!("--slots={}", order.slots));
    }
    arguments.extend(order.join.iter().map(|address| format!("--join={address}")));
    let (group, role) = (order.group.clone(), Role::BackEnd);
    Component { group, role, arguments, scheduler: None, drain_ms: WORKER_DRAIN_MS }
}

// -- Values ---------------------------------------------------------------------------

fn unknown(what: &str, name: &str, near: Option<&str>) -> String {
    let name = name.escape_debug();
    match near {
        Some(near) => format!("unknown {what} \"{name}\", did you mean \"{near}\"?"),
        None => format!("unknown {what} \"{name}\""),
    }
}

fn known(table: &Table, names: &[&str]) -> Result<(), String> {
    let Some(name) = table.keys().find(|name| !names.contains(&name.as_str())) else { return Ok(()) };
    let near = names.iter().map(|known| (config::edits(name, known), *known)).min();
    let near = near.filter(|(edits, _)| *edits <= 2).map(|(_, near)| near);
    Err(unknown("name", name, near))
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let fits = (1..=32).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-');
    if fits { Ok(()) } else { Err(format!("\"{what}\" must be 1 to 32 of A-Z a-z 0-9 _ -, not {name:?}")) }
}

fn text_of(table: &Table, name: &str) -> Result<Option<String>, String> {
    match table.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("\"{name}\" must be a text in quotes, and not empty")),
    }
}

fn number_of(table: &Table, name: &str, max: u64) -> Result<Option<u64>, String> {
    let Some(value) = table.get(name) else { return Ok(None) };
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
    let number = number.filter(|number| (1..=max).contains(number));
    number.map(Some).ok_or(format!("\"{name}\" must be a whole number from 1 to {max}"))
}

fn tables_of<'a>(file: &'a Table, name: &str) -> Result<Vec<&'a Table>, String> {
    let wrong = || format!("\"{name}\" must be tables: [[{name}]]");
    let Some(value) = file.get(name) else { return Ok(Vec::new()) };
    value.as_array().ok_or_else(wrong)?.iter().map(|table| table.as_table().ok_or_else(wrong)).collect()
}

/// A value as a flag takes it, or several.
fn values_of(value: &Value) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err("must be a text, a whole number, true or false, or a list of them".to_owned()),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

fn address(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && port.parse::<u16>().is_ok_and(|port| port > 0)
            && !text.contains(char::is_whitespace)
    });
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!("must be host:port, like 10.0.0.1:8090, not {text:?}"))
    }
}

/// The address of an instance: the first one's with a port so much higher.
fn raise(text: &str, number: usize) -> Result<String, String> {
    let Some((host, port)) = text.rsplit_once(':') else { return Ok(text.to_owned()) };
    // What is no port is for the table to refuse.
    let Ok(first) = port.parse::<usize>() else { return Ok(text.to_owned()) };
    let port = first + number - 1;
    match (first, port) {
        (0, _) => Err(format!("needs a port that others know, not {text:?}")),
        (_, 65_536..) => Err(format!("of instance {number} would be port {port}")),
        _ => Ok(format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests;
