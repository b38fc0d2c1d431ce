//! Sockets as a proxy uses them: nothing waits, and one thread sleeps for all of them.

use std::task::Context as TaskContext;
use std::time::Instant;

use super::fan_out::{News, Publisher};
use super::methods::{Incoming, Outgoing};
use super::pipeline::{PullSocket, PushSocket};
use super::pubsub::PubSocket;
use super::receive_half::{Arrived, ReceiveHalf};
use super::router::{DealerSocket, RouterSocket};
use super::send_half::{Refusal, Route, SendHalf};
use super::xpubsub::{XPubSocket, XSubSocket};
use crate::error::SendError;
use crate::framing::{self, Run};
use crate::message::Message;
use crate::peer_id::PeerId;
use crate::routing::load_balancer::LoadBalancer;

/// What is done with every socket, whether or not messages pass.
pub trait Side {
    /// Whether there is news: peers that came or went, messages, or room for some.
    fn is_news(&self) -> bool;

    /// Takes note of the news. Takes no message.
    fn tidy(&mut self);

    /// Has the task woken at the next news. False if there is news already.
    fn sleep(&self, task: &TaskContext<'_>) -> bool;

    /// Whether the socket has no use any more: the I/O thread failed, or the context was shut down.
    fn is_over(&self) -> bool;
}

/// A socket that messages are taken from.
pub(crate) trait Source: Side {
    /// Takes a message. After it found none, there is news of the next one.
    fn next(&mut self) -> Option<Message>;

    /// What can be taken at this moment.
    fn arrived(&mut self) -> Arrived;

    /// Takes one message of these.
    fn next_arrived(&mut self, arrived: &mut Arrived) -> Option<Message>;
}

/// A socket that messages are given to.
pub(crate) trait Sink: Side {
    /// Gives a message away; `last_try` says that it has waited long enough for slow subscribers.
    fn give(&mut self, message: Message, last_try: bool) -> Given;
}

/// What became of a message.
pub(crate) enum Given {
    Accepted {
        /// Peers that do not get it, because they were at their high-water mark.
        missed: u64,
    },
    /// There is no room, and there will be news of it. Subscribers are waited for until this time at most.
    Full(Message, Option<Instant>),
    /// There is nobody with this name.
    Unroutable,
    /// It is over the socket's limits.
    TooLarge,
    /// The socket has no use any more.
    Over(Message),
}

impl Side for ReceiveHalf {
    fn is_news(&self) -> bool {
        ReceiveHalf::is_news(self)
    }

    fn tidy(&mut self) {
        self.collect();
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        self.sleep_for_news(task)
    }

    fn is_over(&self) -> bool {
        ReceiveHalf::over(self).is_some()
    }
}

impl<R: Route> Side for SendHalf<R> {
    fn is_news(&self) -> bool {
        SendHalf::is_news(self)
    }

    fn tidy(&mut self) {
        self.catch_up();
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        SendHalf::sleep(self, task)
    }

    fn is_over(&self) -> bool {
        SendHalf::over(self).is_some()
    }
}

impl Side for Publisher {
    fn is_news(&self) -> bool {
        Publisher::is_news(self)
    }

    fn tidy(&mut self) {
        self.catch_up();
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        !Publisher::is_news(self) && self.send.sleep(task) && self.upstream.sleep_for_news(task)
    }

