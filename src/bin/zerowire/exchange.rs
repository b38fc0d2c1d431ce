//! Sends what is to be sent and prints what comes, with a socket of any type.
//!
//! One thread does all of it in turns, and between them waits for whatever can move things on:
//!
//! ```text
//!   input ──► source ──► pending ──► peer ──► drained       a turn: send up to a portion, receive up to a portion
//!                                    peer ──► output        then, if nothing moved: flush, wait
//! ```

use std::time::{Duration, Instant};

use zerowire::{Context, Message, Selector, SocketType};

use crate::events;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{self, Output};
use crate::peer::{self, Peer, Unsent, Wake};
use crate::plan::{Plan, Role};
use crate::source::Source;

/// Runs a plan to its end.
pub fn run(plan: Plan) -> Result<(), Failure> {
    let context = Context::new();
    let mut peer = peer::open(&context, plan.socket_type, &plan.options)?;
    let events = if plan.events {
        Some(events::tell(peer.monitor())?)
    } else {
        None
    };
    let result = exchange(peer.as_mut(), &plan);
    if plan.stats {
        output::tell(&events::of_stats(&peer.stats()).finish());
    }
    drop(peer);
    // Waits until the peers have read what was written, as long as the socket lingers.
    drop(context);
    if let Some(events) = events {
        let _ = events.join();
    }
    result
}

fn exchange(peer: &mut dyn Peer, plan: &Plan) -> Result<(), Failure> {
    let grace = plan.options.linger.unwrap_or(LINGER_AFTER_SIGNAL) + Duration::from_secs(1);
    let interrupts = Interrupts::catch(grace)?;
    for endpoint in &plan.bind {
        let resolved = peer.bind(endpoint)?;
        output::tell(&format!("listening on {resolved}"));
    }
    for endpoint in &plan.connect {
        peer.connect(endpoint)?;
    }
    let mut exchange = Exchange {
        peer,
        plan,
        source: plan.source()?,
        output: Output::new(plan.format),
        interrupts,
        selector: Selector::new(),
        watched: Vec::new(),
        pending: None,
        is_awaiting: false,
        answers: 0,
        received: 0,
        next_send: None,
        moved: Instant::now(),
    };
    match exchange.go() {
        Ok(()) | Err(Stop::Interrupted) => exchange.output.flush(),
        Err(Stop::Failed(failure)) => {
            // What came before is for the reader all the same.
            let _ = exchange.output.flush();
            Err(failure)
        }
    }
}

/// As long as the library lingers by default.
const LINGER_AFTER_SIGNAL: Duration = Duration::from_secs(1);
/// Messages in one direction before the other one has its turn.
const PORTION: usize = 256;
/// Between looks at what nothing wakes for: messages that wait to be handed over.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);
/// Between looks for signals while subscribers are waited for.
const SUBSCRIBER_PAUSE: Duration = Duration::from_millis(50);

struct Exchange<'a> {
    peer: &'a mut dyn Peer,
    plan: &'a Plan,
    source: Source,
    output: Output,
    interrupts: Interrupts,
    selector: Selector<Wake>,
    /// What the selector waits for.
    watched: Vec<Wake>,
    /// A message for which there was no room yet.
    pending: Option<Message>,
    /// A request was sent, and its reply has not come.
    is_awaiting: bool,
    /// Answers given, which say whose turn it is among the texts.
    answers: usize,
    received: u64,
    /// Not before then, if messages have an interval.
    next_send: Option<Instant>,
    /// When something moved last.
    moved: Instant,
}

/// Why an exchange ends before it is done.
enum Stop {
    Interrupted,
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Stop {
    fn from(failure: F) -> Stop {
        Stop::Failed(failure.into())
    }
}

impl Exchange<'_> {
    fn go(&mut self) -> Result<(), Stop> {
        self.await_subscribers()?;
        self.interrupts.watch(Wake::Interrupt, &mut self.selector)?;
        loop {
            if self.interrupts.came() {
                return Err(Stop::Interrupted);
            }
            let has_sent = self.send_portion()?;
            let has_received = self.receive_portion()?;
            if has_sent || has_received {
                self.moved = Instant::now();
            }
            if self.is_done() {
                break;
            }
            if !(has_sent || has_received) {
                self.output.flush()?;
                self.wait()?;
            }
        }
        self.output.flush()?;
        self.drain()
    }

