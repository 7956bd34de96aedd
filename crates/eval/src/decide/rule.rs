//! The rule: among the systems that pass the hard gates, recommend the cheapest that is not worse
//! than the best by more than the margin, and claim nothing that the data don't show.
//!
//! The idea is that of non-inferiority trials: a cheaper treatment is preferred once it is shown to
//! be at most a margin worse (Piaggio et al. 2012). Each part of the sentence is a test on the
//! evidence:
//!
//! - **Not worse than the best by more than the margin**: against *every* other eligible system,
//!   the lower bound of the paired difference lies above minus the margin. All comparisons must
//!   succeed, so no correction for their number is needed (intersection-union test, Berger 1982),
//!   and nobody has to know which system is truly best.
//! - **Cheapest**: every system that costs less is *set aside*: shown worse than some other (upper
//!   bound of the difference below 0) and measured to be so by at least the margin. Asking for less
//!   names dearer systems that are not worth their price; asking for more (shown worse *by* the
//!   margin) leaves nearly everything undecided (error rates of all three in docs/decision.md). A
//!   cheaper system that is not set aside leaves the decision undetermined.
//! - **Floor and target**: a system is named only if it is shown above every baseline that needs no
//!   model, and not if it is shown below the target. As the target moves up, outcomes go from cheap
//!   systems to dear ones to `collect-data`, and never back.
//! - **Few questions**: below the minimum (or with fewer than
//!   [`MIN_CLUSTERS`](super::case::MIN_CLUSTERS) source documents) every difference the outcome
//!   rests on must exceed what that many questions detect at the rule's power.

use super::case::{Case, Choice, HALF, MIN_CLUSTERS, names};
use super::summary::NOT_MEASURED;
use crate::attribute::Class;
use crate::decision::{Answer, Lead, Node, SystemSummary, Untried};
use crate::figures::{duration, percent, percent_interval, points_interval, size};
use crate::gate::GateAnswer;
use crate::{Arm, Gate, Outcome, System};

/// What the rule says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) recommended: Option<System>,
    pub(super) best: Option<System>,
    pub(super) tree: Vec<Node>,
}

impl Verdict {
    /// The path stopped for want of evidence that more questions or seeds would bring.
    pub(super) fn is_short_of_evidence(&self) -> bool {
        let stop = self.tree.iter().rfind(|node| node.reached);
        self.outcome == Outcome::Undetermined
            && stop.is_some_and(|node| ["questions", "not-worse", "cheapest"].contains(&&*node.id))
    }
}

/// The outcomes that recommend a system.
const SYSTEM_OUTCOMES: [Outcome; 6] = [
    Outcome::Rag,
    Outcome::Tuned,
    Outcome::Raft,
    Outcome::Base,
    Outcome::FewShot,
    Outcome::Existing,
];

/// The answer of one node, with the figures behind it.
struct Finding {
    answer: Answer,
    measurement: String,
}

impl Finding {
    fn yes(&self) -> bool {
        self.answer == Answer::Yes
    }
}

/// Yes or no, where the data tell.
fn plain(yes: bool) -> Answer {
    if yes { Answer::Yes } else { Answer::No }
}

/// Yes where that is shown, no where the opposite is, unknown between the two.
fn told(shown: bool, opposite: bool) -> Answer {
    match (shown, opposite) {
        (true, _) => Answer::Yes,
        (false, true) => Answer::No,
        (false, false) => Answer::Unknown,
    }
}

/// What must hold before any outcome is stated: the first three nodes.
struct Conditions {
    graders: Finding,
    limits: Finding,
    questions: Finding,
}

impl Conditions {
    fn nodes(self) -> [Node; 3] {
        let undetermined = || end(&[Outcome::Undetermined]);
        [
            node("graders", "Did the graders work?", self.graders, to("limits"), undetermined()),
            node(
                "limits",
                "Are there setups to choose from?",
                self.limits,
                to("questions"),
                undetermined(),
            ),
            node(
                "questions",
                "Do the questions suffice?",
                self.questions,
                to("enough"),
                undetermined(),
            ),
        ]
    }

