//! What tuning the embedder on a collection brings: it learns from `qrels/train.tsv`, a part of
//! which chooses the epoch, and is then measured on another split, beside the untuned one.
//!
//! How an embedder is tuned is told in [`crate::tune::embedder`].

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use eval::Interval;
use eval::ranking::{Qrels, Ranking, Run, average};
use lm::Encoder;
use serde::Serialize;
use store::{SearchOptions, Store};

use super::collection::{BeirCollection, read_qrels};
use super::index::Indexed;
use super::options::BeirOptions;
use super::rankings::{BeirRankings, rank};
use super::report::BeirReport;
use crate::error::Result;
use crate::progress::Progress;
use crate::search::knowledge::DEFAULT_LEXICAL_WEIGHT;
use crate::tune::draw::stable_draw;
use crate::tune::embedder::{
    DEPTH, EmbedderEvent, EmbedderLessons, EmbedderTuneOptions, EmbedderTuner, JudgedQuestion,
    TunedEmbedder, difference,
};

/// The share of the training queries that choose the epoch instead of being trained on.
const DEV: f64 = 0.15;

/// An embedder before and after tuning on a collection.
#[derive(Clone, Debug, Serialize)]
pub struct TunedRetrieval {
    /// Training, and the measures on its dev part.
    pub tuning: TunedEmbedder,
    /// The split that was measured, by the untuned embedder.
    pub untuned: BeirReport,
    /// The same by the tuned one.
    pub tuned: BeirReport,
    /// nDCG@10 of each ranking, compared.
    pub compared: Vec<ComparedRanking>,
}

/// nDCG@10 of a ranking by both embedders.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedRanking {
    /// `vectors` or `fusion`.
    pub name: String,
    /// BM25 weight in the fused score, 0 to 1.
    pub lexical_weight: f32,
    /// Over all queries of the split.
    pub all: NdcgDifference,
    /// Over the queries that share no relevant document with a training query. What was learnt
    /// about single documents does not help there, only what was learnt about the subject.
    pub documents_unseen: NdcgDifference,
}

/// Mean nDCG@10 by both embedders.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NdcgDifference {
    /// Queries.
    pub queries: usize,
    /// By the untuned embedder.
    pub untuned: f64,
    /// By the tuned one.
    pub tuned: f64,
    /// Tuned minus untuned, with its 95 % interval.
    pub difference: Interval,
}

/// Where the two embedders are kept.
#[derive(Clone, Copy, Debug)]
pub struct EmbedderFolders<'a> {
    /// Of the untuned embedder.
    pub base: &'a Path,
    /// Gets the tuned one, and its index beside it.
    pub tuned: &'a Path,
}

/// Tunes on the training queries of a collection and measures on `collection.split`.
///
/// # Errors
/// Those of [`super::measure`] and of [`EmbedderTuner::tune`].
pub fn tune_and_measure(
    collection: &BeirOptions<'_>,
    folders: EmbedderFolders<'_>,
    options: &EmbedderTuneOptions,
    progress: &mut Progress<'_, EmbedderEvent>,
) -> Result<TunedRetrieval> {
    let read = BeirCollection::read(collection.folder)?;
    let train = read_qrels(collection.folder, "train")?;
    let test = read_qrels(collection.folder, collection.split)?;

    let encoder = Encoder::open_with(folders.base, options.precision)?;
    let before =
        progress.part(embedding, |indexing| rank(&read, collection, &test, &encoder, indexing))?;
    drop(encoder);
    let tuning = EmbedderTuner {
        lessons: &lessons(&read, &train, &test, &before.store)?,
        base: folders.base,
        folder: folders.tuned,
        name: &collection_name(collection.folder),
        options,
    }
    .tune(progress)?;

    let encoder = Encoder::open_with(&tuning.folder, options.precision)?;
    // An index belongs to one embedder.
    let index =
        folders.tuned.join(format!("index-{}", tuning.identity.get(..8).unwrap_or("of-tuned")));
    let indexed_anew = BeirOptions { store: &index, ..collection.clone() };
    let after = progress
        .part(embedding, |indexing| rank(&read, &indexed_anew, &test, &encoder, indexing))?;
    Ok(TunedRetrieval {
        tuning,
        untuned: BeirReport::new(&before, &test),
        tuned: BeirReport::new(&after, &test),
        compared: compare(&before, &after, &train, &test),
    })
}

/// To whoever watches, indexing is embedding like any other.
fn embedding(indexed: Indexed) -> EmbedderEvent {
    EmbedderEvent::Embedding { done: indexed.documents, passages: indexed.of }
}

