//! The shard's side of scatter: a request for a use case becomes a job, whose results are streamed to its client.
//!
//! A piece is asked for when the one before it was written: what the client does not take stays at the back-ends. A shard
//! without a front-end has none of this.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::Shard;
use super::connection::{Marks, State};
use super::output::JSON;
use crate::error::{Refusal, Refused};
use crate::ids::LinkId;
use crate::limits::CHUNK_BYTES_MAX;
use crate::scatter::frontend::{Failure, Frontend, JobId, Outcome, Pulled, Setup, Stored};
use crate::scatter::scheduler::Policy;
use crate::time::{Now, Tick};
use crate::wire::http::request::{Method, RequestHead, Version};
use crate::wire::http::response::Head;
use crate::wire::http::target::{Query, decode_query_value};

/// What a failed request is refused with.
fn refused(failure: Failure) -> Refused {
    let reason = match failure.status {
        400 => Refusal::QueryInvalid,
        404 => Refusal::NotFound,
        409 => Refusal::UsecaseConflict,
        502 => Refusal::BackendFailed,
        504 => Refusal::BackendSlow,
        _ => Refusal::BackendsBusy,
    };
    Refused::because(reason, failure.reason)
}

impl Shard {
    /// Makes this node a front-end.
    pub fn become_frontend(&mut self, setup: Setup, now: Now) {
        self.scatter = Some(Box::new(Frontend::new(setup, now)));
    }

    /// Takes a use case that the operator has written down.
    pub fn load_usecase(&mut self, json: &Json, now: Now) -> Result<(), String> {
        let Some(frontend) = &mut self.scatter else { return Ok(()) };
        frontend.load(json, now).map(drop).map_err(|failure| failure.reason)
    }

    /// Whether a use case is called at this path.
    pub(super) fn is_call(&self, path: &str) -> bool {
        self.scatter.as_ref().is_some_and(|frontend| frontend.has_url(path))
    }

    pub(super) fn scatter_bytes(&self) -> usize {
        self.scatter.as_ref().map_or(0, |frontend| frontend.bytes())
    }

    // -- Requests -----------------------------------------------------------------------

    /// Begins the request; its client waits from now on.
    pub(super) fn execute_call(&mut self, index: u32, head: &RequestHead, now: Now) -> Result<(), Refused> {
        self.make_room(CHUNK_BYTES_MAX)?;
        let bad = |_| Refused::from(Refusal::QueryInvalid);
        let mut query: Vec<(Cow<str>, Cow<str>)> = Vec::new();
        for (name, value) in Query::new(head.query) {
            query.push((decode_query_value(name).map_err(bad)?, decode_query_value(value).map_err(bad)?));
        }
        let gzip = head.version == Version::Http11 && accepts_gzip(head.accept_encoding);
        let owner = self.id(index);
        let Some(frontend) = &mut self.scatter else { return Err(Refusal::NotFound.into()) };
        let pairs = query.iter().map(|(name, value)| (&**name, &**value));
        let job = frontend.start(head.path, pairs, gzip, owner, now).map_err(refused)?;
        self.timers.clear(&mut self.connections, index);
        let slot = self.slot_mut(index);
        slot.state = State::Streaming;
        (slot.waits_on, slot.position) = job.parts();
        if head.version != Version::Http11 {
            // The end of the connection is the end of the body.
            slot.marks.set(Marks::CLOSE);
        }
        self.stream_woken(now);
        Ok(())
    }

    fn job_of(&self, index: u32) -> JobId {
        let slot = self.slot(index);
        JobId::of_parts(slot.waits_on, slot.position)
    }

    /// Nobody waits for the request's results any more.
    pub(super) fn cancel_call(&mut self, index: u32) {
        let job = self.job_of(index);
        if let Some(frontend) = &mut self.scatter {
            frontend.cancel(job);
        }
    }

    /// Gives those their next piece whose requests have something, and who have taken all before.
    pub(super) fn stream_woken(&mut self, now: Now) {
        while let Some(id) = self.scatter.as_mut().and_then(|frontend| frontend.poll_woken()) {
            let Some(index) = self.find(id) else { continue };
            let slot = self.slot(index);
            if slot.state == State::Streaming && !slot.marks.has(Marks::BLOCKED) && !self.has_output(index) {
                self.stream_on(index, now);
            }
        }
    }

