//! Envoy's access log service, version 3: entries of HTTP requests and of TCP connections, in Protobuf.
//!
//! Source: `envoy/service/accesslog/v3/als.proto`, `envoy/data/accesslog/v3/accesslog.proto`,
//! `envoy/config/core/v3/address.proto`. A record is a `StreamAccessLogsMessage` with one entry and the identifier of
//! its stream, as `receivers/als.rs` cuts it. The peer's certificate was verified by Envoy: its SAN is asserted.
//! `downstream_remote_address` may come from X-Forwarded-For: where the socket's own address differs, it is a hop.
//! Never detected: Protobuf is not guessed.

use super::Role;
use super::exchange::Exchange;
use crate::formats::{Format, Record};
use crate::proto::{Fields, Wire, Writer};
use crate::{Draft, Fault, time};
use countersign_event::{Rec, Unmapped, Verified};
use std::borrow::Cow;

/// The row of the table.
pub const ENVOY_ALS: Format =
    Format { name: "envoy-als", what: "Envoy's access log service, one entry", looks: |_| false, parse };

/// `core.v3.RequestMethod` by number.
const METHODS: [&str; 10] =
    ["", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// `HTTPAccessLogEntry.HTTPVersion` by number.
const VERSIONS: [&str; 5] = ["", "HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"];
/// `ResponseFlags` by field number, in the short form of the text log.
const FLAGS: [&str; 29] = [
    "", "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DR",
];

/// Records, and the identifier of their message if it has one.
pub type Split = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// The records of one message of a stream whose first message had `identifier` (its bytes). Gives the identifier of
/// this message, if it has one.
///
/// # Errors
/// The message is not one.
pub fn split(message: &[u8], identifier: &[u8]) -> Result<Split, Fault> {
    let (mut entries, mut own) = (Vec::new(), None);
    let mut fields = Fields::new(message);
    while let Some((number, wire)) = fields.read()? {
        match number {
            1 => own = Some(wire.bytes().to_vec()),
            2 | 3 => {
                let mut list = Fields::new(wire.bytes());
                while let Some((1, entry)) = list.read()? {
                    entries.push((number, entry.bytes()));
                }
            }
            _ => {}
        }
    }
    let around = own.as_deref().unwrap_or(identifier);
    let record = |(number, entry): (u32, &[u8])| {
        let mut out = Writer::new();
        out.bytes(1, around);
        out.message(number, |list| list.bytes_always(1, entry));
        out.done()
    };
    Ok((entries.into_iter().map(record).collect(), own))
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    let mut exchange = Exchange::new(record);
    let mut entry = None;
    each(record.bytes, |number, wire| {
        match number {
            1 => identifier(&mut exchange, wire.bytes())?,
            2 | 3 => entry = Some((number, wire.bytes())),
            _ => unknown(&mut exchange, "message", number, wire),
        }
        Ok(())
    })?;
    let (number, list) = entry.ok_or(Fault::new(0, "no entry"))?;
    let mut count = 0;
    each(list, |of, wire| {
        count += usize::from(of == 1);
        match (of, number) {
            (1, 2) => http(&mut exchange, wire.bytes()),
            (1, _) => tcp(&mut exchange, wire.bytes()),
            _ => Ok(()),
        }
    })?;
    if count != 1 {
        return Err(Fault::new(0, "not one entry"));
    }
    exchange.done()
}

/// Calls `take` with each field of a message.
fn each<'a>(bytes: &'a [u8], mut take: impl FnMut(u32, Wire<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut fields = Fields::new(bytes);
    while let Some((number, wire)) = fields.read()? {
        take(number, wire)?;
    }
    Ok(())
}

/// The first field `number` of a message: its value, or that of a wrapper (`UInt32Value`).
fn inner(bytes: &[u8], number: u32) -> Result<Option<Wire<'_>>, Fault> {
    let mut found = None;
    each(bytes, |of, wire| {
        if of == number {
            found = Some(wire);
        }
        Ok(())
    })?;
    Ok(found)
}

fn wrapped(wire: Wire<'_>) -> Result<u64, Fault> {
    Ok(inner(wire.bytes(), 1)?.map_or(0, Wire::uint))
}

