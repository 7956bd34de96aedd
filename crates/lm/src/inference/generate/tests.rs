#![allow(clippy::unwrap_used)]
use std::ops::ControlFlow;

use super::*;
use crate::{DecoderConfig, Model, Precision, Source};

fn answer(stop: &[&str], pieces: &[&str]) -> (Vec<String>, String, Option<FinishReason>) {
    let tokenizer = Source::tiny(1).unwrap().tokenizer;
    let stop: Vec<String> = stop.iter().map(|s| (*s).to_owned()).collect();
    let mut answer = AnswerText::new(TextStream::new(&tokenizer), &stop);
    let mut sent = Vec::new();
    let reason = pieces.iter().find_map(|piece| {
        let reason = answer.append(piece);
        sent.push(answer.take().to_owned());
        reason
    });
    answer.end();
    sent.push(answer.take().to_owned());
    sent.retain(|text| !text.is_empty());
    (sent, answer.into_sent(), reason)
}

#[test]
fn a_stop_string_ends_the_answer_even_across_pieces_and_is_never_sent() {
    let (sent, text, reason) = answer(&["END", "\n\n"], &["one E", "N", "D two"]);
    assert_eq!((text.as_str(), reason), ("one ", Some(FinishReason::Stop)));
    assert_eq!(sent.concat(), text);
    let (sent, text, reason) = answer(&["END", "\n\n"], &["a\n", "b\n\nEND"]);
    assert_eq!((text.as_str(), reason), ("a\nb", Some(FinishReason::Stop)));
    assert_eq!(sent, ["a", "\nb"]);
    // The earliest of two stops counts, not the first of the list.
    assert_eq!(answer(&["zz", "y"], &["xyzz"]).1, "x");
}

#[test]
fn what_only_began_like_a_stop_string_is_sent_after_all() {
    let (sent, text, reason) = answer(&["END", ""], &["an E", "NtrancE"]);
    assert_eq!((text.as_str(), reason), ("an EntrancE".replace("En", "EN").as_str(), None));
    assert_eq!(sent.concat(), text);
    assert_eq!(sent[0], "an ");
}

fn model() -> Model {
    Model::from_source(Source::tiny(11).unwrap(), Precision::F32).unwrap()
}

fn options() -> GenerateOptions {
    GenerateOptions { max_tokens: 24, ..Default::default() }
}

/// Bytes of the tiny model's vocabulary that spell this text.
fn prompt(model: &Model, text: &str) -> Vec<u32> {
    model.tokenizer.encode(text).unwrap()
}

fn run(model: &Model, prompt: &[u32], options: &GenerateOptions) -> (Generation, String) {
    let mut streamed = String::new();
    let answer = model.complete(prompt, None, options, &mut |text| {
        streamed.push_str(text);
        ControlFlow::Continue(())
    });
    (answer.unwrap(), streamed)
}

/// Everything that must not depend on caches or time.
fn essence(generation: &Generation) -> (String, Vec<u32>, FinishReason) {
    (generation.text.clone(), generation.ids.clone(), generation.finish_reason)
}

#[test]
fn a_cached_prefix_changes_nothing_but_the_time() {
    let model = model();
    let long =
        "a passage that stands before every question of this test, and is longer than one piece of it. "
            .repeat(2);
    let sampled = GenerateOptions { temperature: 1.0, seed: 3, ..options() };
    for options in [options(), sampled] {
        for question in ["who?", "when was it that this happened, and where?", ""] {
            let prompt = prompt(&model, &format!("{long}{question}"));
            let fresh = self::model();
            let (expected, _) = run(&fresh, &prompt, &options);
            let (found, _) = run(&model, &prompt, &options);
            assert_eq!(expected.cached_tokens, 0);
            assert_eq!(essence(&found), essence(&expected), "{question}");
            let (again, _) = run(&model, &prompt, &options);
            assert_eq!(again.cached_tokens, (prompt.len() - 1) / PREFILL_CHUNK * PREFILL_CHUNK);
            assert_eq!(essence(&again), essence(&expected), "{question}");
        }
    }
}

#[test]
fn logits_after_a_cached_prefix_are_the_same_to_the_last_bit() {
    let model = model();
    let ids = prompt(&model, &"0123456789 the quick brown fox ".repeat(6));
    let read = |cache: &mut KvCache| {
        let from = reusable(cache, &ids);
        cache.truncate(from);
        let pieces = ids[from..].chunks(PREFILL_CHUNK);
        pieces.map(|piece| model.decoder.forward(piece, cache, None).unwrap()).last().unwrap()
    };
    let mut cache = model.decoder.new_cache();
    let fresh = read(&mut cache);
    cache.truncate(100);
    assert_eq!(reusable(&cache, &ids), PREFILL_CHUNK);
    assert_eq!(read(&mut cache), fresh);
}

