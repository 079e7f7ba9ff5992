use proptest::prelude::*;

use super::*;
use crate::ids::Origin;
use crate::limits::HANDSHAKE_BYTES_MAX;
use crate::wire::frame::{decode, encode};

const KEY: &[u8] = b"a key of this cluster";

fn hello(node: &str, nonce: u8) -> Hello {
    Hello {
        version: VERSION,
        cluster: "pushup".into(),
        node: node.parse().unwrap(),
        origin: Origin(7),
        address: "10.0.0.1:7000".parse().unwrap(),
        nonce: [nonce; 16],
        features: vec![],
    }
}

/// One end, with what it has sent and what it has come to.
struct End {
    handshake: Handshake,
    sent: Vec<u8>,
    unread: Vec<u8>,
    result: Result<Progress, HandshakeError>,
}

impl End {
    fn new(role: Role, own: Hello, key: &[u8]) -> End {
        End::of(Purpose::Peers, role, own, key)
    }

    fn of(purpose: Purpose, role: Role, own: Hello, key: &[u8]) -> End {
        let mut sent = Vec::new();
        let handshake = Handshake::new(purpose, role, own, key.into(), &mut sent);
        End { handshake, sent, unread: Vec::new(), result: Ok(Progress::Going) }
    }

    fn dialer() -> End {
        End::new(Role::Dialer, hello("a", 1), KEY)
    }

    fn acceptor() -> End {
        End::new(Role::Acceptor, hello("b", 2), KEY)
    }

    /// Takes bytes as they come, up to the end of the handshake.
    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while let (Ok(Progress::Going), Some((frame, len))) =
            (&self.result, decode(&self.unread, HANDSHAKE_BYTES_MAX).expect("a frame"))
        {
            self.result = self.handshake.handle(&frame, &mut self.sent);
            self.unread.drain(..len);
        }
    }

    fn failed(&self) -> &HandshakeError {
        self.result.as_ref().expect_err("it is refused")
    }
}

/// Lets two ends talk, so many bytes at a time, until neither says more.
fn talk(a: &mut End, b: &mut End, step: usize) {
    let (mut a_at, mut b_at) = (0, 0);
    while a_at < a.sent.len() || b_at < b.sent.len() {
        let from_a = a.sent[a_at..].iter().copied().take(step).collect::<Vec<_>>();
        let from_b = b.sent[b_at..].iter().copied().take(step).collect::<Vec<_>>();
        a_at += from_a.len();
        b_at += from_b.len();
        b.read(&from_a);
        a.read(&from_b);
    }
}

/// Whoever holds the key as a back-end cannot give orders with what it has proved, nor the other way round.
#[test]
fn a_proof_for_one_purpose_is_none_for_another() {
    let all = [Purpose::Peers, Purpose::Work, Purpose::Orders];
    for (one, other) in all.into_iter().flat_map(|one| all.map(|other| (one, other))) {
        let mut dialer = End::of(one, Role::Dialer, hello("a", 1), KEY);
        let mut acceptor = End::of(other, Role::Acceptor, hello("b", 2), KEY);
        talk(&mut dialer, &mut acceptor, 64);
        let (is_up, same) = (matches!(acceptor.result, Ok(Progress::Established(_))), one == other);
        assert_eq!(is_up, same, "{one:?} {other:?}");
        assert!(same || *acceptor.failed() == HandshakeError::BadProof);
    }
}

#[test]
fn two_nodes_of_a_cluster_come_together_however_the_bytes_come() {
    for step in [1, 7, 1000] {
        let (mut a, mut b) = (End::dialer(), End::acceptor());
        talk(&mut a, &mut b, step);
        assert_eq!(a.result, Ok(Progress::Established(hello("b", 2))));
        assert_eq!(b.result, Ok(Progress::Established(hello("a", 1))));
    }
}

