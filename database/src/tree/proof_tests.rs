//! The published vectors of certificate transparency, and every pair of sizes up to a bound against
//! the recursive definition of RFC 6962 section 2.1.

use super::*;
use crate::tree::{EMPTY_ROOT, leaf_hash, root_of};

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const N1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const N23: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const N4567: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const N4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

fn hash(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn leaves() -> Vec<Hash> {
    LEAVES
        .iter()
        .map(|text| leaf_hash(&[&hex::decode(text).unwrap()]))
        .collect()
}

/// RFC 6962 section 2.1, word by word.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&defined_root(left), &defined_root(right))
        }
    }
}

#[test]
fn published_roots_and_proofs() {
    let leaves = leaves();
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(root_of(&leaves[..size]), hash(root));
    }
    let inclusion: [(u64, usize, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[N1, N23, N4567]),
        (5, 8, &[N4, N67, ROOTS[3]]),
        (2, 3, &[ROOTS[1]]),
        (1, 5, &[ROOTS[0], N23, N4]),
    ];
    for (index, size, path) in inclusion {
        let path: Vec<Hash> = path.iter().map(|text| hash(text)).collect();
        assert_eq!(prove_inclusion(index, &leaves[..size]), path);
    }
    let consistency: [(u64, usize, &[&str]); 4] = [
        (1, 1, &[]),
        (1, 8, &[N1, N23, N4567]),
        (6, 8, &[N45, N67, ROOTS[3]]),
        (2, 5, &[N23, N4]),
    ];
    for (old, size, path) in consistency {
        let path: Vec<Hash> = path.iter().map(|text| hash(text)).collect();
        assert_eq!(prove_consistency(old, &leaves[..size]), path);
    }
}

#[test]
fn every_proof_up_to_66_leaves_holds_and_no_changed_one_does() {
    let leaves: Vec<Hash> = (0..66u8).map(|leaf| leaf_hash(&[&[leaf]])).collect();
    for size in 1..=leaves.len() {
        let tree = &leaves[..size];
        let root = defined_root(tree);
        assert_eq!(root_of(tree), root);
        for index in 0..size {
            let proof = prove_inclusion(index as u64, tree);
            let check = |leaf, index, size, proof: &[Hash]| {
                verify_inclusion(leaf, index, size, proof, &root)
            };
            let (at, count) = (index as u64, size as u64);
            check(&tree[index], at, count, &proof).unwrap();
            assert!(check(&tree[index], at + 1, count, &proof).is_err());
            assert!(check(&[0; 32], at, count, &proof).is_err());
            assert!(check(&tree[index], at, count, &[&proof[..], &[root]].concat()).is_err());
            for place in 0..proof.len() {
                let mut bad = proof.clone();
                bad[place][7] ^= 1;
                assert_eq!(
                    check(&tree[index], at, count, &bad),
                    Err(ProofError::Root("tree's"))
                );
            }
        }
        for old in 1..=size {
            let old_root = defined_root(&tree[..old]);
            let proof = prove_consistency(old as u64, tree);
            let check = |old: usize, from: &Hash, to: &Hash, proof: &[Hash]| {
                verify_consistency(old as u64, size as u64, from, to, proof)
            };
            check(old, &old_root, &root, &proof).unwrap();
            assert!(check(old, &[1; 32], &root, &proof).is_err());
            assert!(check(old, &old_root, &[1; 32], &proof).is_err());
            assert!(check(old, &old_root, &root, &[&proof[..], &[root]].concat()).is_err());
            for place in 0..proof.len() {
                let mut bad = proof.clone();
                bad[place][31] ^= 0x80;
                assert!(check(old, &old_root, &root, &bad).is_err());
            }
        }
    }
    assert!(verify_consistency(0, 3, &EMPTY_ROOT, &[0; 32], &[]).is_err());
}

#[test]
fn the_largest_sizes_do_not_overflow() {
    let proof = vec![[0; 32]; 64];
    let outcome = verify_inclusion(&[0; 32], u64::MAX - 1, u64::MAX, &proof, &[0; 32]);
    assert!(outcome.is_err());
    assert!(verify_consistency(1 << 63, u64::MAX, &[0; 32], &[1; 32], &proof).is_err());
    assert!(verify_consistency(u64::MAX - 1, u64::MAX, &[0; 32], &[1; 32], &[]).is_err());
}
