//! Scoring a query, by any number of threads: each takes the next window of texts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bm25::{Bm25, TermWeight};
use super::frequency_table::frequency;
use super::index::Lexical;
use super::max_score::WindowScores;
use super::terms::QueryTerm;
use super::windows::Window;
use crate::derived::top_chunks::{TopChunks, top_chunks};
use crate::{ChunkId, Result};

/// A query that is being scored. Threads share the threshold that one of them has found.
pub(crate) struct Scoring<'a, K> {
    lexical: &'a Lexical,
    terms: Vec<QueryTerm>,
    count: usize,
    keep: K,
    /// The first document that no thread has taken.
    next: Mutex<u32>,
    /// What has a lower score is not among the best. The bits of an f32 that is not negative: they
    /// rise with the number.
    threshold: AtomicU32,
    /// The best of each thread.
    found: Mutex<Vec<(ChunkId, f32)>>,
    /// Postings that were added up.
    #[cfg(test)]
    added: std::sync::atomic::AtomicUsize,
}

impl Lexical {
    /// Prepares to find the `count` texts that have the best scores by `query` among those that
    /// `keep` holds for. The query is read in each language of the texts; a word that stands twice
    /// in it counts twice.
    pub(crate) fn scoring<K: Fn(ChunkId) -> bool + Sync>(
        &self,
        query: &str,
        bm25: Bm25,
        count: usize,
        keep: K,
    ) -> Result<Scoring<'_, K>> {
        Ok(Scoring {
            lexical: self,
            terms: self.terms(query, bm25)?,
            count,
            keep,
            next: Mutex::new(0),
            threshold: AtomicU32::new(0),
            found: Mutex::new(Vec::new()),
            #[cfg(test)]
            added: Default::default(),
        })
    }
}

impl<'a, K: Fn(ChunkId) -> bool + Sync> Scoring<'a, K> {
    /// Scores windows that no thread has taken, as long as there are any.
    pub(crate) fn run(&self) {
        let mut windows = std::iter::from_fn(|| self.take_window()).peekable();
        if windows.peek().is_none() {
            return;
        }
        let mut best = TopChunks::new(self.count);
        let mut scores = WindowScores::new(self.lexical, &self.terms);
        for window in windows {
            let shared = f32::from_bits(self.threshold.load(Ordering::Relaxed));
            let threshold = best.threshold().max(shared);
            scores.add_up(&window, threshold);
            scores.hand_over(&window, |chunk, score| {
                if score >= threshold.max(best.threshold()) && (self.keep)(chunk) {
                    best.offer(chunk, score);
                }
            });
            best.prune();
            self.threshold.fetch_max(best.threshold().max(0.0).to_bits(), Ordering::Relaxed);
        }
        locked(&self.found).extend(best.sorted());
        #[cfg(test)]
        self.added.fetch_add(scores.added, Ordering::Relaxed);
    }

