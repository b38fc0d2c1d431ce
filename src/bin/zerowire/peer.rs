//! The eleven socket types behind one face, for a loop that does with each what it can.

use std::time::Duration;

use bytes::Bytes;
use zerowire::{
    BindError, Builder, ConnectError, Context, DealerSocket, Endpoint, Monitor, OptionError, PairSocket,
    PeerId, PubSocket, PullSocket, PushSocket, Receives, RepSocket, ReqSocket, RouterSocket, Selector,
    SendToError, Sends, Socket, SocketType, Stats, SubSocket, TryRecvError, TrySendError, WaitError,
    XPubSocket, XSubSocket,
};

use crate::failure::Failure;

/// A socket, whatever its type. What a type cannot do is not asked of it.
pub trait Peer {
    fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, BindError>;
    fn connect(&mut self, endpoint: &Endpoint) -> Result<(), ConnectError>;
    fn monitor(&self) -> Monitor;
    fn stats(&mut self) -> Stats;

    /// Sends without waiting. A ROUTER sends to the peer that the first part names.
    fn try_send(&mut self, message: zerowire::Message) -> Result<(), Unsent> {
        Err(Unsent::NotNow(message))
    }

    /// Has the selector wake when there is room to send.
    fn watch_room(&mut self, _selector: &mut Selector<Wake>) -> Result<(), Failure> {
        Ok(())
    }

    /// Receives without waiting. With a ROUTER the first part names the sender.
    fn try_receive(&mut self) -> Result<Option<zerowire::Message>, Failure> {
        Ok(None)
    }

    /// Has the selector wake when there is something to receive.
    fn watch_messages(&mut self, _selector: &mut Selector<Wake>) -> Result<(), Failure> {
        Ok(())
    }

    /// Waits up to `time` for subscribers, and says whether they are there.
    fn wait_for_subscribers(&mut self, _count: usize, _time: Duration) -> Result<bool, Failure> {
        Ok(true)
    }
}

/// Why a message was not sent.
pub enum Unsent {
    /// There is no room, or nobody to send to. Nobody has it.
    NotNow(zerowire::Message),
    /// Whoever it was for is gone, and nobody else is to have it.
    PeerLost,
    /// It cannot be sent at all.
    Failed(Failure),
}

/// What a selector can wake for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wake {
    /// The socket has received something.
    Messages,
    /// The socket can send.
    Room,
    /// There is input.
    Input,
    /// There was a signal.
    Interrupt,
}

/// The options that a socket is made with. None is the library's default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub linger: Option<Duration>,
    pub max_message_bytes: Option<u64>,
    pub heartbeat: Option<Duration>,
    pub heartbeat_timeout: Option<Duration>,
    pub reconnect: Option<Duration>,
    pub reconnect_max: Option<Duration>,
    pub send_hwm: Option<u32>,
    pub receive_hwm: Option<u32>,
    pub identity: Option<Bytes>,
    /// What a subscriber wants.
    pub topics: Vec<Bytes>,
}

/// Makes a socket of the type.
pub fn open(context: &Context, socket_type: SocketType, options: &Options) -> Result<Box<dyn Peer>, Failure> {
    Ok(match socket_type {
        SocketType::Push => Box::new(options.sender(PushSocket::builder(context)).build()?),
        SocketType::Pull => Box::new(options.receiver(PullSocket::builder(context)).build()?),
        SocketType::Pub => Box::new(options.sender(PubSocket::builder(context)).build()?),
        SocketType::XPub => Box::new(options.both(XPubSocket::builder(context)).build()?),
        SocketType::Rep => Box::new(options.both(RepSocket::builder(context)).build()?),
        SocketType::Pair => Box::new(options.both(PairSocket::builder(context)).build()?),
        SocketType::Req => Box::new(identified!(options, ReqSocket::builder(context)).build()?),
        SocketType::Dealer => Box::new(identified!(options, DealerSocket::builder(context)).build()?),
        SocketType::Router => Box::new(identified!(options, RouterSocket::builder(context)).build()?),
        SocketType::Sub => {
            let mut socket = options.receiver(SubSocket::builder(context)).build()?;
            for topic in &options.topics {
                socket.subscribe(topic)?;
            }
            Box::new(socket)
        }
        SocketType::XSub => {
            let mut socket = options.receiver(XSubSocket::builder(context)).build()?;
            for topic in &options.topics {
                socket.subscribe(topic)?;
            }
            Box::new(socket)
        }
        other => return Err(Failure::Error(format!("{other} sockets are not known here"))),
    })
}

/// Options of types that tell routers who they are.
macro_rules! identified {
    ($options:expr, $builder:expr) => {{
        let builder = $options.both($builder);
        match &$options.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    }};
}
use identified;

impl Options {
    /// Whether the library takes them.
    pub fn check(&self) -> Result<(), OptionError> {
        identified!(self, DealerSocket::builder(&Context::new()))
            .build()
            .map(drop)
    }

