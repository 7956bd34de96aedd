//! Low-rank adapters (Hu et al. 2021) on the linear projections, with the parameters in one flat
//! vector.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{DecoderConfig, Error, Result};

/// A linear projection of a decoder layer that an adapter may stand on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Projection {
    /// Queries.
    #[serde(rename = "q_proj")]
    Query,
    /// Keys.
    #[serde(rename = "k_proj")]
    Key,
    /// Values.
    #[serde(rename = "v_proj")]
    Value,
    /// Attention output.
    #[serde(rename = "o_proj")]
    Output,
    /// Gate of the feed-forward layer.
    #[serde(rename = "gate_proj")]
    Gate,
    /// Up projection of the feed-forward layer.
    #[serde(rename = "up_proj")]
    Up,
    /// Down projection of the feed-forward layer.
    #[serde(rename = "down_proj")]
    Down,
}

impl Projection {
    /// All seven, in the order they are computed.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Name in Hugging Face checkpoints and in PEFT's `target_modules`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The projection of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|projection| projection.name() == name)
    }

    /// Full module name in layer `layer`, e.g. `model.layers.3.self_attn.q_proj`.
    pub fn module_name(self, layer: usize) -> String {
        let block = match self {
            Self::Query | Self::Key | Self::Value | Self::Output => "self_attn",
            Self::Gate | Self::Up | Self::Down => "mlp",
        };
        format!("model.layers.{layer}.{block}.{}", self.name())
    }

    /// `(inputs, outputs)` of the projection.
    pub fn shape(self, config: &DecoderConfig) -> (usize, usize) {
        match self {
            Self::Query => (config.hidden, config.query_width()),
            Self::Key | Self::Value => (config.hidden, config.kv_width()),
            Self::Output => (config.query_width(), config.hidden),
            Self::Gate | Self::Up => (config.hidden, config.intermediate),
            Self::Down => (config.intermediate, config.hidden),
        }
    }
}

/// Projections that read the same input: computed as one product, their `A` matrices one after the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Qkv,
    Output,
    GateUp,
    Down,
}

impl Group {
    pub(crate) const ALL: [Self; 4] = [Self::Qkv, Self::Output, Self::GateUp, Self::Down];

    fn members(self) -> &'static [Projection] {
        match self {
            Self::Qkv => &[Projection::Query, Projection::Key, Projection::Value],
            Self::Output => &[Projection::Output],
            Self::GateUp => &[Projection::Gate, Projection::Up],
            Self::Down => &[Projection::Down],
        }
    }
}

/// The adapted projections of one group in one layer.
pub(crate) struct Stack<'a> {
    /// Ranks of the members together.
    pub(crate) rank: usize,
    /// Place of the stacked `A`, `[rank, inputs]`.
    pub(crate) a: Range<usize>,
    /// Each member, and the column at which its output starts in the group's joint output.
    pub(crate) members: Vec<(&'a Module, usize)>,
}

/// Size and place of an adapter.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LoraConfig {
    /// Rank of each update.
    pub rank: usize,
    /// Updates are scaled by `alpha / rank`.
    pub alpha: f32,
    /// Projections that get an update, in every layer.
    pub targets: Vec<Projection>,
}

impl Default for LoraConfig {
    /// Rank 16, alpha 32, all seven projections.
    fn default() -> Self {
        Self { rank: 16, alpha: 32.0, targets: Projection::ALL.to_vec() }
    }
}

/// One adapted projection and where its parameters lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Full name, e.g. `model.layers.3.self_attn.q_proj`.
    pub name: String,
    /// Layer number.
    pub layer: usize,
    /// Which projection.
    pub projection: Projection,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
    /// Place of `A`, `[rank, inputs]` row-major, in the parameters.
    pub a: Range<usize>,
    /// Place of `B`, `[outputs, rank]` row-major, in the parameters.
    pub b: Range<usize>,
}

/// A low-rank adapter: `y += (x Aᵀ) Bᵀ * alpha / rank` on each module. Gradients use the same
/// layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    config: LoraConfig,
    /// Shape of the decoder it was made for.
    shape: [usize; 5],
    modules: Vec<Module>,
    /// `index[layer * 7 + projection]` is the position in `modules`.
    index: Vec<Option<usize>>,
    /// All parameters; [`Module::a`] and [`Module::b`] say which are whose.
    pub params: Vec<f32>,
}

