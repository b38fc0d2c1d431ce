//! Publishing: who wants a message, and what is done about those who cannot take it (ZeroMQ RFC 29).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::core::SocketCore;
use super::inproc::subscription;
use super::level::Level;
use super::park;
use super::receive_half::{Departure, Nothing, ReceiveHalf};
use super::send_half::{Refusal, Route, SendHalf};
#[cfg(feature = "futures")]
use super::streams::Drain;
#[cfg(feature = "futures")]
use crate::error::SendError;
use crate::message::Message;
use crate::monitor::{Event, Reason};
use crate::options::{SlowSubscriber, Verbosity};
use crate::pipe::PipeId;
use crate::pipe::inbox::Watching;
use crate::routing::topics::{Change, Topics};
use crate::wire::command::TOPIC_BYTES_MAX;

/// What became of a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Published {
    /// Peers the message is for.
    pub matched: usize,
    /// Peers whose queue has it now.
    pub queued: usize,
    /// Peers that do not get it, because they were at their high-water mark.
    pub dropped: usize,
}

/// Everything a PUB or XPUB is made of.
pub(crate) struct Publisher {
    pub(crate) core: SocketCore,
    pub(crate) send: SendHalf<Subscribers>,
    /// What subscribers say.
    pub(crate) upstream: ReceiveHalf,
    /// Keys of the peers that a message is for; empty between calls.
    targets: Vec<usize>,
    slow: SlowSubscriber,
    inverted: bool,
    manual: bool,
    topics_max: usize,
    topic_bytes_max: usize,
    /// Messages that were not queued because a subscriber was full, one for each such subscriber.
    pub(crate) dropped: u64,
}

/// The peers of a publisher: what each one wants.
#[derive(Default)]
pub(crate) struct Subscribers {
    pub(crate) topics: Topics,
    /// All peers, by key, whatever they want.
    present: Vec<bool>,
    /// What an XPUB has not received yet; none for a PUB.
    pub(crate) news: Option<News>,
}

impl Subscribers {
    pub(crate) fn with_news(news: Option<News>) -> Subscribers {
        Subscribers {
            news,
            ..Subscribers::default()
        }
    }

    fn subscribe(&mut self, key: usize, topic: &[u8]) -> Change {
        let change = self.topics.add(topic, key);
        if let Some(news) = &mut self.news {
            let repeated = news.verbosity != Verbosity::Changes;
            if change == Change::First || repeated && change != Change::Last {
                news.topic(topic, true, change == Change::First);
            }
        }
        change
    }

    fn unsubscribe(&mut self, key: usize, topic: &[u8]) -> Change {
        let change = self.topics.remove(topic, key);
        if let Some(news) = &mut self.news {
            let repeated = news.verbosity == Verbosity::All;
            if change == Change::Last || repeated && change == Change::More {
                news.topic(topic, false, false);
            }
        }
        change
    }
}

impl Route for Subscribers {
    type Item = Message;

    fn set(&mut self, key: usize, _connected: bool, _full: bool) {
        if self.present.len() <= key {
            self.present.resize(key + 1, false);
        }
        self.present[key] = true;
    }

    fn remove(&mut self, key: usize) {
        if let Some(present) = self.present.get_mut(key) {
            *present = false;
        }
        let news = &mut self.news;
        self.topics.remove_subscriber(key, |topic, last| {
            if let Some(news) = news {
                if last || news.verbosity == Verbosity::All {
                    news.topic(topic, false, false);
                }
            }
        });
    }
}

impl Publisher {
    pub(crate) fn new(core: SocketCore, news: Option<News>) -> Option<Publisher> {
        let send = core.send_half(Subscribers::with_news(news))?;
        let upstream = core.receive_half()?.with_departures();
        let options = &core.link().options;
        Some(Publisher {
            slow: options.slow_subscriber,
            inverted: options.invert_matching,
            manual: options.manual,
            topics_max: options.topics_max,
            topic_bytes_max: options.topic_bytes_max,
            targets: Vec::new(),
            dropped: 0,
            core,
            send,
            upstream,
        })
    }

