//! The reader: what [`super::to_json`] writes, and what a person writes in its shape. Unknown names are refused.

use super::parse::{Json, parse};
use super::write::is_hex;
use super::{time, unbase64url, unhex};
use crate::cbor::Value;
use crate::enums::*;
use crate::fields::{Key, detail, sys};
use crate::model::*;
use crate::{Event, Other, SCHEMA, Shared};
use std::collections::BTreeMap;

/// Why a text is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule}")]
pub struct JsonError {
    /// Byte of the text, or path of the field.
    pub place: String,
    /// What is wrong.
    pub rule: String,
}

type Read<T> = Result<T, JsonError>;

/// The event that `text` describes; bounds are checked when it is encoded. Without `core.eid`, the id
/// follows from agent, stream and seq.
///
/// # Errors
/// Not JSON, an unknown name, or a value of another type, by path.
pub fn from_json(text: &str) -> Result<Event, JsonError> {
    from_tree(parse(text)?)
}

/// As [`from_json`], of what was parsed.
pub(crate) fn from_tree(json: Json) -> Result<Event, JsonError> {
    let mut top = Object::new("event".to_owned(), json)?;
    if top.int::<u16>("schema")?.unwrap_or(SCHEMA) != SCHEMA {
        return Err(fault("schema", "only schema 1 is known"));
    }
    let core = top.object("core", core)?.ok_or_else(|| fault("core", "required"))?;
    let kind = core.kind;
    let event = Event {
        core,
        who: top.object("who", who)?.map(Shared::from).unwrap_or_default(),
        peer: top.object("peer", peer)?.map(Shared::from).unwrap_or_default(),
        target: top.object("target", target)?.map(Shared::from).unwrap_or_default(),
        links: top.object("links", links)?.unwrap_or_default(),
        content: top.object("content", |o| content(o, kind))?.unwrap_or_default(),
        body: top.object("body", body)?.map(Shared::from).unwrap_or_default(),
    };
    top.end()?;
    Ok(event)
}

fn fault(place: &str, rule: &str) -> JsonError {
    JsonError { place: place.to_owned(), rule: rule.to_owned() }
}

/// An object whose fields are taken one by one; what is left over is unknown.
struct Object {
    path: String,
    fields: BTreeMap<String, Json>,
}

