//! The evidence as the rule reads it: arms in cost order, paired differences, and what the choice
//! between them needs.

use crate::attribute::Attribution;
use crate::contrast::Contrast;
use crate::decision::{ArmSummary, Regret};
use crate::stats::{Interval, detectable_difference};
use crate::{Arm, Gate, LearningCurve, Outcome, Rule};

/// With fewer source documents there is next to nothing to tell chance by, however many questions
/// there are.
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
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice {
    /// No arm is shown to be not worse than all others; the one that comes nearest, if any is
    /// eligible.
    None { nearest: Option<Arm> },
    /// This arm is, but these cheaper ones are not set aside.
    Open { arm: Arm, cheaper: Vec<Arm> },
    /// This arm is, and no cheaper one is left.
    Arm(Arm),
}

/// What [`choice_of`] finds, by places in the order of cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// None is shown not worse than all others.
    None,
    /// This one is, but these cheaper ones are not set aside.
    Open(usize, Vec<usize>),
    /// This one.
    One(usize),
}

/// Among so many candidates in order of cost, the cheapest that is not worse than any other by the
/// margin, provided that each cheaper one is set aside. `contrast(a, b)` is the interval of `a - b`.
pub(super) fn choice_of(
    candidates: usize,
    margin: f64,
    contrast: &dyn Fn(usize, usize) -> Option<Interval>,
) -> Named {
    let others = |of: usize| (0..candidates).filter(move |other| *other != of);
    let not_worse = |place: &usize| {
        others(*place).all(|other| contrast(*place, other).is_some_and(|d| d.lower > -margin))
    };
    let Some(chosen) = (0..candidates).find(not_worse) else {
        return Named::None;
    };
    // Shown worse than some other, and measured to be so by at least the margin.
    let aside = |place: usize| {
        others(place).any(|other| {
            contrast(place, other).is_some_and(|d| d.upper < 0.0 && d.estimate <= -margin)
        })
    };
    let cheaper: Vec<usize> = (0..chosen).filter(|place| !aside(*place)).collect();
    if cheaper.is_empty() { Named::One(chosen) } else { Named::Open(chosen, cheaper) }
}

/// A difference the outcome rests on, beside the smallest one that the questions at hand could
/// show.
pub(super) struct Support {
    pub(super) name: String,
    pub(super) difference: f64,
    pub(super) detectable: f64,
}

impl Case<'_> {
    /// The cheapest arm shown not worse than every other, and whether the cheaper ones are set
    /// aside. The target does not enter: what sets a cheaper arm aside stays the same as it moves.
    pub(super) fn choose(&self) -> Choice {
        let eligible = self.eligible();
        let contrast = |a: usize, b: usize| {
            self.contrast(eligible[a].arm, eligible[b].arm).map(|contrast| contrast.difference)
        };
        match choice_of(eligible.len(), self.rule.margin, &contrast) {
            Named::One(place) => Choice::Arm(eligible[place].arm),
            Named::Open(place, cheaper) => Choice::Open {
                arm: eligible[place].arm,
                cheaper: cheaper.into_iter().map(|place| eligible[place].arm).collect(),
            },
            Named::None => {
                let worst = |arm: &ArmSummary| {
                    self.closest_rival(arm.arm).map_or(f64::MIN, |c| c.difference.lower)
                };
                let nearest = eligible.iter().max_by(|a, b| worst(a).total_cmp(&worst(b)));
                Choice::None { nearest: nearest.map(|summary| summary.arm) }
            }
        }
    }

    /// The baseline without a model that an arm is not shown to beat, if there is one.
    pub(super) fn floor_of(&self, arm: Arm) -> Option<Contrast> {
        let floors = self.arms.iter().map(|summary| summary.arm).filter(|other| other.is_floor());
        floors
            .filter_map(|floor| self.contrast(arm, floor))
            .filter(|contrast| contrast.difference.lower <= 0.0)
            .min_by(|a, b| a.difference.lower.total_cmp(&b.difference.lower))
    }

    /// The most that choosing each arm might cost: against the rival by whose upper bound it loses
    /// most, and in seconds over the cheapest. The one leant to, which might lose least, comes first.
    pub(super) fn regrets(&self) -> Vec<Regret> {
        let eligible = self.eligible();
        let cheapest = eligible.first().map_or(0.0, |arm| self.cost(arm));
        let mut regrets: Vec<Regret> = (eligible.iter())
            .map(|arm| Regret {
                arm: arm.arm,
                points: self.closest_rival(arm.arm).map_or(0.0, |c| (-c.difference.lower).max(0.0)),
                seconds: self.cost(arm) - cheapest,
            })
            .collect();
        regrets.sort_by(|a, b| a.points.total_cmp(&b.points));
        regrets
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
