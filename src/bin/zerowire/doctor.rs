//! Says in words what stands at an endpoint, and what is wrong with it.
//!
//! ```text
//!   resolve ──► connect ──► greeting ──► READY of the peer ──► our READY ──► PING, PONG
//!                              │              └─ tells its type before it knows ours: no message has been at risk yet
//!                              └─ silence: another connection asks in HTTP
//! ```
//!
//! A peer that knows us would give us messages that were meant for others, if its type is one that deals out, and a PAIR has one
//! peer only. So the handshake with those is completed only if the user says as what.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use clap::Args;
use zerowire::{Endpoint, Host, SocketType};

use crate::arguments::{socket_type, to_connect};
use crate::durations;
use crate::failure::Failure;
use crate::output;
use crate::streams::{Stream, resolve};
use crate::zmtp::{self, Command, Decoder, Fault, Greeting, Item};

#[derive(Args)]
pub struct Doctor {
    /// The endpoint that something should be bound to.
    #[arg(value_name = "EP", value_parser = to_connect)]
    endpoint: Endpoint,
    /// Shake hands as a socket of this type [default: one that goes with the peer, if that disturbs nobody].
    #[arg(long = "as", value_name = "TYPE", value_parser = socket_type)]
    role: Option<SocketType>,
    /// How long to wait for each answer.
    #[arg(long, value_name = "DUR", value_parser = durations::parse, default_value = "3s")]
    timeout: Duration,
}

/// Examines the endpoint. What is found goes to standard output, line by line; what is wrong is the failure.
pub fn run(doctor: &Doctor) -> Result<(), Failure> {
    let mut stream = doctor.connect()?;
    let mut peer = Conversation::new(doctor.timeout);
    let greeting = match doctor.greet(&mut peer, &mut stream) {
        Heard::Item(Item::Greeting(greeting)) => greeting,
        other => {
            // Before another connection is made: some serve one at a time.
            drop(stream);
            return Err(doctor.explain_no_greeting(&other, &peer));
        }
    };
    say(&format!("speaks {greeting}"))?;
    check_mechanism(&greeting)?;
    let theirs = match peer.next(&mut stream) {
        Heard::Item(Item::Command(command)) if command.name == "READY" => Some(told_type(&command)?),
        Heard::Silence => None,
        other => return Err(explain_refusal(&other, "does not introduce itself")),
    };
    let Some(ours) = doctor.choose(theirs)? else {
        return Ok(());
    };
    stream
        .write_all(&zmtp::ready(ours))
        .map_err(|error| wrong(format!("closes the connection: {error}")))?;
    if theirs.is_none() {
        match peer.next(&mut stream) {
            Heard::Item(Item::Command(command)) if command.name == "READY" => {
                check_types(ours, told_type(&command)?)?;
            }
            other => return Err(explain_refusal(&other, "does not answer the handshake")),
        }
    }
    doctor.measure(&greeting, ours, &mut peer, &mut stream)
}

impl Doctor {
    fn connect(&self) -> Result<Stream, Failure> {
        let endpoint = &self.endpoint;
        match endpoint {
            Endpoint::Tcp { host, port, .. } => {
                let addresses = resolve(host, *port)
                    .map_err(|error| wrong(format!("the name {host} does not resolve: {error}")))?;
                if let Host::Name(name) = host {
                    let list: Vec<String> =
                        addresses.iter().map(|address| address.ip().to_string()).collect();
                    say(&format!("{name} resolves to {}", list.join(", ")))?;
                }
                let mut failure = wrong(format!("the name {host} has no address"));
                for address in addresses {
                    match Stream::connect_tcp(&address, self.timeout) {
                        Ok(stream) => {
                            say(&format!("connected to {address}"))?;
                            return Ok(stream);
                        }
                        Err(error) => failure = self.explain_unconnected(&error),
                    }
                }
                Err(failure)
            }
            Endpoint::Ipc { 0: address, .. } => match Stream::connect_ipc(address) {
                Ok(stream) => {
                    say(&format!("connected to {endpoint}"))?;
                    Ok(stream)
                }
                Err(error) => Err(self.explain_unconnected(&error)),
            },
            _ => Err(wrong("an endpoint of this kind cannot be examined")),
        }
    }

