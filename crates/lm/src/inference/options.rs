//! How an answer is made.

/// How to answer. The default is greedy with up to 256 tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens to generate, the end token included; cut further where the context ends.
    pub max_tokens: usize,
    /// 0 is greedy; 1 is the model's own distribution.
    pub temperature: f32,
    /// Draw from the heaviest tokens that together weigh at least this share; 1 is all of them.
    pub top_p: f32,
    /// Draw from this many of the heaviest tokens; 0 is all of them.
    pub top_k: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// Draft tokens that followed the same words earlier and check several at once. The answer is
    /// the same with and without; one that quotes its prompt comes faster.
    pub lookup: bool,
    /// Also say how likely the model found each token of its answer: a pass over the vocabulary for
    /// each.
    pub likelihood: bool,
    /// Prompts share what was read of a common beginning with prompts of the same scope alone, so
    /// that nobody can tell from time or counts what others were asked. The answer is the same with
    /// and without.
    pub scope: String,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            seed: 0,
            stop: Vec::new(),
            lookup: true,
            likelihood: false,
            scope: String::new(),
        }
    }
}
