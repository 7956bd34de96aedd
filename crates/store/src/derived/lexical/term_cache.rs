//! What is remembered of terms that queries have asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tantivy::Term;

use super::frequency_table::FrequencyTable;

/// How many texts, or documents, hold a term, and how often one of them does.
#[derive(Clone, Copy, Default)]
pub(super) struct Occurrence {
    pub(super) doc_freq: usize,
    /// An upper bound.
    pub(super) max_frequency: u32,
}

/// The statistics of a term that BM25 needs.
#[derive(Clone, Copy, Default)]
pub(super) struct TermStatistics {
    pub(super) texts: Occurrence,
    pub(super) documents: Occurrence,
}

impl TermStatistics {
    /// Those of a term where each text is a document.
    pub(super) fn one_text_each(doc_freq: usize, max_frequency: u32) -> Self {
        let both = Occurrence { doc_freq, max_frequency };
        TermStatistics { texts: both, documents: both }
    }
}

/// What is known of a term.
#[derive(Clone)]
pub(super) struct KnownTerm {
    pub(super) statistics: TermStatistics,
    /// Where many texts hold it and are scored window by window.
    pub(super) table: Option<Arc<FrequencyTable>>,
}

/// The terms that queries have asked for, as long as the index is open.
#[derive(Default)]
pub(super) struct TermCache(Mutex<HashMap<Term, KnownTerm>>);

impl TermCache {
    pub(super) fn get(&self, term: &Term) -> Option<KnownTerm> {
        self.terms().get(term).cloned()
    }

    pub(super) fn insert(&self, term: Term, known: KnownTerm) {
        self.terms().insert(term, known);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.terms().len()
    }

    fn terms(&self) -> MutexGuard<'_, HashMap<Term, KnownTerm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
