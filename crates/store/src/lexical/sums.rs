//! What the words of a query add up to, window by window.
//!
//! A word that most texts hold is worth least and costs most. So texts are taken in windows small
//! enough for the first caches, and in each the words by falling worth: once those that are left
//! could not, all together, bring a text among the best that has none of the others, they are
//! looked up for documents that have (Turtle and Flood, "Query Evaluation: Strategies and
//! Optimizations", 1995: MaxScore; by windows as Lucene's `MaxScoreBulkScorer` does). Before each
//! of them, documents that cannot be among the best any more are dropped. What comes out is the
//! same, to the bit, as if every document had been looked at.

use super::kernels::{Hope, Level, ROUNDING, compact};
use super::postings::{Holding, Lists, Postings, Source};
use super::windows::{Piece, Window};
use super::words::{Word, Worth};
use super::{DELETED, Lexical};
use crate::ChunkId;

/// Looking a text up in a posting list takes as long as reading so many of its texts.
const LOOK_UP: usize = 16;

/// What the words add up to in one window after the other, read in order.
pub(super) struct Sums<'a> {
    lexical: &'a Lexical,
    words: &'a [Word],
    /// By word.
    lists: Vec<Lists>,
    /// What the words from each on can add to a text, all together; 0 behind the last.
    most: Vec<f32>,
    /// By text of the window; all zero between two windows, as the next.
    texts: Vec<f32>,
    /// By document of the window; nothing where each is one text, whose score is that of its
    /// document too.
    documents: Vec<f32>,
    /// Texts that have a word and may be among the best, by piece.
    reached: Vec<Vec<u32>>,
    /// By document of the window, where each is not one text: `mark` if it may be among the best. A
    /// text that may not has a sum of 0 where each is one.
    marks: Vec<u32>,
    mark: u32,
    postings: Postings,
    holding: Holding,
    /// Places in posting lists that were added up.
    #[cfg(test)]
    pub(super) added: usize,
}

/// For which texts a word is looked up.
#[derive(Clone, Copy)]
enum Of<'a> {
    All,
    /// Those of documents that may be among the best, found while all are read.
    Living,
    /// Those reached, by rising number where the word has no table, looked up one by one; where
    /// each is a document.
    Reached,
    /// Those of these documents, by rising number, looked up one by one.
    Documents(&'a [u32]),
}

impl<'a> Sums<'a> {
    pub(super) fn new(lexical: &'a Lexical, words: &'a [Word]) -> Self {
        let mut most = vec![0.0; words.len() + 1];
        for (at, word) in words.iter().enumerate().rev() {
            most[at] = most[at + 1] + word.most;
        }
        Sums {
            lexical,
            words,
            lists: words.iter().map(|word| word.lists.clone()).collect(),
            most,
            texts: Vec::new(),
            documents: Vec::new(),
            reached: Vec::new(),
            marks: Vec::new(),
            mark: 0,
            postings: Postings::default(),
            holding: Holding::new(lexical),
            #[cfg(test)]
            added: 0,
        }
    }

    /// Adds up the words for all texts of a window but those that cannot come to `floor`.
    pub(super) fn add_up(&mut self, window: &Window<'_>, floor: f32) {
        self.make_room(window);
        let enough = self.most.iter().position(|most| ROUNDING * most < floor);
        let enough = enough.unwrap_or(self.words.len());
        for at in 0..enough {
            self.add(window, at, Of::All);
        }
        for at in enough..self.words.len() {
            self.drop_hopeless(window, self.most[at], floor);
            if self.reached.iter().all(Vec::is_empty) {
                return;
            }
            self.add_to_living(window, at);
        }
    }

    fn make_room(&mut self, window: &Window<'_>) {
        let documents = window.documents.len();
        self.texts.resize(self.texts.len().max(window.texts), 0.0);
        self.reached.resize_with(self.reached.len().max(window.pieces.len()), Vec::new);
        if !self.lexical.each_is_one_text() {
            self.marks.resize(self.marks.len().max(documents), 0);
            self.documents.resize(self.documents.len().max(documents), 0.0);
        }
    }

    /// Adds what a word is worth to some texts and their documents.
    fn add(&mut self, window: &Window<'_>, word: usize, of: Of<'_>) {
        let Sums { lexical, texts, documents, reached, marks, mark, postings, holding, .. } = self;
        let (lists, word) = (&mut self.lists[word], &self.words[word]);
        let (first, one_text) = (window.documents.start, lexical.each_is_one_text());
        holding.clear();
        for (piece, reached) in window.pieces.iter().zip(reached) {
            let Some(mut source) = Source::new(lists, word.table.as_deref(), piece) else {
                continue;
            };
            postings.clear();
            match of {
                Of::All | Of::Living => postings.add_all(&mut source),
                Of::Reached => postings.add_some(&mut source, reached),
                Of::Documents(documents) => {
                    let ranges =
                        documents.iter().filter_map(|document| lexical.texts_in(piece, *document));
                    postings.add_ranges(&mut source, ranges);
                }
            }
            if lexical.segments[piece.segment].reader.has_deletes() {
                postings.retain(|text| piece.chunks[text as usize] != DELETED);
            }
            let scores = &mut texts[piece.before..][..piece.chunks.len()];
            match of {
                Of::Living if one_text => postings.retain_scored(scores),
                Of::Living => postings.retain(|text| {
                    marks[(piece.documents[text as usize] - first) as usize] == *mark
                }),
                Of::All | Of::Reached | Of::Documents(_) => {}
            }
            if !one_text || matches!(of, Of::All) {
                let known = reached.len();
                reached.extend_from_slice(&postings.holders);
                Level::current().keep_new(reached, known, scores);
            }
            postings.add_weights((word.text.norm, word.text.idf), piece.lengths, scores);
            if !one_text {
                holding.add_all(postings, piece.documents, first);
            }
            #[cfg(test)]
            {
                self.added += postings.holders.len();
            }
        }
        if !one_text {
            let Worth { idf, norm } = word.document;
            let count = window.documents.len();
            let (lengths, scores) =
                (&lexical.documents[first as usize..][..count], &mut documents[..count]);
            holding.documents.add_weights((norm, idf), lengths, scores);
        }
    }

