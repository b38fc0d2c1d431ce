//! PUB to many SUB over tcp: one process publishes as fast as it can for a while, another one has the subscribers, each on a
//! thread of its own. What counts is what arrives.

use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::contestants::Contestant;
use crate::lane::Runner;
use crate::race::progress;
use crate::report::{grouped, median, sorted};

/// What the command line can change.
#[derive(Debug)]
pub struct Options {
    pub subscribers: Vec<usize>,
    pub sizes: Vec<usize>,
    pub rounds: usize,
    pub round: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            subscribers: vec![8, 32],
            sizes: vec![64, 1024],
            rounds: 5,
            round: Duration::from_millis(1500),
        }
    }
}

const CONTESTANTS: [Contestant; 2] = [Contestant::Zerowire, Contestant::Libzmq];

/// One round of one contestant, per second.
#[derive(Clone, Copy)]
struct Rates {
    sent: f64,
    delivered: f64,
}

/// Races, and returns the table.
pub fn race(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut table = format!(
        "{:<24} {:<9} {:>12} {:>14} {:>10} {:>9}\n",
        "work", "library", "published/s", "deliveries/s", "delivered", "x libzmq"
    );
    for &subscribers in &options.subscribers {
        for &size in &options.sizes {
            let mut lanes = CONTESTANTS.map(|contestant| (contestant, Vec::new()));
            for round in 0..options.rounds {
                // Every other round backwards, so that nobody always runs after the same neighbour.
                let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
                for lane in order {
                    let (contestant, runs) = &mut lanes[lane];
                    progress(&format!(
                        "{subscribers} x {size} B: round {}, {contestant}",
                        round + 1
                    ));
                    runs.push(run(*contestant, subscribers, size, options.round)?);
                }
            }
            progress("");
            let of_libzmq: Vec<f64> = lanes[1].1.iter().map(|rates| rates.delivered).collect();
            for (contestant, runs) in &lanes {
                let of = |value: fn(&Rates) -> f64| median(&sorted(runs.iter().map(value)));
                let ratios = runs
                    .iter()
                    .zip(&of_libzmq)
                    .map(|(rates, other)| rates.delivered / other);
                let share = of(|rates| rates.delivered / rates.sent) / subscribers as f64;
                writeln!(
                    table,
                    "{:<24} {contestant:<9} {:>12} {:>14} {:>9.0}% {:>9.2}",
                    format!("tcp {size} B to {subscribers}"),
                    grouped(of(|rates| rates.sent)),
                    grouped(of(|rates| rates.delivered)),
                    share * 100.0,
                    median(&sorted(ratios)),
                )?;
            }
        }
    }
    Ok(table)
}

/// One round: the subscribers' process prints how many messages each of its threads got, added up, and how long that took.
fn run(
    contestant: Contestant,
    subscribers: usize,
    size: usize,
    length: Duration,
) -> Result<Rates, Box<dyn Error>> {
    let arguments = |endpoint: &str| {
        [
            "fan-out-subscribers",
            &contestant.to_string(),
            endpoint,
            &subscribers.to_string(),
        ]
        .map(String::from)
    };
    let body = vec![b'z'; size];
    let (sent, mut runner) = match contestant {
        Contestant::Zerowire => {
            let mut publisher = zerowire::PubSocket::new(&zerowire::Context::new());
            let endpoint = publisher.bind("tcp://127.0.0.1:*")?.to_string();
            let runner = Runner::start(&arguments(&endpoint))?;
            publisher.wait_for_subscribers(subscribers, PATIENCE)?;
            let sent = publish(length, || {
                publisher.send(&body[..])?;
                Ok(())
            })?;
            let ended = runner.whenever_silent(|| {
                publisher.send(END)?;
                Ok(())
            })?;
            (sent, ended)
        }
        _ => {
            let publisher = zmq::Context::new().socket(zmq::XPUB)?;
            publisher.bind("tcp://127.0.0.1:*")?;
            publisher.set_xpub_verbose(true)?;
            publisher.set_rcvtimeo(PATIENCE.as_millis() as i32)?;
            let endpoint = publisher
                .get_last_endpoint()?
                .map_err(|_| "the endpoint is not text")?;
            let runner = Runner::start(&arguments(&endpoint))?;
            for _ in 0..subscribers {
                publisher.recv_bytes(0)?;
            }
            let sent = publish(length, || Ok(publisher.send(&body[..], 0)?))?;
            let ended = runner.whenever_silent(|| Ok(publisher.send(END, 0)?))?;
            (sent, ended)
        }
    };
    let (delivered, wall) = runner.numbers()?;
    Ok(Rates {
        sent: sent as f64 / length.as_secs_f64(),
        delivered: delivered as f64 * 1e9 / wall as f64,
    })
}

fn publish(
    length: Duration,
    mut send: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<u64, Box<dyn Error>> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < length {
        for _ in 0..BETWEEN_CLOCKS {
            send()?;
        }
        sent += BETWEEN_CLOCKS;
    }
    Ok(sent)
}

/// The process of the subscribers.
pub fn subscribe(contestant: Contestant, endpoint: &str, subscribers: usize) -> Result<(), Box<dyn Error>> {
    let context = zerowire::Context::new();
    let zmq_context = zmq::Context::new();
    let received = thread::scope(|scope| {
        let threads: Vec<_> = (0..subscribers)
            .map(|_| {
                scope.spawn(|| match contestant {
                    Contestant::Zerowire => {
                        zerowire_subscriber(&context, endpoint).map_err(|error| error.to_string())
                    }
                    _ => libzmq_subscriber(&zmq_context, endpoint).map_err(|error| error.to_string()),
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a subscriber panicked")?)
            .collect::<Result<Vec<_>, _>>()
    })?;
    let count: u64 = received.iter().map(|(count, _)| count).sum();
    let wall = received
        .iter()
        .map(|(_, wall)| wall.as_nanos())
        .max()
        .unwrap_or(0);
    println!("result {count} {wall}");
    Ok(())
}

type Received = Result<(u64, Duration), Box<dyn Error>>;

fn zerowire_subscriber(context: &zerowire::Context, endpoint: &str) -> Received {
    let mut subscriber = zerowire::SubSocket::new(context);
    subscriber.subscribe("")?;
    subscriber.connect(endpoint)?;
    let mut gauge = Gauge::default();
    while gauge.counts(subscriber.recv()?.as_bytes()) {}
    Ok(gauge.result())
}

fn libzmq_subscriber(context: &zmq::Context, endpoint: &str) -> Received {
    let subscriber = context.socket(zmq::SUB)?;
    subscriber.set_subscribe(b"")?;
    subscriber.connect(endpoint)?;
    let mut message = zmq::Message::new();
    let mut gauge = Gauge::default();
    loop {
        subscriber.recv(&mut message, 0)?;
        if !gauge.counts(&message) {
            return Ok(gauge.result());
        }
    }
}

/// Counts messages from the first to the last.
#[derive(Default)]
struct Gauge {
    count: u64,
    first: Option<Instant>,
    wall: Duration,
}

impl Gauge {
    /// False at the end.
    fn counts(&mut self, body: &[u8]) -> bool {
        let first = *self.first.get_or_insert_with(Instant::now);
        if black_box(body) == END.as_bytes() {
            self.wall = first.elapsed();
            return false;
        }
        self.count += 1;
        true
    }

    fn result(&self) -> (u64, Duration) {
        (self.count, self.wall)
    }
}

const END: &str = "end";
const BETWEEN_CLOCKS: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(30);
