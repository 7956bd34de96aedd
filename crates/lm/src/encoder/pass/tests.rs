#![allow(clippy::unwrap_used)]
use std::path::{Path, PathBuf};

use super::*;
use crate::Encoder;
use crate::encoder::config::BertTensors;
use crate::files::{Shards, read_json};
use crate::ops::testing::{noise, slope};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-bert")
}

struct Tiny {
    config: BertConfig,
    layout: ParameterLayout,
    values: Vec<f32>,
}

impl Tiny {
    fn open() -> Self {
        let path = folder().join("config.json");
        let config = BertConfig::read(&read_json(&path).unwrap(), &path).unwrap();
        let shards = Shards::open(&folder()).unwrap();
        let layout = ParameterLayout::of(&config);
        let values = layout.read(&BertTensors::of(&shards, &path).unwrap()).unwrap();
        Self { config, layout, values }
    }

    fn model<'a>(&'a self, values: &'a [f32]) -> BertWeights<'a> {
        BertWeights { config: &self.config, layout: &self.layout, values, rounded: false }
    }
}

/// Texts of several lengths, one of a single token.
fn texts() -> Vec<Vec<u32>> {
    [9, 1, 23, 4]
        .iter()
        .map(|length| (0..*length).map(|at| (at * 37 + length) % 300).collect())
        .collect()
}

fn slices(texts: &[Vec<u32>]) -> Vec<&[u32]> {
    texts.iter().map(Vec::as_slice).collect()
}

fn gradients(tiny: &Tiny, texts: &[&[u32]], d_vectors: &[f32]) -> Vec<f32> {
    gradients_in(tiny, texts, d_vectors, false)
}

fn gradients_in(tiny: &Tiny, texts: &[&[u32]], d_vectors: &[f32], rounded: bool) -> Vec<f32> {
    let model = BertWeights { rounded, ..tiny.model(&tiny.values) };
    let mut gradients = vec![0.0; tiny.values.len()];
    model.backward(texts, &model.forward(texts).unwrap(), d_vectors, &mut gradients);
    gradients
}

#[test]
fn vectors_are_those_of_inference() {
    let tiny = Tiny::open();
    let encoder = Encoder::open_with(&folder(), crate::Precision::F32).unwrap();
    let texts = ["a short text", "something else entirely", "word"];
    let ids: Vec<Vec<u32>> =
        texts.iter().map(|text| encoder.tokenizer.encode_framed(text).unwrap()).collect();
    let kept = tiny.model(&tiny.values).forward(&slices(&ids)).unwrap();
    let expected = encoder.embed(&texts).unwrap().concat();
    for (ours, expected) in kept.vectors().iter().zip(&expected) {
        assert!((ours - expected).abs() < 2e-6, "{ours} {expected}");
    }
    assert!(matches!(
        tiny.model(&tiny.values).forward(&[&[300]]),
        Err(Error::TokenOutOfRange { .. })
    ));
}

#[test]
fn the_gradient_of_every_weight_matches_differences() {
    let tiny = Tiny::open();
    let texts = texts();
    let texts = slices(&texts);
    let d_vectors = noise(1, texts.len() * tiny.config.hidden);
    let found = gradients(&tiny, &texts, &d_vectors);
    let mut values = tiny.values.clone();
    let mut loss = |values: &[f32]| -> f64 {
        let kept = tiny.model(values).forward(&texts).unwrap();
        kept.vectors().iter().zip(&d_vectors).map(|(x, d)| f64::from(*x) * f64::from(*d)).sum()
    };
    for (name, _, range) in tiny.layout.tensors() {
        let gradient = &found[range.clone()];
        let size = gradient.iter().fold(0f32, |size, d| size.max(d.abs()));
        // A bias of all keys moves all scores of a query alike, which changes nothing.
        if name.ends_with("key.bias") {
            assert!(size < 1e-4, "{name}: {size}");
            continue;
        }
        assert!(size > 1e-3, "{name} gets no gradient: {size}");
        // The steepest, and some others.
        let steepest =
            (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs()));
        for at in (0..gradient.len()).step_by(gradient.len().div_ceil(5)).chain(steepest) {
            let expected = slope(&mut values, range.start + at, 3e-3, &mut loss);
            let difference = (f64::from(gradient[at]) - expected).abs();
            assert!(
                difference < 0.02 * f64::from(size),
                "{name} at {at}: {} {expected}",
                gradient[at]
            );
        }
    }
}

#[test]
fn texts_in_one_pass_get_the_gradients_of_texts_one_by_one() {
    let tiny = Tiny::open();
    let (texts, hidden) = (texts(), tiny.config.hidden);
    let d_vectors = noise(2, texts.len() * hidden);
    let together = gradients(&tiny, &slices(&texts), &d_vectors);
    let mut alone = vec![0.0; together.len()];
    for (text, d) in texts.iter().zip(d_vectors.chunks_exact(hidden)) {
        add(&mut alone, &gradients(&tiny, &[text], d));
    }
    let size = together.iter().fold(0f32, |size, d| size.max(d.abs()));
    assert!(together.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5 * size));
}

#[test]
fn gradients_in_bf16_point_where_those_in_f32_do() {
    let tiny = Tiny::open();
    let texts = texts();
    let d_vectors = noise(4, texts.len() * tiny.config.hidden);
    let exact = gradients(&tiny, &slices(&texts), &d_vectors);
    let rounded = gradients_in(&tiny, &slices(&texts), &d_vectors, true);
    assert_ne!(exact, rounded);
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    for (name, _, range) in tiny.layout.tensors() {
        let (exact, rounded) = (&exact[range.clone()], &rounded[range.clone()]);
        let cosine =
            product(exact, rounded) / (product(exact, exact) * product(rounded, rounded)).sqrt();
        assert!(cosine > 0.999 || name.ends_with("key.bias"), "{name}: {cosine}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let tiny = Tiny::open();
    // Long enough that threads share the work.
    let texts: Vec<Vec<u32>> =
        (0..40).map(|text| (0..60).map(|at| (at * 31 + text * 7) % 300).collect()).collect();
    let d_vectors = noise(3, texts.len() * tiny.config.hidden);
    for rounded in [false, true] {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| gradients_in(&tiny, &slices(&texts), &d_vectors, rounded))
        };
        let one = run(1);
        assert!(one.iter().any(|d| *d != 0.0));
        for threads in [2, 3, 5] {
            assert!(run(threads) == one, "{threads} threads");
        }
    }
}
