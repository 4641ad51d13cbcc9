//! One set of rules, said four times: `spec/rules.toml`, the error variants, the vectors and the
//! chapters name the same ids.

use cairn_protocol::address::ADDRESS_RULES;
use cairn_protocol::bft::BFT_RULES;
use cairn_protocol::codec::ENCODING_RULES;
use cairn_protocol::rules::RULES;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn spec() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Rule {
    name: String,
    kind: String,
    chapter: String,
}

fn rules_file() -> BTreeMap<String, Rule> {
    let table: toml::Table = read(&spec().join("rules.toml")).parse().unwrap();
    let mut rules = BTreeMap::new();
    for rule in table["rule"].as_array().unwrap() {
        let text = |key: &str| rule[key].as_str().unwrap().to_owned();
        assert!(
            text("text").ends_with('.'),
            "{} is one sentence",
            text("id")
        );
        let (name, kind, chapter) = (text("name"), text("kind"), text("chapter"));
        let before = rules.insert(
            text("id"),
            Rule {
                name,
                kind,
                chapter,
            },
        );
        assert!(before.is_none(), "{} stands twice", text("id"));
    }
    rules
}

/// Every `.json` file of `spec/vectors/`.
fn vectors() -> Vec<(String, Value)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(spec().join("vectors")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        files.push((name, serde_json::from_str(&read(&path)).unwrap()));
    }
    files
}

#[test]
fn variants_and_the_file_are_one_set() {
    let file = rules_file();
    let code: BTreeMap<&str, &str> = RULES
        .iter()
        .chain(ENCODING_RULES)
        .chain(ADDRESS_RULES)
        .chain(BFT_RULES)
        .copied()
        .collect();
    let listed: BTreeMap<&str, &str> = file
        .iter()
        .map(|(id, rule)| (id.as_str(), rule.name.as_str()))
        .collect();
    assert_eq!(listed, code);
    for (id, rule) in &file {
        let known = ["invalid", "mutation", "refused"].contains(&rule.kind.as_str());
        assert!(known, "{id} has the kind {}", rule.kind);
    }
}

/// The verdicts themselves are checked where the rules live: `protocol/tests/vectors.rs`,
/// `protocol/tests/bft_vectors.rs` and `consensus/tests/header_vectors.rs`.
#[test]
fn every_rule_is_kept_and_broken_by_vectors() {
    let (mut kept, mut broken) = (BTreeSet::new(), BTreeSet::new());
    for (name, file) in vectors() {
        let lists = ["cases", "sums"].map(|list| file[list].as_array().cloned());
        for case in lists.into_iter().flatten().flatten() {
            let Some(rule) = case["rule"].as_str() else {
                continue;
            };
            let valid = case["valid"]
                .as_bool()
                .unwrap_or_else(|| panic!("{name}: a case of {rule} without a verdict"));
            let set = if valid { &mut kept } else { &mut broken };
            set.insert(rule.to_owned());
        }
    }
    let all: BTreeSet<String> = rules_file().into_keys().collect();
    let missing = |set: &BTreeSet<String>| all.difference(set).cloned().collect::<Vec<_>>();
    assert_eq!(
        missing(&broken),
        Vec::<String>::new(),
        "rules that no vector breaks"
    );
    assert_eq!(
        missing(&kept),
        Vec::<String>::new(),
        "rules that no vector keeps"
    );
    let unknown: Vec<_> = kept
        .union(&broken)
        .filter(|id| !all.contains(*id))
        .collect();
    assert_eq!(unknown, Vec::<&String>::new(), "ids that no rule has");
}

/// The anchor that a heading gets, as Markdown readers make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(chapter: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in chapter.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if !fenced && line.starts_with('#') {
            anchors.insert(anchor(line));
        }
    }
    anchors
}

fn chapters() -> BTreeMap<String, String> {
    let mut chapters = BTreeMap::new();
    for entry in fs::read_dir(spec()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            chapters.insert(name, read(&path));
        }
    }
    assert!(chapters.len() >= 10, "only {} chapters", chapters.len());
    chapters
}

