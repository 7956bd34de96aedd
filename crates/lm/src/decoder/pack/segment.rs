//! Segments of a pack.

/// A run of tokens of one sequence, or of several that agree up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Place of the segment that comes before it in its sequences, an earlier one; `None` = it
    /// begins them.
    pub parent: Option<usize>,
    /// Tokens.
    pub length: usize,
}
