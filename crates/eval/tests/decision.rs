//! The decision tested by construction: worlds whose right answer is known, and worlds in which
//! nothing may be claimed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use tunesmith_eval::decision::{Answer, Lead, Limits, Looks, Untried};
use tunesmith_eval::gate::Condition;
use tunesmith_eval::stats::Random;
use tunesmith_eval::{
    Arm, Costs, CurvePoint, Decision, Gate, GateAnswer, GateOptions, Name, Outcome, Rule, System,
    Trial, decide, gate,
};
use world::{World, input, quick, seconds};

fn outcome(world: World, rule: Rule) -> Decision {
    decide(&world.input(&Arm::ALL, rule)).unwrap()
}

#[track_caller]
fn expect(world: World, rule: Rule, expected: Outcome) -> Decision {
    let decision = outcome(world, rule);
    assert_eq!(
        decision.outcome, expected,
        "{world:?}\n{}\n{:#?}",
        decision.sentence, decision.tree
    );
    decision
}

// ---- the dials flip the decision ----

#[test]
fn facts_that_stand_only_in_documents_need_rag() {
    for seed in 0..5 {
        let world = World { facts: 1.0, seed, ..World::default() };
        let decision = expect(world, quick(0.1, Some(0.6)), Outcome::Rag);
        assert_eq!(decision.recommended, Some(Arm::Rag.into()));
        assert!(decision.sentence.contains("meets the target"), "{}", decision.sentence);
    }
}

#[test]
fn a_hidden_rule_needs_fine_tuning() {
    for seed in 0..5 {
        expect(
            World { hidden_rule: 1.0, seed, ..World::default() },
            quick(0.1, Some(0.6)),
            Outcome::Tuned,
        );
    }
}

#[test]
fn facts_and_a_hidden_rule_need_both() {
    for seed in 0..5 {
        let world = World { facts: 1.0, hidden_rule: 1.0, seed, ..World::default() };
        expect(world, quick(0.1, Some(0.6)), Outcome::Raft);
    }
}

#[test]
fn a_target_that_is_met_needs_nothing() {
    let world = World { facts: 0.3, questions: 400, ..World::default() };
    expect(world, quick(0.1, Some(0.5)), Outcome::Base);
    // The same world with a higher target does need the documents.
    expect(world, quick(0.1, Some(0.85)), Outcome::Rag);
}

#[test]
fn examples_in_the_prompt_can_be_enough() {
    let world = World { hidden_rule: 1.0, shown_by_examples: 1.0, ..World::default() };
    expect(world, quick(0.1, Some(0.6)), Outcome::FewShot);
    expect(world, quick(0.1, None), Outcome::FewShot);
}

#[test]
fn shuffled_vectors_ask_for_better_retrieval() {
    for target in [None, Some(0.6)] {
        let world = World { facts: 1.0, lexical_gap: 0.95, ..World::default() };
        let decision = expect(world, quick(0.1, target), Outcome::ImproveRetrieval);
        assert_eq!(decision.recommended, None);
    }
}

#[test]
fn questions_nobody_can_answer_ask_for_data() {
    let world = World { facts: 1.0, defects: 0.7, ..World::default() };
    expect(world, quick(0.1, Some(0.6)), Outcome::CollectData);
}

#[test]
fn no_arm_helping_is_not_sold_as_nothing_needed() {
    let world = World { defects: 0.9, ..World::default() };
    expect(world, quick(0.1, None), Outcome::CollectData);
}

#[test]
fn a_rising_learning_curve_asks_for_data() {
    let world = World { hidden_rule: 1.0, skill: 0.5, questions: 400, ..World::default() };
    let mut input = world.input(&Arm::ALL, quick(0.08, Some(0.8)));
    // What is shown below the target is not named, with a learning curve or without.
    assert_eq!(decide(&input).unwrap().outcome, Outcome::CollectData);
    input.curve = [(100, 0.05), (200, 0.2), (400, 0.35), (800, 0.5)]
        .map(|(examples, score)| CurvePoint { examples, score, standard_error: 0.01 })
        .to_vec();
    let decision = decide(&input).unwrap();
    assert_eq!(decision.outcome, Outcome::CollectData, "{:#?}", decision.tree);
    assert!(decision.curve.is_some());
}

#[test]
fn each_dial_alone_flips_the_decision() {
    let base = World::default();
    let rule = quick(0.1, Some(0.7));
    let turned = [
        (base, Outcome::Base),
        (World { facts: 1.0, ..base }, Outcome::Rag),
        (World { hidden_rule: 1.0, ..base }, Outcome::Tuned),
        (World { facts: 1.0, hidden_rule: 1.0, ..base }, Outcome::Raft),
        (World { facts: 1.0, lexical_gap: 0.9, ..base }, Outcome::ImproveRetrieval),
    ];
    for (world, expected) in turned {
        expect(world, rule.clone(), expected);
    }
}

