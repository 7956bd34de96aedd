"""Tests of the table of error rates."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

from decision import table

ROW = {"row": "harm/few", "measured": 0.02, "target": 0.025, "at_most": True, "ratio": 1.25, "runs": 10, "seed": 7}


class Table(unittest.TestCase):
    def run_on(self, rows):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
            out = pathlib.Path(folder) / "new" / "decision.json"
            status = table.main(out, "".join(json.dumps(row) + "\n" for row in rows))
            return status, json.loads(out.read_text(encoding="utf-8")), printed.getvalue()

    def test_rows_that_hold(self):
        status, written, printed = self.run_on([ROW])
        self.assertEqual((status, written), (0, [ROW]))
        self.assertIn("| `harm/few` | 2.0 | ≤ 2.5 | 1.25 | yes |", printed)

    def test_a_row_that_misses_its_target_fails(self):
        status, _, printed = self.run_on([ROW, {**ROW, "row": "power/much", "at_most": False, "ratio": 0.9}])
        self.assertEqual(status, 1)
        self.assertIn("**no**", printed)
        self.assertIn("1 of 2 rows hold", printed)

    def test_nothing_is_no_table(self):
        with self.assertRaises(SystemExit):
            table.main("unused.json", "")


if __name__ == "__main__":
    unittest.main()
