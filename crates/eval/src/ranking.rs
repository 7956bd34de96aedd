//! Measures of retrieval in TREC conventions: qrels say which documents are relevant to a query, a
//! run says what a system returned.

use std::collections::BTreeMap;

use crate::Error;

/// Relevance judgements: query -> document -> grade. A grade of 0 or less is "not relevant".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Qrels(pub BTreeMap<String, BTreeMap<String, i32>>);

/// Retrieved documents: query -> (document, score), in any order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run(pub BTreeMap<String, Vec<(String, f64)>>);

impl Qrels {
    /// Reads the TREC form (`query iteration document grade`, blanks) or the BEIR form (`query
    /// document grade`, tabs, with or without its header line).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut qrels = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (query, document, grade) = match fields[..] {
                [query, document, grade] | [query, _, document, grade] => (query, document, grade),
                _ => return Err(line_error(index, "3 or 4 fields", line)),
            };
            match grade.parse() {
                Ok(grade) => qrels.insert(query, document, grade),
                Err(_) if index == 0 && grade == "score" => {}
                Err(_) => return Err(line_error(index, "a whole number as grade", line)),
            }
        }
        Ok(qrels)
    }

    /// Adds or replaces one judgement.
    pub fn insert(&mut self, query: &str, document: &str, grade: i32) {
        self.0.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
    }
}

impl Run {
    /// Reads the TREC form: `query Q0 document rank score tag`. Rank is ignored: the score decides.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut run = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [query, _, document, _, score, _] = fields[..] else {
                return Err(line_error(index, "6 fields", line));
            };
            let score = score.parse::<f64>().ok().filter(|score| score.is_finite());
            let score = score.ok_or_else(|| line_error(index, "a number as score", line))?;
            run.0.entry(query.to_owned()).or_default().push((document.to_owned(), score));
        }
        Ok(run)
    }

    /// Writes the TREC form, best first, ranks from 1.
    pub fn to_trec(&self, tag: &str) -> String {
        let mut out = String::new();
        for (query, hits) in &self.0 {
            for (rank, (document, score)) in ranked(hits).into_iter().enumerate() {
                out.push_str(&format!("{query} Q0 {document} {} {score} {tag}\n", rank + 1));
            }
        }
        out
    }
}

/// What is computed per query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    /// nDCG at a cut-off: gain = grade, discount `log2(rank + 1)`, ideal from all judged documents.
    Ndcg(usize),
    /// Share of the relevant documents within the cut-off.
    Recall(usize),
    /// Reciprocal rank of the first relevant document within the cut-off.
    ReciprocalRank(usize),
}

/// The measure for each query of `qrels` with a relevant document. A query that the run lacks
/// scores 0 (`trec_eval -c`).
pub fn per_query(measure: Ranking, qrels: &Qrels, run: &Run) -> BTreeMap<String, f64> {
    let judged = qrels.0.iter().filter(|(_, grades)| grades.values().any(|grade| *grade > 0));
    judged
        .map(|(query, grades)| {
            let hits = run.0.get(query).map_or(&[][..], Vec::as_slice);
            (query.clone(), score(measure, grades, hits))
        })
        .collect()
}

/// The measure averaged over queries; 0 when no query has a relevant document.
pub fn average(measure: Ranking, qrels: &Qrels, run: &Run) -> f64 {
    let scores = per_query(measure, qrels, run);
    if scores.is_empty() { 0.0 } else { scores.values().sum::<f64>() / scores.len() as f64 }
}

/// nDCG@k averaged over queries.
pub fn ndcg_at(k: usize, qrels: &Qrels, run: &Run) -> f64 {
    average(Ranking::Ndcg(k), qrels, run)
}

/// Recall@k averaged over queries.
pub fn recall_at(k: usize, qrels: &Qrels, run: &Run) -> f64 {
    average(Ranking::Recall(k), qrels, run)
}

/// Mean reciprocal rank within the first `k`.
pub fn mrr_at(k: usize, qrels: &Qrels, run: &Run) -> f64 {
    average(Ranking::ReciprocalRank(k), qrels, run)
}

fn score(measure: Ranking, grades: &BTreeMap<String, i32>, hits: &[(String, f64)]) -> f64 {
    let gain = |document: &str| grades.get(document).copied().unwrap_or(0).max(0);
    let gains = |k: usize| ranked(hits).into_iter().take(k).map(|(document, _)| gain(document));
    match measure {
        Ranking::Ndcg(k) => {
            let mut ideal: Vec<i32> = grades.values().copied().filter(|grade| *grade > 0).collect();
            ideal.sort_unstable_by(|a, b| b.cmp(a));
            let best = discounted(ideal.into_iter().take(k));
            if best > 0.0 { discounted(gains(k)) / best } else { 0.0 }
        }
        Ranking::Recall(k) => {
            let relevant = grades.values().filter(|grade| **grade > 0).count();
            gains(k).filter(|gain| *gain > 0).count() as f64 / relevant.max(1) as f64
        }
        Ranking::ReciprocalRank(k) => {
            gains(k).position(|gain| gain > 0).map_or(0.0, |index| 1.0 / (index + 1) as f64)
        }
    }
}

