//! Who the client is, and how many polls it may have at once.

use super::harness::{Who, World, request};
use super::*;

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

fn limited(most: usize) -> World {
    World::with(|settings| {
        settings.polls_per_client_max = most;
        settings.trusted_proxies = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).to_vec();
    })
}

fn poll_from(world: &mut World, peer: &str) -> Who {
    let who = world.connect_from(Door::Public, peer);
    world.poll_again(who, "a?after=now");
    who
}

fn forwarded(world: &mut World, who: Who, client: &str) {
    world.send(who, request("GET /sub/a?after=now", &format!("X-Forwarded-For: {client}\r\n"), ""));
}

#[track_caller]
fn check_limited(world: &mut World, who: Who) {
    let response = world.take(who);
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.field("retry-after"), Some("2"));
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    assert!(!world.is_over(who), "the connection can be used again");
}

// -- PROXY headers ---------------------------------------------------------------------

#[test]
fn a_proxy_header_may_come_in_any_pieces() {
    let input = [LINE.as_bytes(), &request("GET /sub/a?timeout=0", "", "")].concat();
    for cut in 1..input.len() {
        let mut world = limited(1);
        let who = world.connect_from(Door::Proxied, "10.0.0.1");
        world.send(who, &input[..cut]);
        assert!(world.received(who).is_empty(), "{cut}");
        world.send(who, &input[cut..]);
        assert_eq!(world.take_answer(who).messages.len(), 0, "{cut}");
        // What follows is an ordinary connection.
        world.poll_again(who, "a?after=now");
        world.check_held(who);
        world.finish();
    }
}

#[test]
fn a_proxy_header_byte_by_byte() {
    let mut world = limited(1);
    world.scratch = 1;
    let who = world.connect_from(Door::Proxied, "10.0.0.1");
    for byte in LINE.bytes().chain(request("GET /sub/a?timeout=0", "", "")) {
        world.send(who, [byte]);
    }
    world.take_answer(who);
    world.finish();
}

#[test]
fn who_sends_no_proxy_header_is_cut_off_without_a_word() {
    for input in ["GET /sub/a HTTP/1.1\r\n", "G", "PROXY TCP4 1.2.3.4.5 ", "\r\n\r\n\r", "\x16\x03\x01"] {
        let mut world = World::new();
        let who = world.connect(Door::Proxied);
        world.send(who, input);
        assert!(world.is_closed(who) && world.received(who).is_empty(), "{input:?}");
        assert_eq!(world.shard.counters().proxies_refused, 1);
        world.finish();
    }
}

#[test]
fn a_proxy_header_has_the_time_of_a_head() {
    for input in ["", "PROXY ", "PROXY TCP4 192.0.2.7 "] {
        let mut world = World::new();
        let who = world.connect(Door::Proxied);
        world.advance(6_000);
        world.send(who, input);
        world.advance(3_999);
        assert!(!world.is_closed(who), "{input:?}");
        world.advance(1);
        assert!(world.is_closed(who) && world.received(who).is_empty(), "{input:?}");
        assert_eq!(world.shard.counters().proxies_refused, 1);
        world.finish();
    }
}

#[test]
fn after_its_proxy_header_a_connection_is_idle_like_others() {
    let mut world = World::new();
    let who = world.connect(Door::Proxied);
    world.advance(9_000);
    world.send(who, LINE);
    world.advance(70_000);
    assert!(!world.is_closed(who));
    world.send(who, "GET /sub/a?time");
    world.advance(9_000);
    world.send(who, "out=0 HTTP/1.1\r\nHost: a\r\n\r\n");
    world.take_answer(who);
    world.advance(75_000);
    assert!(world.is_closed(who));
    assert_eq!(world.shard.counters().proxies_refused, 0);
    world.finish();
}

#[test]
fn a_proxy_that_leaves_before_its_header_is_no_offence() {
    for input in ["", "PROXY "] {
        let mut world = World::new();
        let who = world.connect(Door::Proxied);
        world.send(who, input);
        world.end(who);
        assert!(world.is_closed(who));
        assert_eq!(world.shard.counters().proxies_refused, 0);
        world.finish();
    }
}

