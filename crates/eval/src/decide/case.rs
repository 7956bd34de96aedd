//! The evidence as the rule reads it: systems in cost order, paired differences, and what the
//! choice between them needs.

use crate::attribute::Attribution;
use crate::contrast::Contrast;
use crate::decision::{Regret, SystemSummary, Untried};
use crate::stats::{Interval, detectable_difference};
use crate::{Arm, Gate, LearningCurve, Name, Outcome, Pruned, Rule, System};

/// With fewer source documents there is next to nothing to tell chance by, however many questions
/// there are.
pub(super) const MIN_CLUSTERS: usize = 5;

/// Discordance assumed where two systems can't be compared: the middle row of the method's table.
const USUAL_DISCORDANCE: f64 = 0.3;

/// Without a target, a system is "nothing needed" only if it is not shown to fail half the time.
pub(super) const HALF: f64 = 0.5;

/// The evidence, and the rule to judge it by. Intervals don't depend on margin, target or expected
/// queries, so the same evidence can be judged again under another rule (see `flips`).
#[derive(Clone)]
pub(super) struct Case<'a> {
    pub(super) systems: &'a [SystemSummary],
    /// The model that diagnosis (oracle, attribution, gate) is read within.
    pub(super) model: Option<Name>,
    pub(super) contrasts: &'a [Contrast],
    pub(super) attribution: Option<&'a Attribution>,
    pub(super) gate: Option<&'a Gate>,
    pub(super) curve: Option<&'a LearningCurve>,
    pub(super) untried: Untried,
    pub(super) pair_faults: &'a [String],
    /// Dropped on dev.
    pub(super) pruned: &'a [Pruned],
    pub(super) questions: usize,
    pub(super) clusters: usize,
    pub(super) rule: Rule,
}

