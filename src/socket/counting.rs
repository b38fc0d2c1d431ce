//! What became of messages, for each peer.

use std::collections::BTreeMap;

use super::receive_half::ReceiveHalf;
use crate::monitor::Monitors;
use crate::pipe::PipeId;
use crate::stats::{PeerStats, Sent};

/// A half that sends, whichever way it chooses peers.
pub(crate) trait Counted {
    /// What became of all messages.
    fn stats(&self) -> Sent;

    /// What became of the messages of each peer that is listed.
    fn peers(&self) -> Vec<(PipeId, Counts)>;
}

/// What became of the messages of a pipe since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Messages that were put in.
    pub(crate) accepted: u64,
    /// Messages that went on.
    pub(crate) handed_over: u64,
    /// Messages that gave way to a newer one.
    pub(crate) replaced: u64,
    /// Times that no room was found.
    pub(crate) full: u64,
    /// Bytes written to the present connection.
    pub(crate) bytes_written: u64,
}

impl Counts {
    pub(crate) fn waiting(&self) -> u64 {
        self.accepted - self.handed_over - self.replaced
    }
}

/// Messages as calls take them or give them out, counted once more in debug builds: the counts that pipes keep, of which
/// statistics are made, are compared with it.
#[derive(Default)]
pub(crate) struct Witness {
    messages: u64,
}

impl Witness {
    #[inline(always)]
    pub(crate) fn saw(&mut self, messages: u64) {
        if cfg!(debug_assertions) {
            self.messages += messages;
        }
    }

    /// One of them went back.
    pub(crate) fn saw_back(&mut self) {
        if cfg!(debug_assertions) {
            self.messages -= 1;
        }
    }

    /// Panics in debug builds if pipes have counted otherwise.
    pub(crate) fn compare(&self, counted: u64) {
        debug_assert_eq!(counted, self.messages, "pipes count what calls saw");
    }
}

/// Brings together what the two halves know of each peer.
pub(crate) fn peer_stats(
    monitors: &Monitors,
    send: Option<&dyn Counted>,
    receive: Option<&ReceiveHalf>,
) -> Vec<PeerStats> {
    let mut peers: BTreeMap<PipeId, PeerStats> = BTreeMap::new();
    for (pipe, counts) in send.map(Counted::peers).unwrap_or_default() {
        let peer = peers.entry(pipe).or_default();
        peer.accepted = counts.accepted;
        peer.handed_over = counts.handed_over;
        peer.replaced = counts.replaced;
        peer.waiting_to_be_sent = counts.waiting();
        peer.full = counts.full;
        peer.bytes_written = counts.bytes_written;
    }
    for (pipe, counts) in receive.map(ReceiveHalf::peers).unwrap_or_default() {
        let peer = peers.entry(pipe).or_default();
        peer.received = counts.handed;
        peer.waiting_to_be_taken = counts.waiting();
    }
    let connected = peers
        .into_iter()
        .map(|(pipe, peer)| match monitors.connection(pipe) {
            Some((connection, meter)) => PeerStats {
                connection: Some(connection),
                bytes_read: meter.bytes(),
                last_heard: meter.last_heard(),
                ..peer
            },
            None => peer,
        });
    connected.collect()
}
