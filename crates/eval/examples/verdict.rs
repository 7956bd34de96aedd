//! How good the decision is on real sets: questions are drawn from a comparison that measured every
//! setup on the whole test split, and what the decision says from these few is held against the whole.
//!
//!     verdict RUNS SEED COMPARISONS.json...
//!
//! Each file holds what `tunesmith compare --arms all --json` prints. For 50, 100 and 200 questions
//! (whole clusters) it prints one JSON line a set: shares of runs in which the decision agrees with
//! the whole, is undetermined, or is confident and wrong (names a system that is worse than the best
//! by more than the margin), the mean regret in points where one is named, and the regret of always
//! taking `rag`, `tuned` or `raft`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;

use serde_json::{Value, json};
use tunesmith_eval::stats::Random;
use tunesmith_eval::{Arm, Costs, DecisionInput, Gate, Measure, Rule, System, Trial, decide};

type Failure = Box<dyn Error>;

const SIZES: [usize; 3] = [50, 100, 200];

/// A comparison on the whole test split, and what it says is right.
struct Whole {
    set: String,
    measure: Measure,
    trials: Vec<Trial>,
    costs: Vec<Costs>,
    gate: Option<Gate>,
    rule: Rule,
    /// Mean score of each system that may be recommended.
    scores: BTreeMap<System, f64>,
    /// The cheapest within the margin of the best.
    right: System,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runs, seed, files @ ..] = &arguments[..] else {
        return Err("expected: verdict RUNS SEED COMPARISONS.json...".into());
    };
    let (runs, seed): (usize, u64) = (runs.parse()?, seed.parse()?);
    for file in files {
        let comparisons: Vec<Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
        for comparison in comparisons {
            let whole = Whole::read(comparison)?;
            for size in SIZES {
                println!("{}", whole.replay(size, runs, seed)?);
            }
        }
    }
    Ok(())
}

impl Whole {
    fn read(mut comparison: Value) -> Result<Self, Failure> {
        let mut take = |field: &str| comparison[field].take();
        let trials: Vec<Trial> = serde_json::from_value(take("trials"))?;
        let rule = Rule { margin: 0.05, resamples: 100, ..Rule::default() };
        let mut whole = Self {
            set: serde_json::from_value(take("set"))?,
            measure: serde_json::from_value(take("measure"))?,
            costs: serde_json::from_value(take("costs"))?,
            gate: serde_json::from_value(take("gate"))?,
            trials,
            rule,
            scores: BTreeMap::new(),
            right: Arm::Base.into(),
        };
        let decision = decide(&whole.input(&whole.trials))?;
        let mut candidates: Vec<_> = decision.systems.iter().filter(|s| s.eligible).collect();
        candidates.sort_by(|a, b| a.total_seconds.total_cmp(&b.total_seconds));
        let best = candidates.iter().map(|s| s.score.estimate).fold(0.0, f64::max);
        let right = candidates.iter().find(|s| s.score.estimate >= best - whole.rule.margin);
        whole.right = right.ok_or("no system may be recommended")?.system;
        whole.scores = candidates.iter().map(|s| (s.system, s.score.estimate)).collect();
        Ok(whole)
    }

    fn input(&self, trials: &[Trial]) -> DecisionInput {
        DecisionInput {
            set: self.set.clone(),
            measure: self.measure,
            trials: trials.to_vec(),
            costs: self.costs.clone(),
            rule: self.rule.clone(),
            gate: self.gate.clone(),
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

    /// Points lost against the best system.
    fn regret(&self, system: System) -> Option<f64> {
        let best = self.scores.values().copied().fold(0.0, f64::max);
        self.scores.get(&system).map(|score| 100.0 * (best - score))
    }

    fn replay(&self, size: usize, runs: usize, seed: u64) -> Result<Value, Failure> {
        let mut random = Random::new(seed);
        let clusters: Vec<&str> = {
            let names: BTreeSet<&str> = self.trials.iter().map(|t| t.cluster.as_str()).collect();
            names.into_iter().collect()
        };
        let mut questions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for trial in &self.trials {
            questions.entry(&trial.cluster).or_default().insert(&trial.qid);
        }
        let (mut agrees, mut wrong, mut open, mut regret, mut named) = (0, 0, 0, 0.0, 0);
        let mut power = 0.0;
        for _ in 0..runs {
            let mut order = clusters.clone();
            let mut drawn: BTreeSet<&str> = BTreeSet::new();
            let mut count = 0;
            while count < size && !order.is_empty() {
                let cluster = order.swap_remove(random.below(order.len()));
                count += questions[cluster].len();
                drawn.insert(cluster);
            }
            let trials: Vec<Trial> = (self.trials.iter())
                .filter(|trial| drawn.contains(trial.cluster.as_str()))
                .cloned()
                .collect();
            let decision = decide(&self.input(&trials))?;
            power += decision.power.unwrap_or_default();
            match decision.recommended.and_then(|system| Some((system, self.regret(system)?))) {
                None => open += 1,
                Some((system, lost)) => {
                    named += 1;
                    regret += lost;
                    agrees += usize::from(system == self.right);
                    wrong += usize::from(lost > 100.0 * self.rule.margin);
                }
            }
        }
        let share = |count: usize| round(count as f64 / runs as f64);
        let always: BTreeMap<&str, f64> = [Arm::Rag, Arm::Tuned, Arm::Raft]
            .into_iter()
            .filter_map(|arm| Some((arm.as_str(), round(self.regret(arm.into())?))))
            .collect();
        Ok(json!({
            "set": self.set,
            "questions": size,
            "of": questions.values().map(BTreeSet::len).sum::<usize>(),
            "right": self.right,
            "agreement": share(agrees),
            "undetermined": share(open),
            "confident_wrong": share(wrong),
            "regret": round(regret / named.max(1) as f64),
            "always": always,
            "power_of_1.5_margins": round(power / runs as f64),
            "runs": runs,
            "seed": seed,
        }))
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
