//! A publisher's bodies become publications, and its channel requests commands.
//!
//! One message: the body as it is, its Content-Type says what it is. Many messages:
//! NDJSON or a JSON array of
//! `{"channels":["a"],"data":…,"type":"…","encoding":"base64","ttl":30,"key":"…"}`;
//! `"channel":"a"` does for one channel.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::answer::write_id;
use super::subscriber::{parse_channels, whole_number};
use crate::channel::message::{Body, ChannelNames, Form, Publication};
use crate::channel::queue::Receipt;
use crate::error::{Refusal, Refused};
use crate::ids::ChannelName;
use crate::limits::{
    BATCH_PUBLICATIONS_MAX, CHANNELS_PER_REQUEST_MAX, CONTENT_TYPE_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX,
    JSON_DEPTH_MAX, TTL_S_MAX,
};
use crate::wire::http::request::RequestHead;
use crate::wire::http::response::{push_decimal, write_problem_body};
use crate::wire::http::target::Query;

/// When a publication is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// When this node has it.
    #[default]
    Local,
    /// When one other node has it.
    One,
    /// When most nodes have it.
    Quorum,
}

// -- One message -----------------------------------------------------------------

/// `POST /pub/{channels}`: the body is one message for all these channels.
pub fn parse_publication(segment: &str, head: &RequestHead, body: &[u8]) -> Result<Publication, Refused> {
    refuse_coding(head)?;
    let (media_type, body) = parse_type(head.content_type, body)?;
    let ttl = parameter(head, "ttl").or(head.ttl);
    Ok(Publication {
        channels: parse_names(segment)?,
        media_type,
        body,
        ttl_ms: ttl.map(parse_ttl).transpose()?,
        idempotency_key: head.idempotency_key.map(parse_key).transpose()?,
    })
}

/// The `ack` parameter or field.
pub fn parse_acknowledge(head: &RequestHead) -> Result<Acknowledge, Refused> {
    match parameter(head, "ack").or(head.ack) {
        None | Some(b"local") => Ok(Acknowledge::Local),
        Some(b"one") => Ok(Acknowledge::One),
        Some(b"quorum") => Ok(Acknowledge::Quorum),
        Some(_) => Err(Refusal::AckInvalid.into()),
    }
}

/// The names of a path segment, each once.
fn parse_names(segment: &str) -> Result<ChannelNames, Refused> {
    if let Ok(name) = segment.parse() {
        return Ok(ChannelNames::from_iter([name]));
    }
    let channels = parse_channels(segment)?;
    let mut names = ChannelNames::new();
    channels.split(',').try_for_each(|name| push_name(name, &mut names))?;
    Ok(names)
}

fn push_name(name: &str, names: &mut ChannelNames) -> Result<(), Refused> {
    if names.len() == CHANNELS_PER_REQUEST_MAX {
        return Err(Refusal::ChannelsTooMany.into());
    }
    let name: ChannelName = name.parse().map_err(|_| Refusal::ChannelInvalid)?;
    if !names.contains(&name) {
        names.push(name);
    }
    Ok(())
}

fn parameter<'a>(head: &RequestHead<'a>, name: &str) -> Option<&'a [u8]> {
    Query::new(head.query).find(|pair| pair.0 == name).map(|pair| pair.1.as_bytes())
}

/// A body with a content coding would have to be inflated first, which nobody needs here.
fn refuse_coding(head: &RequestHead) -> Result<(), Refused> {
    match head.content_encoding {
        None => Ok(()),
        Some(coding) if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") => Ok(()),
        Some(_) => Err(Refusal::CodingUnsupported.into()),
    }
}

fn parse_ttl(text: &[u8]) -> Result<u64, Refused> {
    match whole_number(text) {
        Some(seconds @ 1..=TTL_S_MAX) => Ok(seconds * 1000),
        _ => Err(Refusal::TtlInvalid.into()),
    }
}

pub(super) fn parse_key(text: &[u8]) -> Result<Box<str>, Refused> {
    let fits = !text.is_empty() && text.len() <= IDEMPOTENCY_KEY_BYTES_MAX;
    let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match std::str::from_utf8(text) {
        Ok(text) if fits && printable => Ok(text.into()),
        _ => Err(Refusal::KeyInvalid.into()),
    }
}

// -- What a body is --------------------------------------------------------------

