//! The whole model in f64, straight from the formulas: slow, short, and independent of the
//! operators.

use super::weights::random_tensor;
use crate::{Activation, DecoderConfig, Lora, Pack, Projection, Tensor};

/// Where the weights of a reference model come from.
pub(super) type Weights<'a> = dyn Fn(&str) -> Option<Tensor> + 'a;

/// The weights of [`Decoder::random`](crate::Decoder::random).
pub(super) fn random_weights(config: &DecoderConfig, seed: u64) -> impl Fn(&str) -> Option<Tensor> {
    move |name| (!name.ends_with(".bias")).then(|| random_tensor(config, name, seed))
}

/// An adapter with its parameters in f64, so that differences of them are exact enough.
#[derive(Clone)]
pub(super) struct Adapter<'a> {
    pub(super) lora: &'a Lora,
    pub(super) params: Vec<f64>,
}

impl<'a> Adapter<'a> {
    pub(super) fn of(lora: &'a Lora) -> Self {
        Self { lora, params: lora.params.iter().map(|&p| f64::from(p)).collect() }
    }
}

type Rows = Vec<Vec<f64>>;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn get(weights: &Weights<'_>, name: &str) -> Vec<f64> {
    let tensor = weights(name).unwrap_or_else(|| panic!("no {name}"));
    tensor.data.into_iter().map(f64::from).collect()
}

fn linear(
    weights: &Weights<'_>,
    layer: usize,
    projection: Projection,
    adapter: Option<&Adapter<'_>>,
    x: &Rows,
) -> Rows {
    let name = projection.module_name(layer);
    let w = get(weights, &format!("{name}.weight"));
    let bias = weights(&format!("{name}.bias"));
    let module = adapter.and_then(|a| Some((a, a.lora.module(layer, projection)?)));
    x.iter()
        .map(|x| {
            let mut y: Vec<f64> = w.chunks(x.len()).map(|row| dot(row, x)).collect();
            if let Some(bias) = &bias {
                y.iter_mut().zip(&bias.data).for_each(|(y, &b)| *y += f64::from(b));
            }
            if let Some((adapter, module)) = module {
                let (a, b) = (&adapter.params[module.a.clone()], &adapter.params[module.b.clone()]);
                let low: Vec<f64> = a.chunks(x.len()).map(|row| dot(row, x)).collect();
                let scaling = f64::from(adapter.lora.scaling());
                y.iter_mut()
                    .zip(b.chunks(low.len()))
                    .for_each(|(y, row)| *y += scaling * dot(row, &low));
            }
            y
        })
        .collect()
}

fn norm(weights: &Weights<'_>, name: &str, eps: f32, x: &Rows) -> Rows {
    let w = get(weights, name);
    x.iter()
        .map(|x| {
            let inverse = 1.0 / (dot(x, x) / x.len() as f64 + f64::from(eps)).sqrt();
            x.iter().zip(&w).map(|(x, w)| x * inverse * w).collect()
        })
        .collect()
}

/// Each head of each row as a row of its own, normalised.
fn norm_heads(weights: &Weights<'_>, name: &str, config: &DecoderConfig, x: &Rows) -> Rows {
    let heads: Rows =
        x.iter().flat_map(|row| row.chunks(config.head_dim)).map(<[f64]>::to_vec).collect();
    let normed = norm(weights, name, config.rms_norm_eps, &heads);
    normed.chunks(x[0].len() / config.head_dim).map(|heads| heads.concat()).collect()
}

fn rotate(config: &DecoderConfig, frequencies: &[f32], x: &mut Rows) {
    let half = config.head_dim / 2;
    for (position, row) in x.iter_mut().enumerate() {
        for head in row.chunks_mut(config.head_dim) {
            for i in 0..half {
                let (sine, cosine) = f64::from(position as f32 * frequencies[i]).sin_cos();
                let (a, b) = (head[i], head[i + half]);
                head[i] = a * cosine - b * sine;
                head[i + half] = b * cosine + a * sine;
            }
        }
    }
}

