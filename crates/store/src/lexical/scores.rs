//! Scores of texts for the words of a query.
//!
//! A word that most texts hold is worth least and costs most. So words are taken by falling worth, and once those that are left
//! could not, all together, bring a document among the best that has none of the others, they are added up for documents that have
//! (Turtle and Flood, "Query Evaluation: Strategies and Optimizations", 1995: MaxScore). Before each of them, documents that cannot
//! be among the best any more are dropped, so that the words of most texts are looked up for few. What comes out is the same, to the
//! bit, as if every document had been looked at.

use std::sync::{Mutex, PoisonError};

use super::postings::{Holding, Of, Postings};
use super::words::{Word, Worth};
use super::{DELETED, Lexical};
use crate::bm25::Bm25;
use crate::vectors::best;
use crate::{ChunkId, Result};

/// Rounding may lift what words are worth by less than this share.
const ROUNDING: f32 = 1.001;

/// How many times as many texts must hold the words that are left as have been reached, for it to be worth finding out whether most
/// can be passed by.
const WORTH_A_LOOK: usize = 2;

/// Looking a text up in a posting list takes as long as reading so many of its texts.
const LOOK_UP: usize = 16;

/// A document that may be among the best.
const ALIVE: u8 = 1;
/// A document whose scores are being made up for.
const LATE: u8 = 2;

/// The BM25 scores of texts for one query: of the best, and of those that were asked for.
pub(crate) struct Scores<'a> {
    lexical: &'a Lexical,
    words: Vec<Word>,
    sums: Sums,
}

/// What the words add up to: a place for each text and document, all zero between two queries.
#[derive(Default)]
struct Sums {
    /// By segment and text.
    texts: Vec<Vec<f32>>,
    /// Nothing where each is one text, whose score is that of its document too.
    documents: Vec<f32>,
    /// [`ALIVE`], or 0 where the document was not looked at or is dropped, whose sums are 0 then.
    marks: Vec<u8>,
    /// Texts of the living that have a word, by segment.
    reached: Vec<Vec<u32>>,
    /// Documents that live because they were asked for.
    asked: Vec<u32>,
    /// What the last of the best texts has at least, as far as is known.
    floor: f32,
    postings: Postings,
    holding: Holding,
}

/// Sums that wait for the next query: making room for millions of texts takes longer than most queries.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Sums>>);

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
        let mut sums = self.spare_sums();
        let mut left = words.as_slice();
        while let [word, others @ ..] = left
            && !sums.suffice(self, &words[..words.len() - left.len()], left, count, &keep)
        {
            sums.add(self, word, Of::All)?;
            left = others;
        }
        while let [word, others @ ..] = left {
            let most = left.iter().map(|word| word.most).sum();
            sums.drop_hopeless(self, most, count, &keep);
            sums.add_to_living(self, word)?;
            left = others;
        }
        Ok(Scores { lexical: self, words, sums })
    }

    fn spare_sums(&self) -> Sums {
        let spare = self.spare.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Sums::new(self))
    }

    pub(super) fn each_is_one_text(&self) -> bool {
        self.starts.len() == self.places.len()
    }

    /// Segment and number of a chunk's text.
    fn place(&self, chunk: ChunkId) -> Option<(usize, usize)> {
        let at = self.places.binary_search_by_key(&chunk, |(chunk, ..)| *chunk).ok()?;
        let (_, segment, text) = self.places[at];
        Some((segment as usize, text as usize))
    }

    fn document(&self, chunk: ChunkId) -> Option<u32> {
        let (segment, text) = self.place(chunk)?;
        Some(self.segments[segment].documents[text])
    }

    /// The texts of documents, given by rising number, by segment; those of each must follow each other.
    fn texts_of(&self, documents: &[u32]) -> Vec<Vec<u32>> {
        let mut texts = vec![Vec::new(); self.segments.len()];
        for &document in documents {
            let (first, mut from) = self.starts[document as usize];
            let (last, end) = match self.starts.get(document as usize + 1) {
                Some(&(segment, text)) => (segment as usize, text),
                None => (self.segments.len() - 1, u32::MAX),
            };
            let segments = self.segments.iter().zip(&mut texts).enumerate();
            for (at, (segment, texts)) in segments.take(last + 1).skip(first as usize) {
                let chunks = &segment.chunks;
                let all = chunks.len() as u32;
                let end = if at == last { end.min(all) } else { all };
                texts.extend((from..end).filter(|text| chunks[*text as usize] != DELETED));
                from = 0;
            }
        }
        texts
    }
}

