//! What more questions or more training seeds would settle, by running the rule on simulated
//! measurements of the systems at hand.
//!
//! Measurements are drawn as means that vary together as those at hand do (questions, clusters) and
//! apart by the luck of training; the rule of [`choose`](super::case::Case::choose) is applied to
//! each draw. So the power stated is that of the rule, with all its comparisons, and not that of
//! one test.

use super::case::{Case, Named, choice_of};
use super::rule::Verdict;
use crate::stats::{Interval, Joint, Luck, Random, student_quantile};
use crate::{Rule, System};

/// Draws for each figure: a power of 80 % is known to two points.
const DRAWS: usize = 400;

/// More than so many times the questions at hand are not proposed.
const MOST: f64 = 64.0;

/// A candidate as the simulation sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) system: System,
    /// Training seeds measured; 0 where nothing is trained.
    pub(super) seeds: usize,
    /// Deviation over seeds as measured and moderated by what is known; 0 where nothing is trained.
    pub(super) luck: f64,
}

/// The systems at hand: candidates in order of cost, and how their means vary.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prospect {
    pub(super) candidates: Vec<Candidate>,
    pub(super) joint: Joint,
}

/// What would settle an open choice.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Outlook {
    /// Questions beyond those at hand.
    pub(super) more_questions: Option<usize>,
    /// Training seeds of each fine-tuned system, on the questions at hand.
    pub(super) seeds: Option<usize>,
}

impl Outlook {
    /// Nothing where the decision does not wait for more evidence.
    pub(super) fn of(case: &Case<'_>, verdict: &Verdict, prospect: Option<&Prospect>) -> Self {
        let Some(prospect) = prospect.filter(|_| verdict.is_short_of_evidence()) else {
            return Self::default();
        };
        // Where the questions at hand would do but are fewer than the rule asks for, these are what
        // is missing.
        let short = case.rule.min_questions.saturating_sub(case.questions);
        let more = prospect.more_questions(&case.rule).map(|more| more.max(short));
        Self {
            more_questions: more.filter(|more| *more > 0),
            seeds: prospect.seeds_needed(&case.rule).filter(|_| short == 0),
        }
    }
}

/// A measurement that might be made: so many times the questions, and at least so many seeds.
#[derive(Debug, Clone, Copy)]
struct Effort {
    factor: f64,
    seeds: usize,
}

impl Prospect {
    /// Chance that the rule names a candidate if the true scores are those measured.
    fn decides(&self, effort: Effort, rule: &Rule) -> f64 {
        self.named(&self.joint.means, effort, rule).iter().sum()
    }

    /// For each candidate, the chance that it is named if the true scores are `means`.
    fn named(&self, means: &[f64], effort: Effort, rule: &Rule) -> Vec<f64> {
        let mut random = Random::new(rule.seed);
        let lower = self.joint.cholesky();
        let size = means.len();
        let shrink = effort.factor.sqrt().recip();
        let luck: Vec<f64> =
            self.candidates.iter().map(|candidate| effort.luck(candidate)).collect();
        let half = self.half_widths(&luck, effort, rule);
        let mut named = vec![0usize; size];
        for _ in 0..DRAWS {
            let independent: Vec<f64> = (0..size).map(|_| random.normal()).collect();
            let draw: Vec<f64> = (0..size)
                .map(|i| {
                    let common: f64 = (0..=i).map(|k| lower[i][k] * independent[k]).sum();
                    means[i] + shrink * common + luck[i] * random.normal()
                })
                .collect();
            let contrast = |a: usize, b: usize| {
                let estimate = draw[a] - draw[b];
                let (lower, upper) = (estimate - half[a][b], estimate + half[a][b]);
                Some(Interval { estimate, lower, upper })
            };
            if let Named::One(place) = choice_of(size, rule.margin, &contrast) {
                named[place] += 1;
            }
        }
        named.into_iter().map(|count| count as f64 / DRAWS as f64).collect()
    }

    /// Half the width of the interval of each difference, `[a][b]`, as the paired test would give
    /// it for so much effort.
    fn half_widths(&self, luck: &[f64], effort: Effort, rule: &Rule) -> Vec<Vec<f64>> {
        let c = &self.joint.covariance;
        let floor = 1.0 / (self.joint.questions * self.joint.clusters) as f64;
        let freedom = (self.joint.clusters as f64 - 1.0).max(1.0) * effort.factor;
        let half = |a: usize, b: usize| {
            let questions = (c[a][a] + c[b][b] - 2.0 * c[a][b]).max(floor) / effort.factor;
            let parts = [a, b].map(|i| luck[i] * luck[i]);
            let variance = questions + parts.iter().sum::<f64>();
            let fourth = questions * questions / freedom
                + parts.iter().map(|v| v * v / Luck::KNOWN.freedom).sum::<f64>();
            let freedom = (variance * variance / fourth).min(freedom).max(1.0);
            student_quantile(1.0 - rule.alpha / 2.0, freedom) * variance.sqrt()
        };
        let places = 0..luck.len();
        places.clone().map(|a| places.clone().map(|b| half(a, b)).collect()).collect()
    }

