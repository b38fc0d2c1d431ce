//! Where the messages come from that are sent unasked.

use bytes::Bytes;
use zerowire::{Message, Selector};

use crate::failure::Failure;
use crate::input::Input;
use crate::lines::Format;
use crate::peer::Wake;

/// Texts or lines.
pub enum Source {
    Nothing,
    /// Texts, a number of times.
    Messages {
        texts: Vec<Bytes>,
        at: usize,
        rounds: u64,
    },
    /// Lines of standard input.
    Input {
        input: Box<Input>,
        /// So many more at most.
        left: Option<u64>,
        /// The number of the last line.
        line: u64,
    },
}

impl Source {
    /// The next message, if there is one now.
    pub fn next(&mut self, format: Format) -> Result<Option<Message>, Failure> {
        if self.has_ended() {
            return Ok(None);
        }
        match self {
            Source::Nothing => Ok(None),
            Source::Messages { texts, at, rounds } => {
                let message = Message::from(texts[*at].clone());
                *at += 1;
                if *at == texts.len() {
                    (*at, *rounds) = (0, *rounds - 1);
                }
                Ok(Some(message))
            }
            Source::Input { input, left, line } => {
                let Some(text) = input.next()? else {
                    return Ok(None);
                };
                *line += 1;
                *left = left.map(|left| left - 1);
                let message = format.read(text);
                let message = message
                    .map_err(|reason| Failure::Error(format!("line {line} of the input: {reason}")))?;
                Ok(Some(message))
            }
        }
    }

    pub fn has_ended(&self) -> bool {
        match self {
            Source::Nothing => true,
            Source::Messages { rounds, .. } => *rounds == 0,
            Source::Input { input, left, .. } => *left == Some(0) || input.has_ended(),
        }
    }

    pub fn watch(&mut self, selector: &mut Selector<Wake>) -> Result<(), Failure> {
        match self {
            Source::Input { input, .. } => input.watch(Wake::Input, selector),
            Source::Nothing | Source::Messages { .. } => Ok(()),
        }
    }
}