#[test]
fn only_trusted_networks_are_taken_in_as_proxies() {
    let mut world = limited(0);
    for (peer, admitted) in
        [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("127.0.0.1", false), ("::2", false)]
    {
        assert_eq!(world.shard.admits_proxy(peer.parse().unwrap(), world.now), admitted, "{peer}");
    }
    assert_eq!(world.shard.counters().proxies_refused, 2);
}

#[test]
fn a_proxy_header_at_the_public_door_is_a_malformed_request() {
    let mut world = limited(1);
    let who = world.connect_from(Door::Public, "10.0.0.1");
    world.send(who, LINE);
    assert_eq!(world.take(who).status / 100, 4);
    world.finish();
}

// -- The limit -------------------------------------------------------------------------

#[test]
fn beyond_its_limit_a_client_is_told_to_come_later() {
    let mut world = limited(2);
    let (first, second) = (poll_from(&mut world, "192.0.2.1"), poll_from(&mut world, "192.0.2.1"));
    world.check_held(second);
    let third = poll_from(&mut world, "::ffff:192.0.2.1");
    check_limited(&mut world, third);
    let other = poll_from(&mut world, "192.0.2.2");
    world.check_held(other);
    assert_eq!(world.shard.counters().requests_limited, 1);
    // Other requests are not limited.
    world.send(third, request("GET /healthz", "", ""));
    assert_eq!(world.take(third).status, 200);
    world.end(first);
    world.poll_again(third, "a?after=now");
    world.check_held(third);
    world.finish();
}

#[test]
fn a_site_of_ipv6_is_one_client() {
    let mut world = limited(1);
    poll_from(&mut world, "2001:db8:0:1::1");
    let same = poll_from(&mut world, "2001:db8:0:1:ffff::2");
    check_limited(&mut world, same);
    let other = poll_from(&mut world, "2001:db8:0:2::1");
    world.check_held(other);
    world.finish();
}

#[test]
fn a_poll_is_released_in_whatever_way_it_ends() {
    type End = fn(&mut World, Who);
    let ends: [(&str, End); 6] = [
        ("answered", |world, _| {
            world.publish("a", "news");
        }),
        ("timed out", |world, _| world.advance(60_000)),
        ("abandoned", |world, who| world.end(who)),
        ("reset", |world, who| world.reset(who)),
        ("closed", |world, _| {
            world.publisher("DELETE /channels/a", "");
        }),
        ("drained", |world, _| {
            world.shard.begin_drain(1_000, world.now);
            world.advance(800);
        }),
    ];
    for (what, end) in ends {
        for target in ["a?after=now", "a,b?after=now"] {
            let mut world = limited(1);
            let who = world.connect_from(Door::Public, "192.0.2.1");
            world.poll_again(who, target);
            world.check_held(who);
            end(&mut world, who);
            assert!(!world.is_held(who), "{what}");
            let next = world.connect_from(Door::Public, "192.0.2.1");
            world.poll_again(next, "c?timeout=0");
            assert_eq!(world.take(next).status, 200, "{what} {target}");
            world.finish();
        }
    }
}

#[test]
fn a_poll_counts_until_its_answer_is_taken() {
    let mut world = limited(1);
    let who = poll_from(&mut world, "192.0.2.1");
    world.set_window(who, 10);
    world.publish("a", "news");
    assert!(!world.is_held(who));
    let next = poll_from(&mut world, "192.0.2.1");
    check_limited(&mut world, next);
    world.set_window(who, usize::MAX);
    world.take_answer(who);
    world.poll_again(next, "a?after=now");
    world.check_held(next);
    // So do those that are cut off since they do not read.
    world.set_window(next, 10);
    world.publish("a", "more");
    world.advance(30_000);
    assert!(world.is_closed(next));
    let last = poll_from(&mut world, "192.0.2.1");
    world.check_held(last);
    world.finish();
}

