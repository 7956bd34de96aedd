//! Scores of texts for the words of a query.
//!
//! A word that most texts hold is worth least and costs most. So texts are taken in windows small enough for the first caches, and
//! in each the words by falling worth: once those that are left could not, all together, bring a text among the best that has
//! none of the others, they are looked up for documents that have (Turtle and Flood, "Query Evaluation: Strategies and
//! Optimizations", 1995: MaxScore; by windows as Lucene's `MaxScoreBulkScorer` does). Before each of them, documents that cannot be
//! among the best any more are dropped. What comes out is the same, to the bit, as if every document had been looked at.

use std::collections::HashMap;

use super::postings::{Holding, Lists, Postings};
use super::windows::{Piece, Window};
use super::words::{Word, Worth};
use super::{DELETED, Lexical};
use crate::best::Best;
use crate::bm25::Bm25;
use crate::{ChunkId, Result};

/// Texts in a window.
pub(super) const WINDOW: usize = 8192;

/// Rounding may lift what words are worth by less than this share.
const ROUNDING: f32 = 1.001;

/// Looking a text up in a posting list takes as long as reading so many of its texts.
const LOOK_UP: usize = 16;

/// The BM25 scores of texts for one query: of the best, and of those that were asked for.
pub(crate) struct Scores<'a> {
    lexical: &'a Lexical,
    words: Vec<Word>,
    best: Vec<(ChunkId, f32)>,
    known: HashMap<ChunkId, f32>,
    /// Places in posting lists that were added up.
    #[cfg(test)]
    added: usize,
}

impl Lexical {
    /// Scores texts by `query`, which is read in each of their languages; a word that stands twice in it counts twice. Known are
    /// afterwards the `count` best texts of those that `keep` holds for.
    pub(crate) fn score(
        &self,
        query: &str,
        bm25: Bm25,
        count: usize,
        keep: impl Fn(ChunkId) -> bool,
    ) -> Result<Scores<'_>> {
        let words = self.words(query, bm25)?;
        let mut best = Best::new(count);
        let mut sums = Sums::new(self, &words);
        for window in self.windows(self.window_texts) {
            sums.add_up(&window, best.floor().max(0.0));
            sums.hand_over(&window, |chunk, score| {
                if score >= best.floor() && keep(chunk) {
                    best.offer(chunk, score);
                }
            });
            best.settle();
        }
        #[cfg(test)]
        let added = sums.added;
        let best = best.sorted();
        Ok(Scores {
            lexical: self,
            known: best.iter().copied().collect(),
            words,
            best,
            #[cfg(test)]
            added,
        })
    }

    pub(super) fn each_is_one_text(&self) -> bool {
        self.starts.len() == self.places.len()
    }

    /// Segment and number of a chunk's text.
    fn place(&self, chunk: ChunkId) -> Option<(usize, u32)> {
        let at = self.places.binary_search_by_key(&chunk, |(chunk, ..)| *chunk).ok()?;
        let (_, segment, text) = self.places[at];
        Some((segment as usize, text))
    }
}

impl Scores<'_> {
    /// The best texts that have a word of the query, best first.
    pub(crate) fn best(&self) -> &[(ChunkId, f32)] {
        &self.best
    }

    /// Makes up for the scores of some chunks, whether or not they are among the best; on two threads where `beside`
    /// says so and the texts of each document lie together.
    pub(crate) fn take_in(&mut self, chunks: impl IntoIterator<Item = ChunkId>, beside: bool) {
        let Scores { lexical, words, known, .. } = self;
        let place = |chunk: ChunkId| {
            let (segment, text) = lexical.place(chunk).filter(|_| !known.contains_key(&chunk))?;
            Some((lexical.segments[segment].documents[text as usize], segment, text, chunk))
        };
        let mut asked: Vec<Asked> = chunks.into_iter().filter_map(place).collect();
        asked.sort_unstable();
        let scored = |asked| scores_of(lexical, words, asked);
        if beside && lexical.contiguous {
            let (first, second) = asked.split_at(asked.len() / 2);
            let (first, second) = rayon::join(|| scored(first), || scored(second));
            known.extend(first.into_iter().chain(second));
        } else {
            known.extend(scored(&asked));
        }
    }

    /// The score of a chunk that is among the best or was taken in, 0 where neither it nor its document has a word of the
    /// query; `None` for another one.
    pub(crate) fn of(&self, chunk: ChunkId) -> Option<f32> {
        self.known.get(&chunk).copied()
    }
}

/// A chunk whose score is asked for, with its document, segment and text.
type Asked = (u32, usize, u32, ChunkId);