/// Each rule is named in the section that `rules.toml` points to, and chapters name no other ids.
#[test]
fn chapters_name_every_rule_and_no_other() {
    let (chapters, rules) = (chapters(), rules_file());
    for (id, rule) in &rules {
        let (file, section) = rule.chapter.split_once('#').unwrap();
        let text = chapters
            .get(file)
            .unwrap_or_else(|| panic!("{id} points to {file}"));
        assert!(
            section_of(text, section).contains(id.as_str()),
            "{} does not name {id}",
            rule.chapter
        );
    }
    for (name, text) in &chapters {
        for id in ids_in(text) {
            assert!(
                rules.contains_key(&id),
                "{name} names {id}, which is no rule"
            );
        }
    }
}

/// The text below the heading with this anchor, to the next heading of the same or a higher level.
fn section_of<'a>(text: &'a str, wanted: &str) -> &'a str {
    let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
    let mut offset = 0;
    let mut found: Option<(usize, usize)> = None;
    for line in text.split_inclusive('\n') {
        if line.starts_with('#') {
            match found {
                None if anchor(line) == wanted => found = Some((offset, level(line))),
                Some((start, depth)) if level(line) <= depth => return &text[start..offset],
                _ => {}
            }
        }
        offset += line.len();
    }
    let (start, _) = found.unwrap_or_else(|| panic!("no section #{wanted}"));
    &text[start..]
}

/// What ids of rules begin with.
const PREFIXES: [&str; 12] = [
    "ENC", "ADR", "TX", "HDR", "EXT", "BLK", "SET", "CRT", "MSG", "NVW", "EVD", "SWT",
];

/// Words such as `TX-07`: a prefix of rules, a dash, two digits.
fn ids_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.split(|c| !word(c))
        .filter(|id| {
            let Some((prefix, number)) = id.split_once('-') else {
                return false;
            };
            PREFIXES.contains(&prefix)
                && number.len() == 2
                && number.bytes().all(|b| b.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

/// Links of the sources and of the chapters themselves lead to sections that exist.
#[test]
fn cited_sections_exist() {
    let chapters = chapters();
    let known: BTreeMap<&str, BTreeSet<String>> = chapters
        .iter()
        .map(|(name, text)| (name.as_str(), anchors(text)))
        .collect();
    let root = spec().join("..");
    let mut cited = 0;
    let mut bad = Vec::new();
    for member in [
        "protocol",
        "consensus",
        "miner",
        "storage",
        "network",
        "database",
        "node",
        "tests",
        "spec",
    ] {
        for path in sources(&root.join(member)) {
            for (chapter, section) in citations(&read(&path)) {
                cited += 1;
                let exists = match known.get(chapter.as_str()) {
                    None => false,
                    Some(anchors) => section.as_ref().is_none_or(|s| anchors.contains(s)),
                };
                if !exists {
                    bad.push(format!("{}: {chapter} {section:?}", path.display()));
                }
            }
        }
    }
    assert!(bad.is_empty(), "dead links:\n{}", bad.join("\n"));
    assert!(cited > 100, "only {cited} links were found");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        let ends = |endings: &[&str]| {
            path.extension()
                .is_some_and(|e| endings.iter().any(|ending| e == *ending))
        };
        if path.is_dir() {
            files.extend(sources(&path));
        } else if ends(&["rs", "md", "toml", "py"]) {
            files.push(path);
        }
    }
    files
}

/// `NN-name.md` or `NN-name.md#section`, wherever it stands.
fn citations(text: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(".md") {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let start = text[..at].rfind(|c: char| !is_name(c)).map_or(0, |i| {
            i + text[i..].chars().next().map_or(1, char::len_utf8)
        });
        let name = &text[start..at];
        let bytes = name.as_bytes();
        let numbered = bytes.len() > 3
            && bytes[0].is_ascii_digit()
            && bytes[1].is_ascii_digit()
            && bytes[2] == b'-';
        if !numbered {
            continue;
        }
        let rest = &text[at + 3..];
        let section = rest.strip_prefix('#').map(|section| {
            let end = section.find(|c: char| !is_name(c)).unwrap_or(section.len());
            section[..end].to_owned()
        });
        found.push((format!("{name}.md"), section));
    }
    found
}
