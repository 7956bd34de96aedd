//! From the project's `[training]` settings to the options of a run.

use lm::{LoraConfig, TrainOptions};

use crate::project::config::Training;

/// The options of a run, without its checkpoint and its stop flag.
pub(super) fn train_options(training: &Training, seed: u64) -> TrainOptions<'static> {
    TrainOptions {
        epochs: training.epochs,
        max_steps: training.max_tokens.map(|tokens| tokens.div_ceil(training.batch_tokens)),
        learning_rate: training.learning_rate,
        batch_tokens: training.batch_tokens,
        max_length: training.max_length,
        patience: Some(training.patience),
        lora: LoraConfig {
            rank: training.rank,
            alpha: training.alpha as f32,
            ..LoraConfig::default()
        },
        seed,
        ..TrainOptions::default()
    }
}

/// The options as a text: two texts are equal exactly when the options are.
pub(super) fn describe(training: &Training, seed: u64) -> String {
    let TrainOptions {
        epochs,
        max_steps,
        learning_rate,
        b_rate_scale,
        warmup,
        decay,
        batch_tokens,
        pack_tokens,
        max_length,
        weight_decay,
        clip,
        patience,
        eval_every,
        lora,
        ..
    } = train_options(training, seed);
    format!(
        "epochs {epochs}, max steps {max_steps:?}, rate {learning_rate}, \
         B rate x {b_rate_scale}, warm-up {warmup}, decay {decay:?}, batch {batch_tokens}, \
         pack {pack_tokens}, longest {max_length}, weight decay {weight_decay}, clip {clip}, \
         patience {patience:?}, every {eval_every:?}, {lora:?}, seed {seed}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_apart() {
        let usual = crate::Config::default().training;
        let other = Training { learning_rate: 1e-4, ..usual.clone() };
        assert_eq!(describe(&usual, 1), describe(&usual.clone(), 1));
        assert_ne!(describe(&usual, 1), describe(&other, 1));
        assert_ne!(describe(&usual, 1), describe(&usual, 2));
    }
}
