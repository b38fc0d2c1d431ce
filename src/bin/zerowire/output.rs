//! Standard output and standard error.

use std::io::{self, BufWriter, StdoutLock, Write};

use zerowire::Message;

use crate::failure::Failure;
use crate::lines::Format;

/// Writes received messages to standard output, one a line.
///
/// Lines are gathered while more messages are there to be taken, and [flushed](Self::flush) before the command waits for
/// anything, so that a reader sees each as soon as it could be written.
pub struct Output {
    format: Format,
    writer: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
}

impl Output {
    /// Standard output, which nobody else writes to from now on.
    pub fn new(format: Format) -> Output {
        Output {
            format,
            writer: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()),
            line: Vec::new(),
        }
    }

    /// Writes a message as a line.
    pub fn print(&mut self, message: &Message) -> Result<(), Failure> {
        self.line.clear();
        self.format.write(message, &mut self.line);
        self.writer.write_all(&self.line).map_err(Failure::of_output)?;
        if self.line.capacity() > BUFFER_BYTES {
            self.line = Vec::new();
        }
        Ok(())
    }

    /// Hands over what was gathered.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::of_output)
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

/// Writes to standard output, or to what stands for it, and hands it over at once.
pub fn write_all(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Failure::of_output)
}

/// Writes a line to standard error, in one piece so that it does not mix with those of other threads. That nobody reads
/// there is no reason to stop.
pub fn tell(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