impl Object {
    fn new(path: String, json: Json) -> Read<Object> {
        let Json::Object(pairs) = json else { return Err(fault(&path, "expected an object")) };
        let mut fields = BTreeMap::new();
        for (name, json) in pairs {
            if let Some(_twice) = fields.insert(name.clone(), json) {
                return Err(fault(&format!("{path}.{name}"), "given twice"));
            }
        }
        Ok(Object { path, fields })
    }
    fn end(self) -> Read<()> {
        match self.fields.keys().next() {
            Some(name) => {
                Err(fault(&format!("{}.{name}", self.path), "unknown field; see docs/reference/fields.md"))
            }
            None => Ok(()),
        }
    }
    fn fail(&self, name: &str, rule: &str) -> JsonError {
        fault(&format!("{}.{name}", self.path), rule)
    }
    /// The field `name` through `read`, whose `None` means the wrong type.
    fn take<T>(&mut self, name: &str, rule: &str, read: impl FnOnce(Json) -> Option<T>) -> Read<Option<T>> {
        match self.fields.remove(name) {
            None => Ok(None),
            Some(json) => read(json).map(Some).ok_or_else(|| self.fail(name, rule)),
        }
    }
    fn text(&mut self, name: &str) -> Read<String> {
        Ok(self.take(name, "expected text", text)?.unwrap_or_default())
    }
    fn int<T: TryFrom<i128>>(&mut self, name: &str) -> Read<Option<T>> {
        self.take(name, "expected a whole number that fits", int)
    }
    fn bool(&mut self, name: &str) -> Read<Option<bool>> {
        self.take(
            name,
            "expected true or false",
            |json| if let Json::Bool(flag) = json { Some(flag) } else { None },
        )
    }
    fn hex<const N: usize>(&mut self, name: &str) -> Read<Option<[u8; N]>> {
        self.take(name, &format!("expected {N} bytes in hex"), hex)
    }
    fn base64(&mut self, name: &str) -> Read<Vec<u8>> {
        let read = |json| unbase64url(&text(json)?);
        Ok(self.take(name, "expected base64url without padding", read)?.unwrap_or_default())
    }
    fn word<T>(&mut self, name: &str, words: Words<T>) -> Read<Option<T>> {
        self.take(name, "expected a word of its list, or a number above 0", |json| word(json, words))
    }
    /// A time in units of `unit` ns.
    fn time<T: TryFrom<i128>>(&mut self, name: &str, unit: i128) -> Read<Option<T>> {
        self.take(name, "expected an RFC 3339 time in UTC", |json| match json {
            Json::Text(text) => T::try_from(time::parse_rfc3339(&text)?.div_euclid(unit)).ok(),
            json => int(json),
        })
    }
    fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Object) -> Read<T>) -> Read<Option<T>> {
        let path = format!("{}.{name}", self.path);
        self.fields.remove(name).map(|json| inside(path, json, read)).transpose()
    }
    fn objects<T>(&mut self, name: &str, read: fn(&mut Object) -> Read<T>) -> Read<Vec<T>> {
        let path = format!("{}.{name}", self.path);
        let items = self.take(name, "expected an array", array)?.unwrap_or_default();
        items.into_iter().enumerate().map(|(i, json)| inside(format!("{path}[{i}]"), json, read)).collect()
    }
    fn list<T>(&mut self, name: &str, rule: &str, item: impl Fn(Json) -> Option<T>) -> Read<Vec<T>> {
        let read = |json| array(json)?.into_iter().map(item).collect();
        Ok(self.take(name, rule, read)?.unwrap_or_default())
    }
    fn texts(&mut self, name: &str) -> Read<Vec<String>> {
        self.list(name, "expected an array of texts", text)
    }
    fn keyed(&mut self, name: &str, keys: &[Key]) -> Read<KeyedMap> {
        let read = |json| {
            let Json::Object(pairs) = json else { return None };
            let pair = |(name, json): (String, Json)| match keys.iter().find(|known| known.name == name) {
                Some(known) if is_hex(known.ty) => Some((known.key, registered(json)?)),
                Some(known) => Some((known.key, value(json)?)),
                None => Some((name.parse().ok()?, value(json)?)),
            };
            pairs.into_iter().map(pair).collect()
        };
        Ok(self
            .take(name, "expected registered names, or numbers, and their values", read)?
            .unwrap_or_default())
    }
    fn other(&mut self) -> Read<Other> {
        let map = self.keyed("other", &[])?;
        Ok(map.into_iter().collect())
    }
}

fn inside<T>(path: String, json: Json, read: impl FnOnce(&mut Object) -> Read<T>) -> Read<T> {
    let mut object = Object::new(path, json)?;
    let read = read(&mut object)?;
    object.end()?;
    Ok(read)
}

/// From the word, and from the number, of an enum.
type Words<T> = (fn(&str) -> Option<T>, fn(u64) -> Option<T>);

macro_rules! words {
    ($name:ident) => {
        ($name::from_word, $name::from_code)
    };
}

fn text(json: Json) -> Option<String> {
    if let Json::Text(text) = json { Some(text) } else { None }
}
fn int<T: TryFrom<i128>>(json: Json) -> Option<T> {
    if let Json::Int(n) = json { T::try_from(n).ok() } else { None }
}
fn array(json: Json) -> Option<Vec<Json>> {
    if let Json::Array(items) = json { Some(items) } else { None }
}
fn tuple<const N: usize>(json: Json) -> Option<[Json; N]> {
    array(json)?.try_into().ok()
}
fn hex<const N: usize>(json: Json) -> Option<[u8; N]> {
    unhex(&text(json)?)?.try_into().ok()
}
fn word<T>(json: Json, (from_word, from_code): Words<T>) -> Option<T> {
    match json {
        Json::Text(text) => from_word(&text),
        json => from_code(int(json)?),
    }
}
fn level(json: Json) -> Option<Verified> {
    word(json, words!(Verified))
}

