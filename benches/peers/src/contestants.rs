//! The loops that are raced: for each library the fastest ordinary way to send a byte slice again and again, and to
//! receive it, with its default options.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::str::FromStr;

use crate::runner::Gauge;

/// Who races.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    Zerowire,
    Libzmq,
    /// Blocking sockets of the standard library, written and read in blocks of 64 KiB without any framing: what the
    /// kernel can do.
    Raw,
}

/// How the two sides are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Ipc,
    Inproc,
}

/// Block of the raw sockets.
const BLOCK_BYTES: usize = 64 << 10;

type Outcome = Result<(), Box<dyn Error>>;

impl Contestant {
    pub const ALL: [Contestant; 3] = [Contestant::Zerowire, Contestant::Libzmq, Contestant::Raw];

    /// Whether it can race over `transport`.
    pub fn can(self, transport: Transport) -> bool {
        self != Contestant::Raw || transport != Transport::Inproc
    }

    /// Binds, announces the endpoint, and receives `count` messages after the first, which starts the gauge.
    pub fn pull(self, endpoint: &str, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
        match self {
            Contestant::Zerowire => {
                let mut pull = zerowire::PullSocket::new(&zerowire::Context::new());
                gauge.announce(&pull.bind(endpoint)?.to_string());
                zerowire_pull(&mut pull, count, size, gauge)
            }
            Contestant::Libzmq => {
                let pull = zmq::Context::new().socket(zmq::PULL)?;
                pull.bind(endpoint)?;
                gauge.announce(
                    &pull
                        .get_last_endpoint()?
                        .map_err(|_| "the endpoint is not text")?,
                );
                libzmq_pull(&pull, count, size, gauge)
            }
            Contestant::Raw => match endpoint.split_once("://") {
                Some(("ipc", path)) => {
                    let listener = UnixListener::bind(path)?;
                    gauge.announce(endpoint);
                    raw_pull(listener.accept()?.0, count, size, gauge)
                }
                _ => {
                    let listener = TcpListener::bind("127.0.0.1:0")?;
                    gauge.announce(&format!("tcp://{}", listener.local_addr()?));
                    raw_pull(listener.accept()?.0, count, size, gauge)
                }
            },
        }
    }

    /// Connects, sends one message, starts the gauge, sends `count` more, and stops it when the receiver has them all.
    ///
    /// The socket stays open until then: libzmq's PULL at its high-water mark loses what the kernel still holds when its
    /// peer closes an ipc connection, and would wait for it for ever.
    pub fn push(self, endpoint: &str, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
        let body = vec![b'z'; size];
        match self {
            Contestant::Zerowire => {
                let mut push = zerowire::PushSocket::new(&zerowire::Context::new());
                push.connect(endpoint)?;
                zerowire_push(&mut push, count, &body, gauge)?;
                gauge.stop_when_told()
            }
            Contestant::Libzmq => {
                let push = zmq::Context::new().socket(zmq::PUSH)?;
                push.connect(endpoint)?;
                libzmq_push(&push, count, &body, gauge)?;
                gauge.stop_when_told()
            }
            Contestant::Raw => {
                match endpoint.split_once("://") {
                    Some(("ipc", path)) => raw_push(UnixStream::connect(path)?, count, size, gauge)?,
                    Some((_, address)) => raw_push(TcpStream::connect(address)?, count, size, gauge)?,
                    None => return Err(format!("bad endpoint `{endpoint}`").into()),
                }
                gauge.stop_when_told()
            }
        }
    }

    /// Two threads of one process over inproc; the gauge is the receiver's, its CPU time that of both.
    pub fn both(self, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
        const ENDPOINT: &str = "inproc://race";
        let body = vec![b'z'; size];
        let mut unused = Gauge::default();
        match self {
            Contestant::Zerowire => {
                let context = zerowire::Context::new();
                let mut pull = zerowire::PullSocket::new(&context);
                pull.bind(ENDPOINT)?;
                let mut push = zerowire::PushSocket::new(&context);
                push.connect(ENDPOINT)?;
                std::thread::scope(|scope| {
                    let sender = scope
                        .spawn(move || zerowire_push(&mut push, count, &body, &mut unused).map_err(text));
                    zerowire_pull(&mut pull, count, size, gauge)?;
                    Ok(sender.join().expect("the sender does not panic")?)
                })
            }
            Contestant::Libzmq => {
                let context = zmq::Context::new();
                let pull = context.socket(zmq::PULL)?;
                pull.bind(ENDPOINT)?;
                let push = context.socket(zmq::PUSH)?;
                push.connect(ENDPOINT)?;
                std::thread::scope(|scope| {
                    let sender =
                        scope.spawn(move || libzmq_push(&push, count, &body, &mut unused).map_err(text));
                    libzmq_pull(&pull, count, size, gauge)?;
                    Ok(sender.join().expect("the sender does not panic")?)
                })
            }
            Contestant::Raw => Err("raw sockets have no inproc".into()),
        }
    }
}

