//! What a controller and an agent tell each other.
//!
//! ```text
//! agent                                      controller
//!    ── STATUS + all components ──▶                     when the link stands, when something changed, every 2 s
//!    ◀── START name, group, join, slots ──             is to run: as this, from now on
//!    ◀── STOP name ──, DRAIN name ──                   is not to run
//!    ◀── STOP name, forget ──                          there is none of that name
//!    ◀── PING ──                                       every 2 s
//! ```
//!
//! Orders are about what is to be, not about what is to be done: one that comes twice does nothing more. None of them
//! can name a program, a file or a flag.

use serde_json::{Value as Json, json};

use super::meta::{Members, NotUnderstood};
use super::{Kind, encode};
use crate::ids::NodeId;
use crate::limits::{COMPONENTS_MAX, FAIL_REASON_BYTES_MAX, JOIN_MAX, NODE_ID_BYTES_MAX, WORKER_SLOTS_MAX};
use crate::wire::frame::message::cut;

/// A back-end that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The component's name.
    pub name: String,
    /// The group that it is of.
    pub group: String,
    /// Front-ends that it joins, host:port.
    pub join: Vec<String>,
    /// Sub-tasks that it runs at once; 0 is as many as there are processors.
    pub slots: u32,
}

impl Start {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Start, NotUnderstood> {
        let members = Members::parse(meta)?;
        let slots = members.number("slots")?;
        if slots > WORKER_SLOTS_MAX {
            return Err(NotUnderstood("slots"));
        }
        let join = members.texts("join")?;
        if !(1..=JOIN_MAX).contains(&join.len()) || !join.iter().all(|address| is_address(address)) {
            return Err(NotUnderstood("join"));
        }
        let (name, group) = (name(&members, "name")?, name(&members, "group")?);
        Ok(Start { name, group, join, slots: slots as u32 })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Start { name, group, join, slots } = self;
        let meta = json!({"name": name, "group": group, "join": join, "slots": slots});
        encode(Kind::START, 0, meta.to_string().as_bytes(), &[], out);
    }
}

/// Appends a STOP or a DRAIN; `forget` if there is to be no such component at all.
pub fn write_end(kind: Kind, name: &str, forget: bool, out: &mut Vec<u8>) {
    let meta = json!({"name": name, "forget": forget});
    encode(kind, 0, meta.to_string().as_bytes(), &[], out);
}

/// Reads one.
pub fn parse_end(meta: &[u8]) -> Result<(String, bool), NotUnderstood> {
    let members = Members::parse(meta)?;
    Ok((name(&members, "name")?, members.flag("forget")?))
}

/// What a component does, as others are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The group that it is of.
    pub group: String,
    /// `running`, `waiting`, `failing`, `ending`, `stopped` or `drained`.
    pub state: String,
    /// Its process; 0 for none.
    pub pid: u32,
    /// When that was started, in Unix milliseconds.
    pub since_ms: u64,
    /// How often it ended by itself.
    pub restarts: u64,
    /// How it ended the last time; empty if it never did.
    pub last_end: String,
}

impl Status {
    fn to_json(&self) -> Json {
        let Status { name, group, state, pid, since_ms, restarts, last_end } = self;
        json!({"name": name, "group": group, "state": state, "pid": pid, "since_ms": since_ms,
               "restarts": restarts, "last_end": last_end})
    }

    fn parse(json: &Json) -> Option<Status> {
        let text = |name: &str| json.get(name)?.as_str();
        let number = |name: &str| json.get(name)?.as_u64();
        let (name, group, state) = (text("name")?, text("group")?, text("state")?);
        let fit = |text: &str| text.parse::<NodeId>().is_ok();
        let known = ["running", "waiting", "failing", "ending", "stopped", "drained"].contains(&state);
        (fit(name) && fit(group) && known).then_some(Status {
            name: name.to_owned(),
            group: group.to_owned(),
            state: state.to_owned(),
            pid: number("pid")?.try_into().ok()?,
            since_ms: number("since_ms")?,
            restarts: number("restarts")?,
            last_end: cut(text("last_end")?, FAIL_REASON_BYTES_MAX).to_owned(),
        })
    }
}

