//! Writes the seeds of every target into `DIR/<target>/`: `seeds DIR`.

use std::fs;
use std::path::PathBuf;

fn main() {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.expect("usage: seeds DIR");
    for (name, _) in cairn_fuzz::TARGETS {
        let folder = directory.join(name);
        fs::create_dir_all(&folder).expect("the folder is ours");
        for (number, seed) in cairn_fuzz::seeds::seeds(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), seed).expect("the folder is ours");
        }
    }
}