    /// Takes note of peers and subscriptions that came and went.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        self.send.catch_up();
        if !self.upstream.is_quiet() {
            self.hear();
        }
    }

    #[cold]
    fn hear(&mut self) {
        // Also if nothing is heard below: what lies in the inbox keeps whoever waits for news awake.
        if self.upstream.is_news() {
            self.upstream.collect();
        }
        for _ in 0..HEARD_PER_CALL {
            if self.send.route.news.as_ref().is_some_and(News::is_full) || self.upstream.look().is_err() {
                break;
            }
            let pipe = self.upstream.source().0;
            let message = self.upstream.take();
            self.heard(pipe, message);
        }
        for departure in self.upstream.departures() {
            if let Departure::Peer { pipe } = departure {
                // Both ways end together; the news of the other one may still be on its way.
                self.send.let_go(pipe);
            }
        }
    }

    fn heard(&mut self, pipe: PipeId, message: Message) {
        let (flag, topic) = match message.as_bytes().split_first() {
            Some((flag @ (0 | 1), topic)) if message.part_count() == 1 => (*flag, topic),
            _ => {
                if let Some(news) = &mut self.send.route.news {
                    news.message(pipe, message);
                }
                return;
            }
        };
        if self.manual {
            self.report(pipe, topic, flag == 1);
            if let Some(news) = &mut self.send.route.news {
                news.message(pipe, message);
            }
            return;
        }
        // The sending half hears of a peer first; if it does not know it, the peer has gone.
        self.send.catch_up();
        let Some(key) = self.send.key_of(pipe) else {
            return;
        };
        if flag == 1 {
            self.subscribe(pipe, key, topic);
        } else {
            if self.send.route.unsubscribe(key, topic) != Change::Nothing {
                self.report(pipe, topic, false);
            }
        }
    }

    /// Tells of a subscription or the end of one, after it was taken note of.
    fn report(&self, pipe: PipeId, topic: &[u8], subscribed: bool) {
        let later = self
            .core
            .link()
            .monitors
            .report_of(pipe, |connection| Event::Subscription {
                connection,
                topic: Bytes::copy_from_slice(topic),
                subscribed,
            });
        later.unwrap_or_default().carry_out();
    }

    fn subscribe(&mut self, pipe: PipeId, key: usize, topic: &[u8]) {
        let fits = topic.len() <= TOPIC_BYTES_MAX;
        let change = match fits {
            true => self.send.route.subscribe(key, topic),
            false => Change::Nothing,
        };
        // Looked at afterwards: what it holds already, a peer may ask for again.
        let topics = &self.send.route.topics;
        if !fits || topics.topics_of(key) > self.topics_max || topics.bytes_of(key) > self.topic_bytes_max {
            self.core.abort(
                pipe,
                Reason::TooManySubscriptions {
                    topics: self.topics_max,
                    bytes: self.topic_bytes_max,
                },
            );
            self.send.let_go(pipe);
            self.upstream.let_go(pipe);
        } else if change != Change::Nothing {
            // What is said again and again is no event.
            self.report(pipe, topic, true);
        }
    }

    /// Manual mode: changes what the peer gets whose message was received last. False if there is none.
    pub(crate) fn change_last(&mut self, topic: &[u8], wanted: bool) -> bool {
        if !self.manual {
            return false;
        }
        self.catch_up();
        let last = self.send.route.news.as_ref().and_then(|news| news.last);
        let Some(key) = last.and_then(|pipe| self.send.key_of(pipe)) else {
            return false;
        };
        if wanted {
            self.send.route.topics.add(topic, key);
        } else {
            self.send.route.topics.remove(topic, key);
        }
        // A send that waits for the peer need not.
        self.send.remind();
        true
    }

    /// Publishes a message to everybody who wants it, by the rule for slow subscribers. With [`SlowSubscriber::Block`] it is
    /// refused as `Full` when somebody has no room; `last_try` says not to wait any longer.
    pub(crate) fn publish(&mut self, message: &Message, last_try: bool) -> Result<Published, Refusal> {
        let published = self.distribute(message, last_try);
        if self.send.has_level() {
            let can_send = published != Err(Refusal::Full) || !self.may_wait();
            // A subscriber that wants no more of this is as good as one that has room.
            let is_heard = || self.is_heard() && self.upstream.calm(Watching::ToSend);
            self.send.set_level_unless(can_send, is_heard);
        }
        published
    }

    /// Whether a message can be sent, for those who wait without holding the socket.
    pub(crate) fn send_level(&mut self) -> Arc<Level> {
        let is_new = !self.send.has_level();
        let level = self.send.level();
        if is_new {
            self.upstream.watch(Watching::ToSend, Waker::from(level.clone()));
        }
        level
    }

    fn distribute(&mut self, message: &Message, last_try: bool) -> Result<Published, Refusal> {
        self.catch_up();
        if self.send.is_too_large(message) {
            return Err(Refusal::TooLarge);
        }
        if let Some(over) = self.send.over() {
            return Err(Refusal::Over(over));
        }
        self.find_targets(message.as_bytes());
        let matched = self.targets.len();
        let result = self.make_room(last_try).map(|()| {
            let dropped = matched - self.targets.len();
            // Who leaves at this very moment does not count.
            let queued = self.send.give_all(&self.targets, message);
            Published {
                matched: queued + dropped,
                queued,
                dropped,
            }
        });
        self.targets.clear();
        if let Ok(published) = &result {
            self.dropped += published.dropped as u64;
            self.send.count_full(published.dropped, message);
        }
        result
    }

    /// How many peers a message that begins with this is for.
    pub(crate) fn count_targets(&mut self, start: &[u8]) -> usize {
        self.find_targets(start);
        let count = self.targets.len();
        self.targets.clear();
        count
    }

    fn find_targets(&mut self, start: &[u8]) {
        let Publisher {
            send,
            targets,
            inverted,
            ..
        } = self;
        let Subscribers { topics, present, .. } = &mut send.route;
        topics.matches(start, |key| targets.push(key));
        if *inverted {
            let mut others = present.clone();
            for key in targets.drain(..) {
                others[key] = false;
            }
            targets.extend((0..others.len()).filter(|&key| others[key]));
        }
    }

    /// Sees to it that all targets have room, or are no targets any more.
    fn make_room(&mut self, last_try: bool) -> Result<(), Refusal> {
        let Publisher {
            send, targets, slow, ..
        } = self;
        match slow {
            SlowSubscriber::DropNewest => targets.retain(|&key| send.make_room(key)),
            SlowSubscriber::Block(_) if last_try => targets.retain(|&key| send.make_room(key)),
            // Nobody gets it before all can, because what is sent cannot be taken back. Who fails may wait for room after
            // that, as a proxy does.
            SlowSubscriber::Block(_) | SlowSubscriber::Fail => {
                if !targets.iter().all(|&key| send.make_room_or_ask(key)) {
                    return Err(Refusal::Full);
                }
            }
            SlowSubscriber::Disconnect => {
                let slow: Vec<usize> = targets
                    .iter()
                    .copied()
                    .filter(|&key| !send.make_room(key))
                    .collect();
                for key in slow {
                    self.disconnect(key);
                }
            }
        }
        Ok(())
    }

    fn disconnect(&mut self, key: usize) {
        let pipe = self.send.pipe_of(key);
        self.targets.retain(|&target| target != key);
        self.core.abort(pipe, Reason::SlowSubscriber);
        self.send.let_go(pipe);
        self.upstream.let_go(pipe);
    }

    /// Whether there is news, or more to be heard than one call heard.
    pub(crate) fn is_news(&self) -> bool {
        self.send.is_news() || self.upstream.is_news() || !self.is_heard()
    }

    /// Whether everything was heard that peers have said, or that may be before the application receives something.
    fn is_heard(&self) -> bool {
        !self.upstream.has_current() || self.send.route.news.as_ref().is_some_and(News::is_full)
    }

    /// Takes what subscribers have said, for an XPUB. If they can be heard again because of that, whoever waits to send looks
    /// again: they may want no more.
    pub(crate) fn take_news(&mut self) -> Option<Message> {
        let news = self.send.route.news.as_mut()?;
        let was_full = news.is_full();
        let message = news.take()?;
        if was_full && self.upstream.has_current() {
            self.send.remind();
        }
        Some(message)
    }

    /// When a send that begins now has waited long enough for slow subscribers.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.slow {
            SlowSubscriber::Block(timeout) => Instant::now().checked_add(timeout),
            _ => None,
        }
    }

    pub(crate) fn may_wait(&self) -> bool {
        matches!(self.slow, SlowSubscriber::Block(_))
    }

    /// Waits for room, until the deadline: then it returns false. Also hears of subscribers that do not want the message any
    /// more, and so need not be waited for.
    pub(crate) fn wait_for_room(&mut self, deadline: Option<Instant>) -> bool {
        if self.send.is_forked() {
            // Says so.
            return self.send.wait(deadline);
        }
        if !self.is_heard() {
            return deadline.is_none_or(|deadline| Instant::now() < deadline);
        }
        let sleeps =
            !self.is_news() && park::with_waker(|waker| self.sleep_for_room(&TaskContext::from_waker(waker)));
        while sleeps && !self.is_news() {
            if !park::until(deadline) {
                return false;
            }
        }
        true
    }

    /// Has the task woken when there may be room, or fewer who need it. False if there is news already, or more to be heard.
    pub(crate) fn sleep_for_room(&self, task: &TaskContext<'_>) -> bool {
        self.is_heard() && self.send.sleep(task) && self.upstream.sleep_for(Watching::ToSend, task)
    }

    /// Waits until a condition on the subscribers holds.
    pub(crate) fn wait_until(
        &mut self,
        deadline: Option<Instant>,
        mut holds: impl FnMut(&mut Publisher) -> bool,
    ) -> Result<(), Nothing> {
        loop {
            self.catch_up();
            if holds(self) {
                return Ok(());
            }
            if let Some(over) = self.upstream.over() {
                return Err(Nothing::Over(over));
            }
            // While the news of an XPUB is full, what peers say is not looked at.
            let is_full = self.send.route.news.as_ref().is_some_and(News::is_full);
            let has_news = match is_full {
                true => self.upstream.wait_inbox(deadline),
                false => self.upstream.wait_for_news(deadline),
            };
            if !has_news {
                return Err(Nothing::Empty);
            }
        }
    }
}

