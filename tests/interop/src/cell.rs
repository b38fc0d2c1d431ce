use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::SocketType;

use crate::deadline::CALL_TIMEOUT;
use crate::peers::{Library, Peer};
use crate::side::{Flow, Side};
use crate::watch::{Happening, Watch};

/// One cell of the matrix: which types talk, what zerowire's part is, and over which transport. Another library has the
/// other part.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Which types talk.
    pub pair: Pair,
    /// Which of the two is zerowire's.
    pub zerowire: Place,
    /// Whose the other one is.
    pub other: Library,
    /// Whether zerowire binds and the other side connects, or the other way round.
    pub zerowire_binds: bool,
    /// How they are connected.
    pub transport: Transport,
}

/// Two types that can talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The one that speaks first, or alone.
    pub first: SocketType,
    /// The one that answers, if it can.
    pub second: SocketType,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that speaks first, or alone.
    First,
    /// The one that answers, if it can.
    Second,
}

/// How two peers are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Loopback TCP.
    Tcp,
    /// A socket file.
    Ipc,
    /// A Unix socket with a name in the abstract namespace of Linux.
    Abstract,
}

/// Two sides that are connected and can talk.
pub struct Joined {
    /// Where.
    pub endpoint: String,
    /// What the second side, if it is a subscriber, has subscribed to, and its successor will.
    pub topics: Vec<Vec<u8>>,
    /// The connection events of zerowire's socket.
    watch: Watch,
}

impl Pair {
    /// Who may speak when.
    pub fn flow(self) -> Flow {
        match self.second {
            SocketType::Sub | SocketType::XSub | SocketType::Pull => Flow::OneWay,
            _ if self.first == SocketType::Req => Flow::InTurns,
            _ => Flow::BothWays,
        }
    }

    fn at(self, place: Place) -> SocketType {
        match place {
            Place::First => self.first,
            Place::Second => self.second,
        }
    }
}

impl Place {
    /// The other one.
    pub fn other(self) -> Place {
        match self {
            Place::First => Place::Second,
            Place::Second => Place::First,
        }
    }

    /// What routers call the socket in this place.
    pub fn name(self) -> &'static str {
        match self {
            Place::First => "the first",
            Place::Second => "the second",
        }
    }
}

impl Cell {
    /// Whose socket is in a place.
    pub fn library(&self, place: Place) -> Library {
        match place == self.zerowire {
            true => Library::Zerowire,
            false => self.other,
        }
    }

    /// The type of the socket in a place.
    pub fn socket_type(&self, place: Place) -> SocketType {
        self.pair.at(place)
    }

    /// Who binds.
    pub fn binder(&self) -> Place {
        match self.zerowire_binds {
            true => self.zerowire,
            false => self.zerowire.other(),
        }
    }

    /// Makes both sockets.
    pub fn sides(&self) -> (Side, Side) {
        (self.side(Place::First), self.side(Place::Second))
    }

    /// Makes both sockets, the one that is not zerowire's by `other`, from its type and name.
    pub fn sides_with(&self, other: impl Fn(SocketType, &str) -> Box<dyn Peer>) -> (Side, Side) {
        let side = |place: Place| match place == self.zerowire {
            true => self.side(place),
            false => self.side_of(place, other(self.socket_type(place), place.name())),
        };
        (side(Place::First), side(Place::Second))
    }

    /// Makes the socket in a place.
    pub fn side(&self, place: Place) -> Side {
        let peer = self
            .library(place)
            .named_socket(self.socket_type(place), place.name());
        self.side_of(place, peer)
    }

    /// Gives a socket its place.
    pub fn side_of(&self, place: Place, peer: Box<dyn Peer>) -> Side {
        let other = place.other();
        Side::new(
            peer,
            self.socket_type(place),
            self.socket_type(other),
            other.name(),
        )
    }

    /// Binds one socket at a fresh endpoint, connects the other to it, and waits until they can talk. A subscriber
    /// subscribes to everything.
    pub fn join(&self, first: &mut Side, second: &mut Side, scratch: &Scratch) -> Joined {
        self.join_wanting(&[vec![]], first, second, scratch)
    }

