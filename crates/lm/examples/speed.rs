//! Speed of the engine on one kind of work: our side of `benches/engine`.
//!
//!     speed MODEL render PAIRS COUNT     the first COUNT pairs as ids and masks, a JSON line each, for the peers
//!     speed MODEL train PAIRS COUNT      LoRA training over the same pairs
//!     speed MODEL prefill TOKENS         reading a prompt, as an answer does
//!     speed MODEL decode DEPTH           one stream behind DEPTH tokens
//!     speed MODEL batch STREAMS          streams side by side behind 512 tokens
//!     speed MODEL first PROMPT           the first token after a prompt, written as soon as it is there; timed from outside
//!     speed MODEL decode-quoting TEXT    an answer that repeats a text file, with and without prompt lookup
//!     speed MODEL concurrent STREAMS     requests answered at once by one engine, behind different prompts
//!     speed MODEL first-token TEXT       the first token of a second question about a text file
//!     speed FOLDER embed CHUNKS          vectors of the lines of a file, and their cosine to those in f32
//!
//! All but `render` and `first` print one JSON line with what was done a second and the peak of
//! resident memory. `PRECISION=f32`, `bf16` or `int8` overrides the machine's choice. Decoding also
//! reports the processor time a token took, all threads together, which other work on the machine
//! disturbs less.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lm::{
    BatchInput, ChatTemplate, Decoder, Encoder, Engine, EngineOptions, Event, GenerateOptions,
    Message, Model, Pack, Precision, Rendered, Role, Source, Tokenizer, TrainEvent, TrainOptions,
    TrainingRun, read_examples, render_examples,
};
use serde_json::{Value, json};
use tunesmith_lm as lm;

/// Tokens decoded in one measurement.
const DECODED: usize = 64;

/// Longest pair in tokens; the peers cut none either.
const MAX_LENGTH: usize = 2048;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    lm::start_threads(None)?;
    let mut figures = match words[..] {
        [model, "render", pairs, count] => {
            let source = Source::open(Path::new(model))?;
            for Rendered { ids, mask } in
                rendered(&source.tokenizer, &source.template, pairs, count.parse()?)?
            {
                println!("{}", json!({ "ids": ids, "mask": mask }));
            }
            return Ok(());
        }
        [model, "train", pairs, count] => train(model, pairs, count.parse()?)?,
        [model, "prefill", tokens] => prefill(model, tokens.parse()?)?,
        [model, "decode", depth] => decode(model, 1, depth.parse()?)?,
        [model, "embed", chunks] => embed(model, chunks)?,
        [model, "batch", streams] => decode(model, streams.parse()?, 512)?,
        [model, "first", prompt] => return first(model, prompt),
        [model, "decode-quoting", text] => quoting(model, &fs::read_to_string(text)?)?,
        [model, "concurrent", streams] => concurrent(model, streams.parse()?)?,
        [model, "first-token", text] => first_token(model, &fs::read_to_string(text)?)?,
        _ => {
            let usage = "render PAIRS COUNT | train PAIRS COUNT | prefill TOKENS | decode DEPTH | batch STREAMS | \
                         first PROMPT | decode-quoting TEXT | concurrent STREAMS | first-token TEXT | embed CHUNKS";
            return Err(format!("usage: speed MODEL {usage}").into());
        }
    };
    figures["peak_mib"] = json!(peak_mib());
    println!("{figures}");
    Ok(())
}

fn precision() -> Precision {
    match std::env::var("PRECISION").as_deref() {
        Ok("f32") => Precision::F32,
        Ok("bf16") => Precision::Bf16,
        Ok("int8") => Precision::Int8,
        _ => Precision::Auto,
    }
}

fn rendered(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    pairs: &str,
    count: usize,
) -> Result<Vec<Rendered>, Box<dyn Error>> {
    let path = Path::new(pairs);
    let mut examples = read_examples(path)?;
    examples.truncate(count);
    Ok(render_examples(path, &examples, tokenizer, template, MAX_LENGTH)?)
}

