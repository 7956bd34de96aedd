//! nDCG@10 of BM25 on a retrieval collection in BEIR layout (`corpus.jsonl`, `queries.jsonl`,
//! `qrels/SPLIT.tsv`).
//!
//! ```sh
//! cargo run --release -p tunesmith-store --example bm25_beir -- FOLDER SPLIT [K1 B]...
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::fs::read_to_string;
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use tunesmith_store::{Bm25, NewChunk, NewDocument, SearchOptions, Store};

#[derive(Deserialize)]
struct Entry {
    _id: String,
    #[serde(default)]
    title: String,
    text: String,
}

/// Relevance by document, by query.
type Judgements = HashMap<String, HashMap<String, f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, split, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bm25_beir FOLDER SPLIT [K1 B]...".into());
    };
    let folder = Path::new(folder);
    let mut parameters = vec![Bm25::default()];
    for pair in rest.chunks_exact(2) {
        parameters.push(Bm25 { k1: pair[0].parse()?, b: pair[1].parse()? });
    }

    let state = tempfile::tempdir()?;
    let mut store = Store::open(state.path())?;
    let start = Instant::now();
    let corpus: Vec<NewDocument> =
        entries(&folder.join("corpus.jsonl"))?.into_iter().map(document).collect();
    let documents = corpus.len();
    store.put_documents(corpus)?;
    let stored = start.elapsed();
    store.commit_index()?;
    println!(
        "{documents} documents stored in {stored:.1?}, indexed in {:.1?}",
        start.elapsed() - stored
    );

    let judgements = judgements(&folder.join(format!("qrels/{split}.tsv")))?;
    let queries = entries(&folder.join("queries.jsonl"))?;
    for bm25 in parameters {
        let options = SearchOptions {
            k: 100,
            candidates: 100,
            lexical_weight: 1.0,
            ..SearchOptions::default()
        };
        let start = Instant::now();
        let (mut ndcg, mut recall, mut count) = (0.0, 0.0, 0u32);
        for query in &queries {
            let Some(relevant) = judgements.get(&query._id) else { continue };
            let hits = store.search_with(&query.text, &[], &options, bm25)?;
            let ranking: Vec<&str> = hits.iter().map(|hit| hit.path.as_str()).collect();
            ndcg += ndcg_at(10, &ranking, relevant);
            let found = ranking
                .iter()
                .filter(|id| relevant.get(**id).is_some_and(|grade| *grade > 0.0))
                .count();
            recall += found as f64 / relevant.values().filter(|grade| **grade > 0.0).count() as f64;
            count += 1;
        }
        let (ndcg, recall) = (ndcg / f64::from(count), recall / f64::from(count));
        let each = start.elapsed() / count.max(1);
        println!(
            "{bm25:?}: nDCG@10 {ndcg:.4}, R@100 {recall:.4} over {count} queries of {split}, {each:.1?} each"
        );
    }
    Ok(())
}

fn entries(path: &Path) -> Result<Vec<Entry>, Box<dyn Error>> {
    read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn document(entry: Entry) -> NewDocument {
    let chunk = NewChunk { span: 0..entry.text.len(), ..NewChunk::default() };
    NewDocument {
        path: entry._id,
        format: "plain".to_string(),
        title: Some(entry.title).filter(|title| !title.is_empty()),
        text: entry.text,
        chunks: vec![chunk],
        ..NewDocument::default()
    }
}

/// Queries with at least one relevant document.
fn judgements(path: &Path) -> Result<Judgements, Box<dyn Error>> {
    let mut judgements = Judgements::new();
    for line in read_to_string(path)?.lines().skip(1) {
        let mut fields = line.split('\t');
        let (Some(query), Some(document), Some(grade)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("three fields expected: {line}").into());
        };
        judgements
            .entry(query.to_string())
            .or_default()
            .insert(document.to_string(), grade.parse()?);
    }
    judgements.retain(|_, relevant| relevant.values().any(|grade| *grade > 0.0));
    Ok(judgements)
}

/// Järvelin and Kekäläinen 2002, with linear gain and a discount of log2(rank + 1), as trec_eval
/// has it.
fn ndcg_at(depth: usize, ranking: &[&str], relevant: &HashMap<String, f64>) -> f64 {
    let gain = |grades: &mut dyn Iterator<Item = f64>| -> f64 {
        (2..).zip(grades.take(depth)).map(|(rank, grade)| grade / f64::from(rank).log2()).sum()
    };
    let mut ideal: Vec<f64> = relevant.values().copied().collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let mut found = ranking.iter().map(|id| relevant.get(*id).copied().unwrap_or(0.0));
    gain(&mut found) / gain(&mut ideal.into_iter())
}
