//! The pipes under random use, against oracles that are too simple to be wrong, and under threads that do their worst.
//!
//! Every test prints its seed; `ZEROWIRE_SEED=<number>` repeats one.
#![allow(clippy::unwrap_used, clippy::collapsible_match, clippy::print_stdout)]

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::chain::{Block, Consumer, chain};
use super::inbound::{self, Reader, Settled, Writer};
use super::inbox::{Inbox, Ready};
use super::outbound::{self, Drained, Sender};
use super::quota::Quota;
use super::recycle::{Pool, Sizes, Spares};
use super::sync::{Mutex, Ordering, lock};
use super::{INBOUND_SIZES, PipeId, WriteSide};
use crate::wire::frame::{COMMAND, Header, encode_command_header, encode_header};

/// So small that messages of a few bytes span segments.
const TINY: Sizes = Sizes {
    first: 16,
    small: 48,
    block: 256,
};
const PIPE: PipeId = 3;

/// Every step of the sender and of the I/O side in one thread, over connections that take what they like and break.
#[test]
fn outbound_writes_what_was_sent_in_any_order_of_events() {
    let mut random = Random::seeded();
    for round in 0..60 {
        let sizes = if round % 2 == 0 { TINY } else { super::BYTE_SIZES };
        outbound_round(&mut random, sizes, 400);
    }
}

fn outbound_round(random: &mut Random, sizes: Sizes, steps: usize) {
    let bodies = Bodies::default();
    let told = Arc::new(Told::default());
    let quota = Arc::new(Quota::new(random.ceiling(sizes)));
    let mut spares = Spares::new(Pool::charging(sizes, quota.clone(), |_| 0));
    let hwm = 1 + random.below(12) as u64;
    let (mut sender, mut drainer) = outbound::pipe(PIPE, hwm, spares.pool(), told.clone(), told.clone());
    let mut oracle = Oracle::default();
    let mut connection: Option<Arc<Wire>> = None;
    // What the loop of the I/O thread remembers.
    let mut work = false;
    let mut step = 0;
    loop {
        step += 1;
        let winding_up = step > steps;
        work |= told.take();
        match random.below(12) {
            0..=4 if !winding_up => {
                if sender.has_room() || sender.wait_for_room() {
                    let message = random.message(sizes.small * 3);
                    oracle.sent.push_back(message.clone());
                    send(&mut sender, &message, &bodies, random, &mut spares);
                }
            }
            5 if connection.is_some() && !winding_up => {
                match random.below(2) {
                    0 => drainer.owe(&oracle.command()),
                    _ => drainer.owe_aside(&oracle.aside()),
                }
                work = true;
            }
            6 if connection.is_some() && random.below(4) == 0 && !winding_up => {
                assert!(drainer.disconnect(), "nobody else holds the token");
                oracle.look(connection.take(), true);
            }
            7 if connection.is_none() => {
                let wire = Arc::new(Wire::new(Random(random.next())));
                drainer.connect(wire.clone());
                connection = Some(wire);
                work = true;
            }
            8.. if work && connection.is_some() => {
                work = match drainer.drain(1 + random.below(3 * sizes.small)) {
                    Drained::Dry => drainer.owes() > 0,
                    Drained::Elsewhere => panic!("nobody else holds the token"),
                    Drained::Blocked | Drained::Unfinished => true,
                    Drained::Broken(_) => {
                        assert!(drainer.disconnect());
                        oracle.look(connection.take(), true);
                        true
                    }
                };
            }
            _ => {}
        }
        oracle.look(connection.clone(), false);
        let (accepted, finished) = sender.counts();
        assert_eq!(finished, oracle.finished, "finished is what the kernel took");
        assert_eq!(accepted, oracle.finished + oracle.sent.len() as u64);
        assert!(accepted - finished <= hwm, "the high-water mark is exact");
        if winding_up && accepted == finished {
            break;
        }
        assert!(
            step < steps + 100_000,
            "{} messages are stuck",
            accepted - finished
        );
    }
    assert_eq!(bodies.alive(), 0, "a finished message keeps no memory");
    // Leave something behind, published and not, and drop both sides in any order.
    if random.below(2) == 0 {
        let message = random.message(sizes.small * 3);
        send(&mut sender, &message, &bodies, random, &mut spares);
        sender.frame_by_reference(&[1, 1], bodies.make(&[7]));
    }
    if random.below(2) == 0 {
        drop(sender);
        drop(drainer);
    } else {
        drop(drainer);
        drop(sender);
    }
    assert_eq!(bodies.alive(), 0, "a pipe that is gone keeps no memory");
    assert_eq!(quota.queued(), 0, "nor is it charged for any");
}