impl Sums {
    fn new(lexical: &Lexical) -> Self {
        let documents = lexical.starts.len();
        Sums {
            texts: lexical.segments.iter().map(|segment| vec![0.0; segment.chunks.len()]).collect(),
            documents: vec![0.0; if lexical.each_is_one_text() { 0 } else { documents }],
            marks: vec![0; documents],
            reached: vec![Vec::new(); lexical.segments.len()],
            asked: Vec::new(),
            floor: 0.0,
            postings: Postings::default(),
            holding: Holding::new(lexical),
        }
    }

    /// Adds what a word is worth to some texts and their documents, which live from then on.
    fn add(&mut self, lexical: &Lexical, word: &Word, of: Of<'_>) -> Result<()> {
        let Sums { texts, documents, marks, reached, postings, holding, .. } = self;
        holding.clear();
        for (at, segment) in lexical.segments.iter().enumerate() {
            segment.read(&word.term, of.in_segment(at, marks), postings)?;
            let (scores, reached) = (&mut texts[at], &mut reached[at]);
            reached.extend(postings.holders.iter().filter(|text| scores[**text as usize] == 0.0));
            postings.add_weights(word.text.norm, word.text.idf, &segment.lengths, scores);
            if matches!(of, Of::All) {
                let documents = postings.holders.iter().map(|text| segment.documents[*text as usize]);
                documents.for_each(|document| marks[document as usize] = ALIVE);
            }
            if !lexical.each_is_one_text() {
                holding.add_all(segment, postings);
            }
        }
        let Worth { idf, norm } = word.document;
        holding.documents.add_weights(norm, idf, &lexical.documents, documents);
        Ok(())
    }

    /// Adds a word for the documents that live: looked up text by text where they are few.
    fn add_to_living(&mut self, lexical: &Lexical, word: &Word) -> Result<()> {
        let reached: usize = self.reached.iter().map(Vec::len).sum();
        if !lexical.contiguous || reached * LOOK_UP > word.texts {
            return self.add(lexical, word, Of::Marked(ALIVE));
        }
        let of_segment = lexical.segments.iter().zip(&self.reached);
        let documents = of_segment
            .flat_map(|(segment, texts)| texts.iter().map(|text| segment.documents[*text as usize]));
        let mut documents: Vec<u32> = documents.collect();
        documents.sort_unstable();
        documents.dedup();
        self.add(lexical, word, Of::Texts(&lexical.texts_of(&documents)))
    }

    /// Whether the words that are left can bring no other document among the best; not looked into where that takes as long as
    /// adding them.
    fn suffice(
        &mut self,
        lexical: &Lexical,
        done: &[Word],
        left: &[Word],
        count: usize,
        keep: impl Fn(ChunkId) -> bool,
    ) -> bool {
        let texts = |words: &[Word]| words.iter().map(|word| word.texts).sum::<usize>();
        let most = |words: &[Word]| ROUNDING * words.iter().map(|word| word.most).sum::<f32>();
        // No text has more than all that was added.
        texts(left) > WORTH_A_LOOK * texts(done)
            && most(left) < most(done)
            && most(left) < self.raised_floor(lexical, count, keep)
    }

    /// What the last of the `count` best texts has at least; 0 where there are not so many yet.
    fn raised_floor(&mut self, lexical: &Lexical, count: usize, keep: impl Fn(ChunkId) -> bool) -> f32 {
        let mut scores: Vec<f32> = Vec::new();
        for ((segment, texts), reached) in lexical.segments.iter().zip(&self.texts).zip(&self.reached) {
            for &text in reached {
                let text = text as usize;
                let score = self.whole(texts[text], segment.documents[text]);
                if score >= self.floor && keep(segment.chunks[text]) {
                    scores.push(score);
                }
            }
        }
        if (1..=scores.len()).contains(&count) {
            self.floor = *scores.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1;
        }
        self.floor
    }

