//! Adapters on disk, in the layout of Hugging Face PEFT: `adapter_config.json` beside
//! `adapter_model.safetensors`, so that `peft`, vLLM and others load what was trained here, and the
//! reverse.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::DecoderConfig;
use crate::adapter::{Lora, LoraConfig, Projection};
use crate::decoder::Decoder;
use crate::files::float_file::{self, FloatFile, Floats, Values};
use crate::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// PEFT's name of the wrapped model, before the module's own name.
const PREFIX: &str = "base_model.model.";
/// Metadata key of the base model's hash; PEFT ignores it.
const IDENTITY: &str = "base_identity";

/// An adapter and the model it was trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The weights.
    pub lora: Lora,
    /// Name of the base model, as the trainer called it.
    pub base_name: String,
    /// Hash of the base model's file, if the adapter says (those made here do).
    pub base_identity: Option<String>,
}

/// The fields of `adapter_config.json` that are written, and of these the ones that are read.
#[derive(Debug, Serialize, Deserialize)]
struct PeftConfig {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f32,
    target_modules: Targets,
    #[serde(default)]
    lora_dropout: f32,
    #[serde(default = "none")]
    bias: String,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    rank_pattern: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, serde_json::Value>,
    #[serde(default = "yes")]
    inference_mode: bool,
}

/// PEFT takes a list of module names or one pattern.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Targets {
    Names(Vec<String>),
    Pattern(String),
}

fn none() -> String {
    "none".into()
}

fn yes() -> bool {
    true
}