    fn await_subscribers(&mut self) -> Result<(), Stop> {
        let count = self.plan.wait_subscribers;
        while count > 0 && !self.peer.wait_for_subscribers(count, SUBSCRIBER_PAUSE)? {
            if self.interrupts.came() {
                return Err(Stop::Interrupted);
            }
            self.check_timeout(|| format!("fewer than {count} subscribers"))?;
        }
        self.moved = Instant::now();
        Ok(())
    }

    /// Sends what there is and finds room. Says whether anything has moved, the end of the input included.
    fn send_portion(&mut self) -> Result<bool, Failure> {
        let mut has_moved = false;
        for _ in 0..PORTION {
            if self.is_awaiting || self.is_early() {
                break;
            }
            let message = match self.pending.take() {
                Some(message) => message,
                None => {
                    let had_ended = self.source.has_ended();
                    let next = self.source.next(self.plan.format)?;
                    has_moved |= next.is_some() || self.source.has_ended() != had_ended;
                    match next {
                        Some(message) => message,
                        None => break,
                    }
                }
            };
            match self.peer.try_send(message) {
                Ok(()) => {}
                // Whoever asked is gone; the next one may not be.
                Err(Unsent::PeerLost) if self.plan.role == Role::Answer => {}
                Err(Unsent::PeerLost) => return Err(Failure::Error("the peer is gone".into())),
                Err(Unsent::NotNow(message)) => {
                    self.pending = Some(message);
                    break;
                }
                Err(Unsent::Failed(failure)) => return Err(failure),
            }
            has_moved = true;
            self.is_awaiting = self.plan.role == Role::Ask;
            if !self.plan.interval.is_zero() {
                self.next_send = Instant::now().checked_add(self.plan.interval);
            }
        }
        Ok(has_moved)
    }

    fn is_early(&self) -> bool {
        self.next_send.is_some_and(|time| Instant::now() < time)
    }

    /// Prints what has come, as far as it is to be taken now. Says whether anything has.
    fn receive_portion(&mut self) -> Result<bool, Failure> {
        let mut has_moved = false;
        for _ in 0..PORTION {
            if !self.may_receive() {
                break;
            }
            let Some(message) = self.peer.try_receive()? else {
                break;
            };
            has_moved = true;
            self.received += 1;
            self.is_awaiting = false;
            self.output.print(&message)?;
            if self.plan.role == Role::Answer {
                self.pending = Some(self.answer(message));
                self.send_portion()?;
            } else if self.plan.role == Role::Ask {
                break;
            }
        }
        Ok(has_moved)
    }

    fn may_receive(&self) -> bool {
        match self.plan.role {
            Role::Send => self.plan.socket_type == SocketType::XPub,
            Role::Receive | Role::Talk => !self.has_enough(),
            Role::Ask => self.is_awaiting,
            Role::Answer => self.pending.is_none() && !self.has_enough(),
        }
    }

    fn answer(&mut self, question: Message) -> Message {
        let turn = self.answers;
        self.answers += 1;
        match self.plan.messages.len() {
            0 => question,
            texts => Message::from(self.plan.messages[turn % texts].clone()),
        }
    }

    fn has_enough(&self) -> bool {
        self.plan.count.is_some_and(|count| self.received >= count)
    }

    /// Whether all has been sent and received that was asked for.
    fn is_done(&self) -> bool {
        let has_sent = self.source.has_ended() && self.pending.is_none();
        match self.plan.role {
            Role::Send => has_sent,
            Role::Receive => self.has_enough(),
            // Of the input there may be more than anybody waits for; given texts are to be sent.
            Role::Talk => {
                self.has_enough() && self.pending.is_none() && (has_sent || self.plan.messages.is_empty())
            }
            Role::Ask => has_sent && !self.is_awaiting,
            Role::Answer => self.has_enough() && self.pending.is_none(),
        }
    }

