//! Bounds of BFT's bytes: the largest honest objects fit, and hostile lengths cost nothing.

use cairn_protocol::bft::{
    Ballot, Bitmap, Body, Certificate, Evidence, Justification, Message, Prepared, Seal,
    SignatureSet, SignedStatement, Statement, ViewChangeVote,
};
use cairn_protocol::codec::DecodeError;
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::limits::{
    BFT_MESSAGE_BYTES_MAX, EVIDENCE_BYTES_MAX, SEAL_BYTES_MAX, VALIDATORS_MAX,
};
use cairn_protocol::signature::{PublicKey, Signature};

const ROUND: u32 = u32::MAX - 1;
const ID: BlockId = BlockId([0xff; 32]);

fn all() -> impl Iterator<Item = u16> {
    0..VALIDATORS_MAX as u16
}

fn votes() -> SignatureSet {
    let signatures: Vec<_> = all().map(|i| (i, Signature([0xff; 64]))).collect();
    SignatureSet::new(VALIDATORS_MAX, &signatures)
}

fn certificate() -> Certificate {
    let justification = Hash([0xff; 32]);
    Certificate {
        round: ROUND,
        ballot: Ballot {
            id: ID,
            justification,
        },
        votes: votes(),
    }
}

fn message(body: Body) -> Message {
    Message {
        ruleset_id: Hash([0xff; 32]),
        instance: u64::MAX,
        signer: 511,
        body,
        signature: Signature([0xff; 64]),
    }
}

fn largest_new_view() -> Message {
    let vote = ViewChangeVote {
        prepared: Some(Prepared {
            round: ROUND,
            id: ID,
        }),
        signature: Signature([0xff; 64]),
    };
    message(Body::NewView {
        round: ROUND,
        id: ID,
        justification: Justification {
            bitmap: Bitmap::of(VALIDATORS_MAX, all()),
            view_changes: vec![vote; VALIDATORS_MAX],
            certificate: Some(certificate()),
        },
    })
}

#[test]
fn the_largest_of_each_fits_its_bound() {
    let bytes = largest_new_view().to_bytes();
    assert!(bytes.len() <= BFT_MESSAGE_BYTES_MAX, "{}", bytes.len());
    assert!(
        bytes.len() > 85_000,
        "the limit's derivation: {}",
        bytes.len()
    );
    assert_eq!(Message::from_bytes(&bytes), Ok(largest_new_view()));
    let seal = Seal {
        round: ROUND,
        votes: votes(),
    };
    assert!(seal.to_bytes().as_slice().len() <= SEAL_BYTES_MAX);
    let signed = SignedStatement {
        statement: Statement::ViewChange {
            round: ROUND,
            prepared: Some(Prepared {
                round: ROUND,
                id: ID,
            }),
        },
        signature: Signature([0xff; 64]),
    };
    let evidence = Evidence {
        ruleset_id: Hash([0xff; 32]),
        instance: u64::MAX,
        key: PublicKey([0xff; 32]),
        first: signed,
        second: signed,
    };
    let bytes = evidence.to_bytes();
    assert!(bytes.as_slice().len() < 300 && bytes.as_slice().len() < EVIDENCE_BYTES_MAX);
    assert_eq!(Evidence::from_bytes(bytes.as_slice()), Ok(evidence));
}

#[test]
fn one_more_of_anything_is_refused() {
    let too_many = Seal {
        round: 0,
        votes: SignatureSet {
            signatures: vec![Signature([0; 64]); VALIDATORS_MAX + 1],
            ..votes()
        },
    };
    let bytes = cairn_protocol::codec::encode(&too_many);
    assert!(matches!(
        Seal::from_bytes(&bytes),
        Err(DecodeError::Malformed(_))
    ));
    let bytes = vec![0; BFT_MESSAGE_BYTES_MAX + 1];
    assert!(matches!(
        Message::from_bytes(&bytes),
        Err(DecodeError::TooLong { .. })
    ));
}

/// V15, V16: no prefix, no byte more and no other byte of a message is the same message; a lying
/// length is refused before anything is read for it.
#[test]
fn spoilt_bytes_are_other_messages_or_none() {
    let small = Body::ViewChange {
        round: 1,
        prepared: Some(Certificate {
            votes: SignatureSet::new(4, &[(0, Signature([1; 64])), (2, Signature([2; 64]))]),
            ..certificate()
        }),
    };
    let message = message(small);
    let bytes = message.to_bytes();
    for len in 0..bytes.len() {
        assert!(Message::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Message::from_bytes(&longer), Err(DecodeError::NotCanonical));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            if let Ok(other) = Message::from_bytes(&other) {
                assert_ne!(other, message, "byte {at}, bit {bit}");
            }
        }
    }
    let lie = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    // Before the last signature, where any bytes would do.
    for at in 0..bytes.len() - 64 {
        let mut other = bytes[..at].to_vec();
        other.extend(lie);
        assert!(Message::from_bytes(&other).is_err());
    }
}
