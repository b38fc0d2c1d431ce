//! How a dialed peer gets its connection: it is resolved, its addresses are tried, and after a pause all of that again.

use mio::{Interest, Token};

use super::Peer;
use crate::monitor::{Event, Reason};
use crate::options::Options;
use crate::reactor::Io;
use crate::reactor::connection::{Connection, Stage};
use crate::reactor::connector::{Attempt, Connector, Dialing};
use crate::transport::{Address, Stream, StreamOptions};

impl Peer {
    /// The resolver has answered.
    pub(in crate::reactor) fn on_resolved(
        &mut self,
        result: std::io::Result<Vec<std::net::SocketAddr>>,
        key: usize,
        io: &mut Io,
    ) {
        let Some(connector) = &mut self.connector else {
            return;
        };
        if !matches!(connector.state, Dialing::Resolving(_)) {
            return;
        }
        match result {
            Ok(addresses) => {
                connector.addresses = addresses.into_iter().map(Address::Tcp).collect();
                self.dial_next(key, io);
            }
            Err(error) => self.attempt_failed(error.into(), io),
        }
    }

    /// Dials, if it is time.
    pub(super) fn connect(&mut self, key: usize, io: &mut Io) {
        let Some(connector) = &mut self.connector else {
            return;
        };
        match connector.state {
            Dialing::Waiting(until) if until <= io.now => match Connector::attempt(&self.endpoint) {
                Attempt::Dial(address) => {
                    connector.addresses = [address].into();
                    self.dial_next(key, io);
                }
                Attempt::Resolve(host, port) => {
                    connector.state = Dialing::Resolving(io.now + self.socket.options.connect_timeout);
                    io.resolver.resolve(self.pipe, host, port);
                }
                Attempt::Impossible(error) => self.attempt_failed(error.into(), io),
            },
            Dialing::Resolving(until) if until <= io.now => {
                io.resolver.cancel(self.pipe);
                let timeout = self.socket.options.connect_timeout;
                self.attempt_failed(Reason::ConnectTimeout(timeout), io);
            }
            _ => {}
        }
    }

    /// Dials the next address of the attempt; without one, the attempt has failed.
    pub(super) fn dial_next(&mut self, key: usize, io: &mut Io) {
        let options = &self.socket.options;
        let kernel = stream_options(options);
        while let Some(address) = self
            .connector
            .as_mut()
            .and_then(|connector| connector.addresses.pop_front())
        {
            let dialed = Stream::dial(&address, &kernel).and_then(|mut stream| {
                io.registry
                    .register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)?;
                Ok(stream)
            });
            let trail = self.new_trail(address.text(), io);
            let connecting = |connection| Event::Connecting { connection };
            self.socket.monitors.report_on(&trail, connecting).carry_out();
            match dialed {
                Ok(stream) => {
                    let mut connection = Connection::new(stream, trail, Stage::Dialing);
                    // The first event says that the attempt is over; a local one may be over already.
                    connection.writable = true;
                    self.connection = Some(connection);
                    self.deadline = Some(io.now + options.connect_timeout);
                    if let Some(connector) = &mut self.connector {
                        connector.state = Dialing::Connection;
                    }
                    return;
                }
                Err(error) => self.report_failure(&trail, true, error.into()),
            }
        }
        self.pause(io);
    }

    /// An attempt failed before there was an address to dial.
    pub(super) fn attempt_failed(&mut self, reason: Reason, io: &mut Io) {
        let trail = self.new_trail(None, io);
        self.report_failure(&trail, true, reason);
        self.pause(io);
    }

    pub(super) fn pause(&mut self, io: &mut Io) {
        self.deadline = None;
        if let Some(connector) = &mut self.connector {
            let delay = connector.pause(io.now);
            if self.closing.is_none() {
                let retrying = || Event::Retrying {
                    endpoint: self.endpoint.to_string(),
                    delay,
                };
                self.socket.monitors.report(retrying).carry_out();
            }
        }
    }
}

pub(super) fn stream_options(options: &Options) -> StreamOptions {
    StreamOptions {
        send_buffer: options.send_buffer,
        receive_buffer: options.receive_buffer,
        keepalive: options.tcp_keepalive,
        user_timeout: options.tcp_user_timeout,
    }
}
