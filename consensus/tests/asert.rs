//! The retarget against vectors: our own (`asert/vectors.txt`, generated with unbounded integers by
//! `asert/generate.py`) always, and the public aserti3-2d runs when they lie beside the project
//! (`../shared/vectors/asert`).
//!
//! Rule: `spec/06-proof-of-work.md#retarget`.

use std::{fs, path::Path};

use cairn_consensus::asert::{Anchor, Pace, next_target};
use ruint::aliases::U256;

/// Compact form to number; vectors hold only well-formed positive encodings.
fn from_bits(bits: u32) -> U256 {
    let (size, word) = ((bits >> 24) as usize, U256::from(bits & 0x7f_ffff));
    if size <= 3 {
        word >> (8 * (3 - size))
    } else {
        word << (8 * (size - 3))
    }
}

/// Number to compact form, dropping the low bits that do not fit.
fn to_bits(target: U256) -> u32 {
    let mut size = target.bit_len().div_ceil(8);
    let word = if size <= 3 {
        target << (8 * (3 - size))
    } else {
        target >> (8 * (size - 3))
    };
    let mut word = word.to::<u32>();
    if word & 0x80_0000 != 0 {
        word >>= 8;
        size += 1;
    }
    (size as u32) << 24 | word
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .unwrap_or_else(|error| panic!("{text:?} is no number: {error}"))
}

#[test]
fn own_vectors() {
    let text = include_str!("asert/vectors.txt");
    let (mut run, mut checked, mut runs) = (None, 0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "run" {
            let [height, parent_time, bits, spacing, half_life, limit] =
                [2, 3, 4, 5, 6, 7].map(|i| number(words[i]));
            let anchor = Anchor {
                height,
                parent_time: parent_time as u32,
                target: from_bits(bits as u32),
            };
            let pace = Pace {
                spacing_s: spacing as u32,
                half_life_s: half_life as u32,
                limit: from_bits(limit as u32),
            };
            run = Some((words[1], anchor, pace));
            runs += 1;
            continue;
        }
        let (name, anchor, pace) = run.as_ref().expect("a run line comes first");
        let [height, time, bits] = [0, 1, 2].map(|i| number(words[i]));
        let got = to_bits(next_target(anchor, pace, height, time as u32));
        assert_eq!(
            got, bits as u32,
            "run {name}: after height {height}, time {time}"
        );
        checked += 1;
    }
    assert_eq!(
        (runs, checked),
        (8, 1_149),
        "every vector of the file was read"
    );
}

/// One public run: header lines `## key: value`, then `iteration height time 0xbits`.
fn check_public_run(name: &str, text: &str) -> usize {
    let field = |keys: &[&str]| {
        let line = text.lines().find_map(|line| {
            keys.iter().find_map(|key| {
                line.strip_prefix("##")?
                    .trim()
                    .strip_prefix(key)?
                    .strip_prefix(':')
            })
        });
        number(
            line.unwrap_or_else(|| panic!("{name}: no line {keys:?}"))
                .trim(),
        )
    };
    let anchor = Anchor {
        height: field(&["anchor height"]),
        parent_time: field(&["anchor ancestor time", "anchor parent time"]) as u32,
        target: from_bits(field(&["anchor nBits"]) as u32),
    };
    let pace = Pace {
        spacing_s: 600,
        half_life_s: 172_800,
        limit: from_bits(0x1d00_ffff),
    };
    let mut checked = 0;
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let got = to_bits(next_target(
            &anchor,
            &pace,
            number(words[1]),
            number(words[2]) as u32,
        ));
        assert_eq!(got, number(words[3]) as u32, "{name}: {line}");
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
fn public_vectors_when_present() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/asert");
    let Ok(entries) = fs::read_dir(&dir) else {
        println!(
            "NOT CHECKED: the public aserti3-2d runs are not at ../shared/vectors/asert from the project's root"
        );
        return;
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable directory entry").path())
        .collect();
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("run"))
    });
    paths.sort();
    assert!(
        !paths.is_empty(),
        "{} exists but holds no run",
        dir.display()
    );
    let (mut checked, mut runs) = (0, 0);
    for path in paths {
        let text = fs::read_to_string(&path).expect("a readable vector file");
        checked += check_public_run(&path.file_name().expect("listed").to_string_lossy(), &text);
        runs += 1;
    }
    println!("public aserti3-2d vectors: {checked} lines of {runs} runs");
}
