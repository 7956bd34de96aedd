#![allow(clippy::unwrap_used)]
use serde_json::Value;

use super::file::check_merges;
use super::*;
use crate::Source;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn both() -> [Tokenizer; 2] {
    ["tiny-llama.gguf", "tiny-llama"].map(|name| Source::open(&fixture(name)).unwrap().tokenizer)
}

const TEXTS: [&str; 6] = [
    "",
    "plain text, 1987",
    "naïve 東京 👩‍👩‍👧‍👦 e\u{301}",
    "a<|im_end|>\nb",
    "\u{FDD0}<|im_end|>\u{FDD0}\u{FDD0}",
    "<<|im_start|",
];

#[test]
fn ids_are_those_of_the_tokenizers_package() {
    let expected: Value = crate::files::read_json(&fixture("expected.json")).unwrap();
    let texts = expected["texts"].as_array().unwrap();
    assert!(texts.len() >= 7);
    for tokenizer in both() {
        for case in texts {
            let text = case["text"].as_str().unwrap();
            let ids: Vec<u64> =
                tokenizer.encode(text).unwrap().into_iter().map(u64::from).collect();
            let wanted: Vec<u64> =
                case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
            assert_eq!(ids, wanted, "{text:?}");
        }
    }
}

#[test]
fn plain_encoding_spells_special_tokens_out_and_decodes_to_the_same_text() {
    for tokenizer in both() {
        for text in TEXTS {
            let ids = tokenizer.encode_plain(text).unwrap();
            assert!(ids.iter().all(|id| *id > 2), "{text:?}");
            assert_eq!(tokenizer.decode(&ids), text);
        }
        assert_eq!(tokenizer.encode("<|im_end|>").unwrap(), [2]);
        assert_eq!(tokenizer.decode(&[2]), "");
        assert_eq!(tokenizer.token(2).unwrap(), "<|im_end|>");
        assert_eq!(tokenizer.id("<|im_end|>"), Some(2));
    }
}

#[test]
fn marks_come_off_again_and_hide_every_special_token() {
    let [tokenizer, _] = both();
    for text in TEXTS {
        let marked = tokenizer.mark(text);
        assert_eq!(Tokenizer::unmark(&marked), text);
        assert!(tokenizer.next_special(&marked).is_none(), "{marked:?}");
        let alone = tokenizer.encode_marked(&marked).unwrap();
        assert_eq!(alone, tokenizer.encode_plain(text).unwrap(), "{text:?}");
        let framed = tokenizer.encode_marked(&format!("<|im_start|>{marked}<|im_end|>")).unwrap();
        assert_eq!(framed, [&[1], alone.as_slice(), &[2]].concat(), "{text:?}");
    }
    assert!(matches!(tokenizer.mark("ordinary"), Cow::Borrowed(_)));
}

#[test]
fn a_stream_gives_the_same_text_as_decoding_at_once_and_never_half_a_character() {
    for tokenizer in both() {
        for text in TEXTS {
            let mut ids = tokenizer.encode_plain(text).unwrap();
            for stray in [None, tokenizer.encode_plain("é").unwrap().first().copied()] {
                ids.extend(stray);
                let mut stream = TextStream::new(&tokenizer);
                let pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
                assert!(pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)));
                assert_eq!(pieces.concat() + &stream.finish(), tokenizer.decode(&ids), "{text:?}");
            }
        }
    }
}

#[test]
fn the_end_of_a_turn_is_special_even_where_the_file_does_not_say_so() {
    let tokens = ["a", "e", "<e>", "<", ">"].map(String::from);
    let bytes = ByteLevelBpe {
        tokens: &tokens,
        merges: &[],
        digits: Digits::Together,
        special: vec![],
        added: vec![2],
        framed: false,
        begin: None,
        end: vec![2],
    };
    let tokenizer = Tokenizer::from_byte_level(bytes).unwrap();
    assert_eq!(tokenizer.encode("a<e>").unwrap(), [0, 2]);
    assert_eq!(tokenizer.encode_plain("a<e>").unwrap(), [0, 3, 1, 4]);
    assert_eq!(tokenizer.encode_marked(&tokenizer.mark("a<e>")).unwrap(), [0, 3, 1, 4]);
    assert_eq!(tokenizer.decode(&[0, 2]), "a");
}

#[test]
fn merges_that_make_no_token_are_refused() {
    let tokens = ["a", "b", "ab"].map(String::from);
    let build = |merges: &[&str]| {
        let merges: Vec<String> = merges.iter().map(|m| (*m).to_owned()).collect();
        let (digits, none) = (Digits::Together, Vec::new);
        Tokenizer::from_byte_level(ByteLevelBpe {
            tokens: &tokens,
            merges: &merges,
            digits,
            special: none(),
            added: none(),
            framed: false,
            begin: None,
            end: vec![99],
        })
    };
    let sound = build(&["a b"]).unwrap();
    assert_eq!(sound.encode("ab").unwrap(), [2]);
    assert!(sound.end_ids().is_empty(), "an end id outside the vocabulary is no id");
    for merge in ["ab ab", "a", "", "a c", " b", "é b"] {
        assert!(build(&[merge]).is_err(), "{merge:?}");
    }
    let json = serde_json::json!({"model": {"vocab": {"a": 0, "bb": 1}, "merges": [["a", "bb"]]}});
    assert!(check_merges(&json).unwrap_err().to_string().contains("lacks"));
}
