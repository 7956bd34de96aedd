//! What an embedder learns from and is measured on: passages as they are embedded, and questions
//! with those that answer them.

use std::collections::{BTreeMap, HashSet};

use crate::models::hash_bytes;
use crate::questions::{normalised_tokens, similar};

/// Depth of the rankings, and of the BM25 lists they are fused with.
pub(crate) const DEPTH: usize = 100;

/// Of the best passages of a question's list, how many belong in every sample.
pub(super) const LISTED: usize = 20;

/// A question of which it is known which passages answer it. Passages are named by their places in
/// [`EmbedderLessons::passages`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgedQuestion {
    /// Unique among the questions.
    pub id: String,
    /// Questions of one cluster, such as those about one document, tend to fail together: the
    /// bootstrap draws them together.
    pub cluster: String,
    /// The question.
    pub text: String,
    /// Passages that answer it; at least one.
    pub gold: Vec<usize>,
    /// Passages that count neither as answers nor as negatives, such as the smaller part of a quote
    /// that two chunks share.
    pub beside: Vec<usize>,
    /// The BM25 list, best first, with scores.
    pub by_words: Vec<(usize, f32)>,
}

/// Passages and questions.
#[derive(Clone, Debug, Default)]
pub struct EmbedderLessons {
    /// Every passage, exactly as it is embedded for the index.
    pub passages: Vec<String>,
    /// Their vectors by the untuned embedder, where an index holds all of them; else empty.
    pub vectors: Vec<Vec<f32>>,
    /// Questions to learn from.
    pub train: Vec<JudgedQuestion>,
    /// Questions to choose and judge by; never trained on.
    pub dev: Vec<JudgedQuestion>,
    /// Questions left out of training because dev or test questions are nearly the same.
    pub left_out: usize,
    /// The BM25 weight of the fused rankings, 0 to 1.
    pub lexical_weight: f32,
}

impl EmbedderLessons {
    /// Removes training questions that are nearly the same as a dev question or as one of `others`,
    /// the questions held out for later.
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

    /// Joins training questions that are word for word the same into one that has the passages of
    /// all: otherwise a passage that answers one would be a negative of the other.
    pub fn join_repeated(&mut self) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let mut joined: Vec<JudgedQuestion> = Vec::with_capacity(self.train.len());
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

    /// The places of the passages to rank and to mine, ascending: all passages if there are at most
    /// `most`; otherwise those that answer a question, the best of every BM25 list, and as many
    /// others as there is room for.
    pub fn pool(&self, most: usize) -> Vec<usize> {
        let all: Vec<usize> = (0..self.passages.len()).collect();
        let asked = || self.train.iter().chain(&self.dev);
        self.sample(all, asked().flat_map(JudgedQuestion::candidates), most)
    }

    /// At most `most` places of `pool`, ascending as `pool` is: all that are `wanted`, and as many
    /// others as there is room for, drawn by hash.
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

impl JudgedQuestion {
    /// The passages that answer it, and the best of its BM25 list.
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> {
        let listed = self.by_words.iter().take(LISTED).map(|(place, _)| *place);
        self.gold.iter().copied().chain(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, gold: &[usize]) -> JudgedQuestion {
        JudgedQuestion { text: text.to_owned(), gold: gold.to_vec(), ..JudgedQuestion::default() }
    }

    #[test]
    fn questions_held_out_are_not_trained_on_in_other_words() {
        let long = "does the river flood the lower meadow in spring before the weir is opened";
        let mut lessons = EmbedderLessons {
            train: vec![
                asked(&format!("{long}?"), &[0]),
                asked("who opens the weir", &[1]),
                asked("Which tray?", &[2]),
            ],
            dev: vec![asked(long, &[0])],
            ..EmbedderLessons::default()
        };
        lessons.keep_apart(&["which tray"]);
        let left: Vec<&str> = lessons.train.iter().map(|asked| asked.text.as_str()).collect();
        assert_eq!((left, lessons.left_out), (vec!["who opens the weir"], 2));
    }

    #[test]
    fn repeated_questions_become_one_with_all_passages() {
        let train = vec![asked("a", &[3]), asked("b", &[1]), asked("a", &[2, 3])];
        let mut lessons = EmbedderLessons { train, ..EmbedderLessons::default() };
        lessons.join_repeated();
        assert_eq!(lessons.train, vec![asked("a", &[2, 3]), asked("b", &[1])]);
    }

    #[test]
    fn a_pool_holds_what_answers_and_what_words_find() {
        let mut lessons = EmbedderLessons {
            passages: (0..200).map(|at| format!("passage {at}")).collect(),
            train: vec![asked("a", &[150])],
            dev: vec![asked("b", &[160])],
            ..EmbedderLessons::default()
        };
        lessons.dev[0].by_words = vec![(170, 2.0), (171, 1.0)];
        assert_eq!(lessons.pool(200).len(), 200);
        let pool = lessons.pool(20);
        assert_eq!(pool.len(), 20);
        assert!([150, 160, 170, 171].iter().all(|place| pool.contains(place)));
        assert!(pool.is_sorted());
    }
}
