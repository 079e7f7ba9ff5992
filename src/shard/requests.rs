//! Requests are let in and executed: each route's command on the message queue.

use super::Shard;
use super::connection::Marks;
use super::output::{JSON, Reply};
use super::team::{ChannelChange, Form, Publishing, Question};
use crate::channel::message::Publication;
use crate::channel::queue::{ChannelInfo, Lookup};
use crate::error::{Refusal, Refused};
use crate::ids::ChannelName;
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_MESSAGES_MAX, CHANNEL_PAGE_MAX};
use crate::metrics;
use crate::session::publisher;
use crate::session::route::{Door, Route};
use crate::session::subscriber::whole_number;
use crate::time::Now;
use crate::wire::http::request::{Framing, Method, RequestHead};
use crate::wire::http::target::{Query, decode_once};

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const NDJSON: &str = "application/x-ndjson";
/// What `OPTIONS *` says: every method that some resource here answers.
const ALLOW_ALL: &str = "GET, HEAD, POST, DELETE, OPTIONS";
/// Browsers ask again after this many seconds, as few of them accept more.
const PREFLIGHT_MAX_AGE_S: &str = "7200";

impl Shard {
    /// Whether a request may have its body read: the path, the method, the credentials,
    /// the body's size, and our memory.
    pub(super) fn admit<'a>(&self, index: u32, head: &RequestHead<'a>) -> Result<Route<'a>, Refused> {
        let door = self.slot(index).door;
        let route = self.route(door, head.path).ok_or_else(|| not_found(door, head.path))?;
        if head.method != Method::Options {
            route.admits(head.method)?;
            if door == Door::Publisher && !route.is_health() {
                self.keys.admit_publisher(head)?;
            }
        }
        let body_len = match head.framing {
            Framing::None | Framing::Length(0) => return Ok(route),
            Framing::Length(len) => usize::try_from(len).unwrap_or(usize::MAX),
            Framing::Chunked => 0,
        };
        if !route.takes_body(head.method) {
            return Err(Refusal::BodyUnexpected.into());
        }
        if body_len > self.settings.body_bytes_max {
            return Err(Refusal::BodyTooLarge.into());
        }
        Ok(route)
    }

    /// Executes a complete request.
    pub(super) fn execute(&mut self, index: u32, head: &RequestHead, body: &[u8], now: Now) {
        self.counters.requests += 1;
        if head.path == "*" {
            return self.reply_empty(index, &[("Allow", ALLOW_ALL)], now);
        }
        let result = match self.admit(index, head) {
            Ok(route) if head.method == Method::Options => {
                self.reply_options(index, route, head, now);
                Ok(())
            }
            Ok(route) if route.is_for_the_hub() && self.follower().is_some() => {
                self.send_errand(index, head, body)
            }
            Ok(route) => self.execute_route(index, route, head, body, now),
            Err(refused) => Err(refused),
        };
        if let Err(refused) = result {
            self.refuse_route(index, head, &refused, now);
        }
    }

    pub(super) fn execute_route(
        &mut self,
        index: u32,
        route: Route,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        if !self.is_ready() && route.needs_history() {
            return Err(Refused::because(
                Refusal::Overloaded,
                "This node has not caught up with the others.",
            ));
        }
        if route.is_for_the_hub() && route != Route::Cluster {
            self.keep_up()?;
        }
        match route {
            Route::Subscribe(channels) => self.execute_poll(index, channels, head, now),
            Route::Publish(channels) => self.execute_publish(index, channels, head, body, now),
            Route::PublishMany => self.execute_batch(index, head, body, now),
            Route::Channels if head.method == Method::Post => self.execute_create(index, head, body, now),
            Route::Channels => self.execute_list(index, head, now),
            Route::Channel(name) if head.method == Method::Delete => self.execute_close(index, name, now),
            Route::Channel(name) => self.execute_info(index, name, now),
            Route::Renew(name) => self.execute_renew(index, name, head, body, now),
            Route::Live => self.reply_text(index, 200, "alive\n", now),
            Route::Ready => self.reply_while_serving(index, 503, "ready\n", now),
            Route::Health => self.reply_while_serving(index, 404, "healthy\n", now),
            Route::Metrics => self.ask_for_figures(index, Form::Prometheus, now),
            Route::Cluster => {
                let page = self.cluster_page().ok_or_else(|| {
                    Refused::because(Refusal::NotFound, "This node runs by itself (no --cluster-listen).")
                })?;
                self.reply_body(index, 200, JSON, page.as_bytes(), now);
                Ok(())
            }
            Route::Stats => self.ask_for_figures(index, Form::Json, now),
            Route::Call => self.execute_call(index, head, now),
            Route::Usecases => self.execute_usecases(index, now),
            Route::Usecase(name) => self.execute_usecase(index, name, head, body, now),
            Route::Scheduler => self.execute_scheduler(index, head, body, now),
        }
    }

    /// What lives at a path: what always does, or a use case.
    fn route<'a>(&self, door: Door, path: &'a str) -> Option<Route<'a>> {
        let is_call = || door != Door::Publisher && self.is_call(path);
        Route::find(door, path).or_else(|| is_call().then_some(Route::Call))
    }

    fn ask_for_figures(&mut self, index: u32, form: Form, now: Now) -> Result<(), Refused> {
        let figures = Box::new((self.counters.clone(), self.gauges(now)));
        self.reply_when_told(index, Question::Figures(form, figures), now);
        Ok(())
    }

    /// Replies with what all shards have told; tells whether it did.
    pub(super) fn reply_asked(&mut self, index: u32, question: Question, now: Now) -> bool {
        let text = match question {
            Question::Figures(Form::Prometheus, figures) => {
                let text = metrics::prometheus(&figures.0, &figures.1);
                self.reply_body(index, 200, PROMETHEUS, text.as_bytes(), now);
                return true;
            }
            Question::Figures(Form::Json, figures) => {
                let origin = self.origin().to_string();
                metrics::json(env!("CARGO_PKG_VERSION"), &origin, &figures.0, &figures.1)
            }
            Question::Channel(_, Some(info)) => describe(&info) + "\n",
            Question::Channel(_, None) => {
                self.refuse(index, &Refusal::ChannelUnknown.into(), now);
                return true;
            }
            Question::Change(name, change, known) => {
                let there = if known { self.queue.open(&name, now.tick).map(drop) } else { Ok(()) };
                let result = there.and_then(|()| self.change_channel(index, &name, change, now));
                return result.unwrap_or_else(|refused| {
                    self.refuse(index, &refused, now);
                    true
                });
            }
            Question::Channels(found, next) => {
                let rows: Vec<String> = found.iter().map(describe).collect();
                let next = next.map_or(String::new(), |next| format!(",\"next\":{next}"));
                format!("{{\"channels\":[{}]{next}}}\n", rows.join(","))
            }
        };
        self.reply_body(index, 200, JSON, text.as_bytes(), now);
        true
    }

    /// Refuses a request that was understood; a wrong method is told the right ones.
    pub(super) fn refuse_route(&mut self, index: u32, head: &RequestHead, refused: &Refused, now: Now) {
        match self.route(self.slot(index).door, head.path) {
            Some(route) if refused.reason == Refusal::MethodNotAllowed => {
                self.refuse_with(index, refused, &[("Allow", route.allow())], now);
            }
            _ => self.refuse(index, refused, now),
        }
    }
}

