//! Scores of texts for the words of a query.
//!
//! A word that most texts hold is worth least and costs most. So words are taken by falling worth, and once those that are left
//! could not, all together, bring a document among the best that has none of the others, they are added up for documents that have. What
//! comes out is the same as if every document had been looked at (Turtle and Flood, "Query Evaluation: Strategies and
//! Optimizations", 1995: MaxScore).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tantivy::Term;

use super::postings::{Holding, Postings};
use super::{Lexical, Population, unpacked};
use crate::analysis::Analyser;
use crate::bm25::{Bm25, Norm};
use crate::vectors::best;
use crate::{ChunkId, Result};

/// Rounding may lift what words are worth by less than this share.
const ROUNDING: f32 = 1.001;

/// Counts of terms that so many texts hold are remembered: counting them takes as long as scoring by them.
const REMEMBERED_FROM: usize = 256;

/// How many times as many texts must hold the words that are left as have been reached, for it to be worth finding out whether most
/// can be passed by.
const WORTH_A_LOOK: usize = 2;

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
struct Word {
    term: Term,
    text: Worth,
    document: Worth,
    /// What it can add to the score of a text.
    most: f32,
    /// Texts that hold it.
    texts: usize,
}

/// What a word is worth to those who hold it.
struct Worth {
    idf: f32,
    norm: Norm,
}

impl Lexical {
    /// Begins to score texts by `query`, which is read in each of their languages; a word that stands twice in it counts twice. Every
    /// document is looked at that can be among the `count` best of those that `keep` holds for.
    pub(crate) fn score(
        &self,
        query: &str,
        bm25: Bm25,
        count: usize,
        keep: impl Fn(ChunkId) -> bool,
    ) -> Result<Begun<'_>> {
        let words = self.words(query, bm25)?;
        let mut scores = Scores::new(self);
        let mut left = words.as_slice();
        while let [word, others @ ..] = left
            && !scores.suffice(&words[..words.len() - left.len()], left, count, &keep)
        {
            scores.add(word, Where::Everywhere)?;
            left = others;
        }
        let done = words.len() - left.len();
        Ok(Begun { scores, words: words.into_iter().skip(done).collect() })
    }

    /// The query's words that any text holds, the one that can add most first.
    fn words(&self, query: &str, bm25: Bm25) -> Result<Vec<Word>> {
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
            segment.read(term, &mut postings)?;
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

    fn each_is_one_text(&self) -> bool {
        self.documents.len() == self.places.len()
    }

    /// Segment and number of a chunk's text.
    fn place(&self, chunk: ChunkId) -> Option<(usize, usize)> {
        let at = self.places.binary_search_by_key(&chunk, |(chunk, ..)| *chunk).ok()?;
        let (_, segment, text) = self.places[at];
        Some((segment as usize, text as usize))
    }
}

impl Worth {
    /// To one who holds it so often.
    fn most(&self, frequency: u32) -> f32 {
        self.idf * self.norm.bound(frequency)
    }
}

/// Scores that lack words which most texts hold.
pub(crate) struct Begun<'a> {
    scores: Scores<'a>,
    words: Vec<Word>,
}

impl<'a> Begun<'a> {
    /// Adds up all words for the documents looked at and for those of these chunks.
    pub(crate) fn finish(self, chunks: &[ChunkId]) -> Result<Scores<'a>> {
        let Begun { mut scores, words } = self;
        chunks.iter().for_each(|chunk| scores.look_at(*chunk));
        words.iter().try_for_each(|word| scores.add(word, Where::InDocumentsLookedAt))?;
        Ok(scores)
    }
}

/// The BM25 scores of texts for one query.
pub(crate) struct Scores<'a> {
    lexical: &'a Lexical,
    /// By segment and text.
    texts: Vec<Vec<f32>>,
    /// Nothing where each is one text, whose score is that of its document too.
    documents: Vec<f32>,
    /// Documents whose score, and the scores of whose texts, are made of all words.
    looked_at: Vec<bool>,
    /// Texts of theirs that have a word, by segment.
    reached: Vec<Vec<u32>>,
    postings: Postings,
    holding: Holding,
}

/// Whose score a word is added to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Everywhere,
    InDocumentsLookedAt,
}

impl<'a> Scores<'a> {
    fn new(lexical: &'a Lexical) -> Self {
        Scores {
            lexical,
            texts: lexical.segments.iter().map(|segment| vec![0.0; segment.chunks.len()]).collect(),
            documents: vec![0.0; lexical.documents.len()],
            looked_at: vec![false; lexical.documents.len()],
            reached: vec![Vec::new(); lexical.segments.len()],
            postings: Postings::default(),
            holding: Holding::new(lexical),
        }
    }

    fn look_at(&mut self, chunk: ChunkId) {
        if let Some((segment, text)) = self.lexical.place(chunk) {
            self.looked_at[self.lexical.segments[segment].documents[text] as usize] = true;
        }
    }

