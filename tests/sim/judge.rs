//! What must be so in the end: all nodes agree, nothing that was acknowledged is lost, every
//! subscriber has all that there is. Nodes are asked by HTTP, as anybody can.

use std::collections::{BTreeMap, BTreeSet};

use pushup::cursor::Cursor;
use pushup::ids::MessageId;
use pushup::session::route::Door;
use serde_json::Value;

use crate::agenda::Ms;
use crate::host::Host;
use crate::http::request;
use crate::ledger::{Deed, Doing, Level, Publication, parse_id, token_of};
use crate::net::Net;
use crate::scene::Scene;

/// What is so much later is later by every clock, in milliseconds.
const CERTAIN_MS: Ms = 2_000;

/// Judges a run that has come to rest; the first thing that is wrong.
pub fn judge(hosts: &mut [Host], scene: &mut Scene) -> Result<(), String> {
    let mut live: Vec<&mut Host> = hosts.iter_mut().filter(|host| host.is_up()).collect();
    same_heads(&mut live, scene)?;
    same_channels(&mut live, scene)?;
    let contents = same_contents(&mut live, scene)?;
    renewals_hold(&contents, scene)?;
    nothing_lost(&contents, scene)?;
    readers_have_all(&contents, scene)
}

/// A channel as one node has it: the status of a poll, and the messages' ids and tokens.
type Content = (u16, BTreeMap<MessageId, String>);

// -- Convergence -----------------------------------------------------------------

/// A poll that begins at the present has the head of its node for a cursor.
fn same_heads(live: &mut [&mut Host], scene: &Scene) -> Result<(), String> {
    let mut first: Option<(String, String)> = None;
    for host in live {
        for shard in 0..host.shard_count() {
            let answer = host.ask(shard, Door::Public, "/sub/nobody?after=now&timeout=0", &scene.net);
            let cursor = answer.json()["cursor"].as_str().unwrap_or_default().to_string();
            match &first {
                Some((who, other)) if *other != cursor => {
                    let (one, two) = (shown(other), shown(&cursor));
                    return Err(format!("convergence: {who} has {one}, {} has {two}", host.label(shard)));
                }
                Some(_) => {}
                None => first = Some((host.label(shard), cursor)),
            }
        }
    }
    Ok(())
}

/// A cursor for a person.
fn shown(cursor: &str) -> String {
    let Ok(cursor) = Cursor::parse(cursor) else { return cursor.into() };
    let all: Vec<String> = cursor.seen.iter().map(|(origin, seq)| format!("{origin}-{seq}")).collect();
    format!("[{}]", all.join(" "))
}

/// The channels that were created, as all nodes list them.
fn same_channels(live: &mut [&mut Host], scene: &Scene) -> Result<(), String> {
    let mut first: Option<(usize, BTreeSet<String>)> = None;
    for host in live {
        let last = host.shard_count() - 1;
        let list = host.ask(last, Door::Publisher, "/channels?limit=1000", &scene.net).json();
        let rows = list["channels"].as_array().into_iter().flatten();
        let created: BTreeSet<String> = rows
            .filter(|row| row["created"] == true)
            .filter_map(|row| row["channel"].as_str().map(String::from))
            .collect();
        match &first {
            Some((node, other)) if *other != created => {
                return Err(format!(
                    "convergence: on node-{node} {other:?} were created, on node-{} {created:?}",
                    host.index
                ));
            }
            Some(_) => {}
            None => first = Some((host.index, created)),
        }
    }
    Ok(())
}

/// What every channel holds, the same at all shards of all nodes.
fn same_contents(live: &mut [&mut Host], scene: &Scene) -> Result<Vec<Content>, String> {
    let mut all = Vec::new();
    for channel in 0..scene.plan.channels() {
        let mut first: Option<(String, Content)> = None;
        for host in live.iter_mut() {
            for shard in 0..host.shard_count() {
                let content = content(host, shard, &scene.plan.name(channel), &scene.net)?;
                match &first {
                    Some((who, other)) if !is_same(channel, other, &content, scene) && !scene.plan.tight => {
                        let name = scene.plan.name(channel);
                        return Err(differ(&name, (who, other), (&host.label(shard), &content)));
                    }
                    Some(_) => {}
                    None => first = Some((host.label(shard), content)),
                }
            }
        }
        all.extend(first.map(|first| first.1));
    }
    Ok(all)
}

