//! Groups 2 to 4: between which addresses, to what, in which context.

use super::core::pair;
use super::dec::{self, Read, text};
use super::enc::{Done, Enc, refuse};
use crate::ITEMS_MAX;
use crate::cbor::Reader;
use crate::enums::*;
use crate::fields::bound;
use crate::model::{Endpoint, Links, Peer, Target, Tls};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn write_peer(peer: &Peer, e: &mut Enc) -> Done {
    e.map("peer", |e| {
        for (key, name, end) in [(0, "src", &peer.src), (1, "dst", &peer.dst), (2, "up", &peer.up)] {
            if let Some(end) = end {
                e.map_field(key, name, |e| write_endpoint(end, e))?;
            }
        }
        e.word(3, peer.transport.map(Transport::code));
        if let Some(tls) = &peer.tls {
            e.map_field(4, "tls", |e| write_tls(tls, e))?;
        }
        e.list(5, &peer.hops, bound::HOPS, "hops", |e, (hop, level)| {
            if level.code() == 0 {
                return Err(refuse("hops", "a level of 0 is never written"));
            }
            e.out().array(2);
            e.out().text(hop);
            e.out().uint(level.code());
            Ok(())
        })?;
        e.text(6, &peer.ja4);
        e.uint(7, peer.retries);
        e.other(7, &peer.other, "peer")
    })?;
    Ok(())
}

fn write_endpoint(end: &Endpoint, e: &mut Enc) -> Done {
    if let Some(ip) = end.ip {
        e.key(0);
        match ip.to_canonical() {
            IpAddr::V4(ip) => e.out().bytes(&ip.octets()),
            IpAddr::V6(ip) => e.out().bytes(&ip.octets()),
        }
    }
    e.uint(1, end.port.map(u64::from));
    e.text(2, &end.host);
    e.text(3, &end.workload);
    e.text(4, &end.ns);
    e.text(5, &end.zone);
    e.text(6, &end.node);
    e.other(6, &end.other, "endpoint")
}

fn write_tls(tls: &Tls, e: &mut Enc) -> Done {
    e.uint(0, tls.version);
    e.uint(1, tls.cipher);
    e.text(2, &tls.sni);
    e.text(3, &tls.alpn);
    e.blob(4, tls.peer_cert.as_ref());
    e.bool(5, tls.resumed);
    e.uint(6, tls.group);
    e.other(6, &tls.other, "tls")
}

