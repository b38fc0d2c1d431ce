//! Standard input, read by a thread of its own and handed over in batches of lines.
//!
//! ```text
//!   stdin ──► chunk of 64 KiB ──► batch: "lines" │ line │ line │ …     PUSH ══inproc══► PULL
//!                                 then:  "end"   or  "error" │ reason
//! ```
//!
//! A batch is a message of many parts that share the chunk, so nothing is copied, and a long line is a batch alone. A few batches
//! wait at most; then the thread waits, and whoever writes to the pipe with it.

use std::io::{self, Read};
use std::thread;

use bytes::{Bytes, BytesMut};
use zerowire::{Context, IntoParts, Message, PullSocket, PushSocket, Selector};

use crate::failure::Failure;

/// The lines of standard input.
pub struct Input {
    batches: PullSocket,
    batch: Option<IntoParts>,
    has_ended: bool,
}

impl Input {
    /// Starts to read. A line may have `line_bytes_max`.
    pub fn start(line_bytes_max: u64) -> Result<Input, Failure> {
        // Of its own, as the thread that reads may keep its socket for ever.
        let context = Context::new();
        let mut batches = PullSocket::new(&context);
        batches.bind(ENDPOINT)?;
        let mut writer = PushSocket::builder(&context)
            .send_hwm(BATCHES_MAX)
            .max_message_bytes(i32::MAX as u64)
            .build()?;
        writer.connect(ENDPOINT)?;
        thread::Builder::new().name("stdin".into()).spawn(move || {
            let limit = usize::try_from(line_bytes_max).unwrap_or(usize::MAX);
            let last = match read(io::stdin().lock(), limit, &mut |batch| writer.send(batch).is_ok()) {
                Ok(()) => Message::from("end"),
                Err(reason) => Message::from(["error".to_owned(), reason]),
            };
            let _ = writer.send(last);
        })?;
        Ok(Input {
            batches,
            batch: None,
            has_ended: false,
        })
    }

    /// The next line, if one has been read.
    pub fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(line) = self.batch.as_mut().and_then(Iterator::next) {
                return Ok(Some(line));
            }
            let Ok(message) = self.batches.try_recv() else {
                return Ok(None);
            };
            let mut parts = message.into_parts();
            let kind = parts.next().unwrap_or_default();
            match &kind[..] {
                b"lines" => self.batch = Some(parts),
                b"error" => {
                    let reason = parts.next().unwrap_or_default();
                    return Err(Failure::Error(String::from_utf8_lossy(&reason).into_owned()));
                }
                _ => {
                    self.has_ended = true;
                    return Ok(None);
                }
            }
        }
    }

    /// Whether there will be no further line.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Has the selector wake when there is more.
    pub fn watch<K: Clone + Eq + std::hash::Hash>(
        &mut self,
        key: K,
        selector: &mut Selector<K>,
    ) -> Result<(), Failure> {
        Ok(selector.receive(key, &mut self.batches)?)
    }
}

const ENDPOINT: &str = "inproc://input";
const CHUNK_BYTES: usize = 64 * 1024;
/// Batches that wait for the main thread.
const BATCHES_MAX: u32 = 4;
/// A message may have 1,024 parts.
const BATCH_LINES_MAX: usize = 1000;

/// Reads lines until the end, and delivers them in batches for as long as those are taken.
fn read(
    mut source: impl Read,
    line_bytes_max: usize,
    deliver: &mut dyn FnMut(Message) -> bool,
) -> Result<(), String> {
    let mut buffer = BytesMut::new();
    let mut line_number = 1_u64;
    loop {
        // Up to here there is no line break.
        let old = buffer.len();
        buffer.resize(old + CHUNK_BYTES, 0);
        let read = match source.read(&mut buffer[old..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                buffer.truncate(old);
                continue;
            }
            Err(error) => return Err(format!("standard input: {error}")),
        };
        buffer.truncate(old + read);
        let has_ended = read == 0;
        let mut lines = Vec::new();
        let mut from = old;
        while let Some(at) = buffer[from..].iter().position(|byte| *byte == b'\n') {
            let mut line = buffer.split_to(from + at + 1);
            line.truncate(from + at);
            lines.push(line.freeze());
            from = 0;
        }
        if has_ended && !buffer.is_empty() {
            lines.push(buffer.split().freeze());
        }
        let longest = lines.iter().map(Bytes::len).chain([buffer.len()]);
        if let Some(excess) = longest.enumerate().find(|(_, bytes)| *bytes > line_bytes_max) {
            return Err(format!(
                "line {} of the input is longer than {line_bytes_max} bytes",
                line_number + excess.0 as u64
            ));
        }
        line_number += lines.len() as u64;
        for batch in lines.chunks(BATCH_LINES_MAX) {
            let parts = [Bytes::from_static(b"lines")]
                .into_iter()
                .chain(batch.iter().cloned());
            if !deliver(Message::from_parts(parts)) {
                return Ok(());
            }
        }
        if has_ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its text in pieces of a certain size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(out.len());
            let (piece, rest) = self.0.split_at(size);
            out[..size].copy_from_slice(piece);
            self.0 = rest;
            Ok(size)
        }
    }

    fn lines(text: &[u8], piece: usize, limit: usize) -> Result<Vec<Bytes>, String> {
        let mut found = Vec::new();
        read(Pieces(text, piece), limit, &mut |batch| {
            found.extend(batch.into_parts().skip(1));
            true
        })?;
        Ok(found)
    }

    #[test]
    fn lines_are_the_same_wherever_the_input_is_cut() {
        let text = b"one\n\n\0\xff binary\r\nthe last, without an end";
        let expected: Vec<&[u8]> = vec![b"one", b"", b"\0\xff binary\r", b"the last, without an end"];
        for piece in 1..=text.len() {
            assert_eq!(lines(text, piece, 100).unwrap(), expected, "pieces of {piece}");
        }
        assert_eq!(lines(b"", 1, 1).unwrap(), [""; 0]);
        assert_eq!(lines(b"\n", 1, 1).unwrap(), [""]);
    }

    #[test]
    fn a_line_may_be_long_but_not_endless() {
        let long = vec![b'x'; 3 * CHUNK_BYTES + 1];
        assert_eq!(lines(&long, usize::MAX, long.len()).unwrap(), [&long[..]]);
        for piece in [1000, usize::MAX] {
            let error = lines(&[b"a\nb\n", &long[..]].concat(), piece, long.len() - 1).unwrap_err();
            assert_eq!(
                error,
                format!("line 3 of the input is longer than {} bytes", long.len() - 1)
            );
        }
    }

    #[test]
    fn many_lines_go_in_several_batches() {
        let text = "\n".repeat(2 * BATCH_LINES_MAX + 1);
        assert_eq!(
            lines(text.as_bytes(), usize::MAX, 1).unwrap().len(),
            2 * BATCH_LINES_MAX + 1
        );
    }

    #[test]
    fn reading_ends_when_nobody_takes_the_lines() {
        let mut taken = 0;
        let endless = io::repeat(b'\n');
        read(endless, 1, &mut |_| {
            taken += 1;
            taken < 3
        })
        .unwrap();
        assert_eq!(taken, 3);
    }
}
