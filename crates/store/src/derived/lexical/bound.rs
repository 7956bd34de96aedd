//! When a score can no longer reach the threshold.

/// Rounding may lift a sum of term weights by less than this factor. Upper bounds are multiplied by
/// it, so that nothing is pruned for a rounding error.
pub(super) const ROUNDING: f32 = 1.001;

/// What decides whether a text is still a candidate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// What the terms that have not been added can add to a score, all together.
    pub(super) max_score: f32,
    /// What a score has to come to.
    pub(super) threshold: f32,
}

impl Bound {
    /// Whether a text that has this score so far may come to the threshold.
    pub(super) fn can_reach(self, score: f32) -> bool {
        (score + self.max_score) * ROUNDING >= self.threshold
    }
}
