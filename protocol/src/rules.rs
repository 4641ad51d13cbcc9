//! Every consensus rule as an error variant.
//!
//! Invariant: one variant, one id; `spec/rules.toml` lists the same ids, and so do vectors and
//! tests (`protocol/tests/rules.rs` compares them).

use crate::bft::BftViolation;
use crate::codec::DecodeError;
use crate::extension::SwitchRecord;
use crate::hash::{BlockId, Hash, KeyHash};
use crate::lock::At;
use crate::pow::{Bits, BitsError};
use crate::transaction::OutPoint;
use crate::units::{Amount, Height, Weight};
use std::fmt;

macro_rules! violations {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($field:ident : $type:ty),* } = $id:literal, $text:literal;
    )*) => {
        /// A broken rule: the sender's fault. The text ends with the rule's id.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields are the values that the text names")]
        pub enum Violation {
            $($(#[$doc])* $name { $($field: $type),* },)*
        }

        impl Violation {
            /// The rule's id, as in `spec/rules.toml`.
            pub fn id(&self) -> &'static str {
                match self { $(Violation::$name { .. } => $id,)* }
            }

            /// The variant's name.
            pub fn name(&self) -> &'static str {
                match self { $(Violation::$name { .. } => stringify!($name),)* }
            }
        }

        /// Id and variant name of every rule.
        pub const RULES: &[(&str, &str)] = &[$(($id, stringify!($name)),)*];

        impl fmt::Display for Violation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Violation::$name { $($field),* } => {
                        write!(f, $text $(, $field = $field)*)?;
                    })*
                }
                write!(f, " ({})", self.id())
            }
        }
    };
}

/// Why bytes are no seal of a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// They are not the canonical bytes of a seal.
    #[error("{0}")]
    Encoding(DecodeError),
    /// It breaks a rule of certificates.
    #[error("{0}")]
    Certificate(BftViolation),
    /// It is of a round before the one in which the block was first proposed.
    #[error("decided in round {round}, before it was proposed in {proposed_round}")]
    Round {
        /// The seal's round.
        round: u32,
        /// The block's.
        proposed_round: u32,
    },
}

/// Why bytes prove no offence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceFault {
    /// They are not the canonical bytes of evidence.
    #[error("{0}")]
    Encoding(DecodeError),
    /// It breaks a rule of evidence.
    #[error("{0}")]
    Proof(BftViolation),
}

