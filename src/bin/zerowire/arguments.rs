//! The command line: what can be asked for, and how it is explained.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use zerowire::{Endpoint, IpcAddress, SocketType};

use crate::doctor::Doctor;
use crate::durations;
use crate::examples;
use crate::perf::Perf;
use crate::proxy::Pattern;
use crate::tap::Tap;

/// Sends, receives, measures and diagnoses ZeroMQ traffic from a shell.
///
/// Endpoints are tcp://host:port, ipc:///path or ipc://@name; to bind, host and port may be *, as in 'tcp://*:5555', 'tcp://127.0.0.1:*'
/// and 'ipc://*', in quotes for the shell. Durations have a unit, as in 500ms, 2s or 1m. Exit status: 0 done, 1 error, 2 wrong
/// usage, 3 timeout.
#[derive(Parser)]
#[command(name = "zerowire", version, after_help = examples::ZEROWIRE, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Deals out messages to pullers in turn.
    #[command(after_help = examples::PIPELINE)]
    Push(Push),
    /// Prints what pushers deal out.
    #[command(after_help = examples::PIPELINE)]
    Pull(Pull),
    /// Publishes messages to whoever has subscribed to what they begin with.
    #[command(after_help = examples::PUB)]
    Pub(Pub),
    /// Prints what publishers say.
    #[command(after_help = examples::SUB)]
    Sub(Sub),
    /// Asks, waits for the answer, and asks the next.
    #[command(after_help = examples::REQ_REP)]
    Req(Req),
    /// Answers requests: with what was asked, or with given answers in turn.
    #[command(after_help = examples::REQ_REP)]
    Rep(Rep),
    /// Sends to peers in turn, and prints what they send.
    #[command(after_help = examples::DEALER)]
    Dealer(Dealer),
    /// Prints messages with the name of their sender as first part.
    #[command(after_help = examples::ROUTER)]
    Router(Router),
    /// Talks to one peer: sends what is typed, prints what comes.
    #[command(after_help = examples::PAIR)]
    Pair(Pair),
    /// Publishes like pub, and prints subscriptions: 1 and the topic, or 0 and the topic when it ends.
    #[command(after_help = examples::XPUB)]
    Xpub(Xpub),
    /// Receives like sub, without filtering again what comes.
    #[command(after_help = examples::XSUB)]
    Xsub(Sub),
    /// Measures throughput and latency, with libzmq's tools of the same names or with itself.
    #[command(after_help = examples::THROUGHPUT)]
    Perf {
        #[command(subcommand)]
        perf: Perf,
    },
    /// Passes messages on between two endpoints, until a signal.
    #[command(after_help = examples::QUEUE)]
    Proxy {
        #[command(subcommand)]
        pattern: Pattern,
    },
    /// Says what stands at an endpoint, and what is wrong with it.
    #[command(after_help = examples::DOCTOR)]
    Doctor(Doctor),
    /// Stands between two programs and prints what they say to each other.
    #[command(after_help = examples::TAP)]
    Tap(Tap),
    /// Writes the completions of a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Args)]
pub struct Push {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub repeat: Repeat,
}

#[derive(Args)]
pub struct Pull {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub stop: Stop,
}

#[derive(Args)]
pub struct Pub {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub repeat: Repeat,
    #[command(flatten)]
    pub subscribers: Subscribers,
}

#[derive(Args)]
pub struct Sub {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub stop: Stop,
    /// Receive messages that begin with this [default: everything]. May be repeated.
    #[arg(short, long, value_name = "PREFIX")]
    pub subscribe: Vec<OsString>,
}

#[derive(Args)]
pub struct Req {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub repeat: Repeat,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub identity: Identity,
}

#[derive(Args)]
pub struct Rep {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub answers: Answers,
    #[command(flatten)]
    pub queue: SendQueue,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub stop: Stop,
}

#[derive(Args)]
pub struct Dealer {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub stop: Stop,
    #[command(flatten)]
    pub identity: Identity,
}

#[derive(Args)]
pub struct Router {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub echo: Echo,
    #[command(flatten)]
    pub queue: SendQueue,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub stop: Stop,
    #[command(flatten)]
    pub identity: Identity,
}

#[derive(Args)]
pub struct Pair {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub stop: Stop,
}

#[derive(Args)]
pub struct Xpub {
    #[command(flatten)]
    pub all: Common,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub repeat: Repeat,
    #[command(flatten)]
    pub receiving: Receiving,
    #[command(flatten)]
    pub subscribers: Subscribers,
}

