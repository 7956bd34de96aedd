//! What is frozen when a test split is first opened, and how often it was looked at since.

use std::collections::{BTreeMap, HashSet};

use eval::Measure;
use eval::decision::Looks;
use serde::{Deserialize, Serialize};
use store::TestOpening;

use super::check::CHECK;
use super::foreign::ForeignAnswers;
use crate::models::hash_bytes;
use crate::project::config::SetConfig;
use crate::questions::Question;

/// Hexadecimal digits kept of the hash of a question.
const DIGITS: usize = 16;

/// What a comparison fixes before it opens the test split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Terms {
    margin: f64,
    target: Option<f64>,
    measure: Measure,
    expected_queries: u64,
    /// A hash of each test question with its answers, sorted.
    questions: Vec<String>,
    /// A hash of the answers of each foreign system. One that joins later changes nothing.
    #[serde(default)]
    answers: BTreeMap<String, String>,
    /// A hash of the schema or the program that grades, where there is one.
    #[serde(default)]
    grader: Option<String>,
}

impl Terms {
    /// The terms of a set with these test questions, those that a limit leaves out included.
    pub(super) fn of(set: &SetConfig, test: &[Question]) -> Self {
        let hash = |question: &Question| {
            let patterns = question.patterns.iter().map(|pattern| pattern.as_str());
            let answers = question.answers.iter().map(String::as_str);
            let all: Vec<&str> =
                [question.text.as_str()].into_iter().chain(answers).chain(patterns).collect();
            let all = all.join("\0");
            hash_bytes(all.as_bytes())[..DIGITS].to_owned()
        };
        let mut questions: Vec<String> = test.iter().map(hash).collect();
        questions.sort_unstable();
        let SetConfig { margin, target, measure, expected_queries, .. } = *set;
        let answers = BTreeMap::new();
        let grader = None;
        Self { margin, target, measure, expected_queries, questions, answers, grader }
    }

    /// With the answers that foreign systems gave.
    pub(super) fn with_answers(self, foreign: &[ForeignAnswers]) -> Self {
        let answers = foreign.iter().map(|one| (one.system.to_string(), one.hash.clone()));
        Self { answers: answers.collect(), ..self }
    }

    /// The same, with answers graded by this schema or program.
    pub(super) fn graded_by(self, grader: Option<String>) -> Self {
        Self { grader, ..self }
    }

    /// A hash of each test question, sorted.
    pub(super) fn questions(&self) -> &[String] {
        &self.questions
    }

    /// Those of an opening; `None` where none were kept.
    fn kept(opening: &TestOpening) -> Option<Self> {
        opening.terms.as_deref().and_then(|json| serde_json::from_str(json).ok())
    }

    /// Whether the systems that both know gave the same answers.
    fn same_answers(&self, other: &Self) -> bool {
        let mut both = self.answers.iter().filter(|(name, _)| other.answers.contains_key(*name));
        both.all(|(name, hash)| other.answers.get(name) == Some(hash))
    }

