//! Where the evidence of a question stands in the index, and whether a search finds it.
//!
//! A question may name its evidence: a document and a quote from it. The index knows chunks, so the
//! quote is looked up in the document's text, and every chunk that overlaps it is a gold chunk of
//! the question. [`ground`] does this for many questions and searches for each of them; recall and
//! rank then say how much of the evidence stands among the hits.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use store::{ChunkId, DocumentId, Hit, NewChunk};

use crate::error::{Error, Problem, Result};
use crate::prompt::Passage;
use crate::questions::Question;
use crate::search::knowledge::{Knowledge, Retrieved, Wanted};

/// A chunk that holds evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoldChunk {
    /// Its number.
    pub chunk: ChunkId,
    /// Its document.
    pub document: DocumentId,
    /// The document's project-relative path.
    pub path: String,
    /// The chunk in a prompt.
    pub passage: Passage,
    /// Which of the question's evidence entries it holds.
    pub evidence: usize,
    /// The bytes of that entry's quote in the document.
    pub quote: Range<usize>,
    /// Whether this chunk alone is enough for that entry: an expected answer stands in it. Where no
    /// chunk shows one, a chunk with at least half of the quote is enough; where there is none of
    /// these either, any chunk with a part of the quote is.
    pub sufficient: bool,
}

/// A question with its evidence and its retrieved passages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Grounded {
    /// The vector of the question.
    #[serde(skip)]
    pub vector: Vec<f32>,
    /// What retrieval found, best first: more than stand in a prompt.
    pub retrieved: Retrieved,
    /// The chunks that hold the evidence, in document order.
    pub gold: Vec<GoldChunk>,
}

impl Grounded {
    /// The passages of the first `k` hits.
    pub fn passages(&self, k: usize) -> Vec<Passage> {
        self.retrieved.hits.iter().take(k).map(Passage::from).collect()
    }

    /// Hits that hold no evidence, best first.
    pub fn distractors(&self) -> impl Iterator<Item = &Hit> {
        self.retrieved.hits.iter().filter(|hit| self.gold.iter().all(|gold| !hit.says(gold.chunk)))
    }

    /// Whether the first `k` hits hold enough for every evidence entry; `None` for a question
    /// without evidence.
    pub fn evidence_retrieved(&self, k: usize) -> Option<bool> {
        let entries = self.gold.iter().map(|gold| gold.evidence).max()? + 1;
        let hits = &self.retrieved.hits[..k.min(self.retrieved.hits.len())];
        let found =
            |gold: &GoldChunk| gold.sufficient && hits.iter().any(|hit| hit.says(gold.chunk));
        Some(
            (0..entries)
                .all(|entry| self.gold.iter().any(|gold| gold.evidence == entry && found(gold))),
        )
    }

    /// 1 / rank of the first hit that holds enough evidence, 0 when none does; `None` for a
    /// question without evidence.
    pub fn reciprocal_rank(&self) -> Option<f64> {
        let sufficient =
            |hit: &Hit| self.gold.iter().any(|gold| gold.sufficient && hit.says(gold.chunk));
        let place = self.retrieved.hits.iter().position(sufficient);
        (!self.gold.is_empty()).then(|| place.map_or(0.0, |place| 1.0 / (place + 1) as f64))
    }
}

/// Questions embedded at a time.
const BATCH: usize = 64;

/// Finds the evidence of every question and what retrieval brings for it.
///
/// # Errors
/// [`Error::Problems`] naming every quote that is not in its document and every document that is
/// not ingested; [`Error::Interrupted`].
pub fn ground(
    knowledge: &Knowledge,
    questions: &[Question],
    wanted: &Wanted,
    stop: &AtomicBool,
) -> Result<Vec<Grounded>> {
    let gold = locate(knowledge, questions)?;
    let mut grounded = Vec::with_capacity(questions.len());
    let mut gold = gold.into_iter();
    for batch in questions.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let texts: Vec<&str> = batch.iter().map(|question| question.text.as_str()).collect();
        let start = std::time::Instant::now();
        let vectors = knowledge.encoder.embed(&texts)?;
        let embed_seconds = start.elapsed().as_secs_f64() / batch.len() as f64;
        for (question, vector) in batch.iter().zip(vectors) {
            let mut retrieved = knowledge.search_vector(&question.text, &vector, wanted)?;
            retrieved.embed_seconds = embed_seconds;
            grounded.push(Grounded { vector, retrieved, gold: gold.next().unwrap_or_default() });
        }
    }
    Ok(grounded)
}

