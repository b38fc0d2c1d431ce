//! One direction of a proxy.

use std::time::Instant;

use super::ProxySide;
use super::capture::Tap;
use super::control::Flow;
use crate::framing::Run;
use crate::message::Message;
use crate::socket::passing::{Given, Sink, Source};
use crate::socket::receive_half::Arrived;

/// One direction of a proxy: what was taken and waits for room, and what is counted.
#[derive(Debug)]
pub struct Lane {
    pub(super) flow: Flow,
    /// Taken, and not accepted yet. While it waits, no other is taken.
    held: Option<Message>,
    /// Until when it waits for slow subscribers.
    until: Option<Instant>,
    /// What is still to be taken, when the proxy is to end.
    last: Option<Arrived>,
    /// The first part is the name of a client.
    named: bool,
    /// Who has no room does not get it.
    pub(super) drop_full: bool,
    /// Where messages go, and whose failure it is if they cannot.
    to: ProxySide,
}

impl Lane {
    pub(super) fn new(to: ProxySide, named: bool) -> Lane {
        Lane {
            flow: Flow::default(),
            held: None,
            until: None,
            last: None,
            named,
            drop_full: false,
            to,
        }
    }

    /// Passes messages on until there is none, there is no room, or it is the turn of others. Returns how many it has moved,
    /// one that was taken and is held now among them.
    /// `forward` passes on as many as it can and may by a shorter way, on which nobody sees them.
    pub(super) fn pass<F: Source, T: Sink>(
        &mut self,
        source: &mut F,
        sink: &mut T,
        tap: &mut Tap,
        forward: impl Fn(&mut F, &mut T, u32) -> Run,
    ) -> Result<usize, ProxySide> {
        let result = self.pass_some(source, sink, tap, forward);
        self.flow.held = self.held.is_some().into();
        result
    }

    fn pass_some<F: Source, T: Sink>(
        &mut self,
        source: &mut F,
        sink: &mut T,
        tap: &mut Tap,
        forward: impl Fn(&mut F, &mut T, u32) -> Run,
    ) -> Result<usize, ProxySide> {
        let mut moved = 0;
        while moved < MESSAGES_PER_TURN {
            if self.held.is_none() && self.last.is_none() && !tap.is_open() {
                let run = forward(source, sink, (MESSAGES_PER_TURN - moved) as u32);
                if run.messages > 0 {
                    self.flow.messages += u64::from(run.messages);
                    self.flow.bytes += run.bytes;
                    moved += run.messages as usize;
                    continue;
                }
            }
            let was_held = self.held.is_some();
            let message = match (self.held.take(), &mut self.last) {
                (Some(message), _) => Some(message),
                (None, None) => source.next(),
                (None, Some(last)) => source.next_arrived(last),
            };
            let Some(message) = message else {
                break;
            };
            let bytes = message.total_bytes() - if self.named { message.len() } else { 0 };
            let copy = tap.wants(&message);
            let last_try = self.until.is_some_and(|until| until <= Instant::now());
            match sink.give(message, last_try) {
                Given::Accepted { missed } => {
                    self.flow.messages += 1;
                    self.flow.bytes += bytes as u64;
                    self.flow.missed += missed;
                    tap.take(copy);
                }
                Given::Full(..) if self.drop_full => self.flow.dropped += 1,
                Given::Full(message, until) => {
                    self.held = Some(message);
                    self.until = self.until.or(until);
                    moved += usize::from(!was_held);
                    break;
                }
                Given::Unroutable => self.flow.unroutable += 1,
                Given::TooLarge => self.flow.too_large += 1,
                Given::Over(message) => {
                    self.held = Some(message);
                    return Err(self.to);
                }
            }
            self.until = None;
            moved += 1;
        }
        Ok(moved)
    }

    /// From now on, only what was received so far is taken.
    pub(super) fn finish(&mut self, source: &mut impl Source) {
        self.last = Some(source.arrived());
    }

    /// When the message that waits is to be tried again, if nothing else happens.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn into_held(self) -> Option<Message> {
        self.held
    }
}

/// Then the other direction has its turn, and what others want of the proxy is looked at.
const MESSAGES_PER_TURN: usize = 256;
