//! Whether the other side of a quiet connection is still there (ZMTP 3.1, PING and PONG; ZeroMQ RFC 37).
//!
//! After an interval of silence the peer is sent a PING, and another after each further one. Any byte it sends is a sign
//! of life. It is given up when a PING has brought none for the timeout, but only if silence means something:
//!
//! - It has answered a PING before: there are peers that never do.
//! - We read what it sends. While the application is at its high-water mark we do not, and the peer hears a PING from us
//!   all the more often, because it cannot hear our answers to its own.
//! - It has no reason to have stopped reading. A peer whose application is at *its* high-water mark does not read our PING
//!   either, and to drop it would lose what waits in the kernels. Such a peer of our own make keeps talking; one of
//!   libzmq's is silent. So what counts is that it has answered a PING behind the last message that it was sent: then it
//!   is not our messages that it is busy with.
//!
//! A connection that is not watched still speaks while it is not read: the peer may be the one that watches.
//!
//! The TTL of our PINGs is 0, which asks the peer for no timeout on its side: libzmq's breaks large frames. One that a peer
//! asks us for is kept.

use std::time::{Duration, Instant};

/// The watch over one connection.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// None if nobody is watched over.
    interval: Option<Duration>,
    timeout: Duration,
    /// When the peer gave its last sign of life, or could not have because we did not read.
    heard: Instant,
    /// Bytes that had come then.
    received: u64,
    /// The first PING since then.
    asked_first: Option<Instant>,
    /// The last PING.
    asked: Instant,
    /// The peer answers PINGs.
    answers: bool,
    /// As many messages the peer has surely read, because it answered a PING behind them.
    read_by_peer: u64,
    /// The peer wants to be given up after so much silence.
    ttl: Option<Duration>,
}

/// How the connection is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    /// Bytes that have come.
    pub(crate) received: u64,
    /// The application takes nothing at the moment, and so nothing is read.
    pub(crate) paused: bool,
    /// Commands wait to be written.
    pub(crate) owing: bool,
    /// Messages that were written to the end.
    pub(crate) finished: u64,
    /// Messages that are to be written.
    pub(crate) waiting: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing until something changes.
    Rest,
    /// Send a PING with this context.
    Ask([u8; CONTEXT_BYTES]),
    /// The peer is gone: it has been silent for this time, or longer.
    GiveUp(Duration),
}

impl Heartbeat {
    /// For a connection that begins now, when so many messages were `finished`, on others.
    pub(crate) fn new(interval: Duration, timeout: Duration, finished: u64, now: Instant) -> Heartbeat {
        Heartbeat {
            interval: Some(interval),
            timeout,
            heard: now,
            received: 0,
            asked_first: None,
            asked: now,
            answers: false,
            read_by_peer: finished,
            ttl: None,
        }
    }

    /// For a connection that begins now and is not watched.
    pub(crate) fn unwatched(now: Instant) -> Heartbeat {
        Heartbeat {
            interval: None,
            ..Heartbeat::new(Duration::ZERO, Duration::ZERO, 0, now)
        }
    }

    /// Takes note of what has changed. To be called whenever something may have come, and when a wait is over.
    pub(crate) fn beat(&mut self, now: Instant, condition: Condition) -> Beat {
        if self.received != condition.received || condition.paused {
            self.received = condition.received;
            self.heard = now;
            self.asked_first = None;
        }
        let interval = match self.interval {
            Some(interval) => interval,
            None if condition.paused => INTERVAL_PAUSED,
            None => return Beat::Rest,
        };
        if let Some(ttl) = self.ttl {
            if self.heard + ttl <= now {
                return Beat::GiveUp(ttl);
            }
        }
        if let Some(first) = self.asked_first {
            let means_something =
                self.answers && condition.waiting == 0 && condition.finished == self.read_by_peer;
            if means_something && first + self.timeout <= now {
                return Beat::GiveUp(self.timeout);
            }
        }
        let next = if condition.paused {
            self.asked + interval.min(INTERVAL_PAUSED)
        } else {
            self.heard.max(self.asked) + interval
        };
        if next > now {
            return Beat::Wait(self.before_an_end(next, now));
        }
        if condition.owing {
            // One PING is enough for a peer that does not even take that.
            let again = now + interval.min(INTERVAL_PAUSED);
            return Beat::Wait(self.before_an_end(again, now));
        }
        self.asked = now;
        if !condition.paused {
            self.asked_first.get_or_insert(now);
        }
        Beat::Ask(context(condition.finished))
    }

