//! Which peer is next: pure rules over small keys, without pipes, clocks or threads.

pub(crate) mod fair_queue;
#[cfg_attr(not(test), expect(dead_code, reason = "the sockets that subscribe come next"))]
pub(crate) mod interests;
pub(crate) mod load_balancer;
#[cfg_attr(not(test), expect(dead_code, reason = "the sockets that publish come next"))]
pub(crate) mod topics;
