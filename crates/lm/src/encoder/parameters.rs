//! All weights of a BERT model in one vector, as its training needs them.

use std::ops::Range;

use super::config::{BertConfig, BertTensors};
use crate::Result;

/// A linear layer's place: weights `[outputs, inputs]`, row-major, and bias `[outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LinearAt {
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
}

/// A layer norm's place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NormAt {
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
}

/// Where the weights of one layer lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerAt {
    /// Queries, keys and values, one below the other.
    pub(super) qkv: LinearAt,
    pub(super) attention_out: LinearAt,
    pub(super) attention_norm: NormAt,
    pub(super) up: LinearAt,
    pub(super) down: LinearAt,
    pub(super) norm: NormAt,
}

/// Where each weight lies in the vector; gradients and moments lie alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ParameterLayout {
    /// `[vocabulary, hidden]`.
    pub(super) tokens: Range<usize>,
    /// `[positions, hidden]`.
    pub(super) positions: Range<usize>,
    /// `[types, hidden]`; texts are of the first type.
    pub(super) types: Range<usize>,
    pub(super) norm: NormAt,
    pub(super) layers: Vec<LayerAt>,
    /// Bare name, shape and place of every tensor, in order of place.
    tensors: Vec<(String, Vec<usize>, Range<usize>)>,
}

/// Gives out places, one behind the other.
#[derive(Default)]
struct Places {
    tensors: Vec<(String, Vec<usize>, Range<usize>)>,
}

impl Places {
    fn tensor(&mut self, name: String, shape: &[usize]) -> Range<usize> {
        let start = self.tensors.last().map_or(0, |(_, _, range)| range.end);
        let range = start..start + shape.iter().product::<usize>();
        self.tensors.push((name, shape.to_vec(), range.clone()));
        range
    }

    fn norm(&mut self, name: &str, width: usize) -> NormAt {
        NormAt {
            weight: self.tensor(format!("{name}.weight"), &[width]),
            bias: self.tensor(format!("{name}.bias"), &[width]),
        }
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) -> LinearAt {
        LinearAt {
            weight: self.tensor(format!("{name}.weight"), &[outputs, inputs]),
            bias: self.tensor(format!("{name}.bias"), &[outputs]),
        }
    }

    /// The layers called `names`, one below the other: all weights, then all biases.
    fn stacked(&mut self, names: [String; 3], outputs: usize, inputs: usize) -> LinearAt {
        let mut all = |kind: &str, shape: &[usize]| {
            let [first, _, last] =
                names.each_ref().map(|name| self.tensor(format!("{name}.{kind}"), shape));
            first.start..last.end
        };
        LinearAt { weight: all("weight", &[outputs, inputs]), bias: all("bias", &[outputs]) }
    }
}

impl ParameterLayout {
    pub(super) fn of(config: &BertConfig) -> Self {
        let BertConfig { hidden, inner, .. } = *config;
        let mut places = Places::default();
        let tokens =
            places.tensor("embeddings.word_embeddings.weight".into(), &[config.vocabulary, hidden]);
        let positions = places
            .tensor("embeddings.position_embeddings.weight".into(), &[config.positions, hidden]);
        let types = places
            .tensor("embeddings.token_type_embeddings.weight".into(), &[config.types, hidden]);
        let norm = places.norm("embeddings.LayerNorm", hidden);
        let layers = (0..config.layers).map(|layer| {
            let of_layer = |rest: &str| format!("encoder.layer.{layer}.{rest}");
            let parts =
                ["query", "key", "value"].map(|part| of_layer(&format!("attention.self.{part}")));
            LayerAt {
                qkv: places.stacked(parts, hidden, hidden),
                attention_out: places.linear(&of_layer("attention.output.dense"), hidden, hidden),
                attention_norm: places.norm(&of_layer("attention.output.LayerNorm"), hidden),
                up: places.linear(&of_layer("intermediate.dense"), inner, hidden),
                down: places.linear(&of_layer("output.dense"), hidden, inner),
                norm: places.norm(&of_layer("output.LayerNorm"), hidden),
            }
        });
        let layers = layers.collect();
        Self { tokens, positions, types, norm, layers, tensors: places.tensors }
    }

    /// Numbers in all.
    pub(super) fn len(&self) -> usize {
        self.tensors.last().map_or(0, |(_, _, range)| range.end)
    }

    /// Bare name, shape and place of every tensor, in order of place.
    pub(super) fn tensors(&self) -> &[(String, Vec<usize>, Range<usize>)] {
        &self.tensors
    }

    /// Reads all tensors into one vector.
    pub(super) fn read(&self, tensors: &BertTensors<'_>) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(self.len());
        for (name, shape, _) in &self.tensors {
            values.extend(tensors.read(name, shape)?);
        }
        Ok(values)
    }
}
