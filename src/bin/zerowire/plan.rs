//! What the arguments about a socket ask for.

use std::ffi::OsString;
use std::time::Duration;

use bytes::Bytes;
use zerowire::{Endpoint, OptionError, SocketType};

use crate::arguments::{Command, Common, Identity, Receiving, SendQueue, Sending, Sub};
use crate::failure::Failure;
use crate::input::Input;
use crate::lines::Format;
use crate::peer::Options;
use crate::source::Source;

/// What to do, with which socket.
pub struct Plan {
    pub socket_type: SocketType,
    pub role: Role,
    pub bind: Vec<Endpoint>,
    pub connect: Vec<Endpoint>,
    pub options: Options,
    pub format: Format,
    /// Texts to send or to answer; none means that input is read, or that answers are the questions.
    pub messages: Vec<Bytes>,
    pub count: Option<u64>,
    pub interval: Duration,
    pub timeout: Option<Duration>,
    pub wait_subscribers: usize,
    pub events: bool,
    pub stats: bool,
}

/// What a socket type is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
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
                plan.receives(&pull.receiving);
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
                plan.receives(&req.receiving);
                plan.is_called(req.identity);
                plan.count = req.repeat.count;
            }
            Command::Rep(rep) => {
                plan = Plan::new(SocketType::Rep, Role::Answer, rep.all);
                plan.messages = texts(rep.answers.message);
                plan.queues(&rep.queue);
                plan.receives(&rep.receiving);
                plan.count = rep.stop.count;
            }
            Command::Dealer(dealer) => {
                plan = Plan::new(SocketType::Dealer, Role::Talk, dealer.all);
                plan.sends(dealer.sending);
                plan.receives(&dealer.receiving);
                plan.is_called(dealer.identity);
                plan.count = dealer.stop.count;
            }
            Command::Router(router) => {
                let echoes = router.echo.echo;
                let role = if echoes { Role::Answer } else { Role::Receive };
                plan = Plan::new(SocketType::Router, role, router.all);
                plan.queues(&router.queue);
                plan.receives(&router.receiving);
                plan.is_called(router.identity);
                plan.count = router.stop.count;
            }
            Command::Pair(pair) => {
                plan = Plan::new(SocketType::Pair, Role::Talk, pair.all);
                plan.sends(pair.sending);
                plan.receives(&pair.receiving);
                plan.count = pair.stop.count;
            }
            Command::Xpub(xpub) => {
                plan = Plan::new(SocketType::XPub, Role::Send, xpub.all);
                plan.sends(xpub.sending);
                plan.receives(&xpub.receiving);
                plan.count = xpub.repeat.count;
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

    fn of_subscriber(socket_type: SocketType, sub: Sub) -> Plan {
        let mut plan = Plan::new(socket_type, Role::Receive, sub.all);
        plan.receives(&sub.receiving);
        plan.options.topics = match sub.subscribe.is_empty() {
            true => vec![Bytes::new()],
            false => texts(sub.subscribe),
        };
        plan.count = sub.stop.count;
        plan
    }

    fn sends(&mut self, sending: Sending) {
        self.messages = texts(sending.message);
        self.interval = sending.interval.unwrap_or_default();
        self.queues(&sending.queue);
    }

    fn queues(&mut self, queue: &SendQueue) {
        self.options.send_hwm = queue.send_hwm;
    }

    fn receives(&mut self, receiving: &Receiving) {
        self.options.receive_hwm = receiving.receive_hwm;
    }

    fn is_called(&mut self, identity: Identity) {
        self.options.identity = identity.identity.map(bytes);
    }

    /// Whether the options are within their ranges.
    pub fn check(&self) -> Result<(), OptionError> {
        self.options.check()
    }

    /// What is sent unasked.
    pub fn source(&self) -> Result<Source, Failure> {
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

fn texts(arguments: Vec<OsString>) -> Vec<Bytes> {
    arguments.into_iter().map(bytes).collect()
}

/// An argument as it was given, which on Unix may be any bytes but 0.
fn bytes(argument: OsString) -> Bytes {
    argument.into_encoded_bytes().into()
}
