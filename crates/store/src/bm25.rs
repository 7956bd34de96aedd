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
    /// Inverse document frequency of a term that `found` of `all` texts hold.
    pub fn idf(self, found: usize, all: usize) -> f32 {
        let (found, all) = (found as f64, all as f64);
        (1.0 + (all - found + 0.5) / (found + 0.5)).ln() as f32
    }

    /// How texts are discounted by their length, where the mean is `mean` terms.
    pub(crate) fn norm(self, mean: f32) -> Norm {
        Norm { least: self.k1 * (1.0 - self.b), slope: self.k1 * self.b / mean.max(1.0) }
    }
}

/// How texts are discounted by their length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm {
    /// The discount of a text of no length.
    pub(crate) least: f32,
    /// What each term adds to it.
    pub(crate) slope: f32,
}

impl Norm {
    /// What a term of idf 1 adds to a text of that length, in terms, in which it stands so often.
    pub(crate) fn of(self, frequency: u32, length: f32) -> f32 {
        let frequency = frequency as f32;
        if frequency > 0.0 {
            frequency / (frequency + self.least + self.slope * length)
        } else {
            0.0
        }
    }

    /// Replaces the lengths of texts, in terms, by what a term adds to them that stands so often in
    /// each.
    pub(crate) fn weigh(self, idf: f32, frequencies: &[u32], lengths: &mut [f32]) {
        for (length, frequency) in lengths.iter_mut().zip(frequencies) {
            // Every processor has an instruction for many signed numbers at once.
            let frequency = frequency.cast_signed() as f32;
            *length = idf * frequency / (frequency + self.least + self.slope * *length);
        }
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
        let mut weights = [8.0, 4.0];
        bm25.norm(4.0).weigh(idf, &[3, 1], &mut weights);
        assert!((weights[0] - idf * 3.0 / (3.0 + 1.2 * 1.75)).abs() < 1e-6);
        assert!((weights[1] - idf / 2.2).abs() < 1e-6);
        assert!(bm25.idf(10, 10) > 0.0);
    }
}