#[test]
fn the_proof_is_what_is_documented() {
    let (mut a, b) = (End::dialer(), End::acceptor());
    let hello_len = a.sent.len();
    a.read(&b.sent);
    let covered = [&b"pushup link 1\0"[..], &hello("a", 1).meta(), &hello("b", 2).meta()].concat();
    let (frame, _) = decode(&a.sent[hello_len..], HANDSHAKE_BYTES_MAX).unwrap().unwrap();
    assert_eq!(Proof::parse(frame.meta), Ok(Proof { mac: HMAC::mac(covered, KEY) }));
}

#[test]
fn whoever_holds_another_key_is_refused_by_both() {
    for key in [&b""[..], b"a key of this clustes", b"a key of this cluster "] {
        let (mut a, mut b) = (End::dialer(), End::new(Role::Acceptor, hello("b", 2), key));
        talk(&mut a, &mut b, 1000);
        assert_eq!((a.failed(), b.failed()), (&HandshakeError::BadProof, &HandshakeError::BadProof));
    }
}

#[test]
fn another_cluster_or_version_is_refused_and_gets_no_proof() {
    let foreign = Hello { cluster: "other\n".into(), ..hello("b", 2) };
    let newer = Hello { version: 2, ..hello("b", 2) };
    for (theirs, expected) in [
        (foreign, HandshakeError::ForeignCluster("other\n".into())),
        (newer, HandshakeError::Version { theirs: 2 }),
    ] {
        let (mut a, mut b) = (End::dialer(), End::new(Role::Acceptor, theirs, KEY));
        let before = a.sent.len();
        talk(&mut a, &mut b, 1000);
        assert_eq!(a.failed(), &expected);
        assert_eq!(a.sent.len(), before);
    }
}

#[test]
fn of_another_version_nothing_else_is_looked_at() {
    let mut a = End::dialer();
    let mut out = Vec::new();
    encode(Kind::HELLO, 0, b"{\"version\":7}", b"", &mut out);
    a.read(&out);
    assert_eq!(a.failed(), &HandshakeError::Version { theirs: 7 });
}

#[test]
fn a_node_does_not_link_to_itself_but_to_its_next_life() {
    let mut a = End::dialer();
    let own = a.sent.clone();
    a.read(&own);
    let proof = a.sent[own.len()..].to_vec();
    a.read(&proof);
    assert_eq!(a.failed(), &HandshakeError::BadProof, "a mirror is not this node");

    let (mut a, mut b) = (End::dialer(), End::new(Role::Acceptor, hello("a", 2), KEY));
    talk(&mut a, &mut b, 1000);
    assert_eq!(a.failed(), &HandshakeError::Ourselves);

    let reborn = Hello { origin: Origin(8), ..hello("a", 2) };
    let (mut a, mut b) = (End::dialer(), End::new(Role::Acceptor, reborn.clone(), KEY));
    talk(&mut a, &mut b, 1000);
    assert_eq!(a.result, Ok(Progress::Established(reborn)));
}

#[test]
fn a_proof_sent_back_proves_nothing() {
    // The reflector has a name of its own and no key; it returns the node's own proof.
    let (mut a, mirror) = (End::dialer(), End::new(Role::Acceptor, hello("m", 2), b""));
    let hello_len = a.sent.len();
    a.read(&mirror.sent);
    let proof = a.sent[hello_len..].to_vec();
    a.read(&proof);
    assert_eq!(a.failed(), &HandshakeError::BadProof);
}

#[test]
fn an_old_proof_proves_nothing() {
    let (mut a, mut b) = (End::dialer(), End::acceptor());
    talk(&mut a, &mut b, 1000);
    let recorded = a.sent;
    let mut b = End::new(Role::Acceptor, hello("b", 3), KEY);
    b.read(&recorded);
    assert_eq!(b.failed(), &HandshakeError::BadProof);
}

#[test]
fn two_dialers_or_two_acceptors_do_not_come_together() {
    for role in [Role::Dialer, Role::Acceptor] {
        let (mut a, mut b) = (End::new(role, hello("a", 1), KEY), End::new(role, hello("b", 2), KEY));
        talk(&mut a, &mut b, 1000);
        assert_eq!((a.failed(), b.failed()), (&HandshakeError::BadProof, &HandshakeError::BadProof));
    }
}

