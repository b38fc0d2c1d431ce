//! What a subscribing socket wants, as a state that each of its connections follows at its own pace.
//!
//! A subscription is not a message: a queue of them would lose some when it is full, and a connection that comes later
//! would miss all. Here every change gets the next number, a topic keeps only its latest one, and a connection is given
//! what has a higher number than what it was given last. A new one begins at 0 and so walks the whole set.
//!
//! ```text
//!    number      1    2    3    4    5    6    7     newest = 7
//!    wanted      a         c              d
//!    cancelled             |    b              e    ("b" was 2, "e" was 5)
//!                          |
//!                          a connection that was given up to 3 gets: cancel b, subscribe d, cancel e
//! ```
//!
//! A cancelled topic is remembered until every connection that may know it has been told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The topics a socket wants, and how far each of its connections has been told.
#[derive(Debug, Default)]
pub(crate) struct Interests {
    topics: HashMap<Arc<[u8]>, Entry>,
    /// The topics wanted, by the number of their latest change. Exactly those of `topics` with a count above 0.
    wanted: BTreeMap<u64, Arc<[u8]>>,
    /// Those cancelled that some connection must still be told of. Exactly those of `topics` with a count of 0.
    cancelled: BTreeMap<u64, Arc<[u8]>>,
    /// The most topics that were wanted at once since one became wanted while `cancelled` was empty.
    wanted_peak: usize,
    /// The number of the latest change.
    newest: u64,
    followers: HashMap<u64, Follower>,
    /// The followers that are not outdated, each with [`Follower::cancelled_given`].
    lags: BTreeSet<(u64, u64)>,
}

/// Whether a call to [`Interests::next_changes`] gave all there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The connection has been given everything up to this number, which is the newest.
    UpToDate(u64),
    /// There is more to give.
    More,
    /// The connection fell too far behind, and cannot be told any more what was cancelled: it has to be restarted.
    Outdated,
}

/// How far the peers' knowledge of what this socket wants has come, all connections taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// There is no connection, or one that has something coming to it.
    NotYet,
    /// Everything was sent, to one peer at least that cannot be heard for now.
    HeldUp,
    /// Everything was sent, to one peer at least that has no way of saying that it took it in.
    Sent,
    /// Every peer said that it took in everything.
    Acknowledged,
}

/// A topic was to be given up that is not subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotSubscribed;

#[derive(Debug)]
struct Entry {
    /// How many times the topic is subscribed to.
    count: usize,
    /// The number of the latest change that the connections must be told of.
    number: u64,
}

#[derive(Debug)]
struct Follower {
    /// It was given every change up to this number that is of any use to it.
    given: u64,
    /// The newest change when it joined. What was cancelled up to then it never knew.
    start: u64,
    acknowledges: bool,
    /// As the connection reports it; at most `given`.
    sent: u64,
    acknowledged: u64,
    /// What the peer says lies behind messages that nobody takes.
    held_up: bool,
    /// It was given up, with changes that it was not given.
    outdated: bool,
}

impl Interests {
    /// Subscribes to a topic, once more if it is subscribed to. Says whether the connections must be told: the first
    /// time, and each time if asked to `announce_again`.
    pub(crate) fn subscribe(&mut self, topic: &[u8], announce_again: bool) -> bool {
        let Some(entry) = self.topics.get_mut(topic) else {
            self.newest += 1;
            let topic: Arc<[u8]> = topic.into();
            let entry = Entry {
                count: 1,
                number: self.newest,
            };
            self.topics.insert(topic.clone(), entry);
            self.want(topic);
            return true;
        };
        entry.count += 1;
        if entry.count > 1 && !announce_again {
            return false;
        }
        self.newest += 1;
        let before = std::mem::replace(&mut entry.number, self.newest);
        let topic = self
            .wanted
            .remove(&before)
            .or_else(|| self.cancelled.remove(&before))
            .expect("a topic's latest change is in one of the two maps");
        self.want(topic);
        true
    }