/// The cheapest system not worse than any other, if one is shown to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice {
    /// No system is shown to be not worse than all others; the one that comes nearest, if any is
    /// eligible.
    None { nearest: Option<System> },
    /// This system is, but these cheaper ones are not set aside.
    Open { system: System, cheaper: Vec<System> },
    /// This system is, and no cheaper one is left.
    System(System),
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
/// margin, provided that each cheaper one is set aside. `contrast(a, b)` is the interval of `a -
/// b`.
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
    /// The cheapest system shown not worse than every other, and whether the cheaper ones are set
    /// aside. The target does not enter: what sets a cheaper system aside stays the same as it
    /// moves.
    pub(super) fn choose(&self) -> Choice {
        let eligible = self.eligible();
        let contrast = |a: usize, b: usize| {
            self.contrast(eligible[a].system, eligible[b].system)
                .map(|contrast| contrast.difference)
        };
        match choice_of(eligible.len(), self.rule.margin, &contrast) {
            Named::One(place) => Choice::System(eligible[place].system),
            Named::Open(place, cheaper) => Choice::Open {
                system: eligible[place].system,
                cheaper: cheaper.into_iter().map(|place| eligible[place].system).collect(),
            },
            Named::None => {
                let worst = |summary: &SystemSummary| {
                    self.closest_rival(summary.system).map_or(f64::MIN, |c| c.difference.lower)
                };
                let nearest = eligible.iter().max_by(|a, b| worst(a).total_cmp(&worst(b)));
                Choice::None { nearest: nearest.map(|summary| summary.system) }
            }
        }
    }

    /// The baseline without a model that a system is not shown to beat, if there is one.
    pub(super) fn floor_of(&self, system: System) -> Option<Contrast> {
        let floors =
            self.systems.iter().map(|summary| summary.system).filter(|other| other.is_floor());
        floors
            .filter_map(|floor| self.contrast(system, floor))
            .filter(|contrast| contrast.difference.lower <= 0.0)
            .min_by(|a, b| a.difference.lower.total_cmp(&b.difference.lower))
    }

    /// The most that choosing each system might cost: against the rival by whose upper bound it
    /// loses most, and in seconds over the cheapest. The one leant to, which might lose least,
    /// comes first.
    pub(super) fn regrets(&self) -> Vec<Regret> {
        let eligible = self.eligible();
        let cheapest = eligible.first().map_or(0.0, |system| self.cost(system));
        let mut regrets: Vec<Regret> = (eligible.iter())
            .map(|summary| Regret {
                system: summary.system,
                points: self
                    .closest_rival(summary.system)
                    .map_or(0.0, |c| (-c.difference.lower).max(0.0)),
                seconds: if summary.cost_known { self.cost(summary) - cheapest } else { 0.0 },
            })
            .collect();
        regrets.sort_by(|a, b| a.points.total_cmp(&b.points));
        regrets
    }

    /// Eligible systems by cost: training + index + expected queries x seconds per query, then
    /// order of display. One whose cost is not known comes last.
    pub(super) fn eligible(&self) -> Vec<&SystemSummary> {
        let mut eligible: Vec<&SystemSummary> =
            self.systems.iter().filter(|summary| summary.eligible).collect();
        eligible.sort_by(|a, b| {
            (!a.cost_known)
                .cmp(&!b.cost_known)
                .then(self.cost(a).total_cmp(&self.cost(b)))
                .then(a.system.cmp(&b.system))
        });
        eligible
    }

    pub(super) fn cost(&self, summary: &SystemSummary) -> f64 {
        summary.costs.fixed_seconds()
            + self.rule.expected_queries as f64 * summary.seconds_per_query
    }

    pub(super) fn cheaper_than(&self, system: System) -> Vec<&SystemSummary> {
        self.eligible().into_iter().take_while(|other| other.system != system).collect()
    }

    pub(super) fn best(&self) -> Option<&SystemSummary> {
        // `max_by` keeps the last of equals; reversed cost order makes that the cheapest.
        self.eligible()
            .into_iter()
            .rev()
            .max_by(|a, b| a.score.estimate.total_cmp(&b.score.estimate))
    }

    pub(super) fn summary(&self, system: System) -> Option<&SystemSummary> {
        self.systems.iter().find(|summary| summary.system == system)
    }

    /// An arm of the model that diagnosis is read within.
    pub(super) fn at(&self, arm: Arm) -> System {
        System::Setup { model: self.model, arm }
    }

    /// Trained once, so that its interval rests on what is known of the luck of training.
    pub(super) fn is_provisional(&self, system: System) -> bool {
        system.needs_adapter() && self.summary(system).is_some_and(|summary| summary.seeds < 2)
    }

    /// `a - b` within that model.
    pub(super) fn within(&self, a: Arm, b: Arm) -> Option<Contrast> {
        self.contrast(self.at(a), self.at(b))
    }

    /// `a - b`.
    pub(super) fn contrast(&self, a: System, b: System) -> Option<Contrast> {
        self.contrasts.iter().find_map(|contrast| match (contrast.a, contrast.b) {
            pair if pair == (a, b) => Some(*contrast),
            pair if pair == (b, a) => Some(contrast.reversed()),
            _ => None,
        })
    }

    /// The rival that `system` could lose most against: lowest lower bound of `system - rival`.
    pub(super) fn closest_rival(&self, system: System) -> Option<Contrast> {
        let rivals = self.eligible().into_iter().filter(|other| other.system != system);
        rivals
            .filter_map(|other| self.contrast(system, other.system))
            .min_by(|a, b| a.difference.lower.total_cmp(&b.difference.lower))
    }

    pub(super) fn all_below(&self, needed: f64) -> bool {
        let eligible = self.eligible();
        !eligible.is_empty() && eligible.iter().all(|summary| summary.score.upper < needed)
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

    /// The smallest difference these questions can show between the best system and the runner-up,
    /// clusters allowed for.
    pub(super) fn detectable_by_leaders(&self) -> f64 {
        let mut eligible = self.eligible();
        eligible.sort_by(|a, b| b.score.estimate.total_cmp(&a.score.estimate));
        let leading = match eligible[..] {
            [first, second, ..] => self.contrast(first.system, second.system),
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
    pub(super) fn support(&self, outcome: Outcome, recommended: Option<System>) -> Vec<Support> {
        let against = |a: System, b: System| {
            let contrast = self.contrast(a, b)?;
            let (difference, detectable) =
                (contrast.difference.estimate.abs(), self.detectable(&contrast));
            Some(Support { name: format!("{a} - {b}"), difference, detectable })
        };
        let to_target = |summary: &SystemSummary, target: f64| Support {
            name: format!("{} against the target", summary.system),
            difference: (summary.score.estimate - target).abs(),
            detectable: detectable_difference(
                summary.questions as f64,
                target * (1.0 - target),
                self.rule.power,
                self.rule.alpha,
            ),
        };
        let best = self.best();
        match outcome {
            Outcome::Undetermined => Vec::new(),
            Outcome::ImproveRetrieval => {
                let over_best = best.and_then(|best| against(self.at(Arm::Oracle), best.system));
                against(self.at(Arm::Oracle), self.at(Arm::Rag))
                    .into_iter()
                    .chain(over_best)
                    .collect()
            }
            Outcome::CollectData => {
                let needed = self.rule.target.unwrap_or(HALF);
                best.map(|best| to_target(best, needed)).into_iter().collect()
            }
            _ => {
                let Some(system) = recommended else { return Vec::new() };
                if let (Some(target), Some(summary)) = (self.rule.target, self.summary(system))
                    && system.is_simple()
                    && summary.score.lower >= target
                {
                    return vec![to_target(summary, target)];
                }
                let rivals = self.eligible().into_iter().filter(|other| other.system != system);
                rivals.filter_map(|other| against(system, other.system)).collect()
            }
        }
    }
}

/// "base, few-shot and rag".
pub(super) fn names(systems: &[System]) -> String {
    match systems {
        [] => String::new(),
        [one] => one.to_string(),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(System::to_string).collect();
            format!("{} and {last}", most.join(", "))
        }
    }
}
