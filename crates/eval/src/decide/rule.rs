//! The rule: among the arms that pass the hard gates, recommend the cheapest that is not worse than
//! the best by more than the margin, and claim nothing that the data don't show.
//!
//! The idea is that of non-inferiority trials: a cheaper treatment is preferred once it is shown to
//! be at most a margin worse (Piaggio et al. 2012). Each part of the sentence is a test on the
//! evidence:
//!
//! - **Not worse than the best by more than the margin**: against *every* other eligible arm, the
//!   lower bound of the paired difference lies above minus the margin. All comparisons must
//!   succeed, so no correction for their number is needed (intersection-union test, Berger 1982),
//!   and nobody has to know which arm is truly best.
//! - **Cheapest**: every arm that costs less must be *shown* not to be the answer: either worse
//!   than the recommended arm (upper bound below 0, and a Holm-adjusted p below alpha), or worse
//!   than some eligible arm by more than the margin (upper bound below minus the margin). A cheaper
//!   arm that is neither leaves the decision undetermined.
//! - **Identical arms** therefore end with the cheapest arm once there are enough questions to show
//!   that no other is better by the margin, and undetermined before that. A dearer arm is named by
//!   chance in fewer than alpha of all runs.
//! - **Few questions**: below the minimum (or with fewer than
//!   [`MIN_CLUSTERS`](super::case::MIN_CLUSTERS) source documents) every difference the outcome
//!   rests on must exceed what that many questions detect at the rule's power.

use super::case::{Case, Choice, HALF, MIN_CLUSTERS, names};
use crate::attribute::Class;
use crate::decision::{Answer, ArmSummary, Lead, Node};
use crate::figures::{p_value, percent, percent_interval, points_interval, size};
use crate::{Arm, Outcome};

/// What the rule says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) recommended: Option<Arm>,
    pub(super) best: Option<Arm>,
    pub(super) sentence: String,
    pub(super) tree: Vec<Node>,
    pub(super) more_questions: Option<usize>,
}

/// The outcomes that recommend an arm.
const ARM_OUTCOMES: [Outcome; 5] =
    [Outcome::Rag, Outcome::Tuned, Outcome::Raft, Outcome::Base, Outcome::FewShot];

/// The answer of one node, with the figures behind it.
struct Finding {
    answer: bool,
    measurement: String,
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
                "Are there arms to choose from?",
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
        self.graders.answer && self.limits.answer && self.questions.answer
    }
}

/// The answers of the nodes that tell the outcomes apart, in the order of the tree.
struct Answers {
    /// The arm by which `enough` is answered with yes.
    simple: Option<Arm>,
    enough: Finding,
    retrieval: Finding,
    untried: Finding,
    data: Finding,
    not_worse: Finding,
    cheapest: Finding,
}