fn value(json: Json) -> Option<Value> {
    Some(match json {
        Json::Bool(flag) => Value::Bool(flag),
        Json::Int(n) if n >= 0 => Value::Uint(n.try_into().ok()?),
        Json::Int(n) => Value::Nint((-1 - n).try_into().ok()?),
        Json::Text(text) => Value::Text(text),
        Json::Raw(_) => return None,
        Json::Array(items) => Value::Array(items.into_iter().map(value).collect::<Option<_>>()?),
        Json::Object(mut pairs) => {
            if let [(name, json)] = pairs.as_mut_slice()
                && name.starts_with('$')
            {
                let json = std::mem::replace(json, Json::Bool(false));
                return marked(name, json);
            }
            if pairs.iter().any(|(name, _)| name.starts_with('$')) {
                return None;
            }
            let pair = |(name, json)| Some((Value::Text(name), value(json)?));
            Value::Map(pairs.into_iter().map(pair).collect::<Option<_>>()?)
        }
    })
}
/// An object of one name with a dollar sign: what JSON itself has no type for.
fn marked(name: &str, json: Json) -> Option<Value> {
    match name {
        "$bytes" => Some(Value::Bytes(unbase64url(&text(json)?)?)),
        "$text" => Some(Value::Text(text(json)?)),
        "$map" => {
            let pair = |json| tuple(json).and_then(|[key, of]| Some((value(key)?, value(of)?)));
            Some(Value::Map(array(json)?.into_iter().map(pair).collect::<Option<_>>()?))
        }
        _ => None,
    }
}
/// A value of a registered key whose type is bytes of fixed length: bare text is hex.
fn registered(json: Json) -> Option<Value> {
    match json {
        Json::Text(text) => Some(Value::Bytes(unhex(&text)?)),
        json => value(json),
    }
}

fn core(o: &mut Object) -> Read<Core> {
    let rec = o.word("rec", words!(Rec))?;
    let mut core = Core {
        agent: o.text("agent")?,
        stream: o.hex("stream")?.ok_or_else(|| o.fail("stream", "required"))?,
        seq: o.int("seq")?.ok_or_else(|| o.fail("seq", "required"))?,
        t_obs: o.time("t_obs", 1)?.ok_or_else(|| o.fail("t_obs", "required"))?,
        t_event: o.time("t_event", 1)?,
        t_basis: o.word("t_basis", words!(TimeBasis))?,
        skew: o.take("skew", "expected [offset, error]", |json| {
            let [offset, error] = tuple(json)?;
            Some((int(offset)?, int(error)?))
        })?,
        dur: o.int("dur")?,
        rec,
        kind: o.word("kind", words!(Kind))?,
        proto: o.text("proto")?,
        op: o.text("op")?,
        class: o.word("class", words!(Class))?,
        outcome: o.word("outcome", words!(Outcome))?,
        status: o.take("status", "expected [code space, code]", |json| {
            let [space, code] = tuple(json)?;
            Some((word(space, words!(StatusSpace))?, text(code)?))
        })?,
        decision: o.object("decision", decision)?.map(Box::new),
        labels: o.texts("labels")?,
        tenant: o.text("tenant")?,
        n: o.int("n")?,
        lat: o.take("lat", "expected [queued, first byte, upstream]", |json| {
            let [queued, first, upstream] = tuple(json)?;
            Some([int(queued)?, int(first)?, int(upstream)?])
        })?,
        config: o.hex("config")?,
        route: o.text("route")?,
        sys: o.keyed("sys", sys::keys_of(rec))?,
        other: o.other()?,
        ..Core::default()
    };
    core.eid = o.hex("eid")?.unwrap_or_else(|| crate::eid(&core.agent, &core.stream, core.seq));
    Ok(core)
}

