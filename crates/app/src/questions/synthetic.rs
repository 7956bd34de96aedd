//! Questions that the generator writes about passages, for projects that have none yet.
//!
//! They show whether retrieval finds a passage again. They are not what people ask: they repeat the
//! passage's words, some fit other passages as well, and they favour the index on whose passages
//! they were written. So they are marked, reported apart from the user's own, and no decision rests
//! on them. Which passages are asked about is drawn by hash and does not hang on what retrieval
//! finds.

use std::ops::{ControlFlow, Range, RangeInclusive};

use lm::{GenerateOptions, Message, Model, Role};
use store::{DocumentId, Synthetic};

use super::leak::{normalised_tokens, similar};
use super::question::{Evidence, Place, Question, Split};
use crate::Progress;
use crate::ask::citation::{content_words, sentences};
use crate::error::{Error, Result};
use crate::models::hash_bytes;
use crate::prompt::Passage;
use crate::search::knowledge::Knowledge;

/// The name under which they are reported; no set can bear it.
pub const SYNTHETIC: &str = "(synthetic)";

/// A passage must have so many words to be asked about.
const FEWEST_WORDS: usize = 20;

/// A question may have so many tokens; what comes after them is cut off.
const MOST_TOKENS: usize = 48;

/// Words of a question that can stand alone.
const QUESTION_WORDS: RangeInclusive<usize> = 4..=40;

/// Content words that a question must share with the passage it is about.
const FEWEST_SHARED: usize = 2;

/// The model that writes questions.
#[derive(Clone, Copy)]
pub struct QuestionAuthor<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its name, which is kept with each question.
    pub name: &'a str,
}

/// What came of writing questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WritingReport {
    /// Questions that are new.
    pub written: usize,
    /// Passages for which the model wrote nothing that could be used.
    pub passed_over: usize,
}

/// Writes questions about passages that have none, until there are `count` in all or no passage is
/// left. Reports how many there are.
///
/// # Errors
/// [`Error::NoDocuments`]; those of the model; [`Error::Interrupted`]: what is written is kept, and
/// the next call goes on.
pub fn write(
    knowledge: &mut Knowledge,
    author: &QuestionAuthor<'_>,
    count: usize,
    progress: &mut Progress<'_, usize>,
) -> Result<WritingReport> {
    let passages = passages(knowledge)?;
    let known = knowledge.store.synthetic()?;
    let mut tokens: Vec<Vec<String>> =
        known.iter().map(|other| normalised_tokens(&other.question)).collect();
    let mut done = WritingReport::default();
    for passage in passages {
        let so_far = known.len() + done.written;
        progress.report(so_far);
        if so_far >= count {
            break;
        }
        let asked_about = |other: &Synthetic| {
            other.path == passage.path
                && passage.span.start <= other.span.start
                && other.span.end <= passage.span.end
        };
        if known.iter().any(asked_about) {
            continue;
        }
        progress.check()?;
        let said = ask_for_question(author.model, &passage.shown)?;
        let question = question_in(&said, &passage.shown.text).filter(|question| {
            let fresh = normalised_tokens(question);
            tokens.iter().all(|other| !similar(&fresh, other))
        });
        match question {
            None => done.passed_over += 1,
            Some(question) => {
                let evidence = passage.evidence(&question);
                let (document, name) = (passage.document, author.name);
                knowledge.store.put_synthetic(document, &evidence, &question, name)?;
                tokens.push(normalised_tokens(&question));
                done.written += 1;
            }
        }
    }
    Ok(done)
}

/// The questions there are, with the sentences they are about as their evidence.
pub fn questions(knowledge: &Knowledge) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    for synthetic in knowledge.store.synthetic()? {
        let Some(document) = knowledge.store.document(&synthetic.path)? else { continue };
        let text = knowledge.store.document_text(document.id, None)?.unwrap_or_default();
        let Some(quote) = text.get(synthetic.span) else { continue };
        questions.push(Question {
            id: format!("synthetic-{}", synthetic.id),
            instruction: String::new(),
            text: synthetic.question,
            answers: Vec::new(),
            patterns: Vec::new(),
            evidence: vec![Evidence { document: synthetic.path, quote: quote.to_owned() }],
            paraphrases: Vec::new(),
            slice: None,
            completion: String::new(),
            group: None,
            split: Split::Dev,
            place: Place::default(),
        });
    }
    Ok(questions)
}

/// A chunk that may be asked about.
struct Askable {
    document: DocumentId,
    path: String,
    span: Range<usize>,
    /// The bytes of `span`.
    text: String,
    shown: Passage,
}

