//! A publisher at any shard reaches who waits at any shard.

use super::super::harness::request;
use super::crew::Crew;
use super::*;

/// Polls on `a` at three shards, some of which want another time.
#[test]
fn whoever_waits_anywhere_is_woken_and_counted() {
    for shards in [2, 4] {
        for publisher in 0..shards {
            let mut crew = Crew::new(shards);
            let polls: Vec<_> = (0..shards).flat_map(|shard| vec![shard; shard + 1]).collect();
            let polls: Vec<_> = polls.into_iter().map(|shard| crew.poll(shard, "a")).collect();
            let wide = crew.poll(shards - 1, "a,b");
            let later = crew.poll(1, &format!("a?since={}", u64::MAX / 2));
            let other = crew.poll(1, "b");
            let count = polls.len() as u64 + 1;
            assert_eq!(crew.publish(publisher, "a", "hello"), count, "{shards} {publisher}");
            for poll in polls.into_iter().chain([wide]) {
                assert_eq!(crew.take_answer(poll).texts(), ["hello"]);
            }
            crew.check_held(later);
            crew.check_held(other);
            crew.finish();
        }
    }
}

#[test]
fn a_publisher_is_answered_once_every_shard_has_delivered() {
    for publisher in 0..3 {
        let mut crew = Crew::new(3);
        let poll = crew.poll(2, "a");
        crew.stuck.insert(2);
        let at = crew.start_publishing(publisher.min(1), "a", "hello");
        crew.settle();
        assert!(crew.take_bytes(at).is_empty(), "a shard has not delivered");
        crew.check_held(poll);
        crew.stuck.clear();
        crew.settle();
        assert_eq!(crew.take(at).json()["subscribers"], 1);
        for shard in 0..3 {
            assert_eq!(crew.get(shard, "/sub/a?timeout=0").answer().texts(), ["hello"]);
        }
        assert_eq!(crew.take_answer(poll).texts(), ["hello"]);
        crew.finish();
    }
}

#[test]
fn a_repetition_is_answered_though_nothing_is_to_be_delivered() {
    let mut crew = Crew::new(3);
    let again = request("POST /pub/a", "Idempotency-Key: k\r\n", "once");
    let mut answers = Vec::new();
    for shard in [1, 0, 2, 1] {
        let (bytes, _) = crew.raw(shard, Door::Publisher, &again);
        let (response, _) =
            super::super::response::Response::parse(&bytes, super::super::response::Body::Present)
                .expect("an answer");
        answers.push(response.json());
    }
    assert_eq!(answers[0]["duplicate"], serde_json::Value::Null);
    for answer in &answers[1..] {
        assert_eq!((&answer["duplicate"], &answer["id"]), (&true.into(), &answers[0]["id"]));
    }
    crew.finish();
}

/// A repetition is told of only when what it repeats is everywhere.
#[test]
fn a_repetition_waits_for_what_it_repeats() {
    let mut crew = Crew::new(2);
    crew.stuck.insert(1);
    let bytes = request("POST /pub/a", "Idempotency-Key: k\r\n", "once");
    let first = crew.connect(0, Door::Publisher);
    crew.send(first, &bytes);
    let second = crew.connect(0, Door::Publisher);
    crew.send(second, &bytes);
    assert!(crew.take_bytes(first).is_empty() && crew.take_bytes(second).is_empty());
    crew.stuck.clear();
    crew.settle();
    assert_eq!((crew.take(first).status, crew.take(second).status), (201, 201));
    crew.finish();
}

#[test]
fn a_batch_is_delivered_together_everywhere_and_counted_by_message() {
    for publisher in 0..3 {
        let mut crew = Crew::new(3);
        let polls: Vec<_> = (0..3).map(|shard| crew.poll(shard, "a")).collect();
        let other = crew.poll(2, "b");
        let body = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b\",\"data\":2}\nnonsense\n{\"channel\":\"a\",\"data\":3}\n";
        let response = crew.publisher(publisher, "POST /pub", body);
        assert_eq!(response.status, 200, "{response:?}");
        let rows: Vec<serde_json::Value> =
            response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let counts: Vec<_> = rows.iter().map(|row| row["subscribers"].as_u64()).collect();
        assert_eq!(counts, [Some(3), Some(1), None, Some(3)]);
        for poll in polls {
            let answer = crew.take_answer(poll);
            let data: Vec<_> = answer.messages.iter().map(|message| message["data"].clone()).collect();
            assert_eq!(data, [1, 3]);
        }
        assert_eq!(crew.take_answer(other).messages[0]["data"], 2);
        crew.finish();
    }
}

#[test]
fn a_batch_of_which_nothing_is_taken_is_answered() {
    let mut crew = Crew::new(2);
    for shard in 0..2 {
        assert_eq!(crew.publisher(shard, "POST /pub", "nonsense\n").status, 200);
    }
    crew.finish();
}

/// While one letter is under way others gather, and come in order.
#[test]
fn what_gathers_while_a_letter_is_under_way_comes_in_order() {
    let mut crew = Crew::new(3);
    let mut waiting = Vec::new();
    for n in 0..20 {
        waiting.push(crew.start_publishing(1, "a", &n.to_string()));
        if n % 7 == 0 {
            crew.carry(1, 0);
        }
    }
    crew.settle();
    let ids: Vec<_> = waiting
        .iter()
        .map(|at| crew.take(*at).json()["id"].as_str().unwrap().rsplit('-').next().unwrap().to_string())
        .collect();
    let expected: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
    assert_eq!(ids, expected);
    let texts: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for shard in 0..3 {
        assert_eq!(crew.get(shard, "/sub/a?timeout=0").answer().texts(), texts);
    }
    crew.finish();
}

#[test]
fn the_client_that_leaves_while_its_errand_is_out_harms_nobody() {
    for end in [true, false] {
        let mut crew = Crew::new(2);
        let poll = crew.poll(0, "a");
        let at = crew.start_publishing(1, "a", "hello");
        crew.carry(1, 0);
        if end {
            crew.worlds[1].end(at.1);
        } else {
            crew.worlds[1].reset(at.1);
        }
        // Its slot is another's by then.
        let next = crew.connect(1, Door::Publisher);
        crew.settle();
        assert_eq!(crew.take_answer(poll).texts(), ["hello"]);
        assert!(crew.take_bytes(next).is_empty());
        assert_eq!(crew.take_bytes(at).is_empty(), !end, "who has only ended its input is answered");
        crew.send(next, request("GET /livez", "", ""));
        assert_eq!(crew.take(next).text(), "alive\n");
        crew.finish();
    }
}

#[test]
fn a_hub_publisher_that_leaves_while_it_waits_harms_nobody() {
    let mut crew = Crew::new(2);
    crew.stuck.insert(1);
    let at = crew.start_publishing(0, "a", "hello");
    crew.worlds[0].reset(at.1);
    let next = crew.connect(0, Door::Publisher);
    crew.stuck.clear();
    crew.settle();
    assert!(crew.take_bytes(next).is_empty());
    crew.finish();
}
