//! Many peers of all libraries at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use zerowire::SocketType;
use zerowire_interop::{CALL_TIMEOUT, Deadline, Library, Peer, Scratch, Transport, assert_payload, payload};

const LIBRARIES: [Library; 3] = [Library::Zerowire, Library::Libzmq, Library::Omq];

/// One socket deals tasks out to workers of all libraries, another collects their results.
#[track_caller]
fn a_mixed_pipeline_loses_and_doubles_nothing(ventilator: Library, sink: Library, transport: Transport) {
    const TASKS: u64 = 40_000;
    const WORKERS: u64 = 8;
    let _deadline = Deadline::start("a mixed pipeline", 4 * CALL_TIMEOUT);
    let scratch = Scratch::new();
    let (mut ventilator, mut sink) = (ventilator.socket(SocketType::Push), sink.socket(SocketType::Pull));
    let watch = ventilator.watch();
    let tasks = ventilator.bind(&transport.fresh(&scratch));
    let results = sink.bind(&transport.fresh(&scratch));

    let done = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let library = LIBRARIES[number as usize % 3];
            let (tasks, results, done) = (tasks.clone(), results.clone(), done.clone());
            thread::spawn(move || work(number, library, &tasks, &results, &done))
        })
        .collect();
    // Dealing starts when all are there, so that each must get a share.
    watch.wait_for_handshakes(WORKERS as usize);
    let sender = thread::spawn(move || {
        for task in 0..TASKS {
            ventilator.send(&[task.to_le_bytes().to_vec(), payload(task, task_size(task))]);
        }
    });

    let mut seen = vec![false; TASKS as usize];
    let mut latest: HashMap<u64, u64> = HashMap::new();
    for _ in 0..TASKS {
        let parts = sink.recv();
        let [task, body, worker] = parts.as_slice() else {
            panic!("a result of {} parts", parts.len())
        };
        let (task, worker) = (number(task), number(worker));
        assert_payload(body, task, task_size(task));
        assert!(
            !std::mem::replace(&mut seen[task as usize], true),
            "task {task} came twice"
        );
        if let Some(before) = latest.insert(worker, task) {
            assert!(before < task, "worker {worker} did {before} before {task}");
        }
    }
    done.store(true, Ordering::Relaxed);
    assert_eq!(
        latest.len() as u64,
        WORKERS,
        "every worker has a share: {latest:?}"
    );
    sender.join().expect("the ventilator");
    workers
        .into_iter()
        .for_each(|worker| worker.join().expect("a worker"));
}

fn work(number: u64, library: Library, tasks: &str, results: &str, done: &AtomicBool) {
    let (mut pull, mut push) = (library.socket(SocketType::Pull), library.socket(SocketType::Push));
    pull.connect(tasks);
    push.connect(results);
    while !done.load(Ordering::Relaxed) {
        if let Some(mut parts) = pull.recv_timeout(Duration::from_millis(20)) {
            parts.push(number.to_le_bytes().to_vec());
            push.send(&parts);
        }
    }
}

fn task_size(task: u64) -> usize {
    (task % 600) as usize
}

fn number(part: &[u8]) -> u64 {
    u64::from_le_bytes(part.try_into().expect("eight bytes"))
}

#[test]
fn zerowire_deals_out_and_collects_over_tcp() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Zerowire, Library::Zerowire, Transport::Tcp);
}

#[test]
fn zerowire_deals_out_and_libzmq_collects_over_tcp() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Zerowire, Library::Libzmq, Transport::Tcp);
}

#[test]
fn libzmq_deals_out_and_zerowire_collects_over_tcp() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Libzmq, Library::Zerowire, Transport::Tcp);
}

#[test]
fn zerowire_deals_out_and_omq_collects_over_tcp() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Zerowire, Library::Omq, Transport::Tcp);
}

#[test]
fn zerowire_deals_out_and_collects_over_ipc() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Zerowire, Library::Zerowire, Transport::Ipc);
}

#[test]
fn zerowire_deals_out_and_libzmq_collects_over_ipc() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Zerowire, Library::Libzmq, Transport::Ipc);
}

#[test]
fn zerowire_deals_out_and_omq_collects_over_ipc() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Zerowire, Library::Omq, Transport::Ipc);
}

#[test]
fn libzmq_deals_out_and_zerowire_collects_over_ipc() {
    a_mixed_pipeline_loses_and_doubles_nothing(Library::Libzmq, Library::Zerowire, Transport::Ipc);
}

