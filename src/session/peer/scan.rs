//! The fast way through the meta of a publication that was written by this program.
//!
//! Beside it stands the general way, which also says what is wrong: whatever is read here is read
//! there with the same result, and where this gives up nothing is lost but time.

use super::{Channels, Head, form_named, form_of, give_generations, known_key, known_type, push_channel};
use crate::limits::{CHANNELS_PER_REQUEST_MAX, TTL_MS_MAX};
use crate::time::Timestamp;
use crate::wire::frame::meta::{Scan, scan_id};

/// A publication's meta just as [`super::write_entry`] writes it; `None` for anything else.
pub(super) fn publication(meta: &[u8]) -> Option<Head> {
    let mut scan = Scan::new(meta);
    let id = scan_id(&mut scan)?;
    scan.literal(b",\"time\":")?;
    let time = Timestamp(scan.number()?);
    let mut channels = channels(&mut scan)?;
    scan.literal(b",\"type\":\"")?;
    let media_type = scan.text()?;
    scan.literal(b",\"ttl\":")?;
    let ttl_ms = scan.number().filter(|ms| *ms <= TTL_MS_MAX)?;
    if scan.literal(b",\"generations\":[").is_some() {
        generations(&mut scan, &mut channels)?;
    }
    let form = match scan.literal(b",\"form\":\"") {
        Some(()) => form_named(scan.text()?)?,
        None => form_of(media_type),
    };
    let key = match scan.literal(b",\"key\":\"") {
        Some(()) => Some(known_key(scan.text()?)?),
        None => None,
    };
    scan.literal(b"}")?;
    let media_type = known_type(media_type)?;
    scan.is_over().then_some(Head { id, time, channels, media_type, ttl_ms, form, key })
}

fn channels(scan: &mut Scan) -> Option<Channels> {
    let mut channels = Channels::new();
    scan.literal(b",\"channels\":[\"")?;
    loop {
        push_channel(scan.text()?, &mut channels)?;
        if scan.literal(b",\"").is_none() {
            scan.literal(b"]")?;
            return Some(channels);
        }
    }
}

fn generations(scan: &mut Scan, channels: &mut Channels) -> Option<()> {
    let mut numbers = smallvec::SmallVec::<[u64; 1]>::new();
    while numbers.len() < CHANNELS_PER_REQUEST_MAX {
        numbers.push(scan.number()?);
        if scan.literal(b",").is_none() {
            scan.literal(b"]")?;
            return give_generations(&numbers, channels);
        }
    }
    None
}
