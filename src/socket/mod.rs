//! What an application holds: the socket types, and the parts they share.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`builder`] | options before a socket exists |
//! | [`core`] | binding, connecting, closing: the same for every type |
//! | [`send_half`], [`receive_half`] | the pipes of each direction and who is next |
//! | [`framing`] | messages to frames and back |
//! | [`inproc`] | connections inside a context |
//! | [`park`] | a thread that waits for its inbox |
//! | [`pipeline`] | PUSH and PULL |

pub(crate) mod builder;
pub(crate) mod core;
pub(crate) mod framing;
pub(crate) mod inproc;
pub(crate) mod park;
pub(crate) mod pipeline;
pub(crate) mod receive_half;
pub(crate) mod send_half;