/// A sender that sleeps at its high-water mark, an I/O thread that sleeps when there is nothing to do, direct writes, short
/// writes, connections that break: all is sent, in order, and nobody oversleeps.
#[test]
fn outbound_threads_lose_no_message_and_no_wake_up() {
    let mut random = Random::seeded();
    let end = Instant::now() + Duration::from_millis(900);
    while Instant::now() < end {
        outbound_threads(&mut random, 100);
    }
}

fn outbound_threads(random: &mut Random, messages_max: usize) {
    let to_sender = Arc::new(Inbox::<()>::new());
    let to_io = Arc::new(Inbox::<()>::new());
    let quota = Arc::new(Quota::new(random.ceiling(TINY)));
    let mut spares = Spares::new(Pool::charging(TINY, quota.clone(), |_| 0));
    let hwm = 1 + random.below(6) as u64;
    let (mut sender, mut drainer) =
        outbound::pipe(PIPE, hwm, spares.pool(), to_sender.clone(), to_io.clone());
    let messages: VecDeque<_> = (0..1 + random.below(messages_max))
        .map(|_| random.message(40))
        .collect();
    let total = messages.len() as u64;
    let sent = messages.clone();
    let (mut of_sender, mut of_io) = (Random(random.next()), Random(random.next()));
    let bodies = Bodies::default();
    let of_bodies = bodies.clone();
    let at_the_end = to_io.clone();
    let io = thread::spawn(move || {
        let mut oracle = Oracle {
            sent,
            ..Oracle::default()
        };
        let mut connection: Option<Arc<Wire>> = None;
        let mut breaking = false;
        while drainer.finished() < total {
            if breaking {
                // The application may be writing to this very connection.
                if drainer.disconnect() {
                    oracle.look(connection.take(), true);
                    breaking = false;
                } else {
                    wait(&to_io);
                }
                continue;
            }
            if connection.is_none() {
                let wire = Arc::new(Wire::new(Random(of_io.next())));
                drainer.connect(wire.clone());
                connection = Some(wire);
            }
            if of_io.below(8) == 0 {
                drainer.owe(&oracle.command());
            }
            let outcome = drainer.drain(1 + of_io.below(200));
            breaking = matches!(outcome, Drained::Broken(_)) || of_io.below(16) == 0;
            match outcome {
                Drained::Dry if drainer.finished() == total => break,
                Drained::Dry | Drained::Elsewhere if !breaking => wait(&to_io),
                _ => {}
            }
        }
        while !drainer.disconnect() {
            wait(&to_io);
        }
        oracle.look(connection, true);
        assert_eq!((oracle.finished, oracle.sent.len()), (total, 0));
    });
    for message in &messages {
        while !sender.has_room() && !sender.wait_for_room() {
            wait(&to_sender);
        }
        let (accepted, finished) = sender.counts();
        assert!(accepted - finished < hwm, "the high-water mark is exact");
        send(&mut sender, message, &of_bodies, &mut of_sender, &mut spares);
        if of_sender.below(4) == 0 {
            // Time for the pipe to fall idle, so that the next message is written directly.
            pause(of_sender.below(3000));
        }
    }
    if of_sender.below(4) > 0 {
        // Nobody but the pipe has told the I/O side so far, and that has to be enough.
        let end = Instant::now() + DEADLINE;
        while sender.counts().1 < total {
            assert!(Instant::now() < end, "nobody writes the last messages");
            thread::yield_now();
        }
    }
    drop(sender);
    // Of what the application wrote itself the I/O side hears nothing: tell it, so that it looks once more.
    at_the_end.ready(PIPE);
    io.join().unwrap();
    drop(of_bodies);
    assert_eq!((bodies.alive(), quota.queued()), (0, 0));
}