// -- Publishing --------------------------------------------------------------------

impl Shard {
    fn execute_publish(
        &mut self,
        index: u32,
        channels: &str,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        let holders = self.holders_for(publisher::parse_acknowledge(head)?)?;
        let publication = publisher::parse_publication(channels, head, body)?;
        self.make_room(publication.bytes())?;
        let mut receipt = self.queue.publish(publication, now)?;
        self.count_publication(receipt.duplicate);
        self.want_acks(holders);
        let deliveries = self.counters.deliveries;
        self.deliver(now);
        // Not all who wait there are woken: some wait for another time.
        receipt.subscribers = (self.counters.deliveries - deliveries) as usize;
        self.reply_when_delivered(index, Publishing::One(receipt), holders, now);
        Ok(())
    }

    /// Replies to a publication that all shards have delivered, once enough nodes have it.
    /// Tells whether it did.
    pub(super) fn reply_published(
        &mut self,
        index: u32,
        publishing: &Publishing,
        holders: usize,
        now: Now,
    ) -> bool {
        let mut text = std::mem::take(&mut self.body);
        text.clear();
        let done = match publishing {
            Publishing::One(receipt) => {
                publisher::write_receipt(receipt, &mut text);
                text.push(b'\n');
                self.reply_when_held(index, std::iter::once(receipt.id), holders, (201, JSON, &text), now)
            }
            Publishing::Many(form, results) => {
                publisher::write_results(*form, results, &mut text);
                let media_type = match form {
                    publisher::BatchForm::Lines => NDJSON,
                    publisher::BatchForm::Array => JSON,
                };
                let ids = results.iter().flatten().map(|receipt| receipt.id);
                self.reply_when_held(index, ids, holders, (200, media_type, &text), now)
            }
            Publishing::Channel(status, info) => {
                self.reply_expiry(index, *status, info, now);
                true
            }
            Publishing::Closed => {
                self.reply_empty(index, &[], now);
                true
            }
        };
        text.shrink_to(ANSWER_BYTES_MAX / 4);
        self.body = text;
        done
    }

