//! Questions that two splits hold: the same one, nearly the same, or the same in other words.
//!
//! - `sketch`: what of a question decides
//! - `likeness`: whether two questions are the same
//! - `search`: finding them without comparing all with all
//! - `paraphrase`: by their vectors and answers

mod likeness;
mod paraphrase;
mod search;
mod sketch;
mod token_sets;
mod words;

#[cfg(test)]
mod cases;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

pub use likeness::Likeness;
pub(crate) use search::{Pairs, Sketches};
pub use token_sets::normalised_tokens;
pub(crate) use token_sets::similar;

use super::question::{Question, Split};

/// A question that another split holds too, which is why it is left out of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// The question that is left out.
    pub question: LeakSide,
    /// The question that is the same.
    pub twin: LeakSide,
    /// In what way.
    pub likeness: Likeness,
}

/// One of two questions that are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakSide {
    /// Its id.
    pub id: String,
    /// Its split.
    pub split: Split,
    /// Its text.
    pub text: String,
}

impl From<&Question> for LeakSide {
    fn from(question: &Question) -> Self {
        let Question { id, split, text, .. } = question;
        Self { id: id.clone(), split: *split, text: text.clone() }
    }
}

/// A document with evidence for questions of more than one split: what is learnt or chosen with one
/// may tell about the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDocument {
    /// The document's name.
    pub document: String,
    /// Questions of train, dev and test with evidence in it.
    pub questions: [usize; 3],
}

/// The questions that other splits hold by their words, in the order of the questions.
pub fn leaks(questions: &[&Question]) -> Vec<Leak> {
    let found = Sketches::of(questions.to_vec()).pairs(|a, b| a.split != b.split);
    of_pairs(questions, found)
}

/// The questions that other splits hold in other words. `vectors` are those of the questions, of
/// length 1.
pub(crate) fn paraphrased(questions: &[&Question], vectors: &[Vec<f32>]) -> Vec<Leak> {
    of_pairs(questions, Sketches::of(questions.to_vec()).paraphrases(vectors))
}

/// A question's words, figures and operators in order: the same for questions that differ in case,
/// spacing and punctuation alone.
pub(crate) fn word_key(text: &str) -> String {
    let tokens = sketch::Sketch::of(text).tokens.into_iter();
    tokens.map(|token| token.text).collect::<Vec<_>>().join(" ")
}

/// For each question that is left out the closest one of each other split. What train holds is left
/// out of dev and test, what test holds of dev: choices may miss a question, the test may not be
/// chosen for.
fn of_pairs(questions: &[&Question], pairs: Pairs) -> Vec<Leak> {
    let mut closest: BTreeMap<(usize, Split), (usize, Likeness)> = BTreeMap::new();
    for pair in pairs.found {
        let [a, b] = pair.places;
        let rank = |place: usize| match questions[place].split {
            Split::Train => 0,
            Split::Test => 1,
            Split::Dev => 2,
        };
        let (out, twin) = if rank(a) > rank(b) { (a, b) } else { (b, a) };
        let found = (twin, pair.likeness);
        let known = closest.entry((out, questions[twin].split)).or_insert(found);
        if closeness(found.1) > closeness(known.1) {
            *known = found;
        }
    }
    let leak = |((out, _), (twin, likeness)): ((usize, Split), (usize, Likeness))| Leak {
        question: questions[out].into(),
        twin: questions[twin].into(),
        likeness,
    };
    closest.into_iter().map(leak).collect()
}

fn closeness(likeness: Likeness) -> f32 {
    match likeness {
        Likeness::Same => 3.0,
        Likeness::Near => 2.0,
        Likeness::Paraphrase { cosine } => cosine,
    }
}

/// The documents with evidence for questions of more than one split, by name.
pub fn shared_documents<'a>(
    questions: impl IntoIterator<Item = &'a Question>,
) -> Vec<SharedDocument> {
    let mut counts: HashMap<&str, [usize; 3]> = HashMap::new();
    for question in questions {
        let mut documents: Vec<&str> =
            question.evidence.iter().map(|evidence| evidence.document.as_str()).collect();
        documents.sort_unstable();
        documents.dedup();
        for document in documents {
            counts.entry(document).or_default()[question.split as usize] += 1;
        }
    }
    let mut shared: Vec<SharedDocument> = counts
        .into_iter()
        .filter(|(_, counts)| counts.iter().filter(|count| **count > 0).count() > 1)
        .map(|(document, questions)| SharedDocument { document: document.to_owned(), questions })
        .collect();
    shared.sort_by(|a, b| a.document.cmp(&b.document));
    shared
}