    fn hold(&self) -> bool {
        self.graders.yes() && self.limits.yes() && self.questions.yes()
    }
}

/// The answers of the nodes that tell the outcomes apart, in the order of the tree.
struct Answers {
    /// The system by which `enough` is answered with yes.
    simple: Option<System>,
    enough: Finding,
    retrieval: Finding,
    untried: Finding,
    data: Finding,
    not_worse: Finding,
    cheapest: Finding,
    floor: Finding,
}

impl Answers {
    fn nodes(self, margin: f64) -> [Node; 7] {
        let undetermined = || end(&[Outcome::Undetermined]);
        let margin = size(margin);
        let not_worse = format!("Is one setup shown not worse than any other by {margin} points?");
        [
            node(
                "enough",
                "Is the target met with nothing built?",
                self.enough,
                end(&[Outcome::Base, Outcome::FewShot]),
                to("retrieval"),
            ),
            node(
                "retrieval",
                "Is retrieval what holds the documents back?",
                self.retrieval,
                end(&[Outcome::ImproveRetrieval]),
                to("untried"),
            ),
            node(
                "untried",
                "Is fine-tuning due, but not measured?",
                self.untried,
                undetermined(),
                to("data"),
            ),
            node(
                "data",
                "Is every setup shown to be too weak?",
                self.data,
                end(&[Outcome::CollectData]),
                to("not-worse"),
            ),
            node("not-worse", &not_worse, self.not_worse, to("cheapest"), undetermined()),
            node(
                "cheapest",
                "Is every cheaper setup set aside?",
                self.cheapest,
                to("floor"),
                undetermined(),
            ),
            node(
                "floor",
                "Is it above what needs no model, and not below the target?",
                self.floor,
                end(&SYSTEM_OUTCOMES),
                end(&[Outcome::CollectData]),
            ),
        ]
    }

    /// The outcome at the first node that is answered with yes, and the system it recommends.
    fn outcome(&self, choice: Choice) -> (Outcome, Option<System>) {
        let recommend =
            |system: System| (Outcome::of(system).unwrap_or(Outcome::Undetermined), Some(system));
        if let Some(system) = self.simple {
            recommend(system)
        } else if self.retrieval.yes() {
            (Outcome::ImproveRetrieval, None)
        } else if self.untried.yes() {
            (Outcome::Undetermined, None)
        } else if self.data.yes() {
            (Outcome::CollectData, None)
        } else if let Choice::System(system) = choice {
            if self.floor.yes() { recommend(system) } else { (Outcome::CollectData, None) }
        } else {
            (Outcome::Undetermined, None)
        }
    }
}

