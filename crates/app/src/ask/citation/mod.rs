//! Citations: which sentences of the retrieved passages support an answer, as exact quotes with
//! their place.
//!
//! Each sentence of an answer is compared with the passage sentence that is nearest to it. Two
//! numbers then say how far that passage sentence supports it: the share of the answer's words that
//! stand there, counting only words that the question did not hold, and the cosine of its vector
//! with that of question and answer. Their weights come from a logistic regression (Cox 1958) on
//! sentences that the default model wrote for squad's training questions: those with the right
//! answer against all others, both kinds weighing the same (docs/log.md). A sentence that nothing
//! supports gets no citation and is marked as unsupported.

mod text;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use lm::Encoder;
use serde::Serialize;
use store::{DocumentId, Hit, Store};

use crate::Result;
pub(crate) use text::content_words;
pub use text::sentences;
use text::words;

/// Weight of the share of new words that the quote holds.
const NEW_WORDS: f64 = 2.0;
/// Weight of the cosine of the quote with question and answer.
const COSINE: f64 = 5.4;
/// Intercept of the regression: what the other two terms have to outweigh.
const BIAS: f64 = -4.8;
/// A sentence is supported from this value on: its evidence is then more typical of right answers
/// than of wrong ones.
const SUPPORTED: f64 = 0.5;

/// A sentence of a document that supports an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Citation {
    /// The document's name.
    pub document: String,
    /// Its version, so that the quote can be checked after an edit.
    pub version: u32,
    /// The headings above the sentence.
    pub heading_path: Vec<String>,
    /// Bytes of the document's canonical text.
    pub span: Range<usize>,
    /// Those bytes.
    pub quote: String,
    /// Of the answer sentence's words that the question did not hold, the share that stand in the
    /// quote.
    pub overlap: f64,
    /// Cosine between the vectors of the quote and of question and answer sentence.
    pub cosine: f32,
}

/// A sentence of an answer and what supports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// Bytes of the answer.
    pub span: Range<usize>,
    /// The strength of its support, 0 to 1; from one half on it counts as supported.
    pub support: f64,
    /// Indices of the citations that support it; empty when nothing does.
    pub citations: Vec<usize>,
}

impl Claim {
    /// Whether something supports it.
    pub fn is_supported(&self) -> bool {
        !self.citations.is_empty()
    }
}

/// What an answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Support {
    /// The answer, sentence by sentence.
    pub claims: Vec<Claim>,
    /// Every quote that supports a claim, each once.
    pub citations: Vec<Citation>,
}

impl Support {
    /// Whether every sentence of the answer is supported.
    pub fn is_whole(&self) -> bool {
        !self.claims.is_empty() && self.claims.iter().all(Claim::is_supported)
    }

    /// The support of the sentence with the least support; 0 for an empty answer.
    pub fn weakest(&self) -> f64 {
        self.claims.iter().map(|claim| claim.support).min_by(f64::total_cmp).unwrap_or(0.0)
    }
}

/// A sentence of a passage.
struct PassageSentence<'a> {
    hit: &'a Hit,
    span: Range<usize>,
    quote: String,
    words: HashSet<String>,
}

/// Finds what supports `answer` in the passages that were in its prompt.
///
/// # Errors
/// The store cannot be read.
pub fn support(
    question: &str,
    answer: &str,
    hits: &[Hit],
    store: &Store,
    encoder: &Encoder,
) -> Result<Support> {
    let sources = sources(hits, store)?;
    let spans = sentences(answer);
    let asked: Vec<String> =
        spans.iter().map(|span| format!("{question} {}", &answer[span.clone()])).collect();
    let quotes = sources.iter().map(|source| source.quote.as_str());
    let texts: Vec<&str> = asked.iter().map(String::as_str).chain(quotes).collect();
    let vectors = encoder.embed(&texts)?;
    let (asked, quoted) = vectors.split_at(spans.len());
    let mut support = Support::default();
    for (span, vector) in spans.into_iter().zip(asked) {
        let cosines: Vec<f32> = quoted.iter().map(|other| dot(vector, other)).collect();
        let (weight, citation) = weigh(question, &answer[span.clone()], &sources, &cosines);
        let citations = citation.map(|citation| {
            let same = |other: &Citation| {
                (&other.document, &other.span) == (&citation.document, &citation.span)
            };
            support.citations.iter().position(same).unwrap_or_else(|| {
                support.citations.push(citation);
                support.citations.len() - 1
            })
        });
        support.claims.push(Claim {
            span,
            support: weight,
            citations: citations.into_iter().collect(),
        });
    }
    Ok(support)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sources<'a>(hits: &'a [Hit], store: &Store) -> Result<Vec<PassageSentence<'a>>> {
    let mut texts: HashMap<(DocumentId, u32), String> = HashMap::new();
    let mut sources = Vec::new();
    for hit in hits {
        let key = (hit.document, hit.version);
        let text = match texts.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => fresh
                .insert(store.document_text(hit.document, Some(hit.version))?.unwrap_or_default()),
        };
        let Some(passage) = text.get(hit.span.clone()) else { continue };
        // A heading names a topic but states nothing that could support an answer.
        let stating =
            sentences(passage).into_iter().filter(|span| !passage[span.clone()].starts_with('#'));
        sources.extend(stating.map(|span| {
            let quote = passage[span.clone()].to_owned();
            let span = hit.span.start + span.start..hit.span.start + span.end;
            PassageSentence { hit, span, words: words(&quote), quote }
        }));
    }
    Ok(sources)
}

