//! The default models against references that `benches/parity/parity.py --fixture` wrote. The
//! models are looked up in the cache; without them a test says that it is skipped, or fails where
//! `TUNESMITH_REQUIRE_MODELS` is set.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use half::f16;
use serde_json::Value;
use tunesmith_lm::{Encoder, GenerateOptions, Message, Model, Precision, Role};

/// A file or folder of the model cache, if it is there.
fn cached(name: &str) -> Option<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home =
        variable("TUNESMITH_HOME").or_else(|| Some(variable("XDG_DATA_HOME")?.join("tunesmith")));
    let home = home.or_else(|| Some(variable("HOME")?.join(".local/share/tunesmith")));
    let path = home.map(|home| home.join("models").join(name)).filter(|path| path.exists());
    if path.is_none() {
        assert!(
            variable("TUNESMITH_REQUIRE_MODELS").is_none(),
            "`{name}` is not in the model cache"
        );
        eprintln!("skipped: `{name}` is not in the model cache");
    }
    path
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json(name: &str) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

const MAKER: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

#[test]
fn smollm2_answers_as_transformers_does() {
    let Some(path) = cached("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf") else {
        return;
    };
    let cases = json("smollm2-135m-instruct.json");
    assert_eq!(cases.len(), 20);
    let model = Model::open(&path, Precision::F32).unwrap();
    let mut identical = 0;
    for (at, case) in cases.iter().enumerate() {
        let ids = |key: &str| -> Vec<u64> {
            case[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
        };
        let text = case["text"].as_str().unwrap();
        // transformers leaves the template its maker's system prompt.
        let maker = Message::new(Role::System, MAKER);
        let prompt = model.prompt_ids(&[maker, Message::new(Role::User, text)]).unwrap();
        assert_eq!(
            prompt.iter().map(|id| u64::from(*id)).collect::<Vec<_>>(),
            ids("ids"),
            "{text:?}"
        );

        let logits = model.decoder.forward(&prompt, &mut model.decoder.new_cache(), None).unwrap();
        for (found, wanted) in logits.iter().step_by(97).zip(case["logits"].as_array().unwrap()) {
            let difference = (f64::from(*found) - wanted.as_f64().unwrap()).abs();
            assert!(difference < 1e-3, "{text:?}: {found} for {wanted}");
        }
        // A continuation for some of them: 32 tokens each take their time.
        if at % 4 == 0 {
            let options = GenerateOptions { max_tokens: 8, ..Default::default() };
            let answer = model
                .complete(&prompt, None, &options, &mut |_| ControlFlow::Continue(()))
                .unwrap();
            let found: Vec<u64> = answer.ids.iter().map(|id| u64::from(*id)).collect();
            identical += usize::from(ids("greedy").starts_with(&found));
        }
    }
    assert_eq!(identical, 5);
}

#[test]
fn smollm2_quotes_the_same_with_and_without_prompt_lookup() {
    let Some(path) = cached("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf") else {
        return;
    };
    let passage = "The Normans were the people who in the 10th and 11th centuries gave their name to Normandy, a region \
                   in France. They were descended from Norse raiders and pirates from Denmark, Iceland and Norway.";
    let question =
        format!("Repeat this passage word by word, and write nothing else.\n\n{passage}");
    let model = Model::open(&path, Precision::Auto).unwrap();
    for temperature in [0.0, 0.5] {
        let answers = [true, false].map(|lookup| {
            let options =
                GenerateOptions { max_tokens: 40, temperature, lookup, ..Default::default() };
            let messages = [Message::new(Role::User, &question)];
            model.generate(&messages, None, &options, &mut |_| ControlFlow::Continue(())).unwrap()
        });
        assert_eq!(answers[0].ids, answers[1].ids);
        assert_eq!(answers[0].text, answers[1].text);
    }
}

#[test]
fn minilm_vectors_are_those_of_sentence_transformers() {
    let Some(folder) = cached("all-minilm-l6-v2") else { return };
    let texts = json("all-minilm-l6-v2.json");
    let texts: Vec<&str> = texts.iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts.len(), 50);
    let bytes = std::fs::read(fixture("all-minilm-l6-v2.safetensors")).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let stored = stored.tensor("vectors").unwrap();
    assert_eq!(stored.shape(), [50, 384]);
    let wanted: Vec<f32> =
        stored.data().as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect();
    for (precision, lowest) in
        [(Precision::F32, 0.9999), (Precision::Bf16, 0.9999), (Precision::Int8, 0.998)]
    {
        let encoder = Encoder::open_with(&folder, precision).unwrap();
        assert_eq!((encoder.dim(), encoder.max_tokens()), (384, 256));
        for ((vector, wanted), text) in
            encoder.embed(&texts).unwrap().iter().zip(wanted.chunks(384)).zip(&texts)
        {
            let dot: f32 = vector.iter().zip(wanted).map(|(a, b)| a * b).sum();
            let length = wanted.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!(dot / length >= lowest, "{precision:?} {text:?}: cosine {}", dot / length);
        }
    }
}
