//! Every rule of validator sets, messages, certificates and evidence as an error variant.
//!
//! Invariant: one variant, one id; `spec/rules.toml` lists the same ids (`protocol/tests/rules.rs`
//! compares them).
//! Rules: `spec/09-bft.md`.

use super::statement::Round;
use crate::signature::PublicKey;

macro_rules! violations {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($field:ident : $type:ty),* } = $id:literal, $text:literal;
    )*) => {
        /// A broken rule of BFT. The text ends with the rule's id.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        #[allow(missing_docs, reason = "the fields are the values that the text names")]
        pub enum BftViolation {
            $($(#[$doc])* #[error("{} ({})", format_args!($text), $id)] $name { $($field: $type),* },)*
        }

        impl BftViolation {
            /// The rule's id, as in `spec/rules.toml`.
            pub fn id(&self) -> &'static str {
                match self { $(BftViolation::$name { .. } => $id,)* }
            }
        }

        /// Id and variant name of every rule of BFT.
        pub const BFT_RULES: &[(&str, &str)] = &[$(($id, stringify!($name)),)*];
    };
}

violations! {
    /// 1 to 512 validators.
    SetSize { validators: usize } = "SET-01",
        "set of {validators} validators: expected 1 to 512";
    /// Every validator has power.
    ZeroPower { index: usize } = "SET-02", "validator {index} has power 0";
    /// No key twice.
    DuplicateValidator { index: usize } = "SET-03",
        "validator {index} has the key of an earlier one";
    /// The total fits 64 bits.
    TotalPower { index: usize } = "SET-04",
        "total power exceeds 18446744073709551615 at validator {index}";
    /// A validator's key is a canonical point and not of small order.
    ValidatorKey { key: PublicKey } = "SET-05",
        "validator key {key:?} is not a canonical point of large order";

    /// The bitmap has one bit a validator.
    BitmapLength { bytes: usize, expected: usize } = "CRT-01",
        "bitmap of {bytes} bytes: expected {expected}";
    /// Bits beyond the set are 0.
    SpareBits { byte: u8, validators: usize } = "CRT-02",
        "last bitmap byte {byte:#010b} names signers beyond the {validators} validators";
    /// One signature a bit.
    CertificateSignatures { signatures: usize, signers: usize } = "CRT-03",
        "{signatures} signatures for {signers} signers";
    /// More than two thirds of the power.
    NoQuorum { power: u64, total: u64 } = "CRT-04",
        "power {power} of {total} is not more than two thirds";
    /// Every signature of a certificate is valid.
    CertificateSignature { signer: u16 } = "CRT-05",
        "signature of validator {signer} in the certificate is not valid";

    /// A message belongs to the ruleset and the instance that it is judged in.
    ForeignScope { instance: u64, expected: u64 } = "MSG-01",
        "message of instance {instance} or of another ruleset: expected instance {expected}";
    /// Its signer is a validator of the set.
    UnknownSigner { signer: u16, validators: usize } = "MSG-02",
        "signer {signer} is not one of {validators} validators";
    /// Rounds are below 2^32 - 1; view changes and new views are of round 1 or later.
    RoundBounds { round: Round } = "MSG-03", "round {round} is out of bounds for its message";
    /// No value has the id zero.
    ZeroId {} = "MSG-04", "id is zero: expected the id of a value";
    /// A justification hash stands in exactly the prepares of later rounds.
    JustificationHash { round: Round } = "MSG-05",
        "prepare of round {round}: the justification hash is zero in round 0 and only there";
    /// What was prepared was prepared in an earlier round.
    PreparedRound { prepared: Round, round: Round } = "MSG-06",
        "prepared in round {prepared}: expected a round below {round}";
    /// The signature is the signer's.
    MessageSignature { signer: u16 } = "MSG-07",
        "signature of validator {signer} is not valid";

    /// A new view in which a VIEW-CHANGE claims a prepared value shows a certificate.
    HiddenCertificate { highest: Round } = "NVW-01",
        "new view without a certificate: one of its view changes claims round {highest}";
    /// The certificate's round is not below any claimed one, and below the new view's.
    CertificateRound { certificate: Round, highest: Round, round: Round } = "NVW-02",
        "certificate of round {certificate}: expected at least the claimed {highest} and below {round}";
    /// The proposal, the certificate and all claims of the certificate's round name one value.
    OtherValue {} = "NVW-03", "new view proposes another value than its certificate, or than a claim of its round";

    /// The two statements are one of the three offences.
    NoOffence {} = "EVD-01", "the two statements are no offence";
    /// The pair has one order.
    EvidenceOrder {} = "EVD-02",
        "statements of evidence out of order: expected the lower sign bytes first";
    /// Both are signed by the accused.
    EvidenceSignature { statement: usize } = "EVD-03",
        "signature {statement} of the evidence is not the accused's";
}

impl BftViolation {
    /// Whether the sender may be right and this node behind: refused, and nobody is punished.
    pub fn is_refusal(&self) -> bool {
        matches!(self, BftViolation::ForeignScope { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_and_names_are_distinct_and_texts_end_with_them() {
        let ids: BTreeSet<_> = BFT_RULES.iter().map(|(id, _)| id).collect();
        let names: BTreeSet<_> = BFT_RULES.iter().map(|(_, name)| name).collect();
        assert_eq!((ids.len(), names.len()), (BFT_RULES.len(), BFT_RULES.len()));
        let violation = BftViolation::NoQuorum { power: 2, total: 3 };
        assert_eq!(
            violation.to_string(),
            "power 2 of 3 is not more than two thirds (CRT-04)"
        );
    }
}
