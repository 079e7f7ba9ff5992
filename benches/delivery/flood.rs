//! Publishing when nobody listens: pipelined, on a few keep-alive connections.

use std::time::Instant;

use crate::Fallible;
use crate::bare::Fanout;
use crate::child::{Server, Stage};
use crate::http;
use crate::options::Plan;
use crate::publisher::Publisher;
use crate::report::{Report, Target, whole};
use crate::scenarios::{Run, pairs, start};
use crate::shape::Template;
use crate::sys::{Epoll, NO_EVENT};

/// So many connections…
const PUBLISHERS: usize = 4;
/// …each with so many requests in flight, each to a channel of its own.
const WINDOW: usize = 64;

/// Publications per second, of server CPU and by the clock.
pub fn publish(stage: &Stage, plan: &Plan, report: &mut Report) -> Fallible<()> {
    let pairs =
        pairs(plan, "publish", |side, template| flood(&start(stage, side, Fanout::Nobody, template)?, plan))?;
    let name = "publications without subscribers per second of server CPU";
    report.add(pairs.figure(0, name.to_owned(), Target::AtLeast(100_000.0), whole));
    let name = "publications without subscribers per second by the clock";
    report.add(pairs.figure(1, name.to_owned(), Target::None, whole));
    Ok(())
}

fn flood(server: &Server, plan: &Plan) -> Fallible<Run> {
    let epoll = Epoll::new()?;
    let mut publishers = Vec::new();
    let mut windows = Vec::new();
    for number in 0..PUBLISHERS {
        publishers.push(Publisher::connect(server.publish, &epoll, number as u64)?);
        windows.push(window(number));
    }
    server.settle()?;
    let (cpu_before, begin) = (server.cpu()?, Instant::now());
    let answered = pump(&epoll, &mut publishers, &windows, plan)? as f64;
    let seconds = begin.elapsed().as_secs_f64();
    server.settle()?;
    let cpu_seconds = server.cpu()?.since(cpu_before).ran_ns as f64 / 1e9;
    let template = Template {
        answer: Vec::new(),
        created: publishers[0].last.clone(),
        publication_bytes: windows[0].len() / WINDOW,
        poll_bytes: 0,
    };
    Ok((vec![answered / cpu_seconds, answered / seconds], template))
}

/// The requests that one connection repeats.
fn window(number: usize) -> Vec<u8> {
    let channels = (number * WINDOW..).take(WINDOW);
    channels.flat_map(|channel| http::publication(channel, &http::message(0, channel))).collect()
}

/// Keeps every connection's window full until there were enough; returns how many.
fn pump(epoll: &Epoll, publishers: &mut [Publisher], windows: &[Vec<u8>], plan: &Plan) -> Fallible<u64> {
    let mut events = [NO_EVENT; PUBLISHERS];
    let end = Instant::now() + plan.publish_time_max;
    let mut published = 0;
    loop {
        let count = epoll.wait(&mut events, 1_000)?;
        if count == 0 {
            return Err("publications without an answer for a second".into());
        }
        for event in &events[..count] {
            let number = event.u64 as usize;
            let publisher = &mut publishers[number];
            publisher.receive()?;
            let more = published < plan.publications_max && Instant::now() < end;
            if publisher.in_flight == 0 && more {
                publisher.queue(&windows[number], WINDOW as u64);
                published += WINDOW as u64;
            }
            publisher.flush()?;
        }
        if published > 0 && publishers.iter().all(|publisher| publisher.in_flight == 0) {
            return Ok(published);
        }
    }
}
