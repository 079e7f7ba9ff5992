//! Pieces of snapshots. The meta of a PIECE has `"piece"`, and what does not fit in it is in the
//! body, as JSON; numbers of milliseconds where nothing else is said:
//!
//! - `"begin"`: body `{"head":{"00000000000000ab":12},"forgotten":{},"retired":{},"retirement":{}}`,
//! - `"channel"`: `"name":"news","generation":1,"created":true,"ttl":…,"ttl_set":…,"left":…,"touched":…`, and
//!   `"after_forgetting":true` where it applies; body `[["00000000000000ab",12,3],…]`: origin,
//!   newest entry, how far it was dropped,
//! - `"tombstone"`: `"name":"news","generation":1,"closed":…`, and `"touched"` if it expired; body
//!   `[["00000000000000ab",12],…]`: origin and newest entry that was held,
//! - `"key"`: `"key":"…","origin":"…","seq":12,"time":…,"left":…`,
//! - `"end"`.
//!
//! A message's meta has no `"piece"`: it is that of an ENTRY, with the time to live that is left.

use crate::channel::channel::Birth;
use crate::channel::entry::Deed;
use crate::channel::snapshot::{ChannelPiece, Piece, StrandPiece, TombstonePiece};
use crate::cursor::VersionVector;
use crate::ids::{MessageId, Origin};
use crate::limits::{DIGEST_BYTES_MAX, DIGEST_ORIGINS_MAX, IDEMPOTENCY_MS, SEQ_MAX, TTL_MS_MAX};
use crate::time::Timestamp;
use crate::wire::frame::meta::{Members, NotUnderstood, push_text, push_vector};
use crate::wire::frame::{Frame, Kind, encode, open};

use super::{
    known_key, parse_entry, parse_generation, parse_span, parse_ttl, push_decimal, push_number, write_as,
};

// -- Writing ---------------------------------------------------------------------

/// Appends a piece as a PIECE.
pub fn write_piece(piece: &Piece, out: &mut Vec<u8>) {
    match piece {
        Piece::Begin { head, forgotten, retired, retirement } => {
            write_begin([head, forgotten, retired, retirement], out);
        }
        Piece::Channel(channel) => write_channel(channel, out),
        Piece::Message(entry) => write_as(Kind::PIECE, 0, entry, out),
        Piece::Tombstone(tombstone) => write_tombstone(tombstone, out),
        Piece::Key { key, id, time, left_ms } => write_key(key, *id, *time, *left_ms, out),
        Piece::End => encode(Kind::PIECE, 0, b"{\"piece\":\"end\"}", &[], out),
    }
}

fn write_begin(vectors: [&VersionVector; 4], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let names = ["{\"head\":", ",\"forgotten\":", ",\"retired\":", ",\"retirement\":"];
    for (name, vector) in names.iter().zip(vectors) {
        body.extend_from_slice(name.as_bytes());
        push_vector(vector, &mut body);
    }
    body.push(b'}');
    encode(Kind::PIECE, 0, b"{\"piece\":\"begin\"}", &body, out);
}

fn write_channel(channel: &ChannelPiece, out: &mut Vec<u8>) {
    let frame = open(Kind::PIECE, 0, out);
    out.extend_from_slice(b"{\"piece\":\"channel\",\"name\":\"");
    out.extend_from_slice(channel.name.as_str().as_bytes());
    push_number("\",\"generation\":", u64::from(channel.generation), out);
    out.extend_from_slice(match channel.birth {
        Birth::Created => b",\"created\":true",
        Birth::FirstUse => b",\"created\":false",
    });
    push_number(",\"ttl\":", channel.ttl_ms, out);
    push_number(",\"ttl_set\":", channel.ttl_set.0, out);
    push_number(",\"left\":", channel.left_ms, out);
    push_number(",\"touched\":", channel.touched.0, out);
    out.extend_from_slice(if channel.after_forgetting { b",\"after_forgetting\":true}" } else { b"}" });
    let strands = channel.strands.iter().map(|strand| (strand.origin, [strand.newest, strand.evicted_upto]));
    frame.close(&rows(strands), out);
}

fn write_tombstone(tombstone: &TombstonePiece, out: &mut Vec<u8>) {
    let frame = open(Kind::PIECE, 0, out);
    out.extend_from_slice(b"{\"piece\":\"tombstone\",\"name\":\"");
    out.extend_from_slice(tombstone.name.as_str().as_bytes());
    push_number("\",\"generation\":", u64::from(tombstone.generation), out);
    push_number(",\"closed\":", tombstone.closed.0, out);
    if let Some(touched) = tombstone.touched {
        push_number(",\"touched\":", touched.0, out);
    }
    out.push(b'}');
    frame.close(&rows(tombstone.held.iter().map(|(origin, seq)| (*origin, [*seq]))), out);
}

/// `[["00000000000000ab",12],…]`: the first [`DIGEST_ORIGINS_MAX`].
fn rows<const N: usize>(rows: impl Iterator<Item = (Origin, [u64; N])>) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, (origin, numbers)) in rows.take(DIGEST_ORIGINS_MAX).enumerate() {
        out.extend_from_slice(if at == 0 { b"[\"" } else { b",[\"" });
        out.extend_from_slice(&origin.digits());
        out.push(b'"');
        numbers.iter().for_each(|number| push_number(",", *number, &mut out));
        out.push(b']');
    }
    out.push(b']');
    out
}