#[test]
fn many_queries_flip_it_by_cost() {
    // tuned and rag equally good; rag costs more per query, tuned costs training.
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.8), (Arm::Tuned, 0.8)], 600, 3);
    let at = |expected_queries| {
        let rule = Rule { expected_queries, ..quick(0.1, None) };
        decide(&input(trials.clone(), rule)).unwrap()
    };
    let (few, many) = (at(100), at(1_000_000));
    assert_eq!((few.outcome, many.outcome), (Outcome::Rag, Outcome::Tuned));
    // 600 s of training, 0.25 - 0.1 s saved per query.
    assert!((few.break_even_queries.unwrap() - 4000.0).abs() < 1e-6);
    assert!(
        few.flips.iter().any(|flip| flip.contains("queries or more") && flip.contains("tuned")),
        "{:?}",
        few.flips
    );
}

// ---- nothing is claimed that the data don't show ----

/// Independent arms with known chances, each question its own cluster; three seeds where something
/// is trained.
fn coin_flips(arms: &[(Arm, f64)], questions: usize, seed: u64) -> Vec<Trial> {
    let mut random = Random::new(seed);
    let mut trials = Vec::new();
    for index in 0..questions {
        for (arm, chance) in arms {
            for seed in 0..if arm.needs_adapter() { 3 } else { 1 } {
                trials.push(Trial {
                    qid: format!("q{index}"),
                    cluster: format!("q{index}"),
                    seed,
                    score: Some(f64::from(u8::from(random.unit() < *chance))),
                    latency_seconds: seconds(*arm),
                    ..Trial::new(*arm)
                });
            }
        }
    }
    trials
}

const CANDIDATES: [Arm; 6] =
    [Arm::Base, Arm::FewShot, Arm::Rag, Arm::Tuned, Arm::TunedRag, Arm::Raft];

#[test]
fn identical_arms_come_out_different_in_at_most_5_percent_of_runs() {
    let runs = 300;
    for (questions, chance) in [(60, 0.5), (200, 0.6), (400, 0.9)] {
        let (mut named, mut claimed) = (0, 0);
        for seed in 0..runs {
            let trials = coin_flips(&CANDIDATES.map(|arm| (arm, chance)), questions, 1000 + seed);
            let decision =
                decide(&input(trials, Rule { resamples: 200, ..quick(0.05, None) })).unwrap();
            named +=
                usize::from(!matches!(decision.outcome, Outcome::Undetermined | Outcome::Base));
            claimed +=
                usize::from(decision.contrasts.iter().any(|contrast| contrast.p_holm < 0.05));
        }
        let allowed = runs as usize / 20;
        assert!(named <= allowed, "{questions} questions: a dearer arm named in {named} of {runs}");
        assert!(
            claimed <= allowed,
            "{questions} questions: a difference claimed in {claimed} of {runs}"
        );
    }
}

#[test]
fn identical_arms_with_correlated_clusters_and_seeds_and_graded_scores() {
    // Whole documents go well or badly per arm, training seeds too; scores are graded, not
    // right/wrong.
    let runs = 200;
    let mut named = 0;
    for run in 0..runs {
        let mut random = Random::new(77 + run);
        let mut trials = Vec::new();
        for arm in [Arm::Base, Arm::Rag, Arm::Tuned] {
            for seed in 0..if arm.needs_adapter() { 3 } else { 1 } {
                let luck = if arm.needs_adapter() { 0.05 * random.normal() } else { 0.0 };
                for document in 0..25 {
                    let shared = 0.12 * random.normal();
                    for question in 0..6 {
                        let score =
                            f64::clamp(0.5 + luck + shared + 0.2 * random.normal(), 0.0, 1.0);
                        trials.push(Trial {
                            qid: format!("q{document}-{question}"),
                            cluster: format!("d{document}"),
                            seed,
                            score: Some(score),
                            latency_seconds: 0.1,
                            ..Trial::new(arm)
                        });
                    }
                }
            }
        }
        let decision = decide(&input(trials, quick(0.05, None))).unwrap();
        named += usize::from(!matches!(decision.outcome, Outcome::Undetermined | Outcome::Base));
    }
    assert!(named <= runs as usize / 20, "a dearer arm named in {named} of {runs}");
}

#[test]
fn enough_questions_show_identical_arms_to_be_alike_and_the_cheapest_wins() {
    let decision =
        decide(&input(coin_flips(&CANDIDATES.map(|arm| (arm, 0.8)), 3000, 5), quick(0.1, None)))
            .unwrap();
    assert_eq!(
        (decision.outcome, decision.recommended),
        (Outcome::Base, Some(Arm::Base.into())),
        "{}",
        decision.sentence
    );
}

#[test]
fn an_arm_worse_by_the_margin_passes_in_at_most_5_percent_of_runs() {
    let runs = 300;
    let wrong = (0..runs)
        .filter(|seed| {
            let trials = coin_flips(&[(Arm::Base, 0.6), (Arm::Rag, 0.7)], 250, 500 + seed);
            let rule = Rule { resamples: 200, ..quick(0.1, None) };
            decide(&input(trials, rule)).unwrap().outcome == Outcome::Base
        })
        .count();
    assert!(wrong <= runs as usize / 20, "{wrong} of {runs}");
}

