"""The vectors beside the published ones: events with all their hashes, and bytes to accept or to reject.

Each line of tests/vectors/events.ndjson is {"name", "event", "groups", "c", "leaf", "frame"} (salts, source_ref and
time as in the published vectors; `frame` is the SHA-256 of the frame) or {"name", "expect"} with {"group", "hex"},
{"frame"} or {"cbor"}. The expectation is stated here by hand; the second implementation must agree before it is written.
"""
import json

import event_ref as ref

STREAM = bytes(range(0x10, 0x20)).hex()
AGENT = "spiffe://example.org/gw"
SHA = "ab" * 32


def core(**fields):
    return {"agent": AGENT, "stream": STREAM, "seq": 9, "t_obs": "2026-09-21T14:13:20.000000000Z", **fields}


def who(level=4, **fields):
    return {"id": "spiffe://example.org/billing", "verified": level, **fields}


def events():
    yield "text outside ascii", {"core": core(op="läsen ☃ 😀", route="übersicht")}
    yield "agent of 256 bytes", {"core": core(agent="a" * 256)}
    yield "largest seq and time", {"core": core(seq=2**64 - 1, t_obs=2**64 - 1)}
    yield "event before 1970", {"core": core(t_event="1969-12-31T23:59:59.999999999Z", t_basis="derived")}
    yield "least t_event", {"core": core(t_event=-2**63)}
    yield "negative skew", {"core": core(skew=[-1500, 250])}
    yield "zero duration is a value", {"core": core(dur=0)}
    yield "folded interactions", {"core": core(n=1000)}
    yield "n of zero is a value", {"core": core(n=0)}
    yield "unknown enum values", {"core": core(rec=99, kind=1000, **{"class": 70000}, outcome=2**64 - 1)}
    yield "status", {"core": core(kind="sql", status=["sqlstate", "42P01"])}
    yield "status without a code", {"core": core(status=["nats", ""])}
    yield "decision", {"core": core(decision={"verdict": "would_deny", "mode": "shadow", "policies": ["b", "a", "aa", "a"],
                                              "reason": "no rule", "purpose": "billing"})}
    yield "labels are a set, sorted bytewise", {"core": core(labels=["secret", "pii", "phi", "pan", "pii", "z", "ä"])}
    yield "all 25 core keys take a longer map head", {"core": core(
        t_event="2026-09-21T14:13:19.000000001Z", t_basis="stated", skew=[0, 0], dur=1, rec="finding", kind="http",
        proto="http/1.1", op="GET", **{"class": "read"}, outcome="partial", status=["http", "206"],
        decision={"verdict": "allow"}, labels=["pii"], tenant="t", n=2, lat=[1, 2, 3], config="0001020304050607", route="r",
        sys={"id": "0f" * 16, "revision": 2, "state": 1, "severity": 4, "confidence": 80, "window": [-5, 5],
             "evidence": [1, 9], "watermark": 7, "flags": [1, 2]})}
    yield "check result", {"core": core(rec="platform", sys={"id": "tls-everywhere", "state": 1, "expires": 9})}
    yield "unknown keys of core", {"core": core(other={"25": "new", "300": [1, {"$bytes": "AP8"}], "70000": {"b": 1, "aa": 2}})}
    yield "latency parts", {"core": core(lat=[0, 2**32, 2**64 - 1])}
    yield "who at each level", {"core": core(), "who": {"who": who(3, auth="jwt"), "obo": [who(3), who(2)], "also": [who(1)]}}
    yield "unknown level", {"core": core(), "who": {"who": who(5)}}
    yield "principal with every key", {"core": core(), "who": {"who": {
        "id": "jwt:https://idp.example#u1", "kind": "user", "auth": "jwt_dpop", "verified": 4, "iss": "https://idp.example",
        "cred": "kid:1/jti-sha256:ab", "cred_exp": "2030-01-01T00:00:00.000000000Z", "svc": "billing", "inst": "pod-1",
        "groups": ["ops", "dev"], "name": "U. One", "from": "token", "other": {"13": True}}}}
    yield "delegation with relations", {"core": core(), "who": {"who": who(4), "obo": [
        who(2, rel="via"), who(2, rel="assumed_role"), who(1, rel="on_behalf_of")]}}
    yield "anonymous", {"core": core(), "who": {"who": {"id": "anon:", "kind": "anonymous", "verified": 1}}}
    yield "ipv6 and ipv4-mapped", {"core": core(), "peer": {"src": {"ip": "2001:db8::1", "port": 65535},
                                                            "dst": {"ip": "::ffff:10.0.0.9", "port": 0}}}
    yield "endpoint with every key", {"core": core(), "peer": {"up": {
        "ip": "0.0.0.0", "port": 443, "host": "h", "workload": "w", "ns": "n", "zone": "z", "node": "k"}}}
    yield "tls", {"core": core(), "peer": {"transport": "quic", "tls": {
        "version": 0x0304, "cipher": 0x1301, "sni": "orders.example", "alpn": "h2", "peer_cert": SHA, "resumed": False,
        "group": 0x11EC}, "ja4": "t13d1516h2_8daaf6152771_02713d6af862", "retries": 0}}
    yield "forwarded chain", {"core": core(), "peer": {"hops": [["203.0.113.9", 1], ["", 1], ["10.0.0.2", 2]]}}
    yield "target with more", {"core": core(), "target": {
        "svc": "orders", "res": "/orders/{id}", "raw": "/orders/17?x", "rtype": "order", "id": "17", "ns": "prod",
        "region": "eu-1", "more": [{"res": "/a"}, {}, {"tags": ["b", "a"]}], "tags": ["tier:1"]}}
    yield "links", {"core": core(), "links": {
        "trace": "0af7651916cd43dd8448eb211c80319c", "span": "b7ad6b7169203331", "parent": "00f067aa0ba902b7", "tflags": 0,
        "corr": "req-1", "sess": "s", "msg": "m", "of": "01" * 16, "conn": "00" * 16, "conn_seq": 1, "via": "traceparent",
        "causal": [["02" * 16, "inferred", 1000], ["01" * 16, 9, 0]]}}
    yield "probable causes", {"core": core(), "links": {
        "conn": "00" * 16, "conn_seq": 1, "via": "inferred", "cause": [["02" * 16, 7, 450], ["01" * 16, 1, 0]]}}
    yield "trace of zeros is absent", {"core": core(), "links": {"trace": "00" * 16, "span": "00" * 8, "tflags": 1}}
    yield "http detail", {"core": core(kind="http"), "content": {"detail": {
        "scheme": "https", "query_keys": ["b", "a"], "auth_scheme": "Bearer", "upgrade": "websocket", "9": False}}}
    yield "messaging detail", {"core": core(kind="messaging"), "content": {"detail": {
        "partition": 0, "offset": 2**40, "key_hash": "0c" * 16, "qos": 1, "retain": True}}}
    yield "sql statement", {"core": core(kind="sql", op="SELECT"), "content": {
        "detail": {"rows": 3, "columns": ["id", "name"]}, "stmt": "select * from t where id = ?", "stmt_fp": "0d" * 16,
        "params": ["", "17"], "err": "none"}}
    yield "headers keep wire order and empty values", {"core": core(), "content": {
        "headers": [["x-b", "2"], ["x-a", ""], ["x-b", "1"]]}}
    yield "unmapped tokens, shorter keys first", {"core": core(), "content": {"unmapped": {
        "/zz": "null", "/b": "1.50", "/a~1b": "\"x\"", "": "{}", "/bin": {"$bytes": "AP8"}, "/none": {"$bytes": ""},
        "/nan": "NaN"}}}
    yield "redacted and cut", {"core": core(), "content": {"redacted": [["bearer", 2]], "cut": [[1281, 70000]]}}
    yield "payloads", {"core": core(), "body": {
        "req": {"size": 0, "truncated": False}, "rsp": {"size": 2**40, "digest": SHA, "ref": "s3://b/k", "truncated": True,
                                                        "content_type": "application/json", "excerpt": "e30", "alg": "hmac_sha256",
                                                        "messages": 2, "digest_sent": "cd" * 32}}}
    yield "capture", {"core": core(), "body": {"cap": {
        "mode": "file", "fmt": "json", "parser": "nginx@1", "conf": "partial", "source_id": "x", "offset": 0,
        "path": "/var/log/x", "deliverer": "spiffe://example.org/agent", "level": 2, "merged": 2,
        "changes": ["reencoded", "hop_by_hop"]}}}
    yield "raw bytes and change", {"core": core(), "body": {
        "raw": {"digest": SHA, "length": 3, "ref": "r", "bytes": "AAEC", "alg": "sha256"},
        "change": {"before": SHA, "after": "ef" * 32, "alg": "sha256"}}}
    yield "empty maps are absent", {"core": core(decision={}, sys={}), "peer": {"src": {}, "tls": {}},
                                    "body": {"req": {"ref": ""}, "cap": {"changes": []}}}


