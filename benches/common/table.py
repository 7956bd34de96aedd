"""The figures as Markdown: `OUT/NAME.md`, and the part of `docs/performance.md` between a benchmark's markers."""

# How figures beside the compared one are written.
NOTES = {
    "cosine_min": "cosine {:.4f}", "trained_tokens_per_second": "{:.0f} trained", "p99_ms": "p99 {}", "search_p50_ms": "search {}",
    "search_p99_ms": "its p99 {}", "embed_p50_ms": "embedding {}", "recall_at_10": "recall {:.3f}", "chunks": "{:,.0f} chunks",
}


def table(planned, entries, remark):
    """One line a row in the order of `planned`; a row without figures says so. `remark`: (title, entry -> text) of a column of its own."""
    title, text = remark
    lines = [
        f"| row | ours | best peer | which | ratio | target | {title} | measured |",
        f"|---|--:|--:|---|--:|--:|{'--:' if title.startswith('share') else '---'}|---|",
    ]
    known = {entry["row"]: entry for entry in entries}
    for name in [*planned, *sorted(set(known) - set(planned))]:
        lines.append(line(known[name], text) if name in known else f"| `{name}` | not measured | | | | | | |")
    return "\n".join(lines) + "\n"


def line(entry, remark):
    sign = "≤" if entry.get("at_most", entry["unit"] == "MiB") else "≥"
    # Measures of quality differ in the third digit.
    of, digits = (f" of {entry['against']}", 3) if "against" in entry else ("", 2)
    mark = "" if entry["met"] else " (missed)"
    cells = [
        f"`{entry['row']}`", figure(entry, "ours"), figure(entry, "peer"), entry["peer_name"], f"**{entry['ratio']:.{digits}f}**",
        f"{sign} {entry['target']:.2f}{of}{mark}", remark(entry), when(entry),
    ]
    return f"| {' | '.join(cells)} |"


def share_of_peak(entry):
    return f"{entry['share_of_peak']:.0%} of {entry['peak']}" if "share_of_peak" in entry else ""


def when(entry):
    """The date, and the number of turns."""
    turns = len(entry["runs"].get("ours", []))
    return f"{entry.get('measured', '')}, {turns} turn{'' if turns == 1 else 's'}" if turns else entry.get("measured", "")


def figure(entry, side):
    """A figure with its unit, a time where one was measured, and what stands beside it."""
    if "seconds" in entry:
        text = milliseconds(1000 * entry["seconds"][side])
    else:
        value = entry[side]
        text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.4g}"
        text = f"{text} {entry['unit']}"
    notes = []
    for name, form in NOTES.items():
        if name in entry:
            value = entry[name][side]
            notes.append(form.format(milliseconds(value) if name.endswith("_ms") else value))
    return text + (f" ({', '.join(notes)})" if notes else "")


def milliseconds(value):
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def conditions(machine, versions):
    """What was measured with, a line each."""
    lines = [f"- machine: {machine['processor']}, {machine['threads']} threads"]
    if machine.get("peak"):
        peak = machine["peak"]
        formats = ", ".join(f"{name} {peak[name]:,.0f}" for name in ("f32", "bf16", "int8") if name in peak)
        lines.append(f"- its measured peak: {formats} thousand million operations a second; {peak['read']:.1f} GB/s read")
    lines += [f"- {version}" for version in versions]
    return "\n".join(lines) + "\n"


def markers(name):
    """What the figures of a benchmark stand between."""
    return f"<!-- figures: written by make bench-{name} -->", f"<!-- end of figures of bench-{name} -->"


def between_markers(page, name, figures):
    """The page with `figures` in place of what stands between the benchmark's markers."""
    first, last = markers(name)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"found no {first} … {last}")
    return f"{before}{first}\n\n{figures.strip()}\n\n{last}{after}"
