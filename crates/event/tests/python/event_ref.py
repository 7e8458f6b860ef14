#!/usr/bin/env python3
"""A second implementation of the event's format, for tests only: standard library, no speed.

Written from the text of the format (docs/schema/event.cddl, docs/reference/fields.md), not from the Rust
code. It works by another plan on purpose: a table of types drives everything; checking walks the decoded
tree against that table, where the Rust decoder re-encodes and compares.

  event_ref.py serve     one JSON command a line on stdin, one JSON answer a line on stdout
  event_ref.py vectors   prints tests/vectors/events.ndjson
"""
import base64
import datetime
import hashlib
import ipaddress
import json
import struct
import sys

EVENT_MAX, GROUP_MAX, NESTING_MAX, ITEMS_MAX = 1 << 20, 512 << 10, 8, 4096


class Bad(Exception):
    """Not in the format."""


def must(condition, rule):
    if not condition:
        raise Bad(rule)


# --- CBOR: int, bytes, str, list, bool, and Map (a list of pairs) -------------------------------------------------

class Map(list):
    """Pairs in the order of the bytes."""

    def get(self, key):
        return next((value for k, value in self if k == key and not isinstance(k, bool)), None)


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for info, size, code in ((24, 1, ">B"), (25, 2, ">H"), (26, 4, ">I"), (27, 8, ">Q")):
        if n < 1 << 8 * size:
            return bytes([major << 5 | info]) + struct.pack(code, n)
    raise Bad("integer beyond 64 bits")


def dump(item, depth=0):
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        data = item.encode("utf-8")
        return head(3, len(data)) + data
    must(depth < NESTING_MAX, "nesting")
    must(len(item) <= ITEMS_MAX, "items")
    if isinstance(item, Map):
        pairs = sorted((dump(key, depth + 1), dump(value, depth + 1)) for key, value in item)
        must(all(a[0] != b[0] for a, b in zip(pairs, pairs[1:])), "duplicate key")
        return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)
    return head(4, len(item)) + b"".join(dump(one, depth + 1) for one in item)