B0 = "a600010150ff81e7ff6b36ff8e0e270c0dbcfac83102777370696666653a2f2f6578616d706c652e6f72672f67770350" + STREAM
B0 += "0408051b18d75b8423f30000"


def plus(tail, pairs=1):
    """The smallest core with more pairs after it."""
    return f"{0xA6 + pairs:02x}" + B0[2:] + tail


def bytes_to_judge():
    """name, group, hex, expectation"""
    yield "smallest core", 0, B0, "accept"
    yield "core with an unknown key", 0, plus("181900"), "accept"
    yield "core without t_obs", 0, "a5" + B0[2:-20], "reject"
    yield "empty core", 0, "a0", "reject"
    yield "ver 2", 0, B0.replace("a60001", "a60002", 1), "reject"
    yield "seq 0", 0, B0.replace("0408051b", "0400051b"), "reject"
    yield "eid of 15 bytes", 0, B0.replace("0150ff81", "014f81"), "reject"
    yield "n of 1", 0, plus("1401"), "reject"
    yield "t_basis of 0", 0, plus("0700"), "reject"
    yield "t_event beyond 64 bits", 0, plus("061bffffffffffffffff"), "reject"
    yield "skew with a negative error", 0, plus("08820020"), "reject"
    yield "skew of three", 0, plus("0883000000"), "reject"
    yield "empty op", 0, plus("0d60"), "reject"
    yield "op of 257 bytes", 0, plus("0d590101".replace("59", "79") + "61" * 257), "reject"
    yield "proto of 64 bytes", 0, plus("0c7840" + "61" * 64), "accept"
    yield "proto of 65 bytes", 0, plus("0c7841" + "61" * 65), "reject"
    yield "status space of 0", 0, plus("10820060"), "reject"
    yield "empty decision", 0, plus("11a0"), "reject"
    yield "labels not sorted", 0, plus("128261626161"), "reject"
    yield "labels repeat", 0, plus("128261616161"), "reject"
    yield "labels sorted bytewise, not by length", 0, plus("12826261616162"), "accept"
    yield "labels by length, not bytewise", 0, plus("12826162626161"), "reject"
    yield "empty labels", 0, plus("1280"), "reject"
    yield "a label of 65 bytes", 0, plus("12817841" + "61" * 65), "reject"
    yield "lat of two", 0, plus("15820000"), "reject"
    yield "sys without its rec", 0, plus("1818a10001"), "reject"
    yield "sys of an interaction", 0, plus("0a011818a10001", 2), "reject"
    yield "sys of a finding", 0, plus("0a0b1818a10001", 2), "accept"
    yield "empty value of an unknown key", 0, plus("181960"), "reject"
    yield "empty value inside an unknown key", 0, plus("1819a10080"), "reject"
    yield "empty element inside an unknown key", 0, plus("18198160"), "accept"
    yield "text key in a group", 0, plus("616100"), "reject"
    yield "verified of 0", 1, "a100a10300", "reject"
    yield "no verified", 1, "a100a1006161", "reject"
    yield "verified of 5 is kept", 1, "a100a10305", "accept"
    yield "rel on the actor", 1, "a100a203040a01", "reject"
    yield "rel in obo", 1, "a10181a203040a01", "accept"
    yield "empty obo", 1, "a10180", "reject"
    yield "seventeen in obo", 1, "a10191" + "a10301" * 17, "reject"
    yield "nine also", 1, "a10289" + "a10301" * 9, "reject"
    yield "address of 5 bytes", 2, "a100a100450102030405", "reject"
    yield "ipv4-mapped address", 2, "a100a10050" + "00" * 10 + "ffff0a000001", "reject"
    yield "port of 65536", 2, "a100a1011a00010000", "reject"
    yield "empty endpoint", 2, "a100a0", "reject"
    yield "resumed as a number", 2, "a104a10501", "reject"
    yield "resumed is false", 2, "a104a105f4", "accept"
    yield "hop with level 0", 2, "a1058182616100", "reject"
    yield "res of 1025 bytes", 3, "a101790401" + "61" * 1025, "reject"
    yield "more inside more", 3, "a10781a10781a0", "reject"
    yield "trace of zeros", 4, "a10050" + "00" * 16, "reject"
    yield "span of zeros", 4, "a10148" + "00" * 8, "reject"
    yield "conn_seq of 0", 4, "a10900", "reject"
    yield "score of 1001", 4, "a10b818350" + "00" * 16 + "071903e9", "reject"
    yield "detail with a text key", 5, "a100a1616100", "reject"
    yield "empty detail", 5, "a100a0", "reject"
    yield "detail with an empty text", 5, "a100a10060", "reject"
    yield "params of an empty text", 5, "a1038160", "accept"
    yield "header of one", 5, "a104818161", "reject"
    yield "unmapped with a number", 5, "a106a1616101", "reject"
    yield "unmapped with an empty token", 5, "a106a1616160", "reject"
    yield "unmapped with empty bytes", 5, "a106a1616140", "accept"
    yield "unmapped by bytes, not by length", 5, "a106a2626161613161626132", "reject"
    yield "nested 8 deep", 5, "a100a100" + "81" * 6 + "00", "accept"
    yield "nested 9 deep", 5, "a100a100" + "81" * 7 + "00", "reject"
    yield "4096 items", 5, "a100a100991000" + "00" * 4096, "accept"
    yield "4097 items", 5, "a100a100991001" + "00" * 4097, "reject"
    yield "merged of 1", 6, "a102a10901", "reject"
    yield "merged of 0", 6, "a102a10900", "accept"
    yield "empty excerpt", 6, "a100a10540", "reject"
    yield "excerpt of 4097 bytes", 6, "a100a105591001" + "00" * 4097, "reject"
    yield "digest of 31 bytes", 6, "a100a101581f" + "00" * 31, "reject"
    yield "a group that is an array", 6, "80", "reject"
    yield "nothing", 6, "", "reject"
    yield "bytes after the group", 6, "a000", "reject"


