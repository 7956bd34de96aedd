//! The one renderer from (arm, question, passages, examples) to messages. Answering, training and
//! evaluation all use it, so that a model is trained on the prompts that it is asked with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use eval::{Arm, Measure};
use lm::{ChatTemplate, Message, Role, Tokenizer};
use serde::{Deserialize, Serialize};
use store::Hit;

use crate::Result;
use crate::project::config::SetConfig;
use crate::questions::Question;

/// What `ask` tells the model where no question set says otherwise.
pub const DEFAULT_INSTRUCTION: &str = "Answer the question from the passages, briefly and in full \
     sentences. If they do not hold the answer, say so.";

/// A chunk in a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// Where it stands: document title and headings.
    pub place: String,
    /// What it says.
    pub text: String,
}

impl Passage {
    /// A passage of a document.
    pub fn new(title: Option<&str>, heading_path: &[String], text: &str) -> Self {
        let mut place: Vec<&str> = heading_path.iter().map(String::as_str).collect();
        if let Some(title) = title
            && place.first() != Some(&title)
        {
            place.insert(0, title);
        }
        Self { place: place.join(" > "), text: text.trim().to_owned() }
    }
}

impl From<&Hit> for Passage {
    fn from(hit: &Hit) -> Self {
        Self::new(hit.title.as_deref(), &hit.heading_path, &hit.text)
    }
}

/// A training example shown in a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shot {
    /// Its question.
    pub question: String,
    /// Its answer.
    pub answer: String,
}

/// What a prompt is made of.
#[derive(Clone, Debug, Default)]
pub struct Prompt<'a> {
    /// The system prompt; empty for none.
    pub instruction: &'a str,
    /// The labels to choose from, which the system prompt names; none where answers are free.
    pub labels: &'a [String],
    /// The question.
    pub question: &'a str,
    /// Passages, best first.
    pub passages: Vec<Passage>,
    /// Examples, nearest first.
    pub shots: Vec<Shot>,
    /// Turns of the conversation before the question.
    pub history: &'a [Message],
}

impl Prompt<'_> {
    /// The messages for `arm`: passages only where the arm uses them, examples only where it uses
    /// those.
    pub fn messages(&self, arm: Arm) -> Vec<Message> {
        let mut messages = Vec::with_capacity(2 + 2 * self.shots.len());
        let system = system(self.instruction, self.labels);
        if !system.is_empty() {
            messages.push(Message::new(Role::System, system));
        }
        if arm.uses_examples() {
            // The nearest example stands next to the question.
            for shot in self.shots.iter().rev() {
                messages.push(Message::new(Role::User, &shot.question));
                messages.push(Message::new(Role::Assistant, &shot.answer));
            }
        }
        messages.extend_from_slice(self.history);
        let passages = if arm.uses_passages() { &self.passages[..] } else { &[] };
        messages.push(Message::new(Role::User, turn(self.question, passages)));
        messages
    }

    /// As [`Prompt::messages`], leaving out the last passages, the furthest examples and the oldest
    /// turns until the prompt takes at most `limit` tokens (or nothing is left to leave out). They
    /// are [completed](ChatTemplate::completed), so that they hold all that the model reads.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn fit(
        mut self,
        arm: Arm,
        template: &ChatTemplate,
        tokenizer: &Tokenizer,
        limit: usize,
    ) -> Result<Vec<Message>> {
        loop {
            let messages = self.messages(arm);
            if template.prompt_ids(tokenizer, &messages)?.len() <= limit {
                return Ok(template.completed(&messages).into_owned());
            }
            let shortened = match self.history {
                [_, _, rest @ ..] => {
                    self.history = rest;
                    true
                }
                _ => {
                    self.shots.pop().is_some()
                        || (self.passages.len() > 1 && self.passages.pop().is_some())
                }
            };
            if !shortened {
                return Ok(template.completed(&messages).into_owned());
            }
        }
    }
}

