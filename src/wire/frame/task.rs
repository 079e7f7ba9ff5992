//! What front-ends and back-ends tell each other: the metas of the frames that carry sub-tasks and their results.
//!
//! ```text
//! back-end                                   front-end
//!    ── REGISTER name, slots, programs, load ──▶        again every few seconds, and when something changed
//!    ◀── PREPARE use case, version, program ──
//!    ── PREPARED ──▶                                   or why not
//!    ◀── RUN run, skip, credit + the handler's line ──
//!    ── DATA records, checksum + bytes ──▶              while there is credit
//!    ◀── CREDIT bytes ──
//!    ── SPAWN + sub-tasks ──▶, PROGRESS ──▶
//!    ── END ──▶ or FAIL ──▶
//!    ◀── CANCEL ──, DROP ──
//!    ◀── DRAINED ──                                     to each REGISTER that says so
//! ```
//!
//! Each is read strictly, but members that are not known are skipped. Numbers that are not there are 0.

use serde_json::{Value as Json, json};

use super::message::cut;
use super::meta::{Members, NotUnderstood};
use super::{Kind, encode};
use crate::limits::{FAIL_REASON_BYTES_MAX, PROGRAMS_MAX, USECASE_NAME_BYTES_MAX, WORKER_SLOTS_MAX};

/// What a back-end is and can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// Sub-tasks it runs at once.
    pub slots: u32,
    /// Programs that it may run, by their names.
    pub programs: Vec<String>,
    /// What its machine has to do, in thousandths.
    pub load: u32,
    /// It takes nothing new: it is about to go.
    pub draining: bool,
}

impl Register {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Register, NotUnderstood> {
        let members = Members::parse(meta)?;
        let programs = members.texts("programs")?;
        if programs.len() > PROGRAMS_MAX || programs.iter().any(|name| name.len() > USECASE_NAME_BYTES_MAX) {
            return Err(NotUnderstood("programs"));
        }
        let slots = small(&members, "slots")?;
        if u64::from(slots) > WORKER_SLOTS_MAX {
            return Err(NotUnderstood("slots"));
        }
        Ok(Register { slots, programs, load: small(&members, "load")?, draining: members.flag("draining")? })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Register { slots, programs, load, draining } = self;
        let meta = json!({"slots": slots, "programs": programs, "load": load, "draining": draining});
        put(Kind::REGISTER, &meta, &[], out);
    }
}

/// A version of a use case, at the back-end.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition {
    /// The use case's name.
    pub usecase: String,
    /// Rises with each replacement.
    pub version: u64,
}

impl Edition {
    fn of(members: &Members) -> Result<Edition, NotUnderstood> {
        Ok(Edition { usecase: members.text("usecase")?, version: number(members, "version")? })
    }

    /// Reads the meta of a DROP.
    pub fn parse(meta: &[u8]) -> Result<Edition, NotUnderstood> {
        Edition::of(&Members::parse(meta)?)
    }

    /// Appends a DROP.
    pub fn write(&self, out: &mut Vec<u8>) {
        put(Kind::DROP, &json!({"usecase": self.usecase, "version": self.version}), &[], out);
    }
}

/// That a use case is about to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepare {
    /// Which, and which version of it.
    pub edition: Edition,
    /// The program's name.
    pub program: String,
    /// Processes of it to keep.
    pub processes: u32,
}

impl Prepare {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Prepare, NotUnderstood> {
        let members = Members::parse(meta)?;
        Ok(Prepare {
            edition: Edition::of(&members)?,
            program: members.text("program")?,
            processes: small(&members, "processes")?,
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Prepare { edition: Edition { usecase, version }, program, processes } = self;
        let meta =
            json!({"usecase": usecase, "version": version, "program": program, "processes": processes});
        put(Kind::PREPARE, &meta, &[], out);
    }
}

/// Whether a back-end is ready for a use case: its processes have begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Which, and which version of it.
    pub edition: Edition,
    /// Why it is not, for a person.
    pub refused: Option<String>,
}

impl Prepared {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Prepared, NotUnderstood> {
        let members = Members::parse(meta)?;
        let refused = if members.has("refused") { Some(members.text("refused")?) } else { None };
        let refused = refused.map(|why| cut(&why, FAIL_REASON_BYTES_MAX).to_owned());
        Ok(Prepared { edition: Edition::of(&members)?, refused })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Prepared { edition: Edition { usecase, version }, refused } = self;
        let mut meta = json!({"usecase": usecase, "version": version});
        if let Some(why) = refused {
            meta["refused"] = json!(why);
        }
        put(Kind::PREPARED, &meta, &[], out);
    }
}

/// How much of a sub-task's results another attempt has delivered: so much the next one leaves out, if it is
/// the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Their checksum.
    pub crc32: u32,
    /// Sub-tasks that were spawned.
    pub spawned: u32,
}