violations! {
    /// The version is not 1.
    TransactionVersion { version: u32 } = "TX-01",
        "transaction version {version} is unknown: expected 1";
    /// A transaction spends something.
    NoInputs {} = "TX-02", "transaction has no inputs";
    /// A transaction creates something.
    NoOutputs {} = "TX-03", "transaction has no outputs";
    /// The same coin twice in one transaction (CVE-2018-17144).
    DuplicateInput { outpoint: OutPoint } = "TX-04",
        "transaction spends {outpoint} twice";
    /// One witness an input.
    WitnessCount { witnesses: usize, inputs: usize } = "TX-05",
        "transaction has {witnesses} witnesses for {inputs} inputs";
    /// The weight is within the chain's limit.
    TransactionWeight { weight: Weight, max: Weight } = "TX-06",
        "transaction weight {weight} exceeds {max}";
    /// A coin has a value.
    ZeroValue { index: usize } = "TX-07", "output {index} makes a coin of value 0";
    /// A data output has none.
    DataValue { index: usize, value: Amount } = "TX-08",
        "data output {index} has the value {value}: expected 0";
    /// No output and no sum of outputs is above the money cap (CVE-2010-5139).
    OutputSum { cap: Amount } = "TX-09", "sum of outputs exceeds the money cap {cap}";
    /// 1 <= m <= n <= 16.
    ThresholdBounds { m: u8, keys: usize } = "TX-10",
        "threshold of {m} of {keys} keys: expected 1 <= m <= n <= 16";
    /// Keys strictly ascending.
    ThresholdOrder { index: usize } = "TX-11",
        "threshold keys are not strictly ascending at {index}";
    /// The transaction's own earliest point is reached.
    NotYetValid { valid_from: At, height: Height, parent_time: u32 } = "TX-12",
        "transaction is valid from {valid_from}: height {height}, parent's time {parent_time}";
    /// Every input exists and is unspent.
    MissingCoin { outpoint: OutPoint } = "TX-13", "coin {outpoint} does not exist or is spent";
    /// Coinbase coins rest for a while.
    ImmatureCoinbase { outpoint: OutPoint, created: Height, maturity: Height, height: Height } =
        "TX-14",
        "coinbase coin {outpoint} of height {created} rests for {maturity} blocks: height {height}";
    /// The sum of inputs is within the money cap.
    InputSum { cap: Amount } = "TX-15", "sum of inputs exceeds the money cap {cap}";
    /// Outputs are covered by inputs.
    Overspend { inputs: Amount, outputs: Amount } = "TX-16",
        "outputs of {outputs} exceed inputs of {inputs}";
    /// The witness is of the lock's kind.
    WitnessKind { input: usize } = "TX-17", "witness {input} is not of its lock's kind";
    /// The key has the lock's hash.
    KeyMismatch { input: usize, expected: KeyHash } = "TX-18",
        "witness {input} shows a key whose hash is not {expected}";
    /// Exactly m signers, each one of the keys, one signature each.
    ThresholdSigners { input: usize, signers: u16, signatures: usize, m: u8 } = "TX-19",
        "witness {input} names signers {signers:#06b} with {signatures} signatures: expected {m}";
    /// The preimage has the lock's digest.
    PreimageMismatch { input: usize } = "TX-20", "witness {input} shows another preimage";
    /// `After` and the refund branch are open.
    LockNotOpen { input: usize, opens: At } = "TX-21", "lock of input {input} opens at {opens}";
    /// Every signature is valid by ZIP-215.
    BadSignature { input: usize } = "TX-22", "signature of input {input} is not valid";

    /// The fixed version bits are Cairn's.
    HeaderVersion { version: u32 } = "HDR-01",
        "header version {version:#010x}: expected 0x20000000 outside the bits free to roll";
    /// The parent is known. Not a fault: the sender is asked for the ones before.
    UnknownParent { parent: Hash } = "HDR-02", "parent {parent} is unknown";
    /// Bits are a target within the chain's limit.
    BadBits { error: BitsError } = "HDR-03", "{error}";
    /// The target is not easier than the chain's limit.
    TargetAboveLimit { bits: Bits, limit: Bits } = "HDR-04",
        "target {bits} is easier than the limit {limit}";
    /// Bits are what the retarget says.
    WrongBits { bits: Bits, expected: Bits } = "HDR-05",
        "target {bits}: the retarget expects {expected}";
    /// The digest is at or below the target.
    NoWork { bits: Bits } = "HDR-06", "header's digest is above its target {bits}";
    /// The time is above the median of the last eleven.
    TimeTooOld { time: u32, median: u32 } = "HDR-07",
        "time {time} is not after the median {median} of its ancestors";
    /// Not ahead of our clock by more than the chain allows. Held, not invalid.
    TimeTooNew { time: u32, now: u32, max_future_s: u32 } = "HDR-08",
        "time {time} is more than {max_future_s} s ahead of {now}";
    /// The root commits to coinbase id, extension and transaction root.
    RecordRoot { root: Hash } = "HDR-09", "header root {root} does not commit to its record";
    /// The branch does not leave the finalized chain.
    BelowFloor { height: Height, floor: Height } = "HDR-10",
        "branch at height {height} leaves the chain below its floor {floor}";
    /// No ancestor is invalid.
    InvalidAncestor { ancestor: Hash } = "HDR-11", "ancestor {ancestor} is invalid";
    /// Total work fits 256 bits.
    WorkOverflow {} = "HDR-12", "total work exceeds 256 bits";
    /// Under BFT nobody searches: no rolled version bit, no target, no nonce.
    BftHeader { version: u32, bits: Bits, nonce: u32 } = "HDR-13",
        "BFT header with version {version:#010x}, bits {bits}, nonce {nonce}: expected 0x20000000, 0, 0";
    /// Under BFT the time is not before the parent's.
    TimeBeforeParent { time: u32, parent_time: u32 } = "HDR-14",
        "time {time} is before the parent's {parent_time}";
    /// A record carries its parent's seal if and only if the parent is a BFT block.
    ParentSealPresence { present: bool } = "HDR-15",
        "the record has a parent_seal: {present}; it has one if and only if its parent is a BFT block";
    /// The parent's seal certifies the parent.
    BadParentSeal { error: SealFault } = "HDR-16", "parent_seal: {error}";
    /// A BFT block's own seal certifies it. A mutation: the id may arrive with a good one.
    BadSeal { error: SealFault } = "HDR-17", "seal: {error}";
    /// A BFT block comes with its seal. Not a fault: ask for the range.
    Unsealed { height: Height } = "HDR-18", "BFT block of height {height} came without a seal";

    /// The extension's version is 1.
    ExtensionVersion { version: u8 } = "EXT-01",
        "extension version {version} is unknown: expected 1";
    /// The height is the parent's plus one.
    WrongHeight { height: Height, expected: Height } = "EXT-03",
        "extension names height {height}: expected {expected}";
    /// The ruleset is the one of the schedule entry in force.
    WrongRuleset { ruleset: Hash, expected: Hash } = "EXT-04",
        "ruleset {ruleset}: expected {expected}";
    /// The schedule is the one that this program knows. Refused, not a fault: upgrade.
    UnknownSchedule { schedule: Hash, expected: Hash } = "EXT-05",
        "schedule {schedule} is not the known {expected}: upgrade, or leave this chain";
    /// Fields of BFT engines are zero under proof of work.
    BftFields {} = "EXT-06", "extension has fields of a BFT engine under proof of work";
    /// Commitments strictly ascending by tag.
    CommitmentOrder { index: usize } = "EXT-07",
        "commitment tags are not strictly ascending at {index}";
    /// No seal, anchor or switch record before an engine that knows them.
    SealUnderPow {} = "EXT-08",
        "record has a seal under proof of work, or a certificate or a switch where none is under way";
    /// The set hash is that of the validators of this height.
    WrongSet { set_hash: Hash, expected: Hash } = "EXT-09",
        "validator set {set_hash}: expected {expected}";
    /// The next set hash is that of the validators that are known to follow.
    WrongNextSet { set_hash: Hash, expected: Hash } = "EXT-10",
        "next validator set {set_hash}: expected {expected}";
    /// The proposer is the leader of the height and round.
    WrongProposer { proposer: u16, round: u32, expected: u16 } = "EXT-11",
        "proposer {proposer} in round {round}: its leader is {expected}";
    /// Nothing is revealed where leaders take turns.
    SeedReveal { bytes: usize } = "EXT-12",
        "seed reveal of {bytes} bytes: expected none where leaders take turns";

    /// The switch record is that of the state after the parent.
    WrongSwitch { found: SwitchRecord, expected: SwitchRecord } = "EXT-13",
        "switch is {found}: expected {expected}";
    /// An anchor is named only where its switch is under way and the branch does not include it yet.
    AnchorNotOpen { anchor: BlockId } = "SWT-01",
        "block includes the anchor {anchor}: no switch waits for one on this branch";
    /// The anchor is the ancestor at the height that its entry fixes.
    AnchorPlace { anchor: BlockId, height: Height, expected: BlockId } = "SWT-02",
        "anchor {anchor} is not the block {expected}, the ancestor at height {height}";
    /// The record has the certificate of the anchor that its extension names, and no other. A
    /// mutation: a record shows its attachments without proof.
    AnchorPresence { present: bool } = "SWT-03",
        "the record has an anchor_cert: {present}; it has one if and only if its extension names an anchor";
    /// The certificate decides the anchor. A mutation, too.
    BadAnchor { error: SealFault } = "SWT-04", "anchor_cert: {error}";

    /// The header's root commits to the body. A mutation: the id may arrive valid from others.
    BodyRoot { root: Hash, computed: Hash } = "BLK-01",
        "header root {root} does not commit to the body: computed {computed}";
    /// The extension's count is the body's. A mutation.
    TransactionCount { claimed: u32, found: usize } = "BLK-02",
        "extension counts {claimed} transactions: found {found}";
    /// The extension's attachments hash is the body's. A mutation.
    AttachmentsHash { claimed: Hash, computed: Hash } = "BLK-03",
        "attachments hash {claimed}: computed {computed}";
    /// The coinbase's version is 1.
    CoinbaseVersion { version: u32 } = "BLK-04",
        "coinbase version {version} is unknown: expected 1";
    /// The coinbase's height is the extension's.
    CoinbaseHeight { height: Height, expected: Height } = "BLK-05",
        "coinbase names height {height}: expected {expected}";
    /// The coinbase is small.
    CoinbaseBytes { bytes: usize, max: usize } = "BLK-06",
        "coinbase of {bytes} bytes exceeds {max}";
    /// The weight is within the chain's limit.
    BlockWeight { weight: Weight, max: Weight } = "BLK-07", "block weight {weight} exceeds {max}";
    /// A coinbase pays to keys and thresholds, or carries data.
    CoinbaseLock { index: usize } = "BLK-08",
        "coinbase output {index} has a lock other than key, threshold or data";
    /// A coinbase's outputs follow the rules of outputs.
    CoinbaseOutput { index: usize } = "BLK-09",
        "coinbase output {index} breaks the rules of outputs";
    /// A coinbase claims no more than subsidy and fees.
    CoinbaseOverpays { claimed: Amount, allowed: Amount } = "BLK-10",
        "coinbase claims {claimed}: subsidy and fees are {allowed}";
    /// The state root is that of the state after the parent.
    StateRoot { claimed: Hash, expected: Hash } = "BLK-11",
        "state root {claimed}: the state after the parent has {expected}";
    /// Attachments are empty before the first BFT era; no anchor without a switch under way.
    AttachmentsUnderPow {} = "BLK-12",
        "block has attachments before any BFT era, or an anchor certificate and no switch under way";
    /// The extra-nonce, and nothing else, is free: one transaction stands once in a block.
    DuplicateTransaction { index: usize } = "BLK-13",
        "transaction {index} stands in the block twice";
    /// Nobody searches under BFT.
    ExtraNonce {} = "BLK-14", "coinbase of a BFT block has an extra-nonce other than zero";
    /// Evidence proves an offence.
    EvidenceProof { index: usize, error: EvidenceFault } = "BLK-15", "evidence {index}: {error}";
    /// Evidence is of a validator's height that can still be judged.
    EvidenceScope { index: usize, instance: u64 } = "BLK-16",
        "evidence {index} of instance {instance}: not a validator's, not yet, or its window is closed";
    /// One key is named once for one height.
    EvidenceRepeated { index: usize, instance: u64 } = "BLK-17",
        "evidence {index} names a key of instance {instance} that was named before";
    /// The list of offences has an end.
    OffencesFull { index: usize, max: usize } = "BLK-18",
        "evidence {index} would be more than the {max} offences that a state carries";
}

