//! The kinds of sockets and which of them may talk to each other.

use std::fmt;
use std::str::FromStr;

use super::error::{ProtocolError, printable};

/// The kind of a socket: the pattern it is one end of.
///
/// Peers tell each other their type while they connect, by the name that `Display` shows.
///
/// # Examples
/// ```
/// use zerowire::SocketType;
///
/// let publisher: SocketType = "XPUB".parse()?;
/// assert!(publisher.accepts(SocketType::Sub));
/// assert!(!publisher.accepts(SocketType::Pull));
/// assert_eq!(publisher.to_string(), "XPUB");
/// # Ok::<(), zerowire::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketType {
    /// One of two equals, connected to each other only.
    Pair,
    /// Publishes to everyone who subscribed.
    Pub,
    /// Receives what it subscribed to.
    Sub,
    /// Asks, then waits for the answer.
    Req,
    /// Answers one request after the other.
    Rep,
    /// Asks or answers without waiting in between.
    Dealer,
    /// Talks to each of its peers by identity.
    Router,
    /// Takes work from those who deal it out.
    Pull,
    /// Deals work out.
    Push,
    /// A publisher that sees subscriptions as messages.
    XPub,
    /// A subscriber that sends subscriptions as messages.
    XSub,
}

impl SocketType {
    /// Whether a socket of this type can work with a peer of type `peer`. The answer is the same both ways round.
    pub const fn accepts(self, peer: SocketType) -> bool {
        use SocketType::*;
        match self {
            Pair => matches!(peer, Pair),
            Pub | XPub => matches!(peer, Sub | XSub),
            Sub | XSub => matches!(peer, Pub | XPub),
            Req => matches!(peer, Rep | Router),
            Rep => matches!(peer, Req | Dealer),
            Dealer => matches!(peer, Rep | Dealer | Router),
            Router => matches!(peer, Req | Dealer | Router),
            Push => matches!(peer, Pull),
            Pull => matches!(peer, Push),
        }
    }

    /// Whether messages of the application leave through a socket of this type. Subscriptions are none.
    pub const fn sends(self) -> bool {
        !matches!(self, SocketType::Sub | SocketType::Pull)
    }

    /// Whether messages for the application arrive at a socket of this type.
    ///
    /// An [`XPub`](SocketType::XPub) is told of subscriptions in this way.
    pub const fn receives(self) -> bool {
        !matches!(self, SocketType::Pub | SocketType::Push)
    }

    /// Whether peers subscribe to what a socket of this type sends.
    pub(crate) const fn is_publisher(self) -> bool {
        matches!(self, SocketType::Pub | SocketType::XPub)
    }

    /// Whether a socket of this type subscribes.
    pub(crate) const fn is_subscriber(self) -> bool {
        matches!(self, SocketType::Sub | SocketType::XSub)
    }

    /// Whether pipes to a peer of such a socket exist only while it is connected: the types that send to certain peers,
    /// who have to be known first, and those whose connections begin with subscriptions.
    pub(crate) const fn has_passing_pipes(self) -> bool {
        self.is_publisher() || self.is_subscriber() || matches!(self, SocketType::Rep | SocketType::Router)
    }

    /// The name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            SocketType::Pair => "PAIR",
            SocketType::Pub => "PUB",
            SocketType::Sub => "SUB",
            SocketType::Req => "REQ",
            SocketType::Rep => "REP",
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
            SocketType::Pull => "PULL",
            SocketType::Push => "PUSH",
            SocketType::XPub => "XPUB",
            SocketType::XSub => "XSUB",
        }
    }

    /// The type with this name on the wire. Names are compared as they are, in capitals.
    pub(crate) fn from_bytes(name: &[u8]) -> Result<SocketType, ProtocolError> {
        SocketType::ALL
            .into_iter()
            .find(|socket_type| socket_type.name().as_bytes() == name)
            .ok_or_else(|| ProtocolError::UnknownSocketType {
                name: printable(name),
            })
    }

    /// Whether peers are told the identity of a socket of this type: those that a router or its kin can be behind.
    pub(crate) const fn has_identity(self) -> bool {
        matches!(self, SocketType::Req | SocketType::Dealer | SocketType::Router)
    }

    const ALL: [SocketType; 11] = [
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
}

impl fmt::Display for SocketType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for SocketType {
    type Err = ProtocolError;

    fn from_str(name: &str) -> Result<SocketType, ProtocolError> {
        SocketType::from_bytes(name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::SocketType::{self, *};
    use super::*;

    #[test]
    fn each_type_accepts_the_peers_that_rfc_23_lists_and_no_others() {
        for (socket_type, peers) in [
            (Pair, &[Pair][..]),
            (Pub, &[Sub, XSub]),
            (Sub, &[Pub, XPub]),
            (Req, &[Rep, Router]),
            (Rep, &[Req, Dealer]),
            (Dealer, &[Rep, Dealer, Router]),
            (Router, &[Req, Dealer, Router]),
            (Pull, &[Push]),
            (Push, &[Pull]),
            (XPub, &[Sub, XSub]),
            (XSub, &[Pub, XPub]),
        ] {
            for peer in SocketType::ALL {
                assert_eq!(
                    socket_type.accepts(peer),
                    peers.contains(&peer),
                    "{socket_type} and {peer}"
                );
                assert_eq!(
                    socket_type.accepts(peer),
                    peer.accepts(socket_type),
                    "{socket_type} and {peer}"
                );
            }
        }
    }

    #[test]
    fn a_name_is_read_back_as_its_type() {
        for socket_type in SocketType::ALL {
            assert_eq!(socket_type.to_string().parse(), Ok(socket_type));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "pub", "PUB ", "CLIENT", "PUB\0"] {
            let name_shown = printable(name.as_bytes());
            assert_eq!(
                name.parse::<SocketType>(),
                Err(ProtocolError::UnknownSocketType { name: name_shown })
            );
        }
    }

    #[test]
    fn only_the_ends_of_one_way_patterns_lack_a_direction() {
        for socket_type in SocketType::ALL {
            assert_eq!(
                socket_type.sends(),
                ![Sub, Pull].contains(&socket_type),
                "{socket_type}"
            );
            assert_eq!(
                socket_type.receives(),
                ![Pub, Push].contains(&socket_type),
                "{socket_type}"
            );
        }
    }
}