const PLAIN_TEXT: &str = "text/plain";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// A message's media type and its body.
type TypedBody = (Cow<'static, str>, Body);

/// The media type of a body, and the body as what that says it is.
fn parse_type(given: Option<&[u8]>, body: &[u8]) -> Result<TypedBody, Refused> {
    match given {
        None => Ok(match text_or_bytes(body.into()) {
            body @ Body::Binary(_) => (BYTES.into(), body),
            body => (PLAIN_TEXT.into(), body),
        }),
        // What most publishers send needs no looking at.
        Some(given) if given == PLAIN_TEXT.as_bytes() => Ok((PLAIN_TEXT.into(), text_or_bytes(body.into()))),
        Some(given) => {
            let media_type = check_type(given)?;
            Ok((intern(media_type), body_of(media_type, body.into())?))
        }
    }
}

/// Text if it is text, else bytes.
fn text_or_bytes(bytes: Cow<[u8]>) -> Body {
    match String::from_utf8(bytes.into_owned()) {
        Ok(text) => Body::text(text.into()),
        Err(other) => Body::Binary(other.into_bytes().into()),
    }
}

pub(super) fn check_type(given: &[u8]) -> Result<&str, Refused> {
    let fits = given.len() <= CONTENT_TYPE_BYTES_MAX && given.contains(&b'/');
    let printable = given.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match std::str::from_utf8(given) {
        Ok(text) if fits && printable => Ok(text),
        _ => Err(Refusal::TypeInvalid.into()),
    }
}

/// The usual types need no allocation.
pub(super) fn intern(media_type: &str) -> Cow<'static, str> {
    const USUAL: [&str; 4] = [PLAIN_TEXT, JSON, BYTES, "application/x-www-form-urlencoded"];
    match USUAL.iter().find(|usual| **usual == media_type) {
        Some(usual) => Cow::Borrowed(usual),
        None => Cow::Owned(media_type.to_owned()),
    }
}

/// A body of that type: embedded as JSON, as text, or in base64.
fn body_of(media_type: &str, bytes: Cow<[u8]>) -> Result<Body, Refused> {
    match form_of(media_type) {
        Form::Json => {
            check_json(&bytes)?;
            let text = String::from_utf8(bytes.into_owned()).map_err(|_| Refusal::JsonInvalid)?;
            Ok(Body::Json(text.into()))
        }
        Form::Text => Ok(text_or_bytes(bytes)),
        Form::Binary => Ok(Body::Binary(bytes.into_owned().into())),
    }
}

/// What a body of that type is, if it can be.
pub(super) fn form_of(media_type: &str) -> Form {
    // What most publishers send needs no looking at.
    match media_type {
        PLAIN_TEXT => return Form::Text,
        JSON => return Form::Json,
        BYTES => return Form::Binary,
        _ => {}
    }
    let mut parts = media_type.split(';');
    let essence = parts.next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case(JSON) || ends_with(essence, "+json") {
        Form::Json
    } else if is_text(essence) && !parts.any(|part| is_foreign_charset(part.trim())) {
        Form::Text
    } else {
        Form::Binary
    }
}

fn is_text(essence: &str) -> bool {
    const TEXT: &str = "text/";
    // What curl -d and HTML forms send is text too.
    essence.get(..TEXT.len()).is_some_and(|start| start.eq_ignore_ascii_case(TEXT))
        || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        || essence.eq_ignore_ascii_case("application/xml")
        || essence.eq_ignore_ascii_case("application/javascript")
        || ends_with(essence, "+xml")
}

