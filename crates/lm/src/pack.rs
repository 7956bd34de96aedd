//! Several training sequences laid end to end, without padding.

use crate::{DecoderConfig, Error, Result};

/// Training sequences laid end to end. Attention is block-diagonal over them and positions restart at each,
/// so a pack gives the same loss and gradients as its sequences one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pack {
    /// Token ids of all sequences, one after the other.
    pub ids: Vec<u32>,
    /// As long as `ids`; 1 = this token is a target, predicted from the tokens of its sequence before it.
    /// The first token of a sequence has nothing before it and is never a target.
    pub mask: Vec<u8>,
    /// Length of each sequence; they sum to `ids.len()`.
    pub lengths: Vec<usize>,
}

impl Pack {
    /// Appends one sequence. A mask on its first token is cleared: nothing predicts that token.
    ///
    /// # Panics
    /// When `ids` and `mask` differ in length (a fault of the caller, not of data).
    pub fn push(&mut self, ids: &[u32], mask: &[u8]) {
        assert_eq!(ids.len(), mask.len(), "one mask entry per token");
        if ids.is_empty() {
            return;
        }
        let start = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.mask.extend_from_slice(mask);
        self.mask[start] = 0;
        self.lengths.push(ids.len());
    }

    /// Tokens in all sequences together.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Targets: tokens the loss is summed over.
    pub fn targets(&self) -> usize {
        self.mask.iter().filter(|&&m| m != 0).count()
    }

    /// Checks the pack against itself and against a model.
    ///
    /// # Errors
    /// [`Error::Pack`], [`Error::TokenOutOfRange`] or [`Error::TooLong`].
    pub fn validate(&self, config: &DecoderConfig) -> Result<()> {
        if self.mask.len() != self.ids.len() {
            return Err(Error::Pack(format!(
                "{} mask entries for {} tokens",
                self.mask.len(),
                self.ids.len()
            )));
        }
        let mut start = 0usize;
        for (sequence, &length) in self.lengths.iter().enumerate() {
            if length == 0 {
                return Err(Error::Pack(format!("sequence {sequence} is empty")));
            }
            if length > config.max_positions {
                return Err(Error::TooLong {
                    what: format!("sequence {sequence} of the pack"),
                    tokens: length,
                    limit: config.max_positions,
                });
            }
            if self.mask.get(start).is_some_and(|&m| m != 0) {
                return Err(Error::Pack(format!(
                    "the first token of sequence {sequence} is a target, but nothing precedes it"
                )));
            }
            start = start.saturating_add(length);
        }
        if start != self.ids.len() {
            return Err(Error::Pack(format!(
                "sequence lengths sum to {start}, there are {} tokens",
                self.ids.len()
            )));
        }
        match self.ids.iter().find(|&&id| id as usize >= config.vocabulary) {
            Some(&id) => Err(Error::TokenOutOfRange { id, vocabulary: config.vocabulary }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushing_keeps_lengths_and_clears_the_untrainable_first_mask() {
        let mut pack = Pack::default();
        pack.push(&[1, 2, 3], &[1, 0, 1]);
        pack.push(&[], &[]);
        pack.push(&[4, 5], &[0, 1]);
        assert_eq!(pack.lengths, [3, 2]);
        assert_eq!(pack.mask, [0, 0, 1, 0, 1]);
        assert_eq!((pack.len(), pack.targets()), (5, 2));
        assert!(pack.validate(&DecoderConfig::tiny()).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        let config = DecoderConfig::tiny();
        let good = Pack { ids: vec![1, 2, 3], mask: vec![0, 1, 1], lengths: vec![3] };
        assert!(good.validate(&config).is_ok());
        let bad = |change: fn(&mut Pack)| {
            let mut pack = good.clone();
            change(&mut pack);
            pack.validate(&config).unwrap_err().to_string()
        };
        assert!(bad(|p| p.mask.truncate(2)).contains("mask"));
        assert!(bad(|p| p.lengths = vec![2]).contains("sum to 2"));
        assert!(bad(|p| p.lengths = vec![0, 3]).contains("empty"));
        assert!(bad(|p| p.mask[0] = 1).contains("first token"));
        assert!(bad(|p| p.ids[1] = 67).contains("67"));
        assert!(bad(|p| p.lengths = vec![1000]).contains("1000"));
    }
}
