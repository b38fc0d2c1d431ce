//! Loom models: the code of this folder, run through every interleaving that loom finds within its bounds.
//!
//! Run with `RUSTFLAGS="--cfg zerowire_loom" cargo test --release --lib pipe::models`. Each model states what it
//! covers; each was seen to fail when a fence, a store order or a hand-over it is about is taken out of the code. A side
//! that nobody wakes shows as a deadlock, or as too many branches where the other side spins meanwhile.

use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::chain::chain;
use super::inbox::{Inbox, Ready, Relay};
use super::outbound::Drained;
use super::quota::Quota;
use super::recycle::{Pool, Sizes, Spares};
use super::{PipeId, WriteSide, inbound, outbound, pace};

/// So small that every message of two frames spans segments.
const SIZES: Sizes = Sizes {
    first: 3,
    small: 4,
    block: 0,
};
const PIPE: PipeId = 7;

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// A thread that sleeps until its waker is called.
struct Park {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Park {
    fn new() -> StdArc<Park> {
        StdArc::new(Park {
            woken: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    fn park(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Wake for Park {
    fn wake(self: StdArc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Sleeps until the inbox has something, and takes it; says how much it was.
fn wait(inbox: &Inbox<()>, park: &StdArc<Park>) -> usize {
    wait_for_names(inbox, park).len()
}

/// Sleeps until the inbox names pipes that are ready.
fn wait_for_names(inbox: &Inbox<()>, park: &StdArc<Park>) -> Vec<PipeId> {
    let waker = Waker::from(park.clone());
    loop {
        let (mut items, mut ready) = (Vec::new(), Vec::new());
        inbox.take(&mut items, &mut ready);
        if !ready.is_empty() {
            return ready;
        }
        if inbox.sleep(&waker) {
            park.park();
        }
    }
}

/// The open segment grows while it is read, messages span segments, drained segments come back and are used again.
#[test]
fn chain_hands_over_whole_messages_and_recycles() {
    explore(3, || {
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        let writer = thread::spawn(move || {
            for message in 1..=3u8 {
                // Two pushes a message: 2 + 2 elements do not fit the rest of a segment of 3 or 4.
                producer.push(&[message], &[message], &mut spares);
                producer.push(&[message], &[message + 10], &mut spares);
                producer.end_messages(1);
                producer.commit();
                if message == 1 {
                    // Never published: leaves no trace.
                    producer.push(&[99, 99], &[99], &mut spares);
                    producer.rollback();
                }
            }
        });
        let mut got = Vec::new();
        while got.len() < 12 {
            let ready = consumer.peek().to_vec();
            if ready.is_empty() {
                assert_eq!(got.len() % 4, 0, "half a message was visible");
                thread::yield_now();
            }
            consumer.skip(ready.len());
            got.extend(ready);
        }
        assert_eq!(got, [1, 1, 1, 11, 2, 2, 2, 12, 3, 3, 3, 13]);
        writer.join().unwrap();
    });
}

/// Elements that own memory are moved out or dropped exactly once, whichever side goes first.
#[test]
fn chain_drops_what_was_never_read() {
    explore(3, || {
        let counted = StdArc::new(());
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<StdArc<()>>(spares.pool());
        let element = counted.clone();
        let writer = thread::spawn(move || {
            for _ in 0..4 {
                producer.push_message(element.clone(), &mut spares);
            }
        });
        drop(consumer.pop());
        drop(consumer.pop());
        drop(consumer);
        writer.join().unwrap();
        assert_eq!(StdArc::strong_count(&counted), 1);
    });
}

/// The frames of some messages, each of which has as many as its number says. A segment holds one.
fn frames(messages: RangeInclusive<u8>) -> Vec<[u8; 3]> {
    messages
        .flat_map(|message| (1..=message).map(move |frame| [u8::from(frame < message), 1, message]))
        .collect()
}

fn send(sender: &mut outbound::Sender, message: u8, spares: &mut Spares<u8>) {
    append(sender, message, spares);
    assert!(sender.finish_message());
}

fn append(sender: &mut outbound::Sender, message: u8, spares: &mut Spares<u8>) {
    for [more, length, body] in frames(message..=message) {
        sender.frame(&[more, length], &[body], spares);
    }
}

/// A command that the I/O side puts between two frames.
const COMMAND: [u8; 3] = [4, 1, b'!'];

/// The frames on the wire, without the command that must be among them if one was `owed`.
fn messages_of(wire: Vec<u8>, owed: bool) -> Vec<[u8; 3]> {
    let mut frames: Vec<[u8; 3]> = wire
        .chunks(3)
        .map(|frame| frame.try_into().expect("every frame is whole"))
        .collect();
    if owed {
        let at = frames.iter().position(|frame| *frame == COMMAND);
        frames.remove(at.expect("the command stands between two frames"));
    }
    frames
}

/// A stream that takes at most so many bytes a call, and is full every other time.
struct Narrow {
    taken: std::sync::Mutex<(Vec<u8>, bool)>,
    bytes_max: usize,
}

impl Narrow {
    fn new(bytes_max: usize) -> StdArc<Narrow> {
        StdArc::new(Narrow {
            taken: Default::default(),
            bytes_max,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        self.taken.lock().unwrap().0.clone()
    }
}

impl WriteSide for Narrow {
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self
            .taken
            .try_lock()
            .expect("the token lets one side in at a time");
        let (taken, full) = &mut *state;
        if self.bytes_max < usize::MAX {
            *full = !*full;
            if !*full {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let all: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .take(self.bytes_max)
            .collect();
        taken.extend(&all);
        Ok(all.len())
    }
}

/// Sleep and wake-up at the high-water mark, direct writes, a command of the I/O side between frames, short writes.
fn outbound_model(messages: u8, hwm: u64, direct: bool, command: bool, bytes_max: usize) {
    pace::DIRECT_IN_MODELS.set(direct);
    explore(if command { 2 } else { 3 }, move || {
        let to_sender = StdArc::new(Inbox::<()>::new());
        let to_io = StdArc::new(Inbox::<()>::new());
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut sender, mut drainer) =
            outbound::pipe(PIPE, hwm, spares.pool(), to_sender.clone(), to_io.clone());
        let side = Narrow::new(bytes_max);

        let told = to_io.clone();
        let stream = side.clone();
        let io = thread::spawn(move || {
            let park = Park::new();
            drainer.connect(stream);
            if command {
                drainer.owe(&COMMAND);
            }
            loop {
                let drained = drainer.drain(usize::MAX);
                match drained {
                    Drained::Blocked | Drained::Unfinished => {
                        thread::yield_now();
                        continue;
                    }
                    Drained::Dry if drainer.finished() == u64::from(messages) && drainer.owes() == 0 => break,
                    Drained::Dry | Drained::Elsewhere => {}
                    Drained::Broken(error) => panic!("{error}"),
                }
                wait(&to_io, &park);
            }
        });

        let park = Park::new();
        for message in 1..=messages {
            while !sender.has_room() && !sender.wait_for_room() {
                wait(&to_sender, &park);
            }
            let (accepted, finished) = sender.counts();
            assert!(accepted - finished < hwm, "the high-water mark is exact");
            send(&mut sender, message, &mut spares);
        }
        // Nobody but the pipe has told the I/O side so far, and that has to be enough.
        while sender.counts().1 < u64::from(messages) {
            thread::yield_now();
        }
        // Of what the application wrote itself it hears nothing: tell it, so that it looks once more.
        told.ready(PIPE);
        io.join().unwrap();
        assert_eq!(messages_of(side.bytes(), command), frames(1..=messages));
    });
}

#[test]
fn outbound_hwm_1() {
    outbound_model(3, 1, false, false, usize::MAX);
}

#[test]
fn outbound_hwm_2_direct() {
    outbound_model(3, 2, true, false, usize::MAX);
}

#[test]
fn outbound_hwm_3_direct_with_a_command() {
    outbound_model(3, 3, true, true, usize::MAX);
}

#[test]
fn outbound_hwm_1_direct_with_a_command() {
    outbound_model(2, 1, true, true, usize::MAX);
}

#[test]
fn outbound_hwm_2_short_writes() {
    outbound_model(2, 2, false, false, 2);
}

#[test]
fn outbound_hwm_1_direct_short_writes_with_a_command() {
    outbound_model(2, 1, true, true, 4);
}

/// The I/O thread needs the token for a command while the application may be writing: it is told when the application is
/// done, by the application alone.
#[test]
fn outbound_token_is_handed_to_the_io_thread_that_asked() {
    pace::DIRECT_IN_MODELS.set(true);
    explore(3, || {
        let to_io = StdArc::new(Inbox::<()>::new());
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut sender, mut drainer) = outbound::pipe(
            PIPE,
            3,
            spares.pool(),
            StdArc::new(Inbox::<()>::new()),
            to_io.clone(),
        );
        let side = Narrow::new(usize::MAX);
        drainer.connect(side.clone());
        // From here on the application may write itself.
        assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
        let io = thread::spawn(move || {
            let park = Park::new();
            drainer.owe(&COMMAND);
            while matches!(drainer.drain(usize::MAX), Drained::Elsewhere) && drainer.owes() > 0 {
                wait(&to_io, &park);
            }
            drainer
        });
        for message in 1..=2 {
            send(&mut sender, message, &mut spares);
        }
        let mut drainer = io.join().unwrap();
        assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
        assert_eq!(messages_of(side.bytes(), true), frames(1..=2));
    });
}

/// A connection that breaks while the application may be writing: the next one gets every unfinished message whole.
#[test]
fn outbound_reconnect_repeats_the_half_sent_message() {
    pace::DIRECT_IN_MODELS.set(true);
    explore(3, || {
        let to_sender = StdArc::new(Inbox::<()>::new());
        let to_io = StdArc::new(Inbox::<()>::new());
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut sender, mut drainer) =
            outbound::pipe(PIPE, 3, spares.pool(), to_sender.clone(), to_io.clone());
        let (first, second) = (Narrow::new(4), Narrow::new(usize::MAX));
        drainer.connect(first.clone());
        // From here on the application may write itself.
        assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
        let told = to_io.clone();
        let next = second.clone();
        let io = thread::spawn(move || {
            let park = Park::new();
            let _ = drainer.drain(usize::MAX);
            while !drainer.disconnect() {
                wait(&to_io, &park);
            }
            let done = drainer.finished();
            drainer.connect(next);
            while drainer.finished() < 2 {
                if !matches!(drainer.drain(usize::MAX), Drained::Blocked) && drainer.finished() < 2 {
                    wait(&to_io, &park);
                }
            }
            done as u8
        });
        for message in 1..=2 {
            send(&mut sender, message, &mut spares);
        }
        while sender.counts().1 < 2 {
            thread::yield_now();
        }
        told.ready(PIPE);
        let done = io.join().unwrap();
        assert_eq!(messages_of(second.bytes(), false), frames(done + 1..=2));
        assert!(first.bytes().len() < frames(1..=done + 1).as_flattened().len());
    });
}

/// The I/O side closes the pipe while messages are sent, by `append` in this or that way: both sides agree on which of them
/// were in time. Those are written if the I/O side closes only then, and lost to its knowledge if it does not care.
fn closing_model(
    patient: bool,
    direct: bool,
    finish: impl Fn(&mut outbound::Sender) -> bool + Copy + Send + Sync + 'static,
) {
    pace::DIRECT_IN_MODELS.set(direct);
    explore(3, move || {
        let to_io = StdArc::new(Inbox::<()>::new());
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut sender, mut drainer) = outbound::pipe(
            PIPE,
            3,
            spares.pool(),
            StdArc::new(Inbox::<()>::new()),
            to_io.clone(),
        );
        let side = Narrow::new(usize::MAX);
        drainer.connect(side.clone());
        assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
        let io = thread::spawn(move || {
            let park = Park::new();
            while patient {
                match drainer.close() {
                    Drained::Dry => break,
                    Drained::Unfinished => drop(drainer.drain(usize::MAX)),
                    _ => drop(wait(&to_io, &park)),
                }
            }
            while !drainer.disconnect() {
                wait(&to_io, &park);
            }
            (drainer.end(), drainer.finished())
        });
        let mut accepted = 0;
        for message in 1..=2 {
            if !sender.has_room() {
                break;
            }
            append(&mut sender, message, &mut spares);
            if !finish(&mut sender) {
                break;
            }
            accepted = message;
        }
        let (lost, finished) = io.join().unwrap();
        assert_eq!(lost + finished, u64::from(accepted));
        assert_eq!(sender.counts(), (accepted.into(), finished));
        assert!(!patient || lost == 0);
        assert_eq!(messages_of(side.bytes(), false), frames(1..=finished as u8));
    });
}

#[test]
fn outbound_close_when_all_is_written() {
    closing_model(true, false, outbound::Sender::finish_message);
}

#[test]
fn outbound_close_when_all_is_written_directly() {
    closing_model(true, true, outbound::Sender::finish_message);
}

#[test]
fn outbound_close_with_messages_waiting() {
    closing_model(false, true, outbound::Sender::finish_message);
}

#[test]
fn outbound_close_in_a_fan_out() {
    closing_model(true, true, |sender| {
        sender.finish_message_quietly();
        outbound::fence_after_fan_out();
        sender.wake_drain(true)
    });
}

/// One sender gives every message to two pipes, or to those of them that have room, and looks at the tokens when all have
/// it; one I/O side serves both pipes, and drains only what it is told of.
fn fan_out_model(messages: u8, hwm: u64, may_write: bool) {
    /// Told when everything is written.
    const END: PipeId = 2;
    pace::DIRECT_IN_MODELS.set(may_write);
    explore(if hwm < u64::from(messages) { 2 } else { 3 }, move || {
        let to_io = StdArc::new(Inbox::<()>::new());
        let mut spares = Spares::new(Pool::new(SIZES));
        let sides = [0, 1].map(|_| Narrow::new(usize::MAX));
        let [(mut first, mut first_drainer), (mut second, mut second_drainer)] = [0, 1].map(|pipe| {
            let to_sender = StdArc::new(Inbox::<()>::new());
            outbound::pipe(pipe, hwm, spares.pool(), to_sender, to_io.clone())
        });
        first_drainer.connect(sides[0].clone());
        second_drainer.connect(sides[1].clone());

        let told = to_io.clone();
        let io = thread::spawn(move || {
            let park = Park::new();
            let mut drainers = [first_drainer, second_drainer];
            let mut ready = vec![0, 1];
            while !ready.contains(&END) {
                for pipe in ready {
                    let drained = drainers[pipe as usize].drain(usize::MAX);
                    assert!(
                        matches!(drained, Drained::Dry | Drained::Elsewhere),
                        "{drained:?}"
                    );
                }
                ready = wait_for_names(&to_io, &park);
            }
        });

        let mut given = [Vec::new(), Vec::new()];
        for message in 1..=messages {
            for (sender, given) in [&mut first, &mut second].into_iter().zip(&mut given) {
                if sender.make_room() {
                    append(sender, message, &mut spares);
                    sender.finish_message_quietly();
                    given.extend(frames(message..=message));
                }
            }
            outbound::fence_after_fan_out();
            assert!(first.wake_drain(may_write));
            assert!(second.wake_drain(may_write));
        }
        // Nobody but the pipes has told the I/O side so far, and that has to be enough.
        for sender in [&first, &second] {
            while sender.counts().1 < sender.counts().0 {
                thread::yield_now();
            }
        }
        told.ready(END);
        io.join().unwrap();
        for (side, given) in sides.iter().zip(given) {
            assert_eq!(messages_of(side.bytes(), false), given);
        }
    });
}

#[test]
fn outbound_fan_out() {
    fan_out_model(2, 2, false);
}

#[test]
fn outbound_fan_out_direct() {
    fan_out_model(2, 2, true);
}

/// A pipe without room goes without the message.
#[test]
fn outbound_fan_out_at_the_high_water_mark() {
    fan_out_model(2, 1, false);
}

/// Takes messages until the writer is gone, sleeping whenever there is none.
fn read_to_the_end(reader: &mut inbound::Reader<u64>, inbox: &Inbox<()>) -> Vec<u64> {
    let park = Park::new();
    let mut messages = Vec::new();
    loop {
        match reader.chain().pop() {
            Some(message) => {
                messages.push(message);
                reader.took_message();
            }
            None => match reader.settle() {
                inbound::Settled::Ready => {}
                inbound::Settled::Quiet => {
                    wait(inbox, &park);
                }
                inbound::Settled::Ended => return messages,
            },
        }
    }
}

/// The doorbell and the high-water mark of the receiving side, and the ceiling on what is queued, of which each message takes
/// one, if there is one.
fn inbound_model(messages: u64, hwm: u64, ceiling: Option<u64>) {
    explore(3, move || {
        let pool = match ceiling {
            Some(max) => Pool::charging(SIZES, StdArc::new(Quota::new(max)), |_| 1),
            None => Pool::new(SIZES),
        };
        let to_writer = StdArc::new(Inbox::<()>::new());
        let to_reader = StdArc::new(Inbox::<()>::new());
        let mut spares = Spares::new(pool);
        let ready: StdArc<dyn Ready> = to_writer.clone();
        let (mut writer, mut reader) =
            inbound::pipe::<u64>(PIPE, hwm, spares.pool(), ready, to_reader.clone());
        let sending = thread::spawn(move || {
            let park = Park::new();
            for message in 0..messages {
                while !writer.has_room() && !writer.wait_for_room() {
                    wait(&to_writer, &park);
                }
                let (handed, taken) = writer.counts();
                assert!(handed - taken < hwm, "the high-water mark is exact");
                writer.push(message, &mut spares);
            }
        });
        assert_eq!(
            read_to_the_end(&mut reader, &to_reader),
            Vec::from_iter(0..messages)
        );
        sending.join().unwrap();
    });
}

#[test]
fn inbound_hwm_1() {
    inbound_model(3, 1, None);
}

#[test]
fn inbound_hwm_2() {
    inbound_model(4, 2, None);
}

#[test]
fn inbound_hwm_3() {
    inbound_model(4, 3, None);
}

#[test]
fn inbound_at_the_ceiling() {
    inbound_model(3, 5, Some(1));
}

/// Another queue has reached the ceiling: who waits hears when enough of it was taken.
#[test]
fn quota_wakes_who_waits_for_room() {
    explore(3, || {
        let quota = StdArc::new(Quota::new(2));
        let inbox = StdArc::new(Inbox::<()>::new());
        quota.charge(3);
        let (of_producer, to_producer) = (quota.clone(), inbox.clone());
        let waiting = thread::spawn(move || {
            let park = Park::new();
            let ready: StdArc<dyn Ready> = to_producer.clone();
            while !of_producer.wait(PIPE, &ready) {
                wait(&to_producer, &park);
            }
        });
        let elsewhere = quota.clone();
        let taking = thread::spawn(move || elsewhere.give_back(1));
        quota.give_back(1);
        taking.join().unwrap();
        waiting.join().unwrap();
        assert_eq!(quota.queued(), 1);
    });
}

/// A connector that sends and leaves while its binder is being found: the binder hears of the message and of the end, or
/// sees them when it first looks.
#[test]
fn inbound_message_and_end_are_heard_over_a_relay() {
    explore(3, || {
        let to_writer = StdArc::new(Inbox::<()>::new());
        let to_reader = StdArc::new(Inbox::<()>::new());
        let relay = StdArc::new(Relay::default());
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut writer, mut reader) = inbound::pipe::<u64>(PIPE, 2, spares.pool(), to_writer, relay.clone());
        let sending = thread::spawn(move || {
            writer.push(0, &mut spares);
            drop(writer);
        });
        relay.lead_to(to_reader.clone());
        assert_eq!(read_to_the_end(&mut reader, &to_reader), [0]);
        sending.join().unwrap();
    });
}

/// Many post, one sleeps: nothing is lost and nobody sleeps over it.
#[test]
fn inbox_wakes_its_sleeper() {
    explore(3, || {
        let inbox = StdArc::new(Inbox::<()>::new());
        let posters: Vec<_> = (0..2)
            .map(|pipe| {
                let inbox = inbox.clone();
                thread::spawn(move || inbox.ready(pipe))
            })
            .collect();
        let park = Park::new();
        let mut seen = 0;
        while seen < 2 {
            seen += wait(&inbox, &park);
        }
        for poster in posters {
            poster.join().unwrap();
        }
    });
}
