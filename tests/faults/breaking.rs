//! Connections that break, stall, or come byte by byte, at every byte of a conversation: greeting, handshake, subscriptions,
//! messages of one and of several parts, signs of life.
//!
//! Two sockets talk through a relay, which knows every byte that went through. What was whole on the way has to arrive, and
//! nothing else: no half of a message, no message twice, and none out of order on its connection, over hundreds of connections
//! in a row.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Builder, Context, Message, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, Socket, Stats,
    SubSocket, TryRecvError, TrySendError,
};

use crate::on_every_wire;
use crate::process::checked;
use crate::relay::{Link, Plan, Relay, Way, whole_messages};
use crate::support::{DEADLINE, Transport, pattern, wait_until};

on_every_wire! {
    /// PUSH and PULL over connections that are cut.
    fn a_pipeline_survives_a_cut_at_every_byte(transport) {
        break_everywhere::<Pipeline>(transport, Plan::Cut);
    }

    /// Publisher and subscriber over connections that are cut.
    fn a_subscription_survives_a_cut_at_every_byte(transport) {
        break_everywhere::<Subscription>(transport, Plan::Cut);
    }

    /// REQ and REP over connections that are cut.
    fn requests_survive_a_cut_at_every_byte(transport) {
        break_everywhere::<Requests>(transport, Plan::Cut);
    }

    /// PUSH and PULL over connections that are reset.
    fn a_pipeline_survives_a_reset_at_every_byte(transport) {
        break_everywhere::<Pipeline>(transport, Plan::Reset);
    }

    /// PUSH and PULL over connections that stall.
    fn a_pipeline_survives_a_stall_at_every_byte(transport) {
        break_everywhere::<Pipeline>(transport, Plan::Stall);
    }

    /// Publisher and subscriber over connections that stall.
    fn a_subscription_survives_a_stall_at_every_byte(transport) {
        break_everywhere::<Subscription>(transport, Plan::Stall);
    }

    /// REQ and REP over connections that stall.
    fn requests_survive_a_stall_at_every_byte(transport) {
        break_everywhere::<Requests>(transport, Plan::Stall);
    }

    /// All of them over a connection on which each byte comes in a read of its own.
    fn conversations_survive_being_taken_apart_into_bytes(transport) {
        take_apart::<Pipeline>(transport);
        take_apart::<Subscription>(transport);
        take_apart::<Requests>(transport);
    }
}

/// Two sockets, of which one has dialed. What they send each other is numbered.
trait Talk: Sized {
    /// They ask for a sign of life when nothing has come for so long.
    fn new(interval: Duration) -> Self;
    /// The listener is at this endpoint.
    fn bind(&mut self, transport: Transport) -> String;
    fn connect(&mut self, relay: &str);
    /// Sends the next message, if it can be sent now. Returns whether it was.
    fn speak(&mut self) -> bool;
    /// Takes what comes, and waits for a moment if nothing does.
    fn listen(&mut self);
    /// Whether all that was said has been heard, as far as it was to be.
    fn is_quiet(&self) -> bool;
    /// What was received that came this way.
    fn heard(&self, way: Way) -> &[u32];
    /// The way on which everything that was whole is received: an answer may come too late, and a question from who has
    /// gone need not be asked.
    const CERTAIN: Option<Way>;
    fn stats(&mut self) -> [Stats; 2];
}

/// Plays a conversation as it should be and then once for each of its bytes, either way, on a connection of its own where
/// something happens at this byte.
fn break_everywhere<T: Talk>(transport: Transport, what: fn(Way, usize) -> Plan) {
    /// Who talks is mostly waiting, the longer the more other processes there are.
    const SIDE_BY_SIDE: usize = 4;
    let plans = plans::<T>(transport, what);
    thread::scope(|scope| {
        for plans in plans.chunks(plans.len().div_ceil(SIDE_BY_SIDE)) {
            scope.spawn(|| break_in_turn::<T>(transport, plans));
        }
    });
}

/// The same for some of the bytes, with the same two sockets.
fn break_in_turn<T: Talk>(transport: Transport, plans: &[Plan]) {
    let mut talk = T::new(EAGER);
    let target = talk.bind(transport);
    let relay = Relay::start(transport, &target, plans.to_vec());
    talk.connect(relay.endpoint());
    for (index, plan) in plans.iter().enumerate() {
        let link = relay.link(index);
        if let Plan::Stall(way, at) = *plan {
            hold(&mut talk, &link, way, at);
            say_and_hear(&mut talk);
            link.cut();
            continue;
        }
        converse_until_over(&mut talk, &link);
        if index % 50 == 0 {
            check_stats(&mut talk);
        }
    }
    // And now it works as if nothing had been.
    let last = relay.link(plans.len());
    converse(&mut talk, &last);
    // Before there is one more, which nobody cuts.
    let links = relay.links();
    last.cut();
    wait_until("everything has arrived", || {
        talk.listen();
        links.iter().all(|link| link.is_dry()) && arrived(&talk, &links, plans[0])
    });
    check_stats(&mut talk);
}

