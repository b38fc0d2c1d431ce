//! Who waits for room with a selector hears of it, whatever sends: the counterpart of what receives in `selecting`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Message, PairSocket, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket,
    RouterSocket, Selector, SendToError, SlowSubscriber, SubSocket, TryRecvError, TrySendError, XPubSocket,
};

use crate::support::{DEADLINE, TEST_DEADLINE, Transport, send, wait_until, with_deadline};

/// Sockets of each kind over each transport.
const COPIES: usize = 2;
const LANES: usize = KINDS * 3 * COPIES;
/// Messages for each of them.
const EACH: u32 = 200;

/// What sends, and whoever receives from it.
struct Lane {
    try_send: TrySend,
    takers: Vec<Taker>,
}

/// Sends a number, and says whether there was room for it.
type TrySend = Box<dyn FnMut(u32) -> bool + Send>;

/// Takes a number that has come.
type Taker = Box<dyn FnMut() -> Option<u32> + Send>;

/// Two threads send all that there is room for and wait for more; two others take from whomever they please, and now and then
/// they wait until there is no room anywhere. Most queues hold one message, so one lost wake-up would be the end of it.
#[test]
fn no_room_is_overlooked_among_sockets_of_all_types() {
    with_deadline(|| {
        let context = Context::new();
        let mut senders = [(); COPIES].map(|()| (Selector::new(), Vec::new()));
        let mut takers = [(); 2].map(|()| Vec::new());
        for number in 0..LANES {
            let transport = [Transport::Inproc, Transport::Ipc, Transport::Tcp][number / KINDS % 3];
            let (selector, lanes) = &mut senders[number / KINDS / 3];
            let lane = lane(&context, number % KINDS, transport, lanes.len(), selector);
            for taker in lane.takers {
                takers[number % 2].push((taker, None));
            }
            lanes.push(Source {
                try_send: lane.try_send,
                sent: 0,
                waits: 0,
            });
        }
        // Whether the senders have nothing to do.
        let idle: Arc<[AtomicBool; COPIES]> = Arc::default();
        let taken = Arc::new(AtomicU32::new(0));
        let takers = takers.map(|takers| {
            let (idle, taken) = (idle.clone(), taken.clone());
            thread::spawn(move || take_at_random(takers, &*idle, &taken))
        });
        let mut index = 0;
        let senders = senders.map(|(selector, lanes)| {
            let (idle, index) = (idle.clone(), std::mem::replace(&mut index, 1));
            thread::spawn(move || send_what_there_is_room_for(selector, lanes, &idle[index]))
        });
        // What sent stays until all is taken: to close would be another test.
        let sources = senders.map(|sender| sender.join().unwrap());
        for taker in takers {
            taker.join().unwrap();
        }
        for (lane, source) in sources.iter().flatten().enumerate() {
            assert!(source.waits > 0, "lane {lane} has always had room");
        }
        assert_eq!(taken.load(Ordering::Relaxed), LANES as u32 * EACH);
    });
}

/// Room that comes at the very moment when a sender has found none and is about to wait: who takes does nothing else, so that
/// it happens often.
#[test]
fn room_that_comes_while_it_is_asked_for_is_not_overlooked() {
    const MESSAGES: u32 = 50_000;
    // Where both threads have to share a processor with others, so many take too long.
    const TIME: Duration = Duration::from_secs(1);
    with_deadline(|| {
        for kind in 0..KINDS {
            let context = Context::new();
            let mut selector = Selector::new();
            let lane = lane(&context, kind, Transport::Inproc, kind, &mut selector);
            let (mut try_send, mut takers) = (lane.try_send, lane.takers);
            let start = Instant::now();
            let goal = Arc::new(AtomicU32::new(u32::MAX));
            let taker = thread::spawn({
                let goal = goal.clone();
                move || {
                    let mut taken = 0;
                    while taken < goal.load(Ordering::Relaxed) && start.elapsed() < TEST_DEADLINE {
                        for take in &mut takers {
                            taken += u32::from(take().is_some());
                        }
                    }
                    taken
                }
            });
            let mut sent = 0;
            while sent < MESSAGES && start.elapsed() < TIME {
                if try_send(sent) {
                    sent += 1;
                } else {
                    let ready = selector.wait_timeout(DEADLINE).unwrap();
                    assert!(!ready.is_empty(), "kind {kind} had no room again after {sent}");
                }
            }
            goal.store(sent, Ordering::Relaxed);
            assert_eq!(taker.join().unwrap(), sent);
        }
    });
}