/// A decision between five arms whose chances are drawn at random, and those chances.
fn random_truth(run: u64, questions: usize, margin: f64) -> (Decision, Vec<(Arm, f64)>) {
    let mut random = Random::new(9_000 + run);
    let truth =
        [Arm::Base, Arm::FewShot, Arm::Rag, Arm::Tuned, Arm::Raft].map(|arm| (arm, random.unit()));
    let rule = Rule { resamples: 200, ..quick(margin, None) };
    (decide(&input(coin_flips(&truth, questions, run), rule)).unwrap(), truth.to_vec())
}

/// The arm named is worse than the best by more than the margin, or a cheaper one is at least as
/// good.
fn is_wrong(decision: &Decision, truth: &[(Arm, f64)], margin: f64) -> bool {
    let Some(arm) = decision.recommended else { return false };
    let of = |arm: System| truth.iter().find(|(other, _)| arm.is(*other)).unwrap().1;
    let best = truth.iter().map(|(_, chance)| *chance).fold(0.0, f64::max);
    let cost = |arm: System| decision.system(arm).unwrap().total_seconds;
    let beaten =
        truth.iter().any(|(other, chance)| cost((*other).into()) < cost(arm) && *chance >= of(arm));
    of(arm) < best - margin || beaten
}

#[test]
fn confident_and_wrong_is_rare_whatever_the_truth() {
    let runs = 300;
    let decided: Vec<_> = (0..runs)
        .map(|run| random_truth(run, 150, 0.1))
        .filter(|(d, _)| d.recommended.is_some())
        .collect();
    let wrong = decided.iter().filter(|(decision, truth)| is_wrong(decision, truth, 0.1)).count();
    assert!(decided.len() > runs as usize / 2, "only {} of {runs} decided", decided.len());
    assert!(wrong * 20 <= decided.len(), "{wrong} of {} wrong", decided.len());
}

#[test]
fn thirty_questions_are_undetermined() {
    for seed in 0..20 {
        let trials = coin_flips(&[(Arm::Base, 0.5), (Arm::Rag, 0.7), (Arm::Tuned, 0.6)], 30, seed);
        let decision = decide(&input(trials, quick(0.05, Some(0.6)))).unwrap();
        assert!(decision.exploratory);
        assert_eq!(decision.outcome, Outcome::Undetermined, "{}", decision.sentence);
        assert!(decision.warnings.iter().any(|warning| warning.contains("Exploratory")));
    }
}

#[test]
fn thirty_questions_decide_what_is_beyond_doubt() {
    let trials = coin_flips(&[(Arm::Base, 0.02), (Arm::Rag, 0.98)], 30, 1);
    let decision = decide(&input(trials, quick(0.1, None))).unwrap();
    assert_eq!(decision.outcome, Outcome::Rag, "{}", decision.sentence);
    assert!(decision.exploratory);
}

#[test]
fn questions_from_few_documents_are_exploratory() {
    let world = World { questions: 120, per_document: 40, facts: 1.0, ..World::default() };
    assert!(outcome(world, quick(0.1, None)).exploratory);
}

#[test]
fn what_is_open_says_how_many_more_questions() {
    let mut found = 0;
    for seed in 0..10 {
        let trials = coin_flips(&[(Arm::Base, 0.50), (Arm::Rag, 0.58)], 100, seed);
        let decision = decide(&input(trials, quick(0.05, None))).unwrap();
        if decision.outcome == Outcome::Undetermined {
            found += usize::from(decision.more_questions_needed.is_some_and(|more| more > 50));
            assert!(decision.detectable_difference > 0.1);
        }
    }
    assert!(found >= 5, "{found}");
}

// ---- single parts of the rule ----

#[test]
fn graders_that_fail_often_leave_it_undetermined() {
    let mut trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.9)], 200, 1);
    let decision = decide(&input(trials.clone(), quick(0.1, None))).unwrap();
    assert_eq!(decision.outcome, Outcome::Rag);
    for trial in trials.iter_mut().filter(|trial| trial.system.is(Arm::Rag)).take(30) {
        trial.score = None;
    }
    let decision = decide(&input(trials, quick(0.1, None))).unwrap();
    assert_eq!(decision.outcome, Outcome::Undetermined);
    assert!(
        !decision.tree.iter().find(|node| node.id == "graders").unwrap().measurement.is_empty()
    );
    // Missing is not zero: the score is that of the graded questions.
    assert!(decision.system(Arm::Rag).unwrap().score.estimate > 0.8);
}

#[test]
fn one_arm_alone_decides_nothing() {
    let decision =
        decide(&input(coin_flips(&[(Arm::Rag, 0.9)], 200, 1), quick(0.1, Some(0.5)))).unwrap();
    assert_eq!(decision.outcome, Outcome::Undetermined, "{}", decision.sentence);
}