#[test]
fn polls_in_a_row_on_one_connection_are_one_at_a_time() {
    let mut world = limited(1);
    let who = world.connect_from(Door::Public, "192.0.2.1");
    let one = request("GET /sub/a?timeout=0", "", "");
    world.send(who, [&one[..], &one, &one, &request("GET /sub/%00", "", ""), &one].concat());
    let statuses: Vec<u16> = world.take_all(who).iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 200, 200, 400, 200]);
    world.finish();
}

#[test]
fn a_refused_poll_does_not_count() {
    let mut world = limited(1);
    for target in ["a?limit=x", "%00", "a?after=?"] {
        let who = world.connect_from(Door::Public, "192.0.2.1");
        world.poll_again(who, target);
        assert_eq!(world.take(who).status, 400);
    }
    let who = poll_from(&mut world, "192.0.2.1");
    world.check_held(who);
    world.finish();
}

#[test]
fn the_client_of_a_proxy_header_is_who_counts() {
    let mut world = limited(1);
    let held = world.connect_from(Door::Proxied, "10.0.0.1");
    world.send(held, LINE);
    // What the client itself says of others is not believed.
    forwarded(&mut world, held, "203.0.113.1");
    world.check_held(held);
    let direct = poll_from(&mut world, "192.0.2.7");
    check_limited(&mut world, direct);
    let same = world.connect_from(Door::Proxied, "10.0.0.2");
    world.send(same, LINE.replace("56324", "1"));
    world.poll_again(same, "a?after=now");
    check_limited(&mut world, same);
    let unknown = world.connect_from(Door::Proxied, "10.0.0.1");
    world.send(unknown, "PROXY UNKNOWN\r\n");
    world.poll_again(unknown, "a?after=now");
    world.check_held(unknown);
    let other = world.connect_from(Door::Proxied, "10.0.0.1");
    world.send(other, LINE.replace("2.7", "2.8"));
    world.poll_again(other, "a?after=now");
    world.check_held(other);
    world.finish();
}

#[test]
fn each_request_of_a_trusted_proxy_may_be_another_clients() {
    let mut world = limited(1);
    let first = world.connect_from(Door::Public, "10.0.0.1");
    forwarded(&mut world, first, "192.0.2.1");
    let second = world.connect_from(Door::Public, "10.0.0.1");
    forwarded(&mut world, second, "192.0.2.1");
    check_limited(&mut world, second);
    forwarded(&mut world, second, "192.0.2.2");
    world.check_held(second);
    world.publish("a", "news");
    world.take_answer(first);
    world.take_answer(second);
    forwarded(&mut world, first, "192.0.2.2");
    forwarded(&mut world, second, "192.0.2.1");
    world.check_held(first);
    world.check_held(second);
    // Without the field it is the proxy's own.
    let own = poll_from(&mut world, "10.0.0.1");
    world.check_held(own);
    world.finish();
}

#[test]
fn others_cannot_choose_whose_poll_it_is() {
    let mut world = limited(1);
    let first = world.connect_from(Door::Public, "203.0.113.1");
    forwarded(&mut world, first, "192.0.2.1");
    let second = world.connect_from(Door::Public, "203.0.113.1");
    forwarded(&mut world, second, "192.0.2.2");
    check_limited(&mut world, second);
    world.finish();
}

#[test]
fn the_limit_can_be_set_changed_and_taken_away() {
    let mut world = World::new();
    let set = |world: &mut World, most| {
        let settings = Settings { polls_per_client_max: most, ..harness::settings() };
        world.shard.reconfigure(settings, Arc::new(Keys::default()));
    };
    let before = poll_from(&mut world, "192.0.2.1");
    set(&mut world, 1);
    let first = poll_from(&mut world, "192.0.2.1");
    world.check_held(first);
    let second = poll_from(&mut world, "192.0.2.1");
    check_limited(&mut world, second);
    set(&mut world, 2);
    world.poll_again(second, "a?after=now");
    world.check_held(second);
    world.end(before);
    set(&mut world, 0);
    let third = poll_from(&mut world, "192.0.2.1");
    world.check_held(third);
    set(&mut world, 1);
    let fourth = poll_from(&mut world, "192.0.2.1");
    world.check_held(fourth);
    world.finish();
}
