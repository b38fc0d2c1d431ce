//! Shared memory between threads: the only lock-free code, and the only unsafe code, of the crate.
//!
//! ```text
//!   application thread                                   I/O thread
//!   outbound::Sender ──chain of bytes──► drain::Drain ────────► kernel     (the token says who drains)
//!   many Senders     ──one message──► many chains                          (fan-out: all have it, then all are woken)
//!                                        outbound::Drainer ───► kernel     (commands and asides: not in the chain)
//!   inbound::Reader  ◄──chain of bytes── inbound::Writer ◄───── kernel
//!   inbound::Writer  ──chain of messages──► inbound::Reader                (inproc: two application threads)
//!   inbox::Inbox     ◄── control items and "this pipe is ready" ──►        (one for each side that can sleep)
//! ```
//!
//! | file | what it is |
//! | --- | --- |
//! | [`chain`] | the one lock-free queue: segments of elements, published by one word each |
//! | [`recycle`] | drained segments on their way back to the producer |
//! | [`credit`] | how far the consuming side has come, and the wake-up of a producer at its high-water mark |
//! | [`quota`] | the ceiling on what all queues hold together |
//! | [`outbound`] | a chain of frames plus the drain token that says who writes them, and what is owed, to the connection |
//! | [`drain`], [`pace`] | what the holder of the token does with it, and which side had better hold it |
//! | [`batch`] | which bytes of a chain the kernel took, in whole messages |
//! | [`inbound`] | a chain that is handed to the receiving application thread |
//! | [`latest`] | one place instead of a queue, for sockets that conflate |
//! | [`inbox`] | many producers, one sleeper: control items and ready pipes |
//! | [`sync`] | atomics, locks and cells: std's, or loom's under `cfg(zerowire_loom)` |
//!
//! Nothing here knows sockets, protocols or descriptors. The rule of all wake-ups: the side that goes to sleep
//! announces it, *then* looks once more; the side that has news publishes it, *then* looks for the announcement;
//! a `SeqCst` fence stands between the two steps on both sides. A fan-out has one fence for the news of all its pipes.
#![allow(unsafe_code)]

pub(crate) mod batch;
pub(crate) mod chain;
pub(crate) mod credit;
mod drain;
pub(crate) mod inbound;
pub(crate) mod inbox;
pub(crate) mod latest;
pub(crate) mod outbound;
mod pace;
pub(crate) mod quota;
pub(crate) mod recycle;
pub(crate) mod sync;

#[cfg(all(test, zerowire_loom))]
mod models;
#[cfg(all(test, not(zerowire_loom)))]
mod stress;

use recycle::Sizes;

/// Names a pipe on both of its sides, for the life of the context: what ready lists and control items carry.
pub(crate) type PipeId = u64;

/// Segments of outbound chains: 4 KiB keeps an idle pipe small, and a write takes many at once.
pub(crate) const BYTE_SIZES: Sizes = Sizes {
    first: 512,
    small: 4096,
    block: 0,
};
/// Segments of inbound chains, and the blocks an I/O thread reads into.
pub(crate) const INBOUND_SIZES: Sizes = Sizes {
    first: 512,
    small: 4096,
    block: 64 * 1024,
};
/// Segments of inproc chains, counted in messages of 80 bytes.
pub(crate) const MESSAGE_SIZES: Sizes = Sizes {
    first: 6,
    small: 50,
    block: 0,
};

/// The writing half of a connection, shared by the I/O thread and one application thread.
///
/// Only the holder of the pipe's drain token calls it, so calls never overlap. It is called often, may never
/// block, and reports a full kernel buffer as [`WouldBlock`](std::io::ErrorKind::WouldBlock).
pub(crate) trait WriteSide: Send + Sync {
    /// Writes the slices in order, as one system call, and says how many bytes of them were taken.
    fn write_vectored(&self, slices: &[std::io::IoSlice<'_>]) -> std::io::Result<usize>;
}