    /// What was written is taken: the next piece, the end, or what went wrong.
    pub(super) fn stream_on(&mut self, index: u32, now: Now) {
        let job = self.job_of(index);
        let Some(frontend) = &mut self.scatter else { return };
        let begins = frontend.beginning(job);
        match frontend.pull(job, now) {
            Pulled::Nothing => {}
            Pulled::Piece(piece) => {
                self.begin_stream(index, begins, now);
                self.push_piece(index, &piece);
                self.list(index);
            }
            Pulled::Last(piece) => {
                self.begin_stream(index, begins, now);
                self.push_piece(index, &piece);
                if !self.slot(index).marks.has(Marks::HTTP10) {
                    self.out.extend_from_slice(b"0\r\n\r\n");
                }
                self.end_waiting(index, now);
            }
            Pulled::Failed(failure) if begins.is_some() => {
                self.refuse(index, &refused(failure), now);
                self.end_waiting(index, now);
            }
            Pulled::Failed(failure) => {
                log::warn!("a response is broken off: {}", failure.reason);
                // Never a clean end. In HTTP/1.0 only a reset says that the body is not whole.
                if self.slot(index).marks.has(Marks::HTTP10) {
                    self.cut_off(index)
                } else {
                    self.remove(index)
                }
            }
        }
    }

