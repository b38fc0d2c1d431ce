//! PUSH and PULL beyond what their specification asks for, which is in [`conformance`](crate::conformance).

use std::collections::HashSet;
use std::thread;

use zerowire::{Context, Message, PullSocket, PushSocket};

use crate::on_every_transport;
use crate::support::{receive_number, send, send_number};

/// A pair of sockets; `push_binds` says which of them is found by the other.
fn pair(context: &Context, endpoint: &str, push_binds: bool) -> (PushSocket, PullSocket) {
    let (mut push, mut pull) = (PushSocket::new(context), PullSocket::new(context));
    if push_binds {
        pull.connect(push.bind(endpoint).unwrap()).unwrap();
    } else {
        push.connect(pull.bind(endpoint).unwrap()).unwrap();
    }
    (push, pull)
}

on_every_transport! {
    /// Both sockets may have any number of peers, bound and connected.
    fn sockets_bind_and_connect_to_many_at_once(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let bound: Vec<_> = (0..3).map(|_| pull.bind(transport.wildcard()).unwrap()).collect();
        let mut pushers = Vec::new();
        for endpoint in &bound {
            for _ in 0..2 {
                let mut push = PushSocket::new(&context);
                push.connect(endpoint).unwrap();
                pushers.push(push);
            }
        }
        for _ in 0..3 {
            let mut push = PushSocket::new(&context);
            pull.connect(push.bind(transport.wildcard()).unwrap()).unwrap();
            pushers.push(push);
        }
        for (number, push) in pushers.iter_mut().enumerate() {
            send_number(push, number as u32);
        }
        let heard: HashSet<u32> = pushers.iter().map(|_| receive_number(&mut pull)).collect();
        assert_eq!(heard, (0..9).collect());
    }

    /// Receiving many takes what is there after the first, in order, and never more than was asked for.
    fn many_are_received_at_once(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), false);
        let mut messages = vec![Message::from("kept")];
        assert_eq!(pull.recv_many(&mut messages, 0).unwrap(), 0);
        for number in 0..100 {
            send_number(&mut push, number);
        }
        let mut taken = 0;
        while taken < 100 {
            let count = pull.recv_many(&mut messages, 7).unwrap();
            assert!((1..=7).contains(&count), "{count}");
            taken += count;
            assert_eq!(messages.len(), 1 + taken);
        }
        assert_eq!(messages.remove(0).as_bytes(), b"kept");
        let numbers: Vec<u32> = messages.iter().map(crate::support::number).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }

    /// Receiving many waits for the first and is content with it.
    fn receiving_many_waits_for_the_first(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), false);
        let receiver = thread::spawn(move || {
            let mut messages = Vec::new();
            let count = pull.recv_many(&mut messages, 1000).unwrap();
            assert_eq!((count, messages.len()), (1, 1));
            (messages.remove(0), pull)
        });
        send(&mut push, "only one");
        assert_eq!(receiver.join().unwrap().0.as_bytes(), b"only one");
    }
}
