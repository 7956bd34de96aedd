//! What makes a training run the run it is.

use sha2::{Digest, Sha256};

use super::checkpoint::Fingerprint;
use super::options::TrainOptions;
use super::packing::GROUP_CHUNK;
use super::run::TrainingRun;
use crate::language::Rendered;

/// Everything that decides the course of `run`: model, data and options, each readable. It leaves
/// out what changes nothing: where checkpoints lie, the stop flag, and the length limit, which the
/// data have already passed.
pub(super) fn fingerprint(run: &TrainingRun<'_>) -> Fingerprint {
    let TrainOptions {
        epochs,
        max_steps,
        learning_rate,
        b_rate_scale,
        warmup,
        decay,
        batch_tokens,
        pack_tokens,
        max_length: _,
        weight_decay,
        clip,
        seed,
        patience,
        eval_every,
        lora,
        checkpoint: _,
        stop: _,
    } = run.options;
    let targets: Vec<&str> = lora.targets.iter().map(|target| target.name()).collect();
    let limit =
        |value: &Option<usize>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    [
        ("model", run.identity.to_owned()),
        ("precision", format!("{:?}", run.decoder.precision()).to_lowercase()),
        ("training data", digest(run.train)),
        ("dev data", digest(run.dev)),
        ("epochs", epochs.to_string()),
        ("max_steps", limit(max_steps)),
        ("learning_rate", learning_rate.to_string()),
        ("b_rate_scale", b_rate_scale.to_string()),
        ("warmup", warmup.to_string()),
        ("decay", format!("{decay:?}").to_lowercase()),
        ("batch_tokens", batch_tokens.to_string()),
        ("pack_tokens", pack_tokens.to_string()),
        // The name that checkpoints have carried from the start.
        ("of a family together", GROUP_CHUNK.to_string()),
        ("weight_decay", weight_decay.to_string()),
        ("clip", clip.to_string()),
        ("seed", seed.to_string()),
        ("patience", limit(patience)),
        ("eval_every", limit(eval_every)),
        ("rank", lora.rank.to_string()),
        ("alpha", lora.alpha.to_string()),
        ("targets", targets.join(" ")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// SHA-256 over ids and masks of all examples, in order; the first 16 hex digits.
fn digest(examples: &[Rendered]) -> String {
    let mut hash = Sha256::new();
    for example in examples {
        hash.update((example.ids.len() as u64).to_le_bytes());
        for id in &example.ids {
            hash.update(id.to_le_bytes());
        }
        hash.update(&example.mask);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
