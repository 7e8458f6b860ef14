"""A gRPC server without generated code: raw bytes in and out, one line of JSON a call on standard output."""
import concurrent.futures
import json
import sys
import threading
import time

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

LOCK = threading.Lock()


def log(method, code, got, sent):
    with LOCK:
        print(json.dumps({"method": method, "code": code, "in": got, "out": sent}), flush=True)


def metadata(context, key):
    return next((v for k, v in context.invocation_metadata() if k == key), None)


def unary(request, context):
    fail = metadata(context, "x-fail")
    if fail:
        log("Unary", int(fail), 1, 0)
        code = next(c for c in grpc.StatusCode if c.value[0] == int(fail))
        context.abort(code, "asked to fail: caf\u00e9")
    context.set_trailing_metadata((("x-trailer", "t1"), ("x-bin-bin", b"\x00\xff")))
    log("Unary", 0, 1, 1)
    return request


def server_stream(request, context):
    n, size = (int(x) for x in request.split(b","))
    sent = 0
    context.add_callback(lambda: log("ServerStream", 0 if sent == n else 1, 1, sent))
    for _ in range(n):
        sent += 1
        yield b"s" * size


def client_stream(requests, context):
    n = total = 0
    for request in requests:
        n += 1
        total += len(request)
    log("ClientStream", 0, n, 1)
    return b"%d,%d" % (n, total)


def bidi(requests, context):
    n = 0
    for request in requests:
        n += 1
        yield request
    log("Bidi", 0, n, n)


def slow(request, context):
    done = threading.Event()
    context.add_callback(done.set)
    print(json.dumps({"begun": "Slow"}), flush=True)
    done.wait(60)
    log("Slow", 1, 1, 0)
    return b""


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}


def main():
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(64),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.v1.Echo", HANDLERS),))
    servicer = health.HealthServicer()
    servicer.set("orders", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(sys.argv[1])
    server.start()
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet()
    health_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    with open(sys.argv[2], "wb") as out:
        out.write(files.SerializeToString())
    print("ready", flush=True)
    while True:
        time.sleep(60)


main()
