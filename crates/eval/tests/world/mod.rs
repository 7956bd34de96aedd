//! A simulated world whose right decision is known: three dials say what the questions need, and
//! each arm brings some of it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tunesmith_eval::stats::Random;
use tunesmith_eval::{Arm, Costs, DecisionInput, Measure, Rule, Trial};

/// The dials. All shares are in 0..=1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub questions: usize,
    /// Questions per source document.
    pub per_document: usize,
    /// Share of questions whose answer stands only in the documents.
    pub facts: f64,
    /// Share of questions that need a rule which only the pairs teach.
    pub hidden_rule: f64,
    /// Share of questions whose words don't lead to their document.
    pub lexical_gap: f64,
    /// Share of questions that nobody can answer (wrong labels, missing documents).
    pub defects: f64,
    /// Chance that examples in the prompt convey the rule.
    pub shown_by_examples: f64,
    /// Chance of a right answer when everything needed is there.
    pub skill: f64,
    pub seeds: u64,
    pub seed: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            questions: 200,
            per_document: 4,
            facts: 0.0,
            hidden_rule: 0.0,
            lexical_gap: 0.1,
            defects: 0.0,
            shown_by_examples: 0.1,
            skill: 0.9,
            seeds: 3,
            seed: 1,
        }
    }
}

/// The chance of a right answer without what the question needs.
const GUESS: f64 = 0.03;

impl World {
    /// Trials of the given arms. Arms that differ in nothing the question needs mostly agree, as
    /// real ones do.
    pub(crate) fn trials(&self, arms: &[Arm]) -> Vec<Trial> {
        let mut random = Random::new(self.seed);
        let mut trials = Vec::new();
        for index in 0..self.questions {
            let needs_fact = random.unit() < self.facts;
            let needs_rule = random.unit() < self.hidden_rule;
            let found = random.unit() >= self.lexical_gap;
            let defect = random.unit() < self.defects;
            let shown = random.unit() < self.shown_by_examples;
            let (shared, lucky) = (random.unit(), random.unit());
            for &arm in arms {
                let seeds = if arm.needs_adapter() { self.seeds } else { 1 };
                for seed in 0..seeds {
                    let has_fact = arm.uses_gold() || (arm.uses_retrieval() && found);
                    // Weights tuned without passages have learnt to overlook them.
                    let has_fact = has_fact && (arm != Arm::TunedRag || random.unit() < 0.5);
                    let has_rule = arm.needs_adapter() || (arm.uses_examples() && shown);
                    let able = !arm.is_floor()
                        && !defect
                        && (!needs_fact || has_fact)
                        && (!needs_rule || has_rule);
                    let own = random.unit() < 0.2;
                    let draw = match (own, able) {
                        (true, _) => random.unit(),
                        (false, true) => shared,
                        (false, false) => lucky,
                    };
                    let right = draw < if able { self.skill } else { GUESS };
                    trials.push(Trial {
                        qid: format!("q{index:04}"),
                        cluster: format!("d{:04}", index / self.per_document),
                        seed,
                        score: Some(f64::from(u8::from(right))),
                        lenient: right,
                        evidence_retrieved: (arm.uses_retrieval() && needs_fact)
                            .then_some(found || arm.uses_gold()),
                        prompt_tokens: if arm.uses_passages() { 400 } else { 40 },
                        completion_tokens: 10,
                        latency_seconds: seconds(arm),
                        first_token_seconds: seconds(arm) / 2.0,
                        ..Trial::new(arm)
                    });
                }
            }
        }
        trials
    }

    pub(crate) fn input(&self, arms: &[Arm], rule: Rule) -> DecisionInput {
        input(self.trials(arms), rule)
    }
}

pub(crate) fn input(trials: Vec<Trial>, rule: Rule) -> DecisionInput {
    DecisionInput {
        set: "world".into(),
        measure: Measure::ExactMatch,
        trials,
        costs: Arm::ALL.map(costs).to_vec(),
        rule,
        gate: None,
        curve: Vec::new(),
        retrieval: Vec::new(),
        openings: Vec::new(),
        left_out: 0,
        looks: Default::default(),
        untried: Default::default(),
        pair_faults: Vec::new(),
        pruned: Vec::new(),
        slices: Default::default(),
    }
}

pub(crate) fn seconds(arm: Arm) -> f64 {
    match arm {
        Arm::Base | Arm::Tuned => 0.1,
        Arm::FewShot => 0.15,
        _ => 0.25,
    }
}

fn costs(arm: Arm) -> Costs {
    Costs {
        training_seconds: if arm.needs_adapter() { 600.0 } else { 0.0 },
        index_seconds: if arm.uses_retrieval() { 20.0 } else { 0.0 },
        ..Costs::new(arm)
    }
}

/// A rule that needs little time to judge.
pub(crate) fn quick(margin: f64, target: Option<f64>) -> Rule {
    Rule { margin, target, resamples: 400, ..Rule::default() }
}
