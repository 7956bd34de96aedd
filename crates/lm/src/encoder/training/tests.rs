#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Encoder, Precision};

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-bert")
}

fn passages() -> Vec<String> {
    (0..24).map(|at| format!("passage {at} says {}", "word ".repeat(at % 5 + 1))).collect()
}

/// Each asks for one passage, the first for two, and is given another that is not meant.
fn questions() -> Vec<TrainingQuestion> {
    (0..12)
        .map(|at| TrainingQuestion {
            text: format!("question {at}"),
            positives: if at == 0 { vec![0, 12] } else { vec![at] },
            negatives: vec![at + 11, (at + 5) % 12 + 12],
        })
        .map(|mut question| {
            question.negatives.retain(|passage| !question.positives.contains(passage));
            question
        })
        .collect()
}

fn options() -> EmbedderOptions {
    EmbedderOptions {
        epochs: 3,
        batch: 5,
        learning_rate: 2e-3,
        pack_tokens: 64,
        precision: Precision::F32,
        ..EmbedderOptions::default()
    }
}

fn training(options: EmbedderOptions) -> EmbedderTraining {
    EmbedderTraining::new(&base(), questions(), &passages(), options).unwrap()
}

fn run(training: &mut EmbedderTraining) -> Vec<f64> {
    let mut losses = Vec::new();
    while !training.is_over() {
        assert!(
            training
                .finish_epoch(&AtomicBool::new(false), &mut |step| losses.push(step.loss))
                .unwrap()
        );
    }
    losses
}

#[test]
fn the_loss_falls_and_the_saved_folder_gives_the_trained_vectors() {
    let mut training = training(EmbedderOptions { epochs: 12, ..options() });
    let estimate = training.estimate();
    let losses = run(&mut training);
    assert_eq!((losses.len(), estimate.steps, estimate.pairs), (36, 36, 13));
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[33..]) < 0.5 * mean(&losses[..3]), "{losses:?}");

    let folder = tempfile::tempdir().unwrap();
    training.save(folder.path()).unwrap();
    // Over an older one, too.
    training.save(folder.path()).unwrap();
    let (before, after) = (
        Encoder::open_with(&base(), Precision::F32).unwrap(),
        Encoder::open_with(folder.path(), Precision::F32).unwrap(),
    );
    assert_ne!(before.identity(), after.identity());
    assert_eq!(before.max_tokens(), after.max_tokens());
    let texts = passages();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let ids = &training.ids[training.questions.len()..];
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let trained = training.model().forward(&ids).unwrap();
    let saved = after.embed(&texts).unwrap().concat();
    assert!(saved.iter().zip(trained.vectors()).all(|(a, b)| (a - b).abs() < 2e-6));
    assert_ne!(saved, before.embed(&texts).unwrap().concat());
}

#[test]
fn every_weight_that_takes_part_moves() {
    let mut training = training(options());
    let before = training.values.clone();
    run(&mut training);
    for (name, _, range) in training.layout.tensors() {
        let moved =
            training.values[range.clone()].iter().zip(&before[range.clone()]).any(|(a, b)| a != b);
        assert!(moved, "{name}");
    }
}

#[test]
fn what_is_kept_changes_no_bit() {
    let mut all = training(options());
    let mut nothing = training(EmbedderOptions { kept_bytes: 0, ..options() });
    let some =
        EmbedderOptions { kept_bytes: 80 * KeptPass::bytes_per_token(&all.config), ..options() };
    let mut some = training(some);
    let losses = run(&mut all);
    assert_eq!(run(&mut nothing), losses);
    assert_eq!(run(&mut some), losses);
    assert!(all.values == nothing.values && all.values == some.values);
    assert!(nothing.estimate().bytes < all.estimate().bytes);
    assert!(nothing.estimate().operations > all.estimate().operations);
}

#[test]
fn a_run_stopped_and_resumed_ends_bit_for_bit_where_the_uninterrupted_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut whole = training(options());
    run(&mut whole);

    let mut stopped = training(options());
    assert_eq!(stopped.resume(&path).unwrap(), None);
    let stop = AtomicBool::new(false);
    let finished = stopped
        .finish_epoch(&stop, &mut |step| stop.store(step.step == 2, Ordering::Relaxed))
        .unwrap();
    assert!(!finished);
    assert_eq!((stopped.step(), stopped.epochs_made()), (2, 0));
    stopped.save_state(&path, "a note").unwrap();

    let mut resumed = training(options());
    assert_eq!(resumed.resume(&path).unwrap().as_deref(), Some("a note"));
    assert_eq!(resumed.step(), 2);
    run(&mut resumed);
    assert!(resumed.values == whole.values);
    assert!(resumed.adam == whole.adam);
}

#[test]
fn the_state_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    training(options()).save_state(&path, "").unwrap();
    let refused = |mut training: EmbedderTraining| training.resume(&path).unwrap_err().to_string();
    assert!(
        refused(training(EmbedderOptions { seed: 2, ..options() })).contains("another options")
    );
    let mut fewer = questions();
    fewer.pop();
    let fewer = EmbedderTraining::new(&base(), fewer, &passages(), options()).unwrap();
    assert!(refused(fewer).contains("another data"));
    assert!(training(EmbedderOptions { kept_bytes: 1, ..options() }).resume(&path).is_ok());
    std::fs::write(&path, b"nothing").unwrap();
    assert!(matches!(training(options()).resume(&path), Err(Error::Malformed { .. })));
}

#[test]
fn data_and_options_that_no_run_can_have_are_refused() {
    let new = |questions, options| {
        EmbedderTraining::new(&base(), questions, &passages(), options).unwrap_err().to_string()
    };
    assert!(new(Vec::new(), options()).contains("none to train on"));
    let mut bad = questions();
    bad[3].positives.clear();
    assert!(new(bad, options()).contains("\"question 3\" has no passage"));
    let mut bad = questions();
    bad[3].negatives = vec![24];
    assert!(new(bad, options()).contains("beyond the 24"));
    for (name, options) in [
        ("epochs", EmbedderOptions { epochs: 0, ..options() }),
        ("learning_rate", EmbedderOptions { learning_rate: f64::NAN, ..options() }),
        ("warmup", EmbedderOptions { warmup: 1.5, ..options() }),
    ] {
        assert!(new(questions(), options).starts_with(name));
    }
}