pub(super) fn read_peer(r: &mut Reader, peer: &mut Peer) -> Read<()> {
    r.fields(|r, key| {
        match key {
            0 => peer.src = Some(read_endpoint(r)?),
            1 => peer.dst = Some(read_endpoint(r)?),
            2 => peer.up = Some(read_endpoint(r)?),
            3 => peer.transport = Some(dec::word(r, Transport::from_code)?),
            4 => peer.tls = Some(read_tls(r)?),
            5 => {
                peer.hops = dec::list(r, bound::HOPS, |r| {
                    pair(r, |r| r.text().map(str::to_owned), |r| dec::word(r, Verified::from_code))
                })?;
            }
            6 => peer.ja4 = text(r)?,
            7 => peer.retries = Some(r.uint()?),
            _ => peer.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(())
}

fn read_endpoint(r: &mut Reader) -> Read<Endpoint> {
    let mut end = Endpoint::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => end.ip = Some(read_ip(r)?),
            1 => {
                let at = r.position();
                let port = u16::try_from(r.uint()?).map_err(|_| r.error_at(at, "a port beyond 65535"))?;
                end.port = Some(port);
            }
            2 => end.host = text(r)?,
            3 => end.workload = text(r)?,
            4 => end.ns = text(r)?,
            5 => end.zone = text(r)?,
            6 => end.node = text(r)?,
            _ => end.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(end)
}

fn read_ip(r: &mut Reader) -> Read<IpAddr> {
    let at = r.position();
    let bytes = r.bytes()?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    match <[u8; 16]>::try_from(bytes).map(Ipv6Addr::from) {
        Ok(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(r.error_at(at, "an IPv4-mapped address is written as 4 bytes"))
        }
        Ok(v6) => Ok(IpAddr::V6(v6)),
        Err(_) => Err(r.error_at(at, "an address is 4 or 16 bytes")),
    }
}

fn read_tls(r: &mut Reader) -> Read<Tls> {
    let mut tls = Tls::default();
    dec::full_fields(r, |r, key| {
        match key {
            0 => tls.version = Some(r.uint()?),
            1 => tls.cipher = Some(r.uint()?),
            2 => tls.sni = text(r)?,
            3 => tls.alpn = text(r)?,
            4 => tls.peer_cert = dec::blob(r)?,
            5 => tls.resumed = Some(r.bool()?),
            6 => tls.group = Some(r.uint()?),
            _ => tls.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(tls)
}

pub(super) fn write_target(target: &Target, e: &mut Enc) -> Done {
    e.map("target", |e| write_target_fields(target, false, e))?;
    Ok(())
}

fn write_target_fields(target: &Target, nested: bool, e: &mut Enc) -> Done {
    e.text_max(0, &target.svc, bound::TARGET_SVC, "target.svc")?;
    e.text_max(1, &target.res, bound::RES, "res")?;
    e.text_max(2, &target.raw, bound::TARGET_RAW, "target.raw")?;
    e.text(3, &target.rtype);
    e.text(4, &target.id);
    e.text(5, &target.ns);
    e.text(6, &target.region);
    if nested && !target.more.is_empty() {
        return Err(refuse("more", "a further resource holds no further ones"));
    }
    e.list(7, &target.more, bound::MORE, "more", |e, one| {
        e.map("more", |e| write_target_fields(one, true, e))?;
        Ok(())
    })?;
    e.set(8, &target.tags, ITEMS_MAX, usize::MAX, "tags")?;
    e.other(8, &target.other, "target")
}

pub(super) fn read_target(r: &mut Reader, target: &mut Target) -> Read<()> {
    read_target_fields(r, false, target)
}

fn read_further_target(r: &mut Reader) -> Read<Target> {
    let mut target = Target::default();
    read_target_fields(r, true, &mut target)?;
    Ok(target)
}

fn read_target_fields(r: &mut Reader, nested: bool, target: &mut Target) -> Read<()> {
    r.fields(|r, key| {
        match key {
            0 => target.svc = text(r)?,
            1 => target.res = text(r)?,
            2 => target.raw = text(r)?,
            3 => target.rtype = text(r)?,
            4 => target.id = text(r)?,
            5 => target.ns = text(r)?,
            6 => target.region = text(r)?,
            7 if nested => return Err(r.error_at(r.position(), "a further resource holds no further ones")),
            7 => target.more = dec::list(r, bound::MORE, read_further_target)?,
            8 => target.tags = dec::set(r, ITEMS_MAX)?,
            _ => target.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(())
}

pub(super) fn write_links(links: &Links, e: &mut Enc) -> Done {
    if links.conn_seq == Some(0) {
        return Err(refuse("conn_seq", "counts from 1"));
    }
    e.map("links", |e| {
        e.blob_not_zero(0, links.trace.as_ref());
        e.blob_not_zero(1, links.span.as_ref());
        e.blob_not_zero(2, links.parent.as_ref());
        e.uint(3, links.tflags);
        e.text_max(4, &links.corr, bound::LINK, "corr")?;
        e.text_max(5, &links.sess, bound::LINK, "sess")?;
        e.text_max(6, &links.msg, bound::LINK, "msg")?;
        e.blob(7, links.of.as_ref());
        e.blob(8, links.conn.as_ref());
        e.uint(9, links.conn_seq);
        e.word(10, links.via.map(LinkVia::code));
        e.list(11, &links.causal, bound::CAUSAL, "causal", |e, (eid, how, score)| {
            if how.code() == 0 || *score > bound::SCORE {
                return Err(refuse("causal", "how is never 0, the score at most 1000"));
            }
            e.out().array(3);
            e.out().bytes(eid);
            e.out().uint(how.code());
            e.out().uint(*score);
            Ok(())
        })?;
        e.list(12, &links.cause, bound::CAUSAL, "cause", |e, (conn, number, score)| {
            if *number == 0 || *score > bound::SCORE {
                return Err(refuse("cause", "the number counts from 1, the score is at most 1000"));
            }
            e.out().array(3);
            e.out().bytes(conn);
            e.out().uint(*number);
            e.out().uint(*score);
            Ok(())
        })?;
        e.other(12, &links.other, "links")
    })?;
    Ok(())
}

pub(super) fn read_links(r: &mut Reader, links: &mut Links) -> Read<()> {
    r.fields(|r, key| {
        match key {
            0 => links.trace = dec::blob_not_zero(r)?,
            1 => links.span = dec::blob_not_zero(r)?,
            2 => links.parent = dec::blob_not_zero(r)?,
            3 => links.tflags = Some(r.uint()?),
            4 => links.corr = text(r)?,
            5 => links.sess = text(r)?,
            6 => links.msg = text(r)?,
            7 => links.of = dec::blob(r)?,
            8 => links.conn = dec::blob(r)?,
            9 => links.conn_seq = Some(r.uint()?),
            10 => links.via = Some(dec::word(r, LinkVia::from_code)?),
            11 => {
                links.causal = dec::list(r, bound::CAUSAL, |r| {
                    r.array_of(3)?;
                    Ok((r.bytes_of()?, dec::word(r, LinkVia::from_code)?, r.uint()?))
                })?;
            }
            12 => {
                links.cause = dec::list(r, bound::CAUSAL, |r| {
                    r.array_of(3)?;
                    Ok((r.bytes_of()?, r.uint()?, r.uint()?))
                })?;
            }
            _ => links.other.push((key, dec::value(r)?)),
        }
        Ok(())
    })?;
    Ok(())
}
