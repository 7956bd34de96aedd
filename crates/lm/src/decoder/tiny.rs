//! A seeded model of a few thousand weights, so that tests of whole flows need no download.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::files::{Identity, Tensor, Weights};
use crate::language::tokenizer::{ByteLevelBpe, Digits};
use crate::{ChatTemplate, DecoderConfig, Result, Source, Tokenizer};

/// ChatML, as SmolLM2 and Qwen use it, without a default system prompt.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
                      + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ \
                      '<|im_start|>assistant\n' }}{% endif %}";
const SPECIALS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

impl Source {
    /// A tiny seeded model held in memory, for tests: one token per byte, ChatML template, two
    /// layers of width 24. [`Source::save`] makes it a folder.
    ///
    /// # Errors
    /// None for any seed; the parts it is made of are fallible in general.
    pub fn tiny(seed: u64) -> Result<Self> {
        let tokenizer = byte_tokenizer()?;
        let template = ChatTemplate::new(CHATML, &tokenizer)?;
        let config = DecoderConfig { vocabulary: tokenizer.vocabulary(), ..DecoderConfig::tiny() };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut tensors = BTreeMap::new();
        for name in config.tensor_names() {
            if let Some(shape) = config.tensor_shape(&name).filter(|_| !name.ends_with(".bias")) {
                let count = shape.iter().product();
                let norm = shape.len() == 1;
                let spread = if norm { 0.1 } else { 2.0 / (shape[shape.len() - 1] as f32).sqrt() };
                let mut value =
                    || spread * (random.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0);
                let data = (0..count).map(|_| value() + if norm { 1.0 } else { 0.0 }).collect();
                tensors.insert(name, Tensor { shape, data });
            }
        }
        Self::new(
            config,
            tokenizer,
            template,
            Identity::named(format!("tiny-{seed}")),
            Weights::Memory(tensors),
        )
    }
}

/// Special tokens, then one token for each byte.
fn byte_tokenizer() -> Result<Tokenizer> {
    // GPT-2's printable stand-ins: bytes that are printable stand for themselves, the others follow
    // from U+0100.
    let printable = |b: &u32| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let hidden: Vec<u32> = (0..256).filter(|b| !printable(b)).collect();
    let stand_in = |b: u32| hidden.iter().position(|h| *h == b).map_or(b, |at| 256 + at as u32);
    let bytes = (0..256).filter_map(|b| char::from_u32(stand_in(b))).map(String::from);
    let tokens: Vec<String> = SPECIALS.iter().map(|s| (*s).to_owned()).chain(bytes).collect();
    Tokenizer::from_byte_level(ByteLevelBpe {
        tokens: &tokens,
        merges: &[],
        digits: Digits::Singly,
        special: vec![0, 1, 2],
        added: vec![],
        framed: false,
        begin: Some(1),
        end: vec![2, 0],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tiny_model_is_seeded_and_survives_its_folder() {
        let tiny = Source::tiny(3).unwrap();
        assert_eq!(tiny.tokenizer.vocabulary(), 259);
        assert_eq!(tiny.tokenizer.decode(&tiny.tokenizer.encode("héllo 12").unwrap()), "héllo 12");
        let other = Source::tiny(4).unwrap();
        let name = "model.layers.1.mlp.down_proj.weight";
        assert_ne!(tiny.tensor(name).unwrap(), other.tensor(name).unwrap());

        let folder = std::env::temp_dir().join(format!("tunesmith-lm-tiny-{}", std::process::id()));
        tiny.save(&folder).unwrap();
        let read = Source::open(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(read.config, tiny.config);
        for name in tiny.config.tensor_names() {
            assert_eq!(
                read.find_tensor(&name).unwrap(),
                tiny.find_tensor(&name).unwrap(),
                "{name}"
            );
        }
        assert_eq!(
            read.tokenizer.encode("<|im_start|>x").unwrap(),
            tiny.tokenizer.encode("<|im_start|>x").unwrap()
        );
        assert_eq!(read.tokenizer.end_ids(), tiny.tokenizer.end_ids());
        assert_eq!(read.template.source(), tiny.template.source());
    }
}
