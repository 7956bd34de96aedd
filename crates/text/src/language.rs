//! Which language a document is written in.

use whatlang::Lang;

use crate::{Block, BlockKind};

/// Bytes of running text that are looked at.
const SAMPLE: usize = 4096;
/// Fewer bytes tell too little.
const ENOUGH: usize = 120;

/// The language of a document's running text as its ISO 639-1 code, where it can be told: code,
/// tables and numbers are in no language.
pub(crate) fn detect(text: &str, blocks: &[Block]) -> Option<&'static str> {
    let mut sample = String::with_capacity(SAMPLE);
    let prose =
        |kind: &BlockKind| matches!(kind, BlockKind::Paragraph | BlockKind::List | BlockKind::Row);
    for block in blocks.iter().filter(|block| prose(&block.kind)) {
        for c in text[block.span.clone()].chars() {
            if sample.len() >= SAMPLE {
                break;
            }
            sample.push(c);
        }
        sample.push('\n');
    }
    if sample.len() < ENOUGH {
        return None;
    }
    let found = whatlang::detect(&sample)?;
    if found.is_reliable() { code(found.lang()) } else { None }
}

/// Two letters for the languages that have them and are told apart reliably.
fn code(language: Lang) -> Option<&'static str> {
    Some(match language {
        Lang::Ara => "ar",
        Lang::Ben => "bn",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Cmn => "zh",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Eng => "en",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Hrv => "hr",
        Lang::Hun => "hu",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Lit => "lt",
        Lang::Nld => "nl",
        Lang::Nob => "no",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Spa => "es",
        Lang::Srp => "sr",
        Lang::Swe => "sv",
        Lang::Tam => "ta",
        Lang::Tha => "th",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Vie => "vi",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn language(text: &str) -> Option<&'static str> {
        crate::read(Path::new("x.md"), text.as_bytes()).unwrap().language
    }

    #[test]
    fn running_text_tells_its_language() {
        let german = "# Bericht\n\nDie Hafenmeisterei \u{f6}ffnet werktags um acht Uhr und schlie\u{df}t am Abend, sobald das letzte \
                      Boot festgemacht hat. Schl\u{fc}ssel werden gegen ein Pfand ausgegeben.";
        let english = "The harbour office opens at eight on weekdays and closes in the evening as soon as the last boat has \
                       been moored. Keys are handed out against a deposit of fifty.";
        assert_eq!((language(german), language(english)), (Some("de"), Some("en")));
        let japanese = "\u{6e2f}\u{306e}\u{4e8b}\u{52d9}\u{6240}\u{306f}\u{5e73}\u{65e5}\u{306e}\u{516b}\u{6642}\u{306b}\u{958b}\u{304d}\u{307e}\u{3059}\u{3002}".repeat(4);
        assert_eq!(language(&japanese), Some("ja"));
    }

    #[test]
    fn too_little_text_and_code_tell_nothing() {
        assert_eq!(language("Kurz und gut."), None);
        assert_eq!(language(&format!("```\n{}\n```\n", "let x = f(y);\n".repeat(40))), None);
    }
}
