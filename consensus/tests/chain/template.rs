//! Templates: what they claim, when they are dated, and what a search may change in them.

use cairn_consensus::template::{Chosen, TemplateError};
use cairn_protocol::block::block_root;
use cairn_protocol::units::Amount;

use crate::world::{Key, Node, solve, spec};

#[test]
fn a_template_claims_subsidy_and_fees_and_takes_any_extra_nonce() {
    let mut a = Node::new();
    a.mine(1);
    let payment = a.pay(&Key::new(1), a.funded(), &Key::new(3).lock(), 700);
    let ids = payment.ids();
    let chosen = [Chosen {
        transaction: &payment,
        ids: &ids,
        fee: Amount(700),
    }];
    let template = a
        .chain
        .template(a.now, &Key::new(2).lock(), &chosen)
        .unwrap();
    let subsidy = a.chain.params().subsidy(2, Amount(0));
    assert_eq!(template.reward, Amount(subsidy.0 + 700));
    assert_eq!(template.block.coinbase.outputs[0].value, template.reward);
    for extra in [0u8, 1, 255] {
        let solved = template.solved([extra; 16], 0);
        assert_eq!(
            solved.header.root,
            block_root(
                &solved.coinbase.id(),
                &template.extension_hash,
                &template.tx_root
            )
        );
        let mut b = Node::new();
        b.take(&a.blocks(1));
        let solved = solve(b.chain.params(), solved);
        b.take(std::slice::from_ref(&solved));
        assert_eq!(b.chain.tip().id, solved.id(), "extra-nonce {extra}");
        assert_eq!(b.chain.state().engine.burned, Amount(0));
    }
}

#[test]
fn a_template_is_dated_by_the_clock_but_never_before_the_median() {
    let mut a = Node::new();
    a.mine(11);
    let median = a.chain.median_time_past();
    let time = |now| {
        a.chain
            .template(now, &Key::new(2).lock(), &[])
            .unwrap()
            .block
            .header
            .time
    };
    assert_eq!(time(median + 500), median + 500);
    assert_eq!(time(median - 500), median + 1);
}

/// Where the money cap is reached there is nothing to claim, and a coin of value 0 would break a rule.
#[test]
fn at_the_cap_a_coinbase_is_empty() {
    let mut file = spec();
    file.limits.money_cap = Amount(file.funded[0].amount.0 + 5);
    let mut a = Node::with(file);
    a.mine(3);
    let claimed: Vec<u64> = (1..=3)
        .map(|height| {
            a.block_at(height)
                .coinbase
                .outputs
                .iter()
                .map(|output| output.value.0)
                .sum()
        })
        .collect();
    assert_eq!(claimed, [5, 0, 0]);
    assert_eq!(
        a.chain.state().engine.supply(),
        a.chain.params().limits().money_cap
    );
}

#[test]
fn fees_beyond_64_bits_are_refused() {
    let a = Node::new();
    let payment = a.pay(&Key::new(1), a.funded(), &Key::new(3).lock(), 0);
    let ids = payment.ids();
    let greedy = Chosen {
        transaction: &payment,
        ids: &ids,
        fee: Amount(u64::MAX),
    };
    let error = a
        .chain
        .template(a.now, &Key::new(2).lock(), &[greedy])
        .unwrap_err();
    assert_eq!(error, TemplateError::FeesOverflow);
}
