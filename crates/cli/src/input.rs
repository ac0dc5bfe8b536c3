//! Contents that were typed or come in.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use dovetail_model::Representation;
use dovetail_model::limits::PAYLOAD_BYTES_MAX;

use crate::failure::Failure;

/// The contents: what was typed, or standard input.
pub(crate) fn contents(typed: Option<String>) -> Result<Bytes, Failure> {
    match typed {
        Some(text) if text != "-" => Ok(text.into()),
        _ => {
            let mut contents = Vec::new();
            let mut input = std::io::stdin().lock().take(PAYLOAD_BYTES_MAX as u64 + 1);
            input.read_to_end(&mut contents).map_err(Failure::Input)?;
            if contents.len() > PAYLOAD_BYTES_MAX {
                return Err(Failure::Usage("no server takes contents of more than 16 MiB"));
            }
            Ok(contents.into())
        }
    }
}

/// The contents as a representation of the given type, or of the one that they look like.
pub(crate) fn representation(payload: Bytes, content_type: Option<String>) -> Representation {
    let content_type: Arc<str> = content_type.map_or_else(|| guessed(&payload).into(), Into::into);
    Representation { payload, content_type: Some(content_type), ..Representation::default() }
}

fn guessed(payload: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok() {
        "application/json"
    } else if std::str::from_utf8(payload).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_guessed() {
        let table: [(&[u8], &str); 6] = [
            (b"21.5", "application/json"),
            (b"{\"a\": [1]}\n", "application/json"),
            (b"\"text\"", "application/json"),
            (b"too hot", "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"\xff\xd8", "application/octet-stream"),
        ];
        for (payload, expected) in table {
            let representation = representation(Bytes::from_static(payload), None);
            assert_eq!(representation.content_type.as_deref(), Some(expected), "{payload:?}");
        }
        let given = representation(Bytes::from_static(b"1"), Some("x/y".to_owned()));
        assert_eq!(given.content_type.as_deref(), Some("x/y"));
    }
}
