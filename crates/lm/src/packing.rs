//! Which examples make up each training step, and how a step is cut into packs.
//!
//! An epoch's order depends on nothing but (seed, epoch), so a resumed run needs no generator state. A step takes
//! examples in that order until its token budget is full; inside a step, first-fit decreasing puts them into as
//! few packs as it can. Packs hold no padding, so a pack's size decides memory and speed, never the result.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::pack::{Pack, common_beginning};
use crate::template::Rendered;

/// The examples of each step of one epoch, as places in `lengths`: every example once, at most `step_tokens` tokens
/// a step; a single longer example makes a step of its own.
pub(crate) fn steps(lengths: &[usize], step_tokens: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    let mut steps = Vec::new();
    let mut step = Vec::new();
    let mut tokens = 0;
    for index in order(lengths.len(), seed, epoch) {
        if !step.is_empty() && tokens + lengths[index] > step_tokens {
            steps.push(std::mem::take(&mut step));
            tokens = 0;
        }
        tokens += lengths[index];
        step.push(index);
    }
    if !step.is_empty() {
        steps.push(step);
    }
    steps
}

/// A Fisher-Yates shuffle of `0..count` drawn from (seed, epoch).
fn order(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch as u64 + 1);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The bias of a 64-bit modulus is below 2^-40 for any file that fits in memory.
        order.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
    }
    order
}

/// First-fit decreasing: the longest first, each into the first pack with room for it, so that a pack runs at most
/// `pack_tokens` tokens, of which the first `shared` of every example once; a single longer example makes a pack of its own.
/// Equal lengths keep their order.
pub(crate) fn pack(
    examples: &[usize],
    lengths: &[usize],
    shared: usize,
    pack_tokens: usize,
) -> Vec<Vec<usize>> {
    let mut sorted = examples.to_vec();
    sorted.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut packs: Vec<(usize, Vec<usize>)> = Vec::new();
    for index in sorted {
        let own = lengths[index] - shared;
        match packs.iter_mut().find(|(used, _)| used + own <= pack_tokens) {
            Some((used, pack)) => {
                *used += own;
                pack.push(index);
            }
            None => packs.push((shared + own, vec![index])),
        }
    }
    packs.into_iter().map(|(_, pack)| pack).collect()
}

/// Tokens that all of these examples begin with and that a pack of any of them runs once.
pub(crate) fn shared(examples: &[Rendered]) -> usize {
    common_beginning(examples.iter().map(|example| (&example.ids[..], &example.mask[..])))
}

/// Joins rendered examples into one pack, what they begin with in common once.
pub(crate) fn join<'a>(examples: impl IntoIterator<Item = &'a Rendered>) -> Pack {
    let sequences: Vec<(&[u32], &[u8])> =
        examples.into_iter().map(|example| (&example.ids[..], &example.mask[..])).collect();
    Pack::of(&sequences)
}

/// Tokens of an example that carry loss: masked ones, less a masked first token, which nothing predicts.
pub(crate) fn trained_tokens(example: &Rendered) -> usize {
    example.mask.iter().skip(1).filter(|&&bit| bit != 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths() -> Vec<usize> {
        (0..97).map(|index| 5 + (index * 37) % 60).collect()
    }

    #[test]
    fn an_epoch_holds_every_example_once_within_the_budget() {
        let lengths = lengths();
        let steps = steps(&lengths, 256, 1, 0);
        let mut seen: Vec<usize> = steps.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for step in &steps {
            assert!(step.iter().map(|&index| lengths[index]).sum::<usize>() <= 256);
            let packs = pack(step, &lengths, 0, 100);
            let mut packed: Vec<usize> = packs.iter().flatten().copied().collect();
            packed.sort_unstable();
            let mut wanted = step.clone();
            wanted.sort_unstable();
            assert_eq!(packed, wanted);
            assert!(packs.iter().all(|pack| pack.iter().map(|&index| lengths[index]).sum::<usize>() <= 100));
        }
    }

    #[test]
    fn order_is_drawn_from_seed_and_epoch() {
        let draw = |seed, epoch| order(50, seed, epoch);
        assert_eq!(draw(3, 2), draw(3, 2));
        assert_ne!(draw(3, 2), draw(3, 1));
        assert_ne!(draw(3, 2), draw(4, 2));
        assert_ne!(draw(3, 0), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn an_example_over_the_budget_stands_alone() {
        let lengths = [10, 500, 10];
        let steps = steps(&lengths, 64, 0, 0);
        assert!(steps.contains(&vec![1]));
        assert_eq!(pack(&[0, 1, 2], &lengths, 0, 64), vec![vec![1], vec![0, 2]]);
    }

    #[test]
    fn first_fit_decreasing_fills_gaps() {
        let lengths = [6, 5, 4, 3, 2];
        assert_eq!(pack(&[4, 3, 2, 1, 0], &lengths, 0, 10), vec![vec![0, 2], vec![1, 3, 4]]);
        // Two tokens of each are the same: 2 + 4 + 3 + 1 and 2 + 2.
        assert_eq!(pack(&[4, 3, 2, 1, 0], &lengths, 2, 10), vec![vec![0, 1, 3, 4], vec![2]]);
    }
}
