//! The words of a query, and what they are worth.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tantivy::Term;
use tantivy::postings::BlockSegmentPostings;

use super::postings::{Holding, Lists, Postings};
use super::sums::with_document;
use super::{DELETED, Lexical, Population, unpacked};
use crate::Result;
use crate::analysis::Analyser;
use crate::bm25::{Bm25, Norm};

/// Counts of terms that so many texts hold, deleted ones among them, are remembered: counting them takes as long as scoring by them.
const REMEMBERED_FROM: usize = 256;

/// How many hold a term, and how often one of them does at most.
#[derive(Clone, Copy, Default)]
struct Counts {
    texts: usize,
    documents: usize,
    most_in_text: u32,
    most_in_document: u32,
}

/// Counts of terms that have been asked for.
#[derive(Default)]
pub(super) struct Counted(Mutex<HashMap<Term, Counts>>);

/// A word of the query.
pub(super) struct Word {
    term: Term,
    pub(super) lists: Lists,
    pub(super) text: Worth,
    pub(super) document: Worth,
    /// What it can add to the score of a text.
    pub(super) most: f32,
    /// Texts that hold it.
    pub(super) texts: usize,
}

/// What a word is worth to those who hold it.
pub(super) struct Worth {
    pub(super) idf: f32,
    pub(super) norm: Norm,
}

impl Lexical {
    /// The query's words that any text holds, read in each language there is, the one that can add most first. A word that stands
    /// twice in it counts twice.
    pub(super) fn words(&self, query: &str, bm25: Bm25) -> Result<Vec<Word>> {
        let mut words = Vec::new();
        for (code, Population { texts, documents, length }) in &self.languages {
            let mean = |of: usize| *length as f32 / of as f32;
            for (term, times) in term_counts(&unpacked(*code), query) {
                let term = Term::from_field_text(self.fields.text, &term);
                let lists = self.lists(&term)?;
                let counts = self.counts(&term, &lists);
                if counts.texts == 0 {
                    continue;
                }
                let worth = |found: usize, all: usize| Worth {
                    idf: times as f32 * bm25.idf(found, all),
                    norm: bm25.norm(mean(all)),
                };
                let (text, document) = (worth(counts.texts, *texts), worth(counts.documents, *documents));
                let most = with_document(
                    text.most(counts.most_in_text, self.shortest_text),
                    document.most(counts.most_in_document, self.shortest_document),
                );
                words.push(Word { term, lists, text, document, most, texts: counts.texts });
            }
        }
        words.sort_by(|a, b| b.most.total_cmp(&a.most).then_with(|| a.term.cmp(&b.term)));
        Ok(words)
    }

    fn counts(&self, term: &Term, lists: &Lists) -> Counts {
        let listed: usize = lists.iter().flatten().map(|list| list.doc_freq() as usize).sum();
        let known = || self.counted.0.lock().unwrap_or_else(PoisonError::into_inner);
        if listed >= REMEMBERED_FROM
            && let Some(counts) = known().get(term)
        {
            return *counts;
        }
        let complete = self.segments.iter().all(|segment| !segment.reader.has_deletes());
        let counts = if complete && self.each_is_one_text() {
            let most = lists.iter().flatten().map(|list| most_often(list.clone())).max().unwrap_or(0);
            Counts { texts: listed, documents: listed, most_in_text: most, most_in_document: most }
        } else {
            self.counted_one_by_one(lists)
        };
        if listed >= REMEMBERED_FROM {
            known().insert(term.clone(), counts);
        }
        counts
    }

    fn counted_one_by_one(&self, lists: &Lists) -> Counts {
        let (mut counts, mut postings, mut holding) =
            (Counts::default(), Postings::default(), Holding::new(self));
        for (segment, list) in self.segments.iter().zip(lists) {
            let Some(mut list) = list.clone() else { continue };
            postings.clear();
            postings.read(&mut list, 0, u32::MAX, 0);
            postings.retain(|text| segment.chunks[text as usize] != DELETED);
            counts.texts += postings.holders.len();
            counts.most_in_text = counts.most_in_text.max(postings.most());
            holding.add_all(&postings, &segment.documents, 0);
        }
        counts.documents = holding.documents.holders.len();
        counts.most_in_document = holding.documents.most();
        counts
    }
}

/// How often one text holds a term at most.
fn most_often(mut list: BlockSegmentPostings) -> u32 {
    let mut most = 0;
    while !list.docs().is_empty() {
        most = list.freqs().iter().copied().fold(most, u32::max);
        list.advance();
    }
    most
}

impl Worth {
    /// What it is at most, to one that holds it so often and is of that length.
    fn most(&self, frequency: u32, length: f32) -> f32 {
        self.idf * self.norm.of(frequency, length)
    }
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

#[cfg(test)]
impl Counted {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
