//! Training on a tiny seeded model: what is learnt, what the result may depend on, and what
//! survives a stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lm::{
    Adapter, Checkpointing, Decoder, DecoderConfig, Error, Lora, LoraConfig, Precision, Rendered,
    TrainEvent, TrainOptions, Trained, TrainingRun,
};
use tunesmith_lm as lm;

fn decoder() -> Decoder {
    Decoder::random(DecoderConfig::tiny(), 11, Precision::F32).unwrap()
}

/// Sequences with a rule to learn: after a few tokens of noise, the completion repeats the first
/// one thrice.
fn examples(count: usize, salt: usize) -> Vec<Rendered> {
    (0..count)
        .map(|index| {
            let noise = 3 + (index * 5 + salt) % 9;
            let first = (index * 7 + salt * 3) % 30;
            let prompt = (0..noise).map(|at| ((first * (at + 1) + at * salt) % 60) as u32);
            let mut ids: Vec<u32> = std::iter::once(first as u32).chain(prompt).collect();
            ids.push(66);
            let mask = ids.iter().map(|_| 0).chain([1; 3]).collect();
            ids.extend([first as u32; 3]);
            Rendered { ids, mask }
        })
        .collect()
}

fn options() -> TrainOptions<'static> {
    TrainOptions {
        epochs: 4,
        learning_rate: 1e-2,
        batch_tokens: 96,
        pack_tokens: 96,
        lora: LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::default() },
        ..TrainOptions::default()
    }
}

fn run<'a>(
    decoder: &'a Decoder,
    train: &'a [Rendered],
    dev: &'a [Rendered],
    options: &'a TrainOptions<'a>,
) -> TrainingRun<'a> {
    TrainingRun { decoder, identity: "tiny", train, dev, options }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn assert_same_run(a: &Trained, b: &Trained) {
    assert_eq!(bits(&a.lora.params), bits(&b.lora.params));
    assert_eq!(a.history, b.history);
    assert_eq!((a.best_step, a.dev_loss), (b.best_step, b.dev_loss));
    assert_eq!((a.tokens, a.trained_tokens), (b.tokens, b.trained_tokens));
    assert_eq!(a.stopped_early, b.stopped_early);
}

#[test]
fn the_loss_falls_and_every_matrix_moves() {
    let (decoder, train, dev) = (decoder(), examples(48, 1), examples(12, 2));
    let options = TrainOptions { epochs: 12, ..options() };
    let mut steps = 0;
    let trained = run(&decoder, &train, &dev, &options)
        .train(&mut |event| steps += usize::from(matches!(event, TrainEvent::Step { .. })))
        .unwrap();
    let losses: Vec<f64> = trained.history.steps.iter().map(|step| step.loss).collect();
    assert_eq!(losses.len(), steps);
    assert!(losses.last().unwrap() < &(0.5 * losses[0]), "{losses:?}");

    let fresh = Lora::new(decoder.config(), options.lora.clone(), options.seed).unwrap();
    for module in fresh.modules() {
        let (old_a, old_b) = fresh.views(module);
        let (new_a, new_b) = trained.lora.views(module);
        let moved =
            |old: &[f32], new: &[f32]| old.iter().zip(new).filter(|(old, new)| old != new).count();
        assert!(moved(old_a, new_a) * 10 > old_a.len() * 9, "A of {} stayed", module.name);
        assert!(moved(old_b, new_b) * 10 > old_b.len() * 9, "B of {} stayed", module.name);
    }
}