/// The scores of chunks, given by rising number of document.
fn scores_of(lexical: &Lexical, words: &[Word], asked: &[Asked]) -> Vec<(ChunkId, f32)> {
    let mut scores = Vec::with_capacity(asked.len());
    let mut sums = Sums::new(lexical, words);
    for asked in asked.chunk_by(|a, b| a.0 == b.0 || !lexical.contiguous) {
        let document = asked[0].0;
        let all = 0..lexical.starts.len() as u32;
        let window = lexical.window(if lexical.contiguous { document..document + 1 } else { all });
        sums.add_up(&window, 0.0);
        scores.extend(asked.iter().map(|&(_, at, text, chunk)| (chunk, sums.of(&window, at, text))));
        sums.clear(&window);
    }
    scores
}

/// What the words add up to in one window after the other, read in order.
struct Sums<'a> {
    lexical: &'a Lexical,
    words: &'a [Word],
    /// By word.
    lists: Vec<Lists>,
    /// What the words from each on can add to a text, all together; 0 behind the last.
    most: Vec<f32>,
    /// By text of the window; all zero between two windows, as the next.
    texts: Vec<f32>,
    /// By document of the window; nothing where each is one text, whose score is that of its document too.
    documents: Vec<f32>,
    /// Texts that have a word and may be among the best, by piece.
    reached: Vec<Vec<u32>>,
    /// By document of the window, where each is not one text: `mark` if it may be among the best. A text that may not has a sum of 0
    /// where each is one.
    marks: Vec<u32>,
    mark: u32,
    postings: Postings,
    holding: Holding,
    #[cfg(test)]
    added: usize,
}

/// For which texts a word is looked up.
#[derive(Clone, Copy)]
enum Of<'a> {
    All,
    /// Those of documents that may be among the best, found while all are read.
    Living,
    /// Those reached, by rising number, looked up one by one; where each is a document.
    Reached,
    /// Those of these documents, by rising number, looked up one by one.
    Documents(&'a [u32]),
}

impl<'a> Sums<'a> {
    fn new(lexical: &'a Lexical, words: &'a [Word]) -> Self {
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
    fn add_up(&mut self, window: &Window<'_>, floor: f32) {
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
            let Some(list) = &mut lists[piece.segment] else { continue };
            postings.clear();
            match of {
                Of::All | Of::Living => postings.read(list, piece.from, piece.to, piece.from),
                Of::Reached => {
                    reached.iter().for_each(|text| postings.look_up(list, piece.from + text, piece.from));
                }
                Of::Documents(documents) => {
                    let ranges = documents.iter().filter_map(|document| lexical.texts_in(piece, *document));
                    ranges.for_each(|texts| postings.read(list, texts.start, texts.end, piece.from));
                }
            }
            if lexical.segments[piece.segment].reader.has_deletes() {
                postings.retain(|text| piece.chunks[text as usize] != DELETED);
            }
            let scores = &mut texts[piece.before..][..piece.chunks.len()];
            match of {
                Of::Living if one_text => postings.retain(|text| scores[text as usize] > 0.0),
                Of::Living => {
                    postings.retain(|text| marks[(piece.documents[text as usize] - first) as usize] == *mark)
                }
                Of::All | Of::Reached | Of::Documents(_) => {}
            }
            if !one_text || matches!(of, Of::All) {
                let known = reached.len();
                reached.extend_from_slice(&postings.holders);
                compact(reached, known, |text| scores[text as usize] == 0.0);
            }
            postings.add_weights(word.text.norm, word.text.idf, piece.lengths, scores);
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
            holding.documents.add_weights(norm, idf, &lexical.documents[first as usize..], documents);
        }
    }

    /// Adds a word for the documents that live: looked up one by one where they are few.
    fn add_to_living(&mut self, window: &Window<'_>, word: usize) {
        let living: usize = self.reached.iter().map(Vec::len).sum();
        let expected = self.words[word].texts * window.texts / self.lexical.places.len().max(1);
        if !self.lexical.contiguous || living * LOOK_UP > expected {
            return self.add(window, word, Of::Living);
        }
        if self.lexical.each_is_one_text() {
            self.reached.iter_mut().for_each(|texts| texts.sort_unstable());
            return self.add(window, word, Of::Reached);
        }
        let of_piece = window.pieces.iter().zip(&self.reached);
        let documents =
            of_piece.flat_map(|(piece, reached)| reached.iter().map(|text| piece.documents[*text as usize]));
        let mut documents: Vec<u32> = documents.collect();
        documents.sort_unstable();
        documents.dedup();
        self.add(window, word, Of::Documents(&documents));
    }