fn decision(o: &mut Object) -> Read<Decision> {
    Ok(Decision {
        verdict: o.word("verdict", words!(Verdict))?,
        mode: o.word("mode", words!(Mode))?,
        policies: o.texts("policies")?,
        reason: o.text("reason")?,
        purpose: o.text("purpose")?,
        other: o.other()?,
    })
}

fn who(o: &mut Object) -> Read<Who> {
    Ok(Who {
        who: o.object("who", principal)?,
        obo: o.objects("obo", principal)?,
        also: o.objects("also", principal)?,
        other: o.other()?,
    })
}

fn principal(o: &mut Object) -> Read<Principal> {
    let verified = o.word("verified", words!(Verified))?.ok_or_else(|| o.fail("verified", "required"))?;
    Ok(Principal {
        kind: o.word("kind", words!(PrincipalKind))?,
        auth: o.word("auth", words!(Auth))?,
        iss: o.text("iss")?,
        cred: o.text("cred")?,
        cred_exp: o.time("cred_exp", 1_000_000_000)?,
        svc: o.text("svc")?,
        inst: o.text("inst")?,
        groups: o.texts("groups")?,
        rel: o.word("rel", words!(Relation))?,
        name: o.text("name")?,
        from: o.word("from", words!(IdentityFrom))?,
        other: o.other()?,
        ..Principal::new(o.text("id")?, verified)
    })
}

fn peer(o: &mut Object) -> Read<Peer> {
    Ok(Peer {
        src: o.object("src", endpoint)?,
        dst: o.object("dst", endpoint)?,
        up: o.object("up", endpoint)?,
        transport: o.word("transport", words!(Transport))?,
        tls: o.object("tls", tls)?,
        hops: o.list("hops", "expected [[hop, level], …]", |json| {
            let [hop, by] = tuple(json)?;
            Some((text(hop)?, level(by)?))
        })?,
        ja4: o.text("ja4")?,
        retries: o.int("retries")?,
        other: o.other()?,
    })
}

fn endpoint(o: &mut Object) -> Read<Endpoint> {
    Ok(Endpoint {
        ip: o.take("ip", "expected an address", |json| text(json)?.parse().ok())?,
        port: o.int("port")?,
        host: o.text("host")?,
        workload: o.text("workload")?,
        ns: o.text("ns")?,
        zone: o.text("zone")?,
        node: o.text("node")?,
        other: o.other()?,
    })
}

fn tls(o: &mut Object) -> Read<Tls> {
    Ok(Tls {
        version: o.int("version")?,
        cipher: o.int("cipher")?,
        sni: o.text("sni")?,
        alpn: o.text("alpn")?,
        peer_cert: o.hex("peer_cert")?,
        resumed: o.bool("resumed")?,
        group: o.int("group")?,
        other: o.other()?,
    })
}

fn target(o: &mut Object) -> Read<Target> {
    Ok(Target {
        svc: o.text("svc")?,
        res: o.text("res")?,
        raw: o.text("raw")?,
        rtype: o.text("rtype")?,
        id: o.text("id")?,
        ns: o.text("ns")?,
        region: o.text("region")?,
        more: o.objects("more", target)?,
        tags: o.texts("tags")?,
        other: o.other()?,
    })
}

fn links(o: &mut Object) -> Read<Links> {
    Ok(Links {
        trace: o.hex("trace")?,
        span: o.hex("span")?,
        parent: o.hex("parent")?,
        tflags: o.int("tflags")?,
        corr: o.text("corr")?,
        sess: o.text("sess")?,
        msg: o.text("msg")?,
        of: o.hex("of")?,
        conn: o.hex("conn")?,
        conn_seq: o.int("conn_seq")?,
        via: o.word("via", words!(LinkVia))?,
        causal: o.list("causal", "expected [[eid, how, score], …]", |json| {
            let [eid, how, score] = tuple(json)?;
            Some((hex(eid)?, word(how, words!(LinkVia))?, int(score)?))
        })?,
        cause: o.list("cause", "expected [[conn, conn_seq, score], …]", |json| {
            let [conn, number, score] = tuple(json)?;
            Some((hex(conn)?, int(number)?, int(score)?))
        })?,
        other: o.other()?,
    })
}