impl Violation {
    /// Whether only the body was wrong for this header: the sender is at fault, but the same id may
    /// arrive valid from someone else and must not be remembered as invalid.
    pub fn is_mutation(&self) -> bool {
        matches!(
            self,
            Violation::BodyRoot { .. }
                | Violation::TransactionCount { .. }
                | Violation::AttachmentsHash { .. }
                | Violation::RecordRoot { .. }
                | Violation::BadSeal { .. }
                | Violation::AnchorPresence { .. }
                | Violation::BadAnchor { .. }
        )
    }

    /// Whether time, an upgrade or more data may make it valid: refused, and nobody is punished.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Violation::UnknownParent { .. }
                | Violation::TimeTooNew { .. }
                | Violation::UnknownSchedule { .. }
                | Violation::Unsealed { .. }
        )
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_and_names_are_distinct() {
        let ids: BTreeSet<_> = RULES.iter().map(|(id, _)| id).collect();
        let names: BTreeSet<_> = RULES.iter().map(|(_, name)| name).collect();
        assert_eq!((ids.len(), names.len()), (RULES.len(), RULES.len()));
    }

    #[test]
    fn texts_name_value_bound_and_rule() {
        let violation = Violation::BlockWeight {
            weight: 4_000_120,
            max: 4_000_000,
        };
        assert_eq!(
            violation.to_string(),
            "block weight 4000120 exceeds 4000000 (BLK-07)"
        );
    }
}