#[test]
fn hard_limits_exclude_arms() {
    let few_queries = || Rule { expected_queries: 100, ..quick(0.1, None) };
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.9), (Arm::Tuned, 0.9)], 1000, 1);
    let free = decide(&input(trials.clone(), few_queries())).unwrap();
    assert_eq!(free.outcome, Outcome::Rag);
    let slow = |trial: &Trial| Trial { latency_seconds: 3.0, ..trial.clone() };
    let slowed: Vec<_> =
        trials.iter().map(|t| if t.system.is(Arm::Rag) { slow(t) } else { t.clone() }).collect();
    let limits = Limits { p95_latency_seconds: Some(1.0), ..Limits::default() };
    let limited = decide(&input(slowed, Rule { limits, ..few_queries() })).unwrap();
    assert_eq!(limited.outcome, Outcome::Tuned);
    assert!(!limited.system(Arm::Rag).unwrap().eligible);
    let limits = Limits { citations: true, ..Limits::default() };
    let cited = decide(&input(trials.clone(), Rule { limits, ..few_queries() })).unwrap();
    assert_eq!(cited.recommended, Some(Arm::Rag.into()));
    let limits = Limits { memory_bytes: Some(1), ..Limits::default() };
    let none = decide(&input(trials, Rule { limits, ..few_queries() })).unwrap();
    assert_eq!(none.outcome, Outcome::Undetermined);
}

#[test]
fn an_open_gate_asks_for_the_fine_tuned_arms() {
    let cheap = [Arm::Base, Arm::FewShot, Arm::Rag, Arm::Oracle];
    let world = World { facts: 1.0, hidden_rule: 0.6, ..World::default() };
    let rule = quick(0.1, Some(0.7));
    let options = GateOptions { margin: 0.1, target: Some(0.7), ..GateOptions::default() };
    let dev = World { seed: 99, lexical_gap: 0.0, ..world };
    let open: Gate = gate(&dev.trials(&cheap), &options).unwrap().unwrap();
    assert!(open.open, "{open:?}");
    let mut input = World { lexical_gap: 0.0, ..world }.input(&cheap, rule);
    input.gate = Some(open.clone());
    let asked = decide(&input).unwrap();
    assert_eq!(asked.outcome, Outcome::Undetermined);
    assert!(asked.sentence.contains("fine-tuning due"), "{}", asked.sentence);
    // Without a reading of the gate the arms still fall short, so fine-tuning is due all the same.
    input.gate = None;
    assert_eq!(decide(&input).unwrap().outcome, Outcome::Undetermined);
    // A shut gate is no reason to give up while the target is missed and the cure was not tried.
    let conditions = open.conditions.into_iter().map(|condition| Condition {
        holds: false,
        answer: Some(GateAnswer::No),
        ..condition
    });
    input.gate = Some(Gate { open: false, conditions: conditions.collect(), ..open });
    assert_eq!(decide(&input).unwrap().outcome, Outcome::Undetermined);
    // Where the target is met, it closes the question.
    input.rule.target = Some(0.3);
    assert_eq!(decide(&input).unwrap().outcome, Outcome::Rag);
}

#[test]
fn as_the_target_moves_up_no_outcome_comes_back() {
    for run in 0..25 {
        let mut random = Random::new(4_000 + run);
        let truth = CANDIDATES.map(|arm| (arm, random.unit()));
        let questions = 50 + random.below(200);
        let trials = coin_flips(&truth, questions, run);
        let mut seen = Vec::new();
        for points in 1..=100 {
            let rule = quick(0.1, Some(f64::from(points) / 100.0));
            let decision = decide(&input(trials.clone(), rule)).unwrap();
            let label = (decision.outcome, decision.recommended);
            if seen.last() != Some(&label) {
                assert!(!seen.contains(&label), "run {run}: {label:?} comes back after {seen:?}");
                seen.push(label);
            }
        }
    }
}

#[test]
fn luck_of_one_seed_is_no_reason_to_fine_tune() {
    // Eleven points ahead on 2,000 questions: sure of the questions, not of the next training.
    let ahead = |seeds: u64| {
        let mut trials =
            coin_flips(&[(Arm::Base, 0.2), (Arm::Rag, 0.5), (Arm::Tuned, 0.62)], 2000, 3);
        trials.retain(|trial| trial.seed < seeds);
        // So few queries that training is dearer than retrieval.
        decide(&input(trials, Rule { expected_queries: 100, ..quick(0.1, None) })).unwrap()
    };
    assert_eq!(ahead(1).outcome, Outcome::Undetermined, "{}", ahead(1).sentence);
    let three = ahead(3);
    assert_eq!(three.recommended, Some(Arm::Tuned.into()), "{}", three.sentence);
    assert!(!three.provisional);
    let far = coin_flips(&[(Arm::Base, 0.2), (Arm::Rag, 0.3), (Arm::Tuned, 0.8)], 200, 3);
    let far: Vec<Trial> = far.into_iter().filter(|trial| trial.seed == 0).collect();
    let far = decide(&input(far, quick(0.1, None))).unwrap();
    assert!(far.provisional && far.sentence.contains("one seed"), "{}", far.sentence);
}

