"""Runs a row's commands in turn and makes its entries: medians, and the ratio against the best peer."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Callable

from common.commands import Failed, LeftOut, say

# A peer this much slower than the best one in the first turn takes no part in the later ones.
CONTENDS = 0.8
# Figures that stand beside the compared one where both sides have them.
BESIDE = ("trained_tokens_per_second", "seconds", "cosine_min", "chunks", "p99_ms", "search_p50_ms", "search_p99_ms", "embed_p50_ms",
          "recall_at_10")


@dataclass(frozen=True)
class Also:
    """A further entry of the same runs, of a figure that is to be small; its peer is the one with the least."""

    name: str
    unit: str
    figure: str
    # What the ratio must stay at or below.
    target: float


@dataclass
class Row:
    name: str
    # What the ratio must reach, or stay below with `at_most`.
    target: float
    # () -> figures of one run, as a dictionary.
    ours: Callable
    # () -> {name: () -> figures}; asked once, when the row begins.
    peers: Callable
    unit: str = "tokens/s"
    # The figure that is compared. `per_second` is made of `seconds`.
    figure: str = "tokens_per_second"
    # Less is better.
    at_most: bool = False
    # What the ratio is to, instead of the best peer's figure: a target that is a figure of its own.
    against: float | None = None
    # ([figures of our runs]) -> further keys of the entry.
    extras: Callable = field(default=lambda runs: {})
    also: tuple[Also, ...] = ()
    # Where one more turn would give the same figure again.
    once: bool = False


def measure(row, turns):
    """The entries of a row. Peers that say why they cannot do it are left out, with the reason."""
    peers, left_out = row.peers(), {}
    found = {"ours": [], **{name: [] for name in peers}}
    turns = 1 if row.once else turns
    for turn in range(turns):
        for name in contenders(row, found) if turn else list(found):
            try:
                run = (row.ours if name == "ours" else peers[name])()
            except LeftOut as error:
                if name == "ours":
                    raise
                say(f"{row.name}: {name} is left out: {error}")
                left_out[name] = str(error)
                del found[name]
                continue
            if row.figure == "per_second":
                run["per_second"] = 1 / run["seconds"]
            found[name].append(run)
            say(f"{row.name} {turn + 1}/{turns}: {name}: {rounded(run[row.figure])} {row.unit}")
    if len(found) == 1:
        raise Failed(f"no peer has a figure: {left_out}")
    best = best_peer(found, row.figure, row.at_most)
    made = [entry(row.name, row.unit, row.target, found, best, row.figure, row.at_most, row.against)]
    made[0].update(row.extras(found["ours"]))
    for figure in BESIDE:
        made[0].update(beside(found, best, figure))
    for also in row.also:
        least = best_peer(found, also.figure, at_most=True)
        made.append(entry(also.name, also.unit, also.target, found, least, also.figure, at_most=True))
    return [{**of, "left_out": left_out} if left_out else of for of in made]


def contenders(row, found):
    """Ours, the peers that are not far behind the best, and the ones with the least of what else is counted."""
    figures = {name: median(found[name], row.figure) for name in found if name != "ours"}
    if row.at_most:
        kept = {name for name, figure in figures.items() if figure * CONTENDS <= min(figures.values())}
    else:
        kept = {name for name, figure in figures.items() if figure >= CONTENDS * max(figures.values())}
    kept.update(best_peer(found, also.figure, at_most=True) for also in row.also)
    return ["ours", *(name for name in figures if name in kept)]


def best_peer(found, figure, at_most):
    peers = [name for name in found if name != "ours"]
    return (min if at_most else max)(peers, key=lambda name: median(found[name], figure))


def median(runs, figure):
    return statistics.median(run[figure] for run in runs)


def beside(found, peer, figure):
    """{figure: {"ours", "peer"}} where both have it."""
    if not all(figure in run for name in ("ours", peer) for run in found[name]):
        return {}
    return {figure: {"ours": rounded(median(found["ours"], figure)), "peer": rounded(median(found[peer], figure))}}


def entry(name, unit, target, found, peer, figure, at_most=False, against=None):
    ours, theirs = median(found["ours"], figure), median(found[peer], figure)
    ratio = ours / (theirs if against is None else against)
    made = {
        "row": name, "ours": rounded(ours), "peer": rounded(theirs), "peer_name": peer, "unit": unit, "ratio": round(ratio, 2 if against is None else 3),
        "runs": {of: [rounded(run[figure]) for run in runs] for of, runs in found.items()},
        "target": target, "met": ratio <= target if at_most else ratio >= target, "at_most": at_most,
    }
    return made if against is None else {**made, "against": against}


def rounded(value):
    """Four digits that count, whole numbers whole."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")