    fn explain_unconnected(&self, error: &io::Error) -> Failure {
        let endpoint = &self.endpoint;
        wrong(match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                let place = match endpoint {
                    Endpoint::Tcp { .. } => "port",
                    _ => "path",
                };
                format!("nothing listens at {endpoint}: is the program running, and is that its {place}?")
            }
            io::ErrorKind::NotFound => format!("nothing listens at {endpoint}: there is no such file"),
            io::ErrorKind::PermissionDenied => format!("no permission to connect to {endpoint}"),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!(
                "no answer from {endpoint} within {:?}: the machine is off, or a firewall is in between",
                self.timeout
            ),
            _ => format!("cannot connect to {endpoint}: {error}"),
        })
    }

    /// Exchanges greetings. The mechanism is in the last part, and libzmq ends a connection without its own greeting when it
    /// hears of a mechanism that is not its own; so ours ends when theirs has come, or when they wait for all of ours.
    fn greet(&self, peer: &mut Conversation, stream: &mut Stream) -> Heard {
        let greeting = zmtp::greeting();
        let (version, rest) = greeting.split_at(zmtp::VERSION_END);
        if let Err(error) = stream.write_all(version) {
            return Heard::Failed(error);
        }
        let heard = match peer.next_within(self.timeout / 4, stream) {
            Heard::Item(Item::Greeting(greeting)) if greeting.mechanism != "NULL" => {
                return Heard::Item(Item::Greeting(greeting));
            }
            heard @ (Heard::Silence | Heard::Item(_)) => heard,
            over => return over,
        };
        match (stream.write_all(rest), heard) {
            (Err(error), _) => Heard::Failed(error),
            (Ok(()), Heard::Silence) => peer.next(stream),
            (Ok(()), heard) => heard,
        }
    }

    fn explain_no_greeting(&self, heard: &Heard, peer: &Conversation) -> Failure {
        wrong(match heard {
            Heard::End | Heard::Failed(_) if peer.decoder.is_amid_greeting() => {
                "begins like ZMTP, and closes the connection in the middle of its greeting: it may not take the mechanism \
                 NULL"
                    .to_owned()
            }
            Heard::Fault(Fault::NotZmtp { first }) => format!("not ZMTP: {}", likeness(first)),
            Heard::Fault(fault @ Fault::OldVersion { .. }) => {
                format!("speaks {fault}: the other side is older than libzmq 4")
            }
            Heard::Fault(fault) => fault.to_string(),
            Heard::End => "accepts connections and closes them without a word: not ZMTP, or a relay whose own target is \
                           down"
                .to_owned(),
            Heard::Failed(error) => format!("ends the connection before it says anything: {error}"),
            Heard::Silence | Heard::Item(_) => match self.asks_in_http() {
                Some(first) => format!("not ZMTP: {}", likeness(&first)),
                None => format!(
                    "accepts connections and says nothing within {:?}: not ZMTP, or a program that hangs",
                    self.timeout
                ),
            },
        })
    }

    /// Whether something that is silent when it hears ZMTP answers a question in HTTP, and how.
    fn asks_in_http(&self) -> Option<Vec<u8>> {
        let mut stream = Stream::connect(&self.endpoint, self.timeout).ok()?;
        stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").ok()?;
        stream.set_read_timeout(self.timeout).ok()?;
        let mut first = vec![0; zmtp::FIRST_BYTES_KEPT];
        let read = stream.read(&mut first).ok().filter(|read| *read > 0)?;
        first.truncate(read);
        Some(first)
    }

    /// As what to shake hands, if at all.
    fn choose(&self, theirs: Option<SocketType>) -> Result<Option<SocketType>, Failure> {
        match (theirs, self.role) {
            (Some(theirs), Some(ours)) => {
                check_types(ours, theirs)?;
                Ok(Some(ours))
            }
            (Some(theirs), None) => {
                let partner = harmless_partner(theirs);
                if partner.is_none() {
                    let partners = zmtp::partners(theirs);
                    say(&format!(
                        "no handshake, as a {theirs} would take this for one of its peers: --as {} does it all the same",
                        partners.split(' ').next().unwrap_or_default()
                    ))?;
                }
                Ok(partner)
            }
            (None, Some(ours)) => Ok(Some(ours)),
            (None, None) => Err(wrong(
                "greets, and waits for this side to introduce itself: say as what, with --as TYPE",
            )),
        }
    }

    fn measure(
        &self,
        greeting: &Greeting,
        ours: SocketType,
        peer: &mut Conversation,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        if (greeting.major, greeting.minor) == (3, 0) {
            say(&format!(
                "shook hands as a {ours}; version 3.0 has no PING to measure by"
            ))?;
            return Ok(());
        }
        let mut fastest = Duration::MAX;
        for number in 0..PINGS {
            let context = [b'z', number];
            let start = Instant::now();
            stream
                .write_all(&zmtp::ping(&context))
                .map_err(|error| refused(ours, &Heard::Failed(error)))?;
            loop {
                match peer.next(stream) {
                    Heard::Item(Item::Command(command))
                        if command.name == "PONG" && command.data == context =>
                    {
                        break;
                    }
                    // It may talk without end, and never of this.
                    _ if start.elapsed() >= self.timeout => return Err(refused(ours, &Heard::Silence)),
                    // Subscriptions, a welcome, or a PING of its own.
                    Heard::Item(Item::Command(command)) if command.name != "ERROR" => {}
                    Heard::Item(Item::Part(_)) => {}
                    other => return Err(refused(ours, &other)),
                }
            }
            fastest = fastest.min(start.elapsed());
        }
        say(&format!(
            "shook hands as a {ours}; a PING comes back after {:.3} ms, the fastest of {PINGS}",
            fastest.as_secs_f64() * 1e3
        ))
    }
}

