"""Servers of both sides on loopback, and one client for both: chat completions, streamed."""

import contextlib
import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from common.commands import Failed, words

# Seconds until a server must answer, and that one request may take.
START_LIMIT, REQUEST_LIMIT = 120, 600


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving(command, port, log):
    """A server's process, started and ready; ended, by its process, on the way out. What it prints goes to the file `log`."""
    with open(log, "w", encoding="utf-8") as sink:
        try:
            process = subprocess.Popen(words(command), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        except OSError as error:
            raise Failed(f"{command[0]}: {error}") from error
        try:
            wait_until_healthy(process, port, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_healthy(process, port, log):
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until:
        if process.poll() is not None:
            with open(log, encoding="utf-8", errors="replace") as lines:
                last = "".join(lines.readlines()[-4:])
            raise Failed(f"{process.args[0]}: ended with status {process.returncode} before it served: {last}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise Failed(f"{process.args[0]}: not ready after {START_LIMIT} s")


def chat(port, model, messages, max_tokens):
    """One streamed, greedy answer: {"text", "first" and "seconds" since the request, "prompt_tokens", "completion_tokens"}."""
    body = request_body(model, messages, max_tokens)
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_LIMIT)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 200:
            raise Failed(f"port {port}: status {reply.status}: {reply.read(400).decode('utf-8', 'replace')}")
        return read_stream(reply, started)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"port {port}: {error!r}") from error
    finally:
        connection.close()


def request_body(model, messages, max_tokens):
    return json.dumps({
        "model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    })


def read_stream(lines, started):
    """Reads server-sent events to their end."""
    text, first, usage = [], None, None
    for line in lines:
        data = line.decode("utf-8").strip().removeprefix("data:").strip()
        if not data or data.startswith((":", "event:")):
            continue
        if data == "[DONE]":
            break
        event = json.loads(data)
        if "error" in event:
            raise Failed(f"the server answers {event['error']}")
        usage = event.get("usage") or usage
        piece = event["choices"][0]["delta"].get("content") if event.get("choices") else None
        if piece:
            first = first or time.perf_counter() - started
            text.append(piece)
    if first is None or usage is None:
        raise Failed("the stream held no text or no usage")
    return {"text": "".join(text), "first": first, "seconds": time.perf_counter() - started,
            "prompt_tokens": usage["prompt_tokens"], "completion_tokens": usage["completion_tokens"]}


def chat_together(port, model, conversations, max_tokens):
    """All conversations at once, a connection each: their answers in the same order, and the seconds until the last was whole."""
    found, gate = [None] * len(conversations), threading.Barrier(len(conversations) + 1)

    def one(place, messages):
        gate.wait()
        try:
            found[place] = chat(port, model, messages, max_tokens)
        except Exception as error:  # Handed to the caller, who raises it.
            found[place] = error

    threads = [threading.Thread(target=one, args=item, daemon=True) for item in enumerate(conversations)]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return found, seconds
