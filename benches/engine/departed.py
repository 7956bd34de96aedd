"""How long a server goes on computing for a client that has left."""

import socket
import time

from common.commands import Failed
from engine.servers import REQUEST_LIMIT, request_body

# Seconds between two looks at the server's processor time; the share of one processor below which it rests; and for how long it
# must rest to be done.
LOOK, RESTS, DONE = 0.001, 0.3, 0.25


def seconds_after_leaving(process, port, model, messages, max_tokens, leave):
    """Sends a request, closes the connection after `leave(connection)`, and says how long the server then goes on."""
    body = request_body(model, messages, max_tokens).encode("utf-8")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=REQUEST_LIMIT)
    with connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body)
        leave(connection)
        before = processor_seconds(process)
        time.sleep(0.01)
        if processor_seconds(process) - before < RESTS * 0.01:
            raise Failed("the server was done before its client left")
    return seconds_until_rest(process)


def seconds_until_rest(process):
    left = seen = busy = time.perf_counter()
    used = processor_seconds(process)
    while seen - busy < DONE:
        if seen - left > REQUEST_LIMIT:
            raise Failed(f"the server computes for a client that left {REQUEST_LIMIT} s ago")
        time.sleep(LOOK)
        now, total = time.perf_counter(), processor_seconds(process)
        if total - used > RESTS * (now - seen):
            busy = now
        seen, used = now, total
    return busy - left


def processor_seconds(process):
    """Processor time of a process, all its threads together, to the nanosecond: Linux has a clock for every process."""
    return time.clock_gettime(~process.pid << 3 | 2)


def after(seconds):
    """Leaves so long after the request."""
    return lambda connection: time.sleep(seconds)


def after_text(seconds):
    """Leaves so long after the first text of the answer."""

    def leave(connection):
        held = b""
        # The opening chunk has no text in it.
        while b'"content"' not in held.replace(b'"content":""', b"").replace(b'"content": ""', b""):
            more = connection.recv(65536)
            if not more:
                raise Failed("the server left first")
            held += more
        time.sleep(seconds)

    return leave