/// What the prompts of a set are like, beside questions, passages and examples. An adapter answers
/// prompts of the form that it was trained with, and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptForm {
    /// The labels that are named.
    pub labels: Vec<String>,
    /// Whether [`lm::NEUTRAL_SYSTEM`] stands where the model's maker would introduce the model.
    pub neutral_system: bool,
}

impl PromptForm {
    /// The form of the prompts of a set with these labels.
    pub fn of(set: &SetConfig, labels: &[String], template: &ChatTemplate) -> Self {
        let instruction = set.instruction.as_deref().unwrap_or_default();
        let named = !labels.is_empty() && !names_all(instruction, labels);
        let question = [Message::new(Role::User, "")];
        let supplied = matches!(template.completed(&question), Cow::Owned(_));
        Self {
            labels: if named { labels.to_vec() } else { Vec::new() },
            neutral_system: supplied && system(instruction, labels).is_empty(),
        }
    }
}

/// The labels that the prompts of a set name: the distinct answers of its training questions, in
/// alphabetical order, if the measure is on labels and there are no more of them than the set
/// allows. Of spellings that count as the same label, the most frequent one is named.
pub fn labels(set: &SetConfig, train: &[Question]) -> Vec<String> {
    if !may_name_labels(set) {
        return Vec::new();
    }
    let mut spellings: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for question in train {
        let label = question.completion.trim();
        *spellings.entry(label.to_lowercase()).or_default().entry(label).or_insert(0) += 1;
    }
    spellings.remove("");
    if spellings.len() > set.name_labels {
        return Vec::new();
    }
    let most_frequent = |spellings: BTreeMap<&str, usize>| {
        let most = spellings.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map(|(label, _)| label.to_owned())
    };
    spellings.into_values().filter_map(most_frequent).collect()
}

/// Whether the prompts of a set name its labels if they are few enough.
pub fn may_name_labels(set: &SetConfig) -> bool {
    set.measure == Measure::Label && set.name_labels > 0
}

/// The system prompt: the instruction, then the labels unless it names them all.
fn system<'a>(instruction: &'a str, labels: &[String]) -> Cow<'a, str> {
    if labels.is_empty() || names_all(instruction, labels) {
        return Cow::Borrowed(instruction);
    }
    let named = format!("Answer with one of these labels and nothing else:\n{}", labels.join("\n"));
    Cow::Owned(if instruction.is_empty() { named } else { format!("{instruction}\n\n{named}") })
}

/// Whether every label stands in the instruction as words of its own.
fn names_all(instruction: &str, labels: &[String]) -> bool {
    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    labels.iter().all(|label| {
        instruction.match_indices(label.as_str()).any(|(at, found)| {
            apart(instruction[..at].chars().next_back())
                && apart(instruction[at + found.len()..].chars().next())
        })
    })
}