/// An attempt at a sub-task. The frame's body is the line that the handler is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its number on this link.
    pub run: u32,
    /// What it is of.
    pub edition: Edition,
    /// The program's name.
    pub program: String,
    /// Processes of it to keep.
    pub processes: u32,
    /// What is left of the time for it, in milliseconds.
    pub deadline_ms: u64,
    /// Bytes of DATA that may be sent before CREDIT.
    pub credit: u64,
    /// DATA is to be compressed.
    pub gzip: bool,
    /// …each by itself: other runs' DATA may stand between this one's.
    pub alone: bool,
    /// What is to be left out.
    pub skip: Delivered,
}

impl Run {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Run, NotUnderstood> {
        let members = Members::parse(meta)?;
        Ok(Run {
            run: small(&members, "run")?,
            edition: Edition::of(&members)?,
            program: members.text("program")?,
            processes: small(&members, "processes")?,
            deadline_ms: number(&members, "deadline_ms")?,
            credit: number(&members, "credit")?,
            gzip: members.flag("gzip")?,
            alone: members.flag("alone")?,
            skip: Delivered {
                records: number(&members, "skip_records")?,
                bytes: number(&members, "skip_bytes")?,
                crc32: small(&members, "skip_crc32")?,
                spawned: small(&members, "skip_spawned")?,
            },
        })
    }

    /// Appends the frame.
    pub fn write(&self, line: &[u8], out: &mut Vec<u8>) {
        let meta = json!({
            "run": self.run,
            "usecase": self.edition.usecase,
            "version": self.edition.version,
            "program": self.program,
            "processes": self.processes,
            "deadline_ms": self.deadline_ms,
            "credit": self.credit,
            "gzip": self.gzip,
            "alone": self.alone,
            "skip_records": self.skip.records,
            "skip_bytes": self.skip.bytes,
            "skip_crc32": self.skip.crc32,
            "skip_spawned": self.skip.spawned,
        });
        put(Kind::RUN, &meta, line, out);
    }
}

/// Whole records. The frame's body is them, as they are or compressed: raw deflate (RFC 1951) that ends at a byte
/// boundary, is not the last block, and refers to nothing before it but, unless RUN says otherwise, this run's
/// DATA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Of which run.
    pub run: u32,
    /// How many records.
    pub records: u64,
    /// Their bytes before compression.
    pub plain_len: u32,
    /// The checksum of those.
    pub crc32: u32,
}

impl Data {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Data, NotUnderstood> {
        let members = Members::parse(meta)?;
        Ok(Data {
            run: small(&members, "run")?,
            records: number(&members, "records")?,
            plain_len: small(&members, "plain_len")?,
            crc32: small(&members, "crc32")?,
        })
    }

    /// Appends the frame.
    pub fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        let Data { run, records, plain_len, crc32 } = self;
        let meta = json!({"run": run, "records": records, "plain_len": plain_len, "crc32": crc32});
        put(Kind::DATA, &meta, body, out);
    }
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The handler ended, or said so, or broke its rules.
    Handler,
    /// Its results are not what an earlier attempt's were: no further attempt can help.
    Differs,
    /// The handler says that the request is wrong.
    Request,
    /// The back-end cannot take it now.
    Busy,
}

impl Fault {
    const NAMES: [(&'static str, Fault); 4] = [
        ("handler", Fault::Handler),
        ("differs", Fault::Differs),
        ("request", Fault::Request),
        ("busy", Fault::Busy),
    ];
}

/// That an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail {
    /// Which.
    pub run: u32,
    /// Whose fault it is.
    pub fault: Fault,
    /// What happened, for a person.
    pub reason: String,
}

impl Fail {
    /// Reads the meta.
    pub fn parse(meta: &[u8]) -> Result<Fail, NotUnderstood> {
        let members = Members::parse(meta)?;
        let name = members.text("fault")?;
        let fault = Fault::NAMES.iter().find(|(other, _)| *other == name).ok_or(NotUnderstood("fault"))?.1;
        let reason = cut(&members.text("reason")?, FAIL_REASON_BYTES_MAX).to_owned();
        Ok(Fail { run: small(&members, "run")?, fault, reason })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let name = Fault::NAMES.iter().find(|(_, fault)| *fault == self.fault).map_or("", |(name, _)| name);
        put(Kind::FAIL, &json!({"run": self.run, "fault": name, "reason": self.reason}), &[], out);
    }
}

