//! Keys from a seed: SLIP-0010 for Ed25519, and the path of this wallet.
//!
//! `m / 44' / coin' / account' / change' / index'`, as in BIP-44. Ed25519 has hardened steps only:
//! without the seed no address can be derived, which is why the wallet keeps a list of them.
//!
//! Source: SLIP-0010 "Master key generation" and "Child key derivation functions".

use cairn_protocol::address::{Address, Network};
use cairn_protocol::signature::{PublicKey, Signature};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

const MASTER_KEY: &[u8] = b"ed25519 seed";
const HARDENED: u32 = 1 << 31;
const PURPOSE: u32 = 44;
/// SLIP-0044 gives 1 to the test networks of all coins.
const COIN_TEST: u32 = 1;
/// The main network's number: the ASCII bytes of "CRN", above all numbers given out so far.
const COIN_MAIN: u32 = 0x0043_524e;

/// Which of an account's two sequences an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// Addresses given to others.
    Receive,
    /// Addresses that take what a payment leaves over.
    Change,
}

impl Branch {
    /// The path element of BIP-44.
    fn step(self) -> u32 {
        match self {
            Self::Receive => 0,
            Self::Change => 1,
        }
    }

    /// "receive" or "change".
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Change => "change",
        }
    }
}

/// A node of the key tree: 32 bytes of private key and 32 bytes of chain code.
struct Node {
    key: Zeroizing<[u8; 32]>,
    chain_code: Zeroizing<[u8; 32]>,
}

impl Node {
    fn master(seed: &[u8]) -> Self {
        Self::split(MASTER_KEY, &[seed])
    }

    /// The hardened child `index'`.
    fn child(&self, index: u32) -> Self {
        assert!(
            index < HARDENED,
            "index {index} has the hardened bit already"
        );
        let index = (index | HARDENED).to_be_bytes();
        Self::split(&self.chain_code[..], &[&[0], &self.key[..], &index])
    }

    fn at(self, path: &[u32]) -> Self {
        path.iter().fold(self, |node, &index| node.child(index))
    }

    /// HMAC-SHA512, left half key, right half chain code.
    fn split(mac_key: &[u8], data: &[&[u8]]) -> Self {
        let mut mac =
            Hmac::<Sha512>::new_from_slice(mac_key).expect("HMAC takes keys of any length");
        for part in data {
            mac.update(part);
        }
        let mut output = mac.finalize().into_bytes();
        let (mut key, mut chain_code) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        key.copy_from_slice(&output[..32]);
        chain_code.copy_from_slice(&output[32..]);
        output.as_mut_slice().zeroize();
        Self { key, chain_code }
    }
}

/// All keys of one account on one network.
pub struct KeyRing {
    network: Network,
    account: Node,
}

impl KeyRing {
    /// Account 0 of a seed.
    pub fn new(seed: &[u8], network: Network) -> Self {
        let coin = match network {
            Network::Mainnet => COIN_MAIN,
            Network::Testnet | Network::Devnet => COIN_TEST,
        };
        Self {
            network,
            account: Node::master(seed).at(&[PURPOSE, coin, 0]),
        }
    }

    /// The address number `index` of a branch.
    pub fn address(&self, branch: Branch, index: u32) -> Address {
        Address::of_key(self.network, &self.public_key(branch, index))
    }

    /// The public key behind an address.
    pub fn public_key(&self, branch: Branch, index: u32) -> PublicKey {
        let mut signer = self.signer(branch, index);
        let key = VerificationKeyBytes::from(&signer);
        signer.zeroize();
        PublicKey(key.into())
    }

    /// Signs 32 bytes, a sighash, with the key behind an address.
    pub fn sign(&self, branch: Branch, index: u32, message: &[u8; 32]) -> (PublicKey, Signature) {
        let mut signer = self.signer(branch, index);
        let key = VerificationKeyBytes::from(&signer);
        let signature = signer.sign(message);
        signer.zeroize();
        (PublicKey(key.into()), Signature(signature.to_bytes()))
    }

