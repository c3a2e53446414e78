//! Text from a guest on its way to a person.

/// One line without control characters (a terminal would obey them), cut to `chars_max` characters.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let clean = |c: char| if c.is_control() || is_invisible(c) { ' ' } else { c };
    let mut line: String = text.chars().take(chars_max).map(clean).collect();
    if text.chars().nth(chars_max).is_some() {
        line.push('…');
    }
    line
}

/// True for characters that reverse or hide their neighbours.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn nothing_of_a_line_acts_on_the_terminal() {
        assert_eq!(one_line("a\x1b[31mb\r\nc\u{202E}d", 99), "a [31mb  c d");
        assert_eq!(one_line("żółw", 2), "żó…");
        assert_eq!(one_line("żółw", 4), "żółw");
    }
}