impl Answers {
    fn nodes(self, margin: f64) -> [Node; 6] {
        let undetermined = || end(&[Outcome::Undetermined]);
        let margin = size(margin);
        let not_worse = format!("Is one arm shown not worse than any other by {margin} points?");
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
                "Is no arm good enough, for want of data or a larger model?",
                self.data,
                end(&[Outcome::CollectData]),
                to("not-worse"),
            ),
            node("not-worse", &not_worse, self.not_worse, to("cheapest"), undetermined()),
            node(
                "cheapest",
                "Is every cheaper arm shown to be worse?",
                self.cheapest,
                end(&ARM_OUTCOMES),
                undetermined(),
            ),
        ]
    }

    /// The outcome at the first node that is answered with yes, and the arm it recommends.
    fn outcome(&self, choice: Choice) -> (Outcome, Option<Arm>) {
        let recommend = |arm: Arm| (Outcome::of(arm).unwrap_or(Outcome::Undetermined), Some(arm));
        if let Some(arm) = self.simple {
            recommend(arm)
        } else if self.retrieval.answer {
            (Outcome::ImproveRetrieval, None)
        } else if self.untried.answer {
            (Outcome::Undetermined, None)
        } else if self.data.answer {
            (Outcome::CollectData, None)
        } else if let Choice::Arm(arm) = choice {
            recommend(arm)
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

        let best = self.best().map(|summary| summary.arm);
        // More questions help only where the path stopped for want of questions.
        let short = ["questions", "not-worse", "cheapest"];
        let stop = tree.iter().rfind(|node| node.reached && outcome == Outcome::Undetermined);
        let more_questions = stop
            .filter(|node| short.contains(&node.id.as_str()))
            .and_then(|_| self.more_questions());
        let sentence = self.sentence(outcome, recommended, &tree, more_questions);
        Verdict { outcome, recommended, best, sentence, tree, more_questions }
    }

    fn answers(&self, choice: &Choice) -> Answers {
        let needed = self.needed(choice);
        let (simple, enough) = self.enough_already();
        Answers {
            simple,
            enough,
            retrieval: self.retrieval_holds_back(),
            untried: self.fine_tuning_is_due(needed),
            data: self.data_is_missing(needed),
            not_worse: self.shown_not_worse(choice),
            cheapest: self.cheaper_shown_worse(choice),
        }
    }

    /// An arm with too many missing trials may owe its score to which ones are missing.
    fn graders_worked(&self) -> Finding {
        let share = |arm: &&ArmSummary| arm.missing as f64 / arm.trials.max(1) as f64;
        let candidates = self.arms.iter().filter(|arm| !arm.arm.is_diagnostic());
        let worst = candidates.max_by(|a, b| share(a).total_cmp(&share(b)));
        let most = worst.as_ref().map_or(0.0, share);
        let allowed = percent(self.rule.max_missing);
        let measurement = match worst.filter(|arm| arm.missing > 0) {
            None => "every trial was graded".to_owned(),
            Some(arm) => {
                format!(
                    "{}: {} of {} trials missing, {allowed} allowed",
                    arm.arm, arm.missing, arm.trials
                )
            }
        };
        Finding { answer: most <= self.rule.max_missing, measurement }
    }

    fn something_to_choose(&self) -> Finding {
        let candidates: Vec<&ArmSummary> =
            self.arms.iter().filter(|arm| !arm.arm.is_diagnostic()).collect();
        let failed: Vec<String> = candidates
            .iter()
            .filter(|arm| !arm.fails.is_empty())
            .map(|arm| format!("{} ({})", arm.arm, arm.fails.join(", ")))
            .collect();
        let passed = names(&self.eligible().iter().map(|arm| arm.arm).collect::<Vec<_>>());
        let measurement = match (failed.is_empty(), passed.is_empty()) {
            (true, _) => format!("measured: {passed}; no hard limit is broken"),
            (false, false) => format!("within the limits: {passed}; not: {}", failed.join("; ")),
            (false, true) => format!("none within the limits: {}", failed.join("; ")),
        };
        Finding { answer: candidates.len() > 1 && !passed.is_empty(), measurement }
    }

    fn enough_questions(&self, outcome: Outcome, recommended: Option<Arm>) -> Finding {
        let have = format!("{} questions from {} sources", self.questions, self.clusters);
        if !self.exploratory() {
            return Finding {
                answer: true,
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
            None => Finding { answer: false, measurement: format!("{have}; {asked}") },
            Some(weakest) => Finding {
                answer: weakest.difference > weakest.detectable,
                measurement: format!(
                    "{have}; {asked}; {} is {} points, and {} are the least that so few can show",
                    weakest.name,
                    size(weakest.difference),
                    size(weakest.detectable)
                ),
            },
        }
    }

    /// The cheaper of `base` and `few-shot` that is shown to meet the target.
    fn enough_already(&self) -> (Option<Arm>, Finding) {
        let simple: Vec<&ArmSummary> = self
            .eligible()
            .into_iter()
            .filter(|arm| matches!(arm.arm, Arm::Base | Arm::FewShot))
            .collect();
        let scores: Vec<String> = simple
            .iter()
            .map(|arm| format!("{} {}", arm.arm, percent_interval(arm.score)))
            .collect();
        let scores =
            if scores.is_empty() { "neither measured".to_owned() } else { scores.join("; ") };
        let Some(target) = self.rule.target else {
            return (
                None,
                Finding { answer: false, measurement: format!("no target given; {scores}") },
            );
        };
        let found = simple.iter().find(|arm| arm.score.lower >= target).map(|arm| arm.arm);
        let measurement = format!("target {}; {scores}", percent(target));
        (found, Finding { answer: found.is_some(), measurement })
    }

    /// The passages would help, but retrieval does not bring them. This is shown when
    /// 1. oracle - rag is above the margin (lower bound),
    /// 2. so is oracle - best eligible arm: nothing measured makes up for it,
    /// 3. no eligible arm is shown to meet the target, and
    /// 4. all of them are shown to miss it, or retrieval brings less than half of what the gold
    ///    passages would: (rag - base) / (oracle - base) < 1/2. Retrieval that delivers more than
    ///    that is no reason to hold back a decision, even if it could still be improved.
    fn retrieval_holds_back(&self) -> Finding {
        let no = |measurement: &str| Finding { answer: false, measurement: measurement.to_owned() };
        let Some(best) = self.best() else { return no("no arm to compare with") };
        let Some(headroom) = self.contrast(Arm::Oracle, Arm::Rag) else {
            return no("oracle and rag were not both measured");
        };
        let over_best = match self.contrast(Arm::Oracle, best.arm) {
            Some(contrast) => contrast.difference,
            None => return no("the oracle arm shares no question with the best arm"),
        };
        let worth = self.contrast(Arm::Oracle, Arm::Base).map_or(1.0, |c| c.difference.estimate);
        let delivered = 1.0 - headroom.difference.estimate / worth.max(f64::MIN_POSITIVE);
        let shown = |lower: f64| lower > self.rule.margin;
        let met = self
            .rule
            .target
            .is_some_and(|target| self.eligible().iter().any(|a| a.score.lower >= target));
        let held = shown(headroom.difference.lower) && shown(over_best.lower);
        let mut measurement = format!("oracle - rag: {}", points_interval(headroom.difference));
        if best.arm != Arm::Rag {
            measurement += &format!("; oracle - {}: {}", best.arm, points_interval(over_best));
        }
        if worth > 0.0 {
            measurement += &format!(
                "; retrieval delivers {:.0} % of what the gold passages are worth",
                100.0 * delivered.clamp(0.0, 1.0)
            );
        }
        Finding {
            answer: held && !met && (self.target_missed_by_all() || delivered < HALF),
            measurement,
        }
    }

    /// It is too early to choose among untrained arms: no arm was fine-tuned, and either the
    /// ceiling gate is open, or it was not read and nothing measured is good enough.
    fn fine_tuning_is_due(&self, needed: Option<f64>) -> Finding {
        let trained: Vec<Arm> =
            self.arms.iter().map(|arm| arm.arm).filter(|arm| arm.needs_adapter()).collect();
        let (due, gate) = match self.gate {
            Some(gate) if gate.open => (true, "the ceiling gate is open"),
            Some(_) => (false, "the ceiling gate is shut"),
            None => (
                needed.is_some_and(|needed| self.all_below(needed)),
                "the ceiling gate was not read",
            ),
        };
        let measured = match &trained[..] {
            [] => "no fine-tuned arm measured".to_owned(),
            trained => format!("measured: {}", names(trained)),
        };
        Finding { answer: due && trained.is_empty(), measurement: format!("{gate}; {measured}") }
    }

    /// What an arm must reach: the target. Without a target, half of the questions are needed where
    /// the choice would be `base`: when every arm fails more than half, "nothing needed" would be
    /// the wrong advice.
    fn needed(&self, choice: &Choice) -> Option<f64> {
        self.rule.target.or(matches!(choice, Choice::Arm(Arm::Base)).then_some(HALF))
    }

    /// Nothing reaches what is needed, and the cause is in the data (or the model): either most of
    /// RAG's errors are right under no arm, or the learning curve still rises.
    fn data_is_missing(&self, needed: Option<f64>) -> Finding {
        let below = needed.is_some_and(|needed| self.all_below(needed));
        let defects = self.attribution.map_or(0.0, |attribution| attribution.share(Class::Defect));
        let rising = self.curve.is_some_and(|curve| curve.still_rises(self.rule.margin));
        let mut parts = Vec::new();
        match (needed, self.best()) {
            (Some(needed), Some(best)) => parts.push(format!(
                "needed {}; best: {} {}",
                percent(needed),
                best.arm,
                percent_interval(best.score)
            )),
            _ => parts.push("no target given".to_owned()),
        }
        if let Some(attribution) = self.attribution.filter(|attribution| attribution.errors() > 0) {
            parts.push(format!(
                "{} of {} RAG errors are right under no arm",
                attribution.count(Class::Defect),
                attribution.errors()
            ));
        }
        if let Some(curve) = self.curve {
            parts.push(format!("twice the pairs: {}", points_interval(curve.gain_of_doubling)));
        }
        Finding { answer: below && (defects > HALF || rising), measurement: parts.join("; ") }
    }

    fn shown_not_worse(&self, choice: &Choice) -> Finding {
        let (answer, arm) = match choice {
            Choice::Arm(arm) | Choice::Open { arm, .. } => (true, Some(*arm)),
            Choice::None { nearest } => (false, *nearest),
        };
        let measurement = match arm {
            None => "no arm is eligible".to_owned(),
            Some(arm) => match self.closest_rival(arm) {
                None => format!("{arm} is the only arm within the limits"),
                Some(contrast) if answer => format!(
                    "{arm}: nearest rival {}, {arm} - {}: {}",
                    contrast.b,
                    contrast.b,
                    points_interval(contrast.difference)
                ),
                Some(contrast) => format!(
                    "nearest is {arm}, but {arm} - {}: {}",
                    contrast.b,
                    points_interval(contrast.difference)
                ),
            },
        };
        Finding { answer, measurement }
    }

    fn cheaper_shown_worse(&self, choice: &Choice) -> Finding {
        let (arm, answer) = match choice {
            Choice::Arm(arm) => (*arm, true),
            Choice::Open { arm, .. } => (*arm, false),
            Choice::None { .. } => {
                return Finding {
                    answer: false,
                    measurement: "no arm to hold the cheaper ones against".to_owned(),
                };
            }
        };
        let open: &[Arm] = if let Choice::Open { cheaper, .. } = choice { cheaper } else { &[] };
        let cheaper: Vec<Arm> = self.cheaper_than(arm).iter().map(|summary| summary.arm).collect();
        let shown = |other: &Arm| {
            let contrast = self.contrast(*other, arm)?;
            let p = p_value(contrast.p_holm);
            Some(format!("{other} - {arm}: {}, p {p}", points_interval(contrast.difference)))
        };
        let list = if answer { &cheaper[..] } else { open };
        let parts: Vec<String> = list.iter().filter_map(shown).collect();
        let measurement = match (cheaper.is_empty(), answer) {
            (true, _) => format!("{arm} is the cheapest"),
            (false, true) => parts.join("; "),
            (false, false) => format!("not shown: {}", parts.join("; ")),
        };
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
    let answer = if finding.answer { Answer::Yes } else { Answer::No };
    let (id, question) = (id.to_owned(), question.to_owned());
    Node { id, question, measurement: finding.measurement, answer, yes, no, reached: false }
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
