//! Reading a schema: each keyword becomes a rule, and what is wrong is collected.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::{Node, Rule};

/// Keywords that say nothing about what is valid.
const ANNOTATIONS: [&str; 10] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// Reads a schema and collects what is wrong with it: (place, message).
#[derive(Default)]
pub(super) struct Parser {
    pub(super) problems: Vec<(String, String)>,
    /// Definitions referred to, and where.
    pub(super) references: Vec<(String, String)>,
}

impl Parser {
    pub(super) fn problem(&mut self, at: &str, message: String) {
        self.problems.push((at.to_owned(), message));
    }

    pub(super) fn node(&mut self, value: &Value, at: &str) -> Node {
        match value {
            Value::Bool(any) => Node::Any(*any),
            Value::Object(keywords) => {
                let mut rules = Vec::new();
                for (keyword, value) in keywords {
                    rules.extend(self.rule(keyword, value, keywords, at));
                }
                Node::Rules(rules)
            }
            _ => {
                self.problem(at, "expected a schema: an object, true or false".to_owned());
                Node::Any(true)
            }
        }
    }

    /// The rule of a keyword, unless it has none of its own or is wrong.
    fn rule(
        &mut self,
        keyword: &str,
        value: &Value,
        all: &Map<String, Value>,
        at: &str,
    ) -> Option<Rule> {
        let at = format!("{at}/{keyword}");
        let rule = match keyword {
            "type" => self.types(value, &at)?,
            "enum" => Rule::OneOf(self.list(value, &at)?.clone()),
            "const" => Rule::OneOf(vec![value.clone()]),
            // Both are one rule, which the first of them in order stands for.
            "additionalProperties" => self.object(all, &at),
            "properties" if all.contains_key("additionalProperties") => return None,
            "properties" => self.object(all, &at),
            "required" => Rule::Required(self.texts(value, &at)?),
            "items" => Rule::Items(Box::new(self.node(value, &at))),
            "uniqueItems" => match value {
                Value::Bool(true) => Rule::Unique,
                Value::Bool(false) => return None,
                _ => return self.expected(&at, "true or false"),
            },
            "minItems" => Rule::Count { least: self.count(value, &at)?, most: usize::MAX },
            "maxItems" => Rule::Count { least: 0, most: self.count(value, &at)? },
            "minLength" => Rule::Length { least: self.count(value, &at)?, most: usize::MAX },
            "maxLength" => Rule::Length { least: 0, most: self.count(value, &at)? },
            "pattern" => self.pattern(value, &at)?,
            "minimum" => Rule::Least { bound: self.number(value, &at)?, open: false },
            "exclusiveMinimum" => Rule::Least { bound: self.number(value, &at)?, open: true },
            "maximum" => Rule::Most { bound: self.number(value, &at)?, open: false },
            "exclusiveMaximum" => Rule::Most { bound: self.number(value, &at)?, open: true },
            "anyOf" => Rule::AnyOf(self.nodes(value, &at)?),
            "oneOf" => Rule::ExactlyOne(self.nodes(value, &at)?),
            "allOf" => Rule::AllOf(self.nodes(value, &at)?),
            "$ref" => self.reference(value, &at)?,
            "$defs" if at == "#/$defs" => return None,
            other if ANNOTATIONS.contains(&other) => return None,
            other => {
                self.problem(&at, format!("the keyword {other:?} is not supported"));
                return None;
            }
        };
        Some(rule)
    }

    fn expected<T>(&mut self, at: &str, what: &str) -> Option<T> {
        self.problem(at, format!("expected {what}"));
        None
    }

    fn types(&mut self, value: &Value, at: &str) -> Option<Rule> {
        const TYPES: [&str; 7] =
            ["null", "boolean", "number", "integer", "string", "array", "object"];
        let names: Option<Vec<String>> = match value {
            Value::String(name) => Some(vec![name.clone()]),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        let known = |names: &Vec<String>| {
            !names.is_empty() && names.iter().all(|name| TYPES.contains(&name.as_str()))
        };
        match names.filter(known) {
            Some(names) => Some(Rule::Types(names)),
            None => self.expected(at, &format!("one or several of {}", TYPES.join(", "))),
        }
    }

    fn object(&mut self, all: &Map<String, Value>, at: &str) -> Rule {
        let mut properties = BTreeMap::new();
        match all.get("properties") {
            None => {}
            Some(Value::Object(named)) => {
                for (name, value) in named {
                    properties.insert(name.clone(), self.node(value, &format!("{at}/{name}")));
                }
            }
            Some(_) => self.problem(at, "expected an object of schemas as properties".to_owned()),
        }
        let additional = all.get("additionalProperties");
        Rule::Object {
            properties,
            additional: additional.map(|value| Box::new(self.node(value, at))),
        }
    }

    fn pattern(&mut self, value: &Value, at: &str) -> Option<Rule> {
        match value.as_str().map(Regex::new) {
            Some(Ok(pattern)) => Some(Rule::Pattern(pattern)),
            Some(Err(error)) => {
                let cause = error.to_string();
                let cause = cause.lines().last().unwrap_or_default().trim().to_owned();
                self.expected(at, &format!("a regular expression without look-around ({cause})"))
            }
            None => self.expected(at, "a regular expression as a text"),
        }
    }

    fn reference(&mut self, value: &Value, at: &str) -> Option<Rule> {
        let name = match value.as_str() {
            Some("#") => Some(String::new()),
            Some(text) => text.strip_prefix("#/$defs/").map(str::to_owned),
            None => None,
        };
        let Some(name) = name else { return self.expected(at, "\"#\" or \"#/$defs/NAME\"") };
        self.references.push((at.to_owned(), name.clone()));
        Some(Rule::Reference(name))
    }

    fn nodes(&mut self, value: &Value, at: &str) -> Option<Vec<Node>> {
        let items = self.list(value, at)?.clone();
        Some(
            items
                .iter()
                .enumerate()
                .map(|(place, item)| self.node(item, &format!("{at}/{place}")))
                .collect(),
        )
    }

    fn list<'v>(&mut self, value: &'v Value, at: &str) -> Option<&'v Vec<Value>> {
        match value.as_array().filter(|items| !items.is_empty()) {
            Some(items) => Some(items),
            None => self.expected(at, "a list that is not empty"),
        }
    }

    fn texts(&mut self, value: &Value, at: &str) -> Option<Vec<String>> {
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        match texts {
            Some(texts) => Some(texts),
            None => self.expected(at, "a list of names"),
        }
    }

    fn count(&mut self, value: &Value, at: &str) -> Option<usize> {
        match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
            Some(count) => Some(count),
            None => self.expected(at, "a number from 0 on"),
        }
    }

    fn number(&mut self, value: &Value, at: &str) -> Option<f64> {
        match value.as_f64() {
            Some(number) => Some(number),
            None => self.expected(at, "a number"),
        }
    }
}
