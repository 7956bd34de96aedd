#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use super::*;
use crate::{LoraConfig, Role};

fn model() -> Model {
    Model::from_source(Source::tiny(5).unwrap(), Precision::F32).unwrap()
}

fn messages(question: &str) -> Vec<Message> {
    vec![
        Message::new(
            Role::System,
            "Answer from the passages below, in one short sentence, and cite them by number.",
        ),
        Message::new(Role::User, question),
    ]
}

fn answer(model: &Model, question: &str, adapter: Option<&Lora>) -> Generation {
    let options = GenerateOptions { max_tokens: 12, ..Default::default() };
    model
        .generate(&messages(question), adapter, &options, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

/// An adapter that changes the answers.
fn adapter(model: &Model, seed: u64) -> Lora {
    let mut lora = Lora::new(model.decoder.config(), LoraConfig::default(), seed).unwrap();
    lora.params.iter_mut().enumerate().for_each(|(i, x)| *x += ((i % 7) as f32 - 3.0) * 0.05);
    lora
}

#[test]
fn the_prompt_is_the_one_that_training_renders() {
    let model = model();
    let mut example = messages("why?");
    let prompt = model.prompt_ids(&example).unwrap();
    example.push(Message::new(Role::Assistant, "because"));
    let rendered = model.template.example_ids(&model.tokenizer, &example).unwrap();
    assert_eq!(rendered.ids[..prompt.len()], prompt);
    assert_eq!(answer(&model, "why?", None).prompt_tokens, prompt.len());
}

#[test]
fn a_cache_is_never_shared_between_adapters() {
    let model = model();
    let (one, two) = (adapter(&model, 1), adapter(&model, 2));
    let alone = [None, Some(&one), Some(&two)].map(|lora| answer(&self::model(), "who?", lora).ids);
    assert_ne!(alone[0], alone[1]);
    for _ in 0..2 {
        for (lora, expected) in [None, Some(&one), Some(&two)].into_iter().zip(&alone) {
            assert_eq!(&answer(&model, "who?", lora).ids, expected);
        }
    }
    assert!(answer(&model, "who?", Some(&one)).cached_tokens > 0);
    // Training changes parameters in place.
    let mut trained = one.clone();
    trained.params[3] += 0.5;
    assert_eq!(answer(&model, "who?", Some(&trained)).cached_tokens, 0);
}

#[test]
fn a_receiver_that_has_left_ends_the_reading_of_the_prompt() {
    let model = model();
    let mut asked = 0;
    let long = vec![70; 200];
    let answer = model.complete(&long, None, &GenerateOptions::default(), &mut |text| {
        assert_eq!(text, "");
        asked += 1;
        if asked == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let answer = answer.unwrap();
    assert_eq!(
        (answer.finish_reason, answer.completion_tokens),
        (crate::FinishReason::Cancelled, 0)
    );
    assert_eq!((asked, answer.text.as_str()), (2, ""));
}

#[test]
fn answers_given_at_once_are_those_given_one_by_one() {
    let model = Arc::new(model());
    let questions = ["who?", "when?", "where?", "why was it that the keeper left?"];
    let expected = questions.map(|q| answer(&self::model(), q, None).ids);
    let threads = questions.map(|q| {
        let model = Arc::clone(&model);
        std::thread::spawn(move || answer(&model, q, None).ids)
    });
    assert_eq!(threads.map(|thread| thread.join().unwrap()), expected);
}