/// The user's turn: the passages, the best one last, then the question.
///
/// Small models lean on what they read last: with the best passage next to the question instead of
/// first, SmolLM2-135M answers twice as many of the example's dev questions (0.32 against 0.17),
/// and naming the task after the passages adds to it (0.38).
fn turn(question: &str, passages: &[Passage]) -> String {
    if passages.is_empty() {
        return question.to_owned();
    }
    let mut text = String::from("Passages:\n");
    for Passage { place, text: passage } in passages.iter().rev() {
        // Many chunks start with their own heading: then the place would be said twice.
        if !place.is_empty() && !passage.starts_with('#') {
            text.push_str(place);
            text.push_str(":\n");
        }
        for line in passage.lines().filter(|line| !line.trim().is_empty()) {
            text.push_str(line.trim_start_matches('#').trim_start());
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str("Answer from the passages above.\nQuestion: ");
    text.push_str(question);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt() -> Prompt<'static> {
        Prompt {
            instruction: "Be brief.",
            labels: &[],
            question: "Who?",
            passages: vec![
                Passage::new(
                    Some("Guide"),
                    &["Guide".into(), "Crew".into()],
                    "Ada is the pilot.\n",
                ),
                Passage::new(None, &[], "# Crew\nBo cooks."),
            ],
            shots: vec![
                Shot { question: "Near?".into(), answer: "Yes.".into() },
                Shot { question: "Far?".into(), answer: "No.".into() },
            ],
            history: &[],
        }
    }

    fn rendered(arm: Arm) -> String {
        prompt()
            .messages(arm)
            .iter()
            .map(|message| format!("{:?}: {}\n", message.role, message.content))
            .collect()
    }

    #[test]
    fn each_arm_sees_what_it_should() {
        assert_eq!(rendered(Arm::Base), "System: Be brief.\nUser: Who?\n");
        assert_eq!(rendered(Arm::Tuned), rendered(Arm::Base));
        assert_eq!(
            rendered(Arm::FewShot),
            "System: Be brief.\nUser: Far?\nAssistant: No.\nUser: Near?\nAssistant: Yes.\n\
             User: Who?\n"
        );
        let rag = "System: Be brief.\nUser: Passages:\nCrew\nBo cooks.\n\n\
                   Guide > Crew:\nAda is the pilot.\n\n\
                   Answer from the passages above.\nQuestion: Who?\n";
        for arm in [
            Arm::Rag,
            Arm::Oracle,
            Arm::OracleDistractors,
            Arm::TunedRag,
            Arm::Raft,
            Arm::RaftOracle,
        ] {
            assert_eq!(rendered(arm), rag, "{arm}");
        }
    }

    #[test]
    fn every_arm_names_the_labels_once() {
        let labels = ["no".to_owned(), "yes".to_owned()];
        let instructed = |instruction, arm| {
            let prompt = Prompt { instruction, labels: &labels, ..prompt() };
            prompt.messages(arm)[0].content.clone()
        };
        let named = "Answer with one of these labels and nothing else:\nno\nyes";
        for arm in Arm::ALL {
            assert_eq!(instructed("", arm), named, "{arm}");
            assert_eq!(instructed("Be brief.", arm), format!("Be brief.\n\n{named}"), "{arm}");
            assert_eq!(instructed("Say yes or no.", arm), "Say yes or no.", "{arm}");
            let within = "Say eyes or notes.";
            assert_eq!(instructed(within, arm), format!("{within}\n\n{named}"), "{arm}");
        }
    }

    #[test]
    fn labels_are_those_of_train_in_a_stable_order_and_few() {
        let train: Vec<Question> = ["no", "Yes", "yes", " yes ", "no"]
            .iter()
            .enumerate()
            .map(|(index, answer)| crate::compare::question(&index.to_string(), answer))
            .collect();
        let set = |measure, name_labels| SetConfig { measure, name_labels, ..SetConfig::default() };
        let of = |set: SetConfig, train: &[Question]| labels(&set, train);
        assert_eq!(of(set(Measure::Label, 30), &train), ["no", "yes"]);
        let reversed: Vec<Question> = train.iter().rev().cloned().collect();
        assert_eq!(of(set(Measure::Label, 2), &reversed), ["no", "yes"]);
        assert!(of(set(Measure::Label, 1), &train).is_empty(), "too many");
        assert!(of(set(Measure::Label, 0), &train).is_empty(), "switched off");
        assert!(of(set(Measure::Contains, 30), &train).is_empty(), "no labels");
    }

    #[test]
    fn the_form_tells_what_an_adapter_was_trained_with() {
        let template = lm::Source::tiny(1).unwrap().template;
        let labels = ["no".to_owned(), "yes".to_owned()];
        let form = |instruction: Option<&str>, labels: &[String]| {
            let instruction = instruction.map(str::to_owned);
            let set = SetConfig { instruction, ..SetConfig::default() };
            PromptForm::of(&set, labels, &template)
        };
        assert_eq!(form(None, &[]), PromptForm::default(), "as in manifests that tell nothing");
        assert_eq!(form(Some("Say yes or no."), &labels), PromptForm::default());
        assert_eq!(form(None, &labels).labels, labels);
    }
}