/// Each comes with a fresh context, sends a few messages and goes at once, four at a time.
#[track_caller]
fn peers_that_come_send_and_go_lose_nothing(receiver: Library, transport: Transport) {
    const LANES: u64 = 4;
    const VISITS: u64 = 15;
    const MESSAGES: u64 = 100;
    let _deadline = Deadline::start("peers that come and go", 4 * CALL_TIMEOUT);
    let scratch = Scratch::new();
    let mut pull = receiver.socket(SocketType::Pull);
    let endpoint = pull.bind(&transport.fresh(&scratch));
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let endpoint = endpoint.clone();
            thread::spawn(move || {
                for visit in 0..VISITS {
                    let library = LIBRARIES[(lane + visit) as usize % 3];
                    let mut push = library.socket(SocketType::Push);
                    push.connect(&endpoint);
                    let visitor = lane * VISITS + visit;
                    for index in 0..MESSAGES {
                        let body = payload(visitor << 32 | index, 50);
                        push.send(&[visitor.to_le_bytes().to_vec(), index.to_le_bytes().to_vec(), body]);
                    }
                }
            })
        })
        .collect();
    let mut expected: HashMap<u64, u64> = HashMap::new();
    for _ in 0..LANES * VISITS * MESSAGES {
        let parts = pull.recv();
        let (visitor, index) = (number(&parts[0]), number(&parts[1]));
        let next = expected.entry(visitor).or_default();
        assert_eq!(index, *next, "order of visitor {visitor}");
        *next += 1;
        assert_payload(&parts[2], visitor << 32 | index, 50);
    }
    assert_eq!(expected.len() as u64, LANES * VISITS);
    lanes.into_iter().for_each(|lane| lane.join().expect("a lane"));
}

#[test]
fn peers_come_and_go_at_zerowire_over_tcp() {
    peers_that_come_send_and_go_lose_nothing(Library::Zerowire, Transport::Tcp);
}

#[test]
fn peers_come_and_go_at_libzmq_over_tcp() {
    peers_that_come_send_and_go_lose_nothing(Library::Libzmq, Transport::Tcp);
}

#[test]
fn peers_come_and_go_at_omq_over_tcp() {
    peers_that_come_send_and_go_lose_nothing(Library::Omq, Transport::Tcp);
}

#[test]
fn peers_come_and_go_at_zerowire_over_ipc() {
    peers_that_come_send_and_go_lose_nothing(Library::Zerowire, Transport::Ipc);
}

#[test]
fn peers_come_and_go_at_libzmq_over_ipc() {
    peers_that_come_send_and_go_lose_nothing(Library::Libzmq, Transport::Ipc);
}

#[test]
fn peers_come_and_go_at_omq_over_ipc() {
    peers_that_come_send_and_go_lose_nothing(Library::Omq, Transport::Ipc);
}

/// Some with a name, some without, some that wait for each answer and some that do not.
#[track_caller]
fn every_peer_of_a_router_gets_its_own_answers(router: Library, transport: Transport) {
    const ASKERS: u64 = 12;
    const QUESTIONS: u64 = 200;
    let _deadline = Deadline::start("askers", 4 * CALL_TIMEOUT);
    let scratch = Scratch::new();
    let mut router = router.socket(SocketType::Router);
    let endpoint = router.bind(&transport.fresh(&scratch));
    let askers: Vec<_> = (0..ASKERS)
        .map(|asker| {
            let endpoint = endpoint.clone();
            thread::spawn(move || {
                let library = LIBRARIES[asker as usize % 3];
                let name = if asker < 6 {
                    format!("asker {asker}")
                } else {
                    String::new()
                };
                let patient = asker / 3 % 2 == 0;
                let socket_type = if patient {
                    SocketType::Req
                } else {
                    SocketType::Dealer
                };
                let mut socket = library.named_socket(socket_type, &name);
                socket.connect(&endpoint);
                let ask = |socket: &mut Box<dyn Peer>, index| {
                    socket.send(&[asker.to_le_bytes().to_vec(), payload(index, 50)]);
                };
                let ahead = if patient { 1 } else { 20 };
                (0..ahead).for_each(|index| ask(&mut socket, index));
                for index in 0..QUESTIONS {
                    let answer = socket.recv();
                    assert_eq!(number(&answer[0]), asker, "whose answer came");
                    assert_payload(&answer[1], index, 50);
                    if index + ahead < QUESTIONS {
                        ask(&mut socket, index + ahead);
                    }
                }
            })
        })
        .collect();
    for _ in 0..ASKERS * QUESTIONS {
        let question = router.recv();
        router.send(&question);
    }
    askers
        .into_iter()
        .for_each(|asker| asker.join().expect("an asker"));
}

#[test]
fn every_asker_at_zerowire_gets_its_own_answers_over_tcp() {
    every_peer_of_a_router_gets_its_own_answers(Library::Zerowire, Transport::Tcp);
}

#[test]
fn every_asker_at_zerowire_gets_its_own_answers_over_ipc() {
    every_peer_of_a_router_gets_its_own_answers(Library::Zerowire, Transport::Ipc);
}

#[test]
fn every_asker_at_libzmq_gets_its_own_answers_over_tcp() {
    every_peer_of_a_router_gets_its_own_answers(Library::Libzmq, Transport::Tcp);
}

#[test]
fn every_asker_at_libzmq_gets_its_own_answers_over_ipc() {
    every_peer_of_a_router_gets_its_own_answers(Library::Libzmq, Transport::Ipc);
}

#[test]
fn every_asker_at_omq_gets_its_own_answers_over_tcp() {
    every_peer_of_a_router_gets_its_own_answers(Library::Omq, Transport::Tcp);
}

#[test]
fn every_asker_at_omq_gets_its_own_answers_over_ipc() {
    every_peer_of_a_router_gets_its_own_answers(Library::Omq, Transport::Ipc);
}
