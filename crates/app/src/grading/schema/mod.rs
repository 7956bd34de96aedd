//! A subset of JSON Schema (2020-12), all of whose keywords are enforced.
//!
//! Known: `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`,
//! `minItems`, `maxItems`, `uniqueItems`, `minLength`, `maxLength`, `pattern`, `minimum`,
//! `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `anyOf`, `oneOf`, `allOf`, and `$ref` to `#`
//! or `#/$defs/NAME`. Words that only explain (`title`, `description`, `examples` and the like) are
//! read over. Any other keyword is an error: a rule that is not enforced would be a promise that is
//! not kept.

mod read;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::error::{Error, IoContext, Problem, Result};
use crate::models::hash_bytes;
use crate::project::Project;
use read::Parser;

/// `$ref`s that may follow each other; a schema that goes on without end refers to itself.
const DEPTH: usize = 64;

/// A schema.
#[derive(Debug)]
pub(super) struct Schema {
    root: Node,
    definitions: BTreeMap<String, Node>,
    identity: String,
}

#[derive(Debug)]
enum Node {
    /// `true` and `false`: everything, nothing.
    Any(bool),
    Rules(Vec<Rule>),
}

#[derive(Debug)]
enum Rule {
    Types(Vec<String>),
    OneOf(Vec<Value>),
    Object {
        properties: BTreeMap<String, Node>,
        additional: Option<Box<Node>>,
    },
    Required(Vec<String>),
    Items(Box<Node>),
    Unique,
    /// Items of a list.
    Count {
        least: usize,
        most: usize,
    },
    /// Characters of a text.
    Length {
        least: usize,
        most: usize,
    },
    Pattern(Regex),
    Least {
        bound: f64,
        open: bool,
    },
    Most {
        bound: f64,
        open: bool,
    },
    AnyOf(Vec<Node>),
    ExactlyOne(Vec<Node>),
    AllOf(Vec<Node>),
    /// The name of a definition; empty for the whole schema.
    Reference(String),
}

impl Schema {
    /// Reads a schema file of a project.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Problems`] with everything that is no JSON, malformed or not
    /// supported.
    pub(super) fn read(project: &Project, path: &Path) -> Result<Self> {
        let full = project.path(path);
        let text = fs::read_to_string(&full).context("read", &full)?;
        let problem = |field: Option<String>, line: Option<usize>, message: String| Problem {
            file: path.to_owned(),
            line,
            field,
            message,
        };
        let value: Value = serde_json::from_str(&text).map_err(|error| {
            let message = format!("expected a JSON schema, found malformed JSON ({error})");
            Error::Problems(vec![problem(None, Some(error.line()), message)])
        })?;
        let identity = hash_bytes(text.as_bytes());
        Self::parse(&value, identity).map_err(|problems| {
            let named = problems.into_iter().map(|(at, message)| problem(Some(at), None, message));
            Error::Problems(named.collect())
        })
    }

    fn parse(value: &Value, identity: String) -> std::result::Result<Self, Vec<(String, String)>> {
        let mut parser = Parser::default();
        let root = parser.node(value, "#");
        let mut definitions = BTreeMap::new();
        if let Some(named) = value.get("$defs") {
            match named.as_object() {
                None => parser.problem("#/$defs", "expected an object".to_owned()),
                Some(named) => {
                    for (name, value) in named {
                        let node = parser.node(value, &format!("#/$defs/{name}"));
                        definitions.insert(name.clone(), node);
                    }
                }
            }
        }
        for (at, name) in std::mem::take(&mut parser.references) {
            if !name.is_empty() && !definitions.contains_key(&name) {
                parser.problem(&at, format!("expected a name in #/$defs, found {name:?}"));
            }
        }
        let schema = Self { root, definitions, identity };
        if parser.problems.is_empty() { Ok(schema) } else { Err(parser.problems) }
    }

    /// A hash of the file.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// The first rule that a value breaks, and where; `None` for a valid one.
    pub(super) fn violation(&self, value: &Value) -> Option<String> {
        self.broken(&self.root, value, "$", 0)
    }