impl Lora {
    /// A fresh adapter as PEFT makes it: `A` uniform in ±1/√inputs (Kaiming with a = √5), `B` zero,
    /// so that it changes nothing until trained. Equal seeds give equal parameters on every
    /// machine.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the rank is zero, larger than a projection, or no projection is
    /// named.
    pub fn new(decoder: &DecoderConfig, config: LoraConfig, seed: u64) -> Result<Self> {
        let mut lora = Self::zeros(decoder, config)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for module in &lora.modules {
            let bound = 1.0 / (module.inputs as f32).sqrt();
            for value in &mut lora.params[module.a.clone()] {
                // 24 random bits fill the mantissa of an f32 exactly.
                let unit = (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32;
                *value = (2.0 * unit - 1.0) * bound;
            }
        }
        Ok(lora)
    }

    /// An adapter whose parameters are all zero, to be filled from a file.
    ///
    /// # Errors
    /// As [`Lora::new`].
    pub fn zeros(decoder: &DecoderConfig, mut config: LoraConfig) -> Result<Self> {
        let wrong = |reason: String| Err(Error::Mismatch { what: "adapter", reason });
        config.targets.sort_unstable();
        config.targets.dedup();
        if config.targets.is_empty() {
            return wrong("no projection is targeted".into());
        }
        if !config.alpha.is_finite() {
            return wrong(format!("alpha is {}", config.alpha));
        }
        for projection in &config.targets {
            let (inputs, outputs) = projection.shape(decoder);
            if config.rank == 0 || config.rank > inputs.min(outputs) {
                return wrong(format!(
                    "rank {} on a {outputs}x{inputs} {}",
                    config.rank,
                    projection.name()
                ));
            }
        }
        let mut modules = Vec::with_capacity(decoder.layers * config.targets.len());
        let mut index = vec![None; decoder.layers * Projection::ALL.len()];
        let mut end = 0;
        let mut take = |length: usize| {
            end += length;
            end - length..end
        };
        for layer in 0..decoder.layers {
            for group in Group::ALL {
                let members = || {
                    group
                        .members()
                        .iter()
                        .copied()
                        .filter(|projection| config.targets.contains(projection))
                };
                let rows: Vec<_> =
                    members().map(|p| take(config.rank * p.shape(decoder).0)).collect();
                for (projection, a) in members().zip(rows) {
                    let (inputs, outputs) = projection.shape(decoder);
                    index[layer * Projection::ALL.len() + projection as usize] =
                        Some(modules.len());
                    let name = projection.module_name(layer);
                    let b = take(outputs * config.rank);
                    modules.push(Module { name, layer, projection, inputs, outputs, a, b });
                }
            }
        }
        let params = vec![0.0; end];
        Ok(Self { config, shape: shape_of(decoder), modules, index, params })
    }

    /// Rank, alpha and targets.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// `alpha / rank`.
    pub fn scaling(&self) -> f32 {
        self.config.alpha / self.config.rank as f32
    }

    /// The adapted projections, by layer, in the order they are computed.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The module on `projection` in `layer`, if it is adapted.
    pub fn module(&self, layer: usize, projection: Projection) -> Option<&Module> {
        let at = self
            .index
            .get(layer * Projection::ALL.len() + projection as usize)
            .copied()
            .flatten()?;
        self.modules.get(at)
    }

    /// The adapted projections of a group, or `None` where none is.
    pub(crate) fn stack(&self, layer: usize, group: Group) -> Option<Stack<'_>> {
        let [_, hidden, intermediate, query, kv] = self.shape;
        let mut members = Vec::with_capacity(3);
        let mut column = 0;
        for &projection in group.members() {
            members.extend(self.module(layer, projection).map(|module| (module, column)));
            column += match projection {
                Projection::Query => query,
                Projection::Key | Projection::Value => kv,
                Projection::Gate | Projection::Up => intermediate,
                Projection::Output | Projection::Down => hidden,
            };
        }
        let a = members.first()?.0.a.start..members.last()?.0.a.end;
        Some(Stack { rank: members.len() * self.config.rank, a, members })
    }

