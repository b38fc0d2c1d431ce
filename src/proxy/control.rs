//! What others know of a proxy that runs, and tell it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// Pauses, resumes and stops a [`Proxy`](crate::Proxy), and tells what it has done, from any thread.
///
/// A clone controls the same proxy. Dropping it changes nothing.
///
/// # Examples
/// ```
/// use zerowire::{Context, Proxy, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let (front, back) = (PullSocket::new(&context), PushSocket::new(&context));
/// let proxy = Proxy::streamer(front, back);
/// let control = proxy.control();
/// // Whatever it is told before it runs holds from the start.
/// std::thread::spawn(move || control.stop());
/// let end = proxy.run()?;
/// assert_eq!(end.stats.front_to_back.messages, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when `phase` or `wanted` changes.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    wanted: Wanted,
    phase: Phase,
    /// As of the last turn.
    stats: ProxyStats,
    /// The proxy's thread, while it runs: whoever wants something unparks it.
    thread: Option<Thread>,
}

/// What a proxy is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    Pause,
    /// There is no way back.
    Stop,
}

/// What a proxy is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It may be taking messages.
    Running,
    /// It takes none: it was not started, is paused, or has ended.
    Still,
}

/// What a [`Proxy`](crate::Proxy) has done since it was made.
///
/// All figures belong to one moment. While the proxy runs they may be behind by what one turn moves, up to a few hundred
/// messages in each direction; those that a proxy ends with are exact.
///
/// # Examples
/// ```
/// use zerowire::{Context, Proxy, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut source = PushSocket::new(&context);
/// source.connect("inproc://in")?;
/// let mut sink = PullSocket::new(&context);
/// sink.connect("inproc://out")?;
/// let (mut front, mut back) = (PullSocket::new(&context), PushSocket::new(&context));
/// front.bind("inproc://in")?;
/// back.bind("inproc://out")?;
/// let proxy = Proxy::streamer(front, back).spawn()?;
/// source.send("hello")?;
/// sink.recv()?;
/// let stats = proxy.stop()?.stats;
/// assert_eq!((stats.front_to_back.messages, stats.front_to_back.bytes), (1, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProxyStats {
    /// Requests, messages of publishers, work.
    pub front_to_back: Flow,
    /// Replies, and what subscribers say. Nothing in a streamer.
    pub back_to_front: Flow,
    /// Messages that were passed on, in either direction, and that the capture socket has got.
    pub captured: u64,
    /// Messages that were passed on and that the capture socket, or one of its subscribers, has not got for want of room or of
    /// a peer.
    pub capture_dropped: u64,
}

/// What a [`Proxy`](crate::Proxy) has done in one direction.
///
/// *Taken from the one socket = `messages` + `unroutable` + `too_large` + `dropped` + `held`.*
///
/// # Examples
/// ```
/// use zerowire::ProxyStats;
///
/// let flow = ProxyStats::default().front_to_back;
/// assert_eq!((flow.messages, flow.held), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flow {
    /// Messages that the other socket has accepted.
    pub messages: u64,
    /// Bytes of their parts; in a queue without the part that names the client.
    pub bytes: u64,
    /// Replies whose client was gone, or which named none.
    pub unroutable: u64,
    /// Messages over the limits of the other socket, whose peers would hang up on them.
    pub too_large: u64,
    /// Replies to clients at their high-water mark, if [`Proxy::drop_full`](crate::Proxy::drop_full) says so.
    pub dropped: u64,
    /// Forwarder: how often a subscriber (or upstream a publisher) did not get one of `messages`, because it was at its
    /// high-water mark.
    pub missed: u64,
    /// 1 while a message that was taken waits because the other socket has no room for it, else 0.
    pub held: u64,
}

impl ProxyControl {
    pub(super) fn new() -> ProxyControl {
        ProxyControl {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    wanted: Wanted::Run,
                    phase: Phase::Still,
                    stats: ProxyStats::default(),
                    thread: None,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Has the proxy take no message from either side, until [`resume`](Self::resume). Peers feel it as they feel a proxy that
    /// is slow: what they send waits, up to their high-water marks. A message that was taken already and waits for room goes
    /// on waiting.
    ///
    /// Blocks for the rest of the proxy's turn, a fraction of a millisecond as a rule: when it returns, no message is taken any
    /// more, and [`stats`](Self::stats) stand still, unless another thread has ended the pause meanwhile. Does nothing if the
    /// proxy has ended, or was told to stop.
    pub fn pause(&self) {
        let mut state = self.tell(Wanted::Pause);
        while state.phase == Phase::Running && state.wanted == Wanted::Pause {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends a pause, and returns at once. Does nothing if there is none.
    pub fn resume(&self) {
        drop(self.tell(Wanted::Run));
    }

    /// Has the proxy pass on what it has received, then end; returns at once. A pause ends with it.
    ///
    /// What it has received is what lies in its sockets at the moment when it notices. Senders that go on sending do not keep
    /// it, and receivers that take nothing keep it for the [time that was set](crate::Proxy::stop_timeout) only; what it does
    /// not pass on stays in its sockets, which the end gives back. There is no way back: see [`pause`](Self::pause).
    pub fn stop(&self) {
        drop(self.tell(Wanted::Stop));
    }

    /// What the proxy has done so far. Never waits for it.
    pub fn stats(&self) -> ProxyStats {
        self.state().stats
    }

    fn tell(&self, wanted: Wanted) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if state.wanted != Wanted::Stop && state.wanted != wanted {
            state.wanted = wanted;
            // Who waits for a pause that was ended before it began would wait for the next one.
            self.shared.changed.notify_all();
        }
        if let Some(thread) = &state.thread {
            thread.unpark();
        }
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proxy's word that it runs, on this thread.
    pub(super) fn enter(&self) -> Entered {
        self.state().thread = Some(thread::current());
        Entered(self.clone())
    }
}

/// A proxy that runs. Its end, in whatever way, is the end of waiting for it.
pub(super) struct Entered(ProxyControl);

impl Entered {
    /// What the proxy has done, and what it is to do until the next call.
    pub(super) fn turn(&self, stats: &ProxyStats) -> Wanted {
        let mut state = self.0.state();
        state.stats = *stats;
        let phase = match state.wanted {
            Wanted::Run | Wanted::Stop => Phase::Running,
            Wanted::Pause => Phase::Still,
        };
        if state.phase != phase {
            state.phase = phase;
            self.0.shared.changed.notify_all();
        }
        state.wanted
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.phase = Phase::Still;
        state.thread = None;
        self.0.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// However long the proxy is in its turn: it need not notice a pause that is over.
    #[test]
    fn who_waits_for_a_pause_goes_on_when_another_thread_ends_it() {
        for end in [ProxyControl::resume, ProxyControl::stop] {
            let control = ProxyControl::new();
            let entered = control.enter();
            assert_eq!(entered.turn(&ProxyStats::default()), Wanted::Run);
            let (done, is_done) = channel();
            let pausing = thread::spawn({
                let control = control.clone();
                move || {
                    control.pause();
                    done.send(())
                }
            });
            // It gives the lock back when it sleeps, and not before: whoever sees what it wants knows that it does.
            while control.state().wanted != Wanted::Pause {
                thread::yield_now();
            }
            end(&control);
            let result = is_done.recv_timeout(Duration::from_secs(10));
            // Its end is the end of waiting for it, also if the test fails.
            drop(entered);
            pausing.join().unwrap().unwrap();
            assert_eq!(result, Ok(()));
        }
    }
}