fn discounted(gains: impl Iterator<Item = i32>) -> f64 {
    gains.enumerate().map(|(index, gain)| f64::from(gain) / ((index + 2) as f64).log2()).sum()
}

/// Best score first; equal scores by document name, last first, as `trec_eval` does. A document
/// returned twice counts once, at its best rank.
fn ranked(hits: &[(String, f64)]) -> Vec<(&str, f64)> {
    let mut sorted: Vec<(&str, f64)> =
        hits.iter().map(|(document, score)| (document.as_str(), *score)).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0)));
    let mut seen = std::collections::BTreeSet::new();
    sorted.retain(|(document, _)| seen.insert(*document));
    sorted
}

fn line_error(index: usize, expected: &'static str, line: &str) -> Error {
    Error::Line { line: index + 1, expected, found: line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One query; `grades` in the order returned, then judged documents that were not returned.
    fn case(grades: &[i32], missed: &[i32]) -> (Qrels, Run) {
        let (mut qrels, mut run) = (Qrels::default(), Run::default());
        for (i, grade) in grades.iter().enumerate() {
            qrels.insert("q", &format!("d{i}"), *grade);
            run.0.entry("q".into()).or_default().push((format!("d{i}"), -(i as f64)));
        }
        for (i, grade) in missed.iter().enumerate() {
            qrels.insert("q", &format!("m{i}"), *grade);
        }
        (qrels, run)
    }

    #[test]
    fn ndcg_of_the_textbook_example() {
        // Grades 3 2 3 0 1 2: DCG 6.861, ideal (3 3 2 2 1 0) 7.141; with 3 and 2 missed, ideal (3 3
        // 3 2 2 2) 8.740.
        let (qrels, run) = case(&[3, 2, 3, 0, 1, 2], &[]);
        assert!((ndcg_at(6, &qrels, &run) - 6.861 / 7.141).abs() < 1e-4);
        let (qrels, run) = case(&[3, 2, 3, 0, 1, 2], &[3, 2]);
        assert!((ndcg_at(6, &qrels, &run) - 6.861 / 8.740).abs() < 1e-4);
    }

    #[test]
    fn recall_and_reciprocal_rank_by_hand() {
        let (qrels, run) = case(&[0, 0, 1, 1], &[2, -1]);
        assert_eq!(recall_at(3, &qrels, &run), 1.0 / 3.0);
        assert_eq!(recall_at(10, &qrels, &run), 2.0 / 3.0);
        assert_eq!(mrr_at(10, &qrels, &run), 1.0 / 3.0);
        assert_eq!(mrr_at(2, &qrels, &run), 0.0);
    }

    #[test]
    fn queries_without_hits_count_and_queries_without_relevant_documents_do_not() {
        let (mut qrels, run) = case(&[1], &[]);
        qrels.insert("unanswered", "d", 1);
        qrels.insert("nothing relevant", "d", 0);
        assert_eq!(ndcg_at(10, &qrels, &run), 0.5);
        assert_eq!(ndcg_at(10, &Qrels::default(), &run), 0.0);
    }

    #[test]
    fn ties_fall_as_in_trec_eval_and_repeats_count_once() {
        let mut qrels = Qrels::default();
        qrels.insert("q", "b", 1);
        let hits = vec![("a".into(), 1.0), ("b".into(), 1.0), ("b".into(), 0.5)];
        let run = Run(BTreeMap::from([("q".into(), hits)]));
        assert_eq!(mrr_at(1, &qrels, &run), 1.0);
        assert_eq!(recall_at(10, &qrels, &run), 1.0);
    }

    #[test]
    fn files_are_read_and_errors_name_the_line() {
        let trec = Qrels::parse("1 0 d1 2\n\n1 0 d2 0\n").unwrap();
        let beir = Qrels::parse("query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n").unwrap();
        assert_eq!(trec, beir);
        assert!(matches!(Qrels::parse("1 0 d1 2\n1 0 d2 x\n"), Err(Error::Line { line: 2, .. })));
        let run = Run::parse("1 Q0 d1 1 0.5 tag\n1 Q0 d2 2 0.25 tag\n").unwrap();
        assert_eq!(Run::parse(&run.to_trec("tag")).unwrap(), run);
        assert!(matches!(Run::parse("1 Q0 d1 1 nan tag"), Err(Error::Line { line: 1, .. })));
    }
}