#[cfg(feature = "futures")]
impl Drain<Message> for Publisher {
    type Error = SendError;

    fn offer(&mut self, message: Message) -> Result<Option<Message>, SendError> {
        match self.publish(&message, false) {
            Ok(_) => Ok(None),
            Err(Refusal::Full) if self.may_wait() => Ok(Some(message)),
            Err(refusal) => Err((message, refusal).into()),
        }
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        self.sleep_for_room(task)
    }

    fn unsent(&mut self) -> &mut Option<Message> {
        &mut self.send.unsent
    }

    fn refusal(message: Message) -> SendError {
        SendError::Full(message)
    }
}

/// Subscriptions and messages of subscribers that the application has not received yet.
pub(crate) struct News {
    pub(crate) verbosity: Verbosity,
    /// Topics with news, and messages, in order.
    queue: VecDeque<Item>,
    /// What changed of each topic in the queue. Items of the queue with another number are void.
    changes: HashMap<Bytes, Changed>,
    number: u64,
    /// Messages in the queue.
    messages: usize,
    messages_max: usize,
    /// Who sent the message that was received last.
    last: Option<PipeId>,
}

enum Item {
    Topic(Bytes, u64),
    Message(PipeId, Message),
}

/// What changed of a topic since the application received news of it.
#[derive(Clone, Copy)]
struct Changed {
    /// Number of the topic's item in the queue.
    number: u64,
    /// Subscriptions less ends of them; never 0.
    balance: i64,
    /// The application knows of a subscription to the topic.
    known: bool,
}

