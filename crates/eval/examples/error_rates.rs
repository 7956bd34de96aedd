//! How often the decision is right, wrong or open, on simulated measurements whose truth is known.
//!
//!     error_rates [RUNS] [SEED]
//!
//! Prints one JSON line a row: `row` (kind/cell), `measured` (a share of all runs), `target`, `ratio`
//! (1 and above: it holds), `runs`, `seed`. Scores are right or wrong by a latent normal number: a
//! question's difficulty is shared by all systems, the rest is its cluster's and the trial's own; a
//! training seed moves a system's true score by the luck of training. Every run goes through
//! [`decide`], as a user's trials do.

use std::error::Error;

use serde_json::json;
use tunesmith_eval::stats::{Random, normal_quantile};
use tunesmith_eval::{
    Arm, Costs, Decision, DecisionInput, Measure, Name, Rule, System, Trial, decide, prune,
};

type Failure = Box<dyn Error>;

/// Share of a latent score's variance that all systems have in common.
const SHARED: f64 = 0.6;

/// The margin of every rule.
const MARGIN: f64 = 0.1;

/// Questions, the clusters they fall into, and how much trials of a cluster have in common.
#[derive(Debug, Clone, Copy)]
struct Design {
    questions: usize,
    clusters: usize,
    correlation: f64,
}

/// A system of the simulated world; cost rises from one to the next.
#[derive(Debug, Clone, Copy)]
struct Simulated {
    system: System,
    /// Its true score, the mean over all seeds.
    score: f64,
    /// Training seeds; 0 for what is not trained.
    seeds: usize,
    /// Answers to the hardest fifth of the questions are missing.
    lacks_hard: bool,
}

/// What is simulated again and again.
struct World {
    design: Design,
    systems: Vec<Simulated>,
    /// Standard deviation of a system's true score over training seeds.
    luck: f64,
}

const DESIGNS: [Design; 5] = [
    Design { questions: 200, clusters: 200, correlation: 0.0 },
    Design { questions: 200, clusters: 10, correlation: 0.3 },
    Design { questions: 200, clusters: 5, correlation: 0.3 },
    Design { questions: 500, clusters: 50, correlation: 0.3 },
    Design { questions: 1000, clusters: 1000, correlation: 0.0 },
];

/// Arms without training, diagnostic ones and a baseline among them: ten contrasts.
const UNTRAINED: [Arm; 6] =
    [Arm::Base, Arm::FewShot, Arm::Rag, Arm::Oracle, Arm::OracleDistractors, Arm::NearestAnswer];
/// Six candidates, half of them trained: fifteen contrasts.
const HALF_TRAINED: [Arm; 6] =
    [Arm::Base, Arm::FewShot, Arm::Rag, Arm::Tuned, Arm::TunedRag, Arm::Raft];

/// A target that a share must reach, or stay at or below.
#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    /// How far the measured share is on the right side of it: 1 and above holds.
    fn ratio(self, measured: f64) -> f64 {
        match self {
            Self::AtLeast(target) => measured / target,
            Self::AtMost(target) => (target / measured.max(1e-9)).min(99.0),
        }
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let runs = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(7), |text| text.parse())?;
    let bench = Bench { runs, seed };
    for design in DESIGNS {
        bench.false_differences(design)?;
        bench.coverage(design)?;
        bench.harm(design)?;
    }
    for design in [DESIGNS[3], DESIGNS[4]] {
        bench.dearer(design)?;
    }
    bench.power(DESIGNS[0])?;
    bench.seeds_and_power()?;
    bench.missing()?;
    bench.twelve()?;
    Ok(())
}

struct Bench {
    runs: usize,
    seed: u64,
}

impl Bench {
    /// Decides every run of a world and gives the sum over runs of what `count` makes of each.
    fn sum(&self, world: &World, count: impl Fn(&Decision) -> f64) -> Result<f64, Failure> {
        let mut random = Random::new(self.seed);
        let mut total = 0.0;
        for _ in 0..self.runs {
            total += count(&decide(&world.input(&mut random))?);
        }
        Ok(total / self.runs as f64)
    }

    fn row(&self, kind: &str, cell: &str, measured: f64, target: Target) {
        let (Target::AtLeast(bound) | Target::AtMost(bound)) = target;
        let row = json!({
            "row": format!("{kind}/{cell}"),
            "measured": (measured * 1e4).round() / 1e4,
            "target": bound,
            "at_most": matches!(target, Target::AtMost(_)),
            "ratio": (target.ratio(measured) * 1e3).round() / 1e3,
            "runs": self.runs,
            "seed": self.seed,
        });
        println!("{row}");
    }