/// In whatever case, and without a copy: this is asked of every message.
fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.and_then(|start| text.get(start..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn is_foreign_charset(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.trim_matches('"');
    name.eq_ignore_ascii_case("charset")
        && !value.eq_ignore_ascii_case("utf-8")
        && !value.eq_ignore_ascii_case("us-ascii")
}

/// Makes sure that `text` is one JSON value, nested at most [`JSON_DEPTH_MAX`] deep.
pub(super) fn check_json(text: &[u8]) -> Result<&RawValue, Refused> {
    if depth(text) > JSON_DEPTH_MAX {
        return Err(Refused::because(Refusal::JsonInvalid, "The JSON nests deeper than 32."));
    }
    let value = serde_json::from_slice(text).map_err(invalid_json)?;
    if has_lone_surrogate(text) {
        return Err(Refused::because(Refusal::JsonInvalid, "The JSON has half of a surrogate pair."));
    }
    Ok(value)
}

fn invalid_json(error: serde_json::Error) -> Refused {
    Refused::because(Refusal::JsonInvalid, format!("The body is not valid JSON: {error}."))
}

/// Whether valid JSON escapes half of a surrogate pair (RFC 8259 §8.2): embedded in an
/// answer, it would make strict readers refuse the other messages too.
fn has_lone_surrogate(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        rest = rest.get(at..).unwrap_or_default();
        match (escaped_unit(rest), escaped_unit(rest.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => rest = rest.get(12..).unwrap_or_default(),
            (Some(0xd800..=0xdfff), _) => return true,
            _ => rest = rest.get(2..).unwrap_or_default(),
        }
    }
    false
}

/// The UTF-16 unit of an escape like `\u00e9` at the beginning of `text`.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// How deep the brackets outside of strings nest. Says nothing of validity.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

// -- Many messages ---------------------------------------------------------------

/// How a batch came, and so how its results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchForm {
    /// A JSON value a line.
    Lines,
    /// One JSON array.
    Array,
}

/// `POST /pub`: what each item asks for, in order. One that is wrong does not spoil the
/// others.
pub fn parse_batch(
    head: &RequestHead,
    body: &[u8],
) -> Result<(BatchForm, Vec<Result<Publication, Refused>>), Refused> {
    refuse_coding(head)?;
    match body.trim_ascii_start().first() {
        Some(b'[') => parse_array(body).map(|items| (BatchForm::Array, items)),
        _ => parse_lines(body).map(|items| (BatchForm::Lines, items)),
    }
}

fn parse_array(body: &[u8]) -> Result<Vec<Result<Publication, Refused>>, Refused> {
    // The array itself is one level more.
    if depth(body) > JSON_DEPTH_MAX + 1 {
        return Err(Refused::because(Refusal::JsonInvalid, "The JSON nests deeper than 32."));
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(invalid_json)?;
    if items.len() > BATCH_PUBLICATIONS_MAX {
        return Err(Refusal::BatchTooLarge.into());
    }
    Ok(items.iter().map(|item| parse_item(item.get().as_bytes())).collect())
}

fn parse_lines(body: &[u8]) -> Result<Vec<Result<Publication, Refused>>, Refused> {
    let lines = || body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    if lines().count() > BATCH_PUBLICATIONS_MAX {
        return Err(Refusal::BatchTooLarge.into());
    }
    Ok(lines().map(parse_item).collect())
}

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

fn parse_item(text: &[u8]) -> Result<Publication, Refused> {
    check_json(text)?;
    let members: Members = serde_json::from_slice(text)
        .map_err(|_| Refused::because(Refusal::JsonShape, "A publication is a JSON object."))?;
    refuse_unknown(&members, &["channel", "channels", "data", "type", "encoding", "ttl", "key"])?;
    let (media_type, body) = item_body(&members)?;
    Ok(Publication {
        channels: item_channels(&members)?,
        media_type,
        body,
        ttl_ms: number_member(&members, "ttl")?.map(parse_ttl).transpose()?,
        idempotency_key: text_member(&members, "key")?.map(|key| parse_key(key.as_bytes())).transpose()?,
    })
}

fn item_channels(members: &Members) -> Result<ChannelNames, Refused> {
    let mut names = ChannelNames::new();
    match (text_member(members, "channel")?, members.get("channels")) {
        (Some(one), None) => push_name(&one, &mut names)?,
        (None, Some(many)) => {
            let many: Vec<Cow<str>> = serde_json::from_str(many.get()).map_err(|_| shape("channels"))?;
            many.iter().try_for_each(|name| push_name(name, &mut names))?;
        }
        _ => return Err(Refused::because(Refusal::JsonShape, "Give \"channel\" or \"channels\".")),
    }
    if names.is_empty() { Err(Refusal::ChannelInvalid.into()) } else { Ok(names) }
}

/// The body of an item: base64 of anything, a string as text, anything else as JSON.
fn item_body(members: &Members) -> Result<TypedBody, Refused> {
    let data = members.get("data").ok_or_else(|| shape("data"))?.get();
    let media_type = text_member(members, "type")?;
    let media_type = media_type.as_deref().map(|given| check_type(given.as_bytes())).transpose()?;
    let text: Option<String> = serde_json::from_str(data).ok();
    let (bytes, assumed): (Vec<u8>, _) = match (text_member(members, "encoding")?.as_deref(), text) {
        (Some("base64"), Some(text)) => {
            let bytes = STANDARD.decode(text);
            (bytes.map_err(|_| Refused::because(Refusal::JsonShape, "\"data\" is not base64."))?, BYTES)
        }
        (Some(_), _) => return Err(shape("encoding")),
        // A JSON type means the value itself, a string's quotes included.
        (None, _) if media_type.is_some_and(|media_type| form_of(media_type) == Form::Json) => {
            (data.into(), JSON)
        }
        (None, Some(text)) => (text.into_bytes(), PLAIN_TEXT),
        (None, None) if media_type.is_none() => (data.into(), JSON),
        (None, None) => {
            return Err(Refused::because(Refusal::JsonShape, "\"data\" of this type must be a string."));
        }
    };
    let media_type = media_type.unwrap_or(assumed);
    Ok((intern(media_type), body_of(media_type, bytes.into())?))
}

fn shape(member: &str) -> Refused {
    Refused::because(Refusal::JsonShape, format!("\"{member}\" is missing or not what it should be."))
}

fn refuse_unknown(members: &Members, known: &[&str]) -> Result<(), Refused> {
    match members.keys().find(|name| !known.contains(&&***name)) {
        None => Ok(()),
        Some(name) => {
            let name = name.escape_debug();
            Err(Refused::because(Refusal::JsonShape, format!("There is no member \"{name}\".")))
        }
    }
}

fn text_member<'a>(members: &Members<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Refused> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => serde_json::from_str(value.get()).map(Some).map_err(|_| shape(name)),
    }
}

