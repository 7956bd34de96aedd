//! Our half of the comparison of embedder training with PyTorch; `benches/training/run` drives both
//! halves.
//!
//!     embedder_parity EMBEDDER BEIR OUT [STEPS] [BATCH]
//!
//! Takes queries and documents of a folder in BEIR layout and writes into OUT what PyTorch needs to
//! repeat the run (ids of every step, learning rates) and what came out here: losses, the gradients
//! of the first step, the trained folder and vectors.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use lm::{EmbedderOptions, EmbedderTraining, Encoder, Error, Precision, Result, TrainingQuestion};
use serde_json::{Value, json};
use tunesmith_lm as lm;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let [embedder, beir, out, ..] = &arguments[..] else {
        eprintln!("usage: embedder_parity EMBEDDER BEIR OUT [STEPS] [BATCH]");
        return std::process::ExitCode::FAILURE;
    };
    match parity(Path::new(embedder), Path::new(beir), Path::new(out), number(3, 20), number(4, 8))
    {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn parity(embedder: &Path, beir: &Path, out: &Path, steps: usize, batch: usize) -> Result<()> {
    fs::create_dir_all(out).map_err(Error::io(out))?;
    let (questions, passages) = data(beir, steps * batch)?;
    // Little is kept and packs are small, so that gradient caching and the sum over packs are
    // compared too.
    let options = EmbedderOptions {
        epochs: 1,
        batch,
        warmup: 0.2,
        precision: Precision::F32,
        pack_tokens: 700,
        kept_bytes: 32 << 20,
        ..EmbedderOptions::default()
    };
    let mut training = EmbedderTraining::new(embedder, questions, &passages, options.clone())?;
    let (first_loss, gradients) = training.gradients()?.unwrap_or_default();
    let plan = training.plan(0);
    let mut records = Vec::new();
    let start = std::time::Instant::now();
    training.finish_epoch(&AtomicBool::new(false), &mut |step| {
        eprint!("\rstep {}/{}  loss {:.4} ", step.step, step.steps, step.loss);
        records.push(step);
    })?;
    eprintln!();
    let seconds = start.elapsed().as_secs_f64();
    training.save(&out.join("trained"))?;

    let (mut flat, mut shapes) = (Vec::new(), BTreeMap::new());
    for (name, tensor) in gradients {
        shapes.insert(name, json!({"start": flat.len() / 4, "shape": tensor.shape}));
        flat.extend(tensor.data.iter().flat_map(|value| value.to_le_bytes()));
    }
    let path = out.join("gradients.f32");
    fs::write(&path, flat).map_err(Error::io(&path))?;
    let texts: Vec<&str> = passages.iter().take(12).map(String::as_str).collect();
    let trained = Encoder::open_with(&out.join("trained"), Precision::F32)?;
    let report = json!({
        "scale": options.scale,
        "clip": options.clip,
        "weight_decay": options.weight_decay,
        "first_loss": first_loss,
        "gradients": shapes,
        "steps": plan.iter().zip(&records).map(|(step, record)| json!({
            "texts": step,
            "loss": record.loss,
            "learning_rate": record.learning_rate,
        })).collect::<Vec<_>>(),
        "texts": texts,
        "vectors": trained.embed(&texts)?,
        "max_tokens": trained.max_tokens(),
        "seconds": seconds,
        "tokens": records.iter().map(|record| record.tokens).sum::<usize>(),
    });
    let path = out.join("ours.json");
    fs::write(&path, report.to_string()).map_err(Error::io(&path))
}

/// The first `count` training queries with their documents, each with another query's document as a
/// negative.
fn data(beir: &Path, count: usize) -> Result<(Vec<TrainingQuestion>, Vec<String>)> {
    let documents = lines(&beir.join("corpus.jsonl"))?;
    let passages: Vec<String> = documents
        .iter()
        .map(|row| {
            format!(
                "{} {}",
                row["title"].as_str().unwrap_or_default(),
                row["text"].as_str().unwrap_or_default()
            )
        })
        .collect();
    let places: HashMap<&str, usize> = documents
        .iter()
        .enumerate()
        .filter_map(|(place, row)| Some((row["_id"].as_str()?, place)))
        .collect();
    let path = beir.join("qrels/train.tsv");
    let judged = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let mut positives: HashMap<&str, Vec<usize>> = HashMap::new();
    for line in judged.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [query, document, "1"] = fields[..] {
            positives.entry(query).or_default().extend(places.get(document));
        }
    }
    let rows = lines(&beir.join("queries.jsonl"))?;
    let asked = rows.iter().filter_map(|row| {
        let positives = positives.get(row["_id"].as_str()?)?.clone();
        let text = row["text"].as_str()?.to_owned();
        let far = |place: &usize| place % 97 == text.len() % 97 && !positives.contains(place);
        let negatives = (0..passages.len()).filter(far).collect();
        Some(TrainingQuestion { text, negatives, positives })
    });
    Ok((asked.take(count).collect(), passages))
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
