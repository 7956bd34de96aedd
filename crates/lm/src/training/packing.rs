//! Which examples make up each training step, and how a step is cut into packs.
//!
//! An epoch's order depends on nothing but (seed, epoch), so a resumed run needs no generator
//! state. A step takes examples in that order until its token budget is full; inside a step,
//! first-fit decreasing puts them into as few packs as it can. Packs hold no padding, so a pack's
//! size decides memory and speed, never the result.
//!
//! Examples that share a long prefix, as several questions about one passage do, form a group. A
//! few members of a group come into a step together, where one pack runs their prefix once for all
//! of them.

use std::collections::HashMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::decoder::pack::{Pack, prefix_tree};
use crate::language::Rendered;

/// Most members of a group that come into a step together, so that a step is not about one thing
/// alone. `docs/log.md` has dev losses with and without.
pub(crate) const GROUP_CHUNK: usize = 4;

/// Examples grouped by the prefixes they share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrefixGroups {
    /// Tokens of each example.
    lengths: Vec<usize>,
    /// Group of each example; one that shares its prefix with no other is a group of its own.
    group: Vec<usize>,
    /// Tokens of the prefix that the members of each group share.
    prefixes: Vec<usize>,
    /// Tokens of the prefix that all examples share.
    common: usize,
}

impl PrefixGroups {
    pub(crate) fn of(examples: &[Rendered]) -> Self {
        let sequences: Vec<_> =
            examples.iter().map(|example| (&example.ids[..], &example.mask[..])).collect();
        let nodes = prefix_tree(&sequences);
        let roots = nodes.iter().filter(|node| node.parent.is_none()).count();
        let root = nodes.first().filter(|node| roots == 1 && !node.leaf).map(|_| 0);
        let common = root.map_or(0, |root: usize| nodes[root].end);
        // Groups are numbered as the nodes of their prefixes; a leaf that hangs from the root or
        // from nothing adds a group of its own.
        let mut prefixes: Vec<usize> = nodes.iter().map(|node| node.end).collect();
        let mut group = vec![0; examples.len()];
        for node in nodes.iter().filter(|node| node.leaf) {
            group[node.sequence] = match node.parent {
                Some(parent) if Some(parent) != root => parent,
                _ => {
                    prefixes.push(common);
                    prefixes.len() - 1
                }
            };
        }
        let lengths = examples.iter().map(|example| example.ids.len()).collect();
        Self { lengths, group, prefixes, common }
    }

    /// Tokens of an example.
    pub(crate) fn length(&self, example: usize) -> usize {
        self.lengths[example]
    }

    /// Tokens that a pack of these examples of one group runs, the prefix common to all examples
    /// left out.
    fn own(&self, group: usize, examples: &[usize]) -> usize {
        let prefix = self.prefixes[group];
        let rest: usize = examples.iter().map(|&example| self.lengths[example] - prefix).sum();
        prefix - self.common + rest
    }

    /// The examples of each step of one epoch: every example once, at most `step_tokens` tokens a
    /// step; a single longer example makes a step of its own.
    pub(crate) fn steps(&self, step_tokens: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
        let mut steps = Vec::new();
        let mut step = Vec::new();
        let mut tokens = 0;
        for example in self.order(seed, epoch) {
            if !step.is_empty() && tokens + self.lengths[example] > step_tokens {
                steps.push(std::mem::take(&mut step));
                tokens = 0;
            }
            tokens += self.lengths[example];
            step.push(example);
        }
        if !step.is_empty() {
            steps.push(step);
        }
        steps
    }

