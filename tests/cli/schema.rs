//! Holding a JSON document against a schema: as much of JSON Schema as `docs/decision.schema.json`
//! uses.

use serde_json::{Map, Value};

/// Every way in which `value` is not what the schema says, each with its place.
pub(crate) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    walk(schema, schema, value, "$", &mut faults);
    faults
}

fn walk(root: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$ref" => {
                let path = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                let target = root.pointer(path).unwrap_or_else(|| panic!("{wanted} leads nowhere"));
                walk(root, target, value, place, faults);
            }
            "type" => {
                let is = |name: &Value| is_of(value, name.as_str().unwrap());
                let fits = wanted.as_array().map_or_else(|| is(wanted), |all| all.iter().any(is));
                if !fits {
                    faults.push(format!("{place}: expected {wanted}, found {value}"));
                }
            }
            "enum" if !wanted.as_array().unwrap().contains(value) => {
                faults.push(format!("{place}: expected one of {wanted}, found {value}"));
            }
            "anyOf" => {
                let fits = |option: &Value| {
                    let mut faults = Vec::new();
                    walk(root, option, value, place, &mut faults);
                    faults.is_empty()
                };
                if !wanted.as_array().unwrap().iter().any(fits) {
                    faults.push(format!("{place}: none of {wanted} is {value}"));
                }
            }
            "minimum" if value.as_f64() < wanted.as_f64() => {
                faults.push(format!("{place}: {value} is below {wanted}"));
            }
            "minItems" | "maxItems" => length(keyword, wanted, value, place, faults),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    walk(root, wanted, item, &format!("{place}[{index}]"), faults);
                }
            }
            "prefixItems" => {
                let items = wanted.as_array().unwrap().iter().zip(value.as_array().unwrap());
                for (index, (wanted, item)) in items.enumerate() {
                    walk(root, wanted, item, &format!("{place}[{index}]"), faults);
                }
            }
            "properties" => {
                let properties = wanted.as_object().unwrap();
                object(root, (properties, schema), value, place, faults);
            }
            "$schema"
            | "$defs"
            | "title"
            | "description"
            | "enum"
            | "minimum"
            | "required"
            | "additionalProperties" => {}
            other => panic!("{place}: the schema uses {other:?}, which is not checked"),
        }
    }
}

fn object(
    root: &Value,
    (properties, schema): (&Map<String, Value>, &Value),
    value: &Value,
    place: &str,
    faults: &mut Vec<String>,
) {
    let Some(object) = value.as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{place}: a key may be passed over");
    for key in schema["required"].as_array().unwrap() {
        if !object.contains_key(key.as_str().unwrap()) {
            faults.push(format!("{place}: {key} is missing"));
        }
    }
    for (key, value) in object {
        match properties.get(key) {
            Some(wanted) => walk(root, wanted, value, &format!("{place}.{key}"), faults),
            None => faults.push(format!("{place}: the schema has no {key:?}")),
        }
    }
}

fn length(keyword: &str, wanted: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let found = value.as_array().map_or(0, Vec::len) as u64;
    let bound = wanted.as_u64().unwrap();
    let fits = if keyword == "minItems" { found >= bound } else { found <= bound };
    if !fits {
        faults.push(format!("{place}: {found} items, {keyword} {bound}"));
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("{other:?} is no type"),
    }
}

#[test]
fn what_differs_from_a_schema_is_found() {
    let schema = serde_json::json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"n": {"type": ["integer", "null"]}, "k": {"enum": ["a", "b"]}},
            "required": ["n", "k"],
            "additionalProperties": false
        }
    });
    let found = |value: Value| faults(&schema, &value);
    assert!(found(serde_json::json!([{"n": 1, "k": "a"}, {"n": null, "k": "b"}])).is_empty());
    for (wrong, said) in [
        (serde_json::json!({}), "$: expected \"array\""),
        (serde_json::json!([{"n": 1}]), "\"k\" is missing"),
        (serde_json::json!([{"n": 1.5, "k": "a"}]), "$[0].n: expected"),
        (serde_json::json!([{"n": 1, "k": "c"}]), "$[0].k: expected one of"),
        (serde_json::json!([{"n": 1, "k": "a", "new": 0}]), "the schema has no \"new\""),
    ] {
        let faults = found(wrong);
        assert!(faults.len() == 1 && faults[0].contains(said), "{faults:?}");
    }
}
