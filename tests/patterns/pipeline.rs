//! PUSH and PULL (ZeroMQ RFC 30).

use zerowire::{Context, PullSocket, PushSocket};

use crate::on_every_transport;
use crate::support::receive;

on_every_transport! {
    /// Messages arrive whole and in order.
    fn messages_arrive_in_order(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint).unwrap();
        for number in 0..10_000u32 {
            push.send(number.to_be_bytes().as_slice()).unwrap();
            if number % 500 == 499 {
                for expected in number - 499..=number {
                    assert_eq!(receive(&mut pull).as_bytes(), expected.to_be_bytes());
                }
            }
        }
    }
}