    /// Drops the documents that cannot come to `floor` any more where nothing can add more than `most`.
    fn drop_hopeless(&mut self, window: &Window<'_>, most: f32, floor: f32) {
        let Sums { lexical, texts, documents, reached, marks, mark, .. } = self;
        let hopeful = |score: f32| (score + most) * ROUNDING >= floor;
        let pieces = || window.pieces.iter().zip(0..);
        if lexical.each_is_one_text() {
            for (piece, at) in pieces() {
                let scores = &mut texts[piece.before..];
                compact(&mut reached[at], 0, |text| {
                    let score = &mut scores[text as usize];
                    let lives = hopeful(*score);
                    *score = if lives { *score } else { 0.0 };
                    lives
                });
            }
            return;
        }
        *mark += 1;
        let place =
            |piece: &Piece<'_>, text: u32| (piece.documents[text as usize] - window.documents.start) as usize;
        // A document lives by any of its texts. One that has no word yet can become no better than one that has: both get what their
        // document has.
        for (piece, at) in pieces() {
            for &text in &reached[at] {
                let document = place(piece, text);
                if hopeful(with_document(texts[piece.before + text as usize], documents[document])) {
                    marks[document] = *mark;
                }
            }
        }
        for (piece, at) in pieces() {
            compact(&mut reached[at], 0, |text| marks[place(piece, text)] == *mark);
        }
    }

    /// Hands over the texts of a window that have a word, with their scores, but those that were dropped; ready for the next one
    /// then.
    fn hand_over(&mut self, window: &Window<'_>, mut take: impl FnMut(ChunkId, f32)) {
        for (at, piece) in window.pieces.iter().enumerate() {
            for &text in &self.reached[at] {
                take(piece.chunks[text as usize], self.score(window, piece, text));
            }
        }
        self.clear(window);
    }

    /// The score of a text of a window, 0 where neither it nor its document has a word.
    fn of(&self, window: &Window<'_>, segment: usize, text: u32) -> f32 {
        let piece = window.pieces.iter().find(|piece| piece.segment == segment);
        piece.map_or(0.0, |piece| self.score(window, piece, text - piece.from))
    }

    fn score(&self, window: &Window<'_>, piece: &Piece<'_>, text: u32) -> f32 {
        let document = piece.documents[text as usize] - window.documents.start;
        whole(self.texts[piece.before + text as usize], self.documents.get(document as usize))
    }

    /// Back to zeros.
    fn clear(&mut self, window: &Window<'_>) {
        self.reached.iter_mut().for_each(Vec::clear);
        self.texts[..window.texts].fill(0.0);
        let documents = self.documents.len().min(window.documents.len());
        self.documents[..documents].fill(0.0);
    }
}

/// Keeps the numbers behind the first `known` for which `keep` holds.
fn compact(numbers: &mut Vec<u32>, known: usize, mut keep: impl FnMut(u32) -> bool) {
    let mut kept = known;
    // Without a branch, as nobody can tell which stay.
    for at in known..numbers.len() {
        let number = numbers[at];
        numbers[kept] = number;
        kept += usize::from(keep(number));
    }
    numbers.truncate(kept);
}

/// The score of a text from its own sum and that of its document, of which there is none where each is one text.
fn whole(text: f32, document: Option<&f32>) -> f32 {
    document.map_or(text, |document| with_document(text, *document))
}