fn number_member<'a>(members: &Members<'a>, name: &str) -> Result<Option<&'a [u8]>, Refused> {
    let value = members.get(name).map(|value| value.get().as_bytes());
    match value {
        Some(text) if whole_number(text).is_none() => Err(shape(name)),
        other => Ok(other),
    }
}

/// The result of each item, in order.
pub fn write_results(form: BatchForm, results: &[Result<Receipt, Refused>], out: &mut Vec<u8>) {
    let (open, between, close) = match form {
        BatchForm::Lines => (&b""[..], &b"\n"[..], &b"\n"[..]),
        BatchForm::Array => (&b"["[..], &b","[..], &b"]\n"[..]),
    };
    out.extend_from_slice(open);
    for (at, result) in results.iter().enumerate() {
        out.extend_from_slice(if at > 0 { between } else { b"" });
        match result {
            Ok(receipt) => write_receipt(receipt, out),
            Err(refused) => write_error(refused, out),
        }
    }
    out.extend_from_slice(if results.is_empty() && form == BatchForm::Lines { b"" } else { close });
}

fn write_error(refused: &Refused, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":");
    write_problem_body(refused.reason, refused.specific.as_deref(), out);
    out.push(b'}');
}

/// `{"id":"…","time":…,"subscribers":N}`, and `"duplicate":true` for a repetition.
pub fn write_receipt(receipt: &Receipt, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    write_id(receipt.id, out);
    out.extend_from_slice(b"\",\"time\":");
    push_decimal(out, receipt.time.0);
    out.extend_from_slice(b",\"subscribers\":");
    push_decimal(out, receipt.subscribers);
    out.extend_from_slice(if receipt.duplicate { b",\"duplicate\":true}" } else { b"}" });
}

// -- Channels --------------------------------------------------------------------

/// What `POST /channels` and renew may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The channel's name, if the publisher chooses it.
    pub name: Option<ChannelName>,
    /// How long it may be inactive, in milliseconds.
    pub ttl_ms: Option<u64>,
}

/// The body of `POST /channels` or renew: nothing, or `{"name":"…","ttl":…}`. For both
/// the `ttl` may also come in the query.
pub fn parse_channel_request(head: &RequestHead, body: &[u8]) -> Result<ChannelRequest, Refused> {
    refuse_coding(head)?;
    let ttl_ms = parameter(head, "ttl").map(parse_ttl).transpose()?;
    if body.trim_ascii().is_empty() {
        return Ok(ChannelRequest { name: None, ttl_ms });
    }
    check_json(body)?;
    let members: Members = serde_json::from_slice(body)
        .map_err(|_| Refused::because(Refusal::JsonShape, "A channel is described by a JSON object."))?;
    refuse_unknown(&members, &["name", "ttl"])?;
    let name = text_member(&members, "name")?;
    let in_body = number_member(&members, "ttl")?.map(parse_ttl).transpose()?;
    Ok(ChannelRequest {
        name: name.map(|name| name.parse().map_err(|_| Refusal::ChannelInvalid)).transpose()?,
        ttl_ms: in_body.or(ttl_ms),
    })
}

#[cfg(test)]
mod tests;