    /// Refuses what would put other shards further behind than they may be.
    fn keep_up(&mut self) -> Result<(), Refused> {
        match self.hub() {
            Some(hub) if hub.is_congested() => Err(Refusal::Overloaded.into()),
            _ => Ok(()),
        }
    }

    fn execute_batch(
        &mut self,
        index: u32,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        let holders = self.holders_for(publisher::parse_acknowledge(head)?)?;
        let (form, items) = publisher::parse_batch(head, body)?;
        self.make_room(items.iter().flatten().map(Publication::bytes).sum())?;
        let mut results = Vec::with_capacity(items.len());
        let together = self.settings.bounds.channel_messages_max.min(ANSWER_MESSAGES_MAX);
        for (at, item) in items.into_iter().enumerate() {
            self.want_acks(holders);
            if at > 0 && at % together == 0 {
                // Before a channel drops what those who wait on it have not been given.
                self.deliver(now);
            }
            let result = item.and_then(|publication| self.queue.publish(publication, now));
            if let Ok(receipt) = &result {
                self.count_publication(receipt.duplicate);
            }
            results.push(result);
        }
        // Delivered together: a poll that waits gets all that the batch has for it.
        self.deliver(now);
        self.reply_when_delivered(index, Publishing::Many(form, results), holders, now);
        Ok(())
    }

    fn count_publication(&mut self, duplicate: bool) {
        if duplicate {
            self.counters.publications_repeated += 1;
        } else {
            self.counters.publications += 1;
        }
    }

    /// Makes room for what is to be kept, or refuses it.
    pub(super) fn make_room(&mut self, bytes: usize) -> Result<(), Refused> {
        self.relieve(bytes);
        if self.has_room(bytes) { Ok(()) } else { Err(Refusal::Overloaded.into()) }
    }
}

/// Nothing at this path; whoever stands at the wrong door is told where the right one is.
fn not_found(door: Door, path: &str) -> Refused {
    match door {
        Door::Public if Route::find(Door::Publisher, path).is_some() => Refused::because(
            Refusal::NotFound,
            "This belongs to the publishers' listener (--publish-listen, by default 127.0.0.1:8081).",
        ),
        Door::Publisher if Route::find(Door::Public, path).is_some() => Refused::because(
            Refusal::NotFound,
            "This belongs to the public listener (--listen, by default port 8080).",
        ),
        _ => Refusal::NotFound.into(),
    }
}

// -- Channels ----------------------------------------------------------------------

impl Shard {
    fn execute_create(
        &mut self,
        index: u32,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        let request = publisher::parse_channel_request(head, body)?;
        self.make_room(body.len())?;
        let (info, fresh) = self.queue.create(request.name, request.ttl_ms, now)?;
        self.deliver(now);
        let status = if fresh { 201 } else { 200 };
        self.reply_when_delivered(index, Publishing::Channel(status, info), 0, now);
        Ok(())
    }

    fn execute_renew(
        &mut self,
        index: u32,
        segment: &str,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        let name = decode_name(segment)?;
        let request = publisher::parse_channel_request(head, body)?;
        if request.name.is_some() {
            return Err(Refused::because(Refusal::JsonShape, "Only \"ttl\" can be changed."));
        }
        self.execute_change(index, name, ChannelChange::Renew(request.ttl_ms), now)
    }

    fn execute_close(&mut self, index: u32, segment: &str, now: Now) -> Result<(), Refused> {
        self.execute_change(index, decode_name(segment)?, ChannelChange::Close, now)
    }

    /// Closes or renews a channel. One that nobody has published to is known only where somebody waits.
    fn execute_change(
        &mut self,
        index: u32,
        name: ChannelName,
        change: ChannelChange,
        now: Now,
    ) -> Result<(), Refused> {
        if self.hub().is_some() && self.queue.find(name.as_str()) == Lookup::Unknown {
            self.reply_when_told(index, Question::Change(name, change, false), now);
            return Ok(());
        }
        self.change_channel(index, &name, change, now).map(drop)
    }

    /// Tells whether the reply is made.
    fn change_channel(
        &mut self,
        index: u32,
        name: &ChannelName,
        change: ChannelChange,
        now: Now,
    ) -> Result<bool, Refused> {
        let done = match change {
            ChannelChange::Close => self.queue.close(name.as_str(), now).map(|()| Publishing::Closed)?,
            ChannelChange::Renew(ttl_ms) => {
                Publishing::Channel(200, self.queue.renew(name.as_str(), ttl_ms, now)?)
            }
        };
        self.deliver(now);
        Ok(self.reply_when_delivered(index, done, 0, now))
    }

