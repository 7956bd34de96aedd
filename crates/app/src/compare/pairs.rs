//! What is wrong with the training pairs: what to look at first where no setup is good enough.

use std::collections::{BTreeMap, BTreeSet};

use eval::Measure;

use crate::questions::{Contradiction, Question, QuestionSet};
use crate::tune::adapters::{Manifest, Recipe};

/// Fewer examples of a label than this seldom teach it.
const FEW_EXAMPLES: usize = 5;

/// A dev loss falls still if its last evaluation is below the best before it by this share.
const FALLING: f64 = 0.01;

/// The faults of the training pairs of a set and of what was trained on them, each as the end of a
/// sentence.
pub(super) fn pair_faults(set: &QuestionSet, adapters: &[Manifest]) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(contradictions(&set.contradictions, set.train.len()));
    if set.config.measure == Measure::Label {
        faults.extend(rare_labels(&set.train));
    }
    faults.extend(still_falling(adapters));
    faults
}

/// Questions that stand there with different answers.
pub(super) fn contradictions(found: &[Contradiction], train: usize) -> Option<String> {
    let first = found.first()?;
    let pairs: usize = found.iter().map(|contradiction| contradiction.answers.len()).sum();
    Some(format!("{pairs} of {train} pairs contradict each other; {first}"))
}

/// Labels with too few examples.
fn rare_labels(train: &[Question]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for question in train {
        *counts.entry(question.completion.trim()).or_default() += 1;
    }
    let rare = counts.values().filter(|count| **count < FEW_EXAMPLES).count();
    (rare > 0).then(|| {
        format!("{rare} of {} labels have fewer than {FEW_EXAMPLES} examples", counts.len())
    })
}

/// Recipes whose training ended while dev loss was still falling.
fn still_falling(adapters: &[Manifest]) -> Vec<String> {
    let falls = |manifest: &&Manifest| {
        let losses: Vec<f64> =
            manifest.history.evaluations.iter().map(|found| found.dev_loss).collect();
        match &losses[..] {
            [before @ .., last] if !before.is_empty() => {
                let best = before.iter().copied().fold(f64::MAX, f64::min);
                *last < best * (1.0 - FALLING)
            }
            _ => false,
        }
    };
    let recipes: BTreeSet<Recipe> = adapters.iter().filter(falls).map(|m| m.recipe).collect();
    let said = |recipe: Recipe| {
        let name = recipe.as_str();
        format!("{name} is under-trained: its dev loss was still falling at the last step")
    };
    recipes.into_iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::question;

    #[test]
    fn contradictions_are_counted_and_the_first_is_shown() {
        assert_eq!(contradictions(&[], 9), None);
        let answer = |text: &str, line: usize| (text.to_owned(), format!("q.jsonl:{line}"));
        let found = [Contradiction {
            question: "Where is it?".to_owned(),
            answers: vec![answer("here", 1), answer("there", 4)],
        }];
        let said = contradictions(&found, 9).unwrap();
        assert!(said.starts_with("2 of 9 pairs contradict each other; \"Where is it?\""), "{said}");
        assert!(said.contains("\"there\" (q.jsonl:4)"), "{said}");
    }

    #[test]
    fn rare_labels_are_counted() {
        let examples = |label: &str, count: usize| -> Vec<Question> {
            (0..count).map(|index| question(&format!("{label} {index}"), label)).collect()
        };
        let train = [examples("ember", 4), examples("heron", 5), examples("lotus", 1)].concat();
        assert_eq!(rare_labels(&train).unwrap(), "2 of 3 labels have fewer than 5 examples");
        assert!(rare_labels(&train[4..9]).is_none());
    }
}
