"""Error rates of the decision as JSON and as a table.

    error_rates [RUNS] [SEED] | python -m decision.table OUT.json

Reads the rows that `crates/eval/examples/error_rates.rs` prints, writes them to OUT.json as one list and prints a table of
Markdown. The exit status is 1 when a row misses its target.
"""

import json
import pathlib
import sys


def percent(share):
    return f"{100 * share:.1f}"


def table(rows):
    """Lines of Markdown: a row each, those that miss their target marked."""
    lines = ["| row | measured, % | target, % | ratio | holds |", "|---|--:|--:|--:|---|"]
    for row in rows:
        bound = ("≤ " if row["at_most"] else "≥ ") + percent(row["target"])
        holds = "yes" if row["ratio"] >= 1 else "**no**"
        lines.append(f"| `{row['row']}` | {percent(row['measured'])} | {bound} | {row['ratio']:.2f} | {holds} |")
    return lines


def main(out, text):
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not rows:
        raise SystemExit("no rows were read: did error_rates run?")
    pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(out).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(table(rows)))
    missed = [row["row"] for row in rows if row["ratio"] < 1]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} rows hold; {rows[0]['runs']} runs each, seed {rows[0]['seed']}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin.read()))
