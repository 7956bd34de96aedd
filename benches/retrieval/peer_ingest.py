"""The peers' side of `ingest`: files in a folder -> a store that answers.

    python -m retrieval.peer_ingest settings EMBEDDER FOLDER              # the number format and batch size that embed fastest here
    python -m retrieval.peer_ingest llamaindex EMBEDDER FOLDER STATE FORMAT BATCH
    python -m retrieval.peer_ingest txtai EMBEDDER FOLDER STATE FORMAT BATCH

Both cut chunks as large as ours, by LlamaIndex's splitter, and read files with LlamaIndex's readers: txtai's own need Java or models of
their own. They are spared one hostile file, which is counted as read. Time runs from the first file to the first hit; what is imported and loaded before is not counted.
"""

import json
import logging
import pathlib
import sys
import time

import torch

# Tokens of a chunk, as in a project without settings of its own.
CHUNK = 160
FORMATS = {"f32": torch.float32, "bf16": torch.bfloat16}
BATCHES = (8, 16, 32, 64)
# Chunks that settings are tried on.
SAMPLE = 192
# Unpacked and read by these readers it is a text of 260 million characters: it would be embedded for days.
SPARED = ["bomb.docx"]


def documents(folder):
    from llama_index.core import SimpleDirectoryReader
    from llama_index.readers.file import HTMLTagReader

    # A file that cannot be read is named on standard output and passed over.
    reader = SimpleDirectoryReader(folder, recursive=True, exclude=SPARED, file_extractor={".html": HTMLTagReader("body")})
    found = reader.load_data()
    for document in found:
        # Chroma takes single values alone; a reader's list of errors would end the whole run.
        document.metadata = {key: value for key, value in document.metadata.items() if isinstance(value, str | int | float)}
        # File names, sizes and dates are not embedded.
        document.excluded_embed_metadata_keys = document.excluded_llm_metadata_keys = list(document.metadata)
    return found


def splitter(embedder):
    from llama_index.core.node_parser import SentenceSplitter
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(embedder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return SentenceSplitter(
        chunk_size=CHUNK, chunk_overlap=0, tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False).ids)


def settings(embedder, folder):
    from sentence_transformers import SentenceTransformer

    chunks = [node.get_content() for node in splitter(embedder)(documents(folder))][:SAMPLE]
    best = None
    for name, number_format in FORMATS.items():
        model = SentenceTransformer(str(embedder), device="cpu", model_kwargs={"dtype": number_format})
        model.encode(chunks[:BATCHES[0]], show_progress_bar=False)
        for batch in BATCHES:
            started = time.perf_counter()
            model.encode(chunks, batch_size=batch, show_progress_bar=False)
            best = min(best or (float("inf"),), (time.perf_counter() - started, name, batch))
    return {"format": best[1], "batch": best[2], "chunks_per_second": len(chunks) / best[0]}


def llamaindex(embedder, folder, state, number_format, batch):
    import chromadb
    from llama_index.core import VectorStoreIndex
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.chroma import ChromaVectorStore

    model = HuggingFaceEmbedding(
        str(embedder), device="cpu", embed_batch_size=batch, model_kwargs={"dtype": FORMATS[number_format]})
    client = chromadb.PersistentClient(str(state), chromadb.Settings(anonymized_telemetry=False))
    store = ChromaVectorStore(client.create_collection("chunks", configuration={"hnsw": {"space": "cosine"}}))
    started = time.perf_counter()
    pipeline = IngestionPipeline(transformations=[splitter(embedder), model], disable_cache=True)
    nodes = list(pipeline.run(documents=documents(folder)))
    # Given the store, the pipeline would add all at once, which is more than Chroma takes.
    together = client.get_max_batch_size()
    for start in range(0, len(nodes), together):
        store.add(nodes[start:start + together])
    hits = VectorStoreIndex.from_vector_store(store, model).as_retriever(similarity_top_k=1).retrieve("What is it?")
    return len(nodes), hits, time.perf_counter() - started


def txtai(embedder, folder, state, number_format, batch):
    from txtai import Embeddings

    index = Embeddings(
        path=str(embedder), hybrid=True, content=True, gpu=False, encodebatch=batch, vectors={"dtype": FORMATS[number_format]})
    started = time.perf_counter()
    chunks = [node.get_content() for node in splitter(embedder)(documents(folder))]
    index.index((number, text, None) for number, text in enumerate(chunks))
    index.save(str(state))
    return len(chunks), index.search("What is it?", 1), time.perf_counter() - started


def main():
    logging.disable(logging.WARNING)
    work, embedder, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    if work == "settings":
        print(json.dumps(settings(embedder, folder)))
        return
    chunks, hits, seconds = {"llamaindex": llamaindex, "txtai": txtai}[work](embedder, folder, sys.argv[4], sys.argv[5], int(sys.argv[6]))
    if not hits:
        raise SystemExit("nothing is found in what was ingested")
    print(json.dumps({"chunks": chunks, "seconds": seconds}))


if __name__ == "__main__":
    main()
