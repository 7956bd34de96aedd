//! Speed of the engine on a model of SmolLM2-135M's shape with random weights: no files needed.
//!
//! `cargo bench -p tunesmith-lm --bench engine [-- bf16|f32] [prefill|decode|batch|train]`. Figures are the best of several
//! runs, for a busy machine only ever adds time.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use lm::{BatchInput, Decoder, DecoderConfig, Lora, LoraConfig, Pack, Precision, RopeScaling, Workspace};
use tunesmith_lm as lm;

fn smollm2() -> DecoderConfig {
    DecoderConfig {
        hidden: 576,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        intermediate: 1536,
        vocabulary: 49152,
        max_positions: 8192,
        rms_norm_eps: 1e-5,
        rope_theta: 100_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: true,
    }
}

/// Tokens per second of the fastest of `runs` runs, each of which handles `tokens` tokens.
fn best(runs: usize, tokens: usize, mut run: impl FnMut()) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        run();
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    tokens as f64 / fastest
}

fn ids(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| i * 7919 % 40_000 + 100).collect()
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let (precisions, works): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|c| c == "bf16" || c == "f32");
    let wanted = |work: &str| works.is_empty() || works.iter().any(|w| w == work);
    for precision in [Precision::Bf16, Precision::F32] {
        let name = format!("{precision:?}").to_lowercase();
        if !precisions.is_empty() && !precisions.contains(&name) {
            continue;
        }
        let decoder = Decoder::random(smollm2(), 1, precision).unwrap();
        let mut lora = Lora::new(decoder.config(), LoraConfig::default(), 1).unwrap();
        lora.params.iter_mut().for_each(|p| *p += 1e-3);
        if wanted("prefill") {
            let prompt = ids(1024);
            for (with, adapter) in [("base", None), ("adapter", Some(&lora))] {
                let speed = best(4, 1024, || {
                    decoder.forward(&prompt, &mut decoder.new_cache(), adapter).unwrap();
                });
                println!("{name} prefill 1024, {with}: {speed:.0} tokens/s");
            }
        }
        if wanted("decode") {
            let mut full = decoder.new_cache();
            decoder.forward(&ids(1024), &mut full, None).unwrap();
            for context in [64, 1024] {
                full.truncate(context);
                for (with, adapter) in [("base", None), ("adapter", Some(&lora))] {
                    let speed = best(6, 16, || {
                        let mut cache = full.clone();
                        for id in ids(16) {
                            decoder.forward(&[id], &mut cache, adapter).unwrap();
                        }
                    });
                    println!("{name} decode at {context}, {with}: {speed:.0} tokens/s");
                }
            }
        }
        if wanted("batch") {
            let mut start = decoder.new_cache();
            decoder.forward(&ids(512), &mut start, None).unwrap();
            for size in [4, 8, 16] {
                let mut caches = vec![start.clone(); size];
                let speed = best(6, 8 * size, || {
                    caches.iter_mut().for_each(|cache| cache.truncate(512));
                    for id in ids(8) {
                        let mut inputs: Vec<_> = caches
                            .iter_mut()
                            .map(|cache| BatchInput { ids: std::slice::from_ref(&id), cache })
                            .collect();
                        decoder.forward_batch(&mut inputs, None).unwrap();
                    }
                });
                println!("{name} decode of {size} sequences at 512: {speed:.0} tokens/s");
            }
        }
        if wanted("train") {
            let mut pack = Pack::default();
            pack.push(&ids(512), &[[0; 384].as_slice(), &[1; 128]].concat());
            let mut short = Pack::default();
            for _ in 0..8 {
                short.push(&ids(64), &[[0; 48].as_slice(), &[1; 16]].concat());
            }
            let (mut grads, mut workspace) = (vec![0.0; lora.params.len()], Workspace::default());
            for (what, pack) in [("one sequence", &pack), ("8 sequences", &short)] {
                let speed = best(4, 512, || {
                    decoder.loss_and_grad(&lora, pack, 1.0 / 128.0, &mut grads, &mut workspace).unwrap();
                });
                println!("{name} train 512 tokens, 128 targets, {what}: {speed:.0} tokens/s");
            }
        }
    }
}
