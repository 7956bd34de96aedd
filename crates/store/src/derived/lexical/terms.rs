//! The terms of a query, and what each can add to a score.

use std::collections::HashMap;
use std::sync::Arc;

use tantivy::Term;
use tantivy::postings::BlockSegmentPostings;

use super::analysis::Analyser;
use super::bm25::{Bm25, TermWeight, with_document};
use super::frequency_table::{FrequencyTable, Lists};
use super::index::{DELETED, Lexical, Population};
use super::layout::unpacked;
use super::postings::{DocumentPostings, Postings};
use super::term_cache::{KnownTerm, TermStatistics};
use crate::Result;

/// Texts that hold a term, deleted ones among them, from which on its statistics are remembered:
/// finding them takes as long as scoring by the term.
const CACHED_FROM: usize = 256;

/// A term that one in so many texts holds, or more, gets a [`FrequencyTable`], which has a byte for
/// each text. There are at most so many times as many of these tables as a text has different terms
/// in the mean.
const TABLE_ONE_IN: usize = 8;

/// Where one in so many texts holds a term, or fewer, the largest frequency is not looked for if
/// that alone would need the whole list: such a term is among the first that are read, whatever it
/// can add.
const RARE_ONE_IN: usize = 64;

/// A term of the query.
pub(super) struct QueryTerm {
    term: Term,
    pub(super) lists: Lists,
    /// Where many texts hold it and are scored window by window.
    pub(super) table: Option<Arc<FrequencyTable>>,
    /// What it is worth to a text.
    pub(super) text: TermWeight,
    /// What it is worth to a document.
    pub(super) document: TermWeight,
    /// What it can add to the score of a text.
    pub(super) max_score: f32,
    /// Texts that hold it.
    pub(super) doc_freq: usize,
}

impl Lexical {
    /// The query's terms that any text holds, read in each language there is, the one that can add
    /// most first. A word that stands twice in the query counts twice.
    pub(super) fn terms(&self, query: &str, bm25: Bm25) -> Result<Vec<QueryTerm>> {
        let mut terms = Vec::new();
        for (code, Population { texts, documents, length }) in &self.languages {
            let mean = |of: usize| *length as f32 / of as f32;
            for (term, times) in term_counts(&unpacked(*code), query) {
                let term = Term::from_field_text(self.fields.text, &term);
                let lists = self.lists(&term)?;
                let KnownTerm { statistics, table } = self.known(&term, &lists);
                let (of_texts, of_documents) = (statistics.texts, statistics.documents);
                if of_texts.doc_freq == 0 {
                    continue;
                }
                let weight = |doc_freq: usize, all: usize| TermWeight {
                    idf: times as f32 * bm25.idf(doc_freq, all),
                    norm: bm25.norm(mean(all)),
                };
                let text = weight(of_texts.doc_freq, *texts);
                let document = weight(of_documents.doc_freq, *documents);
                let max_score = with_document(
                    text.max_score(of_texts.max_frequency, self.shortest_text),
                    document.max_score(of_documents.max_frequency, self.shortest_document),
                );
                let doc_freq = of_texts.doc_freq;
                terms.push(QueryTerm { term, lists, table, text, document, max_score, doc_freq });
            }
        }
        terms.sort_by(|a, b| b.max_score.total_cmp(&a.max_score).then_with(|| a.term.cmp(&b.term)));
        Ok(terms)
    }

    fn known(&self, term: &Term, lists: &Lists) -> KnownTerm {
        let listed: usize = lists.iter().flatten().map(|list| list.doc_freq() as usize).sum();
        let complete = self.segments.iter().all(|segment| !segment.reader.has_deletes());
        let as_listed = complete && self.each_is_one_text();
        if as_listed && listed * RARE_ONE_IN <= self.places.len() {
            let statistics = TermStatistics::one_text_each(listed, u32::MAX);
            return KnownTerm { statistics, table: None };
        }
        let cached = listed >= CACHED_FROM;
        if cached && let Some(known) = self.term_cache.get(term) {
            return known;
        }
        let statistics = if as_listed {
            let max_frequency = lists.iter().flatten().cloned().map(max_frequency).max();
            TermStatistics::one_text_each(listed, max_frequency.unwrap_or(0))
        } else {
            self.counted_one_by_one(lists)
        };
        let tabled = self.has_windows() && listed * TABLE_ONE_IN >= self.places.len();
        let texts = self.segments.iter().map(|segment| segment.chunks.len());
        let table = if tabled { FrequencyTable::new(lists, texts).map(Arc::new) } else { None };
        let known = KnownTerm { statistics, table };
        if cached {
            self.term_cache.insert(term.clone(), known.clone());
        }
        known
    }

    fn counted_one_by_one(&self, lists: &Lists) -> TermStatistics {
        let mut statistics = TermStatistics::default();
        let (mut postings, mut of_documents) = (Postings::default(), DocumentPostings::new(self));
        for (segment, list) in self.segments.iter().zip(lists) {
            let Some(mut list) = list.clone() else { continue };
            postings.clear();
            postings.read(&mut list, 0, u32::MAX, 0);
            postings.retain(|text| segment.chunks[text as usize] != DELETED);
            let texts = &mut statistics.texts;
            texts.doc_freq += postings.ids.len();
            texts.max_frequency = texts.max_frequency.max(postings.max_frequency());
            of_documents.add_all(&postings, &segment.documents, 0);
        }
        statistics.documents.doc_freq = of_documents.postings.ids.len();
        statistics.documents.max_frequency = of_documents.postings.max_frequency();
        statistics
    }
}

/// How often one text holds the term of a list at most.
fn max_frequency(mut list: BlockSegmentPostings) -> u32 {
    let mut max = 0;
    while !list.docs().is_empty() {
        max = list.freqs().iter().copied().fold(max, u32::max);
        list.advance();
    }
    max
}

/// The terms of a query in order of first appearance, with how often each stands in it.
fn term_counts(language: &str, query: &str) -> Vec<(String, usize)> {
    let mut terms: Vec<(String, usize)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for token in Analyser::new(language).terms(query) {
        match places.get(&token.text) {
            Some(&place) => terms[place].1 += 1,
            None => {
                places.insert(token.text.clone(), terms.len());
                terms.push((token.text, 1));
            }
        }
    }
    terms
}
