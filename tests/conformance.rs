//! Keeps the table of what the specifications of the socket types ask for, `tests/CONFORMANCE.md`, in step with the tests.
//!
//! The doc comments of the tests in `tests/patterns/conformance` say which sentence each of them is about. An ordinary run
//! reads them and the table, and fails if a sentence has no test or the table is not what they make; that takes no time.
//! `ZEROWIRE_CONFORMANCE=write cargo test --test conformance` also runs those tests and writes the table from their
//! results.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many sentences say SHALL or SHOULD of each socket type, counted in the text of the RFCs, and which of those say
/// SHOULD or SHALL NOT, by their numbers. How sentences are counted is told in `tests/patterns/conformance/mod.rs`.
const SECTIONS: &[Section] = &[
    Section::new(28, "REQ", 8, &[], &[6]),
    Section::new(28, "REP", 11, &[], &[]),
    Section::new(28, "DEALER", 13, &[6], &[11]),
    Section::new(28, "ROUTER", 14, &[6, 7], &[14]),
    Section::new(29, "PUB", 13, &[6], &[11, 13]),
    Section::new(29, "XPUB", 14, &[5], &[9]),
    Section::new(29, "SUB", 10, &[6], &[]),
    Section::new(29, "XSUB", 16, &[5, 16], &[13]),
    Section::new(30, "PUSH", 12, &[7], &[12]),
    Section::new(30, "PULL", 9, &[7], &[]),
    Section::new(31, "PAIR", 12, &[6], &[10]),
];

const PATTERNS: &[(u32, &str)] = &[
    (28, "request and reply"),
    (29, "publish and subscribe"),
    (30, "pipeline"),
    (31, "exclusive pair"),
];

const TRANSPORTS: [&str; 3] = ["inproc", "ipc", "tcp"];

/// The part of an RFC about a socket type.
struct Section {
    rfc: u32,
    socket: &'static str,
    sentences: u32,
    should: &'static [u32],
    shall_not: &'static [u32],
}

/// A sentence of an RFC and a test of it: a line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    rfc: u32,
    socket: String,
    number: u32,
    keyword: String,
    gist: String,
    /// Why the library does otherwise.
    differs: Option<String>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    /// Name of the module in `tests/patterns/conformance`.
    file: String,
    name: String,
    /// Whether it runs over each of [`TRANSPORTS`].
    runs_over: [bool; 3],
}

/// What came of the tests: where they ran, and the cells of the table by test and transport.
#[derive(Default)]
struct Results {
    platform: String,
    cells: HashMap<(String, usize), String>,
}

