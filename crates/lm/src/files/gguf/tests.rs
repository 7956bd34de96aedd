#![allow(clippy::unwrap_used)]
use std::io::Write;

use super::*;
use crate::Source;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn reason(bytes: &[u8]) -> String {
    parse(bytes).map(|_| ()).unwrap_err().to_string()
}

/// A file of one F32 tensor, with everything in it as given.
fn file(dimensions: &[u64], kind: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(b"a");
    bytes.extend(4u32.to_le_bytes());
    bytes.extend(7u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(b"t");
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    dimensions.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

#[test]
fn every_storage_format_is_dequantised_as_the_gguf_package_does() {
    let file = Gguf::open(&fixture("quants.gguf")).unwrap();
    let kinds: Vec<_> =
        file.tensors.keys().filter(|name| !name.ends_with(".expected")).cloned().collect();
    // Eleven formats, eight of them in blocks, which stand there a second time with random bytes.
    assert_eq!(kinds.len(), 11 + 8);
    for kind in kinds {
        let found = file.read(&kind).unwrap().into_tensor();
        let expected = file.read(&format!("{kind}.expected")).unwrap().into_tensor();
        assert_eq!(found.shape, [2, 256], "{kind}");
        assert!(found.data.iter().any(|x| *x != 0.0), "{kind}");
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn a_gguf_file_and_a_folder_of_the_same_model_are_one_source() {
    let (a, b) = (fixture("tiny-llama.gguf"), fixture("tiny-llama"));
    let (a, b) = (Source::open(&a).unwrap(), Source::open(&b).unwrap());
    assert_eq!(a.config, b.config);
    assert_ne!(a.identity().unwrap(), b.identity().unwrap());
    let names = a.config.tensor_names();
    let mut seen = 0;
    for name in names {
        let tensor = a.find_tensor(&name).unwrap();
        assert_eq!(tensor, b.find_tensor(&name).unwrap(), "{name}");
        if let Some(tensor) = tensor {
            assert_eq!(Some(tensor.shape), a.config.tensor_shape(&name), "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3 + 2 * 9);
    assert_eq!(a.tokenizer.end_ids(), b.tokenizer.end_ids());
    assert_eq!(a.template.source(), b.template.source());
    assert!(matches!(
        a.tensor("model.layers.2.mlp.up_proj.weight"),
        Err(Error::MissingTensor { .. })
    ));
}

/// The files hold no tokenizer; all else is as llama.cpp's converter writes it.
#[test]
fn every_family_is_the_same_from_a_gguf_file_and_from_a_folder() {
    for family in ["qwen2-full", "qwen3", "gemma3"] {
        let folder = fixture("architectures").join(family);
        let file = Gguf::open(&folder.join("model.gguf")).unwrap();
        let folder = Source::open(&folder).unwrap();
        let config = file.decoder_config().unwrap();
        assert_eq!(config, folder.config, "{family}");
        let mut seen = 0;
        for name in config.tensor_names() {
            let tensor = file.tensor(&name, &config).unwrap().map(Stored::into_tensor);
            assert_eq!(tensor, folder.find_tensor(&name).unwrap(), "{family} {name}");
            seen += usize::from(tensor.is_some());
        }
        assert_eq!(seen, file.tensors.len(), "{family}");
        assert!(matches!(file.tokenizer(), Err(Error::Malformed { .. })));
    }
}

#[test]
fn metadata_and_tensors_of_parts_that_are_not_done_are_refused_by_name() {
    let whole = std::fs::read(fixture("architectures/gemma3/model.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let with = |from: &str, to: &str| {
        let mut bytes = whole.clone();
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = Gguf::open(&path).unwrap().decoder_config().unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        error.to_string()
    };
    let unknown = with("gemma3.attention.sliding_window", "gemma3.attention.sliding_windos");
    assert!(unknown.contains("metadata `gemma3.attention.sliding_windos`"), "{unknown}");
    let unknown = with("blk.0.attn_q_norm.weight", "blk.0.attn_x_norm.weight");
    assert!(unknown.contains("tensor `blk.0.attn_x_norm.weight`"), "{unknown}");
    let unknown = with("gemma3", "gemma9");
    assert!(unknown.contains("architecture `gemma9`"), "{unknown}");
}

#[test]
fn a_sound_file_is_read_and_every_truncation_of_it_is_refused() {
    let whole = file(&[4, 2], 0, 0, 32);
    let Header { metadata, tensors } = parse(&whole).unwrap();
    assert_eq!(metadata["a"], Value::Integer(7));
    assert_eq!(tensors["t"].shape, [2, 4]);
    for length in 0..whole.len() {
        assert!(parse(&whole[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn every_byte_of_the_header_may_lie() {
    let whole = std::fs::read(fixture("tiny-llama.gguf")).unwrap();
    for at in (0..4096).chain((4096..whole.len().min(40_000)).step_by(97)) {
        for lie in [0x00, 0xFF, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] = lie;
            // Either verdict is right; what must not happen is a panic or an allocation of the
            // lie's size.
            let _ = parse(&bytes);
        }
    }
}

#[test]
fn hostile_numbers_are_refused_with_a_reason() {
    assert!(reason(&file(&[u64::MAX, 2], 0, 0, 32)).contains("overflow"));
    assert!(reason(&file(&[1 << 33, 1 << 33], 0, 0, 32)).contains("overflow"));
    assert!(reason(&file(&[4, 2], 0, u64::MAX - 8, 32)).contains("past the end"));
    assert!(reason(&file(&[4, 2], 0, 32, 32)).contains("past the end"));
    assert!(reason(&file(&[4, 1], 0, 8, 32)).contains("aligned"));
    assert!(reason(&file(&[33], 8, 0, 64)).contains("blocks of 32"));
    assert!(reason(&file(&[32], 99, 0, 64)).contains("storage type 99"));
    assert!(reason(&file(&[1; 9], 0, 0, 32)).contains("dimensions"));
    assert!(reason(&file(&[4, 0], 0, 0, 32)).contains("empty dimension"));
    let mut counts = file(&[4, 2], 0, 0, 32);
    counts[8..16].fill(0xFF);
    assert!(reason(&counts).contains("tensors"));
    let mut version = file(&[4, 2], 0, 0, 32);
    version[4] = 1;
    assert!(reason(&version).contains("version 1"));
}

/// A file without tensors whose metadata is one pair: a key and the bytes of its value, type first.
fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend((key.len() as u64).to_le_bytes());
    bytes.extend(key);
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}

#[test]
fn hostile_metadata_is_refused_with_a_reason() {
    let value = |kind: u32, rest: &[u8]| [&kind.to_le_bytes()[..], rest].concat();
    let array = |element: u32, count: u64| {
        value(9, &[&element.to_le_bytes()[..], &count.to_le_bytes()[..]].concat())
    };
    let cases: [(&[u8], Vec<u8>, &str); 11] = [
        (b"a", value(13, &[0; 8]), "unknown value type 13"),
        (b"a", value(7, &[2]), "a truth value of 2"),
        (b"a", value(8, &u64::MAX.to_le_bytes()), "bytes wanted"),
        (b"a", value(8, &[&2u64.to_le_bytes()[..], &[0xC3, 0x28]].concat()), "not UTF-8"),
        (b"\xFF", value(7, &[1]), "not UTF-8"),
        (b"a", array(0, u64::MAX), "elements, expected at most"),
        (b"a", array(8, 1 << 24), "bytes wanted"),
        (b"a", array(12, 1 << 24), "bytes wanted"),
        (b"a", array(9, 1), "array of arrays"),
        (b"general.alignment", value(4, &0u32.to_le_bytes()), "no power of two"),
        (b"general.alignment", value(4, &24u32.to_le_bytes()), "no power of two"),
    ];
    for (key, value, wanted) in cases {
        let found = reason(&pair(key, &value));
        assert!(found.contains(wanted), "{found}, not {wanted}");
    }
    let mut twice = pair(b"a", &value(7, &[1]));
    let once = twice[24..].to_vec();
    twice[16] = 2;
    twice.truncate(24 + 8 + 1 + 4 + 1);
    twice.extend(&once);
    assert!(reason(&twice).contains("metadata `a` stands twice"));
}

#[test]
fn tensors_that_share_a_name_or_bytes_are_refused() {
    let two = |names: [&[u8]; 2], offsets: [u64; 2]| {
        let mut bytes = Vec::new();
        bytes.extend(b"GGUF");
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        for (name, offset) in names.into_iter().zip(offsets) {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name);
            bytes.extend(1u32.to_le_bytes());
            bytes.extend(16u64.to_le_bytes());
            bytes.extend(0u32.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + 128, 0);
        bytes
    };
    assert!(parse(&two([b"a", b"b"], [64, 0])).is_ok());
    assert!(reason(&two([b"a", b"a"], [0, 64])).contains("tensor `a` stands twice"));
    assert!(reason(&two([b"a", b"b"], [0, 32])).contains("tensors `a` and `b` overlap"));
    assert!(reason(&two([b"a", b"b"], [64, 64])).contains("tensors `a` and `b` overlap"));
}

#[test]
fn the_error_names_the_file() {
    let path = std::env::temp_dir().join(format!("tunesmith-lm-{}.gguf", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(b"GGML nonsense").unwrap();
    let error = Source::open(&path).map(|_| ()).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(
        error.to_string().contains(".gguf: not a valid GGUF file: it does not start with"),
        "{error}"
    );
    let missing = Source::open(Path::new("/nowhere/x.gguf")).map(|_| ()).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}