    /// Six identical systems, untrained or half of them trained with three seeds: some difference is
    /// claimed after Holm.
    fn false_differences(&self, design: Design) -> Result<(), Failure> {
        for (name, arms) in [("untrained", UNTRAINED), ("half-trained", HALF_TRAINED)] {
            for score in [0.5, 0.8] {
                let system = |arm: Arm| match arm.needs_adapter() {
                    true => Simulated::trained(arm, score, 3),
                    false => Simulated::untrained(arm, score),
                };
                let (systems, luck) = (arms.map(system).to_vec(), 0.02);
                let world = World { design, systems, luck };
                let share = self.sum(&world, |decision| {
                    share(decision.contrasts.iter().any(|contrast| contrast.p_holm < 0.05))
                })?;
                let cell = format!("{}-{name}-{score}", design.name());
                self.row("false-difference", &cell, share, Target::AtMost(0.05));
            }
        }
        Ok(())
    }

    /// Intervals of differences hold the true one: untrained systems, and a trained one with one and
    /// three seeds whose luck is five points.
    fn coverage(&self, design: Design) -> Result<(), Failure> {
        for (name, seeds, least) in
            [("untrained", 0, 0.94), ("1-seed", 1, 0.93), ("3-seeds", 3, 0.93)]
        {
            let second = match seeds {
                0 => Simulated::untrained(Arm::Rag, 0.6),
                seeds => Simulated::trained(Arm::Tuned, 0.6, seeds),
            };
            let systems = vec![Simulated::untrained(Arm::Base, 0.5), second];
            let world = World { design, systems, luck: 0.05 };
            let share = self.sum(&world, |decision| {
                let contrast = decision.contrast(second.system, Arm::Base);
                share(contrast.is_some_and(|contrast| contrast.difference.contains(0.1)))
            })?;
            let cell = format!("{}-{name}", design.name());
            self.row("coverage", &cell, share, Target::AtLeast(least));
        }
        Ok(())
    }

    /// Four systems, one of them better than the others by the margin, which luck of five points may
    /// hide with one seed: a system that is worse by the margin is named.
    fn harm(&self, design: Design) -> Result<(), Failure> {
        let systems = vec![
            Simulated::untrained(Arm::Base, 0.5),
            Simulated::untrained(Arm::Rag, 0.6 + 1e-6),
            Simulated::trained(Arm::Tuned, 0.5, 1),
            Simulated::trained(Arm::Raft, 0.5, 1),
        ];
        let world = World { design, systems, luck: 0.05 };
        let named = self.sum(&world, |decision| {
            share(decision.recommended.is_some_and(|system| !system.is(Arm::Rag)))
        })?;
        self.row("harm", &format!("{}-four-1-seed", design.name()), named, Target::AtMost(0.025));
        // Two that were trained once: the luck of both hides which is better.
        let systems = vec![
            Simulated::trained(Arm::Tuned, 0.5, 1),
            Simulated::trained(Arm::Raft, 0.6 + 1e-6, 1),
        ];
        let world = World { design, systems, luck: 0.05 };
        let named = self.sum(&world, |decision| {
            share(decision.recommended.is_some_and(|system| system.is(Arm::Tuned)))
        })?;
        let cell = format!("{}-two-trained-once", design.name());
        self.row("harm", &cell, named, Target::AtMost(0.025));
        Ok(())
    }

    /// Twelve systems of four models, nine of them hopeless: dropped on 100 dev questions they cost
    /// none of the power that the other three have among themselves.
    fn twelve(&self) -> Result<(), Failure> {
        let design = DESIGNS[0];
        let dev = Design { questions: 100, clusters: 100, correlation: 0.0 };
        let few = three(design, 1.5, 3);
        let mut many = three(design, 1.5, 3);
        for model in ["one", "two", "three"] {
            let model = Some(Name::new(model)?);
            for arm in [Arm::Base, Arm::FewShot, Arm::Rag] {
                many.systems.push(Simulated::untrained(System::Setup { model, arm }, 0.1));
            }
        }
        let raft = |decision: &Decision| share(decision.recommended == Some(Arm::Raft.into()));
        let alone = self.sum(&few, raft)?;
        let mut random = Random::new(self.seed);
        let (mut named, mut lost) = (0.0, 0.0);
        for _ in 0..self.runs {
            let on_dev = World { design: dev, systems: many.systems.clone(), luck: many.luck };
            let gone: Vec<System> = prune(&on_dev.trials(&mut random), MARGIN, 0.05)?
                .iter()
                .map(|pruned| pruned.system)
                .collect();
            lost += share(few.systems.iter().any(|s| s.seeds > 0 && gone.contains(&s.system)));
            let mut input = many.input(&mut random);
            input.trials.retain(|trial| !gone.contains(&trial.system));
            named += raft(&decide(&input)?);
        }
        let runs = self.runs as f64;
        // Two points of slack: both are shares of the same number of runs.
        self.row("power", "twelve-pruned-on-dev", named / runs + 0.02, Target::AtLeast(alone));
        self.row("harm", "best-pruned-on-dev", lost / runs, Target::AtMost(0.025));
        Ok(())
    }

    /// A dearer system leads by less than the margin, which is not worth its price.
    fn dearer(&self, design: Design) -> Result<(), Failure> {
        for (lead, most) in [(0.5, 0.08), (0.8, 0.30)] {
            let named = self.sum(&three(design, lead, 3), |decision| {
                share(decision.recommended == Some(Arm::Raft.into()))
            })?;
            let cell = format!("{}-lead-{lead}", design.name());
            self.row("dearer", &cell, named, Target::AtMost(most));
        }
        Ok(())
    }

