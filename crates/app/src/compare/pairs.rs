//! What is wrong with the training pairs: what to look at first where no setup is good enough.

use std::collections::{BTreeMap, BTreeSet};

use eval::Measure;

use crate::questions::{Question, QuestionSet};
use crate::tune::adapters::{Manifest, Recipe};

/// Fewer examples of a label than this seldom teach it.
const FEW_EXAMPLES: usize = 5;

/// A dev loss falls still if its last evaluation is below the best before it by this share.
const FALLING: f64 = 0.01;

/// The faults of the training pairs of a set and of what was trained on them, each as the end of a
/// sentence.
pub(super) fn pair_faults(set: &QuestionSet, adapters: &[Manifest]) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(contradictions(&set.train));
    if set.config.measure == Measure::Label {
        faults.extend(rare_labels(&set.train));
    }
    faults.extend(still_falling(adapters));
    faults
}

/// Questions that stand there with different answers, letters and white space apart.
fn contradictions(train: &[Question]) -> Option<String> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut pairs: BTreeMap<String, usize> = BTreeMap::new();
    for question in train {
        let asked = plain(&question.text);
        answers.entry(asked.clone()).or_default().insert(plain(&question.completion));
        *pairs.entry(asked).or_default() += 1;
    }
    let contradicting: Vec<usize> = (answers.iter())
        .filter(|(_, answers)| answers.len() > 1)
        .map(|(asked, _)| pairs[asked])
        .collect();
    let count: usize = contradicting.iter().sum();
    (count > 0).then(|| {
        format!(
            "{count} of {} pairs contradict each other: the same question with another answer",
            train.len()
        )
    })
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
    fn contradictions_and_rare_labels_are_counted() {
        let train: Vec<Question> = [
            ("Where is it?", "ember"),
            ("where  is it?", "heron"),
            ("Where is it?", "heron"),
            ("And this?", "heron"),
            ("this, too?", "Heron"),
        ]
        .map(|(text, answer)| question(text, answer))
        .to_vec();
        let said = contradictions(&train).unwrap();
        assert!(said.starts_with("3 of 5 pairs contradict"), "{said}");
        assert!(contradictions(&train[3..]).is_none());
        assert!(rare_labels(&train).unwrap().starts_with("3 of 3 labels"));
        let many: Vec<Question> = (0..5).map(|i| question(&format!("q{i}"), "heron")).collect();
        assert!(rare_labels(&many).is_none());
    }
}
