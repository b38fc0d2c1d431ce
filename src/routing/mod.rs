//! Which peer is next: pure rules over small keys, without pipes, clocks or threads.

pub(crate) mod directory;
pub(crate) mod fair_queue;
pub(crate) mod identities;
pub(crate) mod interests;
pub(crate) mod load_balancer;
pub(crate) mod topics;
