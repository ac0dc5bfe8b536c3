//! JSON that is known to be valid, piece by piece.

/// A piece of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lexeme<'a> {
    OpenArray,
    OpenObject,
    /// The end of an array or an object.
    Close,
    Comma,
    Colon,
    /// What is between the quotation marks.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Word(&'a str),
}

/// Takes valid JSON apart. It keeps no state but its place, so depth costs nothing.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// `text` must be valid JSON; of anything else the pieces mean nothing.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The place after the last byte from here on that is `inside`.
    fn end_of(&self, inside: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        rest.iter().position(|&byte| !inside(byte)).map_or(self.text.len(), |length| self.at + length)
    }

    /// The place of the quotation mark that ends the string that begins here.
    fn end_of_string(&self) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        at.min(bytes.len())
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Lexeme<'a>;

    fn next(&mut self) -> Option<Lexeme<'a>> {
        self.at = self.end_of(|byte| byte.is_ascii_whitespace());
        let start = self.at;
        let &first = self.text.as_bytes().get(start)?;
        self.at += 1;
        Some(match first {
            b'[' => Lexeme::OpenArray,
            b'{' => Lexeme::OpenObject,
            b']' | b'}' => Lexeme::Close,
            b',' => Lexeme::Comma,
            b':' => Lexeme::Colon,
            b'"' => {
                let end = self.end_of_string();
                let inner = &self.text[start + 1..end];
                self.at = end + 1;
                Lexeme::String(inner)
            }
            _ => {
                self.at =
                    self.end_of(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
                Lexeme::Word(&self.text[start..self.at])
            }
        })
    }
}

/// The text of a string between its quotation marks, without escapes. Half of a surrogate pair, which JSON can write and UTF-8
/// cannot, becomes U+FFFD.
pub(crate) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        rest = match escape.as_bytes().first() {
            Some(b'u') => {
                let (character, rest) = unicode(&escape[1..]);
                out.push(character);
                rest
            }
            Some(&other) => {
                out.push(match other {
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    _ => char::from(other),
                });
                &escape[1..]
            }
            None => "",
        };
    }
    out.push_str(rest);
    out
}

/// The character of one or two escapes, of which the first begins after its `\u`, and what follows.
fn unicode(text: &str) -> (char, &str) {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(text) else {
        return (char::REPLACEMENT_CHARACTER, "");
    };
    let rest = &text[4..];
    if let Some(character) = char::from_u32(first) {
        return (character, rest);
    }
    if let (0xd800..=0xdbff, Some(after)) = (first, rest.strip_prefix("\\u"))
        && let Some(second @ 0xdc00..=0xdfff) = unit(after)
    {
        let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), &after[4..]);
    }
    (char::REPLACEMENT_CHARACTER, rest)
}
