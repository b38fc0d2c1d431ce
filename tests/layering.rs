//! The architecture as a test: who may import whom, and where clocks, system calls, atomics and `unsafe` may appear.
//!
//! It reads the sources as text, through a small tokenizer that knows comments, strings and characters, so it needs no
//! dependency and takes no time. Everything that is wrong is reported in one go. Test modules are free to import what
//! they like. A rule that stands in the way may be changed here, in the commit that gives the reason.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each top module may import: a module with all that is in it, or one item of it. Its own inside is always allowed.
///
/// A module without a row is a violation, so that a new one gets its place in the picture first.
const ARROWS: &str = "
    # What everybody may name.
    message   ->
    endpoint  ->
    peer_id   ->
    stats     -> SocketType monitor::Connection
    error     -> endpoint::EndpointError message::Message peer_id::PeerId SocketType
    options   -> error::OptionError message::Message

    # The protocol, as bytes and values.
    wire      ->
    security  -> wire
    engine    -> security wire
    routing   -> peer_id::PeerId

    # What threads share. A batch walks frame headers, to find where messages end.
    pipe      -> wire::frame
    transport -> endpoint options::TcpKeepalive pipe::WriteSide
    monitor   -> peer_id::PeerId pipe::{PipeId,inbox::wake,sync} wire::{error,socket_type}
    framing   -> message pipe wire::frame
    mailbox   -> endpoint message monitor options peer_id pipe routing::{identities,interests}
                 stats::Undelivered transport::{Listener,Stream} wire::socket_type

    # The I/O thread.
    reactor   -> endpoint engine framing mailbox message monitor options peer_id pipe routing::interests
                 stats::Undelivered transport wire::{command,error,frame,socket_type}

    # The application's threads. The context owns the names of inproc, but what they lead to is the sockets' affair.
    context   -> error::OptionError mailbox monitor::Reason pipe::{inbox::hold_wakes,quota::Quota,sync,PipeId}
                 reactor::{IoHandle,Reactor} socket::inproc::Registry stats::ShutdownReport
    socket    -> context endpoint error framing mailbox message monitor options peer_id pipe reactor::IoHandle routing
                 stats transport::{BindFailure,Listener,bell::ReadyFd} wire::{frame,socket_type}
                 wire::{command::TOPIC_BYTES_MAX,error::printable}

    # Waiting for many: what sockets say of themselves, and descriptors of others.
    selector  -> pipe::{inbox::Inbox,sync} socket::{level,park} transport::descriptors

    # A thread that is an application of two sockets, and knows how to sleep for both.
    proxy     -> framing::Run message socket

    # Entry points that take any bytes, for fuzz targets and tests only.
    fuzzing   -> engine wire
";

/// Modules that take bytes and time as arguments: a test can run them through anything, without a machine around.
const PURE: &[&str] = &["wire", "security", "engine", "routing"];
/// What is kept out of them. A clock is what tells the time; a time that somebody else read is a value like another.
const IMPURE_PATHS: &[&str] = &[
    "mio",
    "socket2",
    "std::net",
    "std::thread",
    "std::thread_local",
    "Instant::now",
];
const IMPURE_NAMES: &[&str] = &["SystemTime", "elapsed", "thread_local"];

/// Programs, each in a folder of its own. They see the library as everybody else does, which the compiler sees to; so what is
/// left to say is which crates they may use beside it, and that they take none of its files for their own.
const PROGRAMS: &str = "src/bin/";
const PROGRAM_CRATES: &[&str] = &["std", "zerowire", "bytes", "clap", "clap_complete", "ctrlc"];
/// Crates of the library, which the programs could use as well.
const LIBRARY_CRATES: &[&str] = &[
    "mio",
    "slab",
    "smallvec",
    "socket2",
    "thiserror",
    "tracing",
    "futures_core",
    "futures_sink",
];

/// The modules that talk to the operating system.
const SYSTEM: &[&str] = &["reactor", "transport"];
/// The modules that may hold unsafe code.
const UNSAFE: &[&str] = &["pipe"];
/// The file through which all atomics come, so that the models can replace them.
const ATOMICS: &str = "src/pipe/sync.rs";
/// Macros that print, or that stand for code not written yet.
const MACROS: &[&str] = &[
    "println",
    "eprintln",
    "print",
    "eprint",
    "dbg",
    "todo",
    "unimplemented",
];
/// File names that say nothing: what is in such a file belongs elsewhere.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "types", "manager", "misc"];
/// What the repository's top level holds, beside dotfiles; the last is what `cargo package` adds.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "src",
    "examples",
    "benches",
    "tests",
    "fuzz",
    "target",
    "Cargo.toml.orig",
];

