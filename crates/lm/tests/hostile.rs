//! Model files that lie or are damaged, opened as a user would open them: each is refused with an
//! error that names the file, or read; none ends the process, hangs it, or makes it ask for memory
//! of the lie's size.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use tunesmith_lm::{Decoder, Precision, Source};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The small GGUF model, and the length of what stands before its tensor data.
static GGUF: LazyLock<(Vec<u8>, usize)> = LazyLock::new(|| {
    let bytes = fs::read(fixture("tiny-llama.gguf")).unwrap();
    // The tensors' sizes are in the table; what is not data is header.
    let data: usize =
        2 * 2 * 320 * 32 + 2 * 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32) + 5 * 4 * 32;
    let header = bytes.len() - data;
    (bytes, header)
});

/// A folder of the small model whose tensors are one file, as the safetensors format has it.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    Source::tiny(1).unwrap().save(folder.path()).unwrap();
    folder
});

static TENSORS: LazyLock<(Vec<u8>, usize)> = LazyLock::new(|| {
    let bytes = fs::read(FOLDER.path().join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (bytes, header + 8)
});

/// Opens and packs the model; an error is its text.
fn load(path: &Path) -> Result<(), String> {
    let source = Source::open(path).map_err(|error| error.to_string())?;
    Decoder::load(&source, Precision::F32).map(drop).map_err(|error| error.to_string())
}

/// Loads `bytes` as a GGUF file.
fn load_gguf(bytes: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.gguf");
    fs::write(&path, bytes).unwrap();
    let outcome = load(&path);
    if let Err(error) = &outcome {
        assert!(error.contains("hostile.gguf"), "the file is not named: {error}");
        assert!(error.len() < 2000, "an error of {} bytes", error.len());
    }
    outcome
}

/// Loads a folder whose tensors are `bytes`.
fn load_folder(bytes: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(FOLDER.path().join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    let outcome = load(folder.path());
    if let Err(error) = &outcome {
        assert!(
            error.contains(folder.path().to_str().unwrap()),
            "the folder is not named: {error}"
        );
    }
    outcome
}

#[test]
fn the_sound_files_load() {
    assert_eq!(load_gguf(&GGUF.0), Ok(()));
    assert_eq!(load_folder(&TENSORS.0), Ok(()));
}

#[test]
fn a_gguf_file_cut_anywhere_is_refused() {
    let (bytes, header) = &*GGUF;
    // Inside the data, one cut is like the next.
    for length in
        (0..*header).step_by(7).chain((*header..bytes.len()).step_by(997)).chain([bytes.len() - 1])
    {
        assert!(load_gguf(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn a_safetensors_file_cut_anywhere_is_refused() {
    let (bytes, header) = &*TENSORS;
    for length in (0..*header).chain((*header..bytes.len()).step_by(997)).chain([bytes.len() - 1]) {
        assert!(load_folder(&bytes[..length]).is_err(), "cut at {length}");
    }
}

/// A safetensors file of this header and `data` zero bytes.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let tensor = |dtype: &str, shape: &str, start: u128, end: u128| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let one = |tensor: String| format!(r#"{{"model.norm.weight":{tensor}}}"#);
    let max = u128::from(u64::MAX);
    let headers = [
        String::new(),
        "[]".into(),
        "{".into(),
        "{\"a\":".repeat(4000),
        format!("{}1{}", "[".repeat(4000), "]".repeat(4000)),
        one(tensor("F32", "[24]", 0, 64)),
        one(tensor("F32", "[24]", 8, 96)),
        one(tensor("F32", "[24]", 96, 0)),
        one(tensor("F32", "[24]", 0, 192)),
        one(tensor("F32", "[24]", max - 96, max)),
        one(tensor("F32", "[24]", 0, max + 1)),
        one(tensor("F32", "[18446744073709551615, 2]", 0, 96)),
        one(tensor("F32", "[4294967296, 4294967296, 4294967296]", 0, 96)),
        one(tensor("F32", "[-24]", 0, 96)),
        one(tensor("F32", "[24.5]", 0, 96)),
        one(tensor("I64", "[12]", 0, 96)),
        one(tensor("F128", "[6]", 0, 96)),
        format!(
            r#"{{"a":{},"b":{}}}"#,
            tensor("F32", "[24]", 0, 96),
            tensor("F32", "[24]", 48, 144)
        ),
        format!(r#"{{"a":{0},"a":{0}}}"#, tensor("F32", "[24]", 0, 96)),
        r#"{"__metadata__":7}"#.into(),
    ];
    for header in headers {
        let shown: String = header.chars().take(80).collect();
        assert!(load_folder(&with_header(&header, 96)).is_err(), "{shown}");
    }
    let twice = format!(r#"{{"a":{0},"a":{0}}}"#, tensor("F32", "[24]", 0, 96));
    let error = load_folder(&with_header(&twice, 96)).unwrap_err();
    assert!(error.contains("model.safetensors") && error.contains("`a` stands twice"), "{error}");
    let mut length = with_header("{}", 0);
    length[..8].fill(0xFF);
    assert!(load_folder(&length).is_err());
    let mut text = with_header(r#"{"a":1}"#, 0);
    text[10] = 0xFF;
    assert!(load_folder(&text).is_err());
}

#[test]
fn sizes_that_contradict_the_tensors_are_refused_with_both() {
    let (bytes, _) = &*GGUF;
    // The value of a number stands behind its key and four bytes of type.
    let with = |key: &str, value: u32| {
        let mut bytes = bytes.clone();
        let at = bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap()
            + key.len()
            + 4;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        load_gguf(&bytes).unwrap_err()
    };
    assert!(with("llama.block_count", 3).contains("model.layers.2."));
    assert!(with("llama.block_count", u32::MAX).contains("number of layers"));
    assert!(with("llama.block_count", 0).contains("number of layers"));
    assert!(with("llama.attention.head_count", 0).contains("no attention heads"));
    assert!(with("llama.attention.head_count_kv", 3).contains("not a multiple"));
    assert!(with("llama.attention.head_count_kv", 4).contains("blk.0.attn_k"));
    assert!(with("llama.feed_forward_length", 47).contains("[47, 32]"));
    assert!(with("llama.feed_forward_length", 1 << 31).contains("feed-forward width"));
    assert!(with("llama.embedding_length", 33).contains("embedding"));
    assert!(with("llama.context_length", 0).contains("context length"));
    assert!(
        with("llama.attention.layer_norm_rms_epsilon", f32::NAN.to_bits()).contains("rms_norm_eps")
    );
    assert!(with("llama.rope.freq_base", 0).contains("rope_theta"));
}

/// Bytes to put somewhere: single ones, and the integers that lengths and offsets are made of.
fn lie() -> impl Strategy<Value = Vec<u8>> {
    let extremes =
        [0, 1, 0x7F, 0xFF, 1 << 16, 1 << 24, 1 << 31, 1 << 32, 1 << 40, 1 << 63, u64::MAX];
    prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        (0..extremes.len()).prop_map(move |at| extremes[at].to_le_bytes().to_vec()),
        (0..extremes.len()).prop_map(move |at| extremes[at].to_le_bytes()[..4].to_vec()),
        any::<u64>().prop_map(|value| value.to_le_bytes().to_vec()),
    ]
}

/// Overwrites, then removes or doubles a stretch.
fn damage(
    bytes: &[u8],
    lies: &[(usize, Vec<u8>)],
    stretch: Option<(usize, usize, bool)>,
) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, lie) in lies {
        let end = (at + lie.len()).min(bytes.len());
        bytes[*at..end].copy_from_slice(&lie[..end - at]);
    }
    if let Some((start, length, double)) = stretch {
        let end = (start + length).min(bytes.len());
        let copy = if double { bytes[start..end].repeat(2) } else { Vec::new() };
        bytes.splice(start..end, copy);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_gguf_file_is_read_or_refused(
        lies in prop::collection::vec((0..GGUF.1, lie()), 1..4),
        stretch in prop::option::of((0..GGUF.1, 1usize..64, any::<bool>())),
    ) {
        let _ = load_gguf(&damage(&GGUF.0, &lies, stretch));
    }

    #[test]
    fn a_damaged_safetensors_file_is_read_or_refused(
        lies in prop::collection::vec((0..TENSORS.1, lie()), 1..4),
        stretch in prop::option::of((0..TENSORS.1, 1usize..64, any::<bool>())),
    ) {
        let _ = load_folder(&damage(&TENSORS.0, &lies, stretch));
    }
}
