//! The BM25 weight of a term in a text.

/// Parameters of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), in the form that
/// Lucene uses: the idf is never negative, and the constant factor `k1 + 1` is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25 {
    /// How soon repeating a term stops to count.
    pub k1: f32,
    /// How much a long text is discounted, 0 to 1.
    pub b: f32,
}

impl Default for Bm25 {
    /// 0.9 and 0.4, found best over many collections (Trotman, Puurula and Burgess, "Improvements to BM25 and
    /// Language Models Examined", 2014) and Anserini's default.
    fn default() -> Self {
        Bm25 { k1: 0.9, b: 0.4 }
    }
}

impl Bm25 {
    /// Inverse document frequency of a term that `found` of `all` texts hold.
    pub fn idf(self, found: usize, all: usize) -> f32 {
        let (found, all) = (found as f64, all as f64);
        (1.0 + (all - found + 0.5) / (found + 0.5)).ln() as f32
    }

    /// What a term adds that stands `frequency` times in a text of `length` terms, where the mean is `mean`.
    pub fn weight(self, idf: f32, frequency: u32, length: u32, mean: f32) -> f32 {
        let frequency = frequency as f32;
        let norm = self.k1 * (1.0 - self.b + self.b * length as f32 / mean.max(1.0));
        idf * frequency / (frequency + norm)
    }
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
        assert!((bm25.weight(idf, 3, 8, 4.0) - idf * 3.0 / (3.0 + 1.2 * 1.75)).abs() < 1e-6);
        assert!(bm25.idf(10, 10) > 0.0);
    }
}