    /// All examples in the order of a shuffle drawn from (seed, epoch), except that each is
    /// followed at once by the next few of its group.
    fn order(&self, seed: u64, epoch: usize) -> Vec<usize> {
        let shuffled = shuffled(self.lengths.len(), seed, epoch);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); self.prefixes.len()];
        for &example in shuffled.iter().rev() {
            members[self.group[example]].push(example);
        }
        let mut taken = vec![false; self.lengths.len()];
        let mut order = Vec::with_capacity(taken.len());
        for example in shuffled {
            let members = &mut members[self.group[example]];
            if !taken[example] {
                let together = members.split_off(members.len().saturating_sub(GROUP_CHUNK));
                together.iter().for_each(|&member| taken[member] = true);
                order.extend(together.iter().rev());
            }
        }
        order
    }

    /// First-fit decreasing: the examples of each group that are here together, the largest group
    /// first, each into the first pack with room for it, so that a pack runs at most `pack_tokens`
    /// tokens; a single longer example makes a pack of its own. Equal sizes keep their order.
    pub(crate) fn pack(&self, examples: &[usize], pack_tokens: usize) -> Vec<Vec<usize>> {
        let mut units = self.units(examples, pack_tokens);
        units.sort_by_key(|(own, _)| std::cmp::Reverse(*own));
        let mut packs: Vec<(usize, Vec<usize>)> = Vec::new();
        for (own, unit) in units {
            match packs.iter_mut().find(|(used, _)| used + own <= pack_tokens) {
                Some((used, pack)) => {
                    *used += own;
                    pack.extend(unit);
                }
                None => packs.push((self.common + own, unit)),
            }
        }
        packs.into_iter().map(|(_, pack)| pack).collect()
    }

    /// The examples by group, cut where one pack cannot hold them, with the tokens that a pack
    /// runs for each.
    fn units(&self, examples: &[usize], pack_tokens: usize) -> Vec<(usize, Vec<usize>)> {
        // Longest first, and groups side by side in the order of their longest.
        let mut sorted = examples.to_vec();
        sorted.sort_by_key(|&example| std::cmp::Reverse(self.lengths[example]));
        let mut units: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut open = HashMap::new();
        for example in sorted {
            let group = self.group[example];
            let rest = self.lengths[example] - self.prefixes[group];
            let unit = open.get(&group).map(|&unit: &usize| &mut units[unit]);
            match unit.filter(|(own, _)| self.common + own + rest <= pack_tokens) {
                Some((own, unit)) => {
                    *own += rest;
                    unit.push(example);
                }
                None => {
                    open.insert(group, units.len());
                    units.push((self.own(group, &[example]), vec![example]));
                }
            }
        }
        units
    }

    /// Tokens that a pack of these examples runs, at most.
    pub(crate) fn run_tokens(&self, pack: &[usize]) -> usize {
        let mut groups: Vec<usize> = pack.iter().map(|&example| self.group[example]).collect();
        groups.sort_unstable();
        groups.dedup();
        let prefixes: usize = groups.iter().map(|&group| self.prefixes[group] - self.common).sum();
        let rest =
            pack.iter().map(|&example| self.lengths[example] - self.prefixes[self.group[example]]);
        self.common + prefixes + rest.sum::<usize>()
    }
}

/// A Fisher-Yates shuffle of `0..count` drawn from (seed, epoch).
pub(crate) fn shuffled(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch as u64 + 1);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The bias of a 64-bit modulus is below 2^-40 for any file that fits in memory.
        order.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
    order
}

/// Joins rendered examples into one pack; a prefix that several share stands in it once.
pub(crate) fn join<'a>(examples: impl IntoIterator<Item = &'a Rendered>) -> Pack {
    let sequences: Vec<(&[u32], &[u8])> =
        examples.into_iter().map(|example| (&example.ids[..], &example.mask[..])).collect();
    Pack::of(&sequences)
}