#[test]
fn every_sentence_has_a_test_and_a_line_in_the_table() {
    let mut complaints = Vec::new();
    let rows = rows(&mut complaints);
    complaints.extend(missing(&rows));
    complaints.extend(undeclared());
    if complaints.is_empty() {
        let path = root().join("tests/CONFORMANCE.md");
        if is_to_be_written() {
            let results = run();
            fs::write(&path, table(&rows, &results)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        complaints.extend(outdated(&rows, &text));
    }
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

#[test]
fn mistakes_in_comments_are_noticed() {
    let cases = [
        ("[30/PUSH-2] SHALL: what it says.", None),
        (
            "[30/PUSH-2] SHALL: what it says. DIFFERS: the reason for it.",
            None,
        ),
        ("[30/PUSH-7] SHOULD: what it says.", None),
        ("[30/PUSH-12] SHALL NOT: what it says.", None),
        ("[30/PUSH-2] SHALL what it says.", Some("not of the form")),
        ("[30/PUSH2] SHALL: what it says.", Some("not of the form")),
        ("[30/PUSH-two] SHALL: what it says.", Some("not of the form")),
        ("[30/PUSH-0] SHALL: what it says.", Some("has 12 sentences")),
        ("[30/PUSH-13] SHALL: what it says.", Some("has 12 sentences")),
        ("[28/PUSH-2] SHALL: what it says.", Some("no RFC has")),
        ("[30/PUSH-2] SHOULD: what it says.", Some("says SHALL here")),
        ("[30/PUSH-7] SHALL: what it says.", Some("says SHOULD here")),
        ("[30/PUSH-2] SHALL: what it says", Some("full stop")),
        ("[30/PUSH-2] SHALL: .", Some("says nothing")),
        (
            "[30/PUSH-2] SHALL: what it says. DIFFERS: no.",
            Some("says nothing"),
        ),
    ];
    for (comment, expected) in cases {
        let text = format!("on_every_wire! {{\n    /// {comment}\n    fn test(transport) {{\n    }}\n}}\n");
        match (read("file", &text), expected) {
            (Ok(rows), None) => {
                assert_eq!(rows.len(), 1);
                assert_eq!(rows[0].differs.is_some(), comment.contains("DIFFERS"));
                assert_eq!(
                    (&*rows[0].test.name, rows[0].test.runs_over),
                    ("test", [false, true, true])
                );
            }
            (Err(complaint), Some(expected)) => assert!(complaint.contains(expected), "{complaint}"),
            (result, _) => panic!("{comment}: {result:?}"),
        }
    }
}

#[test]
fn comments_go_with_the_tests_below_them() {
    let text = "
on_every_transport! {
    /// [30/PUSH-2] SHALL: of two lines,
    /// which is one sentence.
    /// [30/PULL-2] SHALL: another sentence.
    ///
    /// No sentence.
    fn one(transport) {
        fn check() {}
    }
}

/// [30/PUSH-3] SHALL: without a macro.
#[test]
fn two() {
    connect(\"tcp://127.0.0.1:0\", Transport::Ipc);
}

/// No test.
fn three() -> &'static str {
    \"inproc://a\"
}
";
    let rows = read("file", text).unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.id(), &*row.gist, &*row.test.name, row.test.runs_over))
        .collect();
    assert_eq!(
        seen,
        [
            (
                "30/PUSH-2".into(),
                "of two lines, which is one sentence.",
                "one",
                [true; 3]
            ),
            ("30/PULL-2".into(), "another sentence.", "one", [true; 3]),
            ("30/PUSH-3".into(), "without a macro.", "two", [false, true, true]),
        ]
    );
    for (text, expected) in [
        (
            "on_every_wire! {\n    /// Whatever.\n    fn one(transport) {\n    }\n}\n",
            "file.rs:3: no sentence",
        ),
        (
            "/// [30/PUSH-3] SHALL: what it says.\nfn one() {}\n",
            "file.rs:2: a sentence without a test",
        ),
        (
            "/// [30/PUSH-3] SHALL: what it says.\n#[test]\nfn one() {\n}\n",
            "file.rs:3: no telling",
        ),
        (
            "// [30/PUSH-3] SHALL: what it says.\n",
            "file.rs:1: a sentence has to be a doc comment",
        ),
    ] {
        let complaint = read("file", text).unwrap_err();
        assert!(complaint.starts_with(expected), "{complaint}");
    }
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let text = "
on_every_wire! {
    /// [30/PUSH-2] SHALL: this | and that. DIFFERS: for a reason.
    fn one(transport) {
    }
}
";
    let rows = read("file", text).unwrap();
    let mut results = Results {
        platform: "a machine".into(),
        ..Results::default()
    };
    for index in [1, 2] {
        results.cells.insert(("file::one".into(), index), PASSED.into());
    }
    let text = table(&rows, &results);
    let expected = "| 30/PUSH-2 | SHALL | This \\| and that. **Differs:** for a reason. | \
                    [`one`](patterns/conformance/file.rs) | – | passed | passed |";
    assert!(text.lines().any(|line| line == expected), "{text}");
    assert_eq!(outdated(&rows, &text), [""; 0]);

    let mut another = rows.clone();
    another[0].gist = "something else.".into();
    assert_eq!(
        outdated(&another, &text).len(),
        3,
        "a line that lacks, one that is too much, and the advice"
    );
    let failed = text.replace("| passed |\n", "| FAILED |\n");
    assert_eq!(
        outdated(&rows, &failed),
        ["30/PUSH-2: one has not passed over tcp"]
    );
}

/// Whether the tests are to be run and the table to be written.
fn is_to_be_written() -> bool {
    match std::env::var("ZEROWIRE_CONFORMANCE").as_deref() {
        Ok("write") => true,
        Ok(other) => panic!("ZEROWIRE_CONFORMANCE is `{other}`; the only value is `write`"),
        Err(_) => false,
    }
}

/// Reads all tests, and adds what is wrong with their comments to the complaints.
fn rows(complaints: &mut Vec<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in files() {
        let text = fs::read_to_string(folder().join(format!("{file}.rs"))).unwrap();
        match read(&file, &text) {
            Ok(found) => rows.extend(found),
            Err(complaint) => complaints.push(complaint),
        }
    }
    // Tests of one sentence stay in the order in which they are written.
    rows.sort_by_key(|row: &Row| (row.section_index(), row.number));
    rows
}

/// The names of the files that hold tests.
fn files() -> Vec<String> {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .strip_suffix(".rs")
                .map(str::to_owned)
        })
        .filter(|name| name != "mod")
        .collect();
    files.sort_unstable();
    files
}

