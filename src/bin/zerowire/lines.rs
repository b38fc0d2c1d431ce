//! Messages as lines of text.
//!
//! ```text
//!   plain         part TAB part TAB part ↵      as they are; a line of input is a message of one part
//!   hexadecimal   68656c6c6f||00ff ↵            any bytes, both ways; an empty part is empty text
//! ```

use bytes::Bytes;
use zerowire::Message;

/// How messages are written and read as lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The bytes themselves, parts separated by tabs. A message with a tab or a line break in it cannot be told apart.
    Plain,
    /// Hexadecimal digits, parts separated by `|`.
    Hex,
}

impl Format {
    /// Appends a message with the line break.
    pub fn write(self, message: &Message, out: &mut Vec<u8>) {
        for (number, part) in message.parts().enumerate() {
            match self {
                Format::Plain => {
                    if number > 0 {
                        out.push(b'\t');
                    }
                    out.extend_from_slice(part);
                }
                Format::Hex => {
                    if number > 0 {
                        out.push(b'|');
                    }
                    write_hex(part, out);
                }
            }
        }
        out.push(b'\n');
    }

    /// Reads a line, which comes without its line break.
    pub fn read(self, line: Bytes) -> Result<Message, String> {
        match self {
            Format::Plain => Ok(Message::from(line)),
            Format::Hex => {
                let parts: Result<Vec<Vec<u8>>, String> =
                    line.split(|byte| *byte == b'|').map(read_hex).collect();
                parts.map(Message::from_parts)
            }
        }
    }
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn read_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match *pair {
        [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().ok_or_else(|| {
        let shown = text[..text.len().min(SHOWN_BYTES)].escape_ascii();
        format!("`{shown}` is not pairs of hexadecimal digits")
    })
}

/// So much of a faulty part is shown.
const SHOWN_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        format.write(message, &mut out);
        out
    }

    #[test]
    fn hexadecimal_lines_read_back_as_they_were() {
        for (message, line) in [
            (Message::from_parts(["hello", "", "\0"]), "68656c6c6f||00\n"),
            (Message::from(b"\xff\x00\n|\t"), "ff000a7c09\n"),
            (Message::new(), "\n"),
            (Message::from_parts(["", ""]), "|\n"),
        ] {
            assert_eq!(written(Format::Hex, &message), line.as_bytes());
            let read = Format::Hex.read(Bytes::copy_from_slice(line.trim_end_matches('\n').as_bytes()));
            assert_eq!(read, Ok(message));
        }
        assert_eq!(
            Format::Hex.read(Bytes::from("FfaB")),
            Ok(Message::from(b"\xff\xab"))
        );
    }

    #[test]
    fn faulty_digits_are_shown() {
        for line in ["0", "abc", "0g", "00|1", "00 11", "+1", "é"] {
            let error = Format::Hex.read(Bytes::from(line)).unwrap_err();
            assert!(error.contains("hexadecimal"), "{error}");
        }
    }

    #[test]
    fn plain_lines_are_the_bytes_themselves() {
        assert_eq!(
            written(Format::Plain, &Message::from_parts(["a", "", "b\t"])),
            b"a\t\tb\t\n"
        );
        let line = Bytes::from_static(b"no\tparts\0\xff\r");
        assert_eq!(Format::Plain.read(line.clone()), Ok(Message::from(line)));
    }
}