    /// Joins sides of which the second, a subscriber, subscribes to `topics`.
    pub fn join_wanting(
        &self,
        topics: &[Vec<u8>],
        first: &mut Side,
        second: &mut Side,
        scratch: &Scratch,
    ) -> Joined {
        let zerowire = match self.zerowire {
            Place::First => &first.peer,
            Place::Second => &second.peer,
        };
        let mut joined = Joined {
            endpoint: self.transport.fresh(scratch),
            topics: topics.into(),
            watch: zerowire.watch(),
        };
        self.subscribe(second, topics);
        let (binder, connector) = self.by_bind_side(first, second);
        joined.endpoint = binder.peer.bind(&joined.endpoint);
        connector.peer.connect(&joined.endpoint);
        joined.wait(self, first, second);
        joined
    }

    /// Joins sides of which zerowire's is connecting already: binds the other one at that endpoint. `watch` has the events
    /// of zerowire's.
    pub fn join_bound_at(&self, endpoint: &str, watch: Watch, first: &mut Side, second: &mut Side) -> Joined {
        let joined = Joined {
            endpoint: endpoint.into(),
            topics: vec![vec![]],
            watch,
        };
        self.subscribe(second, &joined.topics);
        let (binder, _) = self.by_bind_side(first, second);
        binder.peer.bind(endpoint);
        joined.wait(self, first, second);
        joined
    }

    /// Lets a new socket take the place of the one that is bound, which goes first.
    pub fn replace_binder(&self, joined: &mut Joined, first: &mut Side, second: &mut Side) {
        let place = self.binder();
        let (binder, _) = self.by_bind_side(first, second);
        *binder = self.side(place);
        if place == Place::Second {
            self.subscribe(binder, &joined.topics);
        }
        if self.zerowire_binds {
            joined.watch = binder.peer.watch();
        } else {
            joined.watch.wait_for(&Happening::Disconnected);
        }
        binder.peer.bind(&joined.endpoint);
        joined.wait(self, first, second);
    }

    /// Waits until what the first side publishes under `topic`, to which the second has subscribed, arrives there.
    ///
    /// zerowire knows, on either side; libzmq's application has to look at what its I/O thread has for it, which it does
    /// about once in a millisecond when it only sends. A publisher of omq knows a moment after it has told zerowire so.
    pub fn wait_until_heard(&self, topic: &[u8], first: &mut Side, second: &mut Side) {
        let (zerowire, other) = match self.zerowire {
            Place::First => (first, second),
            Place::Second => (second, first),
        };
        let end = Instant::now() + CALL_TIMEOUT;
        while !zerowire.peer.knows_subscription(topic, TURN) {
            other.peer.catch_up();
            assert!(Instant::now() < end, "{self:?}: nobody hears of a subscription");
        }
        while !other.peer.knows_subscription(topic, TURN) {
            assert!(Instant::now() < end, "{self:?}: nobody hears of a subscription");
        }
        other.peer.catch_up();
    }

    /// Sends `count` messages of certain sizes from the first side to the second, which answers each if the pair can. The
    /// first side is up to `ahead` messages ahead of the answers, or one if the types have it so.
    pub fn converse(
        &self,
        first: &mut Side,
        second: &mut Side,
        (count, ahead): (u64, u64),
        size: impl Fn(u64) -> usize + Sync,
    ) {
        let flow = self.pair.flow();
        let ahead = if flow == Flow::InTurns { 1 } else { ahead };
        let size = &size;
        thread::scope(|scope| {
            scope.spawn(move || {
                for index in 0..count + ahead {
                    if let (Some(answer), false) = (index.checked_sub(ahead), flow == Flow::OneWay)
                        && answer < count
                    {
                        first.hear_payload(!answer, size(answer));
                    }
                    if index < count {
                        first.say_payload(index, size(index));
                    }
                }
            });
            for index in 0..count {
                second.hear_payload(index, size(index));
                if flow != Flow::OneWay {
                    second.say_payload(!index, size(index));
                }
            }
        });
    }

    fn subscribe(&self, second: &mut Side, topics: &[Vec<u8>]) {
        if is_subscriber(self.pair.second) {
            topics.iter().for_each(|topic| second.peer.subscribe(topic));
        }
    }

    fn by_bind_side<'a>(&self, first: &'a mut Side, second: &'a mut Side) -> (&'a mut Side, &'a mut Side) {
        match self.binder() {
            Place::First => (first, second),
            Place::Second => (second, first),
        }
    }
}