/// A file that no `mod` names is not compiled, and nobody notices.
fn undeclared() -> Vec<String> {
    let declared = fs::read_to_string(folder().join("mod.rs")).unwrap();
    files()
        .iter()
        .filter(|file| !declared.lines().any(|line| line == format!("mod {file};")))
        .map(|file| format!("{file}.rs: its tests do not run, because mod.rs does not name it"))
        .collect()
}

/// Reads the comments of a file's tests.
fn read(file: &str, text: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    // The lines of the doc comment above, and what the macro around says.
    let mut comment: Vec<&str> = Vec::new();
    let mut around: Option<[bool; 3]> = None;
    let mut attributed = false;
    for (index, line) in text.lines().enumerate() {
        let at = |what: &str| format!("{file}.rs:{}: {what}", index + 1);
        let code = line.trim_start();
        if let Some(line) = code.strip_prefix("///") {
            comment.push(line.trim());
            continue;
        }
        match line {
            "on_every_transport! {" => around = Some([true; 3]),
            "on_every_wire! {" => around = Some([false, true, true]),
            "}" => around = None,
            _ => {}
        }
        if code.starts_with("#[") {
            attributed |= code == "#[test]";
            continue;
        }
        let name = code.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        let about = annotations(&comment).map_err(|what| at(&what))?;
        // A function that is indented further is part of a test.
        let is_test = attributed || around.is_some() && line.starts_with("    fn ");
        if let (Some(name), true) = (name, is_test) {
            let runs_over = around.unwrap_or_else(|| mentioned(text, index));
            if runs_over == [false; 3] {
                return Err(at("no telling over which transport this runs"));
            }
            if about.is_empty() && around.is_some() {
                return Err(at("no sentence says what this is a test of"));
            }
            let test = Test {
                file: file.to_owned(),
                name: name.to_owned(),
                runs_over,
            };
            rows.extend(about.into_iter().map(|row| Row {
                test: test.clone(),
                ..row
            }));
        } else if !about.is_empty() {
            return Err(at("a sentence without a test below it"));
        } else if code.starts_with("//") && code.contains("] SHALL") {
            return Err(at("a sentence has to be a doc comment"));
        }
        comment.clear();
        attributed = false;
    }
    Ok(rows)
}

/// The transports that a test mentions which is not written by a macro: up to the first line that is as little indented.
fn mentioned(text: &str, start: usize) -> [bool; 3] {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip(start);
    let depth = lines.next().map_or(0, indent);
    let body: Vec<&str> = lines
        .take_while(|line| line.is_empty() || indent(line) > depth)
        .collect();
    let body = body.concat();
    [
        ("inproc://", "::Inproc"),
        ("ipc://", "::Ipc"),
        ("tcp://", "::Tcp"),
    ]
    .map(|(scheme, variant)| body.contains(scheme) || body.contains(variant))
}

/// The sentences that a doc comment names: each begins with a bracket and ends at the next one, or at an empty line.
fn annotations(comment: &[&str]) -> Result<Vec<Row>, String> {
    let mut texts: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in comment {
        if is_sentence(line) {
            texts.push((*line).to_owned());
            is_open = true;
        } else if line.is_empty() {
            is_open = false;
        } else if let (Some(text), true) = (texts.last_mut(), is_open) {
            text.push(' ');
            text.push_str(line);
        }
    }
    texts.iter().map(|text| annotation(text)).collect()
}

/// Whether a line begins as `[30/PUSH-3]` does.
fn is_sentence(line: &str) -> bool {
    line.strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .is_some_and(|(id, _)| id.contains('/'))
}