/// How far the best of `sources` supports a sentence of an answer, 0 to 1, and its citation where
/// that is enough. `cosines` holds one cosine a source, with the vector of question and sentence.
fn weigh(
    question: &str,
    claim: &str,
    sources: &[PassageSentence],
    cosines: &[f32],
) -> (f64, Option<Citation>) {
    let content = content_words(claim);
    let share = |words: &HashSet<String>, source: &PassageSentence| {
        words.iter().filter(|word| source.words.contains(*word)).count() as f64
            / words.len().max(1) as f64
    };
    let nearness = |index: usize| share(&content, &sources[index]) + f64::from(cosines[index]);
    // Among equals the first one is taken: it stands in the better hit.
    let best =
        (0..sources.len()).max_by(|a, b| nearness(*a).total_cmp(&nearness(*b)).then(b.cmp(a)));
    let Some(index) = best.filter(|_| !content.is_empty()) else { return (0.0, None) };
    let (source, cosine) = (&sources[index], cosines[index]);
    // Words of the question only show that the topic is right, not that the answer is.
    let asked = words(question);
    let mut new: HashSet<String> = content.difference(&asked).cloned().collect();
    if new.is_empty() {
        new = content;
    }
    let missing_number = new
        .iter()
        .any(|word| word.contains(|c: char| c.is_ascii_digit()) && !source.words.contains(word));
    if missing_number {
        return (0.0, None);
    }
    let overlap = share(&new, source);
    let evidence = NEW_WORDS * overlap + COSINE * f64::from(cosine) + BIAS;
    let support = 1.0 / (1.0 + (-evidence).exp());
    let citation = || Citation {
        document: source.hit.path.clone(),
        version: source.hit.version,
        heading_path: source.hit.heading_path.clone(),
        span: source.span.clone(),
        quote: source.quote.clone(),
        overlap,
        cosine,
    };
    (support, (support >= SUPPORTED).then(citation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit() -> Hit {
        Hit {
            chunk: store::ChunkId(1),
            document: DocumentId(1),
            path: "a.md".into(),
            version: 1,
            title: None,
            heading_path: Vec::new(),
            span: 0..0,
            text: String::new(),
            score: 0.0,
            explain: store::Explain::default(),
            also_in: Vec::new(),
            neighbours: Vec::new(),
        }
    }

    fn weighed(
        question: &str,
        claim: &str,
        sentences: &[&str],
        cosines: &[f32],
    ) -> (f64, Option<String>) {
        let hit = hit();
        let source = |text: &&str| PassageSentence {
            hit: &hit,
            span: 0..0,
            quote: (*text).to_owned(),
            words: words(text),
        };
        let sources: Vec<PassageSentence> = sentences.iter().map(source).collect();
        let (support, citation) = weigh(question, claim, &sources, cosines);
        (support, citation.map(|citation| citation.quote))
    }

    const DEPOT: [&str; 3] =
        ["The depot opened in 1969.", "The depot is in Marrow.", "Ferries run daily."];

    #[test]
    fn the_sentence_that_holds_the_answer_is_cited() {
        let asked = "When did the depot open?";
        assert_eq!(weighed(asked, "1969", &DEPOT, &[0.8, 0.7, 0.2]).1.as_deref(), Some(DEPOT[0]));
        assert_eq!(
            weighed("Where is it?", "It is in Marrow.", &DEPOT, &[0.6, 0.6, 0.1]).1.as_deref(),
            Some(DEPOT[1])
        );
    }

    #[test]
    fn words_of_the_question_alone_support_nothing() {
        let asked = "Who opened the depot in 1969?";
        let (right, wrong) =
            ("The depot in 1969 was opened by Ada.", "The depot in 1969 was opened by whales.");
        let told = ["In 1969 Ada opened the depot."];
        let (much, quote) = weighed(asked, right, &told, &[0.8]);
        assert_eq!(quote.as_deref(), Some(told[0]));
        let (little, nothing) = weighed(asked, wrong, &told, &[0.8]);
        assert!(little < 0.5 && 0.5 < much, "{little} {much}");
        assert_eq!(nothing, None);
    }

    #[test]
    fn a_wrong_number_is_never_supported() {
        let (support, citation) = weighed("When?", "The depot opened in 1970.", &DEPOT, &[0.99; 3]);
        assert_eq!((support, citation), (0.0, None));
    }

    #[test]
    fn nothing_speaks_for_an_answer_without_words_or_sources() {
        assert_eq!(weighed("Why?", "...", &DEPOT, &[1.0; 3]), (0.0, None));
        assert_eq!(weighed("Why?", "Because.", &[], &[]), (0.0, None));
    }
}