/// How long one side is waited for before the other has to be looked at.
const TURN: Duration = Duration::from_millis(5);

fn is_subscriber(socket_type: SocketType) -> bool {
    matches!(socket_type, SocketType::Sub | SocketType::XSub)
}

impl Joined {
    fn wait(&self, cell: &Cell, first: &mut Side, second: &mut Side) {
        self.watch.wait_for(&Happening::HandshakeSucceeded);
        if let (true, Some(topic)) = (is_subscriber(cell.pair.second), self.topics.last()) {
            cell.wait_until_heard(topic, first, second);
        }
    }
}

impl Transport {
    /// An endpoint to bind that nobody else has: the caller must read back what it became.
    pub fn fresh(self, scratch: &Scratch) -> String {
        match self {
            Transport::Tcp => "tcp://127.0.0.1:*".into(),
            Transport::Ipc => format!("ipc://{}", scratch.path(&unique("socket")).display()),
            Transport::Abstract => format!("ipc://@{}", unique("zerowire-interop")),
        }
    }
}

/// A directory of one test, removed with everything in it when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory.
    pub fn new() -> Scratch {
        let path = env::temp_dir().join(unique("zerowire-interop"));
        fs::create_dir_all(&path).expect("make a directory for the test");
        Scratch { path }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn unique(name: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!(
        "{name}-{}-{}",
        process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

/// Runs each behaviour, a function of [`Cell`](crate::Cell), over a matrix: a module per behaviour, in it a module for each
/// part that zerowire has in a pair of types, in it a test for each bind side and transport. The watchdog of a cell is armed
/// here.
///
/// `every_pair:` is what it says, over tcp and ipc; `every_pair_zerowire_connects:` the half of it where the other library
/// binds; `publishing:` is every pair of a publisher and a subscriber, and `push_pull:` that pair alone, over all transports.
/// The other library is libzmq unless its name stands before that: `Omq every_pair:`.
#[macro_export]
macro_rules! matrix {
    (every_pair: $($behaviours:tt)+) => {
        $crate::matrix! { Libzmq every_pair: $($behaviours)+ }
    };
    (every_pair_zerowire_connects: $($behaviours:tt)+) => {
        $crate::matrix! { Libzmq every_pair_zerowire_connects: $($behaviours)+ }
    };
    (publishing: $($behaviours:tt)+) => {
        $crate::matrix! { Libzmq publishing: $($behaviours)+ }
    };
    (push_pull: $($behaviours:tt)+) => {
        $crate::matrix! { Libzmq push_pull: $($behaviours)+ }
    };
    ($library:ident every_pair: $($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            $crate::every_role! { matrix @tcp_and_ipc $library $behaviour }
        }
    )+};
    ($library:ident every_pair_zerowire_connects: $($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            $crate::every_role! { matrix @connecting $library $behaviour }
        }
    )+};
    ($library:ident publishing: $($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            $crate::matrix! { @tcp_and_ipc $library $behaviour
                zerowire_pub_with_sub: Pub Sub First,
                zerowire_sub_with_pub: Pub Sub Second,
                zerowire_pub_with_xsub: Pub XSub First,
                zerowire_xsub_with_pub: Pub XSub Second,
                zerowire_xpub_with_sub: XPub Sub First,
                zerowire_sub_with_xpub: XPub Sub Second,
                zerowire_xpub_with_xsub: XPub XSub First,
                zerowire_xsub_with_xpub: XPub XSub Second,
            }
        }
    )+};
    ($library:ident push_pull: $($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            $crate::matrix! { @all_transports $library $behaviour
                zerowire_push_with_pull: Push Pull First,
                zerowire_pull_with_push: Push Pull Second,
            }
        }
    )+};
    (@tcp_and_ipc $library:ident $behaviour:ident $($role:ident: $first:ident $second:ident $place:ident,)+) => {$(
        mod $role {
            $crate::matrix! { @cells $library $behaviour $role $first $second $place
                zerowire_binds_over_tcp: true Tcp,
                zerowire_binds_over_ipc: true Ipc,
                zerowire_connects_over_tcp: false Tcp,
                zerowire_connects_over_ipc: false Ipc,
            }
        }
    )+};
    (@connecting $library:ident $behaviour:ident $($role:ident: $first:ident $second:ident $place:ident,)+) => {$(
        mod $role {
            $crate::matrix! { @cells $library $behaviour $role $first $second $place
                zerowire_connects_over_tcp: false Tcp,
                zerowire_connects_over_ipc: false Ipc,
            }
        }
    )+};
    (@all_transports $library:ident $behaviour:ident $($role:ident: $first:ident $second:ident $place:ident,)+) => {$(
        mod $role {
            $crate::matrix! { @cells $library $behaviour $role $first $second $place
                zerowire_binds_over_tcp: true Tcp,
                zerowire_binds_over_ipc: true Ipc,
                zerowire_binds_over_abstract_ipc: true Abstract,
                zerowire_connects_over_tcp: false Tcp,
                zerowire_connects_over_ipc: false Ipc,
                zerowire_connects_over_abstract_ipc: false Abstract,
            }
        }
    )+};
    (@cells $library:ident $behaviour:ident $role:ident $first:ident $second:ident $place:ident
        $($name:ident: $binds:literal $transport:ident,)+
    ) => {$(
        #[test]
        fn $name() {
            let _deadline = $crate::Deadline::start(
                concat!(stringify!($behaviour), "::", stringify!($role), "::", stringify!($name)),
                4 * $crate::CALL_TIMEOUT,
            );
            super::super::$behaviour($crate::Cell {
                pair: $crate::Pair {
                    first: zerowire::SocketType::$first,
                    second: zerowire::SocketType::$second,
                },
                zerowire: $crate::Place::$place,
                other: $crate::Library::$library,
                zerowire_binds: $binds,
                transport: $crate::Transport::$transport,
            });
        }
    )+};
}

