//! The dialing side of a connection: addresses to try, and pauses between attempts.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, Host};
use crate::options::Options;
use crate::transport::Address;

/// What keeps a dialed endpoint connected. It lives as long as the endpoint, its connections come and go.
pub(super) struct Connector {
    /// Addresses of the attempt under way that were not tried yet.
    pub(super) addresses: VecDeque<Address>,
    pub(super) state: Dialing,
    backoff: Backoff,
}

/// Where the connector is, while there is no connection that it dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialing {
    /// A pause, until then.
    Waiting(Instant),
    /// The resolver was asked, and gets this long.
    Resolving(Instant),
    /// A connection is there, or being made.
    Connection,
}

/// What to do for an attempt.
pub(super) enum Attempt {
    /// The address is known.
    Dial(Address),
    /// The name has to be resolved.
    Resolve(String, u16),
    /// The endpoint is not one that can be dialed here.
    Impossible(std::io::Error),
}

impl Connector {
    pub(super) fn new(options: &Options, now: Instant) -> Connector {
        Connector {
            addresses: VecDeque::new(),
            state: Dialing::Waiting(now),
            backoff: Backoff::new(
                options.reconnect_min,
                options.reconnect_max,
                RandomState::new().hash_one(0),
            ),
        }
    }

    pub(super) fn attempt(endpoint: &Endpoint) -> Attempt {
        match endpoint {
            Endpoint::Tcp {
                host: Host::Ip(ip),
                port,
            } => Attempt::Dial(Address::Tcp((*ip, *port).into())),
            Endpoint::Tcp {
                host: Host::Name(name),
                port,
            } => Attempt::Resolve(name.clone(), *port),
            Endpoint::Ipc(address) => match Address::from_ipc(address) {
                Ok(address) => Attempt::Dial(address),
                Err(error) => Attempt::Impossible(error),
            },
            _ => Attempt::Impossible(std::io::ErrorKind::Unsupported.into()),
        }
    }

    /// The attempt failed: pauses, and says for how long.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        self.addresses.clear();
        let pause = self.backoff.next();
        self.state = Dialing::Waiting(now + pause);
        pause
    }

    /// A handshake succeeded: the next failure starts with a short pause again.
    pub(super) fn succeeded(&mut self) {
        self.backoff.reset();
    }
}

/// Pauses that double from `min` to `max`, give or take a quarter, so that many clients of a server that comes back do
/// not all knock at once.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    fn new(min: Duration, max: Duration, seed: u64) -> Backoff {
        Backoff {
            min,
            max,
            next: min,
            random: seed | 1,
        }
    }

    fn next(&mut self) -> Duration {
        // Xorshift: any spread will do here.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = 75 + u32::try_from(self.random % 51).unwrap_or(0);
        let pause = self.next * percent / 100;
        self.next = (self.next * 2).min(self.max);
        pause.clamp(self.min * 3 / 4, self.max)
    }

    fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over_after_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(5));
        for seed in 0..200 {
            let mut backoff = Backoff::new(min, max, seed);
            let mut base = min;
            for _ in 0..12 {
                let pause = backoff.next();
                assert!(
                    pause >= base * 3 / 4 && pause <= (base * 5 / 4).min(max),
                    "{pause:?} around {base:?}"
                );
                base = (base * 2).min(max);
            }
            backoff.reset();
            assert!(backoff.next() <= min * 5 / 4);
        }
    }

    #[test]
    fn jitter_spreads_the_pauses() {
        let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(5), 42);
        let pauses: std::collections::HashSet<Duration> = (0..50).map(|_| backoff.next()).collect();
        assert!(pauses.len() > 10);
    }
}
