//! What a link carries of the domain: entries and pieces of snapshots, to frames and back.
//!
//! An ENTRY's meta is
//! `{"origin":"00000000000000ab","seq":12,"time":1795361093123,"channels":["news"],"type":"text/plain","ttl":300000}`
//! and its body the message's: time in Unix milliseconds, `ttl` in milliseconds. Where they apply
//! there follow, in this order,
//!
//! - `"generations":[1,2]`: the lives of the channels, if any is not the first,
//! - `"form":"json"`, `"text"` or `"binary"`: what the body is, if that is not what its type says,
//! - `"key":"…"`: the Idempotency-Key.
//!
//! All else has `"do"`, no body, and after origin, seq and time:
//!
//! - `"do":"create","channel":"news","generation":1,"ttl":60000`, and `renew` likewise,
//! - `"do":"close","channel":"news","generation":1`,
//! - `"do":"expire","channel":"news","generation":1,"touched":1795361093123`,
//! - `"do":"mark"`, which concerns no channel.
//!
//! Invariant: whatever a peer sends becomes an entry that this node could have accepted from a
//! publisher, or an error. What is called JSON is JSON and what is called text is UTF-8, since both
//! go into answers as they are.

mod piece;
mod scan;

use std::borrow::Cow;

use smallvec::SmallVec;

use super::publisher::{check_json, check_type, form_of, intern, parse_key};
use crate::channel::entry::{Deed, Entry, Generation, Published};
use crate::channel::message::{Body, Form};
use crate::ids::{ChannelName, MessageId};
use crate::limits::{CHANNELS_PER_REQUEST_MAX, TTL_MS_MAX};
use crate::time::Timestamp;
use crate::wire::frame::message::entry_id;
use crate::wire::frame::meta::{Members, NotUnderstood, push_id, push_text};
use crate::wire::frame::{Frame, Kind, open};
use crate::wire::http::response::push_decimal;

pub use piece::{parse_piece, write_piece};

/// A message's channels and the life of each that was meant.
type Channels = SmallVec<[(ChannelName, Generation); 1]>;

// -- Writing ---------------------------------------------------------------------

/// Appends an entry as an ENTRY.
pub fn write_entry(entry: &Entry, flags: u8, out: &mut Vec<u8>) {
    write_as(Kind::ENTRY, flags, entry, out);
}

fn write_as(kind: Kind, flags: u8, entry: &Entry, out: &mut Vec<u8>) {
    let frame = open(kind, flags, out);
    push_id(entry.id, out);
    push_number(",\"time\":", entry.time.0, out);
    let body: &[u8] = match &entry.deed {
        Deed::Publish(published) => {
            push_published(published, out);
            published.body.as_bytes()
        }
        other => {
            push_deed(other, out);
            &[]
        }
    };
    out.push(b'}');
    frame.close(body, out);
}

fn push_published(published: &Published, out: &mut Vec<u8>) {
    for (at, (name, _)) in published.channels.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b",\"channels\":[\"" } else { b",\"" });
        // A channel's name has nothing that JSON escapes.
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"],\"type\":");
    push_text(&published.media_type, out);
    push_number(",\"ttl\":", published.ttl_ms, out);
    if published.channels.iter().any(|(_, generation)| *generation != 1) {
        for (at, (_, generation)) in published.channels.iter().enumerate() {
            push_number(if at == 0 { ",\"generations\":[" } else { "," }, u64::from(*generation), out);
        }
        out.push(b']');
    }
    let form = published.body.form();
    if form != form_of(&published.media_type) {
        out.extend_from_slice(b",\"form\":\"");
        out.extend_from_slice(form_name(form).as_bytes());
        out.push(b'"');
    }
    if let Some(key) = &published.idempotency_key {
        out.extend_from_slice(b",\"key\":");
        push_text(key, out);
    }
}

fn push_deed(deed: &Deed, out: &mut Vec<u8>) {
    match deed {
        Deed::Publish(_) => {}
        Deed::Create { name, generation, ttl_ms } => {
            push_life("create", name, *generation, out);
            push_number(",\"ttl\":", *ttl_ms, out);
        }
        Deed::Renew { name, generation, ttl_ms } => {
            push_life("renew", name, *generation, out);
            push_number(",\"ttl\":", *ttl_ms, out);
        }
        Deed::Close { name, generation } => push_life("close", name, *generation, out),
        Deed::Expire { name, generation, touched } => {
            push_life("expire", name, *generation, out);
            push_number(",\"touched\":", touched.0, out);
        }
        Deed::Mark => out.extend_from_slice(b",\"do\":\"mark\""),
    }
}

fn push_life(deed: &str, name: &ChannelName, generation: Generation, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"do\":\"");
    out.extend_from_slice(deed.as_bytes());
    out.extend_from_slice(b"\",\"channel\":\"");
    out.extend_from_slice(name.as_str().as_bytes());
    push_number("\",\"generation\":", u64::from(generation), out);
}

fn push_number(before: &str, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    push_decimal(out, number);
}

const FORMS: [(&str, Form); 3] = [("json", Form::Json), ("text", Form::Text), ("binary", Form::Binary)];

fn form_name(form: Form) -> &'static str {
    FORMS.iter().find(|(_, other)| *other == form).map_or("", |(name, _)| name)
}

// -- Reading ---------------------------------------------------------------------