impl News {
    pub(crate) fn new(verbosity: Verbosity, messages_max: u64) -> News {
        News {
            verbosity,
            queue: VecDeque::new(),
            changes: HashMap::new(),
            number: 0,
            messages: 0,
            messages_max: usize::try_from(messages_max).unwrap_or(usize::MAX),
            last: None,
        }
    }

    /// Whether peers are not to be heard before the application has received something.
    fn is_full(&self) -> bool {
        self.messages >= self.messages_max
    }

    fn message(&mut self, pipe: PipeId, message: Message) {
        self.messages += 1;
        self.queue.push_back(Item::Message(pipe, message));
    }

    /// A subscription and its end are nothing, if the application has received neither. So the queue is never longer than
    /// there are topics that somebody holds, or that the application believes somebody to hold. `first` says that nobody
    /// held the topic before.
    fn topic(&mut self, topic: &[u8], wanted: bool, first: bool) {
        let step = if wanted { 1 } else { -1 };
        let pending = self.changes.remove(topic);
        let known = pending.map_or(!first, |pending| pending.known);
        let balance = match self.verbosity {
            // The end of the last one is the end of all, and one of several subscriptions says as much as they all do.
            Verbosity::Subscriptions if wanted || known => step,
            Verbosity::Subscriptions => 0,
            // Whoever is told of each counts them.
            Verbosity::Changes | Verbosity::All => pending.map_or(0, |pending| pending.balance) + step,
        };
        if balance == 0 {
            return;
        }
        self.number += 1;
        let topic = Bytes::copy_from_slice(topic);
        let changed = Changed {
            number: self.number,
            balance,
            known,
        };
        self.changes.insert(topic.clone(), changed);
        self.queue.push_back(Item::Topic(topic, self.number));
        if self.queue.len() > 64 + 2 * (self.changes.len() + self.messages) {
            let changes = &self.changes;
            self.queue.retain(|item| match item {
                Item::Topic(topic, number) => changes
                    .get(topic)
                    .is_some_and(|changed| changed.number == *number),
                Item::Message(..) => true,
            });
        }
    }

