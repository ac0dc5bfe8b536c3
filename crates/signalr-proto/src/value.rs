//! Values inside messages: arguments, items and results.

use crate::error::ValueError;
use crate::lexer::{Lexeme, Lexer};
use bytes::Bytes;
use serde_json::value::RawValue;

/// How many arrays and maps may be within each other in a value.
pub const MAX_DEPTH: usize = 64;

/// One JSON value as text, whichever protocol it came in.
///
/// It is syntactically valid and nested no deeper than [`MAX_DEPTH`]. It is as the client wrote it, or, out of MessagePack:
/// a `bin` is a string in base64 with padding, a timestamp is a string of RFC 3339, an integer as the key of a map is a string,
/// and NaN and the infinities are `null`, which is what a JavaScript client sends for them in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(Box<str>);

impl Value {
    /// The text, if it is one JSON value.
    ///
    /// # Errors
    /// It is not, or it is nested too deeply.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        serde_json::from_str::<&RawValue>(text).map_err(|_| ValueError::Json).and_then(Self::of_raw)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, as bytes that can be shared.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.0.into_boxed_bytes())
    }

    /// What is already known to be valid.
    pub(crate) fn of_valid(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    pub(crate) fn of_raw(raw: &RawValue) -> Result<Self, ValueError> {
        if is_deep(raw.get()) { Err(ValueError::Depth) } else { Ok(Self(raw.get().into())) }
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        value.into_bytes()
    }
}

/// Whether valid JSON is nested deeper than [`MAX_DEPTH`].
fn is_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    Lexer::new(text).any(|lexeme| {
        match lexeme {
            Lexeme::OpenArray | Lexeme::OpenObject => depth += 1,
            Lexeme::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}