/// What has still to send.
struct Source {
    try_send: TrySend,
    sent: u32,
    /// How many times there was no room.
    waits: u32,
}

fn send_what_there_is_room_for(
    mut selector: Selector<(usize, Side)>,
    mut sources: Vec<Source>,
    idle: &AtomicBool,
) -> Vec<Source> {
    let mut random = Random(7);
    while !selector.is_empty() {
        idle.store(true, Ordering::Relaxed);
        let ready = selector.wait_timeout(DEADLINE).unwrap();
        idle.store(false, Ordering::Relaxed);
        if ready.is_empty() {
            let left: Vec<_> = sources.iter().map(|source| EACH - source.sent).collect();
            panic!("nothing has room, with so many messages left: {left:?}");
        }
        for selected in ready {
            let lane = selected.key.0;
            let source = &mut sources[lane];
            while source.sent < EACH {
                if !(source.try_send)(source.sent) {
                    source.waits += 1;
                    break;
                }
                source.sent += 1;
                // Who leaves room is told of it again.
                if random.next() % 4 == 0 {
                    break;
                }
            }
            if source.sent == EACH {
                selector.remove(&(lane, Side::Send));
                selector.remove(&(lane, Side::Receive));
            }
        }
    }
    idle.store(true, Ordering::Relaxed);
    sources
}

