//! Two indexes, measured on the project's own questions.

use std::sync::atomic::AtomicBool;

use eval::Interval;
use eval::stats::Bootstrap;
use serde::Serialize;
use store::{IndexId, Store};

use crate::error::Result;
use crate::models::Cache;
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::questions::synthetic;
use crate::questions::synthetic::SYNTHETIC;
use crate::questions::{Question, QuestionSet};
use crate::search::grounding::{Grounded, characters, ground, recall, reciprocal_rank};
use crate::search::knowledge::{Knowledge, Wanted};
use crate::search::recipe::IndexRecipe;

/// Hits looked at for each question.
const DEPTH: usize = 10;
/// Hits whose text is counted.
const READ: usize = 5;

/// What an index finds for the dev questions of a set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IndexMeasures {
    /// Share of questions whose evidence is all in the first five hits.
    pub recall_at_5: f64,
    /// Mean of 1 / place of the first of ten hits with enough evidence.
    pub mrr_at_10: f64,
    /// Mean characters of the first five hits together: what they cost a prompt.
    pub characters: f64,
}

/// Two indexes on one set.
#[derive(Clone, Debug, Serialize)]
pub struct SetComparison {
    /// The set.
    pub set: String,
    /// Whether a model wrote its questions.
    pub synthetic: bool,
    /// Its dev questions with evidence.
    pub questions: usize,
    /// The index in use.
    pub before: IndexMeasures,
    /// The other one.
    pub after: IndexMeasures,
    /// Difference in reciprocal rank, other minus in use, with its 95 % interval: paired bootstrap
    /// over documents.
    pub difference: Interval,
}

/// Two indexes on all sets with evidence.
#[derive(Clone, Debug, Serialize)]
pub struct IndexComparison {
    /// One entry for each set with evidence.
    pub sets: Vec<SetComparison>,
}

impl IndexComparison {
    /// Whether the other index is no worse on any set, by recall and by reciprocal rank; `None`
    /// without a set that has evidence. Synthetic questions do not count: they favour the index on
    /// whose passages they were written.
    pub fn is_not_worse(&self) -> Option<bool> {
        let not_worse = |set: &SetComparison| {
            set.difference.estimate >= 0.0 && set.after.recall_at_5 >= set.before.recall_at_5
        };
        let mut counted = self.sets.iter().filter(|set| !set.synthetic).peekable();
        counted.peek().is_some().then(|| counted.all(not_worse))
    }
}

/// Measures an index beside the one in use on the dev questions of every set that name their
/// evidence. Nothing is changed.
///
/// # Errors
/// Those of reading the sets, the store and the models; [`crate::Error::Interrupted`].
pub fn compare(
    project: &Project,
    cache: &Cache,
    other: IndexId,
    stop: &AtomicBool,
) -> Result<IndexComparison> {
    let mut asked = Vec::new();
    for config in &project.config.sets {
        let set = QuestionSet::load(project, config)?;
        let evident = set.dev.iter().filter(|question| !question.evidence.is_empty());
        let questions: Vec<Question> = evident.cloned().collect();
        if !questions.is_empty() {
            asked.push(AskedSet { set: Some(set.config), questions });
        }
    }
    let before = open(project, cache, None)?;
    let synthetic = synthetic::questions(&before)?;
    if !synthetic.is_empty() {
        asked.push(AskedSet { set: None, questions: synthetic });
    }
    let found_before = find(&before, &asked, stop)?;
    drop(before);
    let found_after = find(&open(project, cache, Some(other))?, &asked, stop)?;
    let sets = asked.iter().zip(found_before).zip(found_after).map(|((asked, before), after)| {
        SetComparison {
            set: asked.set.as_ref().map_or(SYNTHETIC, |set| set.name.as_str()).to_owned(),
            synthetic: asked.set.is_none(),
            questions: asked.questions.len(),
            difference: difference(&asked.questions, &before, &after),
            before: IndexMeasures::of(&before),
            after: IndexMeasures::of(&after),
        }
    });
    Ok(IndexComparison { sets: sets.collect() })
}

/// Questions, and the set they are from; `None` for those that a model wrote.
struct AskedSet {
    set: Option<SetConfig>,
    questions: Vec<Question>,
}

/// Opens what an index knows; `None` is the index in use.
fn open(project: &Project, cache: &Cache, index: Option<IndexId>) -> Result<Knowledge> {
    let mut store = Store::open(&project.state()?)?;
    if let Some(index) = index {
        store.look_at(index)?;
    }
    let recipe = IndexRecipe::in_use(&store, &project.config)?;
    Knowledge::with_recipe(project, cache, store, recipe)
}

/// What an index finds for the questions of each set.
fn find(
    knowledge: &Knowledge,
    asked: &[AskedSet],
    stop: &AtomicBool,
) -> Result<Vec<Vec<Grounded>>> {
    let found = asked.iter().map(|AskedSet { set, questions }| {
        let wanted = Wanted { hits: DEPTH, ..knowledge.wanted(set.as_ref())? };
        ground(knowledge, questions, &wanted, stop)
    });
    found.collect()
}

impl IndexMeasures {
    fn of(grounded: &[Grounded]) -> Self {
        Self {
            recall_at_5: recall(grounded, READ).unwrap_or(0.0),
            mrr_at_10: reciprocal_rank(grounded).unwrap_or(0.0),
            characters: characters(grounded, READ),
        }
    }
}

fn difference(questions: &[Question], before: &[Grounded], after: &[Grounded]) -> Interval {
    let rank = |grounded: &Grounded| grounded.reciprocal_rank().unwrap_or(0.0);
    let rows = questions.iter().zip(after.iter().zip(before)).map(|(question, (after, before))| {
        let document =
            question.evidence.first().map_or(question.id.as_str(), |entry| entry.document.as_str());
        (document, rank(after), rank(before))
    });
    Bootstrap::default().paired_difference(&rows.collect::<Vec<_>>()).interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_in_one_measure_on_one_set_is_worse() {
        let set = |recall: f64, difference: f64| SetComparison {
            set: String::new(),
            synthetic: false,
            questions: 10,
            before: IndexMeasures { recall_at_5: 0.5, mrr_at_10: 0.4, characters: 100.0 },
            after: IndexMeasures {
                recall_at_5: recall,
                mrr_at_10: 0.4 + difference,
                characters: 100.0,
            },
            difference: Interval { estimate: difference, lower: -1.0, upper: 1.0 },
        };
        let verdict = |sets: Vec<SetComparison>| IndexComparison { sets }.is_not_worse();
        assert_eq!(verdict(vec![]), None);
        assert_eq!(verdict(vec![set(0.5, 0.0), set(0.6, 0.1)]), Some(true));
        assert_eq!(verdict(vec![set(0.5, 0.1), set(0.4, 0.1)]), Some(false));
        assert_eq!(verdict(vec![set(0.5, 0.1), set(0.6, -0.1)]), Some(false));
        // What a model asked does not count.
        let synthetic = SetComparison { synthetic: true, ..set(0.4, -0.1) };
        assert_eq!(verdict(vec![set(0.6, 0.1), synthetic.clone()]), Some(true));
        assert_eq!(verdict(vec![synthetic]), None);
    }
}