/// A field that no rule knows, as it lay.
fn unknown(exchange: &mut Exchange<'_>, of: &str, number: u32, wire: Wire<'_>) {
    let kept = match wire {
        Wire::Bytes(bytes) => Unmapped::Bytes(bytes.to_vec()),
        wire => Unmapped::Token(wire.uint().to_string()),
    };
    exchange.draft.event.content.unmapped.insert(format!("/{of}/{number}"), kept);
}

fn text<'a>(exchange: &mut Exchange<'a>, role: Role, name: &str, wire: Wire<'a>) {
    exchange.take(role, name, wire.text());
}

fn number(exchange: &mut Exchange<'_>, role: Role, name: &str, number: u64) {
    exchange.take(role, name, Cow::Owned(number.to_string()));
}

fn identifier<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    each(bytes, |of, wire| {
        match of {
            1 => each(wire.bytes(), |of, wire| {
                match of {
                    1 => text(exchange, Role::Rest, "node_id", wire),
                    2 => text(exchange, Role::Rest, "node_cluster", wire),
                    // Version, extensions and locality of the proxy are the same in each entry.
                    _ => {}
                }
                Ok(())
            })?,
            2 => text(exchange, Role::Rest, "log_name", wire),
            _ => {}
        }
        Ok(())
    })
}

fn http<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    each(bytes, |of, wire| {
        match of {
            1 => common(exchange, wire.bytes())?,
            2 => {
                let version = VERSIONS.get(wire.uint() as usize).copied().unwrap_or_default();
                exchange.take(Role::Protocol, "protocol_version", Cow::Borrowed(version));
            }
            3 => request(exchange, wire.bytes())?,
            4 => response(exchange, wire.bytes())?,
            _ => unknown(exchange, "http", of, wire),
        }
        Ok(())
    })
}

fn tcp<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    // A connection has no status; what Envoy's text log writes in its place is 0.
    number(exchange, Role::Status, "status", 0);
    each(bytes, |of, wire| {
        match of {
            1 => common(exchange, wire.bytes())?,
            2 => each(wire.bytes(), |of, wire| {
                match of {
                    1 => number(exchange, Role::Received, "received_bytes", wire.uint()),
                    2 => number(exchange, Role::Sent, "sent_bytes", wire.uint()),
                    _ => unknown(exchange, "connection", of, wire),
                }
                Ok(())
            })?,
            _ => unknown(exchange, "tcp", of, wire),
        }
        Ok(())
    })
}

fn request<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    let mut path = None;
    each(bytes, |of, wire| {
        match of {
            1 => {
                let method = METHODS.get(wire.uint() as usize).copied().unwrap_or_default();
                exchange.take(Role::Method, "request_method", Cow::Borrowed(method));
            }
            2 => text(exchange, Role::Scheme, "scheme", wire),
            3 => text(exchange, Role::Host, "authority", wire),
            5 => path = path.or(Some(wire)),
            6 => text(exchange, Role::Header, "user-agent", wire),
            7 => text(exchange, Role::Header, "referer", wire),
            8 => text(exchange, Role::Forwarded, "forwarded_for", wire),
            9 => text(exchange, Role::RequestId, "request_id", wire),
            // As the client sent it, before a rewrite.
            10 => path = Some(wire),
            12 => number(exchange, Role::Received, "request_body_bytes", wire.uint()),
            13 => header(exchange, "request_headers", wire.bytes())?,
            4 => number(exchange, Role::Rest, "port", wrapped(wire)?),
            11 => number(exchange, Role::Rest, "request_headers_bytes", wire.uint()),
            _ => unknown(exchange, "request", of, wire),
        }
        Ok(())
    })?;
    if let Some(path) = path {
        text(exchange, Role::Uri, "path", path);
    }
    Ok(())
}

fn response<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    each(bytes, |of, wire| {
        match of {
            1 => number(exchange, Role::Status, "response_code", wrapped(wire)?),
            2 => number(exchange, Role::Rest, "response_headers_bytes", wire.uint()),
            3 => number(exchange, Role::Sent, "response_body_bytes", wire.uint()),
            4 => header(exchange, "response_headers", wire.bytes())?,
            5 => header(exchange, "response_trailers", wire.bytes())?,
            6 => text(exchange, Role::Rest, "response_code_details", wire),
            _ => unknown(exchange, "response", of, wire),
        }
        Ok(())
    })
}

