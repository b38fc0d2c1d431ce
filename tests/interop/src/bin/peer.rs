//! One peer in a process of its own, which ends right after its last send or receive.
//!
//! `peer LIBRARY push|pull bind|connect ENDPOINT COUNT SIZE` sends COUNT messages of SIZE bytes, or receives and verifies
//! them in order. A peer that binds prints `endpoint ENDPOINT` first. It exits with an error after 30 s without a message.

use std::env;
use std::error::Error;

use zerowire::SocketType;
use zerowire_interop::{CALL_TIMEOUT, Deadline, Library, assert_payload, payload};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [library, role, side, endpoint, count, size] = arguments.as_slice() else {
        return Err("usage: peer zerowire|libzmq|omq push|pull bind|connect ENDPOINT COUNT SIZE".into());
    };
    let library: Library = library.parse()?;
    let binds = match side.as_str() {
        "bind" => true,
        "connect" => false,
        _ => return Err(format!("unknown side `{side}`").into()),
    };
    let (count, size): (u64, usize) = (count.parse()?, size.parse()?);
    // An orphan ends by itself.
    let _deadline = Deadline::start(format!("peer {}", arguments.join(" ")), 3 * CALL_TIMEOUT);
    match role.as_str() {
        "push" => push(library, binds, endpoint, count, size),
        "pull" => pull(library, binds, endpoint, count, size),
        _ => return Err(format!("unknown role `{role}`").into()),
    }
    Ok(())
}

fn push(library: Library, binds: bool, endpoint: &str, count: u64, size: usize) {
    let mut push = library.socket(SocketType::Push);
    if binds {
        println!("endpoint {}", push.bind(endpoint));
    } else {
        push.connect(endpoint);
    }
    for index in 0..count {
        push.send(&[payload(index, size)]);
    }
}

fn pull(library: Library, binds: bool, endpoint: &str, count: u64, size: usize) {
    let mut pull = library.socket(SocketType::Pull);
    if binds {
        println!("endpoint {}", pull.bind(endpoint));
    } else {
        pull.connect(endpoint);
    }
    for index in 0..count {
        let parts = pull.recv();
        assert_eq!(parts.len(), 1, "number of parts of message {index}");
        assert_payload(&parts[0], index, size);
    }
}