    fn execute_info(&mut self, index: u32, segment: &str, now: Now) -> Result<(), Refused> {
        let name = decode_name(segment)?;
        let info = match self.queue.find(name.as_str()) {
            Lookup::Open(ix) => self.queue.info(ix, now),
            // Someone may wait there, at another shard.
            Lookup::Unknown => None,
            Lookup::Closed => return Err(Refusal::ChannelClosed.into()),
        };
        self.reply_when_told(index, Question::Channel(name, info), now);
        Ok(())
    }

    /// `GET /channels?limit=N&from=P`: a page, and where the next begins.
    fn execute_list(&mut self, index: u32, head: &RequestHead, now: Now) -> Result<(), Refused> {
        let (mut from, mut limit) = (0, 100);
        for (name, value) in Query::new(head.query) {
            let number = whole_number(value.as_bytes()).and_then(|number| usize::try_from(number).ok());
            match (name, number) {
                ("from", Some(number)) => from = number,
                ("limit", Some(number @ 1..)) => limit = number.min(CHANNEL_PAGE_MAX),
                ("from" | "limit", _) => {
                    let what = format!("\"{name}\" must be a whole number.");
                    return Err(Refused::because(Refusal::NumberInvalid, what));
                }
                _ => {}
            }
        }
        let (found, next) = self.queue.list(from, limit, now);
        self.reply_when_told(index, Question::Channels(found, next), now);
        Ok(())
    }

    fn reply_expiry(&mut self, index: u32, status: u16, info: &ChannelInfo, now: Now) {
        let text = format!("{{\"channel\":\"{}\",\"expires\":{}}}\n", info.name, info.expires.0);
        let location = format!("/channels/{}", info.name);
        let extra: &[(&'static str, &str)] = if status == 201 { &[("Location", &location)] } else { &[] };
        self.reply(index, Reply { status, content_type: Some(JSON), body: text.as_bytes(), extra }, now);
    }
}

fn decode_name(segment: &str) -> Result<ChannelName, Refused> {
    let name = decode_once(segment).map_err(|_| Refusal::ChannelInvalid)?;
    name.parse().map_err(|_| Refusal::ChannelInvalid.into())
}

fn describe(info: &ChannelInfo) -> String {
    let ChannelInfo { name, subscribers, messages, bytes, expires, created } = info;
    let expires = expires.0;
    format!(
        "{{\"channel\":\"{name}\",\"subscribers\":{subscribers},\"messages\":{messages},\
         \"bytes\":{bytes},\"expires\":{expires},\"created\":{created}}}"
    )
}

// -- Replies -----------------------------------------------------------------------

impl Shard {
    pub(super) fn reply_body(
        &mut self,
        index: u32,
        status: u16,
        media_type: &'static str,
        body: &[u8],
        now: Now,
    ) {
        self.reply(index, Reply { status, content_type: Some(media_type), body, extra: &[] }, now);
    }

    fn reply_text(&mut self, index: u32, status: u16, text: &'static str, now: Now) -> Result<(), Refused> {
        self.reply_body(index, status, TEXT, text.as_bytes(), now);
        Ok(())
    }

    /// 200 while this node serves; 503 before it has caught up; `otherwise` once it is ending.
    fn reply_while_serving(
        &mut self,
        index: u32,
        otherwise: u16,
        text: &'static str,
        now: Now,
    ) -> Result<(), Refused> {
        if self.is_draining() {
            self.reply_text(index, otherwise, "draining\n", now)
        } else if !self.is_ready() {
            self.reply_text(index, 503, "catching up\n", now)
        } else {
            self.reply_text(index, 200, text, now)
        }
    }

    pub(super) fn reply_empty(&mut self, index: u32, extra: &[(&'static str, &str)], now: Now) {
        self.reply(index, Reply { status: 204, content_type: None, body: &[], extra }, now);
    }

    /// OPTIONS: what may be done here; to a browser's preflight also from where.
    fn reply_options(&mut self, index: u32, route: Route, head: &RequestHead, now: Now) {
        let allow = ("Allow", route.allow());
        let slot = self.slot_mut(index);
        slot.marks.clear(Marks::HEAD_ONLY);
        if slot.cors == 0 || head.preflight_method.is_none() {
            return self.reply_empty(index, &[allow], now);
        }
        let extra = [
            allow,
            ("Access-Control-Allow-Methods", "GET"),
            ("Access-Control-Allow-Headers", "Authorization, Prefer"),
            ("Access-Control-Max-Age", PREFLIGHT_MAX_AGE_S),
        ];
        self.reply_empty(index, &extra, now);
    }
}
