//! A relay that changes nothing and prints the ZMTP conversation that goes through it.
//!
//! ```text
//!   client ──► accepted ──► copied, decoded, printed ──► connected ──► server       a thread for each direction
//! ```
//!
//! A line of the trace: seconds since the start, number of the connection, direction (`>` from the client, `<` to it), and what
//! was said. What is not understood is relayed all the same.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use zerowire::Endpoint;

use crate::arguments::{to_bind, to_connect};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output;
use crate::pcapng::{Capture, Direction, Flow};
use crate::streams::{Listener, Name, Stream};
use crate::zmtp::Decoder;

#[derive(Args)]
pub struct Tap {
    /// Where clients connect to.
    #[arg(long, value_name = "EP", value_parser = to_bind)]
    listen: Endpoint,
    /// Where the connections go on to.
    #[arg(long, value_name = "EP", value_parser = to_connect)]
    to: Endpoint,
    /// Write the conversation to this file, too, as TCP packets for Wireshark and the like.
    #[arg(long, value_name = "FILE")]
    pcapng: Option<PathBuf>,
}

/// Relays until a signal.
pub fn run(tap: &Tap) -> Result<(), Failure> {
    let capture = match &tap.pcapng {
        Some(path) => Some(
            Capture::create(path).map_err(|error| Failure::Error(format!("{}: {error}", path.display())))?,
        ),
        None => None,
    };
    let mut interrupts = Interrupts::catch(GRACE)?;
    let (listener, endpoint) = Listener::bind(&tap.listen)
        .map_err(|error| Failure::Error(format!("cannot bind {}: {error}", tap.listen)))?;
    output::tell(&format!("listening on {endpoint}"));
    let relay = Arc::new(Relay {
        to: tap.to.clone(),
        start: Instant::now(),
        open: AtomicUsize::new(0),
        trace: Mutex::new(Trace { capture }),
        name: listener.name(),
    });
    let accepting = relay.clone();
    thread::Builder::new()
        .name("accept".into())
        .spawn(move || accept(&listener, &accepting))?;
    while !interrupts.came_within(Duration::MAX) {}
    relay.remove_name();
    Ok(())
}

/// How long the end may take after a signal.
const GRACE: Duration = Duration::from_secs(1);
/// Connections at a time; each takes two threads and two descriptors on each side.
const CONNECTIONS_MAX: usize = 256;
/// As much is relayed at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// How long the target may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause when no connection can be accepted, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
struct Relay {
    to: Endpoint,
    start: Instant,
    /// Connections there are.
    open: AtomicUsize,
    trace: Mutex<Trace>,
    /// What the listener has in the file system, to be removed at the end.
    name: Option<Name>,
}

struct Trace {
    capture: Option<Capture>,
}

fn accept(listener: &Listener, relay: &Arc<Relay>) {
    for number in 1.. {
        let client = loop {
            match listener.accept() {
                Ok(client) => break client,
                Err(error) => {
                    output::tell(&format!("cannot accept: {error}"));
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        };
        if relay.open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            relay.open.fetch_sub(1, Ordering::Relaxed);
            relay.note(
                number,
                ' ',
                &format!("refused, as there are {CONNECTIONS_MAX} connections"),
            );
            continue;
        }
        let serving = relay.clone();
        let spawned = thread::Builder::new().spawn(move || {
            serving.serve(number, client);
            serving.open.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = spawned {
            relay.open.fetch_sub(1, Ordering::Relaxed);
            relay.note(number, ' ', &format!("cannot be served: {error}"));
        }
    }
}

impl Relay {
    fn serve(&self, number: u64, client: Stream) {
        let from = client
            .addresses()
            .map_or_else(String::new, |(_, peer)| format!(" from {peer}"));
        self.note(number, ' ', &format!("connected{from}"));
        let server = match Stream::connect(&self.to, CONNECT_TIMEOUT) {
            Ok(server) => server,
            Err(error) => {
                self.note(number, ' ', &format!("cannot connect to {}: {error}", self.to));
                return;
            }
        };
        let flow = Mutex::new(Flow::new(client.addresses(), number));
        self.record(|capture| lock(&flow).open(capture));
        let twins = client
            .try_clone()
            .and_then(|twin| Ok((twin, server.try_clone()?)));
        let (client_twin, server_twin) = match twins {
            Ok(twins) => twins,
            Err(error) => {
                self.note(number, ' ', &format!("cannot be served: {error}"));
                return;
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| self.copy(number, Direction::ToServer, client, server, &flow));
            self.copy(number, Direction::ToClient, server_twin, client_twin, &flow);
        });
        self.note(number, ' ', "closed");
    }

    /// Copies one direction until its end, and prints what it says.
    fn copy(&self, number: u64, direction: Direction, mut from: Stream, mut to: Stream, flow: &Mutex<Flow>) {
        let arrow = match direction {
            Direction::ToServer => '>',
            Direction::ToClient => '<',
        };
        let mut decoder = Decoder::default();
        let mut items = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let end = loop {
            let bytes = match from.read(&mut chunk) {
                Ok(0) => break "end".to_owned(),
                Ok(read) => &chunk[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break format!("end: {error}"),
            };
            self.record(|capture| lock(flow).data(direction, bytes, capture));
            let result = decoder.feed(bytes, &mut items);
            for item in items.drain(..) {
                self.note(number, arrow, &item.to_string());
            }
            if let Err(fault) = result {
                self.note(number, arrow, &format!("{fault}; what follows is relayed unread"));
            }
            if to.write_all(bytes).is_err() {
                // Whoever sends is to find out; the other direction may have something to say still.
                let _ = from.shutdown(Shutdown::Read);
                break "cut off, as nobody reads any more".to_owned();
            }
        };
        self.record(|capture| lock(flow).end(direction, capture));
        self.note(number, arrow, &end);
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Prints a line of the trace. When nobody reads it any more, that is the end.
    fn note(&self, number: u64, arrow: char, text: &str) {
        // Taken first, so that lines are in the order of their times.
        let _trace = lock(&self.trace);
        let time = self.start.elapsed().as_secs_f64();
        let line = format!("{time:12.6} #{number} {arrow} {text}\n");
        if let Err(failure) = output::write_all(&mut io::stdout().lock(), line.as_bytes()) {
            self.remove_name();
            process::exit(failure.report().into());
        }
    }

    fn remove_name(&self) {
        if let Some(name) = &self.name {
            name.remove();
        }
    }

    /// Has something written to the capture file, if there is one and it can still be written to.
    fn record(&self, write: impl FnOnce(&mut Capture) -> io::Result<()>) {
        let mut trace = lock(&self.trace);
        if let Some(capture) = &mut trace.capture {
            if let Err(error) = write(capture) {
                output::tell(&format!("the capture file ends here: {error}"));
                trace.capture = None;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