    /// Whoever watches was away: the peer has all its time again.
    pub(crate) fn start_over(&mut self, now: Instant) {
        self.heard = now;
        self.asked_first = None;
    }

    /// A time, or when the patience with the peer ends, if that is before it.
    fn before_an_end(&self, time: Instant, now: Instant) -> Instant {
        let unanswered = self.asked_first.map(|first| first + self.timeout);
        let outlived = self.ttl.map(|ttl| self.heard + ttl);
        let ends = [unanswered, outlived].into_iter().flatten();
        ends.filter(|end| *end > now).fold(time, Instant::min)
    }

    /// The peer wants to be given up if nothing is heard from it for so long after a PING; zero means that it does not.
    pub(crate) fn asked(&mut self, ttl: Duration) {
        self.ttl = Some(ttl).filter(|ttl| !ttl.is_zero() && self.interval.is_some());
    }

    /// The peer has answered a PING, ours or another.
    pub(crate) fn answered(&mut self, context: &[u8]) {
        self.answers = true;
        if let Some((&MARK, number)) = context.split_first() {
            if let Ok(number) = number.try_into() {
                self.read_by_peer = self.read_by_peer.max(u64::from_be_bytes(number));
            }
        }
    }
}

/// Says how many messages were written before the PING.
fn context(finished: u64) -> [u8; CONTEXT_BYTES] {
    let mut context = [MARK; CONTEXT_BYTES];
    context[1..].copy_from_slice(&finished.to_be_bytes());
    context
}

