//! AdamW over one flat parameter vector, step for step as PyTorch's.

use std::ops::Range;

/// Constants of AdamW; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay: each step first scales parameters by `1 - learning_rate *
    /// weight_decay`.
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        AdamWOptions { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// A run of parameters with its own learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The parameters, as places in the flat vector.
    pub range: Range<usize>,
    /// Multiplies the step's learning rate; 1 except for LoRA+ (Hayou et al., 2024: B learns faster
    /// than A).
    pub rate_scale: f64,
}

/// AdamW (Loshchilov and Hutter, 2019): moments in f32, bias correction in f64, as PyTorch's
/// single-tensor path, so that a run can be compared with it number for number.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    options: AdamWOptions,
    /// First moments, one per parameter.
    pub(crate) first: Vec<f32>,
    /// Second moments, one per parameter.
    pub(crate) second: Vec<f32>,
    /// Updates made so far.
    pub(crate) updates: u64,
}

impl AdamW {
    /// Moments of zero for `parameters` parameters.
    pub fn new(parameters: usize, options: AdamWOptions) -> Self {
        AdamW { options, first: vec![0.0; parameters], second: vec![0.0; parameters], updates: 0 }
    }

    /// One update of every parameter that lies in a group.
    ///
    /// `parameters` and `gradients` have the length given to [`AdamW::new`]; groups do not overlap.
    pub fn update(
        &mut self,
        parameters: &mut [f32],
        gradients: &[f32],
        learning_rate: f64,
        groups: &[Group],
    ) {
        debug_assert_eq!(parameters.len(), self.first.len());
        debug_assert_eq!(gradients.len(), self.first.len());
        self.updates += 1;
        let AdamWOptions { beta1, beta2, epsilon, weight_decay } = self.options;
        let exponent = self.updates as f64;
        let correction1 = 1.0 - beta1.powf(exponent);
        let correction2_root = (1.0 - beta2.powf(exponent)).sqrt() as f32;
        let (blend1, keep2, blend2) = ((1.0 - beta1) as f32, beta2 as f32, (1.0 - beta2) as f32);
        for Group { range, rate_scale } in groups {
            let rate = learning_rate * rate_scale;
            let keep = (1.0 - rate * weight_decay) as f32;
            let step = (rate / correction1) as f32;
            let moments = self.first[range.clone()].iter_mut().zip(&mut self.second[range.clone()]);
            let values = parameters[range.clone()].iter_mut().zip(&gradients[range.clone()]);
            for ((parameter, &gradient), (first, second)) in values.zip(moments) {
                *first += blend1 * (gradient - *first);
                *second = keep2 * *second + blend2 * gradient * gradient;
                let scale = second.sqrt() / correction2_root + epsilon as f32;
                *parameter = *parameter * keep - step * (*first / scale);
            }
        }
    }
}

/// Scales `gradients` so that their Euclidean norm is at most `limit`; returns the norm before
/// scaling.
///
/// As PyTorch's `clip_grad_norm_`, whose `1e-6` in the denominator is kept; the norm is summed in
/// f64.
pub fn clip_norm(gradients: &mut [f32], limit: f64) -> f64 {
    let norm = gradients.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
    let scale = limit / (norm + 1e-6);
    if scale < 1.0 {
        let scale = scale as f32;
        gradients.iter_mut().for_each(|gradient| *gradient *= scale);
    }
    norm
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Written by `benches/training/adamw_trace.py` from PyTorch.
    #[derive(serde::Deserialize)]
    struct Trace {
        weight_decay: f64,
        clip: f64,
        start: Vec<f32>,
        steps: Vec<TraceStep>,
    }

    #[derive(serde::Deserialize)]
    struct TraceStep {
        learning_rate: f64,
        gradient: Vec<f32>,
        norm: f64,
        parameters: Vec<f32>,
    }

    #[test]
    fn follows_pytorch_over_many_updates() {
        let trace: Trace =
            serde_json::from_str(include_str!("../../fixtures/adamw_trace.json")).unwrap();
        let mut parameters = trace.start.clone();
        let options = AdamWOptions { weight_decay: trace.weight_decay, ..AdamWOptions::default() };
        let mut adam = AdamW::new(parameters.len(), options);
        let all = [Group { range: 0..parameters.len(), rate_scale: 1.0 }];
        let mut clipped = 0;
        for (index, step) in trace.steps.iter().enumerate() {
            let mut gradient = step.gradient.clone();
            let norm = clip_norm(&mut gradient, trace.clip);
            assert!((norm - step.norm).abs() <= 1e-6 * step.norm, "norm of step {index}");
            clipped += usize::from(norm > trace.clip);
            adam.update(&mut parameters, &gradient, step.learning_rate, &all);
            for (ours, theirs) in parameters.iter().zip(&step.parameters) {
                assert!(
                    (ours - theirs).abs() <= 3e-7 * theirs.abs().max(1e-2),
                    "step {index}: {ours} {theirs}"
                );
            }
        }
        assert!(
            clipped > 0 && clipped < trace.steps.len(),
            "the trace tests both sides of the clip"
        );
    }

    #[test]
    fn groups_have_their_own_rate_and_what_lies_outside_stays() {
        let mut adam = AdamW::new(3, AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() });
        let mut parameters = [1.0f32; 3];
        let groups =
            [Group { range: 0..1, rate_scale: 1.0 }, Group { range: 1..2, rate_scale: 4.0 }];
        adam.update(&mut parameters, &[0.5; 3], 0.01, &groups);
        assert!((parameters[0] - 0.99).abs() < 1e-6);
        assert!((parameters[1] - 0.96).abs() < 1e-6);
        assert_eq!(parameters[2], 1.0);
    }
}