/// The same on one connection of which every byte comes alone.
fn take_apart<T: Talk>(transport: Transport) {
    /// A PING must not take longer on its way than until the next one.
    const PATIENT: Duration = Duration::from_millis(500);
    let mut talk = T::new(PATIENT);
    let target = talk.bind(transport);
    let relay = Relay::start(transport, &target, vec![Plan::Split]);
    talk.connect(relay.endpoint());
    let link = relay.link(0);
    converse(&mut talk, &link);
    assert!(!link.is_over());
    assert_eq!(relay.links().len(), 1);
    link.cut();
    wait_until("everything has arrived", || {
        talk.listen();
        link.is_dry() && arrived(&talk, &relay.links(), Plan::Split)
    });
    check_stats(&mut talk);
}

/// One plan for each byte of a conversation that nothing happens to, in each direction.
fn plans<T: Talk>(transport: Transport, what: fn(Way, usize) -> Plan) -> Vec<Plan> {
    let mut talk = T::new(EAGER);
    let target = talk.bind(transport);
    let relay = Relay::start(transport, &target, Vec::new());
    talk.connect(relay.endpoint());
    let link = relay.link(0);
    converse(&mut talk, &link);
    let up = (0..=link.forwarded(Way::Up).len()).map(|at| what(Way::Up, at));
    let down = (0..=link.forwarded(Way::Down).len()).map(|at| what(Way::Down, at));
    up.chain(down).collect()
}

/// Sends a message, and waits until all that was sent has arrived.
fn say_and_hear<T: Talk>(talk: &mut T) {
    let mut speech = Speech::of(1);
    wait_until("all that was said is heard", || speech.goes_on(talk));
}

/// Messages that are to arrive.
struct Speech {
    left: usize,
    spoken: Instant,
}

impl Speech {
    fn of(messages: usize) -> Speech {
        let spoken = Instant::now();
        Speech {
            left: messages,
            spoken,
        }
    }

    /// Moves it on. Returns whether all was said and heard.
    fn goes_on(&mut self, talk: &mut impl Talk) -> bool {
        /// What was said on the connection before, when nobody knew yet that it was cut, is lost, and said again.
        const AGAIN: Duration = Duration::from_millis(200);
        let is_lost = !talk.is_quiet() && self.spoken.elapsed() > AGAIN;
        if (self.left > 0 || is_lost) && talk.speak() {
            self.left = self.left.saturating_sub(1);
            self.spoken = Instant::now();
        }
        talk.listen();
        self.left == 0 && talk.is_quiet()
    }
}

/// Sends some messages, which arrive, and waits for signs of life in both directions.
fn converse<T: Talk>(talk: &mut T, link: &Link) {
    let mut speech = Speech::of(MESSAGES);
    wait_until("a conversation", || {
        let all_said = speech.goes_on(talk);
        let alive = |way| {
            let bytes = link.forwarded(way);
            [&b"\x04PING"[..], b"\x04PONG"]
                .iter()
                .all(|word| bytes.windows(5).any(|five| five == *word))
        };
        all_said && alive(Way::Up) && alive(Way::Down)
    });
}

/// The same on a connection that breaks in the middle of it. What is quiet goes on with signs of life until it does.
fn converse_until_over<T: Talk>(talk: &mut T, link: &Link) {
    let mut left = MESSAGES;
    wait_until("the connection breaks", || {
        if left > 0 && talk.speak() {
            left -= 1;
        }
        talk.listen();
        link.is_over()
    });
}

/// Talks up to where the connection stalls, and until all that came through has arrived; of what has not come through,
/// nothing does.
fn hold<T: Talk>(talk: &mut T, link: &Link, way: Way, at: usize) {
    let before = talk.heard(way).len();
    let mut left = MESSAGES;
    wait_until(&format!("the connection stalls {way:?} at byte {at}"), || {
        if left > 0 && talk.speak() {
            left -= 1;
        }
        talk.listen();
        link.is_stalled()
    });
    let forwarded = link.forwarded(way);
    assert_eq!(forwarded.len(), at);
    let whole = whole_messages(&forwarded).len();
    wait_until(
        &format!("what came through {way:?} up to byte {at} has arrived"),
        || {
            talk.listen();
            talk.heard(way).len() - before >= whole
        },
    );
    assert_eq!(talk.heard(way).len() - before, whole);
    link.release();
}

