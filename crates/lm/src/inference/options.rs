//! How an answer is made.

/// How to answer. The default is greedy with up to 256 tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens to generate, the end token included; cut further where the context ends.
    pub max_tokens: usize,
    /// 0 is greedy; 1 is the model's own distribution.
    pub temperature: f32,
    /// Draw from the fewest tokens whose probabilities sum to at least this (nucleus sampling,
    /// Holtzman et al. 2019); 1 keeps all.
    pub top_p: f32,
    /// Draw from this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// Draft the tokens that followed the same words earlier, and check several at once. The answer
    /// stays the same; one that quotes its prompt comes faster.
    pub lookup: bool,
    /// Also return the log probability of each token of the answer, at the price of one more pass
    /// over the vocabulary for each.
    pub likelihood: bool,
    /// Cached prefixes are shared only among prompts of the same scope, so that nobody can tell
    /// from times or counts what others have asked. The answer does not depend on it.
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
