//! Whatever arrives, a node lives on.

use proptest::prelude::*;

use super::network::{EPOCH, Network, address, setup};
use crate::cluster::members::seal::Seal;
use crate::cluster::members::{Members, Rejection, codec};
use crate::limits::MEMBERS_MAX;
use crate::time::{Now, Tick, Timestamp};

fn seal() -> Seal {
    let setup = setup(0, &[], 0);
    Seal::new(&setup.cluster_name, &setup.key)
}

/// The first node, as it stands at the beginning of [`real_payloads`].
fn node() -> Members {
    Members::new(&setup(0, &[1], 3), Now { wall: Timestamp(EPOCH), tick: Tick(0) })
}

/// Payloads of every kind that real nodes send to the first one.
fn real_payloads() -> Vec<Vec<u8>> {
    let mut network = Network::new(6, 3);
    network.lost = 10;
    network.run_for(5_000);
    network.kill(4);
    network.run_for(10_000);
    network.restart(4);
    network.leave(5);
    network.run_for(5_000);
    let seal = seal();
    let to_it = network.trace.iter().filter(|sent| sent.2 == address(0));
    to_it.map(|sent| seal.open(&sent.3).unwrap().to_vec()).collect()
}

fn poke(members: &mut Members, bytes: &[u8], now: Tick) {
    members.handle_datagram(address(1), bytes, now);
    members.handle_time(now);
    while members.poll_datagram().is_some() {}
    assert!(members.iter().all(|member| member.node.as_str() != "n00"));
}

#[test]
fn whatever_is_not_sealed_is_counted_and_dropped() {
    let mut network = Network::new(1, 1);
    let members = network.members(0);
    for (count, bytes) in
        [&b""[..], b"PG\x01", &[0; 1_400], &[0; 65_000], b"GET / HTTP/1.1"].iter().enumerate()
    {
        poke(members, bytes, Tick(0));
        assert_eq!(members.rejected(), count as u64 + 1);
    }
    poke(members, &seal().close(b""), Tick(0));
    assert_eq!(members.last_rejected(), Some((address(1), Rejection::Malformed)));
}

#[test]
fn real_payloads_are_read_and_written_byte_for_byte() {
    for payload in real_payloads() {
        let mut rest = &payload[..];
        let header = codec::take_header(&mut rest).unwrap();
        let mut written = Vec::new();
        codec::put_header(&mut written, &header);
        assert_eq!(written, payload[..payload.len() - rest.len()]);
        codec::take_members(rest).unwrap();
        for len in 0..payload.len() - rest.len() {
            assert!(codec::take_header(&mut &payload[..len]).is_err());
        }
    }
}

#[test]
fn real_datagrams_are_taken() {
    let mut members = node();
    for (at, payload) in real_payloads().iter().enumerate() {
        poke(&mut members, &seal().close(payload), Tick(at as u64 * 50));
    }
    assert_eq!(members.rejected(), 0, "{:?}", members.last_rejected());
    assert_eq!(members.iter().count(), 4, "five others of which one left");
}

#[test]
fn there_are_not_more_members_than_can_be() {
    let mut members = node();
    for index in 1..=MEMBERS_MAX + 5 {
        let mut stranger =
            Members::new(&setup(index, &[0], 0), Now { wall: Timestamp(EPOCH), tick: Tick(0) });
        let (_, announcement) = stranger.poll_datagram().unwrap();
        members.handle_datagram(address(index), &announcement, Tick(0));
        while members.poll_datagram().is_some() {}
    }
    assert_eq!((members.iter().count(), members.rejected()), (MEMBERS_MAX, 5));
    assert!(matches!(members.last_rejected(), Some((_, Rejection::TooMany))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sealed_nonsense_does_no_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20)) {
        let mut members = node();
        for (at, payload) in payloads.iter().enumerate() {
            poke(&mut members, &seal().close(payload), Tick(at as u64 * 400));
        }
    }

    #[test]
    fn bent_datagrams_do_no_harm(
        start in any::<prop::sample::Index>(),
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..60),
        step in 0..2_500_u64,
    ) {
        thread_local! { static REAL: Vec<Vec<u8>> = real_payloads(); }
        let real = REAL.with(Vec::clone);
        let mut members = node();
        let start = start.index(real.len());
        for (at, (position, byte, reseal)) in bends.iter().enumerate() {
            let mut payload = real[(start + at) % real.len()].clone();
            if at % 3 > 0 {
                let position = position.index(payload.len());
                payload[position] = *byte;
            }
            let mut datagram = seal().close(&payload);
            if !reseal {
                let position = position.index(datagram.len());
                datagram[position] ^= byte | 1;
            }
            poke(&mut members, &datagram, Tick(at as u64 * step));
        }
    }
}