/// Whether a channel is the same on two nodes. Where one that comes and goes expired and was revived,
/// a node that had dropped its messages already does not get them back (it tells of a gap). Of what was published twice with the same key, at two nodes
/// that did not know of each other, each may have kept another.
fn is_same(channel: usize, one: &Content, two: &Content, scene: &Scene) -> bool {
    if scene.plan.is_mortal(channel) {
        return one.0 == two.0;
    }
    let twice = |id: &MessageId| {
        let publication = scene.ledger.by_id.get(id).map(|at| &scene.ledger.publications[*at]);
        publication.is_some_and(|publication| publication.ids.len() > 1)
    };
    let tokens = |content: &Content| -> BTreeSet<String> { content.1.values().cloned().collect() };
    let ids = |content: &Content| -> BTreeSet<MessageId> {
        content.1.keys().filter(|id| !twice(id)).copied().collect()
    };
    one.0 == two.0 && (one == two || tokens(one) == tokens(two) && ids(one) == ids(two))
}

fn differ(name: &str, one: (&str, &Content), two: (&str, &Content)) -> String {
    let only = |here: &Content, there: &Content| -> Vec<String> {
        let missing = here.1.iter().filter(|(id, _)| !there.1.contains_key(*id));
        missing.map(|(id, token)| format!("{id} ({token})")).collect()
    };
    format!(
        "convergence: {name} is {} on {}, {} on {}; only there: {:?}, only here: {:?}",
        one.1.0,
        one.0,
        two.1.0,
        two.0,
        only(one.1, two.1),
        only(two.1, one.1)
    )
}

fn content(host: &mut Host, shard: usize, name: &str, net: &Net) -> Result<Content, String> {
    let response = host.ask(shard, Door::Public, &format!("/sub/{name}?timeout=0"), net);
    if response.status != 200 {
        return Ok((response.status, BTreeMap::new()));
    }
    let answer = response.json();
    let mut found = BTreeMap::new();
    for message in answer["messages"].as_array().into_iter().flatten() {
        let id = message["id"].as_str().and_then(parse_id).ok_or_else(|| format!("malformed: {message}"))?;
        let token = token_of(&message["data"]).unwrap_or_default().to_string();
        if found.insert(id, token).is_some() {
            return Err(format!("duplicate: {} has {id} twice in {name}", host.label(shard)));
        }
    }
    Ok((response.status, found))
}

/// A channel that was made to last, and that nobody closed or shortened then or later, is open: a renewal
/// anywhere wins over an expiry that did not know of it. Judged where all clocks agree and the name had
/// one life, so that what is later is no question.
fn renewals_hold(contents: &[Content], scene: &Scene) -> Result<(), String> {
    if scene.plan.clocks_differ() {
        return Ok(());
    }
    for (channel, content) in contents.iter().enumerate().skip(scene.plan.steady) {
        let deeds = || scene.ledger.deeds.iter().filter(move |deed| deed.channel == channel);
        let lives = deeds().filter(|deed| deed.answer.is_some_and(|answer| answer.1 == 201));
        let lives = lives.filter(|deed| deed.doing != Doing::Publish).count();
        let in_doubt = deeds().any(|deed| deed.answer.is_none() || deed.doing == Doing::Close);
        if lives != 1 || in_doubt || content.0 == 200 {
            continue;
        }
        let shortened = |deed: &&Deed| deed.doing == Doing::Shorten;
        let last = deeds().filter(shortened).filter_map(|deed| deed.answer).map(|answer| answer.0).max();
        let lasts = |deed: &&Deed| {
            deed.doing == Doing::Prolong
                && deed.answer.is_some_and(|answer| matches!(answer.1, 200 | 201))
                && !scene.ledger.fallen.contains(&deed.node)
                && last.is_none_or(|last| last + CERTAIN_MS < deed.begun)
        };
        if let Some(deed) = deeds().find(lasts) {
            let name = scene.plan.name(channel);
            return Err(format!("renewal: {name} was made to last at {} ms, and is closed", deed.begun));
        }
    }
    Ok(())
}

/// Whatever was acknowledged and had a key is known by it on every node. Looks only once: a node that
/// does not know a key has one more message afterwards.
pub fn keys_are_known(hosts: &mut [Host], scene: &Scene) -> Result<(), String> {
    let firm = |publication: &&Publication| {
        let lives = |ack: &(MessageId, Level, Ms)| !scene.ledger.crashed.contains(&ack.0.origin);
        publication.keyed && publication.acks.iter().any(|ack| ack.1 == Level::Quorum || lives(ack))
    };
    for publication in scene.ledger.publications.iter().filter(firm) {
        let name = scene.plan.name(publication.channels[0]);
        let fields = format!("Idempotency-Key: {}\r\n", publication.token);
        let again = request(&format!("POST /pub/{name}"), &fields, b"again");
        for host in hosts.iter_mut().filter(|host| host.is_up()) {
            let last = host.shard_count() - 1;
            let receipt = host.send(last, Door::Publisher, &again, &scene.net).json();
            if receipt["duplicate"] != true {
                let token = &publication.token;
                return Err(format!("key: node-{} does not know {token} by its key: {receipt}", host.index));
            }
        }
    }
    Ok(())
}