/// Copies, bodies by reference, whole blocks, blocks that are accepted bit by bit, half messages that are taken back: the
/// reader sees whole messages, all of them, and at most as many as the high-water mark allows.
#[test]
fn inbound_threads_lose_no_message_and_no_wake_up() {
    let mut random = Random::seeded();
    let end = Instant::now() + Duration::from_millis(900);
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        let sizes = if round % 4 == 0 { INBOUND_SIZES } else { TINY };
        inbound_threads(&mut random, sizes, 150);
    }
}

fn inbound_threads(random: &mut Random, sizes: Sizes, messages_max: usize) {
    let to_writer = Arc::new(Inbox::<()>::new());
    let to_reader = Arc::new(Inbox::<()>::new());
    let quota = Arc::new(Quota::new(random.ceiling(sizes)));
    let spares = Spares::new(Pool::charging(sizes, quota.clone(), |_| 0));
    let hwm = 1 + random.below(40) as u64;
    let (writer, mut reader) = inbound::pipe::<u8>(
        PIPE,
        hwm,
        spares.pool(),
        to_writer.clone(),
        to_reader.clone() as Arc<dyn Ready>,
    );
    let messages: VecDeque<_> = (0..1 + random.below(messages_max))
        .map(|_| random.message(sizes.small))
        .collect();
    let expected = messages.clone();
    let mut feed = Feed {
        random: Random(random.next()),
        writer,
        spares,
        messages,
        inbox: to_writer,
        pauses: random.below(2) == 0,
    };
    let bodies = Bodies::default();
    let of_bodies = bodies.clone();
    let feeding = thread::spawn(move || feed.run(&of_bodies));
    let mut of_reader = Random(random.next());
    let leaves_after = if random.below(4) == 0 {
        random.below(expected.len())
    } else {
        usize::MAX
    };
    for (index, message) in expected.iter().enumerate() {
        if index == leaves_after {
            break;
        }
        while !reader.chain().refill() {
            match reader.settle() {
                Settled::Ready => {}
                Settled::Quiet => wait(&to_reader),
                Settled::Ended => panic!("message {index} of {} is missing", expected.len()),
            }
        }
        reader.took_message();
        assert_eq!(&take(&mut reader), message, "message {index}");
        if of_reader.below(16) == 0 {
            pause(of_reader.below(3000));
        }
    }
    if leaves_after == usize::MAX {
        while reader.settle() != Settled::Ended {
            wait(&to_reader);
        }
    }
    drop(reader);
    feeding.join().unwrap();
    assert_eq!((bodies.alive(), quota.queued()), (0, 0));
}

/// Puts messages into an inbound pipe in all the ways in which a connection does.
struct Feed {
    random: Random,
    writer: Writer<u8>,
    spares: Spares<u8>,
    messages: VecDeque<Vec<Vec<u8>>>,
    inbox: Arc<Inbox<()>>,
    /// Waits for half of the high-water mark, as a connection does, or for room for one message, as inproc does.
    pauses: bool,
}

impl Feed {
    fn run(&mut self, bodies: &Bodies) {
        while !self.messages.is_empty() && self.room().is_some() {
            match self.random.below(6) {
                0 => self.half_message_and_back(bodies),
                1..=3 => self.block(bodies),
                _ => {
                    let message = self.messages.pop_front().unwrap();
                    self.append_frames(&message, false, bodies);
                    self.writer.publish(1);
                }
            }
        }
    }

    /// A connection that breaks in the middle of a message.
    fn half_message_and_back(&mut self, bodies: &Bodies) {
        let parts = self.messages[0].clone();
        self.append_frames(&parts, true, bodies);
        self.writer.rollback();
    }

