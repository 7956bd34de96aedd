//! The next token out of the logits: greedy, or drawn with temperature, top-k and top-p from a
//! seeded generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::options::GenerateOptions;
use crate::{Error, Result};

/// Draws tokens; two samplers with equal options draw equal tokens from equal logits.
#[derive(Debug)]
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    random: ChaCha8Rng,
    /// Weight and id of the tokens that may still be drawn; a buffer kept between steps.
    candidates: Vec<(f32, u32)>,
}

impl Sampler {
    pub(crate) fn new(options: &GenerateOptions) -> Result<Self> {
        let GenerateOptions { temperature, top_k, top_p, seed, .. } = *options;
        if !(0.0..=100.0).contains(&temperature) {
            return fail("temperature", format!("expected 0 to 100, found {temperature}"));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return fail("top_p", format!("expected above 0 and up to 1, found {top_p}"));
        }
        Ok(Self {
            temperature,
            top_k,
            top_p,
            random: ChaCha8Rng::seed_from_u64(seed),
            candidates: Vec::new(),
        })
    }

    /// The next token. Ties go to the smaller id; logits that are no numbers are never drawn.
    pub(crate) fn pick(&mut self, logits: &[f32]) -> u32 {
        let (best, peak) = greedy(logits);
        if self.temperature == 0.0 || self.top_k == 1 || !peak.is_finite() {
            return best;
        }
        self.candidates.clear();
        let weigh = |logit: f32| ((logit - peak) / self.temperature).exp();
        self.candidates.extend(logits.iter().zip(0..).map(|(logit, id)| (weigh(*logit), id)));
        self.candidates.retain(|(weight, _)| *weight > 0.0);

        let heaviest_first =
            |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if self.top_k > 0 && self.top_k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(self.top_k - 1, heaviest_first);
            self.candidates.truncate(self.top_k);
        }
        if self.top_p < 1.0 {
            let total = self.total();
            // Tokens below the floor cannot be among those that sum to `top_p` and need no sorting:
            // even all of them together weigh less than the share that `top_p` leaves out.
            let floor = (1.0 - self.top_p) * total / self.candidates.len() as f32;
            self.candidates.retain(|(weight, _)| *weight >= floor);
            self.candidates.sort_unstable_by(heaviest_first);
            let mut sum = 0.0;
            let enough = self.candidates.iter().position(|(weight, _)| {
                sum += weight;
                sum >= self.top_p * total
            });
            self.candidates.truncate(enough.map_or(usize::MAX, |at| at + 1));
        }

        // 24 random bits: a uniform number in 0..1 that f32 holds exactly.
        let uniform = (self.random.next_u32() >> 8) as f32 / (1 << 24) as f32;
        let mut left = uniform * self.total();
        for (weight, id) in &self.candidates {
            left -= weight;
            if left < 0.0 {
                return *id;
            }
        }
        self.candidates.last().map_or(best, |(_, id)| *id)
    }

    fn total(&self) -> f32 {
        self.candidates.iter().map(|(weight, _)| weight).sum()
    }
}

/// The logarithm of a token's probability.
pub(crate) fn log_probability(logits: &[f32], id: u32) -> f32 {
    let (_, peak) = greedy(logits);
    let total: f32 = logits.iter().map(|logit| (logit - peak).exp()).sum();
    logits.get(id as usize).map_or(f32::NEG_INFINITY, |logit| logit - peak - total.ln())
}

/// The id of the largest logit, and that logit.
fn greedy(logits: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (logit, id) in logits.iter().zip(0..) {
        if *logit > best.1 {
            best = (id, *logit);
        }
    }
    best
}

fn fail<T>(name: &'static str, reason: String) -> Result<T> {
    Err(Error::Option { name, reason })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, f32::NAN, 3.0, 0.0];

    fn counts(options: &GenerateOptions, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = vec![0; logits.len()];
        (0..draws).for_each(|_| counts[sampler.pick(logits) as usize] += 1);
        counts
    }

    fn drawn() -> GenerateOptions {
        GenerateOptions { temperature: 1.0, seed: 5, ..Default::default() }
    }

    #[test]
    fn log_probabilities_by_hand() {
        let logits = [1.0, 3.0, 2.0];
        let total: f32 = logits.iter().map(|logit: &f32| logit.exp()).sum();
        for (id, logit) in (0..).zip(logits) {
            assert!((log_probability(&logits, id) - (logit.exp() / total).ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn greedy_takes_the_largest_and_the_smaller_id_of_a_tie() {
        assert_eq!(counts(&GenerateOptions::default(), &LOGITS, 3), [0, 3, 0, 0, 0]);
        assert_eq!(counts(&GenerateOptions { top_k: 1, ..drawn() }, &LOGITS, 3), [0, 3, 0, 0, 0]);
        assert_eq!(counts(&drawn(), &[f32::NAN; 2], 3), [3, 0]);
    }

    #[test]
    fn draws_follow_the_softmax_and_the_temperature() {
        let draws = 20_000;
        for temperature in [0.5, 1.0, 2.0] {
            let found = counts(&GenerateOptions { temperature, ..drawn() }, &LOGITS, draws);
            let weights = LOGITS.map(|l| if l.is_nan() { 0.0 } else { (l / temperature).exp() });
            let total: f32 = weights.iter().sum();
            for (found, weight) in found.iter().zip(weights) {
                let (found, expected) = (*found as f32 / draws as f32, weight / total);
                // Four standard errors.
                let spread = 4.0 * (expected * (1.0 - expected) / draws as f32).sqrt();
                assert!(
                    (found - expected).abs() <= spread,
                    "{found} against {expected} at {temperature}"
                );
            }
        }
    }

    #[test]
    fn top_k_and_top_p_keep_the_heaviest_tokens_only() {
        let kept =
            |options| counts(&options, &LOGITS, 2000).iter().map(|n| *n > 0).collect::<Vec<_>>();
        assert_eq!(
            kept(GenerateOptions { top_k: 2, ..drawn() }),
            [false, true, false, true, false]
        );
        // The two heaviest weigh 0.917 together.
        assert_eq!(
            kept(GenerateOptions { top_p: 0.9, ..drawn() }),
            [false, true, false, true, false]
        );
        assert_eq!(
            kept(GenerateOptions { top_p: 0.93, ..drawn() }),
            [true, true, false, true, false]
        );
        assert_eq!(
            kept(GenerateOptions { top_p: 0.1, ..drawn() }),
            [false, true, false, false, false]
        );
        assert_eq!(kept(drawn()), [true, true, false, true, true]);
    }

    #[test]
    fn equal_seeds_draw_equally_and_others_do_not() {
        let draw = |seed| {
            let mut sampler = Sampler::new(&GenerateOptions { seed, ..drawn() }).unwrap();
            (0..40).map(|_| sampler.pick(&LOGITS)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for options in [
            GenerateOptions { temperature: -1.0, ..drawn() },
            GenerateOptions { temperature: f32::NAN, ..drawn() },
            GenerateOptions { top_p: 0.0, ..drawn() },
            GenerateOptions { top_p: 1.1, ..drawn() },
        ] {
            assert!(matches!(Sampler::new(&options), Err(Error::Option { .. })), "{options:?}");
        }
    }
}
