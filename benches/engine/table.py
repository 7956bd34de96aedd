"""The figures as Markdown: `engine.md`, and the part of `docs/performance.md` between its markers."""

BEGIN, END = "<!-- figures: written by make bench-engine -->", "<!-- end of figures -->"


def table(planned, entries):
    """One line a row in the order of `planned`; a row without figures says so."""
    lines = [
        "| row | ours | best peer | which | ratio | target | share of the peak | measured |",
        "|---|--:|--:|---|--:|--:|--:|---|",
    ]
    known = {entry["row"]: entry for entry in entries}
    for name in [*planned, *sorted(set(known) - set(planned))]:
        lines.append(line(known[name]) if name in known else f"| `{name}` | not measured | | | | | | |")
    return "\n".join(lines) + "\n"


def line(entry):
    sign = "≤" if entry["unit"] == "MiB" else "≥"
    mark = "" if entry["met"] else " (missed)"
    share = f"{entry['share_of_peak']:.0%} of {entry['peak']}" if "share_of_peak" in entry else ""
    cells = [
        f"`{entry['row']}`", figure(entry, "ours"), figure(entry, "peer"), entry["peer_name"], f"**{entry['ratio']:.2f}**",
        f"{sign} {entry['target']:.2f}{mark}", share, when(entry),
    ]
    return f"| {' | '.join(cells)} |"


def when(entry):
    """The date, and the number of turns."""
    turns = len(entry["runs"].get("ours", []))
    return f"{entry.get('measured', '')}, {turns} turn{'' if turns == 1 else 's'}" if turns else entry.get("measured", "")


def figure(entry, side):
    """A figure with its unit: a time where one was measured, else thousands apart."""
    if "seconds" in entry:
        return f"{1000 * entry['seconds'][side]:.0f} ms"
    value = entry[side]
    text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    notes = []
    if "cosine_min" in entry:
        notes.append(f"cosine {entry['cosine_min'][side]:.4f}")
    if "trained_tokens_per_second" in entry:
        notes.append(f"{entry['trained_tokens_per_second'][side]:.0f} trained")
    return f"{text} {entry['unit']}" + (f" ({', '.join(notes)})" if notes else "")


def perplexities(known):
    """Perplexity by weight format."""
    if not known:
        return ""
    lines = ["| weights | perplexity |", "|---|--:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in sorted(known.items(), key=lambda item: item[1])]
    return "\n".join(lines) + "\n"


def conditions(machine, versions):
    """What was measured with, a line each."""
    lines = [f"- machine: {machine['processor']}, {machine['threads']} threads"]
    if machine.get("peak"):
        peak = machine["peak"]
        formats = ", ".join(f"{name} {peak[name]:,.0f}" for name in ("f32", "bf16", "int8") if name in peak)
        lines.append(f"- its measured peak: {formats} thousand million operations a second; {peak['read']:.1f} GB/s read")
    lines += [f"- {version}" for version in versions]
    return "\n".join(lines) + "\n"


def between_markers(page, figures):
    """The page with `figures` in place of what stands between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{figures.strip()}\n\n{END}{after}"
