//! Sends what is to be sent and prints what comes, with a socket of any type.
//!
//! One thread does all of it in turns, and between them waits for whatever can move things on:
//!
//! ```text
//!   input ──► source ──► pending ──► peer ──► drained       a turn: send up to a portion, receive up to a portion
//!                                    peer ──► output        then, if nothing moved: flush, wait
//! ```

use std::time::{Duration, Instant};

use zerowire::{Context, Endpoint, Message, OptionError, Selector, SocketType};

use crate::arguments::{Command, Common, Sending};
use crate::events;
use crate::failure::Failure;
use crate::input::Input;
use crate::interrupts::Interrupts;
use crate::lines::Format;
use crate::output::{self, Output};
use crate::peer::{self, Options, Peer, Unsent, Wake};

/// What to do, with which socket.
pub struct Plan {
    socket_type: SocketType,
    role: Role,
    bind: Vec<Endpoint>,
    connect: Vec<Endpoint>,
    options: Options,
    format: Format,
    /// Texts to send or to answer; none means that input is read, or that answers are the questions.
    messages: Vec<String>,
    count: Option<u64>,
    interval: Duration,
    timeout: Option<Duration>,
    wait_subscribers: usize,
    events: bool,
    stats: bool,
}

/// What a socket type is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Sends, and is done when that has been handed over. What it receives meanwhile is printed.
    Send,
    /// Prints.
    Receive,
    /// Both at once: the end of the input is not the end.
    Talk,
    /// Sends, and waits for the reply before it sends again.
    Ask,
    /// Prints, and answers before it receives again.
    Answer,
}

impl TryFrom<Command> for Plan {
    type Error = Failure;

    fn try_from(command: Command) -> Result<Plan, Failure> {
        let mut plan;
        match command {
            Command::Push(push) => {
                plan = Plan::new(SocketType::Push, Role::Send, push.all);
                plan.sends(push.sending);
                plan.count = push.repeat.count;
            }
            Command::Pull(pull) => {
                plan = Plan::new(SocketType::Pull, Role::Receive, pull.all);
                plan.options.receive_hwm = pull.receiving.receive_hwm;
                plan.count = pull.stop.count;
            }
            Command::Pub(publisher) => {
                plan = Plan::new(SocketType::Pub, Role::Send, publisher.all);
                plan.sends(publisher.sending);
                plan.count = publisher.repeat.count;
                plan.wait_subscribers = publisher.subscribers.wait_subscribers.unwrap_or(0);
            }
            Command::Sub(sub) => plan = Plan::of_subscriber(SocketType::Sub, sub),
            Command::Xsub(sub) => plan = Plan::of_subscriber(SocketType::XSub, sub),
            Command::Req(req) => {
                plan = Plan::new(SocketType::Req, Role::Ask, req.all);
                plan.sends(req.sending);
                plan.count = req.repeat.count;
                plan.options.receive_hwm = req.receiving.receive_hwm;
                plan.options.identity = req.identity.identity;
            }
            Command::Rep(rep) => {
                plan = Plan::new(SocketType::Rep, Role::Answer, rep.all);
                plan.messages = rep.message;
                plan.count = rep.count;
                plan.options.send_hwm = rep.marks.send_hwm;
                plan.options.receive_hwm = rep.marks.receive_hwm;
            }
            Command::Dealer(dealer) => {
                plan = Plan::new(SocketType::Dealer, Role::Talk, dealer.all);
                plan.sends(dealer.sending);
                plan.count = dealer.stop.count;
                plan.options.receive_hwm = dealer.receiving.receive_hwm;
                plan.options.identity = dealer.identity.identity;
            }
            Command::Router(router) => {
                let role = if router.echo { Role::Answer } else { Role::Receive };
                plan = Plan::new(SocketType::Router, role, router.all);
                plan.count = router.stop.count;
                plan.options.send_hwm = router.marks.send_hwm;
                plan.options.receive_hwm = router.marks.receive_hwm;
                plan.options.identity = router.identity.identity;
            }
            Command::Pair(pair) => {
                plan = Plan::new(SocketType::Pair, Role::Talk, pair.all);
                plan.sends(pair.sending);
                plan.count = pair.stop.count;
                plan.options.receive_hwm = pair.receiving.receive_hwm;
            }
            Command::Xpub(xpub) => {
                plan = Plan::new(SocketType::XPub, Role::Send, xpub.all);
                plan.sends(xpub.sending);
                plan.count = xpub.repeat.count;
                plan.options.receive_hwm = xpub.receiving.receive_hwm;
                plan.wait_subscribers = xpub.subscribers.wait_subscribers.unwrap_or(0);
            }
            _ => return Err(Failure::Error("not a command about a socket".into())),
        }
        Ok(plan)
    }
}

