//! The decision in plain words.

use super::case::{Case, names};
use crate::decision::{Answer, ArmSummary, Node};
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
                self.best().map_or(String::new(), |b| format!(
                    "{} ({})",
                    b.arm,
                    percent_interval(b.score)
                ))
            ),
            Outcome::Undetermined => undetermined(tree, more_questions),
            _ => recommended
                .and_then(|arm| self.summary(arm))
                .map_or(String::new(), |arm| self.recommendation(arm)),
        }
    }

    fn recommendation(&self, arm: &ArmSummary) -> String {
        let advice = match arm.arm {
            Arm::Base => "Nothing is needed: the base model alone",
            Arm::FewShot => "Examples in the prompt are enough: few-shot",
            Arm::Rag => "Use RAG: rag",
            Arm::Tuned => "Fine-tune: tuned",
            Arm::TunedRag => "Use both: tuned+rag",
            _ => "Use both: raft",
        };
        let score = percent_interval(arm.score);
        let target = self.against_target(arm);
        let met = self.rule.target.is_some_and(|target| arm.score.lower >= target);
        if met && matches!(arm.arm, Arm::Base | Arm::FewShot) {
            return format!("{advice} scores {score}.{target}");
        }
        let margin = size(self.rule.margin);
        let cheaper: Vec<Arm> = self.cheaper_than(arm.arm).iter().map(|other| other.arm).collect();
        let cheaper = match cheaper.len() {
            0 => "and nothing is cheaper".to_owned(),
            1 => format!("and {}, which is cheaper, is worse", names(&cheaper)),
            _ => format!("and {}, which are cheaper, are worse", names(&cheaper)),
        };
        format!(
            "{advice} scores {score}; no other arm is better by {margin} points, {cheaper}.{target}"
        )
    }

    /// Whether an arm meets the target, as a sentence of its own; empty without a target.
    fn against_target(&self, arm: &ArmSummary) -> String {
        match self.rule.target {
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
        }
    }
}

/// Why nothing is decided: the node at which the path stopped.
fn undetermined(tree: &[Node], more_questions: Option<usize>) -> String {
    let stop = tree.iter().rfind(|node| node.reached);
    let why = stop.map_or(String::new(), |node| {
        format!("{} {}: {}.", node.question, answer(node), node.measurement)
    });
    let more = more_questions.map_or(String::new(), |more| {
        format!(
            " About {more} more questions would settle it, if the differences stay as they are."
        )
    });
    format!("These measurements don't decide. {why}{more}")
}

fn answer(node: &Node) -> &'static str {
    match node.answer {
        Answer::Yes => "Yes",
        Answer::No => "No",
    }
}
