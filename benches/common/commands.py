"""Running commands, bounded in time, with errors that name the command."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

# Threads of every command that is measured: ours read the variable, the peers are told.
THREADS = os.environ.setdefault("TUNESMITH_THREADS", str(os.cpu_count() or 1))
# Seconds that one command of a row may take, and one that sets something up (PyTorch is large, llama.cpp is compiled).
LIMIT, SETUP_LIMIT = 1800, 4 * 3600
# Seconds between two looks at a process's memory.
LOOK = 0.02


class Failed(Exception):
    """What a row cannot go on without. The rows after it are still run."""


class LeftOut(Failed):
    """Why a peer has no figure in a row. The row goes on without it."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def set_up(*command, **options):
    """Runs a command whose output is for people alone."""
    try:
        subprocess.run(words(command), check=True, stdout=sys.stderr, timeout=SETUP_LIMIT, **options)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(str(error)) from error


def output(*command, seconds=LIMIT, **options):
    """What a command writes to its standard output."""
    return completed(*command, seconds=seconds, **options).stdout


def completed(*command, seconds=LIMIT, accepted=(0,), **options):
    """A command's standard output and standard error, once it has succeeded: ended with one of the `accepted` statuses."""
    command = words(command)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)}: not done after {seconds} s") from error
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode not in accepted:
        raise ended_badly(command, done.returncode, done.stderr)
    return done


def output_and_peak(*command, seconds=LIMIT, **options):
    """What a command writes to its standard output, and the most memory it held at a time, in MiB."""
    command, peak = words(command), 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as text, tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        try:
            process = subprocess.Popen(command, stdout=text, stderr=errors, **options)
        except OSError as error:
            raise Failed(f"{command[0]}: {error}") from error
        end = time.monotonic() + seconds
        try:
            while process.poll() is None:
                # The kernel's own peak, read while the process lives: what it tells of an ended one counts the parent's pages too.
                peak = max(peak, peak_mib(process.pid))
                if time.monotonic() > end:
                    raise Failed(f"{' '.join(command)}: not done after {seconds} s")
                time.sleep(LOOK)
        finally:
            process.kill()
            process.wait()
        text.seek(0)
        errors.seek(0)
        if process.returncode:
            raise ended_badly(command, process.returncode, errors.read())
        return text.read(), peak


def peak_mib(pid):
    """The most memory that a process has held by now; 0 when it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def ended_badly(command, status, errors):
    last = "\n".join(errors.strip().splitlines()[-4:])
    return Failed(f"{' '.join(command)}: exit status {status}: {last}")


def last_json(text, command):
    """The last line of a command's output, read as JSON."""
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failed(f"{command}: its last line is no JSON: {text[-200:]!r}") from error


def fingerprint(*parts):
    """SHA-256 of files (paths) and texts, in hex."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            try:
                part = part.read_bytes()
            except OSError as error:
                raise Failed(str(error)) from error
        part = part if isinstance(part, bytes) else part.encode("utf-8")
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def words(command):
    return [str(word) for word in command]


def seconds_to_output(command, skip=0, limit=120):
    """Seconds from the start of a process to the first byte behind `skip` bytes of its standard output."""
    started = time.perf_counter()
    process = subprocess.Popen(
        words(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    guard = threading.Timer(limit, process.kill)
    guard.start()
    try:
        seen, seconds = 0, None
        while piece := os.read(process.stdout.fileno(), 65536):
            seen += len(piece)
            if seconds is None and seen > skip:
                seconds = time.perf_counter() - started
        if process.wait() or seconds is None:
            raise Failed(f"{command[0]}: exit status {process.returncode} after {seen} bytes of output")
        return seconds
    finally:
        guard.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
