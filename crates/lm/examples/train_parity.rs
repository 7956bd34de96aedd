//! Our half of the comparison with PyTorch + PEFT; `benches/training/run` drives both halves.
//!
//!     train_parity MODEL PAIRS OUT [STEPS] [BATCH_TOKENS]
//!
//! Writes into OUT what PEFT needs to repeat the run (initial adapter, batches, learning rates) and
//! what came out here: losses, gradients at an adapter that is not fresh, the trained adapter and
//! logits with it.

use std::fs;
use std::path::{Path, PathBuf};

use lm::{
    Adapter, Decoder, Error, Lora, Message, Pack, Precision, Rendered, Result, Role, Source,
    TrainEvent, TrainOptions, TrainingRun, Workspace, read_examples,
};
use serde_json::{Value, json};
use tunesmith_lm as lm;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let [model, pairs, out, ..] = &arguments[..] else {
        eprintln!("usage: train_parity MODEL PAIRS OUT [STEPS] [BATCH_TOKENS]");
        return std::process::ExitCode::FAILURE;
    };
    match parity(
        Path::new(model),
        Path::new(pairs),
        &PathBuf::from(out),
        number(3, 50),
        number(4, 256),
    ) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn parity(model: &Path, pairs: &Path, out: &Path, steps: usize, batch_tokens: usize) -> Result<()> {
    fs::create_dir_all(out).map_err(Error::io(out))?;
    let source = Source::open(model)?;
    let decoder = Decoder::load(&source, Precision::F32)?;
    let examples = read_examples(pairs)?
        .iter()
        .map(|example| source.template.example_ids(&source.tokenizer, &example.messages))
        .collect::<Result<Vec<Rendered>>>()?;
    // Packs smaller than a step, so that accumulating over packs is compared too.
    let options = TrainOptions {
        epochs: usize::MAX,
        max_steps: Some(steps),
        batch_tokens,
        pack_tokens: batch_tokens / 2,
        ..TrainOptions::default()
    };
    let run = TrainingRun {
        decoder: &decoder,
        identity: source.identity()?,
        train: &examples,
        dev: &[],
        options: &options,
    };
    let identity = source.identity()?.to_owned();
    let adapter = |lora: Lora| Adapter {
        lora,
        base_name: "base".into(),
        base_identity: Some(identity.clone()),
    };
    let initial = Lora::new(decoder.config(), options.lora.clone(), options.seed)?;
    adapter(initial.clone()).save(&out.join("initial"))?;

    let batches = run.batches()?;
    let probe = probe(&decoder, &initial, &examples, &batches[0], out, &adapter)?;
    let estimate = run.estimate()?;
    let resident = peak_resident_bytes("VmRSS");
    let trained = run.train(&mut |event| {
        if let TrainEvent::Step { step, steps, loss, tokens_per_second, .. } = event {
            eprint!("\rstep {step}/{steps}  loss {loss:.4}  {tokens_per_second:.0} tokens/s ");
        }
    })?;
    eprintln!();
    adapter(trained.lora.clone()).save(&out.join("trained"))?;
    let report = json!({
        "weight_decay": options.weight_decay,
        "clip": options.clip,
        "probe": probe,
        "batches": batches.iter().zip(&trained.history.steps).map(|(batch, record)| json!({
            "examples": batch.iter().map(|&index| sequence(&examples[index])).collect::<Vec<_>>(),
            "learning_rate": record.learning_rate,
            "loss": record.loss,
            "gradient_norm": record.gradient_norm,
        })).collect::<Vec<_>>(),
        "logits": logits(&source, &decoder, &trained.lora)?,
        "tokens": trained.tokens,
        "seconds": trained.seconds,
        "memory": {
            "estimate": estimate.memory,
            "estimate_additional": estimate.memory.additional(),
            "resident_before_training": resident,
            "peak_resident": peak_resident_bytes("VmHWM"),
        },
    });
    let path = out.join("ours.json");
    fs::write(&path, report.to_string()).map_err(Error::io(&path))
}

/// Gradients of one batch where `B` is not zero, so that `A` has gradients too. They are written as
/// an adapter, which has the right names and shapes.
fn probe(
    decoder: &Decoder,
    initial: &Lora,
    examples: &[Rendered],
    batch: &[usize],
    out: &Path,
    adapter: &dyn Fn(Lora) -> Adapter,
) -> Result<Value> {
    let mut lora = initial.clone();
    let fill = Lora::new(decoder.config(), initial.config().clone(), 99)?;
    for module in fill.modules() {
        // Any numbers of a trained adapter's size will do.
        for at in module.b.clone() {
            lora.params[at] =
                0.3 * fill.params[module.a.start + (at - module.b.start) % module.a.len()];
        }
    }
    adapter(lora.clone()).save(&out.join("probe"))?;
    let mut pack = Pack::default();
    batch.iter().for_each(|&index| pack.push(&examples[index].ids, &examples[index].mask));
    let mut gradients = lora.clone();
    gradients.params.fill(0.0);
    let scale = 1.0 / pack.targets() as f32;
    let loss = decoder.loss_and_grad(
        &lora,
        &pack,
        scale,
        &mut gradients.params,
        &mut Workspace::default(),
    )?;
    adapter(gradients).save(&out.join("probe-gradients"))?;
    Ok(json!({
        "examples": batch.iter().map(|&index| sequence(&examples[index])).collect::<Vec<_>>(),
        "loss": loss.sum / loss.tokens as f64,
    }))
}

/// Logits after a few prompts, with the adapter.
fn logits(source: &Source, decoder: &Decoder, lora: &Lora) -> Result<Vec<Value>> {
    ["What is the capital of France?", "In what year did the Normans invade?", "Say hello."]
        .into_iter()
        .map(|text| {
            let ids =
                source.template.prompt_ids(&source.tokenizer, &[Message::new(Role::User, text)])?;
            let logits = decoder.forward(&ids, &mut decoder.new_cache(), Some(lora))?;
            Ok(json!({ "ids": ids, "logits": logits }))
        })
        .collect()
}

fn sequence(example: &Rendered) -> Value {
    json!({ "ids": example.ids, "mask": example.mask })
}

/// A line of `/proc/self/status`, in bytes; `None` elsewhere than on Linux.
fn peak_resident_bytes(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let rest = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