/// A frame that names a run and at most one number: CREDIT (bytes), END, CANCEL, PROGRESS.
pub fn write_of_run(kind: Kind, run: u32, bytes: u64, out: &mut Vec<u8>) {
    put(kind, &json!({"run": run, "bytes": bytes}), &[], out);
}

/// Reads one.
pub fn parse_of_run(meta: &[u8]) -> Result<(u32, u64), NotUnderstood> {
    let members = Members::parse(meta)?;
    Ok((small(&members, "run")?, number(&members, "bytes")?))
}

/// Appends a SPAWN: the body is a JSON array of the sub-tasks' parameters.
pub fn write_spawn(run: u32, tasks: &[Json], out: &mut Vec<u8>) {
    let body = serde_json::to_vec(tasks).unwrap_or_default();
    put(Kind::SPAWN, &json!({"run": run}), &body, out);
}

/// Reads one.
pub fn parse_spawn(meta: &[u8], body: &[u8]) -> Result<(u32, Vec<Json>), NotUnderstood> {
    let tasks: Vec<Json> = serde_json::from_slice(body).map_err(|_| NotUnderstood("tasks"))?;
    if tasks.iter().any(|task| !task.is_object()) {
        return Err(NotUnderstood("tasks"));
    }
    Ok((small(&Members::parse(meta)?, "run")?, tasks))
}

fn put(kind: Kind, meta: &Json, body: &[u8], out: &mut Vec<u8>) {
    encode(kind, 0, meta.to_string().as_bytes(), body, out);
}

fn number(members: &Members, name: &'static str) -> Result<u64, NotUnderstood> {
    if members.has(name) { members.number(name) } else { Ok(0) }
}

fn small(members: &Members, name: &'static str) -> Result<u32, NotUnderstood> {
    number(members, name)?.try_into().map_err(|_| NotUnderstood(name))
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    fn round_trip<T: PartialEq + std::fmt::Debug>(
        value: &T,
        write: impl Fn(&T, &mut Vec<u8>),
        parse: impl Fn(&[u8]) -> Result<T, NotUnderstood>,
    ) {
        let mut out = Vec::new();
        write(value, &mut out);
        let (frame, len) = decode(&out, 1 << 20).unwrap().unwrap();
        assert_eq!(len, out.len());
        assert_eq!(parse(frame.meta).as_ref(), Ok(value));
        // Whatever is cut off is noticed.
        assert!((0..frame.meta.len()).all(|end| parse(&frame.meta[..end]).is_err()));
    }

    #[test]
    fn what_is_written_is_read() {
        let edition = Edition { usecase: "words".into(), version: 7 };
        let register =
            Register { slots: 4, programs: vec!["a".into(), "b\"".into()], load: 250, draining: true };
        round_trip(&register, Register::write, Register::parse);
        round_trip(&edition, Edition::write, Edition::parse);
        for refused in [None, Some("it cannot be started".to_owned())] {
            round_trip(&Prepared { edition: edition.clone(), refused }, Prepared::write, Prepared::parse);
        }
        let prepare = Prepare { edition: edition.clone(), program: "p".into(), processes: 2 };
        round_trip(&prepare, Prepare::write, Prepare::parse);
        let skip = Delivered { records: 1, bytes: 1 << 40, crc32: u32::MAX, spawned: 2 };
        let run = Run {
            run: 9,
            edition,
            program: "p".into(),
            processes: 2,
            deadline_ms: 1,
            credit: 262_144,
            gzip: true,
            alone: true,
            skip,
        };
        round_trip(&run, |run, out| run.write(b"{}\n", out), Run::parse);
        let data = Data { run: 1, records: 2, plain_len: 3, crc32: 4 };
        round_trip(&data, |data, out| data.write(b"xyz", out), Data::parse);
        for (_, fault) in Fault::NAMES {
            round_trip(&Fail { run: 1, fault, reason: "why".into() }, Fail::write, Fail::parse);
        }
        let of_run =
            |value: &(u32, u64), out: &mut Vec<u8>| write_of_run(Kind::CREDIT, value.0, value.1, out);
        round_trip(&(3, 5), of_run, parse_of_run);
    }

    #[test]
    fn spawned_tasks_are_objects() {
        assert_eq!(parse_spawn(b"{\"run\":1}", b"[{\"a\":1}]"), Ok((1, vec![json!({"a": 1})])));
        assert_eq!(parse_spawn(b"{\"run\":1}", b"[1]"), Err(NotUnderstood("tasks")));
        assert_eq!(parse_spawn(b"{\"run\":1}", b"["), Err(NotUnderstood("tasks")));
    }
}
