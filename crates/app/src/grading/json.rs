//! Answers that are JSON: whether they keep to a schema, and how many of their fields are right.

use std::collections::BTreeMap;

use eval::grade::unify;
use serde_json::Value;

use super::schema::Schema;

/// Scores an answer: 0 where it is no JSON or breaks the schema, else the best F1 over the fields
/// of an accepted answer. Also says what is wrong with its form.
pub(super) fn score(
    answer: &str,
    gold: &[String],
    schema: Option<&Schema>,
) -> (f64, Option<String>) {
    let Some(value) = read(answer) else { return (0.0, Some("not JSON".to_owned())) };
    if schema.is_some_and(|schema| schema.violation(&value).is_some()) {
        return (0.0, Some("breaks the schema".to_owned()));
    }
    let fields = fields(&value);
    let best = gold
        .iter()
        .filter_map(|gold| serde_json::from_str::<Value>(gold).ok())
        .map(|gold| field_f1(&fields, &self::fields(&gold)))
        .fold(0.0, f64::max);
    (best, None)
}

/// The JSON of an answer: all of it, or the first block that a Markdown fence holds.
fn read(answer: &str) -> Option<Value> {
    let whole = serde_json::from_str(answer.trim()).ok();
    whole.or_else(|| {
        let mut lines = answer.lines();
        lines.by_ref().find(|line| line.trim_start().starts_with("```"))?;
        let block: Vec<&str> = lines.take_while(|line| line.trim() != "```").collect();
        serde_json::from_str(&block.join("\n")).ok()
    })
}

/// Fields with their values, and how often each occurs.
type Fields = BTreeMap<(String, String), usize>;

/// The leaves of a value, each with its path. Items of a list share a path, so that their order
/// doesn't count and one that is missing doesn't move the others.
fn fields(value: &Value) -> Fields {
    let mut found = Fields::new();
    collect(value, "$", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut Fields) {
    let leaf = match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                collect(value, &format!("{path}.{}", Value::from(key.as_str())), found);
            }
            return;
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().for_each(|item| collect(item, &format!("{path}[]"), found));
            return;
        }
        Value::String(text) => {
            let words: Vec<String> = unify(text).split_whitespace().map(str::to_owned).collect();
            format!("{:?}", words.join(" "))
        }
        // 1.0 is 1. What doesn't fit a float stays as it is written.
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.abs() < 9e15 => float.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    };
    *found.entry((path.to_owned(), leaf)).or_default() += 1;
}

/// F1 over the pairs of path and value.
fn field_f1(answer: &Fields, gold: &Fields) -> f64 {
    let both = |(field, count): (&(String, String), &usize)| {
        (*count).min(answer.get(field).copied().unwrap_or_default())
    };
    let common: usize = gold.iter().map(both).sum();
    let all: usize = answer.values().chain(gold.values()).sum();
    2.0 * common as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(answer: &str, gold: &str) -> f64 {
        score(answer, &[gold.to_owned()], None).0
    }

    #[test]
    fn fields_by_hand() {
        let gold = r#"{"name": "Ada", "age": 36, "tags": ["x", "y"]}"#;
        assert_eq!(scored(gold, gold), 1.0);
        assert_eq!(scored(r#"{"tags":["y","x"],"age":36.0,"name":" Ada "}"#, gold), 1.0);
        // Two of four right, three given: 2 * 2 / (3 + 4).
        let partly = scored(r#"{"name": "Ada", "age": "36", "tags": ["x"]}"#, gold);
        assert!((partly - 4.0 / 7.0).abs() < 1e-12, "{partly}");
        assert_eq!(scored(r#"{"name": "ada"}"#, r#"{"name": "Ada"}"#), 0.0, "case counts");
        assert_eq!(scored(r#"{"a": -5}"#, r#"{"a": 5}"#), 0.0);
        assert_eq!(scored("{}", "{}"), 1.0);
        assert_eq!(scored("[]", "{}"), 0.0);
        assert_eq!(scored(r#"{"a":{"b":1}}"#, r#"{"a.b":1}"#), 0.0, "paths are not confused");
        assert_eq!(scored(r#"["x", "x"]"#, r#"["x"]"#), 2.0 / 3.0);
    }

    #[test]
    fn a_fence_around_it_is_no_fault_and_other_text_is() {
        let gold = r#"{"a": 1}"#;
        assert_eq!(scored("```json\n{\"a\": 1}\n```", gold), 1.0);
        assert_eq!(scored("Here it is:\n```\n{\"a\": 1}\n```\nDone.", gold), 1.0);
        let wrong = score("Here it is: {\"a\": 1}", &[gold.to_owned()], None);
        assert_eq!(wrong, (0.0, Some("not JSON".to_owned())));
        assert_eq!(scored("", gold), 0.0);
    }
}
