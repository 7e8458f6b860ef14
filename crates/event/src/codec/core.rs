//! Group 0: what happened.

use super::dec::{self, Read, text};
use super::enc::{Done, Enc, refuse};
use crate::cbor::Reader;
use crate::enums::*;
use crate::fields::bound;
use crate::model::{Core, Decision};
use crate::{ITEMS_MAX, SCHEMA};

pub(super) fn write(core: &Core, e: &mut Enc) -> Done {
    check(core)?;
    e.map("core", |e| {
        e.uint(0, Some(u64::from(SCHEMA)));
        e.blob(1, Some(&core.eid));
        e.text_max(2, &core.agent, bound::AGENT, "agent")?;
        e.blob(3, Some(&core.stream));
        e.uint(4, Some(core.seq));
        e.uint(5, Some(core.t_obs));
        e.int(6, core.t_event);
        e.word(7, core.t_basis.map(TimeBasis::code));
        if let Some((offset, error)) = core.skew {
            e.key(8);
            e.out().array(2);
            e.out().int(offset);
            e.out().uint(error);
        }
        e.uint(9, core.dur);
        e.word(10, core.rec.map(Rec::code));
        e.word(11, core.kind.map(Kind::code));
        e.text_max(12, &core.proto, bound::PROTO, "proto")?;
        e.text_max(13, &core.op, bound::OP, "op")?;
        e.word(14, core.class.map(Class::code));
        e.word(15, core.outcome.map(Outcome::code));
        if let Some((space, code)) = &core.status {
            e.key(16);
            e.out().array(2);
            e.out().uint(space.code());
            e.out().text(code);
        }
        if let Some(decision) = &core.decision {
            e.map_field(17, "decision", |e| write_decision(decision, e))?;
        }
        e.set(18, &core.labels, bound::LABELS, bound::LABEL, "labels")?;
        e.text_max(19, &core.tenant, bound::TENANT, "tenant")?;
        e.uint(20, core.n);
        if let Some(parts) = core.lat {
            e.key(21);
            e.out().array(parts.len());
            parts.into_iter().for_each(|ns| e.out().uint(ns));
        }
        e.blob(22, core.config.as_ref());
        e.text_max(23, &core.route, bound::ROUTE, "route")?;
        e.keyed(24, &core.sys, "sys")?;
        e.other(24, &core.other, "core")
    })?;
    Ok(())
}

/// The rules between fields, and of the required ones.
fn check(core: &Core) -> Done {
    if core.agent.is_empty() {
        return Err(refuse("agent", "required in every event"));
    }
    if core.seq == 0 {
        return Err(refuse("seq", "required in every event, from 1"));
    }
    if core.n == Some(1) {
        return Err(refuse("n", "the default 1 is never written"));
    }
    if core.status.as_ref().is_some_and(|(space, _)| space.code() == 0) {
        return Err(refuse("status", "the code space 0 is never written"));
    }
    let platform = matches!(core.rec, Some(Rec::Finding | Rec::Platform | Rec::Other(_)));
    if !core.sys.is_empty() && !platform {
        return Err(refuse("sys", "only with rec finding or platform"));
    }
    Ok(())
}

fn write_decision(decision: &Decision, e: &mut Enc) -> Done {
    e.word(0, decision.verdict.map(Verdict::code));
    e.word(1, decision.mode.map(Mode::code));
    e.set(2, &decision.policies, ITEMS_MAX, usize::MAX, "decision.policies")?;
    e.text(3, &decision.reason);
    e.text(4, &decision.purpose);
    e.other(4, &decision.other, "decision")
}

pub(super) fn read(r: &mut Reader, core: &mut Core) -> Read<()> {
    // ver, eid, agent, stream, seq, t_obs: one bit a required key
    let mut seen = 0_u8;
    r.fields(|r, key| {
        if key < 6 {
            seen |= 1 << key;
        }
        match key {
            0 => version(r)?,
            1 => core.eid = r.bytes_of()?,
            2 => core.agent = text(r)?,
            3 => core.stream = r.bytes_of()?,
            4 => core.seq = r.uint()?,
            5 => core.t_obs = r.uint()?,
            6 => core.t_event = Some(r.int()?),
            7 => core.t_basis = Some(dec::word(r, TimeBasis::from_code)?),
            8 => core.skew = Some(pair(r, |r| r.int(), |r| r.uint())?),
            9 => core.dur = Some(r.uint()?),
            10 => core.rec = Some(dec::word(r, Rec::from_code)?),
            11 => core.kind = Some(dec::word(r, Kind::from_code)?),
            12 => core.proto = text(r)?,
            13 => core.op = text(r)?,
            14 => core.class = Some(dec::word(r, Class::from_code)?),
            15 => core.outcome = Some(dec::word(r, Outcome::from_code)?),
            16 => {
                core.status =
                    Some(pair(r, |r| dec::word(r, StatusSpace::from_code), |r| r.text().map(str::to_owned))?);
            }
            17 => core.decision = Some(Box::new(read_decision(r)?)),
            18 => core.labels = dec::set(r, bound::LABELS)?,
            19 => core.tenant = text(r)?,
            20 => core.n = dec::not_one(r)?,
            21 => {
                r.array_of(3)?;
                core.lat = Some([r.uint()?, r.uint()?, r.uint()?]);
            }
            22 => core.config = dec::blob(r)?,
            23 => core.route = text(r)?,
            24 => core.sys = dec::keyed(r)?,
            _ => core.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    if seen == 0b11_1111 {
        Ok(())
    } else {
        Err(r.error_at(r.position(), "a required field is missing: ver, eid, agent, stream, seq, t_obs"))
    }
}

fn version(r: &mut Reader) -> Read<()> {
    let at = r.position();
    if r.uint()? == u64::from(SCHEMA) { Ok(()) } else { Err(r.error_at(at, "ver is not 1")) }
}

/// An array of two.
pub(super) fn pair<A, B>(
    r: &mut Reader,
    first: impl FnOnce(&mut Reader) -> Read<A>,
    second: impl FnOnce(&mut Reader) -> Read<B>,
) -> Read<(A, B)> {
    r.array_of(2)?;
    Ok((first(r)?, second(r)?))
}

fn read_decision(r: &mut Reader) -> Read<Decision> {
    let mut decision = Decision::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => decision.verdict = Some(dec::word(r, Verdict::from_code)?),
            1 => decision.mode = Some(dec::word(r, Mode::from_code)?),
            2 => decision.policies = dec::set(r, ITEMS_MAX)?,
            3 => decision.reason = text(r)?,
            4 => decision.purpose = text(r)?,
            _ => decision.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(decision)
}
