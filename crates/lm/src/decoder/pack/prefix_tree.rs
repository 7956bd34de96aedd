//! The prefixes that sequences share, as a tree.

use std::collections::HashMap;

/// Fewest tokens that some sequences must share, beyond the prefix that all share, to get a segment
/// for it. A segment costs a product of attention of its own and a copy of the keys before it.
const MIN_SHARED: usize = 16;

/// A sequence of (ids, mask).
pub(crate) type Sequence<'a> = (&'a [u32], &'a [u8]);

/// A run of tokens of one sequence, or of several that agree up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefixNode {
    /// The node that comes before it in its sequences; an earlier one of the list.
    pub(crate) parent: Option<usize>,
    /// Place, among the sequences, of one that holds it.
    pub(crate) sequence: usize,
    /// First of its tokens in its sequences.
    pub(crate) start: usize,
    /// End of its tokens.
    pub(crate) end: usize,
    /// Whether it belongs to one sequence alone, and ends it.
    pub(crate) leaf: bool,
}

/// The nodes of the prefix tree of `sequences`, each after its parent. The prefix that all
/// sequences share, however short, is one node; further down, sequences that share [`MIN_SHARED`]
/// tokens or more have a node in common. Every sequence ends in a leaf, which holds all its targets
/// and one token before the first of them, so that every target is predicted by a row of its own
/// sequence.
pub(crate) fn prefix_tree(sequences: &[Sequence<'_>]) -> Vec<PrefixNode> {
    let mut tree = TreeBuilder { sequences, nodes: Vec::with_capacity(sequences.len() + 1) };
    tree.grow(&(0..sequences.len()).collect::<Vec<_>>(), 0, None);
    tree.nodes
}

struct TreeBuilder<'a> {
    sequences: &'a [Sequence<'a>],
    nodes: Vec<PrefixNode>,
}

impl TreeBuilder<'_> {
    /// Adds what follows behind the first `start` tokens of these sequences, which end in node
    /// `parent`.
    fn grow(&mut self, sequences: &[usize], mut start: usize, mut parent: Option<usize>) {
        let common = self.common_prefix(sequences);
        if sequences.len() > 1 && common > start {
            self.nodes.push(PrefixNode {
                parent,
                sequence: sequences[0],
                start,
                end: common,
                leaf: false,
            });
            (start, parent) = (common, Some(self.nodes.len() - 1));
        }
        for group in self.group_by_next(sequences, start) {
            match group[..] {
                [sequence] => {
                    let end = self.sequences[sequence].0.len();
                    self.nodes.push(PrefixNode { parent, sequence, start, end, leaf: true });
                }
                _ => self.grow(&group, start, parent),
            }
        }
    }

    /// Tokens that a sequence may share: those before the one that precedes its first target.
    /// Nothing predicts the first token, whatever its mask says.
    fn shareable(&self, sequence: usize) -> usize {
        let (ids, mask) = self.sequences[sequence];
        let untrained = mask.iter().skip(1).take_while(|&&bit| bit == 0).count();
        untrained.min(ids.len().saturating_sub(1))
    }

    /// Tokens that all of these begin with and may share.
    fn common_prefix(&self, sequences: &[usize]) -> usize {
        let Some((&first, others)) = sequences.split_first() else { return 0 };
        let ids = self.sequences[first].0;
        others.iter().fold(self.shareable(first), |common, &other| {
            let alike = ids.iter().zip(self.sequences[other].0).take_while(|(a, b)| a == b).count();
            common.min(alike).min(self.shareable(other))
        })
    }

    /// The sequences by their next [`MIN_SHARED`] tokens, those that may not share so many alone;
    /// in the order of each group's first.
    fn group_by_next(&self, sequences: &[usize], start: usize) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        for &sequence in sequences {
            let next = start..start + MIN_SHARED;
            if next.end > self.shareable(sequence) {
                groups.push(vec![sequence]);
                continue;
            }
            let group = *known.entry(&self.sequences[sequence].0[next]).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(sequence),
                None => groups.push(vec![sequence]),
            }
        }
        groups
    }
}
