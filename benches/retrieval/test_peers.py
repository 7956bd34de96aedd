"""Tests of the collections that are made up; skipped where numpy is not installed."""

import json
import pathlib
import tempfile
import unittest

try:
    import numpy as np

    from retrieval import layout, peer_query, synthetic
except ImportError:
    np = None


@unittest.skipIf(np is None, "no numpy here")
class Synthetic(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folders = [pathlib.Path(folder.name) / name for name in ("small", "large")]
        for made, chunks in zip(cls.folders, (1_200, 2_500)):
            synthetic.make(made, chunks, 20)

    def test_a_smaller_collection_is_the_beginning_of_a_larger_one(self):
        small, large = (list(layout.texts(folder / "texts.jsonl")) for folder in self.folders)
        self.assertEqual((1_200, 2_500), (len(small), len(large)))
        self.assertEqual(small, large[:1_200])
        vectors = [np.array(layout.vectors(folder / "vectors.f32")) for folder in self.folders]
        np.testing.assert_array_equal(vectors[0], vectors[1][:1_200])
        np.testing.assert_allclose(np.linalg.norm(vectors[1], axis=1), 1, rtol=1e-5)

    def test_words_follow_their_law(self):
        counts = {}
        texts = list(layout.texts(self.folders[1] / "texts.jsonl"))
        for word in " ".join(texts).split():
            counts[word] = counts.get(word, 0) + 1
        words = synthetic.vocabulary()
        self.assertEqual(synthetic.VOCABULARY, len(set(words)))
        # The tenth word is a tenth as frequent as the first.
        self.assertAlmostEqual(10, counts[words[0]] / counts[words[9]], delta=1)
        lengths = [len(text.split()) for text in texts]
        self.assertEqual(synthetic.WORDS, (min(lengths), max(lengths)))

    def test_queries_resemble_a_chunk(self):
        folder = self.folders[1]
        texts = [set(text.split()) for text in layout.texts(folder / "texts.jsonl")]
        exact = json.loads((folder / "exact.json").read_text(encoding="utf-8"))
        vectors, queries = (np.array(layout.vectors(folder / name)) for name in ("vectors.f32", "queries.f32"))
        asked = list(layout.texts(folder / "queries.jsonl"))
        self.assertEqual((20, 20), (len(asked), len(queries)))
        for text, vector, nearest in zip(asked, queries, exact):
            self.assertEqual(np.argsort(-(vectors @ vector))[:10].tolist(), nearest)
            self.assertLessEqual(set(text.split()), texts[nearest[0]])
        self.assertEqual(0.5, layout.recall([[1, 2], [3, 4]], [[1, 5], [4, 6]]))


@unittest.skipIf(np is None, "no numpy here")
class Effort(unittest.TestCase):
    class Store:
        """Finds as many of ten as it makes effort."""

        EFFORTS = (3, 9, 10, 11)

        def open(self, effort):
            self.effort = effort

        def nearest(self, _vector, count):
            return list(range(min(self.effort, count)))

    def test_is_the_least_that_finds_enough(self):
        store = self.Store()
        self.assertEqual((10, 1.0), peer_query.opened(store, [None], [list(range(10))]))
        self.assertEqual(10, store.effort)

    def test_is_the_greatest_where_none_does(self):
        store = self.Store()
        store.EFFORTS = (3, 9)
        self.assertEqual((9, 0.9), peer_query.opened(store, [None], [list(range(10))]))


if __name__ == "__main__":
    unittest.main()
