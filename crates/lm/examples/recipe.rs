//! Tries one training recipe and says what it is worth, for choosing defaults on dev data.
//!
//!     recipe MODEL TRAIN.jsonl DEV.jsonl [NAME=VALUE]…
//!
//! Names: train, dev, answers (how many rows of each are used; answers = dev rows answered by
//! greedy decoding), epochs, learning_rate, b_rate_scale, batch_tokens, pack_tokens, warmup, rank,
//! alpha, seed, precision (f32, bf16). Prints one JSON line.

use std::path::Path;

use lm::{
    Decoder, Error, Lora, LoraConfig, Precision, Rendered, Result, Source, TrainEvent,
    TrainOptions, TrainingRun, read_examples, render_examples,
};
use tunesmith_lm as lm;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, train, dev, settings @ ..] = &arguments[..] else {
        eprintln!("usage: recipe MODEL TRAIN.jsonl DEV.jsonl [NAME=VALUE]…");
        return std::process::ExitCode::FAILURE;
    };
    match run(Path::new(model), Path::new(train), Path::new(dev), settings) {
        Ok(report) => {
            println!("{report}");
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// The recipe, from the command line.
struct Recipe {
    train: usize,
    dev: usize,
    answers: usize,
    precision: Precision,
    options: TrainOptions<'static>,
}

impl Recipe {
    fn parse(settings: &[String]) -> Result<Self> {
        let mut recipe = Recipe {
            train: usize::MAX,
            dev: 100,
            answers: 0,
            precision: Precision::Auto,
            options: TrainOptions::default(),
        };
        for setting in settings {
            let wrong = || Error::Option {
                name: "setting",
                reason: format!("{setting:?} is not NAME=VALUE as listed"),
            };
            let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
            let whole = || value.parse::<usize>().map_err(|_| wrong());
            let real = || value.parse::<f64>().map_err(|_| wrong());
            let options = &mut recipe.options;
            match name {
                "train" => recipe.train = whole()?,
                "dev" => recipe.dev = whole()?,
                "answers" => recipe.answers = whole()?,
                "precision" if value == "f32" => recipe.precision = Precision::F32,
                "precision" if value == "bf16" => recipe.precision = Precision::Bf16,
                "epochs" => options.epochs = whole()?,
                "learning_rate" => options.learning_rate = real()?,
                "b_rate_scale" => options.b_rate_scale = real()?,
                "batch_tokens" => options.batch_tokens = whole()?,
                "pack_tokens" => options.pack_tokens = whole()?,
                "warmup" => options.warmup = real()?,
                "seed" => options.seed = whole()? as u64,
                "rank" => options.lora = LoraConfig { rank: whole()?, ..options.lora.clone() },
                "alpha" => {
                    options.lora = LoraConfig { alpha: real()? as f32, ..options.lora.clone() }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(recipe)
    }
}

fn run(model: &Path, train: &Path, dev: &Path, settings: &[String]) -> Result<serde_json::Value> {
    tunesmith_lm::start_threads(None)?;
    let Recipe { train: train_rows, dev: dev_rows, answers, precision, options } =
        Recipe::parse(settings)?;
    let source = Source::open(model)?;
    let decoder = Decoder::load(&source, precision)?;
    let read = |path: &Path, rows: usize| -> Result<Vec<Rendered>> {
        let mut examples = read_examples(path)?;
        examples.truncate(rows);
        Ok(render_examples(
            path,
            &examples,
            &source.tokenizer,
            &source.template,
            options.max_length,
        )?)
    };
    let (train, dev) = (read(train, train_rows)?, read(dev, dev_rows)?);
    let run = TrainingRun {
        decoder: &decoder,
        identity: "",
        train: &train,
        dev: &dev,
        options: &options,
    };
    let estimate = run.estimate()?;
    let loaded = resident_mib("VmRSS:");
    let trained = run.train(&mut |event| {
        if let TrainEvent::Step { step, steps, loss, tokens_per_second, seconds_left, .. } = event {
            eprint!("\r{step}/{steps}  loss {loss:.3}  {tokens_per_second:.0} tokens/s  {seconds_left:.0} s left  ");
        }
    })?;
    eprintln!();
    let mut right = 0;
    for example in dev.iter().take(answers) {
        right += usize::from(answers_exactly(
            &decoder,
            &trained.lora,
            example,
            source.tokenizer.end_ids(),
        )?);
    }
    Ok(serde_json::json!({
        "settings": settings,
        "steps": estimate.steps,
        "dev_losses": trained.history.evaluations.iter().map(|e| (e.dev_loss * 1e4).round() / 1e4).collect::<Vec<_>>(),
        "best_step": trained.best_step,
        "exact": if answers > 0 { Some(right as f64 / answers.min(dev.len()) as f64) } else { None },
        "tokens": trained.tokens,
        "trained_tokens": trained.trained_tokens,
        "seconds": trained.seconds.round(),
        "estimated_mib_beyond_the_model": estimate.memory.additional() >> 20,
        "measured_mib_beyond_the_model": resident_mib("VmHWM:").zip(loaded).map(|(peak, loaded)| peak - loaded),
    }))
}

/// Whether greedy decoding after the example's prompt gives the completion, token for token.
fn answers_exactly(
    decoder: &Decoder,
    lora: &Lora,
    example: &Rendered,
    end: &[u32],
) -> Result<bool> {
    let prompt = example.mask.iter().take_while(|&&bit| bit == 0).count();
    let mut cache = decoder.new_cache();
    let mut logits = decoder.forward(&example.ids[..prompt], &mut cache, Some(lora))?;
    for &wanted in &example.ids[prompt..] {
        let best =
            logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(id, _)| id as u32);
        if best != Some(wanted) {
            return Ok(false);
        }
        if !end.contains(&wanted) {
            logits = decoder.forward(&[wanted], &mut cache, Some(lora))?;
        }
    }
    Ok(true)
}

/// Resident size now (`VmRSS:`) or at its highest (`VmHWM:`); `None` elsewhere than on Linux.
fn resident_mib(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let text = status.lines().find_map(|text| text.strip_prefix(line))?;
    text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}
