//! One range searched: the answer is the lowest hit, for every thread count and range.

use cairn_miner::{Cancel, Miner, PowFunction, Settings, Template};
use ruint::aliases::U256;

/// The header of Bitcoin's first block.
const BITCOIN_GENESIS: &str = "01000000\
    0000000000000000000000000000000000000000000000000000000000000000\
    3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a\
    29ab5f49ffff001d1dac2b7c";

fn header(hex: &str) -> [u8; 80] {
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

fn miner(threads: usize) -> Miner {
    Miner::new(Settings {
        threads: Some(threads),
        ..Settings::default()
    })
    .unwrap()
}

#[test]
fn the_nonce_of_bitcoins_first_block_is_found_again() {
    let (header, nonce) = (header(BITCOIN_GENESIS), 0x7c2b_ac1d_u64);
    // 0xffff x 2^208, Bitcoin's difficulty 1.
    let target = U256::from(0xffff) << 208usize;
    let find = |range| {
        miner(2).search_header(PowFunction::Sha256d, &header, target, range, &Cancel::new())
    };
    assert_eq!(find(nonce - 20_000..nonce + 20_000), Some(nonce as u32));
    assert_eq!(find(nonce..nonce + 1), Some(nonce as u32));
    assert_eq!(find(nonce - 20_000..nonce), None);
    assert_eq!(find(nonce + 1..nonce + 20_000), None);
}

/// Crosses from one rolled extra-nonce into the next.
#[test]
fn the_search_space_goes_on_above_the_nonce() {
    for function in PowFunction::ALL {
        let template = Template::new(
            [5; 80],
            vec![6; 30],
            [7; 32],
            [8; 32],
            U256::MAX >> 9,
            function,
        )
        .unwrap();
        let range = (1 << 32) - 300..(1 << 32) + 5000;
        let is_hit =
            |&position: &u64| function.digest(&template.header_at(position)) <= template.target();
        let expected: Vec<u64> = range.clone().filter(is_hit).collect();
        assert!(expected.iter().any(|&position| position >= 1 << 32));

        let mut found = Vec::new();
        let mut rest = range;
        while let Some(solution) = miner(3).search(&template, rest.clone(), &Cancel::new()) {
            assert_eq!(solution.header, template.header_at(solution.position));
            found.push(solution.position);
            rest.start = solution.position + 1;
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn a_cancelled_search_finds_nothing() {
    let template = Template::new(
        [5; 80],
        vec![6; 30],
        [7; 32],
        [8; 32],
        U256::MAX,
        PowFunction::Blake3,
    );
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(
        miner(2).search(&template.unwrap(), 0..u64::MAX, &cancel),
        None
    );
}
