//! A bound endpoint: accepts connections and hands them to the I/O threads in turn.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::endpoint::Endpoint;
use crate::mailbox::SocketLink;
use crate::monitor::{Event, Trail};
use crate::pipe::sync::{AtomicU64, Ordering};
use crate::transport::{Listener, Stream};

pub(super) struct Acceptor {
    pub(super) socket: Arc<SocketLink>,
    pub(super) listener: Listener,
    pub(super) endpoint: Arc<Endpoint>,
    /// There may be connections to accept. Cleared by the kernel's "would block" only, since its edge comes once.
    ready: bool,
    /// No accepting before then: the process was out of descriptors.
    paused_until: Option<Instant>,
    /// The end of the pause that the last `serve` began: the loop needs one timer for it, not one for each look.
    pub(super) pause_begins: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(socket: Arc<SocketLink>, listener: Listener, endpoint: Endpoint) -> Acceptor {
        Acceptor {
            socket,
            listener,
            endpoint: Arc::new(endpoint),
            ready: true,
            paused_until: None,
            pause_begins: None,
        }
    }

    pub(super) fn wake(&mut self) {
        self.ready = true;
    }

    /// Accepts up to [`ACCEPTS_PER_TURN`] connections, with numbers from `ids`; says whether there may be more.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        ids: &AtomicU64,
        mut hand_over: impl FnMut(Stream, Trail),
    ) -> bool {
        self.pause_begins = None;
        if self.paused_until.is_some_and(|until| until > now) {
            return false;
        }
        self.paused_until = None;
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.ready {
                return false;
            }
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let id = ids.fetch_add(1, Ordering::Relaxed);
                    let trail = Trail::new(id, self.endpoint.to_string(), stream.local_text(), peer);
                    let accepted = |connection| Event::Accepted { connection };
                    self.socket.monitors.report_on(&trail, accepted).carry_out();
                    hand_over(stream, trail);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) => {
                    // Out of descriptors or memory, most likely: those who wait in the backlog stay there.
                    let failed = || Event::AcceptFailed {
                        endpoint: self.endpoint.to_string(),
                        reason: error.into(),
                    };
                    self.socket.monitors.report(failed).carry_out();
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                    self.pause_begins = self.paused_until;
                    return false;
                }
            }
        }
        self.ready
    }
}

/// So that a storm of connections does not starve those that stand.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting stops when the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
