//! The command line: what can be asked for, and how it is explained.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use zerowire::{Endpoint, IpcAddress, SocketType};

use crate::doctor::Doctor;
use crate::durations;
use crate::perf::Perf;
use crate::proxy::Pattern;
use crate::tap::Tap;

/// Sends, receives, measures and diagnoses ZeroMQ traffic from a shell.
///
/// Endpoints are tcp://host:port, ipc:///path or ipc://@name; to bind, tcp://*:port and port * work as well. Exit status: 0
/// done, 1 error, 2 wrong usage, 3 timeout.
#[derive(Parser)]
#[command(name = "zerowire", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  A pipe between two machines:
    zerowire pull -b tcp://*:5555 > copy.txt
    zerowire push -c tcp://server:5555 < file.txt
  A chat between two terminals:
    zerowire pair -b tcp://127.0.0.1:5555
    zerowire pair -c tcp://127.0.0.1:5555
  Everything that a publisher says about the weather:
    zerowire sub -c tcp://server:5556 -s weather
  One question, one answer:
    zerowire req -c tcp://server:5557 -m 'are you there?' --timeout 2s
  Why does it not work?
    zerowire doctor tcp://server:5557";

#[derive(Subcommand)]
pub enum Command {
    /// Deals out messages to pullers in turn.
    #[command(after_help = "Example: seq 1000 | zerowire push -c tcp://127.0.0.1:5555")]
    Push(Push),
    /// Prints what pushers deal out.
    #[command(after_help = "Example: zerowire pull -b tcp://*:5555 -n 10")]
    Pull(Pull),
    /// Publishes messages to whoever has subscribed to what they begin with.
    #[command(
        after_help = "A subscriber that is too slow, or that is not there yet, misses messages; so\n\
                      Example: zerowire pub -b tcp://*:5556 --wait-subscribers 1 -m 'weather: rain'"
    )]
    Pub(Pub),
    /// Prints what publishers say.
    #[command(after_help = "Example: zerowire sub -c tcp://127.0.0.1:5556 -s weather -s traffic")]
    Sub(Sub),
    /// Asks, waits for the answer, and asks the next.
    #[command(after_help = "Example: zerowire req -c tcp://127.0.0.1:5557 -m ping -n 3 --interval 1s")]
    Req(Req),
    /// Answers requests: with what was asked, or with given answers in turn.
    #[command(after_help = "Example: zerowire rep -b tcp://*:5557 -m pong")]
    Rep(Rep),
    /// Sends to peers in turn, and prints what they send.
    #[command(after_help = "To a rep, a message begins with an empty part:\n\
                            Example: echo '|70696e67' | zerowire dealer --hex -c tcp://127.0.0.1:5557 -n 1")]
    Dealer(Dealer),
    /// Prints messages with the name of their sender as first part.
    #[command(after_help = "Example: zerowire router -b tcp://*:5558 --echo")]
    Router(Router),
    /// Talks to one peer: sends what is typed, prints what comes.
    #[command(
        after_help = "Example: zerowire pair -b tcp://*:5559, and in another terminal\n         \
                            zerowire pair -c tcp://127.0.0.1:5559"
    )]
    Pair(Pair),
    /// Publishes like pub, and prints subscriptions: 1 and the topic, or 0 and the topic when it ends.
    #[command(after_help = "Example: zerowire xpub -b tcp://*:5556 --hex")]
    Xpub(Xpub),
    /// Receives like sub, without filtering again what comes.
    #[command(after_help = "Example: zerowire xsub -c tcp://127.0.0.1:5556")]
    Xsub(Sub),
    /// Measures throughput and latency, with libzmq's tools of the same names or with itself.
    #[command(after_help = "Example, in two terminals:\n    \
                            zerowire perf local_thr tcp://*:5560 100 1000000\n    \
                            zerowire perf remote_thr tcp://127.0.0.1:5560 100 1000000")]
    Perf {
        #[command(subcommand)]
        perf: Perf,
    },
    /// Passes messages on between two endpoints, until a signal.
    #[command(
        after_help = "Example: zerowire proxy queue --front tcp://*:5557 --back tcp://*:5558\n    \
                            then clients: zerowire req -c tcp://127.0.0.1:5557\n    \
                            and workers:  zerowire rep -c tcp://127.0.0.1:5558"
    )]
    Proxy {
        #[command(subcommand)]
        pattern: Pattern,
    },
    /// Says what stands at an endpoint, and what is wrong with it.
    #[command(
        after_help = "Exit status 1 says that something is wrong, and standard error what.\n\
                      Examples: zerowire doctor tcp://server:5557\n          \
                      zerowire doctor tcp://server:5557 --as req"
    )]
    Doctor(Doctor),
    /// Stands between two programs and prints what they say to each other.
    #[command(
        after_help = "Connections go on to the other endpoint as they are. A line has the seconds since the start, the\n\
                      connection, > for what a client says or < for what it hears, and that.\n\
                      Example: zerowire tap --listen tcp://*:6000 --to tcp://server:5557"
    )]
    Tap(Tap),
    /// Writes the completions of a shell.
    #[command(
        after_help = "Example: zerowire completions bash > ~/.local/share/bash-completion/completions/zerowire"
    )]
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
    pub subscribe: Vec<String>,
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
    /// Answer this [default: the request itself]. Repeated, the answers take turns.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Vec<String>,
    #[command(flatten)]
    pub marks: BothMarks,
    /// End after this many requests [default: never].
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
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
    pub marks: BothMarks,
    #[command(flatten)]
    pub stop: Stop,
    #[command(flatten)]
    pub identity: Identity,
    /// Send each message straight back.
    #[arg(long)]
    pub echo: bool,
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
    /// Exit with status 3 when a send or a receive makes no progress for so long [default: wait for ever].
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
    pub message: Vec<String>,
    /// Pause between two messages.
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    pub interval: Option<Duration>,
    /// How many messages may wait for each peer [default: 1000].
    #[arg(long, value_name = "N")]
    pub send_hwm: Option<u32>,
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
pub struct BothMarks {
    /// How many messages may wait for each peer [default: 1000].
    #[arg(long, value_name = "N")]
    pub send_hwm: Option<u32>,
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
    pub identity: Option<String>,
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