    /// Takes back one subscription to a topic. Says whether it was the last, of which the connections must be told.
    pub(crate) fn unsubscribe(&mut self, topic: &[u8]) -> Result<bool, NotSubscribed> {
        let entry = self.topics.get_mut(topic).filter(|entry| entry.count > 0);
        let entry = entry.ok_or(NotSubscribed)?;
        entry.count -= 1;
        if entry.count > 0 {
            return Ok(false);
        }
        self.newest += 1;
        let before = std::mem::replace(&mut entry.number, self.newest);
        let topic = self
            .wanted
            .remove(&before)
            .expect("a topic that is subscribed to is among those wanted");
        self.cancelled.insert(self.newest, topic);
        self.forget_cancelled();
        while self.cancelled.len() > self.wanted_peak.max(CANCELLED_MAX) {
            self.give_up_the_slowest();
        }
        Ok(true)
    }

    /// The number of the latest change.
    #[cfg(test)]
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Starts telling a connection, from the beginning. `acknowledges` is whether its peer can say that it took in what
    /// it was sent.
    pub(crate) fn join(&mut self, peer: u64, acknowledges: bool) {
        self.leave(peer);
        // With nothing to tell, the peer knows everything there is to know.
        let known = if self.wanted.is_empty() { self.newest } else { 0 };
        let follower = Follower {
            given: known,
            start: self.newest,
            acknowledges,
            sent: known,
            acknowledged: known,
            held_up: false,
            outdated: false,
        };
        self.lags.insert((follower.cancelled_given(), peer));
        self.followers.insert(peer, follower);
    }

    /// Stops telling a connection.
    pub(crate) fn leave(&mut self, peer: u64) {
        if let Some(follower) = self.followers.remove(&peer) {
            self.lags.remove(&(follower.cancelled_given(), peer));
            self.forget_cancelled();
        }
    }

    /// Whether a connection is being told.
    pub(crate) fn is_followed_by(&self, peer: u64) -> bool {
        self.followers.contains_key(&peer)
    }

    /// Gives a connection the changes it was not given yet, oldest first: each topic, and whether it is wanted or
    /// cancelled.
    ///
    /// `take` returns whether it has room for another; the change it was called with counts as given either way.
    /// Changes that a later one made void are left out. A peer may be told to cancel what it was never told to
    /// subscribe to, and once more to subscribe to what it has.
    pub(crate) fn next_changes(&mut self, peer: u64, mut take: impl FnMut(&[u8], bool) -> bool) -> Progress {
        let Some(follower) = self
            .followers
            .get_mut(&peer)
            .filter(|follower| !follower.outdated)
        else {
            return Progress::Outdated;
        };
        let lag = (follower.cancelled_given(), peer);
        let mut wanted = self.wanted.range(follower.given + 1..).peekable();
        let mut cancelled = self.cancelled.range(follower.cancelled_given() + 1..).peekable();
        let mut room = true;
        while room {
            let next_wanted = wanted.peek().map(|(number, _)| **number);
            let next_cancelled = cancelled.peek().map(|(number, _)| **number);
            let subscribed = match (next_wanted, next_cancelled) {
                (None, None) => break,
                (Some(one), Some(other)) => one < other,
                (next_wanted, _) => next_wanted.is_some(),
            };
            let changes = if subscribed { &mut wanted } else { &mut cancelled };
            if let Some((number, topic)) = changes.next() {
                follower.given = *number;
                room = take(topic, subscribed);
            }
        }
        let done = wanted.peek().is_none() && cancelled.peek().is_none();
        if done {
            follower.given = self.newest;
        }

        let now = (follower.cancelled_given(), peer);
        if now != lag {
            self.lags.remove(&lag);
            self.lags.insert(now);
            self.forget_cancelled();
        }
        if done {
            Progress::UpToDate(self.newest)
        } else {
            Progress::More
        }
    }

    /// Takes note that everything a connection was given up to this number has been sent.
    pub(crate) fn sent(&mut self, peer: u64, number: u64) {
        if let Some(follower) = self.followers.get_mut(&peer) {
            follower.sent = follower.sent.max(number.min(follower.given));
        }
    }

    /// Takes note that a peer took in everything up to this number. More than it was given, it cannot have.
    pub(crate) fn acknowledged(&mut self, peer: u64, number: u64) {
        if let Some(follower) = self.followers.get_mut(&peer) {
            follower.acknowledged = follower.acknowledged.max(number.min(follower.given));
        }
    }

