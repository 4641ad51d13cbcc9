//! The retarget against the public aserti3-2d runs, when they lie beside the project
//! (`../shared/vectors/asert`). The vectors that the project carries itself are
//! `spec/vectors/asert.json`; `header_vectors.rs` checks them always.
//!
//! Rule: `spec/06-proof-of-work.md#retarget`.

use std::fs;
use std::path::Path;

use cairn_consensus::asert::{Anchor, Pace, next_target};
use cairn_protocol::pow::{Bits, Target};

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("{text:?} is no number: {error}"))
}

fn target(bits: u64) -> Target {
    Bits(bits as u32)
        .to_target()
        .expect("the runs hold targets only")
}

/// One run: header lines `## key: value`, then `iteration height time 0xbits`, where bits are those
/// of the block after (height, time). Returns the number of lines.
fn check_run(name: &str, text: &str) -> usize {
    let field = |keys: &[&str]| {
        let value = |line: &'_ str| {
            let (key, value) = line.strip_prefix("##")?.split_once(':')?;
            keys.contains(&key.trim()).then(|| number(value.trim()))
        };
        text.lines()
            .find_map(value)
            .unwrap_or_else(|| panic!("{name}: no line {keys:?}"))
    };
    let anchor = Anchor {
        height: field(&["anchor height"]),
        parent_time: field(&["anchor ancestor time", "anchor parent time"]) as u32,
        target: target(field(&["anchor nBits"])),
    };
    let pace = Pace {
        spacing_s: 600,
        half_life_s: 172_800,
        limit: target(0x1d00_ffff),
    };
    let mut checked = 0;
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let next = next_target(&anchor, &pace, number(words[1]), number(words[2]) as u32);
        assert_eq!(
            Bits::from_target(next),
            Bits(number(words[3]) as u32),
            "{name}: {line}"
        );
        checked += 1;
    }
    assert_eq!(
        checked as u64,
        field(&["iterations"]),
        "{name}: lines against its own header"
    );
    checked
}

#[test]
fn public_runs_when_present() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/asert");
    let Ok(entries) = fs::read_dir(&dir) else {
        println!(
            "NOT CHECKED: the public aserti3-2d runs are not at ../shared/vectors/asert from the \
             project's root"
        );
        return;
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    let is_run = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("run"))
    };
    paths.retain(|path| is_run(path));
    paths.sort();
    assert!(
        !paths.is_empty(),
        "{} exists but holds no run",
        dir.display()
    );
    let mut checked = 0;
    for path in &paths {
        let text = fs::read_to_string(path).expect("a readable run");
        checked += check_run(&path.display().to_string(), &text);
    }
    println!(
        "public aserti3-2d vectors: {checked} lines of {} runs",
        paths.len()
    );
}