#[test]
fn length_stop_and_cancellation_are_told_apart() {
    let model = model();
    let ids = prompt(&model, "hello");
    let (whole, streamed) = run(&model, &ids, &options());
    assert_eq!(whole.text, streamed);
    assert_eq!(whole.prompt_tokens, 5);
    if whole.finish_reason == FinishReason::Length {
        assert_eq!((whole.ids.len(), whole.completion_tokens), (24, 24));
    }
    let cut = whole.text.chars().nth(3).unwrap().to_string();
    let (stopped, _) = run(&model, &ids, &GenerateOptions { stop: vec![cut.clone()], ..options() });
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    assert_eq!(stopped.text, whole.text.split(&cut).next().unwrap());

    let mut heard = String::new();
    let broken = model.complete(&ids, None, &options(), &mut |text| {
        heard.push_str(text);
        ControlFlow::Break(())
    });
    let broken = broken.unwrap();
    assert_eq!(broken.finish_reason, FinishReason::Cancelled);
    assert_eq!(broken.text, heard);
    assert!(broken.completion_tokens < whole.completion_tokens);
}

#[test]
fn the_context_bounds_prompt_and_answer() {
    let model = model();
    let context = model.decoder.config().max_positions;
    let long = vec![70; context];
    let error =
        model.complete(&long, None, &options(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
    let (last, _) = run(&model, &long[..context - 3], &options());
    assert!(last.completion_tokens <= 3);
    let error =
        model.complete(&[], None, &options(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::NoTokens), "{error}");
    let none = GenerateOptions { max_tokens: 0, ..options() };
    assert!(model.complete(&[70], None, &none, &mut |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn answers_are_the_same_with_and_without_looking_up() {
    // Few tokens, so that a random model repeats itself and some drafts come true while others do
    // not.
    for precision in [Precision::F32, Precision::Bf16] {
        let model = Model::from_source(Source::tiny(11).unwrap(), precision).unwrap();
        let text = "the keeper of the light at the end of the land lit the lamp, the keeper of the";
        for (temperature, seed) in [(0.0, 0), (0.3, 1), (1.0, 2)] {
            for cut in [10, 40, text.len()] {
                let prompt = prompt(&model, &text[..cut]);
                let options =
                    GenerateOptions { max_tokens: 150, temperature, seed, ..Default::default() };
                let (with, streamed) = run(&model, &prompt, &options);
                let (without, _) =
                    run(&model, &prompt, &GenerateOptions { lookup: false, ..options });
                assert_eq!(essence(&with), essence(&without), "{precision:?} {temperature} {cut}");
                assert_eq!(with.completion_tokens, without.completion_tokens);
                assert_eq!(streamed, with.text);
            }
        }
    }
}

#[test]
fn wrong_drafts_leave_no_trace_in_the_cache() {
    let config = DecoderConfig { max_positions: 500, ..DecoderConfig::tiny() };
    let decoder = Decoder::random(config, 3, Precision::Auto).unwrap();
    let ids: Vec<u32> = (0..70).map(|i| i * 13 % 67).collect();
    let mut plain = decoder.new_cache();
    decoder.extend(&ids, &mut plain, None).unwrap();
    let mut drafted = plain.clone();
    let step = |ids: &[u32], cache: &mut KvCache| {
        decoder.forward_batch(&mut [BatchInput { ids, cache, adapter: None }]).unwrap()
    };
    for next in [5, 9, 40, 2] {
        let expected = step(&[next], &mut plain);
        let held = drafted.len();
        let found = step(&[next, 1, 2, 3, 4, 5], &mut drafted);
        assert_eq!(found[..67], expected);
        drafted.truncate(held + 1);
    }
}

#[test]
fn tokens_are_weighed_only_when_asked_and_alike_with_and_without_drafts() {
    let model = model();
    let prompt = prompt(&model, "one two three one two three one two three");
    assert!(run(&model, &prompt, &options()).0.log_probabilities.is_empty());
    let weighed = GenerateOptions { likelihood: true, ..options() };
    let (drafted, _) = run(&model, &prompt, &weighed);
    let (plain, _) = run(&model, &prompt, &GenerateOptions { lookup: false, ..weighed });
    assert_eq!(drafted.log_probabilities, plain.log_probabilities);
    assert_eq!(drafted.log_probabilities.len(), drafted.completion_tokens);
    assert!(drafted.log_probabilities.iter().all(|weight| *weight < 0.0 && weight.is_finite()));
    assert_eq!(
        essence(&drafted),
        essence(&run(&model, &prompt, &options()).0),
        "weighing changes nothing"
    );
}