    /// Waits for something to move, or for the time of something.
    fn wait(&mut self) -> Result<(), Stop> {
        let is_early = self.is_early();
        let wants_room = self.pending.is_some() && !is_early;
        let wants_input =
            self.pending.is_none() && !self.is_awaiting && !is_early && !self.source.has_ended();
        let wants_messages = self.may_receive();
        self.watch(Wake::Room, wants_room)?;
        self.watch(Wake::Input, wants_input)?;
        self.watch(Wake::Messages, wants_messages)?;
        // What a person types, or another program writes, takes the time it takes.
        let is_up_to_peers =
            wants_room || wants_messages && !wants_input && !is_early && self.plan.role != Role::Send;
        let limit = self.plan.timeout.filter(|_| is_up_to_peers);
        let limit = limit.and_then(|timeout| self.moved.checked_add(timeout));
        let next_send = self.next_send.filter(|_| is_early);
        match [limit, next_send].into_iter().flatten().min() {
            Some(time) => self
                .selector
                .wait_timeout(time.saturating_duration_since(Instant::now()))?,
            None => self.selector.wait()?,
        };
        if is_up_to_peers
            && limit.is_some_and(|limit| Instant::now() >= limit)
            && !self.could_move(wants_room)?
        {
            return Err(Stop::Failed(Failure::Timeout(format!(
                "nothing {} for {:?}",
                if wants_room { "could be sent" } else { "came" },
                self.plan.timeout.unwrap_or_default()
            ))));
        }
        Ok(())
    }

    /// A last look, for what came just when the time was over.
    fn could_move(&mut self, wants_room: bool) -> Result<bool, Failure> {
        Ok(match wants_room {
            true => self.send_portion()?,
            false => self.receive_portion()?,
        })
    }

    fn watch(&mut self, what: Wake, is_wanted: bool) -> Result<(), Failure> {
        let at = self.watched.iter().position(|watched| *watched == what);
        match (at, is_wanted) {
            (None, true) => {
                match what {
                    Wake::Room => self.peer.watch_room(&mut self.selector)?,
                    Wake::Messages => self.peer.watch_messages(&mut self.selector)?,
                    Wake::Input => self.source.watch(&mut self.selector)?,
                    Wake::Interrupt => {}
                }
                self.watched.push(what);
            }
            (Some(at), false) => {
                self.selector.remove(&what);
                self.watched.swap_remove(at);
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until what was sent has been handed over, to the operating system that is.
    fn drain(&mut self) -> Result<(), Stop> {
        let mut waiting = self.peer.stats().sent.waiting;
        while waiting > 0 {
            if self.interrupts.came_within(DRAIN_PAUSE) {
                return Err(Stop::Interrupted);
            }
            let left = self.peer.stats().sent.waiting;
            if left != waiting {
                self.moved = Instant::now();
                waiting = left;
            }
            if self
                .plan
                .options
                .linger
                .is_some_and(|linger| self.moved.elapsed() >= linger)
                && left > 0
            {
                return Err(Stop::Failed(Failure::Error(format!(
                    "{} could not be delivered",
                    counted(left)
                ))));
            }
            self.check_timeout(|| format!("{} could not be delivered", counted(left)))?;
        }
        let sent = self.peer.stats().sent;
        match (sent.dropped.total(), self.plan.socket_type, self.plan.role) {
            (0, ..) | (_, _, Role::Answer) => Ok(()),
            (dropped, SocketType::Pub | SocketType::XPub, _) => {
                output::tell(&format!(
                    "{dropped} messages missed a subscriber that was slow or left"
                ));
                Ok(())
            }
            (dropped, ..) => Err(Stop::Failed(Failure::Error(format!(
                "{} lost with the peer it was meant for",
                counted(dropped)
            )))),
        }
    }

    fn check_timeout(&self, what: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.plan.timeout {
            Some(timeout) if self.moved.elapsed() >= timeout => {
                Err(Failure::Timeout(format!("{} within {timeout:?}", what())))
            }
            _ => Ok(()),
        }
    }
}

fn counted(messages: u64) -> String {
    match messages {
        1 => "1 message".to_owned(),
        more => format!("{more} messages"),
    }
}