    /// The names of what differs.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        // A figure that went through JSON may have lost its last bit.
        let same = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let same_target = match (self.target, other.target) {
            (Some(a), Some(b)) => same(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let all = [
            ("margin", same(self.margin, other.margin)),
            ("target", same_target),
            ("measure", self.measure == other.measure),
            ("expected queries", self.expected_queries == other.expected_queries),
            ("questions", self.questions == other.questions),
            ("answers", self.same_answers(other)),
            ("schema or command", self.grader == other.grader),
        ];
        all.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// What was seen of the test questions of a comparison until then, and what differs from the first
/// look: at that comparison, or in the configuration of the set by now.
///
/// A comparison on questions of which none was ever opened before is a first look, whatever came
/// before it. Comparisons of the same run are one look, since their trials are the same.
pub(super) fn looks(openings: &[TestOpening], comparison: i64, set: &SetConfig) -> Looks {
    let own = openings.iter().position(|opening| opening.comparison == Some(comparison));
    // Stored by a version that kept no terms, so that nothing is known but the number.
    let Some(own) = own else {
        return Looks { openings: openings.len(), ..Looks::default() };
    };
    let mut seen: HashSet<String> = HashSet::new();
    let mut frozen: Option<Terms> = None;
    let mut runs: Vec<Option<&str>> = Vec::new();
    let mut last = None;
    // A check chooses nothing.
    let chosen = openings[..=own].iter().filter(|opening| opening.reason != CHECK);
    for opening in chosen {
        if let Some(terms) = Terms::kept(opening) {
            let fresh = terms.questions.iter().all(|question| !seen.contains(question));
            if fresh && frozen.is_some() {
                (frozen, runs) = (None, Vec::new());
            }
            seen.extend(terms.questions.iter().cloned());
            let fixed = frozen.get_or_insert_with(|| terms.clone());
            // The answers of a system are fixed when it first takes part.
            for (name, hash) in &terms.answers {
                fixed.answers.entry(name.clone()).or_insert_with(|| hash.clone());
            }
            last = Some(terms);
        }
        let run = opening.run.as_deref();
        if run.is_none() || !runs.contains(&run) {
            runs.push(run);
        }
    }
    let mut changed = Vec::new();
    if let (Some(frozen), Some(own)) = (frozen, last) {
        let SetConfig { margin, target, measure, expected_queries, .. } = *set;
        let now = Terms { margin, target, measure, expected_queries, ..own.clone() };
        changed = frozen.differences(&own);
        changed.extend(frozen.differences(&now));
        let mut names = HashSet::new();
        changed.retain(|name| names.insert(*name));
    }
    let changed = changed.into_iter().map(str::to_owned).collect();
    Looks { openings: runs.len(), changed, ..Looks::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::question;

    fn set(margin: f64) -> SetConfig {
        SetConfig { margin, ..SetConfig::default() }
    }

    fn opening(run: &str, margin: f64, questions: &[&str], comparison: i64) -> TestOpening {
        let test: Vec<Question> = questions.iter().map(|text| question(text, "yes")).collect();
        TestOpening {
            set: "facts".to_owned(),
            reason: "compare".to_owned(),
            at: 0,
            run: Some(run.to_owned()),
            terms: Some(serde_json::to_string(&Terms::of(&set(margin), &test)).unwrap()),
            comparison: Some(comparison),
        }
    }

    fn found(openings: &[TestOpening], comparison: i64, margin: f64) -> (usize, Vec<String>) {
        let Looks { openings, changed, .. } = looks(openings, comparison, &set(margin));
        (openings, changed)
    }

    #[test]
    fn a_further_look_and_a_change_after_the_first_are_told() {
        let first = opening("a", 0.1, &["x", "y"], 1);
        assert_eq!(found(std::slice::from_ref(&first), 1, 0.1), (1, vec![]));
        assert_eq!(found(std::slice::from_ref(&first), 1, 0.05), (1, vec!["margin".to_owned()]));
        let again = [first.clone(), opening("a", 0.1, &["x", "y"], 2)];
        assert_eq!(found(&again, 2, 0.1), (1, vec![]), "the same trials once more");
        let other = [first.clone(), opening("b", 0.1, &["x", "y"], 2)];
        assert_eq!(found(&other, 2, 0.1), (2, vec![]));
        assert_eq!(found(&other, 1, 0.1), (1, vec![]), "what came later changes nothing");
        let wider = [first, opening("b", 0.2, &["x", "z"], 2)];
        let (looks, changed) = found(&wider, 2, 0.2);
        assert_eq!((looks, changed), (2, vec!["margin".to_owned(), "questions".to_owned()]));
    }

    #[test]
    fn fresh_questions_are_a_first_look() {
        let openings = [opening("a", 0.1, &["x", "y"], 1), opening("b", 0.2, &["v", "w"], 2)];
        assert_eq!(found(&openings, 2, 0.2), (1, vec![]));
        let back = [&openings[..], &[opening("c", 0.1, &["x", "w"], 3)]].concat();
        assert_eq!(found(&back, 3, 0.1), (2, vec!["margin".to_owned(), "questions".to_owned()]));
    }

    #[test]
    fn other_openings_count_and_old_comparisons_know_only_the_number() {
        let other =
            TestOpening { run: None, terms: None, comparison: None, ..opening("a", 0.1, &[], 1) };
        let openings = [other.clone(), opening("a", 0.1, &["x"], 1)];
        assert_eq!(found(&openings, 1, 0.1), (2, vec![]));
        assert_eq!(found(&[other.clone(), other], 1, 0.1), (2, vec![]));
    }
}
