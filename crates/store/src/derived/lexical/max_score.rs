//! The best texts for a query without scoring all of them: MaxScore (Turtle and Flood, "Query
//! Evaluation: Strategies and Optimizations", 1995), window by window as in Lucene's
//! `MaxScoreBulkScorer`.
//!
//! **Idea.** A term that most texts hold is worth least and costs most to read. The best scores
//! found so far give a threshold. Terms are taken by falling `max_score`, the most that each can
//! add. The first of them are essential: a text that holds none of these cannot come to the
//! threshold, even with all the others. So only the essential terms are read for all texts of a
//! window, and every text that holds one is a candidate. The non-essential terms are added for
//! candidates alone, and before each of them the candidates are pruned that the terms left cannot
//! lift to the threshold.
//!
//! **Windows.** Texts are taken in windows small enough for the first caches, and the threshold
//! rises from one window to the next.
//!
//! **Invariant.** Every text that could be among the best is a candidate until its window is done,
//! and gets its terms' weights in the same order as if every text had been scored. So the result is
//! the same to the bit. Upper bounds are lifted by [`ROUNDING`] for that.

use super::bm25::with_document;
use super::bound::{Bound, ROUNDING};
use super::frequency_table::Lists;
use super::index::{DELETED, Lexical};
use super::kernels::{Kernels, compact};
use super::postings::{DocumentPostings, Postings, TermSource};
use super::terms::QueryTerm;
use super::windows::{SegmentRange, Window};
use crate::ChunkId;

/// Looking a text up in a posting list takes as long as reading so many of its texts.
const LOOK_UP_COST: usize = 16;

/// Scores of the texts of one window after the other. Windows must come in order, as posting lists
/// are read forwards only.
pub(super) struct WindowScores<'a> {
    lexical: &'a Lexical,
    /// By falling `max_score`.
    terms: &'a [QueryTerm],
    /// By term.
    lists: Vec<Lists>,
    /// For each term, what it and all behind it can add to a text together; 0 behind the last.
    max_scores: Vec<f32>,
    /// Scores by text of the window. All are 0 between two windows.
    texts: Vec<f32>,
    /// Scores by document of the window, 0 between two windows. Empty where each document is one
    /// text, which has the same score.
    documents: Vec<f32>,
    /// Texts that may still be among the best, by range of the window. Each holds a term.
    candidates: Vec<Vec<u32>>,
    /// By document of the window: `mark` if it is a candidate. Empty where each document is one
    /// text; a text that is none has a score of 0 there.
    marks: Vec<u32>,
    mark: u32,
    postings: Postings,
    of_documents: DocumentPostings,
    /// Postings that were added up.
    #[cfg(test)]
    pub(super) added: usize,
}

/// Which texts a term is added for, and how they are found.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// All texts: the term is essential.
    All,
    /// The texts of candidate documents, found while the whole list is read.
    Candidates,
    /// The candidate texts, looked up one by one, where each document is one text. They are sorted
    /// where the term has no table.
    CandidateTexts,
    /// The texts of these documents, which are sorted, looked up one by one.
    Documents(&'a [u32]),
}

impl<'a> WindowScores<'a> {
    pub(super) fn new(lexical: &'a Lexical, terms: &'a [QueryTerm]) -> Self {
        let mut max_scores = vec![0.0; terms.len() + 1];
        for (at, term) in terms.iter().enumerate().rev() {
            max_scores[at] = max_scores[at + 1] + term.max_score;
        }
        WindowScores {
            lexical,
            terms,
            lists: terms.iter().map(|term| term.lists.clone()).collect(),
            max_scores,
            texts: Vec::new(),
            documents: Vec::new(),
            candidates: Vec::new(),
            marks: Vec::new(),
            mark: 0,
            postings: Postings::default(),
            of_documents: DocumentPostings::new(lexical),
            #[cfg(test)]
            added: 0,
        }
    }

    /// Scores the texts of a window, but those that cannot come to the threshold.
    pub(super) fn add_up(&mut self, window: &Window<'_>, threshold: f32) {
        self.make_room(window);
        let essential =
            self.max_scores.iter().position(|max_score| ROUNDING * max_score < threshold);
        let essential = essential.unwrap_or(self.terms.len());
        for term in 0..essential {
            self.add(window, term, Scope::All);
        }
        for non_essential in essential..self.terms.len() {
            let max_score = self.max_scores[non_essential];
            self.prune(window, Bound { max_score, threshold });
            if self.candidates.iter().all(Vec::is_empty) {
                return;
            }
            self.add_to_candidates(window, non_essential);
        }
    }

    fn make_room(&mut self, window: &Window<'_>) {
        let documents = window.documents.len();
        self.texts.resize(self.texts.len().max(window.texts), 0.0);
        self.candidates.resize_with(self.candidates.len().max(window.ranges.len()), Vec::new);
        if !self.lexical.each_is_one_text() {
            self.marks.resize(self.marks.len().max(documents), 0);
            self.documents.resize(self.documents.len().max(documents), 0.0);
        }
    }