#[test]
fn loss_and_update_do_not_depend_on_how_a_step_is_cut() {
    let (decoder, train, dev) = (decoder(), examples(40, 1), examples(12, 2));
    let train_with = |pack_tokens| {
        let options = TrainOptions { pack_tokens, batch_tokens: 150, ..options() };
        run(&decoder, &train, &dev, &options).train(&mut |_| {}).unwrap()
    };
    // From one pack a step to one pack an example.
    let whole = train_with(150);
    for pack_tokens in [40, 1] {
        let cut = train_with(pack_tokens);
        for (a, b) in whole.history.steps.iter().zip(&cut.history.steps) {
            assert!((a.loss - b.loss).abs() < 1e-4 * a.loss, "{a:?} {b:?}");
        }
        let (a, b) = (&whole.history.evaluations, &cut.history.evaluations);
        assert!(a.iter().zip(b).all(|(a, b)| (a.dev_loss - b.dev_loss).abs() < 1e-4 * a.dev_loss));
        // The first step is free of what rounding makes of later ones.
        let (a, b) = (whole.history.steps[0], cut.history.steps[0]);
        assert!((a.loss - b.loss).abs() < 1e-6 * a.loss);
        assert!((a.gradient_norm - b.gradient_norm).abs() < 1e-5 * a.gradient_norm);
    }
}

#[test]
fn a_run_stopped_anywhere_and_resumed_equals_the_uninterrupted_one() {
    let (decoder, train, dev) = (decoder(), examples(20, 1), examples(6, 2));
    let never = TrainOptions { eval_every: Some(3), patience: Some(2), ..options() };
    let uninterrupted = run(&decoder, &train, &dev, &never).train(&mut |_| {}).unwrap();
    let steps = uninterrupted.history.steps.len();
    assert!(steps > 6);
    // Before the first step, after each step (which is before or inside an evaluation where one is
    // due), and after each evaluation.
    for stop_after in 0..=steps + uninterrupted.history.evaluations.len() {
        let folder = tempfile::tempdir().unwrap();
        let mut turns = 0;
        let trained = loop {
            let stop = AtomicBool::new(turns == 0 && stop_after == 0);
            let mut events = 0;
            let options = TrainOptions {
                checkpoint: Some(Checkpointing {
                    folder: folder.path().to_owned(),
                    every: None,
                    resume: true,
                }),
                stop: &stop,
                ..never.clone()
            };
            let trained = run(&decoder, &train, &dev, &options)
                .train(&mut |event| {
                    events += usize::from(matches!(
                        event,
                        TrainEvent::Step { .. } | TrainEvent::Evaluated { .. }
                    ));
                    if turns == 0 && events == stop_after {
                        stop.store(true, Ordering::Relaxed);
                    }
                })
                .unwrap();
            if !trained.interrupted {
                break trained;
            }
            turns += 1;
            assert!(turns < 3);
        };
        assert_same_run(&trained, &uninterrupted);
        assert!(trained.seconds > 0.0);
        // Resuming what is over gives the same once more.
        let options = TrainOptions {
            checkpoint: Some(Checkpointing {
                folder: folder.path().to_owned(),
                every: None,
                resume: true,
            }),
            ..never.clone()
        };
        let mut steps_again = 0;
        let again = run(&decoder, &train, &dev, &options)
            .train(&mut |event| {
                steps_again += usize::from(matches!(event, TrainEvent::Step { .. }))
            })
            .unwrap();
        assert_same_run(&again, &uninterrupted);
        assert_eq!(steps_again, 0);
    }
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let (decoder, train) = (decoder(), examples(20, 1));
    let folder = tempfile::tempdir().unwrap();
    let options = |resume| TrainOptions {
        checkpoint: Some(Checkpointing {
            folder: folder.path().to_owned(),
            every: Some(4),
            resume,
        }),
        ..options()
    };
    let whole = run(&decoder, &train, &[], &options(false)).train(&mut |_| {}).unwrap();
    assert_eq!(whole.dev_loss, None);
    // A panic stands in for the kill: nothing after step 6 is written.
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&decoder, &train, &[], &options(false)).train(&mut |event| {
            assert!(!matches!(event, TrainEvent::Step { step: 6, .. }), "killed")
        })
    }));
    assert!(killed.is_err());
    let mut resumed_at = None;
    let resumed = run(&decoder, &train, &[], &options(true))
        .train(&mut |event| {
            if let TrainEvent::Resumed { step } = event {
                resumed_at = Some(step);
            }
        })
        .unwrap();
    assert_eq!(resumed_at, Some(4));
    assert_same_run(&resumed, &whole);
}

