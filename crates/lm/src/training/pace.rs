//! The clock of a run: how fast it goes and how long it will still take.

use std::time::Instant;

/// Times since this process began to train.
pub(super) struct Pace {
    started: Instant,
    seconds_before: f64,
    tokens: usize,
    evaluation_started: Instant,
    evaluation_seconds: f64,
    evaluations: usize,
}

impl Pace {
    pub(super) fn new(seconds_before: f64) -> Self {
        let now = Instant::now();
        Pace {
            started: now,
            seconds_before,
            tokens: 0,
            evaluation_started: now,
            evaluation_seconds: 0.0,
            evaluations: 0,
        }
    }

    pub(super) fn stepped(&mut self, tokens: usize) {
        self.tokens += tokens;
    }

    pub(super) fn evaluating(&mut self) {
        self.evaluation_started = Instant::now();
    }

    pub(super) fn evaluated(&mut self) {
        self.evaluation_seconds += self.evaluation_started.elapsed().as_secs_f64();
        self.evaluations += 1;
    }

    pub(super) fn total_seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    pub(super) fn tokens_per_second(&self) -> f64 {
        let seconds = self.started.elapsed().as_secs_f64() - self.evaluation_seconds;
        self.tokens as f64 / seconds.max(1e-9)
    }

    /// Evaluations cost nothing in this forecast until the first has been timed.
    pub(super) fn seconds_left(&self, tokens: usize, evaluations: usize) -> f64 {
        let one = self.evaluation_seconds / self.evaluations.max(1) as f64;
        tokens as f64 / self.tokens_per_second().max(1e-9) + evaluations as f64 * one
    }
}