#[test]
fn the_sources_keep_to_the_architecture() {
    let mut sources = Vec::new();
    for path in files_below(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        sources.push((relative(&path), text));
    }
    assert!(sources.len() > 20, "only {} source files found", sources.len());
    report(&violations(&sources));
}

#[test]
fn file_names_say_what_is_in_them() {
    let folders = ["src", "tests", "examples", "benches"].map(|folder| root().join(folder));
    let mut found = Vec::new();
    for path in folders.iter().flat_map(|folder| files_below(folder, "rs")) {
        let name = relative(&path);
        if name
            .trim_end_matches(".rs")
            .split('/')
            .any(|part| EMPTY_NAMES.contains(&part))
        {
            found.push(format!("{name}: a name that could hold anything"));
        }
    }
    report(&found);
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let entries = fs::read_dir(root()).expect("the crate's folder can be read");
    let names = entries.map(|entry| {
        entry
            .expect("an entry can be read")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let strangers = names.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    report(
        &strangers
            .map(|name| format!("{name}: not one of the top level's entries"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn fabricated_violations_are_caught() {
    for case in FABRICATED.lines().filter(|line| !line.is_empty()) {
        let [file, snippet, expected] = case.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("not three fields: {case}");
        };
        let text = format!("//! Fabricated.\n{snippet}\n");
        assert_eq!(
            violations(&[(file.to_owned(), text)]),
            [format!("{file}:{expected}")],
            "{case}"
        );
    }
}

#[test]
fn what_is_no_code_or_a_test_is_no_violation() {
    for snippet in INNOCENT {
        let file = ("src/wire/frame.rs".to_owned(), (*snippet).to_owned());
        assert_eq!(violations(&[file]), [""; 0], "{snippet}");
    }
    let declared = "#[cfg(all(test, zerowire_loom))]\nmod models;\nuse recycle::Sizes;";
    let models = "use crate::socket; use std::sync::atomic;";
    let files = [("src/pipe/mod.rs", declared), ("src/pipe/models.rs", models)];
    assert_eq!(
        violations(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))),
        [""; 0]
    );
}

/// A file, its second line, and where and what must be said about it.
const FABRICATED: &str = "
src/wire/frame.rs     | use crate::pipe::PipeId;                 | 2: wire may not import pipe::PipeId
src/wire/frame.rs     | use super::super::message;               | 2: wire may not import message
src/wire/mod.rs       | use super::message::{self as m, };       | 2: wire may not import message
src/wire/frame.rs     | fn f(m: crate::message::Message) {}      | 2: wire may not import message::Message
src/wire/frame.rs     | mod a { use super::super::super::pipe; } | 2: wire may not import pipe
src/wire/frame.rs     | #[cfg(not(test))] mod a { use crate::pipe; } | 2: wire may not import pipe
src/wire/frame.rs     | #[cfg(test)] mod tests {} use crate::pipe;   | 2: wire may not import pipe
src/socket/core.rs    | use crate::{error::BindError, reactor};  | 2: socket may not import reactor
src/socket/core.rs    | use crate::reactor::{IoHandle, Reactor}; | 2: socket may not import reactor::Reactor
src/socket/core.rs    | use crate::wire::*;                      | 2: socket may not import wire::*
src/error.rs          | use crate::Context;                      | 2: error may not import Context
src/brand_new.rs      | use std::fmt;                            | 1: brand_new has no row in ARROWS
src/engine/traffic.rs | use std::{fmt, net::{IpAddr}};           | 2: std::net is not for engine
src/engine/traffic.rs | let now = Instant::now();                | 2: Instant::now is not for engine
src/routing/topics.rs | fn f() { std::thread::yield_now() }      | 2: std::thread is not for routing
src/security/null.rs  | let late = since.elapsed();              | 2: elapsed is not for security
src/socket/core.rs    | use ::mio::Token;                        | 2: mio is for reactor, transport
src/pipe/chain.rs     | fn f(s: &socket2::Socket) {}             | 2: socket2 is for reactor, transport
src/socket/core.rs    | fn f() { unsafe {} }                     | 2: unsafe is for pipe
src/wire/frame.rs     | #![allow(unsafe_code)]                   | 2: unsafe_code is for pipe
src/context.rs        | use std::sync::atomic::AtomicU8;         | 2: atomics come through src/pipe/sync.rs
src/pipe/chain.rs     | use loom::sync::{Arc, atomic};           | 2: atomics come through src/pipe/sync.rs
src/message.rs        | fn f() { dbg!(1); }                      | 2: dbg! has no place in the library
src/message.rs        | fn f() { todo!() }                       | 2: todo! has no place in the library
src/bin/tool/main.rs  | use mio::Poll;                           | 2: programs use std, zerowire, bytes, clap, clap_complete, ctrlc
src/bin/tool/main.rs  | #[path = elsewhere] mod wire;            | 2: path has no place in a program
src/bin/tool/main.rs  | fn f() { unsafe {} }                     | 2: unsafe has no place in a program
src/bin/tool/main.rs  | fn f() { println!(); }                   | 2: println! has no place in a program
";

/// Comments, literals and tests, and what makes it hard to see where they end.
const INNOCENT: &[&str] = &[
    "/// See crate::pipe. /* std::net\n/* crate::pipe /* unsafe */ mio::Token */",
    r##"const A: &str = "crate::pipe \" unsafe"; const B: &str = r#"mio::"x"#; const C: &[u8] = b"\\";"##,
    r##"fn f<'a>(x: &'a u8) -> [char; 4] { ['\'', '"', '\u{27}', 'é'] } // unsafe"##,
    "#[cfg(test)]\nmod tests { use crate::pipe::PipeId; mod inner { fn f() { unsafe {} } } }",
    "use super::error::ProtocolError; pub(crate) use self::error::{self}; pub(in crate::wire) fn r#try() {}",
];

/// All violations in the files, given by their path below the crate's folder and their text.
fn violations(sources: &[(String, String)]) -> Vec<String> {
    let files: Vec<Source> = sources
        .iter()
        .map(|(name, text)| Source::parse(name, text))
        .collect();
    let tests: HashSet<&Vec<&str>> = files.iter().flat_map(|file| &file.test_files).collect();
    files
        .iter()
        .filter(|file| !tests.contains(&file.module))
        .flat_map(Source::violations)
        .collect()
}

/// A source file without its comments, literals and test modules.
struct Source<'a> {
    name: &'a str,
    /// The path of its module; empty for the crate's root.
    module: Vec<&'a str>,
    tokens: Vec<Token<'a>>,
    /// Modules in files of their own that are declared for tests only.
    test_files: Vec<Vec<&'a str>>,
}

#[derive(Clone, Copy)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// A path as it is written, groups of a `use` taken apart, with the module it is written in.
struct Import<'a> {
    line: usize,
    module: Vec<&'a str>,
    segments: Vec<&'a str>,
}

impl<'a> Source<'a> {
    fn parse(name: &'a str, text: &'a str) -> Source<'a> {
        let inner = name.trim_start_matches("src/").trim_end_matches(".rs");
        let module = inner
            .split('/')
            .filter(|part| !["lib", "mod"].contains(part))
            .collect();
        let mut source = Source {
            name,
            module,
            tokens: tokenize(text),
            test_files: Vec::new(),
        };
        source.drop_tests();
        source
    }

    /// Removes `#[cfg(test)] mod name { … }`, and notes `#[cfg(test)] mod name;`.
    fn drop_tests(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            let Some((after, true)) = self.attribute(at) else {
                at += 1;
                continue;
            };
            match (self.text(after), self.text(after + 1), self.text(after + 2)) {
                ("mod", _, "{") => drop(self.tokens.drain(at..=closing(&self.tokens, after + 2))),
                ("mod", name, ";") => {
                    self.test_files.push([self.module.as_slice(), &[name]].concat());
                    at = after;
                }
                _ => at = after,
            }
        }
    }

    /// If an attribute starts here: where it ends, and whether it is a `cfg` that asks for tests.
    fn attribute(&self, at: usize) -> Option<(usize, bool)> {
        if self.text(at) != "#" || self.text(at + 1) != "[" {
            return None;
        }
        let end = closing(&self.tokens, at + 1);
        let asks = |at: usize| self.text(at) == "test" && self.text(at - 2) != "not";
        Some((end + 1, self.text(at + 2) == "cfg" && (at + 4..end).any(asks)))
    }

    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn top(&self) -> &'a str {
        self.module.first().copied().unwrap_or("the crate's root")
    }

    /// What a program does that it should not.
    fn program_violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut add = |line: usize, text: String| found.push(format!("{}:{line}: {text}", self.name));
        for import in self.imports() {
            if LIBRARY_CRATES.contains(&import.segments[0]) {
                add(import.line, format!("programs use {}", PROGRAM_CRATES.join(", ")));
            }
        }
        for (at, Token { line, text }) in self.tokens.iter().enumerate() {
            let includes = *text == "path" && self.text(at + 1) == "=" || *text == "include";
            if includes || ["unsafe", "unsafe_code"].contains(text) {
                add(*line, format!("{text} has no place in a program"));
            }
            if MACROS.contains(text) && self.text(at + 1) == "!" {
                add(*line, format!("{text}! has no place in a program"));
            }
        }
        found
    }

    fn violations(&self) -> Vec<String> {
        if self.name.starts_with(PROGRAMS) {
            return self.program_violations();
        }
        let mut found = Vec::new();
        let mut add = |line: usize, text: String| found.push(format!("{}:{line}: {text}", self.name));
        let row = arrows().remove(self.top());
        if row.is_none() && !self.module.is_empty() {
            add(1, format!("{} has no row in ARROWS", self.top()));
        }
        for import in self.imports() {
            let path = import.segments.join("::");
            if let (Some(allowed), Some(target)) = (&row, import.target()) {
                let own = target.first().is_none_or(|first| *first == self.top());
                let target = target.join("::");
                if !own && !allowed.iter().any(|entry| is_within(&target, entry)) {
                    add(import.line, format!("{} may not import {target}", self.top()));
                }
            }
            if PURE.contains(&self.top()) {
                for entry in IMPURE_PATHS.iter().filter(|entry| is_within(&path, entry)) {
                    add(import.line, format!("{entry} is not for {}", self.top()));
                }
            } else if ["mio", "socket2"].contains(&import.segments[0]) && !SYSTEM.contains(&self.top()) {
                add(
                    import.line,
                    format!("{} is for {}", import.segments[0], SYSTEM.join(", ")),
                );
            }
            if import.segments.contains(&"atomic") && self.name != ATOMICS {
                add(import.line, format!("atomics come through {ATOMICS}"));
            }
        }
        for (at, Token { line, text }) in self.tokens.iter().enumerate() {
            if ["unsafe", "unsafe_code"].contains(text) && !UNSAFE.contains(&self.top()) {
                add(*line, format!("{text} is for {}", UNSAFE.join(", ")));
            }
            if PURE.contains(&self.top()) && IMPURE_NAMES.contains(text) {
                add(*line, format!("{text} is not for {}", self.top()));
            }
            if MACROS.contains(text) && self.text(at + 1) == "!" {
                add(*line, format!("{text}! has no place in the library"));
            }
        }
        found
    }

    /// All paths of two segments or more, and those of all `use` items.
    fn imports(&self) -> Vec<Import<'a>> {
        let mut found = Vec::new();
        // Modules written inside the file, each with the index of its closing brace.
        let mut inner: Vec<(&str, usize)> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            inner.retain(|(_, end)| at < *end);
            let module = || {
                self.module
                    .iter()
                    .copied()
                    .chain(inner.iter().map(|(name, _)| *name))
                    .collect()
            };
            if self.text(at) == "mod" && self.text(at + 2) == "{" {
                inner.push((self.text(at + 1), closing(&self.tokens, at + 2)));
                at += 3;
            } else if self.text(at) == "use" {
                let mut leaves = Vec::new();
                at = self.use_tree(at + 1, &[], &mut leaves);
                found.extend(leaves.into_iter().map(|(line, segments)| Import {
                    line,
                    module: module(),
                    segments,
                }));
            } else if is_name(self.text(at)) {
                let line = self.tokens[at].line;
                let mut segments = vec![self.text(at)];
                while self.text(at + 1) == "::" && is_name(self.text(at + 2)) {
                    segments.push(self.text(at + 2));
                    at += 2;
                }
                if segments.len() > 1 {
                    found.push(Import {
                        line,
                        module: module(),
                        segments,
                    });
                }
                at += 1;
            } else {
                at += 1;
            }
        }
        found
    }

    /// Takes one tree of a `use` item apart, and says where it ends: at its comma, brace or semicolon.
    fn use_tree(&self, mut at: usize, prefix: &[&'a str], leaves: &mut Vec<(usize, Vec<&'a str>)>) -> usize {
        let mut segments = prefix.to_vec();
        let mut leaf = None;
        while !["", ",", "}", ";"].contains(&self.text(at)) {
            match self.text(at) {
                "{" => {
                    while !["", "}"].contains(&self.text(at)) {
                        at = self.use_tree(at + 1, &segments, leaves);
                    }
                    return at + 1;
                }
                "as" => at += 1,
                "::" => {}
                name => {
                    leaf = Some(self.tokens[at].line);
                    // In a group, `self` is the group's module itself.
                    if name != "self" || segments.is_empty() {
                        segments.push(name);
                    }
                }
            }
            at += 1;
        }
        leaves.extend(leaf.map(|line| (line, segments)));
        at
    }
}