fn write_key(key: &str, id: MessageId, time: Timestamp, left_ms: u64, out: &mut Vec<u8>) {
    let frame = open(Kind::PIECE, 0, out);
    out.extend_from_slice(b"{\"piece\":\"key\",\"key\":");
    push_text(key, out);
    out.extend_from_slice(b",\"origin\":\"");
    out.extend_from_slice(&id.origin.digits());
    out.extend_from_slice(b"\",\"seq\":");
    push_decimal(out, id.seq);
    push_number(",\"time\":", time.0, out);
    push_number(",\"left\":", left_ms, out);
    out.push(b'}');
    frame.close(&[], out);
}

// -- Reading ---------------------------------------------------------------------

/// Reads a PIECE.
pub fn parse_piece(frame: &Frame) -> Result<Piece, NotUnderstood> {
    if frame.meta.starts_with(b"{\"origin\":") {
        return parse_message(frame);
    }
    let members = Members::parse(frame.meta)?;
    match members.text("piece")?.as_str() {
        "begin" => parse_begin(frame.body),
        "channel" => parse_channel(&members, frame.body).map(Piece::Channel),
        "tombstone" => parse_tombstone(&members, frame.body).map(Piece::Tombstone),
        "key" => parse_remembered(&members),
        "end" => Ok(Piece::End),
        _ => Err(NotUnderstood("piece")),
    }
}

fn parse_message(frame: &Frame) -> Result<Piece, NotUnderstood> {
    let entry = parse_entry(frame)?;
    match entry.deed {
        Deed::Publish(_) => Ok(Piece::Message(entry)),
        _ => Err(NotUnderstood("do")),
    }
}

fn parse_begin(body: &[u8]) -> Result<Piece, NotUnderstood> {
    if body.len() > 5 * DIGEST_BYTES_MAX {
        return Err(NotUnderstood("body"));
    }
    let members = Members::parse(body)?;
    Ok(Piece::Begin {
        head: members.vector("head")?,
        forgotten: members.vector("forgotten")?,
        retired: members.vector("retired")?,
        retirement: members.vector("retirement")?,
    })
}

fn parse_channel(members: &Members, body: &[u8]) -> Result<ChannelPiece, NotUnderstood> {
    let rows = serde_json::from_slice(bounded(body)?).map_err(|_| NotUnderstood("body"))?;
    let strand = |(origin, newest, evicted_upto): (String, u64, u64)| {
        Some(StrandPiece {
            origin: Origin::from_digits(origin.as_bytes())?,
            newest: some_seq(newest)?,
            evicted_upto: some_seq(evicted_upto)?,
        })
    };
    Ok(ChannelPiece {
        name: members.channel("name")?,
        generation: parse_generation(members)?,
        birth: if members.flag("created")? { Birth::Created } else { Birth::FirstUse },
        ttl_ms: parse_ttl(members)?,
        ttl_set: Timestamp(members.number("ttl_set")?),
        left_ms: parse_span("left", TTL_MS_MAX, members)?,
        touched: Timestamp(members.number("touched")?),
        after_forgetting: members.flag("after_forgetting")?,
        strands: parse_rows(rows, strand)?,
    })
}

fn parse_tombstone(members: &Members, body: &[u8]) -> Result<TombstonePiece, NotUnderstood> {
    let rows = serde_json::from_slice(bounded(body)?).map_err(|_| NotUnderstood("body"))?;
    let held = |(origin, seq): (String, u64)| Some((Origin::from_digits(origin.as_bytes())?, some_seq(seq)?));
    Ok(TombstonePiece {
        name: members.channel("name")?,
        generation: parse_generation(members)?,
        closed: Timestamp(members.number("closed")?),
        touched: members.has("touched").then(|| members.number("touched")).transpose()?.map(Timestamp),
        held: parse_rows(rows, held)?,
    })
}

/// 0 stands for no entry.
fn some_seq(seq: u64) -> Option<u64> {
    Some(seq).filter(|seq| *seq <= SEQ_MAX)
}

/// What a body may be, before anything is built of it.
fn bounded(body: &[u8]) -> Result<&[u8], NotUnderstood> {
    if body.len() <= DIGEST_BYTES_MAX { Ok(body) } else { Err(NotUnderstood("body")) }
}

/// What `parse` makes of all rows.
fn parse_rows<R, T>(rows: Vec<R>, parse: impl Fn(R) -> Option<T>) -> Result<Vec<T>, NotUnderstood> {
    if rows.len() > DIGEST_ORIGINS_MAX {
        return Err(NotUnderstood("body"));
    }
    rows.into_iter().map(|row| parse(row).ok_or(NotUnderstood("body"))).collect()
}

fn parse_remembered(members: &Members) -> Result<Piece, NotUnderstood> {
    Ok(Piece::Key {
        key: known_key(&members.text("key")?).ok_or(NotUnderstood("key"))?,
        id: MessageId { origin: members.origin("origin")?, seq: members.seq("seq")? },
        time: Timestamp(members.number("time")?),
        left_ms: parse_span("left", IDEMPOTENCY_MS, members)?,
    })
}