fn check_stats(talk: &mut impl Talk) {
    for stats in talk.stats() {
        checked(stats);
    }
}

/// Whether what was received is what went through the relay, and fails if it can no longer be.
fn arrived<T: Talk>(talk: &T, links: &[Arc<Link>], plan: Plan) -> bool {
    [Way::Up, Way::Down].into_iter().all(|way| {
        let heard = talk.heard(way);
        let mut places = HashMap::new();
        for (place, number) in heard.iter().enumerate() {
            assert_eq!(places.insert(number, place), None, "{way:?}, {number} came twice");
        }
        let mut through = Vec::new();
        for link in links {
            let whole: Vec<u32> = whole_messages(&link.forwarded(way))
                .iter()
                .map(|parts| number_of(parts))
                .collect();
            // Where two connections meet, what came last on the one may be overtaken by the first of the other.
            let order: Vec<&usize> = whole.iter().filter_map(|number| places.get(number)).collect();
            assert!(
                order.is_sorted(),
                "{way:?}, {whole:?} came in this order: {order:?}"
            );
            through.extend(whole);
        }
        assert!(
            through.is_sorted_by(|one, next| one < next),
            "nothing is sent twice: {through:?}"
        );
        let stranger = heard.iter().find(|number| through.binary_search(number).is_err());
        assert_eq!(stranger, None, "{way:?}, nothing comes out of nowhere");
        let certain = T::CERTAIN == Some(way) && !matches!(plan, Plan::Reset(..));
        !certain || heard.len() == through.len()
    })
}

/// What a conversation has, beside signs of life.
const MESSAGES: usize = 4;

/// The message of a number: of one part, of several, with a long header, with empty parts.
fn words(number: u32) -> Vec<Vec<u8>> {
    let first = [TOPIC, &number.to_be_bytes()].concat();
    let seed = number as u8;
    match number % 4 {
        0 => vec![first],
        1 => vec![first, Vec::new(), pattern(20, seed)],
        2 => vec![first, pattern(260, seed)],
        _ => vec![first, pattern(3, seed), Vec::new()],
    }
}

fn message(number: u32) -> Message {
    Message::from_parts(words(number))
}

/// The number of a message, which has to be whole. There may be an envelope around it.
#[track_caller]
fn number_of(parts: &[impl AsRef<[u8]>]) -> u32 {
    let envelope = usize::from(parts[0].as_ref().is_empty());
    let parts: Vec<&[u8]> = parts[envelope..].iter().map(AsRef::as_ref).collect();
    let number = parts[0]
        .strip_prefix(TOPIC)
        .expect("a message begins with the topic");
    let number = u32::from_be_bytes(number.try_into().expect("a number"));
    assert!(parts == words(number), "message {number} is whole: {parts:?}");
    number
}

fn hear(message: &Message) -> u32 {
    number_of(&message.parts().collect::<Vec<_>>())
}

const TOPIC: &[u8] = b"a topic ";

/// Tries again soon.
fn eager<S: Socket>(builder: Builder<S>, interval: Duration) -> S {
    let builder = builder
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(4));
    builder
        .heartbeat(interval)
        .heartbeat_timeout(DEADLINE)
        .build()
        .unwrap()
}

/// Asks for a sign of life as soon as it is quiet.
const EAGER: Duration = Duration::from_millis(4);
/// How long to wait for what may not come.
const MOMENT: Duration = Duration::from_micros(500);

struct Pipeline {
    push: PushSocket,
    pull: PullSocket,
    next: u32,
    heard: Vec<u32>,
}

impl Talk for Pipeline {
    fn new(interval: Duration) -> Pipeline {
        Pipeline {
            push: eager(PushSocket::builder(&Context::new()), interval),
            pull: eager(PullSocket::builder(&Context::new()), interval),
            next: 0,
            heard: Vec::new(),
        }
    }

    fn bind(&mut self, transport: Transport) -> String {
        self.pull.bind(transport.wildcard()).unwrap().to_string()
    }

    fn connect(&mut self, relay: &str) {
        self.push.connect(relay).unwrap();
    }

    fn speak(&mut self) -> bool {
        // Those of connections that did not come about are not to pile up.
        let idle = self.push.stats().sent.waiting == 0;
        if idle {
            self.push.try_send(message(self.next)).unwrap();
            self.next += 1;
        }
        idle
    }

