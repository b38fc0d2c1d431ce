//! What each socket type does.

use std::time::Duration;

use zerowire::{
    Context, DealerSocket, PairSocket, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, SubSocket,
    XPubSocket,
};

use crate::process::{DEADLINE, Zerowire};

#[test]
fn push_sends_lines_and_pull_prints_them() {
    for transport in ["tcp://127.0.0.1:*", "ipc://*"] {
        let (pull, endpoint) = Zerowire::listening(&format!("pull -b {transport} -n 3"));
        let push = Zerowire::run(&format!("push -c {endpoint}"), b"one\n\nthe last, without an end");
        push.well();
        assert_eq!(pull.end().well(), "one\n\nthe last, without an end\n");
    }
}

#[test]
fn push_sends_its_texts_as_often_as_it_is_told() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    Zerowire::run(
        &format!("push -c {endpoint} -m one -m two -n 2 --interval 1ms"),
        b"not read",
    )
    .well();
    for expected in ["one", "two", "one", "two"] {
        assert_eq!(
            pull.recv_timeout(DEADLINE).unwrap().as_bytes(),
            expected.as_bytes()
        );
    }
    // Without texts the count is of lines.
    Zerowire::run(&format!("push -c {endpoint} -n 2"), b"a\nb\nc\n").well();
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"a");
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"b");
    assert!(pull.recv_timeout(Duration::from_millis(20)).is_err());
}

#[test]
fn push_waits_for_a_peer_before_it_exits() {
    let mut push = Zerowire::start("push -b tcp://127.0.0.1:* -m early");
    let endpoint = push.told_endpoint("");
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.connect(endpoint.as_str()).unwrap();
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"early");
    push.end().well();
}

#[test]
fn hexadecimal_lines_are_messages_of_any_parts() {
    let context = Context::new();
    let mut there = PairSocket::new(&context);
    let endpoint = there.bind("tcp://127.0.0.1:*").unwrap();
    let mut pair = Zerowire::start(&format!("pair -c {endpoint} --hex -n 1"));
    pair.write(b"68656C6c6f||00ff\n");
    let message = there.recv_timeout(DEADLINE).unwrap();
    assert_eq!(
        message.parts().collect::<Vec<_>>(),
        [&b"hello"[..], b"", b"\x00\xff"]
    );
    there.send(message).unwrap();
    assert_eq!(pair.line(), b"68656c6c6f||00ff");
    pair.end().well();
}

#[test]
fn parts_are_separated_by_tabs_in_plain_output() {
    let (mut pull, endpoint) = Zerowire::listening("pull -b ipc://* -n 1");
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    push.send(["topic", "", "body"]).unwrap();
    assert_eq!(pull.line(), b"topic\t\tbody");
    pull.end().well();
}

#[test]
fn pub_waits_for_subscribers_and_sub_gets_what_it_asked_for() {
    let mut publisher = Zerowire::start("pub -b tcp://127.0.0.1:* --wait-subscribers 2");
    let endpoint = publisher.told_endpoint("");
    publisher.write(b"a1\nb1\na2\nb2\nb3\n");
    let some = Zerowire::start(&format!("sub -c {endpoint} -s a -s b3 -n 3"));
    let all = Zerowire::start(&format!("xsub -c {endpoint} -n 5"));
    publisher.end().well();
    assert_eq!(some.end().well(), "a1\na2\nb3\n");
    assert_eq!(all.end().well(), "a1\nb1\na2\nb2\nb3\n");
}

#[test]
fn xpub_prints_subscriptions_and_publishes() {
    let (mut xpub, endpoint) = Zerowire::listening("xpub -b tcp://127.0.0.1:* --hex");
    let context = Context::new();
    let mut sub = SubSocket::new(&context);
    sub.connect(endpoint.as_str()).unwrap();
    sub.subscribe("AB").unwrap();
    assert_eq!(xpub.line(), b"014142");
    xpub.write(b"414243|00\n4243\n");
    assert_eq!(sub.recv_timeout(DEADLINE).unwrap().part(1), Some(&b"\0"[..]));
    sub.unsubscribe("AB").unwrap();
    assert_eq!(xpub.line(), b"004142");
    xpub.end().well();
}

#[test]
fn sub_receives_from_the_library() {
    let context = Context::new();
    let mut publisher = PubSocket::new(&context);
    let endpoint = publisher.bind("tcp://127.0.0.1:*").unwrap();
    let mut sub = Zerowire::start(&format!("sub -c {endpoint} -s x"));
    publisher.wait_for_subscribers(1, DEADLINE).unwrap();
    publisher.send("y").unwrap();
    publisher.send("x marks the spot").unwrap();
    assert_eq!(sub.line(), b"x marks the spot");
    sub.signal("INT");
    sub.end().well();
}

#[test]
fn req_prints_each_reply() {
    let (rep, endpoint) = Zerowire::listening("rep -b tcp://127.0.0.1:* -m pong -m PONG -n 3");
    let req = Zerowire::run(&format!("req -c {endpoint} -m ping -n 2"), b"");
    assert_eq!(req.well(), "pong\nPONG\n");
    let req = Zerowire::run(&format!("req -c {endpoint}"), b"from the input\n");
    assert_eq!(req.well(), "pong\n");
    assert_eq!(rep.end().well(), "ping\nping\nfrom the input\n");
}

