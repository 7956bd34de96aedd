//! Several training sequences laid end to end, without padding.

use crate::ops::Layout;
use crate::{DecoderConfig, Error, Result};

/// Training sequences laid end to end, after a beginning that all of them have in common (an instruction, say) and
/// that is therefore run once. Attention sees the beginning and its own sequence, and positions restart behind
/// the beginning, so a pack gives the same loss and gradients as its sequences one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pack {
    /// Token ids: the common beginning, then the rest of every sequence, one after the other.
    pub ids: Vec<u32>,
    /// As long as `ids`; 1 = this token is a target, predicted from the tokens of its sequence before it.
    /// Neither the common beginning nor the first token of a sequence behind it is a target.
    pub mask: Vec<u8>,
    /// Tokens of the common beginning.
    pub shared: usize,
    /// Length of each sequence behind the common beginning; with it they sum to `ids.len()`.
    pub lengths: Vec<usize>,
}

impl Pack {
    /// Packs sequences of (ids, mask), their longest common beginning once. A sequence always keeps a token of its
    /// own that is no target, so that every target is predicted by a row of its own sequence.
    ///
    /// # Panics
    /// When ids and mask of a sequence differ in length (a fault of the caller, not of data).
    pub fn of(sequences: &[(&[u32], &[u8])]) -> Self {
        let shared = common_beginning(sequences.iter().copied());
        let mut pack = Pack { shared, ..Pack::default() };
        if let Some((ids, mask)) = sequences.first() {
            pack.ids.extend_from_slice(&ids[..shared]);
            pack.mask.extend_from_slice(&mask[..shared]);
        }
        for (ids, mask) in sequences {
            pack.push(&ids[shared..], &mask[shared..]);
        }
        pack
    }

    /// Appends one sequence, given without the common beginning. A mask on its first token is cleared: nothing of its
    /// own predicts that token.
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

    /// Tokens that are run: the common beginning once, and the rest of all sequences.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of all sequences, the common beginning counted for each.
    pub fn sequence_tokens(&self) -> usize {
        self.lengths.iter().map(|length| self.shared + length).sum()
    }

    /// How the rows divide into sequences.
    pub(crate) fn layout(&self) -> Layout<'_> {
        Layout { shared: self.shared, lengths: &self.lengths }
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
        if self.mask.iter().take(self.shared).any(|&m| m != 0) {
            return Err(Error::Pack("a token of the common beginning is a target".into()));
        }
        let mut start = self.shared;
        for (sequence, &length) in self.lengths.iter().enumerate() {
            if length == 0 {
                return Err(Error::Pack(format!("sequence {sequence} is empty")));
            }
            let tokens = self.shared.saturating_add(length);
            if tokens > config.max_positions {
                return Err(Error::TooLong {
                    what: format!("sequence {sequence} of the pack"),
                    tokens,
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
                "the common beginning and the sequences sum to {start}, there are {} tokens",
                self.ids.len()
            )));
        }
        match self.ids.iter().find(|&&id| id as usize >= config.vocabulary) {
            Some(&id) => Err(Error::TokenOutOfRange { id, vocabulary: config.vocabulary }),
            None => Ok(()),
        }
    }
}

/// Tokens that all sequences begin with, none of them a target, leaving each at least one more that is none.
pub(crate) fn common_beginning<'a>(sequences: impl Iterator<Item = (&'a [u32], &'a [u8])> + Clone) -> usize {
    let mut others = sequences.clone();
    let Some((first, _)) = others.next() else { return 0 };
    let alike = |(ids, _): (&[u32], &[u8])| first.iter().zip(ids).take_while(|(a, b)| a == b).count();
    // A single sequence shares nothing.
    let Some(alike) = others.map(alike).min() else { return 0 };
    // Nothing predicts the first token, whatever its mask says.
    let untrained = |mask: &[u8]| mask.iter().skip(1).take_while(|&&m| m == 0).count();
    sequences.map(|(_, mask)| untrained(mask)).fold(alike, usize::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_beginning_stands_once_and_leaves_every_target_a_row_of_its_own() {
        let sequences: [(&[u32], &[u8]); 3] = [
            (&[1, 2, 3, 4, 9], &[0, 0, 0, 0, 1]),
            (&[1, 2, 3, 5, 6, 9], &[0, 0, 0, 0, 1, 1]),
            (&[1, 2, 3, 7], &[0, 0, 0, 1]),
        ];
        let pack = Pack::of(&sequences);
        // The third sequence's target is its fourth token, so its third stays with it.
        assert_eq!((pack.shared, &pack.lengths[..]), (2, &[3, 4, 2][..]));
        assert_eq!(pack.ids, [1, 2, 3, 4, 9, 3, 5, 6, 9, 3, 7]);
        assert_eq!(pack.mask, [0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 1]);
        assert!(pack.validate(&DecoderConfig::tiny()).is_ok());
        assert_eq!(Pack::of(&sequences[..1]).shared, 0);
        assert_eq!(Pack::of(&[]), Pack::default());
        // Equal sequences share all but what the target needs; a mask on the first token counts for nothing.
        let twice: [(&[u32], &[u8]); 2] = [(&[1, 2, 3], &[1, 0, 1]), (&[1, 2, 3], &[0, 0, 1])];
        assert_eq!((Pack::of(&twice).shared, Pack::of(&twice).lengths), (1, vec![2, 2]));
    }

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
        let good = Pack { ids: vec![1, 2, 3], mask: vec![0, 1, 1], shared: 0, lengths: vec![3] };
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
        assert!(bad(|p| (p.shared, p.lengths[0]) = (2, 1)).contains("common beginning is a target"));
        assert!(bad(|p| (p.shared, p.mask[1]) = (1, 0)).contains("sum to 4"));
        assert!(bad(|p| p.ids[1] = 67).contains("67"));
        assert!(bad(|p| p.lengths = vec![1000]).contains("1000"));
    }
}
