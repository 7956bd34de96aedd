//! What makes a training run the run it is.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::options::EmbedderOptions;
use super::question::TrainingQuestion;

/// What a run is, apart from how far it has come.
pub(super) type Fingerprint = BTreeMap<String, String>;

/// Everything that decides the course of a run, each readable.
pub(super) fn run_fingerprint(
    identity: &str,
    questions: &[TrainingQuestion],
    ids: &[Vec<u32>],
    options: &EmbedderOptions,
) -> Fingerprint {
    // What is kept changes nothing.
    let options = EmbedderOptions { kept_bytes: 0, ..options.clone() };
    let mut hash = Sha256::new();
    let mut numbers = |list: &mut dyn ExactSizeIterator<Item = u64>| {
        hash.update((list.len() as u64).to_le_bytes());
        list.for_each(|number| hash.update(number.to_le_bytes()));
    };
    for question in questions {
        numbers(&mut question.positives.iter().map(|passage| *passage as u64));
        numbers(&mut question.negatives.iter().map(|passage| *passage as u64));
    }
    ids.iter().for_each(|ids| numbers(&mut ids.iter().map(|id| u64::from(*id))));
    let data: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let parts =
        [("model", identity.to_owned()), ("data", data), ("options", format!("{options:?}"))];
    parts.map(|(name, value)| (name.to_owned(), value)).into()
}