pub(crate) const CONTEXT_BYTES: usize = 9;
const MARK: u8 = b'h';
/// A peer with a shorter timeout than this must not take us for dead while we do not read.
const INTERVAL_PAUSED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Condition = Condition {
        received: 0,
        paused: false,
        owing: false,
        finished: 0,
        waiting: 0,
    };

    /// A connection with an interval of 10 s and a timeout of 20 s, at a time counted in seconds.
    struct Scene {
        start: Instant,
        heartbeat: Heartbeat,
    }

    impl Scene {
        fn new() -> Scene {
            let start = Instant::now();
            let heartbeat = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(20), 0, start);
            Scene { start, heartbeat }
        }

        fn beat(&mut self, second: u64, condition: Condition) -> Beat {
            self.heartbeat.beat(self.at(second), condition)
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn wait(&self, second: u64) -> Beat {
            Beat::Wait(self.at(second))
        }
    }

    #[test]
    fn a_silent_peer_that_has_answered_before_is_given_up() {
        let mut scene = Scene::new();
        assert_eq!(scene.beat(0, QUIET), scene.wait(10));
        assert_eq!(scene.beat(10, QUIET), Beat::Ask(*b"h\0\0\0\0\0\0\0\0"));
        scene.heartbeat.answered(b"h\0\0\0\0\0\0\0\0");
        let quiet = Condition {
            received: 11,
            ..QUIET
        };
        assert_eq!(scene.beat(11, quiet), scene.wait(21));
        assert!(matches!(scene.beat(21, quiet), Beat::Ask(_)));
        assert_eq!(scene.beat(22, quiet), scene.wait(31));
        assert!(matches!(scene.beat(31, quiet), Beat::Ask(_)));
        assert_eq!(scene.beat(32, quiet), scene.wait(41));
        assert_eq!(scene.beat(40, quiet), scene.wait(41));
        assert_eq!(scene.beat(41, quiet), Beat::GiveUp(Duration::from_secs(20)));
    }

    #[test]
    fn who_is_not_watched_hears_of_us_while_we_do_not_read() {
        let mut scene = Scene::new();
        scene.heartbeat = Heartbeat::unwatched(scene.start);
        scene.heartbeat.answered(b"");
        scene.heartbeat.asked(Duration::from_secs(1));
        assert_eq!(scene.beat(100, QUIET), Beat::Rest);
        let paused = Condition {
            paused: true,
            ..QUIET
        };
        assert!(matches!(scene.beat(200, paused), Beat::Ask(_)));
        assert_eq!(scene.beat(200, paused), scene.wait(201));
        assert!(matches!(scene.beat(201, paused), Beat::Ask(_)));
        let owing = Condition {
            owing: true,
            ..paused
        };
        assert_eq!(scene.beat(202, owing), scene.wait(203));
        assert_eq!(scene.beat(203, QUIET), Beat::Rest);
        assert_eq!(scene.beat(1000, QUIET), Beat::Rest);
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let mut scene = Scene::new();
        scene.heartbeat.answered(b"");
        for second in 1..100 {
            let condition = Condition {
                received: second,
                ..QUIET
            };
            assert_eq!(scene.beat(second * 9, condition), scene.wait(second * 9 + 10));
        }
    }

    #[test]
    fn a_peer_that_never_answered_is_not_given_up() {
        let mut scene = Scene::new();
        for tens in 1..100 {
            assert!(matches!(scene.beat(tens * 10, QUIET), Beat::Ask(_)));
        }
    }

    #[test]
    fn a_peer_that_may_be_busy_with_our_messages_is_not_given_up() {
        let sent = Condition { finished: 7, ..QUIET };
        let mut scene = Scene::new();
        scene.heartbeat.answered(b"h\0\0\0\0\0\0\0\x06");
        for tens in 1..100 {
            assert_eq!(scene.beat(tens * 10, sent), Beat::Ask(*b"h\0\0\0\0\0\0\0\x07"));
        }
        // It has read them all, and another one is on its way.
        scene.heartbeat.answered(b"h\0\0\0\0\0\0\0\x07");
        assert!(matches!(
            scene.beat(1000, Condition { waiting: 1, ..sent }),
            Beat::Ask(_)
        ));
        assert_eq!(scene.beat(1001, sent), Beat::GiveUp(Duration::from_secs(20)));
    }

    #[test]
    fn while_we_do_not_read_silence_means_nothing_and_we_speak_more_often() {
        let mut scene = Scene::new();
        scene.heartbeat.answered(b"");
        let paused = Condition {
            paused: true,
            ..QUIET
        };
        for second in 1..100 {
            assert!(matches!(scene.beat(second, paused), Beat::Ask(_)));
            assert_eq!(scene.beat(second, paused), scene.wait(second + 1));
        }
        // From when we read again, it has all its time.
        assert_eq!(scene.beat(100, QUIET), scene.wait(109));
        assert!(matches!(scene.beat(109, QUIET), Beat::Ask(_)));
        assert_eq!(scene.beat(128, QUIET), Beat::Ask(*b"h\0\0\0\0\0\0\0\0"));
        assert_eq!(scene.beat(129, QUIET), Beat::GiveUp(Duration::from_secs(20)));
    }

    #[test]
    fn a_ping_that_is_not_written_is_not_followed_by_another() {
        let mut scene = Scene::new();
        let owing = Condition { owing: true, ..QUIET };
        assert_eq!(scene.beat(10, owing), scene.wait(11));
        assert!(matches!(scene.beat(11, QUIET), Beat::Ask(_)));
    }

    #[test]
    fn a_time_to_live_that_the_peer_asks_for_is_kept() {
        let mut scene = Scene::new();
        scene.heartbeat.asked(Duration::from_secs(3));
        assert_eq!(scene.beat(1, QUIET), scene.wait(3));
        let heard = Condition {
            received: 10,
            ..QUIET
        };
        assert_eq!(scene.beat(2, heard), scene.wait(5));
        assert_eq!(
            scene.beat(
                4,
                Condition {
                    paused: true,
                    ..heard
                }
            ),
            Beat::Ask(*b"h\0\0\0\0\0\0\0\0")
        );
        assert_eq!(scene.beat(6, heard), scene.wait(7));
        assert_eq!(scene.beat(7, heard), Beat::GiveUp(Duration::from_secs(3)));
        // It takes that back.
        scene.heartbeat.asked(Duration::ZERO);
        assert_eq!(scene.beat(8, heard), scene.wait(14));
    }

    #[test]
    fn a_watcher_that_was_away_starts_over() {
        let mut scene = Scene::new();
        scene.heartbeat.answered(b"");
        assert!(matches!(scene.beat(10, QUIET), Beat::Ask(_)));
        scene.heartbeat.start_over(scene.at(1000));
        assert_eq!(scene.beat(1000, QUIET), scene.wait(1010));
        assert!(matches!(scene.beat(1010, QUIET), Beat::Ask(_)));
        assert_eq!(scene.beat(1030, QUIET), Beat::GiveUp(Duration::from_secs(20)));
    }

    #[test]
    fn what_was_sent_over_other_connections_is_not_what_the_peer_is_busy_with() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut heartbeat = Heartbeat::new(second, second, 5, start);
        heartbeat.answered(b"something else");
        let condition = Condition { finished: 5, ..QUIET };
        assert!(matches!(heartbeat.beat(start + second, condition), Beat::Ask(_)));
        assert_eq!(
            heartbeat.beat(start + 2 * second, condition),
            Beat::GiveUp(second)
        );
    }
}