    fn take_window(&self) -> Option<Window<'a>> {
        let mut next = locked(&self.next);
        let window = self.lexical.window_from(*next, self.lexical.window_texts)?;
        *next = window.documents.end;
        Some(window)
    }

    /// The scores of some chunks, whether or not they are among the best. A score is 0 where
    /// neither the chunk nor its document holds a term of the query. With `beside`, two threads
    /// share the work if the texts of each document lie together.
    pub(crate) fn of(
        &self,
        chunks: impl IntoIterator<Item = ChunkId>,
        beside: bool,
    ) -> HashMap<ChunkId, f32> {
        let lexical = self.lexical;
        let place = |chunk: ChunkId| {
            let (segment, text) = lexical.place(chunk)?;
            Some((lexical.segments[segment].documents[text as usize], segment, text, chunk))
        };
        let mut asked: Vec<Asked> = chunks.into_iter().filter_map(place).collect();
        asked.sort_unstable();
        let scored = |asked: &[Asked]| match lexical.each_is_one_text() {
            true => scores_of_texts(lexical, &self.terms, asked),
            false => scores_of(lexical, &self.terms, asked),
        };
        if beside && lexical.contiguous {
            let (first, second) = asked.split_at(asked.len() / 2);
            let (first, second) = rayon::join(|| scored(first), || scored(second));
            first.into_iter().chain(second).collect()
        } else {
            scored(&asked).into_iter().collect()
        }
    }

    /// The best texts of all windows that were taken, best first.
    pub(crate) fn best(self) -> Vec<(ChunkId, f32)> {
        top_chunks(self.found.into_inner().unwrap_or_else(PoisonError::into_inner), self.count)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chunk whose score is asked for, with its document, segment and text.
type Asked = (u32, usize, u32, ChunkId);

/// The scores of chunks, which come by rising number of document.
fn scores_of(lexical: &Lexical, terms: &[QueryTerm], asked: &[Asked]) -> Vec<(ChunkId, f32)> {
    let mut scores = Vec::with_capacity(asked.len());
    let mut window_scores = WindowScores::new(lexical, terms);
    for asked in asked.chunk_by(|a, b| a.0 == b.0 || !lexical.contiguous) {
        let document = asked[0].0;
        let all = 0..lexical.starts.len() as u32;
        let window = lexical.window(if lexical.contiguous { document..document + 1 } else { all });
        window_scores.add_up(&window, 0.0);
        scores.extend(
            asked.iter().map(|&(_, at, text, chunk)| (chunk, window_scores.of(&window, at, text))),
        );
        window_scores.clear(&window);
    }
    scores
}

/// As [`scores_of`], where each document is one text: term by term, which takes less time than
/// window by window.
fn scores_of_texts(lexical: &Lexical, terms: &[QueryTerm], asked: &[Asked]) -> Vec<(ChunkId, f32)> {
    let length = |&(_, segment, text, _): &Asked| lexical.segments[segment].lengths[text as usize];
    let lengths: Vec<f32> = asked.iter().map(length).collect();
    let mut scores: Vec<(ChunkId, f32)> = asked.iter().map(|&(.., chunk)| (chunk, 0.0)).collect();
    for QueryTerm { lists, table, text: TermWeight { norm, idf }, .. } in terms {
        let mut lists = lists.clone();
        let of_text =
            |&(_, segment, text, _): &Asked| frequency(&mut lists, table.as_deref(), segment, text);
        let frequencies: Vec<u32> = asked.iter().map(of_text).collect();
        let mut weights = lengths.clone();
        norm.weigh(*idf, &frequencies, &mut weights);
        scores.iter_mut().zip(weights).for_each(|((_, score), weight)| *score += weight);
    }
    scores
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::DocumentId;
    use crate::derived::lexical::layout::Stamp;
    use crate::derived::lexical::texts::{Searched, Take};

    impl Lexical {
        /// The scores by a query, found by one thread.
        fn score(
            &self,
            query: &str,
            bm25: Bm25,
            count: usize,
            keep: impl Fn(ChunkId) -> bool + Sync,
        ) -> Result<Scoring<'_, impl Fn(ChunkId) -> bool + Sync>> {
            let scoring = self.scoring(query, bm25, count, keep)?;
            scoring.run();
            Ok(scoring)
        }
    }

    impl<K> Scoring<'_, K> {
        fn added(&self) -> usize {
            self.added.load(Ordering::Relaxed)
        }
    }

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

        /// Passing documents by brings the same texts with the same scores, to the bit, as looking
        /// at all, whatever was deleted, whether or not the texts of a document lie together, and
        /// however large the windows are.
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
            let (first, second) = chunks.split_at(chunks.len() * 4 / 5);
            let built = Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(first, take)).unwrap();
            let gone = gone.into_iter().filter(|&chunk| chunk <= first.len() as i64).map(ChunkId).collect();
            let mut lexical = built.update(Stamp::new("store", 2), &gone, |take| add(second, take)).unwrap();

            let keep = |chunk: ChunkId| chunk.0 % step == 0;
            let of: Vec<ChunkId> = chunks.iter().map(|chunk| ChunkId(chunk.0)).filter(|c| !gone.contains(c)).step_by(50).collect();
            let bm25 = Bm25::default();
            lexical.score_together(usize::MAX);
            // So many are never found, so that no document is passed by.
            let all = lexical.score(&query, bm25, usize::MAX, |_| true).unwrap().best();
            let scores: HashMap<ChunkId, f32> = all.iter().copied().collect();
            let mut expected: Vec<(ChunkId, f32)> = all.into_iter().filter(|(chunk, _)| keep(*chunk)).collect();
            expected.truncate(count);

            lexical.score_together(window);
            let some = lexical.score(&query, bm25, count, keep).unwrap();
            let asked = some.of(of.iter().copied(), false);
            prop_assert_eq!(some.best(), &expected[..]);
            let shared = lexical.scoring(&query, bm25, count, keep).unwrap();
            std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(|| shared.run()))));
            let beside = shared.of(of.iter().copied(), true);
            prop_assert_eq!(shared.best(), expected);
            prop_assert_eq!(asked.len(), of.len());
            for (chunk, score) in &asked {
                // A text without a word gets what its document has.
                prop_assert!(scores.get(chunk).is_none_or(|expected| score == expected), "{chunk:?}");
            }
            prop_assert_eq!(beside, asked);
        }
    }

    #[test]
    fn documents_without_a_rare_word_are_passed_by() {
        let folder = tempfile::tempdir().unwrap();
        let rare = |at: i64| if at % 100 == 0 { "rare unusual" } else { "other" };
        let chunks: Vec<_> =
            (1..=1000).map(|at| (at, at, format!("common {}", rare(at)))).collect();
        let mut lexical =
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(&chunks, take))
                .unwrap();
        lexical.score_together(500);
        let scores = lexical.score("common rare unusual", Bm25::default(), 5, |_| true).unwrap();
        // All of the first window; in the second two rare words of five, for whom alone the common
        // one is looked up.
        assert_eq!(scores.added(), (500 + 10) + (10 + 5));
        assert!(scores.of([ChunkId(7)], false)[&ChunkId(7)] > 0.0);
        let best: Vec<i64> = scores.best().iter().map(|(chunk, _)| chunk.0).collect();
        assert_eq!(best, [100, 200, 300, 400, 500]);
        assert_eq!(lexical.term_cache.len(), 1, "only what many texts hold is remembered");
    }

    #[test]
    fn few_are_looked_up_in_each_segment_of_a_window() {
        let folder = tempfile::tempdir().unwrap();
        // Few have a word that few have, some of them a second text without it.
        let owner = |at: i64| if at % 97 == 1 { at - 1 } else { at };
        let text = |at: i64| {
            if at % 97 == 0 { format!("common rare w{at}") } else { "common".to_string() }
        };
        let chunks: Vec<_> = (1..=2100).map(|at| (at, owner(at), text(at))).collect();
        for documents in [
            &chunks[..],
            &chunks.iter().map(|(at, _, text)| (*at, *at, text.clone())).collect::<Vec<_>>(),
        ] {
            let (first, second) = documents.split_at(1600);
            let built =
                Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(first, take))
                    .unwrap();
            let mut lexical = built
                .update(Stamp::new("store", 2), &Default::default(), |take| add(second, take))
                .unwrap();
            assert_eq!((lexical.segments.len(), lexical.contiguous), (2, true));
            let query = "rare common w970 w1067";
            lexical.score_together(700);
            let some = lexical.score(query, Bm25::default(), 3, |_| true).unwrap();
            assert!(some.added() < 2100, "{}", some.added());
            let all = lexical.score(query, Bm25::default(), usize::MAX, |_| true).unwrap();
            assert_eq!(some.best(), all.best()[..3]);
            std::fs::remove_dir_all(folder.path()).unwrap();
        }
    }

    /// Most have the common words; one text has one of these more often than a table can tell.
    #[test]
    fn tables_say_what_lists_say() {
        let folder = tempfile::tempdir().unwrap();
        let text = |at: i64| {
            let often = if at == 1500 { 300 } else { at as usize % 4 };
            let rare = if at % 50 == 0 { "rare" } else { "other" };
            format!(
                "{rare} {} {} w{}",
                "common ".repeat(often),
                "usual ".repeat(at as usize % 3),
                at % 7
            )
        };
        for texts_of_document in [1, 4] {
            let chunks: Vec<_> =
                (1..=2000).map(|at| (at, at / texts_of_document, text(at))).collect();
            let gone = (1..1900).step_by(90).map(ChunkId).collect();
            let (first, second) = chunks.split_at(1600);
            let built =
                Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(first, take))
                    .unwrap();
            let mut lexical =
                built.update(Stamp::new("store", 2), &gone, |take| add(second, take)).unwrap();
            let query = "rare common usual w3";
            let scores = |lexical: &Lexical| {
                let some = lexical.score(query, Bm25::default(), 20, |_| true).unwrap();
                let of = some.of((1..=2000).step_by(7).map(ChunkId), false);
                (of, some.best())
            };
            lexical.score_together(usize::MAX);
            assert!(
                lexical
                    .terms(query, Bm25::default())
                    .unwrap()
                    .iter()
                    .all(|term| term.table.is_none())
            );
            let expected = scores(&lexical);
            for window in [1, 30, 200, 1000] {
                lexical.score_together(window);
                let terms = lexical.terms(query, Bm25::default()).unwrap();
                assert_eq!(
                    terms.iter().filter(|term| term.table.is_some()).count(),
                    2,
                    "usual and w3"
                );
                assert_eq!(scores(&lexical), expected, "{texts_of_document} {window}");
            }
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
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(&chunks, take))
                .unwrap();
        lexical.score_together(1000);
        let scores =
            lexical.score("common usual rare rarer", Bm25::default(), 5, |_| true).unwrap();
        assert!(scores.added() < 2110 + 200, "{}", scores.added());
        assert!(scores.best().iter().all(|(chunk, _)| chunk.0 % 100 == 0));
    }
}