    fn add(&mut self, word: &Word, place: Where) -> Result<()> {
        let Scores { lexical, texts, documents, looked_at, reached, postings, holding } = self;
        holding.clear();
        for ((segment, scores), reached) in lexical.segments.iter().zip(texts).zip(reached) {
            segment.read(&word.term, postings)?;
            if place == Where::InDocumentsLookedAt {
                postings.retain(|text| looked_at[segment.documents[text as usize] as usize]);
            }
            reached.extend(postings.holders.iter().filter(|text| scores[**text as usize] == 0.0));
            postings.add_weights(word.text.norm, word.text.idf, &segment.lengths, scores);
            if place == Where::Everywhere {
                let documents = postings.holders.iter().map(|text| segment.documents[*text as usize]);
                documents.for_each(|document| looked_at[document as usize] = true);
            }
            if !lexical.each_is_one_text() {
                holding.add_all(segment, postings);
            }
        }
        let Worth { idf, norm } = word.document;
        holding.documents.add_weights(norm, idf, &lexical.documents, documents);
        Ok(())
    }

    /// Whether the words that are left can bring no other document among the best; not looked into where that takes as long as
    /// adding them.
    fn suffice(&self, done: &[Word], left: &[Word], count: usize, keep: impl Fn(ChunkId) -> bool) -> bool {
        let texts = |words: &[Word]| words.iter().map(|word| word.texts).sum::<usize>();
        let most: f32 = left.iter().map(|word| word.most).sum();
        texts(left) > WORTH_A_LOOK * texts(done) && most * ROUNDING < self.least_of(count, keep)
    }

    /// What the last of the `count` best texts has at least; 0 where there are not so many yet.
    fn least_of(&self, count: usize, keep: impl Fn(ChunkId) -> bool) -> f32 {
        let mut scores: Vec<f32> = self.scored(keep).map(|(_, score)| score).collect();
        if count == 0 || scores.len() < count {
            return 0.0;
        }
        *scores.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
    }

    /// The texts that have a word and that `keep` holds for.
    fn scored(&self, keep: impl Fn(ChunkId) -> bool) -> impl Iterator<Item = (ChunkId, f32)> {
        let of_segment = self.lexical.segments.iter().zip(&self.texts).zip(&self.reached);
        let texts = of_segment.flat_map(move |((segment, scores), reached)| {
            reached.iter().map(move |&text| {
                let text = text as usize;
                (segment.chunks[text], self.whole(scores[text], segment.documents[text]))
            })
        });
        texts.filter(move |(chunk, _)| keep(*chunk))
    }

    /// The `count` best texts that have a word of the query and that `keep` holds for, best first; at most as many as were wanted.
    pub(crate) fn best(&self, count: usize, keep: impl Fn(ChunkId) -> bool) -> Vec<(ChunkId, f32)> {
        best(self.scored(keep), count)
    }

    /// The score of a chunk that is among the best or was asked for, 0 where neither it nor its document has a word of the
    /// query; `None` for one that is not in the index.
    pub(crate) fn of(&self, chunk: ChunkId) -> Option<f32> {
        let (segment, text) = self.lexical.place(chunk)?;
        let document = self.lexical.segments[segment].documents[text];
        debug_assert!(self.looked_at[document as usize], "the score of {chunk:?} was not asked for");
        Some(self.whole(self.texts[segment][text], document))
    }

    /// The score of a text whose words are worth so much.
    fn whole(&self, text: f32, document: u32) -> f32 {
        if self.lexical.each_is_one_text() {
            text
        } else {
            with_document(text, self.documents[document as usize])
        }
    }
}

/// The score of a text that has one itself and is part of a document that has another.
fn with_document(text: f32, document: f32) -> f32 {
    0.5 * (text + document)
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
            let all = lexical.score(&query, bm25, usize::MAX, keep).unwrap().finish(&[]).unwrap();
            let some = lexical.score(&query, bm25, count, keep).unwrap().finish(&of).unwrap();
            prop_assert_eq!(some.best(count, keep), all.best(count, keep));
            for chunk in of {
                let document = all.lexical.place(chunk).map(|(s, text)| all.lexical.segments[s].documents[text]);
                prop_assert!(some.looked_at[document.unwrap() as usize]);
                let (segment, text) = all.lexical.place(chunk).unwrap();
                let expected = all.whole(all.texts[segment][text], document.unwrap());
                prop_assert_eq!(some.of(chunk), Some(expected));
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
        let begun = lexical.score("common rare unusual", Bm25::default(), 5, |_| true).unwrap();
        let scores = begun.finish(&[ChunkId(7)]).unwrap();
        let looked_at = scores.looked_at.iter().filter(|looked_at| **looked_at).count();
        assert_eq!(looked_at, 11);
        assert_eq!(scores.best(5, |_| true).len(), 5);
        assert!(scores.of(ChunkId(7)).unwrap() > 0.0);
        let counted = lexical.counted.0.lock().unwrap();
        assert_eq!(counted.len(), 1, "only what many texts hold is remembered");
    }
}