#[test]
fn a_checkpoint_of_other_data_or_options_is_refused_with_the_difference() {
    let (decoder, train) = (decoder(), examples(20, 1));
    let folder = tempfile::tempdir().unwrap();
    let checkpoint =
        Some(Checkpointing { folder: folder.path().to_owned(), every: None, resume: true });
    let first = TrainOptions { max_steps: Some(2), checkpoint, ..options() };
    run(&decoder, &train, &[], &first).train(&mut |_| {}).unwrap();
    let refusal = |train: &[Rendered], identity: &str, options: &TrainOptions<'_>| {
        let run = TrainingRun { decoder: &decoder, identity, train, dev: &[], options };
        match run.train(&mut |_| {}) {
            Err(error @ Error::Checkpoint { .. }) => error.to_string(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    let rate = TrainOptions { learning_rate: 0.5, ..first.clone() };
    assert!(
        refusal(&train, "tiny", &rate)
            .contains("learning_rate is 0.5 here, 0.01 in the checkpoint")
    );
    assert!(refusal(&examples(20, 3), "tiny", &first).contains("training data"));
    assert!(
        refusal(&train, "other", &first).contains("model is other here, tiny in the checkpoint")
    );
}

#[test]
fn patience_ends_the_run_and_the_best_weights_are_kept() {
    // Dev examples contradict the training rule, so that dev loss soon rises.
    let (decoder, train) = (decoder(), examples(24, 1));
    let dev: Vec<Rendered> = examples(8, 1)
        .into_iter()
        .map(|mut example| {
            let length = example.ids.len();
            example.ids[length - 3..].fill(61);
            example
        })
        .collect();
    let options = TrainOptions { epochs: 30, patience: Some(2), learning_rate: 3e-2, ..options() };
    let mut early = None;
    let trained = run(&decoder, &train, &dev, &options)
        .train(&mut |event| {
            if let TrainEvent::StoppedEarly { step, best_step } = event {
                early = Some((step, best_step));
            }
        })
        .unwrap();
    assert!(trained.stopped_early);
    assert_eq!(early, Some((trained.history.steps.len(), trained.best_step)));
    let evaluations = &trained.history.evaluations;
    let best = evaluations.iter().min_by(|a, b| a.dev_loss.total_cmp(&b.dev_loss)).unwrap();
    assert_eq!((trained.best_step, trained.dev_loss), (best.step, Some(best.dev_loss)));
    assert_eq!(evaluations.len() - 1 - evaluations.iter().position(|e| e == best).unwrap(), 2);
    // What is returned really has that dev loss.
    let (mut sum, mut tokens) = (0.0, 0);
    for example in &dev {
        let mut pack = lm::Pack::default();
        pack.push(&example.ids, &example.mask);
        let loss = decoder.loss(Some(&trained.lora), &pack).unwrap();
        (sum, tokens) = (sum + loss.sum, tokens + loss.tokens);
    }
    let recomputed = sum / tokens as f64;
    assert!((recomputed - best.dev_loss).abs() < 1e-5 * best.dev_loss, "{recomputed} {best:?}");
}

#[test]
fn the_estimate_is_what_then_happens() {
    let (decoder, train, dev) = (decoder(), examples(40, 1), examples(10, 2));
    let options = TrainOptions { eval_every: Some(4), patience: None, ..options() };
    let run = run(&decoder, &train, &dev, &options);
    let mut estimate = run.estimate().unwrap();
    let trained = run.train(&mut |_| {}).unwrap();
    assert_eq!(estimate.steps, trained.history.steps.len());
    assert_eq!(estimate.tokens, trained.tokens);
    assert_eq!(estimate.trained_tokens, trained.trained_tokens);
    assert_eq!(estimate.evaluations, trained.history.evaluations.len());
    assert_eq!(estimate.epochs, 4);
    assert_eq!(estimate.seconds, None);
    estimate.calibrate(&run).unwrap();
    assert!(estimate.seconds.is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn the_forecast_ends_at_zero_and_epochs_count_up() {
    let (decoder, train) = (decoder(), examples(20, 1));
    let options = options();
    let mut last = None;
    run(&decoder, &train, &[], &options)
        .train(&mut |event| {
            if let TrainEvent::Step {
                epoch, seconds_left, tokens_per_second, step, steps, ..
            } = event
            {
                assert!(tokens_per_second > 0.0);
                last = Some((epoch, seconds_left, step, steps));
            }
        })
        .unwrap();
    let (epoch, seconds_left, step, steps) = last.unwrap();
    assert_eq!((epoch, step), (4, steps));
    assert_eq!(seconds_left, 0.0);
}

#[test]
fn a_run_that_diverges_says_so() {
    let (decoder, train) = (decoder(), examples(20, 1));
    let options = TrainOptions { learning_rate: 1e30, warmup: 0.0, ..options() };
    match run(&decoder, &train, &[], &options).train(&mut |_| {}) {
        Err(Error::Diverged { step, .. }) => assert!(step > 1),
        other => panic!("expected divergence, got {other:?}"),
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let (decoder, train) = (decoder(), examples(4, 1));
    let refused = |change: fn(&mut TrainOptions<'_>)| {
        let mut options = options();
        change(&mut options);
        run(&decoder, &train, &[], &options).estimate().unwrap_err().to_string()
    };
    assert!(refused(|o| o.epochs = 0).contains("epochs"));
    assert!(refused(|o| o.learning_rate = -1.0).contains("learning_rate"));
    assert!(refused(|o| o.warmup = 1.5).contains("warmup"));
    assert!(refused(|o| o.clip = 0.0).contains("clip"));
    assert!(refused(|o| o.weight_decay = f64::NAN).contains("weight_decay"));
    assert!(refused(|o| o.lora.rank = 0).contains("rank 0"));
    assert!(refused(|o| o.max_length = 5).contains("training example 1"));
    let stray = vec![Rendered { ids: vec![1, 900], mask: vec![0, 1] }];
    let options = options();
    assert!(
        run(&decoder, &stray, &[], &options).estimate().unwrap_err().to_string().contains("900")
    );
}

#[test]
fn a_trained_adapter_saved_and_loaded_answers_as_in_training_and_not_as_its_base() {
    let (decoder, train) = (decoder(), examples(24, 1));
    let options = options();
    let trained = run(&decoder, &train, &[], &options).train(&mut |_| {}).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("adapter");
    let adapter = Adapter {
        lora: trained.lora.clone(),
        base_name: "tiny".into(),
        base_identity: Some("x".into()),
    };
    adapter.save(path).unwrap();
    assert!(adapter.prove_active(&decoder).unwrap() > 0.0);
    let loaded = Adapter::load(path, decoder.config()).unwrap().lora;
    let logits = |lora: Option<&Lora>| {
        decoder.forward(&[3, 1, 4, 1, 5], &mut decoder.new_cache(), lora).unwrap()
    };
    assert_eq!(bits(&logits(Some(&loaded))), bits(&logits(Some(&trained.lora))));
    let largest = logits(None)
        .iter()
        .zip(logits(Some(&loaded)))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(largest > 1e-2, "the adapter changes logits by {largest} at most");
    let fresh = Lora::new(decoder.config(), options.lora.clone(), 0).unwrap();
    let idle = Adapter { lora: fresh, ..adapter };
    assert!(idle.prove_active(&decoder).unwrap_err().to_string().contains("exactly as without"));
}
