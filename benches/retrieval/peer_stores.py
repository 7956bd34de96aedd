"""The peers that keep chunks and find them, each in its best configuration: build, open, a hybrid query, a query by vector alone.

`search` returns [(number, text)], `nearest` numbers, both best first. `EFFORTS` is what a search may be told to look at, the least
first; `open` takes one of them.
"""

import gc
import itertools
import os

import numpy as np

# LanceDB's vector index is made from this many chunks on: below it, it scans.
INDEXED = 50_000
# Chunks of one of its graphs: its documentation wants few of them, and memory to build one at a time.
PARTITION = 250_000


class Lance:
    """LanceDB: a text index (stems, no positions), ranks of both fused; past `INDEXED` chunks HNSW over vectors of eight bits."""

    LOT = 10_000
    EFFORTS = (100, 200, 400, 800)

    def __init__(self, state, exact=False):
        # It says at every query that its columns will change one day.
        os.environ.setdefault("LANCEDB_LOG", "error")
        import lancedb

        self.database, self.exact = lancedb.connect(str(state)), exact

    def build(self, texts, vectors):
        import pyarrow as pa

        schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])

        def batches():
            for start in range(0, len(vectors), self.LOT):
                lot = np.asarray(vectors[start:start + self.LOT])
                numbers = pa.array(range(start, start + len(lot)), pa.int64())
                held = pa.FixedSizeListArray.from_arrays(pa.array(lot.ravel()), lot.shape[1])
                some = pa.array(list(itertools.islice(texts, len(lot))), pa.string())
                yield pa.RecordBatch.from_arrays([numbers, some, held], schema=schema)

        table = self.database.create_table("chunks", batches(), schema=schema)
        table.create_fts_index("text", stem=True, remove_stop_words=False)
        if len(vectors) >= INDEXED and not self.exact:
            from lancedb.index import HnswSq

            parts = max(1, len(vectors) // PARTITION)
            table.create_index("vector", config=HnswSq(distance_type="cosine", num_partitions=parts))
        table.optimize()

    def open(self, effort):
        from lancedb.rerankers import RRFReranker

        self.table, self.fusion, self.effort = self.database.open_table("chunks"), RRFReranker(), effort

    def search(self, text, vector, k):
        from lancedb.query import MatchQuery

        query = self.table.search(query_type="hybrid", vector_column_name="vector", fts_columns="text")
        query = query.vector(vector).text(MatchQuery(text, "text")).distance_type("cosine")
        found = self.tuned(query).rerank(self.fusion).select(["id", "text"]).limit(k).to_arrow()
        return list(zip(found["id"].to_pylist(), found["text"].to_pylist()))

    def nearest(self, vector, k):
        query = self.table.search(vector, vector_column_name="vector").distance_type("cosine")
        return self.tuned(query).select(["id"]).limit(k).to_arrow()["id"].to_pylist()

    def tuned(self, query):
        """All partitions, and so many candidates in each."""
        return query if self.exact else query.nprobes(20).ef(self.effort)


class LanceExact(Lance):
    """The same without a vector index."""

    EFFORTS = (None,)

    def __init__(self, state):
        super().__init__(state, exact=True)


class Chroma:
    """Chroma: HNSW. It ranks by vectors alone, having no BM25."""

    LOT = 5_000
    EFFORTS = (100, 200, 400, 800)

    def __init__(self, state):
        self.state, self.client, self.collection = str(state), None, None

    def connect(self):
        import chromadb

        if self.client:
            # What is in memory keeps the effort it was read with.
            self.client.clear_system_cache()
            self.client = self.collection = None
            gc.collect()
        self.client = chromadb.PersistentClient(self.state, chromadb.Settings(anonymized_telemetry=False))

    def build(self, texts, vectors):
        self.connect()
        collection = self.client.create_collection("chunks", configuration={"hnsw": {"space": "cosine", "ef_search": 100}})
        for start in range(0, len(vectors), self.LOT):
            lot = np.asarray(vectors[start:start + self.LOT])
            numbers = [str(start + offset) for offset in range(len(lot))]
            collection.add(ids=numbers, embeddings=lot, documents=list(itertools.islice(texts, len(lot))))

    def open(self, effort):
        self.connect()
        self.client.get_collection("chunks").modify(configuration={"hnsw": {"ef_search": effort}})
        self.connect()
        self.collection = self.client.get_collection("chunks")

    def search(self, text, vector, k):
        found = self.collection.query(query_embeddings=[vector], n_results=k, include=["documents"])
        return [(int(number), text) for number, text in zip(found["ids"][0], found["documents"][0])]

    def nearest(self, vector, k):
        return [int(number) for number in self.collection.query(query_embeddings=[vector], n_results=k, include=[])["ids"][0]]


class Txtai:
    """txtai with `hybrid`: Faiss, BM25 of its own, weight .5, texts in SQLite."""

    EFFORTS = (None,)

    def __init__(self, state):
        from txtai import Embeddings

        self.index, self.state, self.vector = Embeddings, str(state), None

    def build(self, texts, vectors):
        taken = iter(range(len(vectors)))

        def transform(some):
            return np.asarray(vectors[[next(taken) for _ in some]])

        index = self.index(method="external", transform=transform, hybrid=True, content=True)
        index.index((number, text, None) for number, text in enumerate(texts))
        index.save(self.state)

    def open(self, _effort):
        def transform(some):
            return np.asarray([self.vector for _ in some])

        self.index = self.index().load(self.state, config={"transform": transform})

    def search(self, text, vector, k):
        self.vector = vector
        return [(int(hit["id"]), hit["text"]) for hit in self.index.search(text, k)]

    def nearest(self, vector, k):
        return [number for number, _ in self.index.ann.search(np.asarray([vector]), k)[0]]


STORES = {"lancedb": Lance, "lancedb-exact": LanceExact, "chroma": Chroma, "txtai": Txtai}