/// Tokens a second over one pass, the first step left out as the warm-up. `run_tokens` counts what
/// the examples of a step begin with in common once: so many tokens were run at least.
fn train(model: &str, pairs: &str, count: usize) -> Result<Value, Box<dyn Error>> {
    let model = Model::open(Path::new(model), precision())?;
    let train = rendered(&model.tokenizer, &model.template, pairs, count)?;
    let options = TrainOptions { epochs: 1, max_length: MAX_LENGTH, ..TrainOptions::default() };
    let run = TrainingRun {
        decoder: &model.decoder,
        identity: "",
        train: &train,
        dev: &[],
        options: &options,
    };
    let steps = run.batches()?;
    let estimated_mib = run.estimate()?.memory.total() >> 20;
    if steps.len() < 2 {
        return Err(
            format!("{count} pairs are a single step: none is left behind the warm-up").into()
        );
    }
    let mut first = None;
    run.train(&mut |event| {
        if let TrainEvent::Step { step: 1, .. } = event {
            first = Some(Instant::now());
        }
    })?;
    let seconds = first.ok_or("no step was made")?.elapsed().as_secs_f64();
    let counted = || steps.iter().skip(1).flatten().map(|&index| &train[index]);
    let tokens: usize = counted().map(|example| example.ids.len()).sum();
    let trained: usize = counted().map(Rendered::trained).sum();
    let run = steps.iter().skip(1).map(|step| {
        let examples = step.iter().map(|&index| (&train[index].ids[..], &train[index].mask[..]));
        Pack::of(&examples.collect::<Vec<_>>()).len()
    });
    Ok(json!({
        "tokens_per_second": tokens as f64 / seconds,
        "trained_tokens_per_second": trained as f64 / seconds,
        "tokens": tokens,
        "run_tokens": run.sum::<usize>(),
        "trained_tokens": trained,
        "estimated_mib": estimated_mib,
    }))
}

/// Ids of no particular meaning, all different from their neighbours.
fn ids(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 7919 % 40_000 + 100).collect()
}

fn prefill(model: &str, tokens: usize) -> Result<Value, Box<dyn Error>> {
    let model = Model::open(Path::new(model), precision())?;
    let options = GenerateOptions { max_tokens: 1, ..GenerateOptions::default() };
    let read = |prompt: &[u32]| -> Result<f64, Box<dyn Error>> {
        let answer = model.complete(prompt, None, &options, &mut |_| ControlFlow::Continue(()))?;
        assert_eq!(answer.cached_tokens, 0, "nothing may be reused");
        Ok(tokens as f64 / answer.prefill_seconds)
    };
    let mut prompt = ids(tokens);
    read(&prompt)?;
    prompt.reverse();
    Ok(json!({ "tokens_per_second": read(&prompt)? }))
}

/// Opens the model, reads a plain text and writes the token that follows.
fn first(model: &str, prompt: &str) -> Result<(), Box<dyn Error>> {
    let model = Model::open(Path::new(model), precision())?;
    let options = GenerateOptions { max_tokens: 1, ..GenerateOptions::default() };
    let answer = model.complete(&model.tokenizer.encode(prompt)?, None, &options, &mut |_| {
        ControlFlow::Continue(())
    })?;
    println!("{}", answer.text);
    Ok(std::io::stdout().flush()?)
}

fn decode(model: &str, streams: usize, depth: usize) -> Result<Value, Box<dyn Error>> {
    let decoder = Decoder::load(&Source::open(Path::new(model))?, precision())?;
    let mut start = decoder.new_cache();
    decoder.forward(&ids(depth.max(1)), &mut start, None)?;
    let mut caches = vec![start; streams];
    let (mut seconds, mut processor) = (0.0, None);
    // The first turn warms up.
    for _ in 0..2 {
        let started = Instant::now();
        let before = processor_seconds();
        for id in ids(DECODED) {
            let inputs = caches.iter_mut().map(|cache| BatchInput {
                ids: std::slice::from_ref(&id),
                cache,
                adapter: None,
            });
            decoder.forward_batch(&mut inputs.collect::<Vec<_>>())?;
        }
        seconds = started.elapsed().as_secs_f64();
        processor = processor_seconds().zip(before).map(|(after, before)| after - before);
        caches.iter_mut().for_each(|cache| cache.truncate(depth.max(1)));
    }
    let tokens = (streams * DECODED) as f64;
    Ok(json!({
        "tokens_per_second": tokens / seconds,
        "processor_ms_per_token": processor.map(|seconds| 1e3 * seconds / tokens),
    }))
}

/// An answer that repeats the beginning of `text`, with and without prompt lookup; both must be the
/// same.
fn quoting(model: &str, text: &str) -> Result<Value, Box<dyn Error>> {
    let model = Model::open(Path::new(model), precision())?;
    let passage: String = text.chars().take(1500).collect();
    let question =
        format!("Repeat this passage word by word, and write nothing else.\n\n{passage}");
    let messages = [Message::new(Role::User, &question)];
    let answer = |lookup: bool| {
        let options = GenerateOptions { max_tokens: 200, lookup, ..GenerateOptions::default() };
        let mut best = (Vec::new(), 0.0, None);
        // The first turn warms up.
        for _ in 0..2 {
            let before = processor_seconds();
            let answer =
                model.generate(&messages, None, &options, &mut |_| ControlFlow::Continue(()))?;
            let processor = processor_seconds().zip(before).map(|(after, before)| after - before);
            let tokens = answer.completion_tokens as f64;
            best = (
                answer.ids,
                (tokens - 1.0) / answer.decode_seconds,
                processor.map(|s| 1e3 * s / tokens),
            );
        }
        Ok::<_, Box<dyn Error>>(best)
    };
    let (ids, with, processor) = answer(true)?;
    let (plain_ids, without, plain_processor) = answer(false)?;
    if ids != plain_ids {
        return Err("prompt lookup changed the answer".into());
    }
    Ok(json!({
        "tokens_per_second": with,
        "tokens_per_second_without": without,
        "processor_ms_per_token": processor,
        "processor_ms_per_token_without": plain_processor,
        "tokens": ids.len(),
        "begins": model.tokenizer.decode(&ids).chars().take(80).collect::<String>(),
    }))
}

