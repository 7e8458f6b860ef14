"""Makes a fixed set of calls and prints what came of each, one line of JSON in a fixed order."""
import json
import sys
import threading

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TARGET, SCENARIO = sys.argv[1], sys.argv[2]
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
CHANNEL = grpc.insecure_channel(TARGET, options=OPTIONS)


def path(method):
    return "/test.v1.Echo/" + method


def show(name, call):
    result = {"name": name}
    try:
        value, trailing = call()
        result["value"] = value
        result["code"] = 0
        result["trailers"] = sorted((k, v.hex() if isinstance(v, bytes) else v) for k, v in trailing)
    except grpc.RpcError as error:
        result["code"] = error.code().value[0]
        result["details"] = error.details()
    print(json.dumps(result), flush=True)


def unary(payload, metadata=(), timeout=30, method="Unary", compression=None):
    def call():
        stub = CHANNEL.unary_unary(path(method))
        value, made = stub.with_call(payload, metadata=metadata, timeout=timeout, compression=compression)
        return [len(value), value == payload], made.trailing_metadata()

    return call


def server_stream(n, size):
    def call():
        made = CHANNEL.unary_stream(path("ServerStream"))(b"%d,%d" % (n, size), timeout=60)
        got = [len(m) for m in made]
        return [len(got), sum(got)], made.trailing_metadata()

    return call


def client_stream(n, size):
    def call():
        stub = CHANNEL.stream_unary(path("ClientStream"))
        value, made = stub.with_call((b"c" * size for _ in range(n)), timeout=60)
        return value.decode(), made.trailing_metadata()

    return call


def bidi(n, size):
    def call():
        made = CHANNEL.stream_stream(path("Bidi"))((b"%08d" % i + b"b" * size for i in range(n)), timeout=60)
        got = list(made)
        ordered = all(m[:8] == b"%08d" % i for i, m in enumerate(got))
        return [len(got), ordered], made.trailing_metadata()

    return call


def cancelled():
    made = CHANNEL.unary_unary(path("Slow")).future(b"x", timeout=60)
    threading.Timer(0.3, made.cancel).start()
    try:
        made.result()
    except grpc.FutureCancelledError:
        pass
    raise made if isinstance(made, grpc.RpcError) else AssertionError(made.code())


def health(service):
    def call():
        stub = health_pb2_grpc.HealthStub(CHANNEL)
        value, made = stub.Check.with_call(health_pb2.HealthCheckRequest(service=service), timeout=30)
        return value.status, made.trailing_metadata()

    return call


def every():
    show("empty", unary(b""))
    show("small", unary(b"hello"))
    show("large", unary(b"x" * (3 << 20)))
    show("compressed", unary(b"z" * 100_000, compression=grpc.Compression.Gzip))
    for code in (3, 5, 7, 13, 16):
        show("fail%d" % code, unary(b"x", metadata=(("x-fail", str(code)),)))
    show("unknown method", unary(b"x", method="Nothing"))
    show("server stream", server_stream(50, 1000))
    show("server stream of nothing", server_stream(0, 0))
    show("server stream of large", server_stream(20, 300_000))
    show("client stream", client_stream(40, 20_000))
    show("client stream of nothing", client_stream(0, 0))
    show("bidi", bidi(100, 100))
    show("deadline", unary(b"x", timeout=0.4, method="Slow"))
    show("cancelled", cancelled)
    show("health", health("orders"))
    show("health of nobody", health("nobody"))


def secrets():
    marks = json.loads(sys.argv[3])
    metadata = [("authorization", "Bearer " + marks[0]), ("x-api-key", marks[1]), ("x-token-bin", marks[2].encode())]
    show("secrets", unary(marks[3].encode(), metadata=metadata))
    show("failing", unary(b"x", metadata=metadata + [("x-fail", "16")]))


def many():
    n = int(sys.argv[3])
    calls = [CHANNEL.unary_unary(path("Unary")).future(b"%d" % i, timeout=60) for i in range(n)]
    print(json.dumps({"answers": sum(1 for i, c in enumerate(calls) if c.result() == b"%d" % i)}), flush=True)


{"every": every, "secrets": secrets, "many": many, "one": lambda: show("one", unary(b"x"))}[SCENARIO]()
