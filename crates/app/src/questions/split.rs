//! Splits that do not leak: whatever belongs together goes to one side together.

use std::collections::HashMap;

use super::leak::Sketches;
use super::question::{Question, Split};
use super::read::QuestionRow;
use crate::error::{Error, Problem};
use crate::models::hash_bytes;
use crate::project::config::SetConfig;

/// Shares of train, dev and test.
const SHARES: [(Split, f64); 3] = [(Split::Train, 0.6), (Split::Dev, 0.15), (Split::Test, 0.25)];

/// Gives every row its split: the one it names, or one found by group.
pub(super) fn assign(config: &SetConfig, rows: Vec<QuestionRow>) -> Result<Vec<Question>, Error> {
    let named = rows.iter().filter(|row| row.split.is_some()).count();
    if named == rows.len() {
        let questions: Vec<Question> = rows.into_iter().map(|row| row.question).collect();
        return all_splits_present(config, questions);
    }
    if named > 0 {
        let problems = rows
            .iter()
            .filter(|row| row.split.is_none())
            .map(|row| {
                let message =
                    "expected train, dev or test, as other rows name their split, found nothing";
                row.question.place.problem("split", message.to_owned())
            })
            .collect();
        return Err(Error::Problems(problems));
    }
    let mut questions: Vec<Question> = rows.into_iter().map(|row| row.question).collect();
    let groups = groups(&questions);
    for (question, split) in deal(config, &groups) {
        questions[question].split = split;
    }
    all_splits_present(config, questions)
}

fn all_splits_present(
    config: &SetConfig,
    questions: Vec<Question>,
) -> Result<Vec<Question>, Error> {
    let missing: Vec<Problem> = SHARES
        .iter()
        .filter(|(split, _)| !questions.iter().any(|question| question.split == *split && question.is_answerable()))
        .map(|(split, _)| Problem {
            file: questions.first().map(|question| question.place.file.clone()).unwrap_or_default(),
            line: None,
            field: Some("split".to_owned()),
            message: format!(
                "set {:?}: expected questions for train, dev and test, found none for {} ({} questions that must stay \
                 together count as one: name splits or groups in the rows)",
                config.name,
                split.as_str(),
                questions.len()
            ),
        })
        .collect();
    if missing.is_empty() { Ok(questions) } else { Err(Error::Problems(missing)) }
}

/// Indices of questions that must not be parted: of one `group`, else sharing an evidence document,
/// else near-duplicates.
fn groups(questions: &[Question]) -> Vec<Vec<usize>> {
    let mut sets = DisjointSets::new(questions.len());
    let mut by_key: HashMap<String, usize> = HashMap::new();
    let mut loose = Vec::new();
    for (index, question) in questions.iter().enumerate() {
        let keys: Vec<String> = match &question.group {
            Some(group) => vec![format!("group {group}")],
            None => question
                .evidence
                .iter()
                .map(|evidence| format!("document {}", evidence.document))
                .collect(),
        };
        if keys.is_empty() {
            loose.push(index);
        }
        for key in keys {
            sets.join(index, *by_key.entry(key).or_insert(index));
        }
    }
    let sketches = Sketches::of(loose.iter().map(|index| &questions[*index]).collect());
    for pair in sketches.pairs(|_, _| true).found {
        let [a, b] = pair.places;
        sets.join(loose[a], loose[b]);
    }
    sets.groups()
}

/// Deals groups to splits, in an order given by hashes (so that adding a group moves no other far),
/// each to the split that is furthest below its share.
fn deal(config: &SetConfig, groups: &[Vec<usize>]) -> Vec<(usize, Split)> {
    let total: usize = groups.iter().map(Vec::len).sum();
    let mut order: Vec<(String, &Vec<usize>)> = groups
        .iter()
        .map(|group| (hash_bytes(format!("{} {}", config.name, group[0]).as_bytes()), group))
        .collect();
    // Large groups first: a small one can still balance them.
    order.sort_by(|(a_hash, a), (b_hash, b)| b.len().cmp(&a.len()).then(a_hash.cmp(b_hash)));
    let mut filled = [0.0; 3];
    let mut dealt = Vec::with_capacity(total);
    for (_, group) in order {
        let mut neediest = 0;
        for candidate in 1..SHARES.len() {
            let need = |split: usize| SHARES[split].1 * total as f64 - filled[split];
            if need(candidate) > need(neediest) {
                neediest = candidate;
            }
        }
        filled[neediest] += group.len() as f64;
        dealt.extend(group.iter().map(|question| (*question, SHARES[neediest].0)));
    }
    dealt
}

/// Union-find with path halving.
struct DisjointSets {
    parents: Vec<usize>,
}

impl DisjointSets {
    fn new(len: usize) -> Self {
        Self { parents: (0..len).collect() }
    }

    fn root(&mut self, mut item: usize) -> usize {
        while self.parents[item] != item {
            self.parents[item] = self.parents[self.parents[item]];
            item = self.parents[item];
        }
        item
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    fn groups(mut self) -> Vec<Vec<usize>> {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        for item in 0..self.parents.len() {
            members.entry(self.root(item)).or_default().push(item);
        }
        let mut groups: Vec<Vec<usize>> = members.into_values().collect();
        groups.sort();
        groups
    }
}