    /// Adds a word for the documents that live: looked up one by one where they are few.
    fn add_to_living(&mut self, window: &Window<'_>, word: usize) {
        let living: usize = self.reached.iter().map(Vec::len).sum();
        let expected = self.words[word].texts * window.texts / self.lexical.places.len().max(1);
        let tabled = self.words[word].table.is_some();
        let look_up = if tabled { 1 } else { LOOK_UP };
        if !self.lexical.contiguous || living * look_up > expected {
            return self.add(window, word, Of::Living);
        }
        if self.lexical.each_is_one_text() {
            if !tabled {
                self.reached.iter_mut().for_each(|texts| texts.sort_unstable());
            }
            return self.add(window, word, Of::Reached);
        }
        let of_piece = window.pieces.iter().zip(&self.reached);
        let documents = of_piece.flat_map(|(piece, reached)| {
            reached.iter().map(|text| piece.documents[*text as usize])
        });
        let mut documents: Vec<u32> = documents.collect();
        documents.sort_unstable();
        documents.dedup();
        self.add(window, word, Of::Documents(&documents));
    }

    /// Drops the documents that cannot come to `floor` any more where nothing can add more than
    /// `most`.
    fn drop_hopeless(&mut self, window: &Window<'_>, most: f32, floor: f32) {
        let Sums { lexical, texts, documents, reached, marks, mark, .. } = self;
        let hope = Hope { most, floor };
        let pieces = || window.pieces.iter().zip(0..);
        if lexical.each_is_one_text() {
            for (piece, at) in pieces() {
                let scores = &mut texts[piece.before..][..piece.chunks.len()];
                Level::current().keep_hopeful(&mut reached[at], scores, hope);
            }
            return;
        }
        *mark += 1;
        let place = |piece: &Piece<'_>, text: u32| {
            (piece.documents[text as usize] - window.documents.start) as usize
        };
        // A document lives by any of its texts. One that has no word yet can become no better than
        // one that has: both get what their document has.
        for (piece, at) in pieces() {
            for &text in &reached[at] {
                let document = place(piece, text);
                if hope
                    .holds(with_document(texts[piece.before + text as usize], documents[document]))
                {
                    marks[document] = *mark;
                }
            }
        }
        for (piece, at) in pieces() {
            compact(&mut reached[at], 0, |text| marks[place(piece, text)] == *mark);
        }
    }

    /// Hands over the texts of a window that have a word, with their scores, but those that were
    /// dropped; ready for the next one then.
    pub(super) fn hand_over(&mut self, window: &Window<'_>, mut take: impl FnMut(ChunkId, f32)) {
        for (at, piece) in window.pieces.iter().enumerate() {
            for &text in &self.reached[at] {
                take(piece.chunks[text as usize], self.score(window, piece, text));
            }
        }
        self.clear(window);
    }

    /// The score of a text of a window, 0 where neither it nor its document has a word.
    pub(super) fn of(&self, window: &Window<'_>, segment: usize, text: u32) -> f32 {
        let piece = window.pieces.iter().find(|piece| piece.segment == segment);
        piece.map_or(0.0, |piece| self.score(window, piece, text - piece.from))
    }

    fn score(&self, window: &Window<'_>, piece: &Piece<'_>, text: u32) -> f32 {
        let document = piece.documents[text as usize] - window.documents.start;
        whole(self.texts[piece.before + text as usize], self.documents.get(document as usize))
    }

    /// Back to zeros.
    pub(super) fn clear(&mut self, window: &Window<'_>) {
        self.reached.iter_mut().for_each(Vec::clear);
        self.texts[..window.texts].fill(0.0);
        let documents = self.documents.len().min(window.documents.len());
        self.documents[..documents].fill(0.0);
    }
}

/// The score of a text from its own sum and that of its document, of which there is none where each
/// is one text.
fn whole(text: f32, document: Option<&f32>) -> f32 {
    document.map_or(text, |document| with_document(text, *document))
}

/// The score of a text that has one itself and is part of a document that has another.
pub(super) fn with_document(text: f32, document: f32) -> f32 {
    0.5 * (text + document)
}