    fn is_over(&self) -> bool {
        self.send.is_over() || self.upstream.is_over()
    }
}

/// A socket is news, tidy, asleep and dead as its halves are.
macro_rules! side {
    ($($socket:ident: $($half:ident)*;)*) => {
        $(impl Side for $socket {
            fn is_news(&self) -> bool {
                $(Side::is_news(&self.$half))||*
            }

            fn tidy(&mut self) {
                $(Side::tidy(&mut self.$half);)*
            }

            fn sleep(&self, task: &TaskContext<'_>) -> bool {
                $(Side::sleep(&self.$half, task))&&*
            }

            fn is_over(&self) -> bool {
                $(Side::is_over(&self.$half))||*
            }
        })*
    };
}

side! {
    PullSocket: half;
    PushSocket: half;
    DealerSocket: send receive;
    RouterSocket: send receive;
    XSubSocket: send receive;
    XPubSocket: publisher;
    PubSocket: publisher;
}

impl ReceiveHalf {
    /// Whether a message can be taken. Before the writer of a pipe that ran dry is asked to ring the bell, the pipe is looked
    /// at for a moment longer.
    fn find(&mut self) -> bool {
        if self.is_ready() {
            return true;
        }
        self.spin();
        self.look().is_ok()
    }
}

impl ReceiveHalf {
    /// See [`PullSocket::forward`].
    pub(super) fn forward(&mut self, to: &mut SendHalf<LoadBalancer>, messages_max: u32) -> Option<Run> {
        to.catch_up();
        let key = to.route.current()?;
        let (from, is_alone) = self.frames()?;
        let max = if is_alone && to.route.is_alone() {
            messages_max
        } else {
            1
        };
        let (pipe, spares) = to.frames(key)?;
        let room = u32::try_from(pipe.room()).unwrap_or(u32::MAX);
        let run = framing::forward(from, pipe, max.min(room), spares);
        if run.messages > 0 {
            to.route.advance();
            to.count_frames(run);
            self.took_frames(run);
        }
        Some(run)
    }
}

/// Sources whose messages come in pipes, and go on as they are.
macro_rules! source {
    ($($socket:ident: $half:ident;)*) => {
        $(impl Source for $socket {
            #[inline]
            fn next(&mut self) -> Option<Message> {
                self.$half.find().then(|| self.$half.take())
            }

            fn arrived(&mut self) -> Arrived {
                self.$half.arrived()
            }

            fn next_arrived(&mut self, arrived: &mut Arrived) -> Option<Message> {
                Some(self.$half.take_arrived(arrived)?.1)
            }
        })*
    };
}

source! {
    PullSocket: half;
    DealerSocket: receive;
    XSubSocket: receive;
}

/// Its messages go on with the name of who sent them in front (ZeroMQ RFC 28).
impl Source for RouterSocket {
    #[inline]
    fn next(&mut self) -> Option<Message> {
        self.receive.find().then(|| {
            let name = self.receive.source().1.cloned();
            named(name, self.receive.take())
        })
    }

    fn arrived(&mut self) -> Arrived {
        self.receive.arrived()
    }

    fn next_arrived(&mut self, arrived: &mut Arrived) -> Option<Message> {
        let (name, message) = self.receive.take_arrived(arrived)?;
        Some(named(name, message))
    }
}

fn named(name: Option<PeerId>, mut message: Message) -> Message {
    let name = name.expect("a ROUTER names each peer before it is heard");
    message.push_front(name.into_bytes());
    message
}

impl Source for XPubSocket {
    fn next(&mut self) -> Option<Message> {
        self.look().is_ok().then(|| Incoming::take(self))
    }

    fn arrived(&mut self) -> Arrived {
        self.publisher.upstream.arrived_unheard()
    }