    /// Adds what a term is worth to some texts and their documents.
    fn add(&mut self, window: &Window<'_>, term: usize, scope: Scope<'_>) {
        let (lexical, marks, mark) = (self.lexical, &self.marks, self.mark);
        let WindowScores { texts, documents, candidates, postings, of_documents, .. } = self;
        let (lists, term) = (&mut self.lists[term], &self.terms[term]);
        let (first, one_text) = (window.documents.start, lexical.each_is_one_text());
        of_documents.clear();
        for (range, candidates) in window.ranges.iter().zip(candidates) {
            let Some(mut source) = TermSource::new(lists, term.table.as_deref(), range) else {
                continue;
            };
            postings.clear();
            match scope {
                Scope::All | Scope::Candidates => postings.add_all(&mut source),
                Scope::CandidateTexts => postings.add_some(&mut source, candidates),
                Scope::Documents(documents) => {
                    let texts =
                        documents.iter().filter_map(|document| lexical.texts_in(range, *document));
                    postings.add_ranges(&mut source, texts);
                }
            }
            if lexical.segments[range.segment].reader.has_deletes() {
                postings.retain(|text| range.chunks[text as usize] != DELETED);
            }
            let scores = &mut texts[range.before..][..range.chunks.len()];
            match scope {
                Scope::Candidates if one_text => postings.retain_scored(scores),
                Scope::Candidates => postings.retain(|text| {
                    marks[(range.documents[text as usize] - first) as usize] == mark
                }),
                Scope::All | Scope::CandidateTexts | Scope::Documents(_) => {}
            }
            if !one_text || matches!(scope, Scope::All) {
                let known = candidates.len();
                candidates.extend_from_slice(&postings.ids);
                Kernels::current().keep_new(candidates, known, scores);
            }
            postings.add_weights(term.text, range.lengths, scores);
            if !one_text {
                of_documents.add_all(postings, range.documents, first);
            }
            #[cfg(test)]
            {
                self.added += postings.ids.len();
            }
        }
        if !one_text {
            let count = window.documents.len();
            let (lengths, scores) =
                (&lexical.documents[first as usize..][..count], &mut documents[..count]);
            of_documents.postings.add_weights(term.document, lengths, scores);
        }
    }

    /// Adds a non-essential term for the candidates: looked up one by one where they are few,
    /// otherwise found while the whole list is read.
    fn add_to_candidates(&mut self, window: &Window<'_>, term: usize) {
        let candidates: usize = self.candidates.iter().map(Vec::len).sum();
        let expected = self.terms[term].doc_freq * window.texts / self.lexical.places.len().max(1);
        let tabled = self.terms[term].table.is_some();
        let look_up = if tabled { 1 } else { LOOK_UP_COST };
        if !self.lexical.contiguous || candidates * look_up > expected {
            return self.add(window, term, Scope::Candidates);
        }
        if self.lexical.each_is_one_text() {
            if !tabled {
                self.candidates.iter_mut().for_each(|texts| texts.sort_unstable());
            }
            return self.add(window, term, Scope::CandidateTexts);
        }
        let of_range = window.ranges.iter().zip(&self.candidates);
        let documents = of_range.flat_map(|(range, candidates)| {
            candidates.iter().map(|text| range.documents[*text as usize])
        });
        let mut documents: Vec<u32> = documents.collect();
        documents.sort_unstable();
        documents.dedup();
        self.add(window, term, Scope::Documents(&documents));
    }

    /// Drops the candidates that cannot come to the threshold any more.
    fn prune(&mut self, window: &Window<'_>, bound: Bound) {
        let WindowScores { lexical, texts, documents, candidates, marks, mark, .. } = self;
        let ranges = || window.ranges.iter().zip(0..);
        if lexical.each_is_one_text() {
            for (range, at) in ranges() {
                let scores = &mut texts[range.before..][..range.chunks.len()];
                Kernels::current().prune(&mut candidates[at], scores, bound);
            }
            return;
        }
        *mark += 1;
        let place = |range: &SegmentRange<'_>, text: u32| {
            (range.documents[text as usize] - window.documents.start) as usize
        };
        // A document is a candidate as long as one of its texts is. A text without a term so far is
        // none: it can come to no more than one with a term, as both get their document's score.
        for (range, at) in ranges() {
            for &text in &candidates[at] {
                let document = place(range, text);
                let own = texts[range.before + text as usize];
                if bound.can_reach(with_document(own, documents[document])) {
                    marks[document] = *mark;
                }
            }
        }
        for (range, at) in ranges() {
            compact(&mut candidates[at], 0, |text| marks[place(range, text)] == *mark);
        }
    }

    /// Hands over the candidates of a window with their scores, and gets ready for the next window.
    pub(super) fn hand_over(&mut self, window: &Window<'_>, mut take: impl FnMut(ChunkId, f32)) {
        for (at, range) in window.ranges.iter().enumerate() {
            for &text in &self.candidates[at] {
                take(range.chunks[text as usize], self.score(window, range, text));
            }
        }
        self.clear(window);
    }

    /// The score of a text of a window, 0 where neither it nor its document holds a term.
    pub(super) fn of(&self, window: &Window<'_>, segment: usize, text: u32) -> f32 {
        let range = window.ranges.iter().find(|range| range.segment == segment);
        range.map_or(0.0, |range| self.score(window, range, text - range.from))
    }

    fn score(&self, window: &Window<'_>, range: &SegmentRange<'_>, text: u32) -> f32 {
        let document = range.documents[text as usize] - window.documents.start;
        whole(self.texts[range.before + text as usize], self.documents.get(document as usize))
    }

    /// Back to zeros.
    pub(super) fn clear(&mut self, window: &Window<'_>) {
        self.candidates.iter_mut().for_each(Vec::clear);
        self.texts[..window.texts].fill(0.0);
        let documents = self.documents.len().min(window.documents.len());
        self.documents[..documents].fill(0.0);
    }
}

/// The score of a text from its own and that of its document. There is none of the document where
/// each document is one text.
fn whole(text: f32, document: Option<&f32>) -> f32 {
    document.map_or(text, |document| with_document(text, *document))
}
