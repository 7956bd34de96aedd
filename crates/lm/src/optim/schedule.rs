//! The learning rate of each step: a linear warm-up, then a decay.

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine wave down to zero (Loshchilov and Hutter, 2017, without restarts).
    #[default]
    Cosine,
    /// A straight line down to zero.
    Linear,
    /// No decay.
    Constant,
}

/// Learning rates for a run of known length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate, reached at the end of the warm-up.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: usize,
    /// Steps in all, the warm-up included.
    pub steps: usize,
    /// What follows the warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// A schedule whose warm-up is the share `warmup` (0 to 1) of `steps`, rounded up.
    pub fn new(peak: f64, warmup: f64, steps: usize, decay: Decay) -> Self {
        let warmup = ((steps as f64) * warmup.clamp(0.0, 1.0)).ceil() as usize;
        Schedule { peak, warmup, steps, decay }
    }

    /// Rate of step `step`, counted from 0. No step has rate zero: the warm-up starts at `peak /
    /// warmup`, the decay would reach zero one step after the last.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let falling = self.steps.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f64 / falling as f64).min(1.0);
        self.peak
            * match self.decay {
                Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
                Decay::Linear => 1.0 - progress,
                Decay::Constant => 1.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn warms_up_in_a_line_to_the_peak_and_falls() {
        for (decay, middle) in [(Decay::Cosine, 0.5), (Decay::Linear, 0.5), (Decay::Constant, 1.0)]
        {
            let schedule = Schedule::new(2.0, 0.1, 100, decay);
            assert_eq!(schedule.warmup, 10);
            assert!(close(schedule.rate(0), 0.2));
            assert!(close(schedule.rate(9), 2.0));
            assert!(close(schedule.rate(10), 2.0));
            assert!(close(schedule.rate(55), 2.0 * middle));
            assert!((0..100).all(|step| schedule.rate(step) > 0.0));
        }
    }

    #[test]
    fn short_runs_keep_a_positive_rate() {
        for steps in 1..5 {
            let schedule = Schedule::new(1.0, 0.03, steps, Decay::Cosine);
            assert!((0..steps).all(|step| schedule.rate(step) > 0.0), "{steps} steps");
            assert!(close(schedule.rate(0), 1.0));
        }
        assert!(close(Schedule::new(1.0, 0.0, 4, Decay::Linear).rate(3), 0.25));
    }
}