#[test]
fn nothing_is_named_that_training_answers_alone_would_score() {
    // Shuffled labels: every arm guesses, as the most frequent answer does.
    let arms =
        [(Arm::Base, 0.0), (Arm::FewShot, 0.10), (Arm::Tuned, 0.12), (Arm::MostFrequent, 0.10)];
    for target in [None, Some(0.7)] {
        let decision = decide(&input(coin_flips(&arms, 400, 5), quick(0.05, target))).unwrap();
        assert_eq!(decision.recommended, None, "{}", decision.sentence);
    }
    let decision = decide(&input(coin_flips(&arms, 400, 5), quick(0.05, Some(0.7)))).unwrap();
    assert_eq!(decision.outcome, Outcome::CollectData, "{}", decision.sentence);
}

#[test]
fn undetermined_says_what_it_leans_to_and_what_would_settle_it() {
    let trials = coin_flips(&[(Arm::Base, 0.2), (Arm::FewShot, 0.5), (Arm::Rag, 0.6)], 60, 8);
    let decision = decide(&input(trials, quick(0.1, None))).unwrap();
    assert_eq!(decision.outcome, Outcome::Undetermined, "{}", decision.sentence);
    assert!(decision.sentence.contains("It leans to"), "{}", decision.sentence);
    assert!(decision.more_questions_needed.is_some_and(|more| more > 20), "{decision:#?}");
    let regrets: Vec<f64> = decision.regrets.iter().map(|regret| regret.points).collect();
    assert!(regrets.is_sorted() && regrets.len() == 3, "{regrets:?}");
}

#[test]
fn looks_after_the_first_are_exploratory() {
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.8)], 300, 2);
    let mut input = input(trials, quick(0.1, None));
    assert!(!decide(&input).unwrap().exploratory);
    input.looks = Looks { openings: 2, changed: vec!["margin".into()], ..Looks::default() };
    let decision = decide(&input).unwrap();
    assert!(
        decision.exploratory && decision.sentence.starts_with("Exploratory, as margin changed")
    );
    assert!(decision.warnings.iter().any(|warning| warning.contains("2 times")));
}

#[test]
fn diagnostic_arms_are_never_recommended() {
    let trials = coin_flips(
        &[(Arm::Base, 0.1), (Arm::Oracle, 0.99), (Arm::RaftOracle, 0.99), (Arm::Tuned, 0.7)],
        300,
        1,
    );
    let decision = decide(&input(trials, quick(0.1, None))).unwrap();
    assert_eq!(
        (decision.outcome, decision.best),
        (Outcome::Tuned, Some(Arm::Tuned.into())),
        "{}",
        decision.sentence
    );
}

#[test]
fn naive_joining_shows_its_harm() {
    let decision = expect(World { facts: 1.0, ..World::default() }, quick(0.1, None), Outcome::Rag);
    let both =
        decision.criteria.iter().find(|criterion| criterion.name == "Both together").unwrap();
    assert!(both.measurement.contains("tuned+rag - rag: -"), "{both:?}");
}

#[test]
fn bad_settings_are_refused() {
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.9)], 20, 1);
    for rule in [
        Rule { margin: 0.0, ..Rule::default() },
        Rule { margin: f64::NAN, ..Rule::default() },
        Rule { alpha: 0.0, ..Rule::default() },
        Rule { target: Some(60.0), ..Rule::default() },
        Rule { resamples: 0, ..Rule::default() },
    ] {
        assert!(decide(&input(trials.clone(), rule)).is_err());
    }
    assert!(decide(&input(Vec::new(), Rule::default())).is_err());
}

// ---- properties of every decision ----

#[track_caller]
fn check(decision: &Decision) {
    let unit = |x: f64| (0.0..=1.0).contains(&x);
    for arm in &decision.systems {
        let s = arm.score;
        assert!(
            unit(s.lower) && s.lower <= s.estimate && s.estimate <= s.upper && unit(s.upper),
            "{arm:?}"
        );
        assert!(unit(arm.lenient) && unit(arm.abstained) && arm.latency_p50 <= arm.latency_p95);
    }
    for contrast in &decision.contrasts {
        let d = contrast.difference;
        assert!(
            -1.0 <= d.lower && d.lower <= d.estimate && d.estimate <= d.upper && d.upper <= 1.0,
            "{contrast:?}"
        );
        assert!(unit(contrast.p) && contrast.p <= contrast.p_holm && unit(contrast.p_holm));
        assert!(
            unit(contrast.discordance)
                && contrast.a_better + contrast.b_better <= contrast.questions
        );
        let back = decision.contrast(contrast.b, contrast.a).unwrap();
        assert_eq!(back.difference.estimate, -d.estimate);
    }
    if let Some(arm) = decision.recommended {
        assert!(decision.system(arm).unwrap().eligible);
        assert_eq!(Outcome::of(arm), Some(decision.outcome));
    }
    assert!(unit(decision.detectable_difference));
    assert!(!decision.sentence.is_empty() && !decision.advice.is_empty());
    // The path through the tree ends where the decision says.
    let reached: Vec<_> = decision.tree.iter().filter(|node| node.reached).collect();
    let Some(Lead::Outcome(outcomes)) = reached.last().map(|node| node.leads_to()) else {
        panic!("{reached:#?}")
    };
    assert!(outcomes.contains(&decision.outcome), "{} {reached:#?}", decision.outcome);
    for node in &decision.tree {
        assert!(!node.measurement.is_empty(), "{}", node.id);
        // What is unknown leads where "no" does.
        let to = if node.answer == Answer::Yes { &node.yes } else { &node.no };
        assert_eq!(node.leads_to(), to);
    }
    if let Some(attribution) = &decision.attribution {
        assert_eq!(attribution.counts.iter().map(|(_, n)| n).sum::<usize>(), attribution.errors());
    }
    let json = serde_json::to_string(decision).unwrap();
    assert_eq!(serde_json::from_str::<Decision>(&json).unwrap(), *decision);
}

