//! The words of a query, and what they are worth.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tantivy::Term;

use super::postings::{Holding, OfSegment, Postings};
use super::scores::with_document;
use super::{Lexical, Population, unpacked};
use crate::Result;
use crate::analysis::Analyser;
use crate::bm25::{Bm25, Norm};

/// Counts of terms that so many texts hold are remembered: counting them takes as long as scoring by them.
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
    pub(super) term: Term,
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
                let counts = self.counts(&term)?;
                if counts.texts == 0 {
                    continue;
                }
                let worth = |found: usize, all: usize| Worth {
                    idf: times as f32 * bm25.idf(found, all),
                    norm: bm25.norm(mean(all)),
                };
                let (text, document) = (worth(counts.texts, *texts), worth(counts.documents, *documents));
                let most =
                    with_document(text.most(counts.most_in_text), document.most(counts.most_in_document));
                words.push(Word { term, text, document, most, texts: counts.texts });
            }
        }
        words.sort_by(|a, b| b.most.total_cmp(&a.most).then_with(|| a.term.cmp(&b.term)));
        Ok(words)
    }

    fn counts(&self, term: &Term) -> Result<Counts> {
        let known = || self.counted.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = known().get(term) {
            return Ok(*counts);
        }
        let (mut counts, mut postings, mut holding) =
            (Counts::default(), Postings::default(), Holding::new(self));
        for segment in &self.segments {
            segment.read(term, OfSegment::All, &mut postings)?;
            counts.texts += postings.holders.len();
            counts.most_in_text = counts.most_in_text.max(postings.most());
            holding.add_all(segment, &postings);
        }
        counts.documents = holding.documents.holders.len();
        counts.most_in_document = holding.documents.most();
        if counts.texts >= REMEMBERED_FROM {
            known().insert(term.clone(), counts);
        }
        Ok(counts)
    }
}

impl Worth {
    /// To one who holds it so often.
    fn most(&self, frequency: u32) -> f32 {
        self.idf * self.norm.bound(frequency)
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