/// A document with its chunks.
struct Located {
    id: DocumentId,
    title: Option<String>,
    text: String,
    chunks: Vec<(ChunkId, NewChunk)>,
}

/// The gold chunks of every question.
///
/// # Errors
/// [`Error::Problems`], as [`ground`].
pub(crate) fn locate(knowledge: &Knowledge, questions: &[Question]) -> Result<Vec<Vec<GoldChunk>>> {
    let rows: HashMap<String, (DocumentId, Option<String>)> = knowledge
        .store
        .documents()?
        .into_iter()
        .map(|row| (row.path, (row.id, row.title)))
        .collect();
    let mut documents: HashMap<&str, Located> = HashMap::new();
    let mut problems = Vec::new();
    let mut all = Vec::with_capacity(questions.len());
    for question in questions {
        let mut gold: Vec<GoldChunk> = Vec::new();
        for (entry, evidence) in question.evidence.iter().enumerate() {
            let name = evidence.document.as_str();
            let Some((id, title)) = rows.get(name) else {
                problems.push(missing_document(question, entry, name));
                continue;
            };
            if !documents.contains_key(name) {
                let text = knowledge.store.document_text(*id, None)?.unwrap_or_default();
                let chunks = knowledge.store.chunks(*id)?;
                documents.insert(name, Located { id: *id, title: title.clone(), text, chunks });
            }
            let Some(document) = documents.get(name) else { continue };
            let Some(span) = find_quote(&document.text, &evidence.quote) else {
                problems.push(missing_quote(question, entry, name));
                continue;
            };
            gold.extend(holding(document, name, &span, entry, question));
        }
        gold.dedup_by(|a, b| a.chunk == b.chunk && a.evidence == b.evidence);
        all.push(gold);
    }
    if problems.is_empty() { Ok(all) } else { Err(Error::Problems(problems)) }
}

/// The chunks of a document that overlap a span.
fn holding(
    document: &Located,
    name: &str,
    span: &Range<usize>,
    entry: usize,
    question: &Question,
) -> Vec<GoldChunk> {
    let overlap = |chunk: &NewChunk| {
        chunk.span.end.min(span.end).saturating_sub(chunk.span.start.max(span.start))
    };
    let mut gold: Vec<GoldChunk> = document
        .chunks
        .iter()
        .filter(|(_, chunk)| overlap(chunk) > 0)
        .map(|(id, chunk)| {
            let mut text = document.text[chunk.span.clone()].to_owned();
            if let Some(header) = &chunk.header {
                text = format!("{}\n{text}", document.text[header.clone()].trim_end());
            }
            GoldChunk {
                chunk: *id,
                document: document.id,
                path: name.to_owned(),
                sufficient: question.is_answered_in(&text),
                passage: Passage::new(document.title.as_deref(), &chunk.heading_path, &text),
                evidence: entry,
                quote: span.clone(),
            }
        })
        .collect();
    // No chunk shows the answer: it has to be worked out, or it is spread over several chunks. Then
    // a chunk with at least half of the quote is enough.
    if gold.iter().all(|chunk| !chunk.sufficient) {
        let spans = document.chunks.iter().filter(|(_, chunk)| overlap(chunk) > 0);
        for (chunk, (_, stored)) in gold.iter_mut().zip(spans) {
            chunk.sufficient = 2 * overlap(stored) >= span.len();
        }
    }
    // The quote is cut into many pieces: then each of them is enough.
    if gold.iter().all(|chunk| !chunk.sufficient) {
        gold.iter_mut().for_each(|chunk| chunk.sufficient = true);
    }
    gold
}

/// Finds a quote: exactly, else with white space folded, since extracted text may break its lines
/// at other places.
fn find_quote(text: &str, quote: &str) -> Option<Range<usize>> {
    let quote = quote.trim();
    if let Some(start) = text.find(quote) {
        return Some(start..start + quote.len());
    }
    let (folded, offsets) = fold(text);
    let (wanted, _) = fold(quote);
    let start = folded.find(&wanted)?;
    let last = start + wanted.len() - 1;
    let end = offsets[last] + 1;
    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end))?;
    Some(offsets[start]..end)
}