const PINGS: u8 = 5;

/// What the other side says, item by item.
struct Conversation {
    decoder: Decoder,
    /// What was heard and not asked for yet, the latest first.
    items: Vec<Item>,
    fault: Option<Fault>,
    timeout: Duration,
}

enum Heard {
    Item(Item),
    Fault(Fault),
    /// Nothing came for as long as is waited.
    Silence,
    /// The other side has closed the connection.
    End,
    Failed(io::Error),
}

impl Conversation {
    fn new(timeout: Duration) -> Conversation {
        Conversation {
            decoder: Decoder::default(),
            items: Vec::new(),
            fault: None,
            timeout,
        }
    }

    fn next(&mut self, stream: &mut Stream) -> Heard {
        self.next_within(self.timeout, stream)
    }

    fn next_within(&mut self, timeout: Duration, stream: &mut Stream) -> Heard {
        let deadline = Instant::now() + timeout;
        let mut buffer = [0; 4096];
        loop {
            if let Some(item) = self.items.pop() {
                return Heard::Item(item);
            }
            if let Some(fault) = self.fault.take() {
                return Heard::Fault(fault);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Silence;
            }
            match stream
                .set_read_timeout(left)
                .and_then(|()| stream.read(&mut buffer))
            {
                Ok(0) => return Heard::End,
                Ok(read) => {
                    self.fault = self.decoder.feed(&buffer[..read], &mut self.items).err();
                    self.items.reverse();
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Heard::Silence;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Heard::Failed(error),
            }
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Item(Item::Command(command)) if command.name == "ERROR" => {
                write!(f, "it says `{}`", command.reason())
            }
            Heard::Item(item) => write!(f, "it says: {item}"),
            Heard::Fault(fault) => fault.fmt(f),
            Heard::Silence => f.write_str("it does not answer"),
            Heard::End => f.write_str("it closes the connection"),
            Heard::Failed(error) => write!(f, "the connection fails: {error}"),
        }
    }
}

fn check_mechanism(greeting: &Greeting) -> Result<(), Failure> {
    let needs = match greeting.mechanism.as_str() {
        "NULL" => return Ok(()),
        "CURVE" => "the public key of the server",
        "PLAIN" => "a user and a password",
        "GSSAPI" => "Kerberos",
        _ => "a mechanism that is not known here",
    };
    Err(wrong(format!(
        "speaks {}, you offered NULL: it asks for {needs}",
        greeting.mechanism
    )))
}

fn told_type(ready: &Command) -> Result<SocketType, Failure> {
    let name = ready
        .socket_type()
        .ok_or_else(|| wrong("does not say of what type its socket is"))?;
    let Ok(theirs) = name.parse::<SocketType>() else {
        return Err(wrong(format!("is a {name}, a type that is not known here")));
    };
    let mut line = format!("is a {theirs}: connect with {}", zmtp::partners(theirs));
    let identity = ready
        .properties(0)
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("Identity"));
    if let Some((_, identity)) = identity.filter(|(_, identity)| !identity.is_empty()) {
        line.push_str(&format!("; calls itself `{}`", zmtp::printable(&identity)));
    }
    say(&line)?;
    Ok(theirs)
}

