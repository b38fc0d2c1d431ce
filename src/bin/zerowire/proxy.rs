//! Passes messages on between two endpoints, and shows how many.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use zerowire::{
    BindError, Capture, ConnectError, Context, DealerSocket, Endpoint, Pairing, Proxy, ProxyHandle,
    ProxyStats, PubSocket, PullSocket, PushSocket, RouterSocket, XPubSocket, XSubSocket,
};

use crate::arguments::{to_bind, to_connect};
use crate::durations;
use crate::examples;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output;

#[derive(Subcommand)]
pub enum Pattern {
    /// Requests of req and dealer at the front go to rep, dealer or router at the back in turn, and the replies back.
    #[command(after_help = examples::QUEUE)]
    Queue(Ends),
    /// Messages of pub at the front go to sub at the back, and subscriptions to the front.
    #[command(after_help = examples::FORWARDER)]
    Forwarder(Ends),
    /// Messages of push at the front go to pull at the back in turn.
    #[command(after_help = examples::STREAMER)]
    Streamer(Ends),
}

#[derive(Args)]
pub struct Ends {
    /// Let clients, publishers or pushers connect to this endpoint. May be repeated.
    #[arg(long, value_name = "EP", value_parser = to_bind, required_unless_present = "front_connect")]
    front: Vec<Endpoint>,
    /// Let workers, subscribers or pullers connect to this endpoint. May be repeated.
    #[arg(long, value_name = "EP", value_parser = to_bind, required_unless_present = "back_connect")]
    back: Vec<Endpoint>,
    /// Connect the front to this endpoint. May be repeated.
    #[arg(long, value_name = "EP", value_parser = to_connect)]
    front_connect: Vec<Endpoint>,
    /// Connect the back to this endpoint. May be repeated.
    #[arg(long, value_name = "EP", value_parser = to_connect)]
    back_connect: Vec<Endpoint>,
    /// Publish a copy of every message here, for `zerowire sub -c EP`.
    #[arg(long, value_name = "EP", value_parser = to_bind)]
    capture: Option<Endpoint>,
    /// How often the figures are shown [default: 1s on a terminal, otherwise only at the end].
    #[arg(long, value_name = "DUR", value_parser = durations::parse)]
    every: Option<Duration>,
}

/// Passes messages on until a signal.
pub fn run(pattern: &Pattern) -> Result<(), Failure> {
    let context = Context::new();
    // Before anything listens, whose file a signal would leave behind.
    let interrupts = Interrupts::catch(STOP_TIMEOUT + Duration::from_secs(2))?;
    match pattern {
        Pattern::Queue(ends) => {
            let (mut front, mut back) = (RouterSocket::new(&context), DealerSocket::new(&context));
            ends.attach(&mut front, &mut back)?;
            ends.run(&context, interrupts, Proxy::queue(front, back))
        }
        Pattern::Forwarder(ends) => {
            let (mut front, mut back) = (XSubSocket::new(&context), XPubSocket::new(&context));
            ends.attach(&mut front, &mut back)?;
            ends.run(&context, interrupts, Proxy::forwarder(front, back))
        }
        Pattern::Streamer(ends) => {
            let (mut front, mut back) = (PullSocket::new(&context), PushSocket::new(&context));
            ends.attach(&mut front, &mut back)?;
            ends.run(&context, interrupts, Proxy::streamer(front, back))
        }
    }
}

impl Ends {
    fn attach(&self, front: &mut impl Attach, back: &mut impl Attach) -> Result<(), Failure> {
        for (name, socket, bind, connect) in [
            (
                "front",
                front as &mut dyn Attach,
                &self.front,
                &self.front_connect,
            ),
            ("back", back, &self.back, &self.back_connect),
        ] {
            for endpoint in bind {
                let resolved = socket.bind(endpoint)?;
                output::tell(&format!("{name} listening on {resolved}"));
            }
            for endpoint in connect {
                socket.connect(endpoint)?;
            }
        }
        Ok(())
    }

    fn run<F, B>(
        &self,
        context: &Context,
        interrupts: Interrupts,
        mut proxy: Proxy<F, B>,
    ) -> Result<(), Failure>
    where
        F: Send + 'static,
        B: Send + 'static,
        (F, B): Pairing,
    {
        if let Some(endpoint) = &self.capture {
            let mut copies = PubSocket::new(context);
            let resolved = copies.bind(endpoint)?;
            output::tell(&format!("capture listening on {resolved}"));
            proxy = proxy.capture(Capture::from(copies));
        }
        let proxy = proxy.stop_timeout(STOP_TIMEOUT).spawn()?;
        self.show_until_interrupted(&proxy, interrupts);
        let end = match proxy.stop() {
            Ok(end) => end,
            Err(error) => return Err(Failure::Error(error.to_string())),
        };
        output::tell(&line(&end.stats));
        Ok(())
    }

    fn show_until_interrupted<F, B>(&self, proxy: &ProxyHandle<F, B>, mut interrupts: Interrupts) {
        let is_terminal = io::stderr().is_terminal();
        let every = self.every.unwrap_or(match is_terminal {
            true => Duration::from_secs(1),
            false => Duration::MAX,
        });
        let mut last = (Instant::now(), proxy.stats());
        while !interrupts.came_within(every.max(Duration::from_millis(1))) {
            let now = (Instant::now(), proxy.stats());
            let seconds = (now.0 - last.0).as_secs_f64();
            let moved = now.1.front_to_back.messages - last.1.front_to_back.messages;
            let back = now.1.back_to_front.messages - last.1.back_to_front.messages;
            let mut line = line(&now.1);
            let _ = write!(
                line,
                "; now {:.0}/s and {:.0}/s",
                moved as f64 / seconds,
                back as f64 / seconds
            );
            match is_terminal {
                // One line that changes.
                true => drop(write!(io::stderr().lock(), "\r\x1b[K{line}")),
                false => output::tell(&line),
            }
            last = now;
        }
        if is_terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// How long what was taken may take to be passed on after a signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

fn line(stats: &ProxyStats) -> String {
    let mut line = String::new();
    for (name, flow) in [
        ("front to back", stats.front_to_back),
        ("back to front", stats.back_to_front),
    ] {
        let _ = write!(line, "{name} {} messages, {} bytes", flow.messages, flow.bytes);
        for (count, what) in [
            (flow.unroutable, "unroutable"),
            (flow.too_large, "too large"),
            (flow.dropped, "dropped"),
            (flow.missed, "missed"),
        ] {
            if count > 0 {
                let _ = write!(line, ", {count} {what}");
            }
        }
        line.push_str("; ");
    }
    line.truncate(line.trim_end_matches("; ").len());
    if stats.captured + stats.capture_dropped > 0 {
        let _ = write!(
            line,
            "; captured {}, not captured {}",
            stats.captured, stats.capture_dropped
        );
    }
    line
}

/// A socket that is given its endpoints.
trait Attach {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, BindError>;
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), ConnectError>;
}

macro_rules! attach {
    ($($socket:ident)*) => {
        $(impl Attach for $socket {
            fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, BindError> {
                $socket::bind(self, endpoint)
            }

            fn connect(&mut self, endpoint: &Endpoint) -> Result<(), ConnectError> {
                $socket::connect(self, endpoint)
            }
        })*
    };
}

attach!(RouterSocket DealerSocket XSubSocket XPubSocket PullSocket PushSocket);