fn zerowire_push(push: &mut zerowire::PushSocket, count: u64, body: &[u8], gauge: &mut Gauge) -> Outcome {
    push.send(body)?;
    gauge.start();
    for _ in 0..count {
        push.send(body)?;
    }
    Ok(())
}

fn zerowire_pull(pull: &mut zerowire::PullSocket, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
    check(pull.recv()?.as_bytes(), size)?;
    gauge.start();
    for _ in 0..count {
        check(pull.recv()?.as_bytes(), size)?;
    }
    gauge.stop();
    Ok(())
}

fn libzmq_push(push: &zmq::Socket, count: u64, body: &[u8], gauge: &mut Gauge) -> Outcome {
    push.send(body, 0)?;
    gauge.start();
    for _ in 0..count {
        // A message made of the slice on the stack and zmq_msg_send, which is what zmq_send does.
        push.send(body, 0)?;
    }
    Ok(())
}

fn libzmq_pull(pull: &zmq::Socket, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
    let mut message = zmq::Message::new();
    pull.recv(&mut message, 0)?;
    check(&message, size)?;
    gauge.start();
    for _ in 0..count {
        pull.recv(&mut message, 0)?;
        check(&message, size)?;
    }
    gauge.stop();
    Ok(())
}

fn raw_push(mut stream: impl Write, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
    let block = vec![b'z'; BLOCK_BYTES.max(size)];
    stream.write_all(&block[..size])?;
    gauge.start();
    let mut left = count * size as u64;
    while left > 0 {
        let bytes = left.min(BLOCK_BYTES as u64);
        stream.write_all(&block[..bytes as usize])?;
        left -= bytes;
    }
    Ok(())
}

fn raw_pull(mut stream: impl Read, count: u64, size: usize, gauge: &mut Gauge) -> Outcome {
    let mut block = vec![0; BLOCK_BYTES.max(size)];
    stream.read_exact(&mut block[..size])?;
    gauge.start();
    let mut left = count * size as u64;
    while left > 0 {
        let bytes = stream.read(&mut block[..BLOCK_BYTES])? as u64;
        if bytes == 0 {
            return Err(format!("the stream ended {left} bytes early").into());
        }
        black_box(&block);
        left -= bytes;
    }
    gauge.stop();
    Ok(())
}

/// Looks at a message as an application would, so that nobody wins by not delivering it.
fn check(body: &[u8], size: usize) -> Result<(), String> {
    if black_box(body).len() == size {
        return Ok(());
    }
    Err(format!(
        "received a message of {} bytes instead of {size}",
        body.len()
    ))
}

/// An error that can leave its thread.
fn text(error: Box<dyn Error>) -> String {
    error.to_string()
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contestant::Zerowire => "zerowire",
            Contestant::Libzmq => "libzmq",
            Contestant::Raw => "raw",
        })
    }
}

impl FromStr for Contestant {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Contestant, Self::Err> {
        Contestant::ALL
            .into_iter()
            .find(|contestant| contestant.to_string() == name)
            .ok_or("no such library")
    }
}

impl Transport {
    pub const ALL: [Transport; 3] = [Transport::Tcp, Transport::Ipc, Transport::Inproc];
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transport::Tcp => "tcp",
            Transport::Ipc => "ipc",
            Transport::Inproc => "inproc",
        })
    }
}

impl FromStr for Transport {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Transport, Self::Err> {
        Transport::ALL
            .into_iter()
            .find(|transport| transport.to_string() == name)
            .ok_or("no such transport")
    }
}
