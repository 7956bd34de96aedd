//! Prints, as JSON lines, what this engine makes of the inputs that `benches/parity` hands it, for
//! comparison with transformers and sentence-transformers.
//!
//! ```text
//! parity logits MODEL PRECISION < prompts.jsonl      {"text"} -> {"ids", "logits", "greedy"}
//! parity complete MODEL PRECISION < texts.jsonl      "text" -> {"ids", "greedy", "text"}: continued, without a template
//! parity tokens MODEL           < lines.jsonl        "text"   -> [ids]
//! parity embed FOLDER PRECISION < texts.jsonl        "text"   -> [vector]; timing on standard error
//! parity tensors MODEL                               {"name", "shape", "sha256"} of every tensor, in f32
//! parity adapter MODEL ADAPTER OUT < examples.jsonl  {"ids", "mask"} -> {"logits", "base", "loss"}, in f32; the gradients
//!                                                    of the mean loss go to OUT in the adapter's form
//! ```

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tunesmith_lm::{
    Adapter, Decoder, Encoder, GenerateOptions, Message, Model, Pack, Precision, Role, Source,
    Workspace,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let inputs = std::io::stdin().lock().lines().map(|line| Ok(serde_json::from_str(&line?)?));
    let inputs = inputs.collect::<Result<Vec<Value>, Box<dyn std::error::Error>>>()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["logits", model, precision] => logits(Path::new(model), precision.parse()?, &inputs),
        ["complete", model, precision] => complete(Path::new(model), precision.parse()?, &inputs),
        ["tokens", model] => tokens(Path::new(model), &inputs),
        ["embed", folder, precision] => embed(Path::new(folder), precision.parse()?, &inputs),
        ["tensors", model] => tensors(Path::new(model)),
        ["adapter", model, adapter, out] => {
            self::adapter(Path::new(model), Path::new(adapter), Path::new(out), &inputs)
        }
        _ => Err(
            "expected `logits MODEL PRECISION`, `complete MODEL PRECISION`, `tokens MODEL`, `embed FOLDER \
                  PRECISION`, `tensors MODEL` or \
                  `adapter MODEL ADAPTER OUT`"
                .into(),
        ),
    }
}

fn text(input: &Value) -> Result<&str, String> {
    input.as_str().or(input["text"].as_str()).ok_or_else(|| format!("no text in {input}"))
}

/// As `benches/parity/parity.py` has it: the system prompt that SmolLM2's template writes in
/// transformers.
const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

/// Last-position logits and 32 greedy tokens for each prompt, a single user message.
fn logits(path: &Path, precision: Precision, inputs: &[Value]) -> Outcome {
    let model = Model::open(path, precision)?;
    let options = GenerateOptions { max_tokens: 32, ..Default::default() };
    for input in inputs {
        let system = Message::new(Role::System, SYSTEM);
        let ids = model.prompt_ids(&[system, Message::new(Role::User, text(input)?)])?;
        let logits = model.decoder.forward(&ids, &mut model.decoder.new_cache(), None)?;
        let answer = model.complete(&ids, None, &options, &mut |_| ControlFlow::Continue(()))?;
        println!("{}", json!({"ids": ids, "logits": logits, "greedy": answer.ids}));
    }
    Ok(())
}

/// 32 greedy tokens after each text, which begins as the tokenizer has texts begin.
fn complete(path: &Path, precision: Precision, inputs: &[Value]) -> Outcome {
    let model = Model::open(path, precision)?;
    let options = GenerateOptions { max_tokens: 32, ..Default::default() };
    for input in inputs {
        let ids = model.tokenizer.encode_framed(text(input)?)?;
        let answer = model.complete(&ids, None, &options, &mut |_| ControlFlow::Continue(()))?;
        println!("{}", json!({"ids": ids, "greedy": answer.ids, "text": answer.text}));
    }
    Ok(())
}

/// Hashes of all tensors as the decoder gets them, little-endian.
fn tensors(path: &Path) -> Outcome {
    let source = Source::open(path)?;
    for name in source.config.tensor_names() {
        let Some(tensor) = source.find_tensor(&name)? else { continue };
        let mut hash = Sha256::new();
        tensor.data.iter().for_each(|x| hash.update(x.to_le_bytes()));
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{}", json!({"name": name, "shape": tensor.shape, "sha256": hash}));
    }
    Ok(())
}

/// Logits of every position with the adapter, of the last without, and loss and gradients of all
/// examples, those with a common beginning in one pack that runs it once.
fn adapter(model: &Path, adapter: &Path, out: &Path, inputs: &[Value]) -> Outcome {
    let decoder = Decoder::load(&Source::open(model)?, Precision::F32)?;
    let adapter = Adapter::load(adapter, decoder.config())?;
    let examples: Vec<(Vec<u32>, Vec<u8>)> = inputs
        .iter()
        .map(|input| {
            let list = |key: &str| serde_json::from_value::<Vec<u32>>(input[key].clone());
            Ok((list("ids")?, list("mask")?.into_iter().map(|bit| bit as u8).collect()))
        })
        .collect::<Result<_, serde_json::Error>>()?;
    let (mut logits, mut base) = (Vec::new(), Vec::new());
    for (ids, _) in &examples {
        let rows = decoder.forward_all(ids, &mut decoder.new_cache(), Some(&adapter.lora))?;
        logits.extend(rows.chunks(decoder.config().vocabulary).map(<[f32]>::to_vec));
        base.push(decoder.forward(ids, &mut decoder.new_cache(), None)?);
    }
    // All but the last example begin alike.
    let borrowed: Vec<(&[u32], &[u8])> =
        examples.iter().map(|(ids, mask)| (&ids[..], &mask[..])).collect();
    let (alike, last) = borrowed.split_at(borrowed.len().saturating_sub(1));
    let packs = [Pack::of(alike), Pack::of(last)];
    let targets: usize = packs.iter().map(Pack::targets).sum();
    let mut gradients = adapter.clone();
    gradients.lora.params.fill(0.0);
    let mut workspace = Workspace::default();
    let mut loss = 0.0;
    for pack in &packs {
        let (scale, grads) = (1.0 / targets as f32, &mut gradients.lora.params);
        loss += decoder.loss_and_grad(&adapter.lora, pack, scale, grads, &mut workspace)?.sum;
    }
    gradients.save(out)?;
    println!(
        "{}",
        json!({"logits": logits, "base": base, "loss": loss / targets as f64, "shared": packs[0].sequence_tokens() - packs[0].len()})
    );
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
    eprintln!(
        "{} texts in {seconds:.3} s, {:.1} texts/s",
        texts.len(),
        texts.len() as f64 / seconds
    );
    vectors.iter().for_each(|vector| println!("{}", json!(vector)));
    Ok(())
}
