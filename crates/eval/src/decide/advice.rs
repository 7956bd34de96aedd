//! The decision for somebody who knows no statistics: what to do, how good it is, and how sure.

use super::case::Case;
use super::power::Outlook;
use super::rule::Verdict;
use super::sentence::floor_name;
use crate::decision::{DecisionInput, SystemSummary};
use crate::figures::{count, percent};
use crate::{Arm, Interval, Outcome};

impl Case<'_> {
    /// What to do, how good it is, how sure that is, and what keeps it from being relied upon.
    pub(super) fn advice(
        &self,
        verdict: &Verdict,
        outlook: &Outlook,
        input: &DecisionInput,
    ) -> String {
        let exact = input.measure.is_right_wrong();
        let chosen = verdict.recommended.and_then(|system| self.summary(system));
        let said = match (verdict.outcome, chosen) {
            (Outcome::ImproveRetrieval, _) => self.search_first(),
            (Outcome::CollectData, _) => self.data_first(exact),
            (Outcome::Undetermined, _) | (_, None) => self.not_yet(verdict, outlook),
            (_, Some(summary)) => self.do_this(summary, exact),
        };
        let looks = &input.looks;
        let doubt = if !looks.changed.is_empty() {
            " Take it as a hint only: what was agreed before the first look was changed since."
        } else if looks.openings > 1 {
            " Take it as a hint only: these questions had been looked at before."
        } else if self.exploratory() && verdict.recommended.is_some() {
            " It rests on few questions."
        } else {
            ""
        };
        said + doubt
    }

    fn do_this(&self, summary: &SystemSummary, exact: bool) -> String {
        let system = summary.system;
        let what = match system.arm() {
            Some(Arm::Base) => "Use the model as it is: nothing has to be built.".to_owned(),
            Some(Arm::FewShot) => {
                "Show the model some examples with each question; fine-tuning is not needed yet."
                    .to_owned()
            }
            Some(Arm::Rag) => "Let the model read your documents (RAG).".to_owned(),
            Some(Arm::Tuned) => "Train the model on your examples (fine-tuning).".to_owned(),
            Some(_) => "Do both: train the model on your examples and let it read your documents."
                .to_owned(),
            None => format!("Keep {system}, which you have already."),
        };
        let good = format!("It {}.", how_good(summary.score, exact, self.rule.alpha));
        let target = match self.rule.target {
            Some(target) if summary.score.lower >= target => {
                format!(" That reaches your target of {}.", of_hundred(target))
            }
            Some(target) => {
                format!(" Whether it reaches your target of {} is not certain.", of_hundred(target))
            }
            None => String::new(),
        };
        let once = match system.needs_adapter() && summary.seeds < 2 {
            true => " It was trained only once, so another training may come out differently.",
            false => "",
        };
        format!("{what} {good}{target}{once}")
    }

    fn search_first(&self) -> String {
        let gain = self.within(Arm::Oracle, Arm::Rag).map_or(String::new(), |contrast| {
            format!(" With the right passages about {} more of 100 would be right.", {
                of_hundred(contrast.difference.estimate)
            })
        });
        format!("Improve the search first: too often it does not find the right passages.{gain}")
    }

    fn data_first(&self, exact: bool) -> String {
        let best = self.best();
        let found = best.map_or(String::new(), |best| {
            format!(
                " The best of them, {}, {}.",
                best.system,
                how_good(best.score, exact, self.rule.alpha)
            )
        });
        let floor = best.and_then(|best| self.floor_of(best.system)).map_or(String::new(), |it| {
            format!(" That is not shown to be better than {}.", floor_name(it.b))
        });
        let target = self
            .rule
            .target
            .map_or(String::new(), |target| format!(" Your target is {}.", of_hundred(target)));
        format!(
            "Use none of these yet: none is good enough. Collect better examples or documents, or try a larger \
             model.{found}{target}{floor}"
        )
    }

    fn not_yet(&self, verdict: &Verdict, outlook: &Outlook) -> String {
        let untried =
            verdict.tree.iter().rfind(|node| node.reached).is_some_and(|node| node.id == "untried");
        let settle = match (outlook.more_questions, outlook.seeds) {
            (_, Some(seeds)) => {
                format!(" Training each setup {seeds} times would probably settle it.")
            }
            (Some(more), None) => {
                format!(
                    " About {} more test questions would probably settle it.",
                    count(more as u64)
                )
            }
            (None, None) if untried => {
                " Fine-tuning was not tried: `tunesmith compare --setups all` does.".to_owned()
            }
            (None, None) => String::new(),
        };
        let today = match self.regrets()[..] {
            [first, _, ..] => format!(
                " If you must choose today, take {}: it may get up to {} of 100 questions fewer right than the \
                 best.",
                first.system,
                of_hundred(first.points)
            ),
            _ => String::new(),
        };
        format!("Do not decide yet: these measurements cannot tell what is best.{settle}{today}")
    }
}

/// A share as a number of a hundred.
fn of_hundred(share: f64) -> String {
    format!("{:.0}", 100.0 * share)
}

/// A score as the end of a sentence. The bounds are rounded outwards.
fn how_good(score: Interval, exact: bool, alpha: f64) -> String {
    let sure = percent(1.0 - alpha).replace(".0", "");
    let low = (100.0 * score.lower).floor();
    let high = (100.0 * score.upper).ceil();
    let about = of_hundred(score.estimate);
    match exact {
        true => format!(
            "is right on about {about} of 100 questions, with {sure} confidence between {low} and {high}"
        ),
        false => {
            format!(
                "scores about {about} of 100 points, with {sure} confidence between {low} and {high}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_rounded_outwards() {
        let score = Interval { estimate: 0.6249, lower: 0.551, upper: 0.681 };
        let said = "is right on about 62 of 100 questions, with 95 % confidence between 55 and 69";
        assert_eq!(how_good(score, true, 0.05), said);
        assert!(how_good(score, false, 0.05).starts_with("scores about 62 of 100 points"));
    }
}
