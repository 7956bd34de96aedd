#![allow(clippy::unwrap_used)]
use super::*;
use crate::Error;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-bert")
}

fn encoder() -> Encoder {
    Encoder::open_with(&folder(), Precision::F32).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Texts and the vectors that sentence-transformers gives them.
fn expected() -> Vec<(String, Vec<f32>)> {
    let json = read_json(&folder().join("expected.json")).unwrap();
    let cases = json.as_array().unwrap().iter();
    cases
        .map(|case| {
            let vector =
                case["vector"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
            (case["text"].as_str().unwrap().to_owned(), vector.collect())
        })
        .collect()
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let expected = expected();
    assert!(expected.len() >= 6);
    let texts: Vec<&str> = expected.iter().map(|(text, _)| text.as_str()).collect();
    for (vector, (text, wanted)) in encoder().embed(&texts).unwrap().iter().zip(&expected) {
        for (a, b) in vector.iter().zip(wanted) {
            assert!((a - b).abs() < 2e-6, "{text:?}: {a} {b}");
        }
    }
    for precision in [Precision::Bf16, Precision::Int8] {
        let rounded = Encoder::open_with(&folder(), precision).unwrap();
        for (vector, (text, wanted)) in rounded.embed(&texts).unwrap().iter().zip(&expected) {
            let cosine = cosine(vector, wanted);
            assert!(cosine > 0.999, "{precision:?} {text:?}: {cosine}");
        }
    }
}

#[test]
fn vectors_of_any_two_precisions_may_be_compared() {
    let texts = expected();
    let texts: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
    let embedded = [Precision::F32, Precision::Bf16, Precision::Int8].map(|precision| {
        let encoder = Encoder::open_with(&folder(), precision).unwrap();
        (encoder.embed(&texts).unwrap(), encoder.identity().to_owned())
    });
    for (some, identity) in &embedded {
        for (others, other_identity) in &embedded {
            assert_eq!(identity, other_identity);
            for ((a, b), text) in some.iter().zip(others).zip(&texts) {
                assert!(cosine(a, b) > 0.999, "{text:?}: {}", cosine(a, b));
            }
        }
    }
}

#[test]
fn a_text_gets_the_same_vector_alone_and_in_any_company() {
    for precision in [Precision::F32, Precision::Int8] {
        alone_and_in_company(&Encoder::open_with(&folder(), precision).unwrap());
    }
}

fn alone_and_in_company(encoder: &Encoder) {
    let texts: Vec<String> =
        (0..90).map(|n| format!("text number {n} {}", "word ".repeat(n % 37))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = encoder.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let alone = &encoder.embed(&[text]).unwrap()[0];
        assert!(alone.iter().zip(vector).all(|(a, b)| (a - b).abs() < 1e-6), "{text}");
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
    }
    assert!(encoder.embed(&[]).unwrap().is_empty());
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let encoder = Encoder::open_with(&folder(), precision).unwrap();
        // From too few rows for two threads to more than are taken through a block at once.
        for words in [1, 12, 13, 14, 15, 30, 70, 150] {
            let text = "word number ".repeat(words);
            let embed = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| encoder.embed(&[&text]).unwrap())
            };
            let one = embed(1);
            for threads in [2, 3, 5] {
                assert_eq!(embed(threads), one, "{precision:?}, {words} words, {threads} threads");
            }
        }
    }
}

#[test]
fn long_texts_are_cut_at_the_limit() {
    let encoder = encoder();
    let long = "word ".repeat(5000);
    assert_eq!(encoder.count_tokens(&long).unwrap(), encoder.max_tokens());
    let cut = "word ".repeat(4999);
    let vectors = encoder.embed(&[&long, &cut]).unwrap();
    assert_eq!(vectors[0], vectors[1]);
    assert_eq!(vectors[0].len(), encoder.dim());
}

#[test]
fn an_encoder_of_another_kind_is_refused() {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    assert!(Encoder::open_with(copy.path(), Precision::F32).is_ok());
    let config = std::fs::read_to_string(folder().join("config.json")).unwrap();
    for (from, to) in [
        ("\"bert\"", "\"xlm\""),
        ("\"gelu\"", "\"relu\""),
        ("\"hidden_size\": 32", "\"hidden_size\": 64"),
    ] {
        assert!(config.contains(from), "{from}");
        std::fs::write(copy.path().join("config.json"), config.replace(from, to)).unwrap();
        let error = Encoder::open_with(copy.path(), Precision::F32).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. } | Error::Shape { .. }), "{error}");
    }
    std::fs::write(copy.path().join("config.json"), &config).unwrap();
    std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    std::fs::write(
        copy.path().join("1_Pooling/config.json"),
        r#"{"pooling_mode_cls_token": true}"#,
    )
    .unwrap();
    assert!(matches!(
        Encoder::open_with(copy.path(), Precision::F32),
        Err(Error::Unsupported { .. })
    ));
}
