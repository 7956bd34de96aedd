//! The decision in plain words.

use super::case::{Case, names};
use super::power::Outlook;
use super::rule::Verdict;
use crate::contrast::Contrast;
use crate::decision::{Answer, Looks, Node, SystemSummary};
use crate::figures::{count, duration, percent, percent_interval, points, points_interval, size};
use crate::{Arm, Outcome, System};

impl Case<'_> {
    /// For an engineer: what to do, on what score, and whether the target is met; or why nothing is
    /// decided, what it leans to, and what would settle it.
    pub(super) fn sentence(&self, verdict: &Verdict, outlook: &Outlook, looks: &Looks) -> String {
        let said = match verdict.outcome {
            Outcome::ImproveRetrieval => format!(
                "Improve retrieval first: with the gold passages the base model scores {} points more than with the \
                 retrieved ones, and no setup measured makes up for it.",
                self.within(Arm::Oracle, Arm::Rag)
                    .map_or(String::new(), |c| points(c.difference.estimate))
            ),
            Outcome::CollectData => self.too_weak(),
            Outcome::Undetermined => self.undetermined(&verdict.tree, outlook),
            _ => (verdict.recommended.and_then(|system| self.summary(system)))
                .map_or(String::new(), |system| self.recommendation(system)),
        };
        match (looks.openings > 1, looks.changed.is_empty()) {
            (_, false) => format!(
                "Exploratory, as {} changed since the first look at these questions: {said}",
                looks.changed.join(", ")
            ),
            (true, true) => {
                format!("Exploratory, as look {} at these questions: {said}", looks.openings)
            }
            (false, true) => said,
        }
    }

    fn recommendation(&self, summary: &SystemSummary) -> String {
        let name = summary.system;
        let advice = match name.arm() {
            Some(Arm::Base) => format!("Nothing is needed: the base model alone{}", of_model(name)),
            Some(Arm::FewShot) => {
                format!("Fine-tuning is not needed yet: examples in the prompt, {name},")
            }
            Some(Arm::Rag) => format!("Use RAG: {name}"),
            Some(Arm::Tuned) => format!("Fine-tune: {name}"),
            Some(_) => format!("Use both: {name}"),
            None => format!("Keep what is there: {name}"),
        };
        let score = format!(
            "{} ({} interval)",
            percent_interval(summary.score),
            percent(1.0 - self.rule.alpha).replace(".0", "")
        );
        let target = self.against_target(summary);
        let met = self.rule.target.is_some_and(|target| summary.score.lower >= target);
        if met && summary.system.is_simple() {
            return format!("{advice} scores {score}.{target}");
        }
        let margin = size(self.rule.margin);
        let cheaper: Vec<System> =
            self.cheaper_than(summary.system).iter().map(|other| other.system).collect();
        let cheaper = match cheaper.len() {
            0 => "and nothing is cheaper".to_owned(),
            1 => format!("and {}, which is cheaper, is worse", names(&cheaper)),
            _ => format!("and {}, which are cheaper, are worse", names(&cheaper)),
        };
        let cost = self.decided_by_cost(summary);
        let seed = match self.is_provisional(summary.system) {
            true => " Provisional: it was trained with one seed.",
            false => "",
        };
        format!(
            "{advice} scores {score}; of those measured no other setup is better by {margin} points, \
             {cheaper}.{target}{cost}{seed}"
        )
    }

    /// Rivals that the questions cannot part from the system, so that it is named for its cost
    /// alone.
    fn decided_by_cost(&self, summary: &SystemSummary) -> String {
        let alike: Vec<System> = (self.eligible().iter())
            .filter(|other| other.system != summary.system)
            .filter_map(|other| self.contrast(summary.system, other.system))
            .filter(|contrast| contrast.difference.contains(0.0))
            .map(|contrast| contrast.b)
            .collect();
        match alike.is_empty() {
            true => String::new(),
            false => format!(
                " Cost decided between it and {}, which these questions cannot tell apart from it.",
                names(&alike)
            ),
        }
    }

    /// Whether a system meets the target, as a sentence of its own; empty without a target.
    fn against_target(&self, summary: &SystemSummary) -> String {
        match self.rule.target {
            Some(target) if summary.score.lower >= target => {
                format!(" It meets the target of {}.", percent(target))
            }
            Some(target) => {
                format!(" Whether it meets the target of {} is open.", percent(target))
            }
            None => String::new(),
        }
    }

    /// Why no system is named although the measurements decide.
    fn too_weak(&self) -> String {
        let best = self.best();
        let measured = best.map_or(String::new(), |best| {
            format!("{} ({})", best.system, percent_interval(best.score))
        });
        let below = (self.rule.target)
            .filter(|target| self.all_below(*target))
            .map(|target| format!("all are shown below the target of {}", percent(target)));
        let floor = best.and_then(|best| self.floor_of(best.system)).map(|contrast| {
            format!(
                "it is not shown above {} ({})",
                floor_name(contrast.b),
                points_interval(contrast.difference)
            )
        });
        let why = below.or(floor).unwrap_or_else(|| match self.rule.target {
            Some(target) => {
                format!("what would be chosen is shown below the target of {}", percent(target))
            }
            None => "it fails most questions".to_owned(),
        });
        let faults = match self.pair_faults {
            [] => String::new(),
            faults => format!(" Look at the training pairs first: {}.", faults.join("; ")),
        };
        format!(
            "No setup is good enough: the best is {measured}, and {why}. What is missing is data (pairs, labels, \
             documents) or a larger model, not another way of using this one.{faults}"
        )
    }

    /// Why nothing is decided: the node at which the path stopped; then what somebody who must
    /// choose today should know.
    fn undetermined(&self, tree: &[Node], outlook: &Outlook) -> String {
        let stop = tree.iter().rfind(|node| node.reached);
        let compared =
            stop.is_some_and(|node| ["not-worse", "cheapest"].contains(&node.id.as_str()));
        let why = match self.small_lead().filter(|_| compared) {
            Some(lead) => lead,
            None => stop.map_or(String::new(), |node| {
                format!("{} {}: {}.", node.question, answer(node), node.measurement)
            }),
        };
        let lean = match self.regrets()[..] {
            [first, second, ..] => format!(
                " It leans to {}, which might cost up to {} points ({} up to {}{}).",
                first.system,
                size(first.points),
                second.system,
                size(second.points),
                match first.seconds > second.seconds {
                    true => format!(", and {} less", duration(first.seconds - second.seconds)),
                    false => String::new(),
                }
            ),
            _ => String::new(),
        };
        let settle = match (outlook.more_questions, outlook.seeds) {
            (_, Some(seeds)) => {
                format!(" {seeds} training seeds would settle it, if the scores stay as they are.")
            }
            (Some(more), None) => format!(
                " About {} more questions would settle it, if the differences stay as they are.",
                count(more as u64)
            ),
            (None, None) if stop.is_some_and(|node| node.id == "untried") => {
                " Measuring the fine-tuned setups would: compare with --setups all.".to_owned()
            }
            (None, None) => String::new(),
        };
        format!("These measurements don't decide. {why}{lean}{settle}")
    }

    /// A lead that is sure and smaller than the margin, over a cheaper system that is not shown to
    /// be within it.
    fn small_lead(&self) -> Option<String> {
        let best = self.best()?;
        let lead: Contrast = (self.cheaper_than(best.system).iter())
            .filter_map(|cheaper| self.contrast(best.system, cheaper.system))
            .filter(|lead| {
                lead.difference.lower > 0.0 && lead.difference.estimate < self.rule.margin
            })
            .find(|lead| lead.difference.upper >= self.rule.margin)?;
        Some(format!(
            "{} leads {} by {}, which is less than your margin of {}; {} is not shown to be within it.",
            best.system,
            lead.b,
            points_interval(lead.difference),
            size(self.rule.margin),
            lead.b
        ))
    }
}

/// ", MODEL/base," where a project has several models.
fn of_model(system: System) -> String {
    match system {
        System::Setup { model: Some(_), .. } => format!(", {system},"),
        _ => String::new(),
    }
}

/// A baseline in the words of a sentence.
pub(super) fn floor_name(system: System) -> &'static str {
    match system.arm() {
        Some(Arm::MostFrequent) => "the most frequent training answer",
        Some(Arm::Shuffled) => "the same training on shuffled answers",
        _ => "the answer of the nearest training pair",
    }
}

fn answer(node: &Node) -> &'static str {
    match node.answer {
        Answer::Yes => "Yes",
        Answer::No => "No",
        Answer::Unknown => "Unknown",
    }
}