fn annotation(text: &str) -> Result<Row, String> {
    let wrong = |what: &str| format!("{what}: {text}");
    let form = || wrong("not of the form `[30/PUSH-3] SHALL: what it says.`");
    let (id, rest) = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .ok_or_else(form)?;
    let (rfc, id) = id.split_once('/').ok_or_else(form)?;
    let (socket, number) = id.split_once('-').ok_or_else(form)?;
    let (keyword, gist) = rest.split_once(": ").ok_or_else(form)?;
    let (gist, differs) = match gist.split_once(" DIFFERS: ") {
        Some((gist, reason)) => (gist, Some(reason.to_owned())),
        None => (gist, None),
    };
    let row = Row {
        rfc: rfc.parse().map_err(|_| form())?,
        socket: socket.to_owned(),
        number: number.parse().map_err(|_| form())?,
        keyword: keyword.to_owned(),
        gist: gist.to_owned(),
        differs,
        test: Test {
            file: String::new(),
            name: String::new(),
            runs_over: [false; 3],
        },
    };
    let Some(section) = row.section() else {
        return Err(wrong("no RFC has a section on this"));
    };
    if !(1..=section.sentences).contains(&row.number) {
        let count = section.sentences;
        return Err(wrong(&format!("this section has {count} sentences")));
    }
    if section.keyword(row.number) != row.keyword {
        let keyword = section.keyword(row.number);
        return Err(wrong(&format!("the RFC says {keyword} here")));
    }
    let sentences = [Some(&row.gist), row.differs.as_ref()];
    if sentences
        .into_iter()
        .flatten()
        .any(|text| text.len() < 10 || !text.ends_with('.'))
    {
        return Err(wrong("says nothing, or does not end in a full stop"));
    }
    Ok(row)
}

/// Sentences of the RFCs that no test is about.
fn missing(rows: &[Row]) -> Vec<String> {
    let mut missing = Vec::new();
    for section in SECTIONS {
        for number in 1..=section.sentences {
            if !rows
                .iter()
                .any(|row| row.is_about(section) && row.number == number)
            {
                missing.push(format!(
                    "{}/{}-{number}: no test is about it",
                    section.rfc, section.socket
                ));
            }
        }
    }
    missing
}

