//! Citations: which sentences of the retrieved passages support an answer, as exact quotes with their place.
//!
//! An answer is taken sentence by sentence. A passage sentence supports it when it holds its words (at least half of the content
//! words, and every number), or says nearly the same by the cosine of their vectors. What nothing supports is marked, not decorated.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use lm::Encoder;
use serde::Serialize;
use store::{DocumentId, Hit, Store};

use crate::Result;

/// Share of an answer's content words that must stand in the cited sentences.
const OVERLAP: f64 = 0.5;
/// Cosine from which two sentences say the same.
const COSINE: f32 = 0.75;
/// Passage sentences whose vectors are compared: those that share most words.
const COMPARED: usize = 8;
/// Sentences cited for one sentence of an answer, at most.
const CITED: usize = 2;

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
    /// Share of the answer sentence's content words that stand here.
    pub overlap: f64,
    /// Cosine between the vectors of answer sentence and quote.
    pub cosine: f32,
}

/// A sentence of an answer and what supports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// Bytes of the answer.
    pub span: Range<usize>,
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
}

/// A sentence of a passage.
struct Source<'a> {
    hit: &'a Hit,
    span: Range<usize>,
    quote: String,
    words: HashSet<String>,
}

/// Finds what supports `answer` in the passages that were in its prompt.
///
/// # Errors
/// The store cannot be read.
pub fn support(answer: &str, hits: &[Hit], store: &Store, encoder: &Encoder) -> Result<Support> {
    let sources = sources(hits, store)?;
    let mut support = Support::default();
    for span in sentences(answer) {
        let citations = cite(&answer[span.clone()], &sources, encoder)?
            .into_iter()
            .map(|citation| {
                let known =
                    |other: &Citation| (&other.document, &other.span) == (&citation.document, &citation.span);
                support.citations.iter().position(known).unwrap_or_else(|| {
                    support.citations.push(citation);
                    support.citations.len() - 1
                })
            })
            .collect();
        support.claims.push(Claim { span, citations });
    }
    Ok(support)
}

fn sources<'a>(hits: &'a [Hit], store: &Store) -> Result<Vec<Source<'a>>> {
    let mut texts: HashMap<(DocumentId, u32), String> = HashMap::new();
    let mut sources = Vec::new();
    for hit in hits {
        let key = (hit.document, hit.version);
        let text = match texts.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => {
                fresh.insert(store.document_text(hit.document, Some(hit.version))?.unwrap_or_default())
            }
        };
        let Some(passage) = text.get(hit.span.clone()) else { continue };
        // A heading names its topic but states nothing.
        let stating = sentences(passage).into_iter().filter(|span| !passage[span.clone()].starts_with('#'));
        sources.extend(stating.map(|span| {
            let quote = passage[span.clone()].to_owned();
            let span = hit.span.start + span.start..hit.span.start + span.end;
            Source { hit, span, words: words(&quote), quote }
        }));
    }
    Ok(sources)
}

fn cite(claim: &str, sources: &[Source], encoder: &Encoder) -> Result<Vec<Citation>> {
    let content = content_words(claim);
    if content.is_empty() {
        return Ok(Vec::new());
    }
    let overlap = |source: &Source| shared(&content, &source.words) as f64 / content.len() as f64;
    let mut ranked: Vec<(f64, &Source)> = sources.iter().map(|source| (overlap(source), source)).collect();
    // A stable sort keeps the order of the hits among equals.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.truncate(COMPARED);
    let texts: Vec<&str> =
        std::iter::once(claim).chain(ranked.iter().map(|(_, source)| source.quote.as_str())).collect();
    let vectors = encoder.embed(&texts)?;
    let Some((question, others)) = vectors.split_first() else { return Ok(Vec::new()) };
    let cosines: Vec<f32> =
        others.iter().map(|other| question.iter().zip(other).map(|(a, b)| a * b).sum()).collect();
    Ok(choose(&content, &ranked, &cosines))
}