    /// What it has received is partly heard and partly not: it is heard in portions, and only while there is room for news.
    /// How much of it can be taken turns out at the end, because news may cancel each other.
    fn next_arrived(&mut self, arrived: &mut Arrived) -> Option<Message> {
        while let Arrived::Unheard(unheard) = arrived {
            if self.publisher.upstream.has_heard(unheard) {
                let news = self.publisher.send.route.news.as_ref();
                let most = usize::from(self.found.is_some()) + news.map_or(0, News::most);
                *arrived = Arrived::Some(most as u64);
                break;
            }
            if let Some(message) = self.next() {
                return Some(message);
            }
            if !self.publisher.upstream.has_current() {
                // What is left of it, nobody will hear.
                unheard.clear();
            }
        }
        arrived.take_one().then(|| self.next())?
    }
}

/// Sinks that give each message to whoever is next.
macro_rules! dealing_sink {
    ($($socket:ident: $half:ident;)*) => {
        $(impl Sink for $socket {
            #[inline]
            fn give(&mut self, message: Message, _last_try: bool) -> Given {
                match self.$half.try_send(message) {
                    Ok(()) => Given::Accepted { missed: 0 },
                    Err((_, Refusal::TooLarge)) => Given::TooLarge,
                    Err((message, Refusal::Over(_))) => Given::Over(message),
                    Err((message, _)) => Given::Full(message, None),
                }
            }
        })*
    };
}

dealing_sink! {
    PushSocket: half;
    DealerSocket: send;
}

/// The first part names the peer.
impl Sink for RouterSocket {
    fn give(&mut self, message: Message, _last_try: bool) -> Given {
        let (name, Some(mut rest)) = message.split_first() else {
            return Given::Unroutable;
        };
        let Ok(peer) = PeerId::new(name) else {
            return Given::Unroutable;
        };
        if self.send.is_too_large(&rest) {
            return Given::TooLarge;
        }
        self.send.catch_up();
        if let Some(key) = self.send.route.key(&peer) {
            let Err(back) = self.send.give(key, rest) else {
                return Given::Accepted { missed: 0 };
            };
            rest = back;
            rest.push_front(peer.into_bytes());
            return Given::Full(rest, None);
        }
        if self.send.is_over() {
            rest.push_front(peer.into_bytes());
            return Given::Over(rest);
        }
        Given::Unroutable
    }
}

impl Sink for XPubSocket {
    fn give(&mut self, message: Message, last_try: bool) -> Given {
        self.publisher.give(message, last_try)
    }
}

impl Sink for PubSocket {
    fn give(&mut self, message: Message, last_try: bool) -> Given {
        self.publisher.give(message, last_try)
    }
}

impl Publisher {
    fn give(&mut self, message: Message, last_try: bool) -> Given {
        match self.publish(&message, last_try) {
            Ok(published) => Given::Accepted {
                missed: published.dropped as u64,
            },
            Err(Refusal::TooLarge) => Given::TooLarge,
            Err(Refusal::Over(_)) => Given::Over(message),
            Err(_) => Given::Full(message, self.deadline()),
        }
    }
}

/// What it is given it has or drops at once.
impl Sink for XSubSocket {
    fn give(&mut self, message: Message, _last_try: bool) -> Given {
        match self.send(message) {
            Ok(published) => Given::Accepted {
                missed: published.dropped as u64,
            },
            Err(SendError::TooLarge(_)) => Given::TooLarge,
            Err(error) => Given::Over(error.into_message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    /// A subscriber that goes on talking neither takes the place of what others have said before, nor is heard to its end.
    #[test]
    fn what_has_come_is_taken_though_others_go_on() {
        let context = Context::new();
        let mut xpub = XPubSocket::builder(&context).receive_hwm(5).build().unwrap();
        xpub.bind("inproc://what-has-come").unwrap();
        let [mut early, mut late] = [(); 2].map(|()| {
            let mut xsub = XSubSocket::builder(&context).send_hwm(10_000).build().unwrap();
            xsub.connect("inproc://what-has-come").unwrap();
            xsub
        });
        for number in 0..100 {
            early.send(format!("early {number}")).unwrap();
        }
        let mut arrived = xpub.arrived();
        for number in 0..10_000 {
            late.send(format!("late {number}")).unwrap();
        }
        let taken: Vec<String> = std::iter::from_fn(|| xpub.next_arrived(&mut arrived))
            .map(|message| message.to_str().unwrap().to_owned())
            .collect();
        let (before, after): (Vec<&str>, Vec<&str>) = taken
            .iter()
            .map(String::as_str)
            .partition(|text| text.starts_with("early"));
        let expected: Vec<String> = (0..100).map(|number| format!("early {number}")).collect();
        assert_eq!(before, expected);
        // It has its turn as often as the other one, and what was heard then is taken.
        assert!((50..=100 + 5).contains(&after.len()), "{} late ones", after.len());
    }
}