    fn listen(&mut self) {
        while let Ok(message) = self.pull.recv_timeout(MOMENT) {
            self.heard.push(hear(&message));
        }
    }

    fn is_quiet(&self) -> bool {
        // It may have overtaken one that came on an earlier connection.
        let last = self.heard.iter().rev().take(MESSAGES);
        self.next == 0 || last.into_iter().any(|number| *number == self.next - 1)
    }

    fn heard(&self, way: Way) -> &[u32] {
        match way {
            Way::Up => &self.heard,
            Way::Down => &[],
        }
    }

    const CERTAIN: Option<Way> = Some(Way::Up);

    fn stats(&mut self) -> [Stats; 2] {
        [self.push.stats(), self.pull.stats()]
    }
}

struct Subscription {
    publisher: PubSocket,
    subscriber: SubSocket,
    next: u32,
    /// The last one that was for the subscriber.
    queued: Option<u32>,
    heard: Vec<u32>,
}

impl Talk for Subscription {
    fn new(interval: Duration) -> Subscription {
        let mut subscriber = eager(SubSocket::builder(&Context::new()), interval);
        for topic in [TOPIC, b"another topic"] {
            subscriber.subscribe(topic).unwrap();
        }
        Subscription {
            publisher: eager(PubSocket::builder(&Context::new()), interval),
            subscriber,
            next: 0,
            queued: None,
            heard: Vec::new(),
        }
    }

    fn bind(&mut self, transport: Transport) -> String {
        self.publisher.bind(transport.wildcard()).unwrap().to_string()
    }

    fn connect(&mut self, relay: &str) {
        self.subscriber.connect(relay).unwrap();
    }

    fn speak(&mut self) -> bool {
        self.publisher.send("a message that nobody wants").unwrap();
        let published = self.publisher.send(message(self.next)).unwrap();
        if published.queued > 0 {
            self.queued = Some(self.next);
        }
        self.next += 1;
        published.queued > 0
    }

    fn listen(&mut self) {
        while let Ok(message) = self.subscriber.recv_timeout(MOMENT) {
            self.heard.push(hear(&message));
        }
    }

    fn is_quiet(&self) -> bool {
        // It may have overtaken one that came on an earlier connection.
        let last = self.heard.iter().rev().take(MESSAGES);
        self.queued
            .is_none_or(|queued| last.into_iter().any(|number| *number == queued))
    }

    fn heard(&self, way: Way) -> &[u32] {
        match way {
            Way::Up => &[],
            Way::Down => &self.heard,
        }
    }

    const CERTAIN: Option<Way> = Some(Way::Down);

    fn stats(&mut self) -> [Stats; 2] {
        [self.publisher.stats(), self.subscriber.stats()]
    }
}

struct Requests {
    req: ReqSocket,
    rep: RepSocket,
    next: u32,
    asked: Vec<u32>,
    answered: Vec<u32>,
}

impl Talk for Requests {
    fn new(interval: Duration) -> Requests {
        Requests {
            req: eager(ReqSocket::builder(&Context::new()), interval),
            rep: eager(RepSocket::builder(&Context::new()), interval),
            next: 0,
            asked: Vec::new(),
            answered: Vec::new(),
        }
    }

    fn bind(&mut self, transport: Transport) -> String {
        self.rep.bind(transport.wildcard()).unwrap().to_string()
    }

    fn connect(&mut self, relay: &str) {
        self.req.connect(relay).unwrap();
    }

    fn speak(&mut self) -> bool {
        if self.req.is_waiting() {
            return false;
        }
        match self.req.try_send(message(self.next)) {
            Ok(()) => {
                self.next += 1;
                true
            }
            Err(TrySendError::Full(_) | TrySendError::NoPeer(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn listen(&mut self) {
        if let Ok(request) = self.rep.recv_timeout(MOMENT) {
            self.asked.push(hear(&request));
            match self.rep.try_send(request) {
                Ok(()) | Err(TrySendError::PeerLost(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        if self.req.is_waiting() {
            match self.req.try_recv() {
                Ok(reply) => {
                    let number = hear(&reply);
                    assert_eq!(number, self.next - 1, "the answer to this question");
                    self.answered.push(number);
                }
                Err(TryRecvError::Empty | TryRecvError::PeerLost) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn is_quiet(&self) -> bool {
        !self.req.is_waiting()
    }

    fn heard(&self, way: Way) -> &[u32] {
        match way {
            Way::Up => &self.asked,
            Way::Down => &self.answered,
        }
    }

    const CERTAIN: Option<Way> = None;

    fn stats(&mut self) -> [Stats; 2] {
        [self.req.stats(), self.rep.stats()]
    }
}