#[test]
fn every_decision_is_consistent_and_can_be_stored() {
    let mut random = Random::new(4);
    let mut seen = std::collections::BTreeSet::new();
    for run in 0..150 {
        let world = World {
            questions: 5 + random.below(150),
            per_document: 1 + random.below(8),
            facts: [0.0, random.unit(), 1.0][random.below(3)],
            hidden_rule: [0.0, random.unit(), 1.0][random.below(3)],
            lexical_gap: random.unit(),
            defects: [0.0, 0.0, random.unit()][random.below(3)],
            shown_by_examples: random.unit(),
            skill: 0.5 + random.unit() / 2.0,
            seeds: 1 + random.below(3) as u64,
            seed: run,
        };
        let arms: Vec<Arm> = Arm::ALL.into_iter().filter(|_| random.unit() < 0.8).collect();
        let mut trials = world.trials(&arms);
        let graded = random.below(2) == 0;
        for trial in &mut trials {
            let fails = random.unit() < 0.02;
            trial.score =
                trial.score.filter(|_| !fails).map(|s| if graded { s * random.unit() } else { s });
        }
        if trials.iter().all(|trial| trial.score.is_none()) {
            continue;
        }
        let target = [None, Some(random.unit().max(0.01))][random.below(2)];
        let rule = Rule { resamples: 100, ..quick(0.02 + 0.2 * random.unit(), target) };
        let decision = decide(&input(trials, rule)).unwrap();
        check(&decision);
        seen.insert(decision.outcome);
    }
    assert!(seen.len() >= 6, "{seen:?}");
}

#[test]
fn the_same_input_gives_the_same_decision_in_any_order() {
    let world = World { facts: 0.7, hidden_rule: 0.4, seeds: 3, ..World::default() };
    let mut input = world.input(&Arm::ALL, quick(0.1, Some(0.6)));
    let first = decide(&input).unwrap();
    input.trials.reverse();
    assert_eq!(decide(&input).unwrap(), first);
}

// ---- systems ----

/// The trials under another name.
fn renamed(trials: &[Trial], name: impl Fn(System) -> System) -> Vec<Trial> {
    trials.iter().map(|t| Trial { system: name(t.system), ..t.clone() }).collect()
}

#[test]
fn with_one_model_nothing_depends_on_its_name() {
    let world = World { facts: 0.7, hidden_rule: 0.3, ..World::default() };
    let plain = world.input(&Arm::ALL, quick(0.1, Some(0.7)));
    let model = Some(Name::new("small").unwrap());
    let name = |system: System| match system.arm() {
        Some(arm) if !arm.is_floor() => System::Setup { model, arm },
        _ => system,
    };
    let mut named = plain.clone();
    named.trials = renamed(&plain.trials, name);
    for costs in &mut named.costs {
        costs.system = name(costs.system);
    }
    let (plain, named) = (decide(&plain).unwrap(), decide(&named).unwrap());
    assert_eq!(plain.outcome, named.outcome);
    assert_eq!(plain.recommended.map(name), named.recommended);
    assert_eq!(plain.attribution, named.attribution);
    assert_eq!(plain.more_questions_needed, named.more_questions_needed);
    let p = |decision: &Decision| decision.contrasts.iter().map(|c| c.p_holm).sum::<f64>();
    assert!((p(&plain) - p(&named)).abs() < 1e-9);
}

#[test]
fn a_small_tuned_model_is_held_against_a_large_one_with_rag() {
    let setup = |model: &str, arm| System::Setup { model: Some(Name::new(model).unwrap()), arm };
    let (small, large) = (setup("small", Arm::Tuned), setup("large", Arm::Rag));
    let at = |tuned: f64| {
        let trials = coin_flips(&[(Arm::Tuned, tuned), (Arm::Rag, 0.9)], 400, 7);
        let trials = renamed(&trials, |s| if s.is(Arm::Tuned) { small } else { large });
        let mut input = input(trials, quick(0.1, None));
        input.costs = vec![
            Costs { training_seconds: 600.0, seconds_per_query: Some(0.1), ..Costs::new(small) },
            Costs { seconds_per_query: Some(2.0), ..Costs::new(large) },
        ];
        decide(&input).unwrap()
    };
    let (alike, behind) = (at(0.92), at(0.6));
    assert_eq!((alike.recommended, alike.outcome), (Some(small), Outcome::Tuned));
    assert_eq!((behind.recommended, behind.outcome), (Some(large), Outcome::Rag));
    assert!(behind.sentence.contains("large/rag"), "{}", behind.sentence);
}