    /// Whether there is nothing to take. Forgets what is void.
    pub(crate) fn is_empty(&mut self) -> bool {
        while let Some(Item::Topic(topic, number)) = self.queue.front() {
            if self.changes.get(topic).is_some_and(|it| it.number == *number) {
                break;
            }
            self.queue.pop_front();
        }
        self.queue.is_empty()
    }

    /// The most messages that can be taken at this moment.
    pub(crate) fn most(&self) -> usize {
        let changes =
            |changed: &Changed| usize::try_from(changed.balance.unsigned_abs()).unwrap_or(usize::MAX);
        self.messages + self.changes.values().map(changes).sum::<usize>()
    }

    pub(crate) fn take(&mut self) -> Option<Message> {
        loop {
            match self.queue.pop_front()? {
                Item::Message(pipe, message) => {
                    self.messages -= 1;
                    self.last = Some(pipe);
                    return Some(message);
                }
                Item::Topic(topic, number) => {
                    let Some(changed) = self.changes.get_mut(&topic).filter(|it| it.number == number) else {
                        continue;
                    };
                    let wanted = changed.balance > 0;
                    changed.balance -= changed.balance.signum();
                    changed.known |= wanted;
                    let message = subscription(wanted, &topic);
                    if changed.balance == 0 {
                        self.changes.remove(&topic);
                    } else {
                        self.queue.push_front(Item::Topic(topic, number));
                    }
                    // In manual mode this is the word of a peer that is gone: there is nobody to answer.
                    self.last = None;
                    return Some(message);
                }
            }
        }
    }
}