def frames():
    smallest = "8801" + "58" + f"{len(B0) // 2:02x}" + B0 + "41a0" * 6
    yield "smallest frame", smallest, "accept"
    yield "frame of seven", "8701" + smallest[4:-4], "reject"
    yield "frame with schema 0", "8800" + smallest[4:], "reject"
    yield "frame with schema 2", "8802" + smallest[4:], "reject"
    yield "frame with a long schema", "881801" + smallest[4:], "reject"
    yield "frame with text for bytes", smallest[:-4] + "61a0", "reject"
    yield "frame with a byte more", smallest + "00", "reject"
    yield "frame with a byte less", smallest[:-2], "reject"


def values():
    for name, data in [("long 0", "1800"), ("long 24", "190018"), ("long 65535", "1a0000ffff"), ("long 2^32-1", "1b00000000ffffffff"),
                       ("order", "a201000000"), ("duplicate", "a200010002"), ("indefinite map", "bf0001ff"),
                       ("indefinite array", "9f00ff"), ("indefinite bytes", "5f4100ff"), ("indefinite text", "7f6161ff"),
                       ("null", "f6"), ("undefined", "f7"), ("simple 16", "f0"), ("simple 255", "f8ff"), ("float16", "f93c00"),
                       ("float32", "fa47c35000"), ("float64", "fb3ff199999999999a"), ("tag", "c000"), ("break", "ff"),
                       ("reserved", "1c"), ("utf-8", "61ff"), ("surrogate", "63eda080"), ("overlong", "62c0af"),
                       ("trailing", "a1000000"), ("too short", "6261"), ("text order", "a26161006100"), ("nothing", ""),
                       ("huge array", "9bffffffffffffffff"), ("huge text", "7bffffffffffffffff"), ("9 deep", "81" * 9 + "00")]:
        yield name, data, "reject"
    for name, data in [("8 deep", "81" * 8 + "00"), ("shorter text key first", "a3616100616200626161f5"),
                       ("array as a key", "a1810000"), ("false", "f4"), ("2^64-1", "1bffffffffffffffff"),
                       ("-2^64", "3bffffffffffffffff"), ("empty map", "a0")]:
        yield name, data, "accept"


def write():
    def line(name, rest):
        print(json.dumps({"name": name, **rest}, ensure_ascii=False, separators=(",", ":")))

    for name, event in events():
        line(name, {"event": event, **ref.describe(event)})
    judged = [(name, {"group": g, "hex": data}, expect) for name, g, data, expect in bytes_to_judge()]
    judged += [(name, {"frame": data}, expect) for name, data, expect in frames()]
    judged += [(f"value: {name}", {"cbor": data}, expect) for name, data, expect in values()]
    for name, command, expect in judged:
        given = ref.answer(command)
        if ("error" in given) != (expect == "reject"):
            raise SystemExit(f"{name}: expected {expect}, the second implementation says {given}")
        line(name, {**command, "expect": expect})