/// The score of a text that has one itself and is part of a document that has another.
pub(super) fn with_document(text: f32, document: f32) -> f32 {
    0.5 * (text + document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::DocumentId;
    use crate::lexical::{Searched, Stamp, Take};

    /// Words of a chunk: low numbers stand in most, high ones in few.
    fn words() -> impl Strategy<Value = String> {
        let word = (1u32..60, 1u32..60).prop_map(|(a, b)| format!("w{}", a.min(b)));
        prop::collection::vec(word, 1..12).prop_map(|words| words.join(" "))
    }

    fn add(chunks: &[(i64, i64, String)], take: Take<'_>) -> Result<()> {
        chunks.iter().try_for_each(|(chunk, document, text)| {
            let (chunk, document) = (ChunkId(*chunk), DocumentId(*document));
            take(Searched { chunk, document, language: "xx", text })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        /// Passing documents by brings the same texts with the same scores, to the bit, as looking at all, whatever was deleted,
        /// whether or not the texts of a document lie together, and however large the windows are.
        #[test]
        fn the_best_are_those_of_a_scan(
            texts in prop::collection::vec(words(), 150..400),
            query in words(),
            count in 1usize..12,
            documents in prop::sample::select(vec![1i64, 3, 40, 1000]),
            scattered in any::<bool>(),
            gone in prop::collection::hash_set(1i64..150, 0..40),
            step in 1i64..4,
            window in prop::sample::select(vec![1usize, 5, 32, 1000]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let owner = |chunk: i64| if scattered { chunk % documents } else { chunk / (400 / documents + 1) } + 1;
            let chunks: Vec<_> = (1..).zip(&texts).map(|(chunk, text)| (chunk, owner(chunk), text.clone())).collect();
            let (first, second) = chunks.split_at(chunks.len() / 2);
            let built = Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(first, take)).unwrap();
            let gone = gone.into_iter().filter(|&chunk| chunk <= first.len() as i64).map(ChunkId).collect();
            let mut lexical = built.update(Stamp::new("store", 2), &gone, |take| add(second, take)).unwrap();

            let keep = |chunk: ChunkId| chunk.0 % step == 0;
            let of: Vec<ChunkId> = chunks.iter().map(|chunk| ChunkId(chunk.0)).filter(|c| !gone.contains(c)).step_by(50).collect();
            let bm25 = Bm25::default();
            lexical.window_texts = usize::MAX;
            // So many are never found, so that no document is passed by.
            let all = lexical.score(&query, bm25, usize::MAX, |_| true).unwrap().best().to_vec();
            let scores: HashMap<ChunkId, f32> = all.iter().copied().collect();
            let mut expected: Vec<(ChunkId, f32)> = all.into_iter().filter(|(chunk, _)| keep(*chunk)).collect();
            expected.truncate(count);

            lexical.window_texts = window;
            let mut some = lexical.score(&query, bm25, count, keep).unwrap();
            prop_assert_eq!(some.best(), expected);
            some.take_in(of.iter().copied(), false);
            for &chunk in &of {
                // A text without a word gets what its document has.
                let score = some.of(chunk).unwrap();
                prop_assert!(scores.get(&chunk).is_none_or(|expected| score == *expected), "{chunk:?}");
            }
            let mut whole = lexical.score(&query, bm25, usize::MAX, |_| true).unwrap();
            whole.take_in(of.iter().copied(), true);
            for &chunk in &of {
                prop_assert_eq!(some.of(chunk), whole.of(chunk));
            }
        }
    }

    #[test]
    fn documents_without_a_rare_word_are_passed_by() {
        let folder = tempfile::tempdir().unwrap();
        let rare = |at: i64| if at % 100 == 0 { "rare unusual" } else { "other" };
        let chunks: Vec<_> = (1..=1000).map(|at| (at, at, format!("common {}", rare(at)))).collect();
        let mut lexical =
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(&chunks, take)).unwrap();
        lexical.window_texts = 500;
        let mut scores = lexical.score("common rare unusual", Bm25::default(), 5, |_| true).unwrap();
        assert_eq!(scores.best().len(), 5);
        // All of the first window; in the second two rare words of five, for whom alone the common one is looked up.
        assert_eq!(scores.added, (500 + 10) + (10 + 5));
        assert_eq!(scores.of(ChunkId(7)), None);
        scores.take_in([ChunkId(7)], false);
        assert!(scores.of(ChunkId(7)).unwrap() > 0.0);
        assert_eq!(lexical.counted.len(), 1, "only what many texts hold is remembered");
    }

    #[test]
    fn few_are_looked_up_in_each_segment_of_a_window() {
        let folder = tempfile::tempdir().unwrap();
        // Few have a word that few have, some of them a second text without it.
        let owner = |at: i64| if at % 97 == 1 { at - 1 } else { at };
        let text = |at: i64| if at % 97 == 0 { format!("common rare w{at}") } else { "common".to_string() };
        let chunks: Vec<_> = (1..=2100).map(|at| (at, owner(at), text(at))).collect();
        for documents in
            [&chunks[..], &chunks.iter().map(|(at, _, text)| (*at, *at, text.clone())).collect::<Vec<_>>()]
        {
            let (first, second) = documents.split_at(1050);
            let built =
                Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(first, take)).unwrap();
            let mut lexical =
                built.update(Stamp::new("store", 2), &Default::default(), |take| add(second, take)).unwrap();
            assert_eq!((lexical.segments.len(), lexical.contiguous), (2, true));
            let query = "rare common w970 w1067";
            lexical.window_texts = 700;
            let some = lexical.score(query, Bm25::default(), 3, |_| true).unwrap();
            assert!(some.added < 2100, "{}", some.added);
            let all = lexical.score(query, Bm25::default(), usize::MAX, |_| true).unwrap();
            assert_eq!(some.best(), &all.best()[..3]);
            std::fs::remove_dir_all(folder.path()).unwrap();
        }
    }

    #[test]
    fn documents_that_cannot_be_among_the_best_any_more_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        // The best have both words that few have; the others have one and could not catch up.
        let text = |at: i64| match at % 100 {
            0 => "common usual rare rarer",
            1..10 => "common usual rare",
            _ => "common usual",
        };
        let chunks: Vec<_> = (1..=2000).map(|at| (at, at, text(at).to_string())).collect();
        let mut lexical =
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(&chunks, take)).unwrap();
        lexical.window_texts = 1000;
        let scores = lexical.score("common usual rare rarer", Bm25::default(), 5, |_| true).unwrap();
        assert!(scores.best().iter().all(|(chunk, _)| chunk.0 % 100 == 0));
        assert!(scores.added < 2110 + 200, "{}", scores.added);
    }
}
