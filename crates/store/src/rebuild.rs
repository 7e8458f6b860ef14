//! Columns back to the canonical bytes of a group: what makes one copy enough. The rules are those of
//! `event`'s encoder, written over columns instead of an `Event`; the builder compares both for every
//! group of every event, so a difference costs space (`exact_<group>`), never truth.

use crate::error::StoreError;
use crate::schema::{EXACT, LATER, ip_parse, tls_number};
use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, LargeBinaryArray, ListArray, RecordBatch,
    StringViewArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use countersign_event::{
    Auth, CaptureConf, CaptureMode, Class, DigestAlg, Frame, GROUPS, IdentityFrom, Kind, LinkVia, Mode,
    Outcome, PrincipalKind, Rec, SCHEMA, StatusSpace, TimeBasis, Transport, Verdict,
};
use std::cell::Cell;
use std::net::IpAddr;

/// Bytes that a group usually has room in.
const USUAL: [usize; GROUPS] = [192, 192, 128, 96, 128, 16, 96];

/// Columns that the way back needs, by name; everything else is for search only.
pub(crate) const NEEDED_NOT: [&str; 4] = ["status_code", "behalf", "via", "hop"];

macro_rules! columns {
    ($($kind:ident { $($name:ident $column:literal),+ $(,)? })+) => {
        /// Typed views of one batch.
        pub(crate) struct Columns<'a> {
            $($($name: kind!($kind, 'a),)+)+
            exact: [Option<&'a LargeBinaryArray>; GROUPS],
            cause: Option<Cause<'a>>,
        }
        impl<'a> Columns<'a> {
            /// Finds every column; `exact_<group>` may be missing while a batch is being built.
            pub(crate) fn new(batch: &'a RecordBatch) -> Result<Columns<'a>, StoreError> {
                $($(let $name = find!($kind, batch, $column);)+)+
                let exact = EXACT.map(|name| batch.column_by_name(name).and_then(|c| c.as_binary_opt::<i64>()));
                Ok(Columns { $($($name,)+)+ exact, cause: Cause::new(batch) })
            }
        }
    };
}
macro_rules! kind {
    (text, $l:lifetime) => { &$l StringViewArray };
    (word, $l:lifetime) => { Words<$l> };
    (int, $l:lifetime) => { &$l Int64Array };
    (time, $l:lifetime) => { &$l TimestampNanosecondArray };
    (flag, $l:lifetime) => { &$l BooleanArray };
    (fixed, $l:lifetime) => { &$l FixedSizeBinaryArray };
    (list, $l:lifetime) => { &$l ListArray };
}
macro_rules! find {
    (word, $b:ident, $c:literal) => {
        Words::new(column($b, $c)?.as_string_view_opt().ok_or_else(|| wrong($c))?)
    };
    (text, $b:ident, $c:literal) => {
        column($b, $c)?.as_string_view_opt().ok_or_else(|| wrong($c))?
    };
    (int, $b:ident, $c:literal) => {
        column($b, $c)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong($c))?
    };
    (time, $b:ident, $c:literal) => {
        column($b, $c)?.as_primitive_opt::<TimestampNanosecondType>().ok_or_else(|| wrong($c))?
    };
    (flag, $b:ident, $c:literal) => {
        column($b, $c)?.as_boolean_opt().ok_or_else(|| wrong($c))?
    };
    (fixed, $b:ident, $c:literal) => {
        column($b, $c)?.as_fixed_size_binary_opt().ok_or_else(|| wrong($c))?
    };
    (list, $b:ident, $c:literal) => {
        column($b, $c)?.as_list_opt::<i32>().ok_or_else(|| wrong($c))?
    };
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array, StoreError> {
    batch.column_by_name(name).map(|c| c.as_ref()).ok_or_else(|| wrong(name))
}
fn wrong(name: &str) -> StoreError {
    StoreError::Engine(format!("column {name} is missing or of another type"))
}

columns! {
    flag { is_event "is_event", timed "x_timed", tls_resumed "tls_resumed", req_truncated "req_truncated", rsp_truncated "rsp_truncated" }
    time { time "time", seen "seen" }
    int {
        dur "duration_ns", count "count", lat0 "lat_queued_ns", lat1 "lat_first_byte_ns", lat2 "lat_upstream_ns", seq "seq",
        verified "verified", cred_expires "cred_expires", src_port "src_port", dst_port "dst_port", up_port "up_port",
        tls_cipher "tls_cipher", tls_group "tls_group", trace_flags "trace_flags", conn_seq "conn_seq",
        retries "retries", req_size "req_size", rsp_size "rsp_size",
    }
    fixed {
        eid "x_eid", stream "stream", config "config", peer_cert "peer_cert", trace "trace", span "span", parent "parent",
        of "of", conn "conn", statement_fp "statement_fp", req_digest "req_digest", rsp_digest "rsp_digest",
    }
    list { policies "policies", label "label" }
    word {
        basis "time_basis", rec "rec", kind "kind", class "class", outcome "outcome", status_space "status_space", decision "decision", mode "decision_mode", who_kind "who_kind", auth "auth", who_from "who_from", transport "transport", link_via "link_via", req_alg "req_alg", rsp_alg "rsp_alg", capture "capture", capture_conf "capture_conf",
    }
    text {
        protocol "protocol", op "op",
        status "status", reason "reason",
        purpose "purpose", tenant "tenant", agent "agent", route "route",
        who "who", who_name "who_name", who_svc "who_svc", who_inst "who_inst",
        issuer "issuer", cred "cred",
        src_ip "src_ip", src_host "src_host", src_workload "src_workload", src_ns "src_ns",
        dst_ip "dst_ip", dst_host "dst_host", dst_workload "dst_workload", dst_ns "dst_ns",
        up_ip "up_ip", up_host "up_host", tls "tls", sni "sni", alpn "alpn",
        service "service", resource "resource", raw_target "raw_target", rtype "type", target_id "target_id",
        namespace "namespace", region "region",
        ja4 "ja4", corr "corr", session "session", message "message",
        statement "statement", error "error",
        req_type "req_type", rsp_type "rsp_type",
        capture_format "capture_format", capture_parser "capture_parser",
        source_id "source_id",
    }
}

/// Columns of the best cause; a segment of an earlier version has none, and holds such groups whole.
struct Cause<'a> {
    conn: &'a FixedSizeBinaryArray,
    seq: &'a Int64Array,
    score: &'a Int64Array,
}

impl<'a> Cause<'a> {
    fn new(batch: &'a RecordBatch) -> Option<Cause<'a>> {
        let [conn, seq, score] = LATER.map(|name| batch.column_by_name(name));
        Some(Cause {
            conn: conn?.as_fixed_size_binary_opt()?,
            seq: seq?.as_primitive_opt::<Int64Type>()?,
            score: score?.as_primitive_opt::<Int64Type>()?,
        })
    }
}

/// Slots of a [`Words`] cache.
const WORD_SLOTS: usize = 8;

/// A column of words, with the numbers of the last few: a word of at most 12 bytes stands in its view.
struct Words<'a> {
    column: &'a StringViewArray,
    /// View and number; number 0 for a word without one.
    known: [Cell<(u128, u64)>; WORD_SLOTS],
}

impl<'a> Words<'a> {
    fn new(column: &'a StringViewArray) -> Words<'a> {
        Words { column, known: Default::default() }
    }
    fn code(&self, row: usize, code: impl Fn(&str) -> Option<u64>) -> Option<u64> {
        if self.column.is_null(row) {
            return None;
        }
        let view = self.column.views()[row];
        if view as u32 > 12 {
            return code(self.column.value(row));
        }
        let mixed = (view ^ (view >> 64)) as u64;
        let slot = &self.known[(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) as usize];
        let (known, mut number) = slot.get();
        if known != view {
            number = code(self.column.value(row)).unwrap_or(0);
            slot.set((view, number));
        }
        (number != 0).then_some(number)
    }
}

impl Columns<'_> {
    /// Whether this row is an event.
    pub(crate) fn is_event(&self, row: usize) -> bool {
        self.is_event.value(row)
    }

    /// Whether an event lacks a field that every event has: then the file is not ours, and rebuilding it
    /// would read what is not there.
    pub(crate) fn nulls_where_required(&self) -> bool {
        (0..self.is_event.len()).filter(|row| self.is_event(*row)).any(|row| {
            self.exact[0].is_none_or(|exact| exact.is_null(row))
                && (self.agent.is_null(row)
                    || self.stream.is_null(row)
                    || self.seq.is_null(row)
                    || self.seen.is_null(row))
        })
    }

    /// The frame of one row; `None` for a leaf that is no event.
    pub(crate) fn frame(&self, row: usize) -> Option<Frame> {
        if !self.is_event(row) {
            return None;
        }
        let mut groups: [Vec<u8>; GROUPS] = Default::default();
        for (g, bytes) in groups.iter_mut().enumerate() {
            match self.exact[g].filter(|exact| exact.is_valid(row)) {
                Some(exact) => bytes.extend_from_slice(exact.value(row)),
                None => {
                    bytes.reserve(USUAL[g]);
                    rebuild_group(self, g, row, None, bytes);
                }
            }
        }
        Some(Frame { schema: SCHEMA, groups: groups.into() })
    }
}

/// The canonical bytes of group `g`, as far as plain columns know them, at the end of `out`.
/// `eid`: the event's id, where the caller knows it; else it is derived.
pub(crate) fn rebuild_group(c: &Columns<'_>, g: usize, row: usize, eid: Option<[u8; 16]>, out: &mut Vec<u8>) {
    match g {
        0 => core(c, row, eid, out),
        1 => who(c, row, out),
        2 => peer(c, row, out),
        3 => target(c, row, out),
        4 => links(c, row, out),
        5 => content(c, row, out),
        _ => body(c, row, out),
    }
}

/// A map being written: keys are below 24 and so are pairs, but for group 0 with all its fields, whose
/// head then takes two bytes.
struct Map<'o> {
    out: &'o mut Vec<u8>,
    mark: usize,
    pairs: u8,
}

impl<'o> Map<'o> {
    fn open(out: &'o mut Vec<u8>) -> Map<'o> {
        out.push(0xa0);
        let mark = out.len() - 1;
        Map { out, mark, pairs: 0 }
    }
    fn close(self) {
        if self.pairs < 24 {
            self.out[self.mark] = 0xa0 | self.pairs;
        } else {
            self.out[self.mark] = 0xb8;
            self.out.insert(self.mark + 1, self.pairs);
        }
    }
    fn key(&mut self, key: u8) -> &mut Vec<u8> {
        self.pairs += 1;
        head(self.out, 0, u64::from(key));
        self.out
    }
    /// A map as a field, left out when nothing was written into it.
    fn nested(&mut self, key: u8, fill: impl FnOnce(&mut Map<'_>)) {
        let before = self.out.len();
        self.key(key);
        let mut inner = Map::open(self.out);
        fill(&mut inner);
        let empty = inner.pairs == 0;
        inner.close();
        if empty {
            self.out.truncate(before);
            self.pairs -= 1;
        }
    }
    fn uint(&mut self, key: u8, n: u64) {
        head(self.key(key), 0, n);
    }
    fn int_at(&mut self, key: u8, column: &Int64Array, row: usize) {
        if column.is_valid(row) {
            signed(self.key(key), column.value(row));
        }
    }
    fn text_at(&mut self, key: u8, column: &StringViewArray, row: usize) {
        if column.is_valid(row) {
            text(self.key(key), column.value(row));
        }
    }
    fn fixed_at(&mut self, key: u8, column: &FixedSizeBinaryArray, row: usize) {
        if column.is_valid(row) {
            bytes(self.key(key), column.value(row));
        }
    }
    fn flag_at(&mut self, key: u8, column: &BooleanArray, row: usize) {
        if column.is_valid(row) {
            let byte = if column.value(row) { 0xf5 } else { 0xf4 };
            self.key(key).push(byte);
        }
    }
    /// An enum, from its word.
    fn word_at(&mut self, key: u8, column: &Words<'_>, row: usize, code: impl Fn(&str) -> Option<u64>) {
        if let Some(code) = column.code(row, code) {
            self.uint(key, code);
        }
    }
    fn list_at(&mut self, key: u8, column: &ListArray, row: usize) {
        let Some(texts) = column.values().as_string_view_opt().filter(|_| column.is_valid(row)) else {
            return;
        };
        let offsets = column.value_offsets();
        let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
        let out = self.key(key);
        head(out, 4, (to - from) as u64);
        (from..to).for_each(|item| text(out, valid(texts, item).unwrap_or_default()));
    }
    fn ip_at(&mut self, key: u8, column: &StringViewArray, row: usize) {
        match valid(column, row).and_then(ip_parse) {
            Some(IpAddr::V4(ip)) => bytes(self.key(key), &ip.octets()),
            Some(IpAddr::V6(ip)) => bytes(self.key(key), &ip.octets()),
            None => {}
        }
    }
}

fn valid(column: &StringViewArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}
fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}
fn signed(out: &mut Vec<u8>, n: i64) {
    if n < 0 { head(out, 1, !n as u64) } else { head(out, 0, n as u64) }
}
fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, 2, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
fn text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

macro_rules! code {
    ($list:ident) => {
        |word| $list::from_word(word).map(|value| value.code())
    };
}

fn core(c: &Columns<'_>, row: usize, eid: Option<[u8; 16]>, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.uint(0, u64::from(SCHEMA));
    let (agent, stream, seq) = (c.agent.value(row), c.stream.value(row), c.seq.value(row));
    if c.eid.is_valid(row) {
        bytes(m.key(1), c.eid.value(row));
    } else if let Some(eid) = eid {
        bytes(m.key(1), &eid);
    } else if let Ok(stream) = stream.try_into() {
        bytes(m.key(1), &countersign_event::eid(agent, stream, seq as u64));
    }
    text(m.key(2), agent);
    bytes(m.key(3), stream);
    m.uint(4, seq as u64);
    m.uint(5, c.seen.value(row) as u64);
    if c.timed.is_valid(row) {
        signed(m.key(6), c.time.value(row));
    }
    m.word_at(7, &c.basis, row, code!(TimeBasis));
    m.int_at(9, c.dur, row);
    m.word_at(10, &c.rec, row, code!(Rec));
    m.word_at(11, &c.kind, row, code!(Kind));
    m.text_at(12, c.protocol, row);
    m.text_at(13, c.op, row);
    m.word_at(14, &c.class, row, code!(Class));
    m.word_at(15, &c.outcome, row, code!(Outcome));
    if let Some(space) = c.status_space.code(row, code!(StatusSpace)) {
        let out = m.key(16);
        head(out, 4, 2);
        head(out, 0, space);
        text(out, valid(c.status, row).unwrap_or_default());
    }
    m.nested(17, |m| {
        m.word_at(0, &c.decision, row, code!(Verdict));
        m.word_at(1, &c.mode, row, code!(Mode));
        m.list_at(2, c.policies, row);
        m.text_at(3, c.reason, row);
        m.text_at(4, c.purpose, row);
    });
    m.list_at(18, c.label, row);
    m.text_at(19, c.tenant, row);
    if c.count.is_valid(row) && c.count.value(row) != 1 {
        m.uint(20, c.count.value(row) as u64);
    }
    if c.lat0.is_valid(row) {
        let out = m.key(21);
        head(out, 4, 3);
        [c.lat0, c.lat1, c.lat2].iter().for_each(|part| signed(out, part.value(row)));
    }
    m.fixed_at(22, c.config, row);
    m.text_at(23, c.route, row);
    m.close();
}

fn who(c: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.nested(0, |m| {
        m.text_at(0, c.who, row);
        m.word_at(1, &c.who_kind, row, code!(PrincipalKind));
        m.word_at(2, &c.auth, row, code!(Auth));
        m.int_at(3, c.verified, row);
        m.text_at(4, c.issuer, row);
        m.text_at(5, c.cred, row);
        m.int_at(6, c.cred_expires, row);
        m.text_at(7, c.who_svc, row);
        m.text_at(8, c.who_inst, row);
        m.text_at(11, c.who_name, row);
        m.word_at(12, &c.who_from, row, code!(IdentityFrom));
    });
    m.close();
}

fn peer(c: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.nested(0, |m| {
        m.ip_at(0, c.src_ip, row);
        m.int_at(1, c.src_port, row);
        m.text_at(2, c.src_host, row);
        m.text_at(3, c.src_workload, row);
        m.text_at(4, c.src_ns, row);
    });
    m.nested(1, |m| {
        m.ip_at(0, c.dst_ip, row);
        m.int_at(1, c.dst_port, row);
        m.text_at(2, c.dst_host, row);
        m.text_at(3, c.dst_workload, row);
        m.text_at(4, c.dst_ns, row);
    });
    m.nested(2, |m| {
        m.ip_at(0, c.up_ip, row);
        m.int_at(1, c.up_port, row);
        m.text_at(2, c.up_host, row);
    });
    m.word_at(3, &c.transport, row, code!(Transport));
    m.nested(4, |m| {
        if let Some(version) = valid(c.tls, row).and_then(tls_number) {
            m.uint(0, version);
        }
        m.int_at(1, c.tls_cipher, row);
        m.text_at(2, c.sni, row);
        m.text_at(3, c.alpn, row);
        m.fixed_at(4, c.peer_cert, row);
        m.flag_at(5, c.tls_resumed, row);
        m.int_at(6, c.tls_group, row);
    });
    m.text_at(6, c.ja4, row);
    m.int_at(7, c.retries, row);
    m.close();
}

fn target(c: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.text_at(0, c.service, row);
    m.text_at(1, c.resource, row);
    m.text_at(2, c.raw_target, row);
    m.text_at(3, c.rtype, row);
    m.text_at(4, c.target_id, row);
    m.text_at(5, c.namespace, row);
    m.text_at(6, c.region, row);
    m.close();
}

fn links(c: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.fixed_at(0, c.trace, row);
    m.fixed_at(1, c.span, row);
    m.fixed_at(2, c.parent, row);
    m.int_at(3, c.trace_flags, row);
    m.text_at(4, c.corr, row);
    m.text_at(5, c.session, row);
    m.text_at(6, c.message, row);
    m.fixed_at(7, c.of, row);
    m.fixed_at(8, c.conn, row);
    m.int_at(9, c.conn_seq, row);
    m.word_at(10, &c.link_via, row, code!(LinkVia));
    if let Some(cause) = c.cause.as_ref().filter(|cause| cause.conn.is_valid(row)) {
        let out = m.key(12);
        head(out, 4, 1);
        head(out, 4, 3);
        bytes(out, cause.conn.value(row));
        [cause.seq, cause.score].iter().for_each(|part| signed(out, part.value(row)));
    }
    m.close();
}

fn content(c: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.text_at(1, c.statement, row);
    m.fixed_at(2, c.statement_fp, row);
    m.text_at(5, c.error, row);
    m.close();
}

fn body(c: &Columns<'_>, row: usize, out: &mut Vec<u8>) {
    let mut m = Map::open(out);
    m.nested(0, |m| {
        m.int_at(0, c.req_size, row);
        m.fixed_at(1, c.req_digest, row);
        m.flag_at(3, c.req_truncated, row);
        m.text_at(4, c.req_type, row);
        m.word_at(6, &c.req_alg, row, code!(DigestAlg));
    });
    m.nested(1, |m| {
        m.int_at(0, c.rsp_size, row);
        m.fixed_at(1, c.rsp_digest, row);
        m.flag_at(3, c.rsp_truncated, row);
        m.text_at(4, c.rsp_type, row);
        m.word_at(6, &c.rsp_alg, row, code!(DigestAlg));
    });
    m.nested(2, |m| {
        m.word_at(0, &c.capture, row, code!(CaptureMode));
        m.text_at(1, c.capture_format, row);
        m.text_at(2, c.capture_parser, row);
        m.word_at(3, &c.capture_conf, row, code!(CaptureConf));
        m.text_at(4, c.source_id, row);
    });
    m.close();
}
