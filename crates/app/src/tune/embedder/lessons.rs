//! What an embedder learns from and is measured on: passages as they are embedded, and questions
//! with those that answer them.

use std::collections::{BTreeMap, HashSet};

use crate::models::hash_bytes;
use crate::questions::{normalised_tokens, similar};

/// Passages of a question's list that belong in every sample.
pub(super) const LISTED: usize = 20;

/// A question whose passages are known. Passages are named by their places in
/// [`Lessons::passages`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Unique among the questions.
    pub id: String,
    /// What its errors have in common with those of others, for the statistics.
    pub cluster: String,
    /// The question.
    pub text: String,
    /// Passages that answer it; at least one.
    pub gold: Vec<usize>,
    /// Passages that are neither taught nor held against it, such as the rest of a quote that was
    /// cut in two.
    pub beside: Vec<usize>,
    /// The BM25 list, best first, with scores.
    pub by_words: Vec<(usize, f32)>,
}

/// Passages and questions.
#[derive(Clone, Debug, Default)]
pub struct Lessons {
    /// Every passage, exactly as it is embedded for the index.
    pub passages: Vec<String>,
    /// Their vectors by the untuned embedder, where an index holds all of them; else empty.
    pub vectors: Vec<Vec<f32>>,
    /// Questions to learn from.
    pub train: Vec<Asked>,
    /// Questions to choose and judge by; never trained on.
    pub dev: Vec<Asked>,
    /// Questions left out of training because dev or test questions are nearly the same.
    pub left_out: usize,
    /// The share of BM25 in the rankings that are fused.
    pub lexical_weight: f32,
}

impl Lessons {
    /// Takes questions out of training that are nearly the same as a dev question or as one of
    /// `others`, which are held out for later.
    pub fn keep_apart(&mut self, others: &[&str]) {
        let dev = self.dev.iter().map(|asked| asked.text.as_str());
        let held: Vec<Vec<String>> =
            dev.chain(others.iter().copied()).map(normalised_tokens).collect();
        let before = self.train.len();
        self.train.retain(|asked| {
            let tokens = normalised_tokens(&asked.text);
            held.iter().all(|held| !similar(&tokens, held))
        });
        self.left_out += before - self.train.len();
    }

    /// Questions that are word for word the same become one, which all their passages answer:
    /// otherwise one's passage would be the other's negative.
    pub fn join_repeated(&mut self) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let mut joined: Vec<Asked> = Vec::with_capacity(self.train.len());
        for asked in std::mem::take(&mut self.train) {
            match first.get(&asked.text) {
                None => {
                    first.insert(asked.text.clone(), joined.len());
                    joined.push(asked);
                }
                Some(at) => {
                    let known = &mut joined[*at];
                    known.gold.extend(asked.gold);
                    known.beside.extend(asked.beside);
                }
            }
        }
        for asked in &mut joined {
            asked.gold.sort_unstable();
            asked.gold.dedup();
        }
        self.train = joined;
    }

    /// The passages to rank and to mine: all of them up to `most`; beyond that the ones that answer
    /// a question, the best of every BM25 list, and as many others as there is room for. Ascending.
    pub fn pool(&self, most: usize) -> Vec<usize> {
        let all: Vec<usize> = (0..self.passages.len()).collect();
        let asked = || self.train.iter().chain(&self.dev);
        self.sample(all, asked().flat_map(Asked::candidates), most)
    }

    /// A part of `pool`: all of it up to `most`; beyond that what is `wanted`, and as many others
    /// as there is room for, drawn by hash. Ascending, as `pool` is.
    pub(super) fn sample(
        &self,
        mut pool: Vec<usize>,
        wanted: impl Iterator<Item = usize>,
        most: usize,
    ) -> Vec<usize> {
        if pool.len() <= most {
            return pool;
        }
        let mut taken: HashSet<usize> = wanted.collect();
        let mut others: Vec<(String, usize)> = pool
            .iter()
            .filter(|place| !taken.contains(place))
            .map(|place| (hash_bytes(self.passages[*place].as_bytes()), *place))
            .collect();
        others.sort_unstable();
        taken.extend(
            others.into_iter().take(most.saturating_sub(taken.len())).map(|(_, place)| place),
        );
        pool.retain(|place| taken.contains(place));
        pool
    }
}

impl Asked {
    /// What answers it, and the best of its BM25 list.
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> {
        let listed = self.by_words.iter().take(LISTED).map(|(place, _)| *place);
        self.gold.iter().copied().chain(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, gold: &[usize]) -> Asked {
        Asked { text: text.to_owned(), gold: gold.to_vec(), ..Asked::default() }
    }

    #[test]
    fn questions_held_out_are_not_trained_on_in_other_words() {
        let long = "does the river flood the lower meadow in spring before the weir is opened";
        let mut lessons = Lessons {
            train: vec![
                asked(&format!("{long}?"), &[0]),
                asked("who opens the weir", &[1]),
                asked("Which tray?", &[2]),
            ],
            dev: vec![asked(long, &[0])],
            ..Lessons::default()
        };
        lessons.keep_apart(&["which tray"]);
        let left: Vec<&str> = lessons.train.iter().map(|asked| asked.text.as_str()).collect();
        assert_eq!((left, lessons.left_out), (vec!["who opens the weir"], 2));
    }

    #[test]
    fn repeated_questions_become_one_with_all_passages() {
        let train = vec![asked("a", &[3]), asked("b", &[1]), asked("a", &[2, 3])];
        let mut lessons = Lessons { train, ..Lessons::default() };
        lessons.join_repeated();
        assert_eq!(lessons.train, vec![asked("a", &[2, 3]), asked("b", &[1])]);
    }

    #[test]
    fn a_pool_holds_what_answers_and_what_words_find() {
        let mut lessons = Lessons {
            passages: (0..200).map(|at| format!("passage {at}")).collect(),
            train: vec![asked("a", &[150])],
            dev: vec![asked("b", &[160])],
            ..Lessons::default()
        };
        lessons.dev[0].by_words = vec![(170, 2.0), (171, 1.0)];
        assert_eq!(lessons.pool(200).len(), 200);
        let pool = lessons.pool(20);
        assert_eq!(pool.len(), 20);
        assert!([150, 160, 170, 171].iter().all(|place| pool.contains(place)));
        assert!(pool.is_sorted());
    }
}
