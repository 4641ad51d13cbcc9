//! Kills, power cuts and failing disks under a chain store.
//!
//! One property: whatever the disk is left with, the store opens at one of the tips it had, not before
//! the last one it promised, with coins, indexes and state of exactly that tip; and a store whose disk
//! failed takes nothing more.

mod common;

use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::lthash::LtHash;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::Transaction;
use cairn_storage::StorageError;
use cairn_storage::chain::{ChainStore, verify};
use cairn_storage::disk::{Disk, FakeDisk, Fault, Loss, Operation};
use common::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// One step of the story and the tip after it.
#[derive(Clone)]
enum Act {
    Connect(Box<Block>),
    Disconnect,
    Flush,
}

/// A story of connects, a reorganisation every seven blocks and flushes, with the states it visits.
struct Story {
    params: Arc<ChainParams>,
    acts: Vec<Act>,
    states: BTreeMap<BlockId, LedgerState>,
}

fn story(length: u64) -> Story {
    let params = params_funding(8, 4);
    let mut store = open(&FakeDisk::new(), &params, tiny_options()).unwrap();
    let mut coins = params.genesis_coins().to_vec();
    let mut acts = Vec::new();
    let mut states = BTreeMap::new();
    let note = |store: &ChainStore, states: &mut BTreeMap<_, _>| {
        let state = BlockStore::state(store).clone();
        states.insert(state.tip, state);
    };
    note(&store, &mut states);
    for salt in 0..length {
        let state = BlockStore::state(&store).clone();
        let (outpoint, coin) = coins.swap_remove(salt as usize % coins.len());
        let from = (0..8)
            .find(|n| coin.output.lock.key_hashes() == [owner(*n)])
            .unwrap();
        let value = coin.output.value.0;
        let to = salt as u16 % 8;
        let tx = payment(
            &[(outpoint, coin, from)],
            vec![pay(to, value / 2), pay(from, value / 2)],
        );
        let made = block(&params, &state, vec![tx.clone()], 1, salt);
        connect(&mut store, &made).unwrap();
        acts.push(Act::Connect(Box::new(made)));
        note(&store, &mut states);
        if salt % 7 == 6 {
            disconnect(&mut store).unwrap();
            acts.push(Act::Disconnect);
            let state = BlockStore::state(&store).clone();
            let other = block(&params, &state, vec![tx.clone()], 2, 1000 + salt);
            connect(&mut store, &other).unwrap();
            acts.push(Act::Connect(Box::new(other)));
            note(&store, &mut states);
        }
        if salt % 5 == 4 {
            acts.push(Act::Flush);
        }
        for at in 0..2 {
            let outpoint = Transaction::outpoint(tx.txid(), at);
            coins.push((outpoint, store.snapshot().coin(&outpoint).unwrap().unwrap()));
        }
    }
    Story {
        params,
        acts,
        states,
    }
}

/// What a run had done at some operation of the disk.
#[derive(Clone, Copy, Default, Debug)]
struct Moment {
    operations: u64,
    /// Acts begun, and acts whose outcome a sync has made durable.
    begun: usize,
    durable: usize,
}

/// Plays the story until it ends or fails, noting moments.
fn play(story: &Story, disk: &FakeDisk, mut note: impl FnMut(Moment)) -> Result<(), StorageError> {
    let mut store = open(disk, &story.params, tiny_options())?;
    let mut moment = Moment::default();
    for act in &story.acts {
        moment.begun += 1;
        moment.operations = disk.operations();
        note(moment);
        match act {
            Act::Connect(block) => drop(connect(&mut store, block)?),
            Act::Disconnect => drop(disconnect(&mut store)?),
            Act::Flush => store.flush()?,
        }
        if moment.begun % 3 == 0 || matches!(act, Act::Flush) {
            store.sync()?;
            moment.durable = moment.begun;
        }
        moment.operations = disk.operations();
        note(moment);
    }
    assert_eq!(disk.faults_fired(), 0, "an error was swallowed");
    Ok(())
}

/// The tips that the story has after `durable` acts and each later one up to `begun`.
fn possible(story: &Story, moment: &Moment) -> Vec<BlockId> {
    let genesis = story.params.chain_id();
    let mut chain = vec![genesis];
    let mut tips = Vec::new();
    for count in 0..=moment.begun {
        if count >= moment.durable {
            tips.push(*chain.last().unwrap());
        }
        match story.acts.get(count) {
            Some(Act::Connect(block)) => chain.push(block.id()),
            Some(Act::Disconnect) => drop(chain.pop()),
            _ => {}
        }
    }
    tips
}

