//! Several training sequences laid end to end, without padding.

mod prefix_tree;
mod segment;

use crate::ops::Layout;
use crate::{DecoderConfig, Error, Result};

pub(crate) use prefix_tree::prefix_tree;
pub use segment::Segment;

/// Training sequences laid end to end. A prefix that several of them share (an instruction, a
/// passage that several questions are about) is run once. Each token attends only to its own
/// sequence, and positions are counted within the sequence, so a pack gives the same loss and
/// gradients as its sequences one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pack {
    /// Token ids, segment after segment.
    pub ids: Vec<u32>,
    /// As long as `ids`; 1 = this token is a target, predicted from the tokens of its sequence
    /// before it. Neither a token that sequences share nor the first one of a segment is a target.
    pub mask: Vec<u8>,
    /// How `ids` divide. The last segment of a sequence is its own; those before it may belong to
    /// several.
    pub segments: Vec<Segment>,
}

impl Pack {
    /// Packs sequences of (ids, mask) with shared prefixes once: the one that all share, and longer
    /// ones that some share if they are long enough to pay. A sequence always keeps a token of its
    /// own that is no target, so that every target is predicted by a row of its own sequence.
    ///
    /// # Panics
    /// When ids and mask of a sequence differ in length (a fault of the caller, not of data).
    pub fn of(sequences: &[(&[u32], &[u8])]) -> Self {
        let given: Vec<_> = sequences.iter().filter(|(ids, _)| !ids.is_empty()).copied().collect();
        let mut pack = Pack::default();
        for node in prefix_tree(&given) {
            let (ids, mask) = given[node.sequence];
            pack.append(node.parent, &ids[node.start..node.end], &mask[node.start..node.end]);
            if !node.leaf {
                let from = pack.mask.len() - (node.end - node.start);
                pack.mask[from..].fill(0);
            }
        }
        pack
    }

    /// Appends one sequence that shares nothing. A mask on its first token is cleared: nothing
    /// predicts that token.
    ///
    /// # Panics
    /// When `ids` and `mask` differ in length (a fault of the caller, not of data).
    pub fn push(&mut self, ids: &[u32], mask: &[u8]) {
        self.append(None, ids, mask);
    }

    /// Appends a segment behind another. A mask on its first token is cleared.
    fn append(&mut self, parent: Option<usize>, ids: &[u32], mask: &[u8]) {
        assert_eq!(ids.len(), mask.len(), "one mask entry per token");
        if ids.is_empty() {
            return;
        }
        let start = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.mask.extend_from_slice(mask);
        self.mask[start] = 0;
        self.segments.push(Segment { parent, length: ids.len() });
    }

    /// Tokens that are run: every shared prefix once, and the rest of each sequence.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of all sequences, a shared prefix counted for each.
    pub fn sequence_tokens(&self) -> usize {
        let mut ends = vec![true; self.segments.len()];
        for parent in self.segments.iter().filter_map(|segment| segment.parent) {
            ends[parent] = false;
        }
        let spans = self.layout().spans().zip(ends).filter(|(_, end)| *end);
        spans.map(|(span, _)| span.past + span.rows).sum()
    }

    /// The sequences one by one, as ids and mask.
    #[cfg(test)]
    pub(crate) fn sequences(&self) -> Vec<(Vec<u32>, Vec<u8>)> {
        let spans: Vec<_> = self.layout().spans().collect();
        let leaf =
            |index: &usize| self.segments.iter().all(|segment| segment.parent != Some(*index));
        let sequence = |index: usize| {
            let mut path: Vec<usize> =
                std::iter::successors(Some(index), |&segment| self.segments[segment].parent)
                    .collect();
            path.reverse();
            let rows: Vec<usize> =
                path.iter().flat_map(|&s| spans[s].start..spans[s].start + spans[s].rows).collect();
            (
                rows.iter().map(|&row| self.ids[row]).collect(),
                rows.iter().map(|&row| self.mask[row]).collect(),
            )
        };
        (0..self.segments.len()).filter(leaf).map(sequence).collect()
    }