#[test]
fn rep_echoes_and_survives_a_client_that_leaves() {
    let (mut rep, endpoint) = Zerowire::listening("rep -b tcp://127.0.0.1:*");
    let context = Context::new();
    let mut hasty = ReqSocket::new(&context);
    hasty.connect(endpoint.as_str()).unwrap();
    hasty.send("forget it").unwrap();
    assert_eq!(rep.line(), b"forget it");
    drop(hasty);
    let mut req = ReqSocket::new(&context);
    req.connect(endpoint.as_str()).unwrap();
    let reply = req.request(["many", "parts"], DEADLINE).unwrap();
    assert_eq!(reply.parts().collect::<Vec<_>>(), [b"many", &b"parts"[..]]);
    rep.signal("TERM");
    assert_eq!(rep.end().well(), "many\tparts\n");
}

#[test]
fn req_asks_the_library() {
    let context = Context::new();
    let mut rep = RepSocket::new(&context);
    let endpoint = rep.bind("tcp://127.0.0.1:*").unwrap();
    let mut req = Zerowire::start(&format!("req -c {endpoint}"));
    req.write(b"first\nsecond\n");
    for (question, answer) in [("first", "1"), ("second", "2")] {
        let request = rep.next_timeout(DEADLINE).unwrap();
        assert_eq!(request.message().as_bytes(), question.as_bytes());
        request.reply(answer).unwrap();
        assert_eq!(req.line(), answer.as_bytes());
    }
    req.end().well();
}

#[test]
fn a_request_whose_peer_leaves_is_an_error() {
    let context = Context::new();
    let mut rep = RepSocket::new(&context);
    let endpoint = rep.bind("tcp://127.0.0.1:*").unwrap();
    let req = Zerowire::start(&format!("req -c {endpoint} -m question"));
    drop(rep.next_timeout(DEADLINE).unwrap());
    drop(rep);
    let ended = req.end();
    assert_eq!(
        (ended.code(), ended.reason()),
        (1, "the peer that was asked is gone")
    );
}

#[test]
fn router_prints_names_and_echoes() {
    let (mut router, endpoint) = Zerowire::listening("router -b tcp://127.0.0.1:* --echo -n 2");
    let dealer = Zerowire::run(&format!("dealer -c {endpoint} --identity ann -m hello -n 1"), b"");
    assert_eq!(dealer.well(), "hello\n");
    assert_eq!(router.line(), b"ann\thello");
    let context = Context::new();
    let mut dealer = DealerSocket::builder(&context).identity("bob").build().unwrap();
    dealer.connect(endpoint.as_str()).unwrap();
    dealer.send(["a", "b"]).unwrap();
    assert_eq!(dealer.recv_timeout(DEADLINE).unwrap().part(1), Some(&b"b"[..]));
    assert_eq!(router.end().well(), "bob\ta\tb\n");
}

#[test]
fn router_without_echo_only_prints() {
    let (mut router, endpoint) = Zerowire::listening("router -b ipc://* --hex");
    let dealer = Zerowire::run(
        &format!("dealer -c {endpoint} --identity A -m B --timeout 50ms"),
        b"",
    );
    assert_eq!(dealer.code(), 3);
    assert_eq!(router.line(), b"41|42");
    router.signal("TERM");
    router.end().well();
}

#[test]
fn two_pairs_chat() {
    let (mut ann, endpoint) = Zerowire::listening("pair -b tcp://127.0.0.1:*");
    let mut bob = Zerowire::start(&format!("pair -c {endpoint}"));
    for round in 0..3 {
        let text = format!("hello {round}");
        bob.write(format!("{text}\n").as_bytes());
        assert_eq!(ann.line(), text.as_bytes());
        ann.write(format!("{text} yourself\n").as_bytes());
        assert_eq!(bob.line(), format!("{text} yourself").as_bytes());
    }
    ann.signal("INT");
    bob.signal("INT");
    ann.end().well();
    bob.end().well();
}

#[test]
fn dealer_prints_replies_after_the_end_of_its_input() {
    let context = Context::new();
    let mut rep = RepSocket::new(&context);
    let endpoint = rep.bind("tcp://127.0.0.1:*").unwrap();
    let mut dealer = Zerowire::start(&format!("dealer -c {endpoint} --hex -n 2"));
    dealer.write(b"|6f6e65\n|74776f\n");
    drop(dealer.take_stdin());
    for _ in 0..2 {
        let request = rep.next_timeout(DEADLINE).unwrap();
        let question = request.message().clone();
        request.reply(question).unwrap();
    }
    assert_eq!(Zerowire::end(dealer).well(), "|6f6e65\n|74776f\n");
}

#[test]
fn several_endpoints_serve_one_socket() {
    let context = Context::new();
    let mut xpubs = [XPubSocket::new(&context), XPubSocket::new(&context)];
    let endpoints = xpubs
        .each_mut()
        .map(|socket| socket.bind("tcp://127.0.0.1:*").unwrap());
    let [first, second] = endpoints;
    let mut sub = Zerowire::start(&format!("sub -b ipc://* -c {first} -c {second} -n 2"));
    sub.told("listening on ipc://");
    for xpub in &mut xpubs {
        xpub.wait_for_subscribers(1, DEADLINE).unwrap();
        xpub.send("news").unwrap();
    }
    assert_eq!(sub.end().well(), "news\nnews\n");
}