/// Causal attention of each token over at most `window` tokens, head by head.
fn attend(config: &DecoderConfig, window: usize, [q, k, v]: [&Rows; 3]) -> Rows {
    let (d, group) = (config.head_dim, config.heads / config.kv_heads);
    let scale = f64::from(config.query_scalar).sqrt();
    let mut attended = vec![vec![0.0; config.heads * d]; q.len()];
    for i in 0..q.len() {
        for head in 0..config.heads {
            let kv = head / group * d..(head / group + 1) * d;
            let q = &q[i][head * d..][..d];
            let score = |j: usize| match i - j < window {
                true => (dot(q, &k[j][kv.clone()]) / scale).exp(),
                false => 0.0,
            };
            let scores: Vec<f64> = (0..=i).map(score).collect();
            let total: f64 = scores.iter().sum();
            for (j, score) in scores.iter().enumerate() {
                for (c, &v) in v[j][kv.clone()].iter().enumerate() {
                    attended[i][head * d + c] += score / total * v;
                }
            }
        }
    }
    attended
}

/// Logits after each token of one sequence.
pub(super) fn logits(
    config: &DecoderConfig,
    weights: &Weights<'_>,
    adapter: Option<&Adapter<'_>>,
    ids: &[u32],
) -> Rows {
    let embedding = get(weights, "model.embed_tokens.weight");
    let table: Vec<&[f64]> = embedding.chunks(config.hidden).collect();
    let scale = f64::from(config.embedding_scale);
    let mut x: Rows =
        ids.iter().map(|&id| table[id as usize].iter().map(|x| scale * x).collect()).collect();
    let add = |x: &mut Rows, y: Rows| {
        x.iter_mut().flatten().zip(y.into_iter().flatten()).for_each(|(x, y)| *x += y);
    };
    for layer in 0..config.layers {
        let linear = |projection, x: &Rows| linear(weights, layer, projection, adapter, x);
        let h = norm(
            weights,
            &format!("model.layers.{layer}.input_layernorm.weight"),
            config.rms_norm_eps,
            &x,
        );
        let (mut q, mut k) = (linear(Projection::Query, &h), linear(Projection::Key, &h));
        let v = linear(Projection::Value, &h);
        if config.query_key_norm {
            let of = |part| format!("model.layers.{layer}.self_attn.{part}.weight");
            q = norm_heads(weights, &of("q_norm"), config, &q);
            k = norm_heads(weights, &of("k_norm"), config, &k);
        }
        let window = config.window(layer).unwrap_or(usize::MAX);
        let global = config.rotary_frequencies();
        let frequencies = match config.window(layer) {
            Some(_) => config.sliding_frequencies().unwrap_or(global),
            None => global,
        };
        rotate(config, &frequencies, &mut q);
        rotate(config, &frequencies, &mut k);
        let attended = attend(config, window, [&q, &k, &v]);
        let of = |part| format!("model.layers.{layer}.{part}_layernorm.weight");
        let post = |part, x: Rows| match config.post_norms {
            true => norm(weights, &of(part), config.rms_norm_eps, &x),
            false => x,
        };
        add(&mut x, post("post_attention", linear(Projection::Output, &attended)));
        let name = of(if config.post_norms { "pre_feedforward" } else { "post_attention" });
        let h = norm(weights, &name, config.rms_norm_eps, &x);
        let (gate, up) = (linear(Projection::Gate, &h), linear(Projection::Up, &h));
        let active = |g: f64| match config.activation {
            Activation::Silu => g / (1.0 + (-g).exp()),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (g + 0.044715 * g.powi(3));
                0.5 * g * (1.0 + inner.tanh())
            }
        };
        let gated = gate
            .iter()
            .zip(&up)
            .map(|(g, u)| g.iter().zip(u).map(|(&g, u)| active(g) * u).collect())
            .collect();
        add(&mut x, post("post_feedforward", linear(Projection::Down, &gated)));
    }
    let h = norm(weights, "model.norm.weight", config.rms_norm_eps, &x);
    let head = if config.tied_embeddings { embedding } else { get(weights, "lm_head.weight") };
    h.iter().map(|h| head.chunks(config.hidden).map(|row| dot(row, h)).collect()).collect()
}

/// Negative log-likelihood of the targets of a pack, sequence by sequence.
pub(super) fn loss(
    config: &DecoderConfig,
    weights: &Weights<'_>,
    adapter: Option<&Adapter<'_>>,
    pack: &Pack,
) -> f64 {
    let mut sum = 0.0;
    for (ids, mask) in pack.sequences() {
        let rows = logits(config, weights, adapter, &ids);
        for i in (1..ids.len()).filter(|&i| mask[i] != 0) {
            let row = &rows[i - 1];
            let total: f64 = row.iter().map(|x| x.exp()).sum();
            sum += total.ln() - row[ids[i] as usize];
        }
    }
    sum
}
