//! The evidence as the rule reads it: arms in cost order, paired differences, and what the choice
//! between them needs.

use crate::attribute::Attribution;
use crate::contrast::Contrast;
use crate::decision::ArmSummary;
use crate::stats::{detectable_difference, questions_for_non_inferiority, required_questions};
use crate::{Arm, Gate, LearningCurve, Outcome, Rule};

/// With fewer source documents the bootstrap has next to nothing to resample, however many
/// questions there are.
pub(super) const MIN_CLUSTERS: usize = 5;

/// Discordance assumed where two arms can't be compared: the middle row of the method's table.
const USUAL_DISCORDANCE: f64 = 0.3;

/// Without a target, an arm is "nothing needed" only if it is not shown to fail half the time.
pub(super) const HALF: f64 = 0.5;

/// The evidence, and the rule to judge it by. Intervals don't depend on margin, target or expected
/// queries, so the same evidence can be judged again under another rule (see `flips`).
#[derive(Clone)]
pub(super) struct Case<'a> {
    pub(super) arms: &'a [ArmSummary],
    pub(super) contrasts: &'a [Contrast],
    pub(super) attribution: Option<&'a Attribution>,
    pub(super) gate: Option<&'a Gate>,
    pub(super) curve: Option<&'a LearningCurve>,
    pub(super) questions: usize,
    pub(super) clusters: usize,
    pub(super) rule: Rule,
}

/// The cheapest arm not worse than any other, if one is shown to be.
pub(super) enum Choice {
    /// No arm is shown to be not worse than all others; the one that comes nearest, if any is
    /// eligible.
    None { nearest: Option<Arm> },
    /// This arm is, but these cheaper ones are not shown to be worse.
    Open { arm: Arm, cheaper: Vec<Arm> },
    /// This arm is, and no cheaper one is left.
    Arm(Arm),
}

/// A difference the outcome rests on, beside the smallest one that the questions at hand could
/// show.
pub(super) struct Support {
    pub(super) name: String,
    pub(super) difference: f64,
    pub(super) detectable: f64,
}

