//! The words of a query, and what they are worth.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::Term;
use tantivy::postings::BlockSegmentPostings;

use super::postings::{Holding, Lists, Postings, Table};
use super::sums::with_document;
use super::{DELETED, Lexical, Population, unpacked};
use crate::Result;
use crate::analysis::Analyser;
use crate::bm25::{Bm25, Norm};

/// What is found out about a term that so many texts hold, deleted ones among them, is remembered:
/// it takes as long as scoring by it.
const REMEMBERED_FROM: usize = 256;

/// A word that one in so many texts holds, or more, gets a [`Table`], which has a byte for each
/// text. There are at most so many times as many of these as a text has different words in the
/// mean.
const TABLED_SHARE: usize = 8;

/// How often a text holds a word at most that one in so many texts holds, or fewer, is not found
/// out where that alone would need the whole list: such a word is among the first that are read,
/// whatever it can add.
const RARE_SHARE: usize = 64;

/// How many hold a term, and how often one of them does at most, or a number that is larger.
#[derive(Clone, Copy, Default)]
struct Counts {
    texts: usize,
    documents: usize,
    most_in_text: u32,
    most_in_document: u32,
}

/// What is known of a term.
#[derive(Clone)]
struct Known {
    counts: Counts,
    table: Option<Arc<Table>>,
}

/// What is remembered of terms that have been asked for.
#[derive(Default)]
pub(super) struct Remembered(Mutex<HashMap<Term, Known>>);

/// A word of the query.
pub(super) struct Word {
    term: Term,
    pub(super) lists: Lists,
    /// Where many texts hold it and are scored window by window.
    pub(super) table: Option<Arc<Table>>,
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
    /// The query's words that any text holds, read in each language there is, the one that can add
    /// most first. A word that stands twice in it counts twice.
    pub(super) fn words(&self, query: &str, bm25: Bm25) -> Result<Vec<Word>> {
        let mut words = Vec::new();
        for (code, Population { texts, documents, length }) in &self.languages {
            let mean = |of: usize| *length as f32 / of as f32;
            for (term, times) in term_counts(&unpacked(*code), query) {
                let term = Term::from_field_text(self.fields.text, &term);
                let lists = self.lists(&term)?;
                let Known { counts, table } = self.known(&term, &lists);
                if counts.texts == 0 {
                    continue;
                }
                let worth = |found: usize, all: usize| Worth {
                    idf: times as f32 * bm25.idf(found, all),
                    norm: bm25.norm(mean(all)),
                };
                let (text, document) =
                    (worth(counts.texts, *texts), worth(counts.documents, *documents));
                let most = with_document(
                    text.most(counts.most_in_text, self.shortest_text),
                    document.most(counts.most_in_document, self.shortest_document),
                );
                words.push(Word { term, lists, table, text, document, most, texts: counts.texts });
            }
        }
        words.sort_by(|a, b| b.most.total_cmp(&a.most).then_with(|| a.term.cmp(&b.term)));
        Ok(words)
    }

    fn known(&self, term: &Term, lists: &Lists) -> Known {
        let listed: usize = lists.iter().flatten().map(|list| list.doc_freq() as usize).sum();
        let complete = self.segments.iter().all(|segment| !segment.reader.has_deletes());
        let as_listed = complete && self.each_is_one_text();
        if as_listed && listed * RARE_SHARE <= self.places.len() {
            return Known { counts: Counts::listed(listed, u32::MAX), table: None };
        }
        let remembered = || self.remembered.0.lock().unwrap_or_else(PoisonError::into_inner);
        if listed >= REMEMBERED_FROM
            && let Some(known) = remembered().get(term)
        {
            return known.clone();
        }
        let counts = if as_listed {
            Counts::listed(
                listed,
                lists.iter().flatten().cloned().map(most_often).max().unwrap_or(0),
            )
        } else {
            self.counted_one_by_one(lists)
        };
        let tabled = self.has_windows() && listed * TABLED_SHARE >= self.places.len();
        let table = if tabled { Table::new(lists, &self.segments).map(Arc::new) } else { None };
        let known = Known { counts, table };
        if listed >= REMEMBERED_FROM {
            remembered().insert(term.clone(), known.clone());
        }
        known
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

impl Counts {
    /// Those of a term that so many texts hold, each a document, and none more often than so many
    /// times.
    fn listed(texts: usize, most: u32) -> Self {
        Counts { texts, documents: texts, most_in_text: most, most_in_document: most }
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
impl Remembered {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
