//! What the tools `local_thr`, `remote_thr`, `local_lat` and `remote_lat` that come with libzmq do, with libzmq: the same
//! counts, the same start and end of the clock, the same closing lines.
//!
//! `perf TOOL ENDPOINT SIZE COUNT`. A tool that binds says where on standard error, as that may be any port.

use std::env;
use std::error::Error;
use std::time::Instant;

use zerowire_interop::{CALL_TIMEOUT, Deadline};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [tool, endpoint, size, count] = arguments.as_slice() else {
        return Err("usage: perf local_thr|remote_thr|local_lat|remote_lat ENDPOINT SIZE COUNT".into());
    };
    let (size, count): (usize, u64) = (size.parse()?, count.parse()?);
    // An orphan ends by itself.
    let _deadline = Deadline::start(format!("perf {}", arguments.join(" ")), 3 * CALL_TIMEOUT);
    let context = zmq::Context::new();
    match tool.as_str() {
        "local_thr" => {
            let pull = bound(&context, zmq::PULL, endpoint)?;
            let mut message = zmq::Message::new();
            receive(&pull, &mut message, size)?;
            let start = Instant::now();
            for _ in 1..count {
                receive(&pull, &mut message, size)?;
            }
            let micros = start.elapsed().as_micros().max(1);
            let throughput = count as f64 / micros as f64 * 1e6;
            let megabits = throughput * size as f64 * 8.0 / 1e6;
            println!("message size: {size} [B]\nmessage count: {count}");
            println!("mean throughput: {} [msg/s]", throughput as u64);
            println!("mean throughput: {megabits:.3} [Mb/s]");
        }
        "remote_thr" => {
            let push = connected(&context, zmq::PUSH, endpoint)?;
            for _ in 0..count {
                push.send(vec![0; size], 0)?;
            }
            // By default libzmq lingers without end: the context ends when all of them are written.
        }
        "local_lat" => {
            let rep = bound(&context, zmq::REP, endpoint)?;
            let mut message = zmq::Message::new();
            for _ in 0..count {
                receive(&rep, &mut message, size)?;
                rep.send(&message[..], 0)?;
            }
        }
        "remote_lat" => {
            let req = connected(&context, zmq::REQ, endpoint)?;
            let mut message = zmq::Message::new();
            let start = Instant::now();
            for _ in 0..count {
                req.send(vec![0; size], 0)?;
                receive(&req, &mut message, size)?;
            }
            let latency = start.elapsed().as_micros() as f64 / (count * 2) as f64;
            println!("message size: {size} [B]\nroundtrip count: {count}");
            println!("average latency: {latency:.3} [us]");
        }
        _ => return Err(format!("unknown tool `{tool}`").into()),
    }
    Ok(())
}

fn bound(
    context: &zmq::Context,
    socket_type: zmq::SocketType,
    endpoint: &str,
) -> Result<zmq::Socket, Box<dyn Error>> {
    let socket = context.socket(socket_type)?;
    socket.bind(endpoint)?;
    let endpoint = socket.get_last_endpoint()?.expect("an endpoint is text");
    eprintln!("listening on {endpoint}");
    Ok(socket)
}

fn connected(
    context: &zmq::Context,
    socket_type: zmq::SocketType,
    endpoint: &str,
) -> Result<zmq::Socket, Box<dyn Error>> {
    let socket = context.socket(socket_type)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

fn receive(socket: &zmq::Socket, message: &mut zmq::Message, size: usize) -> Result<(), Box<dyn Error>> {
    socket.recv(message, 0)?;
    match message.len() == size {
        true => Ok(()),
        false => Err("message of incorrect size received".into()),
    }
}