/// A text with every run of white space as one space, and for each byte of it the offset in the
/// original text.
fn fold(text: &str) -> (String, Vec<usize>) {
    let mut folded = String::with_capacity(text.len());
    let mut offsets = Vec::with_capacity(text.len());
    let mut space = true;
    for (offset, c) in text.char_indices() {
        if c.is_whitespace() {
            if !space {
                folded.push(' ');
                offsets.push(offset);
            }
            space = true;
        } else {
            folded.push(c);
            offsets.extend((0..c.len_utf8()).map(|byte| offset + byte));
            space = false;
        }
    }
    (folded, offsets)
}

fn missing_document(question: &Question, entry: usize, name: &str) -> Problem {
    let message = format!("expected an ingested document, found none called {name:?}");
    question.place.problem(&format!("evidence[{entry}].document"), message)
}

fn missing_quote(question: &Question, entry: usize, name: &str) -> Problem {
    let message = format!("expected words that stand in {name}, found none such there");
    question.place.problem(&format!("evidence[{entry}].quote"), message)
}

/// Share of questions with evidence whose evidence is all in their first `k` hits; `None` without
/// such questions.
pub fn recall(grounded: &[Grounded], k: usize) -> Option<f64> {
    let found: Vec<bool> =
        grounded.iter().filter_map(|question| question.evidence_retrieved(k)).collect();
    (!found.is_empty())
        .then(|| found.iter().filter(|found| **found).count() as f64 / found.len() as f64)
}

/// Characters of the first `k` hits of a question together, in the mean.
pub fn characters(grounded: &[Grounded], k: usize) -> f64 {
    let of = |question: &Grounded| {
        question.retrieved.hits.iter().take(k).map(|hit| hit.text.chars().count()).sum::<usize>()
    };
    grounded.iter().map(of).sum::<usize>() as f64 / grounded.len().max(1) as f64
}

/// Mean over questions with evidence of [`Grounded::reciprocal_rank`]; `None` without such
/// questions.
pub fn reciprocal_rank(grounded: &[Grounded]) -> Option<f64> {
    let ranks: Vec<f64> = grounded.iter().filter_map(Grounded::reciprocal_rank).collect();
    (!ranks.is_empty()).then(|| ranks.iter().sum::<f64>() / ranks.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_found_across_line_breaks() {
        let text = "Ärger\n\nThe  depot\nopened in 1969. Über";
        assert_eq!(
            find_quote(text, "depot\nopened").map(|span| &text[span]),
            Some("depot\nopened")
        );
        assert_eq!(
            find_quote(text, " The depot opened in 1969.").map(|span| &text[span]),
            Some("The  depot\nopened in 1969.")
        );
        assert_eq!(find_quote(text, "1969. Über").map(|span| &text[span]), Some("1969. Über"));
        assert_eq!(find_quote(text, "1970"), None);
    }

    fn grounded(gold: &[(i64, usize, bool)], hits: &[i64]) -> Grounded {
        let gold = gold
            .iter()
            .map(|(chunk, evidence, sufficient)| GoldChunk {
                chunk: ChunkId(*chunk),
                document: DocumentId(1),
                path: String::new(),
                passage: Passage::new(None, &[], ""),
                evidence: *evidence,
                quote: 0..0,
                sufficient: *sufficient,
            })
            .collect();
        let hits = hits
            .iter()
            .map(|chunk| Hit {
                chunk: ChunkId(*chunk),
                document: DocumentId(1),
                path: String::new(),
                version: 1,
                title: None,
                heading_path: Vec::new(),
                span: 0..0,
                text: String::new(),
                score: 0.0,
                explain: store::Explain::default(),
                also_in: Vec::new(),
                neighbours: Vec::new(),
            })
            .collect();
        Grounded { vector: Vec::new(), retrieved: Retrieved { hits, ..Retrieved::default() }, gold }
    }

    #[test]
    fn every_piece_of_evidence_must_be_found() {
        let two = grounded(&[(1, 0, true), (2, 0, false), (3, 1, true)], &[1, 9, 3]);
        assert_eq!(two.evidence_retrieved(2), Some(false));
        assert_eq!(two.evidence_retrieved(3), Some(true));
        assert_eq!(
            grounded(&[(2, 0, false), (1, 0, true)], &[2]).evidence_retrieved(1),
            Some(false)
        );
        assert_eq!(grounded(&[], &[2]).evidence_retrieved(1), None);
        let all = [two, grounded(&[(5, 0, true)], &[7, 8]), grounded(&[], &[1])];
        assert_eq!(recall(&all, 3), Some(0.5));
        assert_eq!(reciprocal_rank(&all), Some(0.5));
        assert_eq!(all[0].distractors().map(|hit| hit.chunk.0).collect::<Vec<_>>(), [9]);
    }
}