impl Adapter {
    /// Writes the adapter as folder `folder`, replacing an adapter that is there.
    ///
    /// The new folder is made whole beside the old one and then takes its name.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Adapter`] when `folder` exists and holds something else than an
    /// adapter.
    pub fn save(&self, folder: &Path) -> Result<()> {
        if folder.exists() && !is_adapter_or_empty(folder) {
            let reason = format!("the folder exists and holds no {CONFIG}; it is left as it is");
            return Err(Error::Adapter { path: folder.to_owned(), reason });
        }
        let partial = beside(folder, "partial");
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(Error::io(&partial))?;
        let result = self.write_into(&partial).and_then(|()| swap(&partial, folder));
        if result.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_dir_all(&partial);
        }
        result
    }

    fn write_into(&self, folder: &Path) -> Result<()> {
        let LoraConfig { rank, alpha, ref targets } = *self.lora.config();
        let config = PeftConfig {
            peft_type: "LORA".into(),
            task_type: Some("CAUSAL_LM".into()),
            base_model_name_or_path: Some(self.base_name.clone()),
            r: rank,
            lora_alpha: alpha,
            target_modules: Targets::Names(
                targets.iter().map(|target| target.name().to_owned()).collect(),
            ),
            lora_dropout: 0.0,
            bias: none(),
            fan_in_fan_out: false,
            use_rslora: false,
            use_dora: false,
            modules_to_save: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            inference_mode: true,
        };
        let path = folder.join(CONFIG);
        let text = serde_json::to_string_pretty(&config)
            .map_err(|error| Error::Adapter { path: path.clone(), reason: error.to_string() })?;
        fs::write(&path, text + "\n").map_err(Error::io(&path))?;

        let mut tensors = Vec::with_capacity(2 * self.lora.modules().len());
        for module in self.lora.modules() {
            let (a, b) = self.lora.views(module);
            for (part, shape, values) in [
                ("lora_A", vec![rank, module.inputs], a),
                ("lora_B", vec![module.outputs, rank], b),
            ] {
                let name = format!("{PREFIX}{}.{part}.weight", module.name);
                tensors.push(Floats { name, shape, values: Values::Single(values) });
            }
        }
        let mut metadata: BTreeMap<String, String> = [("format".into(), "pt".into())].into();
        if let Some(identity) = &self.base_identity {
            metadata.insert(IDENTITY.into(), identity.clone());
        }
        float_file::write(&folder.join(WEIGHTS), &tensors, &metadata)
    }

    /// Reads an adapter made for a decoder of this shape.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`]; [`Error::Adapter`] when it is no plain LoRA, targets
    /// what the decoder lacks, misses a tensor, has one too many or of another shape, holds a
    /// number that is not finite, or has every `B` zero, in which case the model would silently
    /// answer as its base.
    pub fn load(folder: &Path, decoder: &DecoderConfig) -> Result<Self> {
        let refuse = |reason: String| Error::Adapter { path: folder.to_owned(), reason };
        let path = folder.join(CONFIG);
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let config: PeftConfig =
            serde_json::from_slice(&text).map_err(Error::malformed(&path, CONFIG))?;
        let lora_config = config.plain_lora(refuse)?;
        let mut lora = Lora::zeros(decoder, lora_config)?;

        let path = folder.join(WEIGHTS);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let file = FloatFile::parse(&path, &bytes)?;
        let rank = lora.config().rank;
        let mut known = Vec::new();
        for module in lora.modules().to_vec() {
            for (part, shape, range) in [
                ("lora_A", [rank, module.inputs], module.a),
                ("lora_B", [module.outputs, rank], module.b),
            ] {
                let name = format!("{PREFIX}{}.{part}.weight", module.name);
                match file.shape(&name) {
                    None => return Err(refuse(format!("there is no tensor `{name}`"))),
                    Some(found) if found != shape => {
                        return Err(refuse(format!(
                            "tensor `{name}` has shape {found:?}, this model needs {shape:?}"
                        )));
                    }
                    Some(_) => {}
                }
                let values = file.singles(&name)?;
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    return Err(refuse(format!("tensor `{name}` holds {value}")));
                }
                lora.params[range].copy_from_slice(&values);
                known.push(name);
            }
        }
        known.sort_unstable();
        if let Some(extra) =
            file.names().into_iter().find(|name| known.binary_search(name).is_err())
        {
            return Err(refuse(format!("tensor `{extra}` belongs to no projection of this model")));
        }
        if !changes_anything(&lora) {
            return Err(refuse("every B matrix is zero: the adapter changes nothing".into()));
        }
        let base_name = config.base_model_name_or_path.unwrap_or_default();
        Ok(Adapter { lora, base_name, base_identity: file.metadata.get(IDENTITY).cloned() })
    }

    /// Refuses to run on another model than the adapter was trained on, where the adapter says
    /// which that was.
    ///
    /// # Errors
    /// [`Error::Adapter`] with both hashes.
    pub fn check_base(&self, identity: &str) -> Result<()> {
        match &self.base_identity {
            Some(own) if own != identity => Err(Error::Adapter {
                path: PathBuf::from(&self.base_name),
                reason: format!("it was trained on model {own}, the model here is {identity}"),
            }),
            _ => Ok(()),
        }
    }
}