fn check_types(ours: SocketType, theirs: SocketType) -> Result<(), Failure> {
    match ours.accepts(theirs) {
        true => Ok(()),
        false => Err(wrong(format!(
            "is a {theirs}, which does not talk to a {ours}: connect with {}",
            zmtp::partners(theirs)
        ))),
    }
}

/// A type that a peer of this type can have for a while without sending it anything that somebody else should have had.
fn harmless_partner(theirs: SocketType) -> Option<SocketType> {
    Some(match theirs {
        SocketType::Pub | SocketType::XPub => SocketType::Sub,
        SocketType::Sub | SocketType::XSub => SocketType::Pub,
        SocketType::Pull => SocketType::Push,
        SocketType::Rep => SocketType::Req,
        SocketType::Router => SocketType::Dealer,
        _ => return None,
    })
}

fn explain_refusal(heard: &Heard, otherwise: &str) -> Failure {
    match heard {
        Heard::Item(Item::Command(command)) if command.name == "ERROR" => {
            let reason = command.reason();
            // RFC 27: an authenticator answers with a status.
            match reason.as_str() {
                "300" | "400" | "500" => {
                    wrong(format!("refuses this client: its authenticator says {reason}"))
                }
                _ => wrong(format!("refuses this client: {heard}")),
            }
        }
        _ => wrong(format!("{otherwise}: {heard}")),
    }
}

fn refused(ours: SocketType, heard: &Heard) -> Failure {
    explain_refusal(heard, &format!("does not take a {ours}"))
}

/// What the first bytes look like.
fn likeness(first: &[u8]) -> String {
    let known = KNOWN.iter().find(|(start, _)| first.starts_with(start));
    match known {
        Some((_, name)) => format!("answers like {name}"),
        None => format!("answers `{}`", zmtp::printable(first)),
    }
}

/// How others begin.
const KNOWN: &[(&[u8], &str)] = &[
    (b"HTTP/", "HTTP"),
    (b"<!DOCTYPE", "HTTP"),
    (b"<html", "HTTP"),
    (b"SSH-", "SSH"),
    (b"\x15\x03", "TLS"),
    (b"\x16\x03", "TLS"),
    (b"220 ", "SMTP or FTP"),
    (b"-ERR", "Redis"),
    (b"* OK", "IMAP"),
    (b"+OK", "POP3"),
    (b"AMQP", "AMQP"),
    (b"\x01\x00", "ZMTP 1.0, which libzmq 2 speaks"),
];

fn say(line: &str) -> Result<(), Failure> {
    output::write_all(&mut io::stdout().lock(), format!("{line}\n").as_bytes())
}

fn wrong(what: impl Into<String>) -> Failure {
    Failure::Error(what.into())
}
