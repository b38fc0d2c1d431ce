//! What a `tracing` subscriber is told of the life of a connection, with and without a monitor.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use zerowire::{Context, PubSocket, PullSocket, PushSocket, RouterSocket, SubSocket};

const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps what it is told, with the fields as text.
#[derive(Clone, Default)]
struct Recorder {
    record: Arc<(Mutex<Told>, Condvar)>,
    /// A socket is made in it at the next event.
    context: Arc<Mutex<Option<Context>>>,
    /// It panics at the events of this endpoint.
    feared: Arc<Mutex<Option<String>>>,
}

#[derive(Default)]
struct Told {
    events: Vec<Line>,
    spans: Vec<Span>,
}

#[derive(Clone, Debug)]
struct Line {
    level: Level,
    fields: HashMap<&'static str, String>,
    parent: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Span {
    fields: HashMap<&'static str, String>,
    handles: usize,
}

struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Recorder {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.record.0.lock().unwrap()
    }

    /// Waits for an event with this name and endpoint.
    #[track_caller]
    fn wait_for(&self, name: &str, endpoint: &str) -> Line {
        let is_it = |line: &&Line| {
            line.fields.get("event").is_some_and(|it| it == name)
                && line.fields.get("endpoint").is_some_and(|it| it == endpoint)
        };
        let end = Instant::now() + DEADLINE;
        let mut told = self.told();
        loop {
            if let Some(line) = told.events.iter().find(is_it) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no `{name}` in time: {:#?}", told.events);
            told = self.record.1.wait_timeout(told, left).unwrap().0;
        }
    }

    fn span_of(&self, line: &Line) -> Span {
        let parent = line.parent.expect("an event of a connection has a span");
        self.told().spans[usize::try_from(parent).unwrap() - 1].clone()
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "zerowire"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        assert_eq!((span.metadata().name(), span.is_root()), ("connection", true));
        let mut told = self.told();
        let mut new = Span {
            handles: 1,
            ..Span::default()
        };
        span.record(&mut Fields(&mut new.fields));
        told.spans.push(new);
        Id::from_u64(told.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let index = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Fields(&mut self.told().spans[index].fields));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            level: *event.metadata().level(),
            fields: HashMap::new(),
            parent: event.parent().map(Id::into_u64),
        };
        event.record(&mut Fields(&mut line.fields));
        let feared = self.feared.lock().unwrap().clone();
        let is_feared = feared.is_some_and(|feared| line.fields.get("endpoint") == Some(&feared));
        self.told().events.push(line);
        assert!(!is_feared, "this panic is part of the test");
        self.record.1.notify_all();
        let context = self.context.lock().unwrap().take();
        drop(context.as_ref().map(PushSocket::new));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}

    fn clone_span(&self, span: &Id) -> Id {
        self.told().spans[usize::try_from(span.into_u64()).unwrap() - 1].handles += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut told = self.told();
        let span = &mut told.spans[usize::try_from(span.into_u64()).unwrap() - 1];
        span.handles -= 1;
        self.record.1.notify_all();
        span.handles == 0
    }
}

/// One test, because a process has one subscriber for all threads.
#[test]
fn the_life_of_connections_is_traced() {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(recorder.clone()).unwrap();
    for endpoint in ["tcp://127.0.0.1:*", "ipc://*", "inproc://traced"] {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let bound = pull.bind(endpoint).unwrap().to_string();
        let mut push = PushSocket::new(&context);
        push.connect(bound.as_str()).unwrap();
        push.send("hello").unwrap();
        pull.recv().unwrap();

        assert_eq!(recorder.wait_for("listening", &bound).level, Level::DEBUG);
        let accepted = recorder.wait_for("accepted", &bound);
        assert_eq!(
            (accepted.level, &accepted.fields["socket_type"][..]),
            (Level::DEBUG, "PULL")
        );
        assert_eq!(recorder.wait_for("connecting", &bound).level, Level::DEBUG);
        let succeeded = recorder.wait_for("handshake_succeeded", &bound);
        assert_eq!(succeeded.level, Level::INFO);
        drop(push);
        let disconnected = recorder.wait_for("disconnected", &bound);
        assert_eq!(disconnected.level, Level::INFO);
        assert!(disconnected.fields["message"].contains(&disconnected.fields["reason"]));
        drop((pull, context));
        recorder.wait_for("listener_closed", &bound);

        let told = recorder.told();
        let ours = told.events.iter().filter(|line| line.parent == accepted.parent);
        let names: Vec<&str> = ours.map(|line| line.fields["event"].as_str()).collect();
        assert_eq!(names, ["accepted", "handshake_succeeded", "disconnected"]);
        drop(told);
        let span = recorder.span_of(&accepted);
        assert_eq!(span.fields["connection"], accepted.fields["connection"]);
        assert_eq!(span.fields["peer_type"], "PUSH");
        assert_eq!(span.fields["local"], bound);
        assert_eq!(span.handles, 0, "the span has ended with the connection");
    }

    // Who is told may use the context.
    let context = Context::new();
    let (done, is_done) = std::sync::mpsc::channel();
    let user = recorder.clone();
    std::thread::spawn(move || {
        let tell = || *user.context.lock().unwrap() = Some(context.clone());
        let is_told = || user.context.lock().unwrap().is_none();
        let (mut pull, mut push) = (PullSocket::new(&context), PushSocket::new(&context));
        tell();
        pull.bind("inproc://used").unwrap();
        assert!(is_told());
        tell();
        push.connect("inproc://used").unwrap();
        assert!(is_told());
        done.send(()).unwrap();
    });
    is_done.recv_timeout(DEADLINE).unwrap();

    // What is wrong is a warning.
    let context = Context::new();
    let mut router = RouterSocket::new(&context);
    let bound = router.bind("ipc://*").unwrap().to_string();
    let mut stranger = PullSocket::new(&context);
    stranger.connect(bound.as_str()).unwrap();
    let failed = recorder.wait_for("handshake_failed", &bound);
    assert_eq!(failed.level, Level::WARN);
    assert!(failed.fields["reason"].contains("ROUTER"), "{failed:?}");

    let mut publisher = PubSocket::builder(&context).send_hwm(1).build().unwrap();
    let bound = publisher.bind("inproc://slow").unwrap().to_string();
    let mut subscriber = SubSocket::new(&context);
    subscriber.connect(bound.as_str()).unwrap();
    subscriber.subscribe("a\n").unwrap();
    publisher.wait_for_subscribers(1, DEADLINE).unwrap();
    let subscription = recorder.wait_for("subscription", &bound);
    assert_eq!(
        (subscription.level, &subscription.fields["topic"][..]),
        (Level::DEBUG, "a\\n")
    );
    while publisher.dropped() == 0 {
        publisher.send("a\n").unwrap();
    }
    assert_eq!(recorder.wait_for("slow_peer", &bound).level, Level::WARN);

    // Whoever listens and panics harms nobody, whichever thread has told it.
    let mut pull = PullSocket::new(&context);
    let bound = pull.bind("tcp://127.0.0.1:*").unwrap().to_string();
    *recorder.feared.lock().unwrap() = Some(bound.clone());
    let mut push = PushSocket::new(&context);
    push.connect(bound.as_str()).unwrap();
    push.send("is not held up").unwrap();
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"is not held up");
}