    fn begin_stream(&mut self, index: u32, begins: Option<(String, bool)>, now: Now) {
        self.begin_output(index);
        let Some((media_type, gzip)) = begins else { return };
        self.decide_persistence(index);
        let date = self.date(now.wall);
        let slot = &self.connections[index as usize];
        let mut extra: Vec<(&'static str, &str)> =
            vec![("Content-Type", &media_type), ("Vary", "Accept-Encoding")];
        if gzip {
            extra.push(("Content-Encoding", "gzip"));
        }
        if !slot.marks.has(Marks::HTTP10) {
            extra.push(("Transfer-Encoding", "chunked"));
        }
        let head = Head {
            status: 200,
            content_type: None,
            content_length: None,
            date: &date,
            connection: super::output::persistence(slot.marks),
            cors: super::output::cors(&self.settings.cors_origins, slot.cors),
            extra: &extra,
        };
        head.write(&mut self.out);
    }

    /// Appends a chunk (RFC 9112 §7.1); HTTP/1.0 has none.
    fn push_piece(&mut self, index: u32, piece: &[u8]) {
        if self.slot(index).marks.has(Marks::HTTP10) {
            return self.out.extend_from_slice(piece);
        }
        // An empty chunk would be the last.
        if !piece.is_empty() {
            self.out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            self.out.extend_from_slice(piece);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    // -- Managing -----------------------------------------------------------------------

    pub(super) fn execute_usecase(
        &mut self,
        index: u32,
        name: &str,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        let owner = self.id(index);
        let Some(frontend) = &mut self.scatter else { return Err(no_frontend()) };
        match head.method {
            Method::Put => {
                let json: Json =
                    serde_json::from_slice(body).map_err(|_| Refused::from(Refusal::JsonInvalid))?;
                if json.get("name").and_then(Json::as_str) != Some(name) {
                    let why = format!("\"name\" must be {name:?}, as in the path.");
                    return Err(Refused::because(Refusal::JsonShape, why));
                }
                frontend.put(&json, owner, now).map_err(refused)?;
                // As a publisher waits for other nodes, so this one for back-ends; how long is the front-end's to say.
                self.timers.clear(&mut self.connections, index);
                self.slot_mut(index).state = State::Acking;
                self.answer_outcomes(now);
            }
            Method::Delete if frontend.remove(name) => self.reply_empty(index, &[], now),
            Method::Delete => return Err(unknown(name)),
            _ => {
                let (case, version) = frontend.get(name).ok_or_else(|| unknown(name))?;
                let text = json!({"version": version, "usecase": case.source}).to_string() + "\n";
                self.reply_body(index, 200, JSON, text.as_bytes(), now);
            }
        }
        Ok(())
    }

    /// Tells those who have put a definition what became of it.
    fn answer_outcomes(&mut self, now: Now) {
        while let Some(Outcome { owner, result }) =
            self.scatter.as_mut().and_then(|front| front.poll_outcome())
        {
            let Some(index) = self.find(owner).filter(|index| self.slot(*index).state == State::Acking)
            else {
                continue;
            };
            match result {
                Ok(Stored { name, version, is_new }) => {
                    let text = json!({"name": name, "version": version}).to_string() + "\n";
                    self.reply_body(index, if is_new { 201 } else { 200 }, JSON, text.as_bytes(), now);
                }
                Err(failure) => self.refuse(index, &refused(failure), now),
            }
            self.end_waiting(index, now);
        }
    }

    pub(super) fn execute_usecases(&mut self, index: u32, now: Now) -> Result<(), Refused> {
        let Some(frontend) = &self.scatter else { return Err(no_frontend()) };
        let text = frontend.view().to_string() + "\n";
        self.reply_body(index, 200, JSON, text.as_bytes(), now);
        Ok(())
    }

    /// How back-ends are chosen: told, or changed from the next sub-task on.
    pub(super) fn execute_scheduler(
        &mut self,
        index: u32,
        head: &RequestHead,
        body: &[u8],
        now: Now,
    ) -> Result<(), Refused> {
        let Some(frontend) = &mut self.scatter else { return Err(no_frontend()) };
        if head.method == Method::Put {
            let json: Json = serde_json::from_slice(body).map_err(|_| Refused::from(Refusal::JsonInvalid))?;
            let policy = json.get("scheduler").and_then(Json::as_str).and_then(Policy::parse);
            let names = Policy::ALL.map(|(name, _)| name).join(", ");
            let why = format!("\"scheduler\" must be one of {names}.");
            frontend.set_policy(policy.ok_or(Refused::because(Refusal::JsonShape, why))?);
        }
        let text = json!({"scheduler": frontend.policy().name()}).to_string() + "\n";
        self.reply_body(index, 200, JSON, text.as_bytes(), now);
        Ok(())
    }

    // -- Links to back-ends -------------------------------------------------------------

    /// A back-end was accepted; `None` if there is no room for it.
    pub fn open_backend(&mut self, from: SocketAddr, now: Now) -> Option<LinkId> {
        self.scatter.as_mut()?.accept(from, now)
    }

    /// Bytes of a back-end.
    pub fn handle_backend_input(&mut self, link: LinkId, input: &[u8], now: Now) {
        if let Some(frontend) = &mut self.scatter {
            frontend.handle_input(link, input, now);
            self.tell_clients(now);
        }
    }

    /// Its connection broke or ended.
    pub fn handle_backend_down(&mut self, link: LinkId, now: Now) {
        if let Some(frontend) = &mut self.scatter {
            frontend.handle_down(link, now);
            self.tell_clients(now);
        }
    }

    /// The next link to a back-end that has something to send since it was last asked for.
    pub fn poll_backend_listed(&mut self) -> Option<LinkId> {
        self.scatter.as_mut()?.poll_listed()
    }

    /// What a link to a back-end has to send; empty for nothing.
    pub fn backend_output(&mut self, link: LinkId) -> &[u8] {
        self.scatter.as_mut().map_or(&[], |frontend| frontend.output(link))
    }

    /// So much of it went by.
    pub fn handle_backend_sent(&mut self, link: LinkId, len: usize, now: Now) {
        if let Some(frontend) = &mut self.scatter {
            frontend.handle_sent(link, len, now);
        }
    }

    /// The next link to a back-end whose socket is to be closed.
    pub fn poll_backend_closed(&mut self) -> Option<LinkId> {
        self.scatter.as_mut()?.poll_closed()
    }

    fn tell_clients(&mut self, now: Now) {
        self.answer_outcomes(now);
        self.stream_woken(now);
    }

    pub(super) fn scatter_deadline(&self) -> Option<Tick> {
        self.scatter.as_ref()?.next_deadline()
    }

    pub(super) fn handle_scatter_time(&mut self, now: Now) {
        if let Some(frontend) = &mut self.scatter {
            frontend.handle_time(now);
            self.tell_clients(now);
        }
    }
}

fn no_frontend() -> Refused {
    Refused::because(Refusal::NotFound, "This node has no back-ends (no --worker-listen).")
}

fn unknown(name: &str) -> Refused {
    Refused::because(Refusal::NotFound, format!("There is no use case {name:?}."))
}

/// Whether gzip is among what the client takes (RFC 9110 §12.5.3).
fn accepts_gzip(field: Option<&[u8]>) -> bool {
    let text = field.and_then(|field| std::str::from_utf8(field).ok()).unwrap_or_default();
    text.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = |part: &str| {
            let weight = part.strip_prefix("q=").or(part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
        };
        (coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")) && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use super::accepts_gzip;

    #[test]
    fn codings_that_are_accepted() {
        for (field, expected) in [
            (None, false),
            (Some("gzip"), true),
            (Some("deflate, gzip, br"), true),
            (Some("deflate, br"), false),
            (Some("GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip; q=0.0, br"), false),
            (Some("x-gzip"), true),
            (Some("gzipped"), false),
            (Some(""), false),
        ] {
            assert_eq!(accepts_gzip(field.map(str::as_bytes)), expected, "{field:?}");
        }
    }
}