#[test]
fn a_foreign_system_is_kept_where_it_is_better_and_known_to_be_no_dearer() {
    let there = System::Foreign(Name::new("helpdesk").unwrap());
    let at = |chance: f64, seconds: Option<f64>| {
        let trials =
            coin_flips(&[(Arm::Base, 0.3), (Arm::Rag, 0.8), (Arm::Oracle, chance)], 400, 7);
        let trials = renamed(&trials, |s| if s.is(Arm::Oracle) { there } else { s });
        let mut input = input(trials, quick(0.1, None));
        input.costs = vec![Costs { seconds_per_query: seconds, ..Costs::new(there) }];
        decide(&input).unwrap()
    };
    let better = at(0.97, Some(0.1));
    assert_eq!((better.recommended, better.outcome), (Some(there), Outcome::Existing));
    assert!(better.sentence.starts_with("Keep what is there: helpdesk"), "{}", better.sentence);
    assert_eq!(at(0.81, Some(0.1)).recommended, Some(there), "as good and cheaper");
    // What it costs is not known, so it counts as the dearest.
    let unknown = at(0.81, None);
    assert_eq!(unknown.recommended, Some(Arm::Rag.into()));
    assert!(unknown.warnings.iter().any(|w| w.contains("helpdesk")), "{:?}", unknown.warnings);
    assert_eq!(at(0.97, None).recommended, Some(there), "better by more than the margin");
}

// ---- what was not run, and the control ----

#[test]
fn where_the_target_is_not_shown_met_fine_tuning_is_measured_first() {
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.62)], 400, 5);
    let at = |target: Option<f64>, possible: bool| {
        let mut input = input(trials.clone(), quick(0.1, target));
        input.untried = Untried { possible, seconds: Some(360.0) };
        decide(&input).unwrap()
    };
    assert_eq!(at(None, true).outcome, Outcome::Rag, "no target, so of those measured");
    assert_eq!(at(Some(0.4), true).outcome, Outcome::Rag, "shown met");
    let measured = at(None, true).system(Arm::Rag).unwrap().score;
    let near = Some(measured.estimate);
    let open = at(near, true);
    assert_eq!(open.outcome, Outcome::Undetermined);
    for said in ["the target is not shown to be met", "about 6 min"] {
        assert!(open.sentence.contains(said), "{}", open.sentence);
    }
    assert_eq!(at(near, false).outcome, Outcome::Rag, "there are no pairs");
    assert_eq!(at(Some(0.9), true).outcome, Outcome::Undetermined);
    assert_eq!(at(Some(0.9), false).outcome, Outcome::CollectData);
}

#[test]
fn a_score_that_shuffled_answers_teach_as_well_names_nothing() {
    let at = |shuffled: f64| {
        let arms = [(Arm::Base, 0.1), (Arm::Tuned, 0.7), (Arm::Shuffled, shuffled)];
        decide(&input(coin_flips(&arms, 400, 5), quick(0.1, None))).unwrap()
    };
    assert_eq!(at(0.1).outcome, Outcome::Tuned);
    let taught_nothing = at(0.7);
    assert_eq!(taught_nothing.outcome, Outcome::CollectData);
    assert!(
        taught_nothing.sentence.contains("the same training on shuffled answers"),
        "{}",
        taught_nothing.sentence
    );
}

#[test]
fn what_is_wrong_with_the_pairs_is_said_where_they_are_what_is_missing() {
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Tuned, 0.3)], 400, 5);
    let mut input = input(trials, quick(0.1, Some(0.8)));
    input.pair_faults = vec!["12 of 80 pairs contradict each other".to_owned()];
    let decision = decide(&input).unwrap();
    assert_eq!(decision.outcome, Outcome::CollectData);
    assert!(decision.sentence.contains("12 of 80 pairs contradict"), "{}", decision.sentence);
}

#[test]
fn the_worst_slice_is_shown() {
    let mut input = World { facts: 1.0, ..World::default() }.input(&Arm::ALL, quick(0.1, None));
    // The first half of the questions was answered wrongly by everybody.
    for trial in &mut input.trials {
        if trial.qid.as_str() < "q0100" {
            trial.score = Some(0.0);
        }
        let slice = if trial.qid.as_str() < "q0100" { "old" } else { "new" };
        input.slices.insert(trial.qid.clone(), slice.to_owned());
    }
    let decision = decide(&input).unwrap();
    let names: Vec<&str> = decision.slices.iter().map(|slice| slice.name.as_str()).collect();
    assert_eq!(names, ["old", "new"]);
    assert_eq!((decision.slices[0].score.estimate, decision.slices[0].questions), (0.0, 100));
    let said = decision.criteria.iter().find(|c| c.name == "Guaranteed performance").unwrap();
    assert!(said.measurement.contains("worst of 2 slices: old 0.0 %"), "{}", said.measurement);
}

