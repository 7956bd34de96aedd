//! Tuning an embedder on a collection in BEIR layout: it learns from `qrels/train.tsv`, a part of
//! which chooses the epoch, and is then measured on another split, beside the untuned one.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use eval::Interval;
use eval::ranking::{Qrels, Ranking, Run, average};
use lm::Encoder;
use serde::Serialize;
use store::{SearchOptions, Store};

use super::measure::{DEPTH, difference};
use super::{Asked, Lessons, TuneEvent, TuneOptions, Tuned, tune};
use crate::error::Result;
use crate::evaluate::beir::{BeirOptions, Collection, RetrievalReport, read_qrels};
use crate::search::knowledge::DEFAULT_LEXICAL_WEIGHT;
use crate::tune::unit;

/// The share of the training queries by which the epoch is chosen.
const DEV: f64 = 0.15;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct TunedRetrieval {
    /// Training, and the measures on its dev part.
    pub tuning: Tuned,
    /// The split that was measured, by the untuned embedder.
    pub untuned: RetrievalReport,
    /// The same by the tuned one.
    pub tuned: RetrievalReport,
    /// nDCG@10 of each ranking, compared.
    pub compared: Vec<Compared>,
}

/// nDCG@10 of a ranking by both embedders.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// `vectors` or `fusion`.
    pub name: String,
    /// Share of BM25 in the fused score.
    pub lexical_weight: f32,
    /// Over all queries of the split.
    pub all: Difference,
    /// Over queries of which no relevant document answers a training query: what was learnt of
    /// documents does not help there, only what was learnt of the field.
    pub documents_unseen: Difference,
}

/// A measure by both embedders.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Difference {
    /// Queries.
    pub queries: usize,
    /// By the untuned embedder.
    pub untuned: f64,
    /// By the tuned one.
    pub tuned: f64,
    /// Tuned minus untuned, with its 95 % interval.
    pub difference: Interval,
}

/// Where a run keeps its things.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// Of the untuned embedder.
    pub base: &'a Path,
    /// Gets the tuned one, and its index beside it.
    pub tuned: &'a Path,
}

/// Tunes on the training queries of a collection and measures on `collection.split`.
///
/// # Errors
/// Those of [`crate::evaluate::beir::measure`] and of [`tune`].
pub fn tune_and_measure(
    collection: &BeirOptions,
    folders: Folders,
    options: &TuneOptions,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(TuneEvent),
) -> Result<TunedRetrieval> {
    let read = Collection::read(collection.folder)?;
    let train = read_qrels(collection.folder, "train")?;
    let test = read_qrels(collection.folder, collection.split)?;

    let encoder = Encoder::open_with(folders.base, options.precision)?;
    let before = read
        .rank(collection, &test, &encoder, stop, &mut |done, of| embedding(on_event, done, of))?;
    let lessons = lessons(&read, &train, &test, &before.store)?;
    drop(encoder);
    let place = (folders.tuned, collection_name(collection.folder));
    let tuning = tune(&lessons, folders.base, (place.0, &place.1), options, stop, on_event)?;

    let encoder = Encoder::open_with(&tuning.folder, options.precision)?;
    // An index belongs to one embedder.
    let index =
        folders.tuned.join(format!("index-{}", tuning.identity.get(..8).unwrap_or("of-tuned")));
    let tuned = BeirOptions { store: &index, ..collection.clone() };
    let after =
        read.rank(&tuned, &test, &encoder, stop, &mut |done, of| embedding(on_event, done, of))?;
    let unseen = unseen(&train, &test);
    let ways = before.ways.iter().zip(&after.ways).filter(|(way, _)| way.lexical_weight < 1.0);
    let compared = ways
        .map(|(before, after)| Compared {
            name: before.name.to_owned(),
            lexical_weight: before.lexical_weight,
            all: compare(&test, &before.run, &after.run),
            documents_unseen: compare(&unseen, &before.run, &after.run),
        })
        .collect();
    Ok(TunedRetrieval {
        tuning,
        untuned: before.report(&test),
        tuned: after.report(&test),
        compared,
    })
}

fn embedding(on_event: &mut dyn FnMut(TuneEvent), done: usize, passages: usize) {
    on_event(TuneEvent::Embedding { done, passages });
}

fn collection_name(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(|| "collection".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn compare(qrels: &Qrels, untuned: &Run, tuned: &Run) -> Difference {
    let ndcg = |run| average(Ranking::Ndcg(10), qrels, run);
    Difference {
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

/// Queries about one document have something in common: the first of their relevant ones stands for
/// them.
fn cluster(qrels: &Qrels, query: &str) -> String {
    let grades = qrels.0.get(query).into_iter().flatten();
    let first =
        grades.filter(|(_, grade)| **grade > 0).map(|(document, _)| document.clone()).next();
    first.unwrap_or_else(|| query.to_owned())
}

/// Training and dev questions from the training queries.
fn lessons(collection: &Collection, train: &Qrels, test: &Qrels, store: &Store) -> Result<Lessons> {
    let passages: Vec<(&str, String)> = collection.passages().collect();
    let places: HashMap<&str, usize> =
        passages.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
    // Several chunks of a document may be among them.
    let words = SearchOptions {
        k: 3 * DEPTH,
        candidates: 3 * DEPTH,
        lexical_weight: 1.0,
        ..SearchOptions::default()
    };
    let mut lessons = Lessons { lexical_weight: DEFAULT_LEXICAL_WEIGHT, ..Lessons::default() };
    for (id, text) in collection.judged(train) {
        let grades = train.0.get(id).into_iter().flatten();
        let gold: Vec<usize> = grades
            .filter(|(_, grade)| **grade > 0)
            .filter_map(|(document, _)| places.get(document.as_str()).copied())
            .collect();
        if gold.is_empty() {
            continue;
        }
        let hits = store.search(text, &[], &words)?;
        let mut seen = BTreeSet::new();
        let by_words = hits
            .iter()
            .filter(|hit| seen.insert(hit.document))
            .filter_map(|hit| Some((*places.get(hit.path.as_str())?, hit.explain.bm25?)))
            .collect();
        let asked = Asked {
            id: id.to_owned(),
            cluster: cluster(train, id),
            text: text.to_owned(),
            gold,
            beside: Vec::new(),
            by_words,
        };
        let part = if unit(&["dev", id]) < DEV { &mut lessons.dev } else { &mut lessons.train };
        part.push(asked);
    }
    let held_out: Vec<&str> = collection.judged(test).map(|(_, text)| text).collect();
    lessons.keep_apart(&held_out);
    lessons.join_repeated();
    lessons.passages = passages.into_iter().map(|(_, text)| text).collect();
    Ok(lessons)
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
