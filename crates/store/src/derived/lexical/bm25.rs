//! The BM25 weight of a term in a text.

/// Parameters of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), in
/// the form that Lucene uses: the idf is never negative, and the constant factor `k1 + 1` is left
/// out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25 {
    /// How soon repeating a term stops to count.
    pub k1: f32,
    /// How much a long text is discounted, 0 to 1.
    pub b: f32,
}

impl Default for Bm25 {
    /// 0.9 and 0.4, found best over many collections (Trotman, Puurula and Burgess, "Improvements
    /// to BM25 and Language Models Examined", 2014) and Anserini's default.
    fn default() -> Self {
        Bm25 { k1: 0.9, b: 0.4 }
    }
}

impl Bm25 {
    /// Inverse document frequency of a term that `doc_freq` of `all` texts hold.
    pub(super) fn idf(self, doc_freq: usize, all: usize) -> f32 {
        let (doc_freq, all) = (doc_freq as f64, all as f64);
        (1.0 + (all - doc_freq + 0.5) / (doc_freq + 0.5)).ln() as f32
    }

    /// How texts are discounted by their length, where the mean is `mean` terms.
    pub(super) fn norm(self, mean: f32) -> Norm {
        Norm { least: self.k1 * (1.0 - self.b), slope: self.k1 * self.b / mean.max(1.0) }
    }
}

/// How texts are discounted by their length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    /// The discount of a text of no length.
    pub(super) least: f32,
    /// What each term adds to it.
    pub(super) slope: f32,
}

impl Norm {
    /// What a term of idf 1 adds to a text of `length` terms in which it stands `frequency` times.
    pub(super) fn of(self, frequency: u32, length: f32) -> f32 {
        let frequency = frequency as f32;
        if frequency > 0.0 {
            frequency / (frequency + self.least + self.slope * length)
        } else {
            0.0
        }
    }

    /// Replaces the lengths of texts, in terms, by what a term adds to them; `frequencies` tells
    /// how often the term stands in each.
    pub(super) fn weigh(self, idf: f32, frequencies: &[u32], lengths: &mut [f32]) {
        for (length, frequency) in lengths.iter_mut().zip(frequencies) {
            // Every processor has an instruction for many signed numbers at once.
            let frequency = frequency.cast_signed() as f32;
            *length = idf * frequency / (frequency + self.least + self.slope * *length);
        }
    }
}

/// What a term is worth to the texts, or documents, that hold it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TermWeight {
    pub(super) idf: f32,
    pub(super) norm: Norm,
}

impl TermWeight {
    /// What it is worth at most to one that holds it `frequency` times and is `length` terms long.
    pub(super) fn max_score(&self, frequency: u32, length: f32) -> f32 {
        self.idf * self.norm.of(frequency, length)
    }
}

/// The score of a text from its own and that of its document, half and half.
pub(super) fn with_document(text: f32, document: f32) -> f32 {
    0.5 * (text + document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_by_hand() {
        let bm25 = Bm25 { k1: 1.2, b: 0.75 };
        // ln(1 + (10 - 2 + 0.5) / 2.5) and tf / (tf + 1.2 * (0.25 + 0.75 * 8 / 4)).
        let idf = bm25.idf(2, 10);
        assert!((idf - 4.4f32.ln()).abs() < 1e-6);
        let mut weights = [8.0, 4.0];
        bm25.norm(4.0).weigh(idf, &[3, 1], &mut weights);
        assert!((weights[0] - idf * 3.0 / (3.0 + 1.2 * 1.75)).abs() < 1e-6);
        assert!((weights[1] - idf / 2.2).abs() < 1e-6);
        assert!(bm25.idf(10, 10) > 0.0);
    }
}