/// Opens an image and compares it with the state it must be in; returns the tip.
fn check(story: &Story, image: &FakeDisk, moment: &Moment, name: &str) -> ChainStore {
    let store = open(image, &story.params, tiny_options())
        .unwrap_or_else(|error| panic!("{name} {moment:?}: {error}"));
    let state = BlockStore::state(&store).clone();
    let tips = possible(story, moment);
    assert!(
        tips.contains(&state.tip),
        "{name} {moment:?}: tip at height {}",
        state.height
    );
    assert_eq!(Some(&state), story.states.get(&state.tip), "{name}");
    // Coins by address must be the very set that the state commits to.
    let snapshot = store.snapshot();
    let mut coins = LtHash::default();
    for n in 0..8 {
        let found = snapshot.address_coins(&owner(n), None, usize::MAX).unwrap();
        let summary = snapshot.address(&owner(n)).unwrap();
        assert_eq!(summary.coins, found.len() as u64, "{name}");
        assert_eq!(
            summary.balance.0,
            found.iter().map(|c| c.coin.output.value.0).sum::<u64>()
        );
        for coin in &found {
            coin.coin.add_to(&coin.outpoint, &mut coins);
        }
    }
    assert_eq!(coins, state.coins, "{name} {moment:?}");
    for height in 0..=state.height {
        let id = snapshot.block_id_at(height).unwrap().unwrap();
        assert_eq!(snapshot.block(&id).unwrap().unwrap().id(), id);
    }
    store
}

#[test]
fn thousands_of_power_cuts_leave_a_tip_between_promised_and_tried() {
    let story = story(40);
    let disk = FakeDisk::new();
    disk.capture_every(1);
    let mut moments = vec![Moment::default()];
    play(&story, &disk, |moment| moments.push(moment)).unwrap();
    let captured = disk.captured();
    let seeds = budget_seeds(captured.len());
    let (mut images, mut verified, mut behind) = (0, 0, 0);
    for (at, stopped) in &captured {
        let before = moments.partition_point(|moment| moment.operations <= *at);
        let moment = moments[before - 1];
        for seed in 0..seeds {
            let loss = match (at + seed) % 9 {
                0 => Loss::Nothing,
                1 => Loss::Unsynced,
                _ => Loss::Random,
            };
            let image = stopped.crashed(loss, at * 100 + seed);
            let mut store = check(&story, &image, &moment, "power cut");
            behind += u32::from(
                BlockStore::state(&store).tip != *possible(&story, &moment).last().unwrap(),
            );
            images += 1;
            // Some are verified as a whole, and all can go on.
            if images % 50 == 0 {
                let scratch: Arc<dyn Disk> = Arc::new(FakeDisk::new());
                let found = verify(
                    &mut store,
                    scratch,
                    Path::new("/s"),
                    &mut Trusting,
                    &mut |_| (),
                );
                assert_eq!(found.unwrap().problems, Vec::<String>::new());
                verified += 1;
            }
            if images % 10 == 0 {
                let state = BlockStore::state(&store).clone();
                let next = block(&story.params, &state, vec![], 3, 77);
                connect(&mut store, &next).unwrap();
                store.sync().unwrap();
                drop(store);
                let again = image.crashed(Loss::Unsynced, 0);
                let store = open(&again, &story.params, tiny_options()).unwrap();
                assert_eq!(BlockStore::state(&store).tip, next.id());
            }
        }
    }
    println!(
        "{images} power-loss images over {} operations, {behind} behind the last step, \
         {verified} verified row by row",
        captured.len()
    );
    assert!(
        images >= 3000 && behind >= 100 && verified >= 50,
        "{images} {behind} {verified}"
    );
}

/// Images per stopped operation: some 4,000 in all, ten times that with `CAIRN_TEST_BUDGET=full`.
fn budget_seeds(operations: usize) -> u64 {
    let total = match std::env::var("CAIRN_TEST_BUDGET").as_deref() {
        Ok("full") => 40_000,
        _ => 4_000,
    };
    (total / operations as u64).max(1) + 1
}