impl Case<'_> {
    /// Walks the tree. Each node is answered whether or not the path reaches it, so that the report
    /// can show what it would have said.
    pub(super) fn apply(&self) -> Verdict {
        let choice = self.choose();
        let answers = self.answers(&choice);
        let (outcome, recommended) = answers.outcome(choice);
        let conditions = Conditions {
            graders: self.graders_worked(),
            limits: self.something_to_choose(),
            questions: self.enough_questions(outcome, recommended),
        };
        let (outcome, recommended) =
            if conditions.hold() { (outcome, recommended) } else { (Outcome::Undetermined, None) };
        let mut tree: Vec<Node> =
            conditions.nodes().into_iter().chain(answers.nodes(self.rule.margin)).collect();
        mark_path(&mut tree);

        let best = self.best().map(|summary| summary.system);
        Verdict { outcome, recommended, best, tree }
    }

    fn answers(&self, choice: &Choice) -> Answers {
        let needed = self.needed(choice);
        let (simple, enough) = self.enough_already(choice);
        Answers {
            simple,
            enough,
            retrieval: self.retrieval_holds_back(),
            untried: self.fine_tuning_is_due(needed),
            data: self.data_is_missing(needed),
            not_worse: self.shown_not_worse(choice),
            cheapest: self.cheaper_set_aside(choice),
            floor: self.above_floor(choice),
        }
    }

    /// A system with too many missing trials may owe its score to which ones are missing.
    fn graders_worked(&self) -> Finding {
        let share =
            |summary: &&SystemSummary| summary.missing as f64 / summary.trials.max(1) as f64;
        let candidates = self.systems.iter().filter(|summary| !summary.system.is_diagnostic());
        let worst = candidates.max_by(|a, b| share(a).total_cmp(&share(b)));
        let most = worst.as_ref().map_or(0.0, share);
        let allowed = percent(self.rule.max_missing);
        let measurement = match worst.filter(|summary| summary.missing > 0) {
            None => "every trial was graded".to_owned(),
            Some(summary) => {
                format!(
                    "{}: {} of {} trials missing, {allowed} allowed",
                    summary.system, summary.missing, summary.trials
                )
            }
        };
        Finding { answer: plain(most <= self.rule.max_missing), measurement }
    }

    fn something_to_choose(&self) -> Finding {
        let candidates: Vec<&SystemSummary> =
            self.systems.iter().filter(|summary| !summary.system.is_diagnostic()).collect();
        let failed: Vec<String> = candidates
            .iter()
            .filter(|summary| !summary.fails.is_empty())
            .map(|summary| format!("{} ({})", summary.system, summary.fails.join(", ")))
            .collect();
        let passed =
            names(&self.eligible().iter().map(|summary| summary.system).collect::<Vec<_>>());
        let measurement = match (failed.is_empty(), passed.is_empty()) {
            (true, _) => format!("measured: {passed}; no hard limit is broken"),
            (false, false) => format!("within the limits: {passed}; not: {}", failed.join("; ")),
            (false, true) => format!("none within the limits: {}", failed.join("; ")),
        };
        // A limit that nobody measured may be kept or broken.
        let unmeasured = |fails: &[String]| fails.iter().all(|fail| fail.ends_with(NOT_MEASURED));
        let broken = |summary: &&&SystemSummary| !unmeasured(&summary.fails);
        let within = candidates.len() - candidates.iter().filter(broken).count();
        Finding {
            answer: told(
                candidates.len() > 1 && !passed.is_empty(),
                candidates.len() < 2 || within == 0,
            ),
            measurement,
        }
    }

    fn enough_questions(&self, outcome: Outcome, recommended: Option<System>) -> Finding {
        let have = format!("{} questions from {} sources", self.questions, self.clusters);
        if !self.exploratory() {
            return Finding {
                answer: Answer::Yes,
                measurement: format!("{have}; {} asked for", self.rule.min_questions),
            };
        }
        let support = self.support(outcome, recommended);
        let weakest = support
            .iter()
            .min_by(|a, b| (a.difference - a.detectable).total_cmp(&(b.difference - b.detectable)));
        let asked =
            format!("{} questions from {MIN_CLUSTERS} sources asked for", self.rule.min_questions);
        match weakest {
            None => Finding { answer: Answer::No, measurement: format!("{have}; {asked}") },
            Some(weakest) => Finding {
                answer: plain(weakest.difference > weakest.detectable),
                measurement: format!(
                    "{have}; {asked}; {} is {} points, and {} are the least that so few can show",
                    weakest.name,
                    size(weakest.difference),
                    size(weakest.detectable)
                ),
            },
        }
    }

    /// The cheaper of `base` and `few-shot` that is shown to meet the target, unless the choice
    /// among all is cheaper still (it would be named at a higher target, so it is named at this
    /// one).
    fn enough_already(&self, choice: &Choice) -> (Option<System>, Finding) {
        let simple: Vec<&SystemSummary> =
            self.eligible().into_iter().filter(|summary| summary.system.is_simple()).collect();
        let scores: Vec<String> = simple
            .iter()
            .map(|summary| format!("{} {}", summary.system, percent_interval(summary.score)))
            .collect();
        let scores =
            if scores.is_empty() { "neither measured".to_owned() } else { scores.join("; ") };
        let Some(target) = self.rule.target else {
            return (
                None,
                Finding {
                    answer: Answer::Unknown,
                    measurement: format!("no target given; {scores}"),
                },
            );
        };
        let chosen = match choice {
            Choice::System(system) => Some(*system),
            Choice::None { .. } | Choice::Open { .. } => None,
        };
        let cheaper_chosen = |system: System| {
            chosen.is_some_and(|c| {
                self.cheaper_than(system).iter().any(|cheaper| cheaper.system == c)
            })
        };
        let found = simple
            .iter()
            .find(|summary| {
                summary.score.lower >= target && self.floor_of(summary.system).is_none()
            })
            .map(|summary| summary.system)
            .filter(|system| !cheaper_chosen(*system));
        let measurement = format!("target {}; {scores}", percent(target));
        let open = simple
            .iter()
            .any(|summary| summary.score.lower < target && target <= summary.score.upper);
        let answer = told(found.is_some(), !open && !simple.is_empty());
        (found, Finding { answer, measurement })
    }

    /// The passages would help, but retrieval does not bring them. This is shown when
    /// 1. oracle - rag is above the margin (lower bound),
    /// 2. so is oracle - best eligible system: nothing measured makes up for it,
    /// 3. no eligible system is shown to meet the target, and
    /// 4. all of them are shown to miss it, or retrieval brings less than half of what the gold
    ///    passages would: (rag - base) / (oracle - base) < 1/2. Retrieval that delivers more than
    ///    that is no reason to hold back a decision, even if it could still be improved.
    fn retrieval_holds_back(&self) -> Finding {
        let unknown = |measurement: &str| Finding {
            answer: Answer::Unknown,
            measurement: measurement.to_owned(),
        };
        let Some(best) = self.best() else { return unknown("no system to compare with") };
        let Some(headroom) = self.within(Arm::Oracle, Arm::Rag) else {
            return unknown("oracle and rag were not both measured");
        };
        let over_best = match self.contrast(self.at(Arm::Oracle), best.system) {
            Some(contrast) => contrast.difference,
            None => return unknown("oracle shares no question with the best system"),
        };
        let worth = self.within(Arm::Oracle, Arm::Base).map_or(1.0, |c| c.difference.estimate);
        let delivered = 1.0 - headroom.difference.estimate / worth.max(f64::MIN_POSITIVE);
        let shown = |lower: f64| lower > self.rule.margin;
        let met = self
            .rule
            .target
            .is_some_and(|target| self.eligible().iter().any(|a| a.score.lower >= target));
        let held = shown(headroom.difference.lower) && shown(over_best.lower);
        let mut measurement = format!("oracle - rag: {}", points_interval(headroom.difference));
        if !best.system.is(Arm::Rag) {
            measurement += &format!("; oracle - {}: {}", best.system, points_interval(over_best));
        }
        if worth > 0.0 {
            measurement += &format!(
                "; retrieval delivers {:.0} % of what the gold passages are worth",
                100.0 * delivered.clamp(0.0, 1.0)
            );
        }
        let little = self.target_missed_by_all() || delivered < HALF;
        let refuted = |upper: f64| upper <= self.rule.margin;
        let opposite =
            met || !little || refuted(headroom.difference.upper) || refuted(over_best.upper);
        Finding { answer: told(held && !met && little, opposite), measurement }
    }

    /// It is too early to choose among untrained systems: none was fine-tuned although there are pairs
    /// to learn from, and the ceiling gate is open, or no system is shown to reach the target, or each
    /// is shown below what is needed.
    fn fine_tuning_is_due(&self, needed: Option<f64>) -> Finding {
        let pruned = self.pruned.iter().map(|pruned| pruned.system);
        let systems = self.systems.iter().map(|summary| summary.system).chain(pruned);
        let trained: Vec<System> = systems.filter(|system| system.needs_adapter()).collect();
        let gate = self.gate.map(Gate::answer);
        let open = gate == Some(GateAnswer::Yes);
        let said = match gate {
            Some(GateAnswer::Yes) => "RAG has hit its ceiling on dev",
            Some(GateAnswer::Unknown) => "whether RAG has hit its ceiling, dev cannot tell",
            Some(GateAnswer::No) => "RAG has not hit its ceiling on dev",
            None => "whether RAG has hit its ceiling was not measured",
        };
        let met = |target| self.eligible().iter().any(|summary| summary.score.lower >= target);
        let (missed, why) = match (needed, self.rule.target) {
            (Some(needed), _) if self.all_below(needed) => {
                (true, "; everything measured is shown to be too weak")
            }
            (_, Some(target)) if !met(target) => (true, "; the target is not shown to be met"),
            _ => (false, ""),
        };
        let measured = match (&trained[..], self.untried) {
            ([], Untried { possible: false, .. }) => "there are no pairs to learn from".to_owned(),
            ([], Untried { seconds: Some(seconds), .. }) => {
                format!("no fine-tuned setup measured, which takes about {}", duration(seconds))
            }
            ([], Untried { seconds: None, .. }) => "no fine-tuned setup measured".to_owned(),
            (trained, _) => format!("measured: {}", names(trained)),
        };
        let lacking = trained.is_empty() && self.untried.possible;
        Finding {
            answer: told((open || missed) && lacking, !lacking || gate == Some(GateAnswer::No)),
            measurement: format!("{said}{why}; {measured}"),
        }
    }

    /// What a system must reach: the target. Without a target, half of the questions are needed
    /// where the choice would be `base`: when every system fails more than half, "nothing needed"
    /// would be the wrong advice.
    fn needed(&self, choice: &Choice) -> Option<f64> {
        self.rule
            .target
            .or(matches!(choice, Choice::System(system) if system.is(Arm::Base)).then_some(HALF))
    }

    /// Every system is shown below what is needed. What the errors and the learning curve say of
    /// the cause stands beside it.
    fn data_is_missing(&self, needed: Option<f64>) -> Finding {
        let below = needed.is_some_and(|needed| self.all_below(needed));
        let mut parts = Vec::new();
        match (needed, self.best()) {
            (Some(needed), Some(best)) => parts.push(format!(
                "needed {}; best: {} {}",
                percent(needed),
                best.system,
                percent_interval(best.score)
            )),
            _ => parts.push("no target given".to_owned()),
        }
        if let Some(attribution) = self.attribution.filter(|attribution| attribution.errors() > 0) {
            parts.push(format!(
                "{} of {} RAG errors are right under no setup",
                attribution.count(Class::Defect),
                attribution.errors()
            ));
        }
        if let Some(curve) = self.curve {
            parts.push(format!("twice the pairs: {}", points_interval(curve.gain_of_doubling)));
        }
        let reached =
            |needed: f64| self.eligible().iter().any(|summary| summary.score.lower >= needed);
        let answer = told(below, needed.is_some_and(reached));
        Finding { answer, measurement: parts.join("; ") }
    }

    fn shown_not_worse(&self, choice: &Choice) -> Finding {
        let (shown, system) = match choice {
            Choice::System(system) | Choice::Open { system, .. } => (true, Some(*system)),
            Choice::None { nearest } => (false, *nearest),
        };
        // The one that comes nearest loses least: where it is shown worse by the margin, all are.
        let rival = system.and_then(|system| self.closest_rival(system));
        let refuted = rival.is_none_or(|rival| rival.difference.upper < -self.rule.margin);
        let measurement = match system {
            None => "no setup is eligible".to_owned(),
            Some(system) => match self.closest_rival(system) {
                None => format!("{system} is the only setup within the limits"),
                Some(contrast) if shown => format!(
                    "{system}: nearest rival {}, {system} - {}: {}",
                    contrast.b,
                    contrast.b,
                    points_interval(contrast.difference)
                ),
                Some(contrast) => format!(
                    "nearest is {system}, but {system} - {}: {}",
                    contrast.b,
                    points_interval(contrast.difference)
                ),
            },
        };
        Finding { answer: told(shown, refuted), measurement }
    }

    fn cheaper_set_aside(&self, choice: &Choice) -> Finding {
        let (system, answer) = match choice {
            Choice::System(system) => (*system, true),
            Choice::Open { system, .. } => (*system, false),
            Choice::None { .. } => {
                return Finding {
                    answer: Answer::Unknown,
                    measurement: "no setup to hold the cheaper ones against".to_owned(),
                };
            }
        };
        let open: &[System] = if let Choice::Open { cheaper, .. } = choice { cheaper } else { &[] };
        let cheaper: Vec<System> =
            self.cheaper_than(system).iter().map(|summary| summary.system).collect();
        let shown = |other: &System| {
            let worst = self.closest_rival(*other)?;
            Some(format!("{other} - {}: {}", worst.b, points_interval(worst.difference)))
        };
        let list = if answer { &cheaper[..] } else { open };
        let parts: Vec<String> = list.iter().filter_map(shown).collect();
        let measurement = match (cheaper.is_empty(), answer) {
            (true, _) => format!("{system} is the cheapest"),
            (false, true) => parts.join("; "),
            (false, false) => format!("not shown: {}", parts.join("; ")),
        };
        Finding { answer: told(answer, false), measurement }
    }

    /// The system that would be named beats what the training answers alone would score, and is not
    /// shown below the target.
    fn above_floor(&self, choice: &Choice) -> Finding {
        let (Choice::System(system) | Choice::Open { system, .. }) = choice else {
            let measurement = "nothing to hold against it".to_owned();
            return Finding { answer: Answer::Unknown, measurement };
        };
        let floors: Vec<String> = (self.systems.iter())
            .filter(|summary| summary.system.is_floor())
            .filter_map(|floor| {
                let contrast = self.contrast(*system, floor.system)?;
                Some(format!(
                    "{system} - {}: {}",
                    floor.system,
                    points_interval(contrast.difference)
                ))
            })
            .collect();
        let mut measurement = match floors.is_empty() {
            true => "no baseline was measured".to_owned(),
            false => floors.join("; "),
        };
        let score = self.summary(*system).map(|summary| summary.score);
        let missed = self.rule.target.filter(|t| score.is_some_and(|score| score.upper < *t));
        if let (Some(target), Some(score)) = (missed, score) {
            measurement += &format!("; {} against {}", percent_interval(score), percent(target));
        }
        let floor = self.floor_of(*system);
        let beaten = floor.is_some_and(|contrast| contrast.difference.upper < 0.0);
        let answer = told(floor.is_none() && missed.is_none(), missed.is_some() || beaten);
        Finding { answer, measurement }
    }
}

/// On to the node with this id.
fn to(id: &str) -> Lead {
    Lead::Node(id.to_owned())
}

/// To one of these outcomes.
fn end(outcomes: &[Outcome]) -> Lead {
    Lead::Outcome(outcomes.to_vec())
}

fn node(id: &str, question: &str, finding: Finding, yes: Lead, no: Lead) -> Node {
    let Finding { answer, measurement } = finding;
    let (id, question) = (id.to_owned(), question.to_owned());
    Node { id, question, measurement, answer, yes, no, reached: false }
}

/// Follows the answers from the first node to an outcome.
fn mark_path(tree: &mut [Node]) {
    let mut next = tree.first().map(|node| node.id.clone());
    while let Some(node) =
        next.and_then(|id| tree.iter_mut().find(|node| node.id == id && !node.reached))
    {
        node.reached = true;
        next = match node.leads_to() {
            Lead::Node(id) => Some(id.clone()),
            Lead::Outcome(_) => None,
        };
    }
}