/// Tokens of an example that carry loss: masked ones, less a masked first token, which nothing
/// predicts.
pub(crate) fn trained_tokens(example: &Rendered) -> usize {
    example.mask.iter().skip(1).filter(|&&bit| bit != 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples that have nothing in common.
    fn apart(lengths: impl IntoIterator<Item = usize>) -> PrefixGroups {
        let example = |(index, length): (u32, usize)| Rendered {
            ids: vec![index; length],
            mask: (0..length).map(|at| u8::from(at + 1 == length)).collect(),
        };
        PrefixGroups::of(&(0..).zip(lengths).map(example).collect::<Vec<_>>())
    }

    fn lengths() -> impl Iterator<Item = usize> + Clone {
        (0..97).map(|index| 5 + (index * 37) % 60)
    }

    /// Two tokens, a passage of 30 tokens, a question of its own of `questions` tokens and an
    /// answer of one token.
    fn about_passages(questions: &[(u32, usize)]) -> Vec<Rendered> {
        let example = |(own, &(passage, question)): (u32, &(u32, usize))| {
            let ids: Vec<u32> = [1, 2]
                .into_iter()
                .chain([passage; 30])
                .chain(vec![100 + own; question])
                .chain([3])
                .collect();
            let mask = (0..ids.len()).map(|at| u8::from(at + 1 == ids.len())).collect();
            Rendered { ids, mask }
        };
        (0..).zip(questions).map(example).collect()
    }

    #[test]
    fn an_epoch_holds_every_example_once_within_the_budget() {
        let groups = apart(lengths());
        let steps = groups.steps(256, 1, 0);
        let mut seen: Vec<usize> = steps.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths().count()).collect::<Vec<_>>());
        for step in &steps {
            assert!(step.iter().map(|&index| groups.length(index)).sum::<usize>() <= 256);
            let packs = groups.pack(step, 100);
            let mut packed: Vec<usize> = packs.iter().flatten().copied().collect();
            packed.sort_unstable();
            let mut wanted = step.clone();
            wanted.sort_unstable();
            assert_eq!(packed, wanted);
            assert!(packs.iter().all(|pack| groups.run_tokens(pack) <= 100));
        }
    }

    #[test]
    fn order_is_drawn_from_seed_and_epoch() {
        let groups = apart([9; 50]);
        let draw = |seed, epoch| groups.order(seed, epoch);
        assert_eq!(draw(3, 2), draw(3, 2));
        assert_ne!(draw(3, 2), draw(3, 1));
        assert_ne!(draw(3, 2), draw(4, 2));
        // Without groups, the shuffle itself.
        assert_eq!(draw(3, 0), shuffled(50, 3, 0));
    }

    #[test]
    fn an_example_over_the_budget_stands_alone() {
        let groups = apart([10, 500, 10]);
        assert!(groups.steps(64, 0, 0).contains(&vec![1]));
        assert_eq!(groups.pack(&[0, 1, 2], 64), vec![vec![1], vec![0, 2]]);
    }

    #[test]
    fn first_fit_decreasing_fills_gaps() {
        let groups = apart([6, 5, 4, 3, 2]);
        assert_eq!(groups.pack(&[4, 3, 2, 1, 0], 10), vec![vec![0, 2], vec![1, 3, 4]]);
        // Two tokens of each are the same: 2 + 4 + 3 + 1 and 2 + 2.
        let behind = |(own, length): (u32, usize)| Rendered {
            ids: [7, 7].into_iter().chain(vec![own; length - 2]).collect(),
            mask: (0..length).map(|at| u8::from(at > 2)).collect(),
        };
        let examples: Vec<Rendered> = (0..).zip([6, 5, 4, 4, 3]).map(behind).collect();
        let groups = PrefixGroups::of(&examples);
        assert_eq!(groups.common, 2);
        assert_eq!(groups.pack(&[4, 3, 2, 1, 0], 10), vec![vec![0, 1, 4], vec![3, 2]]);
    }

    #[test]
    fn a_group_comes_together_and_runs_its_prefix_once() {
        // Nine questions about passage 10, two about passage 20, one about 30.
        let of_ten = (0..9).map(|i| (10, 3 + i));
        let questions: Vec<(u32, usize)> = of_ten.chain([(20, 5), (20, 6), (30, 4)]).collect();
        let examples = about_passages(&questions);
        let groups = PrefixGroups::of(&examples);
        assert_eq!(groups.common, 2);
        let order = groups.order(1, 0);
        // Four and four of the nine; the ninth and the rest where the shuffle has them.
        let passages: Vec<u32> = order.iter().map(|&example| questions[example].0).collect();
        let mut seen = HashMap::new();
        for run in passages.chunk_by(|a, b| a == b) {
            seen.entry(run[0]).or_insert_with(Vec::new).push(run.len());
        }
        let runs_of_ten: usize = seen[&10].iter().sum();
        assert!(
            runs_of_ten == 9 && seen[&10].iter().all(|run| [1, 4, 5, 8, 9].contains(run)),
            "{seen:?}"
        );
        assert_eq!((&seen[&20][..], &seen[&30][..]), (&[2][..], &[1][..]));
        for pack_tokens in [60, 100, 1000] {
            let packs = groups.pack(&order, pack_tokens);
            let mut all: Vec<usize> = packs.concat();
            all.sort_unstable();
            assert_eq!(all, (0..examples.len()).collect::<Vec<_>>());
            for pack in packs {
                let joined = join(pack.iter().map(|&example| &examples[example]));
                assert!(joined.len() <= groups.run_tokens(&pack));
                assert!(groups.run_tokens(&pack) <= pack_tokens);
            }
        }
        // In one pack everything stands once: 2, three passages of 30, and what is each example's
        // own.
        let own: usize = questions.iter().map(|(_, question)| question + 1).sum();
        assert_eq!(groups.pack(&order, 1000).len(), 1);
        assert_eq!(groups.run_tokens(&order), 2 + 90 + own);
    }
}
