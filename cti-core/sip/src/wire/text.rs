//! Lists and quoted strings within header values.

/// Splits at `separator` outside of quoted strings and angle brackets; items are trimmed, empty ones left out.
pub fn split(text: &str, separator: u8) -> Split<'_> {
    Split { rest: text, separator }
}

pub struct Split<'a> {
    rest: &'a str,
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let (item, rest) = match find(self.rest, self.separator) {
                Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
                None => (self.rest, ""),
            };
            self.rest = rest;
            let item = item.trim();
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

/// Where `wanted` first stands outside of quoted strings and angle brackets.
pub fn find(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'"' | b'<')) {
        return bytes.iter().position(|byte| *byte == wanted);
    }
    let (mut quoted, mut angled, mut at) = (false, false, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if quoted {
            match byte {
                b'\\' => at += 1,
                b'"' => quoted = false,
                _ => {}
            }
        } else if byte == wanted && !angled {
            return Some(at);
        } else {
            match byte {
                b'"' => quoted = true,
                b'<' => angled = true,
                b'>' => angled = false,
                _ => {}
            }
        }
        at += 1;
    }
    None
}

/// Whether every quoted string is closed.
pub fn quotes_closed(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}

/// Without its quotation marks, escapes left alone: for parameter values.
pub fn unquoted_ends(text: &str) -> &str {
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// The text of a quoted string (RFC 3261 25.1): marks taken off, `\x` to `x`.
pub fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else { return text.to_owned() };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// A quoted string of any text; control characters fall away.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A header value from outside: no control character (so no CR or LF) passes.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