impl Askable {
    /// The sentence that a question about the passage is likely to be about, as bytes of the
    /// document: the one that shares most words with it.
    fn evidence(&self, question: &str) -> Range<usize> {
        let asked = content_words(question);
        let shared = |span: &Range<usize>| {
            let told = content_words(&self.text[span.clone()]);
            asked.iter().filter(|word| told.contains(*word)).count()
        };
        // Of equals the first.
        let best = sentences(&self.text).into_iter().rev().max_by_key(shared);
        best.map_or(self.span.clone(), |best| {
            self.span.start + best.start..self.span.start + best.end
        })
    }
}

/// Chunks with enough words, in an order drawn by hash.
fn passages(knowledge: &Knowledge) -> Result<Vec<Askable>> {
    let mut found = Vec::new();
    for document in knowledge.store.documents()? {
        let text = knowledge.store.document_text(document.id, None)?.unwrap_or_default();
        for (_, chunk) in knowledge.store.chunks(document.id)? {
            let said = chunk.text(&text).unwrap_or_default();
            if said.split_whitespace().count() < FEWEST_WORDS {
                continue;
            }
            let shown = Passage::new(document.title.as_deref(), &chunk.heading_path, &said);
            let drawn = hash_bytes(format!("{}\n{}", document.path, said).as_bytes());
            let bytes = text.get(chunk.span.clone()).unwrap_or_default().to_owned();
            let path = document.path.clone();
            found.push((
                drawn,
                Askable { document: document.id, path, span: chunk.span, text: bytes, shown },
            ));
        }
    }
    if found.is_empty() {
        return Err(Error::NoDocuments);
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found.into_iter().map(|(_, askable)| askable).collect())
}

/// Two passages with questions as people ask them: a small model follows an example better than a
/// rule.
const EXAMPLES: [(&str, &str); 2] = [
    (
        "The harbour of Lund opened in 1904. Its first crane, built by Nilsson & Sons, could lift four tonnes.",
        "Who built the first crane in the harbour of Lund?",
    ),
    (
        "To reset the device, hold the power button for ten seconds until the light turns red.",
        "How long do I have to hold the power button to reset the device?",
    ),
];

fn ask_for_question(model: &Model, passage: &Passage) -> Result<String> {
    let turn = |text: &str| format!("Write one question that this passage answers.\n\n{text}");
    let mut messages = Vec::new();
    for (text, question) in EXAMPLES {
        messages.push(Message::new(Role::User, turn(text)));
        messages.push(Message::new(Role::Assistant, question));
    }
    messages.push(Message::new(Role::User, turn(&format!("{}\n{}", passage.place, passage.text))));
    let options = GenerateOptions { max_tokens: MOST_TOKENS, ..GenerateOptions::default() };
    Ok(model.generate(&messages, None, &options, &mut |_| ControlFlow::Continue(()))?.text)
}

/// The question in what a model said, if it can stand alone and is about the passage.
fn question_in(said: &str, passage: &str) -> Option<String> {
    let line = said.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.strip_prefix("Question:").unwrap_or(line).trim().trim_matches('"');
    let question = &line[..=line.find('?')?];
    let words = question.split_whitespace().count();
    let lower = question.to_lowercase();
    let points =
        ["passage", "the text", "the author", "the article", "this section", "the paragraph"];
    let stands_alone =
        QUESTION_WORDS.contains(&words) && points.iter().all(|point| !lower.contains(point));
    let (asked, told) = (content_words(question), content_words(passage));
    let shared = asked.iter().filter(|word| told.contains(*word)).count();
    (stands_alone && shared >= FEWEST_SHARED).then(|| question.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_that_shares_most_words_is_the_evidence() {
        let text = "# Lund\n\nThe harbour opened in 1904. Its first crane could lift four tonnes. It was blue.";
        let askable = Askable {
            document: DocumentId(1),
            path: String::new(),
            span: 100..100 + text.len(),
            text: text.to_owned(),
            shown: Passage::new(None, &[], text),
        };
        let said = |question: &str| {
            let span = askable.evidence(question);
            &text[span.start - 100..span.end - 100]
        };
        assert_eq!(
            said("How many tonnes could the first crane lift?"),
            "Its first crane could lift four tonnes."
        );
        assert_eq!(said("When was the harbour opened?"), "The harbour opened in 1904.");
    }

    #[test]
    fn questions_that_cannot_stand_alone_are_passed_over() {
        let passage = "The harbour of Lund opened in 1904 with one crane.";
        let taken = |said: &str| question_in(said, passage);
        assert_eq!(
            taken("\nQuestion: \"When did the harbour of Lund open? It").as_deref(),
            Some("When did the harbour of Lund open?")
        );
        assert_eq!(taken("What is the harbour of Lund in this passage?"), None);
        assert_eq!(taken("The harbour of Lund opened in 1904."), None);
        assert_eq!(taken("Who painted the Mona Lisa in Paris?"), None);
        assert_eq!(taken("Lund harbour?"), None);
        assert_eq!(taken(""), None);
    }
}
