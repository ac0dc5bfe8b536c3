//! What a patch makes of a resource.

use bytes::Bytes;
use dovetail_model::{Representation, Resource, Topic};
use serde_json::Value;

use crate::outcome::WriteError;

/// Applies a JSON Merge Patch (RFC 7396 §2). A resource that does not exist counts as `null`.
pub(crate) fn merge(
    topic: &Topic,
    current: Option<&Resource>,
    patch: &[u8],
) -> Result<Representation, WriteError> {
    let patch: Value = parse(topic, patch)?;
    let mut value = current.map_or(Ok(Value::Null), contents)?;
    json_patch::merge(&mut value, &patch);
    Ok(represent(current, &value))
}

/// Applies a JSON Patch (RFC 6902 §5): all of it or, on the first failing operation, nothing.
pub(crate) fn json(current: &Resource, patch: &[u8]) -> Result<Representation, WriteError> {
    let topic = &current.topic;
    let patch: json_patch::Patch = parse(topic, patch)?;
    let mut value = contents(current)?;
    json_patch::patch(&mut value, &patch)
        .map_err(|error| WriteError::PatchConflict { topic: topic.clone(), reason: error.to_string() })?;
    Ok(represent(Some(current), &value))
}

fn parse<T: serde::de::DeserializeOwned>(topic: &Topic, patch: &[u8]) -> Result<T, WriteError> {
    serde_json::from_slice(patch)
        .map_err(|error| WriteError::MalformedPatch { topic: topic.clone(), reason: error.to_string() })
}

fn contents(current: &Resource) -> Result<Value, WriteError> {
    serde_json::from_slice(&current.representation.payload).map_err(|error| WriteError::PatchConflict {
        topic: current.topic.clone(),
        reason: format!("it is not JSON: {error}"),
    })
}

fn represent(current: Option<&Resource>, value: &Value) -> Representation {
    let payload = Bytes::from(value.to_string().into_bytes());
    match current {
        Some(current) => Representation { payload, ..current.representation.clone() },
        None => Representation {
            payload,
            content_type: Some("application/json".into()),
            ..Representation::default()
        },
    }
}