// -- Loss ------------------------------------------------------------------------

/// What was acknowledged is there: if most nodes had it whatever happened, else if the node that
/// took it did not crash.
fn nothing_lost(contents: &[Content], scene: &Scene) -> Result<(), String> {
    if scene.plan.tight {
        return Ok(());
    }
    for publication in &scene.ledger.publications {
        if publication.channels.iter().any(|channel| scene.plan.is_mortal(*channel)) {
            continue;
        }
        for (id, level, at) in &publication.acks {
            let firm = *level == Level::Quorum || !scene.ledger.crashed.contains(&id.origin);
            let held =
                |channel: &&usize| publication.ids.iter().any(|id| contents[**channel].1.contains_key(id));
            let missing = publication.channels.iter().find(|channel| !held(channel));
            if let Some(channel) = missing.filter(|_| firm) {
                return Err(format!(
                    "lost: {id} ({}) was acknowledged ({}) at {at} ms and no node has it in {}",
                    publication.token,
                    level.name(),
                    scene.plan.name(*channel)
                ));
            }
        }
    }
    Ok(())
}

/// Every subscriber got all that there is, if it has been told of no gap.
fn readers_have_all(contents: &[Content], scene: &mut Scene) -> Result<(), String> {
    let now = scene.now();
    for number in 0..scene.ledger.readers.len() {
        let channels = scene.ledger.readers[number].channels.clone();
        for channel in channels.into_iter().filter(|channel| !scene.plan.is_mortal(*channel)) {
            for (id, token) in &contents[channel].1 {
                let at = scene.ledger.by_id.get(id).copied();
                let at = at.or_else(|| token.strip_prefix('t')?.parse().ok());
                let Some(at) = at else { return Err(format!("phantom: {id} holds {token}")) };
                if scene.ledger.is_due(number, *id, at, now) {
                    let seen = scene.ledger.readers[number].seen.seq(id.origin);
                    return Err(format!(
                        "lost: reader-{number} never got {id} ({token}) of {}; its cursor says {seen}",
                        scene.plan.name(channel)
                    ));
                }
            }
        }
    }
    Ok(())
}

// -- Joining ---------------------------------------------------------------------

/// What all nodes that are up and ready hold: pairs of a steady channel and a message.
pub fn held_by_all(hosts: &mut [Host], scene: &Scene) -> BTreeSet<(usize, MessageId)> {
    let mut all: Option<BTreeSet<(usize, MessageId)>> = None;
    if scene.plan.tight {
        return BTreeSet::new();
    }
    for host in hosts.iter_mut().filter(|host| host.is_up() && host.ready && !host.paused) {
        for shard in 0..host.shard_count() {
            let held = held(host, shard, scene);
            all = Some(match all {
                None => held,
                Some(before) => before.intersection(&held).copied().collect(),
            });
        }
    }
    all.unwrap_or_default()
}

fn held(host: &mut Host, shard: usize, scene: &Scene) -> BTreeSet<(usize, MessageId)> {
    let mut held = BTreeSet::new();
    for channel in 0..scene.plan.steady {
        let answer = host.ask(
            shard,
            Door::Public,
            &format!("/sub/{}?timeout=0", scene.plan.name(channel)),
            &scene.net,
        );
        let parse = |message: &Value| message["id"].as_str().and_then(parse_id);
        if answer.status == 200 {
            let answer = answer.json();
            let ids = answer["messages"].as_array().into_iter().flatten().filter_map(parse);
            held.extend(ids.map(|id| (channel, id)));
        }
    }
    held
}

/// Whether a node's shard that says that it is ready holds what it must.
pub fn holds(
    host: &mut Host,
    shard: usize,
    debt: &BTreeSet<(usize, MessageId)>,
    scene: &Scene,
) -> Result<(), String> {
    let held = held(host, shard, scene);
    match debt.iter().find(|owed| !held.contains(owed)) {
        None => Ok(()),
        Some((channel, id)) => {
            let name = scene.plan.name(*channel);
            Err(format!("ready: it says so and lacks {id} in {name}, which all had when it came"))
        }
    }
}