    /// Links a block of messages, of which as many are accepted as there is room for, and the others later.
    fn block(&mut self, bodies: &Bodies) {
        let mut begun = self.messages[0].clone();
        // A message may begin before the block.
        let before = self.random.below(begun.len());
        let rest = begun.split_off(before);
        self.append_frames(&begun, true, bodies);
        let mut ends = Vec::new();
        let mut bytes: Vec<u8> = Vec::new();
        for (index, message) in self.messages.iter().enumerate() {
            let parts = if index == 0 { &rest } else { message };
            let frames: Vec<u8> = parts
                .iter()
                .enumerate()
                .flat_map(|(part, body)| frame(body, part + 1 < parts.len()))
                .collect();
            if bytes.len() + frames.len() > self.spares.sizes().block {
                break;
            }
            bytes.extend(frames);
            ends.push(bytes.len());
        }
        if ends.is_empty() {
            self.append_frames(&rest, false, bodies);
            self.writer.publish(1);
            self.messages.pop_front();
            return;
        }
        // The block may end inside the next message.
        let mut half = self.messages.get(ends.len()).cloned().unwrap_or_default();
        let other_half = half.split_off(half.len() / 2);
        let frames: Vec<u8> = half.iter().flat_map(|body| frame(body, true)).collect();
        let has_half = !frames.is_empty() && bytes.len() + frames.len() <= self.spares.sizes().block;
        let whole = bytes.len();
        if has_half {
            bytes.extend(frames);
        }
        let mut block = Block::take(&mut self.spares);
        block.bytes()[..bytes.len()].copy_from_slice(&bytes);
        self.writer.link_block(block);
        let mut kept = 0;
        while kept < ends.len() {
            let Some(room) = self.room() else { return };
            let count = 1 + self.random.below(room.min(ends.len() - kept));
            let start = self.writer.chain().kept();
            assert_eq!(self.writer.chain().block_rest(bytes.len()), &bytes[start..]);
            self.writer.chain().keep(ends[kept + count - 1] - start, false);
            self.writer.publish(count as u32);
            kept += count;
        }
        self.messages.drain(..kept);
        if has_half {
            self.writer.chain().keep(bytes.len() - whole, true);
            if self.random.below(2) == 0 {
                self.writer.rollback();
            } else {
                if self.room().is_none() {
                    return;
                }
                self.append_frames(&other_half, false, bodies);
                self.writer.publish(1);
                self.messages.pop_front();
            }
        }
        if self.random.below(2) == 0 {
            self.writer.chain().leave_block(&mut self.spares);
        }
    }

    /// Waits for room and says how much there is; nothing if the reader has left.
    fn room(&mut self) -> Option<usize> {
        while !self.writer.is_abandoned() {
            // The reader may have made room in between, but takes none away; nor does anybody else charge for anything.
            if self.writer.has_room() {
                let room = self.writer.room();
                assert!(room > 0 && self.writer.has_room());
                return usize::try_from(room).ok();
            }
            let waited_for = if self.pauses {
                self.writer.wait_for_half()
            } else {
                self.writer.wait_for_room()
            };
            if !waited_for {
                wait(&self.inbox);
            }
        }
        None
    }

    fn append_frames(&mut self, parts: &[Vec<u8>], more: bool, bodies: &Bodies) {
        for (index, part) in parts.iter().enumerate() {
            let frame = frame(part, more || index + 1 < parts.len());
            let header = frame.len() - part.len();
            if self.random.below(2) == 0 {
                self.writer
                    .frame_by_reference(&frame[..header], bodies.make(part));
            } else {
                self.writer.frames(&frame, &mut self.spares);
            }
        }
    }
}

