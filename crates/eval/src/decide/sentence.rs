//! The decision in plain words.

use super::case::{Case, names};
use crate::decision::{Answer, Node};
use crate::figures::{percent, percent_interval, points, size};
use crate::{Arm, Outcome};

impl Case<'_> {
    /// One or two sentences: what to do, on what score, and whether the target is met; or why
    /// nothing is decided.
    pub(super) fn sentence(
        &self,
        outcome: Outcome,
        recommended: Option<Arm>,
        tree: &[Node],
        more_questions: Option<usize>,
    ) -> String {
        let best = || {
            self.best()
                .map_or(String::new(), |b| format!("{} ({})", b.arm, percent_interval(b.score)))
        };
        let margin = size(self.rule.margin);
        match outcome {
            Outcome::ImproveRetrieval => format!(
                "Improve retrieval first: with the gold passages the base model scores {} points more than with the \
                 retrieved ones, and no arm measured makes up for it.",
                self.contrast(Arm::Oracle, Arm::Rag)
                    .map_or(String::new(), |c| points(c.difference.estimate))
            ),
            Outcome::CollectData => format!(
                "No arm is good enough; the best is {}. What is missing is data (pairs, labels, documents) or a \
                 larger model, not another way of using this one.",
                best()
            ),
            Outcome::Undetermined => {
                let stop = tree.iter().rfind(|node| node.reached);
                let why = stop.map_or(String::new(), |n| {
                    format!("{} {}: {}.", n.question, answer(n), n.measurement)
                });
                let more = match more_questions {
                    Some(more) => format!(
                        " About {more} more questions would settle it, if the differences stay as they are."
                    ),
                    None => String::new(),
                };
                format!("These measurements don't decide. {why}{more}")
            }
            _ => {
                let Some(arm) = recommended.and_then(|arm| self.summary(arm)) else {
                    return String::new();
                };
                let advice = match arm.arm {
                    Arm::Base => "Nothing is needed: the base model alone",
                    Arm::FewShot => "Examples in the prompt are enough: few-shot",
                    Arm::Rag => "Use RAG: rag",
                    Arm::Tuned => "Fine-tune: tuned",
                    Arm::TunedRag => "Use both: tuned+rag",
                    _ => "Use both: raft",
                };
                let score = percent_interval(arm.score);
                let target = match self.rule.target {
                    Some(target) if arm.score.lower >= target => {
                        format!(" It meets the target of {}.", percent(target))
                    }
                    Some(target) if arm.score.upper < target => {
                        format!(" It misses the target of {}.", percent(target))
                    }
                    Some(target) => {
                        format!(" Whether it meets the target of {} is open.", percent(target))
                    }
                    None => String::new(),
                };
                let met = self.rule.target.is_some_and(|target| arm.score.lower >= target);
                if met && matches!(arm.arm, Arm::Base | Arm::FewShot) {
                    return format!("{advice} scores {score}.{target}");
                }
                let cheaper: Vec<Arm> =
                    self.cheaper_than(arm.arm).iter().map(|other| other.arm).collect();
                let cheaper = match cheaper.len() {
                    0 => "and nothing is cheaper".to_owned(),
                    1 => format!("and {}, which is cheaper, is worse", names(&cheaper)),
                    _ => format!("and {}, which are cheaper, are worse", names(&cheaper)),
                };
                format!(
                    "{advice} scores {score}; no other arm is better by {margin} points, {cheaper}.{target}"
                )
            }
        }
    }
}

fn answer(node: &Node) -> &'static str {
    match node.answer {
        Answer::Yes => "Yes",
        Answer::No => "No",
    }
}
