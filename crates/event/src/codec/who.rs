//! Group 1: which machine did it, on whose behalf.

use super::dec::{self, Read, text};
use super::enc::{Done, Enc, refuse};
use crate::cbor::Reader;
use crate::enums::*;
use crate::fields::bound;
use crate::model::{Principal, Who};

pub(super) fn write(who: &Who, e: &mut Enc) -> Done {
    e.map("who", |e| {
        if let Some(principal) = &who.who {
            e.key(0);
            write_principal(principal, false, e)?;
        }
        e.list(1, &who.obo, bound::OBO, "obo", |e, one| write_principal(one, true, e))?;
        e.list(2, &who.also, bound::ALSO, "also", |e, one| write_principal(one, false, e))?;
        e.other(2, &who.other, "who")
    })?;
    Ok(())
}

fn write_principal(p: &Principal, in_obo: bool, e: &mut Enc) -> Done {
    if p.verified.code() == 0 {
        return Err(refuse("principal.verified", "required, from 1 to 4"));
    }
    if p.rel.is_some() && !in_obo {
        return Err(refuse("principal.rel", "only in obo"));
    }
    e.map("principal", |e| {
        e.text_max(0, &p.id, bound::PRINCIPAL_ID, "principal.id")?;
        e.word(1, p.kind.map(PrincipalKind::code));
        e.word(2, p.auth.map(Auth::code));
        e.uint(3, Some(p.verified.code()));
        e.text(4, &p.iss);
        e.text_max(5, &p.cred, bound::CRED, "principal.cred")?;
        e.int(6, p.cred_exp);
        e.text(7, &p.svc);
        e.text(8, &p.inst);
        e.set(9, &p.groups, bound::GROUPS, usize::MAX, "principal.groups")?;
        e.word(10, p.rel.map(Relation::code));
        e.text(11, &p.name);
        e.word(12, p.from.map(IdentityFrom::code));
        e.other(12, &p.other, "principal")
    })?;
    Ok(())
}

pub(super) fn read(r: &mut Reader, who: &mut Who) -> Read<()> {
    r.fields(|r, key| {
        match key {
            0 => who.who = Some(read_principal(r)?),
            1 => who.obo = dec::list(r, bound::OBO, read_principal)?,
            2 => who.also = dec::list(r, bound::ALSO, read_principal)?,
            _ => who.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(())
}

fn read_principal(r: &mut Reader) -> Read<Principal> {
    let mut p = Principal::new(String::new(), Verified::Claimed);
    let mut levelled = false;
    r.fields(|r, key| {
        match key {
            0 => p.id = text(r)?,
            1 => p.kind = Some(dec::word(r, PrincipalKind::from_code)?),
            2 => p.auth = Some(dec::word(r, Auth::from_code)?),
            3 => {
                p.verified = dec::word(r, Verified::from_code)?;
                levelled = true;
            }
            4 => p.iss = text(r)?,
            5 => p.cred = text(r)?,
            6 => p.cred_exp = Some(r.int()?),
            7 => p.svc = text(r)?,
            8 => p.inst = text(r)?,
            9 => p.groups = dec::set(r, bound::GROUPS)?,
            10 => p.rel = Some(dec::word(r, Relation::from_code)?),
            11 => p.name = text(r)?,
            12 => p.from = Some(dec::word(r, IdentityFrom::from_code)?),
            _ => p.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    if levelled { Ok(p) } else { Err(r.error_at(r.position(), "a required field is missing: verified")) }
}
