//! Prints, as JSON lines, what this engine makes of the inputs that `benches/parity` hands it, for comparison with
//! transformers and sentence-transformers.
//!
//! ```text
//! parity logits MODEL PRECISION < prompts.jsonl      {"text"} -> {"ids", "logits", "greedy"}
//! parity tokens MODEL           < lines.jsonl        "text"   -> [ids]
//! parity embed FOLDER PRECISION < texts.jsonl        "text"   -> [vector]; timing on standard error
//! ```

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tunesmith_lm::{Encoder, GenerateOptions, Message, Model, Precision, Role, Source};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let inputs = std::io::stdin().lock().lines().map(|line| Ok(serde_json::from_str(&line?)?));
    let inputs = inputs.collect::<Result<Vec<Value>, Box<dyn std::error::Error>>>()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["logits", model, precision] => logits(Path::new(model), parse(precision)?, &inputs),
        ["tokens", model] => tokens(Path::new(model), &inputs),
        ["embed", folder, precision] => embed(Path::new(folder), parse(precision)?, &inputs),
        _ => Err("expected `logits MODEL PRECISION`, `tokens MODEL` or `embed FOLDER PRECISION`".into()),
    }
}

fn parse(precision: &str) -> Result<Precision, String> {
    match precision {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        other => Err(format!("precision `{other}`, expected f32 or bf16")),
    }
}

fn text(input: &Value) -> Result<&str, String> {
    input.as_str().or(input["text"].as_str()).ok_or_else(|| format!("no text in {input}"))
}

/// Last-position logits and 32 greedy tokens for each prompt, a single user message.
fn logits(path: &Path, precision: Precision, inputs: &[Value]) -> Outcome {
    let model = Model::open(path, precision)?;
    let options = GenerateOptions { max_tokens: 32, ..Default::default() };
    for input in inputs {
        let ids = model.prompt_ids(&[Message::new(Role::User, text(input)?)])?;
        let logits = model.decoder.forward(&ids, &mut model.decoder.new_cache(), None)?;
        let answer = model.complete(&ids, None, &options, &mut |_| ControlFlow::Continue(()))?;
        println!("{}", json!({"ids": ids, "logits": logits, "greedy": answer.ids}));
    }
    Ok(())
}

fn tokens(path: &Path, inputs: &[Value]) -> Outcome {
    let tokenizer = Source::open(path)?.tokenizer;
    for input in inputs {
        println!("{}", json!(tokenizer.encode(text(input)?)?));
    }
    Ok(())
}

fn embed(folder: &Path, precision: Precision, inputs: &[Value]) -> Outcome {
    let encoder = Encoder::open_with(folder, precision)?;
    let texts = inputs.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    encoder.embed(&texts[..texts.len().min(8)])?;
    let start = Instant::now();
    let vectors = encoder.embed(&texts)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{} texts in {seconds:.3} s, {:.1} texts/s", texts.len(), texts.len() as f64 / seconds);
    vectors.iter().for_each(|vector| println!("{}", json!(vector)));
    Ok(())
}