fn collection_name(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(|| "collection".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Compares the rankings that vectors take part in.
fn compare(
    before: &BeirRankings,
    after: &BeirRankings,
    train: &Qrels,
    test: &Qrels,
) -> Vec<ComparedRanking> {
    let unseen = unseen(train, test);
    let runs = before.runs.iter().zip(&after.runs).filter(|(run, _)| run.lexical_weight < 1.0);
    runs.map(|(before, after)| ComparedRanking {
        name: before.name.to_owned(),
        lexical_weight: before.lexical_weight,
        all: ndcg_difference(test, &before.run, &after.run),
        documents_unseen: ndcg_difference(&unseen, &before.run, &after.run),
    })
    .collect()
}

fn ndcg_difference(qrels: &Qrels, untuned: &Run, tuned: &Run) -> NdcgDifference {
    let ndcg = |run| average(Ranking::Ndcg(10), qrels, run);
    NdcgDifference {
        queries: qrels.0.len(),
        untuned: ndcg(untuned),
        tuned: ndcg(tuned),
        difference: difference(qrels, tuned, untuned, &|query| cluster(qrels, query)),
    }
}

/// The queries of which no relevant document is relevant to a training query.
fn unseen(train: &Qrels, test: &Qrels) -> Qrels {
    let relevant = |qrels: &Qrels, query: &str| -> BTreeSet<String> {
        let grades = qrels.0.get(query).into_iter().flatten();
        grades.filter(|(_, grade)| **grade > 0).map(|(document, _)| document.clone()).collect()
    };
    let seen: BTreeSet<String> = train.0.keys().flat_map(|query| relevant(train, query)).collect();
    let fresh = test.0.iter().filter(|(query, _)| relevant(test, query).is_disjoint(&seen));
    Qrels(fresh.map(|(query, grades)| (query.clone(), grades.clone())).collect())
}

/// What the bootstrap draws together: queries about one document are not independent, so the first
/// relevant document of a query names its cluster.
fn cluster(qrels: &Qrels, query: &str) -> String {
    let grades = qrels.0.get(query).into_iter().flatten();
    let first =
        grades.filter(|(_, grade)| **grade > 0).map(|(document, _)| document.clone()).next();
    first.unwrap_or_else(|| query.to_owned())
}

/// Training and dev questions from the training queries, each with its BM25 list.
fn lessons(
    collection: &BeirCollection,
    train: &Qrels,
    test: &Qrels,
    store: &Store,
) -> Result<EmbedderLessons> {
    let passages: Vec<(&str, String)> = collection.passages().collect();
    let places: HashMap<&str, usize> =
        passages.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
    let mut lessons =
        EmbedderLessons { lexical_weight: DEFAULT_LEXICAL_WEIGHT, ..EmbedderLessons::default() };
    for (id, text) in collection.judged(train) {
        let grades = train.0.get(id).into_iter().flatten();
        let gold: Vec<usize> = grades
            .filter(|(_, grade)| **grade > 0)
            .filter_map(|(document, _)| places.get(document.as_str()).copied())
            .collect();
        if gold.is_empty() {
            continue;
        }
        let question = JudgedQuestion {
            id: id.to_owned(),
            cluster: cluster(train, id),
            text: text.to_owned(),
            gold,
            beside: Vec::new(),
            by_words: found_by_words(store, text, &places)?,
        };
        let is_dev = stable_draw(&["dev", id]) < DEV;
        let part = if is_dev { &mut lessons.dev } else { &mut lessons.train };
        part.push(question);
    }
    let held_out: Vec<&str> = collection.judged(test).map(|(_, text)| text).collect();
    lessons.keep_apart(&held_out);
    lessons.join_repeated();
    lessons.passages = passages.into_iter().map(|(_, text)| text).collect();
    Ok(lessons)
}

/// The documents that BM25 finds for a query, best first, each with the score of its best chunk.
fn found_by_words(
    store: &Store,
    query: &str,
    places: &HashMap<&str, usize>,
) -> Result<Vec<(usize, f32)>> {
    // Several chunks of a document may be among them.
    let by_words = SearchOptions {
        k: 3 * DEPTH,
        candidates: 3 * DEPTH,
        lexical_weight: 1.0,
        ..SearchOptions::default()
    };
    let hits = store.search(query, &[], &by_words)?;
    let mut seen = BTreeSet::new();
    let found = hits
        .iter()
        .filter(|hit| seen.insert(hit.document))
        .filter_map(|hit| Some((*places.get(hit.path.as_str())?, hit.explain.bm25?)));
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_queries_share_no_relevant_document_with_training() {
        let mut train = Qrels::default();
        train.insert("a", "d1", 1);
        train.insert("a", "d2", 0);
        let mut test = Qrels::default();
        test.insert("x", "d1", 1);
        test.insert("x", "d3", 1);
        test.insert("y", "d2", 1);
        test.insert("y", "d1", 0);
        assert_eq!(unseen(&train, &test).0.keys().collect::<Vec<_>>(), ["y"]);
        assert_eq!((cluster(&test, "x"), cluster(&test, "y")), ("d1".to_owned(), "d2".to_owned()));
    }
}
