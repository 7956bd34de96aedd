//! Adding term weights to scores, and pruning candidates, with the widest instructions of this
//! processor. Every level gives the same bits: each weight is computed by the same operations in
//! the same order, and no product is fused with a sum.
//!
//! Texts are given by their places in a window, each once. Those that are kept stay in order.

#[cfg(target_arch = "x86_64")]
mod avx512;

use cpu::Isa;

use super::bm25::TermWeight;
use super::bound::Bound;

/// The kernels of one level of instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernels {
    isa: Isa,
}

/// Weights that are computed at once, by vector instructions of any width.
const TOGETHER: usize = 128;

impl Kernels {
    /// Those of the level in use.
    pub(super) fn current() -> Self {
        Kernels { isa: Isa::current() }
    }

    /// Adds to the `scores` of texts what a term is worth to them; `frequencies` tells how often it
    /// stands in each. `lengths` and `scores` are of all texts of the window.
    pub(super) fn add_weights(
        self,
        texts: &[u32],
        frequencies: &[u32],
        weight: TermWeight,
        lengths: &[f32],
        scores: &mut [f32],
    ) {
        match self.isa {
            // SAFETY: the level is only chosen where the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            isa if isa >= Isa::Avx512 => unsafe {
                avx512::add_weights(texts, frequencies, weight, lengths, scores)
            },
            _ => {
                let mut weights = [0.0; TOGETHER];
                for (texts, frequencies) in texts.chunks(TOGETHER).zip(frequencies.chunks(TOGETHER))
                {
                    let weights = &mut weights[..texts.len()];
                    for (length, &text) in weights.iter_mut().zip(texts) {
                        *length = lengths[text as usize];
                    }
                    weight.norm.weigh(weight.idf, frequencies, weights);
                    for (weight, &text) in weights.iter().zip(texts) {
                        scores[text as usize] += weight;
                    }
                }
            }
        }
    }

    /// Keeps the texts behind the first `known` that have no score yet.
    pub(super) fn keep_new(self, texts: &mut Vec<u32>, known: usize, scores: &[f32]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            isa if isa >= Isa::Avx512 => {
                // SAFETY: the level is only chosen where the processor has these instructions.
                let kept = unsafe { avx512::keep_new(texts, known, scores) };
                texts.truncate(kept);
            }
            _ => compact(texts, known, |text| scores[text as usize] == 0.0),
        }
    }

    /// Keeps the texts that may come to the threshold; the scores of the others become 0.
    pub(super) fn prune(self, texts: &mut Vec<u32>, scores: &mut [f32], bound: Bound) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            isa if isa >= Isa::Avx512 => {
                // SAFETY: the level is only chosen where the processor has these instructions.
                let kept = unsafe { avx512::prune(texts, scores, bound) };
                texts.truncate(kept);
            }
            _ => compact(texts, 0, |text| {
                let score = &mut scores[text as usize];
                let stays = bound.can_reach(*score);
                *score = if stays { *score } else { 0.0 };
                stays
            }),
        }
    }

    /// Keeps the texts that have a score, with their frequencies.
    pub(super) fn keep_scored(
        self,
        texts: &mut Vec<u32>,
        frequencies: &mut Vec<u32>,
        scores: &[f32],
    ) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            isa if isa >= Isa::Avx512 => {
                // SAFETY: the level is only chosen where the processor has these instructions.
                let kept = unsafe { avx512::keep_scored(texts, frequencies, scores) };
                texts.truncate(kept);
                frequencies.truncate(kept);
            }
            _ => compact_both(texts, frequencies, 0, |text, _| scores[text as usize] > 0.0),
        }
    }
}

/// Keeps the numbers behind the first `known` for which `keep` holds.
pub(super) fn compact(numbers: &mut Vec<u32>, known: usize, mut keep: impl FnMut(u32) -> bool) {
    let mut kept = known;
    // Without a branch, as nobody can tell which stay.
    for at in known..numbers.len() {
        let number = numbers[at];
        numbers[kept] = number;
        kept += usize::from(keep(number));
    }
    numbers.truncate(kept);
}

/// As [`compact`], for two lists in step.
pub(super) fn compact_both(
    firsts: &mut Vec<u32>,
    seconds: &mut Vec<u32>,
    known: usize,
    keep: impl Fn(u32, u32) -> bool,
) {
    let mut kept = known;
    for at in known..firsts.len() {
        let (first, second) = (firsts[at], seconds[at]);
        (firsts[kept], seconds[kept]) = (first, second);
        kept += usize::from(keep(first, second));
    }
    firsts.truncate(kept);
    seconds.truncate(kept);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Bm25;

    fn levels() -> impl Iterator<Item = Kernels> {
        Isa::available().map(|isa| Kernels { isa })
    }

    /// Whatever the counts, every level does what the portable one does, to the bit.
    #[test]
    fn all_levels_agree() {
        let mut state = 3u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let weight = TermWeight { norm: Bm25::default().norm(30.0), idf: 1.7 };
        for count in (0..70).chain([1000, 8192]) {
            let all = count as usize * 3 + 1;
            // Each at most once, in no order.
            let mut texts: Vec<u32> = (0..all as u32).collect();
            (1..all).rev().for_each(|at| texts.swap(at, random(at as u32 + 1) as usize));
            texts.truncate(count as usize);
            let frequencies: Vec<u32> = texts.iter().map(|_| 1 + random(9)).collect();
            let lengths: Vec<f32> = (0..all).map(|_| random(90) as f32).collect();
            let scores: Vec<f32> = (0..all).map(|_| random(4) as f32 * 0.7).collect();
            for known in [0, count as usize / 3, count as usize] {
                let results = levels().map(|kernels| {
                    let mut added = scores.clone();
                    kernels.add_weights(&texts, &frequencies, weight, &lengths, &mut added);
                    let mut new = texts.clone();
                    kernels.keep_new(&mut new, known, &scores);
                    let (mut scored, mut of_scored) = (texts.clone(), frequencies.clone());
                    kernels.keep_scored(&mut scored, &mut of_scored, &scores);
                    let (mut candidates, mut left) = (texts.clone(), scores.clone());
                    let bound = Bound { max_score: 0.5, threshold: 1.5 };
                    kernels.prune(&mut candidates, &mut left, bound);
                    (added, new, scored, of_scored, candidates, left)
                });
                let results: Vec<_> = results.collect();
                assert!(results.iter().all(|result| *result == results[0]), "{count} {known}");
            }
        }
        assert!(levels().any(|kernels| kernels.isa == Kernels::current().isa));
    }

    #[test]
    fn a_text_outside_is_refused() {
        for kernels in levels() {
            for text in [5, u32::MAX] {
                let outside = std::panic::catch_unwind(|| {
                    kernels.keep_new(&mut vec![0, text, 1], 0, &[0.0; 5])
                });
                assert!(outside.is_err(), "{kernels:?} {text}");
            }
        }
    }
}