impl Case<'_> {
    /// The cheapest arm shown not worse than every other, and whether the cheaper ones are
    /// excluded.
    pub(super) fn choose(&self) -> Choice {
        let eligible = self.eligible();
        let not_worse = |arm: &&&ArmSummary| {
            let rivals = eligible.iter().filter(|other| other.arm != arm.arm);
            rivals.into_iter().all(|other| {
                self.contrast(arm.arm, other.arm)
                    .is_some_and(|c| c.difference.lower > -self.rule.margin)
            })
        };
        let Some(chosen) = eligible.iter().find(not_worse) else {
            let worst = |arm: &ArmSummary| {
                self.closest_rival(arm.arm).map_or(f64::MIN, |c| c.difference.lower)
            };
            let nearest = eligible.iter().max_by(|a, b| worst(a).total_cmp(&worst(b)));
            return Choice::None { nearest: nearest.map(|summary| summary.arm) };
        };
        let cheaper: Vec<Arm> = self
            .cheaper_than(chosen.arm)
            .iter()
            .map(|summary| summary.arm)
            .filter(|arm| !self.excluded(*arm, chosen.arm))
            .collect();
        if cheaper.is_empty() {
            Choice::Arm(chosen.arm)
        } else {
            Choice::Open { arm: chosen.arm, cheaper }
        }
    }

    /// `arm` is shown worse than `chosen`, or worse than some eligible arm by more than the margin.
    fn excluded(&self, arm: Arm, chosen: Arm) -> bool {
        let worse = self
            .contrast(arm, chosen)
            .is_some_and(|c| c.difference.upper < 0.0 && c.p_holm < self.rule.alpha);
        let beyond = |other: &ArmSummary| {
            self.contrast(arm, other.arm).is_some_and(|c| c.difference.upper < -self.rule.margin)
        };
        worse || self.eligible().into_iter().any(beyond)
    }

    /// Eligible arms by cost: training + index + expected queries x seconds per query, then order
    /// of display.
    pub(super) fn eligible(&self) -> Vec<&ArmSummary> {
        let mut eligible: Vec<&ArmSummary> = self.arms.iter().filter(|arm| arm.eligible).collect();
        eligible.sort_by(|a, b| self.cost(a).total_cmp(&self.cost(b)).then(a.arm.cmp(&b.arm)));
        eligible
    }

    pub(super) fn cost(&self, arm: &ArmSummary) -> f64 {
        arm.costs.fixed_seconds() + self.rule.expected_queries as f64 * arm.seconds_per_query
    }

    pub(super) fn cheaper_than(&self, arm: Arm) -> Vec<&ArmSummary> {
        self.eligible().into_iter().take_while(|other| other.arm != arm).collect()
    }

    pub(super) fn best(&self) -> Option<&ArmSummary> {
        // `max_by` keeps the last of equals; reversed cost order makes that the cheapest.
        self.eligible()
            .into_iter()
            .rev()
            .max_by(|a, b| a.score.estimate.total_cmp(&b.score.estimate))
    }

    pub(super) fn summary(&self, arm: Arm) -> Option<&ArmSummary> {
        self.arms.iter().find(|summary| summary.arm == arm)
    }

    /// `a - b`.
    pub(super) fn contrast(&self, a: Arm, b: Arm) -> Option<Contrast> {
        self.contrasts.iter().find_map(|contrast| match (contrast.a, contrast.b) {
            pair if pair == (a, b) => Some(*contrast),
            pair if pair == (b, a) => Some(contrast.reversed()),
            _ => None,
        })
    }

    /// The rival that `arm` could lose most against: lowest lower bound of `arm - rival`.
    pub(super) fn closest_rival(&self, arm: Arm) -> Option<Contrast> {
        let rivals = self.eligible().into_iter().filter(|other| other.arm != arm);
        rivals
            .filter_map(|other| self.contrast(arm, other.arm))
            .min_by(|a, b| a.difference.lower.total_cmp(&b.difference.lower))
    }

    pub(super) fn all_below(&self, needed: f64) -> bool {
        let eligible = self.eligible();
        !eligible.is_empty() && eligible.iter().all(|arm| arm.score.upper < needed)
    }

    pub(super) fn target_missed_by_all(&self) -> bool {
        self.rule.target.is_some_and(|target| self.all_below(target))
    }

    pub(super) fn exploratory(&self) -> bool {
        self.questions < self.rule.min_questions || self.clusters < MIN_CLUSTERS
    }

    /// The smallest difference this contrast's questions can show, counted as fewer where clusters
    /// or seeds repeat each other.
    pub(super) fn detectable(&self, contrast: &Contrast) -> f64 {
        let questions = contrast.questions as f64 / contrast.design_effect;
        detectable_difference(questions, contrast.discordance, self.rule.power, self.rule.alpha)
    }

    /// The smallest difference these questions can show between the best arm and the runner-up,
    /// clusters allowed for.
    pub(super) fn detectable_by_leaders(&self) -> f64 {
        let mut eligible = self.eligible();
        eligible.sort_by(|a, b| b.score.estimate.total_cmp(&a.score.estimate));
        let leading = match eligible[..] {
            [first, second, ..] => self.contrast(first.arm, second.arm),
            _ => None,
        };
        match leading {
            Some(contrast) => self.detectable(&contrast),
            None => detectable_difference(
                self.questions as f64,
                USUAL_DISCORDANCE,
                self.rule.power,
                self.rule.alpha,
            ),
        }
    }

    /// The differences an outcome rests on; empty for `undetermined`.
    pub(super) fn support(&self, outcome: Outcome, recommended: Option<Arm>) -> Vec<Support> {
        let against = |a: Arm, b: Arm| {
            let contrast = self.contrast(a, b)?;
            let (difference, detectable) =
                (contrast.difference.estimate.abs(), self.detectable(&contrast));
            Some(Support { name: format!("{a} - {b}"), difference, detectable })
        };
        let to_target = |arm: &ArmSummary, target: f64| Support {
            name: format!("{} against the target", arm.arm),
            difference: (arm.score.estimate - target).abs(),
            detectable: detectable_difference(
                arm.questions as f64,
                target * (1.0 - target),
                self.rule.power,
                self.rule.alpha,
            ),
        };
        let best = self.best();
        match outcome {
            Outcome::Undetermined => Vec::new(),
            Outcome::ImproveRetrieval => {
                let over_best = best.and_then(|best| against(Arm::Oracle, best.arm));
                against(Arm::Oracle, Arm::Rag).into_iter().chain(over_best).collect()
            }
            Outcome::CollectData => {
                let needed = self.rule.target.unwrap_or(HALF);
                best.map(|best| to_target(best, needed)).into_iter().collect()
            }
            _ => {
                let Some(arm) = recommended else { return Vec::new() };
                if let (Some(target), Some(summary)) = (self.rule.target, self.summary(arm))
                    && matches!(arm, Arm::Base | Arm::FewShot)
                    && summary.score.lower >= target
                {
                    return vec![to_target(summary, target)];
                }
                let rivals = self.eligible().into_iter().filter(|other| other.arm != arm);
                rivals.filter_map(|other| against(arm, other.arm)).collect()
            }
        }
    }

    /// Questions beyond those at hand that would settle the choice, if the differences stay as
    /// measured: for the arm that needs fewest, enough to show each cheaper arm worse and each
    /// dearer arm not better by the margin.
    pub(super) fn more_questions(&self) -> Option<usize> {
        let Rule { margin, alpha, power, .. } = self.rule;
        let eligible = self.eligible();
        // Holm has to carry only the contrasts it has not rejected yet.
        let open = self.contrasts.iter().filter(|c| c.p_holm >= alpha).count().max(1) as f64;
        let settle = |index: usize| -> Option<usize> {
            let arm = eligible[index].arm;
            let mut most = self.rule.min_questions;
            for (other_index, other) in
                eligible.iter().enumerate().filter(|(other, _)| *other != index)
            {
                let contrast = self.contrast(arm, other.arm)?;
                let d = contrast.difference.estimate;
                let need = if other_index < index {
                    required_questions(d.max(0.0), contrast.discordance, power, alpha / open)?
                } else {
                    questions_for_non_inferiority(d, margin, contrast.discordance, power, alpha)?
                };
                most = most.max((need as f64 * contrast.design_effect).ceil() as usize);
            }
            Some(most)
        };
        let fewest = (0..eligible.len()).filter_map(settle).min()?;
        Some(fewest.saturating_sub(self.questions)).filter(|more| *more > 0)
    }
}

/// "base, few-shot and rag".
pub(super) fn names(arms: &[Arm]) -> String {
    match arms {
        [] => String::new(),
        [one] => one.to_string(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(|arm| arm.as_str()).collect();
            format!("{} and {last}", most.join(", "))
        }
    }
}