/// One entry of a map of headers that the operator chose to log.
fn header<'a>(exchange: &mut Exchange<'a>, map: &str, bytes: &'a [u8]) -> Result<(), Fault> {
    let name = inner(bytes, 1)?.map(Wire::text).unwrap_or_default();
    let value = inner(bytes, 2)?.map(Wire::text).unwrap_or_default();
    let role = match (map, name.as_ref()) {
        ("request_headers", "traceparent") => Role::Trace,
        ("response_headers" | "response_trailers", "grpc-status") => Role::GrpcStatus,
        _ => Role::Rest,
    };
    exchange.take(role, &format!("{map}.{name}"), value);
    Ok(())
}

fn common<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    let (mut remote, mut direct) = (None, None);
    let mut lat = [0; 3];
    each(bytes, |of, wire| {
        match of {
            2 => remote = address(wire.bytes())?,
            3 => put(exchange, Role::Local, "downstream_local_address", address(wire.bytes())?),
            4 => tls(exchange, wire.bytes())?,
            5 => exchange.draft.time(nanos(wire.bytes())?.and_then(|ns| time::unix(ns, 1))),
            7 => lat[0] = length(wire)?,
            10 => lat[2] = length(wire)?,
            11 => lat[1] = length(wire)?,
            13 => put(exchange, Role::Upstream, "upstream_remote_address", address(wire.bytes())?),
            15 => text(exchange, Role::Service, "upstream_cluster", wire),
            16 => flags(exchange, wire.bytes())?,
            18 | 28 => text(exchange, Role::Error, "transport_failure_reason", wire),
            19 => text(exchange, Role::Rest, "route_name", wire),
            20 => direct = address(wire.bytes())?,
            22 => header(exchange, "custom_tags", wire.bytes())?,
            23 => exchange.draft.event.core.dur = Some(length(wire)?),
            24 if wire.uint() > 1 => exchange.draft.event.peer.retries = Some(wire.uint() - 1),
            24 => {}
            25 => text(exchange, Role::Rest, "connection_termination_details", wire),
            26 => text(exchange, Role::Rest, "stream_id", wire),
            // The interaction goes on: its end has an entry of its own.
            27 if wire.uint() != 0 => exchange.draft.event.core.rec = Some(Rec::Progress),
            _ => unknown(exchange, "common", of, wire),
        }
        Ok(())
    })?;
    if lat != [0; 3] {
        exchange.draft.event.core.lat = Some(lat);
    }
    if let (Some(said), Some(socket)) = (&remote, &direct)
        && ip_of(said) != ip_of(socket)
    {
        exchange.draft.hop(ip_of(said), Verified::Claimed);
    } else if direct.is_none() {
        direct = remote.take();
    }
    put(exchange, Role::Client, "downstream_remote_address", direct);
    Ok(())
}

/// An address without its port.
fn ip_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(ip, _)| ip.trim_matches(['[', ']']))
}

fn put(exchange: &mut Exchange<'_>, role: Role, name: &str, address: Option<String>) {
    if let Some(address) = address {
        exchange.take(role, name, Cow::Owned(address));
    }
}

/// `config.core.v3.Address`: a socket's address, a pipe's path, or the name of an internal listener.
fn address(bytes: &[u8]) -> Result<Option<String>, Fault> {
    let mut found = None;
    each(bytes, |of, wire| {
        found = match of {
            1 => {
                let host = inner(wire.bytes(), 2)?.map(Wire::text).unwrap_or_default();
                let port = inner(wire.bytes(), 3)?.map_or(0, Wire::uint);
                Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
            }
            2 => inner(wire.bytes(), 1)?.map(|path| path.text().into_owned()),
            3 => inner(wire.bytes(), 1)?.map(|name| format!("envoy://{}", name.text())),
            _ => None,
        };
        Ok(())
    })?;
    Ok(found.filter(|address| !address.is_empty()))
}