/// Appends a STATUS; the body is a JSON array.
pub fn write_status(all: &[Status], out: &mut Vec<u8>) {
    let body = Json::Array(all.iter().map(Status::to_json).collect());
    encode(Kind::STATUS, 0, b"{}", body.to_string().as_bytes(), out);
}

/// Reads one.
pub fn parse_status(body: &[u8]) -> Result<Vec<Status>, NotUnderstood> {
    let all: Vec<Json> = serde_json::from_slice(body).map_err(|_| NotUnderstood("components"))?;
    if all.len() > COMPONENTS_MAX {
        return Err(NotUnderstood("components"));
    }
    all.iter().map(Status::parse).collect::<Option<_>>().ok_or(NotUnderstood("components"))
}

fn name(members: &Members, which: &'static str) -> Result<String, NotUnderstood> {
    let name = members.text(which)?;
    // As the process is called at its front-ends.
    if name.parse::<NodeId>().is_ok() { Ok(name) } else { Err(NotUnderstood(which)) }
}

/// Nothing that could be taken for anything but host:port.
fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:[]-_%".contains(&byte);
    text.len() <= 256 + NODE_ID_BYTES_MAX
        && !text.starts_with('-')
        && text.bytes().all(plain)
        && text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let start = Start { name: "w.1".into(), group: "w".into(), join: vec!["[::1]:80".into()], slots: 3 };
        let mut out = Vec::new();
        start.write(&mut out);
        let (frame, _) = decode(&out, 1 << 20).unwrap().unwrap();
        assert_eq!((frame.kind, Start::parse(frame.meta)), (Kind::START, Ok(start)));
        let mut out = Vec::new();
        write_end(Kind::DRAIN, "w.1", true, &mut out);
        let (frame, _) = decode(&out, 1 << 20).unwrap().unwrap();
        assert_eq!((frame.kind, parse_end(frame.meta)), (Kind::DRAIN, Ok(("w.1".to_owned(), true))));
        let status = Status {
            name: "w.1".into(),
            group: "w".into(),
            state: "failing".into(),
            pid: 4,
            since_ms: 5,
            restarts: 6,
            last_end: "exit status: 1".into(),
        };
        let mut out = Vec::new();
        write_status(std::slice::from_ref(&status), &mut out);
        let (frame, _) = decode(&out, 1 << 20).unwrap().unwrap();
        assert_eq!((frame.kind, parse_status(frame.body)), (Kind::STATUS, Ok(vec![status])));
    }

    #[test]
    fn what_nobody_may_order() {
        let meta = |name: &str, join: &str, slots: u64| {
            json!({"name": name, "group": "w", "join": [join], "slots": slots}).to_string()
        };
        let parse = |meta: String| Start::parse(meta.as_bytes());
        assert!(parse(meta("w.1", "10.0.0.1:80", 1)).is_ok());
        for (name, join, slots, what) in [
            ("w 1", "a:1", 1, "name"),
            ("", "a:1", 1, "name"),
            ("w/../x", "a:1", 1, "name"),
            ("w", "--programs=/bin:1", 1, "join"),
            ("w", "a", 1, "join"),
            ("w", "a:65536", 1, "join"),
            ("w", "a b:1", 1, "join"),
            ("w", "a:1", 1_000, "slots"),
        ] {
            assert_eq!(parse(meta(name, join, slots)), Err(NotUnderstood(what)), "{name} {join} {slots}");
        }
        let many = json!({"name": "w", "group": "w", "join": vec!["a:1"; JOIN_MAX + 1], "slots": 1});
        assert_eq!(parse(many.to_string()), Err(NotUnderstood("join")));
    }
}
