//! Every family of models against transformers and PEFT on tiny random models, which
//! `benches/parity/architectures.py --fixtures` wrote: logits, loss and the adapter's gradients,
//! cached decoding, and the form in which the model is written again.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;
use tunesmith_lm::{
    Adapter, Decoder, DecoderConfig, Error, GenerateOptions, Message, Model, Pack, Precision, Role,
    Source, Workspace,
};

const FAMILIES: [&str; 6] = ["llama3", "mistral", "qwen2", "qwen2-full", "qwen3", "gemma3"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/architectures").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// Ids and mask of each example; all but the last begin alike.
fn examples() -> Vec<(Vec<u32>, Vec<u8>)> {
    let numbers = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let examples = json("examples.json");
    let example = |value: &Value| {
        (numbers(&value["ids"]), numbers(&value["mask"]).into_iter().map(|bit| bit as u8).collect())
    };
    examples.as_array().unwrap().iter().map(example).collect()
}

struct Recorded(Vec<u8>);

impl Recorded {
    fn of(family: &str) -> Self {
        Self(std::fs::read(fixture(family).join("expected.safetensors")).unwrap())
    }

    fn numbers(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

/// Asserts that numbers differ by at most `tolerance` of the largest of them.
#[track_caller]
fn assert_near(found: &[f32], wanted: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().map(|x| x.abs()).fold(0.0, f32::max);
    let difference = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(
        largest > 0.0 && difference <= tolerance * largest,
        "{what}: off by {difference} of {largest}"
    );
}

fn load(family: &str) -> (Decoder, Adapter) {
    let decoder = Decoder::load(&Source::open(&fixture(family)).unwrap(), Precision::F32).unwrap();
    let adapter = Adapter::load(&fixture(family).join("adapter"), decoder.config()).unwrap();
    (decoder, adapter)
}

#[test]
fn configurations_have_what_their_families_have() {
    let config = |family: &str| -> DecoderConfig { Source::open(&fixture(family)).unwrap().config };
    assert!(config("llama3").sliding.is_none() && config("qwen2-full").sliding.is_none());
    assert_eq!(config("mistral").sliding.unwrap().layers, [true, true]);
    assert_eq!(config("qwen2").sliding.unwrap().layers, [false, true]);
    assert!(config("qwen3").query_key_norm && !config("qwen3").post_norms);
    assert_ne!(config("qwen3").query_width(), config("qwen3").hidden);
    let gemma3 = config("gemma3");
    assert_eq!(gemma3.sliding.as_ref().unwrap().layers, [true, true, true, true, true, false]);
    assert!(gemma3.query_key_norm && gemma3.post_norms && gemma3.embedding_scale == 4.0);
    assert_eq!((gemma3.rope_theta, gemma3.sliding.unwrap().rope_theta), (1e6, Some(1e4)));
}

#[test]
fn logits_are_those_of_transformers_whole_and_token_by_token() {
    for family in FAMILIES {
        let (decoder, adapter) = load(family);
        let (mut whole, mut base, mut stepwise) = (Vec::new(), Vec::new(), Vec::new());
        for (ids, _) in examples() {
            whole.extend(
                decoder.forward_all(&ids, &mut decoder.new_cache(), Some(&adapter.lora)).unwrap(),
            );
            base.extend(decoder.forward(&ids, &mut decoder.new_cache(), None).unwrap());
            let mut cache = decoder.new_cache();
            for id in ids {
                stepwise.extend(decoder.forward(&[id], &mut cache, Some(&adapter.lora)).unwrap());
            }
        }
        let expected = Recorded::of(family);
        assert_near(&whole, &expected.numbers("logits"), 2e-5, family);
        assert_near(&base, &expected.numbers("base"), 2e-5, family);
        assert_near(&stepwise, &expected.numbers("logits"), 2e-5, family);
    }
}

#[test]
fn loss_and_gradients_are_those_of_peft_alone_and_behind_a_common_beginning() {
    let losses = json("losses.json");
    let examples = examples();
    let borrowed: Vec<(&[u32], &[u8])> =
        examples.iter().map(|(ids, mask)| (&ids[..], &mask[..])).collect();
    let behind = [Pack::of(&borrowed[..2]), Pack::of(&borrowed[2..])];
    assert_eq!(behind[0].segments[0].length, 15);
    let mut joined = Pack::default();
    examples.iter().for_each(|(ids, mask)| joined.push(ids, mask));
    for family in FAMILIES {
        let (decoder, adapter) = load(family);
        let expected = Recorded::of(family);
        for packs in [&behind[..], std::slice::from_ref(&joined)] {
            let targets: usize = packs.iter().map(Pack::targets).sum();
            let mut grads = vec![0.0; adapter.lora.params.len()];
            let mut workspace = Workspace::default();
            let mut loss = 0.0;
            for pack in packs {
                let scale = 1.0 / targets as f32;
                let part = decoder
                    .loss_and_grad(&adapter.lora, pack, scale, &mut grads, &mut workspace)
                    .unwrap();
                loss += part.sum;
            }
            let (loss, wanted) = (loss / targets as f64, losses[family].as_f64().unwrap());
            assert!((loss - wanted).abs() < 1e-5 * wanted, "{family}: {loss} for {wanted}");
            for module in adapter.lora.modules() {
                for (part, range) in [("lora_A", &module.a), ("lora_B", &module.b)] {
                    let name = format!("base_model.model.{}.{part}.weight", module.name);
                    let wanted = expected.numbers(&name);
                    assert_near(&grads[range.clone()], &wanted, 1e-4, &format!("{family} {name}"));
                }
            }
        }
    }
}

#[test]
fn a_model_written_as_a_folder_is_the_same_model() {
    for family in FAMILIES {
        let source = Source::open(&fixture(family)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        source.save(folder.path()).unwrap();
        let again = Source::open(folder.path()).unwrap();
        assert_eq!(again.config, source.config, "{family}");
        for name in source.config.tensor_names() {
            let (a, b) = (source.find_tensor(&name).unwrap(), again.find_tensor(&name).unwrap());
            assert_eq!(a.is_some(), b.is_some(), "{family} {name}");
            if let (Some(a), Some(b)) = (a, b) {
                assert_eq!(a.shape, b.shape, "{family} {name}");
                assert_near(&b.data, &a.data, 1e-6, &format!("{family} {name}"));
            }
        }
    }
}

#[test]
fn a_model_without_a_template_continues_text_and_says_why_it_does_not_chat() {
    let model = Model::open(&fixture("gemma3"), Precision::F32).unwrap();
    assert!(!model.template.exists());
    let options = GenerateOptions { max_tokens: 20, ..Default::default() };
    let listen = &mut |_: &str| std::ops::ControlFlow::Continue(());
    let refused =
        model.generate(&[Message::new(Role::User, "w7")], None, &options, listen).unwrap_err();
    assert!(matches!(refused, Error::Template { .. }), "{refused}");
    assert!(refused.to_string().contains("base model"), "{refused}");
    let ids = model.tokenizer.encode("w7 w8 w9").unwrap();
    assert!(model.complete(&ids, None, &options, listen).unwrap().completion_tokens > 0);
}

#[test]
fn what_a_configuration_asks_for_beyond_this_engine_is_refused_by_name() {
    let refused = |family: &str, key: &str, value: Value| {
        let folder = tempfile::tempdir().unwrap();
        for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(fixture(family).join(file), folder.path().join(file)).unwrap();
        }
        let mut config = json(&format!("{family}/config.json"));
        config[key] = value;
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let error = Source::open(folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
        error
    };
    let yarn = || serde_json::json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4});
    for (family, key, value, wanted) in [
        ("gemma3", "final_logit_softcapping", 30.0.into(), "soft-capping of logits"),
        ("gemma3", "attn_logit_softcapping", 50.0.into(), "soft-capping of attention scores"),
        ("gemma3", "use_bidirectional_attention", true.into(), "later tokens"),
        ("gemma3", "hidden_activation", "relu".into(), "activation `relu`"),
        ("gemma3", "model_type", "gemma2".into(), "architecture `gemma2`"),
        ("gemma3", "model_type", "gemma3".into(), "with images"),
        ("gemma3", "layer_types", serde_json::json!(["chunked_attention"]), "chunked_attention"),
        ("gemma3", "layer_types", serde_json::json!(["sliding_attention"]), "1 of 6 layers"),
        ("gemma3", "sliding_window", 0.into(), "sliding window of 0"),
        ("qwen3", "attention_bias", true.into(), "`attention_bias`"),
        ("qwen2", "rope_parameters", yarn(), "rope scaling `yarn`"),
        ("qwen2", "partial_rotary_factor", 0.5.into(), "partial_rotary_factor"),
        ("qwen2", "quantization_config", serde_json::json!({"bits": 4}), "quantised weights"),
        ("mistral", "num_local_experts", 8.into(), "mixture of experts"),
        ("mistral", "num_hidden_layers", 1.into(), "tensor `model.layers.1."),
        // A Llama has no bias; ignoring those of the file would be wrong without a word.
        ("qwen3", "model_type", "llama".into(), "_norm.weight`"),
    ] {
        let error = refused(family, key, value);
        assert!(error.contains(wanted), "{family} {key}: {error}");
    }
}
