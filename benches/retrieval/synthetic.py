"""A large collection that nobody wrote, with the properties that searching depends on.

    python -m retrieval.synthetic FOLDER CHUNKS QUERIES

Words are drawn from a Zipf law over a vocabulary of 50,000, 60 to 120 a chunk. Vectors have 384 dimensions and clusters: one of 1,000
random centres and as much noise, whose variance falls with one over the rank of its direction (a random rotation mixes them), so that
the noise has some 26 effective dimensions, about as many as are reported of real sentence embeddings. A query resembles a chunk: 8 to
16 of its words, and its vector with a quarter of that noise. The seed is fixed: the first N chunks of a larger collection are those of a
smaller one.
"""

import pathlib
import sys

import numpy as np

from retrieval import layout

SEED, VOCABULARY, WORDS, CENTRES = 20261123, 50_000, (60, 120), 1_000
QUERY_WORDS, QUERY_NOISE = (8, 16), 0.5
# Chunks made at a time, each lot with a generator of its own.
LOT = 1_000
CONSONANTS, VOWELS = "bcdfgklmnprstvz", "aeiou"


def vocabulary():
    """Words of syllables, the frequent ones short."""
    syllables = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
    count = len(syllables)

    def word(number):
        parts = []
        while True:
            parts.append(syllables[number % count])
            number //= count
            if not number:
                return "".join(parts) + "n"
            number -= 1

    return np.array([word(number) for number in range(VOCABULARY)])


def zipf():
    """Where each word's share of the probability ends."""
    shares = 1 / np.arange(1, VOCABULARY + 1)
    return np.cumsum(shares) / shares.sum()


def directions(generator):
    """What turns independent normal numbers into noise of length 1 (in the mean of squares)."""
    spectrum = 1 / np.arange(1, layout.DIMENSION + 1)
    rotation, _ = np.linalg.qr(generator.standard_normal((layout.DIMENSION, layout.DIMENSION)))
    return (np.sqrt(spectrum / spectrum.sum())[:, None] * rotation).astype(np.float32)


class Maker:
    def __init__(self):
        generator = np.random.default_rng(SEED)
        self.words, self.ends = vocabulary(), zipf()
        self.centres = layout.unit(generator.standard_normal((CENTRES, layout.DIMENSION)))
        self.directions = directions(generator)

    def noise(self, generator, rows):
        return generator.standard_normal((rows, layout.DIMENSION), dtype=np.float32) @ self.directions

    def lot(self, number):
        """The texts and vectors of a lot."""
        generator = np.random.default_rng([SEED, number])
        lengths = generator.integers(WORDS[0], WORDS[1], LOT, endpoint=True)
        drawn = self.words[np.searchsorted(self.ends, generator.random(lengths.sum()))]
        texts = [" ".join(words) for words in np.split(drawn, np.cumsum(lengths)[:-1])]
        centres = self.centres[generator.integers(0, CENTRES, LOT)]
        return texts, layout.unit(centres + self.noise(generator, LOT))

    def query(self, generator, text, vector):
        words = text.split()
        count = generator.integers(QUERY_WORDS[0], QUERY_WORDS[1], endpoint=True)
        return " ".join(generator.choice(words, count, replace=False)), vector + QUERY_NOISE * self.noise(generator, 1)[0]


def make(folder, chunks, queries):
    folder.mkdir(parents=True, exist_ok=True)
    maker, generator = Maker(), np.random.default_rng([SEED, chunks, queries])
    asked = dict.fromkeys(generator.choice(chunks, queries, replace=False).tolist())

    def texts():
        with open(folder / "vectors.f32", "wb") as vectors:
            for start in range(0, chunks, LOT):
                lot, rows = maker.lot(start // LOT)
                rows = rows[:chunks - start]
                rows.tofile(vectors)
                for number, text in enumerate(lot[:len(rows)], start):
                    if number in asked:
                        asked[number] = maker.query(generator, text, rows[number - start])
                    yield text

    layout.write_texts(folder / "texts.jsonl", texts())
    layout.write_texts(folder / "queries.jsonl", [text for text, _ in asked.values()])
    layout.unit(np.array([vector for _, vector in asked.values()])).tofile(folder / "queries.f32")
    layout.write_nearest(folder)


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