/// The sentences that together hold most of a claim's words, or the one that says the same.
fn choose(content: &HashSet<String>, ranked: &[(f64, &Source)], cosines: &[f32]) -> Vec<Citation> {
    let mut open: HashSet<&String> = content.iter().collect();
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < CITED {
        let gain = |index: &usize| open.iter().filter(|word| ranked[*index].1.words.contains(**word)).count();
        let next = (0..ranked.len())
            .filter(|index| !chosen.contains(index))
            .max_by(|a, b| gain(a).cmp(&gain(b)).then(cosines[*a].total_cmp(&cosines[*b])).then(b.cmp(a)));
        let Some(next) = next.filter(|index| gain(index) > 0) else { break };
        // A further sentence must bring something worth its place.
        if !chosen.is_empty() && gain(&next) * 5 < content.len() {
            break;
        }
        open.retain(|word| !ranked[next].1.words.contains(*word));
        chosen.push(next);
    }
    let covered = 1.0 - open.len() as f64 / content.len() as f64;
    let numbers_hold = open.iter().all(|word| !word.chars().any(|c| c.is_ascii_digit()));
    if covered < OVERLAP || !numbers_hold {
        chosen.clear();
        if numbers_hold {
            let best = (0..ranked.len()).max_by(|a, b| cosines[*a].total_cmp(&cosines[*b]));
            chosen.extend(best.filter(|index| cosines[*index] >= COSINE));
        }
    }
    let citation = |index: usize| {
        let (overlap, source) = &ranked[index];
        Citation {
            document: source.hit.path.clone(),
            version: source.hit.version,
            heading_path: source.hit.heading_path.clone(),
            span: source.span.clone(),
            quote: source.quote.clone(),
            overlap: *overlap,
            cosine: cosines[index],
        }
    };
    chosen.into_iter().map(citation).collect()
}

fn shared(a: &HashSet<String>, b: &HashSet<String>) -> usize {
    a.iter().filter(|word| b.contains(*word)).count()
}

/// Lower-case words and numbers. `3,000` and `4.5` are one number each.
fn words(text: &str) -> HashSet<String> {
    let joins = |c: char| c == ',' || c == '.';
    text.split(|c: char| !c.is_alphanumeric() && !joins(c))
        .map(|word| word.trim_matches(joins))
        .flat_map(|word| {
            let number = word.starts_with(|c: char| c.is_ascii_digit());
            word.split(move |c| !number && joins(c))
        })
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words of a text that carry meaning; all its words when none does.
pub(crate) fn content_words(text: &str) -> HashSet<String> {
    let all = words(text);
    let content: HashSet<String> =
        all.iter().filter(|word| !STOP.contains(&word.as_str())).cloned().collect();
    if content.is_empty() { all } else { content }
}

/// English words that stand in any sentence.
const STOP: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "do", "does", "for", "from",
    "had", "has", "have", "he", "her", "his", "how", "if", "in", "into", "is", "it", "its", "may", "must",
    "no", "not", "of", "on", "or", "our", "she", "should", "so", "than", "that", "the", "their", "them",
    "then", "there", "these", "they", "this", "those", "to", "was", "we", "were", "what", "when", "where",
    "which", "who", "will", "with", "would", "you", "your",
];

/// Byte ranges of the sentences of a text, white space left out. Headings, list items and table rows are sentences of their own;
/// a line break inside running text is not an end.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut close = |start: &mut usize, end: usize| {
        let piece = &text[*start..end];
        let trimmed = piece.trim();
        if !trimmed.is_empty() {
            let from = *start + (piece.len() - piece.trim_start().len());
            found.push(from..from + trimmed.len());
        }
        *start = end;
    };
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let line_end = line_start + line.len();
        let own = line.trim().is_empty() || starts_own_line(line);
        if own {
            close(&mut start, line_start);
        }
        for (offset, _) in line.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?')) {
            if ends_sentence(text, line_start + offset) {
                close(&mut start, after_closers(text, line_start + offset + 1));
            }
        }
        // A heading or a table row ends with its line; a list item may run on.
        if line.trim_start().starts_with(['#', '|']) {
            close(&mut start, line_end);
        }
        line_start = line_end;
    }
    close(&mut start, text.len());
    found
}