    /// Takes note that a peer cannot be heard for now, whatever it has to say, or that it can again.
    pub(crate) fn held_up(&mut self, peer: u64, held_up: bool) {
        if let Some(follower) = self.followers.get_mut(&peer) {
            follower.held_up = held_up;
        }
    }

    /// Whether every connection's peer knows what this socket wants.
    pub(crate) fn told(&self) -> Told {
        let mut all = if self.followers.is_empty() {
            Told::NotYet
        } else {
            Told::Acknowledged
        };
        for follower in self.followers.values() {
            let (reached, told) = if !follower.acknowledges {
                (follower.sent, Told::Sent)
            } else if follower.held_up && follower.acknowledged < self.newest {
                (follower.sent, Told::HeldUp)
            } else {
                (follower.acknowledged, Told::Acknowledged)
            };
            if reached < self.newest {
                return Told::NotYet;
            }
            all = all.min(told);
        }
        all
    }

    /// The topics subscribed to, in the order of their latest changes.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &[u8]> {
        self.wanted.values().map(|topic| &**topic)
    }

    /// How many topics are subscribed to.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Puts a topic whose change is the newest among those wanted.
    fn want(&mut self, topic: Arc<[u8]>) {
        self.wanted.insert(self.newest, topic);
        if self.cancelled.is_empty() {
            self.wanted_peak = 0;
        }
        self.wanted_peak = self.wanted_peak.max(self.wanted.len());
    }

    /// Forgets the cancelled topics that every connection was told of, or never knew.
    fn forget_cancelled(&mut self) {
        let told = self.lags.first().map_or(u64::MAX, |(number, _)| *number);
        while let Some(oldest) = self
            .cancelled
            .first_entry()
            .filter(|oldest| *oldest.key() <= told)
        {
            self.topics.remove(&oldest.remove());
        }
    }

    /// Gives up the connection for whose sake the most cancelled topics are remembered.
    fn give_up_the_slowest(&mut self) {
        if let Some((_, peer)) = self.lags.pop_first() {
            if let Some(follower) = self.followers.get_mut(&peer) {
                follower.outdated = true;
            }
        }
        self.forget_cancelled();
    }
}

impl Follower {
    /// The number up to which it need not be told any more what was cancelled.
    fn cancelled_given(&self) -> u64 {
        self.given.max(self.start)
    }
}

