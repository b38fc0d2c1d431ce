//! What an application holds: the socket types, and the parts they share.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`builder`] | options before a socket exists |
//! | [`core`] | binding, connecting, closing: the same for every type |
//! | [`send_half`], [`receive_half`] | the pipes of each direction and who is next |
//! | [`pipes`] | the ends of a pipe in them, whatever kind it is |
//! | [`counting`] | what became of messages, for each peer |
//! | [`dealing`], [`fan_out`] | sending to whoever is next, and to everyone who wants it |
//! | [`inproc`] | connections inside a context |
//! | [`level`] | whether a socket can go on, for those who wait for it and do not hold it |
//! | [`park`] | a thread that waits for its inbox |
//! | [`methods`] | the methods that socket types share |
//! | [`split`], [`shared`] | sockets for more than one thread |
//! | [`streams`] | sockets as streams and sinks |
//! | [`passing`] | sockets as a proxy uses them |
//! | [`pipeline`] | PUSH and PULL |
//! | [`pair`] | PAIR |
//! | [`pubsub`], [`xpubsub`] | PUB and SUB, and those that see subscriptions: XPUB and XSUB |
//! | [`req`], [`rep`] | REQ and REP |
//! | [`router`] | DEALER and ROUTER |

pub(crate) mod builder;
pub(crate) mod core;
pub(crate) mod counting;
pub(crate) mod dealing;
pub(crate) mod fan_out;
pub(crate) mod inproc;
pub(crate) mod level;
pub(crate) mod methods;
pub(crate) mod pair;
pub(crate) mod park;
pub(crate) mod passing;
pub(crate) mod pipeline;
pub(crate) mod pipes;
pub(crate) mod pubsub;
pub(crate) mod receive_half;
pub(crate) mod rep;
pub(crate) mod req;
pub(crate) mod router;
pub(crate) mod send_half;
pub(crate) mod shared;
pub(crate) mod split;
pub(crate) mod streams;
pub(crate) mod subscribing;
pub(crate) mod xpubsub;