/// `Timestamp` and `Duration`: seconds and nanoseconds. `None` = beyond what 64 bits hold.
fn nanos(bytes: &[u8]) -> Result<Option<i64>, Fault> {
    let seconds = inner(bytes, 1)?.map_or(0, Wire::int);
    let nanos = inner(bytes, 2)?.map_or(0, Wire::int);
    Ok(seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanos)))
}

fn length(wire: Wire<'_>) -> Result<u64, Fault> {
    Ok(nanos(wire.bytes())?.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0))
}

fn flags(exchange: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Fault> {
    let mut set: Vec<&str> = Vec::new();
    each(bytes, |of, wire| {
        let known = FLAGS.get(of as usize).copied().filter(|flag| !flag.is_empty());
        match known {
            // A message of its own, with the reason: there = set.
            Some(flag) if of == 13 || wire.uint() != 0 => set.push(flag),
            Some(_) => {}
            None => unknown(exchange, "response_flags", of, wire),
        }
        Ok(())
    })?;
    exchange.take(Role::Flags, "response_flags", Cow::Owned(set.join(",")));
    Ok(())
}

fn tls<'a>(exchange: &mut Exchange<'a>, bytes: &'a [u8]) -> Result<(), Fault> {
    each(bytes, |of, wire| {
        match of {
            1 if (1..=4).contains(&wire.uint()) => {
                exchange.draft.event.peer.tls.get_or_insert_default().version = Some(0x0300 + wire.uint());
            }
            2 => exchange.draft.event.peer.tls.get_or_insert_default().cipher = Some(wrapped(wire)?),
            3 => text(exchange, Role::Sni, "tls_sni_hostname", wire),
            4 => {
                let (names, _) = certificate(wire.bytes())?;
                exchange.take(
                    Role::LocalPeer,
                    "local_principal",
                    Cow::Owned(names.first().cloned().unwrap_or_default()),
                );
            }
            5 => {
                let (names, subject) = certificate(wire.bytes())?;
                exchange.take(Role::Peer, "peer_san", Cow::Owned(names.first().cloned().unwrap_or_default()));
                exchange.take(Role::PeerSubject, "peer_subject", Cow::Owned(subject));
                exchange.take(
                    Role::Rest,
                    "peer_san",
                    Cow::Owned(names.get(1..).unwrap_or_default().join(",")),
                );
            }
            _ => unknown(exchange, "tls", of, wire),
        }
        Ok(())
    })
}

