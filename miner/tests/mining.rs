//! A miner as the node uses it: templates in, solutions of the newest one out.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use cairn_miner::{
    Cancel, Miner, Mining, PauseReason, PowFunction, Priority, Settings, Solved, Template,
};
use ruint::aliases::U256;

/// Long enough for a busy machine; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(120);

fn template(tag: u32, zero_bits: usize, function: PowFunction) -> Template {
    let mut coinbase = vec![0; 40];
    coinbase[28..32].copy_from_slice(&tag.to_le_bytes());
    Template::new(
        [1; 80],
        coinbase,
        [2; 32],
        [3; 32],
        U256::MAX >> zero_bits,
        function,
    )
    .unwrap()
}

fn miner(threads: usize) -> Arc<Miner> {
    let settings = Settings {
        threads: Some(threads),
        kernel: None,
        priority: Priority::Normal,
    };
    Arc::new(Miner::new(settings).unwrap())
}

fn start(miner: &Arc<Miner>) -> (Mining, mpsc::Receiver<Solved>) {
    let (sender, receiver) = mpsc::channel();
    let mining = miner
        .run(move |solved| sender.send(solved).unwrap())
        .unwrap();
    (mining, receiver)
}

#[test]
fn a_template_is_solved_once_with_its_lowest_position() {
    let miner = miner(3);
    let (mining, solutions) = start(&miner);
    for function in PowFunction::ALL {
        let template = template(0, 14, function);
        let number = mining.set_template(template.clone());
        let solved = solutions.recv_timeout(PATIENCE).unwrap();
        assert_eq!(solved.template, number);
        assert!(solved.solution.digest <= template.target());
        assert_eq!(
            solved.solution.digest,
            function.digest(&solved.solution.header)
        );
        let lowest = miner
            .search(&template, 0..u64::MAX, &Cancel::new())
            .unwrap();
        assert_eq!(solved.solution, lowest);
        assert!(mining.is_current(number));
        assert!(!mining.status().mining, "a solved template is done with");
    }
    drop(mining);
    assert_eq!(solutions.try_iter().count(), 0);
}

/// Templates change as fast as they can be set while solutions pour in.
#[test]
fn no_solution_of_an_old_template_is_delivered() {
    let miner = miner(2);
    let returned = Arc::new(AtomicU64::new(0));
    let delivered = Arc::new(AtomicU64::new(0));
    let stale = Arc::new(AtomicU64::new(0));
    let mining = miner
        .run({
            let (returned, delivered, stale) = (returned.clone(), delivered.clone(), stale.clone());
            move |solved| {
                let is_stale = solved.template < returned.load(Ordering::SeqCst);
                stale.fetch_add(u64::from(is_stale), Ordering::SeqCst);
                delivered.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
    for tag in 0..100 {
        let before = delivered.load(Ordering::SeqCst);
        let number = mining.set_template(template(tag, 6, PowFunction::Blake3));
        returned.store(number, Ordering::SeqCst);
        // Most templates are replaced at once; now and then one gets the time to be solved.
        while tag % 5 == 4 && delivered.load(Ordering::SeqCst) == before && mining.is_mining() {
            std::thread::yield_now();
        }
    }
    drop(mining);
    assert!(delivered.load(Ordering::SeqCst) > 0);
    assert_eq!(stale.load(Ordering::SeqCst), 0);
}

#[test]
fn the_receiver_may_set_the_next_template_itself() {
    let mining: Arc<OnceLock<Mining>> = Arc::default();
    let (sender, numbers) = mpsc::channel();
    let running = miner(1)
        .run({
            let mining = Arc::clone(&mining);
            move |solved| {
                sender.send(solved.template).unwrap();
                if solved.template < 5 {
                    let next = template(solved.template as u32, 4, PowFunction::Sha256d);
                    mining.wait().set_template(next);
                }
            }
        })
        .unwrap();
    running.set_template(template(99, 4, PowFunction::Sha256d));
    mining.set(running).unwrap();
    let numbers: Vec<_> = (0..5)
        .map(|_| numbers.recv_timeout(PATIENCE).unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn it_rests_while_any_reason_holds() {
    let (mining, solutions) = start(&miner(1));
    mining.set_paused(PauseReason::Syncing, true);
    mining.set_paused(PauseReason::Requested, true);
    mining.set_template(template(0, 4, PowFunction::Sha256d));
    mining.set_paused(PauseReason::Syncing, false);
    let status = mining.status();
    assert!(!status.mining);
    assert_eq!(status.paused, [PauseReason::Requested]);
    assert_eq!(
        status
            .hash_rates
            .iter()
            .map(|rate| rate.hashes)
            .sum::<u64>(),
        0
    );
    assert!(solutions.try_recv().is_err());
    mining.set_paused(PauseReason::Requested, false);
    assert!(solutions.recv_timeout(PATIENCE).is_ok());
}

#[test]
fn a_running_search_takes_new_threads_and_limits() {
    let (mining, solutions) = start(&miner(1));
    // Not solvable: only the changes below can end it.
    let unsolvable = Template::new(
        [0; 80],
        vec![0; 28],
        [0; 32],
        [0; 32],
        U256::ZERO,
        PowFunction::Sha256d,
    );
    mining.set_template(unsolvable.unwrap());
    let hashes = || {
        mining
            .status()
            .hash_rates
            .iter()
            .map(|rate| rate.hashes)
            .sum::<u64>()
    };
    let wait_for_progress = || {
        let before = hashes();
        while hashes() == before {
            std::thread::yield_now();
        }
    };
    wait_for_progress();
    for threads in [3, 1, 2] {
        mining.set_threads(threads).unwrap();
        assert_eq!(mining.status().threads, threads);
        wait_for_progress();
    }
    mining.set_limit(NonZeroU64::new(1000));
    wait_for_progress();
    mining.set_limit(None);
    wait_for_progress();
    mining.set_template(template(7, 4, PowFunction::Sha256d));
    assert_eq!(solutions.recv_timeout(PATIENCE).unwrap().template, 2);
}

#[test]
fn a_throttled_miner_solves_the_same_position() {
    let miner = miner(2);
    let template = template(0, 8, PowFunction::Sha256d);
    let expected = miner.search(&template, 0..u64::MAX, &Cancel::new());
    let (mining, solutions) = start(&miner);
    mining.set_limit(NonZeroU64::new(5000));
    mining.set_template(template);
    assert_eq!(
        Some(solutions.recv_timeout(PATIENCE).unwrap().solution),
        expected
    );
}