    fn signer(&self, branch: Branch, index: u32) -> SigningKey {
        SigningKey::from(*self.account.child(branch.step()).child(index).key)
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::signature::{Ed25519, SignatureJob, SignatureScheme};

    use super::*;

    type Step = (&'static [u32], &'static str, &'static str);

    /// SLIP-0010, test vectors 1 and 2 for ed25519: path, chain code, private key.
    const VECTOR_1: [Step; 6] = [
        (
            &[],
            "90046a93de5380a72b5e45010748567d5ea02bbf6522f979e05c0d8d8ca9fffb",
            "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
        ),
        (
            &[0],
            "8b59aa11380b624e81507a27fedda59fea6d0b779a778918a2fd3590e16e9c69",
            "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
        ),
        (
            &[0, 1],
            "a320425f77d1b5c2505a6b1b27382b37368ee640e3557c315416801243552f14",
            "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
        ),
        (
            &[0, 1, 2],
            "2e69929e00b5ab250f49c3fb1c12f252de4fed2c1db88387094a0f8c4c9ccd6c",
            "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9",
        ),
        (
            &[0, 1, 2, 2],
            "8f6d87f93d750e0efccda017d662a1b31a266e4a6f5993b15f5c1f07f74dd5cc",
            "30d1dc7e5fc04c31219ab25a27ae00b50f6fd66622f6e9c913253d6511d1e662",
        ),
        (
            &[0, 1, 2, 2, 1_000_000_000],
            "68789923a0cac2cd5a29172a475fe9e0fb14cd6adb5ad98a3fa70333e7afa230",
            "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
        ),
    ];
    const VECTOR_2: [Step; 6] = [
        (
            &[],
            "ef70a74db9c3a5af931b5fe73ed8e1a53464133654fd55e7a66f8570b8e33c3b",
            "171cb88b1b3c1db25add599712e36245d75bc65a1a5c9e18d76f9f2b1eab4012",
        ),
        (
            &[0],
            "0b78a3226f915c082bf118f83618a618ab6dec793752624cbeb622acb562862d",
            "1559eb2bbec5790b0c65d8693e4d0875b1747f4970ae8b650486ed7470845635",
        ),
        (
            &[0, 2_147_483_647],
            "138f0b2551bcafeca6ff2aa88ba8ed0ed8de070841f0c4ef0165df8181eaad7f",
            "ea4f5bfe8694d8bb74b7b59404632fd5968b774ed545e810de9c32a4fb4192f4",
        ),
        (
            &[0, 2_147_483_647, 1],
            "73bd9fff1cfbde33a1b846c27085f711c0fe2d66fd32e139d3ebc28e5a4a6b90",
            "3757c7577170179c7868353ada796c839135b3d30554bbb74a4b1e4a5a58505c",
        ),
        (
            &[0, 2_147_483_647, 1, 2_147_483_646],
            "0902fe8a29f9140480a00ef244bd183e8a13288e4412d8389d140aac1794825a",
            "5837736c89570de861ebc173b1086da4f505d4adb387c6a1b1342d5e4ac9ec72",
        ),
        (
            &[0, 2_147_483_647, 1, 2_147_483_646, 2],
            "5d70af781f3a37b829f0d060924d5e960bdc02e85423494afc0b1a41bbe196d4",
            "551d333177df541ad876a60ea71f00447931c0a9da16f227c11ea080d7391b8d",
        ),
    ];

    #[test]
    fn test_vectors_of_slip_0010() {
        let seed_1 = "000102030405060708090a0b0c0d0e0f";
        let seed_2 = "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542";
        for (seed, steps) in [(seed_1, VECTOR_1), (seed_2, VECTOR_2)] {
            for (path, chain_code, key) in steps {
                let node = Node::master(&hex::decode(seed).unwrap()).at(path);
                assert_eq!(hex::encode(&node.chain_code[..]), chain_code, "{path:?}");
                assert_eq!(hex::encode(&node.key[..]), key, "{path:?}");
            }
        }
    }

    #[test]
    fn public_keys_of_slip_0010() {
        // The vectors print public keys with a leading zero byte; these are vector 1's first two.
        let master = Node::master(&hex::decode("000102030405060708090a0b0c0d0e0f").unwrap());
        let public = |node: &Node| {
            hex::encode(<[u8; 32]>::from(VerificationKeyBytes::from(
                &SigningKey::from(*node.key),
            )))
        };
        assert_eq!(
            public(&master),
            "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed"
        );
        assert_eq!(
            public(&master.child(0)),
            "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c"
        );
    }

    #[test]
    fn branches_indexes_and_networks_have_keys_of_their_own() {
        let mut seen = std::collections::BTreeSet::new();
        for network in [Network::Mainnet, Network::Testnet] {
            let ring = KeyRing::new(&[7; 64], network);
            for branch in [Branch::Receive, Branch::Change] {
                for index in 0..3 {
                    assert!(
                        seen.insert(ring.public_key(branch, index)),
                        "{branch:?} {index}"
                    );
                }
            }
        }
        assert_eq!(seen.len(), 12);
    }

    #[test]
    fn signatures_verify_under_the_address_key() {
        let ring = KeyRing::new(&[7; 64], Network::Devnet);
        let message = [9; 32];
        let (key, signature) = ring.sign(Branch::Change, 5, &message);
        assert_eq!(
            Address::of_key(Network::Devnet, &key),
            ring.address(Branch::Change, 5)
        );
        let job = SignatureJob {
            key,
            signature,
            message,
        };
        assert_eq!(Ed25519.verify(&[job]), Ok(()));
        assert_eq!(
            Ed25519.verify(&[SignatureJob {
                message: [8; 32],
                ..job
            }]),
            Err(0)
        );
    }
}