/// How many cancelled topics are remembered for connections that lag, or as many as were wanted at once if that is
/// more, so that a socket may drop all its topics. Those that lag furthest are given up when there are more.
const CANCELLED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn subscriptions_are_counted() {
        let mut interests = Interests::default();
        assert!(interests.subscribe(b"a", false));
        assert!(!interests.subscribe(b"a", false));
        assert_eq!((interests.newest(), interests.len()), (1, 1));
        assert_eq!(interests.unsubscribe(b"a"), Ok(false));
        assert_eq!(interests.unsubscribe(b"a"), Ok(true));
        assert_eq!(interests.unsubscribe(b"a"), Err(NotSubscribed));
        assert_eq!(interests.unsubscribe(b"b"), Err(NotSubscribed));
        assert_eq!((interests.newest(), interests.len()), (2, 0));
    }

    #[test]
    fn a_new_connection_is_given_what_is_wanted_and_nothing_that_was_cancelled_before() {
        let mut interests = wanting(&["a", "b", "c"]);
        interests.join(1, true);
        interests.unsubscribe(b"b").unwrap();
        interests.join(2, true);
        assert_eq!(changes(&mut interests, 2), ["+a", "+c"]);
        assert_eq!(changes(&mut interests, 1), ["+a", "+c", "-b"]);
        assert_eq!(interests.topics().collect::<Vec<_>>(), [b"a", b"c"]);
    }

    #[test]
    fn a_connection_is_given_the_latest_change_of_each_topic_once() {
        let mut interests = wanting(&["a", "b"]);
        interests.join(1, true);
        assert_eq!(changes(&mut interests, 1), ["+a", "+b"]);
        for _ in 0..3 {
            interests.unsubscribe(b"a").unwrap();
            interests.subscribe(b"a", false);
        }
        interests.subscribe(b"c", false);
        interests.unsubscribe(b"b").unwrap();
        assert_eq!(changes(&mut interests, 1), ["+a", "+c", "-b"]);
        assert_eq!(changes(&mut interests, 1), [""; 0]);
    }

    #[test]
    fn announcing_again_tells_those_who_were_told() {
        let mut interests = wanting(&["a", "b"]);
        interests.join(1, true);
        assert_eq!(changes(&mut interests, 1), ["+a", "+b"]);
        assert!(interests.subscribe(b"a", true));
        assert_eq!(changes(&mut interests, 1), ["+a"]);
        assert_eq!(interests.unsubscribe(b"a"), Ok(false));
        assert_eq!(changes(&mut interests, 1), [""; 0]);
    }

    #[test]
    fn changes_are_given_in_slices() {
        let mut interests = wanting(&["a", "b", "c", "d"]);
        interests.join(1, true);
        let mut given = Vec::new();
        let mut slice = |interests: &mut Interests, size: usize| {
            let mut left = size;
            interests.next_changes(1, |topic, _| {
                given.push(topic.to_vec());
                left -= 1;
                left > 0
            })
        };
        assert_eq!(slice(&mut interests, 1), Progress::More);
        assert_eq!(slice(&mut interests, 2), Progress::More);
        interests.unsubscribe(b"d").unwrap();
        interests.subscribe(b"d", false);
        // The last one takes the room that is left, and there is no more.
        assert_eq!(slice(&mut interests, 1), Progress::UpToDate(6));
        assert_eq!(slice(&mut interests, 1), Progress::UpToDate(6));
        assert_eq!(given, [b"a", b"b", b"c", b"d"]);
    }

    #[test]
    fn cancelled_topics_are_forgotten_when_all_connections_were_told() {
        let mut interests = wanting(&["a", "b", "c"]);
        interests.unsubscribe(b"a").unwrap();
        assert_eq!(interests.topics.len(), 2, "nobody is there to be told");
        interests.join(1, true);
        interests.join(2, true);
        interests.unsubscribe(b"b").unwrap();
        changes(&mut interests, 1);
        assert_eq!(interests.topics.len(), 2, "one is still to be told");
        changes(&mut interests, 2);
        assert_eq!(interests.topics.len(), 1);
        interests.unsubscribe(b"c").unwrap();
        changes(&mut interests, 1);
        interests.leave(2);
        assert_eq!((interests.topics.len(), interests.cancelled.len()), (0, 0));
    }

    #[test]
    fn the_connection_that_lags_furthest_is_given_up() {
        let mut interests = Interests::default();
        for peer in [1, 2] {
            interests.join(peer, true);
        }
        for number in 0..CANCELLED_MAX {
            come_and_go(&mut interests, number);
            if number == 10 {
                changes(&mut interests, 2);
            }
        }
        assert_eq!(interests.cancelled.len(), CANCELLED_MAX);
        come_and_go(&mut interests, CANCELLED_MAX);
        assert_eq!(interests.cancelled.len(), CANCELLED_MAX - 10);
        assert_eq!(interests.next_changes(1, |_, _| true), Progress::Outdated);
        assert_eq!(changes(&mut interests, 2).len(), CANCELLED_MAX - 10);
        assert_eq!((interests.topics.len(), interests.told()), (0, Told::NotYet));

        interests.leave(1);
        interests.join(1, true);
        interests.subscribe(b"a", false);
        assert_eq!(changes(&mut interests, 1), ["+a"]);
    }

    #[test]
    fn all_topics_of_a_large_set_may_be_cancelled_at_once() {
        let topics: Vec<String> = (0..5 * CANCELLED_MAX).map(|number| number.to_string()).collect();
        let mut interests = Interests::default();
        for topic in &topics {
            interests.subscribe(topic.as_bytes(), false);
        }
        interests.join(1, true);
        changes(&mut interests, 1);
        for topic in &topics {
            interests.unsubscribe(topic.as_bytes()).unwrap();
        }
        assert_eq!(changes(&mut interests, 1).len(), topics.len());
        // What was wanted once is no licence to remember as much for ever.
        interests.subscribe(b"a", false);
        for number in 0..=CANCELLED_MAX {
            come_and_go(&mut interests, number);
        }
        assert_eq!(interests.next_changes(1, |_, _| true), Progress::Outdated);
        assert_eq!((interests.topics.len(), interests.len()), (1, 1));
    }

    #[test]
    fn peers_have_been_told_when_each_of_them_has() {
        let mut interests = wanting(&["a"]);
        assert_eq!(interests.told(), Told::NotYet, "nobody is there");
        interests.join(1, true);
        interests.acknowledged(1, 1);
        assert_eq!(interests.told(), Told::NotYet, "it was given nothing");
        assert_eq!(interests.next_changes(1, |_, _| true), Progress::UpToDate(1));
        interests.sent(1, 1);
        assert_eq!(interests.told(), Told::NotYet, "it can acknowledge, and has not");
        interests.acknowledged(1, 1);
        assert_eq!(interests.told(), Told::Acknowledged);

        interests.join(2, false);
        interests.next_changes(2, |_, _| true);
        assert_eq!(interests.told(), Told::NotYet, "given is not sent");
        interests.sent(2, 1);
        assert_eq!(interests.told(), Told::Sent);

        interests.subscribe(b"b", false);
        interests.next_changes(1, |_, _| true);
        interests.sent(2, 2);
        interests.acknowledged(1, 2);
        assert_eq!(
            interests.told(),
            Told::NotYet,
            "what was not given cannot be sent"
        );
        interests.subscribe(b"b", true);
        for peer in [1, 2] {
            interests.next_changes(peer, |_, _| true);
        }
        interests.sent(2, 3);
        assert_eq!(interests.told(), Told::NotYet);
        assert_eq!(interests.told(), Told::NotYet);
        interests.acknowledged(1, 3);
        assert_eq!(interests.told(), Told::Sent);
        interests.leave(2);
        assert_eq!(interests.told(), Told::Acknowledged);
        interests.leave(1);
        assert_eq!(interests.told(), Told::NotYet);
    }

    #[test]
    fn a_connection_that_finds_nothing_wanted_knows_everything() {
        let mut interests = wanting(&["a"]);
        interests.unsubscribe(b"a").unwrap();
        interests.join(1, true);
        interests.join(2, false);
        assert_eq!(interests.told(), Told::Sent);
        interests.leave(2);
        assert_eq!(interests.told(), Told::Acknowledged);
    }

    #[test]
    fn a_connection_knows_what_was_cancelled_before_it_came() {
        let mut interests = wanting(&["a", "b"]);
        interests.unsubscribe(b"b").unwrap();
        interests.join(1, true);
        assert_eq!(changes(&mut interests, 1), ["+a"]);
        interests.acknowledged(1, 3);
        assert_eq!(interests.told(), Told::Acknowledged);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Subscribe(u8, bool),
        Unsubscribe(u8),
        Join(u64),
        Leave(u64),
        Slice(u64, usize),
        SubscribeToMany(usize),
        UnsubscribeFromAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            10 => (0..12_u8, any::<bool>()).prop_map(|(topic, again)| Step::Subscribe(topic, again)),
            10 => (0..12_u8).prop_map(Step::Unsubscribe),
            3 => (0..4_u64).prop_map(Step::Join),
            2 => (0..4_u64).prop_map(Step::Leave),
            8 => (0..4_u64, 1..6_usize).prop_map(|(peer, size)| Step::Slice(peer, size)),
            1 => (1..2000_usize).prop_map(Step::SubscribeToMany),
            1 => Just(Step::UnsubscribeFromAll),
        ]
    }

    proptest! {
        /// A peer takes what it is told as any publisher does: it knows a topic or not, and minds no repetition.
        #[test]
        fn every_connection_ends_up_with_what_is_wanted(steps in vec(step(), 0..150)) {
            let mut interests = Interests::default();
            let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
            let mut peers: HashMap<u64, BTreeSet<Vec<u8>>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Subscribe(topic, again) => {
                        let count = counts.entry(vec![topic]).or_default();
                        *count += 1;
                        assert_eq!(interests.subscribe(&[topic], again), *count == 1 || again);
                    }
                    Step::Unsubscribe(topic) => {
                        let expected = match counts.get_mut(&vec![topic]) {
                            None | Some(0) => Err(NotSubscribed),
                            Some(count) => {
                                *count -= 1;
                                Ok(*count == 0)
                            }
                        };
                        assert_eq!(interests.unsubscribe(&[topic]), expected);
                    }
                    Step::Join(peer) => {
                        interests.join(peer, true);
                        peers.insert(peer, BTreeSet::new());
                    }
                    Step::Leave(peer) => {
                        interests.leave(peer);
                        peers.remove(&peer);
                    }
                    Step::Slice(peer, size) => {
                        if let Some(known) = peers.get_mut(&peer) {
                            slice(&mut interests, peer, known, size);
                        }
                    }
                    Step::SubscribeToMany(many) => {
                        for number in 0..many {
                            let topic = number.to_string().into_bytes();
                            interests.subscribe(&topic, false);
                            *counts.entry(topic).or_default() += 1;
                        }
                    }
                    Step::UnsubscribeFromAll => {
                        for (topic, count) in &mut counts {
                            for _ in 0..std::mem::take(count) {
                                interests.unsubscribe(topic).unwrap();
                            }
                        }
                    }
                }
                // Looking at everything after every step would take most of the time when there is much.
                if interests.topics.len() < 100 {
                    check(&interests);
                }
            }
            check(&interests);

            let wanted: BTreeSet<Vec<u8>> =
                counts.into_iter().filter(|(_, count)| *count > 0).map(|(topic, _)| topic).collect();
            assert_eq!(interests.topics().map(<[u8]>::to_vec).collect::<BTreeSet<_>>(), wanted);
            for (peer, mut known) in peers {
                while slice(&mut interests, peer, &mut known, 7) == Progress::More {}
                assert_eq!(known, wanted);
            }
            assert_eq!(interests.cancelled.len(), 0);
        }
    }

    /// Gives a peer at most so many changes, and joins it again if it is outdated.
    fn slice(interests: &mut Interests, peer: u64, known: &mut BTreeSet<Vec<u8>>, size: usize) -> Progress {
        let mut left = size;
        let progress = interests.next_changes(peer, |topic, subscribed| {
            if subscribed {
                known.insert(topic.to_vec());
            } else {
                known.remove(topic);
            }
            left -= 1;
            left > 0
        });
        if progress == Progress::Outdated {
            interests.leave(peer);
            interests.join(peer, true);
            known.clear();
            return Progress::More;
        }
        progress
    }

    fn wanting(topics: &[&str]) -> Interests {
        let mut interests = Interests::default();
        for topic in topics {
            interests.subscribe(topic.as_bytes(), false);
        }
        interests
    }

    /// Everything a connection has not been given, with a sign before each topic.
    fn changes(interests: &mut Interests, peer: u64) -> Vec<String> {
        let mut changes = Vec::new();
        let progress = interests.next_changes(peer, |topic, subscribed| {
            let sign = if subscribed { '+' } else { '-' };
            changes.push(format!("{sign}{}", String::from_utf8_lossy(topic)));
            true
        });
        assert_eq!(progress, Progress::UpToDate(interests.newest()));
        changes
    }

    fn come_and_go(interests: &mut Interests, number: usize) {
        let topic = format!("passing {number}");
        interests.subscribe(topic.as_bytes(), false);
        interests.unsubscribe(topic.as_bytes()).unwrap();
    }

    /// Asserts what is promised of the fields.
    fn check(interests: &Interests) {
        for (map, wanted) in [(&interests.wanted, true), (&interests.cancelled, false)] {
            for (number, topic) in map {
                let entry = &interests.topics[topic];
                assert_eq!((entry.number, entry.count > 0), (*number, wanted));
            }
        }
        let remembered = interests.wanted.len() + interests.cancelled.len();
        assert_eq!(interests.topics.len(), remembered);
        assert!(interests.cancelled.len() <= interests.wanted_peak.max(CANCELLED_MAX));
        let followed: BTreeSet<(u64, u64)> = interests
            .followers
            .iter()
            .filter(|(_, follower)| !follower.outdated)
            .map(|(peer, follower)| (follower.cancelled_given(), *peer))
            .collect();
        assert_eq!(interests.lags, followed);
        let told = followed.first().map_or(u64::MAX, |(number, _)| *number);
        assert!(interests.cancelled.keys().all(|number| *number > told));
    }
}
