//! JSON objects of one line, for those who read standard error with a program.

use std::fmt::Write;

/// Writes an object field by field, in the order in which they are given.
pub struct Object {
    text: String,
}

impl Object {
    /// An object without fields.
    pub fn new() -> Object {
        Object { text: "{".into() }
    }

    /// Adds a field that is text.
    pub fn text(mut self, name: &str, value: &str) -> Object {
        self.name(name);
        string(value, &mut self.text);
        self
    }

    /// Adds a field that is a number.
    pub fn number(mut self, name: &str, value: u64) -> Object {
        self.name(name);
        let _ = write!(self.text, "{value}");
        self
    }

    /// Adds a field that is an object.
    pub fn object(mut self, name: &str, value: Object) -> Object {
        self.name(name);
        self.text.push_str(&value.finish());
        self
    }

    /// The object as text.
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn name(&mut self, name: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        string(name, &mut self.text);
        self.text.push(':');
    }
}

/// Writes a string literal (RFC 8259, section 7).
fn string(value: &str, out: &mut String) {
    out.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_it_was() {
        let hostile = "a \"quoted\" \\ \u{1} \u{7f} \u{9f} line\nwith\ttabs and é";
        let text = Object::new()
            .text("event", hostile)
            .number("count", u64::MAX)
            .object("inner", Object::new())
            .finish();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["event"], hostile);
        assert_eq!(value["count"], u64::MAX);
        assert!(value["inner"].as_object().unwrap().is_empty());
        assert!(!text.contains('\n'));
    }
}