/// Both ends of a chain of elements that own memory go at any time, on threads of their own.
#[test]
fn elements_are_dropped_once_whichever_end_goes_first() {
    let mut random = Random::seeded();
    for _ in 0..100 {
        let counted = Arc::new(());
        let mut spares = Spares::new(Pool::new(TINY));
        let (mut producer, mut consumer) = chain(spares.pool());
        let element = counted.clone();
        let (puts, takes) = (random.below(300), random.below(300));
        let writer = thread::spawn(move || {
            for number in 0..puts {
                producer.push_message(Box::new((number, element.clone())), &mut spares);
            }
        });
        let reader = thread::spawn(move || {
            for number in 0..takes.min(puts) {
                let element = loop {
                    match consumer.pop() {
                        Some(element) => break element,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(element.0, number);
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}

/// What was sent, and how much of it has reached the other end: reads the bytes that connections took.
#[derive(Default)]
struct Oracle {
    /// Messages, as their parts, that are not finished.
    sent: VecDeque<Vec<Vec<u8>>>,
    finished: u64,
    /// Parts of the first message that the present connection took, and what it took of the next.
    parts: usize,
    partial: Vec<u8>,
    commands: u32,
    commands_seen: u32,
    asides: u32,
    asides_seen: u32,
}

impl Oracle {
    /// The next command: a number.
    fn command(&mut self) -> Vec<u8> {
        self.commands += 1;
        let mut header = [0; 9];
        let length = encode_command_header(4, &mut header);
        [&header[..length], &self.commands.to_be_bytes()].concat()
    }

    /// The next aside: a command too, but one that may not come between the parts of a message.
    fn aside(&mut self) -> Vec<u8> {
        self.asides += 1;
        let mut header = [0; 9];
        let length = encode_command_header(5, &mut header);
        [&header[..length], &self.asides.to_be_bytes(), &[0]].concat()
    }

    /// Reads what the connection took since the last look.
    fn look(&mut self, wire: Option<Arc<Wire>>, gone: bool) {
        let Some(wire) = wire else { return };
        self.partial.append(&mut lock(&wire.0).taken);
        while let Some(header) = Header::parse(&self.partial).unwrap() {
            let end = header.header_bytes + header.body_bytes as usize;
            if self.partial.len() < end {
                break;
            }
            let rest = self.partial.split_off(end);
            let taken = std::mem::replace(&mut self.partial, rest);
            if header.is_command() && header.body_bytes == 5 {
                let number = taken[header.header_bytes..end - 1].try_into().unwrap();
                let number = u32::from_be_bytes(number);
                assert!(number > self.asides_seen, "asides keep their order");
                assert_eq!(self.parts, 0, "an aside stands between two messages");
                self.asides_seen = number;
                continue;
            }
            if header.is_command() {
                let number = u32::from_be_bytes(taken[header.header_bytes..].try_into().unwrap());
                assert!(number > self.commands_seen, "commands keep their order");
                self.commands_seen = number;
                continue;
            }
            let parts = &self.sent.front().expect("nothing is written that was not sent");
            assert_eq!(taken, frame(&parts[self.parts], self.parts + 1 < parts.len()));
            self.parts += 1;
            if self.parts == parts.len() {
                self.sent.pop_front();
                self.finished += 1;
                self.parts = 0;
            }
        }
        if gone {
            if let ([flags, ..], Some(parts)) = (&self.partial[..], self.sent.front()) {
                let next = frame(&parts[self.parts], self.parts + 1 < parts.len());
                assert!(flags & COMMAND != 0 || next.starts_with(&self.partial));
            }
            // The next connection gets the message from its start.
            self.parts = 0;
            self.partial.clear();
        }
    }
}

/// A connection that takes all, a little or nothing, and breaks now and then. In the middle of every other write it gives
/// the processor away, so that the other side finds the token taken.
struct Wire(Mutex<Taken>);

struct Taken {
    taken: Vec<u8>,
    random: Random,
    yields: bool,
}

impl Wire {
    fn new(random: Random) -> Wire {
        Wire(Mutex::new(Taken {
            taken: Vec::new(),
            random,
            yields: false,
        }))
    }
}

impl WriteSide for Wire {
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = self.0.try_lock().expect("the token lets one side in at a time");
        wire.yields = !wire.yields;
        if wire.yields {
            thread::yield_now();
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(offered > 0 && slices.iter().all(|slice| !slice.is_empty()));
        let count = match wire.random.below(24) {
            0 => return Err(io::ErrorKind::BrokenPipe.into()),
            1..=3 => return Err(io::ErrorKind::WouldBlock.into()),
            4 => return Err(io::ErrorKind::Interrupted.into()),
            5..=8 => 1 + wire.random.below(offered.min(12)),
            9..=14 => 1 + wire.random.below(offered),
            // Whole slices: the ends of segments and bodies.
            15..=17 => slices[..1 + wire.random.below(slices.len())]
                .iter()
                .map(|slice| slice.len())
                .sum(),
            _ => offered,
        };
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).take(count);
        wire.taken.extend(bytes);
        Ok(count)
    }
}

fn send(
    sender: &mut Sender,
    parts: &[Vec<u8>],
    bodies: &Bodies,
    random: &mut Random,
    spares: &mut Spares<u8>,
) {
    for (index, part) in parts.iter().enumerate() {
        let mut header = [0; 9];
        let length = encode_header(index + 1 < parts.len(), part.len(), &mut header);
        match (part.len(), random.below(3)) {
            (1.., 0) => sender.frame_by_reference(&header[..length], bodies.make(part)),
            // What is copied is longer than what counts.
            (..16, 1) => {
                let mut block = [99; 16];
                block[..part.len()].copy_from_slice(part);
                sender.frame_prefix(&[header[0], header[1]], &block, part.len(), spares);
            }
            _ => sender.frame(&header[..length], part, spares),
        }
    }
    assert!(sender.finish_message());
}

fn frame(body: &[u8], more: bool) -> Vec<u8> {
    let mut header = [0; 9];
    let length = encode_header(more, body.len(), &mut header);
    [&header[..length], body].concat()
}

/// Takes a whole message, which is there.
fn take(reader: &mut Reader<u8>) -> Vec<Vec<u8>> {
    let chain: &mut Consumer<u8> = reader.chain();
    let mut parts = Vec::new();
    loop {
        let bytes = chain.peek();
        let header = Header::parse(bytes).unwrap().expect("a message comes whole");
        let (start, end) = (
            header.header_bytes,
            header.header_bytes + header.body_bytes as usize,
        );
        match bytes.get(start..end) {
            Some(body) => {
                parts.push(body.to_vec());
                chain.skip(end);
            }
            None => {
                chain.skip(start);
                let body = chain.take_body().expect("the body is behind its header");
                assert_eq!(body.len(), end - start);
                parts.push(body.to_vec());
            }
        }
        if header.is_last() {
            return parts;
        }
    }
}

/// Bodies that are counted as long as they live.
#[derive(Clone, Default)]
struct Bodies(Arc<AtomicUsize>);

struct Body(Vec<u8>, Bodies);

impl Bodies {
    fn make(&self, bytes: &[u8]) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Body(bytes.to_vec(), self.clone()))
    }

    fn alive(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Whoever still looks at the bytes sees it.
        self.0.fill(0xdd);
        self.1.0.fetch_sub(1, Ordering::Release);
    }
}

/// Takes note that a pipe was reported, as an I/O thread's inbox does.
#[derive(Default)]
struct Told(AtomicUsize);

impl Told {
    fn take(&self) -> bool {
        self.0.swap(0, Ordering::AcqRel) > 0
    }
}

impl Ready for Told {
    fn ready(&self, pipe: PipeId) {
        assert_eq!(pipe, PIPE);
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Sleeps until the inbox has something, and takes it. To oversleep is a failure.
fn wait(inbox: &Inbox<()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let end = Instant::now() + DEADLINE;
    while inbox.sleep(&waker) {
        while !inbox.is_filled() {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nobody woke this side");
            thread::park_timeout(left);
        }
    }
    inbox.take(&mut Vec::new(), &mut Vec::new());
}

/// Everything that is waited for comes much sooner.
const DEADLINE: Duration = Duration::from_secs(20);

fn pause(turns: usize) {
    for _ in 0..turns {
        std::hint::spin_loop();
    }
}

/// A xorshift generator, which is random enough here.
struct Random(u64);

impl Random {
    fn seeded() -> Random {
        let seed = std::env::var("ZEROWIRE_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(0) | 1);
        println!("seed {seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 11) % end.max(1) as u64) as usize
    }

    /// What all queues may hold together: little, or as much as they like.
    fn ceiling(&mut self, sizes: Sizes) -> u64 {
        match self.below(2) {
            0 => (sizes.small * 4).max(sizes.block * 2) as u64,
            _ => u64::MAX,
        }
    }

    /// A message of up to five parts, most of them short.
    fn message(&mut self, bytes_max: usize) -> Vec<Vec<u8>> {
        let parts = match self.below(3) {
            0 => 1 + self.below(5),
            _ => 1,
        };
        (0..parts)
            .map(|_| {
                let bytes = match self.below(8) {
                    0 => 0,
                    1 => 8,
                    2..=5 => self.below(24),
                    6 => self.below(300.min(bytes_max)),
                    _ => self.below(bytes_max),
                };
                let first = self.next() as u8;
                (0..bytes).map(|at| first.wrapping_add(at as u8)).collect()
            })
            .collect()
    }
}