fn content(o: &mut Object, kind: Option<Kind>) -> Read<Content> {
    Ok(Content {
        detail: o.keyed("detail", detail::keys_of(kind))?,
        stmt: o.text("stmt")?,
        stmt_fp: o.hex("stmt_fp")?,
        params: o.texts("params")?,
        headers: o.list("headers", "expected [[name, value], …]", |json| {
            let [name, of] = tuple(json)?;
            Some((text(name)?, text(of)?))
        })?,
        err: o.text("err")?,
        unmapped: o
            .take("unmapped", "expected JSON tokens as text, or $bytes", unmapped)?
            .unwrap_or_default(),
        redacted: o.list("redacted", "expected [[rule, hits], …]", |json| {
            let [rule, hits] = tuple(json)?;
            Some((text(rule)?, int(hits)?))
        })?,
        cut: o.list("cut", "expected [[field id, length], …]", |json| {
            let [field, length] = tuple(json)?;
            Some((int(field)?, int(length)?))
        })?,
        other: o.other()?,
    })
}

fn unmapped(json: Json) -> Option<BTreeMap<String, Unmapped>> {
    let Json::Object(pairs) = json else { return None };
    let pair = |(pointer, json)| match value(json)? {
        Value::Text(token) => Some((pointer, Unmapped::Token(token))),
        Value::Bytes(bytes) => Some((pointer, Unmapped::Bytes(bytes))),
        _ => None,
    };
    unique(pairs, pair)
}

/// A tree of pairs, none of which takes the place of another.
fn unique<K: Ord, V>(
    pairs: Vec<(String, Json)>,
    pair: impl Fn((String, Json)) -> Option<(K, V)>,
) -> Option<BTreeMap<K, V>> {
    let len = pairs.len();
    let map: BTreeMap<K, V> = pairs.into_iter().map(pair).collect::<Option<_>>()?;
    (map.len() == len).then_some(map)
}

fn body(o: &mut Object) -> Read<Body> {
    Ok(Body {
        req: o.object("req", payload)?,
        rsp: o.object("rsp", payload)?,
        cap: o.object("cap", capture)?.map(Shared::from),
        raw: o.object("raw", |o| {
            Ok(Box::new(RawBytes {
                digest: o.hex("digest")?,
                length: o.int("length")?,
                reference: o.text("ref")?,
                bytes: o.base64("bytes")?,
                alg: o.word("alg", words!(DigestAlg))?,
                other: o.other()?,
            }))
        })?,
        change: o.object("change", |o| {
            Ok(Box::new(Change {
                before: o.hex("before")?,
                after: o.hex("after")?,
                alg: o.word("alg", words!(DigestAlg))?,
                other: o.other()?,
            }))
        })?,
        other: o.other()?,
    })
}

fn payload(o: &mut Object) -> Read<Payload> {
    Ok(Payload {
        size: o.int("size")?,
        digest: o.hex("digest")?,
        reference: o.text("ref")?,
        truncated: o.bool("truncated")?,
        content_type: o.text("content_type")?,
        excerpt: o.base64("excerpt")?,
        alg: o.word("alg", words!(DigestAlg))?,
        messages: o.int("messages")?,
        digest_sent: o.hex("digest_sent")?,
        other: o.other()?,
    })
}

fn capture(o: &mut Object) -> Read<Capture> {
    Ok(Capture {
        mode: o.word("mode", words!(CaptureMode))?,
        fmt: o.text("fmt")?,
        parser: o.text("parser")?,
        conf: o.word("conf", words!(CaptureConf))?,
        source_id: o.text("source_id")?,
        offset: o.int("offset")?,
        path: o.text("path")?,
        deliverer: o.text("deliverer")?,
        level: o.take("level", "expected a level", level)?,
        merged: o.int("merged")?,
        changes: o.texts("changes")?,
        other: o.other()?,
    })
}
