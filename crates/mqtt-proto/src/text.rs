//! UTF-8 strings as MQTT has them.

use crate::error::EncodeError;
use bytes::Bytes;

/// A UTF-8 string of at most 65,535 bytes without U+0000 (§1.5.4), sharing the bytes of the packet that it came in.
///
/// A `Text` pins that packet; what is kept for long is better copied.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// The empty string.
    pub const EMPTY: Self = Self(Bytes::new());

    /// A copy of `text`, if it is short enough and without U+0000.
    pub fn new(text: &str) -> Result<Self, EncodeError> {
        check_text(text)?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// `part`, which lies within `packet` and has been checked, without a copy.
    pub(crate) fn shared(packet: &Bytes, part: &str) -> Self {
        Self(packet.slice_ref(part.as_bytes()))
    }

    /// The string. It is checked again on each call, some nanoseconds for a topic, because the bytes are shared and this
    /// workspace has no unsafe code.
    #[inline]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a text is checked when it is made")
    }

    /// The bytes of the string.
    #[inline]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<&str> for Text {
    type Error = EncodeError;

    fn try_from(text: &str) -> Result<Self, EncodeError> {
        Self::new(text)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `text` may be written as an MQTT string.
pub(crate) fn check_text(text: &str) -> Result<(), EncodeError> {
    if text.len() > usize::from(u16::MAX) {
        return Err(EncodeError::Field(text.len()));
    }
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::Nul);
    }
    Ok(())
}