/// What every socket type has.
#[derive(Args)]
pub struct Common {
    #[command(flatten)]
    pub endpoints: Endpoints,
    #[command(flatten)]
    pub connections: Connections,
    #[command(flatten)]
    pub telling: Telling,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct Endpoints {
    /// Let peers connect to this endpoint. May be repeated.
    #[arg(short, long, value_name = "EP", value_parser = to_bind)]
    pub bind: Vec<Endpoint>,
    /// Connect to this endpoint, now and whenever the connection is lost. May be repeated.
    #[arg(short, long, value_name = "EP", value_parser = to_connect)]
    pub connect: Vec<Endpoint>,
}

#[derive(Args)]
#[command(next_help_heading = "Connections")]
pub struct Connections {
    /// Give up messages that wait when nothing has moved for so long [default: never, after a signal 1s].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub linger: Option<Duration>,
    /// The largest message, and the longest line of input [default: 67108864].
    #[arg(long, value_name = "N")]
    pub max_message_bytes: Option<u64>,
    /// Ask a peer that is silent for so long for a sign of life; 0s never does [default: 10s over tcp].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub heartbeat: Option<Duration>,
    /// Give up a peer that gives none for so long [default: twice the heartbeat].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub heartbeat_timeout: Option<Duration>,
    /// The pause before connecting again, which doubles with each failure [default: 100ms].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub reconnect: Option<Duration>,
    /// The longest pause before connecting again [default: 5s].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub reconnect_max: Option<Duration>,
}

#[derive(Args)]
#[command(next_help_heading = "Lines and reports")]
pub struct Telling {
    /// Exit with status 3 when a send or a receive makes no progress for so long, as in 500ms, 2s or 1m [default: wait for
    /// ever].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub timeout: Option<Duration>,
    /// Lines are messages whose parts are hexadecimal, separated by |. Otherwise parts are separated by a tab in the output,
    /// and lines of input are messages of one part.
    #[arg(long)]
    pub hex: bool,
    /// Tell what happens to connections, as JSON lines on standard error.
    #[arg(long)]
    pub events: bool,
    /// Tell at exit what became of all messages, as one JSON object on standard error.
    #[arg(long)]
    pub stats: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub struct Sending {
    /// Send this, as a message of one part [default: the lines of standard input]. May be repeated.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Vec<OsString>,
    /// Pause between two messages.
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub interval: Option<Duration>,
    #[command(flatten)]
    pub queue: SendQueue,
}

#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub struct SendQueue {
    /// How many messages may wait for each peer [default: 1000].
    #[arg(long, value_name = "N")]
    pub send_hwm: Option<u32>,
}

#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub struct Answers {
    /// Answer this [default: the request itself]. Repeated, the answers take turns.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Vec<OsString>,
}

#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub struct Echo {
    /// Send each message straight back.
    #[arg(long)]
    pub echo: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub struct Repeat {
    /// Send the messages of -m so many times; without -m, as many lines of input at most.
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
}

#[derive(Args)]
#[command(next_help_heading = "Sending")]
pub struct Subscribers {
    /// Wait for so many subscribers before the first message.
    #[arg(long, value_name = "N")]
    pub wait_subscribers: Option<usize>,
}

#[derive(Args)]
#[command(next_help_heading = "Receiving")]
pub struct Receiving {
    /// How many messages of each peer may wait to be printed before it is held back [default: 1000].
    #[arg(long, value_name = "N")]
    pub receive_hwm: Option<u32>,
}

#[derive(Args)]
#[command(next_help_heading = "Receiving")]
pub struct Stop {
    /// End after so many messages were received [default: never].
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
}

#[derive(Args)]
#[command(next_help_heading = "Connections")]
pub struct Identity {
    /// The name under which routers know this socket [default: each makes one up].
    #[arg(long, value_name = "TEXT")]
    pub identity: Option<OsString>,
}

/// An endpoint that other processes can reach.
pub fn to_bind(text: &str) -> Result<Endpoint, String> {
    match text.parse() {
        Ok(Endpoint::Inproc { .. }) => Err("inproc is for the threads of one process".into()),
        Ok(endpoint) => Ok(endpoint),
        Err(error) => Err(zerowire::EndpointError::to_string(&error)),
    }
}

/// An endpoint that names one place.
pub fn to_connect(text: &str) -> Result<Endpoint, String> {
    let endpoint = to_bind(text)?;
    match &endpoint {
        Endpoint::Tcp {
            host: zerowire::Host::Any,
            ..
        } => Err("a host is missing to connect to".into()),
        Endpoint::Tcp { port: 0, .. } => Err("a port is missing to connect to".into()),
        Endpoint::Ipc {
            0: IpcAddress::Temporary,
            ..
        } => Err("a path is missing to connect to".into()),
        _ => Ok(endpoint),
    }
}

/// The type of a socket, in letters of any size.
pub fn socket_type(text: &str) -> Result<SocketType, String> {
    text.to_ascii_uppercase()
        .parse()
        .map_err(|_| "none of push, pull, pub, sub, xpub, xsub, req, rep, dealer, router and pair".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn endpoints_that_lead_nowhere_are_refused() {
        assert!(to_bind("tcp://*:*").is_ok() && to_bind("ipc://*").is_ok());
        for endpoint in [
            "tcp://*:1",
            "tcp://host:0",
            "tcp://host:*",
            "ipc://*",
            "inproc://name",
            "host:1",
        ] {
            assert!(to_connect(endpoint).is_err(), "{endpoint}");
        }
    }
}
