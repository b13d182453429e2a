//! JSON merge patch (RFC 7396): what a request names is laid over what there is, and `null` takes a field's value back.
//!
//! The outcome is text once more, read like the body of a put: whatever is wrong is found and named the same way.

use serde_json::{Map, Value};

use super::json::Fields;
use crate::error::GatewayError;

/// The body of a put that comes to the same. `current` is what such a body says now; `whole` names objects that a patch
/// with another `type` replaces.
pub(super) fn merged(current: Value, patch: &[u8], whole: &str) -> Result<Vec<u8>, GatewayError> {
    // Refuses what is no object, and a name given twice.
    Fields::parse(patch)?;
    let malformed = |error: serde_json::Error| GatewayError::MalformedRequest { reason: error.to_string() };
    let patch: Value = serde_json::from_slice(patch).map_err(malformed)?;
    let mut merged = current;
    if let (Some(known), Some(new)) = (merged.get(whole), patch.get(whole))
        && new.get("type").is_some_and(|kind| Some(kind) != known.get("type"))
        && let Some(fields) = merged.as_object_mut()
    {
        fields.remove(whole);
    }
    merge(&mut merged, patch);
    Ok(merged.to_string().into_bytes())
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(current: Value, patch: &str) -> Value {
        serde_json::from_slice(&merged(current, patch.as_bytes(), "policy").unwrap()).unwrap()
    }

    #[test]
    fn what_is_named_changes_and_null_takes_back() {
        let known = json!({"a": 1, "b": {"c": "x", "d": "y"}});
        assert_eq!(patched(known.clone(), "{}"), known);
        assert_eq!(patched(known.clone(), r#"{"a":2}"#), json!({"a": 2, "b": {"c": "x", "d": "y"}}));
        assert_eq!(patched(known.clone(), r#"{"a":null,"b":{"d":null,"e":1}}"#), json!({"b": {"c": "x", "e": 1}}));
        assert_eq!(patched(known.clone(), r#"{"b":[1,null]}"#), json!({"a": 1, "b": [1, null]}));
        assert_eq!(patched(known, r#"{"n":{"m":{"k":null}}}"#)["n"], json!({"m": {}}));
    }

    #[test]
    fn another_kind_of_the_same_replaces_it() {
        let known = json!({"policy": {"type": "steps", "next": ["1s"]}});
        let curve = patched(known.clone(), r#"{"policy":{"type":"curve","initial":"1s"}}"#);
        assert_eq!(curve, json!({"policy": {"type": "curve", "initial": "1s"}}));
        let same = patched(known.clone(), r#"{"policy":{"type":"steps","max":1}}"#);
        assert_eq!(same, json!({"policy": {"type": "steps", "next": ["1s"], "max": 1}}));
        assert_eq!(patched(known, r#"{"policy":null}"#), json!({}));
    }

    #[test]
    fn a_patch_is_an_object_that_names_each_field_once() {
        for patch in ["[]", "1", "null", "{", r#"{"a":1,"a":2}"#] {
            assert!(merged(json!({}), patch.as_bytes(), "").is_err(), "{patch}");
        }
    }
}