    /// `(A, B)` of a module: `[rank, inputs]` and `[outputs, rank]`, row-major.
    pub fn views(&self, module: &Module) -> (&[f32], &[f32]) {
        (&self.params[module.a.clone()], &self.params[module.b.clone()])
    }

    /// Refuses an adapter made for a decoder of another shape, or whose parameters were cut.
    pub(crate) fn check_fits(&self, decoder: &DecoderConfig) -> Result<()> {
        let wrong = |reason| Err(Error::Mismatch { what: "adapter", reason });
        let (found, needed) = (self.shape, shape_of(decoder));
        if found != needed {
            return wrong(format!(
                "its [layers, hidden, intermediate, query, kv] is {found:?}, not {needed:?}"
            ));
        }
        let parameters: usize =
            self.modules.iter().map(|module| module.a.len() + module.b.len()).sum();
        if self.params.len() != parameters {
            return wrong(format!(
                "it has {} parameters, its modules need {parameters}",
                self.params.len()
            ));
        }
        Ok(())
    }
}

/// What the shapes of all projections follow from.
fn shape_of(decoder: &DecoderConfig) -> [usize; 5] {
    [
        decoder.layers,
        decoder.hidden,
        decoder.intermediate,
        decoder.query_width(),
        decoder.kv_width(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_tile_the_parameters() {
        let decoder = DecoderConfig::tiny();
        let lora = Lora::new(&decoder, LoraConfig { rank: 3, ..LoraConfig::default() }, 1).unwrap();
        assert_eq!(lora.modules().len(), 14);
        let mut owner = vec![0; lora.params.len()];
        for module in lora.modules() {
            assert_eq!(module.a.len(), 3 * module.inputs);
            assert_eq!(module.b.len(), 3 * module.outputs);
            module.a.clone().chain(module.b.clone()).for_each(|at| owner[at] += 1);
            assert_eq!(lora.module(module.layer, module.projection), Some(module));
        }
        assert!(owner.iter().all(|&n| n == 1));
        assert_eq!(lora.modules()[7].name, "model.layers.1.self_attn.q_proj");
        assert_eq!(lora.modules()[13].name, "model.layers.1.mlp.down_proj");
    }

    #[test]
    fn a_is_uniform_within_the_bound_and_b_is_zero() {
        let decoder = DecoderConfig { hidden: 256, ..DecoderConfig::tiny() };
        let lora = Lora::new(&decoder, LoraConfig::default(), 7).unwrap();
        assert_eq!(lora, Lora::new(&decoder, LoraConfig::default(), 7).unwrap());
        assert_ne!(lora, Lora::new(&decoder, LoraConfig::default(), 8).unwrap());
        let (a, b) = lora.views(lora.module(0, Projection::Query).unwrap());
        assert!(b.iter().all(|&x| x == 0.0));
        assert!(a.iter().all(|x| x.abs() <= 1.0 / 16.0));
        let variance = a.iter().map(|x| x * x).sum::<f32>() / a.len() as f32;
        assert!((variance - 1.0 / 768.0).abs() < 1e-4, "{variance}");
    }

    #[test]
    fn impossible_adapters_are_refused() {
        let decoder = DecoderConfig::tiny();
        let refused = |config| Lora::new(&decoder, config, 0).unwrap_err().to_string();
        assert!(refused(LoraConfig { rank: 0, ..LoraConfig::default() }).contains("rank 0"));
        assert!(refused(LoraConfig { rank: 1000, ..LoraConfig::default() }).contains("rank 1000"));
        assert!(
            refused(LoraConfig { targets: vec![], ..LoraConfig::default() })
                .contains("no projection")
        );
        let other = DecoderConfig { layers: 3, ..decoder.clone() };
        let lora = Lora::new(&other, LoraConfig { rank: 2, ..LoraConfig::default() }, 0).unwrap();
        assert!(lora.check_fits(&decoder).is_err());
        assert!(lora.check_fits(&other).is_ok());
        let mut cut = lora.clone();
        cut.params.pop();
        assert!(cut.check_fits(&other).is_err());
    }
}