/// Tokens a second of all answers together, from the first submission to the last token, prompts of
/// 256 tokens included.
fn concurrent(model: &str, streams: usize) -> Result<Value, Box<dyn Error>> {
    let model = Arc::new(Model::open(Path::new(model), precision())?);
    let bounds = EngineOptions { slots: streams, queue: streams, ..EngineOptions::default() };
    let engine = Engine::start(model, bounds)?;
    // Ids of no meaning are answered by text that repeats itself, which lookup would flatter.
    let options = GenerateOptions { max_tokens: 128, lookup: false, ..GenerateOptions::default() };
    let mut figures = json!(null);
    // The first turn warms up.
    for turn in 0..2 {
        let started = Instant::now();
        let before = processor_seconds();
        let submit = |stream: usize| {
            let prompt = ids(256 + streams * 2)[turn * streams + stream..][..256].to_vec();
            engine.submit(prompt, None, &options)
        };
        let answers = (0..streams).map(submit).collect::<Result<Vec<_>, _>>()?;
        let mut tokens = 0;
        for answer in &answers {
            tokens += loop {
                if let Some(Event::Done(answer)) = answer.next(Duration::from_secs(1))? {
                    break answer?.completion_tokens;
                }
            };
        }
        let processor = processor_seconds().zip(before).map(|(after, before)| after - before);
        figures = json!({
            "tokens_per_second": tokens as f64 / started.elapsed().as_secs_f64(),
            "tokens": tokens,
            "processor_ms_per_token": processor.map(|seconds| 1e3 * seconds / tokens as f64),
        });
    }
    Ok(figures)
}

/// Time to the first token of a second question over the same text, and of the first, which has to
/// read the text.
fn first_token(model: &str, text: &str) -> Result<Value, Box<dyn Error>> {
    let model = Model::open(Path::new(model), precision())?;
    let text: String = text.chars().take(4000).collect();
    let options = GenerateOptions { max_tokens: 1, ..GenerateOptions::default() };
    let ask = |question: &str| -> Result<(f64, Value), Box<dyn Error>> {
        let messages = [Message::new(Role::User, format!("{text}\n\n{question}"))];
        let started = Instant::now();
        let answer =
            model.generate(&messages, None, &options, &mut |_| ControlFlow::Continue(()))?;
        let tokens = json!({ "prompt": answer.prompt_tokens, "cached": answer.cached_tokens });
        Ok((started.elapsed().as_secs_f64(), tokens))
    };
    let (first, _) = ask("What is this text about?")?;
    let (follow_up, tokens) = ask("Who is named in it, and why?")?;
    Ok(json!({ "seconds": follow_up, "seconds_of_the_first_question": first, "tokens": tokens }))
}

/// Processor time of all threads so far; `None` elsewhere than on Linux.
fn processor_seconds() -> Option<f64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(nanoseconds.sum::<u64>() as f64 / 1e9)
}

/// Chunks a second for the lines of a file, and how near their vectors are to those in f32.
fn embed(model: &str, chunks: &str) -> Result<Value, Box<dyn Error>> {
    let text = fs::read_to_string(chunks)?;
    let chunks: Vec<&str> = text.lines().collect();
    let encoder = Encoder::open_with(Path::new(model), precision())?;
    encoder.embed(&chunks[..chunks.len().min(32)])?;
    let started = Instant::now();
    let vectors = encoder.embed(&chunks)?;
    let seconds = started.elapsed().as_secs_f64();
    let mut tokens = 0;
    for chunk in &chunks {
        tokens += encoder.count_tokens(chunk)?;
    }
    let exact = Encoder::open_with(Path::new(model), Precision::F32)?.embed(&chunks)?;
    let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosines: Vec<f32> = vectors.iter().zip(&exact).map(cosine).collect();
    Ok(json!({
        "chunks_per_second": chunks.len() as f64 / seconds,
        "tokens": tokens,
        "cosine_min": cosines.iter().copied().fold(1.0, f32::min),
        "cosine_mean": cosines.iter().sum::<f32>() / cosines.len() as f32,
    }))
}

/// Peak of resident memory; `None` elsewhere than on Linux.
fn peak_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}