/// What peers have said is heard in portions, so that a peer that never stops cannot keep a call from its work.
const HEARD_PER_CALL: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(news: &mut News) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| news.take())
            .map(|message| message.as_bytes().to_vec())
            .collect()
    }

    #[test]
    fn changes_that_were_not_received_cancel_each_other() {
        let mut news = News::new(Verbosity::Changes, 10);
        assert!(news.is_empty());
        news.topic(b"a", true, true);
        news.topic(b"b", true, true);
        news.topic(b"a", false, false);
        assert!(!news.is_empty());
        assert_eq!(all(&mut news), [b"\x01b"]);
        news.topic(b"a", true, true);
        assert_eq!(all(&mut news), [b"\x01a"]);
        news.topic(b"a", false, false);
        news.topic(b"a", true, true);
        assert!(news.is_empty());
        assert!(all(&mut news).is_empty());
    }

    #[test]
    fn whoever_is_told_of_each_subscription_can_count_them() {
        let mut news = News::new(Verbosity::All, 10);
        news.topic(b"a", true, true);
        news.topic(b"b", true, true);
        news.topic(b"a", true, false);
        assert_eq!(all(&mut news), [b"\x01b", b"\x01a", b"\x01a"]);
        news.topic(b"a", false, false);
        news.topic(b"a", false, false);
        news.topic(b"a", true, true);
        assert_eq!(all(&mut news), [b"\x00a"]);
    }

    #[test]
    fn the_end_of_the_last_subscription_is_told_to_whoever_knows_of_one() {
        let mut news = News::new(Verbosity::Subscriptions, 10);
        news.topic(b"a", true, true);
        news.topic(b"a", true, false);
        assert_eq!(all(&mut news), [b"\x01a"]);
        news.topic(b"a", true, false);
        news.topic(b"a", false, false);
        news.topic(b"b", true, true);
        news.topic(b"b", false, false);
        assert_eq!(all(&mut news), [b"\x00a"]);
    }

    #[test]
    fn news_of_a_peer_that_is_gone_cannot_be_answered() {
        let mut news = News::new(Verbosity::Changes, 10);
        news.message(1, Message::from("\x01a"));
        news.topic(b"b", false, false);
        news.take();
        assert_eq!(news.last, Some(1));
        news.take();
        assert_eq!(news.last, None);
    }

    #[test]
    fn the_queue_stays_as_short_as_the_topics_are_few() {
        for verbosity in [Verbosity::Changes, Verbosity::Subscriptions, Verbosity::All] {
            let mut news = News::new(verbosity, 10);
            for held in 0..7_u32 {
                news.topic(&held.to_be_bytes(), true, true);
            }
            for round in 7..10_000_u32 {
                let topic = round.to_be_bytes();
                news.topic(&topic, true, true);
                news.topic(&topic, false, false);
                // Again and again the same one, so that its older items are void.
                news.topic(&topic[3..], true, true);
                news.topic(&topic[3..], false, false);
            }
            assert!(
                news.queue.len() <= 64 + 3 * 7 && news.changes.len() == 7,
                "{} items with {verbosity:?}",
                news.queue.len()
            );
            assert_eq!(all(&mut news).len(), 7);
        }
    }

    #[test]
    fn messages_that_are_not_received_are_bounded() {
        let mut news = News::new(Verbosity::Changes, 2);
        for _ in 0..2 {
            assert!(!news.is_full());
            news.message(1, Message::from("x"));
        }
        assert!(news.is_full());
        news.take();
        assert!(!news.is_full());
    }
}