    /// Questions beyond those at hand with which the rule decides at the rule's power, if the true
    /// scores are those measured; `None` where none within reason would do, 0 where those at hand
    /// should.
    pub(super) fn more_questions(&self, rule: &Rule) -> Option<usize> {
        let decides = |factor: f64| self.decides(Effort { factor, seeds: 0 }, rule) >= rule.power;
        let mut high = 1.0;
        while !decides(high) {
            high *= 2.0;
            if high > MOST {
                return None;
            }
        }
        if high <= 1.0 {
            return Some(0);
        }
        let mut low = high / 2.0;
        for _ in 0..5 {
            let middle = 0.5 * (low + high);
            if decides(middle) { high = middle } else { low = middle }
        }
        Some(((high - 1.0) * self.joint.questions as f64).ceil() as usize)
    }

    /// Training seeds of each fine-tuned system with which the rule decides on the questions at
    /// hand; `None` where ten would not do, or nothing is trained.
    pub(super) fn seeds_needed(&self, rule: &Rule) -> Option<usize> {
        let most = self.candidates.iter().map(|candidate| candidate.seeds).max()?;
        let tried = [3, 5, 10].into_iter().filter(|seeds| most > 0 && *seeds > most);
        tried.into_iter().find(|seeds| {
            let effort = Effort { factor: 1.0, seeds: *seeds };
            self.decides(effort, rule) >= rule.power
        })
    }

    /// Chance that the dearest candidate would be named if it led all others by `lead`, the others
    /// being alike.
    pub(super) fn power_of_lead(&self, lead: f64, rule: &Rule) -> Option<f64> {
        let last = self.candidates.len().checked_sub(1).filter(|last| *last > 0)?;
        let mut means = vec![0.0; self.candidates.len()];
        means[last] = lead;
        Some(self.named(&means, Effort { factor: 1.0, seeds: 0 }, rule)[last])
    }
}

impl Effort {
    /// Standard deviation of a candidate's mean over its seeds.
    fn luck(&self, candidate: &Candidate) -> f64 {
        match candidate.seeds {
            0 => 0.0,
            seeds => candidate.luck / (seeds.max(self.seeds) as f64).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;

    /// Systems that answer `questions` independently, right with these chances; the last is trained
    /// with so many seeds.
    fn prospect(chances: &[f64], questions: usize, seeds: usize) -> Prospect {
        let mut random = Random::new(4);
        let names: Vec<String> = (0..questions).map(|index| format!("q{index}")).collect();
        let rows: Vec<_> = names
            .iter()
            .map(|name| {
                let right = |chance: &f64| f64::from(u8::from(random.unit() < *chance));
                (name.as_str(), chances.iter().map(right).collect())
            })
            .collect();
        let systems = [Arm::Base, Arm::Rag, Arm::Raft];
        let last = chances.len() - 1;
        let candidates = (0..chances.len())
            .map(|place| Candidate {
                system: systems[place].into(),
                seeds: if place == last { seeds } else { 0 },
                luck: if place == last { 0.05 } else { 0.0 },
            })
            .collect();
        Prospect { candidates, joint: Joint::new(&rows).unwrap() }
    }

    #[test]
    fn a_clear_lead_needs_nothing_more() {
        let rule = Rule { margin: 0.1, ..Rule::default() };
        assert_eq!(prospect(&[0.1, 0.3, 0.9], 300, 3).more_questions(&rule), Some(0));
    }

    #[test]
    fn few_questions_ask_for_more_and_the_number_is_enough() {
        let rule = Rule { margin: 0.1, ..Rule::default() };
        let few = prospect(&[0.4, 0.55], 40, 0);
        let more = few.more_questions(&rule).unwrap();
        assert!((20..1500).contains(&more), "{more}");
        let factor = (40 + more) as f64 / 40.0;
        assert!(few.decides(Effort { factor, seeds: 0 }, &rule) >= rule.power - 0.03);
        assert!(few.decides(Effort { factor: 1.0, seeds: 0 }, &rule) < rule.power);
    }

    #[test]
    fn what_only_luck_keeps_open_is_settled_by_seeds() {
        let rule = Rule { margin: 0.1, ..Rule::default() };
        let open = prospect(&[0.3, 0.4, 0.53], 4000, 1);
        assert!(open.decides(Effort { factor: 1.0, seeds: 0 }, &rule) < rule.power);
        assert!(open.seeds_needed(&rule).is_some());
        assert_eq!(prospect(&[0.3, 0.53], 4000, 0).seeds_needed(&rule), None);
    }

    #[test]
    fn the_power_of_a_lead_grows_with_it() {
        let rule = Rule { margin: 0.1, ..Rule::default() };
        let systems = prospect(&[0.5, 0.5, 0.5], 200, 3);
        let power = |lead| systems.power_of_lead(lead, &rule).unwrap();
        assert!(power(0.05) < power(0.12) && power(0.12) < power(0.2), "{}", power(0.12));
        assert!(power(0.25) > 0.9);
    }
}