#[test]
fn nothing_but_hello_and_then_proof_is_accepted() {
    let hello_frame = End::acceptor().sent;
    let frame = |kind: u8, meta: &[u8]| {
        let mut out = Vec::new();
        encode(Kind(kind), 0, meta, b"", &mut out);
        out
    };
    for kind in (0..=255).filter(|kind| Kind(*kind) != Kind::HELLO) {
        let mut a = End::dialer();
        a.read(&frame(kind, b"{}"));
        assert_eq!(a.failed(), &HandshakeError::Unexpected);
    }
    for kind in (0..=255).filter(|kind| Kind(*kind) != Kind::PROOF) {
        let mut a = End::dialer();
        a.read(&hello_frame);
        a.read(&frame(kind, b"{}"));
        assert_eq!(a.failed(), &HandshakeError::Unexpected);
    }
    for meta in [&b""[..], b"{}", b"{\"mac\":\"00\"}", b"\xff"] {
        let mut a = End::dialer();
        a.read(&hello_frame);
        a.read(&frame(2, meta));
        assert!(matches!(a.failed(), HandshakeError::NotUnderstood(_)));
    }
}

#[test]
fn after_its_end_a_handshake_takes_nothing() {
    let (mut a, mut b) = (End::dialer(), End::acceptor());
    talk(&mut a, &mut b, 1000);
    let (first, len) = decode(&b.sent, HANDSHAKE_BYTES_MAX).unwrap().unwrap();
    let (second, _) = decode(&b.sent[len..], HANDSHAKE_BYTES_MAX).unwrap().unwrap();
    for frame in [first, second, first] {
        let before = a.sent.len();
        assert_eq!(a.handshake.handle(&frame, &mut a.sent), Err(HandshakeError::Unexpected));
        assert_eq!(a.sent.len(), before);
    }
}

#[test]
fn what_goes_to_the_log_is_escaped_and_short() {
    let longest = HandshakeError::ForeignCluster("\u{1}".repeat(64)).to_string();
    assert!(longest.len() < 500 && longest.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{longest}");
    let error = HandshakeError::from(NotUnderstood("nonce")).to_string();
    assert_eq!(error, "its handshake is not understood: \"nonce\" is missing or not what it should be");
    assert!(!format!("{:?}", End::dialer().handshake).contains("97, 32, 107"), "no key");
}

proptest! {
    #[test]
    fn one_changed_byte_and_there_is_no_link(from_dialer: bool, at: prop::sample::Index, flip in 1_u8..) {
        let (mut a, mut b) = (End::dialer(), End::acceptor());
        talk(&mut a, &mut b, 1000);
        // Behind the frames' checksums: the metas themselves are changed.
        let sent = if from_dialer { &a.sent } else { &b.sent };
        let (first, len) = decode(sent, HANDSHAKE_BYTES_MAX).unwrap().unwrap();
        let (second, _) = decode(&sent[len..], HANDSHAKE_BYTES_MAX).unwrap().unwrap();
        let mut metas = [first.meta.to_vec(), second.meta.to_vec()].concat();
        *at.get_mut(&mut metas) ^= flip;
        let (meta, proof) = metas.split_at(first.meta.len());
        let mut other = if from_dialer { End::acceptor() } else { End::dialer() };
        let mut bytes = Vec::new();
        encode(Kind::HELLO, 0, meta, b"", &mut bytes);
        encode(Kind::PROOF, 0, proof, b"", &mut bytes);
        other.read(&bytes);
        prop_assert!(other.result.is_err());
    }

    #[test]
    fn any_frames_are_refused(frames in prop::collection::vec((any::<u8>(), any::<Vec<u8>>()), 1..4)) {
        let mut a = End::dialer();
        for (kind, meta) in frames {
            let frame = Frame { kind: Kind(kind % 4), flags: 0, meta: &meta, body: b"" };
            let mut out = Vec::new();
            prop_assert!(a.handshake.handle(&frame, &mut out).is_err());
        }
    }
}
