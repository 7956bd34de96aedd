//! The store under many chunks: building it, and asking it as the product does.
//!
//!     scale build FOLDER STATE    every text becomes a document of one chunk
//!     scale query FOLDER STATE [--k 10] [--exact] [--embedder PATH]
//!
//! `FOLDER` holds `texts.jsonl` and `queries.jsonl` (`{"id": N, "text": "..."}` a line),
//! `vectors.f32` and `queries.f32` (384 numbers of 32 bits a text, little endian, unit length).
//! Each prints one JSON line.
//!
//! Queries are timed with BM25 and vectors fused, with the default options. Without `--embedder`
//! the vectors are those of `queries.f32`. With it, every query's text is turned into a vector
//! first; that time counts, and afterwards embedding and searching are timed apart. `--precision`
//! is the embedder's. `--exact` compares all vectors even where the store has a graph.
//! `recall_at_10` is measured with the vectors of `queries.f32` alone, against a scan of
//! `vectors.f32`; `--k` does not change it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Instant;

use lm::{Encoder, Precision};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Embedder, NewChunk, NewDocument, SearchOptions, Store};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Numbers in a vector.
const DIMENSION: usize = 384;
/// Documents in a transaction.
const TOGETHER: usize = 5_000;
/// What is printed when the arguments are not understood.
const USAGE: &str = "usage: scale build FOLDER STATE | \
    query FOLDER STATE [--k K] [--exact] [--embedder PATH]";
/// Queries whose vectors are compared with all: each costs a pass over `vectors.f32`.
const RECALLED: usize = 200;

#[derive(Deserialize)]
struct Line {
    id: u64,
    text: String,
}

fn main() -> Result<(), Failure> {
    lm::start_threads(None)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match words[..] {
        ["build", folder, state] => build(Path::new(folder), Path::new(state))?,
        ["query", folder, state, ref options @ ..] => {
            let options = QueryOptions::read(options)?;
            // As `eval retrieval` asks one query after the other.
            lm::on_computing_thread(|| query(Path::new(folder), Path::new(state), &options))?
        }
        _ => return Err(USAGE.into()),
    };
    println!("{figures}");
    Ok(())
}

struct QueryOptions<'a> {
    k: usize,
    exact: bool,
    embedder: Option<&'a Path>,
    precision: Precision,
}