/// Reads an ENTRY.
pub fn parse_entry(frame: &Frame) -> Result<Entry, NotUnderstood> {
    if let Some(head) = scan::publication(frame.meta) {
        return head.entry(frame.body);
    }
    let members = Members::parse(frame.meta)?;
    // Always the one that whoever does not read all of it sees.
    let id = entry_id(frame)?;
    let time = Timestamp(members.number("time")?);
    if members.has("do") {
        return Ok(Entry { id, time, deed: parse_deed(&members)? });
    }
    parse_head(id, time, &members)?.entry(frame.body)
}

/// A publication without its body, checked.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    id: MessageId,
    time: Timestamp,
    channels: Channels,
    media_type: Cow<'static, str>,
    ttl_ms: u64,
    form: Form,
    key: Option<Box<str>>,
}

impl Head {
    fn entry(self, body: &[u8]) -> Result<Entry, NotUnderstood> {
        let published = Published {
            channels: self.channels,
            media_type: self.media_type,
            body: parse_body(self.form, body)?,
            ttl_ms: self.ttl_ms,
            idempotency_key: self.key,
        };
        Ok(Entry { id: self.id, time: self.time, deed: Deed::Publish(published) })
    }
}

fn parse_body(form: Form, bytes: &[u8]) -> Result<Body, NotUnderstood> {
    let text = || std::str::from_utf8(bytes).map_err(|_| NotUnderstood("body"));
    match form {
        Form::Json => {
            check_json(bytes).map_err(|_| NotUnderstood("body"))?;
            Ok(Body::Json(text()?.into()))
        }
        Form::Text => Ok(Body::text(text()?.into())),
        Form::Binary => Ok(Body::Binary(bytes.into())),
    }
}

fn parse_head(id: MessageId, time: Timestamp, members: &Members) -> Result<Head, NotUnderstood> {
    let media_type = members.text("type")?;
    let form = match members.has("form") {
        true => form_named(&members.text("form")?).ok_or(NotUnderstood("form"))?,
        false => form_of(&media_type),
    };
    let key = members.has("key").then(|| members.text("key")).transpose()?;
    Ok(Head {
        id,
        time,
        channels: parse_channels(members)?,
        media_type: known_type(&media_type).ok_or(NotUnderstood("type"))?,
        ttl_ms: parse_ttl(members)?,
        form,
        key: key.map(|key| known_key(&key).ok_or(NotUnderstood("key"))).transpose()?,
    })
}

fn parse_channels(members: &Members) -> Result<Channels, NotUnderstood> {
    let names = members.texts("channels")?;
    let mut channels = Channels::new();
    for name in &names {
        push_channel(name, &mut channels).ok_or(NotUnderstood("channels"))?;
    }
    if channels.is_empty() {
        return Err(NotUnderstood("channels"));
    }
    if members.has("generations") {
        let generations: Vec<u64> =
            serde_json::from_str(members.raw("generations")?).map_err(|_| NotUnderstood("generations"))?;
        give_generations(&generations, &mut channels).ok_or(NotUnderstood("generations"))?;
    }
    Ok(channels)
}

/// Adds a channel in its first life; `None` if the name is none or was there, or if there are too
/// many.
fn push_channel(name: &str, channels: &mut Channels) -> Option<()> {
    let fits =
        channels.len() < CHANNELS_PER_REQUEST_MAX && channels.iter().all(|(other, _)| other.as_str() != name);
    channels.push((name.parse().ok().filter(|_| fits)?, 1));
    Some(())
}

/// Just one for each.
fn give_generations(generations: &[u64], channels: &mut Channels) -> Option<()> {
    if generations.len() != channels.len() {
        return None;
    }
    for ((_, generation), given) in channels.iter_mut().zip(generations) {
        *generation = known_generation(*given)?;
    }
    Some(())
}

fn known_generation(number: u64) -> Option<Generation> {
    Generation::try_from(number).ok().filter(|generation| *generation > 0)
}

fn known_type(media_type: &str) -> Option<Cow<'static, str>> {
    check_type(media_type.as_bytes()).ok().map(intern)
}

fn known_key(key: &str) -> Option<Box<str>> {
    parse_key(key.as_bytes()).ok()
}

fn form_named(name: &str) -> Option<Form> {
    FORMS.iter().find(|(other, _)| *other == name).map(|(_, form)| *form)
}

fn parse_ttl(members: &Members) -> Result<u64, NotUnderstood> {
    parse_span("ttl", TTL_MS_MAX, members)
}

/// So many milliseconds at most.
fn parse_span(name: &'static str, ms_max: u64, members: &Members) -> Result<u64, NotUnderstood> {
    members.number(name).ok().filter(|ms| *ms <= ms_max).ok_or(NotUnderstood(name))
}

fn parse_generation(members: &Members) -> Result<Generation, NotUnderstood> {
    known_generation(members.number("generation")?).ok_or(NotUnderstood("generation"))
}

fn parse_deed(members: &Members) -> Result<Deed, NotUnderstood> {
    let deed = members.text("do")?;
    if deed == "mark" {
        return Ok(Deed::Mark);
    }
    let (name, generation) = (members.channel("channel")?, parse_generation(members)?);
    match deed.as_str() {
        "create" => Ok(Deed::Create { name, generation, ttl_ms: parse_ttl(members)? }),
        "renew" => Ok(Deed::Renew { name, generation, ttl_ms: parse_ttl(members)? }),
        "close" => Ok(Deed::Close { name, generation }),
        "expire" => Ok(Deed::Expire { name, generation, touched: Timestamp(members.number("touched")?) }),
        _ => Err(NotUnderstood("do")),
    }
}

#[cfg(test)]
mod tests;
