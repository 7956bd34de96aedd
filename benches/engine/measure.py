"""Runs a row's commands in turn and makes its entry: medians, and the ratio against the best peer."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Callable

from commands import say

# A peer this much slower than the best one in the first turn takes no part in the later ones.
CONTENDS = 0.8


@dataclass
class Row:
    name: str
    # What the ratio must reach.
    target: float
    # () -> figures of one run, as a dictionary.
    ours: Callable
    # () -> {name: () -> figures}; asked once, when the row begins.
    peers: Callable
    unit: str = "tokens/s"
    # The figure that is compared; more is better. `seconds` is turned into runs a second.
    figure: str = "tokens_per_second"
    # ([figures of our runs]) -> further keys of the entry.
    extras: Callable = field(default=lambda runs: {})
    # The target of a row `train-memory/SET` made of the same runs: its ratio is to stay at or below it.
    memory_target: float | None = None


def measure(row, turns):
    """The entries of a row."""
    peers = row.peers()
    found = {"ours": [], **{name: [] for name in peers}}
    for turn in range(turns):
        for name in contenders(row, found) if turn else list(found):
            run = (row.ours if name == "ours" else peers[name])()
            if row.figure == "per_second":
                run["per_second"] = 1 / run["seconds"]
            found[name].append(run)
            say(f"{row.name} {turn + 1}/{turns}: {name}: {run[row.figure]:.1f} {row.unit}")
    best = max(peers, key=lambda name: median(found[name], row.figure))
    made = [entry(row.name, row.unit, row.target, found, best, row.figure)]
    made[0].update(row.extras(found["ours"]))
    for figure in ("trained_tokens_per_second", "seconds", "cosine_min"):
        made[0].update(beside(found, best, figure))
    if row.memory_target is not None:
        least = min(peers, key=lambda name: median(found[name], "peak_mib"))
        name = row.name.replace("train/", "train-memory/")
        made.append(entry(name, "MiB", row.memory_target, found, least, "peak_mib", at_most=True))
    return made


def contenders(row, found):
    """Ours, the peers that are not far behind the best, and the one with the least memory where that counts."""
    peers = [name for name in found if name != "ours"]
    bar = CONTENDS * max(median(found[name], row.figure) for name in peers)
    kept = {name for name in peers if median(found[name], row.figure) >= bar}
    if row.memory_target is not None:
        kept.add(min(peers, key=lambda name: median(found[name], "peak_mib")))
    return ["ours", *(name for name in peers if name in kept)]


def median(runs, figure):
    return statistics.median(run[figure] for run in runs)


def beside(found, peer, figure):
    """{figure: {"ours", "peer"}} where both have it."""
    if not all(figure in run for name in ("ours", peer) for run in found[name]):
        return {}
    return {figure: {"ours": rounded(median(found["ours"], figure)), "peer": rounded(median(found[peer], figure))}}


def entry(name, unit, target, found, peer, figure, at_most=False):
    ours, theirs = median(found["ours"], figure), median(found[peer], figure)
    ratio = ours / theirs
    return {
        "row": name, "ours": rounded(ours), "peer": rounded(theirs), "peer_name": peer, "unit": unit, "ratio": round(ratio, 2),
        "runs": {of: [rounded(run[figure]) for run in runs] for of, runs in found.items()},
        "target": target, "met": ratio <= target if at_most else ratio >= target,
    }


def rounded(value):
    """Four digits that count, whole numbers whole."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")
