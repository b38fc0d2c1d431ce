//! Sockets that conflate: between the application and the pipes of the connection stands a place for the newest message.
//!
//! ```text
//!   application ─► newest ─┐                                    ┌─► newest ─► application
//!                          └─► pipe ─► connection ─► pipe ──────┘
//! ```
//!
//! The pipes have both their ends here. What the application sends goes on when the last message is written, and what
//! comes is handed over at once, so nothing waits in them.

use crate::framing;
use crate::mailbox::SocketLink;
use crate::message::Message;
use crate::pipe::inbound::{Reader, Settled};
use crate::pipe::latest;
use crate::pipe::outbound::Sender;
use crate::pipe::recycle::Spares;

/// What a peer of such a socket has beside its pipes; nothing for the others.
#[derive(Default)]
pub(super) struct Conflated {
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

struct Outgoing {
    newest: latest::Reader<Message>,
    pipe: Sender,
    spares: Spares<u8>,
}

struct Incoming {
    pipe: Reader<u8>,
    newest: latest::Writer<Message>,
}

impl Conflated {
    pub(super) fn new(
        outgoing: Option<(latest::Reader<Message>, Sender)>,
        incoming: Option<(Reader<u8>, latest::Writer<Message>)>,
        socket: &SocketLink,
    ) -> Conflated {
        Conflated {
            outgoing: outgoing.map(|(newest, pipe)| Outgoing {
                newest,
                pipe,
                spares: Spares::new(socket.byte_pool.clone()),
            }),
            incoming: incoming.map(|(pipe, newest)| Incoming { pipe, newest }),
        }
    }

    /// Tells the sending half whether there is a connection.
    pub(super) fn set_connected(&self, connected: bool) {
        if let Some(outgoing) = &self.outgoing {
            outgoing.newest.set_attached(connected);
        }
    }

    /// Whether the application no longer receives.
    pub(super) fn is_abandoned(&self) -> bool {
        self.incoming
            .as_ref()
            .is_some_and(|incoming| incoming.newest.is_abandoned())
    }

    /// Whether a message waits to be sent.
    pub(super) fn is_filled(&self) -> bool {
        self.outgoing
            .as_ref()
            .is_some_and(|outgoing| outgoing.newest.is_filled())
    }

    /// Puts the newest message into the pipe, if the one before is written.
    pub(super) fn take_up(&mut self) {
        if let Some(Outgoing { newest, pipe, spares }) = &mut self.outgoing {
            let (accepted, finished) = pipe.counts();
            if accepted == finished {
                if let Some(message) = newest.take() {
                    let accepted = framing::send(pipe, &message, spares);
                    debug_assert!(
                        accepted,
                        "this thread closes the pipe, and writes nothing afterwards"
                    );
                }
            }
        }
    }

    /// Whether there is another message to take up, after the pipe has run dry. If not, word of the next one will come.
    pub(super) fn has_more(&self) -> bool {
        self.outgoing
            .as_ref()
            .is_some_and(|outgoing| outgoing.newest.settle() == Settled::Ready)
    }

    /// Hands the newest of the messages that came to the application.
    pub(super) fn hand_over(&mut self) {
        if let Some(Incoming { pipe, newest }) = &mut self.incoming {
            while pipe.chain().refill() {
                pipe.took_message();
                newest.put(framing::receive(pipe.chain(), |_| {}));
            }
        }
    }
}