impl<'a> QueryOptions<'a> {
    fn read(words: &[&'a str]) -> Result<Self, Failure> {
        let mut options =
            QueryOptions { k: 10, exact: false, embedder: None, precision: Precision::Auto };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--exact" => options.exact = true,
                "--k" => options.k = words.next().ok_or("--k: which number?")?.parse()?,
                "--embedder" => {
                    options.embedder =
                        Some(Path::new(*words.next().ok_or("--embedder: which model?")?))
                }
                "--precision" => {
                    options.precision = words.next().ok_or("--precision: which?")?.parse()?
                }
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        Ok(options)
    }
}

fn build(folder: &Path, state: &Path) -> Result<Value, Failure> {
    let start = Instant::now();
    let mut store = Store::open(state)?;
    store.use_embedder(&Embedder { identity: "synthetic".to_owned(), dimension: DIMENSION })?;
    let mut vectors = BufReader::new(File::open(folder.join("vectors.f32"))?);
    let mut batch = Vec::with_capacity(TOGETHER);
    let mut chunks = 0;
    for line in lines(&folder.join("texts.jsonl"))? {
        let Line { id, text } = line?;
        let vector = read_vector(&mut vectors)?.ok_or("fewer vectors than texts")?;
        let chunk = NewChunk { span: 0..text.len(), vector: Some(vector), ..NewChunk::default() };
        batch.push(NewDocument {
            path: id.to_string(),
            format: "plain".to_owned(),
            text,
            receipt_json: "{}".to_owned(),
            chunks: vec![chunk],
            ..NewDocument::default()
        });
        chunks += 1;
        if batch.len() == TOGETHER {
            store.put_documents(batch.drain(..))?;
        }
    }
    store.put_documents(batch)?;
    let stored = start.elapsed().as_secs_f64();
    store.commit_index()?;
    let seconds = start.elapsed().as_secs_f64();
    // Closing empties the write-ahead log.
    drop(store);
    Ok(json!({
        "seconds": seconds, "stored_seconds": stored, "peak_bytes": peak_bytes(), "disk_bytes": disk_bytes(state)?,
        "chunks": chunks,
    }))
}

fn query(folder: &Path, state: &Path, options: &QueryOptions<'_>) -> Result<Value, Failure> {
    let queries: Vec<Line> = lines(&folder.join("queries.jsonl"))?.collect::<Result<_, _>>()?;
    let mut file = BufReader::new(File::open(folder.join("queries.f32"))?);
    let mut vectors = Vec::new();
    while let Some(vector) = read_vector(&mut file)? {
        vectors.push(vector);
    }
    if vectors.len() != queries.len() || queries.is_empty() {
        return Err(format!("{} queries with {} vectors", queries.len(), vectors.len()).into());
    }
    let encoder =
        options.embedder.map(|path| Encoder::open_with(path, options.precision)).transpose()?;

    let start = Instant::now();
    let mut store = opened(state, options)?;
    let open_seconds = start.elapsed().as_secs_f64();

    let hybrid = SearchOptions { k: options.k, ..SearchOptions::default() };
    let (mut embed, mut search, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for (query, vector) in queries.iter().zip(&vectors) {
        let start = Instant::now();
        match &encoder {
            Some(encoder) => {
                store.search_embedding(&query.text, || embedded(encoder, &query.text), &hybrid)?
            }
            None => store.search(&query.text, vector, &hybrid)?,
        };
        both.push(milliseconds(start));
    }
    if encoder.is_some() {
        // Each of the two alone, with a store opened anew: it must not have seen these queries.
        drop(store);
        store = opened(state, options)?;
    }
    for (query, vector) in queries.iter().zip(&vectors).filter(|_| encoder.is_some()) {
        let start = Instant::now();
        let vector = match &encoder {
            Some(encoder) => &embedded(encoder, &query.text)?,
            None => vector,
        };
        embed.push(milliseconds(start));
        let start = Instant::now();
        store.search(&query.text, vector, &hybrid)?;
        search.push(milliseconds(start));
    }
    if encoder.is_none() {
        search.clone_from(&both);
    }
    let peak_bytes = peak_bytes();
    Ok(json!({
        "p50_ms": percentile(&mut both, 50), "p99_ms": percentile(&mut both, 99),
        "embed_p50_ms": encoder.map(|_| percentile(&mut embed, 50)),
        "search_p50_ms": percentile(&mut search, 50), "search_p99_ms": percentile(&mut search, 99),
        "recall_at_10": recall(&store, folder, &vectors[..vectors.len().min(RECALLED)])?,
        "queries": queries.len(), "open_seconds": open_seconds, "peak_bytes": peak_bytes,
    }))
}

fn opened(state: &Path, options: &QueryOptions<'_>) -> Result<Store, Failure> {
    let mut store = Store::open(state)?;
    store.compare_all_vectors(options.exact);
    store.commit_index()?;
    Ok(store)
}

fn embedded(encoder: &Encoder, text: &str) -> Result<Vec<f32>, Failure> {
    Ok(encoder.embed(&[text])?.pop().unwrap_or_default())
}

/// Share of the ten nearest vectors of `vectors.f32` whose cosine the store's ten reach, over all
/// queries. By cosine, as copies of one text are equally near.
fn recall(store: &Store, folder: &Path, queries: &[Vec<f32>]) -> Result<f64, Failure> {
    const TEN: usize = 10;
    let truth = exact_tenths(&folder.join("vectors.f32"), queries, TEN)?;
    let meaning = SearchOptions { k: TEN, lexical_weight: 0.0, ..SearchOptions::default() };
    let mut found = 0;
    for (query, tenth) in queries.iter().zip(&truth) {
        let hits = store.search("", query, &meaning)?;
        found += hits
            .iter()
            .filter(|hit| hit.explain.cosine.is_some_and(|cosine| cosine >= tenth - 1e-5))
            .count();
    }
    Ok(found as f64 / (TEN * queries.len()) as f64)
}

/// The `count`th largest cosine of each query with the vectors of a file.
fn exact_tenths(path: &Path, queries: &[Vec<f32>], count: usize) -> Result<Vec<f32>, Failure> {
    const BLOCK: usize = 8192;
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut best: Vec<Vec<f32>> = vec![Vec::new(); queries.len()];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let piece = queries.len().div_ceil(threads);
    loop {
        let mut block = Vec::with_capacity(BLOCK * DIMENSION);
        while block.len() < BLOCK * DIMENSION
            && let Some(vector) = read_vector(&mut file)?
        {
            block.extend(vector);
        }
        if block.is_empty() {
            break;
        }
        std::thread::scope(|scope| {
            for (queries, best) in queries.chunks(piece).zip(best.chunks_mut(piece)) {
                let block = &block;
                scope.spawn(move || {
                    for (query, best) in queries.iter().zip(best) {
                        best.extend(block.chunks_exact(DIMENSION).map(|row| dot(query, row)));
                        best.sort_unstable_by(|a, b| b.total_cmp(a));
                        best.truncate(count);
                    }
                });
            }
        });
    }
    Ok(best.into_iter().map(|best| best.last().copied().unwrap_or(f32::MIN)).collect())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Line, Failure>>, Failure> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)))
}

/// The next vector of a file; `None` at its end.
fn read_vector(file: &mut impl Read) -> Result<Option<Vec<f32>>, Failure> {
    let mut bytes = Vec::with_capacity(DIMENSION * 4);
    file.take(DIMENSION as u64 * 4).read_to_end(&mut bytes)?;
    match bytes.len() {
        0 => Ok(None),
        length if length == DIMENSION * 4 => Ok(Some(
            bytes.as_chunks::<4>().0.iter().map(|&number| f32::from_le_bytes(number)).collect(),
        )),
        length => Err(format!("the last vector has {length} bytes").into()),
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Most memory that was resident, as Linux tells it.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn disk_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { disk_bytes(&entry.path())? } else { data.len() };
    }
    Ok(bytes)
}