    /// A dearer system leads by more than the margin: it is named.
    fn power(&self, design: Design) -> Result<(), Failure> {
        for (lead, least) in [(1.2, 0.65), (1.5, 0.90), (2.0, 0.98)] {
            let named = self.sum(&three(design, lead, 3), |decision| {
                share(decision.recommended == Some(Arm::Raft.into()))
            })?;
            let cell = format!("{}-lead-{lead}", design.name());
            self.row("power", &cell, named, Target::AtLeast(least));
        }
        Ok(())
    }

    /// More seeds never cost power: a lead of ten points on 400 questions, margin of ten.
    fn seeds_and_power(&self) -> Result<(), Failure> {
        let design = Design { questions: 400, clusters: 400, correlation: 0.0 };
        let named = |seeds| {
            self.sum(&three(design, 1.5, seeds), |decision| {
                share(decision.recommended == Some(Arm::Raft.into()))
            })
        };
        let (one, three, five) = (named(1)?, named(3)?, named(5)?);
        self.row("power", "3-seeds-against-1", three, Target::AtLeast(one));
        // Two points of slack: both are shares of the same number of runs.
        self.row("power", "5-seeds-against-3", five + 0.02, Target::AtLeast(three));
        Ok(())
    }

    /// A system that lacks the hardest fifth of the questions is compared on those that all share.
    fn missing(&self) -> Result<(), Failure> {
        let design = DESIGNS[0];
        let lacking = Simulated { lacks_hard: true, ..Simulated::untrained(Arm::Rag, 0.5) };
        let systems = vec![Simulated::untrained(Arm::Base, 0.5), lacking];
        let world = World { design, systems, luck: 0.0 };
        let share = self.sum(&world, |decision| {
            let contrast = decision.contrast(Arm::Rag, Arm::Base);
            share(contrast.is_some_and(|c| c.difference.contains(0.0) && decision.unshared > 0))
        })?;
        self.row("coverage", "lacks-the-hard-fifth", share, Target::AtLeast(0.94));
        Ok(())
    }
}

/// `base` at 30 %, `rag` at 40 % and `raft` ahead of it by so many margins.
fn three(design: Design, lead: f64, seeds: usize) -> World {
    let systems = vec![
        Simulated::untrained(Arm::Base, 0.3),
        Simulated::untrained(Arm::Rag, 0.4),
        Simulated::trained(Arm::Raft, 0.4 + lead * MARGIN, seeds),
    ];
    World { design, systems, luck: 0.02 }
}

fn share(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

impl Design {
    fn name(self) -> String {
        format!("n{}-g{}-c{}", self.questions, self.clusters, self.correlation)
    }
}

impl Simulated {
    fn untrained(system: impl Into<System>, score: f64) -> Self {
        Self { system: system.into(), score, seeds: 0, lacks_hard: false }
    }

    fn trained(system: impl Into<System>, score: f64, seeds: usize) -> Self {
        Self { seeds, ..Self::untrained(system, score) }
    }
}

impl World {
    fn input(&self, random: &mut Random) -> DecisionInput {
        let costs = self.systems.iter().enumerate().map(|(place, system)| Costs {
            // Dearer by enough that nothing measured changes the order.
            training_seconds: 1000.0 * place as f64,
            seconds_per_query: Some(0.1),
            ..Costs::new(system.system)
        });
        DecisionInput {
            set: "simulated".into(),
            measure: Measure::ExactMatch,
            trials: self.trials(random),
            costs: costs.collect(),
            rule: Rule { margin: MARGIN, resamples: 100, ..Rule::default() },
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

    fn trials(&self, random: &mut Random) -> Vec<Trial> {
        let Design { questions, clusters, correlation } = self.design;
        let difficulty: Vec<f64> = (0..questions).map(|_| random.normal()).collect();
        let hard = normal_quantile(0.8);
        let mut trials = Vec::new();
        for system in &self.systems {
            let effect: Vec<f64> = (0..clusters).map(|_| random.normal()).collect();
            for seed in 0..system.seeds.max(1) {
                let luck = if system.seeds > 0 { self.luck * random.normal() } else { 0.0 };
                let cut = normal_quantile((system.score + luck).clamp(0.001, 0.999));
                for (question, difficulty) in difficulty.iter().enumerate() {
                    let cluster = question % clusters;
                    let own = correlation.sqrt() * effect[cluster]
                        + (1.0 - correlation).sqrt() * random.normal();
                    let latent = SHARED.sqrt() * difficulty + (1.0 - SHARED).sqrt() * own;
                    let missing = system.lacks_hard && *difficulty > hard;
                    trials.push(Trial {
                        qid: format!("q{question}"),
                        cluster: format!("c{cluster}"),
                        seed: seed as u64,
                        score: (!missing).then_some(share(latent < cut)),
                        ..Trial::new(system.system)
                    });
                }
            }
        }
        trials
    }
}