#[test]
fn where_no_evidence_is_named_errors_are_not_attributed() {
    let mut trials = World { facts: 1.0, ..World::default() }.trials(&[Arm::Base, Arm::Rag]);
    for trial in &mut trials {
        trial.evidence_retrieved = None;
    }
    let decision = decide(&input(trials, quick(0.1, None))).unwrap();
    let said = decision.criteria.iter().find(|c| c.name == "Retrieval is unreliable").unwrap();
    assert_eq!(said.reading, "unknown");
    assert!(said.measurement.contains("errors are not attributed"), "{}", said.measurement);
}

/// The lines on margin, target and queries, held against decisions under those settings.
#[test]
fn what_would_change_it_does_when_it_is_tried() {
    let arms = [(Arm::Base, 0.3), (Arm::Rag, 0.62), (Arm::Tuned, 0.5)];
    let mut tried = 0;
    for (seed, target) in [(3, None), (4, Some(0.55)), (5, Some(0.8)), (6, Some(0.3))] {
        let trials = coin_flips(&arms, 400, seed);
        let rule = quick(0.1, target);
        let now = decide(&input(trials.clone(), rule.clone())).unwrap();
        for flip in &now.flips {
            let Some((setting, then)) = flip.split_once(": ") else { continue };
            let number = |text: &str| -> f64 {
                let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
                let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.');
                digits[..end.unwrap_or(digits.len())].parse().unwrap()
            };
            let rule = match setting {
                s if s.starts_with("A margin of") => {
                    Rule { margin: number(s) / 100.0, ..rule.clone() }
                }
                s if s.starts_with("A target of") => {
                    Rule { target: Some(number(s) / 100.0), ..rule.clone() }
                }
                _ => continue,
            };
            let decision = decide(&input(trials.clone(), rule)).unwrap();
            let label =
                decision.recommended.map_or(decision.outcome.to_string(), |s| s.to_string());
            assert_eq!(format!("{label}."), then, "{flip}");
            assert_ne!(label, now.recommended.map_or(now.outcome.to_string(), |s| s.to_string()));
            tried += 1;
        }
    }
    assert!(tried >= 6, "{tried} lines");
}

/// The lead that is named for a setup that did not run is the one that the rule needs.
#[test]
fn a_setup_that_did_not_run_is_named_with_the_lead_it_needs() {
    let trials = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.5)], 400, 5);
    let decision = decide(&input(trials, quick(0.1, None))).unwrap();
    assert_eq!(decision.recommended, Some(Arm::Rag.into()), "{}", decision.sentence);
    let line = decision.flips.iter().find(|flip| flip.starts_with("Not measured: ")).unwrap();
    // More than the margin is needed only where the interval asks for it.
    assert!(line.contains("tuned and raft") && line.contains("scores 10 points more"), "{line}");
    let few = coin_flips(&[(Arm::Base, 0.1), (Arm::Rag, 0.96)], 400, 5);
    let decision = decide(&input(few, quick(0.1, None))).unwrap();
    let line = decision.flips.iter().find(|flip| flip.starts_with("Not measured: ")).unwrap();
    assert!(line.contains("not even a perfect score"), "{line}");
}

#[test]
fn a_manager_is_told_what_to_do_how_good_it_is_and_how_sure() {
    let of = |arms: &[(Arm, f64)], questions, target| {
        decide(&input(coin_flips(arms, questions, 5), quick(0.1, target))).unwrap()
    };
    let rag = of(&[(Arm::Base, 0.1), (Arm::Rag, 0.8)], 400, Some(0.6));
    assert_eq!(rag.outcome, Outcome::Rag, "{}", rag.sentence);
    for said in ["Let the model read your documents", "of 100", "That reaches your target of 60."] {
        assert!(rag.advice.contains(said), "{said}: {}", rag.advice);
    }
    assert!(rag.is_settled());
    assert!(rag.sentence.contains("(95 % interval)"), "{}", rag.sentence);
    let open = of(&[(Arm::Base, 0.5), (Arm::Rag, 0.6)], 60, None);
    assert!(!open.is_settled() && open.advice.starts_with("Do not decide yet"), "{}", open.advice);
    assert!(open.advice.contains("If you must choose today, take "), "{}", open.advice);
    let weak = of(&[(Arm::Base, 0.1), (Arm::Rag, 0.2), (Arm::Tuned, 0.2)], 400, Some(0.7));
    assert!(weak.advice.starts_with("Use none of these yet"), "{}", weak.advice);
    for jargon in ["interval", "margin", "Holm", "p-value", "point"] {
        for decision in [&rag, &open, &weak] {
            assert!(!decision.advice.contains(jargon), "{jargon}: {}", decision.advice);
        }
    }
    // What was not measured is unknown, and leads where "no" does.
    let node = |id: &str| rag.tree.iter().find(|node| node.id == id).unwrap();
    assert_eq!(node("retrieval").answer, Answer::Unknown);
    assert_eq!(node("enough").answer, Answer::No);
}
