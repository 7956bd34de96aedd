//! Examples through the chat template of a tiny model: what is trained, what is shown, what is
//! refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use lm::{Source, parse_examples, render_examples, show};
use tunesmith_lm as lm;

const PAIRS: &str = concat!(
    "{\"prompt\":\"Capital of France?\",\"completion\":\"Paris\"}\n",
    "{\"prompt\":\"Capital of Italy?\",\"completion\":\"Rome\"}\n",
);

#[test]
fn showing_an_example_marks_exactly_the_completion_and_its_end_token() {
    let source = Source::tiny(1).unwrap();
    let path = Path::new("pairs.jsonl");
    let examples = parse_examples(path, PAIRS.as_bytes()).unwrap();
    let rendered =
        render_examples(path, &examples, &source.tokenizer, &source.template, 512).unwrap();
    assert_eq!(rendered.len(), 2);
    let text = show(&rendered[0], &source.tokenizer);
    let end = source.tokenizer.token(source.tokenizer.end_ids()[0]).unwrap();
    assert!(text.contains(&format!("⟦Paris{end}⟧")), "{text}");
    let prompt = source.template.render(&examples[0].messages[..1], true).unwrap();
    assert!(text.starts_with(&prompt), "{text}");
    let trained = rendered[0].trained();
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        format!("{} tokens, {trained} of them trained (between ⟦ and ⟧)", rendered[0].ids.len())
    );
}

#[test]
fn rows_over_the_limit_are_refused_together_with_line_and_length() {
    let source = Source::tiny(1).unwrap();
    let path = Path::new("pairs.jsonl");
    let examples = parse_examples(path, PAIRS.as_bytes()).unwrap();
    let errors =
        render_examples(path, &examples, &source.tokenizer, &source.template, 3).unwrap_err();
    assert_eq!(errors.errors.len(), 2);
    let first = errors.errors[0].to_string();
    assert!(first.starts_with("pairs.jsonl:1: messages: found "), "{first}");
    assert!(
        first.ends_with("tokens, expected at most 3 (prompt and completion together)"),
        "{first}"
    );
}