    /// Drops the documents that cannot be among the `count` best any more where nothing can add more than `most`.
    fn drop_hopeless(&mut self, lexical: &Lexical, most: f32, count: usize, keep: impl Fn(ChunkId) -> bool) {
        if self.reached.iter().map(Vec::len).sum::<usize>() <= count.saturating_mul(2) {
            return;
        }
        let least = self.raised_floor(lexical, count, keep);
        // A document lives by any of its texts. One that has no word yet can become no better than one that has: both get what their
        // document has.
        for (at, segment) in lexical.segments.iter().enumerate() {
            for &text in &self.reached[at] {
                let document = segment.documents[text as usize];
                if (self.whole(self.texts[at][text as usize], document) + most) * ROUNDING >= least {
                    self.marks[document as usize] = LATE;
                }
            }
        }
        let Sums { texts, documents, marks, reached, .. } = self;
        for ((segment, texts), reached) in lexical.segments.iter().zip(texts).zip(&mut *reached) {
            reached.retain(|&text| {
                let document = segment.documents[text as usize] as usize;
                let lives = marks[document] == LATE;
                if !lives {
                    texts[text as usize] = 0.0;
                    marks[document] = 0;
                    if let Some(sum) = documents.get_mut(document) {
                        *sum = 0.0;
                    }
                }
                lives
            });
        }
        for (segment, reached) in lexical.segments.iter().zip(reached) {
            reached.iter().for_each(|&text| marks[segment.documents[text as usize] as usize] = ALIVE);
        }
    }

    /// The texts that have a word and that `keep` holds for.
    fn scored(
        &self,
        lexical: &Lexical,
        keep: impl Fn(ChunkId) -> bool,
    ) -> impl Iterator<Item = (ChunkId, f32)> {
        let of_segment = lexical.segments.iter().zip(&self.texts).zip(&self.reached);
        let texts = of_segment.flat_map(move |((segment, scores), reached)| {
            reached.iter().map(move |&text| {
                let text = text as usize;
                (segment.chunks[text], self.whole(scores[text], segment.documents[text]))
            })
        });
        texts.filter(move |(chunk, _)| keep(*chunk))
    }

    /// The score of a text whose words are worth so much.
    fn whole(&self, text: f32, document: u32) -> f32 {
        // There are no documents' sums where each is one text.
        self.documents.get(document as usize).map_or(text, |document| with_document(text, *document))
    }

    /// Back to zeros.
    fn clear(&mut self, lexical: &Lexical) {
        let Sums { texts, documents, marks, reached, asked, floor, .. } = self;
        *floor = 0.0;
        let mut forget = |document: u32| {
            marks[document as usize] = 0;
            if let Some(sum) = documents.get_mut(document as usize) {
                *sum = 0.0;
            }
        };
        for ((segment, texts), reached) in lexical.segments.iter().zip(texts).zip(reached) {
            for text in reached.drain(..) {
                texts[text as usize] = 0.0;
                forget(segment.documents[text as usize]);
            }
        }
        asked.drain(..).for_each(forget);
    }
}

impl Scores<'_> {
    /// The `count` best texts that have a word of the query and that `keep` holds for, best first; at most as many as were wanted.
    pub(crate) fn best(&self, count: usize, keep: impl Fn(ChunkId) -> bool) -> Vec<(ChunkId, f32)> {
        best(self.sums.scored(self.lexical, keep), count)
    }

    /// Makes up for the scores of some chunks, whether or not they are among the best.
    pub(crate) fn take_in(&mut self, chunks: impl IntoIterator<Item = ChunkId>) -> Result<()> {
        let Scores { lexical, words, sums } = self;
        let documents = chunks.into_iter().filter_map(|chunk| lexical.document(chunk));
        let mut late: Vec<u32> = documents.filter(|document| sums.marks[*document as usize] == 0).collect();
        late.sort_unstable();
        late.dedup();
        late.iter().for_each(|document| sums.marks[*document as usize] = LATE);
        sums.asked.extend_from_slice(&late);
        if lexical.contiguous {
            let texts = lexical.texts_of(&late);
            words.iter().try_for_each(|word| sums.add(lexical, word, Of::Texts(&texts)))?;
        } else {
            words.iter().try_for_each(|word| sums.add(lexical, word, Of::Marked(LATE)))?;
        }
        late.iter().for_each(|document| sums.marks[*document as usize] = ALIVE);
        Ok(())
    }

    /// The score of a chunk that is among the best or was taken in, 0 where neither it nor its document has a word of the
    /// query; `None` for one that is not in the index.
    pub(crate) fn of(&self, chunk: ChunkId) -> Option<f32> {
        let (segment, text) = self.lexical.place(chunk)?;
        let document = self.lexical.segments[segment].documents[text];
        debug_assert!(
            self.sums.marks[document as usize] == ALIVE,
            "the score of {chunk:?} was not asked for"
        );
        Some(self.sums.whole(self.sums.texts[segment][text], document))
    }
}

