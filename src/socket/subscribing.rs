//! What SUB and XSUB share: wanting topics, and having publishers told.

use super::core::SocketCore;
use super::inproc::subscription;
use crate::error::SubscribeError;
use crate::message::Message;
use crate::pipe::inbox::Ready;
use crate::pipe::recycle::Spares;
use crate::routing::interests;
use crate::wire::command::TOPIC_BYTES_MAX;
use crate::wire::error::printable;

/// How far a subscriber's publishers know what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// The subscriptions are on their way to at least one publisher that cannot say when they have arrived, or whose answer lies
    /// behind messages: so many have come from it already that the high-water mark is reached.
    Sent,
    /// Every publisher has said that they have arrived.
    Acknowledged,
}

/// The subscribing side of a socket. What it wants lies in its [`SocketLink`](crate::mailbox::SocketLink), where its
/// connections follow it.
pub(crate) struct Subscriber {
    pub(crate) core: SocketCore,
    spares: Spares<Message>,
}

impl Subscriber {
    pub(crate) fn new(core: SocketCore) -> Subscriber {
        Subscriber {
            spares: Spares::new(core.link().message_pool.clone()),
            core,
        }
    }

    /// Subscribes, and says whether that is new, or to be announced again.
    pub(crate) fn subscribe(&mut self, topic: &[u8], announce_again: bool) -> Result<bool, SubscribeError> {
        if topic.len() > TOPIC_BYTES_MAX {
            return Err(SubscribeError::TooLong {
                bytes: topic.len(),
                limit: TOPIC_BYTES_MAX,
            });
        }
        let news = self
            .core
            .link()
            .wanted()
            .interests
            .subscribe(topic, announce_again);
        if news {
            self.tell(topic, true);
        }
        Ok(news)
    }

    /// Takes one subscription back, and says whether it was the last one to this topic.
    pub(crate) fn unsubscribe(&mut self, topic: &[u8]) -> Result<bool, SubscribeError> {
        let last = self.core.link().wanted().interests.unsubscribe(topic);
        let last = last.map_err(|_| SubscribeError::NotSubscribed {
            topic: printable(topic),
        })?;
        if last {
            self.tell(topic, false);
        }
        Ok(last)
    }

    /// Has connections look at what is wanted, and gives publishers of this context the change itself.
    fn tell(&mut self, topic: &[u8], wanted: bool) {
        let connections = self.core.link().wanted().connections.clone();
        for connection in connections {
            if let Some(reactor) = connection.reactor {
                reactor.ready(connection.pipe);
            }
        }
        self.tell_local(&subscription(wanted, topic), u64::MAX);
    }

    /// Gives a message to the publishers of this context that have room for it. Returns how many there are, and how many
    /// have got it.
    pub(crate) fn tell_local(&mut self, message: &Message, hwm: u64) -> (usize, usize) {
        // Taken out while it is used, because a publisher's waker is anybody's code. Who comes meanwhile finds all that is
        // wanted.
        let mut writers = std::mem::take(&mut self.core.link().wanted().local);
        writers.retain(|writer| !writer.is_abandoned());
        let mut told = 0;
        for writer in &mut writers {
            let (handed, taken) = writer.counts();
            if handed - taken < hwm {
                writer.push(message.clone(), &mut self.spares);
                told += 1;
            }
        }
        let count = writers.len();
        self.core.link().wanted().local.append(&mut writers);
        (count, told)
    }

    /// How far the publishers know what is wanted; nothing while one of them does not.
    pub(crate) fn told(&self, has_messages: bool) -> Option<Told> {
        // Asked without a lock held that is taken under that of the names.
        let is_followed = |pipe| self.core.link().wanted().interests.is_followed_by(pipe);
        if !self.core.is_connected(is_followed) {
            return None;
        }
        let wanted = self.core.link().wanted();
        let has_local = wanted.local.iter().any(|writer| !writer.is_abandoned());
        match wanted.interests.told() {
            interests::Told::Acknowledged => Some(Told::Acknowledged),
            interests::Told::Sent => Some(Told::Sent),
            // If there are none, it is read again in a moment.
            interests::Told::HeldUp if has_messages => Some(Told::Sent),
            interests::Told::HeldUp => None,
            interests::Told::NotYet if has_local && wanted.connections.is_empty() => Some(Told::Acknowledged),
            interests::Told::NotYet => None,
        }
    }
}
