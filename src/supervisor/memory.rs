//! What a controller or an agent has to know of its life before: which processes are its own, and what it was told.
//!
//! Written down before a process that was started may do anything, so that none is ever forgotten.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::keeper::Keeper;
use super::{Component, Life, Role, Wanted};

/// A process that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The component's name.
    pub name: String,
    /// What it was started as.
    pub component: Component,
    /// Which process.
    pub life: Life,
}

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Which start of the machine the processes are of.
    pub boot: String,
    /// Processes.
    pub processes: Vec<Remembered>,
    /// How many instances of a group, where the administrator has changed it.
    pub counts: BTreeMap<String, usize>,
    /// Components that are not to run.
    pub downs: BTreeMap<String, Wanted>,
    /// How back-ends are chosen, where the administrator has changed it.
    pub scheduler: Option<String>,
    /// What an agent is to run, by the controller's last word.
    pub orders: BTreeMap<String, Component>,
}

impl Memory {
    /// The processes of a keeper.
    pub fn of(keeper: &Keeper) -> Memory {
        let process = |(name, kept): (&str, &super::keeper::Kept)| {
            let life = kept.state.life()?;
            Some(Remembered { name: name.to_owned(), component: kept.started().clone(), life })
        };
        Memory { processes: keeper.all().filter_map(process).collect(), ..Memory::default() }
    }

    /// The file's content.
    pub fn to_json(&self) -> Json {
        let component = |component: &Component| {
            json!({"group": component.group, "role": component.role.name(), "arguments": component.arguments,
                   "scheduler": component.scheduler, "drain_ms": component.drain_ms})
        };
        let processes = self.processes.iter().map(|one| {
            let mut json = component(&one.component);
            json["name"] = json!(one.name);
            json["pid"] = json!(one.life.pid);
            json["start"] = json!(one.life.start);
            json["since_ms"] = json!(one.life.since_ms);
            json
        });
        let downs: BTreeMap<_, _> = self.downs.iter().map(|(name, wanted)| (name, wanted.name())).collect();
        let orders: BTreeMap<_, _> = self.orders.iter().map(|(name, one)| (name, component(one))).collect();
        json!({"version": 1, "boot": self.boot, "processes": processes.collect::<Vec<_>>(), "counts": self.counts,
               "downs": downs, "scheduler": self.scheduler, "orders": orders})
    }

    /// Reads it; `None` if it is nothing that was written here.
    pub fn parse(json: &Json) -> Option<Memory> {
        if json.get("version")?.as_u64()? != 1 {
            return None;
        }
        let mut memory = Memory { boot: json.get("boot")?.as_str()?.to_owned(), ..Memory::default() };
        for one in json.get("processes")?.as_array()? {
            let number = |name: &str| one.get(name)?.as_u64();
            let life = Life {
                pid: number("pid")?.try_into().ok()?,
                start: number("start")?,
                since_ms: number("since_ms")?,
            };
            let name = one.get("name")?.as_str()?.to_owned();
            memory.processes.push(Remembered { name, component: parse_component(one)?, life });
        }
        for (name, count) in json.get("counts")?.as_object()? {
            memory.counts.insert(name.clone(), count.as_u64()?.try_into().ok()?);
        }
        for (name, wanted) in json.get("downs")?.as_object()? {
            memory.downs.insert(name.clone(), Wanted::parse(wanted.as_str()?)?);
        }
        memory.scheduler = json.get("scheduler")?.as_str().map(str::to_owned);
        for (name, one) in json.get("orders")?.as_object()? {
            memory.orders.insert(name.clone(), parse_component(one)?);
        }
        Some(memory)
    }
}

fn parse_component(json: &Json) -> Option<Component> {
    let arguments = json.get("arguments")?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
    Some(Component {
        group: json.get("group")?.as_str()?.to_owned(),
        role: Role::parse(json.get("role")?.as_str()?)?,
        arguments: arguments.collect::<Option<_>>()?,
        scheduler: json.get("scheduler")?.as_str().map(str::to_owned),
        drain_ms: json.get("drain_ms")?.as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let component = Component {
            group: "work".into(),
            role: Role::BackEnd,
            arguments: vec!["worker".into(), "--name".into(), "work.1\"".into()],
            scheduler: Some("p2c".into()),
            drain_ms: 7,
        };
        let life = Life { pid: 5, start: u64::MAX, since_ms: 9 };
        let memory = Memory {
            boot: "b".into(),
            processes: vec![Remembered { name: "work.1".into(), component: component.clone(), life }],
            counts: [("work".to_owned(), 3)].into(),
            downs: [("work.2".to_owned(), Wanted::Drained)].into(),
            scheduler: Some("p2c".into()),
            orders: [("x".to_owned(), component)].into(),
        };
        let json = memory.to_json();
        assert_eq!(Memory::parse(&json), Some(memory));
        assert_eq!(Memory::parse(&Memory::default().to_json()), Some(Memory::default()));
        for name in ["version", "boot", "processes", "counts", "downs", "orders"] {
            let mut cut = json.clone();
            cut[name] = json!(true);
            assert_eq!(Memory::parse(&cut), None, "{name}");
        }
    }
}