/// Names of a certificate, URIs before DNS names, and its subject.
fn certificate(bytes: &[u8]) -> Result<(Vec<String>, String), Fault> {
    let (mut uris, mut names, mut subject) = (Vec::new(), Vec::new(), String::new());
    each(bytes, |of, wire| {
        match of {
            1 => each(wire.bytes(), |of, wire| {
                match of {
                    1 => uris.push(wire.text().into_owned()),
                    2 => names.push(wire.text().into_owned()),
                    _ => {}
                }
                Ok(())
            })?,
            2 => subject = wire.text().into_owned(),
            _ => {}
        }
        Ok(())
    })?;
    uris.append(&mut names);
    Ok((uris, subject))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::{Auth, Kind, Outcome};

    fn socket(out: &mut Writer, number: u32, ip: &str, port: u64) {
        out.message(number, |address| {
            address.message(1, |socket| {
                socket.bytes(2, ip.as_bytes());
                socket.uint(3, port);
            });
        });
    }

    fn shared(out: &mut Writer, flag: Option<u32>) {
        out.message(1, |common| {
            socket(common, 2, "203.0.113.9", 0);
            socket(common, 3, "10.0.0.2", 443);
            common.message(4, |tls| {
                tls.uint(1, 4);
                tls.message(2, |cipher| cipher.uint(1, 0x1301));
                tls.bytes(3, b"shop.example");
                tls.message(5, |peer| {
                    peer.message(1, |san| san.bytes(2, b"web.example"));
                    peer.message(1, |san| san.bytes(1, b"spiffe://Prod.Example/ns/shop/sa/web"));
                    peer.bytes(2, b"CN=web");
                });
            });
            common.message(5, |time| {
                time.uint(1, 1_710_331_713);
                time.uint(2, 250_000_000);
            });
            socket(common, 13, "10.0.0.3", 8080);
            common.bytes(15, b"shop");
            if let Some(flag) = flag {
                common.message(16, |flags| flags.uint(flag, 1));
            }
            socket(common, 20, "10.0.0.9", 4711);
            common.message(23, |duration| duration.uint(2, 5_000_000));
            common.uint(24, 3);
        });
    }

    fn message(entry: u32, write: impl Fn(&mut Writer)) -> Vec<u8> {
        let mut out = Writer::new();
        out.message(1, |identifier| {
            identifier.message(1, |node| node.bytes(1, b"edge-1"));
            identifier.bytes(2, b"all");
        });
        out.message(entry, |list| {
            list.message(1, &write);
            list.message(1, &write);
        });
        out.done()
    }

    fn http_entry(out: &mut Writer) {
        shared(out, None);
        out.uint(2, 3);
        out.message(3, |request| {
            request.uint(1, 3);
            request.bytes(2, b"https");
            request.bytes(3, b"shop.example");
            request.bytes(5, b"/internal");
            request.bytes(6, b"curl/8");
            request.bytes(9, b"req-1");
            request.bytes(10, b"/orders/7?x=1");
            request.uint(12, 30);
        });
        out.message(4, |response| {
            response.message(1, |code| code.uint(1, 403));
            response.uint(3, 9);
        });
    }

    fn only(entry: u32, write: impl Fn(&mut Writer)) -> Draft {
        let (records, identifier) = split(&message(entry, write), b"").unwrap();
        assert_eq!((records.len(), identifier.is_some()), (2, true));
        parse(&Record::new(&records[1], 0)).unwrap()
    }

    #[test]
    fn an_entry_of_http_names_the_workload_of_the_peer_s_certificate() {
        let draft = only(2, http_entry);
        let event = &draft.event;
        assert_eq!(draft.partial, None);
        let who = event.who.who.as_ref().unwrap();
        assert_eq!((who.verified, who.auth), (Verified::Asserted, Some(Auth::SpiffeSvid)));
        assert!(who.id.ends_with("/ns/shop/sa/web"), "{}", who.id);
        assert_eq!((event.core.op.as_str(), event.core.outcome), ("POST", Some(Outcome::Denied)));
        assert_eq!((event.core.t_event, event.core.dur), (Some(1_710_331_713_250_000_000), Some(5_000_000)));
        assert_eq!(event.target.raw, "/orders/7");
        assert_eq!(event.peer.src.as_ref().unwrap().port, Some(4711));
        assert_eq!(event.peer.hops, [("203.0.113.9".to_owned(), Verified::Claimed)]);
        assert_eq!((event.peer.retries, event.links.corr.as_str()), (Some(2), "req-1"));
        let tls = event.peer.tls.as_ref().unwrap();
        assert_eq!((tls.version, tls.cipher, tls.sni.as_str()), (Some(0x0304), Some(0x1301), "shop.example"));
    }

    #[test]
    fn an_entry_of_tcp_is_a_connection_and_its_flags_say_how_it_ended() {
        let draft = only(3, |out| {
            shared(out, Some(6));
            out.message(2, |connection| connection.uint(1, 12));
        });
        assert_eq!(draft.event.core.kind, Some(Kind::L4));
        assert!(draft.event.core.outcome.is_some_and(|outcome| outcome != Outcome::Success));
        let draft = only(3, |out| shared(out, None));
        assert_eq!(draft.event.core.outcome, Some(Outcome::Success));
    }

    #[test]
    fn a_later_message_has_the_identifier_of_the_first_and_broken_ones_are_faults() {
        let (records, own) = split(&message(2, http_entry), b"").unwrap();
        let mut later = Writer::new();
        later.message(2, |list| list.message(1, http_entry));
        let (again, none) = split(&later.done(), &own.unwrap()).unwrap();
        assert_eq!((&again[0], none), (&records[0], None));
        for cut in 1..records[0].len() {
            let _ = parse(&Record::new(&records[0][..cut], 0));
        }
        assert!(parse(&Record::new(b"", 0)).is_err());
    }
}