impl Adapter {
    /// Runs `decoder` with and without the adapter and returns the largest difference of their
    /// logits: proof that what is served is not the base.
    ///
    /// # Errors
    /// [`Error::Adapter`] when the logits are equal; [`Error::Mismatch`].
    pub fn prove_active(&self, decoder: &Decoder) -> Result<f32> {
        let ids: Vec<u32> = (0..decoder.config().vocabulary.min(8) as u32).collect();
        let base = decoder.forward(&ids, &mut decoder.new_cache(), None)?;
        let adapted = decoder.forward(&ids, &mut decoder.new_cache(), Some(&self.lora))?;
        let difference = base.iter().zip(&adapted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if difference == 0.0 {
            let reason = "the model answers with it exactly as without it".to_owned();
            return Err(Error::Adapter { path: PathBuf::from(&self.base_name), reason });
        }
        Ok(difference)
    }
}

impl PeftConfig {
    /// The LoRA described, if it can be run here.
    ///
    /// # Errors
    /// What `refuse` makes of the reason.
    fn plain_lora(&self, refuse: impl Fn(String) -> Error) -> Result<LoraConfig> {
        let refuse = |reason: String| Err(refuse(reason));
        if self.peft_type != "LORA" {
            return refuse(format!("peft_type is {}, only LORA can be read", self.peft_type));
        }
        let unsupported = [
            ("bias", self.bias != "none"),
            ("fan_in_fan_out", self.fan_in_fan_out),
            ("use_dora", self.use_dora),
            (
                "modules_to_save",
                self.modules_to_save.as_ref().is_some_and(|modules| !modules.is_empty()),
            ),
            ("rank_pattern", !self.rank_pattern.is_empty()),
            ("alpha_pattern", !self.alpha_pattern.is_empty()),
        ];
        if let Some((field, _)) = unsupported.into_iter().find(|(_, used)| *used) {
            return refuse(format!("its {field} is not supported"));
        }
        let names = match &self.target_modules {
            Targets::Names(names) => names,
            Targets::Pattern(pattern) => {
                return refuse(format!(
                    "target_modules is the pattern {pattern:?}, expected a list of projections"
                ));
            }
        };
        let mut targets = Vec::with_capacity(names.len());
        for name in names {
            match Projection::parse(name) {
                Some(projection) => targets.push(projection),
                None => {
                    return refuse(format!(
                        "target module {name:?} is none of {}",
                        all_projections()
                    ));
                }
            }
        }
        if self.r == 0 {
            return refuse("its rank r is 0".into());
        }
        // Rank-stabilised LoRA (Kalajdzievski, 2023) scales by alpha / sqrt(r): the same as plain
        // LoRA with a larger alpha.
        let alpha = if self.use_rslora {
            self.lora_alpha * (self.r as f32).sqrt()
        } else {
            self.lora_alpha
        };
        Ok(LoraConfig { rank: self.r, alpha, targets })
    }
}

fn all_projections() -> String {
    Projection::ALL.map(Projection::name).join(", ")
}

/// Whether any `B` is not zero. With every `B` zero, `x Aᵀ Bᵀ` is zero whatever `A` holds.
pub fn changes_anything(lora: &Lora) -> bool {
    lora.modules().iter().any(|module| lora.views(module).1.iter().any(|&value| value != 0.0))
}

/// `NAME.SUFFIX` in the folder's own parent, so that a rename stays on one disk.
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}"));
    folder.with_file_name(name)
}

fn is_adapter_or_empty(folder: &Path) -> bool {
    folder.join(CONFIG).exists()
        || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder)(error)),
        _ => Ok(()),
    }
}