/// Gives another macro of this crate the table of all pairs of types and zerowire's part in each.
///
/// Where both parts are the same there is one row. Of two routers zerowire's speaks first, because it can tell when it
/// knows the other.
#[doc(hidden)]
#[macro_export]
macro_rules! every_role {
    ($then:ident $($arguments:tt)*) => {
        $crate::$then! { $($arguments)*
            zerowire_pub_with_sub: Pub Sub First,
            zerowire_sub_with_pub: Pub Sub Second,
            zerowire_pub_with_xsub: Pub XSub First,
            zerowire_xsub_with_pub: Pub XSub Second,
            zerowire_xpub_with_sub: XPub Sub First,
            zerowire_sub_with_xpub: XPub Sub Second,
            zerowire_xpub_with_xsub: XPub XSub First,
            zerowire_xsub_with_xpub: XPub XSub Second,
            zerowire_req_with_rep: Req Rep First,
            zerowire_rep_with_req: Req Rep Second,
            zerowire_req_with_router: Req Router First,
            zerowire_router_with_req: Req Router Second,
            zerowire_dealer_with_rep: Dealer Rep First,
            zerowire_rep_with_dealer: Dealer Rep Second,
            zerowire_dealer_with_dealer: Dealer Dealer First,
            zerowire_dealer_with_router: Dealer Router First,
            zerowire_router_with_dealer: Dealer Router Second,
            zerowire_router_with_router: Router Router First,
            zerowire_pair_with_pair: Pair Pair First,
            zerowire_push_with_pull: Push Pull First,
            zerowire_pull_with_push: Push Pull Second,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! table_of_roles {
    ($($role:ident: $first:ident $second:ident $place:ident,)+) => {
        /// All pairs of types, and zerowire's part in each.
        pub const ROLES: &[(Pair, Place)] = &[$((
            Pair {
                first: SocketType::$first,
                second: SocketType::$second,
            },
            Place::$place,
        )),+];
    };
}

every_role! { table_of_roles }

/// All types.
pub const TYPES: [SocketType; 11] = [
    SocketType::Pair,
    SocketType::Pub,
    SocketType::Sub,
    SocketType::Req,
    SocketType::Rep,
    SocketType::Dealer,
    SocketType::Router,
    SocketType::Pull,
    SocketType::Push,
    SocketType::XPub,
    SocketType::XSub,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_pair_of_compatible_types_and_no_other() {
        for zerowire in TYPES {
            for other in TYPES {
                let rows = ROLES
                    .iter()
                    .filter(|(pair, place)| (pair.at(*place), pair.at(place.other())) == (zerowire, other));
                let expected = zerowire.accepts(other).into();
                assert_eq!(rows.count(), expected, "zerowire's {zerowire} with {other}");
            }
        }
    }
}
