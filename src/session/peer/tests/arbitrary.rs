//! Entries and pieces of all kinds, and the oracle of the fast way to read.

use proptest::prelude::*;

use super::*;
use crate::channel::channel::Birth;
use crate::channel::snapshot::{ChannelPiece, Piece, StrandPiece, TombstonePiece};
use crate::cursor::VersionVector;
use crate::limits::{IDEMPOTENCY_MS, SEQ_MAX};

/// Whatever the fast way understands, the general way does, with the same result.
pub(super) fn check_against_oracle(meta: &[u8]) {
    let Some(head) = scan::publication(meta) else { return };
    let members = Members::parse(meta).expect("an object");
    assert_eq!(members.origin("origin"), Ok(head.id.origin));
    assert_eq!(members.seq("seq"), Ok(head.id.seq));
    let time = Timestamp(members.number("time").expect("a time"));
    assert!(!members.has("do"));
    assert_eq!(parse_head(head.id, time, &members), Ok(head));
}

fn name() -> impl Strategy<Value = ChannelName> {
    "[A-Za-z0-9_.:~@+-]{1,30}".prop_map(|name| name.parse().unwrap())
}

fn generation() -> impl Strategy<Value = Generation> {
    prop_oneof![3 => Just(1), 1 => 1..=u32::MAX]
}

fn id() -> impl Strategy<Value = MessageId> {
    (any::<u64>(), 1..=SEQ_MAX).prop_map(|(origin, seq)| MessageId { origin: Origin(origin), seq })
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<u64>(), 1_700_000_000_000..1_900_000_000_000_u64].prop_map(Timestamp)
}

fn key() -> impl Strategy<Value = Box<str>> {
    "[ -~]{1,40}".prop_map(Box::from)
}

fn media_type() -> impl Strategy<Value = Cow<'static, str>> {
    let usual = prop::sample::select(vec![
        "text/plain",
        "application/json",
        "application/octet-stream",
        "text/html; charset=utf-8",
        "text/html; charset=latin1",
        "a/b+JSON",
        "image/png",
    ]);
    prop_oneof![3 => usual.prop_map(Cow::from), 1 => "[ -~]{0,20}/[ -~]{0,20}".prop_map(Cow::from)]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        ".{0,40}".prop_map(|text| Body::text(text.into())),
        "[ -~]{0,40}".prop_map(|text| Body::text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Body::Binary(bytes.into())),
        (".{0,20}", any::<i64>()).prop_map(|(text, number)| Body::Json(
            serde_json::json!({ "a": [text, number] }).to_string().into()
        )),
    ]
}

fn publication() -> impl Strategy<Value = Deed> {
    let channels = prop::collection::btree_map(name(), generation(), 1..6);
    (channels, media_type(), body(), 0..=TTL_MS_MAX, prop::option::of(key())).prop_map(
        |(channels, media_type, body, ttl_ms, idempotency_key)| {
            let channels = channels.into_iter().collect();
            Deed::Publish(Published { channels, media_type, body, ttl_ms, idempotency_key })
        },
    )
}

fn life() -> impl Strategy<Value = Deed> {
    (name(), generation(), 0..=TTL_MS_MAX, time(), 0..5_u8).prop_map(
        |(name, generation, ttl_ms, touched, which)| match which {
            0 => Deed::Create { name, generation, ttl_ms },
            1 => Deed::Renew { name, generation, ttl_ms },
            2 => Deed::Close { name, generation },
            3 => Deed::Mark,
            _ => Deed::Expire { name, generation, touched },
        },
    )
}

fn of(deed: impl Strategy<Value = Deed>) -> impl Strategy<Value = Entry> {
    (id(), time(), deed).prop_map(|(id, time, deed)| Entry { id, time, deed })
}

pub(super) fn entry() -> impl Strategy<Value = Entry> {
    of(prop_oneof![3 => publication(), 1 => life()])
}

fn vector() -> impl Strategy<Value = VersionVector> {
    prop::collection::vec(id(), 0..6).prop_map(|ids| {
        let mut vector = VersionVector::default();
        ids.iter().for_each(|id| vector.set(id.origin, id.seq));
        vector
    })
}

fn channel_piece() -> impl Strategy<Value = Piece> {
    let strand = (any::<u64>(), 0..=SEQ_MAX, 0..=SEQ_MAX).prop_map(|(origin, newest, evicted_upto)| {
        StrandPiece { origin: Origin(origin), newest, evicted_upto }
    });
    let spans = (0..=TTL_MS_MAX, 0..=TTL_MS_MAX);
    let strands = prop::collection::vec(strand, 0..5);
    (name(), generation(), any::<(bool, bool)>(), spans, (time(), time()), strands).prop_map(
        |(name, generation, (created, after_forgetting), (ttl_ms, left_ms), (touched, ttl_set), strands)| {
            let birth = if created { Birth::Created } else { Birth::FirstUse };
            Piece::Channel(ChannelPiece {
                name,
                generation,
                birth,
                ttl_ms,
                ttl_set,
                left_ms,
                touched,
                after_forgetting,
                strands,
            })
        },
    )
}

fn tombstone_piece() -> impl Strategy<Value = Piece> {
    let held = prop::collection::vec((any::<u64>().prop_map(Origin), 0..=SEQ_MAX), 0..5);
    (name(), generation(), time(), prop::option::of(time()), held).prop_map(
        |(name, generation, closed, touched, held)| {
            Piece::Tombstone(TombstonePiece { name, generation, closed, touched, held })
        },
    )
}

pub(super) fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        (vector(), vector(), vector(), vector()).prop_map(|(head, forgotten, retired, retirement)| {
            Piece::Begin { head, forgotten, retired, retirement }
        }),
        channel_piece(),
        of(publication()).prop_map(Piece::Message),
        tombstone_piece(),
        (key(), id(), time(), 0..=IDEMPOTENCY_MS).prop_map(|(key, id, time, left_ms)| Piece::Key {
            key,
            id,
            time,
            left_ms
        }),
        Just(Piece::End),
    ]
}
