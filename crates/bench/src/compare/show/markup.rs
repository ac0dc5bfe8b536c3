//! Text inside of markup.

/// Text of any origin, as the content of an element or the value of an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML cannot hold them, and nobody can read them.
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// Units that stay with their number at the end of a line.
const UNITS: [&str; 9] = ["%", "µs", "ms", "s", "min", "h", "B", "kB", "MB"];

/// A sentence, as the content of an element.
pub(super) fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_number = false;
    for word in text.split_inclusive(' ') {
        let bare = word.trim_end_matches(|end: char| end.is_ascii_punctuation() && end != '%' || end == ' ');
        if after_number && UNITS.contains(&bare) {
            out.pop();
            out.push('\u{a0}');
        }
        out.push_str(&escape(word));
        after_number =
            word.strip_suffix(' ').is_some_and(|word| word.ends_with(|last: char| last.is_ascii_digit()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_opens_a_tag_or_ends_a_value() {
        assert_eq!(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(escape("MQTT 5, QoS 1"), "MQTT 5, QoS 1");
        assert_eq!(prose("in 5 s, 6.8 % of <b> 7 days"), "in 5\u{a0}s, 6.8\u{a0}% of &lt;b&gt; 7 days");
        assert_eq!(escape("\u{0}\u{1b}[31m\n"), "\u{fffd}\u{fffd}[31m\u{fffd}");
    }
}
