//! REQ to REP and back: the time of one exchange, between two processes, beside what blocking sockets of the standard
//! library need for the same bytes.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::contestants::{Contestant, Transport};
use crate::lane::{Directory, Runner};
use crate::race::progress;
use crate::report::{median, sorted};

/// What the command line can change.
#[derive(Debug)]
pub struct Options {
    pub rounds: usize,
    /// Exchanges in a round, after as many tenths of it that are not measured.
    pub count: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            rounds: 5,
            count: 10_000,
        }
    }
}

/// Races, and returns the table.
pub fn race(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut table = format!(
        "{:<14} {:<9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "work", "library", "p50 us", "p99 us", "p99.9 us", "x libzmq", "x raw"
    );
    for transport in [Transport::Tcp, Transport::Ipc] {
        let mut lanes = Contestant::ALL.map(|contestant| (contestant, Vec::new()));
        for round in 0..options.rounds {
            for step in 0..lanes.len() {
                // Every other round backwards, so that nobody always runs after the same neighbour.
                let lane = if round % 2 == 0 {
                    step
                } else {
                    lanes.len() - 1 - step
                };
                let (contestant, runs) = &mut lanes[lane];
                progress(&format!("{transport}: round {}, {contestant}", round + 1));
                runs.push(run(*contestant, transport, options.count)?);
            }
        }
        progress("");
        for (contestant, runs) in &lanes {
            let of = |share: usize| median(&sorted(runs.iter().map(|run| run[share])));
            let against = |other: Contestant| {
                let others = &lanes.iter().find(|(it, _)| *it == other).expect("all race").1;
                median(&sorted(
                    runs.iter().zip(others).map(|(run, other)| run[0] / other[0]),
                ))
            };
            writeln!(
                table,
                "{:<14} {contestant:<9} {:>9.1} {:>9.1} {:>9.1} {:>9.2} {:>9.2}",
                format!("{transport} {BODY_BYTES} B"),
                of(0),
                of(1),
                of(2),
                against(Contestant::Libzmq),
                against(Contestant::Raw),
            )?;
        }
    }
    Ok(table)
}

/// One round: microseconds of the exchange that is slower than a half, 99 % and 99.9 % of them.
fn run(contestant: Contestant, transport: Transport, count: usize) -> Result<[f64; 3], Box<dyn Error>> {
    let directory = Directory::new()?;
    let wildcard = match transport {
        Transport::Ipc => format!("ipc://{}", directory.path.join("socket").display()),
        _ => "tcp://127.0.0.1:*".into(),
    };
    let server = Runner::start(&["round-trip-server", &contestant.to_string(), &wildcard].map(String::from))?;
    let endpoint = server.line("endpoint ")?;
    let body = [b'z'; BODY_BYTES];
    let times = match contestant {
        Contestant::Zerowire => {
            let mut req = zerowire::ReqSocket::new(&zerowire::Context::new());
            req.connect(endpoint.as_str())?;
            exchanges(count, || {
                req.send(&body[..])?;
                check(req.recv()?.as_bytes())
            })?
        }
        Contestant::Libzmq => {
            let req = zmq::Context::new().socket(zmq::REQ)?;
            req.connect(&endpoint)?;
            let mut reply = zmq::Message::new();
            exchanges(count, || {
                req.send(&body[..], 0)?;
                req.recv(&mut reply, 0)?;
                check(&reply)
            })?
        }
        Contestant::Raw => match endpoint.split_once("://") {
            Some(("ipc", path)) => raw_client(UnixStream::connect(path)?, count)?,
            Some((_, address)) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                raw_client(stream, count)?
            }
            None => return Err(format!("bad endpoint `{endpoint}`").into()),
        },
    };
    Ok([500, 990, 999].map(|share| times[times.len() * share / 1000].as_secs_f64() * 1e6))
}

/// The times of the exchanges, sorted.
fn exchanges(
    count: usize,
    mut exchange: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    for _ in 0..count / 10 {
        exchange()?;
    }
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        exchange()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn raw_client(mut stream: impl Read + Write, count: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut body = [b'z'; BODY_BYTES];
    exchanges(count, || {
        stream.write_all(&body)?;
        Ok(stream.read_exact(&mut body)?)
    })
}

/// The process that answers, until it is ended.
pub fn serve(contestant: Contestant, endpoint: &str) -> Result<(), Box<dyn Error>> {
    match contestant {
        Contestant::Zerowire => {
            let mut rep = zerowire::RepSocket::new(&zerowire::Context::new());
            println!("endpoint {}", rep.bind(endpoint)?);
            loop {
                let message = rep.recv()?;
                rep.send(message)?;
            }
        }
        Contestant::Libzmq => {
            let rep = zmq::Context::new().socket(zmq::REP)?;
            rep.bind(endpoint)?;
            let bound = rep.get_last_endpoint()?.map_err(|_| "the endpoint is not text")?;
            println!("endpoint {bound}");
            let mut message = zmq::Message::new();
            loop {
                rep.recv(&mut message, 0)?;
                rep.send(&*message, 0)?;
            }
        }
        Contestant::Raw => match endpoint.split_once("://") {
            Some(("ipc", path)) => {
                let listener = UnixListener::bind(path)?;
                println!("endpoint {endpoint}");
                raw_server(listener.accept()?.0)
            }
            _ => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                println!("endpoint tcp://{}", listener.local_addr()?);
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                raw_server(stream)
            }
        },
    }
}

fn raw_server(mut stream: impl Read + Write) -> Result<(), Box<dyn Error>> {
    let mut body = [0; BODY_BYTES];
    // Until the client closes.
    while stream.read_exact(&mut body).is_ok() {
        stream.write_all(&body)?;
    }
    Ok(())
}

fn check(reply: &[u8]) -> Result<(), Box<dyn Error>> {
    if reply.len() == BODY_BYTES {
        return Ok(());
    }
    Err(format!("a reply of {} bytes instead of {BODY_BYTES}", reply.len()).into())
}

const BODY_BYTES: usize = 64;
