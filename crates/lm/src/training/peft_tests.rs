//! A tiny model in PyTorch + PEFT, recorded by `benches/training/peft_fixture.py`, and the same
//! here: logits, gradients and twenty steps of training.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use crate::adapter::Adapter;
use crate::files::float_file::FloatFile;
use crate::optim::{AdamW, AdamWOptions, Group, clip_norm};
use crate::{Decoder, DecoderConfig, Pack, Precision, Tensor, Workspace};

#[derive(serde::Deserialize)]
struct Expected {
    prompt: Vec<u32>,
    logits: Vec<Vec<f32>>,
    base_logits: Vec<f32>,
    examples: Vec<Sequence>,
    loss: f64,
    learning_rate: f64,
    clip: f64,
    losses: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Sequence {
    ids: Vec<u32>,
    mask: Vec<u8>,
}

struct Recorded {
    expected: Expected,
    decoder: Decoder,
    adapter: Adapter,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peft").join(name)
}

fn recorded() -> Recorded {
    let expected =
        serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap();
    let path = fixture("base.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = FloatFile::parse(&path, &bytes).unwrap();
    let decoder = Decoder::from_tensors(DecoderConfig::tiny(), Precision::F32, &mut |name| {
        let Some(shape) = file.shape(name) else { return Ok(None) };
        Ok(Some(Tensor { shape, data: file.singles(name)? }))
    })
    .unwrap();
    let adapter = Adapter::load(&fixture("adapter"), decoder.config()).unwrap();
    Recorded { expected, decoder, adapter }
}

impl Expected {
    fn pack(&self) -> Pack {
        let mut pack = Pack::default();
        self.examples.iter().for_each(|sequence| pack.push(&sequence.ids, &sequence.mask));
        pack
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn an_adapter_saved_by_peft_gives_pefts_logits() {
    let Recorded { expected, decoder, adapter } = recorded();
    let logits =
        |lora| decoder.forward_all(&expected.prompt, &mut decoder.new_cache(), lora).unwrap();
    assert!(largest_difference(&logits(Some(&adapter.lora)), &expected.logits.concat()) < 2e-5);
    let base = logits(None);
    let last = &base[base.len() - decoder.config().vocabulary..];
    assert!(largest_difference(last, &expected.base_logits) < 2e-5);
    assert!(adapter.prove_active(&decoder).unwrap() > 0.1);
}

#[test]
fn gradients_are_pytorchs() {
    let Recorded { expected, decoder, adapter: Adapter { lora, .. } } = recorded();
    let pack = expected.pack();
    let mut gradients = vec![0.0; lora.params.len()];
    let scale = 1.0 / pack.targets() as f32;
    let loss = decoder
        .loss_and_grad(&lora, &pack, scale, &mut gradients, &mut Workspace::default())
        .unwrap();
    assert_eq!(loss.tokens, pack.targets());
    assert!((loss.sum / loss.tokens as f64 - expected.loss).abs() < 1e-5 * expected.loss);

    let path = fixture("gradients.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = FloatFile::parse(&path, &bytes).unwrap();
    for module in lora.modules() {
        for (part, range) in [("lora_A", &module.a), ("lora_B", &module.b)] {
            let name = format!("base_model.model.{}.{part}.weight", module.name);
            let theirs = file.singles(&name).unwrap();
            let size = theirs.iter().map(|value| value.abs()).fold(0.0, f32::max);
            let difference = largest_difference(&gradients[range.clone()], &theirs);
            assert!(size > 0.0 && difference < 1e-4 * size, "{name}: {difference} of {size}");
        }
    }
}

#[test]
fn twenty_steps_follow_pefts_loss_curve() {
    let Recorded { expected, decoder, adapter: Adapter { mut lora, .. } } = recorded();
    let pack = expected.pack();
    let mut adam = AdamW::new(lora.params.len(), AdamWOptions::default());
    let all = [Group { range: 0..lora.params.len(), rate_scale: 1.0 }];
    let mut gradients = vec![0.0; lora.params.len()];
    let mut workspace = Workspace::default();
    for (step, theirs) in expected.losses.iter().enumerate() {
        gradients.fill(0.0);
        let scale = 1.0 / pack.targets() as f32;
        let loss =
            decoder.loss_and_grad(&lora, &pack, scale, &mut gradients, &mut workspace).unwrap();
        let ours = loss.sum / loss.tokens as f64;
        assert!((ours - theirs).abs() < 1e-3 * theirs, "step {step}: {ours} here, {theirs} there");
        clip_norm(&mut gradients, expected.clip);
        adam.update(&mut lora.params, &gradients, expected.learning_rate, &all);
    }
}
