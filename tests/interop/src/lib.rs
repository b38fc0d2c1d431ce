//! What the tests of zerowire against real peers of other libraries share.
//!
//! | file | what it is |
//! | --- | --- |
//! | `cell.rs` | one cell of the matrix pair of types x role x bind side x transport, and the macro that runs a behaviour over all |
//! | `side.rs` | one end of a conversation, whatever its type puts around a message |
//! | `peers/` | a socket of any type, of zerowire, libzmq or omq, behind the same verbs |
//! | `device.rs` | a proxy of libzmq's, and a forwarder made of zerowire's sockets |
//! | `watch.rs` | connection events of zerowire or libzmq |
//! | `payload.rs` | bodies that tell which message they belong to |
//! | `deadline.rs` | a watchdog for everything that may block |
//! | `process.rs` | a peer in a process of its own |

mod cell;
mod deadline;
mod device;
mod payload;
mod peers;
mod process;
mod side;
mod watch;

pub use cell::{Cell, Joined, Pair, Place, ROLES, Scratch, TYPES, Transport};
pub use deadline::{CALL_TIMEOUT, Deadline};
pub use device::{Forwarder, Proxy};
pub use payload::{assert_payload, payload};
pub use peers::{Library, Libzmq, Peer};
pub use process::PeerProcess;
pub use side::{Flow, Side};
pub use watch::{Happening, Watch};