    fn broken(&self, node: &Node, value: &Value, at: &str, depth: usize) -> Option<String> {
        match node {
            Node::Any(true) => None,
            Node::Any(false) => Some(format!("{at} is not allowed")),
            Node::Rules(rules) => rules.iter().find_map(|rule| self.breaks(rule, value, at, depth)),
        }
    }

    fn breaks(&self, rule: &Rule, value: &Value, at: &str, depth: usize) -> Option<String> {
        let valid = |node: &Node| self.broken(node, value, at, depth).is_none();
        let count = |nodes: &[Node]| nodes.iter().filter(|node| valid(node)).count();
        let unless = |kept: bool, message: String| (!kept).then_some(message);
        match (rule, value) {
            (Rule::Types(types), _) => {
                let is_one = types.iter().any(|name| is_of_type(value, name));
                unless(is_one, format!("{at} is not of type {}", types.join(" or ")))
            }
            (Rule::OneOf(values), _) => {
                let is_one = values.iter().any(|other| equal(value, other));
                unless(is_one, format!("{at} is none of the values allowed"))
            }
            (Rule::Object { properties, additional }, Value::Object(object)) => {
                object.iter().find_map(|(key, value)| {
                    let node = properties.get(key).or(additional.as_deref())?;
                    self.broken(node, value, &format!("{at}.{key}"), depth)
                })
            }
            (Rule::Required(names), Value::Object(object)) => {
                let missing = names.iter().find(|name| !object.contains_key(*name))?;
                Some(format!("{at} has no {missing}"))
            }
            (Rule::Items(node), Value::Array(items)) => {
                items.iter().enumerate().find_map(|(place, item)| {
                    self.broken(node, item, &format!("{at}[{place}]"), depth)
                })
            }
            (Rule::Unique, Value::Array(items)) => {
                let twice =
                    |place: usize| items[..place].iter().any(|item| equal(item, &items[place]));
                unless(!(0..items.len()).any(twice), format!("{at} holds an item twice"))
            }
            (Rule::Count { least, most }, Value::Array(items)) => {
                let kept = (*least..=*most).contains(&items.len());
                unless(kept, format!("{at} holds {} items", items.len()))
            }
            (Rule::Length { least, most }, Value::String(text)) => {
                let length = text.chars().count();
                unless((*least..=*most).contains(&length), format!("{at} has {length} characters"))
            }
            (Rule::Pattern(pattern), Value::String(text)) => {
                unless(pattern.is_match(text), format!("{at} does not match {pattern}"))
            }
            (Rule::Least { bound, open }, Value::Number(number)) => {
                let kept = number.as_f64().is_some_and(|n| n > *bound || (!open && n == *bound));
                unless(kept, format!("{at} is too small"))
            }
            (Rule::Most { bound, open }, Value::Number(number)) => {
                let kept = number.as_f64().is_some_and(|n| n < *bound || (!open && n == *bound));
                unless(kept, format!("{at} is too large"))
            }
            (Rule::AnyOf(nodes), _) => {
                unless(count(nodes) > 0, format!("{at} is none of the forms allowed"))
            }
            (Rule::ExactlyOne(nodes), _) => {
                unless(count(nodes) == 1, format!("{at} is not exactly one of the forms allowed"))
            }
            (Rule::AllOf(nodes), _) => {
                nodes.iter().find_map(|node| self.broken(node, value, at, depth))
            }
            (Rule::Reference(name), _) => {
                if depth >= DEPTH {
                    return Some(format!("{at}: $ref goes on without end"));
                }
                let node = if name.is_empty() { &self.root } else { self.definitions.get(name)? };
                self.broken(node, value, at, depth + 1)
            }
            // A rule about another type says nothing about this value.
            _ => None,
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match (name, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        ("integer", Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        _ => false,
    }
}

/// Equality as JSON Schema has it: 1 is 1.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(value: &Value) -> Schema {
        Schema::parse(value, String::new()).unwrap()
    }

    /// Every keyword with a value that keeps to it and one that breaks it.
    #[test]
    fn each_keyword_is_enforced() {
        let cases = [
            (json!({"type": "string"}), json!("x"), json!(1)),
            (json!({"type": ["integer", "null"]}), json!(2.0), json!(2.5)),
            (json!({"type": "number"}), json!(2.5), json!("2.5")),
            (json!({"type": "boolean"}), json!(false), json!(0)),
            (json!({"enum": [1, "a", {"b": [1]}]}), json!({"b": [1.0]}), json!("b")),
            (json!({"const": 1}), json!(1.0), json!(true)),
            (json!({"properties": {"a": {"type": "string"}}}), json!({"b": 1}), json!({"a": 1})),
            (json!({"required": ["a"]}), json!({"a": null}), json!({"b": 1})),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"a": 1, "b": 1}),
            ),
            (
                json!({"additionalProperties": {"type": "null"}}),
                json!({"a": null}),
                json!({"a": 1}),
            ),
            (json!({"items": {"minimum": 3}}), json!([3, "x"]), json!([3, 2])),
            (json!({"minItems": 1, "maxItems": 2}), json!([1, 2]), json!([1, 2, 3])),
            (json!({"minItems": 1}), json!({}), json!([])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1.0])),
            (json!({"minLength": 2}), json!("éé"), json!("é")),
            (json!({"maxLength": 2}), json!("éé"), json!("ééé")),
            (json!({"pattern": "^[A-Z]+$"}), json!("AB"), json!("aB")),
            (json!({"minimum": 1}), json!(1), json!(0.9)),
            (json!({"exclusiveMinimum": 1}), json!(1.1), json!(1)),
            (json!({"maximum": 1}), json!(1), json!(1.1)),
            (json!({"exclusiveMaximum": 1}), json!(0), json!(1)),
            (json!({"anyOf": [{"type": "null"}, {"minimum": 2}]}), json!(null), json!(1)),
            (json!({"oneOf": [{"maximum": 2}, {"minimum": 2}]}), json!(1), json!(2)),
            (json!({"allOf": [{"maximum": 2}, {"minimum": 2}]}), json!(2), json!(1)),
            (json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}), json!(null), json!(1)),
            (
                json!({"properties": {"next": {"$ref": "#"}}, "required": ["x"]}),
                json!({"x": 1, "next": {"x": 2}}),
                json!({"x": 1, "next": {}}),
            ),
        ];
        for (rules, valid, broken) in &cases {
            let schema = schema(rules);
            assert_eq!(schema.violation(valid), None, "{rules} {valid}");
            assert!(schema.violation(broken).is_some(), "{rules} {broken}");
        }
        assert_eq!(schema(&json!(false)).violation(&json!(1)), Some("$ is not allowed".to_owned()));
        assert_eq!(schema(&json!({"title": "t"})).violation(&json!(1)), None);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let wrong = json!({
            "format": "date",
            "properties": {"a": {"if": {}}, "b": {"type": "text"}, "c": {"pattern": "(?=x)"}},
            "items": {"$ref": "other.json"},
            "anyOf": [{"$ref": "#/$defs/none"}],
            "minLength": -1,
        });
        let problems = Schema::parse(&wrong, String::new()).unwrap_err();
        let places: Vec<&str> = problems.iter().map(|(at, _)| at.as_str()).collect();
        for place in [
            "#/format",
            "#/properties/a/if",
            "#/properties/b/type",
            "#/properties/c/pattern",
            "#/items/$ref",
            "#/anyOf/0/$ref",
            "#/minLength",
        ] {
            assert!(places.contains(&place), "{place} in {places:?}");
        }
        assert_eq!(places.len(), 7);
        assert!(
            problems.iter().any(|(_, message)| message.contains("\"format\" is not supported"))
        );
    }

    #[test]
    fn a_schema_without_end_is_broken_by_everything() {
        let endless = schema(&json!({"$ref": "#"}));
        assert!(endless.violation(&json!(1)).unwrap().contains("without end"));
    }
}
