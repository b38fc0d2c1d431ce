//! Sending in turn: each message to the next peer that has room.

/// The peers of a socket that deals out messages.
///
/// Peers that are connected are preferred: while there is one, nothing is given to a peer that is still being connected
/// to, even if all connected ones are full, because a message that waits for a worker is better off than one that waits
/// for a connection. Without a connected peer, messages wait for those to come, in turn, if the application has not ruled
/// that out.
#[derive(Debug)]
pub(crate) struct LoadBalancer {
    /// Messages may be given to peers that are still being connected to.
    queue_unconnected: bool,
    peers: Vec<Option<Peer>>,
    connected: Ring,
    waiting: Ring,
    /// Connected peers, full or not.
    connected_count: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    connected: bool,
    full: bool,
}

/// Peers with room, in turn.
#[derive(Debug, Default)]
struct Ring {
    keys: Vec<usize>,
    /// Index in `keys` of the peer whose turn it is; below its length unless that is 0.
    turn: usize,
}

impl LoadBalancer {
    pub(crate) fn new(queue_unconnected: bool) -> LoadBalancer {
        LoadBalancer {
            queue_unconnected,
            peers: Vec::new(),
            connected: Ring::default(),
            waiting: Ring::default(),
            connected_count: 0,
            count: 0,
        }
    }

    /// Adds a peer or changes what is known of it.
    pub(crate) fn set(&mut self, key: usize, connected: bool, full: bool) {
        if self.peers.len() <= key {
            self.peers.resize(key + 1, None);
        }
        let now = Peer { connected, full };
        let before = self.peers[key].replace(now);
        if before == Some(now) {
            return;
        }
        self.forget(key, before);
        self.count += 1;
        self.connected_count += usize::from(connected);
        if !full {
            if connected {
                &mut self.connected
            } else {
                &mut self.waiting
            }
            .keys
            .push(key);
        }
    }

    /// Takes note that a peer has no room.
    pub(crate) fn set_full(&mut self, key: usize) {
        if let Some(Some(peer)) = self.peers.get(key).copied() {
            self.set(key, peer.connected, true);
        }
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, key: usize) {
        let before = self.peers.get_mut(key).and_then(Option::take);
        self.forget(key, before);
    }

    /// The peer whose turn it is, if one has room.
    #[inline]
    pub(crate) fn current(&self) -> Option<usize> {
        let ring = self.ring();
        ring.keys.get(ring.turn).copied()
    }

    #[inline]
    fn ring(&self) -> &Ring {
        if self.connected_count > 0 || !self.queue_unconnected {
            &self.connected
        } else {
            &self.waiting
        }
    }

    /// Whether the peer whose turn it is has the next turn too, as matters stand.
    pub(crate) fn is_alone(&self) -> bool {
        self.ring().keys.len() == 1
    }

    /// Ends the turn of the current peer.
    #[inline]
    pub(crate) fn advance(&mut self) {
        let ring = if self.connected_count > 0 {
            &mut self.connected
        } else {
            &mut self.waiting
        };
        ring.turn += 1;
        if ring.turn >= ring.keys.len() {
            ring.turn = 0;
        }
    }

    /// Whether there is no peer at all, not even one whose connection messages may wait for.
    pub(crate) fn is_empty(&self) -> bool {
        match self.queue_unconnected {
            true => self.count == 0,
            false => self.connected_count == 0,
        }
    }

    fn forget(&mut self, key: usize, before: Option<Peer>) {
        let Some(peer) = before else {
            return;
        };
        self.count -= 1;
        self.connected_count -= usize::from(peer.connected);
        let ring = if peer.connected {
            &mut self.connected
        } else {
            &mut self.waiting
        };
        if let Some(index) = ring.keys.iter().position(|&other| other == key) {
            ring.keys.remove(index);
            if index < ring.turn {
                ring.turn -= 1;
            }
            if ring.turn >= ring.keys.len() {
                ring.turn = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(balancer: &mut LoadBalancer, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| {
                let key = balancer.current().unwrap();
                balancer.advance();
                key
            })
            .collect()
    }

    #[test]
    fn peers_with_room_take_turns() {
        let mut balancer = LoadBalancer::new(true);
        assert!(balancer.is_empty());
        for key in 0..3 {
            balancer.set(key, true, false);
        }
        assert_eq!(turns(&mut balancer, 5), [0, 1, 2, 0, 1]);
        balancer.set_full(2);
        assert_eq!(turns(&mut balancer, 3), [0, 1, 0]);
        balancer.set(2, true, false);
        assert_eq!(turns(&mut balancer, 3), [1, 2, 0]);
    }

    #[test]
    fn removing_a_peer_keeps_the_turn_of_the_others() {
        let mut balancer = LoadBalancer::new(true);
        for key in 0..4 {
            balancer.set(key, true, false);
        }
        assert_eq!(turns(&mut balancer, 2), [0, 1]);
        balancer.remove(0);
        assert_eq!(turns(&mut balancer, 3), [2, 3, 1]);
        for key in 1..4 {
            balancer.remove(key);
        }
        assert!(balancer.is_empty());
        assert_eq!(balancer.current(), None);
    }

    #[test]
    fn connected_peers_are_preferred_even_when_full() {
        let mut balancer = LoadBalancer::new(true);
        balancer.set(0, false, false);
        assert_eq!(balancer.current(), Some(0));
        balancer.set(1, true, false);
        assert_eq!(turns(&mut balancer, 2), [1, 1]);
        balancer.set_full(1);
        assert_eq!(balancer.current(), None);
        balancer.set(1, false, true);
        assert_eq!(balancer.current(), Some(0));
    }

    #[test]
    fn peers_to_come_get_nothing_if_the_application_says_so() {
        let mut balancer = LoadBalancer::new(false);
        balancer.set(0, false, false);
        assert_eq!(balancer.current(), None);
        assert!(balancer.is_empty());
        balancer.set(0, true, false);
        assert_eq!(balancer.current(), Some(0));
        assert!(!balancer.is_empty());
    }
}