class Parser:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        must(self.at + n <= len(self.data), "ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def item(self, depth=0):
        first = self.take(1)[0]
        if first in (0xF4, 0xF5):
            return first == 0xF5
        major, info = first >> 5, first & 31
        must(major < 6, "tag, float, null, undefined or simple value")
        must(info < 28, "indefinite or reserved")
        n = info if info < 24 else int.from_bytes(self.take(1 << info - 24), "big")
        must(len(head(major, n)) == 1 + (0 if info < 24 else 1 << info - 24), "not the shortest form")
        if major == 0:
            return n
        if major == 1:
            return -1 - n
        if major == 2:
            return bytes(self.take(n))
        if major == 3:
            try:
                return self.take(n).decode("utf-8")
            except UnicodeDecodeError:
                raise Bad("UTF-8") from None
        must(depth < NESTING_MAX, "nesting")
        must(n <= ITEMS_MAX, "items")
        if major == 4:
            return [self.item(depth + 1) for _ in range(n)]
        pairs, last = Map(), None
        for _ in range(n):
            start = self.at
            key = self.item(depth + 1)
            raw = self.data[start:self.at]
            must(last is None or last < raw, "keys do not ascend, or repeat")
            last = raw
            pairs.append((key, self.item(depth + 1)))
        return pairs


def load(data):
    parser = Parser(data)
    item = parser.item()
    must(parser.at == len(data), "bytes after the end")
    return item


# --- types: `make` turns JSON into an item, None for absent; `check` judges a decoded item -----------------------

def is_int(item):
    return isinstance(item, int) and not isinstance(item, bool)


class Uint:
    def __init__(self, least=0, most=(1 << 64) - 1, never=None):
        self.least, self.most, self.never = least, most, never

    def make(self, j):
        self.check(j)
        return j

    def check(self, item):
        must(is_int(item) and self.least <= item <= self.most and item != self.never, "unsigned integer")


class Int(Uint):
    def __init__(self):
        super().__init__(-(1 << 63), (1 << 63) - 1)


class Flag:
    def make(self, j):
        self.check(j)
        return j

    def check(self, item):
        must(isinstance(item, bool), "bool")


class Text:
    def __init__(self, most=None, element=False):
        self.most, self.element = most, element

    def make(self, j):
        must(isinstance(j, str), "text")
        if j == "" and not self.element:
            return None
        self.check(j)
        return j

    def check(self, item):
        must(isinstance(item, str), "text")
        must(self.element or item != "", "empty text")
        must(self.most is None or len(item.encode()) <= self.most, "text too long")


class Fixed:
    def __init__(self, size, zero=True):
        self.size, self.zero = size, zero

    def make(self, j):
        item = bytes.fromhex(j)
        if not self.zero and not any(item):
            return None
        self.check(item)
        return item

    def check(self, item):
        must(isinstance(item, bytes) and len(item) == self.size, "bytes of fixed length")
        must(self.zero or any(item), "all zero")


class Free:
    def __init__(self, most):
        self.most = most

    def make(self, j):
        item = unbase64(j)
        if not item:
            return None
        self.check(item)
        return item

    def check(self, item):
        must(isinstance(item, bytes) and 0 < len(item) <= self.most, "bytes")


class Enum:
    def __init__(self, words):
        self.words = words.split()

    def make(self, j):
        if isinstance(j, str):
            must(j in self.words, "unknown word")
            return self.words.index(j) + 1
        self.check(j)
        return j

    def check(self, item):
        must(is_int(item) and 0 < item < 1 << 64, "enum")


class Time(Uint):
    """A time: RFC 3339 in JSON, an integer of `unit` ns in the item."""

    def __init__(self, signed, unit=1):
        super().__init__(*((-(1 << 63), (1 << 63) - 1) if signed else (0, (1 << 64) - 1)))
        self.unit = unit

    def make(self, j):
        if isinstance(j, str):
            j = nanoseconds(j) // self.unit
        self.check(j)
        return j


class Ip:
    def make(self, j):
        ip = ipaddress.ip_address(j)
        if ip.version == 6 and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return ip.packed

    def check(self, item):
        must(isinstance(item, bytes) and len(item) in (4, 16), "address")
        must(not (len(item) == 16 and item[:12] == bytes(10) + b"\xff\xff"), "IPv4-mapped")


class Tuple:
    def __init__(self, *types):
        self.types = types

    def make(self, j):
        must(isinstance(j, list) and len(j) == len(self.types), "tuple")
        return [ty.make(one) for ty, one in zip(self.types, j)]

    def check(self, item):
        must(type(item) is list and len(item) == len(self.types), "tuple")
        for ty, one in zip(self.types, item):
            ty.check(one)


class List:
    def __init__(self, ty, most=ITEMS_MAX):
        self.ty, self.most = ty, most

    def make(self, j):
        must(isinstance(j, list), "array")
        item = [self.ty.make(one) for one in j]
        if not item:
            return None
        self.check(item)
        return item

    def check(self, item):
        must(type(item) is list and 0 < len(item) <= self.most, "array")
        for one in item:
            self.ty.check(one)


class Set(List):
    def make(self, j):
        must(isinstance(j, list), "array")
        return super().make(sorted(set(j), key=lambda text: text.encode()))

    def check(self, item):
        super().check(item)
        raw = [one.encode() for one in item]
        must(all(a < b for a, b in zip(raw, raw[1:])), "set")


def empty(item):
    return isinstance(item, (str, list)) and len(item) == 0


class Any:
    """Any value of a key that has no type here."""

    def make(self, j):
        item = plain(j)
        if empty(item):
            return None
        self.check(item)
        return item

    def check(self, item):
        must(not empty(item), "an empty value of a key")
        self.inner(item)

    def inner(self, item):
        if isinstance(item, Map):
            for key, value in item:
                self.inner(key)
                self.check(value)
        elif isinstance(item, list):
            for one in item:
                self.inner(one)


class Keyed:
    """detail and sys: `names` are those registered for the event's kind, or rec; other keys are numbers."""

    def make(self, j, names=()):
        item = Map()
        for name, value in j.items():
            known = [(key, ty) for key, (word, ty) in enumerate(names) if word == name]
            if known and known[0][1] in ("b16", "b32"):
                value = bytes.fromhex(value) if isinstance(value, str) else plain(value)
                if not empty(value):
                    item.append((known[0][0], value))
            else:
                made = ANY.make(value)
                if made is not None:
                    item.append((known[0][0] if known else int(name), made))
        return item or None

    def check(self, item):
        must(isinstance(item, Map) and item, "map")
        for key, value in item:
            must(is_int(key) and key >= 0, "unsigned key")
            ANY.check(value)


class Unmapped:
    def make(self, j):
        item = Map((name, value if isinstance(value, str) else plain(value)) for name, value in j.items())
        if not item:
            return None
        self.check(item)
        return item

    def check(self, item):
        must(isinstance(item, Map) and 0 < len(item) <= 1024, "unmapped")
        size = 0
        for key, value in item:
            must(isinstance(key, str) and isinstance(value, (str, bytes)) and value != "", "unmapped")
            size += len(key.encode()) + len(value.encode() if isinstance(value, str) else value)
        must(size <= 256 << 10, "unmapped too large")


class Struct:
    """A map with registered keys: {key: (name, type)}."""

    def __init__(self, fields, required=(), may_be_empty=False, rule=None):
        self.fields, self.required, self.may_be_empty, self.rule = fields, required, may_be_empty, rule

    def make(self, j):
        names = {name for name, _ in self.fields.values()} | {"other"}
        must(set(j) <= names, "unknown name")
        item = Map()
        for key, (name, ty) in self.fields.items():
            if name in j:
                made = ty.make(j[name], neighbour(j)) if isinstance(ty, Keyed) else ty.make(j[name])
                if made is not None:
                    item.append((key, made))
        for key, value in sorted((int(key), value) for key, value in j.get("other", {}).items()):
            must(key not in self.fields, "a known key among the others")
            made = ANY.make(value)
            if made is not None:
                item.append((key, made))
        if not item and not self.may_be_empty:
            return None
        self.check(item)
        return item

    def check(self, item):
        must(isinstance(item, Map) and (item or self.may_be_empty), "map")
        for key, value in item:
            must(is_int(key) and key >= 0, "unsigned key")
            (self.fields[key][1] if key in self.fields else ANY).check(value)
        for key in self.required:
            must(item.get(key) is not None, "required")
        if self.rule:
            self.rule(item)


def neighbour(j):
    """The names of sys, by rec, which stands beside it; detail gets its names in `encode`."""
    return SYS.get(j.get("rec"), ())


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def plain(j):
    """JSON to a value without a type: {"$bytes": …}, {"$map": …} and {"$text": …} stand for what JSON lacks."""
    if isinstance(j, dict):
        if set(j) == {"$bytes"}:
            return unbase64(j["$bytes"])
        if set(j) == {"$text"}:
            return j["$text"]
        if set(j) == {"$map"}:
            return Map((plain(key), plain(value)) for key, value in j["$map"])
        return Map((key, plain(value)) for key, value in j.items())
    if isinstance(j, list):
        return [plain(one) for one in j]
    must(isinstance(j, (bool, int, str)), "no float, no null")
    return j


def nanoseconds(text):
    must(text.endswith("Z") and text[19] == ".", "time")
    year = int(text[:4])
    # the datetime module ends at year 1; 400 years are 146097 days
    shift = 400 if year < 400 else 0
    whole = datetime.datetime.strptime(f"{year + shift:04d}{text[4:19]}", "%Y-%m-%dT%H:%M:%S")
    delta = whole - datetime.datetime(1970, 1, 1)
    seconds = delta.days * 86400 + delta.seconds - (146097 * 86400 if shift else 0)
    return seconds * 10**9 + int(text[20:-1].ljust(9, "0"))


ANY = Any()
VERIFIED = Enum("claimed asserted checked bound")
VIA = Enum("traceparent b3 vendor_header message_header meta sql_comment inferred session_name")
DIGEST = Enum("sha256 hmac_sha256")
U, I, T, B = Uint(), Int(), Text(), Flag()
ONE = Text(element=True)


def fields(*rows):
    return dict(enumerate(rows))


SYS = {
    "finding": [("id", "b16"), ("revision", "u"), ("state", "e"), ("severity", "e"), ("confidence", "u"),
                ("window", "[i]"), ("evidence", "[u]"), ("watermark", "i"), ("flags", "[e]")],
    "platform": [("id", "t"), ("state", "e"), ("level", "e"), ("window", "[i]"), ("expires", "i")],
}
RPC = [("sent", "u"), ("received", "u"), ("deadline", "u"), ("reset", "u")]
DETAIL = {
    "http": [("scheme", "t"), ("query_keys", "[t]"), ("auth_scheme", "t"), ("upgrade", "t")],
    "grpc": RPC,
    "rpc": RPC,
    "sql": [("rows", "u"), ("affected", "u"), ("prepared", "t"), ("tx", "t"), ("tx_status", "t"), ("columns", "[t]"),
            ("copy_bytes", "u"),
            ("not_run", "bool"), ("statement_unknown", "bool"), ("sql_incomplete", "bool"),
            ("portal_partial", "bool"), ("portal_rows", "u"), ("copy_way", "t"), ("copy_digest", "b32"),
            ("copy_messages", "u"), ("copy_failed", "bool"), ("lsn_from", "t"), ("lsn_to", "t"),
            ("function", "u"), ("step", "t"), ("auth_method", "t"), ("application", "t"), ("server_pid",
            "u"), ("replication", "t"), ("statement_digest", "b32"), ("statement_bytes", "u"),
            ("cancel_key_unknown", "bool")],
    "kv": [("db", "u"), ("keys", "u"), ("reply", "t"), ("script", "t"), ("elements", "u"), ("multi", "u"),
           ("function", "t"), ("client", "t"), ("ending", "t"), ("arguments", "u"), ("keys_incomplete", "bool"),
           ("replicated_up", "u"), ("replicated_down", "u"), ("pattern", "t")],
    "messaging": [("partition", "u"), ("offset", "u"), ("key_hash", "b16"), ("qos", "u"), ("retain", "bool"),
                  ("group", "t"), ("exchange", "t"), ("records", "u")],
    "dns": [("qtype", "u"), ("rcode", "u"), ("answers", "[t]")],
    "tool": [("name", "t"), ("server", "t"), ("argument_keys", "[t]"), ("argument_digest", "b32"), ("is_error", "bool"),
             ("mismatch", "bool")],
    "k8s_api": [("api_group", "t"), ("version", "t"), ("subresource", "t"), ("dry_run", "bool")],
    "cloud_api": [("read_only", "bool"), ("source", "t"), ("error", "t")],
    "l4": [("up", "u"), ("down", "u"), ("first_bytes", "t")],
    "auth": [("step", "t"), ("factor", "t")],
}

DECISION = Struct(fields(
    ("verdict", Enum("allow deny would_deny")), ("mode", Enum("observe learn shadow enforce")),
    ("policies", Set(ONE)), ("reason", T), ("purpose", T)))


def sys_only_for_the_platform(core):
    must(core.get(24) is None or (core.get(10) or 0) >= 11, "sys only with rec finding or platform")


CORE = Struct({
    0: ("ver", Uint(1, 1)), 1: ("eid", Fixed(16)), 2: ("agent", Text(256)), 3: ("stream", Fixed(16)), 4: ("seq", Uint(1)),
    5: ("t_obs", Time(False)), 6: ("t_event", Time(True)), 7: ("t_basis", Enum("measured stated derived missing")),
    8: ("skew", Tuple(I, U)), 9: ("dur", U),
    10: ("rec", Enum("interaction intent outcome session_open session_close progress opaque cut raw gap finding platform")),
    11: ("kind", Enum("http grpc rpc sql kv doc messaging object dns l4 auth cloud_api k8s_api secret tool lifecycle "
                      "policy file directory")),
    12: ("proto", Text(64)), 13: ("op", Text(256)),
    14: ("class", Enum("read create modify delete execute admin authenticate connect schema meta")),
    15: ("outcome", Enum("success denied caller_error server_error timeout cancelled partial")),
    16: ("status", Tuple(Enum("http grpc sqlstate mysql mongo kafka mqtt amqp k8s cloud os dns redis jsonrpc nats"), ONE)),
    17: ("decision", DECISION), 18: ("labels", Set(Text(64, True), 32)), 19: ("tenant", Text(128)),
    20: ("n", Uint(never=1)), 21: ("lat", Tuple(U, U, U)), 22: ("config", Fixed(8)), 23: ("route", Text(128)),
    24: ("sys", Keyed())}, required=range(6), rule=sys_only_for_the_platform)


def principal(in_obo):
    def only_in_obo(item):
        must(in_obo or item.get(10) is None, "rel only in obo")
    return Struct(fields(
        ("id", Text(1024)), ("kind", Enum("service workload user device node ai_agent role system anonymous")),
        ("auth", Enum("mtls spiffe_svid jwt jwt_dpop jwt_mtls_bound oauth_opaque api_key basic scram scram_plus kerberos "
                      "sigv4 iam_role k8s_sa http_sig wimse db_password nkey peer_ip peer_cred none")),
        ("verified", VERIFIED), ("iss", T), ("cred", Text(256)), ("cred_exp", Time(True, 10**9)), ("svc", T), ("inst", T),
        ("groups", Set(ONE, 64)), ("rel", Enum("on_behalf_of impersonates assumed_role via")), ("name", T),
        ("from", Enum("tls header token wire_handshake record_field address comment"))), required=[3], rule=only_in_obo)


WHO = Struct(fields(("who", principal(False)), ("obo", List(principal(True), 16)), ("also", List(principal(False), 8))),
             may_be_empty=True)
ENDPOINT = Struct(fields(("ip", Ip()), ("port", Uint(0, 65535)), ("host", T), ("workload", T), ("ns", T), ("zone", T),
                         ("node", T)))
TLS = Struct(fields(("version", U), ("cipher", U), ("sni", T), ("alpn", T), ("peer_cert", Fixed(32)), ("resumed", B),
                    ("group", U)))
PEER = Struct(fields(("src", ENDPOINT), ("dst", ENDPOINT), ("up", ENDPOINT), ("transport", Enum("tcp udp quic unix vsock")),
                     ("tls", TLS), ("hops", List(Tuple(ONE, VERIFIED), 32)), ("ja4", T), ("retries", U)), may_be_empty=True)


class Never:
    def make(self, j):
        must(j == [], "a further resource holds no further ones")

    def check(self, item):
        raise Bad("a further resource holds no further ones")


def target(more):
    return Struct(fields(("svc", Text(256)), ("res", Text(1024)), ("raw", Text(4096)), ("rtype", T), ("id", T), ("ns", T),
                         ("region", T), ("more", more), ("tags", Set(ONE))), may_be_empty=True)


TARGET = target(List(target(Never()), 64))
LINKS = Struct(fields(
    ("trace", Fixed(16, False)), ("span", Fixed(8, False)), ("parent", Fixed(8, False)), ("tflags", U), ("corr", Text(256)),
    ("sess", Text(256)), ("msg", Text(256)), ("of", Fixed(16)), ("conn", Fixed(16)), ("conn_seq", Uint(1)), ("via", VIA),
    ("causal", List(Tuple(Fixed(16), VIA, Uint(0, 1000)), 8)),
    ("cause", List(Tuple(Fixed(16), Uint(1), Uint(0, 1000)), 8))), may_be_empty=True)
CONTENT = Struct(fields(
    ("detail", Keyed()), ("stmt", Text(64 << 10)), ("stmt_fp", Fixed(16)), ("params", List(ONE)),
    ("headers", List(Tuple(ONE, ONE), 64)), ("err", Text(4096)), ("unmapped", Unmapped()), ("redacted", List(Tuple(ONE, U))),
    ("cut", List(Tuple(U, U)))), may_be_empty=True)
PAYLOAD = Struct(fields(("size", U), ("digest", Fixed(32)), ("ref", T), ("truncated", B), ("content_type", T),
                        ("excerpt", Free(4 << 10)), ("alg", DIGEST), ("messages", U), ("digest_sent", Fixed(32))))
CAP = Struct(fields(("mode", Enum("inline mirror pull push file replay")), ("fmt", T), ("parser", T),
                    ("conf", Enum("full partial raw_only")), ("source_id", T), ("offset", U), ("path", T), ("deliverer", T),
                    ("level", VERIFIED), ("merged", Uint(never=1)), ("changes", Set(ONE))))
RAW = Struct(fields(("digest", Fixed(32)), ("length", U), ("ref", T), ("bytes", Free(64 << 10)), ("alg", DIGEST)))
CHANGE = Struct(fields(("before", Fixed(32)), ("after", Fixed(32)), ("alg", DIGEST)))
BODY = Struct(fields(("req", PAYLOAD), ("rsp", PAYLOAD), ("cap", CAP), ("raw", RAW), ("change", CHANGE)), may_be_empty=True)
GROUPS = [("core", CORE), ("who", WHO), ("peer", PEER), ("target", TARGET), ("links", LINKS), ("content", CONTENT),
          ("body", BODY)]


# --- the event -----------------------------------------------------------------------------------------------------

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def eid(agent, stream, seq):
    return sha(b"countersign/eid/1", struct.pack(">H", len(agent.encode())), agent.encode(), stream, struct.pack(">Q", seq))[:16]


def encode(event):
    """The seven groups of an event given as JSON."""
    must(set(event) <= {"schema"} | {name for name, _ in GROUPS} and event.get("schema", 1) == 1, "unknown name")
    groups = []
    for name, ty in GROUPS:
        j = dict(event.get(name, {}))
        if name == "core":
            j["ver"] = 1
            j.setdefault("eid", eid(j["agent"], bytes.fromhex(j["stream"]), j["seq"]).hex())
        if name == "content" and "detail" in j:
            names = DETAIL.get(event["core"].get("kind"), ())
            detail = Keyed().make(j.pop("detail"), names)
            item = ty.make(j)
            if detail:
                item.append((0, detail))
        else:
            item = ty.make(j)
        groups.append(dump(item))
    judge(groups)
    return groups


def judge(groups):
    """Refuses groups that are not the canonical ones of some event."""
    for (_, ty), data in zip(GROUPS, groups):
        must(len(data) <= GROUP_MAX, "group too large")
        ty.check(load(data))
    must(len(frame(groups)) <= EVENT_MAX, "event too large")


def frame(groups, schema=1):
    return b"\x88" + dump(schema) + b"".join(dump(group) for group in groups)


def unframe(data):
    must(len(data) <= EVENT_MAX, "event too large")
    item = load(data)
    must(type(item) is list and len(item) == 8 and is_int(item[0]) and 1 <= item[0] < 1 << 16, "frame")
    must(all(isinstance(group, bytes) for group in item[1:]), "frame")
    must(item[0] == 1, "schema")
    return item[1:]


def commitment(groups, salts=None):
    salts = salts or [bytes([0xA0 + g]) * 16 for g in range(7)]
    parts = [sha(b"\x02", salts[g], bytes([g]), groups[g]) for g in range(7)]
    return sha(b"\x03", struct.pack(">H", 1), *parts)


def leaf(c, source_ref, seq, time_ns):
    return sha(b"\x00", b"\x01", struct.pack(">IQQ", source_ref, seq, time_ns), c)


TIME = 1790000000000000000


def describe(event):
    groups = encode(event)
    data, c = frame(groups), commitment(groups)
    return {"groups": [group.hex() for group in groups], "c": c.hex(),
            "leaf": leaf(c, 1, event["core"]["seq"], TIME).hex(), "frame": sha(data).hex()}


def answer(command):
    try:
        if "event" in command:
            groups = encode(command["event"])
            return {"groups": [group.hex() for group in groups], "c": commitment(groups).hex()}
        if "frame" in command:
            groups = unframe(bytes.fromhex(command["frame"]))
            judge(groups)
            return {"c": commitment(groups).hex()}
        if "group" in command:
            data = bytes.fromhex(command["hex"])
            must(len(data) <= GROUP_MAX, "group too large")
            GROUPS[command["group"]][1].check(load(data))
            return {"ok": True}
        item = load(bytes.fromhex(command["cbor"]))
        return {"ok": dump(item).hex() == command["cbor"]}
    except (Bad, ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    if sys.argv[1:] == ["serve"]:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))))
    elif sys.argv[1:] == ["vectors"]:
        import vectors
        vectors.write()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
