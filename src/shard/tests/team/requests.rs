//! Whatever is asked at a follower is answered with the bytes of a node of one shard.

use super::super::harness::{World, request};
use super::crew::Crew;
use super::*;
use crate::limits::SCRATCH_BYTES;
use crate::session::access::Token;

/// The same bytes to a node of one shard, and to each shard of three; all see the same requests before.
struct Pair {
    world: World,
    crews: Vec<Crew>,
}

impl Pair {
    fn with(keys: impl Fn() -> Keys, change: impl Fn(&mut Settings)) -> Pair {
        let crews = (0..3).map(|_| Crew::keyed(3, keys(), &change)).collect();
        let mut world = World::keyed(keys(), &change);
        // As several shards do: every deed has a number.
        world.shard.queue.set_replicated(true);
        Pair { world, crews }
    }

    fn new() -> Pair {
        Pair::with(Keys::default, |_| {})
    }

    /// What comes of some bytes at the publishers' door, everywhere the same.
    #[track_caller]
    fn check(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let bytes = bytes.as_ref();
        let who = self.world.connect(Door::Publisher);
        self.world.send(who, bytes);
        let expected = (self.world.take_bytes(who), self.world.is_over(who));
        self.world.end(who);
        for (shard, crew) in self.crews.iter_mut().enumerate() {
            let came = crew.raw(shard, Door::Publisher, bytes);
            assert_eq!(
                (came.0.escape_ascii().to_string(), came.1),
                (expected.0.escape_ascii().to_string(), expected.1),
                "shard {shard}, {}",
                bytes.escape_ascii()
            );
        }
        expected.0
    }

    fn finish(self) {
        self.world.finish();
        self.crews.into_iter().for_each(Crew::finish);
    }
}

#[test]
fn what_is_asked_of_a_publishers_door() {
    let mut pair = Pair::new();
    for (line, fields, body) in [
        ("POST /pub/a", "", "hello"),
        ("POST /pub/a,b", "Content-Type: application/json\r\n", "{\"x\":1}"),
        ("POST /pub/a", "Content-Type: application/json\r\n", "{nonsense"),
        ("POST /pub/%00", "", "x"),
        ("POST /pub/", "", "x"),
        ("POST /pub/a?ack=one", "", "x"),
        ("POST /pub/a?ack=quorum", "", "x"),
        ("POST /pub/a?ack=perhaps", "", "x"),
        ("POST /pub/a?ttl=x", "", "x"),
        ("POST /pub", "", "{\"channel\":\"a\",\"data\":1}\nnonsense\n"),
        ("POST /pub", "Content-Type: application/json\r\n", "[{\"channel\":\"a\",\"data\":1}]"),
        ("POST /pub", "", ""),
        ("GET /pub/a", "", ""),
        ("HEAD /pub/a", "", ""),
        ("PUT /pub/a", "", "x"),
        ("PATCH /channels", "", ""),
        ("DELETE /channels", "", ""),
        ("POST /channels/a", "", ""),
        ("OPTIONS /pub/a", "", ""),
        ("OPTIONS *", "", ""),
        ("GET /nothing", "", ""),
        ("GET /sub/a", "", ""),
        ("GET /cluster", "", ""),
        ("HEAD /cluster", "", ""),
        ("POST /channels", "", "{\"name\":\"c\",\"ttl\":60}"),
        ("POST /channels", "", "{\"name\":\"c\",\"ttl\":60}"),
        ("POST /channels", "", "{\"name\":7}"),
        ("POST /channels", "", "nonsense"),
        ("GET /channels/c", "", ""),
        ("HEAD /channels/c", "", ""),
        ("GET /channels/none", "", ""),
        ("GET /channels/%", "", ""),
        ("GET /channels?limit=x", "", ""),
        ("GET /channels?limit=1", "", ""),
        ("GET /channels?from=1", "", ""),
        ("GET /channels", "", ""),
        ("POST /channels/c/renew", "", "{\"ttl\":30}"),
        ("POST /channels/c/renew", "", "{\"name\":\"c\"}"),
        ("POST /channels/none/renew", "", ""),
        ("DELETE /channels/c", "", ""),
        ("DELETE /channels/c", "", ""),
        ("GET /channels/c", "", ""),
        ("POST /pub/c", "", "x"),
        ("POST /channels", "", "{\"name\":\"c\"}"),
        ("DELETE /channels/none", "", ""),
        ("DELETE /channels/none", "", "body"),
        ("GET /livez", "", ""),
        ("GET /readyz", "", ""),
        ("GET /healthz", "", ""),
        ("POST /livez", "", "x"),
    ] {
        pair.check(request(line, fields, body));
    }
    pair.finish();
}