#[test]
fn an_error_at_any_operation_stops_the_store_and_a_restart_recovers() {
    let story = story(12);
    let reference = FakeDisk::new();
    play(&story, &reference, |_| ()).unwrap();
    let operations = reference.operations();
    let (mut fired, mut cases) = (0, 0);
    for at in 1..=operations {
        for (fault, only, for_ever) in [
            (Fault::Io, None, false),
            (Fault::Full, None, true),
            (Fault::Io, Some(Operation::Sync), false),
            (Fault::Full, Some(Operation::Write), false),
        ] {
            let disk = FakeDisk::new();
            disk.fail(at, fault, only, for_ever);
            let mut last = Moment::default();
            // An error that comes later than the last act, in closing, is nobody's promise.
            let _ = play(&story, &disk, |moment| last = moment);
            fired += disk.faults_fired();
            cases += 1;
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::Random] {
                let image = disk.crashed(loss, at);
                check(&story, &image, &last, "failed disk");
            }
        }
    }
    println!("{cases} runs on a failing disk, {fired} injected errors, {operations} operations");
    assert!(cases > 400 && fired > 400);
}

#[test]
fn after_an_error_the_store_answers_but_takes_nothing() {
    let story = story(10);
    let disk = FakeDisk::new();
    let mut store = open(&disk, &story.params, tiny_options()).unwrap();
    let Act::Connect(first) = &story.acts[0] else {
        panic!("a story begins with a block")
    };
    let Act::Connect(second) = &story.acts[1] else {
        panic!("and goes on with one")
    };
    connect(&mut store, first).unwrap();
    disk.fail(
        disk.operations() + 1,
        Fault::Full,
        Some(Operation::Sync),
        false,
    );
    let error = store
        .sync()
        .and_then(|()| connect(&mut store, second).map(drop))
        .unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    let refused = connect(&mut store, second).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("stopped after an earlier failure"),
        "{refused}"
    );
    assert!(matches!(store.flush(), Err(StorageError::Stopped { .. })));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.tip(), (1, first.id()));
    assert!(snapshot.block(&first.id()).unwrap().is_some());
}

#[test]
fn a_stored_block_and_a_floor_survive_a_power_cut_when_the_call_returns() {
    let story = story(6);
    let disk = FakeDisk::new();
    let mut store = open(&disk, &story.params, tiny_options()).unwrap();
    let Act::Connect(first) = &story.acts[0] else {
        panic!("a story begins with a block")
    };
    let id = connect(&mut store, first).unwrap();
    let lost = disk.crashed(Loss::Unsynced, 0);
    let reopened = open(&lost, &story.params, tiny_options()).unwrap();
    assert_eq!(
        BlockStore::block(&reopened, &id).unwrap().as_deref(),
        Some(&**first)
    );
    let mut headers = Vec::new();
    BlockStore::headers(&reopened, &mut |header| {
        headers.push((header.id, header.has_body))
    })
    .unwrap();
    assert_eq!(headers, [(story.params.chain_id(), true), (id, true)]);
    BlockStore::set_floor(&mut store, &id).unwrap();
    let lost = disk.crashed(Loss::Unsynced, 0);
    let reopened = open(&lost, &story.params, tiny_options()).unwrap();
    assert_eq!(BlockStore::floor(&reopened).unwrap(), Some(id));
    // The sync of the floor carried the connection before it.
    assert_eq!(BlockStore::state(&reopened).tip, id);
}

#[test]
fn a_kill_during_recovery_recovers_again() {
    let story = story(30);
    let disk = FakeDisk::new();
    // Nothing is flushed after the beginning: recovery has everything to replay.
    let mut last = Moment::default();
    play(&story, &disk, |moment| last = moment).unwrap();
    let image = disk.crashed(Loss::Nothing, 0);
    ChainStore::drop_tables(&image, Path::new("/chain")).unwrap();
    let start = image.operations();
    image.capture_every(3);
    drop(open(&image, &story.params, tiny_options()).unwrap());
    let captured = image.captured();
    assert!(
        captured.len() > 20,
        "recovery did little: {} operations",
        image.operations() - start
    );
    for (at, stopped) in captured {
        for seed in 0..6 {
            let loss = if seed == 0 {
                Loss::Unsynced
            } else {
                Loss::Random
            };
            let again = stopped.crashed(loss, at * 10 + seed);
            check(&story, &again, &last, "killed recovery");
        }
    }
}