/// Gives `new` the name `folder`; an old `folder` is moved aside first and moved back if that
/// fails.
fn swap(new: &Path, folder: &Path) -> Result<()> {
    let old = beside(folder, "old");
    remove(&old)?;
    let had_old = folder.exists();
    if had_old {
        fs::rename(folder, &old).map_err(Error::io(folder))?;
    }
    if let Err(error) = fs::rename(new, folder) {
        if had_old {
            let _ = fs::rename(&old, folder);
        }
        return Err(Error::io(folder)(error));
    }
    remove(&old)?;
    float_file::sync_folder(folder).map_err(Error::io(folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn adapter(targets: &[Projection]) -> Adapter {
        let config = LoraConfig { rank: 3, alpha: 6.0, targets: targets.to_vec() };
        let mut lora = Lora::new(&DecoderConfig::tiny(), config, 5).unwrap();
        let count = lora.params.len() as f32;
        for (index, value) in lora.params.iter_mut().enumerate() {
            *value += index as f32 / count;
        }
        Adapter { lora, base_name: "tiny".into(), base_identity: Some("c0ffee".into()) }
    }

    fn load(folder: &Path) -> Result<Adapter> {
        Adapter::load(folder, &DecoderConfig::tiny())
    }

    #[test]
    fn saved_and_loaded_adapters_are_equal() {
        for targets in [&Projection::ALL[..], &[Projection::Query, Projection::Down]] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("adapter");
            let adapter = adapter(targets);
            adapter.save(&path).unwrap();
            assert_eq!(load(&path).unwrap(), adapter);
            // Saving again replaces, and leaves nothing beside.
            adapter.save(&path).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            assert!(adapter.check_base("c0ffee").is_ok());
            assert!(adapter.check_base("decaf").unwrap_err().to_string().contains("decaf"));
        }
    }

    #[test]
    fn names_and_config_are_pefts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        adapter(&Projection::ALL).save(&path).unwrap();
        let bytes = fs::read(path.join(WEIGHTS)).unwrap();
        let file = FloatFile::parse(&path, &bytes).unwrap();
        assert_eq!(file.names().len(), 28);
        assert!(
            file.names()
                .contains(&"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight".into())
        );
        assert!(
            file.names()
                .contains(&"base_model.model.model.layers.0.mlp.down_proj.lora_B.weight".into())
        );
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(path.join(CONFIG)).unwrap()).unwrap();
        assert_eq!(config["peft_type"], "LORA");
        assert_eq!(config["r"], 3);
        assert_eq!(config["lora_alpha"], 6.0);
        assert_eq!(config["target_modules"][0], "q_proj");
        assert_eq!(config["task_type"], "CAUSAL_LM");
    }

    #[test]
    fn an_adapter_that_changes_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let mut adapter = adapter(&Projection::ALL);
        for module in adapter.lora.modules().to_vec() {
            adapter.lora.params[module.b].fill(0.0);
        }
        assert!(!changes_anything(&adapter.lora));
        adapter.save(&path).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("changes nothing"));
    }

    #[test]
    fn wrong_shapes_targets_and_tensors_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let adapter = adapter(&[Projection::Query]);
        let edited = |field: &str, value: serde_json::Value| {
            adapter.save(&path).unwrap();
            let file = path.join(CONFIG);
            let mut config: serde_json::Value =
                serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            config[field] = value;
            fs::write(&file, config.to_string()).unwrap();
            load(&path).unwrap_err().to_string()
        };
        assert!(edited("r", 4.into()).contains("lora_A.weight` has shape [3, "));
        assert!(edited("r", 0.into()).contains('0'));
        assert!(
            edited("target_modules", serde_json::json!(["q_proj", "k_proj"]))
                .contains("k_proj.lora_A")
        );
        assert!(edited("target_modules", serde_json::json!(["v_proj"])).contains("v_proj.lora_A"));
        assert!(
            edited("target_modules", serde_json::json!(["embed_tokens"])).contains("embed_tokens")
        );
        assert!(edited("target_modules", "all-linear".into()).contains("all-linear"));
        assert!(edited("peft_type", "IA3".into()).contains("IA3"));
        assert!(edited("use_dora", true.into()).contains("use_dora"));
        assert!(edited("r", "x".into()).contains(CONFIG));

        adapter.save(&path).unwrap();
        let deeper = DecoderConfig { layers: 3, ..DecoderConfig::tiny() };
        assert!(Adapter::load(&path, &deeper).unwrap_err().to_string().contains("layers.2"));
        let shallower = DecoderConfig { layers: 1, ..DecoderConfig::tiny() };
        assert!(Adapter::load(&path, &shallower).unwrap_err().to_string().contains("layers.1"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let mut adapter = adapter(&[Projection::Value]);
        adapter.lora.params[1] = f32::NAN;
        adapter.save(&path).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("NaN"));
    }

    #[test]
    fn a_folder_of_something_else_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(adapter(&[Projection::Key]).save(folder.path()).is_err());
        assert!(folder.path().join("thesis.txt").exists());
    }

    #[test]
    fn rank_stabilised_scaling_is_folded_into_alpha() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        adapter(&[Projection::Key]).save(&path).unwrap();
        let file = path.join(CONFIG);
        let mut config: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["use_rslora"] = true.into();
        fs::write(&file, config.to_string()).unwrap();
        let scaling = load(&path).unwrap().lora.scaling();
        assert!((scaling - 6.0 / 3f32.sqrt()).abs() < 1e-6);
    }
}
