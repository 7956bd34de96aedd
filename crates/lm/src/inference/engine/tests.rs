#![allow(clippy::unwrap_used)]
use super::*;
use crate::{DecoderConfig, FinishReason, LoraConfig, Precision, Role, Source};

fn model() -> Arc<Model> {
    Arc::new(Model::from_source(Source::tiny(5).unwrap(), Precision::Auto).unwrap())
}

fn engine(options: EngineOptions) -> Engine {
    Engine::start(model(), options).unwrap()
}

fn adapter(config: &DecoderConfig, seed: u64) -> Arc<Lora> {
    let mut lora = Lora::new(config, LoraConfig::default(), seed).unwrap();
    lora.params.iter_mut().enumerate().for_each(|(i, x)| *x += ((i % 7) as f32 - 3.0) * 0.05);
    Arc::new(lora)
}

fn prompt(model: &Model, text: &str) -> Vec<u32> {
    model.tokenizer.encode(text).unwrap()
}

fn wait(stream: &Stream) -> (String, Generation) {
    let mut text = String::new();
    loop {
        match stream.next(Duration::from_secs(60)).unwrap().unwrap() {
            Event::Text(piece) => text.push_str(&piece),
            Event::Done(answer) => return (text, answer.unwrap()),
        }
    }
}

fn alone(prompt: &[u32], adapter: Option<&Lora>, options: &GenerateOptions) -> Generation {
    model().complete(prompt, adapter, options, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn eight_streams_with_two_adapters_say_what_each_says_alone() {
    let engine = engine(EngineOptions { slots: 6, ..Default::default() });
    let config = engine.model().decoder.config().clone();
    let (one, two) = (adapter(&config, 1), adapter(&config, 2));
    let long =
        "a passage that is longer than a piece, and that some of the questions have before them. ";
    let requests: Vec<_> = (0..8)
        .map(|i| {
            let adapter = [None, Some(&one), Some(&two)][i % 3];
            let text = format!("{}question {i}?", if i % 2 == 0 { long } else { "" });
            let temperature = if i < 4 { 0.0 } else { 0.8 };
            let options = GenerateOptions {
                max_tokens: 20 + 5 * i,
                temperature,
                seed: i as u64,
                stop: if i == 3 { vec!["e".into()] } else { Vec::new() },
                ..Default::default()
            };
            (prompt(engine.model(), &text), adapter, options)
        })
        .collect();
    let streams: Vec<_> = requests
        .iter()
        .map(|(prompt, adapter, options)| {
            engine.submit(prompt.clone(), adapter.cloned(), options).unwrap()
        })
        .collect();
    for (stream, (prompt, adapter, options)) in streams.iter().zip(&requests) {
        let (text, answer) = wait(stream);
        let expected = alone(prompt, adapter.map(|lora| &**lora), options);
        assert_eq!((&answer.ids, &answer.text), (&expected.ids, &expected.text));
        assert_eq!((text, answer.finish_reason), (expected.text, expected.finish_reason));
        assert_eq!(answer.completion_tokens, expected.completion_tokens);
    }
}

#[test]
fn a_follow_up_question_reads_the_passages_from_the_cache() {
    let engine = engine(EngineOptions::default());
    let passages =
        "the same passages before every question of the conversation, one after the other. "
            .repeat(2);
    let ask = |question: &str| {
        let prompt = prompt(engine.model(), &format!("{passages}{question}"));
        let options = GenerateOptions { max_tokens: 5, ..Default::default() };
        let (_, answer) = wait(&engine.submit(prompt.clone(), None, &options).unwrap());
        assert_eq!(answer.ids, alone(&prompt, None, &options).ids);
        answer.cached_tokens
    };
    assert_eq!(ask("who?"), 0);
    assert!(ask("and when was that?") >= passages.len() / 64 * 64);
}

#[test]
fn a_stream_that_is_dropped_frees_its_slot() {
    let engine = engine(EngineOptions { slots: 1, ..Default::default() });
    let endless = GenerateOptions { max_tokens: 400, ..Default::default() };
    let options = GenerateOptions { max_tokens: 3, ..Default::default() };
    let first = engine.submit(vec![70; 5], None, &endless).unwrap();
    let second = engine.submit(vec![71; 5], None, &endless).unwrap();
    let third = engine.submit(vec![72; 5], None, &options).unwrap();
    drop((first, second));
    assert!(wait(&third).1.completion_tokens <= 3);

    let mut heard = String::new();
    let messages = [Message::new(Role::User, "hello")];
    let answer = engine.generate(&messages, None, &endless, &mut |text| {
        heard.push_str(text);
        if heard.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let answer = answer.unwrap();
    assert_eq!((answer.finish_reason, answer.text), (FinishReason::Cancelled, heard));
}

#[test]
fn what_does_not_fit_waits_or_is_refused_with_the_bound() {
    let model = model();
    // Room for one request of two blocks and the prefix it leaves.
    let bound = EngineOptions { slots: 4, queue: 2, tokens: 128 };
    let engine = Engine::start(Arc::clone(&model), bound).unwrap();
    let options = GenerateOptions { max_tokens: 40, ..Default::default() };
    let submit = |seed: u32| engine.submit(vec![70 + seed; 80], None, &options);
    let mut streams = Vec::new();
    let refused = loop {
        match submit(streams.len() as u32 % 20) {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
        assert!(streams.len() < 100_000, "the queue never filled");
    };
    assert!(matches!(refused, Error::Busy { waiting: 2 }), "{refused}");
    streams.iter().for_each(|stream| assert!(wait(stream).1.completion_tokens <= 40));
    assert!(model.prefixes().tokens() <= 128);
    // The queue is empty again.
    assert!(wait(&submit(1).unwrap()).1.completion_tokens <= 40);

    let error = engine.submit(vec![70; 100], None, &options).unwrap_err();
    assert!(matches!(error, Error::TooLong { tokens: 140, limit: 128, .. }), "{error}");
    assert!(matches!(engine.submit(vec![], None, &options).unwrap_err(), Error::NoTokens));
    assert!(matches!(
        engine.submit(vec![9999], None, &options).unwrap_err(),
        Error::TokenOutOfRange { .. }
    ));
    let other = DecoderConfig { layers: 1, ..model.decoder.config().clone() };
    let error = engine.submit(vec![70], Some(adapter(&other, 1)), &options).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(Engine::start(model, EngineOptions { slots: 0, ..Default::default() }).is_err());
}

#[test]
fn what_was_submitted_is_answered_though_the_engine_is_dropped() {
    let engine = engine(EngineOptions::default());
    let options = GenerateOptions { max_tokens: 10, ..Default::default() };
    let stream = engine.submit(vec![70; 70], None, &options).unwrap();
    drop(engine);
    assert!(wait(&stream).1.completion_tokens <= 10);
}
