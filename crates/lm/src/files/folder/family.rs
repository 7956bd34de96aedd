//! The families of models, and the `config.json` that transformers expects of each.

use serde_json::{Value, json};

use crate::{Activation, DecoderConfig, Error, Result, RopeScaling, Sliding};

/// A family of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Gemma3,
}

impl Family {
    pub(super) const ALL: [Self; 5] =
        [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3, Self::Gemma3];

    /// `model_type`, and the class in transformers.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Llama => ("llama", "LlamaForCausalLM"),
            Self::Mistral => ("mistral", "MistralForCausalLM"),
            Self::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
            Self::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
            Self::Gemma3 => ("gemma3_text", "Gemma3ForCausalLM"),
        }
    }
}

/// The `config.json` of the family that has what `config` has, and whether its files hold the
/// weights of norms less one.
pub(crate) fn config_json(
    config: &DecoderConfig,
    biases: bool,
    end: &[u32],
) -> Result<(Value, bool)> {
    let family = match (config.post_norms, config.query_key_norm, biases, &config.sliding) {
        (true, true, false, _) => Family::Gemma3,
        (false, true, false, _) => Family::Qwen3,
        (false, false, true, _) => Family::Qwen2,
        (false, false, false, Some(_)) => Family::Mistral,
        (false, false, false, None) => Family::Llama,
        _ => return Err(Error::Config("no family has these norms and biases together".into())),
    };
    let (kind, class) = family.names();
    let activation = match config.activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
    };
    let gemma = family == Family::Gemma3;
    let mut json = json!({
        "architectures": [class],
        "model_type": kind,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling_json(&config.rope_scaling)?,
        "tie_word_embeddings": config.tied_embeddings,
        "eos_token_id": end,
        "torch_dtype": "float32",
    });
    json[if gemma { "hidden_activation" } else { "hidden_act" }] = activation.into();
    if gemma {
        // transformers takes whole numbers here.
        let whole = config.query_scalar.fract() == 0.0;
        let scalar =
            if whole { json!(config.query_scalar as u64) } else { json!(config.query_scalar) };
        json["query_pre_attn_scalar"] = scalar;
    }
    if let Some(Sliding { window, layers, rope_theta }) = &config.sliding {
        let kind = |limited: &bool| if *limited { "sliding_attention" } else { "full_attention" };
        json["sliding_window"] = (*window).into();
        json["use_sliding_window"] = true.into();
        json["layer_types"] = layers.iter().map(kind).collect();
        if let Some(theta) = rope_theta {
            json["rope_local_base_freq"] = (*theta).into();
        }
    } else {
        json["sliding_window"] = Value::Null;
    }
    Ok((json, gemma))
}

fn scaling_json(scaling: &RopeScaling) -> Result<Value> {
    Ok(match scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear(factor) => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_frequency, high_frequency, original } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency,
            "high_freq_factor": high_frequency,
            "original_max_position_embeddings": original,
        }),
        RopeScaling::Factors(_) => {
            return Err(Error::Config(
                "rope factors of a GGUF file have no form in config.json".into(),
            ));
        }
    })
}
