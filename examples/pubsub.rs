//! A weather station and those who listen to it, attentive ones and one who does not read: PUB and SUB.
//!
//! A message is one part, `city temperature`, and what it begins with is its topic. Nobody sleeps until somebody else is
//! ready: a subscriber waits until the publisher knows what it wants, a publisher until somebody wants anything.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::{Parser, value_parser};
use zerowire::{Context, Endpoint, PubSocket, Published, SendError, SlowSubscriber, SubSocket};

/// How long others may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
const CITIES: [&str; 4] = ["cairo", "lima", "oslo", "osaka"];
/// What each listener wants. A topic is a prefix, and the empty one is everything.
const TOPICS: [&str; 4] = ["oslo", "os", "cairo", ""];

/// Publishes the weather, and counts who gets what.
#[derive(Parser)]
struct Arguments {
    /// Readings of each city.
    #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u32).range(1..))]
    readings: u32,
    /// Where the station is bound.
    #[arg(default_value = "tcp://127.0.0.1:*")]
    endpoint: Endpoint,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    listened_to(arguments)?;
    writeln!(io::stdout(), "\nWho does not read, with room for 100 messages:")?;
    for policy in [
        SlowSubscriber::DropNewest,
        SlowSubscriber::Block(Duration::from_micros(100)),
        SlowSubscriber::Fail,
        SlowSubscriber::Disconnect,
    ] {
        not_listened_to(policy)?;
    }
    Ok(())
}

/// Publishes to listeners that read, each in a thread of its own, and checks that they have got all they want.
fn listened_to(Arguments { readings, endpoint }: Arguments) -> Result<()> {
    let context = Context::new();
    // Waits for a listener that falls behind, because nothing is to be missed here.
    let patient = SlowSubscriber::Block(PATIENCE);
    let mut station = PubSocket::builder(&context).slow_subscriber(patient).build()?;
    let endpoint = station.bind(endpoint)?;
    let listeners = TOPICS.map(|topic| {
        let (context, endpoint) = (context.clone(), endpoint.clone());
        thread::spawn(move || listen(&context, &endpoint, topic))
    });
    station.wait_for_subscribers_to("end", TOPICS.len(), PATIENCE)?;

    let mut total = Published::default();
    for reading in 0..readings {
        for (number, city) in CITIES.iter().enumerate() {
            let temperature = 5 * number + (reading % 24) as usize;
            let published = station.send(format!("{city} {temperature}"))?;
            total.matched += published.matched;
            total.queued += published.queued;
            total.dropped += published.dropped;
        }
    }
    station.send("end")?;

    writeln!(
        io::stdout(),
        "{} messages: {total:?}",
        CITIES.len() * readings as usize
    )?;
    for (topic, listener) in TOPICS.iter().zip(listeners) {
        let heard = listener.join().map_err(|_| anyhow!("a listener panicked"))??;
        writeln!(io::stdout(), "{heard:>10} heard for topic `{topic}`")?;
        let cities = CITIES.iter().filter(|city| city.starts_with(topic)).count();
        ensure!(heard == cities * readings as usize, "a message is missing");
    }
    Ok(())
}

/// Counts the messages up to the last one, `end`.
fn listen(context: &Context, endpoint: &Endpoint, topic: &str) -> Result<usize> {
    let mut radio = SubSocket::new(context);
    radio.connect(endpoint)?;
    radio.subscribe(topic)?;
    radio.subscribe("end")?;
    radio.wait_ready(PATIENCE)?; // From here on nothing is missed. This station waits, others would begin now.
    let mut heard = 0;
    while radio.recv_timeout(PATIENCE)?.as_bytes() != b"end" {
        heard += 1;
    }
    Ok(heard)
}

/// Publishes to somebody who reads each message at once and to somebody who reads none before the end, and shows what
/// becomes of them. Over inproc, where no kernel buffer takes messages before the queue fills up.
fn not_listened_to(policy: SlowSubscriber) -> Result<()> {
    let context = Context::new();
    let mut station = PubSocket::builder(&context)
        .slow_subscriber(policy)
        .send_hwm(100)
        .build()?;
    station.bind("inproc://weather")?;
    let [mut reader, mut sleeper] = [SubSocket::new(&context), SubSocket::new(&context)];
    for radio in [&mut reader, &mut sleeper] {
        radio.connect("inproc://weather")?;
        radio.subscribe("lima")?;
        radio.wait_ready(PATIENCE)?;
    }
    let [mut read, mut slept, mut refused] = [0; 3];
    for reading in 0..1000 {
        match station.send(format!("lima {reading}")) {
            Err(SendError::Full(_)) => refused += 1,
            sent => drop(sent?),
        }
        read += u32::from(reader.try_recv().is_ok());
    }
    while sleeper.try_recv().is_ok() {
        slept += 1;
    }
    let dropped = station.dropped();
    let name = format!("{policy:?}");
    writeln!(
        io::stdout(),
        "{name:<15}{refused:>5} refused{dropped:>5} dropped{read:>6} to the reader{slept:>5} to the sleeper"
    )?;
    ensure!(read + refused == 1000, "the reader has to get all that is sent");
    Ok(())
}