    fn any<S: Socket>(&self, mut builder: Builder<S>) -> Builder<S> {
        if let Some(time) = self.linger {
            builder = builder.linger(time);
        }
        if let Some(bytes) = self.max_message_bytes {
            builder = builder.max_message_bytes(bytes);
        }
        if let Some(time) = self.heartbeat {
            builder = builder.heartbeat(time);
        }
        if let Some(time) = self.heartbeat_timeout {
            builder = builder.heartbeat_timeout(time);
        }
        if let Some(time) = self.reconnect {
            // The longest pause is never shorter than the first one, unless both are asked for.
            builder = builder.reconnect_min(time).reconnect_max(time.max(RECONNECT_MAX));
        }
        if let Some(time) = self.reconnect_max {
            builder = builder.reconnect_max(time);
        }
        builder
    }

    fn sender<S: Sends>(&self, builder: Builder<S>) -> Builder<S> {
        let builder = self.any(builder);
        match self.send_hwm {
            Some(messages) => builder.send_hwm(messages),
            None => builder,
        }
    }

    fn receiver<S: Receives>(&self, builder: Builder<S>) -> Builder<S> {
        let builder = self.any(builder);
        match self.receive_hwm {
            Some(messages) => builder.receive_hwm(messages),
            None => builder,
        }
    }

    fn both<S: Sends + Receives>(&self, builder: Builder<S>) -> Builder<S> {
        let builder = self.sender(builder);
        match self.receive_hwm {
            Some(messages) => builder.receive_hwm(messages),
            None => builder,
        }
    }
}

/// The library's default for the longest pause.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// What all types have, with what each adds.
macro_rules! peers {
    ($($socket:ident: $($ability:ident)*;)*) => {
        $(impl Peer for $socket {
            fn bind(&mut self, endpoint: &Endpoint) -> Result<Endpoint, BindError> {
                $socket::bind(self, endpoint)
            }

            fn connect(&mut self, endpoint: &Endpoint) -> Result<(), ConnectError> {
                $socket::connect(self, endpoint)
            }

            fn monitor(&self) -> Monitor {
                $socket::monitor(self)
            }

            fn stats(&mut self) -> Stats {
                $socket::stats(self)
            }

            $(ability!($ability $socket);)*
        })*
    };
}

macro_rules! ability {
    (sends $socket:ident) => {
        fn try_send(&mut self, message: zerowire::Message) -> Result<(), Unsent> {
            $socket::try_send(self, message).map(drop).map_err(Unsent::from)
        }

        ability!(room $socket);
    };
    (room $socket:ident) => {
        fn watch_room(&mut self, selector: &mut Selector<Wake>) -> Result<(), Failure> {
            Ok(selector.send(Wake::Room, self)?)
        }
    };
    (receives $socket:ident) => {
        fn try_receive(&mut self) -> Result<Option<zerowire::Message>, Failure> {
            received($socket::try_recv(self))
        }

        ability!(messages $socket);
    };
    (messages $socket:ident) => {
        fn watch_messages(&mut self, selector: &mut Selector<Wake>) -> Result<(), Failure> {
            Ok(selector.receive(Wake::Messages, self)?)
        }
    };
    (publishes $socket:ident) => {
        fn wait_for_subscribers(&mut self, count: usize, time: Duration) -> Result<bool, Failure> {
            match $socket::wait_for_subscribers(self, count, time) {
                Ok(()) => Ok(true),
                Err(WaitError::Timeout) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }
    };
    (routes $socket:ident) => {
        fn try_send(&mut self, mut message: zerowire::Message) -> Result<(), Unsent> {
            let Some(Ok(peer)) = message.pop_front().map(PeerId::new) else {
                return Err(Unsent::PeerLost);
            };
            match self.try_send_to(&peer, message) {
                Ok(()) => Ok(()),
                Err(SendToError::Full(mut message)) => {
                    message.push_front(peer.into_bytes());
                    Err(Unsent::NotNow(message))
                }
                Err(SendToError::Unroutable { .. }) => Err(Unsent::PeerLost),
                Err(error) => Err(Unsent::Failed(error.into())),
            }
        }

        ability!(room $socket);

        fn try_receive(&mut self) -> Result<Option<zerowire::Message>, Failure> {
            received(self.try_recv_from().map(|(peer, mut message)| {
                message.push_front(peer.into_bytes());
                message
            }))
        }

        ability!(messages $socket);
    };
}

peers! {
    PushSocket: sends;
    PullSocket: receives;
    PubSocket: sends publishes;
    SubSocket: receives;
    XPubSocket: sends receives publishes;
    XSubSocket: receives;
    ReqSocket: sends receives;
    RepSocket: sends receives;
    DealerSocket: sends receives;
    RouterSocket: routes;
    PairSocket: sends receives;
}

fn received(result: Result<zerowire::Message, TryRecvError>) -> Result<Option<zerowire::Message>, Failure> {
    match result {
        Ok(message) => Ok(Some(message)),
        Err(TryRecvError::Empty) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl From<TrySendError> for Unsent {
    fn from(error: TrySendError) -> Unsent {
        match error {
            TrySendError::Full(message) | TrySendError::NoPeer(message) => Unsent::NotNow(message),
            TrySendError::PeerLost(_) => Unsent::PeerLost,
            error => Unsent::Failed(error.into()),
        }
    }
}