impl Drop for Scores<'_> {
    fn drop(&mut self) {
        let mut sums = std::mem::take(&mut self.sums);
        sums.clear(self.lexical);
        self.lexical.spare.0.lock().unwrap_or_else(PoisonError::into_inner).push(sums);
    }
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

        /// Passing documents by brings the same texts with the same scores, to the bit, as looking at all, whatever was deleted and
        /// whether or not the texts of a document lie together.
        #[test]
        fn the_best_are_those_of_a_scan(
            texts in prop::collection::vec(words(), 150..400),
            query in words(),
            count in 1usize..12,
            documents in prop::sample::select(vec![1i64, 3, 40, 1000]),
            scattered in any::<bool>(),
            gone in prop::collection::hash_set(1i64..150, 0..40),
            step in 1i64..4,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let owner = |chunk: i64| if scattered { chunk % documents } else { chunk / (400 / documents + 1) } + 1;
            let chunks: Vec<_> = (1..).zip(&texts).map(|(chunk, text)| (chunk, owner(chunk), text.clone())).collect();
            let (first, second) = chunks.split_at(chunks.len() / 2);
            let built = Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(first, take)).unwrap();
            let gone = gone.into_iter().filter(|&chunk| chunk <= first.len() as i64).map(ChunkId).collect();
            let lexical = built.update(Stamp::new("store", 2), &gone, |take| add(second, take)).unwrap();

            let keep = |chunk: ChunkId| chunk.0 % step == 0;
            let of: Vec<ChunkId> = chunks.iter().map(|chunk| ChunkId(chunk.0)).filter(|c| !gone.contains(c)).step_by(50).collect();
            let bm25 = Bm25::default();
            // So many are never found, so that no document is passed by.
            let all = lexical.score(&query, bm25, usize::MAX, keep).unwrap();
            // The second time with what the first has left behind.
            for _ in 0..2 {
                let mut some = lexical.score(&query, bm25, count, keep).unwrap();
                prop_assert_eq!(some.best(count, keep), all.best(count, keep));
                some.take_in(of.iter().copied()).unwrap();
                for &chunk in &of {
                    let (segment, text) = lexical.place(chunk).unwrap();
                    let expected = all.sums.whole(all.sums.texts[segment][text], lexical.document(chunk).unwrap());
                    prop_assert_eq!(some.of(chunk), Some(expected));
                }
            }
        }
    }

    #[test]
    fn documents_without_a_rare_word_are_passed_by() {
        let folder = tempfile::tempdir().unwrap();
        let rare = |at: i64| if at % 100 == 0 { "rare unusual" } else { "other" };
        let chunks: Vec<_> = (1..=1000).map(|at| (at, at, format!("common {}", rare(at)))).collect();
        let lexical =
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(&chunks, take)).unwrap();
        let mut scores = lexical.score("common rare unusual", Bm25::default(), 5, |_| true).unwrap();
        assert_eq!(scores.best(5, |_| true).len(), 5);
        let living = |scores: &Scores<'_>| scores.sums.marks.iter().filter(|mark| **mark == ALIVE).count();
        assert_eq!(living(&scores), 10);
        scores.take_in([ChunkId(7)]).unwrap();
        assert_eq!(living(&scores), 11);
        assert!(scores.of(ChunkId(7)).unwrap() > 0.0);
        assert_eq!(lexical.counted.len(), 1, "only what many texts hold is remembered");
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
        let lexical =
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(&chunks, take)).unwrap();
        let scores = lexical.score("common usual rare rarer", Bm25::default(), 5, |_| true).unwrap();
        let living = scores.sums.marks.iter().filter(|mark| **mark == ALIVE).count();
        assert_eq!(living, 20);
        assert!(scores.best(5, |_| true).iter().all(|(chunk, _)| chunk.0 % 100 == 0));
    }
}
