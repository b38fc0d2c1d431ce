//! The examples in the help: lines to type in terminals of their own, from the top to the bottom.

pub const ZEROWIRE: &str = "\
Examples, each line in a terminal of its own:
  A pipe between two machines:
    zerowire pull -b 'tcp://*:5555' > copy.txt
    zerowire push -c tcp://server:5555 < file.txt
  A chat between two terminals:
    zerowire pair -b tcp://127.0.0.1:5555
    zerowire pair -c tcp://127.0.0.1:5555
  Everything that a publisher says about the weather:
    zerowire sub -c tcp://server:5556 -s weather
  One question, one answer:
    zerowire req -c tcp://server:5557 -m 'are you there?' --timeout 2s
  Why does it not work?
    zerowire doctor tcp://server:5557";

pub const PIPELINE: &str = "\
Example, each line in a terminal of its own:
  zerowire pull -b 'tcp://*:5555'
  seq 1000 | zerowire push -c tcp://127.0.0.1:5555";

pub const PUB: &str = "\
A subscriber that is too slow, or that is not there yet, misses messages: pub can wait for subscribers.

Example, each line in a terminal of its own:
  zerowire sub -c tcp://127.0.0.1:5556 -s weather
  zerowire pub -b 'tcp://*:5556' --wait-subscribers 1 -m 'weather: rain' -m 'traffic: dense'";

pub const SUB: &str = "\
Example, each line in a terminal of its own:
  zerowire sub -c tcp://127.0.0.1:5556 -s weather -s traffic
  zerowire pub -b 'tcp://*:5556' --wait-subscribers 1 -m 'weather: rain' -m 'traffic: dense'";

pub const XPUB: &str = "\
Example, each line in a terminal of its own:
  zerowire xpub -b 'tcp://*:5556' --hex
  zerowire sub -c tcp://127.0.0.1:5556 -s weather";

pub const XSUB: &str = "\
Example, each line in a terminal of its own:
  zerowire xsub -c tcp://127.0.0.1:5556
  zerowire pub -b 'tcp://*:5556' --wait-subscribers 1 -m 'weather: rain'";

pub const REQ_REP: &str = "\
Example, each line in a terminal of its own:
  zerowire rep -b 'tcp://*:5557' -m pong
  zerowire req -c tcp://127.0.0.1:5557 -m ping -n 3 --interval 1s";

pub const DEALER: &str = "\
A dealer goes on after the end of its input, until -n, --timeout or a signal. To a rep, a message begins with an empty part.

Example, each line in a terminal of its own:
  zerowire rep -b 'tcp://*:5557'
  echo '|70696e67' | zerowire dealer -c tcp://127.0.0.1:5557 --hex -n 1";

pub const ROUTER: &str = "\
Example, each line in a terminal of its own:
  zerowire router -b 'tcp://*:5558' --echo
  zerowire dealer -c tcp://127.0.0.1:5558 --identity ann -m hello -n 1";

pub const PAIR: &str = "\
A pair goes on after the end of its input, until -n, --timeout or a signal.

Example, each line in a terminal of its own:
  zerowire pair -b 'tcp://*:5559'
  zerowire pair -c tcp://127.0.0.1:5559";

pub const THROUGHPUT: &str = "\
Example, each line in a terminal of its own:
  zerowire perf local_thr 'tcp://*:5560' 100 1000000
  zerowire perf remote_thr tcp://127.0.0.1:5560 100 1000000";

pub const LATENCY: &str = "\
Example, each line in a terminal of its own:
  zerowire perf local_lat 'tcp://*:5561' 100 10000
  zerowire perf remote_lat tcp://127.0.0.1:5561 100 10000";

pub const INPROC_THROUGHPUT: &str = "\
Example:
  zerowire perf inproc_thr 100 1000000";

pub const INPROC_LATENCY: &str = "\
Example:
  zerowire perf inproc_lat 100 10000";

pub const QUEUE: &str = "\
Example, each line in a terminal of its own:
  zerowire proxy queue --front 'tcp://*:5562' --back 'tcp://*:5563'
  zerowire rep -c tcp://127.0.0.1:5563 -m done
  zerowire req -c tcp://127.0.0.1:5562 -m job";

pub const FORWARDER: &str = "\
Example, each line in a terminal of its own:
  zerowire proxy forwarder --front 'tcp://*:5564' --back 'tcp://*:5565'
  zerowire sub -c tcp://127.0.0.1:5565 -s weather
  zerowire pub -c tcp://127.0.0.1:5564 --wait-subscribers 1 -m 'weather: rain'";

pub const STREAMER: &str = "\
Example, each line in a terminal of its own:
  zerowire proxy streamer --front 'tcp://*:5566' --back 'tcp://*:5567'
  zerowire pull -c tcp://127.0.0.1:5567
  seq 1000 | zerowire push -c tcp://127.0.0.1:5566";

pub const DOCTOR: &str = "\
Exit status 1 says that something is wrong, and standard error what.

Example, each line in a terminal of its own:
  zerowire rep -b 'tcp://*:5557'
  zerowire doctor tcp://127.0.0.1:5557
  zerowire doctor tcp://127.0.0.1:5557 --as req";

pub const TAP: &str = "\
Connections go on to the other endpoint as they are. A line has the seconds since the start, the connection, > for what a client \
says or < for what it hears, and that.

Example, each line in a terminal of its own:
  zerowire rep -b 'tcp://*:5557'
  zerowire tap --listen 'tcp://*:6000' --to tcp://127.0.0.1:5557
  zerowire req -c tcp://127.0.0.1:6000 -m hello";

pub const COMPLETIONS: &str = "\
Example:
  mkdir -p ~/.local/share/bash-completion/completions
  zerowire completions bash > ~/.local/share/bash-completion/completions/zerowire";
