//! Every seed through every target, without libFuzzer: a target that fails on its own seeds, or on
//! small changes of them, is broken before anybody fuzzes.

use cairn_fuzz::TARGETS;
use cairn_fuzz::seeds::seeds;

#[test]
fn seeds_and_their_neighbours_pass() {
    let mut runs = 0;
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seed");
        for seed in &seeds {
            target(seed);
            for cut in [0, seed.len() / 2, seed.len().saturating_sub(1)] {
                target(&seed[..cut]);
            }
            let step = (seed.len() / 64).max(1);
            for at in (0..seed.len()).step_by(step) {
                let mut changed = seed.clone();
                changed[at] ^= 0x81;
                target(&changed);
                runs += 1;
            }
        }
    }
    println!("{} targets, {runs} changed seeds", TARGETS.len());
    assert!(runs > 1_000, "too little was run: {runs}");
}

#[test]
fn each_target_has_a_binary_and_each_binary_a_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin");
    let mut binaries: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "seeds")
        .collect();
    binaries.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort();
    assert_eq!(binaries, names);
}