fn take_at_random(mut takers: Vec<(Taker, Option<u32>)>, idle: &[AtomicBool], taken: &AtomicU32) {
    let mut random = Random(11);
    let end = Instant::now() + TEST_DEADLINE;
    while taken.load(Ordering::Relaxed) < LANES as u32 * EACH {
        assert!(Instant::now() < end, "not all is there in time");
        if random.next() % 256 == 0 {
            wait_until("the senders wait", || {
                idle.iter().all(|idle| idle.load(Ordering::Relaxed))
            });
        }
        let index = random.next() as usize % takers.len();
        let (take, last) = &mut takers[index];
        for _ in 0..=random.next() % 8 {
            let Some(number) = take() else { break };
            assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
            *last = Some(number);
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a selector waits for on behalf of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Send,
    Receive,
}

const KINDS: usize = 9;

/// A socket of some kind that has room for one message, and for what the kernel takes.
fn lane(
    context: &Context,
    kind: usize,
    transport: Transport,
    key: usize,
    selector: &mut Selector<(usize, Side)>,
) -> Lane {
    const KERNEL_BYTES: usize = 64 * 1024;
    let key = (key, Side::Send);
    let bytes = if transport.is_inproc() { 4 } else { 20_000 };
    let body = move |number: u32| {
        let mut body = vec![0; bytes];
        body[..4].copy_from_slice(&number.to_be_bytes());
        Message::from(body)
    };
    macro_rules! source {
        ($source:ident) => {
            $source::builder(context)
                .send_hwm(1)
                .send_buffer(KERNEL_BYTES)
        };
    }
    macro_rules! sink {
        ($sink:ident) => {
            $sink::builder(context)
                .receive_hwm(1)
                .receive_buffer(KERNEL_BYTES)
                .build()
                .unwrap()
        };
    }
    // The first binds, the second connects.
    macro_rules! join {
        ($first:ident, $second:ident) => {
            $second
                .connect($first.bind(transport.wildcard()).unwrap())
                .unwrap()
        };
    }
    macro_rules! lane {
        ($source:ident, $($sink:ident)*) => {{
            selector.send(key, &mut $source).unwrap();
            Lane {
                try_send: Box::new(move |number| has_room($source.try_send(body(number)))),
                takers: vec![$(Box::new(move || number($sink.try_recv()))),*],
            }
        }};
    }
    match kind {
        0 => {
            let (mut push, mut first, mut second) = (
                source!(PushSocket).build().unwrap(),
                sink!(PullSocket),
                sink!(PullSocket),
            );
            join!(first, push);
            join!(second, push);
            lane!(push, first second)
        }
        1 => {
            let (mut pair, mut other) = (source!(PairSocket).build().unwrap(), sink!(PairSocket));
            join!(pair, other);
            lane!(pair, other)
        }
        2 => {
            let (mut dealer, mut other) = (source!(DealerSocket).build().unwrap(), sink!(DealerSocket));
            join!(dealer, other);
            lane!(dealer, other)
        }
        3 => {
            let (mut dealer, mut router) = (source!(DealerSocket).build().unwrap(), sink!(RouterSocket));
            join!(router, dealer);
            // What is split keeps what it needs of the other part.
            let (mut sender, receiver) = dealer.into_split();
            selector.send(key, &mut sender).unwrap();
            Lane {
                try_send: Box::new(move |number| {
                    let _ = &receiver;
                    has_room(sender.try_send(body(number)))
                }),
                takers: vec![Box::new(move || {
                    number(router.try_recv_from().map(|(_, message)| message))
                })],
            }
        }
        4 => {
            let push = source!(PushSocket).build().unwrap();
            let (mut push, mut pull) = (push, sink!(PullSocket));
            join!(pull, push);
            let mut shared = push.into_shared();
            lane!(shared, pull)
        }
        5 | 6 => {
            let mut subscriber = sink!(SubSocket);
            subscriber.subscribe("").unwrap();
            let slow = SlowSubscriber::Block(DEADLINE);
            macro_rules! publishing {
                ($socket:ident) => {{
                    let mut publisher = source!($socket).slow_subscriber(slow).build().unwrap();
                    join!(publisher, subscriber);
                    publisher.wait_for_subscribers(1, DEADLINE).unwrap();
                    selector.send(key, &mut publisher).unwrap();
                    Lane {
                        try_send: Box::new(move |number| {
                            has_room(
                                publisher
                                    .try_send(body(number))
                                    .map(|published| assert_eq!(published.queued, 1)),
                            )
                        }),
                        takers: vec![Box::new(move || number(subscriber.try_recv()))],
                    }
                }};
            }
            match kind {
                5 => publishing!(PubSocket),
                _ => publishing!(XPubSocket),
            }
        }
        7 => {
            let (mut router, mut dealer) = (source!(RouterSocket).build().unwrap(), sink!(DealerSocket));
            join!(router, dealer);
            send(&mut dealer, "hello");
            let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
            selector.send(key, &mut router).unwrap();
            Lane {
                try_send: Box::new(move |number| match router.try_send_to(&peer, body(number)) {
                    Ok(()) => true,
                    Err(SendToError::Full(_)) => false,
                    Err(error) => panic!("{error}"),
                }),
                takers: vec![Box::new(move || number(dealer.try_recv()))],
            }
        }
        _ => {
            let (mut req, mut rep) = (source!(ReqSocket).build().unwrap(), sink!(RepSocket));
            join!(rep, req);
            selector.send(key, &mut req).unwrap();
            selector.receive((key.0, Side::Receive), &mut req).unwrap();
            Lane {
                // There is room for a request when the reply to the last one was taken.
                try_send: Box::new(move |next| {
                    if req.is_waiting() {
                        match number(req.try_recv()) {
                            Some(reply) => assert_eq!(reply, next - 1),
                            None => return false,
                        }
                    }
                    has_room(req.try_send(body(next)))
                }),
                takers: vec![Box::new(move || {
                    let request = number(rep.try_recv())?;
                    rep.try_send(body(request)).expect("room for a reply");
                    Some(request)
                })],
            }
        }
    }
}

#[track_caller]
fn has_room(sent: Result<(), TrySendError>) -> bool {
    match sent {
        Ok(()) => true,
        // A peer may not be there yet.
        Err(TrySendError::Full(_) | TrySendError::NoPeer(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn number(received: Result<Message, TryRecvError>) -> Option<u32> {
    match received {
        Ok(message) => Some(u32::from_be_bytes(*message.as_bytes().first_chunk().unwrap())),
        Err(TryRecvError::Empty) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Xorshift: the same numbers in each run, for threads that never run the same way twice.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}
