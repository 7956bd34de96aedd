//! The last stage of a search: a cross-encoder reads the question with each of the first hits and
//! puts these in order.

use lm::Reranker;
use serde::Serialize;
use store::Hit;

use crate::error::Result;
use crate::models::{self, Cache};
use crate::project::Project;
use crate::prompt::Passage;

/// The name of a ranking that a reranker has put in order.
pub(crate) const RERANKED: &str = "reranked";

/// A reranker and how far it reaches.
#[derive(Debug)]
pub struct Rerank {
    /// The model, as it was named.
    pub name: String,
    /// The model.
    pub model: Reranker,
    /// Hits that it puts in order.
    pub candidates: usize,
}

impl Rerank {
    /// The reranker that a project's configuration names, if it names one.
    pub(crate) fn configured(project: &Project, cache: &Cache) -> Result<Option<Self>> {
        let settings = &project.config.retrieval;
        let Some(name) = &settings.reranker else { return Ok(None) };
        Self::open(cache, name, &project.root, settings.rerank_candidates).map(Some)
    }

    /// Opens a reranker by its name or by its path, relative to `base`.
    ///
    /// # Errors
    /// No such model, or one that is no cross-encoder, with the reason.
    pub fn open(
        cache: &Cache,
        name: &str,
        base: &std::path::Path,
        candidates: usize,
    ) -> Result<Self> {
        let located = models::locate(cache, name, base)?;
        Ok(Self { name: name.to_owned(), model: Reranker::open(&located.path)?, candidates })
    }

    /// Tells one reranking from another.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", self.model.identity(), self.candidates)
    }

    /// Puts the first hits in order, best first. Hits of equal score keep their order, and those
    /// after the first [`Rerank::candidates`] keep their places.
    ///
    /// # Errors
    /// As [`Reranker::score`].
    pub fn order(&self, question: &str, hits: &mut [Hit]) -> Result<()> {
        let end = self.candidates.min(hits.len());
        let head = &mut hits[..end];
        // With title and headings, as in the prompt and as the chunk was embedded.
        let texts: Vec<String> = head
            .iter()
            .map(|hit| {
                let Passage { place, text } = Passage::from(hit);
                if place.is_empty() { text } else { format!("{place}\n{text}") }
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (hit, score) in head.iter_mut().zip(self.model.score(question, &texts)?) {
            hit.explain.reranked = Some(score);
        }
        let score = |hit: &Hit| hit.explain.reranked.unwrap_or(f32::NEG_INFINITY);
        head.sort_by(|a, b| score(b).total_cmp(&score(a)));
        Ok(())
    }
}

/// What a reranker changed in one fused ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RerankEffect {
    /// The reranker.
    pub model: String,
    /// BM25 weight of the ranking it started from.
    pub lexical_weight: f32,
    /// Name of the measure.
    pub measure: &'static str,
    /// Its value without the reranker.
    pub without: f64,
    /// Its value with it.
    pub with: f64,
    /// The same in words.
    pub finding: String,
}

/// Compares each reranked ranking with the fused one it started from; `runs` are (name, BM25
/// weight, value of the measure).
pub(crate) fn rerank_effects(
    model: &str,
    measure: &'static str,
    runs: &[(&str, f32, f64)],
) -> Vec<RerankEffect> {
    let reranked = runs.iter().filter(|(name, ..)| *name == RERANKED);
    let pairs = reranked.filter_map(|(_, weight, with)| {
        let without = runs.iter().find(|(name, other, _)| *name == "fusion" && other == weight)?.2;
        Some((*weight, without, *with))
    });
    pairs
        .map(|(lexical_weight, without, with)| {
            let word = match with.total_cmp(&without) {
                std::cmp::Ordering::Less => "worse than none: leave it out",
                std::cmp::Ordering::Equal => "no better than none",
                std::cmp::Ordering::Greater => "better than none",
            };
            let finding =
                format!("the reranker is {word} ({measure} {without:.3} without, {with:.3} with)");
            RerankEffect {
                model: model.to_owned(),
                lexical_weight,
                measure,
                without,
                with,
                finding,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use store::{ChunkId, DocumentId, Explain};

    use super::*;

    fn hit(number: i64, text: &str) -> Hit {
        Hit {
            chunk: ChunkId(number),
            document: DocumentId(number),
            path: format!("{number}.md"),
            version: 1,
            title: None,
            heading_path: Vec::new(),
            span: 0..text.len(),
            text: text.to_owned(),
            score: 1.0 / number as f32,
            explain: Explain::default(),
            also_in: Vec::new(),
            neighbours: Vec::new(),
        }
    }

    #[test]
    fn the_first_hits_are_put_in_order_and_the_others_stay() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-cross");
        let model = Reranker::open(&folder).unwrap();
        let texts = [
            "a short text",
            "something else entirely",
            "the word word word",
            "one",
            "two",
            "three",
        ];
        let scores = model.score("a question", &texts[..4]).unwrap();
        let rerank = Rerank { name: "tiny".to_owned(), model, candidates: 4 };
        let mut hits: Vec<Hit> = (1..).zip(texts).map(|(number, text)| hit(number, text)).collect();
        rerank.order("a question", &mut hits).unwrap();
        let said: Vec<f32> = hits.iter().filter_map(|hit| hit.explain.reranked).collect();
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(said, sorted);
        assert_ne!(said, scores);
        assert_eq!(hits[4..].iter().map(|hit| hit.chunk.0).collect::<Vec<_>>(), [5, 6]);
        assert!(hits[4].explain.reranked.is_none());
        let mut fewer = vec![hit(1, "one")];
        rerank.order("a question", &mut fewer).unwrap();
        rerank.order("a question", &mut []).unwrap();
    }

    #[test]
    fn a_reranker_that_hurts_is_said_to() {
        let runs = [
            ("bm25", 1.0, 0.2),
            ("fusion", 0.4, 0.6),
            ("fusion", 0.5, 0.5),
            (RERANKED, 0.4, 0.55),
            (RERANKED, 0.5, 0.7),
        ];
        let found = rerank_effects("m", "nDCG@10", &runs);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].finding,
            "the reranker is worse than none: leave it out (nDCG@10 0.600 without, 0.550 with)"
        );
        assert!(found[1].finding.starts_with("the reranker is better than none"));
    }
}
