use proptest::prelude::*;

use super::*;
use crate::cursor::{ClusterTag, VersionVector};
use crate::ids::Origin;
use crate::wire::http::request::{Parsed, parse};

const TIMEOUTS: Timeouts = Timeouts { default_s: 50, max_s: 120 };

/// What `look` sees of the poll for these channels, query and fields.
fn with_poll<T>(
    segment: &str,
    query: &str,
    fields: &str,
    look: impl FnOnce(Result<Poll, Refused>) -> T,
) -> T {
    let bytes = format!("GET /sub/{segment}?{query} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let Ok(Parsed::Complete { head, .. }) = parse(bytes.as_bytes()) else { panic!("bad test: {bytes}") };
    let segment = head.path.strip_prefix("/sub/").unwrap();
    look(Poll::parse(segment, &head, TIMEOUTS))
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(query: &str, look: impl FnOnce(&Poll) -> T, expected: T) {
    with_poll("a", query, "", |poll| assert_eq!(look(&poll.unwrap()), expected, "{query}"));
}

#[track_caller]
fn refused(segment: &str, query: &str, reason: Refusal) {
    with_poll(segment, query, "", |poll| {
        assert_eq!(poll.map_err(|refused| refused.reason), Err(reason), "{segment}?{query}");
    });
}

fn some_cursor() -> Cursor {
    let mut seen = VersionVector::default();
    seen.set(Origin(7), 9);
    Cursor { tag: ClusterTag(3), seen }
}

#[test]
fn a_bare_poll_has_the_defaults() {
    with_poll("a", "", "", |poll| {
        let expected = Poll {
            channels: "a".into(),
            after: After::Beginning,
            since: Timestamp(0),
            until: Timestamp::MAX,
            timeout_s: 50,
            limit: None,
            prefer_applied: false,
        };
        assert_eq!(poll.unwrap(), expected);
    });
}

#[test]
fn after_is_now_or_a_cursor() {
    let text = some_cursor().to_text();
    check("after=now", |poll| poll.after.clone(), After::Present);
    check(&format!("after={text}"), |poll| poll.after.clone(), After::Cursor(some_cursor()));
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    check(&format!("after={encoded}"), |poll| poll.after.clone(), After::Cursor(some_cursor()));
    for bad in
        ["", "0", "Now", "nOw", "%6Eow%00", "%zz", &text[1..], &format!("{text}="), "12345678901234567890"]
    {
        refused("a", &format!("after={bad}"), Refusal::CursorInvalid);
    }
}

#[test]
fn numbers_are_whole_and_in_range() {
    for name in ["since", "until", "timeout", "limit"] {
        for bad in [
            "",
            "-1",
            "+1",
            "1.0",
            "1e3",
            "0x1",
            " 1",
            "1%30",
            "18446744073709551616",
            "000000000000000000001",
            "now",
        ] {
            let query = format!("{name}={}", bad.replace(' ', "%20"));
            refused("a", &query, Refusal::NumberInvalid);
        }
        refused("a", name, Refusal::NumberInvalid);
    }
    refused("a", "limit=0", Refusal::NumberInvalid);
    check("since=5", |poll| poll.since, Timestamp(5));
    check("since=00000000000000000005", |poll| poll.since, Timestamp(5));
    check("until=18446744073709551615", |poll| poll.until, Timestamp::MAX);
    check("since=9&until=3", |poll| (poll.since, poll.until), (Timestamp(9), Timestamp(3)));
    check("limit=1", |poll| poll.limit, Some(1));
    check("limit=1000", |poll| poll.limit, Some(ANSWER_MESSAGES_MAX));
    check("limit=18446744073709551615", |poll| poll.limit, Some(ANSWER_MESSAGES_MAX));
}

#[test]
fn a_time_out_is_capped_and_may_be_0() {
    for (query, timeout_s) in [
        ("", 50),
        ("timeout=0", 0),
        ("timeout=1", 1),
        ("timeout=120", 120),
        ("timeout=121", 120),
        ("timeout=18446744073709551615", 120),
    ] {
        check(query, |poll| (poll.timeout_s, poll.prefer_applied), (timeout_s, false));
    }
}

#[test]
fn a_parameter_given_twice_is_refused_whatever_it_says() {
    for name in ["after=now", "since=1", "until=1", "timeout=1", "limit=1"] {
        refused("a", &format!("{name}&{name}"), Refusal::QueryInvalid);
        refused("a", &format!("{name}&x=y&&{name}"), Refusal::QueryInvalid);
    }
}

#[test]
fn what_is_not_ours_is_ignored() {
    let query = "token=x&_=1&_=2&Timeout=7&%74imeout=8&&=&limit%20=3&a=%zz";
    check(query, |poll| (poll.timeout_s, poll.limit), (50, None));
}

#[test]
fn channels_are_decoded_once() {
    for (segment, channels) in [
        ("a", "a"),
        ("a,b,a", "a,b,a"),
        ("c++", "c++"),
        ("c%2B%2b,x", "c++,x"),
        ("a%2Cb", "a,b"),
        ("%61", "a"),
        ("A-z_0.9:~@+-", "A-z_0.9:~@+-"),
        ("1795361093123", "1795361093123"),
    ] {
        with_poll(segment, "", "", |poll| assert_eq!(poll.unwrap().channels, channels, "{segment}"));
    }
    let longest = "x".repeat(128);
    with_poll(&longest, "", "", |poll| assert_eq!(poll.unwrap().channels, longest));
}

#[test]
fn bad_channels_are_refused() {
    let long = "x".repeat(129);
    for bad in [
        ",", "a,", ",a", "a,,b", "%00", "%", "%2", "%zz", "%252b", "a%20b", "a%2Fb", "%C0%AF", "%c3%a9",
        "a*b", "a;b", &long,
    ] {
        refused(bad, "", Refusal::ChannelInvalid);
    }
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    with_poll(&names(CHANNELS_PER_REQUEST_MAX), "", "", |poll| {
        assert_eq!(poll.unwrap().names().count(), CHANNELS_PER_REQUEST_MAX);
    });
    refused(&names(CHANNELS_PER_REQUEST_MAX + 1), "", Refusal::ChannelsTooMany);
    refused(&"a,".repeat(CHANNELS_PER_REQUEST_MAX), "", Refusal::ChannelsTooMany);
}

#[test]
fn names_come_in_order_and_once() {
    for (segment, expected) in [
        ("a", vec!["a"]),
        ("b,a", vec!["b", "a"]),
        ("a,b,a,c,b", vec!["a", "b", "c"]),
        ("aa,a", vec!["aa", "a"]),
        ("a,aa,a", vec!["a", "aa"]),
    ] {
        with_poll(segment, "", "", |poll| {
            assert_eq!(poll.unwrap().names().collect::<Vec<_>>(), expected, "{segment}");
        });
    }
}

#[test]
fn a_plain_poll_has_one_channel_and_no_conditions() {
    for (segment, query, plain) in [
        ("a", "", true),
        ("a", "after=now&timeout=5", true),
        ("a", "since=0&until=18446744073709551615", true),
        ("a", "since=1", false),
        ("a", "until=1", false),
        ("a", "limit=1000", false),
        ("a,b", "", false),
        ("a%2Cb", "", false),
    ] {
        with_poll(segment, query, "", |poll| {
            assert_eq!(poll.unwrap().is_plain(), plain, "{segment}?{query}")
        });
    }
}

#[test]
fn prefer_wait_counts_if_the_query_says_nothing() {
    for (prefer, expected) in [
        ("wait=5", Some(5)),
        ("WAIT=5", Some(5)),
        ("wait = 5", Some(5)),
        ("wait=\"5\"", Some(5)),
        ("respond-async, wait=5", Some(5)),
        ("wait=5; foo=bar, handling=lenient", Some(5)),
        ("wait=5, wait=9", Some(5)),
        ("wait=0", Some(0)),
        ("wait=500", Some(120)),
        ("wait=x, wait=7", Some(7)),
        ("wait", None),
        ("wait=", None),
        ("wait=-5", None),
        ("wait=5s", None),
        ("await=5", None),
        ("respond-async; wait=5", None),
        ("", None),
    ] {
        with_poll("a", "", &format!("Prefer: {prefer}\r\n"), |poll| {
            let poll = poll.unwrap();
            let honoured = poll.prefer_applied.then_some(poll.timeout_s);
            assert_eq!(honoured, expected, "{prefer}");
            assert!(expected.is_some() || poll.timeout_s == 50, "{prefer}");
        });
    }
    with_poll("a", "timeout=3", "Prefer: wait=5\r\n", |poll| {
        let poll = poll.unwrap();
        assert_eq!((poll.timeout_s, poll.prefer_applied), (3, false));
    });
}

#[test]
fn whole_numbers_are_digits_that_fit() {
    for (text, expected) in [
        ("0", Some(0)),
        ("007", Some(7)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("99999999999999999999", None),
        ("000000000000000000000", None),
        ("", None),
        ("1 ", None),
        ("١", None),
    ] {
        assert_eq!(whole_number(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn jitter_spreads_polls_that_began_together() {
    let ends: std::collections::BTreeSet<_> = (0..1_000).map(|salt| with_jitter(50, salt)).collect();
    assert_eq!(ends, (45..=50).collect());
    let mut counts = [0; 51];
    (0..60_000).for_each(|salt| counts[with_jitter(50, salt) as usize] += 1);
    assert!(counts[45..].iter().all(|count| (8_000..12_000).contains(count)), "{:?}", &counts[45..]);
}

proptest! {
    #[test]
    fn jitter_never_adds_and_takes_at_most_a_tenth(timeout_s in 0..=600_u64, salt: u32) {
        let cut = with_jitter(timeout_s, salt);
        prop_assert!(cut <= timeout_s);
        prop_assert!((timeout_s - cut) * 10 <= timeout_s);
        prop_assert!(timeout_s >= JITTER_FROM_S || cut == timeout_s);
    }

    #[test]
    fn any_query_is_taken_or_refused(query in "[a-z=&%0-9]{0,60}", segment in "[a-z,%0-9+]{1,30}") {
        with_poll(&segment, &query, "", |poll| {
            if let Ok(poll) = poll {
                assert!(poll.names().all(ChannelName::is_valid));
                assert!(poll.timeout_s <= TIMEOUTS.max_s && poll.limit != Some(0));
            }
        });
    }
}