#[test]
fn how_it_is_asked() {
    let mut pair = Pair::new();
    for bytes in [
        "POST /pub/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
        "POST /pub/a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nOrigin: https://there\r\nContent-Length: 1\r\n\r\nx",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
        "POST /pub/a HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        "POST http://h/pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        "GET /stats HTTP/1.1\r\n\r\n",
        "HEAD /channels HTTP/1.0\r\n\r\n",
        "HEAD /channels/none HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n",
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        pair.check(bytes);
    }
    pair.finish();
}

#[test]
fn bodies_that_are_too_large() {
    let mut pair = Pair::with(Keys::default, |settings| settings.body_bytes_max = 100);
    pair.check(request("POST /pub/a", "", [b'x'; 101]));
    pair.check(request("POST /pub/a", "", [b'x'; 100]));
    pair.check(format!(
        "POST /pub/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{:0101}\r\n0\r\n\r\n",
        0
    ));
    pair.finish();
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let mut pair = Pair::new();
    let mut bytes = Vec::new();
    for n in 0..300 {
        let next = match n % 7 {
            0 => request(&format!("POST /pub/c{}", n % 5), "", format!("{n}")),
            1 => request("GET /livez", "", ""),
            2 => request(&format!("GET /channels/c{}", n % 6), "", ""),
            3 => request("GET /nothing", "", ""),
            4 => request("POST /pub", "", "{\"channel\":\"a\",\"data\":1}\n"),
            5 => request("HEAD /channels", "", ""),
            _ => request("GET /pub/a", "", ""),
        };
        bytes.extend(next);
    }
    for scratch in [SCRATCH_BYTES, 100] {
        for world in pair.crews.iter_mut().flat_map(|crew| &mut crew.worlds).chain([&mut pair.world]) {
            world.scratch = scratch;
        }
        pair.check(&bytes);
    }
    bytes.extend(b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    bytes.extend(request("POST /pub/a", "", "too late"));
    pair.check(&bytes);
    pair.finish();
}

#[test]
fn an_errand_behind_others_and_before_others_one_byte_at_a_time() {
    let (mut one, mut crew) = (World::new(), Crew::new(2));
    let bytes = [
        request("GET /livez", "", ""),
        request("POST /pub/a", "", "x"),
        request("GET /channels/a", "", ""),
        request("GET /readyz", "", ""),
    ]
    .concat();
    let (who, at) = (one.connect(Door::Publisher), crew.connect(1, Door::Publisher));
    for byte in bytes {
        one.send(who, [byte]);
        crew.send(at, [byte]);
    }
    assert_eq!(
        one.take_bytes(who).escape_ascii().to_string(),
        crew.take_bytes(at).escape_ascii().to_string()
    );
    one.finish();
    crew.finish();
}

#[test]
fn who_shows_no_token_gets_no_further_than_the_follower() {
    let keys =
        || Keys { publish_tokens: Token::new("s3cret").into_iter().collect(), subscribe_keys: Vec::new() };
    let mut pair = Pair::with(keys, |_| {});
    for fields in ["", "Authorization: Bearer wrong\r\n", "Authorization: Bearer s3cret\r\n"] {
        pair.check(request("POST /pub/a", fields, "x"));
        pair.check(request("GET /channels/a", fields, ""));
    }
    pair.finish();
}

/// What all shards count is shown as one node's, whoever is asked.
#[test]
fn figures_are_the_whole_nodes() {
    for shard in 0..3 {
        let mut crew = Crew::new(3);
        for at in 0..3 {
            crew.poll(at, "a");
            crew.poll(at, "a,b");
        }
        crew.publish(2, "c", "x");
        let (mut all, mut json) = (String::new(), serde_json::Value::Null);
        for line in ["GET /stats", "GET /metrics"] {
            let response = crew.publisher(shard, line, "");
            assert_eq!(response.status, 200);
            match line {
                "GET /stats" => json = response.json(),
                _ => all = response.text().to_owned(),
            }
        }
        assert_eq!((&json["held_polls"], &json["polls_total"]), (&6.into(), &6.into()), "{json}");
        assert_eq!((&json["publications_total"], &json["log_entries"]), (&1.into(), &1.into()), "{json}");
        assert_eq!(json["origin"], super::super::harness::ORIGIN.to_string());
        // Six who poll and the one who asks; a request on its way is no connection more.
        assert_eq!(json["connections"], 7, "{json}");
        assert!(all.contains("pushup_held_polls 6\n") && all.contains("pushup_connections 7\n"), "{all}");
        crew.finish();
    }
}

#[test]
fn figures_are_asked_for_while_others_are() {
    let mut crew = Crew::new(3);
    let all: Vec<_> = (0..3).map(|shard| crew.connect(shard, Door::Publisher)).collect();
    for at in &all {
        crew.worlds[at.0].send(at.1, request("GET /stats", "", ""));
    }
    crew.settle();
    for at in all {
        assert_eq!(crew.take(at).json()["connections"], 3);
    }
    crew.finish();
}