    /// How the rows divide.
    pub(crate) fn layout(&self) -> Layout<'_> {
        Layout { segments: &self.segments }
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
        self.check_segments()?;
        self.check_targets(config)?;
        match self.ids.iter().find(|&&id| id as usize >= config.vocabulary) {
            Some(&id) => Err(Error::TokenOutOfRange { id, vocabulary: config.vocabulary }),
            None => Ok(()),
        }
    }

    /// Segments must sum to the tokens, and each must come after its parent.
    fn check_segments(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Pack(what));
        let sum =
            self.segments.iter().try_fold(0usize, |sum, segment| sum.checked_add(segment.length));
        if sum != Some(self.ids.len()) {
            return wrong(format!("its segments do not sum to its {} tokens", self.ids.len()));
        }
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.length == 0 {
                return wrong(format!("segment {index} is empty"));
            }
            if segment.parent.is_some_and(|parent| parent >= index) {
                return wrong(format!("segment {index} comes before the one that it follows"));
            }
        }
        Ok(())
    }

    /// Every sequence must fit into the context, and every target must have a token of its own
    /// sequence before it.
    fn check_targets(&self, config: &DecoderConfig) -> Result<()> {
        let wrong = |what: String| Err(Error::Pack(what));
        let spans: Vec<_> = self.layout().spans().collect();
        for (index, (span, segment)) in spans.iter().zip(&self.segments).enumerate() {
            if span.past + span.rows > config.max_positions {
                return Err(Error::TooLong {
                    what: format!("a sequence of the pack, up to its segment {index},"),
                    tokens: span.past + span.rows,
                    limit: config.max_positions,
                });
            }
            if self.mask[span.start] != 0 {
                return wrong(format!(
                    "the first token of segment {index} is a target, but none of its own precedes it"
                ));
            }
            let before = segment.parent.map(|parent| spans[parent]);
            if before.is_some_and(|before| {
                self.mask[before.start..][..before.rows].iter().any(|&m| m != 0)
            }) {
                return wrong(format!(
                    "a token before segment {index}, which sequences share, is a target"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(parent: impl Into<Option<usize>>, length: usize) -> Segment {
        Segment { parent: parent.into(), length }
    }

    #[test]
    fn the_common_beginning_stands_once_and_leaves_every_target_a_row_of_its_own() {
        let sequences: [(&[u32], &[u8]); 3] = [
            (&[1, 2, 3, 4, 9], &[0, 0, 0, 0, 1]),
            (&[1, 2, 3, 5, 6, 9], &[0, 0, 0, 0, 1, 1]),
            (&[1, 2, 3, 7], &[0, 0, 0, 1]),
        ];
        let pack = Pack::of(&sequences);
        // The third sequence's target is its fourth token, so its third stays with it.
        assert_eq!(pack.segments, [segment(None, 2), segment(0, 3), segment(0, 4), segment(0, 2)]);
        assert_eq!(pack.ids, [1, 2, 3, 4, 9, 3, 5, 6, 9, 3, 7]);
        assert_eq!(pack.mask, [0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 1]);
        assert_eq!((pack.len(), pack.sequence_tokens()), (11, 15));
        assert!(pack.validate(&DecoderConfig::tiny()).is_ok());
        assert_eq!(Pack::of(&sequences[..1]).segments, [segment(None, 5)]);
        assert_eq!(Pack::of(&[]), Pack::default());
        // Equal sequences share all but what the target needs; a mask on the first token counts for
        // nothing.
        let twice: [(&[u32], &[u8]); 2] = [(&[1, 2, 3], &[1, 0, 1]), (&[1, 2, 3], &[0, 0, 1])];
        assert_eq!(Pack::of(&twice).segments, [segment(None, 1), segment(0, 2), segment(0, 2)]);
        assert_eq!(Pack::of(&twice).targets(), 2);
    }

    #[test]
    fn what_only_some_have_in_common_is_shared_among_them_if_it_is_long() {
        // An instruction of 3 tokens; passages of 20 tokens; questions of 2 and an answer of 1.
        let sequence = |passage: u32, question: u32| -> (Vec<u32>, Vec<u8>) {
            let ids: Vec<u32> =
                [1, 2, 3].into_iter().chain([passage; 20]).chain([question, 8, 9]).collect();
            let mask = (0..ids.len()).map(|at| u8::from(at + 1 == ids.len())).collect();
            (ids, mask)
        };
        let all = [sequence(4, 5), sequence(6, 5), sequence(4, 7), sequence(10, 5)];
        let borrowed: Vec<(&[u32], &[u8])> =
            all.iter().map(|(ids, mask)| (&ids[..], &mask[..])).collect();
        let pack = Pack::of(&borrowed);
        let expected = [
            segment(None, 3),
            segment(0, 20),
            segment(1, 3),
            segment(1, 3),
            segment(0, 23),
            segment(0, 23),
        ];
        assert_eq!(pack.segments, expected);
        assert_eq!((pack.len(), pack.sequence_tokens()), (75, 4 * 26));
        assert!(pack.validate(&DecoderConfig::tiny()).is_ok());
        let positions: Vec<usize> = pack.layout().positions().collect();
        assert_eq!(positions[..26], (0..26).collect::<Vec<_>>());
        assert_eq!(positions[26..29], [23, 24, 25]);
        assert_eq!(positions[29..52], (3..26).collect::<Vec<_>>());
        // Two that agree in fifteen tokens only stay apart.
        let short = |last: u32| -> Vec<u32> { (10..25).chain([last, 8, 9]).collect() };
        let (a, b, mask) = (short(1), short(2), [[0; 17].as_slice(), &[1]].concat());
        let other = [3u32; 18];
        let pack = Pack::of(&[(&a, &mask), (&b, &mask), (&other, &mask)]);
        assert_eq!(pack.segments, [segment(None, 18); 3]);
    }

    #[test]
    fn pushing_keeps_lengths_and_clears_the_untrainable_first_mask() {
        let mut pack = Pack::default();
        pack.push(&[1, 2, 3], &[1, 0, 1]);
        pack.push(&[], &[]);
        pack.push(&[4, 5], &[0, 1]);
        assert_eq!(pack.segments, [segment(None, 3), segment(None, 2)]);
        assert_eq!(pack.mask, [0, 0, 1, 0, 1]);
        assert_eq!((pack.len(), pack.targets(), pack.sequence_tokens()), (5, 2, 5));
        assert!(pack.validate(&DecoderConfig::tiny()).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        let config = DecoderConfig::tiny();
        let good = Pack {
            ids: vec![1, 2, 3, 4],
            mask: vec![0, 0, 0, 1],
            segments: vec![segment(None, 2), segment(0, 2)],
        };
        assert!(good.validate(&config).is_ok());
        let bad = |change: fn(&mut Pack)| {
            let mut pack = good.clone();
            change(&mut pack);
            pack.validate(&config).unwrap_err().to_string()
        };
        assert!(bad(|p| p.mask.truncate(2)).contains("mask"));
        assert!(bad(|p| p.segments[1].length = 1).contains("sum to its 4"));
        assert!(bad(|p| p.segments = vec![segment(None, 0), segment(0, 4)]).contains("empty"));
        assert!(bad(|p| p.segments[1].parent = Some(1)).contains("the one that it follows"));
        assert!(bad(|p| p.mask[0] = 1).contains("first token of segment 0"));
        assert!(bad(|p| p.mask[2] = 1).contains("first token of segment 1"));
        assert!(bad(|p| p.mask[1] = 1).contains("which sequences share"));
        assert!(
            bad(|p| p.segments = vec![segment(None, usize::MAX), segment(0, 5)]).contains("sum")
        );
        assert!(bad(|p| p.ids[1] = 67).contains("67"));
        let mut long = Pack::default();
        long.push(&[1; 1000], &[0; 1000]);
        assert!(long.validate(&config).unwrap_err().to_string().contains("1000"));
    }
}