impl Plan {
    fn new(socket_type: SocketType, role: Role, all: Common) -> Plan {
        let connections = all.connections;
        Plan {
            socket_type,
            role,
            bind: all.endpoints.bind,
            connect: all.endpoints.connect,
            options: Options {
                linger: connections.linger,
                max_message_bytes: connections.max_message_bytes,
                heartbeat: connections.heartbeat,
                heartbeat_timeout: connections.heartbeat_timeout,
                reconnect: connections.reconnect,
                reconnect_max: connections.reconnect_max,
                ..Options::default()
            },
            format: if all.telling.hex {
                Format::Hex
            } else {
                Format::Plain
            },
            messages: Vec::new(),
            count: None,
            interval: Duration::ZERO,
            timeout: all.telling.timeout,
            wait_subscribers: 0,
            events: all.telling.events,
            stats: all.telling.stats,
        }
    }

    fn of_subscriber(socket_type: SocketType, sub: crate::arguments::Sub) -> Plan {
        let mut plan = Plan::new(socket_type, Role::Receive, sub.all);
        plan.options.receive_hwm = sub.receiving.receive_hwm;
        plan.options.topics = match sub.subscribe.is_empty() {
            true => vec![String::new()],
            false => sub.subscribe,
        };
        plan.count = sub.stop.count;
        plan
    }

    fn sends(&mut self, sending: Sending) {
        self.messages = sending.message;
        self.interval = sending.interval.unwrap_or_default();
        self.options.send_hwm = sending.send_hwm;
    }

    /// Whether the options are within their ranges.
    pub fn check(&self) -> Result<(), OptionError> {
        self.options.check()
    }

    /// What is sent unasked.
    fn source(&self) -> Result<Source, Failure> {
        if matches!(self.role, Role::Receive | Role::Answer) {
            return Ok(Source::Nothing);
        }
        if self.messages.is_empty() {
            let line_bytes = self.options.max_message_bytes.unwrap_or(LINE_BYTES_MAX);
            // Hexadecimal takes two digits for a byte, and separators.
            let line_bytes = if self.format == Format::Hex {
                3 * line_bytes
            } else {
                line_bytes
            };
            return Ok(Source::Input {
                input: Box::new(Input::start(line_bytes)?),
                left: if self.role == Role::Talk { None } else { self.count },
                line: 0,
            });
        }
        let rounds = if self.role == Role::Talk {
            1
        } else {
            self.count.unwrap_or(1)
        };
        Ok(Source::Messages {
            texts: self.messages.clone(),
            at: 0,
            rounds,
        })
    }
}

/// The library's default for the largest message.
const LINE_BYTES_MAX: u64 = 64 << 20;

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

/// Where the messages come from that are sent unasked.
enum Source {
    Nothing,
    /// Texts, a number of times.
    Messages {
        texts: Vec<String>,
        at: usize,
        rounds: u64,
    },
    /// Lines of standard input.
    Input {
        input: Box<Input>,
        /// So many more at most.
        left: Option<u64>,
        /// The number of the last line.
        line: u64,
    },
}

impl Source {
    /// The next message, if there is one now.
    fn next(&mut self, format: Format) -> Result<Option<Message>, Failure> {
        if self.has_ended() {
            return Ok(None);
        }
        match self {
            Source::Nothing => Ok(None),
            Source::Messages { texts, at, rounds } => {
                let message = Message::from(texts[*at].as_str());
                *at += 1;
                if *at == texts.len() {
                    (*at, *rounds) = (0, *rounds - 1);
                }
                Ok(Some(message))
            }
            Source::Input { input, left, line } => {
                let Some(text) = input.next()? else {
                    return Ok(None);
                };
                *line += 1;
                *left = left.map(|left| left - 1);
                let message = format.read(text);
                let message = message
                    .map_err(|reason| Failure::Error(format!("line {line} of the input: {reason}")))?;
                Ok(Some(message))
            }
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Source::Nothing => true,
            Source::Messages { rounds, .. } => *rounds == 0,
            Source::Input { input, left, .. } => *left == Some(0) || input.has_ended(),
        }
    }

    fn watch(&mut self, selector: &mut Selector<Wake>) -> Result<(), Failure> {
        match self {
            Source::Input { input, .. } => input.watch(Wake::Input, selector),
            Source::Nothing | Source::Messages { .. } => Ok(()),
        }
    }
}