impl<'a> Import<'a> {
    /// The path from the crate's root; `None` if it names another crate, or what an earlier path brought in.
    fn target(&self) -> Option<Vec<&'a str>> {
        let mut base = match self.segments[0] {
            "crate" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        for segment in &self.segments {
            match *segment {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                name => base.push(name),
            }
        }
        Some(base)
    }
}

/// Names and punctuation of Rust source; literals and comments are left out, `::` is one token.
fn tokenize(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, is_token) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (comment_length(rest), false)
        } else if let Some(length) = string_length(rest) {
            (length, false)
        } else if first == '\'' {
            (quote_length(rest), false)
        } else if is_name(rest) {
            (rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        if is_token {
            tokens.push(Token {
                line,
                text: &rest[..length],
            });
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// A block comment; they nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = &text.as_bytes()[at..];
        if step.starts_with(b"/*") || step.starts_with(b"*/") {
            depth = if step[0] == b'/' { depth + 1 } else { depth - 1 };
            at += 1;
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of the string that starts here, of any of the kinds `"…"`, `b"…"`, `r#"…"#`, `cr"…"`.
fn string_length(text: &str) -> Option<usize> {
    let prefix = text.find(|letter| !"bcr".contains(letter))?;
    let hashes = text[prefix..].find(|letter| letter != '#')?;
    let is_raw = text[..prefix].ends_with('r');
    let start = prefix + hashes + 1;
    if prefix > 2 || (hashes > 0 && !is_raw) || !text[prefix + hashes..].starts_with('"') {
        return None;
    }
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(
            text[start..]
                .find(&end)
                .map_or(text.len(), |length| start + length + end.len()),
        );
    }
    let mut escaped = false;
    let end = text[start..].find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    Some(end.map_or(text.len(), |length| start + length + 1))
}

/// A character, or the name of a lifetime.
fn quote_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let start = at + escaped.len_utf8();
            text[start..]
                .find('\'')
                .map_or(text.len(), |length| start + length + 1)
        }
        (_, Some((at, '\''))) => at + 1,
        _ => {
            1 + text[1..]
                .find(|letter| !is_letter(letter))
                .unwrap_or(text.len() - 1)
        }
    }
}

