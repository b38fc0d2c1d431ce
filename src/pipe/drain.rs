//! One write to a connection: what is owed and what waits in the chain, as far as the kernel takes it.

use std::io::{self, IoSlice};

use super::WriteSide;
use super::batch::{Batch, Slices};
use super::chain::Consumer;
use super::credit::Credit;

/// What the holder of the token owns.
pub(super) struct Drain {
    pub(super) batch: Batch,
    pub(super) side: Option<std::sync::Arc<dyn WriteSide>>,
    /// Commands that come before the next frame, and frames that came out of `asides`.
    pub(super) commands: Vec<u8>,
    /// Frames that come before the next message.
    pub(super) asides: Vec<u8>,
    /// Bytes of `commands` that are no commands, or fewer: those written count first.
    pub(super) asides_moved: usize,
    /// Messages finished since the pipe was made: the value of the shared counter, which only the holder changes.
    pub(super) finished: u64,
    /// Bytes written since the pipe was made.
    pub(super) written: u64,
    /// The same when the present connection began.
    pub(super) written_before: u64,
}

impl Drain {
    pub(super) fn new(consumer: Consumer<u8>) -> Drain {
        Drain {
            batch: Batch::new(consumer),
            side: None,
            commands: Vec::new(),
            asides: Vec::new(),
            asides_moved: 0,
            finished: 0,
            written: 0,
            written_before: 0,
        }
    }

    /// Takes over the commands and writes; also returns the counts of messages finished, bytes written and command bytes
    /// left.
    pub(super) fn work(
        &mut self,
        owed: &[u8],
        asides: &[u8],
        credit: &Credit,
        bytes_max: usize,
    ) -> (Drained, u64, u64, usize) {
        // Up to twice the limit wait here; then the peer does not read, and gets no more.
        if self.commands.len() - self.asides_moved <= COMMANDS_BYTES_MAX {
            self.commands.extend_from_slice(owed);
        }
        self.asides.extend_from_slice(asides);
        let outcome = self.write(true, credit, bytes_max);
        let commands_left = self.commands.len() + self.asides.len();
        (outcome, self.finished, self.written, commands_left)
    }

    /// Makes one write of about `bytes_max` bytes at most. Dry means that everything lent to it was taken; the chain may
    /// have grown meanwhile.
    pub(super) fn write(&mut self, announce: bool, credit: &Credit, bytes_max: usize) -> Drained {
        let Some(side) = self.side.clone() else {
            return Drained::Blocked;
        };
        if self.batch.between_messages() {
            self.asides_moved += self.asides.len();
            self.commands.append(&mut self.asides);
        }
        let mut slices = Slices::new();
        let at_boundary = self.batch.between_frames();
        let commands = if at_boundary { self.commands.len() } else { 0 };
        if commands > 0 {
            slices.push(IoSlice::new(&self.commands));
        }
        let frames = if !at_boundary && !self.commands.is_empty() {
            self.batch.gather_frame(&mut slices)
        } else if !self.asides.is_empty() {
            self.batch.gather_message(&mut slices, bytes_max)
        } else {
            self.batch.gather(&mut slices, bytes_max)
        };
        if slices.is_empty() {
            return Drained::Dry;
        }
        let result = side.write_vectored(&slices);
        drop(slices);
        match result {
            Ok(0) => Drained::Broken(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.written += count as u64;
                credit.set_bytes(self.written - self.written_before);
                let commands_taken = count.min(commands);
                self.commands.drain(..commands_taken);
                self.asides_moved = self.asides_moved.saturating_sub(commands_taken);
                let messages = self.batch.wrote(count - commands_taken);
                if messages > 0 {
                    self.finished += messages;
                    credit.set_done(self.finished);
                    if announce {
                        credit.announce();
                    }
                }
                if count < commands + frames {
                    Drained::Blocked
                } else if self.commands.is_empty() && self.asides.is_empty() && !self.batch.has_more() {
                    Drained::Dry
                } else {
                    Drained::Unfinished
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Drained::Unfinished,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Drained::Blocked,
            Err(error) => Drained::Broken(error),
        }
    }
}

/// How far a drain came.
#[derive(Debug)]
pub(crate) enum Drained {
    /// Everything accepted is finished; the token is Idle.
    Dry,
    /// The kernel's buffer is full, or there is no stream; the token stays with the I/O thread.
    Blocked,
    /// The budget is used up and there is more; the token stays with the I/O thread.
    Unfinished,
    /// The connection failed; the token stays with the I/O thread.
    Broken(io::Error),
    /// The application is writing. If it was asked for the token, or leaves something to do, the pipe will be reported
    /// ready; if it writes everything by itself, nobody is told, because nothing is left to do.
    Elsewhere,
}

/// Commands that wait to be written, in bytes.
pub(super) const COMMANDS_BYTES_MAX: usize = 4096;