/// Runs the tests and reads what came of them.
fn run() -> Results {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--locked", "--test", "patterns", "conformance::"])
        .current_dir(root())
        .env_remove("ZEROWIRE_CONFORMANCE")
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut results = Results {
        platform: format!("{}, {}", std::env::consts::OS, std::env::consts::ARCH),
        cells: HashMap::new(),
    };
    for line in text.lines() {
        let Some((name, outcome)) = line
            .strip_prefix("test conformance::")
            .and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        let outcome = if outcome == "ok" { PASSED } else { "FAILED" };
        // A test that is not written by a macro has one result for all transports that it mentions.
        let transport = |last| TRANSPORTS.iter().position(|transport| *transport == last);
        let (test, over) = match name.rsplit_once("::").map(|(test, last)| (test, transport(last))) {
            Some((test, Some(index))) => (test, index..index + 1),
            _ => (name, 0..TRANSPORTS.len()),
        };
        for index in over {
            results.cells.insert((test.to_owned(), index), outcome.to_owned());
        }
    }
    assert!(
        !results.cells.is_empty(),
        "no test ran: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    results
}

/// What is wrong with the table: lines that the tests make and it has not, or the other way around, and bad results.
fn outdated(rows: &[Row], text: &str) -> Vec<String> {
    let results = written(text);
    let fresh = table(rows, &results);
    let mut complaints = Vec::new();
    if fresh != text {
        let lines = |one: &str, other: &str, what: &str| -> Vec<String> {
            one.lines()
                .filter(|line| !other.lines().any(|it| it == *line))
                .map(|line| format!("tests/CONFORMANCE.md {what}: {line}"))
                .collect()
        };
        complaints.extend(lines(&fresh, text, "lacks"));
        complaints.extend(lines(text, &fresh, "should not say"));
        if complaints.is_empty() {
            complaints.push("the lines of tests/CONFORMANCE.md are not in order".into());
        }
        complaints.push(format!("Write it anew: {COMMAND}"));
    }
    for row in rows {
        for (index, transport) in TRANSPORTS.iter().enumerate() {
            if row.test.runs_over[index] && results.cell(&row.test, index) != PASSED {
                complaints.push(format!(
                    "{}: {} has not passed over {transport}",
                    row.id(),
                    row.test.name
                ));
            }
        }
    }
    complaints
}

/// The results as the table has them.
fn written(text: &str) -> Results {
    let mut results = Results::default();
    for line in text.lines() {
        if let Some(platform) = line.strip_prefix(RUN_ON).and_then(|rest| rest.strip_suffix('.')) {
            results.platform = platform.to_owned();
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        let [_, _, _, test, inproc, ipc, tcp] = cells[..] else {
            continue;
        };
        let Some((name, file)) = test
            .strip_prefix("[`")
            .and_then(|rest| rest.strip_suffix(".rs)"))
            .and_then(|rest| rest.split_once("`](patterns/conformance/"))
        else {
            continue;
        };
        for (index, cell) in [inproc, ipc, tcp.trim_end_matches(" |")].into_iter().enumerate() {
            results
                .cells
                .insert((format!("{file}::{name}"), index), cell.to_owned());
        }
    }
    results
}

fn table(rows: &[Row], results: &Results) -> String {
    let mut text = format!("{HEAD}\n{RUN_ON}{}.\n\n", results.platform);
    text.push_str("| RFC | socket | sentences | tests | sentences that this library differs from |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for section in SECTIONS {
        let about: Vec<&Row> = rows.iter().filter(|row| row.is_about(section)).collect();
        let mut differing: Vec<String> = about
            .iter()
            .filter(|row| row.differs.is_some())
            .map(|row| row.number.to_string())
            .collect();
        differing.dedup();
        let differing = if differing.is_empty() {
            "none".into()
        } else {
            differing.join(", ")
        };
        let Section {
            rfc,
            socket,
            sentences,
            ..
        } = section;
        let anchor = socket.to_lowercase();
        let tests = about.len();
        let _ = writeln!(
            text,
            "| {rfc} | [{socket}](#{anchor}) | {sentences} | {tests} | {differing} |"
        );
    }
    for (rfc, pattern) in PATTERNS {
        let _ = write!(
            text,
            "\n## [RFC {rfc}](https://rfc.zeromq.org/spec/{rfc}/): {pattern}\n"
        );
        for section in SECTIONS.iter().filter(|section| section.rfc == *rfc) {
            let _ = write!(text, "\n### {}\n\n", section.socket);
            text.push_str("| sentence | says | what it says | test | inproc | ipc | tcp |\n");
            text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
            for row in rows.iter().filter(|row| row.is_about(section)) {
                text.push_str(&line(row, results));
            }
        }
    }
    text
}

fn line(row: &Row, results: &Results) -> String {
    let mut gist = capitalized(&row.gist);
    if let Some(reason) = &row.differs {
        let _ = write!(gist, " **Differs:** {reason}");
    }
    let gist = gist.replace('|', "\\|");
    let Test { file, name, .. } = &row.test;
    let [inproc, ipc, tcp] = [0, 1, 2].map(|index| results.cell(&row.test, index));
    format!(
        "| {} | {} | {gist} | [`{name}`](patterns/conformance/{file}.rs) | {inproc} | {ipc} | {tcp} |\n",
        row.id(),
        row.keyword,
    )
}

fn capitalized(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect()
}

impl Section {
    const fn new(
        rfc: u32,
        socket: &'static str,
        sentences: u32,
        should: &'static [u32],
        shall_not: &'static [u32],
    ) -> Section {
        Section {
            rfc,
            socket,
            sentences,
            should,
            shall_not,
        }
    }

    fn keyword(&self, number: u32) -> &'static str {
        if self.should.contains(&number) {
            "SHOULD"
        } else if self.shall_not.contains(&number) {
            "SHALL NOT"
        } else {
            "SHALL"
        }
    }
}

impl Row {
    fn id(&self) -> String {
        format!("{}/{}-{}", self.rfc, self.socket, self.number)
    }

    fn is_about(&self, section: &Section) -> bool {
        self.rfc == section.rfc && self.socket == section.socket
    }

    fn section_index(&self) -> usize {
        SECTIONS
            .iter()
            .position(|section| self.is_about(section))
            .unwrap_or(SECTIONS.len())
    }

    fn section(&self) -> Option<&'static Section> {
        SECTIONS.get(self.section_index())
    }
}

impl Results {
    fn cell(&self, test: &Test, transport: usize) -> &str {
        if !test.runs_over[transport] {
            return "–";
        }
        let key = (format!("{}::{}", test.file, test.name), transport);
        self.cells.get(&key).map_or("not run", String::as_str)
    }
}

fn folder() -> PathBuf {
    root().join("tests/patterns/conformance")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const PASSED: &str = "passed";
const COMMAND: &str = "ZEROWIRE_CONFORMANCE=write cargo test --test conformance";
const RUN_ON: &str = "The results are those of a run on ";

const HEAD: &str = "\
# Conformance

What the RFCs of ZeroMQ ask of each socket type, sentence by sentence, and the tests that show whether this library does
it. Written by a program, from the comments above those tests and from what came of a run of them:

    ZEROWIRE_CONFORMANCE=write cargo test --test conformance

Every `cargo test` checks that the table has all sentences and all tests, and no others; a sentence without a test fails
it.

A sentence is named by its RFC, its socket type, and its number among those of that type that say SHALL or SHOULD, in the
order of the text; it stands here in other words. A sentence may have several tests. A dash instead of a result means that
the transport has nothing that the test is about: there are no bytes and no peers of another make in inproc. *Differs*
means that this library does otherwise on purpose, for the reason given; the test shows what it does.
";