fn starts_own_line(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = || {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") "))
    };
    line.starts_with(['#', '|']) || ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark)) || numbered()
}

/// Whether the mark at `at` ends a sentence: white space and then something that can begin one follows, and no abbreviation or
/// list number stands before it.
fn ends_sentence(text: &str, at: usize) -> bool {
    let rest = &text[after_closers(text, at + 1)..];
    let Some(next) = rest.trim_start().chars().next() else { return true };
    if !rest.starts_with(char::is_whitespace) || next.is_lowercase() {
        return false;
    }
    let before = text[..at].rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let abbreviation = text[at..].starts_with('.')
        && (before.chars().count() == 1 || ABBREVIATIONS.contains(&before.to_lowercase().as_str()));
    let number = before.chars().all(|c| c.is_ascii_digit()) && text[..at - before.len()].ends_with('\n');
    !abbreviation && !number
}

/// Words that keep their full stop in the middle of a sentence.
const ABBREVIATIONS: &[&str] =
    &["dr", "e.g", "etc", "fig", "i.e", "mr", "mrs", "ms", "no", "p", "pp", "prof", "st", "vs"];

/// The end of closing quotes and brackets from `at` on.
fn after_closers(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    at + (rest.len() - rest.trim_start_matches(['"', '\'', ')', ']', '”', '’', '*', '_']).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn sentences_end_where_they_should() {
        assert_eq!(
            split(
                "# Crew\nDr. Ada Lund (b. 1961) leads it. She costs 4.5\nmillion! \"Really?\" Yes.\n\nNext"
            ),
            [
                "# Crew",
                "Dr. Ada Lund (b. 1961) leads it.",
                "She costs 4.5\nmillion!",
                "\"Really?\"",
                "Yes.",
                "Next"
            ]
        );
        assert_eq!(
            split("- one. Two\n- three\n1. four\n| a | b |\n| c | d |\n"),
            ["- one.", "Two", "- three", "1. four", "| a | b |", "| c | d |"]
        );
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("1169"), ["1169"]);
    }

    #[test]
    fn numbers_stay_whole() {
        let found = words("It cost 3,000.50 crowns, e.g. in May.");
        for word in ["3,000.50", "crowns", "may", "e", "g"] {
            assert!(found.contains(word), "{word} in {found:?}");
        }
    }

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

    fn chosen(claim: &str, sentences: &[&str], cosines: &[f32]) -> Vec<String> {
        let hit = hit();
        let sources: Vec<Source> = sentences
            .iter()
            .map(|text| Source { hit: &hit, span: 0..0, quote: (*text).to_owned(), words: words(text) })
            .collect();
        let ranked: Vec<(f64, &Source)> = sources.iter().map(|source| (0.0, source)).collect();
        choose(&content_words(claim), &ranked, cosines).into_iter().map(|citation| citation.quote).collect()
    }

    #[test]
    fn support_needs_the_words_and_every_number() {
        let sentences = ["The depot opened in 1969.", "The depot is in Marrow.", "Ferries run daily."];
        assert_eq!(chosen("1969", &sentences, &[0.1, 0.2, 0.3]), [sentences[0]]);
        assert_eq!(
            chosen("The depot of Marrow opened in 1969.", &sentences, &[0.5; 3]),
            [sentences[0], sentences[1]]
        );
        assert!(chosen("The depot opened in 1970.", &sentences, &[0.95; 3]).is_empty(), "a wrong number");
        assert!(chosen("Whales sing.", &sentences, &[0.1; 3]).is_empty());
        assert_eq!(chosen("Boats sail each day.", &sentences, &[0.1, 0.1, 0.8]), [sentences[2]]);
    }
}