/// The bracket that closes the one at `open`, or the last token.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len() - 1
}

fn is_name(text: &str) -> bool {
    text.starts_with(|letter| is_letter(letter) && !letter.is_ascii_digit())
}

fn is_letter(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// [`ARROWS`] taken apart: a row for each module.
fn arrows() -> HashMap<&'static str, Vec<&'static str>> {
    let mut rows = HashMap::new();
    let mut module = "";
    for line in ARROWS
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        let (start, entries) = line.split_once("->").unwrap_or((module, line));
        module = start.trim();
        rows.entry(module)
            .or_insert_with(Vec::new)
            .extend(entries.split_whitespace());
    }
    rows
}

/// Whether the path is the entry, or one of its group, or something in it.
fn is_within(path: &str, entry: &str) -> bool {
    if let Some((prefix, group)) = entry.split_once('{') {
        let mut names = group.trim_end_matches('}').split(',');
        return names.any(|name| is_within(path, &format!("{prefix}{name}")));
    }
    path.strip_prefix(entry)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn report(found: &[String]) {
    assert!(
        found.is_empty(),
        "{} violations:\n{}",
        found.len(),
        found.join("\n")
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path below the crate's folder, with slashes on every system.
fn relative(path: &Path) -> String {
    let inner = path.strip_prefix(root()).unwrap_or(path);
    inner
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// The files with this extension in the folder and those in it, in order; none if there is no such folder.
fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
