//! The decoder against transformers on a seeded two-layer model, from both file forms, in both
//! precisions.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;
use tunesmith_lm::{GenerateOptions, Message, Model, Precision, Role};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn logits_and_greedy_answers_are_those_of_transformers() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap();
    let prompts = expected["prompts"].as_array().unwrap();
    assert_eq!(prompts.len(), 4);
    for file in ["tiny-llama.gguf", "tiny-llama"] {
        for (precision, tolerance) in [(Precision::F32, 1e-3), (Precision::Bf16, 0.3)] {
            let model = Model::open(&fixture(file), precision).unwrap();
            for case in prompts {
                let text = case["text"].as_str().unwrap();
                let ids = model.prompt_ids(&[Message::new(Role::User, text)]).unwrap();
                assert_eq!(
                    ids.iter().map(|id| f64::from(*id)).collect::<Vec<_>>(),
                    numbers(&case["ids"]),
                    "{text:?}"
                );

                let logits =
                    model.decoder.forward(&ids, &mut model.decoder.new_cache(), None).unwrap();
                for (found, wanted) in logits.iter().zip(numbers(&case["logits"])) {
                    let difference = (f64::from(*found) - wanted).abs();
                    assert!(
                        difference < tolerance,
                        "{file} {precision:?} {text:?}: {found} for {wanted}"
                    );
                }
                if precision == Precision::F32 {
                    let options = GenerateOptions { max_tokens: 16, ..Default::default() };
                    let answer = model
                        .complete(&ids, None, &options, &mut |_| ControlFlow::Continue(()))
                        .unwrap();
                    let wanted = numbers(&case["greedy"]);
                    // The reference was told not to stop at the end token.
                    let wanted = wanted.split(|id| *id == 2.0).next().unwrap();
                    assert_eq!(
                        answer.ids.iter().map(|id| f64::from(*id)).collect::<Vec<_>>(),
                        wanted,
                        "{text:?}"
                    );
                }
            }
        }
    }
}
